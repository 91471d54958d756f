// SPDX-License-Identifier: GPL-2.0
//! What `ethtool` shows and changes (`ixgbe_ethtool_ops_82599`), by the names of the C driver.

use crate::{
    ixgbe_diag,
    ixgbe_lib,
    ixgbe_link,
    ixgbe_stats,
    Adapter,
    MAX_QUEUES, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::atomic::Relaxed, //
};
use libixgbe::{
    chain,
    dump::{
        self,
        REGS_LEN, //
    },
    itr::{
        usecs_to_eitr,
        ITR_100K, //
    },
    link::Pause,
    mbx::{
        RETA_SIZE,
        RSS_KEY_SIZE, //
    },
    regs::*,
    ring::{
        clamp_descs,
        MAX_DESCS, //
    },
    rss,
    Regs, //
};
use nic::net::{
    ethtool::{
        Channels,
        Coalesce,
        LinkSettings,
        ModuleEeprom,
        Ops,
        PauseParam,
        PhysId,
        RingParam,
        RxfhFields,
        RxfhSet,
        StringSet,
        Strings,
        TestResult,
        RXH_IP,
        RXH_L4, //
    },
    Device,
    Driver as _,
    LinkStats,
    Rtnl, //
};

/// Names of the counters before those of queues and classes, in the order of [`Adapter::counters`].
const STATS: [&str; 57] = [
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_pkts_nic",
    "tx_pkts_nic",
    "rx_bytes_nic",
    "tx_bytes_nic",
    "lsc_int",
    "tx_busy",
    "non_eop_descs",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
    "multicast",
    "broadcast",
    "rx_no_buffer_count",
    "collisions",
    "rx_over_errors",
    "rx_crc_errors",
    "rx_frame_errors",
    "hw_rsc_aggregated",
    "hw_rsc_flushed",
    "fdir_match",
    "fdir_miss",
    "fdir_overflow",
    "rx_fifo_errors",
    "rx_missed_errors",
    "tx_aborted_errors",
    "tx_carrier_errors",
    "tx_fifo_errors",
    "tx_heartbeat_errors",
    "tx_timeout_count",
    "tx_restart_queue",
    "rx_length_errors",
    "rx_long_length_errors",
    "rx_short_length_errors",
    "tx_flow_control_xon",
    "rx_flow_control_xon",
    "tx_flow_control_xoff",
    "rx_flow_control_xoff",
    "rx_csum_offload_errors",
    "alloc_rx_page",
    "alloc_rx_page_failed",
    "alloc_rx_buff_failed",
    "rx_no_dma_resources",
    "os2bmc_rx_by_bmc",
    "os2bmc_tx_by_bmc",
    "os2bmc_tx_by_host",
    "os2bmc_rx_by_host",
    "tx_hwtstamp_timeouts",
    "tx_hwtstamp_skipped",
    "rx_hwtstamp_cleared",
    "tx_ipsec",
    "rx_ipsec",
    // This driver's own: frames of VFs that the spoof check dropped.
    "vf_spoofed_packets",
];

/// Traffic classes that have pause counters.
const CLASSES: usize = 8;
/// Counters of each queue pair: packets and bytes, both ways.
const PER_QUEUE: usize = 4;

/// Names of the self tests.
const TESTS: [&str; 5] = [
    "Register test  (offline)",
    "Eeprom test    (offline)",
    "Interrupt test (offline)",
    "Loopback test  (offline)",
    "Link test   (on/offline)",
];

/// Vectors for causes other than queues.
const NON_Q_VECTORS: u32 = 1;
/// Longest moderation in microseconds.
const MAX_USECS: u32 = MAX_EITR >> 2;

/// Flow types (`TCP_V4_FLOW`, …).
mod flow {
    pub(super) const TCP_V4: u32 = 1;
    pub(super) const UDP_V4: u32 = 2;
    pub(super) const SCTP_V4: u32 = 3;
    pub(super) const AH_ESP_V4: u32 = 4;
    pub(super) const TCP_V6: u32 = 5;
    pub(super) const UDP_V6: u32 = 6;
    pub(super) const SCTP_V6: u32 = 7;
    pub(super) const AH_ESP_V6: u32 = 8;
    pub(super) const AH_V4: u32 = 9;
    pub(super) const ESP_V4: u32 = 10;
    pub(super) const AH_V6: u32 = 11;
    pub(super) const ESP_V6: u32 = 12;
    pub(super) const IPV4: u32 = 16;
    pub(super) const IPV6: u32 = 17;
}

impl Adapter {
    /// Values of [`STATS`].
    fn counters(dev: &Device<Self>) -> [u64; STATS.len()] {
        let a = dev.data();
        let mut net = LinkStats::default();
        Self::get_stats64(dev, &mut net);
        let sum = |f: fn(&crate::RingStats) -> u64| {
            a.ring_stats
                .iter()
                .fold(0u64, |acc, s| acc.wrapping_add(f(s)))
        };
        let state = &mut *a.state.lock();
        ixgbe_stats::update_stats(dev, state);
        let hw = &*state.hw_stats;
        let timeouts = a.tx_timeout_count.load(Relaxed);
        let lsc = a.lsc_count.load(Relaxed);
        [
            net.rx_packets,
            net.tx_packets,
            net.rx_bytes,
            net.tx_bytes,
            hw.gprc,
            hw.gptc,
            hw.gorc,
            hw.gotc,
            lsc.into(),
            sum(|s| s.tx_busy.get()),
            sum(|s| s.rx_non_eop.get()),
            hw.crcerrs.wrapping_add(hw.rlec),
            net.tx_errors,
            net.rx_dropped,
            net.tx_dropped,
            hw.mprc,
            hw.bprc,
            0,
            0,
            0,
            hw.crcerrs,
            0,
            0,
            0,
            hw.fdirmatch,
            hw.fdirmiss,
            0,
            0,
            hw.mpc,
            0,
            0,
            0,
            0,
            timeouts.into(),
            sum(|s| s.tx_restart.get()),
            hw.rlec,
            hw.roc,
            hw.ruc,
            hw.lxontxc,
            hw.lxonrxc,
            hw.lxofftxc,
            hw.lxoffrxc,
            sum(|s| s.rx_csum_err.get()),
            sum(|s| s.rx_alloc.get()),
            sum(|s| s.rx_alloc_failed.get()),
            0,
            hw.qprdc,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            hw.ssvpc,
        ]
    }
}

/// Private flags, by the C driver's names. Offload of IPsec is not supported, and so not for VFs
/// either.
const PRIV_FLAGS: [&str; 3] = ["legacy-rx", "vf-ipsec", "mdd-disable-vf"];
/// Bit of `legacy-rx`.
const PRIV_FLAG_LEGACY_RX: u32 = 1 << 0;
/// Bit of `vf-ipsec`.
const PRIV_FLAG_VF_IPSEC: u32 = 1 << 1;
/// Bit of `mdd-disable-vf`.
const PRIV_FLAG_MDD_DISABLE_VF: u32 = 1 << 2;

/// Words of the EEPROM that are read at once.
const EEPROM_CHUNK: usize = 64;

#[vtable]
impl Ops for Adapter {
    fn fw_version(dev: &Device<Self>, out: &mut dyn fmt::Write) {
        // A device that does not answer has no version.
        let a = dev.data();
        if let Ok(id) = a.board.chip().etrack_id(&a.hw) {
            let _ = out.write_fmt(fmt!("0x{:08x}", id));
        }
    }

    fn regs_len(_dev: &Device<Self>) -> usize {
        REGS_LEN
    }

    fn get_regs(dev: &Device<Self>, _rtnl: &Rtnl, out: &mut [u32]) -> u32 {
        let a = dev.data();
        let state = a.state.lock();
        dump::dump(&a.hw, &state.hw_stats, out);
        // `enum ixgbe_mac_type` in the top byte tells ethtool's decoder what it looks at.
        let (id, revision) =
            ixgbe_lib::pdev(dev).map_or((0, 0), |p| (p.device_id(), p.revision_id()));
        a.board.chip().mac_type() << 24 | u32::from(revision) << 16 | u32::from(id)
    }

    fn eeprom_len(dev: &Device<Self>) -> usize {
        let a = dev.data();
        (a.board.chip().eeprom_words(&a.hw) as usize).saturating_mul(2)
    }

    fn get_eeprom(dev: &Device<Self>, _rtnl: &Rtnl, offset: u32, out: &mut [u8]) -> Result<u32> {
        let a = dev.data();
        if out.is_empty() {
            return Err(EINVAL);
        }
        let _state = a.state.lock();
        let mut at = offset;
        // Its semaphore is taken for some words each time.
        for part in out.chunks_mut(2 * EEPROM_CHUNK) {
            // One more where the part begins in the middle of a word.
            let mut words = [0u16; EEPROM_CHUNK + 1];
            let count = (part.len() + (at & 1) as usize).div_ceil(2);
            let words = words.get_mut(..count).ok_or(EINVAL)?;
            let chip = a.board.chip();
            chip.read_eeprom(&a.hw, at >> 1, words).map_err(|_| EIO)?;
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            for (byte, from) in part.iter_mut().zip(bytes.skip((at & 1) as usize)) {
                *byte = from;
            }
            at = at.saturating_add(part.len() as u32);
        }
        let pdev = ixgbe_lib::pdev(dev)?;
        Ok(0x8086 | u32::from(pdev.device_id()) << 16)
    }

    fn nway_reset(dev: &Device<Self>, rtnl: &Rtnl) -> Result {
        ixgbe_lib::reinit(dev, rtnl)
    }

    fn get_msglevel(dev: &Device<Self>) -> u32 {
        dev.data().msg_enable.load(Relaxed)
    }

    fn set_msglevel(dev: &Device<Self>, level: u32) {
        dev.data().msg_enable.store(level, Relaxed);
    }

    fn get_ringparam(dev: &Device<Self>, _rtnl: &Rtnl) -> RingParam {
        let rings = dev.data().rings.lock();
        RingParam {
            max: MAX_DESCS,
            rx: rings.rx_descs,
            tx: rings.tx_descs,
        }
    }

    fn set_ringparam(dev: &Device<Self>, rtnl: &Rtnl, ring: &RingParam) -> Result {
        let new = (
            clamp_descs(ring.rx, MAX_DESCS),
            clamp_descs(ring.tx, MAX_DESCS),
        );
        let old = {
            let rings = &mut *dev.data().rings.lock();
            let old = (rings.rx_descs, rings.tx_descs);
            (rings.rx_descs, rings.tx_descs) = new;
            old
        };
        if new == old {
            return Ok(());
        }
        ixgbe_lib::reinit(dev, rtnl).or_else(|e| {
            // Not enough memory: the rings that there were fitted.
            {
                let rings = &mut *dev.data().rings.lock();
                (rings.rx_descs, rings.tx_descs) = old;
            }
            ixgbe_lib::up(dev, rtnl)?;
            Err(e)
        })
    }

    fn get_coalesce(dev: &Device<Self>, _rtnl: &Rtnl) -> Result<Coalesce> {
        let rings = dev.data().rings.lock();
        // Vectors serve both directions, so only the receive side is reported.
        Ok(Coalesce {
            rx_usecs: rings.itr.map_or(1, |itr| itr >> 2),
            tx_usecs: 0,
        })
    }

    fn set_coalesce(dev: &Device<Self>, rtnl: &Rtnl, c: &Coalesce) -> Result {
        if c.tx_usecs != 0 || c.rx_usecs > MAX_USECS {
            return Err(EINVAL);
        }
        let new = (c.rx_usecs != 1).then(|| usecs_to_eitr(c.rx_usecs));
        let fast = |itr: Option<u32>| itr.is_some_and(|itr| itr < ITR_100K);
        let old = {
            let rings = &mut *dev.data().rings.lock();
            core::mem::replace(&mut rings.itr, new)
        };
        if fast(old) != fast(new) {
            // The write-back threshold of transmit queues depends on it.
            return ixgbe_lib::reinit(dev, rtnl);
        }
        ixgbe_lib::apply_itr(dev);
        Ok(())
    }

    fn get_channels(dev: &Device<Self>, _rtnl: &Rtnl) -> Channels {
        let rings = dev.data().rings.lock();
        let state = dev.data().state.lock();
        Channels {
            max_other: NON_Q_VECTORS,
            other: NON_Q_VECTORS,
            max_combined: rings.max_queues(&state),
            combined: rings.usable(&state),
            ..Channels::default()
        }
    }

    fn set_channels(dev: &Device<Self>, rtnl: &Rtnl, c: &Channels) -> Result {
        if c.combined == 0 || c.rx != 0 || c.tx != 0 || c.other != NON_Q_VECTORS {
            return Err(EINVAL);
        }
        let old = {
            let rings = &mut *dev.data().rings.lock();
            let state = dev.data().state.lock();
            if c.combined > rings.max_queues(&state) {
                return Err(EINVAL);
            }
            core::mem::replace(&mut rings.queues, c.combined)
        };
        if old == c.combined {
            return Ok(());
        }
        let n = c.combined;
        if !dev.data().rings.lock().is_up() {
            return dev.set_real_num_queues(rtnl, n, n);
        }
        ixgbe_lib::reinit(dev, rtnl).or_else(|e| {
            dev.data().rings.lock().queues = old;
            ixgbe_lib::up(dev, rtnl)?;
            Err(e)
        })
    }

    fn get_pauseparam(dev: &Device<Self>, _rtnl: &Rtnl) -> PauseParam {
        let a = dev.data();
        let state = a.state.lock();
        PauseParam {
            autoneg: state.fc.autoneg && state.fc.can_negotiate(&a.hw),
            rx: state.fc.current.rx,
            tx: state.fc.current.tx,
        }
    }

    fn set_pauseparam(dev: &Device<Self>, rtnl: &Rtnl, p: &PauseParam) -> Result {
        let changed = {
            let a = dev.data();
            let fc = &mut a.state.lock().fc;
            if p.autoneg && !fc.can_negotiate(&a.hw) {
                return Err(EINVAL);
            }
            let old = (fc.autoneg, fc.requested);
            fc.autoneg = p.autoneg;
            fc.requested = if p.autoneg {
                Pause::FULL
            } else {
                Pause { rx: p.rx, tx: p.tx }
            };
            old != (fc.autoneg, fc.requested)
        };
        if !changed {
            return Ok(());
        }
        if dev.running() {
            return ixgbe_lib::reinit(dev, rtnl);
        }
        let state = &mut *dev.data().state.lock();
        state.fc.current = state.fc.requested;
        ixgbe_lib::reset(dev, state);
        Ok(())
    }

    fn get_pause_stats(dev: &Device<Self>) -> (u64, u64) {
        let state = dev.data().state.lock();
        let hw = &state.hw_stats;
        (
            hw.lxontxc.wrapping_add(hw.lxofftxc),
            hw.lxonrxc.wrapping_add(hw.lxoffrxc),
        )
    }

    fn self_test(
        dev: &Device<Self>,
        rtnl: &Rtnl,
        offline: bool,
        results: &mut [u64],
    ) -> TestResult {
        ixgbe_diag::run(dev, rtnl, offline, results)
    }

    fn sset_count(_dev: &Device<Self>, set: StringSet) -> Option<usize> {
        match set {
            StringSet::Stats => Some(STATS.len() + PER_QUEUE * MAX_QUEUES as usize + 4 * CLASSES),
            StringSet::Test => Some(TESTS.len()),
            StringSet::PrivFlags => Some(PRIV_FLAGS.len()),
        }
    }

    fn strings(_dev: &Device<Self>, set: StringSet, out: &mut Strings<'_>) {
        let names: &[&str] = match set {
            StringSet::Stats => &STATS,
            StringSet::Test => &TESTS,
            StringSet::PrivFlags => &PRIV_FLAGS,
        };
        for name in names {
            out.push(fmt!("{}", *name));
        }
        if set != StringSet::Stats {
            return;
        }
        for way in ["tx", "rx"] {
            for q in 0..MAX_QUEUES {
                out.push(fmt!("{}_queue_{}_packets", way, q));
                out.push(fmt!("{}_queue_{}_bytes", way, q));
            }
        }
        for way in ["tx", "rx"] {
            for class in 0..CLASSES {
                out.push(fmt!("{}_pb_{}_pxon", way, class));
                out.push(fmt!("{}_pb_{}_pxoff", way, class));
            }
        }
    }

    fn get_stats(dev: &Device<Self>, _rtnl: &Rtnl, out: &mut [u64]) {
        let a = dev.data();
        let common = Self::counters(dev);
        let state = a.state.lock();
        let hw = &*state.hw_stats;
        let tx = a
            .ring_stats
            .iter()
            .flat_map(|s| [s.tx_packets.get(), s.tx_bytes.get()]);
        let rx = a
            .ring_stats
            .iter()
            .flat_map(|s| [s.rx_packets.get(), s.rx_bytes.get()]);
        let pause = |on: &[u64; CLASSES], off: &[u64; CLASSES]| {
            let mut both = [0; 2 * CLASSES];
            for (to, (on, off)) in both.chunks_exact_mut(2).zip(on.iter().zip(off)) {
                to.copy_from_slice(&[*on, *off]);
            }
            both
        };
        let classes = chain(
            pause(&hw.pxontxc, &hw.pxofftxc),
            pause(&hw.pxonrxc, &hw.pxoffrxc),
        );
        let all = chain(chain(common, tx), chain(rx, classes));
        for (to, from) in out.iter_mut().zip(all) {
            *to = from;
        }
    }

    fn set_phys_id(dev: &Device<Self>, _rtnl: &Rtnl, what: PhysId) -> Result<u32> {
        let a = dev.data();
        let state = &mut *a.state.lock();
        let now = a.hw.read32(LEDCTL);
        // The light that shows link and activity, as the EEPROM chose
        // (`ixgbe_init_led_link_act_generic`).
        let orig = state.led_orig.unwrap_or(now);
        let led = (0..4)
            .find(|i| orig >> (8 * i) & LED_MODE_MASK_BASE == LED_LINK_ACTIVE)
            .unwrap_or(2);
        let mode = |mode: u32| {
            let clear = (LED_MODE_MASK_BASE | LED_BLINK_BASE) << (8 * led);
            now & !clear | mode << (8 * led)
        };
        match what {
            PhysId::Active => {
                state.led_orig = Some(now);
                return Ok(2);
            }
            PhysId::On => a.hw.write32(LEDCTL, mode(LED_ON)),
            PhysId::Off => a.hw.write32(LEDCTL, mode(LED_OFF)),
            PhysId::Inactive => {
                if let Some(orig) = state.led_orig.take() {
                    a.hw.write32(LEDCTL, orig);
                }
            }
        }
        Ok(0)
    }

    fn rx_ring_count(dev: &Device<Self>) -> u32 {
        let rings = dev.data().rings.lock();
        let state = dev.data().state.lock();
        rings.usable(&state)
    }

    const RXFH_INDIR_SIZE: u32 = RETA_SIZE as u32;
    const RXFH_KEY_SIZE: u32 = RSS_KEY_SIZE as u32;

    fn get_rxfh(
        dev: &Device<Self>,
        _rtnl: &Rtnl,
        indir: Option<&mut [u32]>,
        key: Option<&mut [u8]>,
    ) -> Result {
        let state = dev.data().state.lock();
        let rss = &state.sw.rss;
        if let Some(indir) = indir {
            for (to, from) in indir.iter_mut().zip(rss.table) {
                *to = from.into();
            }
        }
        if let Some(key) = key {
            for (to, from) in key.chunks_exact_mut(4).zip(rss.key) {
                to.copy_from_slice(&from.to_le_bytes());
            }
        }
        Ok(())
    }

    fn get_priv_flags(dev: &Device<Self>, _rtnl: &Rtnl) -> u32 {
        let a = dev.data();
        let legacy_rx = a.rings.lock().legacy_rx;
        let mdd = a.state.lock().health.mdd_disable_vf();
        u32::from(legacy_rx) * PRIV_FLAG_LEGACY_RX + u32::from(mdd) * PRIV_FLAG_MDD_DISABLE_VF
    }

    fn set_priv_flags(dev: &Device<Self>, rtnl: &Rtnl, flags: u32) -> Result {
        // Bits without a name are ignored, as in the C driver.
        if flags & PRIV_FLAG_VF_IPSEC != 0 {
            return Err(EOPNOTSUPP);
        }
        let mdd = flags & PRIV_FLAG_MDD_DISABLE_VF != 0;
        if mdd && !dev.data().board.chip().disables_bad_vfs() {
            dev_info!(
                dev.parent(),
                "Cannot set private flags: Operation not supported\n"
            );
            return Err(EOPNOTSUPP);
        }
        dev.data().state.lock().health.set_mdd_disable_vf(mdd);
        let want = flags & PRIV_FLAG_LEGACY_RX != 0;
        let old = core::mem::replace(&mut dev.data().rings.lock().legacy_rx, want);
        if old != want {
            ixgbe_lib::reinit(dev, rtnl)?;
        }
        Ok(())
    }

    fn set_rxfh(dev: &Device<Self>, _rtnl: &Rtnl, set: &RxfhSet<'_>) -> Result {
        let a = dev.data();
        let rings = a.rings.lock();
        let state = &mut *a.state.lock();
        if let Some(indir) = set.indir {
            // VFs share the table and have at least two queues.
            let mut max = rings.usable(state);
            if state.sw.pools.is_some() {
                max = max.max(2);
            }
            if indir.iter().any(|q| *q >= max) {
                return Err(EINVAL);
            }
            let place = state.sw.rss_place();
            if !place.takes(|i| indir.get(i).copied().unwrap_or(0)) {
                dev_info!(
                    dev.parent(),
                    "With VFs the redirection table repeats after 64 entries\n"
                );
                return Err(EINVAL);
            }
            for (to, from) in state.sw.rss.table.iter_mut().zip(indir) {
                *to = *from as u8;
            }
            state.rss_set_by_user = true;
            state.sw.rss.store_table(&a.hw, place);
        }
        if let Some(key) = set.key {
            state.sw.rss.key = rss::key_of(key.try_into().map_err(|_| EINVAL)?);
            state.sw.rss.store_key(&a.hw, state.sw.rss_place());
        }
        Ok(())
    }

    fn get_rxfh_fields(dev: &Device<Self>, _rtnl: &Rtnl, flow_type: u32) -> Result<u64> {
        let state = dev.data().state.lock();
        let rss = &state.sw.rss;
        let ports = |on: bool| if on { RXH_IP | RXH_L4 } else { RXH_IP };
        Ok(match flow_type {
            flow::TCP_V4 | flow::TCP_V6 => ports(true),
            flow::UDP_V4 => ports(rss.udp4),
            flow::UDP_V6 => ports(rss.udp6),
            flow::SCTP_V4
            | flow::SCTP_V6
            | flow::AH_ESP_V4
            | flow::AH_ESP_V6
            | flow::AH_V4
            | flow::AH_V6
            | flow::ESP_V4
            | flow::ESP_V6
            | flow::IPV4
            | flow::IPV6 => RXH_IP,
            _ => return Err(EINVAL),
        })
    }

    fn set_rxfh_fields(dev: &Device<Self>, _rtnl: &Rtnl, fields: &RxfhFields) -> Result {
        let a = dev.data();
        let state = &mut *a.state.lock();
        let want = fields.data;
        let rss = &mut state.sw.rss;
        let udp = match want {
            RXH_IP => Ok(false),
            w if w == RXH_IP | RXH_L4 => Ok(true),
            _ => Err(EINVAL),
        };
        match fields.flow_type {
            flow::TCP_V4 | flow::TCP_V6 if want == RXH_IP | RXH_L4 => return Ok(()),
            flow::SCTP_V4
            | flow::SCTP_V6
            | flow::AH_ESP_V4
            | flow::AH_ESP_V6
            | flow::AH_V4
            | flow::AH_V6
            | flow::ESP_V4
            | flow::ESP_V6
                if want == RXH_IP =>
            {
                return Ok(())
            }
            flow::UDP_V4 => rss.udp4 = udp?,
            flow::UDP_V6 => rss.udp6 = udp?,
            _ => return Err(EINVAL),
        }
        if udp == Ok(true) {
            dev_warn!(
                dev.parent(),
                "enabling UDP RSS: fragmented packets may arrive out of order to the stack above\n"
            );
        }
        state.sw.rss.store_mode(&a.hw, state.sw.rss_place());
        Ok(())
    }

    fn get_link_settings(dev: &Device<Self>, _rtnl: &Rtnl) -> Result<LinkSettings> {
        ixgbe_link::settings(dev)
    }

    fn set_link_settings(dev: &Device<Self>, _rtnl: &Rtnl, s: &LinkSettings) -> Result {
        ixgbe_link::set_settings(dev, s)
    }

    fn module_eeprom_len(dev: &Device<Self>, _rtnl: &Rtnl) -> Result<ModuleEeprom> {
        ixgbe_link::module_eeprom_len(dev)
    }

    fn get_module_eeprom(dev: &Device<Self>, _rtnl: &Rtnl, offset: u32, out: &mut [u8]) -> Result {
        ixgbe_link::module_eeprom(dev, offset, out)
    }
}
