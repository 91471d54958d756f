// SPDX-License-Identifier: GPL-2.0
//! `ixgbe-migrate`: what operators of hosts do for the live migration of VMs with a VF of an Intel
//! 82599. It prepares a host and puts it back, shows it, describes it as data, compares two hosts
//! before a VM is touched, and follows a move. See `Documentation/admin-guide/ixgbe-migrate.rst`.
//!
//! # Why the JSON of iproute2, and no netlink crate
//! There are good crates for rtnetlink (`netlink-packet-route`), and none for devlink, of which
//! this tool needs ports, info and health. Half of it would go through iproute2 in any case. Its
//! JSON is stable, the guide asks for iproute2 already, and what the tool does can then be read
//! and repeated by hand: each change is a command of the guide. sysfs, debugfs and /proc are read
//! as files.
//!
//! # Parts
//! [`host`] is the machine, or a test's. [`describe`] collects a [`description`]; [`check`]
//! compares two. [`prepare`] compares a [`wanted`] host with its description, and the difference
//! is a list of [`setting`]s, which a [`record`] keeps for `release`.

pub mod check;
pub mod cli;
pub mod describe;
pub mod description;
pub mod host;
pub mod iproute;
pub mod mismatch;
pub mod prepare;
pub mod record;
pub mod setting;
pub mod status;
pub mod users;
pub mod wanted;
pub mod watch;

#[cfg(test)]
mod fake;
