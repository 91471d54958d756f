// SPDX-License-Identifier: GPL-2.0
//! X550-AT2 and -AT1: 10GBASE-T as on the X540, with 2.5 and 5 Gb/s, and an EEPROM that only firmware reads.

use libixgbe::regs;

use super::{x540, Traits};

/// Blocks of the EEPROM that words 3 to 0xF point to. Where they stand is chosen.
const ANALOG: u16 = 0x100;
/// The PHY's, which the checksum leaves out.
const PHY: u16 = 0x110;
/// The option ROM's, likewise.
const OPTION_ROM: u16 = 0x118;
/// PCIe's, of a fixed length.
const GENERAL: u16 = 0x140;
/// The same of each function.
const CONFIG0: u16 = 0x180;
const CONFIG1: u16 = 0x188;
/// A block that counts.
const CORE: u16 = 0x120;
/// The firmware's, which no chip counts.
const FIRMWARE: u16 = 0x130;

pub(super) const TRAITS: Traits = Traits {
    device_id: 0x1563,
    vf_device_id: 0x1565,
    x550: true,
    eeprom: &[
        (regs::PCIE_ANALOG_PTR as usize, ANALOG),
        (0x04, PHY),
        (0x05, OPTION_ROM),
        (regs::PCIE_GENERAL_PTR as usize, GENERAL),
        (regs::PCIE_CONFIG0_PTR as usize, CONFIG0),
        (regs::PCIE_CONFIG1_PTR as usize, CONFIG1),
        (0x09, CORE),
        (regs::FW_PTR as usize, FIRMWARE),
        (ANALOG as usize, 2),
        (ANALOG as usize + 1, 0x1234),
        (ANALOG as usize + 2, 0x4321),
        (PHY as usize, 1),
        (PHY as usize + 1, 0x5A5A),
        (OPTION_ROM as usize, 2),
        (OPTION_ROM as usize + 1, 0x55AA),
        (OPTION_ROM as usize + 2, 0x0F0F),
        // A length, were it one, that is not the block's.
        (GENERAL as usize, 0x0003),
        (GENERAL as usize + 0x23, 0x0777),
        (CONFIG0 as usize, 0x0001),
        (CONFIG0 as usize + 7, 0x0888),
        (CONFIG1 as usize, 0x0002),
        (CONFIG1 as usize + 7, 0x0999),
        (CORE as usize, 1),
        (CORE as usize + 1, 0x0102),
        (FIRMWARE as usize, 1),
        (FIRMWARE as usize + 1, 0xBEEF),
    ],
    ..x540::TRAITS
};

/// With one port, which is all that differs.
pub(super) const AT1: Traits = Traits {
    device_id: 0x15D1,
    ..TRAITS
};
