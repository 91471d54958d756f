// SPDX-License-Identifier: GPL-2.0
//! The command line.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::bench::{bench, Bench};
use crate::cache::Cache;
use crate::kernel::Flavour;
use crate::lab::{find_tree, Lab};
use crate::migrate::{migrate, MigrateArgs};
use crate::package::{package, PackageArgs};
use crate::series::{series, SeriesArgs};
use crate::setup::both;
use crate::shell::{shell, ShellArgs};
use crate::test::{test, TestArgs};
use crate::{process, qemu, rootfs, stock, toolchain};

/// Builds kernel, QEMU with a software 82599, and modules; boots hosts; runs tests.
#[derive(Parser, Debug)]
#[command(name = "cargo lab", bin_name = "cargo lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Emulate hosts by the QEMU that has patches for speed, not repairs alone: less waiting, but
    /// no figure for comparison.
    #[arg(long, global = true)]
    fast_emulator: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Fetch and prepare everything that does not depend on this project's code.
    Setup,
    /// Build kernels, QEMU with the model, and the modules.
    Build {
        /// Which kernels; the release one where none is named.
        #[arg(long, value_enum)]
        kernel: Vec<Flavour>,
    },
    /// Compile the modules with W=1 and clippy, and their crates' documentation: a warning is an
    /// error.
    Check {
        /// For which kernel.
        #[arg(long, value_enum, default_value = "stock")]
        kernel: Flavour,
    },
    /// Boot one or two hosts and give a prompt, or run a script.
    Shell(ShellArgs),
    /// Run test suites.
    Test(TestArgs),
    /// Migrate a running VM with its VF from one emulated host to another, and report what its peer saw.
    Migrate(MigrateArgs),
    /// Make Debian packages: the modules for Debian's own kernel, their source for DKMS, the host tool.
    Package(PackageArgs),
    /// Make a series of patches for the kernel from the tree.
    Series(SeriesArgs),
    /// Measure.
    #[command(subcommand)]
    Bench(Bench),
}

/// Runs the command line of this process and gives its exit status.
pub fn main() -> i32 {
    let cli = Cli::parse();
    if cli.fast_emulator {
        // No other thread runs yet.
        std::env::set_var("LAB_EMULATOR", "fast");
    }
    let result = process::handle_signals().and_then(|()| run(cli.command));
    process::clean_up();
    match result {
        Ok(()) => 0,
        Err(e) => {
            let text = format!("{e:#}");
            eprintln!("error: {text}");
            // What helps to find a cause can have pages, and the end of a log is what is read.
            if let Some((reason, _)) = text.split_once('\n') {
                eprintln!("error, see above: {reason}");
            }
            1
        }
    }
}

fn setup() -> Result<()> {
    let (cache, tree) = (Cache::open()?, find_tree()?);
    toolchain::packages(&cache)?;
    both(
        || {
            qemu::source(&cache, &tree)?;
            rootfs::ensure(&cache)
        },
        || stock::ensure(&cache, &tree, Flavour::Stock),
    )?;
    Ok(())
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup => setup(),
        Command::Build { kernel } => {
            let flavours = if kernel.is_empty() {
                vec![Flavour::Release]
            } else {
                kernel
            };
            let lab = Lab::open(&flavours)?;
            for f in flavours {
                let kernel = lab.kernel(f)?;
                lab.modules(&kernel)?;
            }
            Ok(())
        }
        Command::Check { kernel } => {
            let lab = Lab::open(&[kernel])?;
            lab.check(&lab.kernel(kernel)?)
        }
        Command::Shell(args) => shell(&args),
        Command::Test(args) => test(&args),
        Command::Migrate(args) => migrate(&args),
        Command::Package(args) => package(&args),
        Command::Series(args) => series(&args),
        Command::Bench(what) => bench(&what),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_seed_and_a_plan_exclude_each_other() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("lab migrate --random 7 --moves 5 --json x").is_ok());
        assert!(parse("lab migrate --rounds 5 --guest-cpus 2 --traffic both").is_ok());
        assert!(parse("lab migrate --random 7 --rounds 5").is_err());
        assert!(parse("lab migrate --moves 5").is_err());
        assert!(parse("lab bench report").is_err());
    }
}
