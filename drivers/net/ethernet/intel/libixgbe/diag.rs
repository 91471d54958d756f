// SPDX-License-Identifier: GPL-2.0
//! Register and loopback tests of the PF, for `ethtool -t` offline (`ixgbe_reg_test`,
//! `ixgbe_loopback_test`).

use crate::{
    chip::Chip,
    io::modify,
    regs::*,
    Delay,
    Regs, //
};

/// What is written to a register and read back (`reg_pattern_test`).
const PATTERNS: [u32; 4] = [0x5A5A_5A5A, 0xA5A5_A5A5, 0x0000_0000, 0xFFFF_FFFF];

/// Bits of STATUS that do not change by themselves on 82599.
const STATUS_TOGGLE: u32 = 0x7FFF_F30F;

/// A step of the register test.
enum Step {
    /// Writes patterns cut to `write` and expects them cut to `write & mask`.
    Pattern { mask: u32, write: u32 },
    /// Writes `write` and expects it cut to `mask`.
    Set { mask: u32, write: u32 },
    /// Writes and looks no further.
    Write(u32),
}

/// First register, how many, their distance, and what to do with each (`reg_test_82599`).
static STEPS: &[(u32, u32, u32, Step)] = &[
    (fcrtl(0), 1, 0, pattern(0x8007_FFF0, 0x8007_FFF0)),
    (fcrth(0), 1, 0, pattern(0x8007_FFF0, 0x8007_FFF0)),
    (PFCTOP, 1, 0, pattern(0xFFFF_FFFF, 0xFFFF_FFFF)),
    (VLNCTRL, 1, 0, pattern(0, 0)),
    (rdbal(0), 4, 0x40, pattern(0xFFFF_FF80, 0xFFFF_FF80)),
    (rdbah(0), 4, 0x40, pattern(0xFFFF_FFFF, 0xFFFF_FFFF)),
    (rdlen(0), 4, 0x40, pattern(0x000F_FF80, 0x000F_FFFF)),
    (rxdctl(0), 4, 0x40, Step::Write(RXDCTL_ENABLE)),
    (rdt(0), 4, 0x40, pattern(0x0000_FFFF, 0x0000_FFFF)),
    (rxdctl(0), 4, 0x40, Step::Write(0)),
    (fcttv(0), 1, 0, pattern(0xFFFF_FFFF, 0xFFFF_FFFF)),
    (tdbal(0), 4, 0x40, pattern(0xFFFF_FF80, 0xFFFF_FFFF)),
    (tdbah(0), 4, 0x40, pattern(0xFFFF_FFFF, 0xFFFF_FFFF)),
    (tdlen(0), 4, 0x40, pattern(0x000F_FF80, 0x000F_FF80)),
    (RXCTRL, 1, 0, Step::Set { mask: 1, write: 1 }),
    (ral(0), 16, 8, pattern(0xFFFF_FFFF, 0xFFFF_FFFF)),
    (rah(0), 16, 8, pattern(0x8001_FFFF, 0x800C_FFFF)),
    (mta(0), 128, 4, pattern(0xFFFF_FFFF, 0xFFFF_FFFF)),
];

const fn pattern(mask: u32, write: u32) -> Step {
    Step::Pattern { mask, write }
}

/// Writes and reads back registers of a device that is stopped, and must be reset afterwards.
///
/// # Errors
/// The register that did not hold what was written.
pub fn test_registers(io: &impl Regs) -> Result<(), u32> {
    let before = io.read32(STATUS);
    io.write32(STATUS, STATUS_TOGGLE);
    if (io.read32(STATUS) ^ before) & STATUS_TOGGLE != 0 {
        return Err(STATUS);
    }
    io.write32(STATUS, before);
    for (first, count, stride, step) in STEPS {
        for i in 0..*count {
            let reg = first.wrapping_add(stride.wrapping_mul(i));
            let ok = match *step {
                Step::Pattern { mask, write } => PATTERNS.iter().all(|p| {
                    let before = io.read32(reg);
                    io.write32(reg, p & write);
                    let ok = io.read32(reg) == p & write & mask;
                    io.write32(reg, before);
                    ok
                }),
                Step::Set { mask, write } => {
                    let before = io.read32(reg);
                    io.write32(reg, write & mask);
                    let ok = io.read32(reg) & mask == write & mask;
                    io.write32(reg, before);
                    ok
                }
                Step::Write(val) => {
                    io.write32(reg, val);
                    true
                }
            };
            if !ok {
                return Err(reg);
            }
        }
    }
    Ok(())
}

/// Loops the MAC back and takes every frame, with the link forced up; `orig_autoc` is AUTOC as the
/// EEPROM left it.
pub fn setup_loopback(io: &(impl Regs + Delay), chip: Chip, orig_autoc: u32) {
    modify(io, HLREG0, HLREG0_LPBK, HLREG0_LPBK);
    let take = FCTRL_BAM | FCTRL_SBP | FCTRL_MPE | FCTRL_UPE;
    modify(io, FCTRL, take, take);
    chip.force_link(io, orig_autoc);
    io.read32(STATUS);
    io.msleep(10);
}

/// Ends the loop; the device is reset next.
pub fn cleanup_loopback(io: &impl Regs) {
    modify(io, HLREG0, HLREG0_LPBK, 0);
}

/// Fills a test frame as the C driver does (`ixgbe_create_lbtest_frame`).
pub fn fill_loopback_frame(frame: &mut [u8]) {
    frame.fill(0xFF);
    let half = frame.len() / 2;
    for (i, byte) in frame.iter_mut().enumerate().skip(half) {
        *byte = match i.wrapping_sub(half) {
            10 => 0xBE,
            12 => 0xAF,
            n if n < half / 2 => 0xAA,
            _ => 0xFF,
        };
    }
}

/// Whether a received frame is one that was sent.
pub fn check_loopback_frame(frame: &[u8], len: usize) -> bool {
    let half = len / 2;
    let at = |i: usize| frame.get(i).copied();
    at(3) == Some(0xFF)
        && at(half.wrapping_add(10)) == Some(0xBE)
        && at(half.wrapping_add(12)) == Some(0xAF)
}
