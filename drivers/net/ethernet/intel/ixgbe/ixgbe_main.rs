// SPDX-License-Identifier: GPL-2.0
//! Driver of the Intel 82599, X540 and X550 physical functions.
//!
//! | file | what |
//! |---|---|
//! | here | PCI driver, probe and removal, callbacks of the network device |
//! | [`ixgbe_common`] | registers and time for `libixgbe` |
//! | [`ixgbe_ethtool`], [`ixgbe_diag`], [`ixgbe_link`] | `ethtool`; self tests; link settings |
//! | [`ixgbe_ids`] | which devices are driven |
//! | [`ixgbe_lib`] | rings and vectors: open, close, reset |
//! | [`ixgbe_txrx`] | what runs per frame |
//! | [`ixgbe_xdp`] | XDP programs |
//! | [`ixgbe_health`] | what went wrong: health reporters, VFs that misbehave |
//! | [`ixgbe_service`] | what runs beside: link, counters, events |
//! | [`ixgbe_phy`], [`ixgbe_sfp`] | copper PHYs; modules of a cage |
//! | [`ixgbe_sriov`] | virtual functions |
//! | [`ixgbe_devlink`] | devlink |
//! | [`ixgbe_stats`] | counters of the port |
//! | [`ixgbe_movers`] | what is known of VFs that move |
//! | [`ixgbe_migration`] | saving and loading of virtual functions, for the VFIO variant driver |
//!
//! Locks, outermost first: the device lock of the PCI core; RTNL; [`Adapter::rings`], whose holder
//! may sleep for hardware and who alone starts and stops queues; [`Adapter::cage`], whose holder
//! may wait some hundred milliseconds for a module; [`Adapter::state`], which covers every register
//! that is not a queue's: filters, link, and all configuration of VFs. Per frame nothing is locked.
#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]

mod ixgbe_common;
mod ixgbe_devlink;
mod ixgbe_diag;
mod ixgbe_ethtool;
mod ixgbe_health;
mod ixgbe_ids;
mod ixgbe_lib;
mod ixgbe_link;
mod ixgbe_migration;
mod ixgbe_movers;
mod ixgbe_phy;
mod ixgbe_service;
mod ixgbe_sfp;
mod ixgbe_sriov;
mod ixgbe_stats;
mod ixgbe_txrx;
mod ixgbe_xdp;

use ixgbe_common::{
    transactions_pending,
    Hw, //
};
use ixgbe_lib::Rings;
use ixgbe_stats::PortStats;
use ixgbe_txrx::{
    RingStats,
    TxQueue, //
};
use kernel::{
    device::Core,
    dma::DmaMask,
    irq::IrqReturn,
    new_mutex,
    pci,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};
use libixgbe::{
    board::Board,
    cage::Cage,
    eeprom,
    filter::RxMode,
    itr,
    link::{
        FlowControl,
        Link, //
    },
    mac::{
        self,
        Mac, //
    },
    mbx::RSS_KEY_SIZE,
    mbx_ext::FEATURE_MIGRATION,
    rss::{
        self,
        Rss,
        MAX_RSS_QUEUES, //
    },
    sfp,
    sriov::{
        vf::{
            Switch,
            VfState,
            MAX_JUMBO_FRAME_SIZE, //
        }, //
    },
    stats::{
        HwStats,
        SpoofLog, //
    }, //
};
use nic::{
    devlink,
    net::{
        self,
        features,
        xdp::{
            Prog,
            ProgSlot,
            XdpFrames, //
        },
        AddrLists,
        LinkStats,
        MacAddr,
        QueueStats,
        Rtnl,
        Setup,
        SkBuff,
        SkbRef,
        TxResult,
        Unregistered,
        VfConfig,
        VfStats, //
    },
    new_sem_lock,
    pci::{
        Bar,
        ChannelState,
        DeviceExt,
        Enabled,
        ErsResult, //
    },
    sync::{
        Once,
        SemLock, //
    },
};

const DRIVER_NAME: &CStr = c"ixgbe_rust";

/// Bytes of Ethernet header and FCS.
const ETH_OVERHEAD: u32 = 18;

/// Queue pairs that the device is registered with; RSS uses up to 16 of them.
const MAX_QUEUES: u32 = MAX_RSS_QUEUES;

/// `NETIF_MSG_DRV | NETIF_MSG_PROBE | NETIF_MSG_LINK`
const DEFAULT_MSG_ENABLE: u32 = 7;

/// Something for the service task: the link changed.
pub(crate) const EVENT_LINK: u32 = 1 << 0;
/// A VF wants something.
pub(crate) const EVENT_MAILBOX: u32 = 1 << 1;
/// The device must be reset.
pub(crate) const EVENT_RESET: u32 = 1 << 2;
/// A transmit queue hung.
pub(crate) const EVENT_TX_TIMEOUT: u32 = 1 << 3;
/// A module came into the cage.
pub(crate) const EVENT_MODULE: u32 = 1 << 4;
/// The module receives a signal.
pub(crate) const EVENT_SIGNAL: u32 = 1 << 5;
/// The link is to be configured anew.
pub(crate) const EVENT_CONFIGURE: u32 = 1 << 6;
/// The device is too hot.
pub(crate) const EVENT_HEAT: u32 = 1 << 7;

/// Everything about the device that changes slowly, behind one lock.
pub(crate) struct State {
    pub(crate) mac: Mac,
    pub(crate) fc: FlowControl,
    pub(crate) link: Link,
    /// The cage as it was found last.
    pub(crate) cage: Cage,
    /// Speeds that are offered, 0 for all.
    pub(crate) advertised: u32,
    pub(crate) sw: KBox<Switch>,
    pub(crate) vfs: KVec<VfState>,
    /// Where the clock begins.
    pub(crate) born: Instant<Monotonic>,
    /// When the VFs' mailboxes were last looked at for what nobody reads.
    pub(crate) mailbox_age: Instant<Monotonic>,
    pub(crate) migration: ixgbe_movers::Migration,
    pub(crate) health: ixgbe_health::Health,
    /// While the PF is reset: command registers of the VFs, by number.
    vf_commands: KVec<(u32, u16)>,
    /// Unicast addresses beyond the interface's own.
    pub(crate) uc: KVec<MacAddr>,
    pub(crate) rx_mode: RxMode,
    pub(crate) hw_stats: KBox<HwStats>,
    /// Spoofed frames that the log knows of.
    pub(crate) spoof_log: SpoofLog,
    /// The RSS table is the user's: it stays for as long as its queues are there.
    pub(crate) rss_set_by_user: bool,
    /// LEDCTL while the identification light is on.
    pub(crate) led_orig: Option<u32>,
}

/// Private data of the network device.
#[pin_data]
pub(crate) struct Adapter {
    pub(crate) hw: Hw,
    /// What kind of device it is.
    pub(crate) board: Board,
    /// Its cage. A board without one has one that is never looked into.
    #[pin]
    pub(crate) cage: Mutex<Cage>,
    /// A link through the cage counts only if it is no crosstalk.
    pub(crate) crosstalk_fix: bool,
    /// One vector has all causes.
    pub(crate) single_vector: bool,
    #[pin]
    pub(crate) rings: Mutex<Rings>,
    #[pin]
    pub(crate) state: SemLock<State>,
    pub(crate) xdp_prog: ProgSlot,
    /// By queue pair.
    pub(crate) ring_stats: KVec<Arc<RingStats>>,
    /// Counters of the port as the service task saw them last, for readers that cannot sleep.
    pub(crate) port_stats: PortStats,
    /// `EVENT_*` for the service task.
    events: Atomic<u32>,
    /// Resets after a hang of transmission.
    pub(crate) tx_timeout_count: Atomic<u32>,
    /// Queue that hung last.
    pub(crate) hung_queue: Atomic<u32>,
    /// Bus errors that were a VF's, of which recovery has not yet come to its end.
    vf_errors: Atomic<u32>,
    /// Interrupts that announced a change of the link.
    pub(crate) lsc_count: Atomic<u32>,
    /// Speed of the link in Mb/s, for the polls; 0 where there is none.
    pub(crate) link_mbps: Atomic<u32>,
    /// `NETIF_MSG_*`.
    pub(crate) msg_enable: Atomic<u32>,
}

impl Adapter {
    /// Has the service task look at `event` at once. From any context.
    pub(crate) fn raise(dev: &net::Device<Self>, event: u32) {
        dev.data().events.update(|e| e | event);
        dev.schedule_service(0);
    }

    /// Takes all events.
    pub(crate) fn take_events(&self) -> u32 {
        self.events.xchg(0, Full)
    }

    /// Counters of queue pair `queue`, or of all from the `first` that is not used.
    fn of_queues(
        dev: &net::Device<Self>,
        queue: Option<u32>,
        first: u32,
    ) -> impl Iterator<Item = &Arc<RingStats>> {
        let own = queue.map_or(first..MAX_QUEUES, |q| q..q.saturating_add(1));
        let stats = &dev.data().ring_stats;
        stats
            .get(own.start as usize..own.end as usize)
            .unwrap_or_default()
            .iter()
    }

    /// Whether there is one.
    pub(crate) fn has_events(&self) -> bool {
        self.events.load(Acquire) != 0
    }
}

/// Private data of the PCI device. Fields are dropped in this order.
struct IxgbeDriver {
    netdev: devlink::Registration<Adapter>,
    enabled: Enabled,
}

/// The reset and its errors, in words.
fn reset_hw(
    pdev: &pci::Device<kernel::device::Bound>,
    hw: &Hw,
    mac: &mut Mac,
    fc: &FlowControl,
) -> Result {
    let pending = || transactions_pending(pdev);
    mac.reset(hw, pending)
        .and_then(|()| mac.start(hw, fc))
        .map_err(|e| {
            match e {
                mac::Error::ResetTimeout => dev_err!(pdev, "Reset did not complete\n"),
                mac::Error::PrimaryTimeout => dev_err!(pdev, "primary disable timed out\n"),
                mac::Error::Busy => dev_err!(pdev, "Firmware keeps the PHY\n"),
                mac::Error::Link(e) => dev_err!(pdev, "Link set-up failed: {:?}\n", e),
            }
            EIO
        })
}

#[vtable]
impl nic::pci::Driver for IxgbeDriver {
    type IdInfo = Board;
    type Data = Self;
    const ID_TABLE: pci::IdTable<Board> = ixgbe_ids::TABLE;

    fn probe(
        pdev: &pci::Device<Core<'_>>,
        info: Option<&Board>,
    ) -> Result<impl PinInit<Self, Error>> {
        // The table has no other device, but an override may: then its row is not the device's.
        let id = pdev.device_id();
        let board = match (Board::of_device(id), info) {
            (Ok(board), None) | (Ok(_), Some(&board)) => board,
            (Err(missing), _) => {
                dev_err!(pdev, "Device {:04x} is not supported: {}\n", id, missing);
                return Err(EOPNOTSUPP);
            }
        };
        let enabled = Enabled::new(pdev, DRIVER_NAME, DmaMask::new::<64>())?;
        let hw = Hw::new(Bar::new(pdev, 0, Hw::MIN_LEN)?)?;
        if let Some(fwsm) = eeprom::firmware_error(&hw) {
            dev_warn!(
                pdev,
                "Warning firmware error detected FWSM: 0x{:08X}\n",
                fwsm
            );
        }

        let chip = board.chip();
        let media = ixgbe_phy::probe(pdev, &hw, board)?;
        let (mut mac, fc) = (Mac::of(chip), FlowControl::over(media));
        let allow_any = *module_parameters::allow_unsupported_sfp.value_ref();
        let mut cage = Cage::new(&hw, allow_any);
        if board.has_cage() {
            // Before the reset, which then takes the link's settings from the EEPROM.
            ixgbe_sfp::probe(pdev, &hw, &mut cage);
        }
        reset_hw(pdev, &hw, &mut mac, &fc)?;
        if let Err(e) = chip.validate_eeprom(&hw) {
            dev_err!(pdev, "The EEPROM Checksum Is Not Valid ({:?})\n", e);
            return Err(EIO);
        }
        let crosstalk_fix = board.has_cage() && sfp::needs_crosstalk_fix(&hw);
        let addr = mac.perm_addr;
        if !net::is_valid_ether_addr(&addr) {
            dev_err!(pdev, "invalid MAC address\n");
            return Err(EIO);
        }

        let rings = Rings::new(pdev, net::num_online_cpus().clamp(1, MAX_QUEUES))?;
        let single_vector = rings.mode == itr::Mode::Single;
        if let Err(e) = pdev.set_totalvfs(libixgbe::sriov::MAX_VFS as u16) {
            dev_warn!(pdev, "Cannot limit the number of VFs ({:?})\n", e);
        }

        let mut key_bytes = [0u8; RSS_KEY_SIZE];
        net::rss_key_fill(&mut key_bytes);
        let rss = Rss::new(rss::key_of(&key_bytes), rings.queues);
        let mut sw = KBox::new(Switch::new(rss), GFP_KERNEL)?;
        sw.chip = chip;
        sw.features = FEATURE_MIGRATION;
        let mut ring_stats = KVec::with_capacity(MAX_QUEUES as usize, GFP_KERNEL)?;
        for _ in 0..MAX_QUEUES {
            ring_stats.push(Arc::new(RingStats::default(), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let state = State {
            mac,
            fc,
            link: Link::default(),
            cage,
            advertised: 0,
            sw,
            vfs: KVec::new(),
            born: Instant::now(),
            mailbox_age: Instant::now(),
            migration: ixgbe_movers::Migration::new(),
            health: ixgbe_health::Health::new(chip),
            vf_commands: KVec::new(),
            uc: KVec::new(),
            rx_mode: RxMode::default(),
            hw_stats: KBox::new(HwStats::default(), GFP_KERNEL)?,
            spoof_log: SpoofLog::default(),
            rss_set_by_user: false,
            led_orig: None,
        };
        let real_queues = rings.queues;

        let mut netdev = Unregistered::new(
            pdev.as_ref(),
            MAX_QUEUES,
            MAX_QUEUES,
            try_pin_init!(Adapter {
                hw,
                board,
                cage <- new_mutex!(cage),
                crosstalk_fix,
                single_vector,
                rings <- new_mutex!(rings),
                state <- new_sem_lock!(state),
                xdp_prog: ProgSlot::new(),
                ring_stats,
                port_stats: PortStats::default(),
                events: Atomic::new(0),
                tx_timeout_count: Atomic::new(0),
                hung_queue: Atomic::new(0),
                vf_errors: Atomic::new(0),
                lsc_count: Atomic::new(0),
                link_mbps: Atomic::new(0),
                msg_enable: Atomic::new(DEFAULT_MSG_ENABLE),
            }? Error),
        )?;
        netdev.setup(&setup(addr));
        netdev.set_ethtool();
        {
            let rtnl = Rtnl::lock();
            netdev.set_real_num_queues(&rtnl, real_queues, real_queues)?;
        }
        {
            let a = netdev.data();
            let mut state = a.state.lock();
            let pool = state.sw.pf_pool();
            state.sw.macs.reset(&a.hw, &addr, pool);
        }
        let netdev = devlink::Registration::new(netdev, 0)?;
        dev_info!(
            pdev,
            "Intel(R) 10 Gigabit Network Connection {}, {} queue pairs, MAC {:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}\n",
            netdev.name(), real_queues, addr[0], addr[1], addr[2], addr[3], addr[4], addr[5]
        );

        Ok(Ok::<_, Error>(Self { netdev, enabled }))
    }

    fn remove(pdev: &pci::Device<Core<'_>>, data: Pin<&Self>) {
        ixgbe_sriov::remove(pdev, &data.netdev);
        mac::set_hw_control(&data.netdev.data().hw, false);
    }

    fn sriov_configure(
        pdev: &pci::Device<Core<'_>>,
        data: Pin<&Self>,
        num_vfs: u32,
    ) -> Result<u32> {
        ixgbe_sriov::configure(pdev, &data.netdev, num_vfs)
    }

    fn error_detected(
        pdev: &pci::Device<Core<'_>>,
        data: Pin<&Self>,
        state: ChannelState,
    ) -> ErsResult {
        let dev = &*data.netdev;
        if pdev.num_vf() != 0 && ixgbe_health::bus_error_of_vf(pdev, dev) {
            dev.data().vf_errors.fetch_add(1, Relaxed);
            return ErsResult::Recovered;
        }
        if !dev.present() {
            return ErsResult::Disconnect;
        }
        data.quiesce();
        if state == ChannelState::PermFailure {
            return ErsResult::Disconnect;
        }
        data.enabled.disable(pdev);
        ErsResult::NeedReset
    }

    fn slot_reset(pdev: &pci::Device<Core<'_>>, data: Pin<&Self>) -> ErsResult {
        if data.enabled.recover(pdev).is_err() {
            dev_err!(pdev, "Cannot re-enable PCI device after reset.\n");
            return ErsResult::Disconnect;
        }
        let dev = &*data.netdev;
        ixgbe_lib::reset(dev, &mut dev.data().state.lock());
        ErsResult::Recovered
    }

    fn error_resume(pdev: &pci::Device<Core<'_>>, data: Pin<&Self>) {
        let errors = &data.netdev.data().vf_errors;
        if errors.update(|n| n.saturating_sub(1)) != 0 {
            dev_info!(pdev, "Resuming after VF err\n");
            return;
        }
        // Said by `restart`; the core has no use for an error here.
        let _ = data.restart();
    }

    fn reset_prepare(pdev: &pci::Device<Core<'_>>, data: Pin<&Self>) {
        let commands = match ixgbe_sriov::commands(pdev) {
            Ok(commands) => commands,
            Err(_) => {
                dev_warn!(
                    pdev,
                    "No memory: VFs must be probed again after the reset\n"
                );
                KVec::new()
            }
        };
        data.quiesce();
        data.netdev.data().state.lock().vf_commands = commands;
    }

    fn reset_done(pdev: &pci::Device<Core<'_>>, data: Pin<&Self>) {
        let dev = &*data.netdev;
        {
            let state = &mut *dev.data().state.lock();
            ixgbe_sriov::restore(pdev, &core::mem::take(&mut state.vf_commands));
            ixgbe_lib::reset(dev, state);
        }
        // Said by `restart`; the core has no use for an error here.
        let _ = data.restart();
    }

    fn suspend(pdev: &pci::Device<Core<'_>>, data: Pin<&Self>) -> Result {
        data.quiesce();
        mac::set_hw_control(&data.netdev.data().hw, false);
        data.enabled.disable(pdev);
        Ok(())
    }

    fn resume(pdev: &pci::Device<Core<'_>>, data: Pin<&Self>) -> Result {
        data.enabled.reenable(pdev)?;
        let dev = &*data.netdev;
        ixgbe_lib::reset(dev, &mut dev.data().state.lock());
        data.restart()
    }

    fn shutdown(pdev: &pci::Device<Core<'_>>, data: Pin<&Self>) {
        data.quiesce();
        mac::set_hw_control(&data.netdev.data().hw, false);
        if !pdev.channel_offline() {
            data.enabled.disable(pdev);
        }
    }
}

impl IxgbeDriver {
    /// Detaches the interface and stops all DMA (`ixgbe_close_suspend`).
    fn quiesce(&self) {
        let dev = &*self.netdev;
        let rtnl = Rtnl::lock();
        dev.detach(&rtnl);
        if dev.running() {
            ixgbe_lib::down(dev, &rtnl);
        }
    }

    /// Lets traffic flow again.
    fn restart(&self) -> Result {
        let dev = &*self.netdev;
        let rtnl = Rtnl::lock();
        let result = if dev.running() {
            ixgbe_lib::up(dev, &rtnl)
        } else {
            Ok(())
        };
        // Also an interface that could not be brought up: the service task tries again, as after
        // any other reset.
        dev.attach(&rtnl);
        result.inspect_err(|e| {
            dev_err!(dev.parent(), "Cannot bring the interface up: {:?}\n", e);
            Adapter::raise(dev, EVENT_RESET);
        })
    }
}

/// What the network device can do, as the C driver's does.
fn setup(addr: MacAddr) -> Setup {
    use features::*;
    let partial =
        GSO_GRE | GSO_GRE_CSUM | GSO_IPXIP4 | GSO_IPXIP6 | GSO_UDP_TUNNEL | GSO_UDP_TUNNEL_CSUM;
    let base = SG | TSO | TSO6 | RXHASH | RXCSUM | HW_CSUM | SCTP_CRC | GSO_PARTIAL | GSO_UDP_L4;
    let offloads = base | partial;
    let vlan = HW_VLAN_CTAG_FILTER | HW_VLAN_CTAG_RX | HW_VLAN_CTAG_TX;
    Setup {
        features: offloads | vlan | HIGHDMA,
        hw_features: offloads | vlan | RXALL,
        vlan_features: offloads | TSO_MANGLEID | HIGHDMA,
        hw_enc_features: offloads | TSO_MANGLEID,
        mpls_features: SG | TSO | TSO6 | HW_CSUM,
        gso_partial_features: partial,
        xdp_features: XDP_BASIC | XDP_REDIRECT,
        min_mtu: 68,
        max_mtu: MAX_JUMBO_FRAME_SIZE - ETH_OVERHEAD,
        address: addr,
        perm_address: addr,
        watchdog_ms: 5000,
        unicast_filter: true,
        ..Setup::default()
    }
}

#[vtable]
impl net::Driver for Adapter {
    type TxQueue = TxQueue;

    fn open(dev: &net::Device<Self>, rtnl: &Rtnl) -> Result {
        ixgbe_lib::up(dev, rtnl)
    }

    fn stop(dev: &net::Device<Self>, rtnl: &Rtnl) {
        ixgbe_lib::down(dev, rtnl);
        mac::set_hw_control(&dev.data().hw, false);
    }

    #[inline]
    fn start_xmit(_dev: &net::Device<Self>, queue: &mut TxQueue, skb: SkBuff) -> TxResult {
        queue.xmit(skb)
    }

    fn features_check(_dev: &net::Device<Self>, skb: &SkbRef, features: u64) -> u64 {
        // Length fields of the context descriptor: 7 bits for the MAC header, 9 for the IP header
        // (7.2.3.2.3).
        const MAX_MAC_HDR_LEN: u32 = 127;
        const MAX_NETWORK_HDR_LEN: u32 = 511;
        let l3 = skb.network_offset();
        let l4 = skb.csum_start_offset().wrapping_sub(l3);
        let csum = features::HW_CSUM | features::SCTP_CRC | features::GSO_UDP_L4;
        if l3 > MAX_MAC_HDR_LEN {
            return features & !(csum | features::HW_VLAN_CTAG_TX | features::TSO | features::TSO6);
        }
        if skb.csum_partial() && l4 > MAX_NETWORK_HDR_LEN {
            return features & !(csum | features::TSO | features::TSO6);
        }
        // The inner IP identification can only be right if it may repeat.
        if skb.encapsulation() && features & features::TSO_MANGLEID == 0 {
            return features & !features::TSO;
        }
        features
    }

    fn set_rx_mode(dev: &net::Device<Self>, addrs: &AddrLists<'_>) -> Result {
        ixgbe_lib::set_rx_mode(dev, addrs)
    }

    fn set_mac_address(dev: &net::Device<Self>, _rtnl: &Rtnl, addr: &MacAddr) -> Result {
        let a = dev.data();
        let State { sw, vfs, .. } = &mut *a.state.lock();
        sw.claim(&a.hw, vfs, None, addr);
        let pool = sw.pf_pool();
        sw.macs.set_default(&a.hw, addr, pool);
        Ok(())
    }

    fn change_mtu(dev: &net::Device<Self>, rtnl: &Rtnl, mtu: u32) -> Result {
        ixgbe_lib::change_mtu(dev, rtnl, mtu)
    }

    fn xdp_setup(dev: &net::Device<Self>, rtnl: &Rtnl, prog: Option<Prog>) -> Result {
        ixgbe_lib::set_program(dev, rtnl, prog)
    }

    fn xdp_xmit(dev: &net::Device<Self>, frames: &mut XdpFrames<'_>, flush: bool) -> Result {
        ixgbe_xdp::xmit(dev, frames, flush)
    }

    fn tx_timeout(dev: &net::Device<Self>, queue: u32) {
        let a = dev.data();
        a.tx_timeout_count.fetch_add(1, Relaxed);
        a.hung_queue.store(queue, Relaxed);
        Self::raise(dev, EVENT_TX_TIMEOUT);
    }

    fn rx_queue_stats(dev: &net::Device<Self>, queue: Option<u32>) -> QueueStats {
        let sum = |s: QueueStats, q: &Arc<RingStats>| QueueStats {
            packets: s.packets.wrapping_add(q.rx_packets.get()),
            bytes: s.bytes.wrapping_add(q.rx_bytes.get()),
            alloc_fail: s.alloc_fail.wrapping_add(q.rx_alloc_failed.get()),
            ..s
        };
        let first = dev.real_num_queues().1;
        Self::of_queues(dev, queue, first).fold(QueueStats::default(), sum)
    }

    fn tx_queue_stats(dev: &net::Device<Self>, queue: Option<u32>) -> QueueStats {
        let sum = |s: QueueStats, q: &Arc<RingStats>| QueueStats {
            packets: s.packets.wrapping_add(q.tx_packets.get()),
            bytes: s.bytes.wrapping_add(q.tx_bytes.get()),
            gso_packets: s.gso_packets.wrapping_add(q.tx_gso.get()),
            gso_wire_packets: s.gso_wire_packets.wrapping_add(q.tx_gso_segs.get()),
            ..s
        };
        let first = dev.real_num_queues().0;
        Self::of_queues(dev, queue, first).fold(QueueStats::default(), sum)
    }

    fn get_stats64(dev: &net::Device<Self>, stats: &mut LinkStats) {
        let a = dev.data();
        for s in &a.ring_stats {
            stats.rx_packets = stats.rx_packets.wrapping_add(s.rx_packets.get());
            stats.rx_bytes = stats.rx_bytes.wrapping_add(s.rx_bytes.get());
            stats.tx_packets = stats.tx_packets.wrapping_add(s.tx_packets.get());
            stats.tx_bytes = stats.tx_bytes.wrapping_add(s.tx_bytes.get());
            stats.tx_dropped = stats.tx_dropped.wrapping_add(s.tx_dropped.get());
        }
        a.port_stats.fill(stats);
    }

    fn vlan_rx_add_vid(dev: &net::Device<Self>, _rtnl: &Rtnl, vid: u16) -> Result {
        let a = dev.data();
        let mut state = a.state.lock();
        let pool = state.sw.pf_pool();
        state.sw.vlans.add(&a.hw, vid.into(), pool);
        Ok(())
    }

    fn vlan_rx_kill_vid(dev: &net::Device<Self>, _rtnl: &Rtnl, vid: u16) -> Result {
        let a = dev.data();
        let mut state = a.state.lock();
        let pool = state.sw.pf_pool();
        state.sw.vlans.remove(&a.hw, vid.into(), pool);
        Ok(())
    }

    fn set_features(dev: &net::Device<Self>, rtnl: &Rtnl, wanted: u64) -> Result {
        ixgbe_lib::set_features(dev, rtnl, wanted)
    }

    fn service(dev: &net::Device<Self>) {
        ixgbe_service::run(dev);
    }

    fn interrupt(dev: &net::Device<Self>) -> IrqReturn {
        ixgbe_service::interrupt(dev)
    }

    fn set_vf_mac(dev: &net::Device<Self>, _rtnl: &Rtnl, vf: u32, mac: &MacAddr) -> Result {
        ixgbe_sriov::set_vf_mac(dev, vf, mac)
    }

    fn set_vf_vlan(
        dev: &net::Device<Self>,
        _rtnl: &Rtnl,
        vf: u32,
        vlan: u16,
        qos: u8,
        proto: u16,
    ) -> Result {
        ixgbe_sriov::set_vf_vlan(dev, vf, vlan, qos, proto)
    }

    fn set_vf_rate(dev: &net::Device<Self>, _rtnl: &Rtnl, vf: u32, min: u32, max: u32) -> Result {
        ixgbe_sriov::set_vf_rate(dev, vf, min, max)
    }

    fn set_vf_spoofchk(dev: &net::Device<Self>, _rtnl: &Rtnl, vf: u32, on: bool) -> Result {
        ixgbe_sriov::set_vf_spoofchk(dev, vf, on)
    }

    fn set_vf_trust(dev: &net::Device<Self>, _rtnl: &Rtnl, vf: u32, on: bool) -> Result {
        ixgbe_sriov::set_vf_trust(dev, vf, on)
    }

    fn get_vf_config(dev: &net::Device<Self>, _rtnl: &Rtnl, vf: u32) -> Result<VfConfig> {
        ixgbe_sriov::get_vf_config(dev, vf)
    }

    fn set_vf_link_state(dev: &net::Device<Self>, _rtnl: &Rtnl, vf: u32, state: u32) -> Result {
        ixgbe_sriov::set_vf_link_state(dev, vf, state)
    }

    fn get_vf_stats(dev: &net::Device<Self>, _rtnl: &Rtnl, vf: u32, stats: &mut VfStats) -> Result {
        ixgbe_sriov::get_vf_stats(dev, vf, stats)
    }

    fn set_vf_rss_query_en(dev: &net::Device<Self>, _rtnl: &Rtnl, vf: u32, on: bool) -> Result {
        ixgbe_sriov::set_vf_rss_query_en(dev, vf, on)
    }
}

::ixgbe_migration::export_provider!(ixgbe_movers::Handle, DriverModule);

nic::module_pci_driver! {
    type: IxgbeDriver,
    name: "ixgbe_rust",
    authors: ["The ixgbe live migration project"],
    description: "Intel(R) 10 Gigabit PCI Express Network Driver",
    license: "GPL v2",
    params: {
        allow_unsupported_sfp: bool {
            default: false,
            description: "Allow unsupported and untested SFP+ modules on 82599-based adapters",
        },
    },
}
