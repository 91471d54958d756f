// SPDX-License-Identifier: GPL-2.0
//! The VF's end of the mailbox: ownership, and one request with its answer (`ixgbevf/mbx.c`).
//!
//! The caller serialises all calls. A message of the PF can cross a request: it is kept for
//! [`VfMbx::take_message`], and the request is sent again, because a mainline PF that writes throws
//! away a request that it has not read yet.

use super::{
    Request,
    Words,
    MBX_WORDS,
    PF_CONTROL_MSG,
    VF_RESET,
    VT_MSGTYPE_ACK,
    VT_MSGTYPE_CTS,
    VT_MSGTYPE_MASK,
    VT_MSGTYPE_NACK, //
};
use crate::{
    mbx_ext,
    regs::{
        vfmbmem,
        VFMAILBOX,
        VFMAILBOX_ACK,
        VFMAILBOX_PFACK,
        VFMAILBOX_PFSTS,
        VFMAILBOX_R2C_BITS,
        VFMAILBOX_REQ,
        VFMAILBOX_RSTD,
        VFMAILBOX_RSTI,
        VFMAILBOX_VFU, //
    },
    Delay,
    Regs, //
};

/// Polls of the mailbox before giving up (`IXGBE_VF_MBX_INIT_TIMEOUT`).
pub const INIT_TIMEOUT: u32 = 2000;
/// Microseconds between them (`IXGBE_VF_MBX_INIT_DELAY`).
pub const INIT_DELAY: u32 = 500;
/// Polls after which a request is sent again if a PF message crossed it: 50 ms.
const RESEND_AFTER: u32 = 100;
/// PF messages kept while a request is under way.
const BACKLOG: usize = 4;

/// Why an exchange with the PF failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The PF did not answer, or kept the mailbox, for about a second.
    Timeout,
    /// The PF refused.
    Nack,
    /// The PF does not consider this VF clear to send: it must reset itself.
    NotClearToSend,
    /// The negotiated API does not have this request.
    Unsupported,
    /// The answer makes no sense.
    Protocol,
}

/// Counters as `ethtool -S` of the C driver knows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages sent.
    pub msgs_tx: u32,
    /// Messages received.
    pub msgs_rx: u32,
    /// Acknowledgements seen.
    pub acks: u32,
    /// Messages announced by the PF.
    pub reqs: u32,
    /// Resets announced by the PF.
    pub rsts: u32,
}

/// The VF's end of the mailbox.
#[derive(Clone, Debug)]
pub struct VfMbx {
    /// Read-to-clear bits that were seen and not yet dealt with.
    seen: u32,
    /// Keep `VFU` until the PF's `ACK`: negotiated by `FEATURE_ESX_MBX`.
    esx: bool,
    /// Whether the last message of the PF carried `CTS`.
    cts: bool,
    backlog: [Words; BACKLOG],
    backlog_len: usize,
    /// Counters.
    pub stats: Stats,
}

impl Default for VfMbx {
    fn default() -> Self {
        Self::new()
    }
}

impl VfMbx {
    /// As after power-on.
    pub const fn new() -> Self {
        Self {
            seen: 0,
            esx: false,
            cts: false,
            backlog: [[0; MBX_WORDS]; BACKLOG],
            backlog_len: 0,
            stats: Stats {
                msgs_tx: 0,
                msgs_rx: 0,
                acks: 0,
                reqs: 0,
                rsts: 0,
            },
        }
    }

    /// Forgets what belongs to the time before a reset of the VF.
    pub fn reset(&mut self) {
        self.esx = false;
        self.cts = false;
        self.backlog_len = 0;
    }

    /// Switches to the hand-over that keeps `VFU` until the PF's `ACK`.
    pub fn set_esx(&mut self, on: bool) {
        self.esx = on;
    }

    /// Whether the PF considers this VF clear to send.
    pub const fn clear_to_send(&self) -> bool {
        self.cts
    }

    /// Reads `VFMAILBOX` without losing its read-to-clear bits.
    fn read(&mut self, io: &impl Regs) -> u32 {
        let val = io.read32(VFMAILBOX) | self.seen;
        self.seen |= val & VFMAILBOX_R2C_BITS;
        val
    }

    /// Reports and clears any of `mask`.
    fn take(&mut self, io: &impl Regs, mask: u32) -> bool {
        let hit = self.read(io) & mask != 0;
        self.seen &= !mask;
        hit
    }

    /// Whether the PF announced a reset, in progress (`RSTI`) or done (`RSTD`); clears the
    /// indication.
    pub fn check_for_rst(&mut self, io: &impl Regs) -> bool {
        // RSTI is a level, not read-to-clear (datasheet 8.3.5.1.1).
        let hit = self.take(io, VFMAILBOX_RSTD | VFMAILBOX_RSTI);
        self.stats.rsts = self.stats.rsts.wrapping_add(u32::from(hit));
        hit
    }

    /// Takes ownership of the mailbox memory.
    fn lock(&mut self, io: &(impl Regs + Delay)) -> Result<(), Error> {
        // TIMEOUT: the PF holds the mailbox while it copies 16 dwords. The C driver waits for a
        // second.
        for _ in 0..INIT_TIMEOUT {
            let val = self.read(io) | VFMAILBOX_VFU;
            io.write32(VFMAILBOX, val & !VFMAILBOX_R2C_BITS);
            if self.read(io) & VFMAILBOX_VFU != 0 {
                return Ok(());
            }
            io.udelay(INIT_DELAY);
        }
        Err(Error::Timeout)
    }

    /// Sends `msg`; dwords beyond it are zero.
    fn write(&mut self, io: &(impl Regs + Delay), msg: &Words) -> Result<(), Error> {
        self.lock(io)?;
        // The memory is about to be overwritten: what it announced is gone.
        self.take(io, VFMAILBOX_PFSTS | VFMAILBOX_PFACK);
        for (i, word) in (0u32..).zip(msg) {
            io.write32(vfmbmem(i), *word);
        }
        self.stats.msgs_tx = self.stats.msgs_tx.wrapping_add(1);
        if !self.esx {
            // Drops VFU as well.
            io.write32(VFMAILBOX, VFMAILBOX_REQ);
            return Ok(());
        }
        io.write32(VFMAILBOX, VFMAILBOX_VFU | VFMAILBOX_REQ);
        let mut result = Err(Error::Timeout);
        // TIMEOUT: as for an answer.
        for _ in 0..INIT_TIMEOUT {
            if self.take(io, VFMAILBOX_PFACK) {
                self.stats.acks = self.stats.acks.wrapping_add(1);
                result = Ok(());
                break;
            }
            io.udelay(INIT_DELAY);
        }
        io.write32(VFMAILBOX, 0);
        result
    }

    /// Reads the message that the PF announced, if any, and acknowledges it.
    fn read_message(&mut self, io: &(impl Regs + Delay)) -> Result<Option<Words>, Error> {
        if !self.take(io, VFMAILBOX_PFSTS) {
            return Ok(None);
        }
        self.stats.reqs = self.stats.reqs.wrapping_add(1);
        if !self.esx {
            self.lock(io)?;
        }
        let mut msg = [0; MBX_WORDS];
        for (i, word) in (0u32..).zip(msg.iter_mut()) {
            *word = io.read32(vfmbmem(i));
        }
        io.write32(VFMAILBOX, VFMAILBOX_ACK);
        self.stats.msgs_rx = self.stats.msgs_rx.wrapping_add(1);
        self.cts = msg[0] & VT_MSGTYPE_CTS != 0;
        Ok(Some(msg))
    }

    fn keep(&mut self, msg: Words) {
        if self.backlog_len == BACKLOG {
            self.backlog.rotate_left(1);
            self.backlog_len = BACKLOG - 1;
        }
        if let Some(slot) = self.backlog.get_mut(self.backlog_len) {
            *slot = msg;
            self.backlog_len = self.backlog_len.saturating_add(1);
        }
    }

    /// The next message that the PF sent of its own accord: [`PF_CONTROL_MSG`] or one of
    /// [`mbx_ext`].
    ///
    /// # Errors
    /// [`Error::Timeout`] if the PF keeps the mailbox.
    pub fn take_message(&mut self, io: &(impl Regs + Delay)) -> Result<Option<Words>, Error> {
        if self.backlog_len > 0 {
            let msg = self.backlog[0];
            self.backlog.rotate_left(1);
            self.backlog_len -= 1;
            return Ok(Some(msg));
        }
        self.read_message(io)
    }

    /// Whether this message is the PF's own, not an answer.
    fn is_own_message(head: u32) -> bool {
        head & (VT_MSGTYPE_ACK | VT_MSGTYPE_NACK) == 0
            && (head & VT_MSGTYPE_MASK == PF_CONTROL_MSG || mbx_ext::PfMessage::is_type(head))
    }

    /// Sends `msg` and returns the PF's positive answer.
    ///
    /// # Errors
    /// See [`Error`]. A refused [`VF_RESET`] is an answer as well: it says that no MAC address was
    /// assigned.
    pub fn exchange_words(
        &mut self,
        io: &(impl Regs + Delay),
        msg: &Words,
    ) -> Result<Words, Error> {
        let number = msg[0] & VT_MSGTYPE_MASK;
        let reset = number == VF_RESET;
        self.write(io, msg)?;
        let mut resend_in = u32::MAX;
        // TIMEOUT: a PF answers within its interrupt's latency, but it may be busy with 63 VFs or
        // be resetting.
        for _ in 0..INIT_TIMEOUT {
            if let Some(answer) = self.read_message(io)? {
                let head = answer[0];
                if Self::is_own_message(head) {
                    self.keep(answer);
                    resend_in = resend_in.min(RESEND_AFTER);
                    continue;
                }
                // The answer of a PF that is not ready has no number (`ixgbe_rcv_ack_from_vf`).
                if !reset && head & VT_MSGTYPE_CTS == 0 && head & VT_MSGTYPE_NACK != 0 {
                    return Err(Error::NotClearToSend);
                }
                // Else a late answer to an earlier request.
                if head & VT_MSGTYPE_MASK == number {
                    if reset {
                        // What crossed it is from before the reset, and would be taken for a reason
                        // for another one.
                        self.backlog_len = 0;
                    }
                    return match head & (VT_MSGTYPE_ACK | VT_MSGTYPE_NACK) {
                        VT_MSGTYPE_ACK => Ok(answer),
                        VT_MSGTYPE_NACK if reset => Ok(answer),
                        VT_MSGTYPE_NACK => Err(Error::Nack),
                        _ => Err(Error::Protocol),
                    };
                }
            }
            io.udelay(INIT_DELAY);
            resend_in = resend_in.saturating_sub(u32::from(resend_in != u32::MAX));
            if resend_in == 0 {
                self.write(io, msg)?;
                resend_in = u32::MAX;
            }
        }
        Err(Error::Timeout)
    }

    /// Sends a request and returns the PF's positive answer; see [`Self::exchange_words`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn exchange(
        &mut self,
        io: &(impl Regs + Delay),
        request: &Request,
    ) -> Result<Words, Error> {
        self.exchange_words(io, &request.encode())
    }
}
