// SPDX-License-Identifier: GPL-2.0
//! What a look reads, and in which order.

use super::super::DESCRIPTOR_BYTES;
use crate::mbx_ext::MAX_QUEUES;
use crate::regs;

/// Most descriptors of a ring that is followed, `IXGBE_MAX_RXD` of the C driver.
pub const MAX_ENTRIES: u32 = 4096;

/// VFGPRC and the low half of VFGORC. Both wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Count {
    /// Frames.
    pub frames: u32,
    /// Octets.
    pub octets: u32,
}

impl Count {
    pub(super) const fn since(self, before: Self) -> (u64, u64) {
        (
            self.frames.wrapping_sub(before.frames) as u64,
            self.octets.wrapping_sub(before.octets) as u64,
        )
    }
}

/// How a queue is set up. If anything of it changes, what is known of the queue ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ring {
    /// DMA address of the ring.
    pub base: u64,
    /// Its bytes.
    pub length: u32,
    /// SRRCTL
    pub srrctl: u32,
    /// RXDCTL.ENABLE; of a stopped VF as before the stop.
    pub runs: bool,
    /// TDBAL, TDLEN and TDWBAL of the Tx queue with the same number: where the device writes back is reported once the VF
    /// stands, so it must not have been elsewhere before.
    pub tx: [u32; 3],
}

impl Ring {
    /// Descriptors of the ring.
    pub const fn entries(&self) -> u32 {
        self.length / DESCRIPTOR_BYTES
    }

    /// Bytes of a buffer.
    pub(super) const fn buffer(&self) -> u32 {
        (self.srrctl & regs::SRRCTL_BSIZEPKT_MASK) << 10
    }

    /// Whether a queue like this can be followed: no larger than any driver makes it, see [`super::Limits::longest_us`]. With header split a descriptor names two buffers, of which a frame fills
    /// one or both; no driver uses it on a VF, so it is not followed.
    pub(super) const fn followable(&self) -> bool {
        let kind = self.srrctl & regs::SRRCTL_DESCTYPE_MASK;
        self.buffer() != 0
            && self.entries() > 1
            && self.entries() <= MAX_ENTRIES
            && (kind == regs::SRRCTL_DESCTYPE_LEGACY || kind == regs::SRRCTL_DESCTYPE_ADV_ONEBUF)
    }
}

/// One queue at a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// How it is set up.
    pub ring: Ring,
    /// Tail register, read before the descriptors.
    pub tail: u32,
    /// Head register, read after them.
    pub head: u32,
}

/// What one look read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    /// When it began, and when it was done, microseconds of any clock that does not go back.
    pub time_us: (u64, u64),
    /// Changes with each reset of the VF or of the device, with each stop that was taken back, and whenever else what was
    /// seen before says nothing of now.
    pub epoch: u32,
    /// Queues that are valid in `rx`.
    pub queues: usize,
    /// Counters at the begin.
    pub before: Count,
    /// Counters at the end.
    pub after: Count,
    /// The VF stands: what it was to write is written, but for a frame that was cut off.
    pub stopped: bool,
    /// By Rx queue of the VF.
    pub rx: [Seen; MAX_QUEUES],
}

/// The registers that a look reads first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tails {
    /// See [`Look::epoch`].
    pub epoch: u32,
    /// Queues of the VF's pool.
    pub queues: usize,
    /// The VF stands.
    pub stopped: bool,
    /// Counters, read before all else.
    pub before: Count,
    /// How each queue is set up, and its tail. The heads are not read yet.
    pub rx: [Seen; MAX_QUEUES],
}

/// The registers that it reads once it has read the descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// As in [`Tails`]; another one than there: the look is void.
    pub epoch: u32,
    /// Head of each queue.
    pub heads: [u32; MAX_QUEUES],
    /// Counters, read after all else.
    pub after: Count,
}

/// What a look reads by.
pub trait Reader {
    /// Why registers could not be read.
    type Error;

    /// The time, in microseconds of a clock that does not go back.
    fn now_us(&mut self) -> u64;

    /// Reads the first registers.
    ///
    /// # Errors
    /// The VF cannot be seen.
    fn tails(&mut self) -> Result<Tails, Self::Error>;

    /// Reads the ring of Rx queue `i` from guest memory, for [`Follower::queue`](super::Follower::queue). A ring that cannot
    /// be read is given there as an empty one.
    fn ring(&mut self, i: usize, ring: &Ring);

    /// Reads the other registers.
    ///
    /// # Errors
    /// The VF cannot be seen.
    fn heads(&mut self) -> Result<Heads, Self::Error>;
}

impl Look {
    /// Takes a look. `None`: it is void, since the VF was reset meanwhile.
    ///
    /// Here, and only here, is the order that the proof in [`super`] needs.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn take<R: Reader>(reader: &mut R) -> Result<Option<Self>, R::Error> {
        let begun = reader.now_us();
        let tails = reader.tails()?;
        for (i, seen) in tails.rx.iter().enumerate().take(tails.queues) {
            reader.ring(i, &seen.ring);
        }
        let heads = reader.heads()?;
        if heads.epoch != tails.epoch {
            return Ok(None);
        }
        let mut rx = tails.rx;
        for (seen, head) in rx.iter_mut().zip(heads.heads) {
            seen.head = head;
        }
        Ok(Some(Self {
            time_us: (begun, reader.now_us()),
            epoch: tails.epoch,
            queues: tails.queues,
            before: tails.before,
            after: heads.after,
            stopped: tails.stopped,
            rx,
        }))
    }
}
