// SPDX-License-Identifier: GPL-2.0
//! DMA logging: `vfio_log_ops`, the ranges that user space wants logged, and the bitmap that it gets.

use crate::{
    device::{
        Device,
        Driver, //
    },
    Table, //
};
use core::marker::PhantomData;
use kernel::{
    bindings,
    error::from_result,
    prelude::*, //
};
use nic_bindings as raw;

/// The ranges to log, in ascending order and apart from each other.
pub struct Ranges<'a> {
    root: *mut bindings::rb_root_cached,
    count: usize,
    _lifetime: PhantomData<&'a ()>,
}

impl Ranges<'_> {
    /// Copies the ranges as pairs of first and last address.
    pub fn to_vec(&self) -> Result<KVec<(u64, u64)>> {
        let mut list = KVec::with_capacity(self.count, GFP_KERNEL)?;
        // SAFETY: VFIO core passes a valid tree and holds it unchanged during the callback.
        let mut node =
            unsafe { bindings::interval_tree_iter_first(self.root.cast(), 0, c_ulong::MAX) };
        while !node.is_null() {
            // SAFETY: The node is in the tree, which nobody changes during the callback.
            unsafe {
                list.push(((*node).start as u64, (*node).last as u64), GFP_KERNEL)?;
                node = bindings::interval_tree_iter_next(node, 0, c_ulong::MAX);
            }
        }
        Ok(list)
    }
}

/// User space's bitmap of dirty pages.
///
/// # Invariants
///
/// `bitmap` is valid, and covers `first..=last`.
pub struct Bitmap<'a> {
    bitmap: *mut raw::iova_bitmap,
    first: u64,
    last: u64,
    _lifetime: PhantomData<&'a mut ()>,
}

impl Bitmap<'_> {
    /// Marks every page that `first..=last` touches, as far as it was asked for.
    pub fn set(&mut self, first: u64, last: u64) {
        let (first, last) = (first.max(self.first), last.min(self.last));
        // All addresses would be one more than there are numbers; what is asked for has a length.
        let Some(length) = last.checked_sub(first).map(|n| n.saturating_add(1)) else {
            return;
        };
        // SAFETY: By the type invariant.
        #[cfg(CONFIG_IOMMUFD_DRIVER)]
        unsafe {
            raw::iova_bitmap_set(self.bitmap, first as c_ulong, length as usize)
        };
        #[cfg(not(CONFIG_IOMMUFD_DRIVER))]
        let _ = (self.bitmap, length);
    }
}

pub(crate) struct Ops<T>(PhantomData<T>);

impl<T: Driver> Ops<T> {
    pub(crate) const TABLE: &'static Table<raw::vfio_log_ops> = &Table({
        let mut ops: raw::vfio_log_ops = pin_init::zeroed();
        ops.log_start = Some(Self::start_callback);
        ops.log_stop = Some(Self::stop_callback);
        ops.log_read_and_clear = Some(Self::read_callback);
        ops
    });

    extern "C" fn start_callback(
        vdev: *mut raw::vfio_device,
        root: *mut raw::rb_root_cached,
        count: u32,
        page_size: *mut u64,
    ) -> c_int {
        // SAFETY: VFIO core passes a device of ours.
        let device = unsafe { Device::<T>::from_vdev(vdev) };
        let ranges = Ranges {
            root: root.cast(),
            count: count as usize,
            _lifetime: PhantomData,
        };

        from_result(|| {
            // SAFETY: VFIO core passes a valid pointer.
            let wanted = unsafe { *page_size };
            let granted = device.machine().with(
                |session| device.driver().reset(session),
                |_, session| T::log_start(device, session, ranges, wanted),
            )?;
            // SAFETY: VFIO core passes a valid pointer.
            unsafe { *page_size = granted };
            Ok(0)
        })
    }

    extern "C" fn stop_callback(vdev: *mut raw::vfio_device) -> c_int {
        // SAFETY: VFIO core passes a device of ours.
        let device = unsafe { Device::<T>::from_vdev(vdev) };

        device.machine().with(
            |session| device.driver().reset(session),
            |_, session| device.driver().log_stop(session),
        );
        0
    }

    extern "C" fn read_callback(
        vdev: *mut raw::vfio_device,
        iova: c_ulong,
        length: c_ulong,
        bitmap: *mut raw::iova_bitmap,
    ) -> c_int {
        // SAFETY: VFIO core passes a device of ours.
        let device = unsafe { Device::<T>::from_vdev(vdev) };
        from_result(|| {
            let first = iova as u64;
            let last = (length as u64)
                .checked_sub(1)
                .and_then(|n| first.checked_add(n))
                .ok_or(EINVAL)?;
            // INVARIANT: VFIO core has made the bitmap for this range.
            let mut dirty = Bitmap {
                bitmap,
                first,
                last,
                _lifetime: PhantomData,
            };
            device.machine().with(
                |session| device.driver().reset(session),
                |_, session| T::log_read(device, session, first, last, &mut dirty),
            )?;
            Ok(0)
        })
    }
}
