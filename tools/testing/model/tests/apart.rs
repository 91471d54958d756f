// SPDX-License-Identifier: GPL-2.0
//! Parts of a move that are done without the PF's lock over the VFs, and what others do under it meanwhile.

mod common;

use common::machine_with;
use common::moving::{carry, save, Host, Rings};
use ixgbe_model::HeadWrite;
use libixgbe::migration::pf::Error;
use libixgbe::migration::{format, HeadRestore};

/// Writes the state with what was seen before.
macro_rules! save_seen {
    ($host:ident, $looked:expr) => {{
        let mut out = vec![0; format::MAX_BYTES];
        let result = $host
            .with(|m, io, pf| m.save_seen(io, pf, Some($looked), &mut out))
            .0;
        result.map(|length| out[..length].to_vec())
    }};
}

#[test]
fn what_was_read_without_the_lock_is_the_same_state() {
    let machine = machine_with(HeadWrite::Value);
    let mut a = Host::new(&machine);
    a.bring_up(true);
    let _rings = Rings::new(&machine);
    a.receive(1);
    let (blob, _) = save(&mut a);
    let look = a.with(|m, _, pf| m.look(pf)).0.unwrap().unwrap();
    let looked = look.read(&machine.pf());
    assert_eq!(save_seen!(a, &looked).unwrap(), blob);
    let rings = a.with(|m, io, pf| m.rings(io, pf)).0;
    let seen = a.with(|m, _, pf| m.rings_seen(pf, Some(&looked))).0;
    assert_eq!(seen, rings);
}

#[test]
fn what_was_read_before_a_reset_is_not_saved() {
    let machine = machine_with(HeadWrite::Value);
    let mut a = Host::new(&machine);
    a.bring_up(false);
    let _rings = Rings::new(&machine);
    let (blob, _) = save(&mut a);
    let look = a.with(|m, _, pf| m.look(pf)).0.unwrap().unwrap();
    // Of the device: what was captured before it is as good. The registers that are read late are not looked at.
    a.reset_device();
    let looked = look.read(&machine.pf());
    assert_eq!(save_seen!(a, &looked).unwrap(), blob);
    let rings = a.with(|m, _, pf| m.rings_seen(pf, Some(&looked))).0;
    assert!(rings.is_ok());
    // Of the VF: it does not stand any more, or for another reason.
    a.reset_vf();
    assert_eq!(save_seen!(a, &looked), Err(Error::NotSuspended));
    a.bring_up(false);
    a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    assert_eq!(save_seen!(a, &looked), Err(Error::NotSuspended));
    let rings = a.with(|m, _, pf| m.rings_seen(pf, Some(&looked))).0;
    assert_eq!(rings, Err(Error::NotSuspended));
}

/// The device is reset before, while or after a VF's registers are written and its queues are started.
#[test]
fn a_vf_is_set_going_over_a_reset_of_the_device() {
    for when in 0..3 {
        let machines = [(); 2].map(|()| machine_with(HeadWrite::Value));
        let [mut a, mut b] = machines.each_ref().map(Host::new);
        a.bring_up(false);
        let mut rings = Rings::new(a.machine);
        for n in 0..5 {
            let frame = a.receive(n);
            assert_eq!(rings.take_all(), [frame]);
        }
        let (blob, _) = save(&mut a);
        let (mut rings, _) = carry(a.machine, &mut b, &rings, &blob);
        let io = b.machine.pf();
        let program = b.with(|m, io, pf| m.load_begin(io, pf, &blob)).0.unwrap();
        if when == 0 {
            b.reset_device();
        }
        program.run(&io);
        let going = b.with(|m, io, pf| m.resume_begin(io, pf)).0;
        let going = going.unwrap().unwrap();
        if when == 1 {
            b.reset_device();
        }
        let begun = going.start(&io);
        if when == 2 {
            b.reset_device();
        }
        let resumed = b.with(|m, io, pf| m.resume_end(io, pf, &begun)).0;
        let resumed = resumed.unwrap().unwrap();
        assert_eq!(resumed.restored.way, HeadRestore::Write);
        assert!(resumed.arrived && !b.mover.active());
        let frame = b.receive(7);
        assert_eq!(rings.take_all(), [frame], "{when}");
    }
}

/// A VF that was reset after its queues were started is not set going.
#[test]
fn a_vf_that_was_reset_does_not_start() {
    let machines = [(); 2].map(|()| machine_with(HeadWrite::Value));
    let [mut a, mut b] = machines.each_ref().map(Host::new);
    a.bring_up(false);
    let rings = Rings::new(a.machine);
    let (blob, _) = save(&mut a);
    let (mut rings, _) = carry(a.machine, &mut b, &rings, &blob);
    let going = b.with(|m, io, pf| m.resume_begin(io, pf)).0;
    let begun = going.unwrap().unwrap().start(&b.machine.pf());
    b.reset_vf();
    let resumed = b.with(|m, io, pf| m.resume_end(io, pf, &begun)).0;
    assert_eq!(resumed, Ok(None));
    assert!(!b.mover.announcement());
    b.machine
        .receive(&common::frame(common::moving::VF_MAC, common::PEER, 64));
    assert!(rings.take_all().is_empty());
}
