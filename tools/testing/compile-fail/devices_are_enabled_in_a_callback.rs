// SPDX-License-Identifier: GPL-2.0
//! A device is enabled in a callback of its driver.
//! misuse: E0308

use kernel::{
    device::{Bound, Core},
    dma::DmaMask,
    pci::Device,
    prelude::*,
};
use nic::pci::Enabled;

pub fn f(core: &Device<Core<'_>>, bound: &Device<Bound>) -> Result {
    drop(Enabled::new(core, c"x", DmaMask::new::<64>())?);
    #[cfg(misuse)]
    drop(Enabled::new(bound, c"x", DmaMask::new::<64>())?);
    let _ = bound;
    Ok(())
}
