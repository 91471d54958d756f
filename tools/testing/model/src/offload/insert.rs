// SPDX-License-Identifier: GPL-2.0
//! Checksums that the device writes into a frame on its way out.

use super::checksum::{self, Sum};
use super::context::{Context, Error, L4Type};
use super::{be16, put};

/// Sums the IPv4 header into its checksum field. What stands in that field counts: K seeds it to cancel out headers
/// that a tunnel puts within IPLEN.
pub(super) fn insert_ip_checksum(
    frame: &mut [u8],
    mac_len: usize,
    context: &Context,
) -> Result<(), Error> {
    let end = mac_len + usize::from(context.ip_len);
    let header = frame
        .get(mac_len..end)
        .filter(|header| header.len() >= 20)
        .ok_or(Error::Header)?;
    let checksum = Sum::default().bytes(header).checksum();
    put(frame, mac_len + 10, &checksum.to_be_bytes());
    Ok(())
}

/// Sums from the transport header to the end of the frame into the header's checksum field, whose content, the
/// pseudo-header's sum, counts. `length` is added: a segment's length, which the driver left out of the seed because it
/// differs from segment to segment (K: `ixgbe_tso`; 82598 tables 3-73 and 3-74).
pub(super) fn insert_l4_checksum(
    frame: &mut [u8],
    mac_len: usize,
    context: &Context,
    length: u32,
) -> Result<(), Error> {
    let field = context.l4.checksum_offset().ok_or(Error::L4Type)?;
    // The device asks for at least an Ethernet and six bytes of IP header (82598 3.5.3.3.1.2).
    if usize::from(context.mac_len) < 14 || context.ip_len < 6 {
        return Err(Error::Header);
    }
    let start = mac_len + usize::from(context.ip_len);
    let segment = frame.get(start..).ok_or(Error::Header)?;
    if be16(segment, field).is_none() {
        return Err(Error::Header);
    }
    let written = if context.l4 == L4Type::Sctp {
        put(frame, start + field, &checksum::sctp(segment))
    } else {
        let mut checksum = Sum::default().bytes(segment).number(length).checksum();
        if context.l4 == L4Type::Udp && checksum == 0 {
            // Zero would mean "no checksum" (RFC 768).
            checksum = 0xffff;
        }
        put(frame, start + field, &checksum.to_be_bytes())
    };
    if written {
        Ok(())
    } else {
        Err(Error::Header)
    }
}
