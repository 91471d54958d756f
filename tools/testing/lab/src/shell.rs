// SPDX-License-Identifier: GPL-2.0
//! `cargo lab shell`: a prompt in each host, or a script.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use clap::Args;
use lab_agent::{Exit, Run};

use crate::capture::Capture;
use crate::chip::Chips;
use crate::guest::{Event, Guest};
use crate::kernel::Flavour;
use crate::lab::{Drivers, Head, HostSpec, Lab};
use crate::process::TempDir;
use crate::station::{control, Station};
use crate::switch::Switch;
use crate::terminal::{self, RawMode};

/// Options of `cargo lab shell`.
#[derive(Args, Debug)]
pub struct ShellArgs {
    /// How many hosts, joined by the lab's switch.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    hosts: u8,
    /// Run a script in the first host instead of giving a prompt; repeat it for the second host. They run at the same time.
    #[arg(long, value_name = "FILE")]
    script: Vec<PathBuf>,
    /// What the model does with a write to a ring's head.
    #[arg(long, value_enum, default_value = "value")]
    head: Head,
    /// Chips of the cards: kx4 (82599 on a backplane), sfp or x540; kx4+x540 if the second card has another one.
    #[arg(long, default_value = "kx4")]
    chip: Chips,
    /// Which kernel.
    #[arg(long, value_enum, default_value = "release")]
    kernel: Flavour,
    /// Load these drivers, or none.
    #[arg(long, value_enum)]
    drivers: Option<Drivers>,
    /// Write every frame on the switch to this file.
    #[arg(long, value_name = "FILE.pcapng")]
    capture: Option<PathBuf>,
    /// Virtual CPUs of each host.
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Cards of the tested kind in each host.
    #[arg(long, default_value_t = 1)]
    cards: u8,
    /// Added to the kernel's command line.
    #[arg(long, default_value = "")]
    cmdline: String,
    /// A QEMU device instead of the model, such as `igb`.
    #[arg(long)]
    device: Option<String>,
    /// Seconds after which the hosts are killed.
    #[arg(long, default_value_t = 3600)]
    deadline: u64,
}

/// Runs it.
///
/// # Errors
/// If a host does not come up, or a script fails.
pub fn shell(args: &ShellArgs) -> Result<()> {
    let lab = Lab::open(&[args.kernel])?;
    let kernel = lab.kernel(args.kernel)?;
    let modules = match args.drivers {
        Some(Drivers::Rust) => Some(lab.modules(&kernel)?),
        _ => None,
    };
    let capture = args.capture.as_deref().map(Capture::create).transpose()?;
    let switch = Switch::new(capture);
    let station = Station::start(&switch);
    let dir = TempDir::new()?;
    let boot = |number| {
        let mut spec = HostSpec::new(number);
        spec.head = args.head;
        spec.chips = args.chip.clone();
        spec.device = args.device.clone();
        spec.modules = modules.clone();
        spec.cpus = args.cpus;
        spec.cards = args.cards;
        spec.deadline = Duration::from_secs(args.deadline);
        if !args.cmdline.is_empty() {
            spec.cmdline = format!("{} {}", spec.cmdline, args.cmdline);
        }
        let vm = lab.boot(&spec, &kernel, &switch, &dir)?;
        control::serve(
            vm.station.try_clone()?,
            station.clone(),
            switch.clone(),
            vm.cards.clone(),
            vm.qmp.clone(),
        )?;
        if let Some(d) = args.drivers {
            let load = match d {
                Drivers::C => "modprobe ixgbe && modprobe ixgbevf",
                Drivers::Rust => {
                    "insmod /lab/rust/ixgbe_rust.ko && insmod /lab/rust/ixgbevf_rust.ko"
                }
            };
            vm.guest
                .sh(load, Duration::from_secs(60))?
                .ok()
                .context("loading the drivers")?;
        }
        Ok(vm)
    };
    let vms = thread::scope(|s| {
        let boots: Vec<_> = (1..=args.hosts).map(|n| s.spawn(move || boot(n))).collect();
        boots
            .into_iter()
            .map(|b| {
                b.join()
                    .unwrap_or_else(|_| bail!("the booting thread panicked"))
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let guests: Vec<Guest> = vms.iter().map(|v| v.guest.clone()).collect();
    let result = if !args.script.is_empty() {
        let scripts = args
            .script
            .iter()
            .map(|f| std::fs::read_to_string(f).with_context(|| format!("reading {}", f.display())))
            .collect::<Result<Vec<_>>>()?;
        run_scripts(&guests, &scripts)
    } else if std::io::stdin().is_terminal() {
        interactive(&guests)
    } else {
        let mut script = String::new();
        std::io::stdin().read_to_string(&mut script)?;
        run_scripts(&guests, &[script])
    };
    for vm in vms {
        vm.shut_down()?;
    }
    result
}

fn run_scripts(guests: &[Guest], scripts: &[String]) -> Result<()> {
    if scripts.len() > guests.len() {
        bail!("more scripts than hosts");
    }
    let results = thread::scope(|s| {
        let runs: Vec<_> = guests
            .iter()
            .zip(scripts)
            .map(|(g, script)| s.spawn(move || run_script(g, script)))
            .collect();
        runs.into_iter()
            .map(|r| {
                r.join()
                    .unwrap_or_else(|_| bail!("the script's thread panicked"))
            })
            .collect::<Result<Vec<_>>>()
    })?;
    for (i, exit) in results.iter().enumerate() {
        if !exit.ok() {
            bail!("the script of host {} failed: {exit:?}", i + 1);
        }
    }
    Ok(())
}

fn run_script(guest: &Guest, script: &str) -> Result<Exit> {
    let run = Run {
        argv: ["bash", "-c", script].map(String::from).to_vec(),
        ..Run::default()
    };
    let command = guest.start(&run)?;
    command.close_stdin()?;
    for event in &command.events {
        match event {
            Event::Stdout(b) => {
                let mut out = std::io::stdout().lock();
                out.write_all(&b)?;
                out.flush()?;
            }
            Event::Stderr(b) => std::io::stderr().lock().write_all(&b)?,
            Event::Exit(e) => return Ok(e),
        }
    }
    bail!("the host ended before its script")
}

/// Ctrl-]: the key before a command to the lab itself, as in telnet.
const ESCAPE: u8 = 0x1d;

enum Tell {
    Output(usize, Vec<u8>),
    Ended(usize),
    Quit,
}

fn interactive(guests: &[Guest]) -> Result<()> {
    eprintln!("Ctrl-] then 1 or 2 goes to that host, Ctrl-] q ends the lab. /lab/tree is this project, /lab/linux the kernel.");
    let (tx, rx) = channel();
    let mut commands = Vec::new();
    let size = terminal::size();
    for guest in guests {
        let run = Run {
            argv: ["bash", "-i"].map(String::from).to_vec(),
            env: vec![
                (
                    "TERM".into(),
                    std::env::var("TERM").unwrap_or_else(|_| "vt100".into()),
                ),
                ("PS1".into(), "\\h:\\w# ".into()),
            ],
            cwd: None,
            pty: Some(size),
            timeout_ms: None,
        };
        commands.push(guest.start(&run)?);
    }
    let inputs: Vec<_> = commands.iter().map(crate::guest::Command::input).collect();
    for (i, c) in commands.into_iter().enumerate() {
        let tx: Sender<Tell> = tx.clone();
        thread::spawn(move || {
            for event in &c.events {
                let tell = match event {
                    Event::Stdout(b) | Event::Stderr(b) => Tell::Output(i, b),
                    Event::Exit(_) => break,
                };
                if tx.send(tell).is_err() {
                    return;
                }
            }
            let _ = tx.send(Tell::Ended(i));
        });
    }
    let raw = RawMode::enter()?;
    let current = Arc::new(AtomicUsize::new(0));
    let here = current.clone();
    thread::spawn(move || {
        let mut escaped = false;
        let mut buf = [0u8; 1024];
        while let Ok(n @ 1..) = std::io::stdin().read(&mut buf) {
            let mut plain = Vec::new();
            for &b in buf.get(..n).unwrap_or_default() {
                match (escaped, b) {
                    (false, ESCAPE) => escaped = true,
                    (true, b'q') => {
                        let _ = tx.send(Tell::Quit);
                        return;
                    }
                    (true, b'1'..=b'9') => {
                        escaped = false;
                        here.store(
                            usize::from(b - b'1').min(inputs.len().saturating_sub(1)),
                            Ordering::Relaxed,
                        );
                        plain.push(b'\r');
                    }
                    (_, b) => {
                        escaped = false;
                        plain.push(b);
                    }
                }
            }
            if let Some(i) = inputs.get(here.load(Ordering::Relaxed)) {
                if !plain.is_empty() && i.send(&plain).is_err() {
                    return;
                }
            }
        }
        let _ = tx.send(Tell::Quit);
    });
    // What the host that is not in front wrote meanwhile.
    let mut waiting: Vec<Vec<u8>> = vec![Vec::new(); guests.len()];
    let mut left = guests.len();
    for tell in rx {
        match tell {
            Tell::Output(i, b) => {
                if let Some(w) = waiting.get_mut(i) {
                    w.extend_from_slice(&b);
                }
            }
            Tell::Ended(i) => {
                left -= 1;
                if left == 0 {
                    break;
                }
                current.store(1 - i.min(1), Ordering::Relaxed);
            }
            Tell::Quit => break,
        }
        if let Some(w) = waiting.get_mut(current.load(Ordering::Relaxed)) {
            let mut out = std::io::stdout().lock();
            out.write_all(w)?;
            out.flush()?;
            w.clear();
        }
    }
    drop(raw);
    Ok(())
}
