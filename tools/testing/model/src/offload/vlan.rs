// SPDX-License-Identifier: GPL-2.0
//! IEEE 802.1Q tags: insertion on transmit, removal on receive.

use super::{be16, put};

/// Length of a tag, with its EtherType, in bytes.
pub const TAG_LEN: usize = 4;

/// Both MAC addresses: a tag follows them.
pub const ADDRESSES_LEN: usize = 12;

/// Puts a tag behind the addresses; false, and nothing changed, for a frame too short to have them.
pub fn insert(frame: &mut Vec<u8>, ethertype: u16, tci: u16) -> bool {
    if frame.len() < ADDRESSES_LEN {
        return false;
    }
    let end = frame.len();
    frame.resize(end + TAG_LEN, 0);
    frame.copy_within(ADDRESSES_LEN..end, ADDRESSES_LEN + TAG_LEN);
    put(frame, ADDRESSES_LEN, &ethertype.to_be_bytes())
        && put(frame, ADDRESSES_LEN + 2, &tci.to_be_bytes())
}

/// The tag control information of the tag behind the addresses, if its EtherType is `ethertype` (VLNCTRL.VET).
pub fn tci(frame: &[u8], ethertype: u16) -> Option<u16> {
    if be16(frame, ADDRESSES_LEN)? != ethertype {
        return None;
    }
    be16(frame, ADDRESSES_LEN + 2)
}

/// Takes off the tag behind the addresses and returns its tag control information, if its EtherType is `ethertype`.
pub fn strip(frame: &mut Vec<u8>, ethertype: u16) -> Option<u16> {
    let tci = tci(frame, ethertype)?;
    frame.drain(ADDRESSES_LEN..ADDRESSES_LEN + TAG_LEN);
    Some(tci)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{EtherType, PacketBuilder, SlicedPacket, VlanId};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(body in prop::collection::vec(any::<u8>(), 0..200), ethertype: u16, tag: u16) {
            let mut frame = body.clone();
            let fits = insert(&mut frame, ethertype, tag);
            prop_assert_eq!(fits, body.len() >= ADDRESSES_LEN);
            if fits {
                prop_assert_eq!(frame.len(), body.len() + TAG_LEN);
                prop_assert_eq!(strip(&mut frame, ethertype.wrapping_add(1)), None);
                prop_assert_eq!(strip(&mut frame, ethertype), Some(tag));
            }
            prop_assert_eq!(frame, body);
        }

        #[test]
        fn as_the_packet_crate_writes_and_reads_it(vid in 0u16..4096, payload: Vec<u8>) {
            let addresses = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
            let ip = ([10, 0, 0, 1], [10, 0, 0, 2]);
            let mut plain = Vec::new();
            PacketBuilder::ethernet2(addresses.0, addresses.1)
                .ipv4(ip.0, ip.1, 64)
                .udp(1, 2)
                .write(&mut plain, &payload)
                .unwrap();
            let mut tagged = Vec::new();
            PacketBuilder::ethernet2(addresses.0, addresses.1)
                .single_vlan(VlanId::try_new(vid).unwrap())
                .ipv4(ip.0, ip.1, 64)
                .udp(1, 2)
                .write(&mut tagged, &payload)
                .unwrap();

            let mut ours = plain.clone();
            prop_assert!(insert(&mut ours, EtherType::VLAN_TAGGED_FRAME.0, vid));
            prop_assert_eq!(&ours, &tagged);
            let seen = SlicedPacket::from_ethernet(&tagged).unwrap();
            prop_assert_eq!(seen.vlan_ids().first().map(|id| id.value()), Some(vid));
            prop_assert_eq!(strip(&mut ours, 0x8100), Some(vid));
            prop_assert_eq!(ours, plain);
        }
    }
}
