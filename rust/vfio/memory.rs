// SPDX-License-Identifier: GPL-2.0
//! Reading the memory that a device's user has mapped for it.
//!
//! With a type1 container `vfio_dma_rw` does it, under the container's lock. With iommufd the same
//! call refuses a physical device, so an `iommufd_access` of our own follows the device's
//! attachment; it reads under iommufd's locks, so that a page that user space unmaps meanwhile is
//! either read before or refused. That needs an attachment to an IOAS. To a page table that user
//! space has made itself (a HWPT id) there is no such way: iommufd does not say to which IOAS it
//! belongs, and walking the domain is not safe against a concurrent unmap, which frees its tables.
//! Then reads fail, and a driver must do without.

use kernel::{
    error::to_result,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};
use nic_bindings as raw;

/// An access to the device's IOAS. Not attached if it is bound but not attached, or attached to a
/// HWPT.
struct Access {
    access: *mut raw::iommufd_access,
    attached: bool,
}

// SAFETY: iommufd's functions may be called from any thread.
unsafe impl Send for Access {}

/// The user's memory.
#[pin_data]
pub struct Memory {
    vdev: *mut raw::vfio_device,
    #[pin]
    access: Mutex<Option<Access>>,
}

// SAFETY: `vdev` is only passed to `vfio_dma_rw`, which may be called from any thread.
unsafe impl Send for Memory {}
// SAFETY: `vdev` is only passed to `vfio_dma_rw`; the rest is behind a lock.
unsafe impl Sync for Memory {}

impl Memory {
    /// # Safety
    ///
    /// `vdev` outlives the result.
    pub(crate) unsafe fn new(vdev: *mut raw::vfio_device) -> impl PinInit<Self> {
        pin_init!(Self {
            vdev,
            access <- new_mutex!(None),
        })
    }

    /// Fills `out` from the address `iova` on.
    ///
    /// # Errors
    ///
    /// If any of it is not mapped, or if memory cannot be read at all. A kernel thread gets
    /// [`EFAULT`] for what is not there at the moment, and does not wait for it. `out` may be half
    /// filled then.
    pub fn read(&self, iova: u64, out: &mut [u8]) -> Result {
        if out.is_empty() {
            return Ok(());
        }
        let access = self.access.lock();
        // SAFETY: Faults are allowed again below.
        let off = unsafe { raw::vfio_rs_faults_off() };
        let result = self.copy(&access, iova, out);
        // SAFETY: As they were found above.
        unsafe { raw::vfio_rs_faults_on(off) };
        result
    }

    fn copy(&self, access: &Option<Access>, iova: u64, out: &mut [u8]) -> Result {
        match access {
            Some(Access {
                access,
                attached: true,
            }) => {
                // SAFETY: The access is valid and attached while the lock is held; `out` is a valid
                // buffer.
                to_result(unsafe {
                    raw::vfio_rs_access_read(
                        *access,
                        usize::try_from(iova)? as c_ulong,
                        out.as_mut_ptr().cast(),
                        out.len(),
                    )
                })
            }
            Some(_) => Err(EOPNOTSUPP),
            // SAFETY: The device is open: only then does anybody ask. `out` is a valid buffer.
            None => to_result(unsafe {
                raw::vfio_dma_rw(self.vdev, iova, out.as_mut_ptr().cast(), out.len(), false)
            }),
        }
    }

    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) fn bound(&self) {
        // SAFETY: The device is bound to an iommufd.
        let access = unsafe { raw::vfio_rs_access_create(self.vdev) };
        // Without an access reads fail, which costs time and not correctness.
        *self.access.lock() = Some(Access {
            access,
            attached: false,
        });
    }

    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) fn unbound(&self) {
        if let Some(Access { access, .. }) = self.access.lock().take() {
            if !access.is_null() {
                // SAFETY: Nobody uses it any more. An attached access is detached with it.
                unsafe { raw::vfio_rs_access_destroy(access) };
            }
        }
    }

    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) fn attached(&self, ioas: u32) {
        self.detached();
        if let Some(Access { access, attached }) = &mut *self.access.lock() {
            // SAFETY: The access is valid and not attached. An id that is not that of an IOAS is
            // refused.
            *attached =
                !access.is_null() && unsafe { raw::vfio_rs_access_attach(*access, ioas) } == 0;
        }
    }

    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) fn detached(&self) {
        if let Some(Access { access, attached }) = &mut *self.access.lock() {
            if core::mem::take(attached) {
                // SAFETY: The access is valid and attached.
                unsafe { raw::vfio_rs_access_detach(*access) };
            }
        }
    }
}
