// SPDX-License-Identifier: GPL-2.0
//! What a driver holds of a bound device is gone before the device is unbound.
//!
//! A driver puts network device, BARs and interrupt vectors into its private data, which the driver
//! core drops before it unbinds the device. But nothing keeps it from putting them elsewhere, or
//! from forgetting them, and their destructors go by the device, not by its driver: they would free
//! what the next driver has. So each of them holds a [`Held`], and unbinding waits for the last. A
//! driver that keeps one for ever is never unbound, nor is its module unloaded.

use crate::sync::Gate;
use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full, //
        },
        Arc, //
    },
};

/// What this module knows of a device that one of its drivers is bound to.
#[pin_data]
struct Record {
    #[pin]
    gate: Gate,
    /// It was enabled, see [`Held::enable_once`].
    enabled: Atomic<bool>,
    /// It has interrupt vectors.
    vectors: Atomic<bool>,
}

/// Keeps a device bound.
///
/// # Invariants
///
/// Has entered the gate of the record, so that the device is bound.
pub(crate) struct Held(Arc<Record>);

/// What devres keeps: one reference to a record.
type Entry = NonNull<Record>;

impl Held {
    /// Keeps `dev` bound.
    pub(crate) fn new(dev: &Device<Bound>) -> Result<Self> {
        // CAST: `Device` is a transparent wrapper.
        let raw: *mut bindings::device = core::ptr::from_ref(dev).cast_mut().cast();
        // SAFETY: A bound device; `release` is what names the entry.
        let found =
            unsafe { bindings::devres_find(raw, Some(release), None, core::ptr::null_mut()) };
        let mut entry: *mut Entry = found.cast();
        if entry.is_null() {
            let record = Arc::pin_init(
                pin_init!(Record {
                    gate <- Gate::new(),
                    enabled: Atomic::new(false),
                    vectors: Atomic::new(false),
                }),
                GFP_KERNEL,
            )?;
            // SAFETY: The name is static. devres aligns for any type.
            let new = unsafe {
                bindings::__devres_alloc_node(
                    Some(release),
                    size_of::<Entry>(),
                    bindings::GFP_KERNEL,
                    bindings::NUMA_NO_NODE,
                    c"nic::bound".as_char_ptr(),
                )
            };
            let new: *mut Entry = new.cast();
            if new.is_null() {
                return Err(ENOMEM);
            }
            let pointer = NonNull::from(&*record);
            // SAFETY: Just allocated, with room for a pointer.
            unsafe { new.write(pointer) };
            // SAFETY: A bound device, and an entry that is not in its list. C frees it, without
            // calling `release`, if another task was faster.
            let added =
                unsafe { bindings::devres_get(raw, new.cast(), None, core::ptr::null_mut()) };
            entry = added.cast();
            if entry == new {
                // The entry's reference.
                let _ = Arc::into_raw(record);
            }
        }
        // SAFETY: The entry stays in the list until the device is unbound, which does not happen as
        // long as `dev` exists; it owns a reference to the record.
        let record = unsafe {
            let record = core::mem::ManuallyDrop::new(Arc::from_raw((*entry).as_ptr()));
            Arc::clone(&record)
        };
        if !record.gate.enter() {
            return Err(ENODEV);
        }
        // INVARIANT: Just entered.
        Ok(Self(record))
    }

    /// Whether this is the first call since the device was bound.
    pub(crate) fn enable_once(&self) -> bool {
        !self.0.enabled.xchg(true, Full)
    }

    /// Claims the device's interrupt vectors, if nobody has.
    pub(crate) fn claim_vectors(&self) -> bool {
        !self.0.vectors.xchg(true, Full)
    }

    /// Undoes [`Held::claim_vectors`].
    pub(crate) fn release_vectors(&self) {
        self.0.vectors.xchg(false, Full);
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        // Cannot fail: it is closed by who waits for `self`, and until then counts one.
        self.0.gate.enter_again();
        // INVARIANT: Just entered.
        Self(self.0.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.gate.leave();
    }
}

/// Called when the device is unbound, after the driver's private data was dropped.
unsafe extern "C" fn release(dev: *mut bindings::device, entry: *mut c_void) {
    // SAFETY: `Held::new` has put a reference to a record there, which goes with the entry.
    let record = unsafe { Arc::from_raw((*entry.cast::<Entry>()).as_ptr()) };
    if record.gate.busy() {
        // SAFETY: A valid device, and `Device` is a transparent wrapper.
        let dev = unsafe { &*dev.cast::<Device>() };
        dev_err!(
            dev,
            "the driver keeps resources: unbinding waits until they are gone\n"
        );
    }
    record.gate.close();
}
