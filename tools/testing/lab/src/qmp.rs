// SPDX-License-Identifier: GPL-2.0
//! QEMU's machine protocol, spoken to a QEMU of this machine or to one that runs inside an emulated host.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use lab_agent::Run;
use serde_json::{json, Value};

use crate::guest::{Command, Event, Guest};

/// How long QEMU may take to answer a command.
const ANSWER: Duration = Duration::from_secs(60);

/// The way to a QMP socket.
enum Wire {
    /// A socket of this machine.
    Here(UnixStream),
    /// One in an emulated host, by `socat` there.
    Host(Command),
}

impl Wire {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Here(stream) => Ok(stream.write_all(bytes)?),
            Self::Host(command) => command.stdin(bytes),
        }
    }

    /// Some bytes, as soon as there are any.
    fn receive(&mut self, end: Instant) -> Result<Vec<u8>> {
        let left = end.saturating_duration_since(Instant::now());
        match self {
            Self::Here(stream) => {
                // A time-out of 0 would mean none.
                stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
                let mut bytes = vec![0; 4096];
                let n = stream.read(&mut bytes).context("QEMU does not answer")?;
                if n == 0 {
                    bail!("QEMU closed its QMP socket");
                }
                bytes.truncate(n);
                Ok(bytes)
            }
            Self::Host(command) => match command.events.recv_timeout(left) {
                Ok(Event::Stdout(b)) => Ok(b),
                Ok(Event::Stderr(b)) => bail!("QMP: {}", String::from_utf8_lossy(&b)),
                Ok(Event::Exit(_)) | Err(RecvTimeoutError::Disconnected) => {
                    bail!("QEMU closed its QMP socket")
                }
                Err(RecvTimeoutError::Timeout) => bail!("QEMU does not answer"),
            },
        }
    }
}

/// A connection to a QMP socket.
pub struct Qmp {
    wire: Wire,
    rest: Vec<u8>,
    ready: VecDeque<Value>,
    /// Events that came while something else was waited for, oldest first.
    pub events: VecDeque<Value>,
}

/// An error that QEMU itself reported: the command was understood and refused.
#[derive(Debug)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Qmp {
    /// Connects to the socket at `path` in a host and negotiates.
    ///
    /// # Errors
    /// If nothing answers there.
    pub fn connect(host: &Guest, path: &str) -> Result<Self> {
        let run = Run {
            argv: [
                "socat",
                "-",
                &format!("UNIX-CONNECT:{path},retry=600,interval=0.1"),
            ]
            .map(String::from)
            .to_vec(),
            ..Run::default()
        };
        Self::new(Wire::Host(host.start(&run)?))
    }

    /// Connects to a socket of this machine and negotiates.
    ///
    /// # Errors
    /// If nothing answers there.
    pub fn connect_here(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("connecting to {}", path.display()))?;
        Self::new(Wire::Here(stream))
    }

    fn new(wire: Wire) -> Result<Self> {
        let mut qmp = Self {
            wire,
            rest: Vec::new(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
        };
        qmp.read(Instant::now() + ANSWER)?
            .get("QMP")
            .context("no greeting from QMP")?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    fn read(&mut self, end: Instant) -> Result<Value> {
        loop {
            if let Some(v) = self.ready.pop_front() {
                return Ok(v);
            }
            let bytes = self.wire.receive(end).map_err(|e| self.with_reason(e))?;
            self.rest.extend_from_slice(&bytes);
            while let Some(n) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=n).collect();
                self.ready
                    .push_back(serde_json::from_slice(&line).context("QMP")?);
            }
        }
    }

    /// Adds why QEMU ended, if it said so: `guest-reset` is also that of a triple fault.
    fn with_reason(&self, e: anyhow::Error) -> anyhow::Error {
        let is_end = |e: &&Value| e.get("event").and_then(Value::as_str) == Some("SHUTDOWN");
        match self.events.iter().rfind(is_end) {
            Some(end) => e.context(format!("QEMU ended, after it had said {end}")),
            None => e,
        }
    }

    /// Runs a command and gives what it returns.
    ///
    /// # Errors
    /// [`Refused`] where QEMU reports an error; others if the connection fails.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.wire.send(format!("{request}\n").as_bytes())?;
        let end = Instant::now() + ANSWER;
        loop {
            let mut v = self.read(end)?;
            if let Some(e) = v.get("error") {
                let text = e
                    .get("desc")
                    .and_then(Value::as_str)
                    .unwrap_or("unknown error");
                return Err(Refused(text.to_owned()))
                    .with_context(|| format!("QEMU refused {command}"));
            }
            if let Some(r) = v.get_mut("return") {
                return Ok(r.take());
            }
            self.events.push_back(v);
        }
    }

    /// Runs a command of the human monitor and gives what it prints.
    ///
    /// # Errors
    /// Those of [`Self::execute`].
    pub fn human(&mut self, command: &str) -> Result<String> {
        let text = self.execute("human-monitor-command", json!({ "command-line": command }))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits for an event that `is_it` takes, one that came before included, and gives it.
    ///
    /// # Errors
    /// If it does not come in time.
    pub fn wait(&mut self, is_it: impl Fn(&Value) -> bool, limit: Duration) -> Result<Value> {
        if let Some(i) = self.events.iter().position(&is_it) {
            return self.events.remove(i).context("the event is gone");
        }
        let end = Instant::now() + limit;
        loop {
            let v = self.read(end).context("waiting for an event")?;
            if is_it(&v) {
                return Ok(v);
            }
            self.events.push_back(v);
        }
    }
}

/// When QEMU made an event, in µs of its host's clock.
pub fn stamp_us(event: &Value) -> u64 {
    let part = |name: &str| {
        event
            .pointer(&format!("/timestamp/{name}"))
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    part("seconds") * 1_000_000 + part("microseconds")
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_qemu_that_ends_is_quoted_with_its_reason() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("qmp");
        let listener = UnixListener::bind(&path)?;
        let qemu = std::thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.write_all(b"{\"QMP\": {}}\n")?;
            let mut line = String::new();
            std::io::BufReader::new(stream.try_clone()?).read_line(&mut line)?;
            stream.write_all(
                b"{\"return\": {}}\n{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n",
            )?;
            Ok(())
        });
        let mut qmp = Qmp::connect_here(&path)?;
        let lost = qmp.wait(|_| false, Duration::from_secs(60));
        let why = lost.err().map(|e| format!("{e:#}")).unwrap_or_default();
        assert!(why.contains("guest-reset"), "{why}");
        assert!(why.contains("QEMU closed its QMP socket"), "{why}");
        qemu.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        Ok(())
    }
}
