// SPDX-License-Identifier: GPL-2.0
//! A device that answers some registers at random.

use std::cell::Cell;

use ixgbe_model::testing::Port;
use libixgbe::{
    Delay,
    Regs, //
};

/// The device, above an honest one.
pub(crate) struct Hostile<'a> {
    io: Port<'a>,
    lies: &'a [u32],
    state: Cell<u64>,
    accesses: Cell<u64>,
    rate: u64,
    stuck: (u32, u32),
}

impl<'a> Hostile<'a> {
    /// Of eight reads of the registers `lies`, `rate` are lies. In each lie the bits `stuck.0` have the values `stuck.1`.
    pub(crate) fn new(
        io: Port<'a>,
        lies: &'a [u32],
        rate: u64,
        stuck: (u32, u32),
        seed: u64,
    ) -> Self {
        Self {
            io,
            lies,
            state: Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            accesses: Cell::new(0),
            rate,
            stuck,
        }
    }

    /// How often a register was read or written.
    pub(crate) fn accesses(&self) -> u64 {
        self.accesses.get()
    }

    fn random(&self) -> u64 {
        // xorshift64
        let mut x = self.state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.state.set(x);
        x
    }
}

impl Regs for Hostile<'_> {
    fn read32(&self, reg: u32) -> u32 {
        self.accesses.set(self.accesses.get() + 1);
        let honest = self.io.read32(reg);
        if self.lies.contains(&reg) && self.random() % 8 < self.rate {
            let (mask, bits) = self.stuck;
            (self.random() >> 16) as u32 & !mask | bits
        } else {
            honest
        }
    }

    fn write32(&self, reg: u32, val: u32) {
        self.accesses.set(self.accesses.get() + 1);
        self.io.write32(reg, val);
    }
}

impl Delay for Hostile<'_> {
    fn udelay(&self, us: u32) {
        self.io.udelay(us);
    }

    fn usleep(&self, us: u32) {
        self.io.usleep(us);
    }
}
