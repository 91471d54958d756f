// SPDX-License-Identifier: GPL-2.0
//! Copper PHYs: looked for at probe, woken up and told what to negotiate when the interface is
//! opened. What is done with them is in [`libixgbe::phy`].

use crate::{
    ixgbe_common::Hw,
    Adapter, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};
use libixgbe::{
    board::Board,
    link::Media,
    phy::Phy, //
};
use nic::net;

/// Frees semaphores that a driver before this one may have left, and looks for the PHY of a board
/// that has one.
pub(crate) fn probe(pdev: &pci::Device<Bound>, hw: &Hw, board: Board) -> Result<Media> {
    board.chip().init_semaphores(hw);
    board.media(hw).map_err(|e| {
        dev_err!(pdev, "The PHY cannot be used: {:?}\n", e);
        EIO
    })
}

/// Wakes the PHY up, and has it negotiate for these speeds or all.
pub(crate) fn up(dev: &net::Device<Adapter>, phy: &Phy, advertised: u32) {
    let hw = &dev.data().hw;
    let result = phy
        .set_power(hw, true)
        .and_then(|()| phy.setup_link(hw, advertised));
    if let Err(e) = result {
        dev_err!(dev.parent(), "link_config FAILED {:?}\n", e);
    }
}

/// Lets it rest without a link while the interface is closed.
pub(crate) fn rest(dev: &net::Device<Adapter>, phy: &Phy) {
    if let Err(e) = phy.set_power(&dev.data().hw, false) {
        dev_warn!(dev.parent(), "The PHY stays on: {:?}\n", e);
    }
}
