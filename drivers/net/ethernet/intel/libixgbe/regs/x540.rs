// SPDX-License-Identifier: GPL-2.0
//! What the X540 has and the 82599 has not, or has elsewhere; and its PHY, behind MDIO
//! (`ixgbe_type.h`, `uapi/linux/mdio.h`).

/// In [`super::GSSR`]: the semaphore over the others, which a read takes if it was free
/// (`IXGBE_SWFW_REGSMP`).
pub const SWFW_REGSMP: u32 = 0x8000_0000;
/// In [`super::FWSM`]: the thermal sensor is watched.
pub const FWSM_TS_ENABLED: u32 = 0x1;
/// Packet buffer after a reset, and all that there is: 384 KiB.
pub const X540_RXPBSIZE: u32 = 384 << 10;
/// Force the speed of the MAC.
pub const MACC_FS: u32 = 0x0004_0000;
/// The speed that is forced: 10 Gb/s.
pub const MACC_FSV_10G: u32 = 0x0003_0000;

// MDIO: devices in the package (MMDs) of clause 45.

/// Physical medium attachment.
pub const MMD_PMAPMD: u8 = 1;
/// Physical coding sublayer.
pub const MMD_PCS: u8 = 3;
/// PHY extender sublayer.
pub const MMD_PHYXS: u8 = 4;
/// Auto-negotiation.
pub const MMD_AN: u8 = 7;
/// The vendor's first.
pub const MMD_VEND1: u8 = 30;

// Registers that every device of the package has.

/// Control 1.
pub const MDIO_CTRL1: u16 = 0;
/// Reset; clears itself.
pub const MDIO_CTRL1_RESET: u16 = 0x8000;
/// Restart auto-negotiation; clears itself.
pub const MDIO_AN_CTRL1_RESTART: u16 = 0x0200;
/// In the vendor's device: low power, without link.
pub const MDIO_PHY_LOW_POWER: u16 = 0x0800;
/// Status 1.
pub const MDIO_STAT1: u16 = 1;
/// There is a link.
pub const MDIO_STAT1_LSTATUS: u16 = 0x0004;
/// Auto-negotiation is complete.
pub const MDIO_AN_STAT1_COMPLETE: u16 = 0x0020;
/// Identity, upper half.
pub const MDIO_DEVID1: u16 = 2;
/// Identity, lower half: the last four bits are the revision.
pub const MDIO_DEVID2: u16 = 3;
/// Identity of the X540's PHY (`X540_PHY_ID`).
pub const X540_PHY_ID: u32 = 0x0154_0200;
/// What of an identity is not the revision.
pub const PHY_REVISION_MASK: u32 = 0xFFFF_FFF0;
/// Speeds that the PMA can do.
pub const MDIO_SPEED: u16 = 4;
/// 10 Gb/s.
pub const MDIO_SPEED_10G: u16 = 0x0001;
/// 1 Gb/s.
pub const MDIO_PMA_SPEED_1000: u16 = 0x0010;
/// 100 Mb/s.
pub const MDIO_PMA_SPEED_100: u16 = 0x0020;
/// Devices in the package, lower half.
pub const MDIO_DEVS1: u16 = 5;
/// Upper half.
pub const MDIO_DEVS2: u16 = 6;
/// Status 2, which says whether the device is there.
pub const MDIO_STAT2: u16 = 8;
/// Field of that.
pub const MDIO_STAT2_DEVPRST: u16 = 0xC000;
/// It is there.
pub const MDIO_STAT2_DEVPRST_VAL: u16 = 0x8000;

// Auto-negotiation.

/// What is advertised in the base page.
pub const MDIO_AN_ADVERTISE: u16 = 16;
/// What the partner advertised there.
pub const MDIO_AN_LPA: u16 = 19;
/// 100BASE-TX, full duplex.
pub const ADVERTISE_100FULL: u16 = 0x0100;
/// 100BASE-TX, half duplex, which this device cannot do.
pub const ADVERTISE_100HALF: u16 = 0x0080;
/// Symmetric pause (`IXGBE_TAF_SYM_PAUSE`).
pub const TAF_SYM_PAUSE: u16 = 0x0400;
/// Asymmetric pause (`IXGBE_TAF_ASM_PAUSE`).
pub const TAF_ASM_PAUSE: u16 = 0x0800;
/// 10GBASE-T control.
pub const MDIO_AN_10GBT_CTRL: u16 = 32;
/// 10GBASE-T is advertised.
pub const MDIO_AN_10GBT_CTRL_ADV10G: u16 = 0x1000;
/// The vendor's provisioning 1 (`IXGBE_MII_AUTONEG_VENDOR_PROVISION_1_REG`).
pub const MII_AUTONEG_VENDOR_PROVISION_1: u16 = 0xC400;
/// 1000BASE-T, full duplex, is advertised.
pub const MII_1GBASE_T_ADVERTISE: u16 = 0x8000;
