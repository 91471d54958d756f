// SPDX-License-Identifier: GPL-2.0
//! What the hardware does for a VF: one function computes it, one writes it.
//!
//! Three parties have a say. The host's settings ([`VfState::host_mac`], `pf_vlan`, `pf_qos`,
//! `tx_rate`, `spoofchk`, `trusted`, `link_state`) are in force until the host changes them: over
//! link changes, resets of PF and VF, frame sizes, moves and a change of user. What the guest asked
//! for (`mac`, `xcast_mode`, `mc`, `vlans`, `frame`, `api`) is in force as far as the host allows
//! it at that moment, and ends with the guest. And a VF is shut while the PF does something with it
//! (`stands`, `held`) or nobody uses it (`open`). [`Switch::pool`] puts the three together; nothing
//! else writes VMOLR, VFRE, VFTE, VMVIR, PFVFSPOOF, QDE or the rate of a VF, so that no order of
//! events leaves anything behind.

use super::{
    Switch,
    VfState, //
};
use crate::{
    io::modify,
    mbx::{
        ApiVersion,
        XcastMode, //
    },
    regs::*,
    sriov,
    Regs, //
};

/// VMOLR bits that let frames into a pool.
pub const VMOLR_ACCEPT: u32 =
    VMOLR_UPE | VMOLR_VPE | VMOLR_AUPE | VMOLR_ROMPE | VMOLR_ROPE | VMOLR_BAM | VMOLR_MPE;

/// What the registers of a VF's pool are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// [`VMOLR_ACCEPT`] bits of VMOLR.
    pub vmolr: u32,
    /// The VF may receive (VFRE).
    pub rx: bool,
    /// The VF may send (VFTE).
    pub tx: bool,
    /// What its untagged frames are tagged with (VMVIR): VLAN and priority.
    pub tag: Option<(u16, u8)>,
    /// Source addresses and VLANs are checked (PFVFSPOOF).
    pub spoofchk: bool,
    /// The VF does not see the tags of its port VLAN (QDE.HIDE_VLAN).
    pub hide_vlan: bool,
}

impl VfState {
    /// Promiscuity in force: without trust no more than the groups that somebody asked for,
    /// whatever was granted before.
    pub fn xcast_in_force(&self) -> XcastMode {
        if self.trusted {
            self.xcast_mode
        } else {
            self.xcast_mode.min(XcastMode::Multi)
        }
    }

    /// The host tags the VF's frames: with a VLAN, or with a priority alone.
    pub const fn has_port_vlan(&self) -> bool {
        self.pf_vlan != 0 || self.pf_qos != 0
    }

    /// The guest may have other addresses than the one that the host gave it.
    pub const fn chooses_mac(&self) -> bool {
        self.trusted || !self.pf_set_mac
    }
}

impl Switch {
    /// The registers of a VF as they follow from host, guest, and what the PF does with the VF.
    pub fn pool(&self, vf: &VfState) -> Pool {
        let on = vf.open && !vf.stands;
        let tx = on && vf.link_enable;
        // 82599 has one frame size for all: with jumbo frames on the PF only a VF that said that it
        // knows of them receives (`ixgbe_set_vf_lpe`).
        let jumbo = self.excludes_standard_frames();
        let frame = !jumbo || vf.frame != 0 && vf.api >= ApiVersion::V11;
        let mode = vf.xcast_in_force();
        let mut vmolr = VMOLR_BAM;
        if vf.pf_vlan == 0 {
            vmolr |= VMOLR_AUPE;
        }
        if mode >= XcastMode::Multi || !vf.mc.is_empty() {
            vmolr |= VMOLR_ROMPE;
        }
        if mode >= XcastMode::AllMulti {
            vmolr |= VMOLR_MPE;
        }
        if mode == XcastMode::Promisc {
            vmolr |= VMOLR_UPE;
        }
        Pool {
            vmolr: if vf.stands { 0 } else { vmolr },
            rx: tx && frame && !vf.held && !vf.nudge.deaf(),
            tx,
            tag: vf.has_port_vlan().then_some((vf.pf_vlan, vf.pf_qos)),
            spoofchk: vf.spoofchk,
            hide_vlan: vf.has_port_vlan(),
        }
    }

    /// Writes what decides whether a VF receives and sends. A VF that stands still is shut, and
    /// stays as whoever stopped it has left it.
    pub fn apply_gates(&self, io: &impl Regs, vf: u32, state: &VfState) {
        if state.stands {
            return;
        }
        let pool = self.pool(state);
        modify(io, vmolr(vf), VMOLR_ACCEPT, pool.vmolr);
        sriov::set_gates(io, vf, pool.rx, pool.tx);
    }

    /// Writes all registers of a VF's pool; the gates last.
    pub fn apply_vf(&self, io: &impl Regs, vf: u32, state: &VfState) {
        let Some(pools) = self.pools else { return };
        let pool = self.pool(state);
        sriov::set_vmvir(io, vf, pool.tag);
        // Also while a VF has several addresses: the check knows all that lead to its pool
        // (7.10.3.9.2.1). INF: the C driver switches it off then, and for good, "to avoid false
        // positives".
        sriov::set_anti_spoofing(io, self.chip, pool.spoofchk, vf);
        let hide = if pool.hide_vlan { QDE_HIDE_VLAN } else { 0 };
        sriov::write_qde(io, pools, vf, QDE_ENABLE | hide);
        // Without a limit there is none in the registers: a reset of the device clears them, and
        // nobody else sets them.
        if state.tx_rate != 0 {
            self.apply_rate(io, vf, state);
        }
        self.apply_gates(io, vf, state);
    }

    /// Writes a VF's limit of transmission for the link as it is; a link that is no faster needs
    /// none.
    pub(super) fn apply_rate(&self, io: &impl Regs, vf: u32, state: &VfState) {
        let Some(pools) = self.pools else { return };
        let rate = u32::from(state.tx_rate);
        let needed = rate != 0 && rate < self.link_mbps;
        let rate = if needed { rate } else { 0 };
        sriov::set_rate_limit(io, pools, vf, self.link_mbps, rate);
    }
}
