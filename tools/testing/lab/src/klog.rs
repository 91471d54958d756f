// SPDX-License-Identifier: GPL-2.0
//! Kernel logs: records of `/dev/kmsg`, and what in them fails a suite.

use std::fmt::Write;
use std::path::Path;

use anyhow::{bail, Context, Result};
use regex::{Regex, RegexSet};
use serde::Serialize;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Severity, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Its number since boot; none for what the lab's agent says of the log.
    pub seq: Option<u64>,
    /// Microseconds since boot.
    pub at_us: u64,
    /// The message, without continuation fields.
    pub text: String,
}

impl Record {
    /// Reads a record in the form of `/dev/kmsg`: `prio,seq,usec,flags;text`, then lines of key=value.
    pub fn parse(raw: &str) -> Option<Self> {
        let (head, text) = raw.split_once(';')?;
        let mut fields = head.split(',');
        let prio: u32 = fields.next()?.parse().ok()?;
        let seq = fields.next()?.parse().ok();
        let at_us = fields.next()?.parse().ok()?;
        let text = text.lines().next().unwrap_or_default().to_owned();
        Some(Self {
            level: u8::try_from(prio & 7).ok()?,
            seq,
            at_us,
            text,
        })
    }
}

/// Writes a log as `dmesg` prints it, with the severity in front as `dmesg -r` has it.
///
/// # Errors
/// If the file cannot be written.
pub fn save(path: &Path, log: &[Record]) -> Result<()> {
    let mut text = String::new();
    for r in log {
        let (s, us) = (r.at_us / 1_000_000, r.at_us % 1_000_000);
        writeln!(text, "<{}>[{s:5}.{us:06}] {}", r.level, r.text)?;
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// Messages of the kernel after which nothing that a test says can be trusted: the tests in the machine read the same list.
const PATTERNS: &str = include_str!("../../selftests/drivers/net/ixgbe/lib/py/klog-patterns.txt");

/// What a line of the list is; see its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fault,
    Error,
    Trace,
    Cause,
}

/// The worst severity that is none of an error's: `KERN_WARNING`.
const WARNING: u8 = 4;

/// How many records after a report a part of it may come.
const REPORT: usize = 64;

/// Reads the list of patterns.
fn read(list: &str) -> Result<Vec<(Kind, &str)>> {
    list.lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|line| {
            let (kind, expression) = line.split_once(' ').context("a line has no blank")?;
            let kind = match kind {
                "fault" => Kind::Fault,
                "error" => Kind::Error,
                "trace" => Kind::Trace,
                "cause" => Kind::Cause,
                other => bail!("there is no kind {other}"),
            };
            Ok((kind, expression))
        })
        .collect()
}

/// How a test announces messages that it provokes on purpose, see tools/testing/selftests/README.rst.
const EXPECT: &str = "ksft: expect ";
const EXPECT_END: &str = "ksft: expect-end";

/// How far a log was looked at, for one that grows.
#[derive(Debug, Default)]
pub struct Watch {
    /// Number of the next record, unless the log was not looked at from its beginning.
    next: Option<u64>,
    /// What a test has announced.
    expected: Option<Regex>,
    /// For how many more records a trace belongs to a report that came before.
    report: usize,
}

impl Watch {
    /// For a log that is looked at from the machine's boot on.
    pub fn from_boot() -> Self {
        Self {
            next: Some(0),
            ..Self::default()
        }
    }

    /// How many records are missing before this one. A kernel that was started again counts from 0.
    fn missing(&mut self, record: &Record) -> u64 {
        let Some(seq) = record.seq else { return 0 };
        let want = self.next.replace(seq.saturating_add(1));
        match want {
            Some(want) => seq.saturating_sub(want),
            None => 0,
        }
    }
}

/// Finds faults in a kernel log.
pub struct Scanner {
    kinds: Vec<Kind>,
    patterns: RegexSet,
    /// Drivers whose errors are no faults, as their messages begin.
    foreign: Vec<String>,
}

impl Scanner {
    /// Makes one.
    ///
    /// # Errors
    /// If the list of patterns is wrong.
    pub fn new() -> Result<Self> {
        let list = read(PATTERNS).context("patterns of kernel faults")?;
        Ok(Self {
            kinds: list.iter().map(|(k, _)| *k).collect(),
            patterns: RegexSet::new(list.iter().map(|(_, e)| *e))
                .context("patterns of kernel faults")?,
            foreign: Vec::new(),
        })
    }

    /// Does not count errors of these modules: mainline's, which the tests provoke, and which are not what is tested.
    pub fn without_errors_of(mut self, modules: &[&str]) -> Self {
        // `dev_err()` puts the device after the name, `pr_err()` a colon. Without either, `ixgbe` would be `ixgbe_rust` as well.
        self.foreign = modules
            .iter()
            .flat_map(|m| [format!("{m} "), format!("{m}: ")])
            .collect();
        self
    }

    /// The faults in a whole log, with the lines that follow each.
    pub fn scan(&self, log: &[Record]) -> Vec<String> {
        self.go_on(&mut Watch::from_boot(), log)
    }

    /// The faults in the records that came since the watch was last given any.
    pub fn go_on(&self, watch: &mut Watch, log: &[Record]) -> Vec<String> {
        let mut faults = Vec::new();
        for (i, record) in log.iter().enumerate() {
            let text = record.text.as_str();
            let missing = watch.missing(record);
            if missing > 0 {
                faults.push(format!(
                    "{missing} records of the kernel log are missing before: {text}"
                ));
            }
            if let Some(expression) = text.strip_prefix(EXPECT) {
                match Regex::new(expression) {
                    Ok(r) => watch.expected = Some(r),
                    Err(e) => faults.push(format!("an expectation that cannot be read: {e}")),
                }
            } else if text.starts_with(EXPECT_END) {
                watch.expected = None;
            } else if self.is_fault(watch, record) {
                let report: Vec<&str> = log
                    .iter()
                    .skip(i)
                    .take(40)
                    .map(|r| r.text.as_str())
                    .collect();
                faults.push(report.join("\n"));
            }
        }
        faults
    }

    fn is_fault(&self, watch: &mut Watch, record: &Record) -> bool {
        let found = self.patterns.matches(&record.text);
        let is = |kind| {
            found
                .iter()
                .any(|i| self.kinds.get(i).copied() == Some(kind))
        };
        let ours = || !self.foreign.iter().any(|m| record.text.starts_with(m));
        let begins = is(Kind::Fault) || is(Kind::Error) && record.level < WARNING && ours();
        let stray = is(Kind::Trace) && watch.report == 0;
        watch.report = if begins || stray || is(Kind::Cause) {
            REPORT
        } else {
            watch.report.saturating_sub(1)
        };
        let expected = watch.expected.as_ref();
        (begins || stray) && !expected.is_some_and(|r| r.is_match(&record.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> Vec<Record> {
        lines
            .iter()
            .zip(0..)
            .map(|(l, seq)| Record {
                level: 4,
                seq: Some(seq),
                at_us: 0,
                text: (*l).to_owned(),
            })
            .collect()
    }

    fn count(lines: &[&str]) -> usize {
        Scanner::new()
            .expect("our own expressions")
            .scan(&log(lines))
            .len()
    }

    #[test]
    fn reads_records() {
        let r = Record::parse("4,1234,5678901,-;ixgbe 0000:01:00.0: up\n SUBSYSTEM=pci\n")
            .expect("a record");
        assert_eq!(
            (r.level, r.seq, r.at_us, r.text.as_str()),
            (4, Some(1234), 5_678_901, "ixgbe 0000:01:00.0: up")
        );
        assert_eq!(Record::parse("nonsense"), None);
    }

    #[test]
    fn sees_faults() {
        for fault in [
            "WARNING: CPU: 1 PID: 77 at net/core/dev.c:6789 x+0x1/0x2",
            "BUG: KASAN: slab-use-after-free in ixgbe_x",
            "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580",
            "DMAR: [DMA Write NO_PASID] Request device [01:10.0] fault addr 0x1000 [fault reason 0x05] PTE Write access is not set",
            "INFO: task kworker/0:1:9 blocked for more than 122 seconds.",
            "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: {",
            "Call Trace:",
            "RIP: 0010:ixgbe_x+0x1/0x2",
            "ref_tracker: netdev@00000000f3a1 has 1/1 users at",
            "page_pool_release_retry() stalled pool shutdown: id 12, 3 inflight 60 sec",
            "INFO: lockdep is turned off.",
            "ip: page allocation failure: order:4, mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO)",
            "Out of memory: Killed process 99 (python3) total-vm:1kB",
            "list_add corruption. prev->next should be next (x), but was y.",
            "ODEBUG: free active (active state 0) object: x object type: timer_list hint: y",
            "unreferenced object 0xffff888 (size 32):",
            "DMA-API: ixgbe 0000:01:00.0: device driver has pending DMA allocations while released from device [count=1]",
            "lab-agent: the kernel log cannot be read: Invalid argument",
        ] {
            assert_eq!(count(&[fault]), 1, "{fault}");
        }
    }

    #[test]
    fn leaves_ordinary_messages_alone() {
        assert_eq!(
            count(&[
                "DMAR: Host address width 39",
                "DMAR: Hardware identity mapping for device 0000:00:00.0",
                "ixgbe 0000:01:00.0: NIC Link is Up 10 Gbps, Flow Control: RX/TX",
                "DMA-API: preallocated 65536 debug entries",
                "debug: BUGS are found by tests",
                "DMA-API: debugging enabled by kernel config",
                "FAULT_INJECTION: forcing a failure.",
                "Call Trace:",
            ]),
            0
        );
    }

    #[test]
    fn a_report_is_one_fault() {
        let report = ["WARNING: CPU: 1 PID: 77 at x", "RIP: 0010:x", "Call Trace:"];
        assert_eq!(count(&report), 1);
        let expected = [
            "ksft: expect WARNING.* at x",
            report[0],
            report[1],
            report[2],
        ];
        assert_eq!(count(&expected), 0);
        let mut late = vec![report[0]];
        late.resize(REPORT + 2, "something else");
        late.push(report[2]);
        assert_eq!(count(&late), 2);
    }

    #[test]
    fn an_error_of_a_driver_is_a_fault_unless_announced() {
        let at = |level, lines: &[&str]| {
            let mut log = log(lines);
            log.iter_mut().for_each(|r| r.level = level);
            Scanner::new().expect("our own list").scan(&log).len()
        };
        let hang = "ixgbevf 0000:00:03.0: Detected Tx Unit Hang";
        assert_eq!(at(3, &[hang]), 1);
        assert_eq!(at(4, &[hang]), 0);
        assert_eq!(at(3, &["tun: not ours"]), 0);
        assert_eq!(at(3, &["ksft: expect Unit Hang", hang]), 0);
    }

    #[test]
    fn errors_of_mainline_are_its_own() -> Result<()> {
        let mut log = log(&[
            "ixgbe 0000:01:00.0: NDO set VF link - invalid VF identifier 2",
            "ixgbevf 0000:01:10.0 eth1: Could not remove VLAN 0",
            "ixgbevf: Detected Tx Unit Hang",
            "WARNING: in ixgbe",
            "ixgbe_rust 0000:01:00.0: MAC reset",
            "ixgbevf_rust 0000:01:10.0 eth1: Detected Tx Unit Hang",
        ]);
        for record in &mut log {
            record.level = 3;
        }
        assert_eq!(Scanner::new()?.scan(&log).len(), 6);
        let faults = |modules: &[&str]| -> Result<usize> {
            Ok(Scanner::new()?.without_errors_of(modules).scan(&log).len())
        };
        assert_eq!(faults(&["ixgbe"])?, 5);
        assert_eq!(faults(&["ixgbe", "ixgbevf"])?, 3);
        Ok(())
    }

    #[test]
    fn lost_records_are_a_fault() {
        let scanner = Scanner::new().expect("our own list");
        let mut records = log(&["a", "b", "c", "d"]);
        assert!(scanner.scan(&records).is_empty());
        records.remove(1);
        let faults = scanner.scan(&records);
        assert!(
            matches!(&faults[..], [f] if f.starts_with("1 records")),
            "{faults:?}"
        );
        // The beginning is missing.
        assert_eq!(scanner.scan(&records[1..]).len(), 1);
        // What the agent says has no number, and a log that is looked at in parts is the same log.
        let mut watch = Watch::from_boot();
        let mut parts = log(&["a", "b", "c"]);
        parts.insert(
            1,
            Record::parse("6,-,0,-;lab-agent: note").expect("a record"),
        );
        assert!(scanner.go_on(&mut watch, &parts[..2]).is_empty());
        assert!(scanner.go_on(&mut watch, &parts[2..]).is_empty());
        // A guest that was started again.
        assert!(scanner.go_on(&mut watch, &log(&["anew"])).is_empty());
    }

    #[test]
    fn the_list_is_read_whole() {
        assert!(read("fault").is_err() && read("oops x").is_err());
        let list = read(PATTERNS).expect("our own list");
        assert!(list.len() > 40);
        assert!(
            list.iter().all(|(_, e)| !e.contains("(?")),
            "Python's re differs"
        );
    }

    #[test]
    fn expected_messages_pass_between_their_marks_only() {
        let dmar = "DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x0";
        assert_eq!(
            count(&["ksft: expect DMAR:.*DMA Write", dmar, "ksft: expect-end"]),
            0
        );
        assert_eq!(
            count(&[
                "ksft: expect DMAR:.*DMA Write",
                "WARNING: x",
                "ksft: expect-end",
                dmar
            ]),
            2
        );
        assert_eq!(count(&["ksft: expect (", "ksft: expect-end"]), 1);
    }
}
