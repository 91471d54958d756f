// SPDX-License-Identifier: GPL-2.0
//! Commands to the firmware of the X550 (`ixgbe_hic_unlocked`). They take milliseconds: nobody
//! calls this where a VF's state is saved.

use crate::{
    eeprom::Error,
    regs::*,
    Delay,
    Regs, //
};

/// TIMEOUT: looks for the end of a command, a millisecond apart, as the C driver
/// (`IXGBE_HI_COMMAND_TIMEOUT`).
const TRIES: u32 = 500;

/// Head of a command that has the length of what follows in its second byte.
pub(crate) const fn head(command: u8, length: u8, checksum: u8) -> u32 {
    u32::from_le_bytes([command, length, 0, checksum])
}

/// Gives `words` to the firmware and waits for it. The caller has [`GSSR_SW_MNG_SM`].
///
/// # Errors
/// [`Error::Absent`] where there is no firmware to ask or it does not do what it is told;
/// [`Error::Timeout`].
pub(crate) fn command(io: &(impl Regs + Delay), words: &[u32]) -> Result<(), Error> {
    // Clears what it may say of its last reset.
    io.write32(FWSTS, io.read32(FWSTS) | FWSTS_FWRI);
    let control = io.read32(HICR);
    if control & HICR_EN == 0 {
        return Err(Error::Absent);
    }
    for (i, word) in (0u32..FLEX_MNG_LEN / 4).zip(words) {
        io.write32(word_at(i), *word);
    }
    io.write32(HICR, control | HICR_C);
    for _ in 0..TRIES {
        let control = io.read32(HICR);
        if control & HICR_C == 0 {
            return if control & HICR_SV != 0 {
                Ok(())
            } else {
                Err(Error::Absent)
            };
        }
        io.usleep(1000);
    }
    Err(Error::Timeout)
}

/// Address of word `i` of the command RAM.
pub(crate) const fn word_at(i: u32) -> u32 {
    FLEX_MNG.wrapping_add(i.wrapping_mul(4))
}

/// Reads at most [`FW_MAX_READ`] bytes of the shadow RAM into `out`, from word `index` on. The
/// caller has [`GSSR_EEP_SM`] too.
///
/// # Errors
/// As [`command`]; [`Error::Absent`] for more than that.
pub(crate) fn read_shadow_ram(
    io: &(impl Regs + Delay),
    index: u32,
    out: &mut [u16],
) -> Result<(), Error> {
    let bytes = |words: u32| words.checked_mul(2).ok_or(Error::Absent);
    let address = bytes(index)?;
    let length = u32::try_from(out.len()).map_err(|_| Error::Absent)?;
    let length = u16::try_from(bytes(length)?).map_err(|_| Error::Absent)?;
    if u32::from(length) > FW_MAX_READ {
        return Err(Error::Absent);
    }
    let head = [
        FW_READ_SHADOW_RAM,
        0,
        FW_READ_SHADOW_RAM_LEN,
        FW_DEFAULT_CHECKSUM,
    ];
    command(
        io,
        &[
            u32::from_le_bytes(head),
            address.swap_bytes(),
            u32::from(length.swap_bytes()),
            0,
        ],
    )?;
    for (i, pair) in (FW_NVM_DATA_OFFSET..).zip(out.chunks_mut(2)) {
        let value = io.read32(word_at(i));
        for (half, word) in [value & 0xFFFF, value >> 16].into_iter().zip(pair) {
            *word = half as u16;
        }
    }
    Ok(())
}
