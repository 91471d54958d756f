// SPDX-License-Identifier: GPL-2.0
//! XDP: programs that look at received frames before there is a socket buffer.
//!
//! C header: [`include/net/xdp.h`](srctree/include/net/xdp.h)

use super::instance::NapiRef;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    dma::DmaAddress,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    }, //
};
use nic_bindings as raw;

/// A reference to a BPF program.
pub struct Prog(NonNull<raw::bpf_prog>);

// SAFETY: Programs are reference counted and immutable.
unsafe impl Send for Prog {}
// SAFETY: A shared reference gives nothing.
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
///
/// # Invariants
///
/// Valid for the poll that is borrowed: programs are freed after a grace period.
#[derive(Clone, Copy)]
pub struct ProgRef<'a>(NonNull<raw::bpf_prog>, PhantomData<(&'a (), *mut ())>);

impl ProgRef<'_> {
    #[inline]
    pub(crate) fn as_raw(self) -> *mut raw::bpf_prog {
        self.0.as_ptr()
    }
}

/// The program of a device, replaceable while polls run.
///
/// # Invariants
///
/// Null, or owns a reference to a program.
pub struct ProgSlot(Atomic<*mut raw::bpf_prog>);

impl ProgSlot {
    /// No program.
    pub const fn new() -> Self {
        Self(Atomic::new(core::ptr::null_mut()))
    }

    /// Puts in a program, or none; returns what was there, whose drop waits for nobody: C frees it
    /// after a grace period, which polls delay.
    pub fn swap(&self, prog: Option<Prog>) -> Option<Prog> {
        let new = prog.map_or(core::ptr::null_mut(), |p| {
            core::mem::ManuallyDrop::new(p).0.as_ptr()
        });
        NonNull::new(self.0.xchg(new, Full)).map(Prog)
    }

    /// Whether there is a program.
    pub fn is_some(&self) -> bool {
        !self.0.load(Relaxed).is_null()
    }

    /// The program, for the poll that `_napi` is a proof of.
    #[inline]
    pub fn get<'a>(&self, _napi: &'a NapiRef) -> Option<ProgRef<'a>> {
        // SAFETY: A valid word. `rcu_dereference()`: what is read by the pointer was written before
        // the pointer, since the one depends on the other.
        let prog = unsafe { self.0.as_ptr().read_volatile() };
        NonNull::new(prog).map(|p| ProgRef(p, PhantomData))
    }
}

impl Default for ProgSlot {
    fn default() -> Self {
        Self::new()
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
///
/// # Invariants
///
/// Owns a valid frame.
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
    pub(crate) fn raw_ptr(&self) -> *mut raw::xdp_frame {
        self.0.as_ptr()
    }

    /// Length in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a frame has a header")]
    pub fn len(&self) -> u32 {
        // SAFETY: Owns a valid frame.
        unsafe { (*self.0.as_ptr()).len }
    }
}

/// A frame that a program sends back, in the buffer of a ring in which it was received.
///
/// # Invariants
///
/// `dma` is where the device reads the frame, whose `struct device` is at `dev`: as long as the
/// frame is there and the device is not stopped. Or it is `DmaAddress::MAX`, and the frame is not
/// mapped for that.
pub struct SentBack {
    pub(super) frame: XdpFrame,
    pub(super) dma: DmaAddress,
    pub(super) dev: *const bindings::device,
}

impl Drop for XdpFrame {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Owns a valid frame.
        unsafe { raw::xdp_return_frame(self.0.as_ptr()) }
    }
}

/// Frames that another device redirected to this one, see
/// [`Driver::xdp_xmit`](super::Driver::xdp_xmit).
///
/// # Invariants
///
/// Those from `taken` on are the core's; all are valid. This CPU is in a softirq.
pub struct XdpFrames<'a> {
    frames: &'a [*mut raw::xdp_frame],
    taken: usize,
    _cpu: PhantomData<*mut ()>,
}

impl<'a> XdpFrames<'a> {
    /// # Safety
    ///
    /// All are valid frames whose ownership goes to whoever takes them, in a softirq.
    pub(super) unsafe fn new(frames: &'a [*mut raw::xdp_frame]) -> Self {
        Self {
            frames,
            taken: 0,
            _cpu: PhantomData,
        }
    }

    /// Passes one frame after the other to `send`, until one comes back: that one and what follows
    /// stays with the core.
    #[inline]
    pub fn send_each(&mut self, mut send: impl FnMut(XdpFrame) -> Result<(), XdpFrame>) {
        while let Some(frame) = self.frames.get(self.taken).and_then(|f| NonNull::new(*f)) {
            self.taken += 1;
            // SAFETY: By the type invariant; each is taken once.
            if let Err(back) = send(unsafe { XdpFrame::from_raw(frame) }) {
                // Another one is no more the core's than it was, and goes.
                if back.0 == frame {
                    back.into_raw();
                    self.taken -= 1;
                }
                return;
            }
        }
    }

    /// Number of this CPU.
    pub fn cpu(&self) -> u32 {
        // CAST: Never negative.
        // SAFETY: By the type invariant the task does not move.
        unsafe { raw::nic_smp_processor_id() as u32 }
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }
}

/// Ends a poll in which a frame was redirected (`xdp_do_flush`).
pub fn flush(_napi: &NapiRef) {
    // SAFETY: In a NAPI poll.
    unsafe { raw::xdp_do_flush() }
}
