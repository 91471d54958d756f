// SPDX-License-Identifier: GPL-2.0
//! X540-AT2 and -AT1: 10GBASE-T with the PHY on the chip.

use libixgbe::regs;

use super::Traits;

/// Blocks of the EEPROM that words 3 to 0xF point to. Where they stand is chosen.
const ANALOG: u16 = 0x100;
/// The PHY's, which the checksum leaves out.
const PHY: u16 = 0x110;
/// The option ROM's, likewise.
const OPTION_ROM: u16 = 0x118;
/// A block that counts. Who points to it differs.
pub(super) const CORE: u16 = 0x120;
/// The firmware's, which no chip counts.
const FIRMWARE: u16 = 0x130;

/// The blocks, and who points to them.
pub(super) const BLOCKS: &[(usize, u16)] = &[
    (regs::PCIE_ANALOG_PTR as usize, ANALOG),
    (0x04, PHY),
    (0x05, OPTION_ROM),
    (regs::FW_PTR as usize, FIRMWARE),
    (ANALOG as usize, 2),
    (ANALOG as usize + 1, 0x1234),
    (ANALOG as usize + 2, 0x4321),
    (PHY as usize, 1),
    (PHY as usize + 1, 0x5A5A),
    (OPTION_ROM as usize, 2),
    (OPTION_ROM as usize + 1, 0x55AA),
    (OPTION_ROM as usize + 2, 0x0F0F),
    (CORE as usize, 1),
    (CORE as usize + 1, 0x0102),
    (FIRMWARE as usize, 1),
    (FIRMWARE as usize + 1, 0xBEEF),
];

pub(super) const TRAITS: Traits = Traits {
    device_id: 0x1528,
    vf_device_id: 0x1515,
    cage: false,
    x540: true,
    x550: false,
    registers: &[
        (regs::rxpbsize(0), regs::X540_RXPBSIZE),
        (regs::FWSM, regs::FWSM_FW_VAL_BIT | regs::FWSM_TS_ENABLED),
        // No backplane: nothing negotiates but the PHY.
        (regs::AUTOC, 0),
        (regs::ANLP1, 0),
    ],
    eeprom: &[BLOCKS, &[(0x06, CORE)]],
};

/// With one port, which is all that differs.
pub(super) const AT1: Traits = Traits {
    device_id: 0x1560,
    ..TRAITS
};
