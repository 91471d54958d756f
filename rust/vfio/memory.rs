// SPDX-License-Identifier: GPL-2.0
//! Reading the memory that a device's user has mapped for it.
//!
//! With a type1 container `vfio_dma_rw` does it, under the container's lock. With iommufd the same
//! call refuses a physical device, so an `iommufd_access` of our own follows the device's
//! attachment; it reads under iommufd's locks, so that a page that user space unmaps meanwhile is
//! either read before or refused. That needs the IOAS's id.
//!
//! QEMU attaches a device to a page table that it has made itself (a HWPT id), and iommufd does not
//! say to which IOAS that belongs. It belongs to one that exists, so where there is one alone, it
//! is that. Where there are more, or where the page table is a guest's own (nested), reads fail,
//! and a driver must do without. Walking the domain instead is not safe against a concurrent unmap,
//! which frees its tables.

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

#[cfg(CONFIG_IOMMUFD)]
impl Access {
    fn attach(&mut self, ioas: u32) -> bool {
        // SAFETY: The access is valid and not attached. An id that is not that of an IOAS is
        // refused.
        self.attached = unsafe { raw::vfio_rs_access_attach(self.access, ioas) } == 0;
        self.attached
    }

    fn detach(&mut self) {
        if core::mem::take(&mut self.attached) {
            // SAFETY: The access is valid and attached.
            unsafe { raw::vfio_rs_access_detach(self.access) };
        }
    }
}

/// The greatest id that is looked at for an IOAS. iommufd gives each new object the lowest free id
/// (`_iommufd_object_alloc` in `drivers/iommu/iommufd/main.c`), and a VM has a few objects for each
/// device. A user who makes this many, and then a second IOAS, has the wrong memory of its own
/// read: no one else's.
#[cfg(CONFIG_IOMMUFD)]
const LAST_ID: u32 = 4096;

/// The IOAS of an iommufd that has one alone. The access is not attached, before and afterwards.
#[cfg(CONFIG_IOMMUFD)]
fn only_ioas(access: &mut Access) -> Option<u32> {
    let mut found = None;
    for id in 1..=LAST_ID {
        if access.attach(id) {
            access.detach();
            if found.replace(id).is_some() {
                return None;
            }
        }
    }
    found
}

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

    /// # Safety
    ///
    /// The device has just been attached to `id`, and its set's lock is held since then.
    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) unsafe fn attached(&self, id: u32) {
        self.detached();
        let mut guard = self.access.lock();
        let Some(access) = &mut *guard else {
            return;
        };
        if access.access.is_null() {
            return;
        }
        // SAFETY: As this function demands.
        if access.attach(id) || !unsafe { raw::vfio_rs_domain_is_paging(self.vdev) } {
            return;
        }
        if let Some(ioas) = only_ioas(access) {
            access.attach(ioas);
        }
    }

    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) fn detached(&self) {
        if let Some(access) = &mut *self.access.lock() {
            access.detach();
        }
    }
}
