// SPDX-License-Identifier: GPL-2.0
//! `struct ethtool_ops` over [`Ops`].

use super::{
    super::{
        callbacks::Table,
        ops::Device,
        registration::Unregistered,
        rtnl::Rtnl, //
    },
    types::*,
    Ops, //
};
use core::marker::PhantomData;
use kernel::{
    error::from_result,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};
use nic_bindings as raw;

/// `struct ethtool_ops` of a driver.
struct EthtoolOps<D: Ops>(PhantomData<D>);

impl<D: Ops> Unregistered<D> {
    /// Lets `ethtool` reach [`Ops`].
    pub fn set_ethtool(&mut self) {
        // SAFETY: Not registered, so the core does not look at it; the table is static.
        unsafe { (*self.as_raw()).ethtool_ops = &raw const EthtoolOps::<D>::TABLE.0 };
    }
}

/// The device and the token for a callback that ethtool makes.
///
/// # Safety
///
/// `dev` is a device of driver `D`, and RTNL is held.
unsafe fn locked<'a, D: Ops>(dev: *mut raw::net_device) -> (&'a Device<D>, Rtnl) {
    // SAFETY: By the safety requirements.
    unsafe { (Device::from_raw(dev), Rtnl::assume()) }
}

/// How many strings of `set` the core was told of last.
fn told<D: Ops>(dev: &Device<D>, set: StringSet) -> &Atomic<i32> {
    let [test, stats, flags] = dev.told_strings();
    match set {
        StringSet::Test => test,
        StringSet::Stats => stats,
        StringSet::PrivFlags => flags,
    }
}

/// A slice of C memory, `None` for a null pointer.
///
/// # Safety
///
/// `ptr` is null or valid for reads and writes of `len` elements for `'a`.
unsafe fn slice<'a, T>(ptr: *mut T, len: usize) -> Option<&'a mut [T]> {
    if ptr.is_null() {
        return None;
    }
    // SAFETY: By the safety requirement.
    Some(unsafe { core::slice::from_raw_parts_mut(ptr, len) })
}

/// What both EEPROM callbacks get: the request, and the buffer of its `len` bytes.
///
/// # Errors
///
/// `EINVAL` for no bytes.
///
/// # Safety
///
/// `eeprom` is valid for `'a`, and `out` is null or valid for reads and writes of its `len` bytes.
unsafe fn eeprom_part<'a>(
    eeprom: *mut raw::ethtool_eeprom,
    out: *mut u8,
) -> Result<(&'a mut raw::ethtool_eeprom, &'a mut [u8])> {
    // SAFETY: By the safety requirements.
    let (eeprom, out) = unsafe { (&mut *eeprom, slice(out, (*eeprom).len as usize)) };
    let out = out.filter(|o| !o.is_empty()).ok_or(EINVAL)?;
    Ok((eeprom, out))
}

impl<D: Ops> EthtoolOps<D> {
    const TABLE: &'static Table<raw::ethtool_ops> = &Table({
        let mut o: raw::ethtool_ops = pin_init::zeroed();
        o.get_link = Some(raw::ethtool_op_get_link);
        o.get_ts_info = Some(raw::ethtool_op_get_ts_info);
        o.get_link_ksettings = Some(Self::get_link_ksettings);
        if D::HAS_SET_LINK_SETTINGS {
            o.set_link_ksettings = Some(Self::set_link_ksettings);
        }
        if D::HAS_FW_VERSION {
            o.get_drvinfo = Some(Self::get_drvinfo);
        }
        if D::HAS_GET_REGS {
            o.get_regs_len = Some(Self::get_regs_len);
            o.get_regs = Some(Self::get_regs);
        }
        if D::HAS_GET_EEPROM {
            o.get_eeprom_len = Some(Self::get_eeprom_len);
            o.get_eeprom = Some(Self::get_eeprom);
        }
        if D::HAS_MODULE_EEPROM_LEN {
            o.get_module_info = Some(Self::get_module_info);
            o.get_module_eeprom = Some(Self::get_module_eeprom);
        }
        if D::HAS_NWAY_RESET {
            o.nway_reset = Some(Self::nway_reset);
        }
        if D::HAS_GET_MSGLEVEL {
            o.get_msglevel = Some(Self::get_msglevel);
            o.set_msglevel = Some(Self::set_msglevel);
        }
        if D::HAS_GET_RINGPARAM {
            o.get_ringparam = Some(Self::get_ringparam);
        }
        if D::HAS_SET_RINGPARAM {
            o.set_ringparam = Some(Self::set_ringparam);
        }
        if D::HAS_GET_COALESCE {
            // ETHTOOL_COALESCE_RX_USECS | ETHTOOL_COALESCE_TX_USECS
            o.supported_coalesce_params = 1 << 0 | 1 << 4;
            o.get_coalesce = Some(Self::get_coalesce);
            o.set_coalesce = Some(Self::set_coalesce);
        }
        if D::HAS_GET_CHANNELS {
            o.get_channels = Some(Self::get_channels);
        }
        if D::HAS_SET_CHANNELS {
            o.set_channels = Some(Self::set_channels);
        }
        if D::HAS_GET_PAUSEPARAM {
            o.get_pauseparam = Some(Self::get_pauseparam);
        }
        if D::HAS_SET_PAUSEPARAM {
            o.set_pauseparam = Some(Self::set_pauseparam);
        }
        if D::HAS_GET_PAUSE_STATS {
            o.get_pause_stats = Some(Self::get_pause_stats);
        }
        if D::HAS_SELF_TEST {
            o.self_test = Some(Self::self_test);
        }
        if D::HAS_SSET_COUNT {
            o.get_sset_count = Some(Self::get_sset_count);
            o.get_strings = Some(Self::get_strings);
            o.get_ethtool_stats = Some(Self::get_ethtool_stats);
        }
        if D::HAS_GET_PRIV_FLAGS {
            o.get_priv_flags = Some(Self::get_priv_flags);
            o.set_priv_flags = Some(Self::set_priv_flags);
        }
        if D::HAS_SET_PHYS_ID {
            o.set_phys_id = Some(Self::set_phys_id);
        }
        if D::HAS_RX_RING_COUNT {
            o.get_rx_ring_count = Some(Self::get_rx_ring_count);
        }
        if D::HAS_GET_RXFH {
            o.get_rxfh_indir_size = Some(Self::get_rxfh_indir_size);
            o.get_rxfh_key_size = Some(Self::get_rxfh_key_size);
            o.get_rxfh = Some(Self::get_rxfh);
        }
        if D::HAS_SET_RXFH {
            o.set_rxfh = Some(Self::set_rxfh);
        }
        if D::HAS_GET_RXFH_FIELDS {
            o.get_rxfh_fields = Some(Self::get_rxfh_fields);
        }
        if D::HAS_SET_RXFH_FIELDS {
            o.set_rxfh_fields = Some(Self::set_rxfh_fields);
        }
        o
    });

    extern "C" fn get_drvinfo(dev: *mut raw::net_device, info: *mut raw::ethtool_drvinfo) {
        // SAFETY: The core makes this callback under RTNL, with a zeroed structure.
        let ((dev, _), info) = unsafe { (locked::<D>(dev), &mut *info) };
        let mut text = [0u8; 32];
        let mut w = Cut(text.get_mut(..31).unwrap_or_default());
        D::fw_version(dev, &mut w);
        for (to, from) in info.fw_version.iter_mut().zip(text) {
            *to = from;
        }
        if D::HAS_GET_PRIV_FLAGS {
            let n = D::sset_count(dev, StringSet::PrivFlags).unwrap_or(0);
            info.n_priv_flags = u32::try_from(n).unwrap_or(0);
        }
    }

    extern "C" fn get_regs_len(dev: *mut raw::net_device) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let (dev, _) = unsafe { locked::<D>(dev) };
        c_int::try_from(D::regs_len(dev).saturating_mul(4)).unwrap_or(0)
    }

    extern "C" fn get_regs(
        dev: *mut raw::net_device,
        regs: *mut raw::ethtool_regs,
        out: *mut c_void,
    ) {
        // SAFETY: The core makes this callback under RTNL with a zeroed buffer of `regs_len`
        // dwords.
        unsafe {
            let (dev, rtnl) = locked::<D>(dev);
            let len = ((*regs).len as usize / 4).min(D::regs_len(dev));
            if let Some(out) = slice(out.cast::<u32>(), len) {
                (*regs).version = D::get_regs(dev, &rtnl, out);
            }
        }
    }

    extern "C" fn get_eeprom_len(dev: *mut raw::net_device) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let (dev, _) = unsafe { locked::<D>(dev) };
        c_int::try_from(D::eeprom_len(dev)).unwrap_or(0)
    }

    extern "C" fn get_eeprom(
        dev: *mut raw::net_device,
        eeprom: *mut raw::ethtool_eeprom,
        out: *mut u8,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL with a buffer of `len` bytes.
        let ((dev, rtnl), part) = unsafe { (locked::<D>(dev), eeprom_part(eeprom, out)) };
        from_result(|| {
            let (eeprom, out) = part?;
            eeprom.magic = D::get_eeprom(dev, &rtnl, eeprom.offset, out)?;
            Ok(0)
        })
    }

    extern "C" fn get_module_info(
        dev: *mut raw::net_device,
        info: *mut raw::ethtool_modinfo,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), info) = unsafe { (locked::<D>(dev), &mut *info) };
        from_result(|| {
            // ETH_MODULE_SFF_8079 and _8472 with their lengths.
            (info.type_, info.eeprom_len) = match D::module_eeprom_len(dev, &rtnl)? {
                ModuleEeprom::Sff8079 => (1, 256),
                ModuleEeprom::Sff8472 => (2, 512),
            };
            Ok(0)
        })
    }

    extern "C" fn get_module_eeprom(
        dev: *mut raw::net_device,
        eeprom: *mut raw::ethtool_eeprom,
        out: *mut u8,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL with a buffer of `len` bytes.
        let ((dev, rtnl), part) = unsafe { (locked::<D>(dev), eeprom_part(eeprom, out)) };
        from_result(|| {
            let (eeprom, out) = part?;
            D::get_module_eeprom(dev, &rtnl, eeprom.offset, out).map(|()| 0)
        })
    }

    extern "C" fn nway_reset(dev: *mut raw::net_device) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let (dev, rtnl) = unsafe { locked::<D>(dev) };
        from_result(|| D::nway_reset(dev, &rtnl).map(|()| 0))
    }

    extern "C" fn get_msglevel(dev: *mut raw::net_device) -> u32 {
        // SAFETY: The core makes this callback under RTNL.
        let (dev, _) = unsafe { locked::<D>(dev) };
        D::get_msglevel(dev)
    }

    extern "C" fn set_msglevel(dev: *mut raw::net_device, level: u32) {
        // SAFETY: The core makes this callback under RTNL.
        let (dev, _) = unsafe { locked::<D>(dev) };
        D::set_msglevel(dev, level)
    }

    extern "C" fn get_ringparam(
        dev: *mut raw::net_device,
        ring: *mut raw::ethtool_ringparam,
        _kernel_ring: *mut raw::kernel_ethtool_ringparam,
        _extack: *mut raw::netlink_ext_ack,
    ) {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), ring) = unsafe { (locked::<D>(dev), &mut *ring) };
        let r = D::get_ringparam(dev, &rtnl);
        ring.rx_max_pending = r.max;
        ring.tx_max_pending = r.max;
        ring.rx_pending = r.rx;
        ring.tx_pending = r.tx;
    }

    extern "C" fn set_ringparam(
        dev: *mut raw::net_device,
        ring: *mut raw::ethtool_ringparam,
        _kernel_ring: *mut raw::kernel_ethtool_ringparam,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), ring) = unsafe { (locked::<D>(dev), &*ring) };
        let r = RingParam {
            max: ring.rx_max_pending,
            rx: ring.rx_pending,
            tx: ring.tx_pending,
        };
        from_result(|| D::set_ringparam(dev, &rtnl, &r).map(|()| 0))
    }

    extern "C" fn get_coalesce(
        dev: *mut raw::net_device,
        ec: *mut raw::ethtool_coalesce,
        _kernel: *mut raw::kernel_ethtool_coalesce,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), ec) = unsafe { (locked::<D>(dev), &mut *ec) };
        from_result(|| {
            let c = D::get_coalesce(dev, &rtnl)?;
            ec.rx_coalesce_usecs = c.rx_usecs;
            ec.tx_coalesce_usecs = c.tx_usecs;
            Ok(0)
        })
    }

    extern "C" fn set_coalesce(
        dev: *mut raw::net_device,
        ec: *mut raw::ethtool_coalesce,
        _kernel: *mut raw::kernel_ethtool_coalesce,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), ec) = unsafe { (locked::<D>(dev), &*ec) };
        let c = Coalesce {
            rx_usecs: ec.rx_coalesce_usecs,
            tx_usecs: ec.tx_coalesce_usecs,
        };
        from_result(|| D::set_coalesce(dev, &rtnl, &c).map(|()| 0))
    }

    extern "C" fn get_channels(dev: *mut raw::net_device, ch: *mut raw::ethtool_channels) {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), ch) = unsafe { (locked::<D>(dev), &mut *ch) };
        let c = D::get_channels(dev, &rtnl);
        ch.max_rx = c.max_rx;
        ch.max_tx = c.max_tx;
        ch.max_other = c.max_other;
        ch.max_combined = c.max_combined;
        ch.rx_count = c.rx;
        ch.tx_count = c.tx;
        ch.other_count = c.other;
        ch.combined_count = c.combined;
    }

    extern "C" fn set_channels(dev: *mut raw::net_device, ch: *mut raw::ethtool_channels) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), ch) = unsafe { (locked::<D>(dev), &*ch) };
        let c = Channels {
            max_rx: ch.max_rx,
            max_tx: ch.max_tx,
            max_other: ch.max_other,
            max_combined: ch.max_combined,
            rx: ch.rx_count,
            tx: ch.tx_count,
            other: ch.other_count,
            combined: ch.combined_count,
        };
        from_result(|| D::set_channels(dev, &rtnl, &c).map(|()| 0))
    }

    extern "C" fn get_pauseparam(dev: *mut raw::net_device, pause: *mut raw::ethtool_pauseparam) {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), pause) = unsafe { (locked::<D>(dev), &mut *pause) };
        let p = D::get_pauseparam(dev, &rtnl);
        pause.autoneg = p.autoneg.into();
        pause.rx_pause = p.rx.into();
        pause.tx_pause = p.tx.into();
    }

    extern "C" fn set_pauseparam(
        dev: *mut raw::net_device,
        pause: *mut raw::ethtool_pauseparam,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), pause) = unsafe { (locked::<D>(dev), &*pause) };
        let p = PauseParam {
            autoneg: pause.autoneg != 0,
            rx: pause.rx_pause != 0,
            tx: pause.tx_pause != 0,
        };
        from_result(|| D::set_pauseparam(dev, &rtnl, &p).map(|()| 0))
    }

    extern "C" fn get_pause_stats(dev: *mut raw::net_device, stats: *mut raw::ethtool_pause_stats) {
        // SAFETY: The core makes this callback under RTNL; both views of the union are two `u64`s.
        unsafe {
            let (dev, _) = locked::<D>(dev);
            let (tx, rx) = D::get_pause_stats(dev);
            (*stats).__bindgen_anon_1.__bindgen_anon_1.tx_pause_frames = tx;
            (*stats).__bindgen_anon_1.__bindgen_anon_1.rx_pause_frames = rx;
        }
    }

    extern "C" fn self_test(
        dev: *mut raw::net_device,
        test: *mut raw::ethtool_test,
        out: *mut u64,
    ) {
        // SAFETY: The core makes this callback under RTNL with a buffer of `len` results.
        unsafe {
            let (dev, rtnl) = locked::<D>(dev);
            let offline = (*test).flags & raw::ethtool_test_flags_ETH_TEST_FL_OFFLINE != 0;
            if let Some(out) = slice(out, (*test).len as usize) {
                if D::self_test(dev, &rtnl, offline, out) == TestResult::Failed {
                    (*test).flags |= raw::ethtool_test_flags_ETH_TEST_FL_FAILED;
                }
            }
        }
    }

    extern "C" fn get_sset_count(dev: *mut raw::net_device, set: c_int) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let (dev, _) = unsafe { locked::<D>(dev) };
        from_result(|| {
            let set = u32::try_from(set)
                .ok()
                .and_then(StringSet::from_raw)
                .ok_or(EOPNOTSUPP)?;
            let n = c_int::try_from(D::sset_count(dev, set).ok_or(EOPNOTSUPP)?)?;
            // What C allocates next has that size, whatever the driver says later.
            told(dev, set).store(n, Relaxed);
            Ok(n)
        })
    }

    extern "C" fn get_strings(dev: *mut raw::net_device, set: u32, out: *mut u8) {
        // SAFETY: The core makes this callback under RTNL, with a buffer for as many strings as
        // `get_sset_count` said last, under the same lock.
        unsafe {
            let (dev, _) = locked::<D>(dev);
            let Some(set) = StringSet::from_raw(set) else {
                return;
            };
            let n = usize::try_from(told(dev, set).load(Relaxed)).unwrap_or(0);
            if let Some(out) = slice(out.cast::<[u8; GSTRING_LEN]>(), n) {
                D::strings(dev, set, &mut Strings { out, next: 0 });
            }
        }
    }

    extern "C" fn get_ethtool_stats(
        dev: *mut raw::net_device,
        stats: *mut raw::ethtool_stats,
        out: *mut u64,
    ) {
        // SAFETY: The core makes this callback under RTNL with a zeroed buffer of `n_stats` values.
        unsafe {
            let (dev, rtnl) = locked::<D>(dev);
            if let Some(out) = slice(out, (*stats).n_stats as usize) {
                D::get_stats(dev, &rtnl, out);
            }
        }
    }

    extern "C" fn get_priv_flags(dev: *mut raw::net_device) -> u32 {
        // SAFETY: The core makes this callback under RTNL.
        let (dev, rtnl) = unsafe { locked::<D>(dev) };
        D::get_priv_flags(dev, &rtnl)
    }

    extern "C" fn set_priv_flags(dev: *mut raw::net_device, flags: u32) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let (dev, rtnl) = unsafe { locked::<D>(dev) };
        from_result(|| D::set_priv_flags(dev, &rtnl, flags).map(|()| 0))
    }

    extern "C" fn set_phys_id(
        dev: *mut raw::net_device,
        state: raw::ethtool_phys_id_state,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let (dev, rtnl) = unsafe { locked::<D>(dev) };
        let state = match state {
            raw::ethtool_phys_id_state_ETHTOOL_ID_ACTIVE => PhysId::Active,
            raw::ethtool_phys_id_state_ETHTOOL_ID_ON => PhysId::On,
            raw::ethtool_phys_id_state_ETHTOOL_ID_OFF => PhysId::Off,
            _ => PhysId::Inactive,
        };
        from_result(|| {
            let rate = D::set_phys_id(dev, &rtnl, state)?;
            Ok(if state == PhysId::Active {
                c_int::try_from(rate)?
            } else {
                0
            })
        })
    }

    extern "C" fn get_rx_ring_count(dev: *mut raw::net_device) -> u32 {
        // SAFETY: The core makes this callback under RTNL.
        let (dev, _) = unsafe { locked::<D>(dev) };
        D::rx_ring_count(dev)
    }

    extern "C" fn get_rxfh_indir_size(_dev: *mut raw::net_device) -> u32 {
        D::RXFH_INDIR_SIZE
    }

    extern "C" fn get_rxfh_key_size(_dev: *mut raw::net_device) -> u32 {
        D::RXFH_KEY_SIZE
    }

    extern "C" fn get_rxfh(dev: *mut raw::net_device, p: *mut raw::ethtool_rxfh_param) -> c_int {
        // SAFETY: The core makes this callback under RTNL; table and key are null or have the sizes
        // that the two callbacks above tell.
        unsafe {
            let (dev, rtnl) = locked::<D>(dev);
            (*p).hfunc = raw::RUST_CONST_HELPER_ETH_RSS_HASH_TOP;
            let indir = slice((*p).indir, D::RXFH_INDIR_SIZE as usize);
            let key = slice((*p).key, D::RXFH_KEY_SIZE as usize);
            from_result(|| D::get_rxfh(dev, &rtnl, indir, key).map(|()| 0))
        }
    }

    extern "C" fn set_rxfh(
        dev: *mut raw::net_device,
        p: *mut raw::ethtool_rxfh_param,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL; table and key are null or have the sizes
        // that the two callbacks above tell.
        unsafe {
            let (dev, rtnl) = locked::<D>(dev);
            from_result(|| {
                // 0 is "no change".
                if (*p).hfunc != 0 && (*p).hfunc != raw::RUST_CONST_HELPER_ETH_RSS_HASH_TOP {
                    return Err(EOPNOTSUPP);
                }
                let set = RxfhSet {
                    indir: slice((*p).indir, D::RXFH_INDIR_SIZE as usize).map(|s| &*s),
                    key: slice((*p).key, D::RXFH_KEY_SIZE as usize).map(|s| &*s),
                };
                D::set_rxfh(dev, &rtnl, &set).map(|()| 0)
            })
        }
    }

    extern "C" fn get_rxfh_fields(
        dev: *mut raw::net_device,
        f: *mut raw::ethtool_rxfh_fields,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), f) = unsafe { (locked::<D>(dev), &mut *f) };
        from_result(|| {
            let data = D::get_rxfh_fields(dev, &rtnl, f.flow_type)?;
            f.data = u32::try_from(data)?;
            Ok(0)
        })
    }

    extern "C" fn set_rxfh_fields(
        dev: *mut raw::net_device,
        f: *const raw::ethtool_rxfh_fields,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), f) = unsafe { (locked::<D>(dev), &*f) };
        let fields = RxfhFields {
            flow_type: f.flow_type,
            data: f.data.into(),
        };
        from_result(|| D::set_rxfh_fields(dev, &rtnl, &fields).map(|()| 0))
    }

    extern "C" fn get_link_ksettings(
        dev: *mut raw::net_device,
        cmd: *mut raw::ethtool_link_ksettings,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL, with a zeroed structure.
        let ((dev, rtnl), cmd) = unsafe { (locked::<D>(dev), &mut *cmd) };
        from_result(|| {
            let s = D::get_link_settings(dev, &rtnl)?;
            cmd.base.speed = s.speed.unwrap_or(u32::MAX);
            cmd.base.duplex = s.full_duplex.map_or(0xff, u8::from);
            cmd.base.port = s.port as u8;
            cmd.base.autoneg = s.autoneg.into();
            s.supported.to_raw(&mut cmd.link_modes.supported);
            s.advertising.to_raw(&mut cmd.link_modes.advertising);
            Ok(0)
        })
    }

    extern "C" fn set_link_ksettings(
        dev: *mut raw::net_device,
        cmd: *const raw::ethtool_link_ksettings,
    ) -> c_int {
        // SAFETY: The core makes this callback under RTNL.
        let ((dev, rtnl), cmd) = unsafe { (locked::<D>(dev), &*cmd) };
        let s = LinkSettings {
            speed: Some(cmd.base.speed).filter(|s| *s != u32::MAX),
            full_duplex: match cmd.base.duplex {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
            port: match cmd.base.port {
                0 => Port::Tp,
                3 => Port::Fibre,
                5 => Port::Da,
                0xef => Port::None,
                _ => Port::Other,
            },
            autoneg: cmd.base.autoneg != 0,
            supported: LinkModes::from_raw(&cmd.link_modes.supported),
            advertising: LinkModes::from_raw(&cmd.link_modes.advertising),
        };
        from_result(|| D::set_link_settings(dev, &rtnl, &s).map(|()| 0))
    }
}
