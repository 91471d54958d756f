// SPDX-License-Identifier: GPL-2.0
//! `cargo lab bench follow`: how often a host that follows the rings of mainline's driver cannot be sure, by frames a second.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, Result};
use clap::Args;
use serde::Serialize;

use super::write_json;
use crate::chip::Chip;
use crate::kernel::Flavour;
use crate::lab::{Drivers, Head, Lab};
use crate::migrate::inner::MEMORY_MIB;
use crate::migrate::pair::{measured_cpus, Pair, PairSpec, Progress, Root};
use crate::migrate::report::{mib, Round};
use crate::migrate::rounds;
use crate::migrate::spec::{Plan, Setting, FIRST};
use crate::stats::median;

/// Options of `cargo lab bench follow`.
#[derive(Args, Debug, Clone)]
pub struct FollowArgs {
    /// Descriptors of each Rx ring in the VM.
    #[arg(long, value_delimiter = ',', default_value = "64,512")]
    rings: Vec<u32>,
    /// Frames a second that the VM receives and does not answer.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0,500,2000,5000,10000,20000"
    )]
    floods: Vec<u32>,
    /// Migrations of each.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Parameter `follow_cpu` of the variant driver [default: the driver's].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    follow_cpu: Option<u32>,
    /// Which kernel.
    #[arg(long, value_enum, default_value = "stock")]
    kernel: Flavour,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What came of one ring size and one rate.
#[derive(Debug, Default, Serialize)]
struct Figures {
    /// Descriptors of a ring.
    ring: u32,
    /// Frames a second that were asked for, and that were sent.
    asked: u32,
    sent: f64,
    /// Frames of all moves that did not reach the VF, and that found its ring full.
    dropped: u64,
    ring_full: u64,
    /// Looks of all moves, and intervals that were owed.
    looks: u64,
    owed: u64,
    /// Why they were, and how many.
    reasons: BTreeMap<String, u64>,
    /// Moves, and those of which the host knew what the VF wrote.
    moves: usize,
    followed: usize,
    /// Median of the RAM that was sent while the VM stood.
    stopped_mib: f64,
    /// `ok`, or what is wrong.
    result: String,
}

/// The file of results.
#[derive(Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    setting: &'a Setting,
    follow_cpu: Option<u32>,
    rows: &'a [Figures],
}

impl Figures {
    fn new(ring: u32, asked: u32, result: String, rounds: &[Round]) -> Self {
        let moved = || rounds.iter().filter(|r| r.error.is_none());
        let sum = |of: fn(&Round) -> u64| moved().map(of).sum();
        let mut reasons = BTreeMap::new();
        for (why, n) in moved().flat_map(|r| &r.follow.reasons) {
            *reasons.entry(why.clone()).or_default() += n;
        }
        Self {
            ring,
            asked,
            sent: median(moved().map(|r| r.flood_rate)),
            dropped: sum(|r| r.drops.switch_full),
            ring_full: sum(|r| r.drops.ring_full),
            looks: sum(|r| r.follow.looks),
            owed: sum(|r| r.follow.owed),
            reasons,
            moves: moved().count(),
            followed: moved().filter(|r| r.dirty == "followed").count(),
            stopped_mib: median(moved().map(|r| mib(r.ram_sent_stopped_bytes))),
            result,
        }
    }

    /// What belongs into a table; the first row has the titles.
    const TITLES: [&'static str; 7] = [
        "ring",
        "frames/s",
        "not at the VF",
        "ring full",
        "owed of looks",
        "known at the stop",
        "MiB while stopped",
    ];

    fn cells(&self) -> [String; 7] {
        let share = 100.0 * self.owed as f64 / self.looks.max(1) as f64;
        [
            self.ring.to_string(),
            format!("{:.0}", self.sent),
            self.dropped.to_string(),
            self.ring_full.to_string(),
            format!("{} of {}, {share:.0} %", self.owed, self.looks),
            format!("{} of {}", self.followed, self.moves),
            format!("{:.2}", self.stopped_mib),
        ]
    }
}

/// A table as reStructuredText has it.
fn table(rows: &[Figures]) -> String {
    let mut lines = vec![Figures::TITLES.map(String::from)];
    lines.extend(rows.iter().map(Figures::cells));
    let mut widths = [0; 7];
    for cells in &lines {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.len().max(*width);
        }
    }
    let rule = widths.map(|n| "=".repeat(n)).join(" ");
    let mut text = format!("{rule}\n");
    for (i, cells) in lines.iter().enumerate() {
        let padded = cells.iter().zip(widths).map(|(c, n)| format!("{c:n$}"));
        text += padded.collect::<Vec<_>>().join(" ").trim_end();
        text.push('\n');
        if i == 0 {
            text += &format!("{rule}\n");
        }
    }
    text + &rule
}

/// Runs the command.
///
/// # Errors
/// If the hosts cannot be had; what goes wrong with a VM or a migration is in the figures, and then an error at the end.
pub fn follow(args: &FollowArgs) -> Result<()> {
    let lab = Lab::open(&[args.kernel])?;
    let progress = Progress::new()?;
    let cases = args.rings.len() * args.floods.len();
    let spec = PairSpec {
        kernel: args.kernel,
        head: Head::Value,
        chips: [Chip::Kx4; 2],
        ours: true,
        root: Root::Lab,
        cpus: measured_cpus(),
        seats: &[FIRST],
        vm_mib: MEMORY_MIB,
        deadline: Duration::from_secs(600 + 120 * u64::from(args.rounds) * cases as u64),
    };
    let pair = Pair::boot(&lab, &spec, None, &progress)?;
    let setting = pair.setting(1);
    let mut rows = Vec::new();
    for ring in args.rings.iter().copied() {
        for flood in args.floods.iter().copied() {
            progress.say(&format!("rings of {ring}, {flood} frames a second"));
            // One that cannot be had does not cost the others.
            rows.push(match one(&lab, &pair, args, (ring, flood), &progress) {
                Ok(figures) => figures,
                Err(e) => Figures::new(ring, flood, format!("{e:#}"), &[]),
            });
            if let Some(path) = &args.json {
                let results = Results {
                    setting: &setting,
                    follow_cpu: args.follow_cpu,
                    rows: &rows,
                };
                write_json(path, &results)?;
            }
        }
    }
    let late = pair.shut_down()?;
    drop(progress);
    println!("{}", table(&rows));
    let bad = rows.iter().filter(|f| f.result != "ok").map(|f| {
        let Figures { ring, asked, .. } = f;
        format!("rings of {ring}, {asked} frames a second: {}", f.result)
    });
    let bad: Vec<String> = bad.chain(late).collect();
    if !bad.is_empty() {
        bail!("{}", bad.join("\n"));
    }
    Ok(())
}

fn one(
    lab: &Lab,
    pair: &Pair,
    args: &FollowArgs,
    (ring, flood): (u32, u32),
    progress: &Progress,
) -> Result<Figures> {
    let plan = Plan {
        guest: Drivers::C,
        rounds: args.rounds,
        kernel: args.kernel,
        rx_ring: Some(ring),
        flood,
        follow_cpu: args.follow_cpu,
        ..Plan::default()
    };
    pair.prepare(&plan.preparation())?;
    let report = rounds::run(lab, pair, &plan, progress)?;
    Ok(Figures::new(ring, flood, report.result, &report.rounds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::report::Follow;

    #[test]
    fn a_table_has_what_moves_had_and_no_others() {
        let round = |owed, dirty: &str, error: Option<&str>| Round {
            follow: Follow {
                looks: 50,
                owed,
                reasons: [("first".to_owned(), owed)].into(),
                ..Follow::default()
            },
            dirty: dirty.into(),
            flood_rate: 500.0,
            ram_sent_stopped_bytes: 1 << 20,
            error: error.map(String::from),
            ..Round::default()
        };
        let rounds = [
            round(4, "followed", None),
            round(6, "everything", None),
            round(50, "", Some("x")),
        ];
        let row = Figures::new(64, 500, "ok".into(), &rounds);
        assert_eq!(row.reasons.get("first"), Some(&10));
        let text = table(&[row]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[3].contains("10 of 100, 10 %"), "{text}");
        assert!(lines[3].contains("1 of 2"), "{text}");
        assert!(lines[3].ends_with("1.00"), "{text}");
        assert!(lines.iter().all(|l| l.len() <= lines[0].len()), "{text}");
    }
}
