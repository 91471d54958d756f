// SPDX-License-Identifier: GPL-2.0
//! The service task: link, mailbox, resets (`ixgbevf_service_task`).

use crate::adapter::{
    Adapter,
    Events,
    State, //
};
use kernel::{
    prelude::*,
    time::Delta, //
};
use libixgbe::{
    mbx::{
        PF_CONTROL_MSG,
        VT_MSGTYPE_CTS,
        VT_MSGTYPE_MASK, //
    },
    mbx_ext::PfMessage,
    regs::VTEICS,
    Regs, //
};
use nic::net::{
    Device,
    Rtnl, //
};

/// How often the task runs, in milliseconds.
pub(crate) const PERIOD_MS: u32 = 2000;
/// How long after a reset a VF that is not clear to send is left alone.
const RESET_GRACE: Delta = Delta::from_secs(10);

impl Adapter {
    pub(crate) fn service(&self, dev: &Device<Adapter>) {
        if self.hw.removed() {
            self.surprise_removal(dev);
            return;
        }
        let link_event = self.events.take(Events::MAILBOX);
        let mut reset = self.events.take(Events::RESET);
        {
            let mut st = self.state.lock();
            if st.up.is_some() && !reset {
                reset = self.mailbox(dev, &mut st, link_event);
            }
            // Up was wanted and failed before: the PF may be there now.
            reset |= st.want_up && st.up.is_none();
        }
        if reset {
            // RTNL goes before the state lock.
            let rtnl = Rtnl::lock();
            let mut st = self.state.lock();
            if st.want_up && dev.present() {
                st.tx_timeout_count = st.tx_timeout_count.wrapping_add(1);
                self.reinit(dev, &rtnl, &mut st);
            }
        }
        if self.events.take(Events::ADDRESS) {
            // Without the state lock: who is told may call the driver.
            dev.address_changed(&Rtnl::lock());
        }
        let mut st = self.state.lock();
        if st.up.is_some() {
            self.watchdog(dev, &mut st);
            self.check_hang(dev, &st);
        }
        if st.want_up {
            dev.schedule_service(PERIOD_MS);
        }
    }

    /// The device is gone from the bus: only software can be cleaned up. If it comes back, as after
    /// a reset of the PF, it is taken up again.
    fn surprise_removal(&self, dev: &Device<Adapter>) {
        let rtnl = Rtnl::lock();
        let mut st = self.state.lock();
        if st.up.is_some() {
            dev_err!(dev.parent(), "Adapter removed\n");
            self.down(dev, &rtnl, &mut st);
        }
        if st.want_up {
            dev.schedule_service(PERIOD_MS);
        }
    }

    /// Takes what the PF sent; whether the function must be reset, since it is not clear to send
    /// any more.
    fn mailbox(&self, dev: &Device<Adapter>, st: &mut State, event: bool) -> bool {
        if event {
            st.vf.link_changed();
        }
        // Bounded, should a PF send without end.
        for _ in 0..16 {
            match st.vf.mbx.take_message(&self.hw) {
                Ok(Some(msg)) => {
                    let head = msg[0];
                    st.vf.link_changed();
                    if head & VT_MSGTYPE_CTS == 0 {
                        // The standard way of a PF to say that it was reset, or wants the VF to be.
                        dev_dbg!(dev.parent(), "PF withdrew clear-to-send\n");
                        st.migration.resets += 1;
                        return true;
                    }
                    if PfMessage::is_type(head) {
                        self.migration_message(dev, st, &msg);
                    } else if head & VT_MSGTYPE_MASK != PF_CONTROL_MSG {
                        dev_dbg!(dev.parent(), "PF message {:#x} ignored\n", head);
                    }
                }
                _ => break,
            }
        }
        false
    }

    /// Follows the link (`ixgbevf_watchdog_subtask`).
    fn watchdog(&self, dev: &Device<Adapter>, st: &mut State) {
        match st.vf.check_link(&self.hw) {
            Ok(link) => st.link = link,
            Err(_) => {
                st.link = Default::default();
                if st.last_reset.elapsed() > RESET_GRACE {
                    self.events.set(Events::RESET);
                    dev.schedule_service(0);
                }
            }
        }
        // The PF has answered since, but not to everything.
        if st.unsure && st.last_reset.elapsed() > RESET_GRACE {
            self.events.set(Events::RESET);
            dev.schedule_service(0);
        }
        let up = st.link.up && st.link_state;
        if up && !dev.carrier_ok() {
            match st.link.speed {
                10_000 => dev_info!(dev.parent(), "NIC Link is Up 10 Gbps\n"),
                1000 => dev_info!(dev.parent(), "NIC Link is Up 1 Gbps\n"),
                100 => dev_info!(dev.parent(), "NIC Link is Up 100 Mbps\n"),
                _ => dev_info!(dev.parent(), "NIC Link is Up unknown speed\n"),
            }
            dev.carrier_on();
        } else if !up && dev.carrier_ok() {
            dev_info!(dev.parent(), "NIC Link is Down\n");
            dev.carrier_off();
        }
        st.hw_stats.update(&self.hw);
        self.multicast.set(st.hw_stats.multicast());
    }

    /// Raises every queue's interrupt, in case one was lost (`ixgbevf_check_hang_subtask`); also
    /// what refills a receive ring that ran dry for want of memory. A hung transmit queue is found
    /// by the core's watchdog.
    fn check_hang(&self, _dev: &Device<Adapter>, st: &State) {
        if let Some(up) = &st.up {
            self.hw.write32(VTEICS, up.eims & !up.eims_other);
        }
    }
}
