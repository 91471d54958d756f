// SPDX-License-Identifier: GPL-2.0
//! When to look next.

/// What the last look found, and what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Nanoseconds that the look took.
    pub cost_ns: u64,
    /// When it began, in microseconds.
    pub at_us: u64,
    /// The VF's frame counter at its end; `None`: it could not be taken.
    pub frames: Option<u32>,
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
    /// When the last look began.
    at_us: Option<u64>,
    /// The frame counter at its end.
    frames: Option<u32>,
    /// Looks in a row after which nothing was known.
    blind: u32,
}

/// Longest time between two looks. A look at a VF at rest costs some microseconds.
const LONGEST_US: u64 = 20_000;
/// Shortest.
const SHORTEST_US: u64 = 50;
/// Used if nothing is known: soon, since all memory is owed until more is.
const SOON_US: u64 = 100;
/// After as many looks in a row that left nothing known, looks become rarer, by half each time: a ring that cannot be read or
/// is not followed stays so for long.
const BLIND: u32 = 64;
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
            at_us: None,
            frames: None,
            blind: 0,
        }
    }

    /// Microseconds until the next look.
    pub fn next(&mut self, load: &Load) -> u64 {
        let old = self.cost_ns.saturating_mul(7).saturating_add(load.cost_ns) / 8;
        self.cost_ns = if self.cost_ns == 0 { load.cost_ns } else { old };
        let passed_us = self.at_us.map_or(0, |at| load.at_us.saturating_sub(at));
        // The first look tells nothing of the rate, whatever was counted before it.
        let frames = match (load.frames, self.frames) {
            (Some(now), Some(before)) => u64::from(now.wrapping_sub(before)),
            _ => 0,
        };
        (self.at_us, self.frames) = (Some(load.at_us), load.frames);
        let seen = frames
            .saturating_mul(1_000_000)
            .checked_div(passed_us)
            .unwrap_or(0);
        let fallen = self.rate.saturating_sub(self.rate / 8);
        self.rate = seen.max(fallen);
        self.blind = match load.room {
            0 => self.blind.saturating_add(1),
            _ => 0,
        };
        let wanted = if load.room == 0 {
            SOON_US << self.blind.saturating_sub(BLIND).min(16)
        } else {
            load.room
                .saturating_mul(1_000_000 / MARGIN)
                .checked_div(self.rate)
                .unwrap_or(LONGEST_US)
        }
        .clamp(SHORTEST_US, LONGEST_US);
        wanted.max(self.afforded(load.cost_ns, passed_us))
    }

    /// The shortest interval that the share allows: what a look takes is the share of the time from its begin to that of the
    /// next one, less what was saved before.
    fn afforded(&mut self, cost_ns: u64, passed_us: u64) -> u64 {
        // cost / share, microseconds: nanoseconds over parts of 1,000.
        let due = self.cost_ns.checked_div(self.share).unwrap_or(LONGEST_US);
        let spent = cost_ns.checked_div(self.share).unwrap_or(LONGEST_US);
        let saved = self.saved_us.saturating_add(passed_us).min(SAVING_US);
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
        // As one finds a VF that has run for long.
        let (mut at_us, mut frames, mut total, mut looks) = (0u64, 0xFFFF_0000u64, 0, 0);
        let mut passed_us = 1000;
        for i in 0..20_000 {
            at_us += passed_us;
            frames += rate * passed_us / 1_000_000;
            let next = pace.next(&Load {
                cost_ns,
                at_us,
                frames: Some(frames as u32),
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
                    at_us: n,
                    frames: Some(n as u32),
                    room: n,
                };
                assert!(pace.next(&load) >= SHORTEST_US);
            }
        }
    }

    const IDLE: Load = Load {
        cost_ns: 20_000,
        at_us: 0,
        frames: Some(0),
        room: 400,
    };

    /// After this many looks at a VF at rest, 20 ms apart.
    fn rested(looks: u64) -> Pace {
        let mut pace = Pace::new(20);
        for i in 0..looks {
            pace.next(&Load {
                at_us: i * LONGEST_US,
                ..IDLE
            });
        }
        pace
    }

    #[test]
    fn who_knows_nothing_looks_again_soon_if_it_can_afford_it() {
        let at_us = 100 * LONGEST_US;
        let blind = Load {
            at_us,
            room: 0,
            ..IDLE
        };
        assert_eq!(rested(100).next(&blind), SOON_US);
    }

    #[test]
    fn what_was_counted_before_the_first_look_is_no_rate() {
        let mut pace = Pace::new(20);
        let load = |i: u64| Load {
            at_us: i * 2000,
            frames: Some(3_000_000_000),
            ..IDLE
        };
        pace.next(&load(1));
        assert_eq!(pace.next(&load(2)), LONGEST_US);
        // Nor what a look counted after one that could not be taken.
        pace.next(&Load {
            frames: None,
            ..load(3)
        });
        assert_eq!(pace.next(&load(4)), LONGEST_US);
    }

    #[test]
    fn a_vf_that_cannot_be_followed_costs_little() {
        let mut pace = rested(100);
        let mut at_us = 100 * LONGEST_US;
        let mut next = 0;
        for _ in 0..200 {
            at_us += next;
            next = pace.next(&Load {
                at_us,
                room: 0,
                ..IDLE
            });
        }
        assert_eq!(next, LONGEST_US);
        // Once it can, all is as before.
        at_us += next;
        let busy = Load {
            at_us,
            room: 40,
            frames: Some(400),
            ..IDLE
        };
        assert!(pace.next(&busy) < 2000);
    }
}
