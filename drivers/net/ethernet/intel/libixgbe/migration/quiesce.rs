// SPDX-License-Identifier: GPL-2.0
//! Stops a VF from outside, whatever its guest does, and leaves its memory alone from then on.
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
    /// Whether every Tx queue had sent all that its guest gave it; the rest is sent by the destination.
    pub drained: bool,
    /// Rx queues, one bit each, that have stopped. Others run on: nobody may write their heads.
    pub(super) stopped_rx: u32,
    /// Tx queues likewise.
    pub(super) stopped_tx: u32,
    pub(super) rxdctl: [u32; MAX_QUEUES],
    pub(super) txdctl: [u32; MAX_QUEUES],
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

fn drain(io: &(impl Regs + Delay), place: &Place<'_>, txdctl: &[u32; MAX_QUEUES]) -> bool {
    let mut polls = DRAIN_POLLS;
    for (i, dctl) in (0..place.queues_per_pool).zip(txdctl) {
        if dctl & regs::TXDCTL_ENABLE == 0 {
            continue;
        }
        let q = place.queue(i);
        while io.read32(regs::tdh(q)) != io.read32(regs::tdt(q)) {
            if polls == 0 {
                return false;
            }
            polls -= 1;
            io.usleep(DRAIN_POLL_US);
        }
    }
    true
}

fn stopped(io: &(impl Regs + Delay), reg: u32, enable: u32) -> bool {
    for _ in 0..STOP_POLLS {
        if io.read32(reg) & enable == 0 {
            return true;
        }
        io.usleep(STOP_POLL_US);
    }
    io.read32(reg) & enable == 0
}

/// Stops the VF. Sleeps up to 40 ms; a VF at rest takes about 1.2 ms.
///
/// # Errors
/// See [`QuiesceError`]. What was changed is undone by [`super::resume()`] with the returned value of an earlier look,
/// or by a reset.
pub fn quiesce(
    io: &(impl Regs + Delay),
    place: &Place<'_>,
) -> Result<Quiesced, (Quiesced, QuiesceError)> {
    let (gate_row, gate_bit) = place.gate();
    let mut was = Quiesced {
        vmolr: io.read32(regs::vmolr(place.vf)),
        vfre: io.read32(regs::vfre(gate_row)) & gate_bit != 0,
        vfte: io.read32(regs::vfte(gate_row)) & gate_bit != 0,
        drained: false,
        stopped_rx: 0,
        stopped_tx: 0,
        rxdctl: [0; MAX_QUEUES],
        txdctl: [0; MAX_QUEUES],
    };
    for (i, (rx, tx)) in (0..place.queues_per_pool).zip(was.rxdctl.iter_mut().zip(&mut was.txdctl))
    {
        *rx = io.read32(regs::rxdctl(place.queue(i)));
        *tx = io.read32(regs::txdctl(place.queue(i)));
    }
    if gone(io) {
        return Err((was, QuiesceError::Gone));
    }

    let running = |dctl: &[u32; MAX_QUEUES], enable: u32| dctl.map(|d| d & enable != 0);
    let rx = running(&was.rxdctl, regs::RXDCTL_ENABLE);
    let tx = running(&was.txdctl, regs::TXDCTL_ENABLE);
    let queues = 0..place.queues_per_pool;

    was.drained = drain(io, place, &was.txdctl);
    for (i, _) in queues.clone().zip(tx).filter(|(_, runs)| *runs) {
        io::modify(io, regs::txdctl(place.queue(i)), regs::TXDCTL_ENABLE, 0);
    }
    for (i, _) in queues.clone().zip(tx).filter(|(_, runs)| *runs) {
        if !stopped(io, regs::txdctl(place.queue(i)), regs::TXDCTL_ENABLE) {
            return Err((was, QuiesceError::TxQueue(i)));
        }
        was.stopped_tx |= 1 << i;
    }

    steering_off(io, place, was.vmolr);
    io.usleep(STEERING_SETTLE_US);
    for (i, _) in queues.clone().zip(rx).filter(|(_, runs)| *runs) {
        io::modify(io, regs::rxdctl(place.queue(i)), regs::RXDCTL_ENABLE, 0);
    }
    for (i, _) in queues.clone().zip(rx).filter(|(_, runs)| *runs) {
        if !stopped(io, regs::rxdctl(place.queue(i)), regs::RXDCTL_ENABLE) {
            return Err((was, QuiesceError::RxQueue(i)));
        }
        was.stopped_rx |= 1 << i;
    }
    io.usleep(STOP_SETTLE_US);
    io::modify(io, regs::vfre(gate_row), gate_bit, 0);
    io::modify(io, regs::vfte(gate_row), gate_bit, 0);

    for (i, (rx_ran, tx_ran)) in queues.zip(rx.into_iter().zip(tx)) {
        let q = place.queue(i);
        if rx_ran && io.read32(regs::rdh(q)) != io.read32(regs::rdh(q)) {
            return Err((was, QuiesceError::Unstable));
        }
        if tx_ran && io.read32(regs::tdh(q)) != io.read32(regs::tdh(q)) {
            return Err((was, QuiesceError::Unstable));
        }
    }
    if gone(io) {
        return Err((was, QuiesceError::Gone));
    }
    Ok(was)
}
