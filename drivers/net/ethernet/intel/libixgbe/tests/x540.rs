// SPDX-License-Identifier: GPL-2.0
//! X540: the code that the module runs, against the model: probe, semaphores, EEPROM, PHY, link, mailbox and frame limits;
//! and a device that answers at random.

mod hostile;

use std::cell::RefCell;

use hostile::Hostile;
use ixgbe_model::{
    host::Function,
    testing::{
        Host,
        Machine,
        Served, //
    },
    Chip as ModelChip,
    Config,
    HeadWrite, //
};
use libixgbe::{
    board::Board,
    chip::Chip,
    diag,
    eeprom,
    link::{
        self,
        FlowControl,
        Media,
        Pause,
        SPEED_100_FULL,
        SPEED_10GB_FULL,
        SPEED_1GB_FULL, //
    },
    mac::{
        self,
        Mac, //
    },
    mbx::{
        pf as mailbox,
        vf::Error,
        Request,
        XcastMode,
        FEATURE_ESX_MBX, //
    },
    phy::{
        self,
        Phy, //
    },
    regs::*,
    ring::{
        QueueRegs,
        RxRing, //
    },
    rss::Rss,
    sriov::{
        vf::{
            Switch,
            VfState, //
        },
        Pools, //
    },
    vf::Vf,
    Regs, //
};

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
const CHIP: Chip = Chip::X540;

fn machine(partner: &str, port: u8) -> Machine {
    let config = Config {
        chip: ModelChip::X540,
        partner: partner.parse().unwrap(),
        port,
        ..Config::new(MAC, HeadWrite::Value)
    };
    Machine::with(config, 1 << 20)
}

fn seconds(machine: &Machine, begin: u64) -> u64 {
    (machine.now() - begin) / 1_000_000_000
}

#[test]
fn a_row_of_the_table() {
    for id in [0x1528, 0x1560] {
        assert_eq!(Board::of_device(id), Ok(Board::X540));
    }
    assert_eq!(Board::X540.chip(), CHIP);
    assert_eq!(CHIP.vf_device(), ModelChip::X540.vf_device_id());
    assert_eq!(Chip::I82599.vf_device(), ModelChip::Kx4.vf_device_id());
    assert!(!Board::X540.has_cage());
    // No pin of the board means anything, but the sensor does.
    assert_eq!((Board::X540.gpie(), Board::X540.causes()), (0, EICR_TS));
}

#[test]
fn probe() {
    for port in [0, 1] {
        let machine = machine("both", port);
        let io = &machine.pf();
        CHIP.init_semaphores(io);
        let Media::Copper(phy) = Board::X540.media(io).unwrap() else {
            panic!("an X540 has a PHY");
        };
        assert_eq!(phy.id, X540_PHY_ID);
        assert_eq!(
            phy.capabilities().speeds,
            SPEED_10GB_FULL | SPEED_1GB_FULL | SPEED_100_FULL
        );
        let mut fc = FlowControl::over(Media::Copper(phy));
        let mut mac = Mac::of(CHIP);
        for _ in 0..2 {
            // A reset is one of the MAC: the registers are new.
            io.write32(MTQC, MTQC_VT_ENA);
            mac.reset(io, || false).unwrap();
            assert_eq!(io.read32(MTQC), 0);
            mac.start(io, &fc).unwrap();
            assert_eq!(mac.perm_addr, MAC);
            assert_eq!(mac.orig_autoc, None);
        }
        CHIP.validate_eeprom(io).unwrap();
        assert_eq!(CHIP.eeprom_words(io), 1024);
        assert_eq!(CHIP.etrack_id(io), Ok(0x8000_18B4));
        assert_eq!(mac::configure_packet_buffers(io, CHIP), 384);
        assert!(fc.set_water_marks(1500, 384, false, CHIP.delays()));
        // The figures of `ixgbe_hpbthresh` and `ixgbe_lpbthresh` for this MTU.
        assert_eq!((fc.high_water, fc.low_water), (362, 5));
        // Nothing is left locked.
        assert_eq!(io.read32(GSSR), 0);
    }
}

#[test]
fn links_and_their_pauses() {
    for (partner, offered, mbps) in [
        ("all", 0, Some(10_000)),
        ("all", SPEED_1GB_FULL, Some(1000)),
        ("all", SPEED_100_FULL, Some(100)),
        ("all", SPEED_1GB_FULL | SPEED_100_FULL, Some(1000)),
        ("1g", 0, Some(1000)),
        ("100m", 0, Some(100)),
        ("10g", SPEED_1GB_FULL, None),
        // Nothing that it can do: all of it.
        ("both", 1 << 30, Some(10_000)),
    ] {
        let machine = machine(partner, 1);
        let io = &machine.pf();
        let phy = Phy::find(io, CHIP).unwrap();
        let mut fc = FlowControl::over(Media::Copper(phy));
        fc.set_water_marks(1500, 384, false, CHIP.delays());
        assert!(fc.can_negotiate(io));
        for (requested, current) in [
            (Pause::FULL, Pause::FULL),
            (Pause::default(), Pause::default()),
            // The partner has both bits; what is sent alone it does obey.
            (
                Pause {
                    rx: false,
                    tx: true,
                },
                Pause {
                    rx: false,
                    tx: true,
                },
            ),
            (
                Pause {
                    rx: true,
                    tx: false,
                },
                Pause {
                    rx: true,
                    tx: false,
                },
            ),
        ] {
            fc.requested = requested;
            fc.setup(io).unwrap();
            phy.setup_link(io, offered).unwrap();
            let link = link::check_link(io);
            assert_eq!(link.up.then(|| link.mbps()), mbps, "{partner} {offered:#x}");
            fc.enable(io);
            assert_eq!(fc.current, current, "{partner}");
        }
        phy.set_power(io, false).unwrap();
        assert!(!link::check_link(io).up);
        phy.set_power(io, true).unwrap();
        assert_eq!(link::check_link(io).up, mbps.is_some());
        assert_eq!(io.read32(GSSR), 0);
    }
}

#[test]
fn firmware_that_uses_the_phy_keeps_its_link_and_its_power() {
    let machine = machine("all", 0);
    let io = &machine.pf();
    let phy = Phy::find(io, CHIP).unwrap();
    io.write32(MMNGC, MMNGC_MNG_VETO);
    phy.setup_link(io, SPEED_100_FULL).unwrap();
    phy.set_power(io, false).unwrap();
    assert_eq!(link::check_link(io).mbps(), 10_000);
    io.write32(MMNGC, 0);
    phy.setup_link(io, SPEED_100_FULL).unwrap();
    assert_eq!(link::check_link(io).mbps(), 100);
}

#[test]
fn the_loopback_test_has_a_link_without_a_cable() {
    let machine = machine("both", 0);
    let io = &machine.pf();
    machine.set_link(false);
    assert!(!link::check_link(io).up);
    diag::setup_loopback(io, CHIP, 0);
    assert!(link::check_link(io).up);
    Mac::of(CHIP).reset(io, || false).unwrap();
    assert!(!link::check_link(io).up);
}

#[test]
fn a_wrong_checksum_is_noticed() {
    for (word, wrong) in [
        (0x01, true),
        (0x101, true),
        // PHY, option ROM and firmware have sums of their own.
        (0x111, false),
        (0x119, false),
        (0x131, false),
    ] {
        let machine = machine("both", 0);
        let io = &machine.pf();
        CHIP.acquire(io, GSSR_EEP_SM).unwrap();
        let address = word << EEPROM_RW_ADDR_SHIFT | EEPROM_RW_REG_START;
        io.write32(EEWR, 0xABCD << EEPROM_RW_REG_DATA | address);
        CHIP.release(io, GSSR_EEP_SM);
        let expected = if wrong {
            Err(eeprom::Error::Checksum)
        } else {
            Ok(())
        };
        assert_eq!(CHIP.validate_eeprom(io), expected, "{word:#x}");
        let mut read = [0];
        CHIP.read_eeprom(io, word, &mut read).unwrap();
        assert_eq!(read, [0xABCD]);
    }
}

#[test]
fn who_holds_a_semaphore_for_a_second_has_died() {
    let machine = machine("both", 0);
    let io = &machine.pf();
    let phy = Phy::find(io, CHIP).unwrap();
    // Firmware: after a second it is ignored.
    machine.firmware_holds(GSSR_PHY0_SM);
    let begin = machine.now();
    phy.setup_link(io, 0).unwrap();
    assert_eq!(seconds(&machine, begin), 1);
    // It has no part in what it does not hold.
    let begin = machine.now();
    CHIP.validate_eeprom(io).unwrap();
    assert_eq!(seconds(&machine, begin), 0);
    machine.firmware_holds(0);
    // Another driver: it loses what it held, and the next try succeeds.
    CHIP.acquire(io, GSSR_PHY0_SM).unwrap();
    let begin = machine.now();
    assert_eq!(phy.setup_link(io, 0), Err(phy::Error::Busy));
    assert_eq!(seconds(&machine, begin), 1);
    phy.setup_link(io, 0).unwrap();
    // The semaphores over the register, which only a probe takes by force.
    for (register, bit) in [(SWSM, SWSM_SMBI), (GSSR, SWFW_REGSMP)] {
        let begin = machine.now();
        io.read32(register);
        assert_eq!(
            phy.setup_link(io, 0),
            Err(phy::Error::Busy),
            "{register:#x}"
        );
        io.read32(register);
        assert_eq!(Phy::find(io, CHIP), Err(phy::Error::Busy));
        io.read32(register);
        assert_eq!(Mac::of(CHIP).reset(io, || false), Err(mac::Error::Busy));
        assert_eq!(seconds(&machine, begin), 0);
        if register == SWSM {
            assert_ne!(io.read32(register) & bit, 0, "another driver's stays");
        }
        io.read32(register);
        CHIP.init_semaphores(io);
        phy.setup_link(io, 0).unwrap();
    }
}

/// The device with a VF, and the PF's side of it.
struct Bench {
    machine: Machine,
    sw: RefCell<Switch>,
    vfs: RefCell<Vec<VfState>>,
}

impl Host for Bench {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn serve(&self) {
        let io = &self.pf();
        let sw = &mut *self.sw.borrow_mut();
        let vfs = &mut *self.vfs.borrow_mut();
        let events = CHIP.events(io);
        for vf in 0..sw.num_vfs {
            if events.resets >> vf & 1 != 0 {
                mailbox::clear_reset(io, vf);
                sw.vf_reset_event(io, vfs, vf);
            }
            if events.messages >> vf & 1 != 0 {
                sw.handle_message(io, vfs, vf);
            }
            if events.acks >> vf & 1 != 0 {
                sw.handle_ack(io, vfs, vf);
            }
        }
        sw.flush_pings(io, vfs);
    }
}

impl Bench {
    fn new(num_vfs: u32) -> Self {
        let mut sw = Switch::new(Rss::new([0x1111_1111; 10], 4));
        sw.chip = CHIP;
        sw.num_vfs = num_vfs;
        sw.pools = Pools::for_vfs(num_vfs);
        sw.up = true;
        let bench = Self {
            machine: machine("both", 0),
            sw: RefCell::new(sw),
            vfs: RefCell::new(vec![VfState::new(); num_vfs as usize]),
        };
        {
            let io = &bench.pf();
            Mac::of(CHIP).reset(io, || false).unwrap();
            bench.machine.set_vfs(num_vfs as u8);
            let sw = &mut *bench.sw.borrow_mut();
            let pool = sw.pf_pool();
            sw.configure(io, &bench.vfs.borrow());
            sw.vlans.restore(io, pool);
            sw.macs.reset(io, &MAC, pool);
            mac::set_max_frame(io, 1518);
            mac::set_reset_done(io);
        }
        bench
    }

    fn pf(&self) -> Served<'_, Self> {
        Served(self, Function::Pf)
    }

    fn vf(&self, vf: u8) -> Served<'_, Self> {
        Served(self, Function::Vf(vf))
    }

    fn ready(&self, vf: u8) -> Vf {
        let mut v = Vf::new();
        v.reset(&self.vf(vf)).unwrap();
        v.negotiate(&self.vf(vf), FEATURE_ESX_MBX).unwrap();
        v
    }
}

#[test]
fn resets_of_vfs_are_seen() {
    let bench = Bench::new(63);
    let io = &bench.pf();
    for vf in [0u8, 31, 32, 62] {
        bench.machine.reset(Function::Vf(vf));
        assert_eq!(CHIP.events(io).resets, 1 << vf);
        // Where the 82599 has it there is nothing.
        assert_eq!(Chip::I82599.events(io).resets, 0);
        mailbox::clear_reset(io, vf.into());
        assert_eq!(CHIP.events(io).resets, 0);
        bench.ready(vf);
        assert!(bench.vfs.borrow()[usize::from(vf)].clear_to_send);
    }
}

/// Whatever the PF's MTU, a VF of any API has frames of any length: its queues limit them.
#[test]
fn jumbo_frames_shut_no_vf() {
    let bench = Bench::new(2);
    let io = &bench.vf(0);
    let open = || bench.pf().read32(vfre(0)) & 1 != 0;
    let longest = || bench.pf().read32(MAXFRS) >> MHADD_MFS_SHIFT;
    let mut vf = bench.ready(0);
    assert_eq!(vf.set_max_frame(io, 9018), Ok(9018));
    assert!(open());
    assert_eq!(longest(), 9018);
    vf.mbx.exchange(io, &Request::ApiNegotiate(0)).unwrap();
    for (mtu, bytes) in [(1500, 1518), (9000, 1518), (1500, 9018), (9000, 9018)] {
        bench.sw.borrow_mut().mtu = mtu;
        assert_eq!(vf.set_rlpml(io, bytes), Ok(()), "{mtu} {bytes}");
        assert!(open());
        assert_eq!(longest(), bytes.max(mtu + 18));
    }
    for bytes in [67, 9729] {
        assert_eq!(vf.set_rlpml(io, bytes), Err(Error::Nack));
        assert!(open(), "a refusal leaves it as it was");
    }
    // Its next driver begins with the PF's.
    bench.sw.borrow_mut().mtu = 1500;
    bench.ready(0);
    assert!(open());
    assert_eq!(longest(), 1518);
}

#[test]
fn a_trusted_vf_may_be_promiscuous_if_the_pf_is() {
    let bench = Bench::new(1);
    let io = &bench.vf(0);
    let bits = || bench.pf().read32(vmolr(0)) & (VMOLR_MPE | VMOLR_ROMPE | VMOLR_UPE | VMOLR_VPE);
    let mut vf = bench.ready(0);
    let promisc = XcastMode::Promisc;
    bench.pf().write32(FCTRL, FCTRL_UPE);
    assert_eq!(vf.update_xcast_mode(io, promisc), Ok(XcastMode::Multi));
    let trust = |on| {
        let sw = &mut *bench.sw.borrow_mut();
        sw.admin_set_trust(&bench.pf(), 0, &mut bench.vfs.borrow_mut()[0], on);
    };
    trust(true);
    let mut vf = bench.ready(0);
    bench.pf().write32(FCTRL, 0);
    assert_eq!(vf.update_xcast_mode(io, promisc), Err(Error::Nack));
    assert_eq!(bits(), 0);
    bench.pf().write32(FCTRL, FCTRL_UPE);
    assert_eq!(vf.update_xcast_mode(io, promisc), Ok(promisc));
    assert_eq!(bits(), VMOLR_UPE | VMOLR_MPE | VMOLR_ROMPE);
    trust(false);
    assert_eq!(bits(), VMOLR_ROMPE, "it ends with the trust");
}

/// A reset of a VF leaves RXDCTL, and with it the limit that its last driver set: here it would cut off frames.
#[test]
fn the_limit_of_the_last_driver_ends_with_it() {
    for (vf, regs) in [(None, QueueRegs::pf(5)), (Some(0), QueueRegs::vf(0))] {
        let bench = Bench::new(1);
        let io = &match vf {
            None => bench.pf(),
            Some(vf) => bench.vf(vf),
        };
        let limit = RXDCTL_RLPML_EN | 1534;
        io.write32(regs.rxdctl, limit);
        let ring = RxRing {
            regs,
            dma: 0x1000,
            count: 64,
            buffer_len: 2048,
            drop_en: true,
            vlan_strip: true,
        };
        ring.enable(io).unwrap();
        let value = io.read32(regs.rxdctl);
        assert_eq!(value, RXDCTL_ENABLE | RXDCTL_VME);
    }
}

/// Whatever PHY, EEPROM and semaphores answer: no panic, and an end. What it costs at most: each of some ten uses of a
/// semaphore may wait a second for who holds it, and the words of the EEPROM half a second together.
#[test]
fn a_hostile_device_is_got_rid_of() {
    let mdio: &[u32] = &[MSCA, MSRWD];
    let data: &[u32] = &[MSRWD];
    let words: &[u32] = &[EERD, EEC];
    let semaphores: &[u32] = &[SWSM, GSSR];
    let all: &[u32] = &[
        MSCA, MSRWD, EERD, EEC, SWSM, GSSR, LINKS, MMNGC, FWSM, STATUS, CTRL,
    ];
    let never = (MSCA_MDI_COMMAND, MSCA_MDI_COMMAND);
    let done = (EEPROM_RW_REG_DONE, EEPROM_RW_REG_DONE);
    let free = (SWSM_SMBI | SWFW_REGSMP, 0);
    let taken = (u32::MAX, u32::MAX);
    for seed in 1..=40u64 {
        for (lies, rate, stuck) in [
            (mdio, 8, (0, 0)),
            (mdio, 8, never),
            (mdio, 2, (0, 0)),
            (data, 8, (0, 0)),
            (words, 8, (0, 0)),
            (words, 8, done),
            (words, 2, done),
            (semaphores, 8, (0, 0)),
            (semaphores, 8, free),
            (semaphores, 8, taken),
            (semaphores, 2, (0, 0)),
            (all, 8, (0, 0)),
            (all, 8, taken),
            (all, 1, (0, 0)),
        ] {
            let machine = machine("all", 0);
            let io = Hostile::new(machine.pf(), lies, rate, stuck, seed);
            let begin = machine.now();
            CHIP.init_semaphores(&io);
            let phy = Board::X540.media(&io);
            let found = seconds(&machine, begin);
            assert!(found < 5, "{found} s, seed {seed}, {lies:x?}");
            let mut mac = Mac::of(CHIP);
            let _ = mac.reset(&io, || false);
            let _ = (CHIP.validate_eeprom(&io), CHIP.etrack_id(&io));
            // A PHY that was there when the driver was loaded.
            let phy = phy.unwrap_or_else(|_| {
                Board::X540.media(&machine.pf()).unwrap_or_else(|_| {
                    CHIP.init_semaphores(&machine.pf());
                    Board::X540.media(&machine.pf()).unwrap()
                })
            });
            let mut fc = FlowControl::over(phy);
            let _ = mac.start(&io, &fc);
            fc.enable(&io);
            if let Media::Copper(phy) = phy {
                let _ = phy.setup_link(&io, seed as u32);
                let _ = (phy.set_power(&io, false), phy.set_power(&io, true));
            }
            let took = seconds(&machine, begin);
            assert!(took < 20, "{took} s, seed {seed}, {lies:x?} {stuck:x?}");
            assert!(io.accesses() < 3_000_000, "{}", io.accesses());
        }
    }
}
