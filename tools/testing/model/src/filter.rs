// SPDX-License-Identifier: GPL-2.0
//! Receive filters: which frames the port takes, and which pools get them (82599 datasheet 7.1.1, 7.1.2, 7.10.3).
//!
//! The same tables decide about frames from the wire and, with the local switch on, about frames from the pools.

use libixgbe::regs;

use crate::chip::Chip;
use crate::offload::{be16, hash_filter};
use crate::regs_file::RegisterFile;

/// Canonical base of RAL/RAH, see `regs_file`.
const RAR: u32 = 0xA200;
/// Entries of RAL/RAH.
const RARS: u32 = 128;

/// What of a frame the filters look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// EtherType or length behind the addresses.
    pub ethertype: u16,
    /// VLAN identifier, if the frame has a tag of the filtered type.
    pub vlan: Option<u16>,
}

impl Addresses {
    /// `None` for a frame that is too short to be one.
    pub(crate) fn of(frame: &[u8], vlan_ethertype: u16) -> Option<Self> {
        let ethertype = be16(frame, 12)?;
        let vlan = if ethertype == vlan_ethertype {
            Some(be16(frame, 14)? & 0xFFF)
        } else {
            None
        };
        Some(Self {
            destination: frame.get(..6)?.try_into().ok()?,
            source: frame.get(6..12)?.try_into().ok()?,
            ethertype,
            vlan,
        })
    }

    /// Broadcast.
    pub(crate) fn broadcast(&self) -> bool {
        self.destination == [0xFF; 6]
    }

    /// Multicast, which broadcast is not.
    pub(crate) fn multicast(&self) -> bool {
        let [first, ..] = self.destination;
        first & 1 == 1 && !self.broadcast()
    }
}

/// Number of pools, if VMDq is on.
pub(crate) fn pools(registers: &RegisterFile) -> Option<u32> {
    if !registers.any(regs::VT_CTL, regs::VT_CTL_VT_ENABLE) {
        return None;
    }
    Some(match registers.get(regs::MRQC) & regs::MRQC_MRQE_MASK {
        regs::MRQC_VMDQRT8TCEN => 16,
        regs::MRQC_VMDQRSS32EN | regs::MRQC_VMDQRT4TCEN => 32,
        _ => 64,
    })
}

/// The filter tables as they stand.
pub(crate) struct Filter<'a> {
    registers: &'a RegisterFile,
    /// Pools can be promiscuous (VMOLR.UPE).
    promiscuous_pools: bool,
}

impl<'a> Filter<'a> {
    /// Looks at these registers of a chip.
    pub(crate) fn new(registers: &'a RegisterFile, chip: Chip) -> Self {
        Self {
            registers,
            promiscuous_pools: chip.traits().x540,
        }
    }

    /// Whether receive address `i` is valid and is this one.
    fn exact(&self, i: u32, address: [u8; 6]) -> bool {
        let high = self.registers.get(RAR + 8 * i + 4);
        let [a, b, c, d, e, f] = address;
        high & regs::RAH_AV != 0
            && high & 0xFFFF == u32::from(u16::from_le_bytes([e, f]))
            && self.registers.get(RAR + 8 * i) == u32::from_le_bytes([a, b, c, d])
    }

    fn hashed(&self, base: u32, address: [u8; 6]) -> bool {
        let offset = self.registers.get(regs::MCSTCTRL) & 3;
        let vector = u32::from(hash_filter::vector(address, offset));
        self.registers.table_bit(base, vector)
    }

    /// Whether the multicast table has the address.
    fn multicast_table(&self, address: [u8; 6]) -> bool {
        self.registers.any(regs::MCSTCTRL, regs::MCSTCTRL_MFE) && self.hashed(regs::mta(0), address)
    }

    /// Without VMDq: whether the frame is for the host.
    pub(crate) fn accepts(&self, frame: &Addresses) -> bool {
        let mac = if frame.broadcast() {
            self.registers.any(regs::FCTRL, regs::FCTRL_BAM)
        } else if frame.multicast() {
            self.registers.any(regs::FCTRL, regs::FCTRL_MPE)
                || self.multicast_table(frame.destination)
        } else {
            self.registers.any(regs::FCTRL, regs::FCTRL_UPE)
        };
        (mac || (0..RARS).any(|i| self.exact(i, frame.destination))) && self.vlan_table(frame)
    }

    /// The VLAN filter table; untagged frames pass it.
    fn vlan_table(&self, frame: &Addresses) -> bool {
        match frame.vlan {
            Some(vlan) if self.registers.any(regs::VLNCTRL, regs::VLNCTRL_VFE) => {
                self.registers.table_bit(regs::vfta(0), u32::from(vlan))
            }
            _ => true,
        }
    }

    /// With VMDq: the pools that a frame is for, by address and then by VLAN; bit p is pool p.
    ///
    /// `local` is for a frame from a pool, which promiscuous modes of the port and the default pool do not concern.
    pub(crate) fn pools(&self, frame: &Addresses, local: bool) -> u64 {
        let mut pools = self.pools_by_address(frame);
        let port_promiscuous = if frame.broadcast() {
            false
        } else if frame.multicast() {
            self.registers.any(regs::FCTRL, regs::FCTRL_MPE)
        } else {
            self.registers.any(regs::FCTRL, regs::FCTRL_UPE)
        };
        if pools == 0 && port_promiscuous && !local {
            pools = self.default_pool();
        }
        // Beside whom it is for, and beside the default pool; what pools send to each other is not seen. Choices.
        let unicast = !frame.broadcast() && !frame.multicast();
        if self.promiscuous_pools && unicast && port_promiscuous && !local {
            pools |= self.offload(regs::VMOLR_UPE);
        }
        if !self.vlan_table(frame) && !local {
            return 0;
        }
        pools &= match frame.vlan {
            // A VLAN in the table that no pool entry names belongs to the default pool: ixgbe_set_vfta_generic
            // leaves the PF's own VLANs out of VLVF (`vlvf_bypass`) and counts on that.
            Some(vlan) if !self.has_pool_entry(vlan) && !local => self.default_pool(),
            vlan => self.pools_by_vlan(vlan),
        };
        if self.registers.any(regs::VT_CTL, regs::VT_CTL_REPLEN) {
            pools
        } else {
            // Without replication a frame goes to one pool.
            pools & pools.wrapping_neg()
        }
    }

    fn default_pool(&self) -> u64 {
        let control = self.registers.get(regs::VT_CTL);
        if control & regs::VT_CTL_DIS_DEFPL != 0 {
            0
        } else {
            1 << ((control & regs::VT_CTL_POOL_MASK) >> regs::VT_CTL_POOL_SHIFT)
        }
    }

    /// Pools with a VMOLR bit set.
    fn offload(&self, bit: u32) -> u64 {
        (0..64)
            .filter(|pool| self.registers.any(regs::vmolr(*pool), bit))
            .fold(0, |pools, pool| pools | 1 << pool)
    }

    /// Pools whose receive address this is.
    pub(crate) fn owners(&self, address: [u8; 6]) -> u64 {
        (0..RARS)
            .filter(|i| self.exact(*i, address))
            .fold(0, |pools, i| {
                pools | self.registers.pair(regs::mpsar_lo(i), regs::mpsar_hi(i))
            })
    }

    fn pools_by_address(&self, frame: &Addresses) -> u64 {
        if frame.broadcast() {
            return self.offload(regs::VMOLR_BAM);
        }
        let mut pools = self.owners(frame.destination);
        if frame.multicast() {
            pools |= self.offload(regs::VMOLR_MPE);
            if self.multicast_table(frame.destination) {
                pools |= self.offload(regs::VMOLR_ROMPE);
            }
        } else if pools == 0 && self.hashed(regs::uta(0), frame.destination) {
            pools = self.offload(regs::VMOLR_ROPE);
        }
        pools
    }

    /// Valid VLVF entries of a VLAN.
    fn pool_entries(&self, vlan: u16) -> impl Iterator<Item = u32> + '_ {
        (0..regs::VLVF_ENTRIES).filter(move |i| {
            let entry = self.registers.get(regs::vlvf(*i));
            entry & regs::VLVF_VIEN != 0 && entry & regs::VLVF_VLANID_MASK == u32::from(vlan)
        })
    }

    fn has_pool_entry(&self, vlan: u16) -> bool {
        self.pool_entries(vlan).next().is_some()
    }

    /// Pools that may see a VLAN; `None` is untagged.
    pub(crate) fn pools_by_vlan(&self, vlan: Option<u16>) -> u64 {
        let Some(vlan) = vlan else {
            return self.offload(regs::VMOLR_AUPE);
        };
        self.pool_entries(vlan).fold(0, |pools, i| {
            pools
                | self
                    .registers
                    .pair(regs::vlvfb(2 * i), regs::vlvfb(2 * i + 1))
        })
    }
}
