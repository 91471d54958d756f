// SPDX-License-Identifier: GPL-2.0
//! A destination that dies in the middle of a move.
//!
//! Before the VM runs there, the source has it and goes on by itself: the VM survives. Once the destination has said that the VM runs,
//! the source's copy is an older state, from which frames that the destination has answered already are unanswered. Whoever manages the
//! hosts may still choose it over no VM. This is another outcome than survival, and counted by itself, as is a move that was over before
//! the kill.

use std::thread;
use std::time::Duration;

use anyhow::{bail, Result};
use serde_json::{json, Value};

use super::host::{Host, PORT};
use super::inner::Inner;
use super::pair::{Pair, Progress};
use super::refusals::Talk;
use super::rounds::{self, is_event};
use super::spec::{Card, Image, Plan};
use crate::ktap::TestResult;
use crate::lab::Lab;

/// Moments at which the destination is killed.
const KILLS: u32 = 20;

/// Of them, after the VM has stopped on the source: every 8 ms.
const KILLS_STOPPED: u32 = 6;

/// At how many of them the move must have been under way: the others prove nothing of a destination that dies.
const REAL_KILLS: u32 = 12;

/// What came of one kill.
enum End {
    /// The move failed for this reason, and the VM is on the source.
    Killed(String),
    /// The VM had run on the destination; the source's older state goes on.
    RolledBack,
    /// The VM had moved before the destination could be killed.
    TooLate(Box<Inner>),
}

/// How often each came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    killed: u32,
    rolled_back: u32,
    too_late: u32,
}

impl Counts {
    fn is_enough(self) -> bool {
        self.killed >= REAL_KILLS
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} killed before the VM ran there, {} killed when it ran there already and resumed on the source from before, {} moves \
             over before the kill; of the first at least {REAL_KILLS} are wanted",
            self.killed, self.rolled_back, self.too_late
        )
    }
}

/// Kills the destination at [`KILLS`] moments. Gives the results, and what the kernels reported.
///
/// # Errors
/// If a step fails that is no part of a move.
pub fn run(lab: &Lab, pair: &Pair, progress: &Progress) -> Result<(Vec<TestResult>, Vec<String>)> {
    Talk::start(lab, pair, &Plan::default())?.runs(|talk| at_every_moment(talk, progress))
}

fn at_every_moment(talk: &mut Talk<'_>, progress: &Progress) -> Result<()> {
    let took = talk.moves("the VM moves")?;
    let mut counts = Counts::default();
    for n in 0..KILLS {
        let moment = format!("moment {} of {KILLS}", n + 1);
        progress.say(&format!("killing the destination, {moment}"));
        let (when, end) = kill(&talk.image, talk.to, &mut talk.vm, n, took)?;
        let what = match end {
            End::Killed(why) => {
                counts.killed += 1;
                format!("destination killed {when} ({why}): the VM goes on")
            }
            End::RolledBack => {
                counts.rolled_back += 1;
                format!("destination killed {when}, when the VM ran there: it goes on from before")
            }
            End::TooLate(arrived) => {
                counts.too_late += 1;
                talk.has_moved(*arrived);
                format!("moved before the kill {when}: the VM goes on")
            }
        };
        if !talk.check_well(&format!("{moment}: {what}"))? {
            break;
        }
    }
    talk.check(
        "destinations died while the move was under way",
        counts.is_enough(),
        &counts.to_string(),
    );
    talk.moves("after all of it the VM moves")?;
    Ok(())
}

/// Kills the destination's QEMU at moment `n` of a move that takes this long. Gives which moment that was, and what came of it.
fn kill(image: &Image, to: &Host, vm: &mut Inner, n: u32, took: Duration) -> Result<(String, End)> {
    let mut target = Inner::start(to, Card::Vf, image, true)?;
    if let Some(why) = rounds::begin_move(to, vm, &mut target, (PORT, PORT))? {
        bail!("the move was refused: {why}");
    }
    let before = KILLS - KILLS_STOPPED;
    let when = if n < before {
        let wait = took * n / before;
        thread::sleep(wait);
        format!("{} ms after the command", wait.as_millis())
    } else {
        vm.qmp
            .wait(|e| is_event(e, "STOP"), Duration::from_secs(180))?;
        let wait = Duration::from_millis(8) * (n - before);
        thread::sleep(wait);
        format!("{} ms after the VM stopped", wait.as_millis())
    };
    let info = vm.qmp.execute("query-migrate", json!({}))?;
    if info.get("status").and_then(Value::as_str) == Some("completed") {
        return Ok((when, End::TooLate(Box::new(target))));
    }
    target.kill();
    let end = match rounds::end_move(vm)? {
        Ok(()) => {
            vm.qmp.execute("cont", json!({}))?;
            End::RolledBack
        }
        Err(why) => End::Killed(why),
    };
    Ok((when, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_that_were_over_are_no_kills() {
        let counts = |killed, rolled_back, too_late| Counts {
            killed,
            rolled_back,
            too_late,
        };
        assert!(counts(12, 4, 4).is_enough());
        assert!(!counts(3, 0, 17).is_enough());
        assert!(!counts(2, 18, 0).is_enough());
    }
}
