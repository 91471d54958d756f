// SPDX-License-Identifier: GPL-2.0
//! What a frame's descriptors ask of the transmit offloads, and why that may be refused.

use std::fmt;

use libixgbe::desc;

use super::checksum;

/// TUCMD.SNAP of a context descriptor (82598 3.5.3.3.1.2); no Linux driver sets it.
const TUCMD_SNAP: u32 = 0x0200;

/// Transport protocol of a context, field L4T.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum L4Type {
    /// UDP, value 0.
    #[default]
    Udp,
    /// TCP, value 1.
    Tcp,
    /// SCTP, value 2; reserved on the 82598.
    Sctp,
    /// Value 3.
    Reserved,
}

impl L4Type {
    /// Where the protocol's header keeps its checksum.
    pub(super) const fn checksum_offset(self) -> Option<usize> {
        match self {
            Self::Udp => Some(6),
            Self::Tcp => Some(16),
            Self::Sctp => Some(checksum::SCTP_FIELD),
            Self::Reserved => None,
        }
    }
}

/// An advanced context descriptor. Lengths are in bytes and describe the frame as it is in memory, without a tag that
/// the device inserts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// MACLEN: everything in front of the IP header.
    pub mac_len: u8,
    /// IPLEN: IP header with options or extension headers, up to 511.
    pub ip_len: u16,
    /// L4LEN: transport header with options. Used for segmentation only.
    pub l4_len: u8,
    /// MSS: payload bytes of a segment. Used for segmentation only.
    pub mss: u16,
    /// Tag control information for VLE.
    pub vlan: u16,
    /// TUCMD.IPV4. Used for IXSM and for segmentation only: K leaves it clear for a transport checksum over IPv4.
    pub ipv4: bool,
    /// TUCMD.SNAP: the frame has an 802.3 length field, which segmentation updates.
    pub snap: bool,
    /// TUCMD.L4T.
    pub l4: L4Type,
    /// IDX: the context slot that the descriptor fills.
    pub index: u8,
}

impl Context {
    /// Decodes the descriptor.
    pub fn decode(descriptor: &desc::AdvTxContext) -> Self {
        let [ip_len, mac_ip, vlan_low, vlan_high] = descriptor.vlan_macip_lens.get().to_le_bytes();
        let [index, l4_len, mss_low, mss_high] = descriptor.mss_l4len_idx.get().to_le_bytes();
        let tucmd = descriptor.type_tucmd_mlhl.get();
        Self {
            // IPLEN has nine bits, MACLEN the seven above them.
            mac_len: mac_ip >> 1,
            ip_len: u16::from_le_bytes([ip_len, mac_ip & 1]),
            l4_len,
            mss: u16::from_le_bytes([mss_low, mss_high]),
            vlan: u16::from_le_bytes([vlan_low, vlan_high]),
            ipv4: tucmd & desc::ADVTXD_TUCMD_IPV4 != 0,
            snap: tucmd & TUCMD_SNAP != 0,
            l4: match tucmd & desc::ADVTXD_TUCMD_L4T_RSV {
                desc::ADVTXD_TUCMD_L4T_UDP => L4Type::Udp,
                desc::ADVTXD_TUCMD_L4T_TCP => L4Type::Tcp,
                desc::ADVTXD_TUCMD_L4T_SCTP => L4Type::Sctp,
                _ => L4Type::Reserved,
            },
            index: index >> desc::ADVTXD_IDX_SHIFT & 7,
        }
    }
}

/// The options of a frame, from its first advanced data descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataOptions {
    /// POPTS.IXSM: insert the IPv4 header checksum.
    pub ip_checksum: bool,
    /// POPTS.TXSM: insert the transport checksum.
    pub l4_checksum: bool,
    /// DCMD.TSE: segment.
    pub segment: bool,
    /// DCMD.VLE: insert the context's tag.
    pub vlan: bool,
    /// DCMD.IFCS: the device makes the FCS; otherwise the frame ends with one.
    pub insert_fcs: bool,
    /// CC: the context of `index` is valid for this frame.
    pub check_context: bool,
    /// IDX: context slot.
    pub index: u8,
    /// PAYLEN in bytes: of the whole frame, or of what follows the headers when segmenting.
    pub payload_len: u32,
}

impl DataOptions {
    /// Decodes the descriptor.
    pub fn decode(descriptor: &desc::AdvTxData) -> Self {
        let command = descriptor.cmd_type_len.get();
        let options = descriptor.olinfo_status.get();
        let [low, ..] = options.to_le_bytes();
        Self {
            ip_checksum: options & desc::ADVTXD_POPTS_IXSM != 0,
            l4_checksum: options & desc::ADVTXD_POPTS_TXSM != 0,
            segment: command & desc::ADVTXD_DCMD_TSE != 0,
            vlan: command & desc::ADVTXD_DCMD_VLE != 0,
            insert_fcs: command & desc::ADVTXD_DCMD_IFCS != 0,
            check_context: options & desc::ADVTXD_CC != 0,
            index: low >> desc::ADVTXD_IDX_SHIFT & 7,
            payload_len: options >> desc::ADVTXD_PAYLEN_SHIFT,
        }
    }
}

/// Why a frame cannot be sent as asked. A driver that causes one has a bug, or is malicious: the real device may send a
/// broken frame or hang (82598 3.5.3.4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A header that an offload needs reaches past the frame, or is shorter than its protocol allows.
    Header,
    /// L4T is reserved, or SCTP is to be segmented.
    L4Type,
    /// PAYLEN is not the length of the frame in the descriptors.
    PayloadLen,
    /// MSS is below [`super::tso::MIN_MSS`], a segment would exceed IP's 64 KiB, or there would be more than
    /// [`super::tso::MOST_SEGMENTS`].
    SegmentSize,
    /// The frame brings its FCS, and it is missing or wrong: no receiver would take it.
    Fcs,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header lengths of the context do not fit the frame",
            Self::L4Type => "L4 type cannot be offloaded",
            Self::PayloadLen => "PAYLEN differs from the length of the frame",
            Self::SegmentSize => "segment size out of range",
            Self::Fcs => "frame check sequence missing or wrong",
        })
    }
}

impl std::error::Error for Error {}
