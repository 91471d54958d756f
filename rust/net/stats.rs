// SPDX-License-Identifier: GPL-2.0
//! Counters of the hot path.

use crate::sync::Once;
use kernel::sync::atomic::Atomic;

/// A 64-bit counter with one writer and any number of readers, as `u64_stats_t` is on 64-bit
/// machines.
///
/// Adding is a load, an add and a store, without a lock prefix. Two writers at once lose counts and
/// do no other harm.
pub struct Counter(Atomic<u64>);

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n))
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1)
    }

    /// The value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.read_once()
    }

    /// Sets the value.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.write_once(n)
    }
}
