// SPDX-License-Identifier: GPL-2.0
//! What `cargo lab` and the agent inside a virtual machine say to each other.
//!
//! The two talk over a virtio-serial port named [`PORT`]: a byte stream, so every message is a [`Frame`] with its length in
//! front. Commands are told apart by an id that the lab chooses; several run at once.

#![forbid(unsafe_code)]

pub mod pattern;

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// Name of the virtio-serial port that the agent serves.
pub const PORT: &str = "lab.agent";

/// Name of the virtio-serial port on which a test inside the machine asks the lab's station: one line of JSON each way.
pub const STATION_PORT: &str = "lab.station";

/// Longest payload that either side accepts, in bytes.
pub const MAX_PAYLOAD: u32 = 1 << 20;

/// What a frame means. 0 is never sent, so that a stream of zeroes is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Lab to agent: start a command; the payload is a [`Run`] in JSON.
    Run = 1,
    /// Lab to agent: bytes for the command's standard input; an empty payload closes it.
    Stdin = 2,
    /// Lab to agent: kill the command's process group.
    Kill = 3,
    /// Lab to agent: power the machine off.
    PowerOff = 4,
    /// Agent to lab: the machine is up; the payload is the kernel's release string.
    Hello = 16,
    /// Agent to lab: bytes of standard output.
    Stdout = 17,
    /// Agent to lab: bytes of standard error.
    Stderr = 18,
    /// Agent to lab: the command ended; the payload is an [`Exit`] in JSON.
    Exit = 19,
    /// Agent to lab: one record of the kernel's log, as `/dev/kmsg` gives it.
    Kmsg = 20,
}

impl Kind {
    fn from_wire(v: u8) -> Option<Self> {
        Some(match v {
            1 => Self::Run,
            2 => Self::Stdin,
            3 => Self::Kill,
            4 => Self::PowerOff,
            16 => Self::Hello,
            17 => Self::Stdout,
            18 => Self::Stderr,
            19 => Self::Exit,
            20 => Self::Kmsg,
            _ => return None,
        })
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it means.
    pub kind: Kind,
    /// Which command it belongs to; 0 where it belongs to none.
    pub id: u32,
    /// The bytes.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Writes the frame: payload length (u32), kind (u8), id (u32), payload; little-endian.
    ///
    /// # Errors
    /// Those of the writer, and `InvalidInput` for a payload above [`MAX_PAYLOAD`].
    pub fn write_to(&self, w: &mut impl Write) -> io::Result<()> {
        let len = u32::try_from(self.payload.len())
            .ok()
            .filter(|l| *l <= MAX_PAYLOAD)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "payload too long"))?;
        let mut buf = Vec::with_capacity(9 + self.payload.len());
        buf.extend_from_slice(&len.to_le_bytes());
        buf.push(self.kind as u8);
        buf.extend_from_slice(&self.id.to_le_bytes());
        buf.extend_from_slice(&self.payload);
        w.write_all(&buf)?;
        w.flush()
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// Those of the reader, and `InvalidData` for an unknown kind or a payload above [`MAX_PAYLOAD`].
    pub fn read_from(r: &mut impl Read) -> io::Result<Self> {
        let mut head = [0u8; 9];
        r.read_exact(&mut head)?;
        let [l0, l1, l2, l3, kind, i0, i1, i2, i3] = head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let kind = Kind::from_wire(kind).ok_or_else(|| bad("unknown kind of frame"))?;
        if len > MAX_PAYLOAD {
            return Err(bad("frame too long"));
        }
        let mut payload = vec![0; len as usize];
        r.read_exact(&mut payload)?;
        Ok(Self {
            kind,
            id: u32::from_le_bytes([i0, i1, i2, i3]),
            payload,
        })
    }
}

/// A command to run in the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Program and arguments; the program is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Variables added to the agent's own environment.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Working directory; `/` where absent.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Give the command a terminal; its output then comes as [`Kind::Stdout`] alone.
    #[serde(default)]
    pub pty: Option<Pty>,
    /// Kill the command's process group after this many milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// Size of a command's terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pty {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit status, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// It was killed because its time was over.
    #[serde(default)]
    pub timed_out: bool,
    /// It could not be started: why.
    #[serde(default)]
    pub error: Option<String>,
}

impl Exit {
    /// Whether the command ended by itself with status 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0) && !self.timed_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_wire() {
        let f = Frame {
            kind: Kind::Stdout,
            id: 7,
            payload: b"ok 1 ping\n".to_vec(),
        };
        let mut wire = Vec::new();
        f.write_to(&mut wire).expect("a vector takes every byte");
        assert_eq!(
            Frame::read_from(&mut wire.as_slice()).expect("whole frame"),
            f
        );
        wire.pop();
        assert_eq!(
            Frame::read_from(&mut wire.as_slice())
                .expect_err("cut short")
                .kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn garbage_is_refused() {
        let zeroes = [0u8; 16];
        let long = [0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0];
        for wire in [&zeroes[..], &long[..]] {
            let e = Frame::read_from(&mut &wire[..]).expect_err("not a frame");
            assert_eq!(e.kind(), io::ErrorKind::InvalidData);
        }
    }
}
