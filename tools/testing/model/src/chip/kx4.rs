// SPDX-License-Identifier: GPL-2.0
//! 82599 KX4: a backplane of 10 Gb/s without auto-negotiation.

use super::Traits;

pub(super) const TRAITS: Traits = Traits {
    device_id: 0x10F7,
    vf_device_id: 0x10ED,
    cage: false,
    x540: false,
    x550: false,
    registers: &[],
    eeprom: &[],
};
