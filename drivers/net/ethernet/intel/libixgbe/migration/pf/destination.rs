// SPDX-License-Identifier: GPL-2.0
//! A state is checked and put into a VF, and the VF runs: here after a move, or where it stopped if the move failed.

use zerocopy::FromBytes;

use super::api_of;
use super::rars;
use super::Asked;
use super::Begun;
use super::Error;
use super::Going;
use super::Hold;
use super::Mover;
use super::Pf;
use super::Phase;
use super::Program;
use super::Resumed;
use super::ETH_FCS_LEN;
use super::ETH_FRAME_LEN;
use crate::mbx::ApiVersion;
use crate::mbx::McHashes;
use crate::mbx::Request;
use crate::mbx::XcastMode;
use crate::mbx_ext;
use crate::mbx_ext::Restore;
use crate::migration::announced;
use crate::migration::check;
use crate::migration::decode::parse;
use crate::migration::format;
use crate::migration::quiesce::steering_off;
use crate::migration::refusal::Found;
use crate::migration::restore;
use crate::migration::room;
use crate::migration::state::Link;
use crate::migration::state::List;
use crate::migration::state::TxQueue;
use crate::migration::state::VfState;
use crate::migration::state::Xcast;
use crate::migration::Gates;
use crate::migration::HeadRestore;
use crate::migration::Host;
use crate::migration::Note;
use crate::migration::Own;
use crate::migration::Quiesced;
use crate::migration::Rearm;
use crate::migration::Refusal;
use crate::migration::Restored;
use crate::migration::Start;
use crate::regs;
use crate::sriov::vf::Nudge;
use crate::sriov::vf::Outbox;
use crate::Delay;
use crate::Regs;

/// Reads a blob of this content into `out` and compares it with this host, without a look at the
/// device. What is returned holds all that does not fit.
fn judge(
    pf: &Pf<'_>,
    host: &Host<'_>,
    blob: &[u8],
    content: u16,
    out: &mut VfState,
) -> Result<Found, Refusal> {
    let pairs = parse(blob, content, out)?;
    let mut found = Found::new();
    check::against_host(out, pairs, host, &mut found);
    room::addresses(pf.switch, pf.vfs, pf.vf, out, &mut found);
    Ok(found)
}

/// Checksum in the header of a blob that was decoded.
fn checksum(blob: &[u8]) -> u32 {
    format::Header::ref_from_prefix(blob).map_or(0, |(header, _)| header.crc32c.get())
}

/// What a guest owes that came with its rings parked.
fn carried(rearm: &Rearm) -> Option<Hold> {
    let asked = Asked {
        generation: rearm.generation,
        rx: rearm.asked_rx,
        tx: rearm.asked_tx,
        taken: rearm.taken,
    };
    let hold = Hold {
        asked: (asked.generation != 0).then_some(asked),
        rx: rearm.rx,
        tx: rearm.tx,
        ..Hold::default()
    };
    hold.owes().then_some(hold)
}

impl Mover {
    /// Compares a compatibility record or a state with this host, without any effect. All that
    /// [`Self::load`] would refuse is refused here, while the source can still go on. Without
    /// `link` at the PF's port the VM would arrive without a network; a link that goes down later
    /// is the guest's to see, as on any host.
    ///
    /// # Errors
    /// [`Error::Refused`], with all reasons.
    pub fn check(
        &self,
        io: &impl Regs,
        pf: &Pf<'_>,
        blob: &[u8],
        link: bool,
    ) -> Result<List<Note, 2>, Error> {
        let host = pf.host()?;
        let head = announced(blob)?.ok_or(Refusal::Length)?;
        let mut seen = VfState::EMPTY;
        let mut found = judge(pf, &host, blob, head.content, &mut seen)?;
        room::vlans(io, pf.switch, pf.vf, &seen, &mut found);
        room::promiscuity(io, pf.switch, &seen, &mut found);
        found.unless(
            link || head.content == format::CONTENT_STATE,
            Refusal::LinkDown,
        );
        found.result()?;
        Ok(check::notes(&seen, &host))
    }

    /// What a former user of the VF left behind, if it has been used since its last reset: VFIO
    /// allows a load without one.
    fn is_used(&self, pf: &Pf<'_>) -> Result<bool, Error> {
        let vf = pf.this()?;
        let mut addresses = pf.switch.macs.of_pool(pf.vf);
        Ok(vf.api != ApiVersion::default()
            || vf.features != 0
            || !vf.mc.is_empty()
            || !self.vlans.as_slice().is_empty()
            || addresses.any(|mac| *mac != vf.mac))
    }

    /// Checks a state and programs it into the suspended VF. Nothing is written before all of it
    /// has been checked, but whether the VLAN filter has room, which takes 63 register reads, and
    /// whether the PF is promiscuous: both have been asked by [`Self::check`].
    ///
    /// # Errors
    /// [`Error::NotSuspended`], [`Error::Refused`].
    pub fn load(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
        blob: &[u8],
    ) -> Result<(), Error> {
        self.load_begin(io, pf, blob)?.run(io);
        Ok(())
    }

    /// The same but for the VF's own registers, which are then to be written.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_begin(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
        blob: &[u8],
    ) -> Result<Program, Error> {
        let (Phase::Suspended(was) | Phase::Loaded(was)) = self.phase else {
            return Err(Error::NotSuspended);
        };
        let host = pf.host()?;
        // Not into `self.state`: a refused state must leave no trace.
        let mut state = VfState::EMPTY;
        judge(pf, &host, blob, format::CONTENT_STATE, &mut state)?.result()?;
        state.tx = state.tx.map(TxQueue::unbatched);
        // What a former use of this VF has left to be said is none of this one's.
        let this = pf.this_mut()?;
        this.outbox = Outbox::new();
        this.nudge = Nudge::new();

        if self.is_used(pf)? {
            pf.switch.vf_reset_event(io, pf.vfs, pf.vf);
        }
        self.hold = None;
        self.announce = false;
        self.stale = false;
        self.forget_driver();
        if let Err(refusal) = self.apply(io, pf, &state) {
            // Filters ran out: the VF is left as after a reset, its queues untouched.
            pf.switch.vf_reset_event(io, pf.vfs, pf.vf);
            let rars = rars(pf);
            steering_off(io, &pf.place(&rars), io.read32(regs::vmolr(pf.vf)));
            return Err(refusal.into());
        }
        let rars = rars(pf);
        let place = pf.place(&rars);
        steering_off(io, &place, was.vmolr);
        // A host that did not carry numbers: the checksum of its state is as good as any.
        let number = match state.mailbox.number {
            0 => checksum(blob) | mbx_ext::UNIQUE,
            number => number,
        };
        self.coop
            .adopt(state.identity.features, &state.registrations, number);
        self.vlans = state.filters.vlans;
        self.max_frame = state.identity.max_frame;
        self.hold = carried(&state.rearm);
        self.state = state;
        self.phase = Phase::Loaded(Quiesced {
            stopped_rx: u32::MAX,
            stopped_tx: u32::MAX,
            ..was
        });
        Ok(Program::new(self, pf))
    }

    /// Puts the VF's wishes to this host's PF, in the order in which a driver would.
    fn apply(&self, io: &impl Regs, pf: &mut Pf<'_>, state: &VfState) -> Result<(), Refusal> {
        let vf = pf.vf;
        let i = &state.identity;
        let f = &state.filters;
        {
            let Ok(this) = pf.this_mut() else {
                // The caller has found it.
                return Err(Refusal::Missing(format::IDENTITY));
            };
            this.api = api_of(i.api).unwrap_or_default();
            this.features = i.features;
            this.clear_to_send = state.mailbox.cts;
            this.xcast_mode = XcastMode::None;
            this.open = state.filters.enabled;
            this.held = false;
            this.frame = 0;
            let s = &state.statistics;
            this.rebase_stats(io, vf);
            this.stats.gprc = s.rx_packets;
            this.stats.gorc = s.rx_bytes;
            this.stats.mprc = s.rx_multicast;
            this.stats.gptc = s.tx_packets;
            this.stats.gotc = s.tx_bytes;
        }
        pf.switch.admit(io, pf.vfs, vf);
        let jumbo = pf.jumbo();
        let mut ask = |request: Request, kind: u16| {
            pf.switch
                .apply(io, pf.vfs, vf, &request)
                .map_err(|_| Refusal::Rights(kind))
        };
        if f.mac != [0; 6] {
            ask(Request::SetMac(f.mac), format::FILTERS)?;
        }
        for (n, addr) in (1u8..).zip(f.unicast.as_slice()) {
            ask(
                Request::SetMacvlan {
                    index: n,
                    addr: *addr,
                },
                format::UNICAST,
            )?;
        }
        let mc = McHashes::from_hashes(f.multicast.as_slice().iter().copied());
        if !mc.is_empty() {
            ask(Request::SetMulticast(mc), format::MULTICAST)?;
        }
        if f.xcast != Xcast::None {
            ask(Request::UpdateXcastMode(f.xcast as u32), format::FILTERS)?;
        }
        for vid in f.vlans.as_slice().iter().filter(|vid| **vid != 0) {
            ask(
                Request::SetVlan {
                    add: true,
                    vid: *vid,
                },
                format::VLANS,
            )?;
        }
        // With jumbo frames here, a VF without them must say so too, or it does not receive.
        if jumbo || i.max_frame > ETH_FRAME_LEN {
            let frame = Request::SetLpe(i.max_frame.saturating_add(ETH_FCS_LEN));
            let granted = ask(frame, format::IDENTITY);
            if i.max_frame > ETH_FRAME_LEN {
                granted?;
            }
        }
        Ok(())
    }

    /// Lets a suspended or loaded VF run; `None` if it runs already.
    ///
    /// # Errors
    /// [`Error::NoVf`]
    pub fn resume(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
    ) -> Result<Option<Resumed>, Error> {
        match self.resume_begin(io, pf)? {
            Some(going) => self.resume_end(io, pf, &going.start(io)),
            None => Ok(None),
        }
    }

    /// Begins with that: the VF's queues are to be started, and then [`Self::resume_end`] is called. `None` if it runs already.
    ///
    /// # Errors
    /// [`Error::NoVf`]
    pub fn resume_begin(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
    ) -> Result<Option<Going>, Error> {
        self.after_pf_reset(io, pf);
        let (was, arrived) = match self.phase {
            Phase::Running => return Ok(None),
            Phase::Stopping(stop) => {
                let was = stop.was();
                self.capture(io, pf, &was);
                (was, false)
            }
            Phase::Suspended(was) => {
                self.capture(io, pf, &was);
                (was, false)
            }
            Phase::Loaded(was) => (was, true),
        };
        pf.this()?;
        Ok(Some(self.going(pf, &was, arrived)))
    }

    /// How the queues of the VF are to be started that stands as [`Self::state`] says.
    fn going(&self, pf: &Pf<'_>, was: &Quiesced, arrived: bool) -> Going {
        let parked = self.hold.map_or((0, 0), |hold| (hold.rx, hold.tx));
        let start = Start {
            wanted: pf.head_restore,
            rearms: self.state.guest_offers(mbx_ext::CAP_REARM),
            parked,
            stopped: (was.stopped_rx, was.stopped_tx),
        };
        Going::new(self, pf, start, arrived)
    }

    /// The VF's queues are started: it runs.
    ///
    /// # Errors
    /// [`Error::NoVf`]
    pub fn resume_end(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
        begun: &Begun,
    ) -> Result<Option<Resumed>, Error> {
        if !begun.is_of(self) {
            // The device was reset, and what was started then is put back as what is to be started.
            if matches!(self.phase, Phase::Loaded(_)) && !self.stale {
                Program::new(self, pf).run(io);
            }
            return self.resume(io, pf);
        }
        if !self.active() {
            return Ok(None);
        }
        let arrived = begun.going.arrived;
        let restored = self.set_going(io, pf, begun)?;
        let m = &self.state.mailbox;
        // One that holds the mailbox writes over its request, or comes back to it when it has read.
        if arrived && m.request && !m.held {
            let what = pf.switch.handle_message(io, pf.vfs, pf.vf);
            self.handled(io, pf, &what);
        }
        self.flush(io, pf);
        Ok(Some(Resumed { restored, arrived }))
    }

    /// Sets the VF going that stands as [`Self::state`] says.
    pub(super) fn start(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
        was: &Quiesced,
        arrived: bool,
    ) -> Result<Restored, Error> {
        let begun = self.going(pf, was, arrived).start(io);
        self.set_going(io, pf, &begun)
    }

    /// Sets a VF going whose queues are started.
    fn set_going(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
        begun: &Begun,
    ) -> Result<Restored, Error> {
        let arrived = begun.going.arrived;
        let rars = rars(pf);
        let place = pf.place(&rars);
        let before = self.hold.take().unwrap_or_default();
        self.new_epoch();
        self.enter(pf, Phase::Running);
        self.set_held(pf, false);
        // As the host's settings and the guest's requests are now, not as they were when the VF
        // stopped.
        let now = pf.switch.pool(pf.this()?);
        let gates = Gates {
            accept: now.vmolr,
            receive: now.rx,
            send: now.tx,
        };
        let restored = Own::of(&self.state).open(io, &place, &begun.started, &gates);
        self.set_held(pf, restored.waits_for_guest());
        if arrived {
            self.raise_mailbox(io, pf)?;
        }
        // Who was to be announced when the guest had re-armed is announced after this, too.
        let arrives = arrived || before.waiting && before.arrived;
        if restored.way == HeadRestore::Reset {
            let (switch, vf) = (&*pf.switch, pf.vf);
            if let Some(state) = pf.vfs.get_mut(vf as usize) {
                state.outbox.drop_restore();
                switch.restart(io, vf, state);
            }
        } else {
            let mut hold = Hold {
                asked: before.asked,
                rx: restored.rearm_rx,
                tx: restored.rearm_tx,
                tell: before.tell,
                waiting: restored.waits_for_guest(),
                arrived: arrives,
            };
            if let Some(asked) = hold.asked {
                // The guest does what it was told before; only then is it told more.
                hold.tell |= arrived && asked.taken;
                self.hold = Some(hold);
                self.ask_again(pf);
            } else if arrived || restored.way == HeadRestore::Rearm {
                self.hold = hold.owes().then_some(hold);
                self.ask(pf, restored.rearm_rx, restored.rearm_tx);
            }
        }
        if !self.hold.is_some_and(|hold| hold.waiting) {
            self.announce |= arrives;
        }
        // A guest whose link was switched off on its last host would not ask again: as when the
        // administrator switches it on.
        let was_off = self.state.limits.link == Link::Disable;
        let on = pf.this()?.link_enable;
        if arrived && was_off && on && restored.way != HeadRestore::Reset {
            let (switch, vf) = (&*pf.switch, pf.vf);
            if let Some(state) = pf.vfs.get_mut(vf as usize) {
                switch.restart(io, vf, state);
            }
        }
        Ok(restored)
    }

    /// Puts into the PF's book what lies in the mailbox of a VF that came from elsewhere, and tells the VF of it.
    fn raise_mailbox(&mut self, io: &impl Regs, pf: &mut Pf<'_>) -> Result<(), Error> {
        let vf = pf.vf;
        let m = &self.state.mailbox;
        let state = pf.this_mut()?;
        let unread = m.pf_message.then_some(&m.words);
        state.outbox.arrive(unread, m.held, m.request);
        if m.ping || !m.cts {
            // No event of the last host comes here: what the guest has not read of it, it would wait for in vain.
            state.outbox.put_ping();
        }
        if !m.cts {
            state.withdraw();
        }
        if m.pf_message && !m.held {
            // The memory holds the message; raising it again is all that was lost.
            io.write32(regs::pfmailbox(vf), regs::PFMAILBOX_STS);
        }
        Ok(())
    }

    fn restore_message(&self, generation: u32, rx: u32, tx: u32) -> Restore {
        let mut heads = [0; mbx_ext::MAX_QUEUES];
        for (to, (rx, tx)) in heads
            .iter_mut()
            .zip(self.state.rx.iter().zip(&self.state.tx))
        {
            // Heads are below 4096, see `check`.
            *to = (rx.head & 0xffff) | (tx.head & 0xffff) << 16;
        }
        Restore {
            head: mbx_ext::PF_RESTORE,
            version: mbx_ext::EXT_VERSION,
            generation,
            queues: self.state.used_pairs(),
            rearm_rx: rx,
            rearm_tx: tx,
            heads,
            reserved: [0; 2],
        }
    }

    /// Tells the guest that it runs, and which rings it is to re-arm. Sent if it knows the message, see
    /// [`crate::sriov::vf::Outbox`].
    fn ask(&mut self, pf: &mut Pf<'_>, rx: u32, tx: u32) {
        let generation = self.coop.next_generation();
        let message = self.restore_message(generation, rx, tx);
        if let Some(hold) = self.hold.as_mut().filter(|_| rx | tx != 0) {
            hold.asked = Some(Asked {
                generation,
                rx,
                tx,
                taken: false,
            });
        }
        self.say_restore(pf, message);
    }

    /// Sends what is out once more, if it neither lies in the mailbox nor was taken: under its number, so that a guest that
    /// has done it does it no second time.
    fn ask_again(&mut self, pf: &mut Pf<'_>) {
        let Some(asked) = self.hold.and_then(|hold| hold.asked) else {
            return;
        };
        let there = pf
            .this()
            .is_ok_and(|vf| vf.outbox.has_restore(asked.generation));
        if !there && !asked.taken {
            let message = self.restore_message(asked.generation, asked.rx, asked.tx);
            self.say_restore(pf, message);
        }
    }

    /// A second has passed since the guest was asked to re-arm rings. If it has taken the message and not answered, it is asked
    /// again: its answer may be lost, or the message may be lost in it.
    pub fn remind(&mut self, io: &impl Regs, pf: &mut Pf<'_>) {
        if self.active() {
            return;
        }
        let queues = pf.queues_per_pool();
        let first = pf.vf.wrapping_mul(queues);
        let parked = |mask: u32, reg: fn(u32) -> u32| {
            let named = (0..queues).filter(|i| mask >> i & 1 != 0);
            // ENABLE is the same bit of RXDCTL and TXDCTL. A queue that runs was re-armed.
            let off = |i: &u32| io.read32(reg(first.wrapping_add(*i))) & regs::RXDCTL_ENABLE == 0;
            named.filter(off).fold(0u32, |mask, i| mask | 1 << i)
        };
        if let Some(hold) = &mut self.hold {
            if let Some(asked) = hold.asked.as_mut().filter(|asked| asked.taken) {
                hold.rx = parked(hold.rx, regs::rxdctl);
                hold.tx = parked(hold.tx, regs::txdctl);
                asked.rx &= hold.rx;
                asked.tx &= hold.tx;
                asked.taken = false;
                self.ask_again(pf);
            }
        }
        self.flush(io, pf);
    }

    /// Whether the guest has rings to re-arm.
    pub fn owes_rearm(&self) -> bool {
        self.hold.is_some()
    }

    /// The guest says that it has done what a message asked for. Only the one that is out counts.
    pub(super) fn rearm_done(&mut self, io: &impl Regs, pf: &mut Pf<'_>, generation: u32) {
        let Some(hold) = &mut self.hold else {
            return;
        };
        let Some(done) = hold.asked.filter(|asked| asked.generation == generation) else {
            return;
        };
        hold.asked = None;
        hold.rx &= !done.rx;
        hold.tx &= !done.tx;
        let (rx, tx) = (hold.rx, hold.tx);
        let more = core::mem::take(&mut hold.tell) || rx | tx != 0;
        if let Ok(vf) = pf.this_mut() {
            // A repetition that the answer has overtaken.
            vf.outbox.drop_restore();
        }
        if rx == 0 {
            self.serve_now(io, pf);
        }
        if more {
            self.ask(pf, rx, tx);
        }
    }

    /// Whether the VF runs and is not yet served, because its guest has rings to re-arm.
    pub fn waits_for_guest(&self) -> bool {
        self.hold.is_some_and(|hold| hold.waiting) && !self.active()
    }

    /// The guest has re-armed its Rx rings, or had its time to: the VF is served from here on. What it still has to re-arm
    /// stays owed.
    pub fn serve_now(&mut self, io: &impl Regs, pf: &mut Pf<'_>) {
        let Some(hold) = &mut self.hold else {
            return;
        };
        let waited = core::mem::take(&mut hold.waiting);
        self.announce |= waited && core::mem::take(&mut hold.arrived);
        if !hold.owes() {
            self.hold = None;
        }
        if !waited {
            return;
        }
        self.set_held(pf, false);
        if let Ok(vf) = pf.this() {
            pf.switch.apply_gates(io, pf.vf, vf);
        }
    }

    /// Whether the VF is served is known to who computes its gates.
    fn set_held(&self, pf: &mut Pf<'_>, held: bool) {
        if let Ok(vf) = pf.this_mut() {
            vf.held = held;
        }
    }

    /// Whether the VF's addresses are to be announced now.
    pub fn announcement(&self) -> bool {
        self.announce
    }

    /// The same; says so once.
    pub fn take_announcement(&mut self) -> bool {
        core::mem::take(&mut self.announce)
    }

    /// The PF has reset the device and runs: a VF that stands still is programmed again.
    pub fn after_pf_reset(&mut self, io: &(impl Regs + Delay), pf: &mut Pf<'_>) {
        let Phase::Loaded(was) = self.phase else {
            return;
        };
        if !core::mem::take(&mut self.stale) {
            return;
        }
        let state = self.state;
        // What this host no longer grants is gone, as after any reset.
        let _ = self.apply(io, pf, &state);
        let vmolr = io.read32(regs::vmolr(pf.vf));
        let rars = rars(pf);
        let place = pf.place(&rars);
        restore::close_gates(io, &place);
        steering_off(io, &place, vmolr);
        Own::of(&self.state).program(io, &place);
        self.phase = Phase::Loaded(Quiesced { vmolr, ..was });
    }
}
