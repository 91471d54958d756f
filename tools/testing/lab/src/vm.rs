// SPDX-License-Identifier: GPL-2.0
//! Boots a virtual machine under QEMU.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use lab_agent::{PORT, STATION_PORT};

use crate::cache::tail;
use crate::guest::{Guest, Up};
use crate::process::{command, Child};
use crate::qmp::Qmp;
use crate::switch::PortId;
use crate::tsc;

/// A QEMU, of this machine or in an emulated host, with nothing that was not asked for.
///
/// `-nodefaults`: SeaBIOS waits 32 s for the empty CD-ROM of a default q35.
pub const BARE: &[&str] = &[
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-vga",
    "none",
    "-no-reboot",
    "-monitor",
    "none",
];

/// How the processor is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// Hardware virtualisation.
    Kvm,
    /// Emulation, a thread per virtual CPU.
    Tcg,
    /// Emulation by one thread, with a clock that counts instructions: a nanosecond each.
    Counted,
}

impl Accel {
    fn args(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            // A processor with AMD's virtualisation, which TCG emulates with nested paging: kvm-amd works in the machine.
            // What invtsc is for: tools/testing/qemu/patches/tcg-invariant-tsc.patch.
            Self::Tcg => &[
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "EPYC-Rome,+svm,+npt,+invtsc",
            ],
            Self::Counted => &[
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0",
                "-cpu",
                "EPYC-Rome,+invtsc",
            ],
        }
    }

    /// The rate of the machine's time stamp counter, where its kernel is to be told.
    fn tsc_khz(self) -> Option<u64> {
        match self {
            Self::Kvm => None,
            Self::Tcg => tsc::host_khz(),
            Self::Counted => Some(tsc::COUNTED_KHZ),
        }
    }

    /// Its name, as in `LAB_ACCEL`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
            Self::Counted => "counted",
        }
    }

    fn machine(self) -> &'static str {
        match self {
            Self::Kvm => "q35,kernel-irqchip=split",
            Self::Tcg | Self::Counted => "q35,kernel-irqchip=off",
        }
    }
}

/// A folder of this machine that the virtual one sees at `/lab/TAG`.
#[derive(Clone, Debug)]
pub struct Share {
    /// Its name.
    pub tag: String,
    /// The folder.
    pub path: PathBuf,
    /// Whether the virtual machine may write to it.
    pub writable: bool,
}

/// A network card.
#[derive(Clone, Debug)]
pub struct Nic {
    /// QEMU's name of the device with its properties, without netdev and MAC: `ixgbe,head-write=zero`.
    pub device: String,
    /// Its MAC address as text.
    pub mac: String,
    /// Socket of the switch's port.
    pub socket: PathBuf,
    /// Put it behind a PCIe root port, as SR-IOV needs.
    pub behind_root_port: bool,
}

/// A machine to boot.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Host name.
    pub name: String,
    /// The QEMU program.
    pub qemu: PathBuf,
    /// Folder of its firmware.
    pub firmware: PathBuf,
    /// How to run the processor.
    pub accel: Accel,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// `vmlinux` with PVH, or a bzImage.
    pub kernel: PathBuf,
    /// Initial RAM file system with the agent as `/init`.
    pub initrd: PathBuf,
    /// Image of the root file system.
    pub root: Option<PathBuf>,
    /// Added to the kernel's command line.
    pub cmdline: String,
    /// Shared folders.
    pub shares: Vec<Share>,
    /// Network cards.
    pub nics: Vec<Nic>,
    /// More arguments for QEMU.
    pub extra: Vec<String>,
    /// The machine is killed after this time.
    pub deadline: Duration,
}

/// A machine that runs; it is killed on drop.
pub struct Vm {
    /// Its agent.
    pub guest: Guest,
    /// The port on which its tests ask the station.
    pub station: UnixStream,
    /// Log of its serial console.
    pub console: PathBuf,
    /// QEMU's own messages.
    pub messages: PathBuf,
    /// QMP socket.
    pub qmp: PathBuf,
    /// Virtual CPUs.
    cpus: u32,
    /// Ports of its cards on the switch.
    pub cards: Vec<PortId>,
    child: Child,
    /// Kept for its drop, which ends the watchdog.
    _watchdog: Sender<()>,
}

fn accept(listener: &UnixListener, child: &mut Child, messages: &Path) -> Result<UnixStream> {
    listener.set_nonblocking(true)?;
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match listener.accept() {
            Ok((s, _)) => {
                s.set_nonblocking(false)?;
                return Ok(s);
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
        if let Some(status) = child.try_wait()? {
            bail!("QEMU did not start ({status}):\n{}", tail(messages, 20));
        }
        if Instant::now() > end {
            bail!(
                "QEMU did not connect its agent's port:\n{}",
                tail(messages, 20)
            );
        }
        thread::sleep(Duration::from_millis(5));
    }
}

impl Machine {
    fn arguments(&self, dir: &Path) -> Vec<String> {
        let mut a: Vec<String> = Vec::new();
        let mut add = |args: &[&str]| a.extend(args.iter().map(ToString::to_string));
        let at = |file: &str| dir.join(file).display().to_string();
        add(BARE);
        add(&["-name", &self.name, "-M", self.accel.machine()]);
        add(self.accel.args());
        add(&[
            "-smp",
            &self.cpus.to_string(),
            "-m",
            &self.memory_mib.to_string(),
        ]);
        add(&["-L", &self.firmware.display().to_string()]);
        add(&[
            "-kernel",
            &self.kernel.display().to_string(),
            "-initrd",
            &self.initrd.display().to_string(),
        ]);
        // no_timer_check: on a loaded machine the kernel's test of the timer interrupt fails now and then, and it panics.
        let mut cmdline = format!(
            "console=ttyS0 loglevel=5 panic=-1 no_timer_check {PATIENCE} lab.name={}",
            self.name
        );
        if let Some(khz) = self.accel.tsc_khz() {
            cmdline += &format!(" tsc_early_khz={khz}");
        }
        if let Some(root) = &self.root {
            cmdline += " lab.root=/dev/vda";
            add(&[
                "-drive",
                &format!(
                    "if=none,id=root,format=raw,readonly=on,file.locking=off,file={}",
                    root.display()
                ),
            ]);
            add(&["-device", "virtio-blk-pci,drive=root"]);
        }
        for s in &self.shares {
            let (mode, suffix) = if s.writable {
                ("off", ":rw")
            } else {
                ("on", "")
            };
            cmdline += &format!(" lab.share={}{suffix}", s.tag);
            add(&[
                "-fsdev",
                &format!(
                    "local,id={0},security_model=none,multidevs=remap,readonly={mode},path={1}",
                    s.tag,
                    s.path.display()
                ),
            ]);
            add(&[
                "-device",
                &format!("virtio-9p-pci,fsdev={0},mount_tag={0}", s.tag),
            ]);
        }
        if !self.cmdline.is_empty() {
            cmdline += " ";
            cmdline += &self.cmdline;
        }
        add(&["-append", &cmdline]);
        add(&["-serial", &format!("file:{}", at("console"))]);
        add(&["-qmp", &format!("unix:{},server=on,wait=off", at("qmp"))]);
        add(&["-device", "virtio-serial-pci"]);
        for (id, port) in [("agent", PORT), ("station", STATION_PORT)] {
            add(&[
                "-chardev",
                &format!("socket,id={id},path={},server=off", at(id)),
            ]);
            add(&[
                "-device",
                &format!("virtserialport,chardev={id},name={port}"),
            ]);
        }
        for (i, nic) in self.nics.iter().enumerate() {
            add(&[
                "-netdev",
                &format!(
                    "stream,id=n{i},server=off,addr.type=unix,addr.path={}",
                    nic.socket.display()
                ),
            ]);
            let mut device = format!("{},id=nic{i},netdev=n{i},mac={}", nic.device, nic.mac);
            if nic.behind_root_port {
                add(&[
                    "-device",
                    &format!(
                        "pcie-root-port,id=rp{i},chassis={0},slot={0},x-speed=5",
                        i + 1
                    ),
                ]);
                device += &format!(",bus=rp{i}");
            }
            add(&["-device", &device]);
        }
        a.extend(self.extra.iter().cloned());
        a
    }

    /// Boots the machine and waits for its agent; sockets and logs go to `dir`, which must exist.
    ///
    /// # Errors
    /// If QEMU does not start, or the agent is not up in time; the message has the console's last lines.
    pub fn boot(&self, dir: &Path) -> Result<Vm> {
        let (console, messages) = (dir.join("console"), dir.join("qemu.log"));
        let agent = UnixListener::bind(dir.join("agent")).context("listening for the agent")?;
        let station =
            UnixListener::bind(dir.join("station")).context("listening for the station's port")?;
        let mut cmd = command(&self.qemu);
        cmd.args(self.arguments(dir))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&messages)?);
        let mut child = Child::spawn(cmd)?;
        let agent = accept(&agent, &mut child, &messages)?;
        let station = accept(&station, &mut child, &messages)?;
        let watchdog = watchdog(child.id(), self.deadline);
        let guest = Guest::new(agent)?;
        if let Err(why) = self.wait_up(&guest, &console) {
            bail!(
                "{} did not come up: {why}; its console:\n{}\nQEMU says:\n{}",
                self.name,
                tail(&console, 40),
                tail(&messages, 10)
            );
        }
        Ok(Vm {
            guest,
            station,
            console,
            messages,
            qmp: dir.join("qmp"),
            cpus: self.cpus,
            cards: Vec::new(),
            child,
            _watchdog: watchdog,
        })
    }
}

impl Machine {
    fn wait_up(&self, guest: &Guest, console: &Path) -> Result<(), String> {
        // The debug kernel needs a minute or so under emulation.
        let limit = self.deadline.min(Duration::from_secs(240));
        let start = Instant::now();
        while start.elapsed() < limit {
            match guest.wait_up(Duration::from_millis(500)) {
                Up::Yes => return Ok(()),
                Up::Gone => return Err("QEMU ended".into()),
                Up::NotYet => {}
            }
            let text = fs::read(console).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            if let Some(sign) = SIGNS_OF_A_HANG.iter().find(|s| text.contains(**s)) {
                return Err(format!("\"{sign}\""));
            }
        }
        Err(format!("it took more than {} s", limit.as_secs()))
    }
}

/// The kernel's watchdogs against what stands still, in seconds: a minute where they have 20 to 30. A machine that shares its
/// processors with others is left without any for that long now and then, and would be reported for it. What stands still by
/// a fault of a driver does so for good, and is reported after the minute: its loops end after milliseconds, or never.
/// (`rcu_jiffies_till_stall_check()` in kernel/rcu/tree_stall.h, kernel/watchdog.c, which takes twice its number, kernel/workqueue.c)
pub(crate) const PATIENCE: &str =
    "rcupdate.rcu_cpu_stall_timeout=60 watchdog_thresh=30 workqueue.watchdog_thresh=60";

/// What a kernel prints that will never come up. The first two happen where this machine is so loaded that the emulated timer
/// interrupt is late while the kernel calibrates its clocks by it.
const SIGNS_OF_A_HANG: &[&str] = &[
    "detected stalls on CPUs",
    "timer doesn't work",
    "Kernel panic",
    "Attempted to kill init",
];

/// Kills the process group of `pid` at the deadline, unless the sender is dropped before.
fn watchdog(pid: u32, deadline: Duration) -> Sender<()> {
    let (tx, rx) = channel::<()>();
    thread::spawn(move || {
        if rx.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout) {
            eprintln!(
                "a machine was killed: its deadline of {} s is over",
                deadline.as_secs()
            );
            if let Ok(pid) = i32::try_from(pid) {
                let _ = nix::sys::signal::killpg(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    });
    tx
}

impl Vm {
    /// What its processors and their interrupt controllers are at: for a machine that stands still.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn processor_state(&self) -> Result<String> {
        let mut commands = vec!["info registers -a".to_owned()];
        commands.extend((0..self.cpus).map(|i| format!("info lapic {i}")));
        let mut qmp = Qmp::connect_here(&self.qmp)?;
        let mut text = String::new();
        for c in commands {
            let _ = writeln!(text, "== {c}\n{}", qmp.human(&c)?);
        }
        Ok(text)
    }

    /// Powers the machine off, by force where it does not within 20 s.
    ///
    /// # Errors
    /// Those of waiting for QEMU.
    pub fn shut_down(mut self) -> Result<()> {
        if self.guest.power_off().is_ok() {
            self.child.wait_for(Duration::from_secs(20))?;
        }
        Ok(())
    }

    /// Whether QEMU still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(accel: Accel) -> Vec<String> {
        let machine = Machine {
            name: "h1".into(),
            qemu: "qemu".into(),
            firmware: "fw".into(),
            accel,
            cpus: 2,
            memory_mib: 512,
            kernel: "vmlinux".into(),
            initrd: "initrd".into(),
            root: None,
            cmdline: "intel_iommu=on".into(),
            shares: vec![],
            nics: vec![Nic {
                device: "ixgbe".into(),
                mac: "02:00:00:00:00:01".into(),
                socket: "net0".into(),
                behind_root_port: true,
            }],
            extra: vec![],
            deadline: Duration::from_secs(1),
        };
        machine.arguments(Path::new("/run"))
    }

    fn value<'a>(arguments: &'a [String], option: &str) -> &'a str {
        let at = arguments.iter().position(|a| a == option);
        at.and_then(|i| arguments.get(i + 1))
            .map_or("", String::as_str)
    }

    /// With a virtual IOMMU that remaps interrupts, QEMU refuses an interrupt controller that is
    /// KVM's as a whole.
    #[test]
    fn kvm_has_the_hosts_processor_and_half_its_interrupt_controller() {
        let a = arguments(Accel::Kvm);
        assert_eq!(value(&a, "-accel"), "kvm");
        assert_eq!(value(&a, "-cpu"), "host");
        assert_eq!(value(&a, "-M"), "q35,kernel-irqchip=split");
        assert!(!a.iter().any(|a| a.contains("tcg") || a.contains("icount")));
    }

    #[test]
    fn emulated_processors_can_run_vms() {
        let a = arguments(Accel::Tcg);
        assert_eq!(value(&a, "-accel"), "tcg,thread=multi");
        assert!(value(&a, "-cpu").contains("+svm,+npt"));
        assert_eq!(value(&a, "-M"), "q35,kernel-irqchip=off");
    }

    #[test]
    fn emulated_kernels_are_told_the_rate_of_their_counter() {
        let told = |accel| value(&arguments(accel), "-append").contains(" tsc_early_khz=");
        assert!(told(Accel::Counted));
        assert_eq!(told(Accel::Tcg), tsc::host_khz().is_some());
        assert!(!told(Accel::Kvm), "kvm-clock tells it");
    }

    #[test]
    fn a_card_is_alone_behind_its_port() {
        let a = arguments(Accel::Kvm);
        assert!(a.iter().any(|a| a.starts_with("pcie-root-port,id=rp0,")));
        assert!(a
            .iter()
            .any(|a| a == "ixgbe,id=nic0,netdev=n0,mac=02:00:00:00:00:01,bus=rp0"));
        assert!(value(&a, "-append").ends_with(" intel_iommu=on"));
    }
}
