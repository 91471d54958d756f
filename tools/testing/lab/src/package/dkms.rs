// SPDX-License-Identifier: GPL-2.0
//! The package with the source, for DKMS, and its test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::deb::Deb;
use super::Parts;
use crate::apt::{Apt, SUITE};
use crate::cache::{Cache, Key};
use crate::process::{command, output, run_counted};
use crate::stock;

/// Folders of the tree from which the modules are built.
const FOLDERS: &[&str] = &["drivers", "include", "rust"];

/// Whether a file in one of them is source.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default();
    let made = [".mod.c", "_generated.rs"];
    let source = ["rs", "c", "h"].iter().any(|e| extension == *e) || name == "bindings_parameters";
    source && !made.iter().any(|end| name.ends_with(end))
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if is_source(&path) {
            into.push(path);
        }
    }
    Ok(())
}

/// The package.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn source<'a>(p: &Parts<'a>) -> Result<Deb<'a>> {
    let version = &p.source.version;
    let mut c = super::control("ixgbe-rust-dkms".into(), "all", "kernel");
    let with = |package: &str, option: &str| -> Result<String> {
        // "rustc 1.85.1 (…)", "bindgen 0.71.1"
        let text = p.facts.config(option).context(option.to_owned())?;
        let version = text.split_whitespace().nth(1).context(text.to_owned())?;
        Ok(exactly(package, version))
    };
    let release = &p.facts.release;
    let series: Vec<&str> = release.split('.').take(2).collect();
    let series = series.join(".");
    let headers = "linux-headers-amd64";
    c.relations = vec![
        (
            "Depends",
            [
                format!("ixgbe-rust-common (= {version})"),
                "dkms (>= 3.0.11)".into(),
                with("rustc", "CONFIG_RUSTC_VERSION_TEXT")?,
                with("rust-src", "CONFIG_RUSTC_VERSION_TEXT")?,
                with("bindgen", "CONFIG_BINDGEN_VERSION_TEXT")?,
                "rustfmt".into(),
                "gcc-14 | gcc-14-for-host".into(),
                "make".into(),
                "xz-utils".into(),
                // Signs what was built.
                "openssl".into(),
                format!("linux-source-{series}"),
                format!("linux-headers-{release} | {headers} (>= {series}~)"),
            ]
            .join(", "),
        ),
        (
            "Recommends",
            format!("ixgbe-migrate, {headers} (>= {series}~)"),
        ),
        ("Provides", "ixgbe-rust-modules".into()),
    ];
    c.summary = "drivers in Rust for the Intel 82599, built for each kernel (DKMS)".into();
    c.text = vec![
        format!("Source of the modules {}, {} and {}. {}", super::PF, super::VF, super::VFIO, super::ABOUT),
        format!("DKMS builds them for each kernel {series} of Debian when it is installed. What the kernel's headers packages lack, its Rust crates, is compiled once for each kernel, which takes some minutes, and is kept in /var/lib/ixgbe-rust."),
    ];
    let deb = Deb::new(p.source, c)?;
    let to = format!("usr/src/ixgbe-rust-{version}");
    let mut files = vec![p.tree.join("Kbuild"), p.tree.join("COPYING")];
    for folder in FOLDERS {
        collect(&p.tree.join(folder), &mut files)?;
    }
    for file in &files {
        let at = file.strip_prefix(p.tree)?;
        deb.file(&format!("{to}/{}", at.display()), 0o644, file)?;
    }
    let recipes = p.tree.join("tools/testing/lab/kernel");
    let (kbuild, ..) = stock::REPLACED;
    deb.file(&format!("{to}/{kbuild}"), 0o644, &recipes.join(kbuild))?;
    let kdir = "stock-kdir.sh";
    deb.file(&format!("{to}/{kdir}"), 0o755, &recipes.join(kdir))?;
    let replaced: Vec<String> = stock::replaced_modules(p.cache)
        .iter()
        .map(|m| super::module_name(m))
        .collect();
    let more = [
        ("VERSION", version.clone()),
        ("REPLACED", replaced.join(" ")),
    ];
    let t = |name: &str| -> Result<String> {
        let path = p.templates.dir.join("dkms").join(name);
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let values: Vec<(&str, String)> = p
            .templates
            .values
            .iter()
            .cloned()
            .chain(more.clone())
            .collect();
        super::fill(&text, &values).with_context(|| format!("in {}", path.display()))
    };
    deb.text(&format!("{to}/dkms.conf"), 0o644, &t("dkms.conf")?)?;
    deb.text(&format!("{to}/dkms-build"), 0o755, &t("dkms-build")?)?;
    for script in ["postinst", "prerm", "postrm"] {
        deb.script(script, &t(script)?)?;
    }
    Ok(deb)
}

/// The dependency on exactly this version of a program, of whichever revision.
fn exactly(package: &str, version: &str) -> String {
    format!("{package} (>= {version}), {package} (<< {version}.)")
}

/// The names of packages in a field such as `Depends`, of alternatives the first.
fn names(field: &str) -> Vec<String> {
    let mut names: Vec<String> = field
        .split(',')
        .filter_map(|d| d.split_whitespace().next().map(ToOwned::to_owned))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Lines that the test prints: compilers, mostly.
const CHECK_LINES: u64 = 175;

/// Installs the package with the source in a Debian of its own, has DKMS build it for this kernel and
/// for a next one, and removes it.
///
/// # Errors
/// If a step fails; the log says which.
pub fn check(cache: &Cache, tree: &Path, dir: &Path, package: &Path) -> Result<()> {
    let field = |name: &str| {
        let mut cmd = std::process::Command::new("dpkg-deb");
        cmd.arg("-f").arg(package).arg(name);
        output(cmd)
    };
    // Its dependencies and no more, so that apt, without a network, says what it lacks.
    let mut wanted = names(&field("Depends")?);
    wanted.retain(|p| p != "ixgbe-rust-common");
    let root = cache.path("build/dkms-root");
    let key = Key::new("dkms-root", 1)
        .text("suite", SUITE)
        .text("packages", &wanted.join(" "))
        .finish();
    cache.ensure("dkms-root", &key, || {
        let apt = Apt::open(cache)?;
        stock::bootstrap(
            cache,
            "fetching a Debian with DKMS and compilers (about 2 minutes)",
            "dkms-root",
            &root,
            &wanted,
            &[apt.suite_line(), apt.backports_line()],
        )
    })?;
    // What a test changes must not be there for the next one.
    let copy = cache.path("build/dkms-check");
    let _ = fs::remove_dir_all(&copy);
    let mut cmd = command("cp");
    cmd.args(["-a", "--reflink=auto"]).arg(&root).arg(&copy);
    stock::run_quietly(cmd)?;
    let script = tree.join("tools/packaging/dkms/check");
    let mut cmd = stock::inside(&copy, &[tree, dir], &["sh"]);
    cmd.arg(&script).arg(dir);
    let log = cache.path("logs/dkms-check.log");
    let result = run_counted(
        "installing by DKMS, for this kernel and a next one (about 8 minutes)",
        &log,
        cmd,
        Some(CHECK_LINES),
    );
    let _ = fs::remove_dir_all(&copy);
    result?;
    let said = fs::read_to_string(&log)?;
    let mut count = 0;
    for line in said.lines().filter(|l| l.starts_with("ok ")) {
        println!("{line}");
        count += 1;
    }
    if count == 0 {
        bail!("{} has no result", log.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_names_packages() {
        assert_eq!(
            names("dkms (>= 3), rustc (>= 1), rustc (<< 2), gcc-14 | gcc\n"),
            ["dkms", "gcc-14", "rustc"]
        );
    }

    #[test]
    fn products_are_no_source() {
        for file in ["a/b.rs", "c.h", "rust/bindings/bindings_parameters"] {
            assert!(is_source(Path::new(file)), "{file}");
        }
        for file in ["a.mod.c", "x_generated.rs", "a.o", "Cargo.toml", ".a.o.cmd"] {
            assert!(!is_source(Path::new(file)), "{file}");
        }
    }
}
