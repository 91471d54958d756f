// SPDX-License-Identifier: GPL-2.0
//! What came of a migration: as JSON, for a person, and as a picture.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use plotters::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::inner::Card;
use super::{Plan, Traffic};
use crate::station::flow::{Sample, Stats};
use crate::station::{Station, Stream};

/// How long after the first answer of the destination a datagram may still belong to the blackout, in µs.
const EDGE_US: u64 = 20_000;

/// One migration. Times are in ms after the command to migrate where the name says `at`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    /// Source.
    pub from: String,
    /// Destination.
    pub to: String,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// Longest gap between two answers of the VM, as the station saw it.
    pub blackout_ms: f64,
    /// When that gap began.
    pub blackout_at_ms: f64,
    /// When the VM stopped on the source.
    pub stop_at_ms: f64,
    /// When the source had sent everything.
    pub sent_at_ms: f64,
    /// When the VM ran on the destination.
    pub run_at_ms: f64,
    /// QEMU's own figure of the time in which no VM ran.
    pub qemu_downtime_ms: u64,
    /// QEMU's own figure of the whole.
    pub qemu_total_ms: u64,
    /// RAM sent in all.
    pub ram_sent_bytes: u64,
    /// Of it, sent while no VM ran.
    pub ram_sent_stopped_bytes: u64,
    /// State of the VF.
    pub state_bytes: u64,
    /// Time to stop and save the VF.
    pub save_us: f64,
    /// Time to load and resume the VF.
    pub load_us: f64,
    /// Register accesses to save.
    pub mmio_save: u64,
    /// Register accesses to load.
    pub mmio_load: u64,
    /// How the ring heads were restored.
    pub restore: String,
    /// Datagrams that the station sent during the round.
    pub frames_sent: u64,
    /// Not answered.
    pub frames_lost: u64,
    /// Not answered though sent outside the blackout.
    pub frames_lost_outside: u64,
    /// Answered more than once.
    pub frames_duplicated: u64,
    /// Answered with another content.
    pub frames_corrupted: u64,
}

fn number(v: &Value, path: &str) -> u64 {
    v.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

impl Round {
    /// Takes QEMU's figures from the answer to `query-migrate`.
    pub(super) fn take_qemu(&mut self, info: &Value) {
        self.qemu_downtime_ms = number(info, "/downtime");
        self.qemu_total_ms = number(info, "/total-time");
        self.ram_sent_bytes = number(info, "/ram/transferred");
        self.ram_sent_stopped_bytes = number(info, "/ram/downtime-bytes");
    }

    /// Takes what the station saw of the datagrams in `seqs`.
    pub(super) fn take_station(
        &mut self,
        station: &Station,
        flow: u32,
        seqs: Range<u64>,
        begin: Instant,
    ) -> Result<()> {
        let (start, _) = station.samples(flow)?;
        let (gap_us, at_us) = station.longest_gap_since(flow, begin)?;
        let begin_us = u64::try_from(begin.saturating_duration_since(start).as_micros())?;
        self.blackout_ms = to_ms(gap_us);
        self.blackout_at_ms = to_ms(at_us.saturating_sub(begin_us));
        let lost = station.lost_between(flow, seqs.start, seqs.end)?;
        // What was sent after the last datagram that the source answered was sent may have reached the wire when no PF
        // served the VM, however late that answer was.
        let (_, samples) = station.samples(flow)?;
        let last = samples
            .iter()
            .filter(|s| s.sent_us + s.rtt_us <= at_us)
            .map(|s| s.sent_us)
            .max();
        let dark = last.unwrap_or(at_us)..=at_us + gap_us + EDGE_US;
        self.frames_sent = seqs.end - seqs.start;
        self.frames_lost = lost.len() as u64;
        self.frames_lost_outside = lost.iter().filter(|us| !dark.contains(us)).count() as u64;
        Ok(())
    }

    /// Takes the variant driver's figures on both sides.
    pub(super) fn take_driver(
        &mut self,
        source: &BTreeMap<String, String>,
        target: &BTreeMap<String, String>,
    ) {
        let get = |m: &BTreeMap<String, String>, k: &str| {
            m.get(k)
                .and_then(|v| v.parse::<u64>().ok())
                .unwrap_or_default()
        };
        let us = |ns: u64| (ns as f64 / 100.0).round() / 10.0;
        self.save_us = us(get(source, "suspend_ns") + get(source, "save_ns"));
        self.load_us = us(get(target, "load_ns") + get(target, "resume_ns"));
        self.mmio_save = get(source, "mmio_save");
        self.mmio_load = get(target, "mmio_load");
        self.state_bytes = get(source, "state_bytes");
        self.restore = target
            .get("restore")
            .cloned()
            .unwrap_or_else(|| "none".into());
    }
}

fn to_ms(us: u64) -> f64 {
    (us as f64 / 100.0).round() / 10.0
}

/// What was seen over the whole run.
pub(super) struct Seen {
    pub(super) stats: Stats,
    pub(super) streams: Vec<Stream>,
    pub(super) samples: Vec<Sample>,
    pub(super) alive: bool,
    pub(super) answers_at_the_end: bool,
    pub(super) faults: Vec<String>,
}

/// All rounds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `ok`, or what is wrong.
    pub result: String,
    /// The VM's driver: `rust`, `c`, or `virtio` where it has no VF.
    pub guest: String,
    /// Head policy of the model.
    pub head: String,
    /// Traffic.
    pub traffic: Traffic,
    /// Datagrams per second.
    pub rate: u32,
    /// Each migration.
    pub rounds: Vec<Round>,
    /// Median of the rounds' blackouts.
    pub median_blackout_ms: f64,
    /// Whether the VM went on to the end, without a restart.
    pub guest_alive: bool,
    /// Whether it still answered the station then.
    pub answers_at_the_end: bool,
    /// Over the whole run.
    pub frames_sent: u64,
    /// Not answered.
    pub frames_lost: u64,
    /// Answered more than once.
    pub frames_duplicated: u64,
    /// Answered with another content.
    pub frames_corrupted: u64,
    /// TCP streams.
    pub streams: Vec<Stream>,
    /// Kernel reports of hosts and VM.
    pub faults: Vec<String>,
    /// Answers, for the picture.
    #[serde(skip)]
    samples: Vec<Sample>,
}

/// Middle value, or the mean of the two in the middle.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut v: Vec<f64> = values.collect();
    v.sort_by(f64::total_cmp);
    let at = |i: usize| v.get(i).copied().unwrap_or_default();
    if v.len() % 2 == 1 {
        at(v.len() / 2)
    } else {
        (at((v.len() / 2).saturating_sub(1)) + at(v.len() / 2)) / 2.0
    }
}

impl Report {
    pub(super) fn new(plan: &Plan<'_>, rate: u32, rounds: Vec<Round>, seen: Seen) -> Self {
        let Seen {
            stats,
            streams,
            samples,
            alive,
            answers_at_the_end,
            faults,
        } = seen;
        let mut wrong = Vec::new();
        wrong.extend(rounds.iter().filter_map(|r| r.error.clone()));
        if !alive {
            wrong.push("the VM did not survive".into());
        }
        if !answers_at_the_end {
            wrong.push("the VM does not answer the station any more".into());
        }
        if stats.corrupted > 0 {
            wrong.push(format!("{} datagrams came back changed", stats.corrupted));
        }
        if stats.duplicated > 0 {
            wrong.push(format!("{} datagrams came back twice", stats.duplicated));
        }
        if streams.iter().any(|s| s.corrupted > 0) {
            wrong.push("a TCP stream has wrong bytes".into());
        }
        if plan.traffic == Traffic::Tcp && !streams.iter().any(|s| s.open && s.bytes > 0) {
            wrong.push("the TCP stream did not survive".into());
        }
        if let Some(first) = faults.first() {
            wrong.push(format!(
                "{} kernel reports, the first: {}",
                faults.len(),
                first.lines().next().unwrap_or_default()
            ));
        }
        // Where the guest knows nothing of the project, its rings are reset and what was under way is lost; where the VF is
        // unplugged, much more is.
        for r in rounds.iter().filter(|r| {
            ["write", "rearm"].contains(&r.restore.as_str()) && r.frames_lost_outside > 0
        }) {
            wrong.push(format!(
                "{} to {}: {} datagrams lost outside the blackout",
                r.from, r.to, r.frames_lost_outside
            ));
        }
        Self {
            result: if wrong.is_empty() {
                "ok".into()
            } else {
                wrong.join("; ")
            },
            guest: if plan.card == Card::Virtio {
                "virtio".into()
            } else {
                plan.guest.name().into()
            },
            head: plan.head.name().into(),
            traffic: plan.traffic,
            rate,
            median_blackout_ms: median(rounds.iter().map(|r| r.blackout_ms)),
            rounds,
            guest_alive: alive,
            answers_at_the_end,
            frames_sent: stats.sent,
            frames_lost: stats.lost,
            frames_duplicated: stats.duplicated,
            frames_corrupted: stats.corrupted,
            streams,
            faults,
            samples,
        }
    }

    /// An error where something is wrong.
    ///
    /// # Errors
    /// The result, unless it is `ok`.
    pub fn verdict(&self) -> Result<()> {
        if self.result != "ok" {
            bail!("{}", self.result);
        }
        Ok(())
    }

    /// Prints the report for a person.
    pub fn print(&self) {
        for (i, r) in self.rounds.iter().enumerate() {
            println!("migration {}: {} to {}", i + 1, r.from, r.to);
            if let Some(e) = &r.error {
                println!("  refused: {e}");
                continue;
            }
            println!(
                "  {:>8.1} ms  pre-copy ends, the VM stops on {}",
                r.stop_at_ms, r.from
            );
            println!("  {:>8.1} ms  the VM runs on {}", r.run_at_ms, r.to);
            println!(
                "  {:>8.1} ms  first answer to the station",
                r.blackout_at_ms + r.blackout_ms
            );
            println!(
                "  VF: state {} bytes, saved in {:.0} us ({} register accesses), loaded in {:.0} us ({}), heads: {}",
                r.state_bytes, r.save_us, r.mmio_save, r.load_us, r.mmio_load, r.restore
            );
            println!(
                "  RAM: {:.1} MiB sent, {:.2} MiB of it while stopped; QEMU: {} ms in all, {} ms down",
                mib(r.ram_sent_bytes),
                mib(r.ram_sent_stopped_bytes),
                r.qemu_total_ms,
                r.qemu_downtime_ms
            );
            println!(
                "  peer: blackout {:.1} ms; {} of {} datagrams lost ({} outside the blackout)",
                r.blackout_ms, r.frames_lost, r.frames_sent, r.frames_lost_outside
            );
        }
        println!("{}", self.sparkline());
        for s in &self.streams {
            println!(
                "TCP: {:.1} MiB, {} wrong bytes, longest gap {:.1} ms",
                mib(s.bytes),
                s.corrupted,
                to_ms(s.longest_gap_us)
            );
        }
        println!(
            "{} migrations, median blackout {:.1} ms; {} datagrams, {} lost, {} duplicated, {} corrupted; the VM is {}",
            self.rounds.len(),
            self.median_blackout_ms,
            self.frames_sent,
            self.frames_lost,
            self.frames_duplicated,
            self.frames_corrupted,
            if self.guest_alive { "alive" } else { "NOT alive" }
        );
        println!("result: {}", self.result);
    }

    /// Answers around the longest gap: times after its beginning in ms, and round trips in ms.
    fn around_gap(&self, before_ms: f64, after_ms: f64) -> Vec<(f64, f64)> {
        let arrivals: Vec<u64> = self.samples.iter().map(|s| s.sent_us + s.rtt_us).collect();
        let gap = arrivals
            .windows(2)
            .max_by_key(|w| w.last().zip(w.first()).map(|(b, a)| b.saturating_sub(*a)));
        let Some(start) = gap.and_then(|w| w.first()).copied() else {
            return vec![];
        };
        self.samples
            .iter()
            .map(|s| {
                (
                    (s.sent_us + s.rtt_us) as f64 / 1000.0 - start as f64 / 1000.0,
                    s.rtt_us as f64 / 1000.0,
                )
            })
            .filter(|(at, _)| (-before_ms..=after_ms).contains(at))
            .collect()
    }

    /// Answers per 10 ms around the longest gap, as one line.
    fn sparkline(&self) -> String {
        const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let mut bins = [0u32; 60];
        for (at, _) in self.around_gap(200.0, 399.0) {
            if let Some(b) = bins.get_mut(((at + 200.0) / 10.0) as usize) {
                *b += 1;
            }
        }
        let most = bins.iter().copied().max().unwrap_or(1).max(1);
        let line: String = bins
            .iter()
            .map(|b| match b {
                0 => ' ',
                b => STEPS.get((b * 7 / most) as usize).copied().unwrap_or('█'),
            })
            .collect();
        format!("answers per 10 ms, 200 ms before the longest gap to 400 ms after its beginning:\n|{line}|")
    }

    /// Draws round-trip times around the longest gap.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn plot(&self, path: &Path) -> Result<()> {
        let points = self.around_gap(300.0, 700.0);
        let top = points.iter().map(|p| p.1).fold(1.0, f64::max) * 1.1;
        let end = points.iter().find(|p| p.0 > 0.0).map_or(0.0, |p| p.0);
        let root = SVGBackend::new(path, (900, 360)).into_drawing_area();
        let draw = || -> Result<(), Box<dyn std::error::Error>> {
            root.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&root)
                .caption(
                    format!("Round trips around the switch-over; blackout {end:.1} ms"),
                    ("sans-serif", 18),
                )
                .margin(12)
                .x_label_area_size(36)
                .y_label_area_size(52)
                .build_cartesian_2d(-300.0..700.0, 0.0..top)?;
            chart
                .configure_mesh()
                .x_desc("ms after the last answer from the source")
                .y_desc("round trip, ms")
                .draw()?;
            chart.draw_series([Rectangle::new(
                [(0.0, 0.0), (end, top)],
                RED.mix(0.12).filled(),
            )])?;
            chart.draw_series(points.iter().map(|p| Circle::new(*p, 2, BLUE.filled())))?;
            root.present()?;
            Ok(())
        };
        draw()
            .map_err(|e| anyhow::anyhow!("{e}"))
            .with_context(|| format!("drawing {}", path.display()))
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0].into_iter()), 2.5);
        assert_eq!(median(std::iter::empty()), 0.0);
    }

    #[test]
    fn takes_figures_by_name() {
        let map = |t: &[(&str, &str)]| {
            t.iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let mut r = Round::default();
        r.take_driver(
            &map(&[
                ("suspend_ns", "1000"),
                ("save_ns", "250"),
                ("mmio_save", "120"),
                ("state_bytes", "2000"),
            ]),
            &map(&[
                ("load_ns", "3000"),
                ("resume_ns", "100"),
                ("mmio_load", "180"),
                ("restore", "rearm"),
            ]),
        );
        assert_eq!(
            (
                r.save_us,
                r.load_us,
                r.mmio_save,
                r.mmio_load,
                r.state_bytes
            ),
            (1.3, 3.1, 120, 180, 2000)
        );
        assert_eq!(r.restore, "rearm");
        r.take_qemu(&serde_json::json!({"downtime": 35, "total-time": 700, "ram": {"transferred": 9, "downtime-bytes": 4}}));
        assert_eq!(
            (
                r.qemu_downtime_ms,
                r.qemu_total_ms,
                r.ram_sent_bytes,
                r.ram_sent_stopped_bytes
            ),
            (35, 700, 9, 4)
        );
    }
}
