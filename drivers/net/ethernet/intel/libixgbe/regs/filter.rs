// SPDX-License-Identifier: GPL-2.0
//! Address, VLAN, ether-type and flow filters (datasheet 8.2.3.7, 8.2.3.27).

use super::at;

// Unicast: 128 entries.

/// Receive address low.
pub const fn ral(i: u32) -> u32 {
    if i <= 15 {
        at(0x5400, 8, i)
    } else {
        at(0xA200, 8, i)
    }
}
/// Receive address high.
pub const fn rah(i: u32) -> u32 {
    if i <= 15 {
        at(0x5404, 8, i)
    } else {
        at(0xA204, 8, i)
    }
}
/// Entry is valid.
pub const RAH_AV: u32 = 0x8000_0000;
/// Pool (82598).
pub const RAH_VIND_MASK: u32 = 0x003C_0000;
/// Shift of the field.
pub const RAH_VIND_SHIFT: u32 = 18;
/// Pools 0 to 31 of receive address i.
pub const fn mpsar_lo(i: u32) -> u32 {
    at(0xA600, 8, i)
}
/// Pools 32 to 63.
pub const fn mpsar_hi(i: u32) -> u32 {
    at(0xA604, 8, i)
}
/// Every pool of an entry (argument of clear_vmdq).
pub const CLEAR_VMDQ_ALL: u32 = 0xFFFF_FFFF;

// Multicast and unicast hash.

/// Multicast control: which bits of the address index MTA.
pub const MCSTCTRL: u32 = 0x5090;
/// Multicast table is in use.
pub const MCSTCTRL_MFE: u32 = 0x4;
/// Multicast table array, 128 registers.
pub const fn mta(i: u32) -> u32 {
    at(0x5200, 4, i)
}
/// Unicast table array, 128 registers.
pub const fn uta(i: u32) -> u32 {
    at(0xF400, 4, i)
}

// VLAN.

/// VLAN filter table, 128 registers, a bit a VLAN.
pub const fn vfta(i: u32) -> u32 {
    at(0xA000, 4, i)
}
/// VLAN control.
pub const VLNCTRL: u32 = 0x5088;
/// Bits 0-15.
pub const VLNCTRL_VET: u32 = 0xFFFF;
/// Bit 28.
pub const VLNCTRL_CFI: u32 = 0x1000_0000;
/// Bit 29.
pub const VLNCTRL_CFIEN: u32 = 0x2000_0000;
/// Bit 30.
pub const VLNCTRL_VFE: u32 = 0x4000_0000;
/// Bit 31.
pub const VLNCTRL_VME: u32 = 0x8000_0000;
/// 802.1q protocol.
pub const ETHERNET_IEEE_VLAN_TYPE: u32 = 0x8100;

// Ether type, five-tuple and SYN filters.

/// Ether type queue filter, 8.
pub const fn etqf(i: u32) -> u32 {
    at(0x5128, 4, i)
}
/// Bit 27.
pub const ETQF_FCOE: u32 = 0x0800_0000;
/// Bit 28.
pub const ETQF_BCN: u32 = 0x1000_0000;
/// Bit 29.
pub const ETQF_TX_ANTISPOOF: u32 = 0x2000_0000;
/// Bit 30.
pub const ETQF_1588: u32 = 0x4000_0000;
/// Bit 31.
pub const ETQF_FILTER_EN: u32 = 0x8000_0000;
/// Bit 26.
pub const ETQF_POOL_ENABLE: u32 = 1 << 26;
/// Shift of the field.
pub const ETQF_POOL_SHIFT: u32 = 20;
/// Filter number of IEEE 1588.
pub const ETQF_FILTER_1588: u32 = 3;
/// Filter number of LLDP.
pub const ETQF_FILTER_LLDP: u32 = 5;
/// Filter number of flow control.
pub const ETQF_FILTER_FC: u32 = 7;
/// Ether type queue select, 8.
pub const fn etqs(i: u32) -> u32 {
    at(0xEC00, 4, i)
}
/// Bits 22:16.
pub const ETQS_RX_QUEUE: u32 = 0x007F_0000;
/// Shift of the field.
pub const ETQS_RX_QUEUE_SHIFT: u32 = 16;
/// Bit 29.
pub const ETQS_LLI: u32 = 0x2000_0000;
/// Bit 31.
pub const ETQS_QUEUE_EN: u32 = 0x8000_0000;
/// SYN packet queue filter.
pub const SYNQF: u32 = 0xEC30;
/// Source address of five-tuple filter i, 128.
pub const fn saqf(i: u32) -> u32 {
    at(0xE000, 4, i)
}
/// Destination address of filter i.
pub const fn daqf(i: u32) -> u32 {
    at(0xE200, 4, i)
}
/// Ports of filter i.
pub const fn sdpqf(i: u32) -> u32 {
    at(0xE400, 4, i)
}
/// Protocol, mask and pool of filter i.
pub const fn ftqf(i: u32) -> u32 {
    at(0xE600, 4, i)
}
/// Filter is enabled.
pub const FTQF_QUEUE_ENABLE: u32 = 0x8000_0000;

// Flow director (8.2.3.21); the project leaves it off.

/// Flow director control.
pub const FDIRCTRL: u32 = 0xEE00;
/// Initialisation is done.
pub const FDIRCTRL_INIT_DONE: u32 = 0x8;
/// Perfect match mode.
pub const FDIRCTRL_PERFECT_MATCH: u32 = 0x10;
/// Hash key.
pub const FDIRHKEY: u32 = 0xEE68;
/// Signature key.
pub const FDIRSKEY: u32 = 0xEE6C;
/// Command.
pub const FDIRCMD: u32 = 0xEE2C;
/// Command field; 0 when done.
pub const FDIRCMD_CMD_MASK: u32 = 0x3;
/// Clear the hash table.
pub const FDIRCMD_CLEARHT: u32 = 0x0100;
/// Free entries.
pub const FDIRFREE: u32 = 0xEE38;
/// Longest list.
pub const FDIRLEN: u32 = 0xEE4C;
/// Used entries.
pub const FDIRUSTAT: u32 = 0xEE50;
/// Failed entries.
pub const FDIRFSTAT: u32 = 0xEE54;
/// Matches.
pub const FDIRMATCH: u32 = 0xEE58;
/// Misses.
pub const FDIRMISS: u32 = 0xEE5C;
