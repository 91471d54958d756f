// SPDX-License-Identifier: GPL-2.0
//! An instance that is being set up is no proof of a poll: there is no RCU and no softirq.
//! misuse: E0308

use nic::net::{xdp, NapiRef, NapiSetup};

pub fn f(polled: &NapiRef, setup: &NapiSetup) {
    xdp::flush(polled);
    #[cfg(misuse)]
    xdp::flush(setup);
    let _ = setup;
}
