// SPDX-License-Identifier: GPL-2.0
//! The copper PHY of the X540 and X550 behind MSCA and MSRWD (clause 45), and the link that it negotiates.
//!
//! Commands complete at once. A command by who does not hold the port's bit of SW_FW_SYNC reads all ones and writes
//! nothing, so that a driver that forgets it fails.

use std::collections::BTreeMap;

use libixgbe::regs;

use crate::cage::module::Speeds;
use crate::chip::Chip;
use crate::host::Host;
use crate::Device;

/// The PHY's address on the bus is the port's number: a choice that makes drivers look.
fn address(port: u8) -> u32 {
    u32::from(port & 1)
}

/// Revision of the X540's PHY, the last four bits of its identity. Chosen.
const REVISION: u16 = 2;
/// Devices of the package that are there.
const DEVICES: [u8; 5] = [
    regs::MMD_PMAPMD,
    regs::MMD_PCS,
    regs::MMD_PHYXS,
    regs::MMD_AN,
    regs::MMD_VEND1,
];
/// Status of 10GBASE-T in the device that negotiates: the partner can do it (IEEE 802.3, 45.2.7.11).
const AN_10GBT_STAT: u16 = 33;
const AN_10GBT_STAT_LP10G: u16 = 0x0800;

/// What is kept over a reset of the MAC; the PHY has one of its own.
#[derive(Clone, Debug)]
pub(crate) struct Phy {
    /// Register that the last address cycle named.
    at: Option<(u8, u16)>,
    /// MSRWD.
    data: u32,
    words: BTreeMap<(u8, u16), u16>,
    partner: Speeds,
    /// It knows 2.5 and 5 Gb/s.
    x550: bool,
    /// What was advertised when negotiation last began.
    offered: Speeds,
    was_up: bool,
}

impl Phy {
    pub(crate) fn new(partner: Speeds, chip: Chip) -> Self {
        let mut phy = Self {
            at: None,
            data: 0,
            words: BTreeMap::new(),
            partner,
            x550: chip.traits().x550,
            offered: Speeds::default(),
            was_up: false,
        };
        phy.reset();
        phy
    }

    /// As it comes out of its reset: everything is advertised, pauses are not.
    fn reset(&mut self) {
        self.words = BTreeMap::from([
            ((regs::MMD_AN, regs::MDIO_CTRL1), 0x1000),
            (
                (regs::MMD_AN, regs::MDIO_AN_ADVERTISE),
                1 | regs::ADVERTISE_100FULL,
            ),
            (
                (regs::MMD_AN, regs::MDIO_AN_10GBT_CTRL),
                regs::MDIO_AN_10GBT_CTRL_ADV10G,
            ),
            (
                (regs::MMD_AN, regs::MII_AUTONEG_VENDOR_PROVISION_1),
                regs::MII_1GBASE_T_ADVERTISE,
            ),
        ]);
        self.negotiate();
    }

    /// Its identity with its revision.
    fn id(&self) -> u32 {
        if self.x550 {
            regs::X550_PHY_ID
        } else {
            regs::X540_PHY_ID | u32::from(REVISION)
        }
    }

    fn word(&self, at: (u8, u16)) -> u16 {
        self.words.get(&at).copied().unwrap_or(0)
    }

    fn an(&self, register: u16) -> u16 {
        self.word((regs::MMD_AN, register))
    }

    /// Takes over what is advertised.
    fn negotiate(&mut self) {
        let vendor = self.an(regs::MII_AUTONEG_VENDOR_PROVISION_1);
        self.offered = Speeds {
            hundred: self.an(regs::MDIO_AN_ADVERTISE) & regs::ADVERTISE_100FULL != 0,
            one: vendor & regs::MII_1GBASE_T_ADVERTISE != 0,
            two_and_a_half: self.x550 && vendor & regs::MII_2_5GBASE_T_ADVERTISE != 0,
            five: self.x550 && vendor & regs::MII_5GBASE_T_ADVERTISE != 0,
            ten: self.an(regs::MDIO_AN_10GBT_CTRL) & regs::MDIO_AN_10GBT_CTRL_ADV10G != 0,
        };
    }

    /// LINKS' field of the highest speed that both sides have.
    fn speed(&self) -> Option<u32> {
        let low_power = self.word((regs::MMD_VEND1, regs::MDIO_CTRL1)) & regs::MDIO_PHY_LOW_POWER;
        let (we, they) = (self.offered, self.partner);
        match low_power {
            0 if we.ten && they.ten => Some(regs::LINKS_SPEED_10G_82599),
            0 if we.five && they.five => {
                Some(regs::LINKS_SPEED_100_82599 | regs::LINKS_SPEED_NON_STD)
            }
            0 if we.two_and_a_half && they.two_and_a_half => {
                Some(regs::LINKS_SPEED_10G_82599 | regs::LINKS_SPEED_NON_STD)
            }
            0 if we.one && they.one => Some(regs::LINKS_SPEED_1G_82599),
            0 if we.hundred && they.hundred => Some(regs::LINKS_SPEED_100_82599),
            _ => None,
        }
    }

    fn read(&self, at: (u8, u16), up: bool) -> u16 {
        let (device, register) = at;
        if !DEVICES.contains(&device) {
            return 0xFFFF;
        }
        let if_up = |bits: u16| if up { bits } else { 0 };
        let devices: u32 = DEVICES.iter().map(|device| 1 << device).sum();
        match (device, register) {
            (_, regs::MDIO_DEVID1) => (self.id() >> 16) as u16,
            (_, regs::MDIO_DEVID2) => (self.id() & 0xFFFF) as u16,
            (_, regs::MDIO_DEVS1) => (devices & 0xFFFF) as u16,
            (_, regs::MDIO_DEVS2) => (devices >> 16) as u16,
            (regs::MMD_PMAPMD | regs::MMD_PCS | regs::MMD_PHYXS, regs::MDIO_STAT2) => {
                regs::MDIO_STAT2_DEVPRST_VAL
            }
            (regs::MMD_PMAPMD, regs::MDIO_SPEED) => {
                regs::MDIO_SPEED_10G | regs::MDIO_PMA_SPEED_1000 | regs::MDIO_PMA_SPEED_100
            }
            (regs::MMD_PMAPMD, regs::MDIO_PMA_EXTABLE) => {
                regs::MDIO_PMA_EXTABLE_10GBT | regs::MDIO_PMA_EXTABLE_1000BT
            }
            (regs::MMD_AN, regs::MDIO_STAT1) => {
                if_up(regs::MDIO_STAT1_LSTATUS | regs::MDIO_AN_STAT1_COMPLETE)
            }
            (regs::MMD_PMAPMD | regs::MMD_PCS | regs::MMD_PHYXS, regs::MDIO_STAT1) => {
                if_up(regs::MDIO_STAT1_LSTATUS)
            }
            // The partner has both pause bits.
            (regs::MMD_AN, regs::MDIO_AN_LPA) => {
                let hundred = if self.partner.hundred {
                    regs::ADVERTISE_100FULL
                } else {
                    0
                };
                if_up(1 | regs::TAF_SYM_PAUSE | regs::TAF_ASM_PAUSE | hundred)
            }
            (regs::MMD_AN, AN_10GBT_STAT) if self.partner.ten => if_up(AN_10GBT_STAT_LP10G),
            _ => self.word(at),
        }
    }

    /// Whether negotiation began.
    fn write(&mut self, at: (u8, u16), value: u16) -> bool {
        match at {
            (regs::MMD_PMAPMD | regs::MMD_PHYXS, regs::MDIO_CTRL1)
                if value & regs::MDIO_CTRL1_RESET != 0 =>
            {
                self.reset();
                return true;
            }
            (regs::MMD_AN, regs::MDIO_CTRL1) => {
                self.words.insert(at, value & !regs::MDIO_AN_CTRL1_RESTART);
                if value & regs::MDIO_AN_CTRL1_RESTART != 0 {
                    self.negotiate();
                    return true;
                }
            }
            (_, 1..=8) => {}
            (device, _) if DEVICES.contains(&device) => {
                self.words.insert(at, value);
            }
            _ => {}
        }
        false
    }
}

impl Device {
    /// MSRWD: all ones where nobody drives the bus.
    pub(crate) fn mdio_data(&self) -> u32 {
        self.phy
            .as_ref()
            .map_or(0xFFFF << regs::MSRWD_READ_DATA_SHIFT, |phy| phy.data)
    }

    /// Writes MSRWD.
    pub(crate) fn mdio_set_data(&mut self, value: u32) {
        if let Some(phy) = &mut self.phy {
            phy.data = value & 0xFFFF;
        }
    }

    /// Writes MSCA.
    pub(crate) fn mdio_command(&mut self, host: &mut dyn Host, value: u32) {
        self.regs.set(regs::MSCA, value & !regs::MSCA_MDI_COMMAND);
        if value & regs::MSCA_MDI_COMMAND == 0 {
            return;
        }
        let port = self.config.port;
        let held = self.holds(if port & 1 == 0 {
            regs::GSSR_PHY0_SM
        } else {
            regs::GSSR_PHY1_SM
        });
        let up = self.link_up();
        let Some(phy) = &mut self.phy else {
            return;
        };
        let ours = held
            && value & regs::MSCA_OLD_PROTOCOL == 0
            && (value & regs::MSCA_PHY_ADDR_MASK) >> regs::MSCA_PHY_ADDR_SHIFT == address(port);
        let device = ((value & regs::MSCA_DEV_TYPE_MASK) >> regs::MSCA_DEV_TYPE_SHIFT) as u8;
        match value & regs::MSCA_READ {
            regs::MSCA_ADDR_CYCLE => {
                let register = (value & regs::MSCA_NP_ADDR_MASK) as u16;
                phy.at = ours.then_some((device, register));
            }
            regs::MSCA_READ => {
                let word = match phy.at {
                    Some(at) if ours && at.0 == device => phy.read(at, up),
                    _ => 0xFFFF,
                };
                phy.data = phy.data & 0xFFFF | u32::from(word) << regs::MSRWD_READ_DATA_SHIFT;
            }
            regs::MSCA_WRITE => {
                let word = (phy.data & 0xFFFF) as u16;
                let begun = match phy.at {
                    Some(at) if ours && at.0 == device => phy.write(at, word),
                    _ => false,
                };
                if begun {
                    // The link goes and comes back at once.
                    phy.was_up = false;
                    self.misc_event(host, regs::EICR_LSC);
                }
                self.phy_moved(host);
            }
            // Read with increment: K has it for clause 22 alone.
            _ => {}
        }
    }

    /// What a reset of the MAC leaves of the PHY: all, its link too. That is a choice.
    pub(crate) fn reset_phy(&mut self) {
        let up = self.link_up();
        if let Some(phy) = &mut self.phy {
            phy.was_up = up;
        }
    }

    /// Speed of the link through the PHY.
    pub(crate) fn phy_speed(&self) -> Option<u32> {
        if self.regs.any(regs::MACC, regs::MACC_FLU) {
            return Some(regs::LINKS_SPEED_10G_82599);
        }
        self.phy
            .as_ref()
            .filter(|_| self.link)
            .and_then(|phy| phy.speed())
    }

    /// Something changed on which the link depends.
    pub(crate) fn phy_moved(&mut self, host: &mut dyn Host) {
        let up = self.link_up();
        let Some(phy) = &mut self.phy else {
            return;
        };
        if phy.was_up != up {
            phy.was_up = up;
            self.misc_event(host, regs::EICR_LSC);
            self.resume_all(host);
        }
    }

    /// The partner has other speeds now, and negotiates.
    pub(crate) fn phy_partner(&mut self, host: &mut dyn Host, speeds: Speeds) {
        if let Some(phy) = &mut self.phy {
            phy.partner = speeds;
            phy.was_up = false;
            self.misc_event(host, regs::EICR_LSC);
            self.phy_moved(host);
        }
    }

    /// The chip is too hot (EICR.TS), for tests.
    pub fn overheat(&mut self, host: &mut dyn Host) {
        if self.regs.any(regs::FWSM, regs::FWSM_TS_ENABLED) {
            self.misc_event(host, regs::EICR_TS);
        }
    }
}
