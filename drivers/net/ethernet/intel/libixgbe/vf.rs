// SPDX-License-Identifier: GPL-2.0
//! A virtual function as its own driver sees it: reset, link, and every request to the PF
//! (`ixgbevf/vf.c`).
//!
//! The caller serialises all calls that take `&mut self`. They wait for the PF, up to a second;
//! whether that sleeps is up to the caller's [`Delay`].

use crate::{
    mbx::{
        self,
        vf::{
            Error,
            VfMbx, //
        },
        ApiVersion,
        McHashes,
        Queues,
        Request,
        XcastMode,
        FEATURE_ESX_MBX,
        FEATURE_IPSEC,
        RETA_SIZE,
        RSS_KEY_SIZE,
        VT_MSGTYPE_ACK, //
    },
    regs::{
        vfrxdctl,
        vftxdctl,
        CTRL_RST,
        LINKS_SPEED_100_82599,
        LINKS_SPEED_10G_82599,
        LINKS_SPEED_1G_82599,
        LINKS_SPEED_82599,
        LINKS_UP,
        RXDCTL_ENABLE,
        TXDCTL_ENABLE,
        VFCTRL,
        VFLINKS,
        VFSTATUS,
        VF_IRQ_CLEAR_MASK,
        VTEIAC,
        VTEIAM,
        VTEICR,
        VTEIMC,
        VTEIMS, //
    },
    Delay,
    Regs, //
};

/// Most queues of a VF, 16 pools of 8 (`IXGBE_VF_MAX_RX_QUEUES`).
pub const MAX_QUEUES: u32 = 8;
/// Polls for the end of a PF reset, 5 us each (`IXGBE_VF_INIT_TIMEOUT`).
const INIT_TIMEOUT: u32 = 200;

/// Link as the driver reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Up, and the PF is talking to us.
    pub up: bool,
    /// Mb/s, 0 if unknown.
    pub speed: u32,
}

/// Queues of a VF that can move to another host: only their interrupts are in a register that the
/// PF sees ([`crate::migration::VISIBLE_PAIRS`]).
const MOVABLE_QUEUES: u32 = crate::migration::VISIBLE_PAIRS as u32;
/// Most queue pairs that are used: RSS of a pool has one bit (`IXGBEVF_MAX_RSS_QUEUES`).
pub const MAX_RSS_QUEUES: u32 = 2;
/// Frame of standard length in bytes, FCS included (`ETH_FRAME_LEN + ETH_FCS_LEN`). Every PF
/// receives it.
pub const STANDARD_FRAME: u32 = 1518;

/// Queue pairs, and transmit queues for XDP behind them, that a driver uses
/// (`ixgbevf_set_num_queues`).
///
/// `queues` are those that the PF gives, `None` if it did not say: two of each kind there always
/// were. With traffic classes each has a queue; only the default one is used then. A VF that is to
/// stay `movable` uses no queue beyond those that can move: with `xdp` that is one pair, and one
/// queue for what the program sends back.
pub fn queue_layout(queues: Option<Queues>, cpus: u32, xdp: bool, movable: bool) -> (u32, u32) {
    let pairs = match queues {
        Some(q) if q.trans_vlan <= 1 => {
            let tx = if movable {
                q.tx.min(MOVABLE_QUEUES)
            } else {
                q.tx
            };
            // Each pair needs a second transmit queue for XDP.
            let tx = if xdp { tx / 2 } else { tx };
            cpus.min(MAX_RSS_QUEUES).min(tx).min(q.rx).max(1)
        }
        _ => 1,
    };
    (pairs, if xdp { pairs } else { 0 })
}

/// What the stack wants to receive.
#[derive(Clone, Copy, Debug, Default)]
pub struct RxFilters<'a> {
    /// Promiscuity.
    pub mode: XcastMode,
    /// Multicast addresses.
    pub groups: &'a [[u8; 6]],
    /// There are more groups than are listed.
    pub more_groups: bool,
    /// Unicast addresses besides the VF's own.
    pub unicast: &'a [[u8; 6]],
    /// There are more of them than are listed.
    pub more_unicast: bool,
}

/// What of [`RxFilters`] the PF did not grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Promiscuity, which was asked for.
    pub promisc: bool,
    /// All groups, which were asked for.
    pub all_groups: bool,
    /// Some of the groups.
    pub groups: bool,
    /// Some of the unicast addresses.
    pub unicast: bool,
}

impl Missing {
    /// Whether all was granted.
    pub fn none(&self) -> bool {
        *self == Self::default()
    }
}

/// A virtual function.
#[derive(Clone, Debug, Default)]
pub struct Vf {
    /// Mailbox.
    pub mbx: VfMbx,
    /// MAC address assigned by the administrator, if any.
    pub perm_addr: Option<[u8; 6]>,
    /// Which 12 bits of a multicast address index the PF's table.
    pub mc_filter_type: u32,
    /// Negotiated version.
    pub api: ApiVersion,
    /// Negotiated features.
    pub features: u32,
    /// Queues that the PF lets this VF use.
    pub max_tx_queues: u32,
    /// Likewise.
    pub max_rx_queues: u32,
    /// Link must be looked at again.
    check_link: bool,
    speed: u32,
}

impl Vf {
    /// As after power-on; before API 1.1 a VF has two queues.
    pub const fn new() -> Self {
        Self {
            mbx: VfMbx::new(),
            perm_addr: None,
            mc_filter_type: 0,
            api: ApiVersion::V10,
            features: 0,
            max_tx_queues: 2,
            max_rx_queues: 2,
            check_link: true,
            speed: 0,
        }
    }

    /// Stops Rx and Tx and masks interrupts (`ixgbevf_stop_hw_vf`).
    pub fn stop(&self, io: &impl Regs) {
        for q in 0..self.max_rx_queues.min(MAX_QUEUES) {
            let val = io.read32(vfrxdctl(q));
            if val & RXDCTL_ENABLE != 0 {
                io.write32(vfrxdctl(q), val & !RXDCTL_ENABLE);
            }
        }
        io.read32(VFSTATUS);
        io.write32(VTEIMC, VF_IRQ_CLEAR_MASK);
        io.read32(VTEICR);
        for q in 0..self.max_tx_queues.min(MAX_QUEUES) {
            let val = io.read32(vftxdctl(q));
            if val & TXDCTL_ENABLE != 0 {
                io.write32(vftxdctl(q), val & !TXDCTL_ENABLE);
            }
        }
    }

    /// Resets the function and says so to the PF, which answers with the MAC address
    /// (`ixgbevf_reset_hw_vf`).
    ///
    /// # Errors
    /// [`Error::Timeout`] while the PF is down or itself resetting.
    pub fn reset(&mut self, io: &(impl Regs + Delay)) -> Result<(), Error> {
        self.stop(io);
        self.api = ApiVersion::V10;
        self.features = 0;
        self.check_link = true;
        self.mbx.reset();
        io.write32(VFCTRL, CTRL_RST);
        io.read32(VFSTATUS);

        // TIMEOUT: the PF's reset takes a millisecond; until it is done RSTI or RSTD stays set.
        let mut done = false;
        for _ in 0..INIT_TIMEOUT {
            if !self.mbx.check_for_rst(io) {
                done = true;
                break;
            }
            io.udelay(5);
        }
        if !done {
            return Err(Error::Timeout);
        }

        let answer = self.mbx.exchange(io, &Request::Reset)?;
        let [head, _, _, mc_filter_type, ..] = answer;
        self.perm_addr = (head & VT_MSGTYPE_ACK != 0).then(|| mbx::mac_of(&answer));
        self.mc_filter_type = mc_filter_type;
        Ok(())
    }

    /// Agrees on the newest API that both sides know, then on `offered` features
    /// (`ixgbevf_negotiate_api`).
    ///
    /// Leaves 1.0 and no features if the PF knows nothing newer.
    ///
    /// # Errors
    /// [`Error::Timeout`] or [`Error::NotClearToSend`].
    pub fn negotiate(&mut self, io: &(impl Regs + Delay), offered: u32) -> Result<(), Error> {
        self.features = 0;
        for version in ApiVersion::NEWEST_FIRST {
            match self
                .mbx
                .exchange(io, &Request::ApiNegotiate(version.wire()))
            {
                Ok(_) => {
                    self.api = version;
                    break;
                }
                Err(Error::Nack) => {}
                Err(e) => return Err(e),
            }
        }
        match self.api {
            ApiVersion::V17 => match self.mbx.exchange(io, &Request::FeaturesNegotiate(offered)) {
                Ok([_, granted, ..]) => self.features = granted & offered,
                Err(Error::Nack) => {}
                Err(e) => return Err(e),
            },
            // 1.5 is only spoken by the PF driver that has this mailbox (`ixgbevf_set_features`).
            ApiVersion::V15 => self.features = FEATURE_ESX_MBX & offered,
            ApiVersion::V14 => self.features = FEATURE_IPSEC & offered,
            _ => {}
        }
        self.mbx.set_esx(self.features & FEATURE_ESX_MBX != 0);
        Ok(())
    }

    fn need(&self, version: ApiVersion) -> Result<(), Error> {
        if self.api >= version {
            Ok(())
        } else {
            Err(Error::Unsupported)
        }
    }

    /// Asks for the queues; before 1.1 the defaults stay (`ixgbevf_get_queues`).
    ///
    /// # Errors
    /// As [`VfMbx::exchange_words`].
    pub fn get_queues(&mut self, io: &(impl Regs + Delay)) -> Result<Queues, Error> {
        if self.api < ApiVersion::V11 {
            return Ok(Queues {
                tx: self.max_tx_queues,
                rx: self.max_rx_queues,
                trans_vlan: 0,
                def_queue: 0,
            });
        }
        let mut q = Queues::decode(&self.mbx.exchange(io, &Request::GetQueues)?);
        let sane = |n: u32| match n {
            1..=MAX_QUEUES => n,
            _ => MAX_QUEUES,
        };
        (q.tx, q.rx) = (sane(q.tx), sane(q.rx));
        // In case of doubt frames cannot be tagged.
        if q.trans_vlan > q.rx {
            q.trans_vlan = 1;
        }
        if q.def_queue >= q.tx {
            q.def_queue = 0;
        }
        (self.max_tx_queues, self.max_rx_queues) = (q.tx, q.rx);
        Ok(q)
    }

    /// Asks for this MAC address.
    ///
    /// # Errors
    /// [`Error::Nack`] if the administrator set another, else as [`VfMbx::exchange_words`].
    pub fn set_rar(&mut self, io: &(impl Regs + Delay), addr: [u8; 6]) -> Result<(), Error> {
        self.mbx.exchange(io, &Request::SetMac(addr)).map(drop)
    }

    /// Adds a unicast filter: `index` 1 starts a new list, 0 only clears it.
    ///
    /// # Errors
    /// [`Error::Nack`] if the PF has no room or does not trust this VF, else as
    /// [`VfMbx::exchange_words`].
    pub fn set_uc_addr(
        &mut self,
        io: &(impl Regs + Delay),
        index: u8,
        addr: [u8; 6],
    ) -> Result<(), Error> {
        self.mbx
            .exchange(io, &Request::SetMacvlan { index, addr })
            .map(drop)
    }

    /// Replaces the multicast list; addresses beyond 30 are left out, link-local ones as well.
    ///
    /// # Errors
    /// As [`VfMbx::exchange_words`].
    pub fn update_mc_addr_list<'a>(
        &mut self,
        io: &(impl Regs + Delay),
        addrs: impl IntoIterator<Item = &'a [u8; 6]>,
    ) -> Result<(), Error> {
        let mc_filter_type = self.mc_filter_type;
        let hashes = addrs
            .into_iter()
            .filter(|a| !is_link_local(a))
            .map(|a| mta_vector(mc_filter_type, a));
        let list = McHashes::from_hashes(hashes);
        self.mbx
            .exchange(io, &Request::SetMulticast(list))
            .map(drop)
    }

    /// Sets the promiscuity and returns what the PF granted.
    ///
    /// # Errors
    /// [`Error::Unsupported`] before 1.2, or 1.3 for [`XcastMode::Promisc`]; [`Error::Nack`]
    /// without trust.
    pub fn update_xcast_mode(
        &mut self,
        io: &(impl Regs + Delay),
        mode: XcastMode,
    ) -> Result<XcastMode, Error> {
        self.need(match mode {
            XcastMode::Promisc => ApiVersion::V13,
            _ => ApiVersion::V12,
        })?;
        let [_, granted, ..] = self
            .mbx
            .exchange(io, &Request::UpdateXcastMode(mode.wire()))?;
        XcastMode::from_wire(granted).ok_or(Error::Protocol)
    }

    /// Asks for `mode`, and where the PF refuses for the next narrower one, so that a promiscuity
    /// that an 82599 does not have costs nobody the groups. Returns what the PF granted; before API
    /// 1.2 there is nothing else than [`XcastMode::Multi`].
    fn widest_xcast_mode(
        &mut self,
        io: &(impl Regs + Delay),
        mode: XcastMode,
    ) -> Result<XcastMode, Error> {
        for ask in [
            XcastMode::Promisc,
            XcastMode::AllMulti,
            mode.min(XcastMode::Multi),
        ] {
            if ask > mode {
                continue;
            }
            match self.update_xcast_mode(io, ask) {
                Err(Error::Nack | Error::Unsupported) => {}
                r => return r,
            }
        }
        Ok(XcastMode::Multi)
    }

    /// Programs what the stack wants to receive (`ixgbevf_set_rx_mode`), by the next wider mode
    /// where a list does not fit. Returns what the PF did not grant. What is not in the lists any
    /// more is not received any more, whatever it says.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::NotClearToSend`]: the PF is to be asked again after a reset.
    pub fn set_rx_filters(
        &mut self,
        io: &(impl Regs + Delay),
        f: &RxFilters<'_>,
    ) -> Result<Missing, Error> {
        let mut mode = f.mode;
        if f.more_groups {
            mode = mode.max(XcastMode::AllMulti);
        }
        if f.more_unicast {
            mode = XcastMode::Promisc;
        }
        let granted = self.widest_xcast_mode(io, mode)?;
        let mut missing = Missing {
            promisc: f.mode == XcastMode::Promisc && granted < XcastMode::Promisc,
            all_groups: f.mode >= XcastMode::AllMulti && granted < XcastMode::AllMulti,
            groups: f.more_groups && granted < XcastMode::AllMulti,
            unicast: f.more_unicast && granted < XcastMode::Promisc,
        };
        missing.groups |= refused(self.update_mc_addr_list(io, f.groups))?;
        // Index 1 starts a new list, unless the PF refuses it: then the old one is still in force.
        let mut old = true;
        for (i, addr) in (1u8..).zip(f.unicast) {
            // Only one that was granted can have started the list.
            let index = if old { 1 } else { i };
            if refused(self.set_uc_addr(io, index, *addr))? {
                missing.unicast = true;
            } else {
                old = false;
            }
        }
        if old {
            refused(self.set_uc_addr(io, 0, [0; 6]))?;
        }
        Ok(missing)
    }

    /// Asks for frames of up to `bytes`, FCS included. Where the PF refuses, asks for those of
    /// standard length: it shuts the receive path of a VF that it has refused (`ixgbe_set_vf_lpe`).
    /// Returns what was granted.
    ///
    /// # Errors
    /// [`Error::Nack`] if even that is refused: this VF receives nothing. Else as
    /// [`VfMbx::exchange_words`].
    pub fn set_max_frame(&mut self, io: &(impl Regs + Delay), bytes: u32) -> Result<u32, Error> {
        match self.set_rlpml(io, bytes) {
            Err(Error::Nack) if bytes != STANDARD_FRAME => {
                self.set_rlpml(io, STANDARD_FRAME).map(|()| STANDARD_FRAME)
            }
            r => r.map(|()| bytes),
        }
    }

    /// Whether the administrator lets this VF be up; true before 1.2.
    ///
    /// # Errors
    /// As [`VfMbx::exchange_words`].
    pub fn get_link_state(&mut self, io: &(impl Regs + Delay)) -> Result<bool, Error> {
        if self.api < ApiVersion::V12 {
            return Ok(true);
        }
        let [_, state, ..] = self.mbx.exchange(io, &Request::GetLinkState)?;
        Ok(state != 0)
    }

    /// Adds or removes a VLAN.
    ///
    /// # Errors
    /// [`Error::Nack`] if the administrator set a port VLAN or the table is full, else as
    /// [`VfMbx::exchange_words`].
    pub fn set_vfta(&mut self, io: &(impl Regs + Delay), vid: u16, add: bool) -> Result<(), Error> {
        self.mbx
            .exchange(io, &Request::SetVlan { add, vid })
            .map(drop)
    }

    /// Sets the maximum frame size in bytes, FCS included.
    ///
    /// # Errors
    /// [`Error::Nack`] if it does not go with the PF's MTU, else as [`VfMbx::exchange_words`].
    pub fn set_rlpml(&mut self, io: &(impl Regs + Delay), bytes: u32) -> Result<(), Error> {
        self.mbx.exchange(io, &Request::SetLpe(bytes)).map(drop)
    }

    /// Redirection table of the PF, for a VF with `queues` RSS queues.
    ///
    /// # Errors
    /// [`Error::Nack`] unless the administrator allowed it; [`Error::Unsupported`] before 1.2.
    pub fn get_reta(
        &mut self,
        io: &(impl Regs + Delay),
        queues: u32,
    ) -> Result<[u8; RETA_SIZE], Error> {
        self.need(ApiVersion::V12)?;
        let mask = if queues > 1 { 1 } else { 0 };
        let table = mbx::decode_reta(&self.mbx.exchange(io, &Request::GetReta)?);
        Ok(table.map(|e| e & mask))
    }

    /// RSS key of the PF.
    ///
    /// # Errors
    /// As [`Self::get_reta`].
    pub fn get_rss_key(
        &mut self,
        io: &(impl Regs + Delay),
    ) -> Result<[u32; RSS_KEY_SIZE / 4], Error> {
        self.need(ApiVersion::V12)?;
        Ok(mbx::decode_rss_key(
            &self.mbx.exchange(io, &Request::GetRssKey)?,
        ))
    }

    /// Asks that the next [`Self::check_link`] looks at the hardware, as after a mailbox interrupt.
    pub fn link_changed(&mut self) {
        self.check_link = true;
    }

    /// Looks at link and clear-to-send (`ixgbevf_check_mac_link_vf`); for the service task.
    ///
    /// First take what the PF sent, by [`VfMbx::take_message`]: a message without `CTS` counts
    /// here.
    ///
    /// # Errors
    /// [`Error::NotClearToSend`]: the VF must be reset.
    pub fn check_link(&mut self, io: &(impl Regs + Delay)) -> Result<Link, Error> {
        if self.mbx.check_for_rst(io) {
            self.check_link = true;
        }
        if !self.check_link {
            return Ok(Link {
                up: true,
                speed: self.speed,
            });
        }
        let down = Ok(Link::default());
        let mut links = io.read32(VFLINKS);
        // After a change LINKS can be wrong for up to 500 us on 82599 with a module or cable
        // (`ixgbe_read_vflinks`).
        for _ in 0..5 {
            if links & LINKS_UP == 0 {
                return down;
            }
            io.udelay(100);
            links = io.read32(VFLINKS);
        }
        if links & LINKS_UP == 0 {
            return down;
        }
        if !self.mbx.clear_to_send() {
            return Err(Error::NotClearToSend);
        }
        self.speed = match links & LINKS_SPEED_82599 {
            LINKS_SPEED_10G_82599 => 10_000,
            LINKS_SPEED_1G_82599 => 1000,
            LINKS_SPEED_100_82599 => 100,
            _ => 0,
        };
        self.check_link = false;
        Ok(Link {
            up: true,
            speed: self.speed,
        })
    }
}

/// Whether the PF refused; an error if it did not answer.
fn refused(answer: Result<(), Error>) -> Result<bool, Error> {
    match answer {
        Ok(()) => Ok(false),
        Err(e @ (Error::Timeout | Error::NotClearToSend)) => Err(e),
        Err(Error::Nack | Error::Unsupported | Error::Protocol) => Ok(true),
    }
}

/// Lets the vectors of `mask` interrupt (`ixgbevf_irq_enable`).
pub fn irq_enable(io: &impl Regs, mask: u32) {
    io.write32(VTEIAM, mask);
    io.write32(VTEIAC, mask);
    io.write32(VTEIMS, mask);
}

/// Masks all vectors; the caller then waits for handlers that run.
pub fn irq_disable(io: &impl Regs) {
    io.write32(VTEIAM, 0);
    io.write32(VTEIMC, !0);
    io.write32(VTEIAC, 0);
    io.read32(VFSTATUS);
}

/// 01:80:c2:00:00:0X, which no bridge forwards.
pub fn is_link_local(addr: &[u8; 6]) -> bool {
    matches!(addr, [0x01, 0x80, 0xC2, 0, 0, last] if last & 0xF0 == 0)
}

/// The 12 bits of a multicast address that index MTA, by `MCSTCTRL.MO` (`ixgbe_mta_vector`).
pub fn mta_vector(filter_type: u32, addr: &[u8; 6]) -> u16 {
    let [.., low, high] = *addr;
    let (low, high) = (u16::from(low), u16::from(high));
    let vector = match filter_type {
        0 => low >> 4 | high << 4,
        1 => low >> 3 | high << 5,
        2 => low >> 2 | high << 6,
        3 => low | high << 8,
        _ => 0,
    };
    vector & 0xFFF
}
