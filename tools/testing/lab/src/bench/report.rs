// SPDX-License-Identifier: GPL-2.0
//! `cargo lab bench report`: the README's table of moves, from the files that `cargo lab bench blackout --json` and
//! `cargo lab migrate --json` left. Each row names its file, so that no figure stands without its origin.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use clap::Args;
use serde_json::Value;

use crate::stats::Spread;

/// Options of `cargo lab bench report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Results of `cargo lab bench blackout --json` or of `cargo lab migrate --json`.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If a file cannot be read or is no result.
pub fn report(args: &ReportArgs) -> Result<()> {
    let mut all = Vec::new();
    for path in &args.files {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let value =
            serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        let found = rows(path, &value).with_context(|| format!("in {}", path.display()))?;
        all.extend(found);
    }
    print!("{}", table(&all));
    Ok(())
}

/// A row: one way to move, in one setting.
#[derive(Debug, PartialEq)]
struct Row {
    way: String,
    setting: String,
    moves: usize,
    blackout_ms: Spread,
    ratio_to_virtio: Option<f64>,
    lost: Spread,
    stopped_mib: Spread,
    file: String,
}

const HEAD: &str = "| way | setting | moves | blackout, ms | of virtio's | datagrams lost | RAM sent while stopped, MiB | file |
|---|---|---|---|---|---|---|---|
";

fn table(rows: &[Row]) -> String {
    let spread = |s: Spread, digits: usize| {
        format!(
            "{:.*} ({:.*}–{:.*})",
            digits, s.median, digits, s.min, digits, s.max
        )
    };
    let mut text = HEAD.to_owned();
    for r in rows {
        let ratio = r.ratio_to_virtio.map(|x| format!("{x:.2}"));
        // A string takes every line.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | `{}` |",
            r.way,
            r.setting,
            r.moves,
            spread(r.blackout_ms, 0),
            ratio.as_deref().unwrap_or("–"),
            spread(r.lost, 0),
            spread(r.stopped_mib, 2),
            r.file
        );
    }
    text
}

fn text<'a>(v: &'a Value, key: &str) -> Option<&'a str> {
    v.get(key).and_then(Value::as_str).filter(|s| !s.is_empty())
}

/// Chip, kernel, emulator, acceleration, and the VM's CPUs where they are more than one.
fn setting(v: &Value) -> String {
    let mut parts: Vec<String> = ["chip", "kernel", "emulator", "accel"]
        .iter()
        .filter_map(|key| text(v, key).map(String::from))
        .collect();
    if let Some(n @ 2..) = v.get("guest_cpus").and_then(Value::as_u64) {
        parts.push(format!("{n} CPUs"));
    }
    parts.join(", ")
}

/// The figures of moves that went well.
fn row(path: &Path, way: String, setting: String, v: &Value) -> Result<Row> {
    if text(v, "result") != Some("ok") {
        bail!(
            "{way}: the result is not ok: {}",
            text(v, "result").unwrap_or("none")
        );
    }
    let rounds = v
        .get("rounds")
        .and_then(Value::as_array)
        .context("no rounds")?;
    let of = |key: &str| -> Result<Vec<f64>> {
        let numbers = rounds.iter().map(|r| {
            r.get(key)
                .and_then(Value::as_f64)
                .with_context(|| format!("a round without {key}"))
        });
        numbers.collect()
    };
    const MIB: f64 = 1_048_576.0;
    let stopped = of("ram_sent_stopped_bytes")?;
    Ok(Row {
        way,
        setting,
        moves: rounds.len(),
        blackout_ms: Spread::of(of("blackout_ms")?.into_iter()),
        ratio_to_virtio: v.get("ratio_to_virtio").and_then(Value::as_f64),
        lost: Spread::of(of("frames_lost")?.into_iter()),
        stopped_mib: Spread::of(stopped.into_iter().map(|b| b / MIB)),
        file: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    })
}

fn rows(path: &Path, v: &Value) -> Result<Vec<Row>> {
    if let Some(ways) = v.get("ways").and_then(Value::as_array) {
        return ways
            .iter()
            .map(|w| {
                let way = text(w, "title").context("a way without a title")?;
                row(path, way.to_owned(), setting(v), w)
            })
            .collect();
    }
    let guest = text(v, "guest").context("neither a result of a benchmark nor of a migration")?;
    let mut ways: Vec<&str> = v
        .get("rounds")
        .and_then(Value::as_array)
        .context("no rounds")?
        .iter()
        .filter_map(|r| text(r, "restore"))
        .collect();
    ways.sort_unstable();
    ways.dedup();
    let name = format!("`{}`, {guest} driver in the VM", ways.join("`, `"));
    Ok(vec![row(path, name, setting(v), v)?])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn round(ms: f64) -> Value {
        json!({ "blackout_ms": ms, "frames_lost": 6, "ram_sent_stopped_bytes": 1 << 20, "restore": "write" })
    }

    #[test]
    fn each_row_names_its_file() -> Result<()> {
        let bench = json!({
            "chip": "82599", "kernel": "release", "emulator": "fixes", "accel": "tcg", "guest_cpus": 1,
            "ways": [{ "title": "virtio-net only", "result": "ok", "ratio_to_virtio": 1.0,
                       "rounds": [round(100.0), round(120.0), round(90.0)] }],
        });
        let migrate = json!({
            "guest": "rust", "result": "ok", "kernel": "debug", "guest_cpus": 4, "rounds": [round(3600.0)],
        });
        let mut all = rows(Path::new("results/a.json"), &bench)?;
        all.extend(rows(Path::new("b.json"), &migrate)?);
        let text = table(&all);
        assert!(
            text.contains(
                "| virtio-net only | 82599, release, fixes, tcg | 3 | 100 (90–120) | 1.00 | 6 (6–6) | 1.00 (1.00–1.00) | `a.json` |"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "| `write`, rust driver in the VM | debug, 4 CPUs | 1 | 3600 (3600–3600) | – |"
            ),
            "{text}"
        );
        Ok(())
    }

    #[test]
    fn what_failed_makes_no_row() {
        let bad =
            json!({ "guest": "rust", "result": "the VM did not survive", "rounds": [round(1.0)] });
        assert!(rows(Path::new("x"), &bad).is_err());
        assert!(rows(Path::new("x"), &json!({})).is_err());
        assert!(rows(
            Path::new("x"),
            &json!({ "guest": "c", "result": "ok", "rounds": [{}] })
        )
        .is_err());
    }
}
