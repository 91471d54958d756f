// SPDX-License-Identifier: GPL-2.0
//! `prepare` and `release`: makes a host ready, and puts back what was there.
//!
//! All that can be checked is checked before the first change. A change that fails takes back those
//! before it; where that fails as well, the report says what is as it was and what is not.

use std::fmt;

use anyhow::{Context, Result};

use crate::describe::{self, Place, VFIO_DRIVER};
use crate::description::Description;
use crate::host::Host;
use crate::record::{undo_order, Change, Record};
use crate::setting::{load_driver, Setting, Value};
use crate::wanted::{Wanted, WantedVf};

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is as wanted; these are the changes.
    Done(Vec<String>),
    /// Nothing was changed, for all of these reasons.
    Refused(Vec<String>),
    /// A change failed, and all was put back.
    RolledBack(String),
    /// A change failed, and not all could be put back: these are left.
    Broken(String, Vec<String>),
}

impl Outcome {
    /// Exit code.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Done(_) => 0,
            Self::Refused(_) | Self::RolledBack(_) => 1,
            Self::Broken(..) => 3,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(changes) if changes.is_empty() => writeln!(f, "nothing to change"),
            Self::Done(changes) => changes.iter().try_for_each(|c| writeln!(f, "{c}")),
            Self::Refused(reasons) => {
                writeln!(f, "nothing was changed:")?;
                reasons.iter().try_for_each(|r| writeln!(f, "  {r}"))
            }
            Self::RolledBack(why) => {
                writeln!(
                    f,
                    "failed: {why}\nall changes were taken back, the host is as it was"
                )
            }
            Self::Broken(why, left) => {
                writeln!(f, "failed: {why}\nnot everything could be put back:")?;
                left.iter().try_for_each(|l| writeln!(f, "  {l}"))?;
                writeln!(f, "mend the cause and run ixgbe-migrate release")
            }
        }
    }
}

/// Who has a VF, for a message.
fn users(d: &Description, vf: u32) -> Option<String> {
    let users = d.vf(vf)?.users.as_deref().unwrap_or_default();
    let names: Vec<_> = users
        .iter()
        .map(|u| format!("{} ({})", u.command, u.pid))
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Settings that a VF is wanted to have. The driver is last: it looks at the others.
fn settings(vf: &WantedVf) -> Vec<(Setting, Value)> {
    let n = vf.number;
    let on = |setting: Setting, v: Option<bool>| v.map(|v| (setting, Value::On(v)));
    let vlan = vf.vlan.map(|vlan| Value::Vlan {
        vlan,
        qos: vf.qos.unwrap_or(0),
    });
    let driver = match vf.driver.as_str() {
        "keep" => None,
        "none" => Some(Value::Driver {
            bound: None,
            only: None,
        }),
        name => Some(Value::Driver {
            bound: Some(name.into()),
            only: Some(name.into()),
        }),
    };
    let all = [
        vf.mac
            .as_ref()
            .map(|m| (Setting::Mac(n), Value::Text(m.to_lowercase()))),
        vlan.map(|v| (Setting::Vlan(n), v)),
        on(Setting::Trust(n), vf.trust),
        on(Setting::Spoofchk(n), vf.spoofchk),
        vf.max_tx_rate
            .map(|r| (Setting::MaxTxRate(n), Value::Number(r))),
        vf.link
            .map(|l| (Setting::LinkState(n), Value::Text(l.name().into()))),
        on(Setting::Migratable(n), Some(vf.migratable)),
        driver.map(|d| (Setting::Driver(n), d)),
    ];
    all.into_iter().flatten().collect()
}

/// Settings of the PF that are wanted, in their order.
fn pf_settings(wanted: &Wanted) -> Vec<(Setting, Value)> {
    let count = wanted.vfs.map(|n| (Setting::VfCount, Value::Number(n)));
    let mut all = vec![(Setting::PfUp, Value::On(true))];
    if count.is_some() {
        // The host is not to use VFs that are made for VMs.
        all.push((Setting::Autoprobe, Value::On(false)));
    }
    all.extend(count);
    all
}

/// What speaks against it, all at once.
fn refusals(host: &dyn Host, d: &Description, wanted: &Wanted) -> Vec<String> {
    let mut why = Vec::new();
    let count = wanted.vfs.unwrap_or(d.pf.vf_count);
    if let Some(n) = wanted.vfs {
        if n > d.pf.vf_max {
            why.push(format!(
                "{n} VFs are wanted, and the PF has {} at most",
                d.pf.vf_max
            ));
        }
        if d.pf.vf_count != 0 && d.pf.vf_count != n {
            why.push(format!(
                "there are {} VFs already and {n} are wanted: release them first, or write 0 to \
                 sriov_numvfs",
                d.pf.vf_count
            ));
        }
    }
    let vfio = |vf: &WantedVf| vf.driver != "keep" && vf.driver != "none";
    if d.pf.state_format.is_none() && wanted.vf.iter().any(|vf| vf.migratable) {
        why.push(format!(
            "the PF's driver ({}) cannot move VFs: bind it to ixgbe_rust",
            d.pf.driver.as_deref().unwrap_or("none")
        ));
    }
    if !d.iommu && wanted.vf.iter().any(vfio) {
        why.push("the IOMMU is off: intel_iommu=on on the kernel's command line".into());
    }
    for vf in &wanted.vf {
        let n = vf.number;
        if n >= count {
            why.push(format!(
                "there is no VF {n}: the host has or gets {count} VFs"
            ));
        }
        if let Some(mac) = &vf.mac {
            let taken = |other: &Option<String>| {
                other
                    .as_deref()
                    .is_some_and(|o| o.eq_ignore_ascii_case(mac))
            };
            if taken(&d.pf.mac) {
                why.push(format!("VF {n}: the PF has {mac}"));
            }
            let moves = |number| {
                wanted
                    .vf
                    .iter()
                    .any(|w| w.number == number && w.mac.is_some())
            };
            for other in &d.vfs {
                if other.number != n && taken(&other.mac) && !moves(other.number) {
                    why.push(format!("VF {n}: VF {} has {mac}", other.number));
                }
            }
        }
        let Some(users) = users(d, n) else { continue };
        let hurt: Vec<_> = changes(d, &vf_settings(d, vf))
            .iter()
            .filter(|c| c.setting.hurts())
            .map(|c| c.setting.to_string())
            .collect();
        if !hurt.is_empty() {
            let hurt = hurt.join(", ");
            why.push(format!(
                "VF {n} is in use by {users}: {hurt} cannot be changed"
            ));
        }
    }
    if why.is_empty() {
        for vf in wanted.vf.iter().filter(|vf| vfio(vf)) {
            // The module stays loaded when it is released: that does no harm.
            if let Err(e) = load_driver(host, &vf.driver) {
                why.push(format!("VF {}: {e:#}", vf.number));
            }
        }
    }
    why
}

/// Settings of a VF on this host. A driver that is kept and was bound too early is bound again.
fn vf_settings(d: &Description, vf: &WantedVf) -> Vec<(Setting, Value)> {
    let mut all = settings(vf);
    let driver = Setting::Driver(vf.number);
    if vf.driver == "keep" && stale(d, vf.number, &all) {
        all.extend(driver.value(d).map(|now| (driver, now)));
    }
    all
}

/// What of it differs from the host.
fn changes(d: &Description, wanted: &[(Setting, Value)]) -> Vec<Change> {
    let differs = |(setting, after): &(Setting, Value)| {
        let before = setting.value(d)?;
        let again = match setting {
            Setting::Driver(n) => stale(d, *n, wanted),
            _ => false,
        };
        (before != *after || again).then(|| Change {
            setting: *setting,
            before,
            after: after.clone(),
        })
    };
    wanted.iter().filter_map(differs).collect()
}

/// Whether the variant driver of a VF was bound with another `migratable` than is wanted.
fn stale(d: &Description, vf: u32, wanted: &[(Setting, Value)]) -> bool {
    let Some(now) = d.vf(vf) else { return false };
    let want = wanted.iter().find(|(s, _)| *s == Setting::Migratable(vf));
    let Some((_, Value::On(want))) = want else {
        return false;
    };
    now.driver.as_deref() == Some(VFIO_DRIVER)
        && (now.migratable != Some(*want) || now.bound_migratable.is_some_and(|b| b != *want))
}

/// Makes the host as wanted.
///
/// # Errors
/// If the host or the record cannot be seen. Nothing was changed then.
pub fn prepare(host: &dyn Host, place: &Place, wanted: &Wanted) -> Result<Outcome> {
    let before = describe::describe(host, place)?;
    let why = refusals(host, &before, wanted);
    if !why.is_empty() {
        return Ok(Outcome::Refused(why));
    }
    let mut record = Record::load(host, &place.address)?;
    let mut done = Vec::new();
    let run = |done: &mut Vec<Change>, record: &mut Record| -> Result<()> {
        for change in changes(&before, &pf_settings(wanted)) {
            change_one(host, place, record, done, change)?;
        }
        // VFs may be new.
        let now = if done.is_empty() {
            before.clone()
        } else {
            describe::describe(host, place)?
        };
        for vf in &wanted.vf {
            for change in changes(&now, &vf_settings(&now, vf)) {
                change_one(host, place, record, done, change)?;
            }
        }
        Ok(())
    };
    match run(&mut done, &mut record) {
        Ok(()) => Ok(Outcome::Done(done.iter().map(tell).collect())),
        Err(e) => Ok(roll_back(host, place, &done, &format!("{e:#}"))),
    }
}

fn tell(c: &Change) -> String {
    if c.before == c.after {
        format!("{}: {}, bound again", c.setting, c.after)
    } else {
        format!("{}: {} (was {})", c.setting, c.after, c.before)
    }
}

/// Does one change. It is in the record first: a tool that is killed leaves nothing unknown.
fn change_one(
    host: &dyn Host,
    place: &Place,
    record: &mut Record,
    done: &mut Vec<Change>,
    change: Change,
) -> Result<()> {
    record.add(change.clone());
    record.save(host)?;
    done.push(change.clone());
    change
        .setting
        .apply(host, place, &change.after)
        .with_context(|| format!("{} to {}", change.setting, change.after))
}

/// Takes back what this run did.
fn roll_back(host: &dyn Host, place: &Place, done: &[Change], why: &str) -> Outcome {
    let mut left = Vec::new();
    for c in undo_order(done) {
        // The one that failed may not have changed anything.
        if is_now(host, place, &c) && c.before != c.after {
            continue;
        }
        if let Err(e) = c.setting.apply(host, place, &c.before) {
            left.push(format!("{} was {}: {e:#}", c.setting, c.before));
        }
    }
    if !left.is_empty() {
        return Outcome::Broken(why.into(), left);
    }
    // The record is again what it was before: of the changes of earlier runs alone.
    let reset = Record::load(host, &place.address).and_then(|mut record| {
        for c in done {
            match record.changes.iter().position(|r| r.setting == c.setting) {
                Some(at) if record.changes.get(at).is_some_and(|r| r.before == c.before) => {
                    record.changes.remove(at);
                }
                Some(at) => {
                    if let Some(r) = record.changes.get_mut(at) {
                        r.after = c.before.clone();
                    }
                }
                None => {}
            }
        }
        record.save(host)
    });
    match reset {
        Ok(()) => Outcome::RolledBack(why.into()),
        Err(e) => Outcome::Broken(why.into(), vec![format!("the record: {e:#}")]),
    }
}

/// Whether a setting has its old value.
fn is_now(host: &dyn Host, place: &Place, c: &Change) -> bool {
    describe::describe(host, place).is_ok_and(|d| c.setting.value(&d).as_ref() == Some(&c.before))
}

/// Puts back what was there before `prepare`. `force`: also what somebody else changed since.
///
/// # Errors
/// If the host or the record cannot be seen. Nothing was changed then.
pub fn release(host: &dyn Host, place: &Place, force: bool) -> Result<Outcome> {
    let mut record = Record::load(host, &place.address)?;
    let now = describe::describe(host, place)?;
    let undo = undo_order(&record.changes);
    let mut why = Vec::new();
    for c in &undo {
        let vfs: Vec<u32> = match c.setting {
            Setting::VfCount => now.vfs.iter().map(|vf| vf.number).collect(),
            s if s.hurts() => s.vf().into_iter().collect(),
            _ => vec![],
        };
        for n in vfs {
            if let Some(users) = users(&now, n) {
                let line = format!("VF {n} is in use by {users}: end it first");
                if !why.contains(&line) {
                    why.push(line);
                }
            }
        }
    }
    if !why.is_empty() {
        return Ok(Outcome::Refused(why));
    }
    let (mut done, mut left) = (Vec::new(), Vec::new());
    for c in undo {
        let has = c.setting.value(&now);
        if has.as_ref() == Some(&c.before) && c.before != c.after {
            // Already as it was.
        } else if has.as_ref() != Some(&c.after) && has.is_some() && !force {
            let has = has.map(|h| h.to_string()).unwrap_or_default();
            done.push(format!(
                "{}: left at {has}, changed by somebody else",
                c.setting
            ));
        } else if has.is_none() {
            done.push(format!("{}: is gone", c.setting));
        } else {
            match c.setting.apply(host, place, &c.before) {
                Ok(()) => done.push(format!("{}: {} again", c.setting, c.before)),
                Err(e) => {
                    left.push(format!("{} was {}: {e:#}", c.setting, c.before));
                    continue;
                }
            }
        }
        record.changes.retain(|r| r.setting != c.setting);
    }
    if left.is_empty() {
        // Changes of VFs that are gone with their number went with them.
        record.changes.clear();
    }
    record.save(host)?;
    Ok(if left.is_empty() {
        Outcome::Done(done)
    } else {
        let why = format!("{} of the settings could not be put back", left.len());
        Outcome::Broken(why, left)
    })
}

#[cfg(test)]
mod tests;
