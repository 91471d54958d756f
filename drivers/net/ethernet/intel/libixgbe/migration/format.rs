// SPDX-License-Identifier: GPL-2.0
//! Wire format of a migrated VF, version 1. Documented in `Documentation/networking/ixgbe-migration-format.rst`.
//!
//! **Everything here is untrusted**: these structs only give names to bytes. [`super::decode()`] checks the whole blob
//! and turns it into a [`super::VfState`] before anybody acts on any of it.
//!
//! A blob is a [`Header`] and TLVs in strictly ascending order of their kind. Each TLV is a [`TlvHeader`], its value,
//! and zero bytes up to a multiple of 8. All numbers are little-endian.
//!
//! Versioning: a change that an older reader must not miss is a new TLV kind without [`KIND_OPTIONAL`] or a higher
//! [`TlvHeader::version`]; an older reader refuses both. A change that an older reader may miss is a kind with
//! [`KIND_OPTIONAL`], which it skips. A newer reader takes every older version. [`VERSION`] grows only if the frame of
//! header and TLVs itself changes.

use zerocopy::little_endian::U16;
use zerocopy::little_endian::U32;
use zerocopy::little_endian::U64;
use zerocopy_derive::FromBytes;
use zerocopy_derive::Immutable;
use zerocopy_derive::IntoBytes;
use zerocopy_derive::KnownLayout;
use zerocopy_derive::Unaligned;

/// First bytes of every blob.
pub const MAGIC: [u8; 8] = *b"ixgbeVF\x1a";

/// Version of the frame.
pub const VERSION: u16 = 1;

/// Most bytes of a blob that a reader looks at; a longer one is refused by its header.
pub const MAX_BYTES: usize = 4096;

/// [`Header::content`]: what the destination must be and have, sent during PRE_COPY: [`IDENTITY`],
/// [`POLICY`], and since November 2026 [`LIMITS`], [`USE`], [`USED_UNICAST`] and [`USED_VLANS`].
pub const CONTENT_COMPAT: u16 = 1;
/// [`Header::content`]: the whole VF.
pub const CONTENT_STATE: u16 = 2;

/// A reader that does not know a kind with this bit skips it; without it, it refuses the blob.
pub const KIND_OPTIONAL: u16 = 0x8000;

/// Alignment of TLVs, in bytes.
pub const TLV_ALIGN: usize = 8;

/// Kind of [`Identity`].
pub const IDENTITY: u16 = 1;
/// Kind of [`Policy`].
pub const POLICY: u16 = 2;
/// Kind of an array of [`RxQueue`].
pub const RX_QUEUES: u16 = 3;
/// Kind of an array of [`TxQueue`], as many as Rx queues.
pub const TX_QUEUES: u16 = 4;
/// Kind of [`Interrupts`].
pub const INTERRUPTS: u16 = 5;
/// Kind of [`Mailbox`].
pub const MAILBOX: u16 = 6;
/// Kind of [`Filters`].
pub const FILTERS: u16 = 7;
/// Kind of an array of MAC addresses, 6 bytes each: unicast filters beyond the VF's own.
pub const UNICAST: u16 = 8;
/// Kind of an array of `u16`: VLAN ids.
pub const VLANS: u16 = 9;
/// Kind of an array of `u16`: multicast hashes as the VF sent them.
pub const MULTICAST: u16 = 10;
/// Kind of an array of [`Registration`]: shadow arrays of a cooperating guest.
pub const REGISTRATIONS: u16 = 11;
/// Kind of [`Rearm`]: only if the guest has rings to re-arm. Without it the rings would be started under the guest's hands.
pub const REARM: u16 = 13;
/// Kind of [`OwnRss`]: of a VF whose chip gives it RSS of its own, and of no other. Without it the guest's flows would go to
/// other queues, or by a key that it does not know.
pub const OWN_RSS: u16 = 14;
/// Kind of [`Statistics`].
pub const STATISTICS: u16 = KIND_OPTIONAL | 1;
/// Kind of [`Exchange`]: only if there is anything to tell. A reader that skips it may ask the guest twice, or say
/// something while the guest writes; the guest's driver then asks again after its timeout.
pub const EXCHANGE: u16 = KIND_OPTIONAL | 3;

/// Kind of [`Limits`], in both contents; absent if nothing is limited.
pub const LIMITS: u16 = KIND_OPTIONAL | 2;
/// Kind of [`Use`], in a compatibility record.
pub const USE: u16 = KIND_OPTIONAL | 4;
/// [`UNICAST`] of a compatibility record. The kind is another one because older readers refuse that
/// one there.
pub const USED_UNICAST: u16 = KIND_OPTIONAL | 5;
/// [`VLANS`] of a compatibility record, likewise.
pub const USED_VLANS: u16 = KIND_OPTIONAL | 6;

/// Version of every TLV above.
pub const TLV_VERSION: u16 = 1;

/// Head of a blob.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`]
    pub magic: [u8; 8],
    /// [`VERSION`]
    pub version: U16,
    /// `CONTENT_*`
    pub content: U16,
    /// Bytes of the blob, this header included.
    pub length: U32,
    /// TLVs after this header.
    pub count: U32,
    /// CRC-32C over the whole blob with these four bytes as zero.
    pub crc32c: U32,
}

/// Head of a TLV.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TlvHeader {
    /// What the value is.
    pub kind: U16,
    /// Version of the value.
    pub version: U16,
    /// Bytes of the value, without the padding.
    pub length: U32,
}

/// What the destination must be.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Identity {
    /// PCI vendor of the VF.
    pub vendor: U16,
    /// PCI device of the VF.
    pub device: U16,
    /// Queues of each pool, which fixes VMDq mode and RSS: 2, 4 or 8.
    pub queues_per_pool: U16,
    /// Queue pairs that the PF told the VF it may use.
    pub queue_pairs: U16,
    /// Mailbox API agreed on: major in bits 15:8, minor in 7:0; 0 if none.
    pub api: U16,
    /// Zero.
    pub reserved: U16,
    /// Mailbox features granted.
    pub features: U32,
    /// Largest frame that the VF may receive, in bytes, without VLAN tag and CRC.
    pub max_frame: U32,
    /// Zero.
    pub reserved2: U32,
}

/// The source's host policy: compared with the destination's, never taken over.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Policy {
    /// `POLICY_*`
    pub flags: U16,
    /// VLAN id of the port VLAN, 0 if none.
    pub port_vlan: U16,
    /// Priority of the port VLAN.
    pub port_qos: U16,
    /// Zero.
    pub reserved: U16,
}

/// [`Policy::flags`]: the host set the MAC address.
pub const POLICY_ADMIN_MAC: u16 = 1 << 0;
/// [`Policy::flags`]: the VF is trusted.
pub const POLICY_TRUSTED: u16 = 1 << 1;
/// [`Policy::flags`]: spoof check is on.
pub const POLICY_SPOOFCHK: u16 = 1 << 2;
/// All bits of version 1.
pub const POLICY_ALL: u16 = POLICY_ADMIN_MAC | POLICY_TRUSTED | POLICY_SPOOFCHK;

/// One Rx queue.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RxQueue {
    /// RDBAH:RDBAL
    pub base: U64,
    /// RDLEN, bytes.
    pub length: U32,
    /// RDH, descriptors.
    pub head: U32,
    /// RDT, descriptors.
    pub tail: U32,
    /// SRRCTL
    pub srrctl: U32,
    /// RXDCTL as it was before the queue was stopped: its ENABLE bit says whether it runs.
    pub rxdctl: U32,
    /// Zero.
    pub reserved: U32,
}

/// One Tx queue.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TxQueue {
    /// TDBAH:TDBAL
    pub base: U64,
    /// TDWBAH:TDWBAL, bit 0 enables head write-back.
    pub writeback: U64,
    /// TDLEN, bytes.
    pub length: U32,
    /// TDH, descriptors.
    pub head: U32,
    /// TDT, descriptors.
    pub tail: U32,
    /// TXDCTL as it was before the queue was stopped; bit 27, which it does not have: the queue was stopped before it had
    /// sent all, see `state::TxQueue::INTERRUPTED`.
    pub txdctl: U32,
}

/// Interrupt registers. Pending causes are not carried: every enabled vector is raised once after the move.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Interrupts {
    /// VTEIMS
    pub eims: U32,
    /// VTEIAC
    pub eiac: U32,
    /// VTEIAM
    pub eiam: U32,
    /// VTIVAR(0): vectors of queue pairs 0 and 1.
    pub ivar: U32,
    /// VTIVAR_MISC
    pub ivar_misc: U32,
    /// VFPSRTYPE
    pub psrtype: U32,
}

/// Mailbox, with what either side has sent and the other not taken.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Mailbox {
    /// `MAILBOX_*`
    pub flags: U32,
    /// PFMBMEM
    pub words: [U32; 16],
    /// Zero.
    pub reserved: U32,
}

/// [`Mailbox::flags`]: a request of the VF that the PF has not answered.
pub const MAILBOX_REQUEST: u32 = 1 << 0;
/// [`Mailbox::flags`]: a message of the PF that the VF has not acknowledged.
pub const MAILBOX_PF_MESSAGE: u32 = 1 << 1;
/// [`Mailbox::flags`]: the VF is clear to send.
pub const MAILBOX_CTS: u32 = 1 << 2;
/// All bits of version 1.
pub const MAILBOX_ALL: u32 = MAILBOX_REQUEST | MAILBOX_PF_MESSAGE | MAILBOX_CTS;

/// What the VF may receive, besides the lists.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Filters {
    /// The VF's own MAC address, all zero if it has none.
    pub mac: [u8; 6],
    /// `XCAST_*`
    pub xcast: u8,
    /// 1: the VF has asked for link and is enabled (VFRE and VFTE), 0: not.
    pub enabled: u8,
}

/// One registered shadow array, see [`crate::mbx_ext::RegisterQueue`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Registration {
    /// Rx queue of the VF.
    pub queue: U16,
    /// Rx queues that the VF uses in all.
    pub queues: U16,
    /// `mbx_ext::CAP_*`
    pub caps: U32,
    /// Descriptors of the ring.
    pub entries: U32,
    /// Bytes that one descriptor's DMA can touch.
    pub buffer_len: U32,
    /// DMA address of the shadow array.
    pub shadow: U64,
}

/// Rings that the guest was asked to re-arm, or is to be asked, and has not. The queues are those that stand at index 0; their
/// records say where they stood, and have ENABLE set.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Rearm {
    /// Number of the [`crate::mbx_ext::Restore`] that is out, 0 if none is. No other is sent before it was answered.
    pub generation: U32,
    /// `REARM_*`
    pub flags: U32,
    /// Rx queues that it names and that still stand, one bit each.
    pub asked_rx: U32,
    /// Tx queues likewise.
    pub asked_tx: U32,
    /// All Rx queues that stand so.
    pub rx: U32,
    /// All Tx queues that stand so.
    pub tx: U32,
}

/// [`Rearm::flags`]: the guest has acknowledged the message, and does what it says.
pub const REARM_TAKEN: u32 = 1 << 0;
/// All bits of version 1.
pub const REARM_ALL: u32 = REARM_TAKEN;

/// RSS of a VF that has its own.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct OwnRss {
    /// VFMRQC
    pub mrqc: U32,
    /// Zero.
    pub reserved: U32,
    /// VFRSSRK
    pub key: [U32; 10],
    /// VFRETA: queue of the VF for each hash, modulo 64.
    pub table: [u8; 64],
}

/// The conversation between PF and VF, beyond [`Mailbox`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Exchange {
    /// Last number that a PF gave to one of its messages to this VF. The next host counts on.
    pub number: U32,
    /// `EXCHANGE_*`
    pub flags: U32,
}

/// [`Exchange::flags`]: the VF holds the mailbox: it writes a request, or reads a message.
pub const EXCHANGE_HELD: u32 = 1 << 0;
/// [`Exchange::flags`]: the VF is to be told that something changed.
pub const EXCHANGE_PING: u32 = 1 << 1;
/// All bits of version 1.
pub const EXCHANGE_ALL: u32 = EXCHANGE_HELD | EXCHANGE_PING;

/// Counters of the VF since it was created, over all its hosts.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Statistics {
    /// Frames received (VFGPRC).
    pub rx_packets: U64,
    /// Bytes received (VFGORC).
    pub rx_bytes: U64,
    /// Multicast frames received (VFMPRC).
    pub rx_multicast: U64,
    /// Frames sent (VFGPTC).
    pub tx_packets: U64,
    /// Bytes sent (VFGOTC).
    pub tx_bytes: U64,
}

/// More of the source's host policy: compared with the destination's, never taken over.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Limits {
    /// Link by the administrator: 0 as the PF's, 1 always up, 2 always down.
    pub link: u8,
    /// Zero.
    pub reserved: u8,
    /// Mb/s that the VF may send, 0 for no limit.
    pub tx_rate: U16,
    /// Zero.
    pub reserved2: U32,
}

/// What a running VF uses, which the destination must have and allow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Use {
    /// The VF's own MAC address, all zero if it has none.
    pub mac: [u8; 6],
    /// `XCAST_*`
    pub xcast: u8,
    /// Zero.
    pub reserved: u8,
    /// Queue pairs up to the last that runs.
    pub pairs: U16,
    /// Zero.
    pub reserved2: [u8; 6],
}
