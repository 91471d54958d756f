// SPDX-License-Identifier: GPL-2.0
//! Addresses, VLANs, frame size and promiscuity of a VF.

use super::{
    Refusal,
    Switch,
    VfState,
    ETH_FRAME_LEN,
    MAX_JUMBO_FRAME_SIZE, //
};
use crate::{
    filter::{
        self,
        is_valid_ether_addr,
        pool_bit,
        set_vfta,
        vlvfb_halves,
        MAX_PF_MACVLANS,
        RAR_ENTRIES, //
    },
    io::modify,
    mbx::{
        ApiVersion,
        XcastMode, //
    },
    regs::*,
    sriov,
    Regs, //
};

/// Bytes of the FCS.
const ETH_FCS_LEN: u32 = 4;
/// Smallest maximum frame that a VF may ask for (`ETH_MIN_MTU`).
const ETH_MIN_MTU: u32 = 68;

impl Switch {
    /// Adds or removes a VLAN of a VF (`ixgbe_set_vf_vlan`).
    pub(super) fn set_vf_vlan(
        &self,
        io: &impl Regs,
        vf: u32,
        vid: u32,
        add: bool,
    ) -> Result<(), Refusal> {
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
    pub(super) fn clear_vf_vlans(&self, io: &impl Regs, vf: u32) {
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
    pub(super) fn set_vf_mac(
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

    /// Sets the address that a VF asks for, within what the administrator allows (`ixgbe_set_vf_mac_addr`).
    pub(super) fn set_vf_mac_msg(
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

    /// Receive addresses that the lists of all VFs may have together: each VF, the PF and its macvlans keep theirs.
    pub(crate) fn macvlan_limit(&self) -> usize {
        let reserved = (self.num_vfs as usize).saturating_add(MAX_PF_MACVLANS + 1);
        RAR_ENTRIES.saturating_sub(reserved)
    }

    /// Adds a further address of a VF, or with index 0 removes them all (`ixgbe_set_vf_macvlan_msg`).
    pub(super) fn set_vf_macvlan_msg(
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
                sriov::set_mac_anti_spoofing(io, false, vf);
                sriov::set_vlan_anti_spoofing(io, false, vf);
            }
        }
        if index <= 1 {
            self.macs.clear_macvlans(io, vf);
        }
        if index == 0 {
            return Ok(());
        }
        match self.macs.add_macvlan(io, addr, vf, self.macvlan_limit()) {
            Ok(_) => Ok(()),
            Err(filter::Error::NoSpace) => Err(Refusal::NoSpace),
            Err(_) => Err(Refusal::InvalidMac),
        }
    }

    /// Sets a VF's maximum frame (`ixgbe_set_vf_lpe`), FCS included.
    pub(super) fn set_vf_lpe(
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
}

/// Takes broadcast, and untagged frames if there is no port VLAN (`ixgbe_set_vmolr`).
pub(super) fn set_vmolr(io: &impl Regs, vf: u32, untagged: bool) {
    let aupe = if untagged { VMOLR_AUPE } else { 0 };
    modify(io, vmolr(vf), VMOLR_BAM | VMOLR_AUPE, VMOLR_BAM | aupe);
}

/// Sets a VF's promiscuity and returns what was granted (`ixgbe_update_vf_xcast_mode`).
pub(super) fn update_xcast_mode(
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
