// SPDX-License-Identifier: GPL-2.0
//! `cargo lab bench blackout`: the same VM with the same traffic on the same two hosts, moved in every way there is.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::write_json;
use crate::chip::Chip;
use crate::kernel::Flavour;
use crate::lab::{Drivers, Head, Lab};
use crate::migrate::inner::MEMORY_MIB;
use crate::migrate::pair::{measured_cpus, Pair, PairSpec, Progress, Root};
use crate::migrate::report::Round;
use crate::migrate::rounds;
use crate::migrate::spec::{Card, Plan, Setting, FIRST};
use crate::stats::Spread;

/// A way to move a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// This project: heads are written back.
    Write,
    /// This project: heads restart at 0 and the guest rotates its rings.
    Rearm,
    /// This project with mainline's driver in the guest, which is made to start its rings anew.
    Reset,
    /// net_failover: the VF is unplugged before, a virtio-net standby takes over, a VF is plugged after.
    Failover,
    /// The VF is unplugged before and plugged after; nothing takes over.
    Replug,
    /// The guest's driver frees its rings and interrupts before and makes them anew after, as was proposed in 2015. There the PF
    /// asked for it by mailbox and the driver's `suspend` and `resume` did it; no driver has such a message, so the VM's
    /// agent asks here, and `ip link set` does it, which ends in the same functions of the driver.
    Suspend,
    /// No VF: virtio-net on a bridge.
    Virtio,
}

const ALL: [Way; 7] = [
    Way::Write,
    Way::Rearm,
    Way::Reset,
    Way::Failover,
    Way::Replug,
    Way::Suspend,
    Way::Virtio,
];

impl Way {
    fn title(self) -> &'static str {
        match self {
            Self::Write => "this project, `write`",
            Self::Rearm => "this project, `rearm`",
            Self::Reset => "this project, `reset`, mainline driver in the VM",
            Self::Failover => "net_failover with virtio-net, VF unplugged and plugged",
            Self::Replug => "VF unplugged and plugged",
            Self::Suspend => "driver in the VM closes the VF before, opens it after",
            Self::Virtio => "virtio-net only",
        }
    }

    fn card(self) -> Card {
        match self {
            Self::Write | Self::Rearm | Self::Reset => Card::Vf,
            Self::Failover => Card::Failover,
            Self::Replug => Card::Replug,
            Self::Suspend => Card::Closed,
            Self::Virtio => Card::Virtio,
        }
    }

    fn guest(self) -> Drivers {
        match self {
            Self::Write | Self::Rearm | Self::Suspend => Drivers::Rust,
            Self::Reset | Self::Failover | Self::Replug | Self::Virtio => Drivers::C,
        }
    }

    fn restore(self) -> Option<&'static str> {
        match self {
            Self::Write => Some("write"),
            Self::Rearm => Some("rearm"),
            Self::Reset => Some("reset"),
            Self::Failover | Self::Replug | Self::Suspend | Self::Virtio => None,
        }
    }
}

/// Options of `cargo lab bench blackout`.
#[derive(Args, Debug, Clone)]
pub struct BlackoutArgs {
    /// Migrations in each way.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Datagrams per second, at most: fewer where the VM does not keep up.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(25..=20_000))]
    rate: u32,
    /// Only these ways.
    #[arg(long, value_enum, value_delimiter = ',')]
    ways: Vec<Way>,
    /// Kernel of hosts and VM.
    #[arg(long, value_enum, default_value = "release")]
    kernel: Flavour,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What came of one way.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Which.
    pub way: Way,
    /// What it is called in a table.
    pub title: &'static str,
    /// `ok`, or what is wrong.
    pub result: String,
    /// Datagrams per second.
    pub rate: u32,
    /// Longest gap between two answers, in ms.
    pub blackout_ms: Spread,
    /// Datagrams lost in a migration.
    pub frames_lost: Spread,
    /// From the first command to the VM running on the destination, in ms; with unplugging before.
    pub total_ms: Spread,
    /// RAM sent while no VM ran, in bytes.
    pub ram_sent_stopped_bytes: Spread,
    /// Median of the blackouts, as a multiple of that of a VM with virtio-net alone, where both were measured in one run: durations
    /// of emulated hosts compare within a run only.
    pub ratio_to_virtio: Option<f64>,
    /// Each migration.
    pub rounds: Vec<Round>,
}

/// The file of results.
#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    setting: &'a Setting,
    ways: &'a [Figures],
}

/// Compares all ways with the VM that has no VF, where that was measured.
fn compare(all: &mut [Figures]) {
    let floor = all
        .iter()
        .find(|f| f.way == Way::Virtio && f.is_measured())
        .map(|f| f.blackout_ms.median)
        .filter(|ms| *ms > 0.0);
    for f in all {
        f.ratio_to_virtio = floor
            .filter(|_| f.is_measured())
            .map(|floor| (f.blackout_ms.median / floor * 100.0).round() / 100.0);
    }
}

impl Figures {
    fn new(way: Way, rate: u32, result: String, rounds: Vec<Round>) -> Self {
        let of =
            |f: fn(&Round) -> f64| Spread::of(rounds.iter().filter(|r| r.error.is_none()).map(f));
        Self {
            way,
            title: way.title(),
            ratio_to_virtio: None,
            result,
            rate,
            blackout_ms: of(|r| r.blackout_ms),
            frames_lost: of(|r| r.frames_lost as f64),
            total_ms: of(|r| r.run_at_ms),
            ram_sent_stopped_bytes: of(|r| r.ram_sent_stopped_bytes as f64),
            rounds,
        }
    }

    /// Whether any move succeeded.
    fn is_measured(&self) -> bool {
        self.rounds.iter().any(|r| r.error.is_none())
    }

    fn row(&self) -> String {
        if !self.is_measured() {
            return format!("| {} | failed | | | | |", self.way.title());
        }
        let ratio = self.ratio_to_virtio.map(|x| format!("{x:.2}"));
        let spread = |s: Spread, digits: usize| {
            format!(
                "{:.*} ({:.*}–{:.*})",
                digits, s.median, digits, s.min, digits, s.max
            )
        };
        let mib = f64::from(1 << 20);
        let stopped = Spread {
            min: self.ram_sent_stopped_bytes.min / mib,
            median: self.ram_sent_stopped_bytes.median / mib,
            max: self.ram_sent_stopped_bytes.max / mib,
        };
        format!(
            "| {} | {} | {} | {} | {} | {} |",
            self.way.title(),
            spread(self.blackout_ms, 0),
            ratio.as_deref().unwrap_or("–"),
            spread(self.frames_lost, 0),
            spread(self.total_ms, 0),
            spread(stopped, 2)
        )
    }
}

/// Runs the command.
///
/// # Errors
/// If the hosts cannot be had; what goes wrong with a VM or a migration is in the figures, and then an error at the end.
pub fn blackout(args: &BlackoutArgs) -> Result<()> {
    let ways = if args.ways.is_empty() {
        ALL.to_vec()
    } else {
        args.ways.clone()
    };
    let lab = Lab::open(&[args.kernel])?;
    let progress = Progress::new()?;
    let spec = PairSpec {
        chips: [Chip::Kx4; 2],
        kernel: args.kernel,
        head: Head::Value,
        ours: true,
        root: Root::Lab,
        cpus: measured_cpus(),
        seats: &[FIRST],
        vm_mib: MEMORY_MIB,
        deadline: Duration::from_secs(600 + 60 * u64::from(args.rounds) * ways.len() as u64),
    };
    let pair = Pair::boot(&lab, &spec, None, &progress)?;
    let setting = pair.setting(1);
    let mut all = Vec::new();
    for way in ways {
        progress.say(way.title());
        // A way that cannot be had does not cost the others.
        all.push(
            one_way(&lab, &pair, way, args, &progress)
                .unwrap_or_else(|e| Figures::new(way, args.rate, format!("{e:#}"), vec![])),
        );
        if let Some(path) = &args.json {
            // After each way, so that a run that is cut short leaves what it has.
            compare(&mut all);
            let results = Results {
                setting: &setting,
                ways: &all,
            };
            write_json(path, &results)?;
        }
    }
    let late = pair.shut_down()?;
    drop(progress);
    compare(&mut all);
    println!(
        "| Way | Blackout, ms | Of virtio's | Datagrams lost | Until it runs, ms | RAM sent while stopped, MiB |"
    );
    println!("|---|---|---|---|---|---|");
    for f in &all {
        println!("{}", f.row());
    }
    println!("Median (least–most) of {} migrations each.", args.rounds);
    let bad: Vec<String> = all
        .iter()
        .filter(|f| f.result != "ok")
        .map(|f| format!("{}: {}", f.way.title(), f.result))
        .collect();
    let bad: Vec<String> = bad.into_iter().chain(late).collect();
    if !bad.is_empty() {
        bail!("{}", bad.join("\n"));
    }
    Ok(())
}

fn one_way(
    lab: &Lab,
    pair: &Pair,
    way: Way,
    args: &BlackoutArgs,
    progress: &Progress,
) -> Result<Figures> {
    let plan = Plan {
        card: way.card(),
        guest: way.guest(),
        rounds: args.rounds,
        rate: args.rate,
        restore: way.restore(),
        kernel: args.kernel,
        migratable: matches!(way.card(), Card::Vf | Card::Closed),
        ..Plan::default()
    };
    pair.prepare(&plan.preparation())?;
    let report = rounds::run(lab, pair, &plan, progress)
        .with_context(|| format!("moving a VM by {way:?}"))?;
    Ok(Figures::new(way, report.rate, report.result, report.rounds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_failed_do_not_count() {
        let round = |blackout_ms, error: Option<&str>| Round {
            blackout_ms,
            error: error.map(String::from),
            ..Round::default()
        };
        let f = Figures::new(
            Way::Write,
            100,
            "ok".into(),
            vec![
                round(30.0, None),
                round(999.0, Some("x")),
                round(10.0, None),
            ],
        );
        let want = Spread {
            min: 10.0,
            median: 20.0,
            max: 30.0,
        };
        assert_eq!(f.blackout_ms, want);
        assert!(f.row().contains("20 (10–30)"), "{}", f.row());
    }

    #[test]
    fn ways_compare_with_virtio_of_the_same_run() {
        let of = |way, blackouts: &[f64]| {
            let rounds = blackouts.iter().map(|ms| Round {
                blackout_ms: *ms,
                ..Round::default()
            });
            Figures::new(way, 100, "ok".into(), rounds.collect())
        };
        let mut all = vec![
            of(Way::Write, &[90.0]),
            of(Way::Rearm, &[]),
            of(Way::Virtio, &[120.0]),
        ];
        compare(&mut all);
        let ratios: Vec<_> = all.iter().map(|f| f.ratio_to_virtio).collect();
        assert_eq!(ratios, [Some(0.75), None, Some(1.0)]);
        all.pop();
        compare(&mut all);
        assert_eq!(all.first().and_then(|f| f.ratio_to_virtio), None);
    }
}
