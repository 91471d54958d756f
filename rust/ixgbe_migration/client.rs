// SPDX-License-Identifier: GPL-2.0
//! The variant driver's end.

use crate::{
    Heads,
    Report,
    Rings,
    Tails, //
};
use core::ptr::NonNull;
use kernel::{
    device::Core,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*, //
};
use nic_bindings as raw;

/// A VF, by way of its PF driver.
///
/// # Invariants
///
/// The pointer comes from `ixgbe_vfmig_get`.
pub struct Vf(NonNull<raw::ixgbe_vfmig>);

// SAFETY: The PF driver serialises calls by itself.
unsafe impl Send for Vf {}
// SAFETY: The PF driver takes calls for one VF from several threads, and serialises them.
unsafe impl Sync for Vf {}

/// A length or an errno.
fn length(result: c_int) -> Result<usize> {
    to_result(result.min(0))?;
    Ok(usize::try_from(result)?)
}

impl Vf {
    /// Looks up the VF `pdev` at its PF driver, while it is bound or unbound: the PF stays bound for
    /// that time.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the PF has another driver, `EOPNOTSUPP` if the VF is not migratable.
    pub fn get(pdev: &kernel::pci::Device<Core<'_>>) -> Result<Self> {
        // CAST: `Device` is a transparent wrapper of `pci_dev`.
        let pdev = core::ptr::from_ref(pdev).cast_mut().cast();
        // SAFETY: A valid device, which a callback of its driver has locked.
        let vf = from_err_ptr(unsafe { raw::ixgbe_vfmig_get(pdev) })?;
        // INVARIANT: As the invariant says.
        Ok(Self(NonNull::new(vf).ok_or(ENODEV)?))
    }

    /// Stops the VF, see `ixgbe_vfmig_suspend`.
    pub fn suspend(&self) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { raw::ixgbe_vfmig_suspend(self.0.as_ptr()) })
    }

    /// Lets the VF run, see `ixgbe_vfmig_resume`.
    pub fn resume(&self) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { raw::ixgbe_vfmig_resume(self.0.as_ptr()) })
    }

    /// Writes the compatibility record into `out` and returns its length.
    pub fn compat(&self, out: &mut [u8]) -> Result<usize> {
        // SAFETY: By the type invariant; `out` is a valid buffer.
        length(unsafe {
            raw::ixgbe_vfmig_compat(self.0.as_ptr(), out.as_mut_ptr().cast(), out.len())
        })
    }

    /// Writes the compatibility record as it is now into `out` and returns its length, without any
    /// effect.
    pub fn record(&self, out: &mut [u8]) -> Result<usize> {
        // SAFETY: By the type invariant; `out` is a valid buffer.
        length(unsafe {
            raw::ixgbe_vfmig_record(self.0.as_ptr(), out.as_mut_ptr().cast(), out.len())
        })
    }

    /// Compares a compatibility record or a state with this host, without any effect.
    pub fn check(&self, blob: &[u8]) -> Result {
        // SAFETY: By the type invariant; `blob` is a valid buffer.
        to_result(unsafe {
            raw::ixgbe_vfmig_check(self.0.as_ptr(), blob.as_ptr().cast(), blob.len())
        })
    }

    /// Writes the state of the suspended VF into `out` and returns its length.
    pub fn save(&self, out: &mut [u8]) -> Result<usize> {
        // SAFETY: By the type invariant; `out` is a valid buffer.
        length(unsafe {
            raw::ixgbe_vfmig_save(self.0.as_ptr(), out.as_mut_ptr().cast(), out.len())
        })
    }

    /// Checks a state and programs it into the suspended VF.
    pub fn load(&self, state: &[u8]) -> Result {
        // SAFETY: By the type invariant; `state` is a valid buffer.
        to_result(unsafe {
            raw::ixgbe_vfmig_load(self.0.as_ptr(), state.as_ptr().cast(), state.len())
        })
    }

    /// DMA logging begins.
    pub fn start_marking(&self) {
        // SAFETY: By the type invariant.
        unsafe { raw::ixgbe_vfmig_start_marking(self.0.as_ptr()) }
    }

    /// Number of the request by which the guest marks what it receives, 0 if it does not.
    pub fn marks(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { raw::ixgbe_vfmig_marks(self.0.as_ptr()) }
    }

    /// DMA logging ended.
    pub fn stop_marking(&self) {
        // SAFETY: By the type invariant.
        unsafe { raw::ixgbe_vfmig_stop_marking(self.0.as_ptr()) }
    }

    /// What the suspended VF may have written.
    pub fn rings(&self) -> Result<Rings> {
        let mut rings: Rings = pin_init::zeroed();
        // SAFETY: By the type invariant; `rings` is valid.
        to_result(unsafe { raw::ixgbe_vfmig_rings(self.0.as_ptr(), &mut rings) })?;
        Ok(rings)
    }

    /// Begins a look at the VF's Rx queues, see `ixgbe_vfmig_tails`.
    pub fn tails(&self) -> Result<Tails> {
        let mut tails: Tails = pin_init::zeroed();
        // SAFETY: By the type invariant; `tails` is valid.
        to_result(unsafe { raw::ixgbe_vfmig_tails(self.0.as_ptr(), &mut tails) })?;
        Ok(tails)
    }

    /// Ends it.
    pub fn heads(&self) -> Result<Heads> {
        let mut heads: Heads = pin_init::zeroed();
        // SAFETY: By the type invariant; `heads` is valid.
        to_result(unsafe { raw::ixgbe_vfmig_heads(self.0.as_ptr(), &mut heads) })?;
        Ok(heads)
    }

    /// The VF was reset, or its user is gone.
    pub fn reset(&self) {
        // SAFETY: By the type invariant.
        unsafe { raw::ixgbe_vfmig_reset(self.0.as_ptr()) }
    }

    /// Figures of the last operations.
    pub fn report(&self) -> Report {
        let mut report: Report = pin_init::zeroed();
        // SAFETY: By the type invariant; `report` is valid.
        unsafe { raw::ixgbe_vfmig_report(self.0.as_ptr(), &mut report) };
        report
    }
}

impl Drop for Vf {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nobody uses it any more.
        unsafe { raw::ixgbe_vfmig_put(self.0.as_ptr()) }
    }
}
