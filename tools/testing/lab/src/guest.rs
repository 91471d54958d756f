// SPDX-License-Identifier: GPL-2.0
//! Drives a virtual machine through its agent.

use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use lab_agent::{Exit, Frame, Kind, Run};

use crate::klog::Record;

/// What a command in the machine does.
#[derive(Debug)]
pub enum Event {
    /// It wrote to standard output.
    Stdout(Vec<u8>),
    /// It wrote to standard error.
    Stderr(Vec<u8>),
    /// It ended.
    Exit(Exit),
}

#[derive(Default)]
struct Shared {
    jobs: Mutex<HashMap<u32, Sender<Event>>>,
    log: Mutex<Vec<Record>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    up: bool,
    gone: bool,
}

/// Whether a machine's agent has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Up {
    /// It has.
    Yes,
    /// Not yet.
    NotYet,
    /// It never will: the connection is closed.
    Gone,
}

/// A machine's agent.
#[derive(Clone)]
pub struct Guest {
    writer: Arc<Mutex<UnixStream>>,
    shared: Arc<Shared>,
    next: Arc<AtomicU32>,
}

/// A command that runs in the machine.
pub struct Command {
    id: u32,
    guest: Guest,
    /// What it does; the channel closes when the machine is gone.
    pub events: Receiver<Event>,
}

/// What a finished command left.
#[derive(Debug, Default)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How it ended.
    pub exit: Exit,
}

impl Output {
    /// The output of a command that must have succeeded.
    ///
    /// # Errors
    /// If it did not; the message has what it wrote.
    pub fn ok(self) -> Result<String> {
        if self.exit.ok() {
            return Ok(self.stdout);
        }
        bail!("{:?}\n{}{}", self.exit, self.stdout, self.stderr)
    }
}

impl Guest {
    /// Talks to the agent at the other end of a socket.
    ///
    /// # Errors
    /// If the socket cannot be used from two threads.
    pub fn new(stream: UnixStream) -> Result<Self> {
        let reader = stream.try_clone()?;
        let guest = Self {
            writer: Arc::new(Mutex::new(stream)),
            shared: Arc::default(),
            next: Arc::new(AtomicU32::new(1)),
        };
        let shared = guest.shared.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            while let Ok(f) = Frame::read_from(&mut reader) {
                shared.take(f);
            }
            shared.state.lock().gone = true;
            shared.changed.notify_all();
            shared.jobs.lock().clear();
        });
        Ok(guest)
    }

    fn send(&self, kind: Kind, id: u32, payload: Vec<u8>) -> Result<()> {
        let f = Frame { kind, id, payload };
        let mut w = self.writer.lock();
        f.write_to(&mut *w).context("the machine's agent is gone")
    }

    /// Waits until the agent is up, for at most `limit`.
    pub fn wait_up(&self, limit: Duration) -> Up {
        let mut state = self.shared.state.lock();
        self.shared
            .changed
            .wait_while_for(&mut state, |s| !s.up && !s.gone, limit);
        match (state.up, state.gone) {
            (_, true) => Up::Gone,
            (true, false) => Up::Yes,
            (false, false) => Up::NotYet,
        }
    }

    /// Whether the agent has answered and the connection still stands.
    pub fn is_up(&self) -> bool {
        let state = self.shared.state.lock();
        state.up && !state.gone
    }

    /// Waits until all is here that the kernel wrote to its log until now.
    ///
    /// # Errors
    /// If the agent is gone, or the end of the log does not come in time.
    pub fn flush_log(&self, limit: Duration) -> Result<()> {
        let mark = format!("lab: mark {}", self.next.fetch_add(1, Ordering::Relaxed));
        let from = self.kernel_log(0).len();
        let end = Instant::now() + limit;
        while Instant::now() < end {
            // Again each second: the kernel drops what is written too often (printk.devkmsg=ratelimit).
            self.sh(&format!("echo '{mark}' >/dev/kmsg"), limit)?.ok()?;
            let again = Instant::now() + Duration::from_secs(1);
            while Instant::now() < again {
                if self.kernel_log(from).iter().any(|r| r.text == mark) {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        bail!("{mark} was written and did not come")
    }

    /// Starts a command.
    ///
    /// # Errors
    /// If the agent is gone.
    pub fn start(&self, run: &Run) -> Result<Command> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tx, events) = channel();
        self.shared.jobs.lock().insert(id, tx);
        self.send(Kind::Run, id, serde_json::to_vec(run)?)?;
        Ok(Command {
            id,
            guest: self.clone(),
            events,
        })
    }

    /// Runs a command to its end, for at most `limit`.
    ///
    /// # Errors
    /// If the machine ends first.
    pub fn run(&self, argv: &[&str], limit: Duration) -> Result<Output> {
        self.run_request(
            Run {
                argv: argv.iter().map(ToString::to_string).collect(),
                ..Run::default()
            },
            limit,
        )
    }

    /// Runs a shell script to its end, for at most `limit`.
    ///
    /// # Errors
    /// If the machine ends first.
    pub fn sh(&self, script: &str, limit: Duration) -> Result<Output> {
        self.run(&["sh", "-c", script], limit)
    }

    /// Runs a prepared request to its end, for at most `limit`.
    ///
    /// # Errors
    /// If the machine ends first.
    pub fn run_request(&self, mut run: Run, limit: Duration) -> Result<Output> {
        run.timeout_ms = Some(u64::try_from(limit.as_millis())?);
        let command = self.start(&run)?;
        command.close_stdin()?;
        let mut out = Output::default();
        // The agent enforces the limit; this one is for an agent that cannot.
        let end = Instant::now() + limit + Duration::from_secs(20);
        loop {
            match command
                .events
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(Event::Stdout(b)) => out.stdout.push_str(&String::from_utf8_lossy(&b)),
                Ok(Event::Stderr(b)) => out.stderr.push_str(&String::from_utf8_lossy(&b)),
                Ok(Event::Exit(e)) => {
                    out.exit = e;
                    return Ok(out);
                }
                Err(RecvTimeoutError::Timeout) => bail!("the machine does not answer"),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the machine ended while it ran {:?}", run.argv)
                }
            }
        }
    }

    /// Asks the machine to power off.
    ///
    /// # Errors
    /// If the agent is gone.
    pub fn power_off(&self) -> Result<()> {
        self.send(Kind::PowerOff, 0, Vec::new())
    }

    /// The kernel log from record `from` on.
    pub fn kernel_log(&self, from: usize) -> Vec<Record> {
        let log = self.shared.log.lock();
        log.get(from..).unwrap_or_default().to_vec()
    }
}

impl Shared {
    /// An agent that says anything is up: one that arrives with its VM says no hello.
    fn is_heard(&self) {
        let mut state = self.state.lock();
        if !state.up {
            state.up = true;
            self.changed.notify_all();
        }
    }

    fn take(&self, f: Frame) {
        self.is_heard();
        let event = match f.kind {
            Kind::Stdout => Event::Stdout(f.payload),
            Kind::Stderr => Event::Stderr(f.payload),
            Kind::Exit => {
                Event::Exit(serde_json::from_slice(&f.payload).unwrap_or_else(|e| Exit {
                    error: Some(e.to_string()),
                    ..Exit::default()
                }))
            }
            Kind::Kmsg => {
                if let Some(r) = Record::parse(&String::from_utf8_lossy(&f.payload)) {
                    self.log.lock().push(r);
                }
                return;
            }
            Kind::Hello | Kind::Run | Kind::Stdin | Kind::Kill | Kind::PowerOff => return,
        };
        let mut jobs = self.jobs.lock();
        let ended = matches!(event, Event::Exit(_));
        // Whoever started it may not care for it any more.
        if let Some(tx) = jobs.get(&f.id) {
            let _ = tx.send(event);
        }
        if ended {
            jobs.remove(&f.id);
        }
    }
}

/// Writes to a command's standard input from another thread than the one that takes its events.
pub struct Input {
    id: u32,
    guest: Guest,
}

impl Input {
    /// Kills the command with all that it started.
    ///
    /// # Errors
    /// If the agent is gone.
    pub fn kill(&self) -> Result<()> {
        self.guest.send(Kind::Kill, self.id, Vec::new())
    }

    /// Writes.
    ///
    /// # Errors
    /// If the agent is gone.
    pub fn send(&self, bytes: &[u8]) -> Result<()> {
        self.guest.send(Kind::Stdin, self.id, bytes.to_vec())
    }
}

impl Command {
    /// A handle on the command's standard input.
    pub fn input(&self) -> Input {
        Input {
            id: self.id,
            guest: self.guest.clone(),
        }
    }

    /// Writes to the command's standard input.
    ///
    /// # Errors
    /// If the agent is gone.
    pub fn stdin(&self, bytes: &[u8]) -> Result<()> {
        self.guest.send(Kind::Stdin, self.id, bytes.to_vec())
    }

    /// Closes the command's standard input.
    ///
    /// # Errors
    /// If the agent is gone.
    pub fn close_stdin(&self) -> Result<()> {
        self.stdin(&[])
    }
}
