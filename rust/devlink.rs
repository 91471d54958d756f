// SPDX-License-Identifier: GPL-2.0
//! devlink for a network device with virtual functions.
//!
//! [`Registration`] takes a network device that is not registered yet and registers devlink, the
//! physical port, the parameters, the health reporters, the region and the network device in the
//! order that their users need, and takes them down in reverse. [`Ops`] is what devlink asks of the
//! driver.
//!
//! Locks: every callback here runs with the devlink lock held and may take locks of the driver. So
//! a driver must hold none of those when it calls [`add_vf_port`], [`remove_vf_ports`] or
//! [`health_report`], which take the devlink lock.
//!
//! C header: [`include/net/devlink.h`](srctree/include/net/devlink.h)

mod table;

use self::table::Tables;
use crate::{
    net::{
        Device,
        Driver,
        MacAddr,
        Owned,
        Unregistered, //
    },
    sync::{
        Gate,
        Pass, //
    }, //
};
use core::{
    marker::PhantomPinned,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    fmt,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        Mutex, //
    },
    types::Opaque, //
};
use nic_bindings as raw;

/// Most health reporters of a driver.
pub const MAX_REPORTERS: usize = 8;

/// A health reporter.
#[derive(Clone, Copy)]
pub struct Reporter {
    /// Name that the user sees.
    pub name: &'static CStr,
    /// Whether [`Ops::health_recover`] can do something about it.
    pub recovers: bool,
}

/// A parameter of the driver, of string type and changeable at run time.
#[derive(Clone, Copy)]
pub struct Param {
    /// Name that the user sees.
    pub name: &'static CStr,
}

/// A region of which a snapshot can be taken.
#[derive(Clone, Copy)]
pub struct Region {
    /// Name that the user sees.
    pub name: &'static CStr,
    /// Size in bytes.
    pub size: usize,
    /// Most snapshots kept at a time.
    pub max_snapshots: u32,
}

/// What devlink asks of a driver.
#[vtable]
pub trait Ops: Driver {
    /// Health reporters, at most [`MAX_REPORTERS`]; the driver refers to them by index.
    const REPORTERS: &'static [Reporter] = &[];
    /// Parameters; the driver refers to them by index.
    const PARAMS: &'static [Param] = &[];
    /// A region for debugging.
    const REGION: Option<Region> = None;

    /// `devlink dev info`.
    fn info(dev: &Device<Self>, info: &mut Info) -> Result {
        let _ = (dev, info);
        Ok(())
    }

    /// Address of VF `vf`.
    fn vf_hw_addr_get(dev: &Device<Self>, vf: u32) -> Result<MacAddr> {
        let _ = (dev, vf);
        Err(EOPNOTSUPP)
    }

    /// Sets the address of VF `vf`.
    fn vf_hw_addr_set(dev: &Device<Self>, vf: u32, addr: &MacAddr) -> Result {
        let _ = (dev, vf, addr);
        Err(EOPNOTSUPP)
    }

    /// Whether VF `vf` may be migrated.
    fn vf_migratable_get(dev: &Device<Self>, vf: u32) -> Result<bool> {
        let _ = (dev, vf);
        Err(EOPNOTSUPP)
    }

    /// Lets VF `vf` be migrated or not.
    fn vf_migratable_set(dev: &Device<Self>, vf: u32, on: bool) -> Result {
        let _ = (dev, vf, on);
        Err(EOPNOTSUPP)
    }

    /// Writes what is known about an error of `reporter`, when it is reported or when the user
    /// asks.
    fn health_dump(dev: &Device<Self>, reporter: usize, msg: &mut Fmsg) -> Result {
        let _ = (dev, reporter, msg);
        Ok(())
    }

    /// Writes the present state of what `reporter` watches.
    fn health_diagnose(dev: &Device<Self>, reporter: usize, msg: &mut Fmsg) -> Result {
        let _ = (dev, reporter, msg);
        Ok(())
    }

    /// Recovers from an error.
    fn health_recover(dev: &Device<Self>, reporter: usize) -> Result {
        let _ = (dev, reporter);
        Err(EOPNOTSUPP)
    }

    /// Writes the value of parameter `param`, at most 31 bytes.
    fn param_get(dev: &Device<Self>, param: usize, out: &mut dyn fmt::Write) -> Result {
        let _ = (dev, param, out);
        Err(EOPNOTSUPP)
    }

    /// Sets parameter `param`; refuses a value that it does not know.
    fn param_set(dev: &Device<Self>, param: usize, value: &str) -> Result {
        let _ = (dev, param, value);
        Err(EOPNOTSUPP)
    }

    /// Fills a snapshot of [`Ops::REGION`].
    fn region_snapshot(dev: &Device<Self>, out: &mut [u8]) -> Result {
        let _ = (dev, out);
        Err(EOPNOTSUPP)
    }
}

/// `devlink dev info` under way.
pub struct Info(NonNull<raw::devlink_info_req>);

impl Info {
    /// Adds a version that the hardware has.
    pub fn fixed(&mut self, name: &'static CStr, value: fmt::Arguments<'_>) -> Result {
        let value = CString::try_from_fmt(value)?;
        // SAFETY: The request is valid during the callback, and C copies the strings.
        to_result(unsafe {
            raw::devlink_info_version_fixed_put(
                self.0.as_ptr(),
                name.as_char_ptr().cast(),
                value.as_char_ptr().cast(),
            )
        })
    }

    /// Adds a version that runs.
    pub fn running(&mut self, name: &'static CStr, value: fmt::Arguments<'_>) -> Result {
        let value = CString::try_from_fmt(value)?;
        // SAFETY: The request is valid during the callback, and C copies the strings.
        to_result(unsafe {
            raw::devlink_info_version_running_put(
                self.0.as_ptr(),
                name.as_char_ptr().cast(),
                value.as_char_ptr().cast(),
            )
        })
    }
}

/// A formatted message: names and values, which may be nested.
pub struct Fmsg(NonNull<raw::devlink_fmsg>);

impl Fmsg {
    /// Adds a number.
    pub fn u64(&mut self, name: &CStr, value: u64) {
        // SAFETY: The message is valid during the callback, and C copies the strings.
        unsafe { raw::devlink_fmsg_u64_pair_put(self.0.as_ptr(), name.as_char_ptr().cast(), value) }
    }

    /// Adds a number.
    pub fn u32(&mut self, name: &CStr, value: u32) {
        // SAFETY: The message is valid during the callback, and C copies what it is given.
        unsafe { raw::devlink_fmsg_u32_pair_put(self.0.as_ptr(), name.as_char_ptr().cast(), value) }
    }

    /// Adds a truth value.
    pub fn bool(&mut self, name: &CStr, value: bool) {
        // SAFETY: The message is valid during the callback, and C copies what it is given.
        unsafe {
            raw::devlink_fmsg_bool_pair_put(self.0.as_ptr(), name.as_char_ptr().cast(), value)
        }
    }

    /// Adds a string.
    pub fn string(&mut self, name: &CStr, value: &CStr) {
        // SAFETY: The message is valid during the callback, and C copies what it is given.
        unsafe {
            raw::devlink_fmsg_string_pair_put(
                self.0.as_ptr(),
                name.as_char_ptr().cast(),
                value.as_char_ptr().cast(),
            )
        }
    }

    /// Adds an array of objects under `name`; `f` adds each with [`Fmsg::object`].
    pub fn array(&mut self, name: &CStr, f: impl FnOnce(&mut Self)) {
        // SAFETY: The message is valid during the callback, and C copies what it is given.
        unsafe {
            raw::devlink_fmsg_arr_pair_nest_start(self.0.as_ptr(), name.as_char_ptr().cast())
        };
        f(self);
        // SAFETY: Started above.
        unsafe { raw::devlink_fmsg_arr_pair_nest_end(self.0.as_ptr()) };
    }

    /// Adds an object, whose pairs `f` adds.
    pub fn object(&mut self, f: impl FnOnce(&mut Self)) {
        // SAFETY: The message is valid during the callback.
        unsafe { raw::devlink_fmsg_obj_nest_start(self.0.as_ptr()) };
        f(self);
        // SAFETY: Started above.
        unsafe { raw::devlink_fmsg_obj_nest_end(self.0.as_ptr()) };
    }
}

/// A port; pinned, since devlink keeps a pointer.
struct Port(Pin<KBox<PortInner>>);

#[repr(C)]
struct PortInner {
    port: Opaque<raw::devlink_port>,
    _pin: PhantomPinned,
}

// SAFETY: A port does not belong to a thread; its methods hold the devlink lock.
unsafe impl Send for PortInner {}
// SAFETY: A shared reference gives nothing but the pointer for C.
unsafe impl Sync for PortInner {}

impl Port {
    /// Registers a port with the attributes that `attrs` sets.
    ///
    /// # Safety
    ///
    /// The devlink lock is held, and [`Port::unregister`] is called before devlink is freed.
    unsafe fn register(
        devlink: NonNull<raw::devlink>,
        index: u32,
        ops: *const raw::devlink_port_ops,
        attrs: impl FnOnce(*mut raw::devlink_port),
    ) -> Result<Self> {
        let inner = KBox::pin(
            PortInner {
                port: Opaque::zeroed(),
                _pin: PhantomPinned,
            },
            GFP_KERNEL,
        )?;
        attrs(inner.port.get());
        // SAFETY: The port is zeroed but for its attributes, and pinned until `unregister`.
        to_result(unsafe {
            raw::devl_port_register_with_ops(devlink.as_ptr(), inner.port.get(), index, ops)
        })?;
        Ok(Self(inner))
    }

    /// # Safety
    ///
    /// The devlink lock is held.
    unsafe fn unregister(self) {
        // SAFETY: Registered by `register`.
        unsafe { raw::devl_port_unregister(self.0.port.get()) };
    }
}

/// What a network device's devlink instance has. It may outlive the instance.
///
/// # Invariants
///
/// Whoever is inside of `gate` finds `devlink`, the ports and the reporters: the instance is taken
/// down when the gate is closed. A reporter that is not null was made by C, and is never replaced.
#[pin_data]
pub(crate) struct Handle {
    devlink: NonNull<raw::devlink>,
    #[pin]
    gate: Gate,
    /// User space can reach the instance.
    registered: Atomic<bool>,
    reporters: [Atomic<*mut raw::devlink_health_reporter>; MAX_REPORTERS],
    #[pin]
    ports: Mutex<KVec<Port>>,
}

// SAFETY: `devlink` is to a C object with a lock of its own.
unsafe impl Send for Handle {}
// SAFETY: All else may be shared by its type, and the C object is locked by who uses it.
unsafe impl Sync for Handle {}

/// The devlink lock, until this is dropped.
struct Lock(NonNull<raw::devlink>);

impl Lock {
    fn new(devlink: NonNull<raw::devlink>) -> Self {
        // SAFETY: The callers have a valid instance: their own, or they are inside of the gate of
        // its `Handle`.
        unsafe { raw::devl_lock(devlink.as_ptr()) };
        Self(devlink)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // SAFETY: Taken in `new`.
        unsafe { raw::devl_unlock(self.0.as_ptr()) };
    }
}

/// Index of the physical port; VF `v` has index `v + 1`.
const PHYSICAL_PORT: u32 = 0;

/// A network device with its devlink instance.
///
/// Dropping it unregisters both and frees the driver's data.
///
/// # Invariants
///
/// `handle.devlink` is an instance with the network device in its private area, registered if and
/// only if `registered` is true. `region` is null or belongs to it.
pub struct Registration<D: Ops> {
    // Dropped by hand, after devlink.
    netdev: core::mem::ManuallyDrop<Owned<D>>,
    handle: Arc<Handle>,
    region: *mut raw::devlink_region,
    registered: bool,
}

// SAFETY: All parts can be taken down by any thread.
unsafe impl<D: Ops> Send for Registration<D> {}
// SAFETY: Shared references give access to the network device only, which is `Sync`.
unsafe impl<D: Ops> Sync for Registration<D> {}

impl<D: Ops> core::ops::Deref for Registration<D> {
    type Target = Device<D>;

    fn deref(&self) -> &Device<D> {
        &self.netdev
    }
}

impl<D: Ops> Registration<D> {
    /// Registers devlink, then `netdev` as physical port `port_number`.
    pub fn new(netdev: Unregistered<D>, port_number: u32) -> Result<Self> {
        let netdev = netdev.into_inner();
        // SAFETY: The parent is bound; the tables are static. `init_net` always exists.
        let devlink = unsafe {
            raw::devlink_alloc_ns(
                &raw const Tables::<D>::OPS.0,
                size_of::<*mut raw::net_device>(),
                &raw mut raw::init_net,
                netdev.parent_raw(),
            )
        };
        let devlink = NonNull::new(devlink).ok_or(ENOMEM)?;
        let handle = Arc::pin_init(
            pin_init!(Handle {
                devlink,
                gate <- Gate::new(),
                registered: Atomic::new(false),
                reporters: [const { Atomic::new(core::ptr::null_mut()) }; MAX_REPORTERS],
                ports <- new_mutex!(KVec::new(), "nic::devlink::ports"),
            }),
            GFP_KERNEL,
        );
        let handle = match handle {
            Ok(handle) => handle,
            Err(e) => {
                // SAFETY: Allocated above, not registered.
                unsafe { raw::devlink_free(devlink.as_ptr()) };
                return Err(e);
            }
        };
        // SAFETY: The private area is one pointer.
        unsafe {
            raw::devlink_priv(devlink.as_ptr())
                .cast::<*mut raw::net_device>()
                .write(netdev.as_raw())
        };
        // From here on dropping `this` undoes everything.
        let mut this = Self {
            netdev: core::mem::ManuallyDrop::new(netdev),
            handle,
            region: core::ptr::null_mut(),
            registered: false,
        };
        this.netdev.set_devlink(this.handle.clone());
        this.register_parts(port_number)?;
        this.netdev.register()?;
        // SAFETY: All parts are registered. No lock is held.
        unsafe { raw::devlink_register(devlink.as_ptr()) };
        this.registered = true;
        this.handle.registered.store(true, Release);
        Ok(this)
    }

    fn register_parts(&mut self, port_number: u32) -> Result {
        let devlink = self.handle.devlink;
        let netdev = self.netdev.as_raw();
        let _lock = Lock::new(devlink);
        // SAFETY: The lock is held, the tables are static, and `drop` unregisters what is
        // registered here. The netdev is not registered, so its `devlink_port` may be set.
        unsafe {
            if !D::PARAMS.is_empty() {
                let t = Tables::<D>::PARAMS;
                to_result(raw::devl_params_register(
                    devlink.as_ptr(),
                    t.0.as_ptr(),
                    D::PARAMS.len(),
                ))?;
            }
            let port = Port::register(
                devlink,
                PHYSICAL_PORT,
                &raw const Tables::<D>::PORT_OPS.0,
                |p| {
                    let mut attrs: raw::devlink_port_attrs = pin_init::zeroed();
                    attrs.flavour = raw::devlink_port_flavour_DEVLINK_PORT_FLAVOUR_PHYSICAL;
                    attrs.__bindgen_anon_1.phys.port_number = port_number;
                    raw::devlink_port_attrs_set(p, &attrs);
                },
            );
            let port = match port {
                Ok(port) => port,
                Err(e) => {
                    unregister_params::<D>(devlink);
                    return Err(e);
                }
            };
            (*netdev).devlink_port = port.0.port.get();
            if let Err(e) = push_port(&self.handle.ports, port) {
                (*netdev).devlink_port = core::ptr::null_mut();
                unregister_params::<D>(devlink);
                return Err(e);
            }
            let reporters = self.handle.reporters.iter().enumerate();
            for (i, slot) in reporters.take(D::REPORTERS.len()) {
                let Some(ops) = Tables::<D>::REPORTERS.0.get(i) else {
                    break;
                };
                let r = raw::devl_health_reporter_create(devlink.as_ptr(), ops, netdev.cast());
                slot.store(kernel::error::from_err_ptr(r)?, Release);
            }
            if let Some(region) = D::REGION {
                let r = raw::devl_region_create(
                    devlink.as_ptr(),
                    &raw const Tables::<D>::REGION.0,
                    region.max_snapshots,
                    region.size as u64,
                );
                self.region = kernel::error::from_err_ptr(r)?;
            }
        }
        Ok(())
    }
}

/// Puts a registered port on the list; unregisters it if there is no memory.
///
/// # Safety
///
/// The devlink lock is held.
unsafe fn push_port(ports: &Mutex<KVec<Port>>, port: Port) -> Result {
    let mut ports = ports.lock();
    if let Err(e) = ports.reserve(1, GFP_KERNEL) {
        // SAFETY: By the safety requirement.
        unsafe { port.unregister() };
        return Err(e.into());
    }
    // There is room.
    let _ = ports.push_within_capacity(port);
    Ok(())
}

/// # Safety
///
/// The devlink lock is held, and the parameters are registered.
unsafe fn unregister_params<D: Ops>(devlink: NonNull<raw::devlink>) {
    if !D::PARAMS.is_empty() {
        // SAFETY: By the safety requirement.
        unsafe {
            raw::devl_params_unregister(
                devlink.as_ptr(),
                Tables::<D>::PARAMS.0.as_ptr(),
                D::PARAMS.len(),
            )
        };
    }
}

impl<D: Ops> Drop for Registration<D> {
    fn drop(&mut self) {
        let devlink = self.handle.devlink;
        // Nothing may be reported to an instance that is not registered, and the service reports.
        self.handle.registered.store(false, Release);
        self.netdev.stop_service();
        // Who reports by a handle of the device, or adds ports, is done with it after this.
        self.handle.gate.close();
        if self.registered {
            // SAFETY: By the type invariant it is registered. From here on user space does not
            // reach the instance.
            unsafe { raw::devlink_unregister(devlink.as_ptr()) };
        }
        // The physical port must outlive the netdev's registration, and the netdev's data all of
        // devlink.
        self.netdev.unregister();
        {
            let _lock = Lock::new(devlink);
            // SAFETY: The lock is held; each part is taken down once.
            unsafe {
                let had_port = {
                    let mut ports = self.handle.ports.lock();
                    let had = !ports.is_empty();
                    while let Some(port) = ports.pop() {
                        port.unregister();
                    }
                    had
                };
                if !self.region.is_null() {
                    raw::devl_region_destroy(self.region);
                }
                let reporters = self.handle.reporters.iter().map(|r| r.load(Acquire));
                for r in reporters.filter(|r| !r.is_null()) {
                    raw::devl_health_reporter_destroy(r);
                }
                // Parameters come before the port, so without a port there are none.
                if had_port {
                    unregister_params::<D>(devlink);
                }
                (*self.netdev.as_raw()).devlink_port = core::ptr::null_mut();
            }
        }
        // SAFETY: Nothing is registered any more; the netdev is dropped once.
        unsafe {
            raw::devlink_free(devlink.as_ptr());
            core::mem::ManuallyDrop::drop(&mut self.netdev);
        }
    }
}

/// Adds the port of VF `vf` of PCI function `pf`.
pub fn add_vf_port<D: Ops>(dev: &Device<D>, pf: u16, vf: u16) -> Result {
    let handle = dev.devlink().ok_or(ENODEV)?;
    let _pass = Pass::new(&handle.gate).ok_or(ENODEV)?;
    let _lock = Lock::new(handle.devlink);
    // SAFETY: The lock is held; `Registration` unregisters what is on the list.
    unsafe {
        let port = Port::register(
            handle.devlink,
            u32::from(vf) + PHYSICAL_PORT + 1,
            &raw const Tables::<D>::PORT_OPS.0,
            |p| raw::devlink_port_attrs_pci_vf_set(p, 0, pf, vf, false),
        )?;
        push_port(&handle.ports, port)
    }
}

/// Removes the ports of all VFs.
pub fn remove_vf_ports<D: Ops>(dev: &Device<D>) {
    let Some(handle) = dev.devlink() else {
        return;
    };
    let Some(_pass) = Pass::new(&handle.gate) else {
        return;
    };
    let _lock = Lock::new(handle.devlink);
    let mut ports = handle.ports.lock();
    // The first is the physical port.
    while ports.len() > 1 {
        if let Some(port) = ports.pop() {
            // SAFETY: The lock is held.
            unsafe { port.unregister() };
        }
    }
}

/// Reports an error to reporter `reporter`: it is logged, dumped, and recovered from if the user
/// wants that. May sleep. Without effect while devlink is not registered.
pub fn health_report<D: Ops>(dev: &Device<D>, reporter: usize, msg: &CStr) {
    let Some(handle) = dev.devlink() else {
        return;
    };
    let Some(_pass) = Pass::new(&handle.gate) else {
        return;
    };
    let r = handle.reporters.get(reporter).map(|r| r.load(Acquire));
    let Some(r) = r.filter(|r| !r.is_null()) else {
        return;
    };
    if !handle.registered.load(Acquire) {
        return;
    }
    // The result tells whether recovery succeeded, which the reporter's state says as well.
    // SAFETY: By the invariant of the handle, whose gate was entered.
    let _ =
        unsafe { raw::devlink_health_report(r, msg.as_char_ptr().cast(), core::ptr::null_mut()) };
}
