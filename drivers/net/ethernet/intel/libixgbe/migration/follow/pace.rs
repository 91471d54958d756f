// SPDX-License-Identifier: GPL-2.0
//! When to look next.

/// What the last look found, and what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Nanoseconds that the look took.
    pub cost_ns: u64,
    /// Microseconds since the look before.
    pub passed_us: u64,
    /// Frames in that time, of the whole VF.
    pub frames: u64,
    /// Descriptors that can be used before the device runs past what is known; 0: nothing is known at the moment.
    pub room: u64,
}

/// Decides when to look next: as often as the ring needs, within a share of one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Parts of 1,000 of one CPU, at most.
    share: u64,
    /// What a look takes, nanoseconds, averaged.
    cost_ns: u64,
    /// Frames a second: rises at once, falls slowly.
    rate: u64,
    /// Microseconds of CPU that past looks left unused, so that a queue whose table is to be filled can be looked at twice
    /// in a row.
    saved_us: u64,
}

/// Longest time between two looks. A look at a VF at rest costs some microseconds.
const LONGEST_US: u64 = 20_000;
/// Shortest.
const SHORTEST_US: u64 = 50;
/// Used if nothing is known: soon, since all memory is owed until more is.
const SOON_US: u64 = 100;
/// Of the room, this part is used until the next look: 1 / `MARGIN`. Frames come in bursts.
const MARGIN: u64 = 2;
/// CPU time that can be saved up, as the share of this time.
const SAVING_US: u64 = 1_000_000;

impl Pace {
    /// For a share of one CPU, in parts of 1,000; between 1 and 1,000.
    pub fn new(share: u32) -> Self {
        Self {
            share: u64::from(share).clamp(1, 1000),
            cost_ns: 0,
            rate: 0,
            saved_us: 0,
        }
    }

    /// Microseconds until the next look.
    pub fn next(&mut self, load: &Load) -> u64 {
        let old = self.cost_ns.saturating_mul(7).saturating_add(load.cost_ns) / 8;
        self.cost_ns = if self.cost_ns == 0 { load.cost_ns } else { old };
        let seen = load
            .frames
            .saturating_mul(1_000_000)
            .checked_div(load.passed_us)
            .unwrap_or(0);
        let fallen = self.rate.saturating_sub(self.rate / 8);
        self.rate = seen.max(fallen);
        let wanted = if load.room == 0 {
            SOON_US
        } else {
            load.room
                .saturating_mul(1_000_000 / MARGIN)
                .checked_div(self.rate)
                .unwrap_or(LONGEST_US)
        }
        .clamp(SHORTEST_US, LONGEST_US);
        wanted.max(self.afforded(load))
    }

    /// The shortest interval that the share allows: what a look takes is the share of the time from its begin to that of the
    /// next one, less what was saved before.
    fn afforded(&mut self, load: &Load) -> u64 {
        // cost / share, microseconds: nanoseconds over parts of 1,000.
        let due = self.cost_ns.checked_div(self.share).unwrap_or(LONGEST_US);
        let spent = load.cost_ns.checked_div(self.share).unwrap_or(LONGEST_US);
        let saved = self.saved_us.saturating_add(load.passed_us).min(SAVING_US);
        self.saved_us = saved.saturating_sub(spent);
        due.saturating_sub(self.saved_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Microseconds of each interval for looks that cost this much, at this many frames a second on a ring with this room.
    fn steady(share: u32, cost_ns: u64, rate: u64, room: u64) -> u64 {
        let mut pace = Pace::new(share);
        let (mut passed_us, mut total, mut looks) = (1000, 0, 0);
        for i in 0..20_000 {
            let next = pace.next(&Load {
                cost_ns,
                passed_us,
                frames: rate * passed_us / 1_000_000,
                room,
            });
            passed_us = next + cost_ns / 1000;
            if i >= 10_000 {
                total += next;
                looks += 1;
            }
        }
        total / looks
    }

    #[test]
    fn a_vf_at_rest_is_seldom_looked_at() {
        assert_eq!(steady(20, 20_000, 0, 400), LONGEST_US);
    }

    #[test]
    fn the_interval_follows_the_rate_and_the_ring() {
        // 20,000 frames a second, half of 400 descriptors: 10 ms.
        let ms10 = steady(20, 20_000, 20_000, 400);
        assert!((9_000..=11_000).contains(&ms10), "{ms10}");
        let ms1 = steady(20, 20_000, 20_000, 40);
        assert!((900..=1_200).contains(&ms1), "{ms1}");
        assert!(steady(20, 20_000, 40_000, 400) < ms10);
    }

    #[test]
    fn it_costs_no_more_than_its_share() {
        for share in [1, 10, 20, 100, 500] {
            for cost_ns in [1_000, 20_000, 300_000, 5_000_000] {
                for rate in [0, 1_000, 20_000, 1_000_000, 14_880_000] {
                    for room in [0, 10, 40, 400] {
                        let next = steady(share, cost_ns, rate, room);
                        let spent = cost_ns * 1000 / (next * 1000 + cost_ns);
                        assert!(
                            spent <= u64::from(share),
                            "{spent} of {share} for {cost_ns} ns at {rate} with {room}: {next} us"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn any_figures_give_some_interval() {
        for share in [0, 1, u32::MAX] {
            let mut pace = Pace::new(share);
            for n in [0, 1, u64::MAX] {
                let load = Load {
                    cost_ns: n,
                    passed_us: n,
                    frames: n,
                    room: n,
                };
                assert!(pace.next(&load) >= SHORTEST_US);
            }
        }
    }

    #[test]
    fn who_knows_nothing_looks_again_soon_if_it_can_afford_it() {
        let mut pace = Pace::new(20);
        let idle = Load {
            cost_ns: 20_000,
            passed_us: 20_000,
            frames: 0,
            room: 400,
        };
        for _ in 0..100 {
            pace.next(&idle);
        }
        assert_eq!(pace.next(&Load { room: 0, ..idle }), SOON_US);
    }
}
