// SPDX-License-Identifier: GPL-2.0
//! Where a frame lies in its buffer is known by the ring alone.
//! misuse: E0599

use nic::net::{Done, Received, RxMeta};

pub fn f(done: Done<'_>, len: u32) -> Received {
    let meta = RxMeta::new().csum_ok(true);
    #[cfg(misuse)]
    let meta = meta.moved(2048, 0);
    done.receive(len, meta)
}
