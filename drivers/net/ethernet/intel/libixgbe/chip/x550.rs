// SPDX-License-Identifier: GPL-2.0
//! X550: an EEPROM that firmware alone reads, and a receiver that it stops (`ixgbe_x550.c`). Semaphores are those of the X540.

use super::{
    phy_port,
    x540, //
};
use crate::{
    eeprom::{
        self,
        Error, //
    },
    hostif,
    regs::*,
    Delay,
    Regs, //
};

/// Most words of one read.
const CHUNK: usize = FW_MAX_READ as usize / 2;

/// Runs `work` with the semaphores of the EEPROM and of the firmware's interface.
fn with_eeprom<T>(
    io: &(impl Regs + Delay),
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    const MASK: u32 = GSSR_SW_MNG_SM | GSSR_EEP_SM;
    x540::acquire(io, MASK)?;
    let result = work();
    x540::release(io, MASK);
    result
}

/// Reads words from `index` on (`ixgbe_read_ee_hostif_buffer_X550`).
pub(super) fn read(io: &(impl Regs + Delay), index: u32, out: &mut [u16]) -> Result<(), Error> {
    with_eeprom(io, || {
        let mut at = index;
        for chunk in out.chunks_mut(CHUNK) {
            hostif::read_shadow_ram(io, at, chunk)?;
            at = at.saturating_add(CHUNK as u32);
        }
        Ok(())
    })
}

/// The words of a block that count: where they begin, and how many they are. Some blocks have a fixed length, the others begin
/// with it.
fn block(pointer: u32, start: u32, first: u16) -> (u32, u32) {
    match pointer {
        PCIE_GENERAL_PTR => (start, PCIE_GENERAL_SIZE),
        PCIE_CONFIG0_PTR | PCIE_CONFIG1_PTR => (start, PCIE_CONFIG_SIZE),
        _ => (start.saturating_add(1), first.into()),
    }
}

/// Whether the checksum is right (`ixgbe_calc_checksum_X550`): that of words 0 to 0x41 and of the blocks of pointers 2, 3 and 6
/// to 0xE. One that leads nowhere is left out.
pub(super) fn validate(io: &(impl Regs + Delay)) -> Result<(), Error> {
    const PHY_PTR: u32 = 4;
    const OPTION_ROM_PTR: u32 = 5;
    let end = eeprom::size(io);
    let absent = |word: u16| word == 0 || word == 0xFFFF;
    with_eeprom(io, || {
        let mut fixed = [0; EEPROM_LAST_WORD as usize + 1];
        hostif::read_shadow_ram(io, 0, &mut fixed)?;
        let mut sum = 0u16;
        let mut stored = 0;
        for (i, word) in (0u32..).zip(fixed) {
            if i == EEPROM_CHECKSUM {
                stored = word;
            } else {
                sum = sum.wrapping_add(word);
            }
        }
        for (pointer, start) in (0u32..FW_PTR).zip(fixed) {
            let skipped =
                pointer < X550_PCIE_ANALOG_PTR || matches!(pointer, PHY_PTR | OPTION_ROM_PTR);
            if skipped || absent(start) || u32::from(start) >= end {
                continue;
            }
            let mut first = [0];
            hostif::read_shadow_ram(io, start.into(), &mut first)?;
            let [first] = first;
            let (mut at, mut left) = block(pointer, start.into(), first);
            if absent(first) && at != u32::from(start) || at.saturating_add(left) > end {
                continue;
            }
            let mut chunk = [0; 64];
            while left > 0 {
                let n = left.min(chunk.len() as u32);
                let Some(some) = chunk.get_mut(..n as usize) else {
                    break;
                };
                hostif::read_shadow_ram(io, at, some)?;
                sum = some.iter().fold(sum, |sum, word| sum.wrapping_add(*word));
                at = at.saturating_add(n);
                left = left.saturating_sub(n);
            }
        }
        if (EEPROM_SUM as u16).wrapping_sub(sum) == stored {
            Ok(())
        } else {
            Err(Error::Checksum)
        }
    })
}

/// Stops the receiver by firmware, which may receive for itself (`ixgbe_disable_rx_x550`). Whether it did.
pub(super) fn disable_rx(io: &(impl Regs + Delay)) -> bool {
    if x540::acquire(io, GSSR_SW_MNG_SM).is_err() {
        return false;
    }
    let head = hostif::head(FW_DISABLE_RXEN, FW_DISABLE_RXEN_LEN, FW_DEFAULT_CHECKSUM);
    let done = hostif::command(io, &[head, phy_port(io)]).is_ok();
    x540::release(io, GSSR_SW_MNG_SM);
    done && io.read32(RXCTRL) & RXCTRL_RXEN == 0
}
