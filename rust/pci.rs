// SPDX-License-Identifier: GPL-2.0
//! PCI drivers with the operations that `kernel::pci` does not have yet.
//!
//! [`Driver`] is the trait of `kernel::pci::Driver` plus SR-IOV, error recovery, system sleep and
//! shutdown. [`Adapter`] fills `struct pci_driver` from it. The device type stays that of the
//! kernel crate.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

mod bar;
mod vf;

pub use self::bar::{
    Bar,
    Doorbell,
    Enabled, //
};
pub use self::vf::{
    root_port_header_log,
    VirtFn,
    VirtFns,
    STATUS_REC_MASTER_ABORT, //
};

use core::{
    marker::PhantomData,
    mem::offset_of, //
};
use kernel::{
    bindings,
    device::{
        Core,
        CoreInternal, //
    },
    device_id::RawDeviceIdIndex,
    driver,
    error::{
        from_result,
        to_result, //
    },
    pci::{
        Device,
        DeviceId,
        IdTable, //
    },
    prelude::*,
    types::Opaque, //
};
use nic_bindings as raw;

/// What an error handler asks the PCI error recovery core to do next (`pci_ers_result_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ErsResult {
    /// The driver does not take part in recovery.
    None = 1,
    /// The device can be used again without a slot reset.
    CanRecover = 2,
    /// The device needs its slot to be reset.
    NeedReset = 3,
    /// The device is lost.
    Disconnect = 4,
    /// The device works again.
    Recovered = 5,
}

/// State of the channel when an error is reported (`pci_channel_state_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// I/O still works.
    Normal,
    /// I/O to the device is blocked.
    Frozen,
    /// The device is dead.
    PermFailure,
}

/// A PCI driver.
///
/// # Examples
///
/// ```ignore
/// struct MyDriver;
///
/// #[vtable]
/// impl nic::pci::Driver for MyDriver {
///     type IdInfo = ();
///     type Data = MyData;
///     const ID_TABLE: kernel::pci::IdTable<()> = &PCI_TABLE;
///
///     fn probe(pdev: &pci::Device<Core<'_>>, _info: Option<&()>) -> Result<impl PinInit<MyData, Error>> {
///         let enabled = nic::pci::Enabled::new(pdev, kernel::dma::DmaMask::new::<64>())?;
///         Ok(try_pin_init!(MyData { enabled }))
///     }
/// }
///
/// nic::module_pci_driver! {
///     type: MyDriver,
///     name: "mydriver",
///     authors: ["…"],
///     description: "…",
///     license: "GPL v2",
/// }
/// ```
#[vtable]
pub trait Driver: Sized + 'static {
    /// Information that belongs to each entry of [`Driver::ID_TABLE`].
    type IdInfo: 'static;

    /// Private data of a bound device. Dropped after [`Driver::remove`].
    type Data: Send + Sync + 'static;

    /// Devices that this driver drives.
    const ID_TABLE: IdTable<Self::IdInfo>;

    /// Brings up a device; what it returns becomes the private data.
    fn probe(
        pdev: &Device<Core<'_>>,
        info: Option<&Self::IdInfo>,
    ) -> Result<impl PinInit<Self::Data, Error>>;

    /// Called before the private data is dropped, while the device is still bound.
    fn remove(pdev: &Device<Core<'_>>, data: Pin<&Self::Data>) {
        let _ = (pdev, data);
    }

    /// Sets the number of virtual functions, from `sriov_numvfs` in sysfs; returns how many there
    /// are now.
    fn sriov_configure(
        pdev: &Device<Core<'_>>,
        data: Pin<&Self::Data>,
        num_vfs: u32,
    ) -> Result<u32> {
        let _ = (pdev, data, num_vfs);
        Err(EOPNOTSUPP)
    }

    /// A bus error was detected: stop using the device.
    fn error_detected(
        pdev: &Device<Core<'_>>,
        data: Pin<&Self::Data>,
        state: ChannelState,
    ) -> ErsResult {
        let _ = (pdev, data, state);
        ErsResult::Disconnect
    }

    /// The slot was reset: bring the device to the state it has after power-on.
    fn slot_reset(pdev: &Device<Core<'_>>, data: Pin<&Self::Data>) -> ErsResult {
        let _ = (pdev, data);
        ErsResult::Disconnect
    }

    /// Recovery has succeeded: let traffic flow.
    fn error_resume(pdev: &Device<Core<'_>>, data: Pin<&Self::Data>) {
        let _ = (pdev, data);
    }

    /// The function is about to be reset through sysfs or VFIO.
    fn reset_prepare(pdev: &Device<Core<'_>>, data: Pin<&Self::Data>) {
        let _ = (pdev, data);
    }

    /// The function was reset and its configuration space restored.
    fn reset_done(pdev: &Device<Core<'_>>, data: Pin<&Self::Data>) {
        let _ = (pdev, data);
    }

    /// The system goes to sleep.
    fn suspend(pdev: &Device<Core<'_>>, data: Pin<&Self::Data>) -> Result {
        let _ = (pdev, data);
        Ok(())
    }

    /// The system woke up.
    fn resume(pdev: &Device<Core<'_>>, data: Pin<&Self::Data>) -> Result {
        let _ = (pdev, data);
        Ok(())
    }

    /// The system goes down or starts another kernel: stop DMA.
    fn shutdown(pdev: &Device<Core<'_>>, data: Pin<&Self::Data>) {
        let _ = (pdev, data);
    }
}

/// Connects a [`Driver`] to `struct pci_driver`.
pub struct Adapter<T: Driver>(PhantomData<T>);

// SAFETY: `pci_driver` is a C structure with a `device_driver` at the named offset, and `T::Data`
// is what the probe callback stores as private data.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = bindings::pci_driver;
    type DriverData<'bound> = T::Data;
    const DEVICE_DRIVER_OFFSET: usize = offset_of!(Self::DriverType, driver);
}

// SAFETY: `unregister` undoes exactly what a successful `register` did.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        pdrv: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        let drv = pdrv.get();

        // SAFETY: `drv` is not registered yet, so nobody else looks at its fields. The operation
        // tables are statics and so outlive the registration.
        unsafe {
            (*drv).name = name.as_char_ptr();
            (*drv).probe = Some(Self::probe_callback);
            (*drv).remove = Some(Self::remove_callback);
            (*drv).id_table = T::ID_TABLE.as_ptr();
            if T::HAS_SRIOV_CONFIGURE {
                (*drv).sriov_configure = Some(Self::sriov_configure_callback);
            }
            if T::HAS_SHUTDOWN {
                (*drv).shutdown = Some(Self::shutdown_callback);
            }
            if T::HAS_ERROR_DETECTED || T::HAS_RESET_PREPARE {
                (*drv).err_handler = (&raw const Self::ERR_HANDLERS.0).cast();
            }
            if T::HAS_SUSPEND {
                (*drv).driver.pm = &raw const Self::PM_OPS.0;
            }
        }

        // SAFETY: `drv` is initialised, and the caller keeps it pinned until `unregister`.
        to_result(unsafe {
            bindings::__pci_register_driver(drv, module.as_ptr(), name.as_char_ptr())
        })
    }

    unsafe fn unregister(pdrv: &Opaque<Self::DriverType>) {
        // SAFETY: The caller guarantees that `register` succeeded for `pdrv`.
        unsafe { bindings::pci_unregister_driver(pdrv.get()) }
    }
}

/// A table of C callbacks.
struct Table<T>(T);

// SAFETY: The tables hold function pointers only and are never written after they were built.
unsafe impl<T> Sync for Table<T> {}

impl<T: Driver> Adapter<T> {
    const ERR_HANDLERS: &'static Table<raw::pci_error_handlers> = &Table({
        let mut h: raw::pci_error_handlers = pin_init::zeroed();
        if T::HAS_ERROR_DETECTED {
            h.error_detected = Some(Self::error_detected_callback);
            h.slot_reset = Some(Self::slot_reset_callback);
            h.resume = Some(Self::error_resume_callback);
        }
        if T::HAS_RESET_PREPARE {
            h.reset_prepare = Some(Self::reset_prepare_callback);
            h.reset_done = Some(Self::reset_done_callback);
        }
        h
    });

    // As DEFINE_SIMPLE_DEV_PM_OPS() does.
    const PM_OPS: &'static Table<bindings::dev_pm_ops> = &Table({
        let mut ops: bindings::dev_pm_ops = pin_init::zeroed();
        ops.suspend = Some(Self::suspend_callback);
        ops.resume = Some(Self::resume_callback);
        ops.freeze = Some(Self::suspend_callback);
        ops.thaw = Some(Self::resume_callback);
        ops.poweroff = Some(Self::suspend_callback);
        ops.restore = Some(Self::resume_callback);
        ops
    });

    extern "C" fn probe_callback(
        pdev: *mut bindings::pci_dev,
        id: *const bindings::pci_device_id,
    ) -> c_int {
        // SAFETY: The PCI core passes a device that stays valid, and locked, during the callback.
        let pdev = unsafe { &*pdev.cast::<Device<CoreInternal<'_>>>() };
        // SAFETY: `DeviceId` is a transparent wrapper of `pci_device_id`.
        let id = unsafe { &*id.cast::<DeviceId>() };
        // SAFETY: `id` is an entry of `T::ID_TABLE`, or a dynamic one whose data the core has
        // checked against it, or has no data.
        let info = unsafe { id.info_unchecked_opt::<T::IdInfo>() };

        from_result(|| {
            let data = T::probe(pdev, info)?;

            pdev.as_ref().set_drvdata(data)?;
            Ok(0)
        })
    }

    /// Calls `f` with the device and its private data.
    ///
    /// # Safety
    ///
    /// `pdev` is the argument of a callback that the PCI core or the PM core makes only for a
    /// device that this driver is bound to.
    unsafe fn with<R>(
        pdev: *mut bindings::pci_dev,
        f: impl FnOnce(&Device<Core<'_>>, Pin<&T::Data>) -> R,
    ) -> R {
        // SAFETY: The caller passes a valid device.
        let pdev = unsafe { &*pdev.cast::<Device<CoreInternal<'_>>>() };
        // SAFETY: The device is bound, so `probe_callback` has stored a `T::Data`.
        let data = unsafe { pdev.as_ref().drvdata_borrow::<T::Data>() };

        f(pdev, data)
    }

    extern "C" fn remove_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: Only called for a device whose probe succeeded.
        unsafe { Self::with(pdev, |pdev, data| T::remove(pdev, data)) }
    }

    extern "C" fn sriov_configure_callback(pdev: *mut bindings::pci_dev, num_vfs: c_int) -> c_int {
        // SAFETY: sriov_numvfs_store() holds the device lock and has checked that a driver is
        // bound.
        unsafe {
            Self::with(pdev, |pdev, data| {
                from_result(|| {
                    let num = T::sriov_configure(pdev, data, u32::try_from(num_vfs)?)?;
                    Ok(c_int::try_from(num)?)
                })
            })
        }
    }

    extern "C" fn shutdown_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: pci_device_shutdown() runs with the device locked and a driver bound. A device
        // without private data failed its probe.
        unsafe {
            if (*pdev).dev.driver_data.is_null() {
                return;
            }
            Self::with(pdev, |pdev, data| T::shutdown(pdev, data))
        }
    }

    extern "C" fn error_detected_callback(
        pdev: *mut bindings::pci_dev,
        state: raw::pci_channel_state_t,
    ) -> raw::pci_ers_result_t {
        let state = match state {
            1 => ChannelState::Normal,
            2 => ChannelState::Frozen,
            _ => ChannelState::PermFailure,
        };
        // SAFETY: report_error_detected() holds the device lock and has checked that a driver is
        // bound.
        unsafe {
            Self::with(pdev, |pdev, data| {
                T::error_detected(pdev, data, state) as raw::pci_ers_result_t
            })
        }
    }

    extern "C" fn slot_reset_callback(pdev: *mut bindings::pci_dev) -> raw::pci_ers_result_t {
        // SAFETY: report_slot_reset() holds the device lock and has checked that a driver is bound.
        unsafe {
            Self::with(pdev, |pdev, data| {
                T::slot_reset(pdev, data) as raw::pci_ers_result_t
            })
        }
    }

    extern "C" fn error_resume_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: report_resume() holds the device lock and has checked that a driver is bound.
        unsafe { Self::with(pdev, |pdev, data| T::error_resume(pdev, data)) }
    }

    extern "C" fn reset_prepare_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: pci_dev_save_and_disable() holds the device lock and has checked that a driver is
        // bound.
        unsafe { Self::with(pdev, |pdev, data| T::reset_prepare(pdev, data)) }
    }

    extern "C" fn reset_done_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: pci_dev_restore() holds the device lock and has checked that a driver is bound.
        unsafe { Self::with(pdev, |pdev, data| T::reset_done(pdev, data)) }
    }

    extern "C" fn suspend_callback(dev: *mut bindings::device) -> c_int {
        // SAFETY: The PM core calls this for a bound device of the PCI bus with the device lock
        // held.
        unsafe {
            Self::with(Self::from_device(dev), |pdev, data| {
                from_result(|| T::suspend(pdev, data).map(|()| 0))
            })
        }
    }

    extern "C" fn resume_callback(dev: *mut bindings::device) -> c_int {
        // SAFETY: The PM core calls this for a device that it has suspended, with the device lock
        // held.
        unsafe {
            Self::with(Self::from_device(dev), |pdev, data| {
                from_result(|| T::resume(pdev, data).map(|()| 0))
            })
        }
    }

    /// `to_pci_dev()`.
    ///
    /// # Safety
    ///
    /// `dev` is embedded in a `pci_dev`.
    unsafe fn from_device(dev: *mut bindings::device) -> *mut bindings::pci_dev {
        // SAFETY: By the safety requirement.
        unsafe { kernel::container_of!(dev, bindings::pci_dev, dev) }
    }
}

/// The C structure behind a device of the kernel crate.
pub(crate) fn as_raw<Ctx: kernel::device::DeviceContext>(
    pdev: &Device<Ctx>,
) -> *mut bindings::pci_dev {
    // CAST: `Device` is a transparent wrapper of `Opaque<pci_dev>`.
    core::ptr::from_ref(pdev).cast_mut().cast()
}

/// Operations on a PCI device in a callback of its driver.
pub trait DeviceExt {
    /// Enables `num` virtual functions (`pci_enable_sriov`).
    fn enable_sriov(&self, num: u32) -> Result;

    /// Removes all virtual functions (`pci_disable_sriov`).
    fn disable_sriov(&self);

    /// Number of virtual functions that are enabled.
    fn num_vf(&self) -> u32;

    /// Whether a virtual function is assigned to a guest the old way (`pci_vfs_assigned`).
    fn vfs_assigned(&self) -> bool;

    /// Limits the number of virtual functions that sysfs accepts (`pci_sriov_set_totalvfs`).
    fn set_totalvfs(&self, num: u16) -> Result;

    /// Whether the channel to the device is blocked by error recovery.
    fn channel_offline(&self) -> bool;

    /// Whether the device answers to configuration reads.
    fn is_present(&self) -> bool;
}

impl DeviceExt for Device<Core<'_>> {
    fn enable_sriov(&self, num: u32) -> Result {
        // SAFETY: A valid device, locked, so that nobody else enables or disables VFs.
        to_result(unsafe { bindings::pci_enable_sriov(as_raw(self), c_int::try_from(num)?) })
    }

    fn disable_sriov(&self) {
        // SAFETY: A valid device, locked, so that nobody else enables or disables VFs.
        unsafe { bindings::pci_disable_sriov(as_raw(self)) }
    }

    fn num_vf(&self) -> u32 {
        // CAST: Never negative.
        // SAFETY: A valid device, locked, so that the number does not change.
        unsafe { bindings::pci_num_vf(as_raw(self)) as u32 }
    }

    fn vfs_assigned(&self) -> bool {
        // SAFETY: A valid device; C holds references to the VFs that it looks at.
        unsafe { raw::nic_pci_vfs_assigned(as_raw(self)) != 0 }
    }

    fn set_totalvfs(&self, num: u16) -> Result {
        // SAFETY: A valid device, locked; C checks the number.
        to_result(unsafe { bindings::pci_sriov_set_totalvfs(as_raw(self), num) })
    }

    fn channel_offline(&self) -> bool {
        // SAFETY: A valid device, of which one word is read.
        unsafe { raw::nic_pci_channel_offline(as_raw(self)) }
    }

    fn is_present(&self) -> bool {
        // SAFETY: A valid device.
        unsafe { raw::nic_pci_device_is_present(as_raw(self)) }
    }
}

/// Declares a kernel module with one PCI driver, as `kernel::module_pci_driver!` does for
/// `kernel::pci::Driver`.
#[macro_export]
macro_rules! module_pci_driver {
    ($($f:tt)*) => {
        ::kernel::module_driver!(<T>, $crate::pci::Adapter<T>, { $($f)* });
    };
}
