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
        Heads,
        Limits,
        Load,
        Look,
        Owed,
        Pace,
        Reader,
        Ring,
        Seen,
        Tails, //
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
/// Looks at the begin, until one shows that the VF is followed: five suffice unless frames come too fast. No more, since the VM
/// may have to wait meanwhile.
const FIRST_LOOKS: u32 = 12;

/// Figures of all sessions of a VF.
pub(crate) struct Stats {
    pub(crate) looks: Atomic<u64>,
    pub(crate) owed: Atomic<u64>,
    pub(crate) pages: Atomic<u64>,
    pub(crate) ns: Atomic<u64>,
    /// Who said what was written, at the last stop while DMA was logged; see [`Who`].
    pub(crate) dirty: Atomic<u32>,
    /// By [`Owed`], in the order of [`REASONS`].
    pub(crate) reasons: [Atomic<u64>; REASONS.len()],
}

/// Who said what a VF had written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Its guest.
    Marked = 1,
    /// This host, which followed its rings.
    Followed = 2,
    /// Nobody: everything was reported.
    Everything = 3,
}

impl Who {
    /// Name in figures of what [`Stats::dirty`] holds.
    pub(crate) const fn name(dirty: u32) -> &'static str {
        match dirty {
            1 => "marked",
            2 => "followed",
            3 => "everything",
            _ => "none",
        }
    }
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
            dirty: Atomic::new(0),
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
        if ring.entries() > follow::MAX_ENTRIES {
            return Err(E2BIG);
        }
        let entries = usize::try_from(ring.entries())?;
        if self.table.len() != entries {
            self.table = KVVec::from_elem(0u64, entries, GFP_KERNEL_ACCOUNT)?;
        }
        let bytes = entries.saturating_mul(DESCRIPTOR_BYTES as usize);
        if self.image.len() != bytes {
            self.image = KVVec::from_elem(0u8, bytes, GFP_KERNEL_ACCOUNT)?;
        }
        memory.read(ring.base, &mut self.image)
    }
}

fn since_us(start: Instant<Monotonic>) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(0) / 1000
}

/// Reads for a look: registers by the PF driver, rings from guest memory.
struct Eye<'a> {
    vf: &'a Vf,
    memory: &'a Memory,
    buffers: &'a mut [Buffers],
    start: Instant<Monotonic>,
}

impl Reader for Eye<'_> {
    type Error = Error;

    fn now_us(&mut self) -> u64 {
        since_us(self.start)
    }

    fn tails(&mut self) -> Result<Tails> {
        let read = self.vf.tails()?;
        let mut tails = Tails {
            epoch: read.epoch,
            queues: (read.queues as usize).min(self.buffers.len()),
            before: Count {
                frames: read.frames,
                octets: read.octets,
            },
            stopped: read.stopped != 0,
            rx: Default::default(),
        };
        for (seen, rx) in tails.rx.iter_mut().zip(&read.rx) {
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
        }
        Ok(tails)
    }

    fn ring(&mut self, i: usize, ring: &Ring) {
        if let Some(buffers) = self.buffers.get_mut(i) {
            buffers.read(self.memory, ring);
        }
    }

    fn heads(&mut self) -> Result<Heads> {
        let read = self.vf.heads()?;
        let mut heads = Heads {
            epoch: read.epoch,
            heads: Default::default(),
            after: Count {
                frames: read.frames,
                octets: read.octets,
            },
        };
        for (to, head) in heads.heads.iter_mut().zip(read.head) {
            *to = head;
        }
        Ok(heads)
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
            let words = KVVec::from_elem(0u64, words, GFP_KERNEL_ACCOUNT)?;
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
            match self.look(vf, memory)? {
                Ok(()) => return Ok(true),
                // Waiting makes it no better.
                Err(Owed::Memory | Owed::Unsupported) => return Ok(false),
                Err(_) => (),
            }
            // A VF at rest is known after this time.
            let settled = Limits::DEFAULT.settle_us.saturating_add(100);
            fsleep(Delta::from_micros(settled as i64));
        }
        Ok(false)
    }

    /// Microseconds until the next look.
    pub(crate) fn next_us(&self) -> u64 {
        self.next_us
    }

    /// Takes one look. `Ok(Err)`: what happened since the last one is owed.
    ///
    /// # Errors
    /// It could not be taken, and nothing is known.
    pub(crate) fn look(&mut self, vf: &Vf, memory: &Memory) -> Result<Result<(), Owed>> {
        let start = Instant::<Monotonic>::now();
        let begun = since_us(self.start);
        let result = self.take_look(vf, memory);
        let cost_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(0);
        if result.is_err() {
            self.follower.forget();
        }
        self.next_us = self.pace.next(&Load {
            cost_ns,
            at_us: begun,
            frames: result.as_ref().ok().map(|(_, frames)| *frames),
            room: self.follower.room(),
        });
        let verdict = result.map(|(verdict, _)| verdict);
        self.count(&verdict, cost_ns);
        verdict
    }

    fn count(&mut self, verdict: &Result<Result<(), Owed>>, cost_ns: u64) {
        self.stats.looks.fetch_add(1, Relaxed);
        self.stats.ns.fetch_add(cost_ns, Relaxed);
        if let Ok(Ok(())) = verdict {
            return;
        }
        self.stats.owed.fetch_add(1, Relaxed);
        if let Ok(Err(why)) = verdict {
            let mut reasons = REASONS.iter().zip(&self.stats.reasons);
            if let Some((_, n)) = reasons.find(|(reason, _)| *reason == why) {
                n.fetch_add(1, Relaxed);
            }
        }
    }

    /// Takes a look, and says what it means.
    fn take_look(&mut self, vf: &Vf, memory: &Memory) -> Result<(Result<(), Owed>, u32)> {
        let start = self.start;
        let buffers = &mut self.buffers;
        let look = Look::take(&mut Eye {
            vf,
            memory,
            buffers,
            start,
        })?
        .ok_or(EAGAIN)?;
        let mut step = self.follower.begin(&look);
        let mut new = 0u64;
        for (i, Buffers { image, table }) in self.buffers.iter_mut().enumerate().take(look.queues) {
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
