// SPDX-License-Identifier: GPL-2.0
//! Many VFs of one PF move to another at the same time, and none waits for the others: simulated time, the code of the PF module.
//!
//! Each VF has a processor of its own, and the PF's lock over the VFs is given to whoever came first. A register that is read
//! takes a microsecond, the round trip on PCIe; one that is written takes a tenth of it, since a write is not waited for. What
//! is computed takes none. Who finds the lock held gets it a little later than it is free.

mod common;

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use common::moving::pf_with;
use common::{machine_of, vf_mac, RxRing, TxRing};
use ixgbe_model::host::Function;
use ixgbe_model::testing::{Machine, Port};
use ixgbe_model::HeadWrite;
use libixgbe::chip::Chip;
use libixgbe::mbx::{pf as mailbox, Request, VT_MSGTYPE_ACK};
use libixgbe::migration::pf::{Begun, Going, Look, Looked, Mover, Pf, Program};
use libixgbe::migration::{format, HeadRestore};
use libixgbe::sriov::vf::{Switch, VfState};
use libixgbe::{regs, Delay, Regs};

const READ_NS: u64 = 1000;
const WRITE_NS: u64 = 100;
/// Until who spins for the lock has it once it is free: a few cache lines change hands.
const HANDOVER_NS: u64 = 300;

/// Registers whose accesses take time.
struct Timed<'a> {
    port: Port<'a>,
    ns: &'a Cell<u64>,
}

impl Timed<'_> {
    fn spend(&self, ns: u64) {
        self.ns.set(self.ns.get() + ns);
    }
}

impl Regs for Timed<'_> {
    fn read32(&self, reg: u32) -> u32 {
        self.spend(READ_NS);
        self.port.read32(reg)
    }
    fn write32(&self, reg: u32, val: u32) {
        self.spend(WRITE_NS);
        self.port.write32(reg, val);
    }
}

impl Delay for Timed<'_> {
    fn udelay(&self, us: u32) {
        self.spend(u64::from(us) * 1000);
        self.port.udelay(us);
    }
    fn usleep(&self, us: u32) {
        self.udelay(us);
    }
}

/// A PF with 63 VFs, and all that its lock guards.
struct Side<'a> {
    machine: &'a Machine,
    switch: Switch,
    vfs: Vec<VfState>,
    movers: Vec<Mover>,
    /// When the lock is free again, in ns.
    free: u64,
}

const VFS: u8 = 63;
/// For the rings of all of them.
const MEMORY: usize = 1 << 25;

impl<'a> Side<'a> {
    fn new(machine: &'a Machine) -> Self {
        let (switch, vfs) = pf_with(machine, VFS);
        Self {
            machine,
            switch,
            vfs,
            movers: vec![Mover::new(); VFS.into()],
            free: 0,
        }
    }

    fn with<R>(&mut self, vf: u8, f: impl FnOnce(&mut Mover, &mut Pf<'_>) -> R) -> R {
        let mut pf = Pf {
            switch: &mut self.switch,
            vfs: &mut self.vfs,
            vf: vf.into(),
            device: 0x10ed,
            head_restore: HeadRestore::Auto,
        };
        f(&mut self.movers[usize::from(vf)], &mut pf)
    }

    /// What `msg_task` does.
    fn serve(&mut self, io: &impl Regs) {
        let events = Chip::I82599.events(io);
        (0..VFS).for_each(|vf| self.serve_vf(io, vf, events));
    }

    fn serve_vf(&mut self, io: &impl Regs, vf: u8, events: mailbox::Events) {
        if events.resets >> vf & 1 != 0 {
            mailbox::clear_reset(io, vf.into());
            self.switch.vf_reset_event(io, &mut self.vfs, vf.into());
            self.with(vf, |m, pf| m.was_reset(pf));
        }
        self.with(vf, |m, pf| m.serve(io, pf, &events));
        self.with(vf, |m, pf| m.flush(io, pf));
    }

    /// A VF's driver comes up, and asks for this.
    fn bring_up(&mut self, vf: u8) {
        self.request(vf, Request::Reset);
        for request in [
            Request::ApiNegotiate(8),
            Request::FeaturesNegotiate(0),
            Request::SetMac(vf_mac(vf)),
        ] {
            assert!(self.request(vf, request) & VT_MSGTYPE_ACK != 0);
        }
    }

    fn says(&self, vf: u8, request: Request) {
        let port = self.machine.vf(vf);
        port.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
        for (i, word) in (0..).zip(&request.encode()) {
            port.write32(regs::vfmbmem(i), *word);
        }
        port.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
    }

    fn hears(&self, vf: u8) -> Option<u32> {
        let port = self.machine.vf(vf);
        let told = port.read32(regs::VFMAILBOX) & regs::VFMAILBOX_PFSTS != 0;
        told.then(|| {
            let word = port.read32(regs::vfmbmem(0));
            port.write32(regs::VFMAILBOX, regs::VFMAILBOX_ACK);
            word
        })
    }

    fn request(&mut self, vf: u8, request: Request) -> u32 {
        self.says(vf, request);
        self.serve(&self.machine.pf());
        let answer = self.hears(vf).expect("an answer");
        self.serve(&self.machine.pf());
        answer
    }
}

/// Whose registers a step accesses, and whether it holds the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Source,
    Destination,
}

/// What the thread of a VF does next (`ixgbe_migration.rs`).
enum Step {
    Stop,
    Save,
    Read(Look),
    Encode(Looked),
    Prepare,
    Load,
    Write(Program),
    Run,
    Start(Going),
    Open(Begun),
    Done,
}

struct Thread {
    vf: u8,
    step: Step,
    blob: Vec<u8>,
    /// It is amid a call.
    begun: bool,
}

impl Thread {
    fn at(&self) -> At {
        match self.step {
            Step::Stop | Step::Save | Step::Read(_) | Step::Encode(_) => At::Source,
            _ => At::Destination,
        }
    }

    fn locks(&self) -> bool {
        !matches!(
            self.step,
            Step::Read(_) | Step::Write(_) | Step::Start(_) | Step::Done
        )
    }

    /// Does a step. Returns for how long to sleep then, in ns.
    fn go(&mut self, side: &mut Side<'_>, ns: &Cell<u64>) -> u64 {
        let io = Timed {
            port: side.machine.pf(),
            ns,
        };
        let vf = self.vf;
        // Only before the first of a call is looked at what the VF has announced.
        let calls = matches!(
            self.step,
            Step::Stop | Step::Save | Step::Prepare | Step::Load | Step::Run
        );
        if calls && !core::mem::take(&mut self.begun) {
            side.serve_vf(&io, vf, Chip::I82599.events_of(&io, vf.into()));
        }
        let step = core::mem::replace(&mut self.step, Step::Done);
        self.step = match step {
            Step::Stop | Step::Prepare => {
                let wait = side.with(vf, |m, pf| m.suspend_step(&io, pf)).unwrap();
                if let Some(us) = wait {
                    self.step = step;
                    self.begun = true;
                    return u64::from(us) * 1000;
                }
                match step {
                    Step::Stop => Step::Save,
                    _ => Step::Load,
                }
            }
            Step::Save => Step::Read(side.with(vf, |m, pf| m.look(pf)).unwrap().unwrap()),
            Step::Read(look) => Step::Encode(look.read(&io)),
            Step::Encode(looked) => {
                self.blob = vec![0; format::MAX_BYTES];
                let blob = &mut self.blob;
                let save =
                    |m: &mut Mover, pf: &mut Pf<'_>| m.save_seen(&io, pf, Some(&looked), blob);
                let length = side.with(vf, save).unwrap();
                self.blob.truncate(length);
                Step::Prepare
            }
            Step::Load => {
                let load = |m: &mut Mover, pf: &mut Pf<'_>| m.load_begin(&io, pf, &self.blob);
                Step::Write(side.with(vf, load).unwrap())
            }
            Step::Write(program) => {
                program.run(&io);
                Step::Run
            }
            Step::Run => {
                let going = side.with(vf, |m, pf| m.resume_begin(&io, pf));
                Step::Start(going.unwrap().unwrap())
            }
            Step::Start(going) => Step::Open(going.start(&io)),
            Step::Open(begun) => {
                // What it takes to announce the VF is taken here: a look at each VF would be a wait for the lock each.
                let (resumed, announce) = side.with(vf, |m, pf| {
                    (m.resume_end(&io, pf, &begun), m.take_announcement())
                });
                assert!(announce);
                let restored = resumed.unwrap().unwrap().restored;
                assert_eq!(restored.way, HeadRestore::Write);
                Step::Done
            }
            Step::Done => Step::Done,
        };
        0
    }
}

/// Time between two requests of the VF that stays.
const ASKS_NS: u64 = 250_000;

/// What was seen of a move of many.
#[derive(Debug)]
struct Seen {
    /// For how long the slowest stood, in ns.
    stood: u64,
    /// For how long the VF that stays waited for an answer at most.
    answered: u64,
}

/// Moves the first VFs together. The last one stays on the source, and asks for something all the while.
fn moved(count: u8) -> Seen {
    let machines = [(); 2].map(|()| machine_of(HeadWrite::Value, MEMORY));
    let [mut from, mut to] = machines.each_ref().map(Side::new);
    let stays = VFS - 1;
    (0..count).chain([stays]).for_each(|vf| from.bring_up(vf));
    let ring = |vf, q| RxRing::new(from.machine, Function::Vf(vf), q, 64);
    let _rx: Vec<_> = (0..count)
        .flat_map(|vf| [ring(vf, 0), ring(vf, 1)])
        .collect();
    let ring = |vf, q| TxRing::new(from.machine, Function::Vf(vf), q, 64);
    let _tx: Vec<_> = (0..count)
        .flat_map(|vf| [ring(vf, 0), ring(vf, 1)])
        .collect();

    let mut threads: Vec<_> = (0..count)
        .map(|vf| Thread {
            vf,
            step: Step::Stop,
            blob: Vec::new(),
            begun: false,
        })
        .collect();
    let mut seen = Seen {
        stood: 0,
        answered: 0,
    };
    let neighbour = threads.len();
    // When who wants to go on; the first that wants is the first that may.
    let mut queue: BinaryHeap<_> = (0..=neighbour).map(|i| Reverse((0, i))).collect();
    let mut left = threads.len();
    while let Some(Reverse((ready, i))) = queue.pop() {
        let ns = Cell::new(0);
        if i == neighbour {
            if left == 0 {
                continue;
            }
            from.says(stays, Request::SetMac(vf_mac(stays)));
            let woken = if from.free > ready { HANDOVER_NS } else { 0 };
            let start = ready.max(from.free) + woken;
            let io = Timed {
                port: machines[0].pf(),
                ns: &ns,
            };
            from.serve(&io);
            assert!(from
                .hears(stays)
                .is_some_and(|word| word & VT_MSGTYPE_ACK != 0));
            from.free = start + ns.get();
            seen.answered = seen.answered.max(from.free - ready);
            queue.push(Reverse((ready.max(from.free) + ASKS_NS, i)));
            continue;
        }
        let thread = &mut threads[i];
        let locks = thread.locks();
        let side = match thread.at() {
            At::Source => &mut from,
            At::Destination => &mut to,
        };
        let start = match locks {
            true if side.free > ready => side.free + HANDOVER_NS,
            _ => ready,
        };
        let sleep = thread.go(side, &ns);
        let end = start + ns.get();
        if locks {
            side.free = end;
        }
        if matches!(thread.step, Step::Done) {
            left -= 1;
            seen.stood = seen.stood.max(end);
        } else {
            queue.push(Reverse((end + sleep, i)));
        }
    }
    seen
}

#[test]
fn who_moves_with_many_stands_no_longer_than_twice_as_long() {
    let alone = moved(1);
    let many = moved(VFS - 1);
    assert!(many.stood <= 2 * alone.stood, "{many:?}, alone {alone:?}");
    assert!(many.answered <= 5_000_000, "{many:?}");
}
