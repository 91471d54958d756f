// SPDX-License-Identifier: GPL-2.0
//! Network devices.
//!
//! A driver implements [`Driver`] for the private data of its device, allocates an [`Unregistered`]
//! one, makes it a [`Registration`], and from then on is called back. Per transmit queue it owns a
//! [`Driver::TxQueue`], which the core lends to [`Driver::start_xmit`] exclusively, because it
//! holds the queue's lock anyway. Per interrupt vector it owns a [`Napi`], whose data is lent to
//! [`Poll::poll`] exclusively, because one poll at a time owns the instance; the borrow ends before
//! the instance is given back. So neither path needs a lock of its own. [`TxRing`] splits a
//! transmit ring into the half for the one and the half for the other.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

mod callbacks;
mod dev_ref;
mod device;
pub mod ethtool;
pub mod features;
mod instance;
mod napi;
mod ops;
mod page_pool;
mod registration;
mod rtnl;
mod rx;
mod skb;
mod stats;
mod tx;
pub mod xdp;

pub use self::dev_ref::DevRef;
pub use self::device::{
    Handle,
    Interrupt,
    Name, //
};
pub use self::instance::{
    NapiIdle,
    NapiRef,
    NapiSetup, //
};
pub use self::napi::{
    Napi,
    Poll,
    Polled,
    Unmask, //
};
pub use self::ops::{
    AddrLists,
    Device,
    Driver,
    HwAddrs,
    LinkStats,
    QueueStats,
    TxResult,
    VfConfig,
    VfStats, //
};
pub(crate) use self::registration::Owned;
pub use self::registration::{
    Registration,
    Setup,
    Unregistered, //
};
pub use self::rtnl::{
    Rtnl,
    RtnlGuard, //
};
pub use self::rx::{
    Done,
    Fill,
    Next,
    Passed,
    Received,
    RxIdle,
    RxPoll,
    RxRing,
    Verdict,
    WriteBack, //
};
pub use self::skb::{
    DropReason,
    HashType,
    Partial,
    RxMeta,
    SkBuff,
    SkbRef,
    Tso,
    MAX_SKB_FRAGS, //
};
pub use self::stats::Counter;
pub use self::tx::{
    Cleaned,
    Sent,
    TxConsumer,
    TxProducer,
    TxRing,
    TxRoom, //
};

/// Bytes of an Ethernet address.
pub const ETH_ALEN: usize = 6;

/// An Ethernet address.
pub type MacAddr = [u8; ETH_ALEN];

/// Whether `addr` can be the address of an interface: neither zero nor multicast.
pub fn is_valid_ether_addr(addr: &MacAddr) -> bool {
    addr[0] & 1 == 0 && *addr != [0; ETH_ALEN]
}

/// A random locally administered unicast address, as `eth_random_addr()` makes.
pub fn random_ether_addr() -> MacAddr {
    let mut addr = [0u8; ETH_ALEN];
    // SAFETY: `addr` is valid for writes of its length.
    unsafe { kernel::bindings::get_random_bytes(addr.as_mut_ptr().cast(), ETH_ALEN) };
    addr[0] = (addr[0] & 0xfe) | 0x02;
    addr
}

/// Fills `key` with the system's RSS key (`netdev_rss_key_fill`); at most 256 bytes.
pub fn rss_key_fill(key: &mut [u8]) {
    let len = key.len().min(256);
    // SAFETY: `key` is valid for writes of `len` bytes.
    unsafe { nic_bindings::netdev_rss_key_fill(key.as_mut_ptr().cast(), len) };
}

/// Whether the kernel log may be written to now for something that a guest or a user can bring
/// about at will (`net_ratelimit()`: by default 10 times in 5 seconds, the sysctls
/// `net.core.message_burst` and `message_cost`).
pub fn ratelimit() -> bool {
    // SAFETY: It may be called in any context.
    unsafe { nic_bindings::net_ratelimit() != 0 }
}

/// The system's tick (`jiffies`).
#[inline]
pub fn jiffies() -> u64 {
    // CAST: 64 bits where this builds.
    // SAFETY: A word that the timer interrupt counts; reading it is one load.
    unsafe { (&raw const kernel::bindings::jiffies).read_volatile() as u64 }
}

/// Number of CPUs that are online.
pub fn num_online_cpus() -> u32 {
    // SAFETY: No requirements.
    unsafe { nic_bindings::nic_num_online_cpus() }
}
