// SPDX-License-Identifier: GPL-2.0
//! What PF and VF say to each other about a move: each message is heard once, a command with an effect is done once, and
//! neither a move nor another message costs one of them.

mod common;

use std::cell::{Cell, RefCell};

use common::moving::{carry, load, registration, resume, save, Host, Rings, VF, VF_MAC};
use common::{frame, machine_with, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::Machine;
use ixgbe_model::HeadWrite;
use libixgbe::mbx::vf::{Error as MbxError, VfMbx};
use libixgbe::mbx::{pf as mailbox, Request, Words, VT_MSGTYPE_ACK, VT_MSGTYPE_CTS};
use libixgbe::mbx_ext::{self, Done, MarkingReply, PfMessage, Restore, VfMessage};
use libixgbe::migration::pf::Error;
use libixgbe::migration::{HeadRestore, Marking, Unmarked};
use libixgbe::{regs, Delay, Regs};

/// A machine that lives as long as the test run.
fn machine(policy: HeadWrite) -> &'static Machine {
    Box::leak(Box::new(machine_with(policy)))
}

fn host(policy: HeadWrite) -> Host<'static> {
    Host::new(machine(policy))
}

/// A VF with both queues busy: frames were taken, `untaken` were not, frames were sent.
fn busy<'a>(a: &mut Host<'a>) -> (Rings<'a>, Vec<Vec<u8>>) {
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
fn go<'b>(a: &mut Host<'_>, b: &mut Host<'b>, rings: &Rings<'_>) -> Rings<'b> {
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
fn parked() -> (Host<'static>, Rings<'static>, Vec<Vec<u8>>) {
    let (mut a, mut b) = (host(HeadWrite::Zero), host(HeadWrite::Zero));
    let (rings, untaken) = busy(&mut a);
    let rings = go(&mut a, &mut b, &rings);
    (b, rings, untaken)
}

/// The next message of the PF, with clear-to-send.
fn hear(h: &mut Host<'_>) -> Option<PfMessage> {
    let words = h.vf_hears()?;
    h.serve();
    assert!(words[0] & VT_MSGTYPE_CTS != 0, "{words:x?}");
    PfMessage::parse(&words).ok()
}

fn hear_restore(h: &mut Host<'_>) -> Restore {
    match hear(h) {
        Some(PfMessage::Restore(r)) => r,
        other => panic!("no restore but {other:?}"),
    }
}

/// No further message asks for rings to be re-armed.
fn hears_of_no_rearm(h: &mut Host<'_>) {
    while let Some(words) = h.vf_hears() {
        h.serve();
        if let Ok(PfMessage::Restore(r)) = PfMessage::parse(&words) {
            assert_eq!((r.rearm_rx, r.rearm_tx), (0, 0), "asked again: {r:?}");
        }
    }
}

fn rearm_rx(rings: &mut Rings<'_>, r: &Restore) {
    for (i, rx) in rings.rx.iter_mut().enumerate() {
        if r.rearm_rx >> i & 1 != 0 {
            rx.rearm();
        }
    }
}

fn rearm_tx(rings: &mut Rings<'_>, r: &Restore) {
    for (i, tx) in rings.tx.iter_mut().enumerate() {
        if r.rearm_tx >> i & 1 != 0 {
            tx.rearm(r.heads[i] >> 16);
        }
    }
}

fn restore_done(generation: u32) -> Words {
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

fn marking_reply(generation: u32, marking: u32) -> Words {
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
fn obey(h: &mut Host<'_>, rings: &mut Rings<'_>, r: &Restore) {
    rearm_rx(rings, r);
    h.ask(&restore_done(r.generation));
    rearm_tx(rings, r);
}

fn flows(h: &Host<'_>, rings: &mut Rings<'_>) {
    for n in 0..6 {
        let f = h.receive(300 + n);
        assert_eq!(rings.take_all(), [f]);
        let f = frame(PEER, VF_MAC, 400 + n);
        rings.tx[n % 2].send(&f);
        assert_eq!(h.machine.take_sent(), [f]);
    }
}

fn enabled(h: &Host<'_>) -> (Vec<bool>, Vec<bool>) {
    let vf = h.machine.vf(VF);
    let on = |reg: u32| vf.read32(reg) & regs::RXDCTL_ENABLE != 0;
    (
        (0..2).map(|i| on(regs::vfrxdctl(i))).collect(),
        (0..2).map(|i| on(regs::vftxdctl(i))).collect(),
    )
}

fn rx_gate(h: &Host<'_>) -> u32 {
    h.machine.pf().read32(regs::vfre(0)) >> VF & 1
}

/// A VF that moves on before its driver has heard that it has to re-arm: the rings stay parked, the message is the one that
/// was sent, and it is the only one.
#[test]
fn a_rearm_stays_owed_over_hosts() {
    for policy in [HeadWrite::Value, HeadWrite::Zero, HeadWrite::Ignore] {
        let (mut b, rings, untaken) = parked();
        let mut c = host(policy);
        let mut rings = go(&mut b, &mut c, &rings);
        assert_eq!(enabled(&c).0[0], false, "{policy:?}: started");
        assert_eq!(enabled(&c).1, [false, false], "{policy:?}: started");
        assert_eq!(rx_gate(&c), 0);
        assert!(!c.mover.take_announcement());
        let r = hear_restore(&mut c);
        assert_eq!((r.rearm_rx & 1, r.rearm_tx), (1, 3));
        assert_eq!(r.heads[0] >> 16, 35);
        assert_eq!(rings.take_all(), untaken);
        obey(&mut c, &mut rings, &r);
        hears_of_no_rearm(&mut c);
        assert!(c.mover.take_announcement());
        flows(&c, &mut rings);
    }
}

/// The same over many hosts, with the driver getting to it at any of them.
#[test]
fn a_rearm_stays_owed_over_many_hosts() {
    for stops in 0..4 {
        let (mut at, mut rings, untaken) = parked();
        for n in 0..stops {
            let policy = [HeadWrite::Value, HeadWrite::Ignore][n % 2];
            let mut next = host(policy);
            rings = go(&mut at, &mut next, &rings);
            at = next;
        }
        let r = hear_restore(&mut at);
        assert_eq!(rings.take_all(), untaken);
        obey(&mut at, &mut rings, &r);
        hears_of_no_rearm(&mut at);
        flows(&at, &mut rings);
        // What is done is forgotten.
        let mut next = host(HeadWrite::Value);
        let mut rings = go(&mut at, &mut next, &rings);
        hears_of_no_rearm(&mut next);
        flows(&next, &mut rings);
    }
}

/// A move is cancelled before the driver has heard that it has to re-arm.
#[test]
fn a_cancelled_move_asks_once() {
    for policy in [HeadRestore::Auto, HeadRestore::Rearm] {
        let (mut b, mut rings, untaken) = parked();
        b.head_restore = policy;
        for _ in 0..3 {
            b.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
            resume(&mut b);
        }
        let r = hear_restore(&mut b);
        assert_eq!(rings.take_all(), untaken);
        rearm_rx(&mut rings, &r);
        b.ask(&restore_done(r.generation));
        rearm_tx(&mut rings, &r);
        // With a forced re-arm the second queue was parked by the cancelled move.
        while let Some(words) = b.vf_hears() {
            b.serve();
            if let Ok(PfMessage::Restore(r)) = PfMessage::parse(&words) {
                obey(&mut b, &mut rings, &r);
            }
        }
        flows(&b, &mut rings);
    }
}

/// The driver has taken the message and works on it when the VF stops: it is done where the VF runs next, once.
#[test]
fn a_rearm_that_was_taken_is_done_at_the_next_host() {
    for policy in [HeadWrite::Value, HeadWrite::Zero, HeadWrite::Ignore] {
        let (mut b, mut rings, untaken) = parked();
        let r = hear_restore(&mut b);
        assert_eq!(rings.take_all(), untaken);
        let mut c = host(policy);
        let mut rings = go(&mut b, &mut c, &rings);
        assert!(c.vf_hears().is_none(), "a second message");
        assert_eq!(rx_gate(&c), 0);
        rearm_rx(&mut rings, &r);
        c.ask(&restore_done(r.generation));
        assert!(!c.mover.waits_for_guest());
        assert_eq!(rx_gate(&c), 1);
        assert!(c.mover.take_announcement());
        rearm_tx(&mut rings, &r);
        hears_of_no_rearm(&mut c);
        flows(&c, &mut rings);
    }
}

/// It stops when a part is done: what runs comes back like any ring, the rest stays owed.
#[test]
fn a_rearm_that_is_half_done_is_finished_at_the_next_host() {
    for policy in [HeadWrite::Value, HeadWrite::Zero, HeadWrite::Ignore] {
        for done in 0..3 {
            let (mut b, mut rings, untaken) = parked();
            let r = hear_restore(&mut b);
            assert_eq!(rings.take_all(), untaken);
            rearm_rx(&mut rings, &r);
            if done > 0 {
                b.ask(&restore_done(r.generation));
                // Frames move the head of the ring that was re-armed.
                let f = b.receive(7);
                assert_eq!(rings.take_all(), [f]);
            }
            if done > 1 {
                rings.tx[0].rearm(r.heads[0] >> 16);
                let f = frame(PEER, VF_MAC, 200);
                rings.tx[0].send(&f);
                assert_eq!(b.machine.take_sent(), [f]);
            }
            let mut c = host(policy);
            let mut rings = go(&mut b, &mut c, &rings);
            if done == 0 {
                c.ask(&restore_done(r.generation));
            }
            if done < 2 {
                rings.tx[0].rearm(r.heads[0] >> 16);
            }
            rings.tx[1].rearm(r.heads[1] >> 16);
            c.serve();
            while let Some(words) = c.vf_hears() {
                c.serve();
                if let Ok(PfMessage::Restore(again)) = PfMessage::parse(&words) {
                    assert_ne!(again.generation, r.generation);
                    obey(&mut c, &mut rings, &again);
                }
            }
            flows(&c, &mut rings);
        }
    }
}

/// Numbers are those of the VF, not of a host: an answer for another host's message satisfies nothing.
#[test]
fn numbers_are_unique_over_hosts() {
    let (mut at, mut rings, _) = parked();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let r = hear_restore(&mut at);
        assert!(
            !seen.contains(&r.generation),
            "{seen:x?} {:x}",
            r.generation
        );
        for old in &seen {
            at.ask(&restore_done(*old));
            assert!(at.mover.waits_for_guest(), "satisfied by an old answer");
        }
        seen.push(r.generation);
        rings.take_all();
        obey(&mut at, &mut rings, &r);
        flows(&at, &mut rings);
        let mut next = host(HeadWrite::Zero);
        rings = go(&mut at, &mut next, &rings);
        at = next;
    }
}

/// The answer to a request to mark comes after other messages with numbers of their own.
#[test]
fn a_late_answer_to_the_request_to_mark_counts() {
    let mut a = host(HeadWrite::Value);
    a.bring_up(true);
    let _rings = Rings::new(a.machine);
    a.with(|m, io, pf| m.start_marking(io, pf));
    assert_eq!(a.mover.give_up_waiting(), Marking::Late);
    let mut record = vec![0; 4096];
    a.with(|m, io, pf| m.compat(io, pf, &mut record)).0.unwrap();
    let Some(PfMessage::StartMarking(m)) = hear(&mut a) else {
        panic!("no request to mark");
    };
    a.serve();
    // Queues that are registered meanwhile are told the same number.
    let words = a.ask(&VfMessage::RegisterQueue(registration(0)).words());
    assert_eq!(words[10], m.generation);
    a.ask(&marking_reply(m.generation, 1));
    assert_eq!(a.mover.marking(), Marking::On);
}

/// Clear-to-send was withdrawn, or the link changed, and the VF moves before it has read that.
#[test]
fn what_the_vf_has_not_read_moves_with_it() {
    for cooperates in [false, true] {
        let (mut a, mut b) = (host(HeadWrite::Value), host(HeadWrite::Value));
        a.bring_up(cooperates);
        a.switch
            .restart(&a.machine.pf(), VF.into(), &mut a.vfs[usize::from(VF)]);
        let (blob, _) = save(&mut a);
        b.machine.reset(Function::Vf(VF));
        load(&mut b, &blob).0.unwrap();
        resume(&mut b);
        let words = b.vf_hears().expect("clear-to-send is withdrawn");
        assert_eq!(words[0] & VT_MSGTYPE_CTS, 0);

        let (mut a, mut b) = (host(HeadWrite::Value), host(HeadWrite::Value));
        a.bring_up(cooperates);
        let vf = &mut a.vfs[usize::from(VF)];
        a.switch.ping(&a.machine.pf(), VF.into(), vf);
        let (blob, _) = save(&mut a);
        b.machine.reset(Function::Vf(VF));
        load(&mut b, &blob).0.unwrap();
        resume(&mut b);
        let mut pinged = false;
        while let Some(words) = b.vf_hears() {
            b.serve();
            pinged |= words[0] & mbx_ext::TYPE_MASK == 0x100;
        }
        assert!(pinged, "the link has changed");
    }
}

/// The link changes, or the administrator speaks, while a message that matters lies in the mailbox.
#[test]
fn a_ping_costs_no_message() {
    let (mut b, _, _) = parked();
    let pf = b.machine.pf();
    b.switch.ping_all(&pf, &mut b.vfs);
    let r = hear_restore(&mut b);
    assert_ne!(r.rearm_tx, 0);
    let ping = b.vf_hears().expect("a ping");
    assert_eq!(ping[0] & mbx_ext::TYPE_MASK, 0x100);
    b.serve();
    assert!(b.vf_hears().is_none());

    // Nor an answer.
    let mut a = host(HeadWrite::Value);
    a.bring_up(false);
    a.vf_says(&Request::GetQueues.encode());
    a.serve();
    a.switch.ping_all(&a.machine.pf(), &mut a.vfs);
    let answer = a.vf_hears().expect("an answer");
    assert_eq!(answer[0] & 0xffff, 9);
    a.serve();
    let ping = a.vf_hears().expect("a ping");
    assert_eq!(ping[0] & mbx_ext::TYPE_MASK, 0x100);
}

/// A request of the VF overwrites a message; a newer one of the same kind waits already.
#[test]
fn a_newer_message_is_not_replaced_by_an_older_one() {
    let mut a = host(HeadWrite::Value);
    a.bring_up(true);
    let _rings = Rings::new(a.machine);
    a.with(|m, io, pf| m.start_marking(io, pf));
    let Some(PfMessage::StartMarking(m)) = hear(&mut a) else {
        panic!("no request to mark");
    };
    a.ask(&marking_reply(m.generation, 1));
    // Logging ends and begins again while the VF asks for something.
    a.with(|m, io, pf| m.stop_marking(io, pf));
    a.with(|m, io, pf| m.start_marking(io, pf));
    a.ask(&Request::GetQueues.encode());
    let mut last = None;
    while let Some(words) = a.vf_hears() {
        a.serve();
        last = PfMessage::parse(&words).ok();
    }
    assert!(
        matches!(last, Some(PfMessage::StartMarking(_))),
        "{last:?} is the last word"
    );
}

/// The driver is told of a restore on the host where it marks, and stops marking: it is asked again, and until it has
/// answered nobody marks.
#[test]
fn a_restore_while_the_guest_marks_is_booked() {
    let mut a = host(HeadWrite::Value);
    a.bring_up(true);
    let mut rings = Rings::new(a.machine);
    let f = a.receive(1);
    assert_eq!(rings.take_all(), [f]);
    a.with(|m, io, pf| m.start_marking(io, pf));
    let Some(PfMessage::StartMarking(first)) = hear(&mut a) else {
        panic!("no request to mark");
    };
    a.ask(&marking_reply(first.generation, 1));
    assert_eq!(a.mover.marking(), Marking::On);
    a.head_restore = HeadRestore::Rearm;
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    resume(&mut a);
    assert_ne!(a.mover.marking(), Marking::On, "the restore has ended it");
    let r = hear_restore(&mut a);
    obey(&mut a, &mut rings, &r);
    let Some(PfMessage::StartMarking(again)) = hear(&mut a) else {
        panic!("no request to mark");
    };
    a.ask(&marking_reply(first.generation, 1));
    assert_ne!(a.mover.marking(), Marking::On, "an old answer");
    a.ask(&marking_reply(again.generation, 1));
    assert_eq!(a.mover.marking(), Marking::On);
}

/// Registers of a PF one of whose queues does not stop, while frames come in.
struct Sticky<'a> {
    machine: &'a Machine,
    control: u32,
    frames: &'a RefCell<Vec<Vec<u8>>>,
}

impl Regs for Sticky<'_> {
    fn read32(&self, reg: u32) -> u32 {
        self.machine.pf().read32(reg)
    }
    fn write32(&self, reg: u32, val: u32) {
        if reg != self.control || val & regs::TXDCTL_ENABLE != 0 {
            self.machine.pf().write32(reg, val);
        }
    }
}

impl Delay for Sticky<'_> {
    fn udelay(&self, us: u32) {
        let mut frames = self.frames.borrow_mut();
        if frames.len() < 20 {
            let f = frame(VF_MAC, PEER, 100 + frames.len());
            assert!(self.machine.receive(&f));
            frames.push(f);
        }
        self.machine.pf().udelay(us);
    }
    fn usleep(&self, us: u32) {
        self.udelay(us);
    }
}

/// A queue that does not stop keeps its VF running, and no queue that runs loses its place.
#[test]
fn a_queue_that_did_not_stop_is_left_alone() {
    for policy in [HeadWrite::Value, HeadWrite::Ignore] {
        let machine = machine(policy);
        let mut a = Host::new(machine);
        a.bring_up(true);
        let mut rings = Rings::new(machine);
        let first = a.receive(1);
        assert_eq!(rings.take_all(), [first]);
        for _ in 0..3 {
            let f = frame(PEER, VF_MAC, 100);
            rings.tx[1].send(&f);
        }
        machine.take_sent();
        let frames = RefCell::default();
        // The second Tx queue of VF 1.
        let io = Sticky {
            machine,
            control: regs::txdctl(3),
            frames: &frames,
        };
        let mut pf = libixgbe::migration::pf::Pf {
            switch: &mut a.switch,
            vfs: &mut a.vfs,
            vf: VF.into(),
            device: 0x10ed,
            head_restore: HeadRestore::Auto,
        };
        let result = a.mover.suspend(&io, &mut pf);
        assert!(matches!(result, Err(Error::Stuck(_))), "{result:?}");
        assert_eq!(rings.take_all(), *frames.borrow(), "{policy:?}");
        assert_eq!(machine.vf(VF).read32(regs::vftdh(1)), 3);
        // The other Tx queue did stop: its head is 0 on every device, since it sent nothing.
        assert_eq!(enabled(&a), (vec![true; 2], vec![true; 2]));
        flows(&a, &mut rings);
    }
}

/// What the administrator decides while the VF stands holds when it runs.
#[test]
fn a_resumed_vf_has_the_rights_of_today() {
    let machine = machine(HeadWrite::Value);
    let mut a = Host::new(machine);
    a.bring_up(false);
    let _rings = Rings::new(machine);
    let vmolr = || machine.pf().read32(regs::vmolr(VF.into()));
    let before = vmolr();
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    let pf = machine.pf();
    let vf = &mut a.vfs[usize::from(VF)];
    a.switch.admin_set_vlan(&pf, VF.into(), vf, 7, 0).unwrap();
    resume(&mut a);
    assert_eq!(vmolr() & regs::VMOLR_AUPE, 0, "untagged frames get in");
    assert_ne!(vmolr() & regs::VMOLR_BAM, 0);
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    let vf = &mut a.vfs[usize::from(VF)];
    a.switch.admin_set_vlan(&pf, VF.into(), vf, 0, 0).unwrap();
    resume(&mut a);
    assert_eq!(vmolr(), before);

    // A right that went with the trust.
    a.vfs[usize::from(VF)].trusted = true;
    assert!(a.request(Request::UpdateXcastMode(2)) & VT_MSGTYPE_ACK != 0);
    assert_ne!(vmolr() & regs::VMOLR_MPE, 0);
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    let vf = &mut a.vfs[usize::from(VF)];
    a.switch.admin_set_trust(&pf, VF.into(), vf, false);
    resume(&mut a);
    assert_eq!(vmolr() & regs::VMOLR_MPE, 0, "all groups without trust");
}

/// A VF whose driver has enabled a queue that it did not register.
#[test]
fn a_queue_that_was_used_unregistered_costs_the_session() {
    let machine = machine(HeadWrite::Value);
    let mut a = Host::new(machine);
    a.bring_up(true);
    a.with(|m, io, pf| m.start_marking(io, pf));
    let Some(PfMessage::StartMarking(m)) = hear(&mut a) else {
        panic!("no request to mark");
    };
    a.ask(&marking_reply(m.generation, 1));
    // It begins anew, and its registrations are lost.
    a.request(Request::Reset);
    assert!(a.request(Request::ApiNegotiate(8)) & VT_MSGTYPE_ACK != 0);
    let migration = Request::FeaturesNegotiate(mbx_ext::FEATURE_MIGRATION);
    assert!(a.request(migration) & VT_MSGTYPE_ACK != 0);
    a.request(Request::SetMac(VF_MAC));
    let _rings = Rings::new(machine);
    a.receive(1);
    for i in 0..2 {
        machine.vf(VF).write32(regs::vfrxdctl(i), 0);
    }
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    let written = a.with(|m, io, pf| m.rings(io, pf)).0.unwrap();
    assert!(!written.complete, "nobody knows what it received");
}

/// The answer of the driver is lost, or the message was lost in the driver: it is asked again, under the same number, for what
/// still stands.
#[test]
fn a_rearm_is_asked_for_until_it_is_answered() {
    // Not while the message lies there.
    let (mut b, mut rings, _) = parked();
    b.with(|m, io, pf| m.remind(io, pf));
    let r = hear_restore(&mut b);
    assert!(b.vf_hears().is_none(), "twice at once");
    // Lost in the driver.
    b.with(|m, io, pf| m.remind(io, pf));
    assert_eq!(hear_restore(&mut b), r);
    // The VF is served by now, and still owes it.
    b.with(|m, io, pf| m.serve_now(io, pf));
    assert!(!b.mover.waits_for_guest() && b.mover.owes_rearm());
    // A part is done.
    rings.take_all();
    rearm_rx(&mut rings, &r);
    b.with(|m, io, pf| m.remind(io, pf));
    let again = hear_restore(&mut b);
    assert_eq!((again.rearm_rx, again.rearm_tx), (0, r.rearm_tx));
    assert_eq!((again.generation, again.heads[0] >> 16), (r.generation, 35));
    b.ask(&restore_done(r.generation));
    rearm_tx(&mut rings, &r);
    assert!(!b.mover.owes_rearm());
    b.with(|m, io, pf| m.remind(io, pf));
    hears_of_no_rearm(&mut b);
    flows(&b, &mut rings);
}

/// What of it is owed goes with the driver that owes it.
#[test]
fn a_driver_that_begins_anew_owes_nothing() {
    let (mut b, rings, _) = parked();
    let mut c = host(HeadWrite::Value);
    let _rings = go(&mut b, &mut c, &rings);
    assert!(c.mover.owes_rearm());
    c.bring_up(true);
    assert!(!c.mover.owes_rearm());
    assert_eq!(rx_gate(&c), 1);
    c.with(|m, io, pf| m.remind(io, pf));
    hears_of_no_rearm(&mut c);
    let mut rings = Rings::new(c.machine);
    flows(&c, &mut rings);
}

/// What the driver of a VF makes of messages that it hears twice, or that name what runs.
#[test]
fn a_driver_does_a_restore_once() {
    let (mut b, mut rings, _) = parked();
    let vf = b.machine.vf(VF);
    let mut done = Done::default();
    let r = hear_restore(&mut b);
    assert!(done.is_new(&r));
    assert!(Done::rearms_rx(&vf, &r, 0) && !Done::rearms_rx(&vf, &r, 1));
    assert!(Done::rearms_tx(&vf, &r, 0) && Done::rearms_tx(&vf, &r, 1));
    assert!(!Done::rearms_rx(&vf, &r, 32) && !Done::rearms_tx(&vf, &r, 99));
    rings.take_all();
    obey(&mut b, &mut rings, &r);
    assert!(!done.is_new(&r), "done twice");
    let newer = Restore {
        generation: r.generation + 1,
        rearm_rx: 3,
        rearm_tx: 3,
        ..r
    };
    assert!(done.is_new(&newer));
    for i in 0..2 {
        assert!(!Done::rearms_rx(&vf, &newer, i) && !Done::rearms_tx(&vf, &newer, i));
    }
    // A PF whose numbers begin anew on each host.
    let old = Restore { generation: 1, ..r };
    assert!(done.is_new(&old) && done.is_new(&old));
}

/// The answer to a registration is lost: the PF counts on the queue, so the driver marks. A refusal is no lost answer.
#[test]
fn a_driver_marks_unless_it_was_refused() {
    let mut a = host(HeadWrite::Value);
    a.bring_up(true);
    a.with(|m, io, pf| m.start_marking(io, pf));
    let Some(PfMessage::StartMarking(m)) = hear(&mut a) else {
        panic!("no request to mark");
    };
    a.ask(&marking_reply(m.generation, 1));
    let words = a.ask(&VfMessage::RegisterQueue(registration(0)).words());
    assert_eq!(mbx_ext::marking_after(&Ok(words)), m.generation);
    // The PF has registered the queue, and says that every page is known.
    a.vf_says(&VfMessage::RegisterQueue(registration(1)).words());
    a.serve();
    let _rings = Rings::new(a.machine);
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    assert!(a.with(|m, io, pf| m.rings(io, pf)).0.unwrap().complete);
    assert_ne!(mbx_ext::marking_after(&Err(MbxError::Timeout)), 0);
    assert_ne!(mbx_ext::marking_after(&Err(MbxError::Protocol)), 0);
    assert_eq!(mbx_ext::marking_after(&Err(MbxError::Nack)), 0);
    assert_eq!(mbx_ext::marking_after(&Err(MbxError::NotClearToSend)), 0);
}

/// A VF whose interface went down right before the stop: its frames are in memory, and nobody has taken them.
#[test]
fn a_queue_that_was_switched_off_is_reported() {
    let machine = machine(HeadWrite::Value);
    let mut a = Host::new(machine);
    a.bring_up(true);
    let rings = Rings::new(machine);
    a.with(|m, io, pf| m.start_marking(io, pf));
    let Some(PfMessage::StartMarking(m)) = hear(&mut a) else {
        panic!("no request to mark");
    };
    a.ask(&marking_reply(m.generation, 1));
    assert_eq!(a.mover.marks(), m.generation);
    for n in 0..8 {
        a.receive(n);
    }
    for i in 0..2 {
        machine.vf(VF).write32(regs::vfrxdctl(i), 0);
        machine.vf(VF).write32(regs::vftxdctl(i), 0);
    }
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    let written = a.with(|m, io, pf| m.rings(io, pf)).0.unwrap();
    assert!(written.complete);
    for (i, (rx, tx)) in written.rx.iter().zip(&written.tx).enumerate() {
        if i >= 2 {
            assert_eq!((rx.length, tx.length), (0, 0));
            continue;
        }
        assert_eq!((rx.base, rx.length), (rings.rx[i].base, 64 * 16));
        assert_eq!((tx.base, tx.length), (rings.tx[i].base, 64 * 16));
        let shadow = registration(i as u32);
        assert_eq!((rx.shadow, rx.buffer_len), (shadow.shadow(), 2048));
        let unmarked = Unmarked::new(rx.head, rx.tail, 64);
        assert!(
            (0..64).all(|i| unmarked.contains(i)),
            "a buffer is left out"
        );
    }
    // One that runs is known better.
    let mut a = host(HeadWrite::Value);
    a.bring_up(true);
    let _rings = Rings::new(a.machine);
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    let rx = a.with(|m, io, pf| m.rings(io, pf)).0.unwrap().rx[0];
    let unmarked = Unmarked::new(rx.head, rx.tail, 64);
    assert!((0..64).any(|i| !unmarked.contains(i)));
}

/// A reset of the PF right before the stop takes the registers: where the rings were is not known any more.
#[test]
fn rings_that_nobody_knows_cost_the_session() {
    let machine = machine(HeadWrite::Value);
    let mut a = Host::new(machine);
    a.bring_up(true);
    let _rings = Rings::new(machine);
    a.with(|m, io, pf| m.start_marking(io, pf));
    let Some(PfMessage::StartMarking(m)) = hear(&mut a) else {
        panic!("no request to mark");
    };
    a.ask(&marking_reply(m.generation, 1));
    let pf = machine.pf();
    for q in 2..4 {
        for reg in [regs::rxdctl(q), regs::rdbal(q), regs::rdlen(q)] {
            pf.write32(reg, 0);
        }
    }
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    assert!(!a.with(|m, io, pf| m.rings(io, pf)).0.unwrap().complete);
}

/// A host of an older version does not carry numbers: the next one does not begin with those that the driver has heard.
#[test]
fn numbers_differ_after_a_host_that_did_not_carry_them() {
    let (mut b, _, _) = parked();
    let r = hear_restore(&mut b);
    assert_ne!(r.generation & mbx_ext::UNIQUE, 0);
    b.ask(&restore_done(r.generation));
    let mut seen = vec![r.generation];
    for n in 0..3 {
        let (mut a, mut c) = (host(HeadWrite::Zero), host(HeadWrite::Zero));
        a.bring_up(true);
        // What such a host saves, each time something else.
        let mut rings = Rings::new(a.machine);
        a.receive(n);
        rings.take_all();
        let rings = go(&mut a, &mut c, &rings);
        drop(rings);
        let r = hear_restore(&mut c);
        assert_ne!(r.generation & mbx_ext::UNIQUE, 0);
        assert!(!seen.contains(&r.generation));
        seen.push(r.generation);
    }
}

/// A VF that moves from host to host in the middle of what its driver does with the mailbox.
struct Wanderer<'a> {
    hosts: RefCell<Vec<Host<'a>>>,
    rings: RefCell<Option<Rings<'a>>>,
    at: Cell<usize>,
    /// Accesses until each move.
    moves: RefCell<Vec<usize>>,
    accesses: Cell<usize>,
}

impl<'a> Wanderer<'a> {
    fn step(&self) {
        self.accesses.set(self.accesses.get() + 1);
        let due = self.moves.borrow().first() == Some(&self.accesses.get());
        if due {
            self.moves.borrow_mut().remove(0);
            self.wander();
        }
    }

    fn wander(&self) {
        let hosts = &mut *self.hosts.borrow_mut();
        let at = self.at.get();
        let [a, b] = hosts.get_disjoint_mut([at, at + 1]).unwrap();
        let rings = self.rings.borrow_mut().take().unwrap();
        let rings = go(a, b, &rings);
        *self.rings.borrow_mut() = Some(rings);
        self.at.set(at + 1);
    }

    fn machine(&self) -> &'a Machine {
        self.hosts.borrow()[self.at.get()].machine
    }
}

impl Regs for Wanderer<'_> {
    fn read32(&self, reg: u32) -> u32 {
        let value = self.machine().vf(VF).read32(reg);
        self.step();
        value
    }
    fn write32(&self, reg: u32, val: u32) {
        self.machine().vf(VF).write32(reg, val);
        self.step();
    }
}

impl Delay for Wanderer<'_> {
    fn udelay(&self, _: u32) {
        let hosts = &mut *self.hosts.borrow_mut();
        hosts[self.at.get()].serve();
    }
    fn usleep(&self, us: u32) {
        self.udelay(us);
    }
}

/// What lies in the mailbox when the driver begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lies {
    Nothing,
    Ping,
    Message,
}

/// Takes what the PF sent, as the service task does, and does what it asks for.
fn take_messages(w: &Wanderer<'_>, mbx: &mut VfMbx, done: &mut Vec<u32>) {
    for _ in 0..8 {
        let Some(words) = mbx.take_message(w).unwrap() else {
            return;
        };
        if let Ok(PfMessage::Restore(r)) = PfMessage::parse(&words) {
            if !done.contains(&r.generation) {
                rearm_rx(w.rings.borrow_mut().as_mut().unwrap(), &r);
            }
            let answer = mbx.exchange_words(w, &restore_done(r.generation)).unwrap();
            assert_eq!(answer[2], r.generation);
            if !done.contains(&r.generation) {
                rearm_tx(w.rings.borrow_mut().as_mut().unwrap(), &r);
                done.push(r.generation);
            }
        }
        w.udelay(1);
    }
}

/// Returns how many accesses the driver made.
fn wander(policy: HeadWrite, lies: Lies, moves: &[usize]) -> usize {
    let machines: Vec<_> = (0..=moves.len()).map(|_| machine_with(policy)).collect();
    let mut hosts: Vec<_> = machines.iter().map(Host::new).collect();
    let (mut rings, _) = busy(&mut hosts[0]);
    rings.take_all();
    match lies {
        Lies::Nothing => (),
        Lies::Ping => {
            let h = &mut hosts[0];
            h.switch.ping_all(&h.machine.pf(), &mut h.vfs);
        }
        Lies::Message => {
            let mut record = vec![0; 4096];
            hosts[0]
                .with(|m, io, pf| m.compat(io, pf, &mut record))
                .0
                .unwrap();
        }
    }
    let w = &Wanderer {
        hosts: RefCell::new(hosts),
        rings: RefCell::new(Some(rings)),
        at: Cell::new(0),
        moves: RefCell::new(moves.to_vec()),
        accesses: Cell::new(0),
    };
    let mut mbx = VfMbx::new();
    let mut done = Vec::new();
    let what = || format!("{policy:?}, {lies:?}, moves after {moves:?}");
    for queue in 0..2 {
        let m = VfMessage::RegisterQueue(registration(queue)).words();
        let answer = mbx
            .exchange_words(w, &m)
            .unwrap_or_else(|e| panic!("queue {queue}: {e:?}: {}", what()));
        assert_eq!(
            answer[2],
            queue,
            "the answer to another request: {}",
            what()
        );
    }
    let answer = mbx.exchange(w, &Request::GetQueues);
    let answer = answer.unwrap_or_else(|e| panic!("queues: {e:?}: {}", what()));
    assert_eq!(answer[1], 2);
    let answer = mbx.exchange(w, &Request::SetVlan { add: true, vid: 7 });
    answer.unwrap_or_else(|e| panic!("VLAN: {e:?}: {}", what()));
    take_messages(w, &mut mbx, &mut done);
    let accesses = w.accesses.get();
    while !w.moves.borrow().is_empty() {
        w.moves.borrow_mut().remove(0);
        w.wander();
    }
    w.udelay(1);
    take_messages(w, &mut mbx, &mut done);
    let mut hosts = w.hosts.borrow_mut();
    let h = &mut hosts[w.at.get()];
    assert!(!h.mover.waits_for_guest(), "{}", what());
    let mut rings = w.rings.borrow_mut();
    flows(h, rings.as_mut().unwrap());
    // What was asked for is in force.
    h.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    let mut blob = vec![0; 4096];
    h.with(|m, io, pf| m.save(io, pf, &mut blob)).0.unwrap();
    let s = h.mover.state();
    assert_eq!(s.filters.vlans.as_slice(), [7, 100], "{}", what());
    assert!(s.registrations[0].is_some() && s.registrations[1].is_some());
    accesses
}

/// The VF is stopped after each register access of its driver, moves, and goes on: each request is answered once and right.
#[test]
fn a_vf_may_be_stopped_anywhere() {
    for (policy, lies) in [
        (HeadWrite::Value, Lies::Ping),
        (HeadWrite::Zero, Lies::Nothing),
        (HeadWrite::Zero, Lies::Message),
    ] {
        let all = wander(policy, lies, &[]);
        assert!(all > 100, "{all} accesses");
        for n in 1..=all + 1 {
            wander(policy, lies, &[n]);
        }
    }
}

/// The same with two moves, one shortly after the other.
#[test]
fn a_vf_may_be_stopped_anywhere_twice() {
    for n in 1..40 {
        for m in [1, 18, 20] {
            wander(HeadWrite::Zero, Lies::Message, &[n, n + m]);
        }
    }
}

/// The PF leaves the mailbox to a VF that was stopped while it wrote.
#[test]
fn a_half_written_request_is_not_touched() {
    let (mut a, mut b) = (host(HeadWrite::Zero), host(HeadWrite::Zero));
    let (rings, _) = busy(&mut a);
    let words = VfMessage::RegisterQueue(registration(1)).words();
    let vf = a.machine.vf(VF);
    vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
    for (i, word) in (0..).zip(&words[..8]) {
        vf.write32(regs::vfmbmem(i), *word);
    }
    let mut rings = go(&mut a, &mut b, &rings);
    b.serve();
    let vf = b.machine.vf(VF);
    let seen: Vec<_> = (0..8).map(|i| vf.read32(regs::vfmbmem(i))).collect();
    assert_eq!(seen, words[..8], "the PF wrote over it");
    for (i, word) in (0..).zip(&words).skip(8) {
        vf.write32(regs::vfmbmem(i), *word);
    }
    vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
    b.serve();
    let answer = b.vf_hears().expect("an answer");
    assert_eq!(answer[0] & mbx_ext::TYPE_MASK, mbx_ext::VF_REGISTER_QUEUE);
    assert!(answer[0] & VT_MSGTYPE_ACK != 0);
    b.serve();
    let r = hear_restore(&mut b);
    rings.take_all();
    obey(&mut b, &mut rings, &r);
    flows(&b, &mut rings);
}

/// An acknowledgement that came in time for one message says nothing of the next.
#[test]
fn an_acknowledgement_is_for_what_it_was_given() {
    let mut a = host(HeadWrite::Value);
    a.bring_up(true);
    let _rings = Rings::new(a.machine);
    let pf = a.machine.pf();
    a.switch.ping_all(&pf, &mut a.vfs);
    let ping = a.vf_hears().expect("a ping");
    assert_eq!(ping[0] & mbx_ext::TYPE_MASK, 0x100);
    // Looked at before the answer to a request was sent, dealt with after it.
    let events = mailbox::events(&pf);
    a.vf_says(&Request::GetQueues.encode());
    a.serve();
    let stale = mailbox::Events {
        messages: 0,
        ..events
    };
    a.with(|m, io, pf| m.serve(io, pf, &stale));
    a.with(|m, io, pf| m.start_marking(io, pf));
    let answer = a.vf_hears().expect("an answer");
    assert_eq!(answer[0] & 0xffff, 9, "overwritten");
}
