// SPDX-License-Identifier: GPL-2.0
//! One interrupt vector: a queue pair, its poll, and its interrupt moderation (`ixgbevf_poll`).

use crate::{
    hw::Hw,
    rx::RxQueue,
    stats::{
        RxStats,
        TxStats, //
    },
    tx::is_done,
    vlans::Vlans,
    xdp::{
        Xdp,
        XdpQueue, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::Atomic, //
};
use libixgbe::{
    itr::{
        ITR_100K,
        ITR_12K,
        ITR_20K, //
    },
    regs::{
        vteitr,
        EITR_CNT_WDIS,
        MAX_EITR,
        VTEIMS, //
    },
};
use nic::{
    net::{
        xdp::ProgRef,
        Cleaned,
        NapiRef,
        Polled,
        TxConsumer,
        Unmask, //
    },
    pci::Doorbell,
    sync::Once, //
};

/// Setting of interrupt moderation that adapts to the traffic; else microseconds times 4.
pub(crate) const ITR_DYNAMIC: u16 = 1;

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

/// The interrupt of a vector. Its poll has it, and whoever has the instance.
pub(crate) struct VectorIrq {
    /// Bit of the vector in the interrupt registers.
    bit: u32,
    /// Switches interrupts on by bit (`VTEIMS`).
    eims: Doorbell,
    /// Moderation register of the vector.
    eitr: Doorbell,
    /// What was written to it: least time between interrupts, in quarter microseconds. Changed by
    /// whoever owns the data of the instance.
    itr: Atomic<u32>,
}

impl VectorIrq {
    /// The interrupt of vector `index`, with [`ITR_DYNAMIC`] or a fixed moderation.
    pub(crate) fn new(hw: &Hw, index: u32, setting: u16) -> Result<Self> {
        Ok(Self {
            bit: 1u32.wrapping_shl(index),
            eims: hw.doorbell(VTEIMS)?,
            eitr: hw.doorbell(vteitr(index))?,
            itr: Atomic::new(Self::first_itr(setting)),
        })
    }

    fn first_itr(setting: u16) -> u32 {
        if setting == ITR_DYNAMIC {
            ITR_20K
        } else {
            setting.into()
        }
    }

    fn set_itr(&self, itr: u32) {
        self.itr.write_once(itr);
        self.write_eitr();
    }

    /// Writes the moderation register, without restarting the running interval
    /// (`ixgbevf_write_eitr`).
    ///
    /// From any context. If a poll changes the moderation at the same time the register may keep
    /// the value from before until the next change; that is one class of traffic off at most.
    pub(crate) fn write_eitr(&self) {
        self.eitr
            .ring(self.itr.read_once() & MAX_EITR | EITR_CNT_WDIS);
    }
}

impl Unmask for VectorIrq {
    /// The vector was masked by the interrupt (VTEIAM).
    #[inline]
    fn unmask(&self) {
        self.eims.ring(self.bit);
    }
}

/// What one NAPI instance polls.
pub(crate) struct Vector {
    pub(crate) rx: RxQueue,
    pub(crate) tx: TxConsumer,
    /// With an XDP program attached.
    pub(crate) xdp: Option<XdpQueue>,
    index: u32,
    /// [`ITR_DYNAMIC`] or a fixed value.
    itr_setting: u16,
    rx_load: Moderation,
    tx_load: Moderation,
}

impl Vector {
    pub(crate) fn new(
        rx: RxQueue,
        tx: TxConsumer,
        xdp: Option<XdpQueue>,
        index: u32,
        itr_setting: u16,
    ) -> Self {
        Self {
            rx,
            tx,
            xdp,
            index,
            itr_setting,
            rx_load: Moderation::new(),
            tx_load: Moderation::new(),
        }
    }

    /// Sets [`ITR_DYNAMIC`] or a fixed moderation.
    pub(crate) fn set_moderation(&mut self, irq: &VectorIrq, setting: u16) {
        self.itr_setting = setting;
        irq.set_itr(VectorIrq::first_itr(setting));
    }

    /// Counts frames of the stack that were sent and freed.
    pub(crate) fn account_tx(&mut self, stats: &[TxStats], r: Cleaned) {
        self.tx_load.bytes = self.tx_load.bytes.wrapping_add(r.bytes);
        self.tx_load.packets = self.tx_load.packets.wrapping_add(r.packets);
        if let Some(s) = stats.get(self.index as usize) {
            s.packets.add(r.packets.into());
            s.bytes.add(r.bytes.into());
            s.next_to_clean.set(self.tx.ring().next_to_clean().into());
            if r.woken {
                s.restart_queue.inc();
            }
        }
    }

    /// The same for frames that an XDP program sent back.
    pub(crate) fn account_xdp(&self, stats: &[TxStats], r: Cleaned) {
        if let Some(s) = stats.get(self.index as usize) {
            s.packets.add(r.packets.into());
            s.bytes.add(r.bytes.into());
        }
    }

    /// Frees what was sent; whether nothing is left to look at (`ixgbevf_clean_tx_irq`). Without
    /// `napi` for netpoll.
    #[inline]
    pub(crate) fn clean_tx(
        &mut self,
        (tx, xdp_tx): (&[TxStats], &[TxStats]),
        napi: Option<&NapiRef>,
    ) -> bool {
        let budget = self.tx.ring().len() / 2;
        let r = self.tx.clean(budget, napi, is_done);
        if r.packets != 0 {
            self.account_tx(tx, r);
        }
        let (Some(xdp), Some(napi)) = (&mut self.xdp, napi) else {
            return r.done;
        };
        let sent_back = xdp.consumer.clean_more(budget, napi, is_done);
        self.account_xdp(xdp_tx, sent_back);
        r.done && sent_back.done
    }

    /// Adapts the moderation to the traffic (`ixgbevf_set_itr`).
    fn adapt(&mut self, irq: &VectorIrq) {
        let itr = irq.itr.read_once();
        self.tx_load.update(itr);
        self.rx_load.update(itr);
        let target = match self.rx_load.class.max(self.tx_load.class) {
            Latency::Lowest => ITR_100K,
            Latency::Low => ITR_20K,
            Latency::Bulk => ITR_12K,
        };
        if target != itr {
            // Exponential smoothing. The divisor is at least 9 * 40.
            irq.set_itr(
                (10 * target * itr)
                    .checked_div(9 * target + itr)
                    .unwrap_or(target),
            );
        }
    }

    /// A poll: `with` is what [`RxQueue::clean`] gets.
    #[inline]
    pub(crate) fn poll(
        &mut self,
        irq: &VectorIrq,
        (rx, tx): (&[RxStats], (&[TxStats], &[TxStats])),
        with: (&Hw, &Vlans, u64),
        prog: Option<ProgRef<'_>>,
        napi: &NapiRef,
        budget: u32,
    ) -> Polled {
        let tx_done = self.clean_tx(tx, Some(napi));
        let Some(stats) = rx.get(self.index as usize) else {
            return Polled::Done(0);
        };
        let mut xdp = Xdp {
            prog,
            queue: self.xdp.as_mut(),
            redirected: false,
        };
        let r = self.rx.clean(with, napi, stats, budget, &mut xdp);
        xdp.finish(napi);
        stats.packets.add(r.packets.into());
        stats.bytes.add(r.bytes.into());
        stats.next_to_clean.set(self.rx.next_to_clean().into());
        self.rx_load.bytes = self.rx_load.bytes.wrapping_add(r.bytes);
        self.rx_load.packets = self.rx_load.packets.wrapping_add(r.packets);

        if !tx_done || r.work >= budget {
            return Polled::Again;
        }
        if self.itr_setting == ITR_DYNAMIC {
            self.adapt(irq);
        }
        Polled::Done(r.work)
    }
}
