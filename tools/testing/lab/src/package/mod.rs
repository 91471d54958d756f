// SPDX-License-Identifier: GPL-2.0
//! `cargo lab package`: Debian packages.
//!
//! | package | what is in it |
//! |---|---|
//! | `ixgbe-rust-common` | which driver takes a card (`/etc/modprobe.d/ixgbe-rust.conf`), and what hands cards back |
//! | `ixgbe-rust-modules-RELEASE` | the modules, built for one of Debian's own kernels |
//! | `ixgbe-rust-dkms` | their source, which DKMS builds for each kernel that is installed |
//! | `ixgbe-migrate` | the host tool, with man pages, completions and a service |
//!
//! The texts are in `tools/packaging`; here is what goes where. The package for DKMS lies in a folder of its own, since it
//! wants compilers, and who has a kernel that the other one is for needs none.

pub mod deb;
pub mod dkms;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use clap::Args;

use crate::cache::{Cache, Key};
use crate::initramfs;
use crate::kernel::{Flavour, Kernel};
use crate::lab::find_tree;
use crate::process::output;
use crate::{rootfs, stock, toolchain};
use deb::{Control, Deb, Source};

/// The PF driver's module, which is its driver's name too.
pub const PF: &str = "ixgbe_rust";
/// The VF driver's.
pub const VF: &str = "ixgbevf_rust";
/// The VFIO driver's.
pub const VFIO: &str = "ixgbe_vfio_pci";
/// All of them, and all that is installed.
const DRIVERS: [&str; 3] = [PF, VF, VFIO];

/// Options of `cargo lab package`.
#[derive(Args, Debug)]
pub struct PackageArgs {
    /// Where the packages go; `target/package` by default.
    dir: Option<PathBuf>,
    /// Private key to sign the prebuilt modules with, for hosts with Secure Boot. DKMS signs what it
    /// builds by itself.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Its certificate, which the hosts know (`mokutil --import`).
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Also install the source package in a Debian root of its own, and have DKMS build it for this
    /// kernel, and for a next one.
    #[arg(long)]
    check_dkms: bool,
}

/// The packages that were made.
#[derive(Debug)]
pub struct Packages {
    /// For hosts with the kernel that the modules are built for.
    pub prebuilt: Vec<PathBuf>,
    /// The source for DKMS.
    pub dkms: PathBuf,
    /// The kernel.
    pub release: String,
}

/// Runs it.
///
/// # Errors
/// If a package cannot be made.
pub fn package(args: &PackageArgs) -> Result<()> {
    let (cache, tree) = (Cache::open()?, find_tree()?);
    toolchain::packages(&cache)?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => tree.join("target/package"),
    };
    let signer = args.key.as_deref().zip(args.certificate.as_deref());
    let packages = make(&cache, &tree, &dir, signer)?;
    let dir = dir.canonicalize()?;
    println!(
        "for hosts with Debian's kernel {}: apt install {}/*.deb",
        packages.release,
        dir.display()
    );
    println!(
        "for others of its series, by DKMS: apt install {}/ixgbe-rust-common_*.deb {}",
        dir.display(),
        packages.dkms.display()
    );
    if args.check_dkms {
        dkms::check(&cache, &tree, &dir, &packages.dkms.canonicalize()?)?;
    }
    Ok(())
}

/// Makes all packages in `dir`.
///
/// # Errors
/// If a part cannot be built.
pub fn make(
    cache: &Cache,
    tree: &Path,
    dir: &Path,
    signer: Option<(&Path, &Path)>,
) -> Result<Packages> {
    let kernel = stock::ensure(cache, tree, Flavour::Stock)?;
    let facts = stock::facts(cache, &kernel)?;
    let built = stock::modules(cache, tree, &kernel)?;
    let modules = built_modules(&built)?;
    let tool = initramfs::optimised_host_tool(cache, tree)?;
    fs::create_dir_all(dir.join("dkms"))?;
    for sub in [dir.to_path_buf(), dir.join("dkms")] {
        for old in fs::read_dir(sub)?.flatten() {
            if old.path().extension().is_some_and(|e| e == "deb") {
                fs::remove_file(old.path())?;
            }
        }
    }
    let templates = Templates {
        dir: tree.join("tools/packaging"),
        values: values(&facts, &modules),
    };
    let source = source(tree, &templates)?;
    let parts = Parts {
        cache,
        tree,
        source: &source,
        templates: &templates,
        facts: &facts,
    };
    let prebuilt = vec![
        common(&parts)?.build(dir)?,
        prebuilt(&parts, &modules, signer)?.build(dir)?,
        host_tool(&parts, &tool)?.build(dir)?,
    ];
    Ok(Packages {
        prebuilt,
        dkms: dkms::source(&parts)?.build(&dir.join("dkms"))?,
        release: facts.release,
    })
}

/// Makes the packages for emulated hosts with Debian's own kernel: their folder, and the image of a
/// host that has none of them yet, with libvirt and QEMU where it is to have `vms`.
///
/// # Errors
/// If something cannot be made, or the kernel is another one.
pub fn for_hosts(
    cache: &Cache,
    tree: &Path,
    kernel: &Kernel,
    vms: bool,
) -> Result<(PathBuf, PathBuf)> {
    if kernel.flavour != Flavour::Stock {
        bail!("there are packages for Debian's own kernel alone");
    }
    let facts = stock::facts(cache, kernel)?;
    let id = Key::new("packages", 1).text("tree", &tree.display().to_string());
    let id = id.finish();
    let dir = cache.path(format!("build/packages-{}", id.get(..8).unwrap_or(&id)));
    make(cache, tree, &dir, None)?;
    let image = rootfs::bare(cache, &facts.release, &facts.package, vms)?;
    Ok((dir, image))
}

/// What packages are made from.
struct Parts<'a> {
    cache: &'a Cache,
    tree: &'a Path,
    source: &'a Source,
    templates: &'a Templates,
    facts: &'a stock::Facts,
}

/// This project's modules in a build's folder: its drivers, and not the module that tests the abstractions, which the lab
/// builds with them.
fn built_modules(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut modules: Vec<PathBuf> = fs::read_dir(dir)?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "ko"))
        .filter(|p| DRIVERS.contains(&module_name(p).as_str()))
        .collect();
    modules.sort();
    let names: Vec<String> = modules.iter().map(|m| module_name(m)).collect();
    for wanted in DRIVERS {
        if !names.iter().any(|n| n == wanted) {
            bail!("{wanted} was not built in {}", dir.display());
        }
    }
    Ok(modules)
}

/// As the kernel names a module's file.
fn module_name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    stem.replace('-', "_")
}

/// Texts with names such as `@PF@` in them.
struct Templates {
    dir: PathBuf,
    values: Vec<(&'static str, String)>,
}

impl Templates {
    fn get(&self, name: &str) -> Result<String> {
        let path = self.dir.join(name);
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        fill(&text, &self.values).with_context(|| format!("in {}", path.display()))
    }
}

fn fill(text: &str, values: &[(&str, String)]) -> Result<String> {
    let mut text = text.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("@{name}@"), value);
    }
    let is_name = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    // $@ and "$@" are the shell's.
    if let Some(left) = text.split('@').skip(1).find(|s| is_name(s)) {
        bail!("nothing is known of @{left}@");
    }
    Ok(text)
}

fn values(facts: &stock::Facts, modules: &[PathBuf]) -> Vec<(&'static str, String)> {
    let stems = |files: &[PathBuf]| {
        let stem = |m: &PathBuf| {
            m.file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        files.iter().map(stem).collect::<Vec<_>>().join(" ")
    };
    let (_, sources, c, rust) = stock::REPLACED;
    let series: Vec<&str> = facts.release.split('.').take(2).collect();
    vec![
        ("PF", PF.into()),
        ("VF", VF.into()),
        ("VFIO", VFIO.into()),
        ("RELEASE", facts.release.clone()),
        ("SERIES", series.join(".")),
        ("MODULES", stems(modules)),
        ("SOURCES", sources.join(" ")),
        ("C_FLAGS", c.into()),
        ("RUST_FLAGS", rust.into()),
    ]
}

/// Version, date and copyright, from the tree.
fn source(tree: &Path, templates: &Templates) -> Result<Source> {
    let git = |args: &[&str]| {
        let mut cmd = Command::new("git");
        cmd.arg("-C").arg(tree).args(args).env("TZ", "UTC");
        output(cmd).map(|o| o.trim().to_owned())
    };
    let base = env!("CARGO_PKG_VERSION");
    let log = |format: &str| {
        let format = format!("--format={format}");
        git(&["log", "-1", "--date=format-local:%Y%m%d.%H%M%S", &format])
    };
    // A tree without git is a release.
    let (version, date) = match log("%cd.%h") {
        Ok(commit) => (format!("{base}+git{commit}"), (log("%ct")?, log("%cD")?)),
        Err(_) => (
            base.to_owned(),
            ("0".into(), "Thu, 01 Jan 1970 00:00:00 +0000".into()),
        ),
    };
    let var = |name: &str| std::env::var(name).ok();
    let maintainer = match (var("DEBFULLNAME"), var("DEBEMAIL")) {
        (Some(name), Some(mail)) => format!("{name} <{mail}>"),
        _ => {
            log("%an <%ae>").context("DEBFULLNAME and DEBEMAIL must say who makes the packages")?
        }
    };
    Ok(Source {
        version,
        maintainer,
        date,
        copyright: templates.get("copyright")?,
    })
}

fn control(name: String, architecture: &'static str, section: &'static str) -> Control {
    Control {
        name,
        architecture,
        section,
        ..Control::default()
    }
}

const ABOUT: &str =
    "They migrate virtual machines that own a virtual function (VF) of an Intel 82599, without a \
    change to QEMU.";

/// The rule for modprobe that is installed: what our drivers drive they take, and the C drivers the
/// rest.
const RUST_FIRST: &str = "ixgbe-rust-first.conf";

fn common<'a>(p: &Parts<'a>) -> Result<Deb<'a>> {
    let mut c = control("ixgbe-rust-common".into(), "all", "kernel");
    c.relations = vec![
        ("Depends", "kmod".into()),
        ("Recommends", "ixgbe-rust-modules".into()),
    ];
    c.summary = "drivers in Rust for the Intel 82599: which of two drivers is used".into();
    c.text = vec![
        format!("/etc/modprobe.d/ixgbe-rust.conf says whether cards that both {PF} and the kernel's own ixgbe drive are driven by the first or the second. It is a copy of /usr/share/ixgbe-rust/{RUST_FIRST}; beside that is ixgbe-c-first.conf for the other choice."),
        "When it is removed, cards that are not in use are handed back to the kernel's own driver.".into(),
    ];
    let mut deb = Deb::new(p.source, c)?;
    let t = |name: &str| p.templates.get(&format!("common/{name}"));
    let rules = p.tree.join("tools/net/modprobe.d");
    for rule in [RUST_FIRST, "ixgbe-c-first.conf"] {
        deb.file(
            &format!("usr/share/ixgbe-rust/{rule}"),
            0o644,
            &rules.join(rule),
        )?;
    }
    let rule = fs::read_to_string(rules.join(RUST_FIRST))?;
    deb.conffile("etc/modprobe.d/ixgbe-rust.conf", &rule)?;
    deb.text("usr/lib/ixgbe-rust/hand-back", 0o755, &t("hand-back")?)?;
    for script in ["postinst", "prerm", "postrm"] {
        deb.script(script, &t(script)?)?;
    }
    Ok(deb)
}

fn prebuilt<'a>(
    p: &Parts<'a>,
    modules: &[PathBuf],
    signer: Option<(&Path, &Path)>,
) -> Result<Deb<'a>> {
    let release = &p.facts.release;
    let mut c = control(format!("ixgbe-rust-modules-{release}"), "amd64", "kernel");
    c.relations = vec![
        (
            "Depends",
            // Names of symbols and structures are those of this build of the kernel.
            format!(
                "kmod, ixgbe-rust-common (= {}), linux-modules-{release} (= {})",
                p.source.version, p.facts.package
            ),
        ),
        ("Recommends", "ixgbe-migrate".into()),
        ("Provides", "ixgbe-rust-modules".into()),
    ];
    c.summary = format!("drivers in Rust for the Intel 82599, for Linux {release}");
    c.text = vec![
        format!("Modules {PF} (physical functions), {VF} (VFs) and {VFIO} (VFs that virtual machines have). {ABOUT}"),
        "The kernel's own drivers stay where they are. VFIO core (vfio) is replaced by one that can log what a device writes, which Debian's configuration leaves out.".into(),
    ];
    let deb = Deb::new(p.source, c)?;
    let at = format!("usr/lib/modules/{release}/updates/ixgbe-rust");
    let mut placed = Vec::new();
    for module in modules.iter().chain(&stock::replaced_modules(p.cache)) {
        let name = module.file_name().context("a module's name")?;
        let at = format!("{at}/{}", name.to_string_lossy());
        deb.file(&at, 0o644, module)?;
        placed.push(deb.path(&at));
    }
    finish(p.cache, &deb.path(""), &placed, signer)?;
    for script in ["postinst", "postrm"] {
        deb.script(script, &p.templates.get(&format!("modules/{script}"))?)?;
    }
    Ok(deb)
}

/// Takes debug information out of modules, and signs them; by the kernel's own tools.
fn finish(
    cache: &Cache,
    dir: &Path,
    modules: &[PathBuf],
    signer: Option<(&Path, &Path)>,
) -> Result<()> {
    let mut cmd = stock::in_root(cache, &[dir], &["strip", "--strip-debug"]);
    cmd.args(modules);
    output(cmd)?;
    let Some((key, certificate)) = signer else {
        return Ok(());
    };
    let keys = tempfile::tempdir()?;
    let (k, c) = (keys.path().join("key"), keys.path().join("certificate"));
    fs::copy(key, &k).with_context(|| format!("reading {}", key.display()))?;
    fs::copy(certificate, &c).with_context(|| format!("reading {}", certificate.display()))?;
    let script = "sign=$(echo /usr/lib/linux-kbuild-*/scripts/sign-file); key=$1 cert=$2; shift 2
        for m; do $sign sha256 $key $cert $m; done";
    let mut cmd = stock::in_root(cache, &[dir, keys.path()], &["sh", "-ec", script, "sh"]);
    cmd.arg(&k).arg(&c).args(modules);
    output(cmd).context("signing the modules")?;
    Ok(())
}

fn host_tool<'a>(p: &Parts<'a>, tool: &Path) -> Result<Deb<'a>> {
    let mut c = control("ixgbe-migrate".into(), "amd64", "admin");
    c.relations = vec![
        ("Depends", "iproute2 (>= 6.2~), kmod".into()),
        ("Recommends", "ethtool".into()),
        ("Suggests", "ixgbe-rust-modules".into()),
    ];
    c.summary = "prepares hosts for the live migration of VMs with an 82599 VF".into();
    c.text = vec![
        "Makes VFs and gives them to the VFIO driver, puts everything back, shows who uses them, compares two hosts before a VM is touched, and follows a move.".into(),
        "With a file /etc/ixgbe-migrate.toml and the service ixgbe-migrate enabled, it does so at each boot.".into(),
    ];
    let deb = Deb::new(p.source, c)?;
    deb.file("usr/sbin/ixgbe-migrate", 0o755, tool)?;
    // The program writes both itself.
    let pages = tempfile::tempdir()?;
    let mut cmd = Command::new(tool);
    cmd.arg("man").arg(pages.path());
    output(cmd)?;
    let man = "usr/share/man/man1";
    for page in fs::read_dir(pages.path())?.flatten() {
        let name = page.file_name().to_string_lossy().into_owned();
        deb.file(&format!("{man}/{name}"), 0o644, &page.path())?;
    }
    deb.compress(man)?;
    for (shell, at) in [
        ("bash", "bash-completion/completions/ixgbe-migrate"),
        ("zsh", "zsh/vendor-completions/_ixgbe-migrate"),
        ("fish", "fish/vendor_completions.d/ixgbe-migrate.fish"),
    ] {
        let mut cmd = Command::new(tool);
        cmd.args(["completions", shell]);
        deb.text(&format!("usr/share/{at}"), 0o644, &output(cmd)?)?;
    }
    let t = |name: &str| p.templates.get(&format!("migrate/{name}"));
    let unit = "usr/lib/systemd/system/ixgbe-migrate.service";
    deb.text(unit, 0o644, &t("ixgbe-migrate.service")?)?;
    for script in ["prerm", "postrm"] {
        deb.script(script, &t(script)?)?;
    }
    Ok(deb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_knows_is_no_text() {
        let values = [("PF", "p".to_owned())];
        assert_eq!(fill("a @PF@ b \"$@\"", &values).unwrap(), "a p b \"$@\"");
        assert!(fill("a @PX@ b", &values).is_err());
    }

    #[test]
    fn drivers_are_installed_and_no_other_module() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let make = |name: &str| fs::write(dir.path().join(name), "");
        for name in ["ixgbe_rust.ko", "ixgbevf_rust.ko", "nic_test.ko"] {
            make(name)?;
        }
        assert!(built_modules(dir.path()).is_err(), "one is missing");
        make("ixgbe-vfio-pci.ko")?;
        let names: Vec<String> = built_modules(dir.path())?
            .iter()
            .map(|m| module_name(m))
            .collect();
        assert_eq!(names, [VFIO, PF, VF]);
        Ok(())
    }
}
