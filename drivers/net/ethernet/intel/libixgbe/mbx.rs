// SPDX-License-Identifier: GPL-2.0
//! Mailbox between PF and VF: messages of API 1.0 to 1.7, and both ends.
//!
//! Message numbers and layouts are those of Linux 7.3 `ixgbe_mbx.h` and `ixgbevf/mbx.h`; ownership
//! of the shared memory is in the 82599 datasheet, 8.2.3.27 (PF) and 8.3.5.1 (VF). A message is 16
//! dwords. Dword 0 has the message's number in bits 15:0, extra information in bits 23:16, and the
//! transport's flags on top: `ACK`, `NACK`, and `CTS`, by which the PF says that it considers the
//! VF clear to send. MAC addresses lie in the bytes of dwords 1 and 2, multicast hashes in the
//! half-words from dword 1 on, both little-endian as the registers are.

use zerocopy::byteorder::little_endian::{
    U16,
    U32, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout, //
};

pub use crate::mbx_ext::{
    Words,
    MBX_WORDS, //
};

pub mod pace;
pub mod pf;
pub mod vf;

/// Request was done (`IXGBE_VT_MSGTYPE_ACK`).
pub const VT_MSGTYPE_ACK: u32 = 0x8000_0000;
/// Request was refused (`IXGBE_VT_MSGTYPE_NACK`).
pub const VT_MSGTYPE_NACK: u32 = 0x4000_0000;
/// The VF is clear to send.
pub const VT_MSGTYPE_CTS: u32 = 0x2000_0000;
/// Shift of the extra information.
pub const VT_MSGINFO_SHIFT: u32 = 16;
/// Extra information of some messages.
pub const VT_MSGINFO_MASK: u32 = 0x00FF_0000;
/// Number of the message.
pub const VT_MSGTYPE_MASK: u32 = 0xFFFF;

/// VF asks to be reset; 1.0.
pub const VF_RESET: u32 = 0x01;
/// VF sets its MAC address; 1.0.
pub const VF_SET_MAC_ADDR: u32 = 0x02;
/// VF sets its multicast hashes; 1.0.
pub const VF_SET_MULTICAST: u32 = 0x03;
/// VF adds or removes a VLAN; 1.0.
pub const VF_SET_VLAN: u32 = 0x04;
/// VF sets its maximum frame size; 1.0.
pub const VF_SET_LPE: u32 = 0x05;
/// VF adds a unicast filter or clears its list; 1.0.
pub const VF_SET_MACVLAN: u32 = 0x06;
/// VF proposes an API version; 1.0.
pub const VF_API_NEGOTIATE: u32 = 0x08;
/// VF asks for its queues; 1.1.
pub const VF_GET_QUEUES: u32 = 0x09;
/// VF asks for the redirection table; 1.2.
pub const VF_GET_RETA: u32 = 0x0A;
/// VF asks for the RSS key; 1.2.
pub const VF_GET_RSS_KEY: u32 = 0x0B;
/// VF sets its promiscuity; 1.2.
pub const VF_UPDATE_XCAST_MODE: u32 = 0x0C;
/// VF adds an IPsec association; 1.4.
pub const VF_IPSEC_ADD: u32 = 0x0D;
/// VF removes an IPsec association; 1.4.
pub const VF_IPSEC_DEL: u32 = 0x0E;
/// VF asks whether the administrator lets it be up; 1.2.
pub const VF_GET_LINK_STATE: u32 = 0x10;
/// VF asks for the PF's link; 1.6, refused on 82599.
pub const VF_GET_PF_LINK_STATE: u32 = 0x11;
/// VF offers features; 1.7.
pub const VF_FEATURES_NEGOTIATE: u32 = 0x12;
/// PF says something changed: look at the link, and at `CTS`.
pub const PF_CONTROL_MSG: u32 = 0x0100;

/// Dwords of the answer to [`VF_RESET`].
pub const VF_PERMADDR_MSG_LEN: usize = 4;

/// Feature: IPsec through the PF (`IXGBEVF_PF_SUP_IPSEC`).
pub const FEATURE_IPSEC: u32 = 1 << 0;
/// Feature: mailbox that keeps `VFU` until the `ACK` (`IXGBEVF_PF_SUP_ESX_MBX`).
pub const FEATURE_ESX_MBX: u32 = 1 << 1;

/// Most multicast hashes in a message (`IXGBE_MAX_VF_MC_ENTRIES`).
pub const MAX_VF_MC_ENTRIES: usize = 30;

/// Bytes of the RSS key in the answer to [`VF_GET_RSS_KEY`].
pub const RSS_KEY_SIZE: usize = 40;
/// Entries of the redirection table of 82599 and X540.
pub const RETA_SIZE: usize = 128;

/// Mailbox API version, in order of age.
///
/// 2.0 (Solaris) and 1.5 (another driver line) exist on the wire; mainline's PF accepts neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVersion {
    /// 1.0: what a VF speaks after each reset.
    #[default]
    V10,
    /// 1.1: queues, and jumbo frames.
    V11,
    /// 1.2: RSS query, promiscuity, link state.
    V12,
    /// 1.3: promiscuous mode.
    V13,
    /// 1.4: IPsec.
    V14,
    /// 1.5: refused by mainline's PF.
    V15,
    /// 1.6: PF link state.
    V16,
    /// 1.7: features.
    V17,
}

impl ApiVersion {
    /// From newest to oldest, the order in which a VF tries them.
    pub const NEWEST_FIRST: [Self; 8] = [
        Self::V17,
        Self::V16,
        Self::V15,
        Self::V14,
        Self::V13,
        Self::V12,
        Self::V11,
        Self::V10,
    ];

    /// Number on the wire (`enum ixgbe_pfvf_api_rev`).
    pub const fn wire(self) -> u32 {
        match self {
            Self::V10 => 0,
            Self::V11 => 2,
            Self::V12 => 3,
            Self::V13 => 4,
            Self::V14 => 5,
            Self::V15 => 6,
            Self::V16 => 7,
            Self::V17 => 8,
        }
    }

    /// The version that mainline's PF would accept by this number.
    pub const fn from_wire(wire: u32) -> Option<Self> {
        Some(match wire {
            0 => Self::V10,
            2 => Self::V11,
            3 => Self::V12,
            4 => Self::V13,
            5 => Self::V14,
            7 => Self::V16,
            8 => Self::V17,
            _ => return None,
        })
    }

    /// Minor number, to be printed after "1.".
    pub const fn minor(self) -> u32 {
        match self {
            Self::V10 => 0,
            Self::V11 => 1,
            Self::V12 => 2,
            Self::V13 => 3,
            Self::V14 => 4,
            Self::V15 => 5,
            Self::V16 => 6,
            Self::V17 => 7,
        }
    }
}

/// Promiscuity of a VF (`enum ixgbevf_xcast_modes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum XcastMode {
    /// Broadcast only.
    #[default]
    None,
    /// Multicast by hash.
    Multi,
    /// All multicast.
    AllMulti,
    /// Everything.
    Promisc,
}

impl XcastMode {
    /// Number on the wire.
    pub const fn wire(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Multi => 1,
            Self::AllMulti => 2,
            Self::Promisc => 3,
        }
    }

    /// The mode of this number.
    pub const fn from_wire(wire: u32) -> Option<Self> {
        Some(match wire {
            0 => Self::None,
            1 => Self::Multi,
            2 => Self::AllMulti,
            3 => Self::Promisc,
            _ => return None,
        })
    }
}

/// Wire layout of messages with a MAC address.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MacMessage {
    head: U32,
    addr: [u8; 6],
    pad: [u8; 2],
    /// Multicast filter type in the answer to [`VF_RESET`].
    mc_filter_type: U32,
    rest: [U32; 12],
}

/// Wire layout of [`VF_SET_MULTICAST`].
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MulticastMessage {
    head: U32,
    hash: [U16; MAX_VF_MC_ENTRIES],
}

/// The dwords as bytes in the order of the mailbox memory.
fn wire(words: &Words) -> [U32; MBX_WORDS] {
    words.map(U32::new)
}

/// MAC address in dwords 1 and 2.
pub fn mac_of(words: &Words) -> [u8; 6] {
    let m: MacMessage = zerocopy::transmute!(wire(words));
    m.addr
}

/// Multicast hashes given by their number, for the registers' 12-bit index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct McHashes {
    hash: [u16; MAX_VF_MC_ENTRIES],
    len: u8,
}

impl McHashes {
    /// None.
    pub const EMPTY: Self = Self {
        hash: [0; MAX_VF_MC_ENTRIES],
        len: 0,
    };

    /// Takes up to [`MAX_VF_MC_ENTRIES`] hashes; more are left out, as in the C driver.
    pub fn from_hashes(hashes: impl IntoIterator<Item = u16>) -> Self {
        let mut out = Self::EMPTY;
        for (to, from) in out.hash.iter_mut().zip(hashes) {
            *to = from;
            out.len = out.len.saturating_add(1);
        }
        out
    }

    /// The hashes.
    pub fn as_slice(&self) -> &[u16] {
        self.hash.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// How many there are.
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A request of a VF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// [`VF_RESET`].
    Reset,
    /// [`VF_SET_MAC_ADDR`].
    SetMac([u8; 6]),
    /// [`VF_SET_MULTICAST`].
    SetMulticast(McHashes),
    /// [`VF_SET_VLAN`].
    SetVlan {
        /// Add, or remove.
        add: bool,
        /// VLAN id, 0 to 4095.
        vid: u16,
    },
    /// [`VF_SET_LPE`]: maximum frame size in bytes, with FCS.
    SetLpe(u32),
    /// [`VF_SET_MACVLAN`]: 0 clears the list, 1 starts a new one, more adds.
    SetMacvlan {
        /// Position in the list.
        index: u8,
        /// Address, if `index` is not 0.
        addr: [u8; 6],
    },
    /// [`VF_API_NEGOTIATE`], by the number on the wire.
    ApiNegotiate(u32),
    /// [`VF_GET_QUEUES`].
    GetQueues,
    /// [`VF_GET_RETA`].
    GetReta,
    /// [`VF_GET_RSS_KEY`].
    GetRssKey,
    /// [`VF_UPDATE_XCAST_MODE`], by the number on the wire.
    UpdateXcastMode(u32),
    /// [`VF_GET_LINK_STATE`].
    GetLinkState,
    /// [`VF_GET_PF_LINK_STATE`].
    GetPfLinkState,
    /// [`VF_FEATURES_NEGOTIATE`].
    FeaturesNegotiate(u32),
    /// Anything else, IPsec included: the number.
    Other(u16),
}

impl Request {
    /// Decodes what a VF sent; every dword is untrusted, and every value has a meaning or is
    /// [`Request::Other`].
    pub fn decode(words: &Words) -> Self {
        let [head, arg, ..] = *words;
        let info = ((head & VT_MSGINFO_MASK) >> VT_MSGINFO_SHIFT) as u8;
        // As the C driver: `IXGBE_VF_RESET` is recognised by the whole dword, all else by its low
        // half.
        if head == VF_RESET {
            return Self::Reset;
        }
        match head & VT_MSGTYPE_MASK {
            VF_SET_MAC_ADDR => Self::SetMac(mac_of(words)),
            VF_SET_MULTICAST => {
                let m: MulticastMessage = zerocopy::transmute!(wire(words));
                let hashes = m.hash.iter().map(|h| h.get());
                Self::SetMulticast(McHashes::from_hashes(hashes.take(usize::from(info))))
            }
            VF_SET_VLAN => Self::SetVlan {
                add: info != 0,
                vid: (arg & 0xFFF) as u16,
            },
            VF_SET_LPE => Self::SetLpe(arg),
            VF_SET_MACVLAN => Self::SetMacvlan {
                index: info,
                addr: mac_of(words),
            },
            VF_API_NEGOTIATE => Self::ApiNegotiate(arg),
            VF_GET_QUEUES => Self::GetQueues,
            VF_GET_RETA => Self::GetReta,
            VF_GET_RSS_KEY => Self::GetRssKey,
            VF_UPDATE_XCAST_MODE => Self::UpdateXcastMode(arg),
            VF_GET_LINK_STATE => Self::GetLinkState,
            VF_GET_PF_LINK_STATE => Self::GetPfLinkState,
            VF_FEATURES_NEGOTIATE => Self::FeaturesNegotiate(arg),
            other => Self::Other(other as u16),
        }
    }

    /// The request as dwords.
    pub fn encode(&self) -> Words {
        let plain = |number: u32, arg: u32| {
            let mut words = [0; MBX_WORDS];
            words[0] = number;
            words[1] = arg;
            words
        };
        let info = |n: u8| u32::from(n) << VT_MSGINFO_SHIFT;
        match *self {
            Self::Reset => plain(VF_RESET, 0),
            Self::SetMac(addr) => mac_words(VF_SET_MAC_ADDR, addr, 0),
            Self::SetMulticast(list) => {
                let m = MulticastMessage {
                    head: U32::new(VF_SET_MULTICAST | info(list.len)),
                    hash: list.hash.map(U16::new),
                };
                let wire: [U32; MBX_WORDS] = zerocopy::transmute!(m);
                wire.map(|w| w.get())
            }
            Self::SetVlan { add, vid } => plain(VF_SET_VLAN | info(u8::from(add)), u32::from(vid)),
            Self::SetLpe(bytes) => plain(VF_SET_LPE, bytes),
            Self::SetMacvlan { index, addr } => mac_words(VF_SET_MACVLAN | info(index), addr, 0),
            Self::ApiNegotiate(version) => plain(VF_API_NEGOTIATE, version),
            Self::GetQueues => plain(VF_GET_QUEUES, 0),
            Self::GetReta => plain(VF_GET_RETA, 0),
            Self::GetRssKey => plain(VF_GET_RSS_KEY, 0),
            Self::UpdateXcastMode(mode) => plain(VF_UPDATE_XCAST_MODE, mode),
            Self::GetLinkState => plain(VF_GET_LINK_STATE, 0),
            Self::GetPfLinkState => plain(VF_GET_PF_LINK_STATE, 0),
            Self::FeaturesNegotiate(mask) => plain(VF_FEATURES_NEGOTIATE, mask),
            Self::Other(number) => plain(u32::from(number), 0),
        }
    }
}

/// A message with a MAC address in dwords 1 and 2 and `mc_filter_type` in dword 3.
pub fn mac_words(head: u32, addr: [u8; 6], mc_filter_type: u32) -> Words {
    let m = MacMessage {
        head: U32::new(head),
        addr,
        pad: [0; 2],
        mc_filter_type: U32::new(mc_filter_type),
        rest: [U32::ZERO; 12],
    };
    let wire: [U32; MBX_WORDS] = zerocopy::transmute!(m);
    wire.map(|w| w.get())
}

/// Answer to [`VF_GET_QUEUES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Transmit queues of the pool.
    pub tx: u32,
    /// Receive queues of the pool.
    pub rx: u32,
    /// Traffic classes, or 1 if the PF tags this VF's frames.
    pub trans_vlan: u32,
    /// Queue of untagged frames.
    pub def_queue: u32,
}

impl Queues {
    /// Reads dwords 1 to 4.
    pub fn decode(words: &Words) -> Self {
        let [_, tx, rx, trans_vlan, def_queue, ..] = *words;
        Self {
            tx,
            rx,
            trans_vlan,
            def_queue,
        }
    }

    /// Fills dwords 1 to 4.
    pub fn encode(&self, words: &mut Words) {
        let [_, tx, rx, trans_vlan, def_queue, ..] = words;
        (*tx, *rx, *trans_vlan, *def_queue) = (self.tx, self.rx, self.trans_vlan, self.def_queue);
    }
}

/// Puts the redirection table into dwords 1 to 8, two bits an entry: VFs of 82599 have four RSS
/// queues at most.
pub fn encode_reta(table: &[u8; RETA_SIZE], words: &mut Words) {
    for (word, entries) in words.iter_mut().skip(1).zip(table.chunks_exact(16)) {
        *word = entries
            .iter()
            .rev()
            .fold(0, |acc, e| acc << 2 | u32::from(e & 3));
    }
}

/// The redirection table in dwords 1 to 8.
pub fn decode_reta(words: &Words) -> [u8; RETA_SIZE] {
    let mut table = [0; RETA_SIZE];
    for (word, entries) in words.iter().skip(1).zip(table.chunks_exact_mut(16)) {
        let mut word = *word;
        for e in entries {
            *e = (word & 3) as u8;
            word >>= 2;
        }
    }
    table
}

/// Puts the RSS key into dwords 1 to 10.
pub fn encode_rss_key(key: &[u32; RSS_KEY_SIZE / 4], words: &mut Words) {
    for (word, k) in words.iter_mut().skip(1).zip(key) {
        *word = *k;
    }
}

/// The RSS key in dwords 1 to 10.
pub fn decode_rss_key(words: &Words) -> [u32; RSS_KEY_SIZE / 4] {
    let mut key = [0; RSS_KEY_SIZE / 4];
    for (k, word) in key.iter_mut().zip(words.iter().skip(1)) {
        *k = *word;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];

    /// Every request survives the wire.
    #[test]
    fn round_trip() {
        let all = [
            Request::Reset,
            Request::SetMac(MAC),
            Request::SetMulticast(McHashes::from_hashes([1, 0xFFF, 0x800])),
            Request::SetVlan {
                add: true,
                vid: 4095,
            },
            Request::SetVlan { add: false, vid: 1 },
            Request::SetLpe(9728),
            Request::SetMacvlan {
                index: 1,
                addr: MAC,
            },
            Request::ApiNegotiate(ApiVersion::V17.wire()),
            Request::GetQueues,
            Request::GetReta,
            Request::GetRssKey,
            Request::UpdateXcastMode(XcastMode::AllMulti.wire()),
            Request::GetLinkState,
            Request::GetPfLinkState,
            Request::FeaturesNegotiate(FEATURE_IPSEC),
            Request::Other(0x40),
        ];
        for r in all {
            assert_eq!(Request::decode(&r.encode()), r);
        }
    }

    /// Layouts that the C driver produces by `memcpy` on a little-endian machine.
    #[test]
    fn c_layout() {
        let w = Request::SetMac(MAC).encode();
        assert_eq!(w[..3], [0x02, 0x3322_1102, 0x5544]);
        let w = Request::SetMulticast(McHashes::from_hashes([0x123, 0x456, 0x789])).encode();
        assert_eq!(w[..3], [0x0003_0003, 0x0456_0123, 0x0789]);
        let w = Request::SetVlan { add: true, vid: 7 }.encode();
        assert_eq!(w[..2], [0x0001_0004, 7]);
    }

    /// A count beyond the message is cut, as `min(entries, IXGBE_MAX_VF_MC_ENTRIES)` in the C
    /// driver.
    #[test]
    fn multicast_count_is_cut() {
        let mut w = [0xFFFF_FFFF; MBX_WORDS];
        w[0] = VF_SET_MULTICAST | 0xFF << VT_MSGINFO_SHIFT;
        let Request::SetMulticast(list) = Request::decode(&w) else {
            unreachable!()
        };
        assert_eq!(list.as_slice(), [0xFFFF; MAX_VF_MC_ENTRIES]);
    }

    #[test]
    fn reta_and_key() {
        let mut table = [0; RETA_SIZE];
        for (i, e) in table.iter_mut().enumerate() {
            *e = (i * 7 % 4) as u8;
        }
        let mut w = [0; MBX_WORDS];
        encode_reta(&table, &mut w);
        assert_eq!(decode_reta(&w), table);
        assert_eq!(w[1] & 3, u32::from(table[0]));
        let key = core::array::from_fn(|i| 0x0101_0101 * i as u32);
        encode_rss_key(&key, &mut w);
        assert_eq!(decode_rss_key(&w), key);
        assert_eq!(w[11..], [0; 5]);
    }

    #[test]
    fn api_numbers() {
        for v in ApiVersion::NEWEST_FIRST {
            let back = ApiVersion::from_wire(v.wire());
            assert_eq!(back, (v != ApiVersion::V15).then_some(v));
        }
        assert_eq!(ApiVersion::from_wire(1), None);
        assert!(ApiVersion::V16 > ApiVersion::V14);
    }
}
