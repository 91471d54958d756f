// SPDX-License-Identifier: GPL-2.0
//! Descriptors, 16 bytes each and little-endian (82599 datasheet 7.1.5, 7.1.6, 7.2.3).
//!
//! All are plain bytes for zerocopy, so that a ring can be read as any of them.

use zerocopy::byteorder::little_endian::{
    U16,
    U32,
    U64, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout, //
};

/// Bytes of every descriptor.
pub const DESC_SIZE: u32 = 16;

/// Rings hold a multiple of this many descriptors: 128 bytes.
pub const REQ_DESCRIPTOR_MULTIPLE: u32 = 8;

/// Transmit data descriptor, advanced (7.2.3.2.4), as the driver writes it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AdvTxData {
    /// DMA address of the buffer.
    pub buffer_addr: U64,
    /// `ADVTXD_DCMD_*`, `ADVTXD_DTYP_*`, and the bytes in this buffer.
    pub cmd_type_len: U32,
    /// `ADVTXD_PAYLEN_SHIFT`, `ADVTXD_POPTS_*`, `ADVTXD_CC`, context index.
    pub olinfo_status: U32,
}

/// Transmit context descriptor (7.2.3.2.3).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AdvTxContext {
    /// VLAN tag, bytes of the MAC header, bytes of the IP header.
    pub vlan_macip_lens: U32,
    /// FCoE and IPsec; 0.
    pub fceof_saidx: U32,
    /// `ADVTXD_TUCMD_*`, `ADVTXD_DTYP_CTXT`, `ADVTXD_DCMD_DEXT`.
    pub type_tucmd_mlhl: U32,
    /// Segment size, bytes of the L4 header, context index.
    pub mss_l4len_idx: U32,
}

/// Transmit write-back, advanced (7.2.3.2.5): `TXD_STAT_DD` in `status` says done.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AdvTxWb {
    /// Reserved.
    pub rsvd: U64,
    /// Reserved.
    pub nxtseq_seed: U32,
    /// `TXD_STAT_DD`.
    pub status: U32,
}

/// Transmit descriptor, legacy (7.2.3.2.1); the same layout before and after write-back.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct LegacyTx {
    /// DMA address of the buffer.
    pub buffer_addr: U64,
    /// Bytes in this buffer.
    pub length: U16,
    /// Checksum offset.
    pub cso: u8,
    /// Command: bits 31:24 of `TXD_CMD_*`.
    pub cmd: u8,
    /// `TXD_STAT_DD` after write-back.
    pub sta: u8,
    /// Checksum start.
    pub css: u8,
    /// VLAN tag.
    pub vlan: U16,
}

/// Receive descriptor, advanced (7.1.6.1), as the driver writes it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AdvRxRead {
    /// DMA address of the packet buffer.
    pub pkt_addr: U64,
    /// DMA address of the header buffer; its bit 0 must be 0, where write-back puts `RXD_STAT_DD`.
    pub hdr_addr: U64,
}

/// Receive write-back, advanced (7.1.6.2): overwrites both addresses.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct AdvRxWb {
    /// `RXDADV_RSSTYPE_*`, `RXDADV_PKTTYPE_*`.
    pub pkt_info: U16,
    /// Header length and split flag.
    pub hdr_info: U16,
    /// RSS hash, or fragment checksum and IP identification when `RXCSUM_PCSD` is off.
    pub rss: U32,
    /// `RXD_STAT_*` in bits 19:0, `RXDADV_ERR_*` in bits 31:20.
    pub status_error: U32,
    /// Bytes in the packet buffer.
    pub length: U16,
    /// Stripped VLAN tag, if `RXD_STAT_VP`.
    pub vlan: U16,
}

/// Receive descriptor, legacy (7.1.5): write-back keeps the address.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct LegacyRx {
    /// DMA address of the packet buffer.
    pub buffer_addr: U64,
    /// Bytes in the packet buffer.
    pub length: U16,
    /// Fragment checksum.
    pub csum: U16,
    /// `RXD_STAT_*`, low byte.
    pub status: u8,
    /// `RXD_ERR_*`.
    pub errors: u8,
    /// Stripped VLAN tag.
    pub vlan: U16,
}

// Transmit command and status, legacy and advanced.

/// End of Packet.
pub const TXD_CMD_EOP: u32 = 0x0100_0000;
/// Insert FCS (Ethernet CRC).
pub const TXD_CMD_IFCS: u32 = 0x0200_0000;
/// Insert Checksum.
pub const TXD_CMD_IC: u32 = 0x0400_0000;
/// Report Status.
pub const TXD_CMD_RS: u32 = 0x0800_0000;
/// Descriptor extension (0 = legacy).
pub const TXD_CMD_DEXT: u32 = 0x2000_0000;
/// Add VLAN tag.
pub const TXD_CMD_VLE: u32 = 0x4000_0000;
/// Descriptor Done.
pub const TXD_STAT_DD: u32 = 0x1;
/// Insert IP checksum.
pub const TXD_POPTS_IXSM: u32 = 0x1;
/// Insert TCP/UDP checksum.
pub const TXD_POPTS_TXSM: u32 = 0x2;

// Transmit, advanced.

/// Data buf length(bytes).
pub const ADVTXD_DTALEN_MASK: u32 = 0xFFFF;
/// IEEE 1588 Time Stamp.
pub const ADVTXD_MAC_TSTAMP: u32 = 0x8_0000;
/// DTYP mask.
pub const ADVTXD_DTYP_MASK: u32 = 0x00F0_0000;
/// Advanced Context Desc.
pub const ADVTXD_DTYP_CTXT: u32 = 0x0020_0000;
/// Advanced Data Descriptor.
pub const ADVTXD_DTYP_DATA: u32 = 0x0030_0000;
/// End of Packet.
pub const ADVTXD_DCMD_EOP: u32 = TXD_CMD_EOP;
/// Insert FCS.
pub const ADVTXD_DCMD_IFCS: u32 = TXD_CMD_IFCS;
/// Report Status.
pub const ADVTXD_DCMD_RS: u32 = TXD_CMD_RS;
/// Desc ext (1=Adv).
pub const ADVTXD_DCMD_DEXT: u32 = TXD_CMD_DEXT;
/// VLAN pkt enable.
pub const ADVTXD_DCMD_VLE: u32 = TXD_CMD_VLE;
/// TCP Seg enable.
pub const ADVTXD_DCMD_TSE: u32 = 0x8000_0000;
/// Descriptor Done.
pub const ADVTXD_STAT_DD: u32 = TXD_STAT_DD;
/// Adv desc Index shift.
pub const ADVTXD_IDX_SHIFT: u32 = 4;
/// Check Context.
pub const ADVTXD_CC: u32 = 0x80;
/// Adv desc POPTS shift.
pub const ADVTXD_POPTS_SHIFT: u32 = 8;
/// Insert the IPv4 header checksum.
pub const ADVTXD_POPTS_IXSM: u32 = TXD_POPTS_IXSM << ADVTXD_POPTS_SHIFT;
/// Insert the TCP or UDP checksum.
pub const ADVTXD_POPTS_TXSM: u32 = TXD_POPTS_TXSM << ADVTXD_POPTS_SHIFT;
/// IPSec offload request.
pub const ADVTXD_POPTS_IPSEC: u32 = 0x0400;
/// Adv desc PAYLEN shift.
pub const ADVTXD_PAYLEN_SHIFT: u32 = 14;
/// Adv ctxt desc mac len shift.
pub const ADVTXD_MACLEN_SHIFT: u32 = 9;
/// Adv ctxt vlan tag shift.
pub const ADVTXD_VLAN_SHIFT: u32 = 16;
/// IP Packet Type: 1=IPv4.
pub const ADVTXD_TUCMD_IPV4: u32 = 0x0400;
/// IP Packet Type: 0=IPv6.
pub const ADVTXD_TUCMD_IPV6: u32 = 0x0;
/// L4 Packet TYPE of UDP.
pub const ADVTXD_TUCMD_L4T_UDP: u32 = 0x0;
/// L4 Packet TYPE of TCP.
pub const ADVTXD_TUCMD_L4T_TCP: u32 = 0x0800;
/// L4 Packet TYPE of SCTP.
pub const ADVTXD_TUCMD_L4T_SCTP: u32 = 0x1000;
/// RSV L4 Packet TYPE.
pub const ADVTXD_TUCMD_L4T_RSV: u32 = 0x1800;
/// Adv ctxt L4LEN shift.
pub const ADVTXD_L4LEN_SHIFT: u32 = 8;
/// Adv ctxt MSS shift.
pub const ADVTXD_MSS_SHIFT: u32 = 16;

// Receive status.

/// Descriptor Done.
pub const RXD_STAT_DD: u32 = 0x1;
/// End of Packet.
pub const RXD_STAT_EOP: u32 = 0x2;
/// FDir Match.
pub const RXD_STAT_FLM: u32 = 0x4;
/// IEEE VLAN Packet.
pub const RXD_STAT_VP: u32 = 0x8;
/// UDP xsum calculated.
pub const RXD_STAT_UDPCS: u32 = 0x10;
/// L4 xsum calculated.
pub const RXD_STAT_L4CS: u32 = 0x20;
/// IP xsum calculated.
pub const RXD_STAT_IPCS: u32 = 0x40;
/// Passed in-exact filter.
pub const RXD_STAT_PIF: u32 = 0x80;
/// Speculative CRC Valid.
pub const RXD_STAT_CRCV: u32 = 0x0100;
/// 1st VLAN found.
pub const RXD_STAT_VEXT: u32 = 0x0200;
/// Valid UDP checksum.
pub const RXD_STAT_UDPV: u32 = 0x0400;
/// Pkt caused INT via DYNINT.
pub const RXD_STAT_DYNINT: u32 = 0x0800;
/// Time Stamp.
pub const RXD_STAT_TS: u32 = 0x1_0000;
/// Security Processing.
pub const RXD_STAT_SECP: u32 = 0x2_0000;
/// Loopback Status.
pub const RXD_STAT_LB: u32 = 0x4_0000;
/// Next descriptor index, when RSC is on and EOP is not set.
pub const RXDADV_NEXTP_MASK: u32 = 0xF_FFF0;
/// Shift of it.
pub const RXDADV_NEXTP_SHIFT: u32 = 0x4;
/// Descriptors merged by RSC, in the first dword.
pub const RXDADV_RSCCNT_MASK: u32 = 0x001E_0000;
/// Shift of it.
pub const RXDADV_RSCCNT_SHIFT: u32 = 17;
/// Stat/NEXTP: bit 0-19.
pub const RXDADV_STAT_MASK: u32 = 0xF_FFFF;

// Receive errors, legacy.

/// CRC Error.
pub const RXD_ERR_CE: u32 = 0x1;
/// Length Error.
pub const RXD_ERR_LE: u32 = 0x2;
/// Packet Error.
pub const RXD_ERR_PE: u32 = 0x8;
/// Oversize Error.
pub const RXD_ERR_OSE: u32 = 0x10;
/// Undersize Error.
pub const RXD_ERR_USE: u32 = 0x20;
/// TCP/UDP Checksum Error.
pub const RXD_ERR_TCPE: u32 = 0x40;
/// IP Checksum Error.
pub const RXD_ERR_IPE: u32 = 0x80;

// Receive errors, advanced.

/// RDESC.ERRORS mask.
pub const RXDADV_ERR_MASK: u32 = 0xFFF0_0000;
/// RDESC.ERRORS shift.
pub const RXDADV_ERR_SHIFT: u32 = 20;
/// Header Buffer Overflow.
pub const RXDADV_ERR_HBO: u32 = 0x0080_0000;
/// CRC Error.
pub const RXDADV_ERR_CE: u32 = 0x0100_0000;
/// Length Error.
pub const RXDADV_ERR_LE: u32 = 0x0200_0000;
/// Packet Error.
pub const RXDADV_ERR_PE: u32 = 0x0800_0000;
/// Oversize Error.
pub const RXDADV_ERR_OSE: u32 = 0x1000_0000;
/// Undersize Error.
pub const RXDADV_ERR_USE: u32 = 0x2000_0000;
/// TCP/UDP Checksum Error.
pub const RXDADV_ERR_TCPE: u32 = 0x4000_0000;
/// IP Checksum Error.
pub const RXDADV_ERR_IPE: u32 = 0x8000_0000;
/// Errors of the frame as a whole.
pub const RXDADV_ERR_FRAME_ERR_MASK: u32 =
    RXDADV_ERR_CE | RXDADV_ERR_LE | RXDADV_ERR_PE | RXDADV_ERR_OSE | RXDADV_ERR_USE;

// VLAN tag.

/// VLAN ID is in lower 12 bits.
pub const RXD_VLAN_ID_MASK: u32 = 0x0FFF;
/// Priority is in upper 3 bits.
pub const RXD_PRI_MASK: u32 = 0xE000;
/// Shift of it.
pub const RXD_PRI_SHIFT: u32 = 13;

// RSS type, in `pkt_info`.

/// RSS type field.
pub const RXDADV_RSSTYPE_MASK: u32 = 0xF;
/// None.
pub const RXDADV_RSSTYPE_NONE: u32 = 0x0;
/// TCP over IPv4.
pub const RXDADV_RSSTYPE_IPV4_TCP: u32 = 0x1;
/// IPv4.
pub const RXDADV_RSSTYPE_IPV4: u32 = 0x2;
/// IPv6 tcp.
pub const RXDADV_RSSTYPE_IPV6_TCP: u32 = 0x3;
/// IPv6 ex.
pub const RXDADV_RSSTYPE_IPV6_EX: u32 = 0x4;
/// IPv6.
pub const RXDADV_RSSTYPE_IPV6: u32 = 0x5;
/// IPv6 tcp ex.
pub const RXDADV_RSSTYPE_IPV6_TCP_EX: u32 = 0x6;
/// IPv4 udp.
pub const RXDADV_RSSTYPE_IPV4_UDP: u32 = 0x7;
/// IPv6 udp.
pub const RXDADV_RSSTYPE_IPV6_UDP: u32 = 0x8;
/// IPv6 udp ex.
pub const RXDADV_RSSTYPE_IPV6_UDP_EX: u32 = 0x9;

// Packet type, in `pkt_info`.

/// Packet type field.
pub const RXDADV_PKTTYPE_MASK: u32 = 0xFFF0;
/// No type.
pub const RXDADV_PKTTYPE_NONE: u32 = 0x0;
/// IPv4 hdr present.
pub const RXDADV_PKTTYPE_IPV4: u32 = 0x10;
/// IPv4 hdr + extensions.
pub const RXDADV_PKTTYPE_IPV4_EX: u32 = 0x20;
/// IPv6 hdr present.
pub const RXDADV_PKTTYPE_IPV6: u32 = 0x40;
/// IPv6 hdr + extensions.
pub const RXDADV_PKTTYPE_IPV6_EX: u32 = 0x80;
/// TCP hdr present.
pub const RXDADV_PKTTYPE_TCP: u32 = 0x0100;
/// UDP hdr present.
pub const RXDADV_PKTTYPE_UDP: u32 = 0x0200;
/// SCTP hdr present.
pub const RXDADV_PKTTYPE_SCTP: u32 = 0x0400;
/// NFS hdr present.
pub const RXDADV_PKTTYPE_NFS: u32 = 0x0800;
/// IPSec ESP.
pub const RXDADV_PKTTYPE_IPSEC_ESP: u32 = 0x1000;
/// IPSec AH.
pub const RXDADV_PKTTYPE_IPSEC_AH: u32 = 0x2000;
/// LinkSec Encap.
pub const RXDADV_PKTTYPE_LINKSEC: u32 = 0x4000;
/// PKTTYPE is ETQF index.
pub const RXDADV_PKTTYPE_ETQF: u32 = 0x8000;
/// ETQF has 8 indices.
pub const RXDADV_PKTTYPE_ETQF_MASK: u32 = 0x70;
/// Right-shift 4 bits.
pub const RXDADV_PKTTYPE_ETQF_SHIFT: u32 = 4;
/// Header length field of `hdr_info`.
pub const RXDADV_HDRBUFLEN_MASK: u32 = 0x7FE0;
/// Shift of it.
pub const RXDADV_HDRBUFLEN_SHIFT: u32 = 5;
/// Split header.
pub const RXDADV_SPH: u32 = 0x8000;
