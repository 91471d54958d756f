// SPDX-License-Identifier: GPL-2.0
//! A device, the PF's side of it, and guests.

use std::cell::{Cell, RefCell, RefMut};

use ixgbe_model::host::Function;
use ixgbe_model::testing::{Host, Machine, Served};
use ixgbe_model::HeadWrite;
use libixgbe::chip::Chip;
use libixgbe::link::FlowControl;
use libixgbe::mac::{self, Mac};
use libixgbe::mbx::pf as mailbox;
use libixgbe::migration::pf::{Mover, Pf};
use libixgbe::migration::HeadRestore;
use libixgbe::rss::Rss;
use libixgbe::sriov::vf::{Switch, VfState};
use libixgbe::sriov::{self, Pools};
use libixgbe::vf::Vf;
use libixgbe::{filter, mbx_ext, regs, Regs};

/// Address that the model's machine gives the PF.
pub(crate) const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
/// One that the host gives.
pub(crate) const A: [u8; 6] = [0x02, 0, 0, 0, 0, 0xA];
/// One that a guest chooses.
pub(crate) const B: [u8; 6] = [0x02, 0, 0, 0, 0, 0xB];
/// A further one.
pub(crate) const C: [u8; 6] = [0x02, 0, 0, 0, 0, 0xC];
pub(crate) const KEY: [u32; 10] = [0x1111_1111; 10];

/// The PF's software.
pub(crate) struct Software {
    pub(crate) sw: Switch,
    pub(crate) vfs: Vec<VfState>,
    pub(crate) movers: Vec<Mover>,
}

pub(crate) struct Bench {
    pub(crate) machine: Machine,
    pub(crate) pf: RefCell<Software>,
    /// The PF's driver does nothing by itself.
    pub(crate) asleep: Cell<bool>,
    /// Milliseconds of its clock.
    pub(crate) now: Cell<u64>,
}

pub(crate) type Io<'a> = Served<'a, Bench>;

impl Host for Bench {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn serve(&self) {
        if !self.asleep.get() {
            self.pf_task();
        }
    }
}

impl Bench {
    pub(crate) fn new(num_vfs: u32) -> Self {
        Self::with_mtu(num_vfs, 1500)
    }

    pub(crate) fn with_mtu(num_vfs: u32, mtu: u32) -> Self {
        let mut sw = Switch::new(Rss::new(KEY, 4));
        sw.num_vfs = num_vfs;
        sw.pools = Pools::for_vfs(num_vfs);
        sw.mtu = mtu;
        sw.features = mbx_ext::FEATURE_MIGRATION;
        let bench = Self {
            machine: Machine::new(HeadWrite::Value, 4 << 20),
            pf: RefCell::new(Software {
                sw,
                vfs: vec![VfState::new(); num_vfs as usize],
                movers: vec![Mover::new(); num_vfs as usize],
            }),
            asleep: Cell::new(false),
            now: Cell::new(0),
        };
        bench.machine.set_vfs(num_vfs as u8);
        bench.up();
        bench
    }

    pub(crate) fn io(&self) -> Io<'_> {
        Served(self, Function::Pf)
    }

    pub(crate) fn vf(&self, vf: u32) -> Io<'_> {
        Served(self, Function::Vf(vf as u8))
    }

    pub(crate) fn reg(&self, reg: u32) -> u32 {
        self.io().read32(reg)
    }

    /// As `ixgbe_lib::down`.
    pub(crate) fn down(&self) {
        let io = &self.io();
        self.movers(|m, pf| m.before_pf_reset(io, pf));
        let Software { sw, vfs, .. } = &mut *self.pf.borrow_mut();
        sw.up = false;
        sw.before_reset(vfs);
        sw.set_all_vfs(io, vfs);
        let mut mac = Mac::new();
        mac.reset(io, || false).unwrap();
        mac.start(io, &FlowControl::new()).unwrap();
        let pool = sw.pf_pool();
        sw.macs.reset(io, &MAC, pool);
    }

    /// As `ixgbe_lib::up`.
    pub(crate) fn up(&self) {
        let io = &self.io();
        {
            let Software { sw, vfs, .. } = &mut *self.pf.borrow_mut();
            let mut mac = Mac::new();
            mac.reset(io, || false).unwrap();
            mac.start(io, &FlowControl::new()).unwrap();
            let pool = sw.pf_pool();
            sw.up = true;
            sw.configure(io, vfs);
            sw.vlans.restore(io, pool);
            sw.macs.reset(io, &MAC, pool);
            sw.store_multicast(io, vfs);
            sriov::setup_mtqc(io, sw.pools);
            mac::enable_tx_dma(io);
            mac::configure_rx_common(io);
            sw.rss.configure(io, sw.pools);
            mac::set_max_frame(io, sw.mtu + 18);
            io.write32(regs::FCTRL, regs::FCTRL_BAM);
            io.write32(regs::RXCTRL, regs::RXCTRL_RXEN);
            io.write32(
                regs::vmolr(pool),
                regs::VMOLR_AUPE | regs::VMOLR_BAM | regs::VMOLR_ROMPE,
            );
            mac::set_reset_done(io);
            sw.set_all_vfs(io, vfs);
        }
        self.movers(|m, pf| m.after_pf_reset(io, pf));
    }

    fn movers(&self, mut f: impl FnMut(&mut Mover, &mut Pf<'_>)) {
        let count = self.pf.borrow().sw.num_vfs;
        for vf in 0..count {
            self.mover(vf, &mut f);
        }
    }

    pub(crate) fn mover<R>(&self, vf: u32, f: impl FnOnce(&mut Mover, &mut Pf<'_>) -> R) -> R {
        let Software { sw, vfs, movers } = &mut *self.pf.borrow_mut();
        let mut pf = Pf {
            switch: sw,
            vfs,
            vf,
            device: 0x10ed,
            head_restore: HeadRestore::Auto,
        };
        f(&mut movers[vf as usize], &mut pf)
    }

    /// As `ixgbe_sriov::msg_task`.
    pub(crate) fn pf_task(&self) {
        let io = &self.io();
        let mut events = Chip::I82599.events(io);
        let count = self.pf.borrow().sw.num_vfs;
        for vf in 0..count {
            if events.resets >> vf & 1 != 0 {
                mailbox::clear_reset(io, vf);
                // Of the former user.
                events.acks &= !(1 << vf);
                let Software { sw, vfs, .. } = &mut *self.pf.borrow_mut();
                sw.vf_reset_event(io, vfs, vf);
            }
            self.mover(vf, |m, pf| {
                if events.resets >> vf & 1 != 0 {
                    m.reset(pf);
                }
                m.serve(io, pf, &events);
            });
        }
        let Software { sw, vfs, .. } = &mut *self.pf.borrow_mut();
        sw.flush_pings(io, vfs);
    }

    /// The VF's user goes, and with it all that it had.
    pub(crate) fn flr(&self, vf: u32) {
        self.machine.reset(Function::Vf(vf as u8));
        self.pf_task();
    }

    /// A guest's driver starts: reset handshake and the newest API.
    pub(crate) fn guest(&self, vf: u32) -> Vf {
        let mut v = Vf::new();
        v.reset(&self.vf(vf)).unwrap();
        v.negotiate(&self.vf(vf), 0).unwrap();
        v
    }

    /// What the host does to a VF.
    pub(crate) fn host<R>(
        &self,
        vf: u32,
        f: impl FnOnce(&Io<'_>, &mut Switch, &mut VfState) -> R,
    ) -> R {
        let Software { sw, vfs, .. } = &mut *self.pf.borrow_mut();
        f(&self.io(), sw, &mut vfs[vf as usize])
    }

    pub(crate) fn state(&self, vf: u32) -> RefMut<'_, VfState> {
        RefMut::map(self.pf.borrow_mut(), |pf| &mut pf.vfs[vf as usize])
    }

    /// Valid receive addresses that lead to a pool.
    pub(crate) fn addresses(&self, pool: u32) -> Vec<[u8; 6]> {
        let mut all: Vec<_> = (0..filter::RAR_ENTRIES as u32)
            .filter(|i| self.reg(regs::rah(*i)) & regs::RAH_AV != 0)
            .filter(|i| {
                let pools = u64::from(self.reg(regs::mpsar_hi(*i))) << 32
                    | u64::from(self.reg(regs::mpsar_lo(*i)));
                pools >> pool & 1 != 0
            })
            .map(|i| filter::get_rar(&self.io(), i))
            .collect();
        all.sort_unstable();
        all
    }

    /// VLANs that a pool is in.
    pub(crate) fn vlans(&self, pool: u32) -> Vec<u32> {
        let mut all: Vec<_> = (0..regs::VLVF_ENTRIES)
            .filter(|i| self.reg(regs::vlvf(*i)) & regs::VLVF_VIEN != 0)
            .filter(|i| {
                let pools = u64::from(self.reg(regs::vlvfb(2 * i + 1))) << 32
                    | u64::from(self.reg(regs::vlvfb(2 * i)));
                pools >> pool & 1 != 0
            })
            .map(|i| self.reg(regs::vlvf(i)) & regs::VLVF_VLANID_MASK)
            .collect();
        all.sort_unstable();
        all
    }

    /// The PF joins a VLAN.
    pub(crate) fn pf_joins(&self, vid: u32) {
        let Software { sw, .. } = &mut *self.pf.borrow_mut();
        let pool = sw.pf_pool();
        sw.vlans.add(&self.io(), vid, pool);
    }

    /// Whether frames of a VLAN reach the PF: it is in the table, and names the PF's pool or none.
    pub(crate) fn pf_hears(&self, vid: u32) -> bool {
        let pool = self.pf.borrow().sw.pf_pool();
        let entry =
            (0..regs::VLVF_ENTRIES).any(|i| self.reg(regs::vlvf(i)) == regs::VLVF_VIEN | vid);
        let table = self.reg(regs::vfta(vid >> 5)) >> (vid & 31) & 1 != 0;
        table && (!entry || self.vlans(pool).contains(&vid))
    }

    /// The time for which a VF does not receive after a reset that its driver was told to do.
    fn moment(&self) {
        let Software { sw, vfs, .. } = &mut *self.pf.borrow_mut();
        let now = self.now.get();
        for at in [now, now + 20] {
            for (vf, state) in (0..).zip(vfs.iter_mut()) {
                sw.nudge(&self.io(), vf, state, at);
            }
        }
        self.now.set(now + 20);
    }

    /// Whether a VF may receive and send, a moment later.
    pub(crate) fn gates(&self, vf: u32) -> (bool, bool) {
        self.moment();
        let open = |reg: fn(u32) -> u32| self.reg(reg(vf >> 5)) >> (vf & 31) & 1 != 0;
        (open(regs::vfre), open(regs::vfte))
    }

    pub(crate) fn spoofchk(&self, vf: u32) -> (bool, bool) {
        let checks = self.reg(regs::pfvfspoof(vf >> 3)) >> (vf & 7);
        (checks & 1 != 0, checks >> regs::SPOOF_VLANAS_SHIFT & 1 != 0)
    }

    pub(crate) fn rate(&self, vf: u32) -> u32 {
        let pools = self.pf.borrow().sw.pools.unwrap();
        let q = pools.first_queue(vf);
        self.io().write32(regs::RTTDQSEL, q);
        self.reg(regs::RTTBCNRC)
    }

    /// All that the hardware does for a VF, in words for a message.
    pub(crate) fn registers(&self, vf: u32) -> String {
        format!(
            "vmolr {:#x} vmvir {:#x} gates {:?} spoofchk {:?} rate {:#x} addresses {:x?} vlans {:?}",
            self.reg(regs::vmolr(vf)),
            self.reg(regs::vmvir(vf)),
            self.gates(vf),
            self.spoofchk(vf),
            self.rate(vf),
            self.addresses(vf),
            self.vlans(vf),
        )
    }
}
