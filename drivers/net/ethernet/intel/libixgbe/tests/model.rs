// SPDX-License-Identifier: GPL-2.0
//! The code that the modules run, against the model of the hardware, through the same register trait.

use std::cell::{
    Cell,
    RefCell, //
};

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
    filter::{
        self,
        MacTable,
        RAR_ENTRIES, //
    },
    link::{
        self,
        FlowControl, //
    },
    mac::{
        self,
        Mac, //
    },
    mbx::{
        self,
        pf as mailbox,
        vf::Error,
        ApiVersion,
        McHashes,
        Request,
        Words,
        XcastMode,
        FEATURE_ESX_MBX,
        FEATURE_IPSEC, //
    },
    regs,
    ring::{
        self,
        QueueRegs,
        RxRing,
        TxRing, //
    },
    rss::Rss,
    sriov::{
        self,
        vf::{
            Handled,
            LinkState,
            Refusal,
            Switch,
            VfState, //
        },
        Pools, //
    },
    vf::Vf,
    Regs, //
};
use proptest::prelude::*;

/// Address that the model's machine gives the PF.
const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
const VF_MAC: [u8; 6] = [0x02, 0, 0, 0, 1, 0];
const KEY: [u32; 10] = [0x1111_1111; 10];

/// The device, and the PF's side of it, which runs while a VF waits.
struct Bench {
    machine: Machine,
    sw: RefCell<Switch>,
    vfs: RefCell<Vec<VfState>>,
    /// What the PF answered last.
    handled: RefCell<Vec<Handled>>,
    /// The PF sends a control message before it reads a request, as a mainline PF may: the request is lost.
    cross: Cell<bool>,
    /// The PF does not run.
    dead: Cell<bool>,
}

type Io<'a> = Served<'a, Bench>;

impl Host for Bench {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn serve(&self) {
        self.pf_task();
    }
}

impl Bench {
    fn new(num_vfs: u32) -> Self {
        let mut sw = Switch::new(Rss::new(KEY, 4));
        sw.num_vfs = num_vfs;
        sw.pools = Pools::for_vfs(num_vfs);
        sw.up = true;
        let bench = Self {
            machine: Machine::new(HeadWrite::Value, 1 << 20),
            sw: RefCell::new(sw),
            vfs: RefCell::new(vec![VfState::new(); num_vfs as usize]),
            handled: RefCell::default(),
            cross: Cell::new(false),
            dead: Cell::new(false),
        };
        bench.bring_up(num_vfs);
        bench
    }

    fn pf(&self) -> Io<'_> {
        Served(self, Function::Pf)
    }

    fn vf(&self, vf: u8) -> Io<'_> {
        Served(self, Function::Vf(vf))
    }

    /// As the PF driver: reset, filters, pools, and the message to the VFs that it is ready.
    fn bring_up(&self, num_vfs: u32) {
        let io = &self.pf();
        let mut mac = Mac::new();
        mac.reset(io, || false).unwrap();
        mac.start(io, &FlowControl::new()).unwrap();
        self.machine.set_vfs(num_vfs as u8);
        let sw = &mut *self.sw.borrow_mut();
        let pool = sw.pf_pool();
        sw.configure(io, &self.vfs.borrow());
        sw.vlans.restore(io, pool);
        sw.macs.reset(io, &MAC, pool);
        sriov::setup_mtqc(io, sw.pools);
        sw.rss.configure(io, sw.pools);
        mac::set_max_frame(io, 1518);
        mac::set_reset_done(io);
    }

    fn pf_task(&self) {
        if self.dead.get() {
            return;
        }
        let io = &self.pf();
        let sw = &mut *self.sw.borrow_mut();
        let vfs = &mut *self.vfs.borrow_mut();
        let events = Chip::I82599.events(io);
        for vf in 0..sw.num_vfs {
            if events.resets >> vf & 1 != 0 {
                mailbox::clear_reset(io, vf);
                sw.vf_reset_event(io, vfs, vf);
            }
            if events.messages >> vf & 1 != 0 {
                if self.cross.replace(false) {
                    let ping = mbx::PF_CONTROL_MSG | mbx::VT_MSGTYPE_CTS;
                    mailbox::write(io, vf, &[ping]).unwrap();
                    continue;
                }
                let what = sw.handle_message(io, vfs, vf);
                self.handled.borrow_mut().push(what);
            }
            if events.acks >> vf & 1 != 0 {
                sw.handle_ack(io, vfs, vf);
            }
        }
        sw.flush_pings(io, vfs);
    }

    /// A VF that went through the reset handshake and speaks the newest API.
    fn ready(&self, vf: u8) -> Vf {
        let mut v = Vf::new();
        v.reset(&self.vf(vf)).unwrap();
        v.negotiate(&self.vf(vf), FEATURE_IPSEC | FEATURE_ESX_MBX)
            .unwrap();
        v
    }

    fn admin<R>(&self, vf: usize, f: impl FnOnce(&Io<'_>, &mut Switch, &mut VfState) -> R) -> R {
        let sw = &mut *self.sw.borrow_mut();
        let vfs = &mut *self.vfs.borrow_mut();
        f(&self.pf(), sw, &mut vfs[vf])
    }

    fn last(&self) -> Handled {
        *self.handled.borrow().last().unwrap()
    }

    fn reg(&self, reg: u32) -> u32 {
        self.pf().read32(reg)
    }
}

#[test]
fn probe() {
    let bench = Bench::new(0);
    let io = &bench.pf();
    Chip::I82599.validate_eeprom(io).unwrap();
    let mut mac = Mac::new();
    mac.reset(io, || false).unwrap();
    assert_eq!(mac.perm_addr, MAC);
    mac.start(io, &FlowControl::new()).unwrap();
    let link = link::check_link(io);
    assert!(link.up);
    assert_eq!(link.mbps(), 10_000);
    // A second reset finds the settings of the first.
    mac.reset(io, || false).unwrap();
    assert_eq!(mac.perm_addr, MAC);

    assert_eq!(mac::configure_packet_buffers(io, Chip::I82599), 512);
    let mut fc = FlowControl::new();
    assert!(fc.set_water_marks(1500, 512, false, Chip::I82599.delays()));
    // The figures of `ixgbe_hpbthresh` and `ixgbe_lpbthresh` for this MTU.
    assert_eq!((fc.high_water, fc.low_water), (497, 10));
    fc.enable(io);
    assert_eq!(io.read32(regs::fcrth(0)), 497 << 10 | regs::FCRTH_FCEN);
}

#[test]
fn queues_start_and_stop() {
    let bench = Bench::new(0);
    let io = &bench.pf();
    mac::enable_tx_dma(io);
    for q in [0, 1, 63, 64, 127] {
        let regs = QueueRegs::pf(q);
        let tx = TxRing {
            regs,
            dma: 0x1_2345_6780,
            count: 64,
            wthresh: 8,
        };
        tx.enable(io).unwrap();
        let rx = RxRing {
            regs,
            dma: 0x1_2345_6780,
            count: 64,
            buffer_len: 2048,
            drop_en: true,
            vlan_strip: true,
        };
        rx.enable(io).unwrap();
        assert_eq!(io.read32(regs::rdbal(q)), 0x2345_6780);
        assert_eq!(io.read32(regs::tdbah(q)), 1);
        assert_eq!(io.read32(regs::rdlen(q)), 1024);
        assert_ne!(io.read32(regs::rxdctl(q)) & regs::RXDCTL_VME, 0);
        ring::rx_disable(io, &regs).unwrap();
        ring::tx_disable(io, &regs).unwrap();
        assert_eq!(io.read32(regs::rxdctl(q)) & regs::RXDCTL_ENABLE, 0);
    }
}

#[test]
fn reset_handshake() {
    let bench = Bench::new(4);
    let mut vf = Vf::new();
    vf.reset(&bench.vf(1)).unwrap();
    assert_eq!(bench.last(), Handled::Reset);
    // Nobody assigned an address: the PF refuses, and that is an answer.
    assert_eq!(vf.perm_addr, None);

    bench.admin(1, |io, sw, v| sw.admin_set_mac(io, 1, v, &VF_MAC).unwrap());
    vf.reset(&bench.vf(1)).unwrap();
    assert_eq!(vf.perm_addr, Some(VF_MAC));
    assert_eq!(bench.reg(regs::vfre(0)) & 0xF, 0b10);
    assert_eq!(bench.reg(regs::vfte(0)) & 0xF, 0b10);
    // The neighbours are not ready yet.
    assert!(!bench.vfs.borrow()[0].clear_to_send);
}

#[test]
fn pf_is_down() {
    let bench = Bench::new(1);
    bench.dead.set(true);
    let mut vf = Vf::new();
    assert_eq!(vf.reset(&bench.vf(0)), Err(Error::Timeout));
    bench.dead.set(false);
    vf.reset(&bench.vf(0)).unwrap();
}

#[test]
fn messages_before_reset_are_refused() {
    let bench = Bench::new(1);
    let mut vf = Vf::new();
    let answer = vf.mbx.exchange(&bench.vf(0), &Request::SetMac(VF_MAC));
    assert_eq!(answer, Err(Error::NotClearToSend));
    assert_eq!(bench.last(), Handled::NotClearToSend);
}

#[test]
fn versions() {
    let bench = Bench::new(1);
    let vf = bench.ready(0);
    assert_eq!(vf.api, ApiVersion::V17);
    // The PF offers nothing by default.
    assert_eq!(vf.features, 0);

    let mut vf = Vf::new();
    let io = &bench.vf(0);
    vf.reset(io).unwrap();
    for wire in 0..16 {
        let ok = vf.mbx.exchange(io, &Request::ApiNegotiate(wire)).is_ok();
        assert_eq!(ok, [0, 2, 3, 4, 5, 7, 8].contains(&wire), "{wire}");
    }
    // 1.0 has no queues, 1.1 no promiscuity, 1.2 no promiscuous mode.
    for (version, request, ok) in [
        (ApiVersion::V10, Request::GetQueues, false),
        (ApiVersion::V11, Request::GetQueues, true),
        (ApiVersion::V11, Request::UpdateXcastMode(1), false),
        (ApiVersion::V12, Request::UpdateXcastMode(1), true),
        (ApiVersion::V12, Request::UpdateXcastMode(3), false),
        (ApiVersion::V11, Request::GetLinkState, false),
        (ApiVersion::V12, Request::GetLinkState, true),
        (ApiVersion::V16, Request::FeaturesNegotiate(1), false),
        (ApiVersion::V17, Request::FeaturesNegotiate(1), true),
        (ApiVersion::V17, Request::GetPfLinkState, false),
        (ApiVersion::V17, Request::Other(0x0D), false),
    ] {
        let wire = version.wire();
        vf.mbx.exchange(io, &Request::ApiNegotiate(wire)).unwrap();
        let answer = vf.mbx.exchange(io, &request);
        assert_eq!(answer.is_ok(), ok, "{version:?} {request:?} {answer:?}");
    }
}

#[test]
fn features_are_masked() {
    let bench = Bench::new(1);
    bench.sw.borrow_mut().features = 1 << 24;
    let mut vf = Vf::new();
    vf.reset(&bench.vf(0)).unwrap();
    vf.negotiate(&bench.vf(0), 1 << 24 | FEATURE_IPSEC).unwrap();
    assert_eq!(vf.features, 1 << 24);
    // A message of the extension goes to whoever implements it, and only then.
    let mut words: Words = [0; 16];
    words[0] = 0x40;
    let _ = vf.mbx.exchange_words(&bench.vf(0), &words);
    assert!(matches!(bench.last(), Handled::Extension(_)));
}

#[test]
fn queues_of_a_pool() {
    for (num_vfs, queues) in [(1, 4), (31, 4), (32, 2), (63, 2)] {
        let bench = Bench::new(num_vfs);
        let vf = (num_vfs - 1) as u8;
        let mut v = bench.ready(vf);
        let q = v.get_queues(&bench.vf(vf)).unwrap();
        assert_eq!((q.tx, q.rx, q.trans_vlan), (queues, queues, 0));
        let pools = Pools::for_vfs(num_vfs).unwrap();
        assert_eq!(pools.queues(), queues);
        assert_eq!(
            bench.reg(regs::GCR_EXT) & 3,
            if queues == 4 { 2 } else { 3 }
        );
    }
}

#[test]
fn mac_addresses() {
    let bench = Bench::new(2);
    let io = &bench.vf(0);
    let mut vf = bench.ready(0);
    vf.set_rar(io, VF_MAC).unwrap();
    assert_eq!(bench.vfs.borrow()[0].mac, VF_MAC);
    for bad in [[0; 6], [0xFF; 6], [1, 0, 0x5E, 0, 0, 1]] {
        assert_eq!(vf.set_rar(io, bad), Err(Error::Nack));
    }
    // Set by the administrator: only the same address is taken, unless the VF is trusted.
    bench.admin(0, |io, sw, v| sw.admin_set_mac(io, 0, v, &VF_MAC).unwrap());
    let other = [0x02, 0, 0, 0, 9, 9];
    vf.set_rar(io, VF_MAC).unwrap();
    assert_eq!(vf.set_rar(io, other), Err(Error::Nack));
    assert_eq!(vf.set_uc_addr(io, 1, other), Err(Error::Nack));
    bench.admin(0, |io, sw, v| sw.admin_set_trust(io, 0, v, true));
    // Trust starts the VF anew.
    assert_eq!(vf.set_rar(io, other), Err(Error::NotClearToSend));
    let mut vf = bench.ready(0);
    vf.set_rar(io, other).unwrap();

    // What is in the registers is what the tables say, for this pool and for the PF's.
    let found: Vec<_> = (0..RAR_ENTRIES as u32)
        .filter(|i| bench.reg(regs::rah(*i)) & regs::RAH_AV != 0)
        .map(|i| {
            (
                filter::get_rar(&bench.pf(), i),
                bench.reg(regs::mpsar_lo(i)),
            )
        })
        .collect();
    assert_eq!(found, [(MAC, 1 << 2), (other, 1 << 0)]);
}

#[test]
fn macvlans_have_a_limit() {
    let bench = Bench::new(63);
    let io = &bench.vf(7);
    let mut vf = bench.ready(7);
    // 128 addresses, less 15 macvlans of the PF, its own, and one for each VF (`ixgbe_alloc_vf_macvlans`).
    let limit = 128 - (15 + 1 + 63);
    for i in 0..limit {
        let index = if i == 0 { 1 } else { 2 };
        vf.set_uc_addr(io, index, [0x02, 1, 0, 0, 0, i as u8])
            .unwrap();
    }
    assert_eq!(
        vf.set_uc_addr(io, 2, [0x02, 1, 0, 0, 1, 0]),
        Err(Error::Nack)
    );
    assert!(matches!(
        bench.last(),
        Handled::Refused(_, Refusal::NoSpace)
    ));
    // A neighbour still gets its own address.
    let mut other = bench.ready(8);
    other.set_rar(&bench.vf(8), VF_MAC).unwrap();
    // The list is emptied by index 0.
    vf.set_uc_addr(io, 0, [0; 6]).unwrap();
    vf.set_uc_addr(io, 1, [0x02, 1, 0, 0, 1, 0]).unwrap();
}

#[test]
fn vlans() {
    let bench = Bench::new(2);
    let io = &bench.vf(0);
    let mut vf = bench.ready(0);
    // VLAN 0 is there from the start and stays.
    vf.set_vfta(io, 0, false).unwrap();
    assert_ne!(bench.reg(regs::vlvfb(0)) & 1, 0);
    vf.set_vfta(io, 100, true).unwrap();
    assert_ne!(bench.reg(regs::vfta(3)) & 1 << 4, 0);
    // 63 entries besides that of VLAN 0.
    for vid in 200..262 {
        vf.set_vfta(io, vid, true).unwrap();
    }
    assert_eq!(vf.set_vfta(io, 300, true), Err(Error::Nack));
    vf.set_vfta(io, 100, false).unwrap();
    assert_eq!(bench.reg(regs::vfta(3)) & 1 << 4, 0);
    vf.set_vfta(io, 300, true).unwrap();
    // A reset takes all of them.
    let mut vf = bench.ready(0);
    let used = (1..64).filter(|i| bench.reg(regs::vlvf(*i)) != 0).count();
    assert_eq!(used, 0);
    assert!((1..128).all(|i| bench.reg(regs::vfta(i)) == 0));
    // A port VLAN is not the VF's to change.
    bench.admin(0, |io, sw, v| sw.admin_set_vlan(io, 0, v, 42, 3).unwrap());
    assert_eq!(vf.set_vfta(io, 100, true), Err(Error::Nack));
    assert_eq!(
        bench.reg(regs::vmvir(0)),
        42 | 3 << 13 | regs::VMVIR_VLANA_DEFAULT
    );
    assert_eq!(bench.reg(regs::vmolr(0)) & regs::VMOLR_AUPE, 0);
    assert_eq!(vf.get_queues(io).unwrap().trans_vlan, 1);
    bench.admin(0, |io, sw, v| sw.admin_set_vlan(io, 0, v, 0, 0).unwrap());
    assert_eq!(bench.reg(regs::vmvir(0)), 0);
    vf.set_vfta(io, 100, true).unwrap();
}

#[test]
fn promiscuity() {
    let bench = Bench::new(1);
    let io = &bench.vf(0);
    let mut vf = bench.ready(0);
    let mode = |vf: &mut Vf, m| vf.update_xcast_mode(io, m);
    let bits =
        || bench.reg(regs::vmolr(0)) & (regs::VMOLR_MPE | regs::VMOLR_ROMPE | regs::VMOLR_UPE);
    assert_eq!(mode(&mut vf, XcastMode::Multi), Ok(XcastMode::Multi));
    assert_eq!(bits(), regs::VMOLR_ROMPE);
    // More takes trust, without which less is granted.
    assert_eq!(mode(&mut vf, XcastMode::AllMulti), Ok(XcastMode::Multi));
    assert_eq!(bits(), regs::VMOLR_ROMPE);
    bench.admin(0, |io, sw, v| sw.admin_set_trust(io, 0, v, true));
    let mut vf = bench.ready(0);
    assert_eq!(mode(&mut vf, XcastMode::AllMulti), Ok(XcastMode::AllMulti));
    assert_eq!(bits(), regs::VMOLR_ROMPE | regs::VMOLR_MPE);
    // The 82599 cannot.
    assert_eq!(mode(&mut vf, XcastMode::Promisc), Err(Error::Nack));
    let raw = vf.mbx.exchange(io, &Request::UpdateXcastMode(u32::MAX));
    assert_eq!(raw, Err(Error::Nack));
}

#[test]
fn multicast() {
    let bench = Bench::new(2);
    let io = &bench.vf(1);
    let mut vf = bench.ready(1);
    let addr = [0x01, 0x00, 0x5E, 0x00, 0x12, 0x34];
    let slow = [0x01, 0x80, 0xC2, 0x00, 0x00, 0x02];
    vf.update_mc_addr_list(io, [&addr, &slow]).unwrap();
    let hash = filter::mta_hash(&addr);
    let set: Vec<_> = (0..128).filter(|i| bench.reg(regs::mta(*i)) != 0).collect();
    assert_eq!(set, [u32::from(hash >> 5)]);
    assert_ne!(bench.reg(regs::vmolr(1)) & regs::VMOLR_ROMPE, 0);
    // The PF's own list is written without losing it.
    {
        let sw = bench.sw.borrow();
        sw.store_multicast(&bench.pf(), &bench.vfs.borrow());
    }
    assert_ne!(bench.reg(regs::mta(u32::from(hash >> 5))), 0);
    vf.reset(io).unwrap();
    assert!((0..128).all(|i| bench.reg(regs::mta(i)) == 0));
}

#[test]
fn frame_sizes() {
    let bench = Bench::new(1);
    let io = &bench.vf(0);
    let mut vf = bench.ready(0);
    for (bytes, ok) in [
        (67, false),
        (68, true),
        (1518, true),
        (1519, false),
        (9729, false),
    ] {
        assert_eq!(vf.set_rlpml(io, bytes).is_ok(), ok, "{bytes}");
    }
    // With jumbo frames on the PF a VF must know of them to receive at all.
    bench.sw.borrow_mut().mtu = 9000;
    let mut vf = bench.ready(0);
    assert_eq!(bench.reg(regs::vfre(0)) & 1, 0);
    vf.set_rlpml(io, 9018).unwrap();
    assert_eq!(bench.reg(regs::vfre(0)) & 1, 1);
    assert_eq!(bench.reg(regs::MAXFRS) >> regs::MHADD_MFS_SHIFT, 9018);
    vf.mbx.exchange(io, &Request::ApiNegotiate(0)).unwrap();
    assert_eq!(vf.set_rlpml(io, 1518), Err(Error::Nack));
    assert_eq!(bench.reg(regs::vfre(0)) & 1, 0);
}

#[test]
fn rss_query_needs_leave() {
    let bench = Bench::new(1);
    let io = &bench.vf(0);
    let mut vf = bench.ready(0);
    assert_eq!(vf.get_rss_key(io), Err(Error::Nack));
    bench.admin(0, |_, _, v| v.rss_query = true);
    assert_eq!(vf.get_rss_key(io), Ok(KEY));
    let table = vf.get_reta(io, 2).unwrap();
    assert!(table
        .iter()
        .enumerate()
        .all(|(i, e)| usize::from(*e) == (i % 4) & 1));
}

#[test]
fn link_state_and_pings() {
    let bench = Bench::new(2);
    let io = &bench.vf(0);
    let mut vf = bench.ready(0);
    assert!(vf.check_link(io).unwrap().up);
    assert!(vf.get_link_state(io).unwrap());
    bench.admin(0, |io, sw, v| {
        sw.set_link_state(io, 0, v, LinkState::Disable)
    });
    assert_eq!(bench.reg(regs::vfte(0)) & 1, 0);
    let ping = vf.mbx.take_message(io).unwrap().unwrap();
    assert_eq!(ping[0], mbx::PF_CONTROL_MSG);
    vf.link_changed();
    assert_eq!(vf.check_link(io), Err(Error::NotClearToSend));
    let mut vf = bench.ready(0);
    assert!(!vf.get_link_state(io).unwrap());
}

/// What the PF said before it knew of the reset does not count after it: the driver would reset its VF once more.
#[test]
fn crossing_a_reset() {
    let bench = Bench::new(1);
    let io = &bench.vf(0);
    let mut vf = bench.ready(0);
    bench.cross.set(true);
    vf.reset(io).unwrap();
    assert!(!bench.cross.get(), "it has crossed");
    assert_eq!(vf.mbx.take_message(io), Ok(None));
}

/// A PF message that crosses a request costs neither.
#[test]
fn crossing() {
    let bench = Bench::new(1);
    let io = &bench.vf(0);
    let mut vf = bench.ready(0);
    bench.cross.set(true);
    vf.set_vfta(io, 5, true).unwrap();
    let kept = vf.mbx.take_message(io).unwrap().unwrap();
    assert_eq!(kept[0], mbx::PF_CONTROL_MSG | mbx::VT_MSGTYPE_CTS);
    assert_eq!(vf.mbx.take_message(io), Ok(None));
    // Our PF waits instead while a request is unread.
    let request = Request::GetQueues.encode();
    io.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
    io.write32(regs::vfmbmem(0), request[0]);
    io.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
    bench.admin(0, |io, sw, v| {
        sw.ping(io, 0, v);
        assert!(v.outbox.ping_pending());
    });
    bench.pf_task();
    assert!(matches!(bench.last(), Handled::Done(Request::GetQueues)));
}

#[test]
fn rates() {
    let bench = Bench::new(1);
    let set = |mbps, link| bench.admin(0, |io, sw, v| sw.admin_set_rate(io, 0, v, link, mbps));
    assert_eq!(set(10, 10_000), Err(Refusal::Denied));
    assert_eq!(set(10_001, 10_000), Err(Refusal::Denied));
    assert_eq!(set(100, 1000), Err(Refusal::Denied));
    set(1000, 10_000).unwrap();
    bench.pf().write32(regs::RTTDQSEL, 3);
    assert_eq!(bench.reg(regs::RTTBCNRC), regs::RTTBCNRC_RS_ENA | 10 << 14);
    let lifted = {
        let sw = &mut *bench.sw.borrow_mut();
        sw.check_rates(&bench.pf(), &bench.vfs.borrow(), 1000)
    };
    assert!(lifted);
    assert_eq!(bench.reg(regs::RTTBCNRC), 0);
}

/// What belongs to others, as the registers have it.
fn others(bench: &Bench, pool: u32) -> Vec<u32> {
    let mut out = Vec::new();
    for p in (0..=bench.sw.borrow().num_vfs).filter(|p| *p != pool) {
        out.push(bench.reg(regs::vmolr(p)));
        out.push(bench.reg(regs::vmvir(p)));
    }
    let gates = !(1 << pool);
    for half in 0..2 {
        out.push(bench.reg(regs::vfre(half)) & if half == 0 { gates } else { !0 });
        out.push(bench.reg(regs::vfte(half)) & if half == 0 { gates } else { !0 });
    }
    for i in 0..RAR_ENTRIES as u32 {
        let pools = bench.reg(regs::mpsar_lo(i)) & gates;
        if pools != 0 {
            out.extend([i, pools, bench.reg(regs::ral(i)), bench.reg(regs::rah(i))]);
        }
    }
    out
}

fn message() -> impl Strategy<Value = Words> {
    let head = prop_oneof![
        4 => (1u32..0x13, any::<u8>()).prop_map(|(n, info)| n | u32::from(info) << 16),
        1 => any::<u32>(),
    ];
    (head, any::<[u32; 8]>(), any::<bool>()).prop_map(|(head, args, small)| {
        let mut words = [0; 16];
        words[0] = head;
        for (w, a) in words[1..].iter_mut().zip(args) {
            *w = if small { a & 0xFFF } else { a };
        }
        words
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever a VF says, nothing of the PF or of another VF changes, and it gets no more than the PF's answer.
    #[test]
    fn hostile_vf(messages in proptest::collection::vec(message(), 1..200)) {
        let bench = Bench::new(3);
        let mut neighbour = bench.ready(2);
        neighbour.set_rar(&bench.vf(2), [0x02, 0, 0, 0, 2, 2]).unwrap();
        bench.ready(1);
        let before = others(&bench, 1);
        let io = &bench.vf(1);
        for words in messages {
            io.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
            for (i, w) in (0u32..).zip(words) {
                io.write32(regs::vfmbmem(i), w);
            }
            io.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
            bench.pf_task();
        }
        prop_assert_eq!(others(&bench, 1), before);
        // Nor did it keep the neighbour from being served.
        neighbour.set_vfta(&bench.vf(2), 0, true).unwrap();
        let v = bench.vfs.borrow()[1];
        prop_assert!(!v.trusted && v.pf_vlan == 0);
    }

    /// Addresses added and removed at random: registers and table agree, and the PF's own stays.
    #[test]
    fn mac_table(ops in proptest::collection::vec((any::<bool>(), 0u8..8, 0u32..4), 1..300)) {
        let bench = Bench::new(3);
        let io = &bench.pf();
        let mut table = MacTable::new();
        table.reset(io, &MAC, 3);
        let mut want = Vec::new();
        for (add, last, pool) in ops {
            let addr = [0x02, 5, 0, 0, 0, last];
            if add {
                if table.add(io, &addr, pool).is_ok() {
                    want.push((addr, pool));
                }
            } else if table.del(io, &addr, pool).is_ok() {
                let i = want.iter().position(|w| *w == (addr, pool)).unwrap();
                want.swap_remove(i);
            }
        }
        let mut have: Vec<_> = (1..RAR_ENTRIES as u32)
            .filter(|i| io.read32(regs::rah(*i)) & regs::RAH_AV != 0)
            .map(|i| (filter::get_rar(io, i), io.read32(regs::mpsar_lo(i)).trailing_zeros()))
            .collect();
        have.sort_unstable();
        want.sort_unstable();
        prop_assert_eq!(have, want);
        prop_assert_eq!(filter::get_rar(io, 0), MAC);
    }
}

#[test]
fn too_many_multicast_addresses_are_cut() {
    let bench = Bench::new(1);
    let io = &bench.vf(0);
    let mut vf = bench.ready(0);
    let list: Vec<[u8; 6]> = (0..100).map(|i| [0x01, 0, 0x5E, 1, i, 0]).collect();
    vf.update_mc_addr_list(io, &list).unwrap();
    assert_eq!(bench.vfs.borrow()[0].mc.len(), 30);
    vf.mbx
        .exchange(io, &Request::SetMulticast(McHashes::EMPTY))
        .unwrap();
    assert!(bench.vfs.borrow()[0].mc.is_empty());
}

/// The register test of the C driver passes on the model, and it finds a register that does not hold.
#[test]
fn register_test() {
    struct Broken<'a>(Io<'a>);
    impl Regs for Broken<'_> {
        fn read32(&self, reg: u32) -> u32 {
            let stuck = if reg == regs::mta(77) { 4 } else { 0 };
            self.0.read32(reg) | stuck
        }
        fn write32(&self, reg: u32, val: u32) {
            self.0.write32(reg, val);
        }
    }
    let bench = Bench::new(0);
    assert_eq!(libixgbe::diag::test_registers(&bench.pf()), Ok(()));
    let broken = Broken(bench.pf());
    assert_eq!(libixgbe::diag::test_registers(&broken), Err(regs::mta(77)));
}

#[test]
fn dump_has_the_layout_of_the_c_driver() {
    let bench = Bench::new(0);
    let mut out = vec![1; libixgbe::dump::REGS_LEN];
    let stats = libixgbe::stats::HwStats {
        gorc: 0x5_0000_0007,
        ..Default::default()
    };
    libixgbe::dump::dump(&bench.pf(), &stats, &mut out);
    assert_eq!(out[1065], bench.reg(regs::LINKS));
    assert_eq!(out[482], bench.reg(regs::ral(0)));
    assert_eq!((out[942], out[943]), (7, 5));
    assert_eq!(out[1144], bench.reg(regs::SECRXSTAT));
    assert_eq!(out[946], 0);
}
