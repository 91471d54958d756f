// SPDX-License-Identifier: GPL-2.0
//! Runs commands for the lab and sends their output and the kernel's log back.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lab_agent::{Exit, Frame, Kind, Run, PORT};
use nix::pty::{openpty, Winsize};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;

/// The port's writing half; frames of several threads must not mix.
#[derive(Clone)]
struct Out(Arc<Mutex<File>>);

impl Out {
    fn send(&self, kind: Kind, id: u32, payload: &[u8]) {
        let f = Frame {
            kind,
            id,
            payload: payload.to_vec(),
        };
        let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is left to tell if the port is gone.
        let _ = f.write_to(&mut *port);
    }
}

/// What is needed to talk to a command that runs.
struct Job {
    input: Option<Input>,
    group: Pid,
}

enum Input {
    Pipe(ChildStdin),
    Terminal(File),
}

type Jobs = Arc<Mutex<HashMap<u32, Job>>>;

/// A virtio-serial port reads as end of file while the other side is not there.
struct Patient(File);

impl Read for Patient {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(buf)? {
                0 => thread::sleep(Duration::from_millis(20)),
                n => return Ok(n),
            }
        }
    }
}

/// Serves the lab until it asks for power-off.
pub(crate) fn serve() -> Result<()> {
    let path = format!("/dev/virtio-ports/{PORT}");
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {path}"))?;
    let out = Out(Arc::new(Mutex::new(port.try_clone()?)));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    out.send(Kind::Hello, 0, release.trim().as_bytes());
    let log = out.clone();
    thread::spawn(move || forward_kernel_log(&log));

    let jobs: Jobs = Jobs::default();
    let mut port = Patient(port);
    loop {
        let f = Frame::read_from(&mut port)?;
        match f.kind {
            Kind::Run => {
                let request: Run = serde_json::from_slice(&f.payload)?;
                start(f.id, request, &out, &jobs);
            }
            Kind::Stdin => {
                let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(job) = jobs.get_mut(&f.id) {
                    if f.payload.is_empty() {
                        job.input = None;
                    } else {
                        // A command that closed its input is the command's business.
                        let _ = match &mut job.input {
                            Some(Input::Pipe(p)) => p.write_all(&f.payload),
                            Some(Input::Terminal(t)) => t.write_all(&f.payload),
                            None => Ok(()),
                        };
                    }
                }
            }
            Kind::Kill => {
                if let Some(job) = jobs
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(&f.id)
                {
                    let _ = killpg(job.group, Signal::SIGKILL);
                }
            }
            Kind::PowerOff => return Ok(()),
            Kind::Hello | Kind::Stdout | Kind::Stderr | Kind::Exit | Kind::Kmsg => {}
        }
    }
}

fn forward_kernel_log(out: &Out) {
    let lost = |e: std::io::Error| {
        // A record without a number: the lab takes it for a fault.
        let text = format!("3,-,0,-;lab-agent: the kernel log cannot be read: {e}");
        out.send(Kind::Kmsg, 0, text.as_bytes());
    };
    let mut kmsg = match File::open("/dev/kmsg") {
        Ok(kmsg) => kmsg,
        Err(e) => return lost(e),
    };
    // CONSOLE_EXT_LOG_MAX in include/linux/printk.h.
    let mut buf = [0u8; 8192];
    loop {
        match kmsg.read(&mut buf) {
            Ok(n) => out.send(Kind::Kmsg, 0, buf.get(..n).unwrap_or_default()),
            // EPIPE: records were overwritten before they were read; the next read continues behind the hole, and the lab sees by
            // the numbers how many are missing.
            Err(e) if e.raw_os_error() == Some(nix::libc::EPIPE) => {}
            Err(e) => return lost(e),
        }
    }
}

/// How long the last output of a command that has ended may take to be read. A machine that stands still in between, as one that is
/// emulated beside others does for seconds, must not lose it: what is missing would be taken for a fault of whoever wrote it.
const OUTPUT: Duration = Duration::from_secs(30);

/// The same of a terminal, which jobs in the background keep open, and at which somebody waits.
const OUTPUT_OF_A_TERMINAL: Duration = Duration::from_millis(500);

fn start(id: u32, request: Run, out: &Out, jobs: &Jobs) {
    if let Err(e) = try_start(id, request, out, jobs) {
        let exit = Exit {
            error: Some(format!("{e:#}")),
            ..Exit::default()
        };
        send_exit(out, id, &exit);
    }
}

fn send_exit(out: &Out, id: u32, exit: &Exit) {
    let json = serde_json::to_vec(exit).unwrap_or_default();
    out.send(Kind::Exit, id, &json);
}

fn try_start(id: u32, request: Run, out: &Out, jobs: &Jobs) -> Result<()> {
    let mut argv = request.argv;
    if request.pty.is_some() {
        // The command leads a session with the terminal as its controlling one, so that job control and Ctrl-C work.
        argv.splice(0..0, ["setsid", "--ctty", "--wait"].map(String::from));
    }
    let (program, args) = argv.split_first().context("empty command")?;
    let mut cmd = Command::new(program);
    cmd.args(args)
        .envs(request.env)
        .current_dir(request.cwd.as_deref().unwrap_or("/"))
        .process_group(0);
    let terminal = match request.pty {
        Some(size) => {
            let size = Winsize {
                ws_row: size.rows,
                ws_col: size.cols,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let pty = openpty(Some(&size), None).context("opening a terminal")?;
            cmd.stdin(stdio(&pty.slave)?)
                .stdout(stdio(&pty.slave)?)
                .stderr(stdio(&pty.slave)?);
            Some(File::from(pty.master))
        }
        None => {
            cmd.stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            None
        }
    };
    let mut child = cmd.spawn().with_context(|| format!("starting {program}"))?;
    // Its copies of the terminal's far side must go, or the near side never ends.
    drop(cmd);
    let group = Pid::from_raw(i32::try_from(child.id())?);

    let mut pumps = Vec::new();
    let input = match terminal {
        Some(t) => {
            pumps.push(pump(t.try_clone()?, Kind::Stdout, id, out));
            Some(Input::Terminal(t))
        }
        None => {
            if let Some(s) = child.stdout.take() {
                pumps.push(pump(s, Kind::Stdout, id, out));
            }
            if let Some(s) = child.stderr.take() {
                pumps.push(pump(s, Kind::Stderr, id, out));
            }
            child.stdin.take().map(Input::Pipe)
        }
    };
    jobs.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(id, Job { input, group });
    let patience = if request.pty.is_some() {
        OUTPUT_OF_A_TERMINAL
    } else {
        OUTPUT
    };
    let (out, jobs) = (out.clone(), jobs.clone());
    let timeout = request.timeout_ms.map(Duration::from_millis);
    thread::spawn(move || {
        let exit = wait(child, group, timeout);
        jobs.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        // Background children may hold the pipes open for ever: what was written by now is what counts.
        let limit = std::time::Instant::now() + patience;
        while pumps.iter().any(|p| !p.is_finished()) && std::time::Instant::now() < limit {
            thread::sleep(Duration::from_millis(2));
        }
        send_exit(&out, id, &exit);
    });
    Ok(())
}

fn stdio(fd: &OwnedFd) -> Result<Stdio> {
    Ok(fd.try_clone()?.into())
}

fn pump(
    mut from: impl Read + Send + 'static,
    kind: Kind,
    id: u32,
    out: &Out,
) -> thread::JoinHandle<()> {
    let out = out.clone();
    thread::spawn(move || {
        let mut buf = [0u8; 16384];
        while let Ok(n @ 1..) = from.read(&mut buf) {
            out.send(kind, id, buf.get(..n).unwrap_or_default());
        }
    })
}

fn wait(mut child: Child, group: Pid, timeout: Option<Duration>) -> Exit {
    let ended = Arc::new(AtomicBool::new(false));
    let over = Arc::new(AtomicBool::new(false));
    if let Some(limit) = timeout {
        let (ended, over) = (ended.clone(), over.clone());
        thread::spawn(move || {
            let start = std::time::Instant::now();
            while start.elapsed() < limit {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                thread::sleep(Duration::from_millis(50).min(limit));
            }
            if !ended.load(Ordering::Acquire) {
                over.store(true, Ordering::Release);
                let _ = killpg(group, Signal::SIGKILL);
            }
        });
    }
    let status = child.wait();
    ended.store(true, Ordering::Release);
    match status {
        Ok(s) => Exit {
            code: s.code(),
            signal: s.signal(),
            timed_out: over.load(Ordering::Acquire),
            error: None,
        },
        Err(e) => Exit {
            error: Some(e.to_string()),
            ..Exit::default()
        },
    }
}

/// Prints every process that is neither a kernel thread nor the agent's, one a line: what a suite left behind.
pub(crate) fn list_processes() -> Result<()> {
    let me = std::process::id();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // A kernel thread has no command line, nor has a zombie, which process 1 is about to reap.
        if pid == 1 || pid == me || cmdline.is_empty() {
            continue;
        }
        let line = String::from_utf8_lossy(&cmdline).replace('\0', " ");
        if line.starts_with("/lab-agent serve") || line.starts_with("/init serve") {
            continue;
        }
        println!("{pid} {}", line.trim_end());
    }
    Ok(())
}
