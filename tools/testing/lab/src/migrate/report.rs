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

use super::loss::{Drops, SwitchOver};
use super::spec::{Card, Plan, Setting, Traffic};
use crate::lab::Drivers;
use crate::retry::{self, Retry};
use crate::station::flow::{Sample, Stats};
use crate::station::{Station, Stream};
use crate::stats::median;

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
    /// Time between the source's last answer and the destination's first.
    pub switch_over_ms: f64,
    /// When the source gave its last answer.
    pub switch_over_at_ms: f64,
    /// When the VM stopped on the source.
    pub stop_at_ms: f64,
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
    /// Time to stop the VF.
    pub suspend_us: f64,
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
    /// Not answered though sent when one of the hosts served the VM: before the last datagram that the source answered, or
    /// after the destination's first answer.
    pub frames_lost_outside: u64,
    /// When those were sent.
    pub lost_outside_at_ms: Vec<f64>,
    /// Where frames were lost during the round, as far as it is counted.
    pub drops: Drops,
    /// Answered more than once.
    pub frames_duplicated: u64,
    /// Answered with another content.
    pub frames_corrupted: u64,
    /// Why a QEMU crashed, if one did: that is no refusal.
    pub crash: Option<String>,
    /// From the VM running on the destination until the station had its answers as before.
    pub settled_ms: f64,
    /// How often the VF's driver in the VM said that its link came up, on the destination.
    pub link_ups: usize,
    /// TCP connections that were open when the VM arrived.
    pub tcp_open: usize,
    /// Of them, those that received something on the destination.
    pub tcp_resumed: usize,
    /// How long that took for all.
    pub tcp_resumed_ms: f64,
    /// Transmit queues of the VM that did not run empty on the destination.
    pub stuck_queues: Vec<String>,
    /// Who reported the pages that the VF wrote: `marked`, `followed` or `everything`; empty where the driver does not say.
    pub dirty: String,
    /// What the host did to follow the VM's rings on the source.
    pub follow: Follow,
    /// Frames a second that the VM was sent besides, and did not answer.
    pub flood_rate: f64,
    /// When the command was given, in ms after the flow's start.
    #[serde(skip)]
    pub begin_ms: f64,
}

/// How a host followed the rings of a guest that does not mark, in one move.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Follow {
    /// Looks at the rings.
    pub looks: u64,
    /// Intervals between two looks that were owed.
    pub owed: u64,
    /// Pages found.
    pub pages: u64,
    /// Time that the looks took.
    pub ms: f64,
    /// Why intervals were owed, and how many.
    pub reasons: BTreeMap<String, u64>,
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
        let (start, samples) = station.samples(flow)?;
        let (gap_us, at_us) = station.longest_gap_since(flow, begin)?;
        let begin_us = u64::try_from(begin.saturating_duration_since(start).as_micros())?;
        self.begin_ms = to_ms(begin_us);
        self.blackout_ms = to_ms(gap_us);
        self.blackout_at_ms = to_ms(at_us.saturating_sub(begin_us));
        let lost = station.lost_between(flow, seqs.start, seqs.end)?;
        let dark = SwitchOver::find(&samples, begin_us);
        if let Some(d) = dark {
            self.switch_over_ms = to_ms(d.to_us - d.from_us);
            self.switch_over_at_ms = to_ms(d.from_us.saturating_sub(begin_us));
        }
        self.frames_sent = seqs.end - seqs.start;
        self.frames_lost = lost.len() as u64;
        self.lost_outside_at_ms = lost
            .iter()
            .filter(|us| !dark.is_some_and(|d| d.may_lose(**us)))
            .map(|us| to_ms(us.saturating_sub(begin_us)))
            .collect();
        self.frames_lost_outside = self.lost_outside_at_ms.len() as u64;
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
        self.suspend_us = us(get(source, "suspend_ns"));
        self.save_us = us(get(source, "suspend_ns") + get(source, "save_ns"));
        self.load_us = us(get(target, "load_ns") + get(target, "resume_ns"));
        self.mmio_save = get(source, "mmio_save");
        self.mmio_load = get(target, "mmio_load");
        self.state_bytes = get(source, "state_bytes");
        self.dirty = source.get("dirty").cloned().unwrap_or_default();
        self.restore = target
            .get("restore")
            .cloned()
            .unwrap_or_else(|| "none".into());
    }

    /// Takes how the source's driver has followed the VM's rings, from its figures before and after the move.
    pub(super) fn take_follow(
        &mut self,
        before: &BTreeMap<String, String>,
        after: &BTreeMap<String, String>,
    ) {
        let get = |m: &BTreeMap<String, String>, k: &str| -> u64 {
            m.get(k).and_then(|v| v.parse().ok()).unwrap_or_default()
        };
        let since = |k: &str| get(after, k).saturating_sub(get(before, k));
        self.follow = Follow {
            looks: since("follow_looks"),
            owed: since("follow_owed"),
            pages: since("follow_pages"),
            ms: to_ms(since("follow_ns") / 1000),
            reasons: after
                .keys()
                .filter_map(|k| Some((k.strip_prefix("follow_owed_")?.to_owned(), since(k))))
                .filter(|(_, n)| *n > 0)
                .collect(),
        };
    }
}

fn to_ms(us: u64) -> f64 {
    (us as f64 / 100.0).round() / 10.0
}

/// What was seen over the whole run.
pub(super) struct Seen {
    pub(super) setting: Setting,
    pub(super) stats: Stats,
    pub(super) streams: Vec<Stream>,
    pub(super) queue_pairs: u32,
    pub(super) samples: Vec<Sample>,
    /// When those were sent that did not come back, in µs after the flow's start.
    pub(super) lost: Vec<u64>,
    /// Datagrams lost after the last migration.
    pub(super) lost_after: u64,
    /// Where frames were lost after it, as far as it is counted.
    pub(super) drops_after: Drops,
    pub(super) alive: bool,
    pub(super) answers_at_the_end: bool,
    pub(super) faults: Vec<String>,
}

/// How many times more processors this machine was asked for in the last minute than an experiment alone asks for: its two hosts and
/// their VMs keep twice as many threads busy as there are cores.
fn oversubscription() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split(' ').next().and_then(|l| l.parse::<f64>().ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let times = load.unwrap_or_default() / (2 * cores) as f64;
    (times * 100.0).round() / 100.0
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
    /// Chip, kernel, emulator, and CPUs of the VM.
    #[serde(flatten)]
    pub setting: Setting,
    /// Queue pairs of its card.
    pub queue_pairs: u32,
    /// How many times more this machine was asked for than it has, see [`oversubscription`].
    pub load: f64,
    /// Traffic.
    pub traffic: Traffic,
    /// Datagrams per second that were asked for.
    pub asked_rate: u32,
    /// Datagrams per second that the VM could answer.
    pub rate: u32,
    /// Each migration.
    pub rounds: Vec<Round>,
    /// Median of what was sent of the VM's RAM while it stood, in MiB.
    pub median_stopped_mib: f64,
    /// Median of the rounds' blackouts.
    pub median_blackout_ms: f64,
    /// The same as a multiple of that of a VM with virtio-net alone, on the same hosts afterwards, where it was measured.
    pub ratio_to_virtio: Option<f64>,
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
    /// Of them, sent after the last migration.
    pub frames_lost_after: u64,
    /// Where frames were lost after it, as far as it is counted.
    pub drops_after: Drops,
    /// TCP streams.
    pub streams: Vec<Stream>,
    /// Kernel reports of hosts and VM.
    pub faults: Vec<String>,
    /// Boots of hosts that were given up and repeated.
    pub retried: Vec<Retry>,
    /// The VM's card.
    #[serde(skip)]
    pub(super) card: Card,
    /// Whether its driver marks the pages that the VF wrote.
    #[serde(skip)]
    pub(super) guest_marks: bool,
    /// Answers, for the picture.
    #[serde(skip)]
    pub(super) samples: Vec<Sample>,
    /// When those were sent that were not answered, likewise.
    #[serde(skip)]
    pub(super) lost: Vec<u64>,
}

impl Report {
    pub(super) fn new(plan: &Plan<'_>, rate: u32, rounds: Vec<Round>, seen: Seen) -> Self {
        let Seen {
            setting,
            stats,
            streams,
            queue_pairs,
            samples,
            lost,
            lost_after,
            drops_after,
            alive,
            answers_at_the_end,
            faults,
        } = seen;
        Self {
            // Judged when the run is over, see there.
            result: String::new(),
            guest: if plan.card == Card::Virtio {
                "virtio".into()
            } else {
                plan.guest.name().into()
            },
            head: plan.head.name().into(),
            setting,
            queue_pairs,
            load: oversubscription(),
            traffic: plan.traffic,
            asked_rate: plan.rate,
            rate,
            median_blackout_ms: median(rounds.iter().map(|r| r.blackout_ms)),
            ratio_to_virtio: None,
            median_stopped_mib: median(rounds.iter().map(|r| mib(r.ram_sent_stopped_bytes))),
            rounds,
            guest_alive: alive,
            answers_at_the_end,
            frames_sent: stats.sent,
            frames_lost: stats.lost,
            frames_duplicated: stats.duplicated,
            frames_corrupted: stats.corrupted,
            frames_lost_after: lost_after,
            drops_after,
            streams,
            faults,
            retried: retry::all(),
            card: plan.card,
            guest_marks: plan.card == Card::Vf && plan.guest == Drivers::Rust,
            samples,
            lost,
        }
    }

    /// One without moves, for tests.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        let seen = Seen {
            setting: Setting {
                chip: "82599",
                kernel: crate::kernel::Flavour::Release,
                emulator: "fixes".into(),
                accel: "tcg".into(),
                guest_cpus: 1,
                qemu: super::spec::HostQemu::Stock,
            },
            stats: Stats::default(),
            streams: vec![],
            queue_pairs: 1,
            samples: vec![],
            lost: vec![],
            lost_after: 0,
            drops_after: Drops::default(),
            alive: true,
            answers_at_the_end: true,
            faults: vec![],
        };
        Self {
            load: 0.5,
            retried: vec![],
            ..Self::new(&Plan::default(), 100, vec![], seen)
        }
    }

    /// Compares with a VM that has no VF.
    pub(super) fn compare(&mut self, virtio: &Self) {
        if virtio.result == "ok" && virtio.median_blackout_ms > 0.0 {
            let ratio = self.median_blackout_ms / virtio.median_blackout_ms;
            self.ratio_to_virtio = Some((ratio * 100.0).round() / 100.0);
        }
        self.faults.extend(virtio.faults.iter().cloned());
    }

    /// Adds what kernels reported after the last move.
    pub(super) fn add_faults(&mut self, late: Vec<String>) {
        self.faults.extend(late);
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
            for phase in r.phases() {
                println!(
                    "  {}",
                    phase.line(r.run_at_ms - r.stop_at_ms + r.blackout_ms)
                );
            }
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
            if r.follow.looks > 0 {
                println!(
                    "  followed: {} looks in {:.1} ms, {} owed {:?}, {} pages found; at the stop: {}",
                    r.follow.looks, r.follow.ms, r.follow.owed, r.follow.reasons, r.follow.pages, r.dirty
                );
            }
            println!(
                "  peer: blackout {:.1} ms; {} of {} datagrams lost: {} by the move, {} otherwise",
                r.blackout_ms,
                r.frames_lost,
                r.frames_sent,
                r.frames_lost.saturating_sub(r.frames_lost_outside),
                r.frames_lost_outside
            );
            if r.switch_over_ms != r.blackout_ms {
                println!(
                    "  the move itself took {:.1} ms, from the source's last answer to the destination's first: the longest gap was another",
                    r.switch_over_ms
                );
            }
            if r.drops != Drops::default() {
                println!("  on the way: {}", r.drops);
            }
        }
        println!("{}", self.sparkline());
        for s in &self.streams {
            println!(
                "TCP {}: {:.1} MiB, {} wrong bytes, longest gap {:.1} ms",
                if s.to_vm { "to the VM" } else { "from the VM" },
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
        if let Some(ratio) = self.ratio_to_virtio {
            println!("{ratio:.2} times the blackout of a VM with virtio-net alone");
        }
        if self.guest == Drivers::C.name() {
            println!("{}", self.unmodified());
        }
        retry::print();
        println!("result: {}", self.result);
    }

    /// What whoever runs mainline's driver in a VM gets, in words.
    fn unmodified(&self) -> String {
        let moved = || self.rounds.iter().filter(|r| r.error.is_none());
        let mut ways: Vec<&str> = moved().map(|r| r.restore.as_str()).collect();
        ways.sort_unstable();
        ways.dedup();
        let longest = moved().map(|r| r.blackout_ms).fold(0.0, f64::max);
        let stopped = median(moved().map(|r| mib(r.ram_sent_stopped_bytes)));
        let followed = moved().filter(|r| r.dirty == "followed").count();
        format!(
            "unmodified driver in the VM (mainline's ixgbevf): {} of {} moves succeeded and the traffic {}; away for {:.1} ms, median, \
             and {longest:.1} ms at most. It does not tell which pages the device wrote. The host knew that at {followed} of the moves; at \
             the others all memory counted as written when the VM stopped. {stopped:.1} MiB, median, were sent while it stood. Ring \
             heads: {}.",
            moved().count(),
            self.rounds.len(),
            if self.answers_at_the_end {
                "resumed by itself"
            } else {
                "DID NOT RESUME"
            },
            self.median_blackout_ms,
            ways.iter()
                .map(|w| match *w {
                    "write" => "write (it noticed nothing)",
                    "reset" => "reset (it was made to start its rings anew; what was under way is lost)",
                    other => other,
                })
                .collect::<Vec<_>>()
                .join(", ")
        )
    }

    /// The last migration that succeeded.
    fn last(&self) -> Option<&Round> {
        self.rounds.iter().rfind(|r| r.error.is_none())
    }

    /// Answers around the last switch-over: times after the VM stopped, and round trips, in ms.
    fn around(&self, round: &Round, before_ms: f64, after_ms: f64) -> Vec<(f64, f64)> {
        let stop = round.begin_ms + round.stop_at_ms;
        let ms = |us: u64| us as f64 / 1000.0;
        self.samples
            .iter()
            .map(|s| (ms(s.back_us()) - stop, ms(s.rtt_us)))
            .filter(|(at, _)| (-before_ms..=after_ms).contains(at))
            .collect()
    }

    /// Answers around the last switch-over as one line.
    fn sparkline(&self) -> String {
        const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const BINS: usize = 60;
        let Some(round) = self.last() else {
            return String::new();
        };
        let (before, after) = round.window();
        let step = (before + after) / BINS as f64;
        let mut bins = [0u32; BINS];
        for (at, _) in self.around(round, before, after) {
            if let Some(b) = bins.get_mut(((at + before) / step) as usize) {
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
        format!("answers per {step:.0} ms, from {before:.0} ms before the last stop to {after:.0} ms after it:\n|{line}|")
    }

    /// Draws the phases of the last migration, and the round trips and losses around its switch-over.
    ///
    /// # Errors
    /// If no migration succeeded, or the file cannot be written.
    pub fn plot(&self, path: &Path) -> Result<()> {
        let round = self.last().context("no migration to draw")?;
        self.draw(round, path)
            .map_err(|e| anyhow::anyhow!("{e}"))
            .with_context(|| format!("drawing {}", path.display()))
    }

    fn draw(
        &self,
        round: &Round,
        path: &Path,
    ) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let (before, after) = round.window();
        let points = self.around(round, before, after);
        let stop = round.begin_ms + round.stop_at_ms;
        let lost: Vec<f64> = self
            .lost
            .iter()
            .map(|us| *us as f64 / 1000.0 - stop)
            .filter(|at| (-before..=after).contains(at))
            .collect();
        let top = points.iter().map(|p| p.1).fold(1.0, f64::max) * 1.25;
        let root = SVGBackend::new(path, (960, 400)).into_drawing_area();
        root.fill(&WHITE)?;
        let title = format!(
            "A VM moves with its VF: blackout {:.0} ms, {} of {} datagrams lost, heads by {}",
            round.blackout_ms, round.frames_lost, round.frames_sent, round.restore
        );
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 17))
            .margin(12)
            .x_label_area_size(38)
            .y_label_area_size(56)
            .build_cartesian_2d(-before..after, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("ms after the VM stopped on the source")
            .y_desc("round trip, ms")
            .draw()?;
        let colours = [
            RGBColor(120, 150, 200),
            RGBColor(220, 90, 60),
            RGBColor(230, 150, 50),
            RGBColor(150, 190, 120),
        ];
        for (phase, colour) in round.phases().into_iter().zip(colours) {
            let (from, to) = (phase.from - round.stop_at_ms, phase.to - round.stop_at_ms);
            let (from, to) = (from.max(-before), to.min(after));
            if from >= to {
                continue;
            }
            chart
                .draw_series([Rectangle::new(
                    [(from, 0.0), (to, top)],
                    colour.mix(0.22).filled(),
                )])?
                .label(format!("{}: {:.0} ms", phase.name, phase.to - phase.from))
                .legend(move |(x, y)| {
                    Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.mix(0.5).filled())
                });
        }
        chart
            .draw_series(points.iter().map(|p| Circle::new(*p, 2, BLUE.filled())))?
            .label("answered")
            .legend(|(x, y)| Circle::new((x + 7, y), 3, BLUE.filled()));
        chart
            .draw_series(lost.iter().map(|x| Cross::new((*x, top * 0.02), 3, RED)))?
            .label("lost, when sent")
            .legend(|(x, y)| Cross::new((x + 7, y), 3, RED));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        root.present()?;
        Ok(())
    }
}

/// A part of a migration; times in ms after the command.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Phase {
    name: &'static str,
    from: f64,
    to: f64,
}

impl Phase {
    /// The phase as text, with a bar that is as long as its part of `scale`.
    fn line(&self, scale: f64) -> String {
        let took = self.to - self.from;
        let full = (took / scale.max(1.0) * 40.0).round().clamp(0.0, 40.0) as usize;
        format!(
            "{:>9.1} ms  {:<26} {:>9.1} ms  {}",
            self.from,
            self.name,
            took,
            "█".repeat(full)
        )
    }
}

impl Round {
    /// The parts of the migration, in order.
    fn phases(&self) -> Vec<Phase> {
        let first = self.switch_over_at_ms + self.switch_over_ms;
        // QEMU tells that the VM has stopped when the VF has, too.
        let stopping = self.stop_at_ms - self.suspend_us / 1000.0;
        let marks = [
            ("pre-copy", 0.0, stopping),
            ("VF stops", stopping, self.stop_at_ms),
            ("last RAM, state, load", self.stop_at_ms, self.run_at_ms),
            ("first frame", self.run_at_ms, first),
        ];
        marks
            .into_iter()
            .map(|(name, from, to)| Phase { name, from, to })
            .collect()
    }

    /// How much before and after the stop is worth a look, in ms.
    fn window(&self) -> (f64, f64) {
        let after = (self.run_at_ms - self.stop_at_ms + self.blackout_ms).max(100.0);
        ((after * 0.6).round(), (after * 1.6).round())
    }
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other() {
        let r = Round {
            stop_at_ms: 500.0,
            run_at_ms: 540.0,
            switch_over_at_ms: 490.0,
            switch_over_ms: 60.0,
            suspend_us: 2000.0,
            ..Round::default()
        };
        let phases = r.phases();
        assert!(phases.windows(2).all(|w| w[0].to == w[1].from));
        assert_eq!(phases[1].to - phases[1].from, 2.0);
        assert_eq!(phases[3].to, 550.0);
        assert!(phases[3].line(100.0).contains("████"));
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
