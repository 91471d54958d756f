// SPDX-License-Identifier: GPL-2.0
//! Any bytes as the state of a VF that is to be loaded: refused, or a state that this host's VF could have reached by
//! itself.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use libixgbe::mbx_ext;
use libixgbe::migration::{
    announced, decode, decode_compat, encode, encode_compat, format, Host, Identity, Limits, Link,
    Policy, VfState, Xcast, VECTORS,
};
use zerocopy::IntoBytes;

const APIS: [u16; 3] = [0x0101, 0x0104, 0x0107];
const STATE: &str =
    include_str!("../../../../drivers/net/ethernet/intel/libixgbe/migration/golden/v1-state.hex");
const X550_STATE: &str =
    include_str!("../../../../drivers/net/ethernet/intel/libixgbe/migration/golden/v1-x550.hex");

/// Who loads.
#[derive(Arbitrary, Debug)]
struct Loader {
    trusted: bool,
    admin_mac: bool,
    port_vlan: bool,
    migration: bool,
    mixes_frames: bool,
    promiscuous: bool,
    jumbo: bool,
    disabled: bool,
    x550: bool,
}

#[derive(Arbitrary, Debug)]
struct Tlv {
    kind: u8,
    optional: bool,
    version: u8,
    value: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Blob {
    /// As it comes, most likely refused by its head.
    Raw(Vec<u8>),
    /// With a head that fits, so that the records are looked at.
    Records { compat: bool, records: Vec<Tlv> },
    /// A valid one with bytes changed, and a checksum that fits.
    Edited {
        x550: bool,
        edits: Vec<(u16, u8)>,
        swap: Option<(u8, u8)>,
        double: Option<u8>,
        drop: Option<u8>,
    },
}

#[derive(Arbitrary, Debug)]
struct Input {
    loader: Loader,
    blob: Blob,
}

/// The golden files of version 1, of an 82599 and of an X550, without their comments.
static GOLDEN: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    [STATE, X550_STATE].map(|text| {
        let digits: Vec<u8> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::chars)
            .filter_map(|c| c.to_digit(16).map(|d| d as u8))
            .collect();
        digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
    })
});

/// The records of a well-formed blob, heads and padding included.
fn records(blob: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &blob[size_of::<format::Header>()..];
    let mut out = Vec::new();
    while rest.len() >= 8 {
        let length = u32::from_le_bytes([rest[4], rest[5], rest[6], rest[7]]) as usize;
        let whole = (8 + length).next_multiple_of(format::TLV_ALIGN);
        out.push(rest[..whole].to_vec());
        rest = &rest[whole..];
    }
    out
}

fn frame(content: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let body = records.concat();
    let header = format::Header {
        magic: format::MAGIC,
        version: format::VERSION.into(),
        content: content.into(),
        length: ((size_of::<format::Header>() + body.len()) as u32).into(),
        count: (records.len() as u32).into(),
        crc32c: 0.into(),
    };
    seal([header.as_bytes(), &body].concat())
}

/// Makes the checksum right.
fn seal(mut blob: Vec<u8>) -> Vec<u8> {
    const AT: usize = core::mem::offset_of!(format::Header, crc32c);
    if blob.len() >= AT + 4 {
        blob[AT..AT + 4].fill(0);
        let crc = crc32c::crc32c(&blob);
        blob[AT..AT + 4].copy_from_slice(&crc.to_le_bytes());
    }
    blob
}

impl Blob {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes.clone(),
            Self::Records { compat, records } => {
                let records: Vec<_> = records.iter().map(Tlv::bytes).collect();
                let content = if *compat {
                    format::CONTENT_COMPAT
                } else {
                    format::CONTENT_STATE
                };
                frame(content, &records)
            }
            Self::Edited {
                x550,
                edits,
                swap,
                double,
                drop,
            } => {
                let [i82599, of_x550] = &*GOLDEN;
                let mut list = records(if *x550 { of_x550 } else { i82599 });
                let n = list.len();
                if let Some((a, b)) = swap {
                    list.swap(usize::from(*a) % n, usize::from(*b) % n);
                }
                if let Some(i) = double {
                    let i = usize::from(*i) % n;
                    list.insert(i, list[i].clone());
                }
                if let Some(i) = drop {
                    list.remove(usize::from(*i) % n);
                }
                let mut blob = frame(format::CONTENT_STATE, &list);
                for (at, value) in edits {
                    let at = usize::from(*at) % blob.len();
                    blob[at] = *value;
                }
                seal(blob)
            }
        }
    }
}

impl Tlv {
    fn bytes(&self) -> Vec<u8> {
        let optional = if self.optional {
            format::KIND_OPTIONAL
        } else {
            0
        };
        let head = format::TlvHeader {
            kind: (u16::from(self.kind) | optional).into(),
            version: u16::from(self.version).into(),
            length: (self.value.len() as u32).into(),
        };
        let mut bytes = [head.as_bytes(), &self.value].concat();
        bytes.resize(bytes.len().next_multiple_of(format::TLV_ALIGN), 0);
        bytes
    }
}

impl Loader {
    fn host(&self) -> Host<'static> {
        Host {
            identity: Identity {
                device: if self.x550 { 0x1565 } else { 0x10ed },
                queues_per_pool: 2,
                queue_pairs: 2,
                api: 0,
                features: if self.migration {
                    mbx_ext::FEATURE_MIGRATION
                } else {
                    0
                },
                max_frame: if self.jumbo { 9728 } else { 1514 },
            },
            mixes_frames: self.mixes_frames,
            promiscuous: self.promiscuous,
            apis: &APIS,
            policy: Policy {
                admin_mac: self.admin_mac,
                trusted: self.trusted,
                spoofchk: true,
                port_vlan: if self.port_vlan { 42 } else { 0 },
                port_qos: 0,
            },
            limits: Limits {
                link: if self.disabled {
                    Link::Disable
                } else {
                    Link::Auto
                },
                tx_rate: 0,
            },
            mac: [2, 0, 0, 0, 0xaa, 0xbb],
        }
    }
}

fn harmless(s: &VfState, host: &Host<'_>) {
    let pairs = s.pairs();
    for rx in s.rx.iter().filter(|q| q.enabled()) {
        assert!(rx.base % 128 == 0 && rx.length % 128 == 0 && rx.length > 0);
        assert!(rx.head < rx.entries() && rx.tail < rx.entries());
    }
    for tx in s.tx.iter().filter(|q| q.enabled()) {
        assert!(tx.base % 128 == 0 && tx.length % 128 == 0 && tx.length > 0);
        assert!(tx.head < tx.entries() && tx.tail < tx.entries());
    }
    assert!(s.rx.iter().skip(pairs).all(|q| !q.enabled()));
    assert!(s.tx.iter().skip(pairs).all(|q| !q.enabled()));
    assert_eq!(s.identity.features & !host.identity.features, 0);
    assert!(s.identity.max_frame <= host.identity.max_frame);
    let i = &s.interrupts;
    assert_eq!((i.eims | i.eiac | i.eiam) >> VECTORS, 0);
    assert!(host.policy.trusted || s.filters.xcast <= Xcast::Multi);
    assert!(host.promiscuous || s.filters.xcast != Xcast::Promisc);
    if host.policy.admin_mac && !host.policy.trusted {
        assert!(s.filters.mac == host.mac || s.filters.mac == [0; 6]);
        assert!(s.filters.unicast.as_slice().is_empty());
    }
    // An X550's VF has RSS of its own, which names its queues, and no other has.
    assert_eq!(s.rss.is_some(), host.identity.device == 0x1565);
    if let Some(rss) = &s.rss {
        assert_eq!(rss.mrqc & !0x01ff_0001, 0);
        assert!(rss.table.iter().all(|queue| usize::from(*queue) < pairs));
    }
    assert!(host.limits.link != Link::Disable || s.limits.link == Link::Disable);
    if host.policy.port_vlan != 0 {
        assert!(s.filters.vlans.as_slice().iter().all(|v| *v == 0));
    }
}

fuzz_target!(|input: Input| {
    let host = input.loader.host();
    let blob = input.blob.bytes();
    let mut state = VfState::EMPTY;
    let mut out = [0; format::MAX_BYTES];

    let head = announced(&blob);
    if decode_compat(&blob, &host, &mut state).is_ok() {
        let Ok(n) = encode_compat(&state, &mut out) else {
            panic!("a record that was read cannot be written");
        };
        assert!(decode_compat(&out[..n], &host, &mut state).is_ok());
    }
    if decode(&blob, &host, &mut state).is_ok() {
        assert!(matches!(head, Ok(Some(h)) if h.length == blob.len()));
        harmless(&state, &host);
        // What was understood is all there is: written again and read again it is the same.
        let Ok(n) = encode(&state, &mut out) else {
            panic!("a state that was read cannot be written");
        };
        let mut again = VfState::EMPTY;
        assert_eq!(decode(&out[..n], &host, &mut again), Ok(()));
        assert_eq!(state, again);
    }
});
