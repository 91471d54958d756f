// SPDX-License-Identifier: GPL-2.0
//! Content that proves itself: what the station and the machines send each other can be checked byte for byte by whoever
//! receives it, without having seen it before.

/// First bytes of every test datagram.
pub const MAGIC: [u8; 4] = *b"LABF";

/// Bytes in front of the pattern: magic, flow (u32), sequence number (u64), time of sending in ns (u64), little-endian.
pub const HEADER: usize = 24;

/// UDP port on which a machine echoes test datagrams.
pub const ECHO_PORT: u16 = 4241;

/// TCP port on which the station checks a stream of [`stream_byte`].
pub const STREAM_PORT: u16 = 4242;

/// TCP port on which the station sends such streams.
pub const SOURCE_PORT: u16 = 4243;

/// Bytes per second of each stream that does not go as fast as it can: many at a time must leave an emulated VM room to move. With
/// eight times as much, in eight streams each way, it dirtied memory faster than it could be sent.
pub const STREAM_RATE: u64 = 16 * 1024;

/// Bytes that such a stream sends at a time: a frame and a part of one.
pub const STREAM_BLOCK: u64 = 2048;

/// Steele et al., "Fast splittable pseudorandom number generators" (2014): the finaliser of SplitMix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Byte number `offset` of the test stream.
pub fn stream_byte(offset: u64) -> u8 {
    let word = mix(offset / 8).to_le_bytes();
    word.get((offset % 8) as usize).copied().unwrap_or_default()
}

/// What a test datagram says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Which flow it belongs to.
    pub flow: u32,
    /// Its place in the flow, from 0.
    pub seq: u64,
    /// The sender's clock at sending, in ns.
    pub sent_ns: u64,
}

fn body_byte(d: &Datagram, i: usize) -> u8 {
    // Every datagram has a content of its own, so that a buffer delivered twice or a stale one is seen.
    stream_byte(
        d.seq
            .wrapping_mul(0x1_0001)
            .wrapping_add(u64::from(d.flow) << 40)
            .wrapping_add(i as u64),
    )
}

impl Datagram {
    /// Makes the datagram's content, `len` bytes, or [`HEADER`] where `len` is less.
    pub fn encode(&self, len: usize) -> Vec<u8> {
        let mut v = Vec::with_capacity(len.max(HEADER));
        v.extend_from_slice(&MAGIC);
        v.extend_from_slice(&self.flow.to_le_bytes());
        v.extend_from_slice(&self.seq.to_le_bytes());
        v.extend_from_slice(&self.sent_ns.to_le_bytes());
        v.extend((HEADER..len).map(|i| body_byte(self, i)));
        v
    }

    /// Reads a datagram's header; `None` if it is none of ours.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_at_checked(4)?;
        let (flow, rest) = rest.split_at_checked(4)?;
        let (seq, rest) = rest.split_at_checked(8)?;
        let (sent, _) = rest.split_at_checked(8)?;
        (magic == MAGIC).then_some(Self {
            flow: u32::from_le_bytes(flow.try_into().ok()?),
            seq: u64::from_le_bytes(seq.try_into().ok()?),
            sent_ns: u64::from_le_bytes(sent.try_into().ok()?),
        })
    }

    /// Whether every byte behind the header is as it was sent.
    pub fn is_intact(&self, bytes: &[u8]) -> bool {
        bytes
            .iter()
            .enumerate()
            .skip(HEADER)
            .all(|(i, b)| *b == body_byte(self, i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_seen() {
        let d = Datagram {
            flow: 3,
            seq: 9,
            sent_ns: 77,
        };
        let good = d.encode(200);
        assert_eq!(Datagram::decode(&good), Some(d));
        assert!(d.is_intact(&good));
        for i in HEADER..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert!(!d.is_intact(&bad), "byte {i}");
        }
    }

    #[test]
    fn another_datagrams_content_is_seen() {
        let (a, b) = (
            Datagram {
                flow: 1,
                seq: 1,
                sent_ns: 0,
            },
            Datagram {
                flow: 1,
                seq: 2,
                sent_ns: 0,
            },
        );
        assert!(!a.is_intact(&b.encode(100)));
        assert_eq!(Datagram::decode(b"LABX0000000000000000000000"), None);
        assert_eq!(Datagram::decode(b"LABF"), None);
    }
}
