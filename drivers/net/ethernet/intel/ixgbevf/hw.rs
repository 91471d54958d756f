// SPDX-License-Identifier: GPL-2.0
//! Registers and time for `libixgbe`.

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        delay,
        Delta, //
    },
};
use libixgbe::{
    regs,
    Delay,
    Regs, //
};
use nic::pci::{
    Bar,
    Doorbell, //
};

/// What a register reads as when the function fell off the bus (`IXGBE_FAILED_READ_REG`).
const FAILED_READ: u32 = u32::MAX;

/// The registers of one virtual function.
#[derive(Clone)]
pub(crate) struct Hw {
    bar: Arc<Bar>,
}

impl Hw {
    pub(crate) fn new(bar: Arc<Bar>) -> Self {
        Self { bar }
    }

    /// Whether the function does not answer any more (`IXGBE_REMOVED`).
    pub(crate) fn removed(&self) -> bool {
        self.read32(regs::VFSTATUS) == FAILED_READ
    }

    /// A register that the hot path writes.
    pub(crate) fn doorbell(&self, reg: u32) -> Result<Doorbell> {
        self.bar.doorbell(reg)
    }
}

impl Regs for Hw {
    fn read32(&self, reg: u32) -> u32 {
        self.bar.read32(reg)
    }

    fn write32(&self, reg: u32, val: u32) {
        self.bar.write32(reg, val)
    }
}

impl Delay for Hw {
    /// All callers are in process context and hold a mutex at most, so anything but a short wait
    /// sleeps.
    fn udelay(&self, us: u32) {
        let delta = Delta::from_micros(us.into());
        if us < 20 {
            delay::udelay(delta);
        } else {
            delay::fsleep(delta);
        }
    }

    fn usleep(&self, us: u32) {
        delay::fsleep(Delta::from_micros(us.into()));
    }
}
