// SPDX-License-Identifier: GPL-2.0
//! What the kernel crate of Linux 7.3 lacks for a network driver.
//!
//! | module | C side | what it adds |
//! |---|---|---|
//! | [`pci`] | `include/linux/pci.h` | drivers with SR-IOV, error handlers, PM, shutdown; BARs |
//! | [`irq`] | `include/linux/interrupt.h` | vectors and handlers that own what they need |
//! | [`devlink`] | `include/net/devlink.h` | instance, ports, health, parameters, region |
//! | [`dma`] | `include/linux/dma-mapping.h` | descriptor rings, streaming mappings, page marking |
//! | [`net`] | `include/linux/netdevice.h` | net_device, NAPI, sk_buff, page pools, XDP, ethtool |
//! | [`sync`] | `include/linux/semaphore.h` | a lock that sleeps and that interrupts may try |
//!
//! All `unsafe` of the drivers is here: a driver crate on top is `#![deny(unsafe_code)]`. The shape
//! follows `rust/kernel`: a driver implements a trait, the abstraction fills the C operations
//! structure from it. Nothing here allocates, locks or calls through a pointer per frame where C
//! does not.
#![deny(unsafe_op_in_unsafe_fn)]

mod bound;
pub mod devlink;
pub mod dma;
pub mod irq;
pub mod net;
pub mod pci;
pub mod sync;
