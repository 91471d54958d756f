// SPDX-License-Identifier: GPL-2.0
//! The life of a cage: modules that come and go, their lasers, and the link through them
//! (`ixgbe_sfp_detection_subtask`, `ixgbe_sfp_link_config_subtask`,
//! `ixgbe_setup_mac_link_multispeed_fiber`).
//!
//! Unlike the C driver, which unregisters its interface, a module that is not supported leaves the
//! interface without carrier until another one comes.

use crate::{
    io::modify,
    link::{
        self,
        Capabilities,
        SPEED_10GB_FULL,
        SPEED_1GB_FULL, //
    },
    regs::*,
    sfp::{
        Found,
        Module,
        Port,
        Refusal,
        SetupError, //
    },
    Delay,
    Regs, //
};

/// Milliseconds between two looks into a cage that has no link (`IXGBE_SFP_POLL_JIFFIES`).
pub const POLL_MS: u64 = 2000;
/// Milliseconds in which a module changes between 1 and 10 Gb/s.
const RATE_MS: u32 = 40;
/// Milliseconds in which a laser lights up, or a partner sets its speed.
const LIGHT_MS: u32 = 100;
/// TIMEOUT: waits of [`LIGHT_MS`] for a link of 10 Gb/s, as KR (IEEE 802.3ap 73.10.2).
const TRIES_10G: u32 = 5;

/// What a look into the cage found out. The same is not said twice, but for a module that was set
/// up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    None,
    /// The cage is empty now.
    Gone,
    /// This module was set up; its link is to be configured.
    Detected(Module),
    /// This one gets no link.
    Refused(Refusal),
    /// This one could not be set up; the next look tries again.
    Failed(SetupError),
}

/// Which of a module's speeds is tried (`ixgbe_setup_mac_link_multispeed_fiber`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// 10 Gb/s, and then [`Step::One`].
    Ten,
    /// 1 Gb/s, and then [`Step::Back`].
    One,
    /// 10 Gb/s, for good.
    Back,
    /// 10 Gb/s and no other.
    OnlyTen,
    /// 1 Gb/s and no other.
    OnlyOne,
}

/// A speed that waits for its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trial {
    step: Step,
    /// Looks that are left to it.
    left: u32,
}

/// A cage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cage {
    /// Which port of the card it is.
    pub port: Port,
    /// The administrator allows modules of every vendor.
    any: bool,
    found: Found,
    told: News,
    /// The module must be set up, whatever was there before.
    needs_setup: bool,
    /// It is set up.
    ready: bool,
    /// Tell the partner that its speeds are to be tried anew (`autotry_restart`).
    restart: bool,
    /// The speed that is tried.
    trial: Option<Trial>,
    /// When to look next, in milliseconds.
    next: u64,
}

impl Cage {
    /// A cage that nobody has looked into.
    pub fn new(io: &impl Regs, any: bool) -> Self {
        Self {
            port: Port::new(io),
            any,
            found: Found::Unknown,
            told: News::None,
            needs_setup: true,
            ready: false,
            restart: true,
            trial: None,
            next: 0,
        }
    }

    /// The module that is there gets no link, whatever LINKS says: its receiver may well see the
    /// partner.
    pub const fn blocks(&self) -> bool {
        matches!(self.found, Found::Refused(_))
    }

    /// What is in it, as of the last look.
    pub const fn found(&self) -> Found {
        self.found
    }

    /// A module came, or the interface comes up: set up what is there at the next look, which is
    /// due.
    pub fn changed(&mut self) {
        self.needs_setup = true;
        self.restart = true;
        self.next = 0;
    }

    /// Whether to look, at `now` in milliseconds: a module is awaited, or the one that is there has
    /// no link.
    pub const fn due(&self, now: u64, link_up: bool) -> bool {
        now >= self.next && (!self.ready || self.needs_setup || !link_up)
    }

    /// Looks into the cage. Sleeps for some milliseconds; some hundred if there is nothing.
    pub fn look(&mut self, io: &(impl Regs + Delay), orig_autoc: u32, now: u64) -> News {
        self.next = now.saturating_add(POLL_MS);
        let found = self.port.identify(io, self.any);
        if found != self.found {
            self.needs_setup = true;
        }
        let was = core::mem::replace(&mut self.found, found);
        let news = match found {
            Found::Module(_) if !self.needs_setup => return News::None,
            Found::Module(module) => self.set_up(io, module, orig_autoc),
            Found::Refused(refusal) => News::Refused(refusal),
            Found::Empty if was.module().is_some() || matches!(was, Found::Refused(_)) => {
                News::Gone
            }
            Found::Empty | Found::Unknown => News::None,
        };
        if let News::Refused(refusal) = news {
            self.found = Found::Refused(refusal);
            darken(io);
        }
        self.ready = matches!(news, News::Detected(_));
        self.trial = None;
        self.needs_setup = !self.ready;
        let again = news == self.told && !self.ready;
        self.told = news;
        if again {
            News::None
        } else {
            news
        }
    }

    fn set_up(&mut self, io: &(impl Regs + Delay), module: Module, orig_autoc: u32) -> News {
        match self.port.setup(io, module.kind, orig_autoc) {
            Ok(()) => News::Detected(module),
            Err(SetupError::NotInList) => News::Refused(Refusal::NotInList),
            Err(e) => News::Failed(e),
        }
    }

    /// What the link can do with the module that is there (`ixgbe_get_link_capabilities_82599`).
    ///
    /// # Errors
    /// As [`link::capabilities`].
    pub fn capabilities(&self, orig_autoc: u32) -> Result<Capabilities, link::Error> {
        let module = self.found.module();
        if module.is_some_and(|module| module.kind.is_1g()) {
            return Ok(Capabilities {
                speeds: SPEED_1GB_FULL,
                autoneg: true,
            });
        }
        let mut can = link::capabilities(orig_autoc)?;
        if module.is_some_and(|module| module.multispeed) {
            can.speeds |= SPEED_10GB_FULL | SPEED_1GB_FULL;
            can.autoneg = true;
        }
        Ok(can)
    }

    /// Lights the laser of a module that is set up, and configures its link for the speeds that are
    /// `advertised`, or all if 0. Where there are two it begins to try them: [`Cage::waits`].
    ///
    /// # Errors
    /// As [`link::setup`].
    pub fn configure(
        &mut self,
        io: &(impl Regs + Delay),
        orig_autoc: u32,
        advertised: u32,
    ) -> Result<(), link::Error> {
        self.trial = None;
        let Some(module) = self.found.module().filter(|_| self.ready) else {
            return Ok(());
        };
        light(io);
        let can = self.capabilities(orig_autoc)?;
        let speeds = match advertised & can.speeds {
            0 => can.speeds,
            speeds => speeds,
        };
        if !module.multispeed {
            return link::setup(io, orig_autoc, can, speeds);
        }
        let step = match (speeds & SPEED_10GB_FULL != 0, speeds & SPEED_1GB_FULL != 0) {
            (true, true) => Step::Ten,
            (true, false) => Step::OnlyTen,
            (false, _) => Step::OnlyOne,
        };
        self.try_speed(io, orig_autoc, step)
    }

    /// Milliseconds after which to call [`Cage::proceed`], while two speeds are tried.
    pub const fn waits(&self) -> Option<u32> {
        match self.trial {
            Some(_) => Some(LIGHT_MS),
            None => None,
        }
    }

    /// Looks whether the speed that is tried has a link, and tries the next one if it has had its
    /// time. A software negotiation: 10 Gb/s over fibre has none.
    ///
    /// # Errors
    /// As [`link::setup`].
    pub fn proceed(
        &mut self,
        io: &(impl Regs + Delay),
        orig_autoc: u32,
    ) -> Result<(), link::Error> {
        let Some(mut trial) = self.trial.take() else {
            return Ok(());
        };
        if link::check_link(io).up {
            return Ok(());
        }
        trial.left = trial.left.saturating_sub(1);
        match trial.step {
            _ if trial.left != 0 => self.trial = Some(trial),
            Step::Ten => self.try_speed(io, orig_autoc, Step::One)?,
            // No link: back to the highest, where the partner begins.
            Step::One => self.try_speed(io, orig_autoc, Step::Back)?,
            Step::OnlyTen | Step::OnlyOne | Step::Back => {}
        }
        Ok(())
    }

    /// Sets module and MAC to a speed, and waits for its link from now on.
    fn try_speed(
        &mut self,
        io: &(impl Regs + Delay),
        orig_autoc: u32,
        step: Step,
    ) -> Result<(), link::Error> {
        let (speed, left) = match step {
            Step::OnlyTen | Step::Ten | Step::Back => (SPEED_10GB_FULL, TRIES_10G),
            Step::OnlyOne | Step::One => (SPEED_1GB_FULL, 1),
        };
        set_rate(io, speed == SPEED_10GB_FULL);
        io.msleep(RATE_MS);
        link::setup(io, orig_autoc, self.capabilities(orig_autoc)?, speed)?;
        if self.restart && has_lasers(io) {
            set_laser(io, false);
            set_laser(io, true);
            self.restart = false;
        }
        self.trial = Some(Trial { step, left });
        Ok(())
    }

    /// Speeds are to be tried anew with the partner, as after a change of what is advertised.
    pub fn restart(&mut self) {
        self.restart = true;
    }
}

/// Whether the driver switches lasers: firmware that uses the port does so itself
/// (`ixgbe_mng_enabled`).
fn has_lasers(io: &impl Regs) -> bool {
    let firmware = io.read32(FWSM) & FWSM_MODE_MASK == FWSM_FW_MODE_PT
        && io.read32(MANC) & MANC_RCV_TCO_EN != 0
        && io.read32(FACTPS) & FACTPS_MNGCG == 0;
    !firmware
}

fn set_laser(io: &(impl Regs + Delay), on: bool) {
    if !on && io.read32(MMNGC) & MMNGC_MNG_VETO != 0 {
        return;
    }
    modify(io, ESDP, ESDP_SDP3, if on { 0 } else { ESDP_SDP3 });
    io.read32(STATUS);
    if on {
        io.msleep(LIGHT_MS);
    } else {
        // 100 us to go dark.
        io.udelay(100);
    }
}

/// Switches the laser on, if it is not (`ixgbe_enable_tx_laser_multispeed_fiber`).
fn light(io: &(impl Regs + Delay)) {
    if has_lasers(io) && io.read32(ESDP) & ESDP_SDP3 != 0 {
        set_laser(io, true);
    }
}

/// Switches it off, so that the partner sees that nobody is there.
pub fn darken(io: &(impl Regs + Delay)) {
    if has_lasers(io) {
        set_laser(io, false);
    }
}

/// Chooses the module's speed by its pin (`ixgbe_set_hard_rate_select_speed`).
fn set_rate(io: &impl Regs, fast: bool) {
    let value = ESDP_SDP5_DIR | if fast { ESDP_SDP5 } else { 0 };
    modify(io, ESDP, ESDP_SDP5 | ESDP_SDP5_DIR, value);
    io.read32(STATUS);
}

/// Whether a link that is up is crosstalk, on a device that [`crate::sfp::needs_crosstalk_fix`]: an
/// empty cage has no link, and crosstalk does not last (`ixgbe_check_mac_link_generic`).
pub fn is_crosstalk(io: &(impl Regs + Delay)) -> bool {
    if io.read32(ESDP) & ESDP_SDP2 == 0 {
        return true;
    }
    io.msleep(5);
    io.read32(LINKS) & LINKS_UP == 0
}
