// SPDX-License-Identifier: GPL-2.0
//! What C allocates once is not asked of the driver twice.
//! misuse: E0599

use nic::net::{ethtool::Ops, Device};

pub fn f<D: Ops>(dev: &Device<D>) -> u32 {
    #[cfg(misuse)]
    let _ = D::rxfh_indir_size(dev);
    let _ = dev;
    D::RXFH_INDIR_SIZE
}
