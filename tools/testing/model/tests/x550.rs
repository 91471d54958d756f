// SPDX-License-Identifier: GPL-2.0
//! `chip=x550`: commands to firmware, RSS of each pool, speeds, and checks of what VFs send. What it shares with the X540 is in
//! `x540.rs`.

mod common;

use common::{datagram, frame, sriov_on, switched_on, vf_mac, RxRing, TxRing, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::{Machine, Port};
use ixgbe_model::{Chip, Config, HeadWrite, Speeds};
use libixgbe::{regs::*, Regs};

fn machine_of(chip: Chip) -> Machine {
    let config = Config {
        chip,
        partner: Speeds::ALL,
        ..Config::new([2, 0, 0, 0, 0, 1], HeadWrite::Value)
    };
    Machine::with(config, 1 << 20)
}

fn machine() -> Machine {
    machine_of(Chip::X550)
}

fn hold(pf: &Port<'_>, bits: u32) {
    pf.read32(GSSR);
    pf.write32(GSSR, bits);
}

/// Gives words to the firmware; whether it took them.
fn command(pf: &Port<'_>, words: &[u32]) -> bool {
    for (i, word) in (0u32..).zip(words) {
        pf.write32(FLEX_MNG + 4 * i, *word);
    }
    pf.write32(HICR, pf.read32(HICR) | HICR_C);
    assert_eq!(
        pf.read32(HICR) & (HICR_C | HICR_EN),
        HICR_EN,
        "it is done at once"
    );
    pf.read32(HICR) & HICR_SV != 0
}

fn read(pf: &Port<'_>, word: u32, count: u16) -> Option<Vec<u16>> {
    let head = [FW_READ_SHADOW_RAM, 0, FW_READ_SHADOW_RAM_LEN, 0xFF];
    let length = u32::from((2 * count).swap_bytes());
    let words = [u32::from_le_bytes(head), (2 * word).swap_bytes(), length];
    command(pf, &words).then(|| {
        let half = |i: u32| pf.read32(FLEX_MNG + 4 * (FW_NVM_DATA_OFFSET + i / 2)) >> (i % 2 * 16);
        (0..u32::from(count)).map(|i| half(i) as u16).collect()
    })
}

#[test]
fn firmware_alone_reads_the_eeprom() {
    let machine = machine();
    let pf = machine.pf();
    pf.write32(EERD, EEPROM_RW_REG_START);
    assert_eq!(pf.read32(EERD) & EEPROM_RW_REG_DONE, 0);
    assert_eq!(read(&pf, 0, 1), None, "without a semaphore");
    hold(&pf, GSSR_SW_MNG_SM);
    assert_eq!(read(&pf, 0, 1), None, "without that of the EEPROM");
    hold(&pf, GSSR_SW_MNG_SM | GSSR_EEP_SM);
    assert_eq!(read(&pf, 0, 1), Some(vec![0x2000]));
    assert_eq!(read(&pf, 0x2D, 2), Some(vec![0x18B4, 0x8000]));
    assert_eq!(read(&pf, 0x2C, 3).unwrap()[1..], [0x18B4, 0x8000]);
    assert!(read(&pf, 512, 512).is_some(), "up to the last one");
    for (word, count) in [(512, 513), (1023, 2), (0, 0), (0x7FFF_FFFF, 1)] {
        assert_eq!(read(&pf, word, count), None, "{word} {count}");
    }
    // A write is seen.
    let head = [FW_WRITE_SHADOW_RAM, 0, FW_WRITE_SHADOW_RAM_LEN, 0xFF];
    let words = [
        u32::from_le_bytes(head),
        (2u32 * 0x40).swap_bytes(),
        u32::from(2u16.swap_bytes()),
        0xBEAD,
    ];
    assert!(command(&pf, &words));
    assert_eq!(read(&pf, 0x40, 1), Some(vec![0xBEAD]));
    assert!(!command(&pf, &[0]), "no command");
    // No other chip has the interface.
    let other = machine_of(Chip::X540);
    other.pf().write32(HICR, HICR_C);
    assert_eq!(other.pf().read32(HICR), 0);
}

#[test]
fn the_checksum_knows_blocks_of_fixed_length() {
    let machine = machine();
    let pf = machine.pf();
    hold(&pf, GSSR_SW_MNG_SM | GSSR_EEP_SM);
    let word = |at: u32| u32::from(read(&pf, at, 1).unwrap()[0]);
    let mut sum: u32 = (0..=EEPROM_LAST_WORD).map(word).sum();
    for pointer in [2, 3, 6, 7, 8, 9, 0xA, 0xB, 0xC, 0xD, 0xE] {
        let block = word(pointer);
        let (first, length) = match pointer {
            _ if block == 0 || block == 0xFFFF => continue,
            PCIE_GENERAL_PTR => (block, PCIE_GENERAL_SIZE),
            PCIE_CONFIG0_PTR | PCIE_CONFIG1_PTR => (block, PCIE_CONFIG_SIZE),
            _ => (block + 1, word(block)),
        };
        sum += (first..first + length).map(word).sum::<u32>();
    }
    assert_eq!(sum & 0xFFFF, EEPROM_SUM);
}

#[test]
fn firmware_stops_receiving_and_hears_of_the_driver() {
    let machine = machine();
    let pf = machine.pf();
    pf.write32(RXCTRL, RXCTRL_RXEN);
    hold(&pf, GSSR_SW_MNG_SM);
    let stop = |port| u32::from_le_bytes([port, 0, 0, 0]);
    let head = u32::from_le_bytes([FW_DISABLE_RXEN, FW_DISABLE_RXEN_LEN, 0, 0xFF]);
    assert!(!command(&pf, &[head, stop(1)]), "another port");
    assert_eq!(pf.read32(RXCTRL) & RXCTRL_RXEN, RXCTRL_RXEN);
    assert!(command(&pf, &[head, stop(0)]));
    assert_eq!(pf.read32(RXCTRL) & RXCTRL_RXEN, 0);
    // Five bytes of version, three of text.
    let mut bytes = [FW_DRIVER_INFO, 8, 0, 0, 0, 1, 2, 3, 4, b'7', b'.', b'3'];
    let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b));
    let words = |bytes: &[u8]| {
        let word = |b: &[u8]| u32::from_le_bytes(b.try_into().unwrap());
        bytes.chunks(4).map(word).collect::<Vec<_>>()
    };
    assert!(!command(&pf, &words(&bytes)), "its checksum is wrong");
    bytes[3] = 0u8.wrapping_sub(sum(&bytes));
    assert!(command(&pf, &words(&bytes)));
    assert_eq!(pf.read32(FLEX_MNG) >> 16 & 0xFF, u32::from(FW_SUCCESS));
}

#[test]
fn both_ends_agree_on_what_is_between() {
    let machine = machine();
    let pf = machine.pf();
    hold(&pf, GSSR_PHY0_SM);
    let put = |register: u16, value: u16| {
        let at = MSCA_MDI_COMMAND | u32::from(MMD_AN) << MSCA_DEV_TYPE_SHIFT;
        pf.write32(MSCA, at | MSCA_ADDR_CYCLE | u32::from(register));
        pf.write32(MSRWD, value.into());
        pf.write32(MSCA, at | MSCA_WRITE);
    };
    let five = LINKS_SPEED_100_82599 | LINKS_SPEED_NON_STD;
    let two_and_a_half = LINKS_SPEED_10G_82599 | LINKS_SPEED_NON_STD;
    for (ten, vendor, agreed) in [
        (true, 0, LINKS_SPEED_10G_82599),
        (true, MII_5GBASE_T_ADVERTISE, LINKS_SPEED_10G_82599),
        (
            false,
            MII_5GBASE_T_ADVERTISE | MII_2_5GBASE_T_ADVERTISE,
            five,
        ),
        (
            false,
            MII_2_5GBASE_T_ADVERTISE | MII_1GBASE_T_ADVERTISE,
            two_and_a_half,
        ),
        (false, MII_1GBASE_T_ADVERTISE, LINKS_SPEED_1G_82599),
    ] {
        let ten = if ten { MDIO_AN_10GBT_CTRL_ADV10G } else { 0 };
        put(MDIO_AN_10GBT_CTRL, ten);
        put(MII_AUTONEG_VENDOR_PROVISION_1, vendor);
        put(MDIO_CTRL1, MDIO_AN_CTRL1_RESTART);
        let field = LINKS_SPEED_82599 | LINKS_SPEED_NON_STD;
        assert_eq!(pf.read32(LINKS) & (LINKS_UP | field), LINKS_UP | agreed);
        assert_eq!(machine.vf(0).read32(VFLINKS) & field, agreed);
    }
}

#[test]
fn the_table_has_512_entries() {
    let machine = machine();
    let pf = machine.pf();
    let own = [2, 0, 0, 0, 0, 1];
    pf.write32(RXCTRL, RXCTRL_RXEN);
    pf.write32(MRQC, MRQC_RSSEN | MRQC_RSS_FIELD_IPV4_UDP);
    for i in 0..10 {
        pf.write32(rssrk(i), 0x1234_5679u32.wrapping_mul(i + 1));
    }
    // Low entries name queue 0, the others queue 40, which four bits could not.
    for i in 0..96 {
        pf.write32(ereta(i), 0x2828_2828);
    }
    let mut low = RxRing::new(&machine, Function::Pf, 0, 64);
    let mut high = RxRing::new(&machine, Function::Pf, 40, 64);
    let (mut in_low, mut in_high) = (0, 0);
    for port in 0..40 {
        machine.receive(&datagram(own, 1000 + 37 * port));
        in_low += u32::from(low.take().is_some());
        in_high += u32::from(high.take().is_some());
    }
    assert_eq!(in_low + in_high, 40);
    assert!(in_low > 0 && in_high > in_low, "{in_low} {in_high}");
}

/// A machine with two VFs, each of which has an address and two queues.
fn with_vfs() -> Machine {
    let machine = sriov_on(switched_on(machine()), 2);
    machine
        .pf()
        .write32(MRQC, MRQC_VMDQRSS64EN | MRQC_MULTIPLE_RSS);
    machine
}

#[test]
fn each_pool_has_its_own_table() {
    let machine = with_vfs();
    for vf in 0..2u8 {
        let port = machine.vf(vf);
        port.write32(VFPSRTYPE, 1 << 29);
        for i in 0..10 {
            port.write32(vfrssrk(i), 0x0102_0304u32.wrapping_mul(i + 1));
        }
        // All to queue 0 of one, all to queue 1 of the other.
        for i in 0..16 {
            port.write32(vfreta(i), 0x0101_0101 * u32::from(vf));
        }
        port.write32(VFMRQC, MRQC_RSSEN | MRQC_RSS_FIELD_IPV4_UDP);
        assert_eq!(
            machine.pf().read32(pfvfreta(3, vf.into())),
            0x0101_0101 * u32::from(vf)
        );
        assert_eq!(
            port.read32(VFMRQC),
            machine.pf().read32(pfvfmrqc(vf.into()))
        );
    }
    for vf in 0..2u8 {
        let mut rings = [0, 1].map(|queue| RxRing::new(&machine, Function::Vf(vf), queue, 16));
        for port in 0..8 {
            machine.receive(&datagram(vf_mac(vf), 2000 + port));
            let taken = rings.each_mut().map(|ring| ring.take().is_some());
            assert_eq!(taken, [vf == 0, vf == 1], "VF {vf}");
        }
    }
}

#[test]
fn what_a_pool_sent_does_not_come_back_where_it_is_pruned() {
    let machine = with_vfs();
    let mut rings = [0, 1].map(|vf| RxRing::new(&machine, Function::Vf(vf), 0, 16));
    let mut echo = frame([0xFF; 6], PEER, 60);
    echo[6..12].copy_from_slice(&vf_mac(0));
    let mut received = || {
        machine.receive(&echo);
        rings.each_mut().map(|ring| ring.take().is_some())
    };
    assert_eq!(received(), [true, true]);
    machine.pf().write32(PFFLPL, 3);
    assert_eq!(received(), [false, true]);
}

#[test]
fn no_vf_sends_what_its_ethertype_forbids() {
    let machine = with_vfs();
    let pf = machine.pf();
    let mut tx = TxRing::new(&machine, Function::Vf(0), 0, 16);
    let mut lldp = frame([1, 0x80, 0xC2, 0, 0, 0x0E], vf_mac(0), 60);
    lldp[12..14].copy_from_slice(&[0x88, 0xCC]);
    let mut sent = || {
        tx.send(&lldp);
        machine.take_sent().len()
    };
    assert_eq!(sent(), 1);
    pf.write32(etqf(5), ETQF_FILTER_EN | ETQF_TX_ANTISPOOF | 0x88CC);
    assert_eq!(sent(), 1, "the VF is not checked");
    pf.write32(pfvfspoof(0), 1 << SPOOF_ETHERTYPEAS_SHIFT);
    assert_eq!(sent(), 0);
    pf.write32(etqf(5), ETQF_FILTER_EN | 0x88CC);
    assert_eq!(sent(), 1, "the filter is none of what is sent");
}
