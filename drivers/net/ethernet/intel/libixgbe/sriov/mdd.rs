// SPDX-License-Identifier: GPL-2.0
//! Malicious driver detection of the X550 (`ixgbe_x550.c`, `ixgbe_check_mdd_event`): the device
//! blocks a queue whose driver does what none may, and interrupts the PF.
//!
//! The C driver lets such a queue go on at once, and tells its VF. Here it stays blocked until the
//! VF was reset, so that a VF cannot keep the PF busy by doing it again and again. And a queue of
//! no VF is one of the PF, or of nobody: the C driver takes its number for that of a VF.

use super::{
    vf::{
        Switch,
        VfState, //
    },
    Pools, //
};
use crate::{
    io::modify,
    regs::*,
    Regs, //
};

/// Queues of a register of WQBR.
const PER_REGISTER: u32 = 32;

/// What the device has blocked since it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// VFs, one bit each.
    pub vfs: u64,
    /// Queues of the PF, or of no VF.
    pub others: bool,
    /// Why, of the last one: LVMMC of the transmit queues.
    pub tx: u32,
    /// And of the receive queues.
    pub rx: u32,
}

/// Switches detection on or off (`ixgbe_set_mdd_x550`). A reset of the device switches it off.
pub fn set(io: &impl Regs, on: bool) {
    let tx = DMATXCTL_MDP_EN | DMATXCTL_MBINTEN;
    let rx = RDRXCTL_MDP_EN | RDRXCTL_MBINTEN;
    modify(io, DMATXCTL, tx, if on { tx } else { 0 });
    modify(io, RDRXCTL, rx, if on { rx } else { 0 });
}

/// Pools that have blocked queues (`ixgbe_handle_mdd_x550`).
fn blocked(io: &impl Regs, pools: Pools) -> u64 {
    let own = (1u32 << pools.queues()) - 1;
    let mut found = 0;
    let mut pool = 0;
    while pool < pools.count() {
        let row = pools.first_queue(pool) / PER_REGISTER;
        let mut queues = io.read32(wqbr_tx(row)) | io.read32(wqbr_rx(row));
        // A register has whole pools.
        for _ in 0..PER_REGISTER / pools.queues() {
            found |= u64::from(queues & own != 0) << (pool & 63);
            queues >>= pools.queues();
            pool += 1;
        }
    }
    found
}

/// Lets the queues of a pool go on (`ixgbe_restore_mdd_vf_x550`; a bit that is written clears it).
pub(super) fn release(io: &impl Regs, pools: Pools, pool: u32) {
    let first = pools.first_queue(pool);
    let own = ((1u32 << pools.queues()) - 1) << (first % PER_REGISTER);
    let row = first / PER_REGISTER;
    io.write32(wqbr_tx(row), own);
    io.write32(wqbr_rx(row), own);
}

impl Switch {
    /// Tells VFs whose queues the device has blocked to reset themselves, and lets queues of others
    /// go on. Returns what is new.
    pub fn check_blocked(&self, io: &impl Regs, vfs: &mut [VfState]) -> Option<Blocked> {
        let pools = self.pools.filter(|_| self.chip.detects_malice())?;
        let found = blocked(io, pools);
        if found == 0 {
            return None;
        }
        let mut event = Blocked {
            vfs: 0,
            others: false,
            tx: 0,
            rx: 0,
        };
        for pool in (0..pools.count()).filter(|pool| found >> (pool & 63) & 1 != 0) {
            match vfs.get_mut(pool as usize) {
                Some(state) if state.blocked => {}
                Some(state) => {
                    state.blocked = true;
                    event.vfs |= 1 << (pool & 63);
                    self.restart(io, pool, state);
                }
                None => {
                    event.others = true;
                    release(io, pools, pool);
                }
            }
        }
        if event.vfs == 0 && !event.others {
            return None;
        }
        event.tx = io.read32(LVMMC_TX);
        event.rx = io.read32(LVMMC_RX);
        Some(event)
    }
}
