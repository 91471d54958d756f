// SPDX-License-Identifier: GPL-2.0
//! Receive side scaling: the Toeplitz hash and what of a packet goes into it (82598 3.5.2.10).

use libixgbe::regs;

use super::parse::{Packet, Transport, Version};

/// Bytes of the key, registers RSSRK(0..10).
pub const KEY_LEN: usize = 40;

/// The longest input: two IPv6 addresses and two ports.
const MAX_INPUT: usize = 36;

/// The hash function that was used, with the value that the descriptor reports (K: `IXGBE_RXDADV_RSSTYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Type {
    /// IPv4 addresses and TCP ports.
    Ipv4Tcp = 1,
    /// IPv4 addresses.
    Ipv4 = 2,
    /// IPv6 addresses and TCP ports.
    Ipv6Tcp = 3,
    /// IPv6 home and routed addresses.
    Ipv6Ex = 4,
    /// IPv6 addresses.
    Ipv6 = 5,
    /// IPv6 home and routed addresses, and TCP ports.
    Ipv6TcpEx = 6,
    /// IPv4 addresses and UDP ports.
    Ipv4Udp = 7,
    /// IPv6 addresses and UDP ports.
    Ipv6Udp = 8,
    /// IPv6 home and routed addresses, and UDP ports.
    Ipv6UdpEx = 9,
}

impl Type {
    /// The function for a packet, by MRQC: the first enabled one in the order of 82598 3.5.2.10.
    fn choose(packet: &Packet<'_>, mrqc: u32) -> Option<Self> {
        let kind = packet.segment.map(|segment| segment.kind);
        let tcp = kind == Some(Transport::Tcp);
        let udp = kind == Some(Transport::Udp);
        let choices: &[(bool, u32, Self)] = match packet.ip?.version {
            Version::V4 { .. } => &[
                (tcp, regs::MRQC_RSS_FIELD_IPV4_TCP, Self::Ipv4Tcp),
                (udp, regs::MRQC_RSS_FIELD_IPV4_UDP, Self::Ipv4Udp),
                (true, regs::MRQC_RSS_FIELD_IPV4, Self::Ipv4),
            ],
            Version::V6 => &[
                (tcp, regs::MRQC_RSS_FIELD_IPV6_EX_TCP, Self::Ipv6TcpEx),
                (tcp, regs::MRQC_RSS_FIELD_IPV6_TCP, Self::Ipv6Tcp),
                (udp, regs::MRQC_RSS_FIELD_IPV6_EX_UDP, Self::Ipv6UdpEx),
                (udp, regs::MRQC_RSS_FIELD_IPV6_UDP, Self::Ipv6Udp),
                (true, regs::MRQC_RSS_FIELD_IPV6_EX, Self::Ipv6Ex),
                (true, regs::MRQC_RSS_FIELD_IPV6, Self::Ipv6),
            ],
        };
        choices
            .iter()
            .find(|(applies, field, _)| *applies && mrqc & field != 0)
            .map(|(.., function)| *function)
    }

    const fn has_ports(self) -> bool {
        !matches!(self, Self::Ipv4 | Self::Ipv6 | Self::Ipv6Ex)
    }

    const fn follows_extensions(self) -> bool {
        matches!(self, Self::Ipv6Ex | Self::Ipv6TcpEx | Self::Ipv6UdpEx)
    }
}

/// The hash function with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toeplitz {
    key: [u8; KEY_LEN],
}

impl Toeplitz {
    /// With this key.
    pub fn new(key: [u8; KEY_LEN]) -> Self {
        Self { key }
    }

    /// With the key that stands in the registers RSSRK. The first byte of the key is the lowest of the first register (K:
    /// `ixgbe_store_key`).
    pub fn from_registers(registers: [u32; KEY_LEN / 4]) -> Self {
        let mut key = [0; KEY_LEN];
        for (bytes, register) in key.chunks_exact_mut(4).zip(registers) {
            bytes.copy_from_slice(&register.to_le_bytes());
        }
        Self { key }
    }

    /// The hash of the concatenated parts. Bytes beyond the longest input of the device do not count.
    pub fn hash(&self, parts: &[&[u8]]) -> u32 {
        let (first, rest) = self.key.split_first_chunk().unwrap_or((&[0; 8], &[]));
        // The upper 32 bits are those of the key that belong to the input's current bit.
        let mut window = u64::from_be_bytes(*first);
        let mut following = rest.iter();
        let mut hash = 0;
        for byte in parts.iter().flat_map(|part| part.iter()).take(MAX_INPUT) {
            for bit in (0..8).rev() {
                let set = u64::from(byte >> bit & 1);
                hash ^= window & set.wrapping_neg();
                window <<= 1;
            }
            window |= u64::from(following.next().copied().unwrap_or_default());
        }
        let [a, b, c, d, ..] = hash.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Hashes a packet by the functions that MRQC enables. `None` if none applies: the descriptor then says type 0 and
    /// hash 0, and the packet goes to RSS output index 0.
    pub fn packet(&self, packet: &Packet<'_>, mrqc: u32) -> Option<(Type, u32)> {
        let function = Type::choose(packet, mrqc)?;
        let ip = packet.ip?;
        let (source, destination) = if function.follows_extensions() {
            (
                ip.home.unwrap_or(ip.source),
                ip.routed.unwrap_or(ip.destination),
            )
        } else {
            (ip.source, ip.destination)
        };
        let ports = packet
            .segment
            .filter(|_| function.has_ports())
            .map(|segment| segment.ports().to_be_bytes());
        let ports = ports.as_ref().map(|ports| &ports[..]).unwrap_or_default();
        Some((function, self.hash(&[source, destination, ports])))
    }
}

/// A redirection table, of which four entries stand in a register (K: `ixgbe_store_reta`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// 128 entries of four bits.
    Small,
    /// 512 entries of six bits, of the X550.
    Large,
    /// 64 entries of six bits, of a pool of the X550.
    Pool,
}

impl Table {
    /// The queue index for a hash, whose low bits choose the entry; `register` reads a register by its number in the table.
    pub fn redirect(self, register: impl FnOnce(u32) -> u32, hash: u32) -> u8 {
        let (entries, index) = match self {
            Self::Small => (128, 0xf),
            Self::Large => (512, 0x3f),
            Self::Pool => (64, 0x3f),
        };
        let entry = hash & (entries - 1);
        let [low, ..] = (register(entry / 4) >> (entry % 4 * 8)).to_le_bytes();
        low & index
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{build, parsed, Addresses};
    use super::*;
    use etherparse::TcpHeader;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// The key of Microsoft's "Verifying the RSS Hash Calculation".
    const KEY: [u8; KEY_LEN] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    /// Its vectors: source and port, destination and port, hash of the addresses, hash with the ports.
    const V4: [(&str, u16, &str, u16, u32, u32); 5] = [
        (
            "66.9.149.187",
            2794,
            "161.142.100.80",
            1766,
            0x323e_8fc2,
            0x51cc_c178,
        ),
        (
            "199.92.111.2",
            14230,
            "65.69.140.83",
            4739,
            0xd718_262a,
            0xc626_b0ea,
        ),
        (
            "24.19.198.95",
            12898,
            "12.22.207.184",
            38024,
            0xd2d0_a5de,
            0x5c2b_394a,
        ),
        (
            "38.27.205.30",
            48228,
            "209.142.163.6",
            2217,
            0x8298_9176,
            0xafc7_327f,
        ),
        (
            "153.39.163.191",
            44251,
            "202.188.127.2",
            1303,
            0x5d18_09c5,
            0x10e8_28a2,
        ),
    ];

    const V6: [(&str, u16, &str, u16, u32, u32); 3] = [
        (
            "3ffe:2501:200:1fff::7",
            2794,
            "3ffe:2501:200:3::1",
            1766,
            0x2cc1_8cd5,
            0x4020_7d3d,
        ),
        (
            "3ffe:501:8::260:97ff:fe40:efab",
            14230,
            "ff02::1",
            4739,
            0x0f0c_461c,
            0xdde5_1bbf,
        ),
        (
            "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
            44251,
            "fe80::200:f8ff:fe21:67cf",
            38024,
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];

    /// A TCP and a UDP frame between two ends; the UDP one gets its ports put in.
    fn frames(addresses: Addresses, from: u16, to: u16) -> (Vec<u8>, Vec<u8>) {
        let header = TcpHeader::new(from, to, 0, 0);
        let tcp = build(addresses.clone(), Some(header), vec![1, 2, 3]);
        let mut udp = build(addresses, None, vec![4, 5]);
        let at = 14 + udp.ip_len();
        udp.frame[at..at + 4].copy_from_slice(&[from.to_be_bytes(), to.to_be_bytes()].concat());
        (tcp.frame, udp.frame)
    }

    #[test]
    fn published_vectors_ipv4() {
        let toeplitz = Toeplitz::new(KEY);
        for (source, from, destination, to, addresses, ports) in V4 {
            let parse = |ip: &str| ip.parse::<Ipv4Addr>().unwrap().octets();
            let ends = Addresses::V4(parse(source), parse(destination), 0);
            let (tcp, udp) = frames(ends, from, to);
            let hash = |frame: &[u8], mrqc| toeplitz.packet(&parsed(frame), mrqc);
            let all = u32::MAX;
            assert_eq!(hash(&tcp, all), Some((Type::Ipv4Tcp, ports)));
            assert_eq!(hash(&udp, all), Some((Type::Ipv4Udp, ports)));
            let l3 = regs::MRQC_RSS_FIELD_IPV4;
            assert_eq!(hash(&tcp, l3), Some((Type::Ipv4, addresses)));
            assert_eq!(hash(&udp, l3), Some((Type::Ipv4, addresses)));
            assert_eq!(hash(&udp, regs::MRQC_RSS_FIELD_IPV4_TCP), None);
            assert_eq!(hash(&tcp, 0), None);
        }
    }

    #[test]
    fn published_vectors_ipv6() {
        let toeplitz = Toeplitz::new(KEY);
        for (source, from, destination, to, addresses, ports) in V6 {
            let parse = |ip: &str| ip.parse::<Ipv6Addr>().unwrap().octets();
            let (tcp, udp) = frames(Addresses::V6(parse(source), parse(destination)), from, to);
            let hash = |frame: &[u8], mrqc| toeplitz.packet(&parsed(frame), mrqc);
            let plain = regs::MRQC_RSS_FIELD_IPV6
                | regs::MRQC_RSS_FIELD_IPV6_TCP
                | regs::MRQC_RSS_FIELD_IPV6_UDP;
            assert_eq!(hash(&tcp, plain), Some((Type::Ipv6Tcp, ports)));
            assert_eq!(hash(&udp, plain), Some((Type::Ipv6Udp, ports)));
            // Without extension headers both functions see the same addresses.
            assert_eq!(hash(&tcp, u32::MAX), Some((Type::Ipv6TcpEx, ports)));
            assert_eq!(hash(&udp, u32::MAX), Some((Type::Ipv6UdpEx, ports)));
            let l3 = regs::MRQC_RSS_FIELD_IPV6;
            assert_eq!(hash(&udp, l3), Some((Type::Ipv6, addresses)));
            let ex = regs::MRQC_RSS_FIELD_IPV6_EX;
            assert_eq!(hash(&tcp, ex), Some((Type::Ipv6Ex, addresses)));
        }
    }

    #[test]
    fn home_address_replaces_the_source() {
        // The first vector again, with its source moved into a Home Address option.
        let (source, from, destination, to, _, ports) = V6[0];
        let parse = |ip: &str| ip.parse::<Ipv6Addr>().unwrap().octets();
        let (mut frame, _) = frames(Addresses::V6([9; 16], parse(destination)), from, to);
        // Next header TCP, 24 bytes, PadN of 4, then the option.
        let mut extension = vec![6, 2, 1, 2, 0, 0, 0xc9, 16];
        extension.extend(parse(source));
        frame[20] = 60;
        frame[19] += extension.len() as u8;
        frame.splice(54..54, extension);
        let packet = parsed(&frame);
        let toeplitz = Toeplitz::new(KEY);
        let ex = toeplitz.packet(&packet, regs::MRQC_RSS_FIELD_IPV6_EX_TCP);
        assert_eq!(ex, Some((Type::Ipv6TcpEx, ports)));
        let (function, hash) = toeplitz
            .packet(&packet, regs::MRQC_RSS_FIELD_IPV6_TCP)
            .unwrap();
        assert_eq!(function, Type::Ipv6Tcp);
        assert_ne!(hash, ports);
    }

    #[test]
    fn key_registers_are_little_endian() {
        let mut registers = [0; 10];
        for (register, bytes) in registers.iter_mut().zip(KEY.chunks(4)) {
            *register = u32::from_le_bytes(bytes.try_into().unwrap());
        }
        assert_eq!(Toeplitz::from_registers(registers), Toeplitz::new(KEY));
    }

    #[test]
    fn redirection_reads_every_entry() {
        let mut reta = [0u32; 32];
        for entry in 0..128u32 {
            let value = (entry * 7) & 0xff;
            reta[(entry / 4) as usize] |= value << (entry % 4 * 8);
        }
        for entry in 0..128u32 {
            // Upper hash bits and upper entry bits do not count.
            let queue = Table::Small.redirect(|i| reta[i as usize], 0xabcd_ff80 | entry);
            assert_eq!(u32::from(queue), (entry * 7) & 0xf);
        }
    }

    #[test]
    fn tables_have_their_sizes() {
        for (table, entries, index) in [(Table::Large, 512, 0x3f), (Table::Pool, 64, 0x3f)] {
            for entry in 0..entries {
                let value = (entry * 7) & 0xff;
                let register = |i| {
                    assert_eq!(i, entry / 4);
                    value << (entry % 4 * 8)
                };
                let queue = table.redirect(register, 0xabcd_f000 | entry);
                assert_eq!(u32::from(queue), value & index);
            }
        }
    }
}
