// SPDX-License-Identifier: GPL-2.0
//! Tells switches where a VF's addresses are now, whatever its guest does.
//!
//! The frame is the one that QEMU sends for its own devices (`announce_create_packet`): a reverse ARP request that asks
//! for nothing, so that no host answers or takes anything from it but the source address.

use crate::allowance::Allowance;

/// Frames of announcements that a VF may cause. Whoever holds it may stop it and set it going without end, and with full
/// lists each time is worth 2,000 broadcasts; a VM that moves is announced at once, however often it moves.
pub type Announcements = Allowance<1000>;

/// Longest announcement in bytes, without FCS: with a VLAN tag.
pub const ANNOUNCEMENT_BYTES: usize = 64;

const ETH_P_RARP: u16 = 0x8035;
const ETH_P_8021Q: u16 = 0x8100;
/// Reverse ARP request (RFC 903).
const RARP_REQUEST: u16 = 3;

/// Writes an announcement of `mac` in VLAN `vlan` (0 for untagged) and returns the frame.
pub fn announcement<'a>(
    mac: &[u8; 6],
    vlan: u16,
    buffer: &'a mut [u8; ANNOUNCEMENT_BYTES],
) -> &'a [u8] {
    *buffer = [0; ANNOUNCEMENT_BYTES];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        // Every caller below stays inside the buffer.
        let end = at + bytes.len();
        if let Some(to) = buffer.get_mut(at..end) {
            to.copy_from_slice(bytes);
        }
        at = end;
    };
    put(&[0xff; 6]);
    put(mac);
    if vlan != 0 {
        put(&ETH_P_8021Q.to_be_bytes());
        put(&vlan.to_be_bytes());
    }
    put(&ETH_P_RARP.to_be_bytes());
    // Ethernet and IPv4, of 6 and 4 bytes.
    put(&[0, 1, 8, 0, 6, 4]);
    put(&RARP_REQUEST.to_be_bytes());
    put(mac);
    put(&[0; 4]);
    put(mac);
    put(&[0; 4]);
    let length = if vlan != 0 {
        ANNOUNCEMENT_BYTES
    } else {
        ANNOUNCEMENT_BYTES - 4
    };
    buffer.get(..length).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_qemu() {
        let mac = [0x52, 0x54, 0, 1, 2, 3];
        let mut buffer = [0xaa; ANNOUNCEMENT_BYTES];
        let frame = announcement(&mac, 0, &mut buffer);
        assert_eq!(frame.len(), 60);
        assert_eq!(
            frame[..22],
            [
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 1, 2, 3, 0x80, 0x35, 0, 1, 8, 0,
                6, 4, 0, 3
            ]
        );
        assert_eq!(frame[22..28], mac);
        assert_eq!(frame[32..38], mac);
        assert!(frame[38..].iter().all(|b| *b == 0));
        let frame = announcement(&mac, 100, &mut buffer);
        assert_eq!(frame.len(), 64);
        assert_eq!(frame[12..18], [0x81, 0, 0, 100, 0x80, 0x35]);
    }
}
