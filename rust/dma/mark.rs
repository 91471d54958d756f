// SPDX-License-Identifier: GPL-2.0
//! Marking of the pages that a device wrote.
//!
//! A hypervisor that migrates a virtual machine must know which pages changed. It sees what the CPU
//! writes, by write faults, but not what an assigned device writes by DMA. While a [`Marking`]
//! exists, every page of a from-device mapping that is handed to the CPU gets a write that changes
//! nothing, so that the hypervisor sees it as well: in [`super::Mapping`] at sync and unmap, in
//! [`crate::net::RxRing`] at the sync of a received buffer and when a posted buffer goes back.
//! There is no other way from a device-owned buffer to a CPU-owned one, so a driver on these
//! abstractions cannot miss a page. Without a `Marking` the cost is one static branch.
//!
//! This is where Alexander Duyck's RFC of December 2015 put it, after per-driver marking had been
//! rejected.

use nic_bindings as raw;

/// While at least one of these exists, pages are marked.
///
/// Taking and dropping it patches code, so it may sleep.
pub struct Marking(());

impl Marking {
    /// Switches marking on.
    pub fn new() -> Self {
        // SAFETY: No requirements; counts.
        unsafe { raw::nic_dma_marking_get() };
        Self(())
    }
}

impl Default for Marking {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Marking {
    fn drop(&mut self) {
        // SAFETY: Balances `new`.
        unsafe { raw::nic_dma_marking_put() };
    }
}

/// Pages marked since the module was loaded.
pub fn pages() -> u64 {
    // SAFETY: No requirements.
    unsafe { raw::nic_dma_marked_pages() }
}

/// Buffers marked since the module was loaded.
pub fn buffers() -> u64 {
    // SAFETY: No requirements.
    unsafe { raw::nic_dma_marked_buffers() }
}
