// SPDX-License-Identifier: GPL-2.0
//! Compares two hosts before a VM is touched: all that stands in the way, at once.
//!
//! The rules are those of `libixgbe/migration/check.rs`, as far as the hosts alone decide. What
//! the guest decides as well is [`Severity::Depends`], so that a pair that moves is not refused.

use std::fmt::{Display, Write as _};

use libixgbe::board::Board;
use libixgbe::chip::Chip;
use libixgbe::migration::{Note, Refusal};
use serde::Serialize;

use crate::describe::VFIO_DRIVER;
use crate::description::{Description, MtuClass, Unknown, Vf};
use crate::mismatch::{Mismatch, Own, Severity, Side};

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Version of this form.
    pub version: u32,
    /// VF on the source.
    pub source_vf: u32,
    /// VF on the destination.
    pub destination_vf: u32,
    /// Nothing refuses the move.
    pub fits: bool,
    /// What does not fit, worst first.
    pub mismatches: Vec<Mismatch>,
    /// What had to be known and is not in a description.
    pub unseen: Vec<Unknown>,
}

/// Collects what is found.
struct Found {
    mismatches: Vec<Mismatch>,
    unseen: Vec<Unknown>,
}

impl Found {
    fn add(&mut self, mismatch: Mismatch) {
        self.mismatches.push(mismatch);
    }

    /// Notes that a field must be known and is not.
    fn unseen(&mut self, side: Side, what: &str, of: &Description) {
        let at = match side {
            Side::Source => "source",
            Side::Destination => "destination",
        };
        let why = of.unknown.iter().find(|u| u.what.ends_with(what));
        self.unseen.push(Unknown {
            what: format!("{at}: {what}"),
            why: why.map_or_else(|| "not in the description".into(), |u| u.why.clone()),
        });
    }
}

fn show<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "?".into(), |v| v.to_string())
}

fn on_off(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "on",
        Some(false) => "off",
        None => "?",
    }
}

/// Compares VF `from` of one host with VF `to` of the other. `managed`: libvirt binds the drivers.
pub fn check(src: &Description, from: u32, dst: &Description, to: u32, managed: bool) -> Verdict {
    let mut found = Found {
        mismatches: Vec::new(),
        unseen: Vec::new(),
    };
    for (side, d) in [(Side::Source, src), (Side::Destination, dst)] {
        host(side, d, src, dst, &mut found);
    }
    pfs(src, dst, &mut found);
    let (a, b) = (src.vf(from), dst.vf(to));
    family((src, a), (dst, b), &mut found);
    for (side, vf, d, number) in [
        (Side::Source, a, src, from),
        (Side::Destination, b, dst, to),
    ] {
        match vf {
            Some(vf) => function(side, vf, d, managed, &mut found),
            None => {
                let has = |d: &Description| format!("{} VFs", d.pf.vf_count);
                let mut m = Mismatch::own(Own::NoVf, side, has(src), has(dst));
                let said = match side {
                    Side::Source => &mut m.source,
                    Side::Destination => &mut m.destination,
                };
                let _ = write!(said, ", no VF {number}");
                found.add(m);
            }
        }
    }
    if let (Some(a), Some(b)) = (a, b) {
        policy(a, b, &mut found);
        address(a, b, dst, &mut found);
    }
    found.mismatches.sort_by_key(|m| m.severity);
    let refused = |m: &Mismatch| m.severity == Severity::Refused;
    Verdict {
        version: 1,
        source_vf: from,
        destination_vf: to,
        fits: !found.mismatches.iter().any(refused) && found.unseen.is_empty(),
        mismatches: found.mismatches,
        unseen: found.unseen,
    }
}

/// What each host needs by itself.
fn host(side: Side, d: &Description, src: &Description, dst: &Description, found: &mut Found) {
    let drivers = |d: &Description| show(d.pf.driver.as_deref());
    if d.pf.state_format.is_none() {
        if d.unknown.iter().any(|u| u.what == "pf.state_format") {
            found.unseen(side, "pf.state_format", d);
        } else {
            found.add(Mismatch::own(
                Own::PfDriver,
                side,
                drivers(src),
                drivers(dst),
            ));
        }
    }
    if !d.iommu {
        let iommu = |d: &Description| on_off(Some(d.iommu));
        found.add(Mismatch::own(Own::Iommu, side, iommu(src), iommu(dst)));
    }
    if !d.pf.link {
        // The source's VF may not come to a stop without a link: its device moves nothing.
        let severity = match side {
            Side::Source => Severity::Depends,
            Side::Destination => Severity::Refused,
        };
        let link = |d: &Description| if d.pf.link { "link" } else { "no link" };
        let m = Mismatch::refusal(Refusal::LinkDown, severity, side, link(src), link(dst));
        found.add(m);
    }
}

/// The device number of PCI ids as `describe` has them.
fn device(id: Option<&str>) -> Option<u16> {
    let (_, device) = id?.split_once(':')?;
    u16::from_str_radix(device, 16).ok()
}

/// The chip of a host's card.
fn chip(d: &Description) -> Option<Chip> {
    let board = Board::of_device(device(d.pf.id.as_deref())?).ok()?;
    Some(board.chip())
}

/// VFs move between devices with the same id alone. Where there is no VF yet, the PF says which it would have.
fn family(
    (src, a): (&Description, Option<&Vf>),
    (dst, b): (&Description, Option<&Vf>),
    found: &mut Found,
) {
    let of = |d: &Description, vf: Option<&Vf>| {
        let own = vf.and_then(|vf| device(vf.id.as_deref()));
        own.or_else(|| chip(d).map(Chip::vf_device))
    };
    let (Some(x), Some(y)) = (of(src, a), of(dst, b)) else {
        return;
    };
    if x != y {
        let show = |device| match Chip::of_vf(device) {
            Some(chip) => format!("8086:{device:04x} (VF of an {})", chip.name()),
            None => format!("8086:{device:04x}"),
        };
        found.add(Mismatch::refusal(
            Refusal::Device(0),
            Severity::Refused,
            Side::Destination,
            show(x),
            show(y),
        ));
    }
}

/// What both PFs must agree in.
fn pfs(src: &Description, dst: &Description, found: &mut Found) {
    let to = Side::Destination;
    let refused = Severity::Refused;
    if let (Some(a), Some(b)) = (src.pf.state_format, dst.pf.state_format) {
        // A newer reader takes every older version.
        if a > b {
            let version = Refusal::Version(0);
            found.add(Mismatch::refusal(version, refused, to, a, b));
        }
    }
    if let (Some(a), Some(b)) = (src.pf.mailbox_features, dst.pf.mailbox_features) {
        if a & !b != 0 {
            let (a, b) = (format!("{a:#x}"), format!("{b:#x}"));
            // A guest that did not negotiate them needs none of them.
            let m = Mismatch::refusal(Refusal::Features(0), Severity::Depends, to, a, b);
            found.add(m);
        }
    }
    if let (Some(a), Some(b)) = (src.pf.queues_per_pool, dst.pf.queues_per_pool) {
        if a != b {
            let of = |queues, d: &Description| format!("{queues} ({} VFs)", d.pf.vf_count);
            let layout = Refusal::QueueLayout(0);
            let m = Mismatch::refusal(layout, refused, to, of(a, src), of(b, dst));
            found.add(m);
        }
    }
    // There a VF's frames do not go by the PF's MTU.
    let mixes = |d| chip(d).is_some_and(Chip::mixes_frames);
    if mixes(src) && mixes(dst) {
        return;
    }
    // What is compared are the guest's frames, which may be smaller than the PF's MTU allows.
    match (src.pf.mtu_class, dst.pf.mtu_class) {
        (Some(MtuClass::Jumbo), Some(MtuClass::Standard)) => {
            let (a, b) = (show(src.pf.mtu), show(dst.pf.mtu));
            let m = Mismatch::refusal(Refusal::MaxFrame(0), Severity::Depends, to, a, b);
            found.add(m);
        }
        (Some(MtuClass::Standard), Some(MtuClass::Jumbo)) => {
            let (a, b) = (show(src.pf.mtu), show(dst.pf.mtu));
            let m = Mismatch::refusal(Refusal::JumboApi(0), Severity::Depends, to, a, b);
            found.add(m);
        }
        _ => {}
    }
}

/// What a VF needs by itself.
fn function(side: Side, vf: &Vf, d: &Description, managed: bool, found: &mut Found) {
    let mut own = |own: Own, has: &str| {
        let (a, b) = match side {
            Side::Source => (has, ""),
            Side::Destination => ("", has),
        };
        found.add(Mismatch::own(own, side, a, b));
    };
    // Without a PF driver that can, all of this would only repeat it.
    if d.pf.state_format.is_some() && vf.migratable == Some(false) {
        own(Own::Migratable, "off");
    } else if vf.bound_migratable == Some(false) {
        own(Own::BoundTooEarly, "bound without");
    }
    if !managed && vf.driver.as_deref() != Some(VFIO_DRIVER) {
        own(Own::VfDriver, vf.driver.as_deref().unwrap_or("no driver"));
    }
    if side == Side::Destination {
        // A QEMU that waits for the VM is meant to have it.
        let others = vf.users.iter().flatten().filter(|u| !u.incoming);
        let names: Vec<_> = others
            .map(|u| format!("{} ({})", u.command, u.pid))
            .collect();
        if !names.is_empty() {
            own(Own::VfInUse, &names.join(", "));
        }
        if vf.users.is_none() {
            found.unseen(side, &format!("vfs.{}.users", vf.number), d);
        }
    }
    if d.pf.state_format.is_some() && vf.migratable.is_none() {
        found.unseen(side, "vfs.migratable", d);
    }
    if vf.trust.is_none() || vf.link_state.is_none() {
        found.unseen(side, &format!("vfs.{}.policy", vf.number), d);
    }
}

/// What each host decides about its VF.
fn policy(a: &Vf, b: &Vf, found: &mut Found) {
    let to = Side::Destination;
    let refused = Severity::Refused;
    if (a.vlan, a.qos) != (b.vlan, b.qos) {
        let tag = |vf: &Vf| match vf.vlan {
            0 => "none".to_owned(),
            vlan => format!("{vlan} qos {}", vf.qos),
        };
        found.add(Mismatch::refusal(
            Refusal::PortVlan(0),
            refused,
            to,
            tag(a),
            tag(b),
        ));
    }
    let disabled = |vf: &Vf| vf.link_state.as_deref() == Some("disable");
    if disabled(b) && !disabled(a) {
        let state = |vf: &Vf| show(vf.link_state.as_deref());
        let m = Mismatch::refusal(Refusal::LinkDisabled, refused, to, state(a), state(b));
        found.add(m);
    }
    if a.trust == Some(true) && b.trust == Some(false) {
        let (x, y) = (on_off(a.trust), on_off(b.trust));
        let m = Mismatch::refusal(Refusal::AllMulticast, Severity::Depends, to, x, y);
        found.add(m);
        // Without an address of the host's a VF may have further ones untrusted.
        if b.mac.is_some() {
            let m = Mismatch::refusal(Refusal::Addresses(0), Severity::Depends, to, x, y);
            found.add(m);
        }
    }
    if let (Some(x), Some(y)) = (a.max_tx_rate, b.max_tx_rate) {
        if x != y {
            found.add(Mismatch::note(Note::TxRate(0), x, y));
        }
    }
    if a.spoofchk == Some(false) && b.spoofchk == Some(true) {
        let (x, y) = (on_off(a.spoofchk), on_off(b.spoofchk));
        found.add(Mismatch::note(Note::SpoofCheck, x, y));
    }
}

/// The VF's MAC address: the destination must allow it, and nobody else there may have it.
fn address(a: &Vf, b: &Vf, dst: &Description, found: &mut Found) {
    let to = Side::Destination;
    let shown = |mac: &Option<String>| mac.clone().unwrap_or_else(|| "none".into());
    let same = |x: &str, y: &str| x.eq_ignore_ascii_case(y);
    if let Some(set) = &b.mac {
        let severity = match &a.mac {
            Some(mac) if same(mac, set) => None,
            _ if b.trust == Some(true) => None,
            Some(_) => Some(Severity::Refused),
            // Which one the guest has taken is not known yet.
            None => Some(Severity::Depends),
        };
        if let Some(severity) = severity {
            let (x, y) = (shown(&a.mac), set);
            found.add(Mismatch::refusal(Refusal::AdminMac, severity, to, x, y));
        }
    }
    let Some(mac) = &a.mac else { return };
    let has = |other: &Option<String>| other.as_deref().is_some_and(|o| same(o, mac));
    let mut others = dst.vfs.iter().filter(|vf| vf.number != b.number);
    let owner = match others.find(|vf| has(&vf.mac)) {
        Some(vf) => Some(format!("VF {}", vf.number)),
        None => has(&dst.pf.mac).then(|| "the PF".to_owned()),
    };
    if let Some(owner) = owner {
        let m = Mismatch::refusal(Refusal::MacInUse, Severity::Refused, to, mac, owner);
        found.add(m);
    }
}

impl Verdict {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let pair = format!("VF {} to VF {}", self.source_vf, self.destination_vf);
        let refused = self
            .mismatches
            .iter()
            .filter(|m| m.severity == Severity::Refused)
            .count();
        let head = match (refused, self.unseen.is_empty()) {
            (0, true) => format!("{pair}: fits"),
            (0, false) => format!("{pair}: cannot tell, not everything could be seen"),
            (1, _) => format!("{pair}: does not fit, 1 reason"),
            (n, _) => format!("{pair}: does not fit, {n} reasons"),
        };
        let _ = writeln!(out, "{head}");
        for m in &self.mismatches {
            let severity = match m.severity {
                Severity::Refused => "refused",
                Severity::Depends => "depends on the guest",
                Severity::Note => "note",
            };
            let side = match m.side {
                Side::Source => "source",
                Side::Destination => "destination",
            };
            let _ = writeln!(out, "  {severity}: {} [{}]", m.text, m.name);
            for (at, has) in [("source", &m.source), ("destination", &m.destination)] {
                if !has.is_empty() {
                    let _ = writeln!(out, "    {at} has: {has}");
                }
            }
            let _ = writeln!(out, "    on the {side}: {}", m.remedy);
        }
        for u in &self.unseen {
            let _ = writeln!(out, "  not seen: {} ({})", u.what, u.why);
        }
        out
    }
}

#[cfg(test)]
mod tests;
