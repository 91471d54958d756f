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
pub(super) const FOLDER: &str = "drivers/net/ethernet/intel/ixgbe_rust";

/// Its options, and their modules.
pub(super) const OPTIONS: [(&str, &str); 3] = [
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
    "python3-sphinx",
    "python3-yaml",
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
    pub(super) cache: &'a Cache,
    pub(super) tree: &'a Path,
    pub(super) repo: &'a Repo,
    /// The kernel that [`Self::make`] makes something in: that of `repo`, or a copy.
    pub(super) source: PathBuf,
    /// Of the Debian with [`TOOLS`].
    pub(super) root: PathBuf,
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
            source: repo.dir.clone(),
            root,
        })
    }

    /// The same with the kernel in another folder.
    pub(super) fn in_copy(&self, source: PathBuf) -> Self {
        Self {
            source,
            root: self.root.clone(),
            ..*self
        }
    }

    pub(super) fn out(&self, name: &str) -> PathBuf {
        self.cache.path(format!("build/series-{name}"))
    }

    /// A call of make for the kernel with the products in this folder.
    pub(super) fn make_command(&self, name: &str) -> Command {
        let mut cmd = stock::inside(&self.root, &[&self.cache.path("")], &["make"]);
        cmd.arg("-C")
            .arg(&self.source)
            .arg(format!("O={}", self.out(name).display()))
            .arg(kernel::jobs());
        cmd
    }

    /// Makes something in the kernel with the products in this folder.
    pub(super) fn make(&self, name: &str, title: &str, arguments: &[&str]) -> Result<()> {
        fs::create_dir_all(self.out(name))?;
        let mut cmd = self.make_command(name);
        cmd.args(arguments);
        let log = self.cache.path(format!("logs/series-{name}.log"));
        run_logged(title, &log, cmd)
    }

    /// Each of these options must be a module, or not be there.
    fn judge(&self, name: &str, options: &[&str], wanted: bool) -> Result<String> {
        let config = fs::read_to_string(self.out(name).join(".config"))?;
        let has = |line: &str| config.lines().any(|l| l == line);
        if has("CONFIG_RUST=y") != wanted {
            bail!("CONFIG_RUST is not as wanted");
        }
        for option in options {
            if has(&format!("{option}=m")) != wanted {
                bail!("{option} is not {}", if wanted { "m" } else { "left out" });
            }
        }
        Ok(if wanted {
            format!("modules: {}", options.join(", "))
        } else {
            "none of the options is there".into()
        })
    }

    /// Configures a small kernel with the options of the series, with Rust or without it.
    pub(super) fn small(&self, rust: bool) -> Result<String> {
        self.repo.git(&["checkout", "-q", "-f", "series"])?;
        let name = if rust { "rust" } else { "c" };
        self.configure(name, &OPTIONS.map(|(option, _)| option), rust)
    }

    /// Configures a small kernel with these options in the folder of this name.
    pub(super) fn configure(&self, name: &str, options: &[&str], rust: bool) -> Result<String> {
        self.make(name, "configuring the kernel: tinyconfig", &["tinyconfig"])?;
        let fragment = self.tree.join("tools/testing/lab/kernel/base.config");
        let file = self.out(name).join(".config");
        let mut config = fs::read_to_string(&file)?;
        config += &fs::read_to_string(fragment)?;
        for option in options {
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
        self.judge(name, options, rust)
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
        self.judge("all", &OPTIONS.map(|(option, _)| option), true)
    }

    /// Gets Debian's own kernel of the same version: what is compiled against it needs no kernel to be built.
    pub(super) fn stock(&self) -> Result<()> {
        stock::ensure(self.cache, self.tree, Flavour::Stock).map(drop)
    }

    /// Compiles something from the kernel's folders against Debian's kernel, and gives what warned.
    pub(super) fn compile(
        &self,
        name: &str,
        title: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> Result<Vec<String>> {
        let folder = self.repo.dir.join(FOLDER);
        let mut cmd = stock::make_for(self.cache, self.tree, Flavour::Stock);
        let (_, _, c, rust) = stock::REPLACED;
        cmd.arg(format!("M={}", folder.display()))
            .args(options.iter().map(|o| format!("{o}=m")))
            .arg(format!(
                "KCFLAGS={c} -I{}",
                self.repo.dir.join("include").display()
            ))
            .arg(format!("KRUSTFLAGS={rust}"))
            .arg(kernel::jobs())
            .args(arguments);
        let log = self.cache.path(format!("logs/series-{name}.log"));
        run_logged(title, &log, cmd)?;
        let log = fs::read_to_string(&log)?;
        Ok(warnings(&log).into_iter().map(String::from).collect())
    }

    /// Compiles all of it from nothing, by clippy and with the warnings of W=1.
    pub(super) fn clippy(&self) -> Result<String> {
        self.stock()?;
        self.repo.start("built")?;
        self.repo.git(&["checkout", "-q", "-f", "series"])?;
        let options = OPTIONS.map(|(option, _)| option);
        let arguments = ["-k", "W=1", "CLIPPY=1", "modules"];
        let title = "compiling the modules in the kernel's folders: W=1, clippy";
        let said = self.compile("clippy", title, &options, &arguments)?;
        if let Some(first) = said.first() {
            bail!("{} warnings, the first: {first}", said.len());
        }
        self.all_made()?;
        Ok("three modules, without a warning".into())
    }

    /// Each module must have been made.
    pub(super) fn all_made(&self) -> Result<()> {
        for (_, module) in OPTIONS {
            let path = self.repo.dir.join(FOLDER).join(format!("{module}.ko"));
            if !path.exists() {
                bail!("{module} was not made");
            }
        }
        Ok(())
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
