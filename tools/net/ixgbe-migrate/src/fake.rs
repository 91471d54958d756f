// SPDX-License-Identifier: GPL-2.0
//! A host for tests: its sysfs, iproute2 and devlink answer as those of a host of the lab did.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::{bail, Result};
use serde_json::json;

use crate::describe::Place;
use crate::host::Host;

pub(crate) const PF: &str = "0000:01:00.0";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FakeVf {
    pub(crate) mac: String,
    pub(crate) vlan: u16,
    pub(crate) qos: u8,
    pub(crate) trust: bool,
    pub(crate) spoofchk: bool,
    pub(crate) rate: u32,
    pub(crate) state: String,
    pub(crate) migratable: bool,
    pub(crate) bound_migratable: bool,
    pub(crate) driver: Option<String>,
    pub(crate) only: Option<String>,
}

impl FakeVf {
    fn new() -> Self {
        Self {
            mac: "00:00:00:00:00:00".into(),
            spoofchk: true,
            state: "auto".into(),
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) up: bool,
    pub(crate) autoprobe: bool,
    pub(crate) vfs: Vec<FakeVf>,
    pub(crate) iommu: bool,
    pub(crate) state_format: bool,
    /// Process that has VF 0.
    pub(crate) user: Option<String>,
    pub(crate) modules: Vec<String>,
    pub(crate) files: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) state: RefCell<State>,
    /// Changes that were made.
    pub(crate) log: RefCell<Vec<String>>,
    /// A change that has this text fails, so many times.
    pub(crate) fail: RefCell<Vec<(String, u32)>>,
}

pub(crate) fn place() -> Place {
    Place {
        interface: "eth1".into(),
        address: PF.into(),
    }
}

fn none<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotFound.into())
}

impl Fake {
    pub(crate) fn new() -> Self {
        let fake = Self::default();
        *fake.state.borrow_mut() = State {
            autoprobe: true,
            iommu: true,
            state_format: true,
            ..State::default()
        };
        fake
    }

    fn change(&self, what: &str) -> Result<(), String> {
        for (text, times) in self.fail.borrow_mut().iter_mut() {
            if *times > 0 && what.contains(text.as_str()) {
                *times -= 1;
                return Err(format!("{what}: Invalid argument"));
            }
        }
        self.log.borrow_mut().push(what.into());
        Ok(())
    }

    fn index(path: &str) -> Option<usize> {
        let rest = path.strip_prefix("/sys/bus/pci/devices/0000:01:10.")?;
        let n: usize = rest.split('/').next()?.parse().ok()?;
        Some(n / 2)
    }

    fn vf<T>(&self, path: &str, f: impl FnOnce(&FakeVf) -> Option<T>) -> io::Result<T> {
        let state = self.state.borrow();
        let vf = Self::index(path).and_then(|i| state.vfs.get(i));
        vf.and_then(f).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn bind(&self, address: &str, driver: Option<&str>) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let at = Self::index(&format!("/sys/bus/pci/devices/{address}"));
        let modules = state.modules.clone();
        let autoprobe = state.autoprobe;
        let Some(vf) = at.and_then(|i| state.vfs.get_mut(i)) else {
            return none();
        };
        // As pci_device_can_probe() has it.
        if !autoprobe && vf.only.is_none() {
            return Err(io::Error::from_raw_os_error(19));
        }
        let driver = driver.map(str::to_owned).or_else(|| vf.only.clone());
        if let Some(driver) = driver.filter(|d| d == "ixgbevf_rust" || modules.contains(d)) {
            vf.bound_migratable = vf.migratable;
            vf.driver = Some(driver);
        }
        Ok(())
    }
}

impl Host for Fake {
    fn read(&self, path: &str) -> io::Result<String> {
        let state = self.state.borrow();
        if let Some(text) = state.files.get(path) {
            return Ok(text.clone());
        }
        let pf = format!("/sys/bus/pci/devices/{PF}/");
        if let Some(name) = path.strip_prefix(&pf) {
            return match name {
                "sriov_numvfs" => Ok(state.vfs.len().to_string()),
                "sriov_totalvfs" => Ok("63".into()),
                "sriov_drivers_autoprobe" => Ok(u8::from(state.autoprobe).to_string()),
                "vendor" => Ok("0x8086".into()),
                "device" => Ok("0x10f7".into()),
                _ => none(),
            };
        }
        let debug = path.strip_prefix("/sys/kernel/debug/0000:01:10.");
        if let Some(rest) = debug.and_then(|r| r.strip_suffix("/report")) {
            let vf = rest
                .parse::<usize>()
                .ok()
                .and_then(|n| state.vfs.get(n / 2));
            return match vf {
                Some(vf) if vf.bound_migratable && vf.driver.is_some() => {
                    Ok(include_str!("../samples/report").into())
                }
                _ => none(),
            };
        }
        match path.rsplit('/').next() {
            Some("driver_override") => self.vf(path, |vf| {
                Some(vf.only.clone().unwrap_or_else(|| "(null)".into()))
            }),
            Some("vendor") => self.vf(path, |_| Some("0x8086".into())),
            Some("device") => self.vf(path, |_| Some("0x10ed".into())),
            Some("carrier") => Ok(u8::from(state.up).to_string()),
            Some("speed") => Ok("10000".into()),
            Some("comm") => state
                .user
                .clone()
                .ok_or_else(|| io::ErrorKind::NotFound.into()),
            Some("cmdline") => Ok("qemu\0-m\0".into()),
            Some("hostname") => Ok("h1".into()),
            Some("osrelease") => Ok("7.3.4".into()),
            _ => none(),
        }
    }

    fn write(&self, path: &str, data: &str) -> io::Result<()> {
        self.change(&format!("write {path} {}", data.trim()))
            .map_err(io::Error::other)?;
        let data = data.trim();
        match path.rsplit('/').next() {
            Some("sriov_numvfs") => {
                let n = data.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
                let mut state = self.state.borrow_mut();
                if n != 0 && !state.vfs.is_empty() {
                    return Err(io::ErrorKind::ResourceBusy.into());
                }
                let driver = state.autoprobe.then(|| "ixgbevf_rust".to_owned());
                state.vfs = (0..n)
                    .map(|_| FakeVf {
                        driver: driver.clone(),
                        ..FakeVf::new()
                    })
                    .collect();
            }
            Some("sriov_drivers_autoprobe") => self.state.borrow_mut().autoprobe = data == "1",
            Some("driver_override") => {
                let at = Self::index(path);
                let mut state = self.state.borrow_mut();
                let Some(vf) = at.and_then(|i| state.vfs.get_mut(i)) else {
                    return none();
                };
                vf.only = (!data.is_empty()).then(|| data.to_owned());
            }
            Some("drivers_probe") => return self.bind(data, None),
            Some("bind") => return self.bind(data, path.split('/').nth_back(1)),
            Some("unbind") => {
                let at = Self::index(path);
                let mut state = self.state.borrow_mut();
                let Some(vf) = at.and_then(|i| state.vfs.get_mut(i)) else {
                    return none();
                };
                vf.driver = None;
            }
            _ => return none(),
        }
        Ok(())
    }

    fn link(&self, path: &str) -> io::Result<String> {
        let state = self.state.borrow();
        if path == "/sys/class/net/eth1/device" {
            return Ok(PF.into());
        }
        let pf = format!("/sys/bus/pci/devices/{PF}/");
        match path.strip_prefix(&pf) {
            Some("driver") => return Ok("ixgbe_rust".into()),
            Some("iommu_group") if state.iommu => return Ok("3".into()),
            Some(name) => {
                let n: Option<usize> = name.strip_prefix("virtfn").and_then(|n| n.parse().ok());
                return match n.filter(|n| *n < state.vfs.len()) {
                    Some(n) => Ok(format!("0000:01:10.{}", n * 2)),
                    None => none(),
                };
            }
            None => {}
        }
        if path.ends_with("/driver") {
            return self.vf(path, |vf| vf.driver.clone());
        }
        if path.ends_with("/iommu_group") && state.iommu {
            let group = Self::index(path).map(|i| (11 + i).to_string());
            return group.ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        none()
    }

    fn target(&self, path: &str) -> io::Result<String> {
        match path {
            "/proc/77/fd/5" => Ok("/dev/vfio/11".into()),
            _ => Ok("/dev/null".into()),
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.state.borrow();
        let names: Vec<&str> = match dir {
            "/proc" if state.user.is_some() => vec!["1", "77", "self", "net"],
            "/proc" => vec!["1", "self"],
            "/proc/1/fd" | "/proc/77/fd" => vec!["0", "5"],
            "/sys/kernel/debug" => vec!["vfio"],
            "/sys/bus/pci/drivers/ixgbe_rust" => vec![PF, "bind"],
            "/sys/bus/pci/devices/0000:01:00.0" => vec!["net"],
            "/sys/bus/pci/devices/0000:01:00.0/net" => vec!["eth1"],
            _ => match dir.strip_prefix("/sys/bus/pci/drivers/") {
                Some(d) if state.modules.iter().any(|m| m == d) => vec!["bind"],
                _ => return none(),
            },
        };
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn store(&self, path: &str, data: &str) -> io::Result<()> {
        self.state
            .borrow_mut()
            .files
            .insert(path.into(), data.into());
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        match self.state.borrow_mut().files.remove(path) {
            Some(_) => Ok(()),
            None => none(),
        }
    }

    fn run(&self, argv: &[&str]) -> Result<String> {
        let changes = argv.contains(&"set") || argv.first() == Some(&"modprobe");
        if changes {
            if let Err(e) = self.change(&argv.join(" ")) {
                bail!(e);
            }
        }
        let mut state = self.state.borrow_mut();
        match argv {
            ["ip", "-j", ..] => {
                let vfs: Vec<_> = (0..)
                    .zip(&state.vfs)
                    .map(|(n, vf): (u32, _)| {
                        let vlan = match vf.vlan {
                            0 => json!({}),
                            id => json!({"vlan": id, "qos": vf.qos}),
                        };
                        json!({"vf": n, "address": vf.mac, "vlan_list": [vlan],
                               "rate": {"max_tx": vf.rate, "min_tx": 0}, "spoofchk": vf.spoofchk,
                               "link_state": vf.state, "trust": vf.trust})
                    })
                    .collect();
                let flags = if state.up {
                    json!(["UP", "LOWER_UP"])
                } else {
                    json!([])
                };
                Ok(json!([{"ifname": "eth1", "flags": flags, "mtu": 1500,
                           "address": "02:82:59:00:01:00", "vfinfo_list": vfs}])
                .to_string())
            }
            ["ip", "link", "set", "dev", "eth1", to @ ("up" | "down")] => {
                state.up = *to == "up";
                Ok(String::new())
            }
            ["ip", "link", "set", "dev", "eth1", "vf", n, args @ ..] => {
                let Some(vf) = state.vfs.get_mut(n.parse::<usize>()?) else {
                    bail!("no such VF");
                };
                match args {
                    ["mac", mac] => vf.mac = (*mac).into(),
                    ["vlan", vlan, "qos", qos] => (vf.vlan, vf.qos) = (vlan.parse()?, qos.parse()?),
                    ["trust", on] => vf.trust = *on == "on",
                    ["spoofchk", on] => vf.spoofchk = *on == "on",
                    ["max_tx_rate", rate] => vf.rate = rate.parse()?,
                    ["state", to] => vf.state = (*to).into(),
                    _ => bail!("ip: {args:?}"),
                }
                Ok(String::new())
            }
            ["devlink", "-j", "dev", "info", _] => {
                let mut running = json!({});
                if state.state_format {
                    running = json!({"driver.state_format": "1"});
                }
                let info = json!({"driver": "ixgbe_rust", "versions": {"running": running}});
                Ok(json!({"info": {format!("pci/{PF}"): info}}).to_string())
            }
            ["devlink", "-j", "port", "show"] => {
                let ports: serde_json::Map<_, _> = (0..)
                    .zip(&state.vfs)
                    .map(|(n, vf): (u32, _)| {
                        let on = if vf.migratable { "enable" } else { "disable" };
                        let port = json!({"flavour": "pcivf", "vfnum": n,
                                          "function": {"migratable": on}});
                        (format!("pci/{PF}/{}", n + 1), port)
                    })
                    .collect();
                Ok(json!({"port": ports}).to_string())
            }
            ["devlink", "port", "function", "set", port, "migratable", to] => {
                let n: usize = port.rsplit('/').next().unwrap_or_default().parse()?;
                if let Some(vf) = state.vfs.get_mut(n - 1) {
                    vf.migratable = *to == "enable";
                }
                Ok(String::new())
            }
            ["ethtool", "-i", _] => Ok(include_str!("../samples/ethtool-i").into()),
            ["modprobe", module] => {
                state.modules.push((*module).into());
                Ok(String::new())
            }
            _ => bail!("no such command: {argv:?}"),
        }
    }

    fn sleep(&self, _: Duration) {}
}
