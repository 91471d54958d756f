// SPDX-License-Identifier: GPL-2.0
//! Filters, pools and the local switch.

mod common;

use common::{frame, machine, set_address, sriov, vf_mac, RxRing, TxRing, MAC, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::Machine;
use libixgbe::{desc, regs, Regs};

const BROADCAST: [u8; 6] = [0xFF; 6];
const GROUP: [u8; 6] = [0x01, 0, 0x5E, 0, 0, 0x12];
/// The position of `GROUP` in MTA with MCSTCTRL.MO 0: its last 12 bits.
const GROUP_VECTOR: u32 = 0x120;

/// Puts a tag behind the addresses.
fn tagged(plain: &[u8], vlan: u16) -> Vec<u8> {
    [&plain[..12], &[0x81, 0], &vlan.to_be_bytes(), &plain[12..]].concat()
}

/// A machine with `vfs` VFs, a receive ring on queue 0 of each and of the PF's pool. The last ring is the PF's.
fn with_rings(machine: &Machine, vfs: u8) -> Vec<RxRing<'_>> {
    let mut rings: Vec<RxRing<'_>> = (0..vfs)
        .map(|vf| RxRing::new(machine, Function::Vf(vf), 0, 8))
        .collect();
    rings.push(RxRing::new(machine, Function::Pf, u32::from(vfs) * 2, 8));
    rings
}

/// Which rings got a frame.
fn receivers(rings: &mut [RxRing<'_>]) -> Vec<usize> {
    rings
        .iter_mut()
        .enumerate()
        .filter_map(|(i, ring)| ring.take().map(|_| i))
        .collect()
}

#[test]
fn without_pools() {
    let machine = machine();
    let pf = machine.pf();
    let mut ring = RxRing::new(&machine, Function::Pf, 0, 8);
    let mut takes = |machine: &Machine, destination: [u8; 6]| {
        machine.receive(&frame(destination, PEER, 64));
        ring.take().is_some()
    };
    let stranger = [0x02, 9, 9, 9, 9, 9];
    assert!(takes(&machine, MAC));
    assert!(takes(&machine, BROADCAST));
    assert!(!takes(&machine, stranger));
    assert!(!takes(&machine, GROUP));
    set_address(pf, 77, stranger, 0);
    assert!(takes(&machine, stranger), "any of the 128 addresses");
    pf.write32(regs::rah(77), 0);
    assert!(!takes(&machine, stranger));
    pf.write32(regs::mta(GROUP_VECTOR / 32), 1 << (GROUP_VECTOR % 32));
    assert!(!takes(&machine, GROUP), "the table needs MFE");
    pf.write32(regs::MCSTCTRL, regs::MCSTCTRL_MFE);
    assert!(takes(&machine, GROUP));
    assert!(!takes(&machine, [0x01, 0, 0x5E, 0, 0, 0x22]));
    pf.write32(regs::FCTRL, regs::FCTRL_UPE);
    assert!(takes(&machine, stranger));
    assert!(!takes(&machine, BROADCAST), "BAM is off now");
    pf.write32(regs::FCTRL, regs::FCTRL_MPE);
    assert!(takes(&machine, [0x01, 0, 0x5E, 0, 0, 0x22]));
    assert!(!takes(&machine, stranger));
}

#[test]
fn vlan_table() {
    let machine = machine();
    let pf = machine.pf();
    let mut ring = RxRing::new(&machine, Function::Pf, 0, 8);
    let plain = frame(MAC, PEER, 64);
    let mut takes = |frame: &[u8]| {
        machine.receive(frame);
        ring.take().is_some()
    };
    assert!(takes(&tagged(&plain, 5)));
    pf.write32(regs::VLNCTRL, pf.read32(regs::VLNCTRL) | regs::VLNCTRL_VFE);
    assert!(!takes(&tagged(&plain, 5)));
    assert!(takes(&plain));
    pf.write32(regs::vfta(127), 1 << 31);
    assert!(takes(&tagged(&plain, 4095)));
    assert!(takes(&tagged(&plain, 0xFFFF)), "priority does not count");
    assert!(!takes(&tagged(&plain, 4094)));
}

#[test]
fn frames_reach_the_pool_of_their_address() {
    let machine = sriov(3);
    let mut rings = with_rings(&machine, 3);
    for vf in 0..3u8 {
        machine.receive(&frame(vf_mac(vf), PEER, 64));
        assert_eq!(receivers(&mut rings), [usize::from(vf)]);
    }
    machine.receive(&frame(MAC, PEER, 64));
    assert_eq!(receivers(&mut rings), [3]);
    machine.receive(&frame(BROADCAST, PEER, 64));
    assert_eq!(receivers(&mut rings), [0, 1, 2, 3]);
    machine.receive(&frame([0x02, 8, 8, 8, 8, 8], PEER, 64));
    assert!(receivers(&mut rings).is_empty());
    let pf = machine.pf();
    pf.write32(regs::FCTRL, regs::FCTRL_UPE);
    machine.receive(&frame([0x02, 8, 8, 8, 8, 8], PEER, 64));
    assert_eq!(
        receivers(&mut rings),
        [3],
        "a promiscuous port gives strangers to the default pool"
    );
    pf.write32(
        regs::VT_CTL,
        pf.read32(regs::VT_CTL) | regs::VT_CTL_DIS_DEFPL,
    );
    machine.receive(&frame([0x02, 8, 8, 8, 8, 8], PEER, 64));
    assert!(receivers(&mut rings).is_empty());
}

#[test]
fn gates_and_multicast_modes_of_pools() {
    let machine = sriov(3);
    let pf = machine.pf();
    let mut rings = with_rings(&machine, 3);
    pf.write32(regs::vfre(0), !1);
    machine.receive(&frame(vf_mac(0), PEER, 64));
    assert!(receivers(&mut rings).is_empty(), "VFRE is closed");
    pf.write32(regs::vfre(0), !0);
    pf.write32(regs::MCSTCTRL, regs::MCSTCTRL_MFE);
    pf.write32(regs::mta(GROUP_VECTOR / 32), 1 << (GROUP_VECTOR % 32));
    pf.write32(regs::vmolr(1), regs::VMOLR_AUPE | regs::VMOLR_ROMPE);
    pf.write32(regs::vmolr(2), regs::VMOLR_AUPE | regs::VMOLR_MPE);
    machine.receive(&frame(GROUP, PEER, 64));
    assert_eq!(receivers(&mut rings), [1, 2]);
    machine.receive(&frame([0x01, 0, 0x5E, 0, 0, 0x22], PEER, 64));
    assert_eq!(receivers(&mut rings), [2]);
    // The unicast table, for pools that look at it.
    let hashed = [0x02, 0, 0, 0, 0, 0x12];
    pf.write32(regs::uta(GROUP_VECTOR / 32), 1 << (GROUP_VECTOR % 32));
    pf.write32(regs::vmolr(0), regs::VMOLR_AUPE | regs::VMOLR_ROPE);
    machine.receive(&frame(hashed, PEER, 64));
    assert_eq!(receivers(&mut rings), [0]);
    pf.write32(regs::VT_CTL, pf.read32(regs::VT_CTL) & !regs::VT_CTL_REPLEN);
    machine.receive(&frame(GROUP, PEER, 64));
    assert_eq!(receivers(&mut rings), [1], "one copy without replication");
}

#[test]
fn vlans_divide_pools() {
    let machine = sriov(3);
    let pf = machine.pf();
    let mut rings = with_rings(&machine, 3);
    pf.write32(regs::vlvf(9), regs::VLVF_VIEN | 7);
    pf.write32(regs::vlvfb(18), 0b011);
    pf.write32(regs::vmolr(0), regs::VMOLR_BAM);
    machine.receive(&frame(BROADCAST, PEER, 64));
    assert_eq!(
        receivers(&mut rings),
        [1, 2, 3],
        "pool 0 takes no untagged frames"
    );
    machine.receive(&tagged(&frame(BROADCAST, PEER, 64), 7));
    assert_eq!(receivers(&mut rings), [0, 1]);
    machine.receive(&tagged(&frame(vf_mac(2), PEER, 64), 7));
    assert!(receivers(&mut rings).is_empty());
    machine.receive(&tagged(&frame(vf_mac(1), PEER, 64), 8));
    assert!(receivers(&mut rings).is_empty());
}

#[test]
fn a_port_vlan_is_put_on_and_taken_off_unseen() {
    let machine = sriov(2);
    let pf = machine.pf();
    let mut rings = with_rings(&machine, 2);
    pf.write32(regs::vmvir(0), regs::VMVIR_VLANA_DEFAULT | 0x2007);
    pf.write32(regs::vlvf(0), regs::VLVF_VIEN | 7);
    pf.write32(regs::vlvfb(0), 1);
    pf.write32(
        regs::QDE,
        regs::QDE_WRITE | regs::QDE_ENABLE | regs::QDE_HIDE_VLAN,
    );
    let mut tx = TxRing::new(&machine, Function::Vf(0), 0, 8);
    let plain = frame(PEER, vf_mac(0), 64);
    tx.send(&plain);
    assert_eq!(machine.take_sent(), [tagged(&plain, 0x2007)]);
    let answer = frame(vf_mac(0), PEER, 64);
    machine.receive(&tagged(&answer, 7));
    let got = rings[0].take().unwrap();
    assert_eq!(got.frame, answer);
    assert_eq!(got.last.status_error.get() & desc::RXD_STAT_VP, 0);
    assert_eq!(got.last.vlan.get(), 0);
}

#[test]
fn the_local_switch() {
    let machine = sriov(3);
    let pf = machine.pf();
    let mut rings = with_rings(&machine, 3);
    let mut tx = TxRing::new(&machine, Function::Vf(0), 0, 16);
    tx.send(&frame(vf_mac(2), vf_mac(0), 100));
    let got = rings[2].take().unwrap();
    assert_eq!(got.frame, frame(vf_mac(2), vf_mac(0), 100));
    assert_ne!(got.last.status_error.get() & desc::RXD_STAT_LB, 0);
    assert!(
        machine.take_sent().is_empty(),
        "a frame for a pool stays inside"
    );
    tx.send(&frame(BROADCAST, vf_mac(0), 100));
    assert_eq!(receivers(&mut rings), [1, 2, 3], "all but the sender");
    assert_eq!(machine.take_sent().len(), 1, "and the wire");
    tx.send(&frame(PEER, vf_mac(0), 100));
    assert!(receivers(&mut rings).is_empty());
    assert_eq!(machine.take_sent().len(), 1);
    pf.write32(regs::PFDTXGSWC, 0);
    tx.send(&frame(vf_mac(2), vf_mac(0), 100));
    assert!(receivers(&mut rings).is_empty());
    assert_eq!(
        machine.take_sent().len(),
        1,
        "without the switch everything leaves"
    );
}

#[test]
fn spoofed_frames_are_dropped_and_counted() {
    let machine = sriov(10);
    let pf = machine.pf();
    let mut tx = TxRing::new(&machine, Function::Vf(9), 0, 16);
    const VMECM: u32 = 0x8790;
    pf.write32(VMECM, 1 << 9);
    tx.send(&frame(PEER, vf_mac(1), 64));
    assert_eq!(machine.take_sent().len(), 1, "no check, no harm");
    pf.write32(regs::pfvfspoof(1), 1 << 1);
    tx.send(&frame(PEER, vf_mac(1), 64));
    tx.send(&frame(PEER, PEER, 64));
    assert!(machine.take_sent().is_empty());
    tx.send(&frame(PEER, vf_mac(9), 64));
    assert_eq!(machine.take_sent().len(), 1);
    assert_eq!(pf.read32(regs::SSVPC), 2);
    assert_eq!(pf.read32(regs::SSVPC), 0, "reading clears");
    // VLAN check.
    pf.write32(regs::pfvfspoof(1), 1 << (1 + regs::SPOOF_VLANAS_SHIFT));
    pf.write32(regs::vlvf(0), regs::VLVF_VIEN | 7);
    pf.write32(regs::vlvfb(0), 1 << 9);
    tx.send(&tagged(&frame(PEER, vf_mac(9), 64), 7));
    assert_eq!(machine.take_sent().len(), 1);
    tx.send(&tagged(&frame(PEER, vf_mac(9), 64), 8));
    assert!(machine.take_sent().is_empty());
}

#[test]
fn rss_inside_a_pool() {
    for (mode, gcr, per_pool, rqpl) in [
        (regs::MRQC_VMDQRSS32EN, regs::GCR_EXT_VT_MODE_32, 4u32, 2u32),
        (regs::MRQC_VMDQRSS64EN, regs::GCR_EXT_VT_MODE_64, 2, 1),
    ] {
        let machine = sriov(2);
        let pf = machine.pf();
        pf.write32(regs::MRQC, mode | regs::MRQC_RSS_FIELD_IPV4_UDP);
        pf.write32(regs::GCR_EXT, regs::GCR_EXT_MSIX_EN | gcr);
        for i in 0..32 {
            pf.write32(regs::reta(i), 0x0302_0100);
        }
        for i in 0..10 {
            pf.write32(regs::rssrk(i), 0x9E37_79B9u32.wrapping_mul(i + 1));
        }
        let vf = machine.vf(1);
        let mut rings: Vec<RxRing<'_>> = (0..per_pool)
            .map(|q| RxRing::new(&machine, Function::Vf(1), q, 64))
            .collect();
        let mut hit = |bits: u32| {
            vf.write32(regs::VFPSRTYPE, bits << 29);
            for port in 0..64u16 {
                let mut packet = Vec::new();
                etherparse::PacketBuilder::ethernet2(PEER, vf_mac(1))
                    .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                    .udp(port, 9)
                    .write(&mut packet, b"rss")
                    .unwrap();
                machine.receive(&packet);
            }
            rings
                .iter_mut()
                .map(|ring| std::iter::from_fn(|| ring.take()).count())
                .collect::<Vec<_>>()
        };
        let spread = hit(rqpl);
        assert_eq!(spread.iter().sum::<usize>(), 64);
        assert!(spread.iter().all(|count| *count > 0), "{spread:?}");
        let alone = hit(0);
        assert_eq!(alone[0], 64, "RQPL 0 is one queue: {alone:?}");
    }
}
