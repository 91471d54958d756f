// SPDX-License-Identifier: GPL-2.0
//! What must not cost a VM: a destination that is not fit. The VM goes on where it is, and the reason is told.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab_agent::Run;

use super::host::{Host, PORT};
use super::inner::Inner;
use super::judge::{check, logs_are_clean};
use super::pair::{Pair, Progress};
use super::rate;
use super::rounds::{self, boot_id};
use super::spec::{Card, Image, Plan, Preparation, Traffic};
use super::streams;
use crate::ktap::{Status, TestResult};
use crate::lab::{Drivers, Lab};

/// How a destination is unfit.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    name: &'static str,
    /// What the reason must say, somewhere in what both QEMUs and the destination's kernel print.
    says: &'static str,
    make: fn(&Stage<'_>) -> Result<()>,
    mend: fn(&Stage<'_>) -> Result<()>,
    /// The migration stream goes through what `make` has put at this port.
    port: u16,
}

/// What a trouble can get at.
struct Stage<'a> {
    from: &'a Host,
    to: &'a Host,
    vm: &'a Inner,
}

pub(super) const FIT: Preparation<'static> = Preparation {
    card: Card::Vf,
    restore: None,
    migratable: true,
};

/// Port of the relay that changes the version.
const RELAY: u16 = PORT + 1;

/// Passes the stream on and makes version 1 of this project's format version 2: the source is newer than the destination.
const RELAY_SCRIPT: &str = r#"
import os, socket, threading
old, new = b"ixgbeVF\x1a\x01", b"ixgbeVF\x1a\x02"
s = socket.create_server(("", 4445)); a = s.accept()[0]; b = socket.create_connection(("127.0.0.1", 4444))
def back():
    while d := b.recv(65536): a.sendall(d)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
kept = b""
while d := a.recv(65536):
    d = (kept + d).replace(old, new)
    n = next((n for n in range(len(old) - 1, 0, -1) if d.endswith(old[:n])), 0)
    kept = d[len(d) - n:]
    b.sendall(d[:len(d) - n])
b.sendall(kept); b.shutdown(socket.SHUT_WR); threading.Event().wait()
"#;

const TROUBLES: &[Trouble] = &[
    Trouble {
        name: "destination without the variant driver",
        // Its QEMU has nobody to give the VF's state to. "vfio" alone stands in whatever it says.
        says: "Unknown savevm section or instance",
        make: |s| {
            s.to.prepare(&Preparation {
                card: Card::Replug,
                restore: None,
                migratable: false,
            })
        },
        mend: |s| s.to.prepare(&FIT),
        port: PORT,
    },
    Trouble {
        name: "destination's VF not migratable",
        says: "not migratable, see devlink port function",
        make: |s| {
            s.to.prepare(&Preparation {
                migratable: false,
                ..FIT
            })
        },
        mend: |s| s.to.prepare(&FIT),
        port: PORT,
    },
    Trouble {
        name: "no free VF",
        says: "no such host device",
        make: |s| s.to.set_vfs(0),
        mend: |s| {
            s.to.set_vfs(1)?;
            s.to.prepare(&FIT)
        },
        port: PORT,
    },
    Trouble {
        name: "other queue layout",
        says: "other queues per pool",
        make: |s| {
            // Above 32 VFs a pool has 2 queues, below 4 (82599 datasheet 7.10.3.2).
            s.to.set_vfs(40)?;
            s.to.prepare(&FIT)
        },
        mend: |s| {
            s.to.set_vfs(1)?;
            s.to.prepare(&FIT)
        },
        port: PORT,
    },
    Trouble {
        name: "destination's MTU too small",
        says: "frame size not allowed here, check the PF's MTU",
        make: |s| {
            s.from.set_pf("mtu 9000")?;
            s.vm.set_mtu(9000)
        },
        mend: |s| {
            s.vm.set_mtu(1500)?;
            s.from.set_pf("mtu 1500")
        },
        port: PORT,
    },
    Trouble {
        name: "destination's link down",
        says: "no link here",
        make: |s| s.to.set_pf("down"),
        mend: |s| {
            s.to.set_pf("up")?;
            s.to.wait_link()
        },
        port: PORT,
    },
    Trouble {
        name: "destination knows only an older state version",
        says: "unknown format version",
        make: |s| {
            let argv = ["python3", "-c", RELAY_SCRIPT].map(String::from).to_vec();
            s.to.vm.guest.start(&Run {
                argv,
                ..Run::default()
            })?;
            let wait = format!("until ss -ltn | grep -q :{RELAY}; do sleep 0.1; done");
            s.to.vm.guest.sh(&wait, Duration::from_secs(60))?.ok()?;
            Ok(())
        },
        mend: |_| Ok(()),
        port: RELAY,
    },
];

/// Datagrams that a refusal may cost, of a hundred a second: a VM whose move is refused late stood for a moment.
const REFUSED_LOSS: usize = 200;

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
    results: Vec<TestResult>,
}

impl<'a> Talk<'a> {
    pub(super) fn start(lab: &Lab, pair: &'a Pair) -> Result<Self> {
        pair.prepare(&FIT)?;
        let image = pair.image(lab, Card::Vf, Drivers::Rust)?;
        Self::start_as(pair, image, &Plan::default())
    }

    /// Starts a VM of this image on hosts that are prepared, with the plan's traffic.
    pub(super) fn start_as(pair: &'a Pair, image: Image, plan: &Plan<'_>) -> Result<Self> {
        let [from, to] = [&pair.hosts[0], &pair.hosts[1]];
        let vm = Inner::start(from, Card::Vf, &image, false)?;
        vm.configure()?;
        let (flow, _) = rounds::start_traffic(plan, &vm.agent, vm.seats, &pair.station)?;
        Ok(Self {
            pair,
            image,
            from,
            to,
            boot_id: boot_id(&vm.agent)?,
            vm,
            flow,
            traffic: plan.traffic,
            results: Vec::new(),
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

    /// Whether the VM is the one that it was, and answers, and each of its TCP connections goes on.
    pub(super) fn is_well(&self) -> Result<bool> {
        let station = &self.pair.station;
        let seq = station.next_seq(self.flow)?;
        if rate::settle(station, self.flow, seq)?.is_none()
            || !boot_id(&self.vm.agent).is_ok_and(|id| id == self.boot_id)
        {
            return Ok(false);
        }
        let agent = &self.vm.agent;
        let before = streams::received(self.traffic, station, agent)?;
        let after = streams::wait(self.traffic, station, agent, &before)?;
        Ok(after.resumed == after.open && (after.open > 0 || !self.traffic.has_streams()))
    }

    /// Takes the VM for the one that has arrived.
    pub(super) fn has_moved(&mut self, arrived: Inner) {
        std::mem::replace(&mut self.vm, arrived).quit();
        std::mem::swap(&mut self.from, &mut self.to);
    }

    /// A move that succeeds shows that nothing was left behind. Gives how long it took.
    pub(super) fn moves(&mut self, name: &str) -> Result<Duration> {
        match self.try_to_move()? {
            Ok(took) => {
                let well = self.is_well()?;
                self.check(name, well, "");
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
        let log = self.to.vm.guest.kernel_log(0).len();
        Ok(
            match try_move(self.to, &self.image, &mut self.vm, PORT, log)? {
                Outcome::Moved(arrived, took) => {
                    self.has_moved(*arrived);
                    Ok(took)
                }
                Outcome::Refused(why) | Outcome::Crashed(why) => Err(why),
            },
        )
    }

    /// Gives a VM that was started again what [`Self::start_as`] gave it. The station's flow is the same.
    pub(super) fn started_again(&mut self) -> Result<()> {
        self.vm.configure()?;
        let plan = Plan {
            traffic: self.traffic,
            ..Plan::default()
        };
        rounds::start_services(&plan, &self.vm.agent, self.vm.seats, &self.pair.station)
    }

    /// Ends the VM. Gives the results, and what the hosts' kernels reported.
    pub(super) fn end(mut self) -> Result<(Vec<TestResult>, Vec<String>)> {
        let stats = self.pair.station.stats(self.flow)?;
        let text = format!("{stats:?}");
        self.check("nothing is duplicated", stats.duplicated == 0, &text);
        self.check("nothing is corrupted", stats.corrupted == 0, &text);
        let faults = self.pair.faults()?;
        self.results.push(logs_are_clean(&faults));
        self.pair.station.stop_flow(self.flow);
        self.vm.quit();
        Ok((self.results, faults))
    }
}

/// What came of a try to move.
pub(super) enum Outcome {
    /// Refused, and why: what QEMU and the destination's kernel said.
    Refused(String),
    /// A QEMU crashed: the same, with how it ended.
    Crashed(String),
    /// The VM where it arrived, and how long it took from the command on.
    Moved(Box<Inner>, Duration),
}

/// How long a QEMU that could not load a state may take to end.
const MOMENT: Duration = Duration::from_secs(3);

/// Tries to move a VM. The destination's kernel is quoted from record `log` on.
fn try_move(
    to: &Host,
    image: &Image,
    source: &mut Inner,
    port: u16,
    log: usize,
) -> Result<Outcome> {
    let mut target = match Inner::start(to, Card::Vf, image, true) {
        Ok(target) => target,
        Err(e) => {
            let why = format!("{e:#}");
            let crashed = ["signal: Some", "Assertion", "core dumped"]
                .iter()
                .any(|s| why.contains(s));
            return Ok(if crashed {
                Outcome::Crashed(why)
            } else {
                Outcome::Refused(why)
            });
        }
    };
    let begin = Instant::now();
    let moved = match rounds::begin_move(to, source, &mut target, (PORT, port))? {
        Some(refusal) => Err(refusal),
        None => rounds::end_move(source)?,
    };
    let Err(why) = moved else {
        return Ok(Outcome::Moved(Box::new(target), begin.elapsed()));
    };
    let crash = source.crash(Duration::ZERO).or(target.crash(MOMENT));
    let mut why = rounds::why_not(&why, source, &target);
    for record in to.vm.guest.kernel_log(log) {
        why += "\n";
        why += &record.text;
    }
    target.quit();
    Ok(match crash {
        Some(crash) => Outcome::Crashed(format!("{crash}: {why}")),
        None => Outcome::Refused(why),
    })
}

/// Tries every unfit destination. Gives the results, and what the hosts' kernels reported.
///
/// # Errors
/// If a step fails that has nothing to do with a refusal.
pub fn run(lab: &Lab, pair: &Pair, progress: &Progress) -> Result<(Vec<TestResult>, Vec<String>)> {
    let mut talk = Talk::start(lab, pair)?;
    for trouble in TROUBLES {
        progress.say(trouble.name);
        let log = talk.to.vm.guest.kernel_log(0).len();
        (trouble.make)(&talk.stage()).context(trouble.name)?;
        let first = pair.station.next_seq(talk.flow)?;
        match try_move(talk.to, &talk.image, &mut talk.vm, trouble.port, log)? {
            Outcome::Refused(why) => {
                talk.check(
                    &format!("{}: refused, and says why", trouble.name),
                    why.contains(trouble.says),
                    &why,
                );
            }
            Outcome::Crashed(why) => {
                let name = format!("{}: refused, and no QEMU crashes", trouble.name);
                talk.check(&name, false, &why);
            }
            Outcome::Moved(arrived, _) => {
                talk.check(&format!("{}: refused", trouble.name), false, "it moved");
                talk.has_moved(*arrived);
            }
        }
        let next = pair.station.next_seq(talk.flow)?;
        let well = talk.is_well()?;
        talk.check(&format!("{}: the VM goes on", trouble.name), well, "");
        let lost = pair.station.lost_between(talk.flow, first, next)?.len();
        talk.check(
            &format!("{}: it loses little", trouble.name),
            lost <= REFUSED_LOSS,
            &format!("{lost} of {} datagrams", next - first),
        );
        (trouble.mend)(&talk.stage()).context(trouble.name)?;
    }
    talk.moves("after all refusals the VM moves")?;
    talk.end()
}
