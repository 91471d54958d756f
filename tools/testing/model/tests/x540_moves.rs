// SPDX-License-Identifier: GPL-2.0
//! Moves of what a VF of an X540 has and one of an 82599 has not. What both have is in the other files, whose
//! `between_hosts` is of all chips.

mod common;

use common::moving::{between, carry, load, resume, save, Host, Make, Rings, VF};
use common::{frame, machine_with, x540_with, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::HeadWrite;
use libixgbe::mbx::{Request, XcastMode, VT_MSGTYPE_ACK};
use libixgbe::migration::pf::Error;
use libixgbe::migration::{format, HeadRestore, Refusal, Xcast};
use libixgbe::{regs, Regs};

const STRANGER: [u8; 6] = [0x02, 0, 0, 0, 9, 9];

fn hosts(f: impl FnOnce(&mut Host<'_>, &mut Host<'_>)) {
    between([x540_with; 2], f);
}

/// A driver with buffers of half a page has its queue take nothing that is longer. So it is on the next host, and on this
/// one if the move is cancelled; a queue without a limit has none there, whatever the VF's last user left.
#[test]
fn the_frame_limit_of_a_queue_moves() {
    const LIMIT: usize = 1000;
    let shorter = frame(common::moving::VF_MAC, PEER, LIMIT - 4);
    let longer = frame(common::moving::VF_MAC, PEER, LIMIT - 3);
    let takes = |host: &Host<'_>, rings: &mut Rings<'_>, limited: bool| {
        for (f, passes) in [(&shorter, true), (&longer, !limited)] {
            host.machine.receive(f);
            assert_eq!(rings.take_all().len(), usize::from(passes), "{}", f.len());
        }
    };
    for limited in [true, false] {
        hosts(|a, b| {
            a.bring_up(true);
            let mut rings = Rings::new(a.machine);
            b.bring_up(false);
            let left = Rings::new(b.machine);
            let (mine, other) = if limited {
                (&rings, &left)
            } else {
                (&left, &rings)
            };
            mine.rx.iter().for_each(|rx| rx.limit(Some(LIMIT)));
            other.rx.iter().for_each(|rx| rx.limit(None));
            takes(a, &mut rings, limited);
            save(a);
            resume(a);
            takes(a, &mut rings, limited);
            let (blob, _) = save(a);
            let (mut rings, _) = carry(a.machine, b, &rings, &blob);
            let (resumed, _) = resume(b);
            assert_eq!(resumed.restored.way, HeadRestore::Write);
            takes(b, &mut rings, limited);
        });
    }
}

/// The MTU of neither PF allows it, and need not.
#[test]
fn long_frames_need_no_mtu_of_the_pf() {
    hosts(|a, b| {
        a.bring_up(true);
        assert!(a.request(Request::SetLpe(9018)) & VT_MSGTYPE_ACK != 0);
        let rings = Rings::new(a.machine);
        let (blob, _) = save(a);
        let (mut rings, _) = carry(a.machine, b, &rings, &blob);
        resume(b);
        let pf = b.machine.pf();
        // As PF drivers have it with any MTU.
        pf.write32(regs::HLREG0, pf.read32(regs::HLREG0) | regs::HLREG0_JUMBOEN);
        assert_eq!(pf.read32(regs::MAXFRS) >> regs::MHADD_MFS_SHIFT, 9018);
        let long = frame(common::moving::VF_MAC, PEER, 9014);
        b.machine.receive(&long);
        assert_eq!(rings.take_all(), [long]);
    });
}

/// Makes a host let its VF be promiscuous.
fn allow(host: &mut Host<'_>) {
    host.vfs[usize::from(VF)].trusted = true;
    promiscuous_pf(host, true);
}

fn promiscuous_pf(host: &Host<'_>, on: bool) {
    let pf = host.machine.pf();
    let upe = if on { regs::FCTRL_UPE } else { 0 };
    pf.write32(regs::FCTRL, pf.read32(regs::FCTRL) & !regs::FCTRL_UPE | upe);
}

fn judged(host: &mut Host<'_>, blob: &[u8]) -> Vec<Refusal> {
    match host.with(|m, io, pf| m.check(io, pf, blob, true)).0 {
        Ok(_) => vec![],
        Err(Error::Refused(r)) => r.iter().collect(),
        Err(e) => panic!("{e:?}"),
    }
}

fn record(host: &mut Host<'_>) -> Vec<u8> {
    let mut blob = vec![0; format::MAX_BYTES];
    let length = host
        .with(|m, io, pf| m.compat(io, pf, &mut blob))
        .0
        .unwrap();
    blob.truncate(length);
    blob
}

#[test]
fn a_promiscuous_vf_moves() {
    let foreign = frame(STRANGER, PEER, 100);
    hosts(|a, b| {
        allow(a);
        a.bring_up(true);
        let mut rings = Rings::new(a.machine);
        a.machine.receive(&foreign);
        assert!(rings.take_all().is_empty());
        let answer = a.request(Request::UpdateXcastMode(XcastMode::Promisc.wire()));
        assert!(answer & VT_MSGTYPE_ACK != 0);
        a.machine.receive(&foreign);
        assert_eq!(rings.take_all(), [&foreign[..]]);
        allow(b);
        let record = record(a);
        assert_eq!(judged(b, &record), []);
        let (blob, mmio) = save(a);
        assert!(mmio <= 150, "{mmio}");
        a.machine.receive(&foreign);
        assert!(rings.take_all().is_empty(), "it stands");
        assert_eq!(judged(b, &blob), []);

        // Each of what it takes, told of by both.
        for (trusted, promiscuous, want) in [
            (false, true, vec![Refusal::AllMulticast]),
            (true, false, vec![Refusal::Promiscuous]),
            (
                false,
                false,
                vec![Refusal::AllMulticast, Refusal::Promiscuous],
            ),
        ] {
            b.vfs[usize::from(VF)].trusted = trusted;
            promiscuous_pf(b, promiscuous);
            assert_eq!(judged(b, &record), want);
            assert_eq!(judged(b, &blob), want);
        }
        allow(b);
        // The PF stops to be promiscuous between the check and the load.
        promiscuous_pf(b, false);
        let refused = load(b, &blob).0;
        assert_eq!(refused, Err(Refusal::Rights(format::FILTERS).into()));
        let gates = |host: &Host<'_>| host.machine.pf().read32(regs::vmolr(VF.into()));
        assert_eq!(gates(b) & regs::VMOLR_UPE, 0);
        promiscuous_pf(b, true);

        let (mut rings, more) = carry(a.machine, b, &rings, &blob);
        let (_, mmio) = resume(b);
        assert!(mmio + more <= 200, "{}", mmio + more);
        assert_eq!(b.mover.state().filters.xcast, Xcast::Promisc);
        b.machine.receive(&foreign);
        assert_eq!(rings.take_all(), [&foreign[..]]);
        // Its guest ends it, and so does a reset.
        b.serve();
        b.request(Request::UpdateXcastMode(XcastMode::Multi.wire()));
        b.machine.receive(&foreign);
        assert!(rings.take_all().is_empty());
    });
}

/// Where the PF tells of the reset of a VF is another register than on the 82599.
#[test]
fn a_reset_on_the_next_host_is_seen() {
    hosts(|a, b| {
        a.bring_up(false);
        let rings = Rings::new(a.machine);
        let (blob, _) = save(a);
        carry(a.machine, b, &rings, &blob);
        resume(b);
        b.machine.vf(VF).write32(regs::VFCTRL, regs::CTRL_RST);
        let pf = b.machine.pf();
        assert_eq!(b.switch.chip.events(&pf).resets, 1 << VF);
        b.reset_vf();
        assert_eq!(b.switch.chip.events(&pf).resets, 0);
        assert!(!b.vfs[usize::from(VF)].clear_to_send);
        b.bring_up(false);
        let mut rings = Rings::new(b.machine);
        let f = b.receive(2);
        assert_eq!(rings.take_all(), [f]);
        assert!(b
            .machine
            .take_written()
            .iter()
            .all(|(f, _)| *f == Function::Vf(VF)));
    });
}

/// Heads that do not come back: as on the 82599.
#[test]
fn budgets_hold_with_every_kind_of_head() {
    for policy in [HeadWrite::Value, HeadWrite::Zero, HeadWrite::Ignore] {
        let (ma, mb) = (x540_with(policy), x540_with(policy));
        let (mut a, mut b) = (Host::new(&ma), Host::new(&mb));
        a.bring_up(true);
        let rings = Rings::new(&ma);
        let (blob, saved) = save(&mut a);
        let (_, loaded) = carry(&ma, &mut b, &rings, &blob);
        let (_, started) = resume(&mut b);
        let loaded = loaded + started;
        assert!(
            blob.len() <= 640 && saved <= 150 && loaded <= 200,
            "{policy:?}: {} {saved} {loaded}",
            blob.len()
        );
    }
}

/// CRC-32C, as in iSCSI.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 != 0 { 0x82F6_3B78 } else { 0 }
        })
    })
}

/// Of all states that differ in one bit an X540 takes those with seven longer frame sizes more (`TAKEN_X540` in
/// vfio_migration_hostile_test.c): of 1514 bytes these bits are 0, and 9724 are not exceeded.
#[test]
fn of_every_bit_the_frame_size_alone_is_judged_by_the_chip() {
    const CRC_AT: usize = 20;
    let sizes: Vec<u32> = (0..32)
        .map(|bit| 1514 ^ 1 << bit)
        .filter(|size| (1515..=9724).contains(size))
        .collect();
    assert_eq!(sizes.len(), 7);
    let taken = [machine_with, x540_with].map(|make: Make| {
        let mut taken = 0;
        between([make; 2], |a, b| {
            a.bring_up(true);
            let _rings = Rings::new(a.machine);
            let (blob, _) = save(a);
            assert_eq!(judged(b, &blob), []);
            for bit in 0..8 * blob.len() {
                let mut bad = blob.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                bad[CRC_AT..CRC_AT + 4].fill(0);
                let crc = crc32c(&bad);
                bad[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
                taken += usize::from(judged(b, &bad).is_empty());
            }
        });
        taken
    });
    assert!(taken[0] > 1000, "{taken:?}");
    assert_eq!(taken[1] - taken[0], sizes.len(), "{taken:?}");
}
