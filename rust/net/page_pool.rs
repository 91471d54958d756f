// SPDX-License-Identifier: GPL-2.0
//! Receive buffers from a page pool, which keeps their pages mapped for DMA.
//!
//! C header: [`include/net/page_pool/types.h`](srctree/include/net/page_pool/types.h)

use super::{
    instance::{
        Instance,
        NapiSetup,
        Rest, //
    },
    ops::{
        Device,
        Driver, //
    },
    skb::Place,
    xdp::ProgRef, //
};
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    dma::DmaAddress,
    prelude::*,
    sync::Arc, //
};
use nic_bindings as raw;

/// Bytes behind the buffer that `struct skb_shared_info` takes.
const RX_TAILROOM: u32 = raw::RUST_CONST_HELPER_SKB_TAILROOM;

/// A pool of pages that are mapped for one device and refilled in the context of one NAPI instance.
///
/// A buffer with its headroom and `skb_shared_info` that fits into half a page gets one; the halves
/// of a page are posted one after the other, and the page goes back when both have come back.
///
/// # Invariants
///
/// `from.pool` is the page pool of `rest`, whose instance is `instance`. `from.spare` is empty or
/// owns a reference.
pub(super) struct PagePool {
    from: raw::nic_rx_pool,
    rest: ManuallyDrop<KBox<Rest>>,
    instance: Arc<Instance>,
    /// The device that its pages are mapped for, to be compared with another.
    dev: *const bindings::device,
    /// What is the same in all frames.
    pub(super) place: Place,
    pub(super) len: u16,
}

// SAFETY: It may go to another thread. What C keeps without a lock belongs to the poll of the
// instance, or to whoever has disabled it: `fill` and `run_xdp` want that, and `drop` leaves it to
// who does.
unsafe impl Send for PagePool {}

impl PagePool {
    /// Creates a pool of buffers, of which the device may write `len` bytes after `headroom`.
    ///
    /// If frames are to be sent back from their buffers, as XDP programs want it, the device may
    /// read them too (`send_back`). `size` is how many pages the pool keeps, at least the number of buffers in the ring.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a buffer with its `skb_shared_info` does not fit into a page, if the device has
    /// no such queue, or if `napi` is another device's.
    pub(super) fn new<D: Driver>(
        dev: &Device<D>,
        napi: &NapiSetup,
        queue: u32,
        size: u32,
        (headroom, len): (u16, u16),
        send_back: bool,
    ) -> Result<Self> {
        const PAGE: u32 = kernel::page::PAGE_SIZE as u32;
        let used = u32::from(headroom)
            .wrapping_add(len.into())
            .wrapping_add(RX_TAILROOM);
        // How many buffers a page holds.
        let share = PAGE.checked_div(used).unwrap_or(0).min(2);
        if share == 0 || napi.netdev != dev.as_raw() || queue >= dev.num_rx() {
            return Err(EINVAL);
        }
        let index = u16::try_from(queue)?;
        let truesize = u16::try_from(PAGE / share)?;
        // From the first frame of a page to the end of the last.
        let synced = (PAGE - PAGE / share).wrapping_add(len.into());
        // SAFETY: The device is bound while its netdev exists; `napi` belongs to `dev`, and stays
        // at least as long as the pool.
        let pool = unsafe {
            raw::nic_page_pool_create(
                dev.parent_raw(),
                napi.instance.as_raw(),
                dev.as_raw(),
                queue,
                size.div_ceil(share),
                headroom.into(),
                synced,
                send_back,
            )
        };
        let pool = kernel::error::from_err_ptr(pool)?;
        let pool = NonNull::new(pool).ok_or(ENOMEM)?;
        // SAFETY: Just created, for this device.
        let mut rest = unsafe { Rest::new(pool, dev.get_ref()) }?;
        // SAFETY: All are valid; a box does not move.
        unsafe { rest.register(dev.as_raw(), queue) }?;
        // SAFETY: Nobody else has it.
        unsafe {
            (*rest.xdp()).headroom = headroom.into();
            (*rest.xdp()).truesize = truesize.into();
        }
        Ok(Self {
            from: raw::nic_rx_pool {
                pool: pool.as_ptr(),
                headroom,
                truesize,
                ..Default::default()
            },
            rest: ManuallyDrop::new(rest),
            instance: napi.instance.clone(),
            dev: dev.parent_raw(),
            place: Place::new(index, headroom, truesize),
            len,
        })
    }

    /// The instance that it belongs to.
    #[inline]
    pub(super) fn napi(&self) -> *mut raw::napi_struct {
        self.instance.as_raw()
    }

    #[inline]
    pub(super) fn as_raw(&self) -> *mut raw::page_pool {
        self.from.pool
    }

    /// The device that its pages are mapped for, to be compared with another.
    #[inline]
    pub(super) fn dev(&self) -> *const bindings::device {
        self.dev
    }

    /// Puts buffers, mapped and ready to be posted, into the first of `slots`, up to one that has a
    /// buffer. Returns how many: fewer than that if there is no memory.
    ///
    /// # Safety
    ///
    /// This is a poll of the pool's instance, or the instance is disabled by the caller.
    #[inline]
    pub(super) unsafe fn fill(&mut self, slots: &mut [RxSlot]) -> usize {
        // CAST: A slot is a transparent wrapper; a ring has fewer than 2^32.
        let (bufs, n) = (slots.as_mut_ptr().cast(), slots.len() as u32);
        // SAFETY: By the type invariant and the safety requirement. C writes to empty slots only.
        let filled = unsafe { raw::nic_rx_pool_fill(&mut self.from, bufs, n) };
        // CAST: Not more than there are slots.
        filled as usize
    }

    /// Runs an XDP program on a buffer that the device has written `len` bytes into, not more than
    /// the buffer has.
    ///
    /// # Safety
    ///
    /// `buf` is a buffer of this pool. This is a poll of the pool's instance, so a read-side
    /// critical section that the program outlives. `out` can be written to.
    #[inline]
    pub(super) unsafe fn run_xdp(
        &mut self,
        prog: ProgRef<'_>,
        buf: raw::nic_rx_buf,
        len: u32,
        out: *mut raw::nic_xdp_out,
    ) -> raw::nic_xdp_verdict {
        // SAFETY: By the safety requirements; the box is registered.
        unsafe { raw::nic_xdp_run(prog.as_raw(), self.rest.xdp(), buf, len, out) }
    }

    /// Bytes that the device may write into each buffer.
    pub(super) fn buf_len(&self) -> u32 {
        self.len.into()
    }
}

impl Drop for PagePool {
    fn drop(&mut self) {
        drop(RxSlot(self.from.spare));
        // SAFETY: Not used again.
        let rest = unsafe { ManuallyDrop::take(&mut self.rest) };
        self.instance.pools.lock().give_up(rest);
    }
}

/// A receive buffer that the device owns, or will.
///
/// A frame in it gets out by way of [`super::RxRing`] only, which synchronises and marks it.
/// Dropping it marks it too: the device may have begun to write.
///
/// # Invariants
///
/// Owns one reference to the page of a page pool in which `va` lies.
pub(super) struct RxBuf(raw::nic_rx_buf);

// SAFETY: A page reference does not belong to a thread.
unsafe impl Send for RxBuf {}

impl RxBuf {
    #[inline]
    pub(super) fn as_raw(&self) -> raw::nic_rx_buf {
        self.0
    }

    /// Gives up the reference, which has gone elsewhere.
    #[inline]
    pub(super) fn forget(self) {
        let _ = core::mem::ManuallyDrop::new(self);
    }
}

impl Drop for RxBuf {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it owns the reference that C gives up.
        unsafe { raw::nic_rx_buf_put(self.0) };
    }
}

/// A place for a buffer.
///
/// # Invariants
///
/// `va` is null, or this is what an [`RxBuf`] is.
#[repr(transparent)]
pub(super) struct RxSlot(raw::nic_rx_buf);

// SAFETY: What it owns, if anything, is a page reference, which does not belong to a thread.
unsafe impl Send for RxSlot {}

impl RxSlot {
    pub(super) const EMPTY: Self = Self(raw::nic_rx_buf {
        va: core::ptr::null_mut(),
        dma: 0,
    });

    #[inline]
    pub(super) fn is_some(&self) -> bool {
        !self.0.va.is_null()
    }

    /// Where the device writes to, if there is a buffer.
    #[inline]
    pub(super) fn dma_address(&self) -> DmaAddress {
        self.0.dma
    }

    /// The buffer, which stays, as C takes it.
    #[inline]
    pub(super) fn get(&self) -> Option<raw::nic_rx_buf> {
        self.is_some().then_some(self.0)
    }

    #[inline]
    pub(super) fn take(&mut self) -> Option<RxBuf> {
        let buf = self.get()?;
        self.0.va = core::ptr::null_mut();
        // INVARIANT: By that of the slot, which has given it up.
        Some(RxBuf(buf))
    }

    /// Puts a buffer into an empty slot.
    #[inline]
    pub(super) fn put(&mut self, buf: RxBuf) {
        self.0 = buf.0;
        buf.forget();
    }
}

impl Drop for RxSlot {
    fn drop(&mut self) {
        drop(self.take());
    }
}
