// SPDX-License-Identifier: GPL-2.0
//! Write-back of descriptors in batches (quirk `batch`; 82599 datasheet 7.2.3.5, 7.1.6).
//!
//! What is done waits until WTHRESH descriptors are, until the interval of the queue's vector ends, or until software asks
//! by SWFLSH. The interrupt comes with the write-back. A vector without an interval never ends one, which is why the C
//! driver wants WTHRESH at 1 then ("false TX hangs", K: `ixgbe_configure_tx_ring`).

use libixgbe::regs;

use crate::host::Host;
use crate::{Device, QUEUES};

/// WTHRESH of TXDCTL, and of RXDCTL where it exists: seven bits.
const WTHRESH_MASK: u32 = 0x7F;

/// What one queue has done and not told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Late {
    /// Where to write, and what.
    waiting: Vec<(u64, Vec<u8>)>,
    /// When the interval ends that began with the first of them.
    deadline: Option<u64>,
}

impl Device {
    fn late(&mut self, queue: u8, transmit: bool) -> Option<&mut Late> {
        let all = if transmit {
            &mut self.tx_late
        } else {
            &mut self.rx_late
        };
        all.get_mut(usize::from(queue))
    }

    /// How many descriptors of a queue are written back together; 0 and 1 mean each at once.
    pub(crate) fn write_back_threshold(&self, queue: u8, transmit: bool) -> u32 {
        let quirks = &self.config.quirks;
        if !quirks.batch {
            return 0;
        }
        let (rings, least) = if transmit {
            (&self.tx, 0)
        } else {
            (&self.rx, quirks.rx_batch)
        };
        rings.get(usize::from(queue)).map_or(0, |ring| {
            let field = ring.control() >> regs::TXDCTL_WTHRESH_SHIFT & WTHRESH_MASK;
            field.max(least)
        })
    }

    /// Keeps a write-back for later.
    pub(crate) fn write_back_later(&mut self, queue: u8, transmit: bool, at: u64, data: &[u8]) {
        if let Some(late) = self.late(queue, transmit) {
            late.waiting.push((at, data.to_vec()));
        }
    }

    /// Descriptors of a queue were done, and those that had to wait are kept: writes them if they are enough. False if there
    /// is nothing to tell the driver yet.
    pub(crate) fn write_back_due(
        &mut self,
        host: &mut dyn Host,
        queue: u8,
        transmit: bool,
    ) -> bool {
        let threshold = self.write_back_threshold(queue, transmit) as usize;
        let interval = self.queue_interval(queue, transmit);
        let now = host.now();
        let Some(late) = self.late(queue, transmit) else {
            return true;
        };
        if late.waiting.len() >= threshold {
            self.write_back_all(host, queue, transmit);
            return true;
        }
        if late.deadline.is_none() && interval > 0 {
            late.deadline = Some(now.saturating_add(interval));
            self.late_deadlines = true;
            self.rearm(host);
        }
        false
    }

    /// Writes all that waits.
    fn write_back_all(&mut self, host: &mut dyn Host, queue: u8, transmit: bool) {
        let function = self.function_of_queue(queue);
        let Some(late) = self.late(queue, transmit) else {
            return;
        };
        late.deadline = None;
        for (at, data) in std::mem::take(&mut late.waiting) {
            if self.dma_write(host, function, at, &data).is_err() {
                self.debug.at(function).dma_errors += 1;
            }
        }
    }

    /// The interval ended, or software wrote SWFLSH.
    pub(crate) fn write_back_flush(&mut self, host: &mut dyn Host, queue: u8, transmit: bool) {
        let waits = self
            .late(queue, transmit)
            .is_some_and(|late| !late.waiting.is_empty());
        if waits {
            self.write_back_all(host, queue, transmit);
            self.queue_event(host, queue, transmit);
        }
    }

    /// The queue stopped: nobody will ever be told.
    pub(crate) fn write_back_forget(&mut self, queue: u8, transmit: bool) {
        if let Some(late) = self.late(queue, transmit) {
            *late = Late::default();
        }
    }

    /// When the first interval ends.
    pub(crate) fn write_back_deadline(&self) -> Option<u64> {
        if !self.late_deadlines {
            return None;
        }
        let all = self.tx_late.iter().chain(&self.rx_late);
        all.filter_map(|late| late.deadline).min()
    }

    /// Ends those whose time has come.
    pub(crate) fn write_back_timer(&mut self, host: &mut dyn Host) {
        if !self.late_deadlines {
            return;
        }
        let now = host.now();
        for queue in 0..QUEUES {
            for transmit in [false, true] {
                let due = self
                    .late(queue, transmit)
                    .is_some_and(|late| late.deadline.is_some_and(|deadline| deadline <= now));
                if due {
                    self.write_back_flush(host, queue, transmit);
                }
            }
        }
        self.late_deadlines = self.write_back_deadline().is_some();
    }
}
