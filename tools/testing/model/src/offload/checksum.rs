// SPDX-License-Identifier: GPL-2.0
//! The Internet checksum (RFC 1071) and SCTP's CRC-32C (RFC 9260 section 6.8).

/// A one's complement sum in progress, in 16-bit big-endian words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes that start on an even offset of the summed data; a trailing odd byte is padded with zero.
    #[must_use]
    pub fn bytes(self, data: &[u8]) -> Self {
        // 2^32 = 1 modulo 2^16 - 1, so that words of 32 bits can be added and folded at the end. The count of words
        // in a frame is far too small for the 64-bit sum to overflow.
        let words = data.chunks_exact(4);
        let mut tail = [0; 4];
        for (to, from) in tail.iter_mut().zip(words.remainder()) {
            *to = *from;
        }
        let sum = words.fold(self.short(), |sum, word| {
            sum + u64::from(u32::from_be_bytes(word.try_into().unwrap_or_default()))
        });
        Self(sum + u64::from(u32::from_be_bytes(tail)))
    }

    /// Adds a number, as if it stood in the data as 32 bits.
    #[must_use]
    pub fn number(self, value: u32) -> Self {
        Self(self.short() + u64::from(value))
    }

    /// The same sum in 16 bits. One's complement has two zeros, of which an adder gives the one with all bits set, unless
    /// nothing but zeros was added: what is behind it must not be taken for that.
    fn short(self) -> u64 {
        match self.0.checked_sub(1) {
            Some(less) => less % 0xffff + 1,
            None => 0,
        }
    }

    /// The sum itself: what a driver seeds a checksum field with.
    pub fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        // Just folded below 2^16.
        u16::try_from(sum).unwrap_or_default()
    }

    /// The checksum: the complement of the sum. Zero over data that carries a right checksum.
    pub fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The sum of an IPv4 or IPv6 pseudo-header, whose addresses tell which; `length` counts the transport header and its
/// payload in bytes.
pub fn pseudo_header(source: &[u8], destination: &[u8], protocol: u8, length: u32) -> Sum {
    Sum::default()
        .bytes(source)
        .bytes(destination)
        .number(u32::from(protocol))
        .number(length)
}

/// Where an SCTP packet keeps its checksum, from the start of its header.
pub(crate) const SCTP_FIELD: usize = 8;

/// The CRC-32C of an SCTP packet with its checksum field taken as zero, as the bytes that go into that field.
pub fn sctp(packet: &[u8]) -> [u8; 4] {
    let (head, rest) = packet.split_at(packet.len().min(SCTP_FIELD));
    let crc = crc32c::crc32c_append(crc32c::crc32c(head), &[0; 4]);
    crc32c::crc32c_append(crc, rest.get(4..).unwrap_or_default()).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_1071() {
        // RFC 1071 section 3.
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().bytes(&data).fold(), 0xddf2);
        assert_eq!(Sum::default().bytes(&data).checksum(), !0xddf2);
    }

    /// Of one case in 65536 a property test of the whole frame saw the other zero.
    #[test]
    fn a_sum_that_is_no_zero_does_not_become_one() {
        let sum = Sum::default().bytes(&[0xff, 0xff]);
        for same in [sum, sum.number(0), sum.bytes(&[0, 0]), sum.number(0xffff)] {
            assert_eq!((same.fold(), same.checksum()), (0xffff, 0));
        }
        assert_eq!(Sum::default().number(0).bytes(&[0; 8]).fold(), 0);
    }

    #[test]
    fn odd_tail_is_padded_with_zero() {
        for end in 0..9 {
            let data = [0xff, 0x13, 0x80, 0x01, 0x7f, 0xfe, 0x02, 0xaa, 0x55];
            let mut padded = data[..end].to_vec();
            padded.resize(end.next_multiple_of(2), 0);
            let plain = padded
                .chunks(2)
                .fold(0u32, |sum, w| sum + u32::from(w[0]) * 256 + u32::from(w[1]));
            let plain = (plain & 0xffff) + (plain >> 16);
            assert_eq!(
                u32::from(Sum::default().bytes(&data[..end]).fold()),
                (plain & 0xffff) + (plain >> 16)
            );
        }
    }

    #[test]
    fn crc32c_check_value() {
        // The catalogue's check value of CRC-32/ISCSI, over "123456789".
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // The field itself does not count, whatever it holds.
        assert_eq!(sctp(b"12345678abcd9"), sctp(b"12345678wxyz9"));
        assert_eq!(
            sctp(b"12345678abcd9"),
            crc32c::crc32c(b"12345678\0\0\0\x009").to_le_bytes()
        );
    }
}
