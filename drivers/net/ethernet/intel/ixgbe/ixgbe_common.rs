// SPDX-License-Identifier: GPL-2.0
//! The device as `libixgbe` sees it: registers and time.

use kernel::{
    device::Bound,
    io::Io,
    pci,
    prelude::*,
    sync::Arc,
    time::{
        delay::{
            fsleep,
            udelay, //
        },
        Delta, //
    }, //
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

/// Registers of the device.
#[derive(Clone)]
pub(crate) struct Hw {
    bar: Arc<Bar>,
}

impl Hw {
    /// BAR 0 reaches at least to the last register that is used here.
    pub(crate) const MIN_LEN: usize = 0x2_0000;

    /// Wraps BAR 0.
    pub(crate) fn new(bar: Bar) -> Result<Self> {
        Ok(Self {
            bar: Arc::new(bar, GFP_KERNEL)?,
        })
    }

    /// A tail register, for the hot path.
    pub(crate) fn doorbell(&self, reg: u32) -> Result<Doorbell> {
        self.bar.doorbell(reg)
    }

    /// Whether the device fell off the bus: then every register reads as all ones.
    pub(crate) fn removed(&self) -> bool {
        self.read32(regs::STATUS) == u32::MAX
    }
}

impl Regs for Hw {
    #[inline]
    fn read32(&self, reg: u32) -> u32 {
        self.bar.read32(reg)
    }

    #[inline]
    fn write32(&self, reg: u32, val: u32) {
        self.bar.write32(reg, val);
    }
}

impl Delay for Hw {
    fn udelay(&self, us: u32) {
        // `udelay` takes up to a few milliseconds; every longer wait in this driver is in process
        // context.
        if us >= 1000 {
            self.usleep(us);
        } else {
            udelay(Delta::from_micros(us.into()));
        }
    }

    fn usleep(&self, us: u32) {
        fsleep(Delta::from_micros(us.into()));
    }
}

/// Whether the device still waits for answers to requests that it made on the bus.
pub(crate) fn transactions_pending(pdev: &pci::Device<Bound>) -> bool {
    let status = pdev
        .config_space()
        .try_read16(regs::PCI_DEVICE_STATUS as usize);
    // A device that does not answer has no transactions.
    status.is_ok_and(|s| {
        s != u16::MAX && u32::from(s) & regs::PCI_DEVICE_STATUS_TRANSACTION_PENDING != 0
    })
}
