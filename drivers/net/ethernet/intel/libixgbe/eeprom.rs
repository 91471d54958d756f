// SPDX-License-Identifier: GPL-2.0
//! EEPROM words and checksum, and the semaphores shared with firmware (82599 datasheet 6.2, 10.5.4).

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
    let eec = io.read32(EEC);
    if eec & EEC_PRES == 0 {
        return 0;
    }
    let exponent = ((eec & EEC_SIZE) >> EEC_SIZE_SHIFT).wrapping_add(EEPROM_WORD_SIZE_SHIFT);
    1u32.checked_shl(exponent).unwrap_or(0)
}

/// Reads word `index` through EERD (`ixgbe_read_eerd_generic`).
///
/// # Errors
/// [`Error::Absent`] beyond what EERD can address; [`Error::Timeout`].
pub fn read(io: &(impl Regs + Delay), index: u32) -> Result<u16, Error> {
    if index > EERD_MAX_ADDR {
        return Err(Error::Absent);
    }
    io.write32(EERD, index << EEPROM_RW_ADDR_SHIFT | EEPROM_RW_REG_START);
    // TIMEOUT: half a second, as the C driver; a word takes microseconds.
    let val = poll(io, EERD, 5, EERD_EEWR_ATTEMPTS, |v| {
        v & EEPROM_RW_REG_DONE != 0
    })
    .map_err(|_| Error::Timeout)?;
    Ok((val >> EEPROM_RW_REG_DATA) as u16)
}

/// Reads `out.len()` words from `index` on.
///
/// # Errors
/// As [`read`].
pub fn read_buffer(io: &(impl Regs + Delay), index: u32, out: &mut [u16]) -> Result<(), Error> {
    for (i, word) in (index..).zip(out) {
        *word = read(io, i)?;
    }
    Ok(())
}

/// What the checksum word must hold (`ixgbe_calc_eeprom_checksum_generic`): words 0 to 0x3E and every block that one of
/// the pointers 0x03 to 0x0E names, the firmware's excepted.
///
/// # Errors
/// As [`read`].
pub fn checksum(io: &(impl Regs + Delay)) -> Result<u16, Error> {
    let absent = |w: u16| w == 0 || w == 0xFFFF;
    let mut sum = 0u16;
    for i in 0..EEPROM_CHECKSUM {
        sum = sum.wrapping_add(read(io, i)?);
    }
    for i in PCIE_ANALOG_PTR..FW_PTR {
        let pointer = read(io, i)?;
        if absent(pointer) {
            continue;
        }
        let pointer = u32::from(pointer);
        let length = read(io, pointer)?;
        if absent(length) {
            continue;
        }
        for j in 1..=u32::from(length) {
            sum = sum.wrapping_add(read(io, pointer.saturating_add(j))?);
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
const ETK_OFF_LOW: u32 = 0x2D;
/// Word that holds the high half (`NVM_ETK_OFF_HI`).
const ETK_OFF_HI: u32 = 0x2E;
/// Set in the high half if the low half belongs to it (`NVM_ETK_VALID`).
const ETK_VALID: u16 = 0x8000;

/// Identity of the EEPROM's image, shown as firmware version (`ixgbe_get_etk_id`).
///
/// # Errors
/// As [`read`].
pub fn etrack_id(io: &(impl Regs + Delay)) -> Result<u32, Error> {
    let low = read(io, ETK_OFF_LOW)?;
    let high = read(io, ETK_OFF_HI)?;
    Ok(if high & ETK_VALID == 0 {
        u32::from(high) | u32::from(low) << 16
    } else {
        u32::from(low) | u32::from(high) << 16
    })
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

/// Takes the `GSSR_*` resources of `mask` from firmware and other functions (`ixgbe_acquire_swfw_sync`).
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
