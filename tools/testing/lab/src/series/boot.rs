// SPDX-License-Identifier: GPL-2.0
//! A host with the modules of a series.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use clap::ValueEnum;

use super::build::{Build, FOLDER, OPTIONS};
use crate::kernel::{self, Flavour, Kernel};
use crate::ktap::Status;
use crate::lab::Lab;
use crate::process::{output, run_counted};
use crate::runner::{self, Products};
use crate::{stock, suites, test};

/// On which kernel the modules of a series run.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum On {
    /// Debian's own, against which they are compiled from the kernel's folders.
    Stock,
    /// One that is built from the series, its modules included.
    Built,
}

impl On {
    /// What a host must pass.
    pub(super) fn tests(self) -> &'static str {
        match self {
            Self::Stock => "drivers/control stock rust+rust",
            Self::Built => "drivers/control release rust+rust",
        }
    }
}

/// Lines that the build of the kernel prints.
const LINES: u64 = 3100;

impl Build<'_> {
    /// The kernel with the series in a folder of its own, in which files keep their times as long as they stay the same, so
    /// that make has little to do the next time.
    pub(super) fn copy(&self) -> Result<PathBuf> {
        let dir = self.out("tree");
        let mut there = Command::new("git");
        there
            .arg("-C")
            .arg(&dir)
            .args(["checkout", "-q", "-f", "--detach", "series"]);
        if output(there).is_err() {
            let _ = fs::remove_dir_all(&dir);
            self.repo.git(&["worktree", "prune"])?;
            let path = dir.display().to_string();
            self.repo
                .git(&["worktree", "add", "-q", "--detach", &path, "series"])?;
        }
        Ok(dir)
    }

    /// Builds the kernel of `base.config` with the options of the series, and installs its modules.
    fn kernel(&self) -> Result<Kernel> {
        self.configure("boot", &OPTIONS.map(|(option, _)| option), true)?;
        let build = self.out("boot");
        let modules = self.cache.path("images/modules-series");
        let _ = fs::remove_dir_all(&modules);
        fs::create_dir_all(&modules)?;
        let mut cmd = self.make_command("boot");
        cmd.args(["vmlinux", "modules"]);
        run_counted(
            "building a kernel with the series (about 20 minutes on two cores, once)",
            &self.cache.path("logs/series-kernel.log"),
            cmd,
            Some(LINES),
        )?;
        let to = format!("INSTALL_MOD_PATH={}", modules.display());
        self.make(
            "boot",
            "installing the kernel's modules",
            &[&to, "INSTALL_MOD_STRIP=1", "modules_install"],
        )?;
        Ok(Kernel {
            flavour: Flavour::Release,
            source: self.source.clone(),
            image: build.join("vmlinux"),
            build,
            modules,
        })
    }

    /// Puts the modules of the series into a folder of their own.
    fn collect(&self, from: &Path) -> Result<PathBuf> {
        let to = self.out("modules");
        let _ = fs::remove_dir_all(&to);
        fs::create_dir_all(&to)?;
        for (_, module) in OPTIONS {
            let file = format!("{module}.ko");
            let from = from.join(&file);
            fs::copy(&from, to.join(&file))
                .with_context(|| format!("copying {}", from.display()))?;
        }
        Ok(to)
    }

    /// A kernel, and the modules of the series for it.
    fn products(&self, on: On) -> Result<(Kernel, PathBuf)> {
        match on {
            On::Stock => {
                let kernel = stock::ensure(self.cache, self.tree, Flavour::Stock)?;
                self.repo.start("built")?;
                self.repo.git(&["checkout", "-q", "-f", "series"])?;
                let options = OPTIONS.map(|(option, _)| option);
                let title = "compiling the modules in the kernel's folders";
                self.compile("stock", title, &options, &["modules"])?;
                let modules = self.collect(&self.repo.dir.join(FOLDER))?;
                Ok((kernel, modules))
            }
            On::Built => {
                let build = self.in_copy(self.copy()?);
                let kernel = build.kernel()?;
                let release = kernel::release(&kernel)?;
                let installed = kernel.modules.join("lib/modules").join(release);
                let modules = build.collect(&installed.join("kernel").join(FOLDER))?;
                Ok((kernel, modules))
            }
        }
    }

    /// Boots a host with such a kernel, and runs the tests of [`On::tests`] with the modules of the series.
    pub(super) fn boot(&self, on: On) -> Result<String> {
        let (kernel, modules) = self.products(on)?;
        // The kernel is not one of the lab's.
        let lab = Lab::open(&[])?;
        let mut boots = suites::load(self.tree)?;
        boots.retain(|b| suites::is_chosen(&b.name(), Some(on.tests())));
        let products = Products {
            modules: Some(modules),
            selftests: test::install(&lab, &kernel)?,
            packages: None,
            dpdk: None,
            kernel,
        };
        let (mut passed, mut skipped, mut failures) = (0, 0, Vec::new());
        for boot in &boots {
            let report = runner::run(&lab, boot, &products);
            passed += report.count(Status::Pass);
            skipped += report.count(Status::Skip);
            let bad = report.results.iter().filter(|r| r.status == Status::Fail);
            failures.extend(bad.map(|r| r.name.clone()));
        }
        if !failures.is_empty() || passed == 0 {
            bail!(
                "{passed} passed, {skipped} skipped, {} failed: {}",
                failures.len(),
                failures.join(", "),
            );
        }
        Ok(format!("{passed} passed, {skipped} skipped"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_has_one_boot() -> Result<()> {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let boots = suites::load(&tree)?;
        for on in [On::Stock, On::Built] {
            let chosen = |b: &&suites::Boot| suites::is_chosen(&b.name(), Some(on.tests()));
            assert_eq!(boots.iter().filter(chosen).count(), 1, "{on:?}");
        }
        Ok(())
    }
}
