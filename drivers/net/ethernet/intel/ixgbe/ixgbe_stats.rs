// SPDX-License-Identifier: GPL-2.0
//! Counters of the port and of the VFs.

use crate::{
    Adapter,
    State, //
};
use libixgbe::stats::HwStats;
use nic::net::{
    self,
    Counter,
    LinkStats, //
};

/// Counters of the port for readers that cannot take a lock that sleeps.
#[derive(Default)]
pub(crate) struct PortStats {
    multicast: Counter,
    crc_errors: Counter,
    length_errors: Counter,
    missed: Counter,
}

impl PortStats {
    fn update(&self, hw: &HwStats) {
        self.multicast.set(hw.mprc);
        self.crc_errors.set(hw.crcerrs);
        self.length_errors.set(hw.rlec);
        self.missed.set(hw.mpc);
    }

    pub(crate) fn fill(&self, s: &mut LinkStats) {
        s.multicast = self.multicast.get();
        s.rx_crc_errors = self.crc_errors.get();
        s.rx_length_errors = self.length_errors.get();
        s.rx_errors = s.rx_crc_errors.wrapping_add(s.rx_length_errors);
        s.rx_missed_errors = self.missed.get();
    }
}

/// Reads the counters, which the hardware clears.
pub(crate) fn update_stats(dev: &net::Device<Adapter>, state: &mut State) {
    let a = dev.data();
    if a.hw.removed() {
        // All ones are no counts.
        return;
    }
    state.hw_stats.update(&a.hw);
    a.port_stats.update(&state.hw_stats);
    for (vf, s) in (0u32..).zip(state.vfs.iter_mut()) {
        s.update_stats(&a.hw, vf);
    }
}
