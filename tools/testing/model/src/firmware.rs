// SPDX-License-Identifier: GPL-2.0
//! The firmware of the X550 behind FLEX_MNG and HICR (K: `ixgbe_hic_unlocked`).
//!
//! Commands complete at once. One by who does not hold the semaphore over the interface has no effect, and neither has one
//! that makes no sense: HICR.SV then stays clear, by which a driver knows.

use libixgbe::regs;

use crate::Device;

/// Words of the command RAM.
const WORDS: u32 = regs::FLEX_MNG_LEN / 4;

impl Device {
    /// HICR: of a chip without this interface it reads 0, not enabled.
    pub(crate) fn hicr_read(&self) -> u32 {
        if self.config.chip.traits().x550 {
            self.regs.get(regs::HICR) | regs::HICR_EN
        } else {
            0
        }
    }

    /// Writes HICR.
    pub(crate) fn hicr_write(&mut self, value: u32) {
        if !self.config.chip.traits().x550 || value & regs::HICR_C == 0 {
            return;
        }
        let held = self.regs.get(regs::GSSR) & regs::GSSR_SW_MNG_SM != 0;
        let done = held && self.command();
        self.regs
            .set(regs::HICR, if done { regs::HICR_SV } else { 0 });
    }

    fn command_word(&self, i: u32) -> u32 {
        self.regs.get(regs::FLEX_MNG + 4 * i)
    }

    fn set_command_word(&mut self, i: u32, value: u32) {
        if i < WORDS {
            self.regs.set(regs::FLEX_MNG + 4 * i, value);
        }
    }

    /// Carries out what stands in the command RAM; whether that was possible.
    fn command(&mut self) -> bool {
        let [command, length_high, length, checksum] = self.command_word(0).to_le_bytes();
        let unchecked = checksum == regs::FW_DEFAULT_CHECKSUM;
        match command {
            regs::FW_READ_SHADOW_RAM if length == regs::FW_READ_SHADOW_RAM_LEN && unchecked => {
                self.read_shadow_ram()
            }
            regs::FW_WRITE_SHADOW_RAM if length == regs::FW_WRITE_SHADOW_RAM_LEN && unchecked => {
                self.write_shadow_ram()
            }
            // The flash has what the shadow RAM has.
            regs::FW_SHADOW_RAM_DUMP => unchecked,
            // The length stands in the second byte of these.
            regs::FW_DISABLE_RXEN if length_high == regs::FW_DISABLE_RXEN_LEN && unchecked => {
                let port = self.command_word(1).to_le_bytes()[0];
                let ours = port == self.config.port;
                if ours {
                    let control = self.regs.get(regs::RXCTRL) & !regs::RXCTRL_RXEN;
                    self.regs.set(regs::RXCTRL, control);
                }
                ours
            }
            regs::FW_DRIVER_INFO => {
                let bytes = usize::from(length_high) + 4;
                let sum = (0..WORDS)
                    .flat_map(|i| self.command_word(i).to_le_bytes())
                    .take(bytes)
                    .fold(0u8, u8::wrapping_add);
                if sum == 0 {
                    // The answer is the head alone.
                    self.set_command_word(0, u32::from_le_bytes([command, 0, regs::FW_SUCCESS, 0]));
                }
                sum == 0
            }
            _ => false,
        }
    }

    /// First word, and how many, of a command to the shadow RAM: both in bytes and in the order of a network.
    fn shadow_range(&self) -> Option<(usize, usize)> {
        let start = u32::from_be_bytes(self.command_word(1).to_le_bytes());
        let [high, low, ..] = self.command_word(2).to_le_bytes();
        let bytes = u32::from(u16::from_be_bytes([high, low]));
        let whole = start % 2 == 0 && bytes % 2 == 0 && (1..=regs::FW_MAX_READ).contains(&bytes);
        let words = usize::try_from(bytes / 2).ok()?;
        let start = usize::try_from(start / 2).ok()?;
        (whole && self.eeprom.has(start, words)).then_some((start, words))
    }

    fn read_shadow_ram(&mut self) -> bool {
        // Its own semaphore as well.
        let held = self.holds(regs::GSSR_EEP_SM);
        let Some((start, count)) = self.shadow_range().filter(|_| held) else {
            return false;
        };
        for i in (0..count).step_by(2) {
            let low = self.eeprom.word(start + i);
            let high = if i + 1 < count {
                self.eeprom.word(start + i + 1)
            } else {
                0
            };
            let at = regs::FW_NVM_DATA_OFFSET + (i / 2) as u32;
            self.set_command_word(at, u32::from(low) | u32::from(high) << 16);
        }
        true
    }

    fn write_shadow_ram(&mut self) -> bool {
        let held = self.holds(regs::GSSR_EEP_SM);
        match self.shadow_range() {
            Some((word, 1)) if held => {
                let value = self.command_word(regs::FW_NVM_DATA_OFFSET) as u16;
                self.eeprom.set_word(word, value);
                true
            }
            _ => false,
        }
    }
}
