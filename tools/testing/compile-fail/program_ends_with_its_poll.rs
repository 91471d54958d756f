// SPDX-License-Identifier: GPL-2.0
//! A program is freed after a grace period, so it is borrowed for one poll.
//! misuse: E0597

use nic::net::{
    xdp::{ProgRef, ProgSlot},
    Napi, NapiRef, Poll,
};

pub struct Kept<'a>(pub Option<ProgRef<'a>>);

pub fn token() -> impl core::ops::Deref<Target = NapiRef> {
    unreachable() as &'static NapiRef
}

fn unreachable() -> ! {
    loop {}
}

pub fn f<P: Poll>(slot: &ProgSlot, _: &Napi<P>) {
    let mut kept = Kept(None);
    let first = token();
    kept.0 = slot.get(&first);
    {
        let poll = token();
        #[cfg(misuse)]
        {
            kept.0 = slot.get(&poll);
        }
        let _ = slot.get(&poll);
    }
    let _ = kept.0.is_some();
}
