// SPDX-License-Identifier: GPL-2.0
//! 82599ES with a cage for an SFP+ module, as on the X520-DA2.

use libixgbe::regs;

use super::Traits;

/// Where the EEPROM has the list of module types, and the blocks behind it. Chosen: above what has a fixed place.
const LIST: u16 = 0x100;
/// Values for CORECTL with a passive cable: the receiver equalises.
const LINEAR: u16 = 0x110;
/// The same with optics, whose module has a limiting amplifier.
const LIMITING: u16 = 0x118;
/// The firmware's block.
const FIRMWARE: u16 = 0x120;
/// The block that has the firmware's version.
const PATCH: u16 = 0x130;

/// What the model makes of the core's set-up.
pub(crate) mod core {
    /// Last value of the sequence for a passive cable: the core is then ready for it. The meaning is this model's own; K
    /// writes what it finds.
    pub(crate) const LINEAR: u16 = 0x7D01;
    /// The same for everything else.
    pub(crate) const LIMITING: u16 = 0x7D02;
}

pub(super) const TRAITS: Traits = Traits {
    device_id: 0x10FB,
    vf_device_id: 0x10ED,
    cage: true,
    x540: false,
    x550: false,
    registers: &[
        // 10 Gb/s serial, 1 Gb/s as SFI. From a dump of an X520 as far as remembered; only these fields matter here.
        (regs::AUTOC, 0xC09C_0004 | regs::AUTOC_LMS_10G_SERIAL),
        (regs::AUTOC2, 0x8_0000 | regs::AUTOC2_10G_SFI),
    ],
    eeprom: &[&[
        (0x0F, FIRMWARE),
        (0x2B, LIST),
        (LIST as usize, 9),
        // Pairs: sfp_type of K (enum ixgbe_sfp_type), and where its sequence stands. Core 0 and core 1 are the two ports.
        (LIST as usize + 1, 3),
        (LIST as usize + 2, LINEAR),
        (LIST as usize + 3, 4),
        (LIST as usize + 4, LINEAR),
        (LIST as usize + 5, 5),
        (LIST as usize + 6, LIMITING),
        (LIST as usize + 7, 6),
        (LIST as usize + 8, LIMITING),
        (LIST as usize + 9, 0xFFFF),
        (LINEAR as usize, 3),
        (LINEAR as usize + 1, 0x1E41),
        (LINEAR as usize + 2, 0x2003),
        (LINEAR as usize + 3, core::LINEAR),
        (LIMITING as usize, 3),
        (LIMITING as usize + 1, 0x1E00),
        (LIMITING as usize + 2, 0x2001),
        (LIMITING as usize + 3, core::LIMITING),
        // No LESM parameters (offset 2); the version is above that of pre-production devices (K: > 5).
        (FIRMWARE as usize + 4, PATCH),
        (PATCH as usize + 7, 0x0009),
    ]],
};
