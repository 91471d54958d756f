// SPDX-License-Identifier: GPL-2.0
//! Address and VLAN filters (82599 datasheet 7.1.1, 7.10.3; `ixgbe_common.c`, `ixgbe_main.c`).
//!
//! A frame goes to the pools that its destination address names in MPSAR, or by the hash tables to
//! every pool that wants them (VMOLR), less those that VLVFB does not list for its VLAN.

use crate::{
    io::modify,
    regs::*,
    Regs, //
};

/// Receive addresses of the 82599 (`IXGBE_82599_RAR_ENTRIES`).
pub const RAR_ENTRIES: usize = 128;
/// Receive addresses kept for macvlans of the PF (`IXGBE_MAX_PF_MACVLANS`).
pub const MAX_PF_MACVLANS: usize = 15;
/// Registers of a VLAN or multicast table.
pub const TABLE_REGS: usize = 128;
/// Which bits of a multicast address index MTA: 47 to 36. The VFs are told.
pub const MC_FILTER_TYPE: u32 = 0;

/// Why a filter could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The table is full.
    NoSpace,
    /// Address, VLAN or pool does not exist.
    Invalid,
    /// No such entry.
    NotFound,
}

/// Whether the address can be a station's: neither zero nor multicast (`is_valid_ether_addr`).
pub fn is_valid_ether_addr(addr: &[u8; 6]) -> bool {
    addr[0] & 1 == 0 && *addr != [0; 6]
}

/// Address in receive address register `i`.
pub fn get_rar(io: &impl Regs, i: u32) -> [u8; 6] {
    let [a, b, c, d] = io.read32(ral(i)).to_le_bytes();
    let [e, f, ..] = io.read32(rah(i)).to_le_bytes();
    [a, b, c, d, e, f]
}

/// Sets receive address `i` and adds `pool` (`ixgbe_set_rar_generic`).
pub fn set_rar(io: &impl Regs, i: u32, addr: &[u8; 6], pool: u32) {
    set_vmdq(io, i, pool);
    let [a, b, c, d, e, f] = *addr;
    let high = u32::from_le_bytes([e, f, 0, 0]);
    let keep = io.read32(rah(i)) & !(0xFFFF | RAH_AV);
    io.write32(ral(i), u32::from_le_bytes([a, b, c, d]));
    // The low half must be there before the valid bit is.
    io.read32(STATUS);
    io.write32(rah(i), keep | high | RAH_AV);
}

/// Clears receive address `i` and its pools (`ixgbe_clear_rar_generic`).
pub fn clear_rar(io: &impl Regs, i: u32) {
    let keep = io.read32(rah(i)) & !(0xFFFF | RAH_AV);
    io.write32(rah(i), keep);
    io.read32(STATUS);
    io.write32(ral(i), 0);
    io.write32(mpsar_lo(i), 0);
    io.write32(mpsar_hi(i), 0);
}

/// Lets receive address `i` lead to `pool` as well.
pub fn set_vmdq(io: &impl Regs, i: u32, pool: u32) {
    let reg = if pool < 32 { mpsar_lo(i) } else { mpsar_hi(i) };
    let bit = pool_bit(pool);
    modify(io, reg, bit, bit);
}

/// Bit of a pool in the register of its 32.
pub const fn pool_bit(pool: u32) -> u32 {
    1 << (pool & 31)
}

/// Clears every address but the first, and the hash tables (`ixgbe_init_rx_addrs_generic`).
pub fn init_rx_addrs(io: &impl Regs) {
    io.write32(mpsar_lo(0), 0);
    io.write32(mpsar_hi(0), 0);
    for i in 1..RAR_ENTRIES as u32 {
        io.write32(ral(i), 0);
        io.write32(rah(i), 0);
    }
    io.write32(MCSTCTRL, MC_FILTER_TYPE);
    for i in 0..TABLE_REGS as u32 {
        io.write32(mta(i), 0);
        io.write32(uta(i), 0);
    }
}

/// Clears the VLAN filters (`ixgbe_clear_vfta_generic`).
pub fn clear_vfta(io: &impl Regs) {
    for i in 0..TABLE_REGS as u32 {
        io.write32(vfta(i), 0);
    }
    for i in 0..VLVF_ENTRIES {
        io.write32(vlvf(i), 0);
        let (low, high) = vlvfb_halves(i, 0);
        io.write32(low, 0);
        io.write32(high, 0);
    }
}

/// One receive address as software keeps it (`struct ixgbe_mac_addr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MacEntry {
    addr: [u8; 6],
    pool: u8,
    in_use: bool,
    /// One of a VF's list, not its own address.
    macvlan: bool,
}

/// Receive addresses as software keeps them. Entry 0 is the PF's own.
#[derive(Clone, Copy, Debug)]
pub struct MacTable {
    entries: [MacEntry; RAR_ENTRIES],
}

impl Default for MacTable {
    fn default() -> Self {
        Self::new()
    }
}

impl MacTable {
    /// Empty.
    pub const fn new() -> Self {
        let none = MacEntry {
            addr: [0; 6],
            pool: 0,
            in_use: false,
            macvlan: false,
        };
        Self {
            entries: [none; RAR_ENTRIES],
        }
    }

    fn sync(&self, io: &impl Regs, i: usize) {
        if let Some(e) = self.entries.get(i) {
            if e.in_use {
                // One pool an entry: what the register had of others is stale.
                io.write32(mpsar_lo(i as u32), 0);
                io.write32(mpsar_hi(i as u32), 0);
                set_rar(io, i as u32, &e.addr, u32::from(e.pool));
            } else {
                clear_rar(io, i as u32);
            }
        }
    }

    /// Forgets every address and sets the PF's own (`ixgbe_flush_sw_mac_table`,
    /// `ixgbe_mac_set_default_filter`).
    pub fn reset(&mut self, io: &impl Regs, addr: &[u8; 6], pool: u32) {
        *self = Self::new();
        for i in 1..RAR_ENTRIES {
            self.sync(io, i);
        }
        self.set_default(io, addr, pool);
    }

    /// Sets the PF's own address.
    pub fn set_default(&mut self, io: &impl Regs, addr: &[u8; 6], pool: u32) {
        self.entries[0] = MacEntry {
            addr: *addr,
            pool: pool as u8,
            in_use: true,
            macvlan: false,
        };
        self.sync(io, 0);
    }

    /// Writes every entry again, as after a reset (`ixgbe_full_sync_mac_table`).
    pub fn full_sync(&self, io: &impl Regs) {
        for i in 0..RAR_ENTRIES {
            self.sync(io, i);
        }
    }

    /// The PF's pool, which is the number of VFs.
    fn pf_pool(&self) -> u32 {
        let [pf, ..] = &self.entries;
        u32::from(pf.pool)
    }

    /// Entries that are kept for VFs which have no address of their own yet: whoever comes first
    /// must not leave a VF deaf.
    fn reserved(&self) -> usize {
        let own = |e: &&MacEntry| e.in_use && !e.macvlan && u32::from(e.pool) < self.pf_pool();
        let have = self
            .entries
            .iter()
            .skip(1)
            .filter(own)
            .fold(0u64, |set, e| set | 1 << (e.pool & 63));
        (self.pf_pool() as usize).saturating_sub(have.count_ones() as usize)
    }

    /// Entries that are free, those kept for VFs excepted.
    fn unreserved(&self) -> usize {
        let free = self.entries.iter().skip(1).filter(|e| !e.in_use).count();
        free.saturating_sub(self.reserved())
    }

    /// Adds an address for `pool` and returns its index (`ixgbe_add_mac_filter`).
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is zero; [`Error::NoSpace`], for the PF also if what is left is
    /// kept for VFs.
    pub fn add(&mut self, io: &impl Regs, addr: &[u8; 6], pool: u32) -> Result<u32, Error> {
        if pool >= self.pf_pool() && self.unreserved() == 0 {
            return Err(Error::NoSpace);
        }
        self.insert(io, addr, pool, false)
    }

    /// Sets the address of a VF, in place of the one that it had. There is always room for that.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is zero or there is no such pool; then nothing has changed.
    pub fn set_own(&mut self, io: &impl Regs, addr: &[u8; 6], pool: u32) -> Result<(), Error> {
        let own = |e: &MacEntry| e.in_use && !e.macvlan && u32::from(e.pool) == pool;
        if *addr == [0; 6] {
            return Err(Error::Invalid);
        }
        let found = self
            .entries
            .iter_mut()
            .enumerate()
            .skip(1)
            .find(|(_, e)| own(e));
        let Some((i, e)) = found else {
            return self.insert(io, addr, pool, false).map(|_| ());
        };
        if e.addr != *addr {
            e.addr = *addr;
            self.sync(io, i);
        }
        Ok(())
    }

    /// Removes the address of a VF, not its list.
    pub fn clear_own(&mut self, io: &impl Regs, pool: u32) {
        self.del_where(io, |e| !e.macvlan && u32::from(e.pool) == pool);
    }

    /// Removes `addr` from the list of a VF.
    pub fn del_macvlan(&mut self, io: &impl Regs, addr: &[u8; 6], pool: u32) {
        self.del_where(io, |e| {
            e.macvlan && u32::from(e.pool) == pool && e.addr == *addr
        });
    }

    /// Makes `list` what the PF has beside its own address, and touches only what is not as it
    /// should be (`__dev_uc_sync`): an address that stays receives all the while. Returns whether
    /// all fit; those that do not are received by promiscuity.
    pub fn set_pf_list(&mut self, io: &impl Regs, list: &[[u8; 6]], pool: u32) -> bool {
        self.del_where(io, |e| u32::from(e.pool) == pool && !list.contains(&e.addr));
        let mut fits = true;
        for addr in list {
            let known = self.of_pool(pool).any(|a| a == addr);
            fits &= known || self.add(io, addr, pool).is_ok();
        }
        fits
    }

    /// Adds an address to the list of a VF, which [`Self::clear_macvlans`] empties.
    ///
    /// # Errors
    /// As [`Self::add`]; [`Error::NoSpace`] also if VFs have `limit` list entries already, or if
    /// what is left is kept for VFs without an address.
    pub fn add_macvlan(
        &mut self,
        io: &impl Regs,
        addr: &[u8; 6],
        pool: u32,
        limit: usize,
    ) -> Result<u32, Error> {
        let used = self
            .entries
            .iter()
            .filter(|e| e.in_use && e.macvlan)
            .count();
        if used >= limit || self.unreserved() == 0 {
            return Err(Error::NoSpace);
        }
        self.insert(io, addr, pool, true)
    }

    /// Empties the list of a VF.
    pub fn clear_macvlans(&mut self, io: &impl Regs, pool: u32) {
        self.del_where(io, |e| e.macvlan && u32::from(e.pool) == pool);
    }

    fn insert(
        &mut self,
        io: &impl Regs,
        addr: &[u8; 6],
        pool: u32,
        macvlan: bool,
    ) -> Result<u32, Error> {
        if *addr == [0; 6] || pool > 63 {
            return Err(Error::Invalid);
        }
        let free = self.entries.iter_mut().enumerate().find(|(_, e)| !e.in_use);
        let (i, e) = free.ok_or(Error::NoSpace)?;
        *e = MacEntry {
            addr: *addr,
            pool: pool as u8,
            in_use: true,
            macvlan,
        };
        self.sync(io, i);
        Ok(i as u32)
    }

    /// Removes an address of `pool` (`ixgbe_del_mac_filter`).
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is zero; [`Error::NotFound`].
    pub fn del(&mut self, io: &impl Regs, addr: &[u8; 6], pool: u32) -> Result<(), Error> {
        if *addr == [0; 6] {
            return Err(Error::Invalid);
        }
        let hit = |e: &MacEntry| e.in_use && u32::from(e.pool) == pool && e.addr == *addr;
        // Entry 0 is replaced, never removed.
        let found = self
            .entries
            .iter_mut()
            .enumerate()
            .skip(1)
            .find(|(_, e)| hit(e));
        let (i, e) = found.ok_or(Error::NotFound)?;
        e.in_use = false;
        self.sync(io, i);
        Ok(())
    }

    /// Removes every address of `pool` but the PF's own.
    pub fn del_pool(&mut self, io: &impl Regs, pool: u32) {
        self.del_where(io, |e| u32::from(e.pool) == pool);
    }

    fn del_where(&mut self, io: &impl Regs, hit: impl Fn(&MacEntry) -> bool) {
        for i in 1..RAR_ENTRIES {
            if let Some(e) = self.entries.get_mut(i) {
                if e.in_use && hit(e) {
                    e.in_use = false;
                    self.sync(io, i);
                }
            }
        }
    }

    /// Entries that `pool` may have: its own, and those that are free and not kept for VFs
    /// (`ixgbe_available_rars`).
    pub fn available(&self, pool: u32) -> usize {
        let mine = |e: &&MacEntry| e.in_use && u32::from(e.pool) == pool;
        let of_mine = self.entries.iter().skip(1).filter(mine);
        let has_own = of_mine.clone().any(|e| !e.macvlan);
        // One of those kept is for this VF itself.
        let kept = usize::from(pool < self.pf_pool() && !has_own);
        of_mine
            .count()
            .saturating_add(self.unreserved())
            .saturating_add(kept)
    }

    /// Registers of the addresses of `pool`, the PF's own excepted.
    pub fn rars_of_pool(&self, pool: u32) -> impl Iterator<Item = u32> + '_ {
        let mine = move |e: &MacEntry| e.in_use && u32::from(e.pool) == pool;
        let entries = (0u32..).zip(&self.entries).skip(1);
        entries.filter(move |(_, e)| mine(e)).map(|(i, _)| i)
    }

    /// The list of a VF, without its own address.
    pub fn macvlans_of_pool(&self, pool: u32) -> impl Iterator<Item = &[u8; 6]> {
        let mine = move |e: &&MacEntry| e.in_use && e.macvlan && u32::from(e.pool) == pool;
        self.entries.iter().filter(mine).map(|e| &e.addr)
    }

    /// Whether a pool other than `pool` has this address.
    pub fn is_anothers(&self, addr: &[u8; 6], pool: u32) -> bool {
        let other = |e: &MacEntry| e.in_use && u32::from(e.pool) != pool && e.addr == *addr;
        self.entries.iter().any(other)
    }

    /// Addresses of `pool`, the PF's own excepted.
    pub fn of_pool(&self, pool: u32) -> impl Iterator<Item = &[u8; 6]> {
        self.entries
            .iter()
            .skip(1)
            .filter(move |e| e.in_use && u32::from(e.pool) == pool)
            .map(|e| &e.addr)
    }
}

/// Index of a multicast address into MTA, by [`MC_FILTER_TYPE`].
pub fn mta_hash(addr: &[u8; 6]) -> u16 {
    crate::vf::mta_vector(MC_FILTER_TYPE, addr)
}

/// Multicast table as software keeps it: written whole, so that clearing one address needs no
/// search.
#[derive(Clone, Copy, Debug)]
pub struct McTable {
    bits: [u32; TABLE_REGS],
}

impl Default for McTable {
    fn default() -> Self {
        Self::new()
    }
}

impl McTable {
    /// Empty.
    pub const fn new() -> Self {
        Self {
            bits: [0; TABLE_REGS],
        }
    }

    /// Adds a hash of 12 bits (`ixgbe_set_mta`).
    pub fn add(&mut self, hash: u16) {
        if let Some(word) = self.bits.get_mut(usize::from(hash >> 5) & (TABLE_REGS - 1)) {
            *word |= 1 << (hash & 0x1F);
        }
    }

    /// Writes the table, and switches it on if it is not empty
    /// (`ixgbe_update_mc_addr_list_generic`).
    pub fn store(&self, io: &impl Regs) {
        let mut any = 0;
        for (i, word) in (0u32..).zip(self.bits) {
            io.write32(mta(i), word);
            any |= word;
        }
        self.switch_on(io, any != 0);
    }

    fn switch_on(&self, io: &impl Regs, on: bool) {
        let enable = if on { MCSTCTRL_MFE } else { 0 };
        io.write32(MCSTCTRL, enable | MC_FILTER_TYPE);
    }

    /// Writes the registers that these hashes are in.
    pub fn store_words(&self, io: &impl Regs, hashes: &[&[u16]]) {
        let mut todo = [0u32; TABLE_REGS.div_ceil(32)];
        for hash in hashes.iter().copied().flatten() {
            let i = usize::from(hash >> 5) & (TABLE_REGS - 1);
            if let Some(w) = todo.get_mut(i >> 5) {
                *w |= 1 << (i & 31);
            }
        }
        for (i, word) in self.bits.iter().enumerate() {
            if todo.get(i >> 5).is_some_and(|w| w >> (i & 31) & 1 != 0) {
                io.write32(mta(i as u32), *word);
            }
        }
        self.switch_on(io, self.bits.iter().any(|w| *w != 0));
    }
}

/// Entry of the VLAN `vid` in VLVF, or a free one (`ixgbe_find_vlvf_slot`). Entry 0 is VLAN 0's.
fn find_vlvf_slot(io: &impl Regs, vid: u32, bypass: bool) -> Result<u32, Error> {
    if vid == 0 {
        return Ok(0);
    }
    let mut free = None;
    for i in (1..VLVF_ENTRIES).rev() {
        let bits = io.read32(vlvf(i));
        if bits == vid | VLVF_VIEN {
            return Ok(i);
        }
        if bits == 0 && free.is_none() {
            free = Some(i);
        }
    }
    match free {
        // The PF alone needs no entry: frames of a VLAN without one go to the default pool.
        Some(i) if !bypass => Ok(i),
        _ => Err(Error::NoSpace),
    }
}

/// VLVFB of `slot` for the half of the pools that `pool` is in, and for the other half.
pub(crate) const fn vlvfb_halves(slot: u32, pool: u32) -> (u32, u32) {
    let (low, high) = (vlvfb(slot << 1), vlvfb(slot << 1 | 1));
    if pool < 32 {
        (low, high)
    } else {
        (high, low)
    }
}

/// Adds or removes a VLAN of a pool (`ixgbe_set_vfta_generic`).
///
/// `bypass` leaves VLVF alone if the VLAN has no entry there.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::NoSpace`] if all 63 entries are taken by other VLANs.
pub fn set_vfta(io: &impl Regs, vid: u32, pool: u32, on: bool, bypass: bool) -> Result<(), Error> {
    if vid > 4095 || pool > 63 {
        return Err(Error::Invalid);
    }
    let table = vfta(vid >> 5);
    let vid_bit = 1 << (vid & 31);
    let old = io.read32(table);
    let new = if on { old | vid_bit } else { old & !vid_bit };
    let write_table = || {
        if new != old {
            io.write32(table, new);
        }
    };

    if io.read32(VT_CTL) & VT_CTL_VT_ENABLE == 0 {
        write_table();
        return Ok(());
    }
    let slot = match find_vlvf_slot(io, vid, bypass) {
        Ok(slot) => slot,
        Err(_) if bypass => {
            write_table();
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    let (mine, other) = vlvfb_halves(slot, pool);
    let bits = io.read32(mine);
    if !on && (bits & pool_bit(pool) == 0 || io.read32(vlvf(slot)) != VLVF_VIEN | vid) {
        // The pool is not in it. VFTA stays: the PF may be in it without an entry, and the C driver
        // takes it out.
        return Ok(());
    }
    if on {
        io.write32(mine, bits | pool_bit(pool));
        io.write32(vlvf(slot), VLVF_VIEN | vid);
        write_table();
        return Ok(());
    }
    let bits = bits & !pool_bit(pool);
    if bits == 0 && io.read32(other) == 0 {
        // VFTA first, or frames of this VLAN leak to the PF by the default pool.
        write_table();
        io.write32(vlvf(slot), 0);
        io.write32(mine, 0);
    } else {
        io.write32(mine, bits);
        io.write32(vlvf(slot), VLVF_VIEN | vid);
    }
    Ok(())
}

/// VLANs of the PF, and whether it takes all of them.
#[derive(Clone, Copy, Debug)]
pub struct PfVlans {
    active: [u32; TABLE_REGS],
    promisc: bool,
}

impl Default for PfVlans {
    fn default() -> Self {
        Self::new()
    }
}

impl PfVlans {
    /// None.
    pub const fn new() -> Self {
        Self {
            active: [0; TABLE_REGS],
            promisc: false,
        }
    }

    /// Whether the PF has this VLAN.
    pub fn contains(&self, vid: u32) -> bool {
        self.active
            .get((vid >> 5) as usize)
            .is_some_and(|w| w & (1 << (vid & 31)) != 0)
    }

    /// Adds a VLAN (`ixgbe_vlan_rx_add_vid`).
    pub fn add(&mut self, io: &impl Regs, vid: u32, pool: u32) {
        if vid == 0 || !self.promisc {
            // A VLAN that VLVF has no room for still reaches the PF: bypassed, this cannot fail.
            let _ = set_vfta(io, vid, pool, true, vid != 0);
        }
        if let Some(w) = self.active.get_mut((vid >> 5) as usize) {
            *w |= 1 << (vid & 31);
        }
    }

    /// Removes a VLAN (`ixgbe_vlan_rx_kill_vid`).
    pub fn remove(&mut self, io: &impl Regs, vid: u32, pool: u32) {
        if vid != 0 && !self.promisc {
            let _ = set_vfta(io, vid, pool, false, true);
        }
        if let Some(w) = self.active.get_mut((vid >> 5) as usize) {
            *w &= !(1 << (vid & 31));
        }
    }

    /// Sets every VLAN again after a reset (`ixgbe_restore_vlan`).
    pub fn restore(&mut self, io: &impl Regs, pool: u32) {
        let active = self.active;
        self.add(io, 0, pool);
        for (i, word) in (0u32..).zip(active) {
            for bit in 0..32 {
                if word & (1 << bit) != 0 {
                    self.add(io, i << 5 | bit, pool);
                }
            }
        }
    }

    /// Whether the PF takes all VLANs.
    pub const fn is_promisc(&self) -> bool {
        self.promisc
    }

    /// Forgets that all VLANs were taken: pools have been set up anew.
    pub fn reset_promisc(&mut self) {
        self.promisc = false;
    }

    /// Takes all VLANs, or only those added (`ixgbe_vlan_promisc_enable`,
    /// `ixgbe_vlan_promisc_disable`).
    ///
    /// With pools the filter stays on, since it keeps the VFs apart; the PF joins every VLAN
    /// instead.
    pub fn set_promisc(&mut self, io: &impl Regs, on: bool, pf_pool: Option<u32>) {
        let filter = !on || pf_pool.is_some();
        modify(
            io,
            VLNCTRL,
            VLNCTRL_VFE,
            if filter { VLNCTRL_VFE } else { 0 },
        );
        let Some(pool) = pf_pool else { return };
        if on == self.promisc {
            return;
        }
        self.promisc = on;
        let bit = pool_bit(pool);
        if on {
            for i in 1..VLVF_ENTRIES {
                modify(io, vlvfb_halves(i, pool).0, bit, bit);
            }
            for i in 0..TABLE_REGS as u32 {
                io.write32(vfta(i), !0);
            }
            return;
        }
        let mut table = self.active;
        for i in 1..VLVF_ENTRIES {
            let entry = io.read32(vlvf(i));
            let vid = entry & VLVF_VLANID_MASK;
            if entry != 0 {
                if let Some(w) = table.get_mut((vid >> 5) as usize) {
                    *w |= 1 << (vid & 31);
                }
                if self.contains(vid) {
                    continue;
                }
            }
            modify(io, vlvfb_halves(i, pool).0, bit, 0);
        }
        for (i, word) in (0u32..).zip(table) {
            io.write32(vfta(i), word);
        }
    }

    /// Gives up the PF's share of a VLAN that no VF has, so that it falls to the default pool
    /// (`ixgbe_update_pf_promisc_vlvf`).
    pub fn release_shared(&self, io: &impl Regs, vid: u32, pf_pool: u32) {
        if vid == 0 || !(self.contains(vid) || self.promisc) {
            return;
        }
        let entry = (1..VLVF_ENTRIES)
            .rev()
            .find(|i| io.read32(vlvf(*i)) & VLVF_VLANID_MASK == vid);
        let Some(i) = entry else { return };
        let (mine, other) = vlvfb_halves(i, pf_pool);
        let others = io.read32(mine) & !pool_bit(pf_pool);
        if others == 0 && io.read32(other) == 0 {
            if !self.promisc {
                io.write32(mine, 0);
            }
            io.write32(vlvf(i), 0);
        }
    }
}

/// What the PF's netdev wants to receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxMode {
    /// All unicast and multicast.
    pub promisc: bool,
    /// All multicast.
    pub allmulti: bool,
    /// Some multicast, by the table.
    pub multicast: bool,
    /// More unicast addresses than fit.
    pub uc_overflow: bool,
    /// Bad frames too (`NETIF_F_RXALL`).
    pub rxall: bool,
}

impl RxMode {
    /// Writes FCTRL, and VMOLR of the PF's pool (`ixgbe_set_rx_mode`).
    pub fn store(&self, io: &impl Regs, pf_pool: u32) {
        let mut fctrl = io.read32(FCTRL) & !(FCTRL_SBP | FCTRL_UPE | FCTRL_MPE);
        fctrl |= FCTRL_BAM | FCTRL_DPF | FCTRL_PMCF;
        let mut val = VMOLR_BAM | VMOLR_AUPE;
        if self.promisc {
            fctrl |= FCTRL_UPE | FCTRL_MPE;
            val |= VMOLR_MPE;
        }
        if self.allmulti {
            fctrl |= FCTRL_MPE;
            val |= VMOLR_MPE;
        }
        if self.multicast {
            val |= VMOLR_ROMPE;
        }
        if self.uc_overflow {
            fctrl |= FCTRL_UPE;
            val |= VMOLR_ROPE;
        }
        if self.rxall {
            fctrl = (fctrl | FCTRL_SBP) & !FCTRL_DPF;
        }
        modify(
            io,
            vmolr(pf_pool),
            val | VMOLR_MPE | VMOLR_ROMPE | VMOLR_ROPE,
            val,
        );
        io.write32(FCTRL, fctrl);
    }
}
