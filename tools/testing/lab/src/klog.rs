// SPDX-License-Identifier: GPL-2.0
//! Kernel logs: records of `/dev/kmsg`, and what in them fails a suite.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use regex::{Regex, RegexSet};
use serde::Serialize;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Severity, 0 (emergency) to 7 (debug).
    pub level: u8,
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
        let at_us = fields.nth(1)?.parse().ok()?;
        let text = text.lines().next().unwrap_or_default().to_owned();
        Some(Self {
            level: u8::try_from(prio & 7).ok()?,
            at_us,
            text,
        })
    }
}

/// Writes a log as `dmesg` prints it.
///
/// # Errors
/// If the file cannot be written.
pub fn save(path: &Path, log: &[Record]) -> Result<()> {
    let mut text = String::new();
    for r in log {
        let (s, us) = (r.at_us / 1_000_000, r.at_us % 1_000_000);
        writeln!(text, "[{s:5}.{us:06}] {}", r.text)?;
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// Messages of the kernel after which nothing that a test says can be trusted.
const FAULTS: &[&str] = &[
    // kernel/panic.c, lib/bug.c, arch/x86/kernel/dumpstack.c
    r"^WARNING: ",
    r"\bBUG: ",
    r"^kernel BUG at ",
    r"\bOops: ",
    r"general protection fault",
    r"^Kernel panic",
    r"^UBSAN: ",
    // kernel/locking/lockdep.c prints the last three without a prefix.
    r"possible circular locking dependency",
    r"possible recursive locking",
    r"inconsistent lock state",
    r"INFO: trying to register non-static key",
    // kernel/hung_task.c, kernel/watchdog.c, kernel/rcu/tree_stall.h
    r"INFO: task .* blocked for more than",
    r"soft lockup",
    r"rcu.*detected (expedited )?stalls",
    // mm/kmemleak.c
    r"kmemleak: [0-9]+ new suspected memory leaks",
    // drivers/iommu/intel/dmar.c, drivers/iommu/amd/iommu.c
    r"DMAR: \[DMA ",
    r"DMAR: \[INTR-REMAP\]",
    r"AMD-Vi: Event logged",
    // lib/refcount.c, net/core/dev.c, net/sched/sch_generic.c
    r"refcount_t: ",
    r"unregister_netdevice: waiting for",
    r"NETDEV WATCHDOG",
    // drivers/pci/pcie/aer.c
    r"AER: .*(Fatal|Uncorrectable)",
];

/// How a test announces messages that it provokes on purpose, see tools/testing/selftests/README.rst.
const EXPECT: &str = "ksft: expect ";
const EXPECT_END: &str = "ksft: expect-end";

/// Finds faults in a kernel log.
pub struct Scanner {
    faults: RegexSet,
}

impl Scanner {
    /// Makes one.
    ///
    /// # Errors
    /// If an expression is wrong.
    pub fn new() -> Result<Self> {
        Ok(Self {
            faults: RegexSet::new(FAULTS).context("expressions of kernel faults")?,
        })
    }

    /// The faults in a log, with the lines that follow each.
    pub fn scan(&self, log: &[Record]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut expected: Option<Regex> = None;
        for (i, record) in log.iter().enumerate() {
            let text = record.text.as_str();
            if let Some(expression) = text.strip_prefix(EXPECT) {
                match Regex::new(expression) {
                    Ok(r) => expected = Some(r),
                    Err(e) => faults.push(format!("an expectation that cannot be read: {e}")),
                }
            } else if text.starts_with(EXPECT_END) {
                expected = None;
            } else if self.faults.is_match(text)
                && !expected.as_ref().is_some_and(|r| r.is_match(text))
            {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> Vec<Record> {
        lines
            .iter()
            .map(|l| Record {
                level: 4,
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
            (r.level, r.at_us, r.text.as_str()),
            (4, 5_678_901, "ixgbe 0000:01:00.0: up")
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
            ]),
            0
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
