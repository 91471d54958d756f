// SPDX-License-Identifier: GPL-2.0
//! The agent, the initial RAM file systems that carry it, and other programs for the hosts.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use cpio::newc::{self, ModeFileType};

use crate::cache::{Cache, Key};
use crate::process::{command, run_logged};

/// Builds the agent, linked statically, and gives the program's path.
///
/// # Errors
/// If cargo fails.
pub fn agent(cache: &Cache, tree: &Path) -> Result<PathBuf> {
    let sources = ["tools/testing/lab/agent"];
    static_program(cache, tree, "agent", "lab-agent", &sources, &[])
}

/// Sources of the host tool.
const HOST_TOOL: [&str; 2] = [
    "tools/net/ixgbe-migrate",
    "drivers/net/ethernet/intel/libixgbe",
];

/// Builds the host tool likewise: the hosts' C library is not that of this machine.
///
/// # Errors
/// If cargo fails.
pub fn host_tool(cache: &Cache, tree: &Path) -> Result<PathBuf> {
    let name = "ixgbe-migrate";
    static_program(cache, tree, name, name, &HOST_TOOL, &[])
}

/// Builds the host tool as it is given to people.
///
/// # Errors
/// If cargo fails.
pub fn optimised_host_tool(cache: &Cache, tree: &Path) -> Result<PathBuf> {
    let options = [
        "--config",
        "profile.release.package.ixgbe-migrate.opt-level=2",
    ];
    let (name, package) = ("ixgbe-migrate-optimised", "ixgbe-migrate");
    static_program(cache, tree, name, package, &HOST_TOOL, &options)
}

/// Builds a program of the workspace, which stands for `sources`, linked statically.
fn static_program(
    cache: &Cache,
    tree: &Path,
    name: &str,
    package: &str,
    sources: &[&str],
    options: &[&str],
) -> Result<PathBuf> {
    let mut key = Key::new(name, 1);
    for src in sources {
        key = key.tree(&tree.join(src), &|_| true)?;
    }
    let key = key.finish();
    let id = format!("{name}-{}", key.get(..16).unwrap_or(&key));
    let out = cache.path(format!("build/{id}"));
    cache.ensure(&id, &key, || {
        // The tree's own: cargo tells packages of two trees apart by nothing but their files' dates.
        let work = tree.join("target");
        let mut cmd = command("cargo");
        cmd.arg("rustc")
            .args(options)
            .args([
                "--release",
                "--locked",
                "--package",
                package,
                "--bin",
                package,
                "--target-dir",
            ])
            .arg(&work)
            // These reach the program alone. All that it depends on is what the lab and the host tests have been built with.
            .args([
                "--",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "strip=symbols",
            ])
            .current_dir(tree);
        run_logged(
            &format!("building {package} for the hosts"),
            &cache.path(format!("logs/{name}.log")),
            cmd,
        )?;
        fs::copy(work.join("release").join(package), &out)?;
        Ok(())
    })?;
    Ok(out)
}

/// Writes a newc archive.
pub struct Archive {
    file: File,
    inode: u32,
}

impl Archive {
    /// Starts an archive.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { file, inode: 1 })
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, mode: u32, data: &[u8]) -> Result<()> {
        self.inode += 1;
        let builder = newc::Builder::new(name)
            .ino(self.inode)
            .mode(mode)
            .set_mode_file_type(kind)
            .nlink(1);
        let mut w = builder.write(&mut self.file, u32::try_from(data.len())?);
        w.write_all(data)?;
        w.finish()?;
        Ok(())
    }

    /// Adds a folder.
    ///
    /// # Errors
    /// Those of writing.
    pub fn dir(&mut self, name: &str) -> Result<()> {
        self.entry(name, ModeFileType::Directory, 0o755, &[])
    }

    /// Adds a program or other file.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn file(&mut self, name: &str, from: &Path) -> Result<()> {
        let data = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        self.entry(name, ModeFileType::Regular, 0o755, &data)
    }

    /// Adds a file with this content.
    ///
    /// # Errors
    /// Those of writing.
    pub fn text(&mut self, name: &str, text: &str) -> Result<()> {
        self.entry(name, ModeFileType::Regular, 0o644, text.as_bytes())
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// Those of writing.
    pub fn link(&mut self, name: &str, to: &str) -> Result<()> {
        self.entry(name, ModeFileType::Symlink, 0o777, to.as_bytes())
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(self) -> Result<()> {
        newc::trailer(self.file)?;
        Ok(())
    }
}

/// The initramfs of the emulated hosts: the agent, which enters the root file system, and the
/// modules that it loads before, in their order.
///
/// # Errors
/// Those of building the agent, reading and writing.
pub fn host(cache: &Cache, tree: &Path, modules: &[PathBuf]) -> Result<PathBuf> {
    let agent = agent(cache, tree)?;
    let mut key = Key::new("host", 1);
    for m in modules {
        key = key.file(m)?;
    }
    let key = key.finish();
    let path = agent.with_extension(format!("{}.cpio", key.get(..8).unwrap_or(&key)));
    if !path.exists() {
        // Hosts may be booted side by side.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let part = agent.with_extension(format!("{}-{count}.part", std::process::id()));
        let mut a = Archive::create(&part)?;
        a.dir("dev")?;
        a.file("init", &agent)?;
        a.dir("modules")?;
        let mut order = String::new();
        for m in modules {
            let name = m.file_name().context("a module's path")?.to_string_lossy();
            a.file(&format!("modules/{name}"), m)?;
            order += &format!("{name}\n");
        }
        a.text("modules/order", &order)?;
        a.finish()?;
        fs::rename(part, &path)?;
    }
    Ok(path)
}

/// Builds the initramfs of an inner VM: agent, busybox, and modules, given in the order in which they are loaded.
///
/// # Errors
/// Those of building the agent, reading and writing.
pub fn inner(
    cache: &Cache,
    tree: &Path,
    busybox: &Path,
    modules: &[PathBuf],
    to: &Path,
) -> Result<()> {
    let agent = agent(cache, tree)?;
    let mut a = Archive::create(to)?;
    for dir in ["bin", "dev", "modules"] {
        a.dir(dir)?;
    }
    a.file("init", &agent)?;
    a.file("bin/busybox", busybox)?;
    for m in modules {
        let name = m.file_name().context("a module's path")?.to_string_lossy();
        a.file(&format!("modules/{name}"), m)?;
    }
    a.finish()
}
