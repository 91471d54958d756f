// SPDX-License-Identifier: GPL-2.0
//! Speaks with the counting plugin in QEMU (`tools/testing/qemu/plugin/count.c`), and tells by symbol what it counted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

/// How long a machine must execute nothing to count as idle: longer than interrupt moderation holds an interrupt back
/// (a millisecond at most).
const SETTLED: Duration = Duration::from_millis(3);

/// What was executed since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Instructions in kernel mode.
    pub(crate) kernel: u64,
    /// Accesses of device registers by code in modules.
    pub(crate) mmio: u64,
}

/// The plugin.
pub(crate) struct Counter {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Counter {
    /// Connects to the plugin's socket.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let writer = UnixStream::connect(socket)
            .with_context(|| format!("connecting to the plugin at {}", socket.display()))?;
        writer.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self {
            reader: BufReader::new(writer.try_clone()?),
            writer,
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self
            .reader
            .read_line(&mut line)
            .context("the plugin does not answer")?
            == 0
        {
            bail!("QEMU closed the plugin's socket");
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn ask(&mut self, request: &str) -> Result<String> {
        self.writer.write_all(format!("{request}\n").as_bytes())?;
        self.line()
    }

    fn numbers<const N: usize>(&mut self, request: &str) -> Result<[u64; N]> {
        let answer = self.ask(request)?;
        numbers(&answer).with_context(|| format!("the plugin answered \"{answer}\" to {request}"))
    }

    /// Whether the processor halts, and a number that grows while it does not.
    fn idle(&mut self) -> Result<(bool, u64)> {
        let [idle, blocks] = self.numbers("idle")?;
        Ok((idle != 0, blocks))
    }

    /// Waits until the machine has been idle for a while.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        let mut since = Instant::now();
        let (_, mut seen) = self.idle()?;
        while Instant::now() < end {
            thread::sleep(Duration::from_micros(500));
            let (idle, blocks) = self.idle()?;
            if !idle || blocks != seen {
                (seen, since) = (blocks, Instant::now());
            } else if since.elapsed() >= SETTLED {
                return Ok(());
            }
        }
        bail!("the machine does not become idle")
    }

    /// A number that grows while the machine executes something.
    pub(crate) fn blocks(&mut self) -> Result<u64> {
        Ok(self.idle()?.1)
    }

    /// Waits until the machine executes something after [`Counter::blocks`] said `before`.
    pub(crate) fn wait_busy(&mut self, before: u64) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if self.blocks()? != before {
                return Ok(());
            }
            thread::sleep(Duration::from_micros(100));
        }
        bail!("the machine does not take what it was sent")
    }

    /// Zeroes the counts.
    pub(crate) fn reset(&mut self) -> Result<()> {
        match self.ask("reset")?.as_str() {
            "ok" => Ok(()),
            other => bail!("the plugin answered \"{other}\" to reset"),
        }
    }

    /// What was counted.
    pub(crate) fn totals(&mut self) -> Result<Totals> {
        let [kernel, _user, mmio] = self.numbers("get")?;
        Ok(Totals { kernel, mmio })
    }

    /// Executions of every kernel instruction, by address.
    pub(crate) fn histogram(&mut self) -> Result<BTreeMap<u64, u64>> {
        let mut counts = BTreeMap::new();
        let mut line = self.ask("dump")?;
        while !line.is_empty() {
            let (address, count) = histogram_line(&line)
                .with_context(|| format!("the plugin's dump has \"{line}\""))?;
            counts.insert(address, count);
            line = self.line()?;
        }
        Ok(counts)
    }
}

fn numbers<const N: usize>(line: &str) -> Option<[u64; N]> {
    let values: Option<Vec<u64>> = line.split(' ').map(|w| w.parse().ok()).collect();
    values?.try_into().ok()
}

fn histogram_line(line: &str) -> Option<(u64, u64)> {
    let (address, count) = line.split_once(' ')?;
    Some((u64::from_str_radix(address, 16).ok()?, count.parse().ok()?))
}

/// A function of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Symbol {
    /// Its name, with mangling taken off where it is Rust's.
    pub(crate) name: String,
    /// The module that it is in; empty for the kernel itself.
    pub(crate) module: String,
}

/// The functions of a running kernel, by address.
#[derive(Default)]
pub(crate) struct Symbols(BTreeMap<u64, Symbol>);

impl Symbols {
    /// Reads `/proc/kallsyms`.
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(symbol_line).collect())
    }

    /// The function that holds an address.
    pub(crate) fn at(&self, address: u64) -> Option<&Symbol> {
        self.0.range(..=address).next_back().map(|(_, s)| s)
    }

    /// Sums a histogram up by function.
    pub(crate) fn by_function(&self, counts: &BTreeMap<u64, u64>) -> BTreeMap<Symbol, u64> {
        let unknown = Symbol {
            name: "?".into(),
            module: String::new(),
        };
        let mut sums = BTreeMap::new();
        for (address, count) in counts {
            let symbol = self.at(*address).unwrap_or(&unknown);
            *sums.entry(symbol.clone()).or_insert(0) += count;
        }
        sums
    }
}

/// A line of `/proc/kallsyms`, if it is a function: `ffffffffa0001000 t ixgbe_poll\t[ixgbe]`.
fn symbol_line(line: &str) -> Option<(u64, Symbol)> {
    let mut words = line.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let kind = words.next()?;
    if !matches!(kind, "t" | "T" | "w" | "W") {
        return None;
    }
    let name = words.next()?;
    let module = words
        .next()
        .unwrap_or_default()
        .trim_matches(['[', ']'].as_slice());
    Some((
        address,
        Symbol {
            name: format!("{:#}", rustc_demangle::demangle(name)),
            module: module.to_owned(),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KALLSYMS: &str =
        "ffffffff81000000 T _stext\nffffffff81000040 t netif_receive\nffffffff82000000 D jiffies\n\
                            ffffffffa0001000 t ixgbe_poll\t[ixgbe]\n";

    #[test]
    fn what_the_plugin_says_is_read_or_refused() {
        assert_eq!(numbers("1 200"), Some([1, 200]));
        assert_eq!(numbers::<2>("1"), None);
        assert_eq!(numbers::<2>("1 x"), None);
        assert_eq!(
            histogram_line("ffffffff81000000 12"),
            Some((0xffff_ffff_8100_0000, 12))
        );
        assert_eq!(histogram_line("12"), None);
    }

    #[test]
    fn instructions_belong_to_the_function_before_them() {
        let symbols = Symbols::parse(KALLSYMS);
        let counts = [
            (0xffff_ffff_8100_0000, 1),
            (0xffff_ffff_8100_0040, 10),
            (0xffff_ffff_8100_0044, 20),
            (0xffff_ffff_a000_1010, 5),
            (0xffff_0000_0000_0000, 7),
        ]
        .into();
        let sums = symbols.by_function(&counts);
        let of = |name: &str| {
            sums.iter()
                .find(|(s, _)| s.name == name)
                .map(|(s, n)| (s.module.as_str(), *n))
        };
        assert_eq!(of("netif_receive"), Some(("", 30)));
        assert_eq!(of("ixgbe_poll"), Some(("ixgbe", 5)));
        assert_eq!(of("?"), Some(("", 7)));
        assert_eq!(of("jiffies"), None);
    }
}
