// SPDX-License-Identifier: GPL-2.0
//! Bringing the function up and down (`ixgbevf_up`, `ixgbevf_down`, `ixgbevf_reset`).

use crate::{
    adapter::{
        Adapter,
        Events,
        State,
        Up, //
    },
    rx::RxQueue,
    tx::{
        self,
        TxQueue, //
    },
    vector::{
        Vector,
        VectorIrq, //
    },
    xdp::XdpQueue, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::atomic::Relaxed,
    time::Instant, //
};
use libixgbe::{
    mbx,
    mbx_ext,
    regs::*,
    ring::{
        rx_disable,
        QueueRegs, //
    },
    rss::{
        self,
        psrtype_value, //
    },
    vf::{
        self,
        queue_layout,
        Missing, //
    },
    Delay,
    Regs, //
};
use nic::{
    irq::{
        Kinds,
        Vectors, //
    },
    net::{
        is_valid_ether_addr,
        num_online_cpus,
        xdp::Prog,
        Device,
        Napi,
        Rtnl,
        TxRing, //
    },
};

/// Features that this driver offers to the PF.
const FEATURES: u32 = mbx::FEATURE_ESX_MBX | mbx_ext::FEATURE_MIGRATION;
/// Bytes of an Ethernet header and FCS, which the MTU does not count.
const ETH_OVERHEAD: u32 = 14 + 4;

/// Bytes of an Ethernet header, a VLAN tag and FCS, which the MTU does not count.
const XDP_OVERHEAD: u32 = 14 + 4 + 4;

/// Adds an interrupt cause to VTIVAR: `shift` bits up in register `reg` (`ixgbevf_set_ivar`).
fn set_ivar(io: &impl Regs, reg: u32, shift: u32, vector: u32) {
    libixgbe::io::modify(io, reg, 0xFF << shift, (vector | IVAR_ALLOC_VAL) << shift);
}

impl Adapter {
    /// Resets the function and talks to the PF anew (`ixgbevf_reset`). Whether the PF answered.
    pub(crate) fn reset(&self, st: &mut State) -> bool {
        st.stopped = true;
        st.last_reset = Instant::now();
        if st.vf.reset(&self.hw).is_err() || st.vf.negotiate(&self.hw, FEATURES).is_err() {
            return false;
        }
        st.stopped = false;
        st.unsure = false;
        if let Some(addr) = st.vf.perm_addr.filter(is_valid_ether_addr) {
            st.mac = addr;
        }
        true
    }

    /// Queue pairs and XDP queues that CPUs and PF allow for (`ixgbevf_set_num_queues`).
    ///
    /// # Errors
    ///
    /// If the PF did not answer.
    fn wanted_queues(&self, st: &mut State) -> Result<(u32, u32), mbx::vf::Error> {
        let queues = match st.vf.get_queues(&self.hw) {
            // Before API 1.1 nobody says how many queues there are.
            Ok(q) => (st.vf.api >= mbx::ApiVersion::V11).then_some(q),
            Err(e @ (mbx::vf::Error::Timeout | mbx::vf::Error::NotClearToSend)) => return Err(e),
            Err(_) => None,
        };
        let (xdp, movable) = (
            self.xdp_prog.is_some(),
            st.vf.features & mbx_ext::FEATURE_MIGRATION != 0,
        );
        Ok(queue_layout(queues, num_online_cpus(), xdp, movable))
    }

    /// The same while the interface is down, where a PF that does not answer does not matter yet.
    pub(crate) fn usual_queues(&self, st: &mut State) -> (u32, u32) {
        self.wanted_queues(st)
            .unwrap_or_else(|_| queue_layout(None, 1, false, false))
    }

    /// Allocates vectors: one per queue pair and one for the mailbox
    /// (`ixgbevf_set_interrupt_capability`). The VF has MSI-X only.
    pub(crate) fn alloc_vectors(
        &self,
        dev: &Device<Adapter>,
        st: &mut State,
        queues: u32,
    ) -> Result {
        st.vectors = None;
        let pdev = dev.parent().try_into()?;
        let vectors = Vectors::alloc(pdev, 2, queues + 1, Kinds::MSIX)?;
        st.queues = queues.min(vectors.count() - 1);
        st.vectors = Some(vectors);
        Ok(())
    }

    /// Programs the filters that the stack asked for last (`ixgbevf_set_rx_mode`).
    ///
    /// As in C a refusal by the PF is no error: the interface receives what it is allowed to. But
    /// it is said.
    pub(crate) fn program_filters(&self, dev: &Device<Adapter>, st: &mut State) {
        if st.stopped {
            return;
        }
        let State {
            vf,
            filters,
            refused,
            ..
        } = st;
        let now = match vf.set_rx_filters(&self.hw, &filters.wanted()) {
            Ok(missing) => missing,
            Err(e) => {
                st.unanswered(e);
                return;
            }
        };
        let Missing {
            promisc,
            all_groups,
            groups,
            unicast,
        } = core::mem::replace(&mut refused.filters, now);
        if now.promisc && !promisc {
            dev_info!(dev.parent(), "The PF grants no promiscuous mode\n");
        }
        if now.all_groups && !all_groups {
            dev_warn!(
                dev.parent(),
                "The PF does not let this VF receive all multicast\n"
            );
        }
        if now.groups && !groups {
            dev_warn!(
                dev.parent(),
                "More multicast groups than the PF takes from this VF ({}): some are not received\n",
                mbx::MAX_VF_MC_ENTRIES
            );
        }
        if now.unicast && !unicast {
            dev_warn!(
                dev.parent(),
                "The PF does not grant all unicast addresses: some are not received\n"
            );
        }
    }

    /// Asks the PF for what belongs to the interface besides its filters: address, length of
    /// frames, VLANs.
    fn program_policy(&self, dev: &Device<Adapter>, st: &mut State) {
        let hw = &self.hw;
        let r = st.vf.set_rar(hw, st.mac);
        let refused = st.refused_by(&r);
        if newly(&mut st.refused.address, refused) {
            dev_warn!(
                dev.parent(),
                "The PF refuses the address of the interface: only broadcast and multicast is received\n"
            );
        }

        let wanted = dev.mtu() + ETH_OVERHEAD;
        let r = st.vf.set_max_frame(hw, wanted);
        let less = r.is_ok_and(|granted| granted < wanted);
        let refused = st.refused_by(&r) || less;
        if newly(&mut st.refused.frame, refused) {
            match r {
                Ok(granted) => dev_warn!(
                    dev.parent(),
                    "The PF refuses an MTU of {}: received are frames of an MTU of {}\n",
                    dev.mtu(),
                    granted.saturating_sub(ETH_OVERHEAD)
                ),
                // A PF with jumbo frames, and a mailbox API that does not know of them.
                Err(_) => dev_warn!(
                    dev.parent(),
                    "The PF takes frames of no length from this VF: nothing is received\n"
                ),
            }
        }

        let mut refused = false;
        for vid in self.vlans.iter() {
            let r = st.vf.set_vfta(hw, vid, true);
            refused |= st.refused_by(&r);
        }
        if newly(&mut st.refused.vlans, refused) {
            dev_warn!(
                dev.parent(),
                "The PF does not grant all VLANs: some are not received\n"
            );
        }
    }

    /// Takes up on another host what only this driver knows of, or what that host decides: the
    /// registers of the moderation, which are not part of the state since they change with the
    /// traffic, and whether the administrator lets the link be up.
    pub(crate) fn arrived(&self, dev: &Device<Adapter>, st: &mut State) {
        if let Some(up) = &st.up {
            for napi in &up.napis {
                napi.irq().write_eitr();
            }
        }
        self.ask_link_state(dev, st);
    }

    fn ask_link_state(&self, dev: &Device<Adapter>, st: &mut State) {
        match st.vf.get_link_state(&self.hw) {
            Ok(state) => {
                if core::mem::replace(&mut st.link_state, state) && !state {
                    dev_info!(dev.parent(), "VF is administratively disabled\n");
                }
            }
            Err(e) => st.unanswered(e),
        }
    }

    /// Sets up queues, vectors and filters and starts traffic (`ixgbevf_configure`,
    /// `ixgbevf_up_complete`).
    ///
    /// On failure nothing is left running.
    pub(crate) fn up(&self, dev: &Device<Adapter>, rtnl: &Rtnl, st: &mut State) -> Result {
        if st.stopped && !self.reset(st) {
            const WHY: &str = "Unable to start - perhaps the PF Driver isn't up yet";
            // Who was up tries again by itself: its PF is being reset, which is no error of this
            // function.
            if st.want_up {
                dev_warn!(dev.parent(), "{}\n", WHY);
            } else {
                dev_err!(dev.parent(), "{}\n", WHY);
            }
            return Err(EIO);
        }
        let wanted = match self.wanted_queues(st) {
            // The PF was reset while the interface was down.
            Err(mbx::vf::Error::NotClearToSend) if self.reset(st) => self.wanted_queues(st),
            r => r,
        };
        let (queues, xdp_queues) = wanted.map_err(|_| EIO)?;
        if st.vectors.is_none() || queues != st.queues {
            self.alloc_vectors(dev, st, queues)?;
        }
        st.xdp_queues = xdp_queues.min(st.queues);
        dev.set_real_num_queues(rtnl, st.queues, st.queues)?;
        if dev.address() != st.mac {
            dev.set_address(rtnl, &st.mac);
            // C tells nobody. Headers that neighbours have cached keep the old source address then,
            // unless the stack saw the carrier go, which drops them (neigh_carrier_down() in
            // net/core/neighbour.c).
            self.events.set(Events::ADDRESS);
            dev.schedule_service(0);
        }
        self.program_policy(dev, st);
        self.program_filters(dev, st);

        let r = self.start(dev, rtnl, st);
        if r.is_err() {
            self.down(dev, rtnl, st);
        }
        r
    }

    fn start(&self, dev: &Device<Adapter>, rtnl: &Rtnl, st: &mut State) -> Result {
        let hw = &self.hw;
        let vectors = st.vectors.clone().ok_or(ENOMEM)?;
        let name = dev.name();
        let other = st.queues;
        hw.write32(VFPSRTYPE, psrtype_value(st.queues));
        if let Some(key) = &st.own_rss {
            rss::setup_vf(hw, key, st.queues);
        }

        st.up = Some(Up {
            napis: KVec::with_capacity(st.queues as usize, GFP_KERNEL)?,
            other: None,
            eims_other: 1 << other,
            eims: (2 << other) - 1,
        });
        for i in 0..st.queues {
            let (mut napi, txq) = self.new_pair(dev, st, i)?;
            napi.request_irq(&vectors, i, CString::try_from_fmt(fmt!("{name}-TxRx-{i}"))?)?;
            if let Some(up) = &mut st.up {
                up.napis.push(napi, GFP_KERNEL)?;
            }
            drop(dev.set_tx_queue(i, Some(txq)));
        }
        self.eims_other.store(1 << other, Relaxed);
        let irq = dev.request_irq(
            &vectors,
            other,
            CString::try_from_fmt(fmt!("{name}"))?,
            false,
        )?;

        for i in 0..st.queues {
            let shift = 16 * (i & 1);
            set_ivar(hw, vtivar(i >> 1), shift, i);
            set_ivar(hw, vtivar(i >> 1), shift + 8, i);
        }
        for i in 0..st.xdp_queues {
            let queue = st.queues + i;
            set_ivar(hw, vtivar(queue >> 1), 16 * (queue & 1) + 8, i);
        }
        set_ivar(hw, VTIVAR_MISC, 0, other);

        // Rings before buffers: the tail may only be written once the queue is enabled.
        if let Some(up) = &mut st.up {
            up.other = Some(irq);
        }
        self.register_queues(dev, st);
        let Some(up) = &mut st.up else {
            return Err(EINVAL);
        };
        for (i, napi) in (0..).zip(up.napis.iter_mut()) {
            napi.irq().write_eitr();
            let Some((v, _, idle)) = napi.parts_mut() else {
                continue;
            };
            if !tx::enable_tx(hw, QueueRegs::vf(i), v.tx.ring()) {
                dev_warn!(dev.parent(), "Could not enable Tx Queue {}\n", i);
            }
            if let Some(xdp) = &v.xdp {
                if !tx::enable_tx(hw, QueueRegs::vf(xdp.reg_idx), xdp.producer.ring()) {
                    dev_warn!(dev.parent(), "Could not enable XDP Queue {}\n", i);
                }
            }
            if !v.rx.enable(hw) {
                dev_warn!(dev.parent(), "Could not enable Rx Queue {}\n", i);
            }
            if let Some(stats) = self.rx_stats.get(i as usize) {
                v.rx.refill(idle, stats);
            }
        }
        for (i, napi) in (0..).zip(up.napis.iter_mut()) {
            napi.enable();
            napi.set_queues(rtnl, i);
        }
        hw.read32(VTEICR);
        vf::irq_enable(hw, up.eims);

        self.ask_link_state(dev, st);
        st.hw_stats.rebase(hw);
        st.vf.link_changed();
        dev.tx_start_all();
        dev.schedule_service(0);
        Ok(())
    }

    /// Allocates a queue pair and its vector.
    fn new_pair(
        &self,
        dev: &Device<Adapter>,
        st: &State,
        i: u32,
    ) -> Result<(Napi<Vector>, KBox<TxQueue>)> {
        let hw = &self.hw;
        if let (Some(tx), Some(rx)) = (self.tx_stats.get(i as usize), self.rx_stats.get(i as usize))
        {
            tx.next_to_clean.set(0);
            rx.next_to_clean.set(0);
        }
        let (producer, consumer) = TxRing::of_queue(dev, i, st.tx_ring_count, tx::DESC_NEEDED)?;
        let txq = KBox::new(
            TxQueue {
                index: i,
                ring: producer,
                tail: hw.doorbell(vftdt(i))?,
            },
            GFP_KERNEL,
        )?;
        let xdp = if i < st.xdp_queues {
            // Behind the queues of the stack.
            let reg_idx = st.queues + i;
            Some(XdpQueue::new(
                TxRing::new(dev.parent(), st.tx_ring_count)?,
                hw.doorbell(vftdt(reg_idx))?,
                reg_idx,
            ))
        } else {
            None
        };
        let migratable = st.vf.features & mbx_ext::FEATURE_MIGRATION != 0;
        let program = xdp.is_some();
        let irq = VectorIrq::new(hw, i, st.rx_itr_setting)?;
        let napi = Napi::new(dev, i, irq, |napi| {
            Ok(Vector::new(
                RxQueue::new(
                    dev,
                    napi,
                    i,
                    st.rx_ring_count,
                    st.rx_buffer_len(),
                    hw.doorbell(vfrdt(i))?,
                    (migratable, program),
                )?,
                consumer,
                xdp,
                i,
                st.rx_itr_setting,
            ))
        })?;
        Ok((napi, txq))
    }

    /// Stops traffic, resets the function and frees rings and vectors' handlers (`ixgbevf_down`).
    pub(crate) fn down(&self, dev: &Device<Adapter>, rtnl: &Rtnl, st: &mut State) {
        let Some(mut up) = st.up.take() else {
            return;
        };
        let hw = &self.hw;
        st.hw_stats.update(hw);
        for i in 0..st.queues {
            if rx_disable(hw, &QueueRegs::vf(i)).is_err() && !hw.removed() {
                dev_err!(
                    dev.parent(),
                    "RXDCTL.ENABLE queue {} not cleared while polling\n",
                    i
                );
            }
        }
        // What was on its way is in memory after that (`ixgbevf_down`).
        hw.msleep(10);
        dev.carrier_off();
        st.link = Default::default();
        dev.tx_disable();
        vf::irq_disable(hw);
        drop(up.other.take());
        for napi in up.napis.iter_mut() {
            napi.synchronize_irq();
            napi.disable();
            napi.clear_queues(rtnl);
        }
        for i in 0..st.queues + st.xdp_queues {
            hw.write32(vftxdctl(i), TXDCTL_SWFLSH);
        }
        // After the reset the device touches no memory: rings and buffers can go.
        self.reset(st);
        for i in 0..st.queues {
            drop(dev.set_tx_queue(i, None));
        }
        drop(up);
    }

    /// Down and up again (`ixgbevf_reinit_locked`). If the PF is not there, the service task tries
    /// again.
    pub(crate) fn reinit(&self, dev: &Device<Adapter>, rtnl: &Rtnl, st: &mut State) {
        self.down(dev, rtnl, st);
        self.events.take(Events::RESET);
        if st.want_up && self.up(dev, rtnl, st).is_err() {
            dev.schedule_service(crate::service::PERIOD_MS);
        }
    }

    /// Changes the MTU (`ixgbevf_change_mtu`). Buffers hold any frame in pieces, so rings stay as
    /// they are.
    pub(crate) fn change_mtu(&self, st: &mut State, old: u32, new: u32) -> Result {
        if st.stopped {
            return Ok(());
        }
        let r = st.vf.set_rlpml(&self.hw, new.saturating_add(ETH_OVERHEAD));
        if r.is_ok() {
            st.refused.frame = false;
            return Ok(());
        }
        st.refused_by(&r);
        // The PF refuses what does not go with its own MTU, and an 82599's PF shuts the receive
        // path of who asks for it (`ixgbe_set_vf_lpe`). The C driver stays deaf until its next
        // reset; what was in force opens the path again, or what goes with any PF.
        let r = st
            .vf
            .set_max_frame(&self.hw, old.saturating_add(ETH_OVERHEAD));
        st.refused_by(&r);
        Err(EINVAL)
    }

    /// Attaches a program, or detaches the present one.
    pub(crate) fn xdp_setup(
        &self,
        dev: &Device<Adapter>,
        rtnl: &Rtnl,
        prog: Option<Prog>,
    ) -> Result {
        let mut st = self.state.lock();
        // A program sees one buffer; longer frames would be dropped.
        if prog.is_some() && dev.mtu() + XDP_OVERHEAD > st.rx_buffer_len() {
            dev_warn!(dev.parent(), "MTU too large for XDP\n");
            return Err(EINVAL);
        }
        let attach = prog.is_some();
        let old = self.xdp_prog.swap(prog);
        if attach == old.is_some() || st.up.is_none() {
            return Ok(());
        }
        // The number of queues changes.
        self.down(dev, rtnl, &mut st);
        let r = self.up(dev, rtnl, &mut st);
        if r.is_err() {
            // As it was before; the caller still owns the program.
            drop(self.xdp_prog.swap(old));
            self.reinit(dev, rtnl, &mut st);
        }
        r
    }

    /// Receives a VLAN or not (`ixgbevf_vlan_rx_add_vid`).
    pub(crate) fn set_vlan(&self, vid: u16, on: bool) -> Result {
        let mut st = self.state.lock();
        if !on {
            // The stack has removed it whatever the answer is: it must not come back with the next
            // reset.
            self.vlans.set(vid, false);
        }
        if !st.stopped {
            match st.vf.set_vfta(&self.hw, vid, on) {
                Ok(()) => {}
                // A port VLAN is set.
                Err(mbx::vf::Error::Nack) => return Err(EACCES),
                Err(e) => {
                    st.unanswered(e);
                    return Err(EIO);
                }
            }
        }
        if on {
            self.vlans.set(vid, true);
        }
        Ok(())
    }
}

/// Whether something is so that was not so before; takes it over.
fn newly(was: &mut bool, now: bool) -> bool {
    let before = core::mem::replace(was, now);
    now && !before
}

impl State {
    /// Notes that a request was not answered, if `e` says so.
    pub(crate) fn unanswered(&mut self, e: mbx::vf::Error) {
        use mbx::vf::Error;
        // Without clear-to-send the watchdog sees to the reset.
        self.unsure |= matches!(e, Error::Timeout | Error::Protocol);
    }

    /// Whether the PF has refused; notes it if it did not answer.
    fn refused_by<T>(&mut self, answer: &Result<T, mbx::vf::Error>) -> bool {
        if let Err(e) = answer {
            self.unanswered(*e);
        }
        matches!(answer, Err(mbx::vf::Error::Nack))
    }
}
