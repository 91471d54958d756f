// SPDX-License-Identifier: GPL-2.0
//! The VFIO device: a C `vfio_pci_core_device` with a driver's Rust state behind it.

use crate::{
    id::IdTable,
    log,
    memory::Memory,
    migration::{
        Machine,
        State, //
    },
    stream::{
        Alive,
        Fd,
        Source, //
    },
    work::Work, //
};
use core::{
    mem::MaybeUninit,
    pin::Pin, //
};
use kernel::{
    bindings,
    device::Core,
    prelude::*,
    sync::Arc,
    types::Opaque,
    ModuleMetadata, //
};
use nic_bindings as raw;

/// A VFIO variant driver.
///
/// Every method that gets a `session` runs under the state lock of its device.
pub trait Driver: Sized + Send + Sync + 'static {
    /// The module, which its open files keep loaded.
    type Module: ModuleMetadata + 'static;

    /// What belongs to one use of the device: open migration files, the dirty log.
    type Session: Send + Unpin + 'static;

    /// Name of the VFIO device operations.
    const NAME: &'static CStr;

    /// Devices that this driver drives, when asked to.
    const ID_TABLE: IdTable;

    /// Makes the state of a device that is being bound.
    fn new(pdev: &kernel::pci::Device<Core<'_>>) -> Result<Self>;

    /// Makes an empty session.
    fn session() -> Self::Session;

    /// Whether this device offers migration and DMA logging; without it, it behaves as with
    /// vfio-pci. Asked once, when the device is bound.
    fn migratable(&self) -> bool;

    /// The device was opened.
    fn open(&self, session: &mut Self::Session);

    /// The device is being closed: open files must fail from now on.
    fn close(&self, session: &mut Self::Session);

    /// Takes one step of the state machine, one of those that `vfio_mig_get_next_state()` can ask
    /// for.
    fn step(
        device: &Device<Self>,
        session: &mut Self::Session,
        from: State,
        to: State,
    ) -> Result<Option<Fd>>;

    /// Estimated bytes of the state that is read while the device stands.
    fn data_size(&self) -> usize;

    /// DMA logging begins for `ranges`. The result is the page size that is reported, in bytes.
    fn log_start(
        device: &Device<Self>,
        session: &mut Self::Session,
        ranges: log::Ranges<'_>,
        page_size: u64,
    ) -> Result<u64>;

    /// DMA logging ends. May be called when it had not begun.
    fn log_stop(&self, session: &mut Self::Session);

    /// Reports what may have been written in `first..=last` and not reported yet.
    fn log_read(
        device: &Device<Self>,
        session: &mut Self::Session,
        first: u64,
        last: u64,
        dirty: &mut log::Bitmap<'_>,
    ) -> Result;

    /// Called by a kernel thread once DMA logging has begun, and again after as many microseconds
    /// as it returns. `None`: not before logging begins once more.
    fn work(_device: &Device<Self>, _session: &mut Self::Session) -> Option<u64> {
        None
    }

    /// The device was reset; it is in [`State::Running`] now. May run with VFIO's memory lock held.
    fn reset(&self, session: &mut Self::Session);
}

/// What lies behind the C device.
#[pin_data]
pub(crate) struct Inner<T: Driver> {
    pub(crate) driver: T,
    #[pin]
    pub(crate) machine: Machine<T::Session>,
    #[pin]
    pub(crate) memory: Memory,
    #[pin]
    pub(crate) work: Work<T>,
    pub(crate) alive: Arc<Alive>,
}

/// A VFIO device of driver `T`.
///
/// # Invariants
///
/// Memory of a `Device` is made by `_vfio_alloc_device`, so `core` is first and is initialised by
/// C. `inner` is initialised from the end of a successful `init` callback to the `release`
/// callback.
#[repr(C)]
pub struct Device<T: Driver> {
    pub(crate) core: Opaque<raw::vfio_pci_core_device>,
    pub(crate) inner: Opaque<MaybeUninit<Inner<T>>>,
}

// SAFETY: The C device is made to be used from several threads, and `Inner` holds only `Send` and
// `Sync` parts or parts behind locks.
unsafe impl<T: Driver> Send for Device<T> {}
// SAFETY: The same, and C locks what it shares.
unsafe impl<T: Driver> Sync for Device<T> {}

impl<T: Driver> Device<T> {
    /// The device behind a bound `pdev`.
    ///
    /// # Safety
    ///
    /// `pdev` is bound to this driver, and stays so while the reference lives.
    pub(crate) unsafe fn of<'a>(pdev: *mut bindings::pci_dev) -> &'a Self {
        // SAFETY: By the safety requirement the private data is what `register` stored.
        unsafe { &*bindings::dev_get_drvdata(&raw mut (*pdev).dev).cast() }
    }

    /// # Safety
    ///
    /// `vdev` is the argument of a callback in [`Self::OPS`] or in the operations that `init` sets,
    /// after `init`.
    pub(crate) unsafe fn from_vdev<'a>(vdev: *mut raw::vfio_device) -> &'a Self {
        // SAFETY: `vdev` is first in the C device, which is first in `Self`.
        unsafe { &*vdev.cast() }
    }

    fn inner(&self) -> Pin<&Inner<T>> {
        // SAFETY: By the type invariant it is initialised whenever a reference to the device
        // exists, and it is never moved.
        unsafe { Pin::new_unchecked((*self.inner.get()).assume_init_ref()) }
    }

    /// The driver's state.
    pub fn driver(&self) -> &T {
        &self.inner().get_ref().driver
    }

    pub(crate) fn machine(&self) -> &Machine<T::Session> {
        &self.inner().get_ref().machine
    }

    /// Guest memory, as far as it can be read.
    pub fn memory(&self) -> &Memory {
        &self.inner().get_ref().memory
    }

    pub(crate) fn work(&self) -> &Work<T> {
        &self.inner().get_ref().work
    }

    pub(crate) fn vdev(&self) -> *mut raw::vfio_device {
        self.core.get().cast()
    }

    /// The PCI device.
    pub fn pdev(&self) -> &kernel::pci::Device {
        // SAFETY: The PCI device outlives the VFIO device, and `Device` is a transparent wrapper of
        // it.
        unsafe { &*(*self.core.get()).pdev.cast() }
    }
}

impl<T: Driver> Source for Device<T> {
    type Module = T::Module;
    const NAME: &'static CStr = T::NAME;

    fn alive(&self) -> &Arc<Alive> {
        &self.inner().get_ref().alive
    }
}
