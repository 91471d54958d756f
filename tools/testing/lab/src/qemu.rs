// SPDX-License-Identifier: GPL-2.0
//! QEMU with the model of the 82599.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

use crate::cache::Cache;

/// Builds QEMU with the model.
///
/// # Errors
/// If it cannot be built.
pub fn ensure(cache: &Cache, _tree: &Path) -> Result<PathBuf> {
    let program = match std::env::var_os("LAB_QEMU") {
        Some(p) => PathBuf::from(p),
        None => cache.path("build/qemu/qemu-system-x86_64"),
    };
    if !program.exists() {
        bail!(
            "{} does not exist: set LAB_QEMU to a QEMU",
            program.display()
        );
    }
    Ok(program)
}
