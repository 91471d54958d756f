// SPDX-License-Identifier: GPL-2.0
//! Segmentation of TCP and UDP over IPv4 and IPv6 (82598 3.5.3.4).

use super::context::{Context, DataOptions, Error, L4Type};
use super::insert::{insert_ip_checksum, insert_l4_checksum};
use super::vlan::ADDRESSES_LEN;
use super::{be16, be32, put};

/// The smallest MSS that is segmented, in bytes. The public sources name no limit; this is the least that Linux asks for
/// (`TCP_MIN_GSO_SIZE` in `include/net/tcp.h`).
pub const MIN_MSS: u16 = 8;

/// The most segments that one request may make. A choice, since each may go to 64 pools: as many as K asks for at most,
/// 64 KiB (`netif_set_tso_max_size` in `ixgbe_main.c`, `GSO_LEGACY_MAX_SIZE` for a VF) at [`MIN_MSS`].
pub const MOST_SEGMENTS: usize = 65_536 / MIN_MSS as usize;

/// LLC and SNAP headers, EtherType included.
const SNAP_LEN: usize = 8;
const IPV4_HEADER: u16 = 20;
const IPV6_HEADER: u16 = 40;

/// Which TCP flags each kind of segment keeps: 12 bits, from the reserved ones down to FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagMasks {
    /// Of the first segment.
    pub first: u16,
    /// Of those between.
    pub middle: u16,
    /// Of the last segment.
    pub last: u16,
}

impl FlagMasks {
    /// The masks of the registers DTXTCPFLGL (first 11:0, middle 27:16) and DTXTCPFLGH (last 11:0).
    pub fn from_registers(low: u32, high: u32) -> Self {
        let field = |value: u32| u16::try_from(value & 0xfff).unwrap_or_default();
        Self {
            first: field(low),
            middle: field(low >> 16),
            last: field(high),
        }
    }
}

impl Default for FlagMasks {
    /// The values after reset, as FreeBSD's review D44258 read them from an 82599: PSH and FIN go out with the last
    /// segment only. That the middle segments keep CWR is the chip's, and why K does not claim TSO with ECN.
    fn default() -> Self {
        Self {
            first: 0xff6,
            middle: 0xff6,
            last: 0xf7f,
        }
    }
}

/// Segments `frame`, whose headers are `mac_len` bytes (an inserted tag included) and those of `context`.
pub(super) fn segment(
    frame: &[u8],
    mac_len: usize,
    context: &Context,
    options: &DataOptions,
    masks: FlagMasks,
    mut emit: impl FnMut(&[u8]),
) -> Result<u32, Error> {
    let l4 = mac_len + usize::from(context.ip_len);
    let headers_len = l4 + usize::from(context.l4_len);
    let (headers, payload) = frame.split_at_checked(headers_len).ok_or(Error::Header)?;
    check(context)?;
    let mss = usize::from(context.mss);
    let largest = u32::from(context.ip_len) + u32::from(context.l4_len) + u32::from(context.mss);
    if context.mss < MIN_MSS
        || largest > u32::from(u16::MAX)
        || payload.len().div_ceil(mss) > MOST_SEGMENTS
    {
        return Err(Error::SegmentSize);
    }

    let flags = be16(headers, l4 + 12).unwrap_or_default();
    let sequence = be32(headers, l4 + 4).unwrap_or_default();
    let identification = be16(headers, mac_len + 4).unwrap_or_default();
    let mut out = Vec::with_capacity(headers_len + mss.min(payload.len()));
    let mut sent: u32 = 0;
    let mut offset = 0;
    loop {
        let rest = payload.get(offset..).unwrap_or_default();
        let chunk = rest.get(..mss).unwrap_or(rest);
        let last = chunk.len() == rest.len();
        out.clear();
        out.extend_from_slice(headers);
        out.extend_from_slice(chunk);

        // Cannot truncate: checked against `largest` above.
        let chunk_len = u16::try_from(chunk.len()).map_err(|_| Error::SegmentSize)?;
        let l4_len = u16::from(context.l4_len) + chunk_len;
        if context.snap {
            // The length field counts what follows it: LLC and SNAP (8 bytes with the EtherType) end the MAC header.
            let start = mac_len.saturating_sub(SNAP_LEN);
            let field = u16::try_from(out.len() - start).map_err(|_| Error::SegmentSize)?;
            put(&mut out, start.saturating_sub(2), &field.to_be_bytes());
        }
        if context.ipv4 {
            let [low, high, ..] = sent.to_le_bytes();
            let id = identification.wrapping_add(u16::from_le_bytes([low, high]));
            put(
                &mut out,
                mac_len + 2,
                &(context.ip_len + l4_len).to_be_bytes(),
            );
            put(&mut out, mac_len + 4, &id.to_be_bytes());
        } else {
            let len = context.ip_len - IPV6_HEADER + l4_len;
            put(&mut out, mac_len + 4, &len.to_be_bytes());
        }
        if context.l4 == L4Type::Tcp {
            // A frame is at most 256 KiB, so that this cannot truncate.
            let position = u32::try_from(offset).unwrap_or_default();
            put(
                &mut out,
                l4 + 4,
                &sequence.wrapping_add(position).to_be_bytes(),
            );
            let mask = match (sent == 0, last) {
                // One segment alone is the first and the last: it keeps what either does.
                (true, true) => masks.first | masks.last,
                (true, false) => masks.first,
                (false, true) => masks.last,
                (false, false) => masks.middle,
            };
            put(&mut out, l4 + 12, &(flags & (0xf000 | mask)).to_be_bytes());
        } else {
            put(&mut out, l4 + 4, &l4_len.to_be_bytes());
        }
        if options.ip_checksum && context.ipv4 {
            insert_ip_checksum(&mut out, mac_len, context)?;
        }
        if options.l4_checksum {
            insert_l4_checksum(&mut out, mac_len, context, u32::from(l4_len))?;
        }
        emit(&out);
        sent += 1;
        if last {
            return Ok(sent);
        }
        offset += mss;
    }
}

/// Whether the context's lengths can be those of its protocols.
fn check(context: &Context) -> Result<(), Error> {
    let ip = if context.ipv4 {
        IPV4_HEADER
    } else {
        IPV6_HEADER
    };
    let l4 = match context.l4 {
        L4Type::Tcp => 20,
        L4Type::Udp => 8,
        L4Type::Sctp | L4Type::Reserved => return Err(Error::L4Type),
    };
    if usize::from(context.mac_len) < ADDRESSES_LEN + 2
        || context.ip_len < ip
        || context.l4_len < l4
    {
        return Err(Error::Header);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::checksum::Sum;
    use super::super::testing::{build, parsed, sample, send, Addresses, Sample};
    use super::super::tx::Config;
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn segments_are_right_and_join_to_the_original(
            sample in sample(20_000),
            mss in MIN_MSS..9000,
            tag: Option<u16>,
            rfc3168: bool,
        ) {
            let mut config = Config::default();
            if rfc3168 {
                config.tcp_flags.middle = 0xf76;
            }
            let (frame, context, options) = sample.request(Some(mss));
            let wire = send(&frame, &context, &options, tag, &config).unwrap();
            let count = wire.len();
            let mut joined = Vec::new();
            for (i, frame) in wire.iter().enumerate() {
                let (first, last) = (i == 0, i + 1 == count);
                let packet = SlicedPacket::from_ethernet(frame).unwrap();
                prop_assert_eq!(
                    packet.vlan_ids().first().map(|id| id.value()),
                    tag.map(|tci| tci & 0xfff)
                );
                let transport = packet.transport.unwrap();
                let payload = match &transport {
                    TransportSlice::Tcp(tcp) => tcp.payload(),
                    TransportSlice::Udp(udp) => udp.payload(),
                    other => panic!("{other:?}"),
                };
                if !last {
                    prop_assert_eq!(payload.len(), usize::from(mss));
                }
                let sequence = joined.len() as u32;
                joined.extend_from_slice(payload);

                let (source, destination) = match &sample.addresses {
                    Addresses::V4(a, b, _) => (&a[..], &b[..]),
                    Addresses::V6(a, b) => (&a[..], &b[..]),
                };
                match packet.net.unwrap() {
                    NetSlice::Ipv4(ip) => {
                        let header = ip.header().to_header();
                        let Addresses::V4(_, _, id) = sample.addresses else { panic!() };
                        prop_assert_eq!(header.identification, id.wrapping_add(i as u16));
                        prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
                        prop_assert_eq!(&header.source[..], source);
                        prop_assert_eq!(&header.destination[..], destination);
                    }
                    NetSlice::Ipv6(ip) => {
                        prop_assert_eq!(&ip.header().source()[..], source);
                        prop_assert_eq!(&ip.header().destination()[..], destination);
                    }
                    other => panic!("{other:?}"),
                }
                match transport {
                    TransportSlice::Tcp(tcp) => {
                        let (got, want) = (tcp.to_header(), sample.tcp.clone().unwrap());
                        let right = match &sample.addresses {
                            Addresses::V4(a, b, _) => got.calc_checksum_ipv4_raw(*a, *b, payload),
                            Addresses::V6(a, b) => got.calc_checksum_ipv6_raw(*a, *b, payload),
                        };
                        prop_assert_eq!(got.checksum, right.unwrap());
                        prop_assert_eq!(
                            got.sequence_number,
                            want.sequence_number.wrapping_add(sequence)
                        );
                        prop_assert_eq!(got.fin, want.fin && last);
                        prop_assert_eq!(got.psh, want.psh && last);
                        prop_assert_eq!(got.cwr, want.cwr && (first || (!rfc3168 && !last)));
                        prop_assert_eq!(got.ece, want.ece);
                        prop_assert_eq!(got.ns, want.ns);
                        prop_assert_eq!(got.acknowledgment_number, want.acknowledgment_number);
                        prop_assert_eq!(got.options.as_slice(), want.options.as_slice());
                    }
                    TransportSlice::Udp(udp) => {
                        let got = udp.to_header();
                        let right = match &sample.addresses {
                            Addresses::V4(a, b, _) => got.calc_checksum_ipv4_raw(*a, *b, payload),
                            Addresses::V6(a, b) => got.calc_checksum_ipv6_raw(*a, *b, payload),
                        };
                        prop_assert_eq!(usize::from(got.length), 8 + payload.len());
                        prop_assert_eq!(got.checksum, right.unwrap());
                    }
                    other => panic!("{other:?}"),
                }
            }
            prop_assert_eq!(joined, sample.payload);
        }

        #[test]
        fn no_context_makes_it_panic(
            frame: Vec<u8>,
            lengths: (u8, u16, u8, u16),
            l4 in 0u8..4,
            options: (bool, bool, bool, bool, bool),
            tag: Option<u16>,
            honest: bool,
            payload_len: u32,
        ) {
            let (mac_len, ip_len, l4_len, mss) = lengths;
            let (ipv4, snap, ip_checksum, l4_checksum, insert_fcs) = options;
            let context = Context {
                mac_len: mac_len & 0x7f,
                ip_len: ip_len & 0x1ff,
                l4_len,
                mss,
                ipv4,
                snap,
                l4: [L4Type::Udp, L4Type::Tcp, L4Type::Sctp, L4Type::Reserved][usize::from(l4)],
                ..Default::default()
            };
            for segment in [false, true] {
                let headers = if segment {
                    usize::from(context.mac_len)
                        + usize::from(context.ip_len)
                        + usize::from(l4_len)
                } else {
                    0
                };
                let right = frame.len().saturating_sub(headers) as u32;
                let options = DataOptions {
                    ip_checksum,
                    l4_checksum,
                    segment,
                    insert_fcs,
                    payload_len: if honest { right } else { payload_len },
                    ..Default::default()
                };
                let _ = send(&frame, &context, &options, tag, &Config::default());
            }
        }
    }

    /// A TCP packet with 100 bytes of payload.
    fn tcp() -> Sample {
        let header = etherparse::TcpHeader::new(1, 2, 3, 4);
        build(
            Addresses::V4([10, 0, 0, 1], [10, 0, 0, 2], 7),
            Some(header),
            vec![5; 100],
        )
    }

    #[test]
    fn contexts_that_cannot_be_are_refused() {
        let count = |change: &dyn Fn(&mut Context, &mut DataOptions)| {
            let (frame, mut context, mut options) = tcp().request(Some(50));
            change(&mut context, &mut options);
            send(&frame, &context, &options, None, &Config::default()).map(|wire| wire.len())
        };
        assert_eq!(count(&|_, _| {}), Ok(2));
        assert_eq!(count(&|c, _| c.mss = MIN_MSS), Ok(13));
        assert_eq!(count(&|c, _| c.mss = MIN_MSS - 1), Err(Error::SegmentSize));
        assert_eq!(count(&|c, _| c.mss = 65_500), Err(Error::SegmentSize));
        assert_eq!(count(&|_, o| o.payload_len += 1), Err(Error::PayloadLen));
        assert_eq!(count(&|c, _| c.l4 = L4Type::Sctp), Err(Error::L4Type));
        assert_eq!(
            count(&|c, o| {
                c.l4_len = 19;
                o.payload_len += 1;
            }),
            Err(Error::Header)
        );
        assert_eq!(count(&|c, _| c.ip_len = 511), Err(Error::Header));
    }

    #[test]
    fn no_request_makes_more_segments_than_linux_asks_for() {
        let count = |len: usize| {
            let (mut frame, context, mut options) = tcp().request(Some(MIN_MSS));
            frame.resize(frame.len() - 100 + len, 5);
            options.payload_len = u32::try_from(len).unwrap();
            send(&frame, &context, &options, None, &Config::default()).map(|wire| wire.len())
        };
        let most = usize::from(MIN_MSS) * MOST_SEGMENTS;
        assert_eq!(count(most), Ok(MOST_SEGMENTS));
        assert_eq!(count(most + 1), Err(Error::SegmentSize));
    }

    #[test]
    fn an_inner_header_within_iplen_is_cancelled_out() {
        // What GSO_PARTIAL makes of IPv4 in IPv4 (K: ixgbe_tso): IPLEN spans both headers, and the outer checksum field
        // starts as the complement of the inner header's sum. The inner one is right already, for full segments.
        const MSS: u16 = 50;
        let sample = tcp();
        let (plain, context, options) = sample.request(Some(MSS));
        let ip = |protocol, len| {
            let mut header =
                etherparse::Ipv4Header::new(len, 64, protocol, [1, 2, 3, 4], [5, 6, 7, 8]).unwrap();
            header.header_checksum = header.calc_header_checksum();
            header.to_bytes().to_vec()
        };
        let mut inner = ip(etherparse::IpNumber::TCP, 20 + MSS);
        // The TCP checksum is over the addresses of the inner header.
        inner[12..20].copy_from_slice(&plain[26..34]);
        inner[10..12].fill(0);
        let sum = Sum::default().bytes(&inner);
        inner[10..12].copy_from_slice(&sum.checksum().to_be_bytes());
        let sum = Sum::default().bytes(&inner);
        let mut outer = ip(etherparse::IpNumber::IPV4, 0);
        outer[2..4].fill(0);
        outer[10..12].copy_from_slice(&sum.checksum().to_be_bytes());
        let mut frame = plain[..14].to_vec();
        frame.extend(outer);
        frame.extend(&inner);
        frame.extend(&plain[34..]);

        let context = Context {
            ip_len: 40,
            ..context
        };
        let wire = send(&frame, &context, &options, None, &Config::default()).unwrap();
        assert_eq!(wire.len(), 2);
        let Addresses::V4(source, destination, _) = sample.addresses else {
            panic!()
        };
        for out in wire {
            let (outer, rest) = etherparse::Ipv4Header::from_slice(&out[14..]).unwrap();
            assert_eq!(usize::from(outer.total_len), out.len() - 14);
            assert_eq!(outer.header_checksum, outer.calc_header_checksum());
            assert_eq!(rest[..20], inner);
            let tcp = etherparse::TcpSlice::from_slice(&rest[20..]).unwrap();
            let header = tcp.to_header();
            let right = header.calc_checksum_ipv4_raw(source, destination, tcp.payload());
            assert_eq!(tcp.checksum(), right.unwrap());
        }
    }

    #[test]
    fn snap_length_is_updated() {
        let sample = tcp();
        let (plain, context, options) = sample.request(Some(64));
        let mut frame = plain[..12].to_vec();
        frame.extend([0, 0, 0xaa, 0xaa, 3, 0, 0, 0]);
        frame.extend(&plain[12..]);
        let context = Context {
            mac_len: 22,
            snap: true,
            ..context
        };
        let wire = send(&frame, &context, &options, None, &Config::default()).unwrap();
        let lengths = wire.iter().map(|out| {
            let packet = parsed(out);
            assert_eq!(packet.ethertype, 0x0800);
            assert!(packet.segment.is_some());
            (be16(out, 12).unwrap(), out.len())
        });
        // LLC and SNAP, both headers, and the payload of each segment.
        assert!(lengths.eq([(8 + 40 + 64, 126), (8 + 40 + 36, 98)]));
    }

    #[test]
    fn masks_come_from_both_registers() {
        assert_eq!(
            FlagMasks::from_registers(0x0f76_0ff6, 0x0000_0f7f),
            FlagMasks {
                first: 0xff6,
                middle: 0xf76,
                last: 0xf7f
            }
        );
    }
}
