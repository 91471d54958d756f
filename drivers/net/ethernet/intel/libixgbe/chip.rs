// SPDX-License-Identifier: GPL-2.0
//! What differs between the chips of the family. The PCI table's [`crate::board::Board`] says which one a device is, and
//! nothing but this file asks. What another chip than the 82599 does has a file of its own below.

mod x540;
mod x550;

use crate::{
    eeprom::{
        self,
        Error, //
    },
    io::poll,
    link,
    mac,
    mbx::pf::{
        self,
        Events, //
    },
    regs::*,
    Delay,
    Regs, //
};

/// A chip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chip {
    /// 82599.
    #[default]
    I82599,
    /// X540, with a copper PHY.
    X540,
    /// X550, likewise.
    X550,
}

/// Delays in bit times, by which flow control's water marks go (802.1Qbb, Annex O).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// Of the MAC, its interface and the PHY (`IXGBE_ID`, `IXGBE_ID_X540`).
    pub interface: u32,
    /// How often the low mark counts (`IXGBE_LOW_DV`, `IXGBE_LOW_DV_X540`).
    pub low: u32,
}

impl Chip {
    /// PCI device id of its VFs: states of VFs move between the same alone.
    pub const fn vf_device(self) -> u16 {
        match self {
            Self::I82599 => 0x10ED,
            Self::X540 => 0x1515,
            Self::X550 => 0x1565,
        }
    }

    /// The chip that a VF with this PCI device id is of.
    pub const fn of_vf(device: u16) -> Option<Self> {
        match device {
            0x10ED => Some(Self::I82599),
            0x1515 => Some(Self::X540),
            0x1565 => Some(Self::X550),
            _ => None,
        }
    }

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I82599 => "82599",
            Self::X540 => "X540",
            Self::X550 => "X550",
        }
    }

    /// Frees what a driver that died may have left locked (`init_swfw_sync`), before anything else.
    pub fn init_semaphores(self, io: &(impl Regs + Delay)) {
        match self {
            // Its semaphores free themselves, see `eeprom::acquire_swfw_sync`.
            Self::I82599 => {}
            Self::X540 | Self::X550 => x540::init(io),
        }
    }

    /// Takes the `GSSR_*` resources of `mask` from firmware and other functions.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn acquire(self, io: &(impl Regs + Delay), mask: u32) -> Result<(), Error> {
        match self {
            Self::I82599 => eeprom::acquire_swfw_sync(io, mask),
            Self::X540 | Self::X550 => x540::acquire(io, mask),
        }
    }

    /// Gives them back.
    pub fn release(self, io: &(impl Regs + Delay), mask: u32) {
        match self {
            Self::I82599 => eeprom::release_swfw_sync(io, mask),
            Self::X540 | Self::X550 => x540::release(io, mask),
        }
    }

    /// Words of the EEPROM, 0 if there is none.
    pub fn eeprom_words(self, io: &impl Regs) -> u32 {
        match self {
            Self::I82599 => eeprom::words(io),
            Self::X540 | Self::X550 => eeprom::size(io),
        }
    }

    /// Reads words of the EEPROM from `index` on.
    ///
    /// # Errors
    /// As [`eeprom::read`], and [`Error::Busy`].
    pub fn read_eeprom(
        self,
        io: &(impl Regs + Delay),
        index: u32,
        out: &mut [u16],
    ) -> Result<(), Error> {
        match self {
            Self::I82599 => eeprom::read_buffer(io, index, out),
            Self::X540 => x540::with_eeprom(io, || eeprom::read_buffer(io, index, out)),
            Self::X550 => x550::read(io, index, out),
        }
    }

    /// Compares the EEPROM's checksum word with what it must hold.
    ///
    /// # Errors
    /// [`Error::Checksum`], or as [`Chip::read_eeprom`].
    pub fn validate_eeprom(self, io: &(impl Regs + Delay)) -> Result<(), Error> {
        if self.eeprom_words(io) == 0 {
            return Err(Error::Absent);
        }
        match self {
            Self::I82599 => eeprom::validate(io),
            Self::X540 => x540::with_eeprom(io, || x540::validate(io)),
            Self::X550 => x550::validate(io),
        }
    }

    /// Identity of the EEPROM's image, shown as firmware version (`ixgbe_get_etk_id`).
    ///
    /// # Errors
    /// As [`Chip::read_eeprom`].
    pub fn etrack_id(self, io: &(impl Regs + Delay)) -> Result<u32, Error> {
        let mut words = [0; 2];
        self.read_eeprom(io, eeprom::ETK_OFF_LOW, &mut words)?;
        Ok(eeprom::etrack_id(words))
    }

    /// Resets the MAC once.
    ///
    /// # Errors
    /// [`mac::Error::ResetTimeout`], [`mac::Error::Busy`].
    pub(crate) fn reset_once(self, io: &(impl Regs + Delay)) -> Result<(), mac::Error> {
        // Of the MAC alone if the link is up, else of the link as well.
        let (which, semaphore, settle) = match self {
            Self::I82599 if link::check_link(io).up => (CTRL_RST, 0, 50),
            Self::I82599 => (CTRL_LNK_RST, 0, 50),
            Self::X540 | Self::X550 => (CTRL_RST, phy_semaphore(io), 100),
        };
        if semaphore != 0 {
            // Firmware does not use the PHY meanwhile.
            self.acquire(io, semaphore).map_err(|_| mac::Error::Busy)?;
        }
        io.write32(CTRL, io.read32(CTRL) | which);
        io.read32(STATUS);
        if semaphore != 0 {
            self.release(io, semaphore);
        }
        io.usleep(1000);
        // TIMEOUT: the datasheet says 1 ms (4.2.1.6.1), slept above; ten more looks.
        let done = poll(io, CTRL, 1, 10, |v| v & CTRL_RST_MASK == 0);
        io.msleep(settle);
        done.map(drop).map_err(|_| mac::Error::ResetTimeout)
    }

    /// Stops the receiver in the chip's own way, if it has one. Whether it stands.
    pub(crate) fn disable_rx(self, io: &(impl Regs + Delay)) -> bool {
        match self {
            Self::I82599 | Self::X540 => false,
            Self::X550 => x550::disable_rx(io),
        }
    }

    /// Each pool has RSS of its own: key, table and functions. The others share the PF's.
    pub const fn has_rss_of_pools(self) -> bool {
        matches!(self, Self::X550)
    }

    /// Blocks queues of malicious drivers, and says so: see [`crate::sriov::mdd`].
    pub const fn detects_malice(self) -> bool {
        matches!(self, Self::X550)
    }

    /// Can keep VFs from sending certain ethertypes.
    pub const fn checks_ethertypes(self) -> bool {
        matches!(self, Self::X550)
    }

    /// Entries of the redirection table while there are no pools.
    pub const fn rss_entries(self) -> u32 {
        match self {
            Self::I82599 | Self::X540 => 128,
            Self::X550 => 512,
        }
    }

    /// Looks at the link (`ixgbe_check_mac_link_generic`).
    pub fn check_link(self, io: &impl Regs) -> link::Link {
        link::check_link_with(io, self.has_nbase_t())
    }

    /// The PHY may run at 2.5 and 5 Gb/s.
    pub const fn has_nbase_t(self) -> bool {
        matches!(self, Self::X550)
    }

    /// AUTOC sets up the link, and what the EEPROM left in it is put back after a reset.
    pub const fn has_autoc(self) -> bool {
        matches!(self, Self::I82599)
    }

    /// Bytes of the Rx packet buffer.
    pub const fn rx_packet_buffer(self) -> u32 {
        match self {
            Self::I82599 => RXPBSIZE_MAX,
            Self::X540 | Self::X550 => X540_RXPBSIZE,
        }
    }

    /// What flow control goes by.
    pub const fn delays(self) -> Delays {
        match self {
            Self::I82599 => Delays {
                interface: 4096 + 2 * 1024 + 12800,
                low: 2,
            },
            Self::X540 | Self::X550 => Delays {
                interface: 8192 + 2 * 2048 + 25600,
                low: 1,
            },
        }
    }

    /// Makes the link up without one, for the loopback test (`ixgbe_setup_loopback_test`); a reset ends it. `orig_autoc` is
    /// AUTOC as the EEPROM left it.
    pub(crate) fn force_link(self, io: &impl Regs, orig_autoc: u32) {
        match self {
            Self::I82599 => io.write32(AUTOC, orig_autoc | AUTOC_FLU),
            Self::X540 | Self::X550 => io.write32(MACC, io.read32(MACC) | MACC_FLU),
        }
    }

    /// The register in which resets of VFs are read without clearing them.
    fn vflre(self, row: u32) -> u32 {
        match self {
            Self::I82599 => vflre(row),
            Self::X540 | Self::X550 => vflrec(row),
        }
    }

    /// What VFs want, without clearing it (`ixgbe_check_for_rst_pf`).
    pub fn events(self, io: &impl Regs) -> Events {
        pf::events_with(io, |row| self.vflre(row))
    }

    /// What one VF wants, without clearing it.
    pub fn events_of(self, io: &impl Regs, vf: u32) -> Events {
        pf::events_of(io, vf, |row| self.vflre(row))
    }

    /// Functions may have frames of different length: a queue can limit those of its own. The 82599 has one limit for all,
    /// so that with jumbo frames on the PF only VFs that know of them may receive (`ixgbe_set_vf_lpe`).
    pub const fn mixes_frames(self) -> bool {
        matches!(self, Self::X540 | Self::X550)
    }

    /// A VF may be promiscuous (`ixgbe_update_vf_xcast_mode`).
    pub const fn has_promiscuous_vfs(self) -> bool {
        matches!(self, Self::X540 | Self::X550)
    }

    /// VFs with bad DMA can be switched off by themselves (`IXGBE_PRIV_FLAGS_AUTO_DISABLE_VF`).
    pub const fn disables_bad_vfs(self) -> bool {
        matches!(self, Self::I82599)
    }

    /// Value of `enum ixgbe_mac_type`, by which `ethtool -d` decodes.
    pub const fn mac_type(self) -> u32 {
        match self {
            Self::I82599 => 2,
            Self::X540 => 3,
            Self::X550 => 4,
        }
    }
}

/// The number of this port on its card.
fn phy_port(io: &impl Regs) -> u32 {
    u32::from(io.read32(STATUS) & STATUS_LAN_ID != 0)
}

/// The bit of GSSR for the PHY or the I2C bus of this port.
pub(crate) fn phy_semaphore(io: &impl Regs) -> u32 {
    if io.read32(STATUS) & STATUS_LAN_ID == 0 {
        GSSR_PHY0_SM
    } else {
        GSSR_PHY1_SM
    }
}
