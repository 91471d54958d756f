// SPDX-License-Identifier: GPL-2.0
//! What the machine needs before anything can be built: Debian packages, bindgen, the sources of Rust's `core`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::apt::{self, Apt};
use crate::cache::{Cache, Key};
use crate::process::{command, output, run_logged, version_of};

/// Version of LLVM: what the kernel, its Rust parts and bindgen's parser agree on.
const LLVM: &str = "19";

/// [`LLVM`] as make takes it.
pub const MAKE_LLVM: &str = "LLVM=-19";

/// Debian packages, by what needs them.
const PACKAGES: &[&str] = &[
    // kernel
    "bc",
    "bison",
    "clang-19",
    "flex",
    "kmod",
    "libclang-19-dev",
    "libelf-dev",
    "libssl-dev",
    "lld-19",
    "llvm-19",
    "make",
    "rsync",
    "xz-utils",
    "zstd",
    "lz4",
    // QEMU
    "bzip2",
    "libattr1-dev",
    "libcap-ng-dev",
    "libfdt-dev",
    "libglib2.0-dev",
    "libslirp-dev",
    "ninja-build",
    "patch",
    "pkgconf",
    "python3-venv",
    // root file system, and processes that die with the lab
    "mmdebstrap",
    "squashfs-tools",
    "util-linux",
    // tests in C
    "gcc",
    "libc6-dev",
];

/// Version of bindgen that builds the kernel's bindings.
const BINDGEN: &str = "0.73.2";

/// Programs and variables for building kernels and modules.
pub struct Toolchain {
    /// Environment for make.
    pub env: Vec<(String, String)>,
    /// All versions in one text, for keys.
    pub versions: String,
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn missing_packages() -> Result<Vec<&'static str>> {
    let mut cmd = Command::new("dpkg-query");
    cmd.args(["-W", "-f", "${Package} ${db:Status-Status}\n"]);
    let have = output(cmd).context("asking dpkg: the lab needs a Debian-like machine")?;
    let have: std::collections::HashSet<&str> = have
        .lines()
        .filter_map(|l| l.strip_suffix(" installed"))
        .collect();
    Ok(PACKAGES
        .iter()
        .copied()
        .filter(|p| !have.contains(p))
        .collect())
}

/// Installs the packages that are missing, where it may.
///
/// # Errors
/// If packages are missing and this is not root, or apt fails.
pub fn packages(cache: &Cache) -> Result<()> {
    let missing = missing_packages()?;
    if missing.is_empty() {
        return Ok(());
    }
    // What a machine cannot have is told before anything is installed on it.
    apt::mirror()?;
    if !is_root() {
        bail!(
            "packages are missing; as root: apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
    }
    let install = |log: &str| {
        let mut cmd = command("apt-get");
        cmd.args(["install", "-y", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive");
        run_logged("installing packages", &cache.path("logs").join(log), cmd)
    };
    if install("apt-install.log").is_ok() {
        return Ok(());
    }
    // The machine's package lists may be older than the mirror.
    let mut cmd = command("apt-get");
    cmd.arg("update");
    run_logged(
        "reading the machine's package lists",
        &cache.path("logs/apt-get-update.log"),
        cmd,
    )?;
    install("apt-install.log").with_context(|| {
        format!(
            "these packages could not be installed: {}",
            missing.join(" ")
        )
    })
}

/// Gives bindgen's folder, built into the cache where the machine has none of the right version.
fn bindgen(cache: &Cache) -> Result<PathBuf> {
    if version_of("bindgen", "--version").is_ok_and(|v| v.trim().ends_with(BINDGEN)) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if let Some(dir) = std::env::split_paths(&path).find(|d| d.join("bindgen").exists()) {
            return Ok(dir);
        }
    }
    let root = cache.path("tools");
    let key = Key::new("bindgen", 1).text("version", BINDGEN).finish();
    cache.ensure("bindgen", &key, || {
        let mut cmd = command("cargo");
        cmd.args([
            "install",
            "bindgen-cli",
            "--locked",
            "--force",
            "--version",
            BINDGEN,
            "--root",
        ])
        .arg(&root);
        run_logged("building bindgen", &cache.path("logs/bindgen.log"), cmd)
    })?;
    Ok(root.join("bin"))
}

/// Finds the sources of `core` of the machine's rustc: its own, by rustup, or from Debian's package of the same version.
fn rust_src(cache: &Cache, version: &str) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("RUST_LIB_SRC") {
        return Ok(PathBuf::from(dir));
    }
    let mut cmd = Command::new("rustc");
    cmd.args(["--print", "sysroot"]);
    let sysroot = output(cmd)?;
    let own = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    let is_there = |dir: &Path| dir.join("core/src/lib.rs").exists();
    if is_there(&own) {
        return Ok(own);
    }
    let mut cmd = command("rustup");
    cmd.args(["component", "add", "rust-src"]);
    if run_logged("adding rust-src", &cache.path("logs/rust-src.log"), cmd).is_ok()
        && is_there(&own)
    {
        return Ok(own);
    }
    let dir = cache.path("tools/rust-src");
    let key = Key::new("rust-src", 1).text("version", version).finish();
    cache.ensure("rust-src", &key, || {
        let apt = Apt::open(cache)?;
        let found = apt.versions("rust-src")?.into_iter().find(|v| v.starts_with(&format!("{version}+")) || v.starts_with(&format!("{version}-")));
        let Some(found) = found else {
            bail!(
                "the sources of Rust {version} cannot be had, neither by `rustup component add rust-src` nor from the mirror: \
                 set RUST_LIB_SRC to the folder `library` of that version's source"
            );
        };
        let _ = fs::remove_dir_all(&dir);
        apt.unpack(cache, "rust-src", &found, None, &dir)
    })?;
    let lib = dir.join(format!("usr/src/rustc-{version}/library"));
    if !is_there(&lib) {
        bail!("{} holds no sources of core", lib.display());
    }
    Ok(lib)
}

/// Gets everything that a build of the lab's own kernels or of modules for them needs, after
/// [`packages`].
///
/// # Errors
/// If a part cannot be had; the message says how to supply it.
pub fn ensure(cache: &Cache) -> Result<Toolchain> {
    let rustc = version_of("rustc", "--version")?;
    let version = rustc
        .split_whitespace()
        .nth(1)
        .context("rustc --version")?
        .to_owned();
    let bindgen = bindgen(cache)?;
    let rust_src = rust_src(cache, &version)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([bindgen].into_iter().chain(std::env::split_paths(&path)))?;
    let clang = version_of(&format!("clang-{LLVM}"), "--version")?;
    Ok(Toolchain {
        env: vec![
            ("LIBCLANG_PATH".into(), format!("/usr/lib/llvm-{LLVM}/lib")),
            ("RUST_LIB_SRC".into(), rust_src.display().to_string()),
            ("PATH".into(), path.to_string_lossy().into_owned()),
        ],
        versions: format!(
            "{rustc}{}bindgen {BINDGEN}",
            clang.lines().next().unwrap_or_default()
        ),
    })
}
