// SPDX-License-Identifier: GPL-2.0
//! Modules of a cage, against the model: what each is taken for, its link, and a module or an EEPROM that plays tricks.

mod hostile;

use hostile::Hostile;
use ixgbe_model::{
    testing::{
        Machine,
        Port, //
    },
    Chip,
    Config,
    HeadWrite,
    Module,
    Speeds, //
};
use libixgbe::{
    board::Board,
    cage::{
        self,
        Cage,
        News, //
    },
    chip,
    i2c,
    link::{
        self,
        FlowControl,
        Pause,
        SPEED_10GB_FULL,
        SPEED_1GB_FULL, //
    },
    mac::Mac,
    regs::*,
    sfp::{
        self,
        Found,
        Kind,
        Refusal,
        SetupError, //
    },
    Delay,
    Regs, //
};

const NONE: Speeds = Speeds {
    hundred: false,
    one: false,
    two_and_a_half: false,
    five: false,
    ten: false,
};
const ONE: Speeds = Speeds { one: true, ..NONE };
const TEN: Speeds = Speeds { ten: true, ..NONE };

fn machine(module: Module, quirks: &str, port: u8) -> Machine {
    let config = Config {
        chip: Chip::Sfp,
        module,
        quirks: quirks.parse().unwrap(),
        port,
        ..Config::new([2, 0, 0, 0, 0, 1], HeadWrite::Value)
    };
    Machine::with(config, 1 << 16)
}

/// A driver as it probes and opens.
struct Driver<'a> {
    machine: &'a Machine,
    cage: Cage,
    mac: Mac,
}

impl<'a> Driver<'a> {
    fn probe(machine: &'a Machine, any: bool) -> (Self, News) {
        let io = &machine.pf();
        let mut cage = Cage::new(io, any);
        let news = cage.look(io, 0, 0);
        cage::darken(io);
        let mut mac = Mac::new();
        mac.reset(io, || false).unwrap();
        (Self { machine, cage, mac }, news)
    }

    fn io(&self) -> Port<'a> {
        self.machine.pf()
    }

    fn now(&self) -> u64 {
        self.machine.now() / 1_000_000
    }

    fn orig(&self) -> u32 {
        self.mac.orig_autoc.unwrap()
    }

    /// The service task with or without a pin that told of a module.
    fn service(&mut self, changed: bool, advertised: u32) -> News {
        let io = &self.io();
        if changed {
            self.cage.changed();
        }
        if !self.cage.due(self.now(), link::check_link(io).up) {
            return News::None;
        }
        let news = self.cage.look(io, self.orig(), self.now());
        if matches!(news, News::Detected(_)) {
            self.cage.configure(io, self.orig(), advertised).unwrap();
        }
        let mut steps = 0;
        while let Some(ms) = self.cage.waits() {
            self.machine.advance(u64::from(ms) * 1_000_000);
            self.cage.proceed(io, self.orig()).unwrap();
            steps += 1;
            assert!(steps < 20, "it comes to an end");
        }
        news
    }

    fn mbps(&self) -> Option<u32> {
        let link = link::check_link(&self.io());
        (link.up && !self.cage.blocks()).then(|| link.mbps())
    }
}

#[test]
fn what_each_module_is_taken_for() {
    for (module, kind, number, multispeed) in [
        (Module::Sr, Kind::SrLr, 5, true),
        (Module::Lr, Kind::SrLr, 5, true),
        (Module::Da, Kind::PassiveCable, 3, false),
        (Module::Active, Kind::ActiveCable, 7, false),
        (Module::Sx, Kind::Sx1000, 11, false),
        (Module::T, Kind::T1000, 9, false),
    ] {
        for port in [0, 1] {
            let machine = machine(module, "", port);
            let io = &machine.pf();
            let found = sfp::Port::new(io).identify(io, false);
            let got = found
                .module()
                .unwrap_or_else(|| panic!("{module:?}: {found:?}"));
            assert_eq!(
                (got.kind, got.multispeed, got.untested),
                (kind, multispeed, false)
            );
            assert_eq!(got.kind.number(port == 1), number + u16::from(port));
        }
    }
}

#[test]
fn what_is_refused_and_why() {
    let vendor = Refusal::Vendor([0, 0, 0x5E]);
    for (module, quirks, any, expected) in [
        (Module::None, "", false, Found::Empty),
        (Module::Broken, "", true, Found::Empty),
        (
            Module::Foreign,
            "",
            true,
            Found::Refused(Refusal::Identifier(1)),
        ),
        (Module::ThirdParty, "", false, Found::Refused(vendor)),
    ] {
        let machine = machine(module, quirks, 0);
        let io = &machine.pf();
        assert_eq!(sfp::Port::new(io).identify(io, any), expected, "{module:?}");
    }
    for (quirks, any, untested) in [("any-sfp", false, false), ("", true, true)] {
        let machine = machine(Module::ThirdParty, quirks, 0);
        let io = &machine.pf();
        let found = sfp::Port::new(io).identify(io, any);
        assert_eq!(found.module().unwrap().untested, untested);
    }
}

#[test]
fn the_eeprom_of_a_module_can_be_read() {
    for (module, len) in [
        (Module::Sr, sfp::SFF_8472_LEN),
        (Module::Da, sfp::SFF_8079_LEN),
        (Module::T, sfp::SFF_8079_LEN),
    ] {
        let machine = machine(module, "", 1);
        let io = &machine.pf();
        let port = sfp::Port::new(io);
        assert_eq!(port.eeprom_len(io), Ok(len));
        let mut page = vec![0; len as usize];
        port.read_eeprom(io, 0, &mut page).unwrap();
        assert_eq!(page[0], 3);
        let sum = page[..63]
            .iter()
            .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!(sum, page[63]);
        let mut part = [0; 20];
        port.read_eeprom(io, len - 20, &mut part).unwrap();
        assert_eq!(part, page[page.len() - 20..]);
        assert_eq!(io.read32(GSSR), 0, "the bus is free");
    }
    let machine = machine(Module::None, "", 0);
    let io = &machine.pf();
    assert_eq!(sfp::Port::new(io).eeprom_len(io), Err(i2c::Error::NoAck));
    assert_eq!(io.read32(GSSR), 0);
}

#[test]
fn every_module_gets_its_link() {
    for (module, partner, mbps) in [
        (Module::Sr, TEN, Some(10_000)),
        (Module::Sr, ONE, Some(1000)),
        (Module::Lr, ONE, Some(1000)),
        (Module::Da, TEN, Some(10_000)),
        (Module::Da, ONE, None),
        (Module::Active, TEN, Some(10_000)),
        (Module::Sx, ONE, Some(1000)),
        (Module::T, ONE, Some(1000)),
        (Module::T, TEN, None),
    ] {
        for port in [0, 1] {
            let machine = machine(module, "", port);
            machine.set_partner(partner);
            let (mut driver, news) = Driver::probe(&machine, false);
            assert!(matches!(news, News::Detected(_)), "{module:?}: {news:?}");
            assert!(matches!(driver.service(true, 0), News::Detected(_)));
            assert_eq!(driver.mbps(), mbps, "{module:?} {partner:?}");
            // A reset, and the interface is opened again.
            driver.mac.reset(&driver.io(), || false).unwrap();
            driver.service(true, 0);
            assert_eq!(driver.mbps(), mbps, "{module:?} {partner:?} after a reset");
        }
    }
}

#[test]
fn a_speed_can_be_chosen() {
    let machine = machine(Module::Sr, "", 0);
    let (mut driver, _) = Driver::probe(&machine, false);
    let can = driver.cage.capabilities(driver.orig()).unwrap();
    assert_eq!(can.speeds, SPEED_10GB_FULL | SPEED_1GB_FULL);
    for (speeds, mbps) in [
        (SPEED_1GB_FULL, 1000),
        (SPEED_10GB_FULL, 10_000),
        (SPEED_1GB_FULL, 1000),
        (0, 10_000),
        // Nothing that the module can do: all of it.
        (link::SPEED_100_FULL, 10_000),
    ] {
        driver.service(true, speeds);
        assert_eq!(driver.mbps(), Some(mbps));
    }
}

#[test]
fn modules_come_and_go() {
    let machine = machine(Module::None, "", 0);
    let (mut driver, news) = Driver::probe(&machine, false);
    assert_eq!(news, News::None);
    assert_eq!(driver.service(true, 0), News::None);
    for _ in 0..3 {
        machine.set_module(Module::Sr);
        // By polling alone, as on a board whose pin does not interrupt.
        machine.advance(3_000_000_000);
        assert!(matches!(driver.service(false, 0), News::Detected(_)));
        assert_eq!(driver.mbps(), Some(10_000));
        assert_eq!(driver.service(false, 0), News::None, "a link needs no look");
        machine.set_module(Module::None);
        machine.advance(3_000_000_000);
        assert_eq!(driver.service(false, 0), News::Gone);
        assert_eq!(driver.service(false, 0), News::None, "not due");
        machine.advance(3_000_000_000);
        assert_eq!(driver.service(false, 0), News::None, "said once");
    }
    // One that is refused is told of once, and the next one works.
    machine.set_module(Module::ThirdParty);
    assert!(matches!(
        driver.service(true, 0),
        News::Refused(Refusal::Vendor(_))
    ));
    for _ in 0..3 {
        machine.advance(3_000_000_000);
        assert_eq!(driver.service(false, 0), News::None);
        assert_eq!(driver.mbps(), None);
        assert!(!link::check_link(&driver.io()).up, "dark");
    }
    machine.set_module(Module::Da);
    assert!(matches!(driver.service(true, 0), News::Detected(_)));
    assert_eq!(driver.mbps(), Some(10_000));
}

#[test]
fn a_cable_that_is_pulled_costs_no_set_up() {
    let machine = machine(Module::Da, "", 0);
    let (mut driver, _) = Driver::probe(&machine, false);
    driver.service(true, 0);
    machine.set_link(false);
    machine.advance(3_000_000_000);
    let autoc = driver.io().read32(AUTOC);
    assert_eq!(driver.service(false, 0), News::None);
    assert_eq!(driver.io().read32(AUTOC), autoc);
    machine.set_link(true);
    assert_eq!(driver.mbps(), Some(10_000));
}

#[test]
fn an_eeprom_without_a_list() {
    let machine = machine(Module::Sr, "no-sfp-init", 0);
    let (mut driver, news) = Driver::probe(&machine, false);
    assert_eq!(news, News::Failed(SetupError::NoList));
    assert_eq!(driver.service(true, 0), News::None, "said once");
    assert_eq!(driver.mbps(), None);
}

#[test]
fn lasers() {
    let machine = machine(Module::Sr, "", 0);
    let (mut driver, _) = Driver::probe(&machine, false);
    driver.service(true, 0);
    let io = &driver.io();
    assert!(driver.mbps().is_some());
    cage::darken(io);
    assert_eq!(driver.mbps(), None);
    driver.service(true, 0);
    assert!(driver.mbps().is_some());
    // Firmware forbids it.
    io.write32(MMNGC, MMNGC_MNG_VETO);
    cage::darken(io);
    assert!(driver.mbps().is_some());
}

#[test]
fn crosstalk() {
    let machine = machine(Module::Sr, "", 0);
    let (mut driver, _) = Driver::probe(&machine, false);
    driver.service(true, 0);
    let io = &driver.io();
    assert!(!sfp::needs_crosstalk_fix(io), "this EEPROM says that not");
    assert!(!cage::is_crosstalk(io));
    machine.set_module(Module::None);
    assert!(cage::is_crosstalk(io));
    assert!(!sfp::is_preproduction(io));
}

#[test]
fn flow_control() {
    let machine = machine(Module::Sr, "", 0);
    let (mut driver, _) = Driver::probe(&machine, false);
    let io = &driver.io();
    let mut fc = FlowControl::over(Board::Sfp.media(io).unwrap());
    let autoc = io.read32(AUTOC);
    fc.setup(io).unwrap();
    assert_eq!(io.read32(AUTOC), autoc, "AUTOC is a backplane's");
    assert!(fc.set_water_marks(1500, 512, false, chip::Chip::I82599.delays()));
    driver.service(true, SPEED_10GB_FULL);
    assert!(!fc.can_negotiate(io));
    fc.requested = Pause {
        rx: true,
        tx: false,
    };
    fc.enable(io);
    assert_eq!(fc.current, fc.requested);
    // 1 Gb/s negotiates: the partner of the model offers nothing unless a test says so.
    driver.service(true, SPEED_1GB_FULL);
    assert!(fc.can_negotiate(io));
    fc.requested = Pause::FULL;
    fc.setup(io).unwrap();
    for (theirs, expected) in [
        (PCS1GANA_SYM_PAUSE | PCS1GANA_ASM_PAUSE, Pause::FULL),
        (
            PCS1GANA_ASM_PAUSE,
            Pause {
                rx: true,
                tx: false,
            },
        ),
        (0x20, Pause::default()),
    ] {
        io.write32(PCS1GANLP, theirs);
        fc.enable(io);
        assert_eq!(fc.current, expected, "{theirs:#x}");
    }
}

#[test]
fn boards() {
    assert_eq!(Board::of_device(0x10FB), Ok(Board::Sfp));
    let machine = machine(Module::None, "", 0);
    let io = &machine.pf();
    for id in [0x1558, 0x154F, 0x151C, 0x15AC, 0x10ED, 0xFFFF] {
        assert!(Board::of_device(id).is_err(), "{id:#x}");
    }
    assert!(Board::Sfp.has_cage());
    for board in [Board::Kx4, Board::Kr, Board::Backplane, Board::Cx4] {
        assert_eq!((board.gpie(), board.causes()), (0, 0), "{board:?}");
        assert_eq!(board.media(io), Ok(link::Media::Backplane));
    }
}

/// Whatever I2C, EEPROM, semaphores and link answer: no panic, and an end. The longest of all is an EEPROM that never is
/// done, at half a second a word (`eeprom::read`).
#[test]
fn a_hostile_device_is_got_rid_of() {
    let i2c: &[u32] = &[I2CCTL];
    let eeprom: &[u32] = &[EERD];
    let all: &[u32] = &[I2CCTL, EERD, SWSM, GSSR, ANLP1, LINKS, ESDP, MMNGC, AUTOC];
    for seed in 1..=60u64 {
        for (lies, rate) in [
            (i2c, 8),
            (i2c, 2),
            (eeprom, 8),
            (eeprom, 2),
            (all, 8),
            (all, 1),
        ] {
            let machine = machine(Module::Sr, "", 0);
            let io = Hostile::new(machine.pf(), lies, rate, (0, 0), seed);
            let mut cage = Cage::new(&io, seed % 2 == 0);
            let begin = machine.now();
            cage.look(&io, 0, 0);
            let _ = cage.configure(&io, 0x6000, 0);
            let mut steps = 0;
            while cage.waits().is_some() {
                let _ = cage.proceed(&io, 0x6000);
                steps += 1;
                assert!(steps < 20);
            }
            let mut page = [0; 8];
            let _ = cage.port.read_eeprom(&io, 250, &mut page);
            let _ = (cage.port.eeprom_len(&io), sfp::is_preproduction(&io));
            let seconds = (machine.now() - begin) / 1_000_000_000;
            assert!(seconds < 120, "{seconds} s, seed {seed}, {lies:x?}");
            assert!(io.accesses() < 3_000_000, "{}", io.accesses());
        }
    }
}

/// Wires that somebody holds.
struct Held<'a>(Port<'a>, u32);

impl Regs for Held<'_> {
    fn read32(&self, reg: u32) -> u32 {
        let value = self.0.read32(reg);
        if reg == I2CCTL {
            value & !self.1
        } else {
            value
        }
    }

    fn write32(&self, reg: u32, val: u32) {
        self.0.write32(reg, val);
    }
}

impl Delay for Held<'_> {
    fn udelay(&self, us: u32) {
        self.0.udelay(us);
    }

    fn usleep(&self, us: u32) {
        self.0.usleep(us);
    }
}

#[test]
fn a_wire_that_is_held_down_is_no_module() {
    for wire in [
        I2CCTL_CLK_IN,
        I2CCTL_DATA_IN,
        I2CCTL_CLK_IN | I2CCTL_DATA_IN,
    ] {
        let machine = machine(Module::Sr, "", 0);
        let io = Held(machine.pf(), wire);
        let begin = machine.now();
        assert_eq!(sfp::Port::new(&io).identify(&io, true), Found::Empty);
        assert!(machine.now() - begin < 1_000_000_000);
        assert_eq!(io.read32(GSSR), 0);
    }
}
