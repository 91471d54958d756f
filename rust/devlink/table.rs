// SPDX-License-Identifier: GPL-2.0
//! Tables of C callbacks.

use super::{
    Fmsg,
    Info,
    Ops,
    MAX_REPORTERS, //
    PHYSICAL_PORT,
};
use crate::net::{
    Device,
    MacAddr, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::from_result,
    fmt,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::atomic::Acquire, //
};
use nic_bindings as raw;

/// Most parameters of a driver.
const MAX_PARAMS: usize = 8;
/// First id after the generic parameters.
const PARAM_ID_BASE: u32 = raw::devlink_param_generic_id___DEVLINK_PARAM_GENERIC_ID_MAX;
/// Bytes of a string parameter, the closing 0 included (`__DEVLINK_PARAM_MAX_STRING_VALUE`).
const PARAM_STRING_LEN: usize = 32;

/// A table.
pub(super) struct Table<T>(pub(super) T);

// SAFETY: The tables hold function pointers and static strings, and are never written after they
// were built.
unsafe impl<T> Sync for Table<T> {}

/// The tables of a driver.
pub(super) struct Tables<D: Ops>(PhantomData<D>);

/// # Safety
///
/// `devlink` is an instance made by `super::Registration<D>`.
unsafe fn of_devlink<'a, D: Ops>(devlink: *mut raw::devlink) -> &'a Device<D> {
    // SAFETY: The private area holds the network device, which outlives the instance.
    unsafe { Device::from_raw(*raw::devlink_priv(devlink).cast::<*mut raw::net_device>()) }
}

/// The device and VF of a port; `None` for the physical one.
///
/// # Safety
///
/// `port` belongs to an instance made by `super::Registration<D>`.
unsafe fn of_port<'a, D: Ops>(port: *mut raw::devlink_port) -> (&'a Device<D>, Option<u32>) {
    // SAFETY: By the safety requirement.
    unsafe {
        (
            of_devlink::<D>((*port).devlink),
            (*port).index.checked_sub(PHYSICAL_PORT + 1),
        )
    }
}

/// Writes into a C string of fixed size.
struct Cut<'a>(&'a mut [c_char]);

impl fmt::Write for Cut<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for b in s.bytes() {
            // The last byte stays 0.
            if self.0.len() < 2 {
                return Err(fmt::Error);
            }
            if let Some((first, rest)) = core::mem::take(&mut self.0).split_first_mut() {
                *first = b;
                self.0 = rest;
            }
        }
        Ok(())
    }
}

impl<D: Ops> Tables<D> {
    pub(super) const OPS: &'static Table<raw::devlink_ops> = &Table({
        let mut o: raw::devlink_ops = pin_init::zeroed();
        if D::HAS_INFO {
            o.info_get = Some(Self::info_get);
        }
        o
    });

    pub(super) const PORT_OPS: &'static Table<raw::devlink_port_ops> = &Table({
        let mut o: raw::devlink_port_ops = pin_init::zeroed();
        if D::HAS_VF_HW_ADDR_GET {
            o.port_fn_hw_addr_get = Some(Self::hw_addr_get);
        }
        if D::HAS_VF_HW_ADDR_SET {
            o.port_fn_hw_addr_set = Some(Self::hw_addr_set);
        }
        if D::HAS_VF_MIGRATABLE_GET {
            o.port_fn_migratable_get = Some(Self::migratable_get);
        }
        if D::HAS_VF_MIGRATABLE_SET {
            o.port_fn_migratable_set = Some(Self::migratable_set);
        }
        o
    });

    pub(super) const REPORTERS: &'static Table<[raw::devlink_health_reporter_ops; MAX_REPORTERS]> =
        &Table({
            assert!(D::REPORTERS.len() <= MAX_REPORTERS);
            let mut t: [raw::devlink_health_reporter_ops; MAX_REPORTERS] =
                [pin_init::zeroed(); MAX_REPORTERS];
            let mut i = 0;
            while i < D::REPORTERS.len() {
                t[i].name = as_char_ptr_in_const_context(D::REPORTERS[i].name)
                    .cast_mut()
                    .cast();
                if D::HAS_HEALTH_DUMP {
                    t[i].dump = Some(Self::dump);
                }
                if D::HAS_HEALTH_DIAGNOSE {
                    t[i].diagnose = Some(Self::diagnose);
                }
                if D::REPORTERS[i].recovers {
                    t[i].recover = Some(Self::recover);
                }
                i += 1;
            }
            t
        });

    pub(super) const PARAMS: &'static Table<[raw::devlink_param; MAX_PARAMS]> = &Table({
        assert!(D::PARAMS.len() <= MAX_PARAMS);
        let mut t: [raw::devlink_param; MAX_PARAMS] = [pin_init::zeroed(); MAX_PARAMS];
        let mut i = 0;
        while i < D::PARAMS.len() {
            t[i].id = PARAM_ID_BASE + i as u32;
            t[i].name = as_char_ptr_in_const_context(D::PARAMS[i].name).cast();
            t[i].type_ = raw::devlink_param_type_DEVLINK_PARAM_TYPE_STRING;
            t[i].supported_cmodes = 1 << raw::devlink_param_cmode_DEVLINK_PARAM_CMODE_RUNTIME;
            t[i].get = Some(Self::param_get);
            t[i].set = Some(Self::param_set);
            i += 1;
        }
        t
    });

    pub(super) const REGION: &'static Table<raw::devlink_region_ops> = &Table({
        let mut o: raw::devlink_region_ops = pin_init::zeroed();
        if let Some(region) = D::REGION {
            o.name = as_char_ptr_in_const_context(region.name).cast();
            o.destructor = Some(Self::region_destructor);
            o.snapshot = Some(Self::region_snapshot);
        }
        o
    });

    extern "C" fn info_get(
        devlink: *mut raw::devlink,
        req: *mut raw::devlink_info_req,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver.
        let dev = unsafe { of_devlink::<D>(devlink) };
        from_result(|| {
            let req = NonNull::new(req).ok_or(EINVAL)?;
            D::info(dev, &mut Info(req)).map(|()| 0)
        })
    }

    extern "C" fn hw_addr_get(
        port: *mut raw::devlink_port,
        addr: *mut u8,
        len: *mut c_int,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver; `addr` has room for the longest address.
        unsafe {
            let (dev, vf) = of_port::<D>(port);
            from_result(|| {
                let mac = D::vf_hw_addr_get(dev, vf.ok_or(EOPNOTSUPP)?)?;
                addr.cast::<MacAddr>().write(mac);
                *len = 6;
                Ok(0)
            })
        }
    }

    extern "C" fn hw_addr_set(
        port: *mut raw::devlink_port,
        addr: *const u8,
        len: c_int,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver; `addr` has `len` bytes.
        unsafe {
            let (dev, vf) = of_port::<D>(port);
            from_result(|| {
                if len != 6 {
                    return Err(EINVAL);
                }
                D::vf_hw_addr_set(dev, vf.ok_or(EOPNOTSUPP)?, &*addr.cast::<MacAddr>()).map(|()| 0)
            })
        }
    }

    extern "C" fn migratable_get(
        port: *mut raw::devlink_port,
        on: *mut bool,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver.
        unsafe {
            let (dev, vf) = of_port::<D>(port);
            from_result(|| {
                *on = D::vf_migratable_get(dev, vf.ok_or(EOPNOTSUPP)?)?;
                Ok(0)
            })
        }
    }

    extern "C" fn migratable_set(
        port: *mut raw::devlink_port,
        on: bool,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver.
        let (dev, vf) = unsafe { of_port::<D>(port) };
        from_result(|| D::vf_migratable_set(dev, vf.ok_or(EOPNOTSUPP)?, on).map(|()| 0))
    }

    /// The device and index of a reporter.
    ///
    /// # Safety
    ///
    /// `reporter` was created by `super::Registration<D>`.
    unsafe fn reporter<'a>(
        reporter: *mut raw::devlink_health_reporter,
    ) -> Option<(&'a Device<D>, usize)> {
        // SAFETY: The private pointer of a reporter is the network device.
        let dev =
            unsafe { Device::<D>::from_raw(raw::devlink_health_reporter_priv(reporter).cast()) };
        let index = dev
            .devlink()?
            .reporters
            .iter()
            .position(|r| r.load(Acquire) == reporter)?;
        Some((dev, index))
    }

    extern "C" fn dump(
        reporter: *mut raw::devlink_health_reporter,
        fmsg: *mut raw::devlink_fmsg,
        _ctx: *mut c_void,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver.
        let r = unsafe { Self::reporter(reporter) };
        from_result(|| {
            let (dev, i) = r.ok_or(ENODEV)?;
            D::health_dump(dev, i, &mut Fmsg(NonNull::new(fmsg).ok_or(EINVAL)?)).map(|()| 0)
        })
    }

    extern "C" fn diagnose(
        reporter: *mut raw::devlink_health_reporter,
        fmsg: *mut raw::devlink_fmsg,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver.
        let r = unsafe { Self::reporter(reporter) };
        from_result(|| {
            let (dev, i) = r.ok_or(ENODEV)?;
            D::health_diagnose(dev, i, &mut Fmsg(NonNull::new(fmsg).ok_or(EINVAL)?)).map(|()| 0)
        })
    }

    extern "C" fn recover(
        reporter: *mut raw::devlink_health_reporter,
        _ctx: *mut c_void,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver.
        let r = unsafe { Self::reporter(reporter) };
        from_result(|| {
            let (dev, i) = r.ok_or(ENODEV)?;
            D::health_recover(dev, i).map(|()| 0)
        })
    }

    fn param_index(id: u32) -> Result<usize> {
        usize::try_from(id.checked_sub(PARAM_ID_BASE).ok_or(EINVAL)?)
            .ok()
            .filter(|i| *i < D::PARAMS.len())
            .ok_or(EINVAL)
    }

    extern "C" fn param_get(
        devlink: *mut raw::devlink,
        id: u32,
        ctx: *mut raw::devlink_param_gset_ctx,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver, for a string parameter.
        unsafe {
            let dev = of_devlink::<D>(devlink);
            let out = &mut (*ctx).val.vstr;
            from_result(|| {
                *out = [0; PARAM_STRING_LEN];
                D::param_get(dev, Self::param_index(id)?, &mut Cut(out)).map(|()| 0)
            })
        }
    }

    extern "C" fn param_set(
        devlink: *mut raw::devlink,
        id: u32,
        ctx: *mut raw::devlink_param_gset_ctx,
        _extack: *mut raw::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver, for a string parameter, which C has made
        // sure to end in time.
        unsafe {
            let dev = of_devlink::<D>(devlink);
            let value = CStr::from_char_ptr((&raw const (*ctx).val.vstr).cast());
            from_result(|| {
                let value = value.to_str().map_err(|_| EINVAL)?;
                D::param_set(dev, Self::param_index(id)?, value).map(|()| 0)
            })
        }
    }

    extern "C" fn region_snapshot(
        devlink: *mut raw::devlink,
        _ops: *const raw::devlink_region_ops,
        _extack: *mut raw::netlink_ext_ack,
        data: *mut *mut u8,
    ) -> c_int {
        // SAFETY: Callback of an instance of this driver.
        let dev = unsafe { of_devlink::<D>(devlink) };
        from_result(|| {
            let size = D::REGION.ok_or(EOPNOTSUPP)?.size;
            let mut buf = KVVec::from_elem(0u8, size, GFP_KERNEL)?;
            D::region_snapshot(dev, &mut buf)?;
            let (ptr, _, _) = buf.into_raw_parts();
            // SAFETY: C passes a pointer to fill in, and gives what it gets to `region_destructor`.
            unsafe { *data = ptr };
            Ok(0)
        })
    }

    extern "C" fn region_destructor(data: *const c_void) {
        // SAFETY: `data` comes from `region_snapshot`, where the capacity is the length: `kvfree`
        // does not need it.
        unsafe { kernel::bindings::kvfree(data) };
    }
}
