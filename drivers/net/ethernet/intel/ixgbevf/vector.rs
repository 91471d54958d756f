// SPDX-License-Identifier: GPL-2.0
//! One interrupt vector: a queue pair, its poll, and its interrupt moderation (`ixgbevf_poll`).

use crate::{
    adapter::{
        Adapter,
        ITR_DYNAMIC, //
    },
    rx::RxQueue,
    tx::{
        is_done,
        WAKE_THRESHOLD, //
    },
    xdp::{
        Xdp,
        XdpQueue, //
    },
};
use libixgbe::{
    itr::{
        ITR_100K,
        ITR_12K,
        ITR_20K, //
    },
    regs::{
        EITR_CNT_WDIS,
        MAX_EITR, //
    },
};
use nic::{
    net::{
        Device,
        NapiRef,
        Poll,
        TxConsumer, //
    },
    pci::Doorbell,
};

/// Latency class that the traffic of one direction asks for (`enum latency_range`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Latency {
    Lowest,
    Low,
    Bulk,
}

/// Traffic of one direction since the moderation was last computed.
pub(crate) struct Moderation {
    bytes: u32,
    packets: u32,
    class: Latency,
}

impl Moderation {
    const fn new() -> Self {
        Self {
            bytes: 0,
            packets: 0,
            class: Latency::Lowest,
        }
    }

    /// Moves to the class that the last interval asks for (`ixgbevf_update_itr`).
    ///
    /// | class | traffic | interrupts per second |
    /// |---|---|---|
    /// | lowest | up to 20 MB/s | 100,000 |
    /// | low | up to 100 MB/s | 20,000 |
    /// | bulk | more | 12,000 |
    fn update(&mut self, itr: u32) {
        if self.packets == 0 {
            return;
        }
        let Some(per_us) = self.bytes.checked_div(itr >> 2) else {
            return;
        };
        self.class = match self.class {
            Latency::Lowest if per_us > 10 => Latency::Low,
            Latency::Low if per_us > 20 => Latency::Bulk,
            Latency::Low if per_us <= 10 => Latency::Lowest,
            Latency::Bulk if per_us <= 20 => Latency::Low,
            same => same,
        };
        self.bytes = 0;
        self.packets = 0;
    }
}

/// What one NAPI instance polls.
pub(crate) struct Vector {
    pub(crate) rx: RxQueue,
    pub(crate) tx: TxConsumer,
    /// With an XDP program attached.
    pub(crate) xdp: Option<XdpQueue>,
    pub(crate) index: u32,
    /// Minimum time between interrupts, in quarter microseconds.
    pub(crate) itr: u32,
    /// [`ITR_DYNAMIC`] or a fixed value.
    pub(crate) itr_setting: u16,
    pub(crate) rx_load: Moderation,
    pub(crate) tx_load: Moderation,
    /// Switches interrupts on by bit (`VTEIMS`).
    pub(crate) eims: Doorbell,
    /// Moderation register of this vector.
    pub(crate) eitr: Doorbell,
}

impl Vector {
    pub(crate) fn new(
        rx: RxQueue,
        tx: TxConsumer,
        xdp: Option<XdpQueue>,
        index: u32,
        itr_setting: u16,
        eims: Doorbell,
        eitr: Doorbell,
    ) -> Self {
        Self {
            rx,
            tx,
            xdp,
            index,
            itr: if itr_setting == ITR_DYNAMIC {
                ITR_20K
            } else {
                itr_setting.into()
            },
            itr_setting,
            rx_load: Moderation::new(),
            tx_load: Moderation::new(),
            eims,
            eitr,
        }
    }

    /// Bit of this vector in the interrupt registers.
    pub(crate) fn eims_bit(&self) -> u32 {
        1u32.wrapping_shl(self.index)
    }

    /// Writes the moderation register, without restarting the running interval (`ixgbevf_write_eitr`).
    pub(crate) fn write_eitr(&self) {
        self.eitr.ring(self.itr & MAX_EITR | EITR_CNT_WDIS);
    }

    /// Frees what was sent; whether nothing is left to look at (`ixgbevf_clean_tx_irq`).
    #[inline]
    fn clean_tx(&mut self, dev: &Device<Adapter>, napi_budget: i32) -> bool {
        let budget = self.tx.ring().len() / 2;
        let r = self.tx.clean(budget, napi_budget, is_done);
        if r.packets != 0 {
            let room = self.tx.ring().unused() >= WAKE_THRESHOLD;
            let woken = dev.tx_completed(self.index, r.packets, r.bytes, room);
            self.tx_load.bytes = self.tx_load.bytes.wrapping_add(r.bytes);
            self.tx_load.packets = self.tx_load.packets.wrapping_add(r.packets);
            if let Some(s) = dev.data().tx_stats.get(self.index as usize) {
                s.packets.add(r.packets.into());
                s.bytes.add(r.bytes.into());
                s.next_to_clean.set(self.tx.ring().next_to_clean().into());
                if woken {
                    s.restart_queue.inc();
                }
            }
        }
        let mut done = r.done;
        if let Some(xdp) = &mut self.xdp {
            let r = xdp.consumer.clean_more(budget, napi_budget, is_done);
            if let Some(s) = dev.data().xdp_stats.get(self.index as usize) {
                s.packets.add(r.packets.into());
                s.bytes.add(r.bytes.into());
            }
            done &= r.done;
        }
        done
    }

    /// Adapts the moderation to the traffic (`ixgbevf_set_itr`).
    fn set_itr(&mut self) {
        self.tx_load.update(self.itr);
        self.rx_load.update(self.itr);
        let target = match self.rx_load.class.max(self.tx_load.class) {
            Latency::Lowest => ITR_100K,
            Latency::Low => ITR_20K,
            Latency::Bulk => ITR_12K,
        };
        if target != self.itr {
            // Exponential smoothing. The divisor is at least 9 * 40.
            self.itr = (10 * target * self.itr)
                .checked_div(9 * target + self.itr)
                .unwrap_or(target);
            self.write_eitr();
        }
    }
}

impl Poll for Vector {
    type Driver = Adapter;

    fn poll(&mut self, dev: &Device<Adapter>, napi: &NapiRef, budget: i32) -> i32 {
        let tx_done = self.clean_tx(dev, budget);
        // CAST: Checked to be positive.
        if budget <= 0 {
            return budget;
        }
        let budget32 = budget as u32;
        let Some(stats) = dev.data().rx_stats.get(self.index as usize) else {
            return 0;
        };
        let mut xdp = Xdp {
            prog: dev.data().xdp_prog.get(napi),
            queue: self.xdp.as_mut(),
            redirected: false,
        };
        let r = self.rx.clean(dev, napi, stats, budget32, &mut xdp);
        xdp.finish(napi);
        stats.packets.add(r.packets.into());
        stats.bytes.add(r.bytes.into());
        stats.next_to_clean.set(self.rx.next_to_clean().into());
        self.rx_load.bytes = self.rx_load.bytes.wrapping_add(r.bytes);
        self.rx_load.packets = self.rx_load.packets.wrapping_add(r.packets);

        if !tx_done || r.work >= budget32 {
            return budget;
        }
        // CAST: At most the budget.
        let work = r.work as i32;
        // The vector was masked by the interrupt (VTEIAM).
        if napi.complete_done(work) {
            if self.itr_setting == ITR_DYNAMIC {
                self.set_itr();
            }
            self.eims.ring(self.eims_bit());
        }
        work
    }
}
