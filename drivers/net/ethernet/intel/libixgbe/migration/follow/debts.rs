// SPDX-License-Identifier: GPL-2.0
//! When what is owed is reported while the VF runs.

/// Looks in a row that were certain, until what is owed is reported.
const SOUND: u32 = 8;
/// So often as many suffice.
const FREE: u32 = 2;
/// Doublings at most: 8 looks become a day and more.
const MOST: u32 = 20;

/// How often a followed VF came to owe all memory, and how long it was certain since.
///
/// All memory is sent again each time that it is reported. So from the third time on it takes twice as
/// many certain looks as the time before. A long move survives what happens now and then, and one of
/// which an interval is owed again and again is sent again a few times and no more: the rest is left to
/// the stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debts {
    times: u32,
    sound: u32,
}

impl Debts {
    /// None yet.
    pub const fn new() -> Self {
        Self { times: 0, sound: 0 }
    }

    /// A look was certain, or it was not.
    pub fn looked(&mut self, sure: bool) {
        self.sound = match sure {
            true => self.sound.saturating_add(1),
            false => 0,
        };
    }

    /// All memory has come to be owed, some of which was not.
    pub fn owe(&mut self) {
        self.times = self.times.saturating_add(1);
    }

    /// Whether it is time to report it.
    pub fn payable(&self) -> bool {
        let doubled = self.times.saturating_sub(FREE).min(MOST);
        self.sound >= SOUND << doubled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many looks, of which each `every`th is not certain. Returns how often all memory was
    /// reported, and whether something is owed at the end.
    fn session(looks: u32, every: u32) -> (u32, bool) {
        let mut debts = Debts::new();
        let (mut reported, mut owed) = (0, false);
        for i in 1..=looks {
            let sure = i % every != 0;
            debts.looked(sure);
            if !sure && !owed {
                debts.owe();
                owed = true;
            }
            if owed && debts.payable() {
                reported += 1;
                owed = false;
            }
        }
        (reported, owed)
    }

    #[test]
    fn what_happens_now_and_then_is_reported_however_long_a_move_takes() {
        assert_eq!(session(20, 10), (1, true), "it has just happened again");
        // A minute of looks at a VF at rest, with a stall each ten seconds.
        assert_eq!(session(3499, 500), (6, false));
    }

    #[test]
    fn who_is_never_certain_for_long_is_sent_a_few_times_alone() {
        assert_eq!(session(100_000, 8), (0, true));
        assert_eq!(session(100_000, 10), (2, true));
        assert_eq!(session(100_000, 100), (5, true));
        assert_eq!(session(100_000, 1000), (8, true));
    }
}
