// SPDX-License-Identifier: GPL-2.0
//! Stops a VF from outside, whatever its guest does, and leaves its memory alone from then on.
//!
//! ```text
//!   begin     what runs is noted
//!   Drain     TDH reaches TDT, or time is up; what is done is written back (SWFLSH)
//!   StopTx    ENABLE reads 0; steering off
//!   Settle    what was on its way is in the rings; it is written back (SWFLSH)
//!   StopRx    ENABLE reads 0
//!   Finish    the last access to memory is over; gates closed, heads stable
//! ```
//! Between two of these the hardware wants time, which [`Stop::advance`] asks of its caller: 1.1 ms in all for a VF at
//! rest. Nothing is held meanwhile, so that a PF which stops many VFs waits once and not once for each.
//!
//! The order matters: Tx drained and stopped while the VF's addresses still lead to its pool, because the anti-spoofing
//! check throws away what comes from an address that does not (7.10.3.9.2.1); then steering off, before Rx is stopped,
//! because a loaded Rx queue moves its head while it stops (ice removes filters first too); gates closed, heads stable.
//! The VF's own registers and mailbox are not touched, so that a guest sees nothing of it.

use super::Place;
use crate::io;
use crate::mbx_ext::MAX_QUEUES;
use crate::regs;
use crate::Delay;
use crate::Regs;

/// VMOLR bits that let frames into a pool.
pub(super) const VMOLR_ACCEPT: u32 = regs::VMOLR_UPE
    | regs::VMOLR_VPE
    | regs::VMOLR_AUPE
    | regs::VMOLR_ROMPE
    | regs::VMOLR_ROPE
    | regs::VMOLR_BAM
    | regs::VMOLR_MPE;

/// What quiesce changed, so that capture can report it and resume can undo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiesced {
    /// VMOLR of the pool.
    pub vmolr: u32,
    /// Whether the pool could receive (VFRE).
    pub vfre: bool,
    /// Whether the pool could send (VFTE).
    pub vfte: bool,
    /// Tx queues, one bit each, that were stopped before they had sent all that their guest gave them. They may stand
    /// between a context descriptor and the frames that it is for, see [`super::TxQueue::INTERRUPTED`].
    pub undrained: u32,
    /// Rx queues, one bit each, that have stopped. Of those that ran, the others run on, or cannot stop without a link:
    /// nobody may write their heads.
    pub stopped_rx: u32,
    /// Tx queues likewise.
    pub stopped_tx: u32,
    pub(super) rxdctl: [u32; MAX_QUEUES],
    pub(super) txdctl: [u32; MAX_QUEUES],
}

impl Quiesced {
    /// Looks at a VF that runs, without touching it.
    pub(super) fn look(io: &impl Regs, place: &Place<'_>) -> Self {
        let (gate_row, gate_bit) = place.gate();
        let mut was = Self {
            vmolr: io.read32(regs::vmolr(place.vf)),
            vfre: io.read32(regs::vfre(gate_row)) & gate_bit != 0,
            vfte: io.read32(regs::vfte(gate_row)) & gate_bit != 0,
            undrained: 0,
            stopped_rx: 0,
            stopped_tx: 0,
            rxdctl: [0; MAX_QUEUES],
            txdctl: [0; MAX_QUEUES],
        };
        let queues = was.rxdctl.iter_mut().zip(&mut was.txdctl);
        for (i, (rx, tx)) in (0..place.queues_per_pool).zip(queues) {
            *rx = io.read32(regs::rxdctl(place.queue(i)));
            *tx = io.read32(regs::txdctl(place.queue(i)));
        }
        was
    }
}

/// What did not stop. The VF must be resumed or reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuiesceError {
    /// Rx queue of the VF whose ENABLE did not read 0.
    RxQueue(u32),
    /// Tx queue of the VF whose ENABLE did not read 0.
    TxQueue(u32),
    /// A head moved after its queue had stopped.
    Unstable,
    /// The device is gone: registers read all ones.
    Gone,
}

/// TIMEOUT: frames already on their way through the Rx filters reach their ring. INF: no public source gives a bound;
/// a 512 KiB packet buffer drains in 420 us at 10 Gb/s.
const STEERING_SETTLE_US: u32 = 1000;
/// TIMEOUT: longest wait for Tx rings to run empty. At 10 Gb/s a full ring of 4096 standard frames takes 5 ms; a VF
/// whose rate is limited may need longer and then moves with what is left.
const DRAIN_POLLS: u32 = 20;
const DRAIN_POLL_US: u32 = 500;
/// TIMEOUT: of a flush (SWFLSH clears itself). INF: no public source gives a bound, no driver waits; a queue is stopped
/// without it then.
const FLUSH_POLLS: u32 = 4;
/// TIMEOUT: as `IXGBE_MAX_RX_DESC_POLL` of the C driver, 10 polls of 1 to 2 ms.
const STOP_POLLS: u32 = 20;
const STOP_POLL_US: u32 = 500;
/// Time between ENABLE reading 0 and the last access to memory (datasheet 4.6.7.1.2).
const STOP_SETTLE_US: u32 = 100;

/// Registers read all ones when the function is off the bus; STATUS never does otherwise.
fn gone(io: &impl Regs) -> bool {
    io.read32(regs::STATUS) == u32::MAX
}

/// Keeps every frame of the wire and of other pools out of the pool, whose VMOLR is `vmolr`.
pub(super) fn steering_off(io: &impl Regs, place: &Place<'_>, vmolr: u32) {
    for rar in place.rars {
        // An address of a VF leads to that VF's pool alone, see `filter::MacTable`.
        io.write32(place.mpsar(*rar).0, 0);
    }
    io.write32(regs::vmolr(place.vf), vmolr & !VMOLR_ACCEPT);
}

/// What [`Stop::advance`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// To be called again after this many microseconds. No lock need be held meanwhile.
    Wait(u32),
    /// Nothing: the VF stands.
    Stopped,
}

/// How far a stop has come, by what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Drain,
    FlushTx,
    StopTx,
    Settle,
    FlushRx,
    StopRx,
    Finish,
}

/// Either direction's queue control; the bits are the same (8.2.3.8.8, 8.2.3.9.10).
const ENABLE: u32 = regs::TXDCTL_ENABLE;
const SWFLSH: u32 = regs::TXDCTL_SWFLSH;

/// Of the VF's queues in a mask, those for whose device queue `f` holds.
fn pick(place: &Place<'_>, among: u32, mut f: impl FnMut(u32) -> bool) -> u32 {
    (0..place.queues_per_pool.min(MAX_QUEUES as u32))
        .filter(|i| among >> i & 1 != 0 && f(place.queue(*i)))
        .fold(0, |mask, i| mask | 1 << i)
}

/// Queues that run, by their controls.
fn enabled(dctl: &[u32; MAX_QUEUES]) -> u32 {
    (0..).zip(dctl).fold(0, |mask, (i, dctl)| {
        mask | u32::from(dctl & ENABLE != 0) << i
    })
}

/// Time is up for `queues`, whose ENABLE reads 1. Without a link that need not mean anything: the device does no DMA
/// then, and the C driver does not wait for ENABLE either (`ixgbe_disable_tx`). They stand behind closed gates, and
/// [`Stop::finish`] looks at their heads. INF: that closed gates keep them from starting when the link comes back.
fn without_link(
    io: &impl Regs,
    error: fn(u32) -> QuiesceError,
    queues: u32,
) -> Result<(), QuiesceError> {
    if gone(io) {
        Err(QuiesceError::Gone)
    } else if io.read32(regs::LINKS) & regs::LINKS_UP == 0 {
        Ok(())
    } else {
        Err(error(queues.trailing_zeros()))
    }
}

/// A VF that is being stopped. Whoever begins it goes on until it is over, and keeps the VF's mailbox, filters and gates
/// from being changed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    was: Quiesced,
    stage: Stage,
    polls: u32,
}

impl Stop {
    /// Notes what runs. Nothing is changed yet.
    ///
    /// # Errors
    /// [`QuiesceError::Gone`]
    pub fn begin(io: &impl Regs, place: &Place<'_>) -> Result<Self, (Quiesced, QuiesceError)> {
        let was = Quiesced::look(io, place);
        if gone(io) {
            return Err((was, QuiesceError::Gone));
        }
        Ok(Self {
            was,
            stage: Stage::Drain,
            polls: DRAIN_POLLS,
        })
    }

    /// What was changed so far.
    pub fn was(&self) -> Quiesced {
        self.was
    }

    /// Goes on as far as the hardware lets. Bounded: over all calls it asks for 40 ms at most.
    ///
    /// # Errors
    /// See [`QuiesceError`]. What was changed is undone by [`super::Own::start()`] and [`super::Own::open()`], or by a
    /// reset.
    pub fn advance(&mut self, io: &impl Regs, place: &Place<'_>) -> Result<Progress, QuiesceError> {
        loop {
            match self.stage {
                Stage::Drain => {
                    self.was.undrained = pick(place, self.ran_tx(), |q| {
                        io.read32(regs::tdh(q)) != io.read32(regs::tdt(q))
                    });
                    if self.was.undrained != 0 && self.again() {
                        return Ok(Progress::Wait(DRAIN_POLL_US));
                    }
                    self.write_tx(io, place, |dctl| dctl | SWFLSH);
                    self.enter(Stage::FlushTx);
                }
                Stage::FlushTx => {
                    let busy = pick(place, self.ran_tx(), |q| {
                        io.read32(regs::txdctl(q)) & SWFLSH != 0
                    });
                    if busy != 0 && self.again() {
                        return Ok(Progress::Wait(STOP_POLL_US));
                    }
                    // Once more, for what was sent meanwhile: as the C driver, which writes both at once
                    // (`ixgbe_disable_tx`).
                    self.write_tx(io, place, |dctl| dctl & !ENABLE | SWFLSH);
                    self.enter(Stage::StopTx);
                }
                Stage::StopTx => {
                    let runs = pick(place, self.ran_tx(), |q| {
                        io.read32(regs::txdctl(q)) & ENABLE != 0
                    });
                    self.was.stopped_tx = self.ran_tx() & !runs;
                    if runs != 0 {
                        if self.again() {
                            return Ok(Progress::Wait(STOP_POLL_US));
                        }
                        without_link(io, QuiesceError::TxQueue, runs)?;
                    }
                    steering_off(io, place, self.was.vmolr);
                    self.enter(Stage::Settle);
                    return Ok(Progress::Wait(STEERING_SETTLE_US));
                }
                Stage::Settle => {
                    self.write_rx(io, place, |dctl| dctl | SWFLSH);
                    self.enter(Stage::FlushRx);
                }
                Stage::FlushRx => {
                    let busy = pick(place, self.ran_rx(), |q| {
                        io.read32(regs::rxdctl(q)) & SWFLSH != 0
                    });
                    if busy != 0 && self.again() {
                        return Ok(Progress::Wait(STOP_POLL_US));
                    }
                    self.write_rx(io, place, |dctl| dctl & !ENABLE | SWFLSH);
                    self.enter(Stage::StopRx);
                }
                Stage::StopRx => {
                    let runs = pick(place, self.ran_rx(), |q| {
                        io.read32(regs::rxdctl(q)) & ENABLE != 0
                    });
                    self.was.stopped_rx = self.ran_rx() & !runs;
                    if runs != 0 {
                        if self.again() {
                            return Ok(Progress::Wait(STOP_POLL_US));
                        }
                        without_link(io, QuiesceError::RxQueue, runs)?;
                    }
                    self.enter(Stage::Finish);
                    return Ok(Progress::Wait(STOP_SETTLE_US));
                }
                Stage::Finish => return self.finish(io, place),
            }
        }
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.polls = match stage {
            Stage::FlushTx | Stage::FlushRx => FLUSH_POLLS,
            _ => STOP_POLLS,
        };
    }

    /// Whether there is time for another look.
    fn again(&mut self) -> bool {
        let left = self.polls.checked_sub(1);
        self.polls = left.unwrap_or(0);
        left.is_some()
    }

    /// Tx queues that ran when the stop began.
    fn ran_tx(&self) -> u32 {
        enabled(&self.was.txdctl)
    }

    /// Rx queues likewise.
    fn ran_rx(&self) -> u32 {
        enabled(&self.was.rxdctl)
    }

    fn write_tx(&self, io: &impl Regs, place: &Place<'_>, f: impl Fn(u32) -> u32) {
        let running = (0..place.queues_per_pool).zip(&self.was.txdctl);
        for (i, dctl) in running.filter(|(_, dctl)| **dctl & ENABLE != 0) {
            io.write32(regs::txdctl(place.queue(i)), f(*dctl));
        }
    }

    fn write_rx(&self, io: &impl Regs, place: &Place<'_>, f: impl Fn(u32) -> u32) {
        let running = (0..place.queues_per_pool).zip(&self.was.rxdctl);
        for (i, dctl) in running.filter(|(_, dctl)| **dctl & ENABLE != 0) {
            io.write32(regs::rxdctl(place.queue(i)), f(*dctl));
        }
    }

    fn finish(&mut self, io: &impl Regs, place: &Place<'_>) -> Result<Progress, QuiesceError> {
        let (gate_row, gate_bit) = place.gate();
        io::modify(io, regs::vfre(gate_row), gate_bit, 0);
        io::modify(io, regs::vfte(gate_row), gate_bit, 0);
        let moves = |head: u32| io.read32(head) != io.read32(head);
        if pick(place, self.ran_rx(), |q| moves(regs::rdh(q))) != 0 {
            return Err(QuiesceError::Unstable);
        }
        let mut unstable = false;
        // The last of it may have been sent before ENABLE fell, and a guest that ran may have given more.
        self.was.undrained = pick(place, self.ran_tx(), |q| {
            let head = io.read32(regs::tdh(q));
            unstable |= head != io.read32(regs::tdh(q));
            head != io.read32(regs::tdt(q))
        });
        if unstable {
            return Err(QuiesceError::Unstable);
        }
        if gone(io) {
            return Err(QuiesceError::Gone);
        }
        Ok(Progress::Stopped)
    }
}

/// Stops the VF in one call. Sleeps up to 40 ms; a VF at rest takes about 1.2 ms.
///
/// # Errors
/// As [`Stop::advance`].
pub fn quiesce(
    io: &(impl Regs + Delay),
    place: &Place<'_>,
) -> Result<Quiesced, (Quiesced, QuiesceError)> {
    let mut stop = Stop::begin(io, place)?;
    loop {
        match stop.advance(io, place) {
            Ok(Progress::Wait(us)) => io.usleep(us),
            Ok(Progress::Stopped) => return Ok(stop.was()),
            Err(why) => return Err((stop.was(), why)),
        }
    }
}
