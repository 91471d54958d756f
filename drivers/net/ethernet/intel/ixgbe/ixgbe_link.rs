// SPDX-License-Identifier: GPL-2.0
//! Settings of the link and the module behind it, as `ethtool` shows and changes them.

use crate::{
    Adapter,
    State,
    EVENT_CONFIGURE, //
};
use kernel::prelude::*;
use libixgbe::{
    board::Board,
    link::{
        self,
        Capabilities,
        Pause,
        SPEED_100_FULL,
        SPEED_10GB_FULL,
        SPEED_1GB_FULL,
        SPEED_2_5GB_FULL,
        SPEED_5GB_FULL, //
    },
    phy::NBASE_T,
    regs::AUTOC,
    sfp::{
        Found,
        Kind,
        SFF_8079_LEN, //
    },
    Regs, //
};
use nic::net::{
    ethtool::{
        LinkModes,
        LinkSettings,
        ModuleEeprom,
        Port, //
    },
    Device, //
};

/// Bytes of a module's EEPROM that are read at once.
const CHUNK: usize = 16;

/// Modes of these speeds (`ixgbe_set_supported_10gtypes`). Without a backplane the C driver says
/// twisted pair.
fn modes(board: Board, speeds: u32) -> LinkModes {
    let (ten, one) = match board {
        Board::Kx4 => (LinkModes::KX4_10000_FULL, LinkModes::KX1000_FULL),
        Board::Kr => (LinkModes::KR10000_FULL, LinkModes::KX1000_FULL),
        Board::Cx4 => (LinkModes::T10000_FULL, LinkModes::KX1000_FULL),
        Board::Sfp | Board::X540 | Board::X550 => (LinkModes::T10000_FULL, LinkModes::T1000_FULL),
        Board::Backplane => (
            LinkModes::KX4_10000_FULL.union(LinkModes::KR10000_FULL),
            LinkModes::KX1000_FULL,
        ),
    };
    let mut modes = LinkModes::empty();
    if speeds & SPEED_10GB_FULL != 0 {
        modes = modes.union(ten);
    }
    if speeds & SPEED_1GB_FULL != 0 {
        modes = modes.union(one);
    }
    if speeds & SPEED_100_FULL != 0 && matches!(board, Board::X540 | Board::X550) {
        modes = modes.union(LinkModes::T100_FULL);
    }
    for (speed, mode) in [
        (SPEED_5GB_FULL, LinkModes::T5000_FULL),
        (SPEED_2_5GB_FULL, LinkModes::T2500_FULL),
    ] {
        if speeds & speed != 0 {
            modes = modes.union(mode);
        }
    }
    modes
}

/// What the link can do, and what it is plugged into.
fn capabilities(a: &Adapter, state: &State) -> Result<(Capabilities, Port)> {
    if let Some(phy) = state.fc.phy() {
        return Ok((phy.capabilities(), Port::Tp));
    }
    let orig = state.mac.orig_autoc;
    let autoc = orig.unwrap_or_else(|| a.hw.read32(AUTOC));
    if !a.board.has_cage() {
        // Without a PHY nothing is known of what is plugged in, which the C driver reports as
        // other.
        let can = link::capabilities(autoc).map_err(|_| EIO)?;
        return Ok((can, Port::Other));
    }
    let can = state.cage.capabilities(autoc).map_err(|_| EIO)?;
    let port = match state.cage.found() {
        Found::Empty => Port::None,
        Found::Unknown | Found::Refused(_) => Port::Other,
        Found::Module(module) => match module.kind {
            Kind::PassiveCable => Port::Da,
            Kind::T1000 => Port::Tp,
            Kind::ActiveCable | Kind::Other => Port::Other,
            Kind::SrLr | Kind::Sx1000 | Kind::Lx1000 | Kind::Bx1000 | Kind::Bx10G => Port::Fibre,
        },
    };
    Ok((can, port))
}

/// What `ethtool` shows of the link.
pub(crate) fn settings(dev: &Device<Adapter>) -> Result<LinkSettings> {
    let a = dev.data();
    let state = a.state.lock();
    let (can, port) = capabilities(a, &state)?;
    let mut supported = modes(a.board, can.speeds);
    let mut advertising = match state.advertised & can.speeds {
        // What a PHY offers by itself.
        0 => modes(a.board, can.speeds & !NBASE_T),
        speeds => modes(a.board, speeds),
    };
    if can.autoneg {
        supported = supported.union(LinkModes::AUTONEG);
        advertising = advertising.union(LinkModes::AUTONEG);
    }
    let medium = if port == Port::Tp {
        LinkModes::TP
    } else {
        LinkModes::FIBRE
    };
    supported = supported.union(medium).union(LinkModes::PAUSE);
    advertising = advertising.union(medium);
    let pause = match state.fc.requested {
        Pause { rx: true, tx: true } => LinkModes::PAUSE,
        Pause {
            rx: true,
            tx: false,
        } => LinkModes::PAUSE.union(LinkModes::ASYM_PAUSE),
        Pause {
            rx: false,
            tx: true,
        } => LinkModes::ASYM_PAUSE,
        Pause {
            rx: false,
            tx: false,
        } => LinkModes::empty(),
    };
    let up = dev.carrier_ok();
    Ok(LinkSettings {
        speed: up.then(|| state.link.mbps()),
        full_duplex: up.then_some(true),
        port,
        autoneg: can.autoneg,
        supported,
        advertising: advertising.union(pause),
    })
}

/// Changes what is advertised, where a module has a choice (`ixgbe_set_link_ksettings`).
pub(crate) fn set_settings(dev: &Device<Adapter>, s: &LinkSettings) -> Result {
    let a = dev.data();
    let state = &mut *a.state.lock();
    let phy = state.fc.phy();
    if phy.is_none() && !state.cage.found().is_multispeed() {
        // There is no choice: only what is in force already is accepted.
        let same = !s.autoneg
            && s.advertising.contains(LinkModes::T10000_FULL)
            && s.speed == Some(10_000)
            && s.full_duplex == Some(true);
        return if same { Ok(()) } else { Err(EINVAL) };
    }
    let (ten, one) = (LinkModes::T10000_FULL, LinkModes::T1000_FULL);
    let hundred = LinkModes::T100_FULL;
    let (can, port) = capabilities(a, state)?;
    let medium = if port == Port::Tp {
        LinkModes::TP
    } else {
        LinkModes::FIBRE
    };
    let extra = LinkModes::AUTONEG
        .union(medium)
        .union(LinkModes::PAUSE)
        .union(LinkModes::ASYM_PAUSE);
    let offered = modes(a.board, can.speeds).union(extra);
    let wanted = (s.advertising.contains(ten), s.advertising.contains(one));
    // Fibre negotiates by software alone, and only if it may.
    let two = phy.is_none() && !s.autoneg && wanted == (true, true);
    if !offered.contains(s.advertising) || two {
        return Err(EINVAL);
    }
    let speed = |on: bool, speed| if on { speed } else { 0 };
    let new = speed(wanted.0, SPEED_10GB_FULL)
        | speed(
            s.advertising.contains(LinkModes::T5000_FULL),
            SPEED_5GB_FULL,
        )
        | speed(
            s.advertising.contains(LinkModes::T2500_FULL),
            SPEED_2_5GB_FULL,
        )
        | speed(wanted.1, SPEED_1GB_FULL)
        | speed(s.advertising.contains(hundred), SPEED_100_FULL);
    if new == 0 {
        return Err(EINVAL);
    }
    if let Some(phy) = phy {
        if new == state.advertised {
            return Ok(());
        }
        phy.setup_link(&a.hw, new).map_err(|_| EIO)?;
        state.advertised = new;
        return Ok(());
    }
    state.advertised = new;
    Adapter::raise(dev, EVENT_CONFIGURE);
    Ok(())
}

/// What kind of EEPROM the module has (`ixgbe_get_module_info`).
pub(crate) fn module_eeprom_len(dev: &Device<Adapter>) -> Result<ModuleEeprom> {
    let a = dev.data();
    if !a.board.has_cage() {
        return Err(EOPNOTSUPP);
    }
    let len = a.cage.lock().port.eeprom_len(&a.hw).map_err(|_| EIO)?;
    Ok(if len == SFF_8079_LEN {
        ModuleEeprom::Sff8079
    } else {
        ModuleEeprom::Sff8472
    })
}

/// Reads it (`ixgbe_get_module_eeprom`).
pub(crate) fn module_eeprom(dev: &Device<Adapter>, offset: u32, out: &mut [u8]) -> Result {
    let a = dev.data();
    if !a.board.has_cage() {
        return Err(EOPNOTSUPP);
    }
    let port = a.cage.lock().port;
    // Some 100 us a byte: the service task is let in between.
    for (at, byte) in (offset..).step_by(CHUNK).zip(out.chunks_mut(CHUNK)) {
        let _cage = a.cage.lock();
        port.read_eeprom(&a.hw, at, byte).map_err(|_| EIO)?;
    }
    Ok(())
}
