// SPDX-License-Identifier: GPL-2.0
//! `status`: each VF, who has it, and its last move.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::describe::Place;
use crate::description::{Description, Unknown, Vf};
use crate::host::Host;
use crate::iproute::{self, Reason};

/// A PF with its VFs.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Version of this form.
    pub version: u32,
    /// Interface of the PF.
    pub pf: String,
    /// Its PCI address.
    pub address: String,
    /// It has a link.
    pub link: bool,
    /// Its VFs.
    pub vfs: Vec<VfStatus>,
    /// What could not be seen.
    pub unknown: Vec<Unknown>,
}

/// A VF.
#[derive(Clone, Debug, Serialize)]
pub struct VfStatus {
    /// How it is set up, and who has it.
    #[serde(flatten)]
    pub vf: Vf,
    /// Its state in VFIO; null without a VFIO user or without the variant driver.
    pub vfio_state: Option<String>,
    /// Figures of its last move; null without the variant driver.
    pub last_move: Option<Report>,
    /// Why the last one that was refused was.
    pub refused_because: Vec<Reason>,
}

/// The file `report` of the variant driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How ring heads were restored.
    pub restore: String,
    /// Figures by their names.
    #[serde(flatten)]
    pub figures: BTreeMap<String, u64>,
}

impl Report {
    /// Reads a line's worth of name and figure each. What is not of that form is left out.
    pub fn parse(text: &str) -> Self {
        let mut report = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match (name, value.trim().parse()) {
                ("restore", _) => value.trim().clone_into(&mut report.restore),
                (_, Ok(n)) => {
                    report.figures.insert(name.to_owned(), n);
                }
                _ => {}
            }
        }
        report
    }

    /// A figure, 0 if it is not told.
    pub fn get(&self, name: &str) -> u64 {
        self.figures.get(name).copied().unwrap_or(0)
    }
}

/// Reads the report of a VF.
pub fn report(host: &dyn Host, vf: &str) -> Option<Report> {
    let text = host.read(&format!("/sys/kernel/debug/{vf}/report")).ok()?;
    Some(Report::parse(&text))
}

/// Reads the state of VFIO's state machine.
pub fn vfio_state(host: &dyn Host, vf: &str) -> Option<String> {
    let path = format!("/sys/kernel/debug/vfio/{vf}/migration/state");
    Some(host.read(&path).ok()?.trim().to_owned())
}

/// Reasons of the health reporter `migration`, by VF.
pub fn health(host: &dyn Host, place: &Place) -> anyhow::Result<Vec<iproute::Health>> {
    let device = format!("pci/{}", place.address);
    let argv = [
        "devlink",
        "-j",
        "health",
        "diagnose",
        &device,
        "reporter",
        "migration",
    ];
    iproute::health(&host.run(&argv)?)
}

/// Collects the status.
pub fn status(host: &dyn Host, place: &Place, d: Description) -> Status {
    let mut unknown = d.unknown;
    let health = match health(host, place) {
        Ok(health) => health,
        Err(e) => {
            unknown.push(Unknown {
                what: "vfs.refused_because".into(),
                why: format!("{e:#}"),
            });
            vec![]
        }
    };
    let of = |vf: Vf| {
        let reasons = health.iter().find(|h| h.vf == vf.number);
        VfStatus {
            vfio_state: vfio_state(host, &vf.address),
            last_move: report(host, &vf.address),
            refused_because: reasons
                .map(|h| h.refused_because.clone())
                .unwrap_or_default(),
            vf,
        }
    };
    Status {
        version: 1,
        pf: d.pf.interface,
        address: d.pf.address,
        link: d.pf.link,
        vfs: d.vfs.into_iter().map(of).collect(),
        // What only a guest knows is of no interest here.
        unknown: unknown
            .into_iter()
            .filter(|u| !u.what.starts_with("guest."))
            .collect(),
    }
}

/// Nanoseconds in milliseconds.
fn ms(ns: u64) -> String {
    let us = ns / 1000;
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

/// What a report says of the last move, in one line.
pub fn tell(r: &Report) -> String {
    let (saves, loads, refused) = (r.get("saves"), r.get("loads"), r.get("refused"));
    if saves == 0 && loads == 0 && refused == 0 {
        return "none yet".into();
    }
    let mut out = format!("left {saves}, arrived {loads}, refused {refused}");
    for (name, key) in [
        ("stopped in", "suspend_ns"),
        ("saved in", "save_ns"),
        ("loaded in", "load_ns"),
        ("started in", "resume_ns"),
    ] {
        if r.get(key) != 0 {
            let _ = write!(out, ", {name} {}", ms(r.get(key)));
        }
    }
    if r.get("state_bytes") != 0 {
        let _ = write!(out, ", {} bytes", r.get("state_bytes"));
    }
    if !matches!(r.restore.as_str(), "" | "none") {
        let _ = write!(out, ", ring heads by {}", r.restore);
    }
    out
}

impl Status {
    /// For people.
    pub fn text(&self) -> String {
        let link = if self.link { "link" } else { "no link" };
        let mut out = format!("{} {} ({link})\n", self.pf, self.address);
        if self.vfs.is_empty() {
            out.push_str("  no VFs\n");
        }
        for s in &self.vfs {
            let vf = &s.vf;
            let migratable = match vf.migratable {
                Some(true) => "migratable",
                Some(false) => "not migratable",
                None => "cannot be moved by this PF driver",
            };
            let early = if vf.bound_migratable == Some(false) {
                ", bound too early"
            } else {
                ""
            };
            let driver = vf.driver.as_deref().unwrap_or("no driver");
            let mac = vf.mac.as_deref().unwrap_or("no MAC address");
            let n = vf.number;
            let _ = writeln!(
                out,
                "  VF {n} {} {mac}: {driver}, {migratable}{early}",
                vf.address
            );
            match &vf.users {
                None => out.push_str("    used by: cannot be seen, be root\n"),
                Some(users) if users.is_empty() => out.push_str("    used by: nobody\n"),
                Some(users) => {
                    for u in users {
                        let waits = if u.incoming { ", waits for a VM" } else { "" };
                        let _ = writeln!(out, "    used by: {} ({}){waits}", u.command, u.pid);
                    }
                }
            }
            if let Some(state) = &s.vfio_state {
                let _ = writeln!(out, "    VFIO state: {state}");
            }
            if let Some(r) = &s.last_move {
                let _ = writeln!(out, "    moves: {}", tell(r));
            }
            for r in &s.refused_because {
                let _ = writeln!(out, "    refused: {} ({}) [{}]", r.reason, r.detail, r.name);
                let _ = writeln!(out, "      {}", r.remedy);
            }
        }
        for u in &self.unknown {
            let _ = writeln!(out, "  not seen: {} ({})", u.what, u.why);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_as_the_driver_writes_it() {
        let r = Report::parse(include_str!("../samples/report"));
        assert_eq!(r.restore, "none");
        assert_eq!(r.figures.len(), 10);
        assert_eq!(tell(&r), "none yet");
        let r = Report::parse("restore write\nsuspend_ns 1234567\nloads 2\nnew x\n\nodd");
        assert_eq!((r.get("loads"), r.get("suspend_ns")), (2, 1_234_567));
        assert_eq!(
            tell(&r),
            "left 0, arrived 2, refused 0, stopped in 1.2 ms, ring heads by write"
        );
    }
}
