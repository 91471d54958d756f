// SPDX-License-Identifier: GPL-2.0
//! NAPI.

use super::{
    dev_ref::DevRef,
    instance::{
        Instance,
        NapiIdle,
        NapiRef,
        NapiSetup, //
    },
    ops::{
        Device,
        Driver, //
    },
    rtnl::Rtnl, //
};
use crate::irq::{
    Requested,
    Vectors, //
};
use core::{
    cell::UnsafeCell,
    ffi::c_void, //
};
use kernel::{
    irq::IrqReturn,
    prelude::*,
    str::CString,
    sync::Arc,
    types::Opaque, //
};
use nic_bindings as raw;

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Polled {
    /// The budget is used up, or something is left: poll again.
    Again,
    /// This many frames were received, and nothing is left: the interrupt may come again.
    Done(u32),
}

/// What one interrupt vector serves.
pub trait Poll: Send {
    /// Driver of the device that the instance belongs to.
    type Driver: Driver;
    /// The vector's interrupt.
    type Irq: Unmask;

    /// Handles up to `budget` received frames, which is not 0, and all completed transmits. `irq`
    /// is what [`Napi::new`] got.
    ///
    /// The instance is given back after this has returned [`Polled::Done`], and the interrupt is
    /// switched on after that: [`Napi::disable`] waits for the former only, so nothing of `self` is
    /// used then.
    fn poll(
        &mut self,
        dev: &Device<Self::Driver>,
        irq: &Self::Irq,
        napi: &NapiRef,
        budget: u32,
    ) -> Polled;

    /// Frees what was sent, to make room for a message of netpoll. With interrupts off, maybe in
    /// one: XDP frames and page pools must be left alone (Documentation/networking/napi.rst), which
    /// is why this is no proof of a poll.
    fn netpoll(&mut self, dev: &Device<Self::Driver>);
}

/// The interrupt of a vector. Any CPU may use it at any time, so it is shared.
pub trait Unmask: Send + Sync {
    /// Lets the interrupt come again after a poll.
    fn unmask(&self);
}

/// A NAPI instance with the data that it polls.
///
/// The data is reachable from outside only while polling is disabled.
///
/// # Invariants
///
/// `inner.instance` is added to `inner.dev`, and enabled if and only if `enabled` is true. `queues`
/// are those that C knows it by.
///
/// # Examples
///
/// ```ignore
/// let mut napi = Napi::new(dev, 0, irq, |napi| MyVector::new(dev, napi))?;
/// napi.request_irq(&vectors, 0, name)?;
/// napi.enable();
/// // … traffic …
/// napi.disable();
/// if let Some(vector) = napi.data_mut() { vector.reset(); }
/// ```
pub struct Napi<P: Poll> {
    inner: KBox<Inner<P>>,
    requested: Option<Requested>,
    queues: Option<u32>,
    enabled: bool,
}

/// What a poll gets at. Only shared references to it exist.
///
/// # Invariants
///
/// `data` belongs to the owner of the instance: the one poll that NAPI lets run while the instance
/// is enabled, else the [`Napi`]. It is `Some` from `Napi::new` on. All else may be used by a poll
/// that has given the instance back, until the grace period of `netif_napi_del()` is over.
struct Inner<P: Poll> {
    instance: Arc<Instance>,
    data: UnsafeCell<Option<P>>,
    irq: P::Irq,
    dev: DevRef,
}

// SAFETY: `Inner` can be torn down by any thread: `P` and its interrupt are `Send`.
unsafe impl<P: Poll> Send for Inner<P> {}
// SAFETY: Shared references give access to C functions that may be called from anywhere, to the
// interrupt, which is `Sync`, and, by the type invariant, to the data for its owner.
unsafe impl<P: Poll> Sync for Inner<P> {}

impl<P: Poll> Napi<P> {
    /// Adds an instance to `dev`, disabled. `irq` is its interrupt, `data` makes what it polls.
    ///
    /// What user space sets for the instance of an `index`, and its id, outlives it: they are those
    /// of the next instance of that index.
    pub fn new(
        dev: &Device<P::Driver>,
        index: u32,
        irq: P::Irq,
        data: impl FnOnce(&NapiSetup) -> Result<P>,
    ) -> Result<Self> {
        let instance = Instance::new()?;
        let inner = Inner {
            instance: instance.clone(),
            data: UnsafeCell::new(None),
            irq,
            dev: dev.get_ref(),
        };
        let inner = KBox::new(inner, GFP_KERNEL)?;
        // SAFETY: Nobody else sees the instance yet; `Inner` stays in its box, until `Drop`.
        unsafe { instance.set_owner(core::ptr::from_ref::<Inner<P>>(&inner).cast()) };
        let poll = Some(poll_callback::<P> as unsafe extern "C" fn(_, _) -> _);
        // SAFETY: The instance does not move, and is removed again before it is freed. The callback
        // gets at `Inner` through it. C checks the index; two instances of one would share
        // settings, no more.
        unsafe { raw::nic_netif_napi_add(dev.as_raw(), instance.as_raw(), poll, index) };
        // INVARIANT: Just added. From here on `Drop` removes it.
        let this = Self {
            inner,
            requested: None,
            queues: None,
            enabled: false,
        };
        let setup = NapiSetup {
            instance,
            netdev: dev.as_raw(),
        };
        let p = data(&setup)?;
        // SAFETY: Disabled, so the data is ours.
        unsafe { *this.inner.data.get() = Some(p) };
        Ok(this)
    }

    /// Lets the instance be scheduled.
    pub fn enable(&mut self) {
        if !self.enabled {
            self.enabled = true;
            self.inner.instance.pools.lock().polled();
            // SAFETY: Added, and disabled by the type invariant.
            unsafe { raw::napi_enable(self.as_raw()) };
        }
    }

    /// Waits until no poll owns the instance, and keeps it so. May sleep.
    ///
    /// A poll that has given it back may not have returned: it may still be switching the interrupt
    /// on.
    pub fn disable(&mut self) {
        if self.enabled {
            // SAFETY: Added, and enabled by the type invariant.
            unsafe { raw::napi_disable(self.as_raw()) };
            self.enabled = false;
            // SAFETY: Nobody polls the instance, nor will before `enable`.
            unsafe { self.inner.instance.pools.lock().idle() };
        }
    }

    fn as_raw(&self) -> *mut raw::napi_struct {
        self.inner.instance.as_raw()
    }

    /// What it polls, if it is disabled.
    pub fn data_mut(&mut self) -> Option<&mut P> {
        Some(self.parts_mut()?.0)
    }

    /// The same with its interrupt, and a proof for its rings that it is disabled.
    pub fn parts_mut(&mut self) -> Option<(&mut P, &P::Irq, &NapiIdle)> {
        if self.enabled {
            return None;
        }
        // SAFETY: Disabled, so no poll owns the instance; one that did ended its borrow of the data
        // before it gave it back.
        let data = unsafe { &mut *self.inner.data.get() };
        // SAFETY: Not enabled, which takes `&mut self`.
        let idle = unsafe { NapiIdle::of(&self.inner.instance) };
        Some((data.as_mut()?, &self.inner.irq, idle))
    }

    /// Its interrupt.
    pub fn irq(&self) -> &P::Irq {
        &self.inner.irq
    }

    /// Schedules a poll, as an interrupt would.
    pub fn schedule(&self) {
        // SAFETY: Added. The core ignores it while the instance is disabled.
        unsafe { raw::nic_napi_schedule(self.as_raw()) }
    }

    /// Requests vector `index` for this instance alone. The handler is C's and only schedules the
    /// poll: the device must mask the vector by itself, as the 82599 does by EIAM.
    pub fn request_irq(&mut self, vectors: &Arc<Vectors>, index: u32, name: CString) -> Result {
        let napi = self.as_raw();
        // SAFETY: The handler gets the instance, which outlives the request since `Drop` frees the
        // interrupt first.
        let irq = unsafe {
            let handler = raw::nic_napi_irq;
            Requested::new(vectors, index, name, false, Some(handler), napi.cast())?
        };
        // CAST: Linux interrupt numbers are positive.
        // SAFETY: Added; the number belongs to this instance.
        unsafe { raw::nic_napi_set_irq(napi, irq.irq() as c_int) };
        self.requested = Some(irq);
        Ok(())
    }

    /// Requests the only vector, MSI or a line, for this instance and everything else:
    /// [`Driver::interrupt`] looks at the causes, and if it says that they are the device's a poll
    /// is scheduled. `shared` for a line.
    pub fn request_only_irq(
        &mut self,
        vectors: &Arc<Vectors>,
        name: CString,
        shared: bool,
    ) -> Result {
        let napi = self.as_raw();
        // SAFETY: The handler gets the instance, which outlives the request since `Drop` frees the
        // interrupt first.
        let irq = unsafe {
            let handler = only_irq_callback::<P>;
            Requested::new(vectors, 0, name, shared, Some(handler), napi.cast())?
        };
        // CAST: Linux interrupt numbers are positive.
        // SAFETY: Added; the number belongs to this instance.
        unsafe { raw::nic_napi_set_irq(napi, irq.irq() as c_int) };
        self.requested = Some(irq);
        Ok(())
    }

    /// Frees the interrupt; waits for a running handler.
    pub fn free_irq(&mut self) {
        if self.requested.take().is_some() {
            // SAFETY: Added.
            unsafe { raw::nic_napi_clear_irq(self.as_raw()) };
        }
    }

    /// Waits until no handler of the interrupt runs.
    pub fn synchronize_irq(&self) {
        if let Some(irq) = &self.requested {
            irq.synchronize();
        }
    }

    /// Tells user space, by netdev-genl, that this instance serves receive and transmit queue
    /// `queue`; nothing for a queue that the device does not have.
    pub fn set_queues(&mut self, rtnl: &Rtnl, queue: u32) {
        self.clear_queues(rtnl);
        // SAFETY: The device is valid and RTNL is held; C checks the queue. The instance lives
        // until `clear_queues`, see `Drop`.
        unsafe { raw::nic_queue_set_napi(self.inner.dev.as_raw(), self.as_raw(), queue) };
        self.queues = Some(queue);
    }

    /// Undoes [`Napi::set_queues`].
    pub fn clear_queues(&mut self, _rtnl: &Rtnl) {
        if let Some(queue) = self.queues.take() {
            let (dev, none) = (self.inner.dev.as_raw(), core::ptr::null_mut());
            // SAFETY: The device is valid and RTNL is held; C checks the queue.
            unsafe { raw::nic_queue_set_napi(dev, none, queue) };
        }
    }
}

impl<P: Poll> Drop for Napi<P> {
    fn drop(&mut self) {
        self.free_irq();
        self.disable();
        // A page pool in the data wants to see its instance, disabled.
        // SAFETY: Disabled, so the data is ours.
        unsafe { *self.inner.data.get() = None };
        // Returns after a grace period, which a poll that is still switching the interrupt on
        // delays: `inner` goes after it.
        // SAFETY: Added in `new`, and disabled.
        unsafe { raw::nic_netif_napi_del(self.as_raw()) };
        if self.queues.is_some() {
            // Without RTNL nothing can be done about what C knows, so what it looks at stays.
            core::mem::forget(self.inner.instance.clone());
        }
    }
}

extern "C" fn only_irq_callback<P: Poll>(irq: c_int, napi: *mut c_void) -> raw::irqreturn_t {
    // SAFETY: `Napi::request_only_irq` passes an instance that was added to a device of this
    // driver.
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
    // SAFETY: `napi` is embedded in an `Instance`, see `Napi::new`, and `Napi::drop` keeps all of
    // its owner but the data until a grace period after the last poll.
    let inner = unsafe { Instance::owner(napi) }.cast::<Inner<P>>();
    // SAFETY: `inner` is valid, see above. `Napi::new` took the reference from a device of this
    // driver, which counts it.
    let (dev, irq) = unsafe { (Device::from_raw((*inner).dev.as_raw()), &(*inner).irq) };
    let polled = {
        // SAFETY: NAPI lends an instance to one poll at a time, and `Napi` gives nothing out while
        // that can happen. The borrow ends before the instance is given back below.
        let data = unsafe { &mut *(*inner).data.get() };
        // Enabled, so there is data.
        let Some(data) = data else { return 0 };
        match u32::try_from(budget) {
            Ok(budget @ 1..) => {
                // SAFETY: This CPU polls, with a budget.
                let napi = unsafe { NapiRef::from_raw(napi) };
                data.poll(dev, irq, napi, budget)
            }
            _ => {
                data.netpoll(dev);
                return 0;
            }
        }
    };
    match polled {
        Polled::Again => budget,
        Polled::Done(work) => {
            // CAST: Less than the budget, as C wants it of a poll that ends.
            let work = work.min((budget as u32).saturating_sub(1)) as c_int;
            // SAFETY: This CPU polls the instance, and has not given it back.
            if unsafe { raw::napi_complete_done(napi, work) } {
                irq.unmask();
            }
            work
        }
    }
}
