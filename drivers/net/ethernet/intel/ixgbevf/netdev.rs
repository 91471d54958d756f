// SPDX-License-Identifier: GPL-2.0
//! Operations of the interface (`ixgbevf_netdev_ops`).

use crate::{
    adapter::{
        Adapter,
        Events,
        MAX_QUEUES, //
    },
    stats::RxStats,
    tx::{
        self,
        TxQueue, //
    },
};
use kernel::{
    irq::IrqReturn,
    prelude::*,
    sync::atomic::Relaxed, //
};
use libixgbe::{
    chain,
    mbx::XcastMode,
    regs::VTEIMS,
    Regs, //
};
use nic::net::{
    xdp::Prog,
    AddrLists,
    Device,
    Driver,
    LinkStats,
    MacAddr,
    QueueStats,
    Rtnl,
    SkBuff,
    SkbRef,
    TxResult, //
};

#[vtable]
impl Driver for Adapter {
    type TxQueue = TxQueue;

    fn open(dev: &Device<Self>, rtnl: &Rtnl) -> Result {
        let adapter = dev.data();
        let mut st = adapter.state.lock();
        dev.carrier_off();
        adapter.up(dev, rtnl, &mut st)?;
        st.want_up = true;
        Ok(())
    }

    fn stop(dev: &Device<Self>, rtnl: &Rtnl) {
        let adapter = dev.data();
        let mut st = adapter.state.lock();
        st.want_up = false;
        adapter.down(dev, rtnl, &mut st);
    }

    #[inline]
    fn start_xmit(dev: &Device<Self>, queue: &mut TxQueue, skb: SkBuff) -> TxResult {
        queue.xmit(&dev.data().tx_stats, skb)
    }

    fn features_check(_dev: &Device<Self>, skb: &SkbRef, features: u64) -> u64 {
        tx::features_check(skb, features)
    }

    fn set_rx_mode(dev: &Device<Self>, addrs: &AddrLists<'_>) -> Result {
        let adapter = dev.data();
        let mut st = adapter.state.lock();
        st.filters.mode = if dev.is_promisc() {
            XcastMode::Promisc
        } else if dev.is_allmulti() {
            XcastMode::AllMulti
        } else {
            XcastMode::Multi
        };
        st.filters.mc.set(&addrs.mc);
        st.filters.uc.set(&addrs.uc);
        adapter.program_filters(dev, &mut st);
        Ok(())
    }

    fn set_mac_address(dev: &Device<Self>, _rtnl: &Rtnl, addr: &MacAddr) -> Result {
        let adapter = dev.data();
        let mut st = adapter.state.lock();
        match st.vf.set_rar(&adapter.hw, *addr) {
            Ok(()) => {
                st.mac = *addr;
                Ok(())
            }
            // As `ixgbevf_set_mac`: whatever the reason, the address stays.
            Err(e) => {
                st.unanswered(e);
                Err(EPERM)
            }
        }
    }

    fn change_mtu(dev: &Device<Self>, _rtnl: &Rtnl, mtu: u32) -> Result {
        let adapter = dev.data();
        if adapter.xdp_prog.is_some() {
            dev_warn!(
                dev.parent(),
                "MTU cannot be changed while XDP program is loaded\n"
            );
            return Err(EPERM);
        }
        let mut st = adapter.state.lock();
        adapter.change_mtu(&mut st, dev.mtu(), mtu)
    }

    fn tx_timeout(dev: &Device<Self>, queue: u32) {
        dev_warn!(dev.parent(), "Transmit timeout on queue {}\n", queue);
        dev.data().events.set(Events::RESET);
        dev.schedule_service(0);
    }

    fn get_stats64(dev: &Device<Self>, stats: &mut LinkStats) {
        let adapter = dev.data();
        for rx in &adapter.rx_stats {
            stats.rx_packets = stats.rx_packets.wrapping_add(rx.packets.get());
            stats.rx_bytes = stats.rx_bytes.wrapping_add(rx.bytes.get());
            stats.rx_dropped = stats.rx_dropped.wrapping_add(rx.dropped.get());
        }
        for tx in chain(&adapter.tx_stats, &adapter.xdp_stats) {
            stats.tx_packets = stats.tx_packets.wrapping_add(tx.packets.get());
            stats.tx_bytes = stats.tx_bytes.wrapping_add(tx.bytes.get());
            stats.tx_dropped = stats.tx_dropped.wrapping_add(tx.dropped.get());
        }
        stats.multicast = adapter.multicast.get();
    }

    fn rx_queue_stats(dev: &Device<Self>, queue: Option<u32>) -> QueueStats {
        let adapter = dev.data();
        let first = dev.real_num_queues().1 as usize;
        let sum = |stats: &[RxStats]| {
            stats.iter().fold(QueueStats::default(), |s, q| QueueStats {
                packets: s.packets.wrapping_add(q.packets.get()),
                bytes: s.bytes.wrapping_add(q.bytes.get()),
                alloc_fail: s
                    .alloc_fail
                    .wrapping_add(q.alloc_page_failed.get())
                    .wrapping_add(q.alloc_buff_failed.get()),
                ..s
            })
        };
        let own = queue.map_or(first..MAX_QUEUES, |q| q as usize..q as usize + 1);
        sum(adapter.rx_stats.get(own).unwrap_or_default())
    }

    fn tx_queue_stats(dev: &Device<Self>, queue: Option<u32>) -> QueueStats {
        let adapter = dev.data();
        let first = dev.real_num_queues().0 as usize;
        let own = queue.map_or(first..MAX_QUEUES, |q| q as usize..q as usize + 1);
        // The queues for XDP are not the stack's.
        let xdp = queue.map_or(adapter.xdp_stats.as_slice(), |_| &[]);
        chain(adapter.tx_stats.get(own).unwrap_or_default(), xdp).fold(
            QueueStats::default(),
            |s, q| QueueStats {
                packets: s.packets.wrapping_add(q.packets.get()),
                bytes: s.bytes.wrapping_add(q.bytes.get()),
                gso_packets: s.gso_packets.wrapping_add(q.gso.get()),
                gso_wire_packets: s.gso_wire_packets.wrapping_add(q.gso_segs.get()),
                ..s
            },
        )
    }

    fn vlan_rx_add_vid(dev: &Device<Self>, _rtnl: &Rtnl, vid: u16) -> Result {
        dev.data().set_vlan(vid, true)
    }

    fn vlan_rx_kill_vid(dev: &Device<Self>, _rtnl: &Rtnl, vid: u16) -> Result {
        dev.data().set_vlan(vid, false)
    }

    fn xdp_setup(dev: &Device<Self>, rtnl: &Rtnl, prog: Option<Prog>) -> Result {
        dev.data().xdp_setup(dev, rtnl, prog)
    }

    fn service(dev: &Device<Self>) {
        dev.data().service(dev)
    }

    /// The mailbox vector (`ixgbevf_msix_other`).
    fn interrupt(dev: &Device<Self>) -> IrqReturn {
        let adapter = dev.data();
        adapter.events.set(Events::MAILBOX);
        dev.schedule_service(0);
        // The vector was masked by its own interrupt (VTEIAM).
        adapter.hw.write32(VTEIMS, adapter.eims_other.load(Relaxed));
        IrqReturn::Handled
    }
}
