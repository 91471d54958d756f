// SPDX-License-Identifier: GPL-2.0
//! A VF that is stopped after any register access of its driver, moves, and goes on.

use std::cell::{Cell, RefCell};

use ixgbe_model::testing::Machine;
use libixgbe::{Delay, Regs};

use super::asking::go;
use super::moving::{Host, Rings, VF};

/// A VF that moves from host to host in the middle of what its driver does with the mailbox.
pub(crate) struct Wanderer<'a> {
    pub(crate) hosts: RefCell<Vec<Host<'a>>>,
    pub(crate) rings: RefCell<Option<Rings<'a>>>,
    pub(crate) at: Cell<usize>,
    /// Accesses until each move.
    pub(crate) moves: RefCell<Vec<usize>>,
    pub(crate) accesses: Cell<usize>,
}

impl<'a> Wanderer<'a> {
    fn step(&self) {
        self.accesses.set(self.accesses.get() + 1);
        let due = self.moves.borrow().first() == Some(&self.accesses.get());
        if due {
            self.moves.borrow_mut().remove(0);
            self.wander();
        }
    }

    pub(crate) fn wander(&self) {
        let hosts = &mut *self.hosts.borrow_mut();
        let at = self.at.get();
        let [a, b, ..] = &mut hosts[at..] else {
            panic!("no host to go to");
        };
        let rings = self.rings.borrow_mut().take().unwrap();
        let rings = go(a, b, &rings);
        *self.rings.borrow_mut() = Some(rings);
        self.at.set(at + 1);
    }

    fn machine(&self) -> &'a Machine {
        self.hosts.borrow()[self.at.get()].machine
    }
}

impl Regs for Wanderer<'_> {
    fn read32(&self, reg: u32) -> u32 {
        let value = self.machine().vf(VF).read32(reg);
        self.step();
        value
    }
    fn write32(&self, reg: u32, val: u32) {
        self.machine().vf(VF).write32(reg, val);
        self.step();
    }
}

impl Delay for Wanderer<'_> {
    fn udelay(&self, _: u32) {
        let hosts = &mut *self.hosts.borrow_mut();
        hosts[self.at.get()].serve();
    }
    fn usleep(&self, us: u32) {
        self.udelay(us);
    }
}
