// SPDX-License-Identifier: GPL-2.0
//! Several VFs that move at the same time: those of several VMs with VFs of one PF, and those of one VM with VFs of two PFs,
//! which QEMU stops by the P2P states: all of them send nothing more before the first one's state is read.

use std::time::Instant;

use anyhow::{Context, Result};

use super::diagnose;
use super::host::{Host, PORT};
use super::inner::Inner;
use super::judge::{check, logs_are_clean};
use super::pair::{Pair, Progress};
use super::rate;
use super::report::Round;
use super::rounds::{self, boot_id};
use super::spec::{Card, Image, Plan, Seat, FIRST};
use crate::ktap::TestResult;
use crate::lab::Lab;
use crate::station::Station;

/// Who moves together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// Every VF.
    pub seats: &'static [Seat],
    /// Each VM's.
    pub vms: &'static [&'static [Seat]],
}

/// Second VF of the first card.
const SECOND: Seat = Seat { card: 0, vf: 1 };

/// First VF of the second card.
const OTHER: Seat = Seat { card: 1, vf: 0 };

/// Two VMs with VFs of one PF.
pub const TWO_VMS: Party = Party {
    seats: &[FIRST, SECOND],
    vms: &[&[FIRST], &[SECOND]],
};

/// One VM with VFs of two PFs.
pub const TWO_VFS: Party = Party {
    seats: &[FIRST, OTHER],
    vms: &[&[FIRST, OTHER]],
};

/// A flow to one VF.
pub(super) struct Flow {
    pub(super) seat: Seat,
    pub(super) id: u32,
    /// First datagram that no earlier move accounts for.
    pub(super) seq: u64,
}

/// A VM on its way.
struct Mover {
    vm: Inner,
    image: Image,
    flows: Vec<Flow>,
    boot_id: String,
    /// Where its destination listens: each VM has a port of its own.
    port: u16,
}

fn start(lab: &Lab, pair: &Pair, plan: &Plan<'_>, party: Party) -> Result<Vec<Mover>> {
    let mut movers = Vec::new();
    for (port, seats) in (PORT..).zip(party.vms) {
        let mut image = pair.image(lab, Card::Vf, plan.guest)?;
        image.seats = seats;
        image.name = format!("VM at port {port}");
        let vm = diagnose::start(&pair.hosts[0], Card::Vf, &image)?;
        let (first, rate) = rounds::start_traffic(plan, &vm.agent, seats, &pair.station)?;
        let mut ids = vec![first];
        for seat in seats.iter().skip(1) {
            ids.push(rate::start_flow(&pair.station, *seat, rate)?.0);
        }
        let flows = seats
            .iter()
            .zip(ids)
            .map(|(seat, id)| {
                let seq = pair.station.next_seq(id)?;
                Ok(Flow {
                    seat: *seat,
                    id,
                    seq,
                })
            })
            .collect::<Result<_>>()?;
        let boot_id = boot_id(&vm.agent)?;
        movers.push(Mover {
            vm,
            image,
            flows,
            boot_id,
            port,
        });
    }
    Ok(movers)
}

impl Flow {
    /// Waits until the flow runs again, and judges what became of it since the last move.
    pub(super) fn judge(
        &mut self,
        station: &Station,
        begin: Instant,
        what: &str,
        results: &mut Vec<TestResult>,
    ) -> Result<()> {
        let name = format!("{what}: {}", self.seat.ip());
        let settled = rate::settle(station, self.id, station.next_seq(self.id)?)?;
        check(
            results,
            format!("{name} answers"),
            settled.is_some(),
            String::new(),
        );
        let next = settled.map_or_else(|| station.next_seq(self.id), Ok)?;
        let mut round = Round::default();
        round.take_station(station, self.id, self.seq..next, begin)?;
        self.seq = next;
        check(
            results,
            format!("{name} loses nothing but by the move"),
            round.frames_lost_outside == 0,
            format!(
                "blackout {} ms, {} of {} datagrams lost, {} of them outside",
                round.blackout_ms, round.frames_lost, round.frames_sent, round.frames_lost_outside
            ),
        );
        Ok(())
    }
}

/// Moves all at once. Gives whether all arrived.
fn move_all(
    to: &Host,
    movers: &mut [Mover],
    what: &str,
    results: &mut Vec<TestResult>,
) -> Result<bool> {
    let mut targets = movers
        .iter()
        .map(|m| Inner::start(to, Card::Vf, &m.image, true))
        .collect::<Result<Vec<_>>>()?;
    let mut refused = Vec::new();
    for (m, target) in movers.iter_mut().zip(&mut targets) {
        refused.push(rounds::begin_move(to, &mut m.vm, target, (m.port, m.port))?);
    }
    let mut all = true;
    for ((m, target), refused) in movers.iter_mut().zip(targets).zip(refused) {
        let moved = match refused {
            Some(why) => Err(why),
            None => rounds::end_move(&mut m.vm)?,
        };
        let why = match &moved {
            Ok(()) => String::new(),
            Err(why) => rounds::why_not(why, &m.vm, &target),
        };
        check(
            results,
            format!("{what}: the VM at port {} arrives", m.port),
            moved.is_ok(),
            why,
        );
        if moved.is_ok() {
            std::mem::replace(&mut m.vm, target).quit();
        } else {
            target.quit();
            all = false;
        }
    }
    Ok(all)
}

/// Moves the party to and fro. Gives the results, and what the hosts' kernels reported.
///
/// # Errors
/// If a step fails that is no part of a migration.
pub fn run(
    lab: &Lab,
    pair: &Pair,
    plan: &Plan<'_>,
    party: Party,
    progress: &Progress,
) -> Result<(Vec<TestResult>, Vec<String>)> {
    pair.prepare(&plan.preparation())?;
    let mut movers = start(lab, pair, plan, party).context("starting the VMs")?;
    let mut results = Vec::new();
    for n in 1..=plan.rounds {
        let what = format!("move {n}");
        progress.say(&what);
        let to = &pair.hosts[(n % 2) as usize];
        let begin = Instant::now();
        if !move_all(to, &mut movers, &what, &mut results)? {
            break;
        }
        for flow in movers.iter_mut().flat_map(|m| &mut m.flows) {
            flow.judge(&pair.station, begin, &what, &mut results)?;
        }
    }
    for m in &movers {
        for flow in &m.flows {
            pair.station.stop_flow(flow.id);
            let stats = pair.station.stats(flow.id)?;
            check(
                &mut results,
                format!("{}: nothing is duplicated or corrupted", flow.seat.ip()),
                stats.duplicated == 0 && stats.corrupted == 0,
                format!("{stats:?}"),
            );
        }
        let same = boot_id(&m.vm.agent).is_ok_and(|id| id == m.boot_id);
        check(
            &mut results,
            format!("the VM at port {} goes on", m.port),
            same,
            String::new(),
        );
    }
    let faults = pair.faults()?;
    results.push(logs_are_clean(&faults));
    for m in movers {
        m.vm.quit();
    }
    Ok((results, faults))
}
