// SPDX-License-Identifier: GPL-2.0
//! Which chip of the family the device is. What differs between them has one file each.

mod kx4;
mod sfp;
mod x540;
mod x550;

pub(crate) use sfp::core as sfp_core;

use std::str::FromStr;

/// What a chip has that another one has not.
pub(crate) struct Traits {
    /// PCI device id of the PF.
    pub(crate) device_id: u16,
    /// PCI device id of the VFs.
    pub(crate) vf_device_id: u16,
    /// It has a cage for a module, with an I2C bus and pins.
    pub(crate) cage: bool,
    /// It is of the generation after the 82599: a copper PHY behind MDIO, semaphores of its own, the frame limit of a
    /// queue, no AUTOC.
    pub(crate) x540: bool,
    /// It is an X550: beside that, commands to firmware, which alone reads the EEPROM, RSS of each pool, and checks of what
    /// VFs send.
    pub(crate) x550: bool,
    /// Registers whose value after a reset is not that of [`crate::regs_file`].
    pub(crate) registers: &'static [(u32, u32)],
    /// Words of the EEPROM likewise; what [`crate::eeprom`] has comes first.
    pub(crate) eeprom: &'static [&'static [(usize, u16)]],
}

/// A chip, as `chip=` of the QEMU device names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chip {
    /// `kx4`: 82599 on a backplane, without PHY and without module.
    #[default]
    Kx4,
    /// `sfp`: 82599 with a cage for an SFP+ module.
    Sfp,
    /// `x540`: X540 with a copper PHY, of two ports.
    X540,
    /// `x540-at1`: the same, of one port.
    X540At1,
    /// `x550`: X550 with a copper PHY, of two ports.
    X550,
    /// `x550-at1`: the same, of one port.
    X550At1,
}

impl Chip {
    pub(crate) fn traits(self) -> &'static Traits {
        match self {
            Self::Kx4 => &kx4::TRAITS,
            Self::Sfp => &sfp::TRAITS,
            Self::X540 => &x540::TRAITS,
            Self::X540At1 => &x540::AT1,
            Self::X550 => &x550::TRAITS,
            Self::X550At1 => &x550::AT1,
        }
    }

    /// PCI device id of the PF.
    pub fn device_id(self) -> u16 {
        self.traits().device_id
    }

    /// PCI device id of the VFs.
    pub fn vf_device_id(self) -> u16 {
        self.traits().vf_device_id
    }
}

impl FromStr for Chip {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "kx4" => Ok(Self::Kx4),
            "sfp" => Ok(Self::Sfp),
            "x540" => Ok(Self::X540),
            "x540-at1" => Ok(Self::X540At1),
            "x550" => Ok(Self::X550),
            "x550-at1" => Ok(Self::X550At1),
            _ => Err(format!("unknown chip {text:?}")),
        }
    }
}
