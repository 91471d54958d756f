// SPDX-License-Identifier: GPL-2.0
//! What the PF has to say to a VF: one queue for its mailbox, in which everything waits that is not
//! an answer.
//!
//! The mailbox holds one message, and a VF that reads slowly must not lose it to the next one. The
//! PF remembers what lies there until the VF acknowledges it, and sends nothing over it. A request
//! of the VF overwrites what it has not read, as the hardware has it: that message goes back to its
//! place in the queue, unless a newer one has taken it.
//!
//! The order in which messages go out: withdrawn clear-to-send, since nothing else counts then;
//! restore, since rings stand until it is done; a change of the link; marking; the request to
//! prepare.

use crate::{
    mbx_ext::{
        PfMessage,
        Restore,
        SaveRequest, //
    },
    Regs, //
};

use super::{
    Switch,
    VfState, //
};
use crate::mbx::{
    pf as mailbox,
    PF_CONTROL_MSG,
    VT_MSGTYPE_CTS,
    VT_MSGTYPE_MASK,
    VT_MSGTYPE_NACK, //
};
use crate::mbx_ext::{
    Words,
    FEATURE_MIGRATION, //
};

/// What lies in the mailbox and was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// Nothing.
    Nothing,
    /// The answer to a request.
    Answer,
    /// [`PF_CONTROL_MSG`], or the refusal that says that clear-to-send was withdrawn.
    Control,
    /// A message of the migration extension.
    Message(PfMessage),
}

impl Lies {
    /// What the last host's message is, by its words. What is none of this host's to repeat counts
    /// as an answer: a request to mark or to prepare was for a move that is over.
    pub fn of(words: &Words) -> Self {
        let [head, ..] = *words;
        match PfMessage::parse(words) {
            Ok(message @ PfMessage::Restore(_)) => Self::Message(message),
            Err(_) if head & VT_MSGTYPE_MASK == PF_CONTROL_MSG => Self::Control,
            // A refusal that answers nothing has no number.
            Err(_) if head == VT_MSGTYPE_NACK => Self::Control,
            _ => Self::Answer,
        }
    }
}

/// Periods of [`Outbox::grow_old`] after which nobody waits for a message any more. A driver gives
/// up after a second (`IXGBE_VF_MBX_INIT_TIMEOUT`), and a period is no shorter.
const STALE: u8 = 2;

/// The mailbox of one VF, as its PF sees it, and what waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Outbox {
    lies: Lies,
    /// Periods that it has lain there.
    age: u8,
    /// Something changed: the VF is to look at its link and at clear-to-send.
    control: bool,
    restore: Option<Restore>,
    marking: Option<PfMessage>,
    save: Option<SaveRequest>,
    /// The VF was stopped on another host while it held the mailbox. It goes on as if it held it
    /// here: until it has written or read, the memory is its own.
    held: bool,
    /// It had announced a request before that.
    request: bool,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbox {
    /// Nothing to say.
    pub const fn new() -> Self {
        Self {
            lies: Lies::Nothing,
            age: 0,
            control: false,
            restore: None,
            marking: None,
            save: None,
            held: false,
            request: false,
        }
    }

    /// What lies in the mailbox.
    pub const fn lies(&self) -> Lies {
        self.lies
    }

    /// Whether the VF is to be told that something changed, and was not.
    pub const fn ping_pending(&self) -> bool {
        self.control
    }

    /// Whether there is anything to say.
    pub const fn waits(&self) -> bool {
        self.control || self.restore.is_some() || self.marking.is_some() || self.save.is_some()
    }

    /// Whether the mailbox is the VF's own, see [`Self::arrive`].
    pub const fn held(&self) -> bool {
        self.held
    }

    /// Whether the VF had announced a request before it took the mailbox.
    pub const fn request(&self) -> bool {
        self.request
    }

    /// Whether this restore lies in the mailbox or waits for it.
    pub fn has_restore(&self, generation: u32) -> bool {
        let lies = match self.lies {
            Lies::Message(PfMessage::Restore(m)) => Some(m),
            _ => None,
        };
        let mut all = [lies, self.restore].into_iter().flatten();
        all.any(|m| m.generation == generation)
    }

    /// Queues a message; it replaces an older one of its kind.
    pub fn put(&mut self, message: PfMessage) {
        match message {
            PfMessage::Restore(m) => self.restore = Some(m),
            PfMessage::SaveRequest(m) => self.save = Some(m),
            PfMessage::StartMarking(_) | PfMessage::StopMarking(_) => self.marking = Some(message),
        }
    }

    /// Queues a control message.
    pub fn put_ping(&mut self) {
        self.control = true;
    }

    /// Forgets what waits of the two messages about marking.
    pub fn drop_marking(&mut self) {
        self.marking = None;
    }

    /// Forgets a restore that waits.
    pub fn drop_restore(&mut self) {
        self.restore = None;
    }

    /// The VF did not get what lay in the mailbox. A newer message of the same kind stays.
    fn put_back(&mut self, lost: Lies) {
        match lost {
            Lies::Nothing | Lies::Answer => (),
            Lies::Control => self.control = true,
            Lies::Message(PfMessage::Restore(m)) => {
                self.restore.get_or_insert(m);
            }
            Lies::Message(PfMessage::SaveRequest(m)) => {
                self.save.get_or_insert(m);
            }
            Lies::Message(m) => {
                self.marking.get_or_insert(m);
            }
        }
    }

    fn lay(&mut self, what: Lies) -> Lies {
        self.age = 0;
        core::mem::replace(&mut self.lies, what)
    }

    /// The VF has written a request over what lay there, and its answer is what it reads next.
    pub(super) fn requested(&mut self) {
        self.held = false;
        self.request = false;
        let lost = self.lay(Lies::Answer);
        self.put_back(lost);
    }

    /// What the VF has written gets no answer.
    pub(super) fn ignored(&mut self) {
        self.lies = Lies::Nothing;
    }

    /// The VF has read and acknowledged what lay there, which is returned.
    fn acknowledged(&mut self) -> Lies {
        self.held = false;
        self.lay(Lies::Nothing)
    }

    /// The VF came from another host, or over a reset of the device: what was in its mailbox, and
    /// whether it held it. A `request` that it had announced is kept until it lets the mailbox go.
    /// What else waits here stays.
    pub fn arrive(&mut self, unread: Option<&Words>, held: bool, request: bool) {
        self.lies = match (unread, self.lies) {
            (Some(words), Lies::Nothing) => Lies::of(words),
            // Known here, as before a reset of the device; a request is about to be found over it.
            (Some(_), known) => known,
            (None, known) if request => known,
            (None, _) => Lies::Nothing,
        };
        self.age = 0;
        self.held = held;
        self.request = held && request;
    }

    /// Called about once a second: what nobody takes must not keep a VF from hearing of a change
    /// for ever.
    pub fn grow_old(&mut self) {
        self.age = self.age.saturating_add(1);
        if self.age >= STALE {
            self.held = false;
        }
    }

    /// What goes out next. The VF is clear to send, or not, and speaks the `extension`, or not.
    fn next(&self, clear_to_send: bool, extension: bool) -> Option<Lies> {
        let free = self.lies == Lies::Nothing;
        // The newest of control messages says it all.
        let over = free || self.lies == Lies::Control || self.age >= STALE;
        let control = (self.control && over).then_some(Lies::Control);
        let message = |m: Option<PfMessage>| m.filter(|_| free && extension).map(Lies::Message);
        if !clear_to_send {
            return control;
        }
        message(self.restore.map(PfMessage::Restore))
            .or(control)
            .or_else(|| message(self.marking))
            .or_else(|| message(self.save.map(PfMessage::SaveRequest)))
    }

    /// `what` was sent.
    fn sent(&mut self, what: Lies) {
        match what {
            Lies::Nothing | Lies::Answer => (),
            Lies::Control => self.control = false,
            Lies::Message(PfMessage::Restore(_)) => self.restore = None,
            Lies::Message(PfMessage::SaveRequest(_)) => self.save = None,
            Lies::Message(_) => self.marking = None,
        }
        let lost = self.lay(what);
        // The newest of control messages says it all, and an answer that was given up is not
        // repeated.
        if matches!(lost, Lies::Message(_)) {
            self.put_back(lost);
        }
    }

    /// The VF was told that it is not clear to send.
    pub(super) fn refused(&mut self) {
        self.sent(Lies::Control);
    }
}

impl Switch {
    /// Sends what waits for a VF, if its mailbox is free. True if the VF holds the mailbox or has a
    /// request in it: then it is worth to try again soon. A VF that stands still is sent nothing.
    pub fn flush(&self, io: &impl Regs, vf: u32, state: &mut VfState) -> bool {
        if state.stands || state.outbox.held || !state.outbox.waits() {
            return false;
        }
        // Read, but the interrupt that says so was not dealt with. Who took a message of the
        // extension is asked later.
        if matches!(state.outbox.lies, Lies::Answer | Lies::Control) && mailbox::ack_pending(io, vf)
        {
            mailbox::clear_ack(io, vf);
            let taken = state.outbox.acknowledged();
            state.nudge.acknowledged(taken);
            self.move_gate(io, vf, state);
        }
        let clear_to_send = state.clear_to_send;
        let extension = clear_to_send && state.features & FEATURE_MIGRATION != 0;
        let Some(next) = state.outbox.next(clear_to_send, extension) else {
            return false;
        };
        // Without it a VF resets itself.
        let cts = if clear_to_send { VT_MSGTYPE_CTS } else { 0 };
        let sent = match next {
            Lies::Message(message) => {
                let mut words = message.words();
                let [head, ..] = &mut words;
                *head |= cts;
                mailbox::notify(io, vf, &words)
            }
            _ if state.nudge.refuses() => mailbox::notify(io, vf, &[VT_MSGTYPE_NACK]),
            _ if state.nudge.shows_hang() => {
                mailbox::notify(io, vf, &[PF_CONTROL_MSG | VT_MSGTYPE_CTS])
            }
            _ => mailbox::notify(io, vf, &[PF_CONTROL_MSG | cts]),
        };
        if sent.is_ok() {
            state.outbox.sent(next);
        }
        sent.is_err()
    }

    /// Tells a VF that something changed (`ixgbe_ping_vf`), when it has read what lies in its
    /// mailbox.
    pub fn ping(&self, io: &impl Regs, vf: u32, state: &mut VfState) {
        state.outbox.put_ping();
        self.flush(io, vf, state);
    }

    /// Tells every VF.
    pub fn ping_all(&self, io: &impl Regs, vfs: &mut [VfState]) {
        for (vf, state) in (0u32..).zip(vfs) {
            self.ping(io, vf, state);
        }
    }

    /// Sends every VF what waits for it.
    pub fn flush_pings(&self, io: &impl Regs, vfs: &mut [VfState]) {
        for (vf, state) in (0u32..).zip(vfs) {
            self.flush(io, vf, state);
        }
    }

    /// A VF acknowledged a message, which is returned: if it is not clear to send it must be told
    /// so (`ixgbe_rcv_ack_from_vf`).
    ///
    /// Sending takes the event back, so that one which was seen before is none of what was sent
    /// since.
    pub fn handle_ack(&self, io: &impl Regs, vfs: &mut [VfState], vf: u32) -> Lies {
        if !mailbox::ack_pending(io, vf) {
            return Lies::Nothing;
        }
        mailbox::clear_ack(io, vf);
        let Some(state) = vfs.get_mut(vf as usize) else {
            return Lies::Nothing;
        };
        let taken = state.outbox.acknowledged();
        let at_once = state.nudge.acknowledged(taken);
        self.move_gate(io, vf, state);
        let refusal = [VT_MSGTYPE_NACK];
        let refuse = at_once && !state.clear_to_send;
        if refuse && mailbox::notify(io, vf, &refusal).is_ok() {
            state.outbox.refused();
        }
        taken
    }

    /// Makes a VF reset itself by the standard protocol: clear-to-send is withdrawn, and it is
    /// told, see `nudge`. Drivers whose Tx rings stand see that first.
    pub fn restart(&self, io: &impl Regs, vf: u32, state: &mut VfState) {
        state.withdraw();
        self.try_hang(io, vf, state);
        self.ping(io, vf, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mbx_ext::{
        self,
        StartMarking,
        StopMarking, //
    };

    fn start(n: u32) -> PfMessage {
        PfMessage::StartMarking(StartMarking::new(n))
    }

    fn stop(n: u32) -> PfMessage {
        PfMessage::StopMarking(StopMarking::new(n))
    }

    fn save(n: u32) -> PfMessage {
        PfMessage::SaveRequest(SaveRequest::new(n))
    }

    /// Sends what is next and says what it was.
    fn send(o: &mut Outbox) -> Option<Lies> {
        let next = o.next(true, true)?;
        o.sent(next);
        Some(next)
    }

    #[test]
    fn one_message_at_a_time_in_the_order_of_their_weight() {
        let mut o = Outbox::new();
        o.put(save(1));
        o.put(start(2));
        o.put_ping();
        assert_eq!(send(&mut o), Some(Lies::Control));
        assert_eq!(send(&mut o), None, "the VF has not read it");
        assert_eq!(o.acknowledged(), Lies::Control);
        assert_eq!(send(&mut o), Some(Lies::Message(start(2))));
        assert_eq!(o.acknowledged(), Lies::Message(start(2)));
        assert_eq!(send(&mut o), Some(Lies::Message(save(1))));
    }

    #[test]
    fn what_a_request_overwrites_goes_back_but_not_over_what_is_newer() {
        let mut o = Outbox::new();
        o.put(stop(1));
        send(&mut o);
        o.put(start(2));
        o.requested();
        assert_eq!(send(&mut o), None, "the answer is unread");
        assert_eq!(o.acknowledged(), Lies::Answer);
        assert_eq!(send(&mut o), Some(Lies::Message(start(2))));
        o.requested();
        o.acknowledged();
        assert_eq!(send(&mut o), Some(Lies::Message(start(2))));
        o.acknowledged();
        assert_eq!(send(&mut o), None);
    }

    #[test]
    fn withdrawn_clear_to_send_goes_before_all() {
        let mut o = Outbox::new();
        o.put(start(1));
        o.put_ping();
        assert_eq!(o.next(false, false), Some(Lies::Control));
        o.sent(Lies::Control);
        assert_eq!(o.next(false, false), None);
        // And over what said the opposite.
        o.put_ping();
        assert_eq!(o.next(false, false), Some(Lies::Control));
    }

    /// The last host has refused a VF, which has not read that: it is told again here, over it.
    #[test]
    fn a_refusal_that_arrives_does_not_stop_the_next() {
        let mut o = Outbox::new();
        let mut words = [0; crate::mbx::MBX_WORDS];
        words[0] = VT_MSGTYPE_NACK;
        o.arrive(Some(&words), false, false);
        o.put_ping();
        assert_eq!(o.next(false, false), Some(Lies::Control));
    }

    #[test]
    fn what_nobody_takes_does_not_stop_the_rest_and_is_not_lost() {
        let mut o = Outbox::new();
        o.put(start(1));
        send(&mut o);
        o.put_ping();
        o.grow_old();
        assert_eq!(send(&mut o), None);
        o.grow_old();
        assert_eq!(send(&mut o), Some(Lies::Control));
        assert_eq!(o.acknowledged(), Lies::Control);
        assert_eq!(send(&mut o), Some(Lies::Message(start(1))));
    }

    #[test]
    fn a_mailbox_that_the_vf_holds_is_its_own_until_it_lets_go() {
        let restore = Restore {
            head: mbx_ext::PF_RESTORE,
            version: mbx_ext::EXT_VERSION,
            generation: 3,
            queues: 0,
            rearm_rx: 0,
            rearm_tx: 0,
            heads: [0; mbx_ext::MAX_QUEUES],
            reserved: [0; 2],
        };
        let message = PfMessage::Restore(restore);
        for read in [true, false] {
            let mut o = Outbox::new();
            o.arrive(Some(&message.words()), true, false);
            assert!(o.held() && o.has_restore(3));
            if read {
                assert_eq!(o.acknowledged(), Lies::Message(message));
                assert!(!o.has_restore(3));
            } else {
                o.requested();
                assert_eq!(o.restore, Some(restore));
            }
            assert!(!o.held());
        }
        // What was for a move that is over is not said again.
        let mut o = Outbox::new();
        o.arrive(Some(&start(1).words()), true, false);
        o.requested();
        assert!(!o.waits());
    }
}
