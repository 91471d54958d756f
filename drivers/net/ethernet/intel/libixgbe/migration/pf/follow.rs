// SPDX-License-Identifier: GPL-2.0
//! What a look at a VF's Rx queues reads of its registers, see [`crate::migration::follow`].

use super::Error;
use super::Mover;
use super::Pf;
use super::Phase;
use super::Rars;
use crate::mbx_ext::MAX_QUEUES;
use crate::migration::follow::Count;
use crate::migration::follow::Heads;
use crate::migration::follow::Ring;
use crate::migration::follow::Tails;
use crate::migration::Marking;
use crate::regs;
use crate::Regs;

fn count(io: &impl Regs, vf: u32) -> Count {
    Count {
        frames: io.read32(regs::pvfgprc(vf)),
        octets: io.read32(regs::pvfgorc_lsb(vf)),
    }
}

impl Mover {
    /// RXDCTL of the VF's queues as before its stop, if it stands by itself: nobody has written its registers since it ran.
    fn stood(&self) -> Result<Option<[u32; MAX_QUEUES]>, Error> {
        // Who marks, or may still answer, is not followed.
        if !matches!(self.coop.marking(), Marking::Off | Marking::Lost) {
            return Err(Error::NotSuspended);
        }
        match self.phase {
            Phase::Running if self.hold.is_none() => Ok(None),
            Phase::Suspended(was) if self.hold.is_none() => Ok(Some(was.rxdctl)),
            _ => Err(Error::NotSuspended),
        }
    }

    /// The first half of a look: 2 register reads, and 9 for each queue.
    ///
    /// # Errors
    /// [`Error::NotSuspended`]: the VF neither runs nor stands where it ran, or its guest marks
    /// or has rings to re-arm; nothing can be seen.
    pub fn tails(&self, io: &impl Regs, pf: &Pf<'_>) -> Result<Tails, Error> {
        let stood = self.stood()?;
        let none = Rars::new(0);
        let place = pf.place(&none);
        let mut tails = Tails {
            epoch: self.epoch,
            queues: MAX_QUEUES.min(place.queues_per_pool as usize),
            stopped: stood.is_some(),
            before: count(io, pf.vf),
            rx: Default::default(),
        };
        for (i, seen) in (0..place.queues_per_pool).zip(&mut tails.rx) {
            let q = place.queue(i);
            let control = match &stood {
                Some(was) => was.get(i as usize).copied().unwrap_or(0),
                None => io.read32(regs::rxdctl(q)),
            };
            let base = u64::from(io.read32(regs::rdbah(q))) << 32;
            seen.ring = Ring {
                base: base | u64::from(io.read32(regs::rdbal(q))),
                length: io.read32(regs::rdlen(q)),
                srrctl: io.read32(regs::srrctl(q)),
                runs: control & regs::RXDCTL_ENABLE != 0,
                tx: [regs::tdbal(q), regs::tdlen(q), regs::tdwbal(q)].map(|r| io.read32(r)),
            };
            seen.tail = io.read32(regs::rdt(q));
        }
        Ok(tails)
    }

    /// The second half.
    ///
    /// # Errors
    /// As [`Self::tails`].
    pub fn heads(&self, io: &impl Regs, pf: &Pf<'_>) -> Result<Heads, Error> {
        self.stood()?;
        let none = Rars::new(0);
        let place = pf.place(&none);
        let mut heads = [0; MAX_QUEUES];
        for (i, head) in (0..place.queues_per_pool).zip(&mut heads) {
            *head = io.read32(regs::rdh(place.queue(i)));
        }
        Ok(Heads {
            epoch: self.epoch,
            heads,
            after: count(io, pf.vf),
        })
    }
}
