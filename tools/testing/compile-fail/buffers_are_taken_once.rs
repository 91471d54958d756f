// SPDX-License-Identifier: GPL-2.0
//! A buffer goes to the stack once.
//! misuse: E0382

use nic::net::{Done, RxMeta};

pub fn f(done: Done<'_>) {
    done.receive(60, RxMeta::new());
    #[cfg(misuse)]
    done.skip();
}
