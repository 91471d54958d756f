// SPDX-License-Identifier: GPL-2.0
//! Semaphores between drivers and with firmware: SWSM and SW_FW_SYNC.
//!
//! On the X540 a read of SW_FW_SYNC takes its bit REGSMP if it was free, and only who holds it changes the register (K:
//! `ixgbe_get_swfw_sync_semaphore`). The 82599 has SWSM.SWESMBI for that, which the model always grants.

use libixgbe::regs;

use crate::Device;

/// Field of SW_FW_SYNC that software has; firmware's bits stand five above the first four.
const OF_FIRMWARE: u32 = 0xF << 5;

impl Device {
    /// Reads SWSM, which takes SMBI.
    pub(crate) fn swsm_read(&mut self) -> u32 {
        let value = self.regs.get(regs::SWSM);
        self.regs.set(regs::SWSM, value | regs::SWSM_SMBI);
        value
    }

    /// Reads SW_FW_SYNC.
    pub(crate) fn sync_read(&mut self) -> u32 {
        let value = self.regs.get(regs::GSSR);
        if self.config.chip.traits().x540 {
            self.regs.set(regs::GSSR, value | regs::SWFW_REGSMP);
        }
        value
    }

    /// Writes it.
    pub(crate) fn sync_write(&mut self, value: u32) {
        let now = self.regs.get(regs::GSSR);
        if !self.config.chip.traits().x540 {
            self.regs.set(regs::GSSR, value);
        } else if now & regs::SWFW_REGSMP != 0 {
            self.regs
                .set(regs::GSSR, value & !OF_FIRMWARE | now & OF_FIRMWARE);
        }
    }

    /// Whether software holds `bits`; a chip before the X540 does not look.
    pub(crate) fn holds(&self, bits: u32) -> bool {
        !self.config.chip.traits().x540 || self.regs.get(regs::GSSR) & bits == bits
    }

    /// Firmware takes or returns `bits` of software's field, for tests.
    pub fn firmware_holds(&mut self, bits: u32) {
        let sync = self.regs.get(regs::GSSR) & !OF_FIRMWARE;
        self.regs.set(regs::GSSR, sync | bits << 5 & OF_FIRMWARE);
    }

    /// The semaphores, which a reset of the port leaves: they are of the whole card and its firmware. Nothing public says
    /// so; it is what a driver must be able to bear.
    pub(crate) fn semaphores(&self) -> [(u32, u32); 2] {
        [regs::SWSM, regs::GSSR].map(|address| (address, self.regs.get(address)))
    }
}
