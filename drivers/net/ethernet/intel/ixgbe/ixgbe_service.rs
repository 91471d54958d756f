// SPDX-License-Identifier: GPL-2.0
//! What runs beside traffic: link, counters, and events that interrupts announce
//! (`ixgbe_service_task`).

use crate::{
    ixgbe_health,
    ixgbe_lib,
    ixgbe_movers,
    ixgbe_sfp,
    ixgbe_sriov,
    ixgbe_stats,
    Adapter,
    State,
    EVENT_HEAT,
    EVENT_LINK,
    EVENT_MAILBOX,
    EVENT_MODULE,
    EVENT_RESET,
    EVENT_SIGNAL,
    EVENT_TX_TIMEOUT, //
};
use kernel::{
    irq::IrqReturn,
    prelude::*,
    sync::atomic::Relaxed, //
};
use libixgbe::{
    cage,
    itr,
    link::{
        self,
        Pause, //
    },
    regs,
    ring,
    sriov::mdd,
    Regs, //
};
use nic::net::{
    self,
    Rtnl, //
};

/// Milliseconds between looks at the counters (`ixgbe_service_timer`).
const PERIOD_MS: u32 = 2000;
/// Milliseconds between looks at a link that is down.
const LINK_PERIOD_MS: u32 = 100;

/// The service task.
pub(crate) fn run(dev: &net::Device<Adapter>) {
    let a = dev.data();
    let mut events = a.take_events();
    if !ixgbe_lib::present(&a.hw) {
        dev.carrier_off();
        return;
    }
    if events & EVENT_HEAT != 0 {
        dev_crit!(
            dev.parent(),
            "Network adapter has been stopped because it has over heated. Restart the computer. If the problem persists, power off the system and replace the adapter\n"
        );
    }
    let mut period = PERIOD_MS;
    // Before anything below waits for RTNL: a VF driver of this machine holds it while it waits for
    // its answer.
    if events & EVENT_MAILBOX != 0 {
        if let Some(ms) = ixgbe_sriov::msg_task(dev, &mut a.state.lock()) {
            period = period.min(ms);
        }
    }
    if events & EVENT_TX_TIMEOUT != 0 {
        ixgbe_health::tx_timeout(dev);
        events |= EVENT_LINK;
    }
    if events & EVENT_RESET != 0 || dev.running() && !a.state.lock().sw.up {
        let rtnl = Rtnl::lock();
        // It is down for want of memory when it was last reset, unless it was just being opened
        // above.
        let lost = !a.state.lock().sw.up;
        if ixgbe_lib::wanted_up(dev, &rtnl) && (lost || events & EVENT_RESET != 0) {
            dev_warn!(dev.parent(), "Reset adapter\n");
            if ixgbe_lib::reinit(dev, &rtnl).is_err() {
                dev_err!(dev.parent(), "Cannot bring the interface up again\n");
            }
        }
        events |= EVENT_LINK;
    }
    let running = dev.running();
    let mut reset = false;
    {
        let state = &mut *a.state.lock();
        if state.sw.num_vfs != 0 {
            if let Some(ms) = ixgbe_sriov::msg_task(dev, state) {
                period = period.min(ms);
            }
            if let Some(ms) = ixgbe_movers::check_held(dev, state) {
                period = period.min(ms);
            }
            // After their messages, since a driver that was heard of is left alone for a moment.
            if let Some(ms) = ixgbe_sriov::nudge(&a.hw, state) {
                period = period.min(ms);
            }
            ixgbe_sriov::age_mailboxes(state);
        }
        if running && state.sw.up {
            if events & EVENT_LINK != 0 || !state.link.up {
                watchdog_link(dev, state);
                a.hw.write32(regs::EIMS, regs::EICR_LSC);
            }
            if !state.link.up {
                period = period.min(LINK_PERIOD_MS);
            }
            ixgbe_stats::update_stats(dev, state);
            let spoofed = state.spoof_log.take(&state.hw_stats);
            if spoofed != 0 {
                dev_warn!(dev.parent(), "{} Spoofed packets detected\n", spoofed);
            }
            let (queues, _) = dev.real_num_queues();
            // A module that is pulled takes the link of the VFs, and nothing else of theirs: what
            // waits is sent when the next one is in.
            let spared = a.board.has_cage() && state.sw.num_vfs != 0;
            if !state.link.up && !spared && ixgbe_lib::tx_pending(&a.hw, state, queues) {
                // Without a link the device does not send, and nobody else frees what waits.
                dev_warn!(
                    dev.parent(),
                    "initiating reset to clear Tx work after link loss\n"
                );
                reset = true;
            }
            // An interrupt that was lost, or that had no memory to post buffers with, must not stop
            // a queue.
            itr::fire(&a.hw, queues);
        }
    }
    if let Some(ms) = ixgbe_movers::announce_arrived(dev) {
        period = period.min(ms);
    }
    ixgbe_health::check(dev);
    if let Some(ms) = ixgbe_sfp::service(dev, events) {
        period = period.min(ms);
    }
    if reset {
        Adapter::raise(dev, EVENT_RESET);
    }
    if running || a.has_events() {
        dev.schedule_service(period);
    }
}

/// Tells the stack and the VFs about the link (`ixgbe_watchdog_subtask`).
fn watchdog_link(dev: &net::Device<Adapter>, state: &mut State) {
    let a = dev.data();
    let mut now = a.board.chip().check_link(&a.hw);
    let blocked = a.board.has_cage() && state.cage.blocks();
    if now.up && (blocked || a.crosstalk_fix && cage::is_crosstalk(&a.hw)) {
        now = link::Link::default();
    }
    if now == state.link {
        return;
    }
    let was = core::mem::replace(&mut state.link, now);
    a.link_mbps.store(now.mbps(), Relaxed);
    if now.up {
        state.fc.enable(&a.hw);
        // Only now is it known whether the partner pauses.
        let queues = dev.real_num_queues().1;
        let drops = ring::drops(state.sw.pools.is_some(), queues, state.fc.current.tx);
        let first = ixgbe_lib::Rings::first_queue(state);
        ring::set_drop_en(&a.hw, first, queues, drops);
        // Not before the PF's rings are as they stay: a change may count as malice (as in
        // `ixgbe_set_rx_drop_en`).
        if state.sw.pools.is_some() && state.sw.chip.detects_malice() {
            mdd::set(&a.hw, true);
        }
        let pause = match state.fc.current {
            Pause { rx: true, tx: true } => "RX/TX",
            Pause {
                rx: true,
                tx: false,
            } => "RX",
            Pause {
                rx: false,
                tx: true,
            } => "TX",
            Pause {
                rx: false,
                tx: false,
            } => "None",
        };
        dev_info!(
            dev.parent(),
            "{}: NIC Link is Up {} Mbps, Flow Control: {}\n",
            dev.name(),
            now.mbps(),
            pause
        );
        dev.carrier_on();
    } else if was.up {
        dev_info!(dev.parent(), "{}: NIC Link is Down\n", dev.name());
        dev.carrier_off();
    }
    let State { sw, vfs, .. } = state;
    if sw.check_rates(&a.hw, vfs, now.mbps()) {
        dev_info!(
            dev.parent(),
            "Transmit rate limits of VFs above {} Mbps have no effect\n",
            now.mbps()
        );
    }
    sw.ping_all(&a.hw, vfs);
}

/// Other causes than queues, in interrupt context (`ixgbe_msix_other`).
pub(crate) fn interrupt(dev: &net::Device<Adapter>) -> IrqReturn {
    let a = dev.data();
    let causes = if a.single_vector {
        let causes = itr::take_all(&a.hw);
        if causes == 0 {
            // Masked for nothing, as the line is shared.
            itr::enable_queues(&a.hw, !0);
            itr::enable_other(&a.hw, a.board.causes(), true);
            return IrqReturn::None;
        }
        causes
    } else {
        itr::take_other(&a.hw)
    };
    let mut events = 0;
    if causes & regs::EICR_LSC != 0 {
        // Masked until the service task has looked.
        a.hw.write32(regs::EIMC, regs::EICR_LSC);
        a.lsc_count.fetch_add(1, Relaxed);
        events |= EVENT_LINK;
    }
    if causes & regs::EICR_MAILBOX != 0 {
        // At once, as a VF driver of this machine may spin for the answer on the CPU that the
        // service task would need. Whoever holds the lock leaves it to that task.
        match a.state.try_lock() {
            Some(mut state) => {
                let mut again = ixgbe_sriov::msg_task(dev, &mut state);
                // What is told to a driver that was heard of has its own time.
                if state.vfs.iter().any(|v| v.nudge.stirs() && !v.stands) {
                    again = Some(0);
                }
                if let Some(ms) = again {
                    dev.schedule_service(ms);
                }
            }
            None => events |= EVENT_MAILBOX,
        }
    }
    if causes & regs::EICR_ECC != 0 {
        events |= EVENT_RESET;
    }
    if causes & a.board.causes() & regs::EICR_TS != 0 {
        events |= EVENT_HEAT;
    }
    if a.board.has_cage() {
        if causes & regs::EICR_GPI_SDP2 != 0 {
            events |= EVENT_MODULE;
        }
        if causes & regs::EICR_GPI_SDP1 != 0 {
            events |= EVENT_SIGNAL;
        }
    }
    if events != 0 {
        Adapter::raise(dev, events);
    }
    itr::enable_other(&a.hw, a.board.causes(), events & EVENT_LINK == 0);
    IrqReturn::Handled
}
