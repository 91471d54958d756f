// SPDX-License-Identifier: GPL-2.0
//! Counters of the port (82599 datasheet 8.2.3.23; `ixgbe_update_stats`). Registers clear when
//! read.

use crate::{
    regs::*,
    Regs, //
};

/// Sums since the driver took the device (`struct ixgbe_hw_stats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Named as the registers are; see `crate::regs`.
pub struct HwStats {
    pub crcerrs: u64,
    pub illerrc: u64,
    pub errbc: u64,
    pub mspdc: u64,
    pub mpc: u64,
    pub mlfc: u64,
    pub mrfc: u64,
    pub rlec: u64,
    pub lxontxc: u64,
    pub lxonrxc: u64,
    pub lxofftxc: u64,
    pub lxoffrxc: u64,
    pub prc64: u64,
    pub prc127: u64,
    pub prc255: u64,
    pub prc511: u64,
    pub prc1023: u64,
    pub prc1522: u64,
    pub gprc: u64,
    pub bprc: u64,
    pub mprc: u64,
    pub gptc: u64,
    pub gorc: u64,
    pub gotc: u64,
    pub ruc: u64,
    pub rfc: u64,
    pub roc: u64,
    pub rjc: u64,
    pub tor: u64,
    pub tpr: u64,
    pub tpt: u64,
    pub ptc64: u64,
    pub ptc127: u64,
    pub ptc255: u64,
    pub ptc511: u64,
    pub ptc1023: u64,
    pub ptc1522: u64,
    pub mptc: u64,
    pub bptc: u64,
    pub fdirmatch: u64,
    pub fdirmiss: u64,
    /// Frames dropped because a ring was empty.
    pub qprdc: u64,
    /// Frames of VFs dropped by the spoof check.
    pub ssvpc: u64,
    pub pxontxc: [u64; 8],
    pub pxofftxc: [u64; 8],
    pub pxonrxc: [u64; 8],
    pub pxoffrxc: [u64; 8],
}

/// Bytes of a pause frame on the wire.
const PAUSE_FRAME: u64 = 64;

impl HwStats {
    /// Adds what was counted since the last call.
    ///
    /// Octet counters have 36 bits; the high ones are read to clear them and left out, as in the C
    /// driver: the service task looks every two seconds, and 10 Gb/s fill 32 bits in 3.4.
    pub fn update(&mut self, io: &impl Regs) {
        let rd = |reg: u32| u64::from(io.read32(reg));
        let add = |sum: &mut u64, reg: u32| *sum = sum.wrapping_add(rd(reg));
        let add_octets = |sum: &mut u64, low: u32, high: u32| {
            *sum = sum.wrapping_add(rd(low));
            rd(high);
        };
        add(&mut self.crcerrs, CRCERRS);
        add(&mut self.illerrc, ILLERRC);
        add(&mut self.errbc, ERRBC);
        add(&mut self.mspdc, MSPDC);
        let mut missed = 0u64;
        for i in 0..8 {
            missed = missed.wrapping_add(rd(mpc(i)));
        }
        self.mpc = self.mpc.wrapping_add(missed);
        for (i, sum) in (0u32..).zip(&mut self.pxontxc) {
            add(sum, pxontxc(i));
        }
        for (i, sum) in (0u32..).zip(&mut self.pxofftxc) {
            add(sum, pxofftxc(i));
        }
        for (i, sum) in (0u32..).zip(&mut self.pxonrxc) {
            add(sum, pxonrxcnt(i));
        }
        for (i, sum) in (0u32..).zip(&mut self.pxoffrxc) {
            add(sum, pxoffrxcnt(i));
        }
        for i in 0..16 {
            add(&mut self.qprdc, qprdc(i));
        }
        add(&mut self.mlfc, MLFC);
        add(&mut self.mrfc, MRFC);
        add(&mut self.rlec, RLEC);
        // GPRC counts what found no room in the packet buffer too.
        self.gprc = self.gprc.wrapping_add(rd(GPRC)).wrapping_sub(missed);
        add_octets(&mut self.gorc, GORCL, GORCH);
        add_octets(&mut self.gotc, GOTCL, GOTCH);
        add_octets(&mut self.tor, TORL, TORH);
        add(&mut self.lxonrxc, LXONRXCNT);
        add(&mut self.lxoffrxc, LXOFFRXCNT);
        add(&mut self.fdirmatch, FDIRMATCH);
        add(&mut self.fdirmiss, FDIRMISS);
        add(&mut self.bprc, BPRC);
        add(&mut self.mprc, MPRC);
        add(&mut self.roc, ROC);
        add(&mut self.prc64, PRC64);
        add(&mut self.prc127, PRC127);
        add(&mut self.prc255, PRC255);
        add(&mut self.prc511, PRC511);
        add(&mut self.prc1023, PRC1023);
        add(&mut self.prc1522, PRC1522);
        add(&mut self.ruc, RUC);
        add(&mut self.rfc, RFC);
        add(&mut self.rjc, RJC);
        add(&mut self.tpr, TPR);
        add(&mut self.tpt, TPT);
        let (xon, xoff) = (rd(LXONTXC), rd(LXOFFTXC));
        self.lxontxc = self.lxontxc.wrapping_add(xon);
        self.lxofftxc = self.lxofftxc.wrapping_add(xoff);
        // Transmit counters include pause frames by an erratum.
        let pause = xon.wrapping_add(xoff);
        let without = |sum: &mut u64, reg: u32| {
            *sum = sum.wrapping_add(rd(reg)).wrapping_sub(pause);
        };
        without(&mut self.gptc, GPTC);
        without(&mut self.mptc, MPTC);
        without(&mut self.ptc64, PTC64);
        self.gotc = self.gotc.wrapping_sub(pause.wrapping_mul(PAUSE_FRAME));
        add(&mut self.ptc127, PTC127);
        add(&mut self.ptc255, PTC255);
        add(&mut self.ptc511, PTC511);
        add(&mut self.ptc1023, PTC1023);
        add(&mut self.ptc1522, PTC1522);
        add(&mut self.bptc, BPTC);
        add(&mut self.ssvpc, SSVPC);
    }
}

/// Frames dropped by the spoof check that the log was not told of. SSVPC is cleared by whoever
/// reads it, so what is new is found in the sum, which does not care who read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoofLog {
    told: u64,
}

impl SpoofLog {
    /// What is new since the last call.
    pub fn take(&mut self, stats: &HwStats) -> u64 {
        stats
            .ssvpc
            .wrapping_sub(core::mem::replace(&mut self.told, stats.ssvpc))
    }
}

/// Throws away what the counters hold (`ixgbe_clear_hw_cntrs_generic`).
pub fn clear_counters(io: &impl Regs) {
    HwStats::default().update(io);
    for i in 0..8 {
        io.read32(pxon2offcnt(i));
    }
    for reg in [MNGPRC, MNGPDC, MNGPTC] {
        io.read32(reg);
    }
    for i in 0..16 {
        for reg in [qprc(i), qptc(i), qbrc_l(i), qbrc_h(i), qbtc_l(i), qbtc_h(i)] {
            io.read32(reg);
        }
    }
}
