// SPDX-License-Identifier: GPL-2.0
//! What the PF keeps of each VF, what a VF may ask for, and what the administrator sets (`ixgbe_sriov.c`).
//!
//! The caller serialises everything here with one lock, and keeps the VFs in a slice whose index is the VF's number.

use super::{
    Pools, //
};
use crate::{
    filter::{
        self,
        is_valid_ether_addr,
        pool_bit,
        set_vfta,
        vlvfb_halves,
        MacTable,
        McTable,
        PfVlans,
        MAX_PF_MACVLANS,
        MC_FILTER_TYPE,
        RAR_ENTRIES, //
    },
    io::modify,
    mbx::{
        self,
        pf as mailbox,
        ApiVersion,
        McHashes,
        Queues,
        Request,
        Words,
        XcastMode,
        MBX_WORDS,
        PF_CONTROL_MSG,
        VF_RESET,
        VT_MSGTYPE_ACK,
        VT_MSGTYPE_CTS,
        VT_MSGTYPE_NACK, //
    },
    mbx_ext,
    regs::*,
    rss::Rss,
    Regs, //
};

/// Bytes of a frame of standard length without FCS (`ETH_FRAME_LEN`).
const ETH_FRAME_LEN: u32 = 1514;
/// Bytes of the FCS.
const ETH_FCS_LEN: u32 = 4;
/// Bytes of an Ethernet header.
const ETH_HLEN: u32 = 14;
/// Smallest maximum frame that a VF may ask for (`ETH_MIN_MTU`).
const ETH_MIN_MTU: u32 = 68;
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
    /// The PF wants to say that something changed and could not yet.
    pub ping_pending: bool,
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
            ping_pending: false,
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

/// What became of a VF's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Not a request.
    Ignored,
    /// The VF holds the mailbox: the message stays announced.
    Busy,
    /// The VF was reset.
    Reset,
    /// Done.
    Done(Request),
    /// Refused.
    Refused(Request, Refusal),
    /// The VF must be reset first.
    NotClearToSend,
    /// A message of the migration extension, which the VF may use: the caller answers by [`reply`].
    Extension(Words),
}

/// Answers a message in place (`ixgbe_rcv_msg_from_vf`).
///
/// # Errors
/// [`mailbox::Busy`]: the VF waits out its timeout and asks again.
pub fn reply(io: &impl Regs, vf: u32, words: &Words, ok: bool) -> Result<(), mailbox::Busy> {
    let mut words = *words;
    let [head, ..] = &mut words;
    *head |= VT_MSGTYPE_CTS | if ok { VT_MSGTYPE_ACK } else { VT_MSGTYPE_NACK };
    mailbox::write(io, vf, &words)
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

    /// Adds or removes a VLAN of a VF (`ixgbe_set_vf_vlan`).
    fn set_vf_vlan(&self, io: &impl Regs, vf: u32, vid: u32, add: bool) -> Result<(), Refusal> {
        let pf_pool = self.pf_pool();
        let full = |_| Refusal::NoSpace;
        if add && self.vlans.contains(vid) {
            // A VLAN with an entry in VLVF only reaches the pools listed there, so the PF must be listed.
            set_vfta(io, vid, pf_pool, true, false).map_err(full)?;
        }
        let result = set_vfta(io, vid, vf, add, false).map_err(full);
        if !(add && result.is_ok()) {
            self.vlans.release_shared(io, vid, pf_pool);
        }
        result
    }

    /// Removes every VLAN of a VF (`ixgbe_clear_vf_vlans`).
    fn clear_vf_vlans(&self, io: &impl Regs, vf: u32) {
        let pf_pool = self.pf_pool();
        for i in (0..VLVF_ENTRIES).rev() {
            let (mine, theirs) = vlvfb_halves(i, vf);
            let bits = io.read32(mine);
            if bits & pool_bit(vf) == 0 {
                continue;
            }
            let bits = bits & !pool_bit(vf);
            let other = io.read32(theirs);
            let (low, high) = if vf < 32 {
                (bits, other)
            } else {
                (other, bits)
            };
            let all = u64::from(high) << 32 | u64::from(low);
            let pf_bit = 1u64 << (pf_pool & 63);
            if all & !pf_bit != 0 {
                // Others have it too.
                io.write32(mine, bits);
                continue;
            }
            if all == 0 {
                let entry = io.read32(vlvf(i));
                if entry == 0 {
                    io.write32(mine, bits);
                    continue;
                }
                let vid = entry & VLVF_VLANID_MASK;
                modify(io, vfta(vid >> 5), 1 << (vid & 31), 0);
            }
            // Only the PF, if any: without an entry the VLAN falls to the default pool, which is the PF's.
            io.write32(vlvf(i), 0);
            let keep = self.vlans.is_promisc();
            io.write32(mine, if keep { bits } else { 0 });
        }
    }

    /// Sets a VF's MAC address (`ixgbe_set_vf_mac`).
    fn set_vf_mac(
        &mut self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
        addr: &[u8; 6],
    ) -> Result<(), Refusal> {
        // Not there on the first call.
        let _ = self.macs.del(io, &state.mac, vf);
        match self.macs.add(io, addr, vf) {
            Ok(_) => {
                state.mac = *addr;
                Ok(())
            }
            Err(_) => {
                state.mac = [0; 6];
                Err(Refusal::NoSpace)
            }
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
        self.macs.del_pool(io, vf);
        self.store_multicast(io, vfs);
        super::toggle_tx_queues(io, pools, vf);
    }

    /// Answers a VF's reset message (`ixgbe_vf_reset_msg`).
    fn vf_reset_msg(
        &mut self,
        io: &impl Regs,
        vfs: &mut [VfState],
        vf: u32,
    ) -> Result<(), mailbox::Busy> {
        let Some(pools) = self.pools else {
            return Ok(());
        };
        self.vf_reset_event(io, vfs, vf);
        mailbox::clear_memory(io, vf);
        let Some(state) = vfs.get_mut(vf as usize) else {
            return Ok(());
        };
        if state.mac != [0; 6] {
            let addr = state.mac;
            // The entry was freed a moment ago.
            let _ = self.set_vf_mac(io, vf, state, &addr);
        }
        let hide = if state.pf_vlan != 0 { QDE_HIDE_VLAN } else { 0 };
        super::write_qde(io, pools, vf, QDE_ENABLE | hide);
        self.set_vf_gates(io, vf, state);
        state.clear_to_send = true;
        super::count_spoofed(io, vf);
        super::clear_head_writeback(io, pools, vf);

        let known = state.mac != [0; 6] && state.pf_set_mac;
        let (flag, addr) = if known {
            (VT_MSGTYPE_ACK, state.mac)
        } else {
            (VT_MSGTYPE_NACK, [0; 6])
        };
        let words = mbx::mac_words(VF_RESET | flag, addr, MC_FILTER_TYPE);
        let msg = words.get(..mbx::VF_PERMADDR_MSG_LEN).unwrap_or(&words);
        mailbox::write(io, vf, msg)
    }

    /// Reads and answers the message that a VF announced (`ixgbe_rcv_msg_from_vf`).
    pub fn handle_message(&mut self, io: &impl Regs, vfs: &mut [VfState], vf: u32) -> Handled {
        let Ok(mut words) = mailbox::read(io, vf) else {
            return Handled::Busy;
        };
        mailbox::clear_message(io, vf);
        let head = words[0];
        if head & (VT_MSGTYPE_ACK | VT_MSGTYPE_NACK) != 0 {
            return Handled::Ignored;
        }
        // An answer that finds the mailbox taken is lost, as in the C driver: the VF asks again after its timeout.
        let request = Request::decode(&words);
        if request == Request::Reset {
            let _ = self.vf_reset_msg(io, vfs, vf);
            return Handled::Reset;
        }
        let Some(state) = vfs.get(vf as usize) else {
            return Handled::Ignored;
        };
        if !state.clear_to_send {
            let _ = mailbox::write(io, vf, &[head | VT_MSGTYPE_NACK]);
            return Handled::NotClearToSend;
        }
        if state.features & mbx_ext::FEATURE_MIGRATION != 0 && mbx_ext::VfMessage::is_type(head) {
            return Handled::Extension(words);
        }
        let result = self.dispatch(io, vfs, vf, &request, &mut words);
        let _ = reply(io, vf, &words, result.is_ok());
        match result {
            Ok(()) => Handled::Done(request),
            Err(why) => Handled::Refused(request, why),
        }
    }

    /// Sets for a VF that comes from another host what a reset message sets here: what every VF receives, and that a VF
    /// whose rings are full drops its frames instead of holding up everybody's.
    pub fn admit(&self, io: &impl Regs, vfs: &[VfState], vf: u32) {
        let (Some(pools), Some(state)) = (self.pools, vfs.get(vf as usize)) else {
            return;
        };
        let untagged = state.pf_vlan == 0;
        let aupe = if untagged { VMOLR_AUPE } else { 0 };
        let filters = VMOLR_ROMPE | VMOLR_MPE | VMOLR_UPE | VMOLR_VPE | VMOLR_BAM | VMOLR_AUPE;
        modify(io, vmolr(vf), filters, VMOLR_BAM | aupe);
        let hide = if untagged { 0 } else { QDE_HIDE_VLAN };
        super::write_qde(io, pools, vf, QDE_ENABLE | hide);
        super::count_spoofed(io, vf);
    }

    /// Does what a VF asked for on its last host, at this host's limits.
    ///
    /// # Errors
    /// As if the VF had asked.
    pub fn apply(
        &mut self,
        io: &impl Regs,
        vfs: &mut [VfState],
        vf: u32,
        request: &Request,
    ) -> Result<(), Refusal> {
        self.dispatch(io, vfs, vf, request, &mut [0; MBX_WORDS])
    }

    /// Does what a VF asks for, at the limits of the C driver, and puts the answer into `words`.
    fn dispatch(
        &mut self,
        io: &impl Regs,
        vfs: &mut [VfState],
        vf: u32,
        request: &Request,
        words: &mut Words,
    ) -> Result<(), Refusal> {
        let state = vfs.get_mut(vf as usize).ok_or(Refusal::NoVf)?;
        let need = |version| {
            if state.api >= version {
                Ok(())
            } else {
                Err(Refusal::Unsupported)
            }
        };
        match *request {
            Request::SetMac(addr) => self.set_vf_mac_msg(io, vf, state, &addr),
            Request::SetMulticast(list) => {
                state.mc = list;
                for hash in list.as_slice() {
                    let bit = 1 << (hash & 0x1F);
                    modify(io, mta(u32::from(hash >> 5) & 0x7F), bit, bit);
                }
                modify(io, MCSTCTRL, MCSTCTRL_MFE, MCSTCTRL_MFE);
                modify(io, vmolr(vf), VMOLR_ROMPE, VMOLR_ROMPE);
                Ok(())
            }
            Request::SetVlan { add, vid } => {
                if state.pf_vlan != 0 {
                    return Err(Refusal::VlanIsSet);
                }
                // VLAN 0 cannot be removed: it carries what is only priority-tagged.
                if vid == 0 && !add {
                    return Ok(());
                }
                self.set_vf_vlan(io, vf, u32::from(vid), add)
            }
            Request::SetLpe(bytes) => self.set_vf_lpe(io, vf, state, bytes),
            Request::SetMacvlan { index, addr } => {
                self.set_vf_macvlan_msg(io, vf, state, index, &addr)
            }
            Request::ApiNegotiate(wire) => {
                state.api = ApiVersion::from_wire(wire).ok_or(Refusal::Api)?;
                Ok(())
            }
            Request::GetQueues => {
                need(ApiVersion::V11)?;
                let queues = self.pools.map_or(1, Pools::queues);
                Queues {
                    tx: queues,
                    rx: queues,
                    trans_vlan: u32::from(state.pf_vlan != 0 || state.pf_qos != 0),
                    def_queue: 0,
                }
                .encode(words);
                Ok(())
            }
            Request::GetReta | Request::GetRssKey => {
                if !state.rss_query {
                    return Err(Refusal::Denied);
                }
                need(ApiVersion::V12)?;
                if *request == Request::GetReta {
                    mbx::encode_reta(&self.rss.table, words);
                } else {
                    mbx::encode_rss_key(&self.rss.key, words);
                }
                Ok(())
            }
            Request::UpdateXcastMode(wire) => {
                let granted = update_xcast_mode(io, vf, state, wire)?;
                words[1] = granted.wire();
                Ok(())
            }
            Request::GetLinkState => {
                need(ApiVersion::V12)?;
                words[1] = u32::from(state.link_enable);
                Ok(())
            }
            Request::FeaturesNegotiate(offered) => {
                need(ApiVersion::V17)?;
                state.features = offered & self.features;
                words[1] = state.features;
                Ok(())
            }
            // Answered only on E610 (`ixgbe_send_vf_link_status`).
            Request::GetPfLinkState => Err(Refusal::Unsupported),
            Request::Reset | Request::Other(_) => Err(Refusal::Unknown),
        }
    }

    fn set_vf_mac_msg(
        &mut self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
        addr: &[u8; 6],
    ) -> Result<(), Refusal> {
        if !is_valid_ether_addr(addr) {
            return Err(Refusal::InvalidMac);
        }
        if state.pf_set_mac && !state.trusted && state.mac != *addr {
            return Err(Refusal::MacIsSet);
        }
        self.set_vf_mac(io, vf, state, addr)
    }

    fn set_vf_macvlan_msg(
        &mut self,
        io: &impl Regs,
        vf: u32,
        state: &VfState,
        index: u8,
        addr: &[u8; 6],
    ) -> Result<(), Refusal> {
        if state.pf_set_mac && !state.trusted && index > 0 {
            return Err(Refusal::MacIsSet);
        }
        if index > 0 {
            if !is_valid_ether_addr(addr) {
                return Err(Refusal::InvalidMac);
            }
            // Who may have several addresses sends from them too.
            if state.spoofchk {
                super::set_mac_anti_spoofing(io, false, vf);
                super::set_vlan_anti_spoofing(io, false, vf);
            }
        }
        if index <= 1 {
            self.macs.clear_macvlans(io, vf);
        }
        if index == 0 {
            return Ok(());
        }
        let reserved = (self.num_vfs as usize).saturating_add(MAX_PF_MACVLANS + 1);
        let limit = RAR_ENTRIES.saturating_sub(reserved);
        match self.macs.add_macvlan(io, addr, vf, limit) {
            Ok(_) => Ok(()),
            Err(filter::Error::NoSpace) => Err(Refusal::NoSpace),
            Err(_) => Err(Refusal::InvalidMac),
        }
    }

    /// Sets a VF's maximum frame (`ixgbe_set_vf_lpe`), FCS included.
    fn set_vf_lpe(
        &self,
        io: &impl Regs,
        vf: u32,
        state: &VfState,
        bytes: u32,
    ) -> Result<(), Refusal> {
        if !(ETH_MIN_MTU..=MAX_JUMBO_FRAME_SIZE).contains(&bytes) {
            return Err(Refusal::Frame);
        }
        // 82599 has one frame size for all: with jumbo frames on the PF only VFs that know of them may receive.
        let pf_jumbo = self.pf_max_frame() > ETH_FRAME_LEN;
        let ok = if pf_jumbo {
            state.api >= ApiVersion::V11
        } else {
            bytes <= ETH_FRAME_LEN + ETH_FCS_LEN
        };
        let bit = pool_bit(vf);
        modify(io, vfre(vf >> 5), bit, if ok { bit } else { 0 });
        if !ok {
            return Err(Refusal::Frame);
        }
        let now = (io.read32(MAXFRS) & MHADD_MFS_MASK) >> MHADD_MFS_SHIFT;
        if now < bytes {
            io.write32(MAXFRS, bytes << MHADD_MFS_SHIFT);
        }
        Ok(())
    }

    /// Tells a VF that something changed (`ixgbe_ping_vf`); later if it is just asking for something.
    pub fn ping(&self, io: &impl Regs, vf: u32, state: &mut VfState) {
        let cts = if state.clear_to_send {
            VT_MSGTYPE_CTS
        } else {
            0
        };
        state.ping_pending =
            state.stands || mailbox::notify(io, vf, &[PF_CONTROL_MSG | cts]).is_err();
    }

    /// Tells every VF.
    pub fn ping_all(&self, io: &impl Regs, vfs: &mut [VfState]) {
        for (vf, state) in (0u32..).zip(vfs) {
            self.ping(io, vf, state);
        }
    }

    /// Says what could not be said before.
    pub fn flush_pings(&self, io: &impl Regs, vfs: &mut [VfState]) {
        for (vf, state) in (0u32..).zip(vfs) {
            if state.ping_pending {
                self.ping(io, vf, state);
            }
        }
    }

    /// A VF acknowledged a message: if it is not clear to send it must be told so (`ixgbe_rcv_ack_from_vf`).
    pub fn handle_ack(&self, io: &impl Regs, vfs: &[VfState], vf: u32) {
        mailbox::clear_ack(io, vf);
        if vfs.get(vf as usize).is_some_and(|s| !s.clear_to_send) {
            let _ = mailbox::notify(io, vf, &[VT_MSGTYPE_NACK]);
        }
    }

    /// Makes a VF reset itself by the standard protocol: clear-to-send is withdrawn, and it is told.
    pub fn restart(&self, io: &impl Regs, vf: u32, state: &mut VfState) {
        state.clear_to_send = false;
        self.ping(io, vf, state);
    }

    /// Sets a VF's link as the administrator wants (`ixgbe_set_vf_link_state`), and restarts it.
    pub fn set_link_state(&self, io: &impl Regs, vf: u32, state: &mut VfState, link: LinkState) {
        state.link_state = link;
        state.link_enable = match link {
            LinkState::Auto => self.up,
            LinkState::Enable => true,
            LinkState::Disable => false,
        };
        self.set_vf_gates(io, vf, state);
        self.restart(io, vf, state);
    }

    /// Sets the link of every VF again, when the PF goes up or down (`ixgbe_set_all_vfs`).
    pub fn set_all_vfs(&self, io: &impl Regs, vfs: &mut [VfState]) {
        for (vf, state) in (0u32..).zip(vfs) {
            let link = state.link_state;
            self.set_link_state(io, vf, state, link);
        }
    }

    /// Sets or, if zero, removes a VF's address for the administrator (`ixgbe_ndo_set_vf_mac`).
    ///
    /// # Errors
    /// [`Refusal::InvalidMac`], [`Refusal::NoSpace`].
    pub fn admin_set_mac(
        &mut self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
        addr: &[u8; 6],
    ) -> Result<(), Refusal> {
        if is_valid_ether_addr(addr) {
            self.set_vf_mac(io, vf, state, addr)?;
            state.pf_set_mac = true;
            return Ok(());
        }
        if *addr != [0; 6] {
            return Err(Refusal::InvalidMac);
        }
        if state.mac == [0; 6] {
            return Ok(());
        }
        self.macs
            .del(io, &state.mac, vf)
            .map_err(|_| Refusal::NoSpace)?;
        state.pf_set_mac = false;
        state.mac = [0; 6];
        Ok(())
    }

    /// Sets a VF's port VLAN, none if both are 0 (`ixgbe_ndo_set_vf_vlan`).
    ///
    /// # Errors
    /// [`Refusal::NoSpace`].
    pub fn admin_set_vlan(
        &self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
        vid: u16,
        qos: u8,
    ) -> Result<(), Refusal> {
        if vid == 0 && qos == 0 {
            return self.disable_port_vlan(io, vf, state);
        }
        if state.pf_vlan != 0 {
            self.disable_port_vlan(io, vf, state)?;
        }
        self.set_vf_vlan(io, vf, u32::from(vid), true)?;
        // No way around the VLAN by way of VLAN 0; that it was not there is fine.
        let _ = self.set_vf_vlan(io, vf, 0, false);
        super::set_vmvir(io, vf, Some((vid, qos)));
        set_vmolr(io, vf, false);
        state.pf_vlan = vid;
        state.pf_qos = qos;
        Ok(())
    }

    fn disable_port_vlan(
        &self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
    ) -> Result<(), Refusal> {
        let result = self.set_vf_vlan(io, vf, u32::from(state.pf_vlan), false);
        let _ = self.set_vf_vlan(io, vf, 0, true);
        super::set_vmvir(io, vf, None);
        set_vmolr(io, vf, true);
        state.pf_vlan = 0;
        state.pf_qos = 0;
        result
    }

    /// Checks what a VF sends, or not (`ixgbe_ndo_set_vf_spoofchk`).
    pub fn admin_set_spoofchk(&self, io: &impl Regs, vf: u32, state: &mut VfState, on: bool) {
        state.spoofchk = on;
        super::set_mac_anti_spoofing(io, on, vf);
        super::set_vlan_anti_spoofing(io, on, vf);
    }

    /// Trusts a VF, or not; it must start anew, so that nothing stays that it got by trust (`ixgbe_ndo_set_vf_trust`).
    pub fn admin_set_trust(&self, io: &impl Regs, vf: u32, state: &mut VfState, on: bool) {
        if state.trusted != on {
            state.trusted = on;
            self.restart(io, vf, state);
        }
    }

    /// Limits what a VF sends; 0 for no limit (`ixgbe_ndo_set_vf_bw`).
    ///
    /// # Errors
    /// [`Refusal::Denied`] unless the link is up at 10 Gb/s and the limit is between 11 Mb/s and that.
    pub fn admin_set_rate(
        &mut self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
        link_mbps: u32,
        mbps: u32,
    ) -> Result<(), Refusal> {
        let pools = self.pools.ok_or(Refusal::NoVf)?;
        if link_mbps != 10_000 || (mbps != 0 && !(11..=link_mbps).contains(&mbps)) {
            return Err(Refusal::Denied);
        }
        self.rate_link_mbps = link_mbps;
        state.tx_rate = mbps as u16;
        super::set_rate_limit(io, pools, vf, link_mbps, mbps);
        Ok(())
    }

    /// Lifts all limits if the link's speed is no longer what they were set for (`ixgbe_check_vf_rate_limit`).
    /// Returns whether it did.
    pub fn check_rates(&mut self, io: &impl Regs, vfs: &mut [VfState], link_mbps: u32) -> bool {
        let Some(pools) = self.pools else {
            return false;
        };
        if self.rate_link_mbps == 0 {
            return false;
        }
        let lift = link_mbps != self.rate_link_mbps;
        if lift {
            self.rate_link_mbps = 0;
        }
        for (vf, state) in (0u32..).zip(vfs) {
            if lift {
                state.tx_rate = 0;
            }
            let rate = u32::from(state.tx_rate);
            super::set_rate_limit(io, pools, vf, self.rate_link_mbps, rate);
        }
        lift
    }
}

/// Takes broadcast, and untagged frames if there is no port VLAN (`ixgbe_set_vmolr`).
fn set_vmolr(io: &impl Regs, vf: u32, untagged: bool) {
    let aupe = if untagged { VMOLR_AUPE } else { 0 };
    modify(io, vmolr(vf), VMOLR_BAM | VMOLR_AUPE, VMOLR_BAM | aupe);
}

/// Sets a VF's promiscuity and returns what was granted (`ixgbe_update_vf_xcast_mode`).
fn update_xcast_mode(
    io: &impl Regs,
    vf: u32,
    state: &mut VfState,
    wire: u32,
) -> Result<XcastMode, Refusal> {
    let promisc = XcastMode::Promisc.wire();
    if state.api < ApiVersion::V12 || (state.api == ApiVersion::V12 && wire == promisc) {
        return Err(Refusal::Unsupported);
    }
    // Signed, as in the C driver: what is beyond `Multi` is cut to it without trust, "negative" is unknown.
    let cut = wire as i32 > XcastMode::Multi.wire() as i32 && !state.trusted;
    let mode = if cut {
        XcastMode::Multi
    } else {
        XcastMode::from_wire(wire).ok_or(Refusal::Unsupported)?
    };
    if state.xcast_mode == mode {
        return Ok(mode);
    }
    let clear = VMOLR_ROMPE | VMOLR_MPE | VMOLR_UPE | VMOLR_VPE;
    let set = match mode {
        XcastMode::None => VMOLR_BAM,
        XcastMode::Multi => VMOLR_BAM | VMOLR_ROMPE,
        XcastMode::AllMulti => VMOLR_BAM | VMOLR_ROMPE | VMOLR_MPE,
        // The 82599 has no unicast promiscuity of a pool.
        XcastMode::Promisc => return Err(Refusal::Unsupported),
    };
    modify(io, vmolr(vf), clear | VMOLR_BAM, set);
    state.xcast_mode = mode;
    Ok(mode)
}

const _: () = assert!(MBX_WORDS == 16);
