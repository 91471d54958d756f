// SPDX-License-Identifier: GPL-2.0
//! A VF stops, and its state is read.

use super::api_code;
use super::limits;
use super::policy;
use super::rars;
use super::xcast;
use super::Error;
use super::Look;
use super::Looked;
use super::Mover;
use super::Pf;
use super::Phase;
use super::Rars;
use super::RxWritten;
use super::TxWritten;
use super::Written;
use crate::mbx::pf as mailbox;
use crate::mbx::ApiVersion;
use crate::mbx_ext::PfMessage;
use crate::mbx_ext::SaveRequest;
use crate::migration::decode::parse;
use crate::migration::encode;
use crate::migration::encode_compat;
use crate::migration::format;
use crate::migration::state::VfState;
use crate::migration::state::Xcast;
use crate::migration::Identity;
use crate::migration::Progress;
use crate::migration::QuiesceError;
use crate::migration::Quiesced;
use crate::migration::Rearm;
use crate::migration::Refusal;
use crate::migration::Seen;
use crate::migration::Statistics;
use crate::migration::Stop;
use crate::migration::TxQueue;
use crate::migration::VISIBLE_PAIRS;
use crate::sriov::vf::Lies;
use crate::sriov::vf::Outbox;
use crate::sriov::vf::VfStats;
use crate::Delay;
use crate::Regs;

/// VTIVAR(1) and up have no alias for the PF, so further queue pairs would come back without
/// interrupts.
fn few_enough(pairs: u32) -> Result<(), Refusal> {
    if pairs as usize <= VISIBLE_PAIRS {
        Ok(())
    } else {
        Err(Refusal::QueuesInUse(pairs as u16))
    }
}

/// Writes a state and reads it as its destination will: a guest can have written what no
/// destination takes, and its VM can still go on where it is.
fn encode_checked(state: &VfState, out: &mut [u8]) -> Result<usize, Error> {
    few_enough(state.used_pairs())?;
    let length = encode(state, out)?;
    let mut read = VfState::EMPTY;
    parse(
        out.get(..length).unwrap_or(&[]),
        format::CONTENT_STATE,
        &mut read,
    )?;
    Ok(length)
}

impl Mover {
    /// Stops the VF; once stopped it stays so.
    ///
    /// # Errors
    /// [`Error::Stuck`]; the VF was started again.
    pub fn suspend(&mut self, io: &(impl Regs + Delay), pf: &mut Pf<'_>) -> Result<(), Error> {
        while let Some(us) = self.suspend_step(io, pf)? {
            io.usleep(us);
        }
        Ok(())
    }

    /// Goes on with stopping the VF. `Some`: to be called again after this many microseconds, before which the lock over
    /// the VFs may be given away: from the first call on the VF counts as one that stands. `None`: it does stand.
    ///
    /// # Errors
    /// As [`Self::suspend`].
    pub fn suspend_step(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
    ) -> Result<Option<u32>, Error> {
        let rars = rars(pf);
        let place = pf.place(&rars);
        let mut stop = match self.phase {
            Phase::Suspended(_) | Phase::Loaded(_) => return Ok(None),
            Phase::Stopping(stop) => stop,
            Phase::Running => match Stop::begin(io, &place) {
                Ok(stop) => stop,
                Err((was, why)) => return Err(self.stuck(io, pf, was, why)),
            },
        };
        match stop.advance(io, &place) {
            Ok(Progress::Wait(us)) => {
                self.enter(pf, Phase::Stopping(stop));
                Ok(Some(us))
            }
            Ok(Progress::Stopped) => {
                let was = stop.was();
                self.enter(pf, Phase::Suspended(was));
                Ok(None)
            }
            Err(why) => Err(self.stuck(io, pf, stop.was(), why)),
        }
    }

    /// The VF did not stop: it is started again.
    fn stuck(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
        was: Quiesced,
        why: QuiesceError,
    ) -> Error {
        self.capture(io, pf, &was);
        match self.start(io, pf, &was, false) {
            Ok(_) => {
                self.flush(io, pf);
                Error::Stuck(why)
            }
            Err(e) => e,
        }
    }

    /// Writes the compatibility record and returns its length. Asks a cooperating guest to prepare.
    ///
    /// What no destination would take of the VF as it runs is refused here, before its VM is
    /// stopped for it.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Refused`].
    pub fn compat(
        &mut self,
        io: &impl Regs,
        pf: &mut Pf<'_>,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        if self.phase == Phase::Running && self.hold.is_none() {
            self.fill_wishes(pf)?;
            let rars = Rars::new(0);
            let place = pf.place(&rars);
            let mut seen = self.state;
            // What was owed at an earlier stop is not owed now.
            seen.rearm = Rearm::NONE;
            Seen::read(io, &place, &Quiesced::look(io, &place)).put(&mut seen);
            encode_checked(&seen, out)?;
        }
        let length = self.record(io, pf, out)?;
        if self.coop.cooperates() && !self.active() {
            let generation = self.coop.next_generation();
            let message = SaveRequest::new(generation);
            self.say(io, pf, PfMessage::SaveRequest(message));
        }
        Ok(length)
    }

    /// Writes the compatibility record as it is now and returns its length, without any effect: by
    /// two of them one sees whether a VF that runs has come to need something else.
    ///
    /// # Errors
    /// As [`Self::compat`].
    pub fn record(&mut self, io: &impl Regs, pf: &Pf<'_>, out: &mut [u8]) -> Result<usize, Error> {
        if !matches!(self.phase, Phase::Loaded(_)) {
            self.fill_wishes(pf)?;
        }
        let mut seen = self.state;
        let running = match self.phase {
            // What its guest has still to re-arm is in use.
            Phase::Running if self.hold.is_none() => {
                let rars = Rars::new(0);
                Some(Quiesced::look(io, &pf.place(&rars)))
            }
            Phase::Suspended(was) if self.hold.is_none() => Some(was),
            _ => None,
        };
        if let Some(was) = running {
            for (rx, dctl) in seen.rx.iter_mut().zip(was.rxdctl) {
                rx.rxdctl = dctl;
            }
            for (tx, dctl) in seen.tx.iter_mut().zip(was.txdctl) {
                tx.txdctl = dctl;
            }
        }
        few_enough(seen.used_pairs())?;
        Ok(encode_compat(&seen, out)?)
    }

    /// Writes the state of the suspended VF and returns its length.
    ///
    /// # Errors
    /// [`Error::NotSuspended`], [`Error::NoSpace`], [`Error::Refused`]: no destination would take
    /// it.
    pub fn save(&mut self, io: &impl Regs, pf: &Pf<'_>, out: &mut [u8]) -> Result<usize, Error> {
        let looked = self.look(pf)?.map(|look| look.read(io));
        self.save_seen(io, pf, looked.as_ref(), out)
    }

    /// The same, with what [`Self::look`] has seen.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub fn save_seen(
        &mut self,
        io: &impl Regs,
        pf: &Pf<'_>,
        looked: Option<&Looked>,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        if !self.take_in(pf, looked)? {
            // Not started since it was loaded: what came is what goes on.
            return Ok(encode(&self.state, out)?);
        }
        self.note_mailbox(io, pf);
        encode_checked(&self.state, out)
    }

    /// Says what the suspended VF may have written: the rings and the posted buffers of every queue that its driver has set
    /// up, whether it runs at the stop or not. A queue that was switched off may have frames in memory that the guest has not
    /// taken, so it has not marked them.
    ///
    /// # Errors
    /// [`Error::NotSuspended`]
    pub fn rings(&mut self, io: &impl Regs, pf: &Pf<'_>) -> Result<Written, Error> {
        let looked = self.look(pf)?.map(|look| look.read(io));
        self.rings_seen(pf, looked.as_ref())
    }

    /// The same, with what [`Self::look`] has seen.
    ///
    /// # Errors
    /// As [`Self::rings`].
    pub fn rings_seen(&mut self, pf: &Pf<'_>, looked: Option<&Looked>) -> Result<Written, Error> {
        if let (Phase::Suspended(_), Some(looked)) = (self.phase, looked) {
            looked.is_of(self)?;
            self.merge(pf, &looked.seen);
        } else if !matches!(self.phase, Phase::Loaded(_)) {
            return Err(Error::NotSuspended);
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

    /// What is to be read of the suspended VF, which takes no lock; `None` if its registers hold nothing that is not known.
    ///
    /// # Errors
    /// [`Error::NotSuspended`]
    pub fn look(&self, pf: &Pf<'_>) -> Result<Option<Look>, Error> {
        match self.phase {
            Phase::Running | Phase::Stopping(_) => Err(Error::NotSuspended),
            Phase::Suspended(was) => Ok(Some(Look::new(self, pf, was))),
            Phase::Loaded(_) => Ok(None),
        }
    }

    /// Takes in what was seen of the suspended VF. Returns whether its state is of this host.
    fn take_in(&mut self, pf: &Pf<'_>, looked: Option<&Looked>) -> Result<bool, Error> {
        match (self.phase, looked) {
            // If it was read before, the PF was reset meanwhile, and the state is from then.
            (Phase::Loaded(_), _) => Ok(false),
            (Phase::Suspended(_), Some(looked)) => {
                looked.is_of(self)?;
                self.fill_software(pf, looked.stats)?;
                self.merge(pf, &looked.seen);
                Ok(true)
            }
            _ => Err(Error::NotSuspended),
        }
    }

    /// Fills the parts of the state that the PF has in software, with the counters as they are `now`.
    pub(super) fn fill_software(&mut self, pf: &Pf<'_>, now: VfStats) -> Result<(), Error> {
        self.fill_wishes(pf)?;
        let mut counted = *pf.this()?;
        counted.count(now);
        self.state.statistics = Statistics {
            rx_packets: counted.stats.gprc,
            rx_bytes: counted.stats.gorc,
            rx_multicast: counted.stats.mprc,
            tx_packets: counted.stats.gptc,
            tx_bytes: counted.stats.gotc,
        };
        Ok(())
    }

    /// The same but for what the device counted: what the VF asked for, and what its host allows
    /// it.
    fn fill_wishes(&mut self, pf: &Pf<'_>) -> Result<(), Error> {
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
        s.limits = limits(vf);
        let f = &mut s.filters;
        f.mac = vf.mac;
        // What a former driver of the VF had is not this one's.
        f.xcast = if vf.api >= ApiVersion::V12 {
            xcast(vf.xcast_mode)
        } else {
            Xcast::None
        };
        f.unicast.clear();
        for mac in pf.switch.macs.macvlans_of_pool(pf.vf) {
            if !f.unicast.push(*mac) {
                return Err(Refusal::TooMany(format::UNICAST).into());
            }
        }
        f.vlans = self.vlans;
        f.multicast.clear();
        for hash in vf.mc.as_slice() {
            // The register's index has 12 bits, whatever the VF sent.
            if !f.multicast.push(hash & 0xfff) {
                return Err(Refusal::TooMany(format::MULTICAST).into());
            }
        }
        s.registrations = *self.coop.queues();
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
        self.merge(pf, &Seen::read(io, &pf.place(&none), was));
    }

    /// Puts into the state what was read of the suspended VF.
    fn merge(&mut self, pf: &Pf<'_>, seen: &Seen) {
        let (rx, tx) = (self.state.rx, self.state.tx);
        self.state.identity.queues_per_pool = pf.queues_per_pool() as u16;
        seen.put(&mut self.state);
        self.programmed = seen.programmed;
        // A driver uses it, whatever this host lets through at the moment.
        self.state.filters.enabled |= pf.this().is_ok_and(|vf| vf.open);
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
    pub fn before_pf_reset(&mut self, io: &(impl Regs + Delay), pf: &mut Pf<'_>) {
        self.new_epoch();
        if matches!(self.phase, Phase::Stopping(_)) {
            // Who is stopping it finds it stopped, or begins again.
            let _ = self.suspend(io, pf);
        }
        match self.phase {
            Phase::Running | Phase::Stopping(_) => {
                // The mailbox's notes go with the reset, and the VF begins anew when it sees that.
                if let Ok(vf) = pf.this_mut() {
                    vf.outbox = Outbox::new();
                }
                return;
            }
            Phase::Loaded(_) => (),
            Phase::Suspended(was) => {
                // A VF with more than a state can carry loses what does not fit, as all of it at any other reset.
                let _ = self.fill_software(pf, VfStats::read(io, pf.vf));
                self.capture(io, pf, &was);
                self.note_mailbox(io, pf);
                // The reset takes VTEITR as well.
                self.state.tx = self.state.tx.map(TxQueue::unbatched);
                self.phase = Phase::Loaded(was);
            }
        }
        self.stale = true;
    }
}
