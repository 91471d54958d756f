// SPDX-License-Identifier: GPL-2.0
//! The machine of `cargo lab bench datapath`, with what counts in it and what is at the other end of its cable.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::count::{Counter, Symbol, Symbols};
use super::peer::{self, Peer};
use crate::kernel::Kernel;
use crate::lab::{HostSpec, Lab};
use crate::process::{command, run_logged, TempDir};
use crate::qemu;
use crate::station::control::{format_mac, parse_mac};
use crate::stats;
use crate::switch::Switch;
use crate::toolchain::MAKE_LLVM;
use crate::vm::{Accel, Vm};

/// Address of the interface that is measured.
pub(super) const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Where the machine has the program that does this with every frame.
pub(super) fn xdp_path(verdict: Verdict) -> String {
    format!("/run/xdp_{}.o", verdict.name())
}

/// What the machine is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// One processor, no IOMMU: what an IOMMU costs is not the driver's, and a VF in a virtual machine has none.
    Plain,
    /// One processor, and an IOMMU that forgets a mapping at once.
    Strict,
    /// As many processors as the VF driver of mainline needs for all its queues and the PF for four.
    FourCpus,
}

impl Setting {
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Strict, Self::FourCpus];

    fn cpus(self) -> u32 {
        match self {
            Self::Plain | Self::Strict => 1,
            Self::FourCpus => 4,
        }
    }

    fn cmdline(self) -> &'static str {
        match self {
            Self::Plain | Self::FourCpus => "intel_iommu=off",
            Self::Strict => "intel_iommu=on iommu=nopt iommu.strict=1",
        }
    }
}

/// What was counted over some frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) frames: u64,
    pub(super) kernel: u64,
    pub(super) driver: u64,
    pub(super) mmio: u64,
}

impl Sample {
    /// What this sample has more than another.
    pub(super) fn less(&self, other: &Self) -> Self {
        Self {
            frames: self.frames.saturating_sub(other.frames),
            kernel: self.kernel.saturating_sub(other.kernel),
            driver: self.driver.saturating_sub(other.driver),
            mmio: self.mmio.saturating_sub(other.mmio),
        }
    }
}

/// An interface of the machine.
#[derive(Clone)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) mac: [u8; 6],
}

/// The machine and everything around it.
pub(super) struct Bed {
    pub(super) vm: Vm,
    pub(super) counter: Counter,
    pub(super) peer: Peer,
    /// Functions of the kernel without modules, as text.
    kernel: String,
    symbols: Symbols,
}

impl Bed {
    pub(super) fn boot(
        lab: &Lab,
        kernel: &Kernel,
        modules: PathBuf,
        dir: &TempDir,
        setting: Setting,
    ) -> Result<Self> {
        let plugin = qemu::plugin(&lab.cache, &lab.tree)?;
        let (cable, socket) = (dir.path().join("cable"), dir.path().join("count"));
        let listener: UnixListener = Peer::listen(&cable)?;
        let mut spec = HostSpec::new(1);
        spec.cpus = setting.cpus();
        spec.memory_mib = 1024;
        spec.accel = Some(Accel::Counted);
        spec.cable = Some(cable);
        spec.modules = Some(modules);
        // nokaslr: code is counted by its address, and the kernel's is not to move between two boots.
        spec.cmdline = format!("{} ipv6.disable=1 idle=halt nokaslr", setting.cmdline());
        spec.qemu = vec![
            "-plugin".into(),
            format!("{},socket={}", plugin.display(), socket.display()),
        ];
        spec.deadline = Duration::from_secs(3600);
        eprintln!("booting the machine");
        let vm = lab.boot(&spec, kernel, &Switch::new(None), dir)?;
        let mut bed = Self {
            peer: Peer::accept(&listener)?,
            counter: Counter::connect(&socket)?,
            kernel: String::new(),
            symbols: Symbols::default(),
            vm,
        };
        bed.kernel = bed.sh("grep -i ' [tw] ' /proc/kallsyms | grep -v '\\['")?;
        for verdict in [Verdict::Drop, Verdict::SwapTx, Verdict::SwapRedirect] {
            let octal = xdp_object(lab, verdict)?
                .iter()
                .fold(String::new(), |mut s, b| {
                    let _ = write!(s, "\\{b:03o}");
                    s
                });
            bed.sh(&format!("printf '{octal}' >{}", xdp_path(verdict)))?;
        }
        bed.sh("modprobe pktgen")?;
        Ok(bed)
    }

    pub(super) fn sh(&self, script: &str) -> Result<String> {
        self.vm
            .guest
            .sh(&format!("set -e; {script}"), Duration::from_secs(180))?
            .ok()
            .with_context(|| format!("in the machine: {script:.200}"))
    }

    /// Learns where the functions of the modules are that are loaded now, and XDP programs.
    pub(super) fn read_symbols(&mut self) -> Result<()> {
        let modules = self.sh("grep '\\[' /proc/kallsyms")?;
        self.symbols = Symbols::parse(&format!("{}{modules}", self.kernel));
        Ok(())
    }

    /// The interface of a driver's first device.
    pub(super) fn interface(&self, driver: &str) -> Result<Interface> {
        let out = self.sh(&format!(
            "cd /sys/bus/pci/drivers/{driver}/0*/net; echo *; cat */address"
        ))?;
        let (name, mac) = out
            .split_once('\n')
            .with_context(|| format!("{driver} has no interface"))?;
        Ok(Interface {
            name: name.into(),
            mac: parse_mac(mac.trim()).with_context(|| format!("{driver}: address {mac}"))?,
        })
    }

    /// Opens an interface and waits until it can send. The peer answers when it is told to, so TCP must be patient. PF and VF
    /// are on one switch: only the one that has the address may answer for it.
    pub(super) fn up(&mut self, dev: &Interface) -> Result<()> {
        let (name, peer) = (&dev.name, format_mac(peer::MAC));
        // How long a segmented buffer is depends on the round-trip time otherwise, which is that of this machine.
        let segments = peer::WINDOW / peer::MSS;
        self.sh(&format!(
            "ip link set {name} up; ip addr replace {V4}/24 dev {name}; \
             ip route change 192.0.2.0/24 dev {name} src {V4} rto_min 30s; echo 0 >/proc/sys/net/ipv4/tcp_early_retrans; \
             echo {segments} >/proc/sys/net/ipv4/tcp_min_tso_segs; \
             echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore; \
             ip neigh replace {} lladdr {peer} dev {name} nud permanent; \
             for i in $(seq 200); do [ \"$(cat /sys/class/net/{name}/carrier)\" = 1 ] && break; sleep 0.1; done; \
             [ \"$(cat /sys/class/net/{name}/carrier)\" = 1 ]; sleep 2",
            peer::V4
        ))?;
        Ok(())
    }

    /// Has the machine forward what is for the first of these addresses: out by this interface, to the second, which is the
    /// peer as well.
    pub(super) fn forward(
        &mut self,
        out: &Interface,
        (to, by): (Ipv4Addr, Ipv4Addr),
    ) -> Result<()> {
        let (name, peer) = (&out.name, format_mac(peer::MAC));
        let [a, b, c, _] = by.octets();
        self.sh(&format!(
            "ip link set {name} up; ip addr replace {a}.{b}.{c}.1/24 dev {name}; \
             ip neigh replace {by} lladdr {peer} dev {name} nud permanent; ip route replace {to} via {by}; \
             echo 1 >/proc/sys/net/ipv4/ip_forward; \
             for i in $(seq 200); do [ \"$(cat /sys/class/net/{name}/carrier)\" = 1 ] && break; sleep 0.1; done; \
             [ \"$(cat /sys/class/net/{name}/carrier)\" = 1 ]; sleep 2"
        ))?;
        Ok(())
    }

    /// Counts what is executed until the machine is idle after `what`, so many times. `what` says how many frames it was.
    pub(super) fn counted(
        &mut self,
        times: u32,
        mut what: impl FnMut(&mut Self) -> Result<u64>,
    ) -> Result<(Sample, BTreeMap<Symbol, u64>)> {
        self.counter.settle()?;
        self.counter.reset()?;
        let (mut frames, mut each) = (0, Vec::new());
        let mut before = self.counter.totals()?;
        for _ in 0..times {
            let n = what(self)?;
            self.counter.settle()?;
            let now = self.counter.totals()?;
            // Per frame: not every time are they as many.
            each.push((now.kernel - before.kernel) as f64 / n.max(1) as f64);
            frames += n;
            before = now;
        }
        let functions = self.symbols.by_function(&self.counter.histogram()?);
        let driver = functions
            .iter()
            .filter(|(s, _)| s.module.starts_with("ixgbe"))
            .map(|(_, n)| n)
            .sum();
        let middle = stats::median(each.into_iter());
        let sample = Sample {
            frames,
            kernel: (middle * frames as f64) as u64,
            driver,
            mmio: before.mmio,
        };
        Ok((sample, functions))
    }

    /// Sends a burst and waits until the machine is idle again.
    pub(super) fn burst(&mut self, frames: &[Vec<u8>]) -> Result<()> {
        let before = self.counter.blocks()?;
        self.peer.send(frames)?;
        self.counter.wait_busy(before)?;
        self.counter.settle()
    }
}

/// What an XDP program does with every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Drop = 1,
    Pass = 2,
    Tx = 3,
    /// Sends it back to where it came from: [`Verdict::Tx`] with the addresses swapped.
    SwapTx = 16 + 3,
    /// The same by a redirection to the interface that received it.
    SwapRedirect = 16 + 4,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Pass => "pass",
            Self::Tx => "tx",
            Self::SwapTx => "swap_tx",
            Self::SwapRedirect => "swap_redirect",
        }
    }
}

/// Compiles the program that does the same with every frame.
pub(crate) fn xdp_object(lab: &Lab, verdict: Verdict) -> Result<Vec<u8>> {
    let name = format!("xdp_{}", verdict.name());
    let out = lab.cache.path(format!("build/{name}.bpf.o"));
    let version = MAKE_LLVM.strip_prefix("LLVM=").unwrap_or_default();
    let mut cmd = command(format!("clang{version}"));
    cmd.args(["-O2", "--target=bpf", "-c"])
        .arg(format!("-DVERDICT={}", verdict as u32))
        .arg("-o")
        .arg(&out)
        .arg(lab.tree.join("tools/testing/lab/bpf/xdp_drop.bpf.c"));
    run_logged(
        "compiling the XDP program",
        &lab.cache.path(format!("logs/{name}.log")),
        cmd,
    )?;
    std::fs::read(&out).with_context(|| format!("reading {}", out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_runs_of_pktgen_do_cancels() {
        let sample = |frames, kernel| Sample {
            frames,
            kernel,
            ..Sample::default()
        };
        let diff = sample(24_000, 2_500_000).less(&sample(4_000, 500_000));
        assert_eq!((diff.frames, diff.kernel), (20_000, 2_000_000));
    }
}
