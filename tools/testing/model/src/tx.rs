// SPDX-License-Identifier: GPL-2.0
//! Transmit: from descriptors to frames, and to the wire or to other pools (82599 datasheet 7.2, 7.10.3.4).

use libixgbe::{desc, regs};
use zerocopy::FromBytes;

use crate::filter::{pools, Filter};
use crate::host::{DmaError, Function, Host};
use crate::offload::context::{Context, DataOptions};
use crate::offload::tx::{self, LegacyOptions};
use crate::offload::{fcs, tso};
use crate::queue::DESC;
use crate::quirk::{ShortPaylen, LEAST_PAYLEN};
use crate::rate::RateLimit;
use crate::rx::Origin;
use crate::{Device, QUEUES};

/// What one call does for one queue, counted in descriptors and in frames that left or were delivered, so that a guest
/// that fills its ring endlessly cannot keep QEMU busy. A segmentation request that was begun is finished.
const BUDGET: u64 = 256;
/// Bytes of one frame or segmentation request: PAYLEN has 18 bits, headers come on top.
const LARGEST: usize = (1 << 18) + 1024;
/// Descriptors of one frame: 40 is what the C driver promises (K: `DESC_NEEDED`); hardware stops a queue beyond its own limit.
const MOST_DESCRIPTORS: u32 = 64;
/// The longest frame that leaves (K: `IXGBE_MAX_JUMBO_FRAME_SIZE` 9728, with FCS).
const LONGEST_FRAME: usize = 15_872;

/// What a queue remembers between descriptors.
#[derive(Clone, Debug, Default)]
pub(crate) struct TxState {
    contexts: [Context; 2],
    partial: Vec<u8>,
    first: Option<First>,
    descriptors: u32,
    /// A part of the frame could not be read: it will not be sent.
    lost: bool,
    /// Why the queue stands still until WQBR is cleared.
    pub(crate) blocked: bool,
    pub(crate) rate: RateLimit,
}

/// The options that a frame's first descriptor chose.
#[derive(Clone, Copy, Debug)]
enum First {
    Advanced(DataOptions),
    Legacy(LegacyOptions),
}

/// How a queue's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing left, or it must wait for something that will call again.
    Idle,
    /// There is more.
    More,
}

impl Device {
    /// A queue may have something to send.
    pub(crate) fn transmit_work(&mut self, host: &mut dyn Host, queue: u8) {
        self.tx_work |= 1u128 << (queue & 127);
        self.transmit_one(host, queue);
        self.transmit_rest(host);
    }

    /// Everything that stopped sending may start again.
    pub(crate) fn resume_all(&mut self, host: &mut dyn Host) {
        for queue in 0..QUEUES {
            let waits = self
                .tx
                .get(usize::from(queue))
                .is_some_and(|ring| ring.runs() && ring.pending() > 0);
            if waits {
                self.tx_work |= 1u128 << queue;
            }
        }
        self.transmit_rest(host);
    }

    fn transmit_rest(&mut self, host: &mut dyn Host) {
        if self.tx_work != 0 && !self.wire_busy {
            host.kick();
        }
    }

    /// A turn for every queue that has work.
    pub(crate) fn transmit_all(&mut self, host: &mut dyn Host) {
        let mut queues = self.tx_work;
        while queues != 0 && !self.wire_busy {
            let queue = queues.trailing_zeros() as u8;
            queues &= queues - 1;
            self.transmit_one(host, queue);
        }
        self.transmit_rest(host);
    }

    fn transmit_one(&mut self, host: &mut dyn Host, queue: u8) {
        if self.wire_busy {
            return;
        }
        if self.queue_turn(host, queue) == Turn::Idle {
            self.tx_work &= !(1u128 << (queue & 127));
        }
    }

    /// The pool of a transmit queue, by MTQC; `None` without pools.
    fn pool_of_queue(&self, queue: u8) -> Option<u8> {
        let mode = self.regs.get(regs::MTQC);
        if mode & regs::MTQC_VT_ENA == 0 {
            return None;
        }
        Some(match mode & regs::MTQC_8TC_8TQ {
            regs::MTQC_8TC_8TQ => queue / 8,
            regs::MTQC_32VF => queue / 4,
            _ => queue / 2,
        })
    }

    /// Whether a queue may send at all now.
    fn may_send(&self, host: &dyn Host, queue: u8, function: Function) -> bool {
        let (Some(ring), Some(state)) = (
            self.tx.get(usize::from(queue)),
            self.tx_state.get(usize::from(queue)),
        ) else {
            return false;
        };
        let gate = match self.pool_of_queue(queue) {
            Some(pool) => self.regs.table_bit(regs::vfte(0), u32::from(pool)),
            None => true,
        };
        ring.runs()
            && !state.blocked
            && gate
            && self.regs.any(regs::DMATXCTL, regs::DMATXCTL_TE)
            && !self.regs.any(regs::CTRL, regs::CTRL_GIO_DIS)
            // With the link down the device stops its DMA (hardware-82599 notes, "Quiesce").
            && self.link_up()
            && host.bus_master(function)
    }

    fn queue_turn(&mut self, host: &mut dyn Host, queue: u8) -> Turn {
        let function = self.function_of_queue(queue);
        let index = usize::from(queue);
        let mut report = false;
        let mut turn = Turn::More;
        let limit = self.spent + BUDGET;
        while self.spent < limit {
            self.spent += 1;
            let pending = self.tx.get(index).map_or(0, |ring| ring.pending());
            if pending == 0 || !self.may_send(host, queue, function) || self.rate_waits(host, queue)
            {
                turn = Turn::Idle;
                break;
            }
            if self.wire_busy {
                break;
            }
            match self.descriptor(host, queue, function) {
                Ok(reported) => report |= reported,
                Err(DmaError) => {
                    // A descriptor that cannot be read stops the queue; the driver sees a hang, as on silicon.
                    self.debug.at(function).dma_errors += 1;
                    turn = Turn::Idle;
                    break;
                }
            }
        }
        if report {
            self.queue_event(host, queue, true);
        }
        if self.tx.get_mut(index).is_some_and(|ring| ring.finished()) {
            self.tx_stopped(queue);
        }
        turn
    }

    /// Takes the descriptor at the head; true if it asked for a report.
    fn descriptor(
        &mut self,
        host: &mut dyn Host,
        queue: u8,
        function: Function,
    ) -> Result<bool, DmaError> {
        let index = usize::from(queue);
        let (Some(ring), Some(state)) = (self.tx.get(index), self.tx_state.get_mut(index)) else {
            return Err(DmaError);
        };
        let address = ring.head_descriptor();
        let mut bytes = [0; DESC as usize];
        host.read(function, address, &mut bytes)?;
        let Ok(data) = desc::AdvTxData::read_from_bytes(&bytes) else {
            return Err(DmaError);
        };
        let command = data.cmd_type_len.get();
        let extended = command & desc::ADVTXD_DCMD_DEXT != 0;
        if extended && command & desc::ADVTXD_DTYP_MASK == desc::ADVTXD_DTYP_CTXT {
            if let Ok(context) = desc::AdvTxContext::read_from_bytes(&bytes) {
                let context = Context::decode(&context);
                // Two slots for each queue (datasheet 7.2.3.2.3, field IDX).
                state.contexts[usize::from(context.index & 1)] = context;
            }
            self.advance(queue);
            return Ok(false);
        }
        if state.first.is_none() {
            state.first = Some(if extended {
                First::Advanced(DataOptions::decode(&data))
            } else {
                First::Legacy(desc::LegacyTx::read_from_bytes(&bytes).map_or_else(
                    |_| LegacyOptions::default(),
                    |legacy| LegacyOptions::decode(&legacy),
                ))
            });
        }
        let length = (command & desc::ADVTXD_DTALEN_MASK) as usize;
        let start = state.partial.len();
        state.descriptors += 1;
        if start + length > LARGEST || state.descriptors > MOST_DESCRIPTORS {
            self.misbehaved(host, queue, function);
            return Err(DmaError);
        }
        state.partial.resize(start + length, 0);
        if let Some(space) = state.partial.get_mut(start..) {
            if host.read(function, data.buffer_addr.get(), space).is_err() {
                // The frame is lost, the ring goes on: that is one frame's problem.
                state.lost = true;
                self.debug.at(function).dma_errors += 1;
                self.misc_event(host, regs::EICR_PCI);
            }
        }
        if command & desc::TXD_CMD_EOP != 0 {
            self.frame_complete(host, queue, function);
        }
        self.advance(queue);
        let report = command & desc::TXD_CMD_RS != 0;
        Ok(report && self.write_back(host, queue, function, address, extended, &bytes))
    }

    fn advance(&mut self, queue: u8) {
        if let Some(ring) = self.tx.get_mut(usize::from(queue)) {
            ring.advance();
        }
    }

    /// Reports what is done: in the descriptor, or as the head's position (datasheet 7.2.3.5). False if that has to wait.
    fn write_back(
        &mut self,
        host: &mut dyn Host,
        queue: u8,
        function: Function,
        address: u64,
        extended: bool,
        descriptor: &[u8; DESC as usize],
    ) -> bool {
        let late = self.write_back_threshold(queue, true) > 1;
        let Some(ring) = self.tx.get(usize::from(queue)) else {
            return false;
        };
        let outcome = match ring.head_address() {
            Some(target) => {
                let head = ring.head().to_le_bytes();
                self.dma_write(host, function, target, &head)
            }
            None => {
                let mut back = [0; 8];
                if !extended {
                    // A legacy descriptor keeps everything but its status byte.
                    back.copy_from_slice(&descriptor[8..]);
                }
                back[4] |= desc::TXD_STAT_DD as u8;
                let address = address.wrapping_add(8);
                if late {
                    self.write_back_later(queue, true, address, &back);
                    return self.write_back_due(host, queue, true);
                }
                self.dma_write(host, function, address, &back)
            }
        };
        if outcome.is_err() {
            self.debug.at(function).dma_errors += 1;
        }
        true
    }

    /// A queue did what no driver may: it stops until the PF clears WQBR, which learns of it from LVMMC.
    fn misbehaved(&mut self, host: &mut dyn Host, queue: u8, function: Function) {
        self.debug.at(function).malformed += 1;
        let told = !self.config.chip.traits().x550
            || self.regs.any(regs::DMATXCTL, regs::DMATXCTL_MBINTEN);
        if let Some(state) = self.tx_state.get_mut(usize::from(queue)) {
            state.partial.clear();
            state.first = None;
            state.descriptors = 0;
            state.lost = false;
            state.blocked = true;
        }
        let register = regs::wqbr_tx(u32::from(queue / 32));
        self.regs
            .set(register, self.regs.get(register) | 1 << (queue % 32));
        self.regs.set(regs::LVMMC_TX, 1 << 31 | u32::from(queue));
        // The X550 looks, and tells, only if it was told to.
        if told {
            self.misc_event(host, regs::EICR_MAILBOX);
        }
    }

    /// WQBR was written: queues whose bit is clear may go on.
    pub(crate) fn unblock(&mut self) {
        for queue in 0..QUEUES {
            let bad = self.regs.table_bit(regs::wqbr_tx(0), u32::from(queue));
            if let Some(state) = self.tx_state.get_mut(usize::from(queue)) {
                state.blocked &= bad;
            }
        }
    }

    /// A VF's queue was reset with its function: it starts anew, even if it had misbehaved. The C driver looks at WQBR on
    /// X550 only, so that on an 82599 no other guest could ever use the VF if its reset did not do this. On an X550 the PF
    /// has to do it.
    pub(crate) fn release(&mut self, queue: u8) {
        self.forget_partial(queue);
        if self.config.chip.traits().x550 {
            return;
        }
        let register = regs::wqbr_tx(u32::from(queue / 32));
        self.regs
            .set(register, self.regs.get(register) & !(1 << (queue % 32)));
        self.unblock();
    }

    /// Forgets a frame of which not all descriptors came.
    pub(crate) fn forget_partial(&mut self, queue: u8) {
        if let Some(state) = self.tx_state.get_mut(usize::from(queue)) {
            state.partial.clear();
            state.first = None;
            state.descriptors = 0;
            state.lost = false;
        }
        self.tx_work &= !(1u128 << (queue & 127));
    }

    /// Forgets what context descriptors said.
    pub(crate) fn forget_contexts(&mut self, queue: u8) {
        if let Some(state) = self.tx_state.get_mut(usize::from(queue)) {
            state.contexts = Default::default();
        }
    }

    /// What the quirk `short-paylen` does to a frame; true if it goes no further.
    fn short_paylen(
        &mut self,
        host: &mut dyn Host,
        queue: u8,
        function: Function,
        first: First,
    ) -> bool {
        let First::Advanced(options) = first else {
            return false;
        };
        if options.segment || options.payload_len >= LEAST_PAYLEN {
            return false;
        }
        match self.config.quirks.short_paylen {
            ShortPaylen::Send => return false,
            ShortPaylen::Drop => self.debug.at(function).malformed += 1,
            ShortPaylen::Hang => self.misbehaved(host, queue, function),
        }
        if let Some(state) = self.tx_state.get_mut(usize::from(queue)) {
            state.partial.clear();
        }
        true
    }

    /// The last descriptor of a frame was read.
    fn frame_complete(&mut self, host: &mut dyn Host, queue: u8, function: Function) {
        let Some(state) = self.tx_state.get_mut(usize::from(queue)) else {
            return;
        };
        state.descriptors = 0;
        let Some(first) = state.first.take() else {
            return;
        };
        if std::mem::take(&mut state.lost) {
            state.partial.clear();
        }
        if self.short_paylen(host, queue, function, first) {
            return;
        }
        let Some(state) = self.tx_state.get_mut(usize::from(queue)) else {
            return;
        };
        let mut frame = std::mem::take(&mut state.partial);
        if frame.is_empty() {
            return;
        }
        let contexts = state.contexts;
        let pool = self.pool_of_queue(queue);
        let config = tx::Config {
            vlan_ethertype: (self.regs.get(regs::DMATXCTL) >> regs::DMATXCTL_VT_SHIFT) as u16,
            tcp_flags: tso::FlagMasks::from_registers(
                self.regs.get(regs::DTXTCPFLGL),
                self.regs.get(regs::DTXTCPFLGH),
            ),
        };
        let outcome = match first {
            First::Advanced(options) => {
                let context = contexts[usize::from(options.index & 1)];
                let tag = self.tag(pool, options.vlan.then_some(context.vlan));
                tx::advanced(&mut frame, &context, &options, tag, &config, |frame| {
                    self.leave(host, queue, function, pool, frame);
                })
            }
            First::Legacy(options) => {
                let tag = self.tag(pool, options.vlan.then_some(options.tci));
                tx::legacy(&mut frame, &options, tag, &config, |frame| {
                    self.leave(host, queue, function, pool, frame);
                })
            }
        };
        if outcome.is_err() {
            self.debug.at(function).malformed += 1;
        }
        // Give the buffer back, so that it need not grow again.
        if let Some(state) = self.tx_state.get_mut(usize::from(queue)) {
            frame.clear();
            state.partial = frame;
        }
    }

    /// The tag to insert: the descriptor's, the pool's own, or none (VMVIR.VLANA).
    fn tag(&self, pool: Option<u8>, asked: Option<u16>) -> Option<u16> {
        let rule = pool.map_or(0, |pool| self.regs.get(regs::vmvir(u32::from(pool))));
        if rule & regs::VMVIR_VLANA_NEVER != 0 {
            None
        } else if rule & regs::VMVIR_VLANA_DEFAULT != 0 {
            Some((rule & 0xFFFF) as u16)
        } else {
            asked
        }
    }

    /// A finished frame leaves a queue: for other pools, for the wire, or for nobody.
    fn leave(
        &mut self,
        host: &mut dyn Host,
        queue: u8,
        function: Function,
        pool: Option<u8>,
        frame: &[u8],
    ) {
        let mut padded;
        let mut frame = frame;
        if frame.len() < fcs::MIN_FRAME && self.regs.any(regs::HLREG0, regs::HLREG0_TXPADEN) {
            padded = frame.to_vec();
            fcs::pad(&mut padded);
            frame = &padded;
        }
        let Some(addresses) = self.addresses(frame) else {
            self.debug.at(function).malformed += 1;
            return;
        };
        if frame.len() > LONGEST_FRAME {
            self.debug.at(function).malformed += 1;
            return;
        }
        self.spent += 1;
        self.rate_spend(host, queue, frame.len());
        if let Some(pool) = pool {
            if self.spoofed(pool, &addresses) {
                self.debug.at(function).spoofed += 1;
                return;
            }
        }
        self.debug.at(function).sent += 1;
        if self.config.quirks.stray_mdd && function == Function::Pf && !self.stray_told {
            self.stray_told = true;
            self.regs.set(regs::LVMMC_TX, 1 << 31 | u32::from(queue));
            self.misc_event(host, regs::EICR_MAILBOX);
        }
        self.regs.count_queue_transmit(queue, frame);
        if let Function::Vf(vf) = function {
            self.regs.count_vf_transmit(vf, frame);
        }
        let switches =
            self.regs.any(regs::PFDTXGSWC, regs::PFDTXGSWC_VT_LBEN) && pools(&self.regs).is_some();
        if let (true, Some(pool)) = (switches, pool) {
            let local = self.switch_in(host, frame, &addresses, Origin::Pool(pool));
            if local && !addresses.multicast() && !addresses.broadcast() {
                return;
            }
        }
        self.regs.count_transmit(frame, &addresses);
        if self.regs.any(regs::HLREG0, regs::HLREG0_LPBK) {
            self.arrive(host, frame);
        } else if !host.transmit(frame) {
            self.wire_busy = true;
        }
    }

    /// Whether an anti-spoof check of the pool catches a frame (datasheet 7.10.3.9.2.1).
    fn spoofed(&mut self, pool: u8, addresses: &crate::filter::Addresses) -> bool {
        let checks = self.regs.get(regs::pfvfspoof(u32::from(pool / 8)));
        let bit = pool % 8;
        let filter = Filter::new(&self.regs, self.config.chip);
        let mac = checks >> bit & 1 == 1 && filter.owners(addresses.source) >> (pool & 63) & 1 == 0;
        let vlan = checks >> (u32::from(bit) + regs::SPOOF_VLANAS_SHIFT) & 1 == 1
            && addresses.vlan.is_some()
            && filter.pools_by_vlan(addresses.vlan) >> (pool & 63) & 1 == 0;
        // The X550 knows ethertypes that no VF may send.
        let ethertype = self.config.chip.traits().x550
            && checks >> (u32::from(bit) + regs::SPOOF_ETHERTYPEAS_SHIFT) & 1 == 1
            && (0..8).any(|i| {
                let filter = self.regs.get(regs::etqf(i));
                let bits = regs::ETQF_FILTER_EN | regs::ETQF_TX_ANTISPOOF;
                filter & bits == bits && filter & 0xFFFF == u32::from(addresses.ethertype)
            });
        let spoofed = mac || vlan || ethertype;
        // VMECM chooses the pools whose events SSVPC counts.
        if spoofed && self.regs.table_bit(regs::vmecm(0), u32::from(pool)) {
            self.regs.add(regs::SSVPC, 1);
        }
        spoofed
    }
}
