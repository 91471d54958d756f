// SPDX-License-Identifier: GPL-2.0
//! Packets for the tests, built by a packet crate that shares no code with the model.

use etherparse::{IpNumber, PacketBuilder, TcpHeader, UdpHeader};
use proptest::prelude::*;

use super::context::{Context, DataOptions, Error, L4Type};
use super::parse::Packet;
use super::tx::{advanced, Config};

/// IP version, addresses and options of a generated packet.
#[derive(Clone, Debug)]
pub(crate) enum Addresses {
    V4([u8; 4], [u8; 4], u16),
    V6([u8; 16], [u8; 16]),
}

/// A packet and how it was made.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) addresses: Addresses,
    pub(crate) tcp: Option<TcpHeader>,
    pub(crate) payload: Vec<u8>,
    /// The whole frame, complete and right.
    pub(crate) frame: Vec<u8>,
}

impl Sample {
    pub(crate) fn ip_len(&self) -> usize {
        match self.addresses {
            Addresses::V4(..) => 20,
            Addresses::V6(..) => 40,
        }
    }

    pub(crate) fn l4_len(&self) -> usize {
        self.tcp
            .as_ref()
            .map_or(UdpHeader::LEN, TcpHeader::header_len)
    }

    /// Where the transport checksum stands.
    pub(crate) fn checksum_at(&self) -> usize {
        14 + self.ip_len() + if self.tcp.is_some() { 16 } else { 6 }
    }

    /// What a driver hands to the device for the packet: the frame with its checksums left open, and segmented if there is
    /// an MSS (K: `ixgbe_tx_csum`, `ixgbe_tso`).
    pub(crate) fn request(&self, mss: Option<u16>) -> (Vec<u8>, Context, DataOptions) {
        let mut frame = self.frame.clone();
        let v4 = matches!(self.addresses, Addresses::V4(..));
        if v4 {
            frame[24..26].fill(0);
        }
        if mss.is_some() {
            // The IP length is the device's to fill in.
            let length = if v4 { 16 } else { 18 };
            frame[length..length + 2].fill(0);
        }
        let at = self.checksum_at();
        frame[at..at + 2].copy_from_slice(&self.seed(mss.is_none()).to_be_bytes());
        let payload = if mss.is_some() {
            self.payload.len()
        } else {
            frame.len()
        };
        let context = Context {
            mac_len: 14,
            ip_len: self.ip_len() as u16,
            l4_len: self.l4_len() as u8,
            mss: mss.unwrap_or_default(),
            ipv4: v4,
            l4: if self.tcp.is_some() {
                L4Type::Tcp
            } else {
                L4Type::Udp
            },
            ..Default::default()
        };
        let options = DataOptions {
            ip_checksum: v4,
            l4_checksum: true,
            segment: mss.is_some(),
            insert_fcs: true,
            payload_len: payload as u32,
            ..Default::default()
        };
        (frame, context, options)
    }

    /// The sum of the pseudo-header, computed plainly, as a driver seeds it.
    pub(crate) fn seed(&self, with_length: bool) -> u16 {
        let protocol = if self.tcp.is_some() { 6 } else { 17 };
        let mut bytes = match self.addresses {
            Addresses::V4(from, to, _) => [from, to].concat(),
            Addresses::V6(from, to) => [from, to].concat(),
        };
        bytes.extend([0, protocol]);
        let length = self.l4_len() + self.payload.len();
        if with_length {
            bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        }
        let sum: u32 = bytes
            .chunks(2)
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
    }
}

/// Sends a frame of advanced descriptors without registers to heed; returns what is on the wire then.
pub(crate) fn send(
    frame: &[u8],
    context: &Context,
    options: &DataOptions,
    tag: Option<u16>,
    config: &Config,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut wire = Vec::new();
    let sent = advanced(&mut frame.to_vec(), context, options, tag, config, |out| {
        wire.push(out.to_vec())
    })?;
    assert_eq!(sent as usize, wire.len());
    Ok(wire)
}

/// Parses a frame that was just built.
pub(crate) fn parsed(frame: &[u8]) -> Packet<'_> {
    Packet::parse(frame, Default::default()).unwrap()
}

/// Builds a TCP or UDP packet over IPv4 or IPv6.
pub(crate) fn build(addresses: Addresses, tcp: Option<TcpHeader>, payload: Vec<u8>) -> Sample {
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let ip = match addresses {
        Addresses::V4(from, to, id) => {
            let mut header = etherparse::Ipv4Header::new(0, 64, IpNumber::TCP, from, to).unwrap();
            header.identification = id;
            ethernet.ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
        }
        Addresses::V6(from, to) => ethernet.ipv6(from, to, 64),
    };
    let mut frame = Vec::new();
    match &tcp {
        Some(header) => ip
            .tcp_header(header.clone())
            .write(&mut frame, &payload)
            .unwrap(),
        None => ip.udp(4000, 5000).write(&mut frame, &payload).unwrap(),
    }
    Sample {
        addresses,
        tcp,
        payload,
        frame,
    }
}

fn addresses() -> impl Strategy<Value = Addresses> {
    prop_oneof![
        any::<([u8; 4], [u8; 4], u16)>().prop_map(|(a, b, id)| Addresses::V4(a, b, id)),
        any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| Addresses::V6(a, b)),
    ]
}

fn tcp_header() -> impl Strategy<Value = TcpHeader> {
    let numbers = any::<(u16, u16, u32, u32, u16)>();
    let flags = any::<(bool, bool, bool, bool, bool)>();
    (numbers, flags, 0usize..=10).prop_map(
        |((from, to, sequence, acknowledgment, window), (fin, psh, ece, cwr, ns), options)| {
            let mut header = TcpHeader::new(from, to, sequence, window);
            header.acknowledgment_number = acknowledgment;
            header.ack = true;
            header.fin = fin;
            header.psh = psh;
            header.ece = ece;
            header.cwr = cwr;
            header.ns = ns;
            // No-operation options only: any content would do.
            header.set_options_raw(&vec![1; options * 4]).unwrap();
            header
        },
    )
}

/// Any TCP or UDP packet with a payload of at most `max` bytes.
pub(crate) fn sample(max: usize) -> impl Strategy<Value = Sample> {
    let payload = prop::collection::vec(any::<u8>(), 0..max);
    (addresses(), prop::option::of(tcp_header()), payload)
        .prop_map(|(addresses, tcp, payload)| build(addresses, tcp, payload))
}
