// SPDX-License-Identifier: GPL-2.0
//! DMA logging: the ranges that user space wants logged, and the bitmap that it gets.

use core::marker::PhantomData;
use kernel::{
    bindings,
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
    /// # Safety
    ///
    /// `root` is a tree of `count` ranges that nobody changes for the lifetime of the result.
    pub(crate) unsafe fn from_raw(root: *mut raw::rb_root_cached, count: u32) -> Self {
        Self {
            root: root.cast(),
            count: count as usize,
            _lifetime: PhantomData,
        }
    }

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
    /// # Safety
    ///
    /// The result upholds the type invariant for its lifetime.
    pub(crate) unsafe fn from_raw(bitmap: *mut raw::iova_bitmap, first: u64, last: u64) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            bitmap,
            first,
            last,
            _lifetime: PhantomData,
        }
    }

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
