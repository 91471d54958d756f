// SPDX-License-Identifier: GPL-2.0
//! CRC-32C (Castagnoli), as in iSCSI (RFC 3720, B.4): reflected, initial value and final XOR all ones.

const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 {
                crc >> 1 ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// Running checksum over several slices.
#[derive(Clone, Copy)]
pub(super) struct Crc32c(u32);

impl Crc32c {
    /// The checksum of nothing.
    pub(super) const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Continues over `bytes`.
    #[must_use]
    pub(super) fn update(self, bytes: &[u8]) -> Self {
        let step = |crc: u32, byte: &u8| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)];
        Self(bytes.iter().fold(self.0, step))
    }

    /// The checksum of all that was seen.
    pub(super) const fn finish(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of RFC 3720, B.4, and the check value of the CRC catalogue.
    #[test]
    fn published_vectors() {
        let crc = |b: &[u8]| Crc32c::new().update(b).finish();
        assert_eq!(crc(b"123456789"), 0xe306_9283);
        assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc(&[0xff; 32]), 0x62a8_ab43);
        let up: [u8; 32] = core::array::from_fn(|i| i as u8);
        assert_eq!(crc(&up), 0x46dd_794e);
        assert_eq!(
            Crc32c::new().update(&up[..7]).update(&up[7..]).finish(),
            0x46dd_794e
        );
    }
}
