// SPDX-License-Identifier: GPL-2.0
//! Tells switches where a VF's addresses are now, whatever its guest does.
//!
//! The frame is the one that QEMU sends for its own devices (`announce_create_packet`): a reverse ARP request that asks
//! for nothing, so that no host answers or takes anything from it but the source address.

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

/// How many announcements a VF may cause. Whoever holds it may stop it and set it going without end, and with full lists
/// each time is worth 2,000 broadcasts; a VM that moves is announced at once, however often it moves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance {
    /// Frames that were sent and are not made up for yet, by one each millisecond.
    owed: u32,
}

impl Allowance {
    /// Owed by a VF that has to wait.
    const MOST: u32 = 1000;

    /// Nothing was sent.
    pub const fn new() -> Self {
        Self { owed: 0 }
    }

    /// Takes the room for a round of `frames`, `elapsed_ms` after the last one that there was room for.
    ///
    /// # Errors
    /// The milliseconds after which there is room.
    pub fn take(&mut self, elapsed_ms: u64, frames: u32) -> Result<(), u32> {
        let elapsed = u32::try_from(elapsed_ms).unwrap_or(u32::MAX);
        let owed = self.owed.saturating_sub(elapsed);
        match owed.checked_sub(Self::MOST) {
            Some(wait @ 1..) => Err(wait),
            _ => {
                self.owed = owed.saturating_add(frames);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One address moves as often as it likes; a list is announced once, and waits for the next time.
    #[test]
    fn a_flood_is_held_up_and_a_move_is_not() {
        let mut one = Allowance::new();
        assert!((0..10_000).all(|_| one.take(5, 2).is_ok()));
        let mut list = Allowance::new();
        assert_eq!(list.take(u64::MAX, 2145), Ok(()));
        assert_eq!(list.take(0, 2145), Err(1145));
        assert_eq!(list.take(1144, 2145), Err(1));
        assert_eq!(list.take(1145, 2145), Ok(()));
        let rounds = (0..10_000).filter(|_| list.take(1, u32::MAX).is_ok());
        assert_eq!(rounds.count(), 0);
    }

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
