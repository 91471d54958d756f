// SPDX-License-Identifier: GPL-2.0
//! Statistics of queues, kept while the interface is down, and of the function.

use libixgbe::{
    regs,
    Regs, //
};
use nic::net::Counter;

/// Counted by one transmit queue. `busy` and `gso` by `start_xmit`, all else by the poll.
#[derive(Default)]
pub(crate) struct TxStats {
    /// Frames sent, each segment of a GSO frame counted.
    pub(crate) packets: Counter,
    /// Bytes on the wire without FCS.
    pub(crate) bytes: Counter,
    /// Frames that the device was to segment.
    pub(crate) gso: Counter,
    /// Their segments.
    pub(crate) gso_segs: Counter,
    /// Times that a full queue was started again.
    pub(crate) restart_queue: Counter,
    /// Times that a frame met a full ring.
    pub(crate) busy: Counter,
    /// Frames dropped: no memory, no mapping, or a header that cannot be offloaded.
    pub(crate) dropped: Counter,
    /// Where the last poll stopped in the ring.
    pub(crate) next_to_clean: Counter,
}

/// Counted by one receive queue's poll.
#[derive(Default)]
pub(crate) struct RxStats {
    /// Frames received.
    pub(crate) packets: Counter,
    /// Bytes received without FCS.
    pub(crate) bytes: Counter,
    /// Checksums found wrong by the hardware.
    pub(crate) csum_err: Counter,
    /// Buffers posted.
    pub(crate) alloc_page: Counter,
    /// Pages that could not be had to refill the ring.
    pub(crate) alloc_page_failed: Counter,
    /// Socket buffers that could not be had.
    pub(crate) alloc_buff_failed: Counter,
    /// Frames dropped: errors, or parts missing.
    pub(crate) dropped: Counter,
    /// Where the last poll stopped in the ring.
    pub(crate) next_to_clean: Counter,
}

/// A counter of the hardware that wraps and is not cleared by reading (`UPDATE_VF_COUNTER_32bit`).
#[derive(Clone, Copy, Default)]
struct Wrapping {
    last: u64,
    total: u64,
}

impl Wrapping {
    /// Adds what was counted since the last look, for a counter of `bits` bits.
    fn update(&mut self, now: u64, bits: u32) {
        let mask = (1u64 << bits) - 1;
        self.total = self.total.wrapping_add(now.wrapping_sub(self.last) & mask);
        self.last = now;
    }
}

/// Counters of the function.
///
/// A reset of the VF does not clear the registers, but a migration to another host changes them:
/// [`HwStats::rebase`] takes what they show as counted already.
#[derive(Clone, Copy, Default)]
pub(crate) struct HwStats {
    gprc: Wrapping,
    gptc: Wrapping,
    gorc: Wrapping,
    gotc: Wrapping,
    mprc: Wrapping,
}

impl HwStats {
    fn read(io: &impl Regs) -> [u64; 5] {
        let wide = |lsb, msb| u64::from(io.read32(lsb)) | u64::from(io.read32(msb) & 0xF) << 32;
        [
            io.read32(regs::VFGPRC).into(),
            io.read32(regs::VFGPTC).into(),
            wide(regs::VFGORC_LSB, regs::VFGORC_MSB),
            wide(regs::VFGOTC_LSB, regs::VFGOTC_MSB),
            io.read32(regs::VFMPRC).into(),
        ]
    }

    /// Adds what the hardware counted.
    pub(crate) fn update(&mut self, io: &impl Regs) {
        let [gprc, gptc, gorc, gotc, mprc] = Self::read(io);
        self.gprc.update(gprc, 32);
        self.gptc.update(gptc, 32);
        self.gorc.update(gorc, 36);
        self.gotc.update(gotc, 36);
        self.mprc.update(mprc, 32);
    }

    /// Counts from what the registers show now.
    pub(crate) fn rebase(&mut self, io: &impl Regs) {
        let [gprc, gptc, gorc, gotc, mprc] = Self::read(io);
        self.gprc.last = gprc;
        self.gptc.last = gptc;
        self.gorc.last = gorc;
        self.gotc.last = gotc;
        self.mprc.last = mprc;
    }

    /// Multicast frames received.
    pub(crate) fn multicast(&self) -> u64 {
        self.mprc.total
    }
}
