// SPDX-License-Identifier: GPL-2.0
//! `cargo lab migrate --random SEED --moves N`: moves and what disturbs them, in an order that nobody thought of.
//!
//! The steps come of the seed alone, so that the same seed repeats them; when each happens is up to the machine.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::events::{Event, ALL};
use super::judge::wrong;
use super::pair::{Pair, Progress};
use super::refusals::Talk;
use super::spec::{Plan, Setting};
use super::trials;
use crate::ktap::{Status, TestResult};
use crate::lab::Lab;
use crate::retry::{self, Retry};

/// Steele et al., "Fast splittable pseudorandom number generators" (2014): SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// One of 0 … `n` - 1. The bias of the division is far below what matters here.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A move, with these in the VM meanwhile.
    Move(Vec<Event>),
    /// A move that is cancelled after so much of the time that one takes, in percent.
    Cancel(u32),
    /// A VM that stands moves.
    Paused,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Move(events) if events.is_empty() => write!(f, "move"),
            Self::Move(events) => {
                let names: Vec<&str> = events.iter().map(|e| e.name()).collect();
                write!(f, "move with {}", names.join(", "))
            }
            Self::Cancel(percent) => write!(f, "move, cancelled at {percent} %"),
            Self::Paused => write!(f, "move while it stands"),
        }
    }
}

/// The steps of a seed, with so many moves that are meant to end.
fn steps(seed: u64, moves: u32) -> Vec<Step> {
    let mut random = Random(seed);
    let mut steps = Vec::new();
    let mut left = moves;
    while left > 0 {
        let step = match random.below(10) {
            0 | 1 => Step::Cancel(random.below(100) as u32),
            2 => Step::Paused,
            _ => {
                let count = random.below(4);
                let events = (0..count).filter_map(|_| {
                    let i = random.below(ALL.len() as u64);
                    ALL.get(i as usize).copied()
                });
                let mut events: Vec<Event> = events.collect();
                events.dedup();
                Step::Move(events)
            }
        };
        if !matches!(step, Step::Cancel(_)) {
            left -= 1;
        }
        steps.push(step);
    }
    steps
}

/// What came of it, for a file.
#[derive(Serialize)]
pub(super) struct Results {
    #[serde(flatten)]
    setting: Setting,
    /// Repeats it.
    seed: u64,
    moves: u32,
    /// `ok`, or what is wrong.
    pub(super) result: String,
    steps: Vec<String>,
    results: Vec<TestResult>,
    faults: Vec<String>,
    retried: Vec<Retry>,
}

/// Does the steps of a seed until one goes wrong.
pub(super) fn run(
    lab: &Lab,
    pair: &Pair,
    plan: &Plan<'_>,
    (seed, moves): (u64, u32),
    progress: &Progress,
) -> Result<Results> {
    let steps = steps(seed, moves);
    let (kernel, head) = (plan.kernel.name(), plan.head.name());
    let restore = plan
        .restore
        .map_or_else(String::new, |way| format!(" --restore {way}"));
    println!(
        "seed {seed}, {moves} moves: `cargo lab migrate --kernel {kernel} --head {head}{restore} --random {seed} --moves {moves}` \
         repeats it"
    );
    let talk = trials::start(lab, pair, plan)?;
    let mut done = Vec::new();
    let setting = pair.setting(2);
    let (results, faults) = talk.runs(|talk| take(talk, &steps, &mut done, progress))?;
    let wrong = wrong(&results);
    for r in results.iter().filter(|r| r.status == Status::Fail) {
        println!("not ok {} # {}", r.name, r.comment.replace('\n', "\n# "));
    }
    Ok(Results {
        setting,
        seed,
        moves,
        result: if wrong.is_empty() {
            "ok".into()
        } else {
            format!("seed {seed}: {wrong}")
        },
        steps: done,
        results,
        faults,
        retried: retry::all(),
    })
}

/// Takes these steps until one goes wrong, and says which.
fn take(
    talk: &mut Talk<'_>,
    steps: &[Step],
    done: &mut Vec<String>,
    progress: &Progress,
) -> Result<()> {
    let took = talk.moves("the VM moves")?;
    for (n, step) in steps.iter().enumerate() {
        let what = format!("step {} of {}: {step}", n + 1, steps.len());
        progress.say(&what);
        done.push(what.clone());
        match step {
            Step::Move(events) if events.is_empty() => {
                talk.moves(&what)?;
            }
            Step::Move(events) => {
                trials::with_events(talk, events)?;
            }
            Step::Cancel(percent) => {
                let after = took * *percent / 100;
                trials::cancel(talk, &what, after.min(Duration::from_secs(60)))?;
            }
            Step::Paused => trials::move_paused(talk)?,
        }
        if talk.has_failed() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_steps() {
        assert_eq!(steps(7, 40), steps(7, 40));
        assert_ne!(steps(7, 40), steps(8, 40));
        let moves = |steps: &[Step]| {
            let ended = |s: &&Step| !matches!(s, Step::Cancel(_));
            steps.iter().filter(ended).count()
        };
        assert_eq!(moves(&steps(7, 40)), 40);
        // A longer run begins as the shorter one does.
        assert!(steps(7, 40).starts_with(&steps(7, 10)));
    }

    #[test]
    fn every_kind_of_step_comes() {
        let all = steps(1, 200);
        assert!(all.contains(&Step::Paused));
        assert!(all.contains(&Step::Move(vec![])));
        assert!(all.iter().any(|s| matches!(s, Step::Cancel(_))));
        for event in ALL {
            let has = |s: &Step| matches!(s, Step::Move(events) if events.contains(&event));
            assert!(all.iter().any(has), "{}", event.name());
        }
    }
}
