// SPDX-License-Identifier: GPL-2.0
//! Repeats of the two messages that a driver must act on, until it has: clear-to-send is withdrawn,
//! and it is there again.
//!
//! The protocol is that a driver hears [`crate::mbx::PF_CONTROL_MSG`] without clear-to-send,
//! acknowledges it, is refused, and resets its VF. The C driver (`ixgbevf_main.c`) drops most of
//! these events. Its interrupt only schedules its service task, and
//! `ixgbevf_service_event_schedule` does nothing while that task runs. The refusal comes within
//! microseconds of the acknowledgement, while the task runs. So does the event that should start
//! the reset, since the task asks for it and does it when it runs next. Each event that is dropped
//! costs a period of the task's timer, two seconds.
//!
//! So the PF repeats the refusal for as long as the driver has not reset its VF, a few milliseconds
//! after it was last heard of. When the driver has set up the VF again, the PF tells it a few times
//! that it is clear to send: the driver then looks at its link.
//!
//! The first message stays as it is until it is acknowledged. DPDK acts on that very word and
//! ignores the refusal.
//!
//! The C driver does not reset its VF for a refusal within ten seconds of its last reset
//! (`ixgbevf_watchdog_update_link`). It does reset it, at any time, when it finds a Tx ring hung:
//! twice in a row it was clear to send, frames were pending and none was sent
//! (`ixgbevf_check_tx_hang`). It looks whenever its service task runs and its link is up. A message
//! without clear-to-send takes its link down: the stack forgets its neighbours, and a request for
//! one that is lost is repeated after a second. So a VF whose Tx rings are stopped is shown that
//! first: it is told for a moment that it is clear to send, and if its ring looks empty, it is
//! given a tail that says what is true: that nothing that goes into it will be sent. A driver that
//! does not reset its VF for that is told without clear-to-send, and shown its ring once more if it
//! reads refusals and does nothing.
//!
//! The C driver takes its link down while it resets the VF, and looks at it once more before its
//! service task ends. The stack does not notice if that look comes soon. Frames that the VF
//! receives before are dealt with first, and the stack forgets its neighbours meanwhile. So a VF
//! receives when its driver has looked: it acknowledges then what it has acknowledged before. Or a
//! moment after its last request, since other drivers do not look.

use super::{
    Lies,
    Switch,
    VfState, //
};
use crate::{
    mbx_ext::FEATURE_MIGRATION,
    regs,
    Regs, //
};

/// Milliseconds for which a driver is told. `ixgbevf_watchdog_update_link` resets the VF only if
/// its last reset was more than ten seconds ago.
const TOLD_MS: u64 = 12_000;
/// Refusals that a driver acknowledges before it counts as one that does not reset its VF for them:
/// one more than the C driver reads, if its service task has dropped an event.
const REFUSALS: u8 = 3;
/// How often a driver is shown that its Tx rings hang, at most.
const SHOWN: u8 = 2;
/// Milliseconds for which it is, and for one that acknowledges nothing.
const HANG_MS: u64 = 1000;
const DEAF_MS: u64 = 300;
/// Messages that it acknowledges meanwhile before it counts as one that does not look. The C driver
/// looks at its rings after each, finds what it looks for at the third or fourth, and reads no
/// other before it resets its VF.
const LOOKS: u8 = 8;
/// Milliseconds after the last request at which a driver is told that it is clear to send.
const CLEAR_MS: [u64; 3] = [20, 60, 150];
/// Milliseconds for which a driver may go on to set up its VF.
const SETUP_MS: u64 = 5_000;

/// Milliseconds until a message is repeated, after so many repeats of which the driver has
/// acknowledged none. The first comes when the service task of an idle guest is over. One that
/// takes longer is not slowed down further by an interrupt each few milliseconds. A driver that has
/// not reset its VF in two seconds waits for the end of its ten, or does not know the message.
fn pace(elapsed: u64, repeats: u32) -> u64 {
    let least = match elapsed {
        0..200 => 5,
        200..500 => 10,
        500..2000 => 25,
        _ => 100,
    };
    least.max(5 << repeats.min(4))
}

/// A driver is made to see that its Tx rings hang.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hang {
    /// When the clock was first seen meanwhile.
    since: Option<u64>,
    /// Messages that the driver has acknowledged.
    looks: u8,
}

impl Hang {
    /// Whether it was for long enough.
    fn is_over(&mut self, now: u64) -> bool {
        let elapsed = now.saturating_sub(*self.since.get_or_insert(now));
        let limit = if self.looks == 0 { DEAF_MS } else { HANG_MS };
        self.looks >= LOOKS || elapsed >= limit
    }
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
        /// What it does not do for these it does for a hang, which it is shown at the moment.
        hang: Option<Hang>,
        /// How often that was tried.
        shown: u8,
    },
    /// The driver was told for long enough. It is there all the same, and is told again when there
    /// is a new reason.
    Tired,
    /// The VF was reset. A driver that did it says so next; a new user of the VF is told nothing.
    Reset,
    /// The driver has said so, and sets up the VF.
    Setup {
        /// How often it was told that it is clear to send.
        pings: usize,
        /// It has looked at its link since.
        looked: bool,
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
    /// How often it was told something since it was heard of.
    repeats: u32,
    /// The VF does not receive until its driver has looked at its link.
    deaf: bool,
}

impl Nudge {
    /// Nothing to repeat.
    pub const fn new() -> Self {
        Self {
            stage: Stage::Idle,
            since: None,
            last: 0,
            heard: false,
            repeats: 0,
            deaf: false,
        }
    }

    /// The VF's gate stays as it is, see [`Self::gate_moves`].
    fn enter(&mut self, stage: Stage) {
        *self = Self {
            stage,
            deaf: self.deaf,
            ..Self::new()
        };
    }

    /// Whether the VF does not receive for now.
    pub(super) fn deaf(&self) -> bool {
        self.deaf
    }

    /// Whether that has changed, and the VF's gate is to be moved.
    fn gate_moves(&mut self) -> bool {
        let deaf = matches!(
            self.stage,
            Stage::Setup {
                pings: 0,
                looked: false
            }
        );
        core::mem::replace(&mut self.deaf, deaf) != deaf
    }

    /// Clear-to-send is withdrawn. `open` is a VF with a driver; so is one whose driver has not
    /// heard the last time.
    pub(crate) fn withdrawn(&mut self, open: bool) {
        if open || matches!(self.stage, Stage::Withdrawn { .. } | Stage::Tired) {
            self.enter(Stage::Withdrawn {
                told: false,
                refused: 0,
                hang: None,
                shown: 0,
            });
        }
    }

    /// Whether something is to be repeated.
    pub fn active(&self) -> bool {
        !matches!(self.stage, Stage::Idle | Stage::Tired)
    }

    /// Whether the clock must be looked at: something has begun, or the driver was heard of.
    pub fn stirs(&self) -> bool {
        self.active() && (self.heard || self.since.is_none())
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
        matches!(self.stage, Stage::Withdrawn { hang: Some(_), .. })
    }

    /// Whether the driver is to see now that its rings hang, if they do: at first, and when it
    /// reads refusals and does not reset its VF. Counts as a trial.
    fn tries_hang(&mut self) -> bool {
        match &mut self.stage {
            Stage::Withdrawn {
                told,
                refused,
                hang: None,
                shown,
            } if !*told && *shown == 0 || *refused >= REFUSALS && *shown < SHOWN => {
                *shown = shown.saturating_add(1);
                true
            }
            _ => false,
        }
    }

    /// It sees that from here on.
    fn hangs(&mut self) {
        if let Stage::Withdrawn { hang, .. } = &mut self.stage {
            *hang = Some(Hang::default());
        }
    }

    /// The driver has read and acknowledged this. Returns whether one that is not clear to send is
    /// refused at once; a driver that is told by [`Switch::nudge`] hears of it again at that pace,
    /// however fast it acknowledges.
    pub(super) fn acknowledged(&mut self, taken: Lies) -> bool {
        match &mut self.stage {
            Stage::Withdrawn {
                told,
                refused,
                hang,
                ..
            } => {
                self.heard = true;
                if let Some(hang) = hang {
                    hang.looks = hang.looks.saturating_add(1);
                    return false;
                }
                if taken != Lies::Control {
                    return !*told;
                }
                if !core::mem::replace(told, true) {
                    return true;
                }
                *refused = refused.saturating_add(1);
                false
            }
            Stage::Setup { looked, .. } => {
                *looked |= taken == Lies::Nothing;
                true
            }
            Stage::Tired => false,
            Stage::Idle | Stage::Reset => true,
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
            self.enter(Stage::Setup {
                pings: 0,
                looked: false,
            });
            self.gate_moves();
        }
    }

    /// The VF stands still: its time begins when it runs.
    fn stands(&mut self) {
        self.since = None;
        if let Stage::Withdrawn {
            hang: Some(hang), ..
        } = &mut self.stage
        {
            hang.since = None;
        }
    }

    /// Looks at the clock. Returns whether to say something now, and in how many milliseconds to
    /// look again.
    fn tick(&mut self, now: u64) -> (bool, Option<u64>) {
        if !self.active() {
            return (false, None);
        }
        let fresh = self.since.is_none();
        let since = *self.since.get_or_insert(now);
        if core::mem::take(&mut self.heard) || fresh {
            self.last = now;
            self.repeats = 0;
            if let Stage::Setup { pings, .. } = &mut self.stage {
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
                if hang.as_mut().is_some_and(|hang| hang.is_over(now)) {
                    // It hears of something else, at once.
                    *hang = None;
                    self.repeats = 0;
                }
                let gap = pace(elapsed, self.repeats);
                if quiet < gap {
                    return (false, Some(gap.saturating_sub(quiet)));
                }
                self.last = now;
                self.repeats = self.repeats.saturating_add(1);
                (true, Some(pace(elapsed, self.repeats)))
            }
            Stage::Setup { pings, .. } => {
                let Some(at) = CLEAR_MS.get(*pings) else {
                    self.enter(Stage::Idle);
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
    /// Repeats to a VF what its driver must act on, if it is time. `now` is in milliseconds of any
    /// clock that goes on. Returns in how many milliseconds to call it again; it is called after a
    /// message or an acknowledgement of the VF as well.
    pub fn nudge(&self, io: &impl Regs, vf: u32, state: &mut VfState, now: u64) -> Option<u32> {
        if state.stands {
            state.nudge.stands();
            return None;
        }
        // At first it was tried when clear-to-send was withdrawn.
        if state.nudge.refuses() {
            self.try_hang(io, vf, state);
        }
        let (say, again) = state.nudge.tick(now);
        if say {
            self.ping(io, vf, state);
        }
        self.move_gate(io, vf, state);
        again.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX))
    }

    /// Opens or shuts the VF's Rx gate, if it is time.
    pub(super) fn move_gate(&self, io: &impl Regs, vf: u32, state: &mut VfState) {
        if state.nudge.gate_moves() {
            self.apply_gates(io, vf, state);
        }
    }

    /// Shows the driver of a VF that its Tx rings hang, if they do and it is time for that. One
    /// that speaks the mailbox extension resets its VF when it is told to.
    pub(super) fn try_hang(&self, io: &impl Regs, vf: u32, state: &mut VfState) {
        let plain = state.features & FEATURE_MIGRATION == 0;
        if plain && state.nudge.tries_hang() && self.show_hang(io, vf) {
            state.nudge.hangs();
        }
    }

    /// Makes the first Tx ring of a VF whose queues were stopped look as what it is, one in which
    /// frames stay. Returns whether it does; a ring that runs is left alone. Only this one, which
    /// every driver has.
    ///
    /// The queue is disabled, so that no descriptor is fetched, and a driver that sets up its VF
    /// writes both registers before it enables the queue.
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
