// SPDX-License-Identifier: GPL-2.0
//! The frame check sequence: IEEE 802.3 clause 3.2.9.

/// Length of the FCS in bytes.
pub const LEN: usize = 4;

/// The shortest frame on the wire without its FCS, to which HLREG0.TXPADEN pads (K: `ixgbe_type.h`).
pub const MIN_FRAME: usize = 60;

/// The FCS of a frame, as the bytes that follow it on the wire.
pub fn of(frame: &[u8]) -> [u8; LEN] {
    crc32fast::hash(frame).to_le_bytes()
}

/// Appends the FCS: what a receiver sees with HLREG0.RXCRCSTRP and RDRXCTL.CRCSTRIP clear.
pub fn append(frame: &mut Vec<u8>) {
    let fcs = of(frame);
    frame.extend_from_slice(&fcs);
}

/// Takes the FCS off a frame; false if it was missing or wrong.
pub fn strip(frame: &mut Vec<u8>) -> bool {
    let Some((body, fcs)) = frame.split_last_chunk::<LEN>() else {
        return false;
    };
    let right = of(body) == *fcs;
    frame.truncate(frame.len() - LEN);
    right
}

/// Pads a frame with zeros to [`MIN_FRAME`].
pub fn pad(frame: &mut Vec<u8>) {
    if frame.len() < MIN_FRAME {
        frame.resize(MIN_FRAME, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn check_value() {
        // The catalogue's check value of CRC-32/ISO-HDLC.
        assert_eq!(of(b"123456789"), 0xcbf4_3926u32.to_le_bytes());
    }

    #[test]
    fn too_short_to_have_one() {
        assert!(!strip(&mut vec![1, 2, 3]));
    }

    proptest! {
        #[test]
        fn appended_then_stripped(body: Vec<u8>, flip in 0usize..4, bit in 0u8..8) {
            let mut frame = body.clone();
            append(&mut frame);
            let mut broken = frame.clone();
            prop_assert!(strip(&mut frame));
            prop_assert_eq!(&frame, &body);
            let at = broken.len() - 1 - flip;
            broken[at] ^= 1 << bit;
            prop_assert!(!strip(&mut broken));
        }
    }
}
