// SPDX-License-Identifier: GPL-2.0
//! The operator's guide's recipe for libvirt, followed to the letter: libvirt chooses the variant driver by the VF's module
//! alias, and `virsh migrate` moves the domain to and fro.

use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use super::host::Host;
use super::inner::configure;
use super::judge::{check, logs_are_clean};
use super::pair::{Pair, Progress};
use super::rounds::{self, boot_id};
use super::spec::{Card, Image, Plan, FIRST};
use super::together::Flow;
use crate::guest::{Guest, Output, Up};
use crate::ktap::TestResult;
use crate::lab::Lab;

/// The domain, see there.
const DOMAIN: &str = include_str!("libvirt.xml");

/// Its name, as it says.
const DOMAIN_NAME: &str = "vm";

/// Its agent's socket, as it says.
const AGENT: &str = "/var/lib/libvirt/qemu/vm.agent";

/// Its console, as it says.
const CONSOLE: &str = "/run/vm.console";

/// The driver that libvirt has to find.
const DRIVER: &str = "ixgbe_vfio_pci";

/// How long a command of virsh may take: for the first one libvirt asks QEMU for its abilities, under emulation.
const LIMIT: Duration = Duration::from_secs(240);

/// Starts libvirt in a host, open to the other one. The lab's network has nobody else in it, its kernel has no seccomp, and its
/// hosts have no udev: with a KVM that QEMU's user may not open, libvirt asks QEMU for its abilities anew at each look. Nor have
/// they what makes a node for each module that a look at it loads (`kmod static-nodes`), by which libvirt 12 knows a host with
/// VFIO.
const START: &str = "
    set -e
    [ -e /dev/vfio/vfio ] || { mkdir -p /dev/vfio; mknod -m 666 /dev/vfio/vfio c 10 196; }
    chgrp kvm /dev/kvm; chmod 660 /dev/kvm
    echo 'listen_tls = 0\nlisten_tcp = 1\nauth_tcp = \"none\"' >>/etc/libvirt/libvirtd.conf
    echo 'seccomp_sandbox = 0' >>/etc/libvirt/qemu.conf
    virtlogd -d
    libvirtd -d -l
    for i in $(seq 100); do virsh -q version >/dev/null 2>&1 && exit; sleep 0.2; done
    virsh version";

/// What libvirt has to say of a failure.
fn said(host: &Host) -> String {
    let script =
        format!("tail -n 20 /var/log/libvirt/qemu/*.log; tail -n 20 {CONSOLE}; dmesg | tail -n 10");
    match host.vm.guest.sh(&script, Duration::from_secs(30)) {
        Ok(Output { stdout, stderr, .. }) => stdout + &stderr,
        Err(e) => format!("{e:#}"),
    }
}

fn virsh(host: &Host, arguments: &str) -> Result<String> {
    host.vm
        .guest
        .sh(&format!("virsh -q {arguments}"), LIMIT)?
        .ok()
        .with_context(|| format!("{}: virsh {arguments}\n{}", host.name(), said(host)))
}

/// The driver that the VF has in a host; empty if none.
fn driver(host: &Host) -> Result<String> {
    let script = format!(
        "n=$(readlink {}/driver) || true; echo ${{n##*/}}",
        FIRST.dir()
    );
    let name = host.sh("asking for the VF's driver", &script)?;
    Ok(name.trim().to_owned())
}

/// Starts the domain with this image and waits until its agent answers.
fn start(host: &Host, image: &Image) -> Result<Guest> {
    let guest = &host.vm.guest;
    let domain = DOMAIN
        .replace("@INITRD@", &image.initrd)
        .replace("@MODULES@", &image.drivers);
    let write = format!("cat >/run/vm.xml <<'EOF'\n{domain}EOF");
    guest.sh(&write, Duration::from_secs(30))?.ok()?;
    virsh(host, "define /run/vm.xml")?;
    virsh(host, "start vm")?;
    let agent = host.vm_agent(AGENT, DOMAIN_NAME, false)?;
    if agent.wait_up(Duration::from_secs(120)) != Up::Yes {
        bail!("the domain did not come up:\n{}", said(host));
    }
    Ok(agent)
}

/// Runs it. Gives the results, and what the hosts' kernels reported.
///
/// # Errors
/// If a step fails that is no part of the recipe.
pub fn run(
    lab: &Lab,
    pair: &Pair,
    plan: &Plan<'_>,
    progress: &Progress,
) -> Result<(Vec<TestResult>, Vec<String>)> {
    for host in &pair.hosts {
        host.prepare_for_libvirt(&plan.preparation())?;
    }
    let mut results = Vec::new();
    moves(lab, pair, plan, progress, &mut results)?;
    let faults = pair.faults()?;
    results.push(logs_are_clean(&faults));
    Ok((results, faults))
}

/// Starts libvirt in hosts whose VFs are prepared, and in one of them a domain, and moves it.
///
/// # Errors
/// If a step fails that is no part of the recipe.
pub(super) fn moves(
    lab: &Lab,
    pair: &Pair,
    plan: &Plan<'_>,
    progress: &Progress,
    results: &mut Vec<TestResult>,
) -> Result<()> {
    let image = pair.image(lab, Card::Vf, plan.guest)?;
    progress.say("starting libvirt");
    for host in &pair.hosts {
        host.vm
            .guest
            .sh(START, LIMIT)?
            .ok()
            .with_context(|| format!("{}: starting libvirt", host.name()))?;
    }
    let mut check = |name: String, ok: bool, comment: String| check(results, name, ok, comment);
    progress.say("starting the domain on h1");
    let mut agent = start(&pair.hosts[0], &image)?;
    let found = driver(&pair.hosts[0])?;
    check(
        format!("libvirt gives the VF to {DRIVER}, which nobody named"),
        found == DRIVER,
        found,
    );
    configure(&agent, Card::Vf, &[FIRST])?;
    let (id, _) = rounds::start_traffic(plan, &agent, &[FIRST], &pair.station)
        .with_context(|| said(&pair.hosts[0]))?;
    let boot = boot_id(&agent)?;
    let mut flow = Flow {
        seat: FIRST,
        id,
        seq: pair.station.next_seq(id)?,
    };
    for n in 0..plan.rounds {
        let [from, to] = if n % 2 == 0 {
            [&pair.hosts[0], &pair.hosts[1]]
        } else {
            [&pair.hosts[1], &pair.hosts[0]]
        };
        let what = format!("move {}", n + 1);
        progress.say(&format!("{what}: {} to {}", from.name(), to.name()));
        // Before the VM runs there: what its kernel says while nobody listens is lost.
        let arrived = to.vm_agent(AGENT, DOMAIN_NAME, true)?;
        let begin = Instant::now();
        let there = to.address();
        let command = format!("migrate --live vm qemu+tcp://{there}/system tcp://{there}");
        let moved = virsh(from, &command);
        let why = moved
            .as_ref()
            .err()
            .map(|e| format!("{e:#}\non the destination:\n{}", said(to)));
        check(
            format!("{what}: virsh migrate"),
            moved.is_ok(),
            why.unwrap_or_default(),
        );
        if moved.is_err() {
            break;
        }
        let state = virsh(to, "domstate vm")?;
        check(
            format!("{what}: the domain runs on {}", to.name()),
            state.trim() == "running",
            state,
        );
        let drivers = (driver(from)?, driver(to)?);
        check(
            format!("{what}: the source's VF is free again, the destination's has the driver"),
            drivers.0.is_empty() && drivers.1 == DRIVER,
            format!("{drivers:?}"),
        );
        agent = arrived;
        let mut judged = Vec::new();
        flow.judge(&pair.station, begin, &what, &mut judged)?;
        for r in judged {
            check(r.name, r.status == crate::ktap::Status::Pass, r.comment);
        }
        check(
            format!("{what}: the VM goes on"),
            boot_id(&agent).is_ok_and(|id| id == boot),
            String::new(),
        );
    }
    pair.station.stop_flow(flow.id);
    let stats = pair.station.stats(flow.id)?;
    check(
        "nothing is duplicated or corrupted".into(),
        stats.duplicated == 0 && stats.corrupted == 0,
        format!("{stats:?}"),
    );
    Ok(())
}

/// Ends the domain, where it is.
///
/// # Errors
/// If a host does not answer.
pub(super) fn end(pair: &Pair) -> Result<()> {
    for host in &pair.hosts {
        let script = "! virsh -q domstate vm || virsh -q destroy vm";
        let out = host.vm.guest.sh(script, LIMIT)?;
        out.ok().context("ending the domain")?;
    }
    Ok(())
}
