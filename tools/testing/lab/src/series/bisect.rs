// SPDX-License-Identifier: GPL-2.0
//! Whether the tree builds after each patch, as whoever bisects it needs.

use std::fs;

use anyhow::{bail, Context, Result};

use super::build::{Build, FOLDER, OPTIONS};
use super::BASE;

/// A Makefile beside that of the folder, which has make compile the crates and C objects that are there, whether a module
/// needs them or not: nothing of a kernel names the crates before the first driver.
const CRATES: &str = "include $(src)/Makefile
obj-m := crates.o
crates-y := $(foreach c,$(lib-crates),$(if $(wildcard $(src)/$(root-$(c)).rs),$(root-$(c)).o)) \\
	$(patsubst $(src)/%.c,%.o,$(wildcard $(src)/$(top)/rust/nic/helpers/*.c))
";

/// What one patch of a series touches.
#[derive(Debug, Default, PartialEq, Eq)]
struct Touched {
    /// Something that a compiler or make reads.
    code: bool,
    /// What configures a kernel.
    kconfig: bool,
}

impl Touched {
    /// By the names of the files.
    fn by(files: &str) -> Self {
        let (mut code, mut kconfig) = (false, false);
        for file in files.lines() {
            let place = ["drivers/", "include/", "rust/"];
            let here = place.iter().any(|p| file.starts_with(p));
            kconfig |= here && file.ends_with("/Kconfig");
            code |= here;
        }
        Self { code, kconfig }
    }
}

impl Build<'_> {
    /// The options that the kernel has now.
    fn options(&self) -> Vec<&'static str> {
        let kconfigs = [
            format!("{FOLDER}/Kconfig"),
            "drivers/vfio/pci/ixgbe/Kconfig".into(),
        ];
        let text: String = kconfigs
            .iter()
            .filter_map(|k| fs::read_to_string(self.repo.dir.join(k)).ok())
            .collect();
        let named = |option: &str| {
            let name = option.trim_start_matches("CONFIG_");
            text.lines().any(|l| l == format!("config {name}"))
        };
        let all = OPTIONS.iter().map(|(option, _)| *option);
        all.filter(|option| named(option)).collect()
    }

    /// Builds what there is after each patch: the crates as long as no module uses them, then the modules. Products stay, so
    /// that a patch costs what it changes.
    pub(super) fn each_patch(&self) -> Result<String> {
        self.stock()?;
        let commits = self
            .repo
            .git(&["rev-list", "--reverse", &format!("{BASE}..series")])?;
        self.repo.start("built")?;
        let folder = self.repo.dir.join(FOLDER);
        let (mut crates, mut modules, mut configured, mut pages) = (0_u32, 0_u32, 0_u32, 0_u32);
        for (number, commit) in commits.lines().enumerate() {
            let number = number.saturating_add(1);
            let subject = self.repo.git(&["show", "-s", "--format=%s", commit])?;
            let files = self
                .repo
                .git(&["show", "--format=", "--name-only", commit])?;
            let touched = Touched::by(&files);
            self.repo.git(&["checkout", "-q", "-f", commit])?;
            let options = self.options();
            let at = |what: &str| format!("patch {number}, {subject:?}: {what}");
            if touched.kconfig {
                self.configure("rust", &options, true)
                    .with_context(|| at("the kernel does not configure"))?;
                configured += 1;
            }
            if !touched.code {
                pages += 1;
                continue;
            }
            let kbuild = folder.join("Kbuild");
            if options.is_empty() {
                fs::write(&kbuild, CRATES)?;
                let title = format!("patch {number}: compiling the crates");
                self.compile("crates", &title, &[], &["crates.o"])
                    .with_context(|| at("the crates do not compile"))?;
                if !folder.join("crates.o").exists() {
                    bail!(at("nothing was compiled"));
                }
                crates += 1;
                continue;
            }
            let _ = fs::remove_file(&kbuild);
            let title = format!("patch {number}: compiling the modules");
            let said = self
                .compile("each", &title, &options, &["W=1", "modules"])
                .with_context(|| at("the modules do not compile"))?;
            if let Some(first) = said.first() {
                bail!(at(&format!("{} warnings, the first: {first}", said.len())));
            }
            let made = |(option, module): &(&str, &str)| {
                options.contains(option) == folder.join(format!("{module}.ko")).exists()
            };
            if !OPTIONS.iter().all(made) {
                bail!(at("not the modules of its options"));
            }
            modules += 1;
        }
        self.all_made()?;
        Ok(format!(
            "{crates} with crates, {modules} with modules and W=1, {pages} with nothing to compile; {configured} times configured"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_patch_touches() {
        let by = Touched::by;
        let (code, kconfig) = (true, true);
        assert_eq!(
            by("Documentation/rust/nic.rst\nMAINTAINERS\n"),
            Touched::default()
        );
        let kept = Touched {
            code,
            kconfig: false,
        };
        assert_eq!(by("rust/nic/irq.rs\n"), kept);
        assert_eq!(by("drivers/vfio/pci/Kconfig\n"), Touched { code, kconfig });
        assert_eq!(by("tools/testing/selftests/Makefile\n"), Touched::default());
    }
}
