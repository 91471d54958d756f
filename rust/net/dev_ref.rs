// SPDX-License-Identifier: GPL-2.0
//! Counted references to a network device.

use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc, //
    },
};
use nic_bindings as raw;

/// Counts [`DevRef`]s, in memory of its own so that a late one can still be dropped.
pub(super) struct Refs {
    pub(super) count: Atomic<i32>,
    /// By transmit queue: whether a ring accounts to its byte limit.
    pub(super) claimed: KVec<Atomic<bool>>,
}

/// A pointer to a network device whose memory stays while it exists.
///
/// Kept by what calls back, NAPI instances, rings and interrupts, which a driver gives up in
/// [`Driver::stop`](super::Driver::stop) at the latest. If one is left
/// [`Registration`](super::Registration) leaves the device where it is, with a message, and the
/// device on the bus stays bound.
///
/// # Invariants
///
/// `netdev` upholds the invariant of [`Device`](super::Device), and `refs` is its counter and
/// counts this.
pub struct DevRef {
    netdev: *mut raw::net_device,
    refs: Option<Arc<Refs>>,
}

// SAFETY: A counted pointer.
unsafe impl Send for DevRef {}
// SAFETY: A counted pointer.
unsafe impl Sync for DevRef {}

impl DevRef {
    /// Counts a reference to `netdev`, whose counter is `refs`.
    pub(super) fn new(netdev: *mut raw::net_device, refs: Option<Arc<Refs>>) -> Self {
        if let Some(refs) = &refs {
            refs.count.fetch_add(1, Relaxed);
        }
        Self { netdev, refs }
    }

    #[inline]
    pub(crate) fn as_raw(&self) -> *mut raw::net_device {
        self.netdev
    }

    /// Claims transmit queue `index` for a ring that accounts to its byte limit; there is one at a
    /// time.
    pub(super) fn claim_tx(&self, index: u32) -> Result<NonNull<raw::netdev_queue>> {
        let claimed = self
            .refs
            .as_ref()
            .ok_or(EINVAL)?
            .claimed
            .get(index as usize);
        if claimed.ok_or(EINVAL)?.xchg(true, Full) {
            return Err(EBUSY);
        }
        // SAFETY: There are as many queues as flags.
        let queue = unsafe { raw::nic_tx_queue(self.netdev, index) };
        NonNull::new(queue).ok_or(EINVAL)
    }

    /// Undoes [`DevRef::claim_tx`].
    pub(super) fn release_tx(&self, index: u32) {
        if let Some(refs) = &self.refs {
            if let Some(claimed) = refs.claimed.get(index as usize) {
                claimed.xchg(false, Full);
            }
        }
    }
}

impl Drop for DevRef {
    fn drop(&mut self) {
        if let Some(refs) = &self.refs {
            // What was done by it is done before it is gone.
            refs.count.fetch_sub(1, Release);
        }
    }
}
