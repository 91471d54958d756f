// SPDX-License-Identifier: GPL-2.0
//! Link of an 82599 without PHY, and flow control (82599 datasheet 3.7.4, 3.7.7; `ixgbe_82599.c`).
//! What a module adds is in [`crate::cage`].

use crate::{
    chip::Delays,
    eeprom,
    io::poll,
    phy::{
        self,
        Phy, //
    },
    regs::*,
    Delay,
    Regs, //
};

/// 100 Mb/s, as a bit of a speed mask (`IXGBE_LINK_SPEED_100_FULL`).
pub const SPEED_100_FULL: u32 = 0x0008;
/// 1 Gb/s.
pub const SPEED_1GB_FULL: u32 = 0x0020;
/// 2.5 Gb/s.
pub const SPEED_2_5GB_FULL: u32 = 0x0400;
/// 5 Gb/s.
pub const SPEED_5GB_FULL: u32 = 0x0800;
/// 10 Gb/s.
pub const SPEED_10GB_FULL: u32 = 0x0080;

/// State of the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Up.
    pub up: bool,
    /// One of `SPEED_*`, 0 if unknown.
    pub speed: u32,
}

impl Link {
    /// Mb/s, 0 if unknown.
    pub const fn mbps(&self) -> u32 {
        mbps(self.speed)
    }
}

/// Mb/s of one of `SPEED_*`.
pub const fn mbps(speed: u32) -> u32 {
    match speed {
        SPEED_10GB_FULL => 10_000,
        SPEED_5GB_FULL => 5000,
        SPEED_2_5GB_FULL => 2500,
        SPEED_1GB_FULL => 1000,
        SPEED_100_FULL => 100,
        _ => 0,
    }
}

/// What the link can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `SPEED_*`.
    pub speeds: u32,
    /// Speed is negotiated.
    pub autoneg: bool,
}

/// Why the link could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// `AUTOC.LMS` is a mode that does not exist.
    Mode,
    /// The link cannot do any of the speeds asked for.
    Speed,
    /// Firmware keeps AUTOC.
    Busy,
    /// Auto-negotiation did not leave its first state.
    Pipeline,
    /// The PHY.
    Phy(phy::Error),
}

/// Looks at LINKS (`ixgbe_check_mac_link_generic`), on any chip: what an X550 has between 1 and 10
/// Gb/s is told as something else.
pub fn check_link(io: &impl Regs) -> Link {
    check_link_with(io, false)
}

/// The same; with `nbase_t` a bit says that it is 2.5 or 5 Gb/s, which has another meaning on older
/// chips.
pub(crate) fn check_link_with(io: &impl Regs, nbase_t: bool) -> Link {
    // LINKS_UP latches low: the first read gives what happened, the second what is.
    io.read32(LINKS);
    let links = io.read32(LINKS);
    let between = nbase_t && links & LINKS_SPEED_NON_STD != 0;
    Link {
        up: links & LINKS_UP != 0,
        speed: match (links & LINKS_SPEED_82599, between) {
            (LINKS_SPEED_10G_82599, true) => SPEED_2_5GB_FULL,
            (LINKS_SPEED_10G_82599, false) => SPEED_10GB_FULL,
            (LINKS_SPEED_1G_82599, _) => SPEED_1GB_FULL,
            (LINKS_SPEED_100_82599, true) => SPEED_5GB_FULL,
            (LINKS_SPEED_100_82599, false) => SPEED_100_FULL,
            _ => 0,
        },
    }
}

/// What the EEPROM's AUTOC says that the link can do (`ixgbe_get_link_capabilities_82599`).
///
/// # Errors
/// [`Error::Mode`].
pub fn capabilities(autoc: u32) -> Result<Capabilities, Error> {
    let backplane = |base: u32| {
        let ten = autoc & (AUTOC_KR_SUPP | AUTOC_KX4_SUPP) != 0;
        let one = autoc & AUTOC_KX_SUPP != 0;
        base | if ten { SPEED_10GB_FULL } else { 0 } | if one { SPEED_1GB_FULL } else { 0 }
    };
    let (speeds, autoneg) = match autoc & AUTOC_LMS_MASK {
        AUTOC_LMS_1G_LINK_NO_AN => (SPEED_1GB_FULL, false),
        AUTOC_LMS_10G_LINK_NO_AN | AUTOC_LMS_10G_SERIAL => (SPEED_10GB_FULL, false),
        AUTOC_LMS_1G_AN => (SPEED_1GB_FULL, true),
        AUTOC_LMS_KX4_KX_KR | AUTOC_LMS_KX4_KX_KR_1G_AN => (backplane(0), true),
        AUTOC_LMS_KX4_KX_KR_SGMII => (backplane(SPEED_100_FULL), true),
        AUTOC_LMS_SGMII_1G_100M => (SPEED_1GB_FULL | SPEED_100_FULL, false),
        _ => return Err(Error::Mode),
    };
    Ok(Capabilities { speeds, autoneg })
}

/// Lets the link be, if the EEPROM keeps it disabled.
pub(crate) fn enable_link(io: &impl Regs) -> u32 {
    let autoc2 = io.read32(AUTOC2);
    if autoc2 & AUTOC2_LINK_DISABLE_MASK == 0 {
        return autoc2;
    }
    let autoc2 = autoc2 & !AUTOC2_LINK_DISABLE_MASK;
    io.write32(AUTOC2, autoc2);
    io.read32(STATUS);
    autoc2
}

/// Restarts the data pipeline by toggling `LMS[2]` (`ixgbe_reset_pipeline_82599`).
fn reset_pipeline(io: &(impl Regs + Delay)) -> Result<(), Error> {
    enable_link(io);
    let autoc = io.read32(AUTOC) | AUTOC_AN_RESTART;
    io.write32(AUTOC, autoc ^ (0x4 << AUTOC_LMS_SHIFT));
    let mut result = Err(Error::Pipeline);
    // TIMEOUT: 40 ms, as the C driver, for auto-negotiation to leave state 0.
    for _ in 0..10 {
        io.usleep(4000);
        if io.read32(ANLP1) & ANLP1_AN_STATE_MASK != 0 {
            result = Ok(());
            break;
        }
    }
    io.write32(AUTOC, autoc);
    io.read32(STATUS);
    result
}

/// Writes AUTOC and restarts the pipeline, holding the semaphore (`prot_autoc_write_82599`).
///
/// The C driver holds it only if firmware runs LESM; holding it always is a superset.
///
/// # Errors
/// [`Error::Busy`], [`Error::Pipeline`].
pub fn write_autoc(io: &(impl Regs + Delay), autoc: u32) -> Result<(), Error> {
    if io.read32(MMNGC) & MMNGC_MNG_VETO != 0 {
        return Ok(());
    }
    eeprom::acquire_swfw_sync(io, GSSR_MAC_CSR_SM).map_err(|_| Error::Busy)?;
    io.write32(AUTOC, autoc);
    let result = reset_pipeline(io);
    eeprom::release_swfw_sync(io, GSSR_MAC_CSR_SM);
    result
}

/// Offers `speeds`, or all if 0, on a backplane; `orig_autoc` is AUTOC as the EEPROM left it.
///
/// # Errors
/// See [`Error`].
pub fn setup_link(io: &(impl Regs + Delay), orig_autoc: u32, speeds: u32) -> Result<(), Error> {
    setup(io, orig_autoc, capabilities(orig_autoc)?, speeds)
}

/// Offers `speeds`, or all if 0, of what the link `can` do (`ixgbe_setup_mac_link_82599`);
/// `orig_autoc` is AUTOC as the EEPROM left it.
///
/// # Errors
/// See [`Error`].
pub fn setup(
    io: &(impl Regs + Delay),
    orig_autoc: u32,
    can: Capabilities,
    speeds: u32,
) -> Result<(), Error> {
    let speeds = if speeds == 0 { can.speeds } else { speeds } & can.speeds;
    if speeds == 0 {
        return Err(Error::Speed);
    }
    let current = io.read32(AUTOC);
    let mut autoc = current;
    let sfi_10g = io.read32(AUTOC2) & AUTOC2_10G_SERIAL_PMA_PMD_MASK == AUTOC2_10G_SFI;
    let sfi_1g = current & AUTOC_1G_PMA_PMD_MASK == AUTOC_1G_SFI;
    match current & AUTOC_LMS_MASK {
        AUTOC_LMS_KX4_KX_KR | AUTOC_LMS_KX4_KX_KR_1G_AN | AUTOC_LMS_KX4_KX_KR_SGMII => {
            autoc &= !(AUTOC_KX4_KX_SUPP_MASK | AUTOC_KR_SUPP);
            if speeds & SPEED_10GB_FULL != 0 {
                autoc |= orig_autoc & (AUTOC_KX4_SUPP | AUTOC_KR_SUPP);
            }
            if speeds & SPEED_1GB_FULL != 0 {
                autoc |= AUTOC_KX_SUPP;
            }
        }
        // Between 1 and 10 Gb/s of SFI, which do not negotiate with each other.
        AUTOC_LMS_1G_LINK_NO_AN | AUTOC_LMS_1G_AN
            if sfi_10g && sfi_1g && speeds == SPEED_10GB_FULL =>
        {
            autoc = autoc & !AUTOC_LMS_MASK | AUTOC_LMS_10G_SERIAL;
        }
        AUTOC_LMS_10G_SERIAL if sfi_10g && sfi_1g && speeds == SPEED_1GB_FULL => {
            let mode = if can.autoneg {
                AUTOC_LMS_1G_AN
            } else {
                AUTOC_LMS_1G_LINK_NO_AN
            };
            autoc = autoc & !AUTOC_LMS_MASK | mode;
        }
        _ => {}
    }
    if autoc != current {
        write_autoc(io, autoc)?;
        io.msleep(50);
    }
    Ok(())
}

/// Pause frames, as asked for and as in force (`enum ixgbe_fc_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// Obey pause frames.
    pub rx: bool,
    /// Send pause frames.
    pub tx: bool,
}

impl Pause {
    /// Both ways, the default: no word of the EEPROM says otherwise.
    pub const FULL: Self = Self { rx: true, tx: true };
}

/// What the link runs over, as far as flow control cares (`enum ixgbe_media_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Media {
    /// A backplane: AUTOC negotiates.
    #[default]
    Backplane,
    /// A module: only 1 Gb/s negotiates, by clause 37.
    Fiber,
    /// Twisted pairs: the PHY negotiates.
    Copper(Phy),
}

/// Flow control of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowControl {
    /// What negotiates it.
    media: Media,
    /// What the administrator wants.
    pub requested: Pause,
    /// What is in force.
    pub current: Pause,
    /// Negotiate it with the link partner.
    pub autoneg: bool,
    /// XOFF is sent above this, in KiB of the packet buffer.
    pub high_water: u32,
    /// XON is sent below this, in KiB.
    pub low_water: u32,
}

/// Pause time that XOFF asks for, in 512 bit times (`IXGBE_DEFAULT_FCPAUSE`).
const PAUSE_TIME: u32 = 0xFFFF;

impl FlowControl {
    /// As the C driver starts on a backplane.
    pub const fn new() -> Self {
        Self::over(Media::Backplane)
    }

    /// As it starts on another medium.
    pub const fn over(media: Media) -> Self {
        Self {
            media,
            requested: Pause::FULL,
            current: Pause::FULL,
            autoneg: true,
            high_water: 0,
            low_water: 0,
        }
    }

    /// The PHY, if there is one.
    pub const fn phy(&self) -> Option<Phy> {
        match self.media {
            Media::Copper(phy) => Some(phy),
            Media::Backplane | Media::Fiber => None,
        }
    }

    /// Whether the partner can be asked (`ixgbe_device_supports_autoneg_fc`); without a link that
    /// is taken for granted.
    pub fn can_negotiate(&self, io: &impl Regs) -> bool {
        let link = check_link(io);
        self.media != Media::Fiber || !link.up || link.speed == SPEED_1GB_FULL
    }

    /// Advertises what was asked for (`ixgbe_setup_fc_generic`).
    ///
    /// # Errors
    /// As [`write_autoc`].
    pub fn setup(&self, io: &(impl Regs + Delay)) -> Result<(), Error> {
        // Receive-only cannot be advertised: both are, and sending is not enabled.
        let (sym, asm) = match self.requested {
            Pause { rx: true, .. } => (true, true),
            Pause { rx: false, tx } => (false, tx),
        };
        if let Media::Copper(phy) = self.media {
            return phy.advertise_pause(io, (sym, asm)).map_err(Error::Phy);
        }
        let bits = |s: u32, a: u32| if sym { s } else { 0 } | if asm { a } else { 0 };
        let mask = PCS1GANA_SYM_PAUSE | PCS1GANA_ASM_PAUSE;
        let ana = io.read32(PCS1GANA) & !mask;
        io.write32(PCS1GANA, ana | bits(PCS1GANA_SYM_PAUSE, PCS1GANA_ASM_PAUSE));
        if self.media == Media::Fiber {
            return Ok(());
        }
        let autoc = io.read32(AUTOC) & !(AUTOC_SYM_PAUSE | AUTOC_ASM_PAUSE);
        write_autoc(io, autoc | bits(AUTOC_SYM_PAUSE, AUTOC_ASM_PAUSE))
    }

    /// What both sides agreed on, or what was asked for if they did not negotiate.
    fn resolve(&self, io: &(impl Regs + Delay)) -> Pause {
        let link = check_link(io);
        if !self.autoneg || !link.up {
            return self.requested;
        }
        let words = match self.media {
            Media::Backplane => backplane_words(io),
            Media::Fiber if link.speed == SPEED_1GB_FULL => fiber_words(io),
            Media::Fiber => None,
            Media::Copper(phy) => phy.pause_words(io),
        };
        let Some((our, their)) = words else {
            return self.requested;
        };
        match (our, their) {
            ((true, _), (true, _)) => Pause {
                rx: true,
                tx: self.requested == Pause::FULL,
            },
            ((false, true), (true, true)) => Pause {
                rx: false,
                tx: true,
            },
            ((true, true), (false, true)) => Pause {
                rx: true,
                tx: false,
            },
            _ => Pause::default(),
        }
    }

    /// Puts flow control into force after the link came up (`ixgbe_fc_enable_generic`).
    ///
    /// Leaves sending off if the water marks make no sense, since a low mark of 0 floods the link
    /// with XOFF.
    pub fn enable(&mut self, io: &(impl Regs + Delay)) {
        self.current = self.resolve(io);
        let marks = self.low_water != 0 && self.low_water < self.high_water;
        if !marks {
            self.current.tx = false;
        }
        let mut mflcn = io.read32(MFLCN) & !(MFLCN_RPFCE_MASK | MFLCN_RFCE) | MFLCN_DPF;
        if self.current.rx {
            mflcn |= MFLCN_RFCE;
        }
        let mut fccfg = io.read32(FCCFG) & !(FCCFG_TFCE_802_3X | FCCFG_TFCE_PRIORITY);
        if self.current.tx {
            fccfg |= FCCFG_TFCE_802_3X;
        }
        io.write32(MFLCN, mflcn);
        io.write32(FCCFG, fccfg);
        for class in 0..MAX_PB {
            if self.current.tx && class == 0 {
                io.write32(fcrtl(class), self.low_water << 10 | FCRTL_XONE);
                io.write32(fcrth(class), self.high_water << 10 | FCRTH_FCEN);
            } else {
                io.write32(fcrtl(class), 0);
                // 24 KiB below the buffer's size, so that the internal switch does not hang under
                // load (`ixgbe_fc_enable_generic`).
                io.write32(fcrth(class), io.read32(rxpbsize(class)).wrapping_sub(24576));
            }
        }
        for pair in 0..MAX_PB / 2 {
            io.write32(fcttv(pair), PAUSE_TIME.wrapping_mul(0x0001_0001));
        }
        io.write32(FCRTV, PAUSE_TIME / 2);
    }

    /// Sets the water marks for `mtu` bytes (`ixgbe_pbthresh_setup`); `rx_pb` is the packet buffer
    /// in KiB, `delays` are the chip's.
    ///
    /// Returns false if the packet buffer has no room for what arrives until XOFF takes effect.
    pub fn set_water_marks(&mut self, mtu: u32, rx_pb: u32, sriov: bool, delays: Delays) -> bool {
        // Ethernet header, FCS; and preamble with inter-frame gap (`IXGBE_ETH_FRAMING`).
        let frame = mtu.saturating_add(18);
        let framed = frame.saturating_add(20);
        let bits = |bytes: u32| bytes.saturating_mul(8);
        let kib = |bit_times: u32| bit_times.div_ceil(8 * 1024);
        // Delays in bit times: PFC, cable, interface of MAC, XAUI and PHY, and higher layers
        // (`IXGBE_DV`).
        let round_trip = bits(framed)
            .saturating_add(672 + 2 * 5556 + 6144)
            .saturating_add(delays.interface.saturating_mul(2))
            .saturating_mul(36)
            / 25;
        let mut delay = round_trip
            .saturating_add(1)
            .saturating_add(bits(framed).saturating_mul(2));
        // The internal switch adds a frame.
        if sriov {
            delay = delay.saturating_add(bits(framed));
        }
        let room = rx_pb.checked_sub(kib(delay));
        self.high_water = room.unwrap_or(framed.saturating_add(1));
        // `IXGBE_LOW_DV`: as on the X540, doubled on the 82599.
        let low = bits(frame)
            .saturating_mul(2)
            .saturating_add((36 * 10_000 / 25) + 1)
            .saturating_mul(delays.low);
        self.low_water = kib(low);
        if self.low_water > self.high_water {
            self.low_water = 0;
        }
        room.is_some()
    }
}

/// Symmetric and asymmetric pause of one side.
type PauseBits = (bool, bool);

/// What both sides of a backplane advertise, if they negotiated (`ixgbe_fc_autoneg_backplane`).
fn backplane_words(io: &impl Regs) -> Option<(PauseBits, PauseBits)> {
    let done =
        io.read32(LINKS) & LINKS_KX_AN_COMP != 0 && io.read32(LINKS2) & LINKS2_AN_SUPPORTED != 0;
    let (ours, theirs) = (io.read32(AUTOC), io.read32(ANLP1));
    (done && ours != 0 && theirs != 0).then_some((
        (ours & AUTOC_SYM_PAUSE != 0, ours & AUTOC_ASM_PAUSE != 0),
        (theirs & ANLP1_SYM_PAUSE != 0, theirs & ANLP1_ASM_PAUSE != 0),
    ))
}

/// The same of a fibre with 1 Gb/s (`ixgbe_fc_autoneg_fiber`).
fn fiber_words(io: &impl Regs) -> Option<(PauseBits, PauseBits)> {
    let state = io.read32(PCS1GLSTA);
    let done = state & PCS1GLSTA_AN_COMPLETE != 0 && state & PCS1GLSTA_AN_TIMED_OUT == 0;
    let (ours, theirs) = (io.read32(PCS1GANA), io.read32(PCS1GANLP));
    let bits = |word: u32| {
        (
            word & PCS1GANA_SYM_PAUSE != 0,
            word & PCS1GANA_ASM_PAUSE != 0,
        )
    };
    (done && ours != 0 && theirs != 0).then_some((bits(ours), bits(theirs)))
}

impl Default for FlowControl {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits up to nine seconds for the link (`IXGBE_LINK_UP_TIME`), for the offline test of ethtool.
pub fn wait_for_link(io: &(impl Regs + Delay)) -> Link {
    for _ in 0..LINK_UP_TIME {
        let link = check_link(io);
        if link.up {
            return link;
        }
        io.msleep(100);
    }
    check_link(io)
}

/// Waits until the security block lets go of the receive path, and stops it
/// (`ixgbe_disable_rx_buff_generic`).
pub(crate) fn disable_rx_buff(io: &(impl Regs + Delay)) {
    io.write32(SECRXCTRL, io.read32(SECRXCTRL) | SECRXCTRL_RX_DIS);
    // TIMEOUT: 40 ms; the C driver goes on without it, so do we.
    let _ = poll(io, SECRXSTAT, 1000, 40, |v| v & SECRXSTAT_SECRX_RDY != 0);
}

/// Lets the receive path go again.
pub(crate) fn enable_rx_buff(io: &impl Regs) {
    io.write32(SECRXCTRL, io.read32(SECRXCTRL) & !SECRXCTRL_RX_DIS);
    io.read32(STATUS);
}
