// SPDX-License-Identifier: GPL-2.0
//! `vfio_device_ops`, `vfio_migration_ops` and `vfio_log_ops` over [`Driver`], and the registration
//! of the device that has them.

use crate::{
    device::{
        Device,
        Driver,
        Inner, //
    },
    log::{
        Bitmap,
        Ranges, //
    },
    memory::Memory,
    migration::{
        self,
        Machine,
        State, //
    },
    stream::{
        Alive,
        Fd,
        Source, //
    },
    work::Work,
    Table, //
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ptr, //
};
use kernel::{
    bindings,
    device::Core,
    error::{
        from_result,
        to_result, //
    },
    prelude::*, //
};
use nic_bindings as raw;

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

    /// Allocates and registers the device of `pdev`, whose private data is the C device from then
    /// on.
    ///
    /// # Safety
    ///
    /// Called from the probe callback of the driver that `pdev` is being bound to.
    pub(crate) unsafe fn register(pdev: *mut bindings::pci_dev) -> Result {
        // SAFETY: `pdev` is valid. The operations are static, and the size is that of a structure
        // with the `vfio_device` first.
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
        // SAFETY: `register` succeeded, so this is the C device that it made, and we own the last
        // driver reference.
        unsafe {
            let core: *mut raw::vfio_pci_core_device =
                bindings::dev_get_drvdata(&raw mut (*pdev).dev).cast();
            raw::vfio_pci_core_unregister_device(core);
            raw::vfio_rs_put_device(&raw mut (*core).vdev);
        }
    }

    extern "C" fn init_callback(vdev: *mut raw::vfio_device) -> c_int {
        from_result(|| {
            // SAFETY: `_vfio_alloc_device` passes zeroed memory of the size of `Self`, with the
            // fields of VFIO core set.
            to_result(unsafe { raw::vfio_pci_core_init_dev(vdev) })?;
            // SAFETY: The C device, which is first in that memory, is initialised now.
            let made = unsafe { Self::init_inner(vdev.cast()) };
            made.inspect_err(|_| {
                // SAFETY: `vfio_pci_core_init_dev` succeeded, and no one else will release the
                // device.
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
        // SAFETY: `vfio_pci_core_init_dev` has set the PCI device. `register` has C make this call
        // in the probe callback, which the driver core makes with the device locked.
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
            // SAFETY: `this` is what `inner` is part of.
            work <- unsafe { Work::new(this) },
            alive,
        }? Error);
        // SAFETY: `inner` is valid for writes, stays where it is, and is dropped only by
        // `release_callback`.
        unsafe { pin_init::raw_try_init(inner, init) }?;
        if migratable {
            // SAFETY: Nobody else sees the device before it is registered.
            unsafe {
                (*vdev).migration_flags = migration::FLAGS;
                (*vdev).mig_ops = &raw const MigrationOps::<T>::TABLE.0;
                // Without it VFIO core itself refuses to report what was logged.
                if cfg!(CONFIG_IOMMUFD_DRIVER) {
                    (*vdev).log_ops = &raw const LogOps::<T>::TABLE.0;
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
        // The driver ends logging when it is closed, so there is no more work.
        this.work().cancel();
        // SAFETY: The device is open.
        unsafe { raw::vfio_pci_core_close_device(vdev) };
    }

    #[cfg(CONFIG_IOMMUFD)]
    extern "C" fn bind_iommufd_callback(
        vdev: *mut raw::vfio_device,
        ictx: *mut raw::iommufd_ctx,
        id: *mut u32,
    ) -> c_int {
        // SAFETY: VFIO core passes a device of ours and valid arguments, which are passed on
        // unchanged.
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
        // SAFETY: VFIO core passes a device of ours and a valid pointer, and holds the lock of the
        // device's set (`vfio_df_ioctl_attach_pt`). The id is read before the attach, which
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

pub(crate) struct MigrationOps<T>(PhantomData<T>);

impl<T: Driver> MigrationOps<T> {
    pub(crate) const TABLE: &'static Table<raw::vfio_migration_ops> = &Table({
        let mut ops: raw::vfio_migration_ops = pin_init::zeroed();
        ops.migration_set_state = Some(Self::set_state_callback);
        ops.migration_get_state = Some(Self::get_state_callback);
        ops.migration_get_data_size = Some(Self::get_data_size_callback);
        ops
    });

    /// The next state on the way from `from` to `to`.
    fn next(device: &Device<T>, from: State, to: State) -> Result<State> {
        let mut next = 0;
        // SAFETY: The device is valid; the function only looks at its flags.
        to_result(unsafe {
            raw::vfio_mig_get_next_state(device.vdev(), from as u32, to as u32, &mut next)
        })?;
        State::from_raw(next).ok_or(EINVAL)
    }

    fn set_state(device: &Device<T>, to: State) -> Result<Option<Fd>> {
        device.machine().with(
            |session| device.driver().reset(session),
            |state, session| {
                let mut fd = None;
                while *state != to {
                    let next = Self::next(device, *state, to)?;
                    // A file is only made by the last step, so one that is dropped here cannot be.
                    fd = T::step(device, session, *state, next)?;
                    *state = next;
                }
                Ok(fd)
            },
        )
    }

    extern "C" fn set_state_callback(
        vdev: *mut raw::vfio_device,
        state: raw::vfio_device_mig_state,
    ) -> *mut bindings::file {
        // SAFETY: VFIO core passes a device of ours.
        let device = unsafe { Device::<T>::from_vdev(vdev) };
        let result = State::from_raw(state)
            .ok_or(EINVAL)
            .and_then(|to| Self::set_state(device, to));

        match result {
            Ok(Some(fd)) => fd.into_raw(),
            Ok(None) => core::ptr::null_mut(),
            Err(e) => e.to_ptr(),
        }
    }

    extern "C" fn get_state_callback(
        vdev: *mut raw::vfio_device,
        out: *mut raw::vfio_device_mig_state,
    ) -> c_int {
        // SAFETY: VFIO core passes a device of ours.
        let device = unsafe { Device::<T>::from_vdev(vdev) };
        let state = device
            .machine()
            .with(|session| device.driver().reset(session), |state, _| *state);

        // SAFETY: VFIO core passes a valid pointer.
        unsafe { *out = state as u32 };
        0
    }

    extern "C" fn get_data_size_callback(vdev: *mut raw::vfio_device, out: *mut c_ulong) -> c_int {
        // SAFETY: VFIO core passes a device of ours.
        let device = unsafe { Device::<T>::from_vdev(vdev) };

        from_result(|| {
            let size = c_ulong::try_from(device.driver().data_size())?;
            // SAFETY: VFIO core passes a valid pointer.
            unsafe { *out = size };
            Ok(0)
        })
    }
}

pub(crate) struct LogOps<T>(PhantomData<T>);

impl<T: Driver> LogOps<T> {
    pub(crate) const TABLE: &'static Table<raw::vfio_log_ops> = &Table({
        let mut ops: raw::vfio_log_ops = pin_init::zeroed();
        ops.log_start = Some(Self::start_callback);
        ops.log_stop = Some(Self::stop_callback);
        ops.log_read_and_clear = Some(Self::read_callback);
        ops
    });

    extern "C" fn start_callback(
        vdev: *mut raw::vfio_device,
        root: *mut raw::rb_root_cached,
        count: u32,
        page_size: *mut u64,
    ) -> c_int {
        // SAFETY: VFIO core passes a device of ours.
        let device = unsafe { Device::<T>::from_vdev(vdev) };
        // SAFETY: VFIO core passes a tree that it does not change during the callback.
        let ranges = unsafe { Ranges::from_raw(root, count) };

        from_result(|| {
            // SAFETY: VFIO core passes a valid pointer.
            let wanted = unsafe { *page_size };
            let granted = device.machine().with(
                |session| device.driver().reset(session),
                |_, session| T::log_start(device, session, ranges, wanted),
            )?;
            // SAFETY: VFIO core passes a valid pointer.
            unsafe { *page_size = granted };
            device.work().start();
            Ok(0)
        })
    }

    extern "C" fn stop_callback(vdev: *mut raw::vfio_device) -> c_int {
        // SAFETY: VFIO core passes a device of ours.
        let device = unsafe { Device::<T>::from_vdev(vdev) };

        device.machine().with(
            |session| device.driver().reset(session),
            |_, session| device.driver().log_stop(session),
        );
        0
    }

    extern "C" fn read_callback(
        vdev: *mut raw::vfio_device,
        iova: c_ulong,
        length: c_ulong,
        bitmap: *mut raw::iova_bitmap,
    ) -> c_int {
        // SAFETY: VFIO core passes a device of ours.
        let device = unsafe { Device::<T>::from_vdev(vdev) };
        from_result(|| {
            let first = iova as u64;
            let last = (length as u64)
                .checked_sub(1)
                .and_then(|n| first.checked_add(n))
                .ok_or(EINVAL)?;
            // SAFETY: VFIO core has made the bitmap for this range.
            let mut dirty = unsafe { Bitmap::from_raw(bitmap, first, last) };
            device.machine().with(
                |session| device.driver().reset(session),
                |_, session| T::log_read(device, session, first, last, &mut dirty),
            )?;
            Ok(0)
        })
    }
}
