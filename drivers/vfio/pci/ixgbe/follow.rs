// SPDX-License-Identifier: GPL-2.0
//! Follows the Rx rings of a guest that does not mark what it receives, while DMA logging is on.
//!
//! What a look is and why it is right is in `libixgbe::migration::follow`. Here are the two halves of its register reads,
//! which the PF driver does, the ring that is read from guest memory in between, and what was found so far: a bit for each
//! logged page.
//!
//! All of this runs under the state lock of the device: looks from a kernel thread, reads of the log and the stop exclude
//! each other.

use ixgbe_migration::client::Vf;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};
use libixgbe::migration::{
    follow::{
        self,
        Count,
        Follower,
        Limits,
        Load,
        Look,
        Owed,
        Pace,
        Ring,
        Seen, //
    },
    PageSpan,
    DESCRIPTOR_BYTES, //
};
use vfio::{
    log::Bitmap,
    memory::Memory, //
};

/// Most words of the sets of pages: 2 TiB of logged memory.
const MAX_WORDS: usize = 8 << 20;
/// Most descriptors of a ring that is followed, `IXGBE_MAX_RXD` of the C driver.
const MAX_ENTRIES: usize = 4096;
/// Looks at the begin, until one shows that the VF is followed.
const FIRST_LOOKS: u32 = 12;
/// Looks in a row that were not owed, until what is owed is reported while the VF runs.
const SOUND: u32 = 8;

/// Figures of all sessions of a VF.
pub(crate) struct Stats {
    pub(crate) looks: Atomic<u64>,
    pub(crate) owed: Atomic<u64>,
    pub(crate) pages: Atomic<u64>,
    pub(crate) ns: Atomic<u64>,
    /// By [`Owed`], in the order of [`REASONS`].
    pub(crate) reasons: [Atomic<u64>; REASONS.len()],
}

/// Why intervals were owed.
pub(crate) const REASONS: [Owed; 11] = [
    Owed::First,
    Owed::Reset,
    Owed::Changed,
    Owed::Unsupported,
    Owed::Late,
    Owed::Lapped,
    Owed::Counters,
    Owed::Outran,
    Owed::Unknown,
    Owed::Rewritten,
    Owed::Memory,
];

impl Stats {
    pub(crate) fn new() -> Self {
        Self {
            looks: Atomic::new(0),
            owed: Atomic::new(0),
            pages: Atomic::new(0),
            ns: Atomic::new(0),
            reasons: [const { Atomic::new(0) }; REASONS.len()],
        }
    }
}

/// A ring as it was read, and the addresses that are known of it.
struct Buffers {
    image: KVVec<u8>,
    table: KVVec<u64>,
}

impl Buffers {
    const fn new() -> Self {
        Self {
            image: KVVec::new(),
            table: KVVec::new(),
        }
    }

    /// Reads the ring. What could not be read is empty, and the look will say so.
    fn read(&mut self, memory: &Memory, ring: &Ring) {
        if !ring.runs || self.try_read(memory, ring).is_err() {
            self.image.clear();
        }
    }

    fn try_read(&mut self, memory: &Memory, ring: &Ring) -> Result {
        let entries = usize::try_from(ring.entries())?;
        if entries > MAX_ENTRIES {
            return Err(E2BIG);
        }
        if self.table.len() != entries {
            self.table = KVVec::from_elem(0u64, entries, GFP_KERNEL)?;
        }
        let bytes = entries.saturating_mul(DESCRIPTOR_BYTES as usize);
        if self.image.len() != bytes {
            self.image = KVVec::from_elem(0u8, bytes, GFP_KERNEL)?;
        }
        memory.read(ring.base, &mut self.image)
    }
}

/// The pages of one logged range that were written and not reported yet.
struct Pages {
    first: u64,
    words: KVVec<u64>,
}

/// What is known of one VF in one session of logging.
pub(crate) struct Follow {
    follower: Follower,
    buffers: KVec<Buffers>,
    pages: KVec<Pages>,
    pace: Pace,
    /// Where time begins.
    start: Instant<Monotonic>,
    /// When the last look began, microseconds, and how many frames were counted then.
    last: (u64, u32),
    /// Looks in a row that were not owed.
    sound: u32,
    stats: Arc<Stats>,
    /// Microseconds until the next look.
    next_us: u64,
}

impl Follow {
    /// For these logged ranges, at most `percent` of one CPU.
    pub(crate) fn new(ranges: &[(u64, u64)], percent: u32, stats: Arc<Stats>) -> Result<Self> {
        let (mut pages, mut total) = (KVec::new(), 0usize);
        for (first, last) in ranges.iter().copied() {
            let words = follow::words_for(first, last).ok_or(EINVAL)?;
            total = total.saturating_add(words);
            if total > MAX_WORDS {
                return Err(E2BIG);
            }
            let words = KVVec::from_elem(0u64, words, GFP_KERNEL)?;
            pages.push(Pages { first, words }, GFP_KERNEL)?;
        }
        let mut buffers = KVec::new();
        for _ in 0..ixgbe_migration::MAX_QUEUES {
            buffers.push(Buffers::new(), GFP_KERNEL)?;
        }
        Ok(Self {
            follower: Follower::new(Limits::DEFAULT),
            buffers,
            pages,
            pace: Pace::new(percent.saturating_mul(10)),
            start: Instant::now(),
            last: (0, 0),
            sound: 0,
            stats,
            next_us: 0,
        })
    }

    /// Looks until the VF is followed, some milliseconds. False if it is not yet.
    ///
    /// # Errors
    /// If it cannot be: its guest may mark, or it is gone.
    pub(crate) fn begin(&mut self, vf: &Vf, memory: &Memory) -> Result<bool> {
        for _ in 0..FIRST_LOOKS {
            if self.look(vf, memory)?.is_ok() {
                return Ok(true);
            }
            // A VF at rest is known after this time.
            let settled = Limits::DEFAULT.settle_us.saturating_add(100);
            fsleep(Delta::from_micros(settled as i64));
        }
        Ok(false)
    }

    /// Whether enough looks in a row were not owed.
    pub(crate) fn sound(&self) -> bool {
        self.sound >= SOUND
    }

    /// Microseconds until the next look.
    pub(crate) fn next_us(&self) -> u64 {
        self.next_us
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(0) / 1000
    }

    /// Takes one look. `Ok(Err)`: what happened since the last one is owed.
    ///
    /// # Errors
    /// It could not be taken, and nothing is known.
    pub(crate) fn look(&mut self, vf: &Vf, memory: &Memory) -> Result<Result<(), Owed>> {
        let start = Instant::<Monotonic>::now();
        let begun = self.now_us();
        let result = self.take_look(vf, memory, begun);
        let cost_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(0);
        let mut load = Load {
            cost_ns,
            passed_us: begun.saturating_sub(self.last.0),
            frames: 0,
            room: self.follower.room(),
        };
        if let Ok((_, frames)) = result {
            load.frames = frames.wrapping_sub(self.last.1).into();
            self.last = (begun, frames);
        } else {
            self.follower.forget();
        }
        self.next_us = self.pace.next(&load);
        let verdict = result.map(|(verdict, _)| verdict);
        self.count(&verdict, cost_ns);
        verdict
    }

    fn count(&mut self, verdict: &Result<Result<(), Owed>>, cost_ns: u64) {
        self.stats.looks.fetch_add(1, Relaxed);
        self.stats.ns.fetch_add(cost_ns, Relaxed);
        if let Ok(Ok(())) = verdict {
            self.sound = self.sound.saturating_add(1);
            return;
        }
        self.sound = 0;
        self.stats.owed.fetch_add(1, Relaxed);
        if let Ok(Err(why)) = verdict {
            let mut reasons = REASONS.iter().zip(&self.stats.reasons);
            if let Some((_, n)) = reasons.find(|(reason, _)| *reason == why) {
                n.fetch_add(1, Relaxed);
            }
        }
    }

    /// The parts of a look in their order, and what it says.
    fn take_look(
        &mut self,
        vf: &Vf,
        memory: &Memory,
        begun: u64,
    ) -> Result<(Result<(), Owed>, u32)> {
        let tails = vf.tails()?;
        let queues = (tails.queues as usize).min(self.buffers.len());
        let mut look = Look {
            time_us: (begun, begun),
            epoch: tails.epoch,
            queues,
            before: Count {
                frames: tails.frames,
                octets: tails.octets,
            },
            after: Count::default(),
            stopped: tails.stopped != 0,
            rx: Default::default(),
        };
        let each = look.rx.iter_mut().zip(&tails.rx).take(queues);
        for ((seen, rx), buffers) in each.zip(&mut self.buffers) {
            *seen = Seen {
                ring: Ring {
                    base: rx.base,
                    length: rx.length,
                    srrctl: rx.srrctl,
                    runs: rx.runs != 0,
                    tx: rx.tx,
                },
                tail: rx.tail,
                head: 0,
            };
            buffers.read(memory, &seen.ring);
        }
        let heads = vf.heads()?;
        if heads.epoch != tails.epoch {
            return Err(EAGAIN);
        }
        for (seen, head) in look.rx.iter_mut().zip(heads.head) {
            seen.head = head;
        }
        look.after = Count {
            frames: heads.frames,
            octets: heads.octets,
        };
        look.time_us.1 = self.now_us();

        let mut step = self.follower.begin(&look);
        let mut new = 0u64;
        for (i, Buffers { image, table }) in self.buffers.iter_mut().enumerate().take(queues) {
            self.follower
                .queue(i, &look, &mut step, image, table, |span| {
                    for pages in self.pages.iter_mut() {
                        let n = follow::set_pages(&mut pages.words, pages.first, span);
                        new = new.saturating_add(n);
                    }
                });
        }
        self.stats.pages.fetch_add(new, Relaxed);
        Ok((self.follower.end(step), look.after.frames))
    }

    /// Reports what was found in `first..=last`, once.
    pub(crate) fn report(&mut self, first: u64, last: u64, dirty: &mut Bitmap<'_>) {
        for pages in self.pages.iter_mut() {
            let set = |span: PageSpan| dirty.set(span.first, span.last);
            follow::take_pages(&mut pages.words, pages.first, first, last, set);
        }
    }
}
