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
use crate::mbx_ext;
use crate::mbx_ext::PfMessage;
use crate::mbx_ext::VfMessage;
use crate::migration::state::List;
use crate::sriov::vf::reply;
use crate::sriov::vf::Handled;
use crate::sriov::vf::Lies;
use crate::sriov::vf::Outbox;
use crate::Regs;

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
            let taken = pf.switch.handle_ack(io, pf.vfs, pf.vf);
            self.acknowledged(&taken);
            self.flush(io, pf);
        }
        // Or it was stopped while it read, with a request of its own under way.
        let left = |outbox: &Outbox| outbox.request() && !outbox.held();
        if events.messages & bit == 0 && !pf.this().is_ok_and(|vf| left(&vf.outbox)) {
            return None;
        }
        let what = pf.switch.handle_message(io, pf.vfs, pf.vf);
        self.handled(io, pf, &what);
        Some(what)
    }

    /// The VF acknowledged a message of the PF.
    fn acknowledged(&mut self, taken: &Lies) {
        let Lies::Message(PfMessage::Restore(m)) = taken else {
            return;
        };
        if let Some(asked) = self.hold.as_mut().and_then(|hold| hold.asked.as_mut()) {
            asked.taken |= asked.generation == m.generation;
        }
    }

    /// The PF has dealt with a message of the VF: keeps what migration needs of it, and answers the extension's.
    pub(super) fn handled(&mut self, io: &impl Regs, pf: &mut Pf<'_>, what: &Handled) {
        match *what {
            Handled::Reset => {
                // The answer has opened the gates, and the driver that comes up programs its rings itself.
                let unserved = self.hold.is_some_and(|h| h.waiting && h.arrived);
                self.announce |= core::mem::take(&mut self.announce_anew) || unserved;
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
                self.rearm_done(io, pf, m.generation);
                true
            }
            // A hint for who reads the mailbox; the heads come from the hardware.
            Ok(VfMessage::SaveReply(_)) => true,
            Err(_) => false,
        };
        // A VF that holds the mailbox asks again.
        let _ = reply(io, pf.vf, &answer, ok);
    }

    /// Sends what waits, if the VF can take it. True if it is worth to try again soon.
    pub fn flush(&self, io: &impl Regs, pf: &mut Pf<'_>) -> bool {
        let (switch, vf) = (&*pf.switch, pf.vf);
        match pf.vfs.get_mut(vf as usize) {
            Some(state) => switch.flush(io, vf, state),
            None => false,
        }
    }
}
