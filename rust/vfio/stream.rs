// SPDX-License-Identifier: GPL-2.0
//! The files through which user space reads a device's state on the source and writes it on the
//! destination.
//!
//! A stream outlives its device's interest in it: user space may keep the file open for as long as
//! it likes, so the driver closes the stream when the state machine leaves the transfer, and every
//! later use of the file fails.

use crate::Table;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    module::this_module,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        Mutex,
        SpinLock, //
    },
    types::ForeignOwnable,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    ModuleMetadata, //
};
use nic_bindings as raw;

/// What user space may do with a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Read; more comes later, so the end is not the end (ENOMSG).
    PreCopy,
    /// Read to the end.
    Final,
    /// Write.
    Resuming,
    /// Nothing (ENODEV).
    Closed,
}

struct Inner {
    data: KVec<u8>,
    position: usize,
    phase: Phase,
    /// Bytes at the front that are initial ones to `VFIO_MIG_GET_PRECOPY_INFO`.
    initial: usize,
    /// Dropped when the stream is closed, with all that it holds of the device.
    inspect: Option<KBox<Inspect>>,
    /// Likewise, or when pre-copy is over.
    renew: Option<KBox<Renew>>,
}

impl Inner {
    /// Asks for new initial data, all of the last having been read. Returns whether there is.
    fn renew(&mut self, limit: usize) -> Result<bool> {
        let Some(renew) = &self.renew else {
            return Ok(false);
        };
        let Some(bytes) = renew()? else {
            return Ok(false);
        };
        if bytes.len() > limit.saturating_sub(self.data.len()) {
            return Err(ENOSPC);
        }
        self.data.extend_from_slice(&bytes, GFP_KERNEL_ACCOUNT)?;
        Ok(true)
    }
}

/// Looks at all bytes written so far, and refuses them as soon as they are seen to be bad.
pub type Inspect = dyn Fn(&[u8]) -> Result + Send + Sync;

/// Gives initial data that takes the place of what was given before, if the device has come to need
/// it during pre-copy.
pub type Renew = dyn Fn() -> Result<Option<KVec<u8>>> + Send + Sync;

/// The bytes between a device and user space.
///
/// Streams are closed when their device is reset, with locks held that a page fault in a mapping of
/// the device takes. So whatever waits for `inner` must not fault meanwhile: user memory is read
/// and written under `user` alone, which is taken first and not needed to close.
#[pin_data]
pub struct Stream {
    /// Held by who reads or writes; bytes on their way from or to user memory, with room for all
    /// that there can be.
    #[pin]
    user: Mutex<KVec<u8>>,
    #[pin]
    inner: Mutex<Inner>,
    limit: usize,
    alive: Arc<Alive>,
}

/// A VFIO device, for its streams, which may outlive it.
///
/// # Invariants
///
/// The pointer is null, or the device is valid as long as the lock is held.
#[pin_data]
pub struct Alive {
    #[pin]
    vdev: SpinLock<Pointer>,
}

struct Pointer(*mut raw::vfio_device);

// SAFETY: A VFIO device does not belong to a thread.
unsafe impl Send for Pointer {}

impl Alive {
    /// # Safety
    ///
    /// `vdev` is valid until [`Alive::end`] has returned.
    pub(crate) unsafe fn new(vdev: *mut raw::vfio_device) -> Result<Arc<Self>> {
        let init = pin_init!(Self {
            vdev <- new_spinlock!(Pointer(vdev)),
        });
        Arc::pin_init(init, GFP_KERNEL)
    }

    /// The device goes.
    pub(crate) fn end(&self) {
        *self.vdev.lock() = Pointer(core::ptr::null_mut());
    }

    /// Whether user space has asked for `VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2`.
    fn precopy_v2(&self) -> bool {
        let vdev = self.vdev.lock();
        // SAFETY: By the type invariant; the lock is held.
        !vdev.0.is_null() && unsafe { raw::vfio_rs_precopy_v2(vdev.0) }
    }
}

/// Whose state the bytes of a stream are.
pub trait Source {
    /// The module, which open files keep loaded.
    type Module: ModuleMetadata + 'static;

    /// Name of the files.
    const NAME: &'static CStr;

    /// The device, for as long as it exists.
    #[doc(hidden)]
    fn alive(&self) -> &Arc<Alive>;
}

/// A new open file of a stream, on its way to user space.
pub struct Fd(NonNull<bindings::file>);

impl Fd {
    pub(crate) fn into_raw(self) -> *mut bindings::file {
        let file = self.0.as_ptr();
        core::mem::forget(self);
        file
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: We own a reference to the file.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}

impl Stream {
    fn make<S: Source>(
        device: &S,
        phase: Phase,
        limit: usize,
        inspect: Option<KBox<Inspect>>,
        renew: Option<KBox<Renew>>,
    ) -> Result<(Arc<Self>, Fd)> {
        // Room for all of it now, so that saving a stopped device cannot fail for want of memory.
        let data = KVec::with_capacity(limit, GFP_KERNEL_ACCOUNT)?;
        let on_the_way = KVec::with_capacity(limit, GFP_KERNEL_ACCOUNT)?;
        let stream = Arc::pin_init(
            pin_init!(Self {
                user <- new_mutex!(on_the_way),
                inner <- new_mutex!(Inner { data, position: 0, phase, initial: 0, inspect, renew }),
                limit,
                alive: device.alive().clone(),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;

        let (table, flags) = if phase == Phase::Resuming {
            (&raw const Files::<S>::RESUMING.0, bindings::O_WRONLY)
        } else {
            (&raw const Files::<S>::SAVING.0, bindings::O_RDONLY)
        };
        let private = stream.clone().into_foreign();
        // SAFETY: The name is NUL-terminated, the table is static, and the file owns `private` if
        // it is made.
        let file = unsafe {
            raw::anon_inode_getfile(
                S::NAME.as_char_ptr().cast(),
                table.cast(),
                private.cast(),
                flags as c_int,
            )
        };
        let file = kernel::error::from_err_ptr(file).inspect_err(|_| {
            // SAFETY: No file was made, so `private` is still ours.
            drop(unsafe { Arc::<Self>::from_foreign(private) });
        })?;
        // SAFETY: The file is valid and nobody else has it yet.
        unsafe { bindings::stream_open((*file).f_inode, file) };
        Ok((stream, Fd(NonNull::new(file).ok_or(ENOMEM)?)))
    }

    /// A file from which user space reads up to `limit` bytes in all; during pre-copy if there is
    /// `precopy`, which gives its data: at once, and whenever user space has read all and asks for
    /// more.
    pub fn saving<S: Source>(
        device: &S,
        precopy: Option<KBox<Renew>>,
        limit: usize,
    ) -> Result<(Arc<Self>, Fd)> {
        let phase = match &precopy {
            Some(_) => Phase::PreCopy,
            None => Phase::Final,
        };
        let (stream, fd) = Self::make(device, phase, limit, None, precopy)?;
        {
            let mut inner = stream.inner.lock();
            inner.renew(limit)?;
            inner.initial = inner.data.len();
        }
        Ok((stream, fd))
    }

    /// A file to which user space writes up to `limit` bytes in all, which `inspect` sees after
    /// each write.
    pub fn resuming<S: Source>(
        device: &S,
        limit: usize,
        inspect: KBox<Inspect>,
    ) -> Result<(Arc<Self>, Fd)> {
        Self::make(device, Phase::Resuming, limit, Some(inspect), None)
    }

    /// Adds bytes for user space to read.
    pub fn append(&self, bytes: &[u8]) -> Result {
        let mut inner = self.inner.lock();
        if bytes.len() > self.limit.saturating_sub(inner.data.len()) {
            return Err(ENOSPC);
        }
        inner.data.extend_from_slice(bytes, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    /// Pre-copy is over: what is there now is all.
    pub fn complete(&self) {
        let mut inner = self.inner.lock();
        if inner.phase == Phase::PreCopy {
            inner.phase = Phase::Final;
            inner.renew = None;
        }
    }

    /// Nothing may be read or written any more.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        inner.phase = Phase::Closed;
        inner.data.clear();
        inner.position = 0;
        inner.inspect = None;
        inner.renew = None;
    }

    /// Passes all bytes that user space wrote to `f`.
    pub fn written<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(&self.inner.lock().data)
    }

    fn read(&self, buffer: UserSlice) -> Result<usize> {
        let mut bytes = self.user.lock();
        let mut writer = buffer.writer();
        bytes.clear();
        {
            let inner = &mut *self.inner.lock();
            match inner.phase {
                Phase::PreCopy | Phase::Final => (),
                _ => return Err(ENODEV),
            }
            // Who has asked for version 2 of the information is told there of new initial data, and
            // asks there first.
            if inner.phase == Phase::PreCopy
                && inner.position >= inner.data.len()
                && !self.alive.precopy_v2()
            {
                inner.renew(self.limit)?;
            }
            let rest = inner.data.get(inner.position..).unwrap_or(&[]);
            if rest.is_empty() && inner.phase == Phase::PreCopy {
                return Err(ENOMSG);
            }
            let part = rest.get(..rest.len().min(writer.len())).unwrap_or(&[]);
            bytes.extend_from_slice(part, GFP_KERNEL_ACCOUNT)?;
        }
        writer.write_slice(&bytes)?;
        let mut inner = self.inner.lock();
        // Nobody else reads meanwhile, but the stream may have been closed.
        if inner.phase != Phase::Closed {
            inner.position = inner.position.saturating_add(bytes.len());
        }
        Ok(bytes.len())
    }

    /// How many more bytes may be written.
    fn room(&self) -> Result<usize> {
        let inner = self.inner.lock();
        if inner.phase != Phase::Resuming {
            return Err(ENODEV);
        }
        Ok(self.limit.saturating_sub(inner.data.len()))
    }

    fn write(&self, buffer: UserSlice) -> Result<usize> {
        let mut bytes = self.user.lock();
        let mut reader = buffer.reader();
        let length = reader.len();
        if length > self.room()? {
            return Err(ENOMEM);
        }
        bytes.resize(length, 0, GFP_KERNEL_ACCOUNT)?;
        reader.read_slice(&mut bytes)?;
        let mut inner = self.inner.lock();
        if inner.phase != Phase::Resuming {
            return Err(ENODEV);
        }
        let before = inner.data.len();
        inner.data.extend_from_slice(&bytes, GFP_KERNEL_ACCOUNT)?;
        let Inner { data, inspect, .. } = &mut *inner;
        if let Some(inspect) = inspect {
            inspect(data).inspect_err(|_| data.truncate(before))?;
        }
        Ok(length)
    }

    /// `VFIO_MIG_GET_PRECOPY_INFO`
    fn precopy_info(&self, cmd: u32, arg: c_ulong) -> Result {
        if cmd != PRECOPY_INFO {
            return Err(ENOTTY);
        }
        let mut info: raw::vfio_precopy_info = pin_init::zeroed();
        // SAFETY: `info` is valid; C checks the user address.
        to_result(unsafe { raw::vfio_rs_precopy_argument(arg, &mut info) })?;
        {
            let inner = &mut *self.inner.lock();
            if inner.phase != Phase::PreCopy {
                return Err(EINVAL);
            }
            let new = inner.position >= inner.data.len() && inner.renew(self.limit)?;
            // Without version 2 initial bytes only become fewer, and what comes later is a change
            // of them.
            if self.alive.precopy_v2() {
                info.flags = if new { PRECOPY_REINIT } else { 0 };
                if new {
                    inner.initial = inner.data.len();
                }
            }
            let rest = inner.data.len().saturating_sub(inner.position);
            let initial = inner.initial.saturating_sub(inner.position);
            info.initial_bytes = initial as u64;
            info.dirty_bytes = rest.saturating_sub(initial) as u64;
        }
        // SAFETY: `info` is valid; C checks the user address.
        to_result(unsafe { raw::vfio_rs_precopy_result(arg, &info) })
    }
}

/// `VFIO_MIG_GET_PRECOPY_INFO`: `_IO(VFIO_TYPE, VFIO_BASE + 21)`
const PRECOPY_INFO: u32 = kernel::ioctl::_IO(b';' as u32, 100 + 21);

/// `VFIO_PRECOPY_INFO_REINIT`
const PRECOPY_REINIT: u32 = raw::VFIO_PRECOPY_INFO_REINIT;

struct Files<S>(PhantomData<S>);

impl<S: Source> Files<S> {
    const SAVING: &'static Table<raw::file_operations> = &Table({
        let mut ops: raw::file_operations = pin_init::zeroed();
        ops.owner = this_module::<S::Module>().as_ptr();
        ops.read = Some(Self::read_callback);
        ops.unlocked_ioctl = Some(Self::precopy_callback);
        #[cfg(CONFIG_COMPAT)]
        {
            ops.compat_ioctl = Some(raw::compat_ptr_ioctl);
        }
        ops.release = Some(Self::release_callback);
        ops
    });

    const RESUMING: &'static Table<raw::file_operations> = &Table({
        let mut ops: raw::file_operations = pin_init::zeroed();
        ops.owner = this_module::<S::Module>().as_ptr();
        ops.write = Some(Self::write_callback);
        ops.release = Some(Self::release_callback);
        ops
    });

    /// # Safety
    ///
    /// `file` is the argument of a callback of a file that `Stream::make` has made.
    unsafe fn stream<'a>(file: *mut bindings::file) -> ArcBorrow<'a, Stream> {
        // SAFETY: By the safety requirement the private data is an `Arc<Stream>`, which lives until
        // `release_callback`.
        unsafe { Arc::<Stream>::borrow((*file).private_data.cast()) }
    }

    extern "C" fn read_callback(
        file: *mut bindings::file,
        buffer: *mut c_char,
        length: usize,
        position: *mut raw::loff_t,
    ) -> isize {
        // SAFETY: A file of ours.
        let stream = unsafe { Self::stream(file) };

        if !position.is_null() {
            return ESPIPE.to_errno() as isize;
        }
        // CAST: At most `isize::MAX`, see rw_verify_area().
        match stream.read(UserSlice::new(UserPtr::from_ptr(buffer.cast()), length)) {
            Ok(n) => n as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    extern "C" fn write_callback(
        file: *mut bindings::file,
        buffer: *const c_char,
        length: usize,
        position: *mut raw::loff_t,
    ) -> isize {
        // SAFETY: A file of ours.
        let stream = unsafe { Self::stream(file) };

        if !position.is_null() {
            return ESPIPE.to_errno() as isize;
        }
        match stream.write(UserSlice::new(
            UserPtr::from_ptr(buffer.cast_mut().cast()),
            length,
        )) {
            Ok(n) => n as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    extern "C" fn precopy_callback(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: A file of ours.
        let stream = unsafe { Self::stream(file) };

        let result = from_result(|| stream.precopy_info(cmd, arg).map(|()| 0));
        result as c_long
    }

    extern "C" fn release_callback(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: The file is gone after this, so its reference to the stream is ours again.
        drop(unsafe { Arc::<Stream>::from_foreign((*file).private_data.cast()) });
        0
    }
}
