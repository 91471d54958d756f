// SPDX-License-Identifier: GPL-2.0
//! Receive side scaling (82599 datasheet 7.1.2.8; `ixgbe_setup_mrqc`).

use crate::{
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

    /// Writes the table (`ixgbe_store_reta`).
    pub fn store_table(&self, io: &impl Regs) {
        for (i, entries) in (0u32..).zip(self.table.chunks_exact(4)) {
            let val = entries
                .iter()
                .rev()
                .fold(0, |acc, e| acc << 8 | u32::from(*e));
            io.write32(reta(i), val);
        }
    }

    /// Writes the key (`ixgbe_store_key`).
    pub fn store_key(&self, io: &impl Regs) {
        for (i, word) in (0u32..).zip(self.key) {
            io.write32(rssrk(i), word);
        }
    }

    /// Writes key, table and mode; the mode must only change while the receiver is stopped (8.2.3.7.12).
    pub fn configure(&self, io: &impl Regs, pools: Option<Pools>) {
        // The hash takes the place of the fragment checksum in the descriptor.
        modify(io, RXCSUM, RXCSUM_PCSD, RXCSUM_PCSD);
        self.store_key(io);
        self.store_table(io);
        self.store_mode(io, pools);
    }

    /// Writes the mode and the fields.
    pub fn store_mode(&self, io: &impl Regs, pools: Option<Pools>) {
        let mode = match pools {
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
        let fields = MRQC_RSS_FIELD_IPV4
            | MRQC_RSS_FIELD_IPV4_TCP
            | MRQC_RSS_FIELD_IPV6
            | MRQC_RSS_FIELD_IPV6_TCP;
        io.write32(MRQC, mode | fields | udp4 | udp6);
    }
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
