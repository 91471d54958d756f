// SPDX-License-Identifier: GPL-2.0
//! A virtual function: its register space, its queues among the 128, and its reset (82599 datasheet 8.3, 7.10.2).

use libixgbe::regs;

use crate::device::frtimer;
use crate::host::Host;
use crate::queue::QueueReg;
use crate::{Device, MAX_VFS, QUEUES};

impl Device {
    /// Queues of each pool, by GCR_EXT; `None` while the VFs have none.
    pub(crate) fn queues_per_pool(&self) -> Option<u8> {
        match self.regs.get(regs::GCR_EXT) & regs::GCR_EXT_VT_MODE_MASK {
            regs::GCR_EXT_VT_MODE_16 => Some(8),
            regs::GCR_EXT_VT_MODE_32 => Some(4),
            regs::GCR_EXT_VT_MODE_64 => Some(2),
            _ => None,
        }
    }

    /// Pools are in use as VFs only once MSI-X in VT mode is on; then pool p below the number of VFs is VF p.
    pub(crate) fn vf_of_queue(&self, queue: u8) -> Option<(u8, u8)> {
        let per_pool = self.queues_per_pool()?;
        let vf = queue / per_pool;
        (vf < self.enabled_vfs).then_some((vf, queue % per_pool))
    }

    /// Queue `index` of a VF among the 128.
    fn queue_of_vf(&self, vf: u8, index: u32) -> Option<u8> {
        let per_pool = self.queues_per_pool()?;
        let index = u8::try_from(index).ok().filter(|index| *index < per_pool)?;
        let queue = vf.checked_mul(per_pool)?.checked_add(index)?;
        (queue < QUEUES).then_some(queue)
    }

    /// SR-IOV was switched on with this many VFs, or off with 0.
    pub fn set_vfs(&mut self, host: &mut dyn Host, vfs: u8) {
        self.enabled_vfs = vfs.min(MAX_VFS);
        self.rearm(host);
    }

    /// A read of a VF's register space.
    pub(crate) fn vf_read(&mut self, host: &mut dyn Host, vf: u8, address: u32) -> u32 {
        if let Some(value) = self.vf_intr_read(host, vf, address) {
            return value;
        }
        let counter = u32::from(vf);
        match address {
            regs::VFSTATUS => regs::STATUS_GIO,
            regs::VFLINKS => self.links(),
            regs::VFFRTIMER => frtimer(host),
            regs::VFPSRTYPE => self.regs.get(0xEA00 + 4 * counter),
            regs::VFMAILBOX => self
                .vfs
                .get_mut(usize::from(vf))
                .map_or(0, |vf| vf.mailbox.vf_read()),
            0x0200..=0x023F => {
                let dword = ((address - 0x200) / 4) as u8;
                self.vfs
                    .get(usize::from(vf))
                    .map_or(0, |vf| vf.mailbox.load(dword))
            }
            regs::VFGPRC => self.regs.get(regs::pvfgprc(counter)),
            regs::VFGORC_LSB => self.regs.get(regs::pvfgorc_lsb(counter)),
            regs::VFGORC_MSB => self.regs.get(regs::pvfgorc_msb(counter)),
            regs::VFMPRC => self.regs.get(regs::pvfmprc(counter)),
            regs::VFGPTC => self.regs.get(regs::pvfgptc(counter)),
            regs::VFGOTC_LSB => self.regs.get(regs::pvfgotc_lsb(counter)),
            regs::VFGOTC_MSB => self.regs.get(regs::pvfgotc_msb(counter)),
            _ => match (self.own_rss(vf, address), self.vf_queue(vf, address)) {
                (Some(own), _) => self.regs.get(own),
                (None, Some((queue, false, reg))) => self.rx_read(queue, reg),
                (None, Some((queue, true, reg))) => self.tx_read(queue, reg),
                (None, None) => 0,
            },
        }
    }

    /// A write to it.
    pub(crate) fn vf_write(&mut self, host: &mut dyn Host, vf: u8, address: u32, value: u32) {
        if self.vf_intr_write(host, vf, address, value).is_some() {
            return;
        }
        match address {
            regs::VFCTRL if value & regs::CTRL_RST != 0 => self.vf_reset(host, vf),
            regs::VFPSRTYPE => self.regs.set(0xEA00 + 4 * u32::from(vf), value),
            regs::VFMAILBOX => {
                let Some(state) = self.vfs.get_mut(usize::from(vf)) else {
                    return;
                };
                let signal = state.mailbox.vf_write(value);
                let bit = vf % 16;
                let causes = u32::from(signal.message) << bit | u32::from(signal.ack) << (bit + 16);
                if causes != 0 {
                    let register = regs::pfmbicr(u32::from(vf / 16));
                    self.regs.set(register, self.regs.get(register) | causes);
                    self.mailbox_interrupt(host, vf);
                }
            }
            0x0200..=0x023F => {
                let dword = ((address - 0x200) / 4) as u8;
                if let Some(state) = self.vfs.get_mut(usize::from(vf)) {
                    state.mailbox.store(dword, value);
                }
            }
            _ => match (self.own_rss(vf, address), self.vf_queue(vf, address)) {
                (Some(own), _) => self.regs.set(own, value),
                (None, Some((queue, false, reg))) => self.rx_write(host, queue, reg, value),
                (None, Some((queue, true, reg))) => self.tx_write(host, queue, reg, value),
                (None, None) => {}
            },
        }
    }

    /// Where the PF has a register of a VF's own RSS.
    fn own_rss(&self, vf: u8, address: u32) -> Option<u32> {
        let pool = u32::from(vf);
        let word = address % 0x100 / 4;
        match address & !3 {
            _ if !self.config.chip.traits().x550 => None,
            regs::VFMRQC => Some(regs::pfvfmrqc(pool)),
            0x3100..=0x3127 => Some(regs::pfvfrssrk(word, pool)),
            0x3200..=0x323F => Some(regs::pfvfreta(word, pool)),
            _ => None,
        }
    }

    /// Tells the PF of a VF's message or reset, if PFMBIMR lets it.
    fn mailbox_interrupt(&mut self, host: &mut dyn Host, vf: u8) {
        if self.regs.table_bit(regs::pfmbimr(0), u32::from(vf)) {
            self.misc_event(host, regs::EICR_MAILBOX);
        }
    }

    /// Queue (among the 128), transmit or not, and register at an address in a VF's space.
    fn vf_queue(&self, vf: u8, address: u32) -> Option<(u8, bool, QueueReg)> {
        let transmit = match address {
            0x1000..=0x11FF => false,
            0x2000..=0x21FF => true,
            _ => return None,
        };
        let queue = self.queue_of_vf(vf, address % 0x1000 / 0x40)?;
        let reg = if transmit {
            QueueReg::transmit(address % 0x40)?
        } else {
            QueueReg::receive(address % 0x40)?
        };
        Some((queue, transmit, reg))
    }

    /// A function level reset of a VF, by VFCTRL.RST or by PCIe.
    ///
    /// Ring registers stay and engines stop, see `queue`. That the pool's gates close is inferred: the C driver opens them
    /// only in answer to the VF's reset message (K: `ixgbe_vf_reset_msg`).
    pub fn vf_reset(&mut self, host: &mut dyn Host, vf: u8) {
        let Some(state) = self.vfs.get_mut(usize::from(vf)) else {
            return;
        };
        state.mailbox.vf_reset();
        state.intr = Default::default();
        for index in 0..8 {
            if let Some(queue) = self.queue_of_vf(vf, index) {
                if let Some(ring) = self.rx.get_mut(usize::from(queue)) {
                    ring.halt();
                }
                if let Some(ring) = self.tx.get_mut(usize::from(queue)) {
                    ring.halt();
                }
                self.release(queue);
                self.write_back_forget(queue, false);
                self.write_back_forget(queue, true);
            }
        }
        let vf_number = u32::from(vf);
        for gate in [regs::vfre(vf_number / 32), regs::vfte(vf_number / 32)] {
            self.regs
                .set(gate, self.regs.get(gate) & !(1 << (vf_number % 32)));
        }
        let event = regs::vflre(vf_number / 32);
        self.regs
            .set(event, self.regs.get(event) | 1 << (vf_number % 32));
        self.drain_packet_buffer(host);
        self.mailbox_interrupt(host, vf);
        self.rearm(host);
    }
}
