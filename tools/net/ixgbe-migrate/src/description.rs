// SPDX-License-Identifier: GPL-2.0
//! A host as data: what `describe` prints and `check` compares. A field that could not be seen is
//! null, and [`Description::unknown`] says why.

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};

use crate::users::User;

/// Version of this form. It grows when a field changes its meaning or goes; a new field alone does
/// not change it.
pub const VERSION: u32 = 1;

/// A host with one PF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// [`VERSION`]
    pub version: u32,
    /// Name of the host.
    pub host: Option<String>,
    /// Release of its kernel.
    pub kernel: Option<String>,
    /// Whether the PF is behind an IOMMU that is switched on.
    pub iommu: bool,
    /// The PF.
    pub pf: Pf,
    /// Its VFs.
    pub vfs: Vec<Vf>,
    /// What could not be seen.
    pub unknown: Vec<Unknown>,
}

/// Something that could not be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Name of the field.
    pub what: String,
    /// Why.
    pub why: String,
}

/// An 82599 does not mix functions with frames of an MTU above 1500 and of up to 1500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MtuClass {
    /// Up to 1500.
    Standard,
    /// More.
    Jumbo,
}

/// A PF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pf {
    /// Name of its interface.
    pub interface: String,
    /// PCI address.
    pub address: String,
    /// PCI ids, `vendor:device` in hexadecimal.
    pub id: Option<String>,
    /// Driver.
    pub driver: Option<String>,
    /// Its version, as ethtool shows it.
    pub driver_version: Option<String>,
    /// Version of the firmware.
    pub firmware: Option<String>,
    /// Version of the state that its driver saves and loads; null if it cannot move VFs.
    pub state_format: Option<u32>,
    /// Features that its driver grants VFs by the mailbox.
    pub mailbox_features: Option<u32>,
    /// MAC address.
    pub mac: Option<String>,
    /// MTU.
    pub mtu: Option<u32>,
    /// Class of the MTU.
    pub mtu_class: Option<MtuClass>,
    /// The interface is up.
    pub up: bool,
    /// It has a link.
    pub link: bool,
    /// Speed of the link in Mb/s.
    pub speed: Option<u32>,
    /// VFs that there are.
    pub vf_count: u32,
    /// VFs that there can be.
    pub vf_max: u32,
    /// The host loads a driver for new VFs.
    pub autoprobe: bool,
    /// Queues of each VF; null without VFs.
    pub queues_per_pool: Option<u32>,
}

/// A VF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vf {
    /// Number.
    pub number: u32,
    /// PCI address.
    pub address: String,
    /// PCI ids.
    pub id: Option<String>,
    /// MAC address; null if it has none.
    pub mac: Option<String>,
    /// Port VLAN, 0 for none.
    pub vlan: u16,
    /// Its priority.
    pub qos: u8,
    /// The guest may do what takes trust.
    pub trust: Option<bool>,
    /// Addresses that it sends from are checked.
    pub spoofchk: Option<bool>,
    /// Limit of what it sends in Mb/s, 0 for none.
    pub max_tx_rate: Option<u32>,
    /// `auto`, `enable` or `disable`.
    pub link_state: Option<String>,
    /// devlink's `migratable`; null if the PF's driver has none.
    pub migratable: Option<bool>,
    /// Driver that it is bound to.
    pub driver: Option<String>,
    /// Driver that it must be bound to.
    pub driver_override: Option<String>,
    /// Whether it was migratable when its driver was bound; null without that driver.
    pub bound_migratable: Option<bool>,
    /// Its IOMMU group.
    pub iommu_group: Option<String>,
    /// Processes that have it; null if not all of them could be seen.
    pub users: Option<Vec<User>>,
}

impl Description {
    /// Reads what `describe` has printed.
    ///
    /// # Errors
    /// If it is something else, or of another version.
    pub fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head =
            serde_json::from_str(text).context("this is not what describe --json prints")?;
        if head.version != VERSION {
            bail!(
                "this is a description of version {}, and this tool knows version {VERSION}: \
                 use the same version of ixgbe-migrate on both hosts",
                head.version
            );
        }
        serde_json::from_str(text).context("this is not what describe --json prints")
    }

    /// A VF by its number.
    pub fn vf(&self, number: u32) -> Option<&Vf> {
        self.vfs.iter().find(|vf| vf.number == number)
    }
}
