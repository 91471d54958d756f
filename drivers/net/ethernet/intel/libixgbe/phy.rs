// SPDX-License-Identifier: GPL-2.0
//! A copper PHY: where it is, what it can do, and what it negotiates (`ixgbe_phy.c`).
//!
//! The semaphore is taken once for all accesses that belong together, where the C driver takes it
//! for each: a link is set up in a millisecond instead of a quarter of a second, and firmware has
//! its turn all the same.

use crate::{
    chip::{
        phy_semaphore,
        Chip, //
    },
    link::{
        Capabilities,
        SPEED_100_FULL,
        SPEED_10GB_FULL,
        SPEED_1GB_FULL,
        SPEED_2_5GB_FULL,
        SPEED_5GB_FULL, //
    },
    mdio,
    regs::*,
    Delay,
    Regs, //
};

/// Why the PHY could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Nobody answers at any address.
    Absent,
    /// The bus did not end a command.
    Timeout,
    /// Firmware or the other port's driver has it.
    Busy,
}

impl From<mdio::Timeout> for Error {
    fn from(_: mdio::Timeout) -> Self {
        Self::Timeout
    }
}

/// A PHY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phy {
    chip: Chip,
    /// Bit of GSSR.
    semaphore: u32,
    /// On the bus.
    address: u32,
    /// Without the revision.
    pub id: u32,
    /// `SPEED_*` that it can do.
    speeds: u32,
}

/// The bus while the semaphore is held.
struct Held<'a, T> {
    io: &'a T,
    address: u32,
}

impl<T: Regs + Delay> Held<'_, T> {
    fn read(&self, device: u8, register: u16) -> Result<u16, Error> {
        Ok(mdio::read(self.io, self.address, device, register)?)
    }

    fn write(&self, device: u8, register: u16, value: u16) -> Result<(), Error> {
        Ok(mdio::write(self.io, self.address, device, register, value)?)
    }

    /// Replaces the bits of `mask` by those of `bits`.
    fn modify(&self, device: u8, register: u16, mask: u16, bits: u16) -> Result<(), Error> {
        let value = self.read(device, register)?;
        self.write(device, register, value & !mask | bits)
    }

    /// Whether a PHY is at this address: one of its devices says that it is there (`mdio45_probe`).
    fn answers(&self) -> Result<bool, Error> {
        for device in MMD_PMAPMD..=5 {
            let status = self.read(device, MDIO_STAT2)?;
            if status & MDIO_STAT2_DEVPRST == MDIO_STAT2_DEVPRST_VAL {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Speeds that are only offered where somebody asks for them: there are switches that cannot bear
/// it (`ixgbe_non_sfp_link_config`).
pub const NBASE_T: u32 = SPEED_2_5GB_FULL | SPEED_5GB_FULL;

/// Pauses that one side advertises: symmetric, asymmetric.
type PauseBits = (bool, bool);

impl Phy {
    /// Looks for it at each address (`ixgbe_identify_phy_generic`). A bus that does not end a
    /// command is not asked again, so that this takes some milliseconds at most.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn find(io: &(impl Regs + Delay), chip: Chip) -> Result<Self, Error> {
        let mut phy = Self {
            chip,
            semaphore: phy_semaphore(io),
            address: 0,
            id: 0,
            speeds: 0,
        };
        // Held over all addresses, or who keeps it for a second each time would make it half a
        // minute.
        let (address, id, can) = phy.with(io, |_| {
            for address in 0..MAX_PHY_ADDR {
                let bus = Held { io, address };
                if bus.answers()? {
                    let high = bus.read(MMD_PMAPMD, MDIO_DEVID1)?;
                    let low = bus.read(MMD_PMAPMD, MDIO_DEVID2)?;
                    let id = u32::from(high) << 16 | u32::from(low);
                    return Ok((address, id, bus.read(MMD_PMAPMD, MDIO_SPEED)?));
                }
            }
            Err(Error::Absent)
        })?;
        phy.address = address;
        phy.id = id & PHY_REVISION_MASK;
        for (bit, speed) in [
            (MDIO_SPEED_10G, SPEED_10GB_FULL),
            (MDIO_PMA_SPEED_1000, SPEED_1GB_FULL),
            (MDIO_PMA_SPEED_100, SPEED_100_FULL),
        ] {
            if can & bit != 0 {
                phy.speeds |= speed;
            }
        }
        if chip.has_nbase_t() {
            phy.speeds |= NBASE_T;
        }
        Ok(phy)
    }

    /// Runs `work` with the semaphore.
    fn with<T: Regs + Delay, R>(
        &self,
        io: &T,
        work: impl FnOnce(&Held<'_, T>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.chip
            .acquire(io, self.semaphore)
            .map_err(|_| Error::Busy)?;
        let address = self.address;
        let result = work(&Held { io, address });
        self.chip.release(io, self.semaphore);
        result
    }

    /// What it can do (`ixgbe_get_copper_link_capabilities_generic`).
    pub const fn capabilities(&self) -> Capabilities {
        Capabilities {
            speeds: self.speeds,
            autoneg: true,
        }
    }

    /// Offers `speeds`, or the usual ones if none of them can be had, and negotiates
    /// (`ixgbe_setup_phy_link_generic`). Does not wait for the link. Firmware may forbid to take
    /// the present one away: then what is offered counts from the next one on.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn setup_link(&self, io: &(impl Regs + Delay), speeds: u32) -> Result<(), Error> {
        let speeds = match speeds & self.speeds {
            0 => self.speeds & !NBASE_T,
            some => some,
        };
        let offered = |speed: u32, bit: u16| if speeds & speed != 0 { bit } else { 0 };
        self.with(io, |bus| {
            bus.modify(
                MMD_AN,
                MDIO_AN_10GBT_CTRL,
                MDIO_AN_10GBT_CTRL_ADV10G,
                offered(SPEED_10GB_FULL, MDIO_AN_10GBT_CTRL_ADV10G),
            )?;
            let between = if self.chip.has_nbase_t() {
                MII_5GBASE_T_ADVERTISE | MII_2_5GBASE_T_ADVERTISE
            } else {
                0
            };
            bus.modify(
                MMD_AN,
                MII_AUTONEG_VENDOR_PROVISION_1,
                MII_1GBASE_T_ADVERTISE | between,
                offered(SPEED_5GB_FULL, MII_5GBASE_T_ADVERTISE)
                    | offered(SPEED_2_5GB_FULL, MII_2_5GBASE_T_ADVERTISE)
                    | offered(SPEED_1GB_FULL, MII_1GBASE_T_ADVERTISE),
            )?;
            bus.modify(
                MMD_AN,
                MDIO_AN_ADVERTISE,
                ADVERTISE_100FULL | ADVERTISE_100HALF,
                offered(SPEED_100_FULL, ADVERTISE_100FULL),
            )?;
            if io.read32(MMNGC) & MMNGC_MNG_VETO != 0 {
                return Ok(());
            }
            let control = bus.read(MMD_AN, MDIO_CTRL1)?;
            bus.write(MMD_AN, MDIO_CTRL1, control | MDIO_AN_CTRL1_RESTART)
        })
    }

    /// Advertises pauses from the next negotiation on (`ixgbe_setup_fc_generic`).
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) fn advertise_pause(
        &self,
        io: &(impl Regs + Delay),
        (symmetric, asymmetric): PauseBits,
    ) -> Result<(), Error> {
        let bit = |on, bit: u16| if on { bit } else { 0 };
        let bits = bit(symmetric, TAF_SYM_PAUSE) | bit(asymmetric, TAF_ASM_PAUSE);
        self.with(io, |bus| {
            bus.modify(
                MMD_AN,
                MDIO_AN_ADVERTISE,
                TAF_SYM_PAUSE | TAF_ASM_PAUSE,
                bits,
            )
        })
    }

    /// What both sides advertise of pauses, `None` if that is not to be had
    /// (`ixgbe_fc_autoneg_copper`).
    pub(crate) fn pause_words(&self, io: &(impl Regs + Delay)) -> Option<(PauseBits, PauseBits)> {
        let words = self.with(io, |bus| {
            Ok((
                bus.read(MMD_AN, MDIO_AN_ADVERTISE)?,
                bus.read(MMD_AN, MDIO_AN_LPA)?,
            ))
        });
        let (ours, theirs) = words
            .ok()
            .filter(|(ours, theirs)| *ours != 0 && *theirs != 0)?;
        let bits = |word: u16| (word & TAF_SYM_PAUSE != 0, word & TAF_ASM_PAUSE != 0);
        Some((bits(ours), bits(theirs)))
    }

    /// Switches it on, or to low power without a link (`ixgbe_set_copper_phy_power`). Firmware that
    /// uses the port keeps it on.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_power(&self, io: &(impl Regs + Delay), on: bool) -> Result<(), Error> {
        let firmware = io.read32(FWSM) & FWSM_FW_MODE_PT != 0;
        if !on && (firmware || io.read32(MMNGC) & MMNGC_MNG_VETO != 0) {
            return Ok(());
        }
        let low = if on { 0 } else { MDIO_PHY_LOW_POWER };
        self.with(io, |bus| {
            bus.modify(MMD_VEND1, MDIO_CTRL1, MDIO_PHY_LOW_POWER, low)
        })
    }
}
