// SPDX-License-Identifier: GPL-2.0
//! What tests and benchmarks want to know that no register tells: MMIO accesses by function, pages that the device wrote,
//! and why frames were lost.

use std::collections::BTreeSet;

use crate::host::Function;
use crate::MAX_VFS;

/// Functions, PF first.
const FUNCTIONS: usize = MAX_VFS as usize + 1;
/// Bits of an offset in a page.
const PAGE_SHIFT: u32 = 12;
/// Pages to remember between two drains; beyond it the log says that it is incomplete.
const LOG_LIMIT: usize = 1 << 20;

/// Accesses and errors of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// MMIO reads.
    pub reads: u64,
    /// MMIO writes.
    pub writes: u64,
    /// DMA accesses that the bus refused.
    pub dma_errors: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames received into memory.
    pub received: u64,
    /// Frames that no descriptor could take.
    pub no_descriptor: u64,
    /// Frames or descriptors that a driver got wrong.
    pub malformed: u64,
    /// Frames dropped by an anti-spoof check.
    pub spoofed: u64,
    /// Receive buffers that were written across the end of a 4 KiB page. A driver whose buffers lie within pages has told
    /// the device more than is its own.
    pub crossed_page: u64,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Debug {
    counts: [Counts; FUNCTIONS],
    log: Option<BTreeSet<(u64, usize)>>,
    overflow: bool,
}

impl Default for Debug {
    fn default() -> Self {
        Self {
            counts: [Counts::default(); FUNCTIONS],
            log: None,
            overflow: false,
        }
    }
}

impl Debug {
    pub(crate) fn count_read(&mut self, function: Function) {
        self.at(function).reads += 1;
    }

    pub(crate) fn count_write(&mut self, function: Function) {
        self.at(function).writes += 1;
    }

    /// The counters of a function, to be changed.
    pub(crate) fn at(&mut self, function: Function) -> &mut Counts {
        let index = function.index().min(FUNCTIONS - 1);
        &mut self.counts[index]
    }

    /// The counters of a function.
    pub fn counts(&self, function: Function) -> Counts {
        self.counts
            .get(function.index())
            .copied()
            .unwrap_or_default()
    }

    /// Starts or stops remembering which pages are written.
    pub fn log_pages(&mut self, on: bool) {
        self.log = on.then(BTreeSet::new);
        self.overflow = false;
    }

    /// The device wrote `length` bytes.
    pub(crate) fn wrote(&mut self, function: Function, address: u64, length: usize) {
        let Some(log) = self.log.as_mut() else {
            return;
        };
        if length == 0 {
            return;
        }
        let last = address.saturating_add(length as u64 - 1) >> PAGE_SHIFT;
        for page in address >> PAGE_SHIFT..=last {
            if log.len() >= LOG_LIMIT {
                self.overflow = true;
                return;
            }
            log.insert((page, function.index()));
        }
    }

    /// Takes what was written since the last call: (function index, page number), and whether pages were left out.
    pub fn take_pages(&mut self) -> (Vec<(usize, u64)>, bool) {
        let pages = self.log.as_mut().map(std::mem::take).unwrap_or_default();
        let overflow = std::mem::take(&mut self.overflow);
        (
            pages
                .into_iter()
                .map(|(page, function)| (function, page))
                .collect(),
            overflow,
        )
    }

    /// The counters of every function that has any, as JSON lines' content: `{"pf":{...},"vf0":{...}}`.
    pub fn json(&self) -> String {
        let entries: Vec<String> = self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, counts)| **counts != Counts::default())
            .map(|(index, c)| {
                let name = match index.checked_sub(1) {
                    None => "pf".to_string(),
                    Some(vf) => format!("vf{vf}"),
                };
                format!(
                    "\"{name}\":{{\"mmio_reads\":{},\"mmio_writes\":{},\"dma_errors\":{},\"sent\":{},\"received\":{},\
                     \"no_descriptor\":{},\"malformed\":{},\"spoofed\":{},\"crossed_page\":{}}}",
                    c.reads, c.writes, c.dma_errors, c.sent, c.received, c.no_descriptor, c.malformed, c.spoofed,
                    c.crossed_page
                )
            })
            .collect();
        format!("{{{}}}", entries.join(","))
    }
}
