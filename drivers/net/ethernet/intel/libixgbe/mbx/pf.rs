// SPDX-License-Identifier: GPL-2.0
//! The PF's end of the mailbox: ownership and the event registers (`ixgbe_mbx.c`).

use super::{
    Words,
    MBX_WORDS, //
};
use crate::{
    filter::pool_bit,
    regs::*,
    Regs, //
};

/// What VFs want of the PF, a bit a VF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Function level resets.
    pub resets: u64,
    /// Messages.
    pub messages: u64,
    /// Acknowledged messages of the PF.
    pub acks: u64,
}

/// The VF holds the mailbox: try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Reads what VFs want, without clearing it: four registers for 64 VFs rather than one for each.
/// `vflre` is the chip's register of the reset events of VF 0 to 31 and 32 to 63.
///
/// Messages before resets: a driver resets its VF before it says so, and a reset that is seen only
/// after the message would undo what the message did.
pub(crate) fn events_with(io: &impl Regs, vflre: impl Fn(u32) -> u32) -> Events {
    let mut e = Events::default();
    for i in 0..4 {
        let bits = io.read32(pfmbicr(i));
        e.messages |= u64::from(bits & MBVFICR_VFREQ_MASK) << (16 * i);
        e.acks |= u64::from(bits >> 16) << (16 * i);
    }
    e.resets = u64::from(io.read32(vflre(0))) | u64::from(io.read32(vflre(1))) << 32;
    e
}

/// The same of one VF, of which two registers tell.
pub(crate) fn events_of(io: &impl Regs, vf: u32, vflre: impl Fn(u32) -> u32) -> Events {
    let bits = io.read32(pfmbicr(vf >> 4)) >> (vf & 15);
    let flag = |set: bool| if set { 1u64.wrapping_shl(vf) } else { 0 };
    let messages = flag(bits & MBVFICR_VFREQ_VF1 != 0);
    let acks = flag(bits & MBVFICR_VFACK_VF1 != 0);
    Events {
        messages,
        acks,
        resets: flag(io.read32(vflre(vf >> 5)) & pool_bit(vf) != 0),
    }
}

/// Whether messages, acknowledgements and resets of a VF interrupt the PF. They are noted in any
/// case.
pub fn set_interrupt(io: &impl Regs, vf: u32, on: bool) {
    let mask = io.read32(pfmbimr(vf >> 5));
    let mask = if on {
        mask | pool_bit(vf)
    } else {
        mask & !pool_bit(vf)
    };
    io.write32(pfmbimr(vf >> 5), mask);
}

/// Clears the reset event of a VF.
pub fn clear_reset(io: &impl Regs, vf: u32) {
    io.write32(vflrec(vf >> 5), pool_bit(vf));
}

/// Clears the message event of a VF.
pub fn clear_message(io: &impl Regs, vf: u32) {
    io.write32(pfmbicr(vf >> 4), MBVFICR_VFREQ_VF1 << (vf & 15));
}

/// Clears the acknowledgement event of a VF.
pub fn clear_ack(io: &impl Regs, vf: u32) {
    io.write32(pfmbicr(vf >> 4), MBVFICR_VFACK_VF1 << (vf & 15));
}

/// Whether the VF sent a message that was not read yet.
pub fn message_pending(io: &impl Regs, vf: u32) -> bool {
    io.read32(pfmbicr(vf >> 4)) & (MBVFICR_VFREQ_VF1 << (vf & 15)) != 0
}

/// Whether the VF acknowledged a message and that was not dealt with.
pub fn ack_pending(io: &impl Regs, vf: u32) -> bool {
    io.read32(pfmbicr(vf >> 4)) & (MBVFICR_VFACK_VF1 << (vf & 15)) != 0
}

/// Whether the VF holds the mailbox: it writes a message, or reads one.
pub fn held(io: &impl Regs, vf: u32) -> bool {
    io.read32(pfmailbox(vf)) & PFMAILBOX_VFU != 0
}

fn lock(io: &impl Regs, vf: u32) -> Result<(), Busy> {
    io.write32(pfmailbox(vf), PFMAILBOX_PFU);
    if io.read32(pfmailbox(vf)) & PFMAILBOX_PFU != 0 {
        Ok(())
    } else {
        Err(Busy)
    }
}

const fn word(vf: u32, i: u32) -> u32 {
    pfmbmem(vf).wrapping_add(i.wrapping_mul(4))
}

/// Reads a VF's message and acknowledges it (`ixgbe_read_mbx_pf`).
///
/// # Errors
/// [`Busy`]; the C driver loses the message then, which the VF finds out after a second.
pub fn read(io: &impl Regs, vf: u32) -> Result<Words, Busy> {
    lock(io, vf)?;
    let mut msg = [0; MBX_WORDS];
    for (i, w) in (0u32..).zip(&mut msg) {
        *w = io.read32(word(vf, i));
    }
    io.write32(pfmailbox(vf), PFMAILBOX_ACK);
    // The acknowledgement must be seen before an answer is.
    io.read32(STATUS);
    Ok(msg)
}

/// Sends `msg` in answer to a message, over whatever the mailbox holds (`ixgbe_write_mbx_pf`).
///
/// # Errors
/// [`Busy`].
pub fn write(io: &impl Regs, vf: u32, msg: &[u32]) -> Result<(), Busy> {
    lock(io, vf)?;
    send(io, vf, msg);
    Ok(())
}

/// Writes `msg` into the mailbox, which the PF owns, and gives it to the VF.
fn send(io: &impl Regs, vf: u32, msg: &[u32]) {
    let events = MBVFICR_VFREQ_VF1 | MBVFICR_VFACK_VF1;
    io.write32(pfmbicr(vf >> 4), events << (vf & 15));
    for (i, w) in (0u32..).zip(msg.iter().take(MBX_WORDS)) {
        io.write32(word(vf, i), *w);
    }
    io.write32(pfmailbox(vf), PFMAILBOX_STS);
}

/// Sends `msg` of the PF's own accord, unless a message of the VF waits to be read: it would be
/// overwritten.
///
/// # Errors
/// [`Busy`]: try again after the VF's message is dealt with.
pub fn notify(io: &impl Regs, vf: u32, msg: &[u32]) -> Result<(), Busy> {
    lock(io, vf)?;
    // Only now can none come any more: the VF writes while it owns the mailbox.
    if message_pending(io, vf) {
        io.write32(pfmailbox(vf), 0);
        return Err(Busy);
    }
    send(io, vf, msg);
    Ok(())
}

/// Zeroes the mailbox memory, which no reset does (`ixgbe_vf_clear_mbx`).
pub fn clear_memory(io: &impl Regs, vf: u32) {
    for i in 0..MBX_WORDS as u32 {
        io.write32(word(vf, i), 0);
    }
    io.read32(STATUS);
}

/// The same for a VF that was reset, unless somebody uses the mailbox already. What its former user
/// acknowledged is of no interest any more.
pub fn wipe(io: &impl Regs, vf: u32) {
    clear_ack(io, vf);
    if message_pending(io, vf) || lock(io, vf).is_err() {
        return;
    }
    // Only now can no message come any more, see [`notify`].
    if !message_pending(io, vf) {
        clear_memory(io, vf);
    }
    io.write32(pfmailbox(vf), 0);
}
