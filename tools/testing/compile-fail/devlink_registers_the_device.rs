// SPDX-License-Identifier: GPL-2.0
//! A device that is registered already is not registered by way of devlink.
//! misuse: E0308

use kernel::prelude::*;
use nic::{
    devlink,
    net::{Registration, Unregistered},
};

pub fn f<D: devlink::Ops>(new: Unregistered<D>, old: Registration<D>) -> Result {
    drop(devlink::Registration::new(new, 0)?);
    #[cfg(misuse)]
    drop(devlink::Registration::new(old, 0)?);
    let _ = &old;
    Ok(())
}
