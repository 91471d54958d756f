// SPDX-License-Identifier: GPL-2.0
//! Reception (`ixgbevf_clean_rx_irq`, 82599 datasheet 7.1).

use crate::{
    adapter::Adapter,
    hw::Hw,
    stats::RxStats,
    updown,
    xdp::Xdp, //
};
use kernel::prelude::*;
use libixgbe::{
    desc::*,
    ring::Indices, //
};
use nic::{
    dma::{
        Ring,
        Words, //
    },
    net::{
        features,
        Device,
        HashType,
        NapiRef,
        PagePool,
        Passed,
        RxBuf,
        RxMeta,
        SkbSlot,
        Verdict, //
    },
    pci::Doorbell,
};

/// How many buffers are posted by one write of the tail (`IXGBEVF_RX_BUFFER_WRITE`).
const BUFFER_WRITE: u32 = 16;

/// Bytes in front of a frame: room for what XDP programs push.
const HEADROOM: u32 = 256;
/// Bytes of a buffer. The 82599 cannot limit the length of a VF's frames (`RXDCTL.RLPML` does not work), so a buffer is as
/// long as SRRCTL says, and a page holds one.
pub(crate) const BUFFER_LEN: u32 = 3072;
/// The same with the private flag `legacy-rx` (`IXGBEVF_RXBUFFER_2048`).
pub(crate) const LEGACY_BUFFER_LEN: u32 = 2048;
/// Memory behind each buffer.
const TRUESIZE: u32 = kernel::page::PAGE_SIZE as u32;

/// What a pass over a ring did.
pub(crate) struct Cleaned {
    /// Frames that went up.
    pub(crate) packets: u32,
    /// Their bytes.
    pub(crate) bytes: u32,
    /// Frames that were looked at, against the budget.
    pub(crate) work: u32,
}

/// A receive queue.
pub(crate) struct RxQueue {
    pub(crate) index: u32,
    pub(crate) ring: Ring,
    bufs: KVVec<Option<RxBuf>>,
    pool: PagePool,
    idx: Indices,
    /// Bytes that the device may write to a buffer.
    pub(crate) buffer_len: u32,
    /// Start of a frame whose end has not come.
    partial: SkbSlot,
    tail: Doorbell,
    /// DMA address of the buffer posted in each descriptor, 0 where there is none: write-back destroys it in the
    /// descriptor, and a migrating host wants to know which pages the device may have written.
    shadow: Option<Words>,
}

impl RxQueue {
    pub(crate) fn new(
        dev: &Device<Adapter>,
        napi: &NapiRef,
        index: u32,
        count: u32,
        buffer_len: u32,
        tail: Doorbell,
        migratable: bool,
    ) -> Result<Self> {
        let mut bufs = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        for _ in 0..count {
            bufs.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            index,
            ring: Ring::new(dev.parent(), count)?,
            bufs,
            pool: PagePool::new(dev, napi, index, count, TRUESIZE, HEADROOM, buffer_len)?,
            idx: Indices::new(count),
            buffer_len,
            partial: SkbSlot::new(),
            tail,
            shadow: if migratable {
                Some(Words::new(dev.parent(), count)?)
            } else {
                None
            },
        })
    }

    /// Where the device, or the host that emulates its migration, finds the shadow array.
    pub(crate) fn shadow_address(&self) -> Option<u64> {
        self.shadow.as_ref().map(Words::dma_address)
    }

    /// Posts buffers to all free descriptors (`ixgbevf_alloc_rx_buffers`). Those that cannot be had are tried again later.
    pub(crate) fn refill(&mut self, stats: &RxStats) {
        let before = self.idx.next_to_use;
        for _ in 0..self.idx.unused() {
            let Some(buf) = self.pool.alloc() else {
                stats.alloc_page_failed.inc();
                break;
            };
            let i = self.idx.take_use();
            // Before the device can write to it.
            if let Some(shadow) = &self.shadow {
                shadow.write(i, buf.dma_address());
            }
            // The second address is the status after write-back; 0 is "not written back".
            self.ring.write(
                i,
                AdvRxRead {
                    pkt_addr: buf.dma_address().into(),
                    hdr_addr: 0.into(),
                },
            );
            if let Some(slot) = self.bufs.get_mut(i as usize) {
                *slot = Some(buf);
            }
        }
        let now = self.idx.next_to_use;
        if now != before {
            // The poll stops here: it must not take the old write-back for a new one.
            self.ring.clear_status(now);
            self.tail.ring(now);
            let posted = if now > before {
                now - before
            } else {
                now + self.idx.count() - before
            };
            stats.alloc_page.add(posted.into());
        }
    }

    /// Takes up to `budget` frames.
    #[inline]
    pub(crate) fn clean(
        &mut self,
        dev: &Device<Adapter>,
        napi: &NapiRef,
        stats: &RxStats,
        budget: u32,
        xdp: &mut Xdp<'_>,
    ) -> Cleaned {
        let wanted = dev.features();
        let (mut packets, mut bytes) = (0, 0u32);
        // Frames that are dropped cost time as well.
        let mut work = 0;
        while work < budget {
            if self.idx.unused() >= BUFFER_WRITE {
                self.refill(stats);
            }
            let i = self.idx.next_to_clean;
            let status = self.ring.status(i);
            let len = (status >> 32) as u16;
            if len == 0 {
                break;
            }
            let Some(buf) = self.bufs.get_mut(i as usize).and_then(Option::take) else {
                break;
            };
            self.idx.take_clean();

            let len32 = u32::from(len);
            // CAST: The status is the lower half.
            let status_error = status as u32;
            let skb = match self.partial.take() {
                None => match xdp.prog {
                    None => self.pool.build_skb(buf, len32),
                    // With a program attached the MTU keeps frames in one buffer; a longer one is none of its.
                    Some(_) if status_error & RXD_STAT_EOP == 0 => None,
                    Some(prog) => {
                        let verdict = self.pool.run_xdp(dev, prog, buf, len32);
                        match self.obey(i, xdp, verdict) {
                            Some(passed) => self.pool.build_passed(passed),
                            None => {
                                packets += 1;
                                bytes = bytes.wrapping_add(len32);
                                work += 1;
                                continue;
                            }
                        }
                    }
                },
                Some(mut skb) => {
                    if self.pool.add_frag(&mut skb, buf, len32) {
                        Some(skb)
                    } else {
                        skb.free(nic::net::DropReason::HDR_TRUNC);
                        None
                    }
                }
            };
            // Its pages are marked, or need not be.
            if let Some(shadow) = &self.shadow {
                shadow.write(i, 0);
            }
            let Some(skb) = skb else {
                stats.alloc_buff_failed.inc();
                continue;
            };
            if status_error & RXD_STAT_EOP == 0 {
                self.partial.put(skb);
                continue;
            }
            if status_error & RXDADV_ERR_FRAME_ERR_MASK != 0 {
                work += 1;
                stats.dropped.inc();
                skb.free(nic::net::DropReason::NOT_SPECIFIED);
                continue;
            }

            work += 1;
            // CAST: The VLAN tag is the highest quarter.
            let meta = self.meta(dev, stats, wanted, i, status_error, (status >> 48) as u16);
            bytes = bytes.wrapping_add(skb.len());
            if skb.receive(napi, dev, &meta) {
                packets += 1;
            }
        }
        Cleaned {
            packets,
            bytes,
            work,
        }
    }

    /// Moves the posted buffers to the front of the ring and enables the queue with its head at 0.
    ///
    /// The queue is disabled, and what was received has been taken.
    pub(crate) fn rearm(&mut self, hw: &Hw, stats: Option<&RxStats>) {
        let (count, start) = (self.idx.count(), self.idx.next_to_clean);
        let posted = count - 1 - self.idx.unused();
        // The rest of a frame that was cut by the stop will not come.
        if let Some(skb) = self.partial.take() {
            skb.free(nic::net::DropReason::HDR_TRUNC);
        }
        if (start as usize) < self.bufs.len() {
            self.bufs.rotate_left(start as usize);
        }
        self.idx.reset();
        for (i, buf) in (0..count).zip(self.bufs.iter()) {
            let addr = buf.as_ref().map_or(0, RxBuf::dma_address);
            if let Some(shadow) = &self.shadow {
                shadow.write(i, addr);
            }
            self.ring.write(
                i,
                AdvRxRead {
                    pkt_addr: addr.into(),
                    hdr_addr: 0.into(),
                },
            );
        }
        self.idx.next_to_use = posted;
        if updown::enable_rx(hw, self) {
            self.tail.ring(posted);
        }
        if let Some(stats) = stats {
            stats.next_to_clean.set(0);
            self.refill(stats);
        }
    }

    /// First descriptor that was not looked at.
    pub(crate) fn next_to_clean(&self) -> u32 {
        self.idx.next_to_clean
    }

    /// Does what an XDP program wants done with the frame of descriptor `i`; returns it if it goes up.
    fn obey(&mut self, i: u32, xdp: &mut Xdp<'_>, verdict: Verdict) -> Option<Passed> {
        match verdict {
            Verdict::Pass(passed) => return Some(passed),
            Verdict::Tx(frame) => {
                if let Some(queue) = &mut xdp.queue {
                    // A full ring drops, as in C.
                    drop(queue.send(frame));
                }
            }
            Verdict::Redirect => xdp.redirected = true,
            Verdict::Drop => {}
        }
        if let Some(shadow) = &self.shadow {
            shadow.write(i, 0);
        }
        None
    }

    /// What the descriptor says about the frame (`ixgbevf_process_skb_fields`).
    #[inline]
    fn meta(
        &self,
        dev: &Device<Adapter>,
        stats: &RxStats,
        wanted: u64,
        i: u32,
        status: u32,
        vlan: u16,
    ) -> RxMeta {
        // CAST: Queues are numbered below 8.
        let mut meta = RxMeta::new(self.index as u16).prune_own();
        if wanted & features::RXHASH != 0 {
            let first = self.ring.first(i);
            // CAST: The type is in the low bits, the hash is the upper half.
            let (rss_type, hash) = (first as u32 & RXDADV_RSSTYPE_MASK, (first >> 32) as u32);
            meta = match rss_type {
                RXDADV_RSSTYPE_NONE => meta,
                RXDADV_RSSTYPE_IPV4_TCP
                | RXDADV_RSSTYPE_IPV6_TCP
                | RXDADV_RSSTYPE_IPV4_UDP
                | RXDADV_RSSTYPE_IPV6_UDP => meta.hash(hash, HashType::L4),
                _ => meta.hash(hash, HashType::L3),
            };
        }
        if wanted & features::RXCSUM != 0 {
            let ip_bad =
                status & (RXD_STAT_IPCS | RXDADV_ERR_IPE) == RXD_STAT_IPCS | RXDADV_ERR_IPE;
            if ip_bad || status & RXD_STAT_L4CS != 0 && status & RXDADV_ERR_TCPE != 0 {
                stats.csum_err.inc();
            } else {
                meta = meta.csum_ok(status & RXD_STAT_L4CS != 0);
            }
        }
        if status & RXD_STAT_VP != 0 && dev.data().vlans.contains(vlan & RXD_VLAN_ID_MASK as u16) {
            meta = meta.vlan(Some(vlan));
        }
        meta
    }
}
