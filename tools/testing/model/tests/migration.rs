// SPDX-License-Identifier: GPL-2.0
//! A VF moves from one device to another: the code that the PF module runs, against the model, with each head policy.

mod common;

use common::moving::{
    between_hosts, carry, load, load_budget, resume, save, Host, Rings, VF, VF_MAC,
};
use common::{frame, machine_with, x540_with, x550_with, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::Machine;
use ixgbe_model::{Chip, HeadWrite};
use libixgbe::mbx::{
    pf as mailbox, Request, Words, PF_CONTROL_MSG, VT_MSGTYPE_ACK, VT_MSGTYPE_CTS,
};
use libixgbe::mbx_ext::{self, VfMessage};
use libixgbe::migration::pf::{Error, Pf};
use libixgbe::migration::{HeadRestore, Marking, Refusal};
use libixgbe::{regs, Delay, Regs};

/// Moves a VF with both queues busy: frames taken, frames received and not taken, frames sent.
fn move_busy_vf(
    policy: HeadWrite,
    cooperates: bool,
    check: impl Fn(&mut Host<'_>, &mut Rings<'_>, Vec<Vec<u8>>),
) {
    for make in [machine_with, x540_with, x550_with] {
        move_busy_vf_of([make(policy), make(policy)], cooperates, &check);
    }
}

/// A machine of the same chip as another one.
fn like(other: &Machine, policy: HeadWrite) -> Machine {
    match other.chip() {
        Chip::X540 | Chip::X540At1 => x540_with(policy),
        Chip::X550 | Chip::X550At1 => x550_with(policy),
        Chip::Kx4 | Chip::Sfp => machine_with(policy),
    }
}

fn move_busy_vf_of(
    [ma, mb]: [Machine; 2],
    cooperates: bool,
    check: impl FnOnce(&mut Host<'_>, &mut Rings<'_>, Vec<Vec<u8>>),
) {
    let mut a = Host::new(&ma);
    let mut b = Host::new(&mb);
    a.bring_up(cooperates);
    let mut rings = Rings::new(&ma);
    let taken: Vec<_> = (0..70)
        .map(|n| {
            let f = a.receive(n);
            assert_eq!(rings.take_all(), std::slice::from_ref(&f));
            f
        })
        .collect();
    assert_eq!(taken.len(), 70);
    for n in 0..70 {
        rings.tx[n % 2].send(&frame(PEER, VF_MAC, 100 + n));
    }
    assert_eq!(ma.take_sent().len(), 70);
    let untaken: Vec<_> = (0..5).map(|n| a.receive(n)).collect();
    ma.take_messages();

    let (blob, mmio) = save(&mut a);
    assert!(
        blob.len() <= 4096 && mmio <= 150,
        "{} bytes, {mmio} accesses to save",
        blob.len()
    );
    // Stopped means stopped.
    ma.take_written();
    a.receive(9);
    rings.tx[0].kick();
    assert!(
        ma.take_written().is_empty() && ma.take_sent().is_empty() && ma.take_messages().is_empty()
    );

    let (mut rings, more) = carry(&ma, &mut b, &rings, &blob);
    b.receive(9);
    assert!(
        mb.take_written().is_empty(),
        "a loaded VF does nothing before it runs"
    );
    let (resumed, mmio) = resume(&mut b);
    assert!(resumed.arrived);
    let loaded = mmio + more;
    assert!(loaded <= load_budget(&b), "{loaded} accesses to load");
    let notes = mb.vf(VF).read32(regs::VFMAILBOX);
    assert_eq!(
        notes & (regs::VFMAILBOX_RSTD | regs::VFMAILBOX_RSTI),
        0,
        "the guest sees no reset"
    );
    // That look has taken the note of a message of the PF, which is sent once more here.
    if notes & regs::VFMAILBOX_PFSTS != 0 {
        mb.pf()
            .write32(regs::pfmailbox(VF.into()), regs::PFMAILBOX_STS);
    }
    b.serve();
    check(&mut b, &mut rings, untaken);
}

#[test]
fn heads_are_written_back_where_they_can_be_and_nobody_notices() {
    for cooperates in [false, true] {
        move_busy_vf(HeadWrite::Value, cooperates, |b, rings, mut want| {
            want.extend((20..90).map(|n| b.receive(n)));
            let mut got = rings.take_all();
            got.extend(rings.take_all());
            // 70 frames do not fit at once in a ring of 64 of which 5 are used.
            assert!(
                got.len() >= 60 && got[..] == want[..got.len()],
                "{} frames",
                got.len()
            );
            let later = b.receive(200);
            assert_eq!(rings.take_all(), [later]);
            for n in 0..10 {
                rings.tx[n % 2].send(&frame(PEER, VF_MAC, 300 + n));
            }
            let sent = b.machine.take_sent();
            assert_eq!(sent.len(), 10);
            assert!((0..10).all(|n| sent.contains(&frame(PEER, VF_MAC, 300 + n))));
            let vectors: Vec<_> = b.machine.take_messages();
            assert!(
                vectors.contains(&(Function::Vf(VF), 0))
                    && vectors.contains(&(Function::Vf(VF), 2))
            );
            match b.vf_hears() {
                Some(words) if cooperates => {
                    let Ok(mbx_ext::PfMessage::Restore(r)) = mbx_ext::PfMessage::parse(&words)
                    else {
                        panic!("{words:x?}");
                    };
                    assert_eq!((r.queues, r.rearm_rx, r.rearm_tx), (2, 0, 0));
                }
                None if !cooperates => (),
                other => panic!("{other:x?}"),
            }
        });
    }
}

#[test]
fn a_cooperating_driver_is_told_to_rearm() {
    for policy in [HeadWrite::Zero, HeadWrite::Ignore] {
        move_busy_vf(policy, true, |b, rings, _| {
            let words = b.vf_hears().expect("a restore message");
            assert!(words[0] & VT_MSGTYPE_CTS != 0);
            let Ok(mbx_ext::PfMessage::Restore(r)) = mbx_ext::PfMessage::parse(&words) else {
                panic!("{words:x?}");
            };
            // Nothing had come to queue 1: its head is 0 on every device.
            assert_eq!((r.queues, r.rearm_rx, r.rearm_tx), (2, 1, 3));
            let [rx0, ..] = r.heads;
            assert_eq!(rx0 >> 16, 35, "70 frames were sent by two queues");
            // What had been received is in memory, whatever became of the rings.
            assert_eq!(rings.take_all().len(), 5);
            let pf = b.machine.pf();
            // The first queue of VF 1.
            let q = 2;
            assert_eq!(pf.read32(regs::rxdctl(q)) & regs::RXDCTL_ENABLE, 0);
            assert_eq!(pf.read32(regs::rdh(q)), 0);
        });
    }
}

/// The VF's answer to a message that makes it re-arm.
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

/// Until the driver has re-armed its rings the VF receives nothing, and no switch is told that it is here.
#[test]
fn a_vf_is_served_once_its_driver_has_rearmed() {
    let gates = |b: &Host<'_>| {
        let pf = b.machine.pf();
        let bit = |row| row >> VF & 1;
        (bit(pf.read32(regs::vfre(0))), bit(pf.read32(regs::vfte(0))))
    };
    let restore = |b: &mut Host<'_>| match mbx_ext::PfMessage::parse(&b.vf_hears().unwrap()) {
        Ok(mbx_ext::PfMessage::Restore(r)) => r,
        other => panic!("{other:?}"),
    };
    let waits = |b: &mut Host<'_>| {
        assert!(b.mover.waits_for_guest());
        assert!(!b.mover.take_announcement());
        assert_eq!(gates(b), (0, 1), "it sends, and does not receive");
    };
    let served = |b: &mut Host<'_>| {
        assert!(!b.mover.waits_for_guest());
        assert!(b.mover.take_announcement() && !b.mover.take_announcement());
        assert_eq!(gates(b), (1, 1));
    };

    move_busy_vf(HeadWrite::Zero, true, |b, _, _| {
        let r = restore(b);
        b.serve();
        waits(b);
        b.ask(&restore_done(r.generation.wrapping_add(1)));
        waits(b);
        b.ask(&restore_done(r.generation));
        served(b);
        assert_eq!(b.mover.rearmed(), (4, 10));
    });
    // Time is up.
    move_busy_vf(HeadWrite::Zero, true, |b, _, _| {
        waits(b);
        b.with(|m, io, pf| m.serve_now(io, pf));
        served(b);
    });
    // The driver begins anew instead.
    move_busy_vf(HeadWrite::Zero, true, |b, _, _| {
        waits(b);
        b.bring_up(true);
        served(b);
    });
    // The administrator has taken the link away: it is found here, and still does not receive.
    move_busy_vf(HeadWrite::Zero, true, |b, _, _| {
        waits(b);
        b.vfs[usize::from(VF)].link_enable = false;
        b.with(|m, io, pf| m.serve_now(io, pf));
        assert!(b.mover.take_announcement());
        assert_eq!(gates(b).0, 0);
    });
    // Where heads come back nobody waits.
    move_busy_vf(HeadWrite::Value, true, |b, _, _| served(b));
}

/// A VF is stopped while its driver programs its queues, which goes on elsewhere as if nothing had been; what a former
/// user of the VF left there is no longer in its way.
#[test]
fn a_queue_moves_while_it_is_programmed() {
    between_hosts(|a, b| {
        a.bring_up(true);
        b.bring_up(true);
        drop(Rings::new(b.machine));
        for ring in 0..2 {
            let vf = a.machine.vf(VF);
            vf.write32(regs::vfrdbal(ring), 0x10_0000 + 0x1000 * ring);
            vf.write32(regs::vfrdbah(ring), 7);
            vf.write32(regs::vfrdlen(ring), 1024);
            vf.write32(regs::vfsrrctl(ring), 0x1000_0002);
            vf.write32(regs::vftdbal(ring), 0x20_0000 + 0x1000 * ring);
            vf.write32(regs::vftdlen(ring), 2048);
        }
        let (blob, mmio) = save(a);
        assert!(mmio <= 150, "{mmio} accesses to save");
        b.reset_vf();
        let (loaded, mmio) = load(b, &blob);
        loaded.unwrap();
        let (_, more) = resume(b);
        let loaded = mmio + more;
        assert!(loaded <= load_budget(b), "{loaded} accesses to load");
        for ring in 0..2 {
            let vf = b.machine.vf(VF);
            let rx = [
                regs::vfrdbal,
                regs::vfrdbah,
                regs::vfrdlen,
                regs::vfrdh,
                regs::vfrdt,
            ]
            .map(|reg| vf.read32(reg(ring)));
            assert_eq!(rx, [0x10_0000 + 0x1000 * ring, 7, 1024, 0, 0]);
            assert_eq!(vf.read32(regs::vfsrrctl(ring)), 0x1000_0002);
            assert_eq!(vf.read32(regs::vfrxdctl(ring)) & regs::RXDCTL_ENABLE, 0);
            let tx = [regs::vftdbal, regs::vftdlen].map(|reg| vf.read32(reg(ring)));
            assert_eq!(tx, [0x20_0000 + 0x1000 * ring, 2048]);
        }
    });
}

/// A VF that moves on before its driver has heard of the first move takes along where its rings stood then, and that they are
/// to be re-armed: the driver hears of it there, wherever the heads could be written. More of this is in `rearm.rs`.
#[test]
fn what_was_not_rearmed_moves_on() {
    move_busy_vf(HeadWrite::Zero, true, |b, rings, untaken| {
        let heads = b.mover.state().rx.map(|rx| rx.head);
        let (blob, _) = save(b);
        let mc = like(b.machine, HeadWrite::Value);
        let mut c = Host::new(&mc);
        let (mut rings, _) = carry(b.machine, &mut c, rings, &blob);
        let (resumed, _) = resume(&mut c);
        assert_eq!(resumed.restored.way, HeadRestore::Rearm);
        assert_eq!(c.mover.state().rx.map(|rx| rx.head), heads);
        assert!(!c.mover.take_announcement());
        let words = c.vf_hears().expect("the message of the first move");
        let Ok(mbx_ext::PfMessage::Restore(r)) = mbx_ext::PfMessage::parse(&words) else {
            panic!("{words:x?}");
        };
        c.serve();
        assert_eq!((r.rearm_rx, r.rearm_tx), (1, 3));
        assert_eq!(rings.take_all(), untaken);
        rings.rx[0].rearm();
        c.ask(&restore_done(r.generation));
        assert!(c.mover.take_announcement());
        assert!(c.vf_hears().is_none(), "nothing else is asked");
        let f = c.receive(3);
        assert_eq!(rings.take_all(), [f]);
    });
}

#[test]
fn an_unknowing_driver_is_made_to_reset_where_heads_cannot_be_written() {
    for policy in [HeadWrite::Zero, HeadWrite::Ignore] {
        move_busy_vf(policy, false, |b, _, _| {
            assert!(!b.vfs[1].clear_to_send, "it is withdrawn");
            // Told so later, see nudge.rs: at first its ring is shown, which stands with frames in it.
            assert_eq!(
                b.vf_hears().expect("a ping")[0],
                PF_CONTROL_MSG | VT_MSGTYPE_CTS
            );
            let vf = b.machine.vf(1);
            assert_ne!(vf.read32(regs::vftdh(0)), vf.read32(regs::vftdt(0)));
            b.bring_up(false);
            assert_eq!(b.vfs[1].mac, VF_MAC);
        });
    }
}

#[test]
fn a_source_resumes_under_each_policy() {
    for (policy, way) in [
        (HeadWrite::Value, HeadRestore::Write),
        (HeadWrite::Zero, HeadRestore::Rearm),
        (HeadWrite::Ignore, HeadRestore::Rearm),
    ] {
        let machine = machine_with(policy);
        let mut a = Host::new(&machine);
        a.bring_up(true);
        let mut rings = Rings::new(&machine);
        let f = a.receive(1);
        assert_eq!(rings.take_all(), [f]);
        save(&mut a);
        let (resumed, _) = resume(&mut a);
        assert!(!resumed.arrived);
        assert_eq!(resumed.restored.way, way);
        if way == HeadRestore::Write {
            let f = a.receive(2);
            assert_eq!(rings.take_all(), [f]);
        }
    }
}

#[test]
fn filters_arrive_and_neighbours_stay() {
    move_busy_vf(HeadWrite::Value, false, |b, rings, untaken| {
        assert_eq!(rings.take_all(), untaken);
        let tagged = |vid: u8| {
            let mut f = [&VF_MAC[..], &PEER[..], &[0x81, 0, 0, vid], &[0x88, 0xb5]].concat();
            f.resize(80, 0x5a);
            f
        };
        assert!(b.machine.receive(&tagged(100)) && b.machine.receive(&tagged(101)));
        assert_eq!(
            rings.take_all().len(),
            1,
            "VLAN 100 was asked for, 101 was not"
        );
        assert_eq!(b.vfs[0].mac, [0; 6]);
        let pf = b.machine.pf();
        assert_eq!(pf.read32(regs::rxdctl(0)) & regs::RXDCTL_ENABLE, 0);
    });
}

#[test]
fn a_half_done_mailbox_exchange_is_finished_by_the_destination() {
    between_hosts(|a, b| {
        a.bring_up(false);
        a.vf_says(&Request::SetVlan { add: true, vid: 7 }.encode());
        let (blob, _) = save(a);
        load(b, &blob).0.unwrap();
        assert!(b.vf_hears().is_none());
        resume(b);
        let answer = b.vf_hears().expect("the answer that the source owed");
        assert_eq!(answer[0] & 0xff, 4);
        assert!(answer[0] & VT_MSGTYPE_ACK != 0);
    });
    // An answer that the VF had not read yet.
    between_hosts(|a, b| {
        a.bring_up(false);
        a.vf_says(&Request::GetQueues.encode());
        a.serve();
        let (blob, _) = save(a);
        load(b, &blob).0.unwrap();
        resume(b);
        assert_eq!(b.vf_hears().expect("the unread answer")[0] & 0xff, 9);
    });
}

#[test]
fn a_refused_state_leaves_no_trace() {
    between_hosts(|a, b| {
        a.bring_up(true);
        let _rings = Rings::new(a.machine);
        let (blob, _) = save(a);
        b.vfs[1].pf_set_mac = true;
        b.vfs[1].mac = [2, 0, 0, 0, 0, 77];
        b.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
        let seen = |b: &Host<'_>| {
            let base = b.machine.pf().read32(regs::rdbal(2));
            format!("{:?}", (b.vfs.clone(), base))
        };
        let before = seen(b);
        let (result, mmio) = load(b, &blob);
        assert_eq!(result, Err(Refusal::AdminMac.into()));
        assert_eq!(mmio, 0);
        assert_eq!(before, seen(b));
        for (i, byte) in blob.iter().enumerate() {
            let mut bad = blob.clone();
            bad[i] = !byte;
            let (result, mmio) = b.with(|m, io, pf| m.load(io, pf, &bad));
            assert!(matches!(result, Err(Error::Refused(_))));
            assert_eq!(mmio, 0, "nothing is touched before all is checked");
        }
    });
}

#[test]
fn another_functions_address_is_refused() {
    between_hosts(|a, b| {
        a.bring_up(true);
        let (blob, _) = save(a);
        b.switch.macs.add(&b.machine.pf(), &VF_MAC, 0).unwrap();
        assert_eq!(load(b, &blob).0, Err(Refusal::MacInUse.into()));
    });
}

#[test]
fn marking_is_asked_for_and_confirmed() {
    for late in [false, true] {
        let machine = machine_with(HeadWrite::Value);
        let mut a = Host::new(&machine);
        a.bring_up(true);
        let _rings = Rings::new(&machine);
        a.with(|m, io, pf| m.start_marking(io, pf));
        assert_eq!(a.mover.marking(), Marking::Asked);
        if late {
            assert_eq!(a.mover.give_up_waiting(), Marking::Late);
        }
        let words = a.vf_hears().expect("a request to mark");
        let Ok(mbx_ext::PfMessage::StartMarking(m)) = mbx_ext::PfMessage::parse(&words) else {
            panic!("{words:x?}");
        };
        a.serve();
        let reply = mbx_ext::MarkingReply {
            head: mbx_ext::VF_MARKING_REPLY,
            version: mbx_ext::EXT_VERSION,
            generation: m.generation,
            marking: 1,
            reserved: [0; 12],
        };
        assert!(a.ask(&VfMessage::MarkingReply(reply).words())[0] & VT_MSGTYPE_ACK != 0);
        assert_eq!(a.mover.give_up_waiting(), Marking::On);
        a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
        let written = a.with(|m, io, pf| m.rings(io, pf)).0.unwrap();
        assert!(written.complete);
        assert_eq!(a.mover.state().rx[0].entries(), 64);
    }
}

#[test]
fn without_help_everything_is_dirty() {
    let machine = machine_with(HeadWrite::Value);
    let mut a = Host::new(&machine);
    a.bring_up(false);
    a.with(|m, io, pf| m.start_marking(io, pf));
    assert_eq!(a.mover.give_up_waiting(), Marking::Lost);
    assert_eq!(
        a.with(|m, io, pf| m.rings(io, pf)).0,
        Err(Error::NotSuspended)
    );
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    let written = a.with(|m, io, pf| m.rings(io, pf)).0.unwrap();
    assert!(!written.complete);
}

#[test]
fn a_pf_reset_does_not_cost_a_stopped_vf() {
    let machine = machine_with(HeadWrite::Value);
    let mut a = Host::new(&machine);
    a.bring_up(false);
    let mut rings = Rings::new(&machine);
    let f = a.receive(1);
    assert_eq!(rings.take_all(), [f]);
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    a.reset_device();
    let (resumed, _) = resume(&mut a);
    assert_eq!(resumed.restored.way, HeadRestore::Write);
    let f = a.receive(3);
    assert_eq!(rings.take_all(), [f]);
}

/// Registers of a PF whose wire takes frames again whenever the driver sleeps.
struct Clearing<'a>(&'a Machine);

impl Regs for Clearing<'_> {
    fn read32(&self, reg: u32) -> u32 {
        self.0.pf().read32(reg)
    }
    fn write32(&self, reg: u32, val: u32) {
        self.0.pf().write32(reg, val);
    }
}

impl Delay for Clearing<'_> {
    fn udelay(&self, us: u32) {
        self.0.set_wire_room(2);
        self.0.wire_ready();
        self.0.pf().udelay(us);
    }
    fn usleep(&self, us: u32) {
        self.udelay(us);
    }
}

/// The wire is slow, so that the VF is stopped with frames on their way: all of them leave, here or there, and none is
/// taken for one with another's address.
#[test]
fn frames_on_their_way_pass_the_spoof_check() {
    let machine = machine_with(HeadWrite::Value);
    let mut a = Host::new(&machine);
    let spoofed = &mut a.vfs[usize::from(VF)];
    a.switch
        .admin_set_spoofchk(&machine.pf(), VF.into(), spoofed, true);
    a.bring_up(false);
    let mut rings = Rings::new(&machine);
    machine.set_wire_room(1);
    let want: Vec<_> = (0..30).map(|n| frame(PEER, VF_MAC, 100 + n)).collect();
    for f in &want {
        rings.tx[0].send(f);
    }
    let mut sent = machine.take_sent();
    assert!(sent.len() < 30);
    let mut pf = Pf {
        switch: &mut a.switch,
        vfs: &mut a.vfs,
        vf: VF.into(),
        device: 0x10ed,
        head_restore: HeadRestore::Auto,
    };
    a.mover.suspend(&Clearing(&machine), &mut pf).unwrap();
    sent.extend(machine.take_sent());
    resume(&mut a);
    machine.set_wire_room(1000);
    machine.wire_ready();
    sent.extend(machine.take_sent());
    assert_eq!(sent.len(), want.len());
    assert_eq!(sent, want);
}

/// What the guest had put into its ring and the source had not sent is sent by who runs the VF next, past the check of
/// its source address.
#[test]
fn unsent_frames_pass_the_spoof_check() {
    for policy in [HeadWrite::Value, HeadWrite::Zero] {
        let (ma, mb) = (machine_with(policy), machine_with(policy));
        let mut a = Host::new(&ma);
        let mut b = Host::new(&mb);
        for host in [&mut a, &mut b] {
            let pf = host.machine.pf();
            let vf = &mut host.vfs[usize::from(VF)];
            host.switch.admin_set_spoofchk(&pf, VF.into(), vf, true);
        }
        a.bring_up(false);
        let mut rings = Rings::new(&ma);
        a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
        let want: Vec<_> = (0..6).map(|n| frame(PEER, VF_MAC, 100 + n)).collect();
        for (n, f) in want.iter().enumerate() {
            rings.tx[n / 3].send(f);
        }
        assert!(ma.take_sent().is_empty());
        let (blob, _) = save(&mut a);
        let _rings = carry(&ma, &mut b, &rings, &blob);
        resume(&mut b);
        // Heads were 0, which every device takes back.
        assert_eq!(mb.take_sent(), want);
    }
}

/// The VF takes a message and answers at once, so that the PF sees its acknowledgement and its answer together.
#[test]
fn what_was_taken_is_not_sent_again() {
    let machine = machine_with(HeadWrite::Value);
    let mut a = Host::new(&machine);
    a.bring_up(true);
    a.with(|m, io, pf| m.start_marking(io, pf));
    a.vf_hears().expect("a request to mark");
    let reply = mbx_ext::MarkingReply {
        head: mbx_ext::VF_MARKING_REPLY,
        version: mbx_ext::EXT_VERSION,
        generation: 1,
        marking: 1,
        reserved: [0; 12],
    };
    let answer = a.ask(&VfMessage::MarkingReply(reply).words());
    assert_eq!(answer[0] & 0xffff, mbx_ext::VF_MARKING_REPLY);
    assert!(answer[0] & VT_MSGTYPE_ACK != 0);
    assert!(a.vf_hears().is_none());

    // One that it had not taken is sent again, but not over the answer to what it asked for.
    a.with(|m, io, pf| m.stop_marking(io, pf));
    let answer = a.ask(&Request::GetQueues.encode());
    assert_eq!(answer[0] & 0xffff, 9);
    let again = a.vf_hears().expect("the message that was overwritten");
    assert_eq!(again[0] & 0xffff, mbx_ext::PF_STOP_MARKING);
}

/// The link changes and the administrator speaks while the VF stands: it hears of it when it runs, and what was in its
/// mailbox is still there.
#[test]
fn a_stopped_vf_is_left_alone() {
    let machine = machine_with(HeadWrite::Value);
    let mut a = Host::new(&machine);
    a.bring_up(true);
    let _rings = Rings::new(&machine);
    a.vf_says(&Request::GetQueues.encode());
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    let pf = machine.pf();
    let seen = || {
        let words: Words =
            core::array::from_fn(|i| pf.read32(regs::pfmbmem(VF.into()) + 4 * i as u32));
        let gates = (pf.read32(regs::vfre(0)), pf.read32(regs::vfte(0)));
        (words, gates.0 >> VF & 1, gates.1 >> VF & 1)
    };
    let before = seen();
    assert_eq!((before.1, before.2), (0, 0));
    a.switch.ping_all(&pf, &mut a.vfs);
    a.switch.set_all_vfs(&pf, &mut a.vfs);
    a.serve();
    assert_eq!(seen(), before);
    resume(&mut a);
    a.serve();
    let answer = a.vf_hears().expect("an answer");
    assert_eq!(answer[0] & mbx_ext::TYPE_MASK, 9);
    a.serve();
    a.switch.flush_pings(&pf, &mut a.vfs);
    // Setting its link makes a VF begin anew. One that has acknowledged an answer meanwhile is told by a refusal, which a
    // mainline driver obeys, and a ping alone would not make it.
    let refusal = a.vf_hears().expect("clear-to-send is withdrawn");
    assert_eq!(refusal[0] & VT_MSGTYPE_CTS, 0);
}

/// The PF looks for a message of the VF only once none can come any more.
#[test]
fn a_pf_message_spares_a_request() {
    let machine = machine_with(HeadWrite::Value);
    let mut a = Host::new(&machine);
    a.bring_up(true);
    a.vf_says(&Request::GetQueues.encode());
    assert!(mailbox::notify(&machine.pf(), VF.into(), &[0x100]).is_err());
    // And leaves the mailbox to who wants it.
    machine.vf(VF).write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
    assert!(machine.vf(VF).read32(regs::VFMAILBOX) & regs::VFMAILBOX_VFU != 0);
    machine.vf(VF).write32(regs::VFMAILBOX, 0);
    a.serve();
    assert_eq!(a.vf_hears().expect("an answer")[0] & 0xffff, 9);
}
