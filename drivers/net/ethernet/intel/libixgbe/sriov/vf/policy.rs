// SPDX-License-Identifier: GPL-2.0
//! What the administrator sets of a VF.

use super::{
    LinkState,
    Refusal,
    Switch,
    VfState, //
};
use crate::{
    filter::is_valid_ether_addr,
    Regs, //
};

impl Switch {
    /// Sets a VF's link as the administrator wants (`ixgbe_set_vf_link_state`), and restarts it.
    pub fn set_link_state(&self, io: &impl Regs, vf: u32, state: &mut VfState, link: LinkState) {
        state.link_state = link;
        state.link_enable = match link {
            LinkState::Auto => self.up,
            LinkState::Enable => true,
            LinkState::Disable => false,
        };
        self.apply_gates(io, vf, state);
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
    /// See also [`Self::claim`].
    ///
    /// # Errors
    /// [`Refusal::InvalidMac`].
    pub fn admin_set_mac(
        &mut self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
        addr: &[u8; 6],
    ) -> Result<(), Refusal> {
        if *addr != [0; 6] && !is_valid_ether_addr(addr) {
            return Err(Refusal::InvalidMac);
        }
        state.host_mac = *addr;
        state.pf_set_mac = *addr != [0; 6];
        self.use_mac(io, vf, state, *addr);
        let had_list = self.macs.macvlans_of_pool(vf).next().is_some();
        self.revoke(io, vf, state);
        if had_list && !state.chooses_mac() {
            // Its driver believes that it still has them.
            self.restart(io, vf, state);
        }
        Ok(())
    }

    /// Takes from a guest the addresses and the promiscuity that it may not have any more.
    fn revoke(&mut self, io: &impl Regs, vf: u32, state: &mut VfState) {
        if !state.chooses_mac() {
            self.macs.clear_macvlans(io, vf);
            if state.mac != state.host_mac {
                self.use_mac(io, vf, state, state.host_mac);
            }
        }
        state.xcast_mode = state.xcast_in_force();
        self.apply_gates(io, vf, state);
    }

    /// Sets a VF's port VLAN, none if both are 0 (`ixgbe_ndo_set_vf_vlan`). VLANs that the guest
    /// joined are suspended meanwhile. A priority alone leaves the VF where it is and tags what it
    /// sends with VLAN 0.
    ///
    /// # Errors
    /// [`Refusal::NoSpace`]; then nothing has changed.
    pub fn admin_set_vlan(
        &self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
        vid: u16,
        qos: u8,
    ) -> Result<(), Refusal> {
        let before = (state.pf_vlan, state.pf_qos);
        (state.pf_vlan, state.pf_qos) = (vid, qos);
        let mut result = self.apply_vlans(io, vf, state);
        if result.is_err() && state.has_port_vlan() {
            (state.pf_vlan, state.pf_qos) = before;
            // There is room for what was there a moment ago.
            let _ = self.apply_vlans(io, vf, state);
        } else if result.is_err() {
            // Others have taken the entries of the guest's VLANs: it asks again, and is told what
            // it cannot have.
            self.restart(io, vf, state);
            result = Ok(());
        }
        self.apply_vf(io, vf, state);
        result
    }

    /// Checks what a VF sends, or not (`ixgbe_ndo_set_vf_spoofchk`).
    pub fn admin_set_spoofchk(&self, io: &impl Regs, vf: u32, state: &mut VfState, on: bool) {
        state.spoofchk = on;
        self.apply_vf(io, vf, state);
    }

    /// Trusts a VF, or not; what it had by trust it has no longer. It must start anew, so that its
    /// driver learns of it (`ixgbe_ndo_set_vf_trust`).
    pub fn admin_set_trust(&mut self, io: &impl Regs, vf: u32, state: &mut VfState, on: bool) {
        if state.trusted != on {
            state.trusted = on;
            self.revoke(io, vf, state);
            self.restart(io, vf, state);
        }
    }

    /// Limits what a VF sends; 0 for no limit (`ixgbe_ndo_set_vf_bw`). The limit stays when the
    /// link changes.
    ///
    /// # Errors
    /// [`Refusal::Denied`] unless the link is up at 10 Gb/s and the limit is between 11 Mb/s and
    /// that.
    pub fn admin_set_rate(
        &mut self,
        io: &impl Regs,
        vf: u32,
        state: &mut VfState,
        link_mbps: u32,
        mbps: u32,
    ) -> Result<(), Refusal> {
        if self.pools.is_none() {
            return Err(Refusal::NoVf);
        }
        // To lift a limit takes no link.
        if mbps != 0 && (link_mbps != 10_000 || !(11..=link_mbps).contains(&mbps)) {
            return Err(Refusal::Denied);
        }
        if link_mbps != 0 {
            self.link_mbps = link_mbps;
        }
        // CAST: At most 10,000.
        state.tx_rate = mbps as u16;
        self.apply_rate(io, vf, state);
        Ok(())
    }

    /// The link is up at `link_mbps`, or down (0): limits are written for it
    /// (`ixgbe_check_vf_rate_limit`, which lifts them when the speed is another). Returns whether a
    /// VF has a limit that this link does not reach.
    pub fn check_rates(&mut self, io: &impl Regs, vfs: &[VfState], link_mbps: u32) -> bool {
        if link_mbps == 0 {
            return false;
        }
        self.link_mbps = link_mbps;
        let mut idle = false;
        for (vf, state) in (0u32..).zip(vfs) {
            self.apply_rate(io, vf, state);
            idle |= state.tx_rate != 0 && u32::from(state.tx_rate) >= link_mbps;
        }
        idle
    }
}
