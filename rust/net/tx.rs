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
    xdp::{
        SentBack,
        XdpFrame, //
    }, //
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
    ffi::c_void,
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

/// What belongs to one descriptor of a frame that is in the ring. Where there is none it says what
/// was left behind.
#[derive(Clone, Copy)]
struct Slot {
    /// Frame that ends its use when its last descriptor is done; in the first descriptor of a frame.
    frame: Frame,
    /// Mapping, if `len` is not 0. That of the linear part is in the first descriptor of a frame,
    /// whether that is a context or not.
    addr: DmaAddress,
    len: u32,
    /// In the first descriptor of a frame: index of its last one.
    eop: u32,
    /// Bytes on the wire, of all segments.
    bytes: u32,
    segs: u16,
}

/// What is being sent.
///
/// # Invariants
///
/// The address of a `struct sk_buff`, or that of a `struct xdp_frame` and [`Frame::XDP`] more.
#[derive(Clone, Copy)]
struct Frame(*mut c_void);

impl Frame {
    /// Set in the address of a `struct xdp_frame`. One word for both: a slot has 32 bytes so.
    const XDP: usize = 1;

    #[inline]
    fn skb(skb: NonNull<raw::sk_buff>) -> Self {
        const { assert!(align_of::<raw::sk_buff>() > Self::XDP) };
        Self(skb.as_ptr().cast())
    }

    #[inline]
    fn xdp(frame: NonNull<raw::xdp_frame>) -> Self {
        const { assert!(align_of::<raw::xdp_frame>() > Self::XDP) };
        Self(frame.as_ptr().cast::<c_void>().wrapping_byte_add(Self::XDP))
    }

    #[inline]
    fn is_xdp(self) -> bool {
        self.0.addr() & Self::XDP != 0
    }

    /// The frame without socket buffer, if it is one.
    ///
    /// # Safety
    ///
    /// The ring owned the frame. If it is one without socket buffer the ring gives it up.
    #[inline]
    unsafe fn to_xdp(self) -> Option<XdpFrame> {
        if !self.is_xdp() {
            return None;
        }
        let frame = NonNull::new(self.0.wrapping_byte_sub(Self::XDP).cast())?;
        // SAFETY: By the type invariant and the safety requirement.
        Some(unsafe { XdpFrame::from_raw(frame) })
    }

    /// Frees a frame that was sent.
    ///
    /// # Safety
    ///
    /// The ring owned the frame, and gives it up.
    #[inline]
    unsafe fn consume(self, napi_budget: i32) {
        // SAFETY: By the safety requirement.
        match unsafe { self.to_xdp() } {
            // SAFETY: By the type invariant it is a socket buffer, which the ring gives up.
            None => unsafe { raw::napi_consume_skb(self.0.cast(), napi_budget) },
            Some(frame) => drop(frame),
        }
    }
}

const EMPTY: Slot = Slot {
    frame: Frame(core::ptr::null_mut()),
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
/// producer only. The former hold whole frames, one behind the other: the first slot of each says
/// what it is and where it ends, and all of its slots say what is mapped. All frames in the former are accounted to `queue`, if there is one, and frames go
/// out of them only with what takes them off its account.
pub struct TxRing {
    desc: Ring,
    /// As many as there are descriptors; by pages, as C has them, of which none is wasted.
    slots: VVec<UnsafeCell<Slot>>,
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
        let mut slots = VVec::with_capacity(n, GFP_KERNEL)?;
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
    /// is what [`TxRing::needs_unmap`] said after the frame had been mapped. The caller gives the
    /// slots up.
    #[inline]
    unsafe fn free_frame(&self, i: u32, napi_budget: i32, unmap: bool) -> u32 {
        // SAFETY: By the safety requirement.
        let (frame, eop) = unsafe {
            let head = &*self.slot(i);
            (head.frame, head.eop)
        };
        if unmap {
            // SAFETY: By the safety requirement. `eop` is the last slot of the frame.
            unsafe { self.unmap_slots(i, eop) };
        }
        // SAFETY: The ring owned the frame.
        unsafe { frame.consume(napi_budget) };
        self.next(eop)
    }

    /// Takes the mappings of slots `first..=last` back, once.
    ///
    /// # Safety
    ///
    /// The slots are the caller's, `TxProducer` has filled each of them for one frame, and the
    /// device does not use them.
    #[inline(never)]
    unsafe fn unmap_slots(&self, first: u32, last: u32) {
        let mut i = first;
        loop {
            // SAFETY: By the safety requirement.
            let slot = unsafe { &*self.slot(i) };
            if slot.len != 0 {
                // SAFETY: Mapped by the producer.
                unsafe { self.unmap(slot.addr, slot.len) };
            }
            if i == last {
                return;
            }
            i = self.next(i);
        }
    }

    /// Maps the fragments of a frame and fills the descriptors of its pieces from `i` on, and their
    /// slots; that of `first`, where the frame starts, is the caller's. `head` is the linear part.
    /// Returns the last index, and how many descriptors these are after the first. Nothing is left
    /// mapped if a fragment cannot be.
    ///
    /// A call of its own: most frames have one piece, and are not to save registers for this.
    ///
    /// # Safety
    ///
    /// The slots from `first` on are the producer's, as many as the frame can take. `i` is `first`
    /// or the next, and is filled up to there. `head` is mapped for this device.
    #[inline(never)]
    unsafe fn fill_pieces<D: Descriptor>(
        &self,
        skb: &SkBuff,
        head: raw::nic_seg,
        (first, mut i): (u32, u32),
        max: u32,
        mut make: impl FnMut(DmaAddress, u32, bool) -> D,
    ) -> Option<(u32, u32)> {
        let nr_frags = skb.nr_frags();
        let raw::nic_seg { mut addr, mut len } = head;
        let (mut frag, mut used) = (0, 0u32);
        loop {
            while len > max {
                // SAFETY: `next` stays in the ring.
                unsafe { self.desc.write_unchecked(i, make(addr, max, false)) };
                addr = addr.wrapping_add(DmaAddress::from(max));
                len -= max;
                i = self.next(i);
                // SAFETY: The slot is the producer's, as all of the frame's.
                unsafe { (*self.slot(i)).len = 0 };
                used = used.wrapping_add(1);
            }
            let last = frag == nr_frags;
            // SAFETY: `next` stays in the ring.
            unsafe { self.desc.write_unchecked(i, make(addr, len, last)) };
            if last {
                return Some((i, used));
            }
            let mut seg = core::mem::MaybeUninit::<raw::nic_seg>::uninit();
            // SAFETY: A valid device and frame, which has this fragment.
            let err = unsafe {
                raw::nic_tx_map_frag(self.dev_raw(), skb.raw_ptr(), frag, seg.as_mut_ptr())
            };
            if err != 0 {
                // SAFETY: All up to `i` are the producer's, and the device has not been told of
                // them. Each says what is mapped, now the first as well.
                unsafe {
                    let slot = &mut *self.slot(first);
                    (slot.addr, slot.len) = (head.addr, head.len);
                    self.unmap_slots(first, i);
                }
                return None;
            }
            // SAFETY: C has filled it in.
            let seg = unsafe { seg.assume_init_ref() };
            (addr, len) = (seg.addr, seg.len);
            frag = frag.wrapping_add(1);
            i = self.next(i);
            used = used.wrapping_add(1);
            // SAFETY: The slot is the producer's, as all of the frame's.
            unsafe {
                let slot = &mut *self.slot(i);
                (slot.addr, slot.len) = (addr, len);
            }
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
            // SAFETY: Both ends are gone. By the type invariant a frame starts here.
            let head = unsafe { *self.slot(i) };
            // SAFETY: These are the frame's slots by the type invariant; the device has been
            // stopped by the driver, as for all memory that it frees.
            unsafe { self.unmap_slots(i, head.eop) };
            // SAFETY: The ring owns the frame, and is gone after this.
            match unsafe { head.frame.to_xdp() } {
                Some(frame) => drop(frame),
                None => {
                    if let Some(skb) = NonNull::new(head.frame.0.cast()) {
                        // SAFETY: The ring owns the frame, which is a socket buffer by the
                        // invariant of `Frame`.
                        unsafe { SkBuff::from_raw(skb) }.free(DropReason::DEV_READY);
                    }
                }
            }
            i = self.next(head.eop);
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

/// Room in a ring. While this is there nobody else can fill it.
///
/// # Invariants
///
/// At least `room` descriptors from the producer's cursor on are free.
pub struct TxRoom<'a> {
    producer: &'a mut TxProducer,
    room: u32,
}

/// A frame was put into a ring.
#[must_use = "the device is to be told"]
pub struct Sent {
    /// What the doorbell is to be rung with now, unless a further frame follows at once:
    /// [`TxRing::next_to_use`].
    pub doorbell: Option<u32>,
    /// The queue was stopped, and went on since there is room after all.
    pub restarted: bool,
}

impl TxRoom<'_> {
    /// Descriptors that can be filled.
    #[inline]
    pub fn len(&self) -> u32 {
        self.room
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.room == 0
    }

    /// Stops the queue; if there are `needed` descriptors now goes on and returns true
    /// (`netif_txq_maybe_stop`). The poll that frees descriptors lets the queue go on.
    #[cold]
    pub fn make(&mut self, needed: u32) -> bool {
        let made = self.producer.make_room(needed);
        // INVARIANT: Just looked.
        self.room = self.producer.unused();
        made
    }

    /// Puts a frame into the ring: `ctx`, if there is one, then data descriptors made by `make`
    /// from address, length and whether it is the last. A piece longer than `max` bytes is split.
    /// If the longest frame has no room after that the queue is stopped.
    ///
    /// `wire_bytes` and `segs` are what the frame counts for when it is done.
    ///
    /// # Errors
    ///
    /// Returns the frame if it cannot be mapped, or if the ring may not have room for it; nothing
    /// is in the ring then. A driver stops its queue before that happens.
    #[inline]
    pub fn send<C: Descriptor, D: Descriptor>(
        self,
        skb: SkBuff,
        ctx: Option<C>,
        wire_bytes: u32,
        segs: u16,
        max: u32,
        mut make: impl FnMut(DmaAddress, u32, bool) -> D,
    ) -> core::result::Result<Sent, SkBuff> {
        let Self { producer, room } = self;
        let ring = &*producer.ring;
        let (nr_frags, headlen) = (skb.nr_frags(), skb.headlen());
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
        let first = producer.cursor;
        let mut i = first;
        let mut used = 1u32;
        // Written first, so that nothing of it is to be kept during the call below. Nobody looks at
        // it before the frame is published.
        if let Some(ctx) = ctx {
            // SAFETY: The cursor is in the ring.
            unsafe { ring.desc.write_unchecked(i, ctx) };
            i = ring.next(i);
            // SAFETY: The slot is the producer's, since there is room for all of the frame.
            unsafe { (*ring.slot(i)).len = 0 };
            used = 2;
        }
        // SAFETY: A valid device and frame.
        let head_addr = unsafe { raw::nic_tx_map_head(ring.dev_raw(), skb.raw_ptr()) };
        if head_addr == DmaAddress::MAX {
            return Err(skb);
        }
        let last = if nr_frags == 0 && headlen <= max {
            // SAFETY: `next` stays in the ring.
            unsafe { ring.desc.write_unchecked(i, make(head_addr, headlen, true)) };
            i
        } else {
            let head = raw::nic_seg {
                addr: head_addr,
                len: headlen,
            };
            // SAFETY: A valid frame, mapped so, for which there is room from `first` on.
            match unsafe { ring.fill_pieces(&skb, head, (first, i), max, make) } {
                Some((last, more)) => {
                    used = used.wrapping_add(more);
                    last
                }
                None => return Err(skb),
            }
        };
        // SAFETY: The slot is the producer's, as all of the frame's.
        unsafe {
            *ring.slot(first) = Slot {
                frame: Frame::skb(skb.into_raw()),
                addr: head_addr,
                len: headlen,
                eop: last,
                bytes: wire_bytes,
                segs,
            };
        }
        // Stopped in time for the longest frame, so that no frame meets a full ring; and before the
        // stack is asked about the doorbell, which a stopped queue wants rung.
        let reserve = ring.queue.as_ref().map_or(0, |q| q.reserve);
        let cursor = ring.next(last);
        producer.cursor = cursor;
        let restarted = room < used.wrapping_add(reserve) && producer.make_room(reserve);
        producer.unsent = producer.unsent.wrapping_add(wire_bytes);
        let doorbell = producer.publish().then_some(cursor);
        Ok(Sent {
            doorbell,
            restarted,
        })
    }
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

    /// What room there is, for a frame to be sent.
    #[inline]
    pub fn room(&mut self) -> TxRoom<'_> {
        // INVARIANT: Just looked.
        TxRoom {
            room: self.unused(),
            producer: self,
        }
    }

    /// Stops the queue; if there are `needed` descriptors now goes on and returns true
    /// (`netif_txq_maybe_stop`). The poll that frees descriptors lets the queue go on.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, needed: u32) -> bool {
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
        if self.unused() < 1 + u32::from(ctx.is_some()) {
            return Err(frame);
        }
        // SAFETY: A valid device and frame.
        let seg = unsafe { raw::nic_xdp_map(self.ring.dev_raw(), frame.raw_ptr()) };
        if seg.addr == DmaAddress::MAX {
            return Err(frame);
        }
        // SAFETY: There is room, just looked; mapped for this device.
        unsafe { self.put_xdp(frame, seg, ctx, make) };
        Ok(())
    }

    /// The same for a frame that a program sends back: where it was received for the device of this
    /// ring it is sent by the mapping that it has.
    ///
    /// # Errors
    ///
    /// Returns the frame if there is no room for it, or if it cannot be mapped.
    #[inline]
    pub fn send_back<C: Descriptor, D: Descriptor>(
        &mut self,
        frame: SentBack,
        ctx: Option<C>,
        make: impl FnOnce(DmaAddress, u32) -> D,
    ) -> core::result::Result<(), XdpFrame> {
        let SentBack { frame, dma, dev } = frame;
        if dma == DmaAddress::MAX || dev != self.ring.dev_raw() {
            return self.send_xdp(frame, ctx, make);
        }
        if self.unused() < 1 + u32::from(ctx.is_some()) {
            return Err(frame);
        }
        let seg = raw::nic_seg { addr: dma, len: 0 };
        // SAFETY: There is room, just looked. Mapped for this device by the invariant of
        // `SentBack`, and not to be unmapped here.
        unsafe { self.put_xdp(frame, seg, ctx, make) };
        Ok(())
    }

    /// Fills the descriptors of a frame without socket buffer. `seg` is where it is mapped, and how
    /// many bytes are to be unmapped.
    ///
    /// # Safety
    ///
    /// There is room for it. It is mapped for this ring's device as `seg` says; or the length is 0,
    /// and somebody else keeps the mapping as long as the frame is there and the device is not
    /// stopped.
    #[inline]
    unsafe fn put_xdp<C: Descriptor, D: Descriptor>(
        &mut self,
        frame: XdpFrame,
        seg: raw::nic_seg,
        ctx: Option<C>,
        make: impl FnOnce(DmaAddress, u32) -> D,
    ) {
        let ring = &*self.ring;
        let len = frame.len();
        let first = self.cursor;
        let mut i = first;
        if let Some(ctx) = ctx {
            // SAFETY: The cursor is in the ring.
            unsafe { ring.desc.write_unchecked(i, ctx) };
            i = ring.next(i);
            // SAFETY: The slot is the producer's, since there is room.
            unsafe { (*ring.slot(i)).len = 0 };
        }
        // SAFETY: The cursor is in the ring, and `next` stays in it.
        unsafe { ring.desc.write_unchecked(i, make(seg.addr, len)) };
        // SAFETY: The slot is the producer's, since there is room.
        unsafe {
            *ring.slot(first) = Slot {
                frame: Frame::xdp(frame.into_raw()),
                addr: seg.addr,
                len: seg.len,
                eop: i,
                bytes: len,
                segs: 1,
            };
        }
        self.cursor = ring.next(i);
        self.unsent = self.unsent.wrapping_add(len);
    }

    /// Ends a batch of [`TxProducer::send_xdp`] and [`TxProducer::send_back`]. Returns whether the doorbell is to be rung now,
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
            if napi.is_none() && head.frame.is_xdp() {
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
        let mut i = 0;
        while i < pending {
            let Some(head) = slots.get_mut(i as usize) else {
                break;
            };
            head.eop = distance(start, head.eop);
            // The next frame.
            i = head.eop + 1;
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
