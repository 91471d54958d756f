// SPDX-License-Identifier: GPL-2.0
//! Receive: filters' control, DMA, queues (datasheet 8.2.3.7, 8.2.3.8).

use super::at;

/// Register at `offset` in the block of Rx queue `i`: queues 64 to 127 lie at another base.
const fn queue(offset: u32, i: u32) -> u32 {
    if i < 64 {
        at(0x1000 | offset, 0x40, i)
    } else {
        at(0xD000 | offset, 0x40, i.wrapping_sub(64))
    }
}

// Receive control.

/// Filter control.
pub const FCTRL: u32 = 0x5080;
/// Store bad packets.
pub const FCTRL_SBP: u32 = 0x2;
/// Multicast promiscuous.
pub const FCTRL_MPE: u32 = 0x0100;
/// Unicast promiscuous.
pub const FCTRL_UPE: u32 = 0x0200;
/// Broadcast accept.
pub const FCTRL_BAM: u32 = 0x0400;
/// Pass MAC control frames.
pub const FCTRL_PMCF: u32 = 0x1000;
/// Discard pause frames.
pub const FCTRL_DPF: u32 = 0x2000;
/// Receive priority flow control (82598).
pub const FCTRL_RPFCE: u32 = 0x4000;
/// Receive Flow Control Ena.
pub const FCTRL_RFCE: u32 = 0x8000;
/// Receive checksum control.
pub const RXCSUM: u32 = 0x5000;
/// IP payload checksum enable.
pub const RXCSUM_IPPCSE: u32 = 0x1000;
/// Packet checksum disabled.
pub const RXCSUM_PCSD: u32 = 0x2000;
/// Receive filter control.
pub const RFCTL: u32 = 0x5008;
/// RSC off for all queues.
pub const RFCTL_RSC_DIS: u32 = 0x20;
/// NFS write filter off.
pub const RFCTL_NFSW_DIS: u32 = 0x40;
/// NFS read filter off.
pub const RFCTL_NFSR_DIS: u32 = 0x80;
/// Receive control.
pub const RXCTRL: u32 = 0x3000;
/// Enable Receiver.
pub const RXCTRL_RXEN: u32 = 0x1;
/// Descriptor Monitor Bypass.
pub const RXCTRL_DMBYPS: u32 = 0x2;
/// Receive DMA control.
pub const RDRXCTL: u32 = 0x2F00;
/// CRC Strip.
pub const RDRXCTL_CRCSTRIP: u32 = 0x2;
/// Pad small packets.
pub const RDRXCTL_PSP: u32 = 0x4;
/// Multi-VM enable.
pub const RDRXCTL_MVMEN: u32 = 0x20;
/// DMA initialisation done.
pub const RDRXCTL_DMAIDONE: u32 = 0x8;
/// RSC First packet size.
pub const RDRXCTL_RSCFRSTSIZE: u32 = 0x003E_0000;
/// Must set 1 when RSC enabled.
pub const RDRXCTL_RSCACKC: u32 = 0x0200_0000;
/// Must be 1 by the C driver.
pub const RDRXCTL_FCOE_WRFIX: u32 = 0x0400_0000;
/// RSC data buffer control.
pub const RSCDBU: u32 = 0x3028;
/// RSC off for pure acknowledgements.
pub const RSCDBU_RSCACKDIS: u32 = 0x80;
/// Receive packet buffer size of class i, in bytes.
pub const fn rxpbsize(i: u32) -> u32 {
    at(0x3C00, 4, i)
}
/// Shift of the field.
pub const RXPBSIZE_SHIFT: u32 = 10;
/// 512KB Packet Buffer.
pub const RXPBSIZE_MAX: u32 = 0x8_0000;
/// Packet buffers of the 82599.
pub const MAX_PB: u32 = 8;
/// Drop enable control (82598).
pub const DROPEN: u32 = 0x3D04;
/// Receive memory wraparound.
pub const RXMEMWRAP: u32 = 0x3190;
/// Receive descriptor control.
pub const RDDCC: u32 = 0x2F20;
/// Receive user priority to packet buffer mapping.
pub const RUPPBMR: u32 = 0x50A0;

// Queues, 128 of them; 0 to 63 and 64 to 127 lie apart.

/// Ring base low.
pub const fn rdbal(i: u32) -> u32 {
    queue(0x00, i)
}
/// Ring base high.
pub const fn rdbah(i: u32) -> u32 {
    queue(0x04, i)
}
/// Ring length in bytes, a multiple of 128.
pub const fn rdlen(i: u32) -> u32 {
    queue(0x08, i)
}
/// Head; read only by the datasheet (8.2.3.8.4).
pub const fn rdh(i: u32) -> u32 {
    queue(0x10, i)
}
/// Tail.
pub const fn rdt(i: u32) -> u32 {
    queue(0x18, i)
}
/// Queue control.
pub const fn rxdctl(i: u32) -> u32 {
    queue(0x28, i)
}
/// Queue enable; reads 1 once enabled, 0 once stopped.
pub const RXDCTL_ENABLE: u32 = 0x0200_0000;
/// VLAN strip.
pub const RXDCTL_VME: u32 = 0x4000_0000;
/// Only supported on the X540.
pub const RXDCTL_RLPMLMASK: u32 = 0x3FFF;
/// Long packet limit on (X540 and later).
pub const RXDCTL_RLPML_EN: u32 = 0x8000;
/// Rx Desc. write-back flushing.
pub const RXDCTL_SWFLSH: u32 = 0x0400_0000;
/// RSC control.
pub const fn rscctl(i: u32) -> u32 {
    queue(0x2C, i)
}
/// Receive side coalescing on.
pub const RSCCTL_RSCEN: u32 = 0x1;
/// At most 16 descriptors.
pub const RSCCTL_MAXDESC_16: u32 = 0xC;
/// Split receive control; queues 0 to 15 at their old place.
pub const fn srrctl(i: u32) -> u32 {
    if i <= 15 {
        at(0x2100, 4, i)
    } else {
        queue(0x14, i)
    }
}
/// So many KBs.
pub const SRRCTL_BSIZEPKT_SHIFT: u32 = 10;
/// Buffer size, in KiB.
pub const SRRCTL_BSIZEPKT_MASK: u32 = 0x7F;
/// Bytes to the field: 64-byte units at bit 8.
pub const SRRCTL_BSIZEHDRSIZE_SHIFT: u32 = 2;
/// Header buffer size field.
pub const SRRCTL_BSIZEHDR_MASK: u32 = 0x3F00;
/// Shift of the field.
pub const SRRCTL_RDMTS_SHIFT: u32 = 22;
/// Low threshold of free descriptors.
pub const SRRCTL_RDMTS_MASK: u32 = 0x01C0_0000;
/// Drop when the ring is empty, so that one queue cannot stall all.
pub const SRRCTL_DROP_EN: u32 = 0x1000_0000;
/// Legacy descriptors.
pub const SRRCTL_DESCTYPE_LEGACY: u32 = 0x0;
/// Advanced descriptors, one buffer.
pub const SRRCTL_DESCTYPE_ADV_ONEBUF: u32 = 0x0200_0000;
/// Advanced descriptors, header split.
pub const SRRCTL_DESCTYPE_HDR_SPLIT: u32 = 0x0400_0000;
/// Descriptor type field.
pub const SRRCTL_DESCTYPE_MASK: u32 = 0x0E00_0000;
/// DCA receive control.
pub const fn dca_rxctrl(i: u32) -> u32 {
    if i <= 15 {
        at(0x2200, 4, i)
    } else {
        queue(0x0C, i)
    }
}
/// Rx CPUID Mask.
pub const DCA_RXCTRL_CPUID_MASK: u32 = 0x1F;
/// DCA Rx Desc enable.
pub const DCA_RXCTRL_DESC_DCA_EN: u32 = 1 << 5;
/// DCA Rx Desc header enable.
pub const DCA_RXCTRL_HEAD_DCA_EN: u32 = 1 << 6;
/// DCA Rx Desc payload enable.
pub const DCA_RXCTRL_DATA_DCA_EN: u32 = 1 << 7;
/// DCA Rx rd Desc Relax Order.
pub const DCA_RXCTRL_DESC_RRO_EN: u32 = 1 << 9;
/// Rx wr data Relax Order.
pub const DCA_RXCTRL_DATA_WRO_EN: u32 = 1 << 13;
/// Rx wr header RO.
pub const DCA_RXCTRL_HEAD_WRO_EN: u32 = 1 << 15;
/// Packet split receive type of pool i.
pub const fn psrtype(i: u32) -> u32 {
    if i <= 15 {
        at(0x5480, 4, i)
    } else {
        at(0xEA00, 4, i)
    }
}
/// Split after TCP.
pub const PSRTYPE_TCPHDR: u32 = 0x10;
/// Split after UDP.
pub const PSRTYPE_UDPHDR: u32 = 0x20;
/// Split after IPv4.
pub const PSRTYPE_IPV4HDR: u32 = 0x0100;
/// Split after IPv6.
pub const PSRTYPE_IPV6HDR: u32 = 0x0200;
/// Split after layer 2.
pub const PSRTYPE_L2HDR: u32 = 0x1000;
/// Receive queues of each traffic class.
pub const RQTC: u32 = 0xEC70;

// RSS (8.2.3.7.12 and on).

/// Multiple receive queues command.
pub const MRQC: u32 = 0x5818;
/// Mode field.
pub const MRQC_MRQE_MASK: u32 = 0xF;
/// RSS Enable.
pub const MRQC_RSSEN: u32 = 0x1;
/// 8 TC w/ RSS.
pub const MRQC_RTRSS8TCEN: u32 = 0x4;
/// 4 TC w/ RSS.
pub const MRQC_RTRSS4TCEN: u32 = 0x5;
/// VMDq2 64 pools no RSS.
pub const MRQC_VMDQEN: u32 = 0x8;
/// VMDq2 32 pools w/ RSS.
pub const MRQC_VMDQRSS32EN: u32 = 0xA;
/// VMDq2 64 pools w/ RSS.
pub const MRQC_VMDQRSS64EN: u32 = 0xB;
/// VMDq2/RT 16 pool 8 TC.
pub const MRQC_VMDQRT8TCEN: u32 = 0xC;
/// VMDq2/RT 32 pool 4 TC.
pub const MRQC_VMDQRT4TCEN: u32 = 0xD;
/// TCP over IPv4.
pub const MRQC_RSS_FIELD_IPV4_TCP: u32 = 0x1_0000;
/// IPv4.
pub const MRQC_RSS_FIELD_IPV4: u32 = 0x2_0000;
/// TCP over IPv6, whose addresses extension headers may replace. No Linux driver sets these three.
pub const MRQC_RSS_FIELD_IPV6_EX_TCP: u32 = 0x0004_0000;
/// IPv6 likewise.
pub const MRQC_RSS_FIELD_IPV6_EX: u32 = 0x0008_0000;
/// IPv6.
pub const MRQC_RSS_FIELD_IPV6: u32 = 0x0010_0000;
/// TCP over IPv6.
pub const MRQC_RSS_FIELD_IPV6_TCP: u32 = 0x0020_0000;
/// UDP over IPv4.
pub const MRQC_RSS_FIELD_IPV4_UDP: u32 = 0x0040_0000;
/// UDP over IPv6.
pub const MRQC_RSS_FIELD_IPV6_UDP: u32 = 0x0080_0000;
/// UDP over IPv6 with extension headers.
pub const MRQC_RSS_FIELD_IPV6_EX_UDP: u32 = 0x0100_0000;
/// L3/L4 filters see looped-back frames (X550).
pub const MRQC_L3L4TXSWEN: u32 = 0x8000;
/// Redirection table, four entries a register, 32 registers.
pub const fn reta(i: u32) -> u32 {
    at(0x5C00, 4, i)
}
/// RSS key, 10 registers.
pub const fn rssrk(i: u32) -> u32 {
    at(0x5C80, 4, i)
}
