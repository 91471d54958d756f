// SPDX-License-Identifier: GPL-2.0
//! Kernel logs: records of `/dev/kmsg`, and what in them fails a suite.

use serde::Serialize;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Severity, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Microseconds since boot.
    pub at_us: u64,
    /// The message, without continuation fields.
    pub text: String,
}

impl Record {
    /// Reads a record in the form of `/dev/kmsg`: `prio,seq,usec,flags;text`, then lines of key=value.
    pub fn parse(raw: &str) -> Option<Self> {
        let (head, text) = raw.split_once(';')?;
        let mut fields = head.split(',');
        let prio: u32 = fields.next()?.parse().ok()?;
        let at_us = fields.nth(1)?.parse().ok()?;
        let text = text.lines().next().unwrap_or_default().to_owned();
        Some(Self {
            level: u8::try_from(prio & 7).ok()?,
            at_us,
            text,
        })
    }
}
