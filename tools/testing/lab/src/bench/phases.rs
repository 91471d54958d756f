// SPDX-License-Identifier: GPL-2.0
//! Instructions of the hosts' kernel from the stop of a VF to its run, by phase, and whose they are.
//!
//! Time of an emulated host is not that of a real one; what its kernel executes is. `vfio_migration_bench -p` does one step of a
//! move after the other, each when it is told to, and a plugin of QEMU counts ([`super::count`]). Source and destination are two
//! cards of one host. What telling costs is in a step that does nothing, and is taken off.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Result};
use lab_agent::Run;
use serde::Serialize;

use super::count::{Counter, Symbols};
use crate::guest::{Command, Event};
use crate::kernel::Kernel;
use crate::lab::{HostSpec, Lab};
use crate::process::TempDir;
use crate::qemu;
use crate::stats::median;
use crate::switch::Switch;
use crate::vm::{Accel, Vm};

/// Phases of a move: those of the source, those of the destination.
const PHASES: [&str; 5] = ["prepare", "stop", "save", "load", "run"];
/// The step that does nothing.
const NOTHING: &str = "nothing";

/// Whose instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Count {
    /// This project's modules.
    ours: f64,
    /// VFIO and iommufd.
    vfio: f64,
    /// The rest of the kernel.
    rest: f64,
}

impl Count {
    fn add(&mut self, module: &str, n: u64) {
        let n = n as f64;
        match module {
            "ixgbe_rust" | "ixgbe_vfio_pci" => self.ours += n,
            "iommufd" => self.vfio += n,
            m if m.starts_with("vfio") => self.vfio += n,
            _ => self.rest += n,
        }
    }

    /// What this one has more than another.
    fn less(self, other: Self) -> Self {
        Self {
            ours: self.ours - other.ours,
            vfio: self.vfio - other.vfio,
            rest: self.rest - other.rest,
        }
    }

    fn median(of: &[Self]) -> Self {
        let middle = |f: fn(&Self) -> f64| median(of.iter().map(f));
        Self {
            ours: middle(|c| c.ours),
            vfio: middle(|c| c.vfio),
            rest: middle(|c| c.rest),
        }
    }
}

/// What was counted, in the order of [`PHASES`]: the median of the moves.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    queue_pairs: u32,
    moves: usize,
    phases: Vec<(&'static str, Count)>,
}

/// The name in a line `step NAME`.
fn step(line: &str) -> Option<&str> {
    line.trim_end().strip_prefix("step ")
}

/// The host, with what counts in it.
pub(super) struct Bed {
    vm: Vm,
    counter: Counter,
}

impl Bed {
    pub(super) fn boot(
        lab: &Lab,
        kernel: &Kernel,
        mut spec: HostSpec,
        dir: &TempDir,
    ) -> Result<Self> {
        let plugin = qemu::plugin(&lab.cache, &lab.tree)?;
        let socket = dir.path().join("count");
        spec.accel = Some(Accel::Counted);
        spec.cpus = 1;
        // The plugin tells modules by their addresses; and a processor without work is to halt.
        spec.cmdline += " nokaslr idle=halt";
        spec.qemu = vec![
            "-plugin".into(),
            format!("{},socket={}", plugin.display(), socket.display()),
        ];
        let vm = lab.boot(&spec, kernel, &Switch::new(None), dir)?;
        let counter = Counter::connect(&socket)?;
        Ok(Self { vm, counter })
    }

    pub(super) fn shut_down(self) -> Result<()> {
        self.vm.shut_down()
    }

    /// Moves a VF to and fro.
    pub(super) fn count(&mut self, script: &str, queue_pairs: u32, rounds: u32) -> Result<Figures> {
        let run = Run {
            argv: ["sh", "-c", script].map(String::from).to_vec(),
            timeout_ms: Some(900_000),
            ..Run::default()
        };
        let command = self.vm.guest.start(&run)?;
        let mut counts: BTreeMap<String, Vec<Count>> = BTreeMap::new();
        let mut symbols = Symbols::default();
        let mut lines = Lines::new(&command);
        let mut now: Option<String> = None;
        while let Some(line) = lines.next()? {
            let Some(next) = step(&line) else {
                continue;
            };
            self.counter.settle()?;
            if let Some(step) = now.take() {
                let mut count = Count::default();
                let histogram = self.counter.histogram()?;
                // Where the plugin had no room for their addresses.
                let lost = histogram.get(&0).copied().unwrap_or_default();
                ensure!(lost == 0, "{lost} instructions are not told apart");
                for (symbol, n) in symbols.by_function(&histogram) {
                    count.add(&symbol.module, n);
                }
                counts.entry(step).or_default().push(count);
            } else {
                let text = self
                    .vm
                    .guest
                    .sh("cat /proc/kallsyms", Duration::from_secs(120))?;
                symbols = Symbols::parse(&text.ok()?);
                self.counter.settle()?;
            }
            if next != "end" {
                now = Some(next.to_owned());
            }
            self.counter.reset()?;
            command.stdin(b"\n")?;
        }
        let of = |step: &str| {
            let all = counts.get(step).map_or(&[][..], Vec::as_slice);
            // The first move is to where nothing has run yet.
            all.get(1..).unwrap_or_default()
        };
        ensure!(
            of("run").len() + 1 == rounds as usize,
            "{} moves of {rounds}:\n{}",
            of("run").len() + 1,
            lines.all
        );
        let nothing = Count::median(of(NOTHING));
        Ok(Figures {
            queue_pairs,
            moves: of("run").len(),
            phases: PHASES
                .iter()
                .map(|phase| (*phase, Count::median(of(phase)).less(nothing)))
                .collect(),
        })
    }
}

/// Lines that a command writes.
struct Lines<'a> {
    command: &'a Command,
    /// All that it wrote.
    all: String,
    taken: usize,
}

impl<'a> Lines<'a> {
    fn new(command: &'a Command) -> Self {
        Self {
            command,
            all: String::new(),
            taken: 0,
        }
    }

    /// The next; none once the command has ended well.
    fn next(&mut self) -> Result<Option<String>> {
        let end = Instant::now() + Duration::from_secs(300);
        loop {
            let rest = self.all.get(self.taken..).unwrap_or_default();
            if let Some((line, _)) = rest.split_once('\n') {
                let line = line.to_owned();
                self.taken += line.len() + 1;
                return Ok(Some(line));
            }
            let wait = end.saturating_duration_since(Instant::now());
            match self.command.events.recv_timeout(wait) {
                Ok(Event::Stdout(b) | Event::Stderr(b)) => {
                    self.all.push_str(&String::from_utf8_lossy(&b));
                }
                Ok(Event::Exit(e)) if e.ok() => return Ok(None),
                Ok(Event::Exit(e)) => bail!("{e:?}\n{}", self.all),
                Err(e) => bail!("{e}:\n{}", self.all),
            }
        }
    }
}

/// A table.
pub(super) fn table(all: &[Figures]) -> String {
    let mut text = format!(
        "{:5} {:8} {:>12} {:>12} {:>12}\n",
        "pairs", "phase", "our modules", "VFIO", "rest"
    );
    for f in all {
        for (phase, c) in &f.phases {
            let _ = writeln!(
                text,
                "{:5} {phase:8} {:12.0} {:12.0} {:12.0}",
                f.queue_pairs, c.ours, c.vfio, c.rest
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_apart_by_module() {
        let mut count = Count::default();
        for (module, n) in [
            ("ixgbe_rust", 1),
            ("ixgbe_vfio_pci", 2),
            ("vfio_pci_core", 10),
            ("iommufd", 20),
            ("", 300),
            ("ixgbe", 400),
        ] {
            count.add(module, n);
        }
        let want = Count {
            ours: 3.0,
            vfio: 30.0,
            rest: 700.0,
        };
        assert_eq!(count, want);
        assert_eq!(count.less(want), Count::default());
        assert_eq!(Count::median(&[want, want, Count::default()]), want);
        assert_eq!(step("step save\n"), Some("save"));
        assert_eq!(step("# noise"), None);
    }
}
