// SPDX-License-Identifier: GPL-2.0
//! Plain registers: what is written is read back, under a mask.
//!
//! Registers with a side effect live in the other modules; this file also resolves the second addresses that the 82599
//! keeps for 82598 software (82599 datasheet 8.2.3, the columns "alias offset").

use libixgbe::regs;

/// Bytes of the register space in BAR 0 (K: the highest register that `ixgbe_type.h` names for the 82599 is below).
pub const SPACE: u32 = 0x2_0000;

/// The one address of a register that has two.
pub(crate) fn canonical(address: u32) -> u32 {
    match address {
        // RAL/RAH 0 to 15, PSRTYPE 0 to 15.
        0x5400..=0x547F => address - 0x5400 + 0xA200,
        0x5480..=0x54BF => address - 0x5480 + 0xEA00,
        // RETA, RSSRK and MRQC have their second home beside the other 82599 queueing registers (T).
        0xEB00..=0xEB7F => address - 0xEB00 + regs::reta(0),
        0xEB80..=0xEBA7 => address - 0xEB80 + regs::rssrk(0),
        0xEC80 => regs::MRQC,
        // SRRCTL and DCA_RXCTRL of queues 0 to 15.
        0x2100..=0x213F => 0x1014 + (address - 0x2100) / 4 * 0x40 + address % 4,
        0x2200..=0x223F => 0x100C + (address - 0x2200) / 4 * 0x40 + address % 4,
        other => other,
    }
}

/// Bits that software can change, where not all.
///
/// From the register test of the C driver (K: `reg_test_82599`), which compares with silicon.
fn mask(address: u32) -> u32 {
    match address {
        // FCRTL and FCRTH.
        0x3220..=0x323F | 0x3260..=0x327F => 0x8007_FFF0,
        // RAH: bit 31 and the address; the pool field of the 82598 is gone.
        0xA200..=0xA5FF if address % 8 == 4 => 0x8000_FFFF,
        regs::RXCTRL => regs::RXCTRL_RXEN | regs::RXCTRL_DMBYPS,
        regs::RDRXCTL => !regs::RDRXCTL_DMAIDONE,
        // Status of the security blocks, LINKS, ANLP1: read-only.
        regs::STATUS
        | regs::LINKS
        | regs::LINKS2
        | regs::ANLP1
        | regs::SECRXSTAT
        | regs::SECTXSTAT
        | regs::FWSM
        | regs::FACTPS => 0,
        _ => u32::MAX,
    }
}

/// The plain registers.
pub(crate) struct RegisterFile {
    words: Vec<u32>,
}

impl Default for RegisterFile {
    fn default() -> Self {
        let mut file = Self {
            words: vec![0; (SPACE / 4) as usize],
        };
        file.reset();
        file
    }
}

impl RegisterFile {
    /// Gives every register the value it has after a reset.
    pub(crate) fn reset(&mut self) {
        self.words.fill(0);
        for (address, value) in DEFAULTS {
            self.set(*address, *value);
        }
        for i in 0..4 {
            self.set(regs::pfmbimr(i), u32::MAX);
        }
        self.set(regs::rxpbsize(0), 512 << 10);
        self.set(regs::txpbsize(0), regs::TXPBSIZE_MAX);
    }

    /// The value at a canonical address; 0 outside the space.
    pub(crate) fn get(&self, address: u32) -> u32 {
        self.words.get((address / 4) as usize).copied().unwrap_or(0)
    }

    /// Stores a value at a canonical address, mask or not.
    pub(crate) fn set(&mut self, address: u32, value: u32) {
        if let Some(word) = self.words.get_mut((address / 4) as usize) {
            *word = value;
        }
    }

    /// What a write by software does.
    pub(crate) fn write(&mut self, address: u32, value: u32) {
        let mask = mask(address);
        self.set(address, (self.get(address) & !mask) | (value & mask));
    }

    /// Whether any of `bits` is set.
    pub(crate) fn any(&self, address: u32, bits: u32) -> bool {
        self.get(address) & bits != 0
    }

    /// Bit `i` of a table of 32-bit registers that starts at `base`.
    pub(crate) fn table_bit(&self, base: u32, i: u32) -> bool {
        self.get(base + i / 32 * 4) >> (i % 32) & 1 == 1
    }

    /// Two registers that form the bits of 64 pools.
    pub(crate) fn pair(&self, low: u32, high: u32) -> u64 {
        u64::from(self.get(low)) | u64::from(self.get(high)) << 32
    }

    /// Adds to a 32-bit counter, wrapping.
    pub(crate) fn add(&mut self, address: u32, amount: u32) {
        self.set(address, self.get(address).wrapping_add(amount));
    }

    /// Adds to a counter of 36 bits in two registers, as the octet counters are.
    pub(crate) fn add_wide(&mut self, low: u32, high: u32, amount: u64) {
        let sum = self.pair(low, high).wrapping_add(amount);
        // The low half by truncation is the point here.
        self.set(low, (sum & u64::from(u32::MAX)) as u32);
        self.set(high, (sum >> 32 & 0xF) as u32);
    }
}

/// Values after a reset, where not 0. K is what the C driver relies on; values that nothing public states are chosen so
/// that the parts work together.
const DEFAULTS: &[(u32, u32)] = &[
    // Both directions' CRC, padding, MDC speed: the C driver only changes single bits of it.
    (
        regs::HLREG0,
        regs::HLREG0_TXCRCEN
            | regs::HLREG0_RXCRCSTRP
            | regs::HLREG0_TXPADEN
            | regs::HLREG0_MDCSPD
            | regs::HLREG0_RXLNGTHERREN,
    ),
    (regs::MAXFRS, 1518 << regs::MHADD_MFS_SHIFT),
    (regs::VLNCTRL, regs::ETHERNET_IEEE_VLAN_TYPE),
    (
        regs::DMATXCTL,
        regs::ETHERNET_IEEE_VLAN_TYPE << regs::DMATXCTL_VT_SHIFT,
    ),
    // 10 Gb/s KX4 without auto-negotiation, from the EEPROM's point of view.
    (regs::AUTOC, regs::AUTOC_LMS_10G_LINK_NO_AN | 1 << 7),
    // ixgbe_reset_pipeline_82599() waits for a state other than 0; the partner has both pause bits.
    (
        regs::ANLP1,
        1 << 16 | regs::ANLP1_SYM_PAUSE | regs::ANLP1_ASM_PAUSE,
    ),
    // Fused off, idle: no IPsec offload is announced, and the Rx enable sequence sees a quiet path.
    (
        regs::SECRXSTAT,
        regs::SECRXSTAT_SECRX_RDY | regs::SECRXSTAT_SECRX_OFF_DIS,
    ),
    (
        regs::SECTXSTAT,
        regs::SECTXSTAT_SECTX_RDY | regs::SECTXSTAT_SECTX_OFF_DIS,
    ),
    (regs::FWSM, regs::FWSM_FW_VAL_BIT),
    (regs::LEDCTL, regs::LED_LINK_ACTIVE << 16),
    (
        regs::RDRXCTL,
        regs::RDRXCTL_DMAIDONE | regs::RDRXCTL_CRCSTRIP,
    ),
    // See offload::tso::FlagMasks.
    (regs::DTXTCPFLGL, 0x0FF6_0FF6),
    (regs::DTXTCPFLGH, 0xF7F),
];
