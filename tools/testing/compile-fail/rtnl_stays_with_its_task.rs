// SPDX-License-Identifier: GPL-2.0
//! The proof that RTNL is held is of use to the task that holds it only.
//! misuse: E0277

use nic::net::Rtnl;

pub fn elsewhere<T: Send>(_: T) {}

pub fn f(rtnl: &Rtnl) {
    #[cfg(misuse)]
    elsewhere(rtnl);
    let _ = rtnl;
}
