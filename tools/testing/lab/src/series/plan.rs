// SPDX-License-Identifier: GPL-2.0
//! What of the tree goes into which patch, and where: `tools/series/series.toml`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{bail, Context, Result};
use serde::Deserialize;

use crate::package::deb::wrap;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    kernel: Vec<String>,
    leave: Vec<String>,
    replace: Vec<(String, String)>,
    #[serde(rename = "move")]
    moves: BTreeMap<String, String>,
    pub(super) makefile: Makefile,
    pub(super) patch: Vec<Patch>,
    /// Which of `replace` occurred.
    #[serde(skip)]
    replaced: RefCell<Vec<bool>>,
}

/// How the project's Kbuild becomes a Makefile of the kernel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Makefile {
    pub(super) to: String,
    until: String,
    replace: Vec<(String, String)>,
}

/// One patch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patch {
    pub(super) subject: String,
    body: String,
    /// Beginnings of paths; with a `!` those that it leaves to others.
    files: Vec<String>,
    #[serde(default)]
    pub(super) makefile: bool,
    /// Texts of files of earlier patches, as `[FILE, TEXT]` with the file's place in the kernel: they
    /// are left out of the file until this patch.
    #[serde(default)]
    brings: Vec<(String, String)>,
    #[serde(default)]
    pub(super) edits: Vec<Edit>,
}

/// A change of a file of the kernel, or of one that an earlier patch made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    file: String,
    text: String,
    /// Behind this text, which must be there once.
    after: Option<String>,
    /// In front of it.
    before: Option<String>,
    /// In front of the last line that begins so.
    append_before_last: Option<String>,
    /// At the end of the file, which may be a new one.
    #[serde(default)]
    append: bool,
}

fn fits(file: &str, beginnings: &[String]) -> bool {
    let not = |b: &String| b.strip_prefix('!').is_some_and(|b| file.starts_with(b));
    beginnings.iter().any(|b| file.starts_with(b.as_str())) && !beginnings.iter().any(not)
}

impl Plan {
    pub(super) fn read(tree: &Path) -> Result<Self> {
        let path = tree.join("tools/series/series.toml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))
    }

    /// The files of each patch. Each file that belongs to the kernel is in one patch, or left out by
    /// name, and each beginning of a path fits a file.
    pub(super) fn assign<'a>(&self, files: &[&'a str]) -> Result<Vec<Vec<&'a str>>> {
        let mut patches = vec![Vec::new(); self.patch.len()];
        for file in files {
            if !fits(file, &self.kernel) || fits(file, &self.leave) {
                continue;
            }
            let mine: Vec<usize> = (0..self.patch.len())
                .filter(|i| self.patch.get(*i).is_some_and(|p| fits(file, &p.files)))
                .collect();
            match mine.as_slice() {
                [i] => patches.get_mut(*i).into_iter().for_each(|p| p.push(*file)),
                [] => bail!("{file} is in no patch of series.toml, and not left out either"),
                _ => bail!("{file} is in several patches of series.toml"),
            }
        }
        let named = self.patch.iter().flat_map(|p| &p.files);
        for beginning in named.chain(&self.leave).chain(self.moves.keys()) {
            let beginning = beginning.trim_start_matches('!');
            if !files.iter().any(|f| f.starts_with(beginning)) {
                bail!("series.toml names {beginning}, which is not there");
            }
        }
        Ok(patches)
    }

    /// Where a file of the tree is in the kernel.
    pub(super) fn place(&self, file: &str) -> String {
        let fitting = self
            .moves
            .iter()
            .filter(|(from, _)| file.starts_with(*from));
        match fitting.max_by_key(|(from, _)| from.len()) {
            Some((from, to)) => format!("{to}{}", file.get(from.len()..).unwrap_or_default()),
            None => file.to_owned(),
        }
    }

    /// A page's text without links to pages that are left out.
    fn unlink(&self, file: &str, text: &str) -> String {
        let mut text = text.to_owned();
        let pages = self.leave.iter().filter_map(|l| l.strip_suffix(".rst"));
        for page in pages {
            let Some((dir, name)) = page.rsplit_once('/') else {
                continue;
            };
            let plain = format!("``{name}`` in the project's tree");
            let absolute = page.trim_start_matches("Documentation");
            text = text.replace(&format!(":doc:`{absolute}`"), &plain);
            if file.rsplit_once('/').is_some_and(|(d, _)| d == dir) {
                text = text.replace(&format!(":doc:`{name}`"), &plain);
            }
        }
        text
    }

    /// A file's text with the names that it has in the kernel.
    pub(super) fn translate(&self, file: &str, text: &str) -> String {
        let text = &self.unlink(file, text);
        let mut replaced = self.replaced.borrow_mut();
        replaced.resize(self.replace.len(), false);
        let mut text = text.to_owned();
        for ((old, new), seen) in self.replace.iter().zip(replaced.iter_mut()) {
            *seen |= text.contains(old.as_str());
            text = text.replace(old.as_str(), new);
        }
        text
    }

    pub(super) fn all_replaced(&self) -> Result<()> {
        for ((old, _), seen) in self.replace.iter().zip(self.replaced.borrow().iter()) {
            if !seen {
                bail!("series.toml replaces {old:?}, which no file has");
            }
        }
        Ok(())
    }

    /// A file's text as it is after patch number `patch`: without what later ones bring.
    pub(super) fn until(&self, file: &str, text: &str, patch: usize) -> Result<String> {
        let mut now = text.to_owned();
        for (number, later) in self.patch.iter().enumerate() {
            for (_, part) in later.brings.iter().filter(|(of, _)| of == file) {
                if text.matches(part.as_str()).count() != 1 {
                    bail!(
                        "{file} does not have {part:?} once, which {:?} brings",
                        later.subject
                    );
                }
                if number > patch {
                    now = now.replace(part.as_str(), "");
                }
            }
        }
        Ok(now)
    }

    /// Files that patch number `patch` brings something to.
    pub(super) fn brought(&self, patch: usize) -> BTreeSet<&str> {
        let brings = self.patch.get(patch).map_or(&[][..], |p| &p.brings);
        brings.iter().map(|(file, _)| file.as_str()).collect()
    }

    /// The kernel's Makefile, from the project's Kbuild.
    pub(super) fn makefile(&self, kbuild: &str) -> Result<String> {
        let m = &self.makefile;
        let end = kbuild
            .find(&m.until)
            .with_context(|| format!("Kbuild has no {:?}", m.until))?;
        let mut text = kbuild.get(..end).unwrap_or_default().trim_end().to_owned() + "\n";
        for (old, new) in &m.replace {
            if !text.contains(old.as_str()) {
                bail!("Kbuild has no {old:?}, which series.toml replaces");
            }
            text = text.replace(old.as_str(), new);
        }
        Ok(text)
    }
}

/// Writes a file that the kernel must not have.
pub(super) fn create(repo: &Path, file: &str, text: &str) -> Result<()> {
    let path = repo.join(file);
    if path.exists() {
        bail!("the kernel has a file {file} already");
    }
    fs::create_dir_all(path.parent().context("a file's folder")?)?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

impl Patch {
    /// Its body in lines as mail has them.
    pub(super) fn message(&self) -> String {
        let paragraphs = self.body.trim().split("\n\n");
        let wrapped = paragraphs.map(|p| wrap(p, 72).join("\n"));
        wrapped.collect::<Vec<_>>().join("\n\n")
    }
}

impl Edit {
    pub(super) fn apply(&self, repo: &Path, submitter: &str) -> Result<()> {
        let path = repo.join(&self.file);
        let old = match fs::read_to_string(&path) {
            Ok(old) => old,
            Err(_) if self.append => String::new(),
            Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
        };
        let text = self.text.replace("@SUBMITTER@", submitter);
        let new = self.insert(&old, &text)?;
        fs::create_dir_all(path.parent().context("a file's folder")?)?;
        Ok(fs::write(&path, new)?)
    }

    fn insert(&self, old: &str, text: &str) -> Result<String> {
        let once = |mark: &str| -> Result<usize> {
            let mut found = old.match_indices(mark);
            match (found.next(), found.next()) {
                (Some((at, _)), None) => Ok(at),
                (None, _) => bail!("{} has no {mark:?}", self.file),
                _ => bail!("{} has {mark:?} more than once", self.file),
            }
        };
        let at = match (&self.after, &self.before, &self.append_before_last) {
            (Some(mark), None, None) => once(mark)? + mark.len(),
            (None, Some(mark), None) => once(mark)?,
            (None, None, Some(mark)) => old
                .rfind(&format!("\n{mark}"))
                .with_context(|| format!("{} has no {mark:?}", self.file))?
                .saturating_add(1),
            (None, None, None) if self.append => old.len(),
            _ => bail!("an edit of {} says no place, or several", self.file),
        };
        let (before, after) = old.split_at_checked(at).context("a place in the file")?;
        Ok([before, text, after].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r##"
        kernel = ["drivers/", "rust/"]
        leave = ["drivers/Cargo.toml", "Documentation/x/y.rst"]
        replace = [["a.h", "b.h"]]
        [move]
        "rust/" = "rust/nic/"
        "drivers/x/" = "drivers/y/"
        [makefile]
        to = "drivers/y/Makefile"
        until = "# end"
        replace = [["obj-m", "obj-y"]]
        [[patch]]
        subject = "one"
        body = "b"
        files = ["rust/", "!rust/net"]
        [[patch]]
        subject = "two"
        body = "b"
        files = ["rust/net", "drivers/x/"]
    "##;

    const FILES: &[&str] = &[
        "Documentation/x/y.rst",
        "README.md",
        "drivers/Cargo.toml",
        "drivers/x/a.rs",
        "rust/net.rs",
        "rust/pci.rs",
    ];

    #[test]
    fn each_file_is_in_one_patch() -> Result<()> {
        let plan: Plan = toml::from_str(TEXT)?;
        assert_eq!(
            plan.assign(FILES)?,
            [vec!["rust/pci.rs"], vec!["drivers/x/a.rs", "rust/net.rs"]]
        );
        let more = [FILES, &["drivers/z.rs"]].concat();
        assert!(plan.assign(&more).is_err());
        // A file that is gone is told, too.
        assert!(plan.assign(&FILES[..4]).is_err());
        assert_eq!(plan.place("drivers/x/a.rs"), "drivers/y/a.rs");
        assert_eq!(plan.place("include/a.h"), "include/a.h");
        let text = ":doc:`/x/y` :doc:`y`";
        let plain = "``y`` in the project's tree";
        assert_eq!(
            plan.unlink("Documentation/x/z.rst", text),
            format!("{plain} {plain}")
        );
        assert_eq!(
            plan.unlink("Documentation/z.rst", text),
            format!("{plain} :doc:`y`")
        );
        Ok(())
    }

    #[test]
    fn what_is_replaced_must_be_there() -> Result<()> {
        let plan: Plan = toml::from_str(TEXT)?;
        assert_eq!(plan.translate("f", "c"), "c");
        assert!(plan.all_replaced().is_err());
        assert_eq!(plan.translate("f", "a.h"), "b.h");
        plan.all_replaced()?;
        assert_eq!(plan.makefile("obj-m += x\n# end\nrest\n")?, "obj-y += x\n");
        assert!(plan.makefile("x\n# end\n").is_err());
        Ok(())
    }

    #[test]
    fn a_file_grows_with_the_patches() -> Result<()> {
        let brings = "brings = [['rust/nic/nic.rs', \"mod net;\\n\"]]\nfiles = ['rust/net'";
        let plan: Plan = toml::from_str(&TEXT.replace("files = [\"rust/net\"", brings))?;
        let text = "mod net;\nmod pci;\n";
        assert_eq!(plan.until("rust/nic/nic.rs", text, 0)?, "mod pci;\n");
        assert_eq!(plan.until("rust/nic/nic.rs", text, 1)?, text);
        assert_eq!(plan.until("rust/nic/pci.rs", text, 0)?, text);
        assert!(plan.until("rust/nic/nic.rs", "mod pci;\n", 1).is_err());
        assert!(plan.brought(0).is_empty());
        assert_eq!(plan.brought(1), BTreeSet::from(["rust/nic/nic.rs"]));
        Ok(())
    }

    #[test]
    fn a_line_is_put_where_it_belongs() -> Result<()> {
        let edit = |text: &str| -> Result<Edit> { Ok(toml::from_str(text)?) };
        let after = edit(
            "file = 'f'\ntext = 'n\n'\nafter = 'a\n'"
                .replace("'n\n'", "\"n\\n\"")
                .replace("'a\n'", "\"a\\n\"")
                .as_str(),
        )?;
        assert_eq!(after.insert("a\nb\n", "n\n")?, "a\nn\nb\n");
        assert!(after.insert("b\n", "n\n").is_err());
        assert!(after.insert("a\na\n", "n\n").is_err());
        let last = edit("file = 'f'\ntext = 'n'\nappend_before_last = 'end'")?;
        assert_eq!(
            last.insert("x\nend\ny\nendif\n", "n\n")?,
            "x\nend\ny\nn\nendif\n"
        );
        Ok(())
    }

    #[test]
    fn the_plan_fits_the_tree() -> Result<()> {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let plan = Plan::read(&tree)?;
        let mut cmd = std::process::Command::new("git");
        cmd.arg("-C").arg(&tree).args(["ls-files", "-z"]);
        let files = crate::process::output(cmd)?;
        let files: Vec<&str> = files.split('\0').filter(|f| !f.is_empty()).collect();
        let patches = plan.assign(&files)?;
        for (patch, files) in plan.patch.iter().zip(&patches) {
            assert!(patch.subject.len() <= 75, "{}", patch.subject);
            assert!(patch.message().lines().all(|l| l.len() <= 75));
            assert!(!files.is_empty() || !patch.edits.is_empty());
        }
        let makefile = plan.makefile(&fs::read_to_string(tree.join("Kbuild"))?)?;
        for place in (0..plan.patch.len()).flat_map(|n| plan.brought(n)) {
            let text = match files.iter().find(|f| plan.place(f) == place) {
                Some(file) => plan.translate(file, &fs::read_to_string(tree.join(file))?),
                None => makefile.clone(),
            };
            plan.until(place, &text, 0)?;
        }
        Ok(())
    }
}
