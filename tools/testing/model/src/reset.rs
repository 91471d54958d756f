// SPDX-License-Identifier: GPL-2.0
//! Resets of the PF (82599 datasheet 4.2).

use libixgbe::regs;

use crate::host::Host;
use crate::queue::Ring;
use crate::rx::{PacketBuffer, RxPolicy};
use crate::tx::TxState;
use crate::writeback::Late;
use crate::Device;

impl Device {
    /// Writes CTRL. Both resets complete at once, so that the bits never read as set.
    pub(crate) fn write_ctrl(&mut self, host: &mut dyn Host, value: u32) {
        // The X540 has no reset of the link alone.
        let resets = if self.config.chip.traits().x540 {
            regs::CTRL_RST
        } else {
            regs::CTRL_RST_MASK
        };
        if value & resets != 0 {
            // CTRL itself is reset too, GIO_DIS with it: the C driver sets that before a reset and never clears it.
            self.pf_reset(host);
            return;
        }
        self.regs.set(regs::CTRL, value);
        self.resume_all(host);
    }

    /// A reset of the device: by CTRL, by a function level reset of the PF, or by power.
    ///
    /// The VFs lose everything that the PF does, and learn of it from RSTI until the PF's driver sets PFRSTD.
    pub fn pf_reset(&mut self, host: &mut dyn Host) {
        self.reset_interrupts(host);
        let counters: Vec<_> = self
            .vf_counters()
            .map(|address| (address, self.regs.get(address)))
            .collect();
        let semaphores = self.semaphores();
        self.regs.reset();
        if self.config.chip.traits().x540 {
            for (address, value) in semaphores {
                self.regs.set(address, value);
            }
        }
        // VF counters only wrap (datasheet 8.3.5.9): the C driver keeps their last value over a reset of the PF and would
        // see a jump.
        for (address, value) in counters {
            self.regs.set(address, value);
        }
        self.rx.fill(Ring::default());
        self.rx_policy.fill(RxPolicy::default());
        self.tx.fill(Ring::default());
        self.tx_state.fill(TxState::default());
        self.rx_late.fill(Late::default());
        self.tx_late.fill(Late::default());
        self.late_deadlines = false;
        self.stray_told = false;
        self.tx_work = 0;
        self.rate_waiting = 0;
        self.packet_buffer = PacketBuffer::default();
        for vf in &mut self.vfs {
            vf.mailbox.pf_reset();
        }
        self.preload();
        host.receive_ready();
        self.rearm(host);
    }

    fn vf_counters(&self) -> impl Iterator<Item = u32> {
        (0..u32::from(crate::MAX_VFS)).flat_map(|vf| {
            [
                regs::pvfgprc(vf),
                regs::pvfgorc_lsb(vf),
                regs::pvfgorc_msb(vf),
                regs::pvfmprc(vf),
                regs::pvfgptc(vf),
                regs::pvfgotc_lsb(vf),
                regs::pvfgotc_msb(vf),
            ]
        })
    }

    /// The PF's driver set PFRSTD.
    pub(crate) fn pf_reset_done(&mut self) {
        for vf in &mut self.vfs {
            vf.mailbox.pf_reset_done();
        }
    }
}
