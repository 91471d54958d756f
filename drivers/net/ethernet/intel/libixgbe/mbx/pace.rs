// SPDX-License-Identifier: GPL-2.0
//! How fast a VF may send messages.
//!
//! The PF reads all mailboxes in one task, after one interrupt, which is moderated. A VF that sends
//! its next message as soon as the last one is answered would keep that task busy and the interrupt
//! waiting, and so would every other VF.

use super::pf::{
    self,
    Events, //
};
use crate::{
    allowance::Allowance,
    Regs, //
};

/// Milliseconds that one message is worth: 100 messages a second.
const COST: u32 = 10;
/// Messages that may come at once. A driver that comes up with a full VLAN table and all the
/// addresses that there are sends fewer (64 and 111).
const BURST: u32 = 256;

/// What one VF sent lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    allowance: Allowance<{ COST * (BURST - 1) }>,
    /// When its last message was let through, in milliseconds.
    last: u64,
    /// It does not interrupt the PF.
    masked: bool,
}

impl Pace {
    /// A VF that was silent.
    pub const fn new() -> Self {
        Self {
            allowance: Allowance::new(),
            last: 0,
            masked: false,
        }
    }

    /// Takes the message of `vf` out of `events` if it has to wait; the VF does not interrupt the
    /// PF meanwhile. Nothing is lost: the device shows it until the PF has read it, and its driver
    /// waits for the answer (a second, `IXGBE_VF_MBX_INIT_TIMEOUT`). `now` is in milliseconds.
    ///
    /// Returns in how many milliseconds to look again.
    pub fn admit(&mut self, io: &impl Regs, events: &mut Events, vf: u32, now: u64) -> Option<u32> {
        let wait = self.hold(events, vf, now);
        if wait.is_some() != self.masked {
            self.masked = wait.is_some();
            pf::set_interrupt(io, vf, wait.is_none());
            // What came since the events were read did not interrupt.
            return wait.or(Some(1));
        }
        wait
    }

    /// Takes the message of `vf` out of `events` if it has to wait, and returns for how many
    /// milliseconds.
    fn hold(&mut self, events: &mut Events, vf: u32, now: u64) -> Option<u32> {
        let bit = 1u64.checked_shl(vf)?;
        if events.messages & bit == 0 {
            return None;
        }
        match self.allowance.take(now.saturating_sub(self.last), COST) {
            Ok(()) => {
                self.last = now;
                None
            }
            Err(wait) => {
                events.messages &= !bit;
                Some(wait)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VF: u32 = 63;

    /// Whether a message of the VF that is there at `now` is read.
    fn read(pace: &mut Pace, now: u64) -> bool {
        let asked = Events {
            messages: 1 << VF | 1,
            acks: 1 << VF,
            resets: 1 << VF,
        };
        let mut events = asked;
        let wait = pace.hold(&mut events, VF, now);
        let held = Events {
            messages: 1,
            ..asked
        };
        assert_eq!(events, if wait.is_some() { held } else { asked });
        wait.is_none()
    }

    #[test]
    fn a_burst_is_read_at_once() {
        let mut pace = Pace::new();
        assert!((0..BURST).all(|_| read(&mut pace, 5)));
        assert!(!read(&mut pace, 5));
    }

    #[test]
    fn a_flood_is_a_hundred_a_second() {
        let mut pace = Pace::new();
        let read = (0..10_000).filter(|now| read(&mut pace, *now)).count();
        assert_eq!(read, BURST as usize + 999);
    }

    #[test]
    fn what_waits_is_read_after_the_time_that_was_told() {
        let mut pace = Pace::new();
        let mut events = Events {
            messages: 1,
            ..Events::default()
        };
        while read(&mut pace, 7) {}
        let wait = pace
            .hold(&mut events.clone(), 0, 7)
            .expect("it has to wait");
        assert!(wait <= COST);
        assert_eq!(pace.hold(&mut events, 0, 7 + u64::from(wait)), None);
    }

    /// It waits no longer than its driver does.
    #[test]
    fn nobody_waits_for_a_second() {
        let mut pace = Pace::new();
        for now in 0..5000 {
            let mut events = Events {
                messages: 1,
                ..Events::default()
            };
            assert!(pace.hold(&mut events, 0, now).unwrap_or(0) <= COST);
        }
    }

    #[test]
    fn what_is_not_a_message_is_let_through() {
        let mut pace = Pace::new();
        while read(&mut pace, 0) {}
        let mut events = Events {
            messages: 0,
            acks: u64::MAX,
            resets: u64::MAX,
        };
        assert_eq!(pace.hold(&mut events, VF, 0), None);
        assert_eq!(events.acks & events.resets, u64::MAX);
        assert_eq!(pace.hold(&mut events, 64, 0), None, "there is no such VF");
    }
}
