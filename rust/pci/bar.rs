// SPDX-License-Identifier: GPL-2.0
//! Enabling a device, and memory BARs that own their mapping.
//!
//! `kernel::pci::Bar` borrows the bound device, so it cannot live in the private data of a
//! net_device, whose callbacks know no such lifetime. [`Bar`] owns the mapping instead, and keeps
//! the device bound: what is not dropped with the driver's private data holds up the unbinding.

use super::as_raw;
use crate::bound::Held;
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::Core,
    dma::{
        Device as _,
        DmaMask, //
    },
    error::to_result,
    pci::Device,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};
use nic_bindings as raw;

/// A device that is enabled, whose regions are claimed, which may do DMA and whose configuration
/// space is saved.
///
/// Dropping it releases the regions and disables the device.
///
/// # Invariants
///
/// The regions of `pdev` are claimed by this object. It is enabled once by it, unless `off` is
/// true.
pub struct Enabled {
    pdev: ARef<Device>,
    _held: Held,
    /// Disabled for a while: error recovery may come to no end, and sleep or removal may follow it.
    off: Atomic<bool>,
}

impl Enabled {
    /// Enables the device's memory and bus mastering and sets its DMA mask; the steps in the order
    /// of the C drivers. The first that a driver does with a device.
    ///
    /// # Errors
    ///
    /// `EBUSY` the second time since the device was bound: the mask must not change under mappings.
    pub fn new(pdev: &Device<Core<'_>>, name: &'static CStr, mask: DmaMask) -> Result<Self> {
        let held = Held::new(pdev.as_ref())?;
        if !held.enable_once() {
            return Err(EBUSY);
        }
        pdev.enable_device_mem()?;
        let ptr = as_raw(pdev);
        // SAFETY: The device was just bound, since this is done once: what maps memory for it gets
        // a device that may do DMA from here.
        if let Err(e) = unsafe { pdev.dma_set_mask_and_coherent(mask) } {
            dev_err!(pdev, "No usable DMA configuration, aborting\n");
            // SAFETY: `ptr` is a valid device, enabled above.
            unsafe { bindings::pci_disable_device(ptr) };
            return Err(e);
        }
        // SAFETY: `ptr` is a valid device; the name is static.
        let claimed = unsafe { raw::pci_request_regions(ptr, name.as_char_ptr().cast()) };
        if let Err(e) = to_result(claimed) {
            dev_err!(pdev, "pci_request_regions failed\n");
            // SAFETY: `ptr` is a valid device, enabled above.
            unsafe { bindings::pci_disable_device(ptr) };
            return Err(e);
        }
        pdev.set_master();
        // SAFETY: A valid device, locked by this callback. The result only tells whether a
        // capability had no save buffer.
        unsafe { bindings::pci_save_state(ptr) };

        // INVARIANT: Enabled and claimed above.
        Ok(Self {
            pdev: ARef::from(&**pdev),
            _held: held,
            off: Atomic::new(false),
        })
    }

    /// Enables the device again after error recovery or sleep disabled it (`pci_enable_device_mem`,
    /// `pci_set_master`).
    pub fn reenable(&self, pdev: &Device<Core<'_>>) -> Result {
        if self.off.load(Relaxed) {
            pdev.enable_device_mem()?;
            self.off.store(false, Relaxed);
        }
        pdev.set_master();
        Ok(())
    }

    /// As [`Enabled::reenable`], after a reset that took the configuration space
    /// (`pci_restore_state`).
    pub fn recover(&self, pdev: &Device<Core<'_>>) -> Result {
        self.reenable(pdev)?;
        // SAFETY: `pdev` is valid. What is put back was saved by `new`, or by the PCI core later.
        unsafe { bindings::pci_restore_state(as_raw(pdev)) };
        Ok(())
    }

    /// Disables the device for error recovery or sleep, until [`Enabled::reenable`].
    pub fn disable(&self, pdev: &Device<Core<'_>>) {
        // Callbacks of the driver core do not overlap: they hold the device's lock.
        if !self.off.load(Relaxed) {
            self.off.store(true, Relaxed);
            // SAFETY: `pdev` is valid and enabled once, by `new` or `reenable`.
            unsafe { bindings::pci_disable_device(as_raw(pdev)) };
        }
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        let ptr = as_raw(&*self.pdev);
        // SAFETY: By the type invariant. The device is still bound to the driver that claimed them.
        unsafe { raw::pci_release_regions(ptr) };
        if !self.off.load(Relaxed) {
            // SAFETY: By the type invariant.
            unsafe { bindings::pci_disable_device(ptr) };
        }
    }
}

/// A mapped memory BAR.
///
/// # Invariants
///
/// `base` is an I/O mapping of `len` bytes, page-aligned, owned by this object, and `last` is
/// `len - 4`.
pub struct Bar {
    base: NonNull<u8>,
    len: usize,
    last: usize,
    _held: Held,
}

// SAFETY: The mapping is global and registers can be accessed from any context.
unsafe impl Send for Bar {}
// SAFETY: Each access is one instruction, which the bus orders.
unsafe impl Sync for Bar {}

impl Bar {
    /// Maps BAR `index` of `pdev`, which must be at least `min_len` bytes long.
    pub fn new(pdev: &Device<Core<'_>>, index: u32, min_len: usize) -> Result<Self> {
        let len = usize::try_from(pdev.resource_len(index)?)?;
        if len < min_len {
            return Err(ENODEV);
        }
        let last = len.checked_sub(4).ok_or(ENODEV)?;
        let held = Held::new(pdev.as_ref())?;
        // SAFETY: `pdev` is valid and `resource_len` has checked the index.
        let base = unsafe { raw::nic_pci_ioremap_bar(as_raw(pdev), c_int::try_from(index)?) };
        // INVARIANT: The mapping covers the whole BAR.
        Ok(Self {
            base: NonNull::new(base.cast()).ok_or(EIO)?,
            len,
            last,
            _held: held,
        })
    }

    /// Size in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        self.len
    }

    #[inline]
    fn at(&self, offset: u32) -> Option<NonNull<u8>> {
        let offset = offset as usize;
        if offset & 3 != 0 || offset > self.last {
            return None;
        }
        // SAFETY: The offset lies in the mapping.
        Some(unsafe { self.base.add(offset) })
    }

    /// Reads the 32-bit register at byte `offset`; an offset outside the BAR reads as all ones, as
    /// on the bus.
    #[inline]
    pub fn read32(&self, offset: u32) -> u32 {
        match self.at(offset) {
            // SAFETY: `at` returns an aligned address in the mapping.
            Some(addr) => unsafe { readl(addr) },
            None => u32::MAX,
        }
    }

    /// Writes the 32-bit register at byte `offset`; an offset outside the BAR is ignored, as on the
    /// bus.
    #[inline]
    pub fn write32(&self, offset: u32, value: u32) {
        if let Some(addr) = self.at(offset) {
            // SAFETY: `at` returns an aligned address in the mapping.
            unsafe { writel(addr, value) }
        }
    }

    /// A register that is checked once and then written without a check, for the hot path.
    pub fn doorbell(self: &Arc<Self>, offset: u32) -> Result<Doorbell> {
        Ok(Doorbell {
            addr: self.at(offset).ok_or(EINVAL)?,
            _bar: self.clone(),
        })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; nothing uses the mapping any more, since doorbells hold a
        // reference.
        unsafe { raw::nic_iounmap(self.base.as_ptr().cast()) }
    }
}

/// One register of a [`Bar`], see [`Bar::doorbell`].
///
/// # Invariants
///
/// `addr` is an aligned address in the mapping of `_bar`.
pub struct Doorbell {
    addr: NonNull<u8>,
    _bar: Arc<Bar>,
}

// SAFETY: A register can be accessed from any context, and the mapping stays.
unsafe impl Send for Doorbell {}
// SAFETY: Each access is one instruction, which the bus orders.
unsafe impl Sync for Doorbell {}

impl Doorbell {
    /// Writes the register. Everything written to memory before is visible to the device first.
    #[inline]
    pub fn ring(&self, value: u32) {
        // SAFETY: By the type invariant an aligned address of the mapping.
        unsafe { writel(self.addr, value) }
    }

    /// Reads the register back.
    #[inline]
    pub fn read(&self) -> u32 {
        // SAFETY: By the type invariant an aligned address of the mapping.
        unsafe { readl(self.addr) }
    }
}

/// `readl()`: the same instruction, without the call that a C helper costs.
///
/// # Safety
///
/// `addr` is a 4-byte aligned address of an I/O mapping.
#[inline(always)]
unsafe fn readl(addr: NonNull<u8>) -> u32 {
    #[cfg(CONFIG_X86_64)]
    {
        let value: u32;
        // SAFETY: By the safety requirement. One plain load, which keeps its place among other
        // memory accesses since the block is not `nomem`, as in arch/x86/include/asm/io.h.
        unsafe {
            core::arch::asm!(
                "mov {0:e}, dword ptr [{1}]", out(reg) value, in(reg) addr.as_ptr(),
                options(nostack, preserves_flags)
            )
        };
        value
    }
    #[cfg(not(CONFIG_X86_64))]
    // SAFETY: By the safety requirement.
    unsafe {
        raw::nic_readl(addr.as_ptr().cast())
    }
}

/// `writel()`, likewise.
///
/// # Safety
///
/// `addr` is a 4-byte aligned address of an I/O mapping.
#[inline(always)]
unsafe fn writel(addr: NonNull<u8>, value: u32) {
    #[cfg(CONFIG_X86_64)]
    // SAFETY: By the safety requirement; as for `readl`.
    unsafe {
        core::arch::asm!(
            "mov dword ptr [{1}], {0:e}", in(reg) value, in(reg) addr.as_ptr(),
            options(nostack, preserves_flags)
        )
    };
    #[cfg(not(CONFIG_X86_64))]
    // SAFETY: By the safety requirement.
    unsafe {
        raw::nic_writel(value, addr.as_ptr().cast())
    }
}
