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
use super::state::OwnRss;
use super::state::RxQueue;
use super::state::TxQueue;
use super::state::VfState;
use super::Place;
use super::Quiesced;
use crate::mbx::MBX_WORDS;
use crate::mbx_ext::MAX_QUEUES;
use crate::regs;
use crate::Regs;

fn address(io: &impl Regs, low: u32, high: u32) -> u64 {
    u64::from(io.read32(high)) << 32 | u64::from(io.read32(low))
}

/// An index into a ring of `length` bytes. Of a ring that does not run the length may have changed since it was written.
fn index(i: u32, length: u32, runs: bool) -> u32 {
    if runs || i < length / super::DESCRIPTOR_BYTES {
        i
    } else {
        0
    }
}

/// A queue; one that does not run as what its driver has written of it so far, if that is a ring.
fn rx_queue(io: &impl Regs, q: u32, rxdctl: u32, length: u32) -> RxQueue {
    let runs = rxdctl & regs::RXDCTL_ENABLE != 0;
    let rx = RxQueue {
        base: address(io, regs::rdbal(q), regs::rdbah(q)),
        length,
        head: index(io.read32(regs::rdh(q)), length, runs),
        tail: index(io.read32(regs::rdt(q)), length, runs),
        srrctl: check::srrctl_mask(io.read32(regs::srrctl(q))),
        rxdctl: rxdctl & check::RXDCTL_ALL,
    };
    if runs || check::rx_queue(&rx).is_ok() {
        rx
    } else {
        RxQueue::OFF
    }
}

/// Likewise.
fn tx_queue(io: &impl Regs, q: u32, txdctl: u32) -> TxQueue {
    let runs = txdctl & regs::TXDCTL_ENABLE != 0;
    let length = io.read32(regs::tdlen(q));
    let tx = TxQueue {
        base: address(io, regs::tdbal(q), regs::tdbah(q)),
        writeback: address(io, regs::tdwbal(q), regs::tdwbah(q)) & !0xe,
        length,
        head: index(io.read32(regs::tdh(q)), length, runs),
        tail: index(io.read32(regs::tdt(q)), length, runs),
        txdctl: txdctl & check::TXDCTL_ALL,
    };
    if runs || check::tx_queue(&tx).is_ok() {
        tx
    } else {
        TxQueue::OFF
    }
}

/// RSS of a VF that has its own. Of an entry as many bits count as it takes to name a queue of the pool (7.1.2.2: the least
/// significant of the index), so that a guest which sets more of them is not refused a move. INF: as with the shared table.
fn own_rss(io: &impl Regs, place: &Place<'_>) -> OwnRss {
    let pool = place.vf;
    let last = place.queues_per_pool.saturating_sub(1) as u8;
    let mut rss = OwnRss::OFF;
    rss.mrqc = io.read32(regs::pfvfmrqc(pool)) & check::VFMRQC_ALL;
    for (i, word) in (0..).zip(&mut rss.key) {
        *word = io.read32(regs::pfvfrssrk(i, pool));
    }
    for (i, entries) in (0..).zip(rss.table.chunks_exact_mut(4)) {
        let four = io.read32(regs::pfvfreta(i, pool)).to_le_bytes();
        for (entry, byte) in entries.iter_mut().zip(four) {
            *entry = byte & last;
        }
    }
    rss
}

/// What of a VF's state is in registers that nobody else uses, so that no lock is needed for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Rx queues of the pool.
    pub(super) rx: [RxQueue; MAX_QUEUES],
    /// Tx queues likewise.
    pub(super) tx: [TxQueue; MAX_QUEUES],
    /// Interrupt registers.
    pub(super) interrupts: Interrupts,
    /// RSS of its own.
    pub(super) rss: Option<OwnRss>,
    /// PFMBMEM
    pub(super) words: [u32; MBX_WORDS],
}

impl Own {
    /// That of a state.
    pub(super) const fn of(state: &VfState) -> Self {
        Self {
            rx: state.rx,
            tx: state.tx,
            interrupts: state.interrupts,
            rss: state.rss,
            words: state.mailbox.words,
        }
    }
}

/// What the registers of a quiesced VF hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    own: Own,
    /// Rx queues, one bit each, whose ring has a length: those that a driver of this VF has programmed.
    pub(super) programmed: u32,
    enabled: bool,
}

impl Seen {
    /// Reads queues, interrupt registers and mailbox memory.
    ///
    /// A queue that did not run is carried as well, because its driver may have been stopped while it programmed it; as
    /// [`RxQueue::OFF`] if what its registers hold is no ring, or it is one of those that make a running one refused.
    pub fn read(io: &impl Regs, place: &Place<'_>, was: &Quiesced) -> Self {
        let mut own = Own::of(&VfState::EMPTY);
        let queues = own
            .rx
            .iter_mut()
            .zip(&mut own.tx)
            .zip(was.rxdctl.iter().zip(&was.txdctl));
        let mut programmed = 0;
        for (i, ((rx, tx), (rxdctl, txdctl))) in (0..place.queues_per_pool).zip(queues) {
            let q = place.queue(i);
            let visible = (i as usize) < super::VISIBLE_PAIRS;
            let length = io.read32(regs::rdlen(q));
            if length != 0 {
                programmed |= 1 << i;
            }
            if visible || rxdctl & regs::RXDCTL_ENABLE != 0 {
                *rx = rx_queue(io, q, *rxdctl, length);
            }
            if visible || txdctl & regs::TXDCTL_ENABLE != 0 {
                *tx = tx_queue(io, q, *txdctl);
            }
            if tx.enabled() && was.undrained >> i & 1 != 0 {
                tx.txdctl |= TxQueue::INTERRUPTED;
            }
        }
        let vf = place.vf;
        let vectors = (1 << super::VECTORS) - 1;
        own.interrupts = Interrupts {
            eims: io.read32(regs::pvteims(vf)) & vectors,
            eiac: io.read32(regs::pvteiac(vf)) & vectors,
            eiam: io.read32(regs::pvteiam(vf)) & vectors,
            ivar: io.read32(regs::pvtivar(vf)) & 0x8383_8383,
            ivar_misc: io.read32(regs::pvtivar_misc(vf)) & 0x83,
            psrtype: io.read32(regs::pvfpsrtype(vf)) & check::PSRTYPE_ALL,
        };
        own.rss = place.own_rss.then(|| own_rss(io, place));
        for (i, word) in (0..).zip(&mut own.words) {
            *word = io.read32(regs::pfmbmem(vf) + 4 * i);
        }
        Self {
            own,
            programmed,
            enabled: was.vfre || was.vfte,
        }
    }

    /// Puts it into a state. Identity, policy, filters, registrations, counters and the mailbox's flags are the PF's software
    /// state and not touched.
    pub(super) fn put(&self, state: &mut VfState) {
        state.rx = self.own.rx;
        state.tx = self.own.tx;
        state.interrupts = self.own.interrupts;
        state.rss = self.own.rss;
        state.mailbox.words = self.own.words;
        state.filters.enabled = self.enabled;
    }
}
