// SPDX-License-Identifier: GPL-2.0
//! Every descriptor format, end to end: from memory to the wire and from the wire to memory.

mod common;

use common::{frame, machine, set_address, RxRing, TxRing, MAC, PEER};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use ixgbe_model::host::Function;
use libixgbe::{desc, regs, Regs};
use proptest::prelude::*;
use zerocopy::IntoBytes;

const RS_EOP: u32 = desc::ADVTXD_DCMD_EOP | desc::ADVTXD_DCMD_RS;

/// A context descriptor.
fn context(
    vlan: u16,
    mac_len: u32,
    ip_len: u32,
    tucmd: u32,
    l4_len: u32,
    mss: u32,
    index: u32,
) -> desc::AdvTxContext {
    desc::AdvTxContext {
        vlan_macip_lens: (u32::from(vlan) << desc::ADVTXD_VLAN_SHIFT
            | mac_len << desc::ADVTXD_MACLEN_SHIFT
            | ip_len)
            .into(),
        fceof_saidx: 0.into(),
        type_tucmd_mlhl: (desc::ADVTXD_DTYP_CTXT | desc::ADVTXD_DCMD_DEXT | tucmd).into(),
        mss_l4len_idx: (mss << desc::ADVTXD_MSS_SHIFT
            | l4_len << desc::ADVTXD_L4LEN_SHIFT
            | index << desc::ADVTXD_IDX_SHIFT)
            .into(),
    }
}

/// A TCP packet to the peer whose checksums are right.
fn tcp(payload: &[u8]) -> Vec<u8> {
    tcp_between(MAC, PEER, payload)
}

/// The same from one address to another.
fn tcp_between(source: [u8; 6], destination: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2(source, destination)
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1000, 2000, 7, 1024)
        .write(&mut out, payload)
        .unwrap();
    out
}

/// The folded sum of the pseudo-header, as a driver seeds the checksum field.
fn pseudo_seed(packet: &[u8], length: u16) -> u16 {
    let words = packet[26..34]
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let mut sum = words.sum::<u32>() + 6 + u32::from(length);
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn advanced_transmit_in_several_descriptors() {
    let machine = machine();
    let mut ring = TxRing::new(&machine, Function::Pf, 3, 16);
    let sent = frame(PEER, MAC, 300);
    let options = (sent.len() as u32) << desc::ADVTXD_PAYLEN_SHIFT;
    let first = ring.data(&sent[..100], 0, options);
    let second = ring.data(&sent[100..250], 0, options);
    let third = ring.data(&sent[250..], RS_EOP, options);
    let slots = [first, second, third].map(|d| ring.push(d.as_bytes()));
    ring.kick();
    assert_eq!(machine.take_sent(), [sent]);
    assert_eq!(
        slots.map(|slot| ring.done(slot)),
        [false, false, true],
        "DD where RS asked for it"
    );
    assert_eq!(ring.head(), 3);
}

#[test]
fn legacy_transmit_with_tag_and_checksum() {
    let machine = machine();
    let mut ring = TxRing::new(&machine, Function::Pf, 0, 8);
    let mut packet = tcp(b"legacy");
    let whole = packet.clone();
    let seed = pseudo_seed(&packet, (packet.len() - 34) as u16);
    packet[50..52].copy_from_slice(&seed.to_be_bytes());
    let address = machine.allocate(packet.len(), 1);
    machine.store(address, &packet);
    let command = desc::TXD_CMD_EOP
        | desc::TXD_CMD_RS
        | desc::TXD_CMD_IFCS
        | desc::TXD_CMD_IC
        | desc::TXD_CMD_VLE;
    let legacy = desc::LegacyTx {
        buffer_addr: address.into(),
        length: (packet.len() as u16).into(),
        cso: 50,
        cmd: (command >> 24) as u8,
        sta: 0,
        css: 34,
        vlan: 0x2005.into(),
    };
    let slot = ring.push(legacy.as_bytes());
    ring.kick();
    let out = machine.take_sent().pop().unwrap();
    assert_eq!(out[12..16], [0x81, 0, 0x20, 5]);
    let untagged = [&out[..12], &out[16..]].concat();
    assert_eq!(untagged[..whole.len()], whole);
    assert!(ring.done(slot));
    let back = machine.load(ring.slot(slot), 16);
    assert_eq!(
        back[..12],
        legacy.as_bytes()[..12],
        "a legacy descriptor keeps its content"
    );
    assert_eq!(back[14..], legacy.as_bytes()[14..]);
}

#[test]
fn context_with_checksum_offload_and_tag() {
    let machine = machine();
    let mut ring = TxRing::new(&machine, Function::Pf, 0, 8);
    let whole = tcp(&[0x55; 77]);
    let mut packet = whole.clone();
    packet[24..26].fill(0);
    let seed = pseudo_seed(&packet, (packet.len() - 34) as u16);
    packet[50..52].copy_from_slice(&seed.to_be_bytes());
    let ctx = context(
        0x6007,
        14,
        20,
        desc::ADVTXD_TUCMD_IPV4 | desc::ADVTXD_TUCMD_L4T_TCP,
        0,
        0,
        1,
    );
    ring.push(ctx.as_bytes());
    let options = (packet.len() as u32) << desc::ADVTXD_PAYLEN_SHIFT
        | desc::ADVTXD_POPTS_IXSM
        | desc::ADVTXD_POPTS_TXSM
        | desc::ADVTXD_CC
        | 1 << desc::ADVTXD_IDX_SHIFT;
    let data = ring.data(&packet, RS_EOP | desc::ADVTXD_DCMD_VLE, options);
    ring.push(data.as_bytes());
    ring.kick();
    let out = machine.take_sent().pop().unwrap();
    assert_eq!(out[12..16], [0x81, 0, 0x60, 7]);
    assert_eq!([&out[..12], &out[16..]].concat(), whole);
    assert!(!ring.done(0), "a context descriptor is never reported");
    assert!(ring.done(1));
}

#[test]
fn contexts_stay_until_replaced() {
    let machine = machine();
    let mut ring = TxRing::new(&machine, Function::Pf, 0, 16);
    for (index, vlan) in [(0, 100u16), (1, 200)] {
        ring.push(context(vlan, 14, 20, 0, 0, 0, index).as_bytes());
    }
    for index in [1, 0, 1] {
        let packet = frame(PEER, MAC, 64);
        let options =
            (packet.len() as u32) << desc::ADVTXD_PAYLEN_SHIFT | index << desc::ADVTXD_IDX_SHIFT;
        let data = ring.data(&packet, RS_EOP | desc::ADVTXD_DCMD_VLE, options);
        ring.push(data.as_bytes());
    }
    ring.kick();
    let tags: Vec<u16> = machine
        .take_sent()
        .iter()
        .map(|f| u16::from_be_bytes([f[14], f[15]]))
        .collect();
    assert_eq!(tags, [200, 100, 200]);
}

#[test]
fn segmentation() {
    let machine = machine();
    let mut ring = TxRing::new(&machine, Function::Pf, 0, 16);
    let payload: Vec<u8> = (0..5000u32).map(|i| (i * 7) as u8).collect();
    let mut packet = tcp(&payload);
    packet[16..18].fill(0);
    packet[24..26].fill(0);
    let seed = pseudo_seed(&packet, 0);
    packet[50..52].copy_from_slice(&seed.to_be_bytes());
    let ctx = context(
        0,
        14,
        20,
        desc::ADVTXD_TUCMD_IPV4 | desc::ADVTXD_TUCMD_L4T_TCP,
        20,
        1400,
        0,
    );
    ring.push(ctx.as_bytes());
    let options = (payload.len() as u32) << desc::ADVTXD_PAYLEN_SHIFT
        | desc::ADVTXD_POPTS_IXSM
        | desc::ADVTXD_POPTS_TXSM;
    for (i, chunk) in packet.chunks(2000).enumerate() {
        let end = if i == packet.len() / 2000 { RS_EOP } else { 0 };
        let data = ring.data(chunk, desc::ADVTXD_DCMD_TSE | end, options);
        ring.push(data.as_bytes());
    }
    ring.kick();
    let mut all = Vec::new();
    let segments = machine.take_sent();
    assert_eq!(segments.len(), 4);
    for segment in &segments {
        let sliced = SlicedPacket::from_ethernet(segment).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
            panic!("not TCP")
        };
        let etherparse::NetSlice::Ipv4(ip) = sliced.net.unwrap() else {
            panic!("not IPv4")
        };
        assert_eq!(
            ip.header().to_header().calc_header_checksum(),
            ip.header().header_checksum()
        );
        let (from, to) = (ip.header().source(), ip.header().destination());
        assert_eq!(tcp.calc_checksum_ipv4(from, to).unwrap(), tcp.checksum());
        assert_eq!(tcp.sequence_number(), 7 + all.len() as u32);
        all.extend_from_slice(tcp.payload());
    }
    assert_eq!(all, payload);
}

#[test]
fn head_write_back() {
    let machine = machine();
    let mut ring = TxRing::new(&machine, Function::Pf, 0, 8);
    let target = machine.allocate(16, 16);
    machine.pf().write32(regs::tdwbah(0), 0);
    machine.pf().write32(regs::tdwbal(0), target as u32 | 1);
    let slots: Vec<u32> = (0..3).map(|_| ring.send(&frame(PEER, MAC, 64))).collect();
    assert_eq!(machine.load(target, 4), 3u32.to_le_bytes());
    assert!(
        slots.iter().all(|slot| !ring.done(*slot)),
        "no descriptor is written then"
    );
}

#[test]
fn short_frames_are_padded() {
    let machine = machine();
    let mut ring = TxRing::new(&machine, Function::Pf, 0, 8);
    ring.send(&frame(PEER, MAC, 20));
    let sent = machine.take_sent();
    assert_eq!(sent[0].len(), 60);
    assert!(sent[0][20..].iter().all(|byte| *byte == 0));
}

#[test]
fn advanced_receive() {
    let machine = machine();
    let mut ring = RxRing::new(&machine, Function::Pf, 0, 8);
    let packet = tcp_between(PEER, MAC, b"hello");
    machine.receive(&packet);
    let got = ring.take().unwrap();
    assert_eq!(got.frame, packet);
    let status = got.last.status_error.get();
    assert_eq!(
        status & 0xFFF,
        desc::RXD_STAT_DD | desc::RXD_STAT_EOP | desc::RXD_STAT_IPCS | desc::RXD_STAT_L4CS
    );
    assert_eq!(status & desc::RXDADV_ERR_MASK, 0);
    let info = u32::from(got.last.pkt_info.get());
    assert_eq!(info, desc::RXDADV_PKTTYPE_IPV4 | desc::RXDADV_PKTTYPE_TCP);
    assert!(ring.take().is_none());
}

#[test]
fn wrong_checksums_are_told() {
    let machine = machine();
    let mut ring = RxRing::new(&machine, Function::Pf, 0, 8);
    let mut packet = tcp_between(PEER, MAC, b"hello");
    *packet.last_mut().unwrap() ^= 1;
    machine.receive(&packet);
    assert_eq!(
        ring.take().unwrap().last.status_error.get() & desc::RXDADV_ERR_MASK,
        desc::RXDADV_ERR_TCPE
    );
    let mut packet = tcp_between(PEER, MAC, b"hello");
    packet[22] ^= 1;
    machine.receive(&packet);
    assert_eq!(
        ring.take().unwrap().last.status_error.get() & desc::RXDADV_ERR_IPE,
        desc::RXDADV_ERR_IPE
    );
}

#[test]
fn legacy_receive_keeps_the_address() {
    let machine = machine();
    let ring = RxRing::with(
        &machine,
        Function::Pf,
        0,
        8,
        2,
        regs::SRRCTL_DESCTYPE_LEGACY,
    );
    let before = machine.load(ring.base, 8);
    let packet = frame(MAC, PEER, 123);
    machine.receive(&packet);
    let after = machine.load(ring.base, 16);
    assert_eq!(after[..8], before[..]);
    assert_eq!(u16::from_le_bytes([after[8], after[9]]), 123);
    assert_eq!(
        u32::from(after[12]) & 3,
        desc::RXD_STAT_DD | desc::RXD_STAT_EOP
    );
    let address = u64::from_le_bytes(before.try_into().unwrap());
    assert_eq!(machine.load(address, 123), packet);
}

#[test]
fn jumbo_frames_span_buffers() {
    let machine = machine();
    let pf = machine.pf();
    let mut ring = RxRing::new(&machine, Function::Pf, 0, 16);
    let big = frame(MAC, PEER, 9000);
    machine.receive(&big);
    assert!(ring.take().is_none(), "JUMBOEN is off");
    assert_eq!(pf.read32(regs::ROC), 1);
    pf.write32(regs::HLREG0, pf.read32(regs::HLREG0) | regs::HLREG0_JUMBOEN);
    pf.write32(regs::MAXFRS, 9018 << 16);
    machine.receive(&big);
    let got = ring.take().unwrap();
    assert_eq!(got.frame, big);
    assert_eq!(got.descriptors, 5);
    machine.receive(&frame(MAC, PEER, 9015));
    assert!(ring.take().is_none(), "longer than MAXFRS");
}

#[test]
fn vlan_tags_are_stripped_where_asked() {
    let machine = machine();
    let mut ring = RxRing::new(&machine, Function::Pf, 0, 8);
    let plain = frame(MAC, PEER, 80);
    let tagged = [&plain[..12], &[0x81, 0, 0xA0, 0x0A], &plain[12..]].concat();
    machine.receive(&tagged);
    let got = ring.take().unwrap();
    assert_eq!(got.frame, tagged);
    assert_eq!(got.last.status_error.get() & desc::RXD_STAT_VP, 0);
    ring.strip_vlan(true);
    machine.receive(&tagged);
    let got = ring.take().unwrap();
    assert_eq!(got.frame, plain);
    assert_eq!(got.last.vlan.get(), 0xA00A);
    assert_ne!(got.last.status_error.get() & desc::RXD_STAT_VP, 0);
}

#[test]
fn the_hash_is_told_and_chooses_the_queue() {
    let machine = machine();
    let pf = machine.pf();
    let mut rings: Vec<RxRing<'_>> = (0..4)
        .map(|q| RxRing::new(&machine, Function::Pf, q, 8))
        .collect();
    // The key and the packet of the published verification suite: 66.9.149.187:2794 to 161.142.100.80:1766.
    let key: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];
    for (i, word) in key.chunks(4).enumerate() {
        pf.write32(
            regs::rssrk(i as u32),
            u32::from_le_bytes(word.try_into().unwrap()),
        );
    }
    for i in 0..32 {
        pf.write32(regs::reta(i), 0x0302_0100);
    }
    pf.write32(regs::MRQC, regs::MRQC_RSSEN | regs::MRQC_RSS_FIELD_IPV4_TCP);
    let mut packet = Vec::new();
    PacketBuilder::ethernet2(PEER, MAC)
        .ipv4([66, 9, 149, 187], [161, 142, 100, 80], 64)
        .tcp(2794, 1766, 0, 1)
        .write(&mut packet, b"x")
        .unwrap();
    machine.receive(&packet);
    let queue = 0x51cc_c178 & 3;
    let got = rings[queue].take().unwrap();
    assert_eq!(got.last.rss.get(), 0x51cc_c178);
    assert_eq!(
        u32::from(got.last.pkt_info.get()) & desc::RXDADV_RSSTYPE_MASK,
        desc::RXDADV_RSSTYPE_IPV4_TCP
    );
}

#[test]
fn without_descriptors_frames_wait_or_are_dropped() {
    let machine = machine();
    let pf = machine.pf();
    let mut ring = RxRing::new(&machine, Function::Pf, 0, 8);
    for i in 0..9u8 {
        machine.receive(&frame(MAC, PEER, 64 + usize::from(i)));
    }
    assert_eq!(ring.head(), 7, "all posted buffers are full");
    let mut lengths = Vec::new();
    while let Some(got) = ring.take() {
        lengths.push(got.frame.len());
    }
    assert_eq!(
        lengths,
        (64..73).collect::<Vec<_>>(),
        "the packet buffer kept the rest, in order"
    );
    pf.write32(
        regs::srrctl(0),
        pf.read32(regs::srrctl(0)) | regs::SRRCTL_DROP_EN,
    );
    for i in 0..9u8 {
        machine.receive(&frame(MAC, PEER, 64 + usize::from(i)));
    }
    assert_eq!(pf.read32(regs::qprdc(0)), 2);
    assert_eq!(std::iter::from_fn(|| ring.take()).count(), 7);
}

#[test]
fn the_packet_buffer_is_bounded_and_holds_the_wire_back() {
    let machine = machine();
    let pf = machine.pf();
    let mut ring = RxRing::new(&machine, Function::Pf, 0, 8);
    let full = frame(MAC, PEER, 1514);
    for _ in 0..500 {
        assert!(machine.receive(&full));
    }
    let missed = pf.read32(regs::mpc(0));
    assert_eq!(500 - missed as usize, 7 + (512 << 10) / 1514);
    while ring.take().is_some() {}
    // With flow control the wire waits instead, and nothing is lost.
    pf.write32(regs::FCCFG, regs::FCCFG_TFCE_802_3X);
    pf.write32(regs::fcrtl(0), 64 << 10);
    pf.write32(regs::fcrth(0), regs::FCRTH_FCEN | 128 << 10);
    let taken = (0..500).take_while(|_| machine.receive(&full)).count();
    assert!(taken < 200);
    assert_eq!(pf.read32(regs::LXOFFTXC), 1);
    let before = machine.receive_ready_count();
    assert_eq!(std::iter::from_fn(|| ring.take()).count(), taken);
    assert_eq!(pf.read32(regs::LXONTXC), 1);
    assert_eq!(machine.receive_ready_count(), before + 1);
    assert_eq!(pf.read32(regs::mpc(0)), 0);
}

#[test]
fn a_busy_wire_stops_the_rings_and_loses_nothing() {
    let machine = machine();
    let mut ring = TxRing::new(&machine, Function::Pf, 0, 32);
    machine.set_wire_room(3);
    for i in 0..10 {
        let packet = frame(PEER, MAC, 64 + i);
        let data = ring.data(
            &packet,
            RS_EOP,
            (packet.len() as u32) << desc::ADVTXD_PAYLEN_SHIFT,
        );
        ring.push(data.as_bytes());
    }
    ring.kick();
    assert_eq!(ring.head(), 3);
    machine.set_wire_room(100);
    machine.wire_ready();
    let lengths: Vec<usize> = machine.take_sent().iter().map(Vec::len).collect();
    assert_eq!(lengths, (64..74).collect::<Vec<_>>());
}

#[test]
fn mac_loopback() {
    let machine = machine();
    let pf = machine.pf();
    pf.write32(regs::HLREG0, pf.read32(regs::HLREG0) | regs::HLREG0_LPBK);
    set_address(pf, 0, MAC, 0);
    let mut rx = RxRing::new(&machine, Function::Pf, 0, 8);
    let mut tx = TxRing::new(&machine, Function::Pf, 0, 8);
    let packet = frame(MAC, MAC, 200);
    tx.send(&packet);
    assert_eq!(rx.take().unwrap().frame, packet);
    assert!(machine.take_sent().is_empty(), "nothing reaches the wire");
}

proptest! {
    /// Whatever the cut into descriptors and the ring size, what was queued is what leaves, in order.
    #[test]
    fn frames_survive_any_cut(
        lengths in prop::collection::vec(60usize..1500, 1..20),
        cuts in prop::collection::vec(1usize..600, 1..8),
        count in prop::sample::select(vec![64u32, 72, 128]),
    ) {
        let machine = machine();
        let mut ring = TxRing::new(&machine, Function::Pf, 5, count);
        let mut want = Vec::new();
        for length in lengths {
            let packet = frame(PEER, MAC, length);
            let options = (packet.len() as u32) << desc::ADVTXD_PAYLEN_SHIFT;
            let mut rest = &packet[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).max(packet.len() / 30 + 1).min(rest.len()));
                rest = later;
                let end = if rest.is_empty() { RS_EOP } else { 0 };
                let data = ring.data(now, end, options);
                ring.push(data.as_bytes());
                if rest.is_empty() {
                    break;
                }
            }
            ring.kick();
            want.push(packet);
        }
        prop_assert_eq!(machine.take_sent(), want);
        prop_assert_eq!(ring.head(), ring.next);
    }

    /// The same for receive, with buffers of any size that the field has.
    #[test]
    fn frames_survive_any_buffer(lengths in prop::collection::vec(60usize..1514, 1..12), kib in 1u32..5) {
        let machine = machine();
        let mut ring = RxRing::with(&machine, Function::Pf, 0, 16, kib, regs::SRRCTL_DESCTYPE_ADV_ONEBUF);
        for length in lengths {
            let packet = frame(MAC, PEER, length);
            machine.receive(&packet);
            let got = ring.take().unwrap();
            prop_assert_eq!(got.frame, packet);
            prop_assert_eq!(got.descriptors as usize, length.div_ceil((kib as usize) << 10));
        }
    }
}
