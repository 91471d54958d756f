// SPDX-License-Identifier: GPL-2.0
//! What the tool needs of the machine: files, links, folders and commands. Tests have another
//! machine behind the same trait.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{bail, Context, Result};

/// A machine.
pub trait Host {
    /// Contents of a file. sysfs ends its files with a line feed; it is taken off.
    ///
    /// # Errors
    /// Those of reading.
    fn read(&self, path: &str) -> io::Result<String>;
    /// Writes to a file that exists, at once, as sysfs wants it.
    ///
    /// # Errors
    /// Those of writing, which are the kernel's answer.
    fn write(&self, path: &str, data: &str) -> io::Result<()>;
    /// Last part of what a symbolic link points to.
    ///
    /// # Errors
    /// If it is none.
    fn link(&self, path: &str) -> io::Result<String>;
    /// Whole target of a symbolic link, as it is written there.
    ///
    /// # Errors
    /// If it is none.
    fn target(&self, path: &str) -> io::Result<String>;
    /// Names in a folder, sorted.
    ///
    /// # Errors
    /// Those of reading it.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Makes or replaces a file, and the folder it is in.
    ///
    /// # Errors
    /// Those of writing.
    fn store(&self, path: &str, data: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Those of removing.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Runs a command and returns what it prints.
    ///
    /// # Errors
    /// If it cannot be run or says no; the error has what it said.
    fn run(&self, argv: &[&str]) -> Result<String>;
    /// Waits.
    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }
}

/// This machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

impl Host for Machine {
    fn read(&self, path: &str) -> io::Result<String> {
        // /proc/PID/cmdline is not bound to be UTF-8.
        let data = fs::read(path)?;
        let mut text = String::from_utf8_lossy(&data).into_owned();
        if text.ends_with('\n') {
            text.pop();
        }
        Ok(text)
    }

    fn write(&self, path: &str, data: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(data.as_bytes())
    }

    fn link(&self, path: &str) -> io::Result<String> {
        let target = fs::read_link(path)?;
        let name = target.file_name().unwrap_or_default();
        Ok(name.to_string_lossy().into_owned())
    }

    fn target(&self, path: &str) -> io::Result<String> {
        Ok(fs::read_link(path)?.to_string_lossy().into_owned())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn store(&self, path: &str, data: &str) -> io::Result<()> {
        if let Some(dir) = Path::new(path).parent() {
            fs::create_dir_all(dir)?;
        }
        // A reader never sees half of it, nor does a crash leave half of it behind.
        let part = format!("{path}.part");
        fs::write(&part, data)?;
        fs::rename(part, path)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn run(&self, argv: &[&str]) -> Result<String> {
        let (program, args) = argv.split_first().context("an empty command")?;
        let out = Command::new(program)
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{program} cannot be run, is it installed?"))?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            let said = said.trim();
            let why = if said.is_empty() {
                out.status.to_string()
            } else {
                said.replace('\n', "; ")
            };
            bail!("{}: {why}", argv.join(" "));
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}
