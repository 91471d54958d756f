// SPDX-License-Identifier: GPL-2.0
//! Every interleaving of a device, a guest and a host that looks, on a small ring: no page is lost. And with the protocol
//! broken on purpose, one is.
//!
//! The actors take one step at a time, in any order:
//!
//! - The device counts a frame, takes descriptors, moves its head, and writes buffers and descriptors, later and in that
//!   order. How far these may be apart is [`Limits::ahead`]; writes may be as late as they like.
//! - The guest writes a descriptor into a slot whose old buffer it was told is full, and moves the tail, at any later time.
//!   Each descriptor names a page of its own, so that nothing is reported by chance.
//! - The host reads what a look reads, one register and one descriptor at a time. What it reports is read out of the log at
//!   once, which is the worst case: a page that is written after that must be reported again.
//!
//! Between any two steps the VF may be stopped, perhaps amid a frame. Then comes the last look, and after it no page may be
//! left that was written and not reported.

use super::*;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Largest ring.
const RING: usize = 8;
const BUFFER: u32 = 1024;
const SETTLE: u64 = 10;

/// How the protocol is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    No,
    /// The bound of what was used is too small by one.
    Bound,
    /// The tail is read after the descriptors.
    TailAfterDescriptors,
    /// The head is read first.
    HeadFirst,
    /// The counters at the begin are those of the end.
    CountersAtEnd,
    /// An owed interval is not paid.
    OwedDropped,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    ring: u8,
    ahead: u8,
    /// Largest frame, in buffers.
    frame: u8,
    /// Descriptors that are used in all.
    most: u8,
    /// Descriptors that are taken and not written, at most.
    late: u8,
    looks: u8,
    /// The guest moves the tail with each descriptor.
    prompt: bool,
    /// The host follows already when it begins.
    followed: bool,
    /// The host reads a ring descriptor by descriptor, and not in one step.
    torn: bool,
    broken: Broken,
}

/// What a look reads next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Read {
    Before,
    Tail,
    Descriptor(u8),
    Head,
    After,
}

#[derive(Clone)]
struct World {
    // Descriptors that the device has counted, taken, shown in its head, and written.
    counted: u8,
    taken: u8,
    head: u8,
    landed: u8,
    count: Count,
    // Descriptors that the guest has put into the ring, and the tail.
    filled: u8,
    tail: u8,
    /// Pages that were written and not reported since, one bit each.
    dirty: u64,
    // The host.
    follower: Follower,
    table: [u64; RING],
    image: [u64; RING],
    look: Look,
    next: Option<Read>,
    looks: u8,
    now: u64,
    /// What the device had begun when the last look ended.
    begun: u8,
}

/// The address in descriptor `s`.
fn page(s: u8) -> u64 {
    (u64::from(s) + 1) << 12
}

impl World {
    fn new(case: &Case) -> Self {
        let limits = Limits {
            ahead: case.ahead.into(),
            settle_us: SETTLE,
            longest_us: u64::MAX,
        };
        let mut follower = Follower::new(limits);
        follower.short = (case.broken == Broken::Bound).into();
        let ring = Ring {
            base: 0,
            length: u32::from(case.ring) * DESCRIPTOR_BYTES,
            srrctl: (BUFFER >> 10) | regs::SRRCTL_DESCTYPE_ADV_ONEBUF,
            runs: true,
            tx: [0; 3],
        };
        let mut look = Look {
            time_us: (0, 0),
            epoch: 0,
            queues: 1,
            before: Count::default(),
            after: Count::default(),
            stopped: false,
            rx: Default::default(),
        };
        look.rx[0].ring = ring;
        let mut world = Self {
            counted: 0,
            taken: 0,
            head: 0,
            landed: 0,
            count: Count::default(),
            filled: case.ring - 1,
            tail: case.ring - 1,
            dirty: 0,
            follower,
            table: [0; RING],
            image: [0; RING],
            look,
            next: None,
            looks: 0,
            now: 0,
            begun: 0,
        };
        for _ in 0..if case.followed { 2 } else { 0 } {
            world.now += SETTLE;
            world.next = Some(Read::Before);
            while let Some(read) = world.next {
                world.read(case, read);
            }
        }
        world.looks = 0;
        world
    }

    fn key(&self) -> u128 {
        let q = &self.follower.queues[0];
        let known = (
            q.register, q.head, q.posted, q.known, q.read, q.floor, q.mark,
        );
        let last = (self.follower.last, self.follower.lied);
        let device = (self.counted, self.taken, self.head, self.landed, self.count);
        let guest = (self.filled, self.tail, self.dirty);
        let look = (&self.look.rx[0], self.look.before, self.look.time_us);
        let host = (self.next, self.looks, self.now, self.begun);
        let hash = |seed: u64| {
            let mut hasher = DefaultHasher::new();
            (
                seed, known, last, device, guest, look, host, self.table, self.image,
            )
                .hash(&mut hasher);
            u128::from(hasher.finish())
        };
        hash(1) << 64 | hash(2)
    }

    /// What memory holds in slot `i`.
    fn slot(&self, case: &Case, i: u8) -> u64 {
        if i >= self.filled {
            return 0;
        }
        let turns = (self.filled - 1 - i) / case.ring;
        let s = i + turns * case.ring;
        if s < self.landed {
            // Written back: a length and a status.
            0xABCD_0000_0000 | u64::from(s)
        } else {
            page(s)
        }
    }

    fn write(&mut self, s: u8) {
        self.dirty |= 1 << s;
    }

    /// All that can happen next.
    fn successors(&self, case: &Case, out: &mut Vec<Self>) {
        let mut add = |f: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            f(&mut next);
            out.push(next);
        };
        // The device.
        let apart = case.ahead.max(case.frame);
        for k in 1..=case.frame {
            let counted = self.counted + k;
            let room = counted - self.head <= apart && counted - self.landed <= case.late;
            if counted <= case.most.min(self.tail) && room {
                add(&|w| {
                    w.counted = counted;
                    w.count.frames += 1;
                    // As few as can fill them, so that the bound is no larger than it must be.
                    w.count.octets += u32::from(k - 1) * BUFFER + 1;
                    if case.ahead == 0 {
                        (w.taken, w.head) = (counted, counted);
                    }
                });
            }
        }
        if self.taken < self.counted && self.taken < self.head + case.ahead {
            add(&|w| w.taken += 1);
        }
        if self.head < self.counted {
            add(&|w| w.head += 1);
        }
        if self.landed < self.taken {
            add(&|w| {
                w.write(w.landed);
                w.landed += 1;
            });
        }
        // The guest.
        if self.filled < self.landed + case.ring - 1 && self.filled < case.most + case.ring {
            add(&|w| {
                w.filled += 1;
                if case.prompt {
                    w.tail = w.filled;
                }
            });
        }
        if self.tail < self.filled {
            add(&|w| w.tail = w.filled);
        }
        // The host.
        match self.next {
            None if self.looks < case.looks => {
                add(&|w| w.read(case, Read::Before));
                // The device has settled since the last look.
                if self.landed.min(self.head) >= self.begun {
                    add(&|w| {
                        w.now += SETTLE;
                        w.read(case, Read::Before);
                    });
                }
            }
            Some(read) => add(&|w| w.read(case, read)),
            None => {}
        }
    }

    fn read(&mut self, case: &Case, read: Read) {
        let last = case.ring - 1;
        let head_first = case.broken == Broken::HeadFirst;
        let tail_late = case.broken == Broken::TailAfterDescriptors;
        self.next = Some(match read {
            Read::Before => {
                self.look.time_us = (self.now, self.now);
                self.look.before = self.count;
                match (head_first, tail_late) {
                    (true, _) => Read::Head,
                    (_, true) => Read::Descriptor(0),
                    _ => Read::Tail,
                }
            }
            Read::Tail => {
                self.look.rx[0].tail = (self.tail % case.ring).into();
                if tail_late {
                    Read::Head
                } else {
                    Read::Descriptor(0)
                }
            }
            Read::Descriptor(i) => {
                self.image[usize::from(i)] = self.slot(case, i);
                match i {
                    _ if i < last && !case.torn => return self.read(case, Read::Descriptor(i + 1)),
                    _ if i < last => Read::Descriptor(i + 1),
                    _ if head_first => Read::After,
                    _ if tail_late => Read::Tail,
                    _ => Read::Head,
                }
            }
            Read::Head => {
                self.look.rx[0].head = (self.head % case.ring).into();
                if head_first {
                    Read::Tail
                } else {
                    Read::After
                }
            }
            Read::After => {
                self.look.after = self.count;
                if case.broken == Broken::CountersAtEnd {
                    self.look.before = self.count;
                }
                self.judge(case);
                self.begun = self.counted;
                self.looks += 1;
                self.next = None;
                self.image = [0; RING];
                self.look.rx[0].head = 0;
                self.look.rx[0].tail = 0;
                return;
            }
        });
    }

    /// Ends a look, and reads the log.
    fn judge(&mut self, case: &Case) {
        let n = usize::from(case.ring);
        let image: Vec<u8> = self.image[..n]
            .iter()
            .flat_map(|a| [a.to_le_bytes(), [0; 8]].concat())
            .collect();
        let mut step = self.follower.begin(&self.look);
        let mut reported = 0u64;
        self.follower.queue(
            0,
            &self.look,
            &mut step,
            &image,
            &mut self.table[..n],
            |span| {
                if let Some(s) = (span.first >> 12).checked_sub(1).filter(|s| *s < 64) {
                    reported |= 1 << s;
                }
            },
        );
        self.dirty &= !reported;
        if self.follower.end(step).is_err() && case.broken != Broken::OwedDropped {
            self.dirty = 0;
        }
    }

    /// Stops the VF here and now, amid a frame or not, and says which pages nobody reported.
    fn lost(&self, case: &Case, cut: bool) -> u64 {
        let mut w = self.clone();
        while w.landed < w.taken {
            w.write(w.landed);
            w.landed += 1;
        }
        w.head = w.taken;
        if cut && w.taken < w.tail {
            w.write(w.taken);
        }
        w.now += SETTLE;
        w.look.stopped = true;
        w.look.time_us = (w.now, w.now);
        w.look.before = w.count;
        w.look.after = w.count;
        w.look.rx[0].tail = (w.tail % case.ring).into();
        w.look.rx[0].head = (w.head % case.ring).into();
        for i in 0..case.ring {
            w.image[usize::from(i)] = w.slot(case, i);
        }
        w.judge(case);
        w.dirty
    }
}

/// Goes through all states. `Err`: one from which a page is lost.
fn explore(case: &Case) -> Result<(usize, usize), Box<World>> {
    let mut seen = HashSet::new();
    let mut todo = vec![World::new(case)];
    let mut clean = 0;
    while let Some(world) = todo.pop() {
        if !seen.insert(world.key()) {
            continue;
        }
        if world.next.is_none() {
            for cut in [false, true] {
                if world.lost(case, cut) != 0 {
                    return Err(Box::new(world));
                }
            }
            clean += usize::from(world.follower.room() > 0);
        }
        world.successors(case, &mut todo);
    }
    Ok((seen.len(), clean))
}

const CASE: Case = Case {
    ring: 4,
    ahead: 0,
    frame: 1,
    most: 5,
    late: 2,
    looks: 1,
    prompt: false,
    followed: true,
    torn: false,
    broken: Broken::No,
};

fn nothing_is_lost(case: Case) {
    match explore(&case) {
        Ok((states, clean)) => {
            println!("{case:?}: {states} states, followed in {clean}");
            assert!(clean > 0, "never followed");
        }
        Err(w) => panic!(
            "{case:?}: lost {:x}: counted {} taken {} head {} landed {} filled {} tail {}: {:?}",
            w.lost(&case, false) | w.lost(&case, true),
            w.counted,
            w.taken,
            w.head,
            w.landed,
            w.filled,
            w.tail,
            w.follower.queues[0]
        ),
    }
}

/// Two looks amid traffic.
const TWO_LOOKS: Case = Case {
    late: 1,
    looks: 2,
    prompt: true,
    ..CASE
};

/// The same with few enough steps to go through all of them in seconds.
const SHORT: Case = Case {
    most: 4,
    ..TWO_LOOKS
};

fn is_caught(case: Case, broken: Broken) {
    let case = Case { broken, ..case };
    match explore(&case) {
        Ok((states, _)) => panic!("{case:?} loses nothing in {states} states"),
        Err(w) => println!(
            "{case:?}: loses {:x}",
            w.lost(&case, false) | w.lost(&case, true)
        ),
    }
}

#[test]
fn no_interleaving_loses_a_page() {
    nothing_is_lost(CASE);
}

#[test]
fn no_interleaving_of_two_looks_loses_a_page() {
    nothing_is_lost(SHORT);
}

/// A whole turn more than the registers show, to where the ring is empty.
const WHOLE_TURN: Case = Case {
    most: 7,
    looks: 0,
    ..CASE
};

#[test]
fn no_interleaving_of_a_whole_turn_loses_a_page() {
    nothing_is_lost(WHOLE_TURN);
}

#[test]
fn no_interleaving_loses_a_page_while_a_ring_is_read() {
    nothing_is_lost(Case {
        torn: true,
        most: 4,
        ..CASE
    });
}

#[test]
fn no_interleaving_loses_a_page_when_following_begins() {
    nothing_is_lost(Case {
        followed: false,
        ..SHORT
    });
}

#[test]
fn no_interleaving_loses_a_page_of_larger_frames() {
    nothing_is_lost(Case {
        frame: 2,
        most: 4,
        ..CASE
    });
}

#[test]
fn no_interleaving_loses_a_page_of_a_head_that_lags() {
    nothing_is_lost(Case {
        ahead: 1,
        ring: 5,
        prompt: true,
        ..CASE
    });
}

#[test]
fn no_interleaving_loses_a_page_of_a_larger_ring() {
    nothing_is_lost(Case {
        ring: 6,
        most: 6,
        late: 1,
        prompt: true,
        ..CASE
    });
}

/// Millions of states: `cargo test --release -p libixgbe --lib enumerate -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn no_long_interleaving_loses_a_page() {
    for case in [
        Case { looks: 2, ..CASE },
        TWO_LOOKS,
        Case {
            followed: false,
            ..TWO_LOOKS
        },
        Case {
            looks: 3,
            ..TWO_LOOKS
        },
        Case {
            torn: true,
            late: 4,
            ..CASE
        },
        Case {
            ring: 8,
            most: 10,
            late: 1,
            ..CASE
        },
        Case {
            frame: 2,
            ring: 5,
            most: 7,
            late: 3,
            ..CASE
        },
        Case {
            ahead: 1,
            ring: 5,
            most: 6,
            ..CASE
        },
    ] {
        nothing_is_lost(case);
    }
}

#[test]
fn a_bound_that_is_too_small_is_caught() {
    is_caught(WHOLE_TURN, Broken::Bound);
}

#[test]
fn a_tail_that_is_read_after_the_descriptors_is_caught() {
    is_caught(CASE, Broken::TailAfterDescriptors);
}

#[test]
fn a_head_that_is_read_first_is_caught() {
    is_caught(TWO_LOOKS, Broken::HeadFirst);
}

#[test]
fn counters_that_are_read_once_are_caught() {
    is_caught(TWO_LOOKS, Broken::CountersAtEnd);
}

#[test]
fn an_owed_interval_that_is_dropped_is_caught() {
    is_caught(CASE, Broken::OwedDropped);
}
