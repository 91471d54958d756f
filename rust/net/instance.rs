// SPDX-License-Identifier: GPL-2.0
//! A NAPI instance as C has it, what proves that it is polled or not, and the page pools that it
//! has left.

use super::dev_ref::DevRef;
use core::{
    cell::UnsafeCell,
    ffi::c_void,
    marker::PhantomData,
    mem::offset_of,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    types::Opaque, //
};
use nic_bindings as raw;

/// A NAPI instance that this CPU polls, in a softirq or a thread of its own that has bottom halves
/// off, so in an RCU read-side critical section.
///
/// # Invariants
///
/// A reference to it exists during a poll of this CPU only, and only with a budget.
#[repr(transparent)]
pub struct NapiRef(Opaque<raw::napi_struct>, PhantomData<*mut ()>);

impl NapiRef {
    /// # Safety
    ///
    /// `napi` upholds the type invariant for `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(napi: *mut raw::napi_struct) -> &'a Self {
        // SAFETY: A transparent wrapper; the rest by the safety requirement.
        unsafe { &*napi.cast() }
    }

    #[inline]
    pub(crate) fn as_raw(&self) -> *mut raw::napi_struct {
        self.0.get()
    }
}

/// A NAPI instance that is being set up, and not polled yet.
pub struct NapiSetup {
    pub(super) instance: Arc<Instance>,
    pub(super) netdev: *mut raw::net_device,
}

/// A NAPI instance that is disabled, and stays so while this is borrowed.
///
/// # Invariants
///
/// Borrowed from a [`Napi`](super::Napi) that is not enabled and that is borrowed exclusively.
#[repr(transparent)]
pub struct NapiIdle(Instance);

impl NapiIdle {
    /// # Safety
    ///
    /// The result upholds the type invariant.
    pub(super) unsafe fn of(instance: &Instance) -> &Self {
        // SAFETY: A transparent wrapper.
        unsafe { &*core::ptr::from_ref(instance).cast() }
    }

    pub(super) fn as_raw(&self) -> *mut raw::napi_struct {
        self.0.as_raw()
    }
}

/// What belongs to an instance and may outlive it: C's part, which a page pool points to.
///
/// # Invariants
///
/// `napi` is initialised by `netif_napi_add()` before anybody else sees this. `owner` is what
/// it belongs to until a grace period after the last poll.
#[pin_data]
pub(super) struct Instance {
    #[pin]
    napi: Opaque<raw::napi_struct>,
    owner: UnsafeCell<*const c_void>,
    /// Pools that were given up while the instance could be polled, and whether it can.
    #[pin]
    pub(super) pools: Mutex<Pools>,
}

// SAFETY: `owner` is changed before and after polls only; the others may be used from any thread.
unsafe impl Send for Instance {}
// SAFETY: Shared references give the pointer for C, and what is behind a lock.
unsafe impl Sync for Instance {}

impl Instance {
    /// Without an owner, and not added.
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                napi: Opaque::zeroed(),
                owner: UnsafeCell::new(core::ptr::null()),
                pools <- Pools::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// # Safety
    ///
    /// Nobody else sees the instance yet. `owner` is valid as the type invariant says.
    pub(super) unsafe fn set_owner(&self, owner: *const c_void) {
        // SAFETY: By the safety requirement nobody reads it meanwhile.
        unsafe { *self.owner.get() = owner };
    }

    /// The owner of the instance of which `napi` is C's part.
    ///
    /// # Safety
    ///
    /// `napi` is part of an `Instance` whose owner is set.
    #[inline]
    pub(super) unsafe fn owner(napi: *mut raw::napi_struct) -> *const c_void {
        // SAFETY: By the safety requirement; the owner does not change any more.
        unsafe {
            let instance = napi.byte_sub(offset_of!(Self, napi)).cast::<Self>();
            *(*instance).owner.get()
        }
    }

    #[inline]
    pub(super) fn as_raw(&self) -> *mut raw::napi_struct {
        self.napi.get()
    }
}

/// What C keeps of a pool, which goes when its instance is not polled.
///
/// # Invariants
///
/// `pool` is a page pool that was created for this and is not destroyed. If `registered` is true
/// `xdp` is registered with it as its memory model, for a queue of `_dev`.
pub(super) struct Rest {
    pool: NonNull<raw::page_pool>,
    xdp: Opaque<raw::nic_xdp>,
    registered: bool,
    _dev: DevRef,
    next: Option<KBox<Rest>>,
}

impl Rest {
    /// # Safety
    ///
    /// The caller passes on a page pool that was created for `dev`.
    pub(super) unsafe fn new(pool: NonNull<raw::page_pool>, dev: DevRef) -> Result<KBox<Self>> {
        // INVARIANT: By the safety requirement; not registered yet. Without memory its drop
        // destroys the pool.
        let rest = Self {
            pool,
            xdp: Opaque::zeroed(),
            registered: false,
            _dev: dev,
            next: None,
        };
        Ok(KBox::new(rest, GFP_KERNEL)?)
    }

    /// Registers the pool as memory model of receive queue `queue`.
    ///
    /// # Safety
    ///
    /// `self` does not move any more. `netdev` is the device that it was created for, and has such
    /// a queue.
    pub(super) unsafe fn register(&mut self, netdev: *mut raw::net_device, queue: u32) -> Result {
        // SAFETY: By the safety requirement. If this fails nothing is registered.
        to_result(unsafe {
            raw::nic_xdp_rxq_reg(self.xdp.get(), netdev, queue, self.pool.as_ptr())
        })?;
        // INVARIANT: It is now.
        self.registered = true;
        Ok(())
    }

    #[inline]
    pub(super) fn xdp(&self) -> *mut raw::nic_xdp {
        self.xdp.get()
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. The registration is a user of the pool of its own, so both
        // are released. Pages that are still in the stack keep the C object alive.
        unsafe {
            if self.registered {
                raw::nic_xdp_rxq_unreg(self.xdp.get());
            }
            raw::page_pool_destroy(self.pool.as_ptr());
        }
    }
}

/// The pools of an instance that have been given up.
///
/// `page_pool_destroy()` wants to be called while the instance is not polled: a poll, and who frees
/// frames on its CPU, use a cache without a lock.
pub(super) struct Pools {
    polled: bool,
    given_up: Option<KBox<Rest>>,
}

// SAFETY: A pool can be destroyed by any thread.
unsafe impl Send for Pools {}

impl Pools {
    /// Of an instance that is not polled.
    pub(super) fn new() -> impl PinInit<Mutex<Self>> {
        new_mutex!(
            Self {
                polled: false,
                given_up: None,
            },
            "nic::net::pools"
        )
    }

    /// The instance can be polled from now on.
    pub(super) fn polled(&mut self) {
        self.polled = true;
    }

    /// It cannot any more.
    ///
    /// # Safety
    ///
    /// Nobody polls the instance.
    pub(super) unsafe fn idle(&mut self) {
        self.polled = false;
        let mut next = self.given_up.take();
        while let Some(mut rest) = next {
            next = rest.next.take();
        }
    }

    /// Destroys a pool, now or when the instance is not polled any more.
    pub(super) fn give_up(&mut self, mut rest: KBox<Rest>) {
        if self.polled {
            rest.next = self.given_up.take();
            self.given_up = Some(rest);
        }
    }
}
