// SPDX-License-Identifier: GPL-2.0
//! One use of a VF: the arcs of the state machine, and the files that carry the state.
//!
//! ```text
//!   source      RUNNING -> PRE_COPY       file opens with the compatibility record
//!               PRE_COPY -> PRE_COPY_P2P  the VF is stopped: it cannot stop DMA to peers alone
//!               PRE_COPY_P2P -> STOP_COPY the state follows in the same file
//!   or          RUNNING -> RUNNING_P2P -> STOP -> STOP_COPY   file with the state alone
//!   destination RUNNING -> RUNNING_P2P -> STOP -> RESUMING    file to write
//!               RESUMING -> STOP          the state is checked and programmed
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

/// Most bytes of a stream: a compatibility record and a state.
const STREAM_MAX: usize = 2 * STATE_MAX;

/// Reads the head of a part of a stream. One that cannot be read, as of a newer version, is the PF driver's to refuse: it
/// comes to the same end by the same decoder, and tells the host's administrator why.
fn head(vf: &Vf, part: &[u8]) -> Result<Option<Announced>> {
    announced(part).or_else(|_| vf.check_compat(part).and(Err(EINVAL)))
}

/// Splits a stream into its parts: a compatibility record, if there is one, and what follows.
fn split<'a>(vf: &Vf, stream: &'a [u8]) -> Result<(Option<&'a [u8]>, &'a [u8])> {
    match head(vf, stream)? {
        Some(head) if head.content == format::CONTENT_COMPAT => {
            match stream.split_at_checked(head.length) {
                Some((record, rest)) => Ok((Some(record), rest)),
                // Not whole yet.
                None => Ok((None, &[])),
            }
        }
        Some(_) => Ok((None, stream)),
        None => Ok((None, &[])),
    }
}

/// Looks at what was written so far: a compatibility record is judged as soon as it is whole, so that a mismatch ends a
/// move before the guest is stopped.
fn inspect(vf: &Vf, stream: &[u8], before: &mut usize) -> Result {
    let (record, rest) = split(vf, stream)?;
    if let Some(record) = record {
        if *before < record.len() {
            vf.check_compat(record)?;
            *before = record.len();
        }
    }
    match head(vf, rest)? {
        Some(head) if head.content != format::CONTENT_STATE || rest.len() > head.length => {
            Err(EINVAL)
        }
        _ => Ok(()),
    }
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
        let (stream, fd) = Stream::saving(device, precopy, STREAM_MAX)?;
        let mut buffer = KVec::from_elem(0u8, STATE_MAX, GFP_KERNEL)?;
        let length = if precopy {
            vf.compat(&mut buffer)?
        } else {
            vf.save(&mut buffer)?
        };
        stream.append(buffer.get(..length).ok_or(EIO)?)?;
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
        // Bytes that have passed the check, so that it is made once.
        let checked = Arc::pin_init(kernel::new_mutex!(0usize), GFP_KERNEL)?;
        let judge = KBox::new(
            move |stream: &[u8]| inspect(&vf, stream, &mut checked.lock()),
            GFP_KERNEL,
        )?;
        let (stream, fd) = Stream::resuming(device, STREAM_MAX, judge)?;
        self.resuming = Some(stream);
        Ok(fd)
    }

    fn load(&mut self, vf: &Vf) -> Result {
        let stream = self.resuming.as_ref().ok_or(EINVAL)?;
        stream.written(|bytes| {
            let (_, state) = split(vf, bytes)?;
            vf.load(state)
        })?;
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
