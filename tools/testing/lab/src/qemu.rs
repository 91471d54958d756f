// SPDX-License-Identifier: GPL-2.0
//! QEMU with the model of the 82599, built by `tools/testing/qemu/build.sh`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{bail, Context, Result};
use serde::Serialize;

use crate::apt::Apt;
use crate::cache::{Cache, Key};
use crate::kernel::jobs;
use crate::pins::Pins;
use crate::process::{command, output, run_logged, Child};

/// Built programs that are kept: each state of the model has its own, so that checkouts can share the cache.
const KEPT: usize = 12;

/// With which patches QEMU is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Emulator {
    /// With repairs alone: every figure is from this one.
    Fixes,
    /// With patches for speed as well.
    Fast,
    /// A program that the lab did not build: `LAB_QEMU`.
    Own,
}

impl Emulator {
    /// What is asked for: by `LAB_QEMU`, or `LAB_EMULATOR=fast` (`--fast-emulator`).
    ///
    /// # Errors
    /// If `LAB_EMULATOR` is neither `fixes` nor `fast`.
    pub fn wanted() -> Result<Self> {
        if std::env::var_os("LAB_QEMU").is_some() {
            return Ok(Self::Own);
        }
        Self::parse(std::env::var("LAB_EMULATOR").ok().as_deref())
    }

    fn parse(name: Option<&str>) -> Result<Self> {
        match name {
            None | Some("" | "fixes") => Ok(Self::Fixes),
            Some("fast") => {
                eprintln!("the emulator is the fast one: durations do not compare with figures that were published");
                Ok(Self::Fast)
            }
            Some(other) => bail!("LAB_EMULATOR={other}: it is fixes or fast"),
        }
    }

    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixes => "fixes",
            Self::Fast => "fast",
            Self::Own => "own",
        }
    }
}

/// Finds QEMU's source: `LAB_QEMU_SRC` (a tarball or a tree), or the tarball of Debian's source package.
///
/// # Errors
/// If it cannot be downloaded.
pub fn source(cache: &Cache, tree: &Path) -> Result<PathBuf> {
    if let Some(src) = std::env::var_os("LAB_QEMU_SRC") {
        return PathBuf::from(src).canonicalize().context("LAB_QEMU_SRC");
    }
    let kept = cache.path("dl/qemu-source");
    let key = Key::new("qemu-source", 1).finish();
    cache.ensure("qemu-source", &key, || {
        let tarball = Apt::open(cache)?.source_tarball(cache, "qemu")?;
        pins(tree)?.check(&tarball)?;
        let _ = fs::remove_file(&kept);
        std::os::unix::fs::symlink(tarball, &kept)?;
        Ok(())
    })?;
    let tarball = kept
        .canonicalize()
        .context("the QEMU source tarball is gone from the cache")?;
    let name = tarball.file_name().unwrap_or_default();
    pins(tree)?.check_name(&name.to_string_lossy())?;
    Ok(tarball)
}

fn pins(tree: &Path) -> Result<Pins> {
    Pins::read(&tree.join("tools/testing/qemu/pins.sha256"))
}

/// Builds QEMU with the model and gives the program.
///
/// # Errors
/// If it cannot be built.
pub fn ensure(cache: &Cache, tree: &Path, emulator: Emulator) -> Result<PathBuf> {
    if let Some(p) = std::env::var_os("LAB_QEMU") {
        let program = PathBuf::from(p);
        if !program.exists() {
            bail!("LAB_QEMU={} does not exist", program.display());
        }
        return Ok(program);
    }
    let recipe = tree.join("tools/testing/qemu");
    let source = source(cache, tree)?;
    let is_input = |p: &Path| {
        let name = p.file_name().unwrap_or_default();
        let unused = emulator == Emulator::Fixes && name == "speed";
        !unused
            && !["target", "fuzz", "tests", "bench", "plugin", "README.md"]
                .iter()
                .any(|n| name == *n)
    };
    let key = Key::new("qemu", 2)
        .text("emulator", emulator.name())
        .text("source", &source.display().to_string())
        .tree(&recipe, &is_input)?
        .tree(&tree.join("tools/testing/model"), &is_input)?
        .tree(&tree.join("drivers/net/ethernet/intel/libixgbe"), &is_input)?
        .finish();
    let name = format!("qemu-{}", key.get(..16).unwrap_or(&key));
    let out = cache.path("images").join(&name);
    cache.ensure(&name, &key, || {
        let folder = format!("qemu-{}", emulator.name());
        let _lock = cache.lock(&format!("{folder}-build"))?;
        let build = cache.path("build").join(&folder);
        if source.is_file() {
            // It may have been fetched by a lab that did not look.
            pins(tree)?.check(&source)?;
        }
        let mut cmd = command(recipe.join("build.sh"));
        cmd.arg(&source)
            .arg(&build)
            .arg(emulator.name())
            .env("JOBS", jobs().trim_start_matches("-j"))
            // The tree's own: cargo tells packages of two trees apart by nothing but their files' dates.
            .env("CARGO_TARGET_DIR", tree.join("target"));
        run_logged(
            match emulator {
                Emulator::Fast => "building QEMU with the model and the patches for speed",
                _ => "building QEMU with the model",
            },
            &cache.path("logs/qemu.log"),
            cmd,
        )?;
        let part = out.with_extension("part");
        let mut cmd = command("strip");
        cmd.arg("-o")
            .arg(&part)
            .arg(build.join("build/qemu-system-x86_64"));
        run_logged("stripping QEMU", &cache.path("logs/qemu-strip.log"), cmd)?;
        fs::rename(part, &out)?;
        prune(cache)
    })?;
    Ok(out)
}

/// Builds the plugin that counts instructions.
///
/// # Errors
/// If it cannot be built.
pub fn plugin(cache: &Cache, tree: &Path) -> Result<PathBuf> {
    let code = tree.join("tools/testing/qemu/plugin/count.c");
    let source = source(cache, tree)?;
    let header = "include/qemu/qemu-plugin.h";
    let key = Key::new("plugin", 1)
        .text("source", &source.display().to_string())
        .file(&code)?
        .finish();
    let name = format!("plugin-{}", key.get(..16).unwrap_or(&key));
    let out = cache.path("build").join(format!("{name}.so"));
    cache.ensure(&name, &key, || {
        let headers = tempfile::tempdir()?;
        let copy = headers.path().join("qemu-plugin.h");
        if source.is_dir() {
            fs::copy(source.join(header), &copy)?;
        } else {
            let mut tar = command("tar");
            tar.arg("-xOf")
                .arg(&source)
                .args(["--wildcards", &format!("*/{header}")])
                .stdout(File::create(&copy)?);
            let status = Child::spawn(tar)?.wait()?;
            if !status.success() {
                bail!("{} has no {header}: {status}", source.display());
            }
        }
        let mut flags = std::process::Command::new("pkg-config");
        flags.args(["--cflags", "glib-2.0"]);
        let flags = output(flags)?;
        let part = out.with_extension("part");
        let mut cmd = command("cc");
        cmd.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-I"])
            .arg(headers.path())
            .args(flags.split_whitespace())
            .arg("-o")
            .arg(&part)
            .arg(&code);
        run_logged(
            "building the counting plugin",
            &cache.path("logs/plugin.log"),
            cmd,
        )?;
        Ok(fs::rename(part, &out)?)
    })?;
    Ok(out)
}

/// Removes all but the newest programs.
fn prune(cache: &Cache) -> Result<()> {
    let mut programs: Vec<(SystemTime, PathBuf)> = fs::read_dir(cache.path("images"))?
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("qemu-"))
        .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
        .collect();
    programs.sort();
    programs.reverse();
    for (_, old) in programs.into_iter().skip(KEPT) {
        let stamp = cache
            .path("stamps")
            .join(old.file_name().unwrap_or_default());
        let _ = fs::remove_file(stamp);
        fs::remove_file(old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_from_the_emulator_with_repairs_alone() -> Result<()> {
        assert_eq!(Emulator::parse(None)?, Emulator::Fixes);
        assert_eq!(Emulator::parse(Some("fast"))?, Emulator::Fast);
        assert!(Emulator::parse(Some("speed")).is_err());
        Ok(())
    }
}
