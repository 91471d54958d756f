// SPDX-License-Identifier: GPL-2.0
//! What a PCI device id stands for. The table of the driver names one of these for each id that it
//! drives, and nothing but this file and the files that it names tells one kind of device from
//! another.

use crate::{
    chip::Chip,
    link::Media,
    phy::{
        self,
        Phy, //
    },
    regs::*,
    Delay,
    Regs, //
};

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// 82599 on a backplane of four lanes.
    Kx4,
    /// 82599 on a backplane of one lane.
    Kr,
    /// 82599 on a backplane of either kind, or XAUI without PHY.
    Backplane,
    /// 82599 with CX4.
    Cx4,
    /// 82599 with a cage for an SFP+ module.
    Sfp,
    /// X540 with a copper PHY.
    X540,
    /// X550 likewise.
    X550,
}

impl Board {
    /// By PCI device id (`ixgbe_get_media_type_82599`).
    ///
    /// # Errors
    /// What is missing to drive it.
    pub const fn of_device(id: u16) -> Result<Self, &'static str> {
        Ok(match id {
            // The second on a mezzanine.
            0x10F7 | 0x1514 => Self::Kx4,
            0x1517 => Self::Kr,
            // Both kinds, the second with FCoE; XAUI.
            0x10F8 | 0x152A | 0x10FC => Self::Backplane,
            0x10F9 => Self::Cx4,
            // 82599ES; with FCoE; EM; SF2; 82599EN; four ports.
            0x10FB | 0x1529 | 0x1507 | 0x154D | 0x1557 | 0x154A => Self::Sfp,
            // Two ports; one.
            0x1528 | 0x1560 => Self::X540,
            0x1563 | 0x15D1 => Self::X550,
            0x1558 => return Err("QSFP+ modules are not supported yet"),
            0x154F => return Err("fibre without control of its laser is not supported yet"),
            0x151C => return Err("copper PHYs are not supported yet"),
            _ => return Err("neither an 82599 nor an X540 nor an X550"),
        })
    }

    /// The chip on it.
    pub const fn chip(self) -> Chip {
        match self {
            Self::Kx4 | Self::Kr | Self::Backplane | Self::Cx4 | Self::Sfp => Chip::I82599,
            Self::X540 => Chip::X540,
            Self::X550 => Chip::X550,
        }
    }

    /// It has a cage: [`crate::cage`], [`crate::sfp`].
    pub const fn has_cage(self) -> bool {
        matches!(self, Self::Sfp)
    }

    /// What its link runs over; looks for the PHY if there is to be one.
    ///
    /// # Errors
    /// As [`Phy::find`].
    pub fn media(self, io: &(impl Regs + Delay)) -> Result<Media, phy::Error> {
        Ok(match self {
            Self::Kx4 | Self::Kr | Self::Backplane | Self::Cx4 => Media::Backplane,
            Self::Sfp => Media::Fiber,
            Self::X540 | Self::X550 => Media::Copper(Phy::find(io, self.chip())?),
        })
    }

    /// Pins that interrupt, as bits of GPIE: a signal that comes, a module that comes.
    pub const fn gpie(self) -> u32 {
        if self.has_cage() {
            SDP1_GPIEN | SDP2_GPIEN
        } else {
            0
        }
    }

    /// The causes that these raise, and that of a thermal sensor.
    pub const fn causes(self) -> u32 {
        match self {
            Self::Sfp => EICR_GPI_SDP1 | EICR_GPI_SDP2,
            Self::X540 | Self::X550 => EICR_TS,
            Self::Kx4 | Self::Kr | Self::Backplane | Self::Cx4 => 0,
        }
    }
}
