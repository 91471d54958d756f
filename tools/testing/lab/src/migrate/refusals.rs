// SPDX-License-Identifier: GPL-2.0
//! What a VM must survive: a destination that is not fit, and a source that no destination would take. The VM goes on where it
//! is, and the reason is told, before it is stopped where that could be known.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab_agent::Run;
use serde_json::json;

use super::diagnose::{self, configure};
use super::host::{Host, PORT};
use super::inner::Inner;
use super::judge::{check, logs_are_clean};
use super::loss::Drops;
use super::pair::{Pair, Progress};
use super::rate;
use super::report::Round;
use super::rounds::{self, boot_id, is_event};
use super::spec::{Card, Image, Plan, Traffic};
use super::streams;
use super::troubles::{Relay, Stage, Trouble, FIT, OTHER_CHIP, RELAY, RELAY_SCRIPT, TROUBLES};
use crate::ktap::{Status, TestResult};
use crate::lab::Lab;
use crate::qmp::{stamp_us, Refused};
use crate::stats::median;

/// How long a VM may stand for a refusal that comes late, on the slowest of machines: 0.1 to 0.4 s were seen.
const STANDS: Duration = Duration::from_secs(20);

/// How much longer its VF may stand: it stops before QEMU says that the VM has, and starts after QEMU says that it goes on.
const VF_STANDS: Duration = Duration::from_secs(1);

/// How long a guest may take to start its VF again.
const RESTARTS: Duration = Duration::from_secs(20);

/// A VM that talks to the station through all of it.
pub(super) struct Talk<'a> {
    pair: &'a Pair,
    pub(super) image: Image,
    pub(super) from: &'a Host,
    pub(super) to: &'a Host,
    pub(super) vm: Inner,
    flow: u32,
    pub(super) boot_id: String,
    traffic: Traffic,
    /// Whether frames are lost when a VF that stood goes on.
    resets: bool,
    /// Whether its driver does that because its ring hangs.
    restarts: bool,
    rate: u32,
    results: Vec<TestResult>,
    /// Of the moves whose losses were looked at.
    blackouts: Vec<f64>,
    lost: u64,
    lost_outside: u64,
    /// Of them, those that nobody has counted.
    unexplained: u64,
    /// Datagrams that it may answer twice: it went back to a moment in which it had the answers in its VF's ring.
    pub(super) repeated: u64,
    /// A capability of the migration that the next moves have on both sides.
    pub(super) capability: Option<&'static str>,
}

/// From when on losses are looked for.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// The next datagram.
    seq: u64,
    at: Instant,
    drops: Drops,
}

impl<'a> Talk<'a> {
    pub(super) fn start(lab: &Lab, pair: &'a Pair, plan: &Plan<'_>) -> Result<Self> {
        pair.prepare(&FIT)?;
        let mut image = pair.image(lab, Card::Vf, plan.guest)?;
        image.iommufd = plan.iommufd;
        Self::start_as(pair, image, plan)
    }

    /// Starts a VM of this image on hosts that are prepared, with the plan's traffic.
    pub(super) fn start_as(pair: &'a Pair, image: Image, plan: &Plan<'_>) -> Result<Self> {
        let [from, to] = [&pair.hosts[0], &pair.hosts[1]];
        let vm = diagnose::start(from, Card::Vf, &image)?;
        if plan.guest_restarts() {
            rounds::expect_hang(&vm.agent)?;
        }
        let (flow, rate) = rounds::start_traffic(plan, &vm.agent, vm.seats, &pair.station)?;
        Ok(Self {
            pair,
            image,
            from,
            to,
            boot_id: boot_id(&vm.agent)?,
            vm,
            flow,
            traffic: plan.traffic,
            resets: plan.resets(),
            restarts: plan.guest_restarts(),
            rate,
            results: Vec::new(),
            blackouts: Vec::new(),
            lost: 0,
            lost_outside: 0,
            unexplained: 0,
            repeated: 0,
            capability: None,
        })
    }

    pub(super) fn check(&mut self, name: &str, ok: bool, comment: &str) {
        let (name, comment) = (name.to_owned(), comment.to_owned());
        check(&mut self.results, name, ok, comment);
    }

    /// Whether a check went wrong.
    pub(super) fn has_failed(&self) -> bool {
        self.results.iter().any(|r| r.status == Status::Fail)
    }

    fn stage(&self) -> Stage<'_> {
        Stage {
            from: self.from,
            to: self.to,
            vm: &self.vm,
        }
    }

    /// Whether the VM is the one that it was, and answers, and each of its TCP connections goes on, and what it gave its VF to
    /// send was sent. Gives what is wrong.
    fn wrong(&self) -> Result<Option<String>> {
        let station = &self.pair.station;
        let seq = station.next_seq(self.flow)?;
        if rate::settle(station, self.flow, seq)?.is_none() {
            return Ok(Some("it does not answer".into()));
        }
        match boot_id(&self.vm.agent) {
            Ok(id) if id == self.boot_id => {}
            Ok(_) => return Ok(Some("it is another VM, or has started again".into())),
            Err(e) => return Ok(Some(format!("{e:#}"))),
        }
        let agent = &self.vm.agent;
        let before = streams::received(self.traffic, station, agent)?;
        let after = streams::wait(self.traffic, station, agent, &before)?;
        if after.resumed != after.open || (after.open == 0 && self.traffic.has_streams()) {
            let (resumed, open) = (after.resumed, after.open);
            return Ok(Some(format!("{resumed} of {open} TCP connections go on")));
        }
        let stuck = rounds::stuck_queues(agent)?;
        Ok((!stuck.is_empty()).then(|| stuck.join(", ")))
    }

    /// Checks that the VM is well, see [`Self::wrong`]. Gives whether it is.
    pub(super) fn check_well(&mut self, name: &str) -> Result<bool> {
        let wrong = self.wrong()?;
        self.check(name, wrong.is_none(), wrong.as_deref().unwrap_or_default());
        Ok(wrong.is_none())
    }

    /// Now.
    pub(super) fn moment(&self) -> Result<Moment> {
        Ok(Moment {
            drops: rounds::drops(self.pair, &self.vm)?,
            seq: self.pair.station.next_seq(self.flow)?,
            at: Instant::now(),
        })
    }

    /// Checks that the VM is well, and that nothing was lost of what was sent since a moment but by a switch-over, or where
    /// somebody has counted it: in front of a ring or a socket of a VM that did not keep up with it and with its TCP
    /// connections, or in the lab's switch. Not if the VF is reset by it.
    pub(super) fn check_lossless(&mut self, name: &str, since: Moment) -> Result<bool> {
        let well = self.check_well(name)?;
        if !well || self.resets {
            return Ok(well);
        }
        let station = &self.pair.station;
        let end = station.next_seq(self.flow)?;
        rate::wait_for_answers(station, self.flow, since.seq..end, rate::ANSWERS)?;
        let drops = rounds::drops(self.pair, &self.vm)?.since(since.drops);
        let mut round = Round::default();
        round.take_station(station, self.flow, since.seq..end, since.at)?;
        self.blackouts
            .extend((round.switch_over_ms > 0.0).then_some(round.blackout_ms));
        self.lost += round.frames_lost;
        self.lost_outside += round.frames_lost_outside;
        let comment = format!(
            "blackout {} ms, {} of {} datagrams lost, {} of them outside, at {:?} ms; {drops}",
            round.blackout_ms,
            round.frames_lost,
            round.frames_sent,
            round.frames_lost_outside,
            round.lost_outside_at_ms
        );
        let lossless = round.frames_lost_outside <= drops.total();
        self.unexplained += round.frames_lost_outside.saturating_sub(drops.total());
        self.check(
            &format!("{name}: nothing is lost outside"),
            lossless,
            &comment,
        );
        Ok(lossless)
    }

    /// Datagrams that the VM has answered twice.
    pub(super) fn answered_twice(&self) -> Result<u64> {
        Ok(self.pair.station.stats(self.flow)?.duplicated)
    }

    /// Takes the VM for the one that has arrived.
    pub(super) fn has_moved(&mut self, arrived: Inner) {
        std::mem::replace(&mut self.vm, arrived).quit();
        std::mem::swap(&mut self.from, &mut self.to);
    }

    /// A move that succeeds shows that nothing was left behind. Gives how long it took.
    pub(super) fn moves(&mut self, name: &str) -> Result<Duration> {
        let since = self.moment()?;
        match self.try_to_move()? {
            Ok(took) => {
                self.check_lossless(name, since)?;
                Ok(took)
            }
            Err(why) => {
                self.check(name, false, &why);
                Ok(Duration::ZERO)
            }
        }
    }

    /// Moves the VM. Gives why not, if it does not.
    pub(super) fn try_to_move(&mut self) -> Result<std::result::Result<Duration, String>> {
        let log = self.log_lengths();
        Ok(match self.try_move(None, log)? {
            Outcome::Moved(arrived, took) => {
                self.has_moved(*arrived);
                Ok(took)
            }
            Outcome::Refused(failed) | Outcome::Crashed(failed) => Err(failed.why),
        })
    }

    /// The records of both hosts' kernels so far.
    fn log_lengths(&self) -> [usize; 2] {
        [self.from, self.to].map(|host| host.vm.guest.kernel_log(0).len())
    }

    /// Tries to move the VM. The hosts' kernels are quoted from these records on.
    fn try_move(&mut self, relay: Option<Relay>, log: [usize; 2]) -> Result<Outcome> {
        let (from, to) = (self.from, self.to);
        let mut target = match Inner::start(to, Card::Vf, &self.image, true) {
            Ok(target) => target,
            Err(e) => {
                let failed = Failed {
                    why: format!("{e:#}"),
                    stood: None,
                };
                let crashed = ["signal: Some", "Assertion", "core dumped"]
                    .iter()
                    .any(|s| failed.why.contains(s));
                return Ok(if crashed {
                    Outcome::Crashed(failed)
                } else {
                    Outcome::Refused(failed)
                });
            }
        };
        if let Some(relay) = relay {
            start_relay(to, relay)?;
        }
        let port = if relay.is_some() { RELAY } else { PORT };
        let source = &mut self.vm;
        let begin = Instant::now();
        let moved = match set_capability(self.capability, true, &mut [&mut target, source])? {
            Some(refusal) => Err(refusal),
            None => match rounds::begin_move(to, source, &mut target, (PORT, port))? {
                Some(refusal) => Err(refusal),
                None => rounds::end_move(source)?,
            },
        };
        // Of a QEMU that has crashed nobody can take it.
        for side in [&mut target, source] {
            let _ = set_capability(self.capability, false, &mut [side]);
        }
        let Err(why) = moved else {
            return Ok(Outcome::Moved(Box::new(target), begin.elapsed()));
        };
        let stopped = source.qmp.events.iter().any(|e| is_event(e, "STOP"));
        let crash = source.crash(Duration::ZERO).or(target.crash(MOMENT));
        let mut why = rounds::why_not(&why, source, &target);
        let stood = match crash {
            None if stopped => Some(stood(source).context("the VM does not go on")?),
            _ => None,
        };
        for (host, log) in [from, to].into_iter().zip(log) {
            host.vm.guest.flush_log(LOGGED)?;
            for record in host.vm.guest.kernel_log(log) {
                why += "\n";
                why += &record.text;
            }
        }
        target.quit();
        Ok(match crash {
            Some(crash) => {
                why.insert_str(0, &format!("{crash}: "));
                Outcome::Crashed(Failed { why, stood })
            }
            None => Outcome::Refused(Failed { why, stood }),
        })
    }

    /// How many datagrams a refusal may cost: a VM that was not stopped loses none but where somebody has counted them.
    fn most_lost(&self, trouble: &Trouble, stood: Duration, drops: Drops) -> u64 {
        let within = |time: Duration| (f64::from(self.rate) * time.as_secs_f64()) as u64;
        match trouble.stops {
            Some(false) => drops.total(),
            _ if self.resets => within(RESTARTS),
            _ => within(stood.min(STANDS) + VF_STANDS) + drops.total(),
        }
    }

    /// Gives a VM that was started again what [`Self::start_as`] gave it. The station's flow is the same.
    pub(super) fn started_again(&mut self) -> Result<()> {
        configure(self.from, &mut self.vm)?;
        if self.restarts {
            rounds::expect_hang(&self.vm.agent)?;
        }
        let plan = Plan {
            traffic: self.traffic,
            ..Plan::default()
        };
        rounds::start_services(&plan, &self.vm.agent, self.vm.seats, &self.pair.station)
    }

    /// Runs a case to its end, or to the step that cannot be done: what was found before that is told too.
    pub(super) fn runs(
        mut self,
        case: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<(Vec<TestResult>, Vec<String>)> {
        if let Err(e) = case(&mut self) {
            self.check("every step can be done", false, &format!("{e:#}"));
        }
        self.end()
    }

    /// Ends the VM. Gives the results, and what the hosts' kernels reported.
    pub(super) fn end(mut self) -> Result<(Vec<TestResult>, Vec<String>)> {
        let stats = self.pair.station.stats(self.flow)?;
        let text = format!("{stats:?}");
        if !self.blackouts.is_empty() {
            let count = self.blackouts.len();
            let blackout = median(self.blackouts.iter().copied());
            let (lost, outside) = (self.lost, self.lost_outside);
            self.check(
                "no move loses anything outside",
                self.unexplained == 0,
                &format!("{count} moves: median blackout {blackout} ms, {lost} datagrams lost, {outside} of them outside"),
            );
        }
        let (repeated, twice) = (self.repeated, stats.duplicated);
        self.check("nothing is duplicated", twice == repeated, &text);
        self.check("nothing is corrupted", stats.corrupted == 0, &text);
        let faults = self.pair.faults()?;
        self.results.push(logs_are_clean(&faults));
        self.pair.station.stop_flow(self.flow);
        self.vm.quit();
        Ok((self.results, faults))
    }
}

/// Why a move failed.
struct Failed {
    /// What both QEMUs and both hosts' kernels said.
    why: String,
    /// How long the VM was stopped for it, if it was.
    stood: Option<Duration>,
}

/// How long a VM was stopped that was told to go on.
fn stood(source: &mut Inner) -> Result<Duration> {
    let mut when = |name| -> Result<u64> {
        let event = source.qmp.wait(|e| is_event(e, name), GOES_ON)?;
        Ok(stamp_us(&event))
    };
    let stopped = when("STOP")?;
    Ok(Duration::from_micros(
        when("RESUME")?.saturating_sub(stopped),
    ))
}

/// How long QEMU may take to let a VM go on whose move has failed.
const GOES_ON: Duration = Duration::from_secs(60);

/// What came of a try to move.
enum Outcome {
    Refused(Failed),
    /// A QEMU crashed: how it ended is told first.
    Crashed(Failed),
    /// The VM where it arrived, and how long it took from the command on.
    Moved(Box<Inner>, Duration),
}

/// How long a host may take to hand over what its kernel has said.
const LOGGED: Duration = Duration::from_secs(60);

/// How long a QEMU that could not load a state may take to end.
const MOMENT: Duration = Duration::from_secs(3);

/// Gives both sides a capability, or takes it away. Gives why QEMU refuses, if it does.
fn set_capability(
    name: Option<&str>,
    state: bool,
    sides: &mut [&mut Inner],
) -> Result<Option<String>> {
    let Some(name) = name else {
        return Ok(None);
    };
    let capabilities = json!({ "capabilities": [{ "capability": name, "state": state }] });
    for side in sides {
        let set = side
            .qmp
            .execute("migrate-set-capabilities", capabilities.clone());
        match set {
            Ok(_) => {}
            Err(e) if e.downcast_ref::<Refused>().is_some() => return Ok(Some(format!("{e:#}"))),
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// Has the destination pass the migration stream on, changed.
fn start_relay(to: &Host, relay: Relay) -> Result<()> {
    let argv = ["python3", "-c", RELAY_SCRIPT, relay.argument()];
    to.vm.guest.start(&Run {
        argv: argv.map(String::from).to_vec(),
        ..Run::default()
    })?;
    let wait = format!("until ss -ltn | grep -q :{RELAY}; do sleep 0.1; done");
    to.vm.guest.sh(&wait, Duration::from_secs(60))?.ok()?;
    Ok(())
}

/// Tries every unfit destination. Gives the results, and what the hosts' kernels reported.
///
/// # Errors
/// If a step fails that has nothing to do with a refusal.
pub fn run(
    lab: &Lab,
    pair: &Pair,
    plan: &Plan<'_>,
    progress: &Progress,
) -> Result<(Vec<TestResult>, Vec<String>)> {
    Talk::start(lab, pair, plan)?.runs(|talk| {
        for (number, trouble) in (1..).zip(TROUBLES) {
            progress.say(&format!("{number} {}", trouble.name));
            if plan.guest_restarts() {
                thread::sleep(rounds::RESET_GUARD);
            }
            refuses(talk, number, trouble)?;
        }
        if plan.guest_restarts() {
            thread::sleep(rounds::RESET_GUARD);
        }
        talk.moves("after all refusals the VM moves")?;
        Ok(())
    })
}

/// Tries to move a VM to a host whose card has another chip. Gives the results, and what the hosts' kernels reported.
///
/// # Errors
/// If a step fails that has nothing to do with the refusal.
pub fn other_chip(
    lab: &Lab,
    pair: &Pair,
    plan: &Plan<'_>,
) -> Result<(Vec<TestResult>, Vec<String>)> {
    Talk::start(lab, pair, plan)?.runs(|talk| refuses(talk, 1, &OTHER_CHIP))
}

/// Tries one of them.
fn refuses(talk: &mut Talk<'_>, number: usize, trouble: &Trouble) -> Result<()> {
    let name = format!("{number} {}", trouble.name);
    let log = talk.log_lengths();
    (trouble.make)(&talk.stage()).context(trouble.name)?;
    // To make the trouble, or to mend the one before it, may have cost the VF its link: that is no loss of this refusal.
    let settled = rate::settle(
        &talk.pair.station,
        talk.flow,
        talk.pair.station.next_seq(talk.flow)?,
    )?;
    talk.check(
        &format!("{name}: the VM is well before"),
        settled.is_some(),
        "",
    );
    let since = talk.moment()?;
    let mut stood = None;
    match talk.try_move(trouble.relay, log)? {
        Outcome::Refused(failed) => {
            stood = failed.stood;
            talk.check(
                &format!("{name}: refused, and says why"),
                trouble.says.iter().all(|says| failed.why.contains(says)),
                &failed.why,
            );
            if let Some(stops) = trouble.stops {
                let when = if stops {
                    "when the VM stood"
                } else {
                    "before the VM was stopped"
                };
                talk.check(
                    &format!("{name}: {when}"),
                    failed.stood.is_some() == stops,
                    "",
                );
            }
        }
        Outcome::Crashed(failed) => {
            let name = format!("{name}: refused, and no QEMU crashes");
            talk.check(&name, false, &failed.why);
        }
        Outcome::Moved(arrived, _) => {
            talk.check(&format!("{name}: refused"), false, "it moved");
            talk.has_moved(*arrived);
        }
    }
    let next = talk.pair.station.next_seq(talk.flow)?;
    talk.check_well(&format!("{name}: the VM goes on"))?;
    let station = &talk.pair.station;
    rate::wait_for_answers(station, talk.flow, since.seq..next, rate::ANSWERS)?;
    let lost = station.lost_between(talk.flow, since.seq, next)?.len() as u64;
    let drops = rounds::drops(talk.pair, &talk.vm)?.since(since.drops);
    let stood = stood.unwrap_or_default();
    let most = talk.most_lost(trouble, stood, drops);
    talk.check(
        &format!("{name}: it loses little"),
        lost <= most,
        &format!(
            "{lost} of {} datagrams, at most {most}: the VM was stopped for {} ms; {drops}",
            next - since.seq,
            stood.as_millis()
        ),
    );
    (trouble.mend)(&talk.stage()).context(trouble.name)
}
