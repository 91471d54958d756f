// SPDX-License-Identifier: GPL-2.0
//! Transmit DMA, queues and scheduler (datasheet 8.2.3.9, 8.2.3.10).

use super::at;

// Transmit DMA.

/// Transmit DMA control.
pub const DMATXCTL: u32 = 0x4A80;
/// Transmit Enable.
pub const DMATXCTL_TE: u32 = 0x1;
/// No Snoop LSO hdr buffer.
pub const DMATXCTL_NS: u32 = 0x2;
/// Global Double VLAN.
pub const DMATXCTL_GDV: u32 = 0x8;
/// VLAN EtherType.
pub const DMATXCTL_VT_SHIFT: u32 = 16;
/// TCP flags of the first and middle segments: masks (8.2.3.9.3).
pub const DTXTCPFLGL: u32 = 0x4A88;
/// TCP flags of the last segment: mask (8.2.3.9.4).
pub const DTXTCPFLGH: u32 = 0x4A8C;
/// Maximum outstanding request bytes, in 256-byte units (8.2.3.9.1).
pub const DTXMXSZRQ: u32 = 0x8100;
/// Multiple transmit queues command; only written with the arbiter off.
pub const MTQC: u32 = 0x8120;
/// DCB Enable.
pub const MTQC_RT_ENA: u32 = 0x1;
/// VMDQ2 Enable.
pub const MTQC_VT_ENA: u32 = 0x2;
/// 64 queues 1 pack buffer.
pub const MTQC_64Q_1PB: u32 = 0x0;
/// 4 TX Queues per pool w/32VF's.
pub const MTQC_32VF: u32 = 0x8;
/// 2 TX Queues per pool w/64VF's.
pub const MTQC_64VF: u32 = 0x4;
/// 4 TC if RT_ENA or 4 TQ if VT_ENA.
pub const MTQC_4TC_4TQ: u32 = 0x8;
/// 8 TC if RT_ENA or 8 TQ if VT_ENA.
pub const MTQC_8TC_8TQ: u32 = 0xC;
/// Transmit packet buffer size of class i, in bytes.
pub const fn txpbsize(i: u32) -> u32 {
    at(0xCC00, 4, i)
}
/// 160KB Packet Buffer.
pub const TXPBSIZE_MAX: u32 = 0x2_8000;
/// Transmit packet buffer threshold of class i, in KiB.
pub const fn txpbthresh(i: u32) -> u32 {
    at(0x4950, 4, i)
}
/// Max Tx Packet size.
pub const TXPKT_SIZE_MAX: u32 = 0xA;
/// Transmit inter-packet gap (82598).
pub const TIPG: u32 = 0xCB00;
/// Management transmit class.
pub const MNGTXMAP: u32 = 0xCD10;

// Queues, 128 of them.

/// Ring base low.
pub const fn tdbal(i: u32) -> u32 {
    at(0x6000, 0x40, i)
}
/// Ring base high.
pub const fn tdbah(i: u32) -> u32 {
    at(0x6004, 0x40, i)
}
/// Ring length in bytes, a multiple of 128.
pub const fn tdlen(i: u32) -> u32 {
    at(0x6008, 0x40, i)
}
/// Head (8.2.3.9.8).
pub const fn tdh(i: u32) -> u32 {
    at(0x6010, 0x40, i)
}
/// Tail.
pub const fn tdt(i: u32) -> u32 {
    at(0x6018, 0x40, i)
}
/// Queue control.
pub const fn txdctl(i: u32) -> u32 {
    at(0x6028, 0x40, i)
}
/// Queue enable; reads 1 once enabled, 0 once stopped.
pub const TXDCTL_ENABLE: u32 = 0x0200_0000;
/// Write back what is done now.
pub const TXDCTL_SWFLSH: u32 = 0x0400_0000;
/// Shift to WTHRESH bits.
pub const TXDCTL_WTHRESH_SHIFT: u32 = 16;
/// Prefetch threshold field.
pub const TXDCTL_PTHRESH_MASK: u32 = 0x7F;
/// Host threshold shift.
pub const TXDCTL_HTHRESH_SHIFT: u32 = 8;
/// Head write-back address low; bit 0 enables.
pub const fn tdwbal(i: u32) -> u32 {
    at(0x6038, 0x40, i)
}
/// Head write-back address high.
pub const fn tdwbah(i: u32) -> u32 {
    at(0x603C, 0x40, i)
}
/// DCA transmit control.
pub const fn dca_txctrl(i: u32) -> u32 {
    at(0x600C, 0x40, i)
}
/// DCA Tx Desc enable.
pub const DCA_TXCTRL_DESC_DCA_EN: u32 = 1 << 5;
/// Tx rd Desc Relax Order.
pub const DCA_TXCTRL_DESC_RRO_EN: u32 = 1 << 9;
/// Tx Desc writeback RO bit.
pub const DCA_TXCTRL_DESC_WRO_EN: u32 = 1 << 11;
/// Tx rd data Relax Order.
pub const DCA_TXCTRL_DATA_RRO_EN: u32 = 1 << 13;

// Scheduler and rate limiter.

/// Descriptor plane control.
pub const RTTDCS: u32 = 0x4900;
/// Strict priority between classes.
pub const RTTDCS_TDPAC: u32 = 0x1;
/// Weighted priority between pools.
pub const RTTDCS_VMPAC: u32 = 0x2;
/// Transmit recycle mode.
pub const RTTDCS_TDRM: u32 = 0x10;
/// Arbiter off.
pub const RTTDCS_ARBDIS: u32 = 0x40;
/// Bypass data pipe monitor; must be cleared.
pub const RTTDCS_BDPM: u32 = 0x0040_0000;
/// Bypass packet buffer free space monitor; must be cleared.
pub const RTTDCS_BPBFSM: u32 = 0x0080_0000;
/// Packet plane control.
pub const RTTPCS: u32 = 0xCD00;
/// Strict priority.
pub const RTTPCS_TPPAC: u32 = 0x20;
/// Arbiter off.
pub const RTTPCS_ARBDIS: u32 = 0x40;
/// Transmit recycle mode.
pub const RTTPCS_TPRM: u32 = 0x0100;
/// Shift of the arbitration delay.
pub const RTTPCS_ARBD_SHIFT: u32 = 22;
/// Receive packet plane control.
pub const RTRPCS: u32 = 0x2430;
/// Receive recycle mode.
pub const RTRPCS_RRM: u32 = 0x2;
/// Weighted strict priority.
pub const RTRPCS_RAC: u32 = 0x4;
/// Receive user priority to class.
pub const RTRUP2TC: u32 = 0x3020;
/// Transmit user priority to class.
pub const RTTUP2TC: u32 = 0xC800;
/// Receive packet plane class configuration.
pub const fn rtrpt4c(i: u32) -> u32 {
    at(0x2140, 4, i)
}
/// Receive packet plane class status.
pub const fn rtrpt4s(i: u32) -> u32 {
    at(0x2160, 4, i)
}
/// Descriptor plane pool configuration (via RTTDQSEL).
pub const RTTDT1C: u32 = 0x4908;
/// Descriptor plane class configuration.
pub const fn rttdt2c(i: u32) -> u32 {
    at(0x4910, 4, i)
}
/// Descriptor plane class status.
pub const fn rttdt2s(i: u32) -> u32 {
    at(0x4930, 4, i)
}
/// Packet plane class configuration.
pub const fn rttpt2c(i: u32) -> u32 {
    at(0xCD20, 4, i)
}
/// Packet plane class status.
pub const fn rttpt2s(i: u32) -> u32 {
    at(0xCD40, 4, i)
}
/// Queue or pool that RTTDT1C and RTTBCNRC address.
pub const RTTDQSEL: u32 = 0x4904;
/// Rate limiter of that queue.
pub const RTTBCNRC: u32 = 0x4984;
/// Rate limit is on.
pub const RTTBCNRC_RS_ENA: u32 = 0x8000_0000;
/// Fraction of the rate factor, in 1/2^14.
pub const RTTBCNRC_RF_DEC_MASK: u32 = 0x3FFF;
/// Shift of the field.
pub const RTTBCNRC_RF_INT_SHIFT: u32 = 14;
/// Integer part of the rate factor.
pub const RTTBCNRC_RF_INT_MASK: u32 = RTTBCNRC_RF_DEC_MASK << RTTBCNRC_RF_INT_SHIFT;
/// Rate limiter memory: maximum.
pub const RTTBCNRM: u32 = 0x4980;
/// Rate drift.
pub const RTTBCNRD: u32 = 0x498C;
