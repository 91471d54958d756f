// SPDX-License-Identifier: GPL-2.0
//! Interrupt vectors are allocated for a device that is bound.
//! misuse: E0308

use kernel::{device::Bound, pci::Device, prelude::*};
use nic::irq::{Kinds, Vectors};

pub fn f(bound: &Device<Bound>, any: &Device) -> Result {
    Vectors::alloc(bound, 1, 1, Kinds::MSIX)?;
    #[cfg(misuse)]
    Vectors::alloc(any, 1, 1, Kinds::MSIX)?;
    let _ = any;
    Ok(())
}
