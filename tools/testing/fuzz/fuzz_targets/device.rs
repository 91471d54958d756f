// SPDX-License-Identifier: GPL-2.0
//! A hostile machine around the device: PF and VF drivers that write any register, rings and buffers with any content,
//! any frame on the wire, mailbox traffic, resets, and time.
//!
//! Beyond "no panic and no hang" it checks what a VF must not be able to do, and that the bus-master switch holds.
#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use ixgbe_model::host::{Clock, Dma, DmaError, Function, Interrupts, Wire};
use ixgbe_model::{Config, Device, HeadWrite, Quirks, ShortPaylen, MAX_VFS};
use libfuzzer_sys::fuzz_target;
use libixgbe::{desc, regs};
use zerocopy::IntoBytes;

/// Guest memory; every address below [`HOLE`] falls into it.
const MEMORY: usize = 1 << 16;
/// What it holds at first: broadcast frames with an IPv4 header all over, so that a buffer anywhere may have one.
static MEMORY_AT_START: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let ethernet = [0xff; 6].into_iter().chain(address(0)).chain([8, 0]);
    let frame = ethernet.chain([0x45]).chain([0x50; 49]);
    frame.cycle().take(MEMORY).collect()
});
/// Addresses with this bit are not mapped.
const HOLE: u64 = 1 << 40;
/// Memory accesses that one entry into the device may cost at most. A segmentation request of 256 KiB that goes to all
/// pools is the most expensive thing; a loop without bound goes beyond any number.
const MOST_ACCESSES: u64 = 40_000_000;

/// The machine.
struct Machine {
    memory: Vec<u8>,
    masters: u64,
    accesses: u64,
    now: u64,
    deadline: Option<u64>,
    kicked: bool,
    /// Whether the wire takes frames without asking to wait.
    wire_free: bool,
    vfs: u8,
}

impl Machine {
    fn check(&mut self, function: Function, address: u64) -> Result<usize, DmaError> {
        self.accesses += 1;
        assert!(self.accesses < MOST_ACCESSES, "no end in sight");
        assert!(
            self.bus_master(function),
            "DMA of {function:?} without bus mastering"
        );
        if let Function::Vf(vf) = function {
            assert!(vf < self.vfs, "DMA of a VF that is not there");
        }
        if address & HOLE != 0 {
            return Err(DmaError);
        }
        Ok((address % MEMORY as u64) as usize)
    }

    /// Memory is a ring, so that no access falls off its end.
    fn poke(&mut self, start: usize, mut data: &[u8]) {
        let mut start = start % MEMORY;
        while !data.is_empty() {
            let (head, rest) = data.split_at(data.len().min(MEMORY - start));
            self.memory[start..start + head.len()].copy_from_slice(head);
            (start, data) = (0, rest);
        }
    }
}

impl Dma for Machine {
    fn read(
        &mut self,
        function: Function,
        address: u64,
        buffer: &mut [u8],
    ) -> Result<(), DmaError> {
        let start = self.check(function, address)?;
        for chunk in buffer.chunks_mut(MEMORY) {
            let (head, rest) = chunk.split_at_mut(chunk.len().min(MEMORY - start));
            head.copy_from_slice(&self.memory[start..start + head.len()]);
            rest.copy_from_slice(&self.memory[..rest.len()]);
        }
        Ok(())
    }

    fn write(&mut self, function: Function, address: u64, data: &[u8]) -> Result<(), DmaError> {
        let start = self.check(function, address)?;
        self.poke(start, data);
        Ok(())
    }

    fn bus_master(&self, function: Function) -> bool {
        self.masters >> function.index() & 1 == 1
    }
}

impl Interrupts for Machine {
    fn msix(&mut self, function: Function, vector: u16) {
        let vectors = match function {
            Function::Pf => 64,
            Function::Vf(vf) => {
                assert!(vf < MAX_VFS);
                3
            }
        };
        assert!(vector < vectors, "{function:?} has no vector {vector}");
    }

    fn legacy(&mut self, _level: bool) {}
}

impl Wire for Machine {
    fn transmit(&mut self, frame: &[u8]) -> bool {
        assert!(!frame.is_empty() && frame.len() <= 16 << 10);
        self.wire_free
    }

    fn receive_ready(&mut self) {}
}

impl Clock for Machine {
    fn now(&self) -> u64 {
        self.now
    }

    fn arm(&mut self, deadline: Option<u64>) {
        self.deadline = deadline;
    }

    fn kick(&mut self) {
        self.kicked = true;
    }
}

/// Registers that lead somewhere, for the PF. Random addresses alone would mostly hit plain storage.
fn pf_register(which: u8, index: u8) -> u32 {
    let i = u32::from(index);
    let queue = i % 128;
    let vf = i % 64;
    const SINGLE: [u32; 33] = [
        regs::CTRL,
        regs::CTRL_EXT,
        regs::STATUS,
        regs::EICR,
        regs::EICS,
        regs::EIMS,
        regs::EIMC,
        regs::EIAC,
        regs::EIAM,
        regs::GPIE,
        regs::IVAR_MISC,
        regs::RXCTRL,
        regs::DMATXCTL,
        regs::MRQC,
        regs::MTQC,
        regs::VT_CTL,
        regs::GCR_EXT,
        regs::PFDTXGSWC,
        regs::FCTRL,
        regs::MCSTCTRL,
        regs::VLNCTRL,
        regs::HLREG0,
        regs::MAXFRS,
        regs::QDE,
        regs::RTTDQSEL,
        regs::RTTBCNRC,
        regs::AUTOC,
        regs::LINKS,
        regs::FCCFG,
        regs::DTXTCPFLGL,
        regs::MFLCN,
        regs::EERD,
        regs::SWSM,
    ];
    match which % 64 {
        33 => regs::rdbal(queue),
        34 => regs::rdbah(queue),
        35 => regs::rdlen(queue),
        36 => regs::rdh(queue),
        37 => regs::rdt(queue),
        38 => regs::rxdctl(queue),
        39 => regs::srrctl(queue),
        40 => regs::tdbal(queue),
        41 => regs::tdbah(queue),
        42 => regs::tdlen(queue),
        43 => regs::tdh(queue),
        44 => regs::tdt(queue),
        45 => regs::txdctl(queue),
        46 => regs::tdwbal(queue),
        47 => regs::ivar(queue % 64),
        48 => regs::eitr(queue % 64),
        49 => regs::vmolr(vf),
        50 => regs::vmvir(vf),
        51 => regs::vlvf(vf),
        52 => regs::vlvfb(queue),
        53 => regs::vfre(i % 2),
        54 => regs::vfte(i % 2),
        55 => regs::pfvfspoof(i % 8),
        56 => regs::pfmailbox(vf),
        57 => regs::vflrec(i % 2),
        58 => regs::pfmbicr(i % 4),
        59 => regs::rah(queue),
        60 => regs::mpsar_lo(queue),
        61 => regs::mpsar_hi(queue),
        62 => regs::rxpbsize(0),
        63 => regs::fcrth(0),
        single => SINGLE[usize::from(single) % SINGLE.len()],
    }
}

/// The same for a VF.
fn vf_register(which: u8, index: u8) -> u32 {
    let i = u32::from(index % 8);
    const SINGLE: [u32; 10] = [
        regs::VFCTRL,
        regs::VFMAILBOX,
        regs::VTEICR,
        regs::VTEICS,
        regs::VTEIMS,
        regs::VTEIMC,
        regs::VTEIAC,
        regs::VTEIAM,
        regs::VTIVAR_MISC,
        regs::VFPSRTYPE,
    ];
    match which % 32 {
        10 => regs::vfrdbal(i),
        11 => regs::vfrdbah(i),
        12 => regs::vfrdlen(i),
        13 => regs::vfrdh(i),
        14 => regs::vfrdt(i),
        15 => regs::vfrxdctl(i),
        16 => regs::vfsrrctl(i),
        17 => regs::vftdbal(i),
        18 => regs::vftdbah(i),
        19 => regs::vftdlen(i),
        20 => regs::vftdh(i),
        21 => regs::vftdt(i),
        22 => regs::vftxdctl(i),
        23 => regs::vftdwbal(i),
        24 => regs::vfmbmem(i),
        25 => regs::vtivar(i % 4),
        26 => regs::vteitr(i % 2),
        27 => regs::vtrscint(i % 3),
        single => SINGLE[usize::from(single) % SINGLE.len()],
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Who {
    Pf,
    Vf(u8),
}

impl Who {
    fn function(self) -> Function {
        match self {
            Self::Pf => Function::Pf,
            Self::Vf(vf) => Function::Vf(vf % MAX_VFS),
        }
    }

    fn register(self, which: u8, index: u8) -> u32 {
        match self {
            Self::Pf => pf_register(which, index),
            Self::Vf(_) => vf_register(which, index),
        }
    }
}

/// A descriptor's options, so that mutations meet fields rather than bits.
#[derive(Arbitrary, Debug)]
struct Packet {
    context: Option<Context>,
    /// Command bits 31:20 of a data descriptor; legacy if DEXT is not among them.
    command: u16,
    options: u8,
    length: u16,
    honest: bool,
}

#[derive(Arbitrary, Debug)]
enum Context {
    /// One that fits the headers that stand in front of every buffer's memory.
    Right {
        v6: bool,
        tcp: bool,
        mss: u8,
    },
    Any([u8; 16]),
}

impl Context {
    fn bytes(&self) -> [u8; 16] {
        let (lengths, tucmd, mss) = match self {
            Self::Any(bytes) => return *bytes,
            Self::Right { v6, tcp, mss } => {
                let (ip_len, v4) = if *v6 {
                    (40u32, 0)
                } else {
                    (20, desc::ADVTXD_TUCMD_IPV4)
                };
                let (l4_len, l4) = if *tcp {
                    (20u32, desc::ADVTXD_TUCMD_L4T_TCP)
                } else {
                    (8, desc::ADVTXD_TUCMD_L4T_UDP)
                };
                let mss = u32::from(*mss) * 8 << desc::ADVTXD_MSS_SHIFT;
                (
                    14 << desc::ADVTXD_MACLEN_SHIFT | ip_len,
                    v4 | l4,
                    mss | l4_len << desc::ADVTXD_L4LEN_SHIFT,
                )
            }
        };
        let descriptor = desc::AdvTxContext {
            vlan_macip_lens: lengths.into(),
            fceof_saidx: 0.into(),
            type_tucmd_mlhl: tucmd.into(),
            mss_l4len_idx: mss.into(),
        };
        let mut bytes = [0; 16];
        bytes.copy_from_slice(descriptor.as_bytes());
        bytes
    }

    /// Bytes of the headers that a segmentation with it takes off PAYLEN.
    fn headers(&self) -> u32 {
        let [ip, mac, .., l4, _, _] = self.bytes();
        u32::from(ip) + u32::from(mac & 1) * 256 + u32::from(mac >> 1) + u32::from(l4)
    }
}

#[derive(Arbitrary, Debug)]
enum Step {
    Read(Who, u16),
    Write(Who, u16, u32),
    Known(Who, u8, u8, u32),
    Poke(u16, [u8; 16]),
    /// A ring in memory: queue, transmit, base / 128, descriptors / 8, tail.
    Ring(u8, bool, u8, u8, u8),
    /// A packet's descriptors at a queue's tail, and the tail behind them.
    Send(u8, Packet),
    Receive(Frame),
    Message(u8, bool, [u32; 4]),
    Flr(Who),
    Vfs(u8),
    Master(u8, bool),
    Link(bool),
    Wire(bool),
    Advance(u16),
}

/// A frame that some filter may like.
#[derive(Arbitrary, Debug)]
struct Frame {
    destination: Destination,
    vlan: Option<u16>,
    body: Body,
}

#[derive(Arbitrary, Debug)]
enum Body {
    Ip {
        v6: bool,
        protocol: Protocol,
        rest: Vec<u8>,
    },
    Any(Vec<u8>),
    Long(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Protocol {
    Tcp = 6,
    Udp = 17,
    Sctp = 132,
    Fragment = 44,
    Options = 60,
}

impl Body {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Any(bytes) => bytes.clone(),
            Self::Long(length) => vec![0x45; usize::from(length % 16_000)],
            Self::Ip { v6, protocol, rest } => {
                let protocol = *protocol as u8;
                let mut bytes = if *v6 {
                    let mut header = vec![0x86, 0xdd, 0x60, 0, 0, 0];
                    header.extend((rest.len() as u16).to_be_bytes());
                    header.extend([protocol, 64]);
                    header.resize(42, 1);
                    header
                } else {
                    let mut header = vec![0x08, 0x00, 0x45, 0];
                    header.extend((rest.len() as u16 + 20).to_be_bytes());
                    header.extend([0, 0, 0, 0, 64, protocol]);
                    header.resize(22, 1);
                    header
                };
                bytes.extend(rest);
                bytes
            }
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Destination {
    Broadcast,
    Pool(u8),
    Any([u8; 6]),
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = match self.destination {
            Destination::Broadcast => vec![0xff; 6],
            Destination::Pool(pool) => address(pool).to_vec(),
            Destination::Any(address) => address.to_vec(),
        };
        bytes.extend(address(0));
        if let Some(tag) = self.vlan {
            bytes.extend([0x81, 0x00]);
            bytes.extend((tag & 0xf003).to_be_bytes());
        }
        bytes.extend(self.body.bytes());
        bytes
    }
}

fn address(pool: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, pool % 64]
}

struct Run {
    device: Device,
    machine: Machine,
}

impl Run {
    /// A device as a PF driver with SR-IOV leaves it: 64 pools, an address, a VLAN and two small rings for each of a few.
    fn new(head_write: HeadWrite, quirks: Quirks) -> Self {
        let config = Config {
            quirks,
            ..Config::new(address(63), head_write)
        };
        let machine = Machine {
            memory: MEMORY_AT_START.clone(),
            masters: u64::MAX,
            accesses: 0,
            now: 1,
            deadline: None,
            kicked: false,
            wire_free: true,
            vfs: MAX_VFS,
        };
        let mut run = Self {
            device: Device::new(config),
            machine,
        };
        run.device.set_vfs(&mut run.machine, MAX_VFS);
        let vmolr = regs::VMOLR_AUPE | regs::VMOLR_BAM | regs::VMOLR_ROMPE;
        for (register, value) in [
            (
                regs::GCR_EXT,
                regs::GCR_EXT_VT_MODE_64 | regs::GCR_EXT_MSIX_EN,
            ),
            (regs::GPIE, regs::GPIE_MSIX_MODE | regs::GPIE_VTMODE_64),
            (
                regs::MRQC,
                regs::MRQC_VMDQRSS64EN | regs::MRQC_RSS_FIELD_IPV4,
            ),
            (regs::MTQC, regs::MTQC_VT_ENA | regs::MTQC_64VF),
            (
                regs::VT_CTL,
                regs::VT_CTL_VT_ENABLE | regs::VT_CTL_REPLEN | 63 << regs::VT_CTL_POOL_SHIFT,
            ),
            (regs::PFDTXGSWC, regs::PFDTXGSWC_VT_LBEN),
            (regs::RXCTRL, regs::RXCTRL_RXEN),
            (
                regs::DMATXCTL,
                0x8100 << regs::DMATXCTL_VT_SHIFT | regs::DMATXCTL_TE,
            ),
            (regs::EIMS, u32::MAX),
            (regs::CTRL_EXT, regs::CTRL_EXT_PFRSTD),
            (regs::vfre(0), u32::MAX),
            (regs::vfre(1), u32::MAX),
            (regs::vfte(0), u32::MAX),
            (regs::vfte(1), u32::MAX),
        ] {
            run.pf(register, value);
        }
        for i in [0, 1, 2, 63] {
            run.pf(regs::ivar(i), 0x8180_8180);
        }
        run.pf(regs::IVAR_MISC, 0x8282);
        for vf in 0..4 {
            let vf = Function::Vf(vf);
            run.enter(|device, machine| {
                device.write(machine, vf, regs::vtivar(0), 0x8180_8180);
                device.write(machine, vf, regs::VTIVAR_MISC, 0x82);
                device.write(machine, vf, regs::VTEIMS, 7);
            });
        }
        for pool in [0u8, 1, 2, 63] {
            let i = u32::from(pool);
            let [a, b, c, d, e, f] = address(pool);
            run.pf(regs::ral(i), u32::from_le_bytes([a, b, c, d]));
            run.pf(
                regs::rah(i),
                regs::RAH_AV | u32::from(u16::from_le_bytes([e, f])),
            );
            let bit = |half: u8| {
                if pool / 32 == half {
                    1 << (pool % 32)
                } else {
                    0
                }
            };
            run.pf(regs::mpsar_lo(i), bit(0));
            run.pf(regs::mpsar_hi(i), bit(1));
            run.pf(regs::vmolr(i), vmolr);
            for queue in [pool * 2, pool * 2 + 1] {
                run.pf(
                    regs::srrctl(u32::from(queue)),
                    2 | regs::SRRCTL_DESCTYPE_ADV_ONEBUF,
                );
                let base = (pool % 4 * 4 + queue % 2 * 2) * 16;
                run.ring(queue, false, base, 2, 15);
                run.ring(queue, true, base + 16, 2, 0);
            }
        }
        run
    }

    fn pf(&mut self, register: u32, value: u32) {
        self.enter(|device, machine| device.write(machine, Function::Pf, register, value));
    }

    /// Enters the device and checks that it comes back in time.
    fn enter(&mut self, step: impl FnOnce(&mut Device, &mut Machine)) {
        self.machine.accesses = 0;
        step(&mut self.device, &mut self.machine);
    }

    /// As `enter` for something that a VF does, which must leave the PF's configuration alone.
    fn enter_as(&mut self, who: Who, step: impl FnOnce(&mut Device, &mut Machine)) {
        let before = matches!(who, Who::Vf(_)).then(|| self.policy());
        self.enter(step);
        if let Some(before) = before {
            assert_eq!(
                before,
                self.policy(),
                "{who:?} changed what belongs to the PF"
            );
        }
    }

    /// Registers that no VF may change.
    fn policy(&mut self) -> Vec<u32> {
        let mut registers = vec![
            regs::CTRL_EXT,
            regs::GPIE,
            regs::MRQC,
            regs::MTQC,
            regs::VT_CTL,
            regs::GCR_EXT,
            regs::PFDTXGSWC,
            regs::FCTRL,
            regs::RXCTRL,
            regs::DMATXCTL,
            regs::VLNCTRL,
            regs::HLREG0,
            regs::EIMS,
            regs::EIAC,
            regs::EIAM,
        ];
        registers.extend((0..8).map(regs::pfvfspoof));
        for pool in [0, 1, 2, 63] {
            registers.extend([
                regs::vmolr(pool),
                regs::vmvir(pool),
                regs::ral(pool),
                regs::rah(pool),
            ]);
            registers.extend([regs::mpsar_lo(pool), regs::mpsar_hi(pool), regs::vlvf(pool)]);
        }
        // The PF's own queues.
        registers.extend([126, 127].map(regs::rdbal));
        registers.extend([126, 127].map(regs::tdlen));
        registers
            .into_iter()
            .map(|register| self.device.read(&mut self.machine, Function::Pf, register))
            .collect()
    }

    fn ring(&mut self, queue: u8, transmit: bool, base: u8, units: u8, tail: u8) {
        let q = u32::from(queue % 128);
        let (bal, len, head, ctl, t) = if transmit {
            (
                regs::tdbal(q),
                regs::tdlen(q),
                regs::tdh(q),
                regs::txdctl(q),
                regs::tdt(q),
            )
        } else {
            (
                regs::rdbal(q),
                regs::rdlen(q),
                regs::rdh(q),
                regs::rxdctl(q),
                regs::rdt(q),
            )
        };
        self.pf(ctl, 0);
        self.pf(bal, u32::from(base) * 128);
        self.pf(len, u32::from(units) * 128);
        self.pf(head, 0);
        self.pf(ctl, regs::TXDCTL_ENABLE);
        self.pf(t, u32::from(tail));
    }

    fn send(&mut self, queue: u8, packet: &Packet) {
        let q = u32::from(queue % 128);
        let mut read = |register| self.device.read(&mut self.machine, Function::Pf, register);
        let base = u64::from(read(regs::tdbah(q))) << 32 | u64::from(read(regs::tdbal(q)));
        let count = (read(regs::tdlen(q)) / 16).max(1);
        let mut tail = read(regs::tdt(q)) % count;
        let mut put = |bytes: &[u8; 16], machine: &mut Machine| {
            let at = base.wrapping_add(u64::from(tail) * 16) % MEMORY as u64;
            machine.poke(at as usize, bytes);
            tail = (tail + 1) % count;
        };
        let mut headers = 0;
        if let Some(context) = &packet.context {
            if u32::from(packet.command) << 16 & desc::ADVTXD_DCMD_TSE != 0 {
                headers = context.headers();
            }
            let mut context = context.bytes();
            // Type and extension are what makes it one.
            context[10] = context[10] & 0x0f | 0x20;
            context[11] |= 0x20;
            put(&context, &mut self.machine);
        }
        let payload = if packet.honest {
            u32::from(packet.length).wrapping_sub(headers)
        } else {
            packet.command.into()
        };
        let mut data = [0; 16];
        data[8..12].copy_from_slice(
            &(u32::from(packet.command) << 16 | 0x0130_0000 | u32::from(packet.length))
                .to_le_bytes(),
        );
        data[12..].copy_from_slice(&(payload << 14 | u32::from(packet.options) << 4).to_le_bytes());
        put(&data, &mut self.machine);
        self.pf(regs::tdt(q), tail);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Read(who, at) => {
                let function = who.function();
                self.enter_as(*who, |device, machine| {
                    device.read(machine, function, u32::from(*at) * 4);
                });
            }
            Step::Write(who, at, value) => {
                let function = who.function();
                self.enter_as(*who, |device, machine| {
                    device.write(machine, function, u32::from(*at) * 4, *value);
                });
            }
            Step::Known(who, which, index, value) => {
                let register = who.register(*which, *index);
                let function = who.function();
                self.enter_as(*who, |device, machine| {
                    device.write(machine, function, register, *value);
                });
            }
            Step::Poke(at, bytes) => self.machine.poke(usize::from(*at) & !15, bytes),
            Step::Ring(queue, transmit, base, units, tail) => {
                self.ring(*queue, *transmit, *base, *units, *tail);
            }
            Step::Send(queue, packet) => self.send(*queue, packet),
            Step::Receive(frame) => {
                let bytes = frame.bytes();
                self.enter(|device, machine| {
                    if device.can_receive() {
                        device.receive(machine, &bytes);
                    }
                });
            }
            Step::Message(vf, from_pf, words) => self.message(*vf, *from_pf, words),
            Step::Flr(Who::Pf) => self.enter(|device, machine| device.pf_reset(machine)),
            Step::Flr(Who::Vf(vf)) => {
                self.enter_as(Who::Vf(*vf), |device, machine| {
                    device.vf_reset(machine, vf % MAX_VFS);
                });
            }
            Step::Vfs(count) => {
                self.machine.vfs = count % (MAX_VFS + 1);
                self.enter(|device, machine| device.set_vfs(machine, count % (MAX_VFS + 1)));
            }
            Step::Master(function, on) => {
                let bit = 1u64 << (function % 64);
                if *on {
                    self.machine.masters |= bit;
                } else {
                    self.machine.masters &= !bit;
                }
                self.enter(|device, machine| device.bus_master_changed(machine));
            }
            Step::Link(up) => self.enter(|device, machine| device.set_link(machine, *up)),
            Step::Wire(free) => {
                self.machine.wire_free = *free;
                if *free {
                    self.enter(|device, machine| device.wire_ready(machine));
                }
            }
            Step::Advance(microseconds) => {
                self.machine.now += u64::from(*microseconds) * 1000;
                if self
                    .machine
                    .deadline
                    .is_some_and(|deadline| deadline <= self.machine.now)
                {
                    self.machine.deadline = None;
                    self.enter(|device, machine| device.timer(machine));
                }
            }
        }
        if std::mem::take(&mut self.machine.kicked) {
            self.enter(|device, machine| device.work(machine));
        }
    }

    /// A message as either driver sends it; at most one side may own the buffer at any time.
    fn message(&mut self, vf: u8, from_pf: bool, words: &[u32; 4]) {
        let vf = vf % MAX_VFS;
        let v = u32::from(vf);
        let (function, control, memory) = if from_pf {
            (Function::Pf, regs::pfmailbox(v), regs::pfmbmem(v))
        } else {
            (Function::Vf(vf), regs::VFMAILBOX, regs::vfmbmem(0))
        };
        let (own, send) = if from_pf {
            (regs::PFMAILBOX_PFU, regs::PFMAILBOX_STS)
        } else {
            (regs::VFMAILBOX_VFU, regs::VFMAILBOX_REQ)
        };
        let (device, machine) = (&mut self.device, &mut self.machine);
        machine.accesses = 0;
        device.write(machine, function, control, own);
        let state = device.read(machine, Function::Pf, regs::pfmailbox(v));
        assert_ne!(
            state & (regs::PFMAILBOX_PFU | regs::PFMAILBOX_VFU),
            regs::PFMAILBOX_PFU | regs::PFMAILBOX_VFU,
            "both own the buffer"
        );
        let mine = if from_pf {
            regs::PFMAILBOX_PFU
        } else {
            regs::PFMAILBOX_VFU
        };
        if state & mine == 0 {
            return;
        }
        for (i, word) in (0..).zip(words) {
            device.write(machine, function, memory + 4 * i, *word);
        }
        device.write(machine, function, control, send);
        let other = if from_pf {
            (Function::Vf(vf), regs::vfmbmem(0))
        } else {
            (Function::Pf, regs::pfmbmem(v))
        };
        for (i, word) in (0..).zip(words) {
            assert_eq!(device.read(machine, other.0, other.1 + 4 * i), *word);
        }
    }
}

/// Any mix of what cards may do.
fn quirks(bits: u32) -> Quirks {
    let on = |bit: u32| bits >> bit & 1 == 1;
    Quirks {
        batch: on(0),
        rx_batch: if on(0) { bits >> 28 } else { 0 },
        tx_sticks: if on(1) { 0b101 } else { 0 },
        rx_sticks: if on(2) { 0b101 } else { 0 },
        start_needs_link: on(3),
        stop_needs_link: on(4),
        enable_zeroes_head: on(5),
        fetch_ahead: if on(6) { bits >> 24 & 15 } else { 0 },
        lose_contexts: on(7),
        switch_obeys_maxfrs: on(8),
        short_paylen: match bits >> 9 & 3 {
            1 => ShortPaylen::Drop,
            2 => ShortPaylen::Hang,
            _ => ShortPaylen::Send,
        },
        firmware_error: on(11),
        stray_mdd: on(12),
        any_sfp: on(13),
        no_sfp_init: on(14),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let Ok(policy) = input.int_in_range(0..=2) else {
        return;
    };
    let policies = [HeadWrite::Value, HeadWrite::Zero, HeadWrite::Ignore];
    let mut run = Run::new(policies[policy], quirks(input.arbitrary().unwrap_or(0)));
    // A bound, so that long inputs stay about states and not about length.
    for _ in 0..256 {
        if input.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut input) else {
            break;
        };
        run.step(&step);
    }
});
