// SPDX-License-Identifier: GPL-2.0
//! How a VF is stopped on cards that do what the model does not do by itself: the code that the PF module runs, against
//! quirks.

mod common;

use common::moving::{carry, load, resume, save, Host, Rings, VF, VF_MAC};
use common::{frame, machine_with, sriov, vf_mac, TxRing, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::{Machine, Port};
use ixgbe_model::HeadWrite;
use libixgbe::migration::pf::{Error, Mover, Pf};
use libixgbe::migration::{quiesce, HeadRestore, Place, Progress, QuiesceError, Stop};
use libixgbe::{desc, regs, Delay, Regs};
use zerocopy::IntoBytes;

/// The first queue of the VF among those of the device.
const QUEUE: u32 = 2;

fn machines(quirks: &str) -> [Machine; 2] {
    [(); 2].map(|()| {
        let machine = machine_with(HeadWrite::Value);
        machine.set_quirks(quirks);
        machine
    })
}

/// Puts a context with tag 100 into a ring.
fn context(tx: &mut TxRing<'_>) {
    let context = desc::AdvTxContext {
        vlan_macip_lens: (100 << desc::ADVTXD_VLAN_SHIFT | 14 << desc::ADVTXD_MACLEN_SHIFT).into(),
        fceof_saidx: 0.into(),
        type_tucmd_mlhl: (desc::ADVTXD_DTYP_CTXT | desc::ADVTXD_DCMD_DEXT).into(),
        mss_l4len_idx: 0.into(),
    };
    tx.push(context.as_bytes());
}

/// Puts a frame into a ring that is to leave with the context's tag.
fn tagged(tx: &mut TxRing<'_>, n: usize) {
    let plain = frame(PEER, VF_MAC, 60 + n);
    let data = tx.data(
        &plain,
        desc::ADVTXD_DCMD_EOP | desc::ADVTXD_DCMD_RS | desc::ADVTXD_DCMD_VLE,
        desc::ADVTXD_CC | (plain.len() as u32) << desc::ADVTXD_PAYLEN_SHIFT,
    );
    tx.push(data.as_bytes());
}

/// The tag that each frame left with.
fn tags(sent: &[Vec<u8>]) -> Vec<Option<u16>> {
    let tag = |f: &Vec<u8>| (f[12..14] == [0x81, 0]).then(|| u16::from_be_bytes([f[14], f[15]]));
    sent.iter().map(tag).collect()
}

/// What the device had done when it was stopped is told to the guest: nobody else ever will.
#[test]
fn what_was_done_is_written_back() {
    let [ma, mb] = machines("rx-batch=8");
    let (mut a, mut b) = (Host::new(&ma), Host::new(&mb));
    a.bring_up(false);
    let mut rings = Rings::new(&ma);
    let control = regs::TXDCTL_ENABLE | 8 << regs::TXDCTL_WTHRESH_SHIFT;
    ma.vf(VF).write32(regs::vftxdctl(0), control);
    for n in 0..3 {
        rings.tx[0].send(&frame(PEER, VF_MAC, 60 + n));
    }
    let received: Vec<_> = (0..3).map(|n| a.receive(n)).collect();
    assert!((0..3).all(|slot| !rings.tx[0].done(slot)) && rings.take_all().is_empty());

    let (blob, _) = save(&mut a);
    let (mut rings, _) = carry(&ma, &mut b, &rings, &blob);
    assert_eq!(resume(&mut b).0.restored.way, HeadRestore::Write);
    let done = (0..3).filter(|slot| rings.tx[0].done(*slot)).count();
    assert_eq!(done, 3, "frames that the guest may free");
    assert_eq!(rings.take_all(), received, "frames that the guest may take");
}

/// The interval of the VF's vector does not move with it: on the destination nothing ends a batch but its size.
#[test]
fn a_moved_vf_does_not_wait_for_an_interval() {
    let [ma, mb] = machines("batch");
    let (mut a, mut b) = (Host::new(&ma), Host::new(&mb));
    a.bring_up(false);
    ma.vf(VF).write32(regs::vteitr(0), 10 << 3);
    let mut rings = Rings::new(&ma);
    let control = regs::TXDCTL_ENABLE | 8 << regs::TXDCTL_WTHRESH_SHIFT | 32;
    ma.vf(VF).write32(regs::vftxdctl(0), control);
    rings.tx[0].send(&frame(PEER, VF_MAC, 60));
    ma.advance(20_000);
    assert!(rings.tx[0].done(0));

    let (blob, _) = save(&mut a);
    let (mut rings, _) = carry(&ma, &mut b, &rings, &blob);
    assert_eq!(resume(&mut b).0.restored.way, HeadRestore::Write);
    rings.tx[0].send(&frame(PEER, VF_MAC, 60));
    mb.advance(1_000_000_000);
    assert!(rings.tx[0].done(1), "the guest takes it for a hang");
    let txdctl = mb.vf(VF).read32(regs::vftxdctl(0));
    assert_eq!(
        txdctl & regs::TXDCTL_PTHRESH_MASK,
        32,
        "the rest is as it was"
    );

    // Where it stopped the interval is still there.
    a.with(|m, io, pf| m.resume(io, pf)).0.unwrap();
    assert_eq!(ma.vf(VF).read32(regs::vftxdctl(0)), control);
}

/// The wire is slow: the VF is stopped amid frames that all have their tag from one context, as an XDP batch has. The
/// destination's device has never seen the context.
#[test]
fn no_frame_leaves_without_its_context() {
    for cooperates in [true, false] {
        let [ma, mb] = machines("");
        let (mut a, mut b) = (Host::new(&ma), Host::new(&mb));
        // The check of VLANs would hide it.
        let spoofed = &mut b.vfs[usize::from(VF)];
        b.switch
            .admin_set_spoofchk(&mb.pf(), VF.into(), spoofed, false);
        a.bring_up(cooperates);
        let mut rings = Rings::new(&ma);
        ma.set_wire_room(1);
        context(&mut rings.tx[0]);
        (0..3).for_each(|n| tagged(&mut rings.tx[0], n));
        rings.tx[0].kick();
        assert_eq!(tags(&ma.take_sent()), [Some(100)]);

        let (blob, _) = save(&mut a);
        let _rings = carry(&ma, &mut b, &rings, &blob);
        let restored = resume(&mut b).0.restored;
        assert_eq!(tags(&mb.take_sent()), [], "{restored:?}");
        if cooperates {
            // Queue 1 had nothing to do, and Rx heads come back.
            let want = (HeadRestore::Rearm, 0, 1);
            let is = (restored.way, restored.rearm_rx, restored.rearm_tx);
            assert_eq!(is, want);
        } else {
            assert_eq!(restored.way, HeadRestore::Reset);
        }
    }
}

/// The same where the VF stopped, if the device loses contexts with the stop.
#[test]
fn nor_where_it_stopped() {
    let [machine, _] = machines("lose-contexts");
    let mut a = Host::new(&machine);
    a.bring_up(true);
    let mut rings = Rings::new(&machine);
    machine.set_wire_room(1);
    context(&mut rings.tx[0]);
    (0..3).for_each(|n| tagged(&mut rings.tx[0], n));
    rings.tx[0].kick();
    machine.take_sent();
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    machine.set_wire_room(100);
    machine.wire_ready();
    let restored = resume(&mut a).0.restored;
    assert_eq!(tags(&machine.take_sent()), []);
    assert_eq!((restored.way, restored.rearm_tx), (HeadRestore::Rearm, 1));
}

/// Registers of a PF whose wire takes one frame whenever the driver sleeps.
struct Trickle<'a>(&'a Machine);

impl Regs for Trickle<'_> {
    fn read32(&self, reg: u32) -> u32 {
        self.0.pf().read32(reg)
    }
    fn write32(&self, reg: u32, val: u32) {
        self.0.pf().write32(reg, val);
    }
}

impl Delay for Trickle<'_> {
    fn udelay(&self, us: u32) {
        self.0.set_wire_room(1);
        self.0.wire_ready();
        self.0.pf().udelay(us);
    }
    fn usleep(&self, us: u32) {
        self.udelay(us);
    }
}

/// Calls `f` with the host's mover, its PF and a wire that trickles.
fn trickling<R>(
    host: &mut Host<'_>,
    f: impl FnOnce(&mut Mover, &Trickle<'_>, &mut Pf<'_>) -> R,
) -> R {
    let mut pf = Pf {
        switch: &mut host.switch,
        vfs: &mut host.vfs,
        vf: VF.into(),
        device: 0x10ed,
        head_restore: HeadRestore::Auto,
    };
    f(&mut host.mover, &Trickle(host.machine), &mut pf)
}

/// A device that fetches ahead stops with the context taken, and the frame that it is for not.
#[test]
fn a_stop_falls_between_context_and_frame() {
    let [ma, mb] = machines("fetch-ahead=1");
    let (mut a, mut b) = (Host::new(&ma), Host::new(&mb));
    a.bring_up(true);
    let mut rings = Rings::new(&ma);
    ma.set_wire_room(1);
    for n in 0..30 {
        context(&mut rings.tx[0]);
        tagged(&mut rings.tx[0], n);
    }
    rings.tx[0].kick();
    trickling(&mut a, |m, io, pf| m.suspend(io, pf)).unwrap();
    assert!(ma.take_sent().len() < 30);
    let (blob, _) = save(&mut a);
    assert_eq!(rings.tx[0].head() % 2, 1, "at a frame, behind its context");
    let _rings = carry(&ma, &mut b, &rings, &blob);
    let restored = resume(&mut b).0.restored;
    assert_eq!(tags(&mb.take_sent()), []);
    assert_eq!((restored.way, restored.rearm_tx), (HeadRestore::Rearm, 1));
}

fn place() -> Place<'static> {
    Place {
        vf: VF.into(),
        queues_per_pool: 2,
        own_rss: false,
        rars: &[],
    }
}

/// A queue that does not stop is told by number, in bounded time, and so is what has stopped.
#[test]
fn a_queue_that_does_not_stop() {
    for (quirk, error, stopped) in [
        ("tx-sticks=3", QuiesceError::TxQueue(1), (0, 0b01)),
        ("rx-sticks=2", QuiesceError::RxQueue(0), (0b10, 0b11)),
    ] {
        let [machine, _] = machines(quirk);
        let mut a = Host::new(&machine);
        a.bring_up(false);
        let _rings = Rings::new(&machine);
        let before = machine.now();
        let (was, why) = quiesce(&machine.pf(), &place()).unwrap_err();
        assert_eq!(why, error);
        assert_eq!((was.stopped_rx, was.stopped_tx), stopped);
        assert!(machine.now() - before < 40_000_000);

        // The mover starts it again.
        let [machine, _] = machines(quirk);
        let mut a = Host::new(&machine);
        a.bring_up(false);
        let _rings = Rings::new(&machine);
        let result = a.with(|m, io, pf| m.suspend(io, pf)).0;
        assert_eq!(result, Err(Error::Stuck(error)));
        assert!(!a.mover.active());
    }
}

/// Without a link ENABLE may not fall, on cards that want one. The VF moves all the same: this is when it has to.
#[test]
fn a_vf_moves_without_a_link() {
    let [ma, mb] = machines("stop-needs-link");
    let (mut a, mut b) = (Host::new(&ma), Host::new(&mb));
    a.bring_up(false);
    let mut rings = Rings::new(&ma);
    let received = a.receive(1);
    ma.set_link(false);
    let (blob, _) = save(&mut a);
    // It does not come back to life with the link.
    ma.set_link(true);
    ma.take_written();
    a.receive(2);
    rings.tx[0].send(&frame(PEER, VF_MAC, 60));
    assert!(ma.take_sent().is_empty() && ma.take_written().is_empty());
    rings.tx[0].unsend(1);

    let (mut rings, _) = carry(&ma, &mut b, &rings, &blob);
    assert_eq!(resume(&mut b).0.restored.way, HeadRestore::Write);
    let later = b.receive(3);
    assert_eq!(rings.take_all(), [received, later]);
}

/// A second VF of a host, with a mover of its own.
fn of_vf<R>(
    host: &mut Host<'_>,
    vf: u8,
    mover: &mut Mover,
    f: impl FnOnce(&mut Mover, &Port<'_>, &mut Pf<'_>) -> R,
) -> R {
    let io = host.machine.pf();
    let mut pf = Pf {
        switch: &mut host.switch,
        vfs: &mut host.vfs,
        vf: vf.into(),
        device: 0x10ed,
        head_restore: HeadRestore::Auto,
    };
    f(mover, &io, &mut pf)
}

#[test]
fn a_loaded_state_keeps_that_it_was_interrupted() {
    let [ma, mb] = machines("");
    let (mut a, mut b) = (Host::new(&ma), Host::new(&mb));
    a.bring_up(true);
    let mut rings = Rings::new(&ma);
    ma.set_wire_room(1);
    for n in 0..3 {
        rings.tx[1].send(&frame(PEER, VF_MAC, 60 + n));
    }
    let (blob, _) = save(&mut a);
    mb.copy_memory(&ma);
    load(&mut b, &blob).0.unwrap();
    let tx = &b.mover.state().tx;
    assert_eq!([tx[0].interrupted(), tx[1].interrupted()], [false, true]);
    assert_eq!(
        mb.pf().read32(regs::txdctl(QUEUE + 1)) & 1 << 27,
        0,
        "the device has no such bit"
    );
}

/// Two VFs are stopped in turns, as by a PF that gives its lock away while the hardware wants time: they stand after the
/// time of one.
#[test]
fn two_vfs_wait_together() {
    let [machine, _] = machines("");
    let mut a = Host::new(&machine);
    a.bring_up(false);
    let _rings = Rings::new(&machine);
    let _others = [0, 1].map(|q| TxRing::new(&machine, Function::Vf(0), q, 64));
    let mut movers = [Mover::new(), Mover::new()];

    let start = machine.now();
    of_vf(&mut a, 0, &mut movers[0], |m, io, pf| m.suspend(io, pf)).unwrap();
    let alone = machine.now() - start;
    of_vf(&mut a, 0, &mut movers[0], |m, io, pf| m.resume(io, pf)).unwrap();

    let start = machine.now();
    let mut due = [Some(start); 2];
    while due.iter().any(Option::is_some) {
        for (vf, mover) in (0..).zip(&mut movers) {
            let Some(when) = due[usize::from(vf)] else {
                continue;
            };
            if when > machine.now() {
                continue;
            }
            let step = of_vf(&mut a, vf, mover, |m, io, pf| m.suspend_step(io, pf)).unwrap();
            due[usize::from(vf)] = step.map(|us| machine.now() + u64::from(us) * 1000);
        }
        if let Some(next) = due.iter().flatten().min() {
            machine.advance(next.saturating_sub(machine.now()));
        }
    }
    assert_eq!(machine.now() - start, alone);
    assert!(movers.iter().all(Mover::active));
    assert!(a.vfs.iter().all(|vf| vf.stands));
}

/// While a VF is being stopped nobody serves its mailbox, and a reset of the device finds it stopped.
#[test]
fn a_vf_that_is_being_stopped_stands() {
    let [machine, _] = machines("");
    let mut a = Host::new(&machine);
    a.bring_up(false);
    let mut rings = Rings::new(&machine);
    let step = |a: &mut Host<'_>| a.with(|m, io, pf| m.suspend_step(io, pf)).0.unwrap();
    assert!(step(&mut a).is_some());
    a.vf_says(&libixgbe::mbx::Request::SetMac([2, 0, 0, 0, 9, 9]).encode());
    a.serve();
    assert!(a.vf_hears().is_none());
    let mut out = vec![0; libixgbe::migration::format::MAX_BYTES];
    let early = a.with(|m, io, pf| m.save(io, pf, &mut out)).0;
    assert_eq!(early, Err(Error::NotSuspended));
    a.with(|m, io, pf| m.before_pf_reset(io, pf));
    assert_eq!(step(&mut a), None);
    assert_eq!(machine.pf().read32(regs::vfre(0)) >> VF & 1, 0);

    // Reset amid the stop: it begins again.
    let [machine, _] = machines("");
    let mut a = Host::new(&machine);
    a.bring_up(false);
    rings = rings.moved(&machine);
    assert!(step(&mut a).is_some());
    a.with(|m, _, pf| m.reset(pf));
    assert!(!a.mover.active());
    while step(&mut a).is_some() {}
    assert!(a.mover.active());

    // Started amid the stop: it runs.
    let [machine, _] = machines("");
    let mut a = Host::new(&machine);
    a.bring_up(false);
    drop(rings);
    let mut rings = Rings::new(&machine);
    assert!(step(&mut a).is_some());
    resume(&mut a);
    let frame = a.receive(1);
    assert_eq!(rings.take_all(), [frame]);
}

/// All VFs of a PF are stopped with frames that their rate limit holds back: after the time of one, and none of the steps
/// in between takes any. One call at a time took 0.7 s, with the PF's lock held.
#[test]
fn sixty_three_vfs_wait_together() {
    let machine = sriov(63);
    machine.set_wire_room(1);
    let mut rings: Vec<_> = (0..63)
        .map(|vf| TxRing::new(&machine, Function::Vf(vf), 0, 64))
        .collect();
    for (vf, tx) in (0..).zip(&mut rings) {
        tx.send(&frame(PEER, vf_mac(vf), 60));
        tx.send(&frame(PEER, vf_mac(vf), 60));
    }
    let place = |vf| Place {
        vf,
        queues_per_pool: 2,
        own_rss: false,
        rars: &[],
    };
    let io = machine.pf();
    let start = machine.now();
    let mut stops: Vec<_> = (0..63)
        .map(|vf| (vf, Stop::begin(&io, &place(vf)).unwrap(), start))
        .collect();
    let mut undrained = 0;
    while let Some(next) = stops.iter().map(|(_, _, when)| *when).min() {
        machine.advance(next.saturating_sub(machine.now()));
        stops.retain_mut(|(vf, stop, when)| {
            let now = machine.now();
            if *when > now {
                return true;
            }
            let progress = stop.advance(&io, &place(*vf)).unwrap();
            assert_eq!(machine.now(), now, "a step does not wait");
            match progress {
                Progress::Wait(us) => *when = now + u64::from(us) * 1000,
                Progress::Stopped => undrained += stop.was().undrained,
            }
            progress != Progress::Stopped
        });
    }
    assert_eq!(undrained, 63);
    assert!(machine.now() - start < 15_000_000);
}
