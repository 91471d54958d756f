// SPDX-License-Identifier: GPL-2.0
//! Pools: how queues, vectors and filters are divided between the PF and its VFs (82599 datasheet
//! 7.10; `ixgbe_lib.c`).

use crate::{
    chip::Chip,
    filter::{
        pool_bit,
        set_vmdq, //
    },
    io::modify,
    regs::*,
    Regs, //
};

pub mod mdd;
pub mod vf;

/// Most VFs that the driver makes: one pool is the PF's (`IXGBE_MAX_VFS_DRV_LIMIT`).
pub const MAX_VFS: u32 = 63;

/// Division of the 128 queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pools {
    /// 16 pools of 8 queues, one a traffic class.
    P16,
    /// 32 pools of 4 queues.
    P32,
    /// 64 pools of 2 queues.
    P64,
}

/// EtherType of LLDP.
const ETH_P_LLDP: u32 = 0x88CC;
/// EtherType of MAC control, by which a station is told to pause.
const ETH_P_PAUSE: u32 = 0x8808;

impl Pools {
    /// Division that `num_vfs` VFs and the PF need (`ixgbe_set_sriov_queues`); none without VFs.
    pub const fn for_vfs(num_vfs: u32) -> Option<Self> {
        match num_vfs {
            0 => None,
            1..=31 => Some(Self::P32),
            _ => Some(Self::P64),
        }
    }

    /// Queues of a pool.
    pub const fn queues(self) -> u32 {
        match self {
            Self::P16 => QUEUES_16VFS,
            Self::P32 => QUEUES_32VFS,
            Self::P64 => QUEUES_64VFS,
        }
    }

    /// Pools.
    pub const fn count(self) -> u32 {
        match self {
            Self::P16 => 16,
            Self::P32 => 32,
            Self::P64 => 64,
        }
    }

    /// First queue of `pool`.
    pub const fn first_queue(self, pool: u32) -> u32 {
        pool.wrapping_mul(self.queues())
    }

    const fn gcr_ext(self) -> u32 {
        match self {
            Self::P16 => GCR_EXT_VT_MODE_16,
            Self::P32 => GCR_EXT_VT_MODE_32,
            Self::P64 => GCR_EXT_VT_MODE_64,
        }
    }
}

/// Divides the transmit queues; the arbiter is off meanwhile (`ixgbe_setup_mtqc`, 8.2.3.9.15).
pub fn setup_mtqc(io: &impl Regs, pools: Option<Pools>) {
    modify(io, RTTDCS, RTTDCS_ARBDIS, RTTDCS_ARBDIS);
    let mtqc = match pools {
        None => MTQC_64Q_1PB,
        Some(Pools::P16) => MTQC_VT_ENA | MTQC_RT_ENA | MTQC_8TC_8TQ,
        Some(Pools::P32) => MTQC_VT_ENA | MTQC_32VF,
        Some(Pools::P64) => MTQC_VT_ENA | MTQC_64VF,
    };
    io.write32(MTQC, mtqc);
    modify(io, RTTDCS, RTTDCS_ARBDIS, 0);
}

/// Switches pools on, with the PF's own as default (`ixgbe_configure_virtualization`).
///
/// Only the PF's pool and those above it are let through; VFs are when they ask to be reset.
pub fn configure(io: &impl Regs, pools: Pools, pf_pool: u32) {
    modify(
        io,
        VT_CTL,
        VT_CTL_VT_ENABLE | VT_CTL_POOL_MASK | VT_CTL_REPLEN,
        VT_CTL_VT_ENABLE | VT_CTL_REPLEN | pf_pool << VT_CTL_POOL_SHIFT,
    );
    // Untagged frames, until a VLAN is set for the pool.
    io.write32(vmolr(pf_pool), VMOLR_AUPE);
    let from_pf = u32::MAX << (pf_pool & 31);
    let (low, high) = if pf_pool < 32 {
        (from_pf, u32::MAX)
    } else {
        (0, from_pf)
    };
    for gate in [vfre, vfte] {
        io.write32(gate(0), low);
        io.write32(gate(1), high);
    }
    io.write32(PFDTXGSWC, PFDTXGSWC_VT_LBEN);
    set_vmdq(io, 0, pf_pool);
    io.write32(GCR_EXT, pools.gcr_ext());
}

/// Switches pools off.
pub fn deconfigure(io: &impl Regs) {
    io.write32(GCR_EXT, 0);
    io.read32(STATUS);
    modify(io, VT_CTL, VT_CTL_VT_ENABLE | VT_CTL_POOL_MASK, 0);
    modify(io, PFDTXGSWC, PFDTXGSWC_VT_LBEN, 0);
}

/// Checks that a VF sends from its own addresses and in its own VLANs, and nothing of
/// [`name_ethertypes`] on a chip that can look for that (`ixgbe_set_mac_anti_spoofing`,
/// `ixgbe_set_vlan_anti_spoofing`, `ixgbe_set_ethertype_anti_spoofing_x550`).
fn set_anti_spoofing(io: &impl Regs, chip: Chip, on: bool, vf: u32) {
    let mut bits = 1 << (vf & 7) | 1 << ((vf & 7) + SPOOF_VLANAS_SHIFT);
    if chip.checks_ethertypes() {
        bits |= 1 << ((vf & 7) + SPOOF_ETHERTYPEAS_SHIFT);
    }
    modify(io, pfvfspoof(vf >> 3), bits, if on { bits } else { 0 });
}

/// Names what no checked VF may send: LLDP, and what makes the switch pause
/// (`ixgbe_ndo_set_vf_spoofchk`).
fn name_ethertypes(io: &impl Regs) {
    let filters = [
        (ETQF_FILTER_LLDP, ETH_P_LLDP),
        (ETQF_FILTER_FC, ETH_P_PAUSE),
    ];
    for (filter, ethertype) in filters {
        let what = ETQF_FILTER_EN | ETQF_TX_ANTISPOOF | ethertype;
        io.write32(etqf(filter), what);
    }
}

/// Counts the frames of a VF that the check drops, in SSVPC.
fn count_spoofed(io: &impl Regs, vf: u32) {
    let bit = pool_bit(vf);
    modify(io, vmecm(vf >> 5), bit, bit);
}

/// Drops frames for a pool whose rings are full, so that one cannot stall all (`ixgbe_write_qde`).
fn write_qde(io: &impl Regs, pools: Pools, vf: u32, flags: u32) {
    let first = pools.first_queue(vf);
    for q in first..first.saturating_add(pools.queues()) {
        // The previous write must have arrived.
        io.read32(STATUS);
        io.write32(QDE, QDE_WRITE | flags | q << QDE_IDX_SHIFT);
    }
}

/// Opens or shuts a VF's gates (`ixgbe_set_vf_rx_tx`).
fn set_gates(io: &impl Regs, vf: u32, rx: bool, tx: bool) {
    let bit = pool_bit(vf);
    let half = vf >> 5;
    modify(io, vfte(half), bit, if tx { bit } else { 0 });
    modify(io, vfre(half), bit, if rx { bit } else { 0 });
}

/// Sets what a VF's untagged frames are tagged with (`ixgbe_set_vmvir`), or nothing.
fn set_vmvir(io: &impl Regs, vf: u32, tag: Option<(u16, u8)>) {
    let val = match tag {
        Some((vid, qos)) => u32::from(vid) | u32::from(qos) << 13 | VMVIR_VLANA_DEFAULT,
        None => 0,
    };
    io.write32(vmvir(vf), val);
}

/// Starts and stops the configured transmit queues of a VF after its reset: VFLR does not re-enable
/// queues correctly (specification update; `ixgbe_vf_reset_event`).
pub fn toggle_tx_queues(io: &impl Regs, pools: Pools, vf: u32) {
    let first = pools.first_queue(vf);
    for q in first..first.saturating_add(pools.queues()) {
        let val = io.read32(txdctl(q));
        if val != 0 {
            io.write32(txdctl(q), val | TXDCTL_ENABLE);
            io.write32(txdctl(q), val & !TXDCTL_ENABLE);
        }
    }
    io.read32(STATUS);
}

/// Clears the head write-back addresses of a VF, which its reset leaves (specification update).
pub fn clear_head_writeback(io: &impl Regs, pools: Pools, vf: u32) {
    let first = pools.first_queue(vf);
    for q in first..first.saturating_add(pools.queues()) {
        io.write32(tdwbah(q), 0);
        io.write32(tdwbal(q), 0);
    }
}

/// Takes away the lengths of Rx rings that do not run, which the reset of a VF leaves: a ring with
/// a length was programmed by the driver that runs the VF now, and may have been written, whether
/// it runs or not.
pub fn clear_rx_lengths(io: &impl Regs, pools: Pools, vf: u32) {
    let first = pools.first_queue(vf);
    for q in first..first.saturating_add(pools.queues()) {
        if io.read32(rxdctl(q)) & RXDCTL_ENABLE == 0 {
            io.write32(rdlen(q), 0);
        }
    }
}

/// Limits what a VF sends to `mbps`, 0 for no limit, on a link of `link_mbps`
/// (`ixgbe_set_vf_rate_limit`).
fn set_rate_limit(io: &impl Regs, pools: Pools, vf: u32, link_mbps: u32, mbps: u32) {
    let factor = (link_mbps << RTTBCNRC_RF_INT_SHIFT)
        .checked_div(mbps)
        .map_or(0, |f| {
            f & (RTTBCNRC_RF_INT_MASK | RTTBCNRC_RF_DEC_MASK) | RTTBCNRC_RS_ENA
        });
    // Compensation time for frames of standard length (`ixgbe_set_vf_rate_limit`).
    io.write32(RTTBCNRM, 0x4);
    let first = pools.first_queue(vf);
    for q in first..first.saturating_add(pools.queues()) {
        io.write32(RTTDQSEL, q);
        io.write32(RTTBCNRC, factor);
    }
}
