// SPDX-License-Identifier: GPL-2.0
//! Interrupt vectors and handlers that own what they need.
//!
//! `kernel::irq::Registration` borrows the bound device and its constructor is unsafe; a net_device requests its
//! interrupts when it is opened, far from probe. Here a [`Registration`] keeps the [`Vectors`] alive that its interrupt
//! belongs to, so that neither can outlive the other.

use crate::pci::as_raw;
use kernel::{
    bindings,
    device::Core,
    error::to_result,
    irq::IrqReturn,
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
pub struct Vectors {
    pdev: ARef<Device>,
    count: u32,
}

impl Vectors {
    /// Allocates between `min` and `max` vectors of one kind (`pci_alloc_irq_vectors`).
    ///
    /// # Errors
    ///
    /// `ENOSPC` if the device has fewer than `min`.
    pub fn alloc(pdev: &Device<Core<'_>>, min: u32, max: u32, kind: Kinds) -> Result<Arc<Self>> {
        Self::alloc_raw(pdev, min, max, kind)
    }

    /// As [`Vectors::alloc`], for a change of the number of queues in a callback of the network device.
    ///
    /// The old vectors must be gone, or this fails.
    pub fn realloc(pdev: &Device, min: u32, max: u32, kind: Kinds) -> Result<Arc<Self>> {
        Self::alloc_raw(pdev, min, max, kind)
    }

    fn alloc_raw(pdev: &Device, min: u32, max: u32, kind: Kinds) -> Result<Arc<Self>> {
        // SAFETY: `pdev` is valid. C refuses to allocate twice.
        let ret = unsafe { bindings::pci_alloc_irq_vectors(as_raw(pdev), min, max, kind.0) };
        to_result(ret)?;
        Ok(Arc::new(
            Self {
                pdev: pdev.into(),
                count: u32::try_from(ret)?,
            },
            GFP_KERNEL,
        )?)
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
        // SAFETY: Allocated by `alloc`; no handler is left, since each holds a reference.
        unsafe { bindings::pci_free_irq_vectors(as_raw(&*self.pdev)) }
    }
}

/// An interrupt handler, called in interrupt context.
pub trait Handler: Send + Sync {
    /// Handles the interrupt.
    fn handle(&self) -> IrqReturn;
}

/// An interrupt that is requested. Dropping it waits for a running handler.
pub struct Registration<H: Handler> {
    irq: Requested,
    handler: Pin<KBox<H>>,
}

impl<H: Handler> Registration<H> {
    /// Requests vector `index` under `name`, as it appears in `/proc/interrupts`.
    ///
    /// `shared` for a line interrupt, which other devices may share.
    pub fn new(
        vectors: &Arc<Vectors>,
        index: u32,
        name: CString,
        shared: bool,
        handler: H,
    ) -> Result<Self> {
        let handler = KBox::pin(handler, GFP_KERNEL)?;
        let data = core::ptr::from_ref::<H>(&handler).cast_mut().cast();
        // SAFETY: The callback gets `data`, a pinned `H` that outlives the request by the order of the fields.
        let irq =
            unsafe { Requested::new(vectors, index, name, shared, Some(callback::<H>), data)? };
        Ok(Self { irq, handler })
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Waits until no handler runs on any CPU.
    pub fn synchronize(&self) {
        self.irq.synchronize();
    }
}

extern "C" fn callback<H: Handler>(_irq: c_int, data: *mut c_void) -> raw::irqreturn_t {
    // SAFETY: `Registration::new` passes a pinned `H` that lives until `free_irq` has returned.
    let handler = unsafe { &*data.cast::<H>() };
    match handler.handle() {
        IrqReturn::None => raw::irqreturn::IRQ_NONE,
        IrqReturn::Handled => raw::irqreturn::IRQ_HANDLED,
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
