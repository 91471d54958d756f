// SPDX-License-Identifier: GPL-2.0
//! Child processes and temporary folders, and the promise that none outlives the lab.
//!
//! Three nets: a [`Child`] is killed when it is dropped; a signal handler kills all that are left and removes the temporary
//! folders; and should the lab itself be killed with SIGKILL, the kernel kills its children (`PR_SET_PDEATHSIG`, set through
//! `setpriv`, since setting it between fork and exec would need unsafe code).

use parking_lot::Mutex;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{sync_channel, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;

use crate::cache::tail;

#[derive(Default)]
struct Live {
    groups: HashSet<i32>,
    dirs: HashSet<PathBuf>,
    /// Everything was killed, and nothing is started any more.
    ending: bool,
}

fn live() -> parking_lot::MutexGuard<'static, Live> {
    static LIVE: OnceLock<Mutex<Live>> = OnceLock::new();
    LIVE.get_or_init(Mutex::default).lock()
}

/// Kills every child that is left and removes every temporary folder. A thread that would start another child gets an error.
pub fn clean_up() {
    let mut live = live();
    live.ending = true;
    for g in live.groups.drain() {
        // Gone already is just as well.
        let _ = killpg(Pid::from_raw(g), Signal::SIGKILL);
    }
    for d in live.dirs.drain() {
        let _ = std::fs::remove_dir_all(d);
    }
}

/// From now on, SIGINT, SIGTERM and SIGHUP clean up and end the lab.
///
/// # Errors
/// If the handler cannot be installed.
pub fn handle_signals() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            clean_up();
            crate::terminal::restore();
            eprintln!("\nstopped by signal {signal}");
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// `PR_SET_PDEATHSIG` fires when the *thread* that forked ends, so one thread that never ends does all the forking.
fn spawn_on_lasting_thread(cmd: Command) -> std::io::Result<std::process::Child> {
    type Job = (Command, SyncSender<std::io::Result<std::process::Child>>);
    static FORKER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let forker = FORKER.get_or_init(|| {
        let (tx, rx) = std::sync::mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut cmd, reply) in rx {
                let _ = reply.send(cmd.spawn());
            }
        });
        Mutex::new(tx)
    });
    let (tx, rx) = sync_channel(1);
    let gone = || std::io::Error::other("the forking thread is gone");
    forker.lock().send((cmd, tx)).map_err(|_| gone())?;
    rx.recv().map_err(|_| gone())?
}

/// A command whose process dies with the lab.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut cmd = Command::new("setpriv");
    cmd.args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .process_group(0);
    cmd
}

/// A running process, in a group of its own, killed on drop.
pub struct Child {
    inner: std::process::Child,
    group: i32,
}

impl Child {
    /// Starts a command made by [`command`].
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(cmd: Command) -> Result<Self> {
        let what = format!("{cmd:?}");
        let inner = spawn_on_lasting_thread(cmd).with_context(|| format!("starting {what}"))?;
        let group = i32::try_from(inner.id())?;
        let child = Self { inner, group };
        let mut live = live();
        live.groups.insert(group);
        if live.ending {
            drop(live);
            drop(child);
            bail!("the lab is ending: {what} was not started");
        }
        drop(live);
        Ok(child)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Its standard output, once.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.inner.stdout.take()
    }

    /// Its status if it has ended.
    ///
    /// # Errors
    /// Those of waitpid.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.inner.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Those of waitpid.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.inner.wait()?)
    }

    /// Waits for its end for at most `limit`; `None` where it still runs.
    ///
    /// # Errors
    /// Those of waitpid.
    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            if let Some(s) = self.inner.try_wait()? {
                return Ok(Some(s));
            }
            if start.elapsed() >= limit {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.group), Signal::SIGKILL);
        let _ = self.inner.wait();
        live().groups.remove(&self.group);
    }
}

/// A folder for sockets and logs of one run, removed on drop and by the signal handler.
pub struct TempDir {
    dir: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl TempDir {
    /// Makes one.
    ///
    /// # Errors
    /// If the system's temporary folder cannot be written.
    pub fn new() -> Result<Self> {
        // Short, since a socket's path may have only 107 characters.
        let dir = tempfile::Builder::new().prefix("ixlab-").tempdir()?;
        let path = dir.path().to_path_buf();
        live().dirs.insert(path.clone());
        Ok(Self {
            dir: Some(dir),
            path,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        drop(self.dir.take());
        live().dirs.remove(&self.path);
    }
}

/// How far a step is: by what it tells itself, `[n/m]` as ninja does, or by its lines of output, of
/// which there are about as many each time.
#[derive(Debug, Default, PartialEq, Eq)]
struct Course {
    /// Lines that it will print, if that is known.
    expected: Option<u64>,
    lines: u64,
    told: Option<(u64, u64)>,
    last: String,
}

impl Course {
    fn line(&mut self, line: &[u8]) {
        self.last = String::from_utf8_lossy(line).trim().to_owned();
        self.lines += 1;
        let told = self.last.strip_prefix('[').and_then(|l| l.split_once(']'));
        if let Some((n, m)) = told.and_then(|(l, _)| l.split_once('/')) {
            if let (Ok(n), Ok(m)) = (n.parse(), m.parse()) {
                self.told = Some((n, m));
            }
        }
    }

    /// `38 %, about 140 s left`; nothing where that is not known.
    fn describe(&self, elapsed: Duration) -> String {
        let (done, all) = match (self.told, self.expected) {
            (Some(told), _) => told,
            (None, Some(expected)) => (self.lines, expected),
            _ => return String::new(),
        };
        if done == 0 || done >= all {
            return String::new();
        }
        let percent = done.saturating_mul(100) / all;
        let seconds = elapsed.as_secs();
        // What has hardly begun tells nothing of its end.
        if percent < 3 || seconds < 5 {
            return format!("{percent} %");
        }
        let left = seconds.saturating_mul(all - done) / done;
        format!("{percent} %, about {left} s left")
    }
}

/// When a step first says how far it is where there is no terminal, and how often from then on.
const FIRST_WORD: Duration = Duration::from_secs(20);
const NEXT_WORD: Duration = Duration::from_secs(30);

/// Says how far a step is, line by line, until the sender is dropped.
fn tell(title: String, start: Instant, course: Arc<Mutex<Course>>) -> Sender<()> {
    let (tx, rx) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        let mut wait = FIRST_WORD;
        while rx.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            wait = NEXT_WORD;
            let course = course.lock();
            let mut text = format!("{title}: {} s", start.elapsed().as_secs());
            for part in [&course.describe(start.elapsed()), &course.last] {
                if !part.is_empty() {
                    text += &format!("; {part:.100}");
                }
            }
            eprintln!("{text}");
        }
    });
    tx
}

/// Says every half minute what is still going on, until it is dropped.
pub struct Reminder {
    now: Arc<Mutex<(String, Instant)>>,
    /// Kept for its drop, which ends the thread.
    _end: Option<Sender<()>>,
}

impl Reminder {
    /// Starts it, if it is `wanted`.
    pub fn start(wanted: bool) -> Self {
        let now = Arc::new(Mutex::new((String::new(), Instant::now())));
        let end = wanted.then(|| {
            let (tx, rx) = std::sync::mpsc::channel::<()>();
            let now = now.clone();
            thread::spawn(move || {
                while rx.recv_timeout(NEXT_WORD) == Err(RecvTimeoutError::Timeout) {
                    let now = now.lock();
                    if now.1.elapsed() >= FIRST_WORD && !now.0.is_empty() {
                        eprintln!("{}: {} s so far", now.0, now.1.elapsed().as_secs());
                    }
                }
            });
            tx
        });
        Self { now, _end: end }
    }

    /// From now on it is this.
    pub fn now(&self, what: &str) {
        *self.now.lock() = (what.to_owned(), Instant::now());
    }
}

/// The lines of all steps that run, one below the other.
fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// Runs a long step: a spinner shows its last line of output, `log` keeps all of it. Where there is
/// no terminal it says every half minute how far it is.
///
/// # Errors
/// If the command cannot be started or fails; the message ends with the tail of the log.
pub fn run_logged(title: &str, log: &Path, cmd: Command) -> Result<()> {
    run_counted(title, log, cmd, None)
}

/// As [`run_logged`], for a step that prints about so many lines; from the second time on it is
/// known how many.
///
/// # Errors
/// Those of [`run_logged`].
pub fn run_counted(title: &str, log: &Path, mut cmd: Command, lines: Option<u64>) -> Result<()> {
    let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    cmd.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file.try_clone()?);
    let bar = bars().add(ProgressBar::new_spinner());
    bar.set_style(ProgressStyle::with_template(
        "{spinner} {prefix} [{elapsed}] {wide_msg:.dim}",
    )?);
    bar.set_prefix(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    let count = log.with_extension("lines");
    let before = std::fs::read_to_string(&count).ok();
    let course = Arc::new(Mutex::new(Course {
        expected: before.and_then(|n| n.trim().parse().ok()).or(lines),
        ..Course::default()
    }));
    let start = Instant::now();
    let teller = if bar.is_hidden() {
        eprintln!("{title} …");
        Some(tell(title.to_owned(), start, course.clone()))
    } else {
        None
    };
    let mut child = Child::spawn(cmd)?;
    if let Some(out) = child.take_stdout() {
        let mut file = file;
        for line in BufReader::new(out).split(b'\n') {
            let line = line?;
            std::io::Write::write_all(&mut file, &[&line[..], b"\n"].concat())?;
            let mut course = course.lock();
            course.line(&line);
            let far = course.describe(start.elapsed());
            bar.set_message(format!("{far} {}", course.last));
        }
    }
    let status = child.inner.wait()?;
    drop(teller);
    bar.finish_and_clear();
    bars().remove(&bar);
    if !status.success() {
        bail!(
            "{title} failed ({status}); the log is {}:\n{}",
            log.display(),
            tail(log, 25)
        );
    }
    bars().suspend(|| {
        eprintln!("{title}: done in {:.0} s", start.elapsed().as_secs_f64());
    });
    let printed = course.lock().lines;
    // A run that had little to do says nothing about one that has much.
    if lines.is_some_and(|n| printed > n / 2) {
        std::fs::write(count, printed.to_string())?;
    }
    Ok(())
}

/// Version string of a program, for keys.
///
/// # Errors
/// If there is no such program.
pub fn version_of(program: &str, arg: &str) -> Result<String> {
    let mut cmd = Command::new(program);
    cmd.arg(arg);
    output(cmd)
}

/// Runs a short command and gives what it printed.
///
/// # Errors
/// If it cannot be started or fails; the message has its standard error.
pub fn output(mut cmd: Command) -> Result<String> {
    let what = format!("{cmd:?}");
    let out = cmd
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {what}"))?;
    if !out.status.success() {
        bail!(
            "{what}: {}\n{}",
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_how_far_it_is() {
        let at = Duration::from_secs(60);
        let mut course = Course::default();
        course.line(b"  CC      fs/inode.o");
        assert_eq!(course.describe(at), "");
        // Told by the step itself.
        course.line(b"[25/100] Compiling C object x.o");
        assert_eq!(course.describe(at), "25 %, about 180 s left");
        course.line(b"[x/y] odd");
        assert_eq!(course.describe(at), "25 %, about 180 s left");
        // By its lines.
        let mut course = Course {
            expected: Some(200),
            ..Course::default()
        };
        assert_eq!(course.describe(at), "");
        course.line(b"one");
        assert_eq!(course.describe(at), "0 %");
        course.lines = 150;
        assert_eq!(course.describe(at), "75 %, about 20 s left");
        // It has more to do than the last time.
        course.lines = 250;
        assert_eq!(course.describe(at), "");
    }
}
