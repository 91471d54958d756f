// SPDX-License-Identifier: GPL-2.0
//! VLANs that are received.

use nic::net::Counter;

/// VLANs that the stack asked for, readable by the receive path.
pub(crate) struct Vlans([Counter; 64]);

impl Vlans {
    pub(crate) fn new() -> Self {
        Self([const { Counter::new() }; 64])
    }

    /// Whether frames of `vid` are to go up with their tag.
    #[inline]
    pub(crate) fn contains(&self, vid: u16) -> bool {
        self.0
            .get(usize::from(vid >> 6))
            .is_some_and(|w| w.get() >> (vid & 63) & 1 != 0)
    }

    /// Adds or removes `vid`. The caller holds the state lock.
    pub(crate) fn set(&self, vid: u16, on: bool) {
        if let Some(word) = self.0.get(usize::from(vid >> 6)) {
            let bit = 1u64 << (vid & 63);
            word.set(if on {
                word.get() | bit
            } else {
                word.get() & !bit
            });
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..4096u16).filter(|v| self.contains(*v))
    }
}
