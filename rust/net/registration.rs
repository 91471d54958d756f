// SPDX-License-Identifier: GPL-2.0
//! Setting up, registration and removal of network devices.

use super::{
    callbacks::Ops,
    dev_ref::Refs,
    device::Private,
    ops::{
        Device,
        Driver, //
    },
    MacAddr, //
};
use crate::{
    bound::Held,
    devlink, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic, //
        },
        Arc,
        SetOnce, //
    },
};
use nic_bindings as raw;
use pin_init::PinInit;

/// Properties of a device that are set before it is registered.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// Switched on at first.
    pub features: u64,
    /// Can be switched by the user.
    pub hw_features: u64,
    /// Inherited by VLAN interfaces.
    pub vlan_features: u64,
    /// For MPLS frames.
    pub mpls_features: u64,
    /// For encapsulated frames.
    pub hw_enc_features: u64,
    /// Segmentation features that need [`super::features::GSO_PARTIAL`].
    pub gso_partial_features: u64,
    /// `NETDEV_XDP_ACT_*`, see [`super::features::XDP_BASIC`].
    pub xdp_features: u32,
    /// Smallest MTU in bytes.
    pub min_mtu: u32,
    /// Largest MTU in bytes.
    pub max_mtu: u32,
    /// Address.
    pub address: MacAddr,
    /// Permanent address.
    pub perm_address: MacAddr,
    /// After how many milliseconds a stopped queue is reported by [`Driver::tx_timeout`].
    pub watchdog_ms: u32,
    /// Whether there are filters for several unicast addresses (`IFF_UNICAST_FLT`).
    pub unicast_filter: bool,
    /// Port number of several ports of one device.
    pub dev_port: u16,
}

/// A network device that this owns, registered or not yet. Unregistered and freed when it is
/// dropped.
///
/// # Invariants
///
/// `netdev` upholds the invariant of [`Device<D>`]; it is registered if and only if `registered` is
/// true.
pub(crate) struct Owned<D: Driver> {
    netdev: NonNull<raw::net_device>,
    registered: bool,
    _p: PhantomData<D>,
}

// SAFETY: Can be unregistered by any thread, and `D` is `Send`.
unsafe impl<D: Driver> Send for Owned<D> {}
// SAFETY: Shared references give access to `Device<D>` only, which is `Sync`.
unsafe impl<D: Driver> Sync for Owned<D> {}

/// A network device that is being set up. Freed when it is dropped.
pub struct Unregistered<D: Driver>(Owned<D>);

/// A registered network device. Unregistered and freed when it is dropped.
pub struct Registration<D: Driver>(Owned<D>);

impl<D: Driver> Unregistered<D> {
    /// Allocates a device with up to `tx` and `rx` queues below `parent`.
    ///
    /// `data` initialises the driver's data in place.
    pub fn new<E>(
        parent: &device::Device<Bound>,
        tx: u32,
        rx: u32,
        data: impl PinInit<D, E>,
    ) -> Result<Self>
    where
        Error: From<E>,
    {
        Owned::new(parent, tx, rx, data).map(Self)
    }

    /// Sets properties.
    pub fn setup(&mut self, s: &Setup) {
        self.0.setup(s)
    }

    /// Registers the device as `eth%d`. Its link is down. Callbacks may be made from now on.
    pub fn register(mut self) -> Result<Registration<D>> {
        self.0.register()?;
        Ok(Registration(self.0))
    }

    /// What a registration with more to it starts from.
    pub(crate) fn into_inner(self) -> Owned<D> {
        self.0
    }
}

impl<D: Driver> Deref for Unregistered<D> {
    type Target = Device<D>;

    #[inline]
    fn deref(&self) -> &Device<D> {
        &self.0
    }
}

impl<D: Driver> Deref for Registration<D> {
    type Target = Device<D>;

    #[inline]
    fn deref(&self) -> &Device<D> {
        &self.0
    }
}

impl<D: Driver> Owned<D> {
    fn new<E>(
        parent: &device::Device<Bound>,
        tx: u32,
        rx: u32,
        data: impl PinInit<D, E>,
    ) -> Result<Self>
    where
        Error: From<E>,
    {
        const { assert!(align_of::<Private<D>>() <= 64) };
        let size = c_int::try_from(size_of::<Private<D>>())?;
        let mut queues: KVec<*mut D::TxQueue> = KVec::new();
        for _ in 0..tx {
            queues.push(core::ptr::null_mut(), GFP_KERNEL)?;
        }
        let mut claimed = KVec::with_capacity(tx as usize, GFP_KERNEL)?;
        for _ in 0..tx {
            claimed.push(Atomic::new(false), GFP_KERNEL)?;
        }
        let count = Atomic::new(0);
        let refs = Arc::new(Refs { count, claimed }, GFP_KERNEL)?;
        let held = Held::new(parent)?;
        // SAFETY: No requirements.
        let netdev = unsafe { raw::alloc_etherdev_mqs(size, tx, rx) };
        let netdev = NonNull::new(netdev).ok_or(ENOMEM)?;
        // CAST: `Device` is a transparent wrapper.
        let parent = core::ptr::from_ref(parent).cast_mut().cast();
        // SAFETY: The private area has the size and alignment of `Private<D>`, and is zeroed.
        unsafe {
            raw::nic_set_netdev_dev(netdev.as_ptr(), parent);
            let p = Device::<D>::from_raw(netdev.as_ptr()).private();
            let (tx_ptr, len, _cap) = queues.into_raw_parts();
            (&raw mut (*p).tx).write(tx_ptr);
            // CAST: `tx` entries were pushed.
            (&raw mut (*p).num_tx).write(len as u32);
            (&raw mut (*p).netdev).write(netdev.as_ptr());
            (&raw mut (*p).parent).write(parent);
            (&raw mut (*p).refs).write(Some(refs));
            (&raw mut (*p).devlink).write(SetOnce::new());
            (&raw mut (*p).strings).write([const { Atomic::new(0) }; 3]);
            (&raw mut (*p).held).write(MaybeUninit::new(held));
            raw::nic_no_shared_skbs(netdev.as_ptr());
            raw::nic_init_delayed_work((*p).service.get(), Some(service_callback::<D>));
            if let Err(e) = pin_init::raw_try_init((*p).data.as_mut_ptr(), data) {
                Self::free(netdev);
                return Err(e.into());
            }
            (*netdev.as_ptr()).netdev_ops = &raw const Ops::<D>::TABLE.0;
            if let Some(ops) = Ops::<D>::STAT_OPS {
                (*netdev.as_ptr()).stat_ops = &raw const ops.0;
            }
        }
        // INVARIANT: All of `Private` is initialised.
        Ok(Self {
            netdev,
            registered: false,
            _p: PhantomData,
        })
    }

    /// Frees everything but `data`.
    ///
    /// # Safety
    ///
    /// `netdev` is not registered, all fields of its `Private<D>` but `data` are initialised,
    /// `data` is not, and nothing uses the device any more.
    unsafe fn free(netdev: NonNull<raw::net_device>) {
        // SAFETY: By the safety requirements.
        unsafe {
            let p = Device::<D>::from_raw(netdev.as_ptr()).private();
            for i in 0..(*p).num_tx as usize {
                let queue = *(*p).tx.add(i);
                if !queue.is_null() {
                    drop(KBox::from_raw(queue));
                }
            }
            drop(KVec::from_raw_parts((*p).tx, 0, (*p).num_tx as usize));
            drop((*p).refs.take());
            core::ptr::drop_in_place(&raw mut (*p).devlink);
            let held = (*p).held.assume_init_read();
            raw::free_netdev(netdev.as_ptr());
            drop(held);
        }
    }

    fn setup(&mut self, s: &Setup) {
        let dev = self.netdev.as_ptr();
        // SAFETY: Not registered, since `Unregistered` calls this, so the core does not look at it.
        unsafe {
            (*dev).features = s.features;
            (*dev).hw_features = s.hw_features;
            (*dev).vlan_features = s.vlan_features;
            (*dev).mpls_features = s.mpls_features;
            (*dev).hw_enc_features = s.hw_enc_features;
            (*dev).gso_partial_features = s.gso_partial_features;
            (*dev).xdp_features = s.xdp_features;
            (*dev).min_mtu = s.min_mtu;
            (*dev).max_mtu = s.max_mtu;
            (*dev).dev_port = s.dev_port;
            (*dev).watchdog_timeo = bindings::__msecs_to_jiffies(s.watchdog_ms) as c_int;
            raw::nic_eth_hw_addr_set(dev, s.address.as_ptr());
            raw::nic_set_perm_addr(dev, s.perm_address.as_ptr());
            if s.unicast_filter {
                raw::nic_dev_priv_flags_unicast(dev);
            }
        }
    }

    /// Links the device to its devlink instance, once.
    pub(crate) fn set_devlink(&mut self, handle: Arc<devlink::Handle>) {
        // SAFETY: By the type invariant there is a `Private<D>`.
        unsafe { &(*self.private()).devlink }.populate(handle);
    }

    /// Registers the device, if it is not.
    pub(crate) fn register(&mut self) -> Result {
        if self.registered {
            return Err(EBUSY);
        }
        // Before anybody can open it: a driver that finds the link up says so once.
        self.carrier_off();
        // SAFETY: By the type invariant it is not registered, and its fields were set by `new`.
        to_result(unsafe { raw::register_netdev(self.netdev.as_ptr()) })?;
        self.registered = true;
        Ok(())
    }

    /// Ends the service: it does not run any more, and [`Device::schedule_service`] does nothing.
    /// Idempotent.
    pub(crate) fn stop_service(&mut self) {
        // SAFETY: `new` has initialised the work.
        unsafe { raw::disable_delayed_work_sync((*self.private()).service.get()) };
    }

    /// Unregisters the device, while its data still exists. Idempotent.
    pub(crate) fn unregister(&mut self) {
        self.stop_service();
        if core::mem::take(&mut self.registered) {
            // SAFETY: By the type invariant it is registered.
            unsafe { raw::unregister_netdev(self.netdev.as_ptr()) };
        }
    }
}

impl<D: Driver> Deref for Owned<D> {
    type Target = Device<D>;

    #[inline]
    fn deref(&self) -> &Device<D> {
        // SAFETY: By the type invariant, for as long as this is borrowed.
        unsafe { Device::from_raw(self.netdev.as_ptr()) }
    }
}

impl<D: Driver> Drop for Owned<D> {
    fn drop(&mut self) {
        self.unregister();
        // Rings count as users.
        for i in 0..self.num_tx() {
            drop(self.set_tx_queue(i, None));
        }
        // SAFETY: By the type invariant there is a `Private<D>`, whose `refs` is not changed before
        // `free`.
        let refs = unsafe {
            (*self.private())
                .refs
                .as_ref()
                .map(|r| r.count.load(Acquire))
        };
        if refs.is_some_and(|n| n != 0) {
            // A NAPI instance, a ring or an interrupt that outlives `Driver::stop` may still call
            // back: keep all it can see. What is kept holds up the unbinding, and so the module.
            // SAFETY: A valid device.
            unsafe { raw::nic_report_leak(self.netdev.as_ptr()) };
            return;
        }
        // SAFETY: Not registered, the service does not run: no callback is made any more. The
        // transmit queues, which may refer to the data, are gone.
        unsafe {
            core::ptr::drop_in_place((*self.private()).data.as_mut_ptr());
            Self::free(self.netdev);
        }
    }
}

extern "C" fn service_callback<D: Driver>(work: *mut raw::work_struct) {
    // SAFETY: `work` is the first field of the delayed work in `Private<D>`.
    unsafe {
        let dwork = kernel::container_of!(work, raw::delayed_work, work);
        let p = dwork
            .byte_sub(core::mem::offset_of!(Private<D>, service))
            .cast::<Private<D>>();
        D::service(Device::from_raw((*p).netdev));
    }
}
