// SPDX-License-Identifier: GPL-2.0
//! A driver for tests: brings the device up the way the C driver does, and owns rings.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod asking;
pub(crate) mod moving;
pub(crate) mod wanderer;

use ixgbe_model::host::Function;
use ixgbe_model::testing::{Machine, Port};
use ixgbe_model::{Chip, Config, HeadWrite};
use libixgbe::{desc, regs, Regs};
use zerocopy::{FromBytes, IntoBytes};

/// The machine's memory.
pub(crate) const MEMORY: usize = 8 << 20;
/// The address in the model's EEPROM.
pub(crate) const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// A station on the wire.
pub(crate) const PEER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];

/// A machine with receive and transmit units on, without VMDq.
pub(crate) fn machine() -> Machine {
    machine_with(HeadWrite::Value)
}

/// The same with a head policy.
pub(crate) fn machine_with(policy: HeadWrite) -> Machine {
    machine_of(policy, MEMORY)
}

/// The same with so much memory.
pub(crate) fn machine_of(policy: HeadWrite, memory: usize) -> Machine {
    switched_on(Machine::new(policy, memory))
}

/// The same with an X540.
pub(crate) fn x540_with(policy: HeadWrite) -> Machine {
    chip_with(Chip::X540, policy)
}

/// The same with an X550.
pub(crate) fn x550_with(policy: HeadWrite) -> Machine {
    chip_with(Chip::X550, policy)
}

fn chip_with(chip: Chip, policy: HeadWrite) -> Machine {
    let config = Config {
        chip,
        ..Config::new(MAC, policy)
    };
    switched_on(Machine::with(config, MEMORY))
}

/// Switches receive and transmit units on.
pub(crate) fn switched_on(machine: Machine) -> Machine {
    let pf = machine.pf();
    pf.write32(regs::FCTRL, regs::FCTRL_BAM);
    pf.write32(regs::RXCTRL, regs::RXCTRL_RXEN);
    pf.write32(
        regs::DMATXCTL,
        pf.read32(regs::DMATXCTL) | regs::DMATXCTL_TE,
    );
    machine
}

/// The address of VF v.
pub(crate) fn vf_mac(vf: u8) -> [u8; 6] {
    [0x02, 0, 0, 0, 1, vf]
}

/// Writes receive address `i`, for these pools.
pub(crate) fn set_address(pf: Port<'_>, i: u32, mac: [u8; 6], pools: u64) {
    let [a, b, c, d, e, f] = mac;
    pf.write32(regs::ral(i), u32::from_le_bytes([a, b, c, d]));
    pf.write32(
        regs::rah(i),
        regs::RAH_AV | u32::from(u16::from_le_bytes([e, f])),
    );
    pf.write32(regs::mpsar_lo(i), pools as u32);
    pf.write32(regs::mpsar_hi(i), (pools >> 32) as u32);
}

/// SR-IOV with 64 pools of two queues, local switching, MSI-X; VF v has receive address 1 + v.
pub(crate) fn sriov(vfs: u8) -> Machine {
    sriov_on(machine(), vfs)
}

/// The same on this machine.
pub(crate) fn sriov_on(machine: Machine, vfs: u8) -> Machine {
    let pf = machine.pf();
    machine.set_vfs(vfs);
    pf.write32(regs::GCR_EXT, regs::GCR_EXT_SRIOV);
    pf.write32(
        regs::GPIE,
        regs::GPIE_MSIX_MODE | regs::GPIE_EIAME | regs::GPIE_PBA_SUPPORT | regs::GPIE_VTMODE_64,
    );
    let default_pool = u32::from(vfs) << regs::VT_CTL_POOL_SHIFT;
    pf.write32(
        regs::VT_CTL,
        regs::VT_CTL_VT_ENABLE | regs::VT_CTL_REPLEN | default_pool,
    );
    pf.write32(regs::MRQC, regs::MRQC_VMDQRSS64EN);
    pf.write32(regs::MTQC, regs::MTQC_VT_ENA | regs::MTQC_64VF);
    pf.write32(regs::PFDTXGSWC, regs::PFDTXGSWC_VT_LBEN);
    for gate in 0..2 {
        pf.write32(regs::vfre(gate), u32::MAX);
        pf.write32(regs::vfte(gate), u32::MAX);
    }
    set_address(pf, 0, MAC, 1 << vfs);
    pf.write32(
        regs::vmolr(u32::from(vfs)),
        regs::VMOLR_AUPE | regs::VMOLR_BAM,
    );
    for vf in 0..vfs {
        set_address(pf, 1 + u32::from(vf), vf_mac(vf), 1 << vf);
        pf.write32(
            regs::vmolr(u32::from(vf)),
            regs::VMOLR_AUPE | regs::VMOLR_BAM,
        );
    }
    pf.write32(regs::CTRL_EXT, regs::CTRL_EXT_PFRSTD);
    machine
}

/// A frame with these addresses, ether type of the local experiment, and a payload that says its length.
pub(crate) fn frame(destination: [u8; 6], source: [u8; 6], length: usize) -> Vec<u8> {
    let mut frame = [&destination[..], &source[..], &[0x88, 0xB5]].concat();
    frame.extend((frame.len()..length).map(|i| i as u8));
    frame
}

/// UDP of IPv4 from a port of the station's.
pub(crate) fn datagram(to: [u8; 6], port: u16) -> Vec<u8> {
    let mut frame = vec![];
    etherparse::PacketBuilder::ethernet2(PEER, to)
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(port, 9)
        .write(&mut frame, &[0; 18])
        .unwrap();
    frame
}

/// A queue of one function and its ring: what both directions have in common.
#[derive(Clone, Copy)]
pub(crate) struct Queue<'a> {
    machine: &'a Machine,
    port: Port<'a>,
    registers: Registers,
    pub(crate) base: u64,
    pub(crate) count: u32,
    pub(crate) next: u32,
}

/// Where the registers of a queue are, in the space of its function.
#[derive(Clone, Copy)]
struct Registers {
    base_low: u32,
    base_high: u32,
    length: u32,
    head: u32,
    tail: u32,
    control: u32,
}

impl<'a> Queue<'a> {
    /// Sets up a stopped queue with a ring of zeros.
    fn new(machine: &'a Machine, function: Function, registers: Registers, count: u32) -> Self {
        let queue = Self {
            machine,
            port: machine.port(function),
            registers,
            base: machine.allocate(count as usize * 16, 128),
            count,
            next: 0,
        };
        queue.write(registers.base_low, queue.base as u32);
        queue.write(registers.base_high, (queue.base >> 32) as u32);
        queue.write(registers.length, count * 16);
        queue.write(registers.head, 0);
        queue.write(registers.tail, 0);
        queue
    }

    fn write(&self, register: u32, value: u32) {
        self.port.write32(register, value);
    }

    /// ENABLE is the same bit in RXDCTL and TXDCTL.
    fn enable(&self, options: u32) {
        self.write(self.registers.control, regs::RXDCTL_ENABLE | options);
    }

    /// The same queue of another machine with the same memory.
    fn moved<'b>(&self, machine: &'b Machine, function: Function) -> Queue<'b> {
        Queue {
            machine,
            port: machine.port(function),
            ..*self
        }
    }

    /// The head.
    pub(crate) fn head(&self) -> u32 {
        self.port.read32(self.registers.head)
    }

    fn set_tail(&self, tail: u32) {
        self.write(self.registers.tail, tail);
    }

    /// Bus address of descriptor `slot`.
    pub(crate) fn slot(&self, slot: u32) -> u64 {
        self.base + u64::from(slot % self.count) * 16
    }
}

/// A receive ring of one function.
pub(crate) struct RxRing<'a> {
    queue: Queue<'a>,
    buffers: Vec<u64>,
    pub(crate) buffer_size: usize,
}

impl<'a> std::ops::Deref for RxRing<'a> {
    type Target = Queue<'a>;

    fn deref(&self) -> &Queue<'a> {
        &self.queue
    }
}

/// What came out of a receive ring.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Received {
    /// The frame, from as many buffers as it took.
    pub(crate) frame: Vec<u8>,
    /// Write-back of the last descriptor.
    pub(crate) last: desc::AdvRxWb,
    /// Descriptors used.
    pub(crate) descriptors: u32,
}

impl<'a> RxRing<'a> {
    /// Sets up a queue of the PF's space, or of a VF's, with advanced descriptors and 2 KiB buffers, all posted.
    pub(crate) fn new(machine: &'a Machine, function: Function, queue: u32, count: u32) -> Self {
        Self::with(
            machine,
            function,
            queue,
            count,
            2,
            regs::SRRCTL_DESCTYPE_ADV_ONEBUF,
        )
    }

    /// The same with buffers of `kib` KiB and SRRCTL bits.
    pub(crate) fn with(
        machine: &'a Machine,
        function: Function,
        queue: u32,
        count: u32,
        kib: u32,
        split_control: u32,
    ) -> Self {
        let vf = function != Function::Pf;
        let split = if vf {
            regs::vfsrrctl(queue)
        } else {
            regs::srrctl(queue)
        };
        let registers = if vf {
            Registers {
                base_low: regs::vfrdbal(queue),
                base_high: regs::vfrdbah(queue),
                length: regs::vfrdlen(queue),
                head: regs::vfrdh(queue),
                tail: regs::vfrdt(queue),
                control: regs::vfrxdctl(queue),
            }
        } else {
            Registers {
                base_low: regs::rdbal(queue),
                base_high: regs::rdbah(queue),
                length: regs::rdlen(queue),
                head: regs::rdh(queue),
                tail: regs::rdt(queue),
                control: regs::rxdctl(queue),
            }
        };
        let buffer_size = (kib as usize) << 10;
        let ring = Self {
            queue: Queue::new(machine, function, registers, count),
            buffers: (0..count)
                .map(|_| machine.allocate(buffer_size, 1024))
                .collect(),
            buffer_size,
        };
        ring.write(split, split_control | kib);
        ring.enable(0);
        for slot in 0..count {
            ring.refill(slot);
        }
        ring.post();
        ring
    }

    /// The same ring, in another machine with the same memory: what a guest's driver has after its VM moved.
    pub(crate) fn moved<'b>(&self, machine: &'b Machine, function: Function) -> RxRing<'b> {
        RxRing {
            queue: self.queue.moved(machine, function),
            buffers: self.buffers.clone(),
            buffer_size: self.buffer_size,
        }
    }

    /// What a driver does that is told to re-arm: all buffers are posted from index 0, where the queue starts.
    pub(crate) fn rearm(&mut self) {
        assert_eq!(
            self.port.read32(self.registers.control) & regs::RXDCTL_ENABLE,
            0,
            "the ring of a running queue was rewritten"
        );
        self.rewind();
        self.write(self.registers.head, 0);
        self.set_tail(0);
        self.enable(0);
        self.post();
    }

    /// The part of it that is done in memory.
    pub(crate) fn rewind(&mut self) {
        self.queue.next = 0;
        for slot in 0..self.count {
            self.refill(slot);
        }
    }

    /// Switches VLAN stripping.
    pub(crate) fn strip_vlan(&self, on: bool) {
        self.enable(if on { regs::RXDCTL_VME } else { 0 });
    }

    /// Limits the frames of the queue (RXDCTL.RLPML), with their FCS.
    pub(crate) fn limit(&self, bytes: Option<usize>) {
        self.enable(bytes.map_or(0, |bytes| regs::RXDCTL_RLPML_EN | bytes as u32));
    }

    /// Gives a buffer to the device; the tail says nothing of it yet.
    fn refill(&self, slot: u32) {
        let read = desc::AdvRxRead {
            pkt_addr: self.buffers[slot as usize].into(),
            hdr_addr: 0.into(),
        };
        self.machine.store(self.slot(slot), read.as_bytes());
    }

    /// Posts all buffers but one: equal head and tail would mean none.
    fn post(&self) {
        self.set_tail((self.next + self.count - 1) % self.count);
    }

    /// Takes the next frame out, if there is one, and posts its buffers again.
    pub(crate) fn take(&mut self) -> Option<Received> {
        let mut frame = Vec::new();
        let mut descriptors = 0;
        loop {
            let slot = (self.next + descriptors) % self.count;
            let bytes = self.machine.load(self.slot(slot), 16);
            let back = desc::AdvRxWb::read_from_bytes(&bytes).unwrap();
            if back.status_error.get() & desc::RXD_STAT_DD == 0 {
                assert_eq!(descriptors, 0, "a frame without its end");
                return None;
            }
            let length = usize::from(back.length.get());
            frame.extend(self.machine.load(self.buffers[slot as usize], length));
            descriptors += 1;
            if back.status_error.get() & desc::RXD_STAT_EOP != 0 {
                for used in 0..descriptors {
                    self.refill((self.next + used) % self.count);
                }
                self.queue.next = (self.next + descriptors) % self.count;
                self.post();
                return Some(Received {
                    frame,
                    last: back,
                    descriptors,
                });
            }
            assert_eq!(
                length, self.buffer_size,
                "only the last buffer of a frame is partly filled"
            );
        }
    }
}

/// A transmit ring of one function.
pub(crate) struct TxRing<'a>(Queue<'a>);

impl<'a> std::ops::Deref for TxRing<'a> {
    type Target = Queue<'a>;

    fn deref(&self) -> &Queue<'a> {
        &self.0
    }
}

impl<'a> TxRing<'a> {
    /// Sets up and enables a queue.
    pub(crate) fn new(machine: &'a Machine, function: Function, queue: u32, count: u32) -> Self {
        let registers = if function != Function::Pf {
            Registers {
                base_low: regs::vftdbal(queue),
                base_high: regs::vftdbah(queue),
                length: regs::vftdlen(queue),
                head: regs::vftdh(queue),
                tail: regs::vftdt(queue),
                control: regs::vftxdctl(queue),
            }
        } else {
            Registers {
                base_low: regs::tdbal(queue),
                base_high: regs::tdbah(queue),
                length: regs::tdlen(queue),
                head: regs::tdh(queue),
                tail: regs::tdt(queue),
                control: regs::txdctl(queue),
            }
        };
        let ring = Self(Queue::new(machine, function, registers, count));
        ring.enable(0);
        ring
    }

    /// The same ring, in another machine with the same memory.
    pub(crate) fn moved<'b>(&self, machine: &'b Machine, function: Function) -> TxRing<'b> {
        TxRing(self.0.moved(machine, function))
    }

    /// Takes descriptors back that the device was never told of.
    pub(crate) fn unsend(&mut self, descriptors: u32) {
        self.0.next = (self.next + self.count - descriptors) % self.count;
    }

    /// What a driver does that is told to re-arm: what was not sent, from `head` on, moves to the front.
    pub(crate) fn rearm(&mut self, head: u32) {
        assert_eq!(
            self.port.read32(self.registers.control) & regs::TXDCTL_ENABLE,
            0,
            "the ring of a running queue was rewritten"
        );
        self.rewind(head);
        self.write(self.registers.head, 0);
        self.set_tail(0);
        self.enable(0);
        self.kick();
    }

    /// The part of it that is done in memory.
    pub(crate) fn rewind(&mut self, head: u32) {
        let unsent: Vec<_> = (0..(self.next + self.count - head) % self.count)
            .map(|i| self.machine.load(self.slot(head + i), 16))
            .collect();
        self.0.next = 0;
        for descriptor in &unsent {
            self.push(descriptor);
        }
    }

    /// Puts descriptors into the ring without telling.
    pub(crate) fn push(&mut self, descriptor: &[u8]) -> u32 {
        let slot = self.next;
        self.machine.store(self.slot(slot), descriptor);
        self.0.next = (self.next + 1) % self.count;
        slot
    }

    /// Tells the device.
    pub(crate) fn kick(&self) {
        self.set_tail(self.next);
    }

    /// A data descriptor for bytes that are put into memory.
    pub(crate) fn data(&self, bytes: &[u8], command: u32, options: u32) -> desc::AdvTxData {
        let address = self.machine.allocate(bytes.len().max(1), 1);
        self.machine.store(address, bytes);
        desc::AdvTxData {
            buffer_addr: address.into(),
            cmd_type_len: (bytes.len() as u32
                | desc::ADVTXD_DCMD_DEXT
                | desc::ADVTXD_DTYP_DATA
                | desc::ADVTXD_DCMD_IFCS
                | command)
                .into(),
            olinfo_status: options.into(),
        }
    }

    /// Sends a frame in one advanced descriptor, no offloads, and returns its slot.
    pub(crate) fn send(&mut self, frame: &[u8]) -> u32 {
        let data = self.data(
            frame,
            desc::ADVTXD_DCMD_EOP | desc::ADVTXD_DCMD_RS,
            (frame.len() as u32) << desc::ADVTXD_PAYLEN_SHIFT,
        );
        let slot = self.push(data.as_bytes());
        self.kick();
        slot
    }

    /// Whether a slot's descriptor is done.
    pub(crate) fn done(&self, slot: u32) -> bool {
        let back = desc::AdvTxWb::read_from_bytes(&self.machine.load(self.slot(slot), 16)).unwrap();
        back.status.get() & desc::TXD_STAT_DD != 0
    }
}
