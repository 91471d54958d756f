// SPDX-License-Identifier: GPL-2.0
//! The number of a CPU is asked where the task stays on it.
//! misuse: E0425

use nic::net::xdp::XdpFrames;

pub fn f(frames: &XdpFrames<'_>) -> u32 {
    #[cfg(misuse)]
    let _ = nic::net::xdp::this_cpu();
    frames.cpu()
}
