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
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use clap::{Args, ValueEnum};
use libixgbe::{mbx_ext, regs};
use serde::Serialize;

use super::bed::{Bed, Interface, Sample, Setting};
use super::count::Symbol;
use super::mailbox::Message;
use super::memory::Memory;
use super::work::{Load, Work, WARM_UP};
use super::write_json;
use crate::kernel::Flavour;
use crate::lab::{Drivers, Lab};
use crate::process::TempDir;
use crate::station::control::format_mac;
use crate::stats::Spread;

/// Options of `cargo lab bench datapath`.
#[derive(Args, Debug)]
pub struct DatapathArgs {
    /// Write the results to this file, or to standard output.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Measure only the rows with one of these in their name, as in `pf/udp_rr,memory`.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<String>,
    /// Measure only these drivers, without a table: for whoever works at them.
    #[arg(long, value_enum)]
    drivers: Option<Drivers>,
    /// How often each row is measured; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    samples: u32,
    /// Also show so many functions of each row, those that cost most.
    #[arg(long, default_value_t = 0)]
    top: usize,
    /// Which kernel: its C drivers are what ours are compared with.
    #[arg(long, value_enum, default_value = "stock")]
    kernel: Flavour,
}

impl DatapathArgs {
    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| row.contains(o.as_str()))
    }

    /// The work to measure on a function in a machine of this kind.
    fn works(&self, setting: Setting, function: Function) -> Vec<Work> {
        Work::value_variants()
            .iter()
            .copied()
            .filter(|w| w.setting() == setting && function.does(*w))
            // By name alone: a machine with four processors was not seen to boot with the plugin yet.
            .filter(|_| setting != Setting::FourCpus || !self.only.is_empty())
            .filter(|w| self.wants(&row_name(function, *w)))
            .collect()
    }

    /// Whether anything is to be measured in a machine of this kind.
    fn wants_setting(&self, setting: Setting) -> bool {
        let rows = [Function::Pf, Function::Vf]
            .iter()
            .any(|f| !self.works(setting, *f).is_empty());
        rows || setting == Setting::Plain && OTHERS.iter().any(|o| self.wants(o))
    }
}

/// What is measured beside rows, all in the plain machine.
const OTHERS: [&str; 3] = ["vf/marking", "pf/message", "memory"];

/// MAC address that the PF gives its VF.
const VF_MAC: [u8; 6] = [0x02, 0x82, 0x59, 0, 0x10, 1];

/// What is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Function {
    Pf,
    Vf,
}

impl Function {
    /// Whether it is measured. Mainline's VF driver knows no redirection.
    fn does(self, work: Work) -> bool {
        !(self == Self::Vf && work == Work::XdpRedirect)
    }
}

fn row_name(function: Function, work: Work) -> String {
    let function = match function {
        Function::Pf => "pf",
        Function::Vf => "vf",
    };
    format!("{function}/{}", work.name())
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
    message: Option<MessageRow>,
}

/// What a message of a VF costs its PF.
#[derive(Serialize)]
struct MessageRow {
    c: Message,
    rust: Message,
}

/// Runs it.
///
/// # Errors
/// If something could not be measured.
pub fn datapath(args: &DatapathArgs) -> Result<()> {
    let lab = Lab::open(&[args.kernel])?;
    let kernel = lab.kernel(args.kernel)?;
    let modules = lab.modules(&kernel)?;
    let (mut c, mut rust) = (Measured::default(), Measured::default());
    for setting in Setting::ALL {
        if !args.wants_setting(setting) {
            continue;
        }
        let dir = TempDir::new()?;
        let mut bed = Bed::boot(&lab, &kernel, modules.clone(), &dir, setting)?;
        for (drivers, measured) in [(Drivers::C, &mut c), (Drivers::Rust, &mut rust)] {
            if args.drivers.is_none_or(|only| only == drivers) {
                bed.measure(drivers, setting, args, measured)?;
            }
        }
        bed.vm.shut_down()?;
    }
    if args.drivers.is_some() {
        return Ok(());
    }
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
        message: c
            .message
            .zip(rust.message)
            .map(|(c, rust)| MessageRow { c, rust }),
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
    message: Option<Message>,
}

impl Bed {
    /// Measures with one set of drivers, which are loaded before and unloaded after.
    fn measure(
        &mut self,
        drivers: Drivers,
        setting: Setting,
        args: &DatapathArgs,
        measured: &mut Measured,
    ) -> Result<()> {
        let load = |module: &str| match drivers {
            Drivers::C => format!("modprobe {module}"),
            Drivers::Rust => format!("insmod /lab/rust/{module}.ko"),
        };
        let plain = setting == Setting::Plain;
        let (forwarded, works): (Vec<_>, Vec<_>) = [Function::Pf, Function::Vf]
            .into_iter()
            .flat_map(|f| args.works(setting, f).into_iter().map(move |w| (f, w)))
            .partition(|(_, w)| *w == Work::Forward);
        self.sh(&load(drivers.pf()))?;
        let pf = self.interface(drivers.pf())?;
        let mut measure = |bed: &mut Self, function: Function, dev: &Interface| {
            if plain && args.wants("memory") {
                let memory = Memory::of(bed, dev)?;
                eprintln!(
                    "{} {function:?} open: {} KiB, of it slab {} KiB",
                    drivers.name(),
                    memory.total / 1024,
                    memory.slab / 1024
                );
                measured.memory.push((function, memory));
            }
            let rows = works.iter().filter(|(f, _)| *f == function);
            let rows: Vec<_> = rows.map(|(f, w)| (*f, *w, dev, None)).collect();
            bed.measure_rows(drivers, &rows, args, &mut measured.rows)
        };
        measure(self, Function::Pf, &pf)?;
        let (dev, mac) = (&pf.name, format_mac(VF_MAC));
        self.sh(&format!(
            "ip link set {dev} down; ip link set {dev} up; \
             echo 1 >/sys/class/net/{dev}/device/sriov_numvfs; ip link set {dev} vf 0 mac {mac}"
        ))?;
        self.sh(&load(drivers.vf()))?;
        let vf = self.interface(drivers.vf())?;
        measure(self, Function::Vf, &vf)?;
        let rows: Vec<_> = forwarded
            .iter()
            .map(|(f, w)| match f {
                Function::Pf => (*f, *w, &pf, Some(&vf)),
                Function::Vf => (*f, *w, &vf, Some(&pf)),
            })
            .collect();
        self.measure_rows(drivers, &rows, args, &mut measured.rows)?;
        if plain && drivers == Drivers::Rust && args.wants("vf/marking") {
            measured.marking = Some(self.marking(&pf, &vf, args.samples)?);
        }
        if plain && args.wants("pf/message") {
            measured.message = Some(Message::of(self, &vf)?);
        }
        self.sh(&format!(
            "rmmod {}; echo 0 >/sys/class/net/{dev}/device/sriov_numvfs; rmmod {}",
            drivers.vf(),
            drivers.pf()
        ))?;
        Ok(())
    }

    /// Measures rows: on which function, what, by which interface, and where frames leave that are forwarded.
    fn measure_rows(
        &mut self,
        drivers: Drivers,
        rows: &[(Function, Work, &Interface, Option<&Interface>)],
        args: &DatapathArgs,
        measured: &mut Vec<(Function, Work, Figures)>,
    ) -> Result<()> {
        let mut open: Option<&Interface> = None;
        for (function, work, dev, out) in rows {
            if open.is_none_or(|o| o.name != dev.name) {
                if let Some(before) = open {
                    self.close(before)?;
                }
                self.up(dev)?;
                open = Some(dev);
            }
            let name = row_name(*function, *work);
            eprint!("{} {name}: ", drivers.name());
            let (figures, functions) = self
                .row(dev, *out, *work, args.samples)
                .with_context(|| format!("{} {name}", drivers.name()))?;
            eprintln!(
                "{:.1} instructions a frame, {:.1} in the driver, spread {:.2} %",
                figures.instructions, figures.in_driver, figures.spread_percent
            );
            eprint!("{}", top(&functions, args.top));
            measured.push((*function, *work, figures));
            if let Some(out) = out {
                self.close(out)?;
            }
        }
        open.map_or(Ok(()), |dev| self.close(dev))
    }

    /// Takes an interface its addresses. It stays up: a VF has a link as long as its PF is.
    fn close(&mut self, dev: &Interface) -> Result<()> {
        self.sh(&format!("ip addr flush dev {}", dev.name))?;
        Ok(())
    }

    /// Measures what the marking hook costs. The message that switches it on is written into the VF's mailbox past the PF
    /// driver, which sends it only when a VM that has the VF migrates.
    fn marking(&mut self, pf: &Interface, vf: &Interface, samples: u32) -> Result<Marking> {
        self.up(vf)?;
        let cost = |bed: &mut Self, head: u32| -> Result<f64> {
            bed.sh(&mailbox_script(&pf.name, head))?;
            bed.counter.settle()?;
            Ok(bed.row(vf, None, Work::StackDrop, samples)?.0.instructions)
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
        out: Option<&Interface>,
        work: Work,
        samples: u32,
    ) -> Result<(Figures, BTreeMap<Symbol, f64>)> {
        let mut load = Load::start(self, dev, out, work)?;
        self.read_symbols()?;
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

/// The middle, and how far the least and the most are apart, in percent of it.
fn middle(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    values.clone().next()?;
    let s = Spread::of(values);
    Some((s.median, (s.max - s.min) / s.median * 100.0))
}

/// Sums samples up by their medians.
fn figures(samples: &[Sample]) -> Result<Figures> {
    let per_frame = |of: fn(&Sample) -> u64| {
        middle(samples.iter().map(|s| of(s) as f64 / s.frames as f64)).context("no sample")
    };
    let (instructions, spread_percent) = per_frame(|s| s.kernel)?;
    Ok(Figures {
        instructions,
        in_driver: per_frame(|s| s.driver)?.0,
        mmio: per_frame(|s| s.mmio)?.0,
        spread_percent,
    })
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
    if let Some(m) = &results.message {
        let _ = writeln!(
            text,
            "a message of a VF: C {:.0}, in the driver {:.0}; Rust {:.0}, in the driver {:.0}",
            m.c.instructions, m.c.in_driver, m.rust.instructions, m.rust.in_driver
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
