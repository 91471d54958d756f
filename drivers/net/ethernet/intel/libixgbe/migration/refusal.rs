// SPDX-License-Identifier: GPL-2.0
//! Why a move was refused: for the kernel log, devlink health, the host tool, Documentation and
//! tests.
//!
//! A blob that is broken has one reason: what comes after the first fault means nothing. A blob
//! that is whole and does not fit this host has as many as there are, so that an operator can mend
//! all of them before the next try.

use core::fmt;

/// Defines [`Refusal`]: a variant with the type of its detail, its stable name, its text and its
/// remedy.
macro_rules! refusals {
    ($(
        $(#[$doc:meta])*
        $variant:ident $(($detail:ident))?: $name:literal, $reason:literal, $remedy:literal;
    )*) => {
        /// A reason, with the detail that finds the cause. Nothing has been changed when one is
        /// returned.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $variant $(($detail))?,)*
        }

        impl Refusal {
            /// One of each, with a detail of 0.
            pub const ALL: &'static [Self] = &[$(Self::$variant $((0 as $detail))?,)*];

            /// A name that stays the same, for programs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }

            /// One line for people.
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $reason,)*
                }
            }

            /// What an operator can do.
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $remedy,)*
                }
            }

            /// The same reason with this number, which it has once given.
            const fn with(self, detail: u32) -> Self {
                match self {
                    $(Self::$variant { .. } => refusals!(@with $variant detail $($detail)?),)*
                }
            }

            /// The number that belongs to the reason, or 0.
            pub const fn detail(self) -> u32 {
                match self {
                    $(
                        refusals!(@pattern $variant n $($detail)?) =>
                            refusals!(@value n $($detail)?),
                    )*
                }
            }
        }
    };
    (@pattern $variant:ident $n:ident $detail:ident) => { Self::$variant($n) };
    (@pattern $variant:ident $n:ident) => { Self::$variant };
    (@with $variant:ident $n:ident $detail:ident) => { Self::$variant($n as $detail) };
    (@with $variant:ident $n:ident) => { Self::$variant };
    (@value $n:ident $detail:ident) => { $n as u32 };
    (@value $n:ident) => { 0 };
}

refusals! {
    /// Fewer bytes than the header or a TLV says, or bytes left over.
    Length: "length", "length does not match", "report it with the logs of both hosts";
    /// Not a blob of this driver.
    Magic: "magic", "not the state of an ixgbe VF",
        "both hosts need this project's drivers, and the VM the same device on both";
    /// A version of the frame that this driver does not know.
    Version(u16): "version", "unknown format version", "install the source's version here";
    /// The blob was changed on its way.
    Crc: "checksum", "checksum does not match", "report it with the logs of both hosts";
    /// A compatibility record where a state was due, or the reverse.
    Content(u16): "content", "wrong content", "report it with the logs of both hosts";
    /// The header's count is not the number of TLVs.
    Count: "count", "record count does not match", "report it with the logs of both hosts";
    /// TLVs out of order or doubled: this kind.
    Order(u16): "order", "record out of order or doubled", "report it with the logs of both hosts";
    /// A mandatory TLV of a kind that this driver does not know.
    UnknownTlv(u16): "unknown-record", "unknown mandatory record",
        "install the source's version here";
    /// A TLV of this kind in a version that this driver does not know.
    TlvVersion(u16): "record-version", "unknown record version",
        "install the source's version here";
    /// A TLV of this kind has a length that does not fit.
    TlvLength(u16): "record-length", "bad record length", "report it with the logs of both hosts";
    /// A reserved or padding byte of a TLV of this kind is not zero.
    Reserved(u16): "reserved", "reserved bits set", "report it with the logs of both hosts";
    /// A TLV of this kind is missing.
    Missing(u16): "missing", "record missing", "report it with the logs of both hosts";
    /// A register or list in a TLV of this kind holds what the hardware or the mailbox does not allow.
    Value(u16): "value", "value out of range",
        "the guest's driver has written what no driver writes: reset the VF in the guest";
    /// Another device: this PCI id.
    Device(u16): "device", "other device",
        "use a card of the same chip: VFs of an 82599, an X540 and an X550 do not change places";
    /// Another number of queues in a pool than this host's.
    QueueLayout(u16): "queue-layout", "other queues per pool",
        "set the same sriov_numvfs on both hosts";
    /// Other queue pairs were offered to the VF than this host offers.
    QueuePairs(u16): "queue-pairs", "other number of queue pairs",
        "set the same sriov_numvfs on both hosts";
    /// The VF runs more queue pairs than the PF can see the interrupts of: this many.
    QueuesInUse(u16): "queues-in-use", "more queue pairs in use than can be moved",
        "let the guest use two queue pairs (ethtool -L), or take its XDP program off";
    /// A mailbox API that this PF does not speak.
    Api(u16): "api", "mailbox API not supported here", "install the source's version here";
    /// Mailbox features that this PF does not grant.
    Features(u32): "features", "mailbox features not granted here",
        "install the source's version here";
    /// Larger frames than this host's MTU lets the VF receive, in bytes.
    MaxFrame(u32): "max-frame", "frame size not allowed here, check the PF's MTU",
        "set the PF's MTU as on the source";
    /// The PF has jumbo frames, and the VF's driver speaks an API without them, so that it would
    /// receive nothing.
    JumboApi(u16): "jumbo-api", "VF driver too old for this PF's jumbo frames",
        "set the PF's MTU to 1500, or use a guest driver with API 1.1";
    /// This host's administrator set another MAC address.
    AdminMac: "admin-mac", "this host set another MAC address",
        "devlink port function set ... hw_addr, as on the source";
    /// Another function of this device uses a MAC address of the VF.
    MacInUse: "mac-in-use", "MAC address in use here",
        "end the VM or take the address from the VF that has it";
    /// The receive address table is too small for the VF by this many addresses.
    AddressRoom(u16): "address-room", "no room for its addresses here",
        "remove addresses of other VFs, or bridge fdb entries of the PF";
    /// This host's port VLAN is not the source's.
    PortVlan(u16): "port-vlan", "other port VLAN",
        "ip link set ... vf N vlan V qos Q, as on the source";
    /// The VLAN filter is too small for the VF by this many VLANs.
    VlanRoom(u16): "vlan-room", "no room for its VLANs here",
        "remove VLANs of other VFs or of the PF";
    /// The VF has further unicast addresses, this many, and may not here.
    Addresses(u16): "addresses", "further addresses not allowed to this VF here",
        "ip link set ... vf N trust on";
    /// The VF has joined VLANs, this many, and may not here, because of the port VLAN.
    Vlans(u16): "vlans", "VLANs not allowed to this VF here, which has a port VLAN",
        "take the port VLAN off, or leave the VLANs in the guest";
    /// The VF receives all multicast, and may not here.
    AllMulticast: "all-multicast", "all multicast not allowed to this VF here",
        "ip link set ... vf N trust on";
    /// The VF is promiscuous, and may not be here.
    Promiscuous: "promiscuous", "promiscuous mode not allowed to this VF here",
        "ip link set ... promisc on for the PF, and vf N trust on";
    /// The PF refused what the VF had on its last host, in a TLV of this kind.
    Rights(u16): "rights", "filters not allowed to this VF here", "set trust as on the source";
    /// This host's port has no link: the VM would arrive without a network.
    LinkDown: "link-down", "no link here", "bring the PF's link up";
    /// This host has disabled the VF's link, and the source had not.
    LinkDisabled: "link-disabled", "link of this VF disabled here",
        "ip link set ... vf N state auto";
    /// The VF has more entries in a list of this kind than a state can carry.
    TooMany(u16): "too-many", "more than a state can carry", "remove addresses in the guest";
}

/// Most reasons that are told of at once: a whole blob can have no more.
pub const MAX_REFUSALS: usize = 21;

/// All reasons that could be seen, never none. Small, because it is returned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Refusals {
    /// Places in [`Refusal::ALL`].
    kinds: [u8; MAX_REFUSALS],
    details: [u32; MAX_REFUSALS],
    count: u8,
}

impl Refusals {
    const NONE: Self = Self {
        kinds: [0; MAX_REFUSALS],
        details: [0; MAX_REFUSALS],
        count: 0,
    };

    /// The reasons, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = Refusal> + '_ {
        let found = self.kinds.iter().zip(self.details);
        found
            .take(self.count.into())
            .filter_map(|(kind, detail)| Some(Refusal::ALL.get(usize::from(*kind))?.with(detail)))
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl From<Refusal> for Refusals {
    fn from(refusal: Refusal) -> Self {
        let mut found = Found::new();
        found.add(refusal);
        found.0
    }
}

/// Reasons found so far.
pub(super) struct Found(Refusals);

impl Found {
    pub(super) const fn new() -> Self {
        Self(Refusals::NONE)
    }

    pub(super) fn add(&mut self, refusal: Refusal) {
        let same = |r: &Refusal| core::mem::discriminant(r) == core::mem::discriminant(&refusal);
        let r = &mut self.0;
        let at = usize::from(r.count);
        // There is room for one of each that a host can have; a further one would say nothing new.
        if let (Some(kind), Some(to), Some(detail)) = (
            Refusal::ALL.iter().position(same),
            r.kinds.get_mut(at),
            r.details.get_mut(at),
        ) {
            (*to, *detail) = (kind as u8, refusal.detail());
            r.count = r.count.saturating_add(1);
        }
    }

    pub(super) fn unless(&mut self, ok: bool, refusal: Refusal) {
        if !ok {
            self.add(refusal);
        }
    }

    pub(super) fn result(self) -> Result<(), Refusals> {
        if self.0.count == 0 {
            Ok(())
        } else {
            Err(self.0)
        }
    }
}

/// Settings that differ from the source's and refuse nothing: they are this host's, and the guest's
/// driver goes on with them. They are told, because a VM that is slower or whose frames are dropped
/// has a reason for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The host limits what the VF sends to this, in Mb/s; 0 for no limit.
    TxRate(u16),
    /// The host checks the addresses that the VF sends from; the source did not.
    SpoofCheck,
}

impl Note {
    /// A name that stays the same, for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TxRate(_) => "tx-rate",
            Self::SpoofCheck => "spoof-check",
        }
    }

    /// One line for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::TxRate(_) => "other max_tx_rate than on the source, this host's counts",
            Self::SpoofCheck => "spoof check is on here and was off on the source",
        }
    }

    /// The number that belongs to it, or 0.
    pub const fn detail(self) -> u32 {
        match self {
            Self::TxRate(n) => n as u32,
            Self::SpoofCheck => 0,
        }
    }
}
