// SPDX-License-Identifier: GPL-2.0
//! Receive rings.
//!
//! A ring is filled and emptied by one NAPI poll: descriptors, the buffers that are posted in them, and the pool from which
//! they come. What happens to a frame is one call of C, from the buffer to the stack.

use super::{
    napi::{
        NapiRef,
        NapiSetup, //
    },
    page_pool::{
        PagePool,
        RxBuf,
        RxSlot, //
    },
    skb::{
        RxMeta,
        SkBuff, //
    },
    xdp::{
        ProgRef,
        XdpFrame, //
    },
    Device,
    Driver, //
};
use crate::dma::{
    read_barrier,
    Descriptor,
    Ring, //
};
use core::ptr::NonNull;
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
    /// Up to the stack, by [`RxRing::receive_passed`].
    Pass(Passed),
    /// It is gone.
    Drop,
    /// Out of the interface that it came from.
    Tx(XdpFrame),
    /// It went elsewhere; [`super::xdp::flush`] is due at the end of the poll.
    Redirect,
}

/// A received frame that an XDP program has passed, where it may have moved the start and the end.
pub struct Passed {
    buf: RxBuf,
    at: raw::nic_xdp_out,
}

/// A receive ring.
///
/// Descriptors `next_to_clean..next_to_use` have a buffer that is posted; another one may keep a buffer whose frame was
/// dropped, which is posted again in its turn.
///
/// # Invariants
///
/// `desc` and `bufs` have the same length, not 0, and both indices are below it.
pub struct RxRing {
    desc: Ring,
    bufs: KVVec<RxSlot>,
    pool: PagePool,
    next_to_use: u32,
    next_to_clean: u32,
}

impl RxRing {
    /// Allocates a ring of `count` descriptors for a queue, without buffers in it. See [`PagePool::new`] for the rest.
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
            pool: PagePool::new(dev, napi, queue, count, layout)?,
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

    /// Posts a buffer in each free descriptor, as `make` writes it from its index, the buffer's address, and whether it is
    /// another buffer than the last one there. Returns how many, and whether there was memory for all. If any, the caller
    /// rings the doorbell with [`RxRing::next_to_use`].
    #[inline]
    pub fn fill<D: Descriptor>(
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
            let filled = self.pool.fill(slots);
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
    pub fn status(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { self.desc.status_unchecked(self.next_to_clean) }
    }

    /// The first quad word of it, to be read after the second.
    #[inline]
    pub fn first(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { self.desc.first_unchecked(self.next_to_clean) }
    }

    /// How many descriptors from `next_to_clean` on make a whole frame, by what `is_done` and `is_last` say of the second
    /// quad word of each; `None` if it is not there yet.
    pub fn frame_len(
        &self,
        is_done: impl Fn(u64) -> bool,
        is_last: impl Fn(u64) -> bool,
    ) -> Option<u32> {
        let mut i = self.next_to_clean;
        for n in 1..self.desc.len() {
            if i == self.next_to_use {
                return None;
            }
            let status = self.desc.status(i);
            if !is_done(status) {
                return None;
            }
            if is_last(status) {
                return Some(n);
            }
            i = self.after(i);
        }
        None
    }

    /// Goes on to the next descriptor; returns the slot of this one.
    #[inline]
    fn advance(&mut self) -> &mut RxSlot {
        let i = self.next_to_clean;
        self.next_to_clean = self.after(i);
        self.slot(i)
    }

    /// What is known of every frame.
    #[inline]
    pub fn meta(&self) -> RxMeta {
        self.pool.meta
    }

    /// `meta` of a frame, or part of one, of `len` bytes.
    #[inline]
    fn with_len(&self, meta: RxMeta, len: u32) -> raw::nic_rx_meta {
        // CAST: Not more than what the buffer holds.
        meta.len(len.min(self.pool.len.into()) as u16).0
    }

    /// Whether descriptor `i` has a buffer, posted or to be posted again; false outside the ring.
    pub fn has_buffer(&self, i: u32) -> bool {
        self.bufs.get(i as usize).is_some_and(RxSlot::is_some)
    }

    /// Gives up a frame, or a part of one: its buffer stays in the ring.
    pub fn skip(&mut self) {
        let len = self.pool.buf_len();
        let pool = self.pool.as_raw();
        let Some(buf) = self.advance().get() else {
            return;
        };
        // SAFETY: The buffer belongs to the pool.
        unsafe { raw::nic_rx_buf_reuse(pool, buf, len) };
    }

    /// Hands the frame of `len` bytes in the one buffer at `next_to_clean` to the stack, with what the device found out.
    ///
    /// Synchronises and marks, then wraps the page: no copy. Without memory for that the buffer stays in the ring.
    #[inline]
    pub fn receive(&mut self, napi: &NapiRef, len: u32, meta: RxMeta) -> Received {
        let (pool, meta) = (self.pool.as_raw(), self.with_len(meta, len));
        let slot = self.advance();
        let Some(buf) = slot.take() else {
            return Received::Lost;
        };
        // SAFETY: The buffer belongs to the pool, and has room around the frame by construction of the pool; `napi` is
        // being polled by this CPU.
        let result = unsafe { raw::nic_rx_frame(napi.as_raw(), pool, buf.as_raw(), meta) };
        if result == raw::nic_rx_result_NIC_RX_NOMEM {
            slot.put(buf);
        } else {
            buf.forget();
        }
        Received::from_raw(result)
    }

    /// The first buffer of a frame that spans several, at `next_to_clean`. `None` if there is no memory.
    pub fn begin(&mut self, len: u32) -> Option<SkBuff> {
        let (pool, meta) = (self.pool.as_raw(), self.with_len(self.meta(), len));
        let slot = self.advance();
        // SAFETY: As for `receive`.
        let skb = NonNull::new(unsafe { raw::nic_rx_build(pool, slot.get()?, meta) })?;
        slot.take()?.forget();
        // SAFETY: Ownership of the new skb, which has taken over the buffer.
        Some(unsafe { SkBuff::from_raw(skb) })
    }

    /// A further buffer of it. False if the frame has no room for another fragment, or there is no buffer.
    pub fn append(&mut self, skb: &mut SkBuff, len: u32) -> bool {
        let (pool, meta) = (self.pool.as_raw(), self.with_len(self.meta(), len));
        let slot = self.advance();
        let Some(buf) = slot.get() else {
            return false;
        };
        // SAFETY: As for `receive`.
        let done = unsafe { raw::nic_rx_add_frag(skb.raw_ptr(), pool, buf, meta) };
        if done {
            if let Some(buf) = slot.take() {
                buf.forget();
            }
        }
        done
    }

    /// Runs an XDP program on the frame of `len` bytes in the one buffer at `next_to_clean`.
    ///
    /// Synchronises and marks it first. `_napi` is the poll in which this happens.
    #[inline]
    pub fn run_xdp(&mut self, _napi: &NapiRef, prog: ProgRef<'_>, len: u32) -> Verdict {
        // The frame is read after the status that says that it is there.
        read_barrier();
        let i = self.next_to_clean;
        let Some(buf) = self.advance().get() else {
            return Verdict::Drop;
        };
        let len = len.min(self.pool.buf_len());
        let mut out = core::mem::MaybeUninit::<raw::nic_xdp_out>::uninit();
        // SAFETY: The buffer belongs to the pool; in a poll. C writes to `out` only.
        let verdict = unsafe { self.pool.run_xdp(prog, buf, len, out.as_mut_ptr()) };
        if verdict == raw::nic_xdp_verdict_NIC_XDP_DROP {
            // The buffer stays.
            return Verdict::Drop;
        }
        let Some(buf) = self.slot(i).take() else {
            return Verdict::Drop;
        };
        match verdict {
            raw::nic_xdp_verdict_NIC_XDP_PASS => Verdict::Pass(Passed {
                buf,
                at: raw::nic_xdp_out {
                    // SAFETY: Written by C for this verdict.
                    headroom: unsafe { (*out.as_ptr()).headroom },
                    // SAFETY: As above.
                    len: unsafe { (*out.as_ptr()).len },
                    // SAFETY: As above.
                    metasize: unsafe { (*out.as_ptr()).metasize },
                    frame: core::ptr::null_mut(),
                },
            }),
            raw::nic_xdp_verdict_NIC_XDP_TX => {
                buf.forget();
                // SAFETY: Written by C for this verdict.
                match NonNull::new(unsafe { (*out.as_ptr()).frame }) {
                    // SAFETY: C passes the ownership of the frame.
                    Some(frame) => Verdict::Tx(unsafe { XdpFrame::from_raw(frame) }),
                    None => Verdict::Drop,
                }
            }
            _ => {
                buf.forget();
                Verdict::Redirect
            }
        }
    }

    /// Hands a frame that a program has passed to the stack.
    pub fn receive_passed(&mut self, napi: &NapiRef, passed: Passed, meta: RxMeta) -> Received {
        let Passed { buf, at } = passed;
        // CAST: Less than a page; metadata has at most 255 bytes.
        let meta = meta
            .moved(at.headroom as u16, at.metasize as u8)
            .len(at.len as u16);
        // SAFETY: As for `receive`; C has kept the frame inside the buffer.
        let result = unsafe { raw::nic_rx_passed(napi.as_raw(), buf.as_raw(), meta.0) };
        if result != raw::nic_rx_result_NIC_RX_NOMEM {
            buf.forget();
        }
        Received::from_raw(result)
    }

    /// Moves the posted buffers to the front of the ring, for a device that lost its place in it, and calls `write` with the
    /// index and address of each descriptor's buffer, posted or kept, 0 where there is none. Returns how many are posted.
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
