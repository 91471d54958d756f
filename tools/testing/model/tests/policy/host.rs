// SPDX-License-Identifier: GPL-2.0
//! What the host set for a VF is in force until the host changes it.

use crate::bench::{Bench, A, B, C, MAC};

use libixgbe::mbx::XcastMode;
use libixgbe::sriov::vf::{LinkState, Refusal};
use libixgbe::vf::Vf;
use libixgbe::{regs, Regs};

/// Report 7: the driver asks for its frame size on its way up, which opened the gate.
#[test]
fn a_vf_without_a_link_stays_shut_whatever_its_driver_asks_for() {
    for mtu in [1500, 9000] {
        let bench = Bench::with_mtu(2, mtu);
        let io = &bench.vf(0);
        let mut vf = bench.guest(0);
        vf.set_rlpml(io, 1518).unwrap();
        assert_eq!(bench.gates(0), (true, true));
        bench.host(0, |io, sw, v| {
            sw.set_link_state(io, 0, v, LinkState::Disable)
        });
        assert_eq!(bench.gates(0), (false, false));
        let mut vf = bench.guest(0);
        vf.set_rlpml(io, 1518).unwrap();
        vf.set_rar(io, B).unwrap();
        let _ = vf.update_xcast_mode(io, XcastMode::Multi);
        assert_eq!(bench.gates(0), (false, false), "mtu {mtu}");
        bench.down();
        bench.up();
        bench.guest(0).set_rlpml(io, 1518).unwrap();
        assert_eq!(bench.gates(0), (false, false), "after a reset of the PF");
        bench.host(0, |io, sw, v| sw.set_link_state(io, 0, v, LinkState::Auto));
        bench.guest(0).set_rlpml(io, 1518).unwrap();
        assert_eq!(bench.gates(0), (true, true));
    }
}

/// Report 9: `spoofchk on` means on.
#[test]
fn a_further_address_does_not_switch_the_spoof_check_off() {
    let bench = Bench::new(2);
    let io = &bench.vf(0);
    let mut vf = bench.guest(0);
    vf.set_rar(io, B).unwrap();
    vf.set_uc_addr(io, 1, C).unwrap();
    assert_eq!(bench.spoofchk(0), (true, true), "with a second address");
    vf.set_uc_addr(io, 0, [0; 6]).unwrap();
    assert_eq!(bench.spoofchk(0), (true, true), "the list is empty");
    bench.guest(0);
    assert_eq!(bench.spoofchk(0), (true, true), "another driver");
    bench.host(0, |io, sw, v| sw.admin_set_spoofchk(io, 0, v, false));
    for reset in [Bench::down, Bench::up] {
        reset(&bench);
    }
    bench.flr(0);
    bench.guest(0);
    assert_eq!(bench.spoofchk(0), (false, false), "off means off");
}

/// Report 11, and 37 of those that needed a run.
#[test]
fn the_next_guest_gets_the_address_of_the_host() {
    let bench = Bench::new(2);
    let io = &bench.vf(0);
    bench.host(0, |io, sw, v| sw.admin_set_mac(io, 0, v, &A).unwrap());
    bench.host(0, |io, sw, v| sw.admin_set_trust(io, 0, v, true));
    let mut vf = bench.guest(0);
    assert_eq!(vf.perm_addr, Some(A));
    vf.set_rar(io, B).unwrap();
    vf.set_uc_addr(io, 1, C).unwrap();
    assert_eq!(bench.addresses(0), [B, C]);
    // The right goes, and with it what was had by it, before the guest says a word.
    bench.host(0, |io, sw, v| sw.admin_set_trust(io, 0, v, false));
    assert_eq!(bench.addresses(0), [A]);
    let vf = bench.guest(0);
    assert_eq!(vf.perm_addr, Some(A));
    assert_eq!(bench.addresses(0), [A]);
    // Trusted all along: the next one begins with the host's all the same.
    bench.host(0, |io, sw, v| sw.admin_set_trust(io, 0, v, true));
    bench.guest(0).set_rar(io, B).unwrap();
    bench.flr(0);
    assert_eq!(bench.guest(0).perm_addr, Some(A));
    assert_eq!(bench.addresses(0), [A]);
    // A list that ends by a setting of the host's is told of.
    bench.host(0, |io, sw, v| sw.admin_set_mac(io, 0, v, &[0; 6]).unwrap());
    bench.host(0, |io, sw, v| sw.admin_set_trust(io, 0, v, false));
    bench.guest(0).set_uc_addr(io, 1, C).unwrap();
    bench.host(0, |io, sw, v| sw.admin_set_mac(io, 0, v, &A).unwrap());
    assert_eq!(bench.addresses(0), [A]);
    assert!(!bench.state(0).clear_to_send);
    // Taken back: the guest chooses, and what it chose is gone with it.
    bench.host(0, |io, sw, v| sw.admin_set_mac(io, 0, v, &[0; 6]).unwrap());
    let mut vf = bench.guest(0);
    assert_eq!(vf.perm_addr, None);
    vf.set_rar(io, B).unwrap();
    bench.down();
    bench.up();
    let mut vf = bench.guest(0);
    assert_eq!(vf.perm_addr, None);
    assert!(bench.addresses(0).is_empty());
    vf.set_rar(io, B).unwrap();
    assert_eq!(bench.addresses(0), [B]);
}

/// An address of the host's for a VF that nobody uses would swallow frames for who has it
/// elsewhere, as before a move.
#[test]
fn a_vf_without_a_driver_has_no_address_in_the_filters() {
    let bench = Bench::new(2);
    bench.host(0, |io, sw, v| sw.admin_set_mac(io, 0, v, &A).unwrap());
    assert!(bench.addresses(0).is_empty());
    bench.guest(0);
    assert_eq!(bench.addresses(0), [A]);
    bench.flr(0);
    assert!(bench.addresses(0).is_empty());
    assert_eq!(bench.gates(0), (false, false));
    bench.down();
    bench.up();
    assert_eq!(bench.gates(0), (false, false));
}

/// Report 15.
#[test]
fn a_priority_without_a_vlan_leaves_the_vf_where_it_is() {
    let bench = Bench::new(2);
    bench.guest(0);
    bench.host(0, |io, sw, v| sw.admin_set_vlan(io, 0, v, 0, 3).unwrap());
    let check = |when: &str| {
        assert_eq!(bench.vlans(0), [0], "{when}");
        assert_ne!(bench.reg(regs::vmolr(0)) & regs::VMOLR_AUPE, 0, "{when}");
        let tag = regs::VMVIR_VLANA_DEFAULT | 3 << 13;
        assert_eq!(bench.reg(regs::vmvir(0)), tag, "{when}");
    };
    check("at once");
    let mut vf = bench.guest(0);
    check("after a reset");
    // The device tags all that it sends: its own VLANs would come out as the native one.
    assert!(vf.set_vfta(&bench.vf(0), 100, true).is_err());
    assert_eq!(vf.get_queues(&bench.vf(0)).unwrap().trans_vlan, 1);
    bench.host(0, |io, sw, v| sw.admin_set_vlan(io, 0, v, 0, 0).unwrap());
    assert_eq!(bench.reg(regs::vmvir(0)), 0);
    assert_eq!(bench.vlans(0), [0]);
}

/// Reports 21 and 41.
#[test]
fn a_port_vlan_is_the_only_one() {
    let bench = Bench::new(3);
    let (io, other) = (&bench.vf(0), &bench.vf(1));
    let mut vf = bench.guest(0);
    let mut neighbour = bench.guest(1);
    vf.set_vfta(io, 100, true).unwrap();
    vf.set_vfta(io, 101, true).unwrap();
    neighbour.set_vfta(other, 100, true).unwrap();
    for vid in [200, 201] {
        bench.host(0, |io, sw, v| sw.admin_set_vlan(io, 0, v, vid, 0).unwrap());
        assert_eq!(bench.vlans(0), [u32::from(vid)]);
        assert_eq!(bench.reg(regs::vmolr(0)) & regs::VMOLR_AUPE, 0);
        assert!(vf.set_vfta(io, 100, true).is_err());
    }
    assert_eq!(bench.vlans(1), [0, 100]);
    // To leave one is granted, and the host may change its mind.
    vf.set_vfta(io, 101, false).unwrap();
    bench.host(0, |io, sw, v| sw.admin_set_vlan(io, 0, v, 0, 0).unwrap());
    assert_eq!(bench.vlans(0), [0, 100], "as guest and PF believe");
    bench.host(0, |io, sw, v| sw.admin_set_vlan(io, 0, v, 200, 5).unwrap());
    for reset in [Bench::down, Bench::up] {
        reset(&bench);
    }
    bench.guest(0);
    assert_eq!(bench.vlans(0), [200]);
    assert_eq!(
        bench.reg(regs::vmvir(0)),
        regs::VMVIR_VLANA_DEFAULT | 5 << 13 | 200
    );
    bench.host(0, |io, sw, v| sw.admin_set_vlan(io, 0, v, 0, 0).unwrap());
    assert_eq!(bench.vlans(0), [0], "the guest that wanted 100 is gone");
}

/// Without an entry for it a port VLAN is refused, and all is as before.
#[test]
fn a_port_vlan_without_room_changes_nothing() {
    let bench = Bench::new(2);
    let mut vf = bench.guest(0);
    let mut neighbour = bench.guest(1);
    vf.set_vfta(&bench.vf(0), 100, true).unwrap();
    neighbour.set_vfta(&bench.vf(1), 100, true).unwrap();
    let mut vid = 200;
    while neighbour.set_vfta(&bench.vf(1), vid, true).is_ok() {
        vid += 1;
    }
    let before = (bench.registers(0), bench.registers(1));
    let refused = bench.host(0, |io, sw, v| sw.admin_set_vlan(io, 0, v, 50, 0));
    assert_eq!(refused, Err(Refusal::NoSpace));
    assert_eq!(bench.state(0).pf_vlan, 0);
    assert_eq!((bench.registers(0), bench.registers(1)), before);
    // Room is used again (report 35).
    neighbour.set_vfta(&bench.vf(1), 200, false).unwrap();
    bench.host(0, |io, sw, v| sw.admin_set_vlan(io, 0, v, 50, 0).unwrap());
    assert_eq!(bench.vlans(0), [50]);
}

/// A limit holds over all that comes and goes.
#[test]
fn a_rate_stays() {
    let bench = Bench::new(2);
    let set = |mbps| bench.host(0, |io, sw, v| sw.admin_set_rate(io, 0, v, 10_000, mbps));
    set(1000).unwrap();
    let at_10g = regs::RTTBCNRC_RS_ENA | 10 << 14;
    assert_eq!(bench.rate(0), at_10g);
    let link = |mbps| {
        let pf = &mut *bench.pf.borrow_mut();
        pf.sw.check_rates(&bench.io(), &pf.vfs, mbps)
    };
    link(0);
    link(10_000);
    assert_eq!(bench.rate(0), at_10g, "the link was down for a moment");
    assert!(link(1000), "the limit is the link's");
    link(10_000);
    assert_eq!(bench.rate(0), at_10g, "the link was slower for a while");
    for reset in [Bench::down, Bench::up] {
        reset(&bench);
    }
    link(10_000);
    assert_eq!(bench.rate(0), at_10g, "after a reset of the PF");
    bench.flr(0);
    bench.guest(0);
    assert_eq!(bench.rate(0), at_10g, "another user");
    assert_eq!(bench.state(0).tx_rate, 1000);
    set(0).unwrap();
    assert_eq!(bench.rate(0), 0);
}

/// Report 18: the PF goes promiscuous before a VF has no place for its address.
#[test]
fn the_pf_leaves_room_for_the_addresses_of_vfs() {
    for vfs in [2u32, 63] {
        let bench = Bench::new(vfs);
        bench.host(0, |io, sw, v| sw.admin_set_mac(io, 0, v, &A).unwrap());
        let list: Vec<[u8; 6]> = (0..127).map(|i| [0x02, 0, 0, 9, 0, i]).collect();
        for round in 0..2 {
            let fits = {
                let pf = &mut *bench.pf.borrow_mut();
                pf.sw.macs.set_pf_list(&bench.io(), &list, vfs)
            };
            assert!(!fits);
            for vf in 0..vfs {
                let mut guest = bench.guest(vf);
                if vf > 0 {
                    let mac = [0x02, 0, 0, 8, 0, vf as u8];
                    guest.set_rar(&bench.vf(vf), mac).unwrap();
                }
                assert_eq!(bench.addresses(vf).len(), 1, "VF {vf} of {vfs}, {round}");
            }
            assert_eq!(bench.addresses(0), [A]);
            bench.down();
            bench.up();
        }
    }
}

/// VFs' lists do not take a neighbour's place either.
#[test]
fn lists_leave_room_too() {
    let bench = Bench::new(3);
    let mut vf = bench.guest(0);
    let mut n = 0u8;
    while vf
        .set_uc_addr(
            &bench.vf(0),
            if n == 0 { 1 } else { 2 },
            [0x02, 1, 0, 0, 0, n],
        )
        .is_ok()
    {
        n += 1;
    }
    let list: Vec<[u8; 6]> = (0..127).map(|i| [0x02, 0, 0, 9, 0, i]).collect();
    {
        let pf = &mut *bench.pf.borrow_mut();
        assert!(!pf.sw.macs.set_pf_list(&bench.io(), &list, 3));
    }
    for other in [0, 1, 2] {
        let mac = [0x02, 2, 0, 0, 0, other as u8];
        let mut guest = if other == 0 { vf } else { bench.guest(other) };
        guest.set_rar(&bench.vf(other), mac).unwrap();
        vf = Vf::new();
    }
    assert!(bench.addresses(3).len() > 15);
}

/// Report 17: an address that stays is not touched.
#[test]
fn the_pf_list_changes_by_what_changed() {
    let bench = Bench::new(2);
    let io = &bench.io();
    let list = [
        [0x02, 0, 0, 9, 0, 1],
        [0x02, 0, 0, 9, 0, 2],
        [0x02, 0, 0, 9, 0, 3],
    ];
    let set = |list: &[[u8; 6]]| {
        let pf = &mut *bench.pf.borrow_mut();
        let io = &Watched(io, Default::default());
        assert!(pf.sw.macs.set_pf_list(io, list, 2));
        io.1.take()
    };
    set(&list);
    assert_eq!(bench.addresses(2).len(), 4);
    assert!(set(&list).is_empty());
    let written = set(&list[1..]);
    assert!(
        written.iter().all(|reg| {
            [
                regs::ral(1),
                regs::rah(1),
                regs::mpsar_lo(1),
                regs::mpsar_hi(1),
            ]
            .contains(reg)
        }),
        "{written:x?}"
    );
    set(&[list[1], C]);
    assert_eq!(bench.addresses(2), [MAC, C, list[1]]);
}

/// Registers written.
struct Watched<'a, R>(&'a R, std::cell::RefCell<Vec<u32>>);

impl<R: Regs> Regs for Watched<'_, R> {
    fn read32(&self, reg: u32) -> u32 {
        self.0.read32(reg)
    }

    fn write32(&self, reg: u32, val: u32) {
        self.1.borrow_mut().push(reg);
        self.0.write32(reg, val);
    }
}

/// The host may give an address that a guest has chosen: to another VF, or to the PF itself.
#[test]
fn what_the_host_gives_is_taken_from_who_chose_it() {
    let bench = Bench::new(3);
    let claim = |to, addr| {
        let pf = &mut *bench.pf.borrow_mut();
        pf.sw.claim(&bench.io(), &mut pf.vfs, to, addr);
    };
    let mut vf = bench.guest(0);
    vf.set_rar(&bench.vf(0), B).unwrap();
    vf.set_uc_addr(&bench.vf(0), 1, C).unwrap();
    bench.host(1, |io, sw, v| sw.admin_set_mac(io, 1, v, &B).unwrap());
    claim(Some(1), &B);
    assert_eq!(bench.addresses(0), [C]);
    assert!(!bench.state(0).clear_to_send, "its driver learns of it");
    claim(None, &C);
    assert!(bench.addresses(0).is_empty());
    let mut vf = bench.guest(0);
    claim(Some(1), &[0; 6]);
    assert!(bench.state(0).clear_to_send, "no address is nobody's");
    assert!(vf.set_rar(&bench.vf(0), B).is_err());
    // The owner has it.
    bench.guest(1);
    claim(None, &B);
    assert_eq!(bench.addresses(1), [B], "the host gave it twice");
}
