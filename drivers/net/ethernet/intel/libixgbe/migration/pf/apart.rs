// SPDX-License-Identifier: GPL-2.0
//! The parts of a move that need no lock over the VFs: they touch registers of one VF alone, which stands, and whose calls its
//! holder makes one after the other.
//!
//! Each is a token that [`Mover`] gives away under the lock. It has a copy of all that it needs, and what it gives back is taken
//! under the lock again. A reset of the device or of the VF in between shows in the number of the time from which it is.
//!
//! ```text
//!   under the lock            without              under the lock
//!   Mover::look               Look::read           Mover::save_seen, rings_seen
//!   Mover::load_begin         Program::run
//!   Mover::resume_begin       Going::start         Mover::resume_end
//! ```
//! Whoever moves many VFs together so reads and writes the registers of all of them at the same time, and those that stay are
//! answered meanwhile.

use super::Error;
use super::Mover;
use super::Pf;
use crate::migration::Own;
use crate::migration::Place;
use crate::migration::Quiesced;
use crate::migration::Seen;
use crate::migration::Start;
use crate::migration::Started;
use crate::sriov::vf::VfStats;
use crate::Delay;
use crate::Regs;

/// Where a VF's own registers are, and from when that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    vf: u32,
    queues_per_pool: u32,
    own_rss: bool,
    epoch: u32,
}

impl At {
    fn new(mover: &Mover, pf: &Pf<'_>) -> Self {
        Self {
            vf: pf.vf,
            queues_per_pool: pf.queues_per_pool(),
            own_rss: pf.switch.chip.has_rss_of_pools(),
            epoch: mover.epoch,
        }
    }

    /// Without receive addresses, which belong to all.
    const fn place(&self) -> Place<'static> {
        Place {
            vf: self.vf,
            queues_per_pool: self.queues_per_pool,
            own_rss: self.own_rss,
            rars: &[],
        }
    }
}

/// A suspended VF whose registers are to be read.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Look {
    at: At,
    was: Quiesced,
}

impl Look {
    pub(super) fn new(mover: &Mover, pf: &Pf<'_>, was: Quiesced) -> Self {
        Self {
            at: At::new(mover, pf),
            was,
        }
    }

    /// Reads them.
    pub fn read(self, io: &impl Regs) -> Looked {
        Looked {
            at: self.at,
            seen: Seen::read(io, &self.at.place(), &self.was),
            stats: VfStats::read(io, self.at.vf),
        }
    }
}

/// What was read.
#[derive(Clone, Copy, Debug)]
pub struct Looked {
    at: At,
    pub(super) seen: Seen,
    pub(super) stats: VfStats,
}

impl Looked {
    /// Whether the VF still stands as it was then.
    pub(super) fn is_of(&self, mover: &Mover) -> Result<(), Error> {
        if self.at.epoch == mover.epoch {
            Ok(())
        } else {
            Err(Error::NotSuspended)
        }
    }
}

/// A checked state that is to be written into the registers of its VF, before anything else is done with the VF.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Program {
    at: At,
    own: Own,
}

impl Program {
    pub(super) fn new(mover: &Mover, pf: &Pf<'_>) -> Self {
        Self {
            at: At::new(mover, pf),
            own: Own::of(&mover.state),
        }
    }

    /// Writes it. A reset of the device meanwhile is no matter: the PF writes the same values then.
    pub fn run(self, io: &(impl Regs + Delay)) {
        self.own.program(io, &self.at.place());
    }
}

/// A VF whose queues are to be started.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Going {
    at: At,
    own: Own,
    start: Start,
    pub(super) arrived: bool,
}

impl Going {
    pub(super) fn new(mover: &Mover, pf: &Pf<'_>, start: Start, arrived: bool) -> Self {
        Self {
            at: At::new(mover, pf),
            own: Own::of(&mover.state),
            start,
            arrived,
        }
    }

    /// Starts them.
    pub fn start(self, io: &(impl Regs + Delay)) -> Begun {
        Begun {
            started: self.own.start(io, &self.at.place(), &self.start),
            going: self,
        }
    }
}

/// A VF whose queues are started.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    pub(super) going: Going,
    pub(super) started: Started,
}

impl Begun {
    /// Whether nobody has reset the VF meanwhile.
    pub(super) fn is_of(&self, mover: &Mover) -> bool {
        self.going.at.epoch == mover.epoch
    }
}
