// SPDX-License-Identifier: GPL-2.0
//! X550: the code that the module runs, against the model: probe, the EEPROM behind firmware, link, and RSS of each pool. What it
//! shares with the X540 is in `x540.rs`.

mod hostile;

use hostile::Hostile;
use ixgbe_model::{
    testing::Machine,
    Chip as ModelChip,
    Config,
    HeadWrite, //
};
use libixgbe::{
    board::Board,
    chip::Chip,
    eeprom,
    link::{
        self,
        FlowControl,
        Media,
        SPEED_100_FULL,
        SPEED_10GB_FULL,
        SPEED_1GB_FULL,
        SPEED_2_5GB_FULL,
        SPEED_5GB_FULL, //
    },
    mac::Mac,
    phy::Phy,
    regs::*,
    rss::{
        self,
        Place,
        Rss, //
    },
    sriov::Pools,
    Regs, //
};

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
const CHIP: Chip = Chip::X550;

fn machine(partner: &str, port: u8) -> Machine {
    let config = Config {
        chip: ModelChip::X550,
        partner: partner.parse().unwrap(),
        port,
        ..Config::new(MAC, HeadWrite::Value)
    };
    Machine::with(config, 1 << 20)
}

#[test]
fn a_row_of_the_table() {
    for id in [0x1563, 0x15D1] {
        assert_eq!(Board::of_device(id), Ok(Board::X550));
    }
    assert_eq!(Board::X550.chip(), CHIP);
    assert_eq!(CHIP.vf_device(), ModelChip::X550.vf_device_id());
    assert_eq!(Chip::of_vf(0x1565), Some(CHIP));
}

#[test]
fn probe() {
    for port in [0, 1] {
        let machine = machine("all", port);
        let io = &machine.pf();
        CHIP.init_semaphores(io);
        let Media::Copper(phy) = Board::X550.media(io).unwrap() else {
            panic!("an X550 has a PHY");
        };
        assert_eq!(phy.id, X550_PHY_ID & PHY_REVISION_MASK);
        let all = SPEED_10GB_FULL | SPEED_1GB_FULL | SPEED_100_FULL;
        let between = SPEED_5GB_FULL | SPEED_2_5GB_FULL;
        assert_eq!(phy.capabilities().speeds, all | between);
        let fc = FlowControl::over(Media::Copper(phy));
        let mut mac = Mac::of(CHIP);
        mac.reset(io, || false).unwrap();
        mac.start(io, &fc).unwrap();
        assert_eq!(mac.perm_addr, MAC);
        CHIP.validate_eeprom(io).unwrap();
        assert_eq!(CHIP.eeprom_words(io), 1024);
        assert_eq!(CHIP.etrack_id(io), Ok(0x8000_18B4));
        let mut words = vec![0; 1024];
        CHIP.read_eeprom(io, 0, &mut words).unwrap();
        assert_eq!(words[0x2D..0x2F], [0x18B4, 0x8000]);
        assert_eq!(words[1023], 0xFFFF);
        assert_eq!(
            CHIP.read_eeprom(io, 1023, &mut words[..2]),
            Err(eeprom::Error::Absent)
        );
        // Firmware stops the receiver of this port.
        mac.enable_rx(io);
        mac.disable_rx(io);
        assert_eq!(io.read32(RXCTRL) & RXCTRL_RXEN, 0);
        assert_eq!(io.read32(FLEX_MNG) & 0xFF, FW_DISABLE_RXEN.into());
        // Nothing is left locked.
        assert_eq!(io.read32(GSSR), 0);
    }
}

#[test]
fn who_keeps_the_firmware_s_interface_does_not_keep_the_receiver_on() {
    let machine = machine("all", 0);
    let io = &machine.pf();
    let mut mac = Mac::of(CHIP);
    mac.enable_rx(io);
    CHIP.acquire(io, GSSR_SW_MNG_SM).unwrap();
    mac.disable_rx(io);
    assert_eq!(io.read32(RXCTRL) & RXCTRL_RXEN, 0);
}

/// Writes a word of the EEPROM.
fn put(io: &impl Regs, word: u32, value: u16) {
    let head = [FW_WRITE_SHADOW_RAM, 0, FW_WRITE_SHADOW_RAM_LEN, 0xFF];
    let length = u32::from(2u16.swap_bytes());
    let words = [
        u32::from_le_bytes(head),
        (2 * word).swap_bytes(),
        length,
        value.into(),
    ];
    for (i, word) in (0u32..).zip(words) {
        io.write32(FLEX_MNG + 4 * i, word);
    }
    io.write32(HICR, HICR_C);
    assert_ne!(io.read32(HICR) & HICR_SV, 0);
}

#[test]
fn a_wrong_checksum_is_noticed() {
    for (word, wrong) in [
        (0x01, true),
        (0x41, true),
        // Analog and core; general and both functions, whose length is fixed.
        (0x101, true),
        (0x121, true),
        (0x140, true),
        (0x163, true),
        (0x180, true),
        (0x18F, true),
        // PHY, option ROM and firmware have sums of their own; between blocks is nothing.
        (0x111, false),
        (0x119, false),
        (0x131, false),
        (0x164, false),
        (0x42, false),
    ] {
        let machine = machine("both", 0);
        let io = &machine.pf();
        CHIP.acquire(io, GSSR_SW_MNG_SM | GSSR_EEP_SM).unwrap();
        put(io, word, 0xABCD);
        CHIP.release(io, GSSR_SW_MNG_SM | GSSR_EEP_SM);
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
fn speeds_between_are_offered_where_asked_for() {
    for (partner, offered, mbps) in [
        ("all", 0, Some(10_000)),
        ("5g", 0, None),
        ("5g", SPEED_5GB_FULL, Some(5000)),
        ("2.5g", SPEED_5GB_FULL | SPEED_2_5GB_FULL, Some(2500)),
        ("all", SPEED_5GB_FULL | SPEED_2_5GB_FULL, Some(5000)),
        ("all", SPEED_2_5GB_FULL | SPEED_1GB_FULL, Some(2500)),
        ("all", SPEED_100_FULL, Some(100)),
        ("1g", SPEED_10GB_FULL | SPEED_1GB_FULL, Some(1000)),
    ] {
        let machine = machine(partner, 0);
        let io = &machine.pf();
        let phy = Phy::find(io, CHIP).unwrap();
        phy.setup_link(io, offered).unwrap();
        let link = CHIP.check_link(io);
        assert_eq!(link.up.then(|| link.mbps()), mbps, "{partner} {offered:#x}");
        assert_eq!(link::check_link(io).up, link.up);
    }
}

#[test]
fn without_pools_the_table_repeats() {
    let machine = machine("both", 0);
    let io = &machine.pf();
    let rss = Rss::new(core::array::from_fn(|i| i as u32 + 1), 3);
    let place = Place {
        chip: CHIP,
        ..Place::default()
    };
    rss.configure(io, place);
    let entry = |i: u32| {
        let word = match i.checked_sub(128) {
            None => io.read32(reta(i / 4)),
            Some(above) => io.read32(ereta(above / 4)),
        };
        word >> (i % 4 * 8) & 0xFF
    };
    for i in 0..512 {
        assert_eq!(entry(i), i % 128 % 3, "{i}");
    }
    assert_eq!(io.read32(rssrk(9)), 10);
    assert_eq!(
        io.read32(MRQC) & (MRQC_MRQE_MASK | MRQC_MULTIPLE_RSS),
        MRQC_RSSEN
    );
}

#[test]
fn with_pools_each_function_has_its_own() {
    let machine = machine("both", 0);
    machine.set_vfs(2);
    let io = &machine.pf();
    let rss = Rss::new(core::array::from_fn(|i| i as u32 + 1), 4);
    let place = Place {
        chip: CHIP,
        pools: Some(Pools::P64),
        pool: 2,
    };
    rss.configure(io, place);
    assert_eq!(io.read32(pfvfreta(15, 2)), 0x0302_0100);
    assert_eq!(io.read32(pfvfrssrk(9, 2)), 10);
    let fields = MRQC_RSS_FIELD_IPV4 | MRQC_RSS_FIELD_IPV6;
    assert_eq!(
        io.read32(pfvfmrqc(2)) & (MRQC_RSSEN | fields),
        MRQC_RSSEN | fields
    );
    let mode = MRQC_MULTIPLE_RSS | MRQC_L3L4TXSWEN | MRQC_VMDQRSS64EN;
    assert_eq!(io.read32(MRQC), mode);
    // The shared ones stay as they were.
    assert_eq!((io.read32(reta(0)), io.read32(rssrk(0))), (0, 0));
    let key = core::array::from_fn(|i| 0x100 + i as u32);
    rss::setup_vf(&machine.vf(1), &key, 2);
    assert_eq!(io.read32(pfvfreta(0, 1)), 0x0100_0100);
    assert_eq!(io.read32(pfvfrssrk(9, 1)), 0x109);
    assert_eq!(io.read32(pfvfmrqc(1)), io.read32(pfvfmrqc(2)));
    // A table whose second half says something else has no place.
    assert!(place.takes(|i| i as u32 % 4));
    assert!(!place.takes(|i| i as u32 % 3));
    let alone = Place {
        pools: None,
        ..place
    };
    assert!(alone.takes(|i| i as u32 % 3));
}

#[test]
fn firmware_may_answer_anything() {
    const LIES: &[u32] = &[
        HICR,
        FLEX_MNG,
        FLEX_MNG + 12,
        FWSTS,
        GSSR,
        SWSM,
        EEC,
        RXCTRL,
    ];
    for seed in 0..40 {
        for (rate, stuck) in [
            (1, (0, 0)),
            (4, (0, 0)),
            (8, (0, 0)),
            (8, (HICR_EN, HICR_EN)),
            (8, (HICR_EN | HICR_C, HICR_EN | HICR_C)),
            (8, (HICR_EN | HICR_C | HICR_SV, HICR_EN | HICR_SV)),
        ] {
            let machine = machine("both", 0);
            let io = Hostile::new(machine.pf(), LIES, rate, stuck, seed);
            let begin = machine.now();
            CHIP.init_semaphores(&io);
            let _ = CHIP.validate_eeprom(&io);
            let _ = CHIP.etrack_id(&io);
            let mut mac = Mac::of(CHIP);
            let _ = mac.reset(&io, || false);
            mac.enable_rx(&io);
            mac.disable_rx(&io);
            let seconds = (machine.now() - begin) / 1_000_000_000;
            assert!(seconds <= 20, "{seconds} s, seed {seed}, {rate} {stuck:x?}");
            assert!(io.accesses() < 3_000_000, "{}", io.accesses());
        }
    }
}
