// SPDX-License-Identifier: GPL-2.0
//! Transmit and receive: what runs per frame.

use crate::{
    ixgbe_common::Hw,
    ixgbe_xdp::{
        self,
        Xdp,
        XdpQueue, //
    },
    Adapter, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use libixgbe::{
    desc::*,
    itr::{
        self,
        Adaptive, //
    },
    regs,
    ring::{
        self,
        QueueRegs,
        TxRing,
        MAX_DATA_PER_TXD, //
    },
    rxbuf::BufLayout,
    Regs, //
};
use nic::{
    net::{
        self,
        features,
        xdp::XdpFrames,
        Counter,
        Done,
        DropReason,
        Fill,
        HashType,
        NapiIdle,
        NapiRef,
        NapiSetup,
        Next,
        Partial,
        Polled,
        Received,
        RxMeta,
        RxPoll,
        RxRing,
        SkBuff,
        TxConsumer,
        TxProducer,
        TxResult,
        Verdict,
        WriteBack, //
    },
    pci::Doorbell,
    sync::Once, //
};
use zerocopy::byteorder::little_endian::{
    U32,
    U64, //
};

/// Descriptors that a frame can take at worst, for which a stopped queue waits.
pub(crate) const DESC_NEEDED: u32 = ring::tx_descs_max(net::MAX_SKB_FRAGS);
/// Buffers posted at once (`IXGBE_RX_BUFFER_WRITE`).
const RX_BUFFER_WRITE: u32 = 16;
/// Frames that one poll frees at most (`IXGBE_DEFAULT_TX_WORK`).
const TX_WORK: u32 = 256;
/// Shortest frame that the hardware takes (`ixgbe_xmit_frame`).
const MIN_FRAME: u32 = 17;
/// Counters of a queue pair. They outlive the rings.
#[derive(Default)]
pub(crate) struct RingStats {
    /// Frames sent; segments count.
    pub(crate) tx_packets: Counter,
    /// Bytes sent.
    pub(crate) tx_bytes: Counter,
    /// Frames that the device was to segment.
    pub(crate) tx_gso: Counter,
    /// Their segments.
    pub(crate) tx_gso_segs: Counter,
    /// Times that a stopped queue went on.
    pub(crate) tx_restart: Counter,
    /// Frames that found no room.
    pub(crate) tx_busy: Counter,
    /// Frames dropped because they could not be mapped or prepared.
    pub(crate) tx_dropped: Counter,
    /// Frames received.
    pub(crate) rx_packets: Counter,
    /// Bytes received.
    pub(crate) rx_bytes: Counter,
    /// Frames dropped for want of memory, or because they were bad.
    pub(crate) rx_dropped: Counter,
    /// Frames with a wrong checksum.
    pub(crate) rx_csum_err: Counter,
    /// Buffers taken from the pool.
    pub(crate) rx_alloc: Counter,
    /// Buffers that could not be had.
    pub(crate) rx_alloc_failed: Counter,
    /// Descriptors of frames that span several.
    pub(crate) rx_non_eop: Counter,
}

/// The half of a queue that `start_xmit` fills.
pub(crate) struct TxQueue {
    producer: TxProducer,
    tail: Doorbell,
    /// `ADVTXD_CC` if the internal switch must look into the context of each frame.
    cc: bool,
    stats: Arc<RingStats>,
}

/// What a frame wants of the hardware.
#[derive(Default)]
struct Offload {
    /// Context descriptor, if anything is wanted.
    ctx: Option<AdvTxContext>,
    /// Bits of `cmd_type_len` beyond the usual.
    cmd: u32,
    /// `POPTS`.
    olinfo: u32,
    /// Bytes of headers that each segment repeats.
    hdr_len: u32,
    segs: u16,
}

/// Segmentation, checksum and VLAN tag (`ixgbe_tso`, `ixgbe_tx_csum`).
#[inline]
fn offload(skb: &mut SkBuff, cc: bool, stats: &RingStats) -> Result<Offload> {
    let mut o = Offload {
        segs: 1,
        ..Offload::default()
    };
    let vlan = skb.vlan_tag();
    let mut lens = match vlan {
        Some(tci) => {
            o.cmd |= ADVTXD_DCMD_VLE;
            u32::from(tci) << ADVTXD_VLAN_SHIFT
        }
        None => 0,
    };
    let mut tucmd = 0;
    let mut mss_l4len = 0;
    if skb.csum_partial() {
        if skb.is_gso() {
            let tso = skb.tso_prepare()?;
            let l4_len = u32::from(tso.hdr_len).wrapping_sub(tso.l4_offset.into());
            lens |= u32::from(tso.l4_offset).wrapping_sub(tso.l3_offset.into())
                | u32::from(tso.l3_offset) << ADVTXD_MACLEN_SHIFT;
            mss_l4len = u32::from(tso.mss) << ADVTXD_MSS_SHIFT | l4_len << ADVTXD_L4LEN_SHIFT;
            tucmd = if tso.udp {
                ADVTXD_TUCMD_L4T_UDP
            } else {
                ADVTXD_TUCMD_L4T_TCP
            };
            o.olinfo |= ADVTXD_POPTS_TXSM;
            if tso.ipv4 {
                tucmd |= ADVTXD_TUCMD_IPV4;
                o.olinfo |= ADVTXD_POPTS_IXSM;
            }
            o.cmd |= ADVTXD_DCMD_TSE;
            o.hdr_len = tso.hdr_len.into();
            o.segs = tso.segs;
            stats.tx_gso.inc();
            stats.tx_gso_segs.add(tso.segs.into());
            return Ok(with_context(o, cc, lens, tucmd, mss_l4len));
        }
        // Where the checksum is stored tells the protocol: 16 TCP, 6 UDP, 8 SCTP.
        let l4 = match skb.csum_offset() {
            16 => Some(ADVTXD_TUCMD_L4T_TCP),
            6 => Some(ADVTXD_TUCMD_L4T_UDP),
            8 if skb.csum_is_sctp() => Some(ADVTXD_TUCMD_L4T_SCTP),
            _ => None,
        };
        if let Some(l4) = l4 {
            let l3 = skb.network_offset();
            lens |= skb.csum_start_offset().wrapping_sub(l3) | l3 << ADVTXD_MACLEN_SHIFT;
            tucmd = l4;
            o.olinfo |= ADVTXD_POPTS_TXSM;
            return Ok(with_context(o, cc, lens, tucmd, mss_l4len));
        }
        skb.checksum_help()?;
    }
    if vlan.is_some() || cc {
        lens |= skb.network_offset() << ADVTXD_MACLEN_SHIFT;
        return Ok(with_context(o, cc, lens, tucmd, mss_l4len));
    }
    Ok(o)
}

#[inline]
fn with_context(mut o: Offload, cc: bool, lens: u32, tucmd: u32, mss_l4len: u32) -> Offload {
    o.ctx = Some(AdvTxContext {
        vlan_macip_lens: U32::new(lens),
        fceof_saidx: U32::ZERO,
        type_tucmd_mlhl: U32::new(tucmd | ADVTXD_DCMD_DEXT | ADVTXD_DTYP_CTXT),
        mss_l4len_idx: U32::new(mss_l4len),
    });
    if cc {
        o.olinfo |= ADVTXD_CC;
    }
    o
}

impl TxQueue {
    pub(crate) fn new(
        hw: &Hw,
        producer: TxProducer,
        regs: &QueueRegs,
        cc: bool,
        stats: Arc<RingStats>,
    ) -> Result<Self> {
        Ok(Self {
            producer,
            tail: hw.doorbell(regs.tdt)?,
            cc,
            stats,
        })
    }

    /// Sends a frame (`ixgbe_xmit_frame_ring`).
    #[inline]
    pub(crate) fn xmit(&mut self, skb: SkBuff) -> TxResult {
        let Some(mut skb) = skb.pad_to::<MIN_FRAME>() else {
            self.stats.tx_dropped.inc();
            return TxResult::Done;
        };
        let len = skb.len();
        let mut room = self.producer.room();
        // More than nearly all frames take.
        if room.len() < DESC_NEEDED {
            let needed = ring::tx_descs(skb.nr_frags(), len);
            if room.len() < needed {
                if !room.make(needed) {
                    self.stats.tx_busy.inc();
                    return TxResult::Busy(skb);
                }
                self.stats.tx_restart.inc();
            }
        }
        let o = match offload(&mut skb, self.cc, &self.stats) {
            Ok(o) => o,
            Err(_) => {
                self.stats.tx_dropped.inc();
                skb.free(DropReason::SKB_GSO_SEG);
                return TxResult::Done;
            }
        };
        let paylen = len.wrapping_sub(o.hdr_len);
        let repeated = u32::from(o.segs.saturating_sub(1)).wrapping_mul(o.hdr_len);
        let wire_bytes = len.wrapping_add(repeated);
        let olinfo = U32::new(o.olinfo | paylen << ADVTXD_PAYLEN_SHIFT);
        let cmd = o.cmd | ADVTXD_DTYP_DATA | ADVTXD_DCMD_DEXT | ADVTXD_DCMD_IFCS;
        let sent = room.send(
            skb,
            o.ctx,
            wire_bytes,
            o.segs,
            MAX_DATA_PER_TXD,
            move |addr, len, last| AdvTxData {
                buffer_addr: U64::new(addr),
                cmd_type_len: U32::new(
                    cmd | len
                        | if last {
                            ADVTXD_DCMD_EOP | ADVTXD_DCMD_RS
                        } else {
                            0
                        },
                ),
                olinfo_status: olinfo,
            },
        );
        let sent = match sent {
            Ok(sent) => sent,
            Err(skb) => {
                self.stats.tx_dropped.inc();
                skb.free(DropReason::NOMEM);
                return TxResult::Done;
            }
        };
        if sent.restarted {
            self.stats.tx_restart.inc();
        }
        if let Some(tail) = sent.doorbell {
            self.tail.ring(tail);
        }
        TxResult::Done
    }

    /// Sends what other devices have redirected here, until there is no room (`ixgbe_xdp_xmit`).
    pub(crate) fn xmit_xdp(&mut self, frames: &mut XdpFrames<'_>, flush: bool) {
        // The stack's frames keep the room that they count on.
        let mut room = self.producer.unused().saturating_sub(DESC_NEEDED);
        frames.send_each(|frame| {
            if room == 0 {
                return Err(frame);
            }
            room -= 1;
            self.producer
                .send_xdp(frame, None::<AdvTxContext>, ixgbe_xdp::descriptor)
        });
        if self.producer.flush() || flush {
            self.tail.ring(self.producer.ring().next_to_use());
        }
    }

    /// First descriptor to be filled, and first that is not known to be done.
    pub(crate) fn indices(&self) -> (u32, u32) {
        let ring = self.producer.ring();
        (ring.next_to_use(), ring.next_to_clean())
    }
}

/// The receive side of a queue.
pub(crate) struct RxQueue {
    ring: RxRing,
    tail: Doorbell,
    stats: Arc<RingStats>,
}

/// The second quad word of a receive descriptor that was written back (datasheet 7.1.6.2).
struct AdvWriteBack;

impl WriteBack for AdvWriteBack {
    const DONE: u64 = RXD_STAT_DD as u64;
    const LAST: u64 = RXD_STAT_EOP as u64;
    const ERRORS: u64 = RXDADV_ERR_FRAME_ERR_MASK as u64;
}

/// What a pass over a receive ring did.
struct Cleaned {
    packets: i32,
    bytes: u32,
    /// There was memory for all buffers.
    memory: bool,
}

impl RxQueue {
    pub(crate) fn new(
        dev: &net::Device<Adapter>,
        napi: &NapiSetup,
        tail: Doorbell,
        index: u32,
        count: u32,
        (layout, program): (&BufLayout, bool),
        stats: Arc<RingStats>,
    ) -> Result<Self> {
        let layout = (layout.headroom, layout.len);
        Ok(Self {
            ring: RxRing::new(dev, napi, index, count, layout, program)?,
            tail,
            stats,
        })
    }

    /// DMA address of the ring.
    pub(crate) fn dma_address(&self) -> u64 {
        self.ring.desc().dma_address()
    }

    /// Posts as many buffers as there is room for, while the queue is not polled; false if memory
    /// ran out.
    pub(crate) fn post_all(&mut self, napi: &NapiIdle) -> bool {
        let Some(mut ring) = self.ring.idle(napi) else {
            return false;
        };
        post_all(&mut ring, &self.tail, &self.stats)
    }

    /// Receives up to `budget` frames (`ixgbe_clean_rx_irq`).
    fn clean(
        &mut self,
        dev: &net::Device<Adapter>,
        napi: &NapiRef,
        budget: i32,
        xdp: &mut Xdp<'_>,
    ) -> Cleaned {
        let want = dev.features();
        let mut done = Cleaned {
            packets: 0,
            bytes: 0,
            memory: true,
        };
        let Self { ring, tail, stats } = self;
        let Some(mut ring) = ring.poll(napi) else {
            return done;
        };
        let mut free = ring.unused();
        while done.packets < budget {
            if free >= RX_BUFFER_WRITE {
                done.memory = post_all(&mut ring, tail, stats);
                free = ring.unused();
            }
            let buffer = match ring.look::<AdvWriteBack>() {
                Next::None => break,
                Next::Whole(buffer) => buffer,
                Next::Other(buffer) => {
                    if buffer.status() & AdvWriteBack::LAST == 0 {
                        let Some(n) = ring.frame_len::<AdvWriteBack>() else {
                            break;
                        };
                        free = free.wrapping_add(n);
                        done.packets += 1;
                        // The MTU keeps frames in one buffer if there is a program; a longer one is
                        // none that it could see whole.
                        let whole = xdp.prog.is_none();
                        let bytes = take_long(&mut ring, stats, n, want, whole);
                        done.bytes = done.bytes.wrapping_add(bytes);
                        continue;
                    }
                    if want & features::RXALL == 0 {
                        stats.rx_dropped.inc();
                        buffer.skip();
                        free = free.wrapping_add(1);
                        done.packets += 1;
                        continue;
                    }
                    buffer
                }
            };
            let status = buffer.status();
            let len = length(status);
            free = free.wrapping_add(1);
            done.packets += 1;
            done.bytes = done.bytes.wrapping_add(len);
            let first = buffer.first();
            let received = match xdp.prog {
                None => buffer.receive(len, meta(stats, status, first, want)),
                Some(prog) => match buffer.run_xdp(prog, len) {
                    Verdict::Pass(passed) => {
                        ring.receive_passed(passed, meta(stats, status, first, want))
                    }
                    Verdict::Tx(frame) => {
                        if let Some(queue) = &mut xdp.queue {
                            queue.send(frame);
                        }
                        continue;
                    }
                    Verdict::Redirect => {
                        xdp.redirected = true;
                        continue;
                    }
                    Verdict::Drop => continue,
                },
            };
            if received == Received::Lost {
                stats.rx_alloc_failed.inc();
                stats.rx_dropped.inc();
            }
        }
        // CAST: Not negative.
        stats.rx_packets.add(done.packets as u64);
        stats.rx_bytes.add(done.bytes.into());
        done
    }
}

/// Bytes that the device has written to a buffer, from the second quad word of its descriptor.
#[inline]
fn length(status: u64) -> u32 {
    // CAST: The third quarter of the word.
    u32::from((status >> 32) as u16)
}

/// Posts as many buffers as there is room for (`ixgbe_alloc_rx_buffers`); false if memory ran out.
/// A call for many buffers, so not worth its registers in the loop over frames.
#[inline(never)]
fn post_all(ring: &mut impl Fill, tail: &Doorbell, stats: &RingStats) -> bool {
    let (posted, ok) = ring.fill(|_, dma, _| AdvRxRead {
        pkt_addr: U64::new(dma),
        hdr_addr: U64::ZERO,
    });
    if !ok {
        stats.rx_alloc_failed.inc();
    }
    if posted != 0 {
        stats.rx_alloc.add(posted.into());
        tail.ring(ring.next_to_use());
    }
    ok
}

/// Takes a frame of `n` descriptors out of the ring, to the stack if `keep`; returns its bytes.
#[cold]
fn take_long(ring: &mut RxPoll<'_>, stats: &RingStats, n: u32, want: u64, mut keep: bool) -> u32 {
    let mut part = None;
    for k in 0..n {
        let (Next::Whole(buffer) | Next::Other(buffer)) = ring.look::<AdvWriteBack>() else {
            break;
        };
        let (status, first) = (buffer.status(), buffer.first());
        let last = k + 1 == n;
        if !last {
            stats.rx_non_eop.inc();
        } else if status & AdvWriteBack::ERRORS != 0 && want & features::RXALL == 0 {
            keep = false;
        }
        if !keep {
            buffer.skip();
            continue;
        }
        let Some(frame) = add(part.take(), buffer, length(status)) else {
            stats.rx_alloc_failed.inc();
            keep = false;
            continue;
        };
        if last {
            let bytes = frame.len();
            // What was found out about the frame is in its last descriptor; the hash is in each.
            ring.receive_partial(frame, meta(stats, status, first, want));
            return bytes;
        }
        part = Some(frame);
    }
    stats.rx_dropped.inc();
    0
}

/// Adds a buffer to the frame that it belongs to; `None` if there is no memory for a frame.
fn add(part: Option<Partial>, buffer: Done<'_>, len: u32) -> Option<Partial> {
    let Some(mut frame) = part else {
        return buffer.begin(len);
    };
    // The hardware cannot make a frame of more buffers than an skb has fragments: the longest have
    // 15.5 KiB, by the internal switch, and a buffer 2.
    buffer.append(&mut frame, len);
    Some(frame)
}

/// Checksum verdict, hash and VLAN tag from the two words of a descriptor
/// (`ixgbe_process_skb_fields`).
#[inline]
fn meta(stats: &RingStats, status: u64, first: u64, want: u64) -> RxMeta {
    // CAST: Fields of the two words, see `AdvRxWb`.
    let (info, hash) = (first as u32 & 0xFFFF, (first >> 32) as u32);
    let (flags, vlan) = (status as u32, (status >> 48) as u16);
    let mut meta = RxMeta::new();
    if want & features::RXHASH != 0 {
        let kind = match info & RXDADV_RSSTYPE_MASK {
            RXDADV_RSSTYPE_NONE => HashType::None,
            RXDADV_RSSTYPE_IPV4 | RXDADV_RSSTYPE_IPV6 | RXDADV_RSSTYPE_IPV6_EX => HashType::L3,
            _ => HashType::L4,
        };
        meta = meta.hash(hash, kind);
    }
    if want & features::RXCSUM != 0 {
        meta = meta.csum_ok(csum_ok(stats, flags, info));
    }
    if flags & RXD_STAT_VP != 0 && want & features::HW_VLAN_CTAG_RX != 0 {
        meta = meta.vlan(vlan);
    }
    meta
}

#[inline]
fn csum_ok(stats: &RingStats, status: u32, info: u32) -> bool {
    // One look for what nearly all frames are.
    if status & (RXD_STAT_L4CS | RXDADV_ERR_TCPE | RXDADV_ERR_IPE) == RXD_STAT_L4CS {
        return true;
    }
    if status & RXD_STAT_IPCS != 0 && status & RXDADV_ERR_IPE != 0 {
        stats.rx_csum_err.inc();
        return false;
    }
    if status & RXD_STAT_L4CS == 0 {
        return false;
    }
    if status & RXDADV_ERR_TCPE == 0 {
        return true;
    }
    // 82599 erratum: UDP without checksum can be marked as wrong.
    if info & RXDADV_PKTTYPE_UDP == 0 {
        stats.rx_csum_err.inc();
    }
    false
}

/// One interrupt vector: a receive and a transmit queue.
pub(crate) struct Vector {
    hw: Hw,
    index: u32,
    tx: TxConsumer,
    rx: RxQueue,
    /// With an XDP program attached.
    xdp: Option<XdpQueue>,
    /// Moderation in EITR's units.
    itr: u32,
    /// Moderation follows the traffic.
    adaptive: bool,
    tx_load: Adaptive,
    rx_load: Adaptive,
    stats: Arc<RingStats>,
}

impl Vector {
    pub(crate) fn new(
        hw: &Hw,
        index: u32,
        tx: TxConsumer,
        rx: RxQueue,
        xdp: Option<XdpQueue>,
        itr: Option<u32>,
        stats: Arc<RingStats>,
    ) -> Self {
        Self {
            hw: hw.clone(),
            index,
            tx,
            rx,
            xdp,
            itr: itr.unwrap_or(itr::ITR_20K),
            adaptive: itr.is_none(),
            tx_load: Adaptive::new(),
            rx_load: Adaptive::new(),
            stats,
        }
    }

    /// The receive queue.
    pub(crate) fn rx_mut(&mut self) -> &mut RxQueue {
        &mut self.rx
    }

    /// Transmit ring for the hardware.
    pub(crate) fn tx_setup(&self, regs: QueueRegs) -> TxRing {
        TxRing {
            regs,
            dma: self.tx.ring().dma_address(),
            count: self.tx.ring().len(),
            // A threshold above 1 with fast interrupts makes the stack believe in a hang
            // (`ixgbe_configure_tx_ring`).
            wthresh: if self.itr < itr::ITR_100K { 1 } else { 8 },
        }
    }

    /// Transmit ring for XDP.
    pub(crate) fn xdp_setup(&self, regs: QueueRegs) -> Option<TxRing> {
        Some(self.xdp.as_ref()?.setup(regs))
    }

    /// Receive ring for the hardware.
    pub(crate) fn rx_setup(
        &self,
        regs: QueueRegs,
        hw_len: u32,
        vlan_strip: bool,
        drop_en: bool,
    ) -> ring::RxRing {
        ring::RxRing {
            regs,
            dma: self.rx.dma_address(),
            count: self.rx.ring.desc().len(),
            buffer_len: hw_len,
            drop_en,
            vlan_strip,
        }
    }

    /// Sets a fixed moderation in EITR's units, or none.
    pub(crate) fn set_itr(&mut self, itr: Option<u32>) {
        self.itr = itr.unwrap_or(itr::ITR_20K);
        self.adaptive = itr.is_none();
    }

    /// Moderation in EITR's units.
    pub(crate) fn itr(&self) -> u32 {
        self.itr
    }

    /// Frees what was sent; whether nothing is left to look at. Without `napi` for netpoll.
    fn clean_tx(&mut self, napi: Option<&NapiRef>) -> bool {
        let is_done = |status| status & u64::from(ADVTXD_STAT_DD) << 32 != 0;
        let done = self.tx.clean(TX_WORK, napi, is_done);
        if done.packets != 0 {
            self.stats.tx_packets.add(done.packets.into());
            self.stats.tx_bytes.add(done.bytes.into());
            self.tx_load.count(done.packets, done.bytes);
            if done.woken {
                self.stats.tx_restart.inc();
            }
        }
        let (Some(xdp), Some(napi)) = (&mut self.xdp, napi) else {
            return done.done;
        };
        let sent_back = xdp.consumer.clean_more(TX_WORK, napi, is_done);
        self.stats.tx_packets.add(sent_back.packets.into());
        self.stats.tx_bytes.add(sent_back.bytes.into());
        done.done && sent_back.done
    }
}

/// Switches on the interrupt of a vector.
pub(crate) struct VectorIrq {
    pub(crate) hw: Hw,
    pub(crate) index: u32,
}

impl net::Unmask for VectorIrq {
    #[inline]
    fn unmask(&self) {
        let (word, bit) = (self.index >> 5, 1 << (self.index & 31));
        self.hw.write32(regs::eims_ex(word), bit);
    }
}

impl net::Poll for Vector {
    type Driver = Adapter;
    type Irq = VectorIrq;

    fn poll(
        &mut self,
        dev: &net::Device<Adapter>,
        _irq: &VectorIrq,
        napi: &NapiRef,
        budget: u32,
    ) -> Polled {
        let complete = self.clean_tx(Some(napi));
        let mut xdp = Xdp {
            prog: dev.data().xdp_prog.get(napi),
            queue: self.xdp.as_mut(),
            redirected: false,
        };
        let budget = i32::try_from(budget).unwrap_or(i32::MAX);
        let done = self.rx.clean(dev, napi, budget, &mut xdp);
        xdp.finish(napi);
        // CAST: Not negative.
        let work = done.packets as u32;
        self.rx_load.count(work, done.bytes);
        if !complete || !done.memory || done.packets >= budget {
            return Polled::Again;
        }
        if self.adaptive {
            let slow = dev.data().link_mbps.read_once() == 1000;
            let new = itr::adapt(
                &mut self.tx_load,
                &mut self.rx_load,
                self.itr,
                net::jiffies(),
                slow,
            );
            if new != self.itr {
                self.itr = new;
                itr::write_eitr(&self.hw, self.index, new);
            }
        }
        Polled::Done(work)
    }

    fn netpoll(&mut self, _dev: &net::Device<Adapter>) {
        self.clean_tx(None);
    }
}
