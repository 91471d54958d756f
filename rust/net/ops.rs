// SPDX-License-Identifier: GPL-2.0
//! A network device, and what it asks of its driver.

use super::{
    rtnl::Rtnl,
    skb::{
        SkBuff,
        SkbRef, //
    },
    xdp,
    MacAddr, //
};
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    types::Opaque, //
};
use nic_bindings as raw;

/// Statistics of an interface, in packets and bytes (`struct rtnl_link_stats64`).
pub type LinkStats = raw::rtnl_link_stats64;

/// Statistics of a virtual function (`struct ifla_vf_stats`).
pub type VfStats = raw::ifla_vf_stats;

/// Statistics of one queue, for netdev-genl.
#[derive(Clone, Copy, Default)]
pub struct QueueStats {
    /// Frames.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Receive: buffers or socket buffers that could not be had.
    pub alloc_fail: u64,
    /// Transmit: frames that the device was to segment.
    pub gso_packets: u64,
    /// Transmit: segments of which they were.
    pub gso_wire_packets: u64,
}

impl QueueStats {
    pub(super) fn fill_rx(&self, to: &mut raw::netdev_queue_stats_rx) {
        to.packets = self.packets;
        to.bytes = self.bytes;
        to.alloc_fail = self.alloc_fail;
    }

    pub(super) fn fill_tx(&self, to: &mut raw::netdev_queue_stats_tx) {
        to.packets = self.packets;
        to.bytes = self.bytes;
        to.hw_gso_packets = self.gso_packets;
        to.hw_gso_wire_packets = self.gso_wire_packets;
    }
}

/// What became of a frame that was to be sent.
pub enum TxResult {
    /// It is in the ring, or was dropped.
    Done,
    /// The ring is full; the core keeps the frame. A driver that stops its queue in time never
    /// returns this.
    Busy(SkBuff),
}

/// Settings of a virtual function as `ip link show` prints them (`struct ifla_vf_info`).
#[derive(Clone, Copy, Default)]
pub struct VfConfig {
    /// Address.
    pub mac: MacAddr,
    /// Port VLAN, 0 for none.
    pub vlan: u16,
    /// Priority of the port VLAN.
    pub qos: u8,
    /// Whether frames with a foreign source address are dropped.
    pub spoofchk: bool,
    /// `IFLA_VF_LINK_STATE_*`: 0 auto, 1 enabled, 2 disabled.
    pub link_state: u32,
    /// In Mbit/s, 0 for none.
    pub min_tx_rate: u32,
    /// In Mbit/s, 0 for unlimited.
    pub max_tx_rate: u32,
    /// Whether the VF may ask for the RSS configuration.
    pub rss_query_en: bool,
    /// Whether the VF is trusted.
    pub trusted: bool,
}

/// A list of addresses as the core hands it to [`Driver::set_rx_mode`].
///
/// # Invariants
///
/// Valid for `'a`, the callback.
pub struct HwAddrs<'a>(*mut raw::netdev_hw_addr_list, PhantomData<&'a ()>);

impl HwAddrs<'_> {
    /// # Safety
    ///
    /// `list` upholds the type invariant.
    pub(super) unsafe fn from_raw(list: *mut raw::netdev_hw_addr_list) -> Self {
        Self(list, PhantomData)
    }

    /// How many addresses there are.
    pub fn count(&self) -> u32 {
        // SAFETY: The list is valid during the callback.
        u32::try_from(unsafe { (*self.0).count }).unwrap_or(0)
    }

    /// Copies the addresses to `out`, as many as fit; returns how many there are.
    pub fn copy_to(&self, out: &mut [MacAddr]) -> usize {
        let max = u32::try_from(out.len()).unwrap_or(u32::MAX);
        // SAFETY: The list is valid during the callback, `out` for `max` addresses.
        unsafe { raw::nic_hw_addr_copy(self.0, out.as_mut_ptr(), max) as usize }
    }
}

/// Which addresses an interface is to receive.
pub struct AddrLists<'a> {
    /// Further unicast addresses.
    pub uc: HwAddrs<'a>,
    /// Multicast addresses.
    pub mc: HwAddrs<'a>,
}

/// A network device driver. Implemented by the private data of the device.
///
/// Callbacks that get a `&Rtnl` run under the RTNL lock, in process context. See each callback of
/// `struct net_device_ops` in C for the rest.
#[vtable]
pub trait Driver: Sized + Send + Sync + 'static {
    /// What [`Driver::start_xmit`] needs for one transmit queue, see [`Device::set_tx_queue`].
    type TxQueue: Send;

    /// The interface goes up.
    fn open(dev: &Device<Self>, rtnl: &Rtnl) -> Result;

    /// The interface goes down. Transmission has stopped.
    fn stop(dev: &Device<Self>, rtnl: &Rtnl);

    /// Sends a frame. Called with the queue's lock held, bottom halves off. A frame that is mapped
    /// to another queue than the one that the core has locked is dropped before.
    fn start_xmit(dev: &Device<Self>, queue: &mut Self::TxQueue, skb: SkBuff) -> TxResult;

    /// Takes away features that the device cannot provide for this frame.
    fn features_check(dev: &Device<Self>, skb: &SkbRef, features: u64) -> u64 {
        let _ = (dev, skb);
        features
    }

    /// Programs the receive filters. May sleep (`ndo_set_rx_mode_async`).
    fn set_rx_mode(dev: &Device<Self>, addrs: &AddrLists<'_>) -> Result {
        let _ = (dev, addrs);
        Ok(())
    }

    /// Changes the address, which is valid; the core's copy is set if this succeeds.
    fn set_mac_address(dev: &Device<Self>, rtnl: &Rtnl, addr: &MacAddr) -> Result {
        let _ = (dev, rtnl, addr);
        Err(EOPNOTSUPP)
    }

    /// Changes the MTU; the core has checked the range and its copy is set if this succeeds.
    fn change_mtu(dev: &Device<Self>, rtnl: &Rtnl, mtu: u32) -> Result {
        let _ = (dev, rtnl, mtu);
        Ok(())
    }

    /// A queue has been stopped for too long. Atomic context.
    fn tx_timeout(dev: &Device<Self>, queue: u32) {
        let _ = (dev, queue);
    }

    /// Adds up statistics. May be called in atomic context.
    fn get_stats64(dev: &Device<Self>, stats: &mut LinkStats);

    /// Statistics of receive queue `queue`, or with `None` of what no queue that is now in use has
    /// counted, so that all add up to [`Driver::get_stats64`].
    fn rx_queue_stats(dev: &Device<Self>, queue: Option<u32>) -> QueueStats {
        let _ = (dev, queue);
        QueueStats::default()
    }

    /// The same for transmit queues.
    fn tx_queue_stats(dev: &Device<Self>, queue: Option<u32>) -> QueueStats {
        let _ = (dev, queue);
        QueueStats::default()
    }

    /// Receives a VLAN from now on.
    fn vlan_rx_add_vid(dev: &Device<Self>, rtnl: &Rtnl, vid: u16) -> Result {
        let _ = (dev, rtnl, vid);
        Err(EOPNOTSUPP)
    }

    /// Receives a VLAN no more.
    fn vlan_rx_kill_vid(dev: &Device<Self>, rtnl: &Rtnl, vid: u16) -> Result {
        let _ = (dev, rtnl, vid);
        Err(EOPNOTSUPP)
    }

    /// Takes away feature combinations that cannot be.
    fn fix_features(dev: &Device<Self>, rtnl: &Rtnl, features: u64) -> u64 {
        let _ = (dev, rtnl);
        features
    }

    /// Switches features.
    fn set_features(dev: &Device<Self>, rtnl: &Rtnl, features: u64) -> Result {
        let _ = (dev, rtnl, features);
        Ok(())
    }

    /// The work of the device, see [`Device::schedule_service`]. Process context.
    fn service(dev: &Device<Self>) {
        let _ = dev;
    }

    /// An interrupt that was requested by [`Device::request_irq`]. Interrupt context.
    fn interrupt(dev: &Device<Self>) -> kernel::irq::IrqReturn {
        let _ = dev;
        kernel::irq::IrqReturn::None
    }

    /// Takes a new XDP program, or none. The old one is dropped by the driver.
    fn xdp_setup(dev: &Device<Self>, rtnl: &Rtnl, prog: Option<xdp::Prog>) -> Result {
        let _ = (dev, rtnl, prog);
        Err(EOPNOTSUPP)
    }

    /// Sends frames that other devices redirect to this one; rings the doorbell if `flush`. Softirq
    /// context.
    fn xdp_xmit(dev: &Device<Self>, frames: &mut xdp::XdpFrames<'_>, flush: bool) -> Result {
        let _ = (dev, frames, flush);
        Err(EOPNOTSUPP)
    }

    /// Sets the address of a VF.
    fn set_vf_mac(dev: &Device<Self>, rtnl: &Rtnl, vf: u32, mac: &MacAddr) -> Result {
        let _ = (dev, rtnl, vf, mac);
        Err(EOPNOTSUPP)
    }

    /// Sets the port VLAN of a VF; `proto` is the EtherType of the tag.
    fn set_vf_vlan(
        dev: &Device<Self>,
        rtnl: &Rtnl,
        vf: u32,
        vlan: u16,
        qos: u8,
        proto: u16,
    ) -> Result {
        let _ = (dev, rtnl, vf, vlan, qos, proto);
        Err(EOPNOTSUPP)
    }

    /// Sets the transmit rate limits of a VF, in Mbit/s.
    fn set_vf_rate(dev: &Device<Self>, rtnl: &Rtnl, vf: u32, min: u32, max: u32) -> Result {
        let _ = (dev, rtnl, vf, min, max);
        Err(EOPNOTSUPP)
    }

    /// Switches the spoof check of a VF.
    fn set_vf_spoofchk(dev: &Device<Self>, rtnl: &Rtnl, vf: u32, on: bool) -> Result {
        let _ = (dev, rtnl, vf, on);
        Err(EOPNOTSUPP)
    }

    /// Trusts a VF or not.
    fn set_vf_trust(dev: &Device<Self>, rtnl: &Rtnl, vf: u32, on: bool) -> Result {
        let _ = (dev, rtnl, vf, on);
        Err(EOPNOTSUPP)
    }

    /// Settings of a VF.
    fn get_vf_config(dev: &Device<Self>, rtnl: &Rtnl, vf: u32) -> Result<VfConfig> {
        let _ = (dev, rtnl, vf);
        Err(EOPNOTSUPP)
    }

    /// Sets the link state that a VF sees, see [`VfConfig::link_state`].
    fn set_vf_link_state(dev: &Device<Self>, rtnl: &Rtnl, vf: u32, state: u32) -> Result {
        let _ = (dev, rtnl, vf, state);
        Err(EOPNOTSUPP)
    }

    /// Statistics of a VF.
    fn get_vf_stats(dev: &Device<Self>, rtnl: &Rtnl, vf: u32, stats: &mut VfStats) -> Result {
        let _ = (dev, rtnl, vf, stats);
        Err(EOPNOTSUPP)
    }

    /// Lets a VF ask for the RSS configuration or not.
    fn set_vf_rss_query_en(dev: &Device<Self>, rtnl: &Rtnl, vf: u32, on: bool) -> Result {
        let _ = (dev, rtnl, vf, on);
        Err(EOPNOTSUPP)
    }
}

/// A network device of driver `D`.
///
/// # Invariants
///
/// Allocated by [`Unregistered::new`](super::Unregistered::new), so that `Private<D>` is behind
/// `netdev_priv()`, with `data` initialised.
#[repr(transparent)]
pub struct Device<D: Driver>(Opaque<raw::net_device>, PhantomData<D>);

// SAFETY: The operations of `Device` are C functions that may be called from any context they are
// documented for, and `D` is `Sync`.
unsafe impl<D: Driver> Sync for Device<D> {}

impl<D: Driver> Device<D> {
    /// # Safety
    ///
    /// `ptr` upholds the type invariant for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut raw::net_device) -> &'a Self {
        // SAFETY: By the safety requirement.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(crate) fn as_raw(&self) -> *mut raw::net_device {
        self.0.get()
    }
}
