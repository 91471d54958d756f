// SPDX-License-Identifier: GPL-2.0
//! Malicious driver detection of the X550: a VF whose queue the device has blocked is told to reset itself, and its neighbours
//! notice nothing.

mod common;

use common::moving::{Host, Rings, VF, VF_MAC};
use common::{frame, switched_on, x540_with, x550_with, TxRing, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::HeadWrite;
use libixgbe::mbx::{Request, PF_CONTROL_MSG, VT_MSGTYPE_CTS};
use libixgbe::sriov::mdd::{self, Blocked};
use libixgbe::{regs, Regs};

/// A PF with VFs on an X550, which looks for malicious drivers.
fn host() -> Host<'static> {
    let mut host = Host::new(Box::leak(Box::new(switched_on(x550_with(
        HeadWrite::Value,
    )))));
    host.bring_up(false);
    mdd::set(&host.machine.pf(), true);
    host
}

fn check(host: &mut Host<'_>) -> Option<Blocked> {
    let pf = host.machine.pf();
    host.switch.check_blocked(&pf, &mut host.vfs)
}

/// Descriptors without an end, as many as the ring has.
fn misbehave(host: &Host<'_>, function: Function, queue: u32) {
    let mut ring = TxRing::new(host.machine, function, queue, 256);
    for _ in 0..255 {
        let data = ring.data(&[0; 8], 0, 0);
        ring.push(zerocopy::IntoBytes::as_bytes(&data));
    }
    ring.kick();
}

/// Queue of the device that a VF's queue is.
fn queue(host: &Host<'_>, vf: u8) -> u32 {
    host.switch.pools.unwrap().first_queue(vf.into())
}

fn blocked(host: &Host<'_>, queue: u32) -> bool {
    let pf = host.machine.pf();
    pf.read32(regs::wqbr_tx(queue / 32)) >> (queue % 32) & 1 != 0
}

#[test]
fn detection_is_switched_on_and_off_and_nothing_else() {
    let host = host();
    let pf = host.machine.pf();
    let read = || (pf.read32(regs::DMATXCTL), pf.read32(regs::RDRXCTL));
    let on = read();
    mdd::set(&pf, false);
    let off = read();
    let (tx, rx) = (
        regs::DMATXCTL_MDP_EN | regs::DMATXCTL_MBINTEN,
        regs::RDRXCTL_MDP_EN | regs::RDRXCTL_MBINTEN,
    );
    assert_eq!(on, (off.0 | tx, off.1 | rx));
    assert_eq!((off.0 & tx, off.1 & rx), (0, 0));
    assert_ne!(off.0 & regs::DMATXCTL_TE, 0);
}

#[test]
fn a_vf_whose_queue_is_blocked_is_told_to_reset_itself_once() {
    let mut host = host();
    assert_eq!(check(&mut host), None);
    misbehave(&host, Function::Vf(VF), 0);
    let q = queue(&host, VF);
    assert!(blocked(&host, q));
    let first = check(&mut host).expect("an event");
    assert_eq!((first.vfs, first.others), (1 << VF, false));
    assert_eq!(first.tx & 0x7F, q, "what LVMMC says");
    assert!(!host.vfs[usize::from(VF)].clear_to_send);
    let word = host.vf_hears().expect("a message")[0];
    assert!(
        word == PF_CONTROL_MSG || word == PF_CONTROL_MSG | VT_MSGTYPE_CTS,
        "{word:#x}"
    );
    // It stays blocked, so that it cannot interrupt the PF without end, and is told no second time.
    assert_eq!(check(&mut host), None);
    assert!(blocked(&host, q));
    // Until it has done it.
    host.reset_vf();
    assert!(!blocked(&host, q));
    host.vf_says(&Request::Reset.encode());
    host.serve();
    assert!(host.vfs[usize::from(VF)].clear_to_send);
    assert_eq!(check(&mut host), None);
    // Its next fault is another event.
    misbehave(&host, Function::Vf(VF), 0);
    assert!(check(&mut host).is_some());
}

#[test]
fn its_driver_alone_may_have_reset_it() {
    let mut host = host();
    misbehave(&host, Function::Vf(VF), 1);
    check(&mut host).expect("an event");
    // The reset message comes without a reset of the function.
    host.vf_hears();
    host.serve();
    host.vf_says(&Request::Reset.encode());
    host.serve();
    let q = queue(&host, VF) + 1;
    assert!(!blocked(&host, q));
}

#[test]
fn neighbours_notice_nothing() {
    let mut host = host();
    let mut rings = Rings::new(host.machine);
    host.machine.pf().write32(regs::vfte(0), 3);
    misbehave(&host, Function::Vf(1 - VF), 0);
    let event = check(&mut host).expect("an event");
    assert_eq!(event.vfs, 1 << (1 - VF));
    assert!(host.vfs[usize::from(VF)].clear_to_send);
    assert!(host.vf_hears().is_none());
    rings.tx[0].send(&frame(PEER, VF_MAC, 64));
    assert_eq!(host.machine.take_sent().len(), 1);
}

/// `ixgbe_check_mdd_event` looks a VF up by the queue's number, whether there is one or not.
#[test]
fn a_queue_of_nobody_or_of_the_pf_is_let_go() {
    let mut host = host();
    let q = queue(&host, 2);
    misbehave(&host, Function::Pf, q);
    assert!(blocked(&host, q));
    let event = check(&mut host).expect("an event");
    assert_eq!((event.vfs, event.others), (0, true));
    assert!(host.vfs.iter().all(|v| v.clear_to_send == v.open));
    host.vfs.clear();
    host.switch.num_vfs = 0;
    misbehave(&host, Function::Vf(VF), 0);
    let event = check(&mut host).expect("an event");
    assert_eq!((event.vfs, event.others), (0, true));
    // Without pools nobody looks.
    host.switch.pools = None;
    misbehave(&host, Function::Vf(VF), 0);
    assert_eq!(check(&mut host), None);
}

/// 82599 and X540 have no such block.
#[test]
fn other_chips_are_not_asked() {
    let mut host = Host::new(Box::leak(Box::new(switched_on(x540_with(
        HeadWrite::Value,
    )))));
    host.bring_up(false);
    let pf = host.machine.pf();
    pf.write32(regs::LVMMC_TX, 0);
    misbehave(&host, Function::Vf(VF), 0);
    let pf = libixgbe::migration::Counted::new(host.machine.pf());
    assert_eq!(host.switch.check_blocked(&pf, &mut host.vfs), None);
    assert_eq!(pf.accesses(), 0);
}

/// `ixgbe_ndo_set_vf_spoofchk`: no VF that is checked may pause the switch, or say who is at the other end of the wire.
#[test]
fn a_vf_sends_neither_pause_frames_nor_lldp() {
    let mut host = host();
    let mut rings = Rings::new(host.machine);
    let typed = |ethertype: u16| {
        let mut frame = frame(PEER, VF_MAC, 64);
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        frame
    };
    for (checked, sent) in [(true, 1), (false, 3), (true, 1)] {
        let pf = host.machine.pf();
        let state = &mut host.vfs[usize::from(VF)];
        host.switch
            .admin_set_spoofchk(&pf, VF.into(), state, checked);
        for ethertype in [0x8808, 0x88CC, 0x0800] {
            rings.tx[0].send(&typed(ethertype));
        }
        assert_eq!(host.machine.take_sent().len(), sent, "checked: {checked}");
    }
    // A reset of the device takes the filters, and the PF brings them back.
    host.reset_device();
    let pf = host.machine.pf();
    let filters: Vec<_> = (0..8).map(|i| pf.read32(regs::etqf(i))).collect();
    let bits = regs::ETQF_FILTER_EN | regs::ETQF_TX_ANTISPOOF;
    assert_eq!(filters[5], bits | 0x88CC);
    assert_eq!(filters[7], bits | 0x8808);
}
