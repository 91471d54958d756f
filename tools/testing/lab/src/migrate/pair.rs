// SPDX-License-Identifier: GPL-2.0
//! Two hosts side by side, the switch between them, and what they need to run a VM.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use super::host::Host;
use super::inner::MEMORY_MIB;
use super::logs::Logs;
use super::spec::{Card, HostQemu, Image, Preparation, Seat, Setting, FIRST};
use crate::capture::Capture;
use crate::chip::Chip;
use crate::initramfs;
use crate::kernel::{self, Flavour, Kernel};
use crate::lab::{facts, Drivers, Head, HostSpec, Lab};
use crate::package;
use crate::process::{Reminder, TempDir};
use crate::rootfs;
use crate::station::Station;
use crate::switch::Switch;

/// Says what is going on: on a terminal as one line that changes, else line by line, and again
/// where it takes long.
pub struct Progress(ProgressBar, Reminder);

impl Progress {
    /// Starts the clock.
    ///
    /// # Errors
    /// None in practice: the template is fixed.
    pub fn new() -> Result<Self> {
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template(
            "{spinner} [{elapsed}] {wide_msg}",
        )?);
        bar.enable_steady_tick(Duration::from_millis(200));
        let reminder = Reminder::start(bar.is_hidden());
        Ok(Self(bar, reminder))
    }

    /// Says it.
    pub fn say(&self, text: &str) {
        self.0.set_message(text.to_owned());
        if self.0.is_hidden() {
            eprintln!("{text}");
        }
        self.1.now(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Does two things that do not wait for each other, mostly in one host each.
///
/// # Errors
/// That of the first, else that of the second; both are done before.
pub(super) fn at_once<A, B: Send>(
    one: impl FnOnce() -> Result<A>,
    two: impl FnOnce() -> Result<B> + Send,
) -> Result<(A, B)> {
    let (one, two) = thread::scope(|s| {
        let two = s.spawn(two);
        let one = one();
        let two = two.join();
        (one, two.unwrap_or_else(|_| bail!("a thread panicked")))
    });
    Ok((one?, two?))
}

/// What the root file system of hosts has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// What the tests call.
    Lab,
    /// libvirt too.
    Libvirt,
    /// The same, and both libvirt and QEMU are of Debian's backports.
    Backports,
    /// Debian's packages alone, with libvirt; this project's lie beside it to be installed.
    Bare,
}

impl From<HostQemu> for Root {
    fn from(qemu: HostQemu) -> Self {
        match qemu {
            HostQemu::Stock => Self::Lab,
            HostQemu::Backports => Self::Backports,
        }
    }
}

/// Two hosts to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairSpec {
    /// Kernel of hosts and VMs.
    pub kernel: Flavour,
    /// What the model does with a write to a head.
    pub head: Head,
    /// Chips of their cards.
    pub chips: [Chip; 2],
    /// Whether this project's drivers are wanted.
    pub ours: bool,
    /// What they have.
    pub root: Root,
    /// Virtual CPUs of each.
    pub cpus: u32,
    /// VFs for VMs, in the order of their cards.
    pub seats: &'static [Seat],
    /// Memory of the largest VM.
    pub vm_mib: u32,
    /// After this time the hosts are killed.
    pub deadline: Duration,
}

/// Virtual CPUs of each host where times are measured: both together no more than this machine has, since a CPU that waits for a
/// core holds up whoever waits for it, be it for a lock or for the answer to an IPI. Two cores and four CPUs made a blackout
/// longer by a third.
pub fn measured_cpus() -> u32 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores / 2).unwrap_or(u32::MAX).clamp(1, 4)
}

/// Virtual CPUs of each host where faults are looked for, whatever the machine has: drivers that do not heed each other's CPUs are
/// to be caught.
pub const TESTED_CPUS: u32 = 2;

/// Two hosts that run.
pub struct Pair {
    /// `h1` and `h2`.
    pub hosts: [Host; 2],
    /// The third party on their switch.
    pub station: Station,
    kernel: Kernel,
    qemu: HostQemu,
    modules: Option<PathBuf>,
    chips: [Chip; 2],
    /// Kernel logs of hosts and VMs.
    logs: Arc<Logs>,
    /// Sockets, logs and what the hosts share; removed on drop.
    dir: TempDir,
}

impl Pair {
    /// Boots them and joins them to the network.
    ///
    /// # Errors
    /// If one does not come up.
    pub fn boot(
        lab: &Lab,
        spec: &PairSpec,
        capture: Option<Capture>,
        progress: &Progress,
    ) -> Result<Self> {
        let kernel = lab.kernel(spec.kernel)?;
        let modules = if spec.ours {
            Some(lab.modules(&kernel)?)
        } else {
            None
        };
        let (root, packages) = match spec.root {
            Root::Lab => (None, None),
            Root::Libvirt => (Some(rootfs::with_libvirt(&lab.cache)?), None),
            Root::Backports => (Some(rootfs::with_backports(&lab.cache)?), None),
            Root::Bare => {
                let (packages, root) = package::for_hosts(&lab.cache, &lab.tree, &kernel, true)?;
                (Some(root), Some(packages))
            }
        };
        let dir = TempDir::new()?;
        let share = share(&dir);
        std::fs::create_dir_all(&share)?;
        std::fs::copy(&kernel.image, share.join("vmlinux"))
            .context("copying the inner VM's kernel")?;
        let switch = Switch::new(capture);
        let station = Station::start(&switch);
        let logs = Arc::<Logs>::default();
        progress.say("booting two hosts");
        let boot = |number: u8| -> Result<Host> {
            let mut host = HostSpec::new(number);
            host.head = spec.head;
            let [one, two] = spec.chips;
            host.chips = if number == 1 { one } else { two }.into();
            host.cpus = spec.cpus;
            // Bare hosts have this project's modules from its packages.
            if packages.is_none() {
                host.modules.clone_from(&modules);
            }
            host.packages.clone_from(&packages);
            host.root.clone_from(&root);
            host.inner = Some(share.clone());
            host.memory_mib = if spec.kernel == Flavour::Debug {
                4096
            } else {
                2048
            } + spec.vm_mib.saturating_sub(MEMORY_MIB);
            host.deadline = spec.deadline;
            host.cards = spec.seats.iter().map(|s| s.card + 1).max().unwrap_or(1);
            let vm = lab.boot(&host, &kernel, &switch, &dir)?;
            let host = Host::new(
                number,
                vm,
                spec.kernel,
                spec.seats,
                switch.clone(),
                logs.clone(),
            );
            host.join()?;
            Ok(host)
        };
        let (one, two) = at_once(|| boot(1), || boot(2))?;
        Ok(Self {
            hosts: [one, two],
            station,
            kernel,
            qemu: match spec.root {
                Root::Backports => HostQemu::Backports,
                Root::Lab | Root::Libvirt | Root::Bare => HostQemu::Stock,
            },
            modules,
            chips: spec.chips,
            logs,
            dir,
        })
    }

    /// Prepares the hosts' VFs, where there are any, for the next VM.
    ///
    /// # Errors
    /// If a step fails.
    pub fn prepare(&self, p: &Preparation<'_>) -> Result<()> {
        let [one, two] = &self.hosts;
        at_once(|| one.prepare(p), || two.prepare(p))?;
        Ok(())
    }

    /// Puts an initramfs for a VM with this card and driver where the hosts see it.
    ///
    /// # Errors
    /// If a module is missing.
    pub fn image(&self, lab: &Lab, card: Card, guest: Drivers) -> Result<Image> {
        let mut modules = match card {
            Card::Virtio | Card::Failover => kernel::module(&self.kernel, "virtio_net")?,
            _ => vec![],
        };
        // The VM joins VLANs in some cases.
        modules.extend(kernel::module(&self.kernel, "8021q")?);
        match (card, guest, &self.modules) {
            (Card::Virtio, ..) => {}
            (_, Drivers::Rust, Some(ours)) => modules.push(ours.join("ixgbevf_rust.ko")),
            (_, Drivers::Rust, None) => bail!("this project's modules were not built"),
            (_, Drivers::C, _) => modules.extend(kernel::module(&self.kernel, "ixgbevf")?),
        }
        let name = format!("initrd-{card:?}-{}", guest.name());
        initramfs::inner(
            &lab.cache,
            &lab.tree,
            &lab.rootfs.busybox,
            &modules,
            &share(&self.dir).join(&name),
        )?;
        let drivers: Vec<String> = modules
            .iter()
            .filter_map(|m| Some(m.file_stem()?.to_string_lossy().into_owned()))
            .collect();
        Ok(Image {
            initrd: format!("/lab/inner/{name}"),
            drivers: drivers.join(","),
            name: format!("VM {}", FIRST.ip()),
            cpus: 1,
            memory_mib: MEMORY_MIB,
            options: self.kernel.flavour.cmdline(),
            trace: false,
            seats: &[FIRST],
            iommufd: false,
        })
    }

    /// Folder that the hosts see as `/lab/inner`.
    pub(super) fn share(&self) -> PathBuf {
        share(&self.dir)
    }

    /// What the kernels of hosts and VMs reported since this was last asked for, the first time since they booted.
    ///
    /// # Errors
    /// If the list of patterns is wrong.
    pub fn faults(&self) -> Result<Vec<String>> {
        self.logs.faults()
    }

    /// In what an experiment with them is had.
    pub fn setting(&self, guest_cpus: u32) -> Setting {
        let facts = facts().unwrap_or_default();
        Setting {
            chip: self.chips[0].title(),
            kernel: self.kernel.flavour,
            emulator: facts.emulator,
            accel: facts.accel,
            guest_cpus,
            qemu: self.qemu,
        }
    }

    /// Powers them off. Gives what their kernels reported since [`Self::faults`] was last asked for: of the end of the last VM, for
    /// example.
    ///
    /// # Errors
    /// Those of waiting for QEMU.
    pub fn shut_down(self) -> Result<Vec<String>> {
        let faults = self.faults()?;
        for h in self.hosts {
            h.vm.shut_down()?;
        }
        Ok(faults)
    }
}

fn share(dir: &TempDir) -> PathBuf {
    Path::new(dir.path()).join("inner")
}
