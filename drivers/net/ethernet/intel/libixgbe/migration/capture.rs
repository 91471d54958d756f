// SPDX-License-Identifier: GPL-2.0
//! Reads a stopped VF.
//!
//! Left out, because the PF cannot see it: VTEITR (no public source maps it to the PF's EITR; a driver sets it again as
//! its traffic changes), VTIVAR(1) and up (see [`super::VISIBLE_PAIRS`]), the MSI-X table and config space (VFIO has
//! them), on-chip descriptor caches (empty after the stop) and Tx context slots (mainline and this project's drivers
//! send a context with each frame that needs one). Left out on purpose: pending causes (reading VTEICR may clear it;
//! resume raises every vector instead), DCA (the host's).

use super::check;
use super::state::Interrupts;
use super::state::RxQueue;
use super::state::TxQueue;
use super::state::VfState;
use super::Place;
use super::Quiesced;
use crate::regs;
use crate::Regs;

fn address(io: &impl Regs, low: u32, high: u32) -> u64 {
    u64::from(io.read32(high)) << 32 | u64::from(io.read32(low))
}

fn rx_queue(io: &impl Regs, q: u32, rxdctl: u32) -> RxQueue {
    RxQueue {
        base: address(io, regs::rdbal(q), regs::rdbah(q)),
        length: io.read32(regs::rdlen(q)),
        head: io.read32(regs::rdh(q)),
        tail: io.read32(regs::rdt(q)),
        srrctl: check::srrctl_mask(io.read32(regs::srrctl(q))),
        rxdctl: rxdctl & check::RXDCTL_ALL,
    }
}

fn tx_queue(io: &impl Regs, q: u32, txdctl: u32) -> TxQueue {
    TxQueue {
        base: address(io, regs::tdbal(q), regs::tdbah(q)),
        writeback: address(io, regs::tdwbal(q), regs::tdwbah(q)) & !0xe,
        length: io.read32(regs::tdlen(q)),
        head: io.read32(regs::tdh(q)),
        tail: io.read32(regs::tdt(q)),
        txdctl: txdctl & check::TXDCTL_ALL,
    }
}

/// Reads queues, interrupt registers and mailbox memory of a quiesced VF into `state`, whose
/// [`super::Identity::queues_per_pool`] is set. Identity, policy, filters, registrations, counters and the mailbox's
/// flags are the PF's software state and not touched.
///
/// A queue that did not run is carried as [`RxQueue::OFF`]: a driver programs it anew before it enables it.
pub fn capture(io: &impl Regs, place: &Place<'_>, was: &Quiesced, state: &mut VfState) {
    let queues = state
        .rx
        .iter_mut()
        .zip(&mut state.tx)
        .zip(was.rxdctl.iter().zip(&was.txdctl));
    for (i, ((rx, tx), (rxdctl, txdctl))) in (0..place.queues_per_pool).zip(queues) {
        let q = place.queue(i);
        *rx = if rxdctl & regs::RXDCTL_ENABLE != 0 {
            rx_queue(io, q, *rxdctl)
        } else {
            RxQueue::OFF
        };
        *tx = if txdctl & regs::TXDCTL_ENABLE != 0 {
            tx_queue(io, q, *txdctl)
        } else {
            TxQueue::OFF
        };
    }
    let vf = place.vf;
    let vectors = (1 << super::VECTORS) - 1;
    state.interrupts = Interrupts {
        eims: io.read32(regs::pvteims(vf)) & vectors,
        eiac: io.read32(regs::pvteiac(vf)) & vectors,
        eiam: io.read32(regs::pvteiam(vf)) & vectors,
        ivar: io.read32(regs::pvtivar(vf)) & 0x8383_8383,
        ivar_misc: io.read32(regs::pvtivar_misc(vf)) & 0x83,
        psrtype: io.read32(regs::pvfpsrtype(vf)) & check::PSRTYPE_ALL,
    };
    for (i, word) in (0..).zip(&mut state.mailbox.words) {
        *word = io.read32(regs::pfmbmem(vf) + 4 * i);
    }
    state.filters.enabled = was.vfre || was.vfte;
}
