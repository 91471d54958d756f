// SPDX-License-Identifier: GPL-2.0
//! Moves that are disturbed: by what an administrator does in the VM meanwhile, by a cancellation, a pause or a reboot.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use lab_agent::Run;
use serde_json::{json, Value};

use super::events::{self, Event};
use super::host::PORT;
use super::inner::Inner;
use super::pair::{Pair, Progress};
use super::refusals::Talk;
use super::rounds::{self, boot_id, is_event};
use super::spec::{Card, Image, Plan, Preparation, Seat, Traffic, FIRST};
use super::troubles::FIT;
use crate::ktap::TestResult;
use crate::lab::{Drivers, Lab};

/// What a suite of checks gives: the results, and what the kernels reported.
type Judged = Result<(Vec<TestResult>, Vec<String>)>;

/// Starts a VM with two CPUs, TCP, and the programs for events, for the rest as planned.
pub(super) fn start<'a>(lab: &Lab, pair: &'a Pair, plan: &Plan<'_>) -> Result<Talk<'a>> {
    pair.prepare(&Preparation {
        restore: plan.restore,
        ..FIT
    })?;
    let mut image = pair.image(lab, Card::Vf, plan.guest)?;
    image.cpus = 2;
    events::equip(lab, pair, &mut image)?;
    let plan = Plan {
        traffic: Traffic::Both,
        guest_cpus: 2,
        ..*plan
    };
    Talk::start_as(pair, image, &plan)
}

/// For each event: the VM does it again and again while it moves.
///
/// # Errors
/// If a step fails that is no part of a move.
pub fn events(lab: &Lab, pair: &Pair, progress: &Progress) -> Judged {
    start(lab, pair, &Plan::default())?.runs(|talk| all_events(talk, progress))
}

fn all_events(talk: &mut Talk<'_>, progress: &Progress) -> Result<()> {
    for event in events::ALL {
        progress.say(&format!("a move with {} meanwhile", event.name()));
        if !with_events(talk, &[event])? {
            break;
        }
    }
    talk.moves("after all events the VM moves")?;
    Ok(())
}

/// Moves the VM while it does these. Gives whether it is well.
pub(super) fn with_events(talk: &mut Talk<'_>, during: &[Event]) -> Result<bool> {
    let since = talk.moment()?;
    events::start(&talk.vm.agent, during)?;
    let names: Vec<&str> = during.iter().map(|e| e.name()).collect();
    let names = names.join(", ");
    // Each has begun at least once before the VM moves.
    thread::sleep(Duration::from_secs(1));
    let moved = talk.try_to_move();
    let log = events::stop(&talk.vm.agent)?;
    let moved = moved?;
    talk.check(
        &format!("the VM moves during {names}"),
        moved.is_ok(),
        moved.err().as_deref().unwrap_or_default(),
    );
    for event in during {
        let (well, failed) = events::counts(&log, *event);
        talk.check(
            &format!("{} works before, during and after a move", event.name()),
            well > 0 && failed == 0,
            &format!("{well} times, failed {failed} times\n{log}"),
        );
    }
    let after = format!("after {names} the VM is well");
    if during.iter().any(|e| e.loses()) {
        talk.check_well(&after)
    } else {
        talk.check_lossless(&after, since)
    }
}

/// What came of a move that was to be cancelled.
pub(super) struct Cancelled {
    /// It was over before.
    pub(super) moved: bool,
    /// The VM is well, and lost nothing unless it stood.
    pub(super) well: bool,
}

/// Begins a move and cancels it after this time. Checks the VM afterwards.
pub(super) fn cancel(talk: &mut Talk<'_>, what: &str, after: Duration) -> Result<Cancelled> {
    let since = talk.moment()?;
    let mut target = Inner::start(talk.to, Card::Vf, &talk.image, true)?;
    if let Some(why) = rounds::begin_move(talk.to, &mut talk.vm, &mut target, (PORT, PORT))? {
        bail!("the move was refused: {why}");
    }
    thread::sleep(after);
    talk.vm.qmp.execute("migrate_cancel", json!({}))?;
    match rounds::end_move(&mut talk.vm)? {
        Ok(()) => {
            talk.has_moved(target);
            let name = format!("{what}, too late: the VM goes on");
            let well = talk.check_lossless(&name, since)?;
            Ok(Cancelled { moved: true, well })
        }
        Err(_) => {
            target.quit();
            let stood = talk.vm.qmp.events.iter().any(|e| is_event(e, "STOP"));
            let name = format!("{what}: the VM goes on");
            // Nobody serves a VM that stands.
            let well = if stood {
                talk.check_well(&name)?
            } else {
                talk.check_lossless(&name, since)?
            };
            Ok(Cancelled { moved: false, well })
        }
    }
}

/// Moves that are cancelled at many moments, and then one that is not.
///
/// # Errors
/// If a step fails that is no part of a move.
pub fn cancelled(lab: &Lab, pair: &Pair, progress: &Progress) -> Judged {
    start(lab, pair, &Plan::default())?.runs(|talk| cancel_often(talk, progress))
}

fn cancel_often(talk: &mut Talk<'_>, progress: &Progress) -> Result<()> {
    const MOMENTS: u32 = 12;
    /// Of them, before the end of the move.
    const REAL: u32 = 10;
    let took = talk.moves("the VM moves")?;
    let mut real = 0;
    for n in 0..MOMENTS {
        // How long a move takes differs by a fifth, and its end is to come only once or twice.
        let after = took * n / (MOMENTS + 1);
        let what = format!("cancelled after {} ms", after.as_millis());
        progress.say(&what);
        let end = cancel(talk, &what, after)?;
        real += u32::from(!end.moved);
        if !end.well {
            break;
        }
    }
    talk.check(
        "moves were cancelled while they were under way",
        real >= REAL,
        &format!("{real} of {MOMENTS}, wanted are {REAL}"),
    );
    talk.moves("after all cancellations the VM moves")?;
    Ok(())
}

/// A VM that stands moves, and goes on where it arrived.
pub(super) fn move_paused(talk: &mut Talk<'_>) -> Result<()> {
    talk.vm.qmp.execute("stop", json!({}))?;
    let moved = talk.try_to_move()?;
    let status = talk.vm.qmp.execute("query-status", json!({}))?;
    let stands = status.get("running").and_then(Value::as_bool) == Some(false);
    talk.vm.qmp.execute("cont", json!({}))?;
    talk.check(
        "a VM that stands moves, and stands there",
        moved.is_ok() && stands,
        &format!("{status} {}", moved.err().unwrap_or_default()),
    );
    talk.check_well("it goes on when it is told to")?;
    Ok(())
}

/// A VM that stands, and one that is started again in the middle of a move.
///
/// # Errors
/// If a step fails that is no part of a move.
pub fn paused(lab: &Lab, pair: &Pair, progress: &Progress) -> Judged {
    start(lab, pair, &Plan::default())?.runs(|talk| {
        for _ in 0..2 {
            progress.say("moving a VM that stands");
            move_paused(talk)?;
        }
        talk.moves("then it moves while it runs")?;
        progress.say("starting the VM again during PRE_COPY");
        reboot(talk)?;
        talk.moves("after that the VM moves")?;
        Ok(())
    })
}

/// Starts the VM again when its memory is being sent: the move fails, and it goes on where it is.
fn reboot(talk: &mut Talk<'_>) -> Result<()> {
    /// For the kernel to begin anew: the VF has no driver then.
    const BOOTS: Duration = Duration::from_millis(1500);
    let mut target = Inner::start(talk.to, Card::Vf, &talk.image, true)?;
    // A QEMU of the lab ends otherwise when its VM starts again.
    let again = json!({ "reboot": "reset" });
    talk.vm.qmp.execute("set-action", again.clone())?;
    target.qmp.execute("set-action", again)?;
    if let Some(why) = rounds::begin_held(talk.to, &mut talk.vm, &mut target)? {
        bail!("the move was refused: {why}");
    }
    // A command that ends the machine is never answered.
    let command = talk.vm.agent.start(&Run {
        argv: vec!["reboot".into(), "-f".into()],
        ..Run::default()
    })?;
    drop(command);
    talk.vm
        .qmp
        .wait(|e| is_event(e, "RESET"), Duration::from_secs(60))
        .context("waiting for the VM to start again")?;
    thread::sleep(BOOTS);
    rounds::let_go(&mut talk.vm)?;
    let moved = rounds::end_move(&mut talk.vm)?;
    // QEMU resets the VF with the VM, which ends the stream (include/uapi/linux/vfio.h: a reset leads to RUNNING), and tells
    // of it when it reads on.
    talk.check(
        "a VM that starts again during PRE_COPY does not move, because its VF was reset",
        moved
            .as_ref()
            .is_err_and(|why| why.contains("No such device")),
        moved.as_ref().err().map_or("it moved", String::as_str),
    );
    if moved.is_ok() {
        talk.has_moved(target);
    } else {
        target.quit();
    }
    // It is up when its agent answers.
    let end = Instant::now() + Duration::from_secs(180);
    let id = loop {
        // QEMU's main loop does not see by itself that the guest has opened the agent's port, see [`Inner::start`].
        talk.vm.qmp.execute("query-status", json!({}))?;
        match boot_id(&talk.vm.agent) {
            Ok(id) if id != talk.boot_id => break id,
            _ if Instant::now() > end => bail!("the VM did not start again: {}", talk.vm.said()),
            _ => thread::sleep(Duration::from_millis(500)),
        }
    };
    talk.boot_id = id;
    talk.started_again()?;
    talk.check_well("it boots where it was, and is well")?;
    Ok(())
}

/// The second VF of the first card.
const SECOND: Seat = Seat { card: 0, vf: 1 };

/// VFs for [`other_vf`].
pub const BOTH_VFS: &[Seat] = &[FIRST, SECOND];

/// A VM moves to the VF of another number, and to yet another on the host where it began.
///
/// # Errors
/// If a step fails that is no part of a move.
pub fn other_vf(lab: &Lab, pair: &Pair, progress: &Progress) -> Judged {
    pair.prepare(&FIT)?;
    let image = pair.image(lab, Card::Vf, Drivers::Rust)?;
    Talk::start_as(pair, image.clone(), &Plan::default())?.runs(|talk| {
        for (n, seats) in [(1, &[SECOND]), (2, &[SECOND]), (3, &[FIRST])] {
            let seat = seats[0];
            let what = format!("move {n}, to VF {} of {}", seat.vf, talk.to.name());
            progress.say(&what);
            // The VM's address is the VF's: who manages the hosts gives it to the one that the VM is to have.
            let other = if seat == FIRST { SECOND } else { FIRST };
            talk.to
                .set_pf(&format!("vf {} mac {}", other.vf, SECOND.mac()))?;
            talk.to
                .set_pf(&format!("vf {} mac {}", seat.vf, FIRST.mac()))?;
            talk.image = Image {
                seats,
                ..image.clone()
            };
            talk.moves(&what)?;
        }
        Ok(())
    })
}
