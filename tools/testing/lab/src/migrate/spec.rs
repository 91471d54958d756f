// SPDX-License-Identifier: GPL-2.0
//! What is to be moved and how: names that all parts of the experiment share.

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::inner::MEMORY_MIB;
use crate::chip::Chip;
use crate::kernel::Flavour;
use crate::lab::{Drivers, Head};

/// Which QEMU runs the VMs in the hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HostQemu {
    /// Debian's stable one.
    #[default]
    Stock,
    /// The newest that Debian has for its stable release.
    Backports,
}

/// What the station and the VM say to each other meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Traffic {
    /// Numbered datagrams, each echoed by the VM.
    #[default]
    Udp,
    /// A TCP stream from the VM, and few datagrams to measure by.
    Tcp,
    /// Many TCP streams in either direction, and few datagrams to measure by.
    Both,
    /// The same with four times as many.
    Many,
    /// Few datagrams to measure by.
    None,
}

impl Traffic {
    /// Whether there are TCP connections.
    pub(super) fn has_streams(self) -> bool {
        matches!(self, Self::Tcp | Self::Both | Self::Many)
    }

    /// Connections in each direction, where they go in both.
    pub(super) fn both_ways(self) -> Option<usize> {
        match self {
            Self::Both => Some(8),
            Self::Many => Some(32),
            Self::Udp | Self::Tcp | Self::None => None,
        }
    }
}

/// In what a result was had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Which of the family the model is.
    pub chip: &'static str,
    /// Kernel of hosts and VM.
    pub kernel: Flavour,
    /// Patches of the emulator that runs the hosts: `fixes` alone, or `fast` with those for speed.
    pub emulator: String,
    /// How the hosts' processors are run.
    pub accel: String,
    /// Virtual CPUs of the VM.
    pub guest_cpus: u32,
    /// The QEMU that runs it.
    pub qemu: HostQemu,
}

/// Whether this kernel checks itself, which takes several times as long.
pub(super) fn is_checked(kernel: Flavour) -> bool {
    match kernel {
        Flavour::Stock | Flavour::StockIommufd | Flavour::Release => false,
        Flavour::Debug => true,
    }
}

/// Which card the inner VM has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Card {
    /// The host's VFs of the VM's seats, assigned by VFIO with the variant driver.
    #[default]
    Vf,
    /// The same VF, which the guest shuts down before a migration and brings up after it.
    Closed,
    /// virtio-net on a bridge: what a VM without a VF has.
    Virtio,
    /// A VF that QEMU unplugs before a migration and plugs after it, and virtio-net under the guest's net_failover.
    Failover,
    /// A VF that is unplugged before and plugged after, and nothing else.
    Replug,
}

/// A VF of a host, and who has it: the same on both hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Which 82599 of the host, from 0.
    pub card: u8,
    /// Which of its VFs, from 0; below 4.
    pub vf: u8,
}

/// The first VF of the first card.
pub const FIRST: Seat = Seat { card: 0, vf: 0 };

impl Seat {
    /// PCI address of the PF: a card is the function behind the root port of its number.
    pub fn pf(self) -> String {
        format!("0000:{:02x}:00.0", self.card + 1)
    }

    /// PCI address of the VF: offset 128 and stride 2 in the routing id (82599 datasheet, SR-IOV capability).
    pub fn address(self) -> String {
        format!("0000:{:02x}:10.{}", self.card + 1, 2 * self.vf)
    }

    /// MAC address of the guest's card.
    pub fn mac(self) -> String {
        format!("02:82:59:00:64:{:x}{:x}", self.card, self.vf)
    }

    /// IPv4 address of the guest's card.
    pub fn ip(self) -> String {
        format!(
            "192.0.2.{}",
            100 + 10 * u32::from(self.card) + u32::from(self.vf)
        )
    }

    /// Where sysfs has the VF.
    pub fn dir(self) -> String {
        format!("/sys/bus/pci/devices/{}", self.address())
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
    /// Parameter `follow_cpu` of the variant driver, where it is not the driver's default.
    pub follow_cpu: Option<u32>,
}

/// What a VM boots from; paths are those of the hosts.
#[derive(Clone, Debug)]
pub struct Image {
    /// Initial RAM file system.
    pub initrd: String,
    /// Names of the modules that it loads, comma-separated.
    pub drivers: String,
    /// What tells the VM from others on the same hosts, wherever it is.
    pub name: String,
    /// Virtual CPUs of the VM.
    pub cpus: u32,
    /// Its memory.
    pub memory_mib: u32,
    /// Added to the kernel's command line.
    pub options: &'static str,
    /// Whether QEMU writes down what it does when.
    pub trace: bool,
    /// The VM's VFs.
    pub seats: &'static [Seat],
    /// Whether QEMU has iommufd keep the VFs' address space, and not VFIO's own container.
    pub iommufd: bool,
}

/// What an experiment needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The VM's card.
    pub card: Card,
    /// The VM's driver.
    pub guest: Drivers,
    /// Head policy of the model.
    pub head: Head,
    /// Chip of both hosts' cards.
    pub chip: Chip,
    /// Traffic.
    pub traffic: Traffic,
    /// Migrations.
    pub rounds: u32,
    /// Kernel.
    pub kernel: Flavour,
    /// The QEMU that runs the VM.
    pub qemu: HostQemu,
    /// Virtual CPUs of the VM.
    pub guest_cpus: u32,
    /// Datagrams per second.
    pub rate: u32,
    /// Forced way of restore.
    pub restore: Option<&'a str>,
    /// Whether the VF may be migrated.
    pub migratable: bool,
    /// Folder for QEMU's account of what it does when.
    pub trace: Option<&'a Path>,
    /// See [`Image`]; for a kernel that has it.
    pub iommufd: bool,
    /// See [`Preparation`].
    pub follow_cpu: Option<u32>,
    /// Memory of the VM.
    pub memory_mib: u32,
    /// Descriptors of each Rx ring in the VM, where it is not the driver's default.
    pub rx_ring: Option<u32>,
    /// Frames per second that the VM receives besides and does not answer.
    pub flood: u32,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            card: Card::Vf,
            guest: Drivers::Rust,
            head: Head::Value,
            chip: Chip::Kx4,
            traffic: Traffic::Udp,
            rounds: 2,
            kernel: Flavour::Stock,
            qemu: HostQemu::Stock,
            guest_cpus: 1,
            rate: 100,
            restore: None,
            migratable: true,
            trace: None,
            iommufd: false,
            follow_cpu: None,
            memory_mib: MEMORY_MIB,
            rx_ring: None,
            flood: 0,
        }
    }
}

impl<'a> Plan<'a> {
    /// How the hosts are prepared for it.
    pub fn preparation(&self) -> Preparation<'a> {
        Preparation {
            card: self.card,
            restore: self.restore,
            migratable: self.migratable,
            follow_cpu: self.follow_cpu,
        }
    }

    /// Whether each move makes mainline's driver reset its VF, which it does not do soon after it has.
    pub(super) fn guest_restarts(&self) -> bool {
        let cannot_go_on = self.head != Head::Value && self.restore.is_none();
        let resets = cannot_go_on || self.restore.is_some_and(|way| way != "write");
        self.guest == Drivers::C && self.card == Card::Vf && resets
    }

    /// Whether a VF that stood is reset when it goes on, so that frames are lost: there or where it was.
    pub(super) fn resets(&self) -> bool {
        self.guest_restarts() || self.restore == Some("reset")
    }
}
