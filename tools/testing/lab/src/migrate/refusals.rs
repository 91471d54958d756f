// SPDX-License-Identifier: GPL-2.0
//! What a VM must survive: a destination that is not fit, a source that no destination would take, and a destination that dies.
//! The VM goes on where it is, and the reason is told, before it is stopped where that could be known.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab_agent::Run;
use serde_json::json;

use super::host::{Host, Preparation, FIRST, PORT};
use super::inner::{Card, Inner};
use super::pair::{Image, Pair, Progress};
use super::rounds::{self, boot_id, is_event};
use super::{together, Plan, Traffic};
use crate::kernel::Flavour;
use crate::ktap::TestResult;
use crate::lab::{Drivers, Head, Lab};

/// How a destination is unfit, or a source.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    name: &'static str,
    /// What the reasons must say, somewhere in what both QEMUs and both hosts' kernels print.
    says: &'static [&'static str],
    make: fn(&Stage<'_>) -> Result<()>,
    mend: fn(&Stage<'_>) -> Result<()>,
    /// What the migration stream goes through.
    relay: Option<Relay>,
    /// Whether the VM may be stopped for it, where that is certain: what is known from the compatibility record is told before.
    stops: Option<bool>,
}

/// What changes the migration stream on its way.
#[derive(Clone, Copy, Debug)]
enum Relay {
    /// Makes version 1 of this project's format version 2: the source is newer than the destination.
    NewerSource,
    /// Takes from the compatibility record what version 1 of it did not have, so that the state alone tells.
    OlderSource,
}

impl Relay {
    const fn argument(self) -> &'static str {
        match self {
            Self::NewerSource => "newer",
            Self::OlderSource => "older",
        }
    }
}

/// What a trouble can get at.
struct Stage<'a> {
    from: &'a Host,
    to: &'a Host,
    vm: &'a Inner,
}

impl Stage<'_> {
    /// Runs a script in the VM.
    fn in_vm(&self, what: &str, script: &str) -> Result<()> {
        self.vm
            .agent
            .sh(script, Duration::from_secs(60))?
            .ok()
            .with_context(|| format!("in the VM: {what}"))?;
        Ok(())
    }

    /// Lets the destination's PF have the VM's address as well, or takes it again.
    fn pf_has_address(&self, has: bool) -> Result<()> {
        let (verb, pf, mac) = (if has { "add" } else { "del" }, FIRST.pf(), FIRST.mac());
        self.to.sh(
            "an address of the PF",
            &format!(
                "bridge fdb {verb} {mac} dev $(ls /sys/bus/pci/devices/{pf}/net) self permanent; sleep 0.5"
            ),
        )?;
        Ok(())
    }

    /// The guest receives all multicast, for which its VF needs trust, or gives it up again.
    fn all_multicast(&self, on: bool) -> Result<()> {
        // A VF that is trusted, or no longer, begins anew.
        let settled = "i=0; while [ $i -lt 20 ]; do read c </sys/class/net/eth0/carrier
             if [ \"$c\" = 1 ]; then i=$((i + 1)); else i=0; fi; sleep 0.1; done";
        if on {
            self.from.set_pf("vf 0 trust on")?;
        }
        let flag = if on { "allmulti" } else { "-allmulti" };
        self.in_vm(
            "multicast",
            &format!("{settled}; ifconfig eth0 {flag}; sleep 1"),
        )?;
        if !on {
            self.from.set_pf("vf 0 trust off")?;
        }
        Ok(())
    }

    /// More VLANs than the destination has room for: the guest's, and port VLANs of other VFs. Up to 32 VFs have queues of the
    /// same number.
    fn fill_vlans(&self) -> Result<()> {
        self.in_vm(
            "joining VLANs",
            "for i in $(seq 101 140); do ip link add link eth0 name v$i type vlan id $i || exit 1; done; sleep 1",
        )?;
        self.to.set_vfs(31)?;
        self.to.prepare(&FIT)?;
        self.to.sh(
            "port VLANs",
            &format!(
                "n=$(ls /sys/bus/pci/devices/{}/net); for i in $(seq 30); do ip link set $n vf $i vlan $((1000 + i)); done",
                FIRST.pf()
            ),
        )?;
        Ok(())
    }

    fn leave_vlans(&self) -> Result<()> {
        self.in_vm(
            "leaving VLANs",
            "for i in $(seq 101 140); do ip link del v$i; done; sleep 1",
        )?;
        self.to.set_vfs(1)?;
        self.to.prepare(&FIT)
    }

    /// The guest's driver routes its mailbox interrupt to a vector that the VF has not, or puts it right.
    fn odd_vector(&self, odd: bool) -> Result<()> {
        // VTIVAR_MISC (82599 datasheet 8.3.5.3.6) in the VF's first BAR; VALID and vector 3, of 0 to 2.
        let change = if odd {
            "devmem $reg 32 >/tmp/vector; devmem $reg 32 0x83"
        } else {
            "devmem $reg 32 $(cat /tmp/vector)"
        };
        self.in_vm(
            "writing a register",
            &format!(
                "read base rest </sys/class/net/eth0/device/resource; reg=$(printf '0x%x' $((base + 0x140))); {change}"
            ),
        )
    }
}

const FIT: Preparation<'static> = Preparation {
    card: Card::Vf,
    restore: None,
    migratable: true,
};

/// Port of the relay.
const RELAY: u16 = PORT + 1;

/// Passes the stream on and changes what of this project's format goes by, see [`Relay`]. A compatibility record (content 1) of an
/// older source is made by giving its later records kinds that nobody knows, which a reader skips.
const RELAY_SCRIPT: &str = r#"
import os, socket, struct, sys, threading
MAGIC = b"ixgbeVF\x1a"
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8): crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff
def newer(blob):
    struct.pack_into("<H", blob, 8, 2)
def older(blob):
    if struct.unpack_from("<H", blob, 10)[0] != 1: return
    at = 24
    while at < len(blob):
        kind, _, length = struct.unpack_from("<HHI", blob, at)
        if kind > 0x8001: struct.pack_into("<H", blob, at, kind | 0xf00)
        at += 8 + (length + 7) // 8 * 8
    struct.pack_into("<I", blob, 20, 0)
    struct.pack_into("<I", blob, 20, crc32c(blob))
change = {"newer": newer, "older": older}[sys.argv[1]]
s = socket.create_server(("", 4445)); a = s.accept()[0]; b = socket.create_connection(("127.0.0.1", 4444))
def back():
    while d := b.recv(65536): a.sendall(d)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
kept = bytearray()
while d := a.recv(65536):
    kept += d
    while (at := kept.find(MAGIC)) >= 0:
        if len(kept) < at + 24: break
        end = at + struct.unpack_from("<I", kept, at + 12)[0]
        if len(kept) < end: break
        blob = kept[at:end]; change(blob)
        b.sendall(kept[:at] + blob); del kept[:end]
    else:
        at = next((len(kept) - n for n in range(len(MAGIC) - 1, 0, -1) if kept.endswith(MAGIC[:n])), len(kept))
    b.sendall(kept[:at]); del kept[:at]
b.sendall(kept); b.shutdown(socket.SHUT_WR); threading.Event().wait()
"#;

const TROUBLES: &[Trouble] = &[
    Trouble {
        name: "destination without the variant driver",
        says: &["vfio"],
        make: |s| {
            s.to.prepare(&Preparation {
                card: Card::Replug,
                restore: None,
                migratable: false,
            })
        },
        mend: |s| s.to.prepare(&FIT),
        relay: None,
        stops: None,
    },
    Trouble {
        name: "destination's VF not migratable",
        says: &["not migratable, see devlink port function"],
        make: |s| {
            s.to.prepare(&Preparation {
                migratable: false,
                ..FIT
            })
        },
        mend: |s| s.to.prepare(&FIT),
        relay: None,
        stops: None,
    },
    Trouble {
        name: "no free VF",
        says: &["no such host device"],
        make: |s| s.to.set_vfs(0),
        mend: |s| {
            s.to.set_vfs(1)?;
            s.to.prepare(&FIT)
        },
        relay: None,
        stops: None,
    },
    Trouble {
        name: "other queue layout",
        says: &["other queues per pool"],
        make: |s| {
            // Above 32 VFs a pool has 2 queues, below 4 (82599 datasheet 7.10.3.2).
            s.to.set_vfs(40)?;
            s.to.prepare(&FIT)
        },
        mend: |s| {
            s.to.set_vfs(1)?;
            s.to.prepare(&FIT)
        },
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "destination's MTU too small",
        says: &["frame size not allowed here, check the PF's MTU"],
        make: |s| {
            s.from.set_pf("mtu 9000")?;
            s.vm.set_mtu(9000)
        },
        mend: |s| {
            s.vm.set_mtu(1500)?;
            s.from.set_pf("mtu 1500")
        },
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "destination's link down",
        says: &["no link here"],
        make: |s| s.to.set_pf("down"),
        mend: |s| {
            s.to.set_pf("up")?;
            s.to.wait_link()
        },
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "destination knows only an older state version",
        says: &["unknown format version"],
        make: |_| Ok(()),
        mend: |_| Ok(()),
        relay: Some(Relay::NewerSource),
        stops: Some(false),
    },
    Trouble {
        name: "another address of the destination's administrator",
        says: &["compatibility record refused: this host set another MAC address"],
        make: |s| s.to.set_pf("vf 0 mac 02:82:59:00:99:99"),
        mend: |s| s.to.set_pf(&format!("vf 0 mac {}", FIRST.mac())),
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "the same, told by the state alone",
        says: &["state refused: this host set another MAC address"],
        make: |s| s.to.set_pf("vf 0 mac 02:82:59:00:99:99"),
        mend: |s| s.to.set_pf(&format!("vf 0 mac {}", FIRST.mac())),
        relay: Some(Relay::OlderSource),
        stops: Some(true),
    },
    Trouble {
        name: "address in use by the destination's PF",
        says: &["compatibility record refused: MAC address in use here"],
        make: |s| s.pf_has_address(true),
        mend: |s| s.pf_has_address(false),
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "the same, told by the state alone",
        says: &["state refused: MAC address in use here"],
        make: |s| s.pf_has_address(true),
        mend: |s| s.pf_has_address(false),
        relay: Some(Relay::OlderSource),
        stops: Some(true),
    },
    Trouble {
        name: "address in use by another VF of the destination",
        says: &["compatibility record refused: MAC address in use here"],
        make: |s| {
            s.to.set_vfs(2)?;
            s.to.prepare(&FIT)?;
            s.to.set_pf(&format!("vf 1 mac {}", FIRST.mac()))
        },
        mend: |s| {
            s.to.set_vfs(1)?;
            s.to.prepare(&FIT)
        },
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "no trust for all multicast",
        says: &["compatibility record refused: all multicast not allowed to this VF here"],
        make: |s| s.all_multicast(true),
        mend: |s| s.all_multicast(false),
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "the same, told by the state alone",
        says: &["state refused: all multicast not allowed to this VF here"],
        make: |s| s.all_multicast(true),
        mend: |s| s.all_multicast(false),
        relay: Some(Relay::OlderSource),
        stops: Some(true),
    },
    Trouble {
        name: "the destination's VLAN table is full",
        says: &["compatibility record refused: no room for its VLANs here"],
        make: |s| s.fill_vlans(),
        mend: |s| s.leave_vlans(),
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "the same, told by the state alone",
        says: &["state refused: no room for its VLANs here"],
        make: |s| s.fill_vlans(),
        mend: |s| s.leave_vlans(),
        relay: Some(Relay::OlderSource),
        stops: Some(true),
    },
    Trouble {
        name: "link of the VF disabled on the destination",
        says: &["compatibility record refused: link of this VF disabled here"],
        make: |s| s.to.set_pf("vf 0 state disable"),
        mend: |s| s.to.set_pf("vf 0 state auto"),
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "several at once",
        says: &[
            "other port VLAN",
            "this host set another MAC address",
            "link of this VF disabled here",
        ],
        make: |s| {
            s.to.set_pf("vf 0 vlan 7")?;
            s.to.set_pf("vf 0 mac 02:82:59:00:99:99")?;
            s.to.set_pf("vf 0 state disable")
        },
        mend: |s| {
            s.to.set_pf("vf 0 vlan 0")?;
            s.to.set_pf(&format!("vf 0 mac {}", FIRST.mac()))?;
            s.to.set_pf("vf 0 state auto")
        },
        relay: None,
        stops: Some(false),
    },
    Trouble {
        name: "a guest with an odd register, which no destination would take",
        says: &["compatibility record refused: value out of range"],
        make: |s| s.odd_vector(true),
        mend: |s| s.odd_vector(false),
        relay: None,
        stops: Some(false),
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
    log_from: [usize; 2],
    results: Vec<TestResult>,
}

impl<'a> Talk<'a> {
    fn start(lab: &Lab, pair: &'a Pair) -> Result<Self> {
        let log_from = pair.log_lengths();
        pair.prepare(&FIT)?;
        let image = pair.image(lab, Card::Vf, Drivers::Rust)?;
        let [from, to] = [&pair.hosts[0], &pair.hosts[1]];
        let vm = Inner::start(from, Card::Vf, &image, false)?;
        vm.configure()?;
        let plan = Plan {
            card: Card::Vf,
            guest: Drivers::Rust,
            head: Head::Value,
            traffic: Traffic::Udp,
            rounds: 0,
            kernel: Flavour::Release,
            rate: 100,
            restore: None,
            migratable: true,
            trace: None,
        };
        let (flow, _) = rounds::start_traffic(&plan, &vm.agent, vm.seats, &pair.station)?;
        Ok(Self {
            pair,
            image,
            from,
            to,
            boot_id: boot_id(&vm.agent)?,
            vm,
            flow,
            log_from,
            results: Vec::new(),
        })
    }

    fn check(&mut self, name: &str, ok: bool, comment: &str) {
        let (name, comment) = (name.to_owned(), comment.to_owned());
        together::check(&mut self.results, name, ok, comment);
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
        Ok(
            rounds::settle(&self.pair.station, self.flow, seq)?.is_some()
                && boot_id(&self.vm.agent).is_ok_and(|id| id == self.boot_id),
        )
    }

    /// Takes the VM for the one that has arrived.
    fn has_moved(&mut self, arrived: Inner) {
        std::mem::replace(&mut self.vm, arrived).quit();
        std::mem::swap(&mut self.from, &mut self.to);
    }

    /// A move that succeeds shows that nothing was left behind. Gives how long it took.
    fn moves(&mut self, name: &str) -> Result<Duration> {
        let begin = Instant::now();
        let log = log_lengths(self);
        match try_move(self, None, log)? {
            Err(arrived) => {
                let took = begin.elapsed();
                self.has_moved(arrived);
                let well = self.is_well()?;
                self.check(name, well, "");
                Ok(took)
            }
            Ok(failed) => {
                self.check(name, false, &failed.why);
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
        let faults = self.pair.faults(self.log_from)?;
        self.check(
            "kernel logs are clean",
            faults.is_empty(),
            faults.first().map_or("", String::as_str),
        );
        self.pair.station.stop_flow(self.flow);
        self.vm.quit();
        Ok((self.results, faults))
    }
}

/// Why a move failed.
struct Failed {
    /// What both QEMUs and both hosts' kernels said.
    why: String,
    /// The VM was stopped for it.
    stopped: bool,
}

/// The records of both hosts' kernels so far.
fn log_lengths(talk: &Talk<'_>) -> [usize; 2] {
    [talk.from, talk.to].map(|host| host.vm.guest.kernel_log(0).len())
}

/// One move that must fail. Gives the reason, with what the hosts' kernels have said from these records on, or `Err` with the VM
/// where it arrived.
fn try_move(
    talk: &mut Talk<'_>,
    relay: Option<Relay>,
    log: [usize; 2],
) -> Result<std::result::Result<Failed, Inner>> {
    let (from, to) = (talk.from, talk.to);
    let mut target = match Inner::start(to, Card::Vf, &talk.image, true) {
        Ok(target) => target,
        Err(e) => {
            return Ok(Ok(Failed {
                why: format!("{e:#}"),
                stopped: false,
            }))
        }
    };
    if let Some(relay) = relay {
        let argv = ["python3", "-c", RELAY_SCRIPT, relay.argument()];
        to.vm.guest.start(&Run {
            argv: argv.map(String::from).to_vec(),
            ..Run::default()
        })?;
        let wait = format!("until ss -ltn | grep -q :{RELAY}; do sleep 0.1; done");
        to.vm.guest.sh(&wait, Duration::from_secs(60))?.ok()?;
    }
    let port = if relay.is_some() { RELAY } else { PORT };
    let source = &mut talk.vm;
    let moved = match rounds::begin_move(to, source, &mut target, (PORT, port))? {
        Some(refusal) => Err(refusal),
        None => rounds::end_move(source)?,
    };
    let Err(why) = moved else {
        return Ok(Err(target));
    };
    let stopped = source.qmp.events.iter().any(|e| is_event(e, "STOP"));
    let mut why = rounds::why_not(&why, source, &target);
    for (host, log) in [from, to].into_iter().zip(log) {
        for record in host.vm.guest.kernel_log(log) {
            why += "\n";
            why += &record.text;
        }
    }
    target.quit();
    Ok(Ok(Failed { why, stopped }))
}

/// Tries every unfit destination. Gives the results, and what the hosts' kernels reported.
///
/// # Errors
/// If a step fails that has nothing to do with a refusal.
pub fn run(lab: &Lab, pair: &Pair, progress: &Progress) -> Result<(Vec<TestResult>, Vec<String>)> {
    let mut talk = Talk::start(lab, pair)?;
    for (number, trouble) in (1..).zip(TROUBLES) {
        let name = format!("{number} {}", trouble.name);
        progress.say(&name);
        let log = log_lengths(&talk);
        (trouble.make)(&talk.stage()).context(trouble.name)?;
        match try_move(&mut talk, trouble.relay, log)? {
            Ok(failed) => {
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
                    talk.check(&format!("{name}: {when}"), failed.stopped == stops, "");
                }
            }
            Err(arrived) => {
                talk.check(&format!("{name}: refused"), false, "it moved");
                talk.has_moved(arrived);
            }
        }
        let well = talk.is_well()?;
        talk.check(&format!("{name}: the VM goes on"), well, "");
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
