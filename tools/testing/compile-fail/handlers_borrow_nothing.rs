// SPDX-License-Identifier: GPL-2.0
//! No handler of an interrupt borrows what may be gone: they get the device.
//! misuse: E0432

pub use nic::irq::Vectors;

#[cfg(misuse)]
pub use nic::irq::Handler;
