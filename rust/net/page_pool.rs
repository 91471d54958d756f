// SPDX-License-Identifier: GPL-2.0
//! Receive buffers from a page pool, which keeps their pages mapped for DMA.
//!
//! C header: [`include/net/page_pool/types.h`](srctree/include/net/page_pool/types.h)

use super::{
    napi::NapiRef,
    skb::SkBuff,
    xdp::{
        ProgRef,
        XdpFrame, //
    },
    Device,
    Driver, //
};
use core::ptr::NonNull;
use kernel::{
    dma::DmaAddress,
    error::to_result,
    prelude::*,
    types::Opaque, //
};
use nic_bindings as raw;

/// Bytes in front of the frame that the stack wants for headers.
pub const RX_HEADROOM: u32 = raw::RUST_CONST_HELPER_SKB_HEADROOM;

/// Bytes behind the buffer that `struct skb_shared_info` takes.
pub const RX_TAILROOM: u32 = raw::RUST_CONST_HELPER_SKB_TAILROOM;

/// A pool of pages that are mapped for one device and refilled in the context of one NAPI instance.
///
/// # Invariants
///
/// `pool` is a page pool that this object created and has not destroyed.
pub struct PagePool {
    pool: NonNull<raw::page_pool>,
    /// Registered with the pool as its memory model. In a box of its own since C keeps a pointer.
    rxq: KBox<Opaque<raw::xdp_rxq_info>>,
    truesize: u32,
    headroom: u32,
    len: u32,
}

// SAFETY: A pool may be used from one context at a time, of any thread; the methods that allocate need `&mut`.
unsafe impl Send for PagePool {}

impl PagePool {
    /// Creates a pool of buffers of `truesize` bytes, of which the device may write `len` after `headroom`.
    ///
    /// Two buffers share a page if they fit. `size` is how many pages the pool keeps, at least the number of buffers in
    /// the ring.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a buffer with its `skb_shared_info` does not fit into `truesize` or a page.
    pub fn new<D: Driver>(
        dev: &Device<D>,
        napi: &NapiRef,
        queue: u32,
        size: u32,
        truesize: u32,
        headroom: u32,
        len: u32,
    ) -> Result<Self> {
        let used = headroom
            .checked_add(len)
            .and_then(|n| n.checked_add(RX_TAILROOM))
            .ok_or(EINVAL)?;
        if used > truesize || truesize as usize > kernel::page::PAGE_SIZE {
            return Err(EINVAL);
        }
        // A page that holds two buffers is synchronised as a whole.
        let (offset, max_len) = if truesize as usize > kernel::page::PAGE_SIZE / 2 {
            (headroom, len)
        } else {
            (0, kernel::page::PAGE_SIZE as u32)
        };
        // SAFETY: The device is bound while its netdev exists; `napi` belongs to `dev`.
        let pool = unsafe {
            raw::nic_page_pool_create(
                dev.parent_raw(),
                napi.as_raw(),
                dev.as_raw(),
                queue,
                size,
                offset,
                max_len,
                false,
            )
        };
        let pool = kernel::error::from_err_ptr(pool)?;
        let pool = NonNull::new(pool).ok_or(ENOMEM)?;
        let registered = KBox::new(Opaque::zeroed(), GFP_KERNEL)
            .map_err(Error::from)
            .and_then(|rxq| {
                // SAFETY: All are valid; a box does not move. If this fails nothing is registered.
                to_result(unsafe {
                    raw::nic_xdp_rxq_reg(rxq.get(), dev.as_raw(), queue, pool.as_ptr())
                })?;
                Ok(rxq)
            });
        let rxq = match registered {
            Ok(rxq) => rxq,
            Err(e) => {
                // SAFETY: Just created.
                unsafe { raw::page_pool_destroy(pool.as_ptr()) };
                return Err(e);
            }
        };
        // INVARIANT: Just created.
        Ok(Self {
            pool,
            rxq,
            truesize,
            headroom,
            len,
        })
    }

    /// Takes a buffer, mapped and ready to be posted. `None` if there is no memory.
    #[inline]
    pub fn alloc(&mut self) -> Option<RxBuf> {
        let mut offset = 0;
        let mut dma = 0;
        // SAFETY: By the type invariant; `&mut self` is what keeps this in one context.
        let page = unsafe {
            raw::nic_page_pool_alloc(self.pool.as_ptr(), &mut offset, self.truesize, &mut dma)
        };
        Some(RxBuf {
            page: NonNull::new(page)?,
            dma: dma + DmaAddress::from(self.headroom),
            offset: offset + self.headroom,
            len: self.len,
        })
    }

    /// Turns a buffer that the device has written `len` bytes into into a socket buffer.
    ///
    /// Synchronises and marks, then wraps the page: no copy. `None` if there is no memory; the buffer is gone then.
    #[inline]
    pub fn build_skb(&mut self, buf: RxBuf, len: u32) -> Option<SkBuff> {
        let len = len.min(buf.len);
        let buf = core::mem::ManuallyDrop::new(buf);
        // SAFETY: `buf` owns one reference of a page of this pool, and the buffer has `headroom` bytes in front and
        // `RX_TAILROOM` behind by construction of the pool.
        let skb = unsafe {
            raw::nic_rx_build(
                self.pool.as_ptr(),
                buf.page.as_ptr(),
                buf.offset - self.headroom,
                self.headroom,
                len,
                self.truesize,
            )
        };
        let Some(skb) = NonNull::new(skb) else {
            drop(core::mem::ManuallyDrop::into_inner(buf));
            return None;
        };
        // SAFETY: Ownership of the new skb, which has taken over the page reference.
        Some(unsafe { SkBuff::from_raw(skb) })
    }

    /// Appends a buffer that the device has written `len` bytes into to a frame that spans several.
    ///
    /// Returns false, and the buffer is gone, if the frame has no room for another fragment.
    pub fn add_frag(&mut self, skb: &mut SkBuff, buf: RxBuf, len: u32) -> bool {
        let len = len.min(buf.len);
        let buf = core::mem::ManuallyDrop::new(buf);
        // SAFETY: As for `build_skb`.
        let done = unsafe {
            raw::nic_rx_add_frag(
                skb.raw_ptr(),
                self.pool.as_ptr(),
                buf.page.as_ptr(),
                buf.offset,
                len,
                self.truesize,
            )
        };
        if !done {
            drop(core::mem::ManuallyDrop::into_inner(buf));
        }
        done
    }

    /// Runs an XDP program on a buffer that the device has written `len` bytes into.
    ///
    /// Synchronises and marks it first. Called from a NAPI poll.
    #[inline]
    pub fn run_xdp<D: Driver>(
        &mut self,
        dev: &Device<D>,
        prog: ProgRef<'_>,
        buf: RxBuf,
        len: u32,
    ) -> Verdict {
        let len = len.min(buf.len);
        let buf = core::mem::ManuallyDrop::new(buf);
        let mut out = raw::nic_xdp_pass::default();
        let mut frame = core::ptr::null_mut();
        // SAFETY: `buf` owns one reference of a page of this pool, with room as the pool was created for. This is a NAPI
        // poll, so a read-side critical section that the program outlives.
        let verdict = unsafe {
            raw::nic_xdp_run(
                prog.as_raw(),
                self.rxq.get(),
                dev.as_raw(),
                self.pool.as_ptr(),
                buf.page.as_ptr(),
                buf.offset - self.headroom,
                self.headroom,
                len,
                self.truesize,
                &mut out,
                &mut frame,
            )
        };
        match verdict {
            raw::nic_xdp_verdict_NIC_XDP_PASS => Verdict::Pass(Passed {
                buf: core::mem::ManuallyDrop::into_inner(buf),
                pass: out,
            }),
            raw::nic_xdp_verdict_NIC_XDP_TX => match NonNull::new(frame) {
                // SAFETY: C passes the ownership of the frame.
                Some(frame) => Verdict::Tx(unsafe { XdpFrame::from_raw(frame) }),
                None => Verdict::Drop,
            },
            raw::nic_xdp_verdict_NIC_XDP_REDIRECT => Verdict::Redirect,
            _ => Verdict::Drop,
        }
    }

    /// Turns a frame that a program has passed into a socket buffer. `None` if there is no memory.
    pub fn build_passed(&mut self, passed: Passed) -> Option<SkBuff> {
        let buf = core::mem::ManuallyDrop::new(passed.buf);
        // SAFETY: As for `build_skb`; C has kept the frame inside the buffer.
        let skb = unsafe {
            raw::nic_xdp_build(
                buf.page.as_ptr(),
                buf.offset - self.headroom,
                passed.pass.headroom,
                passed.pass.len,
                passed.pass.metasize,
                self.truesize,
            )
        };
        let Some(skb) = NonNull::new(skb) else {
            drop(core::mem::ManuallyDrop::into_inner(buf));
            return None;
        };
        // SAFETY: Ownership of the new skb, which has taken over the page reference.
        Some(unsafe { SkBuff::from_raw(skb) })
    }

    /// Bytes that the device may write into each buffer.
    pub fn buf_len(&self) -> u32 {
        self.len
    }

    /// Bytes of memory behind each buffer.
    pub fn truesize(&self) -> u32 {
        self.truesize
    }
}

impl Drop for PagePool {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. The registration is a user of the pool of its own, so both are released. Pages
        // that are still in the stack keep the C object alive.
        unsafe {
            raw::xdp_rxq_info_unreg(self.rxq.get());
            raw::page_pool_destroy(self.pool.as_ptr());
        }
    }
}

/// A received frame that an XDP program has passed, where it may have moved the start and the end.
pub struct Passed {
    buf: RxBuf,
    pass: raw::nic_xdp_pass,
}

/// What an XDP program wants done with a frame.
pub enum Verdict {
    /// Up to the stack, by [`PagePool::build_passed`].
    Pass(Passed),
    /// It is gone.
    Drop,
    /// Out of the interface that it came from.
    Tx(XdpFrame),
    /// It went elsewhere; [`super::xdp::flush`] is due at the end of the poll.
    Redirect,
}

/// A receive buffer that the device owns, or will.
///
/// The only ways on are [`PagePool::build_skb`], [`PagePool::add_frag`] and [`PagePool::run_xdp`], which synchronise and mark it. Dropping it
/// marks it too: the device may have begun to write.
///
/// # Invariants
///
/// Owns one reference of `page`, which belongs to a page pool, and the bytes of the buffer at `offset`.
pub struct RxBuf {
    page: NonNull<raw::page>,
    dma: DmaAddress,
    offset: u32,
    len: u32,
}

// SAFETY: A page reference does not belong to a thread.
unsafe impl Send for RxBuf {}

impl RxBuf {
    /// Where the device writes the frame to.
    #[inline]
    pub fn dma_address(&self) -> DmaAddress {
        self.dma
    }
}

impl Drop for RxBuf {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { raw::nic_page_pool_put(self.page.as_ptr(), self.offset, self.len) }
    }
}
