// SPDX-License-Identifier: GPL-2.0
//! The kernel logs of two hosts and of the VMs on them, looked at from boot to end.
//!
//! A VM that arrives is another QEMU with another connection to the same agent, so its log comes in parts: one for each host that it
//! was on. Whoever connects to a VM's agent does so by [`super::host::Host::vm_agent`], which joins the part to the VM's log. No part
//! can be left out.

use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;

use crate::guest::Guest;
use crate::klog::{Scanner, Watch};

/// How long the end of a log may take to come.
const END: Duration = Duration::from_secs(30);

/// One kernel's log, in the parts in which it came.
struct Log {
    name: String,
    watch: Watch,
    /// Each with the number of records that were looked at.
    parts: Vec<(Guest, usize)>,
}

impl Log {
    fn new(name: &str, agent: Guest) -> Self {
        Self {
            name: name.to_owned(),
            watch: Watch::from_boot(),
            parts: vec![(agent, 0)],
        }
    }

    fn faults(&mut self, scanner: &Scanner) -> Vec<String> {
        let mut faults = Vec::new();
        // Only where the machine is now can its log grow. A machine that is gone has no end of its log to wait for.
        if let Some(agent) = self.parts.iter().rev().map(|p| &p.0).find(|a| a.is_up()) {
            match agent.flush_log(END) {
                // A QEMU that was told to quit closes its side a moment later.
                Err(e) if agent.is_up() => faults.push(format!(
                    "{}: the end of its log did not come: {e:#}",
                    self.name
                )),
                _ => {}
            }
        }
        for (agent, seen) in &mut self.parts {
            let new = agent.kernel_log(*seen);
            *seen += new.len();
            let found = scanner.go_on(&mut self.watch, &new);
            faults.extend(found.into_iter().map(|f| format!("{}: {f}", self.name)));
        }
        faults
    }
}

/// All logs of a pair of hosts.
#[derive(Default)]
pub(super) struct Logs(Mutex<Vec<Log>>);

impl Logs {
    /// Begins the log of a machine that boots.
    pub(super) fn boots(&self, name: &str, agent: Guest) {
        self.0.lock().push(Log::new(name, agent));
    }

    /// Goes on with the log of a machine that is to arrive elsewhere.
    pub(super) fn arrives(&self, name: &str, agent: Guest) {
        let mut logs = self.0.lock();
        match logs.iter_mut().rfind(|l| l.name == name) {
            Some(log) => log.parts.push((agent, 0)),
            None => logs.push(Log::new(name, agent)),
        }
    }

    /// What the kernels reported since this was last asked for.
    pub(super) fn faults(&self) -> Result<Vec<String>> {
        let scanner = Scanner::new()?;
        Ok(self
            .0
            .lock()
            .iter_mut()
            .flat_map(|l| l.faults(&scanner))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use lab_agent::{Frame, Kind};

    use super::*;

    /// An agent that says this and is gone.
    fn agent(records: &[&str]) -> Result<Guest> {
        let (near, mut far) = UnixStream::pair()?;
        let guest = Guest::new(near)?;
        for r in records {
            let frame = Frame {
                kind: Kind::Kmsg,
                id: 0,
                payload: r.as_bytes().to_vec(),
            };
            frame.write_to(&mut far)?;
        }
        drop(far);
        while guest.kernel_log(0).len() < records.len() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(guest)
    }

    #[test]
    fn a_report_before_a_move_is_not_lost_with_the_source() -> Result<()> {
        let logs = Logs::default();
        logs.boots("vm", agent(&["4,0,1,-;Linux", "4,1,2,-;WARNING: at boot"])?);
        logs.arrives("vm", agent(&["4,2,3,-;BUG: after the first move"])?);
        // One that was refused: nothing arrived.
        logs.arrives("vm", agent(&[])?);
        logs.arrives("vm", agent(&["6,3,4,-;all well"])?);
        assert_eq!(
            logs.faults()?,
            ["vm: WARNING: at boot", "vm: BUG: after the first move"]
        );
        assert!(logs.faults()?.is_empty());
        Ok(())
    }

    #[test]
    fn a_record_that_a_move_loses_is_seen() -> Result<()> {
        let logs = Logs::default();
        logs.boots("vm", agent(&["4,0,1,-;Linux"])?);
        logs.arrives("vm", agent(&["4,2,3,-;x"])?);
        let faults = logs.faults()?;
        assert!(
            matches!(&faults[..], [f] if f.contains("1 records")),
            "{faults:?}"
        );
        // Another VM of the same name begins a log of its own.
        logs.boots("vm", agent(&["4,0,1,-;Linux"])?);
        assert!(logs.faults()?.is_empty());
        Ok(())
    }
}
