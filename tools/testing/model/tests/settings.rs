// SPDX-License-Identifier: GPL-2.0
//! What the PF driver sets of the device, looked at from the other side: registers, and what frames become of them.
//!
//! Settings that a driver may lose without a test of its own noticing, found by `tools/testing/mutation`.

mod common;

use std::cell::RefCell;
use std::collections::HashMap;

use common::{frame, machine, RxRing, MAC, PEER};
use ixgbe_model::host::Function;
use libixgbe::itr::{self, Direction};
use libixgbe::mbx::pf as mailbox;
use libixgbe::rss::Rss;
use libixgbe::stats::HwStats;
use libixgbe::{eeprom, mac, regs, Delay, Regs};

#[test]
fn moderation_is_in_microseconds() {
    let machine = machine();
    let pf = machine.pf();
    // 2 us at bit 3 (8.2.3.5.12), 1022 at most.
    for (usecs, register) in [
        (0, 0),
        (2, 8),
        (10, 40),
        (500, 2000),
        (1022, 4088),
        (5000, 4088),
    ] {
        assert_eq!(itr::usecs_to_eitr(usecs), register);
        itr::write_eitr(&pf, 3, itr::usecs_to_eitr(usecs));
        assert_eq!(pf.read32(regs::eitr(3)) & 0xff8, register);
        assert_eq!(itr::eitr_to_usecs(register), usecs.min(1022));
    }
}

#[test]
fn every_queue_interrupts_by_its_vector() {
    let machine = machine();
    let pf = machine.pf();
    for queue in 0..16 {
        itr::set_ivar(&pf, Direction::Rx, queue, queue + 1);
        itr::set_ivar(&pf, Direction::Tx, queue, queue + 17);
    }
    for queue in 0..16 {
        let entries = pf.read32(regs::ivar(queue / 2)) >> (16 * (queue & 1));
        assert_eq!(entries & 0xff, 0x80 | (queue + 1), "Rx {queue}");
        assert_eq!(entries >> 8 & 0xff, 0x80 | (queue + 17), "Tx {queue}");
    }
}

#[test]
fn rss_is_written_as_it_was_chosen() {
    let machine = machine();
    let pf = machine.pf();
    let mut rss = Rss::new(core::array::from_fn(|i| 0x0101_0101 * i as u32 + 1), 4);
    rss.table = core::array::from_fn(|i| (i % 11) as u8);
    rss.configure(&pf, None);
    for i in 0..32u32 {
        let want = (0..4).fold(0, |word, j| word | ((4 * i + j) % 11) << (8 * j));
        assert_eq!(pf.read32(regs::reta(i)), want, "row {i}");
    }
    for (i, word) in (0..).zip(rss.key) {
        assert_eq!(pf.read32(regs::rssrk(i)), word);
    }
}

#[test]
fn frames_come_without_their_checksum() {
    let machine = machine();
    mac::configure_rx_common(&machine.pf());
    // The MAC strips it by HLREG0 too, and both must say the same (8.2.3.8.8).
    let both = (
        machine.pf().read32(regs::RDRXCTL) & regs::RDRXCTL_CRCSTRIP,
        machine.pf().read32(regs::HLREG0) & regs::HLREG0_RXCRCSTRP,
    );
    assert_eq!(both, (regs::RDRXCTL_CRCSTRIP, regs::HLREG0_RXCRCSTRP));
    let mut rx = RxRing::new(&machine, Function::Pf, 0, 16);
    common::set_address(machine.pf(), 0, MAC, 1);
    let sent = frame(MAC, PEER, 200);
    assert!(machine.receive(&sent));
    assert_eq!(rx.take().map(|r| r.frame), Some(sent));
}

#[test]
fn messages_have_sixteen_words() {
    let machine = common::sriov(2);
    let words: [u32; 16] = core::array::from_fn(|i| 0x0101_0000 * (i as u32 + 1) + 7);
    let vf = machine.vf(1);
    let heard = || core::array::from_fn(|i| vf.read32(regs::vfmbmem(i as u32)));
    mailbox::write(&machine.pf(), 1, &words).unwrap();
    assert_eq!(words, heard());
    mailbox::clear_memory(&machine.pf(), 1);
    assert_eq!([0; 16], heard());
    for (i, word) in (0..).zip(words) {
        vf.write32(regs::vfmbmem(i), word);
    }
    vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
    assert_eq!(mailbox::read(&machine.pf(), 1), Ok(words));
}

/// Registers that hold what they are given, once: as counters do.
struct Counters(RefCell<HashMap<u32, u32>>);

impl Regs for Counters {
    fn read32(&self, reg: u32) -> u32 {
        self.0.borrow_mut().remove(&reg).unwrap_or(0)
    }

    fn write32(&self, _: u32, _: u32) {}
}

/// Pause frames are counted as frames by the hardware, of 64 bytes, and are none (`ixgbe_update_stats`).
#[test]
fn pause_frames_are_no_frames() {
    let registers = [
        (regs::GPTC, 100),
        (regs::MPTC, 10),
        (regs::PTC64, 50),
        (regs::GOTCL, 10_000),
        (regs::LXONTXC, 3),
        (regs::LXOFFTXC, 4),
        (regs::GPRC, 200),
        (regs::mpc(2), 5),
    ];
    let io = Counters(RefCell::new(registers.into()));
    let mut stats = HwStats::default();
    for _ in 0..2 {
        // The second time there is nothing new.
        stats.update(&io);
        assert_eq!((stats.gptc, stats.mptc, stats.ptc64), (93, 3, 43));
        assert_eq!(stats.gotc, 10_000 - 7 * 64);
        assert_eq!((stats.lxontxc, stats.lxofftxc), (3, 4));
        assert_eq!(
            (stats.gprc, stats.mpc),
            (195, 5),
            "missed ones were not received"
        );
    }
}

/// An EEPROM of one's own.
struct Eeprom(Vec<u16>, core::cell::Cell<u32>);

impl Regs for Eeprom {
    fn read32(&self, reg: u32) -> u32 {
        match reg {
            regs::EERD => {
                let word = self.0.get(self.1.get() as usize).copied().unwrap_or(0);
                u32::from(word) << regs::EEPROM_RW_REG_DATA | regs::EEPROM_RW_REG_DONE
            }
            _ => 0,
        }
    }

    fn write32(&self, reg: u32, val: u32) {
        if reg == regs::EERD {
            self.1.set(val >> regs::EEPROM_RW_ADDR_SHIFT & 0x3fff);
        }
    }
}

impl Delay for Eeprom {
    fn udelay(&self, _: u32) {}
    fn usleep(&self, _: u32) {}
}

#[test]
fn every_word_of_the_eeprom_counts() {
    let mut words: Vec<u16> = (0..0x100).map(|i| i * 257).collect();
    // Two blocks; the other pointers lead nowhere.
    words[3..0x0f].fill(0xffff);
    (words[5], words[0x40]) = (0x40, 3);
    (words[9], words[0x60]) = (0x60, 2);
    let mut eeprom = Eeprom(words, 0.into());
    eeprom.0[0x3f] = eeprom::checksum(&eeprom).unwrap();
    assert_eq!(eeprom::validate(&eeprom), Ok(()));
    let counts = (0..0x40).chain(0x41..0x44).chain(0x61..0x63);
    for i in counts.filter(|i| !(3..0x0f).contains(i)) {
        eeprom.0[i] ^= 0x0100;
        assert_eq!(
            eeprom::validate(&eeprom),
            Err(eeprom::Error::Checksum),
            "{i:#x}"
        );
        eeprom.0[i] ^= 0x0100;
    }
    eeprom.0[0x50] ^= 1;
    assert_eq!(eeprom::validate(&eeprom), Ok(()), "in no block");
}
