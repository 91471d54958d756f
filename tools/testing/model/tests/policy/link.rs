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

/// Report 33: the PF's MTU changes under VFs that stay at 1500.
#[test]
fn vfs_live_through_every_mtu_of_the_pf() {
    let bench = Bench::new(2);
    for mtu in [1500, 9000, 1500, 9000, 1500] {
        bench.down();
        bench.pf.borrow_mut().sw.mtu = mtu;
        bench.up();
        for vf in [0, 1] {
            bench.guest(vf).set_rlpml(&bench.vf(vf), 1518).unwrap();
            assert_eq!(bench.gates(vf), (true, true), "VF {vf} beside {mtu}");
        }
        let longest = bench.reg(regs::MAXFRS) >> regs::MHADD_MFS_SHIFT;
        assert_eq!(longest, mtu + 18);
    }
}

/// Report 34: VLANs joined and left before, during and after the PF takes all.
#[test]
fn vlans_are_kept_apart_while_the_pf_takes_all() {
    let bench = Bench::new(2);
    let promisc = |on| {
        let pf = &mut *bench.pf.borrow_mut();
        let pool = pf.sw.pf_pool();
        pf.sw.vlans.set_promisc(&bench.io(), on, Some(pool));
    };
    let mut a = bench.guest(0);
    let mut b = bench.guest(1);
    let (ia, ib) = (&bench.vf(0), &bench.vf(1));
    bench.pf_joins(10);
    a.set_vfta(ia, 10, true).unwrap();
    a.set_vfta(ia, 11, true).unwrap();
    b.set_vfta(ib, 11, true).unwrap();
    promisc(true);
    assert!([10, 11, 12, 4000].iter().all(|vid| bench.pf_hears(*vid)));
    bench.pf_joins(12);
    a.set_vfta(ia, 12, true).unwrap();
    a.set_vfta(ia, 13, true).unwrap();
    a.set_vfta(ia, 11, false).unwrap();
    a.set_vfta(ia, 10, false).unwrap();
    b.set_vfta(ib, 14, false).unwrap();
    assert!([10, 11, 12, 13, 4000]
        .iter()
        .all(|vid| bench.pf_hears(*vid)));
    assert_eq!(bench.vlans(0), [0, 12, 13]);
    assert_eq!(bench.vlans(1), [0, 11]);
    promisc(false);
    assert_eq!(bench.vlans(0), [0, 12, 13]);
    assert_eq!(bench.vlans(1), [0, 11]);
    let hears: Vec<u32> = (1..20).filter(|vid| bench.pf_hears(*vid)).collect();
    assert_eq!(hears, [10, 12]);
    bench.flr(0);
    bench.flr(1);
    let hears: Vec<u32> = (1..20).filter(|vid| bench.pf_hears(*vid)).collect();
    assert_eq!(hears, [10, 12]);
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
