// SPDX-License-Identifier: GPL-2.0
//! Registration of a variant driver with the PCI core.
//!
//! `kernel::driver::Registration` cannot be used: it takes the private data of an unbound device
//! for a `KBox`, while VFIO core demands that it be the C `vfio_pci_core_device`.

pub use crate::id::{
    DeviceId,
    IdTable, //
};
use crate::{
    device::{
        Device,
        Driver, //
    },
    Table, //
};
use core::marker::PhantomData;
use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    types::Opaque, //
};
use nic_bindings as raw;

/// A registered driver; dropping it unregisters it.
#[pin_data(PinnedDrop)]
pub struct Registration<T: Driver> {
    #[pin]
    driver: Opaque<bindings::pci_driver>,
    _driver: PhantomData<T>,
}

// SAFETY: Nothing can be done with a shared reference.
unsafe impl<T: Driver> Sync for Registration<T> {}
// SAFETY: Unregistering may be done from any thread.
unsafe impl<T: Driver> Send for Registration<T> {}

impl<T: Driver> Registration<T> {
    const ERR_HANDLERS: &'static Table<raw::pci_error_handlers> = &Table({
        let mut h: raw::pci_error_handlers = pin_init::zeroed();
        h.error_detected = Some(raw::vfio_pci_core_aer_err_detected);
        h.reset_done = Some(Self::reset_done_callback);
        h
    });

    /// Registers the driver.
    pub fn new(name: &'static CStr, module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            driver <- Opaque::try_ffi_init(|drv: *mut bindings::pci_driver| {
                // SAFETY: `drv` is valid for writes. The tables and the name are static.
                unsafe {
                    drv.write(Default::default());
                    (*drv).name = name.as_char_ptr();
                    (*drv).id_table = T::ID_TABLE.as_ptr();
                    (*drv).probe = Some(Self::probe_callback);
                    (*drv).remove = Some(Self::remove_callback);
                    (*drv).err_handler = (&raw const Self::ERR_HANDLERS.0).cast();
                    (*drv).driver_managed_dma = true;
                }
                // SAFETY: `drv` is initialised and pinned until it is unregistered.
                to_result(unsafe {
                    bindings::__pci_register_driver(drv, module.as_ptr(), name.as_char_ptr())
                })
            }),
            _driver: PhantomData,
        })
    }

    extern "C" fn probe_callback(
        pdev: *mut bindings::pci_dev,
        _id: *const bindings::pci_device_id,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The PCI core calls this to bind `pdev` to this driver.
            unsafe { Device::<T>::register(pdev) }?;
            Ok(0)
        })
    }

    extern "C" fn remove_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: The PCI core calls this for a device whose probe succeeded.
        unsafe { Device::<T>::unregister(pdev) }
    }

    extern "C" fn reset_done_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: The PCI core holds the device lock and has checked that a driver is bound.
        let device = unsafe { Device::<T>::of(pdev) };

        device
            .machine()
            .reset_done(|session| device.driver().reset(session));
    }
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The driver was registered by `new`.
        unsafe { bindings::pci_unregister_driver(self.driver.get()) }
    }
}

/// Declares a kernel module with one variant driver. The module and the driver must have the same
/// name: libvirt loads the one and binds to the other.
#[macro_export]
macro_rules! module_vfio_pci_driver {
    ({ type: $type:ty, $($f:tt)* }) => {
        #[::kernel::prelude::pin_data]
        struct DriverModule {
            #[pin]
            _driver: $crate::Registration<$type>,
        }

        impl ::kernel::InPlaceModule for DriverModule {
            fn init(
                module: &'static ::kernel::ThisModule,
            ) -> impl ::pin_init::PinInit<Self, ::kernel::error::Error> {
                ::kernel::try_pin_init!(Self {
                    _driver <- $crate::Registration::new(<Self as ::kernel::ModuleMetadata>::NAME, module),
                })
            }
        }

        ::kernel::prelude::module! {
            type: DriverModule,
            $($f)*
        }
    };
}
