// SPDX-License-Identifier: GPL-2.0
//! Mailbox ownership as a state machine: any sequence of both sides' register accesses, against a model that is written
//! from the rules alone.

mod common;

use common::sriov;
use ixgbe_model::host::Function;
use libixgbe::{regs, Regs};
use proptest::prelude::*;

/// One access by one side.
#[derive(Clone, Debug)]
enum Step {
    PfWrite(u32),
    PfRead,
    VfWrite(u32),
    VfRead,
    PfStore(u8, u32),
    VfStore(u8, u32),
    PfClears(u32),
    VfReset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u32..32).prop_map(Step::PfWrite),
        Just(Step::PfRead),
        (0u32..256).prop_map(Step::VfWrite),
        Just(Step::VfRead),
        (0u8..16, any::<u32>()).prop_map(|(word, value)| Step::PfStore(word, value)),
        (0u8..16, any::<u32>()).prop_map(|(word, value)| Step::VfStore(word, value)),
        any::<u32>().prop_map(Step::PfClears),
        Just(Step::VfReset),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    Pf,
    Vf,
}

/// The rules.
struct Rules {
    owner: Owner,
    /// PFSTS, PFACK, RSTD: notes for the VF, gone once read.
    notes: u32,
    /// REQ and ACK of this VF in PFMBICR.
    requests: u32,
    memory: [u32; 16],
}

const VF: u8 = 21;
/// Bits of VF 21 in its PFMBICR register.
const REQ: u32 = 1 << (21 % 16);
const ACK: u32 = REQ << 16;

proptest! {
    #[test]
    fn at_most_one_owner_and_no_note_lost(steps in steps()) {
        let machine = sriov(40);
        let (pf, vf) = (machine.pf(), machine.vf(VF));
        // The VF's driver has seen that the PF is up.
        vf.read32(regs::VFMAILBOX);
        let mut rules = Rules { owner: Owner::Nobody, notes: 0, requests: 0, memory: [0; 16] };
        let cause = regs::pfmbicr(1);
        for step in steps {
            match step {
                Step::PfWrite(value) => {
                    pf.write32(regs::pfmailbox(VF.into()), value);
                    if value & regs::PFMAILBOX_RVFU != 0 && rules.owner == Owner::Vf {
                        rules.owner = Owner::Nobody;
                    }
                    rules.owner = match (rules.owner, value & regs::PFMAILBOX_PFU != 0) {
                        (Owner::Vf, _) => Owner::Vf,
                        (_, true) => Owner::Pf,
                        (_, false) => Owner::Nobody,
                    };
                    if value & regs::PFMAILBOX_STS != 0 {
                        rules.notes |= regs::VFMAILBOX_PFSTS;
                    }
                    if value & regs::PFMAILBOX_ACK != 0 {
                        rules.notes |= regs::VFMAILBOX_PFACK;
                    }
                }
                Step::VfWrite(value) => {
                    vf.write32(regs::VFMAILBOX, value);
                    rules.owner = match (rules.owner, value & regs::VFMAILBOX_VFU != 0) {
                        (Owner::Pf, _) => Owner::Pf,
                        (_, true) => Owner::Vf,
                        (_, false) => Owner::Nobody,
                    };
                    if value & regs::VFMAILBOX_REQ != 0 {
                        rules.requests |= REQ;
                    }
                    if value & regs::VFMAILBOX_ACK != 0 {
                        rules.requests |= ACK;
                    }
                }
                Step::PfRead => {
                    let want = match rules.owner {
                        Owner::Nobody => 0,
                        Owner::Pf => regs::PFMAILBOX_PFU,
                        Owner::Vf => regs::PFMAILBOX_VFU,
                    };
                    prop_assert_eq!(pf.read32(regs::pfmailbox(VF.into())), want);
                }
                Step::VfRead => {
                    let owner = match rules.owner {
                        Owner::Nobody => 0,
                        Owner::Pf => regs::VFMAILBOX_PFU,
                        Owner::Vf => regs::VFMAILBOX_VFU,
                    };
                    prop_assert_eq!(vf.read32(regs::VFMAILBOX), owner | rules.notes);
                    rules.notes = 0;
                }
                Step::PfStore(word, value) => {
                    pf.write32(regs::pfmbmem(VF.into()) + 4 * u32::from(word), value);
                    rules.memory[usize::from(word)] = value;
                }
                Step::VfStore(word, value) => {
                    vf.write32(regs::vfmbmem(word.into()), value);
                    rules.memory[usize::from(word)] = value;
                }
                Step::PfClears(bits) => {
                    pf.write32(cause, bits);
                    rules.requests &= !bits;
                }
                Step::VfReset => {
                    vf.write32(regs::VFCTRL, regs::CTRL_RST);
                    if rules.owner == Owner::Vf {
                        rules.owner = Owner::Nobody;
                    }
                    rules.notes = regs::VFMAILBOX_RSTD;
                    prop_assert_ne!(pf.read32(regs::vflre(0)) & 1 << VF, 0);
                    pf.write32(regs::vflrec(0), 1 << VF);
                    prop_assert_eq!(pf.read32(regs::vflre(0)), 0);
                }
            }
            prop_assert_eq!(pf.read32(cause), rules.requests);
            for (word, value) in (0u32..).zip(rules.memory) {
                prop_assert_eq!(vf.read32(regs::vfmbmem(word)), value);
                prop_assert_eq!(pf.read32(regs::pfmbmem(VF.into()) + 4 * word), value);
            }
        }
        // Neighbours saw nothing.
        for other in [VF - 1, VF + 1] {
            prop_assert_eq!(machine.vf(other).read32(regs::VFMAILBOX) & !regs::VFMAILBOX_RSTD, 0);
            prop_assert_eq!(machine.vf(other).read32(regs::vfmbmem(0)), 0);
        }
    }
}

/// Vectors that were sent to a function.
fn vectors(messages: &[(Function, u16)], function: Function) -> Vec<u16> {
    messages
        .iter()
        .filter(|(f, _)| *f == function)
        .map(|(_, vector)| *vector)
        .collect()
}

#[test]
fn both_sides_are_interrupted() {
    let machine = sriov(2);
    let (pf, vf) = (machine.pf(), machine.vf(1));
    pf.write32(regs::IVAR_MISC, (5 | regs::IVAR_ALLOC_VAL) << 8);
    pf.write32(regs::EIMS, regs::EICR_MAILBOX);
    vf.write32(regs::VTIVAR_MISC, 2 | regs::IVAR_ALLOC_VAL);
    vf.write32(regs::VTEIAC, 4);
    vf.write32(regs::VTEIMS, 4);
    machine.take_messages();
    vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
    assert_eq!(vectors(&machine.take_messages(), Function::Pf), [5]);
    assert_eq!(
        pf.read32(regs::EICS) & regs::EICR_MAILBOX,
        regs::EICR_MAILBOX
    );
    pf.write32(regs::EICR, regs::EICR_MAILBOX);
    pf.write32(regs::pfmailbox(1), regs::PFMAILBOX_STS);
    pf.write32(regs::pfmailbox(1), regs::PFMAILBOX_ACK);
    let messages = machine.take_messages();
    assert_eq!(vectors(&messages, Function::Vf(1)), [2, 2]);
    assert_eq!(messages.len(), 2);
    // A VF that PFMBIMR masks is not heard.
    pf.write32(regs::pfmbimr(0), !2);
    vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
    assert!(machine.take_messages().is_empty());
}

#[test]
fn a_pf_reset_is_seen_until_its_driver_is_back() {
    let machine = sriov(2);
    let (pf, vf) = (machine.pf(), machine.vf(0));
    assert_eq!(vf.read32(regs::VFMAILBOX), regs::VFMAILBOX_RSTD);
    assert_eq!(vf.read32(regs::VFMAILBOX), 0);
    pf.write32(regs::CTRL, regs::CTRL_RST);
    for _ in 0..2 {
        assert_eq!(vf.read32(regs::VFMAILBOX), regs::VFMAILBOX_RSTI);
    }
    vf.write32(regs::VFCTRL, regs::CTRL_RST);
    assert_eq!(
        vf.read32(regs::VFMAILBOX),
        regs::VFMAILBOX_RSTI,
        "a VF reset does not hide it"
    );
    pf.write32(regs::CTRL_EXT, regs::CTRL_EXT_PFRSTD);
    assert_eq!(vf.read32(regs::VFMAILBOX), regs::VFMAILBOX_RSTD);
    assert_eq!(vf.read32(regs::VFMAILBOX), 0);
}
