// SPDX-License-Identifier: GPL-2.0
//! What a card may do and the model does not do by itself, because no public source says so for sure or because it would
//! hide another fault. Each is switched on by name: `quirks=` of the QEMU device, [`crate::Config`] in host tests.
//!
//! `Documentation/networking/device_drivers/ethernet/intel/82599-model.rst` has the source of each.

use std::str::FromStr;

use crate::QUEUES;

/// What becomes of a frame whose PAYLEN is below [`LEAST_PAYLEN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShortPaylen {
    /// It is sent.
    #[default]
    Send,
    /// It is dropped and counted as malformed.
    Drop,
    /// The queue stops as one that misbehaves, until WQBR is cleared or the function is reset.
    Hang,
}

/// The least PAYLEN (K: `ixgbevf_main.c`, "The minimum packet size for olinfo paylen is 17").
pub(crate) const LEAST_PAYLEN: u32 = 17;

/// All of them; the default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// `batch`: descriptors are written back when WTHRESH of them wait, when EITR's interval ends, or by SWFLSH. Those that
    /// wait when the queue is disabled never are.
    pub batch: bool,
    /// `rx-batch=N`: `batch`, and receive queues as if RXDCTL.WTHRESH held N.
    pub rx_batch: u32,
    /// `tx-sticks=Q`: Tx queues, one bit each, whose ENABLE cannot be cleared.
    pub tx_sticks: u128,
    /// `rx-sticks=Q`: Rx queues likewise.
    pub rx_sticks: u128,
    /// `start-needs-link`: ENABLE reads 0 while there is no link.
    pub start_needs_link: bool,
    /// `stop-needs-link`: ENABLE that was cleared without a link reads 1 until there is one.
    pub stop_needs_link: bool,
    /// `enable-zeroes-head`: enabling a queue makes its head 0, whatever it was.
    pub enable_zeroes_head: bool,
    /// `fetch-ahead=N`: TDH counts descriptors that were fetched, up to N ahead of those that were sent. What was fetched is
    /// sent before ENABLE reads 0.
    pub fetch_ahead: u32,
    /// `lose-contexts`: disabling a Tx queue loses its context slots.
    pub lose_contexts: bool,
    /// `switch-obeys-maxfrs`: the internal switch drops frames that the MAC would not take.
    pub switch_obeys_maxfrs: bool,
    /// `short-paylen=drop|hang`.
    pub short_paylen: ShortPaylen,
    /// `firmware-error`: FWSM has error bits set.
    pub firmware_error: bool,
    /// `stray-mdd`: after each reset, the first frame of the PF raises the event of a misbehaving queue, which names the
    /// PF's own queue.
    pub stray_mdd: bool,
    /// `any-sfp`: the EEPROM allows modules of any vendor.
    pub any_sfp: bool,
    /// `no-sfp-init`: the EEPROM has no list of module types.
    pub no_sfp_init: bool,
}

impl Quirks {
    /// Whether clearing ENABLE of a queue has no effect.
    pub(crate) fn sticks(&self, transmit: bool, queue: u8) -> bool {
        let queues = if transmit {
            self.tx_sticks
        } else {
            self.rx_sticks
        };
        queues >> (queue & 127) & 1 == 1
    }
}

impl FromStr for Quirks {
    type Err = String;

    /// Names with colons between them, as in `batch:tx-sticks=4`; commas are QEMU's.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut quirks = Self::default();
        for item in text.split(':').filter(|item| !item.is_empty()) {
            let unknown = || format!("unknown quirk {item:?}");
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            let number = || value.parse::<u32>().map_err(|_| unknown());
            let queue = || match number()? {
                queue if queue < u32::from(QUEUES) => Ok(1u128 << queue),
                _ => Err(unknown()),
            };
            match name {
                "rx-batch" => {
                    quirks.batch = true;
                    quirks.rx_batch = number()?;
                }
                "tx-sticks" => quirks.tx_sticks |= queue()?,
                "rx-sticks" => quirks.rx_sticks |= queue()?,
                "fetch-ahead" => quirks.fetch_ahead = number()?,
                "short-paylen" => {
                    quirks.short_paylen = match value {
                        "drop" => ShortPaylen::Drop,
                        "hang" => ShortPaylen::Hang,
                        _ => return Err(unknown()),
                    }
                }
                _ if !value.is_empty() => return Err(unknown()),
                "batch" => quirks.batch = true,
                "start-needs-link" => quirks.start_needs_link = true,
                "stop-needs-link" => quirks.stop_needs_link = true,
                "enable-zeroes-head" => quirks.enable_zeroes_head = true,
                "lose-contexts" => quirks.lose_contexts = true,
                "switch-obeys-maxfrs" => quirks.switch_obeys_maxfrs = true,
                "firmware-error" => quirks.firmware_error = true,
                "stray-mdd" => quirks.stray_mdd = true,
                "any-sfp" => quirks.any_sfp = true,
                "no-sfp-init" => quirks.no_sfp_init = true,
                _ => return Err(unknown()),
            }
        }
        Ok(quirks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!("".parse(), Ok(Quirks::default()));
        let quirks: Quirks = "rx-batch=4:tx-sticks=2:tx-sticks=127:short-paylen=hang"
            .parse()
            .unwrap();
        assert_eq!(
            quirks,
            Quirks {
                batch: true,
                rx_batch: 4,
                tx_sticks: 1 << 2 | 1 << 127,
                short_paylen: ShortPaylen::Hang,
                ..Quirks::default()
            }
        );
        for wrong in [
            "Batch",
            "batch=1",
            "tx-sticks=128",
            "tx-sticks",
            "short-paylen=x",
        ] {
            assert!(wrong.parse::<Quirks>().is_err(), "{wrong}");
        }
    }
}
