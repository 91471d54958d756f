// SPDX-License-Identifier: GPL-2.0
//! The cache: everything that was fetched or built, keyed by what it was made from.
//!
//! A product lives at a fixed place (an object tree of the kernel cannot be moved) and has a stamp that holds the hash of its
//! inputs. It is made again when that hash differs, and the stamp is written last, so that an interrupted step is done again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

/// Hash over named inputs.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    /// A key for a product; `recipe` is raised when the steps that make it change.
    pub fn new(product: &str, recipe: u32) -> Self {
        Self::default()
            .text("product", product)
            .text("recipe", &recipe.to_string())
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        for part in [name.as_bytes(), value.as_bytes()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds a file's content.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn file(self, path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(self.text("file", &hex(&Sha256::digest(text))))
    }

    /// Adds every file below `dir` whose path `keep` accepts, with its name.
    ///
    /// # Errors
    /// If a file or folder cannot be read.
    pub fn tree(mut self, dir: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<Self> {
        let mut files = BTreeMap::new();
        collect(dir, keep, &mut files)?;
        for (path, digest) in files {
            let name = path.strip_prefix(dir).unwrap_or(&path);
            self = self.text(&name.to_string_lossy(), &digest);
        }
        Ok(self)
    }

    /// The key as hexadecimal digits.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

fn collect(
    dir: &Path,
    keep: &dyn Fn(&Path) -> bool,
    into: &mut BTreeMap<PathBuf, String>,
) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if !keep(&path) {
            continue;
        }
        if path.is_dir() {
            collect(&path, keep, into)?;
        } else {
            let mut digest = Sha256::new();
            std::io::copy(&mut File::open(&path)?, &mut digest)?;
            into.insert(path, hex(&digest.finalize()));
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The cache folder.
#[derive(Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens `$LAB_CACHE`, or `ixgbe-lab` in the user's cache folder.
    ///
    /// # Errors
    /// If there is no such folder and none can be made.
    pub fn open() -> Result<Self> {
        let root = match (
            std::env::var_os("LAB_CACHE"),
            std::env::var_os("XDG_CACHE_HOME"),
        ) {
            (Some(dir), _) => PathBuf::from(dir),
            (None, Some(dir)) => PathBuf::from(dir).join("ixgbe-lab"),
            (None, None) => {
                let home = std::env::var_os("HOME").context("neither HOME nor LAB_CACHE is set")?;
                PathBuf::from(home).join(".cache/ixgbe-lab")
            }
        };
        for sub in ["dl", "src", "build", "images", "tools", "stamps", "logs"] {
            fs::create_dir_all(root.join(sub)).with_context(|| {
                format!(
                    "creating {}: set LAB_CACHE to a folder that can be written",
                    root.display()
                )
            })?;
        }
        let root = root.canonicalize()?;
        Ok(Self { root })
    }

    /// A path in the cache.
    pub fn path(&self, sub: impl AsRef<Path>) -> PathBuf {
        self.root.join(sub)
    }

    fn stamp(&self, name: &str) -> PathBuf {
        self.root.join("stamps").join(name)
    }

    /// Whether the product `name` was made from the inputs of `key`.
    pub fn is_current(&self, name: &str, key: &str) -> bool {
        fs::read_to_string(self.stamp(name)).is_ok_and(|s| s.trim() == key)
    }

    /// Makes the product `name` unless it was already made from the inputs of `key`. Only one process at a time makes a product;
    /// another one that wants it waits, and then finds it made.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn ensure(&self, name: &str, key: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.is_current(name, key) {
            return Ok(());
        }
        let _lock = self.lock(name)?;
        if self.is_current(name, key) {
            return Ok(());
        }
        let stamp = self.stamp(name);
        let _ = fs::remove_file(&stamp);
        make()?;
        fs::write(&stamp, key).with_context(|| format!("writing {}", stamp.display()))
    }

    /// Has the product `name` made again.
    ///
    /// # Errors
    /// If its stamp cannot be removed.
    pub fn forget(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.stamp(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Takes the lock of a product; it is given back on drop, or by the kernel when the process ends.
    ///
    /// # Errors
    /// If the lock's file cannot be made.
    pub fn lock(&self, name: &str) -> Result<Flock<File>> {
        let path = self.root.join("stamps").join(format!("{name}.lock"));
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, _)) => file,
        };
        eprintln!("{name} is being made already: waiting for it");
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, e)| e)
            .with_context(|| format!("locking {}", path.display()))
    }
}

/// Last `lines` lines of a text file, for messages about a step that failed.
pub fn tail(path: &Path, lines: usize) -> String {
    let mut text = Vec::new();
    if let Ok(mut f) = File::open(path) {
        let _ = f.read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_inputs_apart() {
        let key = |a: &str, b: &str| Key::new("x", 1).text("a", a).text("b", b).finish();
        assert_eq!(key("1", "2"), key("1", "2"));
        assert_ne!(key("12", ""), key("1", "2"));
        assert_ne!(Key::new("x", 1).finish(), Key::new("x", 2).finish());
    }

    #[test]
    fn a_step_that_fails_is_done_again() -> Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("stamps"))?;
        let cache = Cache {
            root: dir.path().to_path_buf(),
        };
        assert!(cache.ensure("p", "k", || anyhow::bail!("no")).is_err());
        let mut made = 0;
        for _ in 0..2 {
            cache.ensure("p", "k", || {
                made += 1;
                Ok(())
            })?;
        }
        assert_eq!(made, 1);
        assert!(!cache.is_current("p", "other"));
        Ok(())
    }
}
