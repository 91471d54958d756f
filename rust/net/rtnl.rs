// SPDX-License-Identifier: GPL-2.0
//! The RTNL lock.

use core::{
    marker::PhantomData,
    ops::Deref, //
};
use nic_bindings as raw;

/// Proof that the RTNL lock is held.
pub struct Rtnl(PhantomData<*mut ()>);

impl Rtnl {
    /// Takes the lock. May sleep.
    pub fn lock() -> RtnlGuard {
        // SAFETY: No requirements but not to hold it already, which lockdep checks; a second take
        // hangs and does no worse.
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
