// SPDX-License-Identifier: GPL-2.0
//! The I2C bus to an SFP+ module, bit by bit through I2CCTL (82599 datasheet 8.2.3.1.7;
//! `ixgbe_phy.c`).
//!
//! The bus is slow on purpose: standard mode of the I2C specification, some 100 us a byte. Whatever
//! the other end does, an access ends: every wait here is counted.

use crate::{
    eeprom::{
        acquire_swfw_sync,
        release_swfw_sync, //
    },
    regs::*,
    Delay,
    Regs, //
};

/// Device of a module that says what it is (`IXGBE_I2C_EEPROM_DEV_ADDR`).
pub const MODULE: u8 = 0xA0;
/// Device of a module that says how it is (`IXGBE_I2C_EEPROM_DEV_ADDR2`).
pub const DIAGNOSTICS: u8 = 0xA2;

/// Why a byte could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Firmware or the other port has the bus.
    Busy,
    /// Nobody acknowledged.
    NoAck,
    /// Something holds a wire low.
    Stuck,
}

// Times of standard mode in microseconds (`IXGBE_I2C_T_*`).

/// Start: hold, and set-up of a stop.
const T_HOLD: u32 = 4;
/// Low time of SCL, set-up of a repeated start, and a free bus between two transfers.
const T_LOW: u32 = 5;
/// High time of SCL.
const T_HIGH: u32 = 4;
/// A wire rises.
const T_RISE: u32 = 1;
/// A wire falls.
const T_FALL: u32 = 1;
/// SDA is stable before SCL rises.
const T_SETUP: u32 = 1;
/// TIMEOUT: looks at SCL while the module stretches the clock, 1 us each
/// (`IXGBE_I2C_CLOCK_STRETCHING_TIMEOUT`).
const STRETCH: u32 = 500;
/// TIMEOUT: looks for an acknowledgement, 1 us each.
const ACK: u32 = 10;
/// Milliseconds between two tries, in which firmware may use the bus.
const PAUSE_MS: u32 = 100;

/// A master that has the semaphore.
struct Master<'a, I> {
    io: &'a I,
    /// What it drives.
    wires: u32,
}

impl<'a, I: Regs + Delay> Master<'a, I> {
    fn new(io: &'a I) -> Self {
        Self {
            io,
            wires: io.read32(I2CCTL),
        }
    }

    fn drive(&mut self, bit: u32, high: bool) {
        if high {
            self.wires |= bit;
        } else {
            self.wires &= !bit;
        }
        self.io.write32(I2CCTL, self.wires);
        self.io.read32(STATUS);
    }

    fn is_high(&self, bit: u32) -> bool {
        self.io.read32(I2CCTL) & bit != 0
    }

    fn data(&mut self, high: bool) -> Result<(), Error> {
        self.drive(I2CCTL_DATA_OUT, high);
        self.io.udelay(T_RISE + T_FALL + T_SETUP);
        if high && !self.is_high(I2CCTL_DATA_IN) {
            return Err(Error::Stuck);
        }
        Ok(())
    }

    /// Lets SCL go and waits while the module stretches the clock.
    fn raise(&mut self) -> Result<(), Error> {
        for _ in 0..STRETCH {
            self.drive(I2CCTL_CLK_OUT, true);
            self.io.udelay(T_RISE);
            if self.is_high(I2CCTL_CLK_IN) {
                return Ok(());
            }
        }
        Err(Error::Stuck)
    }

    fn lower(&mut self) {
        self.drive(I2CCTL_CLK_OUT, false);
        self.io.udelay(T_FALL);
        self.io.udelay(T_LOW);
    }

    fn start(&mut self) -> Result<(), Error> {
        self.data(true)?;
        self.raise()?;
        self.io.udelay(T_LOW);
        self.data(false)?;
        self.io.udelay(T_HOLD);
        self.lower();
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.data(false)?;
        self.raise()?;
        self.io.udelay(T_HOLD);
        let result = self.data(true);
        self.io.udelay(T_LOW);
        result
    }

    fn put_bit(&mut self, bit: bool) -> Result<(), Error> {
        self.data(bit)?;
        self.raise()?;
        self.io.udelay(T_HIGH);
        self.lower();
        Ok(())
    }

    /// Puts out a byte, which must be acknowledged.
    fn put(&mut self, byte: u8) -> Result<(), Error> {
        for i in (0..8).rev() {
            self.put_bit(byte >> i & 1 == 1)?;
        }
        self.drive(I2CCTL_DATA_OUT, true);
        self.raise()?;
        self.io.udelay(T_HIGH);
        let mut acked = false;
        for _ in 0..ACK {
            acked = !self.is_high(I2CCTL_DATA_IN);
            self.io.udelay(1);
            if acked {
                break;
            }
        }
        self.lower();
        if acked {
            Ok(())
        } else {
            Err(Error::NoAck)
        }
    }

    /// Takes a byte, the only one.
    fn get(&mut self) -> Result<u8, Error> {
        let mut byte = 0;
        for _ in 0..8 {
            self.raise()?;
            self.io.udelay(T_HIGH);
            byte = byte << 1 | u8::from(self.is_high(I2CCTL_DATA_IN));
            self.lower();
        }
        self.put_bit(true)?;
        Ok(byte)
    }

    fn read(&mut self, device: u8, offset: u8) -> Result<u8, Error> {
        self.start()?;
        self.put(device)?;
        self.put(offset)?;
        self.start()?;
        self.put(device | 1)?;
        let byte = self.get()?;
        self.stop()?;
        Ok(byte)
    }

    /// Frees a bus on which a module holds SDA: it lets go after nine clocks at most
    /// (`ixgbe_i2c_bus_clear`).
    fn clear(&mut self) {
        // Nothing more can be done for a wire that stays down.
        let _ = self.start();
        let _ = self.data(true);
        for _ in 0..9 {
            if self.raise().is_err() {
                break;
            }
            self.io.udelay(T_HIGH);
            self.lower();
        }
        let _ = self.start();
        let _ = self.stop();
    }
}

/// Reads a byte of a module's `device` at `offset` (`ixgbe_read_i2c_byte_generic`). `semaphore` is
/// the bit of GSSR for this port; it is free between bytes, or firmware starves. Sleeps.
///
/// # Errors
/// See [`Error`], of the last of `tries`.
pub fn read_byte(
    io: &(impl Regs + Delay),
    semaphore: u32,
    device: u8,
    offset: u8,
    tries: u32,
) -> Result<u8, Error> {
    let mut result = Err(Error::NoAck);
    for left in (0..tries).rev() {
        acquire_swfw_sync(io, semaphore).map_err(|_| Error::Busy)?;
        let mut master = Master::new(io);
        result = master.read(device, offset);
        if result.is_err() {
            master.clear();
        }
        release_swfw_sync(io, semaphore);
        if result.is_ok() {
            break;
        }
        if left != 0 {
            io.msleep(PAUSE_MS);
        }
    }
    result
}
