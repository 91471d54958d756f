// SPDX-License-Identifier: GPL-2.0
//! Buffers are posted in a poll of the ring's instance, or while that is disabled.
//! misuse: E0277

use nic::net::{Fill, NapiIdle, RxRing};

pub fn f(ring: &mut RxRing, idle: &NapiIdle) {
    if let Some(mut ring) = ring.idle(idle) {
        ring.fill(|_, addr, _| [addr, 0u64]);
    }
    #[cfg(misuse)]
    Fill::fill(ring, |_, addr, _| [addr, 0u64]);
}
