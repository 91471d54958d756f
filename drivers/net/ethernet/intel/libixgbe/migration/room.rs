// SPDX-License-Identifier: GPL-2.0
//! Whether this device has what a VF needs that comes from another host: room in the filter tables that all VFs share, and a
//! port that takes what the VF is to receive.

use super::refusal::Found;
use super::refusal::Refusal;
use super::state::VfState;
use super::state::Xcast;
use crate::filter::pool_bit;
use crate::filter::vlvfb_halves;
use crate::regs;
use crate::sriov::vf::Switch;
use crate::sriov::vf::VfState as PfVf;
use crate::Regs;

/// Addresses: none may be another function's, also not one's that stands still, and each needs a
/// receive address register.
///
/// The lists of all VFs have a limit together ([`Switch::macvlan_limit`]), as when the VF asked for
/// them.
pub(super) fn addresses(
    switch: &Switch,
    vfs: &[PfVf],
    vf: u32,
    state: &VfState,
    found: &mut Found,
) {
    let f = &state.filters;
    let listed = f.unicast.as_slice();
    let own = core::iter::once(&f.mac).filter(|mac| **mac != [0; 6]);
    let mut all = own.clone().chain(listed);
    found.unless(
        !all.any(|mac| switch.is_taken(vfs, vf, mac)),
        Refusal::MacInUse,
    );
    let wanted = own.count().saturating_add(listed.len());
    let others = |pool: &u32| *pool != vf;
    let taken = if listed.is_empty() {
        0
    } else {
        let pools = (0..64).filter(others);
        pools
            .map(|pool| switch.macs.macvlans_of_pool(pool).count())
            .sum()
    };
    let short = wanted.saturating_sub(switch.macs.available(vf)).max(
        listed
            .len()
            .saturating_sub(switch.macvlan_limit().saturating_sub(taken)),
    );
    found.unless(short == 0, Refusal::AddressRoom(short as u16));
}

/// A VF can be promiscuous only while its PF is (`ixgbe_update_vf_xcast_mode`).
pub(super) fn promiscuity(io: &impl Regs, switch: &Switch, state: &VfState, found: &mut Found) {
    let wanted = state.filters.xcast == Xcast::Promisc && switch.chip.has_promiscuous_vfs();
    found.unless(
        !wanted || io.read32(regs::FCTRL) & regs::FCTRL_UPE != 0,
        Refusal::Promiscuous,
    );
}

/// VLANs: each needs an entry of VLVF, unless another function has it there already. Entries that this VF alone has are
/// free, since what it had here is forgotten first. Entry 0 is VLAN 0's.
pub(super) fn vlans(io: &impl Regs, switch: &Switch, vf: u32, state: &VfState, found: &mut Found) {
    let ids = state.filters.vlans.as_slice();
    let mut missing = ids.iter().filter(|id| **id != 0).count();
    let pf_pool = switch.pf_pool();
    let alone = |slot: u32| {
        let (mine, other) = vlvfb_halves(slot, vf);
        let (of_pf, _) = vlvfb_halves(slot, pf_pool);
        let left = |reg: u32| {
            let me = if reg == mine { pool_bit(vf) } else { 0 };
            let pf = if reg == of_pf { pool_bit(pf_pool) } else { 0 };
            io.read32(reg) & !(me | pf)
        };
        // The PF is listed only beside others, see `PfVlans::release_shared`.
        io.read32(mine) & pool_bit(vf) != 0 && left(mine) == 0 && left(other) == 0
    };
    let mut free: usize = 0;
    for slot in 1..regs::VLVF_ENTRIES {
        if missing == 0 || free >= missing {
            return;
        }
        let entry = io.read32(regs::vlvf(slot));
        let id = entry & regs::VLVF_VLANID_MASK;
        if entry != 0 && ids.iter().any(|want| u32::from(*want) == id) {
            missing = missing.saturating_sub(1);
        } else if entry == 0 || alone(slot) {
            free = free.saturating_add(1);
        }
    }
    let short = missing.saturating_sub(free);
    found.unless(short == 0, Refusal::VlanRoom(short as u16));
}
