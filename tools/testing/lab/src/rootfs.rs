// SPDX-License-Identifier: GPL-2.0
//! The emulated hosts' root file system: a Debian image shared by all of them, with what the tests call.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::apt::{Apt, SUITE};
use crate::cache::{Cache, Key};
use crate::process::{command, run_logged};

/// Packages in the image. `qemu-system-x86` is Debian's own, unmodified: it runs the inner VMs.
const PACKAGES: &[&str] = &[
    "bpftool",
    "busybox-static",
    "ethtool",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "jq",
    "kmod",
    "pciutils",
    "procps",
    "python3",
    "python3-jsonschema",
    "python3-yaml",
    "qemu-system-x86",
    "seabios",
    "socat",
    "strace",
    "tcpdump",
];

/// Left out of the image, to keep it small.
const EXCLUDE: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
];

/// The image and what was taken out of it.
pub struct Rootfs {
    /// Uncompressed squashfs: reading it costs the emulated CPU nothing.
    pub image: PathBuf,
    /// Firmware for the outer QEMU (`bios-256k.bin`, `pvh.bin`, …), from the same packages as the inner one's.
    pub firmware: PathBuf,
    /// Statically linked busybox, for the inner VMs.
    pub busybox: PathBuf,
}

/// Added to [`PACKAGES`] for hosts whose VMs libvirt runs.
const LIBVIRT: &[&str] = &[
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
];

/// Added to [`PACKAGES`] for hosts in which DPDK drives a card: `dpdk-testpmd` and the drivers that it loads.
const DPDK: &[&str] = &["dpdk-dev", "librte-net-ixgbe25"];

/// What an image is made of.
struct Content<'a> {
    packages: &'a [&'a str],
    exclude: &'a [&'a str],
    backports: Backports,
}

/// What Debian's backports are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backports {
    /// Nothing.
    No,
    /// Debian's newer kernels, which have names of their own.
    Kernels,
    /// All that they have.
    Preferred,
}

/// Has apt take what backports have, in the folder that mmdebstrap makes.
const PREFER: &str = r#"printf 'Package: *\nPin: release n=%s-backports\nPin-Priority: 900\n' "$SUITE" >"$1/etc/apt/preferences.d/backports""#;

/// Makes an image, and leaves the archive that it was made from beside it.
fn make(cache: &Cache, what: &str, c: &Content<'_>, image: &Path, tar: &Path) -> Result<()> {
    let apt = Apt::open(cache)?;
    let dir = image.parent().context("an image's folder")?;
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir)?;
    // What it says goes to the step's output.
    let mut cmd = command("sh");
    cmd.args([
        "-c",
        "exec mmdebstrap \"$@\" 2>&1",
        "sh",
        "--variant=apt",
        "--aptopt=Apt::Install-Recommends \"false\"",
        "--aptopt=Acquire::Languages \"none\"",
    ]);
    cmd.args(
        c.exclude
            .iter()
            .map(|e| format!("--dpkgopt=path-exclude={e}")),
    );
    cmd.arg(format!("--include={}", c.packages.join(",")))
        .arg(SUITE)
        .arg(tar)
        .arg(apt.suite_line());
    if c.backports != Backports::No {
        cmd.arg(apt.backports_line());
    }
    if c.backports == Backports::Preferred {
        cmd.arg(format!("--setup-hook={PREFER}"))
            .env("SUITE", SUITE);
    }
    run_logged(
        &format!("making {what}"),
        &cache.path("logs/rootfs.log"),
        cmd,
    )?;

    // The shell's redirection, since run_logged gives its commands no input.
    let mut cmd = command("sh");
    // -noI -noD -noF -noX: no compression of inodes, data, fragments and attributes.
    cmd.args([
        "-c",
        "exec sqfstar -quiet -no-progress -noI -noD -noF -noX \"$1\" <\"$2\"",
        "sh",
    ])
    .arg(image)
    .arg(tar);
    run_logged("making the image", &cache.path("logs/squashfs.log"), cmd)
}

/// A host with these packages that shares its image with others.
fn content<'a>(packages: &'a [&'a str]) -> Content<'a> {
    Content {
        packages,
        exclude: EXCLUDE,
        backports: Backports::No,
    }
}

fn key(packages: &[&str]) -> String {
    Key::new("rootfs", 1)
        .text("suite", SUITE)
        .text("packages", &packages.join(" "))
        .text("exclude", &EXCLUDE.join(" "))
        .finish()
}

/// Makes the image.
///
/// # Errors
/// If the packages cannot be had, or mmdebstrap or squashfs-tools is missing.
pub fn ensure(cache: &Cache) -> Result<Rootfs> {
    let dir = cache.path("images/rootfs");
    let rootfs = Rootfs {
        image: dir.join("root.squashfs"),
        firmware: dir.join("firmware"),
        busybox: dir.join("busybox"),
    };
    cache.ensure("rootfs", &key(PACKAGES), || {
        let tar = dir.join("root.tar");
        make(
            cache,
            "the hosts' root file system",
            &content(PACKAGES),
            &rootfs.image,
            &tar,
        )?;
        let part = dir.join("part");
        fs::create_dir_all(&part)?;
        let mut cmd = command("tar");
        cmd.arg("-xf").arg(&tar).arg("-C").arg(&part).args([
            "./usr/share/seabios",
            "./usr/share/qemu",
            "./usr/bin/busybox",
        ]);
        run_logged(
            "taking the firmware out",
            &cache.path("logs/firmware.log"),
            cmd,
        )?;
        fs::create_dir_all(&rootfs.firmware)?;
        for sub in ["usr/share/qemu", "usr/share/seabios"] {
            for entry in fs::read_dir(part.join(sub))?.flatten() {
                // Links between the two folders end here: the second folder brings the real file.
                if entry.path().is_file() {
                    fs::copy(entry.path(), rootfs.firmware.join(entry.file_name()))?;
                }
            }
        }
        fs::copy(part.join("usr/bin/busybox"), &rootfs.busybox).context("busybox")?;
        fs::remove_dir_all(part)?;
        fs::remove_file(tar)?;
        Ok(())
    })?;
    Ok(rootfs)
}

/// Makes the image of the hosts that have libvirt too: only what needs it pays for it.
///
/// # Errors
/// Those of [`ensure`].
pub fn with_libvirt(cache: &Cache) -> Result<PathBuf> {
    with(cache, "libvirt", LIBVIRT, Backports::No)
}

/// The same for the hosts that have DPDK.
///
/// # Errors
/// Those of [`ensure`].
pub fn with_dpdk(cache: &Cache) -> Result<PathBuf> {
    with(cache, "DPDK", DPDK, Backports::No)
}

/// The same for the hosts that have the newest QEMU and libvirt: what Debian's backports have comes from there.
///
/// # Errors
/// Those of [`ensure`].
pub fn with_backports(cache: &Cache) -> Result<PathBuf> {
    with(cache, "backports", LIBVIRT, Backports::Preferred)
}

/// Makes an image that has more packages.
fn with(cache: &Cache, what: &str, more: &[&str], backports: Backports) -> Result<PathBuf> {
    let name = format!("rootfs-{}", what.to_lowercase());
    let image = cache.path(format!("images/{name}/root.squashfs"));
    let packages = [PACKAGES, more].concat();
    cache.ensure(&name, &key(&packages), || {
        let tar = image.with_extension("tar");
        let what = format!("the root file system with {what}");
        let content = Content {
            backports,
            ..content(&packages)
        };
        make(cache, &what, &content, &image, &tar)?;
        fs::remove_file(tar)?;
        Ok(())
    })?;
    Ok(image)
}

/// Packages of a host that has what Debian installs, and nothing of the lab's.
const BARE: &[&str] = &["ethtool", "iproute2", "kmod", "procps"];

/// Added to [`BARE`] for hosts of VMs; by `socat` the lab reaches a VM's agent.
const BARE_WITH_VMS: &[&str] = &["qemu-system-x86", "socat"];

/// Makes the image of a host with one of Debian's own kernels, for packages to be installed in;
/// with what runs VMs, if there are to be any.
///
/// # Errors
/// Those of [`ensure`].
pub fn bare(cache: &Cache, release: &str, version: &str, vms: bool) -> Result<PathBuf> {
    let name = if vms {
        "rootfs-bare-vms"
    } else {
        "rootfs-bare"
    };
    let image = cache.path(format!("images/{name}/root.squashfs"));
    let kernel = format!("linux-modules-{release}");
    let mut packages = BARE.to_vec();
    packages.push(&kernel);
    if vms {
        packages.extend(BARE_WITH_VMS.iter().chain(LIBVIRT));
    }
    let key = Key::new("rootfs-bare", 1)
        .text("suite", SUITE)
        .text("packages", &packages.join(" "))
        .text("version", version)
        .finish();
    cache.ensure(name, &key, || {
        let tar = image.with_extension("tar");
        let content = Content {
            packages: &packages,
            exclude: &[],
            backports: Backports::Kernels,
        };
        make(
            cache,
            "the root file system of a bare Debian",
            &content,
            &image,
            &tar,
        )?;
        fs::remove_file(tar)?;
        Ok(())
    })?;
    Ok(image)
}
