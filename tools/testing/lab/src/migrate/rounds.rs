// SPDX-License-Identifier: GPL-2.0
//! A VM that talks to the station while it moves to and fro.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use serde_json::{json, Value};

use super::host::{Host, Seat, PORT};
use super::inner::{Card, Inner};
use super::loss::Drops;
use super::pair::{Pair, Progress};
use super::report::{self, Report, Round};
use super::{Plan, Traffic};
use crate::guest::Guest;
use crate::kernel::Flavour;
use crate::klog::{self, Scanner};
use crate::lab::Lab;
use crate::qmp::Refused;
use crate::station::control::parse_mac;
use crate::station::flow::Sample;
use crate::station::{FlowSpec, Station, V4};

/// Starts the VM on the first host, moves it as planned, and ends it.
///
/// # Errors
/// If a step fails; faults of the migration itself are in the report.
pub fn run(lab: &Lab, pair: &Pair, plan: &Plan<'_>, progress: &Progress) -> Result<Report> {
    let (station, [first, second]) = (&pair.station, &pair.hosts);
    let log_from = pair.log_lengths();
    let mut image = pair.image(lab, plan.card, plan.guest)?;
    image.trace = plan.trace.is_some();
    progress.say("starting the VM on h1");
    let mut vm = Inner::start(first, plan.card, &image, false)?;
    vm.configure().with_context(|| diagnose(first, &mut vm))?;
    let started = start_traffic(plan, &vm.agent, vm.seats, station);
    let (flow, rate) = explained(started, "starting the traffic", first, &mut vm)?;

    let mut rounds = Vec::new();
    let asked = boot_id(&vm.agent);
    let boot_id = explained(asked, "asking the VM for its boot id", first, &mut vm)?;
    // Each datagram from here on belongs to the migration during or after which it was sent.
    let mut seq = station.next_seq(flow)?;
    let counted = drops(pair, &vm);
    let mut dropped = explained(counted, "asking for counters", first, &mut vm)?;
    for n in 0..plan.rounds {
        let (from, to) = if n % 2 == 0 {
            (first, second)
        } else {
            (second, first)
        };
        progress.say(&format!(
            "migration {} of {}: {} to {}",
            n + 1,
            plan.rounds,
            from.name(),
            to.name()
        ));
        let waiting = Inner::start(to, plan.card, &image, true)?;
        let (mut round, arrived) = one_round(station, (flow, &mut seq), from, to, vm, waiting)?;
        vm = arrived;
        match drops(pair, &vm) {
            Ok(now) => {
                round.drops = now.since(dropped);
                dropped = now;
            }
            Err(e) => {
                round
                    .error
                    .get_or_insert(format!("asking for counters: {e:#}"));
            }
        }
        let failed = round.error.is_some();
        rounds.push(round);
        if failed {
            break;
        }
    }
    let alive = boot_id == self::boot_id(&vm.agent).unwrap_or_default();
    progress.say("taking the figures");
    let before = station.stats(flow)?.received;
    thread::sleep(Duration::from_secs(1));
    let answers_at_the_end = station.stats(flow)?.received > before;
    station.stop_flow(flow);
    let sent = station.next_seq(flow)?;
    wait_for_answers(station, flow, seq..sent, ANSWERS)?;
    let (_, samples) = station.samples(flow)?;
    let lost = station.lost_between(flow, 0, sent)?;
    let lost_after = station.lost_between(flow, seq, sent)?;
    let mut faults = pair.faults(log_from)?;
    if !alive || !answers_at_the_end {
        let at = if plan.rounds % 2 == 0 { first } else { second };
        faults.push(format!("the VM is not well:\n{}", diagnose(at, &mut vm)));
    }
    faults.extend(
        Scanner::new()?
            .scan(&vm.agent.kernel_log(0))
            .into_iter()
            .map(|f| format!("VM: {f}")),
    );
    let report = Report::new(
        plan,
        rate,
        rounds,
        report::Seen {
            stats: station.stats(flow)?,
            streams: station.streams(),
            samples,
            lost,
            lost_after: lost_after.len(),
            alive,
            answers_at_the_end,
            faults,
        },
    );
    if let Some(dir) = plan.trace {
        for h in &pair.hosts {
            let all = "tail -n +1 $(ls -tr /run/*.trace)";
            let text = h.vm.guest.sh(all, Duration::from_secs(60))?.stdout;
            let path = dir.join(format!("{}.trace", h.name()));
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            klog::save(
                &dir.join(format!("{}.kmsg", h.name())),
                &h.vm.guest.kernel_log(0),
            )?;
        }
    }
    vm.quit();
    Ok(report)
}

/// Where frames for the VM were lost so far, as both hosts and the VM count them.
fn drops(pair: &Pair, vm: &Inner) -> Result<Drops> {
    let mut sum = Drops::default();
    for host in &pair.hosts {
        let here = host.drops()?;
        sum.ring_full += here.ring_full;
        sum.switch_full += here.switch_full;
    }
    let snmp = vm
        .agent
        .run(&["cat", "/proc/net/snmp"], Duration::from_secs(30))?
        .ok()?;
    sum.socket_full = udp_counter(&snmp, "RcvbufErrors").context("the VM's UDP counters")?;
    Ok(sum)
}

/// A counter of UDP in `/proc/net/snmp`: one line has the names, the next the values.
fn udp_counter(snmp: &str, name: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|l| l.strip_prefix("Udp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.find(|(n, _)| *n == name)?.1.parse().ok()
}

/// What tells a VM that went on from one that started anew.
pub(super) fn boot_id(agent: &Guest) -> Result<String> {
    agent
        .run(
            &["cat", "/proc/sys/kernel/random/boot_id"],
            Duration::from_secs(30),
        )?
        .ok()
}

/// Starts the VM's half of the traffic and the station's, at a rate that leaves the VM [`HEADROOM`]: under emulation on a loaded
/// machine the VM may keep up with less than was asked for. Gives the flow and its rate.
///
/// The echo's socket holds seconds of datagrams: a VM that is not scheduled for long during pre-copy then loses none in its own
/// socket, and what is lost was lost on the way.
pub(super) fn start_traffic(
    plan: &Plan<'_>,
    agent: &Guest,
    seats: &[Seat],
    station: &Station,
) -> Result<(u32, u32)> {
    let mut script = "echo 8388608 >/proc/sys/net/core/rmem_default".to_owned();
    for seat in seats {
        script += &format!(
            "; (/init udp-echo {} >/dev/null 2>&1 </dev/null &)",
            seat.ip()
        );
    }
    agent.sh(&script, Duration::from_secs(30))?.ok()?;
    if plan.traffic == Traffic::Tcp {
        agent
            .sh(
                &format!("(/init tcp-stream {V4} >/dev/null 2>&1 </dev/null &)"),
                Duration::from_secs(30),
            )?
            .ok()?;
    }
    let seat = seats.first().context("the VM has no card")?;
    start_flow(station, *seat, plan.rate)
}

/// Starts a flow to one of a VM's cards, as [`start_traffic`] does. Gives the flow and its rate.
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
        thread::sleep(Duration::from_millis(500));
        let lost = station.lost_between(flow, 0, last)?.len();
        if lost == 0 && station.stats(flow)?.received > 0 {
            return Ok((flow, rate));
        }
        station.stop_flow(flow);
        if rate <= least {
            bail!(
                "the VM does not answer the station, or not always: {:?}",
                station.stats(flow)?
            );
        }
        rate = (rate / 2).max(least);
    }
}

/// How many datagrams a second a VM answers for a moment: the least of a few bursts, after one for ARP and for the VM's code to be
/// translated. Each fits the VF's ring, so that the VM's processor alone limits it.
fn capacity(station: &Station, spec: FlowSpec) -> Result<u32> {
    const BURSTS: u32 = 4;
    const BURST_RATE: u32 = 5000;
    /// The debug kernel, beside other machines, was seen to answer 40 a second; the next flow would stand in line behind them.
    const BURST_ANSWERS: Duration = Duration::from_secs(60);
    /// When no more are expected: while the VM asks for the station's address it keeps answers, but not all of a burst
    /// (`unres_qlen_bytes` in `net/core/neighbour.c`).
    const QUIET: Duration = Duration::from_secs(5);
    let mut least = u32::MAX;
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
            least = least.min(u32::try_from(per_second)?);
        }
    }
    Ok(least)
}

/// Datagrams per second below which a blackout could not be told from the time between two of them; less only if asked for.
const MIN_RATE: u32 = 25;

/// How many times the traffic a VM must be able to answer before it moves. While it moves, each of its writes to a page that was
/// sent already traps, and two more QEMUs want the same processors; a VM that then cannot answer as fast as it is asked has its
/// socket overflow for as long, and the loss would be taken for one of the move.
const HEADROOM: u32 = 4;

/// How long a migration may take.
fn limit(kernel: Flavour) -> Duration {
    Duration::from_secs(match kernel {
        Flavour::Stock | Flavour::StockIommufd | Flavour::Release => 180,
        Flavour::Debug => 900,
    })
}

/// Moves the VM once. What goes wrong with the migration itself is in the round; the VM is then still on the source.
///
/// The flow comes with the number of the first datagram that no earlier migration accounts for.
fn one_round(
    station: &Station,
    (flow, seq): (u32, &mut u64),
    from: &Host,
    to: &Host,
    mut source: Inner,
    mut target: Inner,
) -> Result<(Round, Inner)> {
    let (there, here) = (from.clock()?, to.clock()?);
    let begin = Instant::now();
    let mut round = Round {
        from: from.name(),
        to: to.name(),
        ..Round::default()
    };
    if source.card == Card::Replug {
        source.unplug()?;
    }
    let begun = begin_move(to, &mut source, &mut target, (PORT, PORT))
        .with_context(|| why_not(&diagnose(from, &mut source), &source, &target))?;
    let moved = match begun {
        Some(refusal) => Err(refusal),
        None => {
            match source.card {
                Card::Failover => {
                    // The VF is gone from the guest now: what manages the hosts tells the network that the standby has its
                    // address.
                    let limit = limit(source.kernel);
                    source.qmp.wait(|e| migration_is(e, &["active"]), limit)?;
                    source.announce()?;
                }
                Card::Closed => close_at_the_end(&mut source)?,
                Card::Vf | Card::Virtio | Card::Replug => {}
            }
            end_move(&mut source)
                .with_context(|| why_not(&diagnose(from, &mut source), &source, &target))?
        }
    };
    let info = source.qmp.execute("query-migrate", json!({}))?;
    round.take_qemu(&info);
    if let Err(why) = moved {
        round.error = Some(why_not(&why, &source, &target));
        target.quit();
        return Ok((round, source));
    }
    let short = Duration::from_secs(60);
    let stopped = source.qmp.wait(|e| is_event(e, "STOP"), short)?;
    let resumed = target
        .qmp
        .wait(|e| is_event(e, "RESUME"), short)
        .with_context(|| why_not(&diagnose(to, &mut target), &source, &target))?;
    match target.card {
        Card::Replug => {
            target.plug()?;
            target.configure()?;
        }
        Card::Closed => target.set_link(true)?,
        // QEMU plugs the VF by itself once the VM runs; the move is over when the VM uses it as before.
        Card::Failover => {
            let plugged = target
                .announce_vf()
                .and_then(|()| wait_for_vf(station, flow, to));
            explained(plugged, "waiting for the VF", to, &mut target)?;
        }
        Card::Vf | Card::Virtio => {}
    }
    let settled = settle(station, flow, station.next_seq(flow)?)?;
    let next = settled.map_or_else(|| station.next_seq(flow), Ok)?;
    round.take_station(station, flow, *seq..next, begin)?;
    *seq = next;
    round.stop_at_ms = there.ms_after(begin, &stopped);
    round.run_at_ms = here.ms_after(begin, &resumed);
    if target.card == Card::Vf {
        round.take_driver(&from.figures()?, &to.figures()?);
    }
    if settled.is_none() {
        round.error = Some(format!(
            "the VM does not answer from {}:\n{}",
            to.name(),
            diagnose(to, &mut target)
        ));
    }
    source.quit();
    Ok((round, target))
}

/// Waits until the VM answers by a VF of the host.
fn wait_for_vf(station: &Station, flow: u32, host: &Host) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while !station
        .last_port(flow)?
        .is_some_and(|port| host.vm.cards.contains(&port))
    {
        anyhow::ensure!(
            Instant::now() < end,
            "the VM does not answer by its VF after a minute"
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Starts a move to where `target` waits. Gives why QEMU refuses, if it does.
///
/// The target listens at the first port, the source connects to the second.
pub(super) fn begin_move(
    to: &Host,
    source: &mut Inner,
    target: &mut Inner,
    (listen, connect): (u16, u16),
) -> Result<Option<String>> {
    let downtime_ms = downtime_ms(source.kernel);
    // With the bandwidth that holds it, a page takes longer than that, and a VM that runs always has one to send.
    let hold = if source.card == Card::Closed {
        4096 * 1000 / u64::from(downtime_ms)
    } else {
        GOES
    };
    let parameters = json!({ "max-bandwidth": 1_u64 << 30, "downtime-limit": downtime_ms, "avail-switchover-bandwidth": hold });
    source.qmp.execute("migrate-set-parameters", parameters)?;
    // Those of the migration by which the VM came here.
    source.qmp.events.clear();
    target.qmp.execute(
        "migrate-incoming",
        json!({ "uri": format!("tcp:0.0.0.0:{listen}") }),
    )?;
    let uri = json!({ "uri": format!("tcp:{}:{connect}", to.address()) });
    match source.qmp.execute("migrate", uri) {
        Ok(_) => Ok(None),
        Err(e) if e.downcast_ref::<Refused>().is_some() => Ok(Some(format!("{e:#}"))),
        Err(e) => Err(e),
    }
}

/// Waits until most memory is sent, has the guest close its VF, and lets QEMU stop the VM.
fn close_at_the_end(source: &mut Inner) -> Result<()> {
    /// The first pass over the dirty bitmap begins the migration, the second comes when all memory was sent once.
    const PASSES: u64 = 3;
    let end = Instant::now() + limit(source.kernel);
    loop {
        let info = source.qmp.execute("query-migrate", json!({}))?;
        let passes = info
            .pointer("/ram/dirty-sync-count")
            .and_then(Value::as_u64);
        if passes.is_some_and(|n| n >= PASSES) {
            break;
        }
        anyhow::ensure!(
            Instant::now() < end,
            "the migration does not advance: {info}"
        );
        thread::sleep(Duration::from_millis(10));
    }
    source.set_link(false)?;
    let parameters = json!({ "avail-switchover-bandwidth": GOES });
    source.qmp.execute("migrate-set-parameters", parameters)?;
    Ok(())
}

/// Waits for the end of a move. Gives why it failed, if it did.
pub(super) fn end_move(source: &mut Inner) -> Result<Result<(), String>> {
    let limit = limit(source.kernel);
    let end = source.qmp.wait(
        |e| migration_is(e, &["completed", "failed", "cancelled"]),
        limit,
    )?;
    if migration_is(&end, &["completed"]) {
        return Ok(Ok(()));
    }
    let info = source.qmp.execute("query-migrate", json!({}))?;
    let why = info.get("error-desc").and_then(Value::as_str);
    Ok(Err(why.unwrap_or("no reason given").to_owned()))
}

/// A failure with what both QEMUs said.
pub(super) fn why_not(why: &str, source: &Inner, target: &Inner) -> String {
    format!(
        "{why}; source: {}; destination: {}",
        source.said().trim(),
        target.said().trim()
    )
}

/// A stop that QEMU may plan for, in ms: it stops the VM once what is left to send would take no longer. The default of 300 lets
/// it stop the VM with megabytes left, which the emulated network needs tens of milliseconds for. On the debug kernel a VM that
/// answers 50 datagrams a second dirties more than it can send in 300 ms, and the migration did not end in three minutes.
fn downtime_ms(kernel: Flavour) -> u32 {
    match kernel {
        Flavour::Stock | Flavour::StockIommufd | Flavour::Release => 20,
        Flavour::Debug => 3000,
    }
}

/// `avail-switchover-bandwidth` that lets QEMU go by the bandwidth that it sees.
const GOES: u64 = 0;

pub(super) fn is_event(event: &Value, name: &str) -> bool {
    event.get("event").and_then(Value::as_str) == Some(name)
}

pub(super) fn migration_is(event: &Value, states: &[&str]) -> bool {
    is_event(event, "MIGRATION")
        && event
            .pointer("/data/status")
            .and_then(Value::as_str)
            .is_some_and(|s| states.contains(&s))
}

/// How long the answers to a flow that has ended may take on a loaded machine.
const ANSWERS: Duration = Duration::from_secs(5);

/// Waits until what a flow sent in this range has come back, or for `limit`: what is lost stays lost.
fn wait_for_answers(station: &Station, flow: u32, sent: Range<u64>, limit: Duration) -> Result<()> {
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
            wait_for_answers(station, flow, now - 20..now, Duration::from_secs(2))?;
            return Ok(Some(now));
        }
        if Instant::now() > end {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What helps to understand why a VM that has arrived does not answer.
pub(super) fn diagnose(to: &Host, vm: &mut Inner) -> String {
    let limit = Duration::from_secs(20);
    let mut machine = machine_state(to, vm) + "a second later:\n";
    thread::sleep(Duration::from_secs(1));
    machine += &machine_state(to, vm);
    let vm_state = "grep -E 'CPU|eth0|ixgbevf|virtio' /proc/interrupts; cd /sys/class/net/eth0/statistics; grep . rx_packets \
                    tx_packets rx_dropped rx_errors; dmesg | tail -n 5";
    let host_state = "ip -s -s link; for n in $(ls /sys/bus/pci/devices/0000:01:00.0/net); do ethtool -S $n | grep -v ': 0'; done; \
                      grep vfio /proc/interrupts; dmesg | tail -n 10";
    let said = |what: &str, out: Result<crate::guest::Output>| match out {
        Ok(o) => format!("{what}:\n{}{}", o.stdout, o.stderr),
        Err(e) => format!("{what}: {e:#}\n"),
    };
    machine
        + &said("in the VM", vm.agent.sh(vm_state, limit))
        + &said(
            "a second later",
            vm.agent.sh(&format!("sleep 1; {vm_state}"), limit),
        )
        + &said("in the host", to.vm.guest.sh(host_state, limit))
        + &said(
            "the VM's console",
            to.vm
                .guest
                .sh("tail -n 25 $(ls -t /run/vm*.console | head -n 1)", limit),
        )
        + &format!("QEMU says: {}", vm.said())
}

/// What was being done, and what helps to understand why it failed, if it did.
fn explained<T>(result: Result<T>, what: &str, host: &Host, vm: &mut Inner) -> Result<T> {
    result.with_context(|| format!("{what}:\n{}", diagnose(host, vm)))
}

/// What the VM's processor is at, as QEMU and KVM see it, and where QEMU's threads wait: for a VM that says nothing itself.
fn machine_state(host: &Host, vm: &mut Inner) -> String {
    let mut text = String::new();
    for command in ["info status", "info registers", "info lapic"] {
        let said = vm.qmp.human(command);
        text += &said.unwrap_or_else(|e| format!("{command}: {e:#}\n"));
    }
    let threads = "grep -H . /sys/kernel/debug/kvm/*/*/* 2>/dev/null | grep -v ':0$'
        for t in $(ls -d /proc/[0-9]*/task/* | grep -v self); do
            read c <$t/comm; case $c in qemu*|*KVM*|*live_migration*) ;; *) continue;; esac
            echo \"$t $c $(cut -d' ' -f3,14,15 $t/stat) $(cat $t/wchan)\"; cat $t/stack; done";
    match host.vm.guest.sh(threads, Duration::from_secs(20)) {
        Ok(o) => text + &o.stdout + "\n",
        Err(e) => text + &format!("QEMU's threads: {e:#}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_udp_counters_by_name() {
        let text = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts RcvbufErrors\nUdp: 100 2 7\nUdpLite: RcvbufErrors\nUdpLite: 9\n";
        assert_eq!(udp_counter(text, "RcvbufErrors"), Some(7));
        assert_eq!(udp_counter(text, "SndbufErrors"), None);
        assert_eq!(udp_counter("", "RcvbufErrors"), None);
    }
}
