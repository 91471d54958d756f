// SPDX-License-Identifier: GPL-2.0
//! Socket buffers.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};
use nic_bindings as raw;

/// Fragments that a frame has at most.
pub const MAX_SKB_FRAGS: u32 = kernel::bindings::MAX_SKB_FRAGS;

/// Why a frame is dropped (`enum skb_drop_reason`), as the drop monitor shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropReason(u32);

impl DropReason {
    /// No better reason is known.
    pub const NOT_SPECIFIED: Self = Self(raw::skb_drop_reason_SKB_DROP_REASON_NOT_SPECIFIED);
    /// Out of memory.
    pub const NOMEM: Self = Self(raw::skb_drop_reason_SKB_DROP_REASON_NOMEM);
    /// The device is not ready to transmit.
    pub const DEV_READY: Self = Self(raw::skb_drop_reason_SKB_DROP_REASON_DEV_READY);
    /// Headers do not make sense.
    pub const HDR_TRUNC: Self = Self(raw::skb_drop_reason_SKB_DROP_REASON_HDR_TRUNC);
    /// Segmentation failed.
    pub const SKB_GSO_SEG: Self = Self(raw::skb_drop_reason_SKB_DROP_REASON_SKB_GSO_SEG);
}

/// A borrowed socket buffer.
///
/// # Invariants
///
/// A valid skb, of which what is read here is not written by others meanwhile; its reference counts
/// may be.
#[repr(transparent)]
pub struct SkbRef(Opaque<raw::sk_buff>, PhantomData<*mut ()>);

/// EtherTypes of VLAN tags.
const ETH_P_8021Q: u16 = raw::ETH_P_8021Q as u16;
const ETH_P_8021AD: u16 = raw::ETH_P_8021AD as u16;

impl SkbRef {
    /// # Safety
    ///
    /// `skb` is valid and not changed by others for `'a`.
    pub(crate) unsafe fn from_raw<'a>(skb: *mut raw::sk_buff) -> &'a Self {
        // SAFETY: `SkbRef` is a transparent wrapper; the rest by the safety requirement.
        unsafe { &*skb.cast() }
    }

    #[inline]
    fn raw(&self) -> *const raw::sk_buff {
        self.0.get()
    }

    /// Reads a 16-bit field at a byte offset that C computed.
    #[inline]
    fn field16(&self, offset: usize) -> u16 {
        // SAFETY: `offset` is `offsetof()` of a 16-bit field of `sk_buff`.
        unsafe { self.raw().byte_add(offset).cast::<u16>().read() }
    }

    #[inline]
    fn shinfo(&self) -> *const raw::skb_shared_info {
        // SAFETY: A valid skb has its shared info at `end`, which is an offset from `head` on
        // 64-bit machines.
        unsafe {
            let skb = self.raw();
            (*skb).head.add((*skb).end as usize).cast()
        }
    }

    /// Length in bytes, linear part and fragments.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a frame has a header")]
    pub fn len(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.raw()).len }
    }

    /// Bytes of the linear part.
    #[inline]
    pub fn headlen(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.raw()).len.wrapping_sub((*self.raw()).data_len) }
    }

    /// Number of page fragments.
    #[inline]
    pub fn nr_frags(&self) -> u32 {
        // SAFETY: By the type invariant.
        u32::from(unsafe { (*self.shinfo()).nr_frags })
    }

    /// The linear part.
    #[inline]
    pub fn head(&self) -> &[u8] {
        // SAFETY: The linear part of a valid skb is initialised memory.
        unsafe { core::slice::from_raw_parts((*self.raw()).data, self.headlen() as usize) }
    }

    /// Transmit queue that the core has chosen.
    #[inline]
    pub fn queue_mapping(&self) -> u16 {
        // SAFETY: By the type invariant.
        unsafe { (*self.raw()).queue_mapping }
    }

    /// Whether the device is asked to fill in a checksum (`CHECKSUM_PARTIAL`).
    #[inline]
    pub fn csum_partial(&self) -> bool {
        // SAFETY: By the type invariant; these bytes are read by this view only.
        let headers = unsafe { (*self.raw()).__bindgen_anon_4.headers.as_ref() };
        u32::from(headers.ip_summed()) == raw::CHECKSUM_PARTIAL
    }

    /// Bytes from the start of the frame to where the checksum starts.
    #[inline]
    pub fn csum_start_offset(&self) -> u32 {
        u32::from(self.field16(raw::RUST_CONST_HELPER_SKB_CSUM_START)).wrapping_sub(self.headroom())
    }

    /// Bytes from where the checksum starts to where it is stored: 16 is TCP, 6 UDP, 8 SCTP.
    #[inline]
    pub fn csum_offset(&self) -> u16 {
        self.field16(raw::RUST_CONST_HELPER_SKB_CSUM_OFFSET)
    }

    #[inline]
    fn headroom(&self) -> u32 {
        // CAST: Smaller than the buffer.
        // SAFETY: By the type invariant.
        unsafe { ((*self.raw()).data as usize).wrapping_sub((*self.raw()).head as usize) as u32 }
    }

    /// Bytes from the start of the frame to the network header.
    #[inline]
    pub fn network_offset(&self) -> u32 {
        u32::from(self.field16(raw::RUST_CONST_HELPER_SKB_NETWORK_HEADER))
            .wrapping_sub(self.headroom())
    }

    /// EtherType, in CPU order, as the stack set it; that of the VLAN header if one is in the
    /// frame.
    #[inline]
    pub fn protocol(&self) -> u16 {
        u16::from_be(self.field16(raw::RUST_CONST_HELPER_SKB_PROTOCOL))
    }

    /// EtherType behind VLAN headers (`vlan_get_protocol`).
    #[inline]
    pub fn inner_protocol(&self) -> u16 {
        match self.protocol() {
            // Nearly always the tag is not in the frame.
            ETH_P_8021Q | ETH_P_8021AD => {
                // SAFETY: `self` is valid and C does not write to it.
                unsafe { raw::nic_vlan_get_protocol(self.raw().cast_mut()) }
            }
            protocol => protocol,
        }
    }

    /// VLAN tag that the device is asked to insert.
    #[inline]
    pub fn vlan_tag(&self) -> Option<u16> {
        // SAFETY: `offset` is `offsetof()` of a 32-bit field.
        let all = unsafe {
            self.raw()
                .byte_add(raw::RUST_CONST_HELPER_SKB_VLAN_ALL)
                .cast::<u32>()
                .read()
        };
        (all != 0).then(|| self.field16(raw::RUST_CONST_HELPER_SKB_VLAN_TCI))
    }

    /// Whether the frame is to be segmented.
    #[inline]
    pub fn is_gso(&self) -> bool {
        // SAFETY: By the type invariant.
        (unsafe { (*self.shinfo()).gso_size }) != 0
    }

    /// Whether the checksum asked for is that of SCTP and not of a protocol that stores it at the
    /// same offset.
    pub fn csum_is_sctp(&self) -> bool {
        // SAFETY: `self` is valid and C does not write to it.
        unsafe { raw::nic_skb_csum_is_sctp(self.raw().cast_mut()) }
    }

    /// Whether the frame is encapsulated, so that the inner headers are meant.
    #[inline]
    pub fn encapsulation(&self) -> bool {
        // SAFETY: By the type invariant; these bytes are read by this view only.
        let headers = unsafe { (*self.raw()).__bindgen_anon_4.headers.as_ref() };
        headers.encapsulation() != 0
    }
}

/// What a device needs to segment a frame, after [`SkBuff::tso_prepare`]. Offsets from the start of
/// the frame.
pub type Tso = raw::nic_tso;

/// An owned socket buffer.
///
/// It must go somewhere: to the device
/// ([`TxRoom::send`](super::TxRoom::send)), back to the core, or be dropped with a reason
/// ([`SkBuff::free`]). To let it fall out of scope is an error when the module is linked.
///
/// # Invariants
///
/// Owns the only reference to a valid skb: the core does not send shared ones on a device that does
/// not say that it may (`IFF_TX_SKB_SHARING`).
#[must_use = "a socket buffer is sent or freed with a reason"]
pub struct SkBuff(NonNull<raw::sk_buff>);

// SAFETY: A socket buffer does not belong to a thread.
unsafe impl Send for SkBuff {}

impl Deref for SkBuff {
    type Target = SkbRef;

    #[inline]
    fn deref(&self) -> &SkbRef {
        // SAFETY: `SkBuff` owns a valid skb.
        unsafe { SkbRef::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for SkBuff {
    #[inline(always)]
    fn drop(&mut self) {
        kernel::build_error!("a socket buffer would be lost without a reason");
    }
}

impl SkBuff {
    /// # Safety
    ///
    /// The caller passes on the ownership of `skb`.
    #[inline]
    pub(crate) unsafe fn from_raw(skb: NonNull<raw::sk_buff>) -> Self {
        Self(skb)
    }

    /// Gives up the ownership.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<raw::sk_buff> {
        let this = core::mem::ManuallyDrop::new(self);
        this.0
    }

    #[inline]
    pub(crate) fn raw_ptr(&self) -> *mut raw::sk_buff {
        self.0.as_ptr()
    }

    /// Drops the frame, in any context.
    pub fn free(self, reason: DropReason) {
        // SAFETY: Ownership passes to C.
        unsafe { raw::nic_kfree_skb_any(self.into_raw().as_ptr(), reason.0) }
    }

    /// Prepares the headers of a GSO frame for hardware that fills in lengths and checksums of each
    /// segment.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the frame is not to be segmented, without [`SkbRef::csum_partial`], or if its
    /// headers are not in the linear part.
    #[inline]
    pub fn tso_prepare(&mut self) -> Result<Tso> {
        let mut tso = Tso::default();
        // SAFETY: By the type invariant. C looks whether the headers are there.
        to_result(unsafe { raw::nic_tso_prepare(self.raw_ptr(), &mut tso) })?;
        Ok(tso)
    }

    /// Computes the checksum in software (`skb_checksum_help`).
    pub fn checksum_help(&mut self) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { raw::skb_checksum_help(self.raw_ptr()) })
    }

    /// Pads the frame with zeros to `LEN` bytes, at most those of the shortest Ethernet frame.
    /// `None` if there was no memory, and then the frame is gone.
    #[inline]
    pub fn pad_to<const LEN: u32>(self) -> Option<Self> {
        const { assert!(LEN <= 60) };
        if self.len() >= LEN {
            return Some(self);
        }
        self.pad(LEN)
    }

    #[cold]
    fn pad(self, len: u32) -> Option<Self> {
        let skb = self.into_raw();
        // SAFETY: By the type invariant it is ours alone; on failure C has freed it.
        if unsafe { raw::nic_skb_put_padto(skb.as_ptr(), len) } != 0 {
            return None;
        }
        Some(Self(skb))
    }
}

/// A received frame of several buffers that is being put together. Dropping it frees it.
///
/// # Invariants
///
/// Owns the only reference to an skb that was made around a buffer of a page pool, and is marked
/// for its recycling.
pub struct Partial(NonNull<raw::sk_buff>);

// SAFETY: A socket buffer does not belong to a thread.
unsafe impl Send for Partial {}

impl Partial {
    /// # Safety
    ///
    /// `skb` upholds the type invariant.
    #[inline]
    pub(super) unsafe fn from_raw(skb: NonNull<raw::sk_buff>) -> Self {
        Self(skb)
    }

    /// Gives up the ownership.
    #[inline]
    pub(super) fn into_raw(self) -> *mut raw::sk_buff {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    #[inline]
    pub(super) fn raw_ptr(&self) -> *mut raw::sk_buff {
        self.0.as_ptr()
    }

    /// Bytes so far.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a frame has a header")]
    pub fn len(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.0.as_ptr()).len }
    }

    /// Drops the frame, in any context.
    pub fn free(self, reason: DropReason) {
        // SAFETY: Ownership passes to C.
        unsafe { raw::nic_kfree_skb_any(self.into_raw(), reason.0) }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let reason = DropReason::DEV_READY;
        // SAFETY: By the type invariant, and it is not used again.
        unsafe { raw::nic_kfree_skb_any(self.0.as_ptr(), reason.0) }
    }
}

/// What the RSS hash of a received frame covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HashType {
    /// There is none.
    None = 0,
    /// Addresses.
    L3 = raw::NIC_RX_HASH_L3 as u8,
    /// Addresses and ports.
    L4 = raw::NIC_RX_HASH_L4 as u8,
}

/// Where a frame lies in a buffer of a ring, and the ring's queue: what the ring knows and nobody
/// else has a say in. The words as in [`RxMeta`].
#[derive(Clone, Copy)]
pub(super) struct Place(raw::nic_rx_meta);

impl Place {
    /// Of a frame that begins `headroom` bytes after the start of a buffer of `truesize` bytes,
    /// received on `queue`.
    pub(super) fn new(queue: u16, headroom: u16, truesize: u16) -> Self {
        Self(raw::nic_rx_meta {
            tags: u64::from(queue) << 48,
            place: u64::from(headroom) | u64::from(truesize) << 32,
        })
    }

    /// An XDP program has left it `headroom` bytes after the start, behind `metasize` bytes of
    /// metadata.
    #[inline]
    pub(super) fn moved(mut self, headroom: u16, metasize: u8) -> Self {
        self.0.place &= !0xFFFF;
        self.0.place |= u64::from(headroom) | u64::from(metasize) << 48;
        self
    }

    /// A frame of `len` bytes here, with what the device found out.
    #[inline]
    pub(super) fn frame(self, len: u16, meta: RxMeta) -> raw::nic_rx_meta {
        raw::nic_rx_meta {
            tags: self.0.tags | meta.0.tags,
            place: self.0.place | meta.0.place | u64::from(len) << 16,
        }
    }
}

/// What the device found out about a received frame.
///
/// # Invariants
///
/// Only the hash and the tag of `tags` and the flags of `place` are not 0.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct RxMeta(raw::nic_rx_meta);

impl RxMeta {
    /// Nothing.
    #[inline]
    #[expect(clippy::new_without_default, reason = "there is one way to start")]
    pub const fn new() -> Self {
        Self(raw::nic_rx_meta { tags: 0, place: 0 })
    }

    #[inline]
    fn flag(self, flag: u8) -> Self {
        let Self(raw::nic_rx_meta { tags, place }) = self;
        Self(raw::nic_rx_meta {
            tags,
            place: place | u64::from(flag) << 56,
        })
    }

    /// RSS hash.
    #[inline]
    pub fn hash(mut self, hash: u32, kind: HashType) -> Self {
        self.0.tags |= u64::from(hash);
        self.flag(kind as u8)
    }

    /// Whether the device has verified the transport checksum (`CHECKSUM_UNNECESSARY`).
    #[inline]
    pub fn csum_ok(self, ok: bool) -> Self {
        if ok {
            self.flag(raw::NIC_RX_CSUM_OK as u8)
        } else {
            self
        }
    }

    /// VLAN tag that the device has stripped. A call, so that a frame without one costs a branch
    /// and no more.
    #[cold]
    pub fn vlan(mut self, tci: u16) -> Self {
        self.0.tags |= u64::from(tci) << 32;
        self.flag(raw::NIC_RX_VLAN as u8)
    }

    /// Drop a multicast frame that bears this interface's own address as its source: a VF gets its
    /// own frames back from the switch in the NIC.
    #[inline]
    pub fn prune_own(self) -> Self {
        self.flag(raw::NIC_RX_PRUNE_OWN as u8)
    }
}
