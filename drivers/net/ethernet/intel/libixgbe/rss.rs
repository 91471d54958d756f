// SPDX-License-Identifier: GPL-2.0
//! Receive side scaling (82599 datasheet 7.1.2.8; `ixgbe_setup_mrqc`).

use crate::{
    chip::Chip,
    io::modify,
    mbx::{
        RETA_SIZE,
        RSS_KEY_SIZE, //
    },
    regs::*,
    sriov::Pools,
    Regs, //
};

/// Most RSS queues without pools (`IXGBE_MAX_RSS_INDICES`).
pub const MAX_RSS_QUEUES: u32 = 16;

/// Entries of the redirection table of a pool that has one.
pub const POOL_ENTRIES: usize = 64;

/// What is hashed by default.
const FIELDS: u32 =
    MRQC_RSS_FIELD_IPV4 | MRQC_RSS_FIELD_IPV4_TCP | MRQC_RSS_FIELD_IPV6 | MRQC_RSS_FIELD_IPV6_TCP;

/// Where frames are spread: a chip, how its queues are divided, and which pool is the PF's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The chip.
    pub chip: Chip,
    /// Division of the queues.
    pub pools: Option<Pools>,
    /// The PF's pool.
    pub pool: u32,
}

impl From<Option<Pools>> for Place {
    /// On an 82599.
    fn from(pools: Option<Pools>) -> Self {
        Self {
            pools,
            ..Self::default()
        }
    }
}

impl Place {
    /// The pool, if it has key, table and functions of its own. With traffic classes there is no RSS.
    fn own_pool(self) -> Option<u32> {
        let rss = matches!(self.pools, Some(Pools::P64 | Pools::P32));
        (rss && self.chip.has_rss_of_pools()).then_some(self.pool)
    }

    /// Whether the hardware can do what `table` says: a pool of its own repeats the first entries.
    pub fn takes(self, table: impl Fn(usize) -> u32) -> bool {
        self.own_pool().is_none()
            || (POOL_ENTRIES..RETA_SIZE).all(|i| table(i) == table(i % POOL_ENTRIES))
    }
}

/// RSS key in the dwords that RSSRK takes.
pub type Key = [u32; RSS_KEY_SIZE / 4];

/// What RSS hashes and where it sends frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rss {
    /// Key.
    pub key: Key,
    /// Queue of each hash, modulo 128.
    pub table: [u8; RETA_SIZE],
    /// Hash ports of UDP over IPv4.
    pub udp4: bool,
    /// Hash ports of UDP over IPv6.
    pub udp6: bool,
}

impl Rss {
    /// Spreads over `queues` in turn; VFs share the table and may have four queues, which it must name.
    pub fn new(key: Key, queues: u32) -> Self {
        let mut rss = Self {
            key,
            table: [0; RETA_SIZE],
            udp4: false,
            udp6: false,
        };
        rss.spread(queues);
        rss
    }

    /// Spreads over `queues` in turn (`ixgbe_setup_reta`).
    pub fn spread(&mut self, queues: u32) {
        let queues = queues.clamp(1, MAX_RSS_QUEUES) as u8;
        let mut next = 0u8;
        for e in &mut self.table {
            *e = next;
            next = next.wrapping_add(1);
            if next >= queues {
                next = 0;
            }
        }
    }

    /// Writes the table (`ixgbe_store_reta`, `ixgbe_store_vfreta`). One that the hardware has larger is repeated.
    pub fn store_table(&self, io: &impl Regs, place: impl Into<Place>) {
        let place = place.into();
        let own = place.own_pool();
        let count = match own {
            Some(_) => POOL_ENTRIES as u32,
            None => place.chip.rss_entries(),
        };
        let words = self.table.chunks_exact(4).cycle();
        for (i, entries) in (0..count / 4).zip(words) {
            let register = match (own, i.checked_sub(RETA_SIZE as u32 / 4)) {
                (Some(pool), _) => pfvfreta(i, pool),
                (None, Some(extended)) => ereta(extended),
                (None, None) => reta(i),
            };
            io.write32(register, dword(entries));
        }
    }

    /// Writes the key (`ixgbe_store_key`, `ixgbe_setup_vfreta`).
    pub fn store_key(&self, io: &impl Regs, place: impl Into<Place>) {
        let own = place.into().own_pool();
        for (i, word) in (0u32..).zip(self.key) {
            io.write32(own.map_or(rssrk(i), |pool| pfvfrssrk(i, pool)), word);
        }
    }

    /// Writes key, table and mode; the mode must only change while the receiver is stopped (8.2.3.7.12).
    pub fn configure(&self, io: &impl Regs, place: impl Into<Place>) {
        let place = place.into();
        // The hash takes the place of the fragment checksum in the descriptor.
        modify(io, RXCSUM, RXCSUM_PCSD, RXCSUM_PCSD);
        self.store_key(io, place);
        self.store_table(io, place);
        self.store_mode(io, place);
    }

    /// Writes the mode and the fields.
    pub fn store_mode(&self, io: &impl Regs, place: impl Into<Place>) {
        let place = place.into();
        let mode = match place.pools {
            None => MRQC_RSSEN,
            Some(Pools::P64) => MRQC_VMDQRSS64EN,
            Some(Pools::P32) => MRQC_VMDQRSS32EN,
            // 16 pools have eight traffic classes instead of RSS.
            Some(Pools::P16) => MRQC_VMDQRT8TCEN,
        };
        let udp4 = if self.udp4 {
            MRQC_RSS_FIELD_IPV4_UDP
        } else {
            0
        };
        let udp6 = if self.udp6 {
            MRQC_RSS_FIELD_IPV6_UDP
        } else {
            0
        };
        let fields = FIELDS | udp4 | udp6;
        match place.own_pool() {
            Some(pool) => {
                // What comes through the internal switch is hashed as well, as on the older chips.
                io.write32(MRQC, mode | MRQC_MULTIPLE_RSS | MRQC_L3L4TXSWEN);
                io.write32(pfvfmrqc(pool), MRQC_RSSEN | fields);
            }
            None => io.write32(MRQC, mode | fields),
        }
    }
}

/// A register's value, from its bytes with the lowest first.
fn dword(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |acc, b| acc << 8 | u32::from(*b))
}

/// Queue of entry `i` of the table of a VF with RSS of its own.
pub fn vf_entry(i: usize, queues: u32) -> u32 {
    (i % POOL_ENTRIES) as u32 % queues.max(1)
}

/// Sets up RSS of a VF that has its own (`ixgbevf_setup_vfmrqc`): spreads over `queues` in turn.
pub fn setup_vf(io: &impl Regs, key: &Key, queues: u32) {
    for (i, word) in (0u32..).zip(key) {
        io.write32(vfrssrk(i), *word);
    }
    for i in 0..POOL_ENTRIES / 4 {
        let first = i.saturating_mul(4);
        let entries = (first..first.saturating_add(4)).rev();
        let val = entries.fold(0, |acc, i| acc << 8 | vf_entry(i, queues));
        io.write32(vfreta(i as u32), val);
    }
    io.write32(VFMRQC, MRQC_RSSEN | FIELDS);
}

/// Takes key, table and functions from a pool of an X550 whose VF was reset. No source says that an FLR
/// clears them, and the VF's next user can read them.
pub fn clear_pool(io: &impl Regs, pool: u32) {
    io.write32(pfvfmrqc(pool), 0);
    store_pool(io, pool, &Key::default(), &[0; POOL_ENTRIES]);
}

/// Writes key and table of a pool that has its own; they count by its PFVFMRQC.
pub fn store_pool(io: &impl Regs, pool: u32, key: &Key, table: &[u8; POOL_ENTRIES]) {
    for (i, word) in (0u32..).zip(key) {
        io.write32(pfvfrssrk(i, pool), *word);
    }
    for (i, four) in (0u32..).zip(table.chunks_exact(4)) {
        io.write32(pfvfreta(i, pool), dword(four));
    }
}

/// Key in the dwords of the registers, from its bytes.
pub fn key_of(bytes: &[u8; RSS_KEY_SIZE]) -> Key {
    let mut key = Key::default();
    for (k, b) in key.iter_mut().zip(bytes.chunks_exact(4)) {
        *k = dword(b);
    }
    key
}

/// Says how many of a pool's queues RSS uses, and which headers are known (`ixgbe_setup_psrtype`).
pub fn setup_psrtype(io: &impl Regs, pool: u32, queues: u32) {
    io.write32(psrtype(pool), psrtype_value(queues));
}

/// Value for a pool's PSRTYPE, or a VF's VFPSRTYPE.
pub const fn psrtype_value(queues: u32) -> u32 {
    let rqpl = if queues > 3 {
        2
    } else if queues > 1 {
        1
    } else {
        0
    };
    PSRTYPE_TCPHDR | PSRTYPE_UDPHDR | PSRTYPE_IPV4HDR | PSRTYPE_IPV6HDR | PSRTYPE_L2HDR | rqpl << 29
}
