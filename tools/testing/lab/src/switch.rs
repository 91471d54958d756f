// SPDX-License-Identifier: GPL-2.0
//! The learning Ethernet switch that joins the hosts' network cards and the station.
//!
//! A card is a QEMU `-netdev stream` on a unix socket: each frame comes with its length, 4 bytes big-endian, in front. Every
//! port has a queue and a thread that writes it; where a card does not keep up, its queue fills and then frames are dropped
//! and counted, as in a real switch.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender, TrySendError};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::capture::Capture;

/// Longest frame that the switch takes, in bytes: QEMU's own limit on a stream netdev.
pub const MAX_FRAME: usize = 68 * 1024;

/// Frames that may wait for one port.
const QUEUE: usize = 8192;

/// Number of a port.
pub type PortId = usize;

/// A frame on its way, with the time at which the switch had it whole.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When.
    pub at: Instant,
    /// The port that it came in on.
    pub from: PortId,
    /// From the destination address on, without FCS.
    pub bytes: Arc<[u8]>,
}

type Address = [u8; 6];

/// The forwarding table: which port an address was last seen on, per VLAN.
#[derive(Default)]
pub struct Table {
    seen: HashMap<(u16, Address), PortId>,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To one port.
    One(PortId),
    /// To every port but the one it came from.
    Flood,
    /// To none: it is too short, or its target is where it came from.
    Drop,
}

impl Table {
    /// Learns the source of a frame that came in on `from` and decides where it goes.
    pub fn forward(&mut self, from: PortId, frame: &[u8]) -> Target {
        let Some((dst, src)) = frame
            .get(..6)
            .and_then(|d| Address::try_from(d).ok())
            .zip(frame.get(6..12).and_then(|s| Address::try_from(s).ok()))
        else {
            return Target::Drop;
        };
        // 802.1Q: TPID 0x8100, then 12 bits of VLAN id. Priority tags (id 0) and untagged frames share one table.
        let vlan = match frame.get(12..16) {
            Some([0x81, 0x00, hi, lo]) => u16::from_be_bytes([*hi, *lo]) & 0xfff,
            Some(_) => 0,
            None => return Target::Drop,
        };
        let group = |a: &Address| a[0] & 1 != 0;
        if !group(&src) {
            self.seen.insert((vlan, src), from);
        }
        if group(&dst) {
            return Target::Flood;
        }
        match self.seen.get(&(vlan, dst)) {
            Some(to) if *to == from => Target::Drop,
            Some(to) => Target::One(*to),
            None => Target::Flood,
        }
    }

    /// Forgets what was learnt on a port.
    pub fn forget(&mut self, port: PortId) {
        self.seen.retain(|_, p| *p != port);
    }
}

/// Counters of a port, in frames.
#[derive(Default)]
pub struct Counters {
    /// Came in from the card.
    pub rx: AtomicU64,
    /// Went out to the card.
    pub tx: AtomicU64,
    /// Thrown away because the card did not keep up.
    pub dropped: AtomicU64,
}

struct Port {
    queue: SyncSender<Frame>,
    counters: Arc<Counters>,
    up: bool,
}

#[derive(Default)]
struct State {
    ports: Vec<Port>,
    table: Table,
}

/// The switch. Clones are the same switch.
#[derive(Clone)]
pub struct Switch {
    state: Arc<Mutex<State>>,
    capture: Option<Arc<Capture>>,
}

/// A port for something inside the lab's own process.
pub struct LocalPort {
    id: PortId,
    switch: Switch,
    /// Frames for this port.
    pub frames: Receiver<Frame>,
}

impl LocalPort {
    /// Sends a frame.
    pub fn send(&self, bytes: &[u8]) {
        self.switch.input(self.id, bytes);
    }

    /// A handle that sends from another thread.
    pub fn sender(&self) -> LocalSender {
        LocalSender {
            id: self.id,
            switch: self.switch.clone(),
        }
    }
}

/// Sends through a [`LocalPort`].
#[derive(Clone)]
pub struct LocalSender {
    id: PortId,
    switch: Switch,
}

impl LocalSender {
    /// Sends a frame.
    pub fn send(&self, bytes: &[u8]) {
        self.switch.input(self.id, bytes);
    }
}

impl Switch {
    /// A switch without ports; `capture` sees every frame once, where it comes in.
    pub fn new(capture: Option<Capture>) -> Self {
        Self {
            state: Arc::default(),
            capture: capture.map(Arc::new),
        }
    }

    fn add(&self, name: &str) -> (PortId, Receiver<Frame>, Arc<Counters>) {
        let (queue, frames) = sync_channel(QUEUE);
        let counters = Arc::<Counters>::default();
        let mut s = self.state.lock();
        s.ports.push(Port {
            queue,
            counters: counters.clone(),
            up: true,
        });
        let id = s.ports.len() - 1;
        if let Some(c) = &self.capture {
            c.add_port(name);
        }
        (id, frames, counters)
    }

    /// Adds a port inside the lab.
    pub fn add_local(&self, name: &str) -> LocalPort {
        let (id, frames, _) = self.add(name);
        LocalPort {
            id,
            switch: self.clone(),
            frames,
        }
    }

    /// Adds a port that listens on a unix socket for one card.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn add_card(&self, name: &str, socket: &Path) -> Result<(PortId, Arc<Counters>)> {
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("listening on {}", socket.display()))?;
        let (id, frames, counters) = self.add(name);
        let (switch, count) = (self.clone(), counters.clone());
        thread::spawn(move || {
            // One card for the life of the port: a machine that boots again in place keeps its connection.
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            let Ok(writer) = stream.try_clone() else {
                return;
            };
            let tx = count.clone();
            thread::spawn(move || write_frames(&frames, writer, &tx));
            read_frames(stream, |bytes| switch.input(id, bytes));
            switch.forget(id);
        });
        Ok((id, counters))
    }

    fn forget(&self, port: PortId) {
        let mut s = self.state.lock();
        s.table.forget(port);
        if let Some(p) = s.ports.get_mut(port) {
            p.up = false;
        }
    }

    /// Cuts or joins the cable of a port: the switch neither takes nor gives frames while it is cut.
    pub fn set_cable(&self, port: PortId, up: bool) {
        let mut s = self.state.lock();
        s.table.forget(port);
        if let Some(p) = s.ports.get_mut(port) {
            p.up = up;
        }
    }

    /// Frames that were thrown away since a port's card did not keep up.
    pub fn dropped(&self, port: PortId) -> u64 {
        let s = self.state.lock();
        let count = |p: &Port| p.counters.dropped.load(Ordering::Relaxed);
        s.ports.get(port).map_or(0, count)
    }

    fn input(&self, from: PortId, bytes: &[u8]) {
        let frame = Frame {
            at: Instant::now(),
            from,
            bytes: bytes.into(),
        };
        let mut s = self.state.lock();
        let s = &mut *s;
        if !s.ports.get(from).is_some_and(|p| p.up) {
            return;
        }
        if let Some(p) = s.ports.get(from) {
            p.counters.rx.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(c) = &self.capture {
            c.frame(from, bytes);
        }
        let give = |port: Option<&Port>| {
            let Some(p) = port.filter(|p| p.up) else {
                return;
            };
            match p.queue.try_send(frame.clone()) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    p.counters.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        match s.table.forward(from, bytes) {
            Target::One(to) => give(s.ports.get(to)),
            Target::Flood => {
                for (_, p) in s.ports.iter().enumerate().filter(|(i, _)| *i != from) {
                    give(Some(p));
                }
            }
            Target::Drop => {}
        }
    }
}

fn read_frames(mut stream: UnixStream, mut give: impl FnMut(&[u8])) {
    let mut buf = vec![0; MAX_FRAME];
    let mut len = [0u8; 4];
    while stream.read_exact(&mut len).is_ok() {
        let n = u32::from_be_bytes(len) as usize;
        let Some(frame) = buf.get_mut(..n) else {
            return;
        };
        if stream.read_exact(frame).is_err() {
            return;
        }
        give(frame);
    }
}

fn write_frames(frames: &Receiver<Frame>, mut stream: UnixStream, counters: &Counters) {
    let mut buf = Vec::new();
    for frame in frames {
        buf.clear();
        // Frames of a local port may be longer than the length field in theory only: they come from `LocalPort::send`.
        let Ok(len) = u32::try_from(frame.bytes.len()) else {
            continue;
        };
        buf.extend_from_slice(&len.to_be_bytes());
        buf.extend_from_slice(&frame.bytes);
        if stream.write_all(&buf).is_err() {
            return;
        }
        counters.tx.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = [2, 0, 0, 0, 0, 1];
    const B: Address = [2, 0, 0, 0, 0, 2];

    fn frame(dst: Address, src: Address, rest: &[u8]) -> Vec<u8> {
        [&dst[..], &src[..], rest, &[0; 46]].concat()
    }

    #[test]
    fn learns_moves_and_forgets() {
        let mut t = Table::default();
        let ip = [8, 0];
        assert_eq!(t.forward(0, &frame(B, A, &ip)), Target::Flood);
        assert_eq!(t.forward(1, &frame(A, B, &ip)), Target::One(0));
        assert_eq!(t.forward(0, &frame(B, A, &ip)), Target::One(1));
        // A migrated machine shows up elsewhere.
        assert_eq!(t.forward(2, &frame([255; 6], B, &ip)), Target::Flood);
        assert_eq!(t.forward(0, &frame(B, A, &ip)), Target::One(2));
        assert_eq!(t.forward(2, &frame(B, A, &ip)), Target::Drop);
        t.forget(2);
        assert_eq!(t.forward(0, &frame(B, A, &ip)), Target::Flood);
    }

    #[test]
    fn vlans_learn_apart_and_runts_are_dropped() {
        let mut t = Table::default();
        let vlan5 = [0x81, 0, 0xe0, 5, 8, 0];
        assert_eq!(t.forward(0, &frame(B, A, &vlan5)), Target::Flood);
        assert_eq!(t.forward(1, &frame(A, B, &[8, 0])), Target::Flood);
        assert_eq!(t.forward(1, &frame(A, B, &vlan5)), Target::One(0));
        assert_eq!(t.forward(0, &[0; 13]), Target::Drop);
    }

    #[test]
    fn group_sources_are_not_learnt() {
        let mut t = Table::default();
        let group = [1, 0, 94, 0, 0, 1];
        t.forward(0, &frame(B, group, &[8, 0]));
        assert_eq!(t.forward(1, &frame(group, B, &[8, 0])), Target::Flood);
    }

    #[test]
    fn joins_a_card_and_a_local_port() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("s");
        let sw = Switch::new(None);
        let local = sw.add_local("station");
        sw.add_card("card", &socket)?;
        let mut card = UnixStream::connect(&socket)?;
        let f = frame(A, B, &[8, 0]);
        card.write_all(&u32::try_from(f.len())?.to_be_bytes())?;
        card.write_all(&f)?;
        let got = local
            .frames
            .recv_timeout(std::time::Duration::from_secs(60))?;
        assert_eq!(&got.bytes[..], &f[..]);
        let back = frame(B, A, &[8, 0]);
        local.send(&back);
        let mut wire = vec![0; 4 + back.len()];
        card.read_exact(&mut wire)?;
        assert_eq!(wire.get(4..), Some(&back[..]));
        Ok(())
    }
}
