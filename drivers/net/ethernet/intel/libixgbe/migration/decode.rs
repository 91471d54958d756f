// SPDX-License-Identifier: GPL-2.0
//! From untrusted bytes to a live [`VfState`]: the only way in, and it looks at the whole blob before it returns.

use zerocopy::FromBytes;
use zerocopy::Immutable;
use zerocopy::KnownLayout;
use zerocopy::Unaligned;

use super::check;
use super::crc32c::Crc32c;
use super::format;
use super::refusal::Found;
use super::refusal::Refusal;
use super::refusal::Refusals;
use super::state::VfState;
use super::Host;

/// What the head of a blob announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// `format::CONTENT_*`
    pub content: u16,
    /// Bytes of the whole blob.
    pub length: usize,
}

/// Reads the head of a stream, so that its reader knows when a blob is whole. `Ok(None)`: more bytes are needed.
///
/// # Errors
/// Refuses a wrong magic, version, content or length as soon as it can be seen.
pub fn announced(stream: &[u8]) -> Result<Option<Announced>, Refusal> {
    let seen = stream.len().min(format::MAGIC.len());
    if stream.get(..seen) != format::MAGIC.get(..seen) {
        return Err(Refusal::Magic);
    }
    let Ok((header, _)) = format::Header::ref_from_prefix(stream) else {
        return Ok(None);
    };
    if header.version.get() != format::VERSION {
        return Err(Refusal::Version(header.version.get()));
    }
    let content = header.content.get();
    if !matches!(content, format::CONTENT_COMPAT | format::CONTENT_STATE) {
        return Err(Refusal::Content(content));
    }
    let length = usize::try_from(header.length.get()).map_err(|_| Refusal::Length)?;
    if !(size_of::<format::Header>()..=format::MAX_BYTES).contains(&length) {
        return Err(Refusal::Length);
    }
    Ok(Some(Announced { content, length }))
}

struct Tlv<'a> {
    kind: u16,
    value: &'a [u8],
}

impl<'a> Tlv<'a> {
    fn one<T: FromBytes + KnownLayout + Immutable + Unaligned>(&self) -> Result<&'a T, Refusal> {
        T::ref_from_bytes(self.value).map_err(|_| Refusal::TlvLength(self.kind))
    }

    fn array<T: FromBytes + KnownLayout + Immutable + Unaligned>(
        &self,
        max: usize,
    ) -> Result<&'a [T], Refusal>
    where
        [T]: FromBytes + KnownLayout<PointerMetadata = usize> + Immutable + Unaligned,
    {
        let items = <[T]>::ref_from_bytes(self.value).map_err(|_| Refusal::TlvLength(self.kind))?;
        if items.len() > max {
            return Err(Refusal::TlvLength(self.kind));
        }
        Ok(items)
    }
}

/// Records of a compatibility record that a state has under other kinds.
const fn of_compat_alone(kind: u16) -> bool {
    matches!(
        kind,
        format::USE | format::USED_UNICAST | format::USED_VLANS
    )
}

fn known(kind: u16) -> bool {
    matches!(
        kind,
        format::IDENTITY
            ..=format::REGISTRATIONS
                | format::REARM
                | format::OWN_RSS
                | format::STATISTICS
                | format::EXCHANGE
                | format::LIMITS
                | format::USE
                | format::USED_UNICAST
                | format::USED_VLANS
    )
}

/// Takes the next TLV off `rest`.
fn next_tlv<'a>(rest: &mut &'a [u8]) -> Result<(Tlv<'a>, u16), Refusal> {
    let (head, tail) = format::TlvHeader::ref_from_prefix(rest).map_err(|_| Refusal::Length)?;
    let kind = head.kind.get();
    let length = usize::try_from(head.length.get()).map_err(|_| Refusal::TlvLength(kind))?;
    let padded = length
        .checked_next_multiple_of(format::TLV_ALIGN)
        .ok_or(Refusal::TlvLength(kind))?;
    let (padded, tail) = tail
        .split_at_checked(padded)
        .ok_or(Refusal::TlvLength(kind))?;
    let (value, padding) = padded
        .split_at_checked(length)
        .ok_or(Refusal::TlvLength(kind))?;
    if padding.iter().any(|b| *b != 0) {
        return Err(Refusal::Reserved(kind));
    }
    *rest = tail;
    Ok((Tlv { kind, value }, head.version.get()))
}

fn store(tlv: &Tlv<'_>, pairs: &mut u32, out: &mut VfState) -> Result<(), Refusal> {
    match tlv.kind {
        format::IDENTITY => check::identity(tlv.one()?, out),
        format::POLICY => check::policy(tlv.one()?, out),
        format::RX_QUEUES => check::rx_queues(tlv.array(crate::mbx_ext::MAX_QUEUES)?, out),
        format::TX_QUEUES => check::tx_queues(tlv.array(crate::mbx_ext::MAX_QUEUES)?, out),
        format::INTERRUPTS => check::interrupts(tlv.one()?, out),
        format::MAILBOX => check::mailbox(tlv.one()?, out),
        format::FILTERS => check::filters(tlv.one()?, out),
        format::UNICAST | format::USED_UNICAST => {
            check::unicast(tlv.kind, tlv.array(super::MAX_UNICAST)?, out)
        }
        format::VLANS | format::USED_VLANS => {
            check::vlans(tlv.kind, tlv.array(super::MAX_VLANS)?, out)
        }
        format::MULTICAST => check::multicast(tlv.array(super::MAX_MULTICAST)?, out),
        format::REGISTRATIONS => check::registrations(tlv.array(crate::mbx_ext::MAX_QUEUES)?, out),
        format::REARM => check::rearm(tlv.one()?, out),
        format::OWN_RSS => check::own_rss(tlv.one()?, out),
        format::STATISTICS => check::statistics(tlv.one()?, out),
        format::LIMITS => check::limits(tlv.one()?, out),
        format::USE => {
            *pairs = check::in_use(tlv.one()?, out)?;
            Ok(())
        }
        format::EXCHANGE => check::exchange(tlv.one()?, out),
        // `known` has been asked.
        _ => Ok(()),
    }
}

/// Kinds that a blob of each content must have, `own_rss`: of a VF with RSS of its own.
fn mandatory(content: u16, own_rss: bool) -> impl Iterator<Item = u16> {
    let (last, rss) = if content == format::CONTENT_COMPAT {
        (format::POLICY, false)
    } else {
        // REGISTRATIONS is there only if the guest cooperates, REARM only if it has rings to re-arm.
        (format::MULTICAST, own_rss)
    };
    (format::IDENTITY..=last).chain(rss.then_some(format::OWN_RSS))
}

fn crc(blob: &[u8]) -> u32 {
    const AT: usize = core::mem::offset_of!(format::Header, crc32c);
    let before = blob.get(..AT).unwrap_or(&[]);
    let after = blob.get(AT + 4..).unwrap_or(&[]);
    Crc32c::new()
        .update(before)
        .update(&[0; 4])
        .update(after)
        .finish()
}

/// Reads a whole blob, byte by byte, whatever the host, and returns the queue pairs that the VF
/// uses.
///
/// # Errors
/// See [`Refusal`]. What comes after the first fault means nothing, so there is one reason.
pub(super) fn parse(blob: &[u8], content: u16, out: &mut VfState) -> Result<u32, Refusal> {
    let head = announced(blob)?.ok_or(Refusal::Length)?;
    if head.content != content {
        return Err(Refusal::Content(head.content));
    }
    if head.length != blob.len() {
        return Err(Refusal::Length);
    }
    let (header, mut rest) = format::Header::ref_from_prefix(blob).map_err(|_| Refusal::Length)?;
    if header.crc32c.get() != crc(blob) {
        return Err(Refusal::Crc);
    }

    let mut pairs = 0;
    *out = VfState::EMPTY;
    let mut seen: u32 = 0;
    let mut last = 0;
    let mut count: u32 = 0;
    while !rest.is_empty() {
        let (tlv, version) = next_tlv(&mut rest)?;
        // Kind 0 is never valid, so the first one passes only if it is above it.
        if tlv.kind <= last {
            return Err(Refusal::Order(tlv.kind));
        }
        last = tlv.kind;
        count += 1;
        let optional = tlv.kind & format::KIND_OPTIONAL != 0;
        if content == format::CONTENT_COMPAT && !optional && tlv.kind > format::POLICY {
            return Err(Refusal::UnknownTlv(tlv.kind));
        }
        let elsewhere = content == format::CONTENT_STATE && of_compat_alone(tlv.kind);
        if !known(tlv.kind) || elsewhere || (optional && version != format::TLV_VERSION) {
            if optional {
                continue;
            }
            return Err(Refusal::UnknownTlv(tlv.kind));
        }
        if version != format::TLV_VERSION {
            return Err(Refusal::TlvVersion(tlv.kind));
        }
        if !optional {
            // Kinds without KIND_OPTIONAL that are known are below 32.
            seen |= 1 << (tlv.kind & 31);
        }
        store(&tlv, &mut pairs, out)?;
    }
    if count != header.count.get() {
        return Err(Refusal::Count);
    }
    let own_rss = check::has_own_rss(out);
    if let Some(kind) = mandatory(content, own_rss).find(|kind| seen & 1 << (kind & 31) == 0) {
        return Err(Refusal::Missing(kind));
    }
    Ok(if content == format::CONTENT_STATE {
        out.used_pairs()
    } else {
        pairs
    })
}

fn decode_as(
    blob: &[u8],
    content: u16,
    host: &Host<'_>,
    out: &mut VfState,
) -> Result<(), Refusals> {
    let pairs = parse(blob, content, out)?;
    let mut found = Found::new();
    check::against_host(out, pairs, host, &mut found);
    found.result()
}

/// Checks a compatibility record against this host. `out` holds what was read: nothing of queues
/// and mailbox.
///
/// # Errors
/// All reasons, see [`Refusal`](super::Refusal).
pub fn decode_compat(blob: &[u8], host: &Host<'_>, out: &mut VfState) -> Result<(), Refusals> {
    decode_as(blob, format::CONTENT_COMPAT, host, out)
}

/// Checks a whole state, byte by byte and then against this host, and leaves it in `out`.
///
/// After `Ok`, every number in `out` is one that the hardware and the mailbox allow, and no right exceeds what `host`
/// grants. After an error `out` must not be used.
///
/// # Errors
/// All reasons, see [`Refusal`](super::Refusal).
pub fn decode(blob: &[u8], host: &Host<'_>, out: &mut VfState) -> Result<(), Refusals> {
    decode_as(blob, format::CONTENT_STATE, host, out)
}
