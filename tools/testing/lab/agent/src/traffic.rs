// SPDX-License-Identifier: GPL-2.0
//! A machine's half of the test traffic, see [`lab_agent::pattern`].

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use lab_agent::pattern::{
    stream_byte, ECHO_PORT, SOURCE_PORT, STREAM_BLOCK, STREAM_PORT, STREAM_RATE,
};

/// Sends every datagram for `address` back to whom it came from, for ever.
pub(crate) fn udp_echo(address: &str) -> Result<()> {
    let socket = UdpSocket::bind((address, ECHO_PORT)).context("binding the echo port")?;
    let mut buf = vec![0; 65536];
    loop {
        let (n, from) = socket.recv_from(&mut buf)?;
        // A full send queue or a link that is down loses the datagram, as it would any other.
        let _ = socket.send_to(buf.get(..n).unwrap_or_default(), from);
    }
}

/// Streams the pattern to the station at `address`, for ever, as fast as it goes.
pub(crate) fn tcp_stream(address: &str) -> Result<()> {
    send(&mut connect(address, STREAM_PORT)?, None)
}

/// Streams the pattern in `count` connections to the station at `address`, each at [`STREAM_RATE`], for ever.
pub(crate) fn tcp_streams(address: &str, count: &str) -> Result<()> {
    let threads: Vec<_> = (0..number(count)?)
        .map(|_| {
            let mut stream = connect(address, STREAM_PORT)?;
            Ok(thread::spawn(move || send(&mut stream, Some(STREAM_RATE))))
        })
        .collect::<Result<_>>()?;
    end(threads)
}

/// Takes `count` streams from the station at `address` and checks them, for ever. `file` has, ten times a second, a line for each:
/// bytes that came, wrong ones among them, and 1 while it is open.
pub(crate) fn tcp_sinks(address: &str, count: &str, file: &str) -> Result<()> {
    let sinks: Arc<Vec<Sink>> = Arc::new((0..number(count)?).map(|_| Sink::default()).collect());
    let mut threads = Vec::new();
    for i in 0..sinks.len() {
        let mut stream = connect(address, SOURCE_PORT)?;
        let sinks = sinks.clone();
        threads.push(thread::spawn(move || {
            let sink = sinks.get(i).context("no such sink")?;
            let result = receive(&mut stream, sink);
            sink.closed.store(true, Ordering::Relaxed);
            result
        }));
    }
    let part = format!("{file}.part");
    loop {
        let text: String = sinks.iter().map(Sink::line).collect();
        fs::write(&part, text).and_then(|()| fs::rename(&part, file))?;
        thread::sleep(Duration::from_millis(100));
        if threads.iter().all(JoinHandle::is_finished) {
            return end(threads);
        }
    }
}

/// One stream that is received.
#[derive(Default)]
struct Sink {
    bytes: AtomicU64,
    wrong: AtomicU64,
    closed: AtomicBool,
}

impl Sink {
    fn line(&self) -> String {
        format!(
            "{} {} {}\n",
            self.bytes.load(Ordering::Relaxed),
            self.wrong.load(Ordering::Relaxed),
            u8::from(!self.closed.load(Ordering::Relaxed))
        )
    }
}

fn number(count: &str) -> Result<usize> {
    count
        .parse()
        .with_context(|| format!("{count} is not a number of streams"))
}

fn connect(address: &str, port: u16) -> Result<TcpStream> {
    TcpStream::connect((address, port)).with_context(|| format!("connecting {address} port {port}"))
}

fn end(threads: Vec<JoinHandle<Result<()>>>) -> Result<()> {
    for t in threads {
        match t.join() {
            Ok(result) => result?,
            Err(_) => bail!("a stream's thread panicked"),
        }
    }
    Ok(())
}

/// Sends the pattern, at `rate` bytes per second or as fast as it goes.
fn send(stream: &mut TcpStream, rate: Option<u64>) -> Result<()> {
    let len = if rate.is_some() { STREAM_BLOCK } else { 16384 };
    let start = Instant::now();
    let mut offset = 0u64;
    loop {
        let block: Vec<u8> = (offset..offset.wrapping_add(len))
            .map(stream_byte)
            .collect();
        stream.write_all(&block)?;
        offset = offset.wrapping_add(len);
        if let Some(rate) = rate {
            let due = Duration::from_millis(offset.saturating_mul(1000) / rate.max(1));
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
}

fn receive(stream: &mut TcpStream, sink: &Sink) -> Result<()> {
    let mut buf = vec![0; 65536];
    let mut offset = 0u64;
    loop {
        let n = stream.read(&mut buf)?;
        if n == 0 {
            bail!("the station closed a stream");
        }
        let bytes = buf.get(..n).unwrap_or_default();
        let wrong = bytes
            .iter()
            .zip(offset..)
            .filter(|(b, at)| **b != stream_byte(*at))
            .count();
        offset = offset.wrapping_add(n as u64);
        sink.bytes.store(offset, Ordering::Relaxed);
        sink.wrong.fetch_add(wrong as u64, Ordering::Relaxed);
    }
}
