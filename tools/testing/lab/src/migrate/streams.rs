// SPDX-License-Identifier: GPL-2.0
//! The TCP connections of a VM while it moves: each must go on after each move, in both directions.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::spec::Traffic;
use crate::guest::Guest;
use crate::station::{Station, Stream, V4};

/// Where the VM's agent says what its connections have received.
const SINKS: &str = "/run/tcp-sinks";

/// How long a connection may stand after a VM has arrived before it counts as dead: a judgement about its gaps is made elsewhere.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one connection has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    bytes: u64,
    open: bool,
}

/// What became of the connections in a move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resumed {
    /// Open when the VM arrived.
    pub(super) open: usize,
    /// Of them, those that received something afterwards.
    pub(super) resumed: usize,
    /// How long it took until all had.
    pub(super) took: Duration,
}

/// Starts the connections that this traffic has.
pub(super) fn start(traffic: Traffic, station: &Station, agent: &Guest) -> Result<()> {
    station.forget_streams();
    let script = if let Some(count) = traffic.both_ways() {
        format!(
            "(/init tcp-streams {V4} {count} >/run/tcp-streams.log 2>&1 </dev/null &)
             (/init tcp-sinks {V4} {count} {SINKS} >/run/tcp-sinks.log 2>&1 </dev/null &)
             for i in $(seq 300); do [ -e {SINKS} ] && exit; sleep 0.1; done
             cat /run/tcp-*.log; exit 1"
        )
    } else if traffic.has_streams() {
        format!("(/init tcp-stream {V4} >/dev/null 2>&1 </dev/null &)")
    } else {
        return Ok(());
    };
    agent
        .sh(&script, Duration::from_secs(60))?
        .ok()
        .context("starting the TCP connections")?;
    // A connection that is not there yet when the VM moves would be missing afterwards.
    let end = Instant::now() + PATIENCE;
    while station.streams().is_empty() && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Reads what the agent says of the connections to it: bytes, wrong ones, and whether it is open.
fn sinks(text: &str) -> Vec<Stream> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::parse::<u64>);
            Some(Stream {
                bytes: fields.next()?.ok()?,
                corrupted: fields.next()?.ok()?,
                open: fields.next()?.ok()? == 1,
                to_vm: true,
                ..Stream::default()
            })
        })
        .collect()
}

/// All connections, those to the VM last.
pub(super) fn all(traffic: Traffic, station: &Station, agent: &Guest) -> Result<Vec<Stream>> {
    let mut all = station.streams();
    if traffic.both_ways().is_some() {
        let text = agent
            .run(&["cat", SINKS], Duration::from_secs(60))?
            .ok()
            .context("asking for the VM's TCP connections")?;
        all.extend(sinks(&text));
    }
    Ok(all)
}

/// What each has received by now.
pub(super) fn received(
    traffic: Traffic,
    station: &Station,
    agent: &Guest,
) -> Result<Vec<Received>> {
    Ok(all(traffic, station, agent)?
        .iter()
        .map(|s| Received {
            bytes: s.bytes,
            open: s.open,
        })
        .collect())
}

/// How many of the connections that were open are so still and have received something since.
fn resumed(before: &[Received], now: &[Received]) -> usize {
    before
        .iter()
        .zip(now)
        .filter(|(b, n)| b.open && n.open && n.bytes > b.bytes)
        .count()
}

/// Waits until every connection that was open has received something since.
pub(super) fn wait(
    traffic: Traffic,
    station: &Station,
    agent: &Guest,
    before: &[Received],
) -> Result<Resumed> {
    let open = before.iter().filter(|b| b.open).count();
    let start = Instant::now();
    loop {
        let now = received(traffic, station, agent)?;
        let resumed = resumed(before, &now);
        let took = start.elapsed();
        if resumed == open || took > PATIENCE {
            return Ok(Resumed {
                open,
                resumed,
                took,
            });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_from_before_a_move_do_not_count() {
        let of = |bytes, open| Received { bytes, open };
        let before = [of(100, true), of(100, true), of(100, true), of(7, false)];
        // One goes on, one hangs, one is closed.
        let now = [of(101, true), of(100, true), of(200, false), of(7, false)];
        assert_eq!(resumed(&before, &now), 1);
    }

    #[test]
    fn reads_the_agents_account() {
        let all = sinks("10 0 1\n20 3 0\nnonsense\n");
        assert_eq!(all.len(), 2);
        let second = all.get(1).expect("the second");
        assert_eq!(
            (second.bytes, second.corrupted, second.open),
            (20, 3, false)
        );
    }
}
