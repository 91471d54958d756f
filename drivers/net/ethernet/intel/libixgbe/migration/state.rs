// SPDX-License-Identifier: GPL-2.0
//! The live form of a stopped VF: what capture fills, what decode vouches for, and what restore programs.

use core::fmt;

use crate::mbx_ext::RegisterQueue;
use crate::mbx_ext::MAX_QUEUES;
use crate::mbx_ext::MBX_WORDS;
use crate::regs;
use crate::rss::Key;
use crate::rss::POOL_ENTRIES;

/// Unicast filters beyond the VF's own MAC that a state can carry; the C PF has 15 for all VFs together.
pub const MAX_UNICAST: usize = 32;
/// VLAN filters of the device (VLVF).
pub const MAX_VLANS: usize = 64;
/// Multicast hashes in a `SET_MULTICAST` message (`IXGBE_MAX_VF_MC_ENTRIES`).
pub const MAX_MULTICAST: usize = 30;
/// Vectors of a VF.
pub const VECTORS: u32 = 3;

/// Which frames beyond its filters a VF receives; the numbers of `enum ixgbevf_xcast_modes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Xcast {
    /// None.
    None = 0,
    /// Multicast that its hashes select.
    Multi = 1,
    /// All multicast: needs trust.
    AllMulti = 2,
    /// Everything: needs trust.
    Promisc = 3,
}

impl Xcast {
    /// The mode with this number.
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::None),
            1 => Some(Self::Multi),
            2 => Some(Self::AllMulti),
            3 => Some(Self::Promisc),
            _ => None,
        }
    }
}

/// A list of at most `N` items, without allocation.
#[derive(Clone, Copy)]
pub struct List<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T: Copy + fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl<T: Copy + PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Copy + Eq, const N: usize> Eq for List<T, N> {}

impl<T: Copy, const N: usize> List<T, N> {
    /// An empty list; `filler` is never seen.
    pub const fn new(filler: T) -> Self {
        Self {
            items: [filler; N],
            len: 0,
        }
    }

    /// Adds `item`, or returns false if the list is full.
    #[must_use]
    pub fn push(&mut self, item: T) -> bool {
        match self.items.get_mut(self.len) {
            Some(slot) => {
                *slot = item;
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// The items.
    pub fn as_slice(&self) -> &[T] {
        self.items.get(..self.len).unwrap_or(&[])
    }

    /// Removes all items.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

/// What the VF is, seen by the guest; the destination must offer the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PCI device of the VF.
    pub device: u16,
    /// Queues of each pool: 2, 4 or 8.
    pub queues_per_pool: u16,
    /// Queue pairs that the PF told the VF it may use.
    pub queue_pairs: u16,
    /// Mailbox API, major in bits 15:8 and minor in 7:0; 0 if none.
    pub api: u16,
    /// Mailbox features granted.
    pub features: u32,
    /// Largest frame that the VF may receive, bytes.
    pub max_frame: u32,
}

/// Host policy for a VF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The host set the MAC address.
    pub admin_mac: bool,
    /// The VF is trusted.
    pub trusted: bool,
    /// Spoof check is on.
    pub spoofchk: bool,
    /// VLAN id of the port VLAN, 0 if none.
    pub port_vlan: u16,
    /// Priority of the port VLAN.
    pub port_qos: u16,
}

/// What the administrator says about the VF's link (`IFLA_VF_LINK_STATE_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Link {
    /// As the PF's.
    #[default]
    Auto = 0,
    /// Always up.
    Enable = 1,
    /// Always down.
    Disable = 2,
}

impl Link {
    /// The setting with this number.
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Auto),
            1 => Some(Self::Enable),
            2 => Some(Self::Disable),
            _ => None,
        }
    }
}

/// More host policy for a VF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The VF's link.
    pub link: Link,
    /// Mb/s that the VF may send, 0 for no limit.
    pub tx_rate: u16,
}

/// One Rx queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxQueue {
    /// DMA address of the ring, 128-byte aligned.
    pub base: u64,
    /// Bytes of the ring, a multiple of 128.
    pub length: u32,
    /// Next descriptor that the device fills.
    pub head: u32,
    /// First descriptor that the device does not own.
    pub tail: u32,
    /// SRRCTL
    pub srrctl: u32,
    /// RXDCTL before the queue was stopped.
    pub rxdctl: u32,
}

/// One Tx queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxQueue {
    /// DMA address of the ring, 128-byte aligned.
    pub base: u64,
    /// DMA address of the head write-back, bit 0: on.
    pub writeback: u64,
    /// Bytes of the ring, a multiple of 128.
    pub length: u32,
    /// Next descriptor that the device sends.
    pub head: u32,
    /// First descriptor that the device does not own.
    pub tail: u32,
    /// TXDCTL before the queue was stopped, and [`TxQueue::INTERRUPTED`].
    pub txdctl: u32,
}

/// Bytes of a descriptor, Rx and Tx.
pub const DESCRIPTOR_BYTES: u32 = 16;

impl RxQueue {
    /// A queue that does not run.
    pub const OFF: Self = Self {
        base: 0,
        length: 0,
        head: 0,
        tail: 0,
        srrctl: 0,
        rxdctl: 0,
    };

    /// Whether the queue ran.
    pub const fn enabled(&self) -> bool {
        self.rxdctl & regs::RXDCTL_ENABLE != 0
    }

    /// Descriptors of the ring.
    pub const fn entries(&self) -> u32 {
        self.length / DESCRIPTOR_BYTES
    }
}

impl TxQueue {
    /// Bit of [`Self::txdctl`] that TXDCTL does not have (8.2.3.9.10): the queue was stopped before it had sent all that it
    /// was given. Context descriptors that it had taken are known to the device that took them, and the PF cannot see
    /// whether a frame that is still to be sent needs one. Such a queue is not set going at its head: that frame would
    /// leave without its tag or its segmentation. Its guest sends whole frames again, or resets the VF.
    pub const INTERRUPTED: u32 = 1 << 27;

    /// A queue that does not run.
    pub const OFF: Self = Self {
        base: 0,
        writeback: 0,
        length: 0,
        head: 0,
        tail: 0,
        txdctl: 0,
    };

    /// Whether the queue ran.
    pub const fn enabled(&self) -> bool {
        self.txdctl & regs::TXDCTL_ENABLE != 0
    }

    /// Whether it stands amid what it was to send, see [`Self::INTERRUPTED`].
    pub const fn interrupted(&self) -> bool {
        self.txdctl & Self::INTERRUPTED != 0
    }

    /// For another device: a batch of write-backs that WTHRESH asks for ends there with its size only, because VTEITR does not
    /// move along, so that the guest would take what waits for a hang (`ixgbe_configure_tx_ring` of the C driver, which
    /// sets WTHRESH to 1 where there is no interval).
    pub const fn unbatched(self) -> Self {
        const FIELD: u32 = 0x7f << regs::TXDCTL_WTHRESH_SHIFT;
        let one = if self.txdctl & FIELD == 0 {
            0
        } else {
            1 << regs::TXDCTL_WTHRESH_SHIFT
        };
        Self {
            txdctl: self.txdctl & !FIELD | one,
            ..self
        }
    }

    /// TXDCTL as the device has it.
    pub const fn control(&self) -> u32 {
        self.txdctl & !Self::INTERRUPTED
    }

    /// Descriptors of the ring.
    pub const fn entries(&self) -> u32 {
        self.length / DESCRIPTOR_BYTES
    }
}

/// Interrupt registers of a VF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// VTEIMS
    pub eims: u32,
    /// VTEIAC
    pub eiac: u32,
    /// VTEIAM
    pub eiam: u32,
    /// VTIVAR(0)
    pub ivar: u32,
    /// VTIVAR_MISC
    pub ivar_misc: u32,
    /// VFPSRTYPE
    pub psrtype: u32,
}

/// Mailbox of a VF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// The VF asked, the PF has not answered.
    pub request: bool,
    /// The PF sent, the VF has not acknowledged.
    pub pf_message: bool,
    /// Clear to send.
    pub cts: bool,
    /// The VF holds the mailbox: it was stopped while it wrote a request, or read a message.
    pub held: bool,
    /// The VF is to be told that something changed.
    pub ping: bool,
    /// Last number that a PF gave to one of its messages to this VF, 0 if none did.
    pub number: u32,
    /// PFMBMEM
    pub words: [u32; MBX_WORDS],
}

/// What a VF receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    /// The VF's own MAC address, all zero if it has none.
    pub mac: [u8; 6],
    /// Frames beyond the filters.
    pub xcast: Xcast,
    /// VFRE and VFTE.
    pub enabled: bool,
    /// Further unicast addresses.
    pub unicast: List<[u8; 6], MAX_UNICAST>,
    /// VLAN ids.
    pub vlans: List<u16, MAX_VLANS>,
    /// Multicast hashes, 12 bits each.
    pub multicast: List<u16, MAX_MULTICAST>,
}

/// Counters of a VF since it was created, over all its hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Multicast frames received.
    pub rx_multicast: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// What of re-arming its rings a guest still owes, see [`super::format::Rearm`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rearm {
    /// Number of the message that is out, 0 if none is.
    pub generation: u32,
    /// The guest has acknowledged it.
    pub taken: bool,
    /// Rx queues that it names and that stand parked.
    pub asked_rx: u32,
    /// Tx queues likewise.
    pub asked_tx: u32,
    /// All Rx queues that stand parked.
    pub rx: u32,
    /// All Tx queues likewise.
    pub tx: u32,
}

impl Rearm {
    /// Nothing.
    pub const NONE: Self = Self {
        generation: 0,
        taken: false,
        asked_rx: 0,
        asked_tx: 0,
        rx: 0,
        tx: 0,
    };
}

/// RSS of a VF that has its own, see [`crate::chip::Chip::has_rss_of_pools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRss {
    /// VFMRQC
    pub mrqc: u32,
    /// VFRSSRK
    pub key: Key,
    /// VFRETA: queue of the VF for each hash, modulo 64.
    pub table: [u8; POOL_ENTRIES],
}

impl OwnRss {
    /// That of a VF that spreads nothing.
    pub const OFF: Self = Self {
        mrqc: 0,
        key: [0; 10],
        table: [0; POOL_ENTRIES],
    };
}

/// A whole stopped VF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VfState {
    /// What the guest sees.
    pub identity: Identity,
    /// What the source's host allowed.
    pub policy: Policy,
    /// Likewise.
    pub limits: Limits,
    /// Rx queues of the pool, [`Identity::queues_per_pool`] of them.
    pub rx: [RxQueue; MAX_QUEUES],
    /// Tx queues likewise.
    pub tx: [TxQueue; MAX_QUEUES],
    /// Interrupt registers.
    pub interrupts: Interrupts,
    /// Mailbox.
    pub mailbox: Mailbox,
    /// Filters.
    pub filters: Filters,
    /// Shadow arrays, by Rx queue.
    pub registrations: [Option<RegisterQueue>; MAX_QUEUES],
    /// Rings that the guest has still to re-arm.
    pub rearm: Rearm,
    /// RSS of its own; `None` where all share the PF's.
    pub rss: Option<OwnRss>,
    /// Counters.
    pub statistics: Statistics,
}

impl VfState {
    /// A VF after a reset, with no queue running.
    pub const EMPTY: Self = Self {
        identity: Identity {
            device: 0,
            queues_per_pool: 2,
            queue_pairs: 1,
            api: 0,
            features: 0,
            max_frame: 0,
        },
        policy: Policy {
            admin_mac: false,
            trusted: false,
            spoofchk: true,
            port_vlan: 0,
            port_qos: 0,
        },
        limits: Limits {
            link: Link::Auto,
            tx_rate: 0,
        },
        rx: [RxQueue::OFF; MAX_QUEUES],
        tx: [TxQueue::OFF; MAX_QUEUES],
        interrupts: Interrupts {
            eims: 0,
            eiac: 0,
            eiam: 0,
            ivar: 0,
            ivar_misc: 0,
            psrtype: 0,
        },
        mailbox: Mailbox {
            request: false,
            pf_message: false,
            cts: false,
            held: false,
            ping: false,
            number: 0,
            words: [0; MBX_WORDS],
        },
        filters: Filters {
            mac: [0; 6],
            xcast: Xcast::None,
            enabled: false,
            unicast: List::new([0; 6]),
            vlans: List::new(0),
            multicast: List::new(0),
        },
        registrations: [None; MAX_QUEUES],
        rearm: Rearm::NONE,
        rss: None,
        statistics: Statistics {
            rx_packets: 0,
            rx_bytes: 0,
            rx_multicast: 0,
            tx_packets: 0,
            tx_bytes: 0,
        },
    };

    /// Queue pairs of the pool, at most [`MAX_QUEUES`].
    pub fn pairs(&self) -> usize {
        usize::from(self.identity.queues_per_pool).min(MAX_QUEUES)
    }

    /// Rx queues of the pool.
    pub fn rx_queues(&self) -> &[RxQueue] {
        self.rx.get(..self.pairs()).unwrap_or(&[])
    }

    /// Tx queues of the pool.
    pub fn tx_queues(&self) -> &[TxQueue] {
        self.tx.get(..self.pairs()).unwrap_or(&[])
    }

    /// Queue pairs up to the last that ran.
    pub fn used_pairs(&self) -> u32 {
        let queues = (1u32..).zip(self.rx.iter().zip(&self.tx));
        let used = queues.filter(|(_, (rx, tx))| rx.enabled() || tx.enabled());
        used.last().map_or(0, |(n, _)| n)
    }

    /// Whether the guest registered every running Rx queue with all of `caps`. One that registered none does not know of them.
    pub fn guest_offers(&self, caps: u32) -> bool {
        let offers = |r: &Option<RegisterQueue>| r.is_some_and(|r| r.caps & caps == caps);
        let mut running = self.rx_queues().iter().zip(&self.registrations);
        self.registrations.iter().any(offers) && running.all(|(q, r)| !q.enabled() || offers(r))
    }
}
