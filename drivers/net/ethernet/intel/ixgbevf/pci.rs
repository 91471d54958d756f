// SPDX-License-Identifier: GPL-2.0
//! The PCI driver (`ixgbevf_probe`, `ixgbevf_remove`, power and error handling).

use crate::{
    adapter::{
        Adapter,
        Filters,
        Refused,
        State,
        DEFAULT_RXD,
        DEFAULT_TXD, //
    },
    hw::Hw,
    marking::Migration,
    stats::HwStats,
    vector::ITR_DYNAMIC, //
};
use kernel::{
    device::Core,
    dma::DmaMask,
    pci::{
        DeviceId,
        Vendor, //
    },
    prelude::*,
    sync::Arc,
    time::Instant,
};
use libixgbe::{
    chip::Chip,
    mbx::RSS_KEY_SIZE,
    rss::key_of,
    vf::{
        Link,
        Vf,
        MAX_QUEUES, //
    }, //
};
use nic::{
    net::{
        features,
        is_valid_ether_addr,
        random_ether_addr,
        rss_key_fill,
        Registration,
        Rtnl,
        Setup,
        Unregistered, //
    },
    pci::{
        Bar,
        ChannelState,
        DeviceExt as _,
        Driver,
        Enabled,
        ErsResult, //
    },
};

/// BAR 0 of a VF is at least this long.
const BAR_LEN: usize = 0x4000;
/// Longest frame, header and FCS included (`IXGBE_MAX_JUMBO_FRAME_SIZE`).
const MAX_JUMBO_FRAME: u32 = 9728;

kernel::pci_device_table!(
    PCI_TABLE,
    <Ixgbevf as Driver>::IdInfo,
    [
        (DeviceId::from_id(Vendor::INTEL, 0x10ed), ()),
        (DeviceId::from_id(Vendor::INTEL, 0x1515), ()),
        (DeviceId::from_id(Vendor::INTEL, 0x1565), ()),
    ]
);

/// The driver.
pub(crate) struct Ixgbevf;

/// What a bound function has; dropped in this order.
pub(crate) struct Bound {
    netdev: Registration<Adapter>,
    enabled: Enabled,
}

/// What can be offloaded in tunnels once the outer headers are prepared
/// (`IXGBEVF_GSO_PARTIAL_FEATURES`).
const GSO_PARTIAL: u64 = features::GSO_GRE
    | features::GSO_GRE_CSUM
    | features::GSO_IPXIP4
    | features::GSO_IPXIP6
    | features::GSO_UDP_TUNNEL
    | features::GSO_UDP_TUNNEL_CSUM;

/// Feature sets as the C driver has them.
fn setup(address: nic::net::MacAddr, jumbo: bool) -> Setup {
    let hw = features::SG
        | features::TSO
        | features::TSO6
        | features::RXCSUM
        | features::HW_CSUM
        | features::SCTP_CRC
        | features::GSO_PARTIAL
        | GSO_PARTIAL;
    let base = hw | features::HIGHDMA;
    let vlan = base | features::TSO_MANGLEID;
    Setup {
        features: base
            | features::HW_VLAN_CTAG_FILTER
            | features::HW_VLAN_CTAG_RX
            | features::HW_VLAN_CTAG_TX,
        hw_features: hw,
        vlan_features: vlan,
        mpls_features: features::SG
            | features::TSO
            | features::TSO6
            | features::HW_CSUM
            | GSO_PARTIAL,
        hw_enc_features: vlan,
        gso_partial_features: GSO_PARTIAL,
        min_mtu: 68,
        max_mtu: if jumbo {
            MAX_JUMBO_FRAME - 18
        } else {
            1500 + 4
        },
        address,
        perm_address: address,
        xdp_features: features::XDP_BASIC | features::XDP_REDIRECT,
        watchdog_ms: 5000,
        unicast_filter: true,
        ..Setup::default()
    }
}

#[vtable]
impl Driver for Ixgbevf {
    type IdInfo = ();
    type Data = Bound;
    const ID_TABLE: kernel::pci::IdTable<()> = &PCI_TABLE;

    fn probe(
        pdev: &kernel::pci::Device<Core<'_>>,
        _info: Option<&()>,
    ) -> Result<impl PinInit<Bound, Error>> {
        let enabled = Enabled::new(pdev, c"ixgbevf_rust", DmaMask::new::<64>())?;
        let hw = Hw::new(Arc::new(Bar::new(pdev, 0, BAR_LEN)?, GFP_KERNEL)?);
        if hw.removed() {
            return Err(EIO);
        }
        let chip = Chip::of_vf(pdev.device_id()).unwrap_or_default();
        let state = State {
            vf: Vf::new(),
            queues: 1,
            xdp_queues: 0,
            vectors: None,
            up: None,
            want_up: false,
            stopped: true,
            tx_ring_count: DEFAULT_TXD,
            rx_ring_count: DEFAULT_RXD,
            rx_itr_setting: ITR_DYNAMIC,
            legacy_rx: false,
            mac: [0; 6],
            filters: Filters::new(),
            link: Link::default(),
            link_state: true,
            hw_stats: HwStats::default(),
            refused: Refused::default(),
            unsure: false,
            last_reset: Instant::now(),
            tx_timeout_count: 0,
            migration: Migration::default(),
            own_rss: chip.has_rss_of_pools().then(|| {
                let mut key = [0; RSS_KEY_SIZE];
                rss_key_fill(&mut key);
                key_of(&key)
            }),
        };
        let mut netdev = Unregistered::new(
            pdev.as_ref(),
            MAX_QUEUES,
            MAX_QUEUES,
            Adapter::new(hw, state),
        )?;

        let adapter = netdev.data();
        let mut st = adapter.state.lock();
        if !adapter.reset(&mut st) {
            dev_info!(pdev, "PF still in reset state.  Is the PF interface up?\n");
        } else if st.vf.perm_addr.is_none_or(|a| a == [0; 6]) {
            dev_info!(pdev, "MAC address not assigned by administrator.\n");
        }
        if !is_valid_ether_addr(&st.mac) {
            dev_info!(pdev, "Assigning random MAC address\n");
            st.mac = random_ether_addr();
        }
        let (queues, _) = adapter.usual_queues(&mut st);
        adapter.alloc_vectors(&netdev, &mut st, queues)?;
        st.hw_stats.rebase(&adapter.hw);
        let (mac, jumbo) = (st.mac, st.vf.api >= libixgbe::mbx::ApiVersion::V11);
        drop(st);

        netdev.setup(&setup(mac, jumbo));
        netdev.set_ethtool();
        let netdev = netdev.register()?;
        let [a, b, c, d, e, f] = mac;
        dev_info!(
            pdev,
            "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}\n",
            a,
            b,
            c,
            d,
            e,
            f
        );
        dev_info!(pdev, "Intel(R) {} Virtual Function\n", chip.name());
        Ok(Ok(Bound { netdev, enabled }))
    }

    /// A bus error was seen (`ixgbevf_io_error_detected`).
    fn error_detected(
        pdev: &kernel::pci::Device<Core<'_>>,
        data: Pin<&Bound>,
        state: ChannelState,
    ) -> ErsResult {
        data.quiesce();
        if state == ChannelState::PermFailure {
            return ErsResult::Disconnect;
        }
        data.enabled.disable(pdev);
        ErsResult::NeedReset
    }

    /// The slot was reset (`ixgbevf_io_slot_reset`).
    fn slot_reset(pdev: &kernel::pci::Device<Core<'_>>, data: Pin<&Bound>) -> ErsResult {
        if data.enabled.recover(pdev).is_err() {
            dev_err!(pdev, "Cannot re-enable PCI device after reset.\n");
            return ErsResult::Disconnect;
        }
        let adapter = data.netdev.data();
        adapter.reset(&mut adapter.state.lock());
        ErsResult::Recovered
    }

    /// Traffic may flow again (`ixgbevf_io_resume`).
    fn error_resume(_pdev: &kernel::pci::Device<Core<'_>>, data: Pin<&Bound>) {
        // The core has no use for an error here; the service task tries again.
        let _ = data.restart();
    }

    /// The function is about to be reset through sysfs.
    fn reset_prepare(_pdev: &kernel::pci::Device<Core<'_>>, data: Pin<&Bound>) {
        data.quiesce();
    }

    /// The function was reset, and the PCI core has put its configuration space back.
    fn reset_done(_pdev: &kernel::pci::Device<Core<'_>>, data: Pin<&Bound>) {
        let adapter = data.netdev.data();
        // Without an answer of the PF the service task tries again.
        adapter.reset(&mut adapter.state.lock());
        let _ = data.restart();
    }

    fn suspend(pdev: &kernel::pci::Device<Core<'_>>, data: Pin<&Bound>) -> Result {
        data.quiesce();
        data.netdev.data().state.lock().vectors = None;
        data.enabled.disable(pdev);
        Ok(())
    }

    fn resume(pdev: &kernel::pci::Device<Core<'_>>, data: Pin<&Bound>) -> Result {
        data.enabled.reenable(pdev)?;
        let adapter = data.netdev.data();
        let answered = {
            let mut st = adapter.state.lock();
            let answered = adapter.reset(&mut st);
            let (queues, _) = adapter.usual_queues(&mut st);
            adapter.alloc_vectors(&data.netdev, &mut st, queues)?;
            answered
        };
        match data.restart() {
            // Nothing makes a PF wake up before its VFs (`dpm_resume()` goes by parents and device
            // links). Where the C driver gives up, the service task tries again.
            Err(_) if !answered => Ok(()),
            r => r,
        }
    }

    fn shutdown(pdev: &kernel::pci::Device<Core<'_>>, data: Pin<&Bound>) {
        data.quiesce();
        if !pdev.channel_offline() {
            data.enabled.disable(pdev);
        }
    }
}

impl Bound {
    /// Detaches the interface and stops all DMA (`ixgbevf_suspend`).
    fn quiesce(&self) {
        let rtnl = Rtnl::lock();
        self.netdev.detach(&rtnl);
        let adapter = self.netdev.data();
        let mut st = adapter.state.lock();
        adapter.down(&self.netdev, &rtnl, &mut st);
    }

    /// Brings the interface back to what it was (`ixgbevf_resume`).
    fn restart(&self) -> Result {
        let rtnl = Rtnl::lock();
        let adapter = self.netdev.data();
        let r = {
            let mut st = adapter.state.lock();
            if st.want_up {
                adapter.up(&self.netdev, &rtnl, &mut st)
            } else {
                Ok(())
            }
        };
        self.netdev.attach(&rtnl);
        r
    }
}
