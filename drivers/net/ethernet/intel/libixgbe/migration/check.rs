// SPDX-License-Identifier: GPL-2.0
//! Each record of a blob, checked field by field and moved into the live state.
//!
//! What is checked is what the hardware and the mailbox would let a guest set by itself: a blob must not reach a state
//! that the VF could not have reached on this host. DMA addresses need no check here: the IOMMU holds the VF to its
//! guest's memory whatever they are.

use zerocopy::little_endian::U16;

use super::format;
use super::refusal::Found;
use super::refusal::Note;
use super::refusal::Refusal;
use super::state;
use super::state::Link;
use super::state::List;
use super::state::VfState;
use super::state::Xcast;
use super::Host;
use crate::chip::Chip;
use crate::mbx_ext;
use crate::regs;

fn ensure(ok: bool, refusal: Refusal) -> Result<(), Refusal> {
    if ok {
        Ok(())
    } else {
        Err(refusal)
    }
}

/// Smallest frame limit that a VF can have: a standard Ethernet frame without CRC.
const MIN_FRAME: u32 = 1514;
/// Largest frame limit: `SET_LPE` counts the CRC, and takes `IXGBE_MAX_JUMBO_FRAME_SIZE` at most.
const MAX_FRAME: u32 = 9728 - 4;
/// Mailbox API from which on a VF may have jumbo frames.
const JUMBO_API: u16 = 0x0101;
/// Mailbox API from which on a VF may have more than its multicast hashes.
const XCAST_API: u16 = 0x0102;
/// Mailbox API from which on a VF may be promiscuous.
const PROMISC_API: u16 = 0x0103;

pub(super) fn identity(i: &format::Identity, out: &mut VfState) -> Result<(), Refusal> {
    let kind = format::IDENTITY;
    ensure(
        i.reserved.get() == 0 && i.reserved2.get() == 0,
        Refusal::Reserved(kind),
    )?;
    ensure(
        i.vendor.get() == super::VENDOR_INTEL,
        Refusal::Device(i.vendor.get()),
    )?;
    let per_pool = i.queues_per_pool.get();
    ensure(
        matches!(per_pool, 2 | 4 | 8),
        Refusal::QueueLayout(per_pool),
    )?;
    ensure(
        (1..=per_pool).contains(&i.queue_pairs.get()),
        Refusal::QueuePairs(i.queue_pairs.get()),
    )?;
    ensure(
        (MIN_FRAME..=MAX_FRAME).contains(&i.max_frame.get()),
        Refusal::MaxFrame(i.max_frame.get()),
    )?;
    out.identity = state::Identity {
        device: i.device.get(),
        queues_per_pool: per_pool,
        queue_pairs: i.queue_pairs.get(),
        api: i.api.get(),
        features: i.features.get(),
        max_frame: i.max_frame.get(),
    };
    Ok(())
}

pub(super) fn policy(p: &format::Policy, out: &mut VfState) -> Result<(), Refusal> {
    let kind = format::POLICY;
    let flags = p.flags.get();
    ensure(
        p.reserved.get() == 0 && flags & !format::POLICY_ALL == 0,
        Refusal::Reserved(kind),
    )?;
    ensure(
        p.port_vlan.get() < 4095 && p.port_qos.get() < 8,
        Refusal::Value(kind),
    )?;
    out.policy = state::Policy {
        admin_mac: flags & format::POLICY_ADMIN_MAC != 0,
        trusted: flags & format::POLICY_TRUSTED != 0,
        spoofchk: flags & format::POLICY_SPOOFCHK != 0,
        port_vlan: p.port_vlan.get(),
        port_qos: p.port_qos.get(),
    };
    Ok(())
}

/// Checks a ring: base aligned to 128 bytes, length a multiple of 128 bytes and not above the drivers' largest ring
/// (datasheet 8.2.3.8.1 to 8.2.3.8.3), indices inside it. A ring that does not run may be all zero.
fn ring(
    base: u64,
    length: u32,
    head: u32,
    tail: u32,
    enabled: bool,
    kind: u16,
) -> Result<(), Refusal> {
    let entries = length / state::DESCRIPTOR_BYTES;
    let shaped = base % 128 == 0 && length % 128 == 0 && entries <= mbx_ext::MAX_RING_ENTRIES;
    let fits = base.checked_add(u64::from(length)).is_some();
    let inside = if entries == 0 {
        head == 0 && tail == 0
    } else {
        head < entries && tail < entries
    };
    ensure(
        shaped && fits && inside && (entries > 0 || !enabled),
        Refusal::Value(kind),
    )
}

/// SRRCTL bits that exist (8.2.3.8.7).
const SRRCTL_ALL: u32 = 0x1f
    | regs::SRRCTL_BSIZEHDR_MASK
    | regs::SRRCTL_RDMTS_MASK
    | regs::SRRCTL_DESCTYPE_MASK
    | regs::SRRCTL_DROP_EN;
/// RXDCTL bits that a VF can set (8.2.3.8.8), less the self-clearing flush.
pub(super) const RXDCTL_ALL: u32 =
    regs::RXDCTL_ENABLE | regs::RXDCTL_VME | regs::RXDCTL_RLPML_EN | regs::RXDCTL_RLPMLMASK;
/// TXDCTL bits that a VF can set (8.2.3.9.10), less the self-clearing flush: three thresholds and ENABLE.
pub(super) const TXDCTL_ALL: u32 = regs::TXDCTL_ENABLE
    | regs::TXDCTL_PTHRESH_MASK
    | 0x7f << regs::TXDCTL_HTHRESH_SHIFT
    | 0x7f << regs::TXDCTL_WTHRESH_SHIFT;
/// VFPSRTYPE bits that exist: header types and RQPL (8.2.3.7.4).
pub(super) const PSRTYPE_ALL: u32 = 0xe000_0000 | 0x0007_fffe;

/// VFMRQC bits that exist: RSS is on, and what is hashed (`ixgbevf_setup_vfmrqc`, `ixgbe_type.h`).
pub(super) const VFMRQC_ALL: u32 = regs::MRQC_RSSEN
    | regs::MRQC_RSS_FIELD_IPV4_TCP
    | regs::MRQC_RSS_FIELD_IPV4
    | regs::MRQC_RSS_FIELD_IPV6_EX_TCP
    | regs::MRQC_RSS_FIELD_IPV6_EX
    | regs::MRQC_RSS_FIELD_IPV6
    | regs::MRQC_RSS_FIELD_IPV6_TCP
    | regs::MRQC_RSS_FIELD_IPV4_UDP
    | regs::MRQC_RSS_FIELD_IPV6_UDP
    | regs::MRQC_RSS_FIELD_IPV6_EX_UDP;

pub(super) fn srrctl_mask(value: u32) -> u32 {
    value & SRRCTL_ALL
}

/// Whether the device can have held this, see [`ring`].
pub(super) fn rx_queue(q: &state::RxQueue) -> Result<(), Refusal> {
    let kind = format::RX_QUEUES;
    ensure(
        q.srrctl & !SRRCTL_ALL == 0 && q.rxdctl & !RXDCTL_ALL == 0,
        Refusal::Reserved(kind),
    )?;
    // A running queue has a buffer size of 1 to 16 KiB.
    let kib = q.srrctl & 0x1f;
    ensure(kib <= 16 && (kib > 0 || !q.enabled()), Refusal::Value(kind))?;
    ring(q.base, q.length, q.head, q.tail, q.enabled(), kind)
}

/// Likewise.
pub(super) fn tx_queue(q: &state::TxQueue) -> Result<(), Refusal> {
    let kind = format::TX_QUEUES;
    // Head write-back is 16-byte aligned, bit 0 enables it (8.2.3.9.11).
    ensure(
        q.writeback & 0xe == 0 && q.control() & !TXDCTL_ALL == 0,
        Refusal::Reserved(kind),
    )?;
    ensure(q.enabled() || !q.interrupted(), Refusal::Value(kind))?;
    ring(q.base, q.length, q.head, q.tail, q.enabled(), kind)
}

pub(super) fn rx_queues(queues: &[format::RxQueue], out: &mut VfState) -> Result<(), Refusal> {
    let kind = format::RX_QUEUES;
    ensure(queues.len() == out.pairs(), Refusal::TlvLength(kind))?;
    for (to, q) in out.rx.iter_mut().zip(queues) {
        ensure(q.reserved.get() == 0, Refusal::Reserved(kind))?;
        let queue = state::RxQueue {
            base: q.base.get(),
            length: q.length.get(),
            head: q.head.get(),
            tail: q.tail.get(),
            srrctl: q.srrctl.get(),
            rxdctl: q.rxdctl.get(),
        };
        rx_queue(&queue)?;
        *to = queue;
    }
    Ok(())
}

pub(super) fn tx_queues(queues: &[format::TxQueue], out: &mut VfState) -> Result<(), Refusal> {
    let kind = format::TX_QUEUES;
    ensure(queues.len() == out.pairs(), Refusal::TlvLength(kind))?;
    for (to, q) in out.tx.iter_mut().zip(queues) {
        let queue = state::TxQueue {
            base: q.base.get(),
            writeback: q.writeback.get(),
            length: q.length.get(),
            head: q.head.get(),
            tail: q.tail.get(),
            txdctl: q.txdctl.get(),
        };
        tx_queue(&queue)?;
        *to = queue;
    }
    Ok(())
}

/// Each valid entry of an IVAR must name one of the VF's vectors.
fn ivar_ok(ivar: u32, entries: u32) -> bool {
    (0..4).all(|i| {
        let entry = ivar >> (8 * i) & 0xff;
        if i >= entries {
            entry == 0
        } else {
            entry & 0x7c == 0 && (entry & regs::IVAR_ALLOC_VAL == 0 || entry & 0x3 < state::VECTORS)
        }
    })
}

pub(super) fn interrupts(i: &format::Interrupts, out: &mut VfState) -> Result<(), Refusal> {
    let kind = format::INTERRUPTS;
    let vectors = (1 << state::VECTORS) - 1;
    let masks = i.eims.get() | i.eiac.get() | i.eiam.get();
    ensure(
        masks & !vectors == 0 && i.psrtype.get() & !PSRTYPE_ALL == 0,
        Refusal::Reserved(kind),
    )?;
    ensure(
        ivar_ok(i.ivar.get(), 4) && ivar_ok(i.ivar_misc.get(), 1),
        Refusal::Value(kind),
    )?;
    out.interrupts = state::Interrupts {
        eims: i.eims.get(),
        eiac: i.eiac.get(),
        eiam: i.eiam.get(),
        ivar: i.ivar.get(),
        ivar_misc: i.ivar_misc.get(),
        psrtype: i.psrtype.get(),
    };
    Ok(())
}

pub(super) fn mailbox(m: &format::Mailbox, out: &mut VfState) -> Result<(), Refusal> {
    let flags = m.flags.get();
    ensure(
        flags & !format::MAILBOX_ALL == 0 && m.reserved.get() == 0,
        Refusal::Reserved(format::MAILBOX),
    )?;
    out.mailbox = state::Mailbox {
        request: flags & format::MAILBOX_REQUEST != 0,
        pf_message: flags & format::MAILBOX_PF_MESSAGE != 0,
        cts: flags & format::MAILBOX_CTS != 0,
        held: false,
        ping: false,
        number: 0,
        // Any content will do: the VF can write every dword by itself.
        words: m.words.map(|w| w.get()),
    };
    Ok(())
}

/// Neither multicast nor zero.
fn unicast_mac(mac: &[u8; 6]) -> bool {
    let [first, ..] = *mac;
    first & 1 == 0 && mac.iter().any(|b| *b != 0)
}

pub(super) fn filters(f: &format::Filters, out: &mut VfState) -> Result<(), Refusal> {
    let kind = format::FILTERS;
    ensure(f.mac == [0; 6] || unicast_mac(&f.mac), Refusal::Value(kind))?;
    ensure(f.enabled <= 1, Refusal::Value(kind))?;
    out.filters.mac = f.mac;
    out.filters.xcast = xcast(f.xcast, out.identity.api, kind)?;
    out.filters.enabled = f.enabled == 1;
    Ok(())
}

/// A VF without the API for modes has none, whatever a former driver of the VF left behind.
fn xcast(mode: u8, api: u16, kind: u16) -> Result<Xcast, Refusal> {
    let mode = Xcast::from_u8(mode).ok_or(Refusal::Value(kind))?;
    if api < XCAST_API {
        return Ok(Xcast::None);
    }
    ensure(
        mode != Xcast::Promisc || api >= PROMISC_API,
        Refusal::Value(kind),
    )?;
    Ok(mode)
}

pub(super) fn limits(l: &format::Limits, out: &mut VfState) -> Result<(), Refusal> {
    let kind = format::LIMITS;
    ensure(
        l.reserved == 0 && l.reserved2.get() == 0,
        Refusal::Reserved(kind),
    )?;
    out.limits = state::Limits {
        link: Link::from_u8(l.link).ok_or(Refusal::Value(kind))?,
        tx_rate: l.tx_rate.get(),
    };
    Ok(())
}

/// What a compatibility record says of a VF that runs, as far as a state has it; returns the queue
/// pairs in use.
pub(super) fn in_use(u: &format::Use, out: &mut VfState) -> Result<u32, Refusal> {
    let kind = format::USE;
    ensure(
        u.reserved == 0 && u.reserved2 == [0; 6],
        Refusal::Reserved(kind),
    )?;
    ensure(u.mac == [0; 6] || unicast_mac(&u.mac), Refusal::Value(kind))?;
    out.filters.mac = u.mac;
    out.filters.xcast = xcast(u.xcast, out.identity.api, kind)?;
    ensure(
        u.pairs.get() <= out.identity.queues_per_pool,
        Refusal::Value(kind),
    )?;
    Ok(u.pairs.get().into())
}

pub(super) fn unicast(kind: u16, macs: &[[u8; 6]], out: &mut VfState) -> Result<(), Refusal> {
    for mac in macs {
        ensure(unicast_mac(mac), Refusal::Value(kind))?;
        ensure(out.filters.unicast.push(*mac), Refusal::TlvLength(kind))?;
    }
    Ok(())
}

pub(super) fn vlans(kind: u16, ids: &[U16], out: &mut VfState) -> Result<(), Refusal> {
    let mut last = None;
    for id in ids.iter().map(|id| id.get()) {
        ensure(id < 4096 && last < Some(id), Refusal::Value(kind))?;
        last = Some(id);
        ensure(out.filters.vlans.push(id), Refusal::TlvLength(kind))?;
    }
    Ok(())
}

pub(super) fn multicast(hashes: &[U16], out: &mut VfState) -> Result<(), Refusal> {
    let kind = format::MULTICAST;
    for hash in hashes {
        ensure(hash.get() < 4096, Refusal::Value(kind))?;
        ensure(
            out.filters.multicast.push(hash.get()),
            Refusal::TlvLength(kind),
        )?;
    }
    Ok(())
}

pub(super) fn registrations(
    list: &[format::Registration],
    out: &mut VfState,
) -> Result<(), Refusal> {
    let kind = format::REGISTRATIONS;
    for r in list {
        let (caps, entries) = (r.caps.get(), r.entries.get());
        ensure(entries <= mbx_ext::MAX_RING_ENTRIES, Refusal::Value(kind))?;
        let m = mbx_ext::RegisterQueue {
            head: mbx_ext::VF_REGISTER_QUEUE,
            version: mbx_ext::EXT_VERSION,
            queue: r.queue.get().into(),
            queues: r.queues.get().into(),
            caps,
            entries,
            shadow_lo: r.shadow.get() as u32,
            shadow_hi: (r.shadow.get() >> 32) as u32,
            shadow_len: if caps & mbx_ext::CAP_SHADOW != 0 {
                entries * 8
            } else {
                0
            },
            buffer_len: r.buffer_len.get(),
            marking: 0,
            reserved: [0; 5],
        };
        m.validate().map_err(|_| Refusal::Value(kind))?;
        let pairs = out.pairs();
        let slot = out
            .registrations
            .iter_mut()
            .take(pairs)
            .nth(r.queue.get().into());
        let slot = slot.ok_or(Refusal::Value(kind))?;
        ensure(slot.is_none(), Refusal::Value(kind))?;
        *slot = Some(m);
    }
    Ok(())
}

/// Only rings that ran, of a guest that can re-arm them, can have to be re-armed.
pub(super) fn rearm(r: &format::Rearm, out: &mut VfState) -> Result<(), Refusal> {
    let kind = format::REARM;
    let flags = r.flags.get();
    ensure(flags & !format::REARM_ALL == 0, Refusal::Reserved(kind))?;
    let rearm = state::Rearm {
        generation: r.generation.get(),
        taken: flags & format::REARM_TAKEN != 0,
        asked_rx: r.asked_rx.get(),
        asked_tx: r.asked_tx.get(),
        rx: r.rx.get(),
        tx: r.tx.get(),
    };
    let bits = |runs: &mut dyn Iterator<Item = bool>| {
        let ran = (0..32u32).zip(runs).filter(|(_, runs)| *runs);
        ran.fold(0u32, |mask, (i, _)| mask | 1 << i)
    };
    let ran_rx = bits(&mut out.rx_queues().iter().map(state::RxQueue::enabled));
    let ran_tx = bits(&mut out.tx_queues().iter().map(state::TxQueue::enabled));
    let subset = |part: u32, whole: u32| part & !whole == 0;
    let out_is_out = rearm.generation != 0
        || rearm.asked_rx | rearm.asked_tx == 0 && !rearm.taken && rearm.rx | rearm.tx != 0;
    ensure(
        subset(rearm.rx, ran_rx)
            && subset(rearm.tx, ran_tx)
            && subset(rearm.asked_rx, rearm.rx)
            && subset(rearm.asked_tx, rearm.tx)
            && out_is_out
            && out.identity.features & mbx_ext::FEATURE_MIGRATION != 0,
        Refusal::Value(kind),
    )?;
    out.rearm = rearm;
    Ok(())
}

/// Whether the VF is of a chip whose VFs have RSS of their own.
pub(super) fn has_own_rss(vf: &VfState) -> bool {
    Chip::of_vf(vf.identity.device).is_some_and(Chip::has_rss_of_pools)
}

/// On another chip the record is as unknown as to the readers from before it.
pub(super) fn own_rss(r: &format::OwnRss, out: &mut VfState) -> Result<(), Refusal> {
    let kind = format::OWN_RSS;
    ensure(has_own_rss(out), Refusal::UnknownTlv(kind))?;
    let mrqc = r.mrqc.get();
    ensure(
        r.reserved.get() == 0 && mrqc & !VFMRQC_ALL == 0,
        Refusal::Reserved(kind),
    )?;
    let queues = out.identity.queues_per_pool;
    ensure(
        r.table.iter().all(|queue| u16::from(*queue) < queues),
        Refusal::Value(kind),
    )?;
    out.rss = Some(state::OwnRss {
        mrqc,
        // Any key will do.
        key: r.key.map(|word| word.get()),
        table: r.table,
    });
    Ok(())
}

pub(super) fn exchange(e: &format::Exchange, out: &mut VfState) -> Result<(), Refusal> {
    let flags = e.flags.get();
    ensure(
        flags & !format::EXCHANGE_ALL == 0,
        Refusal::Reserved(format::EXCHANGE),
    )?;
    out.mailbox.held = flags & format::EXCHANGE_HELD != 0;
    out.mailbox.ping = flags & format::EXCHANGE_PING != 0;
    // Any number will do: it is the guest's alone that its next one differs.
    out.mailbox.number = e.number.get();
    Ok(())
}

pub(super) fn statistics(s: &format::Statistics, out: &mut VfState) -> Result<(), Refusal> {
    out.statistics = state::Statistics {
        rx_packets: s.rx_packets.get(),
        rx_bytes: s.rx_bytes.get(),
        rx_multicast: s.rx_multicast.get(),
        tx_packets: s.tx_packets.get(),
        tx_bytes: s.tx_bytes.get(),
    };
    Ok(())
}

/// A length or a number of VLANs as a detail.
fn count(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// Compares with this host all that `vf` has and `pairs`, the queue pairs that it uses. What is
/// unknown, as in a compatibility record of an older source, is empty in `vf` and passes.
pub(super) fn against_host(vf: &VfState, pairs: u32, host: &Host<'_>, found: &mut Found) {
    let (i, f) = (&vf.identity, &vf.filters);
    found.unless(i.device == host.identity.device, Refusal::Device(i.device));
    found.unless(
        i.queues_per_pool == host.identity.queues_per_pool,
        Refusal::QueueLayout(i.queues_per_pool),
    );
    found.unless(
        i.queue_pairs == host.identity.queue_pairs,
        Refusal::QueuePairs(i.queue_pairs),
    );
    found.unless(
        i.api == 0 || host.apis.contains(&i.api),
        Refusal::Api(i.api),
    );
    found.unless(
        i.features & !host.identity.features == 0,
        Refusal::Features(i.features),
    );
    found.unless(
        i.max_frame <= host.identity.max_frame,
        Refusal::MaxFrame(i.max_frame),
    );
    // The 82599 cannot mix jumbo and standard frames among functions, so the PF shuts the gate of
    // such a VF. A driver whose queues do not run yet may still be about to agree on a newer API.
    let jumbo = !host.mixes_frames && host.identity.max_frame > MIN_FRAME;
    found.unless(
        !(jumbo && pairs > 0 && i.api < JUMBO_API),
        Refusal::JumboApi(i.api),
    );
    found.unless(
        vf.policy.port_vlan == host.policy.port_vlan && vf.policy.port_qos == host.policy.port_qos,
        Refusal::PortVlan(vf.policy.port_vlan),
    );

    let free = host.policy.trusted || !host.policy.admin_mac;
    // As the C PF treats SET_MAC and SET_MACVLAN of a VF whose MAC the host has set.
    found.unless(
        free || f.mac == host.mac || f.mac == [0; 6],
        Refusal::AdminMac,
    );
    let listed = f.unicast.as_slice();
    found.unless(
        free || listed.is_empty(),
        Refusal::Addresses(count(listed.len())),
    );
    let tagged = f.vlans.as_slice().iter().filter(|id| **id != 0).count();
    found.unless(
        host.policy.port_vlan == 0 || tagged == 0,
        Refusal::Vlans(count(tagged)),
    );
    // Not cut to what it may have: its guest would go on in the belief that it hears all groups.
    found.unless(
        host.policy.trusted || f.xcast <= Xcast::Multi,
        Refusal::AllMulticast,
    );
    found.unless(
        host.promiscuous || f.xcast < Xcast::Promisc,
        Refusal::Promiscuous,
    );
    // VTIVAR(1) and up have no alias for the PF, so further queue pairs would come back without interrupts.
    found.unless(
        pairs as usize <= super::VISIBLE_PAIRS,
        Refusal::QueuesInUse(pairs as u16),
    );
    found.unless(
        host.limits.link != Link::Disable || vf.limits.link == Link::Disable,
        Refusal::LinkDisabled,
    );
}

/// What is this host's to decide, and differs.
pub(super) fn notes(vf: &VfState, host: &Host<'_>) -> List<Note, 2> {
    let mut notes = List::new(Note::SpoofCheck);
    if vf.limits.tx_rate != host.limits.tx_rate {
        let _ = notes.push(Note::TxRate(host.limits.tx_rate));
    }
    if host.policy.spoofchk && !vf.policy.spoofchk {
        let _ = notes.push(Note::SpoofCheck);
    }
    notes
}
