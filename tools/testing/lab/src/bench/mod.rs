// SPDX-License-Identifier: GPL-2.0
//! `cargo lab bench`: figures, each measured for the C and the Rust drivers, or against a baseline, in one run.

pub(crate) mod bed;
pub mod blackout;
mod count;
pub mod datapath;
pub mod follow;
mod mailbox;
mod memory;
pub mod migration;
mod peer;
mod phases;
pub mod report;
mod work;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde::Serialize;

/// What is measured.
#[derive(Subcommand, Debug)]
pub enum Bench {
    /// Instructions of the guest's kernel, register accesses and memory, C against Rust, PF and VF.
    Datapath(datapath::DatapathArgs),
    /// What a peer of a VM sees of a migration: this project's ways, and what people do today.
    Blackout(blackout::BlackoutArgs),
    /// What it costs to save a VF and to load it, by itself and with all others.
    Migration(migration::MigrationArgs),
    /// How often a host cannot be sure of what a VF wrote whose guest does not mark, by frames a second.
    Follow(follow::FollowArgs),
    /// Print a table of moves from files of results; each row names its file.
    Report(report::ReportArgs),
}

/// Runs it.
///
/// # Errors
/// If something could not be measured.
pub fn bench(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Datapath(args) => datapath::datapath(args),
        Bench::Blackout(args) => blackout::blackout(args),
        Bench::Migration(args) => migration::migration(args),
        Bench::Follow(args) => follow::follow(args),
        Bench::Report(args) => report::report(args),
    }
}

/// Writes results as JSON to a file, or to standard output where it is called `-`.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    if path == Path::new("-") {
        std::io::stdout().lock().write_all(&text)?;
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
