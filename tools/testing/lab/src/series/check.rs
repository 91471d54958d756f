// SPDX-License-Identifier: GPL-2.0
//! Whether a series can be sent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use regex::Regex;

use super::{Repo, BASE, NOBODY};
use crate::cache::Cache;
use crate::kernel::{self, Flavour};
use crate::process::{command, output, run_logged};
use crate::toolchain::{self, MAKE_LLVM};
use crate::{package, stock};

/// The folder whose Makefile compiles all of it.
const FOLDER: &str = "drivers/net/ethernet/intel/ixgbe_rust";

/// Its options.
const OPTIONS: &[&str] = &[
    "CONFIG_IXGBE_RUST",
    "CONFIG_IXGBEVF_RUST",
    "CONFIG_IXGBE_RUST_VFIO_PCI",
];

/// Runs all checks, and says of each whether it went well.
pub(super) fn check(cache: &Cache, tree: &Path, repo: &Repo, patches: &[PathBuf]) -> Result<()> {
    let mut failed = 0_u32;
    let mut say = |name: &str, result: Result<String>| match result {
        Ok(comment) => println!("ok {name}: {comment}"),
        Err(e) => {
            failed += 1;
            println!("not ok {name}: {e:#}");
        }
    };
    say("git am", applies(repo, patches));
    say("checkpatch --strict", checkpatch(repo, patches));
    say("links between pages", links(repo));
    say("configured with Rust", configure(cache, tree, repo, true));
    say(
        "configured without Rust",
        configure(cache, tree, repo, false),
    );
    say("modules", compile(cache, tree, repo));
    say("signed off", signed_off(patches));
    if failed > 0 {
        bail!("{failed} checks failed: the series must not be sent");
    }
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

/// Configures a kernel with the options of the series, with Rust or without it.
fn configure(cache: &Cache, tree: &Path, repo: &Repo, rust: bool) -> Result<String> {
    let tools = toolchain::ensure(cache)?;
    let dir = tempfile::tempdir()?;
    let make = |target: &str, log: &str| {
        let mut cmd = command("make");
        cmd.arg("-C").arg(&repo.dir).arg(MAKE_LLVM);
        cmd.arg(format!("O={}", dir.path().display())).arg(target);
        cmd.envs(tools.env.iter().map(|(k, v)| (k, v)));
        run_logged(
            &format!("configuring the kernel: {target}"),
            &cache.path(format!("logs/series-{log}.log")),
            cmd,
        )
    };
    make("tinyconfig", "tinyconfig")?;
    let fragment = tree.join("tools/testing/lab/kernel/base.config");
    let mut config = fs::read_to_string(dir.path().join(".config"))?;
    config += &fs::read_to_string(fragment)?;
    for option in OPTIONS {
        config += &format!("{option}=m\n");
    }
    if !rust {
        config += "# CONFIG_RUST is not set\n";
    }
    // The last line of an option counts.
    fs::write(dir.path().join(".config"), config)?;
    make("olddefconfig", "olddefconfig")?;
    let config = fs::read_to_string(dir.path().join(".config"))?;
    let has = |line: &str| config.lines().any(|l| l == line);
    if has("CONFIG_RUST=y") != rust {
        bail!("CONFIG_RUST is not as wanted");
    }
    for option in OPTIONS {
        if has(&format!("{option}=m")) != rust {
            bail!("{option} is not {}", if rust { "m" } else { "left out" });
        }
    }
    Ok(if rust {
        format!("{} are modules", OPTIONS.join(", "))
    } else {
        "none of the options is there".into()
    })
}

/// Compiles the modules from the kernel's folders by their Makefile there, against Debian's own kernel
/// of the same version: that needs no kernel to be built.
fn compile(cache: &Cache, tree: &Path, repo: &Repo) -> Result<String> {
    stock::ensure(cache, tree, Flavour::Stock)?;
    repo.git(&["checkout", "-q", "-f", "series"])?;
    let folder = repo.dir.join(FOLDER);
    let mut cmd = stock::make_for(cache, tree, Flavour::Stock);
    let (_, _, c, rust) = stock::REPLACED;
    cmd.arg(format!("M={}", folder.display()))
        .args(OPTIONS.iter().map(|o| format!("{o}=m")))
        .arg(format!(
            "KCFLAGS={c} -I{}",
            repo.dir.join("include").display()
        ))
        .arg(format!("KRUSTFLAGS={rust}"))
        .args([&kernel::jobs(), "W=1", "modules"]);
    let log = cache.path("logs/series-modules.log");
    run_logged("compiling the modules in the kernel's folders", &log, cmd)?;
    for module in [package::PF, package::VF, "ixgbe-vfio-pci"] {
        if !folder.join(format!("{module}.ko")).exists() {
            bail!("{module} was not made");
        }
    }
    let warnings = fs::read_to_string(&log)?
        .lines()
        .filter(|l| l.contains("warning: ") || l.starts_with("WARNING"))
        .count();
    Ok(format!(
        "three, by the kernel's Makefiles with W=1, {warnings} warnings"
    ))
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
