// SPDX-License-Identifier: GPL-2.0
//! What must not cost a VM: a destination that is not fit, and one that dies. The VM goes on where it is, and the reason is
//! told.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab_agent::Run;
use serde_json::json;

use super::host::{Host, PORT};
use super::inner::Inner;
use super::judge::{check, logs_are_clean};
use super::pair::{Pair, Progress};
use super::rate;
use super::rounds::{self, boot_id, is_event};
use super::spec::{Card, Image, Plan, Preparation};
use crate::ktap::TestResult;
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

const FIT: Preparation<'static> = Preparation {
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
        says: "vfio",
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

/// Moments at which the destination is killed.
const KILLS: u32 = 20;

/// Of them, after the VM has stopped on the source: every 8 ms.
const KILLS_STOPPED: u32 = 6;

/// A VM that talks to the station through all of it.
struct Talk<'a> {
    pair: &'a Pair,
    image: Image,
    from: &'a Host,
    to: &'a Host,
    vm: Inner,
    flow: u32,
    boot_id: String,
    results: Vec<TestResult>,
}

impl<'a> Talk<'a> {
    fn start(lab: &Lab, pair: &'a Pair) -> Result<Self> {
        pair.prepare(&FIT)?;
        let image = pair.image(lab, Card::Vf, Drivers::Rust)?;
        let [from, to] = [&pair.hosts[0], &pair.hosts[1]];
        let vm = Inner::start(from, Card::Vf, &image, false)?;
        vm.configure()?;
        let plan = Plan::default();
        let (flow, _) = rounds::start_traffic(&plan, &vm.agent, vm.seats, &pair.station)?;
        Ok(Self {
            pair,
            image,
            from,
            to,
            boot_id: boot_id(&vm.agent)?,
            vm,
            flow,
            results: Vec::new(),
        })
    }

    fn check(&mut self, name: &str, ok: bool, comment: &str) {
        let (name, comment) = (name.to_owned(), comment.to_owned());
        check(&mut self.results, name, ok, comment);
    }

    fn stage(&self) -> Stage<'_> {
        Stage {
            from: self.from,
            to: self.to,
            vm: &self.vm,
        }
    }

    /// Whether the VM is the one that it was, and answers.
    fn is_well(&self) -> Result<bool> {
        let seq = self.pair.station.next_seq(self.flow)?;
        Ok(rate::settle(&self.pair.station, self.flow, seq)?.is_some()
            && boot_id(&self.vm.agent).is_ok_and(|id| id == self.boot_id))
    }

    /// Takes the VM for the one that has arrived.
    fn has_moved(&mut self, arrived: Inner) {
        std::mem::replace(&mut self.vm, arrived).quit();
        std::mem::swap(&mut self.from, &mut self.to);
    }

    /// A move that succeeds shows that nothing was left behind. Gives how long it took.
    fn moves(&mut self, name: &str) -> Result<Duration> {
        let begin = Instant::now();
        let log = self.to.vm.guest.kernel_log(0).len();
        match try_move(self.to, &self.image, &mut self.vm, PORT, log)? {
            Err(arrived) => {
                let took = begin.elapsed();
                self.has_moved(arrived);
                let well = self.is_well()?;
                self.check(name, well, "");
                Ok(took)
            }
            Ok(why) => {
                self.check(name, false, &why);
                Ok(begin.elapsed())
            }
        }
    }

    /// Ends the VM. Gives the results, and what the hosts' kernels reported.
    fn end(mut self) -> Result<(Vec<TestResult>, Vec<String>)> {
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

/// One move that must fail. Gives the reason, with what the destination's kernel has said from record `log` on, or `Err` with the
/// VM where it arrived.
fn try_move(
    to: &Host,
    image: &Image,
    source: &mut Inner,
    port: u16,
    log: usize,
) -> Result<std::result::Result<String, Inner>> {
    let mut target = match Inner::start(to, Card::Vf, image, true) {
        Ok(target) => target,
        Err(e) => return Ok(Ok(format!("{e:#}"))),
    };
    let moved = match rounds::begin_move(to, source, &mut target, (PORT, port))? {
        Some(refusal) => Err(refusal),
        None => rounds::end_move(source)?,
    };
    let Err(why) = moved else {
        return Ok(Err(target));
    };
    let mut why = rounds::why_not(&why, source, &target);
    for record in to.vm.guest.kernel_log(log) {
        why += "\n";
        why += &record.text;
    }
    target.quit();
    Ok(Ok(why))
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
        match try_move(talk.to, &talk.image, &mut talk.vm, trouble.port, log)? {
            Ok(why) => {
                talk.check(
                    &format!("{}: refused, and says why", trouble.name),
                    why.contains(trouble.says),
                    &why,
                );
            }
            Err(arrived) => {
                talk.check(&format!("{}: refused", trouble.name), false, "it moved");
                talk.has_moved(arrived);
            }
        }
        let well = talk.is_well()?;
        talk.check(&format!("{}: the VM goes on", trouble.name), well, "");
        (trouble.mend)(&talk.stage()).context(trouble.name)?;
    }
    talk.moves("after all refusals the VM moves")?;
    talk.end()
}

/// Kills the destination at [`KILLS`] moments. Gives the results, and what the hosts' kernels reported.
///
/// # Errors
/// If a step fails that is no part of a move.
pub fn kill_destinations(
    lab: &Lab,
    pair: &Pair,
    progress: &Progress,
) -> Result<(Vec<TestResult>, Vec<String>)> {
    let mut talk = Talk::start(lab, pair)?;
    let took = talk.moves("the VM moves")?;
    for n in 0..KILLS {
        progress.say(&format!(
            "killing the destination, moment {} of {KILLS}",
            n + 1
        ));
        let (name, arrived) = kill(&talk.image, talk.to, &mut talk.vm, n, took)?;
        if let Some(arrived) = arrived {
            talk.has_moved(arrived);
        }
        let well = talk.is_well()?;
        talk.check(
            &format!("destination killed {name}: the VM goes on"),
            well,
            "",
        );
        if !well {
            break;
        }
    }
    talk.moves("after all of it the VM moves")?;
    talk.end()
}

/// Kills the destination's QEMU at moment `n`. Gives which that was, and the VM if it had arrived before.
fn kill(
    image: &Image,
    to: &Host,
    vm: &mut Inner,
    n: u32,
    took: Duration,
) -> Result<(String, Option<Inner>)> {
    let mut target = Inner::start(to, Card::Vf, image, true)?;
    rounds::begin_move(to, vm, &mut target, (PORT, PORT))?;
    let before = KILLS - KILLS_STOPPED;
    let name = if n < before {
        let wait = took * n / before;
        thread::sleep(wait);
        format!("{} ms after the command", wait.as_millis())
    } else {
        vm.qmp
            .wait(|e| is_event(e, "STOP"), Duration::from_secs(180))?;
        let wait = Duration::from_millis(8) * (n - before);
        thread::sleep(wait);
        format!("{} ms after the VM stopped", wait.as_millis())
    };
    let info = vm.qmp.execute("query-migrate", json!({}))?;
    if info.get("status").and_then(serde_json::Value::as_str) == Some("completed") {
        return Ok((format!("{name}, too late: it had moved"), Some(target)));
    }
    target.kill();
    let why = match rounds::end_move(vm)? {
        // The destination had said that the VM runs there, and died before the source was asked again. Who manages the hosts
        // knows that it is dead, and lets the source go on.
        Ok(()) => {
            vm.qmp.execute("cont", json!({}))?;
            "the VM ran there, and is resumed on the source".to_owned()
        }
        Err(why) => why,
    };
    Ok((format!("{name} ({why})"), None))
}
