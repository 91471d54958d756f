// SPDX-License-Identifier: GPL-2.0
//! What a move must keep to. Durations are generous and grow with what slows this machine down; what does not depend on time is exact.

use super::report::{Report, Round};
use super::spec::{is_checked, Card};
use crate::kernel::Flavour;
use crate::ktap::{Status, TestResult};
use crate::stats::median;

/// Median of the blackouts, in ms, of moves that the guest notices nothing of. A quiet machine needs a twentieth with one vCPU; with two
/// vCPUs, two CPUs of each host and two cores, on a slow day and nothing beside it, 2423 was seen. What a blackout is worth is told as
/// a ratio: this bound is for a VM that waits for some time-out.
const BLACKOUT_MS: f64 = 5000.0;

/// The same where the guest starts its VF again: three times what a quiet machine needs.
const RESTART_MS: f64 = 20_000.0;

/// Longest gap of a TCP connection, in ms: its sender's time-out doubles with each blackout that it meets.
const TCP_GAP_MS: f64 = 10_000.0;

/// How long after it runs on the destination a VM may take to answer as before, in ms.
const SETTLED_MS: f64 = 30_000.0;

/// Datagrams a second that a VM answers on any machine that is not asked for more than it has.
const LEAST_RATE: u32 = 50;

/// Register accesses to save and to load a VF, and bytes of its state: the budgets of the design.
const MMIO_SAVE: u64 = 150;
const MMIO_LOAD: u64 = 200;
const STATE_BYTES: u64 = 4096;

/// What pre-copy takes for a MiB of memory on a quiet machine, in ms: 25 with the lab's own kernel, 40 with Debian's. On a slow day 190
/// were seen, with a blackout of 6083 ms.
const PRE_COPY_MS: f64 = 50.0;

/// RAM that may be sent while the VM stands where the guest marks what its VF wrote, or the host followed its rings, in bytes. Else it
/// is all memory, 46 MiB: this is what shows that either works.
const STOPPED_BYTES: u64 = 4 << 20;

/// Takes down how a check came out.
pub(super) fn check(results: &mut Vec<TestResult>, name: String, ok: bool, comment: String) {
    results.push(TestResult {
        name,
        status: if ok { Status::Pass } else { Status::Fail },
        comment,
    });
}

/// The result of looking at all logs.
pub(super) fn logs_are_clean(faults: &[String]) -> TestResult {
    TestResult {
        name: "kernel logs are clean".into(),
        status: if faults.is_empty() {
            Status::Pass
        } else {
            Status::Fail
        },
        comment: faults.first().cloned().unwrap_or_default(),
    }
}

/// What should have come of the moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Every one succeeds, restored in this way, or in any.
    Moves(Option<&'static str>),
    /// Every one is refused and the VM goes on where it is.
    Refused,
}

/// How many times longer a checked kernel takes for everything, see [`crate::runner`].
pub(super) fn slowness(kernel: Flavour) -> f64 {
    if is_checked(kernel) {
        6.0
    } else {
        1.0
    }
}

/// How many times longer than on a quiet machine the same moves' pre-copy took, and so everything else: the emulated processors
/// alone limit both. At least 1. What a VM waits for when it has been stopped is no part of pre-copy.
fn slow_today(report: &Report) -> f64 {
    let per_mib = report.rounds.iter().filter(|r| r.error.is_none());
    let per_mib = per_mib.map(|r| {
        let sent = r.ram_sent_bytes.saturating_sub(r.ram_sent_stopped_bytes);
        r.stop_at_ms / (sent as f64 / f64::from(1 << 20)).max(1.0)
    });
    // On a checked kernel that is its slowness, which is known.
    let quiet = PRE_COPY_MS * slowness(report.setting.kernel);
    (median(per_mib) / quiet).max(1.0)
}

/// Whether the guest starts its VF again after this move.
fn restarts(round: &Round) -> bool {
    round.restore == "reset"
}

/// Whether the guest notices nothing of this move, or nothing that it loses frames by.
pub(super) fn is_seamless(round: &Round) -> bool {
    ["write", "rearm"].contains(&round.restore.as_str())
}

/// Judges moves.
pub(super) fn judge(report: &Report, want: Want) -> Vec<TestResult> {
    let mut judged = Judged {
        report,
        // A machine that is asked for more than it has is slow for all of it, and so is one that has less than on other days.
        patience: slowness(report.setting.kernel) * report.load.max(slow_today(report)),
        results: Vec::new(),
    };
    for (i, round) in report.rounds.iter().enumerate() {
        let name = format!("migration {}", i + 1);
        match want {
            Want::Refused => judged.refused(&name, round),
            Want::Moves(way) => judged.moved(&name, round, way),
        }
    }
    judged.whole_run();
    judged.results
}

struct Judged<'a> {
    report: &'a Report,
    patience: f64,
    results: Vec<TestResult>,
}

impl Judged<'_> {
    fn check(&mut self, name: String, ok: bool, comment: String) {
        check(&mut self.results, name, ok, comment);
    }

    fn most(&mut self, name: String, value: f64, limit: f64, unit: &str) {
        let comment = format!("{value:.0} of at most {limit:.0} {unit}");
        self.check(name, value <= limit, comment);
    }

    fn refused(&mut self, name: &str, round: &Round) {
        let error = round.error.clone().unwrap_or_default();
        self.check(
            format!("{name} is refused"),
            round.error.is_some() && round.crash.is_none(),
            match &round.crash {
                Some(crash) => format!("QEMU crashed: {crash}; {error}"),
                None => error,
            },
        );
    }

    fn moved(&mut self, name: &str, round: &Round, way: Option<&str>) {
        let report = self.report;
        let error = round.error.clone().unwrap_or_default();
        self.check(
            format!("{name} succeeds"),
            round.error.is_none(),
            format!(
                "{error} blackout {} ms, restored by {}",
                round.blackout_ms, round.restore
            ),
        );
        if round.error.is_some() {
            return;
        }
        if let Some(way) = way {
            self.check(
                format!("{name} restores by {way}"),
                round.restore == way,
                round.restore.clone(),
            );
        }
        if report.card == Card::Vf {
            self.check(
                format!("{name} keeps to its budgets"),
                (1..=MMIO_SAVE).contains(&round.mmio_save)
                    && (1..=MMIO_LOAD).contains(&round.mmio_load)
                    && (1..=STATE_BYTES).contains(&round.state_bytes),
                format!(
                    "{} register accesses to save and {} to load, state {} bytes",
                    round.mmio_save, round.mmio_load, round.state_bytes
                ),
            );
            // On a checked kernel QEMU may stop the VM with more left, see downtime_ms().
            let known = report.guest_marks || round.dirty == "followed";
            if known && !is_checked(report.setting.kernel) {
                self.check(
                    format!("{name} sends little RAM while the VM stands: it is known what its VF wrote"),
                    round.ram_sent_stopped_bytes <= STOPPED_BYTES,
                    format!(
                        "{} of at most {STOPPED_BYTES} bytes",
                        round.ram_sent_stopped_bytes
                    ),
                );
            }
            self.most(
                format!("{name}: the VM answers again"),
                round.settled_ms,
                (SETTLED_MS + if restarts(round) { RESTART_MS } else { 0.0 }) * self.patience,
                "ms after it ran",
            );
        }
        if is_seamless(round) {
            // But what somebody has counted: a VM that is short of time does not keep up, wherever it is.
            self.check(
                format!("{name} loses nothing but by the move"),
                round.frames_lost_outside <= round.drops.total(),
                format!(
                    "{} of {} datagrams outside; {}",
                    round.frames_lost_outside, round.frames_sent, round.drops
                ),
            );
            self.check(
                format!("{name}: the guest does not start its VF again"),
                round.link_ups == 0,
                format!("its link came up {} times", round.link_ups),
            );
        }
        if restarts(round) {
            let limit = f64::from(report.rate) * RESTART_MS * self.patience / 1000.0;
            self.most(
                format!("{name} loses no more than a restart costs"),
                round.frames_lost as f64,
                limit,
                "datagrams",
            );
            self.check(
                format!("{name}: the guest starts its VF again once"),
                round.link_ups == 1,
                format!("its link came up {} times", round.link_ups),
            );
        }
        if report.traffic.has_streams() {
            self.check(
                format!("{name}: every TCP connection goes on"),
                round.tcp_open > 0 && round.tcp_resumed == round.tcp_open,
                format!(
                    "{} of {} received something afterwards, after {:.0} ms",
                    round.tcp_resumed, round.tcp_open, round.tcp_resumed_ms
                ),
            );
        }
        self.check(
            format!("{name}: every transmit queue of the VM ran empty"),
            round.stuck_queues.is_empty(),
            round.stuck_queues.join(", "),
        );
    }

    fn whole_run(&mut self) {
        let r = self.report;
        let moved = || r.rounds.iter().filter(|r| r.error.is_none());
        let limit = if moved().any(restarts) {
            Some(RESTART_MS)
        } else {
            (r.card == Card::Virtio || moved().any(is_seamless)).then_some(BLACKOUT_MS)
        };
        if let Some(limit) = limit {
            self.most(
                "the median blackout is bearable".into(),
                r.median_blackout_ms,
                limit * self.patience,
                "ms",
            );
        }
        if !is_checked(r.setting.kernel) && r.load <= 1.0 {
            // A VM whose interrupts are lost answers as often as a timer wakes it, some tens a second. What a sound one answers
            // beyond that tells of the machine: 124 of 500 were seen where a compiler ran beside it.
            let least = f64::from((r.asked_rate / 2).min(LEAST_RATE)) / self.patience;
            self.check(
                format!(
                    "the VM keeps up with half of what was asked for, or {LEAST_RATE} a second"
                ),
                f64::from(r.rate) >= least,
                format!("{} of {} datagrams a second", r.rate, r.asked_rate),
            );
        }
        if r.card == Card::Vf && r.setting.guest_cpus > 1 {
            self.check(
                "the VF has a queue pair for each of two CPUs".into(),
                r.queue_pairs >= 2,
                format!(
                    "{} queue pairs, {} CPUs",
                    r.queue_pairs, r.setting.guest_cpus
                ),
            );
        }
        self.check("the VM goes on".into(), r.guest_alive, String::new());
        self.check(
            "traffic goes on".into(),
            r.answers_at_the_end,
            String::new(),
        );
        self.check(
            "nothing is corrupted".into(),
            r.frames_corrupted == 0,
            r.frames_corrupted.to_string(),
        );
        self.check(
            "nothing is duplicated".into(),
            r.frames_duplicated == 0,
            r.frames_duplicated.to_string(),
        );
        if r.rounds.last().is_some_and(is_seamless) {
            self.check(
                "nothing is lost after the last move".into(),
                r.frames_lost_after <= r.drops_after.total(),
                format!("{}; {}", r.frames_lost_after, r.drops_after),
            );
        }
        if r.traffic.has_streams() {
            self.streams();
        }
        self.results.push(logs_are_clean(&r.faults));
    }

    fn streams(&mut self) {
        let r = self.report;
        self.check(
            "TCP is intact".into(),
            r.streams.iter().all(|s| s.corrupted == 0 && s.bytes > 0),
            format!("{:?}", r.streams),
        );
        if r.traffic.both_ways().is_some() {
            let to_vm = r.streams.iter().filter(|s| s.to_vm).count();
            self.check(
                "TCP goes in both directions".into(),
                to_vm > 0 && to_vm < r.streams.len(),
                format!("{to_vm} of {} connections to the VM", r.streams.len()),
            );
        }
        let longest = r.streams.iter().map(|s| s.longest_gap_us).max();
        let restart = if r.rounds.iter().any(restarts) {
            3.0 * RESTART_MS
        } else {
            0.0
        };
        let limit = (TCP_GAP_MS + restart) * self.patience;
        // The time-out after which it is sent again is up to twice the blackout that began before.
        let blackout = r.rounds.iter().map(|r| r.blackout_ms).fold(0.0, f64::max);
        self.most(
            "no TCP connection stands for long".into(),
            longest.unwrap_or_default() as f64 / 1000.0,
            limit.max(3.0 * blackout),
            "ms",
        );
    }
}

impl Report {
    /// Writes down what is wrong with the run, or `ok`; again when something was added to it.
    pub(super) fn judge(&mut self) {
        let wrong = wrong(&judge(self, Want::Moves(None)));
        self.result = if wrong.is_empty() { "ok".into() } else { wrong };
    }
}

/// What is wrong, in one line for each; empty where nothing is.
pub(super) fn wrong(results: &[TestResult]) -> String {
    let failed = results.iter().filter(|r| r.status == Status::Fail);
    let lines = failed.map(|r| {
        let comment = r.comment.lines().next().unwrap_or_default();
        format!("not so: {}: {comment}", r.name)
    });
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::spec::Traffic;
    use super::*;
    use crate::station::Stream;

    /// A move as a quiet machine has it.
    fn good() -> Report {
        let round = Round {
            restore: "write".into(),
            blackout_ms: 92.0,
            settled_ms: 400.0,
            mmio_save: 87,
            mmio_load: 143,
            state_bytes: 592,
            stop_at_ms: 4000.0,
            ram_sent_bytes: 113 << 20,
            ram_sent_stopped_bytes: 1 << 20,
            tcp_open: 1,
            tcp_resumed: 1,
            ..Round::default()
        };
        Report {
            traffic: Traffic::Tcp,
            median_blackout_ms: 92.0,
            rounds: vec![round],
            streams: vec![Stream {
                bytes: 1000,
                open: true,
                longest_gap_us: 300_000,
                ..Stream::default()
            }],
            ..Report::example()
        }
    }

    /// What is wrong with the good report when this is changed.
    fn with(change: impl Fn(&mut Report)) -> String {
        let mut report = good();
        change(&mut report);
        wrong(&judge(&report, Want::Moves(Some("write"))))
    }

    fn first(report: &mut Report) -> &mut Round {
        report.rounds.first_mut().expect("one round")
    }

    #[test]
    fn a_good_move_is_good() {
        assert_eq!(with(|_| {}), "");
    }

    #[test]
    fn each_limit_is_one() {
        type Change = fn(&mut Report);
        let changes: [(&str, Change); 19] = [
            ("median blackout", |r| r.median_blackout_ms = 30_000.0),
            ("answers again", |r| first(r).settled_ms = 170_000.0),
            ("budgets", |r| first(r).mmio_save = 151),
            ("budgets", |r| first(r).mmio_load = 201),
            ("budgets", |r| first(r).mmio_load = 0),
            ("budgets", |r| first(r).state_bytes = 4097),
            // All of the memory that a VM uses, as without marks.
            ("little RAM", |r| first(r).ram_sent_stopped_bytes = 46 << 20),
            ("little RAM", |r| {
                r.guest_marks = false;
                first(r).dirty = "followed".into();
                first(r).ram_sent_stopped_bytes = 5 << 20;
            }),
            ("but by the move", |r| first(r).frames_lost_outside = 1),
            ("does not start its VF again", |r| first(r).link_ups = 1),
            ("every TCP connection", |r| first(r).tcp_resumed = 0),
            ("every TCP connection", |r| first(r).tcp_open = 0),
            ("stands for long", |r| {
                r.streams[0].longest_gap_us = 60_000_000;
            }),
            ("ran empty", |r| first(r).stuck_queues = vec!["tx-1".into()]),
            ("half of what was asked", |r| r.rate = 25),
            ("half of what was asked", |r| {
                (r.asked_rate, r.rate) = (500, 49)
            }),
            ("each of two CPUs", |r| r.setting.guest_cpus = 2),
            ("restores by write", |r| first(r).restore = "rearm".into()),
            ("after the last move", |r| r.frames_lost_after = 1),
        ];
        for (name, change) in changes {
            let wrong = with(change);
            assert!(wrong.contains(name), "{name}: {wrong:?}");
        }
    }

    #[test]
    fn what_somebody_has_counted_is_no_loss_of_the_move() {
        let lost = |counted| {
            with(|r| {
                first(r).frames_lost_outside = 3;
                first(r).drops.ring_full = counted;
                r.frames_lost_after = 2;
                r.drops_after.socket_full = counted;
            })
        };
        assert_eq!(lost(3), "");
        assert!(lost(2).contains("but by the move"));
        assert!(lost(1).contains("after the last move"));
    }

    #[test]
    fn a_machine_that_is_asked_for_more_than_it_has_is_slow() {
        let slow = |r: &mut Report| {
            r.median_blackout_ms = 3600.0;
            r.rate = 35;
        };
        assert_ne!(with(slow), "");
        assert_eq!(
            with(|r| {
                slow(r);
                r.load = 2.75;
            }),
            ""
        );
        // No load excuses more register accesses, or memory that was not marked.
        assert_ne!(
            with(|r| {
                r.load = 9.0;
                first(r).mmio_save = 151;
            }),
            ""
        );
    }

    #[test]
    fn a_day_on_which_all_takes_longer_is_slow() {
        let slow = |r: &mut Report| {
            r.median_blackout_ms = 6083.0;
            r.rate = 25;
            r.streams[0].longest_gap_us = 19_000_000;
        };
        assert_ne!(with(slow), "");
        let with_pre_copy = |ms: f64, blackout: f64| {
            with(|r| {
                slow(r);
                r.median_blackout_ms = blackout;
                first(r).stop_at_ms = ms;
            })
        };
        assert_eq!(with_pre_copy(19_180.0, 6083.0), "");
        // A VM that waits for something when it has moved is no slow day, nor is a slow day one without end.
        assert!(with_pre_copy(4000.0, 6083.0).contains("median blackout"));
        assert!(with_pre_copy(19_180.0, 20_000.0).contains("median blackout"));
    }

    #[test]
    fn a_time_out_of_tcp_is_that_of_the_blackout_before() {
        let gap = |blackout_ms| {
            with(|r| {
                first(r).blackout_ms = blackout_ms;
                r.streams[0].longest_gap_us = 12_000_000;
            })
        };
        assert_eq!(gap(4500.0), "");
        assert!(gap(900.0).contains("stands for long"));
    }

    #[test]
    fn a_reset_is_one_restart_and_its_loss_is_bounded() {
        let with = |change: fn(&mut Round)| {
            let mut report = good();
            report.median_blackout_ms = 7600.0;
            let round = first(&mut report);
            round.restore = "reset".into();
            round.link_ups = 1;
            round.frames_lost = 764;
            round.frames_lost_outside = 700;
            change(round);
            wrong(&judge(&report, Want::Moves(Some("reset"))))
        };
        assert_eq!(with(|_| {}), "");
        assert!(with(|r| r.frames_lost = 18_000).contains("no more than a restart costs"));
        assert!(with(|r| r.link_ups = 5).contains("once"));
        assert!(with(|r| r.link_ups = 0).contains("once"));
    }

    #[test]
    fn a_crash_is_no_refusal() {
        let refused = |crash: Option<&str>| {
            let mut report = good();
            let round = first(&mut report);
            round.error = Some("no such host device".into());
            round.crash = crash.map(String::from);
            wrong(&judge(&report, Want::Refused))
        };
        assert_eq!(refused(None), "");
        assert!(refused(Some("signal 11")).contains("QEMU crashed"));
        assert!(wrong(&judge(&good(), Want::Refused)).contains("is refused"));
    }

    #[test]
    fn tcp_goes_both_ways() {
        let both = |to_vm| {
            with(|r| {
                r.traffic = Traffic::Both;
                r.streams.push(Stream {
                    bytes: 7,
                    open: true,
                    to_vm,
                    ..Stream::default()
                });
            })
        };
        assert_eq!(both(true), "");
        assert!(both(false).contains("both directions"));
    }
}
