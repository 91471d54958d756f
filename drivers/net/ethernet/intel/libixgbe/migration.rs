// SPDX-License-Identifier: GPL-2.0
//! Save and load of a VF by its PF.
//!
//! ```text
//!   source                                        destination
//!   ------                                        -----------
//!   quiesce      Tx drained and stopped, steering
//!                off, Rx stopped, gates closed,
//!                heads stable
//!   (last read of the dirty log)
//!   capture      registers, mailbox, filters
//!   encode   ------------- blob ------------->    decode     whole blob checked, nothing written
//!                                                 program    registers, queues still stopped
//!   resume       if the move fails: the same      resume     heads back or re-arm, gates open,
//!                code puts the VF back                       steering on, all vectors raised
//!                                               serve_now  once the guest has re-armed, if it
//!                                                          must: Rx gate open
//!                                               announce   on the wire
//! ```
//! Everything is generic over [`crate::Regs`] and [`crate::Delay`], so that the code that the PF module runs is the
//! code that host tests run against the model. [`Counted`] counts every register access, see the budgets in
//! `Documentation/networking/ixgbe-migration-format.rst`.

mod announce;
mod capture;
mod check;
mod coop;
mod counted;
mod crc32c;
mod decode;
mod dirty;
mod encode;
pub mod follow;
pub mod format;
pub mod pf;
mod quiesce;
mod refusal;
mod restore;
mod room;
mod state;

#[cfg(test)]
mod tests;

pub use announce::{
    announcement,
    Announcements,
    ANNOUNCEMENT_BYTES, //
};
pub use capture::{
    Own,
    Seen, //
};
pub use coop::{
    Coop,
    Marking, //
};
pub use counted::Counted;
pub use decode::{
    announced,
    decode,
    decode_compat,
    Announced, //
};
pub use dirty::{
    PageSpan,
    Unmarked, //
};
pub use encode::{
    encode,
    encode_compat,
    NoSpace, //
};
pub use quiesce::{
    quiesce,
    Progress,
    QuiesceError,
    Quiesced,
    Stop, //
};
pub use refusal::{
    Note,
    Refusal,
    Refusals,
    MAX_REFUSALS, //
};
pub use restore::{
    Gates,
    HeadRestore,
    Restored,
    Start,
    Started, //
};
pub use state::*;

/// PCI vendor of every device that this code knows.
pub const VENDOR_INTEL: u16 = 0x8086;

/// Queue pairs whose interrupt routing the PF can see: VTIVAR(0) holds two, and no other VTIVAR has a known alias.
pub const VISIBLE_PAIRS: usize = 2;

/// What this host offers a VF, and what it allows it.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// As this host's VF is or would be; `features`: what the PF grants, `max_frame`: what its MTU allows.
    pub identity: Identity,
    /// Frames of any length go with any MTU of the PF.
    pub mixes_frames: bool,
    /// Its chip has VFs that receive everything, if it lets them.
    pub promiscuous: bool,
    /// Mailbox APIs that this PF speaks, major in bits 15:8 and minor in 7:0.
    pub apis: &'a [u16],
    /// Policy for this VF.
    pub policy: Policy,
    /// More of it.
    pub limits: Limits,
    /// MAC address that the host set, if [`Policy::admin_mac`].
    pub mac: [u8; 6],
}

/// Where a VF lies in its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Number of the VF, which is the number of its pool.
    pub vf: u32,
    /// Queues of each pool: 2, 4 or 8.
    pub queues_per_pool: u32,
    /// Each pool has RSS of its own.
    pub own_rss: bool,
    /// Receive address registers (RAL/RAH) that the VF's pool uses.
    pub rars: &'a [u32],
}

impl Place<'_> {
    /// Device queue of the VF's queue `i`.
    pub const fn queue(&self, i: u32) -> u32 {
        self.vf.wrapping_mul(self.queues_per_pool).wrapping_add(i)
    }

    /// Register of a row with one bit per VF, and the bit.
    const fn gate(&self) -> (u32, u32) {
        (self.vf / 32, 1 << (self.vf % 32))
    }

    /// Address of the MPSAR half that holds the pool's bit for receive address `rar`, and the bit.
    const fn mpsar(&self, rar: u32) -> (u32, u32) {
        let bit = 1 << (self.vf % 32);
        if self.vf < 32 {
            (crate::regs::mpsar_lo(rar), bit)
        } else {
            (crate::regs::mpsar_hi(rar), bit)
        }
    }
}
