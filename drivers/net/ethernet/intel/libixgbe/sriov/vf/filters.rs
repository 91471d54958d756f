// SPDX-License-Identifier: GPL-2.0
//! Addresses, VLANs, frame size and promiscuity of a VF.

use super::{
    Refusal,
    Switch,
    VfState,
    ETH_FCS_LEN,
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
    Regs, //
};

/// VLANs that a guest asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vlans {
    /// As many as VLVF has entries beside that of VLAN 0.
    ids: [u16; VLVF_ENTRIES as usize - 1],
    len: u8,
}

impl Vlans {
    /// None.
    pub(crate) const NONE: Self = Self {
        ids: [0; VLVF_ENTRIES as usize - 1],
        len: 0,
    };

    fn as_slice(&self) -> &[u16] {
        self.ids.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn insert(&mut self, vid: u16) {
        if vid == 0 || self.as_slice().contains(&vid) {
            return;
        }
        // The device has no entry for one that does not fit.
        if let Some(slot) = self.ids.get_mut(usize::from(self.len)) {
            *slot = vid;
            self.len = self.len.saturating_add(1);
        }
    }

    fn remove(&mut self, vid: u16) {
        let mut left = Self::NONE;
        for id in self.as_slice().iter().filter(|id| **id != vid) {
            left.insert(*id);
        }
        *self = left;
    }
}

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
            // A VLAN with an entry in VLVF only reaches the pools listed there, so the PF must be
            // listed.
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
            // Only the PF, if any: without an entry the VLAN falls to the default pool, which is
            // the PF's.
            io.write32(vlvf(i), 0);
            let keep = self.vlans.is_promisc();
            io.write32(mine, if keep { bits } else { 0 });
        }
    }

    /// Adds or removes a VLAN at the guest's wish (`ixgbe_set_vlan_msg`).
    pub(super) fn set_vf_vlan_msg(
        &self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
        vid: u16,
        add: bool,
    ) -> Result<(), Refusal> {
        // VLAN 0 cannot be removed: it carries what is only priority-tagged.
        if vid == 0 && !add {
            return Ok(());
        }
        if state.has_port_vlan() {
            if add {
                return Err(Refusal::VlanIsSet);
            }
            // One less for when the host takes its VLAN back.
            state.vlans.remove(vid);
            return Ok(());
        }
        self.set_vf_vlan(io, vf, u32::from(vid), add)?;
        if add {
            state.vlans.insert(vid);
        } else {
            state.vlans.remove(vid);
        }
        Ok(())
    }

    /// Puts a VF into the VLANs that it may be in now and into no other: the port VLAN alone, or
    /// VLAN 0 and those that the guest asked for.
    ///
    /// # Errors
    /// [`Refusal::NoSpace`] if not all could be had.
    pub(super) fn apply_vlans(
        &self,
        io: &impl Regs,
        vf: u32,
        state: &VfState,
    ) -> Result<(), Refusal> {
        self.clear_vf_vlans(io, vf);
        let mut result = self.set_vf_vlan(io, vf, u32::from(state.pf_vlan), true);
        if !state.has_port_vlan() {
            for vid in state.vlans.as_slice() {
                result = result.and(self.set_vf_vlan(io, vf, u32::from(*vid), true));
            }
        }
        result
    }

    /// Whether `addr` is the PF's or that of a VF other than `vf`, in force or set by the host.
    ///
    /// Not for what the host does: it may give an address twice.
    pub fn is_taken(&self, vfs: &[VfState], vf: u32, addr: &[u8; 6]) -> bool {
        let mut others = (0u32..).zip(vfs).filter(|(other, _)| *other != vf);
        self.macs.is_anothers(addr, vf)
            || others.any(|(_, v)| v.mac == *addr || v.host_mac == *addr)
    }

    /// Takes `addr`, which the host gives to somebody else, from guests that chose it: the PF
    /// itself, or VF `to`. Their drivers are restarted, so that they learn of it.
    pub fn claim(&mut self, io: &impl Regs, vfs: &mut [VfState], to: Option<u32>, addr: &[u8; 6]) {
        if !is_valid_ether_addr(addr) {
            return;
        }
        for (vf, state) in (0u32..).zip(vfs) {
            if Some(vf) == to || state.host_mac == *addr {
                continue;
            }
            let listed = self.macs.macvlans_of_pool(vf).any(|a| a == addr);
            if !listed && state.mac != *addr {
                continue;
            }
            self.macs.del_macvlan(io, addr, vf);
            if state.mac == *addr {
                self.use_mac(io, vf, state, state.host_mac);
            }
            self.restart(io, vf, state);
        }
    }

    /// Puts a VF's address in force (`ixgbe_set_vf_mac`). A VF without a driver has none in the
    /// filters, since frames for it, which may be elsewhere, would end there.
    pub(super) fn use_mac(&mut self, io: &impl Regs, vf: u32, state: &mut VfState, addr: [u8; 6]) {
        state.mac = addr;
        if !state.open || addr == [0; 6] {
            self.macs.clear_own(io, vf);
        } else if self.macs.set_own(io, &addr, vf).is_err() {
            // Cannot be: an entry is kept for each VF.
            state.mac = [0; 6];
        }
    }

    /// Sets the address that a VF asks for, within what the administrator allows
    /// (`ixgbe_set_vf_mac_addr`).
    pub(super) fn set_vf_mac_msg(
        &mut self,
        io: &impl Regs,
        vfs: &mut [VfState],
        vf: u32,
        addr: &[u8; 6],
    ) -> Result<(), Refusal> {
        if !is_valid_ether_addr(addr) {
            return Err(Refusal::InvalidMac);
        }
        let taken = self.is_taken(vfs, vf, addr);
        let state = vfs.get_mut(vf as usize).ok_or(Refusal::NoVf)?;
        if !state.chooses_mac() && state.host_mac != *addr {
            return Err(Refusal::MacIsSet);
        }
        if taken && state.host_mac != *addr {
            return Err(Refusal::MacInUse);
        }
        self.use_mac(io, vf, state, *addr);
        Ok(())
    }

    /// Receive addresses that the lists of all VFs may have together: each VF, the PF and its
    /// macvlans keep theirs.
    pub(crate) fn macvlan_limit(&self) -> usize {
        let reserved = (self.num_vfs as usize).saturating_add(MAX_PF_MACVLANS + 1);
        RAR_ENTRIES.saturating_sub(reserved)
    }

    /// Adds a further address of a VF, or with index 0 removes them all
    /// (`ixgbe_set_vf_macvlan_msg`).
    pub(super) fn set_vf_macvlan_msg(
        &mut self,
        io: &impl Regs,
        vfs: &[VfState],
        vf: u32,
        index: u8,
        addr: &[u8; 6],
    ) -> Result<(), Refusal> {
        let state = vfs.get(vf as usize).ok_or(Refusal::NoVf)?;
        if index == 0 {
            self.macs.clear_macvlans(io, vf);
            return Ok(());
        }
        if !state.chooses_mac() {
            return Err(Refusal::MacIsSet);
        }
        if !is_valid_ether_addr(addr) {
            return Err(Refusal::InvalidMac);
        }
        // The first of a list ends the list of before, whatever becomes of the first.
        if index == 1 {
            self.macs.clear_macvlans(io, vf);
        }
        if self.is_taken(vfs, vf, addr) {
            return Err(Refusal::MacInUse);
        }
        match self.macs.add_macvlan(io, addr, vf, self.macvlan_limit()) {
            Ok(_) => Ok(()),
            Err(filter::Error::NoSpace) => Err(Refusal::NoSpace),
            Err(_) => Err(Refusal::InvalidMac),
        }
    }

    /// Sets a VF's maximum frame (`ixgbe_set_vf_lpe`), FCS included. A refusal leaves it as it was.
    pub(super) fn set_vf_lpe(
        &self,
        io: &impl Regs,
        vfs: &mut [VfState],
        vf: u32,
        bytes: u32,
    ) -> Result<(), Refusal> {
        let state = vfs.get_mut(vf as usize).ok_or(Refusal::NoVf)?;
        if !(ETH_MIN_MTU..=MAX_JUMBO_FRAME_SIZE).contains(&bytes) {
            return Err(Refusal::Frame);
        }
        // 82599 has one frame size for all: with jumbo frames on the PF only VFs that know of them
        // may receive.
        let ok = if self.chip.mixes_frames() {
            true
        } else if self.excludes_standard_frames() {
            state.api >= ApiVersion::V11
        } else {
            bytes <= ETH_FRAME_LEN + ETH_FCS_LEN
        };
        if !ok {
            // The API may be another than that of the grant.
            self.apply_gates(io, vf, state);
            return Err(Refusal::Frame);
        }
        state.frame = bytes;
        self.apply_gates(io, vf, state);
        self.store_max_frame(io, vfs);
        Ok(())
    }

    /// Sets a VF's promiscuity and returns what was granted (`ixgbe_update_vf_xcast_mode`).
    pub(super) fn update_xcast_mode(
        &self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
        wire: u32,
    ) -> Result<XcastMode, Refusal> {
        let promisc = XcastMode::Promisc.wire();
        if state.api < ApiVersion::V12 || (state.api == ApiVersion::V12 && wire == promisc) {
            return Err(Refusal::Unsupported);
        }
        // Signed, as in the C driver: what is beyond `Multi` is cut to it without trust, "negative"
        // is unknown.
        let cut = wire as i32 > XcastMode::Multi.wire() as i32 && !state.trusted;
        let mode = if cut {
            XcastMode::Multi
        } else {
            XcastMode::from_wire(wire).ok_or(Refusal::Unsupported)?
        };
        if mode == XcastMode::Promisc {
            // The 82599 has no unicast promiscuity of a pool.
            if !self.chip.has_promiscuous_vfs() {
                return Err(Refusal::Unsupported);
            }
            if io.read32(FCTRL) & FCTRL_UPE == 0 {
                // The PF must be promiscuous first.
                return Err(Refusal::Denied);
            }
        }
        // Written also if it is what was granted before: the device may have been reset meanwhile.
        state.xcast_mode = mode;
        self.apply_gates(io, vf, state);
        Ok(mode)
    }
}
