// SPDX-License-Identifier: GPL-2.0
//! The 82599 as software.

pub mod offload;
