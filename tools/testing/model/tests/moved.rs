// SPDX-License-Identifier: GPL-2.0
//! What a VF has before and after a move, register by register and counter by counter; what its state may hold.
//!
//! `migration.rs` has the moves themselves. These are the details that a move may lose without a frame being lost, found
//! by `tools/testing/mutation`.

mod common;

use common::moving::pf_with;
use common::{frame, machine_with, RxRing, TxRing, MAC, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::Machine;
use ixgbe_model::HeadWrite;
use libixgbe::chip::Chip;
use libixgbe::mbx::{ApiVersion, McHashes, Request, Words, VT_MSGTYPE_ACK, VT_MSGTYPE_CTS};
use libixgbe::migration::pf::{Error, Mover, Pf};
use libixgbe::migration::{format, HeadRestore, Refusal};
use libixgbe::sriov::vf::{LinkState, Switch, VfState, VfStats};
use libixgbe::{regs, Regs};

const VF: u8 = 1;
const VF_MAC: [u8; 6] = [0x02, 0, 0, 0, 7, 7];

/// A PF with two VFs and the migration of the second.
struct Host<'a> {
    machine: &'a Machine,
    switch: Switch,
    vfs: Vec<VfState>,
    mover: Mover,
}

impl<'a> Host<'a> {
    fn new(machine: &'a Machine) -> Self {
        let (mut switch, vfs) = pf_with(machine, 2);
        switch.features = 0;
        Self {
            machine,
            switch,
            vfs,
            mover: Mover::new(),
        }
    }

    fn with<R>(
        &mut self,
        f: impl FnOnce(&mut Mover, &ixgbe_model::testing::Port<'_>, &mut Pf<'_>) -> R,
    ) -> R {
        let io = self.machine.pf();
        let mut pf = Pf {
            switch: &mut self.switch,
            vfs: &mut self.vfs,
            vf: VF.into(),
            device: 0x10ed,
            head_restore: HeadRestore::Auto,
        };
        f(&mut self.mover, &io, &mut pf)
    }

    fn ask(&mut self, request: Request) -> u32 {
        let vf = self.machine.vf(VF);
        vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
        for (i, word) in (0..).zip(request.encode()) {
            vf.write32(regs::vfmbmem(i), word);
        }
        vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
        self.serve();
        // A VF that keeps the mailbox until then (`FEATURE_ESX_MBX`) waits for the acknowledgement.
        let both = regs::VFMAILBOX_PFSTS | regs::VFMAILBOX_PFACK;
        assert_eq!(vf.read32(regs::VFMAILBOX) & both, both, "{request:?}");
        let words: Words = core::array::from_fn(|i| vf.read32(regs::vfmbmem(i as u32)));
        vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_ACK);
        self.serve();
        words[0]
    }

    fn serve(&mut self) {
        let events = Chip::I82599.events(&self.machine.pf());
        self.with(|m, io, pf| m.serve(io, pf, &events));
    }

    /// What a driver does in probe, as far as the PF is concerned.
    fn bring_up(&mut self) {
        self.ask(Request::Reset);
        for request in [
            Request::ApiNegotiate(8),
            Request::SetMac(VF_MAC),
            Request::SetVlan {
                add: true,
                vid: 100,
            },
        ] {
            assert_ne!(self.ask(request) & VT_MSGTYPE_ACK, 0, "{request:?}");
        }
    }

    fn receive(&self, bytes: usize) {
        assert!(self.machine.receive(&frame(VF_MAC, PEER, bytes)));
    }

    fn save(&mut self) -> Vec<u8> {
        self.with(|m, io, pf| m.suspend(io, pf)).unwrap();
        let mut blob = vec![0; format::MAX_BYTES];
        let length = self.with(|m, io, pf| m.save(io, pf, &mut blob)).unwrap();
        blob.truncate(length);
        blob
    }

    fn load(&mut self, blob: &[u8]) -> Result<(), Error> {
        self.with(|m, io, pf| m.suspend(io, pf)).unwrap();
        self.with(|m, io, pf| m.load(io, pf, blob))
    }

    fn resume(&mut self) {
        self.with(|m, io, pf| m.resume(io, pf)).unwrap().unwrap();
    }

    /// What the administrator sees.
    fn stats(&mut self) -> VfStats {
        let vf = &mut self.vfs[usize::from(VF)];
        vf.update_stats(&self.machine.pf(), VF.into());
        vf.stats
    }
}

fn two_hosts(f: impl FnOnce(&mut Host<'_>, &mut Host<'_>)) {
    let machines = [(); 2].map(|()| machine_with(HeadWrite::Value));
    let [mut a, mut b] = machines.each_ref().map(Host::new);
    a.bring_up();
    f(&mut a, &mut b);
}

/// Masks, automatic masks and vectors, each of them with a value that no other has.
#[test]
fn interrupt_settings_are_the_same_elsewhere() {
    two_hosts(|a, b| {
        let vf = a.machine.vf(VF);
        // The registers that set bits come after those that clear or hold them.
        for (register, value) in [
            (regs::VTEIMC, 7),
            (regs::VTEIAC, 5),
            (regs::VTEIAM, 6),
            (regs::vtivar(0), 0x8281_8082),
            (regs::VTIVAR_MISC, 0x81),
            (regs::VFPSRTYPE, 0x2000_0330),
            (regs::VTEIMS, 3),
        ] {
            vf.write32(register, value);
        }
        let all = [
            regs::VTEIMS,
            regs::VTEIAC,
            regs::VTEIAM,
            regs::vtivar(0),
            regs::VTIVAR_MISC,
            regs::VFPSRTYPE,
        ];
        let before = all.map(|r| vf.read32(r));
        assert_eq!(before, [3, 5, 6, 0x8281_8082, 0x81, 0x2000_0330]);
        let blob = a.save();
        b.load(&blob).unwrap();
        let at_rest = b.machine.vf(VF);
        assert_eq!(
            [1, 2, 3, 4, 5].map(|i| at_rest.read32(all[i])),
            [5, 6, 0x8281_8082, 0x81, 0x2000_0330]
        );
        b.resume();
        // What was raised on arrival is masked by it, as far as VTEIAM says so.
        let mask = b.machine.vf(VF).read32(regs::VTEIMS);
        assert_eq!(mask & !6, 3 & !6, "{mask:#x}");
        assert_eq!(b.mover.state().interrupts.eims, 3);
    });
}

/// Counters go on where they were, whatever the registers of the other host have counted for a former user.
#[test]
fn counters_go_on_from_where_they_were() {
    two_hosts(|a, b| {
        let f = Function::Vf(VF);
        let mut theirs = RxRing::new(b.machine, f, 0, 64);
        b.bring_up();
        for _ in 0..7 {
            b.receive(300);
        }
        assert_eq!(b.stats().gprc, 7);
        assert_eq!((0..7).filter_map(|_| theirs.take()).count(), 7);
        // These nobody has looked at yet.
        b.receive(300);
        b.receive(300);

        let rx = RxRing::new(a.machine, f, 0, 64);
        let mut tx = TxRing::new(a.machine, f, 0, 64);
        for _ in 0..3 {
            a.receive(100);
            tx.send(&frame(PEER, VF_MAC, 200));
        }
        tx.send(&frame(PEER, VF_MAC, 500));
        let before = a.stats();
        // The registers count the FCS.
        assert_eq!((before.gprc, before.gorc), (3, 3 * 104));
        assert_eq!((before.gptc, before.gotc), (4, 3 * 204 + 504));

        let blob = a.save();
        b.machine.copy_memory(a.machine);
        b.machine.reset(f);
        b.load(&blob).unwrap();
        b.resume();
        assert_eq!(b.stats(), before, "nothing passed meanwhile");
        let mut rx = rx.moved(b.machine, f);
        b.receive(100);
        assert_eq!(rx.take().map(|r| r.frame.len()), Some(100));
        let after = b.stats();
        assert_eq!((after.gprc, after.gorc), (4, 4 * 104));
        assert_eq!((after.gptc, after.gotc), (before.gptc, before.gotc));
    });
}

/// Sums have 64 bits, whatever the registers have.
#[test]
fn counters_go_beyond_their_registers() {
    two_hosts(|a, _| {
        let _rx = RxRing::new(a.machine, Function::Vf(VF), 0, 64);
        a.stats();
        let vf = &mut a.vfs[usize::from(VF)];
        vf.stats.gprc = u64::from(u32::MAX);
        vf.stats.gorc = (1 << 36) - 1;
        a.receive(100);
        let after = a.stats();
        assert_eq!((after.gprc, after.gorc), (1 << 32, (1 << 36) + 103));
    });
}

/// A VF that stands still is in no filter; where it goes on it is in those that it was in.
#[test]
fn a_stopped_vf_is_in_no_filter() {
    two_hosts(|a, _| {
        let pf = a.machine.pf();
        let vmolr = pf.read32(regs::vmolr(VF.into()));
        assert_ne!(vmolr & regs::VMOLR_BAM, 0);
        a.save();
        let accepts = regs::VMOLR_BAM
            | regs::VMOLR_AUPE
            | regs::VMOLR_MPE
            | regs::VMOLR_ROMPE
            | regs::VMOLR_ROPE
            | regs::VMOLR_UPE
            | regs::VMOLR_VPE;
        assert_eq!(pf.read32(regs::vmolr(VF.into())) & accepts, 0);
        for i in 0..128 {
            assert_eq!(pf.read32(regs::mpsar_lo(i)) >> VF & 1, 0, "address {i}");
        }
        for gate in [regs::vfre(0), regs::vfte(0)] {
            assert_eq!(pf.read32(gate) >> VF & 1, 0, "gate {gate:#x}");
        }
        a.resume();
        assert_eq!(pf.read32(regs::vmolr(VF.into())), vmolr);
        let leads_here = (0..128).filter(|i| pf.read32(regs::mpsar_lo(*i)) >> VF & 1 == 1);
        assert_eq!(leads_here.count(), 1);
    });
}

/// What the guest has given to the device leaves before the VF stands still, if it leaves soon.
#[test]
fn what_was_given_to_the_device_leaves_first() {
    two_hosts(|a, _| {
        let pf = a.machine.pf();
        // 1 Gb/s: 20 frames take a quarter of a millisecond.
        let vf = &mut a.vfs[usize::from(VF)];
        a.switch
            .admin_set_rate(&pf, VF.into(), vf, 10_000, 1_000)
            .unwrap();
        let mut tx = TxRing::new(a.machine, Function::Vf(VF), 0, 64);
        for _ in 0..20 {
            tx.send(&frame(PEER, VF_MAC, 1514));
        }
        let at_once = a.machine.take_sent().len();
        assert!(at_once < 20, "the limit holds them back");
        a.save();
        assert_eq!(at_once + a.machine.take_sent().len(), 20);
        let queue = a.mover.state().tx[0];
        assert_eq!((queue.head, queue.tail), (20, 20));
    });
}

/// A rate limit is that of every queue of the VF.
#[test]
fn a_rate_limit_is_of_every_queue() {
    two_hosts(|a, _| {
        let pf = a.machine.pf();
        let vf = &mut a.vfs[usize::from(VF)];
        // A frame takes a millisecond, and the model lets five go at once where there were none before.
        a.switch
            .admin_set_rate(&pf, VF.into(), vf, 10_000, 12)
            .unwrap();
        for queue in 0..2 {
            let mut tx = TxRing::new(a.machine, Function::Vf(VF), queue, 64);
            for _ in 0..40 {
                tx.send(&frame(PEER, VF_MAC, 1476));
            }
            a.machine.advance(20_000_000);
            let sent = a.machine.take_sent().len();
            assert!((20..=26).contains(&sent), "queue {queue}: {sent}");
            a.machine.advance(1_000_000_000);
            assert_eq!(sent + a.machine.take_sent().len(), 40);
        }
    });
}

/// What a VF sends in the name of another, or in a VLAN that it has not joined, does not leave, unless the administrator
/// says so; that holds for a VF that has moved, too.
#[test]
fn nobody_sends_in_the_name_of_another() {
    let tagged = |source, vid: u16| {
        let mut f = frame(PEER, source, 100);
        f.splice(12..12, [0x81, 0x00].into_iter().chain(vid.to_be_bytes()));
        f
    };
    fn leaves(host: &Host<'_>, tx: &mut TxRing<'_>, frame: &[u8]) -> bool {
        host.machine.take_sent();
        tx.send(frame);
        !host.machine.take_sent().is_empty()
    }
    two_hosts(|a, b| {
        let mut tx = TxRing::new(a.machine, Function::Vf(VF), 0, 64);
        let check = |host: &mut Host<'_>, tx: &mut TxRing<'_>| {
            for on in [true, false, true] {
                let vf = &mut host.vfs[usize::from(VF)];
                let io = host.machine.pf();
                host.switch.admin_set_spoofchk(&io, VF.into(), vf, on);
                assert!(leaves(host, tx, &frame(PEER, VF_MAC, 100)), "its own");
                assert!(leaves(host, tx, &tagged(VF_MAC, 100)), "its own, tagged");
                assert_eq!(leaves(host, tx, &frame(PEER, MAC, 100)), !on, "the PF's");
                assert_eq!(leaves(host, tx, &tagged(VF_MAC, 101)), !on, "VLAN");
            }
        };
        // As it is from the start.
        assert!(!leaves(a, &mut tx, &frame(PEER, MAC, 100)));
        assert!(!leaves(a, &mut tx, &tagged(VF_MAC, 101)));
        check(a, &mut tx);
        let blob = a.save();
        b.machine.copy_memory(a.machine);
        b.machine.reset(Function::Vf(VF));
        b.load(&blob).unwrap();
        b.resume();
        let mut tx = tx.moved(b.machine, Function::Vf(VF));
        assert!(!leaves(b, &mut tx, &frame(PEER, MAC, 100)));
        assert!(!leaves(b, &mut tx, &tagged(VF_MAC, 101)));
        check(b, &mut tx);
    });
}

/// What a VF and its PF have agreed on ends with the VF's reset, and so do its filters and an address that its guest chose:
/// the driver that comes up asks for it again.
#[test]
fn a_reset_ends_what_was_agreed() {
    two_hosts(|a, _| {
        a.switch.features = libixgbe::mbx_ext::FEATURE_MIGRATION;
        let vf = usize::from(VF);
        let group = McHashes::from_hashes([0x123]);
        let more = [0x02, 0, 0, 0, 7, 8];
        for request in [
            Request::FeaturesNegotiate(libixgbe::mbx_ext::FEATURE_MIGRATION),
            Request::SetMacvlan {
                index: 1,
                addr: more,
            },
            Request::SetMulticast(group),
        ] {
            assert_ne!(a.ask(request) & VT_MSGTYPE_ACK, 0, "{request:?}");
        }
        assert_eq!(
            a.vfs[vf].features,
            libixgbe::mbx_ext::FEATURE_MIGRATION,
            "granted"
        );
        let pf = a.machine.pf();
        let in_vlan = |vid| (0..64).any(|i| pf.read32(regs::vlvf(i)) == regs::VLVF_VIEN | vid);
        assert!(in_vlan(100));
        assert_eq!(a.switch.macs.of_pool(VF.into()).count(), 2);

        a.ask(Request::Reset);
        let state = &a.vfs[vf];
        assert_eq!(
            (state.api, state.features, state.mc.is_empty()),
            (ApiVersion::V10, 0, true)
        );
        assert!(!in_vlan(100));
        assert_eq!(a.switch.macs.of_pool(VF.into()).count(), 0);
        assert_eq!(pf.read32(regs::vmolr(VF.into())) & regs::VMOLR_ROMPE, 0);
        assert_eq!(pf.read32(regs::mta(0x123 >> 5)), 0);
        // A queue of it that is full must not hold up the others'.
        for queue in 2..4 {
            pf.write32(regs::QDE, queue << regs::QDE_IDX_SHIFT);
            assert_ne!(pf.read32(regs::QDE) & regs::QDE_ENABLE, 0, "queue {queue}");
        }
    });
}

/// Trust that is taken away or given restarts the VF: what it got by trust ends.
#[test]
fn trust_restarts_a_vf() {
    two_hosts(|a, _| {
        let pf = a.machine.pf();
        for on in [true, false] {
            let vf = &mut a.vfs[usize::from(VF)];
            assert!(vf.clear_to_send);
            a.switch.admin_set_trust(&pf, VF.into(), vf, on);
            assert!(!vf.clear_to_send, "{on}");
            let vf = a.machine.vf(VF);
            assert_eq!(
                vf.read32(regs::vfmbmem(0)) & VT_MSGTYPE_CTS,
                0,
                "it is told"
            );
            vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_ACK);
            a.bring_up();
        }
    });
}

/// Neither the administrator nor the PF's own state opens the gates of a VF that stands still.
#[test]
fn gates_of_a_stopped_vf_stay_shut() {
    two_hosts(|a, _| {
        let pf = a.machine.pf();
        a.save();
        let vf = &mut a.vfs[usize::from(VF)];
        for link in [LinkState::Enable, LinkState::Disable, LinkState::Auto] {
            a.switch.set_link_state(&pf, VF.into(), vf, link);
            for gate in [regs::vfre(0), regs::vfte(0)] {
                assert_eq!(pf.read32(gate) >> VF & 1, 0, "{link:?}");
            }
        }
        a.resume();
        for gate in [regs::vfre(0), regs::vfte(0)] {
            assert_eq!(pf.read32(gate) >> VF & 1, 1);
        }
        let vf = &mut a.vfs[usize::from(VF)];
        a.switch
            .set_link_state(&pf, VF.into(), vf, LinkState::Disable);
        for gate in [regs::vfre(0), regs::vfte(0)] {
            assert_eq!(pf.read32(gate) >> VF & 1, 0);
        }
    });
}

/// Bytes between records are zero; who changes them has changed the state.
#[test]
fn bytes_between_records_are_zero() {
    two_hosts(|a, b| {
        let blob = a.save();
        let mut at = size_of::<format::Header>();
        let mut padded = 0;
        while at < blob.len() {
            let head: [u8; 8] = blob[at..at + 8].try_into().unwrap();
            let kind = u16::from_le_bytes([head[0], head[1]]);
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let (end, next) = (at + 8 + length, at + 8 + length.next_multiple_of(8));
            for i in end..next {
                let mut changed = blob.clone();
                changed[i] = 1;
                let crc = core::mem::offset_of!(format::Header, crc32c);
                changed[crc..crc + 4].fill(0);
                let sum = crc32c::crc32c(&changed);
                changed[crc..crc + 4].copy_from_slice(&sum.to_le_bytes());
                assert_eq!(
                    b.load(&changed),
                    Err(Error::Refused(Refusal::Reserved(kind).into())),
                    "byte {i}"
                );
                padded += 1;
            }
            at = next;
        }
        assert!(padded > 0, "no record is padded");
        b.load(&blob).unwrap();
    });
}
