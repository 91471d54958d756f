// SPDX-License-Identifier: GPL-2.0
//! Which datagrams a move may cost, and where the others were lost.

use serde::Serialize;

use crate::station::flow::Sample;

/// How long after the first answer of the destination a datagram may still belong to the blackout, in µs.
const EDGE_US: u64 = 20_000;

/// The time in which the VM answered from neither host. In µs after the flow's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SwitchOver {
    /// When the last datagram was sent that the source answered.
    pub(super) last_sent_us: u64,
    /// The source's last answer before the destination's first.
    pub(super) from_us: u64,
    /// The destination's first answer.
    pub(super) to_us: u64,
}

impl SwitchOver {
    /// Finds the one that began at or after `begin_us`: which host answered is told by the switch's port.
    pub(super) fn find(samples: &[Sample], begin_us: u64) -> Option<Self> {
        let source = samples
            .iter()
            .filter(|s| s.back_us() < begin_us)
            .max_by_key(|s| s.back_us())?
            .port;
        let to_us = samples
            .iter()
            .filter(|s| s.back_us() >= begin_us && s.port != source)
            .map(Sample::back_us)
            .min()?;
        let of_source = || {
            samples
                .iter()
                .filter(|s| s.port == source && s.sent_us <= to_us)
        };
        Some(Self {
            last_sent_us: of_source().map(|s| s.sent_us).max()?,
            from_us: of_source()
                .map(Sample::back_us)
                .filter(|at| *at <= to_us)
                .max()?,
            to_us,
        })
    }

    /// Whether a datagram that was sent at this time may have reached the wire when no PF served the VM: it was sent after the
    /// last one that the source answered, however late that answer was.
    pub(super) fn may_lose(&self, sent_us: u64) -> bool {
        (self.last_sent_us..=self.to_us + EDGE_US).contains(&sent_us)
    }
}

/// Where frames for the VM's cards were lost while a VM was there to take them. Each is a count of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drops {
    /// Came to a VF whose ring was full: the VM did not keep up. Counted by both hosts' 82599; a real one has
    /// `rx_no_dma_resources`.
    pub ring_full: u64,
    /// Came to a socket of the VM that was full: its echo did not keep up (`RcvbufErrors` of UDP).
    pub socket_full: u64,
    /// Thrown away by the switch: an emulated host did not keep up.
    pub switch_full: u64,
}

impl Drops {
    /// What came since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            ring_full: self.ring_full.saturating_sub(before.ring_full),
            socket_full: self.socket_full.saturating_sub(before.socket_full),
            switch_full: self.switch_full.saturating_sub(before.switch_full),
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.ring_full + self.socket_full + self.switch_full
    }
}

impl std::fmt::Display for Drops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} frames found the VF's ring full, {} the VM's socket, {} the switch's queue",
            self.ring_full, self.socket_full, self.switch_full
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_over_is_not_the_longest_gap() {
        let sample = |sent_us, back_us, port| Sample {
            sent_us,
            rtt_us: back_us - sent_us,
            port,
        };
        let samples = [
            // An earlier move, from port 2 to port 1.
            sample(0, 10, 2),
            sample(100_000, 100_010, 1),
            // The source does not answer for long, and late, but it loses nothing.
            sample(200_000, 900_000, 1),
            sample(210_000, 900_010, 1),
            sample(1_100_000, 1_100_010, 2),
            sample(1_900_000, 1_900_010, 2),
        ];
        let s = SwitchOver::find(&samples, 150_000).expect("the port changes");
        assert_eq!((s.from_us, s.to_us), (900_010, 1_100_010));
        assert!(s.may_lose(210_000) && s.may_lose(1_110_000));
        assert!(!s.may_lose(209_999) && !s.may_lose(1_200_000));
        assert_eq!(SwitchOver::find(&samples, 1_200_000), None);
    }
}
