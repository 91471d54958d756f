// SPDX-License-Identifier: GPL-2.0
//! What a message of a VF costs the host: instructions of its kernel.
//!
//! Whether a VF that floods its mailbox slows the others is a matter of the time that the PF driver takes from them. Time cannot
//! be had to a few percent on a machine with other work; instructions can, and the moderation of the interrupt says how
//! many messages a second there can be.

use anyhow::{ensure, Context, Result};
use serde::Serialize;

use super::bed::{Bed, Interface, Sample};

/// Messages of the two runs whose difference counts: what starts the program that sends them is in both.
const MESSAGES: (u64, u64) = (100, 1100);

/// Cost of a message, with the interrupt that announces it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Message {
    /// Instructions of the kernel with its modules.
    pub(super) instructions: f64,
    /// Those of them in the PF driver.
    pub(super) in_driver: f64,
}

impl Message {
    /// Measures messages of all kinds, most of them refused, from user space through the registers of a VF, whose driver
    /// has to go for it.
    pub(super) fn of(bed: &mut Bed, vf: &Interface) -> Result<Self> {
        let link = format!("readlink -f /sys/class/net/{}/device", vf.name);
        let device = bed.sh(&link)?.trim().to_owned();
        bed.sh(&format!(
            "basename {device} >{device}/driver/unbind; echo 1 >{device}/enable"
        ))?;
        let mut run = |count: u64| -> Result<Sample> {
            let script = script(&device, count);
            let send = |bed: &mut Bed| {
                let answered: u64 = bed.sh(&script)?.trim().parse().context("no count")?;
                ensure!(answered == count, "{answered} of {count} answered");
                Ok(count)
            };
            Ok(bed.counted(1, send)?.0)
        };
        let few = run(MESSAGES.0)?;
        let cost = run(MESSAGES.1)?.less(&few);
        let per_message = |n: u64| n as f64 / cost.frames as f64;
        Ok(Self {
            instructions: per_message(cost.kernel),
            in_driver: per_message(cost.driver),
        })
    }
}

/// A program that sends messages, see there.
const PROGRAM: &str = include_str!("mailbox.py");

fn script(device: &str, count: u64) -> String {
    format!("python3 - {device} {count} <<'END'\n{PROGRAM}END")
}
