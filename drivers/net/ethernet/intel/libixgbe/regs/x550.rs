// SPDX-License-Identifier: GPL-2.0
//! What the X550 has beside what the X540 has: commands to its firmware, RSS of each pool, and
//! checks of what VFs send (`ixgbe_type.h`, `ixgbevf/regs.h`).

use super::at;

/// In [`super::FWSTS`]: the firmware was reset; written back to clear it.
pub const FWSTS_FWRI: u32 = 0x200;
/// Bytes behind [`super::FLEX_MNG`].
pub const FLEX_MNG_LEN: u32 = 0x700;

// Commands, in the lowest byte of the first word (`FW_*_CMD`).

/// Read words of the shadow RAM, the EEPROM's image.
pub const FW_READ_SHADOW_RAM: u8 = 0x31;
/// Bytes that follow the command's head.
pub const FW_READ_SHADOW_RAM_LEN: u8 = 6;
/// Write a word of it.
pub const FW_WRITE_SHADOW_RAM: u8 = 0x33;
/// Bytes that follow, with the one word.
pub const FW_WRITE_SHADOW_RAM_LEN: u8 = 10;
/// Write all of it into the flash.
pub const FW_SHADOW_RAM_DUMP: u8 = 0x36;
/// Stop receiving.
pub const FW_DISABLE_RXEN: u8 = 0xDE;
/// Bytes that follow.
pub const FW_DISABLE_RXEN_LEN: u8 = 1;
/// The driver tells its version.
pub const FW_DRIVER_INFO: u8 = 0xDD;
/// The firmware did what it was told (`FW_CEM_RESP_STATUS_SUCCESS`).
pub const FW_SUCCESS: u8 = 1;
/// Stands where commands have a checksum which the firmware does not look at.
pub const FW_DEFAULT_CHECKSUM: u8 = 0xFF;
/// Most bytes of one read (`FW_MAX_READ_BUFFER_SIZE`).
pub const FW_MAX_READ: u32 = 1024;
/// Word of [`super::FLEX_MNG`] at which data starts.
pub const FW_NVM_DATA_OFFSET: u32 = 3;

/// Word of the EEPROM up to which all are in the checksum (`IXGBE_EEPROM_LAST_WORD`).
pub const EEPROM_LAST_WORD: u32 = 0x41;
/// First pointer to a block that is (`IXGBE_PCIE_ANALOG_PTR_X550`).
pub const X550_PCIE_ANALOG_PTR: u32 = 0x02;
/// Pointer to a block of [`PCIE_GENERAL_SIZE`] words without a length of its own.
pub const PCIE_GENERAL_PTR: u32 = 0x06;
/// Its words.
pub const PCIE_GENERAL_SIZE: u32 = 0x24;
/// The same of a function, of [`PCIE_CONFIG_SIZE`] words.
pub const PCIE_CONFIG0_PTR: u32 = 0x07;
/// Of the other one.
pub const PCIE_CONFIG1_PTR: u32 = 0x08;
/// Their words.
pub const PCIE_CONFIG_SIZE: u32 = 0x08;

/// Identity of the X550's PHY (`X550_PHY_ID2`).
pub const X550_PHY_ID: u32 = 0x0154_0223;
/// 5GBASE-T is advertised, in [`super::MII_AUTONEG_VENDOR_PROVISION_1`].
pub const MII_5GBASE_T_ADVERTISE: u16 = 0x0800;
/// 2.5GBASE-T is advertised there.
pub const MII_2_5GBASE_T_ADVERTISE: u16 = 0x0400;
/// What media the PMA can do (`MDIO_PMA_EXTABLE`).
pub const MDIO_PMA_EXTABLE: u16 = 11;
/// 10GBASE-T.
pub const MDIO_PMA_EXTABLE_10GBT: u16 = 0x0004;
/// 1000BASE-T.
pub const MDIO_PMA_EXTABLE_1000BT: u16 = 0x0020;
/// In [`super::LINKS`] and VFLINKS: beside the field for 10 Gb/s it is 2.5, beside that for 100
/// Mb/s it is 5.
pub const LINKS_SPEED_NON_STD: u32 = 0x0800_0000;

/// In [`super::MRQC`]: each pool has its own key, table and functions.
pub const MRQC_MULTIPLE_RSS: u32 = 0x0000_2000;
/// Entries 128 and up of the redirection table; four in each.
pub const fn ereta(i: u32) -> u32 {
    at(0xEE80, 4, i)
}
/// MRQC of a pool.
pub const fn pfvfmrqc(pool: u32) -> u32 {
    at(0x3400, 4, pool)
}
/// Word `i` of ten of a pool's key.
pub const fn pfvfrssrk(i: u32, pool: u32) -> u32 {
    at(at(0x1_8000, 0x40, pool), 4, i)
}
/// Word `i` of 16 of a pool's redirection table.
pub const fn pfvfreta(i: u32, pool: u32) -> u32 {
    at(at(0x1_9000, 0x40, pool), 4, i)
}

/// In [`super::DMATXCTL`]: transmit queues of malicious drivers are blocked.
pub const DMATXCTL_MDP_EN: u32 = 0x20;
/// In [`super::DMATXCTL`]: what malicious drivers do with transmit queues interrupts.
pub const DMATXCTL_MBINTEN: u32 = 0x40;
/// In [`super::RDRXCTL`]: the same of receive queues.
pub const RDRXCTL_MBINTEN: u32 = 0x1000_0000;
/// In [`super::RDRXCTL`]: receive queues of malicious drivers are blocked.
pub const RDRXCTL_MDP_EN: u32 = 0x2000_0000;
/// In [`super::pfvfspoof`]: shift of the pools' bits for ethertypes.
pub const SPOOF_ETHERTYPEAS_SHIFT: u32 = 16;
/// Pools that do not receive from the wire what has their own address as its source, 0 to 31.
pub const PFFLPL: u32 = 0x050B0;
/// Pools 32 to 63.
pub const PFFLPH: u32 = 0x050B4;
