// SPDX-License-Identifier: GPL-2.0
//! The tables of C callbacks of a network device, over [`Driver`].

use super::{
    ops::{
        AddrLists,
        Device,
        Driver,
        HwAddrs,
        TxResult, //
    },
    rtnl::Rtnl,
    skb::{
        DropReason,
        SkBuff,
        SkbRef, //
    },
    xdp,
    MacAddr, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::from_result,
    prelude::*, //
};
use nic_bindings as raw;

/// `struct net_device_ops` of a driver.
pub(super) struct Ops<D: Driver>(PhantomData<D>);

/// A table of C callbacks.
pub(super) struct Table<T>(pub(super) T);

// SAFETY: The tables hold function pointers only and are never written after they were built.
unsafe impl<T> Sync for Table<T> {}

/// The device and the token for a callback that the core makes under RTNL.
///
/// # Safety
///
/// `dev` is a device of driver `D`, and RTNL is held.
unsafe fn locked<'a, D: Driver>(dev: *mut raw::net_device) -> (&'a Device<D>, Rtnl) {
    // SAFETY: By the safety requirements.
    unsafe { (Device::from_raw(dev), Rtnl::assume()) }
}

/// VF numbers come from user space.
fn vf_index(vf: c_int) -> Result<u32> {
    u32::try_from(vf).map_err(|_| EINVAL)
}

macro_rules! op {
    // A callback under RTNL that returns an errno.
    ($name:ident($dev:ident: $d:ident $(, $arg:ident: $ty:ty)*) => |$ndev:ident, $rtnl:ident| $body:expr) => {
        extern "C" fn $name($dev: *mut raw::net_device $(, $arg: $ty)*) -> c_int {
            // SAFETY: The core makes this callback for a device of this driver and under RTNL.
            let ($ndev, token) = unsafe { locked::<$d>($dev) };
            let $rtnl = &token;
            from_result(|| {
                $body?;
                Ok(0)
            })
        }
    };
}

impl<D: Driver> Ops<D> {
    pub(super) const TABLE: &'static Table<raw::net_device_ops> = &Table({
        let mut o: raw::net_device_ops = pin_init::zeroed();
        o.ndo_open = Some(Self::open);
        o.ndo_stop = Some(Self::stop);
        o.ndo_start_xmit = Some(Self::start_xmit);
        o.ndo_validate_addr = Some(raw::eth_validate_addr);
        o.ndo_get_stats64 = Some(Self::get_stats64);
        if D::HAS_FEATURES_CHECK {
            o.ndo_features_check = Some(Self::features_check);
        }
        if D::HAS_SET_RX_MODE {
            o.ndo_set_rx_mode_async = Some(Self::set_rx_mode);
        }
        if D::HAS_SET_MAC_ADDRESS {
            o.ndo_set_mac_address = Some(Self::set_mac_address);
        }
        if D::HAS_CHANGE_MTU {
            o.ndo_change_mtu = Some(Self::change_mtu);
        }
        if D::HAS_TX_TIMEOUT {
            o.ndo_tx_timeout = Some(Self::tx_timeout);
        }
        if D::HAS_VLAN_RX_ADD_VID {
            o.ndo_vlan_rx_add_vid = Some(Self::vlan_rx_add_vid);
            o.ndo_vlan_rx_kill_vid = Some(Self::vlan_rx_kill_vid);
        }
        if D::HAS_FIX_FEATURES {
            o.ndo_fix_features = Some(Self::fix_features);
        }
        if D::HAS_SET_FEATURES {
            o.ndo_set_features = Some(Self::set_features);
        }
        if D::HAS_XDP_SETUP {
            o.ndo_bpf = Some(Self::bpf);
        }
        if D::HAS_XDP_XMIT {
            o.ndo_xdp_xmit = Some(Self::xdp_xmit);
        }
        if D::HAS_SET_VF_MAC {
            o.ndo_set_vf_mac = Some(Self::set_vf_mac);
        }
        if D::HAS_SET_VF_VLAN {
            o.ndo_set_vf_vlan = Some(Self::set_vf_vlan);
        }
        if D::HAS_SET_VF_RATE {
            o.ndo_set_vf_rate = Some(Self::set_vf_rate);
        }
        if D::HAS_SET_VF_SPOOFCHK {
            o.ndo_set_vf_spoofchk = Some(Self::set_vf_spoofchk);
        }
        if D::HAS_SET_VF_TRUST {
            o.ndo_set_vf_trust = Some(Self::set_vf_trust);
        }
        if D::HAS_GET_VF_CONFIG {
            o.ndo_get_vf_config = Some(Self::get_vf_config);
        }
        if D::HAS_SET_VF_LINK_STATE {
            o.ndo_set_vf_link_state = Some(Self::set_vf_link_state);
        }
        if D::HAS_GET_VF_STATS {
            o.ndo_get_vf_stats = Some(Self::get_vf_stats);
        }
        if D::HAS_SET_VF_RSS_QUERY_EN {
            o.ndo_set_vf_rss_query_en = Some(Self::set_vf_rss_query_en);
        }
        o
    });

    const STAT_TABLE: &'static Table<raw::netdev_stat_ops> = &Table({
        let mut o: raw::netdev_stat_ops = pin_init::zeroed();
        o.get_queue_stats_rx = Some(Self::queue_stats_rx);
        o.get_queue_stats_tx = Some(Self::queue_stats_tx);
        o.get_base_stats = Some(Self::base_stats);
        o
    });

    /// `None` if the driver has no statistics of queues.
    pub(super) const STAT_OPS: Option<&'static Table<raw::netdev_stat_ops>> =
        if D::HAS_RX_QUEUE_STATS && D::HAS_TX_QUEUE_STATS {
            Some(Self::STAT_TABLE)
        } else {
            None
        };

    extern "C" fn queue_stats_rx(
        dev: *mut raw::net_device,
        index: c_int,
        stats: *mut raw::netdev_queue_stats_rx,
    ) {
        // SAFETY: The core makes this callback for a device of this driver, with a structure to
        // fill in.
        let (dev, stats) = unsafe { (Device::<D>::from_raw(dev), &mut *stats) };
        D::rx_queue_stats(dev, Some(u32::try_from(index).unwrap_or(u32::MAX))).fill_rx(stats);
    }

    extern "C" fn queue_stats_tx(
        dev: *mut raw::net_device,
        index: c_int,
        stats: *mut raw::netdev_queue_stats_tx,
    ) {
        // SAFETY: The core makes this callback for a device of this driver, with structures to fill
        // in.
        let (dev, stats) = unsafe { (Device::<D>::from_raw(dev), &mut *stats) };
        D::tx_queue_stats(dev, Some(u32::try_from(index).unwrap_or(u32::MAX))).fill_tx(stats);
    }

    extern "C" fn base_stats(
        dev: *mut raw::net_device,
        rx: *mut raw::netdev_queue_stats_rx,
        tx: *mut raw::netdev_queue_stats_tx,
    ) {
        // SAFETY: The core makes this callback for a device of this driver, with structures to fill
        // in.
        let (dev, rx, tx) = unsafe { (Device::<D>::from_raw(dev), &mut *rx, &mut *tx) };
        D::rx_queue_stats(dev, None).fill_rx(rx);
        D::tx_queue_stats(dev, None).fill_tx(tx);
    }

    op!(open(dev: D) => |dev, rtnl| D::open(dev, rtnl));

    op!(stop(dev: D) => |dev, rtnl| Ok::<_, Error>(D::stop(dev, rtnl)));

    op!(set_mac_address(dev: D, addr: *mut c_void) => |dev, rtnl| {
        // SAFETY: The core passes a `struct sockaddr_storage`; the address follows the 16-bit
        // family.
        let addr: &MacAddr = unsafe { &*addr.byte_add(2).cast() };
        if !super::is_valid_ether_addr(addr) {
            Err(EADDRNOTAVAIL)
        } else {
            D::set_mac_address(dev, rtnl, addr).map(|()| dev.set_address(rtnl, addr))
        }
    });

    op!(change_mtu(dev: D, mtu: c_int) => |dev, rtnl| {
        u32::try_from(mtu).map_err(|_| EINVAL).and_then(|mtu| {
            D::change_mtu(dev, rtnl, mtu)?;
            dev.set_mtu(rtnl, mtu);
            Ok(())
        })
    });

    op!(vlan_rx_add_vid(dev: D, _proto: raw::__be16, vid: u16) => |dev, rtnl| {
        D::vlan_rx_add_vid(dev, rtnl, vid)
    });

    op!(vlan_rx_kill_vid(dev: D, _proto: raw::__be16, vid: u16) => |dev, rtnl| {
        D::vlan_rx_kill_vid(dev, rtnl, vid)
    });

    op!(set_features(dev: D, features: u64) => |dev, rtnl| D::set_features(dev, rtnl, features));

    op!(bpf(dev: D, bpf: *mut raw::netdev_bpf) => |dev, rtnl| {
        // SAFETY: The core passes a valid command; the program is that of `XDP_SETUP_PROG` only.
        unsafe {
            if (*bpf).command == raw::bpf_netdev_command_XDP_SETUP_PROG {
                let prog = NonNull::new((*bpf).__bindgen_anon_1.__bindgen_anon_1.prog);
                // The core's reference becomes the driver's if this succeeds, so lend the driver
                // one of its own.
                let own = prog.map(|p| {
                    raw::nic_bpf_prog_inc(p.as_ptr());
                    xdp::Prog::from_raw(p)
                });
                let r = D::xdp_setup(dev, rtnl, own);
                if r.is_ok() {
                    drop(prog.map(|p| xdp::Prog::from_raw(p)));
                }
                r
            } else {
                Err(EINVAL)
            }
        }
    });

    extern "C" fn xdp_xmit(
        dev: *mut raw::net_device,
        n: c_int,
        frames: *mut *mut raw::xdp_frame,
        flags: u32,
    ) -> c_int {
        // SAFETY: The core makes this callback for a device of this driver, with `n` frames.
        let (dev, mut frames) = unsafe {
            (
                Device::<D>::from_raw(dev),
                xdp::XdpFrames::new(core::slice::from_raw_parts(
                    frames,
                    usize::try_from(n).unwrap_or(0),
                )),
            )
        };
        from_result(|| {
            if flags & !raw::RUST_CONST_HELPER_XDP_XMIT_FLUSH != 0 {
                return Err(EINVAL);
            }
            let result = D::xdp_xmit(dev, &mut frames, flags != 0);
            // Of an error the core believes that nothing was taken.
            match frames.taken() {
                0 => result.map(|()| 0),
                n => Ok(c_int::try_from(n)?),
            }
        })
    }

    op!(set_vf_mac(dev: D, vf: c_int, mac: *mut u8) => |dev, rtnl| {
        // SAFETY: The core passes an address.
        let mac: &MacAddr = unsafe { &*mac.cast() };
        vf_index(vf).and_then(|vf| D::set_vf_mac(dev, rtnl, vf, mac))
    });

    op!(set_vf_vlan(dev: D, vf: c_int, vlan: u16, qos: u8, proto: raw::__be16) => |dev, rtnl| {
        vf_index(vf).and_then(|vf| D::set_vf_vlan(dev, rtnl, vf, vlan, qos, u16::from_be(proto)))
    });

    op!(set_vf_rate(dev: D, vf: c_int, min: c_int, max: c_int) => |dev, rtnl| {
        vf_index(vf).and_then(|vf| D::set_vf_rate(dev, rtnl, vf, vf_index(min)?, vf_index(max)?))
    });

    op!(set_vf_spoofchk(dev: D, vf: c_int, on: bool) => |dev, rtnl| {
        vf_index(vf).and_then(|vf| D::set_vf_spoofchk(dev, rtnl, vf, on))
    });

    op!(set_vf_trust(dev: D, vf: c_int, on: bool) => |dev, rtnl| {
        vf_index(vf).and_then(|vf| D::set_vf_trust(dev, rtnl, vf, on))
    });

    op!(set_vf_rss_query_en(dev: D, vf: c_int, on: bool) => |dev, rtnl| {
        vf_index(vf).and_then(|vf| D::set_vf_rss_query_en(dev, rtnl, vf, on))
    });

    op!(set_vf_link_state(dev: D, vf: c_int, state: c_int) => |dev, rtnl| {
        vf_index(vf).and_then(|vf| D::set_vf_link_state(dev, rtnl, vf, vf_index(state)?))
    });

    op!(get_vf_config(dev: D, vf: c_int, ivi: *mut raw::ifla_vf_info) => |dev, rtnl| {
        vf_index(vf).and_then(|vf| D::get_vf_config(dev, rtnl, vf)).map(|c| {
            // SAFETY: The core passes a structure to fill in.
            let ivi = unsafe { &mut *ivi };
            if let Ok(index) = u32::try_from(vf) {
                ivi.vf = index;
            }
            for (to, from) in ivi.mac.iter_mut().zip(c.mac) {
                *to = from;
            }
            ivi.vlan = c.vlan.into();
            ivi.qos = c.qos.into();
            ivi.spoofchk = c.spoofchk.into();
            ivi.linkstate = c.link_state;
            ivi.min_tx_rate = c.min_tx_rate;
            ivi.max_tx_rate = c.max_tx_rate;
            ivi.rss_query_en = c.rss_query_en.into();
            ivi.trusted = c.trusted.into();
        })
    });

    op!(get_vf_stats(dev: D, vf: c_int, stats: *mut raw::ifla_vf_stats) => |dev, rtnl| {
        // SAFETY: The core passes a structure to fill in.
        let stats = unsafe { &mut *stats };
        vf_index(vf).and_then(|vf| D::get_vf_stats(dev, rtnl, vf, stats))
    });

    extern "C" fn start_xmit(
        skb: *mut raw::sk_buff,
        dev: *mut raw::net_device,
    ) -> raw::netdev_tx_t {
        // SAFETY: The core makes this callback for a device of this driver.
        let dev = unsafe { Device::<D>::from_raw(dev) };
        // SAFETY: The core passes the ownership of a valid skb.
        let skb = unsafe { SkBuff::from_raw(NonNull::new_unchecked(skb)) };
        let mapping = skb.queue_mapping();
        // The core holds the lock of one queue, and nearly always that of the skb's mapping. But a
        // qdisc of one queue passes on what actions in it have mapped to another
        // (`try_bulk_dequeue_skb()`, `skbedit queue_mapping`).
        // SAFETY: A valid device; bottom halves are off.
        let queue = if unsafe { raw::nic_tx_owned(dev.as_raw(), mapping) } {
            // SAFETY: This CPU holds the lock of the queue.
            unsafe { dev.tx_queue(mapping) }
        } else {
            None
        };
        match queue {
            Some(queue) => match D::start_xmit(dev, queue, skb) {
                TxResult::Done => raw::netdev_tx_NETDEV_TX_OK,
                TxResult::Busy(skb) => {
                    skb.into_raw();
                    raw::netdev_tx_NETDEV_TX_BUSY
                }
            },
            None => {
                // SAFETY: A valid device.
                unsafe { raw::nic_count_tx_dropped(dev.as_raw()) };
                skb.free(DropReason::DEV_READY);
                raw::netdev_tx_NETDEV_TX_OK
            }
        }
    }

    extern "C" fn features_check(
        skb: *mut raw::sk_buff,
        dev: *mut raw::net_device,
        features: u64,
    ) -> u64 {
        // SAFETY: The core makes this callback for a device of this driver, with an skb that it
        // owns.
        unsafe { D::features_check(Device::from_raw(dev), SkbRef::from_raw(skb), features) }
    }

    extern "C" fn set_rx_mode(
        dev: *mut raw::net_device,
        uc: *mut raw::netdev_hw_addr_list,
        mc: *mut raw::netdev_hw_addr_list,
    ) -> c_int {
        // SAFETY: The core makes this callback for a device of this driver.
        let dev = unsafe { Device::<D>::from_raw(dev) };
        // SAFETY: The core passes lists that are valid during the callback, which is when they are
        // used.
        let addrs = unsafe {
            AddrLists {
                uc: HwAddrs::from_raw(uc),
                mc: HwAddrs::from_raw(mc),
            }
        };
        from_result(|| D::set_rx_mode(dev, &addrs).map(|()| 0))
    }

    extern "C" fn tx_timeout(dev: *mut raw::net_device, queue: c_uint) {
        // SAFETY: The core makes this callback for a device of this driver.
        D::tx_timeout(unsafe { Device::from_raw(dev) }, queue)
    }

    extern "C" fn get_stats64(dev: *mut raw::net_device, stats: *mut raw::rtnl_link_stats64) {
        // SAFETY: The core makes this callback for a device of this driver, with zeroed statistics.
        unsafe { D::get_stats64(Device::from_raw(dev), &mut *stats) }
    }

    extern "C" fn fix_features(dev: *mut raw::net_device, features: u64) -> u64 {
        // SAFETY: The core makes this callback for a device of this driver and under RTNL.
        let (dev, rtnl) = unsafe { locked::<D>(dev) };
        D::fix_features(dev, &rtnl, features)
    }
}
