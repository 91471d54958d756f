// SPDX-License-Identifier: GPL-2.0
//! MDIO of clause 45 by MSCA and MSRWD (`ixgbe_read_phy_reg_mdi`, `ixgbe_write_phy_reg_mdi`).
//!
//! Who uses it holds the port's semaphore: firmware speaks to the PHY too.

use crate::{
    regs::*,
    Delay,
    Regs, //
};

/// TIMEOUT: looks for the end of a command, 10 us each, as the C driver
/// (`IXGBE_MDIO_COMMAND_TIMEOUT`). A command takes some 25 us at 2.4 MHz.
const LOOKS: u32 = 100;

/// The bus did not end a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout;

fn command(
    io: &(impl Regs + Delay),
    operation: u32,
    address: u32,
    device: u8,
    register: u16,
) -> Result<(), Timeout> {
    let address = address << MSCA_PHY_ADDR_SHIFT & MSCA_PHY_ADDR_MASK;
    let device = u32::from(device) << MSCA_DEV_TYPE_SHIFT & MSCA_DEV_TYPE_MASK;
    let what = operation | address | device | u32::from(register);
    io.write32(MSCA, what | MSCA_MDI_COMMAND);
    for _ in 0..LOOKS {
        io.udelay(10);
        if io.read32(MSCA) & MSCA_MDI_COMMAND == 0 {
            return Ok(());
        }
    }
    Err(Timeout)
}

/// Reads a register of a device in the PHY at `address`.
///
/// # Errors
/// [`Timeout`].
pub fn read(
    io: &(impl Regs + Delay),
    address: u32,
    device: u8,
    register: u16,
) -> Result<u16, Timeout> {
    command(io, MSCA_ADDR_CYCLE, address, device, register)?;
    command(io, MSCA_READ, address, device, register)?;
    Ok((io.read32(MSRWD) >> MSRWD_READ_DATA_SHIFT) as u16)
}

/// Writes it.
///
/// # Errors
/// [`Timeout`].
pub fn write(
    io: &(impl Regs + Delay),
    address: u32,
    device: u8,
    register: u16,
    value: u16,
) -> Result<(), Timeout> {
    io.write32(MSRWD, value.into());
    command(io, MSCA_ADDR_CYCLE, address, device, register)?;
    command(io, MSCA_WRITE, address, device, register)
}
