// SPDX-License-Identifier: GPL-2.0
//! What helps to understand why a VM does not answer, and the one reason for which it is started again.

use std::thread;
use std::time::Duration;

use anyhow::{anyhow, Result};

use super::host::Host;
use super::inner::Inner;
use super::spec::{Card, Image};
use crate::retry;

/// What helps to understand why a VM that has arrived does not answer.
pub(super) fn diagnose(to: &Host, vm: &mut Inner) -> String {
    let limit = Duration::from_secs(20);
    if let Some(told) = to.triple_fault() {
        // Nothing is left of it to be asked.
        return told;
    }
    let mut machine = machine_state(to, vm) + "a second later:\n";
    thread::sleep(Duration::from_secs(1));
    machine += &machine_state(to, vm);
    let vm_state = "grep -E 'CPU|eth0|ixgbevf|virtio' /proc/interrupts; cd /sys/class/net/eth0/statistics; grep . rx_packets \
                    tx_packets rx_dropped rx_errors; dmesg | tail -n 5";
    let host_state = "ip -s -s link; for n in $(ls /sys/bus/pci/devices/0000:01:00.0/net); do ethtool -S $n | grep -v ': 0'; done; \
                      grep vfio /proc/interrupts; dmesg | tail -n 10";
    let said = |what: &str, out: Result<crate::guest::Output>| match out {
        Ok(o) => format!("{what}:\n{}{}", o.stdout, o.stderr),
        Err(e) => format!("{what}: {e:#}\n"),
    };
    machine
        + &said("in the VM", vm.agent.sh(vm_state, limit))
        + &said(
            "a second later",
            vm.agent.sh(&format!("sleep 1; {vm_state}"), limit),
        )
        + &said("in the host", to.vm.guest.sh(host_state, limit))
        + &said(
            "the VM's console",
            to.vm
                .guest
                .sh("tail -n 25 $(ls -t /run/vm*.console | head -n 1)", limit),
        )
        + &format!("QEMU says: {}", vm.said())
}

/// What was being done, and what helps to understand why it failed, if it did.
pub(super) fn explained<T>(
    result: Result<T>,
    what: &str,
    host: &Host,
    vm: &mut Inner,
) -> Result<T> {
    // The reason first: what follows has pages.
    result.map_err(|e| anyhow!("{what}: {e:#}\n{}", diagnose(host, vm)))
}

/// Gives the VM's cards their addresses.
pub(super) fn configure(host: &Host, vm: &mut Inner) -> Result<()> {
    explained(vm.configure(), "giving the VM its addresses", host, vm)
}

/// Starts a VM and gives its cards their addresses.
///
/// # Errors
/// If it does not come up.
pub(super) fn start_once(host: &Host, card: Card, image: &Image) -> Result<Inner> {
    let mut vm = Inner::start(host, card, image, false)?;
    configure(host, &mut vm)?;
    Ok(vm)
}

/// Starts a VM and gives its cards their addresses; once more if its processor triple faults before it has them.
///
/// See [`retry::repeats_fault`].
///
/// # Errors
/// If it does not come up.
pub(super) fn start(host: &Host, card: Card, image: &Image) -> Result<Inner> {
    let error = match start_once(host, card, image) {
        Ok(vm) => return Ok(vm),
        Err(e) => e,
    };
    let what = format!("{} in {}", image.name, host.name());
    match host.triple_fault() {
        Some(told) if retry::repeats_fault(&what, &told) => host.forget_triple_faults(),
        _ => return Err(error),
    }
    start_once(host, card, image)
}

/// What the VM's processor is at, as QEMU and KVM see it, and where QEMU's threads wait: for a VM that says nothing itself.
fn machine_state(host: &Host, vm: &mut Inner) -> String {
    let mut text = String::new();
    for command in ["info status", "info registers -a", "info lapic"] {
        let said = vm.qmp.human(command);
        text += &said.unwrap_or_else(|e| format!("{command}: {e:#}\n"));
    }
    let threads = "grep -H . /sys/kernel/debug/kvm/*/*/* 2>/dev/null | grep -v ':0$'
        for t in $(ls -d /proc/[0-9]*/task/* | grep -v self); do
            read c <$t/comm; case $c in qemu*|*KVM*|*live_migration*) ;; *) continue;; esac
            echo \"$t $c $(cut -d' ' -f3,14,15 $t/stat) $(cat $t/wchan)\"; cat $t/stack; done";
    match host.vm.guest.sh(threads, Duration::from_secs(20)) {
        Ok(o) => text + &o.stdout + "\n",
        Err(e) => text + &format!("QEMU's threads: {e:#}\n"),
    }
}
