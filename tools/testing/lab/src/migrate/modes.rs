// SPDX-License-Identifier: GPL-2.0
//! QEMU's other ways to take a VM elsewhere or back: those that cannot be are refused, by QEMU and with its words, and the VM goes
//! on; the others work.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use serde_json::{json, Value};

use super::pair::{Pair, Progress};
use super::refusals::Talk;
use super::spec::Plan;
use crate::ktap::TestResult;
use crate::lab::Lab;
use crate::qmp::Qmp;

/// What QEMU says of post-copy to a VM with a VF (`vfio_save_prepare()` in `hw/vfio/migration.c`).
const NO_POSTCOPY: &str = "VFIO migration is not supported with postcopy migration";

/// Node of the image that a snapshot is written to.
const NODE: &str = "snapshots";

/// How long a snapshot may take, under emulation.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs it. Gives the results, and what the hosts' kernels reported.
///
/// # Errors
/// If a step fails that is no part of such a way.
pub fn run(
    lab: &Lab,
    pair: &Pair,
    plan: &Plan<'_>,
    progress: &Progress,
) -> Result<(Vec<TestResult>, Vec<String>)> {
    Talk::start(lab, pair, plan)?.runs(|talk| {
        progress.say("post-copy");
        talk.capability = Some("postcopy-ram");
        let refused = talk.try_to_move()?;
        let why = refused.err().unwrap_or_else(|| "it moved".into());
        talk.check(
            "post-copy: refused by QEMU",
            why.contains(NO_POSTCOPY),
            &why,
        );
        talk.check_well("post-copy: the VM goes on")?;
        progress.say("multifd");
        talk.capability = Some("multifd");
        for way in ["there", "back"] {
            talk.moves(&format!("multifd: the VM moves {way}"))?;
        }
        talk.capability = None;
        progress.say("snapshot");
        snapshot(talk)?;
        talk.moves("after all of them the VM moves")?;
        Ok(())
    })
}

/// Saves the VM to a snapshot, has it run on, and takes it back.
fn snapshot(talk: &mut Talk<'_>) -> Result<()> {
    make_image(&mut talk.vm.qmp)?;
    let before = talk.answered_twice()?;
    let job = json!({ "tag": "one", "vmstate": NODE, "devices": [NODE] });
    let saved = run_job(&mut talk.vm.qmp, "snapshot-save", job.clone())?;
    talk.check(
        "snapshot: saved",
        saved.is_none(),
        saved.as_deref().unwrap_or_default(),
    );
    talk.check_well("snapshot: the VM goes on when it was saved")?;
    if saved.is_none() {
        let loaded = run_job(&mut talk.vm.qmp, "snapshot-load", job)?;
        talk.check(
            "snapshot: loaded",
            loaded.is_none(),
            loaded.as_deref().unwrap_or_default(),
        );
        talk.check_well("snapshot: the VM goes on from it")?;
        talk.repeated = talk.answered_twice()? - before;
    }
    for node in [NODE, "file"] {
        talk.vm
            .qmp
            .execute("blockdev-del", json!({ "node-name": node }))?;
    }
    Ok(())
}

/// Makes an image that has room for the VM.
fn make_image(qmp: &mut Qmp) -> Result<()> {
    let file = json!({ "driver": "file", "filename": "/run/snapshots.qcow2" });
    let mut made = file.clone();
    made["size"] = 0.into();
    let image = json!({ "driver": "qcow2", "file": "file" });
    let mut formatted = image.clone();
    formatted["size"] = (1_u64 << 30).into();
    for (make, node, name) in [(made, file, "file"), (formatted, image, NODE)] {
        if let Some(why) = run_job(qmp, "blockdev-create", json!({ "options": make }))? {
            bail!("making the image: {why}");
        }
        let mut node = node;
        node["node-name"] = name.into();
        qmp.execute("blockdev-add", node)?;
    }
    Ok(())
}

/// Runs a job of QEMU to its end. Gives why it failed, if it did.
fn run_job(qmp: &mut Qmp, command: &str, mut arguments: Value) -> Result<Option<String>> {
    const ID: &str = "job";
    arguments["job-id"] = ID.into();
    qmp.execute(command, arguments)?;
    let end = Instant::now() + LIMIT;
    loop {
        let jobs = qmp.execute("query-jobs", json!({}))?;
        let job = jobs.pointer("/0").context("the job is gone")?;
        if job.get("status").and_then(Value::as_str) == Some("concluded") {
            qmp.execute("job-dismiss", json!({ "id": ID }))?;
            return Ok(job.get("error").and_then(Value::as_str).map(String::from));
        }
        if Instant::now() > end {
            bail!("{command} does not end: {job}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}
