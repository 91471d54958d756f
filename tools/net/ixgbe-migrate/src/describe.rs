// SPDX-License-Identifier: GPL-2.0
//! Collects the description of a host.

use anyhow::{bail, Context, Result};
use libixgbe::sriov::Pools;

use crate::description::{Description, MtuClass, Pf, Unknown, Vf, VERSION};
use crate::host::Host;
use crate::iproute::{self, VfInfo};
use crate::users::Users;

/// Folder of all PCI devices.
pub const PCI: &str = "/sys/bus/pci/devices";
/// The variant driver, as the kernel names it.
pub const VFIO_DRIVER: &str = "ixgbe_vfio_pci";
/// The PF driver that can move VFs. Mainline's, `ixgbe`, cannot.
pub const PF_DRIVER: &str = "ixgbe_rust";
/// What only the guest knows. It decides on some moves, so it is named each time.
const GUEST: [&str; 5] = [
    "guest.driver",
    "guest.queues_in_use",
    "guest.further_addresses",
    "guest.vlans",
    "guest.frame_size",
];

/// A PF's interface and PCI address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Interface.
    pub interface: String,
    /// PCI address.
    pub address: String,
}

/// Finds a PF by its interface or PCI address; without either the only one of the host.
///
/// # Errors
/// If there is none, or more than one to choose from.
pub fn find(host: &dyn Host, name: Option<&str>) -> Result<Place> {
    let address = match name {
        Some(n) if n.contains('/') || n.is_empty() => bail!("{n:?} is not the name of a PF"),
        Some(n) if host.list(&format!("{PCI}/{n}")).is_ok() => n.to_owned(),
        Some(n) => host
            .link(&format!("/sys/class/net/{n}/device"))
            .ok()
            .with_context(|| format!("there is no interface and no PCI device {n}"))?,
        None => only(host)?,
    };
    let interfaces = host.list(&format!("{PCI}/{address}/net"));
    let interface = interfaces
        .unwrap_or_default()
        .into_iter()
        .next()
        .with_context(|| format!("{address} has no network interface: is its driver loaded?"))?;
    Ok(Place { interface, address })
}

/// The only PF with a driver of ours.
fn only(host: &dyn Host) -> Result<String> {
    let mut found: Vec<String> = host
        .list(&format!("/sys/bus/pci/drivers/{PF_DRIVER}"))
        .unwrap_or_default()
        .into_iter()
        .filter(|name| name.contains(':'))
        .collect();
    match found.len() {
        0 => {
            bail!("no PF has the driver {PF_DRIVER}: load it, and bind the PF to it, see its page")
        }
        1 => Ok(found.remove(0)),
        _ => bail!(
            "several PFs have the driver {PF_DRIVER}, choose one with --pf: {}",
            found.join(" ")
        ),
    }
}

/// What is not seen is noted.
struct Notes(Vec<Unknown>);

impl Notes {
    fn add(&mut self, what: &str, why: impl ToString) {
        self.0.push(Unknown {
            what: what.into(),
            why: why.to_string(),
        });
    }

    fn take<T>(&mut self, what: &str, value: Result<T>) -> Option<T> {
        match value {
            Ok(v) => Some(v),
            Err(e) => {
                self.add(what, format!("{e:#}"));
                None
            }
        }
    }
}

fn read(host: &dyn Host, path: &str) -> Result<String> {
    host.read(path).with_context(|| format!("reading {path}"))
}

fn number(host: &dyn Host, path: &str) -> Result<u32> {
    read(host, path)?
        .trim()
        .parse()
        .with_context(|| format!("{path} is not a number"))
}

fn ids(host: &dyn Host, device: &str) -> Result<String> {
    let part = |name: &str| -> Result<String> {
        let text = read(host, &format!("{PCI}/{device}/{name}"))?;
        Ok(text.trim().trim_start_matches("0x").to_owned())
    };
    Ok(format!("{}:{}", part("vendor")?, part("device")?))
}

/// A number that devlink shows as text, with or without 0x.
fn version_number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Describes the host with this PF.
///
/// # Errors
/// If even the PF's interface cannot be seen. All else that cannot be is noted in the description.
pub fn describe(host: &dyn Host, place: &Place) -> Result<Description> {
    let (ifname, address) = (place.interface.as_str(), place.address.as_str());
    let mut notes = Notes(Vec::new());
    let link = iproute::link(&host.run(&["ip", "-j", "-d", "link", "show", "dev", ifname])?)?;
    let dir = format!("{PCI}/{address}");

    let versions = host
        .run(&["devlink", "-j", "dev", "info", &format!("pci/{address}")])
        .and_then(|json| iproute::versions(&json, address));
    let versions = notes.take("pf.state_format", versions);
    let version = |name: &str| {
        let text = versions.as_ref()?.get(name)?;
        version_number(text)
    };
    let ethtool = notes.take("pf.firmware", host.run(&["ethtool", "-i", ifname]));
    let field = |name| {
        let text = ethtool.as_deref()?;
        iproute::ethtool_field(text, name).map(str::to_owned)
    };
    let vf_count = number(host, &format!("{dir}/sriov_numvfs")).unwrap_or(0);
    let mailbox_features = version("driver.mailbox_features");
    if mailbox_features.is_none() {
        notes.add("pf.mailbox_features", "devlink dev info does not tell them");
    }
    let pf = Pf {
        interface: ifname.into(),
        address: address.into(),
        id: notes.take("pf.id", ids(host, address)),
        driver: host.link(&format!("{dir}/driver")).ok(),
        driver_version: field("version"),
        firmware: field("firmware-version"),
        state_format: version("driver.state_format"),
        mailbox_features,
        mac: link.address.clone(),
        mtu: link.mtu,
        mtu_class: link.mtu.map(|mtu| match mtu {
            0..=1500 => MtuClass::Standard,
            _ => MtuClass::Jumbo,
        }),
        up: link.has("UP"),
        link: link.has("LOWER_UP"),
        speed: number(host, &format!("/sys/class/net/{ifname}/speed")).ok(),
        vf_count,
        vf_max: number(host, &format!("{dir}/sriov_totalvfs")).unwrap_or(0),
        autoprobe: number(host, &format!("{dir}/sriov_drivers_autoprobe")).ok() != Some(0),
        queues_per_pool: Pools::for_vfs(vf_count).map(Pools::queues),
    };
    let vfs = vfs(host, &pf, &link.vfinfo_list, &mut notes);
    for what in GUEST {
        notes.add(
            what,
            "only the guest knows; the drivers compare it when the VM moves",
        );
    }
    let trimmed = |path| read(host, path).map(|s| s.trim().to_owned());
    Ok(Description {
        version: VERSION,
        host: notes.take("host", trimmed("/proc/sys/kernel/hostname")),
        kernel: notes.take("kernel", trimmed("/proc/sys/kernel/osrelease")),
        iommu: host.link(&format!("{dir}/iommu_group")).is_ok(),
        pf,
        vfs,
        unknown: notes.0,
    })
}

fn vfs(host: &dyn Host, pf: &Pf, shown: &[VfInfo], notes: &mut Notes) -> Vec<Vf> {
    let ports = host
        .run(&["devlink", "-j", "port", "show"])
        .and_then(|json| iproute::vf_ports(&json, &pf.address));
    let ports = notes.take("vfs.migratable", ports).unwrap_or_default();
    let debugfs = host
        .list("/sys/kernel/debug")
        .is_ok_and(|names| !names.is_empty());
    if !debugfs && pf.vf_count > 0 {
        notes.add(
            "vfs.bound_migratable",
            "debugfs cannot be read: be root, and have it mounted",
        );
    }
    let processes = Users::look(host);
    let mut vfs = Vec::new();
    for number in 0..pf.vf_count {
        let Ok(address) = host.link(&format!("{PCI}/{}/virtfn{number}", pf.address)) else {
            notes.add(&format!("vfs.{number}"), "it has no PCI device");
            continue;
        };
        let dir = format!("{PCI}/{address}");
        let info = shown.iter().find(|vf| vf.vf == number);
        if info.is_none() {
            notes.add(
                &format!("vfs.{number}.policy"),
                "ip link does not show this VF",
            );
        }
        let driver = host.link(&format!("{dir}/driver")).ok();
        let report = host.read(&format!("/sys/kernel/debug/{address}/report"));
        let migratable = ports
            .get(&number)
            .and_then(|(_, p)| p.function.migratable.as_deref());
        let vlan = info.and_then(|i| i.vlan_list.first());
        let iommu_group = host.link(&format!("{dir}/iommu_group")).ok();
        let users = processes.of(&vfio_files(host, &dir, iommu_group.as_deref()));
        if users.is_none() {
            notes.add(
                &format!("vfs.{number}.users"),
                "not all processes can be seen: be root",
            );
        }
        vfs.push(Vf {
            number,
            id: notes.take(&format!("vfs.{number}.id"), ids(host, &address)),
            mac: info
                .and_then(|i| i.address.clone())
                .filter(|mac| mac != "00:00:00:00:00:00"),
            vlan: vlan.map_or(0, |v| v.vlan),
            qos: vlan.map_or(0, |v| v.qos),
            trust: info.and_then(|i| i.trust),
            spoofchk: info.and_then(|i| i.spoofchk),
            max_tx_rate: info.and_then(|i| i.rate.as_ref()).map(|r| r.max_tx),
            link_state: info.and_then(|i| i.link_state.clone()),
            migratable: migratable.map(|m| m == "enable"),
            bound_migratable: (debugfs && driver.as_deref() == Some(VFIO_DRIVER))
                .then_some(report.is_ok()),
            driver,
            driver_override: read(host, &format!("{dir}/driver_override"))
                .ok()
                .map(|d| d.trim().to_owned())
                .filter(|d| !d.is_empty() && d != "(null)"),
            iommu_group,
            users,
            address,
        });
    }
    vfs
}

/// Files in /dev of which a user of the VF has one open.
pub fn vfio_files(host: &dyn Host, dir: &str, group: Option<&str>) -> Vec<String> {
    let devices = host.list(&format!("{dir}/vfio-dev")).unwrap_or_default();
    let cdevs = devices.iter().map(|d| format!("/dev/vfio/devices/{d}"));
    let groups = group.iter().map(|g| format!("/dev/vfio/{g}"));
    cdevs.chain(groups).collect()
}
