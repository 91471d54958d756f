// SPDX-License-Identifier: GPL-2.0
//! Which versions of what is fetched this tree was tested with, by checksum.
//!
//! Debian's archive keeps only the newest point release of a package, so that the pinned one cannot
//! be had for ever. A file of the pinned name must have the pinned content. One of another name is
//! taken, and the lab says so at each run, since what it measures and what fails may be of that
//! other version's making; with `LAB_PINS=strict` it is refused.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{bail, Context, Result};
use sha2::{Digest, Sha256};

/// A list as `sha256sum` writes it, with comments.
pub struct Pins {
    entries: Vec<(String, String)>,
    list: String,
}

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
enum Is {
    Pinned,
    /// None of the list.
    Other,
    /// It has the name of a pinned one, and another content.
    Wrong,
}

impl Pins {
    /// Reads a list.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self::parse(&text, &path.display().to_string()))
    }

    fn parse(text: &str, list: &str) -> Self {
        let entries = text
            .lines()
            .filter(|l| !l.starts_with('#'))
            .filter_map(|l| l.split_once("  "))
            .map(|(sum, name)| (name.trim().to_owned(), sum.to_owned()))
            .collect();
        Self {
            entries,
            list: list.to_owned(),
        }
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.entries.iter().map(|(n, _)| n.as_str()).collect();
        names.join(", ")
    }

    fn judge(&self, name: &str, sum: impl FnOnce() -> Result<String>) -> Result<Is> {
        let Some((_, pinned)) = self.entries.iter().find(|(n, _)| n == name) else {
            return Ok(Is::Other);
        };
        Ok(if sum()? == *pinned {
            Is::Pinned
        } else {
            Is::Wrong
        })
    }

    /// Checks a file that was fetched.
    ///
    /// # Errors
    /// If its content is not that of its name, or its name is not in the list and
    /// `LAB_PINS=strict`.
    pub fn check(&self, file: &Path) -> Result<()> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match self.judge(&name, || sha256(file))? {
            Is::Pinned => Ok(()),
            Is::Other => self.other(&name),
            Is::Wrong => bail!(
                "{} is not what {} says: a download that was cut off, or a mirror that is not Debian's; remove it and try again",
                file.display(),
                self.list
            ),
        }
    }

    /// Says that what the cache has, by this name, is not of the list.
    ///
    /// # Errors
    /// With `LAB_PINS=strict`.
    pub fn check_name(&self, name: &str) -> Result<()> {
        match self.entries.iter().any(|(n, _)| n == name) {
            true => Ok(()),
            false => self.other(name),
        }
    }

    fn other(&self, name: &str) -> Result<()> {
        let tested = self.names();
        if std::env::var("LAB_PINS").is_ok_and(|v| v == "strict") {
            bail!(
                "{name} is not the version that this tree was tested with ({tested}, in {}), and LAB_PINS=strict refuses others",
                self.list
            );
        }
        eprintln!("note: {name} is not the version that this tree was tested with ({tested}); LAB_PINS=strict would refuse it");
        Ok(())
    }
}

/// Checksum of a file.
///
/// # Errors
/// If it cannot be read.
fn sha256(file: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    let mut from = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    io::copy(&mut from, &mut digest)?;
    let digest = digest.finalize();
    Ok(digest.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_its_content() -> Result<()> {
        let pins = Pins::parse("# why\naa  one.tar\nbb  two.tar\n", "list");
        let sum = |s: &'static str| move || Ok(s.to_owned());
        assert_eq!(pins.judge("one.tar", sum("aa"))?, Is::Pinned);
        assert_eq!(pins.judge("one.tar", sum("bb"))?, Is::Wrong);
        assert_eq!(pins.judge("three.tar", sum("aa"))?, Is::Other);
        assert_eq!(pins.names(), "one.tar, two.tar");
        Ok(())
    }

    #[test]
    fn the_trees_lists_can_be_read() -> Result<()> {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for list in ["qemu/pins.sha256", "lab/kernel/pins.sha256"] {
            let pins = Pins::read(&tree.join(list))?;
            assert!(!pins.entries.is_empty(), "{list}");
            assert!(pins.entries.iter().all(|(_, sum)| sum.len() == 64));
        }
        Ok(())
    }

    #[test]
    fn a_file_is_read_whole() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("abc");
        fs::write(&file, "abc")?;
        assert_eq!(
            sha256(&file)?,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        Ok(())
    }
}
