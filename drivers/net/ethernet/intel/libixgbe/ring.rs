// SPDX-License-Identifier: GPL-2.0
//! Ring arithmetic, and what a queue's registers want (82599 datasheet 4.6.7, 4.6.8, 7.1.9,
//! 7.2.3.4).

use crate::{
    desc::{
        DESC_SIZE,
        REQ_DESCRIPTOR_MULTIPLE, //
    },
    io::{
        modify,
        poll, //
    },
    regs::*,
    Delay,
    Regs, //
};

/// Fewest descriptors in a ring (`IXGBE_MIN_TXD`).
pub const MIN_DESCS: u32 = 64;
/// Most descriptors in a ring of the PF (`IXGBE_MAX_TXD_82599`).
pub const MAX_DESCS: u32 = 8192;
/// Most descriptors in a ring of a VF (`IXGBEVF_MAX_TXD`).
pub const MAX_VF_DESCS: u32 = 4096;
/// Descriptors in a ring by default.
pub const DEFAULT_DESCS: u32 = 512;
/// Most bytes that one transmit descriptor of the driver covers (`IXGBE_MAX_DATA_PER_TXD`).
pub const MAX_DATA_PER_TXD: u32 = 1 << 14;

/// Ring length that the driver uses when `wanted` descriptors of at most `max` are asked for
/// (`ixgbe_set_ringparam`).
pub const fn clamp_descs(wanted: u32, max: u32) -> u32 {
    let n = if wanted < MIN_DESCS {
        MIN_DESCS
    } else if wanted > max {
        max
    } else {
        wanted
    };
    n.next_multiple_of(REQ_DESCRIPTOR_MULTIPLE)
}

/// Transmit descriptors that `bytes` of one buffer take.
pub const fn txd_use_count(bytes: u32) -> u32 {
    bytes.div_ceil(MAX_DATA_PER_TXD)
}

/// Transmit descriptors that a frame of `len` bytes with `nr_frags` fragments takes at most: a
/// context, the linear part and each fragment, and one more for each [`MAX_DATA_PER_TXD`] bytes,
/// wherever they lie. A fragment can be longer than a page.
#[inline]
pub const fn tx_descs(nr_frags: u32, len: u32) -> u32 {
    nr_frags
        .saturating_add(2)
        .saturating_add(len / MAX_DATA_PER_TXD)
}

/// The same for the longest frame that the stack gives to a driver that set no limit
/// (`TSO_LEGACY_MAX_SIZE`, 64 KiB): what a queue that is not stopped has room for.
pub const fn tx_descs_max(max_frags: u32) -> u32 {
    tx_descs(max_frags, 1 << 16)
}

/// Software's two indices into a ring: `next_to_use` is where it writes next, `next_to_clean` where
/// it looks next for what the hardware did. One descriptor stays unused, since equal indices mean
/// that the ring is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indices {
    count: u32,
    /// Next descriptor to give to the hardware.
    pub next_to_use: u32,
    /// Next descriptor to take back.
    pub next_to_clean: u32,
}

impl Indices {
    /// An empty ring of `count` descriptors.
    pub const fn new(count: u32) -> Self {
        Self {
            count,
            next_to_use: 0,
            next_to_clean: 0,
        }
    }

    /// Descriptors in the ring.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The index after `i`.
    #[inline]
    pub const fn after(&self, i: u32) -> u32 {
        let next = i.wrapping_add(1);
        if next >= self.count {
            0
        } else {
            next
        }
    }

    /// Descriptors that can be given to the hardware now (`ixgbe_desc_unused`).
    #[inline]
    pub const fn unused(&self) -> u32 {
        let used = self.next_to_use.wrapping_sub(self.next_to_clean);
        // Negative means that use has wrapped and clean has not.
        let used = if self.next_to_clean > self.next_to_use {
            used.wrapping_add(self.count)
        } else {
            used
        };
        self.count.wrapping_sub(used).wrapping_sub(1)
    }

    /// Moves `next_to_use` on by one and returns where it was.
    #[inline]
    pub fn take_use(&mut self) -> u32 {
        let i = self.next_to_use;
        self.next_to_use = self.after(i);
        i
    }

    /// Moves `next_to_clean` on by one and returns where it was.
    #[inline]
    pub fn take_clean(&mut self) -> u32 {
        let i = self.next_to_clean;
        self.next_to_clean = self.after(i);
        i
    }

    /// Empties the ring.
    pub fn reset(&mut self) {
        self.next_to_use = 0;
        self.next_to_clean = 0;
    }
}

/// Where the registers of one queue pair lie: the PF's and the VF's view have the same offsets in a
/// block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRegs {
    rx: u32,
    tx: u32,
    /// Receive head and tail lie at these addresses.
    pub rdt: u32,
    /// Transmit tail.
    pub tdt: u32,
    /// Split receive control.
    pub srrctl: u32,
    /// Receive queue control.
    pub rxdctl: u32,
    /// Transmit queue control.
    pub txdctl: u32,
}

impl QueueRegs {
    /// Queue `q` of 128, as the PF sees it.
    pub const fn pf(q: u32) -> Self {
        Self {
            rx: rdbal(q),
            tx: tdbal(q),
            rdt: rdt(q),
            tdt: tdt(q),
            srrctl: srrctl(q),
            rxdctl: rxdctl(q),
            txdctl: txdctl(q),
        }
    }

    /// Queue `q` of 8, as the VF sees it.
    pub const fn vf(q: u32) -> Self {
        Self {
            rx: vfrdbal(q),
            tx: vftdbal(q),
            rdt: vfrdt(q),
            tdt: vftdt(q),
            srrctl: vfsrrctl(q),
            rxdctl: vfrxdctl(q),
            txdctl: vftxdctl(q),
        }
    }

    const fn rx_at(&self, offset: u32) -> u32 {
        self.rx.wrapping_add(offset)
    }

    const fn tx_at(&self, offset: u32) -> u32 {
        self.tx.wrapping_add(offset)
    }

    /// Receive head.
    pub const fn rdh(&self) -> u32 {
        self.rx_at(0x10)
    }

    /// Transmit head.
    pub const fn tdh(&self) -> u32 {
        self.tx_at(0x10)
    }
}

/// A transmit ring to set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxRing {
    /// Registers.
    pub regs: QueueRegs,
    /// DMA address of the ring, 128-byte aligned.
    pub dma: u64,
    /// Descriptors.
    pub count: u32,
    /// Descriptors written back at once: 8 as the C driver, or 1 where each must be seen at once.
    pub wthresh: u32,
}

/// A receive ring to set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxRing {
    /// Registers.
    pub regs: QueueRegs,
    /// DMA address of the ring, 128-byte aligned.
    pub dma: u64,
    /// Descriptors.
    pub count: u32,
    /// Bytes of a packet buffer, a multiple of 1024 up to 16384.
    pub buffer_len: u32,
    /// Drop a frame that finds no descriptor, rather than hold up every queue (`SRRCTL.DROP_EN`).
    pub drop_en: bool,
    /// Strip the VLAN tag.
    pub vlan_strip: bool,
}

/// Whether a frame of the PF that finds no descriptor is dropped, rather than hold up every queue
/// (`ixgbe_set_rx_drop_en`): with VFs, whose frames it would hold up too; and with several queues
/// if the partner is not asked to pause.
pub const fn drops(pools: bool, queues: u32, pause_tx: bool) -> bool {
    pools || queues > 1 && !pause_tx
}

/// Sets that for `count` queues from `first` on, also while they run.
pub fn set_drop_en(io: &impl Regs, first: u32, count: u32, on: bool) {
    for q in first..first.saturating_add(count) {
        let bit = if on { SRRCTL_DROP_EN } else { 0 };
        modify(io, srrctl(q), SRRCTL_DROP_EN, bit);
    }
}

/// A queue did not reach the state that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueTimeout;

const fn low(addr: u64) -> u32 {
    addr as u32
}

const fn high(addr: u64) -> u32 {
    (addr >> 32) as u32
}

impl TxRing {
    /// Sets the queue up with its head at 0 and enables it (`ixgbe_configure_tx_ring`).
    ///
    /// # Errors
    /// [`QueueTimeout`] if the hardware does not confirm; the C driver warns and goes on.
    pub fn enable(&self, io: &(impl Regs + Delay)) -> Result<(), QueueTimeout> {
        let r = &self.regs;
        // Disabled, so that nothing is fetched in between.
        io.write32(r.txdctl, TXDCTL_SWFLSH);
        io.read32(r.txdctl);
        io.write32(r.tx_at(0x00), low(self.dma));
        io.write32(r.tx_at(0x04), high(self.dma));
        io.write32(r.tx_at(0x08), self.count.wrapping_mul(DESC_SIZE));
        // No head write-back: descriptors are written back.
        io.write32(r.tx_at(0x3C), 0);
        io.write32(r.tx_at(0x38), 0);
        io.write32(
            r.tx_at(0x0C),
            DCA_TXCTRL_DESC_RRO_EN | DCA_TXCTRL_DATA_RRO_EN,
        );
        io.write32(r.tdh(), 0);
        io.write32(r.tdt, 0);
        // WTHRESH + PTHRESH must not exceed the 40 descriptors on chip; these are the C driver's.
        io.write32(
            r.txdctl,
            TXDCTL_ENABLE | self.wthresh << TXDCTL_WTHRESH_SHIFT | 1 << TXDCTL_HTHRESH_SHIFT | 32,
        );
        // TIMEOUT: 10 ms, as `ixgbe_configure_tx_ring`.
        wait(io, r.txdctl, TXDCTL_ENABLE, true, 1000, 10)
    }
}

impl RxRing {
    /// Sets the queue up with head and tail at 0 and enables it (`ixgbe_configure_rx_ring`).
    ///
    /// The caller then posts buffers and writes the tail, in this order (datasheet 4.6.7.1).
    ///
    /// # Errors
    /// [`QueueTimeout`] if the hardware does not confirm, as with the link down on some parts.
    pub fn enable(&self, io: &(impl Regs + Delay)) -> Result<(), QueueTimeout> {
        let r = &self.regs;
        // A queue that does not stop is set up all the same, as in the C driver.
        let _ = rx_disable(io, r);
        io.write32(r.rx_at(0x00), low(self.dma));
        io.write32(r.rx_at(0x04), high(self.dma));
        io.write32(r.rx_at(0x08), self.count.wrapping_mul(DESC_SIZE));
        io.write32(r.rx_at(0x0C), DCA_RXCTRL_DESC_RRO_EN);
        io.write32(r.rdh(), 0);
        io.write32(r.rdt, 0);
        let drop_en = if self.drop_en { SRRCTL_DROP_EN } else { 0 };
        io.write32(
            r.srrctl,
            drop_en
                | HEADER_BYTES << SRRCTL_BSIZEHDRSIZE_SHIFT
                | self.buffer_len >> SRRCTL_BSIZEPKT_SHIFT
                | SRRCTL_DESCTYPE_ADV_ONEBUF,
        );
        let strip = if self.vlan_strip { RXDCTL_VME } else { 0 };
        // Also the limit for frames that the driver of a VF before this one may have set: a reset
        // of the VF leaves it, and it works from the X540 on.
        let limit = RXDCTL_RLPML_EN | RXDCTL_RLPMLMASK;
        let keep = io.read32(r.rxdctl) & !(RXDCTL_ENABLE | RXDCTL_VME | limit);
        io.write32(r.rxdctl, keep | strip | RXDCTL_ENABLE);
        // TIMEOUT: 10 ms, as `ixgbe_rx_desc_queue_enable`.
        wait(io, r.rxdctl, RXDCTL_ENABLE, true, 1000, 10)
    }
}

/// Header buffer size; must be set although headers are not split (`IXGBE_RX_HDR_SIZE`).
const HEADER_BYTES: u32 = 256;

fn wait(
    io: &(impl Regs + Delay),
    reg: u32,
    bit: u32,
    set: bool,
    interval_us: u32,
    tries: u32,
) -> Result<(), QueueTimeout> {
    poll(io, reg, interval_us, tries, |v| (v & bit != 0) == set)
        .map(drop)
        .map_err(|_| QueueTimeout)
}

/// Asks a receive queue to stop and waits until it has (datasheet 4.6.7.1.2).
///
/// The caller waits another 100 us before it frees buffers: accesses of the ring are over by then.
///
/// # Errors
/// [`QueueTimeout`]: the hardware may still write; only a reset helps.
pub fn rx_disable(io: &(impl Regs + Delay), regs: &QueueRegs) -> Result<(), QueueTimeout> {
    let val = io.read32(regs.rxdctl);
    io.write32(regs.rxdctl, val & !RXDCTL_ENABLE);
    // TIMEOUT: "up to 100 us", waited ten times over.
    wait(io, regs.rxdctl, RXDCTL_ENABLE, false, 10, 100)
}

/// Whether a transmit queue has descriptors that the device has not fetched.
pub fn tx_pending(io: &impl Regs, regs: &QueueRegs) -> bool {
    io.read32(regs.tdh()) != io.read32(regs.tdt)
}

/// Asks a transmit queue to stop, with what is done written back, and waits until it has (datasheet
/// 4.6.8.2).
///
/// # Errors
/// [`QueueTimeout`]: the hardware may still read; only a reset helps.
pub fn tx_disable(io: &(impl Regs + Delay), regs: &QueueRegs) -> Result<(), QueueTimeout> {
    io.write32(regs.txdctl, TXDCTL_SWFLSH);
    // TIMEOUT: as long as the fetch of what is in the descriptor cache; 10 ms is ample at 10 Gb/s.
    wait(io, regs.txdctl, TXDCTL_ENABLE, false, 100, 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(clamp_descs(0, 4096), 64);
        assert_eq!(clamp_descs(65, 4096), 72);
        assert_eq!(clamp_descs(4095, 4096), 4096);
        assert_eq!(clamp_descs(u32::MAX, 4096), 4096);
        assert_eq!(txd_use_count(1), 1);
        assert_eq!(txd_use_count(16384), 1);
        assert_eq!(txd_use_count(16385), 2);
    }

    /// A ring walked for several turns never says more or less than what was put in and taken out.
    #[test]
    fn indices() {
        let mut r = Indices::new(72);
        let mut inside = 0;
        for step in 0..1000u32 {
            assert_eq!(r.unused(), 71 - inside);
            let put = step % 5 != 0 && r.unused() > 0;
            if put {
                r.take_use();
                inside += 1;
            }
            if (step % 3 == 0 || !put) && inside > 0 {
                r.take_clean();
                inside -= 1;
            }
            assert!(r.next_to_use < 72 && r.next_to_clean < 72);
        }
        r.reset();
        assert_eq!(r.unused(), 71);
    }

    #[test]
    fn both_views() {
        assert_eq!(QueueRegs::vf(1).rdh(), vfrdh(1));
        assert_eq!(QueueRegs::vf(1).tdh(), vftdh(1));
        assert_eq!(QueueRegs::pf(100).rdh(), rdh(100));
        assert_eq!(QueueRegs::pf(100).tdh(), tdh(100));
    }
}
