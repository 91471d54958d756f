// SPDX-License-Identifier: GPL-2.0
//! The JSON of iproute2: `ip -j -d link`, `devlink -j port`, `dev info` and `health diagnose`.
//! What is not in it is absent here, never guessed.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A network interface with its VFs.
#[derive(Clone, Debug, Deserialize)]
pub struct Link {
    /// Name.
    pub ifname: String,
    /// Such as `UP` and `LOWER_UP`.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Largest payload of a frame.
    pub mtu: Option<u32>,
    /// MAC address.
    pub address: Option<String>,
    /// VFs; absent without any.
    #[serde(default)]
    pub vfinfo_list: Vec<VfInfo>,
}

impl Link {
    /// Whether it has a flag.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }
}

/// A VF as its PF shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct VfInfo {
    /// Number.
    pub vf: u32,
    /// MAC address, of zeros without one.
    pub address: Option<String>,
    /// Port VLAN, absent or empty without one.
    #[serde(default)]
    pub vlan_list: Vec<Vlan>,
    /// Rate limits.
    pub rate: Option<Rate>,
    /// Spoof check.
    pub spoofchk: Option<bool>,
    /// `auto`, `enable` or `disable`.
    pub link_state: Option<String>,
    /// Trust.
    pub trust: Option<bool>,
}

/// A port VLAN.
#[derive(Clone, Debug, Deserialize)]
pub struct Vlan {
    /// Id; iproute2 leaves it out where there is no port VLAN.
    #[serde(default)]
    pub vlan: u16,
    /// Priority.
    #[serde(default)]
    pub qos: u8,
}

/// Rate limits, in Mb/s; 0 for none.
#[derive(Clone, Debug, Deserialize)]
pub struct Rate {
    /// Of what the VF sends.
    #[serde(default)]
    pub max_tx: u32,
}

/// A devlink port.
#[derive(Clone, Debug, Deserialize)]
pub struct Port {
    /// `physical`, `pcivf` and others.
    #[serde(default)]
    pub flavour: String,
    /// Number of the VF.
    pub vfnum: Option<u32>,
    /// What can be set of the function.
    #[serde(default)]
    pub function: Function,
}

/// What devlink knows of a function.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Function {
    /// `enable` or `disable`; absent where the driver has no migration.
    pub migratable: Option<String>,
}

/// Reads `ip -j -d link show dev NAME`.
///
/// # Errors
/// If it is not what iproute2 prints.
pub fn link(json: &str) -> Result<Link> {
    let all: Vec<Link> = serde_json::from_str(json).context("ip link's answer")?;
    all.into_iter().next().context("ip link shows no interface")
}

/// Reads `devlink -j port show`: the ports of the VFs of one device, with their handles, by the
/// VF's number.
///
/// # Errors
/// If it is not what devlink prints.
pub fn vf_ports(json: &str, device: &str) -> Result<BTreeMap<u32, (String, Port)>> {
    #[derive(Deserialize)]
    struct Ports {
        #[serde(default)]
        port: BTreeMap<String, Port>,
    }
    if json.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let all: Ports = serde_json::from_str(json).context("devlink port's answer")?;
    let prefix = format!("pci/{device}/");
    let ours = all
        .port
        .into_iter()
        .filter(|(handle, port)| handle.starts_with(&prefix) && port.flavour == "pcivf");
    Ok(ours
        .filter_map(|(handle, port)| Some((port.vfnum?, (handle, port))))
        .collect())
}

/// Reads `devlink -j dev info`: the versions of one device, running and fixed ones together.
///
/// # Errors
/// If it is not what devlink prints.
pub fn versions(json: &str, device: &str) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct All {
        #[serde(default)]
        info: BTreeMap<String, Info>,
    }
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        versions: BTreeMap<String, BTreeMap<String, String>>,
    }
    if json.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut all: All = serde_json::from_str(json).context("devlink dev info's answer")?;
    let info = all.info.remove(&format!("pci/{device}"));
    Ok(info
        .map(|i| i.versions.into_values().flatten().collect())
        .unwrap_or_default())
}

/// A VF in the health reporter `migration`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Health {
    /// Number.
    pub vf: u32,
    /// It is stopped to be moved, or has arrived and does not run yet.
    #[serde(default)]
    pub stopped: bool,
    /// Moves away.
    #[serde(default)]
    pub saved: u64,
    /// Moves to here.
    #[serde(default)]
    pub loaded: u64,
    /// Refused moves.
    #[serde(default)]
    pub refused: u64,
    /// Why the last one was.
    #[serde(default)]
    pub refused_because: Vec<Reason>,
}

/// A reason that the driver gave.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub struct Reason {
    /// Stable name.
    pub name: String,
    /// Text.
    #[serde(default)]
    pub reason: String,
    /// What to do.
    #[serde(default)]
    pub remedy: String,
    /// A number that belongs to it.
    #[serde(default)]
    pub detail: u32,
}

/// Reads `devlink -j health diagnose … reporter migration`.
///
/// # Errors
/// If it is not what the driver says.
pub fn health(json: &str) -> Result<Vec<Health>> {
    #[derive(Deserialize)]
    struct All {
        #[serde(rename = "VFs", default)]
        vfs: Vec<Health>,
    }
    let all: All = serde_json::from_str(json).context("devlink health's answer")?;
    Ok(all.vfs)
}

/// A field of `ethtool -i`, which has no JSON.
pub fn ethtool_field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Captured in a host of the lab: Linux 7.3.4, iproute2 6.15.
    const LINK: &str = include_str!("../samples/ip-link.json");
    const PORTS: &str = include_str!("../samples/devlink-port.json");
    const INFO: &str = include_str!("../samples/devlink-info.json");
    const HEALTH: &str = include_str!("../samples/devlink-health.json");
    const ETHTOOL: &str = include_str!("../samples/ethtool-i");

    #[test]
    fn link_of_a_pf_with_two_vfs() -> Result<()> {
        let link = link(LINK)?;
        assert_eq!(link.ifname, "eth1");
        assert_eq!(link.mtu, Some(1500));
        assert!(link.has("UP") && link.has("LOWER_UP"));
        let [a, b] = link.vfinfo_list.as_slice() else {
            panic!("two VFs, not {:?}", link.vfinfo_list);
        };
        assert_eq!(a.address.as_deref(), Some("02:00:00:00:00:a0"));
        let vlans: Vec<_> = a.vlan_list.iter().map(|v| (v.vlan, v.qos)).collect();
        assert_eq!(vlans, [(5, 1)]);
        assert_eq!(a.rate.as_ref().map(|r| r.max_tx), Some(1000));
        assert_eq!((a.trust, a.spoofchk), (Some(false), Some(true)));
        assert_eq!((b.trust, b.spoofchk), (Some(true), Some(false)));
        assert_eq!(b.link_state.as_deref(), Some("disable"));
        assert!(b.vlan_list.iter().all(|v| v.vlan == 0));
        Ok(())
    }

    #[test]
    fn ports_of_vfs_by_number() -> Result<()> {
        let ports = vf_ports(PORTS, "0000:01:00.0")?;
        let shown: Vec<_> = ports
            .iter()
            .map(|(vf, (handle, p))| (*vf, handle.as_str(), p.function.migratable.as_deref()))
            .collect();
        let want = [
            (0, "pci/0000:01:00.0/1", Some("enable")),
            (1, "pci/0000:01:00.0/2", Some("disable")),
        ];
        assert_eq!(shown, want);
        assert!(vf_ports(PORTS, "0000:02:00.0")?.is_empty());
        assert!(vf_ports("", "0000:01:00.0")?.is_empty());
        Ok(())
    }

    #[test]
    fn versions_and_health_and_ethtool() -> Result<()> {
        let v = versions(INFO, "0000:01:00.0")?;
        assert_eq!(v.get("driver.state_format").map(String::as_str), Some("1"));
        assert!(versions(INFO, "0000:05:00.0")?.is_empty());
        let h = health(HEALTH)?;
        assert_eq!(
            h.iter().map(|h| (h.vf, h.stopped)).collect::<Vec<_>>(),
            [(0, false)]
        );
        assert_eq!(
            ethtool_field(ETHTOOL, "firmware-version"),
            Some("0x800018b4")
        );
        assert_eq!(ethtool_field(ETHTOOL, "expansion-rom-version"), None);
        Ok(())
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic() {
        for text in ["", "{}", "[]", "[1]", "nonsense", "{\"port\":[]}"] {
            assert!(link(text).is_err(), "{text}");
        }
        assert!(vf_ports("{\"port\":[]}", "x").is_err());
        assert!(health("{\"VFs\":1}").is_err());
    }
}
