// SPDX-License-Identifier: GPL-2.0
//! A VF that floods its mailbox, against the pace at which the PF reads it.

mod common;

use common::sriov;
use libixgbe::chip::Chip;
use libixgbe::mbx::{pace::Pace, pf as mailbox};
use libixgbe::{regs, Regs};

const SECONDS: u64 = 20;
const FLOOD: u32 = 0;
const NEIGHBOUR: u32 = 1;

/// The PF's task as the driver has it: at an interrupt of the mailbox, and when it said that it would look.
#[derive(Default)]
struct Task {
    pace: [Pace; 2],
    due: Option<u64>,
    runs: u32,
    read: [u32; 2],
}

impl Task {
    fn run(&mut self, pf: &impl Regs, now: u64) {
        self.runs += 1;
        self.due = None;
        pf.write32(regs::EICR, regs::EICR_MAILBOX);
        let mut events = Chip::I82599.events(pf);
        for (vf, pace) in (0..).zip(&mut self.pace) {
            let again = pace.admit(pf, &mut events, vf, now);
            if events.messages >> vf & 1 != 0 {
                mailbox::clear_message(pf, vf);
                mailbox::read(pf, vf).expect("the VF has let go");
                self.read[vf as usize] += 1;
            }
            let due = again.map(|ms| now + u64::from(ms));
            self.due = [self.due, due].into_iter().flatten().min();
        }
    }
}

#[test]
fn whoever_floods_waits_and_not_its_neighbour() {
    let machine = sriov(2);
    let (pf, flood, neighbour) = (machine.pf(), machine.vf(0), machine.vf(1));
    pf.write32(regs::IVAR_MISC, (5 | regs::IVAR_ALLOC_VAL) << 8);
    pf.write32(regs::EIMS, regs::EICR_MAILBOX);
    machine.take_messages();
    let mut task = Task::default();
    let mut asked = 0;
    for now in 0..SECONDS * 1000 {
        for _ in 0..20 {
            flood.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
        }
        let interrupted = !machine.take_messages().is_empty();
        if interrupted || task.due.is_some_and(|due| due <= now) {
            task.run(&pf, now);
        }
        if now % 50 == 7 {
            neighbour.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
            asked += 1;
            assert!(!machine.take_messages().is_empty(), "interrupted at once");
            task.run(&pf, now);
            assert_eq!(task.read[NEIGHBOUR as usize], asked);
        }
    }
    let of_flood = u64::from(task.read[FLOOD as usize]);
    assert!(
        (SECONDS * 90..256 + SECONDS * 101).contains(&of_flood),
        "{of_flood} messages"
    );
    // Each message: the look at which it is read, one that finds the next, and the one after the interrupt is let through.
    let runs = u64::from(task.runs - asked);
    assert!(runs < 3 * (256 + SECONDS * 101), "{runs} runs");
}

/// A message that comes while its interrupt is masked, or is being unmasked, is read all the same.
#[test]
fn no_message_is_lost_at_the_end_of_a_flood() {
    for gap in 0..40 {
        let machine = sriov(2);
        let (pf, vf) = (machine.pf(), machine.vf(0));
        pf.write32(regs::IVAR_MISC, (5 | regs::IVAR_ALLOC_VAL) << 8);
        pf.write32(regs::EIMS, regs::EICR_MAILBOX);
        let mut task = Task::default();
        for _ in 0..300 {
            vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
            task.run(&pf, 0);
        }
        machine.take_messages();
        let before = task.read[FLOOD as usize];
        for now in 1..100 {
            if task.due.is_some_and(|due| due <= now) || !machine.take_messages().is_empty() {
                task.run(&pf, now);
            }
            if now == gap {
                vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
            }
        }
        assert!(task.read[FLOOD as usize] > before, "after {gap} ms");
        assert_eq!(Chip::I82599.events(&pf).messages, 0);
        assert_eq!(
            pf.read32(regs::pfmbimr(0)) & 1,
            1,
            "its interrupt is on again"
        );
    }
}
