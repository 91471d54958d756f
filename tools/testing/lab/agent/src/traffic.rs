// SPDX-License-Identifier: GPL-2.0
//! A machine's half of the test traffic, see [`lab_agent::pattern`].

use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use anyhow::{Context, Result};
use lab_agent::pattern::{stream_byte, ECHO_PORT, STREAM_PORT};

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

/// Streams the pattern to the station at `address`, for ever.
pub(crate) fn tcp_stream(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect((address, STREAM_PORT))
        .with_context(|| format!("connecting {address}"))?;
    let mut offset = 0u64;
    loop {
        let block: Vec<u8> = (offset..offset.wrapping_add(16384))
            .map(stream_byte)
            .collect();
        stream.write_all(&block)?;
        offset = offset.wrapping_add(16384);
    }
}
