// SPDX-License-Identifier: GPL-2.0
//! A host of the demonstration: its drivers, its VF, its place on the network.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::inner::{self, Card};
use crate::qmp::stamp_us;
use crate::vm::Vm;

/// The 82599 in a host: the function behind its first root port.
pub const PF: &str = "0000:01:00.0";

/// Its first VF: offset 128 in the routing id (82599 datasheet, SR-IOV capability).
pub const VF: &str = "0000:01:10.0";

/// Where sysfs has it.
const VF_DIR: &str = "/sys/bus/pci/devices/0000:01:10.0";

/// TCP port of the migration stream.
pub const PORT: u16 = 4444;

const SHORT: Duration = Duration::from_secs(60);

/// A host that runs.
pub struct Host {
    /// 1 or 2.
    pub number: u8,
    /// The machine.
    pub vm: Vm,
    started: AtomicU32,
    has_vf: AtomicBool,
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

/// How a host is prepared for a VM.
pub struct Preparation<'a> {
    /// The VM's card.
    pub card: Card,
    /// devlink parameter `head_restore`, where it is forced.
    pub restore: Option<&'a str>,
    /// Whether the VF may be migrated.
    pub migratable: bool,
}

impl Host {
    /// Takes a host that has just booted.
    pub fn new(number: u8, vm: Vm) -> Self {
        Self {
            number,
            vm,
            started: AtomicU32::new(0),
            has_vf: AtomicBool::new(false),
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

    /// A number that no QEMU of this host has had.
    pub fn next_id(&self) -> u32 {
        self.started.fetch_add(1, Ordering::Relaxed)
    }

    fn sh(&self, what: &str, script: &str) -> Result<String> {
        let out = self.vm.guest.sh(&format!("set -e; {script}"), SHORT)?;
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
                 ip link add br0 type bridge forward_delay 0; ip link set $peer mtu 1500 master br0 up
                 ip addr add {}/24 dev br0; ip link set br0 up",
                self.address()
            ),
        )?;
        Ok(())
    }

    /// Makes the VF, the first time, and gives it to the driver that the VM's card needs.
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
            self.make_vf()?;
        }
        let way = p.restore.unwrap_or("auto");
        self.sh(
            "setting the way of restore",
            &format!("devlink dev param set pci/{PF} name head_restore value {way} cmode runtime"),
        )?;
        let migratable = if p.migratable { "enable" } else { "disable" };
        self.sh(
            "giving the VF to VFIO",
            &format!(
                "vf={VF_DIR}; [ ! -e $vf/driver ] || echo {VF} >$vf/driver/unbind
                 port=$(devlink -j port show | jq -r '.port | to_entries[] | select((.key | startswith(\"pci/{PF}/\")) and \
                 .value.flavour == \"pcivf\" and .value.vfnum == 0) | .key')
                 devlink port function set $port migratable {migratable}
                 echo {driver} >$vf/driver_override; echo {VF} >/sys/bus/pci/drivers_probe; test -e $vf/driver"
            ),
        )?;
        Ok(())
    }

    fn make_vf(&self) -> Result<()> {
        self.sh(
            "loading the drivers",
            &format!(
                "modprobe vfio-pci; insmod /lab/rust/ixgbe.ko; insmod /lab/rust/ixgbe-vfio-pci.ko
                 pf=/sys/bus/pci/devices/{PF}; echo 0 >$pf/sriov_drivers_autoprobe
                 net=$(ls $pf/net); ip link set $net up
                 for i in $(seq 100); do [ \"$(cat /sys/class/net/$net/carrier)\" = 1 ] && break; sleep 0.1; done"
            ),
        )?;
        self.set_vfs(1)
    }

    /// Makes so many VFs anew, the first of them with the VM's address; they have no driver.
    ///
    /// # Errors
    /// If the PF does not make them.
    pub fn set_vfs(&self, count: u32) -> Result<()> {
        self.sh(
            "making VFs",
            &format!(
                "pf=/sys/bus/pci/devices/{PF}; net=$(ls $pf/net)
                 [ ! -e {VF_DIR}/driver ] || echo {VF} >{VF_DIR}/driver/unbind
                 echo 0 >$pf/sriov_numvfs; [ {count} = 0 ] && exit; echo {count} >$pf/sriov_numvfs
                 ip link set $net vf 0 mac {}",
                inner::MAC
            ),
        )?;
        Ok(())
    }

    /// Changes the PF's network device by `ip link set`.
    ///
    /// # Errors
    /// If it cannot be changed.
    pub fn set_pf(&self, what: &str) -> Result<()> {
        self.sh(
            "changing the PF",
            &format!("ip link set $(ls /sys/bus/pci/devices/{PF}/net) {what}"),
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
                "n=/sys/bus/pci/devices/{PF}/net; c=$n/$(ls $n)/carrier
                 for i in $(seq 100); do [ \"$(cat $c)\" = 1 ] && exit; sleep 0.1; done; exit 1"
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
            let text = self.vm.guest.run(&["date", "+%s%N"], SHORT)?.ok()?;
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
            &format!("ip tuntap add {name} mode tap; ip link set {name} master br0 up"),
        )?;
        Ok(())
    }

    /// Figures of the variant driver about its last save or load, by name.
    ///
    /// # Errors
    /// If the host does not answer.
    pub fn figures(&self) -> Result<BTreeMap<String, String>> {
        let text = self
            .vm
            .guest
            .sh(
                &format!("cat $(find /sys/kernel/debug -path '*{VF}/report')"),
                SHORT,
            )?
            .stdout;
        Ok(text
            .lines()
            .filter_map(|l| l.split_once(' '))
            .map(|(k, v)| (k.to_owned(), v.trim().to_owned()))
            .collect())
    }
}
