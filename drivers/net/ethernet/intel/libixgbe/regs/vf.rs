// SPDX-License-Identifier: GPL-2.0
//! The VF's own view (datasheet 8.3.5).

use super::at;

// Control and interrupts.

/// Control; bit CTRL_RST resets the function.
pub const VFCTRL: u32 = 0x0;
/// Status.
pub const VFSTATUS: u32 = 0x8;
/// Link status, as LINKS.
pub const VFLINKS: u32 = 0x10;
/// Free running timer.
pub const VFFRTIMER: u32 = 0x48;
/// Receive memory wraparound.
pub const VFRXMEMWRAP: u32 = 0x3190;
/// Interrupt cause; read clears.
pub const VTEICR: u32 = 0x0100;
/// Cause set.
pub const VTEICS: u32 = 0x0104;
/// Mask set and read.
pub const VTEIMS: u32 = 0x0108;
/// Mask clear.
pub const VTEIMC: u32 = 0x010C;
/// Auto clear.
pub const VTEIAC: u32 = 0x0110;
/// Auto mask.
pub const VTEIAM: u32 = 0x0114;
/// Throttle of vector i.
pub const fn vteitr(i: u32) -> u32 {
    at(0x0820, 4, i)
}
/// Vector of queues 2i and 2i+1.
pub const fn vtivar(i: u32) -> u32 {
    at(0x0120, 4, i)
}
/// Vector of the mailbox.
pub const VTIVAR_MISC: u32 = 0x0140;
/// RSC interrupt.
pub const fn vtrscint(i: u32) -> u32 {
    at(0x0180, 4, i)
}
/// Every cause of a VF.
pub const VF_IRQ_CLEAR_MASK: u32 = 7;

// Mailbox, VF side.

/// Control.
pub const VFMAILBOX: u32 = 0x02FC;
/// Request for PF Ready bit.
pub const VFMAILBOX_REQ: u32 = 0x1;
/// Ack PF message received.
pub const VFMAILBOX_ACK: u32 = 0x2;
/// VF owns the mailbox buffer.
pub const VFMAILBOX_VFU: u32 = 0x4;
/// PF owns the mailbox buffer.
pub const VFMAILBOX_PFU: u32 = 0x8;
/// PF wrote a message in the MB.
pub const VFMAILBOX_PFSTS: u32 = 0x10;
/// PF ack the previous VF msg.
pub const VFMAILBOX_PFACK: u32 = 0x20;
/// PF has reset indication.
pub const VFMAILBOX_RSTI: u32 = 0x40;
/// PF has indicated reset done.
pub const VFMAILBOX_RSTD: u32 = 0x80;
/// All read to clear bits.
pub const VFMAILBOX_R2C_BITS: u32 = 0xB0;
/// Mailbox memory, 16 dwords.
pub const fn vfmbmem(i: u32) -> u32 {
    at(0x0200, 4, i)
}
/// 16 32 bit words - 64 bytes.
pub const VFMAILBOX_SIZE: u32 = 16;

// Queues: 8 at most.

/// Ring base low.
pub const fn vfrdbal(i: u32) -> u32 {
    at(0x1000, 0x40, i)
}
/// Ring base high.
pub const fn vfrdbah(i: u32) -> u32 {
    at(0x1004, 0x40, i)
}
/// Ring length in bytes.
pub const fn vfrdlen(i: u32) -> u32 {
    at(0x1008, 0x40, i)
}
/// Head.
pub const fn vfrdh(i: u32) -> u32 {
    at(0x1010, 0x40, i)
}
/// Tail.
pub const fn vfrdt(i: u32) -> u32 {
    at(0x1018, 0x40, i)
}
/// Queue control, bits as RXDCTL.
pub const fn vfrxdctl(i: u32) -> u32 {
    at(0x1028, 0x40, i)
}
/// Split receive control, bits as SRRCTL.
pub const fn vfsrrctl(i: u32) -> u32 {
    at(0x1014, 0x40, i)
}
/// RSC control.
pub const fn vfrscctl(i: u32) -> u32 {
    at(0x102C, 0x40, i)
}
/// Packet split receive type.
pub const VFPSRTYPE: u32 = 0x0300;
/// DCA receive control.
pub const fn vfdca_rxctrl(i: u32) -> u32 {
    at(0x100C, 0x40, i)
}
/// Ring base low.
pub const fn vftdbal(i: u32) -> u32 {
    at(0x2000, 0x40, i)
}
/// Ring base high.
pub const fn vftdbah(i: u32) -> u32 {
    at(0x2004, 0x40, i)
}
/// Ring length in bytes.
pub const fn vftdlen(i: u32) -> u32 {
    at(0x2008, 0x40, i)
}
/// Head.
pub const fn vftdh(i: u32) -> u32 {
    at(0x2010, 0x40, i)
}
/// Tail.
pub const fn vftdt(i: u32) -> u32 {
    at(0x2018, 0x40, i)
}
/// Queue control, bits as TXDCTL.
pub const fn vftxdctl(i: u32) -> u32 {
    at(0x2028, 0x40, i)
}
/// Head write-back address low.
pub const fn vftdwbal(i: u32) -> u32 {
    at(0x2038, 0x40, i)
}
/// Head write-back address high.
pub const fn vftdwbah(i: u32) -> u32 {
    at(0x203C, 0x40, i)
}
/// DCA transmit control.
pub const fn vfdca_txctrl(i: u32) -> u32 {
    at(0x200C, 0x40, i)
}

// Statistics: wrap, not cleared by reading.

/// Good packets received, 32 bits.
pub const VFGPRC: u32 = 0x101C;
/// Good packets transmitted, 32 bits.
pub const VFGPTC: u32 = 0x201C;
/// Good octets received, low 32 bits.
pub const VFGORC_LSB: u32 = 0x1020;
/// High 4 bits.
pub const VFGORC_MSB: u32 = 0x1024;
/// Good octets transmitted, low 32 bits.
pub const VFGOTC_LSB: u32 = 0x2020;
/// High 4 bits.
pub const VFGOTC_MSB: u32 = 0x2024;
/// Multicast packets received, 32 bits.
pub const VFMPRC: u32 = 0x1034;

// RSS of its own (X550 only; reads 0 on 82599).

/// RSS command.
pub const VFMRQC: u32 = 0x3000;
/// RSS key.
pub const fn vfrssrk(i: u32) -> u32 {
    at(0x3100, 4, i)
}
/// Redirection table.
pub const fn vfreta(i: u32) -> u32 {
    at(0x3200, 4, i)
}
