// SPDX-License-Identifier: GPL-2.0
//! What the PF keeps of each VF, what a VF may ask for, and what the administrator sets
//! (`ixgbe_sriov.c`).
//!
//! The caller serialises everything here with one lock, and keeps the VFs in a slice whose index is
//! the VF's number.

mod filters;
mod messages;
mod nudge;
mod outbox;
mod policy;
mod pool;

pub use messages::{
    reply,
    Handled, //
};
pub use nudge::Nudge;
pub use outbox::{
    Lies,
    Outbox, //
};
pub use pool::{
    Pool,
    VMOLR_ACCEPT, //
};

use super::Pools;
use crate::{
    chip::Chip,
    filter::{
        MacTable,
        McTable,
        PfVlans, //
    },
    mbx::{
        pf as mailbox,
        ApiVersion,
        McHashes,
        XcastMode, //
    },
    regs::*,
    rss::{
        self,
        Place,
        Rss, //
    },
    Regs, //
};
use filters::Vlans;

/// Bytes of a frame of standard length without FCS (`ETH_FRAME_LEN`).
const ETH_FRAME_LEN: u32 = 1514;
/// Bytes of the FCS.
const ETH_FCS_LEN: u32 = 4;
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

/// What the PF keeps of a VF (`struct vf_data_storage`). What of it is in force is decided in
/// [`Switch::pool`].
#[derive(Clone, Copy, Debug)]
pub struct VfState {
    /// MAC address in force, zero if none: the host's, or one that the guest chose and was allowed
    /// to.
    pub mac: [u8; 6],
    /// MAC address that the host set, zero if none. A trusted guest may use another, the next guest
    /// gets this one.
    pub host_mac: [u8; 6],
    /// The host set the address: a guest without trust may not change it.
    pub pf_set_mac: bool,
    /// A driver has asked for the VF's reset since the VF's last FLR and since the PF's last reset.
    pub open: bool,
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
    /// Promiscuity that the guest asked for and was granted.
    pub xcast_mode: XcastMode,
    /// VLANs that the guest asked for. A port VLAN suspends them.
    pub(crate) vlans: Vlans,
    /// Largest frame that the guest asked for and was granted, FCS included; 0 if it has not.
    pub frame: u32,
    /// Multicast hashes.
    pub mc: McHashes,
    /// What the PF has to say, and what lies in the mailbox.
    pub outbox: Outbox,
    /// What is repeated to its driver.
    pub nudge: Nudge,
    /// The VF stands still for its migration: its mailbox and its gates are left as they are.
    pub stands: bool,
    /// It runs, but is not served yet: its guest has rings to re-arm after a move.
    pub held: bool,
    /// The device has blocked queues of it, and its driver was told: see [`crate::sriov::mdd`].
    pub(super) blocked: bool,
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
            host_mac: [0; 6],
            pf_set_mac: false,
            open: false,
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
            vlans: Vlans::NONE,
            frame: 0,
            mc: McHashes::EMPTY,
            outbox: Outbox::new(),
            nudge: Nudge::new(),
            stands: false,
            held: false,
            blocked: false,
            last_stats: NONE,
            stats: NONE,
        }
    }

    /// Withdraws clear-to-send. A driver that is there is told until it has reset the VF.
    pub(crate) fn withdraw(&mut self) {
        self.clear_to_send = false;
        self.nudge.withdrawn(self.open);
    }

    /// Takes the registers as they are for the start of counting, as after a reset of the PF.
    pub fn rebase_stats(&mut self, io: &impl Regs, vf: u32) {
        self.last_stats = VfStats::read(io, vf);
    }

    /// Adds what the registers counted since the last look (`UPDATE_VF_COUNTER_32bit`).
    pub fn update_stats(&mut self, io: &impl Regs, vf: u32) {
        self.count(VfStats::read(io, vf));
    }

    /// The same, with the registers as they are `now`.
    pub(crate) fn count(&mut self, now: VfStats) {
        const MASK32: u64 = 0xFFFF_FFFF;
        const MASK36: u64 = 0xF_FFFF_FFFF;
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
    /// The address is the PF's or another VF's.
    MacInUse,
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
    /// What kind of device it is in.
    pub chip: Chip,
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
    /// Speed of the link in Mb/s when it was last up; limits of VFs depend on it.
    pub link_mbps: u32,
    /// Features of API 1.7 that the PF offers.
    pub features: u32,
}

impl Switch {
    /// Without VFs.
    pub const fn new(rss: Rss) -> Self {
        Self {
            chip: Chip::I82599,
            num_vfs: 0,
            pools: None,
            macs: MacTable::new(),
            mc: McTable::new(),
            vlans: PfVlans::new(),
            rss,
            mtu: 1500,
            up: false,
            link_mbps: 0,
            features: 0,
        }
    }

    /// The PF's pool.
    pub const fn pf_pool(&self) -> u32 {
        self.num_vfs
    }

    /// Where the PF's frames are spread.
    pub const fn rss_place(&self) -> Place {
        Place {
            chip: self.chip,
            pools: self.pools,
            pool: self.pf_pool(),
        }
    }

    /// Frame of the PF without FCS.
    const fn pf_max_frame(&self) -> u32 {
        self.mtu.saturating_add(ETH_HLEN)
    }

    /// Jumbo frames of the PF shut VFs that know nothing of them.
    pub(crate) const fn excludes_standard_frames(&self) -> bool {
        !self.chip.mixes_frames() && self.pf_max_frame() > ETH_FRAME_LEN
    }

    /// Writes multicast hashes of the PF and of every VF.
    pub fn store_multicast(&self, io: &impl Regs, vfs: &[VfState]) {
        self.all_multicast(vfs).store(io);
    }

    fn all_multicast(&self, vfs: &[VfState]) -> McTable {
        let mut table = self.mc;
        for state in vfs {
            for hash in state.mc.as_slice() {
                table.add(*hash);
            }
        }
        table
    }

    /// Replaces the multicast hashes of a VF. Only registers of its hashes are written.
    pub(crate) fn set_multicast(
        &self,
        io: &impl Regs,
        vfs: &mut [VfState],
        vf: u32,
        list: McHashes,
    ) {
        let Some(state) = vfs.get_mut(vf as usize) else {
            return;
        };
        let old = core::mem::replace(&mut state.mc, list);
        if old.is_empty() && list.is_empty() {
            return;
        }
        let table = self.all_multicast(vfs);
        table.store_words(io, &[old.as_slice(), list.as_slice()]);
    }

    /// Sets the longest frame that the MAC takes: the PF's, or what a VF was granted
    /// (`ixgbe_set_vf_lpe`).
    pub(crate) fn store_max_frame(&self, io: &impl Regs, vfs: &[VfState]) {
        let pf = self.mtu.saturating_add(ETH_HLEN + ETH_FCS_LEN);
        let longest = vfs.iter().map(|v| v.frame).fold(pf, u32::max);
        let longest = longest.max(ETH_FRAME_LEN + ETH_FCS_LEN);
        let now = (io.read32(MAXFRS) & MHADD_MFS_MASK) >> MHADD_MFS_SHIFT;
        if now != longest {
            io.write32(MAXFRS, longest << MHADD_MFS_SHIFT);
        }
    }

    /// Sets what a reset of the device took from the VFs (`ixgbe_configure_virtualization`).
    ///
    /// Addresses, VLANs and groups of a guest come back when its driver asks for them again, or
    /// with the state of a VF that stands still.
    pub fn configure(&mut self, io: &impl Regs, vfs: &[VfState]) {
        let Some(pools) = self.pools else { return };
        super::configure(io, pools, self.pf_pool());
        if self.chip.checks_ethertypes() {
            super::name_ethertypes(io);
        }
        self.vlans.reset_promisc();
        for (vf, state) in (0u32..).zip(vfs) {
            // VLAN 0 has an entry of its own, and there are as many others as VFs.
            let _ = self.set_vf_vlan(io, vf, u32::from(state.pf_vlan), true);
            super::count_spoofed(io, vf);
            self.apply_vf(io, vf, state);
        }
    }

    /// The PF is about to reset the device: no VF has a driver that is set up any more, until it
    /// asks for its reset.
    pub fn before_reset(&self, vfs: &mut [VfState]) {
        for state in vfs {
            state.withdraw();
            state.open = false;
        }
    }

    /// Takes from a VF what its guest asked for (`ixgbe_vf_reset_event`): at its FLR and at its
    /// reset message. What the host set stays. The VF is shut until a driver asks for its reset.
    pub fn vf_reset_event(&mut self, io: &impl Regs, vfs: &mut [VfState], vf: u32) {
        let Some(pools) = self.pools else { return };
        self.set_multicast(io, vfs, vf, McHashes::EMPTY);
        let Some(state) = vfs.get_mut(vf as usize) else {
            return;
        };
        state.open = false;
        state.clear_to_send = false;
        state.held = false;
        state.mac = state.host_mac;
        state.xcast_mode = XcastMode::None;
        state.vlans = Vlans::NONE;
        state.frame = 0;
        state.api = ApiVersion::V10;
        state.features = 0;
        // The mailbox's notes are gone, and the driver that comes looks at everything by itself.
        state.outbox = Outbox::new();
        state.nudge.vf_was_reset();
        let blocked = core::mem::take(&mut state.blocked);
        self.apply_vf(io, vf, state);
        self.clear_vf_vlans(io, vf);
        // VLAN 0 has an entry of its own, and the port VLAN was accepted when it was set.
        let _ = self.set_vf_vlan(io, vf, u32::from(state.pf_vlan), true);
        self.macs.del_pool(io, vf);
        self.store_max_frame(io, vfs);
        // It may hold the RSS key, and the next user can read it before it says a word.
        mailbox::wipe(io, vf);
        if self.chip.has_rss_of_pools() {
            rss::clear_pool(io, vf);
        }
        super::toggle_tx_queues(io, pools, vf);
        if blocked {
            super::mdd::release(io, pools, vf);
        }
    }
}
