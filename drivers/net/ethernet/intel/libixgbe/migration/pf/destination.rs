// SPDX-License-Identifier: GPL-2.0
//! A state is checked and put into a VF, and the VF runs: here after a move, or where it stopped if the move failed.

use super::api_of;
use super::rars;
use super::Error;
use super::Hold;
use super::Mover;
use super::Pf;
use super::Phase;
use super::Resumed;
use super::ETH_FCS_LEN;
use super::ETH_FRAME_LEN;
use crate::mbx::McHashes;
use crate::mbx::Request;
use crate::mbx::XcastMode;
use crate::mbx_ext;
use crate::mbx_ext::PfMessage;
use crate::mbx_ext::Restore;
use crate::migration::decode;
use crate::migration::decode_compat;
use crate::migration::format;
use crate::migration::program;
use crate::migration::quiesce::steering_off;
use crate::migration::restore;
use crate::migration::state::VfState;
use crate::migration::state::Xcast;
use crate::migration::HeadRestore;
use crate::migration::Quiesced;
use crate::migration::Refusal;
use crate::migration::Restored;
use crate::regs;
use crate::sriov::vf::VMOLR_ACCEPT;
use crate::Delay;
use crate::Regs;

impl Mover {
    /// Compares a compatibility record with this host.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn check_compat(&mut self, pf: &Pf<'_>, record: &[u8]) -> Result<(), Error> {
        let host = pf.host()?;
        let mut seen = VfState::EMPTY;
        Ok(decode_compat(record, &host, &mut seen)?)
    }

    /// Checks a state and programs it into the suspended VF. Nothing is written before all of it has been checked.
    ///
    /// # Errors
    /// [`Error::NotSuspended`], [`Error::Refused`].
    pub fn load(
        &mut self,
        io: &(impl Regs + Delay),
        pf: &mut Pf<'_>,
        blob: &[u8],
    ) -> Result<(), Error> {
        let (Phase::Suspended(was) | Phase::Loaded(was)) = self.phase else {
            return Err(Error::NotSuspended);
        };
        let host = pf.host()?;
        // Not into `self.state`: a refused state must leave no trace.
        let mut state = VfState::EMPTY;
        decode(blob, &host, &mut state)?;
        let f = &state.filters;
        let mut macs = core::iter::once(&f.mac).chain(f.unicast.as_slice());
        if macs.any(|mac| *mac != [0; 6] && pf.switch.is_taken(pf.vfs, pf.vf, mac)) {
            return Err(Refusal::MacInUse.into());
        }
        let wanted = f.unicast.as_slice().len().saturating_add(1);
        if pf.switch.macs.available(pf.vf) < wanted {
            return Err(Refusal::Unsupported.into());
        }

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
        program(io, &place, &state);
        self.coop
            .adopt(state.identity.features, &state.registrations);
        self.vlans = state.filters.vlans;
        self.max_frame = state.identity.max_frame;
        self.acked = true;
        self.state = state;
        self.phase = Phase::Loaded(was);
        Ok(())
    }

    /// Puts the VF's wishes to this host's PF, in the order in which a driver would.
    fn apply(&self, io: &impl Regs, pf: &mut Pf<'_>, state: &VfState) -> Result<(), Refusal> {
        let vf = pf.vf;
        let i = &state.identity;
        let f = &state.filters;
        {
            let Ok(this) = pf.this_mut() else {
                return Err(Refusal::Unsupported);
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
        self.after_pf_reset(io, pf);
        let (was, arrived) = match self.phase {
            Phase::Running => return Ok(None),
            Phase::Suspended(was) => {
                self.capture(io, pf, &was);
                (was, false)
            }
            Phase::Loaded(was) => (was, true),
        };
        let restored = self.start(io, pf, &was, arrived)?;
        if arrived && self.state.mailbox.request {
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
        let rars = rars(pf);
        let place = pf.place(&rars);
        // Who was to be announced when the guest had re-armed is announced after this, too.
        let arrived_before = self.hold.take().is_some_and(|hold| hold.arrived);
        self.enter(pf, Phase::Running);
        self.set_held(pf, false);
        // As the host's settings and the guest's requests are now, not as they were when the VF
        // stopped.
        let now = pf.switch.pool(pf.this()?);
        let vmolr = was.vmolr & !VMOLR_ACCEPT | now.vmolr;
        let gates = (now.rx, now.tx);
        let restored = restore::resume(io, &place, &self.state, vmolr, gates, pf.head_restore);
        self.set_held(pf, restored.waits_for_guest());
        if arrived && self.state.mailbox.pf_message {
            // The memory holds the message; raising it again is all that was lost.
            io.write32(regs::pfmailbox(pf.vf), regs::PFMAILBOX_STS);
            self.acked = false;
        }
        if restored.way == HeadRestore::Reset {
            let (switch, vf) = (&*pf.switch, pf.vf);
            if let Some(state) = pf.vfs.get_mut(vf as usize) {
                switch.restart(io, vf, state);
            }
        } else if arrived || restored.way == HeadRestore::Rearm {
            let message = self.restore_message(&restored);
            if restored.waits_for_guest() {
                self.hold = Some(Hold {
                    generation: message.generation,
                    arrived: arrived || arrived_before,
                    rx: restored.rearm_rx,
                    tx: restored.rearm_tx,
                });
            }
            // Sent if the guest knows it, see `flush`.
            self.outbox.put(PfMessage::Restore(message));
        }
        if self.hold.is_none() {
            self.announce |= arrived || arrived_before;
        }
        Ok(restored)
    }

    fn restore_message(&mut self, restored: &Restored) -> Restore {
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
            generation: self.coop.next_generation(),
            queues: self.state.used_pairs(),
            rearm_rx: restored.rearm_rx,
            rearm_tx: restored.rearm_tx,
            heads,
            reserved: [0; 2],
        }
    }

    /// Whether the VF runs and is not yet served, because its guest has rings to re-arm.
    pub fn waits_for_guest(&self) -> bool {
        self.hold.is_some() && !self.active()
    }

    /// The guest has re-armed, or had its time to: the VF is served from here on.
    pub fn serve_now(&mut self, io: &impl Regs, pf: &mut Pf<'_>) {
        let Some(hold) = self.hold.take() else {
            return;
        };
        self.set_held(pf, false);
        if let Ok(vf) = pf.this() {
            pf.switch.apply_gates(io, pf.vf, vf);
        }
        self.announce |= hold.arrived;
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
        program(io, &place, &self.state);
        self.phase = Phase::Loaded(Quiesced { vmolr, ..was });
    }
}
