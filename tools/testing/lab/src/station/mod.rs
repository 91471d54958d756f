// SPDX-License-Identifier: GPL-2.0
//! The station: a third party on the switch, inside the lab's own process.
//!
//! It answers ARP, neighbour discovery and ping, checks a TCP stream, and keeps flows of numbered, time-stamped,
//! pattern-filled datagrams that a machine echoes: what comes back, and when, is what a peer of that machine sees of a
//! migration. Flows are made as whole frames for a given MAC address, past the stack: no ARP of the station's own can add
//! to a blackout.

pub mod control;
pub mod flow;
pub(crate) mod stack;

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use lab_agent::pattern::{Datagram, ECHO_PORT, HEADER};

use self::flow::{Flow, Sample, Stats};
use self::stack::Stack;
pub use self::stack::Stream;
use crate::switch::{Frame, LocalPort, LocalSender, PortId, Switch};

/// The station's MAC address.
pub const MAC: [u8; 6] = [0x02, 0x82, 0x59, 0, 0xff, 0];

/// The station's IPv4 address; a host `n` is expected at `.n` of the same /24.
pub const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

/// The station's IPv6 address, likewise in a /64.
pub const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe);

/// First source port of the flows: flow `i` sends from `FIRST_PORT + i`.
const FIRST_PORT: u16 = 20_000;

/// Flows at a time and in all.
const MAX_FLOWS: u32 = 4096;

/// A flow to start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowSpec {
    /// MAC address of the machine that echoes.
    pub mac: [u8; 6],
    /// Its IPv4 address.
    pub to: Ipv4Addr,
    /// Datagrams per second.
    pub rate: u32,
    /// UDP payload in bytes.
    pub size: usize,
}

struct Running {
    spec: FlowSpec,
    start: Instant,
    flow: Flow,
    /// Sends no more, but still takes what comes back.
    stopped: Option<Instant>,
}

impl Running {
    fn ns(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// How many datagrams should have been sent by `now`.
    fn due(&self, now: Instant) -> u64 {
        let us = self.ns(now) / 1000;
        us.saturating_mul(u64::from(self.spec.rate)) / 1_000_000
    }
}

struct Core {
    start: Instant,
    stack: Stack,
    flows: BTreeMap<u32, Running>,
    next: u32,
}

/// A handle on the station; clones are the same station, which ends with the switch.
#[derive(Clone)]
pub struct Station {
    core: Arc<Mutex<Core>>,
}

impl Station {
    /// Puts a station on a switch.
    pub fn start(switch: &Switch) -> Self {
        let port = switch.add_local("station");
        let core = Core {
            start: Instant::now(),
            stack: Stack::new(MAC, V4, V6),
            flows: BTreeMap::new(),
            next: 0,
        };
        let station = Self {
            core: Arc::new(Mutex::new(core)),
        };
        let core = station.core.clone();
        thread::spawn(move || serve(&core, &port));
        station
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Core> {
        self.core.lock()
    }

    /// Starts a flow and gives its number.
    ///
    /// # Errors
    /// If there are too many.
    pub fn start_flow(&self, spec: FlowSpec) -> Result<u32> {
        let mut core = self.lock();
        let id = core.next;
        anyhow::ensure!(id < MAX_FLOWS, "more than {MAX_FLOWS} flows");
        core.next += 1;
        core.flows.insert(
            id,
            Running {
                spec,
                start: Instant::now(),
                flow: Flow::default(),
                stopped: None,
            },
        );
        Ok(id)
    }

    /// Stops sending; what is under way still counts when it comes back.
    pub fn stop_flow(&self, id: u32) {
        if let Some(f) = self.lock().flows.get_mut(&id) {
            f.stopped.get_or_insert_with(Instant::now);
        }
    }

    /// A flow's figures so far.
    ///
    /// # Errors
    /// If there is no such flow.
    pub fn stats(&self, id: u32) -> Result<Stats> {
        let core = self.lock();
        let f = core.flows.get(&id).context("no such flow")?;
        let now = Instant::now();
        Ok(f.flow
            .stats(f.ns(f.stopped.unwrap_or(now)), f.stopped.is_none()))
    }

    /// What came back of a flow, in order of arrival, and when the flow started.
    ///
    /// # Errors
    /// If there is no such flow.
    pub fn samples(&self, id: u32) -> Result<(Instant, Vec<Sample>)> {
        let core = self.lock();
        let f = core.flows.get(&id).context("no such flow")?;
        Ok((f.start, f.flow.samples().to_vec()))
    }

    /// The longest gap of a flow that ended after `from`, in µs, and when it began in µs after the flow's start.
    ///
    /// # Errors
    /// If there is no such flow.
    pub fn longest_gap_since(&self, id: u32, from: Instant) -> Result<(u64, u64)> {
        let core = self.lock();
        let f = core.flows.get(&id).context("no such flow")?;
        Ok(f.flow.longest_gap_since(f.ns(from)))
    }

    /// The switch's port by which a flow's last answer came.
    ///
    /// # Errors
    /// If there is no such flow.
    pub fn last_port(&self, id: u32) -> Result<Option<PortId>> {
        let core = self.lock();
        let f = core.flows.get(&id).context("no such flow")?;
        Ok(f.flow.samples().last().map(|s| s.port))
    }

    /// Number of the flow's next datagram.
    ///
    /// # Errors
    /// If there is no such flow.
    pub fn next_seq(&self, id: u32) -> Result<u64> {
        Ok(self
            .lock()
            .flows
            .get(&id)
            .context("no such flow")?
            .flow
            .next_seq())
    }

    /// Of a flow's datagrams from `from` on and before `to`, when those were sent that did not come back, in µs after the
    /// flow's start.
    ///
    /// # Errors
    /// If there is no such flow.
    pub fn lost_between(&self, id: u32, from: u64, to: u64) -> Result<Vec<u64>> {
        let core = self.lock();
        let lost = core
            .flows
            .get(&id)
            .context("no such flow")?
            .flow
            .lost_between(from, to);
        Ok(lost.into_iter().map(|ns| ns / 1000).collect())
    }

    /// Ends and forgets every TCP connection, before another machine begins its own.
    pub fn forget_streams(&self) {
        self.lock().stack.forget_streams();
    }

    /// Every TCP connection so far.
    pub fn streams(&self) -> Vec<Stream> {
        self.lock().stack.streams.clone()
    }
}

fn serve(core: &Mutex<Core>, port: &LocalPort) {
    let out = port.sender();
    let mut wait = Duration::from_millis(20);
    loop {
        let first = match port.frames.recv_timeout(wait) {
            Ok(f) => Some(f),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut core = core.lock();
        for frame in first.into_iter().chain(port.frames.try_iter().take(512)) {
            core.input(&frame);
        }
        let frames = core.due(Instant::now());
        wait = core.wait();
        drop(core);
        send_all(&out, &frames);
    }
}

fn send_all(out: &LocalSender, frames: &[Vec<u8>]) {
    for f in frames {
        out.send(f);
    }
}

/// The test datagram in a frame, where it is one and its checksums are right; `Err` where a checksum is wrong.
fn datagram(frame: &[u8]) -> Option<Result<(Datagram, &[u8]), u32>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) =
        (&packet.net, &packet.transport)
    else {
        return None;
    };
    if udp.source_port() != ECHO_PORT || udp.destination_port() < FIRST_PORT {
        return None;
    }
    let payload = udp.payload();
    let d = Datagram::decode(payload)?;
    let good = match udp.checksum() {
        0 => true,
        sum => udp
            .to_header()
            .calc_checksum_ipv4(&ip.header().to_header(), payload)
            .is_ok_and(|c| c == sum),
    };
    Some(if good { Ok((d, payload)) } else { Err(d.flow) })
}

impl Core {
    fn input(&mut self, frame: &Frame) {
        match datagram(&frame.bytes) {
            Some(Ok((d, payload))) => {
                if let Some(f) = self.flows.get_mut(&d.flow) {
                    let now = f.ns(frame.at);
                    f.flow.arrived(&d, payload, now, frame.from);
                }
            }
            Some(Err(flow)) => {
                if let Some(f) = self.flows.get_mut(&flow) {
                    f.flow.bad_checksum();
                }
            }
            None => self.stack.input(frame.bytes.to_vec()),
        }
    }

    fn now_us(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    fn due(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let now_us = self.now_us();
        let mut frames = self.stack.poll(now_us);
        for (id, f) in self.flows.iter_mut().filter(|(_, f)| f.stopped.is_none()) {
            let due = f.due(now);
            // A station that was not scheduled for long does not flood the wire afterwards.
            let burst = due.saturating_sub(f.flow.next_seq()).min(256);
            for _ in 0..burst {
                let sent_ns = f.ns(Instant::now());
                let d = Datagram {
                    flow: *id,
                    seq: f.flow.next_seq(),
                    sent_ns,
                };
                if let Some(frame) = frame_of(&f.spec, *id, &d) {
                    frames.push(frame);
                }
                f.flow.sent(sent_ns);
            }
        }
        frames
    }

    /// How long the thread may sleep.
    fn wait(&mut self) -> Duration {
        let now_us = self.now_us();
        let mut us = self
            .stack
            .due_us(now_us)
            .unwrap_or(20_000)
            .clamp(100, 20_000);
        for f in self.flows.values().filter(|f| f.stopped.is_none()) {
            us = us.min((1_000_000 / u64::from(f.spec.rate.max(1))).clamp(200, 20_000));
        }
        Duration::from_micros(us)
    }
}

fn frame_of(spec: &FlowSpec, id: u32, d: &Datagram) -> Option<Vec<u8>> {
    let port = FIRST_PORT.checked_add(u16::try_from(id).ok()?)?;
    let payload = d.encode(spec.size.max(HEADER));
    let builder = PacketBuilder::ethernet2(MAC, spec.mac)
        .ipv4(V4.octets(), spec.to.octets(), 64)
        .udp(port, ECHO_PORT);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, &payload).ok()?;
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> FlowSpec {
        FlowSpec {
            mac: [2, 0, 0, 0, 0, 1],
            to: Ipv4Addr::new(192, 0, 2, 1),
            rate: 1000,
            size: 200,
        }
    }

    /// What a machine's echo makes of a frame.
    fn echo(frame: &[u8]) -> Vec<u8> {
        let p = SlicedPacket::from_ethernet(frame).expect("our own frame");
        let Some(TransportSlice::Udp(udp)) = p.transport else {
            panic!("UDP")
        };
        let b = PacketBuilder::ethernet2(spec().mac, MAC)
            .ipv4(spec().to.octets(), V4.octets(), 64)
            .udp(udp.destination_port(), udp.source_port());
        let mut out = Vec::new();
        b.write(&mut out, udp.payload())
            .expect("a vector takes every byte");
        out
    }

    #[test]
    fn a_flow_is_echoed_over_the_switch() -> Result<()> {
        let switch = Switch::new(None);
        let machine = switch.add_local("machine");
        let station = Station::start(&switch);
        let id = station.start_flow(spec())?;
        let mut n = 0;
        while n < 50 {
            let f = machine.frames.recv_timeout(Duration::from_secs(60))?;
            let back = echo(&f.bytes);
            if n == 7 {
                let mut bad = back.clone();
                if let Some(b) = bad.last_mut() {
                    *b ^= 1;
                }
                machine.send(&bad);
            }
            machine.send(&back);
            n += 1;
        }
        station.stop_flow(id);
        let end = Instant::now() + Duration::from_secs(60);
        while station.stats(id)?.received < 50 && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let s = station.stats(id)?;
        assert_eq!((s.received, s.corrupted, s.duplicated), (50, 1, 0), "{s:?}");
        Ok(())
    }
}
