// SPDX-License-Identifier: GPL-2.0
//! `cargo lab series`: the tree as a series of patches for the kernel, made from `tools/series/series.toml`.
//!
//! Nothing of a series is kept: it is made again from the tree, so that it stays true while the code moves.

mod bisect;
mod boot;
mod build;
mod check;
mod docs;
mod kunit;
mod plan;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use clap::Args;

use crate::cache::{Cache, Key};
use crate::kernel;
use crate::lab::find_tree;
use crate::process::{command, output, run_logged};
use crate::stock::run_quietly;
use boot::On;
use plan::Plan;

/// Whoever sends a series signs it off; nobody else can.
const NOBODY: &str = "Submitter To-Be-Named <submitter@example.invalid>";

/// Options of `cargo lab series`.
#[derive(Args, Debug)]
pub struct SeriesArgs {
    /// Where the patches go; `target/series` by default.
    dir: Option<PathBuf>,
    /// Who sends it, as `Name <address>`: author and Signed-off-by of each patch.
    #[arg(long, value_name = "PERSON")]
    submitter: Option<String>,
    /// Say whether it can be sent: somebody has signed it off, it applies, checkpatch has no error, the kernel
    /// configures with and without Rust, each patch builds, clippy says nothing, the kernel's documentation
    /// has no new warning, and the KUnit tests pass.
    #[arg(long)]
    check: bool,
    /// Run drivers/control on an emulated host with the modules of the series: on Debian's kernel, or on a
    /// small one that is built from the series, which takes half an hour the first time.
    #[arg(long, value_enum, value_name = "KERNEL")]
    boot: Vec<On>,
}

/// Runs it.
///
/// # Errors
/// If the series cannot be made, or a check fails.
pub fn series(args: &SeriesArgs) -> Result<()> {
    let (cache, tree) = (Cache::open()?, find_tree()?);
    let source = kernel::source(&cache, &tree)?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => tree.join("target/series"),
    };
    let submitter = args.submitter.as_deref().unwrap_or(NOBODY);
    let plan = Plan::read(&tree)?;
    let repo = Repo::base(&cache, &source)?;
    let patches = make(&plan, &tree, &repo, submitter, &dir)?;
    println!(
        "{} patches for Linux {} in {}",
        patches.len(),
        repo.version,
        dir.display()
    );
    if args.check || !args.boot.is_empty() {
        check::check(&cache, &tree, &repo, &patches, (args.check, &args.boot))?;
    }
    Ok(())
}

/// The kernel's source as a git repository, on whose branch `base` nothing of ours is.
struct Repo {
    dir: PathBuf,
    version: String,
}

/// Folders of it that are left out, since they are large and no series touches them.
const LARGE: &[&str] = &[
    ".git",
    "arch/*/boot/dts",
    "drivers/gpu/drm/amd/include",
    "tools/perf/pmu-events",
];

/// The branch of the kernel alone.
const BASE: &str = "base";

impl Repo {
    /// Makes it, once for each source.
    fn base(cache: &Cache, source: &Path) -> Result<Self> {
        let makefile = fs::read_to_string(source.join("Makefile"))?;
        let head: Vec<&str> = makefile.lines().take(6).collect();
        let changelog = fs::read_to_string(source.join("debian/changelog")).unwrap_or_default();
        let key = Key::new("series-base", 1)
            .text("source", &source.display().to_string())
            .text("version", &head.join("\n"))
            .text("package", changelog.lines().next().unwrap_or_default())
            .finish();
        let repo = Self {
            dir: cache.path("build/series"),
            version: crate::stock::point_release(source)?,
        };
        cache.ensure("series-base", &key, || {
            let _ = fs::remove_dir_all(&repo.dir);
            fs::create_dir_all(&repo.dir)?;
            let script = "cd \"$2\"; from=$1; shift 2; tar -C \"$from\" \"$@\" -cf - . | tar -xf -
                git init -q -b base .; git config gc.auto 0; git config core.looseCompression 1
                git add -f -A .; git -c user.name=base -c user.email=base@example.invalid commit -q -m base";
            let mut cmd = command("sh");
            cmd.args(["-ec", script, "sh"]).arg(source).arg(&repo.dir);
            cmd.args(LARGE.iter().map(|d| format!("--exclude=./{d}")));
            run_logged(
                "making a git repository of the kernel's source (about 2 minutes)",
                &cache.path("logs/series-base.log"),
                cmd,
            )
        })?;
        Ok(repo)
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        let mut cmd = std::process::Command::new("git");
        cmd.arg("-C").arg(&self.dir).args(args);
        output(cmd).map(|o| o.trim().to_owned())
    }

    /// Goes to the kernel alone, on a new branch.
    fn start(&self, branch: &str) -> Result<()> {
        self.git(&["reset", "-q", "--hard"])?;
        self.git(&["checkout", "-q", "-f", BASE])?;
        self.git(&["clean", "-q", "-d", "-f", "-x"])?;
        self.git(&["checkout", "-q", "-B", branch])?;
        Ok(())
    }
}

/// Makes the patches in `dir` and gives their paths in order.
fn make(
    plan: &Plan,
    tree: &Path,
    repo: &Repo,
    submitter: &str,
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    let mut cmd = std::process::Command::new("git");
    cmd.arg("-C").arg(tree).args(["ls-files", "-z"]);
    let files = output(cmd)?;
    let files: Vec<&str> = files.split('\0').filter(|f| !f.is_empty()).collect();
    let patches = plan.assign(&files)?;
    repo.start("series")?;
    let (name, address) = submitter
        .strip_suffix('>')
        .and_then(|s| s.split_once(" <"))
        .with_context(|| format!("{submitter:?} is not as `Name <address>`"))?;
    // Files that later patches bring something to, in full.
    let mut growing = BTreeMap::<String, String>::new();
    for (number, (patch, files)) in plan.patch.iter().zip(patches).enumerate() {
        for file in plan.brought(number) {
            let text = growing.get(file).with_context(|| {
                format!(
                    "{:?} brings something to {file}, which is in no patch before it",
                    patch.subject
                )
            })?;
            fs::write(repo.dir.join(file), plan.until(file, text, number)?)?;
        }
        for file in files {
            let text = fs::read(tree.join(file)).with_context(|| format!("reading {file}"))?;
            let text = match String::from_utf8(text) {
                Ok(text) => plan.translate(file, &text),
                Err(_) => bail!("{file} is no text"),
            };
            let place = plan.place(file);
            plan::create(&repo.dir, &place, &plan.until(&place, &text, number)?)?;
            growing.insert(place, text);
            let mode = fs::metadata(tree.join(file))?.permissions();
            fs::set_permissions(repo.dir.join(plan.place(file)), mode)?;
        }
        if patch.makefile {
            let text = plan.makefile(&fs::read_to_string(tree.join("Kbuild"))?)?;
            let to = &plan.makefile.to;
            plan::create(&repo.dir, to, &plan.until(to, &text, number)?)?;
            growing.insert(to.clone(), text);
        }
        for edit in &patch.edits {
            edit.apply(&repo.dir, submitter)
                .with_context(|| format!("in {:?}", patch.subject))?;
        }
        repo.git(&["add", "-f", "-A", "."])?;
        let message = format!(
            "{}\n\n{}\n\nSigned-off-by: {submitter}\n",
            patch.subject,
            patch.message()
        );
        repo.git(&[
            "-c",
            &format!("user.name={name}"),
            "-c",
            &format!("user.email={address}"),
            "commit",
            "-q",
            "-m",
            &message,
        ])
        .with_context(|| format!("committing {:?}", patch.subject))?;
    }
    plan.all_replaced()?;
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir)?;
    let dir = dir.canonicalize()?;
    let mut cmd = command("git");
    cmd.arg("-C")
        .arg(&repo.dir)
        .args(["format-patch", "-q", "--base", BASE, "-o"])
        .arg(&dir)
        .arg(format!("{BASE}..series"));
    run_quietly(cmd)?;
    let mut patches: Vec<PathBuf> = fs::read_dir(&dir)?.flatten().map(|e| e.path()).collect();
    patches.sort();
    Ok(patches)
}
