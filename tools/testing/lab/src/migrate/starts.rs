// SPDX-License-Identifier: GPL-2.0
//! A VM with a VF that is started again and again, on both hosts at once: some starts in a hundred ended in a triple fault of its
//! processor.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::diagnose::{diagnose, start_once};
use super::host::Host;
use super::judge::{check, logs_are_clean};
use super::pair::{at_once, Pair, Progress};
use super::rounds::is_event;
use super::spec::{Card, Image, Plan};
use super::troubles::FIT;
use crate::ktap::TestResult;
use crate::lab::Lab;

/// Starts in each host.
const STARTS: usize = 50;

/// Starts VMs until one fails.
fn start_often(host: &Host, image: &Image, progress: &Progress) -> Result<()> {
    for number in 1..=STARTS {
        progress.say(&format!("{}: start {number} of {STARTS}", host.name()));
        start_once(host, Card::Vf, image)?.quit();
    }
    Ok(())
}

/// Has a VM triple fault, by what Linux does where it knows no other way to restart (`BOOT_TRIPLE` in arch/x86/kernel/reboot.c).
/// Gives what is told of it.
fn provoke(host: &Host, image: &Image) -> Result<String> {
    let mut vm = start_once(host, Card::Vf, image)?;
    let script = "echo triple >/sys/kernel/reboot/type && (sleep 1; reboot -nf) >/dev/null 2>&1 &";
    vm.agent.sh(script, Duration::from_secs(20))?.ok()?;
    let is_end = |e: &Value| is_event(e, "SHUTDOWN");
    vm.qmp.wait(is_end, Duration::from_secs(60))?;
    Ok(diagnose(host, &mut vm))
}

/// Starts VMs in both hosts. Gives the results, and what the hosts' kernels reported.
///
/// # Errors
/// If the hosts cannot be prepared.
pub fn run(
    lab: &Lab,
    pair: &Pair,
    plan: &Plan<'_>,
    progress: &Progress,
) -> Result<(Vec<TestResult>, Vec<String>)> {
    pair.prepare(&FIT)?;
    let image = pair.image(lab, Card::Vf, plan.guest)?;
    let [one, two] = &pair.hosts;
    let often = |host| Ok(start_often(host, &image, progress));
    let started = at_once(|| often(one), || often(two))?;
    let mut results = Vec::new();
    for (host, started) in [(one, started.0), (two, started.1)] {
        check(
            &mut results,
            format!(
                "{}: {STARTS} VMs start and get their addresses",
                host.name()
            ),
            started.is_ok(),
            started.err().map(|e| format!("{e:#}")).unwrap_or_default(),
        );
    }
    let told = provoke(one, &image)?;
    check(
        &mut results,
        "a triple fault is told, with what led to it".into(),
        ["IDT at", "stack at", " x 3 ("]
            .iter()
            .all(|part| told.contains(part)),
        told,
    );
    let faults = pair.faults()?;
    results.push(logs_are_clean(&faults));
    Ok((results, faults))
}
