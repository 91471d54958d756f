// SPDX-License-Identifier: GPL-2.0
//! Which suites there are: read from `tools/testing/selftests/suites.toml`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{anyhow, bail, Context, Result};
use serde::Deserialize;

use crate::kernel::Flavour;
use crate::lab::{Drivers, Head};

/// Name of the suite that runs `cargo test` on this machine.
pub const HOST: &str = "host";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Programs that several boots run, by a name that `tests` refers to as `@name`.
    #[serde(default)]
    lists: HashMap<String, Vec<String>>,
    boot: Vec<Entry>,
}

impl File {
    /// The programs of an entry.
    fn tests(&self, entry: &Entry) -> Result<Vec<String>> {
        let mut tests = Vec::new();
        for test in &entry.tests {
            match test.strip_prefix('@') {
                Some(name) => tests.extend_from_slice(
                    self.lists
                        .get(name)
                        .ok_or_else(|| anyhow!("there is no list {name}"))?,
                ),
                None => tests.push(test.clone()),
            }
        }
        Ok(tests)
    }
}

/// One kind of boot of a suite; see the head of the file for what each field means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    suite: String,
    boot: String,
    #[serde(default = "any_head")]
    head: Vec<Head>,
    #[serde(default = "any_kernel")]
    kernels: Vec<Flavour>,
    #[serde(default)]
    cmdline: String,
    #[serde(default)]
    device: String,
    #[serde(default = "two")]
    cpus: u32,
    #[serde(default = "one")]
    cards: u8,
    #[serde(default = "default_memory")]
    memory: u32,
    #[serde(default = "c_drivers")]
    drivers: Vec<(Drivers, Drivers)>,
    #[serde(default = "default_timeout")]
    timeout: u64,
    #[serde(default)]
    long: bool,
    tests: Vec<String>,
}

/// Why a run leaves out a boot that it has with another kernel.
pub const OTHER_KERNEL: &str = "it is run with another kernel: name this one to have it";

/// Why a run of everything leaves out what takes long.
pub const LONG: &str = "it takes long: name it to run it";

fn any_head() -> Vec<Head> {
    vec![Head::Value]
}

fn any_kernel() -> Vec<Flavour> {
    vec![Flavour::Release, Flavour::Stock]
}

fn c_drivers() -> Vec<(Drivers, Drivers)> {
    vec![(Drivers::C, Drivers::C)]
}

fn two() -> u32 {
    2
}

fn one() -> u8 {
    1
}

fn default_memory() -> u32 {
    2048
}

fn default_timeout() -> u64 {
    600
}

/// One boot with its tests.
#[derive(Clone, Debug, PartialEq)]
pub struct Boot {
    /// Suite.
    pub suite: String,
    /// Name of the boot in the suite.
    pub boot: String,
    /// Head policy of the model.
    pub head: Head,
    /// Kernel.
    pub kernel: Flavour,
    /// Whether this is the kernel that the boot has where none is asked for.
    pub first_kernel: bool,
    /// Added to the kernel's command line.
    pub cmdline: String,
    /// Added to the properties of the device.
    pub device: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Cards of the tested kind.
    pub cards: u8,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// PF and VF driver.
    pub drivers: (Drivers, Drivers),
    /// Seconds that one test program may take on the release kernel.
    pub timeout_s: u64,
    /// Whether a run of everything leaves it out, see [`LONG`].
    pub long: bool,
    /// Programs.
    pub tests: Vec<String>,
}

impl Boot {
    /// Why a run of `pattern` on `kernels` leaves this boot out, if it does.
    ///
    /// What is long runs for any pattern that takes it. Of the kernels of a boot the first is
    /// taken; another one is asked for by its name, in the pattern or by `--kernel`.
    pub fn left_out(&self, pattern: Option<&str>, kernels: &[Flavour]) -> Option<&'static str> {
        if pattern.is_none() && self.long {
            return Some(LONG);
        }
        let named = pattern.is_some_and(|p| p.split_whitespace().any(|w| w == self.kernel.name()));
        // The name of a suite of the debug kernel alone may have it too.
        let debug = self.kernel == Flavour::Debug && pattern.is_some_and(|p| p.contains("debug"));
        let first = self.first_kernel && self.kernel != Flavour::Debug;
        if first || named || debug || kernels.contains(&self.kernel) {
            return None;
        }
        Some(match self.kernel {
            Flavour::Debug => "ask for the debug kernel by its name",
            _ => OTHER_KERNEL,
        })
    }

    /// What tells this boot from the others: `mainline/main release c+c head=zero`.
    pub fn name(&self) -> String {
        format!(
            "{}/{} {} {}+{} head={}",
            self.suite,
            self.boot,
            self.kernel.name(),
            self.drivers.0.name(),
            self.drivers.1.name(),
            self.head.name()
        )
    }
}

fn expand(text: &str) -> Result<Vec<Boot>> {
    let file: File = toml::from_str(text)?;
    let mut boots = Vec::new();
    for e in &file.boot {
        let tests = file.tests(e)?;
        if e.suite == HOST {
            bail!("the suite {HOST} is the lab's own");
        }
        for (i, &kernel) in e.kernels.iter().enumerate() {
            for &drivers in &e.drivers {
                for &head in &e.head {
                    boots.push(Boot {
                        suite: e.suite.clone(),
                        boot: e.boot.clone(),
                        head,
                        kernel,
                        first_kernel: i == 0,
                        cmdline: e.cmdline.clone(),
                        device: e.device.clone(),
                        cpus: e.cpus,
                        cards: e.cards,
                        memory_mib: e.memory,
                        drivers,
                        timeout_s: e.timeout,
                        long: e.long,
                        tests: tests.clone(),
                    });
                }
            }
        }
    }
    Ok(boots)
}

/// Every boot of every suite.
///
/// # Errors
/// If the file cannot be read or is wrong.
pub fn load(tree: &Path) -> Result<Vec<Boot>> {
    let path = tree.join("tools/testing/selftests/suites.toml");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    expand(&text).with_context(|| format!("in {}", path.display()))
}

/// Whether a boot is chosen by the pattern of the command line: a part of its name.
pub fn is_chosen(name: &str, pattern: Option<&str>) -> bool {
    pattern.is_none_or(|p| name.contains(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[boot]]
        suite = "mainline"
        boot = "main"
        head = ["value", "zero"]
        kernels = ["release", "debug"]
        drivers = [["c", "c"], ["rust", "c"]]
        tests = ["drivers/net/ixgbe/probe.py"]
    "#;

    #[test]
    fn every_combination_is_a_boot() -> Result<()> {
        let boots = expand(TEXT)?;
        assert_eq!(boots.len(), 8);
        let names: std::collections::HashSet<String> = boots.iter().map(Boot::name).collect();
        assert_eq!(names.len(), 8);
        assert!(names.contains("mainline/main debug rust+c head=zero"));
        assert!(
            is_chosen("mainline/main debug", Some("main"))
                && !is_chosen("mainline/main", Some("drivers"))
        );
        Ok(())
    }

    #[test]
    fn the_debug_kernel_is_asked_for() -> Result<()> {
        for boot in expand(TEXT)? {
            let debug = boot.kernel == Flavour::Debug;
            assert_eq!(boot.left_out(None, &[]).is_some(), debug);
            assert_eq!(boot.left_out(Some("mainline"), &[]).is_some(), debug);
            assert!(boot.left_out(Some("main debug"), &[]).is_none() || !debug);
            assert!(boot.left_out(None, &[Flavour::Debug]).is_none() || !debug);
        }
        for boot in expand(&TEXT.replace("suite =", "long = true\nsuite ="))? {
            assert!(boot.left_out(None, &[]).is_some());
            assert!(boot.left_out(Some(&boot.name()), &[]).is_none());
        }
        Ok(())
    }

    #[test]
    fn the_first_kernel_is_taken_and_others_by_name() -> Result<()> {
        let text = TEXT.replace("[\"release\", \"debug\"]", "[\"stock\", \"release\"]");
        for boot in expand(&text)? {
            let other = boot.kernel == Flavour::Release;
            let out = |p, k: &[Flavour]| boot.left_out(p, k) == Some(OTHER_KERNEL);
            assert_eq!(out(None, &[]), other);
            assert_eq!(out(Some("mainline"), &[]), other);
            assert!(!out(Some("mainline release"), &[]));
            assert!(!out(None, &[Flavour::Release]));
        }
        Ok(())
    }

    #[test]
    fn a_list_stands_for_its_programs() -> Result<()> {
        let text = format!(
            "lists.some = [\"a.py\", \"b.py\"]\n{}",
            TEXT.replace("[\"drivers/net/ixgbe/probe.py\"]", "[\"@some\", \"c.py\"]")
        );
        for boot in expand(&text)? {
            assert_eq!(boot.tests, ["a.py", "b.py", "c.py"]);
        }
        assert!(expand(&text.replace("lists.some", "lists.other")).is_err());
        Ok(())
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = TEXT.replace("kernels", "kernel");
        assert!(format!("{:#}", expand(&wrong).expect_err("unknown key")).contains("kernel"));
        assert!(expand(&TEXT.replace("\"zero\"", "\"none\"")).is_err());
    }
}
