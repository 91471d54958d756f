// SPDX-License-Identifier: GPL-2.0
//! A set of pages: one bit a page, in words that the caller owns.

use crate::migration::PageSpan;

/// Bits of a byte's offset in a page. The log's own pages may be larger; they are made of these.
const PAGE_SHIFT: u32 = 12;
const WORD: u64 = u64::BITS as u64;

/// Words that hold all pages of `first..=last`; `None`: more than an address space has.
pub fn words_for(first: u64, last: u64) -> Option<usize> {
    let pages = (last >> PAGE_SHIFT)
        .checked_sub(first >> PAGE_SHIFT)?
        .checked_add(1)?;
    usize::try_from(pages.div_ceil(WORD)).ok()
}

/// Puts the pages of `span` into `words`, which begin with the page of `first`. Returns how many were not there yet. What
/// lies beyond the words is left out.
pub fn set_pages(words: &mut [u64], first: u64, span: PageSpan) -> u64 {
    let base = first >> PAGE_SHIFT;
    let end = (words.len() as u64).saturating_mul(WORD);
    let from = (span.first >> PAGE_SHIFT).saturating_sub(base);
    let Some(to) = (span.last >> PAGE_SHIFT).checked_sub(base) else {
        return 0;
    };
    let mut new = 0u64;
    for page in from..end.min(to.saturating_add(1)) {
        let Some(word) = usize::try_from(page / WORD)
            .ok()
            .and_then(|i| words.get_mut(i))
        else {
            break;
        };
        let bit = 1u64 << (page % WORD);
        if *word & bit == 0 {
            *word |= bit;
            new = new.saturating_add(1);
        }
    }
    new
}

/// Takes the pages that `first..=last` touches out of `words`, which begin with the page of `base`, and gives them to
/// `report`, pages that follow each other together.
pub fn take_pages(
    words: &mut [u64],
    base: u64,
    first: u64,
    last: u64,
    mut report: impl FnMut(PageSpan),
) {
    let base = base >> PAGE_SHIFT;
    let end = (words.len() as u64).saturating_mul(WORD);
    let from = (first >> PAGE_SHIFT).saturating_sub(base);
    let Some(to) = (last >> PAGE_SHIFT).checked_sub(base) else {
        return;
    };
    let to = to.saturating_add(1).min(end);
    let mut run: Option<(u64, u64)> = None;
    let mut page = from;
    while page < to {
        let Some(word) = usize::try_from(page / WORD)
            .ok()
            .and_then(|i| words.get_mut(i))
        else {
            break;
        };
        let shift = page % WORD;
        if *word >> shift == 0 {
            // Nothing more in this word.
            page = page.saturating_add(WORD).saturating_sub(shift);
            continue;
        }
        let bit = 1u64 << shift;
        if *word & bit != 0 {
            *word &= !bit;
            run = match run {
                Some((a, b)) if b == page => Some((a, page.saturating_add(1))),
                other => {
                    give(base, other, &mut report);
                    Some((page, page.saturating_add(1)))
                }
            };
        }
        page = page.saturating_add(1);
    }
    give(base, run, &mut report);
}

/// Reports the pages `a..b` of a set that begins with page `base`.
fn give(base: u64, run: Option<(u64, u64)>, report: &mut impl FnMut(PageSpan)) {
    if let Some((a, b)) = run {
        let first = base.saturating_add(a) << PAGE_SHIFT;
        let bytes = b.saturating_sub(a) << PAGE_SHIFT;
        report(PageSpan {
            first,
            last: first.saturating_add(bytes).saturating_sub(1),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, last: u64) -> PageSpan {
        PageSpan { first, last }
    }

    #[test]
    fn what_is_set_is_taken_once() {
        let base = 0x10_0000;
        let mut words = [0; 4];
        assert_eq!(words_for(base, base + 256 * 4096 - 1), Some(4));
        assert_eq!(words_for(base, base + 256 * 4096), Some(5));
        assert_eq!(words_for(0, u64::MAX), Some(1 << 46));
        assert_eq!(words_for(base, 0), None);
        assert_eq!(
            set_pages(&mut words, base, span(base + 4095, base + 4096)),
            2
        );
        assert_eq!(set_pages(&mut words, base, span(base, base)), 0);
        assert_eq!(
            set_pages(
                &mut words,
                base,
                span(base + 63 * 4096, base + 66 * 4096 - 1)
            ),
            3
        );
        // Before, behind and across the ends.
        assert_eq!(set_pages(&mut words, base, span(0, base - 1)), 0);
        assert_eq!(
            set_pages(&mut words, base, span(base + 255 * 4096, u64::MAX)),
            1
        );
        let mut got = Vec::new();
        take_pages(&mut words, base, base + 4096, base + 64 * 4096, |s| {
            got.push(s)
        });
        assert_eq!(
            got,
            [
                span(base + 4096, base + 2 * 4096 - 1),
                span(base + 63 * 4096, base + 65 * 4096 - 1)
            ]
        );
        got.clear();
        take_pages(&mut words, base, 0, u64::MAX, |s| got.push(s));
        assert_eq!(
            got,
            [
                span(base, base + 4095),
                span(base + 65 * 4096, base + 66 * 4096 - 1),
                span(base + 255 * 4096, base + 256 * 4096 - 1)
            ]
        );
        assert_eq!(words, [0; 4]);
    }
}
