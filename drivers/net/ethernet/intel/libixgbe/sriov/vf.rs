// SPDX-License-Identifier: GPL-2.0
//! What the PF keeps of each VF, what a VF may ask for, and what the administrator sets (`ixgbe_sriov.c`).
//!
//! The caller serialises everything here with one lock, and keeps the VFs in a slice whose index is the VF's number.

mod filters;
mod messages;
mod outbox;
mod policy;

pub use messages::{
    reply,
    Handled, //
};
pub use outbox::{
    Lies,
    Outbox, //
};

use super::Pools;
use crate::{
    filter::{
        MacTable,
        McTable,
        PfVlans, //
    },
    io::modify,
    mbx::{
        ApiVersion,
        McHashes,
        XcastMode, //
    },
    regs::*,
    rss::Rss,
    Regs, //
};
use filters::set_vmolr;

/// Bytes of a frame of standard length without FCS (`ETH_FRAME_LEN`).
const ETH_FRAME_LEN: u32 = 1514;
/// Bytes of an Ethernet header.
const ETH_HLEN: u32 = 14;
/// Largest frame of the hardware (`IXGBE_MAX_JUMBO_FRAME_SIZE`).
pub const MAX_JUMBO_FRAME_SIZE: u32 = 9728;

/// What the administrator says about a VF's link (`IFLA_VF_LINK_STATE_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Follows the PF's.
    #[default]
    Auto,
    /// Always up.
    Enable,
    /// Always down.
    Disable,
}

/// Counters of a VF that wrap at 32 and 36 bits in hardware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VfStats {
    /// Good packets received.
    pub gprc: u64,
    /// Good packets transmitted.
    pub gptc: u64,
    /// Good octets received.
    pub gorc: u64,
    /// Good octets transmitted.
    pub gotc: u64,
    /// Multicast packets received.
    pub mprc: u64,
}

impl VfStats {
    /// Reads the registers of a VF.
    pub fn read(io: &impl Regs, vf: u32) -> Self {
        let wide = |low: u32, high: u32| {
            let low = u64::from(io.read32(low));
            (u64::from(io.read32(high) & 0xF) << 32) | low
        };
        Self {
            gprc: u64::from(io.read32(pvfgprc(vf))),
            gptc: u64::from(io.read32(pvfgptc(vf))),
            gorc: wide(pvfgorc_lsb(vf), pvfgorc_msb(vf)),
            gotc: wide(pvfgotc_lsb(vf), pvfgotc_msb(vf)),
            mprc: u64::from(io.read32(pvfmprc(vf))),
        }
    }
}

/// What the PF keeps of a VF (`struct vf_data_storage`).
#[derive(Clone, Copy, Debug)]
pub struct VfState {
    /// MAC address, zero if none.
    pub mac: [u8; 6],
    /// The administrator set it: the VF may not change it.
    pub pf_set_mac: bool,
    /// The VF has been reset and may ask for things.
    pub clear_to_send: bool,
    /// Mailbox API that the VF chose.
    pub api: ApiVersion,
    /// Features of API 1.7 that the VF and the PF agreed on.
    pub features: u32,
    /// Port VLAN, 0 for none.
    pub pf_vlan: u16,
    /// Priority of the port VLAN.
    pub pf_qos: u8,
    /// Mb/s that the VF may send, 0 for no limit.
    pub tx_rate: u16,
    /// Source addresses and VLANs are checked.
    pub spoofchk: bool,
    /// The VF may read the PF's RSS key and table.
    pub rss_query: bool,
    /// The VF may be promiscuous and change its address.
    pub trusted: bool,
    /// What the administrator wants of the link.
    pub link_state: LinkState,
    /// What follows from it.
    pub link_enable: bool,
    /// Promiscuity in force.
    pub xcast_mode: XcastMode,
    /// Multicast hashes.
    pub mc: McHashes,
    /// What the PF has to say, and what lies in the mailbox.
    pub outbox: Outbox,
    /// The VF stands still for its migration: its mailbox and its gates are left as they are.
    pub stands: bool,
    /// Registers at the last look.
    last_stats: VfStats,
    /// Sum since the VF was made.
    pub stats: VfStats,
}

impl Default for VfState {
    fn default() -> Self {
        Self::new()
    }
}

impl VfState {
    /// A new VF: spoof check on, nothing else allowed.
    pub const fn new() -> Self {
        const NONE: VfStats = VfStats {
            gprc: 0,
            gptc: 0,
            gorc: 0,
            gotc: 0,
            mprc: 0,
        };
        Self {
            mac: [0; 6],
            pf_set_mac: false,
            clear_to_send: false,
            api: ApiVersion::V10,
            features: 0,
            pf_vlan: 0,
            pf_qos: 0,
            tx_rate: 0,
            spoofchk: true,
            rss_query: false,
            trusted: false,
            link_state: LinkState::Auto,
            link_enable: true,
            xcast_mode: XcastMode::None,
            mc: McHashes::EMPTY,
            outbox: Outbox::new(),
            stands: false,
            last_stats: NONE,
            stats: NONE,
        }
    }

    /// Takes the registers as they are for the start of counting, as after a reset of the PF.
    pub fn rebase_stats(&mut self, io: &impl Regs, vf: u32) {
        self.last_stats = VfStats::read(io, vf);
    }

    /// Adds what the registers counted since the last look (`UPDATE_VF_COUNTER_32bit`).
    pub fn update_stats(&mut self, io: &impl Regs, vf: u32) {
        const MASK32: u64 = 0xFFFF_FFFF;
        const MASK36: u64 = 0xF_FFFF_FFFF;
        let now = VfStats::read(io, vf);
        let add = |sum: &mut u64, now: u64, last: u64, mask: u64| {
            *sum = sum.wrapping_add(now.wrapping_sub(last) & mask);
        };
        let last = self.last_stats;
        let sum = &mut self.stats;
        add(&mut sum.gprc, now.gprc, last.gprc, MASK32);
        add(&mut sum.gptc, now.gptc, last.gptc, MASK32);
        add(&mut sum.gorc, now.gorc, last.gorc, MASK36);
        add(&mut sum.gotc, now.gotc, last.gotc, MASK36);
        add(&mut sum.mprc, now.mprc, last.mprc, MASK32);
        self.last_stats = now;
    }
}

/// Why a VF or the administrator was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The address is zero or multicast.
    InvalidMac,
    /// The administrator set the address.
    MacIsSet,
    /// The administrator set the VLAN.
    VlanIsSet,
    /// No filter is left.
    NoSpace,
    /// The maximum frame does not go with the PF's, or is out of range.
    Frame,
    /// The version is not spoken.
    Api,
    /// The negotiated version does not have this request.
    Unsupported,
    /// The administrator did not allow it.
    Denied,
    /// No such request.
    Unknown,
    /// No such VF.
    NoVf,
}

/// The device's internal switch: what PF and VFs share.
#[derive(Clone, Debug)]
pub struct Switch {
    /// VFs, and the number of the PF's pool.
    pub num_vfs: u32,
    /// Division of the queues, none without VFs.
    pub pools: Option<Pools>,
    /// Receive addresses.
    pub macs: MacTable,
    /// Multicast hashes of the PF.
    pub mc: McTable,
    /// VLANs of the PF.
    pub vlans: PfVlans,
    /// RSS of the PF, which VFs share.
    pub rss: Rss,
    /// The PF's MTU in bytes.
    pub mtu: u32,
    /// The PF's netdev is up.
    pub up: bool,
    /// Speed of the link in Mb/s when a rate was limited, 0 if none was (`vf_rate_link_speed`).
    pub rate_link_mbps: u32,
    /// Features of API 1.7 that the PF offers.
    pub features: u32,
}

impl Switch {
    /// Without VFs.
    pub const fn new(rss: Rss) -> Self {
        Self {
            num_vfs: 0,
            pools: None,
            macs: MacTable::new(),
            mc: McTable::new(),
            vlans: PfVlans::new(),
            rss,
            mtu: 1500,
            up: false,
            rate_link_mbps: 0,
            features: 0,
        }
    }

    /// The PF's pool.
    pub const fn pf_pool(&self) -> u32 {
        self.num_vfs
    }

    /// Frame of the PF without FCS.
    const fn pf_max_frame(&self) -> u32 {
        self.mtu.saturating_add(ETH_HLEN)
    }

    /// Writes multicast hashes of the PF and of every VF.
    pub fn store_multicast(&self, io: &impl Regs, vfs: &[VfState]) {
        let mut table = self.mc;
        for (vf, state) in (0u32..).zip(vfs) {
            for hash in state.mc.as_slice() {
                table.add(*hash);
            }
            let on = if state.mc.is_empty() { 0 } else { VMOLR_ROMPE };
            modify(io, vmolr(vf), VMOLR_ROMPE, on);
        }
        table.store(io);
    }

    /// Sets what a reset of the device took from the VFs (`ixgbe_configure_virtualization`).
    pub fn configure(&mut self, io: &impl Regs, vfs: &[VfState]) {
        let Some(pools) = self.pools else { return };
        super::configure(io, pools, self.pf_pool());
        self.vlans.reset_promisc();
        for (vf, state) in (0u32..).zip(vfs) {
            super::set_mac_anti_spoofing(io, state.spoofchk, vf);
            super::set_vlan_anti_spoofing(io, state.spoofchk, vf);
        }
    }

    /// Opens or shuts a VF's gates (`ixgbe_set_vf_rx_tx`): 82599 cannot mix jumbo and standard frames among functions.
    pub fn set_vf_gates(&self, io: &impl Regs, vf: u32, state: &VfState) {
        if state.stands {
            return;
        }
        let tx = state.link_enable;
        super::set_gates(io, vf, tx && self.pf_max_frame() <= ETH_FRAME_LEN, tx);
    }

    /// Takes from a VF what it set up itself (`ixgbe_vf_reset_event`): at its FLR and at its reset message.
    pub fn vf_reset_event(&mut self, io: &impl Regs, vfs: &mut [VfState], vf: u32) {
        let Some(pools) = self.pools else { return };
        let Some(state) = vfs.get_mut(vf as usize) else {
            return;
        };
        self.clear_vf_vlans(io, vf);
        // VLAN 0 has an entry of its own, and the port VLAN was accepted when it was set.
        let _ = self.set_vf_vlan(io, vf, u32::from(state.pf_vlan), true);
        let untagged = state.pf_vlan == 0;
        set_vmolr(io, vf, untagged);
        if untagged && state.pf_qos == 0 {
            super::set_vmvir(io, vf, None);
        } else {
            super::set_vmvir(io, vf, Some((state.pf_vlan, state.pf_qos)));
            if state.spoofchk {
                super::set_vlan_anti_spoofing(io, true, vf);
                super::set_mac_anti_spoofing(io, true, vf);
            }
        }
        state.mc = McHashes::EMPTY;
        state.api = ApiVersion::V10;
        state.features = 0;
        // The mailbox's notes are gone, and the driver that comes looks at everything by itself.
        state.outbox = Outbox::new();
        self.macs.del_pool(io, vf);
        self.store_multicast(io, vfs);
        super::toggle_tx_queues(io, pools, vf);
    }
}
