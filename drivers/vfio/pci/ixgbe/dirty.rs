// SPDX-License-Identifier: GPL-2.0
//! The dirty log: which memory the VF may have written, said once the VF stands.
//!
//! While the VF runs, a cooperating guest marks every page that it takes a received frame from, so that the hypervisor
//! sees it as written by a CPU; nothing is reported here, and nothing needs to be, since no report is final while the
//! device runs. Once it stands, what is left is reported: the rings themselves, and the posted buffers that may have been
//! filled and not taken. If anything about this is not known for certain, every logged page is reported. Each page once,
//! as the uAPI has it: whoever moves a VM that stands reads again and again until little is left.
//!
//! A guest may begin to mark only after logging has begun. What it took before that, nobody marked: all memory is owed,
//! and reported once it marks, while the VF runs, so that it need not be sent while the VM stands. The same if it had to begin
//! anew, because it had to take up its rings again.
//!
//! If the guest does not mark, the host follows its rings while the VF runs, see [`crate::follow`], and what it finds is
//! reported as it is found. An interval in which it could not be sure is owed in the same way, all memory once. If that
//! happens again and again, it is left to the end: a VM of which all memory is dirty at each read would never be moved
//! (`libixgbe::migration::follow::Debts`).

use crate::{
    follow::{
        Follow,
        Who, //
    },
    IxgbeVf, //
};
use ixgbe_migration::{
    client::Vf,
    Rings, //
};
use kernel::prelude::*;
use libixgbe::migration::{
    follow::Debts,
    PageSpan,
    Unmarked, //
};
use vfio::{
    log::{
        Bitmap,
        Ranges, //
    },
    memory::Memory,
    Device, //
};

/// What a stopped VF may have written.
enum Written {
    /// Anything.
    All,
    /// These.
    Spans(KVVec<PageSpan>),
}

/// A VF that stands.
struct Stand {
    /// What was found when it stood still.
    written: Written,
    /// Logged memory that was not read since.
    unread: KVec<PageSpan>,
    /// Who knew it.
    who: Who,
}

/// The log of one device.
pub(crate) struct Dirty {
    /// Logged ranges, first and last address; `None`: logging is off.
    ranges: Option<KVec<(u64, u64)>>,
    /// What is known since the VF stood still, until it runs again.
    stand: Option<Stand>,
    /// Logged memory that may have been written before the guest marked, and was not reported since.
    owed: KVec<PageSpan>,
    /// By which request the guest marked at the last look, 0 if it did not.
    marks: u32,
    /// The guest does not mark, and its rings are followed.
    follow: Option<KBox<Follow>>,
    /// How often a followed VF came to owe anything of what it did not owe before.
    debts: Debts,
}

/// Microseconds until it is seen whether a VF runs again that was stopped.
const STOPPED_US: u64 = 20_000;

/// Pieces of what is owed or unread at most: reads in any order must not make it long. Whoever
/// syncs reads range by range.
const PIECES: usize = 1024;

/// Entries of a shadow array that are read at a time.
const CHUNK: usize = 512;

impl Dirty {
    pub(crate) const fn new() -> Self {
        Self {
            ranges: None,
            stand: None,
            owed: KVec::new(),
            marks: 0,
            follow: None,
            debts: Debts::new(),
        }
    }

    /// The VF runs, or was reset: what was found no longer holds.
    pub(crate) fn moved_on(&mut self) {
        self.stand = None;
    }

    pub(crate) fn start(
        &mut self,
        device: &Device<IxgbeVf>,
        stopped: bool,
        ranges: Ranges<'_>,
        page_size: u64,
    ) -> Result<u64> {
        if self.ranges.is_some() || !page_size.is_power_of_two() {
            return Err(EINVAL);
        }
        let vf = device.driver().vf()?;
        let ranges = ranges.to_vec()?;
        let all = all_of(&ranges)?;
        // One that stands already writes nothing before it runs.
        self.stand = stopped.then(|| Stand {
            written: Written::Spans(KVVec::new()),
            unread: KVec::new(),
            who: Who::Followed,
        });
        vf.start_marking();
        self.marks = vf.marks();
        self.owed = if self.marks != 0 { KVec::new() } else { all };
        self.debts = Debts::new();
        self.follow = None;
        if self.marks == 0 {
            if let Some(mut follow) = device.driver().follow(&ranges) {
                // One that stands is looked at once it runs.
                let begun = if stopped {
                    Ok(false)
                } else {
                    follow.begin(vf, device.memory())
                };
                if let Ok(sure) = begun {
                    if sure {
                        // What came since logging began will be seen.
                        self.owed.clear();
                    }
                    self.follow = Some(follow);
                }
            }
        }
        self.ranges = Some(ranges);
        // The bitmap has its own granularity; any page size can be served.
        Ok(page_size.max(kernel::page::PAGE_SIZE as u64))
    }

    pub(crate) fn stop(&mut self, vf: &Vf) {
        if self.ranges.take().is_some() {
            vf.stop_marking();
        }
        self.stand = None;
        self.owed = KVec::new();
        self.marks = 0;
        self.follow = None;
    }

    /// All memory is to be reported.
    fn owe(&mut self) -> Result {
        let ranges = self.ranges.as_ref().ok_or(EINVAL)?;
        let whole = |(span, range): (&PageSpan, &(u64, u64))| (span.first, span.last) == *range;
        if self.owed.len() != ranges.len() || !self.owed.iter().zip(ranges).all(whole) {
            self.owed = all_of(ranges)?;
            self.debts.owe();
        }
        Ok(())
    }

    /// Looks at the rings of a guest that does not mark. Returns in how many microseconds to look again, if at all.
    pub(crate) fn work(&mut self, device: &Device<IxgbeVf>, stopped: bool) -> Option<u64> {
        let follow = self.follow.as_mut()?;
        if stopped {
            return Some(STOPPED_US);
        }
        let vf = device.driver().vf().ok()?;
        let sure = matches!(follow.look(vf, device.memory()), Ok(Ok(())));
        let next = follow.next_us();
        self.debts.looked(sure);
        if !sure && self.owe().is_err() {
            // What cannot be noted is left to the stop, which then reports everything.
            self.follow = None;
            return None;
        }
        Some(next)
    }

    /// Looks whether the guest marks. If it has begun anew since the last look, all memory is owed again: what it took in
    /// between, nobody marked.
    fn look(&mut self, vf: &Vf) -> Result<bool> {
        let marks = vf.marks();
        if marks != self.marks {
            // What came since the last look of one that was followed, nobody has marked either.
            if marks != 0 && (self.marks != 0 || self.follow.take().is_some()) {
                self.owed = all_of(self.ranges.as_ref().ok_or(EINVAL)?)?;
            }
            // One that stopped is owed for when it begins again, whenever that is.
            if marks != 0 || self.marks == 0 {
                self.marks = marks;
            }
        }
        Ok(marks != 0)
    }

    /// Reports what was written in `first..=last`.
    pub(crate) fn read(
        &mut self,
        device: &Device<IxgbeVf>,
        stopped: bool,
        first: u64,
        last: u64,
        dirty: &mut Bitmap<'_>,
    ) -> Result {
        let logged = |ranges: &KVec<(u64, u64)>| {
            let mut all = ranges.iter();
            all.any(|(a, b)| *a <= last && first <= *b)
        };
        if !self.ranges.as_ref().is_some_and(logged) {
            return Err(EINVAL);
        }
        // Of a VF that stands it is known after the first read, and each look takes the PF's lock.
        let marks = match (stopped, &self.stand) {
            (true, Some(_)) => true,
            _ => self.look(device.driver().vf()?)?,
        };
        if !stopped {
            let payable = marks || self.follow.is_some() && self.debts.payable();
            if !self.owed.is_empty() && payable {
                set(&self.owed, first, last, dirty);
                // What is not forgotten is reported again, which costs time and no data.
                if let Ok(rest) = all_but(&self.owed, first, last) {
                    self.owed = rest;
                }
            }
            if let Some(follow) = &mut self.follow {
                follow.report(first, last, dirty);
            }
            return Ok(());
        }
        let stand = match &mut self.stand {
            Some(stand) => stand,
            none => {
                let unread = all_of(self.ranges.as_ref().ok_or(EINVAL)?)?;
                let (written, who) = collect(device, self.follow.as_deref_mut())?;
                device.driver().reported(who);
                none.insert(Stand {
                    written,
                    unread,
                    who,
                })
            }
        };
        if let Some(follow) = &mut self.follow {
            follow.report(first, last, dirty);
        }
        for piece in stand.unread.iter().filter_map(|p| p.clip(first, last)) {
            let owed = self
                .owed
                .iter()
                .any(|o| o.clip(piece.first, piece.last).is_some());
            if owed && stand.who != Who::Everything {
                stand.who = Who::Everything;
                device.driver().reported(stand.who);
                dev_info!(
                    device.pdev(),
                    "what the guest received was not known all the time, all its memory is reported dirty\n"
                );
            }
            // It stays owed for when the VF runs again.
            set(&self.owed, piece.first, piece.last, dirty);
            match &stand.written {
                Written::All => dirty.set(piece.first, piece.last),
                Written::Spans(spans) => set(spans, piece.first, piece.last, dirty),
            }
        }
        if let Ok(rest) = all_but(&stand.unread, first, last) {
            stand.unread = rest;
        }
        Ok(())
    }
}

/// Reports what of these lies in `first..=last`.
fn set(spans: &[PageSpan], first: u64, last: u64, dirty: &mut Bitmap<'_>) {
    for span in spans.iter().filter_map(|span| span.clip(first, last)) {
        dirty.set(span.first, span.last);
    }
}

/// What of these lies beside `first..=last`.
fn all_but(spans: &[PageSpan], first: u64, last: u64) -> Result<KVec<PageSpan>> {
    let mut rest = KVec::new();
    for span in spans {
        let (before, behind) = span.without(first, last);
        for part in [before, behind].into_iter().flatten() {
            if rest.len() >= PIECES {
                return Err(E2BIG);
            }
            rest.push(part, GFP_KERNEL)?;
        }
    }
    Ok(rest)
}

/// All of these ranges.
fn all_of(ranges: &KVec<(u64, u64)>) -> Result<KVec<PageSpan>> {
    let mut all = KVec::with_capacity(ranges.len(), GFP_KERNEL)?;
    for (first, last) in ranges.iter().copied() {
        all.push(PageSpan { first, last }, GFP_KERNEL)?;
    }
    Ok(all)
}

/// Finds what the stopped VF may have written, and tells who knew it.
fn collect(device: &Device<IxgbeVf>, follow: Option<&mut Follow>) -> Result<(Written, Who)> {
    let vf = device.driver().vf()?;
    let rings = vf.rings()?;
    if rings.complete == 0 {
        if let Some(follow) = follow {
            match follow.look(vf, device.memory()) {
                Ok(Ok(())) => {
                    let mut spans = KVVec::new();
                    own(&rings, &mut spans)?;
                    return Ok((Written::Spans(spans), Who::Followed));
                }
                Ok(Err(why)) => dev_info!(
                    device.pdev(),
                    "the last look at the guest's rings was not certain [{}]\n",
                    why.name()
                ),
                Err(e) => dev_info!(
                    device.pdev(),
                    "the guest's rings could not be seen ({e:?})\n"
                ),
            }
        }
        dev_info!(
            device.pdev(),
            "guest does not mark what it receives, all its memory is reported dirty\n"
        );
        return Ok((Written::All, Who::Everything));
    }
    match spans(device.memory(), &rings) {
        Ok(spans) => Ok((Written::Spans(spans), Who::Marked)),
        Err(e) => {
            dev_info!(
                device.pdev(),
                "guest memory cannot be read ({e:?}), all of it is reported dirty\n"
            );
            Ok((Written::All, Who::Everything))
        }
    }
}

fn push(spans: &mut KVVec<PageSpan>, address: u64, length: u32) -> Result {
    if let Some(span) = PageSpan::of(address, length) {
        spans.push(span, GFP_KERNEL)?;
    }
    Ok(())
}

/// Adds the rings themselves.
fn own(rings: &Rings, spans: &mut KVVec<PageSpan>) -> Result {
    /// Bytes of a Tx head write-back.
    const WRITEBACK: u32 = 4;
    let count = rings.queues as usize;

    for tx in rings.tx.iter().take(count) {
        push(spans, tx.base, tx.length)?;
        push(spans, tx.writeback, WRITEBACK)?;
    }
    for rx in rings.rx.iter().take(count) {
        push(spans, rx.base, rx.length)?;
    }
    Ok(())
}

fn spans(memory: &Memory, rings: &Rings) -> Result<KVVec<PageSpan>> {
    let count = rings.queues as usize;
    let mut spans = KVVec::new();

    own(rings, &mut spans)?;
    for rx in rings.rx.iter().take(count).filter(|rx| rx.length > 0) {
        posted(memory, rx, &mut spans)?;
    }
    Ok(spans)
}

/// Adds the buffers of one queue's shadow array that may have been written and not marked.
fn posted(memory: &Memory, rx: &ixgbe_migration::Rx, spans: &mut KVVec<PageSpan>) -> Result {
    let entries = rx.length / libixgbe::migration::DESCRIPTOR_BYTES;
    let unmarked = Unmarked::new(rx.head, rx.tail, entries);
    let mut chunk = KVec::from_elem(0u8, CHUNK * size_of::<u64>(), GFP_KERNEL)?;
    let mut index = 0;
    let mut address = rx.shadow;

    while index < entries {
        let n = usize::try_from(entries.saturating_sub(index))?.min(CHUNK);
        let bytes = chunk.get_mut(..n * size_of::<u64>()).ok_or(EINVAL)?;
        memory.read(address, bytes)?;
        for (i, entry) in (index..).zip(bytes.chunks_exact(8)) {
            if unmarked.contains(i) {
                push(
                    spans,
                    u64::from_le_bytes(entry.try_into().map_err(|_| EINVAL)?),
                    rx.buffer_len,
                )?;
            }
        }
        address = address.checked_add(bytes.len() as u64).ok_or(EFAULT)?;
        index = index.saturating_add(n as u32);
    }
    Ok(())
}
