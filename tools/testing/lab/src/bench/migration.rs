// SPDX-License-Identifier: GPL-2.0
//! `cargo lab bench migration`: what it costs to save a VF and to load it, by itself and with all others.
//!
//! `selftests/vfio/vfio_migration_bench` drives the VFs of two PFs of one host through VFIO, with no inner VM, and says
//! what the PF drivers counted and timed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::Args;
use serde::Serialize;

use super::{phases, write_json};
use crate::kernel::{Flavour, Kernel};
use crate::lab::{HostSpec, Lab};
use crate::process::TempDir;
use crate::stats::Ranks;
use crate::switch::Switch;
use crate::test::install;
use crate::vm::Accel;

/// Options of `cargo lab bench migration`.
#[derive(Args, Debug)]
pub struct MigrationArgs {
    /// Numbers of VFs that move together. Unless all 63 do, one more stays and asks its PF something all the while.
    #[arg(long, value_delimiter = ',', default_value = "1,2,8,32,62", value_parser = clap::value_parser!(u32).range(1..=63))]
    vfs: Vec<u32>,
    /// Numbers of queue pairs that each of them has in use.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    pairs: Vec<u32>,
    /// Moves of each VF in each combination.
    #[arg(long, default_value_t = 6)]
    rounds: u32,
    /// Count time in the machine in instructions, one a nanosecond, by one processor: neither the load of this machine nor its
    /// speed is in the figures then.
    #[arg(long)]
    counted: bool,
    /// Instead: move one VF, and count by phase the instructions of the hosts' kernel, in this project's modules and elsewhere.
    #[arg(long, conflicts_with_all = ["vfs", "counted"])]
    phases: bool,
    /// Which kernel: one with iommufd.
    #[arg(long, value_enum, default_value = "stock-iommufd")]
    kernel: Flavour,
    /// Write the results to this file, or to standard output if it is "-".
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One combination.
#[derive(Debug, Serialize)]
struct Figures {
    vfs: u32,
    queue_pairs: u32,
    moves: usize,
    /// How ring heads came back, and how often.
    restore: BTreeMap<String, usize>,
    state_bytes: Ranks,
    /// Register accesses to stop and save, and to load and start.
    mmio_save: Ranks,
    mmio_load: Ranks,
    /// µs under the PF's lock.
    suspend_us: Ranks,
    save_us: Ranks,
    load_us: Ranks,
    resume_us: Ranks,
    /// µs for which a VF stood, by the program's clock: its own move, and the wait for the others'.
    stood_us: Ranks,
    /// The same without the time for which its thread had no processor.
    stood_with_processor_us: Ranks,
    /// The same by what user space did: the VF stops, its state is read, a file is opened at the destination, written and loaded, the
    /// VF may access memory, and runs.
    steps_us: BTreeMap<&'static str, Ranks>,
    /// µs until the last of all VFs ran again.
    all_us: Ranks,
    /// µs that the slowest answer to a VF took which stayed, for each time that the others moved.
    answer_us: Option<Ranks>,
    /// µs that the slowest took while none moved.
    answer_alone_us: Option<f64>,
}

impl Figures {
    /// How long the slowest stood, as a multiple of what one VF stood by itself: by the clock, and without waiting for a processor.
    fn ratio_to(&self, one: &Self) -> [f64; 2] {
        [
            self.stood_us.max / one.stood_us.median,
            self.stood_with_processor_us.max / one.stood_with_processor_us.median,
        ]
    }
}

/// What user space does in a move, in the words of the program.
const STEPS: [&str; 7] = ["stop", "read", "open", "write", "load", "master", "run"];

/// A line of `name=value` fields behind its kind.
struct Line<'a> {
    kind: &'a str,
    fields: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let kind = words.next()?;
        let fields = words.map(|w| w.split_once('=')).collect::<Option<_>>()?;
        Some(Self { kind, fields })
    }

    fn number(&self, name: &str) -> Result<f64> {
        let text = self
            .fields
            .get(name)
            .with_context(|| format!("no {name} in a line of the benchmark"))?;
        Ok(text.parse()?)
    }
}

fn figures(vfs: u32, queue_pairs: u32, output: &str) -> Result<Figures> {
    let pairs = queue_pairs.to_string();
    let lines: Vec<_> = output
        .lines()
        .filter_map(Line::parse)
        .filter(|l| l.fields.get("pairs") == Some(&pairs.as_str()))
        .collect();
    let of = |kind: &'static str| lines.iter().filter(move |l| l.kind == kind);
    let spread = |kind, name: &str, scale: f64| -> Result<Ranks> {
        let values = of(kind)
            .map(|l| Ok(l.number(name)? / scale))
            .collect::<Result<Vec<_>>>()?;
        Ranks::of(values).with_context(|| format!("the benchmark measured nothing:\n{output}"))
    };
    let count = |name| spread("move", name, 1.0);
    let us = |name: &str| spread("move", name, 1000.0);
    let with_processor = of("move")
        .map(|l| Ok((l.number("stood_ns")? - l.number("waited_ns")?) / 1000.0))
        .collect::<Result<Vec<_>>>()?;
    let mut restore = BTreeMap::new();
    for l in of("move") {
        let way = l.fields.get("restore").copied().unwrap_or("unknown");
        *restore.entry(way.to_owned()).or_default() += 1;
    }
    Ok(Figures {
        vfs,
        queue_pairs,
        moves: of("move").count(),
        restore,
        state_bytes: count("state_bytes")?,
        mmio_save: count("mmio_save")?,
        mmio_load: count("mmio_load")?,
        suspend_us: us("suspend_ns")?,
        save_us: us("save_ns")?,
        load_us: us("load_ns")?,
        resume_us: us("resume_ns")?,
        stood_us: us("stood_ns")?,
        stood_with_processor_us: Ranks::of(with_processor).context("no move")?,
        steps_us: STEPS
            .iter()
            .map(|step| Ok((*step, us(&format!("step_{step}_ns"))?)))
            .collect::<Result<_>>()?,
        all_us: spread("all", "all_ns", 1000.0)?,
        answer_us: match of("stay").next() {
            Some(_) => Some(spread("stay", "slowest_ns", 1000.0)?),
            None => None,
        },
        answer_alone_us: of("alone")
            .next()
            .map(|l| Ok::<_, anyhow::Error>(l.number("slowest_ns")? / 1000.0))
            .transpose()?,
    })
}

/// Runs it.
///
/// # Errors
/// If a VF could not be moved, or the lab could not run.
pub fn migration(args: &MigrationArgs) -> Result<()> {
    let lab = Lab::open(&[args.kernel])?;
    let kernel = lab.kernel(args.kernel)?;
    let dir = TempDir::new()?;
    let mut spec = HostSpec::new(1);
    spec.cards = 2;
    spec.modules = Some(lab.modules(&kernel)?);
    spec.selftests = Some(install(&lab, &kernel)?);
    spec.cmdline = "intel_iommu=on iommu=nopt iommu.strict=1".into();
    spec.deadline = Duration::from_secs(3600);
    if args.phases {
        return by_phase(args, &lab, &kernel, spec, &dir);
    }
    if args.counted {
        spec.accel = Some(Accel::Counted);
        spec.cpus = 1;
    }
    let vm = lab.boot(&spec, &kernel, &Switch::new(None), &dir)?;
    let mut all: Vec<Figures> = Vec::new();
    println!(
        "VFs pairs  bytes  MMIO save/load  suspend + save + load + resume, µs  stood (most), ms  with a processor  all, ms  \
         answer (most; alone), ms"
    );
    for &vfs in &args.vfs {
        let queues: String = args.pairs.iter().map(|n| format!("-q {n} ")).collect();
        // 63 is all that a PF has.
        let (each, stay) = if vfs < 63 { (vfs + 1, "-s") } else { (vfs, "") };
        let run = script(each, &format!("{queues} -r {} {stay}", args.rounds));
        let start = Instant::now();
        let output = vm.guest.sh(&run, Duration::from_secs(900))?.ok()?;
        for &pairs in &args.pairs {
            let f = figures(vfs, pairs, &output)?;
            if f.moves != (vfs * args.rounds) as usize {
                bail!("{} moves of {}:\n{output}", f.moves, vfs * args.rounds);
            }
            let answer = f.answer_us.as_ref().map_or_else(String::new, |us| {
                format!(
                    "{:.1} ({:.1}; {:.1})",
                    us.median / 1000.0,
                    us.max / 1000.0,
                    f.answer_alone_us.unwrap_or_default() / 1000.0
                )
            });
            println!(
                "{:3} {:5} {:6}  {:9}/{:4}  {:7.0} + {:.0} + {:.0} + {:.0}  {:9.1} ({:.1})  {:9.1} ({:.1})  {:7.1}  {answer}",
                f.vfs,
                f.queue_pairs,
                f.state_bytes.median,
                f.mmio_save.median,
                f.mmio_load.median,
                f.suspend_us.median,
                f.save_us.median,
                f.load_us.median,
                f.resume_us.median,
                f.stood_us.median / 1000.0,
                f.stood_us.max / 1000.0,
                f.stood_with_processor_us.median / 1000.0,
                f.stood_with_processor_us.max / 1000.0,
                f.all_us.median / 1000.0
            );
            let steps = STEPS.iter().filter_map(|step| {
                let us = f.steps_us.get(step)?;
                Some(format!("{step} {:.0} ({:.0})", us.median, us.max))
            });
            println!("    µs: {}", steps.collect::<Vec<_>>().join(", "));
            all.push(f);
        }
        eprintln!("{vfs} VFs took {} s", start.elapsed().as_secs());
    }
    vm.shut_down()?;
    for f in all.iter().filter(|f| f.vfs > 1) {
        let one = |o: &&Figures| o.vfs == 1 && o.queue_pairs == f.queue_pairs;
        if let Some([stood, with_processor]) = all.iter().find(one).map(|one| f.ratio_to(one)) {
            println!(
                "{} VFs, {} pairs: the slowest stood {stood:.1} times as long as one by itself, {with_processor:.1} times with a processor",
                f.vfs, f.queue_pairs
            );
        }
    }
    if let Some(path) = &args.json {
        write_json(path, &all)?;
    }
    Ok(())
}

fn by_phase(
    args: &MigrationArgs,
    lab: &Lab,
    kernel: &Kernel,
    spec: HostSpec,
    dir: &TempDir,
) -> Result<()> {
    let mut bed = phases::Bed::boot(lab, kernel, spec, dir)?;
    let mut all = Vec::new();
    for &pairs in &args.pairs {
        let script = script(1, &format!("-q {pairs} -r {} -p", args.rounds));
        all.push(bed.count(&script, pairs, args.rounds)?);
    }
    bed.shut_down()?;
    print!("{}", phases::table(&all));
    if let Some(path) = &args.json {
        write_json(path, &all)?;
    }
    Ok(())
}

/// Runs the program on so many VFs of each PF.
fn script(vfs: u32, options: &str) -> String {
    format!(
        "cd /lab/selftests/vfio && KSFT_PF_MODULE=/lab/rust/ixgbe_rust.ko ./ixgbe.sh -n {vfs} ./vfio_migration_bench {options}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_two_moves() {
        let output = "# noise\n\
            alone pairs=1 asked=9 slowest_ns=300000\n\
            stay pairs=1 round=0 asked=5 slowest_ns=700000\n\
            all pairs=1 round=0 all_ns=9000\n\
            move pairs=1 round=0 vf=0 stood_ns=4000 waited_ns=1000 STEPS suspend_ns=1000 save_ns=2000 mmio_save=74 state_bytes=496 restore=write load_ns=3000 resume_ns=500 mmio_load=129\n\
            move pairs=1 round=0 vf=1 stood_ns=6000 waited_ns=4000 STEPS suspend_ns=3000 save_ns=2000 mmio_save=76 state_bytes=592 restore=write load_ns=3000 resume_ns=500 mmio_load=131\n";
        let steps = STEPS.map(|step| format!("step_{step}_ns=1000")).join(" ");
        let output = &output.replace("STEPS", &steps);
        assert!(figures(2, 2, output).is_err());
        let f = figures(2, 1, output).unwrap();
        assert_eq!((f.moves, f.restore["write"]), (2, 2));
        assert_eq!((f.mmio_save.p10, f.mmio_save.max), (74.0, 76.0));
        assert_eq!((f.all_us.median, f.suspend_us.p90), (9.0, 3.0));
        assert_eq!((f.stood_us.max, f.stood_with_processor_us.max), (6.0, 3.0));
        assert_eq!(f.ratio_to(&f), [1.0, 1.0]);
        assert_eq!(f.answer_us.unwrap().max, 700.0);
        assert_eq!(f.answer_alone_us, Some(300.0));
        let nobody = output.replace("stay", "#");
        assert!(figures(2, 1, &nobody).unwrap().answer_us.is_none());
        assert!(figures(1, 1, "nothing at all").is_err());
        assert!(figures(1, 1, "move pairs=1 round=0 vf=0\nall pairs=1 all_ns=1").is_err());
    }
}
