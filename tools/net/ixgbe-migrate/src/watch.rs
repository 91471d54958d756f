// SPDX-License-Identifier: GPL-2.0
//! `watch`: the phases of a move, one line for each change, until it ends.
//!
//! VFIO has no events for its states, so they are looked at every few milliseconds. A state that is
//! shorter than that is missed; the figures of the report are exact.

use crate::host::Host;
use crate::status::{report, tell, vfio_state, Report};
use crate::users::Users;

/// One look at a VF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// VFIO's state; none without the variant driver.
    pub state: Option<String>,
    /// Report.
    pub report: Option<Report>,
    /// A process has the VF open.
    pub used: bool,
}

impl Sample {
    /// Takes a look at a VF, of which a user has one of `files` open.
    pub fn take(host: &dyn Host, vf: &str, files: &[String]) -> Self {
        let (state, report) = (vfio_state(host, vf), report(host, vf));
        // All processes are looked at only where it matters: that takes longer than the rest.
        let saved = report.as_ref().is_some_and(|r| r.get("saves") > 0);
        let used = match state.as_deref() {
            Some("RUNNING") if saved => Users::look(host).of(files).is_none_or(|u| !u.is_empty()),
            _ => true,
        };
        Self {
            state,
            report,
            used,
        }
    }
}

/// How a move ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The VF runs here now.
    Arrived,
    /// The VF has left.
    Left,
    /// It was refused; the VM runs on on the source.
    Refused,
    /// It was cancelled; the VF goes on here.
    Stayed,
    /// The VF has lost its variant driver.
    Gone,
}

impl Ending {
    /// One line.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Arrived => "the VF has arrived and runs",
            Self::Left => "the VF has left",
            Self::Refused => "the move was refused",
            Self::Stayed => "the move was cancelled or failed, the VF goes on here",
            Self::Gone => "the VF has no variant driver any more",
        }
    }

    /// Whether the move was made.
    pub const fn moved(self) -> bool {
        matches!(self, Self::Arrived | Self::Left)
    }
}

/// What VFIO's states mean.
fn meaning(state: &str) -> &'static str {
    match state {
        "RUNNING" => "runs",
        "RUNNING_P2P" => "runs, and does no DMA to other devices",
        "PRE_COPY" => "runs while it is compared with the destination",
        "PRE_COPY_P2P" => "is stopped, the last of the memory is sent",
        "STOP_COPY" => "is stopped, its state is saved",
        "STOP" => "is stopped",
        "RESUMING" => "its state is loaded",
        "ERROR" => "has failed; it needs a reset",
        _ => "",
    }
}

/// Follows a move from look to look.
#[derive(Debug)]
pub struct Watch {
    last: Sample,
    first: Report,
    /// It has left RUNNING.
    began: bool,
    /// Looks in a row at which the state was the same.
    same: u32,
}

/// Looks at a stopped VF whose state was saved, after which it has left. A source whose destination
/// has failed stops as well, and runs again at once.
const LEFT_LOOKS: u32 = 50;

impl Watch {
    /// Begins with a first look; returns what to print.
    pub fn new(sample: Sample) -> (Self, Vec<String>) {
        let state = sample
            .state
            .clone()
            .unwrap_or_else(|| "no VFIO state".into());
        let lines = vec![line(&state)];
        let watch = Self {
            first: sample.report.clone().unwrap_or_default(),
            began: sample.state.as_deref().is_some_and(|s| s != "RUNNING"),
            last: sample,
            same: 0,
        };
        (watch, lines)
    }

    /// Takes the next look; returns what to print, and how the move has ended if it has.
    pub fn observe(&mut self, sample: Sample) -> (Vec<String>, Option<Ending>) {
        let mut lines = Vec::new();
        if sample.state != self.last.state {
            lines.push(line(sample.state.as_deref().unwrap_or("no VFIO state")));
        }
        let report = sample.report.clone().unwrap_or_default();
        if sample.report.is_some() && sample.report != self.last.report {
            lines.push(format!("moves: {}", tell(&report)));
        }
        self.same = if sample.state == self.last.state {
            self.same.saturating_add(1)
        } else {
            0
        };
        let more = |name: &str| report.get(name) > self.first.get(name);
        let ending = match sample.state.as_deref() {
            _ if more("refused") => Some(Ending::Refused),
            None => Some(Ending::Gone),
            Some("RUNNING") if more("loads") => Some(Ending::Arrived),
            Some("STOP") if more("saves") && self.same >= LEFT_LOOKS => Some(Ending::Left),
            // When QEMU ends, the device is closed and begins anew in RUNNING.
            Some("RUNNING") if more("saves") && !sample.used => Some(Ending::Left),
            Some("RUNNING") if self.began => Some(Ending::Stayed),
            _ => None,
        };
        self.began |= sample.state.as_deref().is_some_and(|s| s != "RUNNING");
        self.last = sample;
        (lines, ending)
    }
}

fn line(state: &str) -> String {
    match meaning(state) {
        "" => state.to_owned(),
        meaning => format!("{state}: {meaning}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(state: &str, figures: &[(&str, u64)]) -> Sample {
        let figures = figures.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        Sample {
            state: Some(state.into()),
            report: Some(Report {
                restore: "none".into(),
                figures,
            }),
            used: true,
        }
    }

    fn run(samples: Vec<Sample>) -> (Vec<String>, Option<Ending>) {
        let mut samples = samples.into_iter();
        let (mut watch, mut lines) = Watch::new(samples.next().unwrap_or_default());
        for sample in samples {
            let (more, ending) = watch.observe(sample);
            lines.extend(more);
            if ending.is_some() {
                return (lines, ending);
            }
        }
        (lines, None)
    }

    #[test]
    fn a_source() {
        let saved = [("saves", 1)];
        let (lines, ending) = run(vec![
            at("RUNNING", &[]),
            at("RUNNING", &[]),
            at("PRE_COPY", &[]),
            at("PRE_COPY_P2P", &[]),
            at("STOP_COPY", &saved),
            at("STOP", &saved),
            Sample {
                used: false,
                ..at("RUNNING", &saved)
            },
        ]);
        assert_eq!(ending, Some(Ending::Left));
        assert_eq!(lines.len(), 7, "{lines:?}");
        assert_eq!(lines[3], "STOP_COPY: is stopped, its state is saved");
    }

    #[test]
    fn a_destination() {
        let (lines, ending) = run(vec![
            at("RUNNING", &[("loads", 3)]),
            at("RESUMING", &[("loads", 3)]),
            at("STOP", &[("loads", 4)]),
            at("RUNNING", &[("loads", 4)]),
        ]);
        assert_eq!(ending, Some(Ending::Arrived));
        assert_eq!(lines.len(), 5, "{lines:?}");
    }

    /// QEMU may wait with the stopped VM until it is told to end.
    #[test]
    fn a_source_whose_qemu_stays() {
        let mut looks = vec![at("RUNNING", &[]), at("STOP_COPY", &[("saves", 1)])];
        looks.extend((0..100).map(|_| at("STOP", &[("saves", 1)])));
        assert_eq!(run(looks).1, Some(Ending::Left));
    }

    /// The state was saved, the destination did not take it, and the VM goes on.
    #[test]
    fn a_destination_that_fails_late() {
        let looks = vec![
            at("RUNNING", &[]),
            at("STOP_COPY", &[("saves", 1)]),
            at("STOP", &[("saves", 1)]),
            at("STOP", &[("saves", 1)]),
            at("RUNNING", &[("saves", 1)]),
        ];
        assert_eq!(run(looks).1, Some(Ending::Stayed));
    }

    #[test]
    fn refused_cancelled_and_gone() {
        let ending = |samples| run(samples).1;
        let refused = vec![
            at("RESUMING", &[("refused", 1)]),
            at("ERROR", &[("refused", 2)]),
        ];
        assert_eq!(ending(refused), Some(Ending::Refused));
        let stayed = vec![at("RUNNING", &[]), at("PRE_COPY", &[]), at("RUNNING", &[])];
        assert_eq!(ending(stayed), Some(Ending::Stayed));
        assert_eq!(
            ending(vec![at("RUNNING", &[]), Sample::default()]),
            Some(Ending::Gone)
        );
        // A VM that only runs is no move.
        assert_eq!(ending(vec![at("RUNNING", &[]), at("RUNNING", &[])]), None);
    }
}
