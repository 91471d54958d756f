// SPDX-License-Identifier: GPL-2.0
//! VFIO variant drivers on `vfio_pci_core`.
//!
//! A variant driver implements [`Driver`]; [`Registration`] makes a `struct pci_driver` of it that
//! only binds when it is asked for (`driver_override`), and whose VFIO device is a C
//! `vfio_pci_core_device` with the Rust state behind it.
//!
//! | module | C side | what it adds |
//! |---|---|---|
//! | [`device`] | `vfio_device_ops`, `vfio_pci_core` | the device, its life, the driver's trait |
//! | [`pci`] | `struct pci_driver` | registration, ids with the VFIO flag, error handlers |
//! | [`migration`] | `vfio_migration_ops` | states, the state lock with its deferred reset |
//! | [`stream`] | `anon_inode_getfile` | the files by which user space reads and writes a state |
//! | [`log`] | `vfio_log_ops`, `iova_bitmap` | DMA logging |
//! | [`memory`] | `vfio_dma_rw`, `iommufd_access_rw` | reading guest memory |
//! | `work` | `delayed_work` | [`Driver::work`], from time to time |
//!
//! C headers: [`include/linux/vfio.h`](srctree/include/linux/vfio.h),
//! [`include/linux/vfio_pci_core.h`](srctree/include/linux/vfio_pci_core.h)
#![deny(unsafe_op_in_unsafe_fn)]

mod callbacks;
pub mod device;
mod id;
pub mod log;
pub mod memory;
pub mod migration;
pub mod pci;
pub mod stream;
mod work;

pub use self::{
    device::{
        Device,
        Driver, //
    },
    migration::State,
    pci::{
        DeviceId,
        Registration, //
    }, //
};

/// A table of C callbacks.
struct Table<T>(T);

// SAFETY: The tables hold function pointers and pointers to statics only and are never written
// after they were built.
unsafe impl<T> Sync for Table<T> {}
