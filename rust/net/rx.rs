// SPDX-License-Identifier: GPL-2.0
//! Receive rings.
//!
//! A ring is filled and emptied by one NAPI poll: descriptors, the buffers that are posted in them, and the pool from which
//! they come. What happens to a frame is one call of C, from the buffer to the stack.

use super::{
    napi::NapiRef,
    page_pool::{
        PagePool,
        RxBuf, //
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
    bufs: KVVec<Option<RxBuf>>,
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
        napi: &NapiRef,
        queue: u32,
        count: u32,
        layout: (u16, u16),
    ) -> Result<Self> {
        if count == 0 {
            return Err(EINVAL);
        }
        let mut bufs = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        for _ in 0..count {
            bufs.push(None, GFP_KERNEL)?;
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
    fn slot(&mut self, i: u32) -> &mut Option<RxBuf> {
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
        let n = self.unused();
        let mut i = self.next_to_use;
        let mut posted = 0;
        while posted < n {
            let kept = self.slot(i).as_ref().map(RxBuf::dma_address);
            let (dma, new) = match kept {
                Some(dma) => (dma, false),
                None => {
                    let Some(buf) = self.pool.alloc() else { break };
                    let dma = buf.dma_address();
                    // SAFETY: The slot is valid; it is empty, so that nothing is forgotten.
                    unsafe { core::ptr::write(self.slot(i), Some(buf)) };
                    (dma, true)
                }
            };
            // SAFETY: `i` is below the length.
            unsafe { self.desc.write_unchecked(i, make(i, dma, new)) };
            i = self.after(i);
            posted = posted.wrapping_add(1);
        }
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

    /// Goes on to the next descriptor; returns the index of this one, and its buffer.
    #[inline]
    fn advance(&mut self) -> (u32, Option<NonNull<raw::page>>) {
        let i = self.next_to_clean;
        self.next_to_clean = self.after(i);
        (i, self.slot(i).as_ref().map(|b| b.page))
    }

    /// The buffer of descriptor `i` has gone elsewhere.
    #[inline]
    fn forget(&mut self, i: u32) {
        let slot: *mut Option<RxBuf> = self.slot(i);
        // SAFETY: A valid slot; what it owned is not dropped, since it is owned elsewhere.
        unsafe { core::ptr::write(slot, None) };
    }

    /// Whether descriptor `i` has a buffer, posted or to be posted again; false outside the ring.
    pub fn has_buffer(&self, i: u32) -> bool {
        matches!(self.bufs.get(i as usize), Some(Some(_)))
    }

    /// Gives up a frame, or a part of one: its buffer stays in the ring.
    pub fn skip(&mut self) {
        let Some(page) = self.advance().1 else { return };
        // SAFETY: The page belongs to the pool.
        unsafe {
            raw::nic_page_pool_reuse(
                self.pool.as_raw(),
                page.as_ptr(),
                self.pool.headroom.into(),
                self.pool.len.into(),
            )
        };
    }

    /// Hands the frame of `len` bytes in the one buffer at `next_to_clean` to the stack, with what the device found out.
    ///
    /// Synchronises and marks, then wraps the page: no copy. Without memory for that the buffer stays in the ring.
    #[inline]
    pub fn receive(&mut self, napi: &NapiRef, len: u32, mut meta: RxMeta) -> Received {
        let (i, buf) = self.advance();
        let Some(page) = buf else {
            return Received::Lost;
        };
        self.pool.describe(&mut meta.0, len);
        // SAFETY: The page belongs to the pool, of which this has one reference, and has room around the frame by
        // construction of the pool; `napi` is being polled by this CPU.
        let result =
            unsafe { raw::nic_rx_frame(napi.as_raw(), self.pool.as_raw(), page.as_ptr(), &meta.0) };
        if result != raw::nic_rx_result_NIC_RX_NOMEM {
            self.forget(i);
        }
        Received::from_raw(result)
    }

    /// The first buffer of a frame that spans several, at `next_to_clean`. `None` if there is no memory.
    pub fn begin(&mut self, len: u32) -> Option<SkBuff> {
        let (i, buf) = self.advance();
        let page = buf?;
        let mut meta = raw::nic_rx_meta::default();
        self.pool.describe(&mut meta, len);
        // SAFETY: As for `receive`.
        let skb = unsafe { raw::nic_rx_build(self.pool.as_raw(), page.as_ptr(), &meta) };
        let skb = NonNull::new(skb)?;
        self.forget(i);
        // SAFETY: Ownership of the new skb, which has taken over the page reference.
        Some(unsafe { SkBuff::from_raw(skb) })
    }

    /// A further buffer of it. False if the frame has no room for another fragment, or there is no buffer.
    pub fn append(&mut self, skb: &mut SkBuff, len: u32) -> bool {
        let (i, buf) = self.advance();
        let Some(page) = buf else {
            return false;
        };
        let mut meta = raw::nic_rx_meta::default();
        self.pool.describe(&mut meta, len);
        // SAFETY: As for `receive`.
        let done = unsafe {
            raw::nic_rx_add_frag(skb.raw_ptr(), self.pool.as_raw(), page.as_ptr(), &meta)
        };
        if done {
            self.forget(i);
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
        let (i, page) = self.advance();
        let Some(page) = page else {
            return Verdict::Drop;
        };
        let len = len.min(self.pool.len.into());
        let mut out = core::mem::MaybeUninit::<raw::nic_xdp_out>::uninit();
        // SAFETY: The page belongs to the pool; in a poll. C writes to `out` only.
        let verdict = unsafe { self.pool.run_xdp(prog, page, len, out.as_mut_ptr()) };
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
    pub fn receive_passed(&mut self, napi: &NapiRef, passed: Passed, mut meta: RxMeta) -> Received {
        let Passed { buf, at } = passed;
        // CAST: Less than a page; metadata has at most 255 bytes.
        meta.0.headroom = at.headroom as u16;
        meta.0.len = at.len as u16;
        meta.0.metasize = at.metasize as u8;
        meta.0.flags |= raw::NIC_RX_SYNCED as u8;
        // SAFETY: As for `receive`; C has kept the frame inside the buffer.
        let result = unsafe {
            raw::nic_rx_frame(
                napi.as_raw(),
                self.pool.as_raw(),
                buf.page.as_ptr(),
                &meta.0,
            )
        };
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
            let addr = buf.as_ref().map_or(0, RxBuf::dma_address);
            self.desc.write(i, write(i, addr));
        }
        self.next_to_clean = 0;
        // INVARIANT: Fewer than there are descriptors.
        self.next_to_use = posted;
        posted
    }
}
