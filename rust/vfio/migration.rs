// SPDX-License-Identifier: GPL-2.0
//! Device states, and the lock around them.

use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Mutex,
        SpinLock, //
    }, //
};
use nic_bindings as raw;

/// What every migratable device of this crate can do.
pub(crate) const FLAGS: u32 =
    raw::VFIO_MIGRATION_STOP_COPY | raw::VFIO_MIGRATION_P2P | raw::VFIO_MIGRATION_PRE_COPY;

/// `enum vfio_device_mig_state`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The device is unusable until it is reset.
    Error = 0,
    /// Nothing moves.
    Stop = 1,
    /// Normal operation.
    Running = 2,
    /// Stopped, and the state is being read.
    StopCopy = 3,
    /// Stopped, and a state is being written.
    Resuming = 4,
    /// Running without DMA to other devices.
    RunningP2p = 5,
    /// Running, and the first part of the state is being read.
    PreCopy = 6,
    /// [`State::PreCopy`] without DMA to other devices.
    PreCopyP2p = 7,
}

impl State {
    pub(crate) const fn from_raw(state: raw::vfio_device_mig_state) -> Option<Self> {
        match state {
            0 => Some(Self::Error),
            1 => Some(Self::Stop),
            2 => Some(Self::Running),
            3 => Some(Self::StopCopy),
            4 => Some(Self::Resuming),
            5 => Some(Self::RunningP2p),
            6 => Some(Self::PreCopy),
            7 => Some(Self::PreCopyP2p),
            _ => None,
        }
    }
}

struct Current<S> {
    state: State,
    session: S,
}

/// The state of a device and what belongs to it, under one lock.
///
/// A reset is told to the driver by `reset_done`, with locks held under which user memory may be
/// touched elsewhere, so that waiting for this lock there could deadlock. It is noted instead, and
/// whoever holds the lock acts on it before letting go, as in the C variant drivers
/// (`deferred_reset`).
#[pin_data]
pub struct Machine<S> {
    #[pin]
    current: Mutex<Current<S>>,
    /// A reset has happened that nobody has acted on.
    #[pin]
    reset: SpinLock<bool>,
}

impl<S: Unpin> Machine<S> {
    pub(crate) fn new(session: S) -> impl PinInit<Self> {
        pin_init!(Self {
            current <- new_mutex!(Current { state: State::Running, session }),
            reset <- new_spinlock!(false),
        })
    }

    /// Runs `f` under the lock.
    pub(crate) fn with<R>(
        &self,
        on_reset: impl Fn(&mut S),
        f: impl FnOnce(&mut State, &mut S) -> R,
    ) -> R {
        let mut current = self.current.lock();
        self.settle(&mut current, &on_reset);
        let Current { state, session } = &mut *current;
        let result = f(state, session);
        self.settle(&mut current, &on_reset);
        // A reset that comes between `settle` and here finds the lock taken and leaves its note.
        drop(current);
        self.catch_up(&on_reset);
        result
    }

    /// Acts on resets until none is pending.
    fn settle(&self, current: &mut Current<S>, on_reset: &impl Fn(&mut S)) {
        while core::mem::take(&mut *self.reset.lock()) {
            current.state = State::Running;
            on_reset(&mut current.session);
        }
    }

    /// Acts on a reset whose note was left while the lock was being given back.
    fn catch_up(&self, on_reset: &impl Fn(&mut S)) {
        while *self.reset.lock() {
            // Who holds the lock now will catch up in turn.
            let Some(mut current) = self.current.try_lock() else {
                return;
            };
            self.settle(&mut current, on_reset);
        }
    }

    /// The device was reset.
    pub(crate) fn reset_done(&self, on_reset: impl Fn(&mut S)) {
        *self.reset.lock() = true;
        self.catch_up(&on_reset);
    }
}
