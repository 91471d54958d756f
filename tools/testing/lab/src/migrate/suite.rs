// SPDX-License-Identifier: GPL-2.0
//! The suite `migrate`: the demonstration as a test, and the refusals that a user meets.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::host::{Preparation, FIRST};
use super::inner::Card;
use super::pair::{Pair, PairSpec, Progress, TESTED_CPUS};
use super::report::Report as Migration;
use super::together::{self, Party};
use super::{libvirt, refusals, rounds, Plan, Traffic};
use crate::kernel::Flavour;
use crate::ktap::{Status, TestResult};
use crate::lab::{Drivers, Head, Lab};
use crate::runner::Report;
use crate::suites::LONG;

/// One run of the demonstration, or all refusals.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    name: &'static str,
    plan: Plan<'static>,
    expect: Expect,
    /// Whether a run of everything leaves it out, see [`LONG`].
    long: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Every migration succeeds, restored in this way.
    Moves(&'static str),
    /// The migration is refused and the VM goes on where it is.
    Refused,
    /// Every unfit destination refuses, see [`refusals::run`].
    AllRefusals,
    /// A destination that is killed never costs the VM.
    Killed,
    /// Several VFs move at the same time.
    Together(Party),
    /// See [`libvirt`].
    Libvirt,
}

/// All of them; those that can share a pair of hosts stand side by side.
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
        trace: None,
    };
    let case = |name, expect, plan| Case {
        name,
        plan,
        expect,
        long: false,
    };
    let long = |name, expect, plan| Case {
        long: true,
        ..case(name, expect, plan)
    };
    vec![
        case("migrate/write", Expect::Moves("write"), plan),
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
            "migrate/not-migratable",
            Expect::Refused,
            Plan {
                migratable: false,
                rounds: 1,
                ..plan
            },
        ),
        case("migrate/refusals", Expect::AllRefusals, plan),
        long("migrate/killed", Expect::Killed, plan),
        // What devlink can be told instead of what the hardware would allow.
        long(
            "migrate/forced-rearm",
            Expect::Moves("rearm"),
            Plan {
                restore: Some("rearm"),
                ..plan
            },
        ),
        long(
            "migrate/forced-reset",
            Expect::Moves("reset"),
            Plan {
                restore: Some("reset"),
                ..plan
            },
        ),
        long(
            "migrate/c-guest-forced-reset",
            Expect::Moves("reset"),
            Plan {
                guest: Drivers::C,
                restore: Some("reset"),
                ..plan
            },
        ),
        long(
            "migrate/rearm",
            Expect::Moves("rearm"),
            Plan {
                head: Head::Zero,
                ..plan
            },
        ),
        long(
            "migrate/c-guest-reset",
            Expect::Moves("reset"),
            Plan {
                guest: Drivers::C,
                head: Head::Zero,
                ..plan
            },
        ),
        long(
            "migrate/forced-reset-zero",
            Expect::Moves("reset"),
            Plan {
                head: Head::Zero,
                restore: Some("reset"),
                ..plan
            },
        ),
        long(
            "migrate/rearm-ignore",
            Expect::Moves("rearm"),
            Plan {
                head: Head::Ignore,
                ..plan
            },
        ),
        long(
            "migrate/c-guest-reset-ignore",
            Expect::Moves("reset"),
            Plan {
                guest: Drivers::C,
                head: Head::Ignore,
                ..plan
            },
        ),
        long(
            "migrate/forced-reset-ignore",
            Expect::Moves("reset"),
            Plan {
                head: Head::Ignore,
                restore: Some("reset"),
                ..plan
            },
        ),
        long("migrate/two-vms", Expect::Together(together::TWO_VMS), plan),
        long("migrate/two-vfs", Expect::Together(together::TWO_VFS), plan),
        long("migrate/libvirt", Expect::Libvirt, plan),
    ]
}

impl Case {
    /// Its name, as in `cargo lab test --list`.
    pub fn name(&self) -> String {
        format!("{} {}", self.name, self.plan.kernel.name())
    }

    /// Why a run of `pattern` leaves it out, if it does: a boot's rule, [`crate::suites::Boot::left_out`].
    pub fn left_out(&self, pattern: Option<&str>) -> Option<&'static str> {
        (pattern.is_none() && self.long).then_some(LONG)
    }

    /// Which kernel it needs.
    pub fn kernel(&self) -> Flavour {
        self.plan.kernel
    }

    /// What its hosts must be.
    fn hosts(&self) -> PairSpec {
        PairSpec {
            kernel: self.plan.kernel,
            head: self.plan.head,
            ours: true,
            libvirt: self.expect == Expect::Libvirt,
            cpus: TESTED_CPUS,
            seats: match self.expect {
                Expect::Together(party) => party.seats,
                _ => &[FIRST],
            },
            deadline: Duration::from_secs(3600),
        }
    }

    /// Runs it on hosts that fit.
    fn run(&self, lab: &Lab, pair: &Pair, progress: &Progress) -> Result<Report> {
        let start = Instant::now();
        let (results, faults) = match self.expect {
            Expect::AllRefusals => refusals::run(lab, pair, progress)?,
            Expect::Killed => refusals::kill_destinations(lab, pair, progress)?,
            Expect::Together(party) => together::run(lab, pair, &self.plan, party, progress)?,
            Expect::Libvirt => libvirt::run(lab, pair, &self.plan, progress)?,
            Expect::Moves(way) => self.move_vm(lab, pair, Some(way), progress)?,
            Expect::Refused => self.move_vm(lab, pair, None, progress)?,
        };
        for r in &results {
            let word = if r.status == Status::Pass {
                "ok"
            } else {
                "not ok"
            };
            println!(
                "[{}] {word} {} # {}",
                self.name(),
                r.name,
                r.comment.replace('\n', "\n# ")
            );
        }
        Ok(Report {
            name: self.name(),
            seconds: start.elapsed().as_secs_f64(),
            results,
            faults,
        })
    }

    /// Runs the demonstration.
    fn move_vm(
        &self,
        lab: &Lab,
        pair: &Pair,
        way: Option<&str>,
        progress: &Progress,
    ) -> Result<(Vec<TestResult>, Vec<String>)> {
        pair.prepare(&Preparation {
            card: self.plan.card,
            restore: self.plan.restore,
            migratable: self.plan.migratable,
        })?;
        let m = rounds::run(lab, pair, &self.plan, progress)?;
        Ok((self.judge(&m, way), m.faults))
    }

    /// Judges moves that should have succeeded, restored in this way, or that should have been refused.
    fn judge(&self, m: &Migration, way: Option<&str>) -> Vec<TestResult> {
        let mut results = Vec::new();
        let mut check = |name: &str, ok: bool, comment: String| {
            together::check(&mut results, name.to_owned(), ok, comment);
        };
        for (i, r) in m.rounds.iter().enumerate() {
            let n = i + 1;
            let error = r.error.clone().unwrap_or_default();
            let Some(way) = way else {
                let name = format!("migration {n} is refused");
                check(&name, r.error.is_some(), error);
                continue;
            };
            check(
                &format!("migration {n} succeeds"),
                r.error.is_none(),
                format!(
                    "{error} blackout {} ms, restored by {}",
                    r.blackout_ms, r.restore
                ),
            );
            check(
                &format!("migration {n} restores by {way}"),
                r.restore == way,
                r.restore.clone(),
            );
            // A reset loses what was under way, and a guest that re-initialises is away for longer.
            if way != "reset" {
                check(
                    &format!("migration {n} loses nothing outside the blackout"),
                    r.frames_lost_outside == 0,
                    format!(
                        "{} of {} datagrams; {}",
                        r.frames_lost_outside, r.frames_sent, r.drops
                    ),
                );
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
///
/// Cases run with one kernel, the first of those that are asked for; on the debug kernel a move
/// takes minutes, and none does.
pub fn chosen(pattern: Option<&str>, kernels: &[Flavour]) -> Vec<Case> {
    let mut cases = cases();
    let asked = kernels.iter().copied().find(|k| *k != Flavour::Debug);
    match asked {
        Some(kernel) => cases.iter_mut().for_each(|c| c.plan.kernel = kernel),
        None if !kernels.is_empty() => return vec![],
        None => {}
    }
    cases.retain(|c| crate::suites::is_chosen(&c.name(), pattern));
    cases
}

/// Runs cases one after the other; those that need the same hosts have them in turn, unless one went wrong.
///
/// # Errors
/// If the lab cannot be opened.
pub fn run_all(cases: &[Case]) -> Result<Vec<Report>> {
    let lab = Lab::open()?;
    let progress = Progress::new()?;
    let mut pair: Option<(PairSpec, Pair)> = None;
    let mut reports = Vec::new();
    for case in cases {
        let hosts = match pair.take() {
            Some((spec, hosts)) if spec == case.hosts() => Ok(hosts),
            other => {
                if let Some((_, hosts)) = other {
                    hosts.shut_down()?;
                }
                Pair::boot(&lab, &case.hosts(), None, &progress)
            }
        };
        let report = hosts.and_then(|hosts| {
            let report = case.run(&lab, &hosts, &progress)?;
            if report.count(Status::Fail) == 0 {
                pair = Some((case.hosts(), hosts));
            }
            Ok(report)
        });
        reports.push(report.unwrap_or_else(|e| {
            println!("[{}] not ok the lab # {e:#}", case.name());
            Report::broken(&case.name(), &e)
        }));
    }
    if let Some((_, hosts)) = pair {
        hosts.shut_down()?;
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_chosen_by_pattern() {
        assert_eq!(chosen(Some("migrate/tcp"), &[]).len(), 1);
        assert_eq!(
            chosen(Some("migrate"), &[Flavour::Release]).len(),
            cases().len()
        );
        let stock = chosen(Some("stock"), &[Flavour::Stock]);
        assert!(stock.iter().all(|c| c.kernel() == Flavour::Stock));
        assert!(chosen(Some("migration"), &[]).is_empty());
        assert!(chosen(None, &[Flavour::Debug]).is_empty());
    }
}
