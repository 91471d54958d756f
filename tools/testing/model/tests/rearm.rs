// SPDX-License-Identifier: GPL-2.0
//! Rings that a guest has to re-arm: it is asked once, does it once, and owes it over any number of moves.

mod common;

use std::cell::{Cell, RefCell};

use common::asking::{
    busy, enabled, flows, go, hear_restore, hears_of_no_rearm, host, machine, obey, parked,
    rearm_rx, rearm_tx, restore_done, rx_gate,
};
use common::moving::{resume, Host, Rings, VF, VF_MAC};
use common::wanderer::Wanderer;
use common::{frame, machine_with, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::Machine;
use ixgbe_model::HeadWrite;
use libixgbe::mbx::vf::VfMbx;
use libixgbe::mbx::{Request, VT_MSGTYPE_ACK};
use libixgbe::mbx_ext::{self, Done, PfMessage, Restore};
use libixgbe::migration::pf::Error;
use libixgbe::migration::HeadRestore;
use libixgbe::ring::{QueueRegs, RxRing, TxRing};
use libixgbe::{regs, Delay, Regs};

/// A VF that moves on before its driver has heard that it has to re-arm: the rings stay parked, the message is the one that
/// was sent, and it is the only one.
#[test]
fn a_rearm_stays_owed_over_hosts() {
    for policy in [HeadWrite::Value, HeadWrite::Zero, HeadWrite::Ignore] {
        let (mut b, rings, untaken) = parked();
        let mut c = host(policy);
        let mut rings = go(&mut b, &mut c, &rings);
        assert!(!enabled(&c).0[0], "{policy:?}: started");
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

/// A driver that resets the function, which the PF sees before its message, is announced like one that has re-armed.
#[test]
fn a_driver_that_resets_the_function_is_announced() {
    let (mut b, _rings, _) = parked();
    assert!(!b.mover.take_announcement());
    b.machine.reset(Function::Vf(VF));
    b.with(|m, _, pf| m.was_reset(pf));
    assert!(!b.mover.take_announcement(), "nobody serves it yet");
    b.bring_up(true);
    assert!(b.mover.take_announcement() && !b.mover.take_announcement());
    // One whose user is gone is not.
    let (mut b, _rings, _) = parked();
    b.with(|m, _, pf| m.was_reset(pf));
    b.with(|m, _, pf| m.reset(pf));
    b.bring_up(true);
    assert!(!b.mover.take_announcement());
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

/// What the driver of a VF does with a restore, with the register accesses of the driver's own code.
fn drive(w: &Wanderer<'_>, mbx: &mut VfMbx, r: &Restore) {
    let with = |f: &mut dyn FnMut(&mut Rings<'_>)| f(w.rings.borrow_mut().as_mut().unwrap());
    for i in (0..2).filter(|i| Done::rearms_rx(w, r, *i)) {
        let mut dma = 0;
        with(&mut |rings| {
            let ring = &mut rings.rx[i as usize];
            ring.rewind();
            dma = ring.base;
        });
        let setup = RxRing {
            regs: QueueRegs::vf(i),
            dma,
            count: 64,
            buffer_len: 2048,
            drop_en: true,
            vlan_strip: false,
        };
        setup.enable(w).unwrap();
        w.write32(regs::vfrdt(i), 63);
    }
    let answer = mbx.exchange_words(w, &restore_done(r.generation));
    assert_eq!(answer.unwrap()[2], r.generation);
    for i in (0..2).filter(|i| Done::rearms_tx(w, r, *i)) {
        let (mut dma, mut next) = (0, 0);
        with(&mut |rings| {
            let ring = &mut rings.tx[i as usize];
            ring.rewind(r.heads[i as usize] >> 16);
            (dma, next) = (ring.base, ring.next);
        });
        let setup = TxRing {
            regs: QueueRegs::vf(i),
            dma,
            count: 64,
            wthresh: 8,
        };
        setup.enable(w).unwrap();
        w.write32(regs::vftdt(i), next);
    }
}

/// A driver is stopped after `n` accesses of its work on a restore, moves, and goes on. Returns its accesses.
fn stopped_at_work(policy: HeadWrite, n: usize) -> usize {
    let machines = [HeadWrite::Zero, HeadWrite::Zero, policy].map(machine_with);
    let mut hosts: Vec<_> = machines.iter().map(Host::new).collect();
    let (rings, untaken) = busy(&mut hosts[0]);
    let [a, b, _] = &mut hosts[..] else {
        panic!("three were made");
    };
    let mut rings = go(a, b, &rings);
    let r = hear_restore(b);
    assert_eq!(rings.take_all(), untaken);
    // Not sent yet: to be sent once, wherever.
    let unsent: Vec<_> = (0..4).map(|n| frame(PEER, VF_MAC, 200 + n)).collect();
    for (n, f) in unsent.iter().enumerate() {
        rings.tx[n % 2].send(f);
    }
    let w = &Wanderer {
        hosts: RefCell::new(hosts),
        rings: RefCell::new(Some(rings)),
        at: Cell::new(1),
        moves: RefCell::new(vec![n]),
        accesses: Cell::new(0),
    };
    let mut mbx = VfMbx::new();
    let mut done = Done::default();
    assert!(done.is_new(&r));
    drive(w, &mut mbx, &r);
    let accesses = w.accesses.get();
    if !w.moves.borrow().is_empty() {
        w.moves.borrow_mut().clear();
        w.wander();
    }
    w.udelay(1);
    while let Some(words) = mbx.take_message(w).unwrap() {
        if let Ok(PfMessage::Restore(again)) = PfMessage::parse(&words) {
            assert!(done.is_new(&again), "{policy:?} {n}: {again:?}");
            drive(w, &mut mbx, &again);
        }
        w.udelay(1);
    }
    let hosts = w.hosts.borrow();
    let mut sent = Vec::new();
    for h in hosts.iter() {
        sent.extend(h.machine.take_sent());
    }
    sent.sort_by_key(Vec::len);
    assert_eq!(sent, unsent, "{policy:?} {n}");
    let h = &hosts[2];
    assert!(!h.mover.owes_rearm(), "{policy:?} {n}");
    flows(h, w.rings.borrow_mut().as_mut().unwrap());
    accesses
}

/// A driver is stopped after each register access while it re-arms its rings: what it has done counts, the rest it does where it
/// goes on, and no frame is lost or sent twice.
#[test]
fn a_driver_may_be_stopped_anywhere_while_it_rearms() {
    for policy in [HeadWrite::Value, HeadWrite::Zero, HeadWrite::Ignore] {
        let all = stopped_at_work(policy, usize::MAX);
        assert!(all > 80, "{all} accesses");
        for n in 1..=all {
            stopped_at_work(policy, n);
        }
    }
}
