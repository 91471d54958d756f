// SPDX-License-Identifier: GPL-2.0
//! A VM that talks to the station while it moves to and fro.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{json, Value};

use super::diagnose::{self, diagnose, explained};
use super::events;
use super::host::{Host, PORT};
use super::inner::Inner;
use super::loss::Drops;
use super::pair::{at_once, Pair, Progress};
use super::rate::{self, settle, wait_for_answers, Flood, LAST_ANSWERS};
use super::report::{self, Report, Round};
use super::spec::{is_checked, Card, Plan, Seat};
use super::streams;
use crate::guest::Guest;
use crate::kernel::Flavour;
use crate::klog;
use crate::lab::Lab;
use crate::qmp::Refused;
use crate::station::Station;

/// Starts the VM on the first host, moves it as planned, and ends it.
///
/// # Errors
/// If a step fails; faults of the migration itself are in the report.
pub fn run(lab: &Lab, pair: &Pair, plan: &Plan<'_>, progress: &Progress) -> Result<Report> {
    let (station, [first, second]) = (&pair.station, &pair.hosts);
    let mut image = pair.image(lab, plan.card, plan.guest)?;
    image.trace = plan.trace.is_some();
    image.cpus = plan.guest_cpus;
    image.memory_mib = plan.memory_mib;
    image.iommufd = plan.iommufd;
    if plan.rx_ring.is_some() {
        events::bring(pair, &mut image, &[events::ETHTOOL.to_owned()])?;
    }
    progress.say("starting the VM on h1");
    let mut vm = diagnose::start(first, plan.card, &image)?;
    if plan.guest_restarts() {
        let said = expect_hang(&vm.agent);
        explained(said, "announcing messages", first, &mut vm)?;
    }
    if let Some(n) = plan.rx_ring {
        let script = format!("/tools/ethtool -G eth0 rx {n} && sleep 1");
        vm.agent.sh(&script, Duration::from_secs(60))?.ok()?;
    }
    let started = start_traffic(plan, &vm.agent, vm.seats, station);
    let (flow, rate) = explained(started, "starting the traffic", first, &mut vm)?;
    let flood = Flood::start(station, vm.seats, plan.flood)?;

    let mut rounds = Vec::new();
    let asked = boot_id(&vm.agent);
    let boot_id = explained(asked, "asking the VM for its boot id", first, &mut vm)?;
    let counted = queue_pairs(&vm.agent);
    let queue_pairs = explained(counted, "counting the VM's queues", first, &mut vm)?;
    let counted = drops(pair, &vm);
    let mut dropped = explained(counted, "asking for counters", first, &mut vm)?;
    // Each datagram from here on belongs to the migration during or after which it was sent. Whatever is lost of them is counted later.
    let mut seq = station.next_seq(flow)?;
    for n in 0..plan.rounds {
        let (from, to) = if n % 2 == 0 {
            (first, second)
        } else {
            (second, first)
        };
        // Every second move comes as soon as it can: then the driver has mostly just reset its VF, and would not do it again
        // for a refusal.
        if plan.guest_restarts() && n % 2 == 0 {
            progress.say("waiting until the VM's driver would reset its VF when it is told to");
            thread::sleep(RESET_GUARD);
        }
        progress.say(&format!(
            "migration {} of {}: {} to {}",
            n + 1,
            plan.rounds,
            from.name(),
            to.name()
        ));
        let waiting = Inner::start(to, plan.card, &image, true)?;
        let flooded = flood.as_ref().map(Flood::sent).transpose()?;
        let (mut round, arrived, counted) =
            one_round(pair, plan, (flow, &mut seq), from, to, vm, waiting)?;
        vm = arrived;
        if let (Some((sent, at)), Some(flood)) = (flooded, &flood) {
            let (now, seconds) = (flood.sent()?.0, at.elapsed().as_secs_f64());
            round.flood_rate = ((now - sent) as f64 / seconds).round();
        }
        match drops(pair, &vm) {
            Ok(now) => {
                round.drops = now.since(dropped);
                dropped = counted.unwrap_or(now);
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
    drop(flood);
    let alive = boot_id == self::boot_id(&vm.agent).unwrap_or_default();
    progress.say("taking the figures");
    let before = station.stats(flow)?.received;
    thread::sleep(Duration::from_secs(1));
    let answers_at_the_end = answers_since(station, flow, before)?;
    station.stop_flow(flow);
    let sent = station.next_seq(flow)?;
    wait_for_answers(station, flow, seq..sent, LAST_ANSWERS)?;
    let (_, samples) = station.samples(flow)?;
    let lost = station.lost_between(flow, 0, sent)?;
    let lost_after = station.lost_between(flow, seq, sent)?;
    // A VM that is gone cannot be asked: what was lost then is not explained.
    let drops_after = drops(pair, &vm)
        .map(|now| now.since(dropped))
        .unwrap_or_default();
    let mut faults = pair.faults()?;
    if !alive || !answers_at_the_end {
        let at = if plan.rounds % 2 == 0 { first } else { second };
        faults.push(format!("the VM is not well:\n{}", diagnose(at, &mut vm)));
    }
    let asked = streams::all(plan.traffic, station, &vm.agent);
    let streams = match asked {
        Ok(streams) => streams,
        Err(e) => {
            faults.push(format!("{e:#}"));
            station.streams()
        }
    };
    let mut report = Report::new(
        plan,
        rate,
        rounds,
        report::Seen {
            setting: pair.setting(plan.guest_cpus),
            stats: station.stats(flow)?,
            streams,
            queue_pairs,
            samples,
            lost,
            lost_after: lost_after.len() as u64,
            drops_after,
            alive,
            answers_at_the_end,
            faults,
        },
    );
    report.judge();
    if let Some(dir) = plan.trace {
        // From its last arrival on: each host sees a part of it.
        klog::save(&dir.join("vm.kmsg"), &vm.agent.kernel_log(0))?;
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

/// Mainline's driver is shown that its Tx ring hangs, and says so when it resets its VF for that.
pub(super) fn expect_hang(agent: &Guest) -> Result<()> {
    let script = "echo 'ksft: expect Detected Tx Unit Hang' >/dev/kmsg";
    agent.sh(script, Duration::from_secs(30))?.ok()?;
    Ok(())
}

/// How long after a reset of its VF mainline's driver does not reset it because it is told to
/// (`ixgbevf_watchdog_update_link`), and a second.
pub(super) const RESET_GUARD: Duration = Duration::from_secs(11);

/// Where frames for the VM were lost so far, as both hosts and the VM count them.
pub(super) fn drops(pair: &Pair, vm: &Inner) -> Result<Drops> {
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

/// Starts the VM's half of the traffic and the station's, at a rate that leaves the VM [`rate::HEADROOM`]: under emulation on a loaded
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
    start_services(plan, agent, seats, station)?;
    let seat = seats.first().context("the VM has no card")?;
    rate::start_flow(station, *seat, plan.rate)
}

/// Starts the VM's half of the traffic.
pub(super) fn start_services(
    plan: &Plan<'_>,
    agent: &Guest,
    seats: &[Seat],
    station: &Station,
) -> Result<()> {
    let mut script = "echo 8388608 >/proc/sys/net/core/rmem_default".to_owned();
    for seat in seats {
        script += &format!(
            "; (/init udp-echo {} >/dev/null 2>&1 </dev/null &)",
            seat.ip()
        );
    }
    agent.sh(&script, Duration::from_secs(30))?.ok()?;
    streams::start(plan.traffic, station, agent)
}

/// Whether more answers came than these, or come: a machine that is shared with others stands still for a second now and then.
fn answers_since(station: &Station, flow: u32, before: u64) -> Result<bool> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if station.stats(flow)?.received > before {
            return Ok(true);
        }
        if Instant::now() > end {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// How long a migration may take.
fn limit(kernel: Flavour) -> Duration {
    Duration::from_secs(if is_checked(kernel) { 900 } else { 180 })
}

/// Moves the VM once. What goes wrong with the migration itself is in the round; the VM is then still on the source.
///
/// The flow comes with the number of the first datagram that no earlier migration accounts for, and is given that of the first that
/// this one does not. With the VM comes what was counted as lost before that datagram was sent, if the VM has moved.
fn one_round(
    pair: &Pair,
    plan: &Plan<'_>,
    (flow, seq): (u32, &mut u64),
    from: &Host,
    to: &Host,
    mut source: Inner,
    mut target: Inner,
) -> Result<(Round, Inner, Option<Drops>)> {
    let station = &pair.station;
    let (there, here) = at_once(|| from.clock(), || to.clock())?;
    let before = match source.card {
        Card::Vf => from.figures()?,
        _ => BTreeMap::new(),
    };
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
        let (here, there) = (source.crash(Duration::ZERO), target.crash(MOMENT));
        round.crash = here.or(there);
        round.error = Some(why_not(&why, &source, &target));
        target.quit();
        return Ok((round, source, None));
    }
    let short = Duration::from_secs(60);
    let stopped = source.qmp.wait(|e| is_event(e, "STOP"), short)?;
    let resumed = target
        .qmp
        .wait(|e| is_event(e, "RESUME"), short)
        .with_context(|| why_not(&diagnose(to, &mut target), &source, &target))?;
    let ran = Instant::now();
    let asked = streams::received(plan.traffic, station, &target.agent);
    let open = explained(asked, "asking for TCP connections", to, &mut target)?;
    match target.card {
        Card::Replug => {
            target.plug()?;
            diagnose::configure(to, &mut target)?;
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
    round.settled_ms = ran.elapsed().as_secs_f64() * 1000.0;
    if settled.is_some() {
        let waited = streams::wait(plan.traffic, station, &target.agent, &open);
        let resumed = explained(waited, "waiting for TCP connections", to, &mut target)?;
        round.tcp_open = resumed.open;
        round.tcp_resumed = resumed.resumed;
        round.tcp_resumed_ms = resumed.took.as_secs_f64() * 1000.0;
        round.stuck_queues = stuck_queues(&target.agent)?;
        round.link_ups = link_ups(&target.agent);
    }
    // First what was counted: what is lost from here on must be counted for who sends it, and is so for this move as well.
    let counted = settled.map(|_| drops(pair, &target)).transpose();
    let counted = explained(counted, "asking for counters", to, &mut target)?;
    let next = station.next_seq(flow)?;
    if let Some(settled) = settled {
        wait_for_answers(station, flow, settled..next, LAST_ANSWERS)?;
    }
    round.take_station(station, flow, *seq..next, begin)?;
    *seq = next;
    round.stop_at_ms = there.ms_after(begin, &stopped);
    round.run_at_ms = here.ms_after(begin, &resumed);
    if target.card == Card::Vf {
        let (after, there) = at_once(|| from.figures(), || to.figures())?;
        round.take_driver(&after, &there);
        round.take_follow(&before, &after);
    }
    if settled.is_none() {
        round.error = Some(format!(
            "the VM does not answer from {}:\n{}",
            to.name(),
            diagnose(to, &mut target)
        ));
    }
    source.quit();
    Ok((round, target, counted))
}

/// How long a QEMU that could not load a state may take to end.
const MOMENT: Duration = Duration::from_secs(3);

/// How often the driver of the VF has said that the link came up, since the VM arrived: once for each time that it starts the VF.
fn link_ups(agent: &Guest) -> usize {
    agent
        .kernel_log(0)
        .iter()
        .filter(|r| r.text.starts_with("ixgbevf") && r.text.contains("NIC Link is Up"))
        .count()
}

/// Queue pairs of the VM's card.
fn queue_pairs(agent: &Guest) -> Result<u32> {
    let script = "set -- /sys/class/net/eth0/queues/tx-*; echo $#";
    let text = agent.sh(script, Duration::from_secs(30))?.ok()?;
    text.trim().parse().context("the number of queues")
}

/// Transmit queues of the VM that hold bytes all the time, though nobody sends that much: frames that the VF was given and that
/// were never said to be sent. Empty where the driver does not count (BQL).
pub(super) fn stuck_queues(agent: &Guest) -> Result<Vec<String>> {
    let script = "for q in /sys/class/net/eth0/queues/tx-*/byte_queue_limits/inflight; do
            [ -e $q ] || continue
            i=0; while [ $i -lt 500 ]; do read n <$q; [ \"$n\" = 0 ] && break; i=$((i + 1)); sleep 0.02; done
            [ \"$n\" = 0 ] || echo $q holds $n bytes
        done";
    let text = agent.sh(script, Duration::from_secs(120))?.ok()?;
    Ok(text.lines().map(String::from).collect())
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
    ports: (u16, u16),
) -> Result<Option<String>> {
    let hold = source.card == Card::Closed;
    begin(to, source, target, ports, hold)
}

/// Starts a move in which QEMU sends memory until it is [let go](let_go).
pub(super) fn begin_held(
    to: &Host,
    source: &mut Inner,
    target: &mut Inner,
) -> Result<Option<String>> {
    begin(to, source, target, (PORT, PORT), true)
}

fn begin(
    to: &Host,
    source: &mut Inner,
    target: &mut Inner,
    (listen, connect): (u16, u16),
    hold: bool,
) -> Result<Option<String>> {
    let downtime_ms = downtime_ms(source.kernel);
    // With the bandwidth that holds it, a page takes longer than that, and a VM that runs always has one to send.
    let bandwidth = if hold {
        4096 * 1000 / u64::from(downtime_ms)
    } else {
        GOES
    };
    let parameters = json!({ "max-bandwidth": 1_u64 << 30, "downtime-limit": downtime_ms, "avail-switchover-bandwidth": bandwidth });
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

/// Lets QEMU stop the VM of a move that was [held](begin_held).
pub(super) fn let_go(source: &mut Inner) -> Result<()> {
    let parameters = json!({ "avail-switchover-bandwidth": GOES });
    source.qmp.execute("migrate-set-parameters", parameters)?;
    Ok(())
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
    let_go(source)
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
    if is_checked(kernel) {
        3000
    } else {
        20
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
