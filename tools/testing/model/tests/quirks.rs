// SPDX-License-Identifier: GPL-2.0
//! What cards may do and the model does only if it is told to: see `Quirks`.

mod common;

use common::{frame, machine, sriov, vf_mac, RxRing, TxRing, MAC, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::Machine;
use libixgbe::{desc, regs, Regs};
use zerocopy::IntoBytes;

const VF: Function = Function::Vf(0);

/// WTHRESH as the drivers set it.
const WTHRESH_8: u32 = 8 << regs::TXDCTL_WTHRESH_SHIFT;

fn done(tx: &TxRing<'_>, slots: impl IntoIterator<Item = u32>) -> u32 {
    slots.into_iter().map(|slot| u32::from(tx.done(slot))).sum()
}

/// A VF whose Tx queue 0 writes back in batches of eight and has vector 0 with an interval of 20 us.
fn batching(machine: &Machine) -> TxRing<'_> {
    machine.set_quirks("batch");
    let vf = machine.vf(0);
    vf.write32(regs::vtivar(0), 0x8080_8080);
    vf.write32(regs::VTEIAC, 7);
    vf.write32(regs::VTEIMS, 7);
    vf.write32(regs::vteitr(0), 10 << 3);
    let tx = TxRing::new(machine, VF, 0, 64);
    vf.write32(regs::vftxdctl(0), regs::TXDCTL_ENABLE | WTHRESH_8);
    tx
}

#[test]
fn tx_descriptors_are_written_back_by_eights() {
    let machine = sriov(2);
    let mut tx = batching(&machine);
    for n in 0..7 {
        tx.send(&frame(PEER, vf_mac(0), 60 + n));
    }
    assert_eq!(machine.take_sent().len(), 7);
    assert_eq!(tx.head(), 7);
    assert_eq!(done(&tx, 0..7), 0);
    assert_eq!(machine.take_messages(), []);
    tx.send(&frame(PEER, vf_mac(0), 60));
    assert_eq!(done(&tx, 0..8), 8);
    assert_eq!(machine.take_messages(), [(VF, 0)]);
}

#[test]
fn the_interval_of_the_vector_ends_a_batch() {
    let machine = sriov(2);
    let mut tx = batching(&machine);
    tx.send(&frame(PEER, vf_mac(0), 60));
    machine.advance(19_000);
    assert_eq!(done(&tx, 0..1), 0);
    machine.advance(1_000);
    assert_eq!(done(&tx, 0..1), 1);
    assert_eq!(machine.take_messages(), [(VF, 0)]);

    // A vector without an interval never does: the false hang of which the C driver speaks.
    machine.vf(0).write32(regs::vteitr(0), 0);
    tx.send(&frame(PEER, vf_mac(0), 60));
    machine.advance(1_000_000_000);
    assert_eq!(done(&tx, 1..2), 0);
}

#[test]
fn a_flush_ends_a_batch_and_a_stop_loses_it() {
    let machine = sriov(2);
    let mut tx = batching(&machine);
    let vf = machine.vf(0);
    let control = regs::TXDCTL_ENABLE | WTHRESH_8;
    for _ in 0..3 {
        tx.send(&frame(PEER, vf_mac(0), 60));
    }
    vf.write32(regs::vftxdctl(0), control | regs::TXDCTL_SWFLSH);
    assert_eq!(done(&tx, 0..3), 3);
    assert_eq!(vf.read32(regs::vftxdctl(0)), control, "it clears itself");

    for _ in 0..3 {
        tx.send(&frame(PEER, vf_mac(0), 60));
    }
    vf.write32(regs::vftxdctl(0), WTHRESH_8);
    machine.advance(1_000_000);
    vf.write32(regs::vftxdctl(0), control | regs::TXDCTL_SWFLSH);
    assert_eq!(done(&tx, 3..6), 0);
    assert_eq!(tx.head(), 6);

    // The C driver stops a queue so: both at once (`ixgbe_disable_txr`).
    for _ in 0..3 {
        tx.send(&frame(PEER, vf_mac(0), 60));
    }
    vf.write32(regs::vftxdctl(0), regs::TXDCTL_SWFLSH);
    assert_eq!(done(&tx, 6..9), 3);
}

#[test]
fn rx_descriptors_are_written_back_by_fours() {
    let machine = sriov(2);
    machine.set_quirks("rx-batch=4");
    let vf = machine.vf(0);
    let mut rx = RxRing::new(&machine, VF, 0, 64);
    let receive = |n: usize| assert!(machine.receive(&frame(vf_mac(0), PEER, 60 + n)));
    (0..3).for_each(receive);
    assert_eq!(rx.head(), 3);
    assert!(rx.take().is_none());
    receive(3);
    for n in 0..4 {
        assert_eq!(rx.take().expect("a batch").frame.len(), 60 + n);
    }
    receive(4);
    vf.write32(regs::vfrxdctl(0), regs::RXDCTL_ENABLE | regs::RXDCTL_SWFLSH);
    assert_eq!(rx.take().expect("flushed").frame.len(), 64);
    receive(5);
    vf.write32(regs::vfrxdctl(0), 0);
    vf.write32(regs::vfrxdctl(0), regs::RXDCTL_ENABLE | regs::RXDCTL_SWFLSH);
    assert!(rx.take().is_none());
}

#[test]
fn a_queue_sticks() {
    let machine = sriov(2);
    // VF 0 has queues 0 and 1.
    machine.set_quirks("tx-sticks=1:rx-sticks=0");
    let vf = machine.vf(0);
    let mut rx = RxRing::new(&machine, VF, 0, 64);
    let mut tx = [0, 1].map(|q| TxRing::new(&machine, VF, q, 64));
    for q in 0..2 {
        vf.write32(regs::vftxdctl(q), 0);
        let enable = vf.read32(regs::vftxdctl(q)) & regs::TXDCTL_ENABLE;
        assert_eq!(enable != 0, q == 1);
    }
    vf.write32(regs::vfrxdctl(0), 0);
    assert!(vf.read32(regs::vfrxdctl(0)) & regs::RXDCTL_ENABLE != 0);
    tx[0].send(&frame(PEER, vf_mac(0), 60));
    tx[1].send(&frame(PEER, vf_mac(0), 61));
    assert_eq!(machine.take_sent().len(), 1, "it sends on");
    assert!(machine.receive(&frame(vf_mac(0), PEER, 60)));
    assert!(rx.take().is_some(), "and receives");
    machine.reset(VF);
    tx[1].send(&frame(PEER, vf_mac(0), 61));
    assert!(
        machine.take_sent().is_empty(),
        "until its function is reset"
    );
}

#[test]
fn enable_follows_the_link() {
    let machine = sriov(2);
    let vf = machine.vf(0);
    let _rx = RxRing::new(&machine, VF, 0, 64);
    let enabled = || vf.read32(regs::vfrxdctl(0)) & regs::RXDCTL_ENABLE != 0;
    machine.set_quirks("start-needs-link");
    machine.set_link(false);
    assert!(!enabled());
    machine.set_link(true);
    assert!(enabled());

    machine.set_quirks("stop-needs-link");
    machine.set_link(false);
    vf.write32(regs::vfrxdctl(0), 0);
    assert!(enabled());
    vf.write32(regs::vfrdh(0), 9);
    assert_eq!(vf.read32(regs::vfrdh(0)), 0, "the head is the device's");
    machine.set_link(true);
    assert!(!enabled());
    vf.write32(regs::vfrdh(0), 9);
    assert_eq!(vf.read32(regs::vfrdh(0)), 9);
}

#[test]
fn enabling_zeroes_the_head() {
    for (names, want) in [("", 3), ("enable-zeroes-head", 0)] {
        let machine = sriov(2);
        machine.set_quirks(names);
        let vf = machine.vf(0);
        let mut tx = TxRing::new(&machine, VF, 0, 64);
        for _ in 0..3 {
            tx.send(&frame(PEER, vf_mac(0), 60));
        }
        vf.write32(regs::vftxdctl(0), 0);
        assert_eq!(tx.head(), 3, "stopping leaves it");
        vf.write32(regs::vftdt(0), want);
        vf.write32(regs::vftxdctl(0), regs::TXDCTL_ENABLE);
        assert_eq!(tx.head(), want);
    }
}

/// TDH runs ahead of what was sent, and the queue stops once what it has fetched is out.
#[test]
fn the_head_counts_what_was_fetched() {
    let machine = sriov(2);
    machine.set_quirks("fetch-ahead=8");
    let vf = machine.vf(0);
    let mut tx = TxRing::new(&machine, VF, 0, 64);
    machine.set_wire_room(1);
    for n in 0..20 {
        tx.send(&frame(PEER, vf_mac(0), 60 + n));
    }
    assert_eq!(machine.take_sent().len(), 1);
    assert_eq!(tx.head(), 9);
    vf.write32(regs::vftxdctl(0), 0);
    assert!(vf.read32(regs::vftxdctl(0)) & regs::TXDCTL_ENABLE != 0);
    machine.set_wire_room(100);
    machine.wire_ready();
    assert_eq!(machine.take_sent().len(), 8);
    assert_eq!(vf.read32(regs::vftxdctl(0)) & regs::TXDCTL_ENABLE, 0);
    assert_eq!(tx.head(), 9);
    assert_eq!(done(&tx, 0..20), 9);
    vf.write32(regs::vftxdctl(0), regs::TXDCTL_ENABLE);
    assert_eq!(machine.take_sent().len(), 11);
}

/// A tag that a context brought is gone once the queue was stopped.
#[test]
fn a_stop_loses_contexts() {
    for (names, want) in [("", 100), ("lose-contexts", 0)] {
        let machine = sriov(2);
        machine.set_quirks(names);
        let vf = machine.vf(0);
        let mut tx = TxRing::new(&machine, VF, 0, 64);
        let context = desc::AdvTxContext {
            vlan_macip_lens: (100 << desc::ADVTXD_VLAN_SHIFT | 14 << desc::ADVTXD_MACLEN_SHIFT)
                .into(),
            fceof_saidx: 0.into(),
            type_tucmd_mlhl: (desc::ADVTXD_DTYP_CTXT | desc::ADVTXD_DCMD_DEXT).into(),
            mss_l4len_idx: 0.into(),
        };
        tx.push(context.as_bytes());
        tx.kick();
        vf.write32(regs::vftxdctl(0), 0);
        vf.write32(regs::vftxdctl(0), regs::TXDCTL_ENABLE);
        let plain = frame(PEER, vf_mac(0), 60);
        let data = tx.data(
            &plain,
            desc::ADVTXD_DCMD_EOP | desc::ADVTXD_DCMD_RS | desc::ADVTXD_DCMD_VLE,
            desc::ADVTXD_CC | (plain.len() as u32) << desc::ADVTXD_PAYLEN_SHIFT,
        );
        tx.push(data.as_bytes());
        tx.kick();
        let sent = machine.take_sent();
        assert_eq!(sent[0][12..16], [0x81, 0, 0, want], "{names}");
    }
}

/// The MAC's limit is no limit between pools, and what is told by SRRCTL is written: a buffer that begins within a half
/// page is written beyond it.
#[test]
fn a_frame_of_another_pool_may_be_longer_than_maxfrs() {
    for (names, comes) in [("", true), ("switch-obeys-maxfrs", false)] {
        let machine = sriov(2);
        machine.set_quirks(names);
        let mut tx = TxRing::new(&machine, VF, 0, 64);
        // Pool 2 is the PF's, with queues 4 and 5.
        let mut rx = RxRing::new(&machine, Function::Pf, 4, 64);
        let long = frame(MAC, vf_mac(0), 3000);
        assert!(machine.receive(&frame(MAC, PEER, 3000)));
        assert!(rx.take().is_none(), "not from the wire");
        machine.take_written();
        tx.send(&long);
        let received = rx.take();
        assert_eq!(received.is_some(), comes, "{names}");
        if let Some(received) = received {
            assert_eq!(received.frame, long);
            let lengths = machine
                .take_written()
                .into_iter()
                .map(|(_, at)| at.end - at.start);
            assert_eq!(lengths.max(), Some(2048), "as SRRCTL says");
        }
        assert!(machine.take_sent().is_empty(), "it is for no one outside");
    }
}

/// A PF that cuts pages in halves and leaves room for headers in front tells the device of 2048 bytes where it has less.
#[test]
fn a_buffer_across_a_page_is_counted() {
    let machine = sriov(2);
    let rx = RxRing::new(&machine, Function::Pf, 4, 64);
    let mut tx = TxRing::new(&machine, VF, 0, 64);
    let page = machine.allocate(8192, 4096);
    let half = desc::AdvRxRead {
        pkt_addr: (page + 2048 + 192).into(),
        hdr_addr: 0.into(),
    };
    machine.store(rx.slot(0), half.as_bytes());
    tx.send(&frame(MAC, vf_mac(0), 1514));
    assert_eq!(machine.counts(Function::Pf).crossed_page, 0);
    machine.store(rx.slot(1), half.as_bytes());
    tx.send(&frame(MAC, vf_mac(0), 1900));
    assert_eq!(machine.counts(Function::Pf).crossed_page, 1);
}

#[test]
fn paylen_below_17() {
    for (names, sends, malformed, after) in [
        ("", true, 0, 1),
        ("short-paylen=drop", false, 1, 1),
        ("short-paylen=hang", false, 1, 0),
    ] {
        let machine = machine();
        machine.set_quirks(names);
        let mut tx = TxRing::new(&machine, Function::Pf, 0, 64);
        tx.send(&frame(PEER, MAC, 16));
        assert_eq!(machine.take_sent().len(), usize::from(sends), "{names}");
        assert_eq!(machine.counts(Function::Pf).malformed, malformed);
        tx.send(&frame(PEER, MAC, 17));
        assert_eq!(machine.take_sent().len(), after, "{names}");
    }
}

#[test]
fn firmware_errors_show_after_a_reset() {
    let machine = machine();
    machine.set_quirks("firmware-error");
    let pf = machine.pf();
    assert_eq!(pf.read32(regs::FWSM) & regs::FWSM_EXT_ERR_IND_MASK, 0);
    machine.reset(Function::Pf);
    let fwsm = pf.read32(regs::FWSM);
    assert!(fwsm & regs::FWSM_EXT_ERR_IND_MASK != 0 && fwsm & regs::FWSM_FW_VAL_BIT != 0);
}

/// The event of a misbehaving queue comes where there is no VF, and names a queue of the PF, which goes on.
#[test]
fn a_malicious_event_without_a_vf() {
    let machine = machine();
    machine.set_quirks("stray-mdd");
    let pf = machine.pf();
    let mut tx = TxRing::new(&machine, Function::Pf, 3, 64);
    pf.read32(regs::EICR);
    tx.send(&frame(PEER, MAC, 60));
    assert!(pf.read32(regs::EICR) & regs::EICR_MAILBOX != 0);
    assert_eq!(pf.read32(regs::LVMMC_TX), 1 << 31 | 3);
    assert_eq!(pf.read32(regs::LVMMC_TX), 0);
    tx.send(&frame(PEER, MAC, 60));
    assert_eq!(machine.take_sent().len(), 2);
    assert_eq!(pf.read32(regs::LVMMC_TX), 0);
}
