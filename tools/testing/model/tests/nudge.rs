// SPDX-License-Identifier: GPL-2.0
//! A driver that was told to reset its VF does it soon, though it drops the events that come while its service task runs.

mod common;

use common::asking::{host, machine};
use common::moving::{load, resume, save, Host, Rings, VF, VF_MAC};
use common::{frame, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::HeadWrite;
use libixgbe::chip::Chip;
use libixgbe::mbx::{
    pf as mailbox, Request, Words, PF_CONTROL_MSG, VF_RESET, VT_MSGTYPE_ACK, VT_MSGTYPE_CTS,
    VT_MSGTYPE_MASK, VT_MSGTYPE_NACK,
};
use libixgbe::migration::HeadRestore;
use libixgbe::{regs, Regs};

/// Milliseconds between two runs of the service task (`ixgbevf_service_timer`), and of the PF's.
const TIMER_MS: u64 = 2000;
/// Milliseconds after a reset in which none follows (`ixgbevf_watchdog_update_link`).
const GUARD_MS: u64 = 10_000;
/// Vector of the mailbox, see `bring_up`.
const MAILBOX: u16 = 2;

/// A mainline driver (`ixgbevf_main.c`), as far as its link goes, and the PF that it is on. Time is in milliseconds.
struct Guest<'a> {
    host: Host<'a>,
    now: u64,
    /// When the PF's service task is due.
    pf_due: u64,
    /// When the guest's timer is.
    timer: u64,
    /// How long the service task takes.
    task_ms: u64,
    /// `__IXGBEVF_SERVICE_SCHED`, and whether the task has not begun.
    scheduled: bool,
    queued: bool,
    /// `__IXGBEVF_DOWN`
    down: bool,
    /// `__IXGBEVF_RESET_REQUESTED`
    reset_requested: bool,
    /// `get_link_status`
    look: bool,
    last_reset: u64,
    carrier: bool,
    /// Times that it lost its carrier before it had reset its VF: the stack forgets its neighbours then.
    link_downs: u32,
    /// What an interrupt costs before the task goes on.
    interrupt_ms: u64,
    stolen_ms: u64,
    resets: u32,
    /// Runs of its timer that it needed: the task was idle, and had something to do.
    periods: u32,
    /// What of the first Tx ring is looked at for a hang: frames that were sent, at this and at the last look; whether the
    /// last look found that it hangs (`__IXGBEVF_HANG_CHECK_ARMED`).
    tx_done: u32,
    tx_done_old: u32,
    armed: bool,
}

impl<'a> Guest<'a> {
    /// Up for eleven seconds.
    fn new(host: Host<'a>, task_ms: u64) -> Self {
        let now = 1_000_000;
        Self {
            host,
            now,
            pf_due: now,
            timer: now + TIMER_MS,
            task_ms,
            scheduled: false,
            queued: false,
            down: false,
            reset_requested: false,
            look: false,
            last_reset: now - GUARD_MS - 1000,
            carrier: true,
            link_downs: 0,
            interrupt_ms: 0,
            stolen_ms: 0,
            resets: 0,
            periods: 0,
            // Of the frames that it has sent, some since it last looked.
            tx_done: 70,
            tx_done_old: 60,
            armed: false,
        }
    }

    /// The PF's service task (`ixgbe_service.rs`).
    fn pf(&mut self) {
        let pf = self.host.machine.pf();
        let events = Chip::I82599.events(&pf);
        let mut due = self.pf_due;
        if events.resets >> VF & 1 != 0 {
            mailbox::clear_reset(&pf, VF.into());
            self.host
                .switch
                .vf_reset_event(&pf, &mut self.host.vfs, VF.into());
            self.host.with(|m, _, pf| m.was_reset(pf));
        }
        if events != mailbox::Events::default() || self.now >= due {
            self.host.serve();
            let state = &mut self.host.vfs[usize::from(VF)];
            let again = self.host.switch.nudge(&pf, VF.into(), state, self.now);
            due = self.now + again.map_or(TIMER_MS, u64::from);
        }
        self.pf_due = due;
    }

    /// `ixgbevf_service_event_schedule`
    fn schedule(&mut self) {
        if !self.down && !self.scheduled {
            (self.scheduled, self.queued) = (true, true);
        }
    }

    /// A millisecond passes.
    fn step(&mut self) {
        self.now += 1;
        self.pf();
        let irq = (Function::Vf(VF), MAILBOX);
        if self.host.machine.take_messages().contains(&irq) {
            self.look = true;
            self.stolen_ms += self.interrupt_ms;
            self.schedule();
            let vf = self.host.machine.vf(VF);
            vf.write32(regs::VTEIMS, 1 << MAILBOX);
        }
        if self.now >= self.timer && !self.down {
            self.timer = self.now + TIMER_MS;
            self.periods += u32::from(!self.scheduled && (self.reset_requested || !self.carrier));
            self.schedule();
        }
    }

    fn wait(&mut self, ms: u64) {
        for _ in 0..ms {
            self.step();
        }
    }

    /// Runs until `ms` have passed or the link is up after a reset. Returns when that was.
    fn run(&mut self, ms: u64) -> Option<u64> {
        let start = self.now;
        while self.now < start + ms {
            self.step();
            if core::mem::take(&mut self.queued) {
                self.service();
            }
            if self.resets > 0 && self.carrier {
                return Some(self.now - start);
            }
        }
        None
    }

    /// `ixgbevf_service_task`
    fn service(&mut self) {
        if core::mem::take(&mut self.reset_requested) {
            self.reinit();
        }
        let (link, failed) = self.check_link();
        if failed && self.now > self.last_reset + GUARD_MS {
            self.reset_requested = true;
        }
        self.link_downs += u32::from(self.carrier && !link);
        self.carrier = link;
        self.check_hang();
        self.wait(self.task_ms);
        while self.stolen_ms > 0 {
            self.stolen_ms -= 1;
            self.step();
        }
        self.scheduled = false;
    }

    /// `ixgbevf_check_hang_subtask`, and what the software interrupt that it causes makes of it at once, while the task runs
    /// (`ixgbevf_clean_tx_irq`, `ixgbevf_check_tx_hang`, `ixgbevf_tx_timeout_reset`).
    fn check_hang(&mut self) {
        if !self.carrier {
            return;
        }
        let vf = self.host.machine.vf(VF);
        let pending = vf.read32(regs::vftdh(0)) != vf.read32(regs::vftdt(0));
        if self.tx_done_old == self.tx_done && pending {
            if core::mem::replace(&mut self.armed, true) {
                self.reset_requested = true;
                self.schedule();
            }
        } else {
            self.armed = false;
            self.tx_done_old = self.tx_done;
        }
    }

    /// `ixgbevf_check_mac_link_vf` by `ixgbevf_read_mbx_vf_legacy`, which reads the memory whether there is news or not.
    fn check_link(&mut self) -> (bool, bool) {
        if !self.look {
            return (true, false);
        }
        let vf = self.host.machine.vf(VF);
        vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
        vf.read32(regs::VFMAILBOX);
        let head = vf.read32(regs::vfmbmem(0));
        vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_ACK);
        self.look = head & VT_MSGTYPE_CTS == 0;
        (!self.look, self.look && head & VT_MSGTYPE_NACK != 0)
    }

    fn ask(&mut self, words: &Words) -> u32 {
        self.host.vf_says(words);
        for _ in 0..1000 {
            self.step();
            if let Some(answer) = self.host.vf_hears() {
                return answer[0];
            }
        }
        panic!("no answer to {:#x}", words[0]);
    }

    /// `ixgbevf_reinit_locked`
    fn reinit(&mut self) {
        self.down = true;
        self.carrier = false;
        self.wait(15);
        let vf = self.host.machine.vf(VF);
        vf.write32(regs::VFCTRL, regs::CTRL_RST);
        self.wait(1);
        vf.read32(regs::VFMAILBOX);
        self.host.vf_says(&Request::Reset.encode());
        self.wait(10);
        // Only the answer to it will do (`ixgbevf_reset_hw_vf`).
        let answer = self.host.vf_hears().expect("an answer")[0];
        assert_eq!(answer & VT_MSGTYPE_MASK, VF_RESET, "{answer:#x}");
        for request in [
            Request::ApiNegotiate(8),
            Request::FeaturesNegotiate(0),
            Request::SetMac(VF_MAC),
            Request::GetLinkState,
        ] {
            let answer = self.ask(&request.encode());
            assert_ne!(answer & VT_MSGTYPE_ACK, 0, "{request:?} {answer:#x}");
        }
        self.resets += 1;
        self.last_reset = self.now;
        let vf = self.host.machine.vf(VF);
        vf.write32(regs::VTIVAR_MISC, 0x82);
        vf.write32(regs::VTEIAC, 7);
        vf.write32(regs::VTEIMS, 7);
        // `ixgbevf_configure_tx_ring`
        for q in 0..2 {
            vf.write32(regs::vftdh(q), 0);
            vf.write32(regs::vftdt(q), 0);
        }
        self.armed = false;
        self.down = false;
        self.look = true;
        self.timer = self.now;
    }
}

/// A mainline driver in a VM that has just arrived by `reset`.
fn arrived(task_ms: u64) -> Guest<'static> {
    arrived_at(task_ms, HeadWrite::Value, 0)
}

/// The same at a device that does this with heads, after `sent` frames.
fn arrived_at(task_ms: u64, policy: HeadWrite, sent: usize) -> Guest<'static> {
    let (mut a, mut b) = (host(policy), host(policy));
    b.head_restore = HeadRestore::Reset;
    a.bring_up(false);
    let mut rings = Rings::new(a.machine);
    for n in 0..sent {
        rings.tx[0].send(&frame(PEER, VF_MAC, 60 + n));
    }
    let (blob, _) = save(&mut a);
    b.machine.copy_memory(a.machine);
    b.reset_vf();
    let _rings = rings.moved(b.machine);
    load(&mut b, &blob).0.unwrap();
    b.machine.take_messages();
    let done = resume(&mut b).0;
    assert_eq!(done.restored.way, HeadRestore::Reset);
    Guest::new(b, task_ms)
}

#[test]
fn a_vm_that_arrives_by_reset_is_back_in_a_moment() {
    for task_ms in [1, 3, 8, 20] {
        let mut guest = arrived(task_ms);
        let ms = guest.run(20_000);
        assert!(
            ms.is_some_and(|ms| ms <= 200 + 4 * task_ms),
            "back after {ms:?} ms, with a service task of {task_ms} ms"
        );
        assert_eq!(guest.periods, 0, "periods of its timer");
        assert_eq!(guest.link_downs, 0, "its link went down");
        // And stays so, without another reset.
        guest.run(15_000);
        guest.wait(15_000);
        assert_eq!((guest.resets, guest.carrier), (1, true));
    }
}

/// Whether the VF receives (PFVFRE).
fn receives(host: &Host<'_>) -> bool {
    let vf = u32::from(VF);
    host.machine.pf().read32(regs::vfre(vf >> 5)) >> (vf & 31) & 1 != 0
}

/// What a driver receives between its reset and its look at the link keeps it from that look. Its link stays down meanwhile,
/// and for too long the stack forgets its neighbours.
#[test]
fn a_driver_receives_when_it_has_looked_at_its_link() {
    let mut guest = arrived(3);
    while guest.resets == 0 {
        guest.step();
        if core::mem::take(&mut guest.queued) && core::mem::take(&mut guest.reset_requested) {
            guest.reinit();
        } else if guest.scheduled {
            guest.service();
        }
    }
    // The PF hears that it has read the answer to its last request.
    guest.step();
    assert!(!receives(&guest.host), "before its look");
    guest.check_link();
    guest.step();
    assert!(receives(&guest.host), "after it");
    // Whatever it asks for next.
    guest.ask(&Request::UpdateXcastMode(1).encode());
    assert!(receives(&guest.host));
}

/// DPDK's does not look.
#[test]
fn a_driver_that_does_not_look_receives_a_moment_after_its_last_request() {
    let mut guest = arrived(3);
    guest.reinit();
    assert!(!receives(&guest.host));
    guest.wait(10);
    guest.ask(&Request::SetMac(VF_MAC).encode());
    guest.wait(10);
    assert!(!receives(&guest.host));
    guest.wait(15);
    assert!(receives(&guest.host));
}

/// It moves on, or its host changes its mind, before it has looked.
#[test]
fn a_driver_that_did_not_come_to_look_receives_again() {
    let mut guest = arrived(3);
    guest.reinit();
    assert!(!receives(&guest.host));
    let state = &mut guest.host.vfs[usize::from(VF)];
    guest
        .host
        .switch
        .admin_set_trust(&guest.host.machine.pf(), VF.into(), state, true);
    guest.pf_due = guest.now;
    guest.step();
    assert!(receives(&guest.host), "it is told to reset its VF");

    let mut guest = arrived(3);
    guest.reinit();
    let (blob, _) = save(&mut guest.host);
    let mut c = host(HeadWrite::Value);
    c.machine.copy_memory(guest.host.machine);
    c.reset_vf();
    load(&mut c, &blob).0.unwrap();
    resume(&mut c);
    assert!(receives(&c), "there");
    resume(&mut guest.host);
    guest.wait(25);
    assert!(receives(&guest.host), "here");
}

/// A guest that an interrupt holds up for longer than an idle one needs for its whole service task.
#[test]
fn a_slow_guest_is_not_held_up_by_repeats() {
    let mut guest = arrived(20);
    guest.interrupt_ms = 12;
    let ms = guest.run(20_000);
    assert!(ms.is_some_and(|ms| ms <= 500), "back after {ms:?} ms");
    assert_eq!((guest.periods, guest.link_downs), (0, 0));
}

#[test]
fn so_is_one_whose_vf_the_administrator_changes() {
    for phase in [0, 500, 1999] {
        let mut a = host(HeadWrite::Value);
        a.bring_up(false);
        let mut guest = Guest::new(a, 3);
        guest.wait(phase);
        let host = &mut guest.host;
        let state = &mut host.vfs[usize::from(VF)];
        host.switch
            .admin_set_trust(&host.machine.pf(), VF.into(), state, true);
        // The driver schedules its service task.
        guest.pf_due = guest.now;
        let ms = guest.run(20_000);
        assert!(ms.is_some_and(|ms| ms <= 200), "back after {ms:?} ms");
    }
}

/// Its driver does not reset the VF for a refusal within ten seconds of its last reset. It does for a Tx ring that hangs.
#[test]
fn a_driver_that_has_just_reset_its_vf_finds_its_rings_hung() {
    for policy in [HeadWrite::Value, HeadWrite::Zero, HeadWrite::Ignore] {
        for (task_ms, sent) in [(1, 0), (3, 1), (8, 63), (20, 64)] {
            let mut guest = arrived_at(task_ms, policy, sent);
            guest.host.machine.take_sent();
            guest.last_reset = guest.now - 1000;
            let ms = guest.run(20_000);
            assert!(
                ms.is_some_and(|ms| ms <= 300 + 8 * task_ms),
                "back after {ms:?} ms, with a service task of {task_ms} ms"
            );
            assert_eq!(guest.periods, 0, "periods of its timer");
            assert_eq!(guest.link_downs, 0, "its link went down");
            assert_eq!(guest.host.machine.take_sent().len(), 0, "stale frames");
            guest.run(15_000);
            guest.wait(15_000);
            assert_eq!((guest.resets, guest.carrier), (1, true));
        }
    }
}

/// Rings that run are left alone: such a driver is waited for.
#[test]
fn a_driver_whose_rings_run_is_waited_for() {
    let mut a = host(HeadWrite::Value);
    a.bring_up(false);
    let _rings = Rings::new(a.machine);
    let state = &mut a.vfs[usize::from(VF)];
    a.switch
        .admin_set_trust(&a.machine.pf(), VF.into(), state, true);
    let mut guest = Guest::new(a, 3);
    guest.last_reset = guest.now - 4000;
    let ms = guest.run(20_000).expect("it resets");
    assert!(
        (6000..6500).contains(&ms),
        "back after {ms} ms, 6000 of them in which it does not reset"
    );
}

/// What the VF finds in its mailbox, each time that it is told of something.
fn told(host: &Host<'_>) -> Option<u32> {
    let vf = host.machine.vf(VF);
    (vf.read32(regs::VFMAILBOX) & regs::VFMAILBOX_PFSTS != 0).then(|| vf.read32(regs::vfmbmem(0)))
}

/// DPDK's driver looks for the control message alone (`ixgbevf_mbx_process`), and acknowledges nothing else.
#[test]
fn the_first_message_lies_there_until_it_is_acknowledged() {
    let mut b = arrived(1).host;
    let mut now = 0;
    // It does not look at its rings for a message with clear-to-send.
    while told(&b).is_none_or(|word| word == PF_CONTROL_MSG | VT_MSGTYPE_CTS) {
        now += u64::from(nudge(&mut b, now).unwrap());
        assert!(now < 500);
    }
    for _ in 0..20 {
        assert_eq!(told(&b).unwrap_or(PF_CONTROL_MSG), PF_CONTROL_MSG);
        let again = nudge(&mut b, now).unwrap();
        now += u64::from(again);
    }
    b.machine
        .vf(VF)
        .write32(regs::VFMAILBOX, regs::VFMAILBOX_ACK);
    b.serve();
    now += u64::from(nudge(&mut b, now).unwrap());
    nudge(&mut b, now);
    assert_eq!(told(&b), Some(VT_MSGTYPE_NACK));
    // Another reason is another message.
    let state = &mut b.vfs[usize::from(VF)];
    b.switch.restart(&b.machine.pf(), VF.into(), state);
    assert_eq!(told(&b), Some(PF_CONTROL_MSG | VT_MSGTYPE_CTS));
}

fn nudge(host: &mut Host<'_>, now: u64) -> Option<u32> {
    let state = &mut host.vfs[usize::from(VF)];
    host.switch.nudge(&host.machine.pf(), VF.into(), state, now)
}

/// A guest that does not listen is told for some seconds, and never without end.
#[test]
fn who_does_not_listen_is_left_alone_in_the_end() {
    let mut b = arrived(1).host;
    let (mut now, mut count) = (0, 0);
    while let Some(again) = nudge(&mut b, now) {
        count += u32::from(told(&b).is_some());
        now += u64::from(again);
        assert!(again > 0 && now < 15_000 && count < 300, "{now} {count}");
    }
    // There is a new reason.
    let state = &mut b.vfs[usize::from(VF)];
    b.switch.restart(&b.machine.pf(), VF.into(), state);
    assert!(nudge(&mut b, now).is_some());
}

/// A driver that reads messages and does not look at its rings is not kept waiting with it: FreeBSD's resets its VF for a refusal.
#[test]
fn who_does_not_look_at_its_rings_is_soon_told_otherwise() {
    let mut guest = arrived(1);
    let mut heard = [None; 2];
    for ms in 0..500u32 {
        guest.step();
        match guest.host.vf_hears().map(|words| words[0]) {
            Some(PF_CONTROL_MSG) => heard[0] = heard[0].or(Some(ms)),
            Some(VT_MSGTYPE_NACK) => heard[1] = heard[1].or(Some(ms)),
            _ => (),
        }
    }
    assert!(heard[1] > heard[0], "{heard:?}");
    assert!(heard[1].is_some_and(|ms| ms <= 80), "{heard:?}");
}

/// Nor is one that reads at once whatever it is told, and never does it: its acknowledgement makes no storm.
#[test]
fn who_listens_and_does_nothing_is_told_at_a_pace() {
    let mut guest = arrived(1);
    let (mut count, mut first) = (0, 0);
    for ms in 0..60_000u32 {
        guest.step();
        if guest.host.vf_hears().is_some() {
            count += 1;
            first += u32::from(ms < 1000);
        }
    }
    assert!(
        first <= 100 && count <= 300,
        "told {count} times, {first} in a second"
    );
}

/// Who uses the VF next is told nothing, and neither is a VF without a driver.
#[test]
fn a_vf_without_a_driver_is_told_nothing() {
    let mut b = arrived(1).host;
    b.reset_vf();
    told(&b);
    for now in [0, 100, 1000, 20_000] {
        nudge(&mut b, now);
        assert_eq!(told(&b), None);
    }
    let mut a = Host::new(machine(HeadWrite::Value));
    let state = &mut a.vfs[usize::from(VF)];
    a.switch.restart(&a.machine.pf(), VF.into(), state);
    assert_eq!(nudge(&mut a, 0), None);
}

/// A VF that stands still is told nothing, and all of its time is left when it runs.
#[test]
fn a_vf_that_stands_still_is_told_later() {
    let mut b = arrived(1).host;
    assert!(nudge(&mut b, 0).is_some());
    let (blob, _) = save(&mut b);
    told(&b);
    assert_eq!(nudge(&mut b, 60_000), None);
    assert_eq!(told(&b), None);
    // Moved on before its driver has heard.
    let mut c = host(HeadWrite::Value);
    c.machine.copy_memory(b.machine);
    c.reset_vf();
    load(&mut c, &blob).0.unwrap();
    resume(&mut c);
    let mut guest = Guest::new(c, 3);
    let ms = guest.run(20_000);
    assert!(ms.is_some_and(|ms| ms <= 200), "back after {ms:?} ms");
    // Or it goes on where it is.
    resume(&mut b);
    assert!(nudge(&mut b, 60_001).is_some());
    assert!(nudge(&mut b, 60_020).is_some());
    assert_eq!(told(&b), Some(PF_CONTROL_MSG | VT_MSGTYPE_CTS));
}
