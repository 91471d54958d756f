// SPDX-License-Identifier: GPL-2.0
//! EEPROM words and checksum, and the semaphores shared with firmware (82599 datasheet 6.2,
//! 10.5.4).

use crate::{
    io::poll,
    regs::*,
    Delay,
    Regs, //
};

/// Why the EEPROM or a semaphore could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No EEPROM, or an address beyond it.
    Absent,
    /// The hardware did not finish.
    Timeout,
    /// Firmware or another driver holds the resource.
    Busy,
    /// Words do not sum to [`EEPROM_SUM`].
    Checksum,
}

/// Words of the EEPROM, 0 if there is none (`ixgbe_init_eeprom_params_generic`).
pub fn words(io: &impl Regs) -> u32 {
    if io.read32(EEC) & EEC_PRES == 0 {
        return 0;
    }
    size(io)
}

/// The same where there always is one.
pub(crate) fn size(io: &impl Regs) -> u32 {
    let eec = io.read32(EEC);
    let exponent = ((eec & EEC_SIZE) >> EEC_SIZE_SHIFT).wrapping_add(EEPROM_WORD_SIZE_SHIFT);
    1u32.checked_shl(exponent).unwrap_or(0)
}

/// Reads word `index` through EERD (`ixgbe_read_eerd_generic`).
///
/// # Errors
/// [`Error::Absent`] beyond what EERD can address; [`Error::Timeout`].
pub fn read(io: &(impl Regs + Delay), index: u32) -> Result<u16, Error> {
    // TIMEOUT: half a second, as the C driver; a word takes microseconds.
    read_within(io, index, &mut { EERD_EEWR_ATTEMPTS })
}

/// The same, which uses up `looks` of 5 us: what many words may take together.
fn read_within(io: &(impl Regs + Delay), index: u32, looks: &mut u32) -> Result<u16, Error> {
    if index > EERD_MAX_ADDR {
        return Err(Error::Absent);
    }
    io.write32(EERD, index << EEPROM_RW_ADDR_SHIFT | EEPROM_RW_REG_START);
    loop {
        let val = io.read32(EERD);
        if val & EEPROM_RW_REG_DONE != 0 {
            return Ok((val >> EEPROM_RW_REG_DATA) as u16);
        }
        *looks = looks.checked_sub(1).ok_or(Error::Timeout)?;
        io.udelay(5);
    }
}

/// Reads `out.len()` words from `index` on.
///
/// # Errors
/// As [`read`].
pub fn read_buffer(io: &(impl Regs + Delay), index: u32, out: &mut [u16]) -> Result<(), Error> {
    let mut looks = EERD_EEWR_ATTEMPTS;
    for (i, word) in (index..).zip(out) {
        *word = read_within(io, i, &mut looks)?;
    }
    Ok(())
}

/// What the checksum word must hold (`ixgbe_calc_eeprom_checksum_generic`): words 0 to 0x3E and
/// every block that one of the pointers 0x03 to 0x0E names, the firmware's excepted.
///
/// # Errors
/// As [`read`].
pub fn checksum(io: &(impl Regs + Delay)) -> Result<u16, Error> {
    sum(io, PCIE_ANALOG_PTR..FW_PTR, u32::MAX)
}

/// The same with the blocks of these `pointers`, as far as they end below word `end`.
pub(crate) fn sum(
    io: &(impl Regs + Delay),
    pointers: impl Iterator<Item = u32>,
    end: u32,
) -> Result<u16, Error> {
    let absent = |w: u16| w == 0 || w == 0xFFFF;
    // TIMEOUT: half a second for all words together. They take microseconds, and a device that
    // takes its time for each of some thousand must not keep the machine from starting.
    let looks = &mut { EERD_EEWR_ATTEMPTS };
    let mut sum = 0u16;
    for i in 0..EEPROM_CHECKSUM {
        sum = sum.wrapping_add(read_within(io, i, looks)?);
    }
    for i in pointers {
        let pointer = read_within(io, i, looks)?;
        let start = u32::from(pointer);
        if absent(pointer) || start >= end {
            continue;
        }
        let length = read_within(io, start, looks)?;
        let last = start.saturating_add(length.into());
        if absent(length) || last >= end {
            continue;
        }
        for j in start.saturating_add(1)..=last {
            sum = sum.wrapping_add(read_within(io, j, looks)?);
        }
    }
    Ok((EEPROM_SUM as u16).wrapping_sub(sum))
}

/// Compares the checksum word with what it must hold.
///
/// # Errors
/// [`Error::Checksum`], or as [`read`].
pub fn validate(io: &(impl Regs + Delay)) -> Result<(), Error> {
    if checksum(io)? == read(io, EEPROM_CHECKSUM)? {
        Ok(())
    } else {
        Err(Error::Checksum)
    }
}

/// Word that holds the low half of the image's identity (`NVM_ETK_OFF_LOW`).
/// The next one holds the high half (`NVM_ETK_OFF_HI`).
pub(crate) const ETK_OFF_LOW: u32 = 0x2D;
/// Set in the high half if the low half belongs to it (`NVM_ETK_VALID`).
const ETK_VALID: u16 = 0x8000;

/// Identity of the EEPROM's image from the two words at [`ETK_OFF_LOW`] (`ixgbe_get_etk_id`).
pub(crate) const fn etrack_id([low, high]: [u16; 2]) -> u32 {
    let (low_first, high_first) = (low as u32, high as u32);
    if high & ETK_VALID == 0 {
        high_first | low_first << 16
    } else {
        low_first | high_first << 16
    }
}

/// Takes the semaphore between drivers, then the one between software and firmware.
fn get_eeprom_semaphore(io: &(impl Regs + Delay)) -> Result<(), Error> {
    // TIMEOUT: 100 ms each; firmware holds them for a few register accesses.
    if poll(io, SWSM, 50, 2000, |v| v & SWSM_SMBI == 0).is_err() {
        // A driver that died while it held them must not block for ever.
        release_eeprom_semaphore(io);
        io.usleep(50);
        if io.read32(SWSM) & SWSM_SMBI != 0 {
            return Err(Error::Busy);
        }
    }
    for _ in 0..2000 {
        io.write32(SWSM, io.read32(SWSM) | SWSM_SWESMBI);
        if io.read32(SWSM) & SWSM_SWESMBI != 0 {
            return Ok(());
        }
        io.usleep(50);
    }
    release_eeprom_semaphore(io);
    Err(Error::Busy)
}

fn release_eeprom_semaphore(io: &impl Regs) {
    io.write32(SWSM, io.read32(SWSM) & !(SWSM_SWESMBI | SWSM_SMBI));
    io.read32(STATUS);
}

/// Takes the `GSSR_*` resources of `mask` from firmware and other functions
/// (`ixgbe_acquire_swfw_sync`).
///
/// # Errors
/// [`Error::Busy`].
pub fn acquire_swfw_sync(io: &(impl Regs + Delay), mask: u32) -> Result<(), Error> {
    // Firmware's bit of each resource lies five above software's.
    let all = mask | mask << 5;
    let mut gssr = 0;
    // TIMEOUT: one second, as the C driver.
    for _ in 0..200 {
        get_eeprom_semaphore(io)?;
        gssr = io.read32(GSSR);
        if gssr & all == 0 {
            io.write32(GSSR, gssr | mask);
            release_eeprom_semaphore(io);
            return Ok(());
        }
        release_eeprom_semaphore(io);
        io.usleep(5000);
    }
    // Whoever held it for a second is gone: free it for the next try.
    release_swfw_sync(io, gssr & all);
    Err(Error::Busy)
}

/// Gives `GSSR_*` resources back.
pub fn release_swfw_sync(io: &(impl Regs + Delay), mask: u32) {
    // As the C driver: without the semaphore rather than not at all.
    let _ = get_eeprom_semaphore(io);
    io.write32(GSSR, io.read32(GSSR) & !mask);
    release_eeprom_semaphore(io);
}

/// What FWSM says of the firmware, if that is worth a warning (`ixgbe_check_fw_error`): an error,
/// or that it does not run.
///
/// The device works all the same: cards in service show it for years. A mode in which firmware must
/// be loaded anew, and nothing else be done, have the X550 and the E610 alone (`fw_recovery_mode`).
pub fn firmware_error(io: &impl Regs) -> Option<u32> {
    let fwsm = io.read32(FWSM);
    (fwsm & FWSM_EXT_ERR_IND_MASK != 0 || fwsm & FWSM_FW_VAL_BIT == 0).then_some(fwsm)
}
