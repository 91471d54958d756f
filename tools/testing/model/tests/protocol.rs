// SPDX-License-Identifier: GPL-2.0
//! What PF and VF say to each other: each message is heard once, and neither a move nor another message costs one.

mod common;

use std::cell::{Cell, RefCell};

use common::asking::{
    busy, flows, go, hear, hear_restore, host, machine, marking_reply, obey, parked, rearm_rx,
    rearm_tx, restore_done,
};
use common::machine_with;
use common::moving::{load, registration, resume, save, Host, Rings, VF, VF_MAC};
use common::wanderer::Wanderer;
use ixgbe_model::host::Function;
use ixgbe_model::HeadWrite;
use libixgbe::chip::Chip;
use libixgbe::mbx::vf::{Error as MbxError, VfMbx};
use libixgbe::mbx::{pf as mailbox, Request, VT_MSGTYPE_ACK, VT_MSGTYPE_CTS};
use libixgbe::mbx_ext::{self, PfMessage, VfMessage};
use libixgbe::migration::{HeadRestore, Marking, Unmarked};
use libixgbe::{regs, Delay, Regs};

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
    let events = Chip::I82599.events(&pf);
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
