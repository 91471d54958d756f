// SPDX-License-Identifier: GPL-2.0
//! What a VF does about the answers of its PF, with the PF's own code on the model behind the
//! mailbox.

use std::cell::RefCell;

use ixgbe_model::{
    host::Function,
    testing::{
        Host,
        Machine,
        Served, //
    },
    HeadWrite, //
};
use libixgbe::{
    chip::Chip,
    mac::{
        self,
        Mac, //
    },
    mbx::{
        pf as mailbox,
        vf::Error,
        ApiVersion,
        Queues,
        Request,
        XcastMode,
        FEATURE_ESX_MBX, //
    },
    regs,
    ring::{
        tx_descs,
        tx_descs_max,
        Indices,
        MAX_DATA_PER_TXD, //
    },
    rss::Rss,
    sriov::{
        vf::{
            Switch,
            VfState, //
        },
        Pools, //
    },
    vf::{
        queue_layout,
        RxFilters,
        Vf, //
    },
    Regs, //
};
use proptest::prelude::*;

/// The device and the PF's side of it, which runs while the VF waits.
struct Bench {
    machine: Machine,
    sw: RefCell<Switch>,
    vfs: RefCell<Vec<VfState>>,
}

type Io<'a> = Served<'a, Bench>;

impl Host for Bench {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn serve(&self) {
        let io = &Served(self, Function::Pf);
        let sw = &mut *self.sw.borrow_mut();
        let vfs = &mut *self.vfs.borrow_mut();
        let events = Chip::I82599.events(io);
        if events.resets & 1 != 0 {
            mailbox::clear_reset(io, 0);
            sw.vf_reset_event(io, vfs, 0);
        }
        if events.messages & 1 != 0 {
            sw.handle_message(io, vfs, 0);
        }
        if events.acks & 1 != 0 {
            sw.handle_ack(io, vfs, 0);
        }
        sw.flush_pings(io, vfs);
    }
}

impl Bench {
    fn new() -> Self {
        let mut sw = Switch::new(Rss::new([0x1111_1111; 10], 4));
        sw.num_vfs = 1;
        sw.pools = Pools::for_vfs(1);
        sw.up = true;
        let bench = Self {
            machine: Machine::new(HeadWrite::Value, 1 << 20),
            sw: RefCell::new(sw),
            vfs: RefCell::new(vec![VfState::new()]),
        };
        {
            let io = &bench.pf();
            let mut mac = Mac::new();
            mac.reset(io, || false).unwrap();
            bench.machine.set_vfs(1);
            let sw = &mut *bench.sw.borrow_mut();
            let pool = sw.pf_pool();
            sw.configure(io, &bench.vfs.borrow());
            sw.vlans.restore(io, pool);
            sw.macs.reset(io, &[2, 0, 0, 0, 0, 1], pool);
            mac::set_max_frame(io, 1518);
            mac::set_reset_done(io);
        }
        bench
    }

    fn pf(&self) -> Io<'_> {
        Served(self, Function::Pf)
    }

    fn vf(&self) -> Io<'_> {
        Served(self, Function::Vf(0))
    }

    fn ready(&self) -> Vf {
        let mut v = Vf::new();
        v.reset(&self.vf()).unwrap();
        v.negotiate(&self.vf(), FEATURE_ESX_MBX).unwrap();
        v
    }

    fn trust(&self, on: bool) {
        let sw = &mut *self.sw.borrow_mut();
        sw.admin_set_trust(&self.pf(), 0, &mut self.vfs.borrow_mut()[0], on);
    }

    /// The VF receives all groups.
    fn all_groups(&self) -> bool {
        self.pf().read32(regs::vmolr(0)) & regs::VMOLR_MPE != 0
    }

    /// The VF's receive gate is open.
    fn open(&self) -> bool {
        self.pf().read32(regs::vfre(0)) & 1 != 0
    }

    /// Whether frames to this address reach the VF.
    fn has(&self, addr: [u8; 6]) -> bool {
        let sw = self.sw.borrow();
        let found = sw.macs.macvlans_of_pool(0).any(|a| *a == addr);
        found
    }
}

fn groups(n: u8) -> Vec<[u8; 6]> {
    (0..n).map(|i| [0x01, 0, 0x5E, 1, i, 0]).collect()
}

/// tcpdump on a trusted VF must not cost it the groups that it had asked for.
#[test]
fn refused_promiscuity_leaves_all_groups() {
    let bench = Bench::new();
    bench.trust(true);
    let mut vf = bench.ready();
    let filters = RxFilters {
        mode: XcastMode::Promisc,
        ..RxFilters::default()
    };
    let missing = vf.set_rx_filters(&bench.vf(), &filters).unwrap();
    assert!(bench.all_groups(), "no group is received");
    assert!(missing.promisc && !missing.all_groups);
    // The PF does not trust it any more: not even that.
    bench.trust(false);
    let mut vf = bench.ready();
    let missing = vf.set_rx_filters(&bench.vf(), &filters).unwrap();
    assert!(missing.promisc && missing.all_groups);
    assert!(!bench.all_groups());
}

/// A list that does not fit into a message is received by the next wider mode, or the driver is
/// told.
#[test]
fn more_groups_than_a_message_holds() {
    let bench = Bench::new();
    let mut vf = bench.ready();
    let list = groups(30);
    let filters = RxFilters {
        mode: XcastMode::Multi,
        groups: &list,
        more_groups: true,
        ..RxFilters::default()
    };
    assert!(vf.set_rx_filters(&bench.vf(), &filters).unwrap().groups);
    bench.trust(true);
    let mut vf = bench.ready();
    let missing = vf.set_rx_filters(&bench.vf(), &filters).unwrap();
    assert!(bench.all_groups(), "the 31st group is not received");
    assert!(!missing.groups);
    // The list is in force again when it fits.
    let filters = RxFilters {
        more_groups: false,
        ..filters
    };
    assert!(vf.set_rx_filters(&bench.vf(), &filters).unwrap().none());
    assert!(!bench.all_groups());
}

/// An address that the stack has removed is not received any more, even if the PF refuses what
/// takes its place.
#[test]
fn a_removed_address_stays_removed() {
    let bench = Bench::new();
    let mut vf = bench.ready();
    let old = [[0x02, 0, 0, 0, 9, 1], [0x02, 0, 0, 0, 9, 2]];
    let filters = |unicast| RxFilters {
        mode: XcastMode::Multi,
        unicast,
        ..RxFilters::default()
    };
    let missing = vf.set_rx_filters(&bench.vf(), &filters(&old)).unwrap();
    assert!(missing.none());
    assert!(bench.has(old[0]) && bench.has(old[1]));
    // The administrator sets the address: no further ones from now on.
    bench.vfs.borrow_mut()[0].pf_set_mac = true;
    let new = [[0x02, 0, 0, 0, 9, 3]];
    let missing = vf.set_rx_filters(&bench.vf(), &filters(&new)).unwrap();
    assert!(missing.unicast);
    assert!(!bench.has(new[0]));
    assert!(!bench.has(old[0]) && !bench.has(old[1]), "still received");
}

/// More unicast addresses than are asked for: it is said, since an 82599 has no promiscuity that
/// would help.
#[test]
fn more_addresses_than_are_asked_for() {
    let bench = Bench::new();
    bench.trust(true);
    let mut vf = bench.ready();
    let list = [[0x02, 0, 0, 0, 9, 1]];
    let filters = RxFilters {
        mode: XcastMode::Multi,
        unicast: &list,
        more_unicast: true,
        ..RxFilters::default()
    };
    let missing = vf.set_rx_filters(&bench.vf(), &filters).unwrap();
    assert!(missing.unicast, "left out in silence");
    assert!(bench.has(list[0]));
    // What nobody asked for is not missing.
    assert!(!missing.promisc);
}

/// Before API 1.2 there are no modes: all that is asked for is the list.
#[test]
fn filters_of_an_old_pf() {
    let bench = Bench::new();
    let mut vf = bench.ready();
    vf.mbx
        .exchange(&bench.vf(), &Request::ApiNegotiate(ApiVersion::V11.wire()))
        .unwrap();
    vf.api = ApiVersion::V11;
    let list = groups(3);
    let filters = RxFilters {
        mode: XcastMode::Multi,
        groups: &list,
        ..RxFilters::default()
    };
    assert!(vf.set_rx_filters(&bench.vf(), &filters).unwrap().none());
    assert_eq!(bench.vfs.borrow()[0].mc.len(), 3);
}

/// A VF whose frames are longer than its PF's goes on with those that fit.
#[test]
fn frames_longer_than_those_of_the_pf() {
    let bench = Bench::new();
    let mut vf = bench.ready();
    bench.sw.borrow_mut().mtu = 9000;
    assert_eq!(vf.set_max_frame(&bench.vf(), 9018), Ok(9018));
    assert!(bench.open());
    bench.sw.borrow_mut().mtu = 1500;
    let mut vf = bench.ready();
    assert_eq!(vf.set_max_frame(&bench.vf(), 9018), Ok(1518));
    assert!(bench.open(), "deaf");
    // A PF with jumbo frames refuses a VF of the first API whatever it asks for.
    bench.sw.borrow_mut().mtu = 9000;
    vf.mbx
        .exchange(&bench.vf(), &Request::ApiNegotiate(0))
        .unwrap();
    assert_eq!(vf.set_max_frame(&bench.vf(), 9018), Err(Error::Nack));
}

/// The queues that a VF uses: two of them can move to another host (`migration::VISIBLE_PAIRS`).
#[test]
fn queues_that_can_move() {
    let of_pf = |n| {
        Some(Queues {
            tx: n,
            rx: n,
            trans_vlan: 0,
            def_queue: 0,
        })
    };
    for (queues, cpus, xdp, migration, want) in [
        (of_pf(4), 4, false, true, (2, 0)),
        (of_pf(4), 4, true, true, (1, 1)),
        (of_pf(4), 4, true, false, (2, 2)),
        (of_pf(2), 4, true, true, (1, 1)),
        (of_pf(2), 4, true, false, (1, 1)),
        (of_pf(2), 4, false, true, (2, 0)),
        (of_pf(4), 1, false, true, (1, 0)),
        (of_pf(4), 1, true, false, (1, 1)),
        (None, 4, false, true, (1, 0)),
        (None, 4, true, true, (1, 1)),
    ] {
        let got = queue_layout(queues, cpus, xdp, migration);
        assert_eq!(
            got, want,
            "{queues:?}, {cpus} CPUs, XDP {xdp}, migration {migration}"
        );
        let (pairs, xdp) = got;
        assert!(!migration || pairs + xdp <= 2);
    }
}

/// What `TxRoom::send` takes for a frame of these pieces: the linear part and its fragments.
fn used(pieces: &[u32]) -> u32 {
    let mut used = 1;
    for mut len in pieces.iter().copied() {
        while len > MAX_DATA_PER_TXD {
            len -= MAX_DATA_PER_TXD;
            used += 1;
        }
        used += 1;
    }
    used
}

/// 17 fragments of 20 KiB, with just as many free descriptors as the driver once took for enough
/// (`DESC_NEEDED`, 21).
#[test]
fn long_fragments_do_not_overflow_the_ring() {
    let pieces: Vec<u32> = std::iter::once(54).chain([20 << 10; 17]).collect();
    let mut ring = Indices::new(64);
    while ring.unused() > 21 {
        ring.take_use();
    }
    let len = pieces.iter().sum();
    if tx_descs(17, len) <= ring.unused() {
        for _ in 0..used(&pieces) {
            ring.take_use();
        }
        assert!(ring.unused() <= 21, "the ring was overrun");
    }
    // What a socket can bring about with 64 KiB of TCP: three long fragments and 14 short ones.
    let pieces: Vec<u32> = std::iter::once(54)
        .chain([17_000; 3])
        .chain([1; 14])
        .collect();
    assert_eq!(used(&pieces), 22);
    assert!(tx_descs(17, pieces.iter().sum()) >= 22);
}

proptest! {
    /// No frame takes more descriptors than are counted for it, and none that a socket can send
    /// more than the wake-up threshold is made of.
    #[test]
    fn descriptors_of_a_frame(pieces in proptest::collection::vec(0u32..70_000, 1..18)) {
        let len: u32 = pieces.iter().sum();
        let frags = pieces.len() as u32 - 1;
        prop_assert!(used(&pieces) <= tx_descs(frags, len));
        if len < 1 << 16 {
            prop_assert!(tx_descs(frags, len) <= tx_descs_max(17));
        }
    }
}
