// SPDX-License-Identifier: GPL-2.0
//! The proof of a poll is of use to the CPU that polls only.
//! misuse: E0277

use nic::net::NapiRef;

pub fn elsewhere<T: Send>(_: T) {}

pub fn f(napi: &NapiRef) {
    #[cfg(misuse)]
    elsewhere(napi);
    let _ = napi;
}
