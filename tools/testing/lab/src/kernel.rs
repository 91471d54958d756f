// SPDX-License-Identifier: GPL-2.0
//! The kernels: source, configuration, build, modules.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::apt::Apt;
use crate::cache::{Cache, Key};
use crate::pins::Pins;
use crate::process::{command, run_counted, run_logged};
use crate::toolchain::{Toolchain, MAKE_LLVM};

/// Which kernel.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// Debian's own, as it comes, with this project's modules built for it: see [`crate::stock`].
    Stock,
    /// The same with iommufd, which Debian leaves out.
    #[serde(rename = "stock-iommufd")]
    StockIommufd,
    /// The lab's own: as a distribution would build it, but small.
    Release,
    /// With KASAN, lockdep and the other checkers.
    Debug,
}

impl Flavour {
    /// Its name, as in the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::StockIommufd => "stock-iommufd",
            Self::Release => "release",
            Self::Debug => "debug",
        }
    }

    /// What a machine of the lab adds to its command line.
    ///
    /// Debian's kernel works around the faults of processors, which costs an emulated one a tenth
    /// of its time, and lets nobody map the BAR of a device that has a driver, which some tests do.
    pub fn cmdline(self) -> &'static str {
        match self {
            Self::Stock | Self::StockIommufd => "mitigations=off iomem=relaxed",
            Self::Release | Self::Debug => "",
        }
    }
}

/// A built kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Which.
    pub flavour: Flavour,
    /// Its source tree.
    pub source: PathBuf,
    /// Its build folder: `KDIR` for modules.
    pub build: PathBuf,
    /// The image to boot.
    pub image: PathBuf,
    /// Where its modules are installed: `lib/modules/RELEASE` below.
    pub modules: PathBuf,
}

/// The series: its newest point release is taken.
const SERIES: &str = "7.3";

/// The list of the packages of its source that this tree was tested with, below the tree.
const PINS: &str = "tools/testing/lab/kernel/pins.sha256";

/// Fetches the kernel source, or takes `LAB_KERNEL_SRC`.
///
/// # Errors
/// If no suite has a source package of the series, or it cannot be downloaded.
pub fn source(cache: &Cache, tree: &Path) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("LAB_KERNEL_SRC") {
        let dir = PathBuf::from(dir)
            .canonicalize()
            .context("LAB_KERNEL_SRC")?;
        if !dir.join("rust/kernel").is_dir() {
            bail!(
                "LAB_KERNEL_SRC={} is not a kernel tree with Rust",
                dir.display()
            );
        }
        return Ok(dir);
    }
    let package = format!("linux-source-{SERIES}");
    let dir = cache.path("src").join(&package);
    // A newer point release is taken where the cache has none, not while it works.
    if !dir.join("Makefile").exists() {
        cache.forget(&package)?;
    }
    let pins = Pins::read(&tree.join(PINS))?;
    let named = cache.path(format!("src/{package}.package"));
    cache.ensure(&package, SERIES, || {
        let apt = Apt::open(cache)?;
        let version = apt.newest(&package)?.with_context(|| {
            format!(
                "no suite of the mirror has {package}: set LAB_KERNEL_SRC to a Linux {SERIES} tree"
            )
        })?;
        let part = cache.path("src/kernel.part");
        let _ = fs::remove_dir_all(&part);
        apt.unpack(cache, &package, &version, Some(&pins), &part)?;
        let mut cmd = command("tar");
        cmd.arg("-xf")
            .arg(part.join(format!("usr/src/{package}.tar.xz")))
            .arg("-C")
            .arg(&part);
        run_logged(
            "unpacking the kernel",
            &cache.path("logs/kernel-unpack.log"),
            cmd,
        )?;
        let _ = fs::remove_dir_all(&dir);
        fs::rename(part.join(&package), &dir)?;
        fs::remove_dir_all(&part)?;
        Ok(fs::write(&named, format!("{package}_{version}_all.deb"))?)
    })?;
    if let Ok(name) = fs::read_to_string(&named) {
        pins.check_name(&name)?;
    }
    Ok(dir)
}

fn make(kernel: &Path, tools: &Toolchain) -> std::process::Command {
    let mut cmd = command("make");
    cmd.arg("-C").arg(kernel).arg(MAKE_LLVM);
    cmd.envs(tools.env.iter().map(|(k, v)| (k, v)));
    cmd
}

/// Lines that the build of a kernel prints.
const KERNEL_LINES: u64 = 2950;

/// Number of jobs for make.
pub fn jobs() -> String {
    format!(
        "-j{}",
        std::thread::available_parallelism().map_or(2, usize::from)
    )
}

/// Builds a kernel and installs its modules, or takes the tree `KDIR` for both flavours.
///
/// # Errors
/// If a step fails.
pub fn ensure(cache: &Cache, tree: &Path, tools: &Toolchain, flavour: Flavour) -> Result<Kernel> {
    let name = format!("kernel-{}", flavour.name());
    let modules = cache.path(format!("images/modules-{}", flavour.name()));
    if let Some(dir) = std::env::var_os("KDIR") {
        return own(cache, PathBuf::from(dir), tools, flavour);
    }
    let source = source(cache, tree)?;
    let build = cache.path("build").join(&name);
    let fragments: Vec<PathBuf> = match flavour {
        Flavour::Stock | Flavour::StockIommufd => bail!("Debian's kernel is not built here"),
        Flavour::Release => vec!["base.config"],
        Flavour::Debug => vec!["base.config", "debug.config"],
    }
    .into_iter()
    .map(|f| tree.join("tools/testing/lab/kernel").join(f))
    .collect();

    let mut key = Key::new(&name, 1)
        .text("source", &source.display().to_string())
        .text(
            "version",
            &fs::read_to_string(source.join("debian/changelog")).unwrap_or_default(),
        )
        .text("tools", &tools.versions);
    for f in &fragments {
        key = key.file(f)?;
    }
    let kernel = Kernel {
        flavour,
        source: source.clone(),
        image: build.join("vmlinux"),
        build: build.clone(),
        modules,
    };
    cache.ensure(&name, &key.finish(), || {
        fs::create_dir_all(&build)?;
        configure(cache, tools, &source, &build, &fragments)?;
        let mut cmd = make(&build, tools);
        cmd.args([&jobs(), "vmlinux", "modules"]);
        run_counted(
            &format!(
                "building the {} kernel (about 15 minutes on two cores)",
                flavour.name()
            ),
            &cache.path(format!("logs/{name}.log")),
            cmd,
            Some(KERNEL_LINES),
        )?;
        install(cache, tools, &kernel)
    })?;
    Ok(kernel)
}

fn configure(
    cache: &Cache,
    tools: &Toolchain,
    source: &Path,
    build: &Path,
    fragments: &[PathBuf],
) -> Result<()> {
    // In a folder of its own: an unchanged configuration keeps its time, and make then has nothing to do.
    let part = build.with_extension("config");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part)?;
    let out = {
        let mut o = OsString::from("O=");
        o.push(&part);
        o
    };
    let mut cmd = make(source, tools);
    cmd.arg(&out).arg("tinyconfig");
    run_logged(
        "configuring the kernel",
        &cache.path("logs/kernel-tinyconfig.log"),
        cmd,
    )?;
    let mut cmd = command(source.join("scripts/kconfig/merge_config.sh"));
    cmd.args(["-m", "-O"])
        .arg(&part)
        .arg(part.join(".config"))
        .args(fragments)
        .current_dir(&part);
    run_logged(
        "merging the configuration",
        &cache.path("logs/kernel-merge.log"),
        cmd,
    )?;
    let mut cmd = make(source, tools);
    cmd.arg(&out).arg("olddefconfig");
    run_logged(
        "completing the configuration",
        &cache.path("logs/kernel-config.log"),
        cmd,
    )?;

    let config = fs::read_to_string(part.join(".config"))?;
    let missing = missing_options(fragments, &config)?;
    if missing.iter().any(|l| l == "CONFIG_RUST=y") {
        bail!(
            "the kernel refuses Rust with this toolchain: `make rustavailable` in {} says why",
            source.display()
        );
    }
    if !missing.is_empty() {
        eprintln!(
            "options that this kernel does not take: {}",
            missing.join(" ")
        );
    }
    if fs::read_to_string(build.join(".config")).ok().as_deref() != Some(&config) {
        fs::write(build.join(".config"), &config)?;
    }
    fs::remove_dir_all(&part)?;
    // Makes the build folder's own Makefile.
    let mut cmd = make(source, tools);
    let mut out = OsString::from("O=");
    out.push(build);
    cmd.arg(&out).arg("olddefconfig");
    run_logged(
        "preparing the build folder",
        &cache.path("logs/kernel-prepare.log"),
        cmd,
    )
}

fn missing_options(fragments: &[PathBuf], config: &str) -> Result<Vec<String>> {
    let have: std::collections::HashSet<&str> = config.lines().collect();
    let mut missing = Vec::new();
    for f in fragments {
        for line in fs::read_to_string(f)?.lines() {
            let off = line
                .strip_suffix("=n")
                .map(|name| format!("# {name} is not set"));
            let wanted = off.as_deref().unwrap_or(line);
            // An option that is off may also be one that does not exist here.
            if line.starts_with("CONFIG_") && off.is_none() && !have.contains(wanted) {
                missing.push(line.to_owned());
            }
        }
    }
    Ok(missing)
}

fn install(cache: &Cache, tools: &Toolchain, kernel: &Kernel) -> Result<()> {
    let _ = fs::remove_dir_all(&kernel.modules);
    fs::create_dir_all(&kernel.modules)?;
    let mut cmd = make(&kernel.build, tools);
    cmd.arg(format!("INSTALL_MOD_PATH={}", kernel.modules.display()))
        .args(["INSTALL_MOD_STRIP=1", "modules_install"]);
    run_logged(
        "installing the kernel's modules",
        &cache.path(format!("logs/modules-{}.log", kernel.flavour.name())),
        cmd,
    )
}

/// The kernel in `KDIR`: a build folder, already built, with CONFIG_RUST and the drivers as modules.
fn own(cache: &Cache, build: PathBuf, tools: &Toolchain, flavour: Flavour) -> Result<Kernel> {
    let build = build.canonicalize().context("KDIR")?;
    let config = fs::read_to_string(build.join(".config"))
        .with_context(|| format!("KDIR={} has no .config", build.display()))?;
    for option in [
        "CONFIG_RUST=y",
        "CONFIG_PVH=y",
        "CONFIG_VIRTIO_BLK=y",
        "CONFIG_SQUASHFS=y",
        "CONFIG_OVERLAY_FS=y",
        "CONFIG_9P_FS=y",
    ] {
        if !config.lines().any(|l| l == option) {
            bail!("the kernel in KDIR={} lacks {option}; tools/testing/lab/kernel/base.config lists what the lab needs", build.display());
        }
    }
    let source = build.join("source");
    let source = if source.exists() {
        source.canonicalize()?
    } else {
        build.clone()
    };
    let kernel = Kernel {
        flavour,
        source,
        image: build.join("vmlinux"),
        modules: cache.path("images/modules-own"),
        build,
    };
    if !kernel.image.exists() {
        bail!(
            "KDIR={} holds no vmlinux: build it first",
            kernel.build.display()
        );
    }
    let stamp = fs::metadata(&kernel.image)?
        .modified()?
        .duration_since(std::time::UNIX_EPOCH)?
        .as_nanos();
    let key = Key::new("modules-own", 1)
        .text("build", &kernel.build.display().to_string())
        .text("image", &stamp.to_string())
        .finish();
    cache.ensure("modules-own", &key, || install(cache, tools, &kernel))?;
    Ok(kernel)
}

/// Release string of a kernel's installed modules.
///
/// # Errors
/// If they are not installed.
pub fn release(kernel: &Kernel) -> Result<String> {
    fs::read_to_string(kernel.build.join("include/config/kernel.release"))
        .map(|s| s.trim().to_owned())
        .with_context(|| format!("{} is not built", kernel.build.display()))
}

/// Builds this project's modules against a kernel and gives the folder with the `.ko` files.
///
/// # Errors
/// If the build fails.
pub fn modules(cache: &Cache, tree: &Path, tools: &Toolchain, kernel: &Kernel) -> Result<PathBuf> {
    modules_by(cache, tree, kernel, make(&kernel.build, tools))
}

/// As [`modules`], by this call of make.
pub(crate) fn modules_by(
    cache: &Cache,
    tree: &Path,
    kernel: &Kernel,
    mut make: std::process::Command,
) -> Result<PathBuf> {
    let out = output_folder(cache, tree, kernel)?;
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let _lock = cache.lock(&name)?;
    make.arg(format!("M={}", tree.display()))
        .arg(format!("MO={}", out.display()))
        .args(["IXGBE_NIC_TEST=1", &jobs(), "modules"]);
    run_logged(
        &format!(
            "building the modules for the {} kernel",
            kernel.flavour.name()
        ),
        &cache.path(format!("logs/{name}.log")),
        make,
    )?;
    Ok(out)
}

/// Whether this tree's modules were made for a kernel at some time.
pub(crate) fn has_modules(cache: &Cache, tree: &Path, kernel: &Kernel) -> bool {
    output_folder(cache, tree, kernel).is_ok_and(|out| out.join("Module.symvers").exists())
}

/// Compiles the modules with what the kernel's maintainers ask for: W=1, clippy, and the crates'
/// documentation. Warnings are errors. What `tools/testing/compile-fail` has must not compile.
///
/// # Errors
/// If there is one.
pub fn check(cache: &Cache, tree: &Path, tools: &Toolchain, kernel: &Kernel) -> Result<()> {
    check_by(cache, tree, kernel, make(&kernel.build, tools), "", "")
}

/// As [`check`], by this call of make, with these flags for C and Rust.
pub(crate) fn check_by(
    cache: &Cache,
    tree: &Path,
    kernel: &Kernel,
    mut make: std::process::Command,
    c: &str,
    rust: &str,
) -> Result<()> {
    let mut out = output_folder(cache, tree, kernel)?.into_os_string();
    out.push("-check");
    let out = PathBuf::from(out);
    fs::create_dir_all(&out)?;
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let _lock = cache.lock(&name)?;
    make.arg(format!("M={}", tree.display()))
        .arg(format!("MO={}", out.display()))
        .arg(format!("KCFLAGS={c} -Werror"))
        .arg(format!("KRUSTFLAGS={rust} -Dwarnings"))
        // All that there is to say, not the first of it.
        .args([
            "-k",
            "W=1",
            "CLIPPY=1",
            "IXGBE_RUSTDOC=1",
            "IXGBE_NIC_TEST=1",
            "IXGBE_COMPILE_FAIL=1",
        ])
        .args([&jobs(), "modules"]);
    run_logged(
        &format!(
            "checking the modules for the {} kernel: W=1, clippy, rustdoc, misuse",
            kernel.flavour.name()
        ),
        &cache.path(format!("logs/{name}.log")),
        make,
    )
}

/// Where the modules of a checkout are built: each has its own products, since make decides by time
/// what is old.
fn output_folder(cache: &Cache, tree: &Path, kernel: &Kernel) -> Result<PathBuf> {
    let id = Key::new("modules", 1)
        .text("tree", &tree.display().to_string())
        .text("kernel", &kernel.build.display().to_string())
        .finish();
    let name = format!(
        "modules-{}-{}",
        kernel.flavour.name(),
        id.get(..8).unwrap_or(&id)
    );
    let out = cache.path("build").join(&name);
    fs::create_dir_all(&out)?;
    Ok(out)
}

/// Path of a module among a kernel's installed ones, after those that it depends on, in the order
/// in which they are loaded; none where it is built in.
///
/// # Errors
/// If the kernel has no such module.
pub fn module(kernel: &Kernel, name: &str) -> Result<Vec<PathBuf>> {
    let base = kernel.modules.join("lib/modules").join(release(kernel)?);
    let read = |file: &str| {
        fs::read_to_string(base.join(file))
            .with_context(|| format!("{} of {}", file, base.display()))
    };
    find_module(&read("modules.dep")?, &read("modules.builtin")?, name)
        .map(|m| m.iter().map(|m| base.join(m)).collect())
        .with_context(|| format!("the {} kernel has no module {name}", kernel.flavour.name()))
}

fn find_module<'a>(deps: &'a str, builtin: &str, name: &str) -> Option<Vec<&'a str>> {
    let file = format!("/{name}.ko");
    let found = deps
        .lines()
        .filter_map(|l| l.split_once(':'))
        .find(|(m, _)| m.ends_with(&file));
    match found {
        // What is listed last is loaded first.
        Some((module, before)) => Some(before.split_whitespace().rev().chain([module]).collect()),
        None => builtin.lines().any(|l| l.ends_with(&file)).then(Vec::new),
    }
}

/// What a host of the lab needs before it can mount anything.
const EARLY: &[&str] = &[
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "virtio_net",
    "squashfs",
    "overlay",
    "9p",
    "9pnet_virtio",
];

/// The modules that a host's initramfs loads, in their order: what is not built in of what it needs
/// to find its root.
///
/// # Errors
/// If the kernel has one of them neither built in nor as a module.
pub fn early_modules(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = Vec::new();
    for name in EARLY {
        for m in module(kernel, name)? {
            if !all.contains(&m) {
                all.push(m);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let deps = "kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/netfs/netfs.ko\nkernel/net/9p/9pnet.ko:\n";
        let builtin = "kernel/drivers/virtio/virtio_pci.ko\n";
        assert_eq!(
            find_module(deps, builtin, "9p"),
            Some(vec![
                "kernel/fs/netfs/netfs.ko",
                "kernel/net/9p/9pnet.ko",
                "kernel/fs/9p/9p.ko"
            ])
        );
        assert_eq!(find_module(deps, builtin, "virtio_pci"), Some(vec![]));
        assert_eq!(find_module(deps, builtin, "p"), None);
    }
}
