// SPDX-License-Identifier: GPL-2.0
//! What the administrator sets of a VF.

use super::{
    filters::set_vmolr,
    LinkState,
    Refusal,
    Switch,
    VfState, //
};
use crate::{
    filter::is_valid_ether_addr,
    sriov,
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
        sriov::set_vmvir(io, vf, Some((vid, qos)));
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
        sriov::set_vmvir(io, vf, None);
        set_vmolr(io, vf, true);
        state.pf_vlan = 0;
        state.pf_qos = 0;
        result
    }

    /// Checks what a VF sends, or not (`ixgbe_ndo_set_vf_spoofchk`).
    pub fn admin_set_spoofchk(&self, io: &impl Regs, vf: u32, state: &mut VfState, on: bool) {
        state.spoofchk = on;
        sriov::set_mac_anti_spoofing(io, on, vf);
        sriov::set_vlan_anti_spoofing(io, on, vf);
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
        sriov::set_rate_limit(io, pools, vf, link_mbps, mbps);
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
            sriov::set_rate_limit(io, pools, vf, self.rate_link_mbps, rate);
        }
        lift
    }
}
