// SPDX-License-Identifier: GPL-2.0
//! Hosts between which a VF moves, and the driver of the VF.

use ixgbe_model::host::Function;
use ixgbe_model::testing::Machine;
use ixgbe_model::HeadWrite;
use libixgbe::chip::Chip;
use libixgbe::mbx::{pf as mailbox, Request, Words, VT_MSGTYPE_ACK};
use libixgbe::mbx_ext::{self, RegisterQueue, VfMessage};
use libixgbe::migration::pf::{Error, Mover, Pf};
use libixgbe::migration::{format, Counted, HeadRestore};
use libixgbe::rss::Rss;
use libixgbe::sriov::vf::{Switch, VfState};
use libixgbe::sriov::Pools;
use libixgbe::{regs, Regs};

use super::{frame, machine_with, x540_with, x550_with, RxRing, TxRing, MAC, PEER};

pub(crate) const VF: u8 = 1;
pub(crate) const VF_MAC: [u8; 6] = [0x02, 0, 0, 0, 7, 7];

/// A PF with two VFs and the migration of the second.
pub(crate) struct Host<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) switch: Switch,
    pub(crate) vfs: Vec<VfState>,
    pub(crate) mover: Mover,
    pub(crate) head_restore: HeadRestore,
}

/// Brings up a PF with so many VFs that may migrate.
pub(crate) fn pf_with(machine: &Machine, count: u8) -> (Switch, Vec<VfState>) {
    machine.set_vfs(count);
    let mut switch = Switch::new(Rss::new([0x1234_5678; 10], 2));
    switch.chip = match machine.chip() {
        ixgbe_model::Chip::X540 | ixgbe_model::Chip::X540At1 => Chip::X540,
        ixgbe_model::Chip::X550 | ixgbe_model::Chip::X550At1 => Chip::X550,
        ixgbe_model::Chip::Kx4 | ixgbe_model::Chip::Sfp => Chip::I82599,
    };
    switch.num_vfs = count.into();
    switch.pools = Some(Pools::P64);
    switch.up = true;
    switch.features = mbx_ext::FEATURE_MIGRATION;
    let vfs = vec![VfState::new(); count.into()];
    let pf = machine.pf();
    pf.write32(regs::GPIE, regs::GPIE_MSIX_MODE | regs::GPIE_VTMODE_64);
    switch.macs.reset(&pf, &MAC, count.into());
    switch.configure(&pf, &vfs);
    switch.rss.configure(&pf, switch.rss_place());
    pf.write32(regs::MTQC, regs::MTQC_VT_ENA | regs::MTQC_64VF);
    pf.write32(regs::CTRL_EXT, regs::CTRL_EXT_PFRSTD);
    (switch, vfs)
}

impl<'a> Host<'a> {
    pub(crate) fn new(machine: &'a Machine) -> Self {
        let (switch, vfs) = pf_with(machine, 2);
        Self {
            machine,
            switch,
            vfs,
            mover: Mover::new(),
            head_restore: HeadRestore::Auto,
        }
    }

    pub(crate) fn with<R>(
        &mut self,
        f: impl FnOnce(&mut Mover, &Counted<ixgbe_model::testing::Port<'_>>, &mut Pf<'_>) -> R,
    ) -> (R, u32) {
        let io = Counted::new(self.machine.pf());
        let device = self.switch.chip.vf_device();
        let mut pf = Pf {
            switch: &mut self.switch,
            vfs: &mut self.vfs,
            vf: VF.into(),
            device,
            head_restore: self.head_restore,
        };
        let result = f(&mut self.mover, &io, &mut pf);
        (result, io.accesses())
    }

    /// Serves what VFs announced, as `msg_task` does.
    pub(crate) fn serve(&mut self) {
        let pf = self.machine.pf();
        let events = self.switch.chip.events(&pf);
        self.with(|m, io, pf| m.serve(io, pf, &events));
        self.with(|m, io, pf| m.flush(io, pf));
    }

    /// A function level reset of the VF, and what the PF does when it sees it (`msg_task`).
    pub(crate) fn reset_vf(&mut self) {
        self.machine.reset(Function::Vf(VF));
        let pf = self.machine.pf();
        mailbox::clear_reset(&pf, VF.into());
        self.switch.vf_reset_event(&pf, &mut self.vfs, VF.into());
        self.with(|m, _, pf| m.reset(pf));
    }

    /// The PF resets the device and comes up again.
    pub(crate) fn reset_device(&mut self) {
        self.with(|m, io, pf| m.before_pf_reset(io, pf));
        let pf = self.machine.pf();
        pf.write32(regs::CTRL, regs::CTRL_RST);
        pf.write32(regs::GPIE, regs::GPIE_MSIX_MODE | regs::GPIE_VTMODE_64);
        self.switch.macs.reset(&pf, &MAC, 2);
        let vfs = self.vfs.clone();
        self.switch.configure(&pf, &vfs);
        self.switch.rss.configure(&pf, self.switch.rss_place());
        pf.write32(regs::FCTRL, regs::FCTRL_BAM);
        pf.write32(regs::RXCTRL, regs::RXCTRL_RXEN);
        pf.write32(
            regs::DMATXCTL,
            pf.read32(regs::DMATXCTL) | regs::DMATXCTL_TE,
        );
        pf.write32(regs::MTQC, regs::MTQC_VT_ENA | regs::MTQC_64VF);
        pf.write32(regs::CTRL_EXT, regs::CTRL_EXT_PFRSTD);
        self.with(|m, io, pf| m.after_pf_reset(io, pf));
    }

    /// The VF writes a message, without waiting for anybody.
    pub(crate) fn vf_says(&self, words: &Words) {
        let vf = self.machine.vf(VF);
        vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_VFU);
        for (i, word) in (0..).zip(words) {
            vf.write32(regs::vfmbmem(i), *word);
        }
        vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_REQ);
    }

    /// The VF reads what the PF sent, and acknowledges it.
    pub(crate) fn vf_hears(&self) -> Option<Words> {
        let vf = self.machine.vf(VF);
        if vf.read32(regs::VFMAILBOX) & regs::VFMAILBOX_PFSTS == 0 {
            return None;
        }
        let words = core::array::from_fn(|i| vf.read32(regs::vfmbmem(i as u32)));
        vf.write32(regs::VFMAILBOX, regs::VFMAILBOX_ACK);
        Some(words)
    }

    pub(crate) fn ask(&mut self, words: &Words) -> Words {
        self.vf_says(words);
        self.serve();
        let answer = self.vf_hears().expect("the PF answers");
        self.serve();
        answer
    }

    pub(crate) fn request(&mut self, request: Request) -> u32 {
        self.ask(&request.encode())[0]
    }

    /// What a driver does in probe and open.
    pub(crate) fn bring_up(&mut self, cooperates: bool) {
        self.request(Request::Reset);
        assert!(self.request(Request::ApiNegotiate(8)) & VT_MSGTYPE_ACK != 0);
        let features = if cooperates {
            mbx_ext::FEATURE_MIGRATION
        } else {
            0
        };
        assert!(self.request(Request::FeaturesNegotiate(features)) & VT_MSGTYPE_ACK != 0);
        assert!(self.request(Request::SetMac(VF_MAC)) & VT_MSGTYPE_ACK != 0);
        assert!(
            self.request(Request::SetVlan {
                add: true,
                vid: 100
            }) & VT_MSGTYPE_ACK
                != 0
        );
        for queue in (0..2).filter(|_| cooperates) {
            let words = VfMessage::RegisterQueue(registration(queue)).words();
            assert!(self.ask(&words)[0] & VT_MSGTYPE_ACK != 0);
        }
        let vf = self.machine.vf(VF);
        vf.write32(regs::VTIVAR_MISC, 0x82);
        vf.write32(regs::vtivar(0), 0x8181_8080);
        vf.write32(regs::VTEIAC, 7);
        vf.write32(regs::VTEIMS, 7);
    }

    /// A frame for the VF from the wire.
    pub(crate) fn receive(&self, n: usize) -> Vec<u8> {
        let frame = frame(VF_MAC, PEER, 64 + n);
        assert!(self.machine.receive(&frame));
        frame
    }
}

pub(crate) fn registration(queue: u32) -> RegisterQueue {
    RegisterQueue {
        head: mbx_ext::VF_REGISTER_QUEUE,
        version: mbx_ext::EXT_VERSION,
        queue,
        queues: 2,
        caps: mbx_ext::CAPS_ALL,
        entries: 64,
        shadow_lo: 0x1000 * (queue + 1),
        shadow_hi: 0,
        shadow_len: 512,
        buffer_len: 2048,
        marking: 0,
        reserved: [0; 5],
    }
}

/// The rings of the VF's driver.
pub(crate) struct Rings<'a> {
    pub(crate) rx: [RxRing<'a>; 2],
    pub(crate) tx: [TxRing<'a>; 2],
}

impl<'a> Rings<'a> {
    pub(crate) fn new(machine: &'a Machine) -> Self {
        let f = Function::Vf(VF);
        Self {
            rx: [0, 1].map(|q| RxRing::new(machine, f, q, 64)),
            tx: [0, 1].map(|q| TxRing::new(machine, f, q, 64)),
        }
    }

    pub(crate) fn moved<'b>(&self, machine: &'b Machine) -> Rings<'b> {
        let f = Function::Vf(VF);
        Rings {
            rx: [self.rx[0].moved(machine, f), self.rx[1].moved(machine, f)],
            tx: [self.tx[0].moved(machine, f), self.tx[1].moved(machine, f)],
        }
    }

    pub(crate) fn take_all(&mut self) -> Vec<Vec<u8>> {
        let mut got: Vec<Vec<u8>> = Vec::new();
        for rx in &mut self.rx {
            while let Some(r) = rx.take() {
                got.push(r.frame);
            }
        }
        got
    }
}

pub(crate) fn save(host: &mut Host<'_>) -> (Vec<u8>, u32) {
    let (result, mmio) = host.with(|m, io, pf| m.suspend(io, pf));
    result.unwrap();
    let mut blob = vec![0; format::MAX_BYTES];
    let (result, more) = host.with(|m, io, pf| m.save(io, pf, &mut blob));
    blob.truncate(result.unwrap());
    (blob, mmio + more)
}

pub(crate) fn load(host: &mut Host<'_>, blob: &[u8]) -> (Result<(), Error>, u32) {
    host.with(|m, io, pf| m.suspend(io, pf)).0.unwrap();
    host.with(|m, io, pf| m.load(io, pf, blob))
}

pub(crate) fn resume(host: &mut Host<'_>) -> (libixgbe::migration::pf::Resumed, u32) {
    let (result, mmio) = host.with(|m, io, pf| m.resume(io, pf));
    (result.unwrap().unwrap(), mmio)
}

/// Most accesses to load and start a VF with one VLAN: RSS of its own takes 27.
pub(crate) fn load_budget(host: &Host<'_>) -> u32 {
    200 + if host.switch.chip.has_rss_of_pools() {
        27
    } else {
        0
    }
}

/// What a hypervisor does with a saved VF: its memory follows, the destination's VF is reset when it is opened, and takes
/// the state. Returns the driver's rings there, and the accesses to load.
pub(crate) fn carry<'b>(
    from: &Machine,
    to: &mut Host<'b>,
    rings: &Rings<'_>,
    blob: &[u8],
) -> (Rings<'b>, u32) {
    to.machine.copy_memory(from);
    to.reset_vf();
    let rings = rings.moved(to.machine);
    to.machine.take_written();
    let (loaded, mmio) = load(to, blob);
    loaded.unwrap();
    (rings, mmio)
}

/// Two hosts whose devices take heads back, of one chip after the other.
pub(crate) fn between_hosts(f: impl Fn(&mut Host<'_>, &mut Host<'_>)) {
    for make in [machine_with, x540_with, x550_with] {
        between([make; 2], &f);
    }
}

/// Makes a machine of one chip.
pub(crate) type Make = fn(HeadWrite) -> Machine;

/// Two hosts with these devices.
pub(crate) fn between(makes: [Make; 2], f: impl FnOnce(&mut Host<'_>, &mut Host<'_>)) {
    let machines = makes.map(|make| make(HeadWrite::Value));
    let [mut a, mut b] = machines.each_ref().map(Host::new);
    f(&mut a, &mut b);
}
