// SPDX-License-Identifier: GPL-2.0
//! From a live [`VfState`] to bytes.

use zerocopy::little_endian::U16;
use zerocopy::little_endian::U32;
use zerocopy::little_endian::U64;
use zerocopy::IntoBytes;

use super::crc32c::Crc32c;
use super::format;
use super::state::VfState;
use crate::mbx_ext::RegisterQueue;

/// The buffer is too small; [`format::MAX_BYTES`] always suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSpace;

struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
    count: u32,
}

impl<'a> Writer<'a> {
    fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            at: size_of::<format::Header>(),
            count: 0,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        let end = self.at.checked_add(bytes.len()).ok_or(NoSpace)?;
        self.buffer
            .get_mut(self.at..end)
            .ok_or(NoSpace)?
            .copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    /// Writes one TLV whose value is all `parts` in a row.
    fn tlv<'b>(
        &mut self,
        kind: u16,
        parts: impl Iterator<Item = &'b [u8]> + Clone,
    ) -> Result<(), NoSpace> {
        let length: usize = parts.clone().map(<[u8]>::len).sum();
        let head = format::TlvHeader {
            kind: U16::new(kind),
            version: U16::new(format::TLV_VERSION),
            length: U32::new(u32::try_from(length).map_err(|_| NoSpace)?),
        };
        self.put(head.as_bytes())?;
        for part in parts {
            self.put(part)?;
        }
        let padding = [0; format::TLV_ALIGN];
        let rest = length.next_multiple_of(format::TLV_ALIGN) - length;
        self.put(padding.get(..rest).unwrap_or(&[]))?;
        self.count += 1;
        Ok(())
    }

    fn one(&mut self, kind: u16, value: &[u8]) -> Result<(), NoSpace> {
        self.tlv(kind, core::iter::once(value))
    }

    fn finish(self, content: u16) -> Result<usize, NoSpace> {
        let mut header = format::Header {
            magic: format::MAGIC,
            version: U16::new(format::VERSION),
            content: U16::new(content),
            length: U32::new(u32::try_from(self.at).map_err(|_| NoSpace)?),
            count: U32::new(self.count),
            crc32c: U32::new(0),
        };
        let (head, _) = self
            .buffer
            .split_at_mut_checked(size_of::<format::Header>())
            .ok_or(NoSpace)?;
        head.copy_from_slice(header.as_bytes());
        let crc = Crc32c::new()
            .update(self.buffer.get(..self.at).ok_or(NoSpace)?)
            .finish();
        header.crc32c = U32::new(crc);
        let (head, _) = self
            .buffer
            .split_at_mut_checked(size_of::<format::Header>())
            .ok_or(NoSpace)?;
        head.copy_from_slice(header.as_bytes());
        Ok(self.at)
    }
}

fn common(w: &mut Writer<'_>, state: &VfState) -> Result<(), NoSpace> {
    let i = &state.identity;
    let identity = format::Identity {
        vendor: U16::new(super::VENDOR_INTEL),
        device: U16::new(i.device),
        queues_per_pool: U16::new(i.queues_per_pool),
        queue_pairs: U16::new(i.queue_pairs),
        api: U16::new(i.api),
        reserved: U16::new(0),
        features: U32::new(i.features),
        max_frame: U32::new(i.max_frame),
        reserved2: U32::new(0),
    };
    w.one(format::IDENTITY, identity.as_bytes())?;
    let p = &state.policy;
    let flag = |on: bool, bit: u16| if on { bit } else { 0 };
    let policy = format::Policy {
        flags: U16::new(
            flag(p.admin_mac, format::POLICY_ADMIN_MAC)
                | flag(p.trusted, format::POLICY_TRUSTED)
                | flag(p.spoofchk, format::POLICY_SPOOFCHK),
        ),
        port_vlan: U16::new(p.port_vlan),
        port_qos: U16::new(p.port_qos),
        reserved: U16::new(0),
    };
    w.one(format::POLICY, policy.as_bytes())
}

/// A VF without limits has no such record, as in states of older writers.
fn limits(w: &mut Writer<'_>, state: &VfState) -> Result<(), NoSpace> {
    let l = &state.limits;
    if *l == super::Limits::default() {
        return Ok(());
    }
    let limits = format::Limits {
        link: l.link as u8,
        reserved: 0,
        tx_rate: U16::new(l.tx_rate),
        reserved2: U32::new(0),
    };
    w.one(format::LIMITS, limits.as_bytes())
}

fn unicast(w: &mut Writer<'_>, kind: u16, state: &VfState) -> Result<(), NoSpace> {
    let list = state.filters.unicast.as_slice();
    w.tlv(kind, list.iter().map(<[u8; 6]>::as_slice))
}

fn vlans(w: &mut Writer<'_>, kind: u16, state: &VfState) -> Result<(), NoSpace> {
    let list = state.filters.vlans.as_slice();
    let mut ids = [U16::new(0); super::MAX_VLANS];
    for (to, from) in ids.iter_mut().zip(list) {
        *to = U16::new(*from);
    }
    w.tlv(kind, ids.iter().take(list.len()).map(IntoBytes::as_bytes))
}

/// Writes the compatibility record of `state` and returns its length in bytes. Of the queues it
/// tells how many run.
///
/// # Errors
/// [`NoSpace`]
pub fn encode_compat(state: &VfState, buffer: &mut [u8]) -> Result<usize, NoSpace> {
    let mut w = Writer::new(buffer);
    common(&mut w, state)?;
    limits(&mut w, state)?;
    let f = &state.filters;
    let used = format::Use {
        mac: f.mac,
        xcast: f.xcast as u8,
        reserved: 0,
        // At most `MAX_QUEUES`.
        pairs: U16::new(state.used_pairs() as u16),
        reserved2: [0; 6],
    };
    w.one(format::USE, used.as_bytes())?;
    unicast(&mut w, format::USED_UNICAST, state)?;
    vlans(&mut w, format::USED_VLANS, state)?;
    w.finish(format::CONTENT_COMPAT)
}

fn rx_queue(q: &super::RxQueue) -> format::RxQueue {
    format::RxQueue {
        base: U64::new(q.base),
        length: U32::new(q.length),
        head: U32::new(q.head),
        tail: U32::new(q.tail),
        srrctl: U32::new(q.srrctl),
        rxdctl: U32::new(q.rxdctl),
        reserved: U32::new(0),
    }
}

fn tx_queue(q: &super::TxQueue) -> format::TxQueue {
    format::TxQueue {
        base: U64::new(q.base),
        writeback: U64::new(q.writeback),
        length: U32::new(q.length),
        head: U32::new(q.head),
        tail: U32::new(q.tail),
        txdctl: U32::new(q.txdctl),
    }
}

fn registration(r: &RegisterQueue) -> format::Registration {
    // The fields are small: `RegisterQueue::validate` has seen them.
    format::Registration {
        queue: U16::new(r.queue as u16),
        queues: U16::new(r.queues as u16),
        caps: U32::new(r.caps),
        entries: U32::new(r.entries),
        buffer_len: U32::new(r.buffer_len),
        shadow: U64::new(r.shadow()),
    }
}

/// Writes all of `state` and returns the length in bytes.
///
/// # Errors
/// [`NoSpace`]
pub fn encode(state: &VfState, buffer: &mut [u8]) -> Result<usize, NoSpace> {
    let mut w = Writer::new(buffer);
    common(&mut w, state)?;

    let mut rx = [rx_queue(&super::RxQueue::OFF); crate::mbx_ext::MAX_QUEUES];
    for (to, from) in rx.iter_mut().zip(&state.rx) {
        *to = rx_queue(from);
    }
    w.tlv(
        format::RX_QUEUES,
        rx.iter().take(state.pairs()).map(IntoBytes::as_bytes),
    )?;
    let mut tx = [tx_queue(&super::TxQueue::OFF); crate::mbx_ext::MAX_QUEUES];
    for (to, from) in tx.iter_mut().zip(&state.tx) {
        *to = tx_queue(from);
    }
    w.tlv(
        format::TX_QUEUES,
        tx.iter().take(state.pairs()).map(IntoBytes::as_bytes),
    )?;

    let i = &state.interrupts;
    let interrupts = format::Interrupts {
        eims: U32::new(i.eims),
        eiac: U32::new(i.eiac),
        eiam: U32::new(i.eiam),
        ivar: U32::new(i.ivar),
        ivar_misc: U32::new(i.ivar_misc),
        psrtype: U32::new(i.psrtype),
    };
    w.one(format::INTERRUPTS, interrupts.as_bytes())?;

    let m = &state.mailbox;
    let flag = |on: bool, bit: u32| if on { bit } else { 0 };
    let mailbox = format::Mailbox {
        flags: U32::new(
            flag(m.request, format::MAILBOX_REQUEST)
                | flag(m.pf_message, format::MAILBOX_PF_MESSAGE)
                | flag(m.cts, format::MAILBOX_CTS),
        ),
        words: m.words.map(U32::new),
        reserved: U32::new(0),
    };
    w.one(format::MAILBOX, mailbox.as_bytes())?;

    let f = &state.filters;
    let filters = format::Filters {
        mac: f.mac,
        xcast: f.xcast as u8,
        enabled: u8::from(f.enabled),
    };
    w.one(format::FILTERS, filters.as_bytes())?;
    unicast(&mut w, format::UNICAST, state)?;
    vlans(&mut w, format::VLANS, state)?;
    let mut multicast = [U16::new(0); super::MAX_MULTICAST];
    for (to, from) in multicast.iter_mut().zip(f.multicast.as_slice()) {
        *to = U16::new(*from);
    }
    w.tlv(
        format::MULTICAST,
        multicast
            .iter()
            .take(f.multicast.as_slice().len())
            .map(IntoBytes::as_bytes),
    )?;

    let registered = state.registrations.iter().flatten();
    if registered.clone().next().is_some() {
        let mut list = [None; crate::mbx_ext::MAX_QUEUES];
        for (to, from) in list.iter_mut().zip(registered) {
            *to = Some(registration(from));
        }
        w.tlv(
            format::REGISTRATIONS,
            list.iter().flatten().map(IntoBytes::as_bytes),
        )?;
    }

    let r = &state.rearm;
    if *r != super::Rearm::NONE {
        let rearm = format::Rearm {
            generation: U32::new(r.generation),
            flags: U32::new(flag(r.taken, format::REARM_TAKEN)),
            asked_rx: U32::new(r.asked_rx),
            asked_tx: U32::new(r.asked_tx),
            rx: U32::new(r.rx),
            tx: U32::new(r.tx),
        };
        w.one(format::REARM, rearm.as_bytes())?;
    }

    if let Some(r) = &state.rss {
        let rss = format::OwnRss {
            mrqc: U32::new(r.mrqc),
            reserved: U32::new(0),
            key: r.key.map(U32::new),
            table: r.table,
        };
        w.one(format::OWN_RSS, rss.as_bytes())?;
    }

    let s = &state.statistics;
    let statistics = format::Statistics {
        rx_packets: U64::new(s.rx_packets),
        rx_bytes: U64::new(s.rx_bytes),
        rx_multicast: U64::new(s.rx_multicast),
        tx_packets: U64::new(s.tx_packets),
        tx_bytes: U64::new(s.tx_bytes),
    };
    w.one(format::STATISTICS, statistics.as_bytes())?;
    limits(&mut w, state)?;
    if m.number != 0 || m.held || m.ping {
        let exchange = format::Exchange {
            number: U32::new(m.number),
            flags: U32::new(
                flag(m.held, format::EXCHANGE_HELD) | flag(m.ping, format::EXCHANGE_PING),
            ),
        };
        w.one(format::EXCHANGE, exchange.as_bytes())?;
    }
    w.finish(format::CONTENT_STATE)
}
