// SPDX-License-Identifier: GPL-2.0
//! The station's control port: a test inside a machine asks, over virtio-serial, with one line of JSON each way.
//!
//! In the machine: `/dev/virtio-ports/lab.station`. See tools/testing/lab/README.md for the requests.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use super::{FlowSpec, Station, MAC, V4, V6};
use crate::qmp::Qmp;
use crate::switch::{PortId, Switch};

#[derive(Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    /// Who the station is.
    Info,
    /// Start a flow of test datagrams that the machine at `mac` and `to` echoes.
    FlowStart {
        mac: String,
        to: Ipv4Addr,
        rate: u32,
        size: usize,
    },
    /// Stop sending.
    FlowStop { flow: u32 },
    /// A flow's figures.
    FlowStats { flow: u32 },
    /// The TCP connections so far.
    Streams,
    /// Cut or join the cable of one of this host's cards at the switch; the card's own link stays up.
    Cable { card: usize, up: bool },
    /// Change a property of one of this host's cards: what is in its cage, or its link partner.
    Card {
        card: usize,
        property: CardProperty,
        value: String,
    },
}

/// Properties that change while a machine runs.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum CardProperty {
    Module,
    Partner,
}

/// Reads `02:00:00:00:00:01`.
///
/// # Errors
/// If it is not six bytes in hexadecimal.
pub fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|p| u8::from_str_radix(p, 16))
        .collect::<Result<_, _>>()
        .with_context(|| format!("{text} is not a MAC address"))?;
    match bytes.try_into() {
        Ok(mac) => Ok(mac),
        Err(_) => bail!("{text} is not a MAC address"),
    }
}

/// Writes an address as [`parse_mac`] reads it.
pub fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

fn answer(
    station: &Station,
    switch: &Switch,
    cards: &[PortId],
    qmp: &Path,
    line: &str,
) -> Result<Value> {
    Ok(match serde_json::from_str(line)? {
        Request::Info => json!({ "mac": format_mac(MAC), "v4": V4, "v6": V6 }),
        Request::FlowStart {
            mac,
            to,
            rate,
            size,
        } => {
            json!({ "flow": station.start_flow(FlowSpec { mac: parse_mac(&mac)?, to, rate, size })? })
        }
        Request::FlowStop { flow } => {
            station.stop_flow(flow);
            json!({})
        }
        Request::FlowStats { flow } => serde_json::to_value(station.stats(flow)?)?,
        Request::Streams => serde_json::to_value(station.streams())?,
        Request::Cable { card, up } => {
            switch.set_cable(*cards.get(card).context("no such card")?, up);
            json!({})
        }
        Request::Card {
            card,
            property,
            value,
        } => {
            cards.get(card).context("no such card")?;
            Qmp::connect_here(qmp)?.execute(
                "qom-set",
                json!({ "path": format!("/machine/peripheral/nic{card}"), "property": property, "value": value }),
            )?;
            json!({})
        }
    })
}

/// Answers a machine's requests until the machine ends; `cards` are its ports on the switch, `qmp` its QEMU's socket.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve(
    stream: UnixStream,
    station: Station,
    switch: Switch,
    cards: Vec<PortId>,
    qmp: PathBuf,
) -> Result<()> {
    let mut writer = stream.try_clone()?;
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            let reply = match answer(&station, &switch, &cards, &qmp, &line) {
                Ok(v) => v,
                Err(e) => json!({ "error": format!("{e:#}") }),
            };
            if writeln!(writer, "{reply}").is_err() {
                return;
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let mac = [2, 0x82, 0x59, 0, 0x10, 1];
        assert_eq!(parse_mac(&format_mac(mac)).ok(), Some(mac));
        assert!(parse_mac("02:00").is_err());
    }

    #[test]
    fn answers_and_refuses() {
        let switch = Switch::new(None);
        let station = Station::start(&switch);
        let ask = |line: &str| answer(&station, &switch, &[], Path::new("/nowhere"), line);
        assert_eq!(ask(r#"{"op":"info"}"#).expect("known")["v4"], "192.0.2.254");
        let start = r#"{"op":"flow_start","mac":"02:00:00:00:00:01","to":"192.0.2.1","rate":10,"size":100}"#;
        assert_eq!(ask(start).expect("known")["flow"], 0);
        assert_eq!(
            ask(r#"{"op":"flow_stats","flow":0}"#).expect("known")["received"],
            0
        );
        for bad in [
            "",
            r#"{"op":"reboot"}"#,
            r#"{"op":"flow_stats","flow":7}"#,
            r#"{"op":"cable","card":0,"up":false}"#,
            r#"{"op":"card","card":0,"property":"module","value":"sr"}"#,
            r#"{"op":"card","card":0,"property":"mac","value":"sr"}"#,
            r#"{"op":"flow_start","mac":"02","to":"192.0.2.1","rate":10,"size":100}"#,
        ] {
            assert!(ask(bad).is_err(), "{bad}");
        }
    }
}
