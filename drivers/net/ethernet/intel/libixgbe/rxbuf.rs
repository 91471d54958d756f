// SPDX-License-Identifier: GPL-2.0
//! Where in a page the PF's receive buffers lie.

/// Bytes in front of a frame: room for what XDP programs push (`XDP_PACKET_HEADROOM`).
const HEADROOM: u16 = 256;
/// The same without a program, in half a page (`IXGBE_SKB_PAD`).
const HALF_PAGE_HEADROOM: u16 = 192;
/// Frame with standard MTU and FCS (`ETH_FRAME_LEN + ETH_FCS_LEN`).
const STANDARD_FRAME: u32 = 1518;
/// Frame with standard MTU, VLAN tag and FCS, for which the hardware needs no more than 2 KiB.
pub const MAX_2K_FRAME: u32 = 1522;

/// What a ring's buffers are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Largest frame of the MTU, FCS included.
    pub max_frame: u32,
    /// The private flag `legacy-rx`.
    pub legacy_rx: bool,
    /// An XDP program wants its headroom.
    pub xdp: bool,
    /// Bad frames are taken (`NETIF_F_RXALL`): the hardware is not trusted with what to do with one
    /// that is too long.
    pub rxall: bool,
    /// There are VFs. What they send to the PF by the internal switch does not pass the MAC, so
    /// that MAXFRS does not limit it (8.2.3.22.13): it may have 15.5 KiB.
    pub pools: bool,
}

/// Buffer layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufLayout {
    /// Bytes in front of a frame.
    pub headroom: u16,
    /// Bytes that are looked at of what the device wrote.
    pub len: u16,
    /// What the hardware is told that it may write: a multiple of 1 KiB.
    pub hw_len: u32,
}

impl BufLayout {
    /// For a ring with this use.
    ///
    /// For standard frames the hardware is told 2 KiB and kept from writing them all by MAXFRS, as
    /// in the C driver. Then half a page is enough, but only if every frame comes through a MAC
    /// that holds to MAXFRS. Where one may not, or may have been told more by a VF
    /// (`Switch::set_vf_lpe`), a buffer has room for all that the hardware was told. Larger frames
    /// get 3 KiB.
    pub const fn new(u: Use) -> Self {
        if u.max_frame > MAX_2K_FRAME || u.legacy_rx {
            return Self {
                headroom: HEADROOM,
                len: 3072,
                hw_len: 3072,
            };
        }
        if u.max_frame > STANDARD_FRAME || u.xdp || u.rxall || u.pools {
            return Self {
                headroom: HEADROOM,
                len: 2048,
                hw_len: 2048,
            };
        }
        Self {
            headroom: HALF_PAGE_HEADROOM,
            len: 1536,
            hw_len: 2048,
        }
    }

    /// Last byte that the device can write, from the begin of the buffer, if no MAC stops it.
    pub const fn reach(&self) -> u32 {
        (self.headroom as u32).saturating_add(self.hw_len)
    }
}
