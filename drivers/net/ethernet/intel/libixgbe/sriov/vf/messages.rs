// SPDX-License-Identifier: GPL-2.0
//! What a VF asks for by mailbox, and what the PF tells it.

use super::{
    Refusal,
    Switch,
    VfState, //
};
use crate::{
    filter::MC_FILTER_TYPE,
    mbx::{
        self,
        pf as mailbox,
        ApiVersion,
        Queues,
        Request,
        Words,
        MBX_WORDS,
        VF_RESET,
        VT_MSGTYPE_ACK,
        VT_MSGTYPE_CTS,
        VT_MSGTYPE_NACK, //
    },
    mbx_ext,
    sriov::{
        self,
        Pools, //
    },
    Regs, //
};

/// What became of a VF's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Not a request.
    Ignored,
    /// The VF holds the mailbox: the message stays announced.
    Busy,
    /// The VF was reset.
    Reset,
    /// Done.
    Done(Request),
    /// Refused.
    Refused(Request, Refusal),
    /// The VF must be reset first.
    NotClearToSend,
    /// A message of the migration extension, which the VF may use: the caller answers by [`reply`].
    Extension(Words),
}

/// Answers a message in place (`ixgbe_rcv_msg_from_vf`).
///
/// # Errors
/// [`mailbox::Busy`]: the VF waits out its timeout and asks again.
pub fn reply(io: &impl Regs, vf: u32, words: &Words, ok: bool) -> Result<(), mailbox::Busy> {
    let mut words = *words;
    let [head, ..] = &mut words;
    *head |= VT_MSGTYPE_CTS | if ok { VT_MSGTYPE_ACK } else { VT_MSGTYPE_NACK };
    mailbox::write(io, vf, &words)
}

impl Switch {
    /// Answers a VF's reset message (`ixgbe_vf_reset_msg`).
    fn vf_reset_msg(
        &mut self,
        io: &impl Regs,
        vfs: &mut [VfState],
        vf: u32,
    ) -> Result<(), mailbox::Busy> {
        let Some(pools) = self.pools else {
            return Ok(());
        };
        self.vf_reset_event(io, vfs, vf);
        mailbox::clear_memory(io, vf);
        let Some(state) = vfs.get_mut(vf as usize) else {
            return Ok(());
        };
        sriov::clear_head_writeback(io, pools, vf);
        sriov::clear_rx_lengths(io, pools, vf);
        state.open = true;
        state.clear_to_send = true;
        state.outbox.requested();
        state.nudge.driver_begins();
        self.use_mac(io, vf, state, state.host_mac);
        self.apply_vf(io, vf, state);

        let known = state.mac != [0; 6] && state.pf_set_mac;
        let (flag, addr) = if known {
            (VT_MSGTYPE_ACK, state.mac)
        } else {
            (VT_MSGTYPE_NACK, [0; 6])
        };
        let words = mbx::mac_words(VF_RESET | flag, addr, MC_FILTER_TYPE);
        let msg = words.get(..mbx::VF_PERMADDR_MSG_LEN).unwrap_or(&words);
        mailbox::write(io, vf, msg)
    }

    /// Reads and answers the message that a VF announced (`ixgbe_rcv_msg_from_vf`).
    pub fn handle_message(&mut self, io: &impl Regs, vfs: &mut [VfState], vf: u32) -> Handled {
        let Ok(mut words) = mailbox::read(io, vf) else {
            return Handled::Busy;
        };
        mailbox::clear_message(io, vf);
        let head = words[0];
        if let Some(state) = vfs.get_mut(vf as usize) {
            state.outbox.requested();
            state.nudge.requested();
            if head & (VT_MSGTYPE_ACK | VT_MSGTYPE_NACK) != 0 {
                state.outbox.ignored();
                return Handled::Ignored;
            }
        }
        // An answer that finds the mailbox taken is lost, as in the C driver: the VF asks again
        // after its timeout.
        let request = Request::decode(&words);
        if request == Request::Reset {
            let _ = self.vf_reset_msg(io, vfs, vf);
            return Handled::Reset;
        }
        let Some(state) = vfs.get(vf as usize) else {
            return Handled::Ignored;
        };
        if !state.clear_to_send {
            let _ = mailbox::write(io, vf, &[head | VT_MSGTYPE_NACK]);
            return Handled::NotClearToSend;
        }
        if state.features & mbx_ext::FEATURE_MIGRATION != 0 && mbx_ext::VfMessage::is_type(head) {
            return Handled::Extension(words);
        }
        let result = self.dispatch(io, vfs, vf, &request, &mut words);
        let _ = reply(io, vf, &words, result.is_ok());
        match result {
            Ok(()) => Handled::Done(request),
            Err(why) => Handled::Refused(request, why),
        }
    }

    /// Sets for a VF that comes from another host what a reset message sets here, by this host's
    /// policy.
    pub fn admit(&self, io: &impl Regs, vfs: &[VfState], vf: u32) {
        if let Some(state) = vfs.get(vf as usize) {
            self.apply_vf(io, vf, state);
        }
    }

    /// Does what a VF asked for on its last host, at this host's limits.
    ///
    /// # Errors
    /// As if the VF had asked.
    pub fn apply(
        &mut self,
        io: &impl Regs,
        vfs: &mut [VfState],
        vf: u32,
        request: &Request,
    ) -> Result<(), Refusal> {
        self.dispatch(io, vfs, vf, request, &mut [0; MBX_WORDS])
    }

    /// Does what a VF asks for, at the limits of the C driver, and puts the answer into `words`.
    fn dispatch(
        &mut self,
        io: &impl Regs,
        vfs: &mut [VfState],
        vf: u32,
        request: &Request,
        words: &mut Words,
    ) -> Result<(), Refusal> {
        let state = vfs.get_mut(vf as usize).ok_or(Refusal::NoVf)?;
        let need = |version| {
            if state.api >= version {
                Ok(())
            } else {
                Err(Refusal::Unsupported)
            }
        };
        match *request {
            Request::SetMac(addr) => self.set_vf_mac_msg(io, vfs, vf, &addr),
            Request::SetMulticast(list) => {
                self.set_multicast(io, vfs, vf, list);
                let state = vfs.get(vf as usize).ok_or(Refusal::NoVf)?;
                self.apply_gates(io, vf, state);
                Ok(())
            }
            Request::SetVlan { add, vid } => self.set_vf_vlan_msg(io, vf, state, vid, add),
            Request::SetLpe(bytes) => self.set_vf_lpe(io, vfs, vf, bytes),
            Request::SetMacvlan { index, addr } => {
                self.set_vf_macvlan_msg(io, vfs, vf, index, &addr)
            }
            Request::ApiNegotiate(wire) => {
                state.api = ApiVersion::from_wire(wire).ok_or(Refusal::Api)?;
                // An old one may not receive beside jumbo frames.
                self.apply_gates(io, vf, state);
                Ok(())
            }
            Request::GetQueues => {
                need(ApiVersion::V11)?;
                let queues = self.pools.map_or(1, Pools::queues);
                Queues {
                    tx: queues,
                    rx: queues,
                    trans_vlan: u32::from(state.has_port_vlan()),
                    def_queue: 0,
                }
                .encode(words);
                Ok(())
            }
            Request::GetReta | Request::GetRssKey => {
                if !state.rss_query {
                    return Err(Refusal::Denied);
                }
                need(ApiVersion::V12)?;
                if *request == Request::GetReta {
                    mbx::encode_reta(&self.rss.table, words);
                } else {
                    mbx::encode_rss_key(&self.rss.key, words);
                }
                Ok(())
            }
            Request::UpdateXcastMode(wire) => {
                let granted = self.update_xcast_mode(io, vf, state, wire)?;
                words[1] = granted.wire();
                Ok(())
            }
            Request::GetLinkState => {
                need(ApiVersion::V12)?;
                words[1] = u32::from(state.link_enable);
                Ok(())
            }
            Request::FeaturesNegotiate(offered) => {
                need(ApiVersion::V17)?;
                state.features = offered & self.features;
                words[1] = state.features;
                Ok(())
            }
            // Answered only on E610 (`ixgbe_send_vf_link_status`).
            Request::GetPfLinkState => Err(Refusal::Unsupported),
            Request::Reset | Request::Other(_) => Err(Refusal::Unknown),
        }
    }
}
