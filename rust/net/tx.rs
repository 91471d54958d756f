// SPDX-License-Identifier: GPL-2.0
//! Transmit rings.
//!
//! A ring is filled by `start_xmit` under the lock of its queue and emptied by a NAPI poll, at the
//! same time on another CPU. [`TxRing::new`] makes one handle for each, [`TxProducer`] and
//! [`TxConsumer`]. A descriptor and what belongs to it (the mapping, the frame) are the producer's
//! while outside `next_to_clean..next_to_use`, the consumer's inside.

use super::{
    dev_ref::DevRef,
    instance::NapiRef,
    ops::{
        Device,
        Driver, //
    },
    skb::{
        DropReason,
        SkBuff, //
    },
    xdp::XdpFrame, //
};
use crate::{
    bound::Held,
    dma::{
        Descriptor,
        Ring, //
    },
    sync::Once, //
};
use core::{
    cell::UnsafeCell,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    dma::DmaAddress,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Atomic,
        Arc, //
    },
};
use nic_bindings as raw;

/// What belongs to one descriptor. One that is not between the indices has neither a frame nor a
/// mapping.
#[derive(Clone, Copy)]
struct Slot {
    /// Frame that ends its use when this one's last descriptor is done; in the first descriptor of
    /// a frame.
    frame: Frame,
    /// Mapping, if `len` is not 0.
    addr: DmaAddress,
    len: u32,
    /// In the first descriptor of a frame: index of its last one.
    eop: u32,
    /// Bytes on the wire, of all segments.
    bytes: u32,
    segs: u16,
}

/// What is being sent.
#[derive(Clone, Copy)]
enum Frame {
    None,
    Skb(NonNull<raw::sk_buff>),
    Xdp(NonNull<raw::xdp_frame>),
}

impl Frame {
    fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Frees a frame that was sent.
    ///
    /// # Safety
    ///
    /// The ring owned the frame, and gives it up.
    #[inline]
    unsafe fn consume(self, napi_budget: i32) {
        match self {
            Self::None => {}
            // SAFETY: By the safety requirement.
            Self::Skb(skb) => unsafe { raw::napi_consume_skb(skb.as_ptr(), napi_budget) },
            // SAFETY: By the safety requirement.
            Self::Xdp(frame) => drop(unsafe { XdpFrame::from_raw(frame) }),
        }
    }
}

const EMPTY: Slot = Slot {
    frame: Frame::None,
    addr: 0,
    len: 0,
    eop: 0,
    bytes: 0,
    segs: 0,
};

/// A transmit ring: descriptors, and what belongs to each.
///
/// # Invariants
///
/// The slots `next_to_clean..next_to_use` are accessed by the consumer only, the others by the
/// producer only. All frames in the former are accounted to `queue`, if there is one, and frames go
/// out of them only with what takes them off its account.
pub struct TxRing {
    desc: Ring,
    slots: KVVec<UnsafeCell<Slot>>,
    dev: ARef<device::Device>,
    next_to_use: Atomic<u32>,
    next_to_clean: Atomic<u32>,
    queue: Option<Queue>,
    _held: Held,
}

/// The queue of the stack that a ring serves.
///
/// # Invariants
///
/// `txq` is queue `index` of `dev`, and is claimed by this.
struct Queue {
    txq: NonNull<raw::netdev_queue>,
    index: u32,
    dev: DevRef,
    /// Descriptors that any frame finds while the queue is not stopped.
    reserve: u32,
}

impl Queue {
    /// Accounts for frames that were sent. `room` descriptors are free.
    #[inline]
    fn completed(&self, cleaned: &Cleaned, room: u32) -> bool {
        let room = room >= self.reserve.saturating_mul(2);
        // SAFETY: By the type invariant. The frames were in the ring, so they are on the account.
        unsafe { raw::nic_txq_completed(self.txq.as_ptr(), cleaned.packets, cleaned.bytes, room) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // What was not sent is on the account still.
        // SAFETY: By the type invariant; the ring is gone, so nobody accounts.
        unsafe { raw::nic_txq_reset(self.txq.as_ptr()) };
        self.dev.release_tx(self.index);
    }
}

// SAFETY: The slots are shared by the rule of the type invariant; frames and mappings do not belong
// to a thread.
unsafe impl Send for TxRing {}
// SAFETY: By the type invariant each slot has one owner; C's functions for the queue may be called
// by one producer and one consumer at a time, which exist once.
unsafe impl Sync for TxRing {}

impl TxRing {
    /// Allocates a ring of `len` descriptors that serves no queue of the stack, and its two ends.
    #[expect(clippy::new_ret_no_self, reason = "a ring exists by its two ends only")]
    pub fn new(dev: &device::Device<Bound>, len: u32) -> Result<(TxProducer, TxConsumer)> {
        Self::make(dev, len, None)
    }

    /// The same for transmit queue `index` of `dev`, whose byte limit counts what is in the ring.
    /// The queue is stopped when fewer than `reserve` descriptors are free, as many as a frame
    /// takes at most, and goes on when there are twice as many.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such queue, `EBUSY` if it has a ring already.
    pub fn of_queue<D: Driver>(
        dev: &Device<D>,
        index: u32,
        len: u32,
        reserve: u32,
    ) -> Result<(TxProducer, TxConsumer)> {
        let dev_ref = dev.get_ref();
        let txq = dev_ref.claim_tx(index)?;
        // INVARIANT: Just claimed.
        let queue = Queue {
            txq,
            index,
            dev: dev_ref,
            reserve,
        };
        Self::make(dev.parent(), len, Some(queue))
    }

    fn make(
        dev: &device::Device<Bound>,
        len: u32,
        queue: Option<Queue>,
    ) -> Result<(TxProducer, TxConsumer)> {
        let n = usize::try_from(len)?;
        let mut slots = KVVec::with_capacity(n, GFP_KERNEL)?;
        for _ in 0..n {
            slots.push(UnsafeCell::new(EMPTY), GFP_KERNEL)?;
        }
        let ring = Arc::new(
            Self {
                desc: Ring::new(dev, len)?,
                slots,
                dev: ARef::from(&**dev),
                next_to_use: Atomic::new(0),
                next_to_clean: Atomic::new(0),
                queue,
                _held: Held::new(dev)?,
            },
            GFP_KERNEL,
        )?;
        Ok((
            TxProducer {
                ring: ring.clone(),
                cursor: 0,
                unsent: 0,
            },
            TxConsumer { ring },
        ))
    }

    /// Where the device finds the ring.
    pub fn dma_address(&self) -> DmaAddress {
        self.desc.dma_address()
    }

    /// Number of descriptors.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a ring is never empty")]
    pub fn len(&self) -> u32 {
        self.desc.len()
    }

    #[inline]
    fn next(&self, i: u32) -> u32 {
        let i = i.wrapping_add(1);
        if i >= self.len() {
            0
        } else {
            i
        }
    }

    /// # Safety
    ///
    /// `i` is 0 or was returned by [`TxRing::next`].
    #[inline]
    unsafe fn slot(&self, i: u32) -> *mut Slot {
        // SAFETY: `i` is less than the length, which is that of `slots` as well. `UnsafeCell` is
        // transparent.
        unsafe { self.slots.as_ptr().add(i as usize) }
            .cast_mut()
            .cast()
    }

    fn dev_raw(&self) -> *mut bindings::device {
        // CAST: `Device` is a transparent wrapper.
        core::ptr::from_ref::<device::Device>(&self.dev)
            .cast_mut()
            .cast()
    }

    /// # Safety
    ///
    /// Mapped for this device and direction, and the device is done with it.
    #[inline]
    unsafe fn unmap(&self, addr: DmaAddress, len: u32) {
        let dir = bindings::dma_data_direction::DMA_TO_DEVICE;
        // SAFETY: By the safety requirement.
        unsafe { raw::dma_unmap_page_attrs(self.dev_raw(), addr, len as usize, dir, 0) };
    }

    /// Whether mappings made so far must be undone one by one, or undoing them would do nothing.
    #[inline]
    fn needs_unmap(&self) -> bool {
        // SAFETY: `dev` is valid.
        unsafe { raw::nic_dma_need_unmap(self.dev_raw()) }
    }

    /// Unmaps, if that is to be done (`unmap`), and frees the frame that starts at `i`, which was
    /// sent; returns where the next one starts. `napi_budget` is that of the poll, 0 elsewhere.
    ///
    /// # Safety
    ///
    /// A frame starts at `i`, its slots are the caller's, and the device is done with it. `unmap`
    /// is what [`TxRing::needs_unmap`] said after the frame had been mapped.
    #[inline]
    unsafe fn free_frame(&self, mut i: u32, napi_budget: i32, unmap: bool) -> u32 {
        // SAFETY: By the safety requirement.
        let (frame, eop) = unsafe {
            let head = &mut *self.slot(i);
            (core::mem::replace(&mut head.frame, Frame::None), head.eop)
        };
        loop {
            // SAFETY: By the safety requirement.
            let slot = unsafe { &mut *self.slot(i) };
            if slot.len != 0 {
                if unmap {
                    // SAFETY: Mapped by `TxProducer::send`.
                    unsafe { self.unmap(slot.addr, slot.len) };
                }
                slot.len = 0;
            }
            let last = i == eop;
            i = self.next(i);
            if last {
                break;
            }
        }
        // SAFETY: The ring owned the frame.
        unsafe { frame.consume(napi_budget) };
        i
    }

    /// Takes the mappings of slots `first..=last` back.
    ///
    /// # Safety
    ///
    /// The slots are the caller's, and the device does not use them.
    #[cold]
    unsafe fn unmap_slots(&self, first: u32, last: u32) {
        let mut i = first;
        loop {
            // SAFETY: By the safety requirement.
            let slot = unsafe { &mut *self.slot(i) };
            if slot.len != 0 {
                // SAFETY: Mapped by `TxProducer::send`.
                unsafe { self.unmap(slot.addr, slot.len) };
                slot.len = 0;
            }
            if i == last {
                return;
            }
            i = self.next(i);
        }
    }

    /// First descriptor that the producer will fill next.
    #[inline]
    pub fn next_to_use(&self) -> u32 {
        self.next_to_use.read_acquire()
    }

    /// First descriptor that is not known to be done.
    #[inline]
    pub fn next_to_clean(&self) -> u32 {
        self.next_to_clean.read_acquire()
    }

    /// Descriptors that can be filled from `ntu` on; one is always left, so that a full ring is not
    /// an empty one.
    #[inline]
    fn unused_from(&self, ntu: u32) -> u32 {
        let ntc = self.next_to_clean();
        let n = if ntc > ntu { 0 } else { self.len() };
        n.wrapping_add(ntc).wrapping_sub(ntu).wrapping_sub(1)
    }

    /// Descriptors that are free.
    #[inline]
    fn unused(&self) -> u32 {
        self.unused_from(self.next_to_use())
    }
}

impl Drop for TxRing {
    fn drop(&mut self) {
        let (mut i, end) = (self.next_to_clean(), self.next_to_use());
        while i != end {
            // SAFETY: Both ends are gone.
            let slot = unsafe { core::mem::replace(&mut *self.slot(i), EMPTY) };
            if slot.len != 0 {
                // SAFETY: Mapped by `TxProducer::send`; the device has been stopped by the driver,
                // as for all memory that it frees.
                unsafe { self.unmap(slot.addr, slot.len) };
            }
            match slot.frame {
                Frame::Skb(skb) => {
                    // SAFETY: The ring owns the frame.
                    unsafe { SkBuff::from_raw(skb) }.free(DropReason::DEV_READY)
                }
                // SAFETY: The ring owns the frame.
                frame => unsafe { frame.consume(0) },
            }
            i = self.next(i);
        }
    }
}

/// The end of a ring that `start_xmit` fills.
///
/// # Invariants
///
/// `cursor` is an index of the ring. Frames in `next_to_use..cursor`, of `unsent` bytes, are not
/// the consumer's yet; they are published by `publish`.
pub struct TxProducer {
    ring: Arc<TxRing>,
    cursor: u32,
    unsent: u32,
}

/// A frame was put into a ring.
#[must_use = "the device is to be told"]
pub struct Sent {
    /// The doorbell is to be rung now, since no further frame follows at once.
    pub doorbell: bool,
    /// The queue was stopped, and went on since there is room after all.
    pub restarted: bool,
}

impl TxProducer {
    /// The ring.
    #[inline]
    pub fn ring(&self) -> &TxRing {
        &self.ring
    }

    /// Descriptors that can be filled.
    #[inline]
    pub fn unused(&self) -> u32 {
        self.ring.unused_from(self.cursor)
    }

    /// Stops the queue; if there are `needed` descriptors now goes on and returns true
    /// (`netif_txq_maybe_stop`). The poll that frees descriptors lets the queue go on.
    #[cold]
    #[inline(never)]
    pub fn make_room(&mut self, needed: u32) -> bool {
        let Some(queue) = &self.ring.queue else {
            return self.unused() >= needed;
        };
        // SAFETY: By the invariant of `Queue`.
        unsafe { raw::nic_txq_stop(queue.txq.as_ptr()) };
        if self.unused() < needed {
            return false;
        }
        // SAFETY: By the invariant of `Queue`.
        unsafe { raw::nic_txq_start(queue.txq.as_ptr()) };
        true
    }

    /// Makes all frames up to the cursor the consumer's. Returns whether the doorbell is to be rung
    /// now.
    #[inline]
    fn publish(&mut self) -> bool {
        let bytes = core::mem::take(&mut self.unsent);
        // On the account before the consumer can take it off.
        let doorbell = match &self.ring.queue {
            // SAFETY: By the invariant of `Queue`; there is one producer.
            Some(queue) => unsafe { raw::nic_txq_sent(queue.txq.as_ptr(), bytes) },
            None => true,
        };
        // Everything before is visible to the consumer before the slots are its.
        self.ring.next_to_use.write_release(self.cursor);
        doorbell
    }

    /// Ends a batch that the driver has not ended.
    fn settle(&mut self) {
        if self.cursor != self.ring.next_to_use() {
            self.publish();
        }
    }

    /// Puts a frame into the ring: `ctx`, if there is one, then data descriptors made by `make`
    /// from address, length and whether it is the last. A piece longer than `max` bytes is split.
    /// If the longest frame has no room after that the queue is stopped.
    ///
    /// `wire_bytes` and `segs` are what the frame counts for when it is done. The caller rings the
    /// doorbell with [`TxRing::next_to_use`] afterwards, if it is told so.
    ///
    /// # Errors
    ///
    /// Returns the frame if it cannot be mapped, or if the ring may not have room for it; nothing
    /// is in the ring then. A driver stops its queue before that happens.
    #[inline]
    pub fn send<C: Descriptor, D: Descriptor>(
        &mut self,
        skb: SkBuff,
        ctx: Option<C>,
        wire_bytes: u32,
        segs: u16,
        max: u32,
        mut make: impl FnMut(DmaAddress, u32, bool) -> D,
    ) -> core::result::Result<Sent, SkBuff> {
        let ring = &*self.ring;
        let room = self.unused();
        let (nr_frags, mut len) = (skb.nr_frags(), skb.headlen());
        // What it takes at most: a context, the linear part and each fragment, and one more for
        // each `max` bytes of all.
        match skb.len().checked_div(max) {
            Some(split)
                if u32::from(ctx.is_some())
                    .saturating_add(1)
                    .saturating_add(nr_frags)
                    .saturating_add(split)
                    <= room => {}
            _ => return Err(skb),
        }
        // SAFETY: A valid device and frame.
        let mut addr = unsafe { raw::nic_tx_map_head(ring.dev_raw(), skb.raw_ptr()) };
        if addr == DmaAddress::MAX {
            return Err(skb);
        }
        let mut i = self.cursor;
        let first = i;
        let mut used = 1u32;
        if let Some(ctx) = ctx {
            // SAFETY: The cursor is in the ring.
            unsafe { ring.desc.write_unchecked(i, ctx) };
            i = ring.next(i);
            used = 2;
        }
        let mut frag = 0;
        let last = loop {
            // SAFETY: The slot is the producer's, since there is room for all of the frame.
            unsafe {
                let slot = &mut *ring.slot(i);
                slot.addr = addr;
                slot.len = len;
            }
            while len > max {
                // SAFETY: `next` stays in the ring.
                unsafe { ring.desc.write_unchecked(i, make(addr, max, false)) };
                addr = addr.wrapping_add(DmaAddress::from(max));
                len -= max;
                i = ring.next(i);
                used = used.wrapping_add(1);
            }
            // SAFETY: `next` stays in the ring.
            unsafe {
                ring.desc
                    .write_unchecked(i, make(addr, len, frag == nr_frags))
            };
            if frag == nr_frags {
                break i;
            }
            let mut seg = core::mem::MaybeUninit::<raw::nic_seg>::uninit();
            // SAFETY: A valid device and frame, which has this fragment.
            let err = unsafe {
                raw::nic_tx_map_frag(ring.dev_raw(), skb.raw_ptr(), frag, seg.as_mut_ptr())
            };
            if err != 0 {
                // SAFETY: All up to `i` are the producer's, and the device has not been told of
                // them.
                unsafe { ring.unmap_slots(first, i) };
                return Err(skb);
            }
            // SAFETY: C has filled it in.
            let seg = unsafe { seg.assume_init_ref() };
            (addr, len) = (seg.addr, seg.len);
            frag = frag.wrapping_add(1);
            i = ring.next(i);
            used = used.wrapping_add(1);
        };
        // SAFETY: The slot is the producer's, as all of the frame's.
        let head = unsafe { &mut *ring.slot(first) };
        head.frame = Frame::Skb(skb.into_raw());
        head.eop = last;
        head.bytes = wire_bytes;
        head.segs = segs;
        // Stopped in time for the longest frame, so that no frame meets a full ring; and before the
        // stack is asked about the doorbell, which a stopped queue wants rung.
        let reserve = ring.queue.as_ref().map_or(0, |q| q.reserve);
        self.cursor = ring.next(last);
        let restarted = room < used.wrapping_add(reserve) && self.make_room(reserve);
        self.unsent = self.unsent.wrapping_add(wire_bytes);
        let doorbell = self.publish();
        Ok(Sent {
            doorbell,
            restarted,
        })
    }

    /// Puts a frame without socket buffer into the ring: `ctx`, if there is one, then one data
    /// descriptor made by `make` from address and length. The consumer gets it by
    /// [`TxProducer::flush`].
    ///
    /// # Errors
    ///
    /// Returns the frame if there is no room for it, or if it cannot be mapped.
    pub fn send_xdp<C: Descriptor, D: Descriptor>(
        &mut self,
        frame: XdpFrame,
        ctx: Option<C>,
        make: impl FnOnce(DmaAddress, u32) -> D,
    ) -> core::result::Result<(), XdpFrame> {
        let ring = &*self.ring;
        if self.unused() < 1 + u32::from(ctx.is_some()) {
            return Err(frame);
        }
        let (dev, len) = (ring.dev_raw(), frame.len());
        let dir = bindings::dma_data_direction::DMA_TO_DEVICE;
        // SAFETY: The frame has `len` bytes in the linear mapping.
        let addr = unsafe { raw::nic_dma_map_single(dev, frame.data(), len as usize, dir) };
        // SAFETY: `dev` is valid.
        if unsafe { raw::nic_dma_mapping_error(dev, addr) } != 0 {
            return Err(frame);
        }
        let first = self.cursor;
        let mut i = first;
        if let Some(ctx) = ctx {
            // SAFETY: The cursor is in the ring.
            unsafe { ring.desc.write_unchecked(i, ctx) };
            i = ring.next(i);
        }
        // SAFETY: The cursor is in the ring, and `next` stays in it.
        unsafe { ring.desc.write_unchecked(i, make(addr, len)) };
        // SAFETY: The slots are the producer's, since there is room.
        unsafe {
            let slot = &mut *ring.slot(i);
            slot.addr = addr;
            slot.len = len;
            let head = &mut *ring.slot(first);
            head.frame = Frame::Xdp(frame.into_raw());
            head.eop = i;
            head.bytes = len;
            head.segs = 1;
        }
        self.cursor = ring.next(i);
        self.unsent = self.unsent.wrapping_add(len);
        Ok(())
    }

    /// Ends a batch of [`TxProducer::send_xdp`]. Returns whether the doorbell is to be rung now,
    /// with [`TxRing::next_to_use`].
    #[inline]
    pub fn flush(&mut self) -> bool {
        self.publish()
    }
}

impl Drop for TxProducer {
    fn drop(&mut self) {
        // What is left is freed with the ring.
        self.settle();
    }
}

/// What was taken out of a ring and freed.
#[derive(Clone, Copy, Default)]
#[must_use = "what was sent is counted"]
pub struct Cleaned {
    /// Frames, each segment of a GSO frame counted.
    pub packets: u32,
    /// Bytes on the wire.
    pub bytes: u32,
    /// Whether nothing more was found, rather than the budget spent.
    pub done: bool,
    /// Whether the queue was stopped and goes on.
    pub woken: bool,
}

/// The end of a ring that a NAPI poll empties.
pub struct TxConsumer {
    ring: Arc<TxRing>,
}

impl TxConsumer {
    /// The ring.
    #[inline]
    pub fn ring(&self) -> &TxRing {
        &self.ring
    }

    /// [`TxConsumer::clean`], once more in the same poll: not worth being inlined twice.
    #[cold]
    pub fn clean_more(
        &mut self,
        budget: u32,
        napi: &NapiRef,
        is_done: impl Fn(u64) -> bool,
    ) -> Cleaned {
        self.clean(budget, Some(napi), is_done)
    }

    /// Frees up to `budget` frames that the device is done with. `is_done` looks at the second quad
    /// word of a frame's last descriptor. `napi` is the poll in which this happens; without one, as
    /// for [`Poll::netpoll`](super::Poll::netpoll), XDP frames are left alone, and what is behind
    /// them.
    #[inline(always)]
    pub fn clean(
        &mut self,
        budget: u32,
        napi: Option<&NapiRef>,
        is_done: impl Fn(u64) -> bool,
    ) -> Cleaned {
        // Of a poll or not is all that C wants to know.
        let napi_budget = i32::from(napi.is_some());
        let ring = &*self.ring;
        let end = ring.next_to_use();
        let mut i = ring.next_to_clean.read_once();
        let mut r = Cleaned::default();
        if i == end {
            r.done = true;
            return r;
        }
        // All up to `end` have been mapped.
        let unmap = ring.needs_unmap();
        let mut left = budget;
        while left > 0 {
            if i == end {
                r.done = true;
                break;
            }
            // SAFETY: `i` is in `next_to_clean..next_to_use`, the consumer's.
            let head = unsafe { &*ring.slot(i) };
            if napi.is_none() && matches!(head.frame, Frame::Xdp(_)) {
                r.done = true;
                break;
            }
            // SAFETY: An index of the ring.
            if !is_done(unsafe { ring.desc.status_unchecked(head.eop) }) {
                r.done = true;
                break;
            }
            r.bytes = r.bytes.wrapping_add(head.bytes);
            r.packets = r.packets.wrapping_add(u32::from(head.segs));
            // SAFETY: The device writes the last descriptor of a frame after it has read all of it,
            // and the producer has put the whole frame into the consumer's range at once.
            i = unsafe { ring.free_frame(i, napi_budget, unmap) };
            left -= 1;
        }
        // What was read from the slots was read before they are the producer's.
        ring.next_to_clean.write_release(i);
        if r.packets != 0 {
            if let Some(queue) = &ring.queue {
                r.woken = queue.completed(&r, ring.unused());
            }
        }
        r
    }

    /// Lets a ring start again at index 0 after the device lost its place: frames that were sent
    /// are freed and returned, as by [`TxConsumer::clean`], the others move to the front, to be
    /// sent again. `head` is the first descriptor that the device had not taken; a frame of which
    /// it had taken a part only is sent again.
    ///
    /// The caller has stopped the device's queue, sets its head to 0, and writes
    /// [`TxRing::next_to_use`] to its tail afterwards. Both ends of the ring must be given, which
    /// is what keeps others away.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `producer` belongs to another ring, or `head` is not in the ring. Then nothing
    /// has changed, and the device must not start on the ring as it is.
    pub fn rearm(&mut self, producer: &mut TxProducer, head: u32) -> Result<Cleaned> {
        let ring = &*self.ring;
        let len = ring.len();
        if !core::ptr::eq(ring, &*producer.ring) || head >= len {
            return Err(EINVAL);
        }
        // Descriptors between two indices.
        let distance = |from: u32, to: u32| {
            if to >= from {
                to - from
            } else {
                to + len - from
            }
        };
        producer.settle();
        let end = ring.next_to_use();
        let mut start = ring.next_to_clean();
        let done = distance(start, head);
        if done > distance(start, end) {
            return Err(EINVAL);
        }
        let mut left = done;
        let mut r = Cleaned {
            done: true,
            ..Cleaned::default()
        };
        while start != end {
            // SAFETY: Both ends are borrowed exclusively, so all slots are this function's.
            let slot = unsafe { *ring.slot(start) };
            let frame = distance(start, slot.eop) + 1;
            if frame > left {
                break;
            }
            left -= frame;
            r.bytes = r.bytes.wrapping_add(slot.bytes);
            r.packets = r.packets.wrapping_add(u32::from(slot.segs));
            // SAFETY: A frame that was sent starts here, and the slot is this function's. 0 is "not
            // from a NAPI poll".
            start = unsafe { ring.free_frame(start, 0, true) };
        }

        ring.desc.rotate_left(start);
        // SAFETY: Both ends are borrowed exclusively; `slots` has `len` elements, and `UnsafeCell`
        // is transparent.
        let slots = unsafe {
            core::slice::from_raw_parts_mut(
                ring.slots.as_ptr().cast_mut().cast::<Slot>(),
                len as usize,
            )
        };
        if (start as usize) < slots.len() {
            slots.rotate_left(start as usize);
        }
        let pending = distance(start, end);
        for slot in slots.iter_mut().take(pending as usize) {
            if slot.frame.is_some() {
                slot.eop = distance(start, slot.eop);
            }
        }
        producer.cursor = pending;
        ring.next_to_clean.write_release(0);
        ring.next_to_use.write_release(pending);
        if let Some(queue) = &ring.queue {
            // Not woken: the caller has stopped the queue.
            queue.completed(&r, 0);
        }
        Ok(r)
    }
}
