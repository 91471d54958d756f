// SPDX-License-Identifier: GPL-2.0
//! The emulated hosts' root file system: a Debian image shared by all of them, with what the tests call.

use std::fs;
use std::path::PathBuf;

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
    let key = Key::new("rootfs", 1)
        .text("suite", SUITE)
        .text("packages", &PACKAGES.join(" "))
        .text("exclude", &EXCLUDE.join(" "))
        .finish();
    cache.ensure("rootfs", &key, || {
        let apt = Apt::open(cache)?;
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        let tar = dir.join("root.tar");
        let mut cmd = command("mmdebstrap");
        cmd.args([
            "--variant=apt",
            "--aptopt=Apt::Install-Recommends \"false\"",
            "--aptopt=Acquire::Languages \"none\"",
        ]);
        cmd.args(
            EXCLUDE
                .iter()
                .map(|e| format!("--dpkgopt=path-exclude={e}")),
        );
        cmd.arg(format!("--include={}", PACKAGES.join(",")))
            .arg(SUITE)
            .arg(&tar)
            .arg(apt.suite_line());
        run_logged(
            "making the hosts' root file system",
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
        .arg(&rootfs.image)
        .arg(&tar);
        run_logged("making the image", &cache.path("logs/squashfs.log"), cmd)?;

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
