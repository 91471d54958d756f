// SPDX-License-Identifier: GPL-2.0
//! What `prepare` has changed and what was there before, for `release`. It lies in `/run`, since
//! neither it nor the settings outlive a reboot.

use anyhow::{ensure, Context, Result};
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::setting::{Setting, Value};

/// Version of its form.
const VERSION: u32 = 1;
/// Where it lies.
const DIR: &str = "/run/ixgbe-migrate";

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Of what.
    pub setting: Setting,
    /// What was there.
    pub before: Value,
    /// What is there now.
    pub after: Value,
}

/// All changes to a host, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// PCI address of the PF.
    pub pf: String,
    /// The changes.
    pub changes: Vec<Change>,
}

fn path(pf: &str) -> String {
    format!("{DIR}/{pf}.json")
}

impl Record {
    /// The record of a PF, empty if there is none.
    ///
    /// # Errors
    /// If there is one that cannot be read.
    pub fn load(host: &dyn Host, pf: &str) -> Result<Self> {
        let path = path(pf);
        let text = match host.read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self {
                    version: VERSION,
                    pf: pf.into(),
                    changes: vec![],
                })
            }
            Err(e) => return Err(e).with_context(|| format!("reading {path}")),
        };
        let record: Self = serde_json::from_str(&text)
            .with_context(|| format!("{path} is not a record of this tool: remove it"))?;
        ensure!(
            record.version == VERSION && record.pf == pf,
            "{path} is of another version or another PF: release it with the tool that made it"
        );
        Ok(record)
    }

    /// Adds a change. What was there before the first one is kept.
    pub fn add(&mut self, change: Change) {
        match self
            .changes
            .iter_mut()
            .find(|c| c.setting == change.setting)
        {
            Some(c) => c.after = change.after,
            None => self.changes.push(change),
        }
    }

    /// Writes it, or removes it if it is empty.
    ///
    /// # Errors
    /// Those of writing.
    pub fn save(&self, host: &dyn Host) -> Result<()> {
        let path = path(&self.pf);
        if self.changes.is_empty() {
            return match host.remove(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(e).with_context(|| format!("removing {path}"))
                }
                _ => Ok(()),
            };
        }
        let text = serde_json::to_string_pretty(self)?;
        host.store(&path, &text)
            .with_context(|| format!("writing {path}"))
    }
}

/// The order in which changes are taken back: drivers after what they look at when they are bound,
/// and the number of VFs after all that is of VFs, which it takes along if it becomes 0.
pub fn undo_order(changes: &[Change]) -> Vec<Change> {
    let gone = changes
        .iter()
        .any(|c| c.setting == Setting::VfCount && c.before == Value::Number(0));
    let (of_vfs, of_pf): (Vec<_>, Vec<_>) = changes
        .iter()
        .rev()
        .cloned()
        .partition(|c| c.setting.vf().is_some());
    let (drivers, policy): (Vec<_>, Vec<_>) = of_vfs
        .into_iter()
        .partition(|c| matches!(c.setting, Setting::Driver(_)));
    let of_vfs = policy.into_iter().chain(drivers).filter(|_| !gone);
    of_vfs.chain(of_pf).collect()
}
