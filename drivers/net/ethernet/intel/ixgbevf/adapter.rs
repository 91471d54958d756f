// SPDX-License-Identifier: GPL-2.0
//! The private data of an interface.

use crate::{
    hw::Hw,
    marking::Migration,
    rx::{
        BUFFER_LEN,
        LEGACY_BUFFER_LEN, //
    },
    stats::{
        HwStats,
        RxStats,
        TxStats, //
    },
    vector::Vector,
    vlans::Vlans, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc,
        Mutex, //
    },
    time::{
        Instant,
        Monotonic, //
    },
};
use libixgbe::{
    mbx::{
        XcastMode,
        MAX_VF_MC_ENTRIES, //
    },
    rss::Key,
    vf::{
        Link,
        Missing,
        RxFilters,
        Vf, //
    },
};
use nic::{
    irq::Vectors,
    net::{
        xdp::ProgSlot,
        Counter,
        HwAddrs,
        Interrupt,
        MacAddr,
        Napi, //
    },
    sync::Once, //
};

/// Most queues of each kind (`IXGBE_VF_MAX_TX_QUEUES`).
pub(crate) const MAX_QUEUES: usize = 8;
/// Default ring length (`IXGBEVF_DEFAULT_TXD`).
pub(crate) const DEFAULT_TXD: u32 = 1024;
/// Default ring length (`IXGBEVF_DEFAULT_RXD`).
pub(crate) const DEFAULT_RXD: u32 = 512;

/// Requests to the service task, from any context.
pub(crate) struct Events(Atomic<u32>);

impl Events {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// The function is to be reset and set up again.
    pub(crate) const RESET: u32 = 1 << 0;
    /// The mailbox interrupt came.
    pub(crate) const MAILBOX: u32 = 1 << 1;
    /// The PF gave the VF another address: the stack is to be told.
    pub(crate) const ADDRESS: u32 = 1 << 2;

    /// Asks for `event`.
    pub(crate) fn set(&self, event: u32) {
        self.0.update(|e| e | event);
    }

    /// Takes `event` back; whether it was set.
    pub(crate) fn take(&self, event: u32) -> bool {
        self.0.update(|e| e & !event) & event != 0
    }
}

/// Addresses to be received, as many as the PF can be asked for one by one.
pub(crate) struct AddrList<const N: usize> {
    addrs: [MacAddr; N],
    len: usize,
    /// The stack wants more.
    more: bool,
}

impl<const N: usize> AddrList<N> {
    const fn new() -> Self {
        Self {
            addrs: [[0; 6]; N],
            len: 0,
            more: false,
        }
    }

    /// Takes over the stack's list.
    pub(crate) fn set(&mut self, list: &HwAddrs<'_>) {
        let count = list.copy_to(&mut self.addrs);
        self.len = count.min(N);
        self.more = count > N;
    }

    /// The addresses.
    fn as_slice(&self) -> &[MacAddr] {
        self.addrs.get(..self.len).unwrap_or_default()
    }
}

/// Most unicast addresses that are asked for besides the interface's own; the PF may grant less.
const MAX_UC: usize = 16;

/// What the stack asked to receive.
pub(crate) struct Filters {
    pub(crate) mode: XcastMode,
    pub(crate) mc: AddrList<MAX_VF_MC_ENTRIES>,
    pub(crate) uc: AddrList<MAX_UC>,
}

impl Filters {
    pub(crate) const fn new() -> Self {
        Self {
            mode: XcastMode::Multi,
            mc: AddrList::new(),
            uc: AddrList::new(),
        }
    }

    /// As the PF is asked for them.
    pub(crate) fn wanted(&self) -> RxFilters<'_> {
        RxFilters {
            mode: self.mode,
            groups: self.mc.as_slice(),
            more_groups: self.mc.more,
            unicast: self.uc.as_slice(),
            more_unicast: self.uc.more,
        }
    }
}

/// What the PF has refused and the user was told of: each is said once, until it was granted.
#[derive(Default)]
pub(crate) struct Refused {
    pub(crate) filters: Missing,
    pub(crate) address: bool,
    pub(crate) frame: bool,
    pub(crate) vlans: bool,
}

/// What exists while the interface is up.
pub(crate) struct Up {
    /// One per queue pair.
    pub(crate) napis: KVec<Napi<Vector>>,
    /// The mailbox vector.
    pub(crate) other: Option<Interrupt>,
    /// Bit of the mailbox vector.
    pub(crate) eims_other: u32,
    /// Bits of all vectors.
    pub(crate) eims: u32,
}

/// What only one task at a time may use: settings, mailbox, rings.
pub(crate) struct State {
    pub(crate) vf: Vf,
    /// Queue pairs in use.
    pub(crate) queues: u32,
    /// Queues for XDP: none, or one per pair.
    pub(crate) xdp_queues: u32,
    pub(crate) vectors: Option<Arc<Vectors>>,
    pub(crate) up: Option<Up>,
    /// The stack wants the interface up, even if a reset has failed so far.
    pub(crate) want_up: bool,
    /// The function is stopped and the PF has not answered since.
    pub(crate) stopped: bool,
    pub(crate) tx_ring_count: u32,
    pub(crate) rx_ring_count: u32,
    pub(crate) rx_itr_setting: u16,
    /// The private flag `legacy-rx`.
    pub(crate) legacy_rx: bool,
    pub(crate) mac: MacAddr,
    pub(crate) filters: Filters,
    pub(crate) link: Link,
    /// Whether the administrator lets the link be up.
    pub(crate) link_state: bool,
    pub(crate) hw_stats: HwStats,
    pub(crate) refused: Refused,
    /// A request got no answer: the PF may or may not have done it. After a reset both sides know
    /// again.
    pub(crate) unsure: bool,
    /// When the function was last reset.
    pub(crate) last_reset: Instant<Monotonic>,
    pub(crate) tx_timeout_count: u64,
    pub(crate) migration: Migration,
    /// Key of the VF's RSS, of a chip whose VFs have their own.
    pub(crate) own_rss: Option<Key>,
}

impl State {
    /// Bytes that the device may write to a receive buffer.
    pub(crate) fn rx_buffer_len(&self) -> u32 {
        if self.legacy_rx {
            LEGACY_BUFFER_LEN
        } else {
            BUFFER_LEN
        }
    }
}

/// The private data of an interface.
#[pin_data]
pub(crate) struct Adapter {
    pub(crate) hw: Hw,
    pub(crate) events: Events,
    /// Bit of the mailbox vector, for its handler.
    pub(crate) eims_other: Atomic<u32>,
    pub(crate) vlans: Vlans,
    pub(crate) xdp_prog: ProgSlot,
    pub(crate) tx_stats: [TxStats; MAX_QUEUES],
    pub(crate) rx_stats: [RxStats; MAX_QUEUES],
    /// Of the queues for XDP.
    pub(crate) xdp_stats: [TxStats; MAX_QUEUES],
    /// Message level, kept for the user only: messages are few and go by `dev_dbg`.
    pub(crate) msg_level: Counter,
    /// Multicast frames received, copied out of the state for `get_stats64`, which may not sleep.
    pub(crate) multicast: Counter,
    #[pin]
    pub(crate) state: Mutex<State>,
}

impl Adapter {
    pub(crate) fn new(hw: Hw, state: State) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            hw,
            events: Events::new(),
            eims_other: Atomic::new(0),
            vlans: Vlans::new(),
            xdp_prog: ProgSlot::new(),
            xdp_stats: Default::default(),
            tx_stats: Default::default(),
            rx_stats: Default::default(),
            msg_level: Counter::new(),
            multicast: Counter::new(),
            state <- new_mutex!(state, "ixgbevf::state"),
        })
    }
}
