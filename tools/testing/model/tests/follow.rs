// SPDX-License-Identifier: GPL-2.0
//! The host follows the rings of a guest that does not mark (`libixgbe::migration::follow`): what it reports is compared
//! with what the device wrote.

mod common;

use common::moving::{Host, VF, VF_MAC};
use common::{frame, machine_with, TxRing, MAC, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::Machine;
use ixgbe_model::HeadWrite;
use libixgbe::mbx::Request;
use libixgbe::migration::follow::{
    Follower, Heads, Limits, Load, Look, Owed, Pace, Reader, Ring, Tails,
};
use libixgbe::migration::pf::Error;
use libixgbe::migration::Unmarked;
use libixgbe::{regs, Regs};
use std::collections::{BTreeSet, VecDeque};

/// A VF's address other than the followed one's.
const OTHER_MAC: [u8; 6] = [0x02, 0, 0, 0, 7, 6];
/// Bytes of a buffer: half a page, as the mainline driver has them.
const BUFFER: u64 = 2048;
/// Descriptors that the mainline driver posts at once (`IXGBE_RX_BUFFER_WRITE`).
const BATCH: u32 = 16;

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n.max(1)
    }
}

/// A receive ring as a driver has it that knows nothing of this project. Each buffer is another one than the last in its
/// slot.
struct Guest<'a> {
    machine: &'a Machine,
    queue: u32,
    base: u64,
    count: u32,
    to_clean: u32,
    to_use: u32,
    slots: Vec<u64>,
    pool: VecDeque<u64>,
    /// Pages of buffers that it took a frame from: those that it would mark.
    marks: BTreeSet<u64>,
}

impl<'a> Guest<'a> {
    fn new(machine: &'a Machine, queue: u32, count: u32) -> Self {
        let buffers = 2 * u64::from(count);
        let memory = machine.allocate((buffers * BUFFER) as usize, 4096);
        // Neighbours in the ring share no page.
        let pool = (0..buffers)
            .map(|i| memory + (i * 2 % buffers + i * 2 / buffers) * BUFFER)
            .collect();
        let guest = Self {
            machine,
            queue,
            base: machine.allocate(count as usize * 16, 4096),
            count,
            to_clean: 0,
            to_use: 0,
            slots: vec![0; count as usize],
            pool,
            marks: BTreeSet::new(),
        };
        guest.program();
        guest
    }

    /// What a driver writes when it brings up the queue.
    fn program(&self) {
        let vf = self.machine.vf(VF);
        let q = self.queue;
        vf.write32(regs::vfrdbal(q), self.base as u32);
        vf.write32(regs::vfrdbah(q), (self.base >> 32) as u32);
        vf.write32(regs::vfrdlen(q), self.count * 16);
        vf.write32(regs::vfrdh(q), 0);
        vf.write32(regs::vfrdt(q), 0);
        let kib = (BUFFER >> 10) as u32;
        vf.write32(
            regs::vfsrrctl(q),
            kib | regs::SRRCTL_DESCTYPE_ADV_ONEBUF | regs::SRRCTL_DROP_EN,
        );
        vf.write32(regs::vfrxdctl(q), regs::RXDCTL_ENABLE);
    }

    fn next(&self, i: u32) -> u32 {
        (i + 1) % self.count
    }

    /// Posts as many buffers as there is room for, in batches, or all.
    fn refill(&mut self, all: bool) {
        let unused = (self.to_clean + self.count - self.to_use - 1) % self.count;
        let unused = if all { unused } else { unused / BATCH * BATCH };
        for _ in 0..unused {
            let buffer = self.pool.pop_front().unwrap();
            self.slots[self.to_use as usize] = buffer;
            let at = self.base + u64::from(self.to_use) * 16;
            self.machine.store(at, &buffer.to_le_bytes());
            // What the header address held is left as it was, but for the length.
            self.machine.store(at + 12, &[0, 0]);
            self.to_use = self.next(self.to_use);
        }
        if unused > 0 {
            self.machine
                .vf(VF)
                .write32(regs::vfrdt(self.queue), self.to_use);
        }
    }

    /// Takes up to `budget` descriptors that are done, and posts others.
    fn poll(&mut self, budget: u64) {
        for _ in 0..budget {
            let at = self.base + u64::from(self.to_clean) * 16;
            if self.to_clean == self.to_use || self.machine.load(at + 8, 1)[0] & 1 == 0 {
                break;
            }
            let buffer = std::mem::take(&mut self.slots[self.to_clean as usize]);
            self.pool.push_back(buffer);
            self.marks.insert(buffer >> 12);
            // Done: nobody takes it twice.
            self.machine.store(at + 8, &[0]);
            self.to_clean = self.next(self.to_clean);
        }
        self.refill(false);
    }
}

/// What one run found.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    looks: u64,
    owed: u64,
    /// Pages that were written, once for each interval.
    written: u64,
    /// Pages that were reported in intervals that were not owed.
    reported: u64,
    /// Of those, pages that were not written.
    more: u64,
    missed: u64,
}

/// A followed VF.
struct Followed<'a> {
    host: Host<'a>,
    guests: Vec<Guest<'a>>,
    follower: Follower,
    tables: Vec<Vec<u64>>,
    /// Written, and not reported since.
    pending: BTreeSet<u64>,
    /// All pages that were reported in intervals that were not owed.
    all: BTreeSet<u64>,
    random: Random,
    /// Traffic within a look comes before the rings are read, and not also after that.
    before_rings: bool,
    found: Found,
    last: Option<Owed>,
}

/// What happens at a time that a test does not choose.
type Traffic<'t, 'a> = &'t mut dyn FnMut(&mut Host<'a>, &mut [Guest<'a>], &mut Random);

/// Reads for a look.
struct Eye<'t, 'a> {
    host: &'t mut Host<'a>,
    guests: &'t mut [Guest<'a>],
    random: &'t mut Random,
    traffic: Traffic<'t, 'a>,
    before_rings: bool,
    images: Vec<Vec<u8>>,
}

impl Reader for Eye<'_, '_> {
    type Error = Error;

    fn now_us(&mut self) -> u64 {
        self.host.machine.now() / 1000
    }

    fn tails(&mut self) -> Result<Tails, Error> {
        self.host.with(|m, io, pf| m.tails(io, pf)).0
    }

    fn ring(&mut self, i: usize, ring: &Ring) {
        if i == 0 {
            (self.traffic)(self.host, self.guests, self.random);
        }
        self.images[i] = self.host.machine.load(ring.base, ring.length as usize);
    }

    fn heads(&mut self) -> Result<Heads, Error> {
        if !self.before_rings {
            (self.traffic)(self.host, self.guests, self.random);
        }
        self.host.with(|m, io, pf| m.heads(io, pf)).0
    }
}

impl<'a> Followed<'a> {
    fn new(machine: &'a Machine, count: u32, seed: u64) -> Self {
        let mut host = Host::new(machine);
        host.bring_up(false);
        let mut guests: Vec<_> = (0..2).map(|q| Guest::new(machine, q, count)).collect();
        for guest in &mut guests {
            guest.refill(true);
        }
        machine.take_written();
        Self {
            host,
            guests,
            follower: Follower::new(Limits::DEFAULT),
            tables: vec![vec![0; count as usize]; 2],
            pending: BTreeSet::new(),
            all: BTreeSet::new(),
            random: Random(seed | 1),
            before_rings: false,
            found: Found::default(),
            last: None,
        }
    }

    fn note_written(&mut self) {
        let written: BTreeSet<u64> = self
            .host
            .machine
            .take_written()
            .into_iter()
            .filter(|(function, range)| *function == Function::Vf(VF) && !range.is_empty())
            .flat_map(|(_, range)| range.start >> 12..=(range.end - 1) >> 12)
            .collect();
        self.found.written += written.len() as u64;
        self.pending.extend(written);
    }

    /// Looks, with traffic between any two of its steps, and reads the log.
    fn look(&mut self, traffic: Traffic<'_, 'a>) -> Result<(), Owed> {
        let mut eye = Eye {
            host: &mut self.host,
            guests: &mut self.guests,
            random: &mut self.random,
            traffic,
            before_rings: self.before_rings,
            images: vec![Vec::new(); self.tables.len()],
        };
        let look = Look::take(&mut eye).unwrap().unwrap();
        let images = eye.images;
        let mut reported = BTreeSet::new();
        let mut step = self.follower.begin(&look);
        for (i, (image, table)) in images.iter().zip(&mut self.tables).enumerate() {
            self.follower
                .queue(i, &look, &mut step, image, table, |span| {
                    reported.extend(span.first >> 12..=span.last >> 12);
                });
        }
        let verdict = self.follower.end(step);
        self.note_written();
        self.found.looks += 1;
        self.last = verdict.err();
        match verdict {
            Ok(()) => {
                self.found.reported += reported.len() as u64;
                let more = reported.difference(&self.pending).count();
                self.found.more += more as u64;
                self.pending.retain(|page| !reported.contains(page));
                self.all.extend(reported);
            }
            Err(_) => {
                self.found.owed += 1;
                self.pending.clear();
            }
        }
        verdict
    }

    /// Stops the VF, and takes the last look.
    fn stop(&mut self) -> Found {
        self.host.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
        let _ = self.look(&mut |_, _, _| {});
        self.found.missed = self.pending.len() as u64;
        self.found
    }

    /// Two looks at rest: the host follows then.
    fn begin(&mut self) {
        for _ in 0..2 {
            let _ = self.look(&mut |_, _, _| {});
            self.host.machine.advance(3_000_000);
        }
        self.look(&mut |_, _, _| {}).unwrap();
        self.found = Found::default();
    }
}

/// A frame of a length that is new to the last one.
fn receive(host: &Host<'_>, length: usize) {
    host.machine.receive(&frame(VF_MAC, PEER, length));
}

/// `intervals` looks with `frames` frames between them, of these lengths. The guest is served after every few frames.
fn run(count: u32, frames: u64, intervals: u64, lengths: (u64, u64), seed: u64) -> Found {
    let machine = machine_with(HeadWrite::Value);
    let mut f = Followed::new(&machine, count, seed);
    f.begin();
    let busy = frames.div_ceil(16).min(4);
    for _ in 0..intervals {
        // As the wire: frames at even times, in an interval of any length.
        let ns = 1_000_000 / frames.max(1);
        for _ in 0..frames {
            receive(
                &f.host,
                (lengths.0 + f.random.below(lengths.1 - lengths.0 + 1)) as usize,
            );
            f.host.machine.advance(ns);
            if f.random.below(4) == 0 {
                let budget = 1 + f.random.below(64);
                f.guests[0].poll(budget);
            }
        }
        let _ = f.look(&mut |host, guests, random| {
            for _ in 0..random.below(busy + 1) {
                receive(host, lengths.0 as usize);
                if random.below(2) == 0 {
                    guests[0].poll(64);
                }
            }
        });
    }
    f.stop()
}

#[test]
fn no_page_is_missed_at_any_rate() {
    println!("ring  frames/interval  looks   owed  reported    more  missed");
    for count in [64, 512] {
        for frames in [0, 1, 4, 12, 24, 40, 65, 128, 300, 440, 512, 1030] {
            let found = run(count, frames, 30, (60, 1514), frames + u64::from(count));
            println!(
                "{count:4}  {frames:15}  {:5}  {:5}  {:8}  {:6}  {:6}",
                found.looks, found.owed, found.reported, found.more, found.missed
            );
            assert_eq!(found.missed, 0, "{count} {frames} {found:?}");
            // The guest leaves some dozen slots unposted, and 16 are kept clear of: a ring of 64 has little left.
            if frames <= 4 || (count == 512 && frames <= 128) {
                assert_eq!(found.owed, 0, "{count} {frames} {found:?}");
            }
        }
    }
}

/// Microseconds that a look takes: 22 register reads of about 1 us each over PCIe, and two rings of 8 KiB.
const LOOK_US: u64 = 30;

/// Looks when [`Pace`] says, at this many frames a second.
fn paced(count: u32, rate: u64, looks: u64) -> (Found, u64) {
    let machine = machine_with(HeadWrite::Value);
    let mut f = Followed::new(&machine, count, rate + 1);
    f.begin();
    let mut pace = Pace::new(20);
    let (begin, ns) = (machine.now(), 1_000_000_000 / rate.max(1));
    let mut sent = 0;
    // The frames that are due by now; the guest is served after every few.
    let mut due = |host: &Host<'_>, guests: &mut [Guest<'_>], random: &mut Random| {
        while rate > 0 && sent * ns <= host.machine.now() - begin {
            receive(host, 100);
            sent += 1;
            if random.below(4) == 0 {
                guests[0].poll(64);
            }
        }
    };
    for _ in 0..looks {
        let at_us = machine.now() / 1000;
        let _ = f.look(&mut |host, guests, random| {
            host.machine.advance(LOOK_US * 500);
            due(host, guests, random);
        });
        let next_us = pace.next(&Load {
            cost_ns: LOOK_US * 1000,
            at_us,
            frames: Some(machine.counts(Function::Vf(VF)).received as u32),
            room: f.follower.room(),
        });
        let steps = next_us.div_ceil(50);
        for _ in 0..steps {
            machine.advance(next_us * 1000 / steps);
            due(&f.host, &mut f.guests, &mut f.random);
        }
    }
    let passed_us = (machine.now() - begin) / 1000;
    (f.stop(), passed_us / looks)
}

#[test]
fn intervals_are_owed_where_the_ring_is_too_small_for_the_rate() {
    println!("ring  frames/s  us/look  owed of looks");
    for count in [64, 512] {
        for rate in [0, 500, 5000, 10_000, 20_000, 50_000, 100_000] {
            let (found, us) = paced(count, rate, 100);
            println!(
                "{count:4}  {rate:8}  {us:7}  {} of {}",
                found.owed, found.looks
            );
            assert_eq!(found.missed, 0, "{count} {rate} {found:?}");
            if rate <= 10_000 || count == 512 {
                assert!(found.owed * 10 <= found.looks, "{count} {rate} {found:?}");
            }
        }
    }
}

/// Stops at times that nothing chooses: `FOLLOW_STOPS` of them, by default 60.
#[test]
fn no_stop_misses_a_page() {
    let stops = std::env::var("FOLLOW_STOPS").map_or(60, |n| n.parse().unwrap());
    let mut sum = Found::default();
    let mut sure = 0;
    for seed in 1..=stops {
        let mut random = Random((seed * 0x9E37_79B9) | 1);
        for _ in 0..8 {
            random.below(2);
        }
        let count = [64, 128, 512][random.below(3) as usize];
        let frames = random.below(u64::from(count));
        let found = run(count, frames, 1 + random.below(30), (60, 1514), seed);
        assert_eq!(found.missed, 0, "{seed}: {count} {frames} {found:?}");
        sum.looks += found.looks;
        sum.owed += found.owed;
        sum.written += found.written;
        sure += u64::from(found.owed == 0);
    }
    println!("{stops} stops, {sure} without an owed interval: {sum:?}");
}

/// A host that is kept from running amid a look, after a ring ran dry: the device uses all that was posted, and the guest posts
/// it again, before the ring is read. Nothing is kept clear of, since the model writes all that it counts.
#[test]
fn a_look_that_takes_long_misses_no_page() {
    for frames in 1..=63 {
        let machine = machine_with(HeadWrite::Value);
        let mut f = Followed::new(&machine, 64, frames);
        f.follower = Follower::new(Limits {
            ahead: 0,
            ..Limits::DEFAULT
        });
        f.before_rings = true;
        f.begin();
        for _ in 0..63 {
            receive(&f.host, 100);
        }
        f.guests[0].poll(64);
        let _ = f.look(&mut |host, guests, _| {
            for _ in 0..frames {
                receive(host, 100);
            }
            guests[0].poll(64);
        });
        for _ in 0..3 {
            let _ = f.look(&mut |_, _, _| {});
        }
        let found = f.stop();
        assert_eq!(found.missed, 0, "{frames}: {found:?}");
    }
}

#[test]
fn frames_of_several_buffers_are_followed() {
    let machine = machine_with(HeadWrite::Value);
    let pf = machine.pf();
    for (count, frames) in [(64, 2), (64, 9), (512, 16), (512, 60), (512, 200)] {
        pf.write32(regs::HLREG0, pf.read32(regs::HLREG0) | regs::HLREG0_JUMBOEN);
        let found = run_jumbo(count, frames);
        println!("{count} {frames}: {found:?}");
        assert_eq!(found.missed, 0, "{count} {frames} {found:?}");
        if frames * 5 < u64::from(count) / 3 {
            assert_eq!(found.owed, 0, "{count} {frames} {found:?}");
        }
    }
}

fn run_jumbo(count: u32, frames: u64) -> Found {
    let machine = machine_with(HeadWrite::Value);
    let mut f = Followed::new(&machine, count, frames);
    let pf = machine.pf();
    pf.write32(regs::HLREG0, pf.read32(regs::HLREG0) | regs::HLREG0_JUMBOEN);
    pf.write32(regs::MAXFRS, 9728 << regs::MHADD_MFS_SHIFT);
    f.begin();
    for _ in 0..60 {
        for _ in 0..frames {
            let length = 60 + f.random.below(9000) as usize;
            receive(&f.host, length);
            if f.random.below(3) == 0 {
                f.guests[0].poll(64);
            }
        }
        let _ = f.look(&mut |host, guests, random| {
            if random.below(2) == 0 {
                receive(host, 9000);
                guests[0].poll(64);
            }
        });
    }
    assert!(f.found.written > 60 * frames.min(20));
    f.stop()
}

#[test]
fn frames_of_the_own_switch_are_followed() {
    let machine = machine_with(HeadWrite::Value);
    let mut f = Followed::new(&machine, 64, 5);
    let other = Function::Vf(0);
    let pf = machine.pf();
    // The neighbour needs no driver but a ring.
    pf.write32(regs::vfte(0), pf.read32(regs::vfte(0)) | 1);
    let spoof = pf.read32(regs::pfvfspoof(0));
    pf.write32(regs::pfvfspoof(0), spoof & !0x0101);
    let mut tx = TxRing::new(&machine, other, 0, 64);
    f.begin();
    let before = machine.counts(Function::Vf(VF)).received;
    for n in 0..200 {
        for _ in 0..n % 20 {
            tx.send(&frame(VF_MAC, OTHER_MAC, 200));
            if n % 3 == 0 {
                f.guests[0].poll(64);
            }
        }
        f.guests[0].poll(64);
        f.look(&mut |_, guests, _| {
            tx.send(&frame(VF_MAC, MAC, 60));
            guests[0].poll(64);
        })
        .unwrap();
    }
    assert!(machine.counts(Function::Vf(VF)).received > before + 1000);
    assert_eq!(f.stop().missed, 0);
}

#[test]
fn frames_that_are_dropped_are_no_pages() {
    let machine = machine_with(HeadWrite::Value);
    let mut f = Followed::new(&machine, 64, 7);
    f.begin();
    for n in 0..100 {
        // The ring runs dry, and the guest is late.
        for _ in 0..n {
            receive(&f.host, 100);
        }
        let _ = f.look(&mut |host, _, _| receive(host, 100));
        if n % 2 == 0 {
            f.guests[0].poll(64);
        }
        let _ = f.look(&mut |_, guests, _| guests[0].poll(7));
    }
    assert!(machine.counts(Function::Vf(VF)).no_descriptor > 1000);
    let found = f.stop();
    assert_eq!(found.missed, 0, "{found:?}");
    assert!(found.owed < found.looks, "{found:?}");
}

#[test]
fn what_a_stop_leaves_begun_is_reported() {
    for n in 0..70 {
        let machine = machine_with(HeadWrite::Value);
        let mut f = Followed::new(&machine, 64, 11);
        f.begin();
        for _ in 0..n {
            receive(&f.host, 1500);
            if f.random.below(4) == 0 {
                f.guests[0].poll(64);
            }
        }
        let found = f.stop();
        assert_eq!(found.missed, 0, "{n}: {found:?}");
        if n < 40 {
            assert_eq!(found.owed, 0, "{n}: {:?}", f.last);
        }
    }
}

/// Where a guest marks, what the host finds for itself must be no more than was marked, but for what was not taken at the stop.
#[test]
fn marking_is_a_superset_of_following() {
    for seed in 1..40 {
        let machine = machine_with(HeadWrite::Value);
        let mut f = Followed::new(&machine, 128, seed);
        // What was used, and not what may have been.
        f.follower = Follower::new(Limits {
            ahead: 0,
            settle_us: 0,
            ..Limits::DEFAULT
        });
        f.begin();
        f.all.clear();
        for guest in &mut f.guests {
            guest.marks.clear();
        }
        for _ in 0..30 {
            for _ in 0..f.random.below(40) {
                let length = 60 + f.random.below(1455);
                receive(&f.host, length as usize);
                if f.random.below(4) == 0 {
                    f.guests[0].poll(64);
                }
            }
            let _ = f.look(&mut |host, guests, random| {
                if random.below(2) == 0 {
                    receive(host, 100);
                    guests[0].poll(64);
                }
            });
        }
        let found = f.stop();
        assert_eq!((found.owed, found.missed), (0, 0), "{seed}: {found:?}");
        let rings = f.host.with(|m, io, pf| m.rings(io, pf)).0.unwrap();
        let mut marked: BTreeSet<u64> = BTreeSet::new();
        for (guest, rx) in f.guests.iter().zip(&rings.rx) {
            marked.extend(&guest.marks);
            marked.insert(guest.base >> 12);
            let unmarked = Unmarked::new(rx.head, rx.tail, guest.count);
            let slots = guest.slots.iter().zip(0..);
            marked.extend(
                slots
                    .filter(|(_, i)| unmarked.contains(*i))
                    .map(|(b, _)| b >> 12),
            );
        }
        let more: Vec<_> = f.all.difference(&marked).collect();
        assert!(more.is_empty(), "{seed}: not marked {more:x?}");
        assert!(f.all.len() > 100, "{seed}: {}", f.all.len());
    }
}

#[test]
fn a_driver_that_begins_again_is_owed_for() {
    let machine = machine_with(HeadWrite::Value);
    let mut f = Followed::new(&machine, 64, 13);
    f.begin();
    receive(&f.host, 100);
    f.look(&mut |_, _, _| {}).unwrap();
    // By a reset, with the same rings and heads as before.
    f.host.request(Request::Reset);
    assert_eq!(f.look(&mut |_, _, _| {}), Err(Owed::Reset));
    // Without one: the queue is stopped and begins with other buffers.
    f.begin();
    let vf = machine.vf(VF);
    vf.write32(regs::vfrxdctl(0), 0);
    let guest = &mut f.guests[0];
    for slot in guest.slots.iter_mut() {
        guest.pool.push_back(std::mem::take(slot));
    }
    guest.pool.rotate_left(5);
    (guest.to_clean, guest.to_use) = (0, 0);
    guest.pool.retain(|b| *b != 0);
    guest.program();
    guest.refill(true);
    receive(&f.host, 100);
    assert!(f.look(&mut |_, _, _| {}).is_err());
    assert_eq!(f.stop().missed, 0);
}

#[test]
fn a_look_takes_few_register_reads() {
    let machine = machine_with(HeadWrite::Value);
    let mut f = Followed::new(&machine, 64, 17);
    let first = f.host.with(|m, io, pf| m.tails(io, pf)).1;
    let second = f.host.with(|m, io, pf| m.heads(io, pf)).1;
    assert_eq!((first, second), (2 + 9 * 2, 2 + 2));
}
