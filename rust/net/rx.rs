// SPDX-License-Identifier: GPL-2.0
//! Receive rings.
//!
//! A ring is filled and emptied by one NAPI poll: descriptors, the buffers that are posted in them,
//! and the pool from which they come. What happens to a frame is one call of C, from the buffer to
//! the stack.

use super::{
    instance::{
        NapiIdle,
        NapiRef,
        NapiSetup, //
    },
    ops::{
        Device,
        Driver, //
    },
    page_pool::{
        PagePool,
        RxBuf,
        RxSlot, //
    },
    skb::{
        Partial,
        Place,
        RxMeta, //
    },
    xdp::{
        ProgRef,
        SentBack,
        XdpFrame, //
    },
};
use crate::dma::{
    read_barrier,
    Descriptor,
    Ring, //
};
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    dma::DmaAddress,
    prelude::*, //
};
use nic_bindings as raw;

/// What became of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The stack has it.
    Delivered,
    /// It was this interface's own and is gone, see [`RxMeta::prune_own`].
    Pruned,
    /// There was no memory for it, or no buffer; it is gone.
    Lost,
}

impl Received {
    #[inline]
    pub(super) fn from_raw(result: raw::nic_rx_result) -> Self {
        match result {
            raw::nic_rx_result_NIC_RX_DELIVERED => Self::Delivered,
            raw::nic_rx_result_NIC_RX_PRUNED => Self::Pruned,
            _ => Self::Lost,
        }
    }
}

/// What an XDP program wants done with a frame.
pub enum Verdict {
    /// Up to the stack, by [`RxPoll::receive_passed`].
    Pass(Passed),
    /// It is gone.
    Drop,
    /// Out of the interface that it came from.
    Tx(SentBack),
    /// It went elsewhere; [`super::xdp::flush`] is due at the end of the poll.
    Redirect,
}

/// A received frame that an XDP program has passed, where it may have moved the start and the end.
///
/// # Invariants
///
/// `place` and `len` say where it lies in `buf`.
pub struct Passed {
    buf: RxBuf,
    place: Place,
    len: u16,
}

/// How a device says in the second quad word of a descriptor, in CPU order, what it has done.
pub trait WriteBack {
    /// Bits that are set when the device is done with a buffer.
    const DONE: u64;
    /// Bits that are set in the last buffer of a frame.
    const LAST: u64;
    /// Bits of which one is set in the last buffer of a bad frame.
    const ERRORS: u64;
}

/// A receive ring.
///
/// Descriptors `next_to_clean..next_to_use` have a buffer that is posted; another one may keep a
/// buffer whose frame was dropped, which is posted again in its turn.
///
/// # Invariants
///
/// `desc` and `bufs` have the same length, not 0, and both indices are below it. The buffers are of
/// `pool`.
pub struct RxRing {
    desc: Ring,
    bufs: KVVec<RxSlot>,
    pool: PagePool,
    next_to_use: u32,
    next_to_clean: u32,
}

impl RxRing {
    /// Allocates a ring of `count` descriptors for a queue, without buffers in it. `layout` is
    /// the headroom of a buffer, and how many bytes the device may write after it. With `send_back`
    /// the device may read them as well, so that a frame that an XDP program sends back is not
    /// mapped once more.
    ///
    /// # Errors
    ///
    /// `EINVAL` for no descriptors, or buffers that do not fit into a page.
    pub fn new<D: Driver>(
        dev: &Device<D>,
        napi: &NapiSetup,
        queue: u32,
        count: u32,
        layout: (u16, u16),
        send_back: bool,
    ) -> Result<Self> {
        if count == 0 {
            return Err(EINVAL);
        }
        let mut bufs = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        for _ in 0..count {
            bufs.push(RxSlot::EMPTY, GFP_KERNEL)?;
        }
        // INVARIANT: Both have `count` elements.
        Ok(Self {
            desc: Ring::new(dev.parent(), count)?,
            bufs,
            pool: PagePool::new(dev, napi, queue, count, layout, send_back)?,
            next_to_use: 0,
            next_to_clean: 0,
        })
    }

    /// The descriptors.
    #[inline]
    pub fn desc(&self) -> &Ring {
        &self.desc
    }

    /// Descriptor that is posted next.
    #[inline]
    pub fn next_to_use(&self) -> u32 {
        self.next_to_use
    }

    /// First descriptor that was not looked at.
    #[inline]
    pub fn next_to_clean(&self) -> u32 {
        self.next_to_clean
    }

    /// Bytes that the device may write into each buffer.
    pub fn buf_len(&self) -> u32 {
        self.pool.buf_len()
    }

    /// Descriptors that can be posted; one is always left, so that a full ring is not an empty one.
    #[inline]
    pub fn unused(&self) -> u32 {
        let n = if self.next_to_clean > self.next_to_use {
            0
        } else {
            self.desc.len()
        };
        n.wrapping_add(self.next_to_clean)
            .wrapping_sub(self.next_to_use)
            .wrapping_sub(1)
    }

    /// The index after `i`.
    #[inline]
    fn after(&self, i: u32) -> u32 {
        let next = i.wrapping_add(1);
        if next >= self.desc.len() {
            0
        } else {
            next
        }
    }

    #[inline]
    fn slot(&mut self, i: u32) -> &mut RxSlot {
        debug_assert!((i as usize) < self.bufs.len());
        // SAFETY: All callers pass an index of the type invariant.
        unsafe { self.bufs.get_unchecked_mut(i as usize) }
    }

    /// Posts a buffer in each free descriptor, as `make` writes it from its index, the buffer's
    /// address, and whether it is another buffer than the last one there. Returns how many, and
    /// whether there was memory for all. If any, the caller rings the doorbell with
    /// [`RxRing::next_to_use`].
    ///
    /// # Safety
    ///
    /// This is a poll of the ring's instance, or the caller has disabled it.
    #[inline]
    unsafe fn fill<D: Descriptor>(
        &mut self,
        mut make: impl FnMut(u32, DmaAddress, bool) -> D,
    ) -> (u32, bool) {
        let (n, len) = (self.unused(), self.desc.len());
        let mut i = self.next_to_use;
        let mut left = n;
        while left != 0 {
            let slot = self.slot(i);
            if slot.is_some() {
                let desc = make(i, slot.dma_address(), false);
                // SAFETY: `i` is below the length.
                unsafe { self.desc.write_unchecked(i, desc) };
                i = self.after(i);
                left = left.wrapping_sub(1);
                continue;
            }
            // Up to the end of the ring in one go.
            let end = len.min(i.wrapping_add(left));
            let Some(slots) = self.bufs.get_mut(i as usize..end as usize) else {
                break;
            };
            // SAFETY: By the safety requirement.
            let filled = unsafe { self.pool.fill(slots) };
            let filled = slots.get(..filled).unwrap_or_default();
            if filled.is_empty() {
                break;
            }
            let descs = (i..end).zip(filled);
            let descs = descs.map(|(i, slot)| make(i, slot.dma_address(), true));
            // SAFETY: `end` is not beyond the length.
            unsafe { self.desc.write_run(i, descs) };
            // CAST: Not more than there are slots.
            let filled = filled.len() as u32;
            i = i.wrapping_add(filled);
            left = left.wrapping_sub(filled);
            if i >= len {
                i = 0;
            }
        }
        let posted = n.wrapping_sub(left);
        if posted != 0 {
            // The poll stops here: it must not take the old write-back for a new one.
            self.desc.clear_status(i);
            self.next_to_use = i;
        }
        (posted, posted == n)
    }

    /// The second quad word of the descriptor at `next_to_clean`.
    #[inline]
    fn status(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { self.desc.status_unchecked(self.next_to_clean) }
    }

    /// How many descriptors from `next_to_clean` on make a whole frame; `None` if it is not there
    /// yet.
    pub fn frame_len<W: WriteBack>(&self) -> Option<u32> {
        let mut i = self.next_to_clean;
        for n in 1..self.desc.len() {
            if i == self.next_to_use {
                return None;
            }
            let status = self.desc.status(i);
            if status & W::DONE != W::DONE {
                return None;
            }
            if status & W::LAST == W::LAST {
                return Some(n);
            }
            i = self.after(i);
        }
        None
    }

    /// The ring for the poll of its instance; `None` if `napi` is another one.
    #[inline]
    pub fn poll<'a>(&'a mut self, napi: &'a NapiRef) -> Option<RxPoll<'a>> {
        // INVARIANT: Just looked.
        (self.pool.napi() == napi.as_raw()).then_some(RxPoll { ring: self, napi })
    }

    /// The ring while its instance is disabled; `None` if `napi` is another one.
    pub fn idle<'a>(&'a mut self, napi: &'a NapiIdle) -> Option<RxIdle<'a>> {
        // INVARIANT: Just looked.
        (self.pool.napi() == napi.as_raw()).then_some(RxIdle {
            ring: self,
            _napi: napi,
        })
    }

    /// Goes on to the next descriptor; returns the slot of this one.
    #[inline]
    fn advance(&mut self) -> &mut RxSlot {
        let i = self.next_to_clean;
        self.next_to_clean = self.after(i);
        self.slot(i)
    }

    /// A frame, or part of one, of `len` bytes, with what is known of it.
    #[inline]
    fn frame(&self, len: u32, meta: RxMeta) -> raw::nic_rx_meta {
        // CAST: Not more than what the buffer holds.
        let len = len.min(self.pool.len.into()) as u16;
        self.pool.place.frame(len, meta)
    }

    /// Whether descriptor `i` has a buffer, posted or to be posted again; false outside the ring.
    pub fn has_buffer(&self, i: u32) -> bool {
        self.bufs.get(i as usize).is_some_and(RxSlot::is_some)
    }

    /// Moves the posted buffers to the front of the ring, for a device that lost its place in it,
    /// and calls `write` with the index and address of each descriptor's buffer, posted or kept, 0
    /// where there is none. Returns how many are posted.
    ///
    /// The device must not use the ring.
    pub fn rearm<D: Descriptor>(&mut self, mut write: impl FnMut(u32, DmaAddress) -> D) -> u32 {
        let posted = self.desc.len().wrapping_sub(1).wrapping_sub(self.unused());
        if (self.next_to_clean as usize) < self.bufs.len() {
            self.bufs.rotate_left(self.next_to_clean as usize);
        }
        for (i, buf) in (0..self.desc.len()).zip(self.bufs.iter()) {
            let addr = buf.get().map_or(0, |buf| buf.dma);
            self.desc.write(i, write(i, addr));
        }
        self.next_to_clean = 0;
        // INVARIANT: Fewer than there are descriptors.
        self.next_to_use = posted;
        posted
    }
}

/// A receive ring whose instance is disabled.
///
/// # Invariants
///
/// The instance of the ring's pool is disabled.
pub struct RxIdle<'a> {
    ring: &'a mut RxRing,
    _napi: &'a NapiIdle,
}

/// A receive ring in the poll of its instance.
///
/// # Invariants
///
/// `napi` is the instance of the ring's pool.
pub struct RxPoll<'a> {
    ring: &'a mut RxRing,
    napi: &'a NapiRef,
}

/// What [`RxPoll::look`] finds.
pub enum Next<'a> {
    /// The device is not done with the next buffer.
    None,
    /// A good frame in one buffer, or the last of several.
    Whole(Done<'a>),
    /// A buffer of a frame that has more of them, or is bad.
    Other(Done<'a>),
}

/// A buffer that the device is done with, the next in the ring. If nothing is done with it, it is
/// the next again.
pub struct Done<'a> {
    ring: &'a mut RxRing,
    napi: &'a NapiRef,
    status: u64,
}

impl Deref for RxIdle<'_> {
    type Target = RxRing;

    #[inline]
    fn deref(&self) -> &RxRing {
        self.ring
    }
}

impl Deref for RxPoll<'_> {
    type Target = RxRing;

    #[inline]
    fn deref(&self) -> &RxRing {
        self.ring
    }
}

/// A ring to which buffers can be posted.
pub trait Fill: Deref<Target = RxRing> {
    /// Posts a buffer in each free descriptor, as `make` writes it from its index, the buffer's
    /// address, and whether it is another buffer than the last one there. Returns how many, and
    /// whether there was memory for all. If any, the caller rings the doorbell with
    /// [`RxRing::next_to_use`].
    fn fill<D: Descriptor>(&mut self, make: impl FnMut(u32, DmaAddress, bool) -> D) -> (u32, bool);
}

impl Fill for RxIdle<'_> {
    #[inline]
    fn fill<D: Descriptor>(&mut self, make: impl FnMut(u32, DmaAddress, bool) -> D) -> (u32, bool) {
        // SAFETY: By the type invariant.
        unsafe { self.ring.fill(make) }
    }
}

impl Fill for RxPoll<'_> {
    #[inline]
    fn fill<D: Descriptor>(&mut self, make: impl FnMut(u32, DmaAddress, bool) -> D) -> (u32, bool) {
        // SAFETY: By the type invariant.
        unsafe { self.ring.fill(make) }
    }
}

impl RxPoll<'_> {
    /// Looks at the next descriptor.
    #[inline(always)]
    pub fn look<W: WriteBack>(&mut self) -> Next<'_> {
        let status = self.ring.status();
        // One look for what nearly all are.
        let whole = status & (W::DONE | W::LAST | W::ERRORS) == W::DONE | W::LAST;
        if !whole && status & W::DONE != W::DONE {
            return Next::None;
        }
        let done = Done {
            ring: self.ring,
            napi: self.napi,
            status,
        };
        if whole {
            Next::Whole(done)
        } else {
            Next::Other(done)
        }
    }

    /// Hands a frame that a program has passed to the stack.
    pub fn receive_passed(&mut self, passed: Passed, meta: RxMeta) -> Received {
        let Passed { buf, place, len } = passed;
        let meta = place.frame(len, meta);
        // SAFETY: This CPU polls the instance. By its invariant the frame lies inside the buffer.
        let result = unsafe { raw::nic_rx_passed(self.napi.as_raw(), buf.as_raw(), meta) };
        if result != raw::nic_rx_result_NIC_RX_NOMEM {
            buf.forget();
        }
        Received::from_raw(result)
    }

    /// Hands a frame of several buffers to the stack, with what the device found out about it.
    pub fn receive_partial(&mut self, frame: Partial, meta: RxMeta) -> Received {
        let meta = self.ring.frame(0, meta);
        // SAFETY: Ownership passes to C; this CPU polls the instance.
        Received::from_raw(unsafe {
            raw::nic_rx_receive(self.napi.as_raw(), frame.into_raw(), meta)
        })
    }
}

impl Done<'_> {
    /// The second quad word of its descriptor, in CPU order.
    #[inline]
    pub fn status(&self) -> u64 {
        self.status
    }

    /// The first quad word of it.
    #[inline]
    pub fn first(&self) -> u64 {
        // SAFETY: By the invariant of the ring.
        unsafe { self.ring.desc.first_unchecked(self.ring.next_to_clean) }
    }

    /// Gives up the frame, or the part of one: the buffer stays in the ring.
    pub fn skip(self) {
        let len = self.ring.pool.buf_len();
        let pool = self.ring.pool.as_raw();
        let Some(buf) = self.ring.advance().get() else {
            return;
        };
        // SAFETY: The buffer belongs to the pool.
        unsafe { raw::nic_rx_buf_reuse(pool, buf, len) };
    }

    /// Hands the frame of `len` bytes in this one buffer to the stack, with what the device found
    /// out.
    ///
    /// Synchronises and marks, then wraps the page: no copy. Without memory for that the buffer
    /// stays in the ring.
    #[inline]
    pub fn receive(self, len: u32, meta: RxMeta) -> Received {
        let (pool, meta) = (self.ring.pool.as_raw(), self.ring.frame(len, meta));
        let slot = self.ring.advance();
        let Some(buf) = slot.take() else {
            return Received::Lost;
        };
        // SAFETY: The buffer belongs to the pool, and has room around the frame by construction of
        // the pool; this CPU polls the pool's instance.
        let result = unsafe { raw::nic_rx_frame(self.napi.as_raw(), pool, buf.as_raw(), meta) };
        if result == raw::nic_rx_result_NIC_RX_NOMEM {
            slot.put(buf);
        } else {
            buf.forget();
        }
        Received::from_raw(result)
    }

    /// The first buffer of a frame that spans several. `None` if there is no memory.
    pub fn begin(self, len: u32) -> Option<Partial> {
        let (pool, meta) = (self.ring.pool.as_raw(), self.ring.frame(len, RxMeta::new()));
        let slot = self.ring.advance();
        // SAFETY: The buffer belongs to the pool, and has room around the frame by construction of
        // the pool.
        let skb = NonNull::new(unsafe { raw::nic_rx_build(pool, slot.get()?, meta) })?;
        slot.take()?.forget();
        // SAFETY: Ownership of the new skb, which has taken over the buffer and is marked.
        Some(unsafe { Partial::from_raw(skb) })
    }

    /// A further buffer of it. False if the frame has no room for another fragment, or there is no
    /// buffer.
    pub fn append(self, frame: &mut Partial, len: u32) -> bool {
        let (pool, meta) = (self.ring.pool.as_raw(), self.ring.frame(len, RxMeta::new()));
        let slot = self.ring.advance();
        let Some(buf) = slot.get() else {
            return false;
        };
        // SAFETY: The buffer belongs to the pool, and by its invariant the skb takes such.
        let done = unsafe { raw::nic_rx_add_frag(frame.raw_ptr(), pool, buf, meta) };
        if done {
            if let Some(buf) = slot.take() {
                buf.forget();
            }
        }
        done
    }

    /// Runs an XDP program on the frame of `len` bytes in this one buffer.
    ///
    /// Synchronises and marks it first.
    #[inline]
    pub fn run_xdp(self, prog: ProgRef<'_>, len: u32) -> Verdict {
        // The frame is read after the status that says that it is there.
        read_barrier();
        let i = self.ring.next_to_clean;
        let Some(buf) = self.ring.advance().get() else {
            return Verdict::Drop;
        };
        let len = len.min(self.ring.pool.buf_len());
        let mut out = core::mem::MaybeUninit::<raw::nic_xdp_out>::uninit();
        // SAFETY: The buffer belongs to the pool; in a poll of its instance. C writes to `out`
        // only.
        let verdict = unsafe { self.ring.pool.run_xdp(prog, buf, len, out.as_mut_ptr()) };
        if verdict == raw::nic_xdp_verdict_NIC_XDP_DROP {
            // The buffer stays.
            return Verdict::Drop;
        }
        let Some(buf) = self.ring.slot(i).take() else {
            return Verdict::Drop;
        };
        match verdict {
            raw::nic_xdp_verdict_NIC_XDP_PASS => {
                // SAFETY: C has written these for this verdict.
                let (headroom, len, metasize) = unsafe {
                    let out = out.as_ptr();
                    ((*out).headroom, (*out).len, (*out).metasize)
                };
                // CAST: Less than a page; metadata has at most 255 bytes.
                // INVARIANT: The program has left the frame inside the buffer.
                Verdict::Pass(Passed {
                    buf,
                    place: self.ring.pool.place.moved(headroom as u16, metasize as u8),
                    len: len as u16,
                })
            }
            raw::nic_xdp_verdict_NIC_XDP_TX => {
                buf.forget();
                // SAFETY: Written by C for this verdict.
                let (frame, dma) = unsafe { ((*out.as_ptr()).frame, (*out.as_ptr()).dma) };
                match NonNull::new(frame) {
                    // INVARIANT: The pool, which belongs to the ring, has mapped its pages for this
                    // device; C has looked whether for both directions.
                    Some(frame) => Verdict::Tx(SentBack {
                        // SAFETY: C passes the ownership of the frame.
                        frame: unsafe { XdpFrame::from_raw(frame) },
                        dma,
                        dev: self.ring.pool.dev(),
                    }),
                    None => Verdict::Drop,
                }
            }
            _ => {
                buf.forget();
                Verdict::Redirect
            }
        }
    }
}
