// SPDX-License-Identifier: GPL-2.0
//! Which posted buffers a stopped Rx queue may have filled without the guest knowing it yet.

/// Descriptors from the head that a frame cut off by the stop may have touched without write-back: the largest frame,
/// 15.5 KiB (`MAXFRS`), over the smallest buffer, 1 KiB.
pub(super) const IN_PROGRESS: u32 = 16;

/// The ring positions that may hold data which the guest has not marked: all but those that the device still owned
/// untouched, from `IN_PROGRESS` behind the head up to the tail.
#[derive(Clone, Copy, Debug)]
pub struct Unmarked {
    first_untouched: u32,
    untouched: u32,
    entries: u32,
}

impl Unmarked {
    /// For a ring of `entries` descriptors with a stable `head`, and `tail` as the guest wrote it. Indices outside the
    /// ring, which a guest can write, make every position suspect.
    pub const fn new(head: u32, tail: u32, entries: u32) -> Self {
        if head >= entries || tail >= entries {
            return Self {
                first_untouched: 0,
                untouched: 0,
                entries,
            };
        }
        let owned = if tail >= head {
            tail - head
        } else {
            (entries - head).saturating_add(tail)
        };
        if owned <= IN_PROGRESS {
            return Self {
                first_untouched: 0,
                untouched: 0,
                entries,
            };
        }
        // `owned` is below `entries`, so this wraps around the ring once at most.
        let first = head.saturating_add(IN_PROGRESS);
        let first_untouched = if first >= entries {
            first - entries
        } else {
            first
        };
        Self {
            first_untouched,
            untouched: owned - IN_PROGRESS,
            entries,
        }
    }

    /// Whether the buffer at ring position `i` may have been written and not marked.
    pub const fn contains(&self, i: u32) -> bool {
        if i >= self.entries {
            return false;
        }
        let behind = if i >= self.first_untouched {
            i - self.first_untouched
        } else {
            (self.entries - self.first_untouched).saturating_add(i)
        };
        behind >= self.untouched
    }
}

/// Bytes of guest memory that one posted buffer can take, from an untrusted address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSpan {
    /// First byte.
    pub first: u64,
    /// Last byte.
    pub last: u64,
}

impl PageSpan {
    /// The span of a shadow entry, or `None` for the empty entry and for one that would wrap around.
    pub const fn of(entry: u64, buffer_len: u32) -> Option<Self> {
        if entry == 0 || buffer_len == 0 {
            return None;
        }
        match entry.checked_add(buffer_len as u64 - 1) {
            Some(last) => Some(Self { first: entry, last }),
            None => None,
        }
    }

    /// What of this span lies in `first..=last`.
    pub const fn clip(self, first: u64, last: u64) -> Option<Self> {
        let a = if self.first > first {
            self.first
        } else {
            first
        };
        let b = if self.last < last { self.last } else { last };
        if a <= b {
            Some(Self { first: a, last: b })
        } else {
            None
        }
    }

    /// What of this span lies before `first..=last`, and what behind.
    pub const fn without(self, first: u64, last: u64) -> (Option<Self>, Option<Self>) {
        let before = match first.checked_sub(1) {
            Some(end) => self.clip(0, end),
            None => None,
        };
        let behind = match last.checked_add(1) {
            Some(start) => self.clip(start, u64::MAX),
            None => None,
        };
        (before, behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched_positions_are_exactly_those_far_behind_the_head() {
        for entries in [8, 64, 512] {
            for head in 0..entries {
                for tail in [0, 1, head, (head + 17) % entries, entries - 1] {
                    let u = Unmarked::new(head, tail, entries);
                    let owned = (tail + entries - head) % entries;
                    for d in 0..entries {
                        let touched = d < IN_PROGRESS || d >= owned;
                        let i = (head + d) % entries;
                        assert_eq!(u.contains(i), touched, "{entries} {head} {tail} {i}");
                    }
                }
            }
        }
    }

    #[test]
    fn indices_outside_the_ring_clear_nothing() {
        for (head, tail) in [(512, 0), (0, 512), (u32::MAX, u32::MAX)] {
            let u = Unmarked::new(head, tail, 512);
            assert!((0..512).all(|i| u.contains(i)));
        }
    }

    #[test]
    fn what_is_cut_out_and_what_is_left_is_the_whole() {
        let span = PageSpan { first: 4, last: 9 };
        for first in 0..12 {
            for last in first..12 {
                let (before, behind) = span.without(first, last);
                let parts = [before, span.clip(first, last), behind];
                for n in 0..14 {
                    let holders = parts
                        .iter()
                        .flatten()
                        .filter(|p| (p.first..=p.last).contains(&n));
                    assert_eq!(holders.count(), usize::from((4..=9).contains(&n)));
                }
            }
        }
        let all = PageSpan {
            first: 0,
            last: u64::MAX,
        };
        assert_eq!(all.without(0, u64::MAX), (None, None));
    }

    #[test]
    fn spans_never_wrap() {
        assert_eq!(PageSpan::of(0, 2048), None);
        assert_eq!(PageSpan::of(u64::MAX, 2), None);
        let span = PageSpan::of(0x1000, 2048).unwrap();
        assert_eq!(
            span,
            PageSpan {
                first: 0x1000,
                last: 0x17ff
            }
        );
        assert_eq!(span.clip(0, 0xfff), None);
        assert_eq!(
            span.clip(0x1400, u64::MAX),
            Some(PageSpan {
                first: 0x1400,
                last: 0x17ff
            })
        );
    }
}
