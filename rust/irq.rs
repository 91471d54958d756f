// SPDX-License-Identifier: GPL-2.0
//! Interrupt vectors and requests that own what they need.
//!
//! `kernel::irq::Registration` borrows the bound device and its constructor is unsafe; a net_device
//! requests its interrupts when it is opened, far from probe. Here a request keeps the [`Vectors`]
//! alive that its interrupt belongs to, so that neither can outlive the other.

use crate::{
    bound::Held,
    pci::as_raw, //
};
use kernel::{
    bindings,
    device::Bound,
    error::to_result,
    pci::Device,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use nic_bindings as raw;

/// Kinds of interrupt that may be used, most wanted first by the PCI core: MSI-X, MSI, INTx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// The line interrupt.
    pub const INTX: Self = Self(1);
    /// Message signalled interrupts.
    pub const MSI: Self = Self(2);
    /// Message signalled interrupts with a vector table.
    pub const MSIX: Self = Self(4);
}

/// The interrupt vectors of a device. Dropping the last reference frees them.
///
/// # Invariants
///
/// The vectors of `pdev`, `count` of them, are allocated, and this has claimed them.
pub struct Vectors {
    pdev: ARef<Device>,
    count: u32,
    held: Held,
}

impl Vectors {
    /// Allocates between `min` and `max` vectors of one kind (`pci_alloc_irq_vectors`).
    ///
    /// # Errors
    ///
    /// `ENOSPC` if the device has fewer than `min`, `EBUSY` if it has other vectors already: C
    /// frees a device's vectors whoever asks for it, and some kinds it allocates twice.
    pub fn alloc(pdev: &Device<Bound>, min: u32, max: u32, kind: Kinds) -> Result<Arc<Self>> {
        let held = Held::new(pdev.as_ref())?;
        if !held.claim_vectors() {
            return Err(EBUSY);
        }
        // SAFETY: `pdev` is bound, and nobody else allocates or frees its vectors.
        let ret = unsafe { bindings::pci_alloc_irq_vectors(as_raw(pdev), min, max, kind.0) };
        let count = to_result(ret).and_then(|()| Ok(u32::try_from(ret)?));
        let count = count.inspect_err(|_| held.release_vectors())?;
        // INVARIANT: Just allocated. Without memory for this they are freed by its drop.
        let this = Self {
            pdev: (&**pdev).into(),
            count,
            held,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Linux interrupt number of vector `index`.
    pub fn irq(&self, index: u32) -> Result<u32> {
        if index >= self.count {
            return Err(EINVAL);
        }
        // SAFETY: The vectors of this device are allocated.
        let irq = unsafe { raw::nic_pci_irq_vector(as_raw(&*self.pdev), index) };
        to_result(irq)?;
        Ok(u32::try_from(irq)?)
    }
}

impl Drop for Vectors {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the vectors are this object's. No handler is left, since
        // each holds a reference.
        unsafe { bindings::pci_free_irq_vectors(as_raw(&*self.pdev)) };
        self.held.release_vectors();
    }
}

/// A requested interrupt and what it needs.
///
/// # Invariants
///
/// `irq` was requested with `cookie`, and with `name` as its name.
pub(crate) struct Requested {
    irq: u32,
    cookie: *mut c_void,
    _name: CString,
    _vectors: Arc<Vectors>,
}

// SAFETY: An interrupt can be freed from any task; the cookie is only passed back.
unsafe impl Send for Requested {}
// SAFETY: Shared references only allow `synchronize_irq`.
unsafe impl Sync for Requested {}

impl Requested {
    /// Requests an interrupt.
    ///
    /// # Safety
    ///
    /// `handler` may be called with `cookie` from now until the result is dropped.
    pub(crate) unsafe fn new(
        vectors: &Arc<Vectors>,
        index: u32,
        name: CString,
        shared: bool,
        handler: raw::irq_handler_t,
        cookie: *mut c_void,
    ) -> Result<Self> {
        let irq = vectors.irq(index)?;
        let flags = if shared { raw::IRQF_SHARED } else { 0 };
        // SAFETY: By the safety requirement. The name lives in this object, until after `free_irq`.
        to_result(unsafe {
            raw::nic_request_irq(
                irq,
                handler,
                flags as c_ulong,
                name.as_char_ptr().cast(),
                cookie,
            )
        })?;
        // INVARIANT: Just requested.
        Ok(Self {
            irq,
            cookie,
            _name: name,
            _vectors: vectors.clone(),
        })
    }

    pub(crate) fn synchronize(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::synchronize_irq(self.irq) }
    }

    pub(crate) fn irq(&self) -> u32 {
        self.irq
    }
}

impl Drop for Requested {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; waits for a running handler.
        unsafe { bindings::free_irq(self.irq, self.cookie) };
    }
}
