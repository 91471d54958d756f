// SPDX-License-Identifier: GPL-2.0
//! Transmit offloads: what descriptors ask to be done to a frame on its way out.

use libixgbe::desc;

use super::checksum::Sum;
use super::context::{Context, DataOptions, Error};
use super::insert::{insert_ip_checksum, insert_l4_checksum};
use super::{fcs, put, tso, vlan};

/// The options of a frame, from its first legacy descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegacyOptions {
    /// CMD.IC: insert a checksum.
    pub checksum: bool,
    /// CSS: where summing starts.
    pub start: u8,
    /// CSO: where the checksum goes.
    pub offset: u8,
    /// CMD.VLE: insert the tag below.
    pub vlan: bool,
    /// Tag control information.
    pub tci: u16,
    /// CMD.IFCS, as for advanced descriptors.
    pub insert_fcs: bool,
}

impl LegacyOptions {
    /// Decodes the descriptor.
    pub fn decode(descriptor: &desc::LegacyTx) -> Self {
        let command = u32::from(descriptor.cmd) << 24;
        Self {
            checksum: command & desc::TXD_CMD_IC != 0,
            start: descriptor.css,
            offset: descriptor.cso,
            vlan: command & desc::TXD_CMD_VLE != 0,
            tci: descriptor.vlan.get(),
            insert_fcs: command & desc::TXD_CMD_IFCS != 0,
        }
    }
}

/// What the device's registers say for every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// DMATXCTL.VT: EtherType of an inserted tag.
    pub vlan_ethertype: u16,
    /// DTXTCPFLGL and DTXTCPFLGH.
    pub tcp_flags: tso::FlagMasks,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vlan_ethertype: 0x8100,
            tcp_flags: tso::FlagMasks::default(),
        }
    }
}

/// Sends a frame of advanced descriptors: checksums, segmentation, tag.
///
/// `frame` is the concatenated data and is used as scratch space. `tag` is the tag to insert: the context's with
/// [`DataOptions::vlan`], or the pool's own with VMVIR. `emit` gets each frame as it goes on the wire. Returns how
/// many that were.
pub fn advanced(
    frame: &mut Vec<u8>,
    context: &Context,
    options: &DataOptions,
    tag: Option<u16>,
    config: &Config,
    mut emit: impl FnMut(&[u8]),
) -> Result<u32, Error> {
    let headers = if options.segment {
        usize::from(context.mac_len) + usize::from(context.ip_len) + usize::from(context.l4_len)
    } else {
        0
    };
    let payload = frame.len().checked_sub(headers).ok_or(Error::Header)?;
    if u32::try_from(payload) != Ok(options.payload_len) {
        return Err(Error::PayloadLen);
    }
    if !options.insert_fcs && !fcs::strip(frame) {
        return Err(Error::Fcs);
    }
    let mut mac_len = usize::from(context.mac_len);
    if let Some(tci) = tag {
        if !vlan::insert(frame, config.vlan_ethertype, tci) {
            return Err(Error::Header);
        }
        mac_len += vlan::TAG_LEN;
    }
    if options.segment {
        return tso::segment(frame, mac_len, context, options, config.tcp_flags, emit);
    }
    if options.ip_checksum && context.ipv4 {
        insert_ip_checksum(frame, mac_len, context)?;
    }
    if options.l4_checksum {
        insert_l4_checksum(frame, mac_len, context, 0)?;
    }
    emit(frame);
    Ok(1)
}

/// Sends a frame of legacy descriptors. `tag` as for [`advanced`].
pub fn legacy(
    frame: &mut Vec<u8>,
    options: &LegacyOptions,
    tag: Option<u16>,
    config: &Config,
    mut emit: impl FnMut(&[u8]),
) -> Result<u32, Error> {
    if !options.insert_fcs && !fcs::strip(frame) {
        return Err(Error::Fcs);
    }
    let (start, offset) = (usize::from(options.start), usize::from(options.offset));
    // An offset out of range means no insertion, not an error, on the whole family (82575 manual 5.6.5.2). The result
    // zero stays zero: "UDP checksum calculation is not supported" (82598 3.5.3.3.1.1).
    if options.checksum && offset + 2 <= frame.len() {
        if let Some(summed) = frame.get(start..) {
            let sum = Sum::default().bytes(summed).checksum();
            put(frame, offset, &sum.to_be_bytes());
        }
    }
    if let Some(tci) = tag {
        if !vlan::insert(frame, config.vlan_ethertype, tci) {
            return Err(Error::Header);
        }
    }
    emit(frame);
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::super::context::L4Type;
    use super::super::testing::{sample, send};
    use super::*;
    use proptest::prelude::*;

    fn plain(len: usize) -> DataOptions {
        DataOptions {
            insert_fcs: true,
            payload_len: len as u32,
            ..Default::default()
        }
    }

    proptest! {
        #[test]
        fn checksums_equal_the_packet_crate_s(sample in sample(2000), tag: Option<u16>) {
            let (frame, context, options) = sample.request(None);
            let mut want = sample.frame.clone();
            if let Some(tci) = tag {
                vlan::insert(&mut want, 0x8100, tci);
            }
            let wire = send(&frame, &context, &options, tag, &Config::default());
            prop_assert_eq!(wire, Ok(vec![want]));
        }

        #[test]
        fn legacy_checksum_equals_the_packet_crate_s(sample in sample(2000), tag: Option<u16>) {
            // Without a translation of 0 to 0xffff, UDP is not for legacy descriptors.
            prop_assume!(sample.tcp.is_some());
            let at = sample.checksum_at();
            let mut frame = sample.frame.clone();
            frame[at..at + 2].copy_from_slice(&sample.seed(true).to_be_bytes());
            let descriptor = desc::LegacyTx {
                cso: at as u8,
                css: (14 + sample.ip_len()) as u8,
                cmd: ((desc::TXD_CMD_IC | desc::TXD_CMD_IFCS | desc::TXD_CMD_VLE) >> 24) as u8,
                vlan: tag.unwrap_or_default().into(),
                ..Default::default()
            };
            let options = LegacyOptions::decode(&descriptor);
            prop_assert!(options.vlan);
            let mut want = sample.frame.clone();
            if let Some(tci) = tag {
                prop_assert_eq!(options.tci, tci);
                vlan::insert(&mut want, 0x8100, tci);
            }
            let mut wire = Vec::new();
            let sent = legacy(&mut frame, &options, tag, &Config::default(), |out| {
                wire.push(out.to_vec())
            });
            prop_assert_eq!(sent, Ok(1));
            prop_assert_eq!(wire, [want]);
        }

        #[test]
        fn context_fields_survive_the_descriptor(
            mac_len in 0u8..128,
            ip_len in 0u16..512,
            l4_len: u8,
            mss: u16,
            vlan: u16,
            index in 0u8..8,
            ipv4: bool,
        ) {
            // Packed as K's ixgbe_tx_ctxtdesc and its callers do.
            let descriptor = desc::AdvTxContext {
                vlan_macip_lens: (u32::from(ip_len)
                    | u32::from(mac_len) << desc::ADVTXD_MACLEN_SHIFT
                    | u32::from(vlan) << desc::ADVTXD_VLAN_SHIFT)
                    .into(),
                fceof_saidx: 0.into(),
                type_tucmd_mlhl: (desc::ADVTXD_DTYP_CTXT
                    | desc::ADVTXD_DCMD_DEXT
                    | desc::ADVTXD_TUCMD_L4T_TCP
                    | if ipv4 { desc::ADVTXD_TUCMD_IPV4 } else { 0 })
                    .into(),
                mss_l4len_idx: (u32::from(index) << desc::ADVTXD_IDX_SHIFT
                    | u32::from(l4_len) << desc::ADVTXD_L4LEN_SHIFT
                    | u32::from(mss) << desc::ADVTXD_MSS_SHIFT)
                    .into(),
            };
            let l4 = L4Type::Tcp;
            prop_assert_eq!(
                Context::decode(&descriptor),
                Context { mac_len, ip_len, l4_len, mss, vlan, ipv4, snap: false, l4, index }
            );
        }

        #[test]
        fn data_options_survive_the_descriptor(
            flags: (bool, bool, bool, bool, bool, bool),
            index in 0u8..8,
            payload_len in 0u32..1 << 18,
            len: u16,
        ) {
            let (ip_checksum, l4_checksum, segment, vlan, insert_fcs, check_context) = flags;
            let bit = |set: bool, bit: u32| if set { bit } else { 0 };
            let descriptor = desc::AdvTxData {
                buffer_addr: 0.into(),
                cmd_type_len: (desc::ADVTXD_DTYP_DATA
                    | desc::ADVTXD_DCMD_DEXT
                    | desc::ADVTXD_DCMD_EOP
                    | desc::ADVTXD_DCMD_RS
                    | u32::from(len)
                    | bit(segment, desc::ADVTXD_DCMD_TSE)
                    | bit(vlan, desc::ADVTXD_DCMD_VLE)
                    | bit(insert_fcs, desc::ADVTXD_DCMD_IFCS))
                    .into(),
                olinfo_status: (bit(ip_checksum, desc::ADVTXD_POPTS_IXSM)
                    | bit(l4_checksum, desc::ADVTXD_POPTS_TXSM)
                    | bit(check_context, desc::ADVTXD_CC)
                    | u32::from(index) << desc::ADVTXD_IDX_SHIFT
                    | payload_len << desc::ADVTXD_PAYLEN_SHIFT)
                    .into(),
            };
            prop_assert_eq!(
                DataOptions::decode(&descriptor),
                DataOptions {
                    ip_checksum,
                    l4_checksum,
                    segment,
                    vlan,
                    insert_fcs,
                    check_context,
                    index,
                    payload_len,
                }
            );
        }

        #[test]
        fn no_legacy_descriptor_makes_it_panic(
            frame: Vec<u8>, start: u8, offset: u8, insert_fcs: bool, tag: Option<u16>,
        ) {
            let options = LegacyOptions { checksum: true, start, offset, insert_fcs, ..Default::default() };
            let sent = legacy(&mut frame.clone(), &options, tag, &Config::default(), |_| {});
            let taken = insert_fcs || fcs::strip(&mut frame.clone());
            prop_assert!(taken || sent == Err(Error::Fcs));
        }
    }

    #[test]
    fn sctp_gets_its_crc() {
        let mut frame = vec![0; 14 + 20];
        // Ports, tag, checksum, and a chunk.
        frame.extend([0x13, 0x88, 0x13, 0x89, 1, 2, 3, 4, 9, 9, 9, 9, 0, 3, 0, 4]);
        let mut zeroed = frame[34..].to_vec();
        zeroed[8..12].fill(0);
        let context = Context {
            mac_len: 14,
            ip_len: 20,
            l4: L4Type::Sctp,
            ..Default::default()
        };
        let options = DataOptions {
            l4_checksum: true,
            ..plain(frame.len())
        };
        let wire = send(&frame, &context, &options, None, &Config::default()).unwrap();
        assert_eq!(wire[0][42..46], crc32c::crc32c(&zeroed).to_le_bytes());
    }

    #[test]
    fn udp_checksum_is_never_zero() {
        // The seed is chosen so that everything sums to 0xffff.
        let mut frame = vec![0; 14 + 20 + 8];
        frame[40..42].copy_from_slice(&[0xff, 0xff]);
        let context = Context {
            mac_len: 14,
            ip_len: 20,
            ..Default::default()
        };
        let options = DataOptions {
            l4_checksum: true,
            ..plain(frame.len())
        };
        let wire = send(&frame, &context, &options, None, &Config::default()).unwrap();
        assert_eq!(wire[0][40..42], [0xff, 0xff]);
    }

    #[test]
    fn a_frame_with_its_own_fcs() {
        let body: Vec<u8> = (0..64).collect();
        let mut frame = body.clone();
        fcs::append(&mut frame);
        let options = DataOptions {
            insert_fcs: false,
            ..plain(frame.len())
        };
        let context = Context::default();
        let config = Config::default();
        let wire = send(&frame, &context, &options, None, &config);
        assert_eq!(wire, Ok(vec![body]));
        frame[3] ^= 1;
        let wire = send(&frame, &context, &options, None, &config);
        assert_eq!(wire, Err(Error::Fcs));
    }
}
