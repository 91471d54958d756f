// SPDX-License-Identifier: GPL-2.0
//! What PF and VF say to each other, as far as migration has to do with it.

use super::Mover;
use super::Pf;
use super::ETH_FCS_LEN;
use super::ETH_FRAME_LEN;
use super::MAX_FRAME;
use crate::mbx::pf as mailbox;
use crate::mbx::Request;
use crate::mbx::Words;
use crate::mbx::VT_MSGTYPE_CTS;
use crate::mbx_ext;
use crate::mbx_ext::PfMessage;
use crate::mbx_ext::Restore;
use crate::mbx_ext::SaveRequest;
use crate::mbx_ext::VfMessage;
use crate::migration::state::List;
use crate::sriov::vf::reply;
use crate::sriov::vf::Handled;
use crate::Regs;

/// PF messages that wait for the mailbox to be free, in the order in which they go out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outbox {
    pub(super) restore: Option<Restore>,
    pub(super) marking: Option<PfMessage>,
    pub(super) save: Option<SaveRequest>,
}

impl Outbox {
    pub(super) fn put(&mut self, message: PfMessage) {
        match message {
            PfMessage::Restore(m) => self.restore = Some(m),
            PfMessage::SaveRequest(m) => self.save = Some(m),
            PfMessage::StartMarking(_) | PfMessage::StopMarking(_) => self.marking = Some(message),
        }
    }

    fn take(&mut self) -> Option<PfMessage> {
        let restore = self.restore.take().map(PfMessage::Restore);
        restore
            .or_else(|| self.marking.take())
            .or_else(|| self.save.take().map(PfMessage::SaveRequest))
    }
}

impl Mover {
    /// Deals with the messages that a VF announced (`ixgbe_msg_task`), and says what became of one that it sent.
    ///
    /// What a VF asks for while it stands still travels with it. Of the rest its acknowledgement comes first: a VF takes
    /// the PF's message before it answers, and what it has taken must not be sent again over the answer to its own.
    pub fn serve(
        &mut self,
        io: &impl Regs,
        pf: &mut Pf<'_>,
        events: &mailbox::Events,
    ) -> Option<Handled> {
        let bit = 1u64 << (pf.vf & 63);
        if self.active() {
            return None;
        }
        if events.acks & bit != 0 {
            pf.switch.handle_ack(io, pf.vfs, pf.vf);
            self.acknowledged(io, pf);
        }
        if events.messages & bit == 0 {
            return None;
        }
        let what = pf.switch.handle_message(io, pf.vfs, pf.vf);
        self.handled(io, pf, &what);
        Some(what)
    }

    /// The VF acknowledged a message of the PF.
    fn acknowledged(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        self.acked = true;
        self.in_flight = None;
        self.flush(io, pf);
    }

    /// The PF has dealt with a message of the VF: keeps what migration needs of it, and answers the extension's.
    pub(super) fn handled(&mut self, io: &impl Regs, pf: &mut Pf<'_>, what: &Handled) {
        if matches!(what, Handled::Busy | Handled::Ignored) {
            return;
        }
        // The VF's message overwrote one that it had not read, and the answer is now what it reads next.
        if let Some(lost) = self.in_flight.take() {
            self.outbox.put(lost);
        }
        self.acked = false;
        match *what {
            Handled::Reset => {
                // The answer has opened the gates, and the driver that comes up programs its rings itself.
                self.announce |= self.hold.take().is_some_and(|hold| hold.arrived);
                self.forget_driver();
            }
            Handled::Done(Request::SetVlan { add, vid }) => self.keep_vlan(vid, add),
            Handled::Done(Request::SetLpe(bytes)) => {
                self.max_frame = bytes
                    .saturating_sub(ETH_FCS_LEN)
                    .clamp(ETH_FRAME_LEN, MAX_FRAME);
            }
            Handled::Done(Request::FeaturesNegotiate(_)) => {
                self.coop.negotiated(pf.this().map_or(0, |vf| vf.features));
            }
            Handled::Extension(words) => self.extension(io, pf, &words),
            _ => (),
        }
    }

    fn keep_vlan(&mut self, vid: u16, add: bool) {
        let mut kept = List::new(0);
        // Sorted, as the state has it. 64 is what the device has entries for, so the list cannot overflow unseen.
        let mut done = !add;
        for old in self.vlans.as_slice() {
            if !done && vid <= *old {
                done = kept.push(vid);
            }
            if *old != vid {
                let _ = kept.push(*old);
            }
        }
        if !done {
            let _ = kept.push(vid);
        }
        self.vlans = kept;
    }

    fn extension(&mut self, io: &impl Regs, pf: &mut Pf<'_>, words: &Words) {
        let mut answer = *words;
        let ok = match VfMessage::parse(words) {
            Ok(VfMessage::RegisterQueue(m)) => match self.coop.register(&m) {
                Ok(marking) => {
                    answer =
                        VfMessage::RegisterQueue(mbx_ext::RegisterQueue { marking, ..m }).words();
                    true
                }
                Err(()) => false,
            },
            Ok(VfMessage::MarkingReply(m)) => {
                self.coop.reply(&m);
                true
            }
            Ok(VfMessage::RestoreDone(m)) => {
                self.rearmed.0 = self.rearmed.0.saturating_add(m.rearmed.into());
                self.rearmed.1 = self.rearmed.1.saturating_add(m.frames.into());
                // Before the answer: the guest then sends what waited, and the answers to that must find it.
                if self.hold.is_some_and(|h| h.generation == m.generation) {
                    self.serve_now(io, pf);
                }
                true
            }
            // A hint for who reads the mailbox; the heads come from the hardware.
            Ok(VfMessage::SaveReply(_)) => true,
            Err(_) => false,
        };
        // A VF that holds the mailbox asks again.
        let _ = reply(io, pf.vf, &answer, ok);
    }

    /// Sends what waits, if the VF can take it. Called after every event of the VF, and periodically.
    pub fn flush(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        let clear_to_send = pf.this().is_ok_and(|vf| vf.clear_to_send);
        if !self.acked
            || self.in_flight.is_some()
            || self.active()
            || !clear_to_send
            || !self.coop.cooperates()
        {
            return;
        }
        let Some(message) = self.outbox.take() else {
            return;
        };
        let mut words = message.words();
        words[0] |= VT_MSGTYPE_CTS;
        if mailbox::notify(io, pf.vf, &words).is_ok() {
            self.in_flight = Some(message);
            self.acked = false;
        } else {
            self.outbox.put(message);
        }
    }
}
