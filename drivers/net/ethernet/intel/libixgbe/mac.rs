// SPDX-License-Identifier: GPL-2.0
//! Reset, start and stop of an 82599 (datasheet 4.2, 4.6.3, 5.2.5.3.2; `ixgbe_82599.c`,
//! `ixgbe_common.c`).

use crate::{
    chip::Chip,
    filter,
    io::{
        modify,
        poll, //
    },
    link::{
        self,
        FlowControl, //
    },
    regs::*,
    stats,
    Delay,
    Regs, //
};

/// Queues of the device, in each direction.
pub const MAX_QUEUES: u32 = 128;

/// Why the device could not be brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The reset bit did not clear.
    ResetTimeout,
    /// The device did not stop its PCIe requests, even after waiting for those outstanding.
    PrimaryTimeout,
    /// Firmware or another driver keeps the PHY.
    Busy,
    /// Link or flow control.
    Link(link::Error),
}

/// What a reset must remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac {
    /// What kind of device it is.
    chip: Chip,
    /// Address of the EEPROM, seen after the first reset.
    pub perm_addr: [u8; 6],
    /// AUTOC as the EEPROM left it.
    pub orig_autoc: Option<u32>,
    /// Upper half of AUTOC2 likewise.
    orig_autoc2: u32,
    /// The device did not stop its requests: reset it twice (datasheet 5.2.5.3.2).
    double_reset: bool,
    /// Internal switching was on before the receiver was stopped.
    set_lben: bool,
}

impl Default for Mac {
    fn default() -> Self {
        Self::new()
    }
}

impl Mac {
    /// An 82599 before the first reset.
    pub const fn new() -> Self {
        Self::of(Chip::I82599)
    }

    /// The same of another chip.
    pub const fn of(chip: Chip) -> Self {
        Self {
            chip,
            perm_addr: [0; 6],
            orig_autoc: None,
            orig_autoc2: 0,
            double_reset: false,
            set_lben: false,
        }
    }

    /// Stops the receiver, and internal switching with it (`ixgbe_disable_rx_generic`).
    pub fn disable_rx(&mut self, io: &(impl Regs + Delay)) {
        let rxctrl = io.read32(RXCTRL);
        if rxctrl & RXCTRL_RXEN == 0 {
            return;
        }
        let switch = io.read32(PFDTXGSWC);
        self.set_lben = switch & PFDTXGSWC_VT_LBEN != 0;
        if self.set_lben {
            io.write32(PFDTXGSWC, switch & !PFDTXGSWC_VT_LBEN);
        }
        if !self.chip.disable_rx(io) {
            io.write32(RXCTRL, rxctrl & !RXCTRL_RXEN);
        }
    }

    /// Starts the receiver (`ixgbe_enable_rx_dma_82599`).
    ///
    /// Frames that arrive before the receiver runs can hang its DMA, so the security block holds
    /// them back meanwhile.
    pub fn enable_rx(&mut self, io: &(impl Regs + Delay)) {
        link::disable_rx_buff(io);
        modify(io, RXCTRL, RXCTRL_RXEN, RXCTRL_RXEN);
        if self.set_lben {
            modify(io, PFDTXGSWC, PFDTXGSWC_VT_LBEN, PFDTXGSWC_VT_LBEN);
            self.set_lben = false;
        }
        link::enable_rx_buff(io);
    }

    /// Stops everything (`ixgbe_stop_adapter_generic`).
    ///
    /// `transactions_pending` reads that bit of the PCIe device status.
    ///
    /// # Errors
    /// [`Error::PrimaryTimeout`].
    pub fn stop(
        &mut self,
        io: &(impl Regs + Delay),
        transactions_pending: impl Fn() -> bool,
    ) -> Result<(), Error> {
        self.disable_rx(io);
        io.write32(EIMC, IRQ_CLEAR_MASK);
        io.read32(EICR);
        for q in 0..MAX_QUEUES {
            io.write32(txdctl(q), TXDCTL_SWFLSH);
        }
        for q in 0..MAX_QUEUES {
            let val = io.read32(rxdctl(q)) & !RXDCTL_ENABLE;
            io.write32(rxdctl(q), val | RXDCTL_SWFLSH);
        }
        io.read32(STATUS);
        io.usleep(1000);
        self.disable_pcie_primary(io, transactions_pending)
    }

    /// Stops PCIe requests, so that the reset does not hang the bus (`ixgbe_disable_pcie_primary`).
    fn disable_pcie_primary(
        &mut self,
        io: &(impl Regs + Delay),
        transactions_pending: impl Fn() -> bool,
    ) -> Result<(), Error> {
        io.write32(CTRL, CTRL_GIO_DIS);
        // TIMEOUT: 80 ms each, longer than a PCIe completion timeout of default length.
        let tries = PCI_PRIMARY_DISABLE_TIMEOUT;
        let set = poll(io, CTRL, 100, tries, |v| v & CTRL_GIO_DIS != 0).is_ok();
        if set && poll(io, STATUS, 100, tries, |v| v & STATUS_GIO == 0).is_ok() {
            return Ok(());
        }
        self.double_reset = true;
        for _ in 0..tries {
            io.udelay(100);
            if !transactions_pending() {
                return Ok(());
            }
        }
        Err(Error::PrimaryTimeout)
    }

    /// Empties the PCIe transaction layer before the first of two resets
    /// (`ixgbe_clear_tx_pending`).
    fn clear_tx_pending(&self, io: &(impl Regs + Delay), transactions_pending: impl Fn() -> bool) {
        if !self.double_reset {
            return;
        }
        // Loopback, so that nothing leaves should the link come up.
        let hlreg0 = io.read32(HLREG0);
        io.write32(HLREG0, hlreg0 | HLREG0_LPBK);
        io.read32(STATUS);
        io.usleep(3000);
        // TIMEOUT: 80 ms, then go on: this is the recovery path already.
        for _ in 0..PCI_PRIMARY_DISABLE_TIMEOUT {
            io.usleep(100);
            if !transactions_pending() {
                break;
            }
        }
        let gcr_ext = io.read32(GCR_EXT);
        io.write32(GCR_EXT, gcr_ext | GCR_EXT_BUFFERS_CLEAR);
        io.read32(STATUS);
        io.udelay(20);
        io.write32(GCR_EXT, gcr_ext);
        io.write32(HLREG0, hlreg0);
    }

    /// Resets the device and puts link settings and address filters back (`ixgbe_reset_hw_82599`).
    ///
    /// Every queue, filter and VF set-up is gone afterwards.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn reset(
        &mut self,
        io: &(impl Regs + Delay),
        transactions_pending: impl Fn() -> bool,
    ) -> Result<(), Error> {
        self.stop(io, &transactions_pending)?;
        self.clear_tx_pending(io, &transactions_pending);
        let mut result = self.chip.reset_once(io);
        if self.double_reset {
            self.double_reset = false;
            result = self.chip.reset_once(io);
        }
        result?;
        if self.chip.has_autoc() {
            self.restore_autoc(io)?;
        }
        // The reset loads RAR 0 from the EEPROM.
        self.perm_addr = filter::get_rar(io, 0);
        filter::init_rx_addrs(io);
        Ok(())
    }

    /// Puts AUTOC and AUTOC2 back to what the EEPROM said.
    fn restore_autoc(&mut self, io: &(impl Regs + Delay)) -> Result<(), Error> {
        let autoc = io.read32(AUTOC);
        let autoc2 = link::enable_link(io);
        match self.orig_autoc {
            None => {
                self.orig_autoc = Some(autoc);
                self.orig_autoc2 = autoc2;
            }
            Some(orig) => {
                if autoc != orig {
                    link::write_autoc(io, orig).map_err(Error::Link)?;
                }
                if (autoc2 ^ self.orig_autoc2) & AUTOC2_UPPER_MASK != 0 {
                    modify(io, AUTOC2, AUTOC2_UPPER_MASK, self.orig_autoc2);
                }
            }
        }
        Ok(())
    }

    /// Clears what a reset leaves and advertises flow control (`ixgbe_start_hw_82599`).
    ///
    /// # Errors
    /// [`Error::Link`].
    pub fn start(&self, io: &(impl Regs + Delay), fc: &FlowControl) -> Result<(), Error> {
        filter::clear_vfta(io);
        stats::clear_counters(io);
        modify(io, CTRL_EXT, CTRL_EXT_NS_DIS, CTRL_EXT_NS_DIS);
        io.read32(STATUS);
        // A PHY that does not answer keeps nothing else from being set up.
        let result = fc.setup(io).map_err(Error::Link);
        for q in 0..MAX_QUEUES {
            io.write32(RTTDQSEL, q);
            io.write32(RTTBCNRC, 0);
        }
        io.read32(STATUS);
        result
    }
}

/// Tells firmware whether a driver is in charge (`ixgbe_get_hw_control`,
/// `ixgbe_release_hw_control`).
pub fn set_hw_control(io: &impl Regs, in_charge: bool) {
    let val = if in_charge { CTRL_EXT_DRV_LOAD } else { 0 };
    modify(io, CTRL_EXT, CTRL_EXT_DRV_LOAD, val);
}

/// Tells the VFs that the PF is ready for their messages (`CTRL_EXT.PFRSTD`).
pub fn set_reset_done(io: &impl Regs) {
    modify(io, CTRL_EXT, CTRL_EXT_PFRSTD, CTRL_EXT_PFRSTD);
}

/// Splits the packet buffers: all of both to class 0 (`ixgbe_set_rxpba_generic`). Returns the Rx
/// share in KiB.
pub fn configure_packet_buffers(io: &impl Regs, chip: Chip) -> u32 {
    io.write32(rxpbsize(0), chip.rx_packet_buffer());
    io.write32(txpbsize(0), TXPBSIZE_MAX);
    // In KiB, less what the largest frame takes.
    io.write32(
        txpbthresh(0),
        (TXPBSIZE_MAX >> 10).wrapping_sub(TXPKT_SIZE_MAX),
    );
    for class in 1..MAX_PB {
        io.write32(rxpbsize(class), 0);
        io.write32(txpbsize(class), 0);
        io.write32(txpbthresh(class), 0);
    }
    chip.rx_packet_buffer() >> RXPBSIZE_SHIFT
}

/// Sets the largest frame, FCS included, and lets the MAC take frames of that size
/// (`ixgbe_set_rx_buffer_len`).
pub fn set_max_frame(io: &impl Regs, bytes: u32) {
    let bytes = bytes.max(1518);
    modify(io, MAXFRS, MHADD_MFS_MASK, bytes << MHADD_MFS_SHIFT);
    modify(io, HLREG0, HLREG0_JUMBOEN, HLREG0_JUMBOEN);
}

/// Switches the transmit engine on, before any queue is (`ixgbe_configure_tx`).
pub fn enable_tx_dma(io: &impl Regs) {
    modify(io, DMATXCTL, DMATXCTL_TE, DMATXCTL_TE);
}

/// Switches it off, after every queue is.
pub fn disable_tx_dma(io: &impl Regs) {
    modify(io, DMATXCTL, DMATXCTL_TE, 0);
}

/// Sets up what all receive queues share (`ixgbe_setup_rdrxctl`, RFCTL): CRC strip, no RSC, no NFS
/// filters.
pub fn configure_rx_common(io: &impl Regs) {
    modify(io, RSCDBU, RSCDBU_RSCACKDIS, RSCDBU_RSCACKDIS);
    // "Hardware requires some bits to be set by default" (`IXGBE_RDRXCTL_RSCACKC`, `_FCOE_WRFIX`).
    let set = RDRXCTL_RSCACKC | RDRXCTL_FCOE_WRFIX | RDRXCTL_CRCSTRIP;
    modify(io, RDRXCTL, set | RDRXCTL_RSCFRSTSIZE, set);
    let set = RFCTL_RSC_DIS | RFCTL_NFSW_DIS | RFCTL_NFSR_DIS;
    modify(io, RFCTL, set, set);
}
