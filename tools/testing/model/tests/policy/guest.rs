// SPDX-License-Identifier: GPL-2.0
//! What a guest asked for ends with the guest, and when the host takes the right away.

use crate::bench::{Bench, Software, A, B, C, KEY, MAC};
use ixgbe_model::host::Function;
use libixgbe::chip::Chip;
use libixgbe::mbx::{ApiVersion, Request, XcastMode};
use libixgbe::{filter, mbx::pf as mailbox, regs, Regs};

const GROUP: [u8; 6] = [0x01, 0, 0x5E, 0, 0x12, 0x34];

fn promiscuous(bench: &Bench, vf: u32) -> bool {
    bench.reg(regs::vmolr(vf)) & (regs::VMOLR_MPE | regs::VMOLR_UPE | regs::VMOLR_VPE) != 0
}

/// Report 8: the same request again, and the PF said "already so".
#[test]
fn all_multicast_is_back_after_a_pf_reset() {
    let bench = Bench::new(2);
    bench.host(0, |io, sw, v| sw.admin_set_trust(io, 0, v, true));
    let mut vf = bench.guest(0);
    vf.update_xcast_mode(&bench.vf(0), XcastMode::AllMulti)
        .unwrap();
    assert!(promiscuous(&bench, 0));
    bench.down();
    bench.up();
    let mut vf = bench.guest(0);
    let granted = vf.update_xcast_mode(&bench.vf(0), XcastMode::AllMulti);
    assert_eq!(granted, Ok(XcastMode::AllMulti));
    assert!(promiscuous(&bench, 0));
    // What the register lost is written when it is asked for, whatever was granted before.
    bench.io().write32(regs::vmolr(0), 0);
    vf.update_xcast_mode(&bench.vf(0), XcastMode::AllMulti)
        .unwrap();
    assert!(promiscuous(&bench, 0));
}

/// Report 10.
#[test]
fn all_multicast_ends_with_trust_and_with_the_guest() {
    for by_trust in [true, false] {
        let bench = Bench::new(2);
        bench.host(0, |io, sw, v| sw.admin_set_trust(io, 0, v, true));
        let mut vf = bench.guest(0);
        vf.update_xcast_mode(&bench.vf(0), XcastMode::AllMulti)
            .unwrap();
        if by_trust {
            bench.host(0, |io, sw, v| sw.admin_set_trust(io, 0, v, false));
            assert!(!promiscuous(&bench, 0), "before the guest does anything");
        }
        bench.flr(0);
        assert!(!promiscuous(&bench, 0));
        // An old driver never says what it wants.
        let mut old = libixgbe::vf::Vf::new();
        old.reset(&bench.vf(0)).unwrap();
        assert!(!promiscuous(&bench, 0));
        assert_eq!(bench.reg(regs::vmolr(0)) & regs::VMOLR_ROMPE, 0);
    }
}

/// Groups, VLANs, addresses, frame size, API: nothing is left for the next one.
#[test]
fn nothing_is_left_by_an_flr() {
    let bench = Bench::with_mtu(2, 9000);
    let fresh = bench.registers(0);
    let io = &bench.vf(0);
    let mut vf = bench.guest(0);
    vf.set_rar(io, B).unwrap();
    vf.set_uc_addr(io, 1, C).unwrap();
    vf.set_vfta(io, 100, true).unwrap();
    vf.update_mc_addr_list(io, [&GROUP]).unwrap();
    vf.set_rlpml(io, 9728).unwrap();
    assert_eq!(bench.reg(regs::MAXFRS) >> regs::MHADD_MFS_SHIFT, 9728);
    let word = u32::from(filter::mta_hash(&GROUP) >> 5);
    assert_ne!(bench.reg(regs::mta(word)), 0);
    bench.flr(0);
    assert_eq!(bench.registers(0), fresh);
    assert_eq!(bench.reg(regs::mta(word)), 0);
    assert_eq!(bench.reg(regs::MAXFRS) >> regs::MHADD_MFS_SHIFT, 9018);
    let state = *bench.state(0);
    assert!(!state.clear_to_send && state.api == ApiVersion::V10 && state.mac == [0; 6]);
    // Who says nothing before its reset gets nothing.
    let words = Request::SetMac(B).encode();
    io.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
    io.write32(regs::vfmbmem(0), words[0]);
    io.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
    bench.pf_task();
    assert!(bench.addresses(0).is_empty());
}

/// A group that a VF leaves is no longer received for it, and stays for who else is in it.
#[test]
fn a_group_that_is_left_is_gone() {
    let bench = Bench::new(2);
    let other = [0x01, 0, 0x5E, 0, 0x12, 0x35];
    let word = |addr: &[u8; 6]| bench.reg(regs::mta(u32::from(filter::mta_hash(addr) >> 5)));
    let mut vf = bench.guest(0);
    let mut neighbour = bench.guest(1);
    vf.update_mc_addr_list(&bench.vf(0), [&GROUP, &other])
        .unwrap();
    neighbour
        .update_mc_addr_list(&bench.vf(1), [&other])
        .unwrap();
    let both = word(&GROUP) | word(&other);
    vf.update_mc_addr_list(&bench.vf(0), [&GROUP]).unwrap();
    assert_eq!(word(&GROUP) | word(&other), both);
    vf.update_mc_addr_list(&bench.vf(0), [&other]).unwrap();
    let bit = 1 << (filter::mta_hash(&GROUP) & 31);
    assert_eq!(word(&GROUP) & bit, 0);
    let bit = 1 << (filter::mta_hash(&other) & 31);
    assert_ne!(word(&other) & bit, 0);
}

/// The mailbox may hold the RSS key; the next user reads it before it says a word.
#[test]
fn the_mailbox_is_empty_for_the_next_user() {
    let bench = Bench::new(2);
    bench.state(0).rss_query = true;
    let mut vf = bench.guest(0);
    assert_eq!(vf.get_rss_key(&bench.vf(0)), Ok(KEY));
    bench.flr(0);
    let memory: Vec<u32> = (0..16)
        .map(|i| bench.vf(0).read32(regs::vfmbmem(i)))
        .collect();
    assert_eq!(memory, [0; 16]);
    // The new driver is quicker than the PF: its message is left alone.
    bench.asleep.set(true);
    bench.machine.reset(Function::Vf(0));
    let io = &bench.vf(0);
    io.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
    io.write32(regs::vfmbmem(0), Request::Reset.encode()[0]);
    io.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
    bench.pf_task();
    assert!(bench.state(0).clear_to_send);
}

/// Report 20, and all that is like it.
#[test]
fn an_address_of_somebody_else_is_refused() {
    let bench = Bench::new(4);
    let pf_macvlan = [0x02, 0, 0, 9, 0, 1];
    {
        let Software { sw, .. } = &mut *bench.pf.borrow_mut();
        assert!(sw.macs.set_pf_list(&bench.io(), &[pf_macvlan], 4));
    }
    // VF 1 has B and C; VF 2 was given A and nobody uses it.
    let mut owner = bench.guest(1);
    owner.set_rar(&bench.vf(1), B).unwrap();
    owner.set_uc_addr(&bench.vf(1), 1, C).unwrap();
    bench.host(2, |io, sw, v| sw.admin_set_mac(io, 2, v, &A).unwrap());
    let mine = [0x02, 7, 7, 7, 7, 7];
    for trusted in [false, true] {
        bench.host(0, |io, sw, v| sw.admin_set_trust(io, 0, v, trusted));
        let io = &bench.vf(0);
        let mut vf = bench.guest(0);
        vf.set_rar(io, mine).unwrap();
        for taken in [MAC, pf_macvlan, B, C, A] {
            assert!(vf.set_rar(io, taken).is_err(), "{taken:x?}");
            assert!(vf.set_uc_addr(io, 1, taken).is_err(), "{taken:x?}");
            assert!(vf.set_uc_addr(io, 2, taken).is_err(), "{taken:x?}");
        }
        assert_eq!(bench.addresses(0), [mine], "a refusal changes nothing");
        // Its own it may have.
        vf.set_rar(io, mine).unwrap();
    }
    // What the host gives is its own, even if the host gave it twice.
    bench.host(3, |io, sw, v| sw.admin_set_mac(io, 3, v, &B).unwrap());
    bench.guest(3).set_rar(&bench.vf(3), B).unwrap();
}

/// Who leaves a VLAN in which it never was takes it from nobody.
#[test]
fn a_vf_cannot_take_the_pf_out_of_a_vlan() {
    let bench = Bench::new(2);
    let io = &bench.vf(0);
    bench.pf_joins(100);
    bench.pf_joins(101);
    let mut vf = bench.guest(0);
    let mut neighbour = bench.guest(1);
    neighbour.set_vfta(&bench.vf(1), 101, true).unwrap();
    neighbour.set_vfta(&bench.vf(1), 102, true).unwrap();
    for vid in [100, 101, 102] {
        vf.set_vfta(io, vid, false).unwrap();
        vf.set_vfta(io, vid, true).unwrap();
        vf.set_vfta(io, vid, false).unwrap();
        vf.set_vfta(io, vid, false).unwrap();
        assert_eq!(bench.pf_hears(vid.into()), vid != 102, "{vid}");
    }
    assert_eq!(bench.vlans(1), [0, 101, 102]);
    bench.flr(0);
    bench.flr(1);
    assert!(bench.pf_hears(100) && bench.pf_hears(101));
}

/// A VF that is reset and asks for its reset at any moment of the PF's look is served, and stays
/// so.
#[test]
fn a_reset_is_not_taken_for_a_later_one() {
    for moment in 0..8 {
        let bench = Bench::new(2);
        bench.guest(0);
        bench.asleep.set(true);
        let late = Late(&bench, std::cell::Cell::new(moment));
        let events = Chip::I82599.events(&late);
        {
            let Software { sw, vfs, .. } = &mut *bench.pf.borrow_mut();
            if events.resets & 1 != 0 {
                mailbox::clear_reset(&bench.io(), 0);
                sw.vf_reset_event(&bench.io(), vfs, 0);
            }
            if events.messages & 1 != 0 {
                sw.handle_message(&bench.io(), vfs, 0);
            }
        }
        bench.pf_task();
        bench.pf_task();
        assert!(bench.state(0).open, "at access {moment}");
    }
}

/// Registers of the PF; a VF's driver starts anew just before the n-th access.
struct Late<'a>(&'a Bench, std::cell::Cell<u32>);

impl Regs for Late<'_> {
    fn read32(&self, reg: u32) -> u32 {
        let left = self.1.get();
        self.1.set(left.wrapping_sub(1));
        if left == 0 {
            self.0.machine.reset(Function::Vf(0));
            let io = &self.0.vf(0);
            io.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
            io.write32(regs::vfmbmem(0), Request::Reset.encode()[0]);
            io.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
        }
        self.0.io().read32(reg)
    }

    fn write32(&self, reg: u32, val: u32) {
        self.0.io().write32(reg, val);
    }
}

/// After a refusal all is as before.
#[test]
fn a_refused_request_changes_nothing() {
    let bench = Bench::new(2);
    bench.host(0, |io, sw, v| sw.admin_set_mac(io, 0, v, &A).unwrap());
    let io = &bench.vf(0);
    let mut vf = bench.guest(0);
    vf.set_rlpml(io, 1518).unwrap();
    vf.set_vfta(io, 5, true).unwrap();
    vf.update_xcast_mode(io, XcastMode::Multi).unwrap();
    let before = bench.registers(0);
    assert!(vf.set_rar(io, B).is_err());
    assert!(vf.set_uc_addr(io, 1, C).is_err());
    assert!(vf.set_rlpml(io, 9018).is_err());
    assert!(
        vf.update_xcast_mode(io, XcastMode::Promisc).is_ok(),
        "less is granted"
    );
    assert!(vf.mbx.exchange(io, &Request::ApiNegotiate(99)).is_err());
    assert_eq!(bench.registers(0), before);
    // What fits is received all the same (report 19).
    assert_eq!(bench.gates(0), (true, true));
}

/// A restart withdraws clear-to-send, and the PF says so.
#[test]
fn trust_is_told() {
    let bench = Bench::new(1);
    bench.guest(0);
    bench.host(0, |io, sw, v| sw.admin_set_trust(io, 0, v, true));
    assert!(!bench.state(0).clear_to_send);
    let note = bench.vf(0).read32(regs::VFMAILBOX);
    assert_ne!(note & regs::VFMAILBOX_PFSTS, 0);
    assert!(!mailbox::message_pending(&bench.io(), 0));
}
