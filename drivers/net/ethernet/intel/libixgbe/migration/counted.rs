// SPDX-License-Identifier: GPL-2.0
//! Counts register accesses: each is a round trip on PCIe, so they bound how long a VF stands still.

use core::cell::Cell;

use crate::Delay;
use crate::Regs;

/// Passes every access on and counts it.
pub struct Counted<T> {
    inner: T,
    accesses: Cell<u32>,
}

impl<T> Counted<T> {
    /// Counts from zero.
    pub const fn new(inner: T) -> Self {
        Self {
            inner,
            accesses: Cell::new(0),
        }
    }

    /// Reads and writes so far.
    pub fn accesses(&self) -> u32 {
        self.accesses.get()
    }

    fn count(&self) {
        self.accesses.set(self.accesses.get().saturating_add(1));
    }
}

impl<T: Regs> Regs for Counted<T> {
    fn read32(&self, reg: u32) -> u32 {
        self.count();
        self.inner.read32(reg)
    }

    fn write32(&self, reg: u32, val: u32) {
        self.count();
        self.inner.write32(reg, val);
    }
}

impl<T: Delay> Delay for Counted<T> {
    fn udelay(&self, us: u32) {
        self.inner.udelay(us);
    }

    fn usleep(&self, us: u32) {
        self.inner.usleep(us);
    }
}
