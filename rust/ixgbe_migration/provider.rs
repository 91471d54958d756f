// SPDX-License-Identifier: GPL-2.0
//! The PF driver's end.

use crate::{
    Heads,
    Report,
    Rings,
    Tails, //
};
use kernel::{
    bindings,
    error::from_result,
    prelude::*,
    sync::Arc,
    types::ForeignOwnable, //
};
use nic_bindings as raw;

/// One VF of a PF driver. The methods are the functions of `include/linux/ixgbe_migration.h`.
pub trait Provider: Send + Sync + 'static {
    /// Private data of the PF.
    type Pf;

    /// The VF with this number, if devlink says that it may be migrated.
    fn find(pf: &Self::Pf, vf: u32) -> Result<Arc<Self>>;

    /// `ixgbe_vfmig_suspend`
    fn suspend(&self) -> Result;

    /// `ixgbe_vfmig_resume`
    fn resume(&self) -> Result;

    /// `ixgbe_vfmig_compat`
    fn compat(&self, out: &mut [u8]) -> Result<usize>;

    /// `ixgbe_vfmig_record`
    fn record(&self, out: &mut [u8]) -> Result<usize>;

    /// `ixgbe_vfmig_check`
    fn check(&self, blob: &[u8]) -> Result;

    /// `ixgbe_vfmig_save`
    fn save(&self, out: &mut [u8]) -> Result<usize>;

    /// `ixgbe_vfmig_load`
    fn load(&self, state: &[u8]) -> Result;

    /// `ixgbe_vfmig_start_marking`
    fn start_marking(&self);

    /// `ixgbe_vfmig_marks`
    fn marks(&self) -> u32;

    /// `ixgbe_vfmig_stop_marking`
    fn stop_marking(&self);

    /// `ixgbe_vfmig_rings`
    fn rings(&self, rings: &mut Rings) -> Result;

    /// `ixgbe_vfmig_tails`
    fn tails(&self, tails: &mut Tails) -> Result;

    /// `ixgbe_vfmig_heads`
    fn heads(&self, heads: &mut Heads) -> Result;

    /// `ixgbe_vfmig_reset`
    fn reset(&self);

    /// `ixgbe_vfmig_report`
    fn report(&self) -> Report;
}

/// `ixgbe_vfmig_get`
///
/// # Safety
///
/// `vf` is a valid device that the driver core has locked to bind or unbind a driver. `owner` is the module of the PF driver, whose devices
/// have a `KBox<P::Pf>` as private data until they are unbound, and which removes its VFs before that.
#[doc(hidden)]
pub unsafe fn get<P: Provider>(
    vf: *mut bindings::pci_dev,
    owner: *mut bindings::module,
) -> *mut raw::ixgbe_vfmig {
    let find = || -> Result<Arc<P>> {
        // SAFETY: `vf` is a valid device.
        let number = u32::try_from(unsafe { bindings::pci_iov_vf_id(vf) }).map_err(|_| ENODEV)?;
        // SAFETY: It has a number, so it is a VF, and holds a reference to its PF.
        let pf = unsafe { (*vf).__bindgen_anon_1.physfn };
        // SAFETY: The PF is valid. It cannot be unbound while `vf` exists and is locked by its driver core callback,
        // because unbinding removes the VFs first and waits for that lock.
        unsafe {
            let driver = (*pf).dev.driver;
            if driver.is_null() || (*driver).owner != owner {
                return Err(ENODEV);
            }
            let data = bindings::dev_get_drvdata(&raw mut (*pf).dev);
            if data.is_null() {
                return Err(ENODEV);
            }
            P::find(&*Pin::<KBox<P::Pf>>::borrow(data.cast()), number)
        }
    };

    match find() {
        Ok(vf) => vf.into_foreign().cast(),
        Err(e) => e.to_ptr(),
    }
}

/// Calls `f` with the VF behind a handle.
///
/// # Safety
///
/// `mig` comes from [`get`] with the same `P`.
#[doc(hidden)]
pub unsafe fn with<P: Provider, R>(mig: *mut raw::ixgbe_vfmig, f: impl FnOnce(&P) -> R) -> R {
    // SAFETY: By the safety requirement.
    let vf = unsafe { Arc::<P>::borrow(mig.cast()) };

    f(&vf)
}

/// Gives a handle back.
///
/// # Safety
///
/// `mig` comes from [`get`] with the same `P` and is not used afterwards.
#[doc(hidden)]
pub unsafe fn put<P: Provider>(mig: *mut raw::ixgbe_vfmig) {
    // SAFETY: By the safety requirement.
    drop(unsafe { Arc::<P>::from_foreign(mig.cast()) });
}

/// As C's integers.
#[doc(hidden)]
pub fn status(result: Result) -> c_int {
    from_result(|| result.map(|()| 0))
}

/// As C's integers.
#[doc(hidden)]
pub fn count(result: Result<usize>) -> c_int {
    from_result(|| Ok(c_int::try_from(result?)?))
}

#[doc(hidden)]
pub use raw::{
    ixgbe_vfmig,
    ixgbe_vfmig_heads,
    ixgbe_vfmig_report,
    ixgbe_vfmig_rings,
    ixgbe_vfmig_tails, //
};

/// Defines the C functions of the contract over a [`Provider`]. A C file of the module exports them.
#[macro_export]
macro_rules! export_provider {
    ($provider:ty, $module:ty) => {
        #[allow(unreachable_pub, missing_docs)]
        mod ixgbe_migration_exports {
            use super::*;
            use $crate::provider::{self, Provider};

            type Mig = *mut provider::ixgbe_vfmig;

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_get(vf: *mut ::kernel::bindings::pci_dev) -> Mig {
                let owner = ::kernel::module::this_module::<$module>().as_ptr();
                // SAFETY: By the contract `vf` is valid; this module's PF data is `Provider::Pf`.
                unsafe { provider::get::<$provider>(vf, owner) }
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_put(mig: Mig) {
                // SAFETY: By the contract.
                unsafe { provider::put::<$provider>(mig) }
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_suspend(mig: Mig) -> ::core::ffi::c_int {
                // SAFETY: By the contract.
                provider::status(unsafe { provider::with(mig, <$provider>::suspend) })
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_resume(mig: Mig) -> ::core::ffi::c_int {
                // SAFETY: By the contract.
                provider::status(unsafe { provider::with(mig, <$provider>::resume) })
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_compat(
                mig: Mig,
                buf: *mut u8,
                len: usize,
            ) -> ::core::ffi::c_int {
                // SAFETY: By the contract `buf` has `len` bytes.
                provider::count(unsafe {
                    let out = ::core::slice::from_raw_parts_mut(buf, len);
                    provider::with(mig, |vf: &$provider| vf.compat(out))
                })
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_record(
                mig: Mig,
                buf: *mut u8,
                len: usize,
            ) -> ::core::ffi::c_int {
                // SAFETY: By the contract `buf` has `len` bytes.
                provider::count(unsafe {
                    let out = ::core::slice::from_raw_parts_mut(buf, len);
                    provider::with(mig, |vf: &$provider| vf.record(out))
                })
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_check(
                mig: Mig,
                buf: *const u8,
                len: usize,
            ) -> ::core::ffi::c_int {
                // SAFETY: By the contract `buf` has `len` bytes.
                provider::status(unsafe {
                    let blob = ::core::slice::from_raw_parts(buf, len);
                    provider::with(mig, |vf: &$provider| vf.check(blob))
                })
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_save(
                mig: Mig,
                buf: *mut u8,
                len: usize,
            ) -> ::core::ffi::c_int {
                // SAFETY: By the contract `buf` has `len` bytes.
                provider::count(unsafe {
                    let out = ::core::slice::from_raw_parts_mut(buf, len);
                    provider::with(mig, |vf: &$provider| vf.save(out))
                })
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_load(
                mig: Mig,
                buf: *const u8,
                len: usize,
            ) -> ::core::ffi::c_int {
                // SAFETY: By the contract `buf` has `len` bytes.
                provider::status(unsafe {
                    let state = ::core::slice::from_raw_parts(buf, len);
                    provider::with(mig, |vf: &$provider| vf.load(state))
                })
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_start_marking(mig: Mig) {
                // SAFETY: By the contract.
                unsafe { provider::with(mig, <$provider>::start_marking) }
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_marks(mig: Mig) -> u32 {
                // SAFETY: By the contract.
                unsafe { provider::with(mig, <$provider>::marks) }
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_stop_marking(mig: Mig) {
                // SAFETY: By the contract.
                unsafe { provider::with(mig, <$provider>::stop_marking) }
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_rings(
                mig: Mig,
                rings: *mut provider::ixgbe_vfmig_rings,
            ) -> ::core::ffi::c_int {
                // SAFETY: By the contract `rings` is valid.
                provider::status(unsafe {
                    provider::with(mig, |vf: &$provider| vf.rings(&mut *rings))
                })
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_tails(
                mig: Mig,
                tails: *mut provider::ixgbe_vfmig_tails,
            ) -> ::core::ffi::c_int {
                // SAFETY: By the contract `tails` is valid.
                provider::status(unsafe {
                    provider::with(mig, |vf: &$provider| vf.tails(&mut *tails))
                })
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_heads(
                mig: Mig,
                heads: *mut provider::ixgbe_vfmig_heads,
            ) -> ::core::ffi::c_int {
                // SAFETY: By the contract `heads` is valid.
                provider::status(unsafe {
                    provider::with(mig, |vf: &$provider| vf.heads(&mut *heads))
                })
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_reset(mig: Mig) {
                // SAFETY: By the contract.
                unsafe { provider::with(mig, <$provider>::reset) }
            }

            #[no_mangle]
            pub unsafe extern "C" fn ixgbe_vfmig_report(
                mig: Mig,
                report: *mut provider::ixgbe_vfmig_report,
            ) {
                // SAFETY: By the contract `report` is valid.
                unsafe { *report = provider::with(mig, <$provider>::report) }
            }
        }
    };
}
