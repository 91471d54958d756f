// SPDX-License-Identifier: GPL-2.0
//! A network device is registered once.
//! misuse: E0382

use kernel::prelude::*;
use nic::net::{Driver, Registration, Unregistered};

pub fn f<D: Driver>(dev: Unregistered<D>) -> Result<Registration<D>> {
    let reg = dev.register()?;
    #[cfg(misuse)]
    dev.register()?;
    Ok(reg)
}
