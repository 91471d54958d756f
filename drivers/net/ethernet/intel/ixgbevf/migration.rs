// SPDX-License-Identifier: GPL-2.0
//! The guest's half of live migration (`libixgbe::mbx_ext`).
//!
//! To the PF: where the posted receive buffers are listed, queue by queue, before a queue is
//! enabled. From the PF: mark the pages of received frames, stop marking, say where the rings
//! stand, take up the rings again on another host. Nothing here is needed for a migration to
//! succeed: without it all memory counts as written, and the PF makes the driver reset.

use crate::{
    adapter::{
        Adapter,
        Events,
        State, //
    },
    tx, //
};
use kernel::prelude::*;
use libixgbe::{
    mbx::vf::Error as MbxError,
    mbx_ext::{
        self,
        Done,
        MarkingReply,
        PfMessage,
        RegisterQueue,
        Restore,
        RestoreDone,
        SaveReply,
        VfMessage,
        Words,
        EXT_VERSION,
        FEATURE_MIGRATION,
        MAX_QUEUES, //
    },
    ring::QueueRegs,
    Delay, //
};
use nic::net::Device;

/// How often, a millisecond apart, the polls are given time to take what was received before a ring
/// is re-armed.
const DRAIN_TRIES: u32 = 200;

impl Adapter {
    /// Registers all receive queues, which are set up and not yet enabled. The answer says whether
    /// to mark.
    pub(crate) fn register_queues(&self, dev: &Device<Adapter>, st: &mut State) {
        if st.vf.features & FEATURE_MIGRATION == 0 {
            st.migration.set_marking(false);
            return;
        }
        let Some(up) = &mut st.up else { return };
        let queues = st.queues;
        let mut marking = 0;
        for (i, napi) in (0..).zip(up.napis.iter_mut()) {
            let Some(v) = napi.data_mut() else { continue };
            let Some(shadow) = v.rx.shadow_address() else {
                continue;
            };
            // CAST: The halves of an address.
            let msg = VfMessage::RegisterQueue(RegisterQueue {
                head: mbx_ext::VF_REGISTER_QUEUE,
                version: EXT_VERSION,
                queue: i,
                queues,
                caps: mbx_ext::CAPS_ALL,
                entries: v.rx.desc().len(),
                shadow_lo: shadow as u32,
                shadow_hi: (shadow >> 32) as u32,
                shadow_len: v.rx.desc().len() * 8,
                buffer_len: v.rx.buffer_len(),
                marking: 0,
                reserved: [0; 5],
            });
            let answer = st.vf.mbx.exchange_words(&self.hw, &msg.words());
            // Without an answer the PF may have registered the queue, and count on it.
            marking |= mbx_ext::marking_after(&answer);
            match answer {
                Ok(_) => {}
                Err(e @ (MbxError::Nack | MbxError::NotClearToSend)) => {
                    dev_warn!(
                        dev.parent(),
                        "PF refused queue {}: {:?}; migration falls back to all memory\n",
                        i,
                        e
                    );
                }
                Err(e) => {
                    dev_warn!(
                        dev.parent(),
                        "no answer for queue {}: {:?}; migration may fall back to all memory\n",
                        i,
                        e
                    );
                }
            }
        }
        st.migration.set_marking(marking != 0);
    }

    /// Handles a message of the extension.
    pub(crate) fn migration_message(&self, dev: &Device<Adapter>, st: &mut State, msg: &Words) {
        let answer = match PfMessage::parse(msg) {
            Ok(PfMessage::StartMarking(m)) => {
                st.migration.set_marking(true);
                Some(marking_reply(m.generation, 1))
            }
            Ok(PfMessage::StopMarking(m)) => {
                st.migration.set_marking(false);
                Some(marking_reply(m.generation, 0))
            }
            Ok(PfMessage::SaveRequest(m)) => Some(self.save_reply(st, m.generation)),
            Ok(PfMessage::Restore(m)) => {
                self.restore(dev, st, &m);
                None
            }
            Err(e) => {
                dev_warn!(
                    dev.parent(),
                    "PF message {:#x} not understood: {:?}\n",
                    msg[0],
                    e
                );
                None
            }
        };
        if let Some(answer) = answer {
            // Nobody waits for it but in PRE_COPY, where a missing answer costs the guest's help
            // only.
            let _ = st.vf.mbx.exchange_words(&self.hw, &answer.words());
        }
    }

    /// Where software stands in its rings.
    fn save_reply(&self, st: &State, generation: u32) -> VfMessage {
        let mut next_to_clean = [0; MAX_QUEUES];
        let queues = if st.up.is_some() { st.queues } else { 0 };
        for (i, word) in next_to_clean.iter_mut().enumerate().take(queues as usize) {
            let rx = self.rx_stats.get(i).map_or(0, |s| s.next_to_clean.get());
            let tx = self.tx_stats.get(i).map_or(0, |s| s.next_to_clean.get());
            // CAST: Ring indices are below 4096.
            *word = rx as u32 & 0xFFFF | (tx as u32 & 0xFFFF) << 16;
        }
        VfMessage::SaveReply(SaveReply {
            head: mbx_ext::VF_SAVE_REPLY,
            version: EXT_VERSION,
            generation,
            queues,
            next_to_clean,
            reserved: [0; 4],
        })
    }

    /// Takes up the rings on another host: a queue whose head was taken back goes on; one that
    /// starts at 0 is re-armed. A message that was done before is only answered: its rings are the
    /// device's again.
    ///
    /// The PF serves this function from its answer on. Only then goes out what waits to be sent:
    /// what it brings about finds all rings with buffers. What cannot be re-armed costs a reset;
    /// its queue stays off until then, because the ring of before would be sent from, or filled,
    /// again.
    fn restore(&self, dev: &Device<Adapter>, st: &mut State, m: &Restore) {
        if !st.migration.done.is_new(m) {
            let done = restore_done(m.generation, st.migration.restored);
            let _ = st.vf.mbx.exchange_words(&self.hw, &done.words());
            return;
        }
        st.migration.migrations += 1;
        // The logging session was that of the host left behind; this one asks anew if it needs
        // marks.
        st.migration.set_marking(false);
        st.vf.link_changed();
        // The registers of this host count from elsewhere.
        st.hw_stats.rebase(&self.hw);
        let rearms = m.rearm_rx | m.rearm_tx != 0 && st.up.is_some();
        let mut rearmed = (0, 0);
        if rearms {
            // The stack keeps its frames while rings change places.
            dev.tx_disable();
            let Ok(done) = self.rearm_rx(dev, st, m) else {
                self.reset_instead(dev);
                return;
            };
            rearmed = done;
            st.migration.rearms += u64::from(rearmed.0);
        }
        st.migration.restored = rearmed;
        let done = restore_done(m.generation, rearmed);
        // Without an answer the PF asks again, and serves this function after a time of its own.
        let _ = st.vf.mbx.exchange_words(&self.hw, &done.words());
        if rearms {
            if self.rearm_tx(dev, st, m).is_err() {
                self.reset_instead(dev);
                return;
            }
            dev.tx_wake_all();
        }
        if let Some(up) = &st.up {
            // An interrupt may have been lost on the way.
            for napi in &up.napis {
                napi.schedule();
            }
        }
        self.arrived(dev, st);
    }

    /// A ring could not be re-armed: this function is reset, with the queue still off.
    fn reset_instead(&self, dev: &Device<Adapter>) {
        dev_warn!(dev.parent(), "rings not re-armed, resetting instead\n");
        self.events.set(Events::RESET);
        dev.schedule_service(0);
    }

    /// Re-arms the Rx queues that `m` names and that stand. Returns how many queue pairs it names,
    /// and how many frames were taken before.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a ring holds what the poll does not take: it is left as it is.
    fn rearm_rx(&self, dev: &Device<Adapter>, st: &mut State, m: &Restore) -> Result<(u32, u32)> {
        let count = st.rx_ring_count;
        let Some(up) = &mut st.up else {
            return Ok((0, 0));
        };
        let (mut pairs, mut frames) = (0u32, 0u32);

        for (i, napi) in (0u32..).zip(up.napis.iter_mut()) {
            let bit = 1u32.checked_shl(i).unwrap_or(0);
            if (m.rearm_rx | m.rearm_tx) & bit != 0 {
                pairs += 1;
            }
            if !Done::rearms_rx(&self.hw, m, i) {
                continue;
            }
            // First what was received before the stop: it lies in memory, the poll takes it as
            // always.
            let head = m.heads.get(i as usize).copied().unwrap_or(0) & 0xFFFF;
            frames = frames.wrapping_add(self.drain(i, napi, head, count)?);
            napi.disable();
            let stats = self.rx_stats.get(i as usize);
            let enabled = napi
                .parts_mut()
                .is_none_or(|(v, _, idle)| v.rx.rearm(&self.hw, idle, stats));
            napi.enable();
            if !enabled {
                // As when the interface comes up: some parts confirm only with a link.
                dev_warn!(dev.parent(), "Could not enable Rx Queue {}\n", i);
            }
        }
        Ok((pairs, frames))
    }

    /// Re-arms the Tx queues that `m` names and that stand, those for XDP among them.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a queue was not re-armed. It is off: started as it is, its ring would be sent
    /// from the beginning, which is memory that is no longer its own.
    fn rearm_tx(&self, dev: &Device<Adapter>, st: &mut State, m: &Restore) -> Result {
        let count = st.tx_ring_count;
        let head = |queue: u32| m.heads.get(queue as usize).map_or(0, |h| h >> 16);
        let mut result = Ok(());
        let Some(up) = &mut st.up else {
            return result;
        };

        for (i, napi) in (0u32..).zip(up.napis.iter_mut()) {
            napi.disable();
            // The poll may have woken the queue since it was stopped: what is sent while it is
            // taken out would be dropped.
            dev.tx_disable();
            if let Some(v) = napi.data_mut() {
                if let Some(mut queue) = dev.set_tx_queue(i, None) {
                    if Done::rearms_tx(&self.hw, m, i) {
                        let sent = if head(i) < count {
                            v.tx.rearm(&mut queue.ring, head(i))
                        } else {
                            Err(EINVAL)
                        };
                        match sent {
                            Ok(sent) => {
                                // Not woken here: all queues are, at the end.
                                v.account_tx(&self.tx_stats, sent);
                                tx::enable_tx(&self.hw, QueueRegs::vf(i), v.tx.ring());
                                queue.tail.ring(v.tx.ring().next_to_use());
                            }
                            Err(e) => {
                                dev_warn!(dev.parent(), "Tx queue {} not re-armed\n", i);
                                result = Err(e);
                            }
                        }
                    }
                    drop(dev.set_tx_queue(i, Some(queue)));
                }
                let named = |queue| Done::rearms_tx(&self.hw, m, queue);
                if let Some(xdp) = v.xdp.as_mut().filter(|xdp| named(xdp.reg_idx)) {
                    let reg_idx = xdp.reg_idx;
                    let sent = if head(reg_idx) < count {
                        xdp.consumer.rearm(&mut xdp.producer, head(reg_idx))
                    } else {
                        Err(EINVAL)
                    };
                    match sent {
                        Ok(sent) => {
                            let ring = xdp.producer.ring();
                            tx::enable_tx(&self.hw, QueueRegs::vf(reg_idx), ring);
                            xdp.tail.ring(ring.next_to_use());
                            v.account_xdp(&self.xdp_stats, sent);
                        }
                        Err(e) => {
                            dev_warn!(dev.parent(), "XDP queue {} not re-armed\n", i);
                            result = Err(e);
                        }
                    }
                }
            }
            napi.enable();
        }
        result
    }

    /// Lets the poll take what was received, up to `head`; returns how many descriptors that were.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it does not get there: `head` is that of another ring, or the poll does not run.
    fn drain(
        &self,
        i: u32,
        napi: &nic::net::Napi<crate::vector::Vector>,
        head: u32,
        count: u32,
    ) -> Result<u32> {
        let stats = self.rx_stats.get(i as usize).ok_or(EINVAL)?;
        // CAST: Ring indices are below 4096.
        let start = stats.next_to_clean.get() as u32;
        // TIMEOUT: a poll of 64 frames takes well under a millisecond; a ring has 4096 at most.
        for _ in 0..DRAIN_TRIES {
            if stats.next_to_clean.get() as u32 == head {
                break;
            }
            napi.schedule();
            self.hw.msleep(1);
        }
        let now = stats.next_to_clean.get() as u32;
        if now != head {
            return Err(EINVAL);
        }
        Ok(if now >= start {
            now - start
        } else {
            now.wrapping_add(count).wrapping_sub(start)
        })
    }
}

fn restore_done(generation: u32, (rearmed, frames): (u32, u32)) -> VfMessage {
    VfMessage::RestoreDone(RestoreDone {
        head: mbx_ext::VF_RESTORE_DONE,
        version: EXT_VERSION,
        generation,
        rearmed,
        frames,
        reserved: [0; 11],
    })
}

fn marking_reply(generation: u32, marking: u32) -> VfMessage {
    VfMessage::MarkingReply(MarkingReply {
        head: mbx_ext::VF_MARKING_REPLY,
        version: EXT_VERSION,
        generation,
        marking,
        reserved: [0; 12],
    })
}
