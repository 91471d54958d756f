// SPDX-License-Identifier: GPL-2.0
//! The command line.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::check;
use crate::describe::{describe, find, vfio_files, PCI, VFIO_DRIVER};
use crate::description::Description;
use crate::host::{Host, Machine};
use crate::mismatch::Severity;
use crate::prepare::{prepare, release};
use crate::status::status;
use crate::wanted::{vf_from_option, Wanted, WantedVf};
use crate::watch::{Sample, Watch};

/// Wrong usage, or something that cannot be seen.
const CANNOT: u8 = 2;

const AFTER: &str = "\
Exit codes:
  0  done, or nothing to do; check: the VM can move
  1  no: check found what refuses the move; prepare or release changed nothing,
     or took back what it had changed; watch: the move was not made
  2  wrong usage, or something that is needed cannot be seen
  3  prepare or release failed, and not everything could be put back";

/// Prepares hosts for the live migration of VMs with an 82599 VF, and compares them.
#[derive(Parser, Debug)]
#[command(name = "ixgbe-migrate", version, after_help = AFTER, after_long_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make this host ready; a second run changes nothing.
    Prepare(PrepareArgs),
    /// Put back what was there before `prepare`.
    Release {
        #[command(flatten)]
        pf: PfArg,
        /// Also put back what somebody else has changed since.
        #[arg(long)]
        force: bool,
    },
    /// Show each VF: its driver, who uses it, and its last move.
    Status {
        #[command(flatten)]
        pf: PfArg,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Describe this host as JSON, for `check`.
    Describe {
        #[command(flatten)]
        pf: PfArg,
        /// Print JSON, which is the only form there is.
        #[arg(long)]
        json: bool,
    },
    /// Compare two hosts before a VM is touched: everything that stands in the way, at once.
    Check {
        /// What `describe --json` printed on the host of the VM.
        source: PathBuf,
        /// What it printed on the host to which the VM is to go; - is standard input for either.
        destination: PathBuf,
        /// VF on the source, and that on the destination if it is another one.
        #[arg(long, value_name = "N[:M]", default_value = "0", value_parser = vf_pair)]
        vf: (u32, u32),
        /// libvirt binds the driver of the VFs when their VMs start (managed='yes').
        #[arg(long)]
        managed: bool,
        /// What depends on the guest counts as a refusal.
        #[arg(long)]
        strict: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Follow a move of a VF, one line for each change, until it ends.
    Watch {
        #[command(flatten)]
        pf: PfArg,
        /// The VF.
        #[arg(long, default_value_t = 0)]
        vf: u32,
        /// Milliseconds between two looks.
        #[arg(long, default_value_t = 20, value_parser = interval)]
        interval: u64,
        /// Seconds after which to give up; 0 for never.
        #[arg(long, default_value_t = 0)]
        timeout: u64,
    },
    /// Print completions for a shell.
    Completions {
        /// Which.
        shell: Shell,
    },
    /// Write man pages to a folder.
    Man {
        /// The folder.
        dir: PathBuf,
    },
}

#[derive(Args, Debug)]
struct PfArg {
    /// Interface or PCI address of the PF; not needed if the host has one.
    #[arg(long, value_name = "PF")]
    pf: Option<String>,
}

#[derive(Args, Debug)]
struct PrepareArgs {
    #[command(flatten)]
    pf: PfArg,
    /// TOML file that says what is wanted.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vfs", "vf"])]
    config: Option<PathBuf>,
    /// Number of VFs.
    #[arg(long, value_name = "N")]
    vfs: Option<u32>,
    /// What is wanted of a VF, as 0,mac=02:00:00:00:00:a0,vlan=5,trust=on; may be repeated.
    ///
    /// Keys: mac, vlan, qos, trust, spoofchk, max_tx_rate, link, migratable, driver. What is not
    /// named stays as it is, but for migratable (on) and driver (ixgbe_vfio_pci).
    #[arg(long, value_name = "N[,KEY=VALUE...]", value_parser = |s: &str| vf_from_option(s))]
    vf: Vec<WantedVf>,
}

fn vf_pair(text: &str) -> Result<(u32, u32)> {
    let number = |n: &str| {
        n.parse()
            .with_context(|| format!("{n:?} is no number of a VF"))
    };
    match text.split_once(':') {
        Some((a, b)) => Ok((number(a)?, number(b)?)),
        None => number(text).map(|n| (n, n)),
    }
}

fn interval(text: &str) -> Result<u64> {
    match text.parse() {
        Ok(ms @ 1..=10_000) => Ok(ms),
        _ => bail!("{text:?} is not a number of milliseconds from 1 to 10000"),
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    // Ends with 2 on wrong usage.
    let cli = Cli::parse();
    match run(&Machine, cli.command, &mut Out(&mut std::io::stdout())) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("ixgbe-migrate: {e:#}");
            ExitCode::from(CANNOT)
        }
    }
}

/// Where the program prints to.
struct Out<'a>(&'a mut dyn Write);

impl Out<'_> {
    fn print(&mut self, text: &str) -> Result<()> {
        self.0.write_all(text.as_bytes())?;
        Ok(self.0.flush()?)
    }
}

fn run(host: &dyn Host, command: Command, out: &mut Out<'_>) -> Result<u8> {
    match command {
        Command::Prepare(args) => prepare_host(host, args, out),
        Command::Release { pf, force } => {
            let outcome = release(host, &find(host, pf.pf.as_deref())?, force)?;
            out.print(&outcome.to_string())?;
            Ok(outcome.code())
        }
        Command::Status { pf, json } => {
            let place = find(host, pf.pf.as_deref())?;
            let status = status(host, &place, describe(host, &place)?);
            out.print(&if json {
                serde_json::to_string_pretty(&status)? + "\n"
            } else {
                status.text()
            })?;
            Ok(0)
        }
        Command::Describe { pf, json: _ } => {
            let description = describe(host, &find(host, pf.pf.as_deref())?)?;
            out.print(&(serde_json::to_string_pretty(&description)? + "\n"))?;
            Ok(0)
        }
        Command::Check {
            source,
            destination,
            vf: (from, to),
            managed,
            strict,
            json,
        } => {
            let (a, b) = (description(&source)?, description(&destination)?);
            let verdict = check::check(&a, from, &b, to, managed);
            out.print(&if json {
                serde_json::to_string_pretty(&verdict)? + "\n"
            } else {
                verdict.text()
            })?;
            let worst = verdict.mismatches.first().map(|m| m.severity);
            Ok(match worst {
                Some(Severity::Refused) => 1,
                Some(Severity::Depends) if strict => 1,
                _ if !verdict.unseen.is_empty() => CANNOT,
                _ => 0,
            })
        }
        Command::Watch {
            pf,
            vf,
            interval,
            timeout,
        } => {
            let interval = Duration::from_millis(interval);
            let timeout = (timeout > 0).then(|| Duration::from_secs(timeout));
            watch(host, pf.pf.as_deref(), vf, interval, timeout, out)
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ixgbe-migrate", &mut text);
            out.print(&String::from_utf8_lossy(&text))?;
            Ok(0)
        }
        Command::Man { dir } => {
            fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
            clap_mangen::generate_to(Cli::command(), &dir)
                .with_context(|| format!("writing to {}", dir.display()))?;
            Ok(0)
        }
    }
}

fn description(path: &Path) -> Result<Description> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        fs::read_to_string(path)
    };
    let text = text.with_context(|| format!("reading {}", path.display()))?;
    Description::parse(&text).with_context(|| path.display().to_string())
}

fn prepare_host(host: &dyn Host, args: PrepareArgs, out: &mut Out<'_>) -> Result<u8> {
    let mut wanted = match &args.config {
        Some(path) => {
            let text = fs::read_to_string(path);
            let text = text.with_context(|| format!("reading {}", path.display()))?;
            Wanted::parse(&text).with_context(|| path.display().to_string())?
        }
        None => Wanted {
            pf: None,
            vfs: args.vfs,
            vf: args.vf,
        },
    };
    if args.pf.pf.is_some() {
        wanted.pf = args.pf.pf;
    }
    wanted.validate()?;
    if wanted.vfs.is_none() && wanted.vf.is_empty() {
        bail!("nothing is wanted: give --vfs, --vf or --config");
    }
    let place = find(host, wanted.pf.as_deref())?;
    let outcome = prepare(host, &place, &wanted)?;
    out.print(&outcome.to_string())?;
    Ok(outcome.code())
}

fn watch(
    host: &dyn Host,
    pf: Option<&str>,
    vf: u32,
    interval: Duration,
    timeout: Option<Duration>,
    out: &mut Out<'_>,
) -> Result<u8> {
    let place = find(host, pf)?;
    let d = describe(host, &place)?;
    let vf = d.vf(vf).with_context(|| format!("there is no VF {vf}"))?;
    let address = vf.address.clone();
    let start = Instant::now();
    let mut say = |line: &str| {
        let now = start.elapsed();
        out.print(&format!(
            "{:4}.{:03} s  {line}\n",
            now.as_secs(),
            now.subsec_millis()
        ))
    };
    let files = vfio_files(host, &format!("{PCI}/{address}"), vf.iommu_group.as_deref());
    let first = Sample::take(host, &address, &files);
    if first.state.is_none() {
        bail!("{address} has no VFIO state: it needs {VFIO_DRIVER}, debugfs, and you to be root");
    }
    let (mut watch, lines) = Watch::new(first);
    lines.iter().try_for_each(|l| say(l))?;
    loop {
        host.sleep(interval);
        let (lines, ending) = watch.observe(Sample::take(host, &address, &files));
        lines.iter().try_for_each(|l| say(l))?;
        if let Some(ending) = ending {
            say(ending.text())?;
            return Ok(u8::from(!ending.moved()));
        }
        if timeout.is_some_and(|t| start.elapsed() >= t) {
            say("no move has ended in this time")?;
            return Ok(CANNOT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// Runs a command line on a host; what it printed and its exit code.
    fn on(host: &dyn Host, args: &[&str]) -> Result<(String, u8)> {
        let all = std::iter::once("ixgbe-migrate").chain(args.iter().copied());
        let cli = Cli::try_parse_from(all)?;
        let mut out = Vec::new();
        let code = run(host, cli.command, &mut Out(&mut out))?;
        Ok((String::from_utf8(out)?, code))
    }

    #[test]
    fn from_prepare_to_release() -> Result<()> {
        let fake = Fake::new();
        let vf = "0,mac=02:00:00:00:00:a0,trust=on";
        let args = ["prepare", "--pf", "eth1", "--vfs", "2", "--vf", vf];
        let (text, code) = on(&fake, &args)?;
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("VF 0 mac: 02:00:00:00:00:a0 (was 00:00:00:00:00:00)"));
        assert_eq!(on(&fake, &args)?, ("nothing to change\n".into(), 0));
        let (text, code) = on(&fake, &["status"])?;
        assert_eq!(code, 0);
        assert!(text.contains("VF 0 0000:01:10.0 02:00:00:00:00:a0: ixgbe_vfio_pci, migratable"));
        assert!(text.contains("used by: nobody"), "{text}");

        // Compared with its like and with a host that is not prepared.
        let dir = tempfile::tempdir()?;
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let (a, b) = (path("a.json"), path("b.json"));
        let (text, _) = on(&fake, &["describe", "--json"])?;
        let d = Description::parse(&text)?;
        assert!(d.unknown.iter().any(|u| u.what == "guest.frame_size"));
        fs::write(&a, &text)?;
        assert_eq!(
            on(&fake, &["check", &a, &a])?,
            ("VF 0 to VF 0: fits\n".into(), 0)
        );
        fs::write(&b, text.replace("\"trust\": true", "\"trust\": false"))?;
        let (text, code) = on(&fake, &["check", &a, &b])?;
        assert!(code == 0 && text.contains("depends on the guest"), "{text}");
        assert_eq!(on(&fake, &["check", &a, &b, "--strict"])?.1, 1);

        assert_eq!(on(&fake, &["release"])?.1, 0);
        fs::write(&b, on(&fake, &["describe"])?.0)?;
        let (text, code) = on(&fake, &["check", &a, &b, "--json"])?;
        assert_eq!(code, 1);
        let verdict: serde_json::Value = serde_json::from_str(&text)?;
        assert_eq!(verdict.get("fits"), Some(&false.into()));

        // What is needed and was not seen is neither yes nor no.
        let mut blind = d;
        blind.vfs.iter_mut().for_each(|vf| vf.users = None);
        fs::write(&b, serde_json::to_string(&blind)?)?;
        assert_eq!(on(&fake, &["check", &a, &b])?.1, 2);
        blind.version = 2;
        fs::write(&b, serde_json::to_string(&blind)?)?;
        let said = format!("{:#}", on(&fake, &["check", &a, &b]).unwrap_err());
        assert!(said.contains("version 2"), "{said}");
        Ok(())
    }

    #[test]
    fn wrong_usage() {
        let fake = Fake::new();
        for args in [
            &["prepare"] as &[&str],
            &["prepare", "--vfs", "99"],
            &["prepare", "--vf", "0,x=y"],
            &["prepare", "--config", "/no/such/file"],
            &["prepare", "--config", "f", "--vfs", "2"],
            &["check", "a"],
            &["watch"],
            &["status", "--pf", "nothing"],
            &["status", "--pf", "../x"],
        ] {
            assert!(on(&fake, args).is_err(), "{args:?}");
        }
        assert!(fake.log.borrow().is_empty());
    }

    #[test]
    fn man_pages_and_completions() -> Result<()> {
        let fake = Fake::new();
        let dir = tempfile::tempdir()?;
        assert_eq!(on(&fake, &["man", &dir.path().to_string_lossy()])?.1, 0);
        let page = fs::read_to_string(dir.path().join("ixgbe-migrate-prepare.1"))?;
        assert!(page.contains("second run changes nothing"));
        for shell in ["bash", "zsh", "fish"] {
            let (text, _) = on(&fake, &["completions", shell])?;
            assert!(text.contains("describe"), "{shell}");
        }
        Ok(())
    }

    #[test]
    fn pairs_of_vfs() -> Result<()> {
        assert_eq!(vf_pair("3")?, (3, 3));
        assert_eq!(vf_pair("3:0")?, (3, 0));
        for text in ["", ":", "1:", "a", "1:2:3", "-1"] {
            assert!(vf_pair(text).is_err(), "{text}");
        }
        Ok(())
    }
}
