// SPDX-License-Identifier: GPL-2.0
//! Intel 82599, X540 and X550 virtual function driver.
//!
//! The guest's side of an SR-IOV network card: two queue pairs, a mailbox to the driver of the
//! physical function, and the guest's half of live migration. It does what
//! `drivers/net/ethernet/intel/ixgbevf` does in C, in files of the same nouns; what the hardware
//! wants is in `libixgbe`, what the kernel wants in `nic`.
//!
//! | file | C |
//! |---|---|
//! | `adapter` | `struct ixgbevf_adapter`, `ixgbevf_sw_init` |
//! | `ethtool` | `ixgbevf_ethtool_ops` |
//! | `netdev` | `ixgbevf_netdev_ops` |
//! | `updown` | `ixgbevf_up`, `ixgbevf_down`, `ixgbevf_reinit_locked`, `ixgbevf_xdp_setup` |
//! | `service` | `ixgbevf_service_task` and its subtasks |
//! | `rx`, `tx` | `ixgbevf_clean_rx_irq`, `ixgbevf_xmit_frame_ring` |
//! | `vector`, `poll` | `ixgbevf_poll` |
//! | `xdp` | `ixgbevf_run_xdp` |
//! | `hw` | `ixgbevf_read_reg` |
//! | `vlans` | `active_vlans` |
//! | `migration`, `marking` | none |
#![deny(unsafe_code)]

mod adapter;
mod ethtool;
mod hw;
mod marking;
mod migration;
mod netdev;
mod pci;
mod poll;
mod rx;
mod service;
mod stats;
mod tx;
mod updown;
mod vector;
mod vlans;
mod xdp;

nic::module_pci_driver! {
    type: pci::Ixgbevf,
    name: "ixgbevf_rust",
    authors: ["ixgbe live migration project"],
    description: "Intel(R) 10 Gigabit Virtual Function Network Driver",
    license: "GPL v2",
}
