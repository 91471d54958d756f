// SPDX-License-Identifier: GPL-2.0
//! The suite `migrate`: the demonstration as a test, and the refusals that a user meets.

use anyhow::Result;

use super::inner::Card;
use super::report::Report as Migration;
use super::{run, Plan, Traffic};
use crate::kernel::Flavour;
use crate::ktap::{Status, TestResult};
use crate::lab::{Drivers, Head, Lab};
use crate::runner::Report;

/// Why these cases are not yet among those that a run of everything makes.
pub const PENDING: &str =
    "under nested emulation the inner KVM stops now and then (internal error, suberror 3), seen after the fourth migration";

/// One run of the demonstration.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    name: &'static str,
    plan: Plan<'static>,
    expect: Expect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Every migration succeeds, restored in this way.
    Moves(&'static str),
    /// The migration is refused and the VM goes on where it is.
    Refused,
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let plan = Plan {
        card: Card::Vf,
        guest: Drivers::Rust,
        head: Head::Value,
        traffic: Traffic::Udp,
        rounds: 2,
        kernel: Flavour::Release,
        rate: 100,
        restore: None,
        migratable: true,
    };
    let case = |name, expect, plan| Case { name, plan, expect };
    vec![
        case("migrate/write", Expect::Moves("write"), plan),
        case(
            "migrate/rearm",
            Expect::Moves("rearm"),
            Plan {
                head: Head::Zero,
                ..plan
            },
        ),
        case(
            "migrate/rearm-ignore",
            Expect::Moves("rearm"),
            Plan {
                head: Head::Ignore,
                ..plan
            },
        ),
        case(
            "migrate/tcp",
            Expect::Moves("write"),
            Plan {
                traffic: Traffic::Tcp,
                ..plan
            },
        ),
        case(
            "migrate/c-guest",
            Expect::Moves("write"),
            Plan {
                guest: Drivers::C,
                ..plan
            },
        ),
        case(
            "migrate/c-guest-reset",
            Expect::Moves("reset"),
            Plan {
                guest: Drivers::C,
                head: Head::Zero,
                ..plan
            },
        ),
        case(
            "migrate/not-migratable",
            Expect::Refused,
            Plan {
                migratable: false,
                rounds: 1,
                ..plan
            },
        ),
    ]
}

impl Case {
    /// Its name, as in `cargo lab test --list`.
    pub fn name(&self) -> String {
        format!("{} {}", self.name, self.plan.kernel.name())
    }

    /// Which kernel it needs.
    pub fn kernel(&self) -> Flavour {
        self.plan.kernel
    }

    /// Runs it.
    pub fn run(&self, lab: &Lab) -> Report {
        let start = std::time::Instant::now();
        let mut report = match run(lab, &self.plan, None) {
            Ok(m) => Report {
                name: self.name(),
                seconds: 0.0,
                results: self.judge(&m),
                faults: m.faults,
            },
            Err(e) => Report::broken(&self.name(), &e),
        };
        report.seconds = start.elapsed().as_secs_f64();
        for r in &report.results {
            let word = if r.status == Status::Pass {
                "ok"
            } else {
                "not ok"
            };
            println!("[{}] {word} {} # {}", self.name(), r.name, r.comment);
        }
        report
    }

    fn judge(&self, m: &Migration) -> Vec<TestResult> {
        let mut results = Vec::new();
        let mut check = |name: &str, ok: bool, comment: String| {
            let status = if ok { Status::Pass } else { Status::Fail };
            results.push(TestResult {
                name: name.to_owned(),
                status,
                comment,
            });
        };
        for (i, r) in m.rounds.iter().enumerate() {
            let n = i + 1;
            let error = r.error.clone().unwrap_or_default();
            match self.expect {
                Expect::Refused => check(
                    &format!("migration {n} is refused"),
                    r.error.is_some(),
                    error,
                ),
                Expect::Moves(way) => {
                    let figures = format!(
                        "{error} blackout {} ms, restored by {}",
                        r.blackout_ms, r.restore
                    );
                    check(
                        &format!("migration {n} succeeds"),
                        r.error.is_none(),
                        figures,
                    );
                    check(
                        &format!("migration {n} restores by {way}"),
                        r.restore == way,
                        r.restore.clone(),
                    );
                    // A reset loses what was under way, and a guest that re-initialises is away for longer.
                    if way != "reset" {
                        let lost =
                            format!("{} of {} datagrams", r.frames_lost_outside, r.frames_sent);
                        check(
                            &format!("migration {n} loses nothing outside the blackout"),
                            r.frames_lost_outside == 0,
                            lost,
                        );
                    }
                }
            }
        }
        check("the VM goes on", m.guest_alive, String::new());
        check("traffic goes on", m.answers_at_the_end, String::new());
        check(
            "nothing is corrupted",
            m.frames_corrupted == 0,
            m.frames_corrupted.to_string(),
        );
        check(
            "nothing is duplicated",
            m.frames_duplicated == 0,
            m.frames_duplicated.to_string(),
        );
        if self.plan.traffic == Traffic::Tcp {
            let intact = m.streams.iter().any(|s| s.open && s.bytes > 0)
                && m.streams.iter().all(|s| s.corrupted == 0);
            check(
                "the TCP stream goes on, intact",
                intact,
                format!("{:?}", m.streams),
            );
        }
        check(
            "kernel logs are clean",
            m.faults.is_empty(),
            m.faults.first().cloned().unwrap_or_default(),
        );
        results
    }
}

/// The cases that a pattern of the command line chooses.
pub fn chosen(pattern: Option<&str>, kernel: Option<Flavour>) -> Vec<Case> {
    let mut cases = cases();
    cases.retain(|c| {
        crate::suites::is_chosen(&c.name(), pattern) && kernel.is_none_or(|k| k == c.kernel())
    });
    cases
}

/// Runs cases one after the other: each has two hosts of its own.
///
/// # Errors
/// If the lab cannot be opened.
pub fn run_all(cases: &[Case]) -> Result<Vec<Report>> {
    let lab = Lab::open()?;
    Ok(cases.iter().map(|c| c.run(&lab)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_chosen_by_pattern() {
        assert_eq!(chosen(Some("migrate/tcp"), None).len(), 1);
        assert_eq!(
            chosen(Some("migrate"), Some(Flavour::Release)).len(),
            cases().len()
        );
        assert!(chosen(Some("migration"), None).is_empty());
        assert!(chosen(None, Some(Flavour::Debug)).is_empty());
    }
}
