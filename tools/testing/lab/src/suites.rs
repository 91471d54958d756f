// SPDX-License-Identifier: GPL-2.0
//! Which suites there are: read from `tools/testing/selftests/suites.toml`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{anyhow, bail, Context, Result};
use serde::Deserialize;

use crate::chip::Chips;
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
    /// The entries, one for each boot that they name.
    fn entries(&self) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        for entry in &self.boot {
            let names = match (entry.boot.as_str(), entry.boots.as_slice()) {
                ("", []) => bail!("an entry of {} has no name", entry.suite),
                ("", names) => names,
                (_, []) => std::slice::from_ref(&entry.boot),
                (name, _) => bail!("{name}: either boot or boots"),
            };
            all.extend(names.iter().map(|name| {
                Entry {
                    boot: name.clone(),
                    tests: entry
                        .tests
                        .iter()
                        .map(|test| test.replace("@boot", &format!("@{name}")))
                        .collect(),
                    ..entry.clone()
                }
            }));
        }
        Ok(all)
    }

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
    #[serde(default)]
    boot: String,
    #[serde(default)]
    boots: Vec<String>,
    #[serde(default = "any_head")]
    head: Vec<Head>,
    #[serde(default = "any_chip")]
    chip: Vec<Chips>,
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
    #[serde(default)]
    packages: bool,
    #[serde(default)]
    dpdk: bool,
    results: Option<Count>,
    skips: Option<Count>,
    tests: Vec<String>,
}

/// A number that a boot must have.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Count {
    /// All boots of the entry.
    Same(usize),
    /// Those that a pattern chooses, as [`is_chosen`] has it.
    Each(BTreeMap<String, usize>),
}

impl Count {
    fn of(&self, name: &str) -> Result<Option<usize>> {
        let each = match self {
            Self::Same(n) => return Ok(Some(*n)),
            Self::Each(each) => each,
        };
        let mut mine = each.iter().filter(|(p, _)| is_chosen(name, Some(p)));
        match (mine.next(), mine.next()) {
            (Some((one, _)), Some((other, _))) => bail!("both {one} and {other} are {name}"),
            (first, _) => Ok(first.map(|(_, n)| *n)),
        }
    }
}
/// Why a run leaves out a boot that it has with another kernel.
pub const OTHER_KERNEL: &str = "it is run with another kernel: name this one to have it";

/// Why a run of everything leaves out what takes long.
pub const LONG: &str = "it takes long: name it to run it";

fn any_head() -> Vec<Head> {
    vec![Head::Value]
}

fn any_chip() -> Vec<Chips> {
    vec![Chips::default()]
}

fn any_kernel() -> Vec<Flavour> {
    vec![Flavour::Stock, Flavour::Release]
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
    1200
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
    /// Chips of the cards.
    pub chips: Chips,
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
    /// Whether the host is a bare Debian, which gets this project's packages.
    pub packages: bool,
    /// Whether the host has DPDK.
    pub dpdk: bool,
    /// How many results its programs must have, those of skipped tests included; `None` where nobody has said.
    pub results: Option<usize>,
    /// How many of them must be skips: none where `results` is given and this is not.
    pub skips: Option<usize>,
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

    /// What tells this boot from the others: `mainline/main release c+c head=zero`, and `chip=x540` if it has no 82599 KX4.
    pub fn name(&self) -> String {
        let chips = if self.chips == Chips::default() {
            String::new()
        } else {
            format!(" chip={}", self.chips)
        };
        format!(
            "{}/{} {} {}+{} head={}{chips}",
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
    for e in &file.entries()? {
        let tests = file.tests(e)?;
        if e.suite == HOST {
            bail!("the suite {HOST} is the lab's own");
        }
        for (i, &kernel) in e.kernels.iter().enumerate() {
            for &drivers in &e.drivers {
                for &head in &e.head {
                    for (n, chips) in e.chip.iter().enumerate() {
                        let mut boot = Boot {
                            suite: e.suite.clone(),
                            boot: e.boot.clone(),
                            head,
                            chips: chips.clone(),
                            kernel,
                            first_kernel: i == 0,
                            cmdline: e.cmdline.clone(),
                            device: e.device.clone(),
                            cpus: e.cpus,
                            cards: e.cards,
                            memory_mib: e.memory,
                            drivers,
                            timeout_s: e.timeout,
                            long: e.long || n > 0,
                            packages: e.packages,
                            dpdk: e.dpdk,
                            results: None,
                            skips: None,
                            tests: tests.clone(),
                        };
                        let name = boot.name();
                        let of = |count: &Option<Count>| match count {
                            Some(count) => count.of(&name),
                            None => Ok(None),
                        };
                        let (results, skips) = (of(&e.results)?, of(&e.skips)?);
                        (boot.results, boot.skips) = (results, skips);
                        boots.push(boot);
                    }
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

/// Whether a boot is chosen by the pattern of the command line: each of its words, between blanks, is a part of the name.
pub fn is_chosen(name: &str, pattern: Option<&str>) -> bool {
    pattern.is_none_or(|p| p.split_whitespace().all(|word| name.contains(word)))
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
    fn a_boot_knows_how_many_results_it_must_have() -> Result<()> {
        for boot in expand(TEXT)? {
            assert_eq!((boot.results, boot.skips), (None, None));
        }
        let with = |line: &str| TEXT.replace("tests =", &format!("{line}\n        tests ="));
        for boot in expand(&with("results = 12"))? {
            assert_eq!((boot.results, boot.skips), (Some(12), None));
        }
        let text = with("results = { \"release c+c\" = 3, debug = 4 }\n        skips = 1");
        for boot in expand(&text)? {
            let want = match (boot.kernel, boot.drivers) {
                (Flavour::Debug, _) => Some(4),
                (_, (Drivers::C, Drivers::C)) => Some(3),
                _ => None,
            };
            assert_eq!(
                (boot.results, boot.skips),
                (want, Some(1)),
                "{}",
                boot.name()
            );
        }
        let twice = with("results = { release = 3, \"c+c\" = 4 }");
        assert!(expand(&twice).is_err());
        Ok(())
    }

    #[test]
    fn each_word_of_a_pattern_is_in_the_name() {
        let name = "drivers/control release rust+rust head=value";
        assert!(is_chosen(name, Some("drivers/ release rust+rust")));
        assert!(is_chosen(name, Some("rust+rust drivers/control")));
        assert!(!is_chosen(name, Some("drivers/ release rust+c")));
    }

    /// The arguments of each `cargo lab test …` in a text, as a shell would split them.
    fn commands(text: &str) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        for rest in text.split("cargo lab test").skip(1) {
            // To the end of the code: a backquote in running text, a comment or the end of the line in an example.
            let command = rest.split(['`', '#', '\n']).next().unwrap_or_default();
            let mut words: Vec<String> = Vec::new();
            for (i, part) in command.split('"').enumerate() {
                if i % 2 == 1 {
                    words.push(part.to_owned());
                } else {
                    words.extend(part.split_whitespace().map(String::from));
                }
            }
            all.push(words);
        }
        all
    }

    #[test]
    fn every_command_of_the_readme_selects_something() -> Result<()> {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let boots = load(&tree)?;
        let mut seen = 0;
        for words in commands(&std::fs::read_to_string(tree.join("README.md"))?) {
            let mut words = words.into_iter();
            let (mut pattern, mut kernel) = (None, None);
            while let Some(word) = words.next() {
                match word.as_str() {
                    "--kernel" => kernel = words.next(),
                    "--json" | "--jobs" => drop(words.next()),
                    _ if word.starts_with('-') => {}
                    _ => pattern = Some(word),
                }
            }
            let cases = crate::migrate::suite::cases();
            let names = boots
                .iter()
                .map(|b| (b.name(), b.kernel.name()))
                .chain(cases.iter().map(|c| (c.name(), c.kernel().name())))
                .chain([(HOST.to_owned(), "")]);
            let chosen = names
                .filter(|(name, k)| {
                    is_chosen(name, pattern.as_deref())
                        && kernel.as_deref().is_none_or(|kernel| kernel == *k)
                })
                .count();
            assert!(
                chosen > 0,
                "README.md: {pattern:?} {kernel:?} selects nothing"
            );
            seen += 1;
        }
        assert!(seen > 0);
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
    fn further_chips_are_named_and_take_long() -> Result<()> {
        let boots = expand(&TEXT.replace("head =", "chip = [\"kx4\", \"kx4+x540\"]\nhead ="))?;
        assert_eq!(boots.len(), 16);
        for boot in boots {
            let further = boot.name().ends_with(" chip=kx4+x540");
            assert_eq!(boot.long, further, "{}", boot.name());
            assert_eq!(boot.name().contains("chip"), further);
        }
        assert!(expand(&TEXT.replace("head =", "chip = [\"x999\"]\nhead =")).is_err());
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
    fn several_boots_stand_in_one_entry() -> Result<()> {
        let text = format!(
            "lists.one = [\"a.py\"]\nlists.two = [\"b.py\"]\n{}",
            TEXT.replace("boot = \"main\"", "boots = [\"one\", \"two\"]")
                .replace("[\"drivers/net/ixgbe/probe.py\"]", "[\"@boot\", \"c.py\"]")
        );
        let boots = expand(&text)?;
        assert_eq!(boots.len(), 16);
        for boot in boots {
            let own = if boot.boot == "one" { "a.py" } else { "b.py" };
            assert_eq!(boot.tests, [own, "c.py"]);
        }
        assert!(expand(&TEXT.replace("boot = \"main\"", "")).is_err());
        assert!(expand(&TEXT.replace("boot = ", "boots = [\"one\"]\nboot = ")).is_err());
        Ok(())
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = TEXT.replace("kernels", "kernel");
        assert!(format!("{:#}", expand(&wrong).expect_err("unknown key")).contains("kernel"));
        assert!(expand(&TEXT.replace("\"zero\"", "\"none\"")).is_err());
    }
}
