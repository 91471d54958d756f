// SPDX-License-Identifier: GPL-2.0
//! What the hardware logic needs of its surroundings: 32-bit registers, and time.

/// 32-bit registers of one function, at byte offsets from its BAR 0.
///
/// A read of a function that fell off the bus gives all ones, as PCIe does; nothing here fails.
pub trait Regs {
    /// Reads the register at `reg`.
    fn read32(&self, reg: u32) -> u32;

    /// Writes the register at `reg`.
    fn write32(&self, reg: u32, val: u32);
}

/// Time passes only through this, so that host tests run at the model's speed.
pub trait Delay {
    /// Waits `us` microseconds without sleeping.
    fn udelay(&self, us: u32);

    /// Waits at least `us` microseconds and may sleep.
    fn usleep(&self, us: u32);

    /// Waits at least `ms` milliseconds and may sleep.
    fn msleep(&self, ms: u32) {
        self.usleep(ms.saturating_mul(1000));
    }
}

impl<T: Regs + ?Sized> Regs for &T {
    fn read32(&self, reg: u32) -> u32 {
        (**self).read32(reg)
    }

    fn write32(&self, reg: u32, val: u32) {
        (**self).write32(reg, val);
    }
}

impl<T: Delay + ?Sized> Delay for &T {
    fn udelay(&self, us: u32) {
        (**self).udelay(us);
    }

    fn usleep(&self, us: u32) {
        (**self).usleep(us);
    }
}

/// Reads `reg`, replaces the bits of `mask` by those of `val`, writes it back.
pub fn modify(regs: &impl Regs, reg: u32, mask: u32, val: u32) {
    regs.write32(reg, (regs.read32(reg) & !mask) | (val & mask));
}

/// Polls `reg` every `interval_us` until `done`, at most `tries` times after the first look.
///
/// Returns the value that satisfied `done`, or the last one seen. Does not sleep.
pub fn poll(
    io: &(impl Regs + Delay),
    reg: u32,
    interval_us: u32,
    tries: u32,
    done: impl Fn(u32) -> bool,
) -> Result<u32, u32> {
    let mut val = io.read32(reg);
    for _ in 0..tries {
        if done(val) {
            return Ok(val);
        }
        io.udelay(interval_us);
        val = io.read32(reg);
    }
    if done(val) {
        Ok(val)
    } else {
        Err(val)
    }
}
