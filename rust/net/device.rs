// SPDX-License-Identifier: GPL-2.0
//! `struct net_device` and its registration.

use super::{
    ethtool::StringSet,
    ops::{
        Driver,
        Ops, //
    },
    MacAddr, //
};
use crate::{
    bound::Held,
    devlink,
    irq::{
        Requested,
        Vectors, //
    },
};
use core::{
    cell::UnsafeCell,
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
    irq::IrqReturn,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        SetOnce, //
    },
    types::Opaque, //
};
use nic_bindings as raw;
use pin_init::PinInit;

/// Proof that the RTNL lock is held.
pub struct Rtnl(PhantomData<*mut ()>);

impl Rtnl {
    /// Takes the lock. May sleep.
    pub fn lock() -> RtnlGuard {
        // SAFETY: No requirements but not to hold it already, which lockdep checks; a second take hangs and does no
        // worse.
        unsafe { raw::rtnl_lock() };
        RtnlGuard(Rtnl(PhantomData))
    }

    /// # Safety
    ///
    /// RTNL is held for as long as the token exists.
    pub(crate) unsafe fn assume() -> Self {
        Self(PhantomData)
    }
}

/// RTNL, until this is dropped.
pub struct RtnlGuard(Rtnl);

impl Deref for RtnlGuard {
    type Target = Rtnl;

    fn deref(&self) -> &Rtnl {
        &self.0
    }
}

impl Drop for RtnlGuard {
    fn drop(&mut self) {
        // SAFETY: Taken by `Rtnl::lock`.
        unsafe { raw::rtnl_unlock() }
    }
}

/// What lies behind `netdev_priv()`.
///
/// # Invariants
///
/// `tx` has `num_tx` entries, each of which is null or from `KBox::into_raw`. `parent` is bound while
/// this exists, which `held` sees to.
#[repr(C)]
struct Private<D: Driver> {
    /// One pointer per transmit queue, each protected by the lock of its queue.
    tx: *mut *mut D::TxQueue,
    num_tx: u32,
    netdev: *mut raw::net_device,
    parent: *mut bindings::device,
    refs: Option<Arc<Refs>>,
    service: UnsafeCell<raw::delayed_work>,
    devlink: SetOnce<Arc<devlink::Handle>>,
    /// How many strings of each set the core was told of last, under RTNL.
    strings: [Atomic<i32>; 3],
    held: MaybeUninit<Held>,
    data: MaybeUninit<D>,
}

/// Counts [`DevRef`]s, in memory of its own so that a late one can still be dropped.
struct Refs {
    count: Atomic<i32>,
    /// By transmit queue: whether a ring accounts to its byte limit.
    claimed: KVec<Atomic<bool>>,
}

/// A network device of driver `D`.
///
/// # Invariants
///
/// Allocated by [`Unregistered::new`], so that `Private<D>` is behind `netdev_priv()`, with `data` initialised.
#[repr(transparent)]
pub struct Device<D: Driver>(Opaque<raw::net_device>, PhantomData<D>);

// SAFETY: The operations of `Device` are C functions that may be called from any context they are documented for, and
// `D` is `Sync`.
unsafe impl<D: Driver> Sync for Device<D> {}

impl<D: Driver> Device<D> {
    /// # Safety
    ///
    /// `ptr` upholds the type invariant for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut raw::net_device) -> &'a Self {
        // SAFETY: By the safety requirement.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(crate) fn as_raw(&self) -> *mut raw::net_device {
        self.0.get()
    }

    #[inline]
    fn private(&self) -> *mut Private<D> {
        // SAFETY: `netdev_priv()`; by the type invariant there is a `Private<D>`.
        unsafe {
            self.as_raw()
                .byte_add(raw::RUST_CONST_HELPER_NETDEV_PRIV_OFFSET)
                .cast()
        }
    }

    /// The driver's data.
    #[inline]
    pub fn data(&self) -> &D {
        // SAFETY: By the type invariant `data` is initialised, and only shared references to it are given out.
        unsafe { (*self.private()).data.assume_init_ref() }
    }

    /// The device on the bus, which is bound while its network device exists.
    pub fn parent(&self) -> &device::Device<Bound> {
        // SAFETY: `Owned::new` got a bound device, and the private data keeps it bound.
        unsafe { device::Device::<device::Normal>::from_raw((*self.private()).parent).as_bound() }
    }

    pub(crate) fn parent_raw(&self) -> *mut bindings::device {
        // SAFETY: By the type invariant there is a `Private<D>`; `parent` is never changed.
        unsafe { (*self.private()).parent }
    }

    /// The devlink instance, if the device was registered through one.
    pub(crate) fn devlink(&self) -> Option<&devlink::Handle> {
        // SAFETY: By the type invariant there is a `Private<D>`, and only shared references to this
        // field are given out.
        let devlink = unsafe { &(*self.private()).devlink };
        devlink.as_ref().map(|handle| &**handle)
    }

    pub(super) fn get_ref(&self) -> DevRef {
        // SAFETY: By the type invariant there is a `Private<D>`; the field is not changed before the
        // device is freed.
        let refs = unsafe { (*self.private()).refs.clone() };
        if let Some(refs) = &refs {
            refs.count.fetch_add(1, Relaxed);
        }
        DevRef {
            netdev: self.as_raw(),
            refs,
        }
    }

    /// How many strings of `set` the core was told of last.
    pub(super) fn told_strings(&self, set: StringSet) -> &Atomic<i32> {
        // SAFETY: By the type invariant there is a `Private<D>`, and only shared references to this
        // field are given out.
        let [test, stats, flags] = unsafe { &(*self.private()).strings };
        match set {
            StringSet::Test => test,
            StringSet::Stats => stats,
            StringSet::PrivFlags => flags,
        }
    }

    /// Transmit queues that the device was allocated with.
    fn num_tx(&self) -> u32 {
        // SAFETY: By the type invariant there is a `Private<D>`; the field is never changed.
        unsafe { (*self.private()).num_tx }
    }

    /// Receive queues that the device was allocated with.
    pub(super) fn num_rx(&self) -> u32 {
        // SAFETY: A valid device; the field is never changed.
        unsafe { (*self.as_raw()).num_rx_queues }
    }

    /// # Safety
    ///
    /// The caller holds the lock of transmit queue `index`.
    #[inline]
    // Clippy of 1.85 does not see it, a later one does: the lock makes it exclusive.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn tx_queue(&self, index: u16) -> Option<&mut D::TxQueue> {
        let p = self.private();
        // SAFETY: `tx` has `num_tx` entries; an entry that is not null is a valid queue, and the lock makes the access
        // exclusive.
        unsafe {
            if u32::from(index) >= (*p).num_tx {
                return None;
            }
            (*(*p).tx.add(index as usize)).as_mut()
        }
    }

    /// A counted reference. It is to be gone when [`Registration`] is dropped, see [`DevRef`].
    pub fn handle(&self) -> Handle<D> {
        Handle {
            dev: self.get_ref(),
            _p: PhantomData,
        }
    }

    /// Sends a whole frame, Ethernet header included, as if from the stack (`dev_queue_xmit`). May not be called from
    /// interrupt context.
    pub fn send_frame(&self, frame: &[u8]) -> Result {
        let len = u32::try_from(frame.len())?;
        // SAFETY: A valid device and buffer.
        to_result(unsafe { raw::nic_send_frame(self.as_raw(), frame.as_ptr().cast(), len) })
    }

    /// Runs `f` on transmit queue `index` under its lock. `None` if there is no such queue.
    pub fn with_tx_queue<R>(&self, index: u32, f: impl FnOnce(&mut D::TxQueue) -> R) -> Option<R> {
        let index16 = u16::try_from(index).ok()?;
        if index >= self.num_tx() {
            return None;
        }
        // SAFETY: The queue exists.
        unsafe { raw::nic_tx_lock(self.as_raw(), index) };
        // SAFETY: The lock was just taken.
        let r = unsafe { self.tx_queue(index16) }.map(f);
        // SAFETY: Taken above.
        unsafe { raw::nic_tx_unlock(self.as_raw(), index) };
        r
    }

    /// Installs what [`Driver::start_xmit`] gets for queue `index`, or takes it away; returns what was there.
    ///
    /// Waits for a running `start_xmit`. Frames that the stack sends to a queue without it are dropped.
    pub fn set_tx_queue(
        &self,
        index: u32,
        queue: Option<KBox<D::TxQueue>>,
    ) -> Option<KBox<D::TxQueue>> {
        let p = self.private();
        if index >= self.num_tx() {
            return queue;
        }
        let new = queue.map_or(core::ptr::null_mut(), KBox::into_raw);
        // SAFETY: The queue exists; its lock protects the entry.
        let old = unsafe {
            raw::nic_tx_lock(self.as_raw(), index);
            let old = core::mem::replace(&mut *(*p).tx.add(index as usize), new);
            raw::nic_tx_unlock(self.as_raw(), index);
            old
        };
        // SAFETY: An entry that is not null came from `KBox::into_raw`, and nobody else has it any more.
        NonNull::new(old).map(|old| unsafe { KBox::from_raw(old.as_ptr()) })
    }

    /// Runs [`Driver::service`] in `delay_ms` milliseconds at the latest: a time set before stays if it is nearer.
    ///
    /// From any context.
    pub fn schedule_service(&self, delay_ms: u32) {
        // SAFETY: `Owned::new` has initialised the work, and `Owned::drop` waits for it.
        unsafe { raw::nic_schedule_work((*self.private()).service.get(), delay_ms) };
    }

    /// Requests vector `index` under `name` for [`Driver::interrupt`]; `shared` for a line interrupt.
    ///
    /// What this returns belongs into the driver's data, and is given up in [`Driver::stop`] at the latest.
    pub fn request_irq(
        &self,
        vectors: &Arc<Vectors>,
        index: u32,
        name: CString,
        shared: bool,
    ) -> Result<Interrupt> {
        let dev = self.get_ref();
        let cookie = self.as_raw().cast();
        // SAFETY: The handler gets the device, whose memory `dev` keeps for as long as the interrupt is requested.
        let irq = unsafe {
            Requested::new(
                vectors,
                index,
                name,
                shared,
                Some(interrupt_callback::<D>),
                cookie,
            )?
        };
        Ok(Interrupt { irq, _dev: dev })
    }

    /// Features that are switched on, see [`super::features`].
    #[inline]
    pub fn features(&self) -> u64 {
        // SAFETY: A valid field. The core writes it under RTNL meanwhile, as a whole; `READ_ONCE()`.
        unsafe { (&raw const (*self.as_raw()).features).read_volatile() }
    }

    /// `IFF_*`.
    #[inline]
    pub fn flags(&self) -> u32 {
        // SAFETY: A valid field. The core writes it with `WRITE_ONCE()`; this is `READ_ONCE()`.
        unsafe { (&raw const (*self.as_raw()).flags).read_volatile() }
    }

    /// Whether everything is to be received.
    pub fn is_promisc(&self) -> bool {
        self.flags() & raw::net_device_flags_IFF_PROMISC != 0
    }

    /// Whether all multicast is to be received.
    pub fn is_allmulti(&self) -> bool {
        self.flags() & raw::net_device_flags_IFF_ALLMULTI != 0
    }

    /// MTU in bytes.
    pub fn mtu(&self) -> u32 {
        // SAFETY: A valid field. The core writes it with `WRITE_ONCE()`; this is `READ_ONCE()`.
        unsafe { (&raw const (*self.as_raw()).mtu).read_volatile() }
    }

    /// Sets the MTU that the core knows, where it is not the core that changes it.
    pub fn set_mtu(&self, _rtnl: &Rtnl, mtu: u32) {
        // SAFETY: RTNL is held. As `WRITE_ONCE()` in C.
        unsafe { (&raw mut (*self.as_raw()).mtu).write_volatile(mtu) };
    }

    /// The address. Without RTNL it may be half of one and half of the next, while it changes.
    pub fn address(&self) -> MacAddr {
        let mut addr = [0; 6];
        // SAFETY: A valid field, of a device that was allocated with an address.
        let from = unsafe { (&raw const (*self.as_raw()).dev_addr).read_volatile() };
        for (i, byte) in addr.iter_mut().enumerate() {
            // SAFETY: `dev_addr` points to at least 32 bytes, which live as long as the device.
            *byte = unsafe { from.add(i).read_volatile() };
        }
        addr
    }

    /// Sets the address that the core knows.
    pub fn set_address(&self, _rtnl: &Rtnl, addr: &MacAddr) {
        // SAFETY: RTNL is held.
        unsafe { raw::nic_eth_hw_addr_set(self.as_raw(), addr.as_ptr()) };
    }

    /// Tells the stack that the address is another now, where it is not the core that changed it (`NETDEV_CHANGEADDR`).
    ///
    /// Who is told may call the driver: no lock that it takes then may be held.
    pub fn address_changed(&self, _rtnl: &Rtnl) {
        // SAFETY: RTNL is held, and the device lives as long as `self`.
        unsafe { raw::nic_address_changed(self.as_raw()) };
    }

    /// Interface name, such as `eth0`; a copy, since it can be changed.
    pub fn name(&self) -> Name {
        let mut name = [0u8; 16];
        // SAFETY: A valid field.
        let from = unsafe { &raw const (*self.as_raw()).name }.cast::<u8>();
        // The last one stays the closing 0, whatever the name is changed to meanwhile.
        for (i, byte) in name.iter_mut().enumerate().take(15) {
            // SAFETY: The name is an array of 16 bytes.
            *byte = unsafe { from.add(i).read_volatile() };
        }
        Name(name)
    }

    /// Whether the interface is up.
    #[inline]
    pub fn running(&self) -> bool {
        // SAFETY: A valid device.
        unsafe { raw::nic_netif_running(self.as_raw()) }
    }

    /// Whether the link is up, as the core was told.
    pub fn carrier_ok(&self) -> bool {
        // SAFETY: A valid device.
        unsafe { raw::nic_netif_carrier_ok(self.as_raw()) }
    }

    /// The link is up. Queues that were full go on: [`Device::tx_completed`] wakes none while the
    /// link is down, and what was in their rings may have left before this.
    pub fn carrier_on(&self) {
        // SAFETY: A valid device.
        unsafe { raw::nic_carrier_on(self.as_raw()) }
    }

    /// The link is down.
    pub fn carrier_off(&self) {
        // SAFETY: A valid device.
        unsafe { raw::netif_carrier_off(self.as_raw()) }
    }

    /// Lets the stack send on all queues.
    pub fn tx_start_all(&self) {
        // SAFETY: A valid device.
        unsafe { raw::nic_netif_tx_start_all_queues(self.as_raw()) }
    }

    /// Lets the stack send on all queues, and sends what it has kept back (`netif_tx_wake_all_queues`).
    pub fn tx_wake_all(&self) {
        // SAFETY: A valid device.
        unsafe { raw::nic_netif_tx_wake_all_queues(self.as_raw()) }
    }

    /// Stops all queues and waits until nobody sends.
    pub fn tx_disable(&self) {
        // SAFETY: A valid device.
        unsafe { raw::nic_netif_tx_disable(self.as_raw()) }
    }

    /// The device is gone for a while: sleep, or error recovery (`netif_device_detach`).
    pub fn detach(&self, _rtnl: &Rtnl) {
        // SAFETY: A valid device.
        unsafe { raw::netif_device_detach(self.as_raw()) }
    }

    /// The device is back (`netif_device_attach`).
    pub fn attach(&self, _rtnl: &Rtnl) {
        // SAFETY: A valid device.
        unsafe { raw::netif_device_attach(self.as_raw()) }
    }

    /// Whether the device is not detached.
    pub fn present(&self) -> bool {
        // SAFETY: A valid device.
        unsafe { raw::nic_netif_device_present(self.as_raw()) }
    }

    /// How many transmit and receive queues are used.
    pub fn real_num_queues(&self) -> (u32, u32) {
        // SAFETY: Valid fields. The core writes them under RTNL, each as a whole.
        unsafe {
            (
                (&raw const (*self.as_raw()).real_num_tx_queues).read_volatile(),
                (&raw const (*self.as_raw()).real_num_rx_queues).read_volatile(),
            )
        }
    }

    /// Sets how many queues are used.
    pub fn set_real_num_queues(&self, _rtnl: &Rtnl, tx: u32, rx: u32) -> Result {
        // SAFETY: RTNL is held; C checks the numbers.
        to_result(unsafe { raw::netif_set_real_num_queues(self.as_raw(), tx, rx) })
    }

    /// Has frames sent on CPU `cpu` leave by transmit queue `queue`, until the user says otherwise
    /// (`netif_set_xps_queue`).
    pub fn set_xps_queue(&self, queue: u32, cpu: u32) -> Result {
        let queue = u16::try_from(queue)?;
        // SAFETY: A valid device; C checks the queue and the CPU.
        to_result(unsafe { raw::nic_set_xps_queue(self.as_raw(), queue, cpu) })
    }
}

/// Name of an interface.
#[derive(Clone, Copy)]
pub struct Name([u8; 16]);

impl Name {
    /// As text; empty if it is not UTF-8.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&c| c == 0).unwrap_or(0);
        self.0
            .get(..len)
            .and_then(|b| core::str::from_utf8(b).ok())
            .unwrap_or("")
    }
}

impl kernel::fmt::Display for Name {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A pointer to a network device whose memory stays while it exists.
///
/// Kept by what calls back, NAPI instances, rings and interrupts, which a driver gives up in
/// [`Driver::stop`] at the latest. If one is left [`Registration`] leaves the device where it is,
/// with a message, and the device on the bus stays bound.
///
/// # Invariants
///
/// `netdev` upholds the invariant of [`Device`], and `refs` is its counter and counts this.
pub struct DevRef {
    netdev: *mut raw::net_device,
    refs: Option<Arc<Refs>>,
}

// SAFETY: A counted pointer.
unsafe impl Send for DevRef {}
// SAFETY: A counted pointer.
unsafe impl Sync for DevRef {}

impl DevRef {
    #[inline]
    pub(crate) fn as_raw(&self) -> *mut raw::net_device {
        self.netdev
    }

    /// Claims transmit queue `index` for a ring that accounts to its byte limit; there is one at a
    /// time.
    pub(super) fn claim_tx(&self, index: u32) -> Result<NonNull<raw::netdev_queue>> {
        let claimed = self
            .refs
            .as_ref()
            .ok_or(EINVAL)?
            .claimed
            .get(index as usize);
        if claimed.ok_or(EINVAL)?.xchg(true, Full) {
            return Err(EBUSY);
        }
        // SAFETY: There are as many queues as flags.
        let queue = unsafe { raw::nic_tx_queue(self.netdev, index) };
        NonNull::new(queue).ok_or(EINVAL)
    }

    /// Undoes [`DevRef::claim_tx`].
    pub(super) fn release_tx(&self, index: u32) {
        if let Some(refs) = &self.refs {
            if let Some(claimed) = refs.claimed.get(index as usize) {
                claimed.xchg(false, Full);
            }
        }
    }
}

impl Drop for DevRef {
    fn drop(&mut self) {
        if let Some(refs) = &self.refs {
            // What was done by it is done before it is gone.
            refs.count.fetch_sub(1, Release);
        }
    }
}

/// A device, for code that is called from outside the driver and may outlive it if nobody takes the handle away.
pub struct Handle<D: Driver> {
    dev: DevRef,
    _p: PhantomData<fn() -> D>,
}

impl<D: Driver> Deref for Handle<D> {
    type Target = Device<D>;

    fn deref(&self) -> &Device<D> {
        // SAFETY: By the invariant of `DevRef`, which `Device::handle` took from a device of this
        // driver; `Owned::drop` keeps memory and data as long as one is counted.
        unsafe { Device::from_raw(self.dev.as_raw()) }
    }
}

/// An interrupt of a device. Dropping it waits for a running [`Driver::interrupt`].
pub struct Interrupt {
    // Freed before the device's memory can be.
    irq: Requested,
    _dev: DevRef,
}

impl Interrupt {
    /// Waits until no handler runs on any CPU.
    pub fn synchronize(&self) {
        self.irq.synchronize();
    }
}

extern "C" fn interrupt_callback<D: Driver>(_irq: c_int, dev: *mut c_void) -> raw::irqreturn_t {
    // SAFETY: `Device::request_irq` passes its device.
    match D::interrupt(unsafe { Device::from_raw(dev.cast()) }) {
        IrqReturn::None => raw::irqreturn::IRQ_NONE,
        IrqReturn::Handled => raw::irqreturn::IRQ_HANDLED,
    }
}

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
    /// `netdev` is not registered, all fields of its `Private<D>` but `data` are initialised, `data` is not, and nothing
    /// uses the device any more.
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
