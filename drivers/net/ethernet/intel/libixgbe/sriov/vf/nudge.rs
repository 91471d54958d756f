// SPDX-License-Identifier: GPL-2.0
//! Repeats of the two messages that a driver must act on, until it has: clear-to-send is withdrawn, and it is there again.
//!
//! The protocol is that a driver hears [`crate::mbx::PF_CONTROL_MSG`] without clear-to-send, acknowledges it, is refused, and
//! resets its VF. The C driver (`ixgbevf_main.c`) drops most of these events. Its interrupt only schedules its service task,
//! and `ixgbevf_service_event_schedule` does nothing while that task runs. The refusal comes within microseconds of the
//! acknowledgement, while the task runs. So does the event that should start the reset, since the task asks for it and does it
//! when it runs next. Each event that is dropped costs a period of the task's timer, two seconds.
//!
//! So the PF repeats the refusal for as long as the driver has not reset its VF, a few milliseconds after it was last heard of.
//! When the driver has set up the VF again, the PF tells it a few times that it is clear to send: the driver then looks at its
//! link.
//!
//! The first message stays as it is until it is acknowledged. DPDK acts on that very word and ignores the refusal.
//!
//! The C driver does not reset its VF for a refusal within ten seconds of its last reset (`ixgbevf_watchdog_update_link`). It
//! does reset it, at any time, when it finds a Tx ring hung: twice in a row it was clear to send, frames were pending and none
//! was sent (`ixgbevf_check_tx_hang`). It looks whenever its service task runs and its link is up. So a driver that reads
//! refusals and does not reset its VF is told for a while that it is clear to send. Its Tx rings are stopped, and if one looks
//! empty, it is given a tail that says what is true: that nothing that goes into it will be sent.

use super::{
    Lies,
    Switch,
    VfState, //
};
use crate::{
    regs,
    Regs, //
};

/// Milliseconds for which a driver is told. `ixgbevf_watchdog_update_link` resets the VF only if its last reset was more than
/// ten seconds ago.
const TOLD_MS: u64 = 12_000;
/// Refusals that a driver acknowledges before it counts as one that does not reset its VF for them: one more than the C driver
/// reads, if its service task has dropped an event.
const REFUSALS: u8 = 3;
/// Milliseconds for which a driver is told that it is clear to send all the same. It has to look at its rings three times, and
/// to run once more.
const HANG_MS: u64 = 1000;
/// Milliseconds after the last request at which a driver is told that it is clear to send.
const CLEAR_MS: [u64; 3] = [20, 60, 150];
/// Milliseconds for which a driver may go on to set up its VF.
const SETUP_MS: u64 = 5_000;

/// Milliseconds between two refusals. Longer than the service task of an idle guest takes. One that has not reset its VF in
/// two seconds waits for the end of its ten, or does not know the message.
const fn pace(elapsed: u64) -> u64 {
    match elapsed {
        0..500 => 10,
        500..2000 => 25,
        _ => 100,
    }
}

/// Whether a driver is made to see that its Tx rings hang.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hang {
    /// It was not.
    #[default]
    Untried,
    /// It is, until then.
    Shown(u64),
    /// It was, or its rings run.
    Tried,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is nothing to repeat.
    #[default]
    Idle,
    /// Clear-to-send was withdrawn.
    Withdrawn {
        /// The driver has acknowledged that.
        told: bool,
        /// Refusals that it has acknowledged since.
        refused: u8,
        /// What it does not do for these it does for a hang.
        hang: Hang,
    },
    /// The driver was told for long enough. It is there all the same, and is told again when there is a new reason.
    Tired,
    /// The VF was reset. A driver that did it says so next; a new user of the VF is told nothing.
    Reset,
    /// The driver has said so, and sets up the VF.
    Setup {
        /// How often it was told that it is clear to send.
        pings: usize,
    },
}

/// What is repeated to one VF.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nudge {
    stage: Stage,
    /// When the clock was first seen in this stage.
    since: Option<u64>,
    /// When the driver was last heard of, or told something.
    last: u64,
    /// It was heard of since the clock was seen.
    heard: bool,
}

impl Nudge {
    /// Nothing to repeat.
    pub const fn new() -> Self {
        Self {
            stage: Stage::Idle,
            since: None,
            last: 0,
            heard: false,
        }
    }

    fn enter(&mut self, stage: Stage) {
        *self = Self {
            stage,
            ..Self::new()
        };
    }

    /// Clear-to-send is withdrawn. `open` is a VF with a driver; so is one whose driver has not heard the last time.
    pub(crate) fn withdrawn(&mut self, open: bool) {
        if open || matches!(self.stage, Stage::Withdrawn { .. } | Stage::Tired) {
            self.enter(Stage::Withdrawn {
                told: false,
                refused: 0,
                hang: Hang::Untried,
            });
        }
    }

    /// Whether something is to be repeated.
    pub fn active(&self) -> bool {
        !matches!(self.stage, Stage::Idle | Stage::Tired)
    }

    /// Whether the VF's driver has still to reset it, and what is in its rings does not count.
    pub fn owes_reset(&self) -> bool {
        matches!(self.stage, Stage::Withdrawn { .. } | Stage::Tired)
    }

    /// Whether the driver knows that clear-to-send was withdrawn, and is refused from here on.
    pub(super) fn refuses(&self) -> bool {
        matches!(self.stage, Stage::Withdrawn { told: true, .. }) && !self.shows_hang()
    }

    /// Whether the driver is told that it is clear to send, so that it looks at its Tx rings.
    pub(super) fn shows_hang(&self) -> bool {
        matches!(
            self.stage,
            Stage::Withdrawn {
                hang: Hang::Shown(_),
                ..
            }
        )
    }

    /// What to try with a driver that reads refusals and does not reset its VF.
    fn untried(&mut self) -> Option<&mut Hang> {
        match &mut self.stage {
            Stage::Withdrawn { refused, hang, .. }
                if *refused >= REFUSALS && *hang == Hang::Untried =>
            {
                Some(hang)
            }
            _ => None,
        }
    }

    /// The driver has read and acknowledged this. Returns whether one that is not clear to send is refused at once; a driver
    /// that is told by [`Switch::nudge`] hears of it again at that pace, however fast it acknowledges.
    pub(super) fn acknowledged(&mut self, taken: Lies) -> bool {
        match &mut self.stage {
            Stage::Withdrawn { told, refused, .. } => {
                self.heard = true;
                if taken != Lies::Control {
                    return !*told;
                }
                if !core::mem::replace(told, true) {
                    return true;
                }
                *refused = refused.saturating_add(1);
                false
            }
            Stage::Tired => false,
            Stage::Idle | Stage::Reset | Stage::Setup { .. } => true,
        }
    }

    /// The driver has asked for something.
    pub(super) fn requested(&mut self) {
        self.heard = true;
    }

    /// The VF was reset, by its driver or by others.
    pub(super) fn vf_was_reset(&mut self) {
        if self.stage != Stage::Idle {
            self.enter(Stage::Reset);
        }
    }

    /// Its driver says that it has reset the VF.
    pub(super) fn driver_begins(&mut self) {
        if self.active() {
            self.enter(Stage::Setup { pings: 0 });
        }
    }

    /// The VF stands still: its time begins when it runs.
    fn stands(&mut self) {
        self.since = None;
    }

    /// Looks at the clock. Returns whether to say something now, and in how many milliseconds to look again.
    fn tick(&mut self, now: u64) -> (bool, Option<u64>) {
        if !self.active() {
            return (false, None);
        }
        let fresh = self.since.is_none();
        let since = *self.since.get_or_insert(now);
        if core::mem::take(&mut self.heard) || fresh {
            self.last = now;
            if let Stage::Setup { pings } = &mut self.stage {
                *pings = 0;
            }
        }
        let elapsed = now.saturating_sub(since);
        let limit = match self.stage {
            Stage::Setup { .. } => SETUP_MS,
            _ => TOLD_MS,
        };
        if elapsed >= limit {
            let tired = matches!(self.stage, Stage::Withdrawn { .. });
            self.enter(if tired { Stage::Tired } else { Stage::Idle });
            return (false, None);
        }
        let quiet = now.saturating_sub(self.last);
        match &mut self.stage {
            Stage::Withdrawn { hang, .. } => {
                if matches!(hang, Hang::Shown(until) if now >= *until) {
                    *hang = Hang::Tried;
                }
                let gap = pace(elapsed);
                if quiet < gap {
                    return (false, Some(gap.saturating_sub(quiet)));
                }
                self.last = now;
                (true, Some(gap))
            }
            Stage::Setup { pings } => {
                let Some(at) = CLEAR_MS.get(*pings) else {
                    *self = Self::new();
                    return (false, None);
                };
                if quiet < *at {
                    return (false, Some(at.saturating_sub(quiet)));
                }
                *pings = pings.saturating_add(1);
                let next = CLEAR_MS
                    .get(*pings)
                    .map_or(0, |at| at.saturating_sub(quiet));
                (true, Some(next.max(1)))
            }
            Stage::Idle | Stage::Tired | Stage::Reset => {
                (false, Some(limit.saturating_sub(elapsed)))
            }
        }
    }
}

impl Switch {
    /// Repeats to a VF what its driver must act on, if it is time. `now` is in milliseconds of any clock that goes on. Returns
    /// in how many milliseconds to call it again; it is called after a message or an acknowledgement of the VF as well.
    pub fn nudge(&self, io: &impl Regs, vf: u32, state: &mut VfState, now: u64) -> Option<u32> {
        if state.stands {
            state.nudge.stands();
            return None;
        }
        if let Some(hang) = state.nudge.untried() {
            *hang = if self.show_hang(io, vf) {
                Hang::Shown(now.saturating_add(HANG_MS))
            } else {
                Hang::Tried
            };
        }
        let (say, again) = state.nudge.tick(now);
        if say {
            self.ping(io, vf, state);
        }
        again.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX))
    }

    /// Makes the first Tx ring of a VF whose queues were stopped look as what it is, one in which frames stay. Returns whether
    /// it does; a ring that runs is left alone. Only this one, which every driver has.
    ///
    /// The queue is disabled, so that no descriptor is fetched, and a driver that sets up its VF writes both registers before it
    /// enables the queue.
    fn show_hang(&self, io: &impl Regs, vf: u32) -> bool {
        let Some(pools) = self.pools else {
            return false;
        };
        let queue = pools.first_queue(vf);
        let stopped = io.read32(regs::txdctl(queue)) & regs::TXDCTL_ENABLE == 0;
        if !stopped || io.read32(regs::tdlen(queue)) == 0 {
            return false;
        }
        let head = io.read32(regs::tdh(queue));
        if head == io.read32(regs::tdt(queue)) {
            // A ring has an even number of descriptors.
            io.write32(regs::tdt(queue), head ^ 1);
        }
        head != io.read32(regs::tdt(queue))
    }
}
