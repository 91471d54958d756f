// SPDX-License-Identifier: GPL-2.0
//! A VF is looked up at its PF in a callback, which keeps the PF bound.
//! misuse: E0308

use ixgbe_migration::client::Vf;
use kernel::{device::Core, pci::Device, prelude::*};

pub fn f(core: &Device<Core<'_>>, any: &Device) -> Result {
    drop(Vf::get(core)?);
    #[cfg(misuse)]
    drop(Vf::get(any)?);
    let _ = any;
    Ok(())
}
