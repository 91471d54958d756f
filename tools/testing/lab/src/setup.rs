// SPDX-License-Identifier: GPL-2.0
//! Set-up: what is fetched and built before a host can boot. Parts that do not need each other run side by side.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use anyhow::{anyhow, Error, Result};
use parking_lot::Mutex;

use crate::cache::Cache;
use crate::kernel::{self, Flavour, Kernel};
use crate::toolchain::{self, Toolchain};
use crate::{process, stock};

/// Kernels, and this project's modules for them.
pub struct Kernels {
    cache: Cache,
    tree: PathBuf,
    /// Compilers of the lab's own kernels, once they are asked for.
    tools: OnceLock<Toolchain>,
}

fn is_stock(flavour: Flavour) -> bool {
    matches!(flavour, Flavour::Stock | Flavour::StockIommufd)
}

impl Kernels {
    /// Those of a tree, of which nothing is made yet.
    pub fn new(cache: &Cache, tree: &Path) -> Self {
        Self {
            cache: cache.clone(),
            tree: tree.to_path_buf(),
            tools: OnceLock::new(),
        }
    }

    fn tools(&self) -> Result<&Toolchain> {
        if let Some(tools) = self.tools.get() {
            return Ok(tools);
        }
        let tools = toolchain::ensure(&self.cache)?;
        Ok(self.tools.get_or_init(|| tools))
    }

    /// Builds or gets a kernel.
    ///
    /// # Errors
    /// If a step fails.
    pub fn kernel(&self, flavour: Flavour) -> Result<Kernel> {
        if is_stock(flavour) {
            return stock::ensure(&self.cache, &self.tree, flavour);
        }
        kernel::ensure(&self.cache, &self.tree, self.tools()?, flavour)
    }

    /// Builds this project's modules and gives their folder.
    ///
    /// # Errors
    /// If they cannot be built.
    pub fn modules(&self, kernel: &Kernel) -> Result<PathBuf> {
        if is_stock(kernel.flavour) {
            return stock::modules(&self.cache, &self.tree, kernel);
        }
        kernel::modules(&self.cache, &self.tree, self.tools()?, kernel)
    }

    /// Compiles the modules with what the kernel's maintainers ask for.
    ///
    /// # Errors
    /// If there is a warning.
    pub fn check(&self, kernel: &Kernel) -> Result<()> {
        if is_stock(kernel.flavour) {
            return stock::check(&self.cache, &self.tree, kernel);
        }
        kernel::check(&self.cache, &self.tree, self.tools()?, kernel)
    }

    /// Makes these kernels. For one that has no modules of this tree yet, they are made too: that takes a minute, and
    /// little at any later time, when they are made where they are wanted.
    ///
    /// # Errors
    /// If a step fails.
    pub fn prepare(&self, flavours: &[Flavour]) -> Result<()> {
        for flavour in flavours {
            let kernel = self.kernel(*flavour)?;
            if !kernel::has_modules(&self.cache, &self.tree, &kernel) {
                self.modules(&kernel)?;
            }
        }
        Ok(())
    }
}

/// Runs two parts side by side. Where one fails, what the other has started is ended: nobody waits minutes for an error. The
/// lab can start nothing afterwards.
///
/// # Errors
/// The first one.
pub fn both<A: Send, B: Send>(
    one: impl FnOnce() -> Result<A> + Send,
    other: impl FnOnce() -> Result<B> + Send,
) -> Result<(A, B)> {
    let first: Mutex<Option<Error>> = Mutex::new(None);
    let keep = |e: Error| {
        first.lock().get_or_insert(e);
        process::clean_up();
    };
    let (a, b) = thread::scope(|s| {
        let one = s.spawn(|| one().map_err(keep).ok());
        let b = other().map_err(keep).ok();
        (one.join().ok().flatten(), b)
    });
    match (a, b) {
        (Some(a), Some(b)) => Ok((a, b)),
        _ => Err(first
            .into_inner()
            .unwrap_or_else(|| anyhow!("a part of the set-up panicked"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_give_both_results() -> Result<()> {
        assert_eq!(both(|| Ok(1), || Ok("x"))?, (1, "x"));
        Ok(())
    }
}
