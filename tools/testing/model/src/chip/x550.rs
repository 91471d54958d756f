// SPDX-License-Identifier: GPL-2.0
//! X550-AT2 and -AT1: 10GBASE-T as on the X540, with 2.5 and 5 Gb/s, and an EEPROM that only firmware reads.

use libixgbe::regs;

use super::{x540, Traits};

/// A block of the EEPROM beside those of the X540: PCIe's, of a fixed length. Where it stands is chosen.
const GENERAL: u16 = 0x140;
/// The same of each function.
const CONFIG0: u16 = 0x180;
const CONFIG1: u16 = 0x188;

pub(super) const TRAITS: Traits = Traits {
    device_id: 0x1563,
    vf_device_id: 0x1565,
    x550: true,
    eeprom: &[
        x540::BLOCKS,
        &[
            (0x09, x540::CORE),
            (regs::PCIE_GENERAL_PTR as usize, GENERAL),
            (regs::PCIE_CONFIG0_PTR as usize, CONFIG0),
            (regs::PCIE_CONFIG1_PTR as usize, CONFIG1),
            // A length, were it one, that is not the block's.
            (GENERAL as usize, 0x0003),
            (GENERAL as usize + 0x23, 0x0777),
            (CONFIG0 as usize, 0x0001),
            (CONFIG0 as usize + 7, 0x0888),
            (CONFIG1 as usize, 0x0002),
            (CONFIG1 as usize + 7, 0x0999),
        ],
    ],
    ..x540::TRAITS
};

/// With one port, which is all that differs.
pub(super) const AT1: Traits = Traits {
    device_id: 0x15D1,
    ..TRAITS
};
