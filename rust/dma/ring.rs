// SPDX-License-Identifier: GPL-2.0
//! Descriptor rings in coherent memory.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::{
        Coherent,
        DmaAddress, //
    },
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
};
#[cfg(not(CONFIG_X86_64))]
use nic_bindings as raw;

/// A descriptor: plain bytes of 16 bytes.
pub trait Descriptor:
    zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable + Copy + 'static
{
}
impl<T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable + Copy + 'static> Descriptor
    for T
{
}

/// Two quad words, little-endian.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Raw([u64; 2]);

// SAFETY: Any bytes are a valid `Raw`.
unsafe impl FromBytes for Raw {}
// SAFETY: `Raw` has no padding.
unsafe impl AsBytes for Raw {}

/// A ring of 16-byte descriptors that CPU and device share.
///
/// Each access is two volatile 64-bit accesses: a descriptor may change under the CPU's hands at
/// any time. What is read is data of the device, and is to be trusted as much as the device.
pub struct Ring {
    mem: Coherent<[Raw]>,
}

impl Ring {
    /// Allocates `len` zeroed descriptors.
    pub fn new(dev: &Device<Bound>, len: u32) -> Result<Self> {
        Ok(Self {
            mem: Coherent::zeroed_slice(dev, usize::try_from(len)?, GFP_KERNEL)?,
        })
    }

    /// Where the device finds the ring.
    pub fn dma_address(&self) -> DmaAddress {
        self.mem.dma_address()
    }

    /// Number of descriptors.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a ring is never empty")]
    pub fn len(&self) -> u32 {
        // CAST: Allocated with a `u32`.
        self.mem.len() as u32
    }

    #[inline]
    fn at(&self, index: u32) -> Option<*mut u64> {
        if index >= self.len() {
            return None;
        }
        let base: *mut Raw = self.mem.as_mut_ptr().cast();
        // SAFETY: The index is in the allocation.
        Some(unsafe { base.add(index as usize) }.cast())
    }

    /// Writes descriptor `index`; an index outside the ring is ignored.
    #[inline]
    pub fn write<D: Descriptor>(&self, index: u32, desc: D) {
        const { assert!(size_of::<D>() == 16) };
        // The sizes are the same, so this cannot fail.
        let q: [u64; 2] =
            zerocopy::FromBytes::read_from_bytes(zerocopy::IntoBytes::as_bytes(&desc))
                .unwrap_or_default();
        if let Some(p) = self.at(index) {
            // SAFETY: `at` returns 16 aligned bytes of the allocation.
            unsafe {
                p.write_volatile(q[0]);
                p.add(1).write_volatile(q[1]);
            }
        }
    }

    /// Reads the second quad word of descriptor `index` in CPU order: the word with the status in
    /// every format of the
    /// 82599. 0 for an index outside the ring.
    #[inline]
    pub fn status(&self, index: u32) -> u64 {
        match self.at(index) {
            // SAFETY: `at` returns 16 aligned bytes of the allocation.
            Some(p) => u64::from_le(unsafe { p.add(1).read_volatile() }),
            None => 0,
        }
    }

    /// Reads the first quad word of descriptor `index` in CPU order, after the status that was read
    /// before.
    #[inline]
    pub fn first(&self, index: u32) -> u64 {
        match self.at(index) {
            Some(p) => {
                read_barrier();
                // SAFETY: `at` returns 16 aligned bytes of the allocation.
                u64::from_le(unsafe { p.read_volatile() })
            }
            None => 0,
        }
    }

    /// [`Ring::write`] without a check.
    ///
    /// # Safety
    ///
    /// `index` is below the length.
    #[inline]
    pub(crate) unsafe fn write_unchecked<D: Descriptor>(&self, index: u32, desc: D) {
        const { assert!(size_of::<D>() == 16) };
        // SAFETY: `D` is plain bytes, as many.
        let q: [u64; 2] = unsafe { core::mem::transmute_copy(&desc) };
        let base: *mut Raw = self.mem.as_mut_ptr().cast();
        // SAFETY: By the safety requirement.
        unsafe {
            let p: *mut u64 = base.add(index as usize).cast();
            p.write_volatile(q[0]);
            p.add(1).write_volatile(q[1]);
        }
    }

    /// Writes `descs` from descriptor `index` on.
    ///
    /// # Safety
    ///
    /// `index` and how many there are do not add up to more than the length.
    #[inline]
    pub(crate) unsafe fn write_run<D: Descriptor>(
        &self,
        index: u32,
        descs: impl Iterator<Item = D>,
    ) {
        const { assert!(size_of::<D>() == 16) };
        let base: *mut Raw = self.mem.as_mut_ptr().cast();
        // SAFETY: By the safety requirement.
        let mut p: *mut u64 = unsafe { base.add(index as usize) }.cast();
        for desc in descs {
            // SAFETY: `D` is plain bytes, as many.
            let q: [u64; 2] = unsafe { core::mem::transmute_copy(&desc) };
            // SAFETY: By the safety requirement.
            unsafe {
                p.write_volatile(q[0]);
                p.add(1).write_volatile(q[1]);
                p = p.add(2);
            }
        }
    }

    /// [`Ring::status`] without a check.
    ///
    /// # Safety
    ///
    /// `index` is below the length.
    #[inline]
    pub(crate) unsafe fn status_unchecked(&self, index: u32) -> u64 {
        let base: *mut Raw = self.mem.as_mut_ptr().cast();
        // SAFETY: By the safety requirement.
        u64::from_le(unsafe {
            base.add(index as usize)
                .cast::<u64>()
                .add(1)
                .read_volatile()
        })
    }

    /// [`Ring::first`] without a check.
    ///
    /// # Safety
    ///
    /// `index` is below the length.
    #[inline]
    pub(crate) unsafe fn first_unchecked(&self, index: u32) -> u64 {
        read_barrier();
        let base: *mut Raw = self.mem.as_mut_ptr().cast();
        // SAFETY: By the safety requirement.
        u64::from_le(unsafe { base.add(index as usize).cast::<u64>().read_volatile() })
    }

    /// Zeroes the status of descriptor `index`, so that it does not look like a completed one.
    #[inline]
    pub fn clear_status(&self, index: u32) {
        if let Some(p) = self.at(index) {
            // SAFETY: `at` returns 16 aligned bytes of the allocation.
            unsafe { p.add(1).write_volatile(0) };
        }
    }

    /// Moves descriptor `mid` to index 0, the following ones behind it, and the ones before it to
    /// the end.
    ///
    /// The device must not use the ring. Nothing happens if `mid` is not in the ring.
    pub fn rotate_left(&self, mid: u32) {
        let len = self.len();
        if mid == 0 || mid >= len {
            return;
        }
        // Three reversals, so that nothing has to be allocated.
        self.reverse(0, mid);
        self.reverse(mid, len);
        self.reverse(0, len);
    }

    fn reverse(&self, mut from: u32, mut to: u32) {
        while to > from + 1 {
            to -= 1;
            if let (Some(a), Some(b)) = (self.at(from), self.at(to)) {
                for half in 0..2 {
                    // SAFETY: `at` returns 16 aligned bytes of the allocation.
                    unsafe {
                        let (a, b) = (a.add(half), b.add(half));
                        let x = a.read_volatile();
                        a.write_volatile(b.read_volatile());
                        b.write_volatile(x);
                    }
                }
            }
            from += 1;
        }
    }
}

/// `dma_rmb()`: on x86 the compiler alone has to be told.
#[inline(always)]
pub(crate) fn read_barrier() {
    #[cfg(CONFIG_X86_64)]
    crate::sync::barrier();
    #[cfg(not(CONFIG_X86_64))]
    // SAFETY: No requirements.
    unsafe {
        raw::nic_dma_rmb()
    };
}

/// An array of little-endian 64-bit words that CPU and device share.
pub struct Words {
    mem: Coherent<[u64]>,
}

impl Words {
    /// Allocates `len` zero words.
    pub fn new(dev: &Device<Bound>, len: u32) -> Result<Self> {
        Ok(Self {
            mem: Coherent::zeroed_slice(dev, usize::try_from(len)?, GFP_KERNEL)?,
        })
    }

    /// Where the device finds the array.
    pub fn dma_address(&self) -> DmaAddress {
        self.mem.dma_address()
    }

    /// Writes word `index`; an index outside the array is ignored.
    #[inline]
    pub fn write(&self, index: u32, value: u64) {
        if (index as usize) < self.mem.len() {
            let base: *mut u64 = self.mem.as_mut_ptr().cast();
            // SAFETY: The index is in the allocation.
            unsafe { base.add(index as usize).write_volatile(value.to_le()) };
        }
    }
}
