// SPDX-License-Identifier: GPL-2.0
//! The PF-VF mailboxes: who may have the buffer, and who is told what (82599 datasheet 7.10.2.9, 8.2.3.27, 8.3.5.1).
//!
//! One buffer of 16 dwords for each VF, with an owner at most: PFU is granted only while VFU is clear and the reverse.
//! Sending (STS, REQ) and acknowledging (ACK) leave a note for the other side and raise its interrupt.

use libixgbe::regs;

/// One mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    memory: [u32; 16],
    vf_owns: bool,
    pf_owns: bool,
    pf_message: bool,
    pf_ack: bool,
    reset_in_progress: bool,
    reset_done: bool,
}

/// What a write to a control register did to the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// A message was sent.
    pub message: bool,
    /// A message was acknowledged.
    pub ack: bool,
}

impl Mailbox {
    /// A dword of the buffer.
    pub fn load(&self, dword: u8) -> u32 {
        self.memory.get(usize::from(dword)).copied().unwrap_or(0)
    }

    /// Stores one. The buffer does not defend itself against the side that does not own it.
    pub fn store(&mut self, dword: u8, value: u32) {
        if let Some(word) = self.memory.get_mut(usize::from(dword)) {
            *word = value;
        }
    }

    /// VFMAILBOX as the VF reads it: PFSTS, PFACK and RSTD are cleared by that.
    pub fn vf_read(&mut self) -> u32 {
        let value = self.vf_peek();
        self.pf_message = false;
        self.pf_ack = false;
        self.reset_done = false;
        value
    }

    /// VFMAILBOX without the clearing.
    pub fn vf_peek(&self) -> u32 {
        let bits = [
            (self.vf_owns, regs::VFMAILBOX_VFU),
            (self.pf_owns, regs::VFMAILBOX_PFU),
            (self.pf_message, regs::VFMAILBOX_PFSTS),
            (self.pf_ack, regs::VFMAILBOX_PFACK),
            (self.reset_in_progress, regs::VFMAILBOX_RSTI),
            (self.reset_done, regs::VFMAILBOX_RSTD),
        ];
        bits.iter()
            .filter(|(set, _)| *set)
            .fold(0, |value, (_, bit)| value | bit)
    }

    /// The VF writes VFMAILBOX.
    pub fn vf_write(&mut self, value: u32) -> Signal {
        self.vf_owns = value & regs::VFMAILBOX_VFU != 0 && !self.pf_owns;
        Signal {
            message: value & regs::VFMAILBOX_REQ != 0,
            ack: value & regs::VFMAILBOX_ACK != 0,
        }
    }

    /// PFMAILBOX as the PF reads it.
    pub fn pf_read(&self) -> u32 {
        let vf = if self.vf_owns { regs::PFMAILBOX_VFU } else { 0 };
        let pf = if self.pf_owns { regs::PFMAILBOX_PFU } else { 0 };
        vf | pf
    }

    /// The PF writes PFMAILBOX.
    pub fn pf_write(&mut self, value: u32) -> Signal {
        if value & regs::PFMAILBOX_RVFU != 0 {
            self.vf_owns = false;
        }
        self.pf_owns = value & regs::PFMAILBOX_PFU != 0 && !self.vf_owns;
        let signal = Signal {
            message: value & regs::PFMAILBOX_STS != 0,
            ack: value & regs::PFMAILBOX_ACK != 0,
        };
        self.pf_message |= signal.message;
        self.pf_ack |= signal.ack;
        signal
    }

    /// The PF was reset: the VF sees RSTI until the PF's driver says that it is back.
    pub fn pf_reset(&mut self) {
        *self = Self {
            reset_in_progress: true,
            ..Self::default()
        };
    }

    /// The PF's driver set CTRL_EXT.PFRSTD.
    pub fn pf_reset_done(&mut self) {
        self.reset_in_progress = false;
        self.reset_done = true;
    }

    /// The VF was reset. VFMBMEM stays (82599 Specification Update); RSTD follows at once if the PF is up, which is what
    /// the VF's driver waits for (K: `ixgbevf_reset_hw_vf`).
    pub fn vf_reset(&mut self) {
        self.vf_owns = false;
        self.pf_message = false;
        self.pf_ack = false;
        self.reset_done = !self.reset_in_progress;
    }
}
