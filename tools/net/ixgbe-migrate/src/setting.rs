// SPDX-License-Identifier: GPL-2.0
//! One setting of a host: how it is seen, and how it is changed.

use std::fmt;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};

use crate::describe::{Place, PCI, VFIO_DRIVER};
use crate::description::Description;
use crate::host::Host;
use crate::iproute;

/// MAC address of a VF that has none.
pub const NO_MAC: &str = "00:00:00:00:00:00";

/// Which setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// The PF's interface is up.
    PfUp,
    /// The host loads a driver for new VFs.
    Autoprobe,
    /// Number of VFs.
    VfCount,
    /// MAC address of a VF.
    Mac(u32),
    /// Port VLAN of a VF.
    Vlan(u32),
    /// Trust of a VF.
    Trust(u32),
    /// Spoof check of a VF.
    Spoofchk(u32),
    /// Rate limit of a VF.
    MaxTxRate(u32),
    /// State of a VF's link.
    LinkState(u32),
    /// Whether a VF may move.
    Migratable(u32),
    /// Driver of a VF.
    Driver(u32),
}

/// Its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// On or off.
    On(bool),
    /// A number.
    Number(u32),
    /// A word.
    Text(String),
    /// A port VLAN.
    Vlan {
        /// 0 for none.
        vlan: u16,
        /// Priority.
        qos: u8,
    },
    /// A driver.
    Driver {
        /// Bound now.
        bound: Option<String>,
        /// The only one that may be bound (`driver_override`).
        only: Option<String>,
    },
}

impl Setting {
    /// VF that it is of.
    pub const fn vf(self) -> Option<u32> {
        match self {
            Self::PfUp | Self::Autoprobe | Self::VfCount => None,
            Self::Mac(n)
            | Self::Vlan(n)
            | Self::Trust(n)
            | Self::Spoofchk(n)
            | Self::MaxTxRate(n)
            | Self::LinkState(n)
            | Self::Migratable(n)
            | Self::Driver(n) => Some(n),
        }
    }

    /// Whether a VM that has the VF would be hurt by a change.
    pub const fn hurts(self) -> bool {
        matches!(
            self,
            Self::Mac(_) | Self::Vlan(_) | Self::Migratable(_) | Self::Driver(_)
        )
    }

    /// Value on a host; none if it has no such VF, or if it cannot be seen.
    pub fn value(self, d: &Description) -> Option<Value> {
        let vf = match self.vf() {
            Some(n) => Some(d.vf(n)?),
            None => None,
        };
        Some(match (self, vf) {
            (Self::PfUp, _) => Value::On(d.pf.up),
            (Self::Autoprobe, _) => Value::On(d.pf.autoprobe),
            (Self::VfCount, _) => Value::Number(d.pf.vf_count),
            (_, None) => return None,
            (Self::Mac(_), Some(vf)) => {
                Value::Text(vf.mac.as_deref().unwrap_or(NO_MAC).to_lowercase())
            }
            (Self::Vlan(_), Some(vf)) => Value::Vlan {
                vlan: vf.vlan,
                qos: vf.qos,
            },
            (Self::Trust(_), Some(vf)) => Value::On(vf.trust?),
            (Self::Spoofchk(_), Some(vf)) => Value::On(vf.spoofchk?),
            (Self::MaxTxRate(_), Some(vf)) => Value::Number(vf.max_tx_rate?),
            (Self::LinkState(_), Some(vf)) => Value::Text(vf.link_state.clone()?),
            (Self::Migratable(_), Some(vf)) => Value::On(vf.migratable?),
            (Self::Driver(_), Some(vf)) => Value::Driver {
                bound: vf.driver.clone(),
                only: vf.driver_override.clone(),
            },
        })
    }

    /// Gives it a value.
    ///
    /// # Errors
    /// If the kernel says no.
    pub fn apply(self, host: &dyn Host, place: &Place, value: &Value) -> Result<()> {
        let pf = place.interface.as_str();
        let dir = format!("{PCI}/{}", place.address);
        let vf_set = |n: u32, args: &[&str]| {
            let n = n.to_string();
            let mut argv = vec!["ip", "link", "set", "dev", pf, "vf", &n];
            argv.extend(args);
            host.run(&argv).map(|_| ())
        };
        match (self, value) {
            (Self::PfUp, Value::On(on)) => {
                let to = if *on { "up" } else { "down" };
                host.run(&["ip", "link", "set", "dev", pf, to])?;
                if *on {
                    wait_for_link(host, pf);
                }
                Ok(())
            }
            (Self::Autoprobe, Value::On(on)) => {
                let to = if *on { "1" } else { "0" };
                write(host, &format!("{dir}/sriov_drivers_autoprobe"), to)
            }
            (Self::VfCount, Value::Number(n)) => {
                write(host, &format!("{dir}/sriov_numvfs"), &n.to_string())
            }
            (Self::Mac(n), Value::Text(mac)) => vf_set(n, &["mac", mac]),
            (Self::Vlan(n), Value::Vlan { vlan, qos }) => {
                vf_set(n, &["vlan", &vlan.to_string(), "qos", &qos.to_string()])
            }
            (Self::Trust(n), Value::On(on)) => vf_set(n, &["trust", on_off(*on)]),
            (Self::Spoofchk(n), Value::On(on)) => vf_set(n, &["spoofchk", on_off(*on)]),
            (Self::MaxTxRate(n), Value::Number(rate)) => {
                vf_set(n, &["max_tx_rate", &rate.to_string()])
            }
            (Self::LinkState(n), Value::Text(state)) => vf_set(n, &["state", state]),
            (Self::Migratable(n), Value::On(on)) => migratable(host, place, n, *on),
            (Self::Driver(n), Value::Driver { bound, only }) => {
                bind(host, place, n, bound.as_deref(), only.as_deref())
            }
            _ => bail!("{self} cannot be {value}"),
        }
    }
}

const fn on_off(on: bool) -> &'static str {
    if on {
        "on"
    } else {
        "off"
    }
}

fn write(host: &dyn Host, path: &str, data: &str) -> Result<()> {
    host.write(path, data)
        .with_context(|| format!("writing {:?} to {path}", data.trim()))
}

/// A link takes some seconds. Without one the rest is done all the same, and told of.
fn wait_for_link(host: &dyn Host, pf: &str) {
    for _ in 0..100 {
        if host
            .read(&format!("/sys/class/net/{pf}/carrier"))
            .is_ok_and(|c| c.trim() == "1")
        {
            return;
        }
        host.sleep(Duration::from_millis(100));
    }
}

fn migratable(host: &dyn Host, place: &Place, vf: u32, on: bool) -> Result<()> {
    let ports = host.run(&["devlink", "-j", "port", "show"])?;
    let ports = iproute::vf_ports(&ports, &place.address)?;
    let (port, _) = ports
        .get(&vf)
        .with_context(|| format!("devlink has no port of VF {vf}: another driver of the PF?"))?;
    let to = if on { "enable" } else { "disable" };
    host.run(&["devlink", "port", "function", "set", port, "migratable", to])?;
    Ok(())
}

/// Binds a VF to this driver, with this `driver_override`. One that is bound already is bound
/// again, since `migratable` is looked at when it is.
fn bind(
    host: &dyn Host,
    place: &Place,
    vf: u32,
    bound: Option<&str>,
    only: Option<&str>,
) -> Result<()> {
    let address = host
        .link(&format!("{PCI}/{}/virtfn{vf}", place.address))
        .with_context(|| format!("VF {vf} has no PCI device"))?;
    let dir = format!("{PCI}/{address}");
    if host.link(&format!("{dir}/driver")).is_ok() {
        write(host, &format!("{dir}/driver/unbind"), &address)?;
    }
    // An empty line takes the override away.
    let set = |only: Option<&str>| {
        let line = format!("{}\n", only.unwrap_or_default());
        write(host, &format!("{dir}/driver_override"), &line)
    };
    let Some(driver) = bound else {
        return set(only);
    };
    // Where sriov_drivers_autoprobe is off, a VF without an override can be bound to nothing, not
    // even by hand (pci_device_can_probe()): it has one for as long as that takes.
    set(Some(driver))?;
    let probed = write(host, "/sys/bus/pci/drivers_probe", &address);
    if only != Some(driver) {
        set(only)?;
    }
    probed?;
    let now = host.link(&format!("{dir}/driver")).ok();
    if now.as_deref() != Some(driver) {
        bail!(
            "VF {vf} has {} after it was to be bound to {driver}: see the kernel log",
            now.as_deref().unwrap_or("no driver")
        );
    }
    Ok(())
}

/// Has the module of the variant driver loaded.
///
/// # Errors
/// If it cannot be.
pub fn load_driver(host: &dyn Host, driver: &str) -> Result<()> {
    if host.list(&format!("/sys/bus/pci/drivers/{driver}")).is_ok() {
        return Ok(());
    }
    let remedy = if driver == VFIO_DRIVER {
        "install this project's modules (make modules_install, depmod)"
    } else {
        "is it built for this kernel?"
    };
    host.run(&["modprobe", driver])
        .with_context(|| format!("the driver {driver} is not there: {remedy}"))?;
    Ok(())
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::PfUp => "PF up",
            Self::Autoprobe => "sriov_drivers_autoprobe",
            Self::VfCount => "sriov_numvfs",
            Self::Mac(_) => "mac",
            Self::Vlan(_) => "vlan",
            Self::Trust(_) => "trust",
            Self::Spoofchk(_) => "spoofchk",
            Self::MaxTxRate(_) => "max_tx_rate",
            Self::LinkState(_) => "link state",
            Self::Migratable(_) => "migratable",
            Self::Driver(_) => "driver",
        };
        match self.vf() {
            Some(vf) => write!(f, "VF {vf} {name}"),
            None => f.write_str(name),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(on) => f.write_str(on_off(*on)),
            Self::Number(n) => write!(f, "{n}"),
            Self::Text(text) => f.write_str(text),
            Self::Vlan { vlan: 0, .. } => f.write_str("none"),
            Self::Vlan { vlan, qos } => write!(f, "{vlan} qos {qos}"),
            Self::Driver { bound, only } => {
                f.write_str(bound.as_deref().unwrap_or("none"))?;
                match only {
                    Some(only) if Some(only) != bound.as_ref() => {
                        write!(f, " (driver_override {only})")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}
