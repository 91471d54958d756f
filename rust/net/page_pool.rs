// SPDX-License-Identifier: GPL-2.0
//! Receive buffers from a page pool, which keeps their pages mapped for DMA.
//!
//! C header: [`include/net/page_pool/types.h`](srctree/include/net/page_pool/types.h)

use super::{
    napi::NapiRef,
    xdp::ProgRef,
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

/// Bytes behind the buffer that `struct skb_shared_info` takes.
pub const RX_TAILROOM: u32 = raw::RUST_CONST_HELPER_SKB_TAILROOM;

/// A pool of pages that are mapped for one device and refilled in the context of one NAPI instance.
///
/// A page holds one buffer. Two of standard frames would fit; but then each half is counted when it is taken and when it comes
/// back, which costs a frame more than it saves (`Documentation/networking/device_drivers/ethernet/intel/ixgbe-performance.rst`).
///
/// # Invariants
///
/// `pool` is a page pool that this object created and has not destroyed.
pub struct PagePool {
    pool: NonNull<raw::page_pool>,
    /// Registered with the pool as its memory model. In a box of its own since C keeps a pointer.
    xdp: KBox<Opaque<raw::nic_xdp>>,
    pub(super) headroom: u16,
    pub(super) len: u16,
}

// SAFETY: A pool may be used from one context at a time, of any thread; the methods that allocate need `&mut`.
unsafe impl Send for PagePool {}

impl PagePool {
    /// Creates a pool of buffers, of which the device may write `len` bytes after `headroom`.
    ///
    /// `size` is how many pages the pool keeps, at least the number of buffers in the ring.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a buffer with its `skb_shared_info` does not fit into a page.
    pub fn new<D: Driver>(
        dev: &Device<D>,
        napi: &NapiRef,
        queue: u32,
        size: u32,
        (headroom, len): (u16, u16),
    ) -> Result<Self> {
        let used = u32::from(headroom)
            .wrapping_add(len.into())
            .wrapping_add(RX_TAILROOM);
        if used as usize > kernel::page::PAGE_SIZE {
            return Err(EINVAL);
        }
        // SAFETY: The device is bound while its netdev exists; `napi` belongs to `dev`.
        let pool = unsafe {
            raw::nic_page_pool_create(
                dev.parent_raw(),
                napi.as_raw(),
                dev.as_raw(),
                queue,
                size,
                headroom.into(),
                len.into(),
            )
        };
        let pool = kernel::error::from_err_ptr(pool)?;
        let pool = NonNull::new(pool).ok_or(ENOMEM)?;
        let registered = KBox::new(Opaque::zeroed(), GFP_KERNEL)
            .map_err(Error::from)
            .and_then(|xdp| {
                // SAFETY: All are valid; a box does not move. If this fails nothing is registered.
                to_result(unsafe {
                    raw::nic_xdp_rxq_reg(xdp.get(), dev.as_raw(), queue, pool.as_ptr())
                })?;
                // SAFETY: Nobody else has it.
                unsafe { (*xdp.get()).headroom = headroom.into() };
                Ok(xdp)
            });
        let xdp = match registered {
            Ok(xdp) => xdp,
            Err(e) => {
                // SAFETY: Just created.
                unsafe { raw::page_pool_destroy(pool.as_ptr()) };
                return Err(e);
            }
        };
        // INVARIANT: Just created.
        Ok(Self {
            pool,
            xdp,
            headroom,
            len,
        })
    }

    /// What [`RxMeta`](super::RxMeta) says about a buffer.
    #[inline]
    pub(super) fn describe(&self, meta: &mut raw::nic_rx_meta, len: u32) {
        meta.headroom = self.headroom;
        // CAST: Not more than what the buffer holds.
        meta.len = len.min(self.len.into()) as u16;
    }

    #[inline]
    pub(super) fn as_raw(&self) -> *mut raw::page_pool {
        self.pool.as_ptr()
    }

    /// Takes a buffer, mapped and ready to be posted. `None` if there is no memory.
    #[inline]
    pub fn alloc(&mut self) -> Option<RxBuf> {
        let gfp = raw::RUST_CONST_HELPER_GFP_PAGE_POOL as raw::gfp_t;
        // SAFETY: By the type invariant; `&mut self` is what keeps this in one context.
        let page = unsafe { raw::page_pool_alloc_netmems(self.pool.as_ptr(), gfp) };
        // Without a memory provider a `netmem_ref` is the address of a page.
        let page = NonNull::new(page as *mut raw::page)?;
        // SAFETY: A page of a pool holds its DMA address there, see `nic_page_pool_create`.
        let dma = unsafe {
            page.byte_add(raw::RUST_CONST_HELPER_PAGE_DMA_ADDR)
                .cast::<DmaAddress>()
                .read()
        };
        // INVARIANT: The pool gives one reference.
        Some(RxBuf {
            page,
            dma: dma.wrapping_add(self.headroom.into()),
        })
    }

    /// Runs an XDP program on a buffer that the device has written `len` bytes into, not more than the buffer has.
    ///
    /// # Safety
    ///
    /// `page` is a buffer of this pool. This is a NAPI poll, so a read-side critical section that the program outlives.
    /// `out` can be written to.
    #[inline]
    pub(super) unsafe fn run_xdp(
        &mut self,
        prog: ProgRef<'_>,
        page: NonNull<raw::page>,
        len: u32,
        out: *mut raw::nic_xdp_out,
    ) -> raw::nic_xdp_verdict {
        // SAFETY: By the safety requirements; the box is registered.
        unsafe { raw::nic_xdp_run(prog.as_raw(), self.xdp.get(), page.as_ptr(), len, out) }
    }

    /// Bytes that the device may write into each buffer.
    pub fn buf_len(&self) -> u32 {
        self.len.into()
    }
}

impl Drop for PagePool {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. The registration is a user of the pool of its own, so both are released. Pages
        // that are still in the stack keep the C object alive.
        unsafe {
            raw::nic_xdp_rxq_unreg(self.xdp.get());
            raw::page_pool_destroy(self.pool.as_ptr());
        }
    }
}

/// A receive buffer that the device owns, or will.
///
/// A frame in it gets out by way of [`super::RxRing`] only, which synchronises and marks it. Dropping it marks it too: the
/// device may have begun to write.
///
/// # Invariants
///
/// Owns one reference of `page`, which belongs to a page pool.
pub struct RxBuf {
    pub(super) page: NonNull<raw::page>,
    dma: DmaAddress,
}

// SAFETY: A page reference does not belong to a thread.
unsafe impl Send for RxBuf {}

impl RxBuf {
    /// Where the device writes the frame to.
    #[inline]
    pub fn dma_address(&self) -> DmaAddress {
        self.dma
    }

    /// Gives up the reference, which has gone elsewhere.
    #[inline]
    pub(super) fn forget(self) {
        let _ = core::mem::ManuallyDrop::new(self);
    }
}

impl Drop for RxBuf {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe {
            raw::nic_page_pool_put(self.page.as_ptr(), 0, kernel::page::PAGE_SIZE as u32);
        }
    }
}
