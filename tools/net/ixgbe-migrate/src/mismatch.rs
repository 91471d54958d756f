// SPDX-License-Identifier: GPL-2.0
//! What stands in the way of a move. Names, texts and remedies of what the drivers refuse are
//! theirs ([`Refusal`], [`Note`]); the rest is what only a look at both hosts shows.

use libixgbe::migration::{Note, Refusal};
use serde::Serialize;

/// What becomes of the move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does not work.
    Refused,
    /// It is refused if the guest uses what its new host does not allow. Only the guest knows.
    Depends,
    /// It works, with a setting that differs.
    Note,
}

/// The host on which something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where the VM is.
    Source,
    /// Where it goes.
    Destination,
}

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Name that stays the same, for programs.
    pub name: &'static str,
    /// What becomes of the move.
    pub severity: Severity,
    /// Where to mend it.
    pub side: Side,
    /// One line for people.
    pub text: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// What the source has.
    pub source: String,
    /// What the destination has.
    pub destination: String,
}

/// What the drivers do not see, or see too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// The PF has another driver than this project's.
    PfDriver,
    /// There is no such VF.
    NoVf,
    /// The VF has a user already.
    VfInUse,
    /// devlink's `migratable` is off.
    Migratable,
    /// It was off when the driver was bound.
    BoundTooEarly,
    /// The VF has another driver than the variant driver.
    VfDriver,
    /// No IOMMU.
    Iommu,
}

impl Own {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::PfDriver,
        Self::NoVf,
        Self::VfInUse,
        Self::Migratable,
        Self::BoundTooEarly,
        Self::VfDriver,
        Self::Iommu,
    ];

    /// Name, text and remedy.
    pub const fn tell(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::PfDriver => (
                "pf-driver",
                "the PF's driver cannot move VFs",
                "bind the PF to ixgbe_rust (driver_override, or a rule in /etc/modprobe.d)",
            ),
            Self::NoVf => (
                "no-vf",
                "there is no such VF",
                "ixgbe-migrate prepare --vfs N, with N above the VF's number",
            ),
            Self::VfInUse => (
                "vf-in-use",
                "the VF has a user already",
                "choose another VF (--vf N:M), or end the VM that has it",
            ),
            Self::Migratable => (
                "migratable",
                "the VF is not migratable",
                "ixgbe-migrate prepare, or devlink port function set ... migratable enable, then \
                 bind the VF's driver again",
            ),
            Self::BoundTooEarly => (
                "bound-too-early",
                "the VF was not migratable when its driver was bound",
                "shut the VM down, then ixgbe-migrate prepare binds the driver again",
            ),
            Self::VfDriver => (
                "vf-driver",
                "the VF does not have the driver ixgbe_vfio_pci",
                "ixgbe-migrate prepare; where libvirt binds the driver (managed='yes'), give \
                 check the option --managed",
            ),
            Self::Iommu => (
                "iommu",
                "the IOMMU is off",
                "intel_iommu=on on the kernel's command line, and VT-d on in the firmware",
            ),
        }
    }
}

impl Mismatch {
    /// One that the drivers name.
    pub fn refusal(
        refusal: Refusal,
        severity: Severity,
        side: Side,
        source: impl ToString,
        destination: impl ToString,
    ) -> Self {
        Self {
            name: refusal.name(),
            severity,
            side,
            text: refusal.reason(),
            remedy: refusal.remedy(),
            source: source.to_string(),
            destination: destination.to_string(),
        }
    }

    /// One that the drivers tell of in their log.
    pub fn note(note: Note, source: impl ToString, destination: impl ToString) -> Self {
        Self {
            name: note.name(),
            severity: Severity::Note,
            side: Side::Destination,
            text: note.text(),
            remedy: match note {
                Note::TxRate(_) => "ip link set ... vf N max_tx_rate R, as on the source",
                Note::SpoofCheck => "ip link set ... vf N spoofchk off, as on the source",
            },
            source: source.to_string(),
            destination: destination.to_string(),
        }
    }

    /// One of the tool's own.
    pub fn own(own: Own, side: Side, source: impl ToString, destination: impl ToString) -> Self {
        let (name, text, remedy) = own.tell();
        Self {
            name,
            severity: Severity::Refused,
            side,
            text,
            remedy,
            source: source.to_string(),
            destination: destination.to_string(),
        }
    }
}
