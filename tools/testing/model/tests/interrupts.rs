// SPDX-License-Identifier: GPL-2.0
//! Interrupts: causes, automatic clear and mask, vectors, moderation, and the level outside MSI-X.

mod common;

use common::{frame, machine, sriov, vf_mac, RxRing, TxRing, MAC, PEER};
use ixgbe_model::host::Function;
use libixgbe::{regs, Regs};

const VALID: u32 = regs::IVAR_ALLOC_VAL;

/// MSI-X mode, queue 0: Rx to vector 3, Tx to vector 40.
fn vectors() -> ixgbe_model::testing::Machine {
    let machine = machine();
    let pf = machine.pf();
    pf.write32(
        regs::GPIE,
        regs::GPIE_MSIX_MODE | regs::GPIE_EIAME | regs::GPIE_OCD | regs::GPIE_PBA_SUPPORT,
    );
    pf.write32(regs::ivar(0), 3 | VALID | (40 | VALID) << 8);
    pf.write32(regs::EIAC, regs::EICR_RTX_QUEUE);
    pf.write32(regs::eiam_ex(0), !0);
    pf.write32(regs::eiam_ex(1), !0);
    machine
}

#[test]
fn queues_have_vectors() {
    let machine = vectors();
    let pf = machine.pf();
    let mut rx = RxRing::new(&machine, Function::Pf, 0, 16);
    let mut tx = TxRing::new(&machine, Function::Pf, 0, 16);
    pf.write32(regs::eims_ex(0), 1 << 3);
    pf.write32(regs::eims_ex(1), 1 << 8);
    machine.receive(&frame(MAC, PEER, 64));
    assert_eq!(machine.take_messages(), [(Function::Pf, 3)]);
    assert_eq!(pf.read32(regs::EICS), 0, "EIAC cleared the cause");
    assert_eq!(pf.read32(regs::EIMS), 0, "EIAM masked it");
    tx.send(&frame(PEER, MAC, 64));
    assert_eq!(machine.take_messages(), [(Function::Pf, 40)]);
    machine.receive(&frame(MAC, PEER, 64));
    machine.receive(&frame(MAC, PEER, 64));
    assert!(machine.take_messages().is_empty(), "masked");
    assert_eq!(pf.read32(regs::EICS), 1 << 3);
    pf.write32(regs::EIMS, 1 << 3);
    assert_eq!(
        machine.take_messages(),
        [(Function::Pf, 3)],
        "told once when unmasked"
    );
    while rx.take().is_some() {}
    pf.write32(regs::ivar(0), 0);
    pf.write32(regs::EIMS, 1 << 3);
    machine.receive(&frame(MAC, PEER, 64));
    assert!(machine.take_messages().is_empty(), "no valid vector");
}

#[test]
fn software_can_cause_interrupts() {
    let machine = vectors();
    let pf = machine.pf();
    pf.write32(regs::EICS, 1 << 3);
    assert_eq!(
        machine.take_messages(),
        [(Function::Pf, 3)],
        "EICS unmasks what EIAM covers"
    );
    pf.write32(regs::eics_ex(1), 1 << 8);
    assert_eq!(machine.take_messages(), [(Function::Pf, 40)]);
}

#[test]
fn moderation() {
    let machine = vectors();
    let pf = machine.pf();
    let mut rx = RxRing::new(&machine, Function::Pf, 0, 64);
    // 100 us.
    pf.write32(regs::eitr(3), 50 << 3);
    let mut told = 0;
    for _ in 0..100 {
        machine.receive(&frame(MAC, PEER, 64));
        while rx.take().is_some() {}
        // The driver is as fast as can be.
        pf.write32(regs::EIMS, 1 << 3);
        machine.advance(10_000);
        told += machine.take_messages().len();
    }
    assert!(
        (9..=11).contains(&told),
        "1 ms has room for 10 intervals, not {told}"
    );
    // A write of EITR that does not spare the counter ends the wait.
    machine.take_messages();
    pf.write32(regs::EIMS, 1 << 3);
    machine.receive(&frame(MAC, PEER, 64));
    machine.advance(200_000);
    machine.take_messages();
    pf.write32(regs::EIMS, 1 << 3);
    machine.receive(&frame(MAC, PEER, 64));
    machine.advance(100_000);
    assert_eq!(machine.take_messages().len(), 1);
}

#[test]
fn other_causes() {
    let machine = vectors();
    let pf = machine.pf();
    pf.write32(regs::IVAR_MISC, (7 | VALID) << 8);
    pf.write32(regs::EIMS, regs::EICR_LSC);
    machine.set_link(false);
    assert_eq!(machine.take_messages(), [(Function::Pf, 7)]);
    let cause = pf.read32(regs::EICS);
    assert_eq!(cause, regs::EICR_LSC | regs::EICR_OTHER);
    machine.set_link(true);
    assert_eq!(
        machine.take_messages(),
        [(Function::Pf, 7)],
        "each event is told"
    );
    pf.write32(regs::EICR, cause);
    assert_eq!(pf.read32(regs::EICS), 0);
    pf.write32(regs::EIMC, regs::EICR_LSC);
    machine.set_link(false);
    assert!(machine.take_messages().is_empty());
    pf.write32(regs::EIMS, regs::EICR_LSC);
    assert_eq!(machine.take_messages(), [(Function::Pf, 7)]);
}

#[test]
fn outside_msix_there_is_a_level() {
    let machine = machine();
    let pf = machine.pf();
    let mut rx = RxRing::new(&machine, Function::Pf, 0, 16);
    pf.write32(regs::ivar(0), VALID);
    machine.receive(&frame(MAC, PEER, 64));
    assert!(!machine.level());
    pf.write32(regs::EIMS, 1 | regs::EICR_LSC);
    assert!(machine.level());
    assert_eq!(pf.read32(regs::EICR), 1);
    assert!(!machine.level(), "reading EICR cleared the cause");
    assert_eq!(pf.read32(regs::EICR), 0);
    machine.set_link(false);
    assert!(machine.level());
    pf.write32(regs::EIMC, !0);
    assert!(!machine.level());
    machine.set_link(true);
    while rx.take().is_some() {}
    // With EIAM, reading EICR masks.
    pf.write32(regs::EICR, !0);
    pf.write32(regs::EIAM, 1);
    pf.write32(regs::EIMS, 1);
    machine.receive(&frame(MAC, PEER, 64));
    assert_eq!(pf.read32(regs::EICR) & 1, 1);
    assert_eq!(pf.read32(regs::EIMS) & 1, 0);
    assert!(
        machine.take_messages().is_empty(),
        "no message in this mode"
    );
}

/// The interrupt test of the C driver (K: `ixgbe_intr_test`).
#[test]
fn each_bit_alone() {
    let machine = machine();
    let pf = machine.pf();
    pf.write32(regs::EIMC, !0);
    for i in 0..10 {
        let bit = 1 << i;
        pf.write32(regs::EIMC, !bit & 0x7FFF);
        pf.write32(regs::EICS, !bit & 0x7FFF);
        assert!(!machine.level());
        pf.write32(regs::EIMS, bit);
        pf.write32(regs::EICS, bit);
        assert!(machine.level());
        assert_eq!(pf.read32(regs::EICR) & bit, bit);
        assert!(!machine.level());
    }
}

#[test]
fn vfs_have_their_own() {
    let machine = sriov(3);
    let vf = machine.vf(2);
    let mut rings: Vec<RxRing<'_>> = (0..2)
        .map(|q| RxRing::new(&machine, Function::Vf(2), q, 16))
        .collect();
    let mut tx = TxRing::new(&machine, Function::Vf(2), 1, 16);
    // Queue 0 to vector 0; queue 1: Rx to vector 1, Tx to vector 2.
    vf.write32(
        regs::vtivar(0),
        VALID | VALID << 8 | (1 | VALID) << 16 | (2 | VALID) << 24,
    );
    vf.write32(regs::VTEIAC, 7);
    vf.write32(regs::VTEIAM, 7);
    vf.write32(regs::VTEIMS, 7);
    machine.receive(&frame(vf_mac(2), PEER, 64));
    assert_eq!(machine.take_messages(), [(Function::Vf(2), 0)]);
    assert_eq!(vf.read32(regs::VTEIMS), 6);
    tx.send(&frame(PEER, vf_mac(2), 64));
    assert_eq!(machine.take_messages(), [(Function::Vf(2), 2)]);
    machine.receive(&frame(vf_mac(2), PEER, 64));
    assert!(machine.take_messages().is_empty());
    assert_eq!(vf.read32(regs::VTEICR), 1);
    assert_eq!(vf.read32(regs::VTEICR), 0, "reading clears");
    vf.write32(regs::VTEIMS, 7);
    vf.write32(regs::VTEICS, 2);
    assert_eq!(machine.take_messages(), [(Function::Vf(2), 1)]);
    for ring in &mut rings {
        while ring.take().is_some() {}
    }
    // The PF sees the same registers elsewhere.
    let pf = machine.pf();
    assert_eq!(pf.read32(regs::pvtivar(2)), vf.read32(regs::vtivar(0)));
    pf.write32(regs::pvteiac(2), 5);
    assert_eq!(vf.read32(regs::VTEIAC), 5);
    assert_eq!(machine.vf(1).read32(regs::VTEIAC), 0);
    // 200 us between messages of a vector.
    vf.write32(regs::vteitr(0), 100 << 3);
    vf.write32(regs::VTEIMS, 7);
    for _ in 0..9 {
        machine.receive(&frame(vf_mac(2), PEER, 64));
        vf.write32(regs::VTEIMS, 7);
        machine.advance(20_000);
    }
    assert_eq!(machine.take_messages().len(), 1);
    machine.advance(200_000);
    assert_eq!(machine.take_messages().len(), 1);
}

#[test]
fn a_reset_drops_the_level() {
    let machine = machine();
    let pf = machine.pf();
    pf.write32(regs::EIMS, regs::EICR_LSC);
    machine.set_link(false);
    assert!(machine.level());
    pf.write32(regs::CTRL, regs::CTRL_RST);
    assert!(!machine.level());
    assert_eq!(pf.read32(regs::EIMS), 0);
}
