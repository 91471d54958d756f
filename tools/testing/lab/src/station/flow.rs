// SPDX-License-Identifier: GPL-2.0
//! Bookkeeping of one flow of test datagrams: what was sent, what came back, when, and how.

use std::collections::HashSet;

use lab_agent::pattern::Datagram;
use serde::Serialize;

use crate::switch::PortId;

/// A flow's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Datagrams sent.
    pub sent: u64,
    /// Different datagrams that came back.
    pub received: u64,
    /// Sent and not come back.
    pub lost: u64,
    /// Came back more than once.
    pub duplicated: u64,
    /// Came back with another content.
    pub corrupted: u64,
    /// Came back after one that was sent later.
    pub reordered: u64,
    /// Came back though never sent.
    pub unknown: u64,
    /// Shortest round trip in µs.
    pub rtt_min_us: u64,
    /// Mean round trip in µs.
    pub rtt_mean_us: u64,
    /// Longest round trip in µs.
    pub rtt_max_us: u64,
    /// Longest time between two arrivals, in µs; the time from the last arrival to now counts too.
    pub longest_gap_us: u64,
    /// When that gap began, in µs after the flow's start.
    pub longest_gap_at_us: u64,
}

/// One datagram that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When it was sent, in µs after the flow's start.
    pub sent_us: u64,
    /// Its round trip in µs.
    pub rtt_us: u64,
    /// The switch's port that it came back by.
    pub port: PortId,
}

impl Sample {
    /// When it came back, in µs after the flow's start.
    pub fn back_us(&self) -> u64 {
        self.sent_us.saturating_add(self.rtt_us)
    }
}

/// A flow. Times are in ns after its start.
#[derive(Debug, Default)]
pub struct Flow {
    sent_at: Vec<u64>,
    seen: HashSet<u64>,
    duplicated: u64,
    corrupted: u64,
    reordered: u64,
    unknown: u64,
    newest: Option<u64>,
    last_arrival_ns: Option<u64>,
    gap: (u64, u64),
    samples: Vec<Sample>,
}

impl Flow {
    /// Number of the next datagram to send.
    pub fn next_seq(&self) -> u64 {
        self.sent_at.len() as u64
    }

    /// Notes that the next datagram was sent.
    pub fn sent(&mut self, now_ns: u64) {
        self.sent_at.push(now_ns);
    }

    /// Of the datagrams from `from` on and before `to`, the times in ns at which those were sent that did not come back.
    pub fn lost_between(&self, from: u64, to: u64) -> Vec<u64> {
        (from..to)
            .filter(|seq| !self.seen.contains(seq))
            .filter_map(|seq| self.sent_at.get(usize::try_from(seq).ok()?).copied())
            .collect()
    }

    /// Notes an arrival by a port of the switch.
    pub fn arrived(&mut self, d: &Datagram, bytes: &[u8], now_ns: u64, port: PortId) {
        if !d.is_intact(bytes) {
            self.corrupted += 1;
            return;
        }
        if d.seq >= self.next_seq() {
            self.unknown += 1;
            return;
        }
        if !self.seen.insert(d.seq) {
            self.duplicated += 1;
            return;
        }
        if self.newest.is_some_and(|n| d.seq < n) {
            self.reordered += 1;
        } else {
            self.newest = Some(d.seq);
        }
        self.note_gap(now_ns);
        self.last_arrival_ns = Some(now_ns);
        self.samples.push(Sample {
            sent_us: d.sent_ns / 1000,
            rtt_us: now_ns.saturating_sub(d.sent_ns) / 1000,
            port,
        });
    }

    /// Notes an arrival whose checksum was wrong.
    pub fn bad_checksum(&mut self) {
        self.corrupted += 1;
    }

    fn note_gap(&mut self, now_ns: u64) {
        if let Some(last) = self.last_arrival_ns {
            let gap = now_ns.saturating_sub(last);
            if gap > self.gap.0 {
                self.gap = (gap, last);
            }
        }
    }

    /// What came back, in order of arrival.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The longest gap that ended after `from_ns`, wherever it began: its length and its beginning, both in µs.
    pub fn longest_gap_since(&self, from_ns: u64) -> (u64, u64) {
        let mut arrivals: Vec<u64> = self.samples.iter().map(Sample::back_us).collect();
        arrivals.sort_unstable();
        arrivals
            .windows(2)
            .filter_map(|w| Some((w.get(1)?.saturating_sub(*w.first()?), *w.first()?)))
            .filter(|(gap, at)| at.saturating_add(*gap) > from_ns / 1000)
            .max()
            .unwrap_or_default()
    }

    /// The figures at a time.
    pub fn stats(&self, now_ns: u64, running: bool) -> Stats {
        let mut gap = self.gap;
        if let (true, Some(last)) = (running, self.last_arrival_ns) {
            gap = gap.max((now_ns.saturating_sub(last), last));
        }
        let rtts = || self.samples.iter().map(|s| s.rtt_us);
        let received = self.seen.len() as u64;
        Stats {
            sent: self.next_seq(),
            received,
            lost: self.next_seq().saturating_sub(received),
            duplicated: self.duplicated,
            corrupted: self.corrupted,
            reordered: self.reordered,
            unknown: self.unknown,
            rtt_min_us: rtts().min().unwrap_or_default(),
            rtt_mean_us: rtts()
                .sum::<u64>()
                .checked_div(received)
                .unwrap_or_default(),
            rtt_max_us: rtts().max().unwrap_or_default(),
            longest_gap_us: gap.0 / 1000,
            longest_gap_at_us: gap.1 / 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn send(f: &mut Flow, sent_ns: u64) -> (Datagram, Vec<u8>) {
        let d = Datagram {
            flow: 1,
            seq: f.next_seq(),
            sent_ns,
        };
        f.sent(sent_ns);
        (d, d.encode(100))
    }

    #[test]
    fn tells_lost_duplicated_reordered_and_corrupted_apart() {
        let mut f = Flow::default();
        let sent: Vec<_> = (0..6).map(|i| send(&mut f, i * MS)).collect();
        let mut arrive = |i: usize, ms: u64| f.arrived(&sent[i].0, &sent[i].1, ms * MS, 1);
        arrive(0, 1);
        arrive(2, 3);
        arrive(1, 4);
        arrive(1, 5);
        arrive(3, 54);
        let mut bad = sent[4].1.clone();
        bad[60] ^= 0x10;
        f.arrived(&sent[4].0, &bad, 55 * MS, 1);
        let never = Datagram {
            flow: 1,
            seq: 99,
            sent_ns: 0,
        };
        f.arrived(&never, &never.encode(100), 55 * MS, 1);
        let s = f.stats(60 * MS, false);
        assert_eq!((s.sent, s.received, s.lost), (6, 4, 2));
        assert_eq!(
            (s.duplicated, s.reordered, s.corrupted, s.unknown),
            (1, 1, 1, 1)
        );
        assert_eq!((s.longest_gap_us, s.longest_gap_at_us), (50_000, 4_000));
        assert_eq!((s.rtt_min_us, s.rtt_max_us), (1_000, 51_000));
    }

    #[test]
    fn silence_up_to_now_is_a_gap_while_the_flow_runs() {
        let mut f = Flow::default();
        let (d, b) = send(&mut f, 0);
        f.arrived(&d, &b, MS, 1);
        assert_eq!(f.stats(101 * MS, true).longest_gap_us, 100_000);
        assert_eq!(f.stats(101 * MS, false).longest_gap_us, 0);
    }

    #[test]
    fn gaps_can_be_asked_for_from_a_time_on() {
        let mut f = Flow::default();
        for (at, back) in [(0, 1), (50, 51), (60, 61), (90, 91)] {
            let (d, b) = send(&mut f, at * MS);
            f.arrived(&d, &b, back * MS, 1);
        }
        assert_eq!(f.longest_gap_since(0), (50_000, 1_000));
        // What began before and ends after is part of what is looked at.
        assert_eq!(f.longest_gap_since(40 * MS), (50_000, 1_000));
        assert_eq!(f.longest_gap_since(51 * MS), (30_000, 61_000));
    }
}
