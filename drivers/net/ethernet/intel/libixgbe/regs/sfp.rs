// SPDX-License-Identifier: GPL-2.0
//! The cage of an SFP+ module: its I2C bus, its pins and the core that drives it (8.2.3.1,
//! 8.2.3.22).

/// I2C control of the 82599, by bits on the wires (`IXGBE_I2CCTL_8259X`); shares its address with
/// [`super::EODSDP`].
pub const I2CCTL: u32 = 0x28;
/// Level of SCL.
pub const I2CCTL_CLK_IN: u32 = 0x1;
/// Lets SCL go (1) or pulls it down (0).
pub const I2CCTL_CLK_OUT: u32 = 0x2;
/// Level of SDA.
pub const I2CCTL_DATA_IN: u32 = 0x4;
/// Lets SDA go (1) or pulls it down (0).
pub const I2CCTL_DATA_OUT: u32 = 0x8;

/// SDP5 Data Value: rate select of the module, 1 for 10 Gb/s.
pub const ESDP_SDP5: u32 = 0x20;
/// SDP5 IO direction.
pub const ESDP_SDP5_DIR: u32 = 0x2000;

/// Word of the EEPROM that points to the list of module types (`IXGBE_PHY_INIT_OFFSET_NL`).
pub const PHY_INIT_OFFSET_NL: u32 = 0x2B;
/// Ends that list, and each sequence of values for CORECTL.
pub const PHY_INIT_END_NL: u16 = 0xFFFF;
/// Modules of any vendor are allowed.
pub const DEVICE_CAPS_ALLOW_ANY_SFP: u16 = 0x1;
/// The link needs no check against an empty cage.
pub const DEVICE_CAPS_NO_CROSSTALK_WR: u16 = 0x80;
/// In the firmware's block: pointer to the block that has its version.
pub const FW_PASSTHROUGH_PATCH_CONFIG_PTR: u32 = 0x4;
/// In that block: the version.
pub const FW_PATCH_VERSION_4: u32 = 0x7;
