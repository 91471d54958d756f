// SPDX-License-Identifier: GPL-2.0
//! Virtual functions as their physical function sees them: configuration space and reset.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::as_raw;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::DeviceContext,
    error::to_result,
    pci::Device,
    prelude::*, //
};
use nic_bindings as raw;

/// `PCI_STATUS_REC_MASTER_ABORT`: a request of the function was answered by nobody, as for a DMA to
/// a wrong address.
pub const STATUS_REC_MASTER_ABORT: u16 = 0x2000;

/// The enabled virtual functions of a physical one, in the order of the bus.
pub struct VirtFns<'a> {
    pf: *mut bindings::pci_dev,
    /// The one that comes before, with a reference.
    at: *mut bindings::pci_dev,
    _pf: PhantomData<&'a ()>,
}

impl<'a> VirtFns<'a> {
    /// Those of `pf`.
    pub fn of<Ctx: DeviceContext>(pf: &'a Device<Ctx>) -> Self {
        Self {
            pf: as_raw(pf),
            at: core::ptr::null_mut(),
            _pf: PhantomData,
        }
    }

    /// The next one, until the call after this; an iterator could not lend it.
    pub fn advance(&mut self) -> Option<VirtFn<'_>> {
        let mut index = 0;
        // SAFETY: The physical function is valid for `'a`; C takes over the reference to the last
        // one.
        self.at = unsafe { raw::nic_pci_next_vf(self.pf, self.at, &mut index) };
        Some(VirtFn {
            pdev: NonNull::new(self.at)?,
            index,
            _at: PhantomData,
        })
    }
}

impl Drop for VirtFns<'_> {
    fn drop(&mut self) {
        // SAFETY: The reference is ours; null is fine.
        unsafe { bindings::pci_dev_put(self.at) }
    }
}

/// A virtual function; it exists at least in memory, even if it is removed from the bus meanwhile.
pub struct VirtFn<'a> {
    pdev: NonNull<bindings::pci_dev>,
    index: u32,
    _at: PhantomData<&'a ()>,
}

impl VirtFn<'_> {
    /// Its number.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// What it signs its transactions with: bus, device and function (`PCI_DEVID`).
    pub fn requester_id(&self) -> u16 {
        // SAFETY: `VirtFns` holds a reference; a device keeps its bus while it exists.
        unsafe {
            let pdev = self.pdev.as_ptr();
            u16::from((*(*pdev).bus).number) << 8 | (*pdev).devfn as u16
        }
    }

    fn read_word(&self, offset: u32) -> Option<u16> {
        let mut word = 0;
        // SAFETY: `VirtFns` holds a reference.
        let r = unsafe {
            bindings::pci_read_config_word(self.pdev.as_ptr(), offset as c_int, &mut word)
        };
        (r == 0 && word != u16::MAX).then_some(word)
    }

    /// The status register; `None` if the function does not answer.
    pub fn status(&self) -> Option<u16> {
        self.read_word(bindings::PCI_STATUS)
    }

    /// The command register.
    pub fn command(&self) -> Option<u16> {
        self.read_word(bindings::PCI_COMMAND)
    }

    /// Puts back what a reset of the physical function took: the command register, and MSI-X as its
    /// driver has set it up (`pci_restore_msi_state`).
    pub fn restore(&self, command: u16) {
        // SAFETY: `VirtFns` holds a reference. A function that does not answer is no worse for it.
        unsafe {
            bindings::pci_write_config_word(
                self.pdev.as_ptr(),
                bindings::PCI_COMMAND as c_int,
                command,
            );
            raw::pci_restore_msi_state(self.pdev.as_ptr());
        }
    }

    /// Whether a VFIO user has opened it, as far as an IOMMU tells. May sleep.
    pub fn in_use(&self) -> bool {
        // SAFETY: `VirtFns` holds a reference.
        unsafe { raw::nic_pci_vf_in_use(self.pdev.as_ptr()) }
    }

    /// Function level reset. Takes 100 ms or more.
    pub fn flr(&self) -> Result {
        // SAFETY: `VirtFns` holds a reference.
        to_result(unsafe { raw::pcie_flr(self.pdev.as_ptr()) })
    }
}

/// Header of the transaction for which the root port above `pdev` has logged an error; `None`
/// without such a log.
pub fn root_port_header_log<Ctx: DeviceContext>(pdev: &Device<Ctx>) -> Option<[u32; 4]> {
    let mut log = [0; 4];
    // SAFETY: A valid device, and room for four words.
    unsafe { raw::nic_pci_root_port_header_log(as_raw(pdev), log.as_mut_ptr()) }.then_some(log)
}
