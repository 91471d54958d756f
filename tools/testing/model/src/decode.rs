// SPDX-License-Identifier: GPL-2.0
//! From a register's address to what it is. Everything with a side effect has a variant here; the rest is
//! [`Reg::Plain`].

use libixgbe::regs;

use crate::queue::QueueReg;
use crate::regs_file::canonical;
use crate::{MAX_VFS, QUEUES};

/// Registers of one function's own interrupt block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntrReg {
    /// Cause; reading clears.
    Cause,
    /// Cause set; reads as the cause, without clearing it.
    Set,
    /// Mask set and read.
    Mask,
    /// Mask clear.
    MaskClear,
    /// Auto clear.
    AutoClear,
    /// Auto mask.
    AutoMask,
}

/// A register of the PF's space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reg {
    /// Device control: resets, PCIe master disable.
    Ctrl,
    /// Device status.
    Status,
    /// PFRSTD.
    CtrlExt,
    /// Free running timer.
    Frtimer,
    /// EEPROM control.
    Eec,
    /// EEPROM read.
    Eerd,
    /// EEPROM write.
    Eewr,
    /// Software semaphore, set by reading.
    Swsm,
    /// Semaphores with firmware.
    SwFwSync,
    /// Command to firmware, completes at once.
    Hicr,
    /// MDIO command, completes at once.
    Msca,
    /// MDIO data.
    Msrwd,
    /// Auto-negotiation control.
    Autoc,
    /// Link status.
    Links,
    /// Software-definable pins.
    Pins,
    /// I2C of a module.
    I2c,
    /// State of the 1 Gb/s link.
    Pcs1g,
    /// Flow director control: initialisation completes at once.
    Fdirctrl,
    /// Flow director command: completes at once.
    Fdircmd,
    /// The PF's interrupt block.
    Intr(IntrReg),
    /// Its extension to 64 vectors: block and half.
    IntrEx(IntrReg, u32),
    /// Moderation of a vector.
    Eitr(u32),
    /// VMDq queue of receive.
    Rx(u8, QueueReg),
    /// Transmit queue.
    Tx(u8, QueueReg),
    /// Queue drop enable.
    Qde,
    /// Rate limiter of the selected queue.
    Rttbcnrc,
    /// Mailbox control of a VF, PF side.
    PfMailbox(u8),
    /// Mailbox memory: VF and dword.
    Mailbox(u8, u8),
    /// Mailbox causes of 16 VFs, write 1 clears.
    Mbvficr(u32),
    /// Reset events of 32 VFs.
    Vflre(u32),
    /// Clears them.
    Vflrec(u32),
    /// Wrong behaviour of 32 queues, write 1 clears.
    Wqbr(u32),
    /// Last misbehaviour; reading clears.
    Lvmmc(u32),
    /// A register of a VF, at its address in the VF's own space.
    Vf(u8, u32),
    /// A counter that reading clears.
    Counter(u32),
    /// A counter or state that software cannot write.
    ReadOnly(u32),
    /// Nothing but storage, at its canonical address.
    Plain(u32),
}

/// `Some(i)` if `address` is register `i` of `count` in a row at `base`, 4 bytes apart.
fn row(address: u32, base: u32, count: u32) -> Option<u32> {
    let offset = address.checked_sub(base)?;
    (offset < count * 4).then_some(offset / 4)
}

/// The same as a VF number.
fn vf_row(address: u32, base: u32) -> Option<u8> {
    row(address, base, u32::from(MAX_VFS)).and_then(|i| u8::try_from(i).ok())
}

/// Decodes an address below [`crate::regs_file::SPACE`]; the two low bits are ignored, as the bus does.
pub(crate) fn decode(address: u32) -> Reg {
    let address = canonical(address & !3);
    match address {
        regs::CTRL | 0x4 => Reg::Ctrl,
        regs::STATUS => Reg::Status,
        regs::CTRL_EXT => Reg::CtrlExt,
        regs::FRTIMER => Reg::Frtimer,
        regs::EEC => Reg::Eec,
        regs::EERD => Reg::Eerd,
        regs::EEWR => Reg::Eewr,
        regs::SWSM => Reg::Swsm,
        regs::GSSR => Reg::SwFwSync,
        regs::HICR => Reg::Hicr,
        regs::MSCA => Reg::Msca,
        regs::MSRWD => Reg::Msrwd,
        regs::AUTOC => Reg::Autoc,
        regs::LINKS => Reg::Links,
        regs::ESDP => Reg::Pins,
        regs::I2CCTL => Reg::I2c,
        regs::PCS1GLSTA => Reg::Pcs1g,
        regs::FDIRCTRL => Reg::Fdirctrl,
        regs::FDIRCMD => Reg::Fdircmd,
        regs::QDE => Reg::Qde,
        regs::RTTBCNRC => Reg::Rttbcnrc,
        regs::LVMMC_RX | regs::LVMMC_TX => Reg::Lvmmc(address),
        regs::SSVPC | regs::TXDGPC => Reg::Counter(address),
        0x01C0 | 0x0600 | 0x0300..=0x0FFF => events(address),
        0x1000..=0x1FFF | 0xD000..=0xDFFF => rx_block(address),
        0x6000..=0x7FFF => tx_block(address),
        0x3F00..=0x3FBF | 0x4000..=0x41BF | 0xCF90 => Reg::Counter(address),
        // Octets and packets of the 16 counter sets, high and low.
        0x8700..=0x877F => Reg::Counter(address),
        // VF transmit counters, PF side.
        0x8300..=0x85FF => Reg::ReadOnly(address),
        0x4B00..=0x4EFF => mailbox_block(address),
        0x8130..=0x813F | 0x2FB0..=0x2FBF => Reg::Wqbr(address),
        0x1_2000..=0x1_27FF => vectors_block(address),
        0x1_3000..=0x1_3FFF => {
            let offset = address - 0x1_3000;
            match u8::try_from(offset / 64) {
                Ok(vf) if vf < MAX_VFS => Reg::Mailbox(vf, (offset % 64 / 4) as u8),
                _ => Reg::Plain(address),
            }
        }
        0xEA00..=0xEAFF => Reg::Plain(address),
        other => Reg::Plain(other),
    }
}

/// Makes a register of its number in a row.
type Variant = fn(u32) -> Reg;

/// Interrupts, VF events and the PF's view of the VFs' interrupt blocks.
fn events(address: u32) -> Reg {
    let fixed = match address {
        regs::EICR => Some(Reg::Intr(IntrReg::Cause)),
        regs::EICS => Some(Reg::Intr(IntrReg::Set)),
        regs::EIMS => Some(Reg::Intr(IntrReg::Mask)),
        regs::EIMC => Some(Reg::Intr(IntrReg::MaskClear)),
        regs::EIAC => Some(Reg::Intr(IntrReg::AutoClear)),
        regs::EIAM => Some(Reg::Intr(IntrReg::AutoMask)),
        0x0600 => Some(Reg::Vflre(0)),
        0x01C0 => Some(Reg::Vflre(1)),
        _ => None,
    };
    if let Some(reg) = fixed {
        return reg;
    }
    let tables: [(u32, u32, Variant); 7] = [
        (regs::eics_ex(0), 2, |i| Reg::IntrEx(IntrReg::Set, i)),
        (regs::eims_ex(0), 2, |i| Reg::IntrEx(IntrReg::Mask, i)),
        (regs::eimc_ex(0), 2, |i| Reg::IntrEx(IntrReg::MaskClear, i)),
        (regs::eiam_ex(0), 2, |i| Reg::IntrEx(IntrReg::AutoMask, i)),
        (regs::eitr(0), 24, Reg::Eitr),
        (regs::vflrec(0), 2, Reg::Vflrec),
        (regs::pfmbicr(0), 4, Reg::Mbvficr),
    ];
    for (base, count, make) in tables {
        if let Some(i) = row(address, base, count) {
            return make(i);
        }
    }
    vf_window(
        address,
        &[
            (regs::pvfctrl(0), regs::VFCTRL),
            (regs::pvteicr(0), regs::VTEICR),
            (regs::pvteics(0), regs::VTEICS),
            (regs::pvteims(0), regs::VTEIMS),
            (regs::pvteimc(0), regs::VTEIMC),
            (regs::pvteiac(0), regs::VTEIAC),
        ],
    )
}

/// Rows with one register for each VF, paired with that register's address in the VF's own space.
fn vf_window(address: u32, rows: &[(u32, u32)]) -> Reg {
    rows.iter()
        .find_map(|(base, own)| Some(Reg::Vf(vf_row(address, *base)?, *own)))
        .unwrap_or(Reg::Plain(address))
}

/// Mailbox control, and more of the PF's view of VF registers.
fn mailbox_block(address: u32) -> Reg {
    if let Some(vf) = vf_row(address, regs::pfmailbox(0)) {
        return Reg::PfMailbox(vf);
    }
    vf_window(
        address,
        &[
            (regs::pvfmailbox(0), regs::VFMAILBOX),
            (regs::pvteiam(0), regs::VTEIAM),
            (regs::pvtivar_misc(0), regs::VTIVAR_MISC),
        ],
    )
}

/// EITR 24 and up, VTIVAR and VTRSCINT of all VFs.
fn vectors_block(address: u32) -> Reg {
    if let Some(i) = row(address, regs::eitr(24), 105) {
        return Reg::Eitr(i + 24);
    }
    vf_window(
        address,
        &[
            (regs::pvtivar(0), regs::vtivar(0)),
            (regs::pvtrscint(0), regs::vtrscint(0)),
        ],
    )
}

/// The two blocks of receive queues, and the counters between them.
fn rx_block(address: u32) -> Reg {
    let (queue, upper) = match address {
        0x1000..=0x1FFF => ((address - 0x1000) / 0x40, false),
        _ => ((address - 0xD000) / 0x40 + 64, true),
    };
    let offset = address % 0x40;
    match (offset, u8::try_from(queue)) {
        // VF counters.
        (0x1C | 0x20, _) => Reg::ReadOnly(address),
        // QPRC, QBRC; QPRDC stands in the block 16 queues further.
        (0x30, _) if !upper && queue < 32 => Reg::Counter(address),
        (0x34 | 0x38, _) if !upper && queue < 16 => Reg::Counter(address),
        (_, Ok(queue)) => match QueueReg::receive(offset) {
            Some(reg) if queue < QUEUES => Reg::Rx(queue, reg),
            _ => Reg::Plain(address),
        },
        _ => Reg::Plain(address),
    }
}

/// Transmit queues and their packet counters.
fn tx_block(address: u32) -> Reg {
    let queue = (address - 0x6000) / 0x40;
    let offset = address % 0x40;
    match (offset, u8::try_from(queue)) {
        (0x30, _) if queue < 16 => Reg::Counter(address),
        (_, Ok(queue)) if queue < QUEUES => match QueueReg::transmit(offset) {
            Some(reg) => Reg::Tx(queue, reg),
            None => Reg::Plain(address),
        },
        _ => Reg::Plain(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address of a VF's register.
    type Row = fn(u32) -> u32;

    #[test]
    fn every_vf_has_its_row() {
        let rows: [(Row, u32); 10] = [
            (regs::pvfctrl, regs::VFCTRL),
            (regs::pvteicr, regs::VTEICR),
            (regs::pvteics, regs::VTEICS),
            (regs::pvteims, regs::VTEIMS),
            (regs::pvteimc, regs::VTEIMC),
            (regs::pvteiac, regs::VTEIAC),
            (regs::pvteiam, regs::VTEIAM),
            (regs::pvfmailbox, regs::VFMAILBOX),
            (regs::pvtivar_misc, regs::VTIVAR_MISC),
            (regs::pvtivar, regs::vtivar(0)),
        ];
        for vf in 0..MAX_VFS {
            for (row, own) in rows {
                let address = row(u32::from(vf));
                assert_eq!(decode(address), Reg::Vf(vf, own), "{address:#x}");
            }
            assert_eq!(decode(regs::pfmailbox(u32::from(vf))), Reg::PfMailbox(vf));
            for dword in 0..16 {
                let address = regs::pfmbmem(u32::from(vf)) + 4 * u32::from(dword);
                assert_eq!(decode(address), Reg::Mailbox(vf, dword));
            }
        }
    }

    #[test]
    fn every_queue_has_its_registers() {
        for queue in 0..QUEUES {
            let q = u32::from(queue);
            let rx = |reg| Reg::Rx(queue, reg);
            let tx = |reg| Reg::Tx(queue, reg);
            for (address, reg) in [
                (regs::rdbal(q), rx(QueueReg::BaseLow)),
                (regs::rdlen(q), rx(QueueReg::Length)),
                (regs::rdh(q), rx(QueueReg::Head)),
                (regs::rdt(q), rx(QueueReg::Tail)),
                (regs::srrctl(q), rx(QueueReg::SplitControl)),
                (regs::rxdctl(q), rx(QueueReg::Control)),
                (regs::tdbah(q), tx(QueueReg::BaseHigh)),
                (regs::tdh(q), tx(QueueReg::Head)),
                (regs::tdt(q), tx(QueueReg::Tail)),
                (regs::txdctl(q), tx(QueueReg::Control)),
                (regs::tdwbal(q), tx(QueueReg::HeadAddressLow)),
            ] {
                assert_eq!(decode(address), reg, "{address:#x}");
            }
        }
    }
}
