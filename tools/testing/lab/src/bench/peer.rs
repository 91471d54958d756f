// SPDX-License-Identifier: GPL-2.0
//! The far end of the card's cable in a benchmark: it sends in bursts that arrive as one, and only when told to.
//!
//! QEMU takes what one write brought in without letting the guest run in between, so that the guest sees a burst by one
//! interrupt, whatever else this machine does. The end of a TCP connection is smoltcp's, with a clock that stands still, so
//! that nothing is sent twice.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{channel, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use crate::station::stack::Wire;
use crate::switch::MAX_FRAME;

/// The peer's addresses.
pub(crate) const MAC: [u8; 6] = [0x02, 0x82, 0x59, 0xff, 0, 1];
/// See [`MAC`].
pub(crate) const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// Port on which the peer takes TCP connections.
pub(crate) const PORT: u16 = 5001;

/// Bytes of TCP payload in a frame of standard MTU, without options: smoltcp sends no timestamps.
pub(crate) const MSS: usize = 1460;

/// The window of the peer: what the machine sends until it is acknowledged, one segmented buffer of the largest size.
pub(crate) const WINDOW: usize = 44 * MSS;

/// An EtherType that nobody listens to: "local experimental 1" of IEEE 802.
const NOBODY: [u8; 2] = [0x88, 0xb5];

/// Bytes of the headers of Ethernet, IPv4 and TCP without options.
const TCP_HEADERS: usize = 54;

/// Bytes of the shortest frame, without FCS.
const MIN: usize = 60;

/// The cable's end.
pub(crate) struct Peer {
    stream: UnixStream,
    frames: Receiver<Vec<u8>>,
}

/// A frame of 64 bytes with FCS that no protocol of the receiver wants.
pub(crate) fn unwanted(to: [u8; 6]) -> Vec<u8> {
    let mut frame = [&to[..], &MAC, &NOBODY].concat();
    frame.resize(MIN, 0);
    frame
}

/// A UDP datagram in a frame of 64 bytes with FCS.
pub(crate) fn datagram(to: ([u8; 6], Ipv4Addr), ports: (u16, u16)) -> Result<Vec<u8>> {
    // 18 bytes: what is left of 60 after the headers of Ethernet, IPv4 and UDP.
    let payload = [0; 18];
    let mut frame = Vec::with_capacity(MIN);
    etherparse::PacketBuilder::ethernet2(MAC, to.0)
        .ipv4(V4.octets(), to.1.octets(), 64)
        .udp(ports.0, ports.1)
        .write(&mut frame, &payload)?;
    Ok(frame)
}

/// UDP datagrams in frames of 64 bytes that a card spreads over its queues, since each has another source. No host is at such an
/// address (RFC 1122, 3.2.1.3), so the receiver drops them as soon as it looks for the way back.
pub(crate) fn martians(to: [u8; 6], n: usize) -> Result<Vec<Vec<u8>>> {
    let frame = |i: usize| {
        let mut frame = Vec::with_capacity(MIN);
        let from = u32::try_from(i + 1)?.to_be_bytes();
        etherparse::PacketBuilder::ethernet2(MAC, to)
            .ipv4(from, [192, 0, 2, 1], 64)
            .udp(9, 9)
            .write(&mut frame, &[0; 18])?;
        Ok(frame)
    };
    (0..n).map(frame).collect()
}

/// Whether a frame is a UDP datagram, which nothing in the machine sends by itself.
pub(crate) fn is_udp(frame: &[u8]) -> bool {
    // EtherType and protocol of IPv4.
    frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&17)
}

impl Peer {
    /// Takes the connection that QEMU made to `listener` last: a machine that did not come up may have left one before.
    pub(crate) fn accept(listener: &UnixListener) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let mut stream = None;
        while let Ok((s, _)) = listener.accept() {
            stream = Some(s);
        }
        let stream = stream.context("the machine's card is not connected")?;
        stream.set_nonblocking(false)?;
        let mut reader = stream.try_clone()?;
        let (tx, frames) = channel();
        thread::spawn(move || {
            let mut len = [0u8; 4];
            while reader.read_exact(&mut len).is_ok() {
                let n = u32::from_be_bytes(len) as usize;
                if n > MAX_FRAME {
                    return;
                }
                let mut frame = vec![0; n];
                if reader.read_exact(&mut frame).is_err() || tx.send(frame).is_err() {
                    return;
                }
            }
        });
        Ok(Self { stream, frames })
    }

    /// Listens on a socket for [`Peer::accept`].
    pub(crate) fn listen(socket: &Path) -> Result<UnixListener> {
        UnixListener::bind(socket).with_context(|| format!("listening on {}", socket.display()))
    }

    /// Sends frames by one write.
    pub(crate) fn send(&mut self, frames: &[Vec<u8>]) -> Result<()> {
        let mut bytes = Vec::new();
        for f in frames {
            bytes.extend_from_slice(&u32::try_from(f.len())?.to_be_bytes());
            bytes.extend_from_slice(f);
        }
        self.stream.write_all(&bytes).context("the machine is gone")
    }

    /// What the machine has sent since the last call.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        self.frames.try_iter().collect()
    }

    /// What the machine has sent, once nothing more comes: it is idle, but what it sent last may be on its way.
    pub(crate) fn received_all(&self) -> Vec<Vec<u8>> {
        let next = || self.frames.recv_timeout(Duration::from_millis(4)).ok();
        std::iter::from_fn(next).collect()
    }

    /// What the machine has sent, once it is so much of a TCP stream, or nothing has come for a while.
    pub(crate) fn received_bytes(&self, mut bytes: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while bytes > 0 {
            let Ok(frame) = self.frames.recv_timeout(Duration::from_millis(200)) else {
                break;
            };
            bytes = bytes.saturating_sub(frame.len().saturating_sub(TCP_HEADERS));
            all.push(frame);
        }
        all
    }

    /// What the machine has sent to the peer, once it is so many frames, or nothing has come for a while.
    pub(crate) fn received_frames(&self, n: usize) -> usize {
        let next = || self.frames.recv_timeout(Duration::from_secs(1)).ok();
        std::iter::from_fn(next)
            .filter(|f| f.starts_with(&MAC))
            .take(n)
            .count()
    }

    /// Waits for a frame; `None` if none comes for a while.
    pub(crate) fn wait_frame(&self) -> Option<Vec<u8>> {
        self.frames.recv_timeout(Duration::from_secs(1)).ok()
    }
}

/// One end of one TCP connection.
pub(crate) struct Tcp {
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Tcp {
    /// Listens.
    pub(crate) fn listen() -> Result<Self> {
        let mut wire = Wire::default();
        let hardware = HardwareAddress::Ethernet(EthernetAddress(MAC));
        let mut interface = Interface::new(Config::new(hardware), &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // The list has room for two, which smoltcp guarantees.
            let _ = addresses.push(IpCidr::new(V4.into(), 24));
        });
        let buffer = |n| tcp::SocketBuffer::new(vec![0; n]);
        let mut socket = tcp::Socket::new(buffer(WINDOW), buffer(256 * 1024));
        socket.set_nagle_enabled(false);
        // Acknowledges at once what came in together.
        socket.set_ack_delay(None);
        socket
            .listen(PORT)
            .map_err(|e| anyhow::anyhow!("listening: {e}"))?;
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Ok(Self {
            interface,
            wire,
            sockets,
            handle,
        })
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Whether the handshake is over.
    pub(crate) fn is_connected(&mut self) -> bool {
        self.socket().may_send() && self.socket().may_recv()
    }

    /// Takes and makes frames until there is nothing left to do: a poll makes one frame.
    fn poll(&mut self) {
        loop {
            let before = (self.wire.rx.len(), self.wire.tx.len());
            self.interface
                .poll(Instant::ZERO, &mut self.wire, &mut self.sockets);
            if before == (self.wire.rx.len(), self.wire.tx.len()) {
                return;
            }
        }
    }

    /// Takes frames from the machine and `send` bytes to send to it; gives the frames to answer with, and how many bytes
    /// came in.
    pub(crate) fn step(
        &mut self,
        frames: Vec<Vec<u8>>,
        send: usize,
    ) -> Result<(Vec<Vec<u8>>, u64)> {
        self.wire.rx.extend(frames);
        // What came in is taken before it is acknowledged, by one frame that opens the window again as well.
        loop {
            let before = self.wire.rx.len();
            self.interface
                .poll_ingress_single(Instant::ZERO, &mut self.wire, &mut self.sockets);
            if before == self.wire.rx.len() {
                break;
            }
        }
        let mut got = 0;
        while let Ok(n @ 1..) = self.socket().recv(|b| (b.len(), b.len())) {
            got += n as u64;
        }
        if send > 0 {
            let taken = self
                .socket()
                .send_slice(&vec![0; send])
                .map_err(|e| anyhow::anyhow!("sending: {e}"))?;
            if taken < send {
                bail!("the machine does not acknowledge what it was sent");
            }
        }
        self.poll();
        Ok((std::mem::take(&mut self.wire.tx), got))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_64_bytes_on_the_wire() -> Result<()> {
        let to = [2, 0, 0, 0, 0, 1];
        let udp = datagram((to, Ipv4Addr::new(192, 0, 2, 1)), (9, 4241))?;
        assert!(is_udp(&udp) && !is_udp(&unwanted(to)));
        for frame in [unwanted(to), udp] {
            assert_eq!((frame.len(), frame.get(..6)), (MIN, Some(&to[..])));
        }
        Ok(())
    }

    #[test]
    fn a_burst_is_one_write_and_comes_back_whole() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("s");
        let listener = Peer::listen(&socket)?;
        let dead = UnixStream::connect(&socket)?;
        let mut card = UnixStream::connect(&socket)?;
        let mut peer = Peer::accept(&listener)?;
        drop(dead);
        peer.send(&vec![unwanted([2, 0, 0, 0, 0, 1]); 3])?;
        let mut bytes = vec![0; 3 * (4 + MIN)];
        assert_eq!(card.read(&mut bytes)?, bytes.len());
        card.write_all(&bytes)?;
        drop(card);
        // The channel closes after the last frame.
        let frames: Vec<_> = peer.frames.iter().collect();
        assert_eq!(frames, vec![unwanted([2, 0, 0, 0, 0, 1]); 3]);
        Ok(())
    }
}
