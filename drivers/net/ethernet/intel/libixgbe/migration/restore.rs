// SPDX-License-Identifier: GPL-2.0
//! Puts a VF back, on the destination or, after a failed move, on the source.
//!
//! No public source says whether a head register takes a value other than 0, so it is tried and read back, queue by
//! queue; what cannot be taken back is re-armed by a guest that offered it, or the whole VF is made to reset itself.

use super::capture::Own;
use super::quiesce::VMOLR_ACCEPT;
use super::state::OwnRss;
use super::state::RxQueue;
use super::state::TxQueue;
use super::Place;
use crate::io;
use crate::regs;
use crate::rss;
use crate::Delay;
use crate::Regs;

/// How ring heads come back: the devlink parameter `head_restore`, and what was done in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadRestore {
    /// The best that hardware and guest can do, in the order of the other three.
    Auto,
    /// Heads are written back while the queue is stopped. The guest notices nothing.
    Write,
    /// Heads restart at 0, the guest's driver takes what it received and rotates its rings. No frame is lost.
    Rearm,
    /// The guest's driver is made to reset the VF. Frames are lost, nothing hangs.
    Reset,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// [`HeadRestore::Write`] if every head came back, else the strongest means that was needed; never `Auto`.
    pub way: HeadRestore,
    /// Rx queues, one bit each, that stand stopped with head 0 for the guest to re-arm.
    pub rearm_rx: u32,
    /// Tx queues likewise.
    pub rearm_tx: u32,
}

impl Restored {
    /// Whether the VF's Rx gate was left shut, because a ring without buffers lies behind it.
    ///
    /// A frame for such a ring would be dropped there, and another, for a ring that the guest has re-armed already,
    /// would not: behind the gate none is served until all are. Holding frames in the device's packet buffer instead is
    /// no way: a ring without buffers that may not drop stops those of all other pools, which is why the PF sets QDE for
    /// every VF (`ixgbe_write_qde`).
    pub fn waits_for_guest(&self) -> bool {
        self.way == HeadRestore::Rearm && self.rearm_rx != 0
    }
}

/// TIMEOUT: as `IXGBE_MAX_RX_DESC_POLL` of the C driver.
const START_POLLS: u32 = 20;
const START_POLL_US: u32 = 50;

/// Registers of one queue, Rx or Tx.
struct Queue {
    head: u32,
    tail: u32,
    dctl: u32,
    enable: u32,
}

impl Queue {
    const fn rx(q: u32) -> Self {
        Self {
            head: regs::rdh(q),
            tail: regs::rdt(q),
            dctl: regs::rxdctl(q),
            enable: regs::RXDCTL_ENABLE,
        }
    }

    const fn tx(q: u32) -> Self {
        Self {
            head: regs::tdh(q),
            tail: regs::tdt(q),
            dctl: regs::txdctl(q),
            enable: regs::TXDCTL_ENABLE,
        }
    }

    fn reached(&self, io: &(impl Regs + Delay), on: bool) -> bool {
        let want = if on { self.enable } else { 0 };
        for _ in 0..START_POLLS {
            if io.read32(self.dctl) & self.enable == want {
                return true;
            }
            io.udelay(START_POLL_US);
        }
        false
    }

    fn running(&self, io: &impl Regs) -> bool {
        io.read32(self.dctl) & self.enable != 0
    }

    /// Leaves an empty ring at index 0, stopped, ready for a driver to program it.
    fn park(&self, io: &(impl Regs + Delay)) {
        self.ensure_off(io);
        io.write32(self.head, 0);
        io.write32(self.tail, 0);
    }

    /// Stops a queue that runs; a former user of the VF may have left it so, since a VF's FLR does not stop it.
    fn ensure_off(&self, io: &(impl Regs + Delay)) {
        if self.running(io) {
            io::modify(io, self.dctl, self.enable, 0);
            // A queue that will not stop stays behind its closed gate until the VF is reset.
            let _ = self.reached(io, false);
        }
    }

    /// Puts back what a driver has written of a queue that it had not yet enabled. It writes a head of 0, which every
    /// device takes.
    fn set_idle(&self, io: &impl Regs, head: u32, tail: u32, dctl: u32) {
        io.write32(self.head, head);
        io.write32(self.tail, tail);
        io.write32(self.dctl, dctl);
    }

    /// Whether the stopped queue's head takes `head`. A register that ignores writes may hold it by chance, so two
    /// values are tried until one queue has shown that it takes any (`sure`); every driver writes 0, so 0 needs none.
    fn takes(&self, io: &impl Regs, head: u32, sure: &mut bool) -> bool {
        let sticks = |value| {
            io.write32(self.head, value);
            io.read32(self.head) == value
        };
        if head != 0 && !*sure {
            *sure = sticks(head ^ 1);
            if !*sure {
                return false;
            }
        }
        sticks(head)
    }

    /// Starts the queue at `head` with an empty ring: the gates are closed and the tail is not yet the guest's, so that
    /// a head which starting throws away does no harm.
    fn start_at(&self, io: &(impl Regs + Delay), head: u32, dctl: u32, sure: &mut bool) -> bool {
        if !self.takes(io, head, sure) {
            return false;
        }
        io.write32(self.tail, head);
        io.write32(self.dctl, dctl);
        self.reached(io, true) && io.read32(self.head) == head
    }
}

fn write_address(io: &impl Regs, low: u32, high: u32, address: u64) {
    io.write32(high, (address >> 32) as u32);
    io.write32(low, address as u32);
}

fn program_rx(io: &(impl Regs + Delay), q: u32, rx: &RxQueue) {
    write_address(io, regs::rdbal(q), regs::rdbah(q), rx.base);
    io.write32(regs::rdlen(q), rx.length);
    io.write32(regs::srrctl(q), rx.srrctl);
}

fn program_tx(io: &(impl Regs + Delay), q: u32, tx: &TxQueue) {
    write_address(io, regs::tdbal(q), regs::tdbah(q), tx.base);
    io.write32(regs::tdlen(q), tx.length);
    if tx.writeback & 1 != 0 {
        write_address(io, regs::tdwbal(q), regs::tdwbah(q), tx.writeback);
    } else {
        // No reset of a VF switches it off, and the address does not matter then.
        io.write32(regs::tdwbal(q), 0);
    }
}

/// VFMRQC last, which makes the rest count (`ixgbevf_setup_vfmrqc`).
fn program_rss(io: &impl Regs, pool: u32, own: &OwnRss) {
    rss::store_pool(io, pool, &own.key, &own.table);
    io.write32(regs::pfvfmrqc(pool), own.mrqc);
}

impl Own {
    /// Writes everything of a checked state that makes nothing happen: rings, interrupt routing, mailbox memory. The VF is
    /// behind closed gates and without steering, and stays so.
    pub fn program(&self, io: &(impl Regs + Delay), place: &Place<'_>) {
        let vf = place.vf;
        for (i, (rx, tx)) in (0..place.queues_per_pool).zip(self.rx.iter().zip(&self.tx)) {
            let q = place.queue(i);
            Queue::rx(q).ensure_off(io);
            Queue::tx(q).ensure_off(io);
            // Beyond these nothing is carried, and a driver finds what any reset of a VF leaves.
            let visible = (i as usize) < super::VISIBLE_PAIRS;
            if visible {
                program_rx(io, q, rx);
                program_tx(io, q, tx);
            }
            if visible && !rx.enabled() {
                Queue::rx(q).set_idle(io, rx.head, rx.tail, rx.rxdctl);
            }
            if visible && !tx.enabled() {
                Queue::tx(q).set_idle(io, tx.head, tx.tail, tx.control());
            }
            if !visible {
                // Left by a former user; a ring with a length would be taken for one of this VF's driver.
                io.write32(regs::rdlen(q), 0);
            }
        }
        // The reset of this host's VF before the move is none of the guest's: RSTD, cleared by reading, would make its driver
        // take the PF for reset. INF: that the alias clears it too; if not, the driver looks at its link once more.
        io.read32(regs::pvfmailbox(vf));
        let n = &self.interrupts;
        io.write32(regs::pvteimc(vf), (1 << super::VECTORS) - 1);
        io.write32(regs::pvteiac(vf), n.eiac);
        io.write32(regs::pvteiam(vf), n.eiam);
        io.write32(regs::pvtivar(vf), n.ivar);
        io.write32(regs::pvtivar_misc(vf), n.ivar_misc);
        io.write32(regs::pvfpsrtype(vf), n.psrtype);
        if let Some(rss) = &self.rss {
            program_rss(io, vf, rss);
        }
        for (i, word) in (0..).zip(&self.words) {
            io.write32(regs::pfmbmem(vf) + 4 * i, *word);
        }
    }
}

/// Keeps a VF from receiving and sending.
pub(super) fn close_gates(io: &impl Regs, place: &Place<'_>) {
    let (row, bit) = place.gate();
    io::modify(io, regs::vfre(row), bit, 0);
    io::modify(io, regs::vfte(row), bit, 0);
}

/// Lets a VF receive.
pub(super) fn open_rx_gate(io: &impl Regs, vf: u32) {
    let bit = 1 << (vf % 32);
    io::modify(io, regs::vfre(vf / 32), bit, bit);
}

/// How the queues of a stopped VF are started.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// By which means heads come back.
    pub wanted: HeadRestore,
    /// Its guest re-arms rings, see [`HeadRestore::Rearm`].
    pub rearms: bool,
    /// Rx and Tx queues, one bit each, that stand parked since an earlier start: their guest was asked to re-arm them and
    /// does so with the heads that it was told then. They are not started.
    pub parked: (u32, u32),
    /// Rx and Tx queues that have stopped. One that has not keeps its head, and is let go on.
    pub stopped: (u32, u32),
}

/// What a VF whose queues are started may do.
#[derive(Clone, Copy, Debug)]
pub struct Gates {
    /// What frames the pool takes, as VMOLR bits. By this host's policy of today; other bits of VMOLR stay.
    pub accept: u32,
    /// Whether the VF may receive (VFRE).
    pub receive: bool,
    /// Whether it may send (VFTE).
    pub send: bool,
}

/// A VF whose queues are started, behind closed gates and without steering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// How its heads came back.
    pub(super) restored: Restored,
    /// Queues that wait for their tails.
    tails: Masks,
}

/// What became of one queue.
enum Begun {
    /// It runs, and waits for its tail.
    AtHead,
    /// It never stopped.
    RunsOn,
    /// It stands at head 0 for its guest to re-arm.
    Parked,
}

impl Queue {
    fn begin(
        &self,
        io: &(impl Regs + Delay),
        (head, dctl): (u32, u32),
        (parked, stopped, write): (bool, bool, bool),
        sure: &mut bool,
    ) -> Begun {
        if !parked && !stopped {
            // ENABLE may have been taken from it.
            io.write32(self.dctl, dctl);
            return Begun::RunsOn;
        }
        if !parked && write && self.start_at(io, head, dctl, sure) {
            return Begun::AtHead;
        }
        self.park(io);
        Begun::Parked
    }
}

/// Rx and Tx queues, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Masks {
    rx: u32,
    tx: u32,
}

/// Starts the queues and says which could not be started at their head, and which wait for their tails.
fn start_queues(
    io: &(impl Regs + Delay),
    place: &Place<'_>,
    own: &Own,
    start: &Start,
) -> (Masks, Masks) {
    let write = matches!(start.wanted, HeadRestore::Auto | HeadRestore::Write);
    let (mut rearm, mut tails) = (Masks::default(), Masks::default());
    // RDH and TDH are documented apart, so each must show it.
    let (mut sure_rx, mut sure_tx) = (false, false);
    let note = |begun, i: u32, rearm: &mut u32, tails: &mut u32| match begun {
        Begun::AtHead => *tails |= 1 << i,
        Begun::RunsOn => (),
        Begun::Parked => *rearm |= 1 << i,
    };
    for (i, (rx, tx)) in (0..place.queues_per_pool).zip(own.rx.iter().zip(&own.tx)) {
        let bit = |mask: u32| mask >> i & 1 != 0;
        if rx.enabled() {
            let how = (bit(start.parked.0), bit(start.stopped.0), write);
            let queue = Queue::rx(place.queue(i));
            let begun = queue.begin(io, (rx.head, rx.rxdctl), how, &mut sure_rx);
            note(begun, i, &mut rearm.rx, &mut tails.rx);
        }
        if tx.enabled() {
            // An interrupted one may lack a context, see `TxQueue::INTERRUPTED`.
            let write = write && !tx.interrupted();
            let how = (bit(start.parked.1), bit(start.stopped.1), write);
            let queue = Queue::tx(place.queue(i));
            let begun = queue.begin(io, (tx.head, tx.control()), how, &mut sure_tx);
            note(begun, i, &mut rearm.tx, &mut tails.tx);
        }
    }
    (rearm, tails)
}

/// Stops whatever runs; a driver that resets itself programs everything anew.
fn stop_all(io: &(impl Regs + Delay), place: &Place<'_>) {
    for i in 0..place.queues_per_pool {
        Queue::rx(place.queue(i)).ensure_off(io);
        Queue::tx(place.queue(i)).ensure_off(io);
    }
}

impl Own {
    /// Starts the queues of a stopped VF at their heads. Nothing goes in or out yet, see [`Self::open`].
    pub fn start(&self, io: &(impl Regs + Delay), place: &Place<'_>, start: &Start) -> Started {
        let wanted = start.wanted;
        let (mut rearm, mut tails) = if wanted == HeadRestore::Reset {
            stop_all(io, place);
            Default::default()
        } else {
            start_queues(io, place, self, start)
        };
        let mut way = match wanted {
            HeadRestore::Reset => HeadRestore::Reset,
            _ if rearm.rx | rearm.tx == 0 => HeadRestore::Write,
            _ if start.rearms => HeadRestore::Rearm,
            _ => HeadRestore::Reset,
        };
        // A forced re-arm of a VF without a running queue has nothing to re-arm, but is told to the guest all the same.
        if wanted == HeadRestore::Rearm && way == HeadRestore::Write {
            way = HeadRestore::Rearm;
        }
        if way == HeadRestore::Reset {
            stop_all(io, place);
            (rearm, tails) = Default::default();
        }
        Started {
            restored: Restored {
                way,
                rearm_rx: rearm.rx,
                rearm_tx: rearm.tx,
            },
            tails,
        }
    }

    /// Sets a VF going whose queues are started: gates, Rx tails, steering, Tx tails, then every vector once, because causes
    /// may have been lost. Buffers come before steering, which brings frames for them; the VF's address comes before what
    /// waits to be sent, which the anti-spoofing check would throw away.
    ///
    /// The caller then tells the guest what the result asks for: re-arm, and opens VFRE when that is done, see
    /// [`Restored::waits_for_guest`]; or withdrawn clear-to-send and a ping after [`HeadRestore::Reset`].
    pub fn open(
        &self,
        io: &impl Regs,
        place: &Place<'_>,
        started: &Started,
        gates: &Gates,
    ) -> Restored {
        let Started { restored, tails } = *started;
        let (row, bit) = place.gate();
        if gates.receive && !restored.waits_for_guest() {
            open_rx_gate(io, place.vf);
        }
        if gates.send {
            io::modify(io, regs::vfte(row), bit, bit);
        }
        for (i, rx) in (0..place.queues_per_pool).zip(&self.rx) {
            if tails.rx >> i & 1 != 0 {
                io.write32(regs::rdt(place.queue(i)), rx.tail);
            }
        }
        io::modify(io, regs::vmolr(place.vf), VMOLR_ACCEPT, gates.accept);
        for rar in place.rars {
            let (reg, bit) = place.mpsar(*rar);
            io.write32(reg, bit);
        }
        for (i, tx) in (0..place.queues_per_pool).zip(&self.tx) {
            if tails.tx >> i & 1 != 0 {
                io.write32(regs::tdt(place.queue(i)), tx.tail);
            }
        }
        io.write32(regs::pvteims(place.vf), self.interrupts.eims);
        io.write32(regs::pvteics(place.vf), (1 << super::VECTORS) - 1);
        restored
    }
}
