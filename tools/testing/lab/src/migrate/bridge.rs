// SPDX-License-Identifier: GPL-2.0
//! Joins a unix socket in an emulated host with one in this process.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use anyhow::Result;
use lab_agent::Run;

use crate::guest::{Event, Guest};

/// Joins a unix socket in a host with one in this process.
pub(super) fn bridge(host: &Guest, path: &str) -> Result<UnixStream> {
    let argv = [
        "socat",
        "-",
        &format!("UNIX-CONNECT:{path},retry=1200,interval=0.05"),
    ]
    .map(String::from)
    .to_vec();
    let command = host.start(&Run {
        argv,
        ..Run::default()
    })?;
    let (near, far) = UnixStream::pair()?;
    let (mut reader, mut writer) = (far.try_clone()?, far);
    let input = command.input();
    thread::spawn(move || {
        let mut buf = [0u8; 16384];
        while let Ok(n @ 1..) = reader.read(&mut buf) {
            if input.send(buf.get(..n).unwrap_or_default()).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for event in command.events {
            match event {
                Event::Stdout(b) => {
                    if writer.write_all(&b).is_err() {
                        break;
                    }
                }
                Event::Stderr(_) => {}
                Event::Exit(_) => break,
            }
        }
        let _ = writer.shutdown(std::net::Shutdown::Both);
    });
    Ok(near)
}
