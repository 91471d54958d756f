// SPDX-License-Identifier: GPL-2.0
//! What an open interface holds of the machine's memory.

use anyhow::{Context, Result};
use serde::Serialize;

use super::bed::{Bed, Interface};
use crate::stats;

/// Memory that an open interface holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Memory {
    /// All of it.
    pub(super) total: i64,
    /// Of it from the slab allocator.
    pub(super) slab: i64,
}

impl Memory {
    /// Memory that the interface holds while it is open: the median of what is missing over some rounds.
    pub(super) fn of(bed: &mut Bed, dev: &Interface) -> Result<Memory> {
        const ROUNDS: usize = 7;
        // What is free may be in a list of a processor, which `MemFree` does not count.
        let read = "echo 3 >/proc/sys/vm/drop_caches; sleep 0.2; grep -E '^(MemFree|Slab):' /proc/meminfo; \
                    grep -E '^ +count:' /proc/zoneinfo";
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let name = &dev.name;
            let closed = bed.sh(&format!("ip link set {name} down; sleep 0.3; {read}"))?;
            bed.up(dev)?;
            let open = bed.sh(read)?;
            let (closed, open) = (meminfo(&closed)?, meminfo(&open)?);
            rounds.push(Memory {
                total: closed.total - open.total,
                slab: open.slab - closed.slab,
            });
        }
        bed.sh(&format!("ip link set {} down", dev.name))?;
        let median = |of: fn(&Memory) -> i64| {
            // Bytes are exact in f64.
            stats::median(rounds.iter().map(|m| of(m) as f64)) as i64
        };
        Ok(Memory {
            total: median(|m| m.total),
            slab: median(|m| m.slab),
        })
    }
}

/// Bytes of a page of the machine.
const PAGE: i64 = 4096;

/// Free memory and slab, in bytes: of `/proc/meminfo`, with the processors' lists of `/proc/zoneinfo`.
fn meminfo(text: &str) -> Result<Memory> {
    let of = |key: &str| {
        text.lines()
            .find_map(|l| {
                l.strip_prefix(key)?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse()
                    .ok()
            })
            .map(|kib: i64| kib * 1024)
            .with_context(|| format!("no {key} in {text}"))
    };
    let listed: i64 = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("count:")?.trim().parse::<i64>().ok())
        .sum();
    Ok(Memory {
        total: of("MemFree:")? + listed * PAGE,
        slab: of("Slab:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() -> Result<()> {
        let m = meminfo(
            "MemTotal: 9 kB\nMemFree:  2048 kB\nSlab:   64 kB\n              count:    2\n",
        )?;
        assert_eq!((m.total, m.slab), ((2 << 20) + 8192, 64 << 10));
        assert!(meminfo("MemFree: 1 kB\n").is_err());
        Ok(())
    }
}
