// SPDX-License-Identifier: GPL-2.0
//! PCI ids of variant drivers.

use kernel::{
    bindings,
    device_id::RawDeviceId, //
};

/// A PCI id that matches only when user space names this driver in `driver_override`, and that
/// modpost turns into a `vfio_pci:` alias, by which libvirt finds the driver
/// (`PCI_DRIVER_OVERRIDE_DEVICE_VFIO`).
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct DeviceId(bindings::pci_device_id);

// SAFETY: `DeviceId` is a transparent wrapper of `pci_device_id`.
unsafe impl RawDeviceId for DeviceId {
    type RawType = bindings::pci_device_id;
}

impl DeviceId {
    /// All functions with this vendor and device id.
    pub const fn new(vendor: u16, device: u16) -> Self {
        let mut id: bindings::pci_device_id = pin_init::zeroed();
        id.vendor = vendor as u32;
        id.device = device as u32;
        id.subvendor = u32::MAX;
        id.subdevice = u32::MAX;
        id.override_only = PCI_ID_F_VFIO_DRIVER_OVERRIDE;
        Self(id)
    }
}

/// `include/linux/mod_devicetable.h`, an anonymous enum there.
const PCI_ID_F_VFIO_DRIVER_OVERRIDE: u32 = 1;

/// Ids of a driver, see [`device_table!`](crate::device_table).
pub type IdTable = &'static dyn kernel::device_id::IdTable<DeviceId, ()>;

/// Makes an [`IdTable`] with its aliases for modpost.
#[macro_export]
macro_rules! device_table {
    ($name:ident, [$($id:expr),* $(,)?]) => {
        ::kernel::module_device_table!("pci", $crate::DeviceId, $name, @none, [$($id),*]);
    };
}
