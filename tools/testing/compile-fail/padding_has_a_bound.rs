// SPDX-License-Identifier: GPL-2.0
//! A frame is padded to the length of the shortest Ethernet frame at most.
//! misuse: E0080

use nic::net::SkBuff;

pub fn f(skb: SkBuff) -> Option<SkBuff> {
    #[cfg(not(misuse))]
    return skb.pad_to::<60>();
    #[cfg(misuse)]
    return skb.pad_to::<61>();
}
