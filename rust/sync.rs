// SPDX-License-Identifier: GPL-2.0
//! A lock that sleeps and that interrupt context may try to take.
//!
//! A mutex must not be touched in interrupt context, not even tried, and a spin lock must not be
//! held while sleeping. A device whose slow path sleeps for the hardware and whose interrupt has to
//! answer at once needs both: a semaphore, of which `down_trylock()` and `up()` may be called from
//! anywhere.
//!
//! C header: [`include/linux/semaphore.h`](srctree/include/linux/semaphore.h)

use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        lock::{
            Backend,
            Lock, //
        },
        Completion, //
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

/// Accesses of an atomic variable on the hot path: the instruction that C has for them, where
/// [`Atomic::load`] and [`Atomic::store`] of a module would call a function.
pub trait Once<T> {
    /// `READ_ONCE()`, as `atomic_read()` is.
    fn read_once(&self) -> T;

    /// `WRITE_ONCE()`, as `atomic_set()` is.
    fn write_once(&self, value: T);

    /// `smp_load_acquire()`
    fn read_acquire(&self) -> T;

    /// `smp_store_release()`
    fn write_release(&self, value: T);

    /// Changes the value as `f` says, in one go; returns what it was. Not for the hot path.
    fn update(&self, f: impl Fn(T) -> T) -> T;
}

macro_rules! once {
    ($($ty:ty),*) => { $(
        impl Once<$ty> for Atomic<$ty> {
            #[inline(always)]
            fn read_once(&self) -> $ty {
                // SAFETY: A valid word, of which an aligned access does not tear.
                unsafe { self.as_ptr().read_volatile() }
            }

            #[inline(always)]
            fn write_once(&self, value: $ty) {
                // SAFETY: A valid word that may be changed at any time; an aligned access does not
                // tear.
                unsafe { self.as_ptr().write_volatile(value) }
            }

            #[inline(always)]
            fn read_acquire(&self) -> $ty {
                if cfg!(CONFIG_X86_64) {
                    let value = self.read_once();
                    barrier();
                    value
                } else {
                    self.load(kernel::sync::atomic::Acquire)
                }
            }

            #[inline(always)]
            fn write_release(&self, value: $ty) {
                if cfg!(CONFIG_X86_64) {
                    barrier();
                    self.write_once(value);
                } else {
                    self.store(value, kernel::sync::atomic::Release)
                }
            }

            fn update(&self, f: impl Fn($ty) -> $ty) -> $ty {
                let mut old = self.load(Relaxed);
                loop {
                    match self.cmpxchg(old, f(old), Full) {
                        Ok(old) => return old,
                        Err(now) => old = now,
                    }
                }
            }
        }
    )* };
}

once!(u32, u64);

/// `barrier()`: the compiler moves no access of memory across it.
#[inline(always)]
pub(crate) fn barrier() {
    // SAFETY: No instruction. Without options it may access any memory.
    unsafe { core::arch::asm!("") };
}

/// Counts who uses something that is to go away, which waits for them.
///
/// # Invariants
///
/// `users` is how many have entered and not left, and one more until the gate is closed.
#[pin_data]
pub(crate) struct Gate {
    users: Atomic<i32>,
    #[pin]
    idle: Completion,
}

impl Gate {
    /// Open, with nobody inside.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            users: Atomic::new(1),
            idle <- Completion::new(),
        })
    }

    /// Enters, unless the gate is closed. Whoever has entered leaves again.
    pub(crate) fn enter(&self) -> bool {
        let mut n = self.users.load(Relaxed);
        loop {
            // 0 when it is closed and empty: who is still inside then keeps what it guards.
            let Some(more) = n.checked_add(1).filter(|m| *m > 1) else {
                return false;
            };
            match self.users.cmpxchg(n, more, Full) {
                Ok(_) => return true,
                Err(now) => n = now,
            }
        }
    }

    /// Enters for somebody who is inside already.
    pub(crate) fn enter_again(&self) {
        self.users.fetch_add(1, Relaxed);
    }

    /// Leaves.
    pub(crate) fn leave(&self) {
        if self.users.fetch_sub(1, Full) == 1 {
            self.idle.complete_all();
        }
    }

    /// Whether somebody is inside of a gate that is open.
    pub(crate) fn busy(&self) -> bool {
        self.users.load(Relaxed) > 1
    }

    /// Closes the gate, once, and waits until all have left. Whoever comes meanwhile is let in only
    /// as long as somebody is inside.
    pub(crate) fn close(&self) {
        self.leave();
        self.idle.wait_for_completion();
    }
}

/// What is inside of a [`Gate`] until it is dropped.
pub(crate) struct Pass<'a>(&'a Gate);

impl<'a> Pass<'a> {
    /// `None` if the gate is closed.
    pub(crate) fn new(gate: &'a Gate) -> Option<Self> {
        gate.enter().then_some(Self(gate))
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
