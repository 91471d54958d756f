// SPDX-License-Identifier: GPL-2.0
//! What the 82599 does to a frame, as pure functions over byte slices.
//!
//! Nothing here knows registers, rings or pools: the device model decodes those and calls these functions. Every
//! function accepts any bytes, because a guest or the wire chooses them.
//!
//! A frame never carries its FCS here, as on QEMU's and the lab's wires; [`fcs`] converts where a driver supplies or
//! wants to see it.
//!
//! Sources, and their short names in the comments below:
//! - **K**: Linux 7.3, `drivers/net/ethernet/intel/ixgbe`;
//! - **82598**: Intel 82598EB datasheet, the direct predecessor, whose text on descriptors and offloads is public page
//!   by page; the 82599 datasheet was not at hand;
//! - **D**: DPDK `drivers/net/ixgbe/ixgbe_rxtx.c`.

pub mod checksum;
pub mod context;
pub mod fcs;
pub mod hash_filter;
mod insert;
pub mod parse;
pub mod rss;
pub mod rx;
pub mod tso;
pub mod tx;
pub mod vlan;

#[cfg(test)]
mod testing;

/// The big-endian 16-bit field at `offset`, if the slice reaches that far.
pub(crate) fn be16(bytes: &[u8], offset: usize) -> Option<u16> {
    let field = bytes.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

/// The big-endian 32-bit field at `offset`, if the slice reaches that far.
pub(crate) fn be32(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

/// Writes `value` at `offset`; false, and nothing written, if the slice does not reach that far.
pub(crate) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) -> bool {
    let field = offset
        .checked_add(value.len())
        .and_then(|end| bytes.get_mut(offset..end));
    match field {
        Some(field) => {
            field.copy_from_slice(value);
            true
        }
        None => false,
    }
}
