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
    regs::{
        vfrxdctl,
        RXDCTL_ENABLE, //
    },
    Regs, //
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
        NapiSetup,
        Received,
        RxMeta,
        RxRing,
        SkbSlot,
        Verdict, //
    },
    pci::Doorbell,
};

/// How many buffers are posted by one write of the tail (`IXGBEVF_RX_BUFFER_WRITE`).
const BUFFER_WRITE: u32 = 16;

/// Bytes in front of a frame: room for what XDP programs push.
const HEADROOM: u16 = 256;
/// Bytes of a buffer. The 82599 cannot limit the length of a VF's frames (`RXDCTL.RLPML` does not work), so a buffer is as
/// long as SRRCTL says, and a page holds one.
pub(crate) const BUFFER_LEN: u32 = 3072;
/// The same with the private flag `legacy-rx` (`IXGBEVF_RXBUFFER_2048`).
pub(crate) const LEGACY_BUFFER_LEN: u32 = 2048;

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
    ring: RxRing,
    /// Start of a frame whose end has not come.
    partial: SkbSlot,
    tail: Doorbell,
    /// DMA address of the buffer posted in each descriptor, 0 where there is none: write-back destroys it in the
    /// descriptor, and a migrating host wants to know which pages the device may have written.
    shadow: Option<Words>,
    /// The device has not confirmed that the queue is enabled. The tail that was written may not
    /// count.
    unconfirmed: bool,
}

/// A descriptor for the device. The second address is the status after write-back; 0 is "not written back".
fn descriptor(dma: u64) -> AdvRxRead {
    AdvRxRead {
        pkt_addr: dma.into(),
        hdr_addr: 0.into(),
    }
}

impl RxQueue {
    pub(crate) fn new(
        dev: &Device<Adapter>,
        napi: &NapiSetup,
        index: u32,
        count: u32,
        buffer_len: u32,
        tail: Doorbell,
        migratable: bool,
    ) -> Result<Self> {
        // CAST: At most `BUFFER_LEN`.
        let layout = (HEADROOM, buffer_len as u16);
        Ok(Self {
            index,
            ring: RxRing::new(dev, napi, index, count, layout)?,
            partial: SkbSlot::new(),
            tail,
            shadow: if migratable {
                Some(Words::new(dev.parent(), count)?)
            } else {
                None
            },
            unconfirmed: false,
        })
    }

    /// Enables the queue with its head at 0; whether the device confirms. If not, which may be for
    /// want of a link, the poll looks again. The caller writes the tail in either case.
    pub(crate) fn enable(&mut self, hw: &Hw) -> bool {
        let confirmed = updown::enable_rx(hw, self);
        self.unconfirmed = !confirmed;
        confirmed
    }

    /// Writes the tail again once the device confirms that the queue is enabled: the ring may be
    /// full, so that no refill ever would. The service task sees to it that there is a poll from
    /// time to time.
    #[cold]
    fn confirm(&mut self, hw: &Hw) {
        if hw.read32(vfrxdctl(self.index)) & RXDCTL_ENABLE != 0 {
            self.unconfirmed = false;
            self.tail.ring(self.ring.next_to_use());
        }
    }

    /// The descriptors.
    pub(crate) fn desc(&self) -> &Ring {
        self.ring.desc()
    }

    /// Bytes that the device may write to a buffer.
    pub(crate) fn buffer_len(&self) -> u32 {
        self.ring.buf_len()
    }

    /// Where the device, or the host that emulates its migration, finds the shadow array.
    pub(crate) fn shadow_address(&self) -> Option<u64> {
        self.shadow.as_ref().map(Words::dma_address)
    }

    /// Posts buffers to all free descriptors (`ixgbevf_alloc_rx_buffers`). Those that cannot be had are tried again later.
    pub(crate) fn refill(&mut self, stats: &RxStats) {
        let shadow = self.shadow.as_ref();
        let (posted, ok) = self.ring.fill(|i, dma, new| {
            // Before the device can write to it. One that stayed is listed still.
            if let (Some(shadow), true) = (shadow, new) {
                shadow.write(i, dma);
            }
            descriptor(dma)
        });
        if !ok {
            stats.alloc_page_failed.inc();
        }
        if posted != 0 {
            self.tail.ring(self.ring.next_to_use());
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
        if self.unconfirmed {
            self.confirm(&dev.data().hw);
        }
        let wanted = dev.features();
        let (mut packets, mut bytes) = (0u32, 0u32);
        // Frames that are dropped cost time as well.
        let mut work = 0;
        let mut free = self.ring.unused();
        while work < budget {
            if free >= BUFFER_WRITE {
                self.refill(stats);
                free = self.ring.unused();
            }
            let i = self.ring.next_to_clean();
            let status = self.ring.status();
            // CAST: A quarter and the lower half of the word.
            let (len, flags) = (u32::from((status >> 32) as u16), status as u32);
            if len == 0 {
                break;
            }
            free = free.wrapping_add(1);
            if flags & RXD_STAT_EOP == 0 || self.partial.is_some() {
                let (delivered, n) = self.take_part(dev, napi, stats, wanted, status, xdp);
                packets = packets.wrapping_add(delivered.into());
                bytes = bytes.wrapping_add(n);
                work += flags >> 1 & 1;
                self.taken_unless_kept(i);
                continue;
            }
            work += 1;
            if flags & RXDADV_ERR_FRAME_ERR_MASK != 0 {
                stats.dropped.inc();
                self.ring.skip();
                continue;
            }
            bytes = bytes.wrapping_add(len);
            let received = match xdp.prog {
                None => {
                    let first = self.ring.first();
                    let meta = self.meta(dev, stats, wanted, status, first);
                    self.ring.receive(napi, len, meta)
                }
                Some(prog) => match self.ring.run_xdp(napi, prog, len) {
                    Verdict::Pass(passed) => {
                        let first = self.ring.desc().first(i);
                        let meta = self.meta(dev, stats, wanted, status, first);
                        self.ring.receive_passed(napi, passed, meta)
                    }
                    // The buffer stays, and what the shadow array says of it.
                    Verdict::Drop => {
                        packets = packets.wrapping_add(1);
                        continue;
                    }
                    Verdict::Tx(frame) => {
                        if let Some(queue) = &mut xdp.queue {
                            // A full ring drops, as in C.
                            drop(queue.send(frame));
                        }
                        Received::Delivered
                    }
                    Verdict::Redirect => {
                        xdp.redirected = true;
                        Received::Delivered
                    }
                },
            };
            match received {
                Received::Delivered => {
                    self.taken(i);
                    packets = packets.wrapping_add(1);
                }
                Received::Pruned => self.taken(i),
                Received::Lost => {
                    self.taken_unless_kept(i);
                    stats.alloc_buff_failed.inc();
                }
            }
        }
        Cleaned {
            packets,
            bytes,
            work,
        }
    }

    /// The buffer of descriptor `i` has gone: its pages are marked.
    #[inline]
    fn taken(&self, i: u32) {
        if let Some(shadow) = &self.shadow {
            shadow.write(i, 0);
        }
    }

    /// The same, unless the buffer has stayed for want of memory, and will be posted again.
    #[cold]
    fn taken_unless_kept(&self, i: u32) {
        if !self.ring.has_buffer(i) {
            self.taken(i);
        }
    }

    /// Takes a part of a frame that spans several buffers; whether one went up with it, and its bytes.
    fn take_part(
        &mut self,
        dev: &Device<Adapter>,
        napi: &NapiRef,
        stats: &RxStats,
        wanted: u64,
        status: u64,
        xdp: &Xdp<'_>,
    ) -> (bool, u32) {
        // CAST: A quarter and the lower half of the word.
        let (len, flags) = (u32::from((status >> 32) as u16), status as u32);
        let meta = self.meta(dev, stats, wanted, status, self.ring.first());
        let skb = match self.partial.take() {
            // With a program attached the MTU keeps frames in one buffer; a longer one is none of its.
            None if xdp.prog.is_some() => {
                self.ring.skip();
                None
            }
            None => self.ring.begin(len),
            Some(mut skb) => {
                if self.ring.append(&mut skb, len) {
                    Some(skb)
                } else {
                    skb.free(nic::net::DropReason::HDR_TRUNC);
                    None
                }
            }
        };
        let Some(skb) = skb else {
            stats.alloc_buff_failed.inc();
            return (false, 0);
        };
        if flags & RXD_STAT_EOP == 0 {
            self.partial.put(skb);
            return (false, 0);
        }
        if flags & RXDADV_ERR_FRAME_ERR_MASK != 0 {
            stats.dropped.inc();
            skb.free(nic::net::DropReason::NOT_SPECIFIED);
            return (false, 0);
        }
        let n = skb.len();
        (skb.receive(napi, &meta) == Received::Delivered, n)
    }

    /// Moves the posted buffers to the front of the ring and enables the queue with its head at 0.
    ///
    /// The queue is disabled, and what was received has been taken. Whether the hardware confirms that it is enabled; its
    /// buffers are posted in any case, as when the interface comes up, since a full ring gets no other chance.
    pub(crate) fn rearm(&mut self, hw: &Hw, stats: Option<&RxStats>) -> bool {
        // The rest of a frame that was cut by the stop will not come.
        if let Some(skb) = self.partial.take() {
            skb.free(nic::net::DropReason::HDR_TRUNC);
        }
        let shadow = self.shadow.as_ref();
        let posted = self.ring.rearm(|i, dma| {
            if let Some(shadow) = shadow {
                shadow.write(i, dma);
            }
            descriptor(dma)
        });
        let enabled = self.enable(hw);
        self.tail.ring(posted);
        if let Some(stats) = stats {
            stats.next_to_clean.set(0);
            self.refill(stats);
        }
        enabled
    }

    /// First descriptor that was not looked at.
    pub(crate) fn next_to_clean(&self) -> u32 {
        self.ring.next_to_clean()
    }

    /// What the two words of a descriptor say about the frame (`ixgbevf_process_skb_fields`).
    #[inline]
    fn meta(
        &self,
        dev: &Device<Adapter>,
        stats: &RxStats,
        wanted: u64,
        status: u64,
        first: u64,
    ) -> RxMeta {
        // CAST: The VLAN tag is the highest quarter, the status the lower half.
        let (vlan, status) = ((status >> 48) as u16, status as u32);
        let mut meta = self.ring.meta().prune_own();
        if wanted & features::RXHASH != 0 {
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
            meta = meta.vlan(vlan);
        }
        meta
    }
}
