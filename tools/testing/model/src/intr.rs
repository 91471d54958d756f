// SPDX-License-Identifier: GPL-2.0
//! Interrupts: causes, masks, vectors and moderation (82599 datasheet 7.3 and 8.2.3.5).
//!
//! The PF has 64 queue causes, of which EICR shows 16, and the other causes in bits 30:16. In MSI-X mode a queue cause *is*
//! a vector; outside it, bit n of EICR is the cause that IVAR gave the queue. A VF has three causes, each a vector.

use libixgbe::regs;

use crate::decode::IntrReg;
use crate::host::{Function, Host};
use crate::{Device, MAX_VFS};

/// Throttle registers, for the PF and the VFs together.
pub(crate) const EITRS: usize = 129;
/// MSI-X vectors of the PF.
pub const PF_VECTORS: u8 = 64;
/// MSI-X vectors of a VF.
pub const VF_VECTORS: u8 = 3;
/// Nanoseconds of one unit in EITR's interval (K: `ixgbe_write_eitr`, 2 us).
const EITR_UNIT: u64 = 2_000;
/// EICR bits that are not queues.
const MISC: u32 = 0x7FFF_0000;

/// Moderation of one vector.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Throttle {
    interval: u32,
    next: u64,
}

impl Throttle {
    fn read(self) -> u32 {
        self.interval
    }

    /// A write restarts the count, unless it says not to (EITR.CNT_WDIS).
    fn write(&mut self, value: u32) {
        self.interval = value & (regs::EITR_ITR_INT_MASK | regs::EITR_LLI_MOD);
        if value & regs::EITR_CNT_WDIS == 0 {
            self.next = 0;
        }
    }

    /// Starts the next interval.
    fn restart(&mut self, now: u64) {
        self.next = now.saturating_add(self.duration());
    }

    /// The interval in nanoseconds.
    fn duration(self) -> u64 {
        u64::from((self.interval & regs::EITR_ITR_INT_MASK) >> 3) * EITR_UNIT
    }
}

/// The PF's interrupt block.
#[derive(Clone, Debug)]
pub(crate) struct PfInterrupts {
    cause: u64,
    mask: u64,
    auto_mask: u64,
    misc_cause: u32,
    misc_mask: u32,
    misc_auto_mask: u32,
    auto_clear: u32,
    /// A miscellaneous cause rose or was unmasked, and no message has told of it.
    misc_edge: bool,
    throttle: [Throttle; EITRS],
    /// Vectors that wait for their interval to end.
    waiting: u64,
    /// VFs that have such vectors.
    vfs_waiting: u64,
    /// The level outside MSI-X mode.
    level: bool,
}

impl Default for PfInterrupts {
    fn default() -> Self {
        Self {
            cause: 0,
            mask: 0,
            auto_mask: 0,
            misc_cause: 0,
            misc_mask: 0,
            misc_auto_mask: 0,
            auto_clear: 0,
            misc_edge: false,
            throttle: [Throttle::default(); EITRS],
            waiting: 0,
            vfs_waiting: 0,
            level: false,
        }
    }
}

/// A VF's interrupt block.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct VfInterrupts {
    cause: u8,
    mask: u8,
    auto_clear: u8,
    auto_mask: u8,
    ivar: [u32; 4],
    ivar_misc: u32,
    rsc: [u32; 3],
    waiting: u8,
    /// Of the third vector: EITR has two registers for each VF only.
    last: Throttle,
}

/// Vectors of a VF.
const VF_MASK: u8 = (1 << VF_VECTORS) - 1;

/// EITR of VF v's vector n. 129 registers make two for each of 64 pools and one over; as on the 82576 the VFs are taken
/// to count from the top, since no public source says (the 82576 datasheet and QEMU's igb do for that chip).
fn vf_eitr(vf: u8, vector: u8) -> Option<usize> {
    (vector < 2).then(|| EITRS - 2 - 2 * usize::from(vf) + usize::from(vector))
}

/// The vector in byte `byte` of an IVAR register, if valid.
fn ivar_entry(register: u32, byte: u32) -> Option<u8> {
    let entry = register.to_le_bytes().get(byte as usize).copied()?;
    (u32::from(entry) & regs::IVAR_ALLOC_VAL != 0).then_some(entry & 0x3F)
}

impl Device {
    fn msix_mode(&self) -> bool {
        self.regs.any(regs::GPIE, regs::GPIE_MSIX_MODE)
    }

    /// Raises the cause of a queue: the PF's, or that of the VF that the queue belongs to.
    pub(crate) fn queue_event(&mut self, host: &mut dyn Host, queue: u8, transmit: bool) {
        let lane = u32::from(transmit);
        if let Some((vf, index)) = self.vf_of_queue(queue) {
            let register = usize::from(index / 2);
            let byte = u32::from(index % 2) * 2 + lane;
            let entry = self
                .vfs
                .get(usize::from(vf))
                .and_then(|state| state.intr.ivar.get(register))
                .and_then(|ivar| ivar_entry(*ivar, byte));
            if let Some(vector) = entry {
                self.vf_raise(host, vf, 1 << (vector & 3));
            }
            return;
        }
        let register = regs::ivar(u32::from(queue / 2));
        if let Some(entry) = ivar_entry(self.regs.get(register), u32::from(queue % 2) * 2 + lane) {
            self.pf_raise(host, 1 << entry, 0);
        }
    }

    /// Nanoseconds of EITR's interval of the vector that a queue raises; 0 if it has none.
    pub(crate) fn queue_interval(&self, queue: u8, transmit: bool) -> u64 {
        let lane = u32::from(transmit);
        let throttle = if let Some((vf, index)) = self.vf_of_queue(queue) {
            let Some(state) = self.vfs.get(usize::from(vf)) else {
                return 0;
            };
            let entry = state.intr.ivar.get(usize::from(index / 2));
            match entry.and_then(|ivar| ivar_entry(*ivar, u32::from(index % 2) * 2 + lane)) {
                Some(vector) => match vf_eitr(vf, vector & 3) {
                    Some(i) => self.intr.throttle.get(i),
                    None => Some(&state.intr.last),
                },
                None => None,
            }
        } else {
            let register = self.regs.get(regs::ivar(u32::from(queue / 2)));
            ivar_entry(register, u32::from(queue % 2) * 2 + lane)
                .and_then(|vector| self.intr.throttle.get(usize::from(vector)))
        };
        throttle.map_or(0, |throttle| throttle.duration())
    }

    /// Raises miscellaneous causes of the PF.
    pub(crate) fn misc_event(&mut self, host: &mut dyn Host, causes: u32) {
        self.pf_raise(host, 0, causes & MISC);
    }

    fn pf_raise(&mut self, host: &mut dyn Host, queues: u64, misc: u32) {
        self.intr.cause |= queues;
        self.intr.misc_cause |= misc;
        if misc & self.intr.misc_mask != 0 {
            self.intr.misc_edge = true;
        }
        self.pf_update(host);
    }

    /// Sends what may be sent, and arranges for the rest.
    fn pf_update(&mut self, host: &mut dyn Host) {
        if !self.msix_mode() {
            self.legacy_update(host);
            return;
        }
        let mut due = self.intr.cause & self.intr.mask;
        let misc_vector = ivar_entry(self.regs.get(regs::IVAR_MISC), 1);
        if self.intr.misc_edge {
            match misc_vector {
                Some(vector) => due |= 1 << vector,
                None => self.intr.misc_edge = false,
            }
        }
        while due != 0 {
            let vector = due.trailing_zeros() as u8;
            due &= due - 1;
            self.pf_fire(host, vector, misc_vector == Some(vector));
        }
        self.rearm(host);
    }

    fn pf_fire(&mut self, host: &mut dyn Host, vector: u8, carries_misc: bool) {
        let now = host.now();
        let bit = 1u64 << vector;
        let Some(throttle) = self.intr.throttle.get_mut(usize::from(vector)) else {
            return;
        };
        if now < throttle.next {
            self.intr.waiting |= bit;
            return;
        }
        throttle.restart(now);
        self.intr.waiting &= !bit;
        if carries_misc && self.intr.misc_edge {
            self.intr.misc_edge = false;
            self.intr.misc_cause &= !(self.intr.auto_clear & MISC);
        }
        if self.intr.cause & self.intr.mask & bit != 0 {
            // EIAC has bits for 16 vectors; the others always clear themselves (datasheet 8.2.3.5.5).
            if vector >= 16 || self.intr.auto_clear >> vector & 1 == 1 {
                self.intr.cause &= !bit;
            }
            if self.regs.any(regs::GPIE, regs::GPIE_EIAME) {
                self.intr.mask &= !(bit & self.intr.auto_mask);
            }
        }
        host.msix(Function::Pf, u16::from(vector));
    }

    /// Level of INTx and MSI: any unmasked cause, moderated by EITR(0).
    fn legacy_update(&mut self, host: &mut dyn Host) {
        let want = self.intr.cause & self.intr.mask != 0
            || self.intr.misc_cause & self.intr.misc_mask != 0;
        let now = host.now();
        if want && !self.intr.level {
            let Some(throttle) = self.intr.throttle.first_mut() else {
                return;
            };
            if now < throttle.next {
                self.intr.waiting |= 1;
                self.rearm(host);
                return;
            }
            throttle.restart(now);
        }
        self.intr.waiting = 0;
        if want != self.intr.level {
            self.intr.level = want;
            host.legacy(want);
        }
    }

    /// Raises causes of a VF.
    pub(crate) fn vf_raise(&mut self, host: &mut dyn Host, vf: u8, causes: u8) {
        if let Some(state) = self.vfs.get_mut(usize::from(vf)) {
            state.intr.cause |= causes & VF_MASK;
        }
        self.vf_update(host, vf);
    }

    /// Tells a VF of a mailbox event.
    pub(crate) fn vf_mailbox_event(&mut self, host: &mut dyn Host, vf: u8) {
        let entry = self
            .vfs
            .get(usize::from(vf))
            .and_then(|state| ivar_entry(state.intr.ivar_misc, 0));
        if let Some(vector) = entry {
            self.vf_raise(host, vf, 1 << (vector & 3));
        }
    }

    fn vf_update(&mut self, host: &mut dyn Host, vf: u8) {
        let now = host.now();
        let Some(state) = self.vfs.get_mut(usize::from(vf)) else {
            return;
        };
        let mut due = state.intr.cause & state.intr.mask;
        let mut fired = 0u8;
        while due != 0 {
            let vector = due.trailing_zeros() as u8;
            let bit = 1u8 << vector;
            due &= due - 1;
            let throttle = match vf_eitr(vf, vector).and_then(|i| self.intr.throttle.get_mut(i)) {
                Some(throttle) => throttle,
                None => &mut state.intr.last,
            };
            if now < throttle.next {
                state.intr.waiting |= bit;
                self.intr.vfs_waiting |= 1 << vf;
                continue;
            }
            throttle.restart(now);
            state.intr.waiting &= !bit;
            if state.intr.auto_clear & bit != 0 {
                state.intr.cause &= !bit;
            }
            state.intr.mask &= !(bit & state.intr.auto_mask);
            fired |= bit;
        }
        for vector in 0..VF_VECTORS {
            if fired >> vector & 1 == 1 {
                host.msix(Function::Vf(vf), u16::from(vector));
            }
        }
        self.rearm(host);
    }

    /// Times at which vectors become due.
    pub(crate) fn interrupt_deadline(&self) -> Option<u64> {
        if self.intr.waiting == 0 && self.intr.vfs_waiting == 0 {
            return None;
        }
        let pf = (0..PF_VECTORS)
            .filter(|v| self.intr.waiting >> v & 1 == 1)
            .filter_map(|v| self.intr.throttle.get(usize::from(v)));
        let vfs = (0..MAX_VFS)
            .zip(&self.vfs)
            .filter(|(_, state)| state.intr.waiting != 0);
        let vfs = vfs.flat_map(|(vf, state)| {
            (0..VF_VECTORS)
                .filter(|v| state.intr.waiting >> v & 1 == 1)
                .filter_map(move |v| match vf_eitr(vf, v) {
                    Some(i) => self.intr.throttle.get(i),
                    None => Some(&state.intr.last),
                })
        });
        pf.chain(vfs).map(|throttle| throttle.next).min()
    }

    /// Sends what waited for its interval.
    pub(crate) fn interrupt_timer(&mut self, host: &mut dyn Host) {
        if self.intr.waiting != 0 {
            self.intr.waiting = 0;
            self.pf_update(host);
        }
        let mut vfs = std::mem::take(&mut self.intr.vfs_waiting);
        while vfs != 0 {
            let vf = vfs.trailing_zeros() as u8;
            vfs &= vfs - 1;
            let state = self.vfs.get_mut(usize::from(vf));
            if state.is_some_and(|state| std::mem::take(&mut state.intr.waiting) != 0) {
                self.vf_update(host, vf);
            }
        }
    }

    /// Reads a register of the PF's block.
    pub(crate) fn intr_read(&mut self, host: &mut dyn Host, reg: IntrReg) -> u32 {
        let low = |bits: u64| (bits & 0xFFFF) as u32;
        match reg {
            IntrReg::Cause => {
                let value = low(self.intr.cause) | self.intr.misc_cause | self.other_active();
                if self.regs.any(regs::GPIE, regs::GPIE_OCD) {
                    // Other clear disable: only bits 29:16 clear on read.
                    self.intr.misc_cause &= !0x3FFF_0000;
                } else {
                    self.intr.cause = 0;
                    self.intr.misc_cause = 0;
                }
                if !self.regs.any(regs::GPIE, regs::GPIE_EIAME) {
                    self.intr.mask &= !(self.intr.auto_mask & u64::from(value & 0xFFFF));
                    self.intr.misc_mask &= !(self.intr.misc_auto_mask & value);
                }
                self.pf_update(host);
                value
            }
            IntrReg::Set => low(self.intr.cause) | self.intr.misc_cause | self.other_active(),
            IntrReg::Mask | IntrReg::MaskClear => low(self.intr.mask) | self.intr.misc_mask,
            IntrReg::AutoClear => self.intr.auto_clear,
            IntrReg::AutoMask => low(self.intr.auto_mask) | self.intr.misc_auto_mask,
        }
    }

    /// EICR bit 31: a miscellaneous cause is active.
    fn other_active(&self) -> u32 {
        if self.intr.misc_cause & self.intr.misc_mask != 0 {
            regs::EICR_OTHER
        } else {
            0
        }
    }

    /// Writes a register of the PF's block.
    pub(crate) fn intr_write(&mut self, host: &mut dyn Host, reg: IntrReg, value: u32) {
        let queues = u64::from(value & 0xFFFF);
        let misc = value & MISC;
        match reg {
            IntrReg::Cause => {
                self.intr.cause &= !queues;
                self.intr.misc_cause &= !misc;
                if !self.regs.any(regs::GPIE, regs::GPIE_EIAME) {
                    self.intr.mask &= !(self.intr.auto_mask & queues);
                }
            }
            IntrReg::Set => {
                // EICS also unmasks what auto-mask covers (K: comment at ixgbe_check_hang_subtask).
                self.intr.mask |= queues & self.intr.auto_mask;
                self.intr.misc_mask |= misc & self.intr.misc_auto_mask;
                self.pf_raise(host, queues, misc);
                return;
            }
            IntrReg::Mask => {
                self.intr.mask |= queues;
                self.unmask_misc(misc);
            }
            IntrReg::MaskClear => {
                self.intr.mask &= !queues;
                self.intr.misc_mask &= !misc;
                self.settle_misc();
            }
            IntrReg::AutoClear => self.intr.auto_clear = value,
            IntrReg::AutoMask => {
                self.intr.auto_mask = (self.intr.auto_mask & !0xFFFF) | queues;
                self.intr.misc_auto_mask = misc;
            }
        }
        self.pf_update(host);
    }

    fn unmask_misc(&mut self, bits: u32) {
        let opened = bits & !self.intr.misc_mask;
        self.intr.misc_mask |= bits;
        if opened & self.intr.misc_cause != 0 {
            self.intr.misc_edge = true;
        }
    }

    /// Forgets an edge whose causes are all masked again.
    fn settle_misc(&mut self) {
        if self.intr.misc_cause & self.intr.misc_mask == 0 {
            self.intr.misc_edge = false;
        }
    }

    /// Reads half `half` of a 64-vector register.
    pub(crate) fn intr_ex_read(&self, reg: IntrReg, half: u32) -> u32 {
        let bits = match reg {
            IntrReg::Cause | IntrReg::Set => self.intr.cause,
            IntrReg::Mask | IntrReg::MaskClear => self.intr.mask,
            IntrReg::AutoMask => self.intr.auto_mask,
            IntrReg::AutoClear => 0,
        };
        (bits >> (half * 32) & u64::from(u32::MAX)) as u32
    }

    /// Writes it.
    pub(crate) fn intr_ex_write(
        &mut self,
        host: &mut dyn Host,
        reg: IntrReg,
        half: u32,
        value: u32,
    ) {
        let bits = u64::from(value) << (half * 32);
        match reg {
            IntrReg::Set => {
                self.intr.mask |= bits & self.intr.auto_mask;
                self.intr.cause |= bits;
            }
            IntrReg::Mask => self.intr.mask |= bits,
            IntrReg::MaskClear => self.intr.mask &= !bits,
            IntrReg::AutoMask => {
                let window = u64::from(u32::MAX) << (half * 32);
                self.intr.auto_mask = (self.intr.auto_mask & !window) | bits;
            }
            IntrReg::Cause | IntrReg::AutoClear => {}
        }
        self.pf_update(host);
    }

    /// Reads EITR i.
    pub(crate) fn eitr_read(&self, i: u32) -> u32 {
        self.intr
            .throttle
            .get(i as usize)
            .copied()
            .unwrap_or_default()
            .read()
    }

    /// Writes EITR i.
    pub(crate) fn eitr_write(&mut self, host: &mut dyn Host, i: u32, value: u32) {
        if let Some(throttle) = self.intr.throttle.get_mut(i as usize) {
            throttle.write(value);
        }
        self.rearm(host);
    }

    /// Reads a VF's interrupt register at its address in the VF's space; `None` if it is none.
    pub(crate) fn vf_intr_read(
        &mut self,
        host: &mut dyn Host,
        vf: u8,
        address: u32,
    ) -> Option<u32> {
        let state = &mut self.vfs.get_mut(usize::from(vf))?.intr;
        let value = match address {
            regs::VTEICR => {
                let cause = state.cause;
                state.cause = 0;
                state.waiting = 0;
                u32::from(cause)
            }
            regs::VTEICS => u32::from(state.cause),
            regs::VTEIMS | regs::VTEIMC => u32::from(state.mask),
            regs::VTEIAC => u32::from(state.auto_clear),
            regs::VTEIAM => u32::from(state.auto_mask),
            regs::VTIVAR_MISC => state.ivar_misc,
            0x0120..=0x012F => state.ivar.get((address as usize - 0x120) / 4).copied()?,
            0x0180..=0x018B => state.rsc.get((address as usize - 0x180) / 4).copied()?,
            0x0820..=0x082B => {
                let vector = ((address - 0x820) / 4) as u8;
                match vf_eitr(vf, vector) {
                    Some(i) => self.eitr_read(i as u32),
                    None => state.last.read(),
                }
            }
            _ => return None,
        };
        self.rearm(host);
        Some(value)
    }

    /// Writes it; `None` if there is no such register.
    pub(crate) fn vf_intr_write(
        &mut self,
        host: &mut dyn Host,
        vf: u8,
        address: u32,
        value: u32,
    ) -> Option<()> {
        let state = &mut self.vfs.get_mut(usize::from(vf))?.intr;
        let bits = (value & u32::from(VF_MASK)) as u8;
        match address {
            regs::VTEICR => state.cause &= !bits,
            regs::VTEICS => {
                state.mask |= bits & state.auto_mask;
                state.cause |= bits;
            }
            regs::VTEIMS => state.mask |= bits,
            regs::VTEIMC => state.mask &= !bits,
            regs::VTEIAC => state.auto_clear = bits,
            regs::VTEIAM => state.auto_mask = bits,
            regs::VTIVAR_MISC => state.ivar_misc = value,
            0x0120..=0x012F => *state.ivar.get_mut((address as usize - 0x120) / 4)? = value,
            0x0180..=0x018B => *state.rsc.get_mut((address as usize - 0x180) / 4)? = value,
            0x0820..=0x082B => {
                let vector = ((address - 0x820) / 4) as u8;
                match vf_eitr(vf, vector) {
                    Some(i) => self.eitr_write(host, i as u32, value),
                    None => state.last.write(value),
                }
            }
            _ => return None,
        }
        self.vf_update(host, vf);
        Some(())
    }

    /// Back to the state after a PF reset.
    pub(crate) fn reset_interrupts(&mut self, host: &mut dyn Host) {
        if self.intr.level {
            host.legacy(false);
        }
        self.intr = PfInterrupts::default();
        for state in &mut self.vfs {
            state.intr = VfInterrupts::default();
        }
        self.rearm(host);
    }
}
