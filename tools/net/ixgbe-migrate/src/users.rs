// SPDX-License-Identifier: GPL-2.0
//! Which processes have a VF: those that have its VFIO group or its VFIO device open.

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

/// Processes that have one of these files open. None if not all processes could be seen.
pub fn of(host: &dyn Host, files: &[String]) -> Option<Vec<User>> {
    let mut users = Vec::new();
    let mut all_seen = true;
    for name in host.list("/proc").ok()? {
        let Ok(pid) = name.parse::<u32>() else {
            continue;
        };
        let fds = match host.list(&format!("/proc/{pid}/fd")) {
            Ok(fds) => fds,
            // It has ended meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(_) => {
                all_seen = false;
                continue;
            }
        };
        let has = fds.iter().any(|fd| {
            let target = host.target(&format!("/proc/{pid}/fd/{fd}"));
            target.is_ok_and(|t| files.contains(&t))
        });
        if has {
            let command = host.read(&format!("/proc/{pid}/comm")).unwrap_or_default();
            let line = host.read(&format!("/proc/{pid}/cmdline"));
            let incoming = line.is_ok_and(|l| l.split('\0').any(|arg| arg == "-incoming"));
            users.push(User {
                pid,
                command,
                incoming,
            });
        }
    }
    (all_seen || !users.is_empty()).then_some(users)
}
