// SPDX-License-Identifier: GPL-2.0
//! What `ethtool` and a driver tell each other.

use kernel::{
    fmt::{
        self,
        Write as _, //
    },
    prelude::*, //
};
use nic_bindings as raw;

/// Bytes of a string in a set, the closing 0 included (`ETH_GSTRING_LEN`).
pub(super) const GSTRING_LEN: usize = 32;

/// A set of strings that the driver names things with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringSet {
    /// Names of self tests.
    Test,
    /// Names of statistics.
    Stats,
    /// Names of private flags.
    PrivFlags,
}

impl StringSet {
    pub(super) fn from_raw(set: u32) -> Option<Self> {
        match set {
            raw::ethtool_stringset_ETH_SS_TEST => Some(Self::Test),
            raw::ethtool_stringset_ETH_SS_STATS => Some(Self::Stats),
            raw::ethtool_stringset_ETH_SS_PRIV_FLAGS => Some(Self::PrivFlags),
            _ => None,
        }
    }
}

/// Takes names, see [`super::Ops::strings`].
pub struct Strings<'a> {
    pub(super) out: &'a mut [[u8; GSTRING_LEN]],
    pub(super) next: usize,
}

impl Strings<'_> {
    /// Adds a name; what does not fit into 31 bytes is cut off.
    pub fn push(&mut self, args: fmt::Arguments<'_>) {
        if let Some(out) = self.out.get_mut(self.next) {
            *out = [0; GSTRING_LEN];
            let mut w = Cut(out.get_mut(..GSTRING_LEN - 1).unwrap_or_default());
            // Only ends early.
            let _ = w.write_fmt(args);
            self.next += 1;
        }
    }
}

/// Writes until the buffer is full.
pub(super) struct Cut<'a>(pub(super) &'a mut [u8]);

impl fmt::Write for Cut<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let n = s.len().min(self.0.len());
        let (head, tail) = core::mem::take(&mut self.0).split_at_mut(n);
        for (to, from) in head.iter_mut().zip(s.bytes()) {
            *to = from;
        }
        self.0 = tail;
        Ok(())
    }
}

/// Ring lengths in descriptors. Further rings, of small or of large buffers, are not offered, so
/// the core refuses them.
#[derive(Clone, Copy, Default)]
pub struct RingParam {
    /// Longest ring.
    pub max: u32,
    /// Receive ring.
    pub rx: u32,
    /// Transmit ring.
    pub tx: u32,
}

/// Interrupt moderation in microseconds.
#[derive(Clone, Copy, Default)]
pub struct Coalesce {
    /// For receive.
    pub rx_usecs: u32,
    /// For transmit.
    pub tx_usecs: u32,
}

/// Numbers of queues and vectors.
#[derive(Clone, Copy, Default)]
pub struct Channels {
    /// Most receive-only queues.
    pub max_rx: u32,
    /// Most transmit-only queues.
    pub max_tx: u32,
    /// Most vectors for other causes.
    pub max_other: u32,
    /// Most queue pairs.
    pub max_combined: u32,
    /// Receive-only queues.
    pub rx: u32,
    /// Transmit-only queues.
    pub tx: u32,
    /// Vectors for other causes.
    pub other: u32,
    /// Queue pairs.
    pub combined: u32,
}

/// Flow control.
#[derive(Clone, Copy, Default)]
pub struct PauseParam {
    /// By negotiation.
    pub autoneg: bool,
    /// Obey pause frames.
    pub rx: bool,
    /// Send pause frames.
    pub tx: bool,
}

/// A set of link modes, one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkModes(u128);

impl LinkModes {
    /// 100baseT full duplex.
    pub const T100_FULL: Self = Self(1 << 3);
    /// 1000baseT full duplex.
    pub const T1000_FULL: Self = Self(1 << 5);
    /// Twisted pair.
    pub const TP: Self = Self(1 << 7);
    /// Autonegotiation.
    pub const AUTONEG: Self = Self(1 << 6);
    /// Fibre.
    pub const FIBRE: Self = Self(1 << 10);
    /// 10000baseT full duplex.
    pub const T10000_FULL: Self = Self(1 << 12);
    /// Symmetric pause.
    pub const PAUSE: Self = Self(1 << 13);
    /// Asymmetric pause.
    pub const ASYM_PAUSE: Self = Self(1 << 14);
    /// 1000baseKX full duplex.
    pub const KX1000_FULL: Self = Self(1 << 17);
    /// 10000baseKX4 full duplex.
    pub const KX4_10000_FULL: Self = Self(1 << 18);
    /// 10000baseKR full duplex.
    pub const KR10000_FULL: Self = Self(1 << 19);
    /// 2500baseT full duplex.
    pub const T2500_FULL: Self = Self(1 << 47);
    /// 5000baseT full duplex.
    pub const T5000_FULL: Self = Self(1 << 48);

    /// None.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in this.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) fn from_raw(raw: &[c_ulong]) -> Self {
        Self(
            raw.iter()
                .take(2)
                .rev()
                .fold(0, |acc, w| acc << 64 | *w as u128),
        )
    }

    pub(super) fn to_raw(self, out: &mut [c_ulong]) {
        for (i, w) in out.iter_mut().enumerate() {
            // CAST: The word that belongs here; sets of more than 128 modes have zeros above.
            *w = self.0.checked_shr(64 * i as u32).unwrap_or(0) as c_ulong;
        }
    }
}

/// What the link is plugged into (`PORT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Port {
    /// Twisted pair.
    Tp = 0,
    /// Fibre.
    Fibre = 3,
    /// Direct attach copper.
    Da = 5,
    /// Nothing, as a backplane.
    None = 0xef,
    /// Something else.
    Other = 0xff,
}

/// EEPROM of a module (`ETH_MODULE_SFF_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleEeprom {
    /// SFF-8079: what it is, 256 bytes.
    Sff8079,
    /// SFF-8472: how it is as well, 512 bytes.
    Sff8472,
}

/// Settings of the link.
#[derive(Clone, Copy)]
pub struct LinkSettings {
    /// Mbit/s, `None` if unknown.
    pub speed: Option<u32>,
    /// `None` if unknown.
    pub full_duplex: Option<bool>,
    /// What it is plugged into.
    pub port: Port,
    /// Whether it is negotiated.
    pub autoneg: bool,
    /// What the device can do.
    pub supported: LinkModes,
    /// What it offers.
    pub advertising: LinkModes,
}

/// Which half of a flow's header fields RSS hashes (`struct ethtool_rxfh_fields`).
#[derive(Clone, Copy, Default)]
pub struct RxfhFields {
    /// `TCP_V4_FLOW` 1, `UDP_V4_FLOW` 2, `SCTP_V4_FLOW` 3, `AH_ESP_V4_FLOW` 4, `TCP_V6_FLOW` 5,
    /// `UDP_V6_FLOW` 6, `SCTP_V6_FLOW` 7, `AH_ESP_V6_FLOW` 8, `IPV4_FLOW` 16, `IPV6_FLOW` 17, …
    pub flow_type: u32,
    /// `RXH_*`.
    pub data: u64,
}

/// Hashes the IP addresses (`RXH_IP_SRC | RXH_IP_DST`).
pub const RXH_IP: u64 = 0x30;
/// Hashes the ports (`RXH_L4_B_0_1 | RXH_L4_B_2_3`).
pub const RXH_L4: u64 = 0xc0;

/// RSS settings asked for, see [`super::Ops::set_rxfh`].
pub struct RxfhSet<'a> {
    /// Queue of each hash.
    pub indir: Option<&'a [u32]>,
    /// Hash key.
    pub key: Option<&'a [u8]>,
}

/// Result of a self test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestResult {
    /// Every test passed.
    Passed,
    /// At least one failed.
    Failed,
}

/// What an identification light is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhysId {
    /// Begin; the core will then alternate `On` and `Off`.
    Active,
    /// Light.
    On,
    /// No light.
    Off,
    /// End.
    Inactive,
}
