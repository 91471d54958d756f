// SPDX-License-Identifier: GPL-2.0
//! `cargo lab migrate`: a running VM moves with its VF from one emulated host to another, to and fro, while the station talks
//! to it.

pub mod host;
pub mod inner;
pub mod libvirt;
pub mod loss;
pub mod pair;
pub mod refusals;
pub mod report;
pub mod rounds;
pub mod suite;
pub mod together;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::host::{Preparation, FIRST};
use self::inner::Card;
use self::pair::{measured_cpus, Pair, PairSpec, Progress, TESTED_CPUS};
use self::report::Report;
use crate::capture::Capture;
use crate::kernel::Flavour;
use crate::lab::{facts, Drivers, Head, Lab};

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
    /// Which kernel. Debian's own is what users have, and is not built; figures are those of the
    /// lab's own, `release`.
    #[arg(long, value_enum, default_value = "stock")]
    kernel: Flavour,
    /// Virtual CPUs of each host [default: half of this machine's cores; on the debug kernel two, for it is to see races]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16))]
    cpus: Option<u32>,
    /// Datagrams per second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    rate: u32,
    /// Force the way in which heads are restored: write, rearm or reset.
    #[arg(long)]
    restore: Option<String>,
    /// Write every frame on the switch to this file.
    #[arg(long, value_name = "FILE.pcapng")]
    capture: Option<PathBuf>,
    /// Have QEMU write down what it does when, into this folder: a file for each host, beside its kernel's log.
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
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
    /// Folder for QEMU's account of what it does when.
    pub trace: Option<&'a Path>,
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
        trace: args.trace.as_deref(),
    };
    let cpus = args.cpus.unwrap_or_else(|| match args.kernel {
        Flavour::Stock | Flavour::StockIommufd | Flavour::Release => measured_cpus(),
        Flavour::Debug => TESTED_CPUS,
    });
    let capture = args.capture.as_deref().map(Capture::create).transpose()?;
    let report = run(&lab, &plan, cpus, capture)?;
    report.print();
    println!(
        "kernel: {}; {}",
        args.kernel.name(),
        facts().unwrap_or_default()
    );
    if let Some(path) = &args.json {
        let mut value = serde_json::to_value(&report)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("kernel".into(), args.kernel.name().into());
            if let Value::Object(facts) = serde_json::to_value(facts().unwrap_or_default())? {
                fields.extend(facts);
            }
        }
        std::fs::write(path, serde_json::to_string_pretty(&value)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.plot {
        report.plot(path)?;
    }
    report.verdict()
}

/// Boots two hosts with so many CPUs each, runs the VM, and migrates it as planned.
///
/// # Errors
/// If a step fails; faults of the migration itself are in the report.
pub fn run(lab: &Lab, plan: &Plan<'_>, cpus: u32, capture: Option<Capture>) -> Result<Report> {
    let progress = Progress::new()?;
    let spec = PairSpec {
        kernel: plan.kernel,
        head: plan.head,
        ours: plan.card != Card::Virtio,
        libvirt: false,
        cpus,
        seats: &[FIRST],
        deadline: Duration::from_secs(600 + 120 * u64::from(plan.rounds)),
    };
    let pair = Pair::boot(lab, &spec, capture, &progress)?;
    pair.prepare(&Preparation {
        card: plan.card,
        restore: plan.restore,
        migratable: plan.migratable,
    })?;
    let report = rounds::run(lab, &pair, plan, &progress)?;
    pair.shut_down()?;
    Ok(report)
}
