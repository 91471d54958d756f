// SPDX-License-Identifier: GPL-2.0
//! `cargo lab test`: chooses suites, builds what they need, runs them side by side, and sums up.

use parking_lot::{Condvar, Mutex};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use clap::Args;
use serde::Serialize;

use crate::initramfs;
use crate::kernel::{self, Flavour, Kernel};
use crate::ktap::{Status, TestResult};
use crate::lab::{facts, find_tree, Drivers, Facts, Lab};
use crate::migrate::suite;
use crate::package;
use crate::process::{command, run_logged, Child};
use crate::retry::{self, Retry};
use crate::rootfs;
use crate::runner::{self, Products, Report};
use crate::suites::{self, Boot, HOST};
use crate::toolchain::MAKE_LLVM;

/// Options of `cargo lab test`.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Run what has each word of this in its name (see --list), or all.
    pattern: Option<String>,
    /// Boot only this kernel; may be given several times.
    #[arg(long, value_enum)]
    kernel: Vec<Flavour>,
    /// Print the names of what would run, and run nothing.
    #[arg(long)]
    list: bool,
    /// Write the results to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Processors of hosts that run at a time; four for each of this machine by default, since a host waits more than it
    /// computes. A host with more than that runs alone.
    #[arg(long)]
    cpus: Option<u32>,
}

#[derive(Serialize)]
struct Summary<'a> {
    passed: usize,
    failed: usize,
    skipped: usize,
    seconds: f64,
    /// Boots of machines that were given up and repeated.
    retried: Vec<Retry>,
    #[serde(flatten)]
    facts: Option<Facts>,
    boots: &'a [Report],
}

/// Runs it.
///
/// # Errors
/// If a test fails, or the lab cannot run it.
pub fn test(args: &TestArgs) -> Result<()> {
    let start = Instant::now();
    let tree = find_tree()?;
    let pattern = args.pattern.as_deref();
    let mut boots = suites::load(&tree)?;
    boots.retain(|b| {
        suites::is_chosen(&b.name(), pattern)
            && (args.kernel.is_empty() || args.kernel.contains(&b.kernel))
    });
    let host = suites::is_chosen(HOST, pattern);
    let mut migrations = suite::chosen(pattern, &args.kernel);
    if args.list {
        if host {
            println!("{HOST}");
        }
        let boots = boots
            .iter()
            .map(|b| (b.name(), b.left_out(pattern, &args.kernel)));
        let migrations = migrations.iter().map(|c| (c.name(), c.left_out(pattern)));
        for (name, why) in boots.chain(migrations) {
            match why {
                None => println!("{name}"),
                Some(why) => println!("{name}  # left out: {why}"),
            }
        }
        return Ok(());
    }
    // Whoever names a boot wants to see it; a run of more than that says what it left out.
    let mut skipped = Vec::new();
    boots.retain(|b| {
        let why = b.left_out(pattern, &args.kernel);
        // The same boot with another kernel is no test that was left out.
        let told = why.filter(|why| *why != suites::OTHER_KERNEL);
        skipped.extend(told.map(|why| left_out(b.name(), why)));
        why.is_none()
    });
    migrations.retain(|c| {
        let why = c.left_out(pattern);
        skipped.extend(why.map(|why| left_out(c.name(), why)));
        why.is_none()
    });
    if boots.is_empty() && migrations.is_empty() && !host {
        bail!(
            "nothing is called {}: `cargo lab test --list` shows what there is",
            pattern.unwrap_or_default()
        );
    }
    let mut reports = Vec::new();
    if host {
        reports.push(host_tests(&tree)?);
    }
    if !boots.is_empty() {
        reports.extend(boot_all(&boots, args.cpus)?);
    }
    if !migrations.is_empty() {
        reports.extend(suite::run_all(&migrations)?);
    }
    reports.extend(skipped);
    sum_up(
        &reports,
        args.json.as_deref(),
        start.elapsed().as_secs_f64(),
    )
}

fn left_out(name: String, why: &str) -> Report {
    println!("[{name}] # SKIP left out: {why}");
    Report {
        results: vec![TestResult {
            name: "all of it".into(),
            status: Status::Skip,
            comment: format!("left out: {why}"),
        }],
        name,
        seconds: 0.0,
        faults: vec![],
    }
}

fn sum_up(reports: &[Report], json: Option<&Path>, seconds: f64) -> Result<()> {
    let count = |s| reports.iter().map(|r| r.count(s)).sum::<usize>();
    let (passed, failed, skipped) = (
        count(Status::Pass),
        count(Status::Fail),
        count(Status::Skip),
    );
    println!();
    for r in reports {
        println!(
            "{}: {} passed, {} failed, {} skipped in {:.0} s",
            r.name,
            r.count(Status::Pass),
            r.count(Status::Fail),
            r.count(Status::Skip),
            r.seconds
        );
    }
    let failures: Vec<(&Report, &TestResult)> = reports
        .iter()
        .flat_map(|r| r.results.iter().map(move |t| (r, t)))
        .filter(|(_, t)| t.status == Status::Fail)
        .collect();
    for (r, t) in &failures {
        println!("FAILED [{}] {}: {}", r.name, t.name, t.comment);
    }
    if let Some(path) = json {
        let summary = Summary {
            passed,
            failed,
            skipped,
            seconds,
            retried: retry::all(),
            facts: facts(),
            boots: reports,
        };
        std::fs::write(path, serde_json::to_string_pretty(&summary)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    retry::print();
    if let Some(facts) = facts() {
        println!("{facts}");
    }
    // Comments can have pages, and who reads a log from its end wants to know what failed.
    for (r, t) in &failures {
        let comment = t.comment.lines().next().unwrap_or_default();
        println!(
            "failed: [{}] {}: {}",
            r.name,
            t.name,
            first_chars(comment, 200)
        );
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 {
        bail!("{failed} tests failed");
    }
    if passed == 0 {
        bail!("no test passed");
    }
    Ok(())
}

/// The first `count` characters of a text.
fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices()
        .nth(count)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

fn boot_all(boots: &[Boot], cpus: Option<u32>) -> Result<Vec<Report>> {
    let flavours: BTreeSet<Flavour> = boots.iter().map(|b| b.kernel).collect();
    let flavours = Vec::from_iter(flavours);
    let lab = Lab::open(&flavours)?;
    let mut kernels: BTreeMap<Flavour, Kernel> = BTreeMap::new();
    for flavour in flavours {
        kernels.insert(flavour, lab.kernel(flavour)?);
    }
    let mut products = BTreeMap::new();
    for (flavour, kernel) in kernels {
        let mut mine = boots.iter().filter(|b| b.kernel == flavour);
        let ours = mine.any(|b| b.drivers.0 == Drivers::Rust || b.drivers.1 == Drivers::Rust);
        products.insert(
            flavour,
            Products {
                modules: if ours {
                    Some(lab.modules(&kernel)?)
                } else {
                    None
                },
                selftests: {
                    let installed = install(&lab, &kernel)?;
                    let of = |b: &&Boot| b.kernel == flavour;
                    if boots.iter().filter(of).any(needs_host_tool) {
                        let tool = initramfs::host_tool(&lab.cache, &lab.tree)?;
                        let to = installed.join("drivers/net/ixgbe/ixgbe-migrate");
                        std::fs::copy(tool, &to)
                            .with_context(|| format!("installing {}", to.display()))?;
                    }
                    installed
                },
                packages: if boots.iter().any(|b| b.kernel == flavour && b.packages) {
                    Some(package::for_hosts(&lab.cache, &lab.tree, &kernel, false)?)
                } else {
                    None
                },
                dpdk: if boots.iter().any(|b| b.kernel == flavour && b.dpdk) {
                    Some(rootfs::with_dpdk(&lab.cache)?)
                } else {
                    None
                },
                kernel,
            },
        );
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let room = Room::new(cpus.map_or_else(|| u32::try_from(cores.saturating_mul(4)), Ok)?);
    let done = Mutex::new(Vec::new());
    thread::scope(|s| {
        for (i, boot) in in_turn(boots) {
            // In this order: one that is large is not overtaken until all others are through.
            let place = room.take(boot.cpus);
            let (lab, products, done) = (&lab, &products, &done);
            s.spawn(move || {
                let _place = place;
                let report = match products.get(&boot.kernel) {
                    Some(p) => runner::run(lab, boot, p),
                    None => {
                        Report::broken(&boot.name(), &anyhow::anyhow!("its kernel was not built"))
                    }
                };
                done.lock().push((i, report));
            });
        }
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(i, _)| *i);
    Ok(done.into_iter().map(|(_, r)| r).collect())
}

/// The boots with their numbers, those with the most results first: a long one that begins last runs alone at the end.
fn in_turn(boots: &[Boot]) -> Vec<(usize, &Boot)> {
    let mut all: Vec<_> = boots.iter().enumerate().collect();
    all.sort_by_key(|(_, boot)| Reverse(boot.results));
    all
}

/// Processors of hosts that may run side by side. Many more than the machine has make all of them slow: a processor that
/// waits for a lock, or for an answer of another one, spins while that one does not run.
struct Room {
    all: u32,
    free: Mutex<u32>,
    freed: Condvar,
}

/// What a host has of a [`Room`], until it is dropped.
struct Place<'a> {
    room: &'a Room,
    cpus: u32,
}

impl Room {
    fn new(all: u32) -> Self {
        Self {
            all,
            free: Mutex::new(all),
            freed: Condvar::new(),
        }
    }

    /// Waits until there are `cpus` of them, or all where that is more.
    fn take(&self, cpus: u32) -> Place<'_> {
        let cpus = cpus.min(self.all);
        let mut free = self.free.lock();
        self.freed.wait_while(&mut free, |free| *free < cpus);
        *free -= cpus;
        Place { room: self, cpus }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.room.free.lock() += self.cpus;
        self.room.freed.notify_all();
    }
}

/// Whether a boot has the test of `ixgbe-migrate`, which is installed beside it.
fn needs_host_tool(boot: &Boot) -> bool {
    boot.tests.iter().any(|t| t.ends_with("/hosttool.py"))
}

/// Installs the tests with the kernel's parts on which they stand, for hosts to share. Each checkout has its own.
pub(crate) fn install(lab: &Lab, kernel: &Kernel) -> Result<PathBuf> {
    let id = crate::cache::Key::new("selftests", 1)
        .text("tree", &lab.tree.display().to_string())
        .text("kernel", &kernel.source.display().to_string())
        .finish();
    let name = format!("selftests-{}", id.get(..8).unwrap_or(&id));
    let build = lab.cache.path("build").join(&name);
    let installed = build.join("installed");
    std::fs::create_dir_all(&installed)?;
    let _lock = lab.cache.lock(&name)?;
    let mut cmd = command("make");
    cmd.arg("-C")
        .arg(lab.tree.join("tools/testing/selftests"))
        .arg(format!("KSRC={}", kernel.source.display()))
        .arg(format!("BUILD={}", build.display()))
        .arg(format!("INSTALL_PATH={}", installed.display()))
        .args([MAKE_LLVM, &kernel::jobs(), "install"]);
    run_logged(
        "installing the tests",
        &lab.cache.path(format!("logs/{name}.log")),
        cmd,
    )?;
    Ok(installed)
}

/// The packages in parts. What a part depends on is compiled with the features that its packages ask for together: the lab, tested
/// by itself, is what runs already, and the rest is not compiled again for what its tests alone ask for.
const HOST_PARTS: [&[&str]; 2] = [
    &["--package=lab", "--package=lab-agent"],
    &[
        "--workspace",
        "--exclude=lab",
        "--exclude=lab-agent",
        "--exclude=ixgbe-model-bench",
    ],
];

/// Runs `cargo test` and takes its results as the suite `host`.
fn host_tests(tree: &Path) -> Result<Report> {
    let start = Instant::now();
    let mut results = Vec::new();
    for part in HOST_PARTS {
        results.extend(host_part(tree, part)?);
    }
    Ok(Report {
        name: HOST.into(),
        seconds: start.elapsed().as_secs_f64(),
        results,
        faults: vec![],
    })
}

/// Runs `cargo test` for some of the packages.
fn host_part(tree: &Path, packages: &[&str]) -> Result<Vec<TestResult>> {
    let mut cmd = command("cargo");
    cmd.args(["test", "--release", "--locked", "--no-fail-fast"])
        .args(packages)
        .current_dir(tree)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = Child::spawn(cmd)?;
    let out = child.take_stdout().context("cargo's output")?;
    let mut results = Vec::new();
    for line in BufReader::new(out).lines() {
        let line = line?;
        println!("[{HOST}] {line}");
        results.extend(host_result(&line));
    }
    let status = child.wait()?;
    if !status.success()
        && results
            .iter()
            .all(|r: &TestResult| r.status != Status::Fail)
    {
        results.push(TestResult {
            name: format!("cargo test {}", packages.join(" ")),
            status: Status::Fail,
            comment: status.to_string(),
        });
    }
    Ok(results)
}

/// A line of libtest: `test ring::tests::wraps ... ok`.
fn host_result(line: &str) -> Option<TestResult> {
    let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let status = match end.split([',', ' ']).next()? {
        "ok" => Status::Pass,
        "FAILED" => Status::Fail,
        "ignored" => Status::Skip,
        _ => return None,
    };
    Some(TestResult {
        name: name.to_owned(),
        status,
        comment: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_libtest() {
        let status = |l| host_result(l).map(|r| r.status);
        assert_eq!(status("test a::b ... ok"), Some(Status::Pass));
        assert_eq!(status("test a::b ... FAILED"), Some(Status::Fail));
        assert_eq!(
            status("test a::b ... ignored, needs a kernel"),
            Some(Status::Skip)
        );
        assert_eq!(status("test result: ok. 3 passed"), None);
        assert_eq!(status("running 3 tests"), None);
    }

    #[test]
    fn hosts_run_while_there_is_room() {
        let room = Room::new(8);
        let (a, b) = (room.take(4), room.take(4));
        assert_eq!(*room.free.lock(), 0);
        drop(a);
        let c = room.take(2);
        assert_eq!(*room.free.lock(), 2);
        drop((b, c));
        // One that is larger than the room has all of it.
        let d = room.take(16);
        assert_eq!(*room.free.lock(), 0);
        drop(d);
        assert_eq!(*room.free.lock(), 8);
    }

    #[test]
    fn long_boots_begin_first() -> Result<()> {
        let boots = suites::load(&find_tree()?)?;
        let turn = in_turn(&boots);
        let results: Vec<_> = turn.iter().map(|(_, boot)| boot.results).collect();
        assert!(results.windows(2).all(|w| w.first() >= w.last()));
        assert!(results.first().is_some_and(|r| *r > Some(100)));
        // None is lost, and each keeps its number.
        let mut numbers: Vec<_> = turn.iter().map(|(i, _)| *i).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..boots.len()));
        Ok(())
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(first_chars("abc", 2), "ab");
        assert_eq!(first_chars("ab", 2), "ab");
        assert_eq!(first_chars("äöü", 2), "äö");
    }

    #[test]
    fn a_failure_fails_the_run_and_so_does_nothing_at_all() {
        let report = |statuses: &[Status]| Report {
            name: "x".into(),
            seconds: 1.0,
            faults: vec![],
            results: statuses
                .iter()
                .map(|s| TestResult {
                    name: "t".into(),
                    status: *s,
                    comment: String::new(),
                })
                .collect(),
        };
        assert!(sum_up(&[report(&[Status::Pass, Status::Skip])], None, 1.0).is_ok());
        assert!(sum_up(
            &[report(&[Status::Pass]), report(&[Status::Fail])],
            None,
            1.0
        )
        .is_err());
        assert!(sum_up(&[report(&[Status::Skip])], None, 1.0).is_err());
    }
}
