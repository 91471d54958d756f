// SPDX-License-Identifier: GPL-2.0
//! Transmission (`ixgbevf_xmit_frame_ring`, 82599 datasheet 7.2).

use crate::{
    hw::Hw,
    stats::TxStats, //
};
use kernel::prelude::*;
use libixgbe::{
    desc::*,
    ring::{
        tx_descs,
        tx_descs_max,
        QueueRegs,
        TxRing as TxSetup,
        MAX_DATA_PER_TXD, //
    },
    vf::is_link_local,
};
use nic::{
    net::{
        features,
        Counter,
        DropReason,
        SkBuff,
        SkbRef,
        TxProducer,
        TxResult,
        TxRing,
        MAX_SKB_FRAGS, //
    },
    pci::Doorbell,
};

/// Longest MAC header that a context descriptor can describe, in bytes: 7 bits.
const MAX_MAC_HDR_LEN: u32 = 127;
/// Longest network header, in bytes: 9 bits.
const MAX_NETWORK_HDR_LEN: u32 = 511;
/// Shortest frame in bytes that the hardware takes (`ixgbevf_xmit_frame`).
const MIN_FRAME: u32 = 17;
/// Descriptors that any frame finds while the queue is not stopped. More than `DESC_NEEDED` in C,
/// which takes a fragment for a page at most.
pub(crate) const DESC_NEEDED: u32 = tx_descs_max(MAX_SKB_FRAGS);
/// Descriptors written back at once (`WTHRESH`, `ixgbevf_configure_tx_ring`).
const WTHRESH: u32 = 8;
/// Context that segmentation uses; other frames use 0 (`ixgbevf_tso`).
const TSO_CONTEXT: u32 = 1;

/// What `start_xmit` needs for one queue.
pub(crate) struct TxQueue {
    pub(crate) index: u32,
    pub(crate) ring: TxProducer,
    pub(crate) tail: Doorbell,
}

/// How a frame is to be sent, gathered from the skb.
#[derive(Default)]
struct Offload {
    /// VLAN tag in the upper half, as the context descriptor wants it.
    vlan: u32,
    /// Bits for each data descriptor.
    cmd_type: u32,
    /// Bits for the first data descriptor.
    olinfo: u32,
    /// Header bytes that are not payload: all headers of a GSO frame, else 0.
    hdr_len: u32,
    segs: u16,
    /// Bytes on the wire beyond those of the frame.
    extra: u32,
}

#[inline]
fn context(vlan_macip_lens: u32, type_tucmd: u32, mss_l4len_idx: u32) -> AdvTxContext {
    AdvTxContext {
        vlan_macip_lens: vlan_macip_lens.into(),
        fceof_saidx: 0.into(),
        type_tucmd_mlhl: (type_tucmd | ADVTXD_DCMD_DEXT | ADVTXD_DTYP_CTXT).into(),
        mss_l4len_idx: mss_l4len_idx.into(),
    }
}

/// Prepares segmentation (`ixgbevf_tso`).
fn tso(skb: &mut SkBuff, off: &mut Offload) -> Result<AdvTxContext> {
    let t = skb.tso_prepare()?;
    let (l3, l4, hdr_len) = (
        u32::from(t.l3_offset),
        u32::from(t.l4_offset),
        u32::from(t.hdr_len),
    );
    off.cmd_type |= ADVTXD_DCMD_TSE;
    off.olinfo |= ADVTXD_POPTS_TXSM | TSO_CONTEXT << ADVTXD_IDX_SHIFT;
    let mut tucmd = ADVTXD_TUCMD_L4T_TCP;
    if t.ipv4 {
        tucmd |= ADVTXD_TUCMD_IPV4;
        off.olinfo |= ADVTXD_POPTS_IXSM;
    }
    off.hdr_len = hdr_len;
    off.segs = t.segs.max(1);
    // Each segment but the first repeats the headers.
    off.extra = u32::from(off.segs.wrapping_sub(1)).wrapping_mul(hdr_len);
    Ok(context(
        l4.wrapping_sub(l3) | l3 << ADVTXD_MACLEN_SHIFT | off.vlan,
        tucmd,
        hdr_len.wrapping_sub(l4) << ADVTXD_L4LEN_SHIFT
            | u32::from(t.mss) << ADVTXD_MSS_SHIFT
            | TSO_CONTEXT << ADVTXD_IDX_SHIFT,
    ))
}

/// Prepares checksums (`ixgbevf_tx_csum`). The context is needed even without: with VFs the switch
/// looks at it (`ADVTXD_CC`).
#[inline]
fn csum(skb: &mut SkBuff, off: &mut Offload) -> AdvTxContext {
    let network = skb.network_offset();
    let mut lens = network << ADVTXD_MACLEN_SHIFT | off.vlan;
    let mut tucmd = 0;
    if skb.csum_partial() {
        // Offsets of the checksum in TCP, UDP and SCTP headers.
        let l4t = match skb.csum_offset() {
            16 => Some(ADVTXD_TUCMD_L4T_TCP),
            6 => Some(ADVTXD_TUCMD_L4T_UDP),
            8 if skb.csum_is_sctp() => Some(ADVTXD_TUCMD_L4T_SCTP),
            _ => None,
        };
        match l4t {
            Some(l4t) => {
                tucmd = l4t;
                if skb.inner_protocol() == ETH_P_IP {
                    tucmd |= ADVTXD_TUCMD_IPV4;
                }
                off.olinfo |= ADVTXD_POPTS_TXSM;
                lens |= skb.csum_start_offset().wrapping_sub(network);
            }
            // As in C the result is not looked at: without memory the frame goes out with a bad
            // checksum, and is dropped at the other end.
            None => drop(skb.checksum_help()),
        }
    }
    context(lens, tucmd, 0)
}

const ETH_P_IP: u16 = 0x0800;

impl TxQueue {
    /// Sends a frame; see `ixgbevf_xmit_frame_ring`.
    #[inline]
    pub(crate) fn xmit(&mut self, stats: &[TxStats], skb: SkBuff) -> TxResult {
        // Looked up where something is counted: most frames are not.
        let index = self.index as usize;
        let stats = || stats.get(index);
        let count = |c: fn(&TxStats) -> &Counter| {
            if let Some(s) = stats() {
                c(s).inc();
            }
        };

        let Some(mut skb) = skb.pad_to::<MIN_FRAME>() else {
            count(|s| &s.dropped);
            return self.dropped();
        };
        // The switch would not forward these, and the PF takes them for an attack.
        if skb.head().first_chunk().is_none_or(is_link_local) {
            skb.free(DropReason::NOT_SPECIFIED);
            return self.dropped();
        }

        let mut room = self.ring.room();
        // More than nearly all frames take.
        if room.len() < DESC_NEEDED {
            let needed = tx_descs(skb.nr_frags(), skb.len());
            if room.len() < needed {
                if !room.make(needed) {
                    count(|s| &s.busy);
                    return TxResult::Busy(skb);
                }
                count(|s| &s.restart_queue);
            }
        }

        let mut off = Offload {
            segs: 1,
            ..Offload::default()
        };
        if let Some(tci) = skb.vlan_tag() {
            off.vlan = u32::from(tci) << ADVTXD_VLAN_SHIFT;
            off.cmd_type |= ADVTXD_DCMD_VLE;
        }
        let ctx = if skb.is_gso() && skb.csum_partial() {
            match tso(&mut skb, &mut off) {
                Ok(ctx) => {
                    if let Some(s) = stats() {
                        s.gso.inc();
                        s.gso_segs.add(off.segs.into());
                    }
                    ctx
                }
                Err(_) => {
                    count(|s| &s.dropped);
                    skb.free(DropReason::SKB_GSO_SEG);
                    return self.dropped();
                }
            }
        } else {
            csum(&mut skb, &mut off)
        };

        let len = skb.len();
        let wire = len.wrapping_add(off.extra);
        let cmd = off.cmd_type | ADVTXD_DTYP_DATA | ADVTXD_DCMD_IFCS | ADVTXD_DCMD_DEXT;
        let mut olinfo =
            off.olinfo | ADVTXD_CC | len.wrapping_sub(off.hdr_len) << ADVTXD_PAYLEN_SHIFT;
        let sent = room.send(
            skb,
            Some(ctx),
            wire,
            off.segs,
            MAX_DATA_PER_TXD,
            move |addr, len, last| AdvTxData {
                buffer_addr: addr.into(),
                cmd_type_len: (cmd
                    | len
                    | if last {
                        ADVTXD_DCMD_EOP | ADVTXD_DCMD_RS
                    } else {
                        0
                    })
                .into(),
                // Only the first descriptor of a frame has these bits.
                olinfo_status: core::mem::take(&mut olinfo).into(),
            },
        );
        let sent = match sent {
            Ok(sent) => sent,
            Err(skb) => {
                count(|s| &s.dropped);
                skb.free(DropReason::NOMEM);
                return self.dropped();
            }
        };

        if sent.restarted {
            count(|s| &s.restart_queue);
        }
        if let Some(tail) = sent.doorbell {
            self.tail.ring(tail);
        }
        TxResult::Done
    }

    /// Ends the sending of a frame that was dropped: those before it may wait for the doorbell that
    /// it was to ring (`netdev_xmit_more()`).
    #[cold]
    fn dropped(&mut self) -> TxResult {
        self.tail.ring(self.ring.ring().next_to_use());
        TxResult::Done
    }
}

/// Sets up and enables a transmit queue with its head at 0; whether the hardware confirms.
pub(crate) fn enable_tx(hw: &Hw, regs: QueueRegs, ring: &TxRing) -> bool {
    let setup = TxSetup {
        regs,
        dma: ring.dma_address(),
        count: ring.len(),
        wthresh: WTHRESH,
    };
    setup.enable(hw).is_ok()
}

/// Whether the last descriptor of a frame, of which this is the second quad word, is done.
#[inline]
pub(crate) fn is_done(status: u64) -> bool {
    status >> 32 & u64::from(ADVTXD_STAT_DD) != 0
}

/// What the hardware cannot do for this frame (`ixgbevf_features_check`).
pub(crate) fn features_check(skb: &SkbRef, mut wanted: u64) -> u64 {
    const CSUM: u64 = features::HW_CSUM | features::SCTP_CRC | features::TSO | features::TSO6;
    let mac_len = skb.network_offset();
    if mac_len > MAX_MAC_HDR_LEN {
        return wanted & !(CSUM | features::HW_VLAN_CTAG_TX);
    }
    if skb.csum_start_offset().wrapping_sub(mac_len) > MAX_NETWORK_HDR_LEN {
        return wanted & !CSUM;
    }
    // Segmenting in an IPv4 tunnel repeats the inner identification.
    if skb.encapsulation() && wanted & features::TSO_MANGLEID == 0 {
        wanted &= !features::TSO;
    }
    wanted
}
