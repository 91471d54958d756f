// SPDX-License-Identifier: GPL-2.0
//! Direct memory access: descriptor rings, streaming mappings, and the hook by which a guest marks
//! what a device wrote.
//!
//! `kernel::dma` has coherent memory only. [`Ring`] puts descriptors into it. [`Mapping`] is a
//! streaming mapping that ends when it is dropped. Buffers of a [`crate::net::RxRing`] come from a
//! page pool, which maps them itself.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

pub mod mark;

mod mapping;
mod ring;

pub use self::mapping::{
    FromDevice,
    Mapping,
    ToDevice, //
};
pub(crate) use self::ring::read_barrier;
pub use self::ring::{
    Descriptor,
    Ring,
    Words, //
};
