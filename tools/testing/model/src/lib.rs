// SPDX-License-Identifier: GPL-2.0
//! The Intel 82599 as software: a PF, 63 VFs, their mailboxes and the switch between them.
//!
//! The core is plain data with a [`host::Host`] passed into every call, so that tests drive it without QEMU. QEMU reaches it
//! through the C ABI in [`ffi`], the only file with `unsafe`.
//!
//! Sources, and their short names in the comments: **K** is Linux 7.3 `drivers/net/ethernet/intel/{ixgbe,ixgbevf}`, **T**
//! dslab-epfl/tinynf. Datasheet sections are those of the 82599 datasheet as these quote them.
#![deny(unsafe_code)]

mod cage;
mod chip;
pub mod debug;
mod decode;
mod device;
mod eeprom;
pub mod ffi;
mod filter;
mod firmware;
pub mod host;
mod intr;
mod mailbox;
pub mod offload;
mod phy;
mod queue;
mod quirk;
mod rate;
mod regs_file;
mod reset;
mod rx;
mod semaphore;
mod stats;
pub mod testing;
mod tx;
mod vf;
mod writeback;

pub use cage::module::{Kind as Module, Speeds};
pub use chip::Chip;
pub use device::{Config, Device, VfState, MAX_VFS, QUEUES};
pub use intr::{PF_VECTORS, VF_VECTORS};
pub use mailbox::{Mailbox, Signal};
pub use queue::HeadWrite;
pub use quirk::{Quirks, ShortPaylen};
pub use regs_file::SPACE;
