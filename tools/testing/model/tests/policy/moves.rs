// SPDX-License-Identifier: GPL-2.0
//! Moves of a VF: what this host set for it holds at every step.

use crate::bench::{Bench, A, B};
use libixgbe::mbx::XcastMode;
use libixgbe::migration::format;
use libixgbe::sriov::vf::LinkState;
use libixgbe::{regs, Regs};

/// A VF with jumbo frames, saved.
fn saved(mtu: u32, frame: u32) -> Vec<u8> {
    let a = Bench::with_mtu(2, mtu);
    let mut vf = a.guest(1);
    vf.set_rar(&a.vf(1), B).unwrap();
    vf.set_rlpml(&a.vf(1), frame).unwrap();
    let io = &a.io();
    let mut blob = vec![0; format::MAX_BYTES];
    a.mover(1, |m, pf| m.suspend(io, pf)).unwrap();
    let len = a.mover(1, |m, pf| m.save(io, pf, &mut blob)).unwrap();
    blob.truncate(len);
    blob
}

fn load(b: &Bench, blob: &[u8]) {
    let io = &b.io();
    b.flr(1);
    b.mover(1, |m, pf| m.suspend(io, pf)).unwrap();
    b.mover(1, |m, pf| m.load(io, pf, blob)).unwrap();
}

fn resume(b: &Bench) {
    let io = &b.io();
    b.mover(1, |m, pf| m.resume(io, pf)).unwrap();
}

/// Report 6, finding 16.
#[test]
fn a_loaded_vf_is_shut() {
    let blob = saved(9000, 9018);
    let b = Bench::with_mtu(2, 9000);
    load(&b, &blob);
    assert_eq!(b.gates(1), (false, false), "loaded");
    b.host(1, |io, sw, v| {
        sw.set_link_state(io, 1, v, LinkState::Disable)
    });
    resume(&b);
    assert_eq!(b.gates(1), (false, false), "its host has no link for it");
    let b = Bench::with_mtu(2, 9000);
    load(&b, &blob);
    resume(&b);
    assert_eq!(b.gates(1), (true, true), "runs");
}

/// A VF without jumbo frames comes to a host that has them, and the other way round it is refused.
#[test]
fn a_vf_with_standard_frames_receives_beside_jumbo_frames() {
    let blob = saved(1500, 1518);
    let b = Bench::with_mtu(2, 9000);
    load(&b, &blob);
    resume(&b);
    assert_eq!(b.gates(1), (true, true));
}

/// Finding 16: who waits for its guest to re-arm stays shut, whatever the guest asks for meanwhile.
#[test]
fn a_held_vf_does_not_open_its_gate_itself() {
    let b = Bench::with_mtu(2, 9000);
    let mut vf = b.guest(1);
    vf.set_rlpml(&b.vf(1), 9018).unwrap();
    b.state(1).held = true;
    vf.set_rlpml(&b.vf(1), 9018).unwrap();
    b.host(1, |io, sw, v| sw.set_link_state(io, 1, v, LinkState::Auto));
    assert!(!b.gates(1).0);
}

/// Finding 15: VMOLR of before the stop is not written back over what the host set since.
#[test]
fn what_the_host_sets_of_a_standing_vf_is_in_force_when_it_runs() {
    let a = Bench::new(2);
    let io = &a.io();
    a.host(1, |io, sw, v| sw.admin_set_trust(io, 1, v, true));
    let mut vf = a.guest(1);
    vf.update_xcast_mode(&a.vf(1), XcastMode::AllMulti).unwrap();
    vf.set_vfta(&a.vf(1), 100, true).unwrap();
    a.mover(1, |m, pf| m.suspend(io, pf)).unwrap();
    a.host(1, |io, sw, v| {
        sw.admin_set_vlan(io, 1, v, 200, 0).unwrap();
        sw.admin_set_trust(io, 1, v, false);
        sw.admin_set_mac(io, 1, v, &A).unwrap();
    });
    assert_eq!(a.reg(regs::vmolr(1)), 0, "it stands");
    assert_eq!(a.gates(1), (false, false));
    resume(&a);
    let vmolr = a.reg(regs::vmolr(1));
    assert_eq!(
        vmolr & (regs::VMOLR_AUPE | regs::VMOLR_MPE),
        0,
        "{vmolr:#x}"
    );
    assert_ne!(vmolr & regs::VMOLR_BAM, 0);
    assert_eq!(a.vlans(1), [200]);
    assert_eq!(a.gates(1), (true, true));
}

/// Whatever happens to a VF that stands, it is shut.
#[test]
fn a_standing_vf_is_shut() {
    let a = Bench::new(2);
    let io = &a.io();
    let mut vf = a.guest(1);
    vf.set_rar(&a.vf(1), B).unwrap();
    a.mover(1, |m, pf| m.suspend(io, pf)).unwrap();
    let shut = |when: &str| {
        assert_eq!(a.gates(1), (false, false), "{when}");
        assert_eq!(a.reg(regs::vmolr(1)), 0, "{when}");
    };
    shut("stopped");
    a.host(1, |io, sw, v| {
        sw.set_link_state(io, 1, v, LinkState::Enable)
    });
    a.host(1, |io, sw, v| sw.admin_set_spoofchk(io, 1, v, false));
    shut("set by its host");
    a.down();
    a.up();
    shut("its PF was reset");
    resume(&a);
    assert_eq!(a.gates(1), (true, true));
}

/// The mailbox of a VF that stands moves as it is: what its PF has to say waits until it runs.
#[test]
fn a_standing_vf_is_sent_nothing() {
    let a = Bench::new(2);
    let io = &a.io();
    let _vf = a.guest(1);
    a.mover(1, |m, pf| m.suspend(io, pf)).unwrap();
    let before = a.reg(regs::pfmbmem(1));
    a.host(1, |io, sw, v| sw.ping(io, 1, v));
    assert_eq!(a.reg(regs::pfmbmem(1)), before, "stopped");
    resume(&a);
    assert_ne!(a.reg(regs::pfmbmem(1)), before, "it runs");
}

/// The destination's own settings hold for who arrives.
#[test]
fn an_arriving_vf_gets_what_its_new_host_set() {
    let blob = saved(1500, 1518);
    let b = Bench::new(2);
    b.guest(1);
    b.vf(1).write32(regs::VFMAILBOX, 0);
    b.host(1, |io, sw, v| {
        sw.admin_set_rate(io, 1, v, 10_000, 1000).unwrap()
    });
    load(&b, &blob);
    resume(&b);
    assert_eq!(b.spoofchk(1), (true, true));
    assert_eq!(b.rate(1), regs::RTTBCNRC_RS_ENA | 10 << 14);
    assert_eq!(b.addresses(1), [B]);
}
