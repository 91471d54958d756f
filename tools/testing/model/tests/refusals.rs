// SPDX-License-Identifier: GPL-2.0
//! A destination that is not fit, and a source that no destination would take: refused before
//! anything is changed, with all reasons, and where it can be known from the compatibility record,
//! before the VM is stopped.

mod common;

use common::moving::{
    between, between_hosts, carry, load, load_budget, resume, save, Host, Make, Rings, VF, VF_MAC,
};
use common::{machine_with, x540_with, x550_with};
use ixgbe_model::HeadWrite;
use libixgbe::mbx::{Request, XcastMode, VT_MSGTYPE_ACK, VT_MSGTYPE_CTS};
use libixgbe::mbx_ext::{self, PfMessage, RestoreDone, VfMessage};
use libixgbe::migration::pf::Error;
use libixgbe::migration::{format, Note, Refusal};
use libixgbe::sriov::vf::LinkState;
use libixgbe::sriov::Pools;
use libixgbe::{filter, regs, Regs};

const OTHER: [u8; 6] = [0x02, 0, 0, 0, 7, 8];

fn record(host: &mut Host<'_>) -> Result<Vec<u8>, Error> {
    let mut blob = vec![0; format::MAX_BYTES];
    let length = host.with(|m, io, pf| m.compat(io, pf, &mut blob)).0?;
    blob.truncate(length);
    Ok(blob)
}

fn reasons<T: core::fmt::Debug>(result: Result<T, Error>) -> Vec<Refusal> {
    match result {
        Ok(_) => Vec::new(),
        Err(Error::Refused(r)) => r.iter().collect(),
        Err(e) => panic!("{e:?}"),
    }
}

/// What the destination says of a blob that is written to it.
fn judged(host: &mut Host<'_>, blob: &[u8]) -> Vec<Refusal> {
    reasons(host.with(|m, io, pf| m.check(io, pf, blob, true)).0)
}

/// Everything of a host that a move could change.
fn seen(host: &Host<'_>) -> String {
    let pf = host.machine.pf();
    let registers: Vec<_> = (0..64)
        .flat_map(|i| [regs::vlvf(i), regs::vlvfb(2 * i), regs::vlvfb(2 * i + 1)])
        .chain((0..128).flat_map(|i| [regs::ral(i), regs::rah(i), regs::mpsar_lo(i)]))
        .chain((0..4).flat_map(|q| [regs::rdbal(q), regs::rxdctl(q), regs::tdbal(q)]))
        .chain([regs::vfre(0), regs::vfte(0), regs::vmolr(1)])
        .map(|reg| pf.read32(reg))
        .collect();
    format!("{:x?} {:?}", registers, host.vfs)
}

/// A destination that is unfit for a VF: told of at once at the compatibility record, while the VM
/// runs, and at the state, both times without a trace; `load` does not take it either. The VF goes
/// on on the source.
fn unfit(source: impl Fn(&mut Host<'_>), destination: impl Fn(&mut Host<'_>), want: &[Refusal]) {
    between_hosts(|a, b| {
        source(a);
        a.bring_up(true);
        destination(b);
        unfit_with_rings(a, b, want);
    });
}

/// The same of a VF that is up.
fn unfit_with_rings(a: &mut Host<'_>, b: &mut Host<'_>, want: &[Refusal]) {
    let mut rings = Rings::new(a.machine);
    unfit_hosts(a, b, want);
    resume(a);
    let f = a.receive(1);
    assert_eq!(rings.take_all(), [f], "the VF works on the source");
}

fn unfit_hosts(a: &mut Host<'_>, b: &mut Host<'_>, want: &[Refusal]) {
    b.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    let before = seen(b);
    let record = record(a).unwrap();
    assert_eq!(judged(b, &record), want, "before the VM is stopped");
    let (blob, _) = save(a);
    assert_eq!(judged(b, &blob), want, "when the state is written");
    assert_eq!(seen(b), before);
    // Whether VLVF has room is asked by the check alone.
    if !matches!(want, [Refusal::VlanRoom(_)]) {
        let (result, mmio) = load(b, &blob);
        assert_eq!(reasons(result), want, "when it is loaded");
        assert_eq!(mmio, 0);
        assert_eq!(seen(b), before);
    }
}

#[test]
fn an_address_of_the_administrator() {
    let other = |b: &mut Host<'_>| {
        let pf = b.machine.pf();
        b.switch
            .admin_set_mac(&pf, VF.into(), &mut b.vfs[1], &OTHER)
            .unwrap();
    };
    unfit(|_| (), other, &[Refusal::AdminMac]);
    // Who is trusted may have its own.
    between_hosts(|a, b| {
        a.bring_up(true);
        other(b);
        b.vfs[1].trusted = true;
        assert_eq!(judged(b, &record(a).unwrap()), []);
        let (blob, _) = save(a);
        assert_eq!(judged(b, &blob), []);
        load(b, &blob).0.unwrap();
    });
}

#[test]
fn an_address_of_another() {
    for pool in [0, 2] {
        unfit(
            |_| (),
            |b| {
                let pf = b.machine.pf();
                b.switch.macs.add(&pf, &VF_MAC, pool).unwrap();
            },
            &[Refusal::MacInUse],
        );
    }
}

/// The VM came from here, and the old QEMU still holds the VF that it had, which stands without
/// steering.
#[test]
fn an_address_of_a_vf_that_still_stands() {
    between_hosts(|a, b| {
        a.bring_up(true);
        let (blob, _) = save(a);
        carry(a.machine, b, &Rings::new(a.machine), &blob);
        resume(b);
        b.serve();
        // Back to another VF of the first host.
        let record = record(b).unwrap();
        let (blob, _) = save(b);
        for part in [record, blob] {
            let mut other = libixgbe::migration::pf::Mover::new();
            let device = a.switch.chip.vf_device();
            let mut pf = libixgbe::migration::pf::Pf {
                switch: &mut a.switch,
                vfs: &mut a.vfs,
                vf: 0,
                device,
                head_restore: libixgbe::migration::HeadRestore::Auto,
            };
            let io = a.machine.pf();
            other.suspend(&io, &mut pf).unwrap();
            let result = other.check(&io, &pf, &part, true);
            assert_eq!(reasons(result), [Refusal::MacInUse]);
        }
    });
}

#[test]
fn a_full_address_table() {
    let fill = |b: &mut Host<'_>| {
        let pf = b.machine.pf();
        for n in 0.. {
            if b.switch.macs.add(&pf, &[2, 9, 0, 0, 0, n], 2).is_err() {
                break;
            }
        }
    };
    // For a VF's own address there is always room.
    between_hosts(|a, b| {
        a.bring_up(true);
        fill(b);
        b.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
        assert_eq!(judged(b, &record(a).unwrap()), []);
        let (blob, _) = save(a);
        load(b, &blob).0.unwrap();
    });
    // A list has a limit.
    between_hosts(|a, b| {
        a.bring_up(true);
        let listed = Request::SetMacvlan {
            index: 1,
            addr: OTHER,
        };
        assert!(a.request(listed) & VT_MSGTYPE_ACK != 0);
        let pf = b.machine.pf();
        for n in 0..110 {
            let _ = b
                .switch
                .macs
                .add_macvlan(&pf, &[2, 9, 0, 0, 0, n], 0, usize::MAX);
        }
        unfit_hosts(a, b, &[Refusal::AddressRoom(1)]);
    });
}

#[test]
fn a_full_vlan_table() {
    let fill = |b: &mut Host<'_>, pool| {
        let pf = b.machine.pf();
        for vid in 200..263 {
            filter::set_vfta(&pf, vid, pool, true, false).unwrap();
        }
    };
    unfit(|_| (), |b| fill(b, 0), &[Refusal::VlanRoom(1)]);
    // What the VF itself has there is forgotten first, and a VLAN that another has needs no entry.
    between_hosts(|a, b| {
        a.bring_up(true);
        fill(b, VF.into());
        let pf = b.machine.pf();
        assert_eq!(judged(b, &record(a).unwrap()), []);
        for vid in 200..262 {
            filter::set_vfta(&pf, vid, 0, true, false).unwrap();
        }
        assert_eq!(judged(b, &record(a).unwrap()), [], "one is the VF's alone");
        filter::set_vfta(&pf, 262, 0, true, false).unwrap();
        assert_eq!(judged(b, &record(a).unwrap()), [Refusal::VlanRoom(1)]);
        filter::set_vfta(&pf, 262, VF.into(), false, false).unwrap();
        filter::set_vfta(&pf, 262, 0, false, false).unwrap();
        filter::set_vfta(&pf, 100, 0, true, false).unwrap();
        assert_eq!(judged(b, &record(a).unwrap()), [], "VLAN 100 is there");
    });
}

#[test]
fn fewer_rights() {
    // The source trusts the VF, which makes use of it.
    between_hosts(|a, b| {
        a.vfs[1].trusted = true;
        a.bring_up(true);
        let ask = Request::UpdateXcastMode(XcastMode::AllMulti.wire());
        assert!(a.request(ask) & VT_MSGTYPE_ACK != 0);
        unfit_hosts(a, b, &[Refusal::AllMulticast]);
        b.vfs[1].trusted = true;
        let (blob, _) = save(a);
        assert_eq!(judged(b, &blob), []);
    });
    between_hosts(|a, b| {
        a.bring_up(true);
        let listed = Request::SetMacvlan {
            index: 1,
            addr: OTHER,
        };
        assert!(a.request(listed) & VT_MSGTYPE_ACK != 0);
        let pf = b.machine.pf();
        b.switch
            .admin_set_mac(&pf, VF.into(), &mut b.vfs[1], &VF_MAC)
            .unwrap();
        unfit_hosts(a, b, &[Refusal::Addresses(1)]);
    });
    unfit(
        |_| (),
        |b| {
            let pf = b.machine.pf();
            b.switch
                .admin_set_vlan(&pf, VF.into(), &mut b.vfs[1], 7, 0)
                .unwrap();
        },
        &[Refusal::PortVlan(0), Refusal::Vlans(1)],
    );
}

#[test]
fn all_reasons_at_once() {
    unfit(
        |_| (),
        |b| {
            let pf = b.machine.pf();
            b.switch.macs.add(&pf, &VF_MAC, 0).unwrap();
            b.switch
                .admin_set_mac(&pf, VF.into(), &mut b.vfs[1], &OTHER)
                .unwrap();
            b.switch.features = 0;
            b.switch
                .set_link_state(&pf, VF.into(), &mut b.vfs[1], LinkState::Disable);
        },
        &[
            Refusal::Features(libixgbe::mbx_ext::FEATURE_MIGRATION),
            Refusal::AdminMac,
            Refusal::LinkDisabled,
            Refusal::MacInUse,
        ],
    );
}

fn set_link(host: &mut Host<'_>, link: LinkState) {
    let pf = host.machine.pf();
    host.switch
        .set_link_state(&pf, VF.into(), &mut host.vfs[1], link);
}

#[test]
fn a_disabled_link() {
    unfit(
        |_| (),
        |b| set_link(b, LinkState::Disable),
        &[Refusal::LinkDisabled],
    );
}

/// Of a link that was disabled on the source alone the guest is told, so that it looks at its link
/// again.
#[test]
fn a_link_that_comes_back() {
    for way in [LinkState::Auto, LinkState::Disable] {
        between_hosts(|a, b| {
            a.bring_up(true);
            let rings = Rings::new(a.machine);
            set_link(a, LinkState::Disable);
            a.vf_hears();
            a.serve();
            // The driver begins anew, as it is made to, and finds no link.
            a.bring_up(true);
            set_link(b, way);
            assert_eq!(judged(b, &record(a).unwrap()), []);
            let (blob, _) = save(a);
            assert_eq!(judged(b, &blob), []);
            carry(a.machine, b, &rings, &blob);
            resume(b);
            // First what the VF had not read on the source.
            let mut told = false;
            for _ in 0..4 {
                b.serve();
                let heard = b.vf_hears();
                told |= heard.is_some_and(|words| words[0] & VT_MSGTYPE_CTS == 0);
            }
            assert_eq!(told, way == LinkState::Auto, "{way:?}");
        });
    }
}

/// A PF with jumbo frames lets a driver receive nothing that speaks API 1.0.
#[test]
fn an_old_driver_on_jumbo_frames() {
    between([machine_with; 2], |a, b| {
        a.request(Request::Reset);
        b.switch.mtu = 9000;
        assert_eq!(judged(b, &record(a).unwrap()), [], "it is not up");
        let _rings = Rings::new(a.machine);
        unfit_hosts(a, b, &[Refusal::JumboApi(0x0100)]);
    });
}

/// A VF of one chip never goes to another one: the record says so before the VM is stopped.
#[test]
fn another_chip() {
    let (i82599, x540, x550): (Make, Make, Make) = (machine_with, x540_with, x550_with);
    let chips = [(i82599, 0x10ED), (x540, 0x1515), (x550, 0x1565)];
    for (from, device) in chips {
        for (to, _) in chips.iter().filter(|(_, other)| *other != device) {
            between([from, *to], |a, b| {
                a.bring_up(true);
                unfit_with_rings(a, b, &[Refusal::Device(device)]);
            });
        }
    }
    // One that may have longer frames, too.
    between([x540, i82599], |a, b| {
        a.bring_up(true);
        a.request(Request::SetLpe(9018));
        unfit_with_rings(a, b, &[Refusal::Device(0x1515), Refusal::MaxFrame(9014)]);
    });
}

/// Between two X540 no MTU shuts anybody out.
#[test]
fn jumbo_frames_where_queues_limit_them() {
    between([x540_with; 2], |a, b| {
        a.request(Request::Reset);
        let _rings = Rings::new(a.machine);
        for mtu in [1500, 9000] {
            b.switch.mtu = mtu;
            assert_eq!(judged(b, &record(a).unwrap()), [], "API 1.0, {mtu}");
        }
    });
}

/// Of the port's link the record is judged, and not the state.
#[test]
fn no_link() {
    between_hosts(|a, b| {
        a.bring_up(true);
        let record = record(a).unwrap();
        let (blob, _) = save(a);
        let check = |b: &mut Host<'_>, blob: &[u8]| {
            reasons(b.with(|m, io, pf| m.check(io, pf, blob, false)).0)
        };
        assert_eq!(check(b, &record), [Refusal::LinkDown]);
        assert_eq!(check(b, &blob), []);
    });
}

#[test]
fn notes_refuse_nothing() {
    between_hosts(|a, b| {
        a.vfs[1].tx_rate = 1000;
        a.vfs[1].spoofchk = false;
        b.vfs[1].tx_rate = 100;
        a.bring_up(true);
        let record = record(a).unwrap();
        let (notes, _) = b.with(|m, io, pf| m.check(io, pf, &record, true));
        assert_eq!(
            notes.unwrap().as_slice(),
            [Note::TxRate(100), Note::SpoofCheck]
        );
    });
}

/// The guest has written what no driver writes. Its VM is not stopped for a state that every
/// destination would refuse.
#[test]
fn the_source_refuses_what_nobody_would_take() {
    type Edit = fn(&mut Host<'_>);
    for (edit, kind) in [
        (
            (|a| a.machine.vf(VF).write32(regs::VTIVAR_MISC, 0x83)) as Edit,
            format::INTERRUPTS,
        ),
        (
            |a| a.machine.vf(VF).write32(regs::vfrdt(0), 4000),
            format::RX_QUEUES,
        ),
    ] {
        between_hosts(|a, _| {
            a.bring_up(true);
            let mut rings = Rings::new(a.machine);
            edit(a);
            let want = [Refusal::Value(kind)];
            assert_eq!(reasons(record(a)), want, "while the VM runs");
            a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
            let mut out = vec![0; format::MAX_BYTES];
            let (saved, _) = a.with(|m, io, pf| m.save(io, pf, &mut out));
            assert_eq!(reasons(saved), want, "and when it stands");
            resume(a);
            if kind == format::INTERRUPTS {
                let f = a.receive(1);
                assert_eq!(rings.take_all(), [f]);
            }
        });
    }
}

/// As with XDP in a guest of a PF with few VFs.
#[test]
fn more_queues_than_the_pf_sees() {
    between_hosts(|a, _| {
        a.switch.pools = Some(Pools::P32);
        a.bring_up(true);
        record(a).unwrap();
        let pf = a.machine.pf();
        for reg in [regs::rxdctl(4 + 2), regs::txdctl(4 + 3)] {
            pf.write32(reg, regs::RXDCTL_ENABLE);
            let pairs = if reg == regs::rxdctl(6) { 3 } else { 4 };
            assert_eq!(reasons(record(a)), [Refusal::QueuesInUse(pairs)]);
            pf.write32(reg, 0);
        }
    });
}

/// What the record says changes while the VM runs: whoever asks again is given another one.
#[test]
fn the_record_follows_the_vf() {
    between_hosts(|a, b| {
        a.bring_up(true);
        let again = |a: &mut Host<'_>| {
            let mut blob = vec![0; format::MAX_BYTES];
            let (length, _) = a.with(|m, io, pf| m.record(io, pf, &mut blob));
            blob.truncate(length.unwrap());
            blob
        };
        let first = record(a).unwrap();
        assert_eq!(again(a), first);
        assert_eq!(again(a), first, "asking changes nothing");
        a.receive(1);
        assert_eq!(again(a), first, "traffic is no change");
        a.request(Request::SetVlan { add: true, vid: 7 });
        let second = again(a);
        assert_ne!(second, first);
        let pf = b.machine.pf();
        for vid in 200..262 {
            filter::set_vfta(&pf, vid, 0, true, false).unwrap();
        }
        assert_eq!(judged(b, &first), []);
        assert_eq!(judged(b, &second), [Refusal::VlanRoom(1)]);
        // It stands, and nothing of it has changed by that.
        a.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
        assert_eq!(again(a), second);
    });
}

/// A VMM may load a VF that was used and not reset.
#[test]
fn a_former_use_is_forgotten() {
    between_hosts(|a, b| {
        b.bring_up(true);
        assert!(b.request(Request::SetVlan { add: true, vid: 77 }) & VT_MSGTYPE_ACK != 0);
        for (index, last) in [(1, 1), (2, 2)] {
            let addr = [2, 0, 0, 0, 8, last];
            b.request(Request::SetMacvlan { index, addr });
        }
        // A message of the PF that it has not taken, and one behind it.
        b.with(|m, io, pf| m.start_marking(io, pf));
        record(b).unwrap();

        a.bring_up(true);
        let (blob, _) = save(a);
        let rings = Rings::new(a.machine);
        b.machine.copy_memory(a.machine);
        let _rings = rings.moved(b.machine);
        load(b, &blob).0.unwrap();
        let pf = b.machine.pf();
        let bit = 1 << VF;
        let vlans: Vec<_> = (0..64)
            .filter(|i| pf.read32(regs::vlvfb(2 * i)) & bit != 0)
            .map(|i| pf.read32(regs::vlvf(i)) & 0xfff)
            .collect();
        assert_eq!(vlans, [0, 100]);
        assert!(b.switch.macs.of_pool(VF.into()).eq([&VF_MAC]));
        resume(b);
        let heard = b.vf_hears().expect("the message of the arrival");
        assert_eq!(heard[0] & 0xffff, libixgbe::mbx_ext::PF_RESTORE);
        b.serve();
        assert_eq!(b.vf_hears(), None, "nothing of the former use");
    });
}

/// A VF that was only reset is loaded at no more accesses than the budget has, see
/// `tests/migration.rs`.
#[test]
fn what_was_reset_is_not_reset_again() {
    between_hosts(|a, b| {
        a.bring_up(true);
        let (blob, _) = save(a);
        b.reset_vf();
        let (result, mmio) = load(b, &blob);
        result.unwrap();
        assert!(mmio + 40 < load_budget(b), "{mmio} accesses");
    });
}

/// Rings that a guest once had to re-arm, and has, are none that it owes: a VF whose queues are off
/// since then may move.
#[test]
fn what_was_owed_once_stands_in_no_way() {
    let machines = [(); 2].map(|()| machine_with(HeadWrite::Zero));
    let [mut a, mut b] = machines.each_ref().map(Host::new);
    a.bring_up(true);
    let mut rings = Rings::new(a.machine);
    let f = a.receive(1);
    assert_eq!(rings.take_all(), [f]);
    let (blob, _) = save(&mut a);
    carry(a.machine, &mut b, &rings, &blob);
    resume(&mut b);
    let words = b.vf_hears().expect("a restore message");
    let Ok(PfMessage::Restore(r)) = PfMessage::parse(&words) else {
        panic!("{words:x?}");
    };
    assert_ne!(r.rearm_rx, 0);
    b.serve();
    // A move begins and is cancelled before the guest has come to it.
    b.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    resume(&mut b);
    let done = RestoreDone {
        head: mbx_ext::VF_RESTORE_DONE,
        version: mbx_ext::EXT_VERSION,
        generation: r.generation,
        rearmed: 2,
        frames: 0,
        reserved: [0; 11],
    };
    b.ask(&VfMessage::RestoreDone(done).words());
    b.vf_hears();
    b.serve();
    // The interface is down.
    let vf = b.machine.vf(VF);
    for queue in 0..2 {
        vf.write32(regs::vfrxdctl(queue), 0);
        vf.write32(regs::vftxdctl(queue), 0);
    }
    record(&mut b).unwrap();
}
