// SPDX-License-Identifier: GPL-2.0
//! One Debian package: its files in a folder, what dpkg has to know of it, and `dpkg-deb`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{bail, Context, Result};

use crate::process::{command, output, Child};

/// Which kind a package is of, and its relations with others.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Its name.
    pub name: String,
    /// `all` or `amd64`.
    pub architecture: &'static str,
    /// Section of the archive.
    pub section: &'static str,
    /// Fields such as `Depends`, in their order.
    pub relations: Vec<(&'static str, String)>,
    /// One line.
    pub summary: String,
    /// The rest of the description: paragraphs.
    pub text: Vec<String>,
}

/// What is the same in all packages of a run.
#[derive(Clone, Debug)]
pub struct Source {
    /// Version.
    pub version: String,
    /// `Name <address>`.
    pub maintainer: String,
    /// When the tree was changed last: seconds, and as RFC 5322 has it.
    pub date: (String, String),
    /// The copyright file.
    pub copyright: String,
}

/// A package that is being filled.
pub struct Deb<'a> {
    source: &'a Source,
    control: Control,
    dir: tempfile::TempDir,
    conffiles: String,
}

impl<'a> Deb<'a> {
    /// A package without files.
    ///
    /// # Errors
    /// Those of making its folder.
    pub fn new(source: &'a Source, control: Control) -> Result<Self> {
        Ok(Self {
            source,
            control,
            dir: tempfile::Builder::new().prefix("ixdeb-").tempdir()?,
            conffiles: String::new(),
        })
    }

    /// Where a file of the package is while it is made.
    pub fn path(&self, at: &str) -> PathBuf {
        self.dir.path().join(at)
    }

    fn place(&self, at: &str) -> Result<PathBuf> {
        let path = self.path(at);
        let parent = path.parent().context("a file's folder")?;
        fs::create_dir_all(parent)?;
        Ok(path)
    }

    /// Adds a file with this content.
    ///
    /// # Errors
    /// Those of writing.
    pub fn text(&self, at: &str, mode: u32, text: &str) -> Result<()> {
        let path = self.place(at)?;
        fs::write(&path, text)?;
        Ok(fs::set_permissions(&path, PermissionsExt::from_mode(mode))?)
    }

    /// Adds a copy of a file.
    ///
    /// # Errors
    /// Those of copying.
    pub fn file(&self, at: &str, mode: u32, from: &Path) -> Result<()> {
        let path = self.place(at)?;
        fs::copy(from, &path).with_context(|| format!("copying {}", from.display()))?;
        Ok(fs::set_permissions(&path, PermissionsExt::from_mode(mode))?)
    }

    /// Adds a file that belongs to the administrator once it is installed.
    ///
    /// # Errors
    /// Those of writing.
    pub fn conffile(&mut self, at: &str, text: &str) -> Result<()> {
        self.conffiles += &format!("/{at}\n");
        self.text(at, 0o644, text)
    }

    /// Adds a maintainer script, such as `postinst`.
    ///
    /// # Errors
    /// Those of writing.
    pub fn script(&self, name: &str, text: &str) -> Result<()> {
        self.text(&format!("DEBIAN/{name}"), 0o755, text)
    }

    /// Compresses the files of a folder, as man pages and changelogs are.
    ///
    /// # Errors
    /// If gzip fails.
    pub fn compress(&self, dir: &str) -> Result<()> {
        let mut cmd = command("gzip");
        cmd.arg("-9nr").arg(self.path(dir));
        run(cmd)
    }

    /// Makes the package in `to` and gives its path.
    ///
    /// # Errors
    /// If dpkg-deb or another program fails.
    pub fn build(self, to: &Path) -> Result<PathBuf> {
        let (c, s) = (&self.control, self.source);
        let doc = format!("usr/share/doc/{}", c.name);
        self.text(
            &format!("{doc}/changelog"),
            0o644,
            &format!(
                "{} ({}) unstable; urgency=medium\n\n  * Made by `cargo lab package` from the project's tree.\n\n -- {}  {}\n",
                c.name, s.version, s.maintainer, s.date.1
            ),
        )?;
        self.compress(&format!("{doc}/changelog"))?;
        self.text(&format!("{doc}/copyright"), 0o644, &s.copyright)?;
        if !self.conffiles.is_empty() {
            self.text("DEBIAN/conffiles", 0o644, &self.conffiles)?;
        }
        // Folders as any other program makes them, whatever the umask.
        let mut cmd = command("find");
        cmd.arg(self.dir.path())
            .args(["-type", "d", "-exec", "chmod", "755", "{}", "+"]);
        run(cmd)?;
        let sums = std::process::Command::new("sh");
        let mut cmd = sums;
        cmd.args([
            "-ec",
            "find . -path ./DEBIAN -prune -o -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 -r md5sum",
        ])
        .current_dir(self.dir.path());
        let sums = output(cmd)?;
        self.text("DEBIAN/md5sums", 0o644, &sums)?;
        let size = size_kib(self.dir.path())?;
        self.text("DEBIAN/control", 0o644, &control(c, s, size))?;
        let path = to.join(format!("{}_{}_{}.deb", c.name, s.version, c.architecture));
        let mut cmd = command("dpkg-deb");
        cmd.args(["--root-owner-group", "-Zxz", "--build"])
            .arg(self.dir.path())
            .arg(&path)
            .env("SOURCE_DATE_EPOCH", &s.date.0)
            .stdout(Stdio::null());
        run(cmd)?;
        Ok(path)
    }
}

fn run(cmd: std::process::Command) -> Result<()> {
    let what = format!("{cmd:?}");
    let status = Child::spawn(cmd)?.wait()?;
    if !status.success() {
        bail!("{what}: {status}");
    }
    Ok(())
}

/// What the files take when they are installed, as dpkg-gencontrol counts.
fn size_kib(dir: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == "DEBIAN" {
            continue;
        }
        let meta = entry.metadata()?;
        total += if meta.is_dir() {
            1 + size_kib(&entry.path())?
        } else {
            meta.len().div_ceil(1024)
        };
    }
    Ok(total)
}

fn control(c: &Control, s: &Source, size: u64) -> String {
    let mut text = format!(
        "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: {}\nInstalled-Size: {size}\n",
        c.name, s.version, c.architecture, s.maintainer
    );
    for (field, value) in &c.relations {
        if !value.is_empty() {
            text += &format!("{field}: {value}\n");
        }
    }
    text += &format!(
        "Section: {}\nPriority: optional\nDescription: {}\n",
        c.section, c.summary
    );
    for (i, paragraph) in c.text.iter().enumerate() {
        if i > 0 {
            text += " .\n";
        }
        for line in wrap(paragraph, 76) {
            text += &format!(" {line}\n");
        }
    }
    text
}

/// Cuts a text into lines of at most so many characters.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            version: "1+2".into(),
            maintainer: "A <a@example.org>".into(),
            date: ("0".into(), "Thu, 01 Jan 1970 00:00:00 +0000".into()),
            copyright: "GPL-2\n".into(),
        }
    }

    #[test]
    fn a_control_file_has_its_fields_in_order() {
        let c = Control {
            name: "p".into(),
            architecture: "all",
            section: "kernel",
            relations: vec![("Depends", "a, b".into()), ("Suggests", String::new())],
            summary: "what it is".into(),
            text: vec!["one two".into(), "three".into()],
        };
        assert_eq!(
            control(&c, &source(), 7),
            "Package: p\nVersion: 1+2\nArchitecture: all\nMaintainer: A <a@example.org>\nInstalled-Size: 7\nDepends: a, b\n\
             Section: kernel\nPriority: optional\nDescription: what it is\n one two\n .\n three\n"
        );
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
    }

    #[test]
    fn dpkg_takes_a_package() -> Result<()> {
        let to = tempfile::tempdir()?;
        let source = source();
        let control = Control {
            name: "p".into(),
            architecture: "all",
            section: "kernel",
            summary: "s".into(),
            text: vec!["t".into()],
            ..Control::default()
        };
        let mut deb = Deb::new(&source, control)?;
        deb.conffile("etc/p.conf", "x\n")?;
        deb.text("usr/bin/p", 0o755, "#!/bin/sh\n")?;
        deb.script("postinst", "#!/bin/sh\n")?;
        let path = deb.build(to.path())?;
        assert!(path.ends_with("p_1+2_all.deb"));
        let ask = |option: &str| {
            let mut cmd = std::process::Command::new("dpkg-deb");
            cmd.arg(option).arg(&path);
            output(cmd)
        };
        let list = ask("-c")?;
        assert!(list.contains("-rwxr-xr-x root/root"), "{list}");
        assert!(list.contains("./usr/share/doc/p/changelog.gz"), "{list}");
        assert!(ask("-f")?.contains("Version: 1+2"));
        Ok(())
    }
}
