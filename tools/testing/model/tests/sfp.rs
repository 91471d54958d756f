// SPDX-License-Identifier: GPL-2.0
//! The cage of `chip=sfp`: I2C, pins, modules that come and go, and the link through them.

use ixgbe_model::testing::{Machine, Port};
use ixgbe_model::{Chip, Config, HeadWrite, Module, Speeds};
use libixgbe::{regs::*, Delay, Regs};

const ONE: Speeds = Speeds {
    hundred: false,
    one: true,
    two_and_a_half: false,
    five: false,
    ten: false,
};
const BOTH: Speeds = Speeds { ten: true, ..ONE };

fn machine(module: Module) -> Machine {
    let config = Config {
        chip: Chip::Sfp,
        module,
        ..Config::new([2, 0, 0, 0, 0, 1], HeadWrite::Value)
    };
    Machine::with(config, 1 << 16)
}

/// A master of the bus that is written from the I2C specification and not from a driver.
struct Master<'a>(Port<'a>);

impl Master<'_> {
    fn wires(&self, scl: bool, sda: bool) -> bool {
        let bit = |on, value| if on { value } else { 0 };
        self.0
            .write32(I2CCTL, bit(scl, I2CCTL_CLK_OUT) | bit(sda, I2CCTL_DATA_OUT));
        self.0.udelay(5);
        let seen = self.0.read32(I2CCTL);
        assert_eq!(seen & I2CCTL_CLK_IN != 0, scl, "nobody stretches the clock");
        seen & I2CCTL_DATA_IN != 0
    }

    fn start(&self) {
        self.wires(false, true);
        self.wires(true, true);
        self.wires(true, false);
        self.wires(false, false);
    }

    fn stop(&self) {
        self.wires(false, false);
        self.wires(true, false);
        assert!(self.wires(true, true), "the slave has let go");
    }

    fn bit(&self, bit: bool) -> bool {
        self.wires(false, bit);
        let seen = self.wires(true, bit);
        self.wires(false, bit);
        seen
    }

    /// Whether the byte was acknowledged.
    fn put(&self, byte: u8) -> bool {
        for i in (0..8).rev() {
            self.bit(byte >> i & 1 == 1);
        }
        !self.bit(true)
    }

    fn get(&self, more: bool) -> u8 {
        let byte = (0..8).fold(0, |byte, _| byte << 1 | u8::from(self.bit(true)));
        self.bit(!more);
        byte
    }

    fn read(&self, address: u8, offset: u8, out: &mut [u8]) -> bool {
        self.start();
        let mut there = self.put(address) && self.put(offset);
        self.start();
        there = there && self.put(address | 1);
        let last = out.len() - 1;
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = self.get(i < last);
        }
        self.stop();
        there
    }

    fn write(&self, address: u8, offset: u8, byte: u8) -> bool {
        self.start();
        let done = self.put(address) && self.put(offset) && self.put(byte);
        self.stop();
        done
    }
}

/// Sets the core up as the EEPROM says for a module with sequence at `word`.
fn set_up_core(pf: &Port<'_>, module: Module) {
    let block = if module == Module::Da { 0x110 } else { 0x118 };
    for word in block + 1..block + 4 {
        let value = libixgbe::eeprom::read(pf, word).expect("a word");
        pf.write32(CORECTL, value.into());
    }
}

fn speed(pf: &Port<'_>) -> Option<u32> {
    let links = pf.read32(LINKS);
    (links & LINKS_UP != 0).then_some(links & LINKS_SPEED_82599)
}

fn mode(pf: &Port<'_>, lms: u32) {
    pf.write32(AUTOC, pf.read32(AUTOC) & !AUTOC_LMS_MASK | lms);
}

#[test]
fn what_the_eeprom_of_a_module_says() {
    for (module, code10, code1, cable, vendor) in [
        (Module::Sr, 0x10, 0x01, 0, "Intel Corp      "),
        (Module::Lr, 0x20, 0x02, 0, "Intel Corp      "),
        (Module::Da, 0, 0, 4, "Amphenol        "),
        (Module::Active, 0, 0, 8, "Molex Inc.      "),
        (Module::Sx, 0, 1, 0, "FINISAR CORP.   "),
        (Module::T, 0, 8, 0, "FINISAR CORP.   "),
        (Module::ThirdParty, 0x10, 0x01, 0, "Example Optics  "),
    ] {
        let machine = machine(module);
        let master = Master(machine.pf());
        let mut page = [0; 256];
        assert!(master.read(0xA0, 0, &mut page), "{module:?}");
        assert_eq!(
            (page[0], page[3], page[6], page[8]),
            (3, code10, code1, cable)
        );
        assert_eq!(std::str::from_utf8(&page[20..36]), Ok(vendor));
        let sum =
            |range: std::ops::Range<usize>| page[range].iter().fold(0u8, |s, b| s.wrapping_add(*b));
        assert_eq!(
            (sum(0..63), sum(64..95)),
            (page[63], page[95]),
            "{module:?}"
        );
        // A byte alone, and the counter that goes on.
        let mut two = [0; 2];
        assert!(master.read(0xA0, 37, &mut two));
        assert_eq!(two, page[37..39]);
        let optics = matches!(
            module,
            Module::Sr | Module::Lr | Module::Sx | Module::ThirdParty
        );
        assert_eq!(master.read(0xA2, 96, &mut two), optics, "{module:?}");
        if optics {
            assert_eq!(two, [0x24, 0x80]);
        }
    }
}

#[test]
fn nobody_answers_in_an_empty_cage_or_for_long_in_a_broken_module() {
    let machine = machine(Module::None);
    let master = Master(machine.pf());
    assert!(!master.read(0xA0, 0, &mut [0]));
    machine.set_module(Module::Broken);
    master.start();
    assert!(master.put(0xA0));
    assert!(!master.put(0));
    master.stop();
    machine.set_module(Module::Foreign);
    let mut id = [0];
    assert!(master.read(0xA0, 0, &mut id) && id == [1]);
    // Pulled out in the middle of a byte: the wires are free.
    master.start();
    master.put(0xA0);
    machine.set_module(Module::None);
    master.stop();
}

#[test]
fn a_module_is_written_where_it_may_be() {
    let machine = machine(Module::Sr);
    let master = Master(machine.pf());
    let mut byte = [0];
    assert!(master.write(0xA2, 110, 0x08) && master.read(0xA2, 110, &mut byte));
    assert_eq!(byte[0] & 0x08, 0x08);
    assert!(master.write(0xA0, 0, 0x55) && master.read(0xA0, 0, &mut byte));
    assert_eq!(byte, [3], "A0 is protected");
}

#[test]
fn pins_tell_what_comes_and_goes() {
    let machine = machine(Module::None);
    let pf = machine.pf();
    pf.write32(GPIE, SDP1_GPIEN | SDP2_GPIEN);
    assert_eq!(pf.read32(ESDP) & 6, 0);
    machine.set_module(Module::Sr);
    assert_eq!(pf.read32(ESDP) & 6, ESDP_SDP1 | ESDP_SDP2);
    let causes = pf.read32(EICR);
    assert_eq!(causes & 0x0700_0000, EICR_GPI_SDP1 | EICR_GPI_SDP2);
    // A module that is changed for another one, and one that goes.
    machine.set_module(Module::Lr);
    assert_ne!(pf.read32(EICR) & EICR_GPI_SDP2, 0);
    machine.set_module(Module::None);
    assert_eq!(pf.read32(EICR) & 0x0700_0000, 0);
    assert_eq!(pf.read32(ESDP) & 6, 0);
    // Without the enable bit nobody is told.
    pf.write32(GPIE, 0);
    machine.set_module(Module::Sr);
    assert_eq!(pf.read32(EICR) & 0x0700_0000, 0);
    // The signal alone.
    pf.write32(GPIE, SDP1_GPIEN | SDP2_GPIEN);
    machine.set_link(false);
    assert_eq!(pf.read32(ESDP) & 6, ESDP_SDP2);
    machine.set_link(true);
    assert_eq!(pf.read32(EICR) & 0x0700_0000, EICR_GPI_SDP1);
}

#[test]
fn a_link_needs_core_laser_speed_and_partner() {
    let machine = machine(Module::Sr);
    let pf = machine.pf();
    assert_eq!(pf.read32(AUTOC) & AUTOC_LMS_MASK, AUTOC_LMS_10G_SERIAL);
    assert_eq!(speed(&pf), None, "the core is not set up");
    set_up_core(&pf, Module::Da);
    assert_eq!(speed(&pf), None, "the core is set up for another module");
    pf.read32(EICR);
    set_up_core(&pf, Module::Sr);
    assert_eq!(speed(&pf), Some(LINKS_SPEED_10G_82599));
    assert_ne!(pf.read32(EICR) & EICR_LSC, 0);

    let esdp = pf.read32(ESDP);
    pf.write32(ESDP, esdp | ESDP_SDP3);
    assert_eq!(speed(&pf), None, "dark");
    assert_ne!(pf.read32(EICR) & EICR_LSC, 0);
    pf.write32(ESDP, esdp);
    assert!(speed(&pf).is_some());

    // The partner can do 1 Gb/s only: mode and rate select must both follow.
    pf.write32(GPIE, SDP1_GPIEN);
    pf.read32(EICR);
    machine.set_partner(ONE);
    assert_eq!(speed(&pf), None);
    assert_ne!(
        pf.read32(EICR) & EICR_GPI_SDP1,
        0,
        "its signal went and came"
    );
    mode(&pf, AUTOC_LMS_1G_AN);
    assert_eq!(speed(&pf), None, "the module is still fast");
    pf.write32(ESDP, esdp & !ESDP_SDP5 | ESDP_SDP5_DIR);
    assert_eq!(speed(&pf), Some(LINKS_SPEED_1G_82599));
    assert_ne!(pf.read32(PCS1GLSTA) & PCS1GLSTA_AN_COMPLETE, 0);
    machine.set_partner(BOTH);
    machine.set_link(false);
    assert_eq!(speed(&pf), None, "the cable is out");
    machine.set_link(true);
    machine.set_module(Module::None);
    assert_eq!(speed(&pf), None, "the module is out");
}

#[test]
fn every_module_has_its_link() {
    for module in Module::ALL {
        let machine = machine(module);
        let pf = machine.pf();
        set_up_core(&pf, module);
        let fast = speed(&pf);
        mode(&pf, AUTOC_LMS_1G_AN);
        pf.write32(ESDP, ESDP_SDP5_DIR);
        let slow = speed(&pf);
        let expected = match module {
            Module::None | Module::Broken | Module::Foreign => (false, false),
            Module::Sx | Module::T => (false, true),
            _ => (true, true),
        };
        assert_eq!((fast.is_some(), slow.is_some()), expected, "{module:?}");
        assert_eq!(module.name().parse(), Ok(module));
    }
}

#[test]
fn the_other_port_and_the_other_chip() {
    let config = Config {
        chip: Chip::Sfp,
        port: 1,
        ..Config::new([2, 0, 0, 0, 0, 1], HeadWrite::Value)
    };
    let machine = Machine::with(config, 1 << 16);
    assert_eq!(machine.pf().read32(STATUS) & STATUS_LAN_ID, STATUS_LAN_ID_1);
    machine.reset(ixgbe_model::host::Function::Pf);
    assert_eq!(machine.pf().read32(STATUS) & STATUS_LAN_ID, STATUS_LAN_ID_1);
    // A KX4 has no cage: its pins and the register are storage, as they were.
    let kx4 = Machine::new(HeadWrite::Value, 1 << 16);
    kx4.set_module(Module::Sr);
    for reg in [ESDP, I2CCTL] {
        kx4.pf().write32(reg, 0x5A);
        assert_eq!(kx4.pf().read32(reg), 0x5A);
    }
    assert_eq!(speed(&kx4.pf()), Some(LINKS_SPEED_10G_82599));
}
