// SPDX-License-Identifier: GPL-2.0
//! A flow to a VM, at a rate that it can answer, and when it runs again.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use super::spec::Seat;
use crate::station::control::parse_mac;
use crate::station::flow::Sample;
use crate::station::{FlowSpec, Station};
use crate::stats::median;

/// Starts a flow to one of a VM's cards, as [`super::rounds::start_traffic`] does. Gives the flow and its rate.
pub(super) fn start_flow(station: &Station, seat: Seat, rate: u32) -> Result<(u32, u32)> {
    let spec = FlowSpec {
        mac: parse_mac(&seat.mac())?,
        to: seat.ip().parse().context("the VM's address")?,
        rate,
        size: 200,
    };
    let most = capacity(station, spec)? / HEADROOM;
    let least = rate.min(MIN_RATE);
    let mut rate = rate.min(most).max(least);
    loop {
        let flow = station.start_flow(FlowSpec { rate, ..spec })?;
        thread::sleep(Duration::from_secs(3));
        let last = station.next_seq(flow)?;
        // There is no lower rate to try than the least: there late is no fault, and lost is.
        let late = if rate <= least { LAST_ANSWERS } else { LATE };
        wait_for_answers(station, flow, 0..last, late)?;
        let lost = station.lost_between(flow, 0, last)?.len();
        if lost == 0 && station.stats(flow)?.received > 0 {
            return Ok((flow, rate));
        }
        station.stop_flow(flow);
        if rate <= least {
            let s = station.stats(flow)?;
            bail!(
                "the VM answered {} of {} datagrams ({rate} a second), after {} ms on average: it does not work, or this \
                 machine is overloaded",
                s.received,
                s.sent,
                s.rtt_mean_us / 1000
            );
        }
        rate = (rate / 2).max(least);
    }
}

/// Frames that a VM receives and does not answer.
pub(super) struct Flood<'a> {
    station: &'a Station,
    flow: u32,
}

impl<'a> Flood<'a> {
    /// Starts it, where there is one: for an address that is nobody's, so that the VM's stack drops each frame.
    pub(super) fn start(station: &'a Station, seats: &[Seat], rate: u32) -> Result<Option<Self>> {
        if rate == 0 {
            return Ok(None);
        }
        let seat = seats.first().context("the VM has no card")?;
        let flow = station.start_flow(FlowSpec {
            mac: parse_mac(&seat.mac())?,
            to: Ipv4Addr::new(192, 0, 2, 253),
            rate,
            size: 100,
        })?;
        Ok(Some(Self { station, flow }))
    }

    /// How many were sent so far, and when that was.
    pub(super) fn sent(&self) -> Result<(u64, Instant)> {
        Ok((self.station.next_seq(self.flow)?, Instant::now()))
    }
}

impl Drop for Flood<'_> {
    fn drop(&mut self) {
        self.station.stop_flow(self.flow);
    }
}

/// How many datagrams a second a VM answers for a moment: the median of a few bursts, after one for ARP and for the VM's code to be
/// translated. Each fits the VF's ring, so that the VM's processor alone limits it. A burst during which the machine stood still, as one
/// does that it shares with others, says nothing of the VM.
fn capacity(station: &Station, spec: FlowSpec) -> Result<u32> {
    const BURSTS: u32 = 6;
    const BURST_RATE: u32 = 5000;
    /// The debug kernel, beside other machines, was seen to answer 40 a second; the next flow would stand in line behind them.
    const BURST_ANSWERS: Duration = Duration::from_secs(60);
    /// When no more are expected: while the VM asks for the station's address it keeps answers, but not all of a burst
    /// (`unres_qlen_bytes` in `net/core/neighbour.c`).
    const QUIET: Duration = Duration::from_secs(5);
    let mut rates = Vec::new();
    for n in 0..BURSTS {
        let flow = station.start_flow(FlowSpec {
            rate: BURST_RATE,
            ..spec
        })?;
        thread::sleep(Duration::from_millis(50));
        station.stop_flow(flow);
        let sent = station.next_seq(flow)?;
        let end = Instant::now() + BURST_ANSWERS;
        let mut missing = station.lost_between(flow, 0, sent)?.len();
        while missing > 0 && Instant::now() < end {
            wait_for_answers(station, flow, 0..sent, QUIET)?;
            let now = station.lost_between(flow, 0, sent)?.len();
            if now == missing {
                break;
            }
            missing = now;
        }
        let (_, samples) = station.samples(flow)?;
        let took_us = samples
            .iter()
            .map(Sample::back_us)
            .max()
            .unwrap_or(u64::MAX);
        let per_second = samples.len() as u64 * 1_000_000 / took_us.max(1);
        if n > 0 {
            rates.push(u32::try_from(per_second)?);
        }
    }
    Ok(median(rates.into_iter().map(f64::from)) as u32)
}

/// Datagrams per second below which a blackout could not be told from the time between two of them; less only if asked for.
const MIN_RATE: u32 = 25;

/// How many times the traffic a VM must be able to answer before it moves. While it moves, each of its writes to a page that was
/// sent already traps, and two more QEMUs want the same processors; a VM that then cannot answer as fast as it is asked has its
/// socket overflow for as long, and the loss would be taken for one of the move.
pub(super) const HEADROOM: u32 = 4;

/// By how much a VM may be late that keeps up: a machine that it shares with others stands still for a second now and then. One that is
/// asked for more than it can answer falls behind by more, or loses some.
const LATE: Duration = Duration::from_secs(2);

/// How long the answers to a flow that has ended may take on a loaded machine, where some of them are lost for good.
pub(super) const ANSWERS: Duration = Duration::from_secs(5);

/// The same where none should be lost, so that this is how long it takes to find out that some are.
pub(super) const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Waits until what a flow sent in this range has come back, or for `limit`: what is lost stays lost.
pub(super) fn wait_for_answers(
    station: &Station,
    flow: u32,
    sent: Range<u64>,
    limit: Duration,
) -> Result<()> {
    let end = Instant::now() + limit;
    while Instant::now() < end && !station.lost_between(flow, sent.start, sent.end)?.is_empty() {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// How long a VM that has arrived may take to catch up with what it was sent meanwhile: on the debug kernel, beside other work, it
/// was behind by four seconds when 20 were over.
const SETTLE: Duration = Duration::from_secs(180);

/// Waits until the flow runs as before: some datagrams sent after `seq` came back, and those sent until then had time to.
/// Gives the number of the first that had not; `None` if the flow does not run.
///
/// A loaded machine may keep an answer for long, so those under way are waited for as long as they come.
pub(super) fn settle(station: &Station, flow: u32, seq: u64) -> Result<Option<u64>> {
    let end = Instant::now() + SETTLE;
    loop {
        let now = station.next_seq(flow)?;
        if now > seq + 20 && station.lost_between(flow, now - 20, now)?.len() < 10 {
            wait_for_answers(station, flow, now - 20..now, LAST_ANSWERS)?;
            return Ok(Some(now));
        }
        if Instant::now() > end {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}
