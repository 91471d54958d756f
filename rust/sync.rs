// SPDX-License-Identifier: GPL-2.0
//! A lock that sleeps and that interrupt context may try to take.
//!
//! A mutex must not be touched in interrupt context, not even tried, and a spin lock must not be held while sleeping. A
//! device whose slow path sleeps for the hardware and whose interrupt has to answer at once needs both: a semaphore, of
//! which `down_trylock()` and `up()` may be called from anywhere.
//!
//! C header: [`include/linux/semaphore.h`](srctree/include/linux/semaphore.h)

use kernel::{
    bindings,
    prelude::*,
    sync::lock::{
        Backend,
        Guard,
        Lock, //
    }, //
};
use nic_bindings as raw;

/// A lock that sleeps; [`Lock::try_lock`] may be called in interrupt context.
///
/// Whoever fails there leaves a note for a context that can sleep.
///
/// # Examples
///
/// ```ignore
/// #[pin_data]
/// struct Data {
///     #[pin]
///     state: SemLock<State>,
/// }
///
/// pin_init!(Data { state <- new_sem_lock!(State::new()) })
/// ```
pub type SemLock<T> = Lock<T, SemBackend>;

/// The guard of a [`SemLock`].
pub type SemGuard<'a, T> = Guard<'a, T, SemBackend>;

/// The semaphore behind a [`SemLock`].
pub struct SemBackend;

// SAFETY: A semaphore that starts at 1 lets one holder in at a time, who is the one to call `up`.
unsafe impl Backend for SemBackend {
    type State = raw::nic_sem;
    type GuardState = ();

    unsafe fn init(
        ptr: *mut Self::State,
        _name: *const c_char,
        _key: *mut bindings::lock_class_key,
    ) {
        // SAFETY: `ptr` is valid for writes.
        unsafe { raw::nic_sem_init(ptr) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: Initialised.
        unsafe { raw::nic_sem_lock(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        // SAFETY: Initialised.
        unsafe { raw::nic_sem_try_lock(ptr) }.then_some(())
    }

    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &Self::GuardState) {
        // SAFETY: The caller holds it.
        unsafe { raw::nic_sem_unlock(ptr) }
    }

    unsafe fn assert_is_held(_ptr: *mut Self::State) {}
}

/// Initialises a [`SemLock`].
#[macro_export]
macro_rules! new_sem_lock {
    ($inner:expr) => {
        $crate::sync::SemLock::new(
            $inner,
            ::kernel::c_str!(::core::concat!(::core::file!(), ":", ::core::line!())),
            ::kernel::static_lock_class!(),
        )
    };
}
