// SPDX-License-Identifier: GPL-2.0
//! What was repeated. On a loaded machine a kernel hangs now and then while it calibrates its clocks, and the processor of an
//! emulated VM triple faults about once in a hundred starts or moves. Repetitions are counted, since a fault of the emulator or of
//! a driver that shows once in three times would be hidden by them.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{anyhow, Error};
use parking_lot::Mutex;
use serde::Serialize;

/// A boot or a case that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// The machine.
    pub machine: String,
    /// Which of its boots this was, from 1.
    pub attempt: u32,
    /// Why.
    pub why: String,
}

static RETRIES: Mutex<Vec<Retry>> = Mutex::new(Vec::new());

/// What a kernel prints that has a fault, and does not only hang.
const FAULTS: &[&str] = &[
    "Kernel panic",
    "Attempted to kill init",
    "Oops: ",
    "BUG: ",
    "WARNING: ",
];

/// Whether a boot that ended so may be repeated: never where its kernel reported a fault.
pub(crate) fn may_repeat(error: &Error) -> bool {
    let text = format!("{error:#}");
    !FAULTS.iter().any(|f| text.contains(f))
}

/// Triple faults of a run after each of which a start or a case is repeated.
const TRIPLE_FAULTS: u32 = 2;

/// Whether what a triple fault of a VM has ended is repeated, twice in a run. If it is, that is counted and printed.
///
/// The cause is not known. It was seen at moves, and at starts before the VF had sent or received its first frame. What led to it is
/// printed (`svm-triple-fault-told` in tools/testing/qemu/patches). A product that kills VMs does so more often.
pub(crate) fn repeats_fault(what: &str, told: &str) -> bool {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    let repeats = SEEN.fetch_add(1, Ordering::Relaxed) < TRIPLE_FAULTS;
    if repeats {
        note(what, 1, &anyhow!("{told}"));
        eprintln!("{told}");
    }
    repeats
}

/// Counts what is repeated.
pub(crate) fn note(machine: &str, attempt: u32, error: &Error) {
    let why = format!("{error:#}");
    eprintln!("trying again: {why:.200}");
    RETRIES.lock().push(Retry {
        machine: machine.to_owned(),
        attempt,
        why,
    });
}

/// All of this run so far.
pub fn all() -> Vec<Retry> {
    RETRIES.lock().clone()
}

/// Prints how many there were, and why, where there were any.
pub(crate) fn print() {
    let all = all();
    if all.is_empty() {
        return;
    }
    println!("{} boots or cases were repeated:", all.len());
    for r in all {
        let first = r.why.lines().next().unwrap_or_default();
        println!("REPEATED {}, try {}: {first}", r.machine, r.attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_never_repeated() {
        assert!(may_repeat(&anyhow!(
            "h1 did not come up: \"detected stalls on CPUs\""
        )));
        assert!(may_repeat(&anyhow!("it took more than 240 s")));
        let e = anyhow!("[    1.2] Kernel panic - not syncing: x").context("booting h1");
        assert!(!may_repeat(&e));
        assert!(!may_repeat(&anyhow!("its console:\n[ 3.1] BUG: KASAN: x")));
    }

    #[test]
    fn each_is_counted() {
        note("h9", 1, &anyhow!("slow"));
        let mine: Vec<_> = all().into_iter().filter(|r| r.machine == "h9").collect();
        assert!(matches!(&mine[..], [r] if r.attempt == 1 && r.why == "slow"));
    }
}
