// SPDX-License-Identifier: GPL-2.0
//! `cargo lab migrate`: a running VM moves with its VF from one emulated host to another, to and fro, while the station talks
//! to it.

pub mod host;
pub mod inner;
pub mod report;
pub mod suite;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use self::host::{Host, Preparation, PORT};
use self::inner::{Card, Inner, ADDRESS, MAC};
use self::report::{Report, Round};
use crate::capture::Capture;
use crate::initramfs;
use crate::kernel::{self, Flavour, Kernel};
use crate::klog::Scanner;
use crate::lab::{Drivers, Head, HostSpec, Lab};
use crate::process::TempDir;
use crate::qmp::Refused;
use crate::station::control::parse_mac;
use crate::station::{FlowSpec, Station, V4};
use crate::switch::Switch;

/// What the station and the VM say to each other meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Traffic {
    /// Numbered datagrams, each echoed by the VM.
    Udp,
    /// A TCP stream from the VM, and few datagrams to measure by.
    Tcp,
    /// Few datagrams to measure by.
    None,
}

/// Options of `cargo lab migrate`.
#[derive(Args, Debug, Clone)]
pub struct MigrateArgs {
    /// Driver of the VF in the VM: this project's, or mainline's.
    #[arg(long, value_enum, default_value = "rust")]
    guest: Drivers,
    /// What the model does with a write to a ring's head.
    #[arg(long, value_enum, default_value = "value")]
    head: Head,
    /// Traffic during the migration.
    #[arg(long, value_enum, default_value = "udp")]
    traffic: Traffic,
    /// How many migrations, to and fro.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw round-trip times and gaps around the last switch-over.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Which kernel.
    #[arg(long, value_enum, default_value = "release")]
    kernel: Flavour,
    /// Datagrams per second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    rate: u32,
    /// Force the way in which heads are restored: write, rearm or reset.
    #[arg(long)]
    restore: Option<String>,
    /// Write every frame on the switch to this file.
    #[arg(long, value_name = "FILE.pcapng")]
    capture: Option<PathBuf>,
}

/// What an experiment needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The VM's card.
    pub card: Card,
    /// The VM's driver.
    pub guest: Drivers,
    /// Head policy of the model.
    pub head: Head,
    /// Traffic.
    pub traffic: Traffic,
    /// Migrations.
    pub rounds: u32,
    /// Kernel.
    pub kernel: Flavour,
    /// Datagrams per second.
    pub rate: u32,
    /// Forced way of restore.
    pub restore: Option<&'a str>,
    /// Whether the VF may be migrated.
    pub migratable: bool,
}

/// Runs the command.
///
/// # Errors
/// If a migration fails, or the report shows a fault.
pub fn migrate(args: &MigrateArgs) -> Result<()> {
    let lab = Lab::open()?;
    let plan = Plan {
        card: Card::Vf,
        guest: args.guest,
        head: args.head,
        traffic: args.traffic,
        rounds: args.rounds,
        kernel: args.kernel,
        rate: if args.traffic == Traffic::Udp {
            args.rate
        } else {
            args.rate.min(100)
        },
        restore: args.restore.as_deref(),
        migratable: true,
    };
    let capture = args.capture.as_deref().map(Capture::create).transpose()?;
    let report = run(&lab, &plan, capture)?;
    report.print();
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.plot {
        report.plot(path)?;
    }
    report.verdict()
}

/// Path of a module among a kernel's installed ones, after those that it depends on.
fn mainline_module(kernel: &Kernel, name: &str) -> Result<Vec<PathBuf>> {
    let base = kernel
        .modules
        .join("lib/modules")
        .join(kernel::release(kernel)?);
    let deps = std::fs::read_to_string(base.join("modules.dep")).context("modules.dep")?;
    let file = format!("/{name}.ko");
    let line = deps
        .lines()
        .find(|l| l.split(':').next().is_some_and(|m| m.ends_with(&file)))
        .with_context(|| format!("the kernel has no module {name}"))?;
    let (module, before) = line.split_once(':').context("modules.dep")?;
    // modprobe loads what is listed last first.
    Ok(before
        .split_whitespace()
        .rev()
        .chain([module])
        .map(|m| base.join(m))
        .collect())
}

/// Puts kernel and initramfs of the inner VM into a folder for the hosts, and gives the names of the modules that it loads.
fn make_inner(
    lab: &Lab,
    plan: &Plan<'_>,
    kernel: &Kernel,
    modules: Option<&Path>,
    dir: &Path,
) -> Result<String> {
    std::fs::create_dir_all(dir)?;
    std::fs::copy(&kernel.image, dir.join("vmlinux")).context("copying the inner VM's kernel")?;
    let modules = match (plan.card, plan.guest, modules) {
        (Card::Virtio, ..) => vec![],
        (Card::Vf, Drivers::Rust, Some(ours)) => vec![ours.join("ixgbevf.ko")],
        (Card::Vf, Drivers::Rust, None) => bail!("this project's modules were not built"),
        (Card::Vf, Drivers::C, _) => mainline_module(kernel, "ixgbevf")?,
    };
    initramfs::inner(
        &lab.cache,
        &lab.tree,
        &lab.rootfs.busybox,
        &modules,
        &dir.join("initrd"),
    )?;
    let names: Vec<String> = modules
        .iter()
        .filter_map(|m| Some(m.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    Ok(names.join(","))
}

/// Boots two hosts, runs the VM, and migrates it as planned.
///
/// # Errors
/// If a step fails; faults of the migration itself are in the report.
pub fn run(lab: &Lab, plan: &Plan<'_>, capture: Option<Capture>) -> Result<Report> {
    let kernel = lab.kernel(plan.kernel)?;
    let modules = if plan.card == Card::Vf {
        Some(lab.modules(&kernel)?)
    } else {
        None
    };
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template(
        "{spinner} [{elapsed}] {wide_msg}",
    )?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let say = |text: &str| {
        bar.set_message(text.to_owned());
        if bar.is_hidden() {
            eprintln!("{text}");
        }
    };
    let dir = TempDir::new()?;
    let share = dir.path().join("inner");
    let drivers = make_inner(lab, plan, &kernel, modules.as_deref(), &share)?;
    let switch = Switch::new(capture);
    let station = Station::start(&switch);

    say("booting two hosts");
    let boot = |number: u8| -> Result<Host> {
        let mut spec = HostSpec::new(number);
        spec.head = plan.head;
        spec.modules.clone_from(&modules);
        spec.inner = Some(share.clone());
        spec.memory_mib = if plan.kernel == Flavour::Debug {
            4096
        } else {
            2048
        };
        spec.deadline = Duration::from_secs(600 + 120 * u64::from(plan.rounds));
        let host = Host::new(number, lab.boot(&spec, &kernel, &switch, &dir)?);
        host.prepare(&Preparation {
            card: plan.card,
            restore: plan.restore,
            migratable: plan.migratable,
        })?;
        Ok(host)
    };
    let (one, two) = thread::scope(|s| {
        let two = s.spawn(|| boot(2));
        let one = boot(1);
        (
            one,
            two.join()
                .unwrap_or_else(|_| bail!("the booting thread panicked")),
        )
    });
    let hosts = [one?, two?];

    say("starting the VM on h1");
    let [first, second] = &hosts;
    let mut vm = Inner::start(first, plan.card, &drivers, false)?;
    vm.configure()?;
    let (flow, rate) = start_traffic(plan, &vm, &station)?;

    let mut rounds = Vec::new();
    let boot_id = boot_id(&vm)?;
    for n in 0..plan.rounds {
        let (from, to) = if n % 2 == 0 {
            (first, second)
        } else {
            (second, first)
        };
        say(&format!(
            "migration {} of {}: {} to {}",
            n + 1,
            plan.rounds,
            from.name(),
            to.name()
        ));
        let waiting = Inner::start(to, plan.card, &drivers, true)?;
        let (round, arrived) = one_round(&station, flow, from, to, vm, waiting)?;
        vm = arrived;
        let failed = round.error.is_some();
        rounds.push(round);
        if failed {
            break;
        }
    }
    let alive = boot_id == self::boot_id(&vm).unwrap_or_default();
    say("taking the figures");
    let before = station.stats(flow)?.received;
    thread::sleep(Duration::from_secs(1));
    let answers_at_the_end = station.stats(flow)?.received > before;
    station.stop_flow(flow);
    thread::sleep(Duration::from_millis(500));
    let (_, samples) = station.samples(flow)?;
    let mut faults = Vec::new();
    for h in &hosts {
        let found = Scanner::new()?.scan(&h.vm.guest.kernel_log(0));
        faults.extend(found.into_iter().map(|f| format!("{}: {f}", h.name())));
    }
    if !alive || !answers_at_the_end {
        let at = if plan.rounds % 2 == 0 { first } else { second };
        faults.push(format!("the VM is not well:\n{}", diagnose(at, &vm)));
    }
    faults.extend(
        Scanner::new()?
            .scan(&vm.agent.kernel_log(0))
            .into_iter()
            .map(|f| format!("VM: {f}")),
    );
    let report = Report::new(
        plan,
        rate,
        rounds,
        report::Seen {
            stats: station.stats(flow)?,
            streams: station.streams(),
            samples,
            alive,
            answers_at_the_end,
            faults,
        },
    );
    vm.quit();
    for h in hosts {
        h.vm.shut_down()?;
    }
    bar.finish_and_clear();
    Ok(report)
}

/// What tells a VM that went on from one that started anew.
fn boot_id(vm: &Inner) -> Result<String> {
    vm.agent
        .run(
            &["cat", "/proc/sys/kernel/random/boot_id"],
            Duration::from_secs(30),
        )?
        .ok()
}

/// Starts the VM's half of the traffic and the station's, at a rate at which nothing is lost while nothing migrates: under
/// emulation on a loaded machine the VM may keep up with less than was asked for. Gives the flow and its rate.
///
/// The echo's socket holds seconds of datagrams: a VM that is not scheduled for long during pre-copy then loses none in its own
/// socket, and what is lost was lost on the way.
fn start_traffic(plan: &Plan<'_>, vm: &Inner, station: &Station) -> Result<(u32, u32)> {
    vm.agent
        .sh(
            "echo 8388608 >/proc/sys/net/core/rmem_default; (/init udp-echo >/dev/null 2>&1 </dev/null &)",
            Duration::from_secs(30),
        )?
        .ok()?;
    if plan.traffic == Traffic::Tcp {
        vm.agent
            .sh(
                &format!("(/init tcp-stream {V4} >/dev/null 2>&1 </dev/null &)"),
                Duration::from_secs(30),
            )?
            .ok()?;
    }
    let (mac, to) = (
        parse_mac(MAC)?,
        ADDRESS.parse().context("the VM's address")?,
    );
    let mut rate = plan.rate;
    loop {
        let flow = station.start_flow(FlowSpec {
            mac,
            to,
            rate,
            size: 200,
        })?;
        thread::sleep(Duration::from_secs(3));
        let last = station.next_seq(flow)?;
        thread::sleep(Duration::from_millis(500));
        // The first second is for ARP, and for the VM's code to be translated.
        let lost = station.lost_between(flow, u64::from(rate), last)?.len();
        if lost == 0 && station.stats(flow)?.received > 0 {
            return Ok((flow, rate));
        }
        station.stop_flow(flow);
        if rate <= MIN_RATE {
            bail!(
                "the VM does not answer the station, or not always: {:?}",
                station.stats(flow)?
            );
        }
        rate = (rate / 2).max(MIN_RATE);
    }
}

/// Datagrams per second below which a blackout could not be told from the time between two of them.
const MIN_RATE: u32 = 25;

/// Moves the VM once. What goes wrong with the migration itself is in the round; the VM is then still on the source.
fn one_round(
    station: &Station,
    flow: u32,
    from: &Host,
    to: &Host,
    mut source: Inner,
    mut target: Inner,
) -> Result<(Round, Inner)> {
    let first_seq = station.next_seq(flow)?;
    let begin = Instant::now();
    let parameters = json!({ "max-bandwidth": 1_u64 << 30, "downtime-limit": 300 });
    source.qmp.execute("migrate-set-parameters", parameters)?;
    target.qmp.execute(
        "migrate-incoming",
        json!({ "uri": format!("tcp:0.0.0.0:{PORT}") }),
    )?;
    let mut round = Round {
        from: from.name(),
        to: to.name(),
        ..Round::default()
    };
    let uri = json!({ "uri": format!("tcp:{}:{PORT}", to.address()) });
    if let Err(e) = source.qmp.execute("migrate", uri) {
        if e.downcast_ref::<Refused>().is_none() {
            return Err(e);
        }
        round.error = Some(format!("{e:#}"));
        target.quit();
        return Ok((round, source));
    }
    let info = loop {
        let info = source.qmp.execute("query-migrate", json!({}))?;
        match info.get("status").and_then(Value::as_str) {
            Some("completed" | "failed" | "cancelled") => break info,
            _ if begin.elapsed() > Duration::from_secs(180) => {
                bail!("the migration does not end: {info}")
            }
            _ => thread::sleep(Duration::from_millis(20)),
        }
    };
    round.take_qemu(&info);
    if info.get("status").and_then(Value::as_str) != Some("completed") {
        let desc = info
            .get("error-desc")
            .and_then(Value::as_str)
            .unwrap_or("no reason given");
        round.error = Some(format!(
            "{desc}; source: {}; destination: {}",
            source.said().trim(),
            target.said().trim()
        ));
        target.quit();
        return Ok((round, source));
    }
    let stopped = source.qmp.wait_event("STOP", Duration::from_secs(10))?;
    let resumed = target.qmp.wait_event("RESUME", Duration::from_secs(60))?;
    // What is still under way after the VM runs again, and the first gap's end.
    let last_seq = station.next_seq(flow)?;
    let settled = settle(station, flow, last_seq)?;
    round.take_station(station, flow, first_seq..station.next_seq(flow)?, begin)?;
    round.stop_at_ms = ms(stopped.saturating_duration_since(begin));
    round.run_at_ms = ms(resumed.saturating_duration_since(begin));
    round.take_driver(&from.figures()?, &to.figures()?);
    if !settled {
        round.error = Some(format!(
            "the VM does not answer from {}:\n{}",
            to.name(),
            diagnose(to, &target)
        ));
    }
    source.quit();
    Ok((round, target))
}

/// Waits until the flow runs as before: some datagrams sent after `seq` came back, and the last ones had time to. Gives
/// whether it does.
fn settle(station: &Station, flow: u32, seq: u64) -> Result<bool> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let now = station.next_seq(flow)?;
        if now > seq + 20 && station.lost_between(flow, now - 20, now)?.len() < 10 {
            thread::sleep(Duration::from_millis(300));
            return Ok(true);
        }
        if Instant::now() > end {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What helps to understand why a VM that has arrived does not answer.
fn diagnose(to: &Host, vm: &Inner) -> String {
    let limit = Duration::from_secs(20);
    let vm_state = "grep -E 'CPU|eth0|ixgbevf|virtio' /proc/interrupts; cd /sys/class/net/eth0/statistics; grep . rx_packets \
                    tx_packets rx_dropped rx_errors; dmesg | tail -n 5";
    let host_state = "ip -s -s link; for n in $(ls /sys/bus/pci/devices/0000:01:00.0/net); do ethtool -S $n | grep -v ': 0'; done; \
                      grep vfio /proc/interrupts; dmesg | tail -n 10";
    let said = |what: &str, out: Result<crate::guest::Output>| match out {
        Ok(o) => format!("{what}:\n{}{}", o.stdout, o.stderr),
        Err(e) => format!("{what}: {e:#}\n"),
    };
    said("in the VM", vm.agent.sh(vm_state, limit))
        + &said(
            "a second later",
            vm.agent.sh(&format!("sleep 1; {vm_state}"), limit),
        )
        + &said("in the host", to.vm.guest.sh(host_state, limit))
        + &said(
            "the VM's console",
            to.vm
                .guest
                .sh("tail -n 25 $(ls -t /run/vm*.console | head -n 1)", limit),
        )
        + &format!("QEMU says: {}", vm.said())
}

/// A duration in milliseconds, to 0.1.
fn ms(d: Duration) -> f64 {
    (d.as_secs_f64() * 10_000.0).round() / 10.0
}
