// SPDX-License-Identifier: GPL-2.0
//! How a set-up ends that fails. A process of its own: nothing can be started in it afterwards.

use std::time::{Duration, Instant};

use anyhow::{bail, Result};
use lab::process::{command, run_logged};
use lab::setup::both;

#[test]
fn an_error_does_not_wait_for_the_other_part() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("log");
    let start = Instant::now();
    let result = both(
        || {
            // Two steps, so that it is in one of them or between them.
            for _ in 0..2 {
                let mut cmd = command("sleep");
                cmd.arg("60");
                run_logged("sleeping", &log, cmd)?;
            }
            Ok(())
        },
        || -> Result<()> {
            std::thread::sleep(Duration::from_millis(300));
            bail!("there is no network")
        },
    );
    let said = result.err().map(|e| e.to_string());
    assert_eq!(said.as_deref(), Some("there is no network"));
    assert!(start.elapsed() < Duration::from_secs(30));
    Ok(())
}
