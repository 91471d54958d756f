// SPDX-License-Identifier: GPL-2.0
//! Moves of what a VF of an X550 has and one of an X540 has not: RSS of its own. What both have is in the other files, whose
//! `between_hosts` is of all chips.

mod common;

use common::moving::{
    between, carry, load, load_budget, resume, save, Host, Make, Rings, VF, VF_MAC,
};
use common::{datagram, x540_with, x550_with};
use ixgbe_model::HeadWrite;
use libixgbe::migration::pf::Error;
use libixgbe::migration::{format, HeadRestore, Refusal};
use libixgbe::{regs, Regs};

fn hosts(f: impl FnOnce(&mut Host<'_>, &mut Host<'_>)) {
    between([x550_with; 2], f);
}

/// All that a VF's driver can write of its RSS, as it reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnRss {
    mrqc: u32,
    key: [u32; 10],
    table: [u32; 16],
}

impl OwnRss {
    /// Different in each word, by `seed`, with entries of two queues.
    fn new(seed: u32, mrqc: u32) -> Self {
        let word = |i: usize| seed.wrapping_mul(0x9E37_79B9).rotate_left(i as u32 * 3);
        Self {
            mrqc,
            key: std::array::from_fn(|i| word(i) ^ i as u32),
            table: std::array::from_fn(|i| word(i + 5) & 0x0101_0101),
        }
    }

    fn write(&self, host: &Host<'_>) {
        let vf = host.machine.vf(VF);
        vf.write32(regs::VFPSRTYPE, 1 << 29);
        for (i, word) in (0..).zip(self.key) {
            vf.write32(regs::vfrssrk(i), word);
        }
        for (i, word) in (0..).zip(self.table) {
            vf.write32(regs::vfreta(i), word);
        }
        vf.write32(regs::VFMRQC, self.mrqc);
    }

    fn read(host: &Host<'_>) -> Self {
        let vf = host.machine.vf(VF);
        Self {
            mrqc: vf.read32(regs::VFMRQC),
            key: std::array::from_fn(|i| vf.read32(regs::vfrssrk(i as u32))),
            table: std::array::from_fn(|i| vf.read32(regs::vfreta(i as u32))),
        }
    }
}

const UDP: u32 = regs::MRQC_RSSEN | regs::MRQC_RSS_FIELD_IPV4_UDP;

/// Queues to which the flows of 40 ports go.
fn spread(host: &Host<'_>, rings: &mut Rings<'_>) -> Vec<usize> {
    let queue = |port| {
        assert!(host.machine.receive(&datagram(VF_MAC, port)));
        let took = rings.rx.each_mut().map(|rx| rx.take().is_some());
        took.iter().position(|took| *took).expect("it is received")
    };
    (0..40u16).map(|i| 1000 + 37 * i).map(queue).collect()
}

/// Each flow goes to the queue that it went to, whatever a former user of the VF left there: where the VF stood, if the move
/// is cancelled, and on the next host, also if that resets its device before the VF runs.
#[test]
fn each_flow_stays_in_its_queue() {
    for reset in [false, true] {
        hosts(|a, b| {
            b.bring_up(false);
            OwnRss::new(7, UDP | regs::MRQC_RSS_FIELD_IPV4).write(b);
            drop(Rings::new(b.machine));
            a.bring_up(true);
            let mut rings = Rings::new(a.machine);
            let own = OwnRss::new(3, UDP);
            own.write(a);
            let before = spread(a, &mut rings);
            assert!(before.contains(&0) && before.contains(&1));
            save(a);
            resume(a);
            assert_eq!(spread(a, &mut rings), before, "cancelled");
            let (blob, _) = save(a);
            let (mut rings, _) = carry(a.machine, b, &rings, &blob);
            if reset {
                b.reset_device();
            }
            let (resumed, _) = resume(b);
            assert_eq!(resumed.restored.way, HeadRestore::Write);
            assert_eq!(OwnRss::read(b), own);
            assert_eq!(spread(b, &mut rings), before, "moved");
        });
    }
}

/// A driver that spreads nothing does not come to where another one did.
#[test]
fn rss_that_is_off_stays_off() {
    hosts(|a, b| {
        b.bring_up(false);
        OwnRss::new(7, UDP).write(b);
        a.bring_up(true);
        let rings = Rings::new(a.machine);
        let (blob, _) = save(a);
        let (mut rings, _) = carry(a.machine, b, &rings, &blob);
        resume(b);
        assert_eq!(OwnRss::read(b), OwnRss::read(a));
        assert_eq!(spread(b, &mut rings), [0; 40]);
    });
}

/// The next user of a VF finds nothing of the last one's, whose key says how its flows are spread.
#[test]
fn a_reset_leaves_nothing_to_the_next_user() {
    hosts(|a, _| {
        a.bring_up(true);
        OwnRss::new(7, UDP).write(a);
        a.reset_vf();
        let nothing = OwnRss {
            mrqc: 0,
            key: [0; 10],
            table: [0; 16],
        };
        assert_eq!(OwnRss::read(a), nothing);
    });
}

/// A VF that was stopped keeps it over a reset of its PF's device.
#[test]
fn a_standing_vf_keeps_it_over_a_reset_of_the_device() {
    hosts(|a, _| {
        a.bring_up(true);
        let mut rings = Rings::new(a.machine);
        let own = OwnRss::new(11, UDP);
        own.write(a);
        let before = spread(a, &mut rings);
        a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
        a.reset_device();
        resume(a);
        assert_eq!(OwnRss::read(a), own);
        assert_eq!(spread(a, &mut rings), before);
    });
}

/// A guest may write what it likes: of that what the device heeds is carried, and nothing makes a destination refuse the VF.
#[test]
fn what_no_device_heeds_is_left_behind() {
    hosts(|a, b| {
        a.bring_up(true);
        let mut rings = Rings::new(a.machine);
        let mut own = OwnRss::new(3, UDP | 0xFE00_7FFE);
        own.table = own.table.map(|entries| entries | 0xFEFE_FEFE);
        own.write(a);
        let before = spread(a, &mut rings);
        let (blob, _) = save(a);
        let (mut rings, _) = carry(a.machine, b, &rings, &blob);
        resume(b);
        let got = OwnRss::read(b);
        assert_eq!(got.mrqc, UDP);
        assert_eq!(got.table, own.table.map(|entries| entries & 0x0101_0101));
        assert_eq!(spread(b, &mut rings), before);
    });
}

/// A state without it is none of this chip.
#[test]
fn a_state_without_it_is_refused() {
    hosts(|a, b| {
        a.bring_up(true);
        let _rings = Rings::new(a.machine);
        let (mut blob, _) = save(a);
        let at = record(&blob, format::OWN_RSS).expect("it is there");
        // An optional one that nobody knows, of the same length: behind it there are optional ones alone.
        blob[at..at + 2].copy_from_slice(&(format::KIND_OPTIONAL | 0x77).to_le_bytes());
        let (own, rest) = blob[at..].split_at(8 + 112);
        let swapped = [&blob[..at], rest, own].concat();
        let refused = load(b, &sealed(swapped)).0;
        assert_eq!(refused, Err(Refusal::Missing(format::OWN_RSS).into()));
    });
}

/// Where a record of a state begins.
fn record(blob: &[u8], kind: u16) -> Option<usize> {
    let mut at = 24;
    while at < blob.len() {
        if blob[at..at + 2] == kind.to_le_bytes() {
            return Some(at);
        }
        let length = u32::from_le_bytes(blob[at + 4..at + 8].try_into().unwrap());
        at += 8 + (length as usize).next_multiple_of(8);
    }
    None
}

/// With the checksum that fits: CRC-32C, as in iSCSI.
fn sealed(mut blob: Vec<u8>) -> Vec<u8> {
    const CRC_AT: usize = 20;
    blob[CRC_AT..CRC_AT + 4].fill(0);
    let crc = !blob.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 != 0 { 0x82F6_3B78 } else { 0 }
        })
    });
    blob[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    blob
}

/// With it a state is longer by 120 bytes, and takes 27 accesses more to save, for which there is room in the budget, and as
/// many to load.
#[test]
fn budgets_hold_with_every_kind_of_head() {
    for policy in [HeadWrite::Value, HeadWrite::Zero, HeadWrite::Ignore] {
        let [x540, x550] = [x540_with, x550_with].map(|make: Make| {
            let machines = [make(policy), make(policy)];
            let [mut a, mut b] = machines.each_ref().map(Host::new);
            a.bring_up(true);
            let rings = Rings::new(a.machine);
            let (blob, saved) = save(&mut a);
            let (_, loaded) = carry(a.machine, &mut b, &rings, &blob);
            let (_, started) = resume(&mut b);
            let loaded = loaded + started;
            assert!(
                saved <= 150 && loaded <= load_budget(&b),
                "{saved} {loaded}"
            );
            [blob.len() as u32, saved, loaded]
        });
        assert_eq!(x550, [x540[0] + 120, x540[1] + 27, x540[2] + 27]);
    }
}

/// Of all states that differ in one bit an X550 takes those more than an X540 in which the guest could have written that bit
/// of its RSS (`TAKEN_X550` in vfio_migration_hostile_test.c): ten of VFMRQC, all of the key, one of each entry.
#[test]
fn of_its_bits_those_are_taken_that_a_guest_can_write() {
    let taken = [x540_with, x550_with].map(|make: Make| {
        let mut taken = 0;
        between([make; 2], |a, b| {
            a.bring_up(true);
            let _rings = Rings::new(a.machine);
            let (blob, _) = save(a);
            for bit in 0..8 * blob.len() {
                let mut bad = blob.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let judged = b.with(|m, io, pf| m.check(io, pf, &sealed(bad), true)).0;
                assert!(matches!(judged, Ok(_) | Err(Error::Refused(_))));
                taken += u32::from(judged.is_ok());
            }
        });
        taken
    });
    assert_eq!(taken[1] - taken[0], 10 + 320 + 64, "{taken:?}");
}
