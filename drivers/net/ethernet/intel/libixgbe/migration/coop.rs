// SPDX-License-Identifier: GPL-2.0
//! What the PF knows of a guest driver's help, and when it may rely on it.
//!
//! The rule: a page is called clean only if, from the moment logging began to the stop, every driver that ran the VF
//! marked what it received. A driver's reign begins and ends with a reset of the VF. A reign without the feature, or a
//! queue that runs unregistered, loses the guest's help for the whole logging session, and then everything is dirty.
//!
//! A guest that answers only after logging had to begin helps from its answer on. What was written before is for who
//! keeps the log to report, once, after the answer.

use crate::mbx_ext;
use crate::mbx_ext::MarkingReply;
use crate::mbx_ext::RegisterQueue;
use crate::mbx_ext::StartMarking;
use crate::mbx_ext::StopMarking;
use crate::mbx_ext::MAX_QUEUES;

/// Where a logging session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marking {
    /// No session.
    Off,
    /// The guest was asked and has not answered.
    Asked,
    /// The same, and logging had to begin without an answer.
    Late,
    /// The guest marks since it answered.
    On,
    /// At some moment of this session nobody marked, or nobody knows.
    Lost,
}

/// One VF's cooperation.
#[derive(Clone, Copy, Debug)]
pub struct Coop {
    features: u32,
    queues: [Option<RegisterQueue>; MAX_QUEUES],
    marking: Marking,
    /// Last number given to a message of the PF. It travels with the VF, so that no host gives one twice.
    number: u32,
    /// Number of the request to mark that is in force, in a session.
    asked: u32,
}

impl Coop {
    /// No driver, no session.
    pub const fn new() -> Self {
        Self {
            features: 0,
            queues: [None; MAX_QUEUES],
            marking: Marking::Off,
            number: 0,
            asked: 0,
        }
    }

    /// Takes over what a migrated VF had agreed with its last host, and the last number that it was told.
    pub fn adopt(
        &mut self,
        features: u32,
        queues: &[Option<RegisterQueue>; MAX_QUEUES],
        number: u32,
    ) {
        self.features = features;
        self.queues = *queues;
        self.marking = Marking::Off;
        self.number = number;
    }

    /// A driver's reign ended: RESET message or FLR.
    pub fn reset(&mut self) {
        if self.marking != Marking::Off && !self.cooperates() {
            self.marking = Marking::Lost;
        }
        if matches!(self.marking, Marking::Asked | Marking::Late) {
            self.marking = Marking::Lost;
        }
        self.features = 0;
        self.queues = [None; MAX_QUEUES];
    }

    /// FEATURES_NEGOTIATE was answered with `granted`.
    pub fn negotiated(&mut self, granted: u32) {
        self.features = granted;
    }

    /// Features granted to the present driver.
    pub const fn features(&self) -> u32 {
        self.features
    }

    /// Whether the present driver speaks the extension.
    pub const fn cooperates(&self) -> bool {
        self.features & mbx_ext::FEATURE_MIGRATION != 0
    }

    /// Registered queues, by Rx queue of the VF.
    pub const fn queues(&self) -> &[Option<RegisterQueue>; MAX_QUEUES] {
        &self.queues
    }

    /// A queue was registered. The answer carries what is returned: the generation of the marking in force, or 0. The
    /// VF marks before it enables the queue.
    ///
    /// # Errors
    /// `Err(())` is answered with NACK: the driver did not negotiate the extension.
    #[allow(clippy::result_unit_err)]
    pub fn register(&mut self, queue: &RegisterQueue) -> Result<u32, ()> {
        if !self.cooperates() {
            return Err(());
        }
        let slot = self.queues.get_mut(queue.queue as usize).ok_or(())?;
        *slot = Some(RegisterQueue {
            marking: 0,
            ..*queue
        });
        Ok(match self.marking {
            Marking::Asked | Marking::Late | Marking::On => self.asked,
            Marking::Off | Marking::Lost => 0,
        })
    }

    /// Logging begins. The message to send, or `None`: the guest cannot help in this session.
    pub fn start(&mut self) -> Option<StartMarking> {
        let marks = |q: &RegisterQueue| q.caps & mbx_ext::CAP_MARK != 0;
        if !self.cooperates() || !self.queues.iter().flatten().all(marks) {
            self.marking = Marking::Lost;
            return None;
        }
        self.marking = Marking::Asked;
        self.asked = self.next_generation();
        Some(StartMarking::new(self.asked))
    }

    /// The guest is told of a restore, and ends its marking then. The message to send after it, if the session goes on: from
    /// the restore to the answer nobody marks.
    pub fn restored(&mut self) -> Option<StartMarking> {
        self.marking = match self.marking {
            Marking::Off | Marking::Lost => return None,
            Marking::Asked => Marking::Asked,
            Marking::Late | Marking::On => Marking::Late,
        };
        self.asked = self.next_generation();
        Some(StartMarking::new(self.asked))
    }

    /// The guest answered.
    pub fn reply(&mut self, reply: &MarkingReply) {
        if matches!(self.marking, Marking::Asked | Marking::Late)
            && reply.generation == self.asked
            && reply.marking == 1
        {
            self.marking = Marking::On;
        }
    }

    /// Logging must begin now. An answer that comes later counts from then on.
    pub fn give_up_waiting(&mut self) -> Marking {
        if self.marking == Marking::Asked {
            self.marking = Marking::Late;
        }
        self.marking
    }

    /// Logging ended. The message to send, if the guest marks or may do so.
    pub fn stop(&mut self) -> Option<StopMarking> {
        let was = core::mem::replace(&mut self.marking, Marking::Off);
        (was != Marking::Off && self.cooperates()).then(|| StopMarking::new(self.next_generation()))
    }

    /// Number for the next PF message, other than all before. It has [`mbx_ext::UNIQUE`] set.
    pub fn next_generation(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1) | mbx_ext::UNIQUE;
        self.number
    }

    /// The last number, to be carried to the next host.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Number of the request by which the guest marks, 0 if it does not. Another number than at the last look: it did not
    /// mark all the time.
    pub const fn marks(&self) -> u32 {
        match self.marking {
            Marking::On => self.asked,
            _ => 0,
        }
    }

    /// Where the session stands.
    pub const fn marking(&self) -> Marking {
        self.marking
    }

    /// Whether, for a stopped VF of whose Rx queues these were `used` since its driver began, the shadow arrays and the
    /// guest's marks name every page that the device wrote since the guest answered.
    pub fn knows_every_page(&self, used: impl Iterator<Item = bool>) -> bool {
        const NEED: u32 = mbx_ext::CAP_MARK | mbx_ext::CAP_SHADOW;
        let listed = |q: &Option<RegisterQueue>| q.is_some_and(|q| q.caps & NEED == NEED);
        self.marking == Marking::On
            && self.cooperates()
            && used.zip(&self.queues).all(|(used, q)| !used || listed(q))
    }
}

impl Default for Coop {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mbx_ext::*;

    fn queue(i: u32) -> RegisterQueue {
        RegisterQueue {
            head: VF_REGISTER_QUEUE,
            version: EXT_VERSION,
            queue: i,
            queues: 2,
            caps: CAPS_ALL,
            entries: 512,
            shadow_lo: 0x1000,
            shadow_hi: 0,
            shadow_len: 4096,
            buffer_len: 2048,
            marking: 0,
            reserved: [0; 5],
        }
    }

    fn reply(generation: u32) -> MarkingReply {
        MarkingReply {
            head: VF_MARKING_REPLY,
            version: EXT_VERSION,
            generation,
            marking: 1,
            reserved: [0; 12],
        }
    }

    fn cooperating() -> Coop {
        let mut c = Coop::new();
        c.negotiated(FEATURE_MIGRATION);
        assert_eq!(c.register(&queue(0)), Ok(0));
        assert_eq!(c.register(&queue(1)), Ok(0));
        c
    }

    fn marking() -> Coop {
        let mut c = cooperating();
        let ask = c.start().unwrap();
        c.reply(&reply(ask.generation));
        assert_eq!(c.give_up_waiting(), Marking::On);
        c
    }

    #[test]
    fn a_guest_that_answers_in_time_is_believed() {
        let c = marking();
        assert!(c.knows_every_page([true, true].into_iter()));
        assert!(
            !c.knows_every_page([true, true, true].into_iter()),
            "a third queue runs unregistered"
        );
    }

    #[test]
    fn a_late_answer_counts_when_it_comes_and_a_stale_one_never() {
        let mut c = cooperating();
        let ask = c.start().unwrap();
        c.reply(&reply(ask.generation.wrapping_sub(1)));
        assert_eq!(c.give_up_waiting(), Marking::Late);
        c.reply(&reply(ask.generation.wrapping_sub(1)));
        assert!(!c.knows_every_page([true].into_iter()));
        c.reply(&reply(ask.generation));
        assert_eq!(c.marking(), Marking::On);
        assert!(c.knows_every_page([true].into_iter()));
    }

    #[test]
    fn a_driver_that_left_without_an_answer_costs_the_session() {
        let mut c = cooperating();
        let ask = c.start().unwrap();
        assert_eq!(c.give_up_waiting(), Marking::Late);
        c.reset();
        c.negotiated(FEATURE_MIGRATION);
        assert_eq!(c.register(&queue(0)), Ok(0));
        c.reply(&reply(ask.generation));
        assert_eq!(c.marking(), Marking::Lost);
        assert!(!c.knows_every_page([true].into_iter()));
    }

    #[test]
    fn an_unknowing_driver_costs_the_session_even_after_it_left() {
        let mut c = marking();
        c.reset();
        c.negotiated(0);
        c.reset();
        c.negotiated(FEATURE_MIGRATION);
        c.register(&queue(0)).unwrap();
        assert_eq!(c.marking(), Marking::Lost);
        assert!(!c.knows_every_page([true].into_iter()));
    }

    #[test]
    fn a_knowing_driver_may_reset_and_is_told_to_go_on_marking() {
        let mut c = marking();
        c.reset();
        assert!(!c.knows_every_page([true].into_iter()));
        c.negotiated(FEATURE_MIGRATION);
        assert_ne!(c.register(&queue(0)), Ok(0));
        assert!(c.knows_every_page([true, false].into_iter()));
    }

    #[test]
    fn an_answer_counts_whatever_was_numbered_since() {
        let mut c = cooperating();
        let ask = c.start().unwrap();
        let other = c.next_generation();
        assert_ne!(other, ask.generation);
        assert_eq!(c.register(&queue(0)), Ok(ask.generation));
        c.reply(&reply(other));
        assert_eq!((c.marking(), c.marks()), (Marking::Asked, 0));
        c.reply(&reply(ask.generation));
        assert_eq!((c.marking(), c.marks()), (Marking::On, ask.generation));
    }

    #[test]
    fn a_restore_ends_marking_until_the_guest_answers_again() {
        let mut c = marking();
        let first = c.marks();
        let again = c.restored().unwrap();
        assert_eq!((c.marking(), c.marks()), (Marking::Late, 0));
        c.reply(&reply(first));
        assert_eq!(c.marks(), 0);
        c.reply(&reply(again.generation));
        assert_eq!(c.marks(), again.generation);
        assert_ne!(c.marks(), first);
        // Without a session there is nothing to ask for.
        c.stop();
        assert!(c.restored().is_none());
    }

    #[test]
    fn numbers_go_on_where_the_last_host_was() {
        let mut c = cooperating();
        let last = c.next_generation();
        let mut next = Coop::new();
        next.adopt(FEATURE_MIGRATION, c.queues(), c.number());
        assert_ne!(next.next_generation(), last);
        next.adopt(FEATURE_MIGRATION, c.queues(), u32::MAX);
        let n = next.next_generation();
        assert!(n & UNIQUE != 0 && n != u32::MAX);
    }

    #[test]
    fn no_driver_no_help() {
        let mut c = Coop::new();
        assert_eq!(c.register(&queue(0)), Err(()));
        assert!(c.start().is_none());
        assert!(c.stop().is_none());
        assert_eq!(c.marking(), Marking::Off);
    }
}
