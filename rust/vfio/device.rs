// SPDX-License-Identifier: GPL-2.0
//! The VFIO device: a C `vfio_pci_core_device` with a driver's Rust state behind it.

use crate::{
    log,
    memory::Memory,
    migration::{
        self,
        Machine,
        State, //
    },
    pci::IdTable,
    stream::{
        Alive,
        Fd, //
    },
    Table, //
};
use core::{
    mem::{
        offset_of,
        MaybeUninit, //
    },
    pin::Pin,
    ptr, //
};
use kernel::{
    bindings,
    device::Core,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::Arc,
    types::Opaque,
    ModuleMetadata, //
};
use nic_bindings as raw;

/// A VFIO variant driver.
///
/// Every method that gets a `session` runs under the state lock of its device.
pub trait Driver: Sized + Send + Sync + 'static {
    /// The module, which its open files keep loaded.
    type Module: ModuleMetadata + 'static;

    /// What belongs to one use of the device: open migration files, the dirty log.
    type Session: Send + Unpin + 'static;

    /// Name of the VFIO device operations.
    const NAME: &'static CStr;

    /// Devices that this driver drives, when asked to.
    const ID_TABLE: IdTable;

    /// Makes the state of a device that is being bound.
    fn new(pdev: &kernel::pci::Device<Core<'_>>) -> Result<Self>;

    /// Makes an empty session.
    fn session() -> Self::Session;

    /// Whether this device offers migration and DMA logging; without it, it behaves as with vfio-pci. Asked once, when
    /// the device is bound.
    fn migratable(&self) -> bool;

    /// The device was opened.
    fn open(&self, session: &mut Self::Session);

    /// The device is being closed: open files must fail from now on.
    fn close(&self, session: &mut Self::Session);

    /// Takes one step of the state machine, one of those that `vfio_mig_get_next_state()` can ask for.
    fn step(
        device: &Device<Self>,
        session: &mut Self::Session,
        from: State,
        to: State,
    ) -> Result<Option<Fd>>;

    /// Estimated bytes of the state that is read while the device stands.
    fn data_size(&self) -> usize;

    /// DMA logging begins for `ranges`. The result is the page size that is reported, in bytes.
    fn log_start(
        device: &Device<Self>,
        session: &mut Self::Session,
        ranges: log::Ranges<'_>,
        page_size: u64,
    ) -> Result<u64>;

    /// DMA logging ends. May be called when it had not begun.
    fn log_stop(&self, session: &mut Self::Session);

    /// Reports what may have been written in `first..=last` and not reported yet.
    fn log_read(
        device: &Device<Self>,
        session: &mut Self::Session,
        first: u64,
        last: u64,
        dirty: &mut log::Bitmap<'_>,
    ) -> Result;

    /// The device was reset; it is in [`State::Running`] now. May run with VFIO's memory lock held.
    fn reset(&self, session: &mut Self::Session);
}

/// What lies behind the C device.
#[pin_data]
struct Inner<T: Driver> {
    driver: T,
    #[pin]
    machine: Machine<T::Session>,
    #[pin]
    memory: Memory,
    alive: Arc<Alive>,
}

/// A VFIO device of driver `T`.
///
/// # Invariants
///
/// Memory of a `Device` is made by `_vfio_alloc_device`, so `core` is first and is initialised by C. `inner` is
/// initialised from the end of a successful `init` callback to the `release` callback.
#[repr(C)]
pub struct Device<T: Driver> {
    core: Opaque<raw::vfio_pci_core_device>,
    inner: Opaque<MaybeUninit<Inner<T>>>,
}

// SAFETY: The C device is made to be used from several threads, and `Inner` holds only `Send` and `Sync` parts or parts
// behind locks.
unsafe impl<T: Driver> Send for Device<T> {}
// SAFETY: The same, and C locks what it shares.
unsafe impl<T: Driver> Sync for Device<T> {}

impl<T: Driver> Device<T> {
    const OPS: &'static Table<raw::vfio_device_ops> = &Table({
        assert!(offset_of!(Self, core) == 0);
        assert!(offset_of!(raw::vfio_pci_core_device, vdev) == 0);
        let mut ops: raw::vfio_device_ops = pin_init::zeroed();
        ops.name = T::NAME.to_bytes_with_nul().as_ptr().cast_mut().cast();
        ops.init = Some(Self::init_callback);
        ops.release = Some(Self::release_callback);
        ops.open_device = Some(Self::open_callback);
        ops.close_device = Some(Self::close_callback);
        ops.ioctl = Some(raw::vfio_pci_core_ioctl);
        ops.device_feature = Some(raw::vfio_pci_core_ioctl_feature);
        ops.get_region_info_caps = Some(raw::vfio_pci_ioctl_get_region_info);
        ops.read = Some(raw::vfio_pci_core_read);
        ops.write = Some(raw::vfio_pci_core_write);
        ops.mmap = Some(raw::vfio_pci_core_mmap);
        ops.request = Some(raw::vfio_pci_core_request);
        ops.match_ = Some(raw::vfio_pci_core_match);
        ops.match_token_uuid = Some(raw::vfio_pci_core_match_token_uuid);
        #[cfg(CONFIG_IOMMUFD)]
        {
            ops.bind_iommufd = Some(Self::bind_iommufd_callback);
            ops.unbind_iommufd = Some(Self::unbind_iommufd_callback);
            ops.attach_ioas = Some(Self::attach_ioas_callback);
            ops.detach_ioas = Some(Self::detach_ioas_callback);
            ops.pasid_attach_ioas = Some(raw::vfio_iommufd_physical_pasid_attach_ioas);
            ops.pasid_detach_ioas = Some(raw::vfio_iommufd_physical_pasid_detach_ioas);
        }
        ops
    });

    /// Allocates and registers the device of `pdev`, whose private data is the C device from then on.
    ///
    /// # Safety
    ///
    /// Called from the probe callback of the driver that `pdev` is being bound to.
    pub(crate) unsafe fn register(pdev: *mut bindings::pci_dev) -> Result {
        // SAFETY: `pdev` is valid. The operations are static, and the size is that of a structure with the
        // `vfio_device` first.
        let vdev = kernel::error::from_err_ptr(unsafe {
            raw::_vfio_alloc_device(
                size_of::<Self>(),
                &raw mut (*pdev).dev,
                &raw const Self::OPS.0,
            )
        })?;
        let core: *mut raw::vfio_pci_core_device = vdev.cast();

        // SAFETY: `pdev` is valid; VFIO core looks for the C device in the private data.
        unsafe { bindings::dev_set_drvdata(&raw mut (*pdev).dev, core.cast()) };
        // SAFETY: `core` was initialised by `init_callback`.
        to_result(unsafe { raw::vfio_pci_core_register_device(core) }).inspect_err(|_| {
            // SAFETY: We own the only reference. The private data must not outlive it.
            unsafe {
                bindings::dev_set_drvdata(&raw mut (*pdev).dev, ptr::null_mut());
                raw::vfio_rs_put_device(vdev);
            }
        })
    }

    /// Undoes [`Device::register`]; waits until user space has let go of the device.
    ///
    /// # Safety
    ///
    /// Called from the remove callback of the driver that `pdev` is bound to.
    pub(crate) unsafe fn unregister(pdev: *mut bindings::pci_dev) {
        // SAFETY: `register` succeeded, so this is the C device that it made, and we own the last driver reference.
        unsafe {
            let core: *mut raw::vfio_pci_core_device =
                bindings::dev_get_drvdata(&raw mut (*pdev).dev).cast();
            raw::vfio_pci_core_unregister_device(core);
            raw::vfio_rs_put_device(&raw mut (*core).vdev);
        }
    }

    /// The device behind a bound `pdev`.
    ///
    /// # Safety
    ///
    /// `pdev` is bound to this driver, and stays so while the reference lives.
    pub(crate) unsafe fn of<'a>(pdev: *mut bindings::pci_dev) -> &'a Self {
        // SAFETY: By the safety requirement the private data is what `register` stored.
        unsafe { &*bindings::dev_get_drvdata(&raw mut (*pdev).dev).cast() }
    }

    /// # Safety
    ///
    /// `vdev` is the argument of a callback in [`Self::OPS`] or in the operations that `init` sets, after `init`.
    pub(crate) unsafe fn from_vdev<'a>(vdev: *mut raw::vfio_device) -> &'a Self {
        // SAFETY: `vdev` is first in the C device, which is first in `Self`.
        unsafe { &*vdev.cast() }
    }

    fn inner(&self) -> Pin<&Inner<T>> {
        // SAFETY: By the type invariant it is initialised whenever a reference to the device exists, and it is never
        // moved.
        unsafe { Pin::new_unchecked((*self.inner.get()).assume_init_ref()) }
    }

    /// The driver's state.
    pub fn driver(&self) -> &T {
        &self.inner().get_ref().driver
    }

    pub(crate) fn machine(&self) -> &Machine<T::Session> {
        &self.inner().get_ref().machine
    }

    /// Guest memory, as far as it can be read.
    pub fn memory(&self) -> &Memory {
        &self.inner().get_ref().memory
    }

    pub(crate) fn alive(&self) -> &Arc<Alive> {
        &self.inner().get_ref().alive
    }

    pub(crate) fn vdev(&self) -> *mut raw::vfio_device {
        self.core.get().cast()
    }

    /// The PCI device.
    pub fn pdev(&self) -> &kernel::pci::Device {
        // SAFETY: The PCI device outlives the VFIO device, and `Device` is a transparent wrapper of it.
        unsafe { &*(*self.core.get()).pdev.cast() }
    }

    extern "C" fn init_callback(vdev: *mut raw::vfio_device) -> c_int {
        from_result(|| {
            // SAFETY: `_vfio_alloc_device` passes zeroed memory of the size of `Self`, with the fields of VFIO core set.
            to_result(unsafe { raw::vfio_pci_core_init_dev(vdev) })?;
            // SAFETY: The C device, which is first in that memory, is initialised now.
            let made = unsafe { Self::init_inner(vdev.cast()) };
            made.inspect_err(|_| {
                // SAFETY: `vfio_pci_core_init_dev` succeeded, and no one else will release the device.
                unsafe { raw::vfio_pci_core_release_dev(vdev) }
            })?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `this` points to memory of `Self` whose C device is initialised.
    unsafe fn init_inner(this: *mut Self) -> Result {
        // SAFETY: By the safety requirement.
        let (vdev, inner) = unsafe {
            (
                (*this).core.get().cast::<raw::vfio_device>(),
                (*this).inner.get().cast::<Inner<T>>(),
            )
        };
        // SAFETY: `vfio_pci_core_init_dev` has set the PCI device. `register` has C make this call in
        // the probe callback, which the driver core makes with the device locked.
        let pdev: &kernel::pci::Device<Core<'_>> = unsafe { &*(*(*this).core.get()).pdev.cast() };
        let driver = T::new(pdev)?;
        let migratable = driver.migratable();
        // SAFETY: `release_callback` ends it before the device goes.
        let alive = unsafe { Alive::new(vdev) }?;
        let init = try_pin_init!(Inner::<T> {
            driver,
            machine <- Machine::new(T::session()),
            // SAFETY: `vdev` outlives `inner`, which is in the same allocation.
            memory <- unsafe { Memory::new(vdev) },
            alive,
        }? Error);
        // SAFETY: `inner` is valid for writes, stays where it is, and is dropped only by `release_callback`.
        unsafe { pin_init::raw_try_init(inner, init) }?;
        if migratable {
            // SAFETY: Nobody else sees the device before it is registered.
            unsafe {
                (*vdev).migration_flags = migration::FLAGS;
                (*vdev).mig_ops = &raw const migration::Ops::<T>::TABLE.0;
                // Without it VFIO core itself refuses to report what was logged.
                if cfg!(CONFIG_IOMMUFD_DRIVER) {
                    (*vdev).log_ops = &raw const log::Ops::<T>::TABLE.0;
                }
            }
        }
        Ok(())
    }

    extern "C" fn release_callback(vdev: *mut raw::vfio_device) {
        // SAFETY: The last reference is gone; `init_callback` had succeeded.
        unsafe {
            let this: *mut Self = vdev.cast();
            (*this).alive().end();
            ptr::drop_in_place((*this).inner.get().cast::<Inner<T>>());
            raw::vfio_pci_core_release_dev(vdev);
        }
    }

    extern "C" fn open_callback(vdev: *mut raw::vfio_device) -> c_int {
        // SAFETY: VFIO core passes a device of ours.
        let this = unsafe { Self::from_vdev(vdev) };

        from_result(|| {
            // SAFETY: The C device is valid; VFIO core opens it once at a time.
            to_result(unsafe { raw::vfio_pci_core_enable(this.core.get()) })?;
            this.machine().with(
                |session| this.driver().reset(session),
                |state, session| {
                    *state = State::Running;
                    this.driver().open(session);
                },
            );
            // SAFETY: The C device is valid, and was just enabled.
            unsafe { raw::vfio_pci_core_finish_enable(this.core.get()) };
            Ok(0)
        })
    }

    extern "C" fn close_callback(vdev: *mut raw::vfio_device) {
        // SAFETY: VFIO core passes a device of ours.
        let this = unsafe { Self::from_vdev(vdev) };

        this.machine().with(
            |session| this.driver().reset(session),
            |state, session| {
                this.driver().close(session);
                *state = State::Running;
            },
        );
        // SAFETY: The device is open.
        unsafe { raw::vfio_pci_core_close_device(vdev) };
    }

    #[cfg(CONFIG_IOMMUFD)]
    extern "C" fn bind_iommufd_callback(
        vdev: *mut raw::vfio_device,
        ictx: *mut raw::iommufd_ctx,
        id: *mut u32,
    ) -> c_int {
        // SAFETY: VFIO core passes a device of ours and valid arguments, which are passed on unchanged.
        unsafe {
            let err = raw::vfio_iommufd_physical_bind(vdev, ictx, id);
            if err == 0 {
                Self::from_vdev(vdev).memory().bound();
            }
            err
        }
    }

    #[cfg(CONFIG_IOMMUFD)]
    extern "C" fn unbind_iommufd_callback(vdev: *mut raw::vfio_device) {
        // SAFETY: VFIO core passes a device of ours that is bound to an iommufd.
        unsafe {
            Self::from_vdev(vdev).memory().unbound();
            raw::vfio_iommufd_physical_unbind(vdev);
        }
    }

    #[cfg(CONFIG_IOMMUFD)]
    extern "C" fn attach_ioas_callback(vdev: *mut raw::vfio_device, id: *mut u32) -> c_int {
        // SAFETY: VFIO core passes a device of ours and a valid pointer. The id is read before the attach, which
        // replaces it by that of the page table it found or made.
        unsafe {
            let wanted = *id;
            let err = raw::vfio_iommufd_physical_attach_ioas(vdev, id);
            if err == 0 {
                Self::from_vdev(vdev).memory().attached(wanted);
            }
            err
        }
    }

    #[cfg(CONFIG_IOMMUFD)]
    extern "C" fn detach_ioas_callback(vdev: *mut raw::vfio_device) {
        // SAFETY: VFIO core passes a device of ours.
        unsafe {
            Self::from_vdev(vdev).memory().detached();
            raw::vfio_iommufd_physical_detach_ioas(vdev);
        }
    }
}
