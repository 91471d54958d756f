// SPDX-License-Identifier: GPL-2.0
//! A VF stops, and its state is read.

use super::api_code;
use super::policy;
use super::rars;
use super::xcast;
use super::Error;
use super::Mover;
use super::Pf;
use super::Phase;
use super::Rars;
use crate::mbx::pf as mailbox;
use crate::mbx::VT_MSGTYPE_ACK;
use crate::mbx::VT_MSGTYPE_NACK;
use crate::mbx_ext;
use crate::mbx_ext::PfMessage;
use crate::mbx_ext::SaveRequest;
use crate::migration::capture;
use crate::migration::encode;
use crate::migration::encode_compat;
use crate::migration::quiesce;
use crate::migration::Identity;
use crate::migration::Quiesced;
use crate::migration::RxQueue;
use crate::migration::Statistics;
use crate::migration::TxQueue;
use crate::migration::VISIBLE_PAIRS;
use crate::Delay;
use crate::Regs;

impl Mover {
    /// Stops the VF; once stopped it stays so.
    ///
    /// # Errors
    /// [`Error::Stuck`]; the VF was started again.
    pub fn suspend(&mut self, io: &(impl Regs + Delay), pf: &mut Pf<'_>) -> Result<(), Error> {
        if self.active() {
            return Ok(());
        }
        let rars = rars(pf);
        let place = pf.place(&rars);
        match quiesce(io, &place) {
            Ok(was) => {
                self.enter(pf, Phase::Suspended(was));
                Ok(())
            }
            Err((was, why)) => {
                self.capture(io, pf, &was);
                self.start(io, pf, &was, false)?;
                self.flush(io, pf);
                Err(Error::Stuck(why))
            }
        }
    }

    /// Writes the compatibility record and returns its length. Asks a cooperating guest to prepare.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Unsupported`].
    pub fn compat(&mut self, io: &impl Regs, pf: &Pf<'_>, out: &mut [u8]) -> Result<usize, Error> {
        self.fill_software(io, pf)?;
        if self.coop.cooperates() && !self.active() {
            let generation = self.coop.next_generation();
            self.outbox
                .put(PfMessage::SaveRequest(SaveRequest::new(generation)));
            self.flush(io, pf);
        }
        Ok(encode_compat(&self.state, out)?)
    }

    /// Writes the state of the suspended VF and returns its length.
    ///
    /// # Errors
    /// [`Error::NotSuspended`], [`Error::NoSpace`], [`Error::Unsupported`].
    pub fn save(&mut self, io: &impl Regs, pf: &Pf<'_>, out: &mut [u8]) -> Result<usize, Error> {
        match self.phase {
            Phase::Running => return Err(Error::NotSuspended),
            // Not started since it was loaded: what came is what goes on.
            Phase::Loaded(_) => return Ok(encode(&self.state, out)?),
            Phase::Suspended(was) => {
                self.fill_software(io, pf)?;
                self.capture(io, pf, &was);
            }
        }
        let s = &mut self.state;
        let beyond = s.rx.iter().skip(VISIBLE_PAIRS).any(RxQueue::enabled)
            || s.tx.iter().skip(VISIBLE_PAIRS).any(TxQueue::enabled);
        if beyond {
            return Err(Error::Unsupported);
        }
        self.note_mailbox(io, pf);
        Ok(encode(&self.state, out)?)
    }

    /// Reads the rings of the suspended VF into [`Self::state`], and says whether they, the shadow arrays and the guest's
    /// marks are all that was written.
    ///
    /// # Errors
    /// [`Error::NotSuspended`]
    pub fn rings(&mut self, io: &impl Regs, pf: &Pf<'_>) -> Result<bool, Error> {
        match self.phase {
            Phase::Running => return Err(Error::NotSuspended),
            Phase::Suspended(was) => self.capture(io, pf, &was),
            Phase::Loaded(_) => (),
        }
        let running = self.state.rx_queues().iter().map(RxQueue::enabled);
        Ok(self.coop.knows_every_page(running))
    }

    /// Fills the parts of the state that the PF has in software.
    pub(super) fn fill_software(&mut self, io: &impl Regs, pf: &Pf<'_>) -> Result<(), Error> {
        let vf = pf.this()?;
        let s = &mut self.state;
        let queues = pf.queues_per_pool() as u16;
        s.identity = Identity {
            device: pf.device,
            queues_per_pool: queues,
            queue_pairs: queues,
            api: api_code(vf.api),
            features: vf.features,
            max_frame: self.max_frame,
        };
        s.policy = policy(vf);
        let f = &mut s.filters;
        f.mac = vf.mac;
        f.xcast = xcast(vf.xcast_mode);
        f.unicast.clear();
        for mac in pf.switch.macs.macvlans_of_pool(pf.vf) {
            if !f.unicast.push(*mac) {
                return Err(Error::Unsupported);
            }
        }
        f.vlans = self.vlans;
        f.multicast.clear();
        for hash in vf.mc.as_slice() {
            // The register's index has 12 bits, whatever the VF sent.
            if !f.multicast.push(hash & 0xfff) {
                return Err(Error::Unsupported);
            }
        }
        s.registrations = *self.coop.queues();
        let mut counted = *vf;
        counted.update_stats(io, pf.vf);
        s.statistics = Statistics {
            rx_packets: counted.stats.gprc,
            rx_bytes: counted.stats.gorc,
            rx_multicast: counted.stats.mprc,
            tx_packets: counted.stats.gptc,
            tx_bytes: counted.stats.gotc,
        };
        Ok(())
    }

    /// Notes in the captured state what either side of the mailbox has sent and the other not taken.
    pub(super) fn note_mailbox(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        let m = &mut self.state.mailbox;
        let [head, ..] = m.words;
        let of_pf =
            head & (VT_MSGTYPE_ACK | VT_MSGTYPE_NACK) != 0 || mbx_ext::PfMessage::is_type(head);
        m.request = mailbox::message_pending(io, pf.vf);
        m.pf_message = of_pf && !self.acked && !m.request;
        m.cts = pf.this().is_ok_and(|vf| vf.clear_to_send);
    }

    /// Reads the hardware's part of the state of the suspended VF.
    pub(super) fn capture(&mut self, io: &impl Regs, pf: &Pf<'_>, was: &Quiesced) {
        let none = Rars::new(0);
        let (rx, tx) = (self.state.rx, self.state.tx);
        self.state.identity.queues_per_pool = pf.queues_per_pool() as u16;
        capture(io, &pf.place(&none), was, &mut self.state);
        // A driver uses it, whatever this host lets through at the moment.
        self.state.filters.enabled |= pf.this().is_ok_and(|vf| vf.open);
        // What the guest has not come to re-arm stands where it stood when it arrived.
        let hold = self.hold.map_or((0, 0), |hold| (hold.rx, hold.tx));
        for (i, (now, before)) in self.state.rx.iter_mut().zip(rx).enumerate() {
            if hold.0 >> i & 1 != 0 && !now.enabled() {
                *now = before;
            }
        }
        for (i, (now, before)) in self.state.tx.iter_mut().zip(tx).enumerate() {
            if hold.1 >> i & 1 != 0 && !now.enabled() {
                *now = before;
            }
        }
        self.state.registrations = *self.coop.queues();
    }

    /// The PF will reset the device: keeps all of a VF that stands still, so that it can be put back. The PF then resets,
    /// sets up its VFs as always, and calls [`Self::after_pf_reset`].
    pub fn before_pf_reset(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        match self.phase {
            Phase::Running => return,
            Phase::Loaded(_) => (),
            Phase::Suspended(was) => {
                // A VF with more than a state can carry loses what does not fit, as all of it at any other reset.
                let _ = self.fill_software(io, pf);
                self.capture(io, pf, &was);
                self.note_mailbox(io, pf);
                self.phase = Phase::Loaded(was);
            }
        }
        self.stale = true;
    }
}
