// SPDX-License-Identifier: GPL-2.0
//! What an operator wants of a host: from a TOML file, or from options.

use anyhow::{bail, ensure, Context, Result};
use serde::Deserialize;

use crate::describe::VFIO_DRIVER;

/// A host as it is wanted. What is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Interface or PCI address of the PF.
    pub pf: Option<String>,
    /// Number of VFs.
    pub vfs: Option<u32>,
    /// What is wanted of each VF.
    #[serde(default)]
    pub vf: Vec<WantedVf>,
}

/// State of a VF's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// As the PF's.
    Auto,
    /// Like `auto` on an 82599.
    Enable,
    /// The VF has no link.
    Disable,
}

impl LinkState {
    /// As iproute2 has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }
}

const fn yes() -> bool {
    true
}

fn driver() -> String {
    VFIO_DRIVER.into()
}

/// A VF as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedVf {
    /// Its number.
    pub number: u32,
    /// MAC address; of zeros for none.
    pub mac: Option<String>,
    /// Port VLAN, 0 for none.
    pub vlan: Option<u16>,
    /// Priority of the port VLAN.
    pub qos: Option<u8>,
    /// Trust.
    pub trust: Option<bool>,
    /// Spoof check.
    pub spoofchk: Option<bool>,
    /// Rate limit in Mb/s, 0 for none.
    pub max_tx_rate: Option<u32>,
    /// State of the link.
    pub link: Option<LinkState>,
    /// Whether it may move.
    #[serde(default = "yes")]
    pub migratable: bool,
    /// Driver: its name, `none` for no driver, `keep` to leave it to libvirt or to be as it is.
    #[serde(default = "driver")]
    pub driver: String,
}

/// A number of VFs that an 82599 has at most.
pub const MAX_VFS: u32 = 63;

impl Wanted {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// If it is none, or names what nobody knows.
    pub fn parse(text: &str) -> Result<Self> {
        let wanted: Self = toml::from_str(text)?;
        wanted.validate()?;
        Ok(wanted)
    }

    /// What can be seen to be wrong without looking at the host.
    ///
    /// # Errors
    /// Tells the first of it.
    pub fn validate(&self) -> Result<()> {
        if let Some(n) = self.vfs {
            ensure!(
                (1..=MAX_VFS).contains(&n),
                "vfs is {n}; an 82599 has 1 to {MAX_VFS}"
            );
        }
        let mut macs: Vec<String> = Vec::new();
        for (i, vf) in self.vf.iter().enumerate() {
            let n = vf.number;
            if let Some(count) = self.vfs {
                ensure!(
                    n < count,
                    "there is no VF {n}: {count} VFs are wanted, from 0 on"
                );
            }
            let before = self.vf.get(..i).unwrap_or_default();
            ensure!(
                !before.iter().any(|o| o.number == n),
                "VF {n} is named twice"
            );
            if let Some(mac) = &vf.mac {
                let bytes = mac_bytes(mac).with_context(|| format!("VF {n}"))?;
                if bytes != [0; 6] {
                    let mac = mac.to_lowercase();
                    ensure!(
                        !macs.contains(&mac),
                        "VF {n}: another VF is to have {mac} too"
                    );
                    macs.push(mac);
                }
            }
            if let Some(vlan) = vf.vlan {
                ensure!(vlan <= 4094, "VF {n}: vlan is {vlan}, the largest is 4094");
            }
            if let Some(qos) = vf.qos {
                ensure!(qos <= 7, "VF {n}: qos is {qos}, the largest is 7");
                ensure!(vf.vlan.is_some(), "VF {n}: qos goes with vlan, name it too");
                ensure!(
                    qos == 0 || vf.vlan != Some(0),
                    "VF {n}: qos without a port VLAN"
                );
            }
            if let Some(rate) = vf.max_tx_rate {
                ensure!(
                    rate == 0 || (11..=10_000).contains(&rate),
                    "VF {n}: max_tx_rate is {rate}; it is 0 for none, or 11 to 10000 Mb/s"
                );
            }
            let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            ensure!(
                !vf.driver.is_empty() && vf.driver.chars().all(known),
                "VF {n}: {:?} is no name of a driver",
                vf.driver
            );
        }
        Ok(())
    }
}

/// Bytes of a MAC address; it must not be a multicast one.
fn mac_bytes(mac: &str) -> Result<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = mac.split(':');
    for b in &mut bytes {
        let part = parts.next().unwrap_or_default();
        // from_str_radix() takes a sign.
        ensure!(
            part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit()),
            "{mac} is no MAC address, as 02:00:00:00:00:a0"
        );
        *b = u8::from_str_radix(part, 16).with_context(|| format!("{mac} is no MAC address"))?;
    }
    ensure!(
        parts.next().is_none(),
        "{mac} is no MAC address, it is too long"
    );
    ensure!(
        bytes.first().is_some_and(|b| b & 1 == 0),
        "{mac} is a multicast address"
    );
    Ok(bytes)
}

/// Reads `N,key=value,…`, the form of `--vf`. The keys are those of the TOML file.
///
/// # Errors
/// If it has another form.
pub fn vf_from_option(text: &str) -> Result<WantedVf> {
    let mut parts = text.split(',');
    let number = parts.next().unwrap_or_default();
    let number: u32 = number
        .parse()
        .with_context(|| format!("{number:?} is no number of a VF"))?;
    let mut toml = format!("number = {number}\n");
    for part in parts {
        let (key, value) = part
            .split_once('=')
            .with_context(|| format!("{part:?} is not of the form key=value"))?;
        let value = match (key, value) {
            ("trust" | "spoofchk" | "migratable", "on") => "true".to_owned(),
            ("trust" | "spoofchk" | "migratable", "off") => "false".to_owned(),
            ("trust" | "spoofchk" | "migratable", _) => bail!("{key} is on or off"),
            ("mac" | "link" | "driver", text) => toml::Value::from(text).to_string(),
            (_, number) if number.chars().all(|c| c.is_ascii_digit()) => number.to_owned(),
            _ => bail!("{key}={value}: a number is wanted, or {key} is not known"),
        };
        toml.push_str(&format!("{key} = {value}\n"));
    }
    toml::from_str(&toml).map_err(|e| anyhow::anyhow!("{text}: {}", e.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file() -> Result<()> {
        let text = r#"
            pf = "eth1"
            vfs = 2
            [[vf]]
            number = 0
            mac = "02:00:00:00:00:a0"
            vlan = 5
            qos = 1
            trust = false
            link = "auto"
            [[vf]]
            number = 1
            migratable = false
            driver = "none"
        "#;
        let w = Wanted::parse(text)?;
        assert_eq!((w.pf.as_deref(), w.vfs), (Some("eth1"), Some(2)));
        let [a, b] = w.vf.as_slice() else {
            panic!("{w:?}");
        };
        assert!(a.migratable && a.driver == VFIO_DRIVER && a.link == Some(LinkState::Auto));
        assert!(!b.migratable && b.driver == "none");
        Ok(())
    }

    #[test]
    fn an_option_is_the_same() -> Result<()> {
        let vf = vf_from_option("0,mac=02:00:00:00:00:a0,vlan=5,qos=1,trust=off,link=auto")?;
        let text = "[[vf]]\nnumber=0\nmac='02:00:00:00:00:a0'\nvlan=5\nqos=1\ntrust=false\n\
                    link='auto'";
        assert_eq!(Wanted::parse(text)?.vf, [vf]);
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, why) in [
            ("vfs = 64", "1 to 63"),
            ("vfs = 0", "1 to 63"),
            ("vfs = 1\n[[vf]]\nnumber = 1", "no VF 1"),
            ("[[vf]]\nnumber = 1\n[[vf]]\nnumber = 1", "twice"),
            ("[[vf]]\nnumber = 0\nmac = '01:00:5e:00:00:01'", "multicast"),
            ("[[vf]]\nnumber = 0\nmac = '02:00'", "no MAC address"),
            (
                "[[vf]]\nnumber = 0\nmac = '02:00:00:00:00:00:00'",
                "too long",
            ),
            ("[[vf]]\nnumber = 0\nmac = '+2:00:00:00:00:00'", "no MAC"),
            ("[[vf]]\nnumber = 0\nvlan = 4095", "4094"),
            ("[[vf]]\nnumber = 0\nvlan = 4\nqos = 8", "largest is 7"),
            ("[[vf]]\nnumber = 0\nqos = 3", "goes with vlan"),
            ("[[vf]]\nnumber = 0\nmax_tx_rate = 10", "11 to 10000"),
            ("[[vf]]\nnumber = 0\nlink = 'up'", "unknown variant"),
            ("[[vf]]\nnumber = 0\nspeed = 3", "unknown field"),
            ("[[vf]]\nnumber = 0\ndriver = '../x'", "no name of a driver"),
            ("[[vf]]\nmac = '02:00:00:00:00:01'", "missing field"),
            (
                "[[vf]]\nnumber=0\nmac='02:00:00:00:00:0A'\n[[vf]]\nnumber=1\n\
                 mac='02:00:00:00:00:0a'",
                "another VF",
            ),
        ] {
            match Wanted::parse(text) {
                Ok(w) => panic!("accepted: {text}: {w:?}"),
                Err(e) => assert!(format!("{e:#}").contains(why), "{text}: {e:#}"),
            }
        }
        for text in [
            "",
            "x",
            "0,mac",
            "0,vlan=x",
            "0,trust=yes",
            "0,speed=4",
            "0,link=up",
        ] {
            assert!(vf_from_option(text).is_err(), "{text}");
        }
    }
}
