// SPDX-License-Identifier: GPL-2.0
//! Whether hardware virtualisation can be used here.
//!
//! `/dev/kvm` may exist and still not run a stock kernel (seen inside micro-VMs), so the lab asks for three things: the
//! processor's flag, the device, and a probe machine that boots.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use crate::kernel::Kernel;
use crate::lab::Lab;
use crate::process::TempDir;
use crate::vm::{Accel, Machine};

/// Finds out, once a run; `LAB_ACCEL=tcg` says it without asking.
pub fn probe(lab: &Lab, kernel: &Kernel) -> Accel {
    static FOUND: OnceLock<Accel> = OnceLock::new();
    *FOUND.get_or_init(|| {
        if std::env::var("LAB_ACCEL").is_ok_and(|v| v == "tcg") || !has_flag() || !can_open() {
            return Accel::Tcg;
        }
        if boots(lab, kernel) {
            Accel::Kvm
        } else {
            eprintln!(
                "/dev/kvm is here but a machine does not boot with it: using software emulation"
            );
            Accel::Tcg
        }
    })
}

fn has_flag() -> bool {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .filter(|l| l.starts_with("flags"))
        .any(|l| l.split_whitespace().any(|f| f == "svm" || f == "vmx"))
}

fn can_open() -> bool {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}

fn boots(lab: &Lab, kernel: &Kernel) -> bool {
    let Ok(dir) = TempDir::new() else {
        return false;
    };
    let machine = Machine {
        name: "probe".into(),
        qemu: lab.qemu.clone(),
        firmware: lab.rootfs.firmware.clone(),
        accel: Accel::Kvm,
        cpus: 1,
        memory_mib: 512,
        kernel: kernel.image.clone(),
        initrd: lab.initrd.clone(),
        root: None,
        cmdline: String::new(),
        shares: vec![],
        nics: vec![],
        extra: vec![],
        deadline: Duration::from_secs(15),
    };
    machine
        .boot(dir.path())
        .and_then(crate::vm::Vm::shut_down)
        .is_ok()
}
