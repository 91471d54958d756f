// SPDX-License-Identifier: GPL-2.0
//! The EEPROM: 1024 words that the C driver can read, write by EEWR, and check.

use libixgbe::regs;

use crate::chip::Chip;
use crate::quirk::Quirks;

/// Words.
pub(crate) const WORDS: usize = 1024;
/// Field EEC.SIZE for that: words are 2^(size + 6).
const SIZE_FIELD: u32 = 4;

/// Words whose value means something to the C driver; all others are erased (0xFFFF).
const CONTENT: &[(usize, u16)] = &[
    // Control words 1 to 3: no core clock disable.
    (0x00, 0x2000),
    (0x01, 0x0000),
    (0x02, 0x0000),
    // Compatibility and image revision.
    (0x05, 0x0000),
    (0x10, 0xFFFF),
    // Part number, in the old form of two words: the driver prints it as E68793-006.
    (0x15, 0xE687),
    (0x16, 0x9306),
    // No external thermal sensor, no SAN MAC address, no alternative MAC addresses.
    (0x26, 0xFFFF),
    (0x27, 0xFFFF),
    (0x28, 0xFFFF),
    // Device capabilities: no wake-up on LAN, cross-talk fix not needed.
    (0x2C, 0x0080),
    // Image identifier, which `ethtool -i` shows as firmware version.
    (0x2D, 0x18B4),
    (0x2E, 0x8000),
    // Initialisation control 3, iSCSI boot capabilities: nothing.
    (0x33, 0x0000),
    (0x38, 0x0000),
];

/// The EEPROM and its access registers.
#[derive(Clone, Debug)]
pub(crate) struct Eeprom {
    words: Vec<u16>,
    read: u32,
    write: u32,
    control: u32,
}

impl Eeprom {
    /// An EEPROM with a valid checksum, for a card with this address.
    pub(crate) fn new(mac: [u8; 6], chip: Chip, quirks: &Quirks) -> Self {
        let mut words = vec![0xFFFF; WORDS];
        let own = chip.traits().eeprom.iter().copied().flatten();
        for (word, value) in CONTENT.iter().chain(own) {
            if let Some(slot) = words.get_mut(*word) {
                *slot = *value;
            }
        }
        if quirks.any_sfp {
            words[regs::DEVICE_CAPS as usize] |= regs::DEVICE_CAPS_ALLOW_ANY_SFP;
        }
        if quirks.no_sfp_init {
            words[regs::PHY_INIT_OFFSET_NL as usize] = 0xFFFF;
        }
        // The serial number that PCIe configuration space shows is made of the address (K:
        // IXGBE_SERIAL_NUMBER_MAC_ADDR).
        let address = mac
            .chunks_exact(2)
            .map(|pair| pair.iter().rev().fold(0, |w, b| w << 8 | u16::from(*b)));
        for (slot, value) in words.iter_mut().skip(0x11).zip(address) {
            *slot = value;
        }
        let mut eeprom = Self {
            words,
            read: 0,
            write: 0,
            control: 0,
        };
        if chip.traits().x550 {
            eeprom.seal_x550();
        } else {
            eeprom.seal();
        }
        eeprom
    }

    /// Sets the checksum: words 0 to 0x3E, and on the X540 the blocks that words 3 and 6 to 0xE point to (K:
    /// `ixgbe_calc_eeprom_checksum_X540`). On the other chips none of these points anywhere.
    fn seal(&mut self) {
        let checksum = regs::EEPROM_CHECKSUM as usize;
        let blocks = [0x03, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E];
        let blocks = blocks.iter().flat_map(|pointer| {
            let pointer = usize::from(self.words[*pointer]);
            let length = self.words.get(pointer).map_or(0, |length| *length);
            let there = pointer != 0 && pointer != 0xFFFF;
            let length = if there { usize::from(length) } else { 0 };
            self.words.iter().skip(pointer + 1).take(length)
        });
        let sum = self
            .words
            .iter()
            .take(checksum)
            .chain(blocks)
            .fold(0u16, |sum, word| sum.wrapping_add(*word));
        if let Some(slot) = self.words.get_mut(checksum) {
            *slot = (regs::EEPROM_SUM as u16).wrapping_sub(sum);
        }
    }

    /// The same on the X550: words 0 to 0x41, and blocks of which some have a fixed length (K: `ixgbe_calc_checksum_X550`).
    fn seal_x550(&mut self) {
        let checksum = regs::EEPROM_CHECKSUM as usize;
        let mut sum = (0..=regs::EEPROM_LAST_WORD as usize)
            .filter(|word| *word != checksum)
            .fold(0u16, |sum, word| sum.wrapping_add(self.word(word)));
        for pointer in [2, 3, 6, 7, 8, 9, 0xA, 0xB, 0xC, 0xD, 0xE] {
            let block = usize::from(self.word(pointer));
            if matches!(block, 0 | 0xFFFF) {
                continue;
            }
            let (first, length) = match pointer as u32 {
                regs::PCIE_GENERAL_PTR => (block, regs::PCIE_GENERAL_SIZE as usize),
                regs::PCIE_CONFIG0_PTR | regs::PCIE_CONFIG1_PTR => {
                    (block, regs::PCIE_CONFIG_SIZE as usize)
                }
                _ => (block + 1, usize::from(self.word(block))),
            };
            sum = (first..first + length).fold(sum, |sum, word| sum.wrapping_add(self.word(word)));
        }
        self.set_word(checksum, (regs::EEPROM_SUM as u16).wrapping_sub(sum));
    }

    /// A word, all ones beyond the last.
    pub(crate) fn word(&self, word: usize) -> u16 {
        self.words.get(word).copied().unwrap_or(0xFFFF)
    }

    /// Changes a word.
    pub(crate) fn set_word(&mut self, word: usize, value: u16) {
        if let Some(slot) = self.words.get_mut(word) {
            *slot = value;
        }
    }

    /// Whether it has `count` words from `start` on.
    pub(crate) fn has(&self, start: usize, count: usize) -> bool {
        start
            .checked_add(count)
            .is_some_and(|end| end <= self.words.len())
    }

    /// EEC: present, read at power-up, and bit-bang access is granted but leads nowhere.
    pub(crate) fn control(&self) -> u32 {
        let grant = if self.control & regs::EEC_REQ != 0 {
            regs::EEC_GNT
        } else {
            0
        };
        self.control & regs::EEC_REQ
            | grant
            | regs::EEC_PRES
            | regs::EEC_ARD
            | regs::EEC_ADDR_SIZE
            | SIZE_FIELD << regs::EEC_SIZE_SHIFT
    }

    /// Writes EEC.
    pub(crate) fn set_control(&mut self, value: u32) {
        self.control = value;
    }

    /// EERD, with the outcome of the last read.
    pub(crate) fn read_register(&self) -> u32 {
        self.read
    }

    /// Writes EERD: a read completes at once, with all ones for who does not hold the semaphore where there is one.
    pub(crate) fn start_read(&mut self, value: u32, held: bool) {
        let address = (value >> regs::EEPROM_RW_ADDR_SHIFT & regs::EERD_MAX_ADDR) as usize;
        self.read = value & 0xFFFF & !regs::EEPROM_RW_REG_START;
        if value & regs::EEPROM_RW_REG_START != 0 {
            let word = self.words.get(address).copied().filter(|_| held);
            let word = word.unwrap_or(0xFFFF);
            self.read |= regs::EEPROM_RW_REG_DONE | u32::from(word) << regs::EEPROM_RW_REG_DATA;
        }
    }

    /// EEWR.
    pub(crate) fn write_register(&self) -> u32 {
        self.write
    }

    /// Writes EEWR: a write completes at once, without effect for who does not hold the semaphore.
    pub(crate) fn start_write(&mut self, value: u32, held: bool) {
        let address = (value >> regs::EEPROM_RW_ADDR_SHIFT & regs::EERD_MAX_ADDR) as usize;
        self.write = value & !regs::EEPROM_RW_REG_START;
        if value & regs::EEPROM_RW_REG_START != 0 {
            if let Some(slot) = self.words.get_mut(address).filter(|_| held) {
                *slot = (value >> regs::EEPROM_RW_REG_DATA) as u16;
            }
            self.write |= regs::EEPROM_RW_REG_DONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(eeprom: &mut Eeprom, word: u32) -> u16 {
        eeprom.start_read(word << 2 | 1, true);
        let value = eeprom.read_register();
        assert_eq!(value & 2, 2, "a read is done at once");
        (value >> 16) as u16
    }

    #[test]
    fn words_sum_to_baba() {
        for (chip, quirks) in [
            (Chip::Kx4, ""),
            (Chip::Sfp, ""),
            (Chip::Sfp, "any-sfp:no-sfp-init"),
        ] {
            let quirks = quirks.parse().unwrap();
            sums_to_baba(Eeprom::new([2, 0, 0, 0, 0, 1], chip, &quirks));
        }
    }

    fn sums_to_baba(mut eeprom: Eeprom) {
        let sum = (0..=0x3F).fold(0u16, |sum, word| sum.wrapping_add(read(&mut eeprom, word)));
        assert_eq!(sum, 0xBABA);
        for pointer in 3..0xF {
            assert!(
                matches!(read(&mut eeprom, pointer), 0 | 0xFFFF),
                "word {pointer:#x} points nowhere"
            );
        }
    }

    #[test]
    fn written_words_stay() {
        let mut eeprom = Eeprom::new([2, 0, 0, 0, 0, 1], Chip::Kx4, &Quirks::default());
        eeprom.start_write(0x1234 << 16 | 0x40 << 2 | 1, true);
        assert_eq!(eeprom.write_register() & 2, 2);
        assert_eq!(read(&mut eeprom, 0x40), 0x1234);
        assert_eq!(read(&mut eeprom, 0x3FFF), 0xFFFF);
    }
}
