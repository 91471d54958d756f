// SPDX-License-Identifier: GPL-2.0
//! The format: golden files, and what must be refused. Tests against the device model are in `tools/testing/model`.

mod rss;
mod values;

use std::vec::Vec;

use zerocopy::IntoBytes;

use super::crc32c::Crc32c;
use super::*;
use crate::mbx_ext;
use crate::mbx_ext::RegisterQueue;
use crate::regs;

const MAC: [u8; 6] = [0x02, 0, 0, 0xaa, 0xbb, 0xcc];
const APIS: [u16; 2] = [0x0104, 0x0107];

fn identity() -> Identity {
    Identity {
        device: 0x10ed,
        queues_per_pool: 2,
        queue_pairs: 2,
        api: 0x0107,
        features: mbx_ext::FEATURE_MIGRATION,
        max_frame: 1514,
    }
}

fn host() -> Host<'static> {
    Host {
        identity: identity(),
        mixes_frames: false,
        promiscuous: false,
        apis: &APIS,
        policy: Policy {
            admin_mac: false,
            trusted: false,
            spoofchk: true,
            port_vlan: 0,
            port_qos: 0,
        },
        limits: Limits::default(),
        mac: [0; 6],
    }
}

fn registration(queue: u32) -> RegisterQueue {
    RegisterQueue {
        head: mbx_ext::VF_REGISTER_QUEUE,
        version: mbx_ext::EXT_VERSION,
        queue,
        queues: 2,
        caps: mbx_ext::CAPS_ALL,
        entries: 512,
        shadow_lo: 0x0400_0000 + queue * 0x1000,
        shadow_hi: 1,
        shadow_len: 4096,
        buffer_len: 2048,
        marking: 0,
        reserved: [0; 5],
    }
}

/// Two busy queue pairs of a cooperating guest, every list in use.
fn sample() -> VfState {
    let mut s = VfState::EMPTY;
    s.identity = identity();
    s.policy = host().policy;
    for (i, (rx, tx)) in (0..2).zip(s.rx.iter_mut().zip(&mut s.tx)) {
        *rx = RxQueue {
            base: 0x1_2340_0000 + i * 0x2000,
            length: 8192,
            head: 17 + i as u32,
            tail: 500,
            srrctl: regs::SRRCTL_DROP_EN | regs::SRRCTL_DESCTYPE_ADV_ONEBUF | 4 << 8 | 2,
            rxdctl: regs::RXDCTL_ENABLE | regs::RXDCTL_VME,
        };
        *tx = TxQueue {
            base: 0x1_5670_0000 + i * 0x2000,
            writeback: 0,
            length: 8192,
            head: 300,
            tail: 300 + i as u32,
            txdctl: regs::TXDCTL_ENABLE
                | 8 << regs::TXDCTL_WTHRESH_SHIFT
                | 1 << regs::TXDCTL_HTHRESH_SHIFT
                | 32,
        };
    }
    s.interrupts = Interrupts {
        eims: 7,
        eiac: 7,
        eiam: 7,
        ivar: 0x8181_8080,
        ivar_misc: 0x82,
        psrtype: 0x2000_0330,
    };
    s.mailbox.cts = true;
    s.mailbox.words = core::array::from_fn(|i| 0x0101_0101 * i as u32);
    s.filters.mac = MAC;
    s.filters.xcast = Xcast::Multi;
    s.filters.enabled = true;
    assert!(s.filters.unicast.push([2, 0, 0, 0, 0, 9]));
    assert!(s.filters.vlans.push(0) && s.filters.vlans.push(100));
    assert!(s.filters.multicast.push(0x123));
    s.registrations[0] = Some(registration(0));
    s.registrations[1] = Some(registration(1));
    s.statistics = Statistics {
        rx_packets: 1,
        rx_bytes: 2,
        rx_multicast: 3,
        tx_packets: 4,
        tx_bytes: 5,
    };
    s
}

/// The same on a host that limits its rate.
fn limited() -> VfState {
    let mut s = sample();
    s.limits = Limits {
        link: Link::Enable,
        tx_rate: 1000,
    };
    s
}

fn bytes(state: &VfState) -> Vec<u8> {
    let mut buffer = [0; format::MAX_BYTES];
    let n = encode(state, &mut buffer).unwrap();
    buffer[..n].to_vec()
}

fn compat_bytes(state: &VfState) -> Vec<u8> {
    let mut buffer = [0; format::MAX_BYTES];
    let n = encode_compat(state, &mut buffer).unwrap();
    buffer[..n].to_vec()
}

/// The state, or the first reason.
fn read(blob: &[u8], host: &Host<'_>) -> Result<VfState, Refusal> {
    let mut out = VfState::EMPTY;
    let first = |r: Refusals| r.iter().next().unwrap();
    decode(blob, host, &mut out).map_err(first).map(|()| out)
}

/// All reasons why a host refuses a VF: at its compatibility record, and at its state.
fn reasons(state: &VfState, host: &Host<'_>) -> [Vec<Refusal>; 2] {
    let list = |r: Result<(), Refusals>| r.err().iter().flat_map(Refusals::iter).collect();
    let mut out = VfState::EMPTY;
    [
        list(decode_compat(&compat_bytes(state), host, &mut out)),
        list(decode(&bytes(state), host, &mut out)),
    ]
}

/// A blob made by somebody who knows the format: header and checksum fit whatever TLVs are given.
fn forge(content: u16, tlvs: &[(u16, u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, version, value) in tlvs {
        body.extend_from_slice(&kind.to_le_bytes());
        body.extend_from_slice(&version.to_le_bytes());
        body.extend_from_slice(&(value.len() as u32).to_le_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(8), 0);
    }
    let mut header = format::Header {
        magic: format::MAGIC,
        version: format::VERSION.into(),
        content: content.into(),
        length: ((24 + body.len()) as u32).into(),
        count: (tlvs.len() as u32).into(),
        crc32c: 0.into(),
    };
    header.crc32c = Crc32c::new()
        .update(header.as_bytes())
        .update(&body)
        .finish()
        .into();
    [header.as_bytes(), &body].concat()
}

fn split(blob: &[u8]) -> Vec<(u16, u16, Vec<u8>)> {
    let mut rest = &blob[24..];
    let mut tlvs = Vec::new();
    while let [a, b, c, d, e, f, g, h, ..] = *rest {
        let length = u32::from_le_bytes([e, f, g, h]) as usize;
        tlvs.push((
            u16::from_le_bytes([a, b]),
            u16::from_le_bytes([c, d]),
            rest[8..8 + length].to_vec(),
        ));
        rest = &rest[8 + length.next_multiple_of(8)..];
    }
    tlvs
}

fn golden(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .flat_map(str::chars)
        .filter_map(|c| c.to_digit(16))
        .collect();
    digits.chunks(2).map(|c| (c[0] << 4 | c[1]) as u8).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let sample = sample();
    assert_eq!(read(&bytes(&sample), &host()), Ok(sample));
    let mut out = VfState::EMPTY;
    decode_compat(&compat_bytes(&sample), &host(), &mut out).unwrap();
    assert_eq!(out.identity, sample.identity);
    assert_eq!(out.policy, sample.policy);
    // What a state alone has is not in it.
    let mut want = sample.filters;
    want.multicast.clear();
    want.enabled = false;
    assert_eq!(out.filters, want);
}

/// The VF with as much of everything as a state can have.
fn filled(mut most: VfState) -> VfState {
    most.identity.queues_per_pool = 8;
    most.rx = [most.rx[0]; 8];
    most.tx = [most.tx[0]; 8];
    most.registrations = core::array::from_fn(|i| Some(registration(i as u32)));
    most.rearm = sample_owing().rearm;
    most.mailbox.number = 1;
    while most.filters.unicast.push(MAC) {}
    while most.filters.vlans.push(1) {}
    while most.filters.multicast.push(1) {}
    most
}

#[test]
fn two_queue_pairs_fit_the_budget_and_eight_fit_the_limit() {
    assert!(bytes(&sample()).len() <= 4096);
    let most = filled(sample());
    assert!(bytes(&most).len() <= format::MAX_BYTES);
    assert_eq!(encode(&most, &mut [0; 64]), Err(NoSpace));
    assert_eq!(encode(&most, &mut []), Err(NoSpace));
}

#[test]
fn golden_files_of_version_1_are_read_and_written_alike() {
    let state = golden(include_str!("golden/v1-state.hex"));
    assert_eq!(read(&state, &host()), Ok(sample()));
    assert_eq!(bytes(&sample()), state);
    let compat = golden(include_str!("golden/v1-compat.hex"));
    let mut out = VfState::EMPTY;
    assert_eq!(decode_compat(&compat, &host(), &mut out), Ok(()));
    // It says nothing of these, so the state must.
    assert_eq!(out.filters, VfState::EMPTY.filters);
    let reset = golden(include_str!("golden/v1-reset-vf.hex"));
    assert_eq!(
        read(&reset, &host()),
        Ok(VfState {
            identity: identity(),
            ..VfState::EMPTY
        })
    );
}

/// Those of November 2026, when the records of limits and of use came.
#[test]
fn later_golden_files_are_read_and_written_alike() {
    let compat = golden(include_str!("golden/v1-compat-use.hex"));
    let mut out = VfState::EMPTY;
    assert_eq!(decode_compat(&compat, &host(), &mut out), Ok(()));
    assert_eq!(compat_bytes(&limited()), compat);
    assert_eq!(out.limits, limited().limits);
    let state = golden(include_str!("golden/v1-state-limits.hex"));
    assert_eq!(read(&state, &host()), Ok(limited()));
    assert_eq!(bytes(&limited()), state);
}

/// A reader of before knows none of the new records: by the rules it skips them all, and looks at
/// the rest.
#[test]
fn new_records_are_optional_ones() {
    let is_new = |kind: u16| kind > format::STATISTICS;
    for (content, blob) in [
        (format::CONTENT_COMPAT, compat_bytes(&limited())),
        (format::CONTENT_STATE, bytes(&limited())),
    ] {
        let tlvs = split(&blob);
        assert!(tlvs.iter().any(|(kind, ..)| is_new(*kind)));
        let old: Vec<_> = tlvs.into_iter().filter(|(k, ..)| !is_new(*k)).collect();
        let want = match content {
            format::CONTENT_COMPAT => include_str!("golden/v1-compat.hex"),
            _ => include_str!("golden/v1-state.hex"),
        };
        assert_eq!(forge(content, &old), golden(want));
    }
}

/// The same guest, stopped while it re-armed its rings and read a message: one Rx ring is done, both Tx rings are owed.
fn sample_owing() -> VfState {
    let mut s = sample();
    s.mailbox.held = true;
    s.mailbox.ping = true;
    s.mailbox.number = mbx_ext::UNIQUE | 5;
    s.rearm = Rearm {
        generation: mbx_ext::UNIQUE | 4,
        taken: true,
        asked_rx: 0b10,
        asked_tx: 0b01,
        rx: 0b10,
        tx: 0b11,
    };
    s
}

#[test]
fn what_a_guest_owes_is_read_and_written_alike() {
    let state = golden(include_str!("golden/v1-owing.hex"));
    assert_eq!(read(&state, &host()), Ok(sample_owing()));
    assert_eq!(bytes(&sample_owing()), state);
    // A reader of before refuses what it must not miss, and skips the rest.
    let kinds: Vec<_> = split(&state).iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds[11..], [13, 0x8001, 0x8003]);
    // A guest that owes nothing is written as before.
    let kinds: Vec<_> = split(&bytes(&sample())).iter().map(|t| t.0).collect();
    assert!(!kinds.contains(&format::REARM) && !kinds.contains(&format::EXCHANGE));
}

#[test]
fn only_what_ran_can_be_owed() {
    type Edit = fn(&mut VfState);
    for (i, edit) in [
        // No such queue, or one that does not run.
        (|s| s.rearm.rx = 0b110) as Edit,
        |s| s.rearm.tx = 1 << 31,
        |s| s.rx[1].rxdctl &= !regs::RXDCTL_ENABLE,
        |s| s.tx[0].txdctl &= !regs::TXDCTL_ENABLE,
        // Asked for what does not stand.
        |s| s.rearm.asked_rx = 0b01,
        |s| s.rearm.rx = 0,
        |s| s.rearm.asked_tx = 0b111,
        // Asked by no message, or nothing at all.
        |s| s.rearm.generation = 0,
        |s| {
            s.rearm = Rearm {
                taken: true,
                ..Rearm::NONE
            }
        },
        // By a driver that does not know the message.
        |s| s.identity.features = 0,
    ]
    .iter()
    .enumerate()
    {
        let mut bad = sample_owing();
        edit(&mut bad);
        let got = read(&bytes(&bad), &host());
        assert_eq!(got, Err(Refusal::Value(format::REARM)), "case {i}");
    }
    for (kind, at) in [(format::REARM, 4), (format::EXCHANGE, 4)] {
        let mut tlvs = split(&bytes(&sample_owing()));
        for (_, _, value) in tlvs.iter_mut().filter(|(k, ..)| *k == kind) {
            value[at + 3] = 0x80;
        }
        assert_eq!(
            read(&forge(2, &tlvs), &host()),
            Err(Refusal::Reserved(kind))
        );
    }
    // A message that is out without a ring left to re-arm: it is waited for all the same.
    let mut done = sample_owing();
    done.rearm = Rearm {
        generation: 7,
        ..Rearm::NONE
    };
    assert_eq!(read(&bytes(&done), &host()), Ok(done));
}

#[test]
fn every_flipped_bit_is_refused() {
    let all = [
        bytes(&sample()),
        bytes(&sample_owing()),
        compat_bytes(&sample()),
    ];
    for good in all {
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut out = VfState::EMPTY;
            assert!(decode(&bad, &host(), &mut out).is_err(), "bit {bit}");
            assert!(decode_compat(&bad, &host(), &mut out).is_err(), "bit {bit}");
        }
    }
}

/// With the checksum made to fit, a flipped bit is refused or gives a state that the guest could have reached by itself:
/// one that the encoder writes back byte for byte.
#[test]
fn every_flipped_bit_with_a_fitting_checksum_is_refused_or_harmless() {
    let good = bytes(&sample_owing());
    let (mut refused, mut harmless) = (0, 0);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        bad[20..24].fill(0);
        let crc = Crc32c::new().update(&bad).finish();
        bad[20..24].copy_from_slice(&crc.to_le_bytes());
        match read(&bad, &host()) {
            Err(_) => refused += 1,
            Ok(state) => {
                // An optional record whose kind is another now is skipped, and not written if there is nothing in it.
                let exchange = if state.mailbox.number == 0 { 16 } else { 0 };
                assert_eq!(bytes(&state).len() + exchange, good.len());
                assert!(state.filters.xcast <= Xcast::Multi, "a right was raised");
                assert!(state
                    .rx_queues()
                    .iter()
                    .all(|q| q.head < q.entries().max(1)));
                harmless += 1;
            }
        }
    }
    assert!(refused > 1000 && harmless > 1000, "{refused} {harmless}");
}

#[test]
fn truncation_and_surplus_are_refused() {
    let good = bytes(&sample());
    for n in 0..good.len() {
        assert!(read(&good[..n], &host()).is_err(), "{n}");
    }
    assert_eq!(
        read(&[&good[..], &[0]].concat(), &host()),
        Err(Refusal::Length)
    );
}

#[test]
fn a_stream_tells_when_it_is_whole() {
    let good = bytes(&sample());
    for n in 0..24 {
        assert_eq!(announced(&good[..n]), Ok(None));
    }
    let want = Announced {
        content: format::CONTENT_STATE,
        length: good.len(),
    };
    assert_eq!(announced(&good[..24]), Ok(Some(want)));
    assert_eq!(announced(b"ixgbeVG"), Err(Refusal::Magic));
    let mut long = good;
    long[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(announced(&long), Err(Refusal::Length));
}

#[test]
fn reordered_doubled_and_missing_records_are_refused() {
    let tlvs = split(&bytes(&sample()));
    assert_eq!(
        forge(format::CONTENT_STATE, &tlvs),
        bytes(&sample()),
        "the forger is good"
    );
    for i in 1..tlvs.len() {
        let mut swapped = tlvs.clone();
        swapped.swap(i - 1, i);
        assert!(
            matches!(read(&forge(2, &swapped), &host()), Err(Refusal::Order(_))),
            "{i}"
        );
    }
    for i in 0..tlvs.len() {
        let mut doubled = tlvs.clone();
        doubled.insert(i, tlvs[i].clone());
        assert_eq!(
            read(&forge(2, &doubled), &host()),
            Err(Refusal::Order(tlvs[i].0))
        );
        let mut missing = tlvs.clone();
        let (kind, ..) = missing.remove(i);
        let got = read(&forge(2, &missing), &host());
        if kind == format::REGISTRATIONS || kind == format::STATISTICS {
            assert!(got.is_ok());
        } else {
            assert_eq!(got, Err(Refusal::Missing(kind)));
        }
    }
}

#[test]
fn unknown_records_follow_the_versioning_rules() {
    let tlvs = split(&bytes(&sample()));
    let with = |at: usize, tlv: (u16, u16, Vec<u8>)| {
        let mut t = tlvs.clone();
        t.insert(at, tlv);
        read(&forge(2, &t), &host())
    };
    let last_mandatory = tlvs.len() - 1;
    assert_eq!(
        with(last_mandatory, (12, 1, vec![1])),
        Err(Refusal::UnknownTlv(12))
    );
    assert_eq!(
        with(tlvs.len(), (0x8fff, 9, vec![1, 2, 3])),
        Ok(sample()),
        "optional and unknown is skipped"
    );
    for (i, (kind, ..)) in tlvs.iter().enumerate() {
        let mut newer = tlvs.clone();
        newer[i].1 = 2;
        let got = read(&forge(2, &newer), &host());
        if kind & format::KIND_OPTIONAL != 0 {
            assert_eq!(got.unwrap().statistics, Statistics::default());
        } else {
            assert_eq!(got, Err(Refusal::TlvVersion(*kind)));
        }
        let mut longer = tlvs.clone();
        longer[i].2.push(0);
        assert_eq!(
            read(&forge(2, &longer), &host()),
            Err(Refusal::TlvLength(*kind))
        );
    }
}

#[test]
fn another_host_refuses_with_its_reason() {
    type Edit = fn(&mut Host<'static>);
    for (edit, want) in [
        (
            (|h| h.identity.device = 0x1515) as Edit,
            Refusal::Device(0x10ed),
        ),
        (|h| h.identity.queues_per_pool = 4, Refusal::QueueLayout(2)),
        (|h| h.identity.queue_pairs = 1, Refusal::QueuePairs(2)),
        (|h| h.apis = &[0x0104], Refusal::Api(0x0107)),
        (
            |h| h.identity.features = 0,
            Refusal::Features(mbx_ext::FEATURE_MIGRATION),
        ),
        (|h| h.limits.link = Link::Disable, Refusal::LinkDisabled),
    ] {
        let mut other = host();
        edit(&mut other);
        assert_eq!(reasons(&sample(), &other), [vec![want], vec![want]]);
    }
    let mut jumbo = sample();
    jumbo.identity.max_frame = 9014;
    assert_eq!(
        reasons(&jumbo, &host()),
        [(); 2].map(|()| vec![Refusal::MaxFrame(9014)])
    );
}

/// Nobody wants to mend one thing a try.
#[test]
fn all_mismatches_are_told_at_once() {
    let mut other = host();
    other.identity.queue_pairs = 1;
    other.identity.features = 0;
    other.policy.admin_mac = true;
    other.policy.port_vlan = 7;
    other.mac = [2, 0, 0, 0, 0, 1];
    other.limits.link = Link::Disable;
    let mut greedy = sample();
    greedy.filters.xcast = Xcast::AllMulti;
    let want = vec![
        Refusal::QueuePairs(2),
        Refusal::Features(mbx_ext::FEATURE_MIGRATION),
        Refusal::PortVlan(0),
        Refusal::AdminMac,
        Refusal::Addresses(1),
        Refusal::Vlans(1),
        Refusal::AllMulticast,
        Refusal::LinkDisabled,
    ];
    assert_eq!(reasons(&greedy, &other), [want.clone(), want]);
}

/// A blob has no more reasons than the list holds.
#[test]
fn every_reason_of_a_host_has_room() {
    let mut found = refusal::Found::new();
    let by_host = Refusal::ALL
        .iter()
        .skip_while(|r| !matches!(r, Refusal::Device(_)));
    by_host.clone().for_each(|r| found.add(*r));
    let told = found.result().unwrap_err();
    assert!(
        told.iter().eq(by_host.copied()),
        "MAX_REFUSALS is too small"
    );
}

#[test]
fn a_blob_cannot_raise_rights() {
    let both = |r: Refusal| [vec![r], vec![r]];
    let mut greedy = sample();
    greedy.policy.trusted = true;
    greedy.filters.xcast = Xcast::AllMulti;
    assert_eq!(reasons(&greedy, &host()), both(Refusal::AllMulticast));
    let mut trusting = host();
    trusting.policy.trusted = true;
    assert_eq!(reasons(&greedy, &trusting), [vec![], vec![]]);
    // No VF of an 82599 has this.
    greedy.filters.xcast = Xcast::Promisc;
    assert_eq!(reasons(&greedy, &trusting), both(Refusal::Promiscuous));
    let mut x540 = trusting;
    x540.promiscuous = true;
    assert_eq!(reasons(&greedy, &x540), [vec![], vec![]]);
    x540.policy.trusted = false;
    assert_eq!(reasons(&greedy, &x540), both(Refusal::AllMulticast));
    // Nor has a driver that cannot ask for it.
    x540.policy.trusted = true;
    x540.apis = &[0x0102];
    greedy.identity.api = 0x0102;
    assert_eq!(
        reasons(&greedy, &x540),
        [
            vec![Refusal::Value(format::USE)],
            vec![Refusal::Value(format::FILTERS)]
        ]
    );
    // A driver that cannot ask for it has none, whatever a former one left behind.
    greedy.identity.api = 0x0101;
    greedy.filters.xcast = Xcast::AllMulti;
    let mut old = host();
    old.apis = &[0x0101];
    assert_eq!(
        read(&bytes(&greedy), &old).unwrap().filters.xcast,
        Xcast::None
    );

    let mut strict = host();
    strict.policy.admin_mac = true;
    strict.mac = [2, 0, 0, 0, 0, 1];
    let want = vec![Refusal::AdminMac, Refusal::Addresses(1)];
    assert_eq!(reasons(&sample(), &strict), [want.clone(), want]);
    strict.mac = MAC;
    assert_eq!(reasons(&sample(), &strict), both(Refusal::Addresses(1)));
    strict.policy.trusted = true;
    assert_eq!(reasons(&sample(), &strict), [vec![], vec![]]);

    let mut tagged = sample();
    tagged.policy.port_vlan = 5;
    let mut port = host();
    port.policy.port_vlan = 5;
    assert_eq!(reasons(&tagged, &port), both(Refusal::Vlans(1)));
}

/// Where the administrator had switched the link off already, nothing changes for the guest.
#[test]
fn a_disabled_link_may_stay_disabled() {
    let mut off = sample();
    off.limits.link = Link::Disable;
    let mut other = host();
    other.limits.link = Link::Disable;
    assert_eq!(reasons(&off, &other), [vec![], vec![]]);
    assert_eq!(reasons(&off, &host()), [vec![], vec![]]);
}

/// A PF with jumbo frames shuts the gate of a VF whose driver speaks API 1.0.
#[test]
fn an_old_driver_cannot_go_to_jumbo_frames() {
    let mut jumbo = host();
    jumbo.apis = &[0x0100];
    jumbo.identity.max_frame = 9728;
    let mut old = sample();
    old.identity.api = 0x0100;
    let want = vec![Refusal::JumboApi(0x0100)];
    assert_eq!(reasons(&old, &jumbo), [want.clone(), want]);
    // Its driver is not up, and may yet agree on a newer one.
    old.rx = VfState::EMPTY.rx;
    old.tx = VfState::EMPTY.tx;
    assert_eq!(reasons(&old, &jumbo), [vec![], vec![]]);
}

#[test]
fn more_queue_pairs_than_can_be_moved_are_told_of() {
    let mut many = sample();
    many.identity.queues_per_pool = 4;
    many.rx[2] = many.rx[0];
    let mut other = host();
    other.identity.queues_per_pool = 4;
    let want = vec![Refusal::QueuesInUse(3)];
    assert_eq!(reasons(&many, &other), [want.clone(), want]);
}

#[test]
fn what_is_the_hosts_is_noted() {
    let noted = |vf: &VfState, h: &Host<'_>| check::notes(vf, h).as_slice().to_vec();
    assert_eq!(noted(&sample(), &host()), []);
    assert_eq!(noted(&limited(), &host()), [Note::TxRate(0)]);
    let mut slow = host();
    slow.limits.tx_rate = 100;
    let mut router = limited();
    router.policy.spoofchk = false;
    assert_eq!(noted(&router, &slow), [Note::TxRate(100), Note::SpoofCheck]);
    assert_eq!(reasons(&router, &slow), [vec![], vec![]]);
}

/// The names are for programs, the texts for people, who find each of them in Documentation with
/// what to do.
#[test]
fn every_refusal_says_why() {
    const PAGE: &str = include_str!(
        "../../../../../../Documentation/admin-guide/ixgbe-live-migration-troubleshooting.rst"
    );
    let page = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    for (i, r) in Refusal::ALL.iter().enumerate() {
        let others = Refusal::ALL.iter().take(i);
        assert!(!others.clone().any(|o| o.name() == r.name()), "{r:?}");
        assert!(!others.clone().any(|o| o.reason() == r.reason()), "{r:?}");
        assert!(!r.remedy().is_empty() && !r.name().contains([' ', '_']));
        let quoted = format!("``{}``", r.reason());
        assert!(page.contains(&quoted), "{quoted} is not in the page");
    }
    for note in [Note::TxRate(100), Note::SpoofCheck] {
        assert!(page.contains(&format!("``{}``", note.text())), "{note:?}");
        assert!(!note.name().is_empty());
    }
    assert_eq!(Refusal::MaxFrame(9014).detail(), 9014);
    assert_eq!(Refusal::AdminMac.detail(), 0);
    assert_eq!(Note::TxRate(100).detail(), 100);
}

#[test]
fn noise_is_refused_without_a_panic() {
    let mut x = 0x1234_5678_9abc_def1_u64;
    let good = split(&bytes(&sample_owing()));
    for _ in 0..20_000 {
        let mut tlvs = good.clone();
        for (kind, version, value) in &mut tlvs {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            match x & 31 {
                0 => *kind = (x >> 32) as u16,
                1 => *version = (x >> 32) as u16,
                2 => value.truncate((x >> 40) as usize & 31),
                3..=6 if !value.is_empty() => {
                    let at = (x >> 40) as usize % value.len();
                    value[at] = (x >> 32) as u8;
                }
                _ => (),
            }
        }
        let _ = read(&forge(2, &tlvs), &host());
    }
}
