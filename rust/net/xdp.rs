// SPDX-License-Identifier: GPL-2.0
//! XDP: programs that look at received frames before there is a socket buffer.
//!
//! C header: [`include/net/xdp.h`](srctree/include/net/xdp.h)

use super::{
    Device,
    Driver, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    },
};
use nic_bindings as raw;

/// A reference to a BPF program.
pub struct Prog(NonNull<raw::bpf_prog>);

// SAFETY: Programs are reference counted and immutable.
unsafe impl Send for Prog {}
// SAFETY: As above.
unsafe impl Sync for Prog {}

impl Prog {
    /// # Safety
    ///
    /// The caller passes on one reference of a valid program.
    pub(crate) unsafe fn from_raw(prog: NonNull<raw::bpf_prog>) -> Self {
        Self(prog)
    }
}

impl Drop for Prog {
    fn drop(&mut self) {
        // SAFETY: Owns a reference. C frees the program only after a grace period.
        unsafe { raw::nic_bpf_prog_put(self.0.as_ptr()) }
    }
}

/// A program borrowed for one NAPI poll.
#[derive(Clone, Copy)]
pub struct ProgRef<'a>(NonNull<raw::bpf_prog>, PhantomData<(&'a (), *mut ())>);

impl ProgRef<'_> {
    #[inline]
    pub(crate) fn as_raw(self) -> *mut raw::bpf_prog {
        self.0.as_ptr()
    }
}

/// The program of a device, replaceable while polls run.
#[derive(Default)]
pub struct ProgSlot(AtomicPtr<raw::bpf_prog>);

impl ProgSlot {
    /// No program.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// Puts in a program, or none; returns what was there, whose drop waits for nobody: C frees it after a grace period,
    /// which polls delay.
    pub fn swap(&self, prog: Option<Prog>) -> Option<Prog> {
        let new = prog.map_or(core::ptr::null_mut(), |p| {
            core::mem::ManuallyDrop::new(p).0.as_ptr()
        });
        NonNull::new(self.0.swap(new, Ordering::AcqRel)).map(Prog)
    }

    /// Whether there is a program.
    pub fn is_some(&self) -> bool {
        !self.0.load(Ordering::Relaxed).is_null()
    }

    /// The program, for the poll that `_napi` is a proof of.
    #[inline]
    pub fn get<'a>(&self, _napi: &'a super::NapiRef) -> Option<ProgRef<'a>> {
        // Acquire is free on x86 and makes the program's contents visible elsewhere.
        NonNull::new(self.0.load(Ordering::Acquire)).map(|p| ProgRef(p, PhantomData))
    }
}

impl Drop for ProgSlot {
    fn drop(&mut self) {
        drop(self.swap(None));
    }
}

/// An owned frame without socket buffer.
///
/// Dropping it returns its memory.
pub struct XdpFrame(NonNull<raw::xdp_frame>);

// SAFETY: A frame does not belong to a thread.
unsafe impl Send for XdpFrame {}

impl XdpFrame {
    /// # Safety
    ///
    /// The caller passes on the ownership of a valid frame.
    #[inline]
    pub(crate) unsafe fn from_raw(frame: NonNull<raw::xdp_frame>) -> Self {
        Self(frame)
    }

    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<raw::xdp_frame> {
        core::mem::ManuallyDrop::new(self).0
    }

    #[inline]
    pub(crate) fn data(&self) -> *mut core::ffi::c_void {
        // SAFETY: Owns a valid frame.
        unsafe { (*self.0.as_ptr()).data }
    }

    /// Length in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a frame has a header")]
    pub fn len(&self) -> u32 {
        // SAFETY: Owns a valid frame.
        unsafe { (*self.0.as_ptr()).len }
    }
}

impl Drop for XdpFrame {
    fn drop(&mut self) {
        // SAFETY: Owns a valid frame.
        unsafe { raw::xdp_return_frame(self.0.as_ptr()) }
    }
}

/// Frames that another device redirected to this one, see [`Driver::xdp_xmit`].
pub struct XdpFrames<'a> {
    frames: &'a [*mut raw::xdp_frame],
    taken: usize,
}

impl<'a> XdpFrames<'a> {
    /// # Safety
    ///
    /// All are valid frames whose ownership goes to whoever takes them.
    pub(super) unsafe fn new(frames: &'a [*mut raw::xdp_frame]) -> Self {
        Self { frames, taken: 0 }
    }

    /// Takes the next frame. One that could not be sent is put back with [`XdpFrames::refuse`], which ends the batch: what
    /// is not taken stays with the core.
    pub fn take(&mut self) -> Option<XdpFrame> {
        let frame = NonNull::new(*self.frames.get(self.taken)?)?;
        self.taken += 1;
        // SAFETY: By the safety requirement of `new`; each is taken once.
        Some(unsafe { XdpFrame::from_raw(frame) })
    }

    /// Gives back the frame that was taken last.
    pub fn refuse(&mut self, frame: XdpFrame) {
        frame.into_raw();
        self.taken = self.taken.saturating_sub(1);
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }
}

/// Ends a poll in which a frame was redirected (`xdp_do_flush`).
pub fn flush(_napi: &super::NapiRef) {
    // SAFETY: In a NAPI poll.
    unsafe { raw::xdp_do_flush() }
}

/// Number of the CPU that this poll, or [`Driver::xdp_xmit`], runs on.
pub fn this_cpu() -> u32 {
    // CAST: Never negative.
    // SAFETY: No requirements.
    unsafe { raw::nic_smp_processor_id() as u32 }
}

impl<D: Driver> Device<D> {
    /// Says whether other devices may redirect to this one now.
    pub fn set_redirect_target(&self, _rtnl: &super::Rtnl, on: bool) {
        // SAFETY: RTNL is held.
        unsafe { raw::nic_xdp_features_set_redirect_target(self.as_raw(), on) }
    }
}
