// SPDX-License-Identifier: GPL-2.0
//! A buffer of a page pool is added to a frame that is made for them only.
//! misuse: E0308

use nic::net::{Done, Partial, SkBuff};

pub fn f(done: Done<'_>, frame: &mut Partial, skb: &mut SkBuff) {
    #[cfg(not(misuse))]
    done.append(frame, 60);
    #[cfg(misuse)]
    done.append(skb, 60);
    let _ = (frame, skb);
}
