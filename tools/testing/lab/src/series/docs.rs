// SPDX-License-Identifier: GPL-2.0
//! Whether the kernel's documentation has more warnings with a series than without it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{bail, Context, Result};
use regex::Regex;

use super::build::Build;
use super::BASE;
use crate::cache::Key;
use crate::process::{command, run_logged};
use crate::stock::{inside, run_quietly};

/// A warning without the number of its line, which moves when something is put before it.
fn without_line(warning: &str) -> Result<String> {
    let line = Regex::new(r":\d+: (WARNING|ERROR|CRITICAL|SEVERE)")?;
    Ok(line.replace(warning, ": $1").into_owned())
}

/// Warnings of `with` that `without` does not have.
fn new_warnings(without: &str, with: &str) -> Result<Vec<String>> {
    let known: BTreeSet<String> = without.lines().map(without_line).collect::<Result<_>>()?;
    let mut new = Vec::new();
    for line in with.lines().filter(|l| !l.trim().is_empty()) {
        if !known.contains(&without_line(line)?) {
            new.push(line.to_owned());
        }
    }
    Ok(new)
}

impl Build<'_> {
    /// Folders of pages that the series changes, below `Documentation`.
    fn page_folders(&self) -> Result<BTreeSet<String>> {
        let changed = ["diff", "--name-only", BASE, "series", "--", "Documentation"];
        let changed = self.repo.git(&changed)?;
        let folder = |f: &str| f.split('/').nth(1).map(String::from);
        Ok(changed.lines().filter_map(folder).collect())
    }

    /// Has Sphinx read and resolve the pages of these folders, with its products in `doctrees`, and gives what it warned of.
    /// That is htmldocs but for writing HTML.
    fn sphinx(&self, title: &str, folders: &BTreeSet<String>, doctrees: &Path) -> Result<String> {
        let pages = self.repo.dir.join("Documentation");
        let mut others = Vec::new();
        for entry in fs::read_dir(&pages)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && !folders.contains(&name) {
                others.push(format!("{name}/**"));
            }
        }
        others.sort();
        let warned = doctrees.with_extension("warnings");
        let mut cmd = inside(&self.root, &[&self.cache.path("")], &["sh", "-ec"]);
        // As Documentation/Makefile and its wrapper do.
        cmd.arg("cd \"$1\"; export srctree=. PYTHONDONTWRITEBYTECODE=1; shift; exec \"$@\"")
            .arg("sh")
            .arg(&self.repo.dir)
            .args(["sphinx-build", "-b", "dummy", "-j", "auto"])
            .args(["-D", "kerneldoc_srctree=.", "-D"])
            .arg(format!("exclude_patterns={}", others.join(",")))
            .arg("-d")
            .arg(doctrees)
            .arg("-w")
            .arg(&warned)
            .arg("Documentation")
            .arg(doctrees.with_extension("out"));
        let name = doctrees.file_name().unwrap_or_default().to_string_lossy();
        let log = self.cache.path(format!("logs/series-{name}.log"));
        run_logged(title, &log, cmd)?;
        fs::read_to_string(&warned).with_context(|| format!("reading {}", warned.display()))
    }

    /// Reads the pages of the kernel alone, once for each kernel, and then what the series changes.
    pub(super) fn docs(&self) -> Result<String> {
        let folders = self.page_folders()?;
        let names: Vec<&str> = folders.iter().map(String::as_str).collect();
        let base = self.out("docs-base");
        let key = Key::new("series-docs", 1)
            .text("folders", &names.join(" "))
            .text("base", &self.repo.git(&["rev-parse", BASE])?)
            .finish();
        self.cache.ensure("series-docs", &key, || {
            let _ = fs::remove_dir_all(&base);
            self.repo.start("built")?;
            let title =
                "reading the kernel's pages without the series (minutes, once for each kernel)";
            self.sphinx(title, &folders, &base).map(drop)
        })?;
        let without = fs::read_to_string(base.with_extension("warnings"))?;
        self.repo.start("built")?;
        self.repo.git(&["checkout", "-q", "-f", "series"])?;
        let with = self.out("docs");
        let _ = fs::remove_dir_all(&with);
        let mut cmd = command("cp");
        cmd.arg("-a").arg(&base).arg(&with);
        run_quietly(cmd)?;
        let said = self.sphinx("reading the pages of the series", &folders, &with)?;
        let new = new_warnings(&without, &said)?;
        if let Some(first) = new.first() {
            bail!("{} new warnings, the first: {first}", new.len());
        }
        Ok(format!(
            "no new warning in {}; the kernel alone has {}",
            names.join(", "),
            without.lines().count()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_that_moved_is_not_new() -> Result<()> {
        let without = "a/index.rst:12: WARNING: x [toc]\nb.rst:3: ERROR: y\n";
        assert!(new_warnings(without, "a/index.rst:14: WARNING: x [toc]\n")?.is_empty());
        let with = "a/index.rst:14: WARNING: x [toc]\n\nc.rst: WARNING: z\nb.rst:3: ERROR: x\n";
        assert_eq!(
            new_warnings(without, with)?,
            ["c.rst: WARNING: z", "b.rst:3: ERROR: x"]
        );
        Ok(())
    }
}
