// SPDX-License-Identifier: GPL-2.0
//! Only a poll frees frames the way that a poll may.
//! misuse: E0308

use nic::net::{Cleaned, NapiRef, NapiSetup, TxConsumer};

pub fn f(tx: &mut TxConsumer, napi: &NapiRef, setup: &NapiSetup) -> Cleaned {
    #[cfg(misuse)]
    let _ = tx.clean(64, Some(setup), |_| true);
    let _ = setup;
    tx.clean(64, Some(napi), |_| true)
}
