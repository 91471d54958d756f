// SPDX-License-Identifier: GPL-2.0
//! The core is told of frames that were taken, and no other is given back in their place.
//! misuse: E0599

use nic::net::xdp::XdpFrames;

pub fn f(frames: &mut XdpFrames<'_>) {
    frames.send_each(Err);
    #[cfg(misuse)]
    frames.take();
}
