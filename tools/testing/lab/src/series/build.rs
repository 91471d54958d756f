// SPDX-License-Identifier: GPL-2.0
//! What the kernel's own build makes of a series: its configuration, and its compilers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Result};

use super::Repo;
use crate::apt::{Apt, SUITE};
use crate::cache::{Cache, Key};
use crate::kernel::{self, Flavour};
use crate::process::run_logged;
use crate::{package, stock};

/// The folder whose Makefile compiles all of it.
const FOLDER: &str = "drivers/net/ethernet/intel/ixgbe_rust";

/// Its options, and their modules.
const OPTIONS: &[(&str, &str)] = &[
    ("CONFIG_IXGBEVF_RUST", package::VF),
    ("CONFIG_IXGBE_RUST", package::PF),
    ("CONFIG_IXGBE_RUST_VFIO_PCI", "ixgbe-vfio-pci"),
];

/// What configures a kernel, in the versions of [`SUITE`].
const TOOLS: &[&str] = &[
    "bc",
    "bindgen",
    "bison",
    "flex",
    "gcc",
    "kmod",
    "libc6-dev",
    "libelf-dev",
    "libssl-dev",
    "make",
    "perl",
    "rust-clippy",
    "rust-src",
    "rustc",
    "rustfmt",
    "xz-utils",
];

/// Lines of a log that warn.
fn warnings(log: &str) -> Vec<&str> {
    let warns =
        |l: &&str| l.contains("warning: ") || l.contains("WARNING: ") || l.contains("ERROR: ");
    log.lines().filter(warns).collect()
}

/// The kernel of the series, and a Debian that has the tools.
pub(super) struct Build<'a> {
    cache: &'a Cache,
    tree: &'a Path,
    repo: &'a Repo,
    root: PathBuf,
}

impl<'a> Build<'a> {
    pub(super) fn new(cache: &'a Cache, tree: &'a Path, repo: &'a Repo) -> Result<Self> {
        let root = cache.path("build/series-root");
        let key = Key::new("series-root", 1)
            .text("suite", SUITE)
            .text("packages", &TOOLS.join(" "))
            .finish();
        cache.ensure("series-root", &key, || {
            let apt = Apt::open(cache)?;
            let packages: Vec<String> = TOOLS.iter().map(|p| (*p).to_owned()).collect();
            stock::bootstrap(
                cache,
                "fetching a Debian with the kernel's tools (about 2 minutes)",
                "series-root",
                &root,
                &packages,
                &[apt.suite_line()],
            )
        })?;
        Ok(Self {
            cache,
            tree,
            repo,
            root,
        })
    }

    fn out(&self, name: &str) -> PathBuf {
        self.cache.path(format!("build/series-{name}"))
    }

    /// Makes something in the kernel with the products in this folder.
    fn make(&self, name: &str, title: &str, arguments: &[&str]) -> Result<()> {
        let out = self.out(name);
        fs::create_dir_all(&out)?;
        let mut cmd: Command = stock::inside(&self.root, &[&self.cache.path("")], &["make"]);
        cmd.arg("-C").arg(&self.repo.dir);
        cmd.arg(format!("O={}", out.display()))
            .arg(kernel::jobs())
            .args(arguments);
        let log = self.cache.path(format!("logs/series-{name}.log"));
        run_logged(title, &log, cmd)
    }

    /// Each option must be a module, or not be there.
    fn judge(&self, name: &str, wanted: bool) -> Result<String> {
        let config = fs::read_to_string(self.out(name).join(".config"))?;
        let has = |line: &str| config.lines().any(|l| l == line);
        if has("CONFIG_RUST=y") != wanted {
            bail!("CONFIG_RUST is not as wanted");
        }
        for (option, _) in OPTIONS {
            if has(&format!("{option}=m")) != wanted {
                bail!("{option} is not {}", if wanted { "m" } else { "left out" });
            }
        }
        Ok(if wanted {
            OPTIONS
                .iter()
                .map(|(o, _)| *o)
                .collect::<Vec<_>>()
                .join(", ")
                + " are modules"
        } else {
            "none of the options is there".into()
        })
    }

    /// Configures a small kernel with the options of the series, with Rust or without it.
    pub(super) fn small(&self, rust: bool) -> Result<String> {
        self.repo.git(&["checkout", "-q", "-f", "series"])?;
        let name = if rust { "rust" } else { "c" };
        self.make(name, "configuring the kernel: tinyconfig", &["tinyconfig"])?;
        let fragment = self.tree.join("tools/testing/lab/kernel/base.config");
        let file = self.out(name).join(".config");
        let mut config = fs::read_to_string(&file)?;
        config += &fs::read_to_string(fragment)?;
        for (option, _) in OPTIONS {
            config += &format!("{option}=m\n");
        }
        if !rust {
            config += "# CONFIG_RUST is not set\n";
        }
        // The last line of an option counts.
        fs::write(&file, config)?;
        self.make(
            name,
            "configuring the kernel: olddefconfig",
            &["olddefconfig"],
        )?;
        self.judge(name, rust)
    }

    /// Configures a kernel with all modules that Debian's compilers allow beside Rust.
    pub(super) fn all(&self) -> Result<String> {
        self.repo.git(&["checkout", "-q", "-f", "series"])?;
        fs::create_dir_all(self.out("all"))?;
        let fragment = self.out("all").join("fragment");
        // With gcc, KASAN excludes Rust: init/Kconfig.
        fs::write(&fragment, "# CONFIG_KASAN is not set\n")?;
        let fragment = format!("KCONFIG_ALLCONFIG={}", fragment.display());
        self.make(
            "all",
            "configuring the kernel: allmodconfig",
            &[&fragment, "allmodconfig"],
        )?;
        self.judge("all", true)
    }

    /// Compiles and links the modules from the kernel's folders against Debian's own kernel of the same
    /// version: that needs no kernel to be built.
    pub(super) fn modules(&self) -> Result<String> {
        stock::ensure(self.cache, self.tree, Flavour::Stock)?;
        self.repo.git(&["checkout", "-q", "-f", "series"])?;
        let folder = self.repo.dir.join(FOLDER);
        let mut cmd = stock::make_for(self.cache, self.tree, Flavour::Stock);
        let (_, _, c, rust) = stock::REPLACED;
        cmd.arg(format!("M={}", folder.display()))
            .args(OPTIONS.iter().map(|(o, _)| format!("{o}=m")))
            .arg(format!(
                "KCFLAGS={c} -I{}",
                self.repo.dir.join("include").display()
            ))
            .arg(format!("KRUSTFLAGS={rust}"))
            .args([&kernel::jobs(), "W=1", "modules"]);
        let log = self.cache.path("logs/series-modules.log");
        run_logged("compiling the modules in the kernel's folders", &log, cmd)?;
        for (_, module) in OPTIONS {
            if !folder.join(format!("{module}.ko")).exists() {
                bail!("{module} was not made");
            }
        }
        let log = fs::read_to_string(&log)?;
        let said = warnings(&log);
        if let Some(first) = said.first() {
            bail!("{} warnings, the first: {first}", said.len());
        }
        Ok("three, without a warning".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_found() {
        let log = "  CC x.o\nx.c:1:2: warning: y\nWARNING: modpost: z\n  LD x.ko\n";
        assert_eq!(
            warnings(log),
            ["x.c:1:2: warning: y", "WARNING: modpost: z"]
        );
    }
}
