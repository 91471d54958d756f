// SPDX-License-Identifier: GPL-2.0
//! Interrupt causes, vectors and moderation (82599 datasheet 7.3; `ixgbe_configure_msix`, `ixgbe_setup_gpie`).

use crate::{
    io::modify,
    regs::*,
    sriov::Pools,
    Regs, //
};

/// EITR of 100,000 interrupts a second, in the units of [`write_eitr`] (`IXGBE_100K_ITR`).
pub const ITR_100K: u32 = 40;
/// 20,000 a second, the default (`IXGBE_20K_ITR`).
pub const ITR_20K: u32 = 200;
/// 12,000 a second (`IXGBE_12K_ITR`).
pub const ITR_12K: u32 = 336;

/// How interrupts reach the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A vector a queue pair, and one for other causes.
    Msix,
    /// One for all: MSI or a line.
    Single,
}

/// Direction of a queue in IVAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Receive.
    Rx,
    /// Transmit.
    Tx,
}

/// Sends the interrupts of `queue` to `vector` (`ixgbe_set_ivar`).
pub fn set_ivar(io: &impl Regs, direction: Direction, queue: u32, vector: u32) {
    let shift = 16 * (queue & 1)
        + match direction {
            Direction::Rx => 0,
            Direction::Tx => 8,
        };
    modify(
        io,
        ivar(queue >> 1),
        0xFF << shift,
        (vector | IVAR_ALLOC_VAL) << shift,
    );
}

/// Sends every other cause to `vector`.
pub fn set_ivar_other(io: &impl Regs, vector: u32) {
    modify(io, IVAR_MISC, 0xFF << 8, (vector | IVAR_ALLOC_VAL) << 8);
}

/// Microseconds between interrupts, from the value in a register's units: 2 us at bit 3.
pub const fn eitr_to_usecs(itr: u32) -> u32 {
    itr >> 2
}

/// The register's units from microseconds.
pub const fn usecs_to_eitr(usecs: u32) -> u32 {
    let itr = usecs.saturating_mul(4);
    if itr > MAX_EITR {
        MAX_EITR
    } else {
        itr & MAX_EITR
    }
}

/// Sets the least time between interrupts of `vector` without restarting its count (`ixgbe_write_eitr`).
pub fn write_eitr(io: &impl Regs, vector: u32, itr: u32) {
    io.write32(eitr(vector), itr & MAX_EITR | EITR_CNT_WDIS);
}

/// Sets up the general purpose interrupt enable (`ixgbe_setup_gpie`).
pub fn setup_gpie(io: &impl Regs, mode: Mode, pools: Option<Pools>) {
    let mut val = match mode {
        Mode::Msix => {
            // A vector masks itself, which saves a register write each time.
            io.write32(eiam_ex(0), !0);
            io.write32(eiam_ex(1), !0);
            GPIE_MSIX_MODE | GPIE_PBA_SUPPORT | GPIE_OCD | GPIE_EIAME
        }
        Mode::Single => {
            io.write32(EIAM, EICR_RTX_QUEUE);
            0
        }
    };
    val |= match pools {
        None => 0,
        Some(Pools::P16) => GPIE_VTMODE_16,
        Some(Pools::P32) => GPIE_VTMODE_32,
        Some(Pools::P64) => GPIE_VTMODE_64,
    };
    io.write32(GPIE, val);
}

/// Sets up other causes of MSI-X: `vector` is theirs, `num_vfs` decides which function owns shared throttles.
pub fn configure_msix_other(io: &impl Regs, vector: u32, num_vfs: u32) {
    if num_vfs > 32 {
        // VFs from 32 on take their throttles from the upper half (8.2.3.5.19).
        let upper = num_vfs.wrapping_sub(32);
        io.write32(
            EITRSEL,
            1u32.checked_shl(upper).unwrap_or(0).wrapping_sub(1),
        );
    }
    set_ivar_other(io, vector);
    io.write32(eitr(vector), 1950);
    io.write32(
        EIAC,
        EIMS_ENABLE_MASK & !(EICR_OTHER | EICR_MAILBOX | EICR_LSC),
    );
}

/// Other causes that the driver wants (`ixgbe_irq_enable`).
pub const OTHER_CAUSES: u32 = (EIMS_ENABLE_MASK & !EICR_RTX_QUEUE) | EICR_ECC | EICR_MAILBOX;

/// Lets other causes interrupt, link changes only if `lsc`.
pub fn enable_other(io: &impl Regs, lsc: bool) {
    let mask = if lsc {
        OTHER_CAUSES
    } else {
        OTHER_CAUSES & !EICR_LSC
    };
    io.write32(EIMS, mask);
}

/// Lets the vectors of `mask` interrupt (`ixgbe_irq_enable_queues`).
pub fn enable_queues(io: &impl Regs, mask: u64) {
    let (low, high) = (mask as u32, (mask >> 32) as u32);
    if low != 0 {
        io.write32(eims_ex(0), low);
    }
    if high != 0 {
        io.write32(eims_ex(1), high);
    }
}

/// Makes the first `n` vectors interrupt as if their queues had work (`ixgbe_irq_rearm_queues`).
pub fn fire(io: &impl Regs, n: u32) {
    let mask = match n {
        0 => return,
        1..=63 => (1u64 << n) - 1,
        _ => !0,
    };
    // The PF has 16 queue pairs at most, so the upper word is for others.
    io.write32(eics_ex(0), mask as u32);
}

/// Masks everything; the caller then waits for handlers that run (`ixgbe_irq_disable`).
pub fn disable(io: &impl Regs) {
    io.write32(EIMC, 0xFFFF_0000);
    io.write32(eimc_ex(0), !0);
    io.write32(eimc_ex(1), !0);
    io.read32(STATUS);
}

/// Takes the other causes in MSI-X mode, and leaves the queues' (`ixgbe_msix_other`).
///
/// EICS reads the causes without clearing them: clear-on-read of EICR loses events by an erratum.
pub fn take_other(io: &impl Regs) -> u32 {
    let causes = io.read32(EICS) & 0xFFFF_0000;
    io.write32(EICR, causes);
    causes
}

/// Takes all causes where one vector has them, which it masks (`ixgbe_intr`). The line may be another device's: then
/// there are none.
pub fn take_all(io: &impl Regs) -> u32 {
    // Erratum: masked before EICR is read, or causes get lost.
    io.write32(EIMC, !0);
    io.read32(EICR)
}

/// Moderation that follows the traffic: small frames want latency, bulk wants few interrupts.
///
/// The three classes of the C driver before 4.15, `ixgbe_update_itr`, which need one comparison a poll.
pub const fn adaptive_itr(current: u32, packets: u32, bytes: u32) -> u32 {
    if packets == 0 {
        return current;
    }
    let size = bytes / packets;
    if packets < 4 || size < 128 {
        ITR_100K
    } else if size < 1200 {
        ITR_20K
    } else {
        ITR_12K
    }
}
