// SPDX-License-Identifier: GPL-2.0
//! Which chips of the family a host's cards have.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Deserialize;

/// A chip that the model knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Chip {
    /// 82599 on a backplane.
    #[default]
    Kx4,
    /// 82599 with a cage for an SFP+ module.
    Sfp,
    /// X540 with two ports.
    X540,
    /// X540 with one port.
    #[value(name = "x540-at1")]
    X540At1,
    /// X550 with two ports.
    X550,
    /// X550 with one port.
    #[value(name = "x550-at1")]
    X550At1,
}

impl Chip {
    /// Its name, as in the property `chip`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kx4 => "kx4",
            Self::Sfp => "sfp",
            Self::X540 => "x540",
            Self::X540At1 => "x540-at1",
            Self::X550 => "x550",
            Self::X550At1 => "x550-at1",
        }
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Kx4 => "82599",
            Self::Sfp => "82599 SFP+",
            Self::X540 => "X540",
            Self::X540At1 => "X540-AT1",
            Self::X550 => "X550",
            Self::X550At1 => "X550-AT1",
        }
    }
}

/// The chips of a host's cards: `x540` is that of all, with `kx4+x540` the second and later ones have the other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Chips(Vec<Chip>);

impl Chips {
    /// That of a card, counted from 0.
    pub fn of(&self, card: u8) -> Chip {
        let own = self.0.get(usize::from(card)).or(self.0.last());
        own.copied().unwrap_or_default()
    }
}

impl Default for Chips {
    fn default() -> Self {
        Chip::default().into()
    }
}

impl From<Chip> for Chips {
    fn from(chip: Chip) -> Self {
        Self(vec![chip])
    }
}

impl FromStr for Chips {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split('+')
            .map(|name| Chip::from_str(name, false))
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|e| format!("{text}: {e}"))
    }
}

impl TryFrom<String> for Chips {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Chips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|chip| chip.name()).collect();
        f.write_str(&names.join("+"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_card_has_its_chip() -> Result<(), String> {
        for (text, cards) in [
            ("kx4", [Chip::Kx4, Chip::Kx4, Chip::Kx4]),
            ("kx4+x540", [Chip::Kx4, Chip::X540, Chip::X540]),
            ("x540+sfp+kx4", [Chip::X540, Chip::Sfp, Chip::Kx4]),
        ] {
            let chips: Chips = text.parse()?;
            assert_eq!(chips.to_string(), text);
            assert_eq!([0, 1, 2].map(|card| chips.of(card)), cards);
        }
        for wrong in ["", "x560", "kx4+", "+", "kx4,x540"] {
            assert!(wrong.parse::<Chips>().is_err(), "{wrong}");
        }
        // Clap and the model know them by the same names.
        for chip in Chip::value_variants() {
            assert_eq!(Chips::from(*chip), chip.name().parse()?);
        }
        Ok(())
    }
}
