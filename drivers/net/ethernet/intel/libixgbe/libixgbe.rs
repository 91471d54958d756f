// SPDX-License-Identifier: GPL-2.0
//! The Intel 82599 and its virtual functions as pure logic: no kernel types, no allocation, no
//! `unsafe`.
//!
//! Compiled twice from one source: by Kbuild into `ixgbe_rust.ko` and `ixgbevf_rust.ko` (where the
//! build injects `no_std`), and by cargo for host tests against the model in `tools/testing/model`.
#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod allowance;
pub mod board;
pub mod cage;
pub mod chip;
pub mod desc;
pub mod diag;
pub mod dump;
pub mod eeprom;
pub mod filter;
mod hostif;
pub mod i2c;
pub mod io;
pub mod itr;
pub mod link;
pub mod mac;
pub mod mbx;
pub mod mbx_ext;
pub mod mdio;
pub mod migration;
pub mod phy;
pub mod regs;
pub mod ring;
pub mod rss;
pub mod rxbuf;
pub mod sfp;
pub mod sriov;
pub mod stats;
pub mod vf;

/// `core::iter::chain`, which is stable from Rust 1.91 on.
pub fn chain<A, B>(a: A, b: B) -> core::iter::Chain<A::IntoIter, B::IntoIter>
where
    A: IntoIterator,
    B: IntoIterator<Item = A::Item>,
{
    a.into_iter().chain(b)
}

pub use io::{
    Delay,
    Regs, //
};
