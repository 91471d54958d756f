// SPDX-License-Identifier: GPL-2.0
//! Rings and interrupt vectors: bringing the interface up and down, and everything that takes both.

use crate::{
    ixgbe_common::Hw,
    ixgbe_movers,
    ixgbe_phy,
    ixgbe_stats,
    ixgbe_txrx::{
        RxQueue,
        TxQueue,
        Vector,
        VectorIrq,
        DESC_NEEDED, //
    },
    ixgbe_xdp::{
        self,
        XdpQueue, //
    },
    reset_hw,
    Adapter,
    State,
    ETH_OVERHEAD, //
};
use kernel::{
    device::{
        Bound,
        Core, //
    },
    pci,
    prelude::*,
    str::CString,
    sync::Arc, //
};
use libixgbe::{
    cage,
    filter::mta_hash,
    itr::{
        self,
        Direction,
        Mode, //
    },
    link,
    mac,
    regs,
    ring::{
        self,
        QueueRegs,
        DEFAULT_DESCS, //
    },
    rss,
    rxbuf::{
        BufLayout,
        Use, //
    },
    sriov,
    Delay,
    Regs, //
};
use nic::{
    irq::{
        Kinds,
        Vectors, //
    },
    net::{
        self,
        features,
        xdp::Prog,
        AddrLists,
        Interrupt,
        Napi,
        Rtnl,
        TxRing, //
    }, //
};

/// Queues and vectors. There is a [`Napi`] per queue pair while the interface is up.
pub(crate) struct Rings {
    napis: KVec<Napi<Vector>>,
    other: Option<Interrupt>,
    vectors: Arc<Vectors>,
    /// How interrupts come.
    pub(crate) mode: Mode,
    /// The only one is a line that other devices may share.
    line: bool,
    /// Queues that CPUs were assigned to, see [`net::Device::set_xps_queue`].
    spread_over: u32,
    /// Transmit queues for XDP: one a vector or none.
    xdp_queues: u32,
    /// Queue pairs that are wanted; pools may allow fewer.
    pub(crate) queues: u32,
    /// Descriptors of each receive ring.
    pub(crate) rx_descs: u32,
    /// Descriptors of each transmit ring.
    pub(crate) tx_descs: u32,
    /// The private flag `legacy-rx`.
    pub(crate) legacy_rx: bool,
    /// Fixed moderation in EITR's units, or none: it follows the traffic.
    pub(crate) itr: Option<u32>,
}

impl Rings {
    /// Allocates interrupt vectors: MSI-X if it can be had, else MSI or the line
    /// (`ixgbe_set_interrupt_capability`).
    pub(crate) fn new(pdev: &pci::Device<Core<'_>>, wanted: u32) -> Result<Self> {
        // A vector a queue pair, and one for everything else.
        let msix = Vectors::alloc(pdev, 2, wanted.saturating_add(1), Kinds::MSIX);
        let mode = if msix.is_ok() {
            Mode::Msix
        } else {
            Mode::Single
        };
        let mut line = false;
        let vectors = msix
            .or_else(|_| {
                dev_warn!(
                    pdev,
                    "Failed to allocate MSI-X interrupts. Falling back to MSI interrupts\n"
                );
                Vectors::alloc(pdev, 1, 1, Kinds::MSI)
            })
            .or_else(|_| {
                dev_warn!(
                    pdev,
                    "Failed to allocate MSI interrupt, falling back to legacy\n"
                );
                line = true;
                Vectors::alloc(pdev, 1, 1, Kinds::INTX)
            })?;
        let queues = wanted.min(vectors.count().saturating_sub(1)).max(1);
        Ok(Self {
            napis: KVec::new(),
            other: None,
            vectors,
            mode,
            line,
            spread_over: 0,
            xdp_queues: 0,
            queues,
            rx_descs: DEFAULT_DESCS,
            tx_descs: DEFAULT_DESCS,
            legacy_rx: false,
            itr: None,
        })
    }

    /// Most queue pairs with the pools as they are (`ixgbe_max_channels`).
    pub(crate) fn max_queues(&self, state: &State) -> u32 {
        let vectors = self.vectors.count().saturating_sub(1);
        let limit = state.sw.pools.map_or(vectors, |p| p.queues().min(4));
        vectors.min(limit).max(1)
    }

    /// Queue pairs that can be used with the pools as they are.
    pub(crate) fn usable(&self, state: &State) -> u32 {
        let limit = match state.sw.pools {
            // RSS within a pool takes a power of two.
            Some(p) => p.queues().min(if self.queues > 3 {
                4
            } else if self.queues > 1 {
                2
            } else {
                1
            }),
            None => self.queues,
        };
        self.queues.min(limit).max(1)
    }

    /// Whether the interface is up.
    pub(crate) fn is_up(&self) -> bool {
        !self.napis.is_empty()
    }

    /// First queue of the PF.
    pub(crate) fn first_queue(state: &State) -> u32 {
        let pool = state.sw.pf_pool();
        state.sw.pools.map_or(0, |p| p.first_queue(pool))
    }
}

/// The PCI device below the network device.
pub(crate) fn pdev(dev: &net::Device<Adapter>) -> Result<&pci::Device<Bound>> {
    dev.parent().try_into()
}

/// Largest frame for this MTU, FCS included.
const fn max_frame(mtu: u32) -> u32 {
    mtu.saturating_add(ETH_OVERHEAD)
}

/// Brings the interface up (`ixgbe_open`).
pub(crate) fn up(dev: &net::Device<Adapter>, rtnl: &Rtnl) -> Result {
    let a = dev.data();
    let rings = &mut *a.rings.lock();
    let state = &mut *a.state.lock();
    let n = rings.usable(state);
    // Whatever changes one of these restarts the rings.
    let layout = BufLayout::new(Use {
        max_frame: max_frame(dev.mtu()),
        legacy_rx: rings.legacy_rx,
        xdp: a.xdp_prog.is_some(),
        rxall: state.rx_mode.rxall,
        pools: state.sw.pools.is_some(),
    });
    let result = allocate(dev, rings, state, n, &layout)
        .and_then(|queues| dev.set_real_num_queues(rtnl, n, n).map(|()| queues));
    let queues = match result {
        Ok(queues) => queues,
        Err(e) => {
            release(dev, rings);
            return Err(e);
        }
    };
    state.sw.mtu = dev.mtu();
    state.sw.up = true;
    configure(dev, rings, state, n, &layout);
    complete(dev, rtnl, rings, state, queues);
    if rings.spread_over != n {
        rings.spread_over = n;
        // Each CPU has a queue until the user says otherwise; without, the stack goes by a hash.
        for q in 0..n {
            let _ = dev.set_xps_queue(q, q);
        }
    }
    Ok(())
}

/// Allocates rings and requests interrupts.
fn allocate(
    dev: &net::Device<Adapter>,
    rings: &mut Rings,
    state: &State,
    n: u32,
    layout: &BufLayout,
) -> Result<KVec<KBox<TxQueue>>> {
    let a = dev.data();
    let first = Rings::first_queue(state);
    let mut queues = KVec::with_capacity(n as usize, GFP_KERNEL)?;
    rings.xdp_queues = if a.xdp_prog.is_some() { n } else { 0 };
    for (q, stats) in (0..n).zip(&a.ring_stats) {
        let regs = QueueRegs::pf(first.wrapping_add(q));
        let (producer, consumer) = TxRing::of_queue(dev, q, rings.tx_descs, DESC_NEEDED)?;
        let cc = state.sw.pools.is_some();
        let tx = TxQueue::new(&a.hw, producer, &regs, cc, stats.clone())?;
        queues.push(KBox::new(tx, GFP_KERNEL)?, GFP_KERNEL)?;
        let (rx_descs, itr) = (rings.rx_descs, rings.itr);
        let xdp = if q < rings.xdp_queues {
            let regs = QueueRegs::pf(first.wrapping_add(n).wrapping_add(q));
            Some(XdpQueue::new(&a.hw, dev, &regs, rings.tx_descs)?)
        } else {
            None
        };
        let program = xdp.is_some();
        let irq = VectorIrq {
            hw: a.hw.clone(),
            index: q,
        };
        let napi = Napi::new(dev, q, irq, |napi| {
            let rx = RxQueue::new(
                dev,
                napi,
                a.hw.doorbell(regs.rdt)?,
                q,
                rx_descs,
                (layout, program),
                stats.clone(),
            )?;
            Ok(Vector::new(&a.hw, q, consumer, rx, xdp, itr, stats.clone()))
        })?;
        rings.napis.push(napi, GFP_KERNEL)?;
    }
    let name = dev.name();
    if rings.mode == Mode::Single {
        for napi in &mut rings.napis {
            let name = CString::try_from_fmt(fmt!("{}", name))?;
            napi.request_only_irq(&rings.vectors, name, rings.line)?;
        }
        return Ok(queues);
    }
    for (q, napi) in (0u32..).zip(&mut rings.napis) {
        let name = CString::try_from_fmt(fmt!("{}-TxRx-{}", name, q))?;
        napi.request_irq(&rings.vectors, q, name)?;
    }
    let name = CString::try_from_fmt(fmt!("{}", name))?;
    rings.other = Some(dev.request_irq(&rings.vectors, n, name, false)?);
    Ok(queues)
}

/// Frees what [`allocate`] did. The hardware must not use it any more.
fn release(dev: &net::Device<Adapter>, rings: &mut Rings) {
    rings.other = None;
    for q in 0..crate::MAX_QUEUES {
        drop(dev.set_tx_queue(q, None));
    }
    rings.napis.clear();
}

/// Sets the device up after a reset (`ixgbe_configure`).
fn configure(
    dev: &net::Device<Adapter>,
    rings: &mut Rings,
    state: &mut State,
    n: u32,
    layout: &BufLayout,
) {
    let hw = &dev.data().hw;
    let pool = state.sw.pf_pool();
    let first = Rings::first_queue(state);

    let chip = state.sw.chip;
    let rx_pb = mac::configure_packet_buffers(hw, chip);
    let pools = state.sw.pools.is_some();
    if !state
        .fc
        .set_water_marks(dev.mtu(), rx_pb, pools, chip.delays())
    {
        dev_warn!(
            dev.parent(),
            "Packet buffer has no headroom for flow control. Decrease MTU\n"
        );
    }
    // Pools before VLANs, or VLVF is not filled.
    let State { sw, vfs, .. } = state;
    sw.configure(hw, vfs);
    sw.vlans.restore(hw, pool);
    let addr = dev.address();
    sw.macs.reset(hw, &addr, pool);
    apply_rx_mode(dev, state);

    sriov::setup_mtqc(hw, state.sw.pools);
    mac::enable_tx_dma(hw);
    for (q, napi) in (0u32..).zip(&mut rings.napis) {
        if let Some(v) = napi.data_mut() {
            if v.tx_setup(QueueRegs::pf(first.wrapping_add(q)))
                .enable(hw)
                .is_err()
            {
                dev_err!(dev.parent(), "Could not enable Tx Queue {}\n", q);
            }
            let regs = QueueRegs::pf(first.wrapping_add(n).wrapping_add(q));
            if v.xdp_setup(regs).is_some_and(|r| r.enable(hw).is_err()) {
                dev_err!(dev.parent(), "Could not enable XDP Queue {}\n", q);
            }
        }
    }

    state.mac.disable_rx(hw);
    rss::setup_psrtype(hw, pool, n);
    mac::configure_rx_common(hw);
    // VFs share the table and may have four queues.
    let spread = if state.sw.pools.is_some() {
        n.max(4)
    } else {
        n
    };
    let fits = state.sw.rss.table.iter().all(|q| u32::from(*q) < spread);
    if !state.rss_set_by_user || !fits {
        state.rss_set_by_user = false;
        state.sw.rss.spread(spread);
    }
    state.sw.rss.configure(hw, state.sw.rss_place());
    mac::set_max_frame(hw, max_frame(dev.mtu()));
    let strip = dev.features() & features::HW_VLAN_CTAG_RX != 0;
    // By the pause of the last link; the next one may say otherwise, see `ixgbe_service`.
    let drop_en = ring::drops(state.sw.pools.is_some(), n, state.fc.current.tx);
    for (q, napi) in (0u32..).zip(&mut rings.napis) {
        if let Some((v, _, idle)) = napi.parts_mut() {
            let regs = QueueRegs::pf(first.wrapping_add(q));
            if v.rx_setup(regs, layout.hw_len, strip, drop_en)
                .enable(hw)
                .is_err()
            {
                dev_err!(
                    dev.parent(),
                    "RXDCTL.ENABLE on Rx queue {} not set within the polling period\n",
                    q
                );
            }
            // A poll that finds the ring empty tries again.
            v.rx_mut().post_all(idle);
        }
    }
    state.mac.enable_rx(hw);
}

/// Lets traffic flow (`ixgbe_up_complete`).
fn complete(
    dev: &net::Device<Adapter>,
    rtnl: &Rtnl,
    rings: &mut Rings,
    state: &mut State,
    queues: KVec<KBox<TxQueue>>,
) {
    let hw = &dev.data().hw;
    let first = Rings::first_queue(state);
    mac::set_hw_control(hw, true);
    let board = dev.data().board;
    itr::setup_gpie(hw, rings.mode, state.sw.pools, board.gpie());
    let n = rings.napis.len() as u32;
    for (v, napi) in (0u32..).zip(&mut rings.napis) {
        let q = first.wrapping_add(v);
        itr::set_ivar(hw, Direction::Rx, q, v);
        itr::set_ivar(hw, Direction::Tx, q, v);
        if v < rings.xdp_queues {
            itr::set_ivar(hw, Direction::Tx, q.wrapping_add(n), v);
        }
        if let Some(vector) = napi.data_mut() {
            itr::write_eitr(hw, v, vector.itr());
        }
    }
    if rings.mode == Mode::Msix {
        itr::configure_msix_other(hw, n, state.sw.num_vfs);
    }

    for (q, queue) in (0u32..).zip(queues) {
        drop(dev.set_tx_queue(q, Some(queue)));
    }
    for (q, napi) in (0u32..).zip(&mut rings.napis) {
        napi.enable();
        napi.set_queues(rtnl, q);
    }
    let mut events = crate::EVENT_LINK;
    if board.has_cage() {
        // Someone may have changed the module meanwhile. That and its link take long, so the
        // service task does it.
        events |= crate::EVENT_MODULE;
    } else if let Some(phy) = state.fc.phy() {
        ixgbe_phy::up(dev, &phy, state.advertised);
    } else if let Some(orig) = state.mac.orig_autoc {
        if let Err(e) = link::setup_link(hw, orig, state.advertised) {
            dev_err!(dev.parent(), "link_config FAILED {:?}\n", e);
        }
    }
    hw.read32(regs::EICR);
    itr::enable_queues(hw, !0);
    itr::enable_other(hw, board.causes(), true);
    dev.tx_start_all();

    let State { sw, vfs, .. } = state;
    for (vf, s) in (0u32..).zip(vfs.iter_mut()) {
        s.rebase_stats(hw, vf);
    }
    mac::set_reset_done(hw);
    sw.set_all_vfs(hw, vfs);
    ixgbe_movers::after_pf_reset(hw, state);
    Adapter::raise(dev, events);
}

/// Takes the interface down (`ixgbe_down`); the device is reset and forgets everything.
pub(crate) fn down(dev: &net::Device<Adapter>, rtnl: &Rtnl) {
    let a = dev.data();
    let hw = &a.hw;
    let rings = &mut *a.rings.lock();
    if !rings.is_up() {
        return;
    }
    dev.carrier_off();
    dev.tx_disable();
    // Nobody sets up a link while the device is reset.
    let _cage = a.cage.lock();
    {
        let state = &mut *a.state.lock();
        // The reset clears the counters.
        ixgbe_stats::update_stats(dev, state);
        ixgbe_movers::before_pf_reset(hw, state);
        stop_hw(dev, rings, state);
    }
    for napi in &mut rings.napis {
        napi.synchronize_irq();
        napi.disable();
        napi.clear_queues(rtnl);
    }
    if let Some(other) = &rings.other {
        other.synchronize();
    }
    {
        let state = &mut *a.state.lock();
        state.sw.up = false;
        state.link = link::Link::default();
        let State { sw, vfs, .. } = &mut *state;
        sw.before_reset(vfs);
        if sw.num_vfs != 0 {
            hw.write32(regs::EITRSEL, 0);
            sw.set_all_vfs(hw, vfs);
        }
        reset(dev, state);
        if let Some(phy) = state.fc.phy().filter(|_| !dev.running()) {
            ixgbe_phy::rest(dev, &phy);
        }
    }
    if a.board.has_cage() {
        cage::darken(hw);
    }
    release(dev, rings);
}

/// Stops queues and interrupts.
fn stop_hw(dev: &net::Device<Adapter>, rings: &Rings, state: &mut State) {
    let hw = &dev.data().hw;
    let first = Rings::first_queue(state);
    state.mac.disable_rx(hw);
    for q in 0..rings.napis.len() as u32 {
        let regs = QueueRegs::pf(first.wrapping_add(q));
        if ring::rx_disable(hw, &regs).is_err() {
            dev_err!(
                dev.parent(),
                "RXDCTL.ENABLE for queue {} not cleared within the polling period\n",
                q
            );
        }
    }
    // Accesses of the rings end within 100 us (datasheet 4.6.7.1.2).
    hw.udelay(100);
    itr::disable(hw);
    for q in 0..(rings.napis.len() as u32).wrapping_add(rings.xdp_queues) {
        let regs = QueueRegs::pf(first.wrapping_add(q));
        if ring::tx_disable(hw, &regs).is_err() && link::check_link(hw).up {
            dev_err!(
                dev.parent(),
                "TXDCTL.ENABLE for queue {} not cleared within the polling period\n",
                q
            );
        }
    }
    mac::disable_tx_dma(hw);
}

/// Resets the device and puts the interface's address back (`ixgbe_reset`).
pub(crate) fn reset(dev: &net::Device<Adapter>, state: &mut State) {
    let hw = &dev.data().hw;
    let Ok(pdev) = pdev(dev) else { return };
    // Said by `reset_hw`; there is no more to be done than to go on.
    let _ = reset_hw(pdev, hw, &mut state.mac, &state.fc);
    let pool = state.sw.pf_pool();
    state.sw.macs.reset(hw, &dev.address(), pool);
}

/// Whether the interface should be up. It is not if there was no memory when it was last reset:
/// then the next reset, for whatever reason, and the service task try again.
pub(crate) fn wanted_up(dev: &net::Device<Adapter>, _rtnl: &Rtnl) -> bool {
    dev.running() && dev.present()
}

/// Takes the interface down and up again, if it should be up (`ixgbe_reinit_locked`).
pub(crate) fn reinit(dev: &net::Device<Adapter>, rtnl: &Rtnl) -> Result {
    if wanted_up(dev, rtnl) {
        down(dev, rtnl);
        up(dev, rtnl)?;
    }
    Ok(())
}

/// Whether frames of the PF or of a VF wait in the device (`ixgbe_ring_tx_pending`,
/// `ixgbe_vf_tx_pending`).
pub(crate) fn tx_pending(hw: &Hw, state: &State, queues: u32) -> bool {
    let first = Rings::first_queue(state);
    let per_vf = state.sw.pools.map_or(0, |p| p.queues());
    // What a VF that stands still has not sent is sent when it runs again, here or elsewhere. What
    // one has not sent whose driver is to reset it never is, see `Switch::nudge`.
    let owes_reset = |vf: u32| {
        let vf = state.vfs.get(vf as usize);
        vf.is_some_and(|vf| vf.nudge.owes_reset())
    };
    let mut vfs =
        (0..state.sw.num_vfs).filter(|vf| !state.migration.active(*vf) && !owes_reset(*vf));
    let mut own = first..first.saturating_add(queues);
    let pending = |q| ring::tx_pending(hw, &QueueRegs::pf(q));
    own.any(pending)
        || vfs.any(|vf| {
            let first = per_vf.saturating_mul(vf);
            (first..first.saturating_add(per_vf)).any(pending)
        })
}

/// Puts the moderation that was set into force.
pub(crate) fn apply_itr(dev: &net::Device<Adapter>) {
    let a = dev.data();
    let rings = &mut *a.rings.lock();
    let itr = rings.itr;
    for (v, napi) in (0u32..).zip(&mut rings.napis) {
        // Stopped for a moment, since a poll may be changing it.
        napi.disable();
        if let Some(vector) = napi.data_mut() {
            vector.set_itr(itr);
            itr::write_eitr(&a.hw, v, vector.itr());
        }
        napi.enable();
        napi.schedule();
    }
}

/// Changes the MTU: the buffers' size depends on it.
pub(crate) fn change_mtu(dev: &net::Device<Adapter>, rtnl: &Rtnl, mtu: u32) -> Result {
    let a = dev.data();
    {
        let state = a.state.lock();
        // Old VF drivers cannot receive jumbo frames, so they are told to ask again; see
        // `Switch::set_vf_lpe`.
        let shuts = !state.sw.chip.mixes_frames() && max_frame(mtu) > 1518;
        if state.sw.num_vfs != 0 && shuts {
            dev_warn!(dev.parent(), "Setting MTU > 1500 will disable legacy VFs\n");
        }
    }
    if a.xdp_prog.is_some() && !ixgbe_xdp::mtu_fits(mtu) {
        dev_warn!(
            dev.parent(),
            "Requested MTU size is not supported with XDP\n"
        );
        return Err(EINVAL);
    }
    let old = dev.mtu();
    dev.set_mtu(rtnl, mtu);
    reinit(dev, rtnl).inspect_err(|_| dev.set_mtu(rtnl, old))
}

/// Attaches an XDP program, or detaches the present one (`ixgbe_xdp_setup`).
pub(crate) fn set_program(dev: &net::Device<Adapter>, rtnl: &Rtnl, prog: Option<Prog>) -> Result {
    let a = dev.data();
    if a.state.lock().sw.num_vfs != 0 || !ixgbe_xdp::mtu_fits(dev.mtu()) {
        return Err(EINVAL);
    }
    let attached = prog.is_some();
    // Programs follow one another without a stop; the first and the last make and take queues.
    let old = a.xdp_prog.swap(prog);
    if attached == old.is_some() {
        return Ok(());
    }
    if reinit(dev, rtnl).is_err() {
        // As it was before: the core keeps the program that it wanted to pass on.
        drop(a.xdp_prog.swap(old));
        if let Err(e) = up(dev, rtnl) {
            dev_err!(
                dev.parent(),
                "Cannot bring the interface up again: {:?}\n",
                e
            );
        }
        return Err(EINVAL);
    }
    dev.set_redirect_target(rtnl, attached);
    Ok(())
}

/// Switches features (`ixgbe_set_features`).
pub(crate) fn set_features(dev: &net::Device<Adapter>, rtnl: &Rtnl, wanted: u64) -> Result {
    let a = dev.data();
    let changed = wanted ^ dev.features();
    if changed & features::RXALL != 0 {
        let set = |on| a.state.lock().rx_mode.rxall = on;
        set(wanted & features::RXALL != 0);
        // Other buffers, see `BufLayout`.
        reinit(dev, rtnl).inspect_err(|_| set(wanted & features::RXALL == 0))?;
    }
    let rings = a.rings.lock();
    let state = &mut *a.state.lock();
    if changed & features::HW_VLAN_CTAG_RX != 0 {
        let first = Rings::first_queue(state);
        let on = wanted & features::HW_VLAN_CTAG_RX != 0;
        for q in 0..rings.napis.len() as u32 {
            let val = if on { regs::RXDCTL_VME } else { 0 };
            let reg = regs::rxdctl(first.wrapping_add(q));
            libixgbe::io::modify(&a.hw, reg, regs::RXDCTL_VME, val);
        }
    }
    if changed & (features::HW_VLAN_CTAG_FILTER | features::RXALL) != 0 {
        store_rx_mode(dev, state, wanted);
    }
    Ok(())
}

/// Takes over the lists of addresses (`ixgbe_set_rx_mode`).
pub(crate) fn set_rx_mode(dev: &net::Device<Adapter>, addrs: &AddrLists<'_>) -> Result {
    let a = dev.data();
    let mc = copy(&addrs.mc)?;
    let uc = copy(&addrs.uc)?;
    let state = &mut *a.state.lock();
    state.sw.mc = libixgbe::filter::McTable::new();
    for addr in &mc {
        state.sw.mc.add(mta_hash(addr));
    }
    state.rx_mode.multicast = !mc.is_empty();
    state.rx_mode.promisc = dev.is_promisc();
    state.rx_mode.allmulti = dev.is_allmulti();
    state.uc = uc;
    apply_rx_mode(dev, state);
    Ok(())
}

fn copy(list: &net::HwAddrs<'_>) -> Result<KVec<net::MacAddr>> {
    let n = list.count() as usize;
    let mut out = KVec::with_capacity(n, GFP_KERNEL)?;
    out.resize(n, [0; 6], GFP_KERNEL)?;
    let got = list.copy_to(&mut out);
    out.truncate(got.min(n));
    Ok(out)
}

/// Programs addresses, multicast table and modes from what was asked for last.
fn apply_rx_mode(dev: &net::Device<Adapter>, state: &mut State) {
    let hw = &dev.data().hw;
    let State {
        sw,
        vfs,
        uc,
        rx_mode,
        ..
    } = &mut *state;
    let pool = sw.pf_pool();
    for addr in uc.iter() {
        sw.claim(hw, vfs, None, addr);
    }
    // What does not fit is received by promiscuity.
    rx_mode.uc_overflow = !sw.macs.set_pf_list(hw, uc, pool);
    sw.store_multicast(hw, vfs);
    store_rx_mode(dev, state, dev.features());
}

fn store_rx_mode(dev: &net::Device<Adapter>, state: &mut State, wanted: u64) {
    let hw = &dev.data().hw;
    let pool = state.sw.pf_pool();
    state.rx_mode.store(hw, pool);
    let filter = wanted & features::HW_VLAN_CTAG_FILTER != 0 && !state.rx_mode.promisc;
    let pf_pool = state.sw.pools.map(|_| pool);
    state.sw.vlans.set_promisc(hw, !filter, pf_pool);
}

/// Whether the device can be used at all.
pub(crate) fn present(hw: &Hw) -> bool {
    !hw.removed()
}
