// SPDX-License-Identifier: GPL-2.0
//! What a received frame's descriptor says about it: packet type and checksum verdict.

use libixgbe::desc;

use super::be16;
use super::checksum::{self, Sum};
use super::parse::{Ip, Packet, Segment, Transport, Version};
use super::rss;

/// The 16 low bits of an advanced write-back descriptor: packet type and RSS type.
///
/// `ethertype_filter` is the index of the ETQF register that the frame matched: the packet type is then that index (K:
/// `IXGBE_RXDADV_PKTTYPE_ETQF`).
pub fn packet_info(
    packet: &Packet<'_>,
    rss: Option<rss::Type>,
    ethertype_filter: Option<u8>,
) -> u16 {
    // The discriminant is the descriptor's value.
    let mut info = rss.map_or(0, |function| u32::from(function as u8));
    info |= match ethertype_filter {
        Some(index) => {
            desc::RXDADV_PKTTYPE_ETQF | u32::from(index & 7) << desc::RXDADV_PKTTYPE_ETQF_SHIFT
        }
        None => headers(packet),
    };
    // All of these bits are in the low half.
    u16::try_from(info).unwrap_or_default()
}

/// The packet type of the headers that were recognised.
fn headers(packet: &Packet<'_>) -> u32 {
    let mut info = 0;
    if let Some(ip) = packet.ip {
        // The bit for extensions comes on top of the plain one (D: IXGBE_PACKET_TYPE_IPV4_EXT is 0x03).
        let (plain, extended) = match ip.version {
            Version::V4 { .. } => (desc::RXDADV_PKTTYPE_IPV4, desc::RXDADV_PKTTYPE_IPV4_EX),
            Version::V6 => (desc::RXDADV_PKTTYPE_IPV6, desc::RXDADV_PKTTYPE_IPV6_EX),
        };
        info |= plain;
        if ip.extended {
            info |= extended;
        }
        if matches!(
            ip.version,
            Version::V4 {
                carries_v6: true,
                ..
            }
        ) {
            info |= desc::RXDADV_PKTTYPE_IPV6;
        }
    }
    info |= match packet.segment.map(|segment| segment.kind) {
        Some(Transport::Tcp) => desc::RXDADV_PKTTYPE_TCP,
        Some(Transport::Udp) => desc::RXDADV_PKTTYPE_UDP,
        Some(Transport::Sctp) => desc::RXDADV_PKTTYPE_SCTP,
        None => 0,
    };
    let (esp, ah) = packet.ipsec();
    if esp {
        info |= desc::RXDADV_PKTTYPE_IPSEC_ESP;
    }
    if ah {
        info |= desc::RXDADV_PKTTYPE_IPSEC_AH;
    }
    info
}

/// Which checksums were looked at, and which of them are wrong, as bits of an advanced write-back descriptor's status
/// and error field (82598 3.5.2.12 and tables 3-55 and 3-59).
pub fn checksum_status(packet: &Packet<'_>) -> u32 {
    let Some(ip) = packet.ip else {
        return 0;
    };
    let mut bits = 0;
    // IPv4 in IPv4 is one of the packets that the table excludes.
    if matches!(
        ip.version,
        Version::V4 {
            carries_v4: false,
            ..
        }
    ) {
        bits |= desc::RXD_STAT_IPCS;
        if Sum::default().bytes(ip.header).checksum() != 0 {
            bits |= desc::RXDADV_ERR_IPE;
        }
    }
    if let Some(segment) = packet.segment.filter(|_| !ip.rerouted) {
        bits |= segment_status(&ip, &segment);
    }
    bits
}

/// The same for the transport checksum alone.
fn segment_status(ip: &Ip<'_>, segment: &Segment<'_>) -> u32 {
    let good = match segment.kind {
        Transport::Sctp => {
            let field = segment
                .bytes
                .get(checksum::SCTP_FIELD..checksum::SCTP_FIELD + 4);
            field == Some(&checksum::sctp(segment.bytes))
        }
        Transport::Udp if be16(segment.bytes, 6) == Some(0) && ip.version != Version::V6 => {
            // The sender made no checksum: nothing is reported (82598 table 3-55).
            return 0;
        }
        Transport::Tcp | Transport::Udp => {
            let len = u32::try_from(segment.bytes.len()).unwrap_or_default();
            // IPv6 without rerouting has the transport protocol last, as IPv4 has.
            checksum::pseudo_header(ip.source, ip.destination, ip.protocol, len)
                .bytes(segment.bytes)
                .checksum()
                == 0
        }
    };
    let mut bits = desc::RXD_STAT_L4CS;
    if segment.kind == Transport::Udp {
        bits |= desc::RXD_STAT_UDPCS;
    }
    if !good {
        bits |= desc::RXDADV_ERR_TCPE;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::super::testing::{build, parsed, sample, Addresses};
    use super::*;
    use proptest::prelude::*;

    const TCP4: u32 = desc::RXD_STAT_IPCS | desc::RXD_STAT_L4CS;

    proptest! {
        #[test]
        fn right_packets_are_found_right(sample in sample(2000), padding in 0usize..50) {
            let mut frame = sample.frame.clone();
            let clean = frame.clone();
            // What pads a short frame is not part of the packet.
            frame.resize(frame.len() + padding, 0xa5);
            let bits = checksum_status(&parsed(&frame));
            let v4 = matches!(sample.addresses, Addresses::V4(..));
            prop_assert_eq!(bits & desc::RXD_STAT_IPCS != 0, v4);
            prop_assert_eq!(bits & desc::RXD_STAT_L4CS != 0, true);
            prop_assert_eq!(bits & desc::RXD_STAT_UDPCS != 0, sample.tcp.is_none());
            prop_assert_eq!(bits & desc::RXDADV_ERR_MASK, 0);

            let info = u32::from(packet_info(&parsed(&clean), None, None));
            let l3 = if v4 { desc::RXDADV_PKTTYPE_IPV4 } else { desc::RXDADV_PKTTYPE_IPV6 };
            let l4 = match sample.tcp {
                Some(_) => desc::RXDADV_PKTTYPE_TCP,
                None => desc::RXDADV_PKTTYPE_UDP,
            };
            prop_assert_eq!(info, l3 | l4);
        }

        #[test]
        fn one_wrong_bit_is_found(sample in sample(500), at: prop::sample::Index, bit in 0u8..8) {
            let mut frame = sample.frame.clone();
            let l4 = 14 + sample.ip_len();
            // Anywhere in the payload or the checksum field: what is recognised stays the same.
            let field = sample.checksum_at();
            let candidates = [field, field + 1].into_iter()
                .chain(l4 + sample.l4_len()..frame.len())
                .collect::<Vec<_>>();
            frame[candidates[at.index(candidates.len())]] ^= 1 << bit;
            // A UDP checksum of zero means that there is none.
            prop_assume!(sample.tcp.is_some() || frame[field..field + 2] != [0, 0]);
            // 0 and 0xffff are the same number to a one's complement sum.
            prop_assume!(!(sample.tcp.is_some() && frame[field] == frame[field + 1]
                && [0, 0xff].contains(&frame[field])));
            let bits = checksum_status(&parsed(&frame));
            prop_assert_eq!(bits & desc::RXDADV_ERR_MASK, desc::RXDADV_ERR_TCPE);
        }

        #[test]
        fn any_bytes_are_accepted(frame: Vec<u8>, outer: Option<u16>, vlan: u16) {
            let tags = super::super::parse::TagTypes { vlan, outer };
            let packet = Packet::parse(&frame, tags);
            prop_assert!(packet.is_none() || frame.len() >= 14);
            if let Some(packet) = packet {
                packet_info(&packet, None, None);
                checksum_status(&packet);
            }
        }

        #[test]
        fn any_mutation_of_a_packet_is_accepted(
            sample in sample(100),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            cut: prop::sample::Index,
        ) {
            let mut frame = sample.frame.clone();
            for (at, value) in changes {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            frame.truncate(cut.index(frame.len() + 1));
            if let Some(packet) = Packet::parse(&frame, Default::default()) {
                packet_info(&packet, None, None);
                checksum_status(&packet);
            }
        }
    }

    fn tcp4() -> Vec<u8> {
        let header = etherparse::TcpHeader::new(1, 2, 3, 4);
        let ends = Addresses::V4([10, 0, 0, 1], [10, 0, 0, 2], 0);
        build(ends, Some(header), vec![7; 33]).frame
    }

    fn udp4() -> Vec<u8> {
        build(
            Addresses::V4([10, 0, 0, 1], [10, 0, 0, 2], 0),
            None,
            vec![7; 33],
        )
        .frame
    }

    fn tcp6() -> Vec<u8> {
        let header = etherparse::TcpHeader::new(1, 2, 3, 4);
        build(Addresses::V6([1; 16], [2; 16]), Some(header), vec![7; 33]).frame
    }

    /// Puts an extension header, with the next-header value left open, into an IPv6 packet.
    fn extend(frame: &mut Vec<u8>, kind: u8, mut extension: Vec<u8>) {
        extension[0] = frame[20];
        frame[20] = kind;
        frame[19] += extension.len() as u8;
        frame.splice(54..54, extension);
    }

    #[test]
    fn ip_header_error() {
        let mut frame = tcp4();
        frame[22] ^= 1;
        assert_eq!(
            checksum_status(&parsed(&frame)),
            TCP4 | desc::RXDADV_ERR_IPE
        );
    }

    #[test]
    fn udp_without_checksum() {
        let mut frame = udp4();
        frame[40..42].fill(0);
        assert_eq!(checksum_status(&parsed(&frame)), desc::RXD_STAT_IPCS);
    }

    #[test]
    fn fragments_have_no_transport_header() {
        // More-fragments, and an offset; the header checksum is mended by hand.
        for (at, value) in [(20, 0x20u8), (21, 0x05)] {
            let mut frame = udp4();
            frame[at] |= value;
            frame[24..26].fill(0);
            let sum = Sum::default().bytes(&frame[14..34]).checksum();
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
            let packet = parsed(&frame);
            assert_eq!(checksum_status(&packet), desc::RXD_STAT_IPCS);
            let info = u32::from(packet_info(&packet, None, None));
            assert_eq!(info, desc::RXDADV_PKTTYPE_IPV4);
        }
        // Don't-fragment is none.
        let mut frame = tcp4();
        frame[20] |= 0x40;
        assert!(parsed(&frame).segment.is_some());

        let mut frame = tcp6();
        extend(&mut frame, 44, vec![0; 8]);
        let packet = parsed(&frame);
        assert_eq!(checksum_status(&packet), 0);
        let info = u32::from(packet_info(&packet, None, None));
        assert_eq!(
            info,
            desc::RXDADV_PKTTYPE_IPV6 | desc::RXDADV_PKTTYPE_IPV6_EX
        );
    }

    #[test]
    fn extension_headers_as_in_the_table() {
        let with = |kind: u8, extension: Vec<u8>| {
            let mut frame = tcp6();
            extend(&mut frame, kind, extension);
            let packet = parsed(&frame);
            let info = u32::from(packet_info(&packet, None, None));
            (checksum_status(&packet), info)
        };
        let padded = |len: usize| {
            let mut extension = vec![0; len];
            extension[1] = (len / 8 - 1) as u8;
            extension
        };
        let headers = desc::RXDADV_PKTTYPE_IPV6 | desc::RXDADV_PKTTYPE_IPV6_EX;
        let tcp = headers | desc::RXDADV_PKTTYPE_TCP;
        // Hop-by-hop, destination options and a routing header without addresses do not matter.
        for kind in [0, 60, 43] {
            assert_eq!(with(kind, padded(8)), (desc::RXD_STAT_L4CS, tcp), "{kind}");
        }
        assert_eq!(with(0, padded(64)), (desc::RXD_STAT_L4CS, tcp));
        // A routing header with an address and a home address do.
        assert_eq!(with(43, padded(24)), (0, tcp));
        let mut home = padded(24);
        home[2..8].copy_from_slice(&[1, 2, 0, 0, 0xc9, 16]);
        assert_eq!(with(60, home), (0, tcp));
        // Longer than the parser passes.
        assert_eq!(with(0, padded(72)), (0, desc::RXDADV_PKTTYPE_IPV6));
        // ESP and AH end the parsing.
        let end = |kind| with(kind, padded(8));
        let v6 = desc::RXDADV_PKTTYPE_IPV6;
        assert_eq!(end(50), (0, v6 | desc::RXDADV_PKTTYPE_IPSEC_ESP));
        assert_eq!(end(51), (0, v6 | desc::RXDADV_PKTTYPE_IPSEC_AH));
    }

    #[test]
    fn ipv4_options_and_tunnels() {
        let mut frame = tcp4();
        frame[14] = 0x46;
        frame[17] += 4;
        frame.splice(34..34, [1, 1, 1, 1]);
        frame[24..26].fill(0);
        let sum = Sum::default().bytes(&frame[14..38]).checksum();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        let packet = parsed(&frame);
        assert_eq!(checksum_status(&packet), TCP4);
        let v4 = desc::RXDADV_PKTTYPE_IPV4;
        let info = u32::from(packet_info(&packet, None, None));
        assert_eq!(
            info,
            v4 | desc::RXDADV_PKTTYPE_IPV4_EX | desc::RXDADV_PKTTYPE_TCP
        );

        let mut tunnel = tcp4();
        for (protocol, bits, kind) in [
            (4, 0, v4),
            (41, desc::RXD_STAT_IPCS, v4 | desc::RXDADV_PKTTYPE_IPV6),
        ] {
            tunnel[23] = protocol;
            tunnel[24..26].fill(0);
            let sum = Sum::default().bytes(&tunnel[14..34]).checksum();
            tunnel[24..26].copy_from_slice(&sum.to_be_bytes());
            let packet = parsed(&tunnel);
            assert_eq!(checksum_status(&packet), bits);
            assert_eq!(u32::from(packet_info(&packet, None, None)), kind);
        }
    }

    #[test]
    fn truncated_packets_have_no_verdict_on_the_transport() {
        let frame = tcp4();
        let packet = parsed(&frame[..frame.len() - 1]);
        assert_eq!(checksum_status(&packet), desc::RXD_STAT_IPCS);
        assert_eq!(checksum_status(&parsed(&tcp6()[..80])), 0);
    }

    #[test]
    fn sctp() {
        let mut frame = tcp4();
        frame[23] = 132;
        frame[24..26].fill(0);
        let sum = Sum::default().bytes(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        let packet = parsed(&frame);
        assert_eq!(checksum_status(&packet), TCP4 | desc::RXDADV_ERR_TCPE);
        let info = u32::from(packet_info(&packet, None, None));
        assert_eq!(info, desc::RXDADV_PKTTYPE_IPV4 | desc::RXDADV_PKTTYPE_SCTP);
        let mut zeroed = frame[34..].to_vec();
        zeroed[8..12].fill(0);
        let crc = crc32c::crc32c(&zeroed).to_le_bytes();
        frame[42..46].copy_from_slice(&crc);
        assert_eq!(checksum_status(&parsed(&frame)), TCP4);
    }

    #[test]
    fn tags() {
        let tagged = |types: &[u16]| {
            let mut frame = tcp4();
            for (i, ethertype) in types.iter().rev().enumerate() {
                super::super::vlan::insert(&mut frame, *ethertype, 100 + i as u16);
            }
            frame
        };
        let both = super::super::parse::TagTypes {
            vlan: 0x8100,
            outer: Some(0x88a8),
        };
        let one = super::super::parse::TagTypes::default();
        let parse = |types: &[u16], tags| {
            let frame = tagged(types);
            let packet = Packet::parse(&frame, tags).unwrap();
            (packet.vlan, packet.segment.is_some())
        };
        assert_eq!(parse(&[0x8100], one), (Some(100), true));
        assert_eq!(parse(&[0x88a8, 0x8100], both), (Some(100), true));
        assert_eq!(parse(&[0x88a8, 0x8100], one), (None, false));
        // A second tag of the filtered type is not looked behind.
        assert_eq!(parse(&[0x8100, 0x8100], one), (Some(101), false));
    }

    #[test]
    fn ethertype_filter_replaces_the_packet_type() {
        let info = packet_info(&parsed(&tcp4()), Some(rss::Type::Ipv4), Some(3));
        assert_eq!(info, 0x8032);
    }
}
