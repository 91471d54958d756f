// SPDX-License-Identifier: GPL-2.0
//! The receive parser: what the device recognises in a frame.
//!
//! It stops where the device stops, so that a header that it cannot parse is simply absent from the result.

use super::vlan::{ADDRESSES_LEN, TAG_LEN};
use super::{be16, be32};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The largest value of the type field that is a length instead (IEEE 802.3 clause 3.2.6).
const MAX_LENGTH_FIELD: u16 = 1500;
/// LLC and SNAP header in front of an EtherType (RFC 1042).
const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];

const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_IPIP: u8 = 4;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_IPV6: u8 = 41;
const IPPROTO_ROUTING: u8 = 43;
const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_ESP: u8 = 50;
const IPPROTO_AH: u8 = 51;
const IPPROTO_DSTOPTS: u8 = 60;
const IPPROTO_SCTP: u8 = 132;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// The longest IPv6 extension header that the parser passes: 16 dwords (82598 3.5.2.12, "IPv6 Filter").
const MAX_EXTENSION: usize = 64;
/// Home Address option of a Destination Options header (RFC 6275 section 6.3).
const OPTION_HOME_ADDRESS: u8 = 0xc9;
/// Routing header type 2: its one address is the final destination (RFC 6275 section 6.4).
const ROUTING_TYPE_2: u8 = 2;

/// EtherTypes by which the device knows a VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagTypes {
    /// VLNCTRL.VET: the tag that is filtered on and stripped.
    pub vlan: u16,
    /// EXVET: an outer tag in front of it, with CTRL_EXT.EXTENDED_VLAN only.
    pub outer: Option<u16>,
}

impl Default for TagTypes {
    fn default() -> Self {
        Self {
            vlan: 0x8100,
            outer: None,
        }
    }
}

/// IP version, with what only that version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IPv4.
    V4 {
        /// Carries an IPv6 packet (protocol 41).
        carries_v6: bool,
        /// Carries an IPv4 packet (protocol 4).
        carries_v4: bool,
    },
    /// IPv6.
    V6,
}

/// An IP header and its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip<'a> {
    /// IPv4 or IPv6.
    pub version: Version,
    /// The header with its options or extension headers, as far as they were parsed.
    pub header: &'a [u8],
    /// Has IPv4 options or IPv6 extension headers.
    pub extended: bool,
    /// Is a fragment, the first one included.
    pub fragment: bool,
    /// The protocol behind the last parsed header.
    pub protocol: u8,
    /// Source address, 4 or 16 bytes.
    pub source: &'a [u8],
    /// Destination address, 4 or 16 bytes.
    pub destination: &'a [u8],
    /// The home address, where a Destination Options header has one.
    pub home: Option<&'a [u8]>,
    /// The address of a routing header of type 2.
    pub routed: Option<&'a [u8]>,
    /// A routing header with addresses or a home address: the transport checksum is not looked at (82598 table 3-59).
    pub rerouted: bool,
}

/// Kind of a transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A transport header whose packet is complete in the frame and not a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Kind of the header.
    pub kind: Transport,
    /// Header and payload, without the frame's padding.
    pub bytes: &'a [u8],
}

impl Segment<'_> {
    /// Source and destination port, as they stand in the packet.
    pub fn ports(&self) -> u32 {
        be32(self.bytes, 0).unwrap_or_default()
    }
}

/// What the parser found in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Tag control information, if the frame has a tag of the filtered type.
    pub vlan: Option<u16>,
    /// The EtherType behind tags and SNAP header; the length field of a plain 802.3 frame.
    pub ethertype: u16,
    /// The IP header.
    pub ip: Option<Ip<'a>>,
    /// The transport header.
    pub segment: Option<Segment<'a>>,
}

impl<'a> Packet<'a> {
    /// Parses a frame without FCS. Any bytes are accepted; `None` only for a frame too short to have a type field.
    pub fn parse(frame: &'a [u8], tags: TagTypes) -> Option<Self> {
        let mut offset = ADDRESSES_LEN;
        let mut ethertype = be16(frame, offset)?;
        if tags.outer == Some(ethertype) {
            offset += TAG_LEN;
            ethertype = be16(frame, offset)?;
        }
        let mut vlan = None;
        if ethertype == tags.vlan {
            vlan = Some(be16(frame, offset + 2)?);
            offset += TAG_LEN;
            ethertype = be16(frame, offset)?;
        }
        offset += 2;
        if ethertype <= MAX_LENGTH_FIELD
            && frame
                .get(offset..)
                .is_some_and(|llc| llc.starts_with(&SNAP))
        {
            if let Some(inner) = be16(frame, offset + SNAP.len()) {
                ethertype = inner;
                offset += SNAP.len() + 2;
            }
        }

        let network = frame.get(offset..).unwrap_or_default();
        let parsed = match ethertype {
            ETHERTYPE_IPV4 => ipv4(network),
            ETHERTYPE_IPV6 => ipv6(network),
            _ => None,
        };
        let (ip, payload) = parsed.unzip();
        Some(Self {
            vlan,
            ethertype,
            segment: ip
                .zip(payload.flatten())
                .and_then(|(ip, bytes)| segment(&ip, bytes)),
            ip,
        })
    }

    /// Whether ESP or AH stands behind the IP header: (ESP, AH).
    pub fn ipsec(&self) -> (bool, bool) {
        let protocol = self.ip.map(|ip| ip.protocol);
        (protocol == Some(IPPROTO_ESP), protocol == Some(IPPROTO_AH))
    }
}

/// An IPv4 header and its payload; no payload if the packet claims more than the frame has.
fn ipv4(packet: &[u8]) -> Option<(Ip<'_>, Option<&[u8]>)> {
    let first = *packet.first()?;
    let header_len = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || header_len < IPV4_HEADER {
        return None;
    }
    let header = packet.get(..header_len)?;
    let protocol = *header.get(9)?;
    // Don't-fragment is no part of it: more-fragments or a non-zero offset is a fragment.
    let fragment = be16(header, 6)? & 0x3fff != 0;
    let ip = Ip {
        version: Version::V4 {
            carries_v6: !fragment && protocol == IPPROTO_IPV6,
            carries_v4: protocol == IPPROTO_IPIP,
        },
        header,
        extended: header_len > IPV4_HEADER,
        fragment,
        protocol,
        source: header.get(12..16)?,
        destination: header.get(16..20)?,
        home: None,
        routed: None,
        rerouted: false,
    };
    let total = usize::from(be16(header, 2)?);
    Some((ip, packet.get(header_len..total)))
}

/// An IPv6 header with its extension headers, and the payload; no payload if the packet claims more than the frame has.
fn ipv6(packet: &[u8]) -> Option<(Ip<'_>, Option<&[u8]>)> {
    let fixed = packet.get(..IPV6_HEADER)?;
    if *fixed.first()? >> 4 != 6 {
        return None;
    }
    let mut ip = Ip {
        version: Version::V6,
        header: fixed,
        extended: false,
        fragment: false,
        protocol: *fixed.get(6)?,
        source: fixed.get(8..24)?,
        destination: fixed.get(24..40)?,
        home: None,
        routed: None,
        rerouted: false,
    };
    let total = IPV6_HEADER + usize::from(be16(fixed, 4)?);
    // Each round passes at least 8 bytes, so that the packet's length bounds the loop.
    loop {
        let offset = ip.header.len();
        let extension = packet.get(offset..).unwrap_or_default();
        let len = match ip.protocol {
            IPPROTO_HOPOPTS | IPPROTO_DSTOPTS | IPPROTO_ROUTING => match extension.get(1) {
                Some(units) => (usize::from(*units) + 1) * 8,
                None => break,
            },
            IPPROTO_FRAGMENT => 8,
            _ => break,
        };
        let Some(extension) = extension.get(..len).filter(|_| len <= MAX_EXTENSION) else {
            break;
        };
        match ip.protocol {
            IPPROTO_DSTOPTS => ip.home = ip.home.or_else(|| home_address(extension)),
            IPPROTO_ROUTING => {
                if extension.get(2) == Some(&ROUTING_TYPE_2) {
                    ip.routed = ip.routed.or_else(|| extension.get(8..24));
                }
                ip.rerouted |= len > 8;
            }
            IPPROTO_FRAGMENT => ip.fragment = true,
            _ => {}
        }
        ip.extended = true;
        ip.protocol = *extension.first()?;
        ip.header = packet.get(..offset + len)?;
        if ip.fragment {
            break;
        }
    }
    ip.rerouted |= ip.home.is_some();
    Some((ip, packet.get(ip.header.len()..total)))
}

/// The Home Address option in a Destination Options header.
fn home_address(extension: &[u8]) -> Option<&[u8]> {
    let mut options = extension.get(2..)?;
    while let Some((&kind, rest)) = options.split_first() {
        if kind == 0 {
            // Pad1 is the one option without a length.
            options = rest;
            continue;
        }
        let len = usize::from(*rest.first()?);
        let value = rest.get(1..1 + len)?;
        if kind == OPTION_HOME_ADDRESS && len == 16 {
            return Some(value);
        }
        options = rest.get(1 + len..)?;
    }
    None
}

/// The transport header of a whole packet, where the device parses one.
fn segment<'a>(ip: &Ip<'a>, payload: &'a [u8]) -> Option<Segment<'a>> {
    if ip.fragment {
        return None;
    }
    match ip.protocol {
        IPPROTO_TCP => {
            let header = usize::from(*payload.get(12)? >> 4) * 4;
            (header >= 20 && header <= payload.len()).then_some(Segment {
                kind: Transport::Tcp,
                bytes: payload,
            })
        }
        IPPROTO_UDP => {
            // The datagram may end before the packet does (RFC 768 has its own length), but not the other way round.
            let len = usize::from(be16(payload, 4)?);
            let bytes = payload.get(..len).filter(|_| len >= 8)?;
            Some(Segment {
                kind: Transport::Udp,
                bytes,
            })
        }
        IPPROTO_SCTP => (payload.len() >= 12).then_some(Segment {
            kind: Transport::Sctp,
            bytes: payload,
        }),
        _ => None,
    }
}
