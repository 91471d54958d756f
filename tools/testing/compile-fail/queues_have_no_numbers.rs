// SPDX-License-Identifier: GPL-2.0
//! What is sent is accounted by the ring, which knows its queue and what is in it.
//! misuse: E0599

use nic::net::{Device, Driver, TxProducer};

pub fn f<D: Driver>(dev: &Device<D>, tx: &mut TxProducer) {
    tx.room().make(1);
    #[cfg(misuse)]
    dev.tx_completed(0, 1, 1500, true);
    let _ = dev;
}
