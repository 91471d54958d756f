// SPDX-License-Identifier: GPL-2.0
//! What is in an SFP+ cage: identification by the module's EEPROM (SFF-8472), and the set-up that
//! the device's EEPROM has for it (`ixgbe_identify_sfp_module_generic`,
//! `ixgbe_setup_sfp_modules_82599`).

use crate::{
    eeprom,
    i2c::{
        self,
        read_byte, //
    },
    link,
    regs::*,
    Delay,
    Regs, //
};

// Bytes of the module's EEPROM (`IXGBE_SFF_*`).

const IDENTIFIER: u8 = 0x00;
const IDENTIFIER_SFP: u8 = 0x03;
const CODES_10G: u8 = 0x03;
const CODES_1G: u8 = 0x06;
const CABLE_TECHNOLOGY: u8 = 0x08;
const BITRATE: u8 = 0x0C;
const LENGTH_SM_KM: u8 = 0x0E;
const LENGTH_SM_100M: u8 = 0x0F;
const VENDOR_OUI: u8 = 0x25;
const CABLE_SPEC: u8 = 0x3C;
const DIAGNOSTICS_TYPE: u8 = 0x5C;
const SFF_8472_REVISION: u8 = 0x5E;

const PASSIVE_CABLE: u8 = 0x04;
const ACTIVE_CABLE: u8 = 0x08;
const ACTIVE_LIMITING: u8 = 0x04;
const SX_1000: u8 = 0x01;
const LX_1000: u8 = 0x02;
const T_1000: u8 = 0x08;
const BX_1000: u8 = 0x40;
const SR_10G: u8 = 0x10;
const LR_10G: u8 = 0x20;
/// Of [`DIAGNOSTICS_TYPE`]: the second device is reached by a change of addresses.
const ADDRESS_CHANGE: u8 = 0x04;
/// Of [`DIAGNOSTICS_TYPE`]: there is a second device.
const DIAGNOSTICS: u8 = 0x40;

/// `IXGBE_SFF_VENDOR_OUI_INTEL`
const OUI_INTEL: [u8; 3] = [0x00, 0x1B, 0x21];

/// Tries for the first byte, of which an empty cage has none (`IXGBE_SFP_DETECT_RETRIES`).
const DETECT_TRIES: u32 = 2;
/// Tries for the bytes after it, as the C driver on later chips.
const TRIES: u32 = 3;
/// TIMEOUT: entries of the EEPROM's list, and values of a sequence, before they are taken for
/// garbage. The C driver has no limit; 19 types of modules are known.
const MOST_ENTRIES: u32 = 64;

/// Bytes of the EEPROM of a module without diagnostics (`ETH_MODULE_SFF_8079_LEN`).
pub const SFF_8079_LEN: u32 = 256;
/// Of one with (`ETH_MODULE_SFF_8472_LEN`).
pub const SFF_8472_LEN: u32 = 512;

/// Types of modules (`enum ixgbe_sfp_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Passive copper cable.
    PassiveCable,
    /// Optics for 10 Gb/s, some of which do 1 Gb/s as well.
    SrLr,
    /// Active cable with limiting amplifiers.
    ActiveCable,
    /// 1000BASE-T.
    T1000,
    /// 1000BASE-SX.
    Sx1000,
    /// 1000BASE-LX.
    Lx1000,
    /// 1000BASE-BX10.
    Bx1000,
    /// 10 Gb/s over one fibre.
    Bx10G,
    /// None of these, but nothing forbids it.
    Other,
}

impl Kind {
    /// The number that the C driver prints, which the EEPROM's list goes by. `second` port of a
    /// card: another core.
    pub const fn number(self, second: bool) -> u16 {
        let first = match self {
            Self::PassiveCable => 3,
            Self::SrLr => 5,
            Self::ActiveCable => 7,
            Self::T1000 => 9,
            Self::Sx1000 => 11,
            Self::Lx1000 => 13,
            Self::Bx1000 => 15,
            Self::Bx10G => 17,
            Self::Other => return 0xFFFF,
        };
        if second {
            first + 1
        } else {
            first
        }
    }

    /// 1 Gb/s and nothing else.
    pub const fn is_1g(self) -> bool {
        matches!(
            self,
            Self::T1000 | Self::Sx1000 | Self::Lx1000 | Self::Bx1000
        )
    }
}

/// A module that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// What it is.
    pub kind: Kind,
    /// It does 1 and 10 Gb/s, and the rate select pin chooses.
    pub multispeed: bool,
    /// It is not one that Intel tested, and was let in by the administrator.
    pub untested: bool,
}

/// Why a module may not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no SFP.
    Identifier(u8),
    /// No type that the 82599 can drive.
    Type,
    /// Another vendor's.
    Vendor([u8; 3]),
    /// The device's EEPROM has no set-up for it.
    NotInList,
}

/// What is in a cage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nobody has looked.
    Unknown,
    /// Nothing that answers.
    Empty,
    /// A module that gets no link.
    Refused(Refusal),
    /// A module.
    Module(Module),
}

impl Found {
    /// The module that can be used.
    pub const fn module(self) -> Option<Module> {
        match self {
            Self::Module(module) => Some(module),
            _ => None,
        }
    }

    /// Whether there is a choice of speeds.
    pub const fn is_multispeed(self) -> bool {
        matches!(
            self,
            Self::Module(Module {
                multispeed: true,
                ..
            })
        )
    }
}

/// Which port of a card this is, with its bit of the semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The second one.
    pub second: bool,
}

impl Port {
    /// By STATUS (`ixgbe_set_lan_id_multi_port_pcie`).
    pub fn new(io: &impl Regs) -> Self {
        Self {
            second: io.read32(STATUS) & STATUS_LAN_ID != 0,
        }
    }

    const fn semaphore(self) -> u32 {
        if self.second {
            GSSR_PHY1_SM
        } else {
            GSSR_PHY0_SM
        }
    }

    fn byte(self, io: &(impl Regs + Delay), offset: u8) -> Result<u8, i2c::Error> {
        read_byte(io, self.semaphore(), i2c::MODULE, offset, TRIES)
    }

    /// Reads the module. `any` allows those of every vendor.
    pub fn identify(self, io: &(impl Regs + Delay), any: bool) -> Found {
        // A module that does not answer is none: so the C driver has it.
        self.try_identify(io, any).unwrap_or(Found::Empty)
    }

    fn try_identify(self, io: &(impl Regs + Delay), any: bool) -> Result<Found, i2c::Error> {
        let byte = |offset| self.byte(io, offset);
        let id = read_byte(io, self.semaphore(), i2c::MODULE, IDENTIFIER, DETECT_TRIES)?;
        if id != IDENTIFIER_SFP {
            return Ok(Found::Refused(Refusal::Identifier(id)));
        }
        let codes_1g = byte(CODES_1G)?;
        let codes_10g = byte(CODES_10G)?;
        let cable = byte(CABLE_TECHNOLOGY)?;
        let bitrate = byte(BITRATE)?;
        let ten = codes_10g & (SR_10G | LR_10G) != 0;
        let kind = if cable & PASSIVE_CABLE != 0 {
            Kind::PassiveCable
        } else if cable & ACTIVE_CABLE != 0 {
            if byte(CABLE_SPEC)? & ACTIVE_LIMITING != 0 {
                Kind::ActiveCable
            } else {
                Kind::Other
            }
        } else if ten {
            Kind::SrLr
        } else if codes_1g & T_1000 != 0 {
            Kind::T1000
        } else if codes_1g & SX_1000 != 0 {
            Kind::Sx1000
        } else if codes_1g & LX_1000 != 0 {
            Kind::Lx1000
        } else if codes_1g & BX_1000 != 0 && bitrate == 0x0D {
            // BX10 of Ethernet: 1.25 Gb/s, by convention rounded up.
            Kind::Bx1000
        } else if codes_10g == 0
            && bitrate == 0x67
            && (byte(LENGTH_SM_KM)? > 0 || byte(LENGTH_SM_100M)? >= 10)
        {
            // Single mode over a kilometre at least.
            Kind::Bx10G
        } else {
            Kind::Other
        };
        let mut oui = [0; 3];
        for (to, offset) in oui.iter_mut().zip(VENDOR_OUI..) {
            *to = byte(offset)?;
        }
        let multispeed = codes_1g & SX_1000 != 0 && codes_10g & SR_10G != 0
            || codes_1g & LX_1000 != 0 && codes_10g & LR_10G != 0;
        let mut module = Module {
            kind,
            multispeed,
            untested: false,
        };
        if cable & (PASSIVE_CABLE | ACTIVE_CABLE) != 0 || kind.is_1g() || kind == Kind::Bx10G {
            return Ok(Found::Module(module));
        }
        if codes_10g == 0 {
            return Ok(Found::Refused(Refusal::Type));
        }
        if oui == OUI_INTEL || allows_any(io) {
            return Ok(Found::Module(module));
        }
        if !any {
            return Ok(Found::Refused(Refusal::Vendor(oui)));
        }
        module.untested = true;
        Ok(Found::Module(module))
    }

    /// Length of the module's EEPROM (`ixgbe_get_module_info`): with diagnostics if it has them.
    ///
    /// # Errors
    /// As [`read_byte`].
    pub fn eeprom_len(self, io: &(impl Regs + Delay)) -> Result<u32, i2c::Error> {
        let revision = self.byte(io, SFF_8472_REVISION)?;
        let kind = self.byte(io, DIAGNOSTICS_TYPE)?;
        let plain = revision == 0 || kind & ADDRESS_CHANGE != 0 || kind & DIAGNOSTICS == 0;
        Ok(if plain { SFF_8079_LEN } else { SFF_8472_LEN })
    }

    /// Reads the module's EEPROM from `offset` on: the first device, then the second
    /// (`ixgbe_get_module_eeprom`).
    ///
    /// # Errors
    /// As [`read_byte`].
    pub fn read_eeprom(
        self,
        io: &(impl Regs + Delay),
        offset: u32,
        out: &mut [u8],
    ) -> Result<(), i2c::Error> {
        for (at, byte) in (offset..).zip(out) {
            let device = if at < SFF_8079_LEN {
                i2c::MODULE
            } else {
                i2c::DIAGNOSTICS
            };
            // CAST: the offset within the device, of 256 bytes.
            *byte = read_byte(io, self.semaphore(), device, at as u8, TRIES)?;
        }
        Ok(())
    }

    /// Sets the core up as the EEPROM says for `kind`, and restarts it for 10 Gb/s
    /// (`ixgbe_setup_sfp_modules_82599`). `orig_autoc` is AUTOC as the EEPROM left it, 0 if that is
    /// not known yet.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn setup(
        self,
        io: &(impl Regs + Delay),
        kind: Kind,
        orig_autoc: u32,
    ) -> Result<(), SetupError> {
        if kind == Kind::Other {
            return Ok(());
        }
        let block = self.find_sequence(io, kind)?;
        eeprom::acquire_swfw_sync(io, GSSR_MAC_CSR_SM).map_err(SetupError::Eeprom)?;
        let result = write_sequence(io, block);
        eeprom::release_swfw_sync(io, GSSR_MAC_CSR_SM);
        // Firmware may want the semaphore (`semaphore_delay`).
        io.msleep(10);
        result?;
        link::write_autoc(io, orig_autoc | AUTOC_LMS_10G_SERIAL).map_err(SetupError::Link)
    }

    /// Where the EEPROM has the values for `kind` (`ixgbe_get_sfp_init_sequence_offsets`).
    fn find_sequence(self, io: &(impl Regs + Delay), kind: Kind) -> Result<u32, SetupError> {
        let read = |word| eeprom::read(io, word).map_err(SetupError::Eeprom);
        let absent = |word| word == 0 || word == 0xFFFF;
        // What has an amplifier of its own is set up as optics are.
        let kind = match kind {
            Kind::PassiveCable => Kind::PassiveCable,
            _ => Kind::SrLr,
        };
        let wanted = kind.number(self.second);
        let list = read(PHY_INIT_OFFSET_NL)?;
        if absent(list) {
            return Err(SetupError::NoList);
        }
        let first = u32::from(list).saturating_add(1);
        for word in (first..).step_by(2).take(MOST_ENTRIES as usize) {
            let id = read(word)?;
            if id == PHY_INIT_END_NL {
                break;
            }
            if id == wanted {
                let block = read(word.saturating_add(1))?;
                if absent(block) {
                    break;
                }
                return Ok(block.into());
            }
        }
        Err(SetupError::NotInList)
    }
}

/// Writes a sequence of the EEPROM into the core.
fn write_sequence(io: &(impl Regs + Delay), block: u32) -> Result<(), SetupError> {
    let first = block.saturating_add(1);
    for word in (first..).take(MOST_ENTRIES as usize) {
        let value = eeprom::read(io, word).map_err(SetupError::Eeprom)?;
        if value == PHY_INIT_END_NL {
            return Ok(());
        }
        io.write32(CORECTL, value.into());
        io.read32(STATUS);
    }
    Err(SetupError::NoEnd)
}

/// Why a module could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// The device's EEPROM has no list of types.
    NoList,
    /// The type is not in the list.
    NotInList,
    /// A sequence of values has no end.
    NoEnd,
    /// A word or the semaphore could not be had.
    Eeprom(eeprom::Error),
    /// The link did not restart.
    Link(link::Error),
}

/// Whether the EEPROM allows modules of any vendor.
fn allows_any(io: &(impl Regs + Delay)) -> bool {
    eeprom::read(io, DEVICE_CAPS).is_ok_and(|caps| caps & DEVICE_CAPS_ALLOW_ANY_SFP != 0)
}

/// Whether a link counts only if the cage is full (`need_crosstalk_fix`): the EEPROM says so unless
/// it says that not.
pub fn needs_crosstalk_fix(io: &(impl Regs + Delay)) -> bool {
    eeprom::read(io, DEVICE_CAPS).is_ok_and(|caps| caps & DEVICE_CAPS_NO_CROSSTALK_WR == 0)
}

/// Whether the firmware is that of a pre-production device (`ixgbe_verify_fw_version_82599`).
pub fn is_preproduction(io: &(impl Regs + Delay)) -> bool {
    let version = || {
        let pointer = |word: u32| {
            let pointer = eeprom::read(io, word).ok()?;
            (pointer != 0 && pointer != 0xFFFF).then_some(u32::from(pointer))
        };
        let firmware = pointer(FW_PTR)?;
        let patch = pointer(firmware.saturating_add(FW_PASSTHROUGH_PATCH_CONFIG_PTR))?;
        eeprom::read(io, patch.saturating_add(FW_PATCH_VERSION_4)).ok()
    };
    version().is_none_or(|version| version <= 5)
}
