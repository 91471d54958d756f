// SPDX-License-Identifier: GPL-2.0
//! What went wrong, for devlink's health reporters `tx`, `mailbox` and `malicious_vf`, and what is
//! done about VFs that misbehave (`ixgbe_check_for_bad_vf`).
//!
//! Reporting takes the devlink lock and calls back into [`dump`] and [`recover`], which take the
//! driver's: so it is done by the service task alone, with no lock held.

use crate::{
    ixgbe_common::Hw,
    ixgbe_lib,
    Adapter,
    State, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*,
    str::CString,
    sync::atomic::Relaxed,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};
use libixgbe::{
    chip::Chip,
    mbx::{
        pace::Pace,
        pf::Events, //
    },
    regs,
    sriov::{
        mdd::Blocked,
        vf::{
            Handled,
            LinkState,
            Refusal, //
        },
        MAX_VFS, //
    },
    Regs, //
};
use nic::{
    devlink::{
        self,
        Fmsg, //
    },
    net::{
        self,
        Rtnl, //
    },
    pci::{
        root_port_header_log,
        VirtFn,
        VirtFns,
        STATUS_REC_MASTER_ABORT, //
    }, //
};

/// Index of the reporter `migration`.
pub(crate) const REPORTER_MIGRATION: usize = 0;
/// Index of the reporter `tx`: transmit queues that hang.
pub(crate) const REPORTER_TX: usize = 1;
/// Index of the reporter `mailbox`: VFs that ask for what they do not get, again and again.
pub(crate) const REPORTER_MAILBOX: usize = 2;
/// Index of the reporter `malicious_vf`: VFs that do DMA to wrong addresses.
pub(crate) const REPORTER_MALICIOUS_VF: usize = 3;

/// Bad DMA accesses after which a VF is switched off, with the private flag `mdd-disable-vf`
/// (`IXGBE_PRIMARY_ABORT_LIMIT`).
const PRIMARY_ABORT_LIMIT: u32 = 5;
/// Messages of one VF that may be refused in a period before that is reported. A driver that means
/// well is refused a few times: each API version that the PF does not speak, each address that it
/// may not have. Of one that never stops, 200 are read ([`Pace`]).
const REFUSED_LIMIT: u32 = 128;
/// Looks in a row at which a VF may hold its mailbox while the PF waits for it. A driver gives it
/// up within microseconds; one that never does is asked with the counters only, every other second,
/// and costs the others nothing.
const STUCK_LIMIT: u32 = 100;
/// The period.
const PERIOD: Delta = Delta::from_secs(2);
/// In the requester id of a transaction: a VF of the 82599 made it (datasheet 7.10.2.6.1).
const REQUESTER_IS_VF: u32 = 0x80;

/// What is counted of one VF. Nothing here grows.
#[derive(Clone, Copy, Default)]
struct VfHealth {
    /// Messages that were done.
    done: u64,
    /// Messages that were refused for what they asked.
    refused: u64,
    /// Messages that nobody knows.
    unknown: u64,
    /// Messages before the VF was reset.
    early: u64,
    /// Reset messages.
    resets: u64,
    /// Times that a message had to wait.
    held_back: u64,
    /// How fast it may send messages.
    pace: Pace,
    /// Looks in a row at which the VF held its mailbox.
    stuck: u32,
    /// Messages not answered to `Done` in the present period.
    lately: u32,
    /// DMA accesses that nobody answered.
    master_aborts: u64,
    /// Of these since the administrator switched `mdd-disable-vf` on, or the VF was last switched
    /// off.
    toward_limit: u32,
    /// Times that the VF was switched off.
    disabled: u32,
    /// Times that the device blocked queues of it.
    blocked: u32,
}

/// What is counted of all VFs.
pub(crate) struct Health {
    vfs: KVec<VfHealth>,
    /// The private flag `mdd-disable-vf`.
    mdd_disable_vf: bool,
    /// The last queues that the device blocked and that were not reported.
    event: Option<Blocked>,
    period: Instant<Monotonic>,
}

impl Health {
    pub(crate) fn new(chip: Chip) -> Self {
        Self {
            vfs: KVec::new(),
            // As in the C driver (`ixgbe_probe`).
            mdd_disable_vf: chip.disables_bad_vfs(),
            event: None,
            period: Instant::now(),
        }
    }

    /// Starts anew with `num_vfs` VFs.
    pub(crate) fn resize(&mut self, num_vfs: u32) -> Result {
        let mut vfs = KVec::new();
        vfs.resize(num_vfs as usize, VfHealth::default(), GFP_KERNEL)?;
        self.vfs = vfs;
        Ok(())
    }

    /// Counts what became of a message of `vf`. From any context.
    pub(crate) fn count(&mut self, vf: u32, what: &Handled) {
        let Some(h) = self.vfs.get_mut(vf as usize) else {
            return;
        };
        let counter = match what {
            Handled::Done(_) | Handled::Extension(_) => &mut h.done,
            Handled::Refused(_, Refusal::Unknown) => &mut h.unknown,
            Handled::Refused(..) => &mut h.refused,
            Handled::NotClearToSend => &mut h.early,
            Handled::Reset => &mut h.resets,
            Handled::Busy | Handled::Ignored => return,
        };
        *counter = counter.wrapping_add(1);
        if !matches!(what, Handled::Done(_) | Handled::Extension(_)) {
            h.lately = h.lately.saturating_add(1);
        }
    }

    /// Takes the message of `vf` out of `events` if too many came lately. Returns in how many
    /// milliseconds to look again.
    pub(crate) fn admit(&mut self, hw: &Hw, events: &mut Events, vf: u32, now: u64) -> Option<u32> {
        let h = self.vfs.get_mut(vf as usize)?;
        let asked = events.messages;
        let again = h.pace.admit(hw, events, vf, now);
        if events.messages != asked {
            h.held_back = h.held_back.wrapping_add(1);
        }
        again
    }

    /// Notes whether the PF `waits` for the mailbox of `vf`; whether it is worth to look again at
    /// once.
    pub(crate) fn waits(&mut self, vf: u32, waits: bool) -> bool {
        let Some(h) = self.vfs.get_mut(vf as usize) else {
            return false;
        };
        h.stuck = if waits { h.stuck.saturating_add(1) } else { 0 };
        waits && h.stuck < STUCK_LIMIT
    }

    /// Counts queues that the device has blocked, and notes them for [`check`]. From any context.
    pub(crate) fn blocked(&mut self, event: &Blocked) {
        for (vf, h) in (0u32..).zip(&mut self.vfs) {
            if event.vfs >> (vf & 63) & 1 != 0 {
                h.blocked = h.blocked.saturating_add(1);
            }
        }
        let before = self.event.get_or_insert(*event);
        *before = Blocked {
            vfs: before.vfs | event.vfs,
            others: before.others || event.others,
            ..*event
        };
    }

    /// Whether VFs that do bad DMA are switched off.
    pub(crate) fn mdd_disable_vf(&self) -> bool {
        self.mdd_disable_vf
    }

    /// Switches that.
    pub(crate) fn set_mdd_disable_vf(&mut self, on: bool) {
        self.mdd_disable_vf = on;
        for h in &mut self.vfs {
            h.toward_limit = 0;
        }
    }

    /// At the end of a period: the VF that was refused most, and how often, if that is too often.
    fn noisy(&mut self) -> Option<(u32, u32)> {
        if self.period.elapsed() < PERIOD {
            return None;
        }
        self.period = Instant::now();
        let mut worst = None;
        for (vf, h) in (0u32..).zip(&mut self.vfs) {
            let n = core::mem::take(&mut h.lately);
            if n > REFUSED_LIMIT && worst.is_none_or(|(_, most)| n > most) {
                worst = Some((vf, n));
            }
        }
        worst
    }

    /// A VF did bad DMA; whether it is to be switched off.
    fn master_abort(&mut self, vf: u32) -> bool {
        let on = self.mdd_disable_vf;
        let Some(h) = self.vfs.get_mut(vf as usize) else {
            return false;
        };
        h.master_aborts = h.master_aborts.wrapping_add(1);
        if !on {
            return false;
        }
        h.toward_limit = h.toward_limit.saturating_add(1);
        if h.toward_limit < PRIMARY_ABORT_LIMIT {
            return false;
        }
        h.toward_limit = 0;
        h.disabled = h.disabled.saturating_add(1);
        true
    }
}

/// What the service task looks at each time, with no lock held.
pub(crate) fn check(dev: &net::Device<Adapter>) {
    let a = dev.data();
    let (noisy, event) = {
        let health = &mut a.state.lock().health;
        (health.noisy(), health.event.take())
    };
    if let Some((vf, n)) = noisy {
        if let Ok(msg) = CString::try_from_fmt(fmt!("VF {} was refused {} messages", vf, n)) {
            devlink::health_report(dev, REPORTER_MAILBOX, &msg);
        }
    }
    if let Some(event) = event {
        report_blocked(dev, &event);
    }
    // As in C: while frames go out there is no need to look.
    if dev.carrier_ok() && a.hw.read32(regs::TXDGPC) == 0 {
        check_for_bad_vf(dev);
    }
}

/// Says whose queues the device has blocked (`ixgbe_check_mdd_event`).
fn report_blocked(dev: &net::Device<Adapter>, event: &Blocked) {
    for vf in (0..MAX_VFS).filter(|vf| event.vfs >> (vf & 63) & 1 != 0) {
        dev_warn!(
            dev.parent(),
            "Malicious event on VF {} tx:{:x} rx:{:x}\n",
            vf,
            event.tx,
            event.rx
        );
        if let Ok(msg) = CString::try_from_fmt(fmt!("the device blocked queues of VF {}", vf)) {
            devlink::health_report(dev, REPORTER_MALICIOUS_VF, &msg);
        }
    }
    if event.others {
        dev_warn!(
            dev.parent(),
            "Malicious event on a queue of no VF tx:{:x} rx:{:x}\n",
            event.tx,
            event.rx
        );
    }
}

/// Resets each VF whose DMA went to an address that nobody answered for (`ixgbe_check_for_bad_vf`).
fn check_for_bad_vf(dev: &net::Device<Adapter>) {
    let Ok(pdev) = ixgbe_lib::pdev(dev) else {
        return;
    };
    let mut vfs = VirtFns::of(pdev);
    while let Some(vf) = vfs.advance() {
        if vf.status().is_none_or(|s| s & STATUS_REC_MASTER_ABORT == 0) {
            continue;
        }
        let index = vf.index();
        match reset_bad_vf(dev, &vf) {
            // Its queues are stopped; what it did before that goes with it.
            Verdict::Stands => continue,
            Verdict::Reset(true) => {}
            Verdict::Reset(false) => dev_warn!(pdev, "VF {} cannot be reset\n", index),
        }
        if let Ok(msg) = CString::try_from_fmt(fmt!("VF {} did DMA to a wrong address", index)) {
            devlink::health_report(dev, REPORTER_MALICIOUS_VF, &msg);
        }
    }
}

/// What was done about a VF that did bad DMA.
enum Verdict {
    /// It stands still to be moved: a reset would take its state.
    Stands,
    /// It was reset, or could not be.
    Reset(bool),
}

/// Counts bad DMA of a VF and resets it, unless it stands still.
///
/// All under one lock, so that it does not come to stand meanwhile. The reset takes 100 ms, for
/// which other VFs wait for answers; they wait a second before they give up.
fn reset_bad_vf(dev: &net::Device<Adapter>, vf: &VirtFn<'_>) -> Verdict {
    let state = &mut *dev.data().state.lock();
    if state.migration.active(vf.index()) {
        return Verdict::Stands;
    }
    bad_vf(dev, state, vf.index());
    Verdict::Reset(vf.flr().is_ok())
}

/// Counts bad DMA of a VF, and switches it off if the administrator wants that
/// (`ixgbe_bad_vf_abort`).
fn bad_vf(dev: &net::Device<Adapter>, state: &mut State, vf: u32) {
    let a = dev.data();
    if !state.health.master_abort(vf) {
        return;
    }
    let State { sw, vfs, .. } = state;
    let Some(v) = vfs.get_mut(vf as usize) else {
        return;
    };
    sw.set_link_state(&a.hw, vf, v, LinkState::Disable);
    dev_info!(
        dev.parent(),
        "Malicious Driver Detection event detected on VF {} mdd-disable-vf=on\n",
        vf
    );
}

/// Whether a bus error was the fault of a VF, which has been reset then
/// (`ixgbe_io_error_detected`).
///
/// The root port keeps the header of the transaction that went wrong, and in it who made it.
pub(crate) fn bus_error_of_vf(pdev: &pci::Device<Bound>, dev: &net::Device<Adapter>) -> bool {
    let Some(log) = root_port_header_log(pdev) else {
        return false;
    };
    let requester = log[1] >> 16;
    if requester & REQUESTER_IS_VF == 0 {
        return false;
    }
    let mut vfs = VirtFns::of(pdev);
    while let Some(vf) = vfs.advance() {
        if u32::from(vf.requester_id()) != requester {
            continue;
        }
        let [dw0, dw1, dw2, dw3] = log;
        dev_err!(pdev, "VF {} has caused a PCIe error\n", vf.index());
        dev_err!(
            pdev,
            "TLP: dw0: {:08x}\tdw1: {:08x}\tdw2: {:08x}\tdw3: {:08x}\n",
            dw0,
            dw1,
            dw2,
            dw3
        );
        return match reset_bad_vf(dev, &vf) {
            // Nothing is left to be stopped, and nobody else is to blame.
            Verdict::Stands => true,
            Verdict::Reset(done) => done,
        };
    }
    false
}

/// A transmit queue hung: reported, and recovered from as the administrator wants.
pub(crate) fn tx_timeout(dev: &net::Device<Adapter>) {
    let queue = dev.data().hung_queue.load(Relaxed);
    dev_warn!(
        dev.parent(),
        "initiating reset due to tx timeout of queue {}\n",
        queue
    );
    if let Ok(msg) = CString::try_from_fmt(fmt!("transmit queue {} hung", queue)) {
        devlink::health_report(dev, REPORTER_TX, &msg);
    }
}

/// Recovers from a hang of transmission.
pub(crate) fn recover(dev: &net::Device<Adapter>) -> Result {
    let rtnl = Rtnl::lock();
    if !ixgbe_lib::wanted_up(dev, &rtnl) {
        return Ok(());
    }
    dev_warn!(dev.parent(), "Reset adapter\n");
    ixgbe_lib::reinit(dev, &rtnl)
}

/// Writes what is known about what `reporter` watches.
pub(crate) fn dump(dev: &net::Device<Adapter>, reporter: usize, msg: &mut Fmsg) {
    match reporter {
        REPORTER_TX => dump_tx(dev, msg),
        REPORTER_MAILBOX => dump_mailbox(dev, msg),
        REPORTER_MALICIOUS_VF => dump_malicious(dev, msg),
        _ => {}
    }
}

fn dump_tx(dev: &net::Device<Adapter>, msg: &mut Fmsg) {
    let a = dev.data();
    msg.u32(c"timeouts", a.tx_timeout_count.load(Relaxed));
    msg.u32(c"last_queue", a.hung_queue.load(Relaxed));
    let first = ixgbe_lib::Rings::first_queue(&a.state.lock());
    let queues = dev.real_num_queues().0;
    msg.array(c"queues", |msg| {
        for q in 0..queues {
            // Taken by the stack's lock of the queue, so that it is of one moment.
            let Some((used, cleaned)) = dev.with_tx_queue(q, |queue| queue.indices()) else {
                continue;
            };
            let reg = first.wrapping_add(q);
            msg.object(|msg| {
                msg.u32(c"queue", q);
                msg.u32(c"next_to_use", used);
                msg.u32(c"next_to_clean", cleaned);
                registers(&a.hw, reg, msg);
            });
        }
    });
}

fn registers(hw: &Hw, queue: u32, msg: &mut Fmsg) {
    msg.u32(c"TDH", hw.read32(regs::tdh(queue)));
    msg.u32(c"TDT", hw.read32(regs::tdt(queue)));
    msg.u32(c"TXDCTL", hw.read32(regs::txdctl(queue)));
}

fn dump_mailbox(dev: &net::Device<Adapter>, msg: &mut Fmsg) {
    let state = dev.data().state.lock();
    msg.array(c"VFs", |msg| {
        for (vf, h) in (0u32..).zip(&state.health.vfs) {
            msg.object(|msg| {
                msg.u32(c"vf", vf);
                msg.bool(
                    c"clear_to_send",
                    state.vfs.get(vf as usize).is_some_and(|v| v.clear_to_send),
                );
                msg.u64(c"done", h.done);
                msg.u64(c"refused", h.refused);
                msg.u64(c"unknown", h.unknown);
                msg.u64(c"before_reset", h.early);
                msg.u64(c"resets", h.resets);
                msg.u32(c"mailbox_held", h.stuck);
                msg.u64(c"held_back", h.held_back);
            });
        }
    });
}

fn dump_malicious(dev: &net::Device<Adapter>, msg: &mut Fmsg) {
    let state = dev.data().state.lock();
    msg.bool(c"mdd_disable_vf", state.health.mdd_disable_vf);
    msg.u64(c"spoofed_packets", state.hw_stats.ssvpc);
    msg.array(c"VFs", |msg| {
        for (vf, h) in (0u32..).zip(&state.health.vfs) {
            msg.object(|msg| {
                msg.u32(c"vf", vf);
                msg.u64(c"master_aborts", h.master_aborts);
                msg.u32(c"disabled", h.disabled);
                msg.u32(c"blocked", h.blocked);
            });
        }
    });
}
