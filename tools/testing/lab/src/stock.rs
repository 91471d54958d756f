// SPDX-License-Identifier: GPL-2.0
//! Debian's own kernel, and modules for it: nothing of the kernel is built but the Rust crates that
//! modules link against.
//!
//! The crates must be those that are in that kernel, so that they are compiled by the compilers
//! that it was compiled with. These are in a folder with a Debian of its own ([`root`]), which is
//! entered for each build; `kernel/stock-kdir.sh` makes the crates and compares them with what the
//! kernel exports. One module of the kernel is replaced, `vfio.ko`: without IOMMUFD, which Debian's
//! configuration lacks, VFIO core has no DMA logging. For tests of iommufd itself all of VFIO is
//! ([`Flavour::StockIommufd`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::apt::{Apt, SUITE};
use crate::cache::{Cache, Key};
use crate::kernel::{self, Flavour, Kernel};
use crate::process::{command, run_counted, run_logged, Child};

/// What builds modules, in the versions of [`SUITE`], with which its kernels are built.
const COMPILERS: &[&str] = &[
    "bindgen",
    "gcc",
    "kmod",
    "libc6-dev",
    "make",
    "rust-clippy",
    "rust-src",
    "rustc",
    "rustfmt",
    "xz-utils",
];

/// Folders of modules that no machine of the lab has hardware for: two thirds of all.
const UNUSED: &[&str] = &[
    "sound",
    "drivers/gpu",
    "drivers/media",
    "drivers/iio",
    "drivers/infiniband",
    "drivers/net/wireless",
    "drivers/scsi",
    "drivers/staging",
];

/// Lines that the build of the crates prints.
const CRATES_LINES: u64 = 29;

/// Modules of the kernel that are built again, with options that Debian's configuration lacks.
struct Replaced {
    /// Which of the recipes in `kernel/`.
    kbuild: &'static str,
    /// Sources, or folders of them.
    sources: &'static [&'static str],
    /// What is built.
    modules: &'static [&'static str],
    /// Flags for our own modules, which must see the same structures.
    c: &'static str,
    rust: &'static str,
}

/// VFIO core alone, so that it has DMA logging.
const LOGGING: Replaced = Replaced {
    kbuild: "stock-vfio.Kbuild",
    sources: &["drivers/vfio", "drivers/iommu/iommufd/iova_bitmap.c"],
    modules: &["vfio"],
    c: "-DCONFIG_IOMMUFD_DRIVER=1",
    rust: "--cfg=CONFIG_IOMMUFD_DRIVER",
};

/// All of VFIO, with iommufd.
const IOMMUFD: Replaced = Replaced {
    kbuild: "stock-iommufd.Kbuild",
    sources: &[
        "drivers/vfio",
        "drivers/iommu/iommufd",
        "drivers/iommu/iommu-priv.h",
        "drivers/iommu/iommu-pages.h",
    ],
    modules: &[
        "iommufd",
        "vfio",
        "vfio_iommu_type1",
        "vfio-pci-core",
        "vfio-pci",
    ],
    c: "-DCONFIG_IOMMUFD_DRIVER=1 -DCONFIG_IOMMUFD_DRIVER_CORE=1 -DCONFIG_IOMMUFD_MODULE=1 \
        -DCONFIG_VFIO_DEVICE_CDEV=1",
    rust: "--cfg=CONFIG_IOMMUFD_DRIVER --cfg=CONFIG_IOMMUFD_DRIVER_CORE --cfg=CONFIG_IOMMUFD \
           --cfg=CONFIG_VFIO_DEVICE_CDEV",
};

fn replaced(flavour: Flavour) -> &'static Replaced {
    match flavour {
        Flavour::StockIommufd => &IOMMUFD,
        _ => &LOGGING,
    }
}

/// Which of Debian's kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    /// As `uname -r` has it: `7.3.4+deb13-amd64`.
    release: String,
    /// Of its packages: `7.3.4-1~bpo13+1`.
    package: String,
}

impl Version {
    /// The kernel of a package's version: its name has the point release and the number of the
    /// suite.
    fn new(package: &str) -> Option<Self> {
        let (point, revision) = package.split_once('-')?;
        let suite: String = revision
            .split_once("~bpo")?
            .1
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        (!suite.is_empty()).then(|| Self {
            release: format!("{point}+deb{suite}-amd64"),
            package: package.to_owned(),
        })
    }
}

/// The kernel whose source the cache has.
fn version(cache: &Cache, source: &Path) -> Result<Version> {
    let point = point_release(source)?;
    let name = cache.path("build/stock/version");
    if let Some(v) = fs::read_to_string(&name)
        .ok()
        .and_then(|v| Version::new(v.trim()))
        .filter(|v| v.release.starts_with(&format!("{point}+")))
    {
        return Ok(v);
    }
    let apt = Apt::open(cache)?;
    let newest = apt
        .versions("linux-image-amd64")?
        .iter()
        .filter_map(|v| Version::new(v))
        .find(|v| v.release.starts_with(&format!("{point}+")));
    let Some(version) = newest else {
        bail!(
            "the mirror has no kernel {point}, whose source {} is: remove that folder to have the newer one of both",
            source.display()
        );
    };
    fs::create_dir_all(cache.path("build/stock"))?;
    fs::write(&name, &version.package)?;
    Ok(version)
}

/// `7.3.4` of a kernel tree.
pub(crate) fn point_release(source: &Path) -> Result<String> {
    let makefile = source.join("Makefile");
    let text =
        fs::read_to_string(&makefile).with_context(|| format!("reading {}", makefile.display()))?;
    let value = |name: &str| {
        text.lines()
            .filter_map(|l| l.split_once('='))
            .find(|(n, _)| n.trim() == name)
            .map(|(_, v)| v.trim().to_owned())
    };
    match (value("VERSION"), value("PATCHLEVEL"), value("SUBLEVEL")) {
        (Some(v), Some(p), Some(s)) => Ok(format!("{v}.{p}.{s}")),
        _ => bail!("{} tells no version", makefile.display()),
    }
}

/// A Debian with the compilers, the kernel's headers, and the kernel itself with its modules.
fn root(cache: &Cache, version: &Version) -> Result<PathBuf> {
    let dir = cache.path("build/stock/root");
    let kernel = ["linux-headers", "linux-binary", "linux-modules"]
        .map(|p| format!("{p}-{}", version.release));
    let include = COMPILERS
        .iter()
        .map(|p| (*p).to_owned())
        .chain(kernel)
        .collect::<Vec<_>>();
    let key = Key::new("stock-root", 1)
        .text("suite", SUITE)
        .text("packages", &include.join(","))
        .text("version", &version.package)
        .finish();
    cache.ensure("stock-root", &key, || {
        let apt = Apt::open(cache)?;
        bootstrap(
            cache,
            "fetching Debian's kernel and its compilers (about 2 minutes)",
            "stock-root",
            &dir,
            &include,
            &[apt.suite_line(), apt.backports_line()],
        )
    })?;
    Ok(dir)
}

/// Makes a folder with a Debian that has these packages, from these sources.
pub(crate) fn bootstrap(
    cache: &Cache,
    title: &str,
    name: &str,
    dir: &Path,
    packages: &[String],
    sources: &[String],
) -> Result<()> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir)?;
    // The archive's device nodes are left out: only root could make them, and those of this
    // machine are bound there. What mmdebstrap says goes to the step's output. It tells dash to write
    // to its next free descriptor, for which dash takes one digit: what this process inherited is closed.
    let script = "set -eo pipefail; to=$1; shift; exec 3>&1 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
        mmdebstrap \"$@\" 2>&3 | tar -x -C \"$to\" --exclude='./dev/*'";
    let mut cmd = command("bash");
    cmd.args(["-c", script, "bash"]).arg(dir);
    cmd.args([
        "--variant=apt",
        "--aptopt=Apt::Install-Recommends \"false\"",
        "--aptopt=Acquire::Languages \"none\"",
    ]);
    cmd.args(
        ["doc", "man", "info", "locale"]
            .map(|d| format!("--dpkgopt=path-exclude=/usr/share/{d}/*")),
    );
    cmd.arg(format!("--include={}", packages.join(",")))
        .args([SUITE, "-"])
        .args(sources);
    run_logged(title, &cache.path(format!("logs/{name}.log")), cmd)
}

/// What gives a program mounts of its own.
fn unshare() -> Command {
    let mut cmd = command("unshare");
    if !nix::unistd::geteuid().is_root() {
        cmd.arg("--map-root-user");
    }
    cmd.arg("--mount");
    cmd
}

/// Says early what a container may forbid.
fn may_enter() -> Result<()> {
    let mut cmd = unshare();
    cmd.arg("true").stderr(Stdio::null());
    if !Child::spawn(cmd)?.wait()?.success() {
        bail!(
            "this machine lets nobody mount in a namespace of its own (`unshare --mount true`), which building for Debian's kernel \
             needs: allow it (CAP_SYS_ADMIN in a container, or user namespaces), or use --kernel release"
        );
    }
    Ok(())
}

/// Runs a program in the root, where it sees these folders at the places where they are outside.
/// The mounts are in a namespace of their own, and gone with it.
pub(crate) fn inside(root: &Path, folders: &[&Path], program: &[&str]) -> Command {
    let script = "root=$1; shift
        for d in /dev /proc; do mount --rbind $d \"$root$d\"; done
        while [ \"$1\" != -- ]; do mkdir -p \"$root$1\"; mount --bind \"$1\" \"$root$1\"; shift; done; shift
        exec chroot \"$root\" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \"$@\"";
    let mut cmd = unshare();
    cmd.args(["sh", "-ec", script, "sh"])
        .arg(root)
        .args(folders)
        .arg("--")
        .args(program);
    cmd
}

/// Where the parts are.
struct Parts {
    root: PathBuf,
    /// Made by `stock-kdir.sh`: `build` is the KDIR.
    kdir: PathBuf,
    /// Where the kernel's own modules are built that are replaced.
    replaced: PathBuf,
}

impl Parts {
    fn of(cache: &Cache, flavour: Flavour) -> Self {
        Self {
            root: cache.path("build/stock/root"),
            kdir: cache.path("build/stock/kdir"),
            replaced: cache.path(format!("build/stock/{}", flavour.name())),
        }
    }

    fn make(&self, cache: &Cache, tree: &Path) -> Command {
        let build = self.kdir.join("build").display().to_string();
        let cache = cache.path("");
        inside(&self.root, &[&cache, tree], &["make", "-C", &build])
    }
}

/// Gets Debian's kernel, and makes what modules for it are built against.
///
/// # Errors
/// If a package cannot be had, or a step fails.
pub fn ensure(cache: &Cache, tree: &Path, flavour: Flavour) -> Result<Kernel> {
    let source = kernel::source(cache, tree)?;
    let version = version(cache, &source)?;
    let parts = Parts::of(cache, flavour);
    let recipes = tree.join("tools/testing/lab/kernel");
    let name = flavour.name();
    let kernel = Kernel {
        flavour,
        source: source.clone(),
        build: parts.kdir.join("build"),
        image: cache.path("images/vmlinux-stock"),
        modules: cache.path(format!("images/modules-{name}")),
    };
    let crates = Key::new("stock-kdir", 1)
        .text("version", &version.package)
        .text("source", &source.display().to_string())
        .file(&recipes.join("stock-kdir.sh"))?
        .finish();
    let all = Key::new(name, 1)
        .text("crates", &crates)
        .text("unused", &UNUSED.join(" "))
        .file(&recipes.join(replaced(flavour).kbuild))?
        .finish();
    cache.ensure(&format!("kernel-{name}"), &all, || {
        may_enter()?;
        root(cache, &version)?;
        cache.ensure("stock-kdir", &crates, || {
            let folders = [cache.path(""), tree.to_path_buf(), source.clone()];
            let jobs = kernel::jobs();
            let jobs = format!("JOBS={}", jobs.trim_start_matches("-j"));
            let mut cmd = inside(
                &parts.root,
                &folders.each_ref().map(PathBuf::as_path),
                &[&jobs, "sh"],
            );
            cmd.arg(recipes.join("stock-kdir.sh"))
                .arg(&version.release)
                .arg(&source)
                .arg(&parts.kdir);
            run_counted(
                "compiling the Rust crates of Debian's kernel (about 2 minutes on two cores)",
                &cache.path("logs/stock-kdir.log"),
                cmd,
                Some(CRATES_LINES),
            )
        })?;
        cache.ensure("stock-image", &crates, || {
            let modules = parts.root.join("usr/lib/modules");
            let packed = modules.join(&version.release).join("vmlinuz");
            extract(&packed, &kernel.image)
        })?;
        replace(cache, tree, &parts, &kernel)?;
        install(cache, &parts, &version, &kernel)
    })?;
    Ok(kernel)
}

/// Builds those of the kernel's modules that are replaced.
fn replace(cache: &Cache, tree: &Path, parts: &Parts, kernel: &Kernel) -> Result<()> {
    let what = replaced(kernel.flavour);
    let _ = fs::remove_dir_all(&parts.replaced);
    fs::create_dir_all(&parts.replaced)?;
    for source in what.sources {
        let mut cmd = command("cp");
        cmd.arg("-r")
            .arg(kernel.source.join(source))
            .arg(&parts.replaced);
        run_quietly(cmd)?;
    }
    let bitmap = parts.replaced.join("iova_bitmap.c");
    if bitmap.exists() {
        fs::create_dir_all(parts.replaced.join("iommufd"))?;
        fs::rename(bitmap, parts.replaced.join("iommufd/iova_bitmap.c"))?;
    } else {
        let tree = fs::read_to_string(kernel.source.join("lib/interval_tree.c"))?;
        let span = span_iterator(&tree).context("lib/interval_tree.c has no span iterator")?;
        fs::write(parts.replaced.join("iommufd/span.c"), span)?;
    }
    fs::copy(
        tree.join("tools/testing/lab/kernel").join(what.kbuild),
        parts.replaced.join("Kbuild"),
    )?;
    let mut cmd = parts.make(cache, tree);
    cmd.arg(format!("M={}", parts.replaced.display()))
        .args([&kernel::jobs(), "modules"]);
    run_logged(
        &format!(
            "building what is replaced of Debian's kernel: {}",
            what.modules.join(", ")
        ),
        &cache.path(format!("logs/replaced-{}.log", kernel.flavour.name())),
        cmd,
    )
}

/// The part of `lib/interval_tree.c` that a kernel without iommufd lacks, as a file.
fn span_iterator(text: &str) -> Option<String> {
    let start = text.find("#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER")?;
    let includes: String = text
        .lines()
        .filter(|l| l.starts_with("#include"))
        .map(|l| format!("{l}\n"))
        .collect();
    Some(includes + text.get(start..)?)
}

pub(crate) fn run_quietly(cmd: Command) -> Result<()> {
    let what = format!("{cmd:?}");
    let status = Child::spawn(cmd)?.wait()?;
    if !status.success() {
        bail!("{what}: {status}");
    }
    Ok(())
}

/// Puts the modules where hosts find them. They are unpacked: an inner VM has no kmod, and an
/// emulated host would be slow.
fn install(cache: &Cache, parts: &Parts, version: &Version, kernel: &Kernel) -> Result<()> {
    let _ = fs::remove_dir_all(&kernel.modules);
    let script = "release=$1 modules=$2 replaced=$3; shift 3
        to=$modules/lib/modules/$release; mkdir -p \"$modules/lib/modules\"; ln -s . \"$modules/usr\"
        cp -r /usr/lib/modules/$release \"$modules/lib/modules/\"
        cd \"$to\"; rm -rf build source vmlinuz \"$@\"
        find . -name '*.ko.xz' -print0 | xargs -0 -r -n 50 -P 4 xz -d
        mkdir -p updates; cp \"$replaced\"/*.ko updates/; strip --strip-debug updates/*.ko
        depmod -b \"$modules\" $release";
    let dir = cache.path("");
    let mut cmd = inside(&parts.root, &[&dir], &["sh", "-ec", script]);
    cmd.arg("sh")
        .arg(&version.release)
        .arg(&kernel.modules)
        .arg(&parts.replaced)
        .args(UNUSED.iter().map(|d| format!("kernel/{d}")));
    run_logged(
        "unpacking the modules of Debian's kernel",
        &cache.path(format!("logs/install-{}.log", kernel.flavour.name())),
        cmd,
    )
}

/// Takes `vmlinux` out of a bzImage: QEMU starts it by PVH, and nothing has to be unpacked by an
/// emulated processor.
fn extract(bzimage: &Path, to: &Path) -> Result<()> {
    let image = fs::read(bzimage).with_context(|| format!("reading {}", bzimage.display()))?;
    let (program, payload) = payload(&image)
        .with_context(|| format!("{} is no bzImage that the lab knows", bzimage.display()))?;
    let packed = tempfile::NamedTempFile::new()?;
    fs::write(packed.path(), payload)?;
    let part = to.with_extension("part");
    let mut cmd = command(program);
    cmd.arg("-dc")
        .stdin(fs::File::open(packed.path())?)
        .stdout(fs::File::create(&part)?);
    let status = Child::spawn(cmd)?.wait()?;
    if !status.success() {
        bail!(
            "unpacking {} by {program} failed: {status}",
            bzimage.display()
        );
    }
    Ok(fs::rename(part, to)?)
}

/// The compressed kernel in a bzImage, and the program that unpacks it
/// (Documentation/arch/x86/boot.rst).
fn payload(image: &[u8]) -> Option<(&'static str, &[u8])> {
    let word = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let sectors = match *image.get(0x1f1)? {
        0 => 4,
        n => usize::from(n),
    };
    let start = (sectors + 1) * 512 + word(0x248)?;
    // All but gzip have the size of the kernel appended.
    let end = start.checked_add(word(0x24c)?)?;
    let payload = image.get(start..end)?;
    let (program, tail) = match payload {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ("xz", 4),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", 4),
        [0x02, 0x21, 0x4c, 0x18, ..] => ("lz4", 4),
        [0x1f, 0x8b, ..] => ("gzip", 0),
        _ => return None,
    };
    Some((program, payload.get(..payload.len().checked_sub(tail)?)?))
}

/// Builds this project's modules for it and gives the folder with the `.ko` files.
///
/// # Errors
/// If the build fails.
pub fn modules(cache: &Cache, tree: &Path, kernel: &Kernel) -> Result<PathBuf> {
    let what = replaced(kernel.flavour);
    let mut make = make(cache, tree, kernel);
    make.arg(format!("KCFLAGS={}", what.c))
        .arg(format!("KRUSTFLAGS={}", what.rust));
    kernel::modules_by(cache, tree, kernel, make)
}

/// As [`kernel::check`].
///
/// # Errors
/// If there is a warning.
pub fn check(cache: &Cache, tree: &Path, kernel: &Kernel) -> Result<()> {
    let what = replaced(kernel.flavour);
    let make = make(cache, tree, kernel);
    kernel::check_by(cache, tree, kernel, make, what.c, what.rust)
}

/// What packages for this kernel say of it.
pub struct Facts {
    /// As `uname -r` has it.
    pub release: String,
    /// Version of its packages.
    pub package: String,
    /// Its configuration.
    config: String,
}

impl Facts {
    /// The value of an option of its configuration, without quotes.
    pub fn config(&self, option: &str) -> Option<&str> {
        self.config
            .lines()
            .filter_map(|l| l.split_once('='))
            .find(|(name, _)| *name == option)
            .map(|(_, value)| value.trim_matches('"'))
    }
}

/// Facts of the kernel that [`ensure`] got.
///
/// # Errors
/// If the cache does not have it.
pub fn facts(cache: &Cache, kernel: &Kernel) -> Result<Facts> {
    let version = version(cache, &kernel.source)?;
    Ok(Facts {
        release: version.release,
        package: version.package,
        config: fs::read_to_string(kernel.build.join(".config"))?,
    })
}

/// The modules of the kernel that are built again, as files.
pub fn replaced_modules(cache: &Cache) -> Vec<PathBuf> {
    let dir = Parts::of(cache, Flavour::Stock).replaced;
    let files = LOGGING.modules.iter();
    files.map(|m| dir.join(format!("{m}.ko"))).collect()
}

/// How they are built, for others who do: recipe, sources, and the flags of our own modules in C and
/// in Rust.
pub const REPLACED: (&str, &[&str], &str, &str) =
    (LOGGING.kbuild, LOGGING.sources, LOGGING.c, LOGGING.rust);

/// A program in the root with the compilers, which sees the cache and these folders.
pub fn in_root(cache: &Cache, folders: &[&Path], program: &[&str]) -> Command {
    let dir = cache.path("");
    let all: Vec<&Path> = std::iter::once(dir.as_path())
        .chain(folders.iter().copied())
        .collect();
    inside(&Parts::of(cache, Flavour::Stock).root, &all, program)
}

fn make(cache: &Cache, tree: &Path, kernel: &Kernel) -> Command {
    make_for(cache, tree, kernel.flavour)
}

/// A call of make for modules of this kernel, without flags.
pub(crate) fn make_for(cache: &Cache, tree: &Path, flavour: Flavour) -> Command {
    let parts = Parts::of(cache, flavour);
    let mut make = parts.make(cache, tree);
    make.arg(format!(
        "KBUILD_EXTRA_SYMBOLS={}",
        parts.replaced.join("Module.symvers").display()
    ));
    make
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_names_its_kernel() {
        let v = Version::new("7.3.4-1~bpo13+1").map(|v| v.release);
        assert_eq!(v.as_deref(), Some("7.3.4+deb13-amd64"));
        assert_eq!(Version::new("6.12.117-1"), None);
        assert_eq!(Version::new("7.3.4-1~bpo"), None);
    }

    #[test]
    fn the_kernel_is_found_in_its_image() {
        let mut image = vec![0; 0x400 + 16];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248] = 8;
        image[0x24c] = 8;
        assert_eq!(payload(&image), None);
        image[0x408..0x40c].copy_from_slice(&[0x28, 0xb5, 0x2f, 0xfd]);
        assert_eq!(payload(&image), Some(("zstd", &image[0x408..0x40c])));
        image[0x24c] = 9;
        assert_eq!(payload(&image), None);
        assert_eq!(payload(&image[..0x240]), None);
    }

    #[test]
    fn the_span_iterator_is_a_file_of_its_own() {
        let text = "// x\n#include <a.h>\nDEFINE(x)\n#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER\nint f;\n#endif\n";
        assert_eq!(
            span_iterator(text).as_deref(),
            Some("#include <a.h>\n#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER\nint f;\n#endif\n")
        );
        assert_eq!(span_iterator("int f;"), None);
    }

    #[test]
    fn a_tree_tells_its_version() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let makefile = "# x\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n";
        fs::write(dir.path().join("Makefile"), makefile)?;
        assert_eq!(point_release(dir.path())?, "7.3.4");
        Ok(())
    }
}
