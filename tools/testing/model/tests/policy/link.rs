// SPDX-License-Identifier: GPL-2.0
//! Counters, pause, firmware: what one reader or one moment must not decide for another.

use crate::bench::Bench;
use libixgbe::stats::{HwStats, SpoofLog};
use libixgbe::{eeprom, regs, ring, Regs};

/// Report 4: the log is told of every frame, whoever reads the counter.
#[test]
fn who_reads_a_counter_takes_nothing_from_the_log() {
    let bench = Bench::new(1);
    let io = &Preset(bench.io(), regs::SSVPC, std::cell::Cell::new(0));
    let (mut stats, mut log) = (HwStats::default(), SpoofLog::default());
    let mut told = 0;
    for n in 0..10 {
        io.2.set(7);
        // `ethtool -S`, which clears the register.
        stats.update(io);
        if n % 3 == 0 {
            // The service task.
            stats.update(io);
            told += log.take(&stats);
        }
    }
    assert_eq!(told, 70);
    assert_eq!(log.take(&stats), 0);
}

/// A counter that holds a number until it is read.
struct Preset<R>(R, u32, std::cell::Cell<u32>);

impl<R: Regs> Regs for Preset<R> {
    fn read32(&self, reg: u32) -> u32 {
        if reg == self.1 {
            self.2.take()
        } else {
            self.0.read32(reg)
        }
    }

    fn write32(&self, reg: u32, val: u32) {
        self.0.write32(reg, val);
    }
}

/// Finding 19: which queues drop is decided when the link has said whether its partner pauses.
#[test]
fn queues_drop_by_what_the_link_negotiated() {
    let bench = Bench::new(0);
    let io = &bench.io();
    let dropping = || {
        (0..4)
            .filter(|q| bench.reg(regs::srrctl(*q)) & regs::SRRCTL_DROP_EN != 0)
            .count()
    };
    ring::set_drop_en(io, 0, 3, ring::drops(false, 3, true));
    assert_eq!(dropping(), 0);
    ring::set_drop_en(io, 0, 3, ring::drops(false, 3, false));
    assert_eq!(dropping(), 3);
    assert!(!ring::drops(false, 1, false) && ring::drops(true, 1, true));
}

/// A card whose firmware reports an error works, as with the C driver.
#[test]
fn firmware_errors_are_worth_a_warning() {
    let bench = Bench::new(0);
    assert_eq!(eeprom::firmware_error(&bench.io()), None);
    for fwsm in [0x0118_801F, 0x8118_801B, 0] {
        let io = Preset(bench.io(), regs::FWSM, std::cell::Cell::new(fwsm));
        assert_eq!(eeprom::firmware_error(&io), Some(fwsm));
    }
}
