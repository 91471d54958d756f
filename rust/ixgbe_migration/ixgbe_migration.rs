// SPDX-License-Identifier: GPL-2.0
//! Both ends of the contract between the ixgbe PF driver and its VFIO variant driver.
//!
//! The PF driver implements [`provider::Provider`] and exports it with [`export_provider!`]; the variant driver uses a
//! [`client::Vf`]. In between lies a plain C API in its own symbol namespace, so that either side could be C.
//!
//! C header: `include/linux/ixgbe_migration.h`
#![deny(unsafe_op_in_unsafe_fn)]

pub mod client;
pub mod provider;

pub use nic_bindings::{
    ixgbe_vfmig_heads as Heads,
    ixgbe_vfmig_report as Report,
    ixgbe_vfmig_rings as Rings,
    ixgbe_vfmig_rx as Rx,
    ixgbe_vfmig_tails as Tails,
    ixgbe_vfmig_tx as Tx,
    IXGBE_VFMIG_MAX_QUEUES as MAX_QUEUES,
    IXGBE_VFMIG_RESTORE_NONE as RESTORE_NONE,
    IXGBE_VFMIG_RESTORE_REARM as RESTORE_REARM,
    IXGBE_VFMIG_RESTORE_RESET as RESTORE_RESET,
    IXGBE_VFMIG_RESTORE_WRITE as RESTORE_WRITE, //
};

/// Most bytes of a compatibility record and of a state.
pub const STATE_MAX: usize = nic_bindings::IXGBE_VFMIG_STATE_MAX as usize;
