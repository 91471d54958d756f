// SPDX-License-Identifier: GPL-2.0
//! What an administrator may do in a VM at any time, and so while it moves.

use std::time::Duration;

use anyhow::{bail, Context, Result};
use lab_agent::Run;

use super::host::Host;
use super::pair::Pair;
use super::spec::Image;
use crate::bench::bed::{xdp_object, Verdict};
use crate::guest::Guest;
use crate::lab::Lab;

/// Packs the programs that a VM needs for events.
const PACK: &str = include_str!("tools.py");

/// Something that is done to the VM's card, and undone where it would stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Other ring sizes.
    Rings,
    /// Another MTU.
    Mtu,
    /// The card goes down and comes up.
    Link,
    /// A VLAN comes and goes.
    Vlan,
    /// Multicast groups are joined and left.
    Multicast,
    /// An XDP program that passes everything comes and goes.
    XdpPass,
    /// One that drops everything.
    XdpDrop,
    /// One that sends everything back.
    XdpTx,
}

/// All of them.
pub(super) const ALL: [Event; 8] = [
    Event::Rings,
    Event::Mtu,
    Event::Link,
    Event::Vlan,
    Event::Multicast,
    Event::XdpPass,
    Event::XdpDrop,
    Event::XdpTx,
];

impl Event {
    /// Its name, for results.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rings => "ethtool -G",
            Self::Mtu => "MTU",
            Self::Link => "link down and up",
            Self::Vlan => "VLAN",
            Self::Multicast => "multicast",
            Self::XdpPass => "XDP pass",
            Self::XdpDrop => "XDP drop",
            Self::XdpTx => "XDP tx",
        }
    }

    /// Whether it may cost frames by itself, without a move.
    pub(super) fn loses(self) -> bool {
        match self {
            // The rings are made anew, or the card is down.
            Self::Rings | Self::Mtu | Self::Link | Self::XdpPass => true,
            // What they do.
            Self::XdpDrop | Self::XdpTx => true,
            Self::Vlan | Self::Multicast => false,
        }
    }

    /// What the VM does.
    fn script(self) -> &'static str {
        match self {
            Self::Rings => "ethtool -G eth0 rx 256 tx 256; sleep 0.2; ethtool -G eth0 rx 512 tx 512",
            Self::Mtu => "$ip link set eth0 mtu 1400; sleep 0.2; $ip link set eth0 mtu 1500",
            Self::Link => "$ip link set eth0 down; sleep 0.1; $ip link set eth0 up",
            Self::Vlan => {
                "$ip link add link eth0 name v5 type vlan id 5; $ip link set v5 up; sleep 0.2; $ip link del v5"
            }
            Self::Multicast => {
                "for i in 1 2 3 4 5 6 7 8; do $ip maddr add 01:00:5e:00:01:0$i dev eth0; done; sleep 0.2
                 for i in 1 2 3 4 5 6 7 8; do $ip maddr del 01:00:5e:00:01:0$i dev eth0; done"
            }
            Self::XdpPass => {
                "$ip link set eth0 xdp obj /tools/pass.o sec xdp; sleep 0.3; $ip link set eth0 xdp off"
            }
            Self::XdpDrop => {
                "$ip link set eth0 xdp obj /tools/drop.o sec xdp; sleep 0.3; $ip link set eth0 xdp off"
            }
            Self::XdpTx => {
                "$ip link set eth0 xdp obj /tools/tx.o sec xdp; sleep 0.3; $ip link set eth0 xdp off"
            }
        }
    }
}

/// Where the VM keeps what it does.
const LOG: &str = "/run/events.log";
const STOP: &str = "/run/events.stop";

/// The hosts' own, which a VM without a root file system lacks.
pub(super) const ETHTOOL: &str = "ethtool=$(command -v ethtool)";

/// Gives a VM the programs that events need.
pub(super) fn equip(lab: &Lab, pair: &Pair, image: &mut Image) -> Result<()> {
    let mut files = vec!["ip=$(command -v ip)".to_owned(), ETHTOOL.to_owned()];
    for verdict in [Verdict::Drop, Verdict::Pass, Verdict::Tx] {
        let name = format!("{}.o", verdict.name());
        std::fs::write(pair.share().join(&name), xdp_object(lab, verdict)?)
            .with_context(|| format!("writing {name}"))?;
        files.push(format!("{name}=/lab/inner/{name}"));
    }
    bring(pair, image, &files)
}

/// Puts programs, each `NAME=PATH` with the path in the hosts, into a VM's `/tools`, behind its initramfs.
pub(super) fn bring(pair: &Pair, image: &mut Image, files: &[String]) -> Result<()> {
    let to = format!("/run/{}", image.initrd.replace('/', "_"));
    let script = format!(
        "cat >/run/tools.py; python3 /run/tools.py {} {to} {}",
        image.initrd,
        files.join(" ")
    );
    for host in &pair.hosts {
        pack(host, &script)?;
    }
    image.initrd = to;
    Ok(())
}

fn pack(host: &Host, script: &str) -> Result<()> {
    let run = Run {
        argv: ["sh", "-ec", script].map(String::from).to_vec(),
        timeout_ms: Some(120_000),
        ..Run::default()
    };
    let command = host.vm.guest.start(&run)?;
    command.stdin(PACK.as_bytes())?;
    command.close_stdin()?;
    let mut said = String::new();
    for event in &command.events {
        match event {
            crate::guest::Event::Stdout(b) | crate::guest::Event::Stderr(b) => {
                said += &String::from_utf8_lossy(&b);
            }
            crate::guest::Event::Exit(e) if e.ok() => return Ok(()),
            crate::guest::Event::Exit(e) => bail!("packing programs for the VM: {e:?}\n{said}"),
        }
    }
    bail!("the host ended while it packed programs for the VM")
}

/// Has the VM do these again and again, with a second between two, until [`stop`].
pub(super) fn start(agent: &Guest, events: &[Event]) -> Result<()> {
    // The shell takes its own ip before any in PATH.
    let mut script =
        format!("rm -f {STOP} {LOG}; export PATH=/tools:$PATH ip=/tools/ip; (set +e\n");
    script += &format!("while [ ! -e {STOP} ]; do\n");
    for e in events {
        // A shell of its own: -e does nothing in the condition of an if.
        script += &format!(
            "if sh -ec '{}' 2>>{LOG}; then echo 'ok {1}' >>{LOG}; else echo 'failed {1}' >>{LOG}; fi; sleep 1\n",
            e.script(),
            e.name()
        );
    }
    script += &format!("done; echo end >>{LOG}) >/dev/null 2>&1 </dev/null &");
    agent
        .sh(&script, Duration::from_secs(60))?
        .ok()
        .context("starting events in the VM")?;
    Ok(())
}

/// Ends them and waits until the last is done. Gives what the VM has written of them.
pub(super) fn stop(agent: &Guest) -> Result<String> {
    let script = format!(
        "touch {STOP}; for i in $(seq 900); do tail -n 1 {LOG} | grep -q '^end$' && exec cat {LOG}; sleep 0.1; done; cat {LOG}; exit 1"
    );
    agent
        .sh(&script, Duration::from_secs(120))?
        .ok()
        .context("ending events in the VM")
}

/// How often an event went well and how often it failed.
pub(super) fn counts(log: &str, event: Event) -> (usize, usize) {
    let of = |word: &str| {
        let line = format!("{word} {}", event.name());
        log.lines().filter(|l| **l == line).count()
    };
    (of("ok"), of("failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_can_be_quoted() {
        assert!(ALL.iter().all(|e| !e.script().contains('\'')));
    }

    #[test]
    fn the_shells_own_ip_is_not_taken() {
        // BusyBox has one, which knows neither XDP nor `maddr`.
        for script in ALL.map(Event::script) {
            assert!(!format!(" {script}").contains(" ip "), "{script}");
        }
    }

    #[test]
    fn events_are_counted_by_name() {
        let log = "ok XDP drop\nRTNETLINK answers: x\nfailed XDP drop\nok XDP\nok XDP drop\nend\n";
        assert_eq!(counts(log, Event::XdpDrop), (2, 1));
        assert_eq!(counts(log, Event::Mtu), (0, 0));
    }
}
