// SPDX-License-Identifier: GPL-2.0
//! A VF between hosts whose PFs ask its driver for something, and the driver that does it.

use ixgbe_model::testing::Machine;
use ixgbe_model::HeadWrite;
use libixgbe::mbx::{Words, VT_MSGTYPE_CTS};
use libixgbe::mbx_ext::{self, MarkingReply, PfMessage, Restore, VfMessage};
use libixgbe::{regs, Regs};

use super::moving::{carry, resume, save, Host, Rings, VF, VF_MAC};
use super::{frame, machine_with, PEER};

/// A machine that lives as long as the test run.
pub(crate) fn machine(policy: HeadWrite) -> &'static Machine {
    Box::leak(Box::new(machine_with(policy)))
}

pub(crate) fn host(policy: HeadWrite) -> Host<'static> {
    Host::new(machine(policy))
}

/// A VF with both queues busy: frames were taken, `untaken` were not, frames were sent.
pub(crate) fn busy<'a>(a: &mut Host<'a>) -> (Rings<'a>, Vec<Vec<u8>>) {
    a.bring_up(true);
    let mut rings = Rings::new(a.machine);
    for n in 0..70 {
        let f = a.receive(n);
        assert_eq!(rings.take_all(), [f]);
        rings.tx[n % 2].send(&frame(PEER, VF_MAC, 100 + n));
    }
    assert_eq!(a.machine.take_sent().len(), 70);
    let untaken = (0..5).map(|n| a.receive(n)).collect();
    (rings, untaken)
}

/// Moves the VF and lets it run.
pub(crate) fn go<'b>(a: &mut Host<'_>, b: &mut Host<'b>, rings: &Rings<'_>) -> Rings<'b> {
    let (blob, mmio) = save(a);
    assert!(
        blob.len() <= 4096 && mmio <= 150,
        "{} bytes, {mmio} accesses to save",
        blob.len()
    );
    let (rings, mmio) = carry(a.machine, b, rings, &blob);
    let (_, more) = resume(b);
    // A request that the last host left is answered in the same call, which is no part of loading.
    let answers = b.mover.state().mailbox.request;
    // As is the look through the VLAN filters for a VLAN beyond the first.
    let vlans = b.mover.state().filters.vlans.as_slice().len() as u32;
    let mmio = mmio + more;
    assert!(
        mmio <= 130 + 70 * vlans || answers,
        "{mmio} accesses to load"
    );
    rings
}

/// A busy VF that has moved to where heads cannot be written, and has heard of nothing yet.
pub(crate) fn parked() -> (Host<'static>, Rings<'static>, Vec<Vec<u8>>) {
    let (mut a, mut b) = (host(HeadWrite::Zero), host(HeadWrite::Zero));
    let (rings, untaken) = busy(&mut a);
    let rings = go(&mut a, &mut b, &rings);
    (b, rings, untaken)
}

/// The next message of the PF, with clear-to-send.
pub(crate) fn hear(h: &mut Host<'_>) -> Option<PfMessage> {
    let words = h.vf_hears()?;
    h.serve();
    assert!(words[0] & VT_MSGTYPE_CTS != 0, "{words:x?}");
    PfMessage::parse(&words).ok()
}

pub(crate) fn hear_restore(h: &mut Host<'_>) -> Restore {
    match hear(h) {
        Some(PfMessage::Restore(r)) => r,
        other => panic!("no restore but {other:?}"),
    }
}

/// No further message asks for rings to be re-armed.
pub(crate) fn hears_of_no_rearm(h: &mut Host<'_>) {
    while let Some(words) = h.vf_hears() {
        h.serve();
        if let Ok(PfMessage::Restore(r)) = PfMessage::parse(&words) {
            assert_eq!((r.rearm_rx, r.rearm_tx), (0, 0), "asked again: {r:?}");
        }
    }
}

pub(crate) fn rearm_rx(rings: &mut Rings<'_>, r: &Restore) {
    for (i, rx) in rings.rx.iter_mut().enumerate() {
        if r.rearm_rx >> i & 1 != 0 {
            rx.rearm();
        }
    }
}

pub(crate) fn rearm_tx(rings: &mut Rings<'_>, r: &Restore) {
    for (i, tx) in rings.tx.iter_mut().enumerate() {
        if r.rearm_tx >> i & 1 != 0 {
            tx.rearm(r.heads[i] >> 16);
        }
    }
}

pub(crate) fn restore_done(generation: u32) -> Words {
    VfMessage::RestoreDone(mbx_ext::RestoreDone {
        head: mbx_ext::VF_RESTORE_DONE,
        version: mbx_ext::EXT_VERSION,
        generation,
        rearmed: 2,
        frames: 5,
        reserved: [0; 11],
    })
    .words()
}

pub(crate) fn marking_reply(generation: u32, marking: u32) -> Words {
    VfMessage::MarkingReply(MarkingReply {
        head: mbx_ext::VF_MARKING_REPLY,
        version: mbx_ext::EXT_VERSION,
        generation,
        marking,
        reserved: [0; 12],
    })
    .words()
}

/// The driver does what it was asked to.
pub(crate) fn obey(h: &mut Host<'_>, rings: &mut Rings<'_>, r: &Restore) {
    rearm_rx(rings, r);
    h.ask(&restore_done(r.generation));
    rearm_tx(rings, r);
}

pub(crate) fn flows(h: &Host<'_>, rings: &mut Rings<'_>) {
    for n in 0..6 {
        let f = h.receive(300 + n);
        assert_eq!(rings.take_all(), [f]);
        let f = frame(PEER, VF_MAC, 400 + n);
        rings.tx[n % 2].send(&f);
        assert_eq!(h.machine.take_sent(), [f]);
    }
}

pub(crate) fn enabled(h: &Host<'_>) -> (Vec<bool>, Vec<bool>) {
    let vf = h.machine.vf(VF);
    let on = |reg: u32| vf.read32(reg) & regs::RXDCTL_ENABLE != 0;
    (
        (0..2).map(|i| on(regs::vfrxdctl(i))).collect(),
        (0..2).map(|i| on(regs::vftxdctl(i))).collect(),
    )
}

pub(crate) fn rx_gate(h: &Host<'_>) -> u32 {
    h.machine.pf().read32(regs::vfre(0)) >> VF & 1
}
