// SPDX-License-Identifier: GPL-2.0
//! Which pages a running VF wrote, found from outside, for a guest that does not mark them.
//!
//! From time to time the host takes a *look* at every Rx queue of the VF. One look reads, in this order:
//!
//! ```text
//!   1  frame and octet counters of the VF   (`Look::before`)
//!   2  set-up and tail of each queue
//!   3  the descriptors of each ring, from guest memory
//!   4  head of each queue
//!   5  the counters again                   (`Look::after`)
//! ```
//! The order carries the proof:
//!
//! - *Counters before and after all else.* What the VF used between two looks is bounded by what it counted from 1 of the
//!   first to 5 of the second, however long the host was kept from running in between.
//! - *Tail before descriptors.* A driver writes a descriptor before the tail that gives it away. So each descriptor up to
//!   the tail that was read is complete in memory.
//! - *Head after descriptors.* The device writes over the address in a descriptor that it has used. A descriptor at or
//!   behind the head that is read last was not used when it was read. And a slot that the device used and the guest
//!   filled again before it was read lies before that head, so its old buffer is reported by this very look, from the
//!   table of the last one. With the head read first it would be reported by none.
//!
//! Positions are sequence numbers: descriptors counted since following began, of which a ring register shows the
//! remainder. With `h` and `p` for head and tail at the last look, `h2` and `p2` now, and `n` the size of the ring:
//!
//! - `h2 - h` is the difference of the registers, as long as the counters exclude a whole turn of the ring.
//! - If `h2 <= p`, all that the device used since lies in what was posted at the last look, and the table has its
//!   addresses. They are reported. Otherwise it may have used descriptors that nobody has seen: the interval is *owed*.
//! - The device may be at work on descriptors behind its head, or count late: [`Limits::ahead`]. And it may write late what
//!   it has used: a slot counts as in use until the guest has posted it again, which a driver does only once it was told
//!   that the buffer is full (`p - n`), or until [`Limits::settle_us`] have passed.
//!
//! An interval that is not certain is owed: all memory is dirty once, at a read of the log that comes after it. Never a
//! guess. `Documentation/driver-api/vfio/ixgbe-vfio-pci-follow.rst` has the argument in full and lists what it rests on;
//! `enumerate.rs` runs every interleaving on small rings.

mod debts;
#[cfg(test)]
mod enumerate;
mod look;
mod pace;
mod pages;
#[cfg(test)]
mod tests;

pub use debts::Debts;
pub use look::{
    Count,
    Heads,
    Look,
    Reader,
    Ring,
    Seen,
    Tails,
    MAX_ENTRIES, //
};
pub use pace::{
    Load,
    Pace, //
};
pub use pages::{
    set_pages,
    take_pages,
    words_for, //
};

use super::dirty::IN_PROGRESS;
use super::PageSpan;
use super::DESCRIPTOR_BYTES;
use crate::mbx_ext::MAX_QUEUES;
#[cfg(test)]
use crate::regs;

/// What the protocol takes for granted of the device's timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Descriptors of one queue by which what the device writes, its head, and its frame counter may be apart.
    pub ahead: u32,
    /// Microseconds after which they agree, and all that was counted is in memory.
    pub settle_us: u64,
    /// Longest time between two looks, microseconds. The frame counter has 32 bits, which last for minutes. The octet counter
    /// is read with 32 bits, too, and may wrap before: what wraps it are 270,000 frames or more, which by themselves are more
    /// than all rings hold (`MAX_ENTRIES`).
    pub longest_us: u64,
}

impl Limits {
    /// For the 82599. INF: no public source gives numbers. As the stop of a VF, see `quiesce`: the largest frame over the
    /// smallest buffer, and the time in which what is on its way reaches its ring, doubled.
    pub const DEFAULT: Self = Self {
        ahead: IN_PROGRESS,
        settle_us: 2000,
        longest_us: 10_000_000,
    };
}

/// Why an interval is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owed {
    /// There was no look before, or none that counts.
    First,
    /// The VF or the device was reset, or a stop was taken back.
    Reset,
    /// The set-up of a queue changed, or a ring register points out of the ring.
    Changed,
    /// A queue is set up in a way that is not followed.
    Unsupported,
    /// The last look was too long ago.
    Late,
    /// By the counters a queue may have gone round its ring once more than its registers show.
    Lapped,
    /// More descriptors were used than counted: the counters cannot be believed, in this session.
    Counters,
    /// Descriptors were used that were not posted at the last look.
    Outran,
    /// A buffer may have been written whose address was not seen.
    Unknown,
    /// A posted descriptor is not what it was.
    Rewritten,
    /// Guest memory could not be read.
    Memory,
}

impl Owed {
    /// Name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Reset => "reset",
            Self::Changed => "changed",
            Self::Unsupported => "unsupported",
            Self::Late => "late",
            Self::Lapped => "lapped",
            Self::Counters => "counters",
            Self::Outran => "outran",
            Self::Unknown => "unknown",
            Self::Rewritten => "rewritten",
            Self::Memory => "memory",
        }
    }
}

/// What is known of one queue. Sequence numbers begin above the size of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Queue {
    ring: Ring,
    /// Head register at the last look.
    register: u32,
    /// Tail register of a queue that does not run.
    tail: u32,
    /// Next descriptor that the device would use.
    head: u64,
    /// First descriptor that was not posted; `None`: cannot be told.
    posted: Option<u64>,
    /// The addresses from here up to `posted` are in the table.
    known: u64,
    /// So are those from here on, as far as the device had not written over them when the ring was read, and when that was
    /// over: what lies behind the head once the device has settled was intact then.
    read: (u64, u64),
    /// Nothing before this is written any more.
    floor: u64,
    /// The head at some look and when that was over: once the device has settled since, this is the floor.
    mark: (u64, u64),
}

impl Queue {
    const NONE: Self = Self {
        ring: Ring {
            base: 0,
            length: 0,
            srrctl: 0,
            runs: false,
            tx: [0; 3],
        },
        register: 0,
        tail: 0,
        head: 0,
        posted: None,
        known: u64::MAX,
        read: (u64::MAX, 0),
        floor: 0,
        mark: (0, 0),
    };

    fn first(seen: &Seen, end: u64) -> Self {
        let head = u64::from(seen.ring.entries()).saturating_add(seen.head.into());
        Self {
            ring: seen.ring,
            register: seen.head,
            tail: seen.tail,
            head,
            mark: (head, end),
            ..Self::NONE
        }
    }

    /// Which descriptor the tail register stands for, if that is certain. It was read before a head that is `advance`
    /// descriptors behind the last one.
    fn tail(&self, register: u32, advance: u64) -> Option<u64> {
        let n = u64::from(self.ring.entries());
        // Nobody posts more than the ring holds, so the tail lies in the `n` descriptors from the head at that time on.
        // That head lies between the last and this one.
        let ahead = u64::from(register)
            .saturating_add(n)
            .saturating_sub(self.register.into())
            .checked_rem(n)?;
        let near = self.head.saturating_add(ahead);
        let far = near.saturating_add(n);
        let far_fits = ahead < advance;
        match self.posted {
            // What was posted cannot be taken back.
            Some(p) if near < p => far_fits.then_some(far),
            _ => (!far_fits).then_some(near),
        }
    }
}

/// A look that is being judged.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    why: Option<Owed>,
    /// No queue is known any more.
    restart: bool,
    /// The device has settled, and counted no frame since.
    quiet: bool,
    /// It was quiet at the last look, too: nothing was written in between.
    still: bool,
    advance: [u32; MAX_QUEUES],
}

impl Step {
    fn owe(&mut self, why: Owed) {
        self.why.get_or_insert(why);
    }
}

/// What the host knows of a VF's Rx queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Follower {
    limits: Limits,
    last: Option<Last>,
    queues: [Queue; MAX_QUEUES],
    /// The counters were caught once.
    lied: bool,
    /// Makes the bound too small, to see that it matters.
    #[cfg(test)]
    short: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Last {
    time_us: (u64, u64),
    epoch: u32,
    queues: usize,
    before: Count,
    quiet: bool,
}

impl Follower {
    /// Knows nothing yet.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            last: None,
            queues: [Queue::NONE; MAX_QUEUES],
            lied: false,
            #[cfg(test)]
            short: 0,
        }
    }

    /// What was seen so far says nothing of what comes.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// Descriptors that every running queue can use before the device runs past what is known, at the least; 0: the VF is
    /// not being followed at the moment.
    pub fn room(&self) -> u64 {
        let running = self.queues.iter().filter(|q| q.ring.runs);
        let room = running.map(|q| {
            let used = q.head.saturating_add(self.limits.ahead.into());
            q.posted.map_or(0, |p| p.saturating_sub(used))
        });
        match self.last {
            Some(_) => room.min().unwrap_or(u64::MAX),
            None => 0,
        }
    }

    /// Begins to judge a look. The queues come next, with [`Self::queue`].
    pub fn begin(&mut self, look: &Look) -> Step {
        let mut step = Step {
            why: None,
            restart: false,
            quiet: false,
            still: false,
            advance: [0; MAX_QUEUES],
        };
        if let Err(why) = self.compare(look, &mut step) {
            step.owe(why);
            step.restart = true;
            let seen = look.rx.iter().take(look.queues);
            for (queue, seen) in self.queues.iter_mut().zip(seen) {
                *queue = Queue::first(seen, look.time_us.1);
            }
        }
        let usable = |s: &Seen| {
            let n = s.ring.entries();
            !s.ring.runs || s.head < n && s.tail < n && s.ring.followable()
        };
        if !look.rx.iter().take(look.queues).all(usable) {
            step.owe(Owed::Unsupported);
            step.restart = true;
            self.last = None;
        } else {
            self.last = Some(Last {
                time_us: look.time_us,
                epoch: look.epoch,
                queues: look.queues,
                before: look.before,
                quiet: step.quiet,
            });
        }
        step
    }

    /// Finds out by how much each head went on.
    fn compare(&mut self, look: &Look, step: &mut Step) -> Result<(), Owed> {
        let last = self.last.ok_or(Owed::First)?;
        if look.epoch != last.epoch || look.queues != last.queues {
            return Err(Owed::Reset);
        }
        let longest = look.time_us.1.saturating_sub(last.time_us.0);
        if longest > self.limits.longest_us {
            return Err(Owed::Late);
        }
        let (mut used, mut running) = (0u64, 0u64);
        let (mut smallest_ring, mut smallest_buffer) = (u64::MAX, u64::MAX);
        let queues = self.queues.iter().zip(&look.rx).zip(&mut step.advance);
        for ((queue, seen), advance) in queues.take(look.queues) {
            let (ring, n) = (&queue.ring, queue.ring.entries());
            if seen.ring != *ring {
                return Err(Owed::Changed);
            }
            if !ring.runs {
                // It may have run in between. Then it did nothing.
                if (seen.head, seen.tail) != (queue.register, queue.tail) {
                    return Err(Owed::Changed);
                }
                continue;
            }
            if seen.head >= n || seen.tail >= n || queue.register >= n {
                return Err(Owed::Changed);
            }
            *advance = if seen.head >= queue.register {
                seen.head.saturating_sub(queue.register)
            } else {
                n.saturating_sub(queue.register).saturating_add(seen.head)
            };
            used = used.saturating_add((*advance).into());
            running = running.saturating_add(1);
            smallest_ring = smallest_ring.min(n.into());
            smallest_buffer = smallest_buffer.min(ring.buffer().into());
        }
        let (frames, octets) = look.after.since(last.before);
        // A frame of `o` octets takes one descriptor, and one more for each whole buffer that its other octets fill. The
        // octets are counted with FCS and tag, so they are no fewer than what is stored.
        let further = octets.saturating_sub(frames).checked_div(smallest_buffer);
        let bound = frames.saturating_add(further.unwrap_or(u64::MAX));
        #[cfg(test)]
        let bound = bound.saturating_sub(self.short);
        let apart = running.saturating_mul(self.limits.ahead.into());
        let bound = bound.saturating_add(apart);
        if used > bound {
            self.lied = true;
        }
        if self.lied || (frames == 0 && used > 0) {
            return Err(Owed::Counters);
        }
        // One turn more of the smallest ring would make the true number this.
        if running > 0 && bound >= used.saturating_add(smallest_ring) || running == 0 && frames > 0
        {
            return Err(Owed::Lapped);
        }
        let shortest = look.time_us.0.saturating_sub(last.time_us.1);
        step.quiet = frames == 0 && used == 0 && shortest >= self.limits.settle_us;
        step.still = step.quiet && last.quiet;
        Ok(())
    }

    /// Goes on with Rx queue `i` of the VF. `image` is its ring, as it was read between tails and heads; `table` keeps an
    /// address for each of its descriptors, and belongs to the queue until the ring is another one. Calls `report` for all
    /// that may have been written.
    pub fn queue(
        &mut self,
        i: usize,
        look: &Look,
        step: &mut Step,
        image: &[u8],
        table: &mut [u64],
        mut report: impl FnMut(PageSpan),
    ) {
        let (Some(queue), Some(seen), Some(advance)) =
            (self.queues.get_mut(i), look.rx.get(i), step.advance.get(i))
        else {
            return;
        };
        if step.restart || !queue.ring.runs {
            return;
        }
        let ring = queue.ring;
        let n = u64::from(ring.entries());
        let advance = u64::from(*advance);
        // The ring itself: what was used is written back there.
        if let Some(span) = PageSpan::of(ring.base, ring.length).filter(|_| !step.still) {
            report(span);
        }
        let images = image.chunks_exact(DESCRIPTOR_BYTES as usize);
        if images.len() as u64 != n || table.len() as u64 != n {
            step.owe(Owed::Memory);
            *queue = Queue::first(seen, look.time_us.1);
            return;
        }
        let read = |s: u64| address(image, s.checked_rem(n)?);
        let mut span = |address: Option<u64>| {
            if let Some(span) = address.and_then(|a| PageSpan::of(a, ring.buffer())) {
                report(span);
            }
        };

        let head = queue.head.saturating_add(advance);
        let begun = head.saturating_add(self.limits.ahead.into());
        let posted = queue.tail(seen.tail, advance);
        if look.time_us.0.saturating_sub(queue.read.1) >= self.limits.settle_us {
            queue.known = queue.known.min(head.max(queue.read.0));
        }
        // What is not in the table yet begins here. Behind it all is known, unless the table is to be begun again.
        let (mut fresh, mut again) = (begun, true);
        match (queue.posted, posted) {
            (Some(before), Some(now)) => {
                // Of a VF that stands the descriptors behind the head are as the guest wrote them.
                let outran = head > before || !look.stopped && begun > before && now != before;
                if outran {
                    step.owe(Owed::Outran);
                }
                let reach = if look.stopped { head } else { begun }.min(before);
                let low = before.saturating_sub(n).max(queue.floor);
                if low < reach && low < queue.known {
                    step.owe(Owed::Unknown);
                }
                let written = if step.still { reach } else { low };
                for s in written.max(queue.known)..reach {
                    span(entry(table, s, n));
                }
                // A ring that was set up once more in between shows other buffers.
                let same = |s: u64| read(s) == entry(table, s, n);
                let rewritten = !(begun.max(queue.known)..before).all(same);
                if rewritten {
                    step.owe(Owed::Rewritten);
                }
                if !outran && !rewritten {
                    (fresh, again) = (before, false);
                }
            }
            _ => step.owe(Owed::Unknown),
        }
        if look.stopped {
            let cut = head.saturating_add(IN_PROGRESS.into());
            for s in head..cut.min(posted.unwrap_or(head)) {
                span(read(s));
            }
        }
        if step.quiet {
            // All that was counted before the last look is in memory, and nothing came since.
            (fresh, again) = (head, true);
            queue.floor = head;
        }
        let from = if again { head } else { fresh };
        for s in from..posted.unwrap_or(from) {
            let slot = s.checked_rem(n).and_then(|slot| usize::try_from(slot).ok());
            if let (Some(to), Some(from)) = (slot.and_then(|i| table.get_mut(i)), read(s)) {
                *to = from;
            }
        }
        if again {
            queue.known = fresh;
            queue.read = (head, look.time_us.1);
        }
        queue.register = seen.head;
        queue.head = head;
        queue.posted = posted;
        if look.time_us.0.saturating_sub(queue.mark.1) >= self.limits.settle_us {
            queue.floor = queue.floor.max(queue.mark.0);
            queue.mark = (head, look.time_us.1);
        }
    }

    /// The judgement of a look: `Ok` if what was reported is all that was written since the last one.
    ///
    /// # Errors
    /// The interval is owed.
    pub fn end(&self, step: Step) -> Result<(), Owed> {
        step.why.map_or(Ok(()), Err)
    }
}

/// Packet buffer address of a descriptor in read format (datasheet 7.1.5, 7.1.6.1).
fn address(image: &[u8], slot: u64) -> Option<u64> {
    let at = usize::try_from(slot).ok()?.checked_mul(16)?;
    let bytes = image.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn entry(table: &[u64], s: u64, n: u64) -> Option<u64> {
    let slot = usize::try_from(s.checked_rem(n)?).ok()?;
    table.get(slot).copied()
}
