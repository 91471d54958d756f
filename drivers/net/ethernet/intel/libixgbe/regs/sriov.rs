// SPDX-License-Identifier: GPL-2.0
//! VMDq and SR-IOV (datasheet 8.2.3.27): the PF's view of its pools and VFs.

use super::at;
use super::eitr;

// Pools.

/// Virtualisation control (PFVTCTL).
pub const VT_CTL: u32 = 0x51B0;
/// Disable default pool.
pub const VT_CTL_DIS_DEFPL: u32 = 0x2000_0000;
/// Replication enabled.
pub const VT_CTL_REPLEN: u32 = 0x4000_0000;
/// Enable VT Mode.
pub const VT_CTL_VT_ENABLE: u32 = 0x1;
/// Shift of the field.
pub const VT_CTL_POOL_SHIFT: u32 = 7;
/// Default pool.
pub const VT_CTL_POOL_MASK: u32 = 0x3F << VT_CTL_POOL_SHIFT;
/// VMDq control (82598).
pub const VMD_CTL: u32 = 0x581C;
/// Offload of pool i.
pub const fn vmolr(i: u32) -> u32 {
    at(0xF000, 4, i)
}
/// Unicast promiscuous.
pub const VMOLR_UPE: u32 = 0x0040_0000;
/// VLAN promiscuous.
pub const VMOLR_VPE: u32 = 0x0080_0000;
/// Accept untagged packets.
pub const VMOLR_AUPE: u32 = 0x0100_0000;
/// Accept packets in MTA tbl.
pub const VMOLR_ROMPE: u32 = 0x0200_0000;
/// Accept packets in UC tbl.
pub const VMOLR_ROPE: u32 = 0x0400_0000;
/// Accept broadcast packets.
pub const VMOLR_BAM: u32 = 0x0800_0000;
/// Multicast promiscuous.
pub const VMOLR_MPE: u32 = 0x1000_0000;
/// Default VLAN of pool i.
pub const fn vmvir(i: u32) -> u32 {
    at(0x8000, 4, i)
}
/// Always use default VLAN.
pub const VMVIR_VLANA_DEFAULT: u32 = 0x4000_0000;
/// Never insert VLAN tag.
pub const VMVIR_VLANA_NEVER: u32 = 0x8000_0000;
/// VLAN pool filter, 64.
pub const fn vlvf(i: u32) -> u32 {
    at(0xF100, 4, i)
}
/// Filter is valid.
pub const VLVF_VIEN: u32 = 0x8000_0000;
/// Entries of the table.
pub const VLVF_ENTRIES: u32 = 64;
/// VLAN id.
pub const VLVF_VLANID_MASK: u32 = 0x0FFF;
/// Pools of VLVF i/2: low half at even i, high half at odd.
pub const fn vlvfb(i: u32) -> u32 {
    at(0xF200, 4, i)
}
/// Receive enable of 32 pools.
pub const fn vfre(i: u32) -> u32 {
    at(0x51E0, 4, i)
}
/// Transmit enable of 32 pools.
pub const fn vfte(i: u32) -> u32 {
    at(0x8110, 4, i)
}
/// Counts spoofed frames of 32 VFs in SSVPC.
pub const fn vmecm(i: u32) -> u32 {
    at(0x8790, 4, i)
}
/// Queue drop enable.
pub const QDE: u32 = 0x2F04;
/// Drop when no descriptor is free.
pub const QDE_ENABLE: u32 = 0x1;
/// Hide the VLAN tag from the pool.
pub const QDE_HIDE_VLAN: u32 = 0x2;
/// Queue index.
pub const QDE_IDX_MASK: u32 = 0x7F00;
/// Shift of the field.
pub const QDE_IDX_SHIFT: u32 = 8;
/// Write the entry.
pub const QDE_WRITE: u32 = 0x1_0000;
/// Transmit switch control.
pub const PFDTXGSWC: u32 = 0x8220;
/// Local L2 VT switch enable.
pub const PFDTXGSWC_VT_LBEN: u32 = 0x1;
/// Anti-spoof of 8 VFs: MAC in the low byte, VLAN in the next.
pub const fn pfvfspoof(i: u32) -> u32 {
    at(0x8200, 4, i)
}
/// MAC anti-spoof bits.
pub const SPOOF_MACAS_MASK: u32 = 0xFF;
/// VLAN anti-spoof bits.
pub const SPOOF_VLANAS_MASK: u32 = 0xFF00;
/// Shift of the field.
pub const SPOOF_VLANAS_SHIFT: u32 = 8;
/// Ether type anti-spoof bits (X550).
pub const SPOOF_ETHERTYPEAS: u32 = 0xFF00_0000;
/// Last VM misbehaviour cause, receive.
pub const LVMMC_RX: u32 = 0x2FA8;
/// Last VM misbehaviour cause, transmit.
pub const LVMMC_TX: u32 = 0x8108;
/// Wrong Rx queue behaviour, 32 queues a register.
pub const fn wqbr_rx(i: u32) -> u32 {
    at(0x2FB0, 4, i)
}
/// Wrong Tx queue behaviour, 32 queues a register.
pub const fn wqbr_tx(i: u32) -> u32 {
    at(0x8130, 4, i)
}
/// Switch security violation packet count.
pub const SSVPC: u32 = 0x8780;
/// Queues of a pool when there are 16 pools.
pub const QUEUES_16VFS: u32 = 8;
/// Queues of a pool when there are 32 pools.
pub const QUEUES_32VFS: u32 = 4;
/// Queues of a pool when there are 64 pools.
pub const QUEUES_64VFS: u32 = 2;

// Mailbox, PF side.

/// Control of VF i's mailbox.
pub const fn pfmailbox(i: u32) -> u32 {
    at(0x4B00, 4, i)
}
/// Initiate message send to VF.
pub const PFMAILBOX_STS: u32 = 0x1;
/// Ack message recv'd from VF.
pub const PFMAILBOX_ACK: u32 = 0x2;
/// VF owns the mailbox buffer.
pub const PFMAILBOX_VFU: u32 = 0x4;
/// PF owns the mailbox buffer.
pub const PFMAILBOX_PFU: u32 = 0x8;
/// Reset VFU - used when VF stuck.
pub const PFMAILBOX_RVFU: u32 = 0x10;
/// Mailbox memory of VF i, 16 dwords.
pub const fn pfmbmem(i: u32) -> u32 {
    at(0x1_3000, 64, i)
}
/// Mailbox causes of 16 VFs: requests low, acks high; write 1 clears.
pub const fn pfmbicr(i: u32) -> u32 {
    at(0x0710, 4, i)
}
/// Bits for VF messages.
pub const MBVFICR_VFREQ_MASK: u32 = 0xFFFF;
/// Bit for VF 1 message.
pub const MBVFICR_VFREQ_VF1: u32 = 0x1;
/// Bits for VF acks.
pub const MBVFICR_VFACK_MASK: u32 = 0xFFFF_0000;
/// Bit for VF 1 ack.
pub const MBVFICR_VFACK_VF1: u32 = 0x1_0000;
/// Mailbox interrupt mask of 32 VFs.
pub const fn pfmbimr(i: u32) -> u32 {
    at(0x0720, 4, i)
}
/// Function level reset event of 32 VFs.
pub const fn vflre(i: u32) -> u32 {
    if i & 1 == 0 {
        0x0600
    } else {
        0x01C0
    }
}
/// Clear of VFLRE, write 1.
pub const fn vflrec(i: u32) -> u32 {
    at(0x0700, 4, i)
}

// Registers of VF i as the PF sees them (ethernet-linux-ixgbe 6.3.4 ixgbe_type.h).

/// VFCTRL.
pub const fn pvfctrl(i: u32) -> u32 {
    at(0x0300, 4, i)
}
/// VTEICR; whether reading clears is not documented.
pub const fn pvteicr(i: u32) -> u32 {
    at(0x0B00, 4, i)
}
/// VTEICS.
pub const fn pvteics(i: u32) -> u32 {
    at(0x0C00, 4, i)
}
/// VTEIMS.
pub const fn pvteims(i: u32) -> u32 {
    at(0x0D00, 4, i)
}
/// VTEIMC.
pub const fn pvteimc(i: u32) -> u32 {
    at(0x0E00, 4, i)
}
/// VTEIAC.
pub const fn pvteiac(i: u32) -> u32 {
    at(0x0F00, 4, i)
}
/// VTEIAM.
pub const fn pvteiam(i: u32) -> u32 {
    at(0x4D00, 4, i)
}
/// VTEITR, by the number of the function's vector: PF vectors first.
pub const fn pvteitr(i: u32) -> u32 {
    eitr(i)
}
/// VTIVAR, by pool for 0, see `pvtivar`.
pub const fn pvtivar(i: u32) -> u32 {
    at(0x1_2500, 4, i)
}
/// VTIVAR_MISC.
pub const fn pvtivar_misc(i: u32) -> u32 {
    at(0x4E00, 4, i)
}
/// VTRSCINT.
pub const fn pvtrscint(i: u32) -> u32 {
    at(0x1_2000, 4, i)
}
/// VFPSRTYPE.
pub const fn pvfpsrtype(i: u32) -> u32 {
    at(0xEA00, 4, i)
}
/// VFMAILBOX.
pub const fn pvfmailbox(i: u32) -> u32 {
    at(0x4C00, 4, i)
}
