// SPDX-License-Identifier: GPL-2.0
//! X540: semaphores by REGSMP, and the EEPROM behind them (`ixgbe_x540.c`).
//!
//! Firmware and the other port's driver use the same semaphores, and either may have died with one.
//! Each wait here ends.

use crate::{
    eeprom::{
        self,
        Error, //
    },
    regs::*,
    Delay,
    Regs, //
};

/// Resources whose firmware's bits stand five above software's (`IXGBE_GSSR_NVM_PHY_MASK`).
const PAIRED: u32 = GSSR_EEP_SM | GSSR_PHY0_SM | GSSR_PHY1_SM | GSSR_MAC_CSR_SM;
/// All that software can hold, but for those of an I2C bus that this chip has no use for.
const ALL: u32 = PAIRED | GSSR_SW_MNG_SM;
/// TIMEOUT: looks for a resource, 5 ms apart: one second, as the C driver. Firmware writes its
/// flash meanwhile.
const TRIES: u32 = 200;
/// TIMEOUT: looks for each of the two semaphores over SW_FW_SYNC, 50 us apart: 100 ms, as the C
/// driver; they are held for a few register accesses.
const LOOKS: u32 = 2000;

/// Takes the semaphore between drivers, then the one between software and firmware
/// (`ixgbe_get_swfw_sync_semaphore`). Uses up `looks`.
fn lock(io: &(impl Regs + Delay), looks: &mut u32) -> Result<(), Error> {
    for (register, bit) in [(SWSM, SWSM_SMBI), (GSSR, SWFW_REGSMP)] {
        // A read that finds the bit clear has set it.
        while io.read32(register) & bit != 0 {
            let Some(left) = looks.checked_sub(1) else {
                if register == GSSR {
                    unlock(io);
                }
                return Err(Error::Busy);
            };
            *looks = left;
            io.usleep(50);
        }
    }
    Ok(())
}

/// Gives both back, whoever holds them.
fn unlock(io: &impl Regs) {
    io.write32(GSSR, io.read32(GSSR) & !SWFW_REGSMP);
    io.write32(SWSM, io.read32(SWSM) & !SWSM_SMBI);
    io.read32(STATUS);
}

/// Takes `mask` (`ixgbe_acquire_swfw_sync_X540`).
pub(super) fn acquire(io: &(impl Regs + Delay), mask: u32) -> Result<(), Error> {
    let of_firmware = (mask & PAIRED) << 5;
    // Hardware that loads the EEPROM from its flash.
    let of_hardware = if mask & GSSR_EEP_SM != 0 {
        GSSR_FLASH_SM
    } else {
        0
    };
    // For all tries together: a semaphore that is given late each time must not add up to minutes.
    let mut looks = LOOKS;
    for tries in (0..=TRIES).rev() {
        lock(io, &mut looks)?;
        let sync = io.read32(GSSR);
        let held = sync & (mask | of_firmware | of_hardware);
        // Firmware or hardware that holds it for a second has died: it is ignored. So has software,
        // whose resources are freed for the next try.
        if held == 0 || tries == 0 && held & mask == 0 {
            io.write32(GSSR, sync | mask);
            unlock(io);
            return Ok(());
        }
        if tries == 0 {
            io.write32(GSSR, sync & !ALL);
        }
        unlock(io);
        if tries != 0 {
            io.usleep(5000);
        }
    }
    Err(Error::Busy)
}

/// Gives it back (`ixgbe_release_swfw_sync_X540`): without the semaphore rather than not at all.
pub(super) fn release(io: &(impl Regs + Delay), mask: u32) {
    let _ = lock(io, &mut { LOOKS });
    io.write32(GSSR, io.read32(GSSR) & !mask);
    unlock(io);
    // Firmware has its turn.
    io.usleep(1000);
}

/// Frees all semaphores that software may hold (`ixgbe_init_swfw_sync_X540`): a driver before this
/// one may have died.
pub(super) fn init(io: &(impl Regs + Delay)) {
    // Given or not, it is free then.
    let _ = lock(io, &mut { LOOKS });
    unlock(io);
    if acquire(io, ALL).is_ok() {
        release(io, ALL);
    }
}

/// Runs `work` with the EEPROM's semaphore.
pub(super) fn with_eeprom<T>(
    io: &(impl Regs + Delay),
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    acquire(io, GSSR_EEP_SM)?;
    let result = work();
    release(io, GSSR_EEP_SM);
    result
}

/// Whether the checksum is right (`ixgbe_calc_eeprom_checksum_X540`): that of words 0 to 0x3E and
/// of the blocks of pointers 3 and 6 to 0xE, of which those that lead nowhere are left out. PHY,
/// option ROM and firmware have their own.
pub(super) fn validate(io: &(impl Regs + Delay)) -> Result<(), Error> {
    const PHY_PTR: u32 = 4;
    const OPTION_ROM_PTR: u32 = 5;
    let words = eeprom::size(io);
    let pointers = (PCIE_ANALOG_PTR..FW_PTR).filter(|i| !matches!(*i, PHY_PTR | OPTION_ROM_PTR));
    let sum = eeprom::sum(io, pointers, words)?;
    if sum == eeprom::read(io, EEPROM_CHECKSUM)? {
        Ok(())
    } else {
        Err(Error::Checksum)
    }
}
