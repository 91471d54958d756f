// SPDX-License-Identifier: GPL-2.0
//! A private view of Debian's archive: other suites than the machine's own, without touching the machine's own apt.
//!
//! The mirror is the one that the machine's apt uses, so that whatever lets apt work here (a proxy, a mirror inside a company)
//! lets the lab work too. A machine with another distribution names one in `LAB_DEBIAN_MIRROR`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::cache::{Cache, Key};
use crate::pins::Pins;
use crate::process::{command, output, run_logged};

/// Suite of the emulated hosts' root file system and of the QEMU source.
pub const SUITE: &str = "trixie";

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The private apt directory.
pub struct Apt {
    dir: PathBuf,
    /// Base address of the mirror, without a suite.
    pub mirror: String,
}

/// What the machine's apt calls the archive that has `main` of its own release: the first source with a `main` component.
fn find_mirror(index_targets: &str) -> Option<String> {
    index_targets
        .lines()
        .filter_map(|l| l.split_once(' '))
        .find(|(_, site)| site.trim_end_matches('/').ends_with("/debian"))
        .map(|(_, site)| site.trim().trim_end_matches('/').to_owned())
}

/// The mirror to use: `LAB_DEBIAN_MIRROR`, or that of this machine's apt.
///
/// # Errors
/// If there is none, or Debian's keys are missing.
pub fn mirror() -> Result<String> {
    let named = std::env::var("LAB_DEBIAN_MIRROR").ok();
    let mirror = match named.filter(|m| !m.is_empty()) {
        Some(named) => named.trim_end_matches('/').to_owned(),
        None => {
            let mut cmd = std::process::Command::new("apt-get");
            cmd.args([
                "indextargets",
                "--format",
                "$(CREATED_BY) $(SITE)",
                "Created-By: Packages",
            ]);
            let targets = output(cmd)
                .context("asking apt for its mirror: the lab needs a machine with apt")?;
            find_mirror(&targets).context(
                "the lab takes its hosts, their kernel and QEMU's source from Debian, and this machine's apt has no \
                 Debian mirror (an address that ends in /debian). On Ubuntu and others: install \
                 debian-archive-keyring, and set LAB_DEBIAN_MIRROR to the address of a mirror",
            )?
        }
    };
    if !Path::new(KEYRING).exists() {
        bail!("{KEYRING} is missing, by which Debian's archive is trusted: install debian-archive-keyring");
    }
    Ok(mirror)
}

impl Apt {
    /// Makes the private directory and reads the package lists of [`SUITE`] and its backports, at most once a day.
    ///
    /// # Errors
    /// If the machine has no apt with a Debian mirror, or the mirror cannot be reached.
    pub fn open(cache: &Cache) -> Result<Self> {
        let apt = Self {
            dir: cache.path("apt"),
            mirror: mirror()?,
        };
        for sub in ["etc", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.dir.join(sub))?;
        }
        let sources = apt.sources();
        let day = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs()
            / 86_400;
        let key = Key::new("apt", 1)
            .text("sources", &sources)
            .text("day", &day.to_string())
            .finish();
        cache.ensure("apt", &key, || {
            fs::write(apt.dir.join("etc/sources.list"), &sources)?;
            let mut cmd = command("apt-get");
            cmd.args(apt.options()).arg("update");
            run_logged(
                "reading package lists",
                &cache.path("logs/apt-update.log"),
                cmd,
            )
        })?;
        Ok(apt)
    }

    fn sources(&self) -> String {
        let entry = |kind: &str, suite: &str| {
            format!(
                "{kind} [signed-by={KEYRING}] {} {suite} main\n",
                self.mirror
            )
        };
        [
            entry("deb", SUITE),
            entry("deb-src", SUITE),
            entry("deb", &format!("{SUITE}-backports")),
        ]
        .concat()
    }

    /// The line that names [`SUITE`] for mmdebstrap.
    pub fn suite_line(&self) -> String {
        format!("deb [signed-by={KEYRING}] {} {SUITE} main", self.mirror)
    }

    /// The line that names its backports, with Debian's own kernel.
    pub fn backports_line(&self) -> String {
        format!(
            "deb [signed-by={KEYRING}] {} {SUITE}-backports main",
            self.mirror
        )
    }

    fn options(&self) -> Vec<String> {
        let dir = self.dir.display();
        [
            format!("Dir::Etc::sourcelist={dir}/etc/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            "Dir::Etc::preferencesparts=/dev/null".into(),
            format!("Dir::State::lists={dir}/lists"),
            format!("Dir::Cache={dir}/cache"),
            "APT::Get::List-Cleanup=0".into(),
            "APT::Sandbox::User=".into(),
            "Acquire::Languages=none".into(),
        ]
        .into_iter()
        .flat_map(|o| ["-o".to_owned(), o])
        .collect()
    }

    fn query(&self, args: &[&str]) -> Result<String> {
        let mut cmd = std::process::Command::new("apt-cache");
        cmd.args(self.options()).args(args);
        output(cmd)
    }

    /// Newest version of a package, if a suite has it.
    ///
    /// # Errors
    /// If apt-cache fails.
    pub fn newest(&self, package: &str) -> Result<Option<String>> {
        let out = self.query(&["madison", package])?;
        // Newest first: "package | version | source".
        Ok(out
            .lines()
            .filter(|l| l.contains("Packages"))
            .find_map(|l| Some(l.split('|').nth(1)?.trim().to_owned())))
    }

    /// Every version of a package that a suite has, newest first.
    ///
    /// # Errors
    /// If apt-cache fails.
    pub fn versions(&self, package: &str) -> Result<Vec<String>> {
        let out = self.query(&["madison", package])?;
        Ok(out
            .lines()
            .filter(|l| l.contains("Packages"))
            .filter_map(|l| Some(l.split('|').nth(1)?.trim().to_owned()))
            .collect())
    }

    /// Downloads a binary package, checks it where there are `pins` for it, and unpacks it into
    /// `into`.
    ///
    /// # Errors
    /// If the package cannot be had or unpacked, or is not the pinned one.
    pub fn unpack(
        &self,
        cache: &Cache,
        package: &str,
        version: &str,
        pins: Option<&Pins>,
        into: &Path,
    ) -> Result<()> {
        let dl = cache.path("dl");
        let mut cmd = command("apt-get");
        cmd.args(self.options())
            .args(["download", &format!("{package}={version}")])
            .current_dir(&dl);
        run_logged(
            &format!("downloading {package} {version}"),
            &cache.path(format!("logs/dl-{package}.log")),
            cmd,
        )?;
        let prefix = format!("{package}_");
        let wanted = version.replace(':', "%3a");
        let deb = fs::read_dir(&dl)?
            .flatten()
            .map(|e| e.path())
            .find(|p| {
                let name = p
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                name.starts_with(&prefix) && name.contains(&wanted) && name.ends_with(".deb")
            })
            .with_context(|| {
                format!(
                    "{package} {version} was downloaded but is not in {}",
                    dl.display()
                )
            })?;
        if let Some(pins) = pins {
            // apt writes the colon of an epoch as %3a; a version without one has the pinned name as
            // it is.
            pins.check(&deb)?;
        }
        fs::create_dir_all(into)?;
        let mut cmd = command("dpkg-deb");
        cmd.arg("-x").arg(&deb).arg(into);
        run_logged(
            &format!("unpacking {package}"),
            &cache.path(format!("logs/unpack-{package}.log")),
            cmd,
        )?;
        // The package is not needed twice, and the kernel's is large.
        fs::remove_file(deb)?;
        Ok(())
    }

    /// Downloads the upstream tarball of a source package and gives its path.
    ///
    /// # Errors
    /// If the source cannot be had.
    pub fn source_tarball(&self, cache: &Cache, package: &str) -> Result<PathBuf> {
        let dl = cache.path("dl");
        let mut cmd = command("apt-get");
        cmd.args(self.options())
            .args([
                "source",
                "--download-only",
                "--tar-only",
                "-t",
                SUITE,
                package,
            ])
            .current_dir(&dl);
        run_logged(
            &format!("downloading the source of {package}"),
            &cache.path(format!("logs/src-{package}.log")),
            cmd,
        )?;
        let prefix = format!("{package}_");
        let mut found: Vec<PathBuf> = fs::read_dir(&dl)?
            .flatten()
            .map(|e| e.path())
            .filter(|p| {
                let name = p
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                name.starts_with(&prefix) && name.contains(".orig.tar.") && !name.ends_with(".asc")
            })
            .collect();
        found.sort();
        found
            .pop()
            .with_context(|| format!("no source tarball of {package} in {}", dl.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_with_the_archive() {
        let targets = "Packages http://security.example/debian-security\nPackages http://mirror.example/debian/\n";
        assert_eq!(
            find_mirror(targets).as_deref(),
            Some("http://mirror.example/debian")
        );
        // Ubuntu's.
        let targets =
            "Packages http://archive.example/ubuntu/\nPackages http://security.example/ubuntu/\n";
        assert_eq!(find_mirror(targets), None);
        assert_eq!(find_mirror(""), None);
    }
}
