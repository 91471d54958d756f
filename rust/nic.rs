// SPDX-License-Identifier: GPL-2.0
//! What the kernel crate of Linux 7.3 lacks for a network driver.
#![deny(unsafe_op_in_unsafe_fn)]
