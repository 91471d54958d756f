// SPDX-License-Identifier: GPL-2.0
//! The station's network stack: ARP, neighbour discovery, ICMP, and a TCP service that checks what it is sent.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};

use lab_agent::pattern::{stream_byte, SOURCE_PORT, STREAM_BLOCK, STREAM_PORT, STREAM_RATE};
use serde::Serialize;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

/// Longest frame that the station takes and gives, in bytes: jumbo frames of 9000 with their Ethernet header.
const MAX_FRAME: usize = 9014;

/// Connections that each TCP service keeps at a time.
const CONNECTIONS: usize = 16;

/// The frames between a stack and the wire.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) rx: VecDeque<Vec<u8>>,
    pub(crate) tx: Vec<Vec<u8>>,
}

pub(crate) struct Received(Vec<u8>);
pub(crate) struct Slot<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Slot<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let r = f(&mut frame);
        self.0.push(frame);
        r
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Slot<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Slot<'_>)> {
        Some((Received(self.rx.pop_front()?), Slot(&mut self.tx)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Slot<'_>> {
        Some(Slot(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut c = DeviceCapabilities::default();
        c.medium = Medium::Ethernet;
        c.max_transmission_unit = MAX_FRAME;
        c
    }
}

/// What the TCP service saw of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stream {
    /// Bytes received.
    pub bytes: u64,
    /// Bytes that were not those of the pattern.
    pub corrupted: u64,
    /// Longest time between two arrivals, in µs.
    pub longest_gap_us: u64,
    /// Whether it is still open.
    pub open: bool,
    /// Whether the VM is the one that receives.
    pub to_vm: bool,
    /// Time of the last arrival in µs after the station's start.
    #[serde(skip)]
    pub(crate) last_us: Option<i64>,
}

impl Stream {
    fn take(&mut self, bytes: &[u8], now_us: i64) {
        if let Some(last) = self.last_us {
            self.longest_gap_us = self
                .longest_gap_us
                .max(u64::try_from(now_us - last).unwrap_or_default());
        }
        self.last_us = Some(now_us);
        for (i, b) in bytes.iter().enumerate() {
            if *b != stream_byte(self.bytes.wrapping_add(i as u64)) {
                self.corrupted += 1;
            }
        }
        self.bytes += bytes.len() as u64;
    }
}

/// A connection in which the station sends the pattern, at [`STREAM_RATE`].
struct Source {
    handle: SocketHandle,
    /// Bytes so far, and when the first was due, while a machine is there.
    sent: Option<(u64, i64)>,
}

impl Source {
    fn poll(&mut self, socket: &mut tcp::Socket<'_>, now_us: i64) {
        if !socket.is_open() {
            self.sent = None;
            // Only fails on port 0 or an open socket.
            let _ = socket.listen(SOURCE_PORT);
        }
        if !socket.may_send() {
            return;
        }
        if !socket.may_recv() {
            socket.close();
            return;
        }
        let (sent, start) = self.sent.get_or_insert((0, now_us));
        let elapsed_us = u64::try_from(now_us.saturating_sub(*start)).unwrap_or_default();
        let due = elapsed_us.saturating_mul(STREAM_RATE) / 1_000_000;
        let due = due - due % STREAM_BLOCK;
        while *sent < due && socket.can_send() {
            let left = usize::try_from(due - *sent).unwrap_or(usize::MAX);
            let given = socket.send(|room| {
                let n = room.len().min(left);
                for (b, at) in room.iter_mut().take(n).zip(*sent..) {
                    *b = stream_byte(at);
                }
                (n, n as u64)
            });
            match given {
                Ok(n @ 1..) => *sent += n,
                _ => break,
            }
        }
    }
}

/// One network that the station is on: the untagged one or a VLAN.
pub(crate) struct Stack {
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    connections: Vec<(SocketHandle, Option<usize>)>,
    sources: Vec<Source>,
    /// Every connection since the start, oldest first.
    pub(crate) streams: Vec<Stream>,
}

impl Stack {
    pub(crate) fn new(mac: [u8; 6], v4: Ipv4Addr, v6: Ipv6Addr) -> Self {
        let mut wire = Wire::default();
        let hardware = HardwareAddress::Ethernet(EthernetAddress(mac));
        let mut interface = Interface::new(Config::new(hardware), &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // The list has room for two, which smoltcp guarantees.
            let _ = addresses.push(IpCidr::new(v4.into(), 24));
            let _ = addresses.push(IpCidr::new(v6.into(), 64));
        });
        let mut sockets = SocketSet::new(Vec::new());
        let buffer = |n| tcp::SocketBuffer::new(vec![0; n]);
        let sources = (0..CONNECTIONS)
            .map(|_| Source {
                handle: sockets.add(tcp::Socket::new(buffer(4096), buffer(64 * 1024))),
                sent: None,
            })
            .collect();
        let connections = (0..CONNECTIONS)
            .map(|_| {
                (
                    sockets.add(tcp::Socket::new(buffer(256 * 1024), buffer(4096))),
                    None,
                )
            })
            .collect();
        Self {
            interface,
            wire,
            sockets,
            connections,
            sources,
            streams: Vec::new(),
        }
    }

    /// Ends every TCP connection and forgets it: what a machine that is gone leaves open would be taken for one that stands.
    pub(crate) fn forget_streams(&mut self) {
        for (handle, stream) in &mut self.connections {
            self.sockets.get_mut::<tcp::Socket<'_>>(*handle).abort();
            *stream = None;
        }
        for source in &self.sources {
            self.sockets
                .get_mut::<tcp::Socket<'_>>(source.handle)
                .abort();
        }
        self.streams.clear();
    }

    /// Takes a frame from the switch.
    pub(crate) fn input(&mut self, frame: Vec<u8>) {
        self.wire.rx.push_back(frame);
    }

    /// Does what is due and gives the frames to send.
    pub(crate) fn poll(&mut self, now_us: i64) -> Vec<Vec<u8>> {
        let now = Instant::from_micros(now_us);
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        for (handle, stream) in &mut self.connections {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
            if !socket.is_open() {
                if let Some(s) = stream.take().and_then(|i| self.streams.get_mut(i)) {
                    s.open = false;
                }
                // Only fails on port 0 or an open socket.
                let _ = socket.listen(STREAM_PORT);
            }
            if socket.is_active() && stream.is_none() {
                *stream = Some(self.streams.len());
                self.streams.push(Stream {
                    open: true,
                    ..Stream::default()
                });
            }
            let Some(s) = stream.and_then(|i| self.streams.get_mut(i)) else {
                continue;
            };
            while socket.can_recv() {
                let taken = socket.recv(|bytes| {
                    s.take(bytes, now_us);
                    (bytes.len(), bytes.len())
                });
                if !matches!(taken, Ok(1..)) {
                    break;
                }
            }
            if !socket.may_recv() && socket.may_send() {
                socket.close();
            }
        }
        for source in &mut self.sources {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(source.handle);
            source.poll(socket, now_us);
        }
        // Acknowledgements of what was just taken, and what was just given.
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        std::mem::take(&mut self.wire.tx)
    }

    /// In how many µs there is something to do by itself.
    pub(crate) fn due_us(&mut self, now_us: i64) -> Option<u64> {
        self.interface
            .poll_delay(Instant::from_micros(now_us), &self.sockets)
            .map(|d| d.total_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_checked_over_block_borders() {
        let mut s = Stream::default();
        let mut bytes: Vec<u8> = (0..1000).map(stream_byte).collect();
        bytes[700] ^= 1;
        s.take(&bytes[..333], 1_000);
        s.take(&bytes[333..], 9_000);
        assert_eq!((s.bytes, s.corrupted, s.longest_gap_us), (1000, 1, 8_000));
    }

    #[test]
    fn answers_arp() {
        let (mac, v4) = ([2, 0, 0, 0, 0, 9], Ipv4Addr::new(192, 0, 2, 254));
        let mut stack = Stack::new(mac, v4, Ipv6Addr::LOCALHOST);
        let asker = [2, 0, 0, 0, 0, 1];
        // RFC 826: Ethernet, IPv4, request.
        let request = [
            &[0xff; 6][..],
            &asker,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &asker,
            &[192, 0, 2, 1],
            &[0; 6],
            &v4.octets(),
        ]
        .concat();
        stack.input(request);
        let sent = stack.poll(0);
        let reply = sent
            .iter()
            .find(|f| f.get(12..14) == Some(&[8, 6]))
            .expect("an ARP reply");
        assert_eq!(reply.get(..6), Some(&asker[..]));
        assert_eq!(reply.get(20..22), Some(&[0, 2][..]));
        assert_eq!(reply.get(22..28), Some(&mac[..]));
    }

    /// A machine with one connection to the station.
    struct Machine {
        interface: Interface,
        wire: Wire,
        sockets: SocketSet<'static>,
        handle: SocketHandle,
    }

    const STATION: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

    impl Machine {
        fn connect(port: u16) -> Self {
            let mut wire = Wire::default();
            let hardware = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, 1]));
            let mut interface = Interface::new(Config::new(hardware), &mut wire, Instant::ZERO);
            interface.update_ip_addrs(|a| {
                a.push(IpCidr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 24))
                    .expect("room for one");
            });
            let buffer = || tcp::SocketBuffer::new(vec![0; 65536]);
            let mut socket = tcp::Socket::new(buffer(), buffer());
            socket
                .connect(interface.context(), (STATION, port), 50_000)
                .expect("a new socket");
            let mut sockets = SocketSet::new(Vec::new());
            let handle = sockets.add(socket);
            Self {
                interface,
                wire,
                sockets,
                handle,
            }
        }

        fn socket(&mut self) -> &mut tcp::Socket<'static> {
            self.sockets.get_mut(self.handle)
        }

        /// Lets so much time pass, 10 ms at a time.
        fn run(&mut self, stack: &mut Stack, now_us: &mut i64, us: i64) {
            for _ in 0..us / 10_000 {
                *now_us += 10_000;
                let now = Instant::from_micros(*now_us);
                self.interface.poll(now, &mut self.wire, &mut self.sockets);
                for frame in self.wire.tx.drain(..) {
                    stack.input(frame);
                }
                self.wire.rx.extend(stack.poll(*now_us));
            }
        }
    }

    #[test]
    fn sends_the_pattern_at_its_rate() {
        let mut stack = Stack::new([2, 0, 0, 0, 0, 9], STATION, Ipv6Addr::LOCALHOST);
        let mut machine = Machine::connect(SOURCE_PORT);
        let (mut now, mut got) = (0, Vec::new());
        for _ in 0..200 {
            machine.run(&mut stack, &mut now, 10_000);
            let _ = machine.socket().recv(|b| {
                got.extend_from_slice(b);
                (b.len(), ())
            });
        }
        let most = usize::try_from(2 * STREAM_RATE).expect("small");
        assert!((most / 2..=most).contains(&got.len()), "{}", got.len());
        assert!(got.iter().zip(0..).all(|(b, at)| *b == stream_byte(at)));
    }

    #[test]
    fn a_connection_of_a_machine_that_is_gone_is_forgotten() {
        let mut stack = Stack::new([2, 0, 0, 0, 0, 9], STATION, Ipv6Addr::LOCALHOST);
        let mut now = 0;
        let mut machine = Machine::connect(STREAM_PORT);
        machine.run(&mut stack, &mut now, 200_000);
        assert_eq!(stack.streams.len(), 1);
        stack.forget_streams();
        machine.run(&mut stack, &mut now, 200_000);
        assert!(stack.streams.is_empty() && !machine.socket().is_open());
        // The next machine has the same address and port.
        let mut machine = Machine::connect(STREAM_PORT);
        machine.run(&mut stack, &mut now, 200_000);
        assert!(matches!(&stack.streams[..], [s] if s.open));
    }
}
