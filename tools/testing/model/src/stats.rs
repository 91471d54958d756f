// SPDX-License-Identifier: GPL-2.0
//! Counters of the MAC, the queues and the VFs (82599 datasheet 7.11, 8.2.3.23).
//!
//! The MAC counts octets with the FCS, so 4 more than QEMU's frames have. VF counters wrap and are not cleared by reading;
//! all others are (K: `ixgbe_update_stats`, `ixgbevf_update_stats`).

use libixgbe::regs;

use crate::filter::Addresses;
use crate::offload::fcs;
use crate::regs_file::RegisterFile;

/// Register of a size class, of the six that start with the one for 64 bytes.
fn size_class(first: u32, length: usize) -> u32 {
    first
        + 4 * match length {
            0..=64 => 0,
            65..=127 => 1,
            128..=255 => 2,
            256..=511 => 3,
            512..=1023 => 4,
            _ => 5,
        }
}

/// Bytes on the wire.
fn octets(frame: &[u8]) -> u64 {
    (frame.len() + fcs::LEN) as u64
}

impl RegisterFile {
    /// A frame arrived at the MAC.
    pub(crate) fn count_arrival(&mut self, frame: &[u8]) {
        self.add(regs::TPR, 1);
        self.add_wide(regs::TORL, regs::TORH, octets(frame));
    }

    /// It was good: error-free, and some filter took it.
    pub(crate) fn count_good(&mut self, frame: &[u8], addresses: &Addresses) {
        self.add(regs::GPRC, 1);
        self.add_wide(regs::GORCL, regs::GORCH, octets(frame));
        self.add(size_class(regs::PRC64, frame.len() + fcs::LEN), 1);
        if addresses.broadcast() {
            self.add(regs::BPRC, 1);
        } else if addresses.multicast() {
            self.add(regs::MPRC, 1);
        }
    }

    /// A frame left on the wire.
    pub(crate) fn count_transmit(&mut self, frame: &[u8], addresses: &Addresses) {
        self.add(regs::GPTC, 1);
        self.add(regs::TPT, 1);
        self.add_wide(regs::GOTCL, regs::GOTCH, octets(frame));
        self.add(size_class(regs::PTC64, frame.len() + fcs::LEN), 1);
        if addresses.broadcast() {
            self.add(regs::BPTC, 1);
        } else if addresses.multicast() {
            self.add(regs::MPTC, 1);
        }
    }

    /// A pause frame left, or would have. It counts as a frame too: the C driver takes it off again (K:
    /// `ixgbe_update_stats`).
    pub(crate) fn count_pause(&mut self, register: u32) {
        self.add(register, 1);
        for frames in [regs::GPTC, regs::MPTC, regs::TPT, regs::PTC64] {
            self.add(frames, 1);
        }
        self.add_wide(regs::GOTCL, regs::GOTCH, (fcs::MIN_FRAME + fcs::LEN) as u64);
    }

    /// Counter set of a queue: four queues a register, a byte each.
    fn counter_set(&self, map: u32, queue: u8) -> u32 {
        let register = self.get(map + u32::from(queue / 4) * 4);
        register >> (u32::from(queue % 4) * 8) & 0xF
    }

    /// A queue received a frame.
    pub(crate) fn count_queue_receive(&mut self, queue: u8, frame: &[u8]) {
        let set = self.counter_set(regs::rqsmr(0), queue);
        self.add(regs::qprc(set), 1);
        self.add_wide(regs::qbrc_l(set), regs::qbrc_h(set), octets(frame));
    }

    /// A queue had no descriptor for a frame that it may drop.
    pub(crate) fn count_queue_drop(&mut self, queue: u8) {
        let set = self.counter_set(regs::rqsmr(0), queue);
        self.add(regs::qprdc(set), 1);
    }

    /// A queue sent a frame.
    pub(crate) fn count_queue_transmit(&mut self, queue: u8, frame: &[u8]) {
        // The C driver searches the VFs for PCIe errors whenever this stands still (K: `ixgbe_check_for_bad_vf`).
        self.add(regs::TXDGPC, 1);
        let set = self.counter_set(regs::tqsm(0), queue);
        self.add(regs::qptc(set), 1);
        self.add_wide(regs::qbtc_l(set), regs::qbtc_h(set), octets(frame));
    }

    /// A VF received a frame.
    pub(crate) fn count_vf_receive(&mut self, vf: u8, frame: &[u8], multicast: bool) {
        let vf = u32::from(vf);
        self.add(regs::pvfgprc(vf), 1);
        self.add_wide(regs::pvfgorc_lsb(vf), regs::pvfgorc_msb(vf), octets(frame));
        if multicast {
            self.add(regs::pvfmprc(vf), 1);
        }
    }

    /// A VF sent a frame.
    pub(crate) fn count_vf_transmit(&mut self, vf: u8, frame: &[u8]) {
        let vf = u32::from(vf);
        self.add(regs::pvfgptc(vf), 1);
        self.add_wide(regs::pvfgotc_lsb(vf), regs::pvfgotc_msb(vf), octets(frame));
    }
}
