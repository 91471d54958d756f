// SPDX-License-Identifier: GPL-2.0
//! Any history of host and guest: the next guest finds what a first one would, and the neighbour
//! notices nothing.

use crate::bench::{Bench, A, B, C};
use libixgbe::mbx::XcastMode;
use libixgbe::regs;
use libixgbe::sriov::vf::LinkState;
use libixgbe::vf::Vf;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Mac(Option<[u8; 6]>),
    Vlan(u16, u8),
    Spoofchk(bool),
    Trust(bool),
    Link(LinkState),
    Rate(u32),
    LinkSpeed(u32),
    PfReset,
    Flr,
    Start,
    AskMac([u8; 6]),
    AskList(u8, [u8; 6]),
    AskVlan(u16, bool),
    AskMode(XcastMode),
    AskFrame(u32),
    AskGroup(u8),
    Suspend,
    Resume,
}

fn address() -> impl Strategy<Value = [u8; 6]> {
    prop::sample::select(vec![A, B, C])
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    prop_oneof![
        prop::option::of(address()).prop_map(Mac),
        (prop::sample::select(vec![0u16, 0, 100, 200]), 0u8..3).prop_map(|(v, q)| Vlan(v, q)),
        any::<bool>().prop_map(Spoofchk),
        any::<bool>().prop_map(Trust),
        prop::sample::select(vec![LinkState::Auto, LinkState::Enable, LinkState::Disable])
            .prop_map(Link),
        prop::sample::select(vec![0u32, 100, 1000]).prop_map(Rate),
        prop::sample::select(vec![0u32, 1000, 10_000]).prop_map(LinkSpeed),
        Just(PfReset),
        Just(Flr),
        Just(Start),
        Just(Start),
        address().prop_map(AskMac),
        (0u8..3, address()).prop_map(|(i, a)| AskList(i, a)),
        (prop::sample::select(vec![0u16, 100, 101]), any::<bool>())
            .prop_map(|(v, a)| AskVlan(v, a)),
        prop::sample::select(vec![
            XcastMode::None,
            XcastMode::Multi,
            XcastMode::AllMulti,
            XcastMode::Promisc
        ])
        .prop_map(AskMode),
        prop::sample::select(vec![1518u32, 4000, 9018]).prop_map(AskFrame),
        any::<u8>().prop_map(AskGroup),
        Just(Suspend),
        Just(Resume),
    ]
}

/// What of a step is the host's policy, which a fresh device is given too.
fn policy(bench: &Bench, vf: u32, step: Step) {
    match step {
        Step::Mac(mac) => {
            bench
                .host(vf, |io, sw, v| {
                    sw.admin_set_mac(io, vf, v, &mac.unwrap_or([0; 6]))
                })
                .unwrap();
            let pf = &mut *bench.pf.borrow_mut();
            pf.sw
                .claim(&bench.io(), &mut pf.vfs, Some(vf), &mac.unwrap_or([0; 6]));
        }
        Step::Vlan(vid, qos) => {
            bench
                .host(vf, |io, sw, v| sw.admin_set_vlan(io, vf, v, vid, qos))
                .unwrap();
        }
        Step::Spoofchk(on) => bench.host(vf, |io, sw, v| sw.admin_set_spoofchk(io, vf, v, on)),
        Step::Trust(on) => bench.host(vf, |io, sw, v| sw.admin_set_trust(io, vf, v, on)),
        Step::Link(link) => bench.host(vf, |io, sw, v| sw.set_link_state(io, vf, v, link)),
        Step::Rate(mbps) => {
            bench
                .host(vf, |io, sw, v| sw.admin_set_rate(io, vf, v, 10_000, mbps))
                .unwrap();
        }
        _ => {}
    }
}

fn run(bench: &Bench, vf: u32, guest: &mut Vf, step: Step) {
    let io = &bench.vf(vf);
    policy(bench, vf, step);
    match step {
        Step::LinkSpeed(mbps) => {
            let pf = &mut *bench.pf.borrow_mut();
            pf.sw.check_rates(&bench.io(), &pf.vfs, mbps);
        }
        Step::PfReset => {
            bench.down();
            bench.up();
        }
        Step::Flr => bench.flr(vf),
        Step::Start if guest.reset(io).is_ok() => {
            let _ = guest.negotiate(io, 0);
        }
        Step::AskMac(mac) => drop(guest.set_rar(io, mac)),
        Step::AskList(i, mac) => drop(guest.set_uc_addr(io, i, mac)),
        Step::AskVlan(vid, add) => drop(guest.set_vfta(io, vid, add)),
        Step::AskMode(mode) => drop(guest.update_xcast_mode(io, mode)),
        Step::AskFrame(bytes) => drop(guest.set_rlpml(io, bytes)),
        Step::AskGroup(n) => drop(guest.update_mc_addr_list(io, [&[1, 0, 0x5E, 0, 0, n]])),
        Step::Suspend => drop(bench.mover(vf, |m, pf| m.suspend(&bench.io(), pf))),
        Step::Resume => drop(bench.mover(vf, |m, pf| m.resume(&bench.io(), pf))),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_history_shows(steps in prop::collection::vec(step(), 1..40), jumbo in any::<bool>()) {
        let mtu = if jumbo { 9000 } else { 1500 };
        let used = Bench::with_mtu(3, mtu);
        let mut neighbour = used.guest(2);
        neighbour.set_rar(&used.vf(2), [0x02, 0, 0, 0, 2, 2]).unwrap();
        neighbour.set_vfta(&used.vf(2), 100, true).unwrap();
        neighbour.set_rlpml(&used.vf(2), 1518).unwrap();
        for vid in [100, 101] {
            used.pf_joins(vid);
        }
        let before = used.registers(2);
        // Whether it is listed in VLVF depends on who else is, see `PfVlans::release_shared`.
        let pf = |b: &Bench| (b.addresses(3), b.reg(regs::vmolr(3)), b.gates(3), b.spoofchk(3));
        let pf_before = pf(&used);
        let mut guest = used.guest(1);
        for step in &steps {
            run(&used, 1, &mut guest, *step);
            if !matches!(step, Step::PfReset) {
                continue;
            }
            // Its driver starts anew as well.
            neighbour = used.guest(2);
            neighbour.set_rar(&used.vf(2), [0x02, 0, 0, 0, 2, 2]).unwrap();
            neighbour.set_vfta(&used.vf(2), 100, true).unwrap();
            neighbour.set_rlpml(&used.vf(2), 1518).unwrap();
        }
        prop_assert_eq!(used.registers(2), before, "the neighbour after {:?}", steps);
        prop_assert_eq!(pf(&used), pf_before, "the PF after {:?}", steps);
        prop_assert!(used.pf_hears(100) && used.pf_hears(101), "VLANs of the PF after {:?}", steps);

        // A device on which only the host has done something.
        let fresh = Bench::with_mtu(3, mtu);
        for step in &steps {
            policy(&fresh, 1, *step);
        }
        for bench in [&used, &fresh] {
            bench.mover(1, |m, pf| m.resume(&bench.io(), pf)).unwrap();
            bench.flr(1);
            bench.guest(1);
            let pf = &mut *bench.pf.borrow_mut();
            pf.sw.check_rates(&bench.io(), &pf.vfs, 10_000);
        }
        prop_assert_eq!(used.registers(1), fresh.registers(1), "the next guest after {:?}", steps);
    }
}
