// SPDX-License-Identifier: GPL-2.0
//! Sets a virtual machine up as process 1.
//!
//! The kernel's command line says what to do: `lab.root=` names the block device of the root file system (absent in an inner
//! VM, which stays in its initramfs), `lab.share=TAG` mounts a 9p export at `/lab/TAG` (`TAG:rw` writable), `lab.name=` is the
//! host name, `lab.modules=a,b` are loaded.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use nix::kmod::{finit_module, ModuleInitFlags};
use nix::mount::{mount, MsFlags};
use nix::sys::reboot::{reboot, RebootMode};
use nix::sys::wait::{wait, WaitStatus};
use nix::unistd::{chdir, chroot, sethostname};

const NONE: Option<&str> = None;

fn mnt(source: &str, target: &str, fstype: &str, flags: MsFlags, data: &str) -> Result<()> {
    fs::create_dir_all(target).with_context(|| format!("creating {target}"))?;
    mount(Some(source), target, Some(fstype), flags, Some(data))
        .with_context(|| format!("mounting {fstype} on {target}"))
}

/// Waits until a device node appears: virtio devices are probed while the first process already runs.
fn wait_for(path: &str) -> Result<()> {
    let start = Instant::now();
    while !Path::new(path).exists() {
        if start.elapsed() > Duration::from_secs(20) {
            bail!("{path} did not appear");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Loads what the initramfs has beside this program: modules that are needed to find the root.
fn early_modules() -> Result<()> {
    for name in fs::read_to_string("/modules/order")
        .unwrap_or_default()
        .lines()
    {
        let path = format!("/modules/{name}");
        let file = fs::File::open(&path).with_context(|| format!("opening {path}"))?;
        finit_module(&file, c"", ModuleInitFlags::empty())
            .with_context(|| format!("loading {path}"))?;
    }
    Ok(())
}

/// Enters the root file system on `dev`: read-only below, a tmpfs above, so that the image is shared by all machines and a
/// machine may still write anywhere.
fn enter_root(dev: &str) -> Result<()> {
    wait_for(dev)?;
    mnt(dev, "/ro", "squashfs", MsFlags::MS_RDONLY, "")?;
    mnt("tmpfs", "/rw", "tmpfs", MsFlags::empty(), "")?;
    fs::create_dir_all("/rw/upper")?;
    fs::create_dir_all("/rw/work")?;
    mnt(
        "overlay",
        "/newroot",
        "overlay",
        MsFlags::empty(),
        "lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work",
    )?;
    fs::copy("/init", "/newroot/lab-agent").context("copying the agent")?;
    chdir("/newroot")?;
    mount(Some("."), "/", NONE, MsFlags::MS_MOVE, NONE).context("moving the root")?;
    chroot(".")?;
    chdir("/")?;
    Ok(())
}

/// Gives each virtio-serial port its name under `/dev/virtio-ports`, which is udev's work elsewhere.
fn name_ports() -> Result<()> {
    fs::create_dir_all("/dev/virtio-ports")?;
    let Ok(dir) = fs::read_dir("/sys/class/virtio-ports") else {
        return Ok(());
    };
    for e in dir.flatten() {
        let name = fs::read_to_string(e.path().join("name")).unwrap_or_default();
        let name = name.trim();
        if !name.is_empty() {
            let to = format!("/dev/virtio-ports/{name}");
            let _ = fs::remove_file(&to);
            symlink(Path::new("/dev").join(e.file_name()), to)?;
        }
    }
    Ok(())
}

fn run(argv: &[&str]) {
    let [program, args @ ..] = argv else { return };
    match Command::new(program).args(args).status() {
        Ok(s) if s.success() => {}
        other => eprintln!("lab-agent: {argv:?}: {other:?}"),
    }
}

/// Sets the machine up, starts the server, and reaps until it ends; then powers off.
pub(crate) fn init() -> Result<()> {
    let none = MsFlags::empty();
    std::env::set_var("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    std::env::set_var("HOME", "/root");
    std::env::set_var("LANG", "C.UTF-8");
    mnt("proc", "/proc", "proc", none, "")?;
    // Already there where the kernel mounts it by itself.
    let _ = mnt("dev", "/dev", "devtmpfs", none, "");
    let cmdline = fs::read_to_string("/proc/cmdline")?;
    let values = |key: &'static str| {
        cmdline
            .split_whitespace()
            .filter_map(move |w| w.strip_prefix(key))
    };

    early_modules()?;
    let has_root = if let Some(dev) = values("lab.root=").next() {
        enter_root(dev)?;
        mnt("proc", "/proc", "proc", none, "")?;
        mnt("dev", "/dev", "devtmpfs", none, "")?;
        true
    } else {
        // An inner VM: its only programs are busybox's.
        run(&["/bin/busybox", "--install", "-s", "/bin"]);
        false
    };
    mnt("sys", "/sys", "sysfs", none, "")?;
    mnt("devpts", "/dev/pts", "devpts", none, "ptmxmode=0666")?;
    mnt("shm", "/dev/shm", "tmpfs", none, "")?;
    mnt("run", "/run", "tmpfs", none, "")?;
    mnt("tmp", "/tmp", "tmpfs", none, "")?;
    for (what, on) in [
        ("debugfs", "/sys/kernel/debug"),
        ("tracefs", "/sys/kernel/tracing"),
        ("bpf", "/sys/fs/bpf"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("hugetlbfs", "/dev/hugepages"),
    ] {
        // Each is a kernel option; a test that needs one says so itself.
        let _ = mnt(what, on, what, none, "");
    }
    for (to, at) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ] {
        let _ = symlink(to, at);
    }
    if let Some(name) = values("lab.name=").next() {
        sethostname(name)?;
        fs::create_dir_all("/etc")?;
        fs::write("/etc/hosts", format!("127.0.0.1 localhost {name}\n"))?;
    }
    for share in values("lab.share=") {
        let (tag, flags, cache) = match share.strip_suffix(":rw") {
            Some(tag) => (tag, none, "none"),
            None => (share, MsFlags::MS_RDONLY, "loose"),
        };
        let at = format!("/lab/{tag}");
        let data = format!("trans=virtio,version=9p2000.L,msize=262144,cache={cache}");
        mnt(tag, &at, "9p", flags, &data)?;
    }
    if Path::new("/lab/modules/lib/modules").is_dir() {
        fs::create_dir_all("/lib/modules")?;
        mount(
            Some("/lab/modules/lib/modules"),
            "/lib/modules",
            NONE,
            MsFlags::MS_BIND,
            NONE,
        )
        .context("binding /lib/modules")?;
    }
    run(&["ip", "link", "set", "lo", "up"]);
    for module in values("lab.modules=").flat_map(|v| v.split(',')) {
        if has_root {
            run(&["modprobe", module]);
        } else {
            run(&["insmod", &format!("/modules/{module}.ko")]);
        }
    }
    name_ports()?;

    let me = if has_root { "/lab-agent" } else { "/init" };
    let server = Command::new(me)
        .arg("serve")
        .spawn()
        .context("starting the server")?;
    let server = i32::try_from(server.id())?;
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..))
                if pid.as_raw() == server =>
            {
                break
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e).context("waiting for children"),
        }
    }
    nix::unistd::sync();
    reboot(RebootMode::RB_POWER_OFF).context("powering off")?;
    Ok(())
}
