// SPDX-License-Identifier: GPL-2.0
//! Whether a series can be sent.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{bail, Context, Result};
use regex::Regex;

use super::boot::On;
use super::build::Build;
use super::{Repo, BASE, NOBODY};
use crate::cache::Cache;
use crate::process::output;

/// Checks that were made, and how long each took.
struct Checks {
    failed: u32,
    start: Instant,
}

impl Checks {
    fn run(&mut self, name: &str, check: impl FnOnce() -> Result<String>) {
        let start = Instant::now();
        let result = check();
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(comment) => println!("ok {name}, {seconds:.0} s: {comment}"),
            Err(e) => {
                self.failed += 1;
                println!("not ok {name}, {seconds:.0} s: {e:#}");
            }
        }
    }
}

/// Runs the checks that are asked for, those of `--check` and that of `--boot`, and says of each whether it went well.
pub(super) fn check(
    cache: &Cache,
    tree: &Path,
    repo: &Repo,
    patches: &[PathBuf],
    (checked, boots): (bool, &[On]),
) -> Result<()> {
    let mut all = Checks {
        failed: 0,
        start: Instant::now(),
    };
    if checked {
        all.run("signed off", || signed_off(patches));
        all.run("git am", || applies(repo, patches));
        all.run("checkpatch --strict", || checkpatch(repo, patches));
        all.run("links between pages", || links(repo));
    }
    let build = Build::new(cache, tree, repo)?;
    if checked {
        all.run("configured with Rust", || build.small(true));
        all.run("configured without Rust", || build.small(false));
        all.run("configured by allmodconfig", || build.all());
        all.run("each patch builds", || build.each_patch());
        all.run("CLIPPY=1 W=1", || build.clippy());
        all.run("htmldocs", || build.docs());
        all.run("KUnit", || build.kunit());
    }
    for on in boots {
        all.run(on.tests(), || build.boot(*on));
    }
    let seconds = all.start.elapsed().as_secs_f64();
    if all.failed > 0 {
        bail!(
            "{} checks failed in {seconds:.0} s: the series must not be sent",
            all.failed
        );
    }
    println!("all checks in {seconds:.0} s");
    Ok(())
}

/// Applies them to the kernel alone, which must give the same tree.
fn applies(repo: &Repo, patches: &[PathBuf]) -> Result<String> {
    let made = repo.git(&["rev-parse", "series^{tree}"])?;
    repo.start("applied")?;
    let mut cmd = std::process::Command::new("git");
    cmd.arg("-C").arg(&repo.dir);
    cmd.args([
        "-c",
        "user.name=base",
        "-c",
        "user.email=base@example.invalid",
    ]);
    cmd.args(["am", "-q", "--keep-non-patch"]).args(patches);
    if let Err(e) = output(cmd) {
        let _ = repo.git(&["am", "--abort"]);
        return Err(e);
    }
    let applied = repo.git(&["rev-parse", "applied^{tree}"])?;
    if applied != made {
        bail!("what git am gives differs from what the patches were made from");
    }
    let numbers = repo.git(&["diff", "--shortstat", BASE, "applied"])?;
    Ok(format!("{} patches, {numbers}", patches.len()))
}

/// Numbers of errors, warnings and checks in what checkpatch says of a patch.
fn count(said: &str) -> Option<[u32; 3]> {
    let total =
        Regex::new(r"(?m)^total: (\d+) errors?, (\d+) warnings?(?:, (\d+) checks?)?").ok()?;
    let found = total.captures(said)?;
    let number = |i| found.get(i).map_or(Some(0), |m| m.as_str().parse().ok());
    Some([number(1)?, number(2)?, number(3)?])
}

fn checkpatch(repo: &Repo, patches: &[PathBuf]) -> Result<String> {
    let mut all = [0_u32; 3];
    let mut kinds = std::collections::BTreeMap::<String, u32>::new();
    let mut first = None;
    let kind = Regex::new(r"^(ERROR|WARNING|CHECK):([A-Z_]+): ")?;
    for (i, patch) in patches.iter().enumerate() {
        // Some take a minute.
        eprintln!(
            "checkpatch.pl: patch {} of {}",
            i.saturating_add(1),
            patches.len()
        );
        let mut cmd = std::process::Command::new("perl");
        cmd.arg("scripts/checkpatch.pl")
            .args(["--strict", "--show-types", "--max-line-length=100"])
            .arg(patch)
            .current_dir(&repo.dir);
        // Its exit status tells of findings, which are counted here.
        let out = cmd
            .output()
            .context("running checkpatch.pl: perl is needed")?;
        let said = String::from_utf8_lossy(&out.stdout);
        let counts = count(&said)
            .with_context(|| format!("checkpatch said nothing of {}", patch.display()))?;
        for (sum, n) in all.iter_mut().zip(counts) {
            *sum += n;
        }
        for line in said.lines() {
            if let Some(found) = kind.captures(line) {
                let name = found
                    .get(0)
                    .map_or("", |m| m.as_str().trim_end_matches(": "));
                *kinds.entry(name.to_owned()).or_default() += 1;
                if name.starts_with("ERROR") && first.is_none() {
                    let file = patch.file_name().unwrap_or_default().to_string_lossy();
                    first = Some(format!("{file}: {line}"));
                }
            }
        }
    }
    let kinds: Vec<String> = kinds.iter().map(|(k, n)| format!("{k} {n}")).collect();
    let [errors, warnings, checks] = all;
    let text = format!(
        "{errors} errors, {warnings} warnings, {checks} checks ({})",
        kinds.join(", ")
    );
    match first {
        Some(first) => bail!("{text}; the first: {first}"),
        None => Ok(text),
    }
}

/// Pages that pages of the series refer to must be in the kernel.
fn links(repo: &Repo) -> Result<String> {
    let changed = repo.git(&["diff", "--name-only", BASE, "series", "--", "Documentation"])?;
    let link = Regex::new(r":doc:`(?:[^`<]*<)?([^`>]+)>?`")?;
    let (mut count, mut gone) = (0_u32, Vec::new());
    for file in changed.lines().filter(|f| f.ends_with(".rst")) {
        let text = fs::read_to_string(repo.dir.join(file))?;
        for found in link.captures_iter(&text) {
            let to = found.get(1).map_or("", |m| m.as_str());
            let base = match to.strip_prefix('/') {
                Some(to) => Path::new("Documentation").join(to),
                None => Path::new(file).parent().unwrap_or(Path::new("")).join(to),
            };
            count += 1;
            if !repo.dir.join(&base).with_extension("rst").exists()
                && !repo.dir.join(format!("{}.rst", base.display())).exists()
            {
                gone.push(format!("{file}: {to}"));
            }
        }
    }
    if !gone.is_empty() {
        bail!("pages that are not there: {}", gone.join(", "));
    }
    Ok(format!("{count}, all there"))
}

/// Somebody must answer for it.
fn signed_off(patches: &[PathBuf]) -> Result<String> {
    for patch in patches {
        let text = fs::read_to_string(patch)?;
        let line = text.lines().find_map(|l| l.strip_prefix("Signed-off-by: "));
        match line {
            None => bail!("{} is not", patch.display()),
            Some(NOBODY) => bail!("nobody has: say who sends it by --submitter"),
            Some(_) => {}
        }
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_no_signature() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let patch = dir.path().join("p.patch");
        let signed = |by: &str| {
            fs::write(&patch, format!("Subject: x\n\nSigned-off-by: {by}\n---\n"))?;
            signed_off(std::slice::from_ref(&patch))
        };
        assert!(signed(NOBODY).is_err());
        assert!(signed("A B <a@example.org>").is_ok());
        fs::write(&patch, "Subject: x\n")?;
        assert!(signed_off(std::slice::from_ref(&patch)).is_err());
        Ok(())
    }

    #[test]
    fn checkpatch_is_read() {
        let said = "x\ntotal: 1 errors, 12 warnings, 3 checks, 80 lines checked\n";
        assert_eq!(count(said), Some([1, 12, 3]));
        assert_eq!(
            count("total: 0 errors, 0 warnings, 80 lines checked\n"),
            Some([0, 0, 0])
        );
        assert_eq!(count("nothing"), None);
    }
}
