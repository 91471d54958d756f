// SPDX-License-Identifier: GPL-2.0
//! An instance stays disabled while that is relied on.
//! misuse: E0499

use nic::net::{Napi, NapiIdle, Poll};

pub fn uses(_: &NapiIdle) {}

pub fn f<P: Poll>(napi: &mut Napi<P>) {
    if let Some((_, _, idle)) = napi.parts_mut() {
        #[cfg(misuse)]
        napi.enable();
        uses(idle);
    }
    napi.enable();
}
