// SPDX-License-Identifier: GPL-2.0
//! `chip=x540`: the PHY behind MDIO, semaphores, EEPROM, resets and frame limits. What reads the PHY here is written from
//! clause 45 and not from a driver.

mod common;

use common::{frame, RxRing, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::{Machine, Port};
use ixgbe_model::{Chip, Config, HeadWrite, Speeds};
use libixgbe::{regs::*, Regs};

fn speeds(text: &str) -> Speeds {
    text.parse().unwrap()
}

fn machine(partner: &str, port: u8) -> Machine {
    let config = Config {
        chip: Chip::X540,
        partner: speeds(partner),
        port,
        ..Config::new([2, 0, 0, 0, 0, 1], HeadWrite::Value)
    };
    Machine::with(config, 1 << 16)
}

/// Takes or returns bits of SW_FW_SYNC, as somebody who knows that they are free.
fn hold(pf: &Port<'_>, bits: u32) {
    assert_eq!(pf.read32(GSSR) & SWFW_REGSMP, 0);
    pf.write32(GSSR, bits);
}

/// A station of the bus.
struct Station<'a>(Port<'a>, u32);

impl Station<'_> {
    fn command(&self, operation: u32, device: u8, register: u16) {
        let command = MSCA_MDI_COMMAND
            | operation
            | self.1 << MSCA_PHY_ADDR_SHIFT
            | u32::from(device) << MSCA_DEV_TYPE_SHIFT
            | u32::from(register);
        self.0.write32(MSCA, command);
        assert_eq!(self.0.read32(MSCA) & MSCA_MDI_COMMAND, 0);
    }

    fn get(&self, device: u8, register: u16) -> u16 {
        self.command(MSCA_ADDR_CYCLE, device, register);
        self.command(MSCA_READ, device, 0);
        (self.0.read32(MSRWD) >> MSRWD_READ_DATA_SHIFT) as u16
    }

    fn put(&self, device: u8, register: u16, value: u16) {
        self.command(MSCA_ADDR_CYCLE, device, register);
        self.0.write32(MSRWD, value.into());
        self.command(MSCA_WRITE, device, 0);
    }

    fn offer(&self, ten: bool, one: bool, hundred: bool) {
        let bit = |on, bits: u16| if on { bits } else { 0 };
        self.put(
            MMD_AN,
            MDIO_AN_10GBT_CTRL,
            bit(ten, MDIO_AN_10GBT_CTRL_ADV10G),
        );
        let one = bit(one, MII_1GBASE_T_ADVERTISE);
        self.put(MMD_AN, MII_AUTONEG_VENDOR_PROVISION_1, one);
        self.put(MMD_AN, MDIO_AN_ADVERTISE, bit(hundred, ADVERTISE_100FULL));
        let control = self.get(MMD_AN, MDIO_CTRL1);
        self.put(MMD_AN, MDIO_CTRL1, control | MDIO_AN_CTRL1_RESTART);
        assert_eq!(self.get(MMD_AN, MDIO_CTRL1), control, "it clears itself");
    }
}

fn speed(pf: &Port<'_>) -> Option<u32> {
    let links = pf.read32(LINKS);
    (links & LINKS_UP != 0).then_some(links & LINKS_SPEED_82599)
}

#[test]
fn the_phy_is_at_the_port_s_number() {
    for port in [0, 1] {
        let machine = machine("both", port);
        let pf = machine.pf();
        hold(&pf, GSSR_PHY0_SM << port);
        for address in 0..32 {
            let id = Station(pf, address).get(MMD_PMAPMD, MDIO_DEVID1);
            let there = address == u32::from(port);
            assert_eq!(id, if there { 0x0154 } else { 0xFFFF }, "{address}");
        }
        let phy = Station(pf, port.into());
        let id = u32::from(phy.get(MMD_PCS, MDIO_DEVID2));
        assert_eq!(id & PHY_REVISION_MASK, X540_PHY_ID & 0xFFFF);
        assert_eq!(phy.get(2, MDIO_STAT2), 0xFFFF, "no WIS");
        assert_eq!(phy.get(MMD_PHYXS, MDIO_STAT2), MDIO_STAT2_DEVPRST_VAL);
        let devices = phy.get(MMD_AN, MDIO_DEVS1);
        assert_eq!(devices, 1 << 1 | 1 << 3 | 1 << 4 | 1 << 7);
        assert_eq!(phy.get(MMD_AN, MDIO_DEVS2), 1 << (30 - 16));
        assert_eq!(phy.get(MMD_PMAPMD, MDIO_SPEED), 0x31);
    }
}

#[test]
fn both_ends_agree_on_the_highest_speed() {
    let machine = machine("all", 0);
    let pf = machine.pf();
    hold(&pf, GSSR_PHY0_SM);
    let phy = Station(pf, 0);
    assert_eq!(speed(&pf), Some(LINKS_SPEED_10G_82599));
    for (partner, offer, agreed) in [
        ("all", (true, true, true), Some(LINKS_SPEED_10G_82599)),
        ("all", (false, true, true), Some(LINKS_SPEED_1G_82599)),
        ("all", (false, false, true), Some(LINKS_SPEED_100_82599)),
        ("1g", (true, true, true), Some(LINKS_SPEED_1G_82599)),
        ("100m", (true, true, true), Some(LINKS_SPEED_100_82599)),
        ("1g", (true, false, false), None),
        ("10g", (false, true, true), None),
        ("both", (false, false, false), None),
    ] {
        machine.set_partner(speeds(partner));
        let (ten, one, hundred) = offer;
        phy.offer(ten, one, hundred);
        assert_eq!(speed(&pf), agreed, "{partner} {offer:?}");
        let up = agreed.is_some();
        assert_eq!(phy.get(MMD_AN, MDIO_STAT1) & MDIO_STAT1_LSTATUS != 0, up);
        assert_eq!(phy.get(MMD_AN, MDIO_AN_LPA) & TAF_SYM_PAUSE != 0, up);
    }
    phy.offer(true, true, true);
    // What is advertised counts once negotiation begins again.
    machine.set_partner(speeds("all"));
    phy.put(MMD_AN, MDIO_AN_10GBT_CTRL, 0);
    assert_eq!(speed(&pf), Some(LINKS_SPEED_10G_82599));
    // Neither AUTOC nor a reset of the MAC changes anything.
    pf.write32(AUTOC, AUTOC_FLU);
    assert_eq!(pf.read32(AUTOC), 0);
    machine.set_link(false);
    assert_eq!(speed(&pf), None);
    pf.write32(CTRL, CTRL_RST);
    assert_eq!(speed(&pf), None);
    machine.set_link(true);
    assert_eq!(speed(&pf), Some(LINKS_SPEED_10G_82599));
    phy.put(MMD_VEND1, MDIO_CTRL1, MDIO_PHY_LOW_POWER);
    assert_eq!(speed(&pf), None);
    // Blinking without a link, and the loopback test.
    pf.write32(MACC, MACC_FLU | MACC_FS | MACC_FSV_10G);
    assert_eq!(speed(&pf), Some(LINKS_SPEED_10G_82599));
    pf.write32(MACC, 0);
    phy.put(MMD_PHYXS, MDIO_CTRL1, MDIO_CTRL1_RESET);
    assert_eq!(phy.get(MMD_PHYXS, MDIO_CTRL1), 0);
    assert_eq!(speed(&pf), Some(LINKS_SPEED_10G_82599));
}

#[test]
fn changes_of_the_link_interrupt_and_so_does_heat() {
    let machine = machine("both", 0);
    let pf = machine.pf();
    let causes = || {
        let causes = pf.read32(EICR);
        causes & (EICR_LSC | EICR_TS)
    };
    causes();
    machine.set_link(false);
    assert_eq!(causes(), EICR_LSC);
    machine.set_link(true);
    assert_eq!(causes(), EICR_LSC);
    machine.set_partner(speeds("1g"));
    assert_eq!(causes(), EICR_LSC);
    machine.overheat();
    assert_eq!(causes(), EICR_TS);
    hold(&pf, GSSR_PHY0_SM);
    Station(pf, 0).offer(true, true, false);
    assert_eq!(causes(), EICR_LSC);
}

#[test]
fn nothing_without_its_semaphore() {
    let machine = machine("both", 0);
    let pf = machine.pf();
    let phy = Station(pf, 0);
    let word = || {
        pf.write32(EERD, EEPROM_RW_REG_START);
        pf.read32(EERD) >> EEPROM_RW_REG_DATA
    };
    assert_eq!(phy.get(MMD_PMAPMD, MDIO_DEVID1), 0xFFFF);
    assert_eq!(word(), 0xFFFF);
    // A read takes the semaphore over the register if it was free.
    assert_eq!(pf.read32(GSSR), 0);
    assert_eq!(pf.read32(GSSR), SWFW_REGSMP);
    pf.write32(GSSR, GSSR_EEP_SM);
    assert_eq!(word(), 0x2000);
    assert_eq!(phy.get(MMD_PMAPMD, MDIO_DEVID1), 0xFFFF);
    // Not held: the register keeps its value.
    pf.write32(GSSR, GSSR_PHY0_SM);
    assert_eq!(pf.read32(GSSR), GSSR_EEP_SM);
    pf.write32(GSSR, GSSR_PHY0_SM);
    assert_eq!(phy.get(MMD_PMAPMD, MDIO_DEVID1), 0x0154);
    // Firmware's bits are its own, and a reset leaves all of them.
    machine.firmware_holds(GSSR_PHY0_SM);
    pf.read32(GSSR);
    pf.write32(GSSR, 0);
    pf.write32(CTRL, CTRL_RST);
    assert_eq!(pf.read32(GSSR), GSSR_PHY0_SM << 5);
    machine.firmware_holds(0);
    assert_eq!(pf.read32(GSSR), SWFW_REGSMP);
}

#[test]
fn the_checksum_leaves_out_the_phy_and_the_option_rom() {
    let machine = machine("both", 0);
    let pf = machine.pf();
    hold(&pf, GSSR_EEP_SM);
    let word = |at: u32| {
        pf.write32(EERD, at << EEPROM_RW_ADDR_SHIFT | EEPROM_RW_REG_START);
        pf.read32(EERD) >> EEPROM_RW_REG_DATA
    };
    let sum = |pointers: &[u32]| {
        let fixed: u32 = (0..=EEPROM_CHECKSUM).map(word).sum();
        let blocks = pointers
            .iter()
            .map(|at| word(*at))
            .filter(|at| *at != 0xFFFF);
        let blocks = blocks.flat_map(|block| (1..=word(block)).map(move |i| word(block + i)));
        (fixed + blocks.sum::<u32>()) & 0xFFFF
    };
    let counted = [3, 6, 7, 8, 9, 10, 11, 12, 13, 14];
    assert_eq!(sum(&counted), EEPROM_SUM);
    let generic: Vec<u32> = (3..15).collect();
    assert_ne!(sum(&generic), EEPROM_SUM);
    assert_ne!(sum(&[]), EEPROM_SUM);
}

#[test]
fn resets_and_their_traces_are_where_the_x540_has_them() {
    let machine = machine("both", 0);
    let pf = machine.pf();
    assert_eq!(pf.read32(rxpbsize(0)), 384 << 10);
    pf.write32(MTQC, 1);
    pf.write32(CTRL, CTRL_LNK_RST);
    assert_eq!(pf.read32(MTQC), 1, "no reset of the link alone");
    pf.write32(CTRL, CTRL_RST);
    assert_eq!(pf.read32(MTQC), 0);
    machine.set_vfs(63);
    for vf in [3u8, 40] {
        let (register, bit) = (u32::from(vf) / 32, 1 << (vf % 32));
        machine.vf(vf).write32(VFCTRL, CTRL_RST);
        assert_eq!(pf.read32(vflre(register)), 0);
        assert_eq!(pf.read32(vflrec(register)), bit);
        pf.write32(vflrec(register), bit);
        assert_eq!(pf.read32(vflrec(register)), 0);
    }
    for (chip, device) in [(Chip::X540, 0x1528), (Chip::X540At1, 0x1560)] {
        assert_eq!((chip.device_id(), chip.vf_device_id()), (device, 0x1515));
    }
}

#[test]
fn a_queue_limits_its_frames() {
    for (chip, limited) in [(Chip::X540, true), (Chip::Kx4, false)] {
        let config = Config {
            chip,
            ..Config::new([2, 0, 0, 0, 0, 1], HeadWrite::Value)
        };
        let machine = Machine::with(config, 1 << 20);
        let pf = machine.pf();
        pf.write32(FCTRL, FCTRL_BAM);
        pf.write32(RXCTRL, RXCTRL_RXEN);
        pf.write32(MAXFRS, 9728 << MHADD_MFS_SHIFT);
        pf.write32(HLREG0, pf.read32(HLREG0) | HLREG0_JUMBOEN);
        let mut ring = RxRing::new(&machine, Function::Pf, 0, 8);
        let control = pf.read32(rxdctl(0));
        pf.write32(rxdctl(0), control | RXDCTL_RLPML_EN | 1000);
        // With the FCS.
        machine.receive(&frame([0xFF; 6], PEER, 996));
        assert!(ring.take().is_some());
        machine.receive(&frame([0xFF; 6], PEER, 997));
        assert_eq!(ring.take().is_none(), limited);
    }
}
