// SPDX-License-Identifier: GPL-2.0
//! Streaming mappings.

use core::marker::PhantomData;
use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    dma::DmaAddress,
    prelude::*,
    sync::aref::ARef,
};
use nic_bindings as raw;

mod sealed {
    pub trait Sealed {}
}

/// Direction of a streaming mapping.
pub trait Direction: sealed::Sealed {
    /// `enum dma_data_direction`.
    #[doc(hidden)]
    const RAW: bindings::dma_data_direction;
}

/// The device reads.
pub struct ToDevice;
/// The device writes.
pub struct FromDevice;

impl sealed::Sealed for ToDevice {}
impl sealed::Sealed for FromDevice {}
impl Direction for ToDevice {
    const RAW: bindings::dma_data_direction = bindings::dma_data_direction::DMA_TO_DEVICE;
}
impl Direction for FromDevice {
    const RAW: bindings::dma_data_direction = bindings::dma_data_direction::DMA_FROM_DEVICE;
}

/// A buffer that is mapped for streaming DMA and that the device owns.
///
/// The CPU gets at the bytes only by giving up the mapping ([`Mapping::unmap`]) or by synchronising
/// it ([`Mapping::sync_for_cpu`]), and for [`FromDevice`] both mark the pages, see [`super::mark`].
///
/// # Invariants
///
/// `addr` is a mapping of the whole of `buf` for `dev` in direction `D`.
pub struct Mapping<D: Direction> {
    dev: ARef<device::Device>,
    buf: core::mem::ManuallyDrop<KVec<u8>>,
    addr: DmaAddress,
    _dir: PhantomData<D>,
}

// SAFETY: Neither the buffer nor the mapping belong to a thread.
unsafe impl<D: Direction> Send for Mapping<D> {}

/// `&device::Device` as a C pointer.
fn as_raw(dev: &device::Device) -> *mut bindings::device {
    // CAST: `Device` is a transparent wrapper of `Opaque<device>`.
    core::ptr::from_ref(dev).cast_mut().cast()
}

impl<D: Direction> Mapping<D> {
    /// Maps all bytes of `buf`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an empty buffer, `ENOMEM` if the IOMMU or the bounce buffer has no room.
    pub fn new(dev: &device::Device<Bound>, mut buf: KVec<u8>) -> Result<Self> {
        if buf.is_empty() {
            return Err(EINVAL);
        }
        let (va, len) = (buf.as_mut_ptr(), buf.len());
        // SAFETY: `buf` is a kmalloc allocation of `len` bytes, so it is in the linear mapping.
        let addr = unsafe { raw::nic_dma_map_single(as_raw(dev), va.cast(), len, D::RAW) };
        // SAFETY: `dev` is valid.
        if unsafe { raw::nic_dma_mapping_error(as_raw(dev), addr) } != 0 {
            return Err(ENOMEM);
        }
        // INVARIANT: Mapped above.
        Ok(Self {
            dev: ARef::from(&**dev),
            buf: core::mem::ManuallyDrop::new(buf),
            addr,
            _dir: PhantomData,
        })
    }

    /// Where the device finds the buffer.
    pub fn dma_address(&self) -> DmaAddress {
        self.addr
    }

    /// Size in bytes.
    pub fn size(&self) -> usize {
        self.buf.len()
    }

    /// Ends the mapping and returns the buffer.
    pub fn unmap(self) -> KVec<u8> {
        let mut this = core::mem::ManuallyDrop::new(self);
        this.release();
        // SAFETY: `this` is not dropped, so `dev` is dropped here once.
        unsafe { core::ptr::drop_in_place(&mut this.dev) };
        // SAFETY: `this` is not used again.
        unsafe { core::mem::ManuallyDrop::take(&mut this.buf) }
    }

    fn release(&mut self) {
        let len = self.buf.len();
        // SAFETY: By the type invariant. The sync is what marks, and it must come before the unmap.
        unsafe {
            raw::nic_dma_sync_for_cpu(
                as_raw(&self.dev),
                self.addr,
                self.buf.as_mut_ptr().cast(),
                len,
                D::RAW,
            );
            raw::nic_dma_unmap(as_raw(&self.dev), self.addr, len, D::RAW);
        }
    }
}

impl Mapping<FromDevice> {
    /// Lends the bytes to the CPU; the device gets them back when `f` returns.
    pub fn sync_for_cpu<R>(&mut self, f: impl FnOnce(&[u8]) -> R) -> R {
        let len = self.buf.len();
        // SAFETY: By the type invariant.
        unsafe {
            raw::nic_dma_sync_for_cpu(
                as_raw(&self.dev),
                self.addr,
                self.buf.as_mut_ptr().cast(),
                len,
                FromDevice::RAW,
            )
        };
        let r = f(&self.buf);
        // SAFETY: By the type invariant.
        unsafe { raw::nic_dma_sync_for_device(as_raw(&self.dev), self.addr, len, FromDevice::RAW) };
        r
    }
}

impl<D: Direction> Drop for Mapping<D> {
    fn drop(&mut self) {
        self.release();
        // SAFETY: `buf` is not used again.
        unsafe { core::mem::ManuallyDrop::drop(&mut self.buf) }
    }
}
