// SPDX-License-Identifier: GPL-2.0
//! Mailbox extension for live migration: feature bit and messages between PF and VF.
//!
//! Negotiated with `FEATURES_NEGOTIATE` of mailbox API 1.7 by [`FEATURE_MIGRATION`]. A PF that does
//! not know the bit clears it in its answer, a VF that does not know it never offers it, so that no
//! message of this file ever reaches a driver that did not ask for it. The transport (ownership,
//! ACK/NACK, clear-to-send) is that of the mainline drivers:
//! `drivers/net/ethernet/intel/ixgbevf/mbx.h`.
//!
//! | message | way | first dword | answer |
//! |---|---|---|---|
//! | [`RegisterQueue`] | VF to PF | `0x40` | the PF's `ACK` or `NACK`, as for every VF message |
//! | [`SaveReply`] | VF to PF | `0x41` | likewise |
//! | [`RestoreDone`] | VF to PF | `0x42` | likewise |
//! | [`MarkingReply`] | VF to PF | `0x43` | likewise |
//! | [`StartMarking`] | PF to VF | `0x0110` | [`MarkingReply`] once all later frames are marked |
//! | [`SaveRequest`] | PF to VF | `0x0111` | [`SaveReply`] |
//! | [`Restore`] | PF to VF | `0x0112` | [`RestoreDone`] |
//! | [`StopMarking`] | PF to VF | `0x0113` | [`MarkingReply`] |
//!
//! # Sequence
//! ```text
//!   source PF                         VF                          destination PF
//!   log_start: StartMarking  ------>  marks what DMA touched
//!                            <------  MarkingReply (generation)
//!   PRE_COPY:  SaveRequest   ------>
//!                            <------  SaveReply (ring indices)
//!   STOP, last log read, save: no message; the guest's CPUs are stopped.
//!                                     <-------------------------  RUNNING: Restore
//!                                     takes received frames,
//!                                     re-arms Rx where asked
//!                                     ------------------------->  RestoreDone: served, announced
//!                                     re-arms Tx where asked
//!                                     <-------------------------  log_stop: StopMarking
//! ```
//! A PF message carries a generation number; an answer repeats it, so that a late answer to an
//! earlier request is told from the one waited for. Nothing on the stop or save path waits for any
//! of them.
//!
//! A number belongs to one message of one VF, over all hosts ([`UNIQUE`]). [`Restore`] has an
//! effect that must not be had twice: it stays owed until it is answered or the VF is reset, over
//! moves, and no other is sent before that; the PF repeats it under its number, and a VF that has
//! done that number only answers ([`Done`]).
//!
//! The structs are plain dwords in the CPU's order, as the mailbox memory registers give them. What
//! a VF sends is untrusted: addresses and lengths in a [`RegisterQueue`] are the guest's claim
//! about its own memory, and are used only to read that guest's memory and only inside the ranges
//! that VFIO was asked to log.

use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout, //
};

/// Dwords in a mailbox message, in both directions (`IXGBE_VFMAILBOX_SIZE`).
pub const MBX_WORDS: usize = 16;

/// One whole mailbox message.
pub type Words = [u32; MBX_WORDS];

/// Feature bit offered and granted in dword 1 of `FEATURES_NEGOTIATE`.
///
/// Mainline uses bit 0 (IPsec) and bit 1 (ESX mailbox) and grows upwards, hence a bit far from
/// them.
pub const FEATURE_MIGRATION: u32 = 1 << 24;

/// First mailbox API (major in bits 15:8, minor in bits 7:0, only to be printed) whose
/// `FEATURES_NEGOTIATE` exists.
pub const API_VERSION_MIN: u32 = 0x0107;

/// Version of the messages in this file. A message of another version is refused with `NACK`.
pub const EXT_VERSION: u32 = 1;

/// Bit of a message's number that says: no other message to this VF has the same number, on
/// whatever host. Numbers travel with the VF. Those of a PF driver that did not carry them begin at
/// 1 on each host, so they say nothing about a message.
pub const UNIQUE: u32 = 1 << 31;

/// Most queue pairs that one VF can have (16 pools of 8 queues).
pub const MAX_QUEUES: usize = 8;

/// Most descriptors in a ring, as in the mainline drivers (`IXGBEVF_MAX_RXD`).
pub const MAX_RING_ENTRIES: u32 = 4096;

/// Bits of dword 0 that name the message.
pub const TYPE_MASK: u32 = 0x0000_ffff;

/// Bits of dword 0 that carry neither the type nor a transport flag.
const INFO_MASK: u32 = 0x00ff_0000;

/// [`RegisterQueue::caps`]: the VF marks pages that an Rx DMA touched while marking is on.
pub const CAP_MARK: u32 = 1 << 0;
/// [`RegisterQueue::caps`]: the VF can restart its rings from index 0 without losing a received
/// frame.
pub const CAP_REARM: u32 = 1 << 1;
/// [`RegisterQueue::caps`]: the shadow array is valid.
pub const CAP_SHADOW: u32 = 1 << 2;
/// All capability bits of [`EXT_VERSION`].
pub const CAPS_ALL: u32 = CAP_MARK | CAP_REARM | CAP_SHADOW;

/// Type of [`RegisterQueue`].
pub const VF_REGISTER_QUEUE: u32 = 0x40;
/// Type of [`SaveReply`].
pub const VF_SAVE_REPLY: u32 = 0x41;
/// Type of [`RestoreDone`].
pub const VF_RESTORE_DONE: u32 = 0x42;
/// Type of [`MarkingReply`].
pub const VF_MARKING_REPLY: u32 = 0x43;
/// Type of [`StartMarking`].
pub const PF_START_MARKING: u32 = 0x0110;
/// Type of [`SaveRequest`].
pub const PF_SAVE_REQUEST: u32 = 0x0111;
/// Type of [`Restore`].
pub const PF_RESTORE: u32 = 0x0112;
/// Type of [`StopMarking`].
pub const PF_STOP_MARKING: u32 = 0x0113;

/// Why a message of the extension was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Dword 0 names no message of this file in this direction.
    UnknownType,
    /// [`EXT_VERSION`] of the sender is not ours.
    Version,
    /// A field is outside its documented range.
    Range,
    /// A reserved dword or bit is not zero.
    Reserved,
}

/// VF to PF: where the posted buffers of one Rx queue are listed. Sent once per queue, before the
/// queue is enabled, and dropped by the PF at each reset of the VF.
///
/// The shadow array has one little-endian `u64` per descriptor of the ring: the DMA address of the
/// buffer posted there, or 0 where there is none or where its pages have been marked already.
/// Advanced write-back overwrites the address in the descriptor itself, so nobody but the guest
/// driver knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RegisterQueue {
    /// [`VF_REGISTER_QUEUE`]
    pub head: u32,
    /// [`EXT_VERSION`]
    pub version: u32,
    /// Index of the Rx queue inside the VF, below [`Self::queues`].
    pub queue: u32,
    /// Rx queues that the VF uses in all, 1 to [`MAX_QUEUES`].
    pub queues: u32,
    /// `CAP_*`
    pub caps: u32,
    /// Descriptors in the ring: a multiple of 8 up to [`MAX_RING_ENTRIES`].
    pub entries: u32,
    /// DMA address of the shadow array, low half; 8-byte aligned.
    pub shadow_lo: u32,
    /// DMA address of the shadow array, high half.
    pub shadow_hi: u32,
    /// Length of the shadow array in bytes: 8 times [`Self::entries`], or 0 without [`CAP_SHADOW`].
    pub shadow_len: u32,
    /// Bytes from a buffer's address that one descriptor's DMA can touch, 1 to 16384.
    pub buffer_len: u32,
    /// Zero from the VF. In the PF's `ACK`: generation of the marking in force, or 0. If it is not
    /// 0 the VF marks from before it enables the queue, as if [`StartMarking`] had come; no
    /// [`MarkingReply`] is due.
    pub marking: u32,
    /// Zero.
    pub reserved: [u32; 5],
}

/// VF to PF: answer to [`SaveRequest`], where the driver's software stands in its rings. A hint for
/// logs and tests: the heads that are restored come from the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SaveReply {
    /// [`VF_SAVE_REPLY`]
    pub head: u32,
    /// [`EXT_VERSION`]
    pub version: u32,
    /// Generation of the [`SaveRequest`].
    pub generation: u32,
    /// Queue pairs in use, 0 (interface down) to [`MAX_QUEUES`].
    pub queues: u32,
    /// Per queue pair: next Rx descriptor to clean in bits 15:0, next Tx descriptor to clean in
    /// bits 31:16.
    pub next_to_clean: [u32; MAX_QUEUES],
    /// Zero.
    pub reserved: [u32; 4],
}

/// VF to PF: the VF has done what [`Restore`] asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RestoreDone {
    /// [`VF_RESTORE_DONE`]
    pub head: u32,
    /// [`EXT_VERSION`]
    pub version: u32,
    /// Generation of the [`Restore`].
    pub generation: u32,
    /// Queue pairs that were re-armed.
    pub rearmed: u32,
    /// Frames taken out of the rings before they were re-armed.
    pub frames: u32,
    /// Zero.
    pub reserved: [u32; 11],
}

/// VF to PF: answer to [`StartMarking`] and [`StopMarking`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MarkingReply {
    /// [`VF_MARKING_REPLY`]
    pub head: u32,
    /// [`EXT_VERSION`]
    pub version: u32,
    /// Generation of the request.
    pub generation: u32,
    /// 1: every frame handed up from now on is marked first; 0: marking is off.
    pub marking: u32,
    /// Zero.
    pub reserved: [u32; 12],
}

macro_rules! plain_request {
    ($(#[$doc:meta])* $name:ident, $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name {
            #[doc = concat!("[`", stringify!($type), "`]")]
            pub head: u32,
            /// [`EXT_VERSION`]
            pub version: u32,
            /// Number of this request, never 0, repeated by the answer.
            pub generation: u32,
            /// Zero.
            pub reserved: [u32; 13],
        }

        impl $name {
            /// A request with this generation.
            pub const fn new(generation: u32) -> Self {
                Self { head: $type, version: EXT_VERSION, generation, reserved: [0; 13] }
            }

            fn validate(&self) -> Result<(), Error> {
                check(self.generation != 0, Error::Range)?;
                zero(&self.reserved)
            }
        }
    };
}

plain_request!(
    /// PF to VF: from now on mark every page that an Rx DMA touched before the frame goes up.
    StartMarking,
    PF_START_MARKING
);
plain_request!(
    /// PF to VF: a save is near, say where the rings stand. Sent in PRE_COPY, never waited for.
    SaveRequest,
    PF_SAVE_REQUEST
);
plain_request!(
    /// PF to VF: marking may end.
    StopMarking,
    PF_STOP_MARKING
);

/// PF to VF, on the destination after RUNNING: what became of each ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Restore {
    /// [`PF_RESTORE`]
    pub head: u32,
    /// [`EXT_VERSION`]
    pub version: u32,
    /// Number of this request, never 0, repeated by [`RestoreDone`].
    pub generation: u32,
    /// Queue pairs described, 0 to [`MAX_QUEUES`].
    pub queues: u32,
    /// Bit i: Rx queue i stands disabled with head 0 and must be re-armed; clear: its head was
    /// taken back.
    pub rearm_rx: u32,
    /// Bit i: the same for Tx queue i.
    pub rearm_tx: u32,
    /// Per queue pair: Rx head on the source in bits 15:0, Tx head in bits 31:16.
    pub heads: [u32; MAX_QUEUES],
    /// Zero.
    pub reserved: [u32; 2],
}

/// What a VF's driver remembers of the restores that it was asked for, so that each is done once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done(Option<u32>);

impl Done {
    /// Whether this message is to be done; a repeated one is only to be answered.
    pub fn is_new(&mut self, m: &Restore) -> bool {
        let new = m.generation & UNIQUE == 0 || self.0 != Some(m.generation);
        self.0 = Some(m.generation);
        new
    }

    /// Whether Rx queue `i` of the VF whose registers these are is to be re-armed. The ring of a
    /// queue that runs is the device's, whatever a message says.
    pub fn rearms_rx(io: &impl crate::Regs, m: &Restore, i: u32) -> bool {
        let named = m.rearm_rx & 1u32.checked_shl(i).unwrap_or(0) != 0;
        named && io.read32(crate::regs::vfrxdctl(i)) & crate::regs::RXDCTL_ENABLE == 0
    }

    /// Likewise for a Tx queue.
    pub fn rearms_tx(io: &impl crate::Regs, m: &Restore, i: u32) -> bool {
        let named = m.rearm_tx & 1u32.checked_shl(i).unwrap_or(0) != 0;
        named && io.read32(crate::regs::vftxdctl(i)) & crate::regs::TXDCTL_ENABLE == 0
    }
}

/// Number of the marking in force by the answer to a [`RegisterQueue`], or 0. A driver whose answer
/// was lost marks: the PF may have registered the queue, and count on it. Only a refusal says that
/// it has not.
pub fn marking_after(answer: &Result<Words, crate::mbx::vf::Error>) -> u32 {
    match answer {
        Ok([_, _, _, _, _, _, _, _, _, _, marking, ..]) => *marking,
        Err(crate::mbx::vf::Error::Nack | crate::mbx::vf::Error::NotClearToSend) => 0,
        Err(_) => UNIQUE,
    }
}

/// The messages of one direction: an enum, decoded by type, and back to dwords.
macro_rules! messages {
    ($(#[$doc:meta])* $name:ident { $($head:ident => $message:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $(
                #[doc = concat!("See [`", stringify!($message), "`].")]
                $message($message),
            )*
        }

        impl $name {
            fn decode(words: &Words) -> Result<Self, Error> {
                check(Self::is_type(words[0]), Error::UnknownType)?;
                match prologue(words)? {
                    $(
                        $head => {
                            let m: $message = zerocopy::transmute!(*words);
                            m.validate()?;
                            Ok(Self::$message(m))
                        }
                    )*
                    _ => Err(Error::UnknownType),
                }
            }

            /// The message as mailbox dwords. The PF adds clear-to-send to dword 0: without it a VF
            /// resets itself.
            pub fn words(&self) -> Words {
                match *self {
                    $(Self::$message(m) => zerocopy::transmute!(m),)*
                }
            }
        }
    };
}

messages!(
    /// A message from a VF, decoded and checked.
    VfMessage {
        VF_REGISTER_QUEUE => RegisterQueue,
        VF_SAVE_REPLY => SaveReply,
        VF_RESTORE_DONE => RestoreDone,
        VF_MARKING_REPLY => MarkingReply,
    }
);
messages!(
    /// A message from the PF, decoded and checked.
    PfMessage {
        PF_START_MARKING => StartMarking,
        PF_SAVE_REQUEST => SaveRequest,
        PF_RESTORE => Restore,
        PF_STOP_MARKING => StopMarking,
    }
);

/// The head dword must be exactly the type: `info` bits are unused, and transport flags have been
/// looked at before.
fn prologue(words: &Words) -> Result<u32, Error> {
    let [head, version, ..] = *words;
    if head & INFO_MASK != 0 {
        return Err(Error::Reserved);
    }
    if version != EXT_VERSION {
        return Err(Error::Version);
    }
    Ok(head & TYPE_MASK)
}

fn check(ok: bool, error: Error) -> Result<(), Error> {
    if ok {
        Ok(())
    } else {
        Err(error)
    }
}

fn zero(words: &[u32]) -> Result<(), Error> {
    check(words.iter().all(|w| *w == 0), Error::Reserved)
}

/// Bits that may be set when `queues` queues exist.
const fn queue_mask(queues: u32) -> u32 {
    if queues >= 32 {
        u32::MAX
    } else {
        (1 << queues) - 1
    }
}

impl RegisterQueue {
    /// DMA address of the shadow array, in the guest's I/O address space.
    pub const fn shadow(&self) -> u64 {
        self.shadow_lo as u64 | (self.shadow_hi as u64) << 32
    }

    /// Largest [`Self::buffer_len`]: `SRRCTL.BSIZEPKT` counts up to 16 kB.
    pub const BUFFER_LEN_MAX: u32 = 16384;

    /// Checks every field against its documented range.
    ///
    /// # Errors
    /// [`Error::Range`] or [`Error::Reserved`].
    pub fn validate(&self) -> Result<(), Error> {
        zero(&self.reserved)?;
        check(self.marking == 0, Error::Reserved)?;
        check(self.caps & !CAPS_ALL == 0, Error::Reserved)?;
        check((1..=MAX_QUEUES as u32).contains(&self.queues), Error::Range)?;
        check(self.queue < self.queues, Error::Range)?;
        check(
            (8..=MAX_RING_ENTRIES).contains(&self.entries) && self.entries % 8 == 0,
            Error::Range,
        )?;
        check(
            (1..=Self::BUFFER_LEN_MAX).contains(&self.buffer_len),
            Error::Range,
        )?;
        // `entries` is at most 4096 here, so the product fits.
        let want = if self.caps & CAP_SHADOW != 0 {
            self.entries * 8
        } else {
            0
        };
        check(self.shadow_len == want, Error::Range)?;
        check(self.shadow() % 8 == 0, Error::Range)?;
        check(
            self.shadow().checked_add(u64::from(want)).is_some(),
            Error::Range,
        )
    }
}

impl SaveReply {
    fn validate(&self) -> Result<(), Error> {
        zero(&self.reserved)?;
        check(self.queues <= MAX_QUEUES as u32, Error::Range)
    }
}

impl RestoreDone {
    fn validate(&self) -> Result<(), Error> {
        zero(&self.reserved)?;
        check(self.rearmed <= MAX_QUEUES as u32, Error::Range)
    }
}

impl MarkingReply {
    fn validate(&self) -> Result<(), Error> {
        zero(&self.reserved)?;
        check(self.marking <= 1, Error::Range)
    }
}

impl Restore {
    fn validate(&self) -> Result<(), Error> {
        check(self.generation != 0, Error::Range)?;
        zero(&self.reserved)?;
        check(self.queues <= MAX_QUEUES as u32, Error::Range)?;
        let described = queue_mask(self.queues);
        check(
            (self.rearm_rx | self.rearm_tx) & !described == 0,
            Error::Range,
        )
    }
}

impl VfMessage {
    /// Whether dword 0 names a message of this file that a VF sends, whatever the rest holds.
    pub const fn is_type(head: u32) -> bool {
        matches!(head & TYPE_MASK, VF_REGISTER_QUEUE..=VF_MARKING_REPLY)
    }

    /// Decodes and checks what a VF sent. Every dword is untrusted.
    ///
    /// # Errors
    /// See [`Error`]; the PF answers each with `NACK`.
    pub fn parse(words: &Words) -> Result<Self, Error> {
        Self::decode(words)
    }
}

impl PfMessage {
    /// Whether dword 0 names a message of this file that the PF sends, whatever the rest holds.
    pub const fn is_type(head: u32) -> bool {
        matches!(head & TYPE_MASK, PF_START_MARKING..=PF_STOP_MARKING)
    }

    /// Decodes and checks what the PF sent. Clear-to-send (dword 0 bit 29) is the caller's to look
    /// at first.
    ///
    /// # Errors
    /// See [`Error`]; the VF acknowledges such a message and ignores it.
    pub fn parse(words: &Words) -> Result<Self, Error> {
        Self::decode(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register() -> RegisterQueue {
        RegisterQueue {
            head: VF_REGISTER_QUEUE,
            version: EXT_VERSION,
            queue: 1,
            queues: 2,
            caps: CAPS_ALL,
            entries: 512,
            shadow_lo: 0x1234_5000,
            shadow_hi: 0x1,
            shadow_len: 4096,
            buffer_len: 2048,
            marking: 0,
            reserved: [0; 5],
        }
    }

    fn parse_register(edit: impl FnOnce(&mut RegisterQueue)) -> Result<VfMessage, Error> {
        let mut m = register();
        edit(&mut m);
        VfMessage::parse(&VfMessage::RegisterQueue(m).words())
    }

    #[test]
    fn register_queue_survives_the_wire() {
        assert_eq!(
            parse_register(|_| ()),
            Ok(VfMessage::RegisterQueue(register()))
        );
        assert_eq!(register().shadow(), 0x1_1234_5000);
    }

    #[test]
    fn register_queue_limits() {
        for (edit, error) in [
            (
                (|m| m.version = 2) as fn(&mut RegisterQueue),
                Error::Version,
            ),
            (|m| m.queue = 2, Error::Range),
            (|m| m.queues = 0, Error::Range),
            (|m| m.queues = 9, Error::Range),
            (|m| m.caps = 8, Error::Reserved),
            (|m| m.entries = 0, Error::Range),
            (|m| m.entries = 12, Error::Range),
            (|m| m.entries = 8192, Error::Range),
            (|m| m.shadow_lo = 4, Error::Range),
            (|m| m.shadow_len = 4088, Error::Range),
            (|m| m.buffer_len = 0, Error::Range),
            (|m| m.buffer_len = 16385, Error::Range),
            (|m| m.caps = CAP_MARK, Error::Range),
            (|m| m.reserved[4] = 1, Error::Reserved),
            (|m| m.marking = 1, Error::Reserved),
            (|m| m.head |= 1 << 16, Error::Reserved),
            (
                |m| {
                    m.shadow_lo = 0xffff_fff8;
                    m.shadow_hi = u32::MAX;
                },
                Error::Range,
            ),
        ] {
            assert_eq!(parse_register(edit), Err(error));
        }
    }

    #[test]
    fn directions_do_not_mix() {
        assert_eq!(
            PfMessage::parse(&VfMessage::RegisterQueue(register()).words()),
            Err(Error::UnknownType)
        );
        let start = PfMessage::StartMarking(StartMarking::new(7)).words();
        assert_eq!(VfMessage::parse(&start), Err(Error::UnknownType));
    }

    #[test]
    fn pf_messages_survive_the_wire_and_ignore_transport_bits() {
        let restore = Restore {
            head: PF_RESTORE,
            version: EXT_VERSION,
            generation: 3,
            queues: 2,
            rearm_rx: 3,
            rearm_tx: 1,
            heads: [0x0010_01ff, 5, 0, 0, 0, 0, 0, 0],
            reserved: [0; 2],
        };
        for m in [
            PfMessage::StartMarking(StartMarking::new(1)),
            PfMessage::SaveRequest(SaveRequest::new(2)),
            PfMessage::Restore(restore),
            PfMessage::StopMarking(StopMarking::new(4)),
        ] {
            assert_eq!(PfMessage::parse(&m.words()), Ok(m));
            let mut words = m.words();
            words[0] |= 1 << 29;
            assert!(PfMessage::parse(&words).is_ok());
            words[2] = 0;
            assert_eq!(PfMessage::parse(&words), Err(Error::Range));
        }
        let mut wide = restore;
        wide.rearm_rx = 4;
        assert_eq!(
            PfMessage::parse(&PfMessage::Restore(wide).words()),
            Err(Error::Range)
        );
    }

    #[test]
    fn no_input_panics_and_accepted_input_round_trips() {
        // A small xorshift: the property is cheap, the fuzz target in tools/testing/fuzz goes
        // further.
        let mut x = 0x9e37_79b9_u32;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x
        };
        for _ in 0..200_000 {
            let mut words: Words = [0; MBX_WORDS];
            words[0] = [0x40, 0x41, 0x42, 0x43, 0x110, 0x111, 0x112, 0x113][(next() % 8) as usize];
            words[1] = 1 + (next() % 8) / 7;
            for w in &mut words[2..] {
                *w = if next() % 3 == 0 { next() % 16 } else { 0 };
            }
            if let Ok(m) = VfMessage::parse(&words) {
                assert_eq!(m.words(), words);
            }
            if let Ok(m) = PfMessage::parse(&words) {
                assert_eq!(m.words(), words);
            }
        }
    }
}
