// SPDX-License-Identifier: GPL-2.0
//! What a driver can do with its `struct net_device`.

use super::{
    dev_ref::{
        DevRef,
        Refs, //
    },
    ops::{
        Device,
        Driver, //
    },
    rtnl::Rtnl,
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
        atomic::Atomic,
        Arc,
        SetOnce, //
    },
};
use nic_bindings as raw;

/// What lies behind `netdev_priv()`.
///
/// # Invariants
///
/// `tx` has `num_tx` entries, each of which is null or from `KBox::into_raw`. `parent` is bound
/// while this exists, which `held` sees to.
#[repr(C)]
pub(super) struct Private<D: Driver> {
    /// One pointer per transmit queue, each protected by the lock of its queue.
    pub(super) tx: *mut *mut D::TxQueue,
    pub(super) num_tx: u32,
    pub(super) netdev: *mut raw::net_device,
    pub(super) parent: *mut bindings::device,
    pub(super) refs: Option<Arc<Refs>>,
    pub(super) service: UnsafeCell<raw::delayed_work>,
    pub(super) devlink: SetOnce<Arc<devlink::Handle>>,
    /// How many strings of each set the core was told of last, under RTNL.
    pub(super) strings: [Atomic<i32>; 3],
    pub(super) held: MaybeUninit<Held>,
    pub(super) data: MaybeUninit<D>,
}

impl<D: Driver> Device<D> {
    #[inline]
    pub(super) fn private(&self) -> *mut Private<D> {
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
        // SAFETY: By the type invariant `data` is initialised, and only shared references to it are
        // given out.
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
        // SAFETY: By the type invariant there is a `Private<D>`; the field is not changed before
        // the device is freed.
        let refs = unsafe { (*self.private()).refs.clone() };
        DevRef::new(self.as_raw(), refs)
    }

    /// How many strings of each set of ethtool's the core was told of last.
    pub(super) fn told_strings(&self) -> &[Atomic<i32>; 3] {
        // SAFETY: By the type invariant there is a `Private<D>`, and only shared references to this
        // field are given out.
        unsafe { &(*self.private()).strings }
    }

    /// Transmit queues that the device was allocated with.
    pub(super) fn num_tx(&self) -> u32 {
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
        // SAFETY: `tx` has `num_tx` entries; an entry that is not null is a valid queue, and the
        // lock makes the access exclusive.
        unsafe {
            if u32::from(index) >= (*p).num_tx {
                return None;
            }
            (*(*p).tx.add(index as usize)).as_mut()
        }
    }

    /// A counted reference. It is to be gone when [`Registration`](super::Registration) is dropped,
    /// see [`DevRef`].
    pub fn handle(&self) -> Handle<D> {
        Handle {
            dev: self.get_ref(),
            _p: PhantomData,
        }
    }

    /// Sends a whole frame, Ethernet header included, as if from the stack (`dev_queue_xmit`). May
    /// not be called from interrupt context.
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

    /// Installs what [`Driver::start_xmit`] gets for queue `index`, or takes it away; returns what
    /// was there.
    ///
    /// Waits for a running `start_xmit`. Frames that the stack sends to a queue without it are
    /// dropped.
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
        // SAFETY: An entry that is not null came from `KBox::into_raw`, and nobody else has it any
        // more.
        NonNull::new(old).map(|old| unsafe { KBox::from_raw(old.as_ptr()) })
    }

    /// Runs [`Driver::service`] in `delay_ms` milliseconds at the latest: a time set before stays
    /// if it is nearer.
    ///
    /// From any context.
    pub fn schedule_service(&self, delay_ms: u32) {
        // SAFETY: `Owned::new` has initialised the work, and `Owned::drop` waits for it.
        unsafe { raw::nic_schedule_work((*self.private()).service.get(), delay_ms) };
    }

    /// Requests vector `index` under `name` for [`Driver::interrupt`]; `shared` for a line
    /// interrupt.
    ///
    /// What this returns belongs into the driver's data, and is given up in [`Driver::stop`] at the
    /// latest.
    pub fn request_irq(
        &self,
        vectors: &Arc<Vectors>,
        index: u32,
        name: CString,
        shared: bool,
    ) -> Result<Interrupt> {
        let dev = self.get_ref();
        let cookie = self.as_raw().cast();
        // SAFETY: The handler gets the device, whose memory `dev` keeps for as long as the
        // interrupt is requested.
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
        // SAFETY: A valid field. The core writes it under RTNL meanwhile, as a whole;
        // `READ_ONCE()`.
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

    /// Tells the stack that the address is another now, where it is not the core that changed it
    /// (`NETDEV_CHANGEADDR`).
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

    /// The link is up. Queues that were full go on: [`TxConsumer`](super::TxConsumer) wakes none
    /// while the link is down, and what was in their rings may have left before this.
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

    /// Lets the stack send on all queues, and sends what it has kept back
    /// (`netif_tx_wake_all_queues`).
    pub fn tx_wake_all(&self) {
        // SAFETY: A valid device.
        unsafe { raw::nic_netif_tx_wake_all_queues(self.as_raw()) }
    }

    /// Says whether other devices may redirect to this one now.
    pub fn set_redirect_target(&self, _rtnl: &Rtnl, on: bool) {
        // SAFETY: RTNL is held.
        unsafe { raw::nic_xdp_features_set_redirect_target(self.as_raw(), on) }
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

/// A device, for code that is called from outside the driver and may outlive it if nobody takes the
/// handle away.
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
