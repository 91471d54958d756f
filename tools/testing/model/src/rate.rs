// SPDX-License-Identifier: GPL-2.0
//! Transmit rate limits: RTTDQSEL chooses a queue, RTTBCNRC gives its rate as a fraction of the link's (82599 datasheet
//! 7.7.2.3; K: `ixgbe_set_vf_rate_limit`).

use libixgbe::regs;

use crate::host::Host;
use crate::Device;

/// Bits per second of the link.
const LINK: u64 = 10_000_000_000;
/// Nanoseconds that a queue may make up for, where the host's timer came late: the average is right, a burst is bounded.
const SLACK: u64 = 5_000_000;
/// Fraction bits of the rate factor.
const FRACTION: u32 = regs::RTTBCNRC_RF_INT_SHIFT;

/// The limiter of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RateLimit {
    register: u32,
    /// The queue is silent until then.
    next: u64,
}

impl RateLimit {
    /// Nanoseconds that `bytes` take, 0 without a limit.
    fn time(self, bytes: usize) -> u64 {
        if self.register & regs::RTTBCNRC_RS_ENA == 0 {
            return 0;
        }
        let factor =
            u64::from(self.register & (regs::RTTBCNRC_RF_INT_MASK | regs::RTTBCNRC_RF_DEC_MASK));
        // Preamble, FCS and gap are what the link carries besides: 24 bytes.
        let bits = (bytes as u64 + 24) * 8;
        (bits * 1_000_000_000 / LINK).saturating_mul(factor) >> FRACTION
    }
}

impl Device {
    fn selected(&self) -> usize {
        (self.regs.get(regs::RTTDQSEL) & 0x7F) as usize
    }

    /// Reads RTTBCNRC of the selected queue.
    pub(crate) fn rate_read(&self) -> u32 {
        self.tx_state
            .get(self.selected())
            .map_or(0, |state| state.rate.register)
    }

    /// Writes it.
    pub(crate) fn rate_write(&mut self, host: &mut dyn Host, value: u32) {
        let queue = self.selected();
        if let Some(state) = self.tx_state.get_mut(queue) {
            state.rate = RateLimit {
                register: value,
                next: 0,
            };
        }
        self.resume_all(host);
    }

    /// A frame of a queue goes out.
    pub(crate) fn rate_spend(&mut self, host: &dyn Host, queue: u8, bytes: usize) {
        if let Some(state) = self.tx_state.get_mut(usize::from(queue)) {
            let time = state.rate.time(bytes);
            if time > 0 {
                state.rate.next = state
                    .rate
                    .next
                    .max(host.now().saturating_sub(SLACK))
                    .saturating_add(time);
            }
        }
    }

    /// Whether a queue has to wait; if so the timer is set.
    pub(crate) fn rate_waits(&mut self, host: &mut dyn Host, queue: u8) -> bool {
        let next = self
            .tx_state
            .get(usize::from(queue))
            .map_or(0, |state| state.rate.next);
        if next <= host.now() {
            return false;
        }
        self.rate_waiting |= 1u128 << (queue & 127);
        self.rearm(host);
        true
    }

    /// When the first waiting queue may go on.
    pub(crate) fn rate_deadline(&self) -> Option<u64> {
        if self.rate_waiting == 0 {
            return None;
        }
        (0..crate::QUEUES)
            .filter(|queue| self.rate_waiting >> queue & 1 == 1)
            .filter_map(|queue| self.tx_state.get(usize::from(queue)))
            .map(|state| state.rate.next)
            .min()
    }

    /// Lets them go on.
    pub(crate) fn rate_timer(&mut self, host: &mut dyn Host) {
        let waiting = std::mem::take(&mut self.rate_waiting);
        if waiting != 0 {
            self.tx_work |= waiting;
            self.transmit_all(host);
        }
    }
}
