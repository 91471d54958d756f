// SPDX-License-Identifier: GPL-2.0
//! The record of a VF that has RSS of its own, which VFs of an X550 must have and others must not.

use super::*;

const X550: u16 = 0x1565;

fn x550_host() -> Host<'static> {
    let mut host = host();
    host.identity.device = X550;
    host.identity.max_frame = 9728;
    host.mixes_frames = true;
    host.promiscuous = true;
    host
}

/// The VF of [`sample`], of an X550 whose driver spreads over two queues.
fn x550_sample() -> VfState {
    let mut s = sample();
    s.identity.device = X550;
    s.rss = Some(OwnRss {
        mrqc: regs::MRQC_RSSEN
            | regs::MRQC_RSS_FIELD_IPV4
            | regs::MRQC_RSS_FIELD_IPV4_TCP
            | regs::MRQC_RSS_FIELD_IPV6
            | regs::MRQC_RSS_FIELD_IPV6_TCP,
        key: core::array::from_fn(|i| 0x9e37_79b9u32.wrapping_mul(i as u32 + 1)),
        table: core::array::from_fn(|i| i as u8 % 2),
    });
    s
}

/// The value of the record in a state of [`x550_sample`], changed, and what a host says to it.
fn edited(edit: impl FnOnce(&mut Vec<u8>)) -> Result<VfState, Refusal> {
    let mut tlvs = split(&bytes(&x550_sample()));
    let own = tlvs.iter_mut().find(|(kind, ..)| *kind == format::OWN_RSS);
    edit(&mut own.unwrap().2);
    read(&forge(format::CONTENT_STATE, &tlvs), &x550_host())
}

#[test]
fn its_golden_file_is_read_and_written_alike() {
    let state = golden(include_str!("../golden/v1-x550.hex"));
    assert_eq!(read(&state, &x550_host()), Ok(x550_sample()));
    assert_eq!(bytes(&x550_sample()), state);
    // A reader of before does not know it, and must not miss it.
    let kinds: Vec<_> = split(&state).iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds[11..], [14, 0x8001]);
    assert_eq!(14 & format::KIND_OPTIONAL, 0);
}

#[test]
fn each_chip_has_it_or_has_it_not() {
    let tlvs = split(&bytes(&x550_sample()));
    let mut without = tlvs.clone();
    without.retain(|(kind, ..)| *kind != format::OWN_RSS);
    assert_eq!(
        read(&forge(format::CONTENT_STATE, &without), &x550_host()),
        Err(Refusal::Missing(format::OWN_RSS))
    );
    // 82599, X540, and one that nobody here knows.
    for device in [0x10ed, 0x1515, 0x15a8] {
        let mut foreign = x550_sample();
        foreign.identity.device = device;
        let mut own = host();
        own.identity.device = device;
        for host in [own, x550_host()] {
            assert_eq!(
                read(&bytes(&foreign), &host),
                Err(Refusal::UnknownTlv(format::OWN_RSS)),
                "{device:#x}"
            );
        }
        // Without it there is nothing else to say against the VF.
        foreign.rss = None;
        assert_eq!(read(&bytes(&foreign), &own), Ok(foreign));
    }
    // A compatibility record has the device, and nothing of this.
    let [record, state] = reasons(&x550_sample(), &host());
    assert_eq!(record, [Refusal::Device(X550)]);
    assert_eq!(state, record);
    let mut with = split(&compat_bytes(&x550_sample()));
    let own = tlvs.iter().find(|(kind, ..)| *kind == format::OWN_RSS);
    with.insert(2, own.unwrap().clone());
    let mut out = VfState::EMPTY;
    let refused = decode_compat(
        &forge(format::CONTENT_COMPAT, &with),
        &x550_host(),
        &mut out,
    );
    assert_eq!(
        refused.unwrap_err().iter().next(),
        Some(Refusal::UnknownTlv(format::OWN_RSS))
    );
}

/// Each bit of it is refused, or one that the guest could have written.
#[test]
fn each_of_its_bits_is_judged() {
    let good = x550_sample();
    let kind = format::OWN_RSS;
    for bit in 0..8 * 112 {
        let got = edited(|value| {
            assert_eq!(value.len(), 112);
            value[bit / 8] ^= 1 << (bit % 8);
        });
        let mut want = good;
        let own = want.rss.as_mut().unwrap();
        let want = match bit {
            // RSSEN and nine fields.
            0 | 16..=24 => {
                own.mrqc ^= 1 << bit;
                Ok(want)
            }
            0..64 => Err(Refusal::Reserved(kind)),
            64..384 => {
                own.key[(bit - 64) / 32] ^= 1 << (bit % 32);
                Ok(want)
            }
            // Of two queues.
            _ if bit % 8 == 0 => {
                own.table[(bit - 384) / 8] ^= 1;
                Ok(want)
            }
            _ => Err(Refusal::Value(kind)),
        };
        assert_eq!(got, want, "bit {bit}");
    }
}

/// An entry names a queue of the pool, of which there may be two, four or eight.
#[test]
fn its_table_goes_by_the_queues_of_the_pool() {
    for queues in [2, 4, 8] {
        let mut host = x550_host();
        host.identity.queues_per_pool = queues;
        let mut s = x550_sample();
        s.identity.queues_per_pool = queues;
        for entry in 0..=u8::MAX {
            s.rss.as_mut().unwrap().table[63] = entry;
            let got = read(&bytes(&s), &host);
            if u16::from(entry) < queues {
                assert_eq!(got, Ok(s));
            } else {
                assert_eq!(got, Err(Refusal::Value(format::OWN_RSS)));
            }
        }
    }
}

#[test]
fn its_length_and_version_are_checked() {
    let kind = format::OWN_RSS;
    for length in (0..=120).filter(|length| *length != 112) {
        assert_eq!(
            edited(|value| value.resize(length, 0)),
            Err(Refusal::TlvLength(kind)),
            "{length}"
        );
    }
    let mut tlvs = split(&bytes(&x550_sample()));
    let own = tlvs.iter_mut().find(|(k, ..)| *k == kind).unwrap();
    own.1 = 2;
    assert_eq!(
        read(&forge(format::CONTENT_STATE, &tlvs), &x550_host()),
        Err(Refusal::TlvVersion(kind))
    );
}

/// The largest state has room for it, beside what a guest owes.
#[test]
fn it_fits_the_largest_state() {
    assert!(bytes(&filled(x550_sample())).len() <= format::MAX_BYTES);
}
