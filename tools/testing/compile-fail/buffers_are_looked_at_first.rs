// SPDX-License-Identifier: GPL-2.0
//! A buffer that the device may still write to is not reached.
//! misuse: E0599

use nic::net::{Next, NapiRef, RxMeta, RxRing, WriteBack};

pub struct Format;

impl WriteBack for Format {
    const DONE: u64 = 1;
    const LAST: u64 = 2;
    const ERRORS: u64 = 4;
}

pub fn f(ring: &mut RxRing, napi: &NapiRef) {
    let Some(mut ring) = ring.poll(napi) else {
        return;
    };
    if let Next::Whole(done) = ring.look::<Format>() {
        done.receive(60, RxMeta::new());
    }
    #[cfg(misuse)]
    ring.receive(60, RxMeta::new());
}
