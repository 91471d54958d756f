// SPDX-License-Identifier: GPL-2.0
//! `cargo lab`: builds, boots and tests.
fn main() {}
