// SPDX-License-Identifier: GPL-2.0
//! Reception (`ixgbevf_clean_rx_irq`, 82599 datasheet 7.1).

use crate::{
    hw::Hw,
    stats::RxStats,
    vlans::Vlans,
    xdp::Xdp, //
};
use kernel::prelude::*;
use libixgbe::{
    desc::*,
    regs::{
        vfrxdctl,
        RXDCTL_ENABLE, //
    },
    ring::{
        QueueRegs,
        RxRing as RxSetup, //
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
        Done,
        Driver,
        DropReason,
        Fill,
        HashType,
        NapiIdle,
        NapiRef,
        NapiSetup,
        Next,
        Partial,
        Received,
        RxMeta,
        RxPoll,
        RxRing,
        Verdict,
        WriteBack, //
    },
    pci::Doorbell,
};

/// How many buffers are posted by one write of the tail (`IXGBEVF_RX_BUFFER_WRITE`).
const BUFFER_WRITE: u32 = 16;

/// Bytes in front of a frame: room for what XDP programs push.
const HEADROOM: u16 = 256;
/// Bytes of a buffer. The 82599 cannot limit the length of a VF's frames (`RXDCTL.RLPML` does not
/// work), so a buffer is as long as SRRCTL says, and a page holds one.
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
    partial: Option<Partial>,
    tail: Doorbell,
    /// DMA address of the buffer posted in each descriptor, 0 where there is none: write-back
    /// destroys it in the descriptor, and a migrating host wants to know which pages the device may
    /// have written.
    shadow: Option<Words>,
    /// The device has not confirmed that the queue is enabled. The tail that was written may not
    /// count.
    unconfirmed: bool,
}

/// A descriptor for the device. The second address is the status after write-back; 0 is "not
/// written back".
fn descriptor(dma: u64) -> AdvRxRead {
    AdvRxRead {
        pkt_addr: dma.into(),
        hdr_addr: 0.into(),
    }
}

/// The second quad word of a receive descriptor that was written back (datasheet 7.1.6.2).
struct AdvWriteBack;

impl WriteBack for AdvWriteBack {
    const DONE: u64 = RXD_STAT_DD as u64;
    const LAST: u64 = RXD_STAT_EOP as u64;
    const ERRORS: u64 = RXDADV_ERR_FRAME_ERR_MASK as u64;
}

/// Posts buffers to all free descriptors (`ixgbevf_alloc_rx_buffers`). Those that cannot be had are
/// tried again later. A call for many buffers, so not worth its registers in the loop over frames.
#[inline(never)]
fn refill(ring: &mut impl Fill, shadow: Option<&Words>, tail: &Doorbell, stats: &RxStats) {
    let (posted, ok) = ring.fill(|i, dma, new| {
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
        tail.ring(ring.next_to_use());
        stats.alloc_page.add(posted.into());
    }
}

/// The buffer of descriptor `i` has gone: its pages are marked.
#[inline]
fn taken(shadow: Option<&Words>, i: u32) {
    if let Some(shadow) = shadow {
        shadow.write(i, 0);
    }
}

/// The same, unless the buffer has stayed for want of memory, and will be posted again.
#[cold]
fn taken_unless_kept(ring: &RxRing, shadow: Option<&Words>, i: u32) {
    if !ring.has_buffer(i) {
        taken(shadow, i);
    }
}

/// Takes a part of a frame that spans several buffers; whether one went up with it, and its bytes.
#[cold]
fn take_part(
    ring: &mut RxPoll<'_>,
    partial: &mut Option<Partial>,
    stats: &RxStats,
    (vlans, wanted): (&Vlans, u64),
    program: bool,
) -> (bool, u32) {
    let (Next::Whole(buffer) | Next::Other(buffer)) = ring.look::<AdvWriteBack>() else {
        return (false, 0);
    };
    let (status, first) = (buffer.status(), buffer.first());
    // CAST: The third quarter of the word.
    let len = u32::from((status >> 32) as u16);
    let Some(frame) = gather(partial, buffer, stats, len, program) else {
        return (false, 0);
    };
    let n = frame.len();
    let meta = meta(vlans, stats, wanted, status, first);
    (ring.receive_partial(frame, meta) == Received::Delivered, n)
}

/// Adds a part to the frame of several buffers that it belongs to; returns the frame if that was
/// its last. With an XDP program attached the MTU keeps frames in one buffer; a longer one is none
/// of its.
fn gather(
    partial: &mut Option<Partial>,
    buffer: Done<'_>,
    stats: &RxStats,
    len: u32,
    program: bool,
) -> Option<Partial> {
    let status = buffer.status();
    let frame = match partial.take() {
        None if program => {
            buffer.skip();
            None
        }
        None => buffer.begin(len),
        Some(mut frame) => {
            if buffer.append(&mut frame, len) {
                Some(frame)
            } else {
                frame.free(DropReason::HDR_TRUNC);
                None
            }
        }
    };
    let Some(frame) = frame else {
        stats.alloc_buff_failed.inc();
        return None;
    };
    if status & AdvWriteBack::LAST == 0 {
        *partial = Some(frame);
        return None;
    }
    if status & AdvWriteBack::ERRORS != 0 {
        stats.dropped.inc();
        frame.free(DropReason::NOT_SPECIFIED);
        return None;
    }
    Some(frame)
}

/// Sets up and enables a receive queue with its head at 0; whether the hardware confirms.
fn enable_rx(hw: &Hw, queue: &RxQueue) -> bool {
    let setup = RxSetup {
        regs: QueueRegs::vf(queue.index),
        dma: queue.desc().dma_address(),
        count: queue.desc().len(),
        buffer_len: queue.buffer_len(),
        drop_en: true,
        vlan_strip: true,
    };
    setup.enable(hw).is_ok()
}

impl RxQueue {
    pub(crate) fn new<D: Driver>(
        dev: &Device<D>,
        napi: &NapiSetup,
        index: u32,
        count: u32,
        buffer_len: u32,
        tail: Doorbell,
        (migratable, program): (bool, bool),
    ) -> Result<Self> {
        // CAST: At most `BUFFER_LEN`.
        let layout = (HEADROOM, buffer_len as u16);
        Ok(Self {
            index,
            ring: RxRing::new(dev, napi, index, count, layout, program)?,
            partial: None,
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
        let confirmed = enable_rx(hw, self);
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

    /// Posts buffers to all free descriptors, while the queue is not polled.
    pub(crate) fn refill(&mut self, napi: &NapiIdle, stats: &RxStats) {
        if let Some(mut ring) = self.ring.idle(napi) {
            refill(&mut ring, self.shadow.as_ref(), &self.tail, stats);
        }
    }

    /// Takes up to `budget` frames, with the features `wanted`.
    #[inline]
    pub(crate) fn clean(
        &mut self,
        (hw, vlans, wanted): (&Hw, &Vlans, u64),
        napi: &NapiRef,
        stats: &RxStats,
        budget: u32,
        xdp: &mut Xdp<'_>,
    ) -> Cleaned {
        if self.unconfirmed {
            self.confirm(hw);
        }
        let mut done = Cleaned {
            packets: 0,
            bytes: 0,
            work: 0,
        };
        let Self {
            ring,
            partial,
            tail,
            shadow,
            ..
        } = self;
        let shadow = shadow.as_ref();
        let Some(mut ring) = ring.poll(napi) else {
            return done;
        };
        let mut free = ring.unused();
        while done.work < budget {
            if free >= BUFFER_WRITE {
                refill(&mut ring, shadow, tail, stats);
                free = ring.unused();
            }
            let i = ring.next_to_clean();
            let (buffer, whole) = match ring.look::<AdvWriteBack>() {
                Next::None => break,
                Next::Whole(buffer) => (buffer, true),
                Next::Other(buffer) => (buffer, false),
            };
            let status = buffer.status();
            // CAST: The third quarter of the word.
            let len = u32::from((status >> 32) as u16);
            free = free.wrapping_add(1);
            if !whole || partial.is_some() {
                let last = status & AdvWriteBack::LAST != 0;
                // Frames that are dropped cost time as well.
                done.work += u32::from(last);
                if last && partial.is_none() {
                    stats.dropped.inc();
                    buffer.skip();
                    continue;
                }
                let program = xdp.prog.is_some();
                let (delivered, n) = take_part(&mut ring, partial, stats, (vlans, wanted), program);
                done.packets = done.packets.wrapping_add(delivered.into());
                done.bytes = done.bytes.wrapping_add(n);
                taken_unless_kept(&ring, shadow, i);
                continue;
            }
            done.work += 1;
            done.bytes = done.bytes.wrapping_add(len);
            let received = match xdp.prog {
                None => {
                    let first = buffer.first();
                    buffer.receive(len, meta(vlans, stats, wanted, status, first))
                }
                Some(prog) => match buffer.run_xdp(prog, len) {
                    Verdict::Pass(passed) => {
                        let first = ring.desc().first(i);
                        ring.receive_passed(passed, meta(vlans, stats, wanted, status, first))
                    }
                    // The buffer stays, and what the shadow array says of it.
                    Verdict::Drop => {
                        done.packets = done.packets.wrapping_add(1);
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
                    taken(shadow, i);
                    done.packets = done.packets.wrapping_add(1);
                }
                Received::Pruned => taken(shadow, i),
                Received::Lost => {
                    taken_unless_kept(&ring, shadow, i);
                    stats.alloc_buff_failed.inc();
                }
            }
        }
        done
    }

    /// Moves the posted buffers to the front of the ring and enables the queue with its head at 0.
    ///
    /// The queue is disabled, and what was received has been taken. Whether the hardware confirms
    /// that it is enabled; its buffers are posted in any case, as when the interface comes up,
    /// since a full ring gets no other chance.
    pub(crate) fn rearm(&mut self, hw: &Hw, napi: &NapiIdle, stats: Option<&RxStats>) -> bool {
        // The rest of a frame that was cut by the stop will not come.
        if let Some(frame) = self.partial.take() {
            frame.free(DropReason::HDR_TRUNC);
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
            self.refill(napi, stats);
        }
        enabled
    }

    /// First descriptor that was not looked at.
    pub(crate) fn next_to_clean(&self) -> u32 {
        self.ring.next_to_clean()
    }
}

/// What the two words of a descriptor say about the frame (`ixgbevf_process_skb_fields`).
#[inline]
fn meta(vlans: &Vlans, stats: &RxStats, wanted: u64, status: u64, first: u64) -> RxMeta {
    // CAST: The VLAN tag is the highest quarter, the status the lower half.
    let (vlan, status) = ((status >> 48) as u16, status as u32);
    let mut meta = RxMeta::new().prune_own();
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
        let ip_bad = status & (RXD_STAT_IPCS | RXDADV_ERR_IPE) == RXD_STAT_IPCS | RXDADV_ERR_IPE;
        if ip_bad || status & RXD_STAT_L4CS != 0 && status & RXDADV_ERR_TCPE != 0 {
            stats.csum_err.inc();
        } else {
            meta = meta.csum_ok(status & RXD_STAT_L4CS != 0);
        }
    }
    if status & RXD_STAT_VP != 0 && vlans.contains(vlan & RXD_VLAN_ID_MASK as u16) {
        meta = meta.vlan(vlan);
    }
    meta
}
