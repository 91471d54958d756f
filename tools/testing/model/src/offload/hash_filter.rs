// SPDX-License-Identifier: GPL-2.0
//! The inexact address filters: multicast (MTA) and unicast (UTA) tables of 4096 bits.

/// Registers in MTA and in UTA.
pub const REGISTERS: usize = 128;

/// The table position of an address, 12 bits. `offset` is MCSTCTRL.MO, which chooses the bits of the address (K:
/// `ixgbe_mta_vector`).
pub fn vector(address: [u8; 6], offset: u32) -> u16 {
    let [.., low, high] = address;
    let bits = u16::from_le_bytes([low, high]);
    match offset & 3 {
        0 => bits >> 4,
        1 => (bits >> 3) & 0xfff,
        2 => (bits >> 2) & 0xfff,
        _ => bits & 0xfff,
    }
}

/// Whether the table has the address. The upper seven bits of the vector choose the register, the lower five the bit
/// (K: `ixgbe_set_mta`).
pub fn matches(table: &[u32; REGISTERS], address: [u8; 6], offset: u32) -> bool {
    let vector = vector(address, offset);
    table
        .get(usize::from(vector >> 5))
        .is_some_and(|register| register >> (vector & 0x1f) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vectors_as_the_kernel_computes_them() {
        // By hand from the four lines of ixgbe_mta_vector(): bytes 4 and 5 are 0xb4 and 0x9a.
        let address = [0x01, 0x00, 0x5e, 0x12, 0xb4, 0x9a];
        assert_eq!(vector(address, 0), 0x9ab);
        assert_eq!(vector(address, 1), 0x356);
        assert_eq!(vector(address, 2), 0x6ad);
        assert_eq!(vector(address, 3), 0xab4);
    }

    proptest! {
        #[test]
        fn exactly_the_set_bit_matches(address: [u8; 6], other: [u8; 6], offset in 0u32..4) {
            let mut table = [0; REGISTERS];
            prop_assert!(!matches(&table, address, offset));
            let at = vector(address, offset);
            table[usize::from(at / 32)] = 1 << (at % 32);
            prop_assert!(matches(&table, address, offset));
            prop_assert_eq!(matches(&table, other, offset), vector(other, offset) == at);
        }
    }
}
