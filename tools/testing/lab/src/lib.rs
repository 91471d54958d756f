// SPDX-License-Identifier: GPL-2.0
//! `cargo lab`: builds kernels, QEMU with the model of the 82599 and the modules; boots hosts; runs the tests.
//!
//! How the parts stand on each other, lowest first: [`cache`], `terminal` and [`process`],
//! [`pins`], [`stats`] and [`retry`]; [`apt`],
//! [`toolchain`], [`kernel`], [`stock`], [`qemu`], [`rootfs`] and [`initramfs`] make what is
//! booted; [`chip`] names the cards; [`switch`] and [`capture`] are the wire; [`vm`] boots a machine, [`accel`] says how its
//! processor is run, and [`guest`] drives it; [`station`] is the far end of the wire; [`ktap`] and
//! [`klog`] judge what a machine prints; [`lab`] puts them together; [`shell`] and [`test`] (with
//! [`suites`] and [`runner`]) are commands of the command line, [`cli`], and so are [`migrate`],
//! which speaks [`qmp`] with the hosts' own QEMU, and [`bench`].

#![forbid(unsafe_code)]

pub mod accel;
pub mod apt;
pub mod bench;
pub mod cache;
pub mod capture;
pub mod chip;
pub mod cli;
pub mod guest;
pub mod initramfs;
pub mod kernel;
pub mod klog;
pub mod ktap;
pub mod lab;
pub mod migrate;
pub mod package;
pub mod pins;
pub mod process;
pub mod qemu;
pub mod qmp;
pub mod retry;
pub mod rootfs;
pub mod runner;
pub mod series;
pub mod setup;
pub mod shell;
pub mod station;
pub mod stats;
pub mod stock;
pub mod suites;
pub mod switch;
mod terminal;
pub mod test;
pub mod toolchain;
pub mod tsc;
pub mod vm;
