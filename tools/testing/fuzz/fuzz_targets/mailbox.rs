// SPDX-License-Identifier: GPL-2.0
//! Both ends of the mailbox, each against an enemy at the other.
//!
//! The PF's end runs on the model, with a VF that writes anything into its mailbox, a VF that means well, and an
//! administrator. The VF's end runs on a PF that is made up of the input. Beyond "no panic and no hang": a VF never gets
//! what the administrator did not give it, and does nothing to the other one.
#![no_main]

use std::cell::{Cell, RefCell};

use arbitrary::{Arbitrary, Unstructured};
use ixgbe_model::host::Function;
use ixgbe_model::testing::{self, Host as _, Machine, Served};
use ixgbe_model::HeadWrite;
use libfuzzer_sys::fuzz_target;
use libixgbe::chip::Chip;
use libixgbe::filter::{self, RAR_ENTRIES};
use libixgbe::mbx::{self, pf as mailbox, vf::Error, Words, XcastMode, MBX_WORDS};
use libixgbe::mbx_ext::FEATURE_MIGRATION;
use libixgbe::rss::Rss;
use libixgbe::sriov::vf::{Handled, LinkState, Switch, VfState};
use libixgbe::sriov::Pools;
use libixgbe::vf::Vf;
use libixgbe::{mac, regs, sriov, Delay, Regs};

/// Address that the model's machine gives the PF.
const PF_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GIVEN: [u8; 6] = [2, 0, 0, 0, 1, 0];
const FRIEND_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const VFS: u32 = 2;
const ENEMY: u32 = 0;
const FRIEND: u32 = 1;

/// What the administrator does about the enemy.
#[derive(Arbitrary, Debug)]
enum Admin {
    Mac,
    Vlan(u8, u8),
    Spoof(bool),
    Trust(bool),
    Query(bool),
    Link(bool),
    Mtu(bool),
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// A message as it could be: its number, and what follows.
    Message(u8, [u32; 6]),
    /// Sixteen words.
    Any(Words),
    /// A write of the mailbox register.
    Register(u8),
    Reset,
    Admin(Admin),
    /// The other VF asks for something.
    Friend(u8),
}

#[derive(Arbitrary, Debug)]
enum Input {
    /// The PF under attack; the words of the administrator at the start, and what comes.
    Pf(bool, Vec<Step>),
    /// The VF under attack: what it reads.
    Vf(Vec<u32>),
}

fuzz_target!(|data: &[u8]| {
    match Input::arbitrary_take_rest(Unstructured::new(data)) {
        Ok(Input::Pf(given, steps)) => attack_pf(given, &steps),
        Ok(Input::Vf(words)) => attack_vf(words),
        Err(_) => {}
    }
});

/// The device with its PF driver.
struct Host {
    machine: Machine,
    pf: RefCell<(Switch, [VfState; VFS as usize])>,
}

type Io<'a> = Served<'a, Host>;

impl testing::Host for Host {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The PF's interrupt.
    fn serve(&self) {
        let io = &self.io();
        let (sw, vfs) = &mut *self.pf.borrow_mut();
        let events = Chip::I82599.events(io);
        for vf in 0..VFS {
            if events.resets >> vf & 1 != 0 {
                mailbox::clear_reset(io, vf);
                sw.vf_reset_event(io, vfs, vf);
            }
            if events.messages >> vf & 1 != 0 {
                if let Handled::Extension(words) = sw.handle_message(io, vfs, vf) {
                    let _ = sriov::vf::reply(io, vf, &words, false);
                }
            }
            if events.acks >> vf & 1 != 0 {
                sw.handle_ack(io, vfs, vf);
            }
        }
        sw.flush_pings(io, vfs);
    }
}

impl Host {
    fn new() -> Self {
        let mut sw = Switch::new(Rss::new([0x1111_1111; 10], 4));
        sw.num_vfs = VFS;
        sw.pools = Pools::for_vfs(VFS);
        sw.up = true;
        sw.features = FEATURE_MIGRATION;
        let host = Self {
            // Without memory: every DMA of an enemy is refused.
            machine: Machine::new(HeadWrite::Value, 0),
            pf: RefCell::new((sw, [VfState::new(); VFS as usize])),
        };
        host.machine.set_vfs(VFS as u8);
        host.bring_up();
        host
    }

    /// As the PF driver does, as far as the mailbox and filters go.
    fn bring_up(&self) {
        let io = &self.io();
        let (sw, vfs) = &mut *self.pf.borrow_mut();
        let pool = sw.pf_pool();
        sw.configure(io, vfs.as_slice());
        sw.vlans.restore(io, pool);
        sw.macs.reset(io, &PF_MAC, pool);
        sriov::setup_mtqc(io, sw.pools);
        mac::set_max_frame(io, 1518);
        mac::set_reset_done(io);
    }

    fn io(&self) -> Io<'_> {
        Served(self, Function::Pf)
    }

    fn vf(&self, vf: u32) -> Io<'_> {
        Served(self, Function::Vf(vf as u8))
    }

    fn admin(&self, what: &Admin) {
        let io = &self.io();
        let (sw, vfs) = &mut *self.pf.borrow_mut();
        let v = &mut vfs[ENEMY as usize];
        match *what {
            Admin::Mac => {
                let _ = sw.admin_set_mac(io, ENEMY, v, &GIVEN);
            }
            Admin::Vlan(vid, qos) => {
                let _ = sw.admin_set_vlan(io, ENEMY, v, vid.into(), qos & 7);
            }
            Admin::Spoof(on) => sw.admin_set_spoofchk(io, ENEMY, v, on),
            Admin::Trust(on) => sw.admin_set_trust(io, ENEMY, v, on),
            Admin::Query(on) => v.rss_query = on,
            Admin::Link(on) => {
                let link = if on {
                    LinkState::Auto
                } else {
                    LinkState::Disable
                };
                sw.set_link_state(io, ENEMY, v, link);
            }
            Admin::Mtu(jumbo) => sw.mtu = if jumbo { 9000 } else { 1500 },
        }
    }

    /// What an enemy must not get.
    fn check(&self, before: &Settings) {
        let io = &self.io();
        let (sw, vfs) = &*self.pf.borrow();
        let enemy = &vfs[ENEMY as usize];
        assert_eq!(Settings::of(enemy), *before, "only the host changes these");
        let vmolr = io.read32(regs::vmolr(ENEMY));
        assert_eq!(vmolr & (regs::VMOLR_UPE | regs::VMOLR_VPE), 0);
        assert_eq!(filter::get_rar(io, 0), PF_MAC);
        assert_eq!(
            io.read32(regs::mpsar_lo(0)),
            1 << sw.pf_pool(),
            "the PF's address is the PF's alone"
        );
        if enemy.pf_set_mac && !enemy.trusted && enemy.clear_to_send {
            assert_eq!(enemy.mac, GIVEN, "the host's address");
        }
        let friends = (0..RAR_ENTRIES as u32).filter(|i| {
            io.read32(regs::rah(*i)) & regs::RAH_AV != 0
                && io.read32(regs::mpsar_lo(*i)) & 1 << FRIEND != 0
        });
        let friends: Vec<_> = friends.map(|i| filter::get_rar(io, i)).collect();
        let friend = &vfs[FRIEND as usize];
        assert!(friends.iter().all(|mac| *mac == friend.mac), "{friends:x?}");
        assert!(!enemy.link_enable || enemy.link_state != LinkState::Disable);
        // A gate that the host has shut stays shut.
        if !enemy.link_enable {
            let gates = io.read32(regs::vfte(0)) | io.read32(regs::vfre(0));
            assert_eq!(gates & 1 << ENEMY, 0);
        }
        let checks = io.read32(regs::pfvfspoof(ENEMY >> 3)) >> (ENEMY & 7);
        assert_eq!(checks & 1 != 0, enemy.spoofchk, "the host's, whatever was added");
    }
}

/// What the host decides about a VF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings(bool, u16, u8, u16, bool, bool, bool, LinkState);

impl Settings {
    fn of(v: &VfState) -> Self {
        Self(
            v.pf_set_mac,
            v.pf_vlan,
            v.pf_qos,
            v.tx_rate,
            v.spoofchk,
            v.rss_query,
            v.trusted,
            v.link_state,
        )
    }
}

fn store(io: &Io<'_>, words: &[u32]) {
    io.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
    for (i, word) in (0u32..).zip(words) {
        io.write32(regs::vfmbmem(i), *word);
    }
    io.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
}

fn attack_pf(given: bool, steps: &[Step]) {
    let host = Host::new();
    let enemy = &host.vf(ENEMY);
    let friend_io = &host.vf(FRIEND);
    let mut friend = Vf::new();
    friend.reset(friend_io).expect("the friend starts");
    friend.negotiate(friend_io, 0).expect("the friend talks");
    friend
        .set_rar(friend_io, FRIEND_MAC)
        .expect("an address of its own");
    if given {
        host.admin(&Admin::Mac);
    }
    let mut settings = Settings::of(&host.pf.borrow().1[ENEMY as usize]);
    for step in steps.iter().take(256) {
        match step {
            Step::Message(number, words) => {
                let mut msg = [0; 7];
                msg[1..].copy_from_slice(words);
                // The count of a list is in the head.
                msg[0] = u32::from(*number & 0x7F) | words[5] << 16;
                store(enemy, &msg);
            }
            Step::Any(words) => store(enemy, words),
            Step::Register(value) => enemy.write32(regs::VFMAILBOX, (*value).into()),
            Step::Reset => store(enemy, &[mbx::VF_RESET]),
            Step::Admin(what) => {
                host.admin(what);
                settings = Settings::of(&host.pf.borrow().1[ENEMY as usize]);
            }
            Step::Friend(what) => {
                let answer = match what % 4 {
                    0 => friend.set_rar(friend_io, FRIEND_MAC),
                    1 => friend.get_queues(friend_io).map(drop),
                    2 => friend.set_vfta(friend_io, u16::from(*what), true),
                    _ => friend
                        .update_xcast_mode(friend_io, XcastMode::Multi)
                        .map(drop),
                };
                // The VLAN table is the one thing that both share.
                let full = what % 4 == 2 && answer == Err(Error::Nack);
                assert!(answer.is_ok() || full, "{what}: {answer:?}");
            }
        }
        host.serve();
        host.check(&settings);
    }
}

/// A PF that is nothing but the words of the input: what it says is read from them, in order, and then it is silent.
struct Puppet {
    words: Vec<u32>,
    next: Cell<usize>,
    /// Waits since the last word: nobody waits without end.
    waits: Cell<u32>,
}

/// All waits of one request: for the mailbox, for the acknowledgement and for the answer, each twice.
const MOST_WAITS: u32 = 16 * mbx::vf::INIT_TIMEOUT;

impl Regs for Puppet {
    fn read32(&self, reg: u32) -> u32 {
        let i = self.next.get();
        match self.words.get(i) {
            Some(word) => {
                self.next.set(i + 1);
                // Most of what is read is the mailbox, which the VF must own to get on.
                if reg == regs::VFMAILBOX {
                    word | regs::VFMAILBOX_VFU
                } else {
                    *word
                }
            }
            None => 0,
        }
    }
    fn write32(&self, _: u32, _: u32) {}
}

impl Delay for Puppet {
    fn udelay(&self, _: u32) {
        self.waits.set(self.waits.get() + 1);
        assert!(self.waits.get() <= MOST_WAITS, "no end in sight");
    }
    fn usleep(&self, us: u32) {
        self.udelay(us);
    }
}

fn attack_vf(words: Vec<u32>) {
    let io = &Puppet {
        words,
        next: Cell::new(0),
        waits: Cell::new(0),
    };
    let mut vf = Vf::new();
    let again = || io.waits.set(0);
    let _ = vf.reset(io);
    again();
    let _ = vf.negotiate(io, mbx::FEATURE_ESX_MBX | FEATURE_MIGRATION);
    assert_eq!(
        vf.features & !(mbx::FEATURE_ESX_MBX | FEATURE_MIGRATION),
        0,
        "only what was offered"
    );
    again();
    if let Ok(q) = vf.get_queues(io) {
        assert!((1..=8).contains(&q.tx) && (1..=8).contains(&q.rx));
        assert!(q.def_queue < q.tx && q.trans_vlan <= q.rx);
    }
    again();
    let _ = vf.set_rar(io, GIVEN);
    again();
    let _ = vf.set_uc_addr(io, 1, GIVEN);
    again();
    let _ = vf.update_mc_addr_list(io, &[[1, 0, 0x5e, 0, 0, 9]]);
    again();
    let _ = vf.update_xcast_mode(io, XcastMode::AllMulti);
    again();
    if let Ok(table) = vf.get_reta(io, 2) {
        assert!(table.iter().all(|queue| *queue < 2));
    }
    again();
    let _ = vf.get_rss_key(io);
    again();
    let _ = vf.get_link_state(io);
    again();
    let _ = vf.set_vfta(io, 5, true);
    again();
    let _ = vf.set_rlpml(io, 1518);
    again();
    let _ = vf.check_link(io);
    // Bounded by the four that are kept and one that is there.
    for _ in 0..8 {
        again();
        if let Ok(Some(msg)) = vf.mbx.take_message(io) {
            assert_eq!(msg.len(), MBX_WORDS);
        }
    }
}
