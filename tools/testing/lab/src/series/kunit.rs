// SPDX-License-Identifier: GPL-2.0
//! The KUnit tests of a series, in a kernel that runs as a process of this machine (User Mode Linux).

use std::fs;

use anyhow::{bail, Context, Result};
use regex::Regex;

use super::build::Build;
use crate::kernel;
use crate::process::run_logged;
use crate::stock::inside;

/// The folder with the tests, and with the configuration of a kernel that has them.
const FOLDER: &str = "drivers/net/ethernet/intel/libixgbe";

/// Their suite: a kernel with Rust has others, too.
const SUITE: &str = "libixgbe";

/// How many tests ran, and how many of them passed, as `kunit.py` says.
fn counts(said: &str) -> Option<(usize, usize)> {
    let line = Regex::new(r"Testing complete\. Ran (\d+) tests: passed: (\d+)").ok()?;
    let found = line.captures(said)?;
    let number = |n| found.get(n)?.as_str().parse().ok();
    Some((number(1)?, number(2)?))
}

impl Build<'_> {
    /// Builds that kernel and runs it.
    pub(super) fn kunit(&self) -> Result<String> {
        let tree = self.copy()?;
        let tests = fs::read_to_string(tree.join(FOLDER).join("libixgbe_kunit.rs"))?;
        let tests = tests.matches("#[test]").count();
        let out = self.out("kunit");
        fs::create_dir_all(&out)?;
        let mut cmd = inside(&self.root, &[&self.cache.path("")], &["sh", "-ec"]);
        cmd.arg("cd \"$1\"; shift; exec tools/testing/kunit/kunit.py run --jobs \"${1#-j}\" --build_dir \"$2\" --kunitconfig \"$3\" \"$4\" 2>&1")
            .arg("sh")
            .arg(&tree)
            .arg(kernel::jobs())
            .arg(&out)
            .args([FOLDER, SUITE]);
        let log = self.cache.path("logs/series-kunit.log");
        run_logged(
            "building and running a kernel with the KUnit tests (minutes, once)",
            &log,
            cmd,
        )?;
        let said = fs::read_to_string(&log)?;
        let (ran, passed) =
            counts(&said).with_context(|| format!("kunit.py told no result: {}", log.display()))?;
        if (ran, passed) != (tests, tests) {
            bail!(
                "{ran} tests ran and {passed} passed, of {tests}: {}",
                log.display()
            );
        }
        Ok(format!("{passed} passed, in User Mode Linux"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read() {
        let said = "[17:00:00] Testing complete. Ran 5 tests: passed: 4, failed: 1\n";
        assert_eq!(counts(said), Some((5, 4)));
        assert_eq!(counts("Testing complete. Ran 0 tests: errors: 1\n"), None);
    }
}
