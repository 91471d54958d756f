// SPDX-License-Identifier: GPL-2.0
//! `cargo lab bench datapath`: what a frame costs the guest's kernel.
//!
//! One machine with one processor boots under emulation with a clock that counts instructions; a plugin of QEMU counts what
//! the kernel executes ([`super::count`]), and the far end of the cable sends the next burst when the machine has nothing
//! left to do ([`super::peer`]). So neither the load of this machine nor its speed is in the figures. The C drivers run
//! first, then ours, in the same machine, with the same work. `Documentation/networking/device_drivers/ethernet/intel/ixgbe-performance.rst` has
//! the method in full.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use clap::{Args, ValueEnum};
use lab_agent::pattern::ECHO_PORT;
use lab_agent::Run;
use libixgbe::{mbx_ext, regs};
use serde::Serialize;

use super::count::{Counter, Symbol, Symbols};
use super::peer::{self, Peer, Tcp};
use super::write_json;
use crate::guest::Command as Started;
use crate::kernel::{Flavour, Kernel};
use crate::lab::{Drivers, HostSpec, Lab};
use crate::process::{command, run_logged, TempDir};
use crate::qemu;
use crate::switch::Switch;
use crate::vm::{Accel, Vm};

/// Options of `cargo lab bench datapath`.
#[derive(Args, Debug)]
pub struct DatapathArgs {
    /// Write the results to this file, or to standard output.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Measure only the rows with this in their name, as in `pf/udp_rr`.
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// How often each row is measured; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    samples: u32,
    /// Also show so many functions of each row, those that cost most.
    #[arg(long, default_value_t = 0)]
    top: usize,
}

/// Frames of a burst of short frames: two NAPI budgets, which one write of the peer brings.
const BURST: usize = 128;
/// Full frames of a burst of TCP: what fits into one buffer of a unix socket, so that it arrives as one.
const TCP_BURST: usize = 20;
/// Steps of a sample.
const STEPS: u32 = 60;
/// Steps before the first sample.
const WARM_UP: u32 = 20;
/// Frames of the two runs of pktgen whose difference is a sample: both fit into a ring, so that pktgen never waits.
const PKTGEN: (u64, u64) = (32, 224);
/// How often each runs.
const PKTGEN_ROUNDS: u64 = 25;

/// MAC address that the PF gives its VF.
const VF_MAC: [u8; 6] = [0x02, 0x82, 0x59, 0, 0x10, 1];
/// Address of the interface that is measured.
const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// What is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Function {
    Pf,
    Vf,
}

/// What the machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
enum Work {
    /// pktgen sends frames of 64 bytes, one doorbell each.
    #[serde(rename = "pktgen_tx_64")]
    #[value(name = "pktgen_tx_64")]
    PktgenTx,
    /// An XDP program drops frames of 64 bytes.
    #[serde(rename = "xdp_drop_64")]
    #[value(name = "xdp_drop_64")]
    XdpDrop,
    /// The stack drops frames of 64 bytes that no protocol wants.
    #[serde(rename = "stack_drop_64")]
    #[value(name = "stack_drop_64")]
    StackDrop,
    /// The machine sends a TCP stream, segmented by the device.
    TcpTso,
    /// The machine receives a TCP stream, merged by GRO.
    TcpGro,
    /// The machine answers a UDP datagram of 64 bytes: the figures are for both frames.
    UdpRr,
}

impl Work {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|v| v.get_name().to_owned())
            .unwrap_or_default()
    }
}

fn row_name(function: Function, work: Work) -> String {
    let function = match function {
        Function::Pf => "pf",
        Function::Vf => "vf",
    };
    format!("{function}/{}", work.name())
}

/// What was counted over some frames.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    frames: u64,
    kernel: u64,
    driver: u64,
    mmio: u64,
}

/// Figures of one row for one set of drivers, per frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Figures {
    /// Instructions of the kernel with its modules.
    instructions: f64,
    /// Those of them in the driver's module.
    in_driver: f64,
    /// Accesses of the device's registers.
    mmio: f64,
    /// Largest less smallest sample, in percent of the median.
    spread_percent: f64,
}

#[derive(Serialize)]
struct Row {
    function: Function,
    work: Work,
    c: Figures,
    rust: Figures,
    /// Instructions, Rust by C.
    ratio: f64,
}

/// Memory that an open interface holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Memory {
    /// All of it.
    total: i64,
    /// Of it from the slab allocator.
    slab: i64,
}

#[derive(Serialize)]
struct MemoryRow {
    function: Function,
    c: Memory,
    rust: Memory,
}

/// What the hook that marks pages for live migration costs our VF driver, in instructions of the kernel per frame of 64
/// bytes that the stack drops.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Marking {
    off: f64,
    on: f64,
    /// What marking adds, in percent.
    percent: f64,
}

#[derive(Serialize)]
struct Results {
    rows: Vec<Row>,
    memory: Vec<MemoryRow>,
    marking: Option<Marking>,
}

/// Runs it.
///
/// # Errors
/// If something could not be measured.
pub fn datapath(args: &DatapathArgs) -> Result<()> {
    let lab = Lab::open()?;
    let kernel = lab.kernel(Flavour::Release)?;
    let modules = lab.modules(&kernel)?;
    let dir = TempDir::new()?;
    let mut bed = Bed::boot(&lab, &kernel, modules, &dir)?;
    let c = bed.measure(Drivers::C, args)?;
    let rust = bed.measure(Drivers::Rust, args)?;
    bed.vm.shut_down()?;
    let results = Results {
        rows: c
            .rows
            .iter()
            .zip(&rust.rows)
            .map(|((function, work, c), (_, _, rust))| Row {
                function: *function,
                work: *work,
                c: *c,
                rust: *rust,
                ratio: rust.instructions / c.instructions,
            })
            .collect(),
        memory: c
            .memory
            .iter()
            .zip(&rust.memory)
            .map(|((function, c), (_, rust))| MemoryRow {
                function: *function,
                c: *c,
                rust: *rust,
            })
            .collect(),
        marking: rust.marking,
    };
    if let Some(path) = &args.json {
        write_json(path, &results)?;
    }
    if args.json.as_deref() != Some(Path::new("-")) {
        print!("{}", table(&results));
    }
    Ok(())
}

/// What was measured with one set of drivers.
#[derive(Default)]
struct Measured {
    rows: Vec<(Function, Work, Figures)>,
    memory: Vec<(Function, Memory)>,
    marking: Option<Marking>,
}

/// An interface of the machine.
#[derive(Clone)]
struct Interface {
    name: String,
    mac: [u8; 6],
}

/// The machine and everything around it.
struct Bed {
    vm: Vm,
    counter: Counter,
    peer: Peer,
    /// Functions of the kernel without modules, as text.
    system_map: String,
    symbols: Symbols,
}

impl Bed {
    fn boot(lab: &Lab, kernel: &Kernel, modules: PathBuf, dir: &TempDir) -> Result<Self> {
        let plugin = qemu::plugin(&lab.cache, &lab.tree)?;
        let program = xdp_program(lab)?;
        let (cable, socket) = (dir.path().join("cable"), dir.path().join("count"));
        let listener: UnixListener = Peer::listen(&cable)?;
        let mut spec = HostSpec::new(1);
        spec.cpus = 1;
        spec.memory_mib = 1024;
        spec.accel = Some(Accel::Counted);
        spec.cable = Some(cable);
        spec.modules = Some(modules);
        // What an IOMMU costs is not the driver's; a VF in a virtual machine has none.
        spec.cmdline = "intel_iommu=off ipv6.disable=1 idle=halt".into();
        spec.qemu = vec![
            "-plugin".into(),
            format!("{},socket={}", plugin.display(), socket.display()),
        ];
        spec.deadline = Duration::from_secs(3600);
        eprintln!("booting the machine");
        let vm = lab.boot(&spec, kernel, &Switch::new(None), dir)?;
        let bed = Self {
            peer: Peer::accept(&listener)?,
            counter: Counter::connect(&socket)?,
            system_map: std::fs::read_to_string(kernel.build.join("System.map"))
                .context("reading System.map")?,
            symbols: Symbols::default(),
            vm,
        };
        let octal = program.iter().fold(String::new(), |mut s, b| {
            let _ = write!(s, "\\{b:03o}");
            s
        });
        bed.sh(&format!(
            "printf '{octal}' >/tmp/xdp_drop.o; modprobe pktgen"
        ))?;
        Ok(bed)
    }

    fn sh(&self, script: &str) -> Result<String> {
        self.vm
            .guest
            .sh(&format!("set -e; {script}"), Duration::from_secs(180))?
            .ok()
            .with_context(|| format!("in the machine: {script:.200}"))
    }

    /// Measures with one set of drivers, which are loaded before and unloaded after.
    fn measure(&mut self, drivers: Drivers, args: &DatapathArgs) -> Result<Measured> {
        let load = |module: &str| match drivers {
            Drivers::C => format!("modprobe {module}"),
            Drivers::Rust => format!("insmod /lab/rust/{module}.ko"),
        };
        self.sh(&load("ixgbe"))?;
        let mut measured = Measured::default();
        let pf = self.interface("ixgbe")?;
        self.measure_function(drivers, Function::Pf, &pf, args, &mut measured)?;
        let (dev, mac) = (&pf.name, colons(VF_MAC));
        self.sh(&format!(
            "ip link set {dev} up; echo 1 >/sys/class/net/{dev}/device/sriov_numvfs; ip link set {dev} vf 0 mac {mac}"
        ))?;
        self.sh(&load("ixgbevf"))?;
        let vf = self.interface("ixgbevf")?;
        self.measure_function(drivers, Function::Vf, &vf, args, &mut measured)?;
        let chosen = args
            .only
            .as_deref()
            .is_none_or(|o| "vf/marking".contains(o));
        if drivers == Drivers::Rust && chosen {
            measured.marking = Some(self.marking(&pf, &vf, args.samples)?);
        }
        self.sh(&format!(
            "rmmod ixgbevf; echo 0 >/sys/class/net/{dev}/device/sriov_numvfs; rmmod ixgbe"
        ))?;
        Ok(measured)
    }

    /// The interface of a driver's first device.
    fn interface(&self, driver: &str) -> Result<Interface> {
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
    fn up(&mut self, dev: &Interface) -> Result<()> {
        let (name, peer) = (&dev.name, colons(peer::MAC));
        self.sh(&format!(
            "ip link set {name} up; ip addr replace {V4}/24 dev {name}; \
             ip route change 192.0.2.0/24 dev {name} src {V4} rto_min 30s; echo 0 >/proc/sys/net/ipv4/tcp_early_retrans; \
             echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore; \
             ip neigh replace {} lladdr {peer} dev {name} nud permanent; \
             for i in $(seq 200); do [ \"$(cat /sys/class/net/{name}/carrier)\" = 1 ] && break; sleep 0.1; done; \
             [ \"$(cat /sys/class/net/{name}/carrier)\" = 1 ]; sleep 2",
            peer::V4
        ))?;
        Ok(())
    }

    fn measure_function(
        &mut self,
        drivers: Drivers,
        function: Function,
        dev: &Interface,
        args: &DatapathArgs,
        measured: &mut Measured,
    ) -> Result<()> {
        let modules = self.sh("grep '\\[' /proc/kallsyms")?;
        self.symbols = Symbols::parse(&format!("{}{modules}", self.system_map));
        let works: Vec<Work> = Work::value_variants()
            .iter()
            .copied()
            .filter(|w| {
                let name = row_name(function, *w);
                args.only.as_deref().is_none_or(|o| name.contains(o))
            })
            .collect();
        if args.only.is_none() {
            measured.memory.push((function, self.memory(dev)?));
        }
        if works.is_empty() {
            return Ok(());
        }
        self.up(dev)?;
        for work in works {
            let name = row_name(function, work);
            eprint!("{} {name}: ", drivers.name());
            let (figures, functions) = self
                .row(dev, work, args.samples)
                .with_context(|| format!("{} {name}", drivers.name()))?;
            eprintln!(
                "{:.1} instructions a frame, {:.1} in the driver, spread {:.2} %",
                figures.instructions, figures.in_driver, figures.spread_percent
            );
            eprint!("{}", top(&functions, args.top));
            measured.rows.push((function, work, figures));
        }
        self.sh(&format!(
            "ip link set {0} down; ip addr flush dev {0}",
            dev.name
        ))?;
        Ok(())
    }

    /// Measures what the marking hook costs. The message that switches it on is written into the VF's mailbox past the PF
    /// driver, which sends it only when a VM that has the VF migrates.
    fn marking(&mut self, pf: &Interface, vf: &Interface, samples: u32) -> Result<Marking> {
        self.up(vf)?;
        let cost = |bed: &mut Self, head: u32| -> Result<f64> {
            bed.sh(&mailbox_script(&pf.name, head))?;
            bed.counter.settle()?;
            Ok(bed.row(vf, Work::StackDrop, samples)?.0.instructions)
        };
        let marked =
            "ethtool -S DEV | sed -n 's/.*migration_frames_marked: //p'".replace("DEV", &vf.name);
        let before = self.sh(&marked)?;
        let off = cost(self, mbx_ext::PF_STOP_MARKING)?;
        ensure!(
            self.sh(&marked)? == before,
            "frames are marked while it is off"
        );
        let on = cost(self, mbx_ext::PF_START_MARKING)?;
        ensure!(self.sh(&marked)? != before, "no frame was marked");
        self.sh(&mailbox_script(&pf.name, mbx_ext::PF_STOP_MARKING))?;
        self.sh(&format!("ip link set {} down", vf.name))?;
        let marking = Marking {
            off,
            on,
            percent: (on - off) / off * 100.0,
        };
        eprintln!("rust vf/marking: {off:.1} instructions a frame off, {on:.1} on");
        Ok(marking)
    }

    /// Measures one row; also gives what each function cost per frame in the last sample.
    fn row(
        &mut self,
        dev: &Interface,
        work: Work,
        samples: u32,
    ) -> Result<(Figures, BTreeMap<Symbol, f64>)> {
        let mut load = Load::start(self, dev, work)?;
        let mut taken = Vec::new();
        let mut functions = BTreeMap::new();
        for _ in 0..WARM_UP {
            load.step(self, dev)?;
        }
        for _ in 0..samples {
            let (sample, by_function) = load.sample(self, dev)?;
            ensure!(sample.frames > 0, "no frame went through");
            let per_frame = |n: u64| n as f64 / sample.frames as f64;
            functions = by_function
                .into_iter()
                .map(|(s, n)| (s, per_frame(n)))
                .collect();
            taken.push(sample);
        }
        load.stop(self, dev)?;
        Ok((figures(&taken)?, functions))
    }

    /// Counts what is executed from now until the machine is idle after `what`.
    fn counted(
        &mut self,
        what: impl FnOnce(&mut Self) -> Result<u64>,
    ) -> Result<(Sample, BTreeMap<Symbol, u64>)> {
        self.counter.settle()?;
        self.counter.reset()?;
        let frames = what(self)?;
        self.counter.settle()?;
        let totals = self.counter.totals()?;
        let functions = self.symbols.by_function(&self.counter.histogram()?);
        let driver = functions
            .iter()
            .filter(|(s, _)| s.module == "ixgbe" || s.module == "ixgbevf")
            .map(|(_, n)| n)
            .sum();
        let sample = Sample {
            frames,
            kernel: totals.kernel,
            driver,
            mmio: totals.mmio,
        };
        Ok((sample, functions))
    }

    /// Sends a burst and waits until the machine is idle again.
    fn burst(&mut self, frames: &[Vec<u8>]) -> Result<()> {
        let before = self.counter.blocks()?;
        self.peer.send(frames)?;
        self.counter.wait_busy(before)?;
        self.counter.settle()
    }

    /// Memory that the interface holds while it is open: the median of what is missing over some rounds.
    fn memory(&mut self, dev: &Interface) -> Result<Memory> {
        const ROUNDS: usize = 7;
        let read =
            "echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory; sleep 0.2; \
                    grep -E '^(MemFree|Slab):' /proc/meminfo";
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let name = &dev.name;
            let closed = self.sh(&format!("ip link set {name} down; sleep 0.3; {read}"))?;
            self.up(dev)?;
            let open = self.sh(read)?;
            let (closed, open) = (meminfo(&closed)?, meminfo(&open)?);
            rounds.push(Memory {
                total: closed.total - open.total,
                slab: open.slab - closed.slab,
            });
        }
        self.sh(&format!("ip link set {} down", dev.name))?;
        let median = |of: fn(&Memory) -> i64| {
            let mut all: Vec<i64> = rounds.iter().map(of).collect();
            all.sort_unstable();
            all.get(ROUNDS / 2).copied().unwrap_or_default()
        };
        Ok(Memory {
            total: median(|m| m.total),
            slab: median(|m| m.slab),
        })
    }
}

/// A kind of work under way.
struct Load {
    work: Work,
    tcp: Option<Tcp>,
    /// A program in the machine.
    program: Option<Started>,
}

impl Load {
    fn start(bed: &mut Bed, dev: &Interface, work: Work) -> Result<Self> {
        let name = &dev.name;
        let mut load = Self {
            work,
            tcp: None,
            program: None,
        };
        let target = format!("TCP:{}:{}", peer::V4, peer::PORT);
        match work {
            Work::PktgenTx => {
                let set = |what: &str| format!("echo '{what}' >/proc/net/pktgen/{name}; ");
                let settings = [
                    "pkt_size 60",
                    "clone_skb 0",
                    "delay 0",
                    &format!("dst {}", peer::V4),
                    &format!("dst_mac {}", colons(peer::MAC)),
                ]
                .map(set)
                .concat();
                bed.sh(&format!(
                    "echo rem_device_all >/proc/net/pktgen/kpktgend_0; \
                     echo 'add_device {name}' >/proc/net/pktgen/kpktgend_0; {settings}"
                ))?;
            }
            Work::XdpDrop => {
                bed.sh(&format!(
                    "ip link set {name} xdp obj /tmp/xdp_drop.o sec xdp"
                ))?;
                bed.up(dev)?;
            }
            Work::StackDrop => {}
            Work::TcpTso => load.connect(bed, &["python3", "-c", &sender()])?,
            Work::TcpGro => {
                load.connect(bed, &["socat", "-u", "-b65536", &target, "OPEN:/dev/null"])?
            }
            Work::UdpRr => {
                load.program = Some(run(bed, &["/lab-agent", "udp-echo"])?);
                let request = [peer::datagram((dev.mac, V4), (9, ECHO_PORT))?];
                let answered = (0..20)
                    .any(|_| bed.peer.send(&request).is_ok() && bed.peer.wait_frame().is_some());
                ensure!(answered, "the machine does not answer");
                bed.counter.settle()?;
            }
        }
        Ok(load)
    }

    fn connect(&mut self, bed: &mut Bed, program: &[&str]) -> Result<()> {
        let mut tcp = Tcp::listen()?;
        bed.peer.received();
        self.program = Some(run(bed, program)?);
        // Python takes its time to start on a processor that counts.
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let (answer, _) = tcp.step(bed.peer.received_all(), 0)?;
            if tcp.is_connected() {
                self.tcp = Some(tcp);
                return bed.peer.send(&answer);
            }
            bed.peer.send(&answer)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the machine does not connect")
    }

    /// One burst or exchange; gives how many frames it was.
    fn step(&mut self, bed: &mut Bed, dev: &Interface) -> Result<u64> {
        match (self.work, &mut self.tcp) {
            (Work::PktgenTx, _) => Ok(0),
            (Work::XdpDrop | Work::StackDrop, _) => {
                bed.burst(&vec![peer::unwanted(dev.mac); BURST])?;
                Ok(BURST as u64)
            }
            (Work::TcpTso, Some(tcp)) => {
                let frames = bed.peer.received_all();
                let (answer, bytes) = tcp.step(frames, 0)?;
                bed.burst(&answer)?;
                Ok(bytes / peer::MSS as u64)
            }
            (Work::TcpGro, Some(tcp)) => {
                let frames = bed.peer.received_all();
                let (frames, _) = tcp.step(frames, TCP_BURST * peer::MSS)?;
                bed.burst(&frames)?;
                Ok(TCP_BURST as u64)
            }
            (Work::UdpRr, _) => {
                bed.peer.received();
                bed.burst(&[peer::datagram((dev.mac, V4), (9, ECHO_PORT))?])?;
                bed.peer.wait_frame().context("no answer")?;
                Ok(1)
            }
            _ => bail!("the connection is gone"),
        }
    }

    fn sample(
        &mut self,
        bed: &mut Bed,
        dev: &Interface,
    ) -> Result<(Sample, BTreeMap<Symbol, u64>)> {
        if self.work != Work::PktgenTx {
            return bed.counted(|bed| {
                let mut frames = 0;
                for _ in 0..STEPS {
                    frames += self.step(bed, dev)?;
                }
                Ok(frames)
            });
        }
        // What starts pktgen and waits for its end is in both runs.
        let mut run = |count: u64| {
            bed.peer.received_all();
            let done = bed.counted(|bed| {
                bed.sh(&format!(
                    "echo 'count {count}' >/proc/net/pktgen/{}; \
                     for i in $(seq {PKTGEN_ROUNDS}); do echo start >/proc/net/pktgen/pgctrl; sleep 0.02; done",
                    dev.name
                ))?;
                Ok(count * PKTGEN_ROUNDS)
            })?;
            let sent = bed.peer.received_all();
            let sent = sent.iter().filter(|f| peer::is_udp(f)).count() as u64;
            ensure!(
                sent == done.0.frames,
                "{sent} frames went out, not {}",
                done.0.frames
            );
            Ok(done)
        };
        let (few, many) = (run(PKTGEN.0)?, run(PKTGEN.1)?);
        let functions = many
            .1
            .into_iter()
            .map(|(s, n)| {
                let less = few.1.get(&s).copied().unwrap_or_default();
                (s, n.saturating_sub(less))
            })
            .collect();
        Ok((many.0.less(&few.0), functions))
    }

    fn stop(self, bed: &mut Bed, dev: &Interface) -> Result<()> {
        if let Some(program) = self.program {
            program.input().kill()?;
            bed.sh("sleep 0.3")?;
        }
        match self.work {
            Work::PktgenTx => {
                bed.sh("echo rem_device_all >/proc/net/pktgen/kpktgend_0")?;
            }
            Work::XdpDrop => {
                bed.sh(&format!("ip link set {} xdp off", dev.name))?;
                bed.up(dev)?;
            }
            _ => {}
        }
        bed.counter.settle()?;
        bed.peer.received();
        Ok(())
    }
}

/// A program that sends for ever what it has in memory.
fn sender() -> String {
    format!(
        "import socket\ns = socket.create_connection(('{}', {}))\nb = bytes(65536)\nwhile True:\n    s.sendall(b)\n",
        peer::V4,
        peer::PORT
    )
}

fn run(bed: &Bed, argv: &[&str]) -> Result<Started> {
    bed.vm.guest.start(&Run {
        argv: argv.iter().map(ToString::to_string).collect(),
        ..Run::default()
    })
}

/// Compiles the program that drops every frame.
fn xdp_program(lab: &Lab) -> Result<Vec<u8>> {
    let out = lab.cache.path("build/xdp_drop.bpf.o");
    let version = lab.tools.llvm.strip_prefix("LLVM=").unwrap_or_default();
    let mut cmd = command(format!("clang{version}"));
    cmd.args(["-O2", "--target=bpf", "-c", "-o"])
        .arg(&out)
        .arg(lab.tree.join("tools/testing/lab/bpf/xdp_drop.bpf.c"));
    run_logged(
        "compiling the XDP program",
        &lab.cache.path("logs/xdp_drop.log"),
        cmd,
    )?;
    std::fs::read(&out).with_context(|| format!("reading {}", out.display()))
}

impl Sample {
    /// What this sample has more than another.
    fn less(&self, other: &Self) -> Self {
        Self {
            frames: self.frames.saturating_sub(other.frames),
            kernel: self.kernel.saturating_sub(other.kernel),
            driver: self.driver.saturating_sub(other.driver),
            mmio: self.mmio.saturating_sub(other.mmio),
        }
    }
}

/// A program that writes a message of the mailbox extension to VF 0, as the PF driver would.
fn mailbox_script(pf: &str, head: u32) -> String {
    // CTS, without which the VF resets; a generation of its own.
    let words = [head | 0x2000_0000, mbx_ext::EXT_VERSION, 1];
    let memory = regs::pfmbmem(0);
    let mut text = format!(
        "python3 - <<'END'\nimport ctypes, mmap, os\n\
         f = os.open('/sys/class/net/{pf}/device/resource0', os.O_RDWR | os.O_SYNC)\nm = mmap.mmap(f, 0x20000)\n\
         def w(at, v):\n    ctypes.c_uint32.from_buffer(m, at).value = v\n"
    );
    for (i, at) in (0..16).zip((memory..).step_by(4)) {
        let _ = writeln!(text, "w({at}, {})", words.get(i).unwrap_or(&0));
    }
    let _ = write!(
        text,
        "w({}, {})\nEND\nsleep 0.5",
        regs::pfmailbox(0),
        regs::PFMAILBOX_STS
    );
    text
}

fn median(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    let (first, last) = (all.first()?, all.last()?);
    let middle = *all.get(all.len() / 2)?;
    Some((middle, (last - first) / middle * 100.0))
}

/// Sums samples up by their medians.
fn figures(samples: &[Sample]) -> Result<Figures> {
    let per_frame = |of: fn(&Sample) -> u64| {
        median(samples.iter().map(|s| of(s) as f64 / s.frames as f64)).context("no sample")
    };
    let (instructions, spread_percent) = per_frame(|s| s.kernel)?;
    Ok(Figures {
        instructions,
        in_driver: per_frame(|s| s.driver)?.0,
        mmio: per_frame(|s| s.mmio)?.0,
        spread_percent,
    })
}

/// Free memory and slab of `/proc/meminfo`, in bytes.
fn meminfo(text: &str) -> Result<Memory> {
    let of = |key: &str| {
        text.lines()
            .find_map(|l| {
                l.strip_prefix(key)?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse()
                    .ok()
            })
            .map(|kib: i64| kib * 1024)
            .with_context(|| format!("no {key} in {text}"))
    };
    Ok(Memory {
        total: of("MemFree:")?,
        slab: of("Slab:")?,
    })
}

fn colons(mac: [u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|b| u8::from_str_radix(b, 16).ok())
        .collect();
    bytes?.try_into().ok()
}

/// The functions that cost most.
fn top(functions: &BTreeMap<Symbol, f64>, n: usize) -> String {
    let mut all: Vec<_> = functions.iter().collect();
    all.sort_by(|a, b| b.1.total_cmp(a.1));
    all.iter().take(n).fold(String::new(), |mut text, (s, n)| {
        let _ = writeln!(text, "  {n:9.1}  {:8} {}", s.module, s.name);
        text
    })
}

fn table(results: &Results) -> String {
    let mut text = format!(
        "{:18} {:>9} {:>9} {:>6}   {:>8} {:>8} {:>6}   {:>6} {:>6}   {:>13}\n",
        "per frame",
        "C",
        "Rust",
        "R/C",
        "C driver",
        "Rust drv",
        "R/C",
        "C mmio",
        "R mmio",
        "spread C, R %"
    );
    for r in &results.rows {
        let _ = writeln!(
            text,
            "{:18} {:9.1} {:9.1} {:6.3}   {:8.1} {:8.1} {:6.3}   {:6.2} {:6.2}   {:6.2} {:6.2}",
            row_name(r.function, r.work),
            r.c.instructions,
            r.rust.instructions,
            r.ratio,
            r.c.in_driver,
            r.rust.in_driver,
            r.rust.in_driver / r.c.in_driver,
            r.c.mmio,
            r.rust.mmio,
            r.c.spread_percent,
            r.rust.spread_percent
        );
    }
    if let Some(m) = &results.marking {
        let _ = writeln!(
            text,
            "marking for live migration, Rust VF, 64 bytes dropped by the stack: {:.1} off, {:.1} on, {:+.2} %",
            m.off, m.on, m.percent
        );
    }
    for m in &results.memory {
        let kib = |bytes: i64| bytes / 1024;
        let _ = writeln!(
            text,
            "{:?} open: C {} KiB, of it slab {} KiB; Rust {} KiB, of it slab {} KiB",
            m.function,
            kib(m.c.total),
            kib(m.c.slab),
            kib(m.rust.total),
            kib(m.rust.slab)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(frames: u64, kernel: u64) -> Sample {
        Sample {
            frames,
            kernel,
            driver: kernel / 2,
            mmio: frames,
        }
    }

    #[test]
    fn the_median_counts_and_the_spread_is_told() -> Result<()> {
        let f = figures(&[sample(10, 1000), sample(10, 1100), sample(20, 2020)])?;
        assert!((f.instructions - 101.0).abs() < 1e-9);
        assert!((f.in_driver - 50.5).abs() < 1e-9);
        assert!((f.mmio - 1.0).abs() < 1e-9);
        assert!((f.spread_percent - 1000.0 / 101.0).abs() < 1e-9);
        assert!(figures(&[]).is_err());
        Ok(())
    }

    #[test]
    fn what_both_runs_of_pktgen_do_cancels() {
        let diff = sample(24_000, 2_500_000).less(&sample(4_000, 500_000));
        assert_eq!((diff.frames, diff.kernel), (20_000, 2_000_000));
    }

    #[test]
    fn memory_is_read_in_bytes() -> Result<()> {
        let m = meminfo("MemTotal: 9 kB\nMemFree:  2048 kB\nSlab:   64 kB\n")?;
        assert_eq!((m.total, m.slab), (2 << 20, 64 << 10));
        assert!(meminfo("MemFree: 1 kB\n").is_err());
        Ok(())
    }

    #[test]
    fn addresses() {
        assert_eq!(parse_mac(&colons(VF_MAC)), Some(VF_MAC));
        assert_eq!(parse_mac("02:00"), None);
    }

    #[test]
    fn the_dearest_functions_come_first() {
        let symbol = |name: &str| Symbol {
            name: name.into(),
            module: String::new(),
        };
        let text = top(
            &[(symbol("a"), 1.0), (symbol("b"), 9.0), (symbol("c"), 5.0)].into(),
            2,
        );
        let order: Vec<_> = text.split_whitespace().filter(|w| w.len() == 1).collect();
        assert_eq!(order, ["b", "c"]);
    }
}
