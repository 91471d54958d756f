// SPDX-License-Identifier: GPL-2.0
//! The cage of an SFP+ module: I2CCTL, the pins behind ESDP, and the link that depends on both.
//!
//! Pins, as K uses them: SDP1 in, the module receives a signal; SDP2 in, a module is there; SDP3 out, TX_DISABLE; SDP5 out,
//! rate select. An input that rises raises its cause in EICR if GPIE says so.

pub(crate) mod i2c;
pub(crate) mod module;

use libixgbe::regs;

use crate::chip::sfp_core;
use crate::host::Host;
use crate::Device;
use i2c::Bus;
use module::{Kind, Module, Speeds};

/// Pins that the board drives.
const INPUTS: u32 = regs::ESDP_SDP0 | regs::ESDP_SDP1 | regs::ESDP_SDP2;

/// The cage and what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Cage {
    pub(crate) module: Module,
    pub(crate) bus: Bus,
    /// What the partner at the other end of the cable can do.
    partner: Speeds,
    /// Last value of the core's set-up. It is analog and outlives a reset of the MAC: a choice, nothing public says so.
    core: u16,
    /// Link as it was last told.
    was_up: bool,
}

impl Cage {
    pub(crate) fn new(kind: Kind, partner: Speeds) -> Self {
        Self {
            module: Module::new(kind),
            bus: Bus::default(),
            partner,
            core: 0,
            was_up: false,
        }
    }
}

impl Device {
    /// ESDP: pins that the board drives, and the rest as written.
    pub(crate) fn pins(&self) -> u32 {
        let value = self.regs.get(regs::ESDP);
        let Some(cage) = &self.cage else {
            return value;
        };
        let there = cage.module.kind() != Kind::None;
        value & !INPUTS
            | if there { regs::ESDP_SDP2 } else { 0 }
            | if self.signal() { regs::ESDP_SDP1 } else { 0 }
    }

    /// Writes ESDP.
    pub(crate) fn write_pins(&mut self, host: &mut dyn Host, value: u32) {
        self.regs.set(regs::ESDP, value);
        self.link_moved(host);
    }

    /// I2CCTL; storage where there is no bus.
    pub(crate) fn i2c_read(&self) -> u32 {
        let value = self.regs.get(regs::I2CCTL);
        let Some(cage) = &self.cage else {
            return value;
        };
        let (scl, sda) = cage.bus.levels();
        value & !(regs::I2CCTL_CLK_IN | regs::I2CCTL_DATA_IN)
            | if scl { regs::I2CCTL_CLK_IN } else { 0 }
            | if sda { regs::I2CCTL_DATA_IN } else { 0 }
    }

    /// Writes it.
    pub(crate) fn i2c_write(&mut self, value: u32) {
        self.regs.set(regs::I2CCTL, value);
        if let Some(cage) = &mut self.cage {
            let (scl, sda) = (
                value & regs::I2CCTL_CLK_OUT != 0,
                value & regs::I2CCTL_DATA_OUT != 0,
            );
            cage.bus.drive(scl, sda, &mut cage.module);
        }
    }

    /// CORECTL was written.
    pub(crate) fn core_written(&mut self, host: &mut dyn Host, value: u32) {
        if let Some(cage) = &mut self.cage {
            cage.core = (value & 0xFFFF) as u16;
        }
        self.link_moved(host);
    }

    /// What a reset of the PF leaves: pins and bus as the EEPROM and the board have them.
    pub(crate) fn reset_cage(&mut self) {
        if self.cage.is_none() {
            return;
        }
        // Outputs by the EEPROM: TX_DISABLE low, so that the laser is on. A choice: K switches it off after a reset.
        self.regs.set(regs::ESDP, 8 << 8);
        self.i2c_write(regs::I2CCTL_CLK_OUT | regs::I2CCTL_DATA_OUT);
        let up = self.link_up();
        if let Some(cage) = &mut self.cage {
            cage.was_up = up;
        }
    }

    /// The partner's signal reaches the module.
    fn signal(&self) -> bool {
        self.link
            && self
                .cage
                .as_ref()
                .is_some_and(|cage| !matches!(cage.module.kind(), Kind::None | Kind::Broken))
    }

    /// Speed of the link through the module, if it comes about.
    fn module_speed(&self) -> Option<u32> {
        let cage = self.cage.as_ref()?;
        let esdp = self.regs.get(regs::ESDP);
        let module = &cage.module;
        let dark = esdp & regs::ESDP_SDP3 != 0;
        let core = if module.linear() {
            sfp_core::LINEAR
        } else {
            sfp_core::LIMITING
        };
        if !self.signal() || !module.sends(dark) || cage.core != core {
            return None;
        }
        // Pulled up on the board as long as nobody drives it.
        let driven = esdp & regs::ESDP_SDP5_DIR != 0;
        let speeds = module.speeds(!driven || esdp & regs::ESDP_SDP5 != 0);
        let autoc = self.regs.get(regs::AUTOC);
        let sfi_10g = self.regs.get(regs::AUTOC2) & regs::AUTOC2_10G_SERIAL_PMA_PMD_MASK
            == regs::AUTOC2_10G_SFI;
        let sfi_1g = autoc & regs::AUTOC_1G_PMA_PMD_MASK == regs::AUTOC_1G_SFI;
        match autoc & regs::AUTOC_LMS_MASK {
            regs::AUTOC_LMS_10G_SERIAL if sfi_10g && speeds.ten && cage.partner.ten => {
                Some(regs::LINKS_SPEED_10G_82599)
            }
            regs::AUTOC_LMS_1G_AN | regs::AUTOC_LMS_1G_LINK_NO_AN
                if sfi_1g && speeds.one && cage.partner.one =>
            {
                Some(regs::LINKS_SPEED_1G_82599)
            }
            _ => None,
        }
    }

    /// LINKS' field of the speed, or `None` without a link.
    pub(crate) fn link_speed(&self) -> Option<u32> {
        if self.phy.is_some() {
            return self.phy_speed();
        }
        if self.regs.any(regs::AUTOC, regs::AUTOC_FLU) {
            return Some(regs::LINKS_SPEED_10G_82599);
        }
        if self.regs.any(regs::AUTOC2, regs::AUTOC2_LINK_DISABLE_MASK) {
            return None;
        }
        match self.cage {
            Some(_) => self.module_speed(),
            None => self.link.then_some(regs::LINKS_SPEED_10G_82599),
        }
    }

    /// Something changed on which the link through a module or a PHY depends.
    pub(crate) fn link_moved(&mut self, host: &mut dyn Host) {
        self.phy_moved(host);
        let up = self.link_up();
        let signal = self.signal();
        let tx_disable = self.regs.any(regs::ESDP, regs::ESDP_SDP3);
        let Some(cage) = &mut self.cage else {
            return;
        };
        cage.module.tx_disable = tx_disable;
        cage.module.light = signal;
        if cage.was_up != up {
            cage.was_up = up;
            self.misc_event(host, regs::EICR_LSC);
            self.resume_all(host);
        }
    }

    /// A change from outside: tells of pins that rose.
    fn outside(&mut self, host: &mut dyn Host, change: impl FnOnce(&mut Self)) {
        let before = self.pins();
        change(self);
        let rose = self.pins() & !before;
        self.link_moved(host);
        for (pin, enable, cause) in [
            (regs::ESDP_SDP1, regs::SDP1_GPIEN, regs::EICR_GPI_SDP1),
            (regs::ESDP_SDP2, regs::SDP2_GPIEN, regs::EICR_GPI_SDP2),
        ] {
            if rose & pin != 0 && self.regs.any(regs::GPIE, enable) {
                self.misc_event(host, cause);
            }
        }
    }

    /// Whether the speeds of the partner at the other end of the cable matter.
    pub fn has_partner(&self) -> bool {
        self.cage.is_some() || self.phy.is_some()
    }

    /// Whether the device has a cage.
    pub fn has_cage(&self) -> bool {
        self.cage.is_some()
    }

    /// What is in the cage.
    pub fn module(&self) -> Kind {
        self.cage
            .as_ref()
            .map_or(Kind::None, |cage| cage.module.kind())
    }

    /// Puts another module into the cage, or takes the one away.
    pub fn set_module(&mut self, host: &mut dyn Host, kind: Kind) {
        // Out first: two modules are never there at once, and the pin falls in between.
        for kind in [Kind::None, kind] {
            self.outside(host, |device| {
                if let Some(cage) = &mut device.cage {
                    cage.module = Module::new(kind);
                    cage.bus.release();
                }
            });
        }
    }

    /// The partner at the other end has other speeds now. Its signal goes and comes back, as that of a port that is
    /// set up anew.
    pub fn set_partner(&mut self, host: &mut dyn Host, speeds: Speeds) {
        self.phy_partner(host, speeds);
        let Some(cage) = &mut self.cage else {
            return;
        };
        cage.partner = speeds;
        let link = self.link;
        for up in [false, link] {
            self.outside(host, |device| device.link = up);
        }
    }

    /// The cable was plugged or unplugged.
    pub fn set_link(&mut self, host: &mut dyn Host, up: bool) {
        if self.link == up {
            return;
        }
        if self.cage.is_some() {
            self.outside(host, |device| device.link = up);
        } else if self.phy.is_some() {
            self.link = up;
            self.phy_moved(host);
        } else {
            self.link = up;
            self.misc_event(host, regs::EICR_LSC);
            self.resume_all(host);
        }
    }
}
