// SPDX-License-Identifier: GPL-2.0
//! Guests that do what they want: nothing panics, nothing runs for ever, neighbours keep what they have.

mod common;

use common::{frame, sriov, vf_mac, RxRing, MEMORY, PEER};
use ixgbe_model::host::Function;
use ixgbe_model::testing::Machine;
use ixgbe_model::HeadWrite;
use libixgbe::{regs, Regs};
use proptest::prelude::*;

/// One thing that a guest or the wire does.
#[derive(Clone, Debug)]
enum Step {
    Write(u32, u32),
    Read(u32),
    Frame(Vec<u8>),
    Memory(u64, Vec<u8>),
    Time(u64),
    Master(bool),
}

fn steps(registers: u32) -> impl Strategy<Value = Vec<Step>> {
    // Ring registers and the data that they point to have to be hit often enough to matter.
    let hot = prop_oneof![
        prop::sample::select(vec![0x1000u32, 0x1008, 0x1010, 0x1014, 0x1018, 0x1028]),
        prop::sample::select(vec![
            0x2000u32, 0x2008, 0x2010, 0x2018, 0x2028, 0x2038, 0x2FC
        ]),
        0..registers,
    ];
    let value = prop_oneof![
        any::<u32>(),
        0u32..0x400,
        Just(0x0200_0000),
        Just(0x0200_0002)
    ];
    let step = prop_oneof![
        8 => (hot, value).prop_map(|(reg, value)| Step::Write(reg & !3, value)),
        2 => (0..registers).prop_map(Step::Read),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Step::Frame),
        2 => (0u64..0xF80, prop::collection::vec(any::<u8>(), 16..64)).prop_map(|(at, data)| Step::Memory(at, data)),
        1 => (0u64..10_000_000).prop_map(Step::Time),
        1 => any::<bool>().prop_map(Step::Master),
    ];
    prop::collection::vec(step, 1..200)
}

/// What cards may do besides: none of it, or much at once.
fn quirks() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "rx-batch=4:lose-contexts:short-paylen=drop:stray-mdd",
        "batch:fetch-ahead=3:stop-needs-link:enable-zeroes-head",
        "tx-sticks=0:rx-sticks=0:fetch-ahead=40:short-paylen=hang:start-needs-link",
    ])
}

fn play(machine: &Machine, function: Function, steps: &[Step]) {
    let port = machine.port(function);
    for step in steps {
        match step {
            Step::Write(reg, value) => port.write32(*reg, *value),
            Step::Read(reg) => {
                port.read32(*reg);
            }
            Step::Frame(frame) => {
                machine.receive(frame);
            }
            Step::Memory(address, data) => machine.store(*address, data),
            Step::Time(time) => machine.advance(*time),
            Step::Master(on) => machine.set_bus_master(function, *on),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_use_of_the_pf(steps in steps(0x2_0000), policy in 0..3, quirks in quirks()) {
        let policy = [HeadWrite::Value, HeadWrite::Zero, HeadWrite::Ignore][policy as usize];
        let machine = Machine::new(policy, MEMORY);
        machine.set_quirks(quirks);
        machine.set_vfs(63);
        play(&machine, Function::Pf, &steps);
    }

    #[test]
    fn any_use_of_a_vf_leaves_its_neighbour_alone(steps in steps(0x4000), quirks in quirks()) {
        let machine = sriov(3);
        machine.set_quirks(quirks);
        let mut neighbour = RxRing::new(&machine, Function::Vf(1), 0, 8);
        // The hostile VF has memory of its own.
        machine.map_only(Function::Vf(0), std::slice::from_ref(&(0..0x1000)));
        let pf_before: Vec<u32> = [regs::GCR_EXT, regs::MRQC, regs::VT_CTL, regs::rdlen(2), regs::rdbal(2)]
            .iter()
            .map(|reg| machine.pf().read32(*reg))
            .collect();
        machine.take_written();
        play(&machine, Function::Vf(0), &steps);
        for (function, range) in machine.take_written() {
            prop_assert!(function != Function::Vf(0) || range.end <= 0x1000);
        }
        let pf_after: Vec<u32> = [regs::GCR_EXT, regs::MRQC, regs::VT_CTL, regs::rdlen(2), regs::rdbal(2)]
            .iter()
            .map(|reg| machine.pf().read32(*reg))
            .collect();
        prop_assert_eq!(pf_before, pf_after);
        // What waits for a batch of its own is not lost, and not the point.
        machine.vf(1).write32(regs::vfrxdctl(0), regs::RXDCTL_ENABLE | regs::RXDCTL_SWFLSH);
        machine.set_quirks("");
        while neighbour.take().is_some() {}
        let packet = frame(vf_mac(1), PEER, 99);
        machine.receive(&packet);
        prop_assert_eq!(neighbour.take().map(|got| got.frame), Some(packet));
    }
}

/// A ring that is full of descriptors without an end: the queue stops, and the PF is told which.
#[test]
fn an_endless_frame_stops_its_queue_only() {
    let machine = sriov(2);
    let pf = machine.pf();
    let mut bad = common::TxRing::new(&machine, Function::Vf(0), 1, 256);
    let mut good = common::TxRing::new(&machine, Function::Vf(1), 0, 8);
    for _ in 0..255 {
        let data = bad.data(&[0; 8], 0, 0);
        bad.push(zerocopy::IntoBytes::as_bytes(&data));
    }
    bad.kick();
    assert_eq!(pf.read32(regs::wqbr_tx(0)), 1 << 1);
    assert_eq!(pf.read32(regs::LVMMC_TX) & 0x7F, 1);
    assert_eq!(pf.read32(regs::LVMMC_TX), 0, "reading clears");
    let stuck = bad.head();
    bad.kick();
    assert_eq!(bad.head(), stuck);
    good.send(&frame(PEER, vf_mac(1), 64));
    assert_eq!(machine.take_sent().len(), 1);
    pf.write32(regs::wqbr_tx(0), 1 << 1);
    assert_eq!(
        pf.read32(regs::wqbr_tx(0)),
        1 << 1,
        "it does it again at once"
    );
    assert!(bad.head() > stuck);
    // The next guest finds a VF that works.
    machine.reset(Function::Vf(0));
    assert_eq!(pf.read32(regs::wqbr_tx(0)), 0);
    pf.write32(regs::vfte(0), 3);
    let mut next = common::TxRing::new(&machine, Function::Vf(0), 1, 8);
    next.send(&frame(PEER, vf_mac(0), 64));
    assert_eq!(machine.take_sent().len(), 1);
}
