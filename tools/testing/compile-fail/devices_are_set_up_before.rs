// SPDX-License-Identifier: GPL-2.0
//! A network device is set up before it is registered.
//! misuse: E0599

use kernel::prelude::*;
use nic::net::{Driver, Registration, Setup, Unregistered};

pub fn f<D: Driver>(mut dev: Unregistered<D>, s: &Setup) -> Result<Registration<D>> {
    dev.setup(s);
    let mut reg = dev.register()?;
    #[cfg(misuse)]
    reg.setup(s);
    let _ = &mut reg;
    Ok(reg)
}
