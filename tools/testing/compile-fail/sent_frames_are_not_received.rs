// SPDX-License-Identifier: GPL-2.0
//! What the stack sends is not handed to it as received.
//! misuse: E0599

use nic::net::{DropReason, NapiRef, RxMeta, SkBuff};

pub fn f(skb: SkBuff, napi: &NapiRef) {
    #[cfg(not(misuse))]
    skb.free(DropReason::NOT_SPECIFIED);
    #[cfg(misuse)]
    skb.receive(napi, &RxMeta::new());
    let _ = napi;
}
