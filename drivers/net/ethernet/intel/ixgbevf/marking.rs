// SPDX-License-Identifier: GPL-2.0
//! What a migration leaves behind in the guest.

use libixgbe::mbx_ext::Done;
use nic::dma::mark::Marking;

/// What a migration needs to remember, and what it counts.
#[derive(Default)]
pub(crate) struct Migration {
    pub(crate) marking: Option<Marking>,
    /// Which restore was done last.
    pub(crate) done: Done,
    /// What the answer to it says: queue pairs re-armed, and frames taken before.
    pub(crate) restored: (u32, u32),
    /// Times that this function woke up on a host, by the PF's word.
    pub(crate) migrations: u64,
    /// Queue pairs re-armed.
    pub(crate) rearms: u64,
    /// Resets that the PF asked for by withdrawing clear-to-send.
    pub(crate) resets: u64,
}

impl Migration {
    /// Switches marking on or off. Once this returns, every frame that goes up was looked at in the
    /// new mode.
    pub(crate) fn set_marking(&mut self, on: bool) {
        match (on, self.marking.is_some()) {
            (true, false) => self.marking = Some(Marking::new()),
            (false, true) => self.marking = None,
            _ => {}
        }
    }
}
