// SPDX-License-Identifier: GPL-2.0
//! A host of the demonstration: its drivers, its VF, its place on the network.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{json, Value};

use super::bridge::bridge;
use super::logs::Logs;
use super::loss::Drops;
use super::spec::{Card, Preparation, Seat, FIRST};
use crate::guest::Guest;
use crate::kernel::Flavour;
use crate::qmp::{stamp_us, Qmp};
use crate::switch::Switch;
use crate::vm::Vm;

/// TCP port of the migration stream.
pub const PORT: u16 = 4444;

/// MTU of the link between the hosts, in bytes: what the lab's virtio card takes. Where operators use jumbo frames and offloads,
/// the lab's cards have no offloads, and each frame of the stream is paid for by itself.
const LINK_MTU: u16 = 9000;

/// Time for one step of a preparation: a second on a quiet machine, but loading KVM on the debug kernel beside other hosts took
/// over a minute.
const STEP: Duration = Duration::from_secs(180);

/// How the emulator begins what it says of a VM whose processor has triple faulted
/// (tools/testing/qemu/patches/fixes/svm-triple-fault-told.patch).
const TRIPLE_FAULT: &str = "Triple fault of a guest";

/// Each of what a QEMU says about triple faults.
fn triple_faults(said: &str) -> Vec<String> {
    let parts = said.split(TRIPLE_FAULT).skip(1);
    parts.map(|rest| format!("{TRIPLE_FAULT}{rest}")).collect()
}

/// A host that runs.
pub struct Host {
    /// 1 or 2.
    pub number: u8,
    /// The machine.
    pub vm: Vm,
    /// Its kernel.
    pub kernel: Flavour,
    /// The VFs that VMs may have.
    seats: &'static [Seat],
    /// What its cards are plugged into.
    switch: Switch,
    /// Kernel logs of hosts and VMs.
    logs: Arc<Logs>,
    started: AtomicU32,
    has_vf: AtomicBool,
    /// Triple faults of VMs that are over, see [`Self::forget_triple_faults`].
    faults_over: AtomicUsize,
}

/// One moment on the lab's clock and on a host's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    at: Instant,
    us: u64,
}

impl Clock {
    /// How long after a moment of the lab a QEMU of the host made an event, in ms, to 0.1.
    pub fn ms_after(&self, moment: Instant, event: &Value) -> f64 {
        // Differences of µs are exact in f64.
        let host = stamp_us(event) as f64 - self.us as f64;
        let lab = if moment > self.at {
            (moment - self.at).as_secs_f64()
        } else {
            -(self.at - moment).as_secs_f64()
        };
        ((host / 1000.0 - lab * 1000.0) * 10.0).round() / 10.0
    }
}

impl Host {
    /// Takes a host that has just booted.
    pub(super) fn new(
        number: u8,
        vm: Vm,
        kernel: Flavour,
        seats: &'static [Seat],
        switch: Switch,
        logs: Arc<Logs>,
    ) -> Self {
        logs.boots(&format!("h{number}"), vm.guest.clone());
        Self {
            number,
            vm,
            kernel,
            seats,
            switch,
            logs,
            started: AtomicU32::new(0),
            has_vf: AtomicBool::new(false),
            faults_over: AtomicUsize::new(0),
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("h{}", self.number)
    }

    /// Address of its virtio card, which carries the migration stream.
    pub fn address(&self) -> String {
        format!("192.0.2.{}", 10 + self.number)
    }

    /// Connects to the agent of a VM on this host, at a socket of the host. What its kernel writes belongs to the log of the VM of
    /// this name; `arrives` tells that it booted elsewhere.
    ///
    /// # Errors
    /// If the host does not answer.
    pub(super) fn vm_agent(&self, path: &str, vm: &str, arrives: bool) -> Result<Guest> {
        let agent = Guest::new(bridge(&self.vm.guest, path)?)?;
        if arrives {
            self.logs.arrives(vm, agent.clone());
        } else {
            self.logs.boots(vm, agent.clone());
        }
        Ok(agent)
    }

    /// What the emulator says of the last VM of this host whose processor has triple faulted, unless that is
    /// [over](Self::forget_triple_faults).
    pub(super) fn triple_fault(&self) -> Option<String> {
        let over = self.faults_over.load(Ordering::Relaxed);
        self.triple_faults().into_iter().skip(over).last()
    }

    /// Says that all triple faults so far are over: what they ended is repeated, or was judged.
    pub(super) fn forget_triple_faults(&self) {
        let all = self.triple_faults().len();
        self.faults_over.store(all, Ordering::Relaxed);
    }

    fn triple_faults(&self) -> Vec<String> {
        let text = fs::read(&self.vm.messages).unwrap_or_default();
        triple_faults(&String::from_utf8_lossy(&text))
    }

    /// A number that no QEMU of this host has had.
    pub fn next_id(&self) -> u32 {
        self.started.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn sh(&self, what: &str, script: &str) -> Result<String> {
        let out = self.vm.guest.sh(&format!("set -e; {script}"), STEP)?;
        out.ok().with_context(|| format!("{}: {what}", self.name()))
    }

    /// Loads KVM and joins the network.
    ///
    /// # Errors
    /// If a step fails; the message says which.
    pub fn join(&self) -> Result<()> {
        self.sh(
            "loading KVM",
            "modprobe kvm-amd || modprobe kvm-intel; test -e /dev/kvm",
        )?;
        self.sh(
            "joining the network",
            // The PF is on the same wire: without arp_ignore it would answer for the bridge's address.
            &format!(
                "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
                 for n in /sys/class/net/*; do case $(readlink $n/device/driver) in */virtio_net) peer=${{n##*/}};; esac; done
                 ip link add br0 type bridge forward_delay 0; ip link set $peer mtu {LINK_MTU} master br0 up
                 ip addr add {}/24 dev br0; ip link set br0 mtu {LINK_MTU} up",
                self.address()
            ),
        )?;
        Ok(())
    }

    /// Makes the VFs, the first time, and gives them to the driver that the VM's card needs.
    ///
    /// # Errors
    /// If a step fails; the message says which.
    pub fn prepare(&self, p: &Preparation<'_>) -> Result<()> {
        let driver = match p.card {
            Card::Virtio => return Ok(()),
            Card::Vf | Card::Closed => "ixgbe_vfio_pci",
            // What people do today knows nothing of a variant driver.
            Card::Failover | Card::Replug => "vfio-pci",
        };
        if !self.has_vf.swap(true, Ordering::Relaxed) {
            let follow = p
                .follow_cpu
                .map_or(String::new(), |n| format!("follow_cpu={n}"));
            self.sh(
                "loading the drivers",
                &format!(
                    "modprobe vfio-pci; insmod /lab/rust/ixgbe_rust.ko; insmod /lab/rust/ixgbe-vfio-pci.ko {follow}"
                ),
            )?;
            self.make_vfs()?;
        }
        for seat in self.seats {
            let (vf, dir) = (seat.address(), seat.dir());
            self.set_up(*seat, p)?;
            self.sh(
                "giving the VF to VFIO",
                &format!(
                    "echo {driver} >{dir}/driver_override; echo {vf} >/sys/bus/pci/drivers_probe; test -e {dir}/driver"
                ),
            )?;
        }
        Ok(())
    }

    /// Makes migratable VFs, and leaves them without a driver: libvirt gives them theirs. The modules are installed as the
    /// operator's guide says, for libvirt to find the variant driver.
    ///
    /// # Errors
    /// If a step fails; the message says which.
    pub fn prepare_for_libvirt(&self, p: &Preparation<'_>) -> Result<()> {
        // What modules_install would do: the kernel's own modules are shared by all hosts.
        self.sh(
            "installing the modules",
            "cp -r /lib/modules /run/modules; mount --bind /run/modules /lib/modules
             to=/lib/modules/$(uname -r)/updates; mkdir -p $to; cd /lab/rust
             cp ixgbe_rust.ko ixgbevf_rust.ko ixgbe-vfio-pci.ko $to; depmod; modprobe ixgbe_rust; test -e /sys/bus/pci/drivers/ixgbe_rust",
        )?;
        self.make_vfs()?;
        self.seats.iter().try_for_each(|s| self.set_up(*s, p))
    }

    /// Takes a VF from its driver, and tells the PF's how it may be moved.
    fn set_up(&self, seat: Seat, p: &Preparation<'_>) -> Result<()> {
        let (pf, vf, dir, number) = (seat.pf(), seat.address(), seat.dir(), seat.vf);
        let way = p.restore.unwrap_or("auto");
        self.sh(
            "setting the way of restore",
            &format!("devlink dev param set pci/{pf} name head_restore value {way} cmode runtime"),
        )?;
        let migratable = if p.migratable { "enable" } else { "disable" };
        self.sh(
            "setting whether the VF may be moved",
            &format!(
                "vf={dir}; [ ! -e $vf/driver ] || echo {vf} >$vf/driver/unbind
                 port=$(devlink -j port show | jq -r '.port | to_entries[] | select((.key | startswith(\"pci/{pf}/\")) and \
                 .value.flavour == \"pcivf\" and .value.vfnum == {number}) | .key')
                 devlink port function set $port migratable {migratable}"
            ),
        )?;
        Ok(())
    }

    fn make_vfs(&self) -> Result<()> {
        let mut cards: Vec<u8> = self.seats.iter().map(|s| s.card).collect();
        cards.dedup();
        for card in cards {
            let pf = Seat { card, vf: 0 }.pf();
            self.sh(
                "waiting for the link",
                &format!(
                    "pf=/sys/bus/pci/devices/{pf}; echo 0 >$pf/sriov_drivers_autoprobe
                     net=$(ls $pf/net); ip link set $net up
                     for i in $(seq 600); do [ \"$(cat /sys/class/net/$net/carrier)\" = 1 ] && break; sleep 0.1; done"
                ),
            )?;
            let wanted = self.seats.iter().filter(|s| s.card == card);
            self.make(card, wanted.map(|s| u32::from(s.vf) + 1).max().unwrap_or(1))?;
        }
        Ok(())
    }

    /// Makes so many VFs of the first card anew; they have no driver.
    ///
    /// # Errors
    /// If the PF does not make them.
    pub fn set_vfs(&self, count: u32) -> Result<()> {
        self.make(FIRST.card, count)
    }

    /// Makes so many VFs of a card anew, those for VMs with the VM's address.
    ///
    /// # Errors
    /// If the PF does not make them.
    fn make(&self, card: u8, count: u32) -> Result<()> {
        let pf = Seat { card, vf: 0 }.pf();
        let mut script = format!("pf=/sys/bus/pci/devices/{pf}; net=$(ls $pf/net)\n");
        let seats = || self.seats.iter().filter(|s| s.card == card);
        for seat in seats() {
            let (vf, dir) = (seat.address(), seat.dir());
            script += &format!("[ ! -e {dir}/driver ] || echo {vf} >{dir}/driver/unbind\n");
        }
        script += "echo 0 >$pf/sriov_numvfs\n";
        if count > 0 {
            script += &format!("echo {count} >$pf/sriov_numvfs\n");
        }
        for seat in seats().filter(|s| u32::from(s.vf) < count) {
            script += &format!("ip link set $net vf {} mac {}\n", seat.vf, seat.mac());
        }
        self.sh("making VFs", &script)?;
        Ok(())
    }

    /// Changes the PF's network device by `ip link set`.
    ///
    /// # Errors
    /// If it cannot be changed.
    pub fn set_pf(&self, what: &str) -> Result<()> {
        self.sh(
            "changing the PF",
            &format!(
                "ip link set $(ls /sys/bus/pci/devices/{}/net) {what}",
                FIRST.pf()
            ),
        )?;
        Ok(())
    }

    /// Waits until the PF has its link.
    ///
    /// # Errors
    /// If it has none in time.
    pub fn wait_link(&self) -> Result<()> {
        self.sh(
            "waiting for the link",
            &format!(
                "n=/sys/bus/pci/devices/{}/net; c=$n/$(ls $n)/carrier
                 for i in $(seq 600); do [ \"$(cat $c)\" = 1 ] && exit; sleep 0.1; done; exit 1",
                FIRST.pf()
            ),
        )?;
        Ok(())
    }

    /// How this host's clock stands to the lab's: asked a few times, and the quickest answer taken.
    ///
    /// # Errors
    /// If the host does not answer.
    pub fn clock(&self) -> Result<Clock> {
        let mut best: Option<(Duration, Clock)> = None;
        for _ in 0..4 {
            let start = Instant::now();
            let text = self.vm.guest.run(&["date", "+%s%N"], STEP)?.ok()?;
            let took = start.elapsed();
            let ns: u64 = text.trim().parse().context("the host's clock")?;
            let clock = Clock {
                at: start + took / 2,
                us: ns / 1000,
            };
            if best.is_none_or(|(b, _)| took < b) {
                best = Some((took, clock));
            }
        }
        Ok(best.context("the host's clock")?.1)
    }

    /// Makes a tap on the bridge.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn add_tap(&self, name: &str) -> Result<()> {
        self.sh(
            "making a tap",
            // A module in Debian's kernel, which udev would load.
            &format!("[ -e /dev/net/tun ] || modprobe tun; ip tuntap add {name} mode tap; ip link set {name} master br0 up"),
        )?;
        Ok(())
    }

    /// Frames for its VFs, or for its cards, that were lost in this host so far.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn drops(&self) -> Result<Drops> {
        let mut qmp = Qmp::connect_here(&self.vm.qmp)?;
        let mut drops = Drops::default();
        for (i, port) in self.vm.cards.iter().enumerate() {
            let ask =
                json!({ "path": format!("/machine/peripheral/nic{i}"), "property": "counters" });
            let text = qmp.execute("qom-get", ask)?;
            let counters: BTreeMap<String, BTreeMap<String, u64>> =
                serde_json::from_str(text.as_str().context("the card's counters")?)?;
            drops.ring_full += counters
                .iter()
                .filter(|(function, _)| function.starts_with("vf"))
                .filter_map(|(_, counts)| counts.get("no_descriptor"))
                .sum::<u64>();
            drops.switch_full += self.switch.dropped(*port);
        }
        Ok(drops)
    }

    /// Figures of the variant driver about its last save or load, by name; none of a VF that may not be moved.
    ///
    /// # Errors
    /// If the host does not answer.
    pub fn figures(&self) -> Result<BTreeMap<String, String>> {
        // A VF that may not be moved has no report.
        let script = format!(
            "f=/sys/kernel/debug/{}/report; [ ! -e $f ] || cat $f",
            FIRST.address()
        );
        let text = self.vm.guest.sh(&script, STEP)?.ok()?;
        Ok(text
            .lines()
            .filter_map(|l| l.split_once(' '))
            .map(|(k, v)| (k.to_owned(), v.trim().to_owned()))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triple_faults_are_told_apart() {
        let said = "qemu: a warning\nTriple fault of a guest: exception 14\nRAX=1\nTriple fault of a guest: exception 13\nRAX=2\n";
        let faults = triple_faults(said);
        assert_eq!(faults.len(), 2);
        assert!(faults[0].ends_with("RAX=1\n") && faults[1].contains("exception 13"));
        assert!(triple_faults("qemu: a warning\n").is_empty());
    }
}
