// SPDX-License-Identifier: GPL-2.0
//! The device as a whole: its state, and its answers to register accesses, frames and time.

use libixgbe::regs;

use crate::cage::{
    module::{Kind, Speeds},
    Cage,
};
use crate::chip::Chip;
use crate::debug::Debug;
use crate::decode::{decode, Reg};
use crate::eeprom::Eeprom;
use crate::host::{Function, Host};
use crate::intr::{PfInterrupts, VfInterrupts};
use crate::mailbox::Mailbox;
use crate::phy::Phy;
use crate::queue::{Change, HeadWrite, QueueReg, Ring, Rules};
use crate::quirk::Quirks;
use crate::regs_file::RegisterFile;
use crate::rx::{PacketBuffer, RxPolicy};
use crate::tx::TxState;
use crate::writeback::Late;

/// Virtual functions. Pools number 64; the C driver keeps the last for the PF.
pub const MAX_VFS: u8 = 63;
/// Queues of each direction.
pub const QUEUES: u8 = 128;

/// What a user chooses when the device is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address in the EEPROM.
    pub mac: [u8; 6],
    /// What writes to ring heads do.
    pub head_write: HeadWrite,
    /// What else it does that not every card does.
    pub quirks: Quirks,
    /// Which of the family it is.
    pub chip: Chip,
    /// What its cage has, if it has one.
    pub module: Kind,
    /// Speeds of the partner at the other end of the cable.
    pub partner: Speeds,
    /// Number of the port on its card, 0 or 1.
    pub port: u8,
}

impl Config {
    /// A KX4 with this address, without quirks.
    pub fn new(mac: [u8; 6], head_write: HeadWrite) -> Self {
        Self {
            mac,
            head_write,
            quirks: Quirks::default(),
            chip: Chip::default(),
            module: Kind::default(),
            partner: Speeds {
                one: true,
                ten: true,
                ..Speeds::default()
            },
            port: 0,
        }
    }
}

/// State of a virtual function.
#[derive(Clone, Debug, Default)]
pub struct VfState {
    pub(crate) mailbox: Mailbox,
    pub(crate) intr: VfInterrupts,
}

/// A software 82599.
pub struct Device {
    pub(crate) config: Config,
    pub(crate) regs: RegisterFile,
    pub(crate) eeprom: Eeprom,
    pub(crate) intr: PfInterrupts,
    pub(crate) vfs: Vec<VfState>,
    /// How many of them SR-IOV has switched on.
    pub(crate) enabled_vfs: u8,
    pub(crate) rx: Vec<Ring>,
    pub(crate) rx_policy: Vec<RxPolicy>,
    pub(crate) tx: Vec<Ring>,
    pub(crate) tx_state: Vec<TxState>,
    /// Write-backs that wait, see `writeback`.
    pub(crate) rx_late: Vec<Late>,
    pub(crate) tx_late: Vec<Late>,
    /// Some of them have a time.
    pub(crate) late_deadlines: bool,
    /// The event of the quirk `stray-mdd` was raised since the last reset.
    pub(crate) stray_told: bool,
    /// Work done since power-up: descriptors taken, frames sent and delivered.
    pub(crate) spent: u64,
    /// Transmit queues that have something to do.
    pub(crate) tx_work: u128,
    /// Transmit queues that wait for their rate limit.
    pub(crate) rate_waiting: u128,
    /// What the host's timer was last set to.
    armed: Option<u64>,
    /// The wire has asked to wait.
    pub(crate) wire_busy: bool,
    pub(crate) packet_buffer: PacketBuffer,
    pub(crate) link: bool,
    /// Of a chip that has one.
    pub(crate) cage: Option<Cage>,
    /// Likewise.
    pub(crate) phy: Option<Phy>,
    pub(crate) debug: Debug,
}

impl Device {
    /// A device as it comes out of power-up.
    pub fn new(config: Config) -> Self {
        let queues = usize::from(QUEUES);
        let cage = config
            .chip
            .traits()
            .cage
            .then(|| Cage::new(config.module, config.partner));
        let phy = (config.chip.traits().x540).then(|| Phy::new(config.partner, config.chip));
        let mut device = Self {
            eeprom: Eeprom::new(config.mac, config.chip, &config.quirks),
            config,
            regs: RegisterFile::default(),
            intr: PfInterrupts::default(),
            vfs: vec![VfState::default(); usize::from(MAX_VFS)],
            enabled_vfs: 0,
            rx: vec![Ring::default(); queues],
            rx_policy: vec![RxPolicy::default(); queues],
            tx: vec![Ring::default(); queues],
            tx_state: vec![TxState::default(); queues],
            rx_late: vec![Late::default(); queues],
            tx_late: vec![Late::default(); queues],
            late_deadlines: false,
            stray_told: false,
            spent: 0,
            tx_work: 0,
            rate_waiting: 0,
            armed: None,
            wire_busy: false,
            packet_buffer: PacketBuffer::default(),
            link: true,
            cage,
            phy,
            debug: Debug::default(),
        };
        device.preload();
        device
    }

    /// What the device reads from its EEPROM after a reset: receive address 0.
    pub(crate) fn preload(&mut self) {
        let [a, b, c, d, e, f] = self.config.mac;
        self.regs.set(0xA200, u32::from_le_bytes([a, b, c, d]));
        self.regs
            .set(0xA204, regs::RAH_AV | u32::from(u16::from_le_bytes([e, f])));
        for (address, value) in self.config.chip.traits().registers {
            self.regs.set(*address, *value);
        }
        if self.config.quirks.firmware_error {
            // As cards in service were seen to have it, with the firmware valid.
            let fwsm = self.regs.get(regs::FWSM) | 0x0118_0000;
            self.regs.set(regs::FWSM, fwsm);
        }
        self.reset_cage();
        self.reset_phy();
    }

    /// Changes what the device does from now on; of what happens at a reset, from the next one.
    pub fn set_quirks(&mut self, quirks: Quirks) {
        self.config.quirks = quirks;
    }

    /// A read of a function's BAR 0. Never fails: what is not there reads 0.
    pub fn read(&mut self, host: &mut dyn Host, function: Function, address: u32) -> u32 {
        self.debug.count_read(function);
        match function {
            Function::Pf => self.pf_read(host, address),
            Function::Vf(vf) => self.vf_read(host, vf, address & !3),
        }
    }

    /// A write to a function's BAR 0.
    pub fn write(&mut self, host: &mut dyn Host, function: Function, address: u32, value: u32) {
        self.debug.count_write(function);
        match function {
            Function::Pf => self.pf_write(host, address, value),
            Function::Vf(vf) => self.vf_write(host, vf, address & !3, value),
        }
    }

    fn pf_read(&mut self, host: &mut dyn Host, address: u32) -> u32 {
        match decode(address) {
            Reg::Ctrl => self.regs.get(regs::CTRL),
            Reg::Status => self.status(),
            Reg::Frtimer => frtimer(host),
            Reg::Eec => self.eeprom.control(),
            // Of the X550's EEPROM firmware alone knows.
            Reg::Eerd | Reg::Eewr if self.config.chip.traits().x550 => 0,
            Reg::Eerd => self.eeprom.read_register(),
            Reg::Eewr => self.eeprom.write_register(),
            Reg::Swsm => self.swsm_read(),
            Reg::SwFwSync => self.sync_read(),
            Reg::Hicr => self.hicr_read(),
            Reg::Msrwd => self.mdio_data(),
            Reg::Links => self.links(),
            Reg::Pins => self.pins(),
            Reg::I2c => self.i2c_read(),
            Reg::Pcs1g => self.pcs_1g(),
            Reg::Intr(reg) => self.intr_read(host, reg),
            Reg::IntrEx(reg, half) => self.intr_ex_read(reg, half),
            Reg::Eitr(i) => self.eitr_read(i),
            Reg::Rx(queue, reg) => self.rx_read(queue, reg),
            Reg::Tx(queue, reg) => self.tx_read(queue, reg),
            Reg::Qde => self.queue_drop_read(),
            Reg::Rttbcnrc => self.rate_read(),
            Reg::PfMailbox(vf) => self
                .vfs
                .get(usize::from(vf))
                .map_or(0, |vf| vf.mailbox.pf_read()),
            Reg::Mailbox(vf, dword) => self
                .vfs
                .get(usize::from(vf))
                .map_or(0, |vf| vf.mailbox.load(dword)),
            Reg::Mbvficr(i) => self.regs.get(regs::pfmbicr(i)),
            // The X540 has it at the address that clears it, and nothing where the 82599 has it.
            Reg::Vflre(_) if self.config.chip.traits().x540 => 0,
            Reg::Vflre(i) | Reg::Vflrec(i) => self.regs.get(regs::vflre(i)),
            Reg::Vf(vf, own) => self.vf_read(host, vf, own),
            Reg::Counter(address) | Reg::Lvmmc(address) => {
                let value = self.regs.get(address);
                self.regs.set(address, 0);
                value
            }
            Reg::CtrlExt => self.regs.get(regs::CTRL_EXT),
            Reg::Msca => self.regs.get(regs::MSCA),
            Reg::Autoc => self.regs.get(regs::AUTOC),
            Reg::Fdirctrl => self.regs.get(regs::FDIRCTRL),
            Reg::Fdircmd => self.regs.get(regs::FDIRCMD),
            Reg::Wqbr(address) | Reg::ReadOnly(address) | Reg::Plain(address) => {
                self.regs.get(address)
            }
        }
    }

    fn pf_write(&mut self, host: &mut dyn Host, address: u32, value: u32) {
        match decode(address) {
            Reg::Ctrl => self.write_ctrl(host, value),
            Reg::CtrlExt => {
                self.regs.set(regs::CTRL_EXT, value);
                if value & regs::CTRL_EXT_PFRSTD != 0 {
                    self.pf_reset_done();
                }
            }
            Reg::Status
            | Reg::Frtimer
            | Reg::Links
            | Reg::Pcs1g
            | Reg::Counter(_)
            | Reg::Lvmmc(_)
            | Reg::ReadOnly(_) => {}
            Reg::Vflre(_) => {}
            Reg::Eec => self.eeprom.set_control(value),
            Reg::Eerd | Reg::Eewr if self.config.chip.traits().x550 => {}
            Reg::Eerd => {
                let held = self.holds(regs::GSSR_EEP_SM);
                self.eeprom.start_read(value, held);
            }
            Reg::Eewr => {
                let held = self.holds(regs::GSSR_EEP_SM);
                self.eeprom.start_write(value, held);
            }
            Reg::Swsm => self.regs.set(regs::SWSM, value),
            Reg::SwFwSync => self.sync_write(value),
            Reg::Hicr => self.hicr_write(value),
            Reg::Msca => self.mdio_command(host, value),
            Reg::Msrwd => self.mdio_set_data(value),
            Reg::Autoc if self.config.chip.traits().x540 => {}
            Reg::Autoc => {
                self.regs.set(regs::AUTOC, value & !regs::AUTOC_AN_RESTART);
                self.link_moved(host);
                if value & regs::AUTOC_AN_RESTART != 0 {
                    // The link comes back at once.
                    self.misc_event(host, regs::EICR_LSC);
                }
            }
            Reg::Pins => self.write_pins(host, value),
            Reg::I2c => self.i2c_write(value),
            Reg::Fdirctrl => self
                .regs
                .set(regs::FDIRCTRL, value | regs::FDIRCTRL_INIT_DONE),
            Reg::Fdircmd => self
                .regs
                .set(regs::FDIRCMD, value & !regs::FDIRCMD_CMD_MASK),
            Reg::Intr(reg) => self.intr_write(host, reg, value),
            Reg::IntrEx(reg, half) => self.intr_ex_write(host, reg, half, value),
            Reg::Eitr(i) => self.eitr_write(host, i, value),
            Reg::Rx(queue, reg) => self.rx_write(host, queue, reg, value),
            Reg::Tx(queue, reg) => self.tx_write(host, queue, reg, value),
            Reg::Qde => self.queue_drop_write(value),
            Reg::Rttbcnrc => self.rate_write(host, value),
            Reg::PfMailbox(vf) => {
                let signal = self
                    .vfs
                    .get_mut(usize::from(vf))
                    .map(|vf| vf.mailbox.pf_write(value));
                if signal.is_some_and(|signal| signal.message || signal.ack) {
                    self.vf_mailbox_event(host, vf);
                }
            }
            Reg::Mailbox(vf, dword) => {
                if let Some(vf) = self.vfs.get_mut(usize::from(vf)) {
                    vf.mailbox.store(dword, value);
                }
            }
            Reg::Mbvficr(i) => {
                let left = self.regs.get(regs::pfmbicr(i)) & !value;
                self.regs.set(regs::pfmbicr(i), left);
            }
            Reg::Vflrec(i) => {
                let left = self.regs.get(regs::vflre(i)) & !value;
                self.regs.set(regs::vflre(i), left);
            }
            Reg::Wqbr(address) => {
                let left = self.regs.get(address) & !value;
                self.regs.set(address, left);
                self.unblock();
                self.resume_all(host);
            }
            Reg::Vf(vf, own) => self.vf_write(host, vf, own, value),
            Reg::Plain(address) => {
                self.regs.write(address, value);
                self.plain_written(host, address);
            }
        }
    }

    /// Registers that are storage, but whose change may let traffic flow.
    fn plain_written(&mut self, host: &mut dyn Host, address: u32) {
        match address {
            regs::RXCTRL | regs::SECRXCTRL => self.drain_packet_buffer(host),
            regs::DMATXCTL => self.resume_all(host),
            regs::AUTOC2 | regs::MACC => self.link_moved(host),
            regs::CORECTL => self.core_written(host, self.regs.get(address)),
            _ if address == regs::vfte(0) || address == regs::vfte(1) => self.resume_all(host),
            _ if address == regs::vfre(0) || address == regs::vfre(1) => {
                self.drain_packet_buffer(host)
            }
            _ => {}
        }
    }

    /// What queues do when they are written to and read.
    fn rules(&self, transmit: bool, queue: u8) -> Rules {
        let quirks = &self.config.quirks;
        Rules {
            head: self.config.head_write,
            sticks: quirks.sticks(transmit, queue),
            zeroes_head: quirks.enable_zeroes_head,
            fetch_ahead: if transmit { quirks.fetch_ahead } else { 0 },
            hides_enable: quirks.start_needs_link && !self.link_up(),
            holds_enable: quirks.stop_needs_link && !self.link_up(),
        }
    }

    /// A read of a receive queue, by its number in the PF's space.
    pub(crate) fn rx_read(&mut self, queue: u8, reg: QueueReg) -> u32 {
        let rules = self.rules(false, queue);
        self.rx
            .get_mut(usize::from(queue))
            .map_or(0, |ring| ring.read(reg, rules))
    }

    /// The same of a transmit queue.
    pub(crate) fn tx_read(&mut self, queue: u8, reg: QueueReg) -> u32 {
        let rules = self.rules(true, queue);
        self.tx
            .get_mut(usize::from(queue))
            .map_or(0, |ring| ring.read(reg, rules))
    }

    /// A write to a receive queue, by its number in the PF's space.
    pub(crate) fn rx_write(&mut self, host: &mut dyn Host, queue: u8, reg: QueueReg, value: u32) {
        if reg == QueueReg::Control && value & regs::RXDCTL_SWFLSH != 0 {
            self.write_back_flush(host, queue, false);
        }
        let rules = self.rules(false, queue);
        let change = self
            .rx
            .get_mut(usize::from(queue))
            .map(|ring| ring.write(reg, value, rules));
        if change == Some(Change::Stopped) {
            self.write_back_forget(queue, false);
        }
        if matches!(change, Some(Change::Work | Change::Stopped)) {
            self.drain_packet_buffer(host);
        }
    }

    /// The same for a transmit queue.
    pub(crate) fn tx_write(&mut self, host: &mut dyn Host, queue: u8, reg: QueueReg, value: u32) {
        if reg == QueueReg::Control && value & regs::TXDCTL_SWFLSH != 0 {
            self.write_back_flush(host, queue, true);
        }
        let rules = self.rules(true, queue);
        match self
            .tx
            .get_mut(usize::from(queue))
            .map(|ring| ring.write(reg, value, rules))
        {
            Some(Change::Work) => self.transmit_work(host, queue),
            Some(Change::Stopped) => self.tx_stopped(queue),
            Some(Change::None) | None => {}
        }
    }

    /// A transmit queue stopped.
    pub(crate) fn tx_stopped(&mut self, queue: u8) {
        self.forget_partial(queue);
        self.write_back_forget(queue, true);
        if self.config.quirks.lose_contexts {
            self.forget_contexts(queue);
        }
    }

    fn status(&self) -> u32 {
        // GIO master enable follows CTRL at once: no request of the model outlives a register access.
        let enabled = if self.regs.any(regs::CTRL, regs::CTRL_GIO_DIS) {
            0
        } else {
            regs::STATUS_GIO
        };
        enabled | u32::from(self.config.port & 1) << regs::STATUS_LAN_ID_SHIFT
    }

    /// Whether the MAC has a link: the cable, or the loopback test's force bit (AUTOC.FLU).
    pub(crate) fn link_up(&self) -> bool {
        self.link_speed().is_some()
    }

    /// LINKS: no auto-negotiation of a backplane.
    pub(crate) fn links(&self) -> u32 {
        self.link_speed().map_or(0, |speed| regs::LINKS_UP | speed)
    }

    /// State of the 1 Gb/s link: it negotiated, if there is one that does.
    fn pcs_1g(&self) -> u32 {
        let negotiates = self.regs.get(regs::AUTOC) & regs::AUTOC_LMS_MASK == regs::AUTOC_LMS_1G_AN;
        match self.link_speed() {
            Some(regs::LINKS_SPEED_1G_82599) if negotiates => 1 | regs::PCS1GLSTA_AN_COMPLETE,
            Some(regs::LINKS_SPEED_1G_82599) => 1,
            _ => 0,
        }
    }

    /// What [`crate::host::Clock::arm`] asked for.
    pub fn timer(&mut self, host: &mut dyn Host) {
        self.armed = None;
        self.interrupt_timer(host);
        self.rate_timer(host);
        self.write_back_timer(host);
        self.rearm(host);
    }

    /// What [`crate::host::Clock::kick`] asked for.
    pub fn work(&mut self, host: &mut dyn Host) {
        self.transmit_all(host);
    }

    /// The wire takes frames again.
    pub fn wire_ready(&mut self, host: &mut dyn Host) {
        self.wire_busy = false;
        self.transmit_all(host);
    }

    /// A function may have become bus master.
    pub fn bus_master_changed(&mut self, host: &mut dyn Host) {
        self.drain_packet_buffer(host);
        self.resume_all(host);
    }

    /// Asks for the earliest time at which something is due.
    pub(crate) fn rearm(&mut self, host: &mut dyn Host) {
        let deadline = [
            self.interrupt_deadline(),
            self.rate_deadline(),
            self.write_back_deadline(),
        ]
        .into_iter()
        .flatten()
        .min();
        // Most interrupts leave nothing behind, and a timer of the host is not free.
        if deadline != self.armed {
            self.armed = deadline;
            host.arm(deadline);
        }
    }

    /// Counters for tests and benchmarks.
    pub fn debug(&mut self) -> &mut Debug {
        &mut self.debug
    }
}

/// The free running timer, in microseconds.
pub(crate) fn frtimer(host: &dyn Host) -> u32 {
    ((host.now() / 1000) & u64::from(u32::MAX)) as u32
}
