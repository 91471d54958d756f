// SPDX-License-Identifier: GPL-2.0
//! The lab as a whole: what it has built, and the hosts that it boots from it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use clap::ValueEnum;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::accel::Choice;
use crate::cache::Cache;
use crate::chip::Chips;
use crate::kernel::{self, Flavour, Kernel};
use crate::process::TempDir;
use crate::qemu::Emulator;
use crate::rootfs::Rootfs;
use crate::setup::{both, Kernels};
use crate::switch::Switch;
use crate::vm::{Accel, Machine, Nic, Share, Vm};
use crate::{accel, initramfs, qemu, retry, rootfs, toolchain};

/// What the model does with a write to a ring's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// Takes the value.
    Value,
    /// Becomes 0, whatever was written.
    Zero,
    /// Nothing; the head becomes 0 when the queue is enabled.
    Ignore,
}

impl Head {
    /// Its name, as in the property `head-write`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Zero => "zero",
            Self::Ignore => "ignore",
        }
    }
}

/// Whose drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drivers {
    /// Mainline's, in C.
    C,
    /// This project's.
    Rust,
}

impl Drivers {
    /// Its name, as in the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Rust => "rust",
        }
    }

    /// The module of the PF driver, and its name.
    pub fn pf(self) -> &'static str {
        match self {
            Self::C => "ixgbe",
            Self::Rust => "ixgbe_rust",
        }
    }

    /// The module of the VF driver, and its name.
    pub fn vf(self) -> &'static str {
        match self {
            Self::C => "ixgbevf",
            Self::Rust => "ixgbevf_rust",
        }
    }
}

/// Everything that is built and fetched.
pub struct Lab {
    /// Where.
    pub cache: Cache,
    /// This project's folder.
    pub tree: PathBuf,
    /// Kernels, and the modules for them.
    kernels: Kernels,
    /// QEMU with the model.
    pub qemu: PathBuf,
    /// With which patches.
    pub emulator: Emulator,
    /// How processors are run, once it is asked.
    accel: OnceLock<Choice>,
    /// Root file system of the hosts.
    pub rootfs: Rootfs,
}

/// By what hosts were run: a figure means nothing without it. Empty as long as no host was.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// `fixes`, `fast` or `own`: see [`Emulator`].
    pub emulator: String,
    /// `kvm` or `tcg`.
    pub accel: String,
    /// Why this one.
    pub accel_why: String,
}

impl std::fmt::Display for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            emulator,
            accel,
            accel_why,
        } = self;
        write!(f, "emulator: {emulator}; processors: {accel} ({accel_why})")
    }
}

static FACTS: Mutex<Option<Facts>> = Mutex::new(None);

/// By what the hosts of this run were run, if there were any.
pub fn facts() -> Option<Facts> {
    FACTS.lock().clone()
}

/// The folder of this project: the one in which `cargo lab` was called, since cargo sets it.
///
/// # Errors
/// If the current folder is not in the project.
pub fn find_tree() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    for dir in here.ancestors() {
        if dir.join("tools/testing/lab/Cargo.toml").exists() {
            return Ok(dir.to_path_buf());
        }
    }
    bail!("{} is not inside the project's folder", here.display())
}

/// A host to boot.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// 1 or 2: gives its name, its MAC addresses and its place on the switch.
    pub number: u8,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What the model does with a write to a head.
    pub head: Head,
    /// Chips of its cards.
    pub chips: Chips,
    /// Another QEMU device instead of the model.
    pub device: Option<String>,
    /// Added to the device's properties.
    pub properties: String,
    /// IOMMU and other kernel options.
    pub cmdline: String,
    /// More cards of the tested kind.
    pub cards: u8,
    /// The host is killed after this time.
    pub deadline: Duration,
    /// Folder of this project's modules, shared as `rust`.
    pub modules: Option<PathBuf>,
    /// Folder with kernel and initramfs of an inner VM, shared as `inner`.
    pub inner: Option<PathBuf>,
    /// Folder of installed tests, shared as `selftests`.
    pub selftests: Option<PathBuf>,
    /// Socket at which something else than the switch holds the other end of the first card's cable.
    pub cable: Option<PathBuf>,
    /// Run the processor so, whatever this machine could do.
    pub accel: Option<Accel>,
    /// Another image of the root file system.
    pub root: Option<PathBuf>,
    /// Folder of Debian packages, shared as `packages` with a host that has its kernel's modules in
    /// its root file system, and nothing of the lab's.
    pub packages: Option<PathBuf>,
    /// More arguments for QEMU.
    pub qemu: Vec<String>,
}

impl HostSpec {
    /// A host as `cargo lab shell` boots it.
    pub fn new(number: u8) -> Self {
        Self {
            number,
            cpus: 2,
            memory_mib: 2048,
            head: Head::Value,
            chips: Chips::default(),
            device: None,
            properties: String::new(),
            cmdline: "intel_iommu=on iommu=nopt iommu.strict=1".into(),
            cards: 1,
            deadline: Duration::from_secs(24 * 3600),
            modules: None,
            inner: None,
            selftests: None,
            cable: None,
            accel: None,
            root: None,
            packages: None,
            qemu: vec![],
        }
    }
}

/// How often a host is booted before the lab gives up: on a loaded machine a kernel hangs now and then while it calibrates its
/// clocks, see [`crate::vm`].
const TRIES: u32 = 3;

/// MAC address of a host's card: locally administered, host and card in the last bytes.
pub fn mac(host: u8, card: u8) -> String {
    format!("02:82:59:00:{host:02x}:{card:02x}")
}

/// Number of the virtio card among a host's cards: the far end of the wire for tests that want one inside the host.
pub const PEER_CARD: u8 = 0xfe;

impl Lab {
    /// Gets and builds everything, these kernels and the modules for them included. Others can be had later.
    ///
    /// # Errors
    /// If a part cannot be had.
    pub fn open(flavours: &[Flavour]) -> Result<Self> {
        let (cache, tree) = (Cache::open()?, find_tree()?);
        toolchain::packages(&cache)?;
        let emulator = Emulator::wanted()?;
        let kernels = Kernels::new(&cache, &tree);
        // Kernels wait for the network and compile crates one after the other; QEMU takes the processors that are left.
        let ((rootfs, qemu), ()) = both(
            || {
                let rootfs = rootfs::ensure(&cache)?;
                initramfs::agent(&cache, &tree)?;
                Ok((rootfs, qemu::ensure(&cache, &tree, emulator)?))
            },
            || kernels.prepare(flavours),
        )?;
        Ok(Self {
            cache,
            tree,
            kernels,
            qemu,
            emulator,
            accel: OnceLock::new(),
            rootfs,
        })
    }

    /// How processors are run here, and why so.
    ///
    /// # Errors
    /// If `LAB_ACCEL` demands what this machine cannot do.
    pub fn accel(&self, kernel: &Kernel) -> Result<&Choice> {
        if let Some(choice) = self.accel.get() {
            return Ok(choice);
        }
        // Hosts are booted side by side: one of them asks.
        static ASKING: Mutex<()> = Mutex::new(());
        let _asking = ASKING.lock();
        if let Some(choice) = self.accel.get() {
            return Ok(choice);
        }
        let choice = accel::choose(|| self.probe(kernel))?;
        let facts = Facts {
            emulator: self.emulator.name().into(),
            accel: choice.accel.name().into(),
            accel_why: choice.why.clone(),
        };
        eprintln!("{facts}");
        *FACTS.lock() = Some(facts);
        Ok(self.accel.get_or_init(|| choice))
    }

    /// A machine by which to find out whether KVM works here.
    fn probe(&self, kernel: &Kernel) -> Result<Machine> {
        Ok(Machine {
            name: "probe".into(),
            qemu: self.qemu.clone(),
            firmware: self.rootfs.firmware.clone(),
            accel: Accel::Kvm,
            cpus: 1,
            memory_mib: 512,
            kernel: kernel.image.clone(),
            initrd: self.initrd(kernel)?,
            root: Some(self.rootfs.image.clone()),
            cmdline: kernel.flavour.cmdline().into(),
            shares: vec![],
            nics: vec![],
            extra: vec![],
            deadline: Duration::from_secs(20),
        })
    }

    /// The initramfs of hosts with this kernel.
    fn initrd(&self, kernel: &Kernel) -> Result<PathBuf> {
        initramfs::host(&self.cache, &self.tree, &kernel::early_modules(kernel)?)
    }

    /// Builds or gets a kernel.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn kernel(&self, flavour: Flavour) -> Result<Kernel> {
        self.kernels.kernel(flavour)
    }

    /// Builds this project's modules.
    ///
    /// # Errors
    /// If they cannot be built.
    pub fn modules(&self, kernel: &Kernel) -> Result<PathBuf> {
        self.kernels.modules(kernel)
    }

    /// Compiles the modules with what the kernel's maintainers ask for.
    ///
    /// # Errors
    /// If there is a warning.
    pub fn check(&self, kernel: &Kernel) -> Result<()> {
        self.kernels.check(kernel)
    }

    /// Boots a host on a switch; its sockets and logs go to a folder of its own in `dir`.
    ///
    /// # Errors
    /// If it does not come up, [`TRIES`] times.
    pub fn boot(
        &self,
        spec: &HostSpec,
        kernel: &Kernel,
        switch: &Switch,
        dir: &TempDir,
    ) -> Result<Vm> {
        let mut tries = 1;
        loop {
            let dir = dir.path().join(format!("h{}-{tries}", spec.number));
            match self.boot_once(spec, kernel, switch, &dir) {
                Err(e) if tries < TRIES && retry::may_repeat(&e) => {
                    retry::note(&format!("h{}", spec.number), tries, &e);
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    fn boot_once(
        &self,
        spec: &HostSpec,
        kernel: &Kernel,
        switch: &Switch,
        dir: &Path,
    ) -> Result<Vm> {
        let name = format!("h{}", spec.number);
        std::fs::create_dir_all(dir)?;
        let mut nics = Vec::new();
        let mut cards = Vec::new();
        for card in 0..spec.cards {
            let socket = match &spec.cable {
                Some(socket) if card == 0 => socket.clone(),
                _ => {
                    let socket = dir.join(format!("net{card}"));
                    cards.push(switch.add_card(&format!("{name}-{card}"), &socket)?.0);
                    socket
                }
            };
            let mut device = spec.device.clone().unwrap_or_else(|| {
                let (head, chip) = (spec.head.name(), spec.chips.of(card).name());
                format!("ixgbe,head-write={head},chip={chip}")
            });
            if !spec.properties.is_empty() {
                device += ",";
                device += &spec.properties;
            }
            nics.push(Nic {
                device,
                mac: mac(spec.number, card),
                socket,
                behind_root_port: true,
            });
        }
        let socket = dir.join("peer");
        switch.add_card(&format!("{name}-peer"), &socket)?;
        nics.push(Nic {
            // No offloads: every checksum that the peer takes or makes is then real.
            device: "virtio-net-pci,csum=off,guest_csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,\
                     guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,mrg_rxbuf=on,host_mtu=9000"
                .replace(' ', ""),
            mac: mac(spec.number, PEER_CARD),
            socket,
            behind_root_port: false,
        });
        let mut shares = match &spec.packages {
            Some(packages) => vec![share("packages", packages, false)],
            None => vec![
                share("modules", &kernel.modules, false),
                share("linux", &kernel.source, false),
                share("tree", &self.tree, false),
            ],
        };
        shares.extend(spec.inner.iter().map(|i| share("inner", i, false)));
        shares.extend(spec.modules.iter().map(|m| share("rust", m, false)));
        shares.extend(spec.selftests.iter().map(|p| share("selftests", p, false)));
        let machine = Machine {
            name: name.clone(),
            qemu: self.qemu.clone(),
            firmware: self.rootfs.firmware.clone(),
            accel: match spec.accel {
                Some(accel) => accel,
                None => self.accel(kernel)?.accel,
            },
            cpus: spec.cpus,
            memory_mib: spec.memory_mib,
            kernel: kernel.image.clone(),
            initrd: self.initrd(kernel)?,
            root: Some(spec.root.as_ref().unwrap_or(&self.rootfs.image).clone()),
            cmdline: format!("{} {}", spec.cmdline, kernel.flavour.cmdline()),
            shares,
            nics,
            extra: ["-device", "intel-iommu,intremap=on,caching-mode=on"]
                .map(String::from)
                .into_iter()
                .chain(spec.qemu.iter().cloned())
                .collect(),
            deadline: spec.deadline,
        };
        let mut vm = machine
            .boot(dir)
            .with_context(|| format!("booting {name}"))?;
        vm.cards = cards;
        Ok(vm)
    }
}

fn share(tag: &str, path: &Path, writable: bool) -> Share {
    Share {
        tag: tag.into(),
        path: path.to_path_buf(),
        writable,
    }
}
