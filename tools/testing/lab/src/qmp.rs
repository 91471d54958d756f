// SPDX-License-Identifier: GPL-2.0
//! QEMU's machine protocol, spoken to a QEMU that runs inside an emulated host.

use std::collections::VecDeque;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use lab_agent::Run;
use serde_json::{json, Value};

use crate::guest::{Command, Event, Guest};

/// How long QEMU may take to answer a command.
const ANSWER: Duration = Duration::from_secs(60);

/// A connection to a QMP socket in a host.
pub struct Qmp {
    command: Command,
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
        let command = host.start(&run)?;
        let mut qmp = Self {
            command,
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
            match self
                .command
                .events
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(Event::Stdout(b)) => self.rest.extend_from_slice(&b),
                Ok(Event::Stderr(b)) => bail!("QMP: {}", String::from_utf8_lossy(&b)),
                Ok(Event::Exit(_)) | Err(RecvTimeoutError::Disconnected) => {
                    bail!("QEMU closed its QMP socket")
                }
                Err(RecvTimeoutError::Timeout) => bail!("QEMU does not answer"),
            }
            while let Some(n) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=n).collect();
                self.ready
                    .push_back(serde_json::from_slice(&line).context("QMP")?);
            }
        }
    }

    /// Runs a command and gives what it returns.
    ///
    /// # Errors
    /// [`Refused`] where QEMU reports an error; others if the connection fails.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.command.stdin(format!("{request}\n").as_bytes())?;
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
