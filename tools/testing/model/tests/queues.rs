// SPDX-License-Identifier: GPL-2.0
//! Queues: heads under each policy, enable and disable, resets, who a queue belongs to, and rate limits.

mod common;

use common::{frame, machine, machine_with, sriov, vf_mac, RxRing, TxRing, MAC, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::HeadWrite;
use libixgbe::{regs, Regs};

/// What the head reads after a write of 5 to a stopped queue, and after the queue was enabled then.
fn head_after(policy: HeadWrite, transmit: bool) -> (u32, u32) {
    let machine = machine_with(policy);
    let pf = machine.pf();
    let (head, control) = if transmit {
        (regs::tdh(3), regs::txdctl(3))
    } else {
        (regs::rdh(3), regs::rxdctl(3))
    };
    pf.write32(head, 5);
    let stopped = pf.read32(head);
    pf.write32(control, regs::TXDCTL_ENABLE);
    let running = pf.read32(head);
    pf.write32(head, 9);
    assert_eq!(
        pf.read32(head),
        running,
        "a running queue's head is not written"
    );
    (stopped, running)
}

#[test]
fn head_policies() {
    for transmit in [false, true] {
        assert_eq!(head_after(HeadWrite::Value, transmit), (5, 5));
        assert_eq!(head_after(HeadWrite::Zero, transmit), (0, 0));
        assert_eq!(head_after(HeadWrite::Ignore, transmit), (0, 0));
    }
}

#[test]
fn a_head_that_moved_under_each_policy() {
    for (policy, after_write, after_enable) in [
        (HeadWrite::Value, 1, 1),
        (HeadWrite::Zero, 0, 0),
        (HeadWrite::Ignore, 3, 0),
    ] {
        let machine = machine_with(policy);
        let pf = machine.pf();
        let mut tx = TxRing::new(&machine, Function::Pf, 0, 8);
        for _ in 0..3 {
            tx.send(&frame(PEER, MAC, 64));
        }
        pf.write32(regs::txdctl(0), 0);
        assert_eq!(pf.read32(regs::tdh(0)), 3, "disabling moves nothing");
        pf.write32(regs::tdh(0), 1);
        assert_eq!(pf.read32(regs::tdh(0)), after_write);
        pf.write32(regs::tdt(0), after_enable);
        pf.write32(regs::txdctl(0), regs::TXDCTL_ENABLE);
        assert_eq!(pf.read32(regs::tdh(0)), after_enable);
    }
}

#[test]
fn policies_have_names() {
    assert_eq!("value".parse(), Ok(HeadWrite::Value));
    assert_eq!("zero".parse(), Ok(HeadWrite::Zero));
    assert_eq!("ignore".parse(), Ok(HeadWrite::Ignore));
    assert!("Value".parse::<HeadWrite>().is_err());
}

/// The register test of the C driver (K: `reg_test_82599`), which passes on silicon.
#[test]
fn register_masks() {
    let machine = machine();
    let pf = machine.pf();
    pf.write32(regs::RXCTRL, 0);
    let tests: [(u32, u32, u32, u32, u32); 17] = [
        (regs::fcrtl(0), 1, 0, 0x8007_FFF0, 0x8007_FFF0),
        (regs::fcrth(0), 1, 0, 0x8007_FFF0, 0x8007_FFF0),
        (regs::PFCTOP, 1, 0, 0xFFFF_FFFF, 0xFFFF_FFFF),
        (regs::VLNCTRL, 1, 0, 0, 0),
        (regs::rdbal(0), 4, 0x40, 0xFFFF_FF80, 0xFFFF_FF80),
        (regs::rdbah(0), 4, 0x40, 0xFFFF_FFFF, 0xFFFF_FFFF),
        (regs::rdlen(0), 4, 0x40, 0x000F_FF80, 0x000F_FFFF),
        (regs::rdt(0), 4, 0x40, 0xFFFF, 0xFFFF),
        (0x3200, 1, 0, 0xFFFF_FFFF, 0xFFFF_FFFF),
        (regs::tdbal(0), 4, 0x40, 0xFFFF_FF80, 0xFFFF_FFFF),
        (regs::tdbah(0), 4, 0x40, 0xFFFF_FFFF, 0xFFFF_FFFF),
        (regs::tdlen(0), 4, 0x40, 0x000F_FF80, 0x000F_FF80),
        (regs::RXCTRL, 1, 0, 1, 1),
        (regs::ral(0), 16, 8, 0xFFFF_FFFF, 0xFFFF_FFFF),
        (regs::rah(0), 16, 8, 0x8001_FFFF, 0x800C_FFFF),
        (regs::mta(0), 128, 4, 0xFFFF_FFFF, 0xFFFF_FFFF),
        (regs::rdbal(64), 64, 0x40, 0xFFFF_FF80, 0xFFFF_FF80),
    ];
    for (base, count, stride, mask, write) in tests {
        for i in 0..count {
            let reg = base + i * stride;
            for pattern in [0x5A5A_5A5A, 0xA5A5_A5A5, 0, 0xFFFF_FFFF] {
                pf.write32(reg, pattern & write);
                assert_eq!(pf.read32(reg), pattern & write & mask, "register {reg:#x}");
            }
        }
    }
    let status = pf.read32(regs::STATUS);
    pf.write32(regs::STATUS, !status);
    assert_eq!(pf.read32(regs::STATUS), status);
}

#[test]
fn registers_with_two_addresses() {
    let machine = machine();
    let pf = machine.pf();
    for (first, second) in [
        (0x2104, 0x1054),
        (0x2204, 0x104C),
        (0x5408, 0xA208),
        (0x5484, 0xEA04),
        (0x5C04, 0xEB04),
    ] {
        pf.write32(first, 0x1234);
        assert_eq!(pf.read32(second), 0x1234, "{first:#x}");
        pf.write32(second, 0x4321);
        assert_eq!(pf.read32(first), 0x4321, "{second:#x}");
    }
}

#[test]
fn flush_bits_clear_themselves_and_enable_reads_back() {
    let machine = machine();
    let pf = machine.pf();
    pf.write32(regs::txdctl(7), regs::TXDCTL_ENABLE | regs::TXDCTL_SWFLSH);
    assert_eq!(pf.read32(regs::txdctl(7)), regs::TXDCTL_ENABLE);
    pf.write32(regs::txdctl(7), regs::TXDCTL_SWFLSH);
    assert_eq!(pf.read32(regs::txdctl(7)), 0);
}

#[test]
fn a_vf_finds_its_queues_in_each_mode() {
    for (mode, per_pool) in [
        (regs::GCR_EXT_VT_MODE_16, 8u32),
        (regs::GCR_EXT_VT_MODE_32, 4),
        (regs::GCR_EXT_VT_MODE_64, 2),
    ] {
        let machine = sriov(10);
        let pf = machine.pf();
        pf.write32(regs::GCR_EXT, regs::GCR_EXT_MSIX_EN | mode);
        let vf = machine.vf(7);
        for i in 0..per_pool {
            vf.write32(regs::vfrdlen(i), 128 * (i + 1));
            vf.write32(regs::vftdlen(i), 256 * (i + 1));
            assert_eq!(pf.read32(regs::rdlen(7 * per_pool + i)), 128 * (i + 1));
            assert_eq!(pf.read32(regs::tdlen(7 * per_pool + i)), 256 * (i + 1));
        }
        vf.write32(regs::vfrdlen(per_pool), 512);
        assert_eq!(
            vf.read32(regs::vfrdlen(per_pool)),
            0,
            "a VF cannot reach its neighbour's queues"
        );
        assert_ne!(pf.read32(regs::rdlen(8 * per_pool)), 512);
    }
}

#[test]
fn a_vf_reset_stops_its_queues_and_keeps_their_registers() {
    let machine = sriov(2);
    let pf = machine.pf();
    let mut rx = RxRing::new(&machine, Function::Vf(1), 0, 8);
    let other = RxRing::new(&machine, Function::Vf(0), 0, 8);
    let mut tx = TxRing::new(&machine, Function::Vf(1), 1, 8);
    machine.receive(&frame(vf_mac(1), PEER, 64));
    assert!(rx.take().is_some());
    machine.reset(Function::Vf(1));
    let vf = machine.vf(1);
    assert_eq!(u64::from(vf.read32(regs::vfrdbal(0))), rx.base);
    assert_eq!(vf.read32(regs::vfrdh(0)), 1);
    assert_ne!(vf.read32(regs::vfrxdctl(0)) & regs::RXDCTL_ENABLE, 0);
    assert_eq!(vf.read32(regs::VTEIMS), 0);
    assert_eq!(pf.read32(regs::vfre(0)) & 2, 0);
    assert_eq!(pf.read32(regs::vfte(0)) & 2, 0);
    assert_eq!(pf.read32(regs::vflre(0)), 2);
    // Opening the gates is not enough: the engines stand until ENABLE is written.
    pf.write32(regs::vfre(0), !0);
    pf.write32(regs::vfte(0), !0);
    machine.receive(&frame(vf_mac(1), PEER, 64));
    assert!(rx.take().is_none());
    tx.send(&frame(PEER, vf_mac(1), 64));
    assert!(machine.take_sent().is_empty());
    vf.write32(regs::vftxdctl(1), regs::TXDCTL_ENABLE);
    assert_eq!(machine.take_sent().len(), 1);
    machine.receive(&frame(vf_mac(0), PEER, 64));
    assert_eq!(other.head(), 1, "its neighbour went on");
}

#[test]
fn a_pf_reset_clears_everything_but_the_vf_counters() {
    let machine = sriov(2);
    let pf = machine.pf();
    let _rx = RxRing::new(&machine, Function::Vf(1), 0, 8);
    machine.receive(&frame(vf_mac(1), PEER, 64));
    let received = machine.vf(1).read32(regs::VFGPRC);
    assert_eq!(received, 1);
    pf.write32(regs::CTRL, regs::CTRL_RST | regs::CTRL_GIO_DIS);
    assert_eq!(
        pf.read32(regs::CTRL),
        0,
        "the bit clears itself, and GIO_DIS is reset too"
    );
    assert_eq!(pf.read32(regs::GCR_EXT), 0);
    assert_eq!(
        pf.read32(regs::ral(0)),
        u32::from_le_bytes([2, 0, 0, 0]),
        "address 0 comes from the EEPROM"
    );
    assert_eq!(pf.read32(regs::rah(1)), 0);
    assert_eq!(pf.read32(regs::rdlen(2)), 0);
    assert_eq!(pf.read32(regs::pvfgprc(1)), received);
}

#[test]
fn rings_stand_still_without_bus_mastering() {
    let machine = sriov(1);
    let mut rx = RxRing::new(&machine, Function::Vf(0), 0, 8);
    let mut tx = TxRing::new(&machine, Function::Vf(0), 0, 8);
    machine.set_bus_master(Function::Vf(0), false);
    machine.take_written();
    tx.send(&frame(PEER, vf_mac(0), 64));
    machine.receive(&frame(vf_mac(0), PEER, 64));
    assert!(machine.take_sent().is_empty());
    assert!(machine.take_written().is_empty());
    machine.set_bus_master(Function::Vf(0), true);
    assert_eq!(machine.take_sent().len(), 1);
    assert!(rx.take().is_some());
}

#[test]
fn a_vf_cannot_leave_its_memory() {
    let machine = sriov(2);
    let mut rx = RxRing::new(&machine, Function::Vf(0), 0, 8);
    let mut tx = TxRing::new(&machine, Function::Vf(0), 0, 8);
    let end = machine.allocate(0, 4096);
    machine.map_only(Function::Vf(0), std::slice::from_ref(&(0..end)));
    // A buffer outside: the frame is lost, the error counted, the ring goes on.
    let mut stray = tx.data(&[0; 64], 0x0900_0000, 64 << 14);
    stray.buffer_addr = (end + 4096).into();
    tx.push(zerocopy::IntoBytes::as_bytes(&stray));
    tx.kick();
    tx.send(&frame(PEER, vf_mac(0), 64));
    assert!(machine.counts(Function::Vf(0)).dma_errors > 0);
    machine.receive(&frame(vf_mac(0), PEER, 64));
    assert!(rx.take().is_some());
    assert!(machine
        .take_written()
        .iter()
        .all(|(function, range)| *function == Function::Vf(0) && range.end <= end));
}

#[test]
fn a_rate_limit() {
    let machine = sriov(1);
    let pf = machine.pf();
    let mut tx = TxRing::new(&machine, Function::Vf(0), 0, 64);
    // 10 Gb/s / 100.5, so a frame of 1000 bytes and its 24 take 82.3 us.
    pf.write32(regs::RTTDQSEL, 0);
    pf.write32(
        regs::RTTBCNRC,
        regs::RTTBCNRC_RS_ENA | 100 << regs::RTTBCNRC_RF_INT_SHIFT | 1 << 13,
    );
    for _ in 0..40 {
        tx.send(&frame(PEER, vf_mac(0), 1000));
    }
    assert_eq!(machine.take_sent().len(), 1);
    machine.advance(1_000_000);
    assert_eq!(machine.take_sent().len(), 12);
    pf.write32(regs::RTTBCNRC, 0);
    assert_eq!(machine.take_sent().len(), 27, "no limit, no wait");
}

#[test]
fn a_link_that_is_down_stops_both_directions() {
    let machine = machine();
    let pf = machine.pf();
    let mut rx = RxRing::new(&machine, Function::Pf, 0, 8);
    let mut tx = TxRing::new(&machine, Function::Pf, 0, 8);
    machine.set_link(false);
    assert_eq!(pf.read32(regs::LINKS) & regs::LINKS_UP, 0);
    tx.send(&frame(PEER, MAC, 64));
    machine.receive(&frame(MAC, PEER, 64));
    assert!(machine.take_sent().is_empty());
    assert!(rx.take().is_none());
    machine.set_link(true);
    assert_eq!(
        pf.read32(regs::LINKS),
        regs::LINKS_UP | regs::LINKS_SPEED_10G_82599
    );
    assert_eq!(machine.take_sent().len(), 1, "what was queued goes out");
}

#[test]
fn counters() {
    let machine = sriov(1);
    let pf = machine.pf();
    let _rx = RxRing::new(&machine, Function::Vf(0), 0, 8);
    let mut tx = TxRing::new(&machine, Function::Vf(0), 0, 8);
    machine.receive(&frame(vf_mac(0), PEER, 100));
    machine.receive(&frame([0xFF; 6], PEER, 60));
    machine.receive(&frame([0x02, 7, 7, 7, 7, 7], PEER, 60));
    tx.send(&frame(PEER, vf_mac(0), 1000));
    let expected = [
        (regs::TPR, 3),
        (regs::GPRC, 2),
        (regs::BPRC, 1),
        (regs::PRC64, 1),
        (regs::PRC127, 1),
        (regs::GORCL, 168),
        (regs::GORCH, 0),
        (regs::GPTC, 1),
        (regs::PTC1023, 1),
        (regs::GOTCL, 1004),
        (regs::qprc(0), 2),
        (regs::qptc(0), 1),
        (regs::qbtc_l(0), 1004),
    ];
    for (reg, value) in expected {
        assert_eq!(pf.read32(reg), value, "counter {reg:#x}");
        assert_eq!(pf.read32(reg), 0, "counter {reg:#x} is cleared by reading");
    }
    let vf = machine.vf(0);
    for _ in 0..2 {
        assert_eq!(vf.read32(regs::VFGPRC), 2);
        assert_eq!(vf.read32(regs::VFMPRC), 1);
        assert_eq!(vf.read32(regs::VFGORC_LSB), 168);
        assert_eq!(vf.read32(regs::VFGPTC), 1);
        assert_eq!(vf.read32(regs::VFGOTC_LSB), 1004);
        assert_eq!(pf.read32(regs::pvfgorc_lsb(0)), 168);
    }
}
