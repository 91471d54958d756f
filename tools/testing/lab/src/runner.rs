// SPDX-License-Identifier: GPL-2.0
//! Runs one boot of a suite: the host, its test programs, its kernel log, and what it leaves behind.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use lab_agent::{Exit, Run};
use serde::Serialize;

use crate::cache::tail;
use crate::guest::{Event, Guest};
use crate::kernel::{Flavour, Kernel};
use crate::klog::{self, Scanner};
use crate::ktap::{Parser, Status, TestResult};
use crate::lab::{Drivers, HostSpec, Lab};
use crate::package;
use crate::process::TempDir;
use crate::station::{control, Station, V4};
use crate::suites::Boot;
use crate::switch::Switch;
use crate::vm::Vm;

/// How many times longer the debug kernel may take.
const DEBUG_FACTOR: u64 = 6;

/// What a boot needs that is shared with others.
pub struct Products {
    /// The kernel.
    pub kernel: Kernel,
    /// This project's modules for it, where a driver of the boot is ours.
    pub modules: Option<PathBuf>,
    /// The installed tests.
    pub selftests: PathBuf,
    /// This project's packages and the image of a bare Debian, where a boot wants them.
    pub packages: Option<(PathBuf, PathBuf)>,
    /// The image of a host with DPDK, where a boot wants it.
    pub dpdk: Option<PathBuf>,
}

/// What came of one boot.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Wall-clock time.
    pub seconds: f64,
    /// Results of the tests and of the lab's own checks.
    pub results: Vec<TestResult>,
    /// Faults in the kernel log, each with the lines that follow it.
    pub faults: Vec<String>,
}

fn result(name: &str, failure: Option<String>) -> TestResult {
    match failure {
        Some(comment) => TestResult {
            name: name.into(),
            status: Status::Fail,
            comment,
        },
        None => TestResult {
            name: name.into(),
            status: Status::Pass,
            comment: String::new(),
        },
    }
}

impl Report {
    /// A boot that could not even start.
    pub fn broken(name: &str, error: &anyhow::Error) -> Self {
        Self {
            name: name.into(),
            seconds: 0.0,
            results: vec![result("boot", Some(format!("{error:#}")))],
            faults: vec![],
        }
    }

    /// Number of results of a kind.
    pub fn count(&self, status: Status) -> usize {
        self.results.iter().filter(|r| r.status == status).count()
    }
}

/// Lines of output go to the terminal whole, each with the boot that it belongs to.
fn say(boot: &Boot, line: &str) {
    println!("[{}] {line}", boot.name());
}

fn module(drivers: Drivers, name: &str) -> String {
    match drivers {
        Drivers::C => name.to_owned(),
        Drivers::Rust => format!("/lab/rust/{name}.ko"),
    }
}

/// Runs a boot. Failures of tests are in the report; an error is one of the lab itself.
pub fn run(lab: &Lab, boot: &Boot, products: &Products) -> Report {
    let start = Instant::now();
    let mut report = Report {
        name: boot.name(),
        seconds: 0.0,
        results: vec![],
        faults: vec![],
    };
    if let Err(e) = run_inner(lab, boot, products, &mut report) {
        say(boot, &format!("not ok the lab # {e:#}"));
        report
            .results
            .push(result("the lab", Some(format!("{e:#}"))));
    }
    report.seconds = start.elapsed().as_secs_f64();
    report
}

fn timeout(boot: &Boot) -> Duration {
    let factor = if boot.kernel == Flavour::Debug {
        DEBUG_FACTOR
    } else {
        1
    };
    Duration::from_secs(boot.timeout_s.saturating_mul(factor))
}

fn run_inner(lab: &Lab, boot: &Boot, products: &Products, report: &mut Report) -> Result<()> {
    let unmet = unmet(boot, products.modules.as_deref(), &products.selftests);
    if !unmet.is_empty() {
        let comment = unmet.join("; ");
        say(boot, &format!("not ok requirements # {comment}"));
        report.results.push(result("requirements", Some(comment)));
        return Ok(());
    }
    let dir = TempDir::new()?;
    let switch = Switch::new(None);
    let station = Station::start(&switch);
    let mut spec = HostSpec::new(1);
    spec.head = boot.head;
    spec.chips.clone_from(&boot.chips);
    spec.cpus = boot.cpus;
    spec.cards = boot.cards;
    spec.memory_mib = boot.memory_mib;
    spec.properties.clone_from(&boot.device);
    spec.modules.clone_from(&products.modules);
    spec.selftests = Some(products.selftests.clone());
    if boot.packages {
        let (packages, root) = products
            .packages
            .as_ref()
            .context("there are no packages")?;
        spec.packages = Some(packages.clone());
        spec.root = Some(root.clone());
    }
    if boot.dpdk {
        spec.root.clone_from(&products.dpdk);
    }
    if !boot.cmdline.is_empty() {
        spec.cmdline.clone_from(&boot.cmdline);
    }
    if boot.kernel == Flavour::Debug {
        spec.memory_mib *= 2;
    }
    // Every test may use its time up; the machine itself has as much, and some for its own.
    spec.deadline = timeout(boot) * u32::try_from(boot.tests.len())? + Duration::from_secs(300);
    let vm = lab.boot(&spec, &products.kernel, &switch, &dir)?;
    control::serve(
        vm.station.try_clone()?,
        station,
        switch.clone(),
        vm.cards.clone(),
        vm.qmp.clone(),
    )?;
    for test in &boot.tests {
        match run_test(boot, &vm.guest, test) {
            Ok(results) => report.results.extend(results),
            Err(e) => {
                let comment = format!("{e:#}\n{}", tail(&vm.console, 30));
                say(boot, &format!("not ok {test} # {comment}"));
                report.results.push(result(test, Some(comment)));
                let path = log_path(lab, boot, "cpus");
                std::fs::write(&path, vm.processor_state()?)
                    .with_context(|| format!("writing {}", path.display()))?;
                say(
                    boot,
                    &format!("# state of its processors: {}", path.display()),
                );
                break;
            }
        }
    }
    let tally = tally(boot, &report.results);
    say(
        boot,
        &match &tally {
            None => format!(
                "# results: unset in suites.toml; there are {}, of which {} are skips",
                report.results.len(),
                report.count(Status::Skip)
            ),
            Some(t) if t.status == Status::Pass => format!("ok {}", t.name),
            Some(t) => format!("not ok {} # {}", t.name, t.comment),
        },
    );
    report.results.extend(tally);
    finish(lab, boot, vm, report)
}

/// What a boot needs and this machine has not built: a test that cannot run must not look like one that was skipped.
fn unmet(boot: &Boot, modules: Option<&Path>, selftests: &Path) -> Vec<String> {
    let mut unmet = Vec::new();
    for test in &boot.tests {
        let program = test.split_whitespace().next().unwrap_or_default();
        if !selftests.join(program).is_file() {
            unmet.push(format!("{program} is not installed"));
        }
    }
    for (drivers, name) in [
        (boot.drivers.0, boot.drivers.0.pf()),
        (boot.drivers.1, boot.drivers.1.vf()),
        (boot.drivers.0, "ixgbe-vfio-pci"),
    ] {
        let file = format!("{name}.ko");
        let built = modules.is_some_and(|dir| dir.join(&file).is_file());
        if drivers == Drivers::Rust && !built {
            unmet.push(format!("{file} was not built"));
        }
    }
    unmet
}

/// Whether the programs of a boot had as many results, and skips among them, as `suites.toml` says; `None` where it says nothing.
fn tally(boot: &Boot, results: &[TestResult]) -> Option<TestResult> {
    let want = (boot.results?, boot.skips.unwrap_or_default());
    let skips = || results.iter().filter(|r| r.status == Status::Skip);
    let have = (results.len(), skips().count());
    let failure = (have != want).then(|| {
        let names: Vec<&str> = skips().map(|r| r.name.as_str()).collect();
        format!(
            "{} results with {} skips, and not {} with {}; skipped: {}",
            have.0,
            have.1,
            want.0,
            want.1,
            names.join(", ")
        )
    });
    Some(result("as many results as expected", failure))
}

fn program_of(test: &str) -> (String, String) {
    let path = Path::new(test);
    let dir = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    (
        format!("/lab/selftests/{}", dir.display()),
        format!("./{name}"),
    )
}

fn run_test(boot: &Boot, guest: &Guest, test: &str) -> Result<Vec<TestResult>> {
    let mut words = test.split_whitespace();
    let (cwd, program) = program_of(words.next().unwrap_or_default());
    let env = [
        ("KSFT_DIR", "/lab/selftests".to_owned()),
        (
            "KSFT_PF_MODULE",
            module(boot.drivers.0, boot.drivers.0.pf()),
        ),
        (
            "KSFT_VF_MODULE",
            module(boot.drivers.1, boot.drivers.1.vf()),
        ),
        ("KSFT_VFIO_MODULE", module(boot.drivers.0, "ixgbe-vfio-pci")),
        ("PF_MODULE", package::PF.to_owned()),
        ("VF_MODULE", package::VF.to_owned()),
        ("VFIO_MODULE", package::VFIO.to_owned()),
        ("STATION_V4", V4.to_string()),
        ("LAB_HEAD_WRITE", boot.head.name().to_owned()),
        // The share is read-only; compiling the libraries again for each test would take seconds each time.
        ("PYTHONPYCACHEPREFIX", "/run/pycache".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        // Here everything that a test may need was built: what is not there is a fault and no reason to skip.
        ("KSFT_STRICT", "1".to_owned()),
    ];
    // As the kernel's own CI tells its tests of a debug kernel.
    let slow = (boot.kernel == Flavour::Debug).then(|| ("KSFT_MACHINE_SLOW", "1".to_owned()));
    let limit = timeout(boot);
    let run = Run {
        argv: std::iter::once(program)
            .chain(words.map(String::from))
            .collect(),
        env: env
            .into_iter()
            .chain(slow)
            .map(|(k, v)| (k.to_owned(), v))
            .collect(),
        cwd: Some(cwd),
        pty: None,
        timeout_ms: Some(u64::try_from(limit.as_millis())?),
    };
    let start = Instant::now();
    let command = guest.start(&run)?;
    command.close_stdin()?;
    let mut parser = Parser::default();
    let mut output = Lines::default();
    let mut errors = Lines::default();
    let mut last_errors = Vec::new();
    let end = Instant::now() + limit + Duration::from_secs(30);
    let exit = loop {
        match command
            .events
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            Ok(Event::Stdout(b)) => {
                for line in output.take(&b) {
                    parser.line(&line);
                    say(boot, &line);
                }
            }
            Ok(Event::Stderr(b)) => {
                for line in errors.take(&b) {
                    say(boot, &format!("# {line}"));
                    last_errors.push(line);
                }
            }
            Ok(Event::Exit(e)) => break e,
            Err(RecvTimeoutError::Timeout) => bail!("the host does not answer"),
            Err(RecvTimeoutError::Disconnected) => bail!("the host ended during {test}"),
        }
    };
    if let Some(line) = output.rest() {
        parser.line(&line);
        say(boot, &line);
    }
    let mut results = parser.finish();
    if results.is_empty() && exit.code == Some(KSFT_SKIP) {
        results.push(TestResult {
            name: "exit".into(),
            status: Status::Skip,
            comment: "it gave no reason".into(),
        });
    }
    let failed = results.iter().any(|r| r.status == Status::Fail);
    if let Some(why) = verdict(&exit, results.is_empty(), failed, limit) {
        let mut comment = why;
        for l in last_errors.iter().rev().take(5).rev() {
            let _ = write!(comment, "; {l}");
        }
        say(boot, &format!("not ok {test} # {comment}"));
        results.push(result("exit", Some(comment)));
    }
    for r in &mut results {
        // ksft names a case after its file already.
        r.name = format!("{test} {}", r.name);
    }
    say(
        boot,
        &format!("# {test}: {:.1} s", start.elapsed().as_secs_f64()),
    );
    Ok(results)
}

/// Exit status of a kselftest that could not run.
const KSFT_SKIP: i32 = 4;

/// What is wrong with a program's end, given what it reported.
fn verdict(exit: &Exit, silent: bool, failed: bool, limit: Duration) -> Option<String> {
    if let Some(e) = &exit.error {
        return Some(format!("it could not be started: {e}"));
    }
    if exit.timed_out {
        return Some(format!("it was killed after {} s", limit.as_secs()));
    }
    if let Some(s) = exit.signal {
        return Some(format!("signal {s} ended it"));
    }
    match (exit.code, silent, failed) {
        (Some(KSFT_SKIP), ..) => None,
        (Some(0), true, _) => Some("it reported no result".into()),
        (Some(0), ..) | (Some(_), _, true) => None,
        (code, ..) => Some(format!("exit status {code:?} though no test failed")),
    }
}

/// Cuts a stream of bytes into lines.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(bytes);
        let Some(end) = self.0.iter().rposition(|b| *b == b'\n') else {
            return vec![];
        };
        let rest = self.0.split_off(end + 1);
        let whole = std::mem::replace(&mut self.0, rest);
        String::from_utf8_lossy(&whole)
            .lines()
            .map(ToOwned::to_owned)
            .collect()
    }

    fn rest(&mut self) -> Option<String> {
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.0)).into_owned();
        (!text.is_empty()).then_some(text)
    }
}

/// Where something that is kept of a boot goes.
fn log_path(lab: &Lab, boot: &Boot, what: &str) -> PathBuf {
    let name = boot.name().replace(['/', ' '], "_");
    lab.cache.path(format!("logs/{what}-{name}.log"))
}

/// The lab's own checks after the tests: leaked processes, leaked memory, the kernel log.
fn finish(lab: &Lab, boot: &Boot, mut vm: Vm, report: &mut Report) -> Result<()> {
    if vm.is_running() {
        let left = processes(&vm.guest)?;
        report.results.push(result(
            "no process is left",
            (!left.is_empty()).then_some(left),
        ));
        if boot.kernel == Flavour::Debug {
            // Twice: an object is suspected only if a second scan does not find it either.
            // It cannot be asked any more after it has turned itself off, for want of memory.
            let scan = "cd /sys/kernel/debug && echo scan >kmemleak && sleep 6 && echo scan >kmemleak && cat kmemleak";
            let leaks = vm.guest.sh(scan, Duration::from_secs(300))?.ok()?;
            let leaks = leaks.trim();
            report.results.push(result(
                "no memory is leaked",
                (!leaks.is_empty()).then(|| leaks.to_owned()),
            ));
        }
    }
    let flushed = if vm.is_running() {
        vm.guest.flush_log(Duration::from_secs(60))
    } else {
        Ok(())
    };
    let log = vm.guest.kernel_log(0);
    let path = log_path(lab, boot, "kmsg");
    klog::save(&path, &log)?;
    let mainline = [Drivers::C.pf(), Drivers::C.vf()];
    report.faults = Scanner::new()?.without_errors_of(&mainline).scan(&log);
    if let Err(e) = flushed {
        let why = format!("the end of the kernel log did not come: {e:#}");
        report.faults.push(why);
    }
    if !vm.is_running() {
        // The agent did not see the end: what the console has of it counts.
        report.faults.push(format!(
            "the host ended by itself; its console:\n{}",
            tail(&vm.console, 40)
        ));
    }
    for f in &report.faults {
        say(boot, &format!("# kernel: {}", f.replace('\n', "\n#   ")));
    }
    let failure = report.faults.first().map(|f| {
        let first = f.lines().next().unwrap_or_default();
        format!(
            "{} reports, the first: {first}; see {}",
            report.faults.len(),
            path.display()
        )
    });
    let clean = result("kernel log is clean", failure);
    say(
        boot,
        &format!(
            "{} {}",
            if clean.status == Status::Pass {
                "ok"
            } else {
                "not ok"
            },
            clean.name
        ),
    );
    report.results.push(clean);
    vm.shut_down()
}

/// Processes that do not end within a minute. One that the kernel starts, for a module that it wants, may run for a moment.
fn processes(guest: &Guest) -> Result<String> {
    let minute = Duration::from_secs(60);
    let end = Instant::now() + minute;
    loop {
        let left = guest.run(&["/lab-agent", "processes"], minute)?.ok()?;
        if left.trim().is_empty() || Instant::now() > end {
            return Ok(left.trim().to_owned());
        }
        thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chip::Chips;
    use crate::lab::Head;

    fn boot(results: Option<usize>, skips: Option<usize>) -> Boot {
        Boot {
            suite: "s".into(),
            boot: "b".into(),
            head: Head::Value,
            chips: Chips::default(),
            kernel: Flavour::Release,
            first_kernel: true,
            cmdline: String::new(),
            device: String::new(),
            cpus: 1,
            cards: 1,
            memory_mib: 1,
            drivers: (Drivers::Rust, Drivers::C),
            timeout_s: 1,
            long: false,
            packages: false,
            dpdk: false,
            results,
            skips,
            tests: vec!["vfio/a argument".into()],
        }
    }

    #[test]
    fn a_skip_that_nobody_expected_fails_the_boot() {
        let results: Vec<TestResult> = [Status::Pass, Status::Skip]
            .map(|status| TestResult {
                name: "t".into(),
                status,
                comment: String::new(),
            })
            .to_vec();
        let of =
            |results_wanted, skips| tally(&boot(results_wanted, skips), &results).map(|t| t.status);
        assert_eq!(of(None, None), None);
        assert_eq!(of(Some(2), Some(1)), Some(Status::Pass));
        assert_eq!(of(Some(2), None), Some(Status::Fail));
        assert_eq!(of(Some(3), Some(1)), Some(Status::Fail));
    }

    #[test]
    fn what_a_boot_needs_is_known_before_it() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let unmet = || unmet(&boot(None, None), Some(dir.path()), dir.path());
        assert_eq!(unmet().len(), 3);
        std::fs::create_dir(dir.path().join("vfio"))?;
        for file in ["vfio/a", "ixgbe_rust.ko", "ixgbe-vfio-pci.ko"] {
            std::fs::write(dir.path().join(file), "")?;
        }
        assert_eq!(unmet(), Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn output_is_cut_at_line_ends() {
        let mut l = Lines::default();
        assert_eq!(l.take(b"ok 1 a\nok"), ["ok 1 a"]);
        assert!(l.take(b" 2").is_empty());
        assert_eq!(l.take(b" b\nok 3 c\n"), ["ok 2 b", "ok 3 c"]);
        assert_eq!(l.take(b"tail"), Vec::<String>::new());
        assert_eq!(l.rest().as_deref(), Some("tail"));
        assert_eq!(l.rest(), None);
    }

    #[test]
    fn an_end_that_hides_a_failure_is_one() {
        let limit = Duration::from_secs(9);
        let exit = |code| Exit {
            code,
            ..Exit::default()
        };
        assert_eq!(verdict(&exit(Some(0)), false, false, limit), None);
        assert_eq!(verdict(&exit(Some(1)), false, true, limit), None);
        assert_eq!(verdict(&exit(Some(4)), true, false, limit), None);
        assert!(verdict(&exit(Some(1)), false, false, limit).is_some());
        assert!(verdict(&exit(Some(0)), true, false, limit).is_some());
        assert!(verdict(
            &Exit {
                timed_out: true,
                ..exit(None)
            },
            false,
            false,
            limit
        )
        .is_some());
        assert!(verdict(
            &Exit {
                signal: Some(11),
                ..exit(None)
            },
            false,
            false,
            limit
        )
        .is_some());
    }
}
