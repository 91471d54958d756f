// SPDX-License-Identifier: GPL-2.0
//! What `ethtool` shows and changes (`ixgbevf_ethtool_ops`), by the names of the C driver.

use crate::{
    adapter::{
        Adapter,
        State, //
    },
    vector::ITR_DYNAMIC, //
};
use kernel::{
    device::Bound,
    prelude::*, //
};
use libixgbe::{
    chain,
    mbx::{
        RETA_SIZE,
        RSS_KEY_SIZE, //
    },
    regs::*,
    ring::{
        clamp_descs,
        MAX_VF_DESCS, //
    },
    rss,
    Delay,
    Regs, //
};
use nic::{
    dma::mark,
    net::{
        ethtool::{
            Coalesce,
            LinkModes,
            LinkSettings,
            Ops,
            Port,
            RingParam,
            StringSet,
            Strings,
            TestResult, //
        },
        Device,
        Driver as _,
        LinkStats,
        Rtnl, //
    },
};

/// Names of the statistics before those of the queues. The last seven are this driver's own.
const STATS: [&str; 21] = [
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "tx_busy",
    "tx_restart_queue",
    "tx_timeout_count",
    "multicast",
    "rx_csum_offload_errors",
    "alloc_rx_page",
    "alloc_rx_page_failed",
    "alloc_rx_buff_failed",
    "tx_ipsec",
    "rx_ipsec",
    "rx_dropped",
    "tx_dropped",
    "migrations",
    "migration_frames_marked",
    "migration_pages_marked",
    "migration_rearms",
    "migration_resets",
];

/// Names of the self tests.
const TESTS: [&str; 2] = ["Register test  (offline)", "Link test   (on/offline)"];

/// Registers in a dump (`IXGBE_REGS_LEN`).
const REGS_LEN: usize = 45;

/// Longest moderation in microseconds.
const MAX_USECS: u32 = MAX_EITR >> 2;

/// What a register test writes (`register_test_patterns`).
const PATTERNS: [u32; 4] = [0x5A5A_5A5A, 0xA5A5_A5A5, 0, 0xFFFF_FFFF];

/// A step of the register test.
enum Step {
    /// Bits that are written, and those of them that read back.
    Pattern { read: u32, write: u32 },
    /// Written and not looked at.
    Write(u32),
}

/// The register test (`reg_test_vf`): register of queue 0, and what to do with it and that of queue
/// 1.
fn reg_test() -> [(u32, Step); 9] {
    let pattern = |read, write| Step::Pattern { read, write };
    [
        (vfrdbal(0), pattern(0xFFFF_FF80, 0xFFFF_FF80)),
        (vfrdbah(0), pattern(0xFFFF_FFFF, 0xFFFF_FFFF)),
        (vfrdlen(0), pattern(0x000F_FF80, 0x000F_FFFF)),
        (vfrxdctl(0), Step::Write(RXDCTL_ENABLE)),
        (vfrdt(0), pattern(0x0000_FFFF, 0x0000_FFFF)),
        (vfrxdctl(0), Step::Write(0)),
        (vftdbal(0), pattern(0xFFFF_FF80, 0xFFFF_FFFF)),
        (vftdbah(0), pattern(0xFFFF_FFFF, 0xFFFF_FFFF)),
        (vftdlen(0), pattern(0x000F_FF80, 0x000F_FF80)),
    ]
}

impl Adapter {
    /// Returns the register that failed.
    fn test_registers(&self) -> core::result::Result<(), u32> {
        for (base, step) in reg_test() {
            for reg in [base, base + 0x40] {
                match step {
                    Step::Write(val) => self.hw.write32(reg, val),
                    Step::Pattern { read, write } => {
                        for pattern in PATTERNS {
                            let before = self.hw.read32(reg);
                            self.hw.write32(reg, pattern & write);
                            let val = self.hw.read32(reg);
                            self.hw.write32(reg, before);
                            if val != pattern & write & read {
                                return Err(reg);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// 1 if the link is down.
    fn test_link(&self, st: &mut State) -> u64 {
        st.vf.link_changed();
        match st.vf.check_link(&self.hw) {
            Ok(link) if link.up => 0,
            _ => 1,
        }
    }

    fn usecs(setting: u16) -> u32 {
        if setting <= ITR_DYNAMIC {
            setting.into()
        } else {
            u32::from(setting >> 2)
        }
    }
}

/// Private flags, by the C driver's names.
const PRIV_FLAGS: [&str; 1] = ["legacy-rx"];
/// Bit of `legacy-rx`: receive buffers of 2 KiB.
const PRIV_FLAG_LEGACY_RX: u32 = 1 << 0;

#[vtable]
impl Ops for Adapter {
    fn regs_len(_dev: &Device<Self>) -> usize {
        REGS_LEN
    }

    fn get_regs(dev: &Device<Self>, _rtnl: &Rtnl, out: &mut [u32]) -> u32 {
        let hw = &dev.data().hw;
        let single = [
            VFCTRL,
            VFSTATUS,
            VFLINKS,
            VFRXMEMWRAP,
            VFFRTIMER,
            // Reading VTEICR would clear it; VTEICS shows the same.
            VTEICS,
            VTEICS,
            VTEIMS,
            VTEIMC,
            VTEIAC,
            VTEIAM,
            vteitr(0),
            vtivar(0),
            VTIVAR_MISC,
        ];
        let rx: [fn(u32) -> u32; 7] = [vfrdbal, vfrdbah, vfrdlen, vfrdh, vfrdt, vfrxdctl, vfsrrctl];
        let tx: [fn(u32) -> u32; 8] = [
            vftdbal, vftdbah, vftdlen, vftdh, vftdt, vftxdctl, vftdwbal, vftdwbah,
        ];
        let both = |f: &fn(u32) -> u32| [f(0), f(1)];
        let rings = chain(rx.iter().flat_map(both), [VFPSRTYPE]);
        let all = chain(single, chain(rings, tx.iter().flat_map(both)));
        for (to, reg) in out.iter_mut().zip(all) {
            *to = hw.read32(reg);
        }
        let Ok(pdev) = <&kernel::pci::Device<Bound>>::try_from(dev.parent()) else {
            return 0;
        };
        1 << 24 | u32::from(pdev.revision_id()) << 16 | u32::from(pdev.device_id())
    }

    fn nway_reset(dev: &Device<Self>, rtnl: &Rtnl) -> Result {
        let adapter = dev.data();
        let mut st = adapter.state.lock();
        if st.want_up {
            adapter.reinit(dev, rtnl, &mut st);
        }
        Ok(())
    }

    fn get_msglevel(dev: &Device<Self>) -> u32 {
        // CAST: Set from a `u32`.
        dev.data().msg_level.get() as u32
    }

    fn set_msglevel(dev: &Device<Self>, level: u32) {
        dev.data().msg_level.set(level.into());
    }

    fn get_ringparam(dev: &Device<Self>, _rtnl: &Rtnl) -> RingParam {
        let st = dev.data().state.lock();
        RingParam {
            max: MAX_VF_DESCS,
            rx: st.rx_ring_count,
            tx: st.tx_ring_count,
        }
    }

    fn set_ringparam(dev: &Device<Self>, rtnl: &Rtnl, ring: &RingParam) -> Result {
        let adapter = dev.data();
        let mut st = adapter.state.lock();
        let old = (st.tx_ring_count, st.rx_ring_count);
        let new = (
            clamp_descs(ring.tx, MAX_VF_DESCS),
            clamp_descs(ring.rx, MAX_VF_DESCS),
        );
        if new == old {
            return Ok(());
        }
        (st.tx_ring_count, st.rx_ring_count) = new;
        if st.up.is_none() {
            return Ok(());
        }
        adapter.down(dev, rtnl, &mut st);
        let r = adapter.up(dev, rtnl, &mut st);
        if r.is_err() {
            // Without memory for the new rings the old ones do.
            (st.tx_ring_count, st.rx_ring_count) = old;
            adapter.reinit(dev, rtnl, &mut st);
        }
        r
    }

    fn get_priv_flags(dev: &Device<Self>, _rtnl: &Rtnl) -> u32 {
        u32::from(dev.data().state.lock().legacy_rx) * PRIV_FLAG_LEGACY_RX
    }

    fn set_priv_flags(dev: &Device<Self>, rtnl: &Rtnl, flags: u32) -> Result {
        let adapter = dev.data();
        let mut st = adapter.state.lock();
        // Bits without a name are ignored, as in the C driver.
        let legacy_rx = flags & PRIV_FLAG_LEGACY_RX != 0;
        if core::mem::replace(&mut st.legacy_rx, legacy_rx) != legacy_rx && st.up.is_some() {
            adapter.reinit(dev, rtnl, &mut st);
        }
        Ok(())
    }

    fn get_coalesce(dev: &Device<Self>, _rtnl: &Rtnl) -> Result<Coalesce> {
        let st = dev.data().state.lock();
        Ok(Coalesce {
            rx_usecs: Self::usecs(st.rx_itr_setting),
            // Vectors serve a pair: the receive setting is that of both.
            tx_usecs: 0,
        })
    }

    fn set_coalesce(dev: &Device<Self>, _rtnl: &Rtnl, c: &Coalesce) -> Result {
        if c.tx_usecs != 0 || c.rx_usecs > MAX_USECS {
            return Err(EINVAL);
        }
        let mut st = dev.data().state.lock();
        // CAST: At most `MAX_EITR`.
        st.rx_itr_setting = if c.rx_usecs > 1 {
            (c.rx_usecs << 2) as u16
        } else {
            c.rx_usecs as u16
        };
        let setting = st.rx_itr_setting;
        if let Some(up) = &mut st.up {
            for napi in up.napis.iter_mut() {
                // The poll owns the vector's settings while it is enabled.
                napi.disable();
                if let Some((v, irq, _)) = napi.parts_mut() {
                    v.set_moderation(irq, setting);
                }
                napi.enable();
                napi.schedule();
            }
        }
        Ok(())
    }

    fn self_test(
        dev: &Device<Self>,
        rtnl: &Rtnl,
        offline: bool,
        results: &mut [u64],
    ) -> TestResult {
        let adapter = dev.data();
        let mut st = adapter.state.lock();
        let mut registers = 0;
        let link;
        if adapter.hw.removed() {
            dev_err!(dev.parent(), "Adapter removed - test blocked\n");
            (registers, link) = (1, 1);
        } else if offline {
            // The link first, since the reset takes it down.
            link = adapter.test_link(&mut st);
            adapter.down(dev, rtnl, &mut st);
            adapter.reset(&mut st);
            if let Err(reg) = adapter.test_registers() {
                registers = reg.into();
            }
            adapter.reset(&mut st);
            if st.want_up && adapter.up(dev, rtnl, &mut st).is_err() {
                dev.schedule_service(crate::service::PERIOD_MS);
            }
        } else {
            link = adapter.test_link(&mut st);
        }
        drop(st);
        // The link needs a moment before the next test, as in C.
        adapter.hw.msleep(4000);
        for (to, from) in results.iter_mut().zip([registers, link]) {
            *to = from;
        }
        if registers | link == 0 {
            TestResult::Passed
        } else {
            TestResult::Failed
        }
    }

    fn sset_count(dev: &Device<Self>, set: StringSet) -> Option<usize> {
        match set {
            StringSet::Test => Some(TESTS.len()),
            StringSet::Stats => {
                let st = dev.data().state.lock();
                Some(STATS.len() + 4 * st.queues as usize + 2 * st.xdp_queues as usize)
            }
            StringSet::PrivFlags => Some(PRIV_FLAGS.len()),
        }
    }

    fn strings(dev: &Device<Self>, set: StringSet, out: &mut Strings<'_>) {
        match set {
            StringSet::Test => {
                for name in TESTS {
                    out.push(fmt!("{name}"));
                }
            }
            StringSet::Stats => {
                for name in STATS {
                    out.push(fmt!("{name}"));
                }
                let (queues, xdp) = {
                    let st = dev.data().state.lock();
                    (st.queues, st.xdp_queues)
                };
                for (dir, n) in [("tx", queues), ("xdp", xdp), ("rx", queues)] {
                    for i in 0..n {
                        out.push(fmt!("{dir}_queue_{i}_packets"));
                        out.push(fmt!("{dir}_queue_{i}_bytes"));
                    }
                }
            }
            StringSet::PrivFlags => {
                for name in PRIV_FLAGS {
                    out.push(fmt!("{name}"));
                }
            }
        }
    }

    fn get_stats(dev: &Device<Self>, _rtnl: &Rtnl, out: &mut [u64]) {
        let adapter = dev.data();
        let mut st = adapter.state.lock();
        if st.up.is_some() {
            st.hw_stats.update(&adapter.hw);
            adapter.multicast.set(st.hw_stats.multicast());
        }
        let mut net = LinkStats::default();
        Adapter::get_stats64(dev, &mut net);
        let rx = |f: fn(&crate::stats::RxStats) -> &nic::net::Counter| {
            adapter.rx_stats.iter().map(|s| f(s).get()).sum::<u64>()
        };
        let tx = |f: fn(&crate::stats::TxStats) -> &nic::net::Counter| {
            adapter.tx_stats.iter().map(|s| f(s).get()).sum::<u64>()
        };
        let global: [u64; STATS.len()] = [
            net.rx_packets,
            net.tx_packets,
            net.rx_bytes,
            net.tx_bytes,
            tx(|s| &s.busy),
            tx(|s| &s.restart_queue),
            st.tx_timeout_count,
            net.multicast,
            rx(|s| &s.csum_err),
            rx(|s| &s.alloc_page),
            rx(|s| &s.alloc_page_failed),
            rx(|s| &s.alloc_buff_failed),
            0,
            0,
            net.rx_dropped,
            net.tx_dropped,
            st.migration.migrations,
            mark::buffers(),
            mark::pages(),
            st.migration.rearms,
            st.migration.resets,
        ];
        let queues = st.queues as usize;
        let per_tx = adapter
            .tx_stats
            .iter()
            .take(queues)
            .flat_map(|s| [s.packets.get(), s.bytes.get()]);
        let per_xdp = adapter
            .xdp_stats
            .iter()
            .take(st.xdp_queues as usize)
            .flat_map(|s| [s.packets.get(), s.bytes.get()]);
        let per_rx = adapter
            .rx_stats
            .iter()
            .take(queues)
            .flat_map(|s| [s.packets.get(), s.bytes.get()]);
        for (to, from) in out
            .iter_mut()
            .zip(chain(global, chain(per_tx, chain(per_xdp, per_rx))))
        {
            *to = from;
        }
    }

    fn rx_ring_count(dev: &Device<Self>) -> u32 {
        dev.data().state.lock().queues
    }

    const RXFH_INDIR_SIZE: u32 = RETA_SIZE as u32;
    const RXFH_KEY_SIZE: u32 = RSS_KEY_SIZE as u32;

    fn get_rxfh(
        dev: &Device<Self>,
        _rtnl: &Rtnl,
        indir: Option<&mut [u32]>,
        key: Option<&mut [u8]>,
    ) -> Result {
        let adapter = dev.data();
        let mut st = adapter.state.lock();
        let errno = |e| match e {
            libixgbe::mbx::vf::Error::Nack => EPERM,
            libixgbe::mbx::vf::Error::Unsupported => EOPNOTSUPP,
            _ => EIO,
        };
        let queues = st.queues;
        if let Some(indir) = indir {
            if st.own_rss.is_some() {
                for (i, to) in indir.iter_mut().enumerate() {
                    *to = rss::vf_entry(i, queues);
                }
            } else {
                let reta = st.vf.get_reta(&adapter.hw, queues).map_err(errno)?;
                for (to, from) in indir.iter_mut().zip(reta) {
                    *to = from.into();
                }
            }
        }
        if let Some(key) = key {
            let words = match st.own_rss {
                Some(words) => words,
                None => st.vf.get_rss_key(&adapter.hw).map_err(errno)?,
            };
            for (to, from) in key
                .iter_mut()
                .zip(words.into_iter().flat_map(u32::to_le_bytes))
            {
                *to = from;
            }
        }
        Ok(())
    }

    fn get_link_settings(dev: &Device<Self>, _rtnl: &Rtnl) -> Result<LinkSettings> {
        let st = dev.data().state.lock();
        let up = st.link.up;
        Ok(LinkSettings {
            speed: up.then_some(if st.link.speed == 0 {
                10_000
            } else {
                st.link.speed
            }),
            full_duplex: up.then_some(true),
            port: Port::Other,
            autoneg: false,
            supported: LinkModes::T10000_FULL,
            advertising: LinkModes::empty(),
        })
    }
}
