// SPDX-License-Identifier: GPL-2.0
//! NAPI.

use super::{
    device::DevRef,
    Device,
    Driver,
    Rtnl, //
};
use crate::irq::{
    Requested,
    Vectors, //
};
use core::{
    cell::UnsafeCell,
    ffi::c_void,
    marker::{
        PhantomData,
        PhantomPinned, //
    },
    mem::offset_of,
};
use kernel::{
    irq::IrqReturn,
    prelude::*,
    str::CString,
    sync::Arc,
    types::Opaque, //
};
use nic_bindings as raw;

/// What one interrupt vector serves.
pub trait Poll: Send {
    /// Driver of the device that the instance belongs to.
    type Driver: Driver;

    /// Handles up to `budget` received frames and all completed transmits.
    ///
    /// Returns how many frames were received. If less than `budget`, it must have called
    /// [`NapiRef::complete_done`] and, if that returned true, have switched the interrupt on again. `budget` is 0 for
    /// netpoll: then only transmits are cleaned.
    fn poll(&mut self, dev: &Device<Self::Driver>, napi: &NapiRef, budget: i32) -> i32;
}

/// A NAPI instance that is being polled, or set up.
#[repr(transparent)]
pub struct NapiRef(Opaque<raw::napi_struct>, PhantomData<*mut ()>);

impl NapiRef {
    #[inline]
    pub(crate) fn as_raw(&self) -> *mut raw::napi_struct {
        self.0.get()
    }

    /// Ends polling after `work` frames. Returns whether the interrupt is to be switched on (`napi_complete_done`).
    #[inline]
    pub fn complete_done(&self, work: i32) -> bool {
        // SAFETY: `self` is being polled by this CPU.
        unsafe { raw::napi_complete_done(self.as_raw(), work) }
    }
}

/// A NAPI instance with the data that it polls.
///
/// The data is reachable from outside only while polling is disabled.
///
/// # Examples
///
/// ```ignore
/// let mut napi = Napi::new(dev, 0, |napi| MyVector::new(dev, napi))?;
/// napi.request_irq(&vectors, 0, name)?;
/// napi.enable();
/// // … traffic …
/// napi.disable();
/// if let Some(vector) = napi.data_mut() { vector.reset(); }
/// ```
pub struct Napi<P: Poll> {
    inner: Pin<KBox<Inner<P>>>,
}

struct Inner<P: Poll> {
    napi: Opaque<raw::napi_struct>,
    /// `Some` from `Napi::new` on.
    data: UnsafeCell<Option<P>>,
    irq: Option<Requested>,
    enabled: bool,
    dev: DevRef,
    _pin: PhantomPinned,
}

// SAFETY: `Inner` can be torn down by any thread.
unsafe impl<P: Poll> Send for Inner<P> {}
// SAFETY: Shared references give access to C functions that may be called from anywhere only.
unsafe impl<P: Poll> Sync for Inner<P> {}

impl<P: Poll> Napi<P> {
    /// Adds an instance to `dev`, disabled. `data` makes what it polls.
    ///
    /// What user space sets for the instance of an `index`, and its id, outlives it: they are those of the next instance of
    /// that index.
    pub fn new(
        dev: &Device<P::Driver>,
        index: u32,
        data: impl FnOnce(&NapiRef) -> Result<P>,
    ) -> Result<Self> {
        let inner = KBox::pin(
            Inner {
                napi: Opaque::zeroed(),
                data: UnsafeCell::new(None),
                irq: None,
                enabled: false,
                dev: dev.get_ref(),
                _pin: PhantomPinned,
            },
            GFP_KERNEL,
        )?;
        let poll = Some(poll_callback::<P> as unsafe extern "C" fn(_, _) -> _);
        // SAFETY: `napi` is pinned and removed again before it is freed. The callback gets at `Inner` through it. C checks
        // the index; two instances of one would share settings, no more.
        unsafe { raw::nic_netif_napi_add(dev.as_raw(), inner.napi.get(), poll, index) };
        // From here on `Drop` removes it.
        let this = Self { inner };
        // SAFETY: Disabled, so nobody polls.
        let p = data(unsafe { &*this.inner.napi.get().cast::<NapiRef>() })?;
        // SAFETY: As above.
        unsafe { *this.inner.data.get() = Some(p) };
        Ok(this)
    }

    fn inner_mut(&mut self) -> &mut Inner<P> {
        // SAFETY: Nothing is moved out of `Inner` by the methods here.
        unsafe { self.inner.as_mut().get_unchecked_mut() }
    }

    /// Lets the instance be scheduled.
    pub fn enable(&mut self) {
        let inner = self.inner_mut();
        if !inner.enabled {
            inner.enabled = true;
            // SAFETY: Added and disabled.
            unsafe { raw::napi_enable(inner.napi.get()) };
        }
    }

    /// Waits until the instance is not polled, and keeps it so. May sleep.
    pub fn disable(&mut self) {
        let inner = self.inner_mut();
        if inner.enabled {
            // SAFETY: Added and enabled.
            unsafe { raw::napi_disable(inner.napi.get()) };
            inner.enabled = false;
        }
    }

    /// What it polls, if it is disabled.
    pub fn data_mut(&mut self) -> Option<&mut P> {
        let inner = self.inner_mut();
        if inner.enabled {
            return None;
        }
        inner.data.get_mut().as_mut()
    }

    /// Schedules a poll, as an interrupt would.
    pub fn schedule(&self) {
        // SAFETY: Added. The core ignores it while the instance is disabled.
        unsafe { raw::nic_napi_schedule(self.inner.napi.get()) }
    }

    /// Requests vector `index` for this instance alone. The handler is C's and only schedules the poll: the device must
    /// mask the vector by itself, as the 82599 does by EIAM.
    pub fn request_irq(&mut self, vectors: &Arc<Vectors>, index: u32, name: CString) -> Result {
        let inner = self.inner_mut();
        let cookie = inner.napi.get().cast();
        // SAFETY: The handler gets the instance, which outlives the request since `Drop` frees the interrupt first.
        let irq = unsafe {
            Requested::new(vectors, index, name, false, Some(raw::nic_napi_irq), cookie)?
        };
        // CAST: Linux interrupt numbers are positive.
        // SAFETY: Added; the number belongs to this instance.
        unsafe { raw::nic_napi_set_irq(inner.napi.get(), irq.irq() as c_int) };
        inner.irq = Some(irq);
        Ok(())
    }

    /// Requests the only vector, MSI or a line, for this instance and everything else: [`Driver::interrupt`] looks at the
    /// causes, and if it says that they are the device's a poll is scheduled. `shared` for a line.
    pub fn request_only_irq(
        &mut self,
        vectors: &Arc<Vectors>,
        name: CString,
        shared: bool,
    ) -> Result {
        let inner = self.inner_mut();
        let napi = inner.napi.get();
        // SAFETY: The handler gets the instance, which outlives the request since `Drop` frees the interrupt first.
        let irq = unsafe {
            let handler = only_irq_callback::<P>;
            Requested::new(vectors, 0, name, shared, Some(handler), napi.cast())?
        };
        // CAST: Linux interrupt numbers are positive.
        // SAFETY: Added; the number belongs to this instance.
        unsafe { raw::nic_napi_set_irq(napi, irq.irq() as c_int) };
        inner.irq = Some(irq);
        Ok(())
    }

    /// Frees the interrupt; waits for a running handler.
    pub fn free_irq(&mut self) {
        let inner = self.inner_mut();
        if inner.irq.take().is_some() {
            // SAFETY: Added.
            unsafe { raw::nic_napi_clear_irq(inner.napi.get()) };
        }
    }

    /// Waits until no handler of the interrupt runs.
    pub fn synchronize_irq(&self) {
        if let Some(irq) = &self.inner.irq {
            irq.synchronize();
        }
    }

    /// Tells user space, by netdev-genl, that this instance serves receive queue `rx` and transmit queue `tx`.
    pub fn set_queues(&self, _rtnl: &Rtnl, rx: Option<u32>, tx: Option<u32>) {
        let (dev, napi) = (self.inner.dev.as_raw(), self.inner.napi.get());
        for (queue, is_rx) in [(rx, true), (tx, false)] {
            if let Some(queue) = queue {
                // SAFETY: Both are valid and RTNL is held.
                unsafe { raw::nic_queue_set_napi(dev, napi, queue, is_rx, !is_rx) };
            }
        }
    }

    /// Undoes [`Napi::set_queues`].
    pub fn clear_queues(&self, _rtnl: &Rtnl, rx: Option<u32>, tx: Option<u32>) {
        let dev = self.inner.dev.as_raw();
        for (queue, is_rx) in [(rx, true), (tx, false)] {
            if let Some(queue) = queue {
                // SAFETY: `dev` is valid and RTNL is held.
                unsafe {
                    raw::nic_queue_set_napi(dev, core::ptr::null_mut(), queue, is_rx, !is_rx)
                };
            }
        }
    }
}

impl<P: Poll> Drop for Napi<P> {
    fn drop(&mut self) {
        self.free_irq();
        self.disable();
        let inner = self.inner_mut();
        // A page pool in the data wants to see its instance, disabled.
        *inner.data.get_mut() = None;
        // SAFETY: Added in `new`.
        unsafe { raw::nic_netif_napi_del(inner.napi.get()) };
    }
}

extern "C" fn only_irq_callback<P: Poll>(irq: c_int, napi: *mut c_void) -> raw::irqreturn_t {
    // SAFETY: `Napi::request_only_irq` passes an instance that was added to a device of this driver.
    unsafe {
        let dev = Device::<P::Driver>::from_raw((*napi.cast::<raw::napi_struct>()).dev);
        match P::Driver::interrupt(dev) {
            IrqReturn::None => raw::irqreturn::IRQ_NONE,
            IrqReturn::Handled => raw::nic_napi_irq(irq, napi),
        }
    }
}

extern "C" fn poll_callback<P: Poll>(napi: *mut raw::napi_struct, budget: c_int) -> c_int {
    const { assert!(size_of::<Opaque<raw::napi_struct>>() == size_of::<raw::napi_struct>()) };
    // SAFETY: `napi` is embedded in an `Inner<P>`, see `Napi::new`.
    let inner = unsafe { napi.byte_sub(offset_of!(Inner<P>, napi)).cast::<Inner<P>>() };
    // SAFETY: NAPI polls an instance on one CPU at a time, and `data_mut` gives nothing out while that can happen.
    let data = unsafe { &mut *UnsafeCell::raw_get(&raw const (*inner).data) };
    match data {
        Some(data) => data.poll(
            // SAFETY: `Napi::new` took the reference from a device of this driver, which counts it.
            unsafe { Device::from_raw((*inner).dev.as_raw()) },
            // SAFETY: `NapiRef` is a transparent wrapper.
            unsafe { &*napi.cast::<NapiRef>() },
            budget,
        ),
        None => 0,
    }
}
