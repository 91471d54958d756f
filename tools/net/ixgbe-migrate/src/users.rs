// SPDX-License-Identifier: GPL-2.0
//! Which processes have a VF: those that have its VFIO group or its VFIO device open.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::host::Host;

/// A process that has a VF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub command: String,
    /// It is a QEMU that waits for a VM (`-incoming`), so that it is meant to have the VF.
    pub incoming: bool,
}

/// All users of VFIO, from one look at all processes.
#[derive(Debug, Default)]
pub struct Users {
    by_file: BTreeMap<String, Vec<User>>,
    all_seen: bool,
}

impl Users {
    /// Looks at all processes.
    pub fn look(host: &dyn Host) -> Self {
        let Ok(names) = host.list("/proc") else {
            return Self::default();
        };
        let mut users = Self {
            by_file: BTreeMap::new(),
            all_seen: true,
        };
        for pid in names.iter().filter_map(|name| name.parse::<u32>().ok()) {
            match host.list(&format!("/proc/{pid}/fd")) {
                Ok(fds) => users.process(host, pid, &fds),
                // It has ended meanwhile.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(_) => users.all_seen = false,
            }
        }
        users
    }

    fn process(&mut self, host: &dyn Host, pid: u32, fds: &[String]) {
        let targets = fds.iter().filter_map(|fd| {
            let target = host.target(&format!("/proc/{pid}/fd/{fd}")).ok()?;
            // The container is no VF's.
            (target.starts_with("/dev/vfio/") && target != "/dev/vfio/vfio").then_some(target)
        });
        for file in targets.collect::<BTreeSet<_>>() {
            let command = host.read(&format!("/proc/{pid}/comm")).unwrap_or_default();
            let line = host.read(&format!("/proc/{pid}/cmdline"));
            let incoming = line.is_ok_and(|l| l.split('\0').any(|arg| arg == "-incoming"));
            self.by_file.entry(file).or_default().push(User {
                pid,
                command,
                incoming,
            });
        }
    }

    /// Processes that have one of these files open. None if not all processes could be seen.
    pub fn of(&self, files: &[String]) -> Option<Vec<User>> {
        let mut users: Vec<User> = Vec::new();
        for user in files.iter().filter_map(|f| self.by_file.get(f)).flatten() {
            if !users.contains(user) {
                users.push(user.clone());
            }
        }
        (self.all_seen || !users.is_empty()).then_some(users)
    }
}
