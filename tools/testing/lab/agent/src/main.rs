// SPDX-License-Identifier: GPL-2.0
//! The first process of every virtual machine of the lab.
//!
//! As process 1 it sets the machine up (`init`) and reaps orphans; a child of it (`serve`) runs what the lab asks for. Linked
//! statically, so that one file serves the emulated hosts and the inner VMs, which have no C library.

#![forbid(unsafe_code)]

mod init;
mod serve;
mod traffic;

fn main() {
    let nth = |n| std::env::args().nth(n).unwrap_or_default();
    let argument = || nth(2);
    let result = match std::env::args().nth(1).as_deref() {
        Some("serve") => serve::serve(),
        Some("processes") => serve::list_processes(),
        Some("udp-echo") => traffic::udp_echo(&argument()),
        Some("tcp-stream") => traffic::tcp_stream(&argument()),
        Some("tcp-streams") => traffic::tcp_streams(&argument(), &nth(3)),
        Some("tcp-sinks") => traffic::tcp_sinks(&argument(), &nth(3), &nth(4)),
        _ if std::process::id() == 1 => init::init(),
        _ => Err(anyhow::anyhow!(
            "this is the lab's agent: it runs as process 1 of a virtual machine"
        )),
    };
    if let Err(e) = result {
        eprintln!("lab-agent: {e:#}");
        if std::process::id() == 1 {
            // The console may still be draining, and the lab reads the reason there.
            std::thread::sleep(std::time::Duration::from_millis(500));
            let _ = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF);
        }
        std::process::exit(1);
    }
}
