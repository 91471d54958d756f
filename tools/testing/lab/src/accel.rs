// SPDX-License-Identifier: GPL-2.0
//! Whether hardware virtualisation can be used here.
//!
//! `/dev/kvm` may exist and still not run a stock kernel (seen inside micro-VMs), and it may run
//! one without letting it run VMs of its own, which is what the lab's hosts do. So the lab asks for
//! five things: the processor's flag, the device, KVM's parameter `nested`, a probe machine that
//! boots, and the processor's flag in that machine.

use std::fs;
use std::time::Duration;

use anyhow::{bail, Result};

use crate::process::TempDir;
use crate::vm::{Accel, Machine};

/// How processors are run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// How.
    pub accel: Accel,
    /// Why so, in a few words.
    pub why: String,
}

/// What is asked for by `LAB_ACCEL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// KVM where it works.
    Auto,
    /// KVM, or an error.
    Kvm,
    Tcg,
}

impl Wish {
    fn parse(name: Option<&str>) -> Result<Self> {
        match name {
            None | Some("" | "auto") => Ok(Self::Auto),
            Some("kvm") => Ok(Self::Kvm),
            Some("tcg") => Ok(Self::Tcg),
            Some(other) => bail!("LAB_ACCEL={other}: it is kvm, tcg or auto"),
        }
    }
}

/// Finds out; `probe` gives a machine to try KVM with, and is called only if nothing else speaks
/// against it.
///
/// # Errors
/// If KVM is demanded and does not work here; the message says why.
pub fn choose(probe: impl FnOnce() -> Result<Machine>) -> Result<Choice> {
    let wish = Wish::parse(std::env::var("LAB_ACCEL").ok().as_deref())?;
    decide(wish, || {
        obstacle(
            &fs::read_to_string("/proc/cpuinfo").unwrap_or_default(),
            can_open(),
            |vendor| fs::read_to_string(format!("/sys/module/kvm_{vendor}/parameters/nested")).ok(),
        )
        .or_else(|| {
            probe()
                .and_then(|m| try_out(&m))
                .err()
                .map(|e| first_line(&e))
        })
    })
}

fn decide(wish: Wish, obstacle: impl FnOnce() -> Option<String>) -> Result<Choice> {
    let tcg = |why: String| Choice {
        accel: Accel::Tcg,
        why,
    };
    if wish == Wish::Tcg {
        return Ok(tcg("LAB_ACCEL=tcg".into()));
    }
    match obstacle() {
        None => Ok(Choice {
            accel: Accel::Kvm,
            why: "a machine boots with it, and can run VMs".into(),
        }),
        Some(why) if wish == Wish::Kvm => bail!("LAB_ACCEL=kvm, but {why}"),
        Some(why) => Ok(tcg(why)),
    }
}

fn first_line(e: &anyhow::Error) -> String {
    let text = format!("{e:#}");
    format!(
        "a machine does not work with KVM: {}",
        text.lines().next().unwrap_or_default()
    )
}

/// What speaks against KVM without trying it; `nested` reads the parameter of KVM's module for a
/// vendor.
fn obstacle(
    cpuinfo: &str,
    can_open: bool,
    nested: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let has = |flag: &str| {
        cpuinfo
            .lines()
            .filter(|l| l.starts_with("flags"))
            .any(|l| l.split_whitespace().any(|f| f == flag))
    };
    let vendor = match (has("svm"), has("vmx")) {
        (true, _) => "amd",
        (_, true) => "intel",
        _ => return Some("this machine's processor has no virtualisation".into()),
    };
    if !can_open {
        return Some("/dev/kvm cannot be opened".into());
    }
    // Without the file KVM is built in, or of another kind: the probe machine tells.
    let parameter = nested(vendor)?;
    if matches!(parameter.trim(), "0" | "N") {
        return Some(format!(
            "the machines of KVM cannot run VMs here: load kvm_{vendor} with nested=1"
        ));
    }
    None
}

fn can_open() -> bool {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok()
}

/// Boots a machine, and has it look whether it could run VMs.
fn try_out(machine: &Machine) -> Result<()> {
    let dir = TempDir::new()?;
    let vm = machine.boot(dir.path())?;
    let flags = vm.guest.sh(
        "grep -qwE '^flags.*(svm|vmx)' /proc/cpuinfo",
        Duration::from_secs(10),
    )?;
    vm.shut_down()?;
    if !flags.exit.ok() {
        bail!("its processor has no virtualisation (KVM's parameter nested)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMD: &str = "processor\t: 0\nflags\t\t: fpu vme svm npt\n";
    const INTEL: &str = "processor\t: 0\nflags\t\t: fpu vme vmx\n";

    #[test]
    fn kvm_is_taken_where_nothing_speaks_against_it() -> Result<()> {
        assert_eq!(decide(Wish::Auto, || None)?.accel, Accel::Kvm);
        assert_eq!(decide(Wish::Kvm, || None)?.accel, Accel::Kvm);
        let no = || Some("no".to_owned());
        let choice = decide(Wish::Auto, no)?;
        assert_eq!((choice.accel, choice.why.as_str()), (Accel::Tcg, "no"));
        let error = decide(Wish::Kvm, no).map_err(|e| e.to_string());
        assert_eq!(error, Err("LAB_ACCEL=kvm, but no".to_owned()));
        Ok(())
    }

    #[test]
    fn emulation_is_taken_without_asking_where_it_is_demanded() -> Result<()> {
        let choice = decide(Wish::Tcg, || panic!("asked"))?;
        assert_eq!(choice.accel, Accel::Tcg);
        Ok(())
    }

    #[test]
    fn wishes_are_read() -> Result<()> {
        for (name, wish) in [
            (None, Wish::Auto),
            (Some("auto"), Wish::Auto),
            (Some("kvm"), Wish::Kvm),
            (Some("tcg"), Wish::Tcg),
        ] {
            assert_eq!(Wish::parse(name)?, wish);
        }
        assert!(Wish::parse(Some("hvf")).is_err());
        Ok(())
    }

    #[test]
    fn what_speaks_against_kvm_is_named() {
        let yes = |_: &str| Some("1\n".to_owned());
        assert_eq!(obstacle(AMD, true, yes), None);
        assert_eq!(obstacle(INTEL, true, |_: &str| Some("Y\n".into())), None);
        // Built in, without parameters: only the probe machine can tell.
        assert_eq!(obstacle(INTEL, true, |_: &str| None), None);
        let says = |o: Option<String>, word: &str| o.is_some_and(|o| o.contains(word));
        assert!(says(obstacle("flags\t: fpu\n", true, yes), "processor"));
        assert!(says(obstacle(AMD, false, yes), "/dev/kvm"));
        let off = |v: &str| Some(if v == "amd" { "0\n" } else { "N\n" }.to_owned());
        assert!(says(obstacle(AMD, true, off), "kvm_amd with nested=1"));
        assert!(says(obstacle(INTEL, true, off), "kvm_intel with nested=1"));
    }
}
