// SPDX-License-Identifier: GPL-2.0
//! Frames per second through the model, without QEMU: transmit, receive, and from one VF to another.
//!
//! A driver's part is reduced to what the device cannot do without: descriptors in memory and the tail.

#![expect(missing_docs, reason = "criterion_group! makes a public function")]

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion, Throughput};
use ixgbe_model::host::Function;
use ixgbe_model::testing::Machine;
use ixgbe_model::HeadWrite;
use libixgbe::{desc, regs, Regs};
use zerocopy::IntoBytes;

/// Descriptors of each ring.
const RING: usize = 512;
/// Frames handed over with one write of a tail.
const BATCH: usize = 64;
/// Bytes of a receive buffer.
const BUFFER: usize = 2048;

/// A device with two VFs, a driver's registers set, and one ring of each direction.
struct Bench {
    machine: Machine,
    transmit: Function,
    receive: Function,
    tx: Ring,
    rx: Ring,
}

/// A ring of the driver's, with the memory of its buffers.
struct Ring {
    base: u64,
    buffers: u64,
    tail: usize,
}

const PF: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VF: [u8; 6] = [2, 0, 0, 0, 0, 2];

impl Bench {
    /// The PF alone, without pools.
    fn pf() -> Self {
        let mut bench = Self::new(Function::Pf, Function::Pf);
        bench.write(
            Function::Pf,
            regs::MRQC,
            regs::MRQC_RSSEN | regs::MRQC_RSS_FIELD_IPV4,
        );
        bench.write(Function::Pf, regs::FCTRL, regs::FCTRL_BAM);
        bench.start(0, 0);
        bench
    }

    /// VF 0 sends to VF 1.
    fn vf_to_vf() -> Self {
        let mut bench = Self::new(Function::Vf(0), Function::Vf(1));
        bench.machine.set_vfs(2);
        let pf = Function::Pf;
        for (register, value) in [
            (
                regs::GCR_EXT,
                regs::GCR_EXT_VT_MODE_64 | regs::GCR_EXT_MSIX_EN,
            ),
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
            (regs::vfre(0), 3),
            (regs::vfte(0), 3),
            (regs::vmolr(1), regs::VMOLR_AUPE),
            (
                regs::ral(1),
                u32::from_le_bytes([VF[0], VF[1], VF[2], VF[3]]),
            ),
            (
                regs::rah(1),
                regs::RAH_AV | u32::from(u16::from_le_bytes([VF[4], VF[5]])),
            ),
            (regs::mpsar_lo(1), 1 << 1),
        ] {
            bench.write(pf, register, value);
        }
        bench.start(0, 2);
        bench
    }

    fn new(transmit: Function, receive: Function) -> Self {
        let machine = Machine::new(HeadWrite::Value, 1 << 20);
        let ring = || Ring {
            base: machine.allocate(RING * 16, 128),
            buffers: machine.allocate(BATCH * BUFFER, 4096),
            tail: 0,
        };
        let (tx, rx) = (ring(), ring());
        let mut bench = Self {
            machine,
            transmit,
            receive,
            tx,
            rx,
        };
        let ethertype = regs::ETHERNET_IEEE_VLAN_TYPE << regs::DMATXCTL_VT_SHIFT;
        bench.write(Function::Pf, regs::RXCTRL, regs::RXCTRL_RXEN);
        bench.write(Function::Pf, regs::DMATXCTL, ethertype | regs::DMATXCTL_TE);
        bench
    }

    /// Sets up the rings, by their queues' numbers among the 128.
    fn start(&mut self, transmit: u32, receive: u32) {
        let pf = Function::Pf;
        let length = (RING * 16) as u32;
        self.write(pf, regs::tdbal(transmit), self.tx.base as u32);
        self.write(pf, regs::tdlen(transmit), length);
        self.write(pf, regs::txdctl(transmit), regs::TXDCTL_ENABLE);
        self.write(
            pf,
            regs::srrctl(receive),
            2 | regs::SRRCTL_DESCTYPE_ADV_ONEBUF,
        );
        self.write(pf, regs::rdbal(receive), self.rx.base as u32);
        self.write(pf, regs::rdlen(receive), length);
        self.write(pf, regs::rxdctl(receive), regs::RXDCTL_ENABLE);
    }

    fn write(&mut self, function: Function, register: u32, value: u32) {
        self.machine.port(function).write32(register, value);
    }

    /// Posts descriptors for a batch of frames and lets the device send them.
    fn send(&mut self, length: usize) {
        for i in 0..BATCH {
            let report = if i + 1 == BATCH {
                desc::ADVTXD_DCMD_RS
            } else {
                0
            };
            let descriptor = desc::AdvTxData {
                buffer_addr: self.tx.buffers.into(),
                cmd_type_len: (desc::ADVTXD_DTYP_DATA
                    | desc::ADVTXD_DCMD_DEXT
                    | desc::ADVTXD_DCMD_EOP
                    | desc::ADVTXD_DCMD_IFCS
                    | report
                    | length as u32)
                    .into(),
                olinfo_status: (desc::ADVTXD_CC | (length as u32) << desc::ADVTXD_PAYLEN_SHIFT)
                    .into(),
            };
            self.machine.store(self.tx.slot(), descriptor.as_bytes());
        }
        let register = if self.transmit == Function::Pf {
            regs::tdt(0)
        } else {
            regs::vftdt(0)
        };
        self.write(self.transmit, register, self.tx.tail as u32);
    }

    /// Posts buffers for a batch of frames.
    fn post(&mut self) {
        for i in 0..BATCH {
            let descriptor = desc::AdvRxRead {
                pkt_addr: (self.rx.buffers + (i * BUFFER) as u64).into(),
                hdr_addr: 0.into(),
            };
            self.machine.store(self.rx.slot(), descriptor.as_bytes());
        }
        let register = if self.receive == Function::Pf {
            regs::rdt(0)
        } else {
            regs::vfrdt(0)
        };
        self.write(self.receive, register, self.rx.tail as u32);
    }

    /// Forgets what the machine recorded of a batch; returns how many frames the wire got.
    fn settle(&mut self) -> u64 {
        self.machine.take_written();
        self.machine.take_messages();
        self.machine.take_sent().len() as u64
    }
}

impl Ring {
    /// The address of the next descriptor.
    fn slot(&mut self) -> u64 {
        let at = self.base + self.tail as u64 * 16;
        self.tail = (self.tail + 1) % RING;
        at
    }
}

/// A UDP frame over IPv4, `length` bytes with its FCS, whose checksums are right.
fn frame(destination: [u8; 6], length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], destination)
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1000, 2000)
        .write(&mut bytes, &vec![0x5a; length - 4 - 42])
        .unwrap();
    bytes
}

fn datapath(c: &mut Criterion) {
    let mut group = c.benchmark_group("model");
    group.throughput(Throughput::Elements(BATCH as u64));
    // 1500 bytes of IP packet are 1518 on the wire.
    for (name, length) in [("64", 64), ("1500", 1518)] {
        group.bench_function(BenchmarkId::new("tx", name), |b| {
            let mut bench = Bench::pf();
            let frame = frame(VF, length);
            bench.machine.store(bench.tx.buffers, &frame);
            let (mut frames, mut wire) = (0, 0);
            b.iter(|| {
                bench.send(frame.len());
                wire += bench.settle();
                frames += BATCH as u64;
            });
            assert_eq!(wire, frames);
        });
        group.bench_function(BenchmarkId::new("rx", name), |b| {
            let mut bench = Bench::pf();
            let frame = frame(PF, length);
            let mut frames = 0;
            b.iter(|| {
                bench.post();
                for _ in 0..BATCH {
                    bench.machine.receive(&frame);
                }
                bench.settle();
                frames += BATCH as u64;
            });
            assert_eq!(bench.machine.counts(bench.receive).received, frames);
        });
        group.bench_function(BenchmarkId::new("vf-to-vf", name), |b| {
            let mut bench = Bench::vf_to_vf();
            let frame = frame(VF, length);
            bench.machine.store(bench.tx.buffers, &frame);
            let (mut frames, mut wire) = (0, 0);
            b.iter(|| {
                bench.post();
                bench.send(frame.len());
                wire += bench.settle();
                frames += BATCH as u64;
            });
            assert_eq!(bench.machine.counts(bench.receive).received, frames);
            assert_eq!(wire, 0);
        });
    }
    group.finish();
}

criterion_group!(benches, datapath);
criterion_main!(benches);
