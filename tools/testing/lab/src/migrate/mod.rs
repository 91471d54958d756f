// SPDX-License-Identifier: GPL-2.0
//! `cargo lab migrate`: a running VM moves with its VF from one emulated host to another, to and fro, while the station talks
//! to it.

mod bridge;
mod diagnose;
mod events;
pub mod host;
pub mod inner;
mod judge;
pub mod killed;
pub mod libvirt;
mod logs;
pub mod loss;
pub mod modes;
mod packages;
pub mod pair;
mod random;
mod rate;
pub mod refusals;
pub mod report;
pub mod rounds;
pub mod spec;
pub mod starts;
mod streams;
pub mod suite;
pub mod together;
pub mod trials;
mod troubles;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use clap::Args;

use self::inner::MEMORY_MIB;
use self::pair::{measured_cpus, Pair, PairSpec, Progress, TESTED_CPUS};
use self::report::Report;
use self::spec::{Card, HostQemu, Plan, Traffic, FIRST};
use crate::capture::Capture;
use crate::chip::Chip;
use crate::kernel::Flavour;
use crate::lab::{facts, Drivers, Head, Lab};

/// Options of `cargo lab migrate`.
#[derive(Args, Debug, Clone)]
pub struct MigrateArgs {
    /// Driver of the VF in the VM: this project's, or mainline's.
    #[arg(long, value_enum, default_value = "rust")]
    guest: Drivers,
    /// What the model does with a write to a ring's head.
    #[arg(long, value_enum, default_value = "value")]
    head: Head,
    /// Chip of both hosts' cards.
    #[arg(long, value_enum, default_value = "kx4")]
    chip: Chip,
    /// Traffic during the migration.
    #[arg(long, value_enum, default_value = "udp")]
    traffic: Traffic,
    /// How many migrations, to and fro.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw round-trip times and gaps around the last switch-over.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Which kernel. Debian's own is what users have, and is not built; figures are those of the
    /// lab's own, `release`.
    #[arg(long, value_enum, default_value = "stock")]
    kernel: Flavour,
    /// Which QEMU runs the VM in the hosts.
    #[arg(long, value_enum, default_value = "stock")]
    qemu: HostQemu,
    /// Have QEMU use iommufd for the VF, and not VFIO's own container; not with Debian's own kernel, which has none.
    #[arg(long)]
    iommufd: bool,
    /// Virtual CPUs of each host [default: half of this machine's cores; on the debug kernel two, for it is to see races]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16))]
    cpus: Option<u32>,
    /// Virtual CPUs of the VM; with two and more its VF has two queue pairs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    guest_cpus: u32,
    /// Memory of the VM, in MiB.
    #[arg(long, default_value_t = MEMORY_MIB, value_parser = clap::value_parser!(u32).range(128..=8192))]
    guest_memory: u32,
    /// Descriptors of each Rx ring in the VM [default: the driver's].
    #[arg(long, value_parser = clap::value_parser!(u32).range(64..=4096))]
    rx_ring: Option<u32>,
    /// Percent of one CPU that following the rings of a guest that does not mark may cost; 0: off [default: the driver's].
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=100))]
    follow_cpu: Option<u32>,
    /// Datagrams per second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    rate: u32,
    /// Frames per second that the VM receives besides and does not answer.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=200_000))]
    flood: u32,
    /// Force the way in which heads are restored: write, rearm or reset.
    #[arg(long)]
    restore: Option<String>,
    /// Write every frame on the switch to this file.
    #[arg(long, value_name = "FILE.pcapng")]
    capture: Option<PathBuf>,
    /// Do moves, events in the VM, cancellations and pauses at random; the same seed repeats them.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["rounds", "guest", "traffic", "plot", "trace"])]
    random: Option<u64>,
    /// With --random: how many moves.
    #[arg(long, default_value_t = 20, requires = "random", value_parser = clap::value_parser!(u32).range(1..))]
    moves: u32,
    /// Move a VM without a VF in the same way afterwards, and compare.
    #[arg(long)]
    against_virtio: bool,
    /// Have QEMU write down what it does when, into this folder: a file for each host, beside its kernel's log.
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If a migration fails, or the report shows a fault.
pub fn migrate(args: &MigrateArgs) -> Result<()> {
    if args.iommufd && args.kernel == Flavour::Stock {
        bail!("Debian's own kernel has no iommufd: add --kernel stock-iommufd");
    }
    let lab = Lab::open(&[args.kernel])?;
    if let Some(dir) = &args.trace {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let plan = Plan {
        card: Card::Vf,
        guest: args.guest,
        head: args.head,
        chip: args.chip,
        traffic: args.traffic,
        rounds: args.rounds,
        kernel: args.kernel,
        qemu: args.qemu,
        guest_cpus: args.guest_cpus,
        rate: if args.traffic == Traffic::Udp && args.random.is_none() {
            args.rate
        } else {
            args.rate.min(100)
        },
        restore: args.restore.as_deref(),
        migratable: true,
        trace: args.trace.as_deref(),
        iommufd: args.iommufd,
        follow_cpu: args.follow_cpu,
        memory_mib: args.guest_memory,
        rx_ring: args.rx_ring,
        flood: args.flood,
    };
    let cpus = args.cpus.unwrap_or_else(|| match args.kernel {
        Flavour::Stock | Flavour::StockIommufd | Flavour::Release => measured_cpus(),
        Flavour::Debug => TESTED_CPUS,
    });
    let capture = args.capture.as_deref().map(Capture::create).transpose()?;
    if let Some(seed) = args.random {
        return at_random(
            &lab,
            &plan,
            cpus,
            capture,
            (seed, args.moves),
            args.json.as_deref(),
        );
    }
    let report = run(&lab, &plan, cpus, capture, args.against_virtio)?;
    report.print();
    println!(
        "kernel: {}; {}",
        args.kernel.name(),
        facts().unwrap_or_default()
    );
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.plot {
        report.plot(path)?;
    }
    report.verdict()
}

/// Two hosts for a plan of so many moves.
fn boot(
    lab: &Lab,
    plan: &Plan<'_>,
    cpus: u32,
    moves: u32,
    capture: Option<Capture>,
    progress: &Progress,
) -> Result<Pair> {
    let spec = PairSpec {
        kernel: plan.kernel,
        head: plan.head,
        chips: [plan.chip; 2],
        ours: plan.card != Card::Virtio,
        root: plan.qemu.into(),
        cpus,
        seats: &[FIRST],
        vm_mib: plan.memory_mib,
        deadline: Duration::from_secs(600 + 120 * u64::from(moves)),
    };
    Pair::boot(lab, &spec, capture, progress)
}

/// Does what comes of a seed.
fn at_random(
    lab: &Lab,
    plan: &Plan<'_>,
    cpus: u32,
    capture: Option<Capture>,
    (seed, moves): (u64, u32),
    json: Option<&Path>,
) -> Result<()> {
    let progress = Progress::new()?;
    let pair = boot(lab, plan, cpus, moves.saturating_mul(2), capture, &progress)?;
    let results = random::run(lab, &pair, plan, (seed, moves), &progress)?;
    let late = pair.shut_down()?;
    drop(progress);
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&results)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    crate::retry::print();
    println!("result: {}", results.result);
    if results.result != "ok" {
        bail!("{}", results.result);
    }
    if let Some(first) = late.first() {
        bail!("{} kernel reports at the end: {first}", late.len());
    }
    Ok(())
}

/// Boots two hosts with so many CPUs each, runs the VM, and migrates it as planned; then, where it is asked for, one without a VF.
///
/// # Errors
/// If a step fails; faults of the migration itself are in the report.
pub fn run(
    lab: &Lab,
    plan: &Plan<'_>,
    cpus: u32,
    capture: Option<Capture>,
    against_virtio: bool,
) -> Result<Report> {
    let progress = Progress::new()?;
    let times = 1 + u32::from(against_virtio);
    let pair = boot(lab, plan, cpus, plan.rounds * times, capture, &progress)?;
    pair.prepare(&plan.preparation())?;
    let mut report = rounds::run(lab, &pair, plan, &progress)?;
    if against_virtio {
        let plain = Plan {
            card: Card::Virtio,
            trace: None,
            // QEMU says how long those of virtio are.
            rx_ring: None,
            ..*plan
        };
        report.compare(&rounds::run(lab, &pair, &plain, &progress)?);
    }
    let late = pair.shut_down()?;
    report.add_faults(late);
    report.judge();
    Ok(report)
}
