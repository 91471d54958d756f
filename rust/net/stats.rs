// SPDX-License-Identifier: GPL-2.0
//! Counters of the hot path.

use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};

/// A 64-bit counter with one writer and any number of readers, as `u64_stats_t` is on 64-bit machines.
///
/// Adding is a load, an add and a store, without a lock prefix. Two writers at once lose counts and do no other harm.
//
// `core::sync::atomic` and not `kernel::sync::atomic`: the latter calls a C helper for each access, and all that is
// asked for is that a 64-bit access does not tear.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed)
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1)
    }

    /// The value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the value.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed)
    }
}
