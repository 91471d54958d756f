// SPDX-License-Identifier: GPL-2.0
//! The installation guide and the operator's guide, followed on two hosts that have nothing but Debian's packages: this project's
//! are installed by apt, `ixgbe-migrate` prepares and compares the hosts, libvirt moves a VM, and in the end all of it goes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use serde_json::Value;

use super::host::Host;
use super::judge::{check, logs_are_clean};
use super::libvirt;
use super::pair::{Pair, Progress};
use super::spec::{Plan, FIRST};
use crate::ktap::TestResult;
use crate::lab::Lab;
use crate::package::{PF, VF, VFIO};

/// For what apt and the tool do under emulation.
const LIMIT: Duration = Duration::from_secs(300);

/// A host's files, but for those that dpkg, apt, depmod and libvirt keep for themselves.
const FILES: &str = "find /etc /usr /var -xdev | sort | grep -vE \
    '^/var/(lib/dpkg|lib/apt|cache|log)|^/usr/lib/modules/[^/]*/modules[.]|libvirt|/swtpm'";

/// What a card's driver is loaded by where there is udev.
const PLUG: &str = "modprobe -b $(cat $pf/modalias)";

/// Runs a script with `pf`, the card's folder in sysfs.
fn sh(host: &Host, what: &str, script: &str) -> Result<String> {
    let script = format!(
        "set -e; export DEBIAN_FRONTEND=noninteractive LC_ALL=C
         pf=/sys/bus/pci/devices/{}; driver() {{ basename $(readlink $1/driver || echo none); }}
         {script}",
        FIRST.pf()
    );
    let out = host.vm.guest.sh(&script, LIMIT)?;
    let said = out.stdout.clone() + &out.stderr;
    let last: Vec<&str> = said.lines().rev().take(12).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    out.ok()
        .with_context(|| format!("{}: {what}:\n{last}", host.name()))
}

/// Does something with both hosts at the same time.
fn both<T: Send>(pair: &Pair, what: impl Fn(&Host) -> Result<T> + Sync) -> Result<Vec<(&Host, T)>> {
    let [first, second] = &pair.hosts;
    let (one, two) = thread::scope(|s| {
        let two = s.spawn(|| what(second));
        let one = what(first);
        let two = two.join().unwrap_or_else(|_| bail!("a thread panicked"));
        (one, two)
    });
    Ok(vec![(first, one?), (second, two?)])
}

/// What `ixgbe-migrate check` says of a move from the first host to the second: whether it fits, and the names of what does not.
fn compare(pair: &Pair, options: &str) -> Result<(bool, Vec<String>)> {
    let [first, second] = &pair.hosts;
    let there = sh(second, "describing it", "ixgbe-migrate describe --json")?;
    let script = format!(
        "ixgbe-migrate describe --json >/run/h1.json
         cat >/run/h2.json <<'EOF'\n{there}\nEOF
         ixgbe-migrate check --json {options} --vf 0 /run/h1.json /run/h2.json || [ $? = 1 ]"
    );
    let verdict: Value = serde_json::from_str(&sh(first, "comparing the hosts", &script)?)
        .context("what ixgbe-migrate check prints")?;
    let mut names: Vec<String> = verdict
        .get("mismatches")
        .and_then(Value::as_array)
        .context("mismatches")?
        .iter()
        .filter_map(|m| Some(m.get("name")?.as_str()?.to_owned()))
        .collect();
    names.sort_unstable();
    // Some are told of each host.
    names.dedup();
    let unseen = verdict.get("unseen").and_then(Value::as_array);
    names.extend(unseen.into_iter().flatten().map(|u| format!("unseen {u}")));
    let fits = verdict.get("fits").and_then(Value::as_bool);
    Ok((fits.context("fits")?, names))
}

/// Gives the second host everything at once that a host can have which does not fit the first one's VF.
fn spoil(pair: &Pair) -> Result<()> {
    let [first, second] = &pair.hosts;
    sh(
        first,
        "trusting the VM",
        "ip link set $(ls $pf/net) vf 0 trust on spoofchk off",
    )?;
    let script = format!(
        "ixgbe-migrate release
         # With a user, and neither our driver nor migratable. 33 VFs and more have two queues each.
         modprobe vfio-pci
         ixgbe-migrate prepare --vfs 33 \
             --vf 0,mac=02:00:00:00:00:01,vlan=5,link=disable,max_tx_rate=100,spoofchk=on,migratable=off,driver=vfio-pci \
             --vf 1,mac={mac},driver=none
         net=$(ls $pf/net)
         ip link set $net mtu 9000
         ip link set $net down
         group=$(basename $(readlink $pf/virtfn0/iommu_group))
         (exec sleep 600 <>/dev/vfio/$group) >/dev/null 2>&1 & echo $! >/run/user",
        mac = FIRST.mac()
    );
    sh(second, "spoiling it", &script)?;
    Ok(())
}

/// What then does not fit.
const SPOILED: &[&str] = &[
    "addresses",
    "admin-mac",
    "all-multicast",
    "jumbo-api",
    "link-disabled",
    "link-down",
    "mac-in-use",
    "migratable",
    "port-vlan",
    "queue-layout",
    "spoof-check",
    "tx-rate",
    "vf-driver",
    "vf-in-use",
];

/// Removes everything; gives the PF's driver and what is left.
fn purge(host: &Host) -> Result<(String, String)> {
    let script = format!(
        "[ ! -e /run/user ] || {{ kill $(cat /run/user); ip link set $(ls $pf/net) down mtu 1500; }}
         ixgbe-migrate release >/run/release
         apt-get -y -o Dpkg::Use-Pty=0 purge ixgbe-migrate ixgbe-rust-modules-$(uname -r) ixgbe-rust-common >/run/purge 2>&1 ||
             {{ cat /run/purge; exit 1; }}
         echo $(driver $pf)
         ls -d /sys/module/{PF} /sys/module/{VF} /sys/module/{VFIO} 2>/dev/null || true
         modinfo -n vfio | grep -v /kernel/drivers/vfio/vfio.ko || true
         {FILES} >/run/after; comm -13 /run/before /run/after"
    );
    let said = sh(host, "purging the packages", &script)?;
    let (driver, left) = said.split_once('\n').unwrap_or((&said, ""));
    Ok((driver.to_owned(), left.trim().replace('\n', " ")))
}

/// Runs it. Gives the results, and what the hosts' kernels reported.
///
/// # Errors
/// If a host does not answer, or a step fails that the rest stands on.
pub(super) fn run(
    lab: &Lab,
    pair: &Pair,
    plan: &Plan<'_>,
    progress: &Progress,
) -> Result<(Vec<TestResult>, Vec<String>)> {
    let mut results = Vec::new();
    let start = Instant::now();
    progress.say("installing the packages");
    let install = format!(
        "{PLUG}; driver $pf; rmmod ixgbe
         {FILES} >/run/before
         apt-get -y -o Dpkg::Use-Pty=0 install /lab/packages/*.deb >/run/install 2>&1 || {{ cat /run/install; exit 1; }}
         {PLUG}; driver $pf"
    );
    for (host, drivers) in both(pair, |host| sh(host, "apt install", &install))? {
        let name = format!(
            "{}: apt installs the packages, and the card changes its driver",
            host.name()
        );
        let changed = drivers.split_whitespace().eq(["ixgbe", PF]);
        check(&mut results, name, changed, drivers.replace('\n', " "));
    }
    progress.say("preparing the hosts");
    for host in &pair.hosts {
        let script = format!(
            "ixgbe-migrate prepare --vfs 2 --vf 0,mac={},driver=keep; driver $pf/virtfn0",
            FIRST.mac()
        );
        let said = sh(host, "ixgbe-migrate prepare", &script)?;
        host.wait_link()?;
        let name = format!("{}: ixgbe-migrate makes VFs for libvirt", host.name());
        check(
            &mut results,
            name,
            said.trim_end().ends_with("\nnone"),
            said,
        );
    }
    let ready = start.elapsed().as_secs();
    let (fits, names) = compare(pair, "--managed")?;
    check(
        &mut results,
        "ixgbe-migrate check: this pair fits, and there is nothing to say".into(),
        fits && names.is_empty(),
        names.join(" "),
    );
    libvirt::moves(lab, pair, plan, progress, &mut results)?;
    let ended = libvirt::end(pair);
    check(
        &mut results,
        "the VM ends".into(),
        ended.is_ok(),
        match ended {
            Ok(()) => format!(
                "{ready} s until both hosts were prepared, {} s until here",
                start.elapsed().as_secs()
            ),
            Err(e) => format!("{e:#}"),
        },
    );

    progress.say("comparing hosts that do not fit");
    spoil(pair)?;
    let (fits, names) = compare(pair, "")?;
    check(
        &mut results,
        format!(
            "ixgbe-migrate check: all {} kinds of mismatch of a pair are told at once",
            SPOILED.len()
        ),
        !fits && names == SPOILED,
        names.join(" "),
    );

    progress.say("purging the packages");
    for (host, (driver, left)) in both(pair, purge)? {
        check(
            &mut results,
            format!("{}: apt purge: the C driver is back", host.name()),
            driver == "ixgbe",
            driver,
        );
        check(
            &mut results,
            format!("{}: nothing is left", host.name()),
            left.is_empty(),
            left,
        );
        sh(
            host,
            "starting the C driver",
            "ip link set $(ls $pf/net) up",
        )?;
        let link = host.wait_link();
        check(
            &mut results,
            format!("{}: the C driver has a link", host.name()),
            link.is_ok(),
            link.err().map_or_else(String::new, |e| format!("{e:#}")),
        );
    }
    let faults = pair.faults()?;
    results.push(logs_are_clean(&faults));
    Ok((results, faults))
}
