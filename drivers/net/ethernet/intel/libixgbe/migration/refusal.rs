// SPDX-License-Identifier: GPL-2.0
//! Why a blob was refused, for the kernel log and for tests.

/// A reason, with the detail that finds the cause. Nothing has been changed when one is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Fewer bytes than the header or a TLV says, or bytes left over.
    Length,
    /// Not a blob of this driver.
    Magic,
    /// A version of the frame that this driver does not know.
    Version(u16),
    /// The blob was changed on its way.
    Crc,
    /// A compatibility record where a state was due, or the reverse.
    Content(u16),
    /// The header's count is not the number of TLVs.
    Count,
    /// TLVs out of order or doubled: this kind.
    Order(u16),
    /// A mandatory TLV of a kind that this driver does not know.
    UnknownTlv(u16),
    /// A TLV of this kind in a version that this driver does not know.
    TlvVersion(u16),
    /// A TLV of this kind has a length that does not fit.
    TlvLength(u16),
    /// A reserved or padding byte of a TLV of this kind is not zero.
    Reserved(u16),
    /// A TLV of this kind is missing.
    Missing(u16),
    /// A register or list in a TLV of this kind holds what the hardware or the mailbox does not allow.
    Value(u16),
    /// Another device: this PCI id.
    Device(u16),
    /// Another number of queues in a pool than this host's.
    QueueLayout(u16),
    /// Other queue pairs were offered to the VF than this host offers.
    QueuePairs(u16),
    /// A mailbox API that this PF does not speak.
    Api(u16),
    /// Mailbox features that this PF does not grant.
    Features(u32),
    /// Larger frames than this host's MTU lets the VF receive, in bytes.
    MaxFrame(u32),
    /// This host's administrator set another MAC address.
    AdminMac,
    /// This host's port VLAN is not the source's.
    PortVlan(u16),
    /// The VF has VLAN or unicast filters that this host does not allow it.
    Rights(u16),
    /// Another function of this device uses a MAC address of the VF.
    MacInUse,
    /// This host's port has no link: the VM would arrive without a network.
    LinkDown,
    /// The state needs something that this host cannot restore.
    Unsupported,
}

impl Refusal {
    /// One line for the kernel log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Length => "length does not match",
            Self::Magic => "not the state of an ixgbe VF",
            Self::Version(_) => "unknown format version",
            Self::Crc => "checksum does not match",
            Self::Content(_) => "wrong content",
            Self::Count => "record count does not match",
            Self::Order(_) => "record out of order or doubled",
            Self::UnknownTlv(_) => "unknown mandatory record",
            Self::TlvVersion(_) => "unknown record version",
            Self::TlvLength(_) => "bad record length",
            Self::Reserved(_) => "reserved bits set",
            Self::Missing(_) => "record missing",
            Self::Value(_) => "value out of range",
            Self::Device(_) => "other device",
            Self::QueueLayout(_) => "other queues per pool",
            Self::QueuePairs(_) => "other number of queue pairs",
            Self::Api(_) => "mailbox API not supported here",
            Self::Features(_) => "mailbox features not granted here",
            Self::MaxFrame(_) => "frame size not allowed here, check the PF's MTU",
            Self::AdminMac => "this host set another MAC address",
            Self::PortVlan(_) => "other port VLAN",
            Self::Rights(_) => "filters not allowed to this VF here",
            Self::MacInUse => "MAC address in use here",
            Self::LinkDown => "no link here",
            Self::Unsupported => "state cannot be restored here",
        }
    }

    /// The number that belongs to the reason, or 0.
    pub const fn detail(self) -> u32 {
        match self {
            Self::Version(n)
            | Self::Content(n)
            | Self::Order(n)
            | Self::UnknownTlv(n)
            | Self::TlvVersion(n)
            | Self::TlvLength(n)
            | Self::Reserved(n)
            | Self::Missing(n)
            | Self::Value(n)
            | Self::Device(n)
            | Self::QueueLayout(n)
            | Self::QueuePairs(n)
            | Self::Api(n)
            | Self::PortVlan(n)
            | Self::Rights(n) => n as u32,
            Self::Features(n) | Self::MaxFrame(n) => n,
            _ => 0,
        }
    }
}
