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
use super::RxWritten;
use super::TxWritten;
use super::Written;
use crate::mbx::pf as mailbox;
use crate::mbx_ext::PfMessage;
use crate::mbx_ext::SaveRequest;
use crate::migration::capture;
use crate::migration::encode;
use crate::migration::encode_compat;
use crate::migration::quiesce;
use crate::migration::Identity;
use crate::migration::Quiesced;
use crate::migration::Rearm;
use crate::migration::RxQueue;
use crate::migration::Statistics;
use crate::migration::TxQueue;
use crate::migration::VISIBLE_PAIRS;
use crate::sriov::vf::Lies;
use crate::sriov::vf::Outbox;
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
        let opened = self.hold.is_some_and(|h| h.waiting && h.receives);
        match quiesce(io, &place) {
            Ok(mut was) => {
                was.vfre |= opened;
                self.enter(pf, Phase::Suspended(was));
                Ok(())
            }
            Err((mut was, why)) => {
                was.vfre |= opened;
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
    pub fn compat(
        &mut self,
        io: &impl Regs,
        pf: &mut Pf<'_>,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        self.fill_software(io, pf)?;
        if self.coop.cooperates() && !self.active() {
            let generation = self.coop.next_generation();
            let message = SaveRequest::new(generation);
            self.say(io, pf, PfMessage::SaveRequest(message));
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

    /// Says what the suspended VF may have written: the rings and the posted buffers of every queue that its driver has set
    /// up, whether it runs at the stop or not. A queue that was switched off may have frames in memory that the guest has not
    /// taken, so it has not marked them.
    ///
    /// # Errors
    /// [`Error::NotSuspended`]
    pub fn rings(&mut self, io: &impl Regs, pf: &Pf<'_>) -> Result<Written, Error> {
        match self.phase {
            Phase::Running => return Err(Error::NotSuspended),
            Phase::Suspended(was) => self.capture(io, pf, &was),
            Phase::Loaded(_) => (),
        }
        let programmed = |i: usize| self.programmed >> i & 1 != 0;
        let used = self.state.rx_queues().iter().enumerate();
        let used = used.map(|(i, q)| q.enabled() || programmed(i));
        let mut written = Written {
            complete: self.coop.knows_every_page(used),
            rx: Default::default(),
            tx: Default::default(),
        };
        let rings = self.state.rx_queues().iter().zip(&self.state.registrations);
        for (to, (rx, guest)) in written.rx.iter_mut().zip(rings) {
            // A reset of the PF has taken where the ring was, unless the guest has not come to say it; or it says two things.
            if guest.is_some_and(|g| g.entries != rx.entries()) {
                written.complete = false;
            }
            // Where the device stood in a ring that does not run is anybody's guess.
            let nowhere = if rx.enabled() { 0 } else { u32::MAX };
            *to = RxWritten {
                base: rx.base,
                length: rx.length,
                head: rx.head | nowhere,
                tail: rx.tail | nowhere,
                shadow: guest.map_or(0, |g| g.shadow()),
                buffer_len: guest.map_or(0, |g| g.buffer_len),
            };
        }
        for (to, tx) in written.tx.iter_mut().zip(self.state.tx_queues()) {
            *to = TxWritten {
                base: tx.base,
                length: tx.length,
                writeback: if tx.writeback & 1 != 0 {
                    tx.writeback & !1
                } else {
                    0
                },
            };
        }
        Ok(written)
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

    /// Notes in the captured state what either side of the mailbox has sent and the other not taken, and who holds it.
    pub(super) fn note_mailbox(&mut self, io: &impl Regs, pf: &Pf<'_>) {
        let m = &mut self.state.mailbox;
        m.number = self.coop.number();
        let Ok(vf) = pf.this() else {
            return;
        };
        let outbox = &vf.outbox;
        let asks = mailbox::message_pending(io, pf.vf);
        // The VF has read it, and the PF has not come to see that.
        let taken = mailbox::ack_pending(io, pf.vf);
        // Either ends what it held when it came here.
        m.held = outbox.held() && !asks && !taken || mailbox::held(io, pf.vf);
        m.request = outbox.request() || asks;
        // The VF has written a request over it. One that holds the mailbox may be about to.
        let lost = m.request && !m.held;
        m.pf_message = outbox.lies() != Lies::Nothing && !taken && !lost;
        m.ping = outbox.ping_pending() || outbox.lies() == Lies::Control && lost && !taken;
        m.cts = vf.clear_to_send;
        if let (Lies::Message(PfMessage::Restore(restore)), true) = (outbox.lies(), taken) {
            let r = &mut self.state.rearm;
            r.taken |= r.generation == restore.generation;
        }
    }

    /// Reads the hardware's part of the state of the suspended VF.
    pub(super) fn capture(&mut self, io: &impl Regs, pf: &Pf<'_>, was: &Quiesced) {
        let none = Rars::new(0);
        let (rx, tx) = (self.state.rx, self.state.tx);
        self.state.identity.queues_per_pool = pf.queues_per_pool() as u16;
        self.programmed = capture(io, &pf.place(&none), was, &mut self.state);
        // What the guest has not come to re-arm stands where it stood when it was parked.
        let parked = self.hold.map_or((0, 0), |hold| (hold.rx, hold.tx));
        let mut still = (0, 0);
        for (i, (now, before)) in self.state.rx.iter_mut().zip(rx).enumerate() {
            if parked.0 >> i & 1 != 0 && !now.enabled() {
                *now = before;
                still.0 |= 1 << i;
            }
        }
        for (i, (now, before)) in self.state.tx.iter_mut().zip(tx).enumerate() {
            if parked.1 >> i & 1 != 0 && !now.enabled() {
                *now = before;
                still.1 |= 1 << i;
            }
        }
        self.state.rearm = Rearm::NONE;
        if let Some(hold) = &mut self.hold {
            (hold.rx, hold.tx) = still;
            let r = &mut self.state.rearm;
            (r.rx, r.tx) = still;
            if let Some(asked) = &mut hold.asked {
                asked.rx &= still.0;
                asked.tx &= still.1;
                r.generation = asked.generation;
                r.taken = asked.taken;
                r.asked_rx = asked.rx;
                r.asked_tx = asked.tx;
            }
        }
        self.state.registrations = *self.coop.queues();
    }

    /// The PF will reset the device: keeps all of a VF that stands still, so that it can be put back. The PF then resets,
    /// sets up its VFs as always, and calls [`Self::after_pf_reset`].
    pub fn before_pf_reset(&mut self, io: &impl Regs, pf: &mut Pf<'_>) {
        match self.phase {
            Phase::Running => {
                // The mailbox's notes go with the reset, and the VF begins anew when it sees that.
                if let Ok(vf) = pf.this_mut() {
                    vf.outbox = Outbox::new();
                }
                return;
            }
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
