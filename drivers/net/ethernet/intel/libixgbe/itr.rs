// SPDX-License-Identifier: GPL-2.0
//! Interrupt causes, vectors and moderation (82599 datasheet 7.3; `ixgbe_configure_msix`,
//! `ixgbe_setup_gpie`).

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

/// Sets the least time between interrupts of `vector` without restarting its count
/// (`ixgbe_write_eitr`).
pub fn write_eitr(io: &impl Regs, vector: u32, itr: u32) {
    io.write32(eitr(vector), itr & MAX_EITR | EITR_CNT_WDIS);
}

/// Sets up the general purpose interrupt enable (`ixgbe_setup_gpie`).
///
/// `pins` are the `SDP*_GPIEN` of the board.
pub fn setup_gpie(io: &impl Regs, mode: Mode, pools: Option<Pools>, pins: u32) {
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
    io.write32(GPIE, val | pins);
}

/// Sets up other causes of MSI-X: `vector` is theirs, `num_vfs` decides which function owns shared
/// throttles.
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

/// Lets other causes interrupt, with those of the board's `pins`; link changes only if `lsc`.
pub fn enable_other(io: &impl Regs, pins: u32, lsc: bool) {
    let causes = OTHER_CAUSES | pins;
    io.write32(EIMS, if lsc { causes } else { causes & !EICR_LSC });
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

/// Takes all causes where one vector has them, which it masks (`ixgbe_intr`). The line may be
/// another device's: then there are none.
pub fn take_all(io: &impl Regs) -> u32 {
    // Erratum: masked before EICR is read, or causes get lost.
    io.write32(EIMC, !0);
    io.read32(EICR)
}

/// What one direction of a vector asks of its moderation (`struct ixgbe_ring_container`,
/// `ixgbe_update_itr`).
///
/// Aims at 48 to 96 frames an interrupt, or at low latency where the frames are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptive {
    /// Microseconds between interrupts, with [`LATENCY`].
    itr: u32,
    packets: u32,
    bytes: u32,
    /// Tick of the clock after which too much time has passed to learn something.
    next_update: u64,
}

/// Few frames: latency counts. It is out of the range of microseconds, so that the other direction
/// decides.
const LATENCY: u32 = 0x80;
/// `IXGBE_ITR_ADAPTIVE_MIN_INC`.
const MIN_INC: u32 = 2;
/// `IXGBE_ITR_ADAPTIVE_MIN_USECS`.
const MIN_USECS: u32 = 10;
/// `IXGBE_ITR_ADAPTIVE_MAX_USECS`.
const MAX_USECS: u32 = 126;

impl Adaptive {
    /// As `ixgbe_alloc_q_vector` starts.
    pub const fn new() -> Self {
        Self {
            itr: MAX_USECS | LATENCY,
            packets: 0,
            bytes: 0,
            next_update: 0,
        }
    }

    /// Counts what a poll did.
    #[inline]
    pub fn count(&mut self, packets: u32, bytes: u32) {
        self.packets = self.packets.wrapping_add(packets);
        self.bytes = self.bytes.wrapping_add(bytes);
    }

    /// Learns from what was counted. `current` is the vector's moderation in [`write_eitr`]'s
    /// units, `now` the system's tick, `slow` whether the link has 1 Gb/s.
    fn update(&mut self, current: u32, now: u64, slow: bool) {
        if now <= self.next_update {
            self.itr = Self::next(self.itr, current >> 2, self.packets, self.bytes, slow);
        }
        self.next_update = now.wrapping_add(1);
        self.packets = 0;
        self.bytes = 0;
    }

    fn next(own: u32, current: u32, packets: u32, bytes: u32, slow: bool) -> u32 {
        let slower = current.saturating_add(MIN_INC).min(MAX_USECS);
        let flag = match packets {
            // The other direction is active: be called without work less often.
            0 => return slower | own & LATENCY,
            1..=3 if bytes < 9000 => LATENCY,
            1..=47 => return slower,
            48..=95 => return current,
            96..=255 => return (current >> 1).max(MIN_USECS),
            _ => 0,
        };
        let size = bytes.checked_div(packets).unwrap_or(0);
        // 256 times the microseconds in which the hardware fills a default socket buffer with
        // frames of this size.
        let mut wanted = match size {
            0..=60 => 5120,
            61..=316 => size.saturating_mul(40).saturating_add(2720),
            317..=1084 => size.saturating_mul(15).saturating_add(11452),
            1085..=1967 => size.saturating_mul(5).saturating_add(22420),
            _ => 32256,
        };
        if flag == LATENCY {
            wanted >>= 1;
        }
        let scale = if slow {
            wanted = wanted.min(8064);
            64
        } else {
            256
        };
        flag.wrapping_add(wanted.div_ceil(MIN_INC * scale).wrapping_mul(MIN_INC))
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

/// The moderation of a vector in [`write_eitr`]'s units, from what both directions ask for
/// (`ixgbe_set_itr`).
pub fn adapt(tx: &mut Adaptive, rx: &mut Adaptive, current: u32, now: u64, slow: bool) -> u32 {
    tx.update(current, now, slow);
    rx.update(current, now, slow);
    (tx.itr.min(rx.itr) & !LATENCY) << 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the same load each tick and returns where moderation ends, in microseconds.
    fn settle(packets: u32, size: u32) -> u32 {
        let (mut tx, mut rx, mut itr) = (Adaptive::new(), Adaptive::new(), ITR_20K);
        for now in 1..200 {
            rx.count(packets, packets * size);
            itr = adapt(&mut tx, &mut rx, itr, now, false);
        }
        eitr_to_usecs(itr)
    }

    #[test]
    fn few_small_frames_want_latency_and_many_want_few_interrupts() {
        assert_eq!(settle(1, 60), 10);
        assert_eq!(settle(32, 60), MAX_USECS);
        // Just right: it stays where the first tick left it.
        assert_eq!(settle(64, 60), MAX_USECS);
        assert_eq!(settle(200, 60), MIN_USECS);
        assert_eq!(settle(1000, 1514), 118);
    }

    #[test]
    fn what_happened_long_ago_teaches_nothing() {
        let (mut tx, mut rx) = (Adaptive::new(), Adaptive::new());
        let itr = adapt(&mut tx, &mut rx, ITR_20K, 1, false);
        rx.count(1000, 60_000);
        let before = rx.itr;
        adapt(&mut tx, &mut rx, itr, 1000, false);
        assert_eq!(rx.itr, before);
        assert_eq!((rx.packets, rx.bytes), (0, 0));
    }
}
