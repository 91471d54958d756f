// SPDX-License-Identifier: GPL-2.0
//! The Intel 82599 and its virtual functions as pure logic: no kernel types, no allocation, no `unsafe`.
//!
//! Compiled twice from one source: by Kbuild into `ixgbe.ko` and `ixgbevf.ko`, and by cargo for host tests against
//! the model in `tools/testing/model`.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

pub mod mbx_ext;
