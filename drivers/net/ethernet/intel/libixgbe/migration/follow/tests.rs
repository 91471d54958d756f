// SPDX-License-Identifier: GPL-2.0
//! What ends that a VF is followed, one by one.

use super::*;

const N: u32 = 64;
const BUFFERS: u64 = 0x10_0000;

/// A guest with one ring, a device that fills it, and a host that looks each 10 ms.
struct Bench {
    follower: Follower,
    look: Look,
    image: Vec<u8>,
    table: Vec<u64>,
    used: u32,
    spans: Vec<PageSpan>,
}

fn buffer(s: u32) -> u64 {
    BUFFERS + u64::from(s) * 4096
}

impl Bench {
    /// Followed, with a full ring.
    fn new() -> Self {
        Self::starting(Count::default())
    }

    fn starting(count: Count) -> Self {
        let mut bench = Self {
            follower: Follower::new(Limits::DEFAULT),
            look: Look {
                time_us: (0, 0),
                epoch: 7,
                queues: 1,
                before: count,
                after: count,
                stopped: false,
                rx: Default::default(),
            },
            image: vec![0; (N * 16) as usize],
            table: vec![0; N as usize],
            used: 0,
            spans: Vec::new(),
        };
        bench.look.rx[0].ring = Ring {
            base: 0x1000,
            length: N * 16,
            srrctl: 2 | regs::SRRCTL_DESCTYPE_ADV_ONEBUF,
            runs: true,
            tx: [0x9000, 1024, 0],
        };
        bench.post(0, N - 1);
        assert_eq!(bench.look(), Err(Owed::First));
        assert_eq!(bench.look(), Err(Owed::Unknown));
        assert_eq!(bench.look(), Ok(()));
        bench
    }

    /// The guest posts descriptors `from..to`.
    fn post(&mut self, from: u32, to: u32) {
        for s in from..to {
            let at = (s % N * 16) as usize;
            self.image[at..at + 8].copy_from_slice(&buffer(s).to_le_bytes());
        }
        self.look.rx[0].tail = to % N;
    }

    /// The device fills some buffers with a frame each.
    fn receive(&mut self, frames: u32) {
        for s in self.used..self.used + frames {
            let at = (s % N * 16) as usize;
            self.image[at..at + 16].fill(0xEE);
        }
        self.used += frames;
        let seen = &mut self.look.rx[0];
        seen.head = self.used % N;
        let after = &mut self.look.after;
        after.frames = after.frames.wrapping_add(frames);
        after.octets = after.octets.wrapping_add(64 * frames);
    }

    /// 10 ms after the last.
    fn look(&mut self) -> Result<(), Owed> {
        self.look.time_us.0 = self.look.time_us.1 + 10_000;
        self.look.time_us.1 = self.look.time_us.0 + 20;
        // No look has anything counted while it lasts.
        self.look.before = self.look.after;
        let mut step = self.follower.begin(&self.look);
        self.spans.clear();
        let spans = &mut self.spans;
        self.follower.queue(
            0,
            &self.look,
            &mut step,
            &self.image,
            &mut self.table,
            |span| spans.push(span),
        );
        self.follower.end(step)
    }

    fn reported(&self, s: u32) -> bool {
        let span = PageSpan::of(buffer(s), 2048).unwrap();
        self.spans.contains(&span)
    }
}

#[test]
fn what_was_filled_is_reported_and_a_vf_at_rest_has_nothing() {
    let mut b = Bench::new();
    b.receive(5);
    b.post(N - 1, N + 4);
    assert_eq!(b.look(), Ok(()));
    assert!((0..5).all(|s| b.reported(s)));
    assert!(b.reported(4 + b.follower.limits.ahead) && !b.reported(5 + b.follower.limits.ahead));
    // Once more, since it may have been written late. Then nothing is.
    assert_eq!(b.look(), Ok(()));
    assert!(!b.spans.is_empty());
    assert_eq!(b.look(), Ok(()));
    assert!(b.spans.is_empty());
    // What was posted since is known.
    b.receive(40);
    assert_eq!(b.look(), Ok(()));
    assert!((5..45).all(|s| b.reported(s)));
    assert_eq!(
        b.follower.room(),
        u64::from(N + 4 - 45 - b.follower.limits.ahead)
    );
}

#[test]
fn a_device_that_ran_past_what_was_seen_is_owed_for() {
    let mut b = Bench::new();
    b.receive(50);
    b.post(N - 1, N + 30);
    // What is behind the head at the distance of `ahead` was posted since.
    assert_eq!(b.look(), Err(Owed::Outran));
    // It is followed again when all that was unknown is done with.
    b.receive(5);
    assert_eq!(b.look(), Err(Owed::Unknown));
    b.look().unwrap_err();
    b.look().unwrap();
}

#[test]
fn a_turn_of_the_ring_is_seen_by_the_counters() {
    let mut b = Bench::new();
    b.receive(N);
    assert_eq!(b.look(), Err(Owed::Lapped));
}

#[test]
fn counters_may_wrap() {
    let mut b = Bench::starting(Count {
        frames: u32::MAX - 2,
        octets: u32::MAX - 100,
    });
    b.receive(10);
    assert_eq!(b.look(), Ok(()));
}

#[test]
fn a_counter_that_was_cleared_is_owed_for() {
    let mut b = Bench::starting(Count {
        frames: 1000,
        octets: 64_000,
    });
    b.receive(3);
    b.look.after = Count::default();
    assert_eq!(b.look(), Err(Owed::Lapped));
}

#[test]
fn counters_that_do_not_count_are_not_believed_again() {
    let mut b = Bench::new();
    b.receive(30);
    b.look.after = b.look.before;
    assert_eq!(b.look(), Err(Owed::Counters));
    b.receive(1);
    for _ in 0..5 {
        assert!(b.look().is_err());
    }
    // Those that count nothing at all are, of a few frames, the less so.
    let mut b = Bench::new();
    b.receive(3);
    b.look.after = b.look.before;
    assert_eq!(b.look(), Err(Owed::Counters));
}

#[test]
fn another_set_up_begins_anew() {
    type Change = fn(&mut Bench);
    let changes: [(Change, Owed); 9] = [
        (|b| b.look.epoch += 1, Owed::Reset),
        (|b| b.look.queues = 2, Owed::Reset),
        (|b| b.look.rx[0].ring.base += 4096, Owed::Changed),
        (|b| b.look.rx[0].ring.tx[2] = 1, Owed::Changed),
        (|b| b.look.rx[0].ring.runs = false, Owed::Changed),
        (|b| b.look.rx[0].ring.srrctl += 1, Owed::Changed),
        (|b| b.look.rx[0].head = N, Owed::Changed),
        (|b| b.look.time_us.1 += 11_000_000, Owed::Late),
        (|b| b.image.truncate(16), Owed::Memory),
    ];
    for (i, (change, why)) in changes.into_iter().enumerate() {
        let mut b = Bench::new();
        b.receive(3);
        change(&mut b);
        assert_eq!(b.look(), Err(why), "change {i}");
    }
}

#[test]
fn a_queue_that_does_not_run_is_owed_for_if_it_ran() {
    let mut b = Bench::new();
    b.look.rx[0].ring.runs = false;
    assert_eq!(b.look(), Err(Owed::Changed));
    assert_eq!(b.look(), Ok(()));
    b.look.rx[0].head += 1;
    assert_eq!(b.look(), Err(Owed::Changed));
    assert_eq!(b.look(), Ok(()));
    // No queue runs, and something was received.
    b.look.after.frames += 1;
    assert_eq!(b.look(), Err(Owed::Lapped));
}

#[test]
fn header_split_and_queues_without_buffers_are_not_followed() {
    for srrctl in [
        2 | regs::SRRCTL_DESCTYPE_HDR_SPLIT,
        regs::SRRCTL_DESCTYPE_ADV_ONEBUF,
        2 | 0x0A00_0000,
    ] {
        let mut b = Bench::new();
        b.look.rx[0].ring.srrctl = srrctl;
        for _ in 0..4 {
            assert!(b.look().is_err());
            assert_eq!(b.follower.room(), 0);
        }
    }
}

#[test]
fn a_ring_that_is_larger_than_any_driver_makes_it_is_not_followed() {
    for entries in [MAX_ENTRIES, MAX_ENTRIES + 8] {
        let mut b = Bench::new();
        b.look.rx[0].ring.length = entries * 16;
        b.image = vec![0; (entries * 16) as usize];
        b.table = vec![0; entries as usize];
        assert_eq!(b.look(), Err(Owed::Changed));
        b.look().unwrap_err();
        assert_eq!(b.follower.room() > 0, entries == MAX_ENTRIES);
    }
}

#[test]
fn an_octet_counter_that_wraps_in_one_interval_hides_no_turn() {
    // The fewest frames that wrap it, and all rings as large as can be: the frames alone are more than the rings hold.
    let fewest = (1u64 << 32) / 15872;
    assert!(fewest > (MAX_QUEUES as u64 + 1) * u64::from(MAX_ENTRIES));
}

#[test]
fn a_posted_descriptor_that_changed_is_owed_for() {
    let mut b = Bench::new();
    b.receive(3);
    b.image[40 * 16] ^= 0x10;
    assert_eq!(b.look(), Err(Owed::Rewritten));
}

#[test]
fn the_last_look_reports_what_a_stop_cut_off() {
    let mut b = Bench::new();
    b.receive(20);
    b.post(N - 1, N + 18);
    b.look.stopped = true;
    assert_eq!(b.look(), Ok(()));
    let begun = 20 + IN_PROGRESS;
    assert!((0..begun).all(|s| b.reported(s)));
    assert!(!b.reported(begun));
    // As far as the last that was posted while nobody looked, too.
    let mut b = Bench::new();
    b.receive(60);
    b.post(N - 1, N + 30);
    b.look.stopped = true;
    assert_eq!(b.look(), Ok(()));
    assert!((0..60 + IN_PROGRESS).all(|s| b.reported(s)));
}
