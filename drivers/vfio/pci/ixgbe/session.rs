// SPDX-License-Identifier: GPL-2.0
//! One use of a VF: the arcs of the state machine, and the files that carry the state.
//!
//! ```text
//!   source      RUNNING -> PRE_COPY       file opens with the compatibility record; another
//!                                         one follows if it changes
//!               PRE_COPY -> PRE_COPY_P2P  the VF is stopped: it cannot stop DMA to peers alone
//!               PRE_COPY_P2P -> STOP_COPY the state follows in the same file
//!   or          RUNNING -> RUNNING_P2P -> STOP -> STOP_COPY   file with the state alone
//!   destination RUNNING -> RUNNING_P2P -> STOP -> RESUMING    file to write: each part is
//!                                         checked when it is whole, and refused by write(2)
//!                                         while the source can still go on
//!               RESUMING -> STOP          the state is programmed
//!               STOP -> RUNNING_P2P -> RUNNING                the VF starts
//! ```
//! From the P2P states on the VF writes no memory. Its registers can still be read and written; tails that are written
//! meanwhile are taken up when it runs again, and travel with the state.

use crate::{
    dirty::Dirty,
    IxgbeVf, //
};
use ixgbe_migration::{
    client::Vf,
    STATE_MAX, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use libixgbe::migration::{
    announced,
    format,
    Announced, //
};
use vfio::{
    stream::{
        Fd,
        Renew,
        Stream, //
    },
    Device,
    State, //
};

/// Open files and what was done to the VF.
pub(crate) struct Session {
    saving: Option<Arc<Stream>>,
    resuming: Option<Arc<Stream>>,
    suspended: bool,
    pub(crate) dirty: Dirty,
}

/// Most bytes of a stream: compatibility records, and a state.
const STREAM_MAX: usize = 2 * STATE_MAX;

/// Reads the head of a part of a stream. One that cannot be read, as of a newer version, is the PF driver's to refuse: it
/// comes to the same end by the same decoder, and tells the host's administrator why.
fn head(vf: &Vf, part: &[u8]) -> Result<Option<Announced>> {
    announced(part).or_else(|_| vf.check(part).and(Err(EINVAL)))
}

/// How far a stream has been judged: compatibility records, of which the last counts, and then a
/// state.
#[derive(Clone, Copy)]
struct Judged {
    /// Bytes at the front that were found good.
    bytes: usize,
    /// With the state; nothing may follow.
    whole: bool,
}

/// Looks at what was written so far: each part is judged as soon as it is whole, while user space
/// waits for its write. A mismatch then ends the move, at a record before the guest is stopped, at
/// the state while the source can still go on.
fn inspect(vf: &Vf, stream: &[u8], judged: &mut Judged) -> Result {
    // What is refused is taken back by the stream, with all that came in the same write.
    let mut now = *judged;
    loop {
        let part = stream.get(now.bytes..).ok_or(EINVAL)?;
        if now.whole && !part.is_empty() {
            return Err(EINVAL);
        }
        let whole = head(vf, part)?.and_then(|head| {
            let blob = part.get(..head.length)?;
            Some((head.content, blob))
        });
        let Some((content, blob)) = whole else {
            break;
        };
        vf.check(blob)?;
        now.bytes = now.bytes.saturating_add(blob.len());
        now.whole = content == format::CONTENT_STATE;
    }
    *judged = now;
    Ok(())
}

/// The state of a stream, which comes behind its compatibility records; not whole if the stream is
/// not.
fn state<'a>(vf: &Vf, mut stream: &'a [u8]) -> Result<&'a [u8]> {
    while let Some(head) = head(vf, stream)? {
        if head.content != format::CONTENT_COMPAT {
            break;
        }
        stream = stream.get(head.length..).unwrap_or(&[]);
    }
    Ok(stream)
}

/// The compatibility records that a stream was given.
struct Records {
    last: KVec<u8>,
    bytes: usize,
}

impl Records {
    /// Notes a record; says whether it is another one than the last and there is room for it beside
    /// the state.
    fn take(&mut self, record: &[u8]) -> Result<bool> {
        let bytes = self.bytes.saturating_add(record.len());
        if *record == *self.last || bytes > STATE_MAX {
            return Ok(false);
        }
        self.last.clear();
        self.last.extend_from_slice(record, GFP_KERNEL)?;
        self.bytes = bytes;
        Ok(true)
    }
}

/// Gives the compatibility record of the VF: first with all that belongs to the begin of a move,
/// then again whenever it has changed, because the guest or the administrator has changed the VF.
fn renewal(vf: Arc<Vf>) -> Result<KBox<Renew>> {
    let records = Arc::pin_init(
        kernel::new_mutex!(Records {
            last: KVec::new(),
            bytes: 0,
        }),
        GFP_KERNEL,
    )?;
    let renew = move || {
        let mut buffer = KVec::from_elem(0u8, STATE_MAX, GFP_KERNEL)?;
        let mut records = records.lock();
        let length = if records.bytes == 0 {
            vf.compat(&mut buffer)?
        } else {
            vf.record(&mut buffer)?
        };
        buffer.truncate(length);
        Ok(records.take(&buffer)?.then_some(buffer))
    };
    Ok(KBox::new(renew, GFP_KERNEL)?)
}

impl Session {
    pub(crate) const fn new() -> Self {
        Self {
            saving: None,
            resuming: None,
            suspended: false,
            dirty: Dirty::new(),
        }
    }

    /// Whether the VF is stopped, so that the dirty log is final.
    pub(crate) fn suspended(&self) -> bool {
        self.suspended
    }

    fn close_files(&mut self) {
        for stream in [self.saving.take(), self.resuming.take()]
            .into_iter()
            .flatten()
        {
            stream.close();
        }
    }

    /// The VF was reset or its user is gone: nothing of this use is left but the dirty log's ranges.
    pub(crate) fn abandon(&mut self) {
        self.close_files();
        self.suspended = false;
        self.dirty.moved_on();
    }

    fn open_saving(&mut self, device: &Device<IxgbeVf>, precopy: bool) -> Result<Fd> {
        let vf = device.driver().vf()?;
        let renew = if precopy {
            Some(renewal(vf.clone())?)
        } else {
            None
        };
        let (stream, fd) = Stream::saving(device, renew, STREAM_MAX)?;
        if !precopy {
            let mut buffer = KVec::from_elem(0u8, STATE_MAX, GFP_KERNEL)?;
            let length = vf.save(&mut buffer)?;
            stream.append(buffer.get(..length).ok_or(EIO)?)?;
        }
        self.saving = Some(stream);
        Ok(fd)
    }

    fn finish_saving(&mut self, vf: &Vf) -> Result {
        let stream = self.saving.as_ref().ok_or(EINVAL)?;
        let mut buffer = KVec::from_elem(0u8, STATE_MAX, GFP_KERNEL)?;
        let length = vf.save(&mut buffer)?;
        stream.append(buffer.get(..length).ok_or(EIO)?)?;
        stream.complete();
        Ok(())
    }

    fn open_resuming(&mut self, device: &Device<IxgbeVf>) -> Result<Fd> {
        let vf = device.driver().vf()?.clone();
        let judged = Arc::pin_init(
            kernel::new_mutex!(Judged {
                bytes: 0,
                whole: false,
            }),
            GFP_KERNEL,
        )?;
        let judge = KBox::new(
            move |stream: &[u8]| inspect(&vf, stream, &mut judged.lock()),
            GFP_KERNEL,
        )?;
        let (stream, fd) = Stream::resuming(device, STREAM_MAX, judge)?;
        self.resuming = Some(stream);
        Ok(fd)
    }

    fn load(&mut self, vf: &Vf) -> Result {
        let stream = self.resuming.as_ref().ok_or(EINVAL)?;
        stream.written(|bytes| vf.load(state(vf, bytes)?))?;
        self.close_files();
        Ok(())
    }

    pub(crate) fn step(
        &mut self,
        device: &Device<IxgbeVf>,
        from: State,
        to: State,
    ) -> Result<Option<Fd>> {
        use State::*;

        let vf = device.driver().vf()?;
        match (from, to) {
            (Running, RunningP2p) | (PreCopy, PreCopyP2p) => {
                vf.suspend()?;
                self.suspended = true;
            }
            (RunningP2p, Running) | (PreCopyP2p, PreCopy) => {
                vf.resume()?;
                self.suspended = false;
                self.dirty.moved_on();
            }
            (RunningP2p, Stop) | (Stop, RunningP2p) => (),
            (Running, PreCopy) => return Ok(Some(self.open_saving(device, true)?)),
            (RunningP2p, PreCopyP2p) => return Ok(Some(self.open_saving(device, true)?)),
            (PreCopyP2p, StopCopy) => self.finish_saving(vf)?,
            (Stop, StopCopy) => return Ok(Some(self.open_saving(device, false)?)),
            (StopCopy, Stop) | (PreCopy, Running) | (PreCopyP2p, RunningP2p) => self.close_files(),
            (Stop, Resuming) => return Ok(Some(self.open_resuming(device)?)),
            (Resuming, Stop) => self.load(vf)?,
            // vfio_mig_get_next_state() uses no other arc.
            _ => return Err(EINVAL),
        }
        Ok(None)
    }
}
