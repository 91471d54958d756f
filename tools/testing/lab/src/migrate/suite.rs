// SPDX-License-Identifier: GPL-2.0
//! The suite `migrate`: the demonstration as a test, and the refusals that a user meets.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::host::Host;
use super::judge::{judge, logs_are_clean, Want};
use super::pair::{Pair, PairSpec, Progress, Root, TESTED_CPUS};
use super::spec::{HostQemu, Plan, Traffic, FIRST};
use super::together::{self, Party};
use super::{killed, libvirt, modes, packages, refusals, rounds, starts, trials};
use crate::chip::Chip;
use crate::kernel::Flavour;
use crate::ktap::{Status, TestResult};
use crate::lab::{Drivers, Head, Lab};
use crate::retry;
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
    /// The destination's card has another chip than the source's, and refuses.
    OtherChip([Chip; 2]),
    /// A destination that is killed never costs the VM.
    Killed,
    /// Several VFs move at the same time.
    Together(Party),
    /// Moves that are disturbed, see [`trials`].
    Trial(Trial),
    /// See [`starts`].
    Starts,
    /// See [`modes`].
    Modes,
    /// See [`libvirt`].
    Libvirt,
    /// See [`packages`].
    Packages,
}

/// How moves are disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    Events,
    Cancelled,
    Paused,
    OtherVf,
}

/// All of them; those that can share a pair of hosts stand side by side.
pub fn cases() -> Vec<Case> {
    let plan = Plan::default();
    let iommufd = Plan {
        kernel: Flavour::StockIommufd,
        iommufd: true,
        ..plan
    };
    let newest = Plan {
        qemu: HostQemu::Backports,
        ..plan
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
        // What `cargo lab migrate` does by itself.
        long("migrate/write", Expect::Moves("write"), plan),
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
        // Two queue pairs, each with a vector of a CPU of its own.
        long(
            "migrate/write-smp2",
            Expect::Moves("write"),
            Plan {
                guest_cpus: 2,
                traffic: Traffic::Both,
                ..plan
            },
        ),
        // 64 connections.
        long(
            "migrate/streams",
            Expect::Moves("write"),
            Plan {
                guest_cpus: 2,
                traffic: Traffic::Many,
                ..plan
            },
        ),
        long(
            "migrate/rearm-smp4",
            Expect::Moves("rearm"),
            Plan {
                guest_cpus: 4,
                traffic: Traffic::Both,
                head: Head::Zero,
                ..plan
            },
        ),
        case("migrate/refusals", Expect::AllRefusals, plan),
        long(
            "migrate/refusals-rearm",
            Expect::AllRefusals,
            Plan {
                head: Head::Zero,
                ..plan
            },
        ),
        long(
            "migrate/refusals-reset",
            Expect::AllRefusals,
            Plan {
                guest: Drivers::C,
                head: Head::Zero,
                ..plan
            },
        ),
        // Families never mix.
        long(
            "migrate/to-x540",
            Expect::OtherChip([Chip::Kx4, Chip::X540]),
            plan,
        ),
        long(
            "migrate/from-x540",
            Expect::OtherChip([Chip::X540, Chip::Kx4]),
            plan,
        ),
        // QEMU with -object iommufd: the VF is attached to a page table that QEMU made (rust/vfio/memory.rs).
        long("migrate/iommufd", Expect::Moves("write"), iommufd),
        long("migrate/refusals-iommufd", Expect::AllRefusals, iommufd),
        long("migrate/events", Expect::Trial(Trial::Events), plan),
        long("migrate/cancelled", Expect::Trial(Trial::Cancelled), plan),
        long("migrate/paused", Expect::Trial(Trial::Paused), plan),
        long("migrate/other-vf", Expect::Trial(Trial::OtherVf), plan),
        long("migrate/killed", Expect::Killed, plan),
        long("migrate/starts", Expect::Starts, plan),
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
        // Another chip, whose VFs have frame limits of their own.
        long(
            "migrate/x540",
            Expect::Moves("write"),
            Plan {
                chip: Chip::X540,
                ..plan
            },
        ),
        long(
            "migrate/x540-rearm",
            Expect::Moves("rearm"),
            Plan {
                chip: Chip::X540,
                head: Head::Zero,
                ..plan
            },
        ),
        long(
            "migrate/x540-c-guest-reset",
            Expect::Moves("reset"),
            Plan {
                chip: Chip::X540,
                guest: Drivers::C,
                head: Head::Zero,
                ..plan
            },
        ),
        // Another one, whose VFs have RSS of their own as well.
        long(
            "migrate/x550",
            Expect::Moves("write"),
            Plan {
                chip: Chip::X550,
                ..plan
            },
        ),
        long(
            "migrate/x550-rearm",
            Expect::Moves("rearm"),
            Plan {
                chip: Chip::X550,
                head: Head::Zero,
                ..plan
            },
        ),
        long(
            "migrate/x550-c-guest-reset",
            Expect::Moves("reset"),
            Plan {
                chip: Chip::X550,
                guest: Drivers::C,
                head: Head::Zero,
                ..plan
            },
        ),
        long("migrate/two-vms", Expect::Together(together::TWO_VMS), plan),
        long("migrate/two-vfs", Expect::Together(together::TWO_VFS), plan),
        long("migrate/libvirt", Expect::Libvirt, plan),
        // QEMU's other ways.
        long("migrate/modes", Expect::Modes, plan),
        long("migrate/packages", Expect::Packages, plan),
        // The newest QEMU and libvirt that Debian has.
        long("migrate/backports", Expect::Moves("write"), newest),
        long(
            "migrate/backports-c-guest",
            Expect::Moves("write"),
            Plan {
                guest: Drivers::C,
                ..newest
            },
        ),
        long("migrate/backports-refusals", Expect::AllRefusals, newest),
        long("migrate/backports-modes", Expect::Modes, newest),
        long("migrate/backports-libvirt", Expect::Libvirt, newest),
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
            chips: match self.expect {
                Expect::OtherChip(chips) => chips,
                _ => [self.plan.chip; 2],
            },
            ours: true,
            root: match self.expect {
                Expect::Libvirt if self.plan.qemu == HostQemu::Stock => Root::Libvirt,
                Expect::Packages => Root::Bare,
                _ => self.plan.qemu.into(),
            },
            cpus: TESTED_CPUS,
            vm_mib: self.plan.memory_mib,
            seats: match self.expect {
                Expect::Together(party) => party.seats,
                Expect::Trial(Trial::OtherVf) => trials::BOTH_VFS,
                _ => &[FIRST],
            },
            deadline: Duration::from_secs(3600),
        }
    }

    /// Runs it on hosts that fit.
    fn run(&self, lab: &Lab, pair: &Pair, progress: &Progress) -> Result<Report> {
        let start = Instant::now();
        let (results, faults) = match self.expect {
            Expect::AllRefusals => refusals::run(lab, pair, &self.plan, progress)?,
            Expect::OtherChip(_) => refusals::other_chip(lab, pair, &self.plan)?,
            Expect::Killed => killed::run(lab, pair, progress)?,
            Expect::Together(party) => together::run(lab, pair, &self.plan, party, progress)?,
            Expect::Trial(Trial::Events) => trials::events(lab, pair, progress)?,
            Expect::Trial(Trial::Cancelled) => trials::cancelled(lab, pair, progress)?,
            Expect::Trial(Trial::Paused) => trials::paused(lab, pair, progress)?,
            Expect::Trial(Trial::OtherVf) => trials::other_vf(lab, pair, progress)?,
            Expect::Starts => starts::run(lab, pair, &self.plan, progress)?,
            Expect::Modes => modes::run(lab, pair, &self.plan, progress)?,
            Expect::Libvirt => libvirt::run(lab, pair, &self.plan, progress)?,
            Expect::Packages => packages::run(lab, pair, &self.plan, progress)?,
            Expect::Moves(way) => self.move_vm(lab, pair, Want::Moves(Some(way)), progress)?,
            Expect::Refused => self.move_vm(lab, pair, Want::Refused, progress)?,
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
        want: Want,
        progress: &Progress,
    ) -> Result<(Vec<TestResult>, Vec<String>)> {
        pair.prepare(&self.plan.preparation())?;
        let m = rounds::run(lab, pair, &self.plan, progress)?;
        Ok((judge(&m, want), m.faults))
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
        Some(kernel) => {
            // Debian's own has no iommufd, and no other has packages.
            cases.retain(|c| !c.plan.iommufd || kernel != Flavour::Stock);
            cases.retain(|c| c.expect != Expect::Packages || kernel == Flavour::Stock);
            cases.iter_mut().for_each(|c| c.plan.kernel = kernel);
        }
        None if !kernels.is_empty() => return vec![],
        None => {}
    }
    cases.retain(|c| crate::suites::is_chosen(&c.name(), pattern));
    cases
}

/// Powers hosts off, after the last case that had them.
fn end(spec: &PairSpec, hosts: Pair, reports: &mut Vec<Report>) -> Result<()> {
    let faults = hosts.shut_down()?;
    if !faults.is_empty() {
        let results = vec![logs_are_clean(&faults)];
        reports.push(Report {
            name: format!("migrate/end of the hosts {}", spec.kernel.name()),
            seconds: 0.0,
            results,
            faults,
        });
    }
    Ok(())
}

/// Hosts that the next case may have.
type Kept = Option<(PairSpec, Pair)>;

/// Runs a case, on the hosts that are there or on others. Gives its report, and what the emulator said meanwhile of a VM whose
/// processor triple faulted and that was not started again.
fn run_case(
    lab: &Lab,
    case: &Case,
    kept: &mut Kept,
    reports: &mut Vec<Report>,
    progress: &Progress,
) -> Result<(Report, Option<String>)> {
    let hosts = match kept.take() {
        Some((spec, hosts)) if spec == case.hosts() => Ok(hosts),
        other => {
            if let Some((spec, hosts)) = other {
                end(&spec, hosts, reports)?;
            }
            Pair::boot(lab, &case.hosts(), None, progress)
        }
    };
    let broken = |e: &anyhow::Error| {
        println!("[{}] not ok the lab # {e:#}", case.name());
        Report::broken(&case.name(), e)
    };
    let hosts = match hosts {
        Ok(hosts) => hosts,
        Err(e) => return Ok((broken(&e), None)),
    };
    hosts.hosts.iter().for_each(Host::forget_triple_faults);
    let report = match case.run(lab, &hosts, progress) {
        Ok(report) => report,
        Err(e) => {
            let mut report = broken(&e);
            // What a kernel said may be why.
            report.faults = hosts.faults()?;
            report.results.push(logs_are_clean(&report.faults));
            report
        }
    };
    let faulted = hosts.hosts.iter().find_map(Host::triple_fault);
    if report.count(Status::Fail) == 0 {
        *kept = Some((case.hosts(), hosts));
    }
    Ok((report, faulted))
}

/// Runs cases one after the other; those that need the same hosts have them in turn, unless one went wrong. One that failed after
/// the processor of its VM had triple faulted is run again, see [`retry::repeats_fault`].
///
/// # Errors
/// If the lab cannot be opened.
pub fn run_all(cases: &[Case]) -> Result<Vec<Report>> {
    let flavours: BTreeSet<Flavour> = cases.iter().map(Case::kernel).collect();
    let lab = Lab::open(&Vec::from_iter(flavours))?;
    let progress = Progress::new()?;
    let mut kept = None;
    let mut reports = Vec::new();
    for case in cases {
        let (mut report, faulted) = run_case(&lab, case, &mut kept, &mut reports, &progress)?;
        if let (1.., Some(told)) = (report.count(Status::Fail), faulted) {
            if retry::repeats_fault(&case.name(), &told) {
                report = run_case(&lab, case, &mut kept, &mut reports, &progress)?.0;
            }
        }
        reports.push(report);
    }
    if let Some((spec, hosts)) = kept {
        end(&spec, hosts, &mut reports)?;
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_chosen_by_pattern() {
        assert_eq!(chosen(Some("migrate/tcp"), &[]).len(), 1);
        let release = chosen(Some("migrate"), &[Flavour::Release]);
        let all_but_packages = cases().len() - 1;
        assert_eq!(release.len(), all_but_packages);
        let stock = chosen(Some("stock"), &[Flavour::Stock]);
        assert!(stock
            .iter()
            .all(|c| c.kernel() == Flavour::Stock && !c.plan.iommufd));
        let iommufd = chosen(Some("migrate/iommufd"), &[]);
        assert!(iommufd.iter().all(|c| c.kernel() == Flavour::StockIommufd));
        assert!(chosen(Some("migration"), &[]).is_empty());
        assert!(chosen(None, &[Flavour::Debug]).is_empty());
    }
}
