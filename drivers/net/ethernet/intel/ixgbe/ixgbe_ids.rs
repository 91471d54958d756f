// SPDX-License-Identifier: GPL-2.0
//! Which devices are driven. What each of them is stands in [`libixgbe::board`].

use kernel::pci;
use libixgbe::board::Board;

/// A row of the table. A device that probe would refuse is not one: it belongs to the C driver, and
/// a row for it fails the build.
const fn driven(id: u16) -> pci::DeviceId {
    assert!(Board::of_device(id).is_ok());
    pci::DeviceId::from_id(pci::Vendor::INTEL, id as u32)
}

kernel::pci_device_table!(
    PCI_TABLE,
    Board,
    [
        (driven(0x10F7), Board::Kx4),
        (driven(0x1514), Board::Kx4),
        (driven(0x1517), Board::Kr),
        (driven(0x10F8), Board::Backplane),
        (driven(0x152A), Board::Backplane),
        (driven(0x10FC), Board::Backplane),
        (driven(0x10F9), Board::Cx4),
        (driven(0x10FB), Board::Sfp),
        (driven(0x1529), Board::Sfp),
        (driven(0x1507), Board::Sfp),
        (driven(0x154D), Board::Sfp),
        (driven(0x1557), Board::Sfp),
        (driven(0x154A), Board::Sfp),
        (driven(0x1528), Board::X540),
        (driven(0x1560), Board::X540),
        (driven(0x1563), Board::X550),
        (driven(0x15D1), Board::X550),
    ]
);

/// All of them.
pub(crate) const TABLE: pci::IdTable<Board> = &PCI_TABLE;
