// SPDX-License-Identifier: GPL-2.0
//! Work that a driver does from time to time while its device is open.

use crate::device::{
    Device,
    Driver, //
};
use core::cell::UnsafeCell;
use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
    types::Opaque, //
};
use nic_bindings as raw;

/// Times below this are slept through, since the timer of delayed work counts in jiffies.
const SLEEP_US: u64 = 10_000;

/// [`Driver::work`] of one device, run by a kernel thread.
///
/// # Invariants
///
/// `device` is the device that this is part of. The work is queued and runs only while the device
/// is open: it is queued under calls of VFIO core for an open device, and [`Work::cancel`] is
/// called when it is closed.
#[pin_data]
pub(crate) struct Work<T: Driver> {
    device: *const Device<T>,
    #[pin]
    work: Opaque<UnsafeCell<raw::delayed_work>>,
}

// SAFETY: The device may be used from any thread, and the C work is made for that.
unsafe impl<T: Driver> Send for Work<T> {}
// SAFETY: As above.
unsafe impl<T: Driver> Sync for Work<T> {}

impl<T: Driver> Work<T> {
    /// # Safety
    ///
    /// The result becomes part of `device`.
    pub(crate) unsafe fn new(device: *const Device<T>) -> impl PinInit<Self> {
        // INVARIANT: By the safety requirement.
        pin_init!(Self {
            device,
            work <- Opaque::ffi_init(|work: *mut UnsafeCell<raw::delayed_work>| {
                // SAFETY: `work` is valid for writes and pinned.
                unsafe { raw::vfio_rs_init_work(work.cast(), Some(Self::callback)) }
            }),
        })
    }

    fn raw(&self) -> *mut raw::delayed_work {
        self.work.get().cast()
    }

    /// Has the work run as soon as possible, unless it is about to.
    pub(crate) fn start(&self) {
        // SAFETY: It is initialised.
        unsafe { raw::vfio_rs_queue_work(self.raw(), 0) }
    }

    /// Ends the work, waiting for it. The driver must not ask for more, and the caller must hold no
    /// lock that it takes.
    pub(crate) fn cancel(&self) {
        // SAFETY: It is initialised.
        unsafe { raw::vfio_rs_cancel_work(self.raw()) }
    }

    extern "C" fn callback(work: *mut raw::work_struct) {
        // SAFETY: `work` is that of the delayed work in a `Work<T>`, which lives while it runs.
        let this: &Self = unsafe {
            let work = kernel::container_of!(work, raw::delayed_work, work);
            &*work
                .byte_sub(core::mem::offset_of!(Self, work))
                .cast::<Self>()
        };
        // SAFETY: By the type invariant the device is open.
        let device = unsafe { &*this.device };
        loop {
            let next = device.machine().with(
                |session| device.driver().reset(session),
                |_, session| T::work(device, session),
            );
            match next {
                Some(us) if us < SLEEP_US => fsleep(Delta::from_micros(us as i64)),
                Some(us) => {
                    let us = u32::try_from(us).unwrap_or(u32::MAX);
                    // SAFETY: It is initialised.
                    return unsafe { raw::vfio_rs_queue_work(this.raw(), us) };
                }
                None => return,
            }
        }
    }
}
