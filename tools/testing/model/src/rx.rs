// SPDX-License-Identifier: GPL-2.0
//! Receive: from a frame to pools, queues and descriptors (82599 datasheet 7.1).
//!
//! A frame that finds no descriptor is dropped if its queue may drop (SRRCTL.DROP_EN, QDE), else it waits in the packet
//! buffer, and all frames behind it with it. XOFF is not sent as a frame: once the buffer is above its high mark with
//! flow control on, [`Device::can_receive`] holds the wire back, which is what an obedient partner would do.

use std::collections::VecDeque;

use libixgbe::{desc, regs};
use zerocopy::{FromBytes, IntoBytes};

use crate::filter::{pools, Addresses, Filter};
use crate::host::{DmaError, Function, Host};
use crate::offload::parse::{Packet, TagTypes};
use crate::offload::rss::{self, Toeplitz};
use crate::offload::{fcs, rx as verdict, vlan};
use crate::queue::DESC;
use crate::Device;

/// HLREG0 without JUMBOEN: the longest frame with FCS.
const STANDARD_FRAME: usize = 1518;

/// What a driver maps buffers by.
const PAGE: u64 = 4096;

/// What QDE set for a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RxPolicy {
    /// Drop when no descriptor is free.
    pub drop: bool,
    /// Take the tag off without telling.
    pub hide_vlan: bool,
}

/// A frame on its way to one queue.
#[derive(Clone, Debug)]
struct Delivery {
    queue: u8,
    frame: Vec<u8>,
    info: Info,
}

/// What its descriptor will say.
#[derive(Clone, Copy, Debug, Default)]
struct Info {
    packet: u16,
    hash: u32,
    status: u32,
    tag: Option<u16>,
    multicast: bool,
}

/// What the parser and the hash say of a frame.
struct Seen {
    info: Info,
    /// RSS output index.
    output: u8,
    /// Queue that an ethertype filter names.
    filter_queue: Option<u8>,
    /// Has a tag.
    tagged: bool,
}

/// The frames that wait for descriptors, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct PacketBuffer {
    waiting: VecDeque<Delivery>,
    bytes: usize,
    xoff: bool,
    /// Deliveries for which it had no space.
    missed: u64,
}

/// Where a frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The cable, or the MAC's own loopback.
    Wire,
    /// Another pool, by the local switch.
    Pool(u8),
}

/// Why a frame did not get into memory.
enum Refusal {
    NoDescriptor,
    Broken,
}

impl Device {
    /// Whether the wire may send. Outside flow control the device takes everything, and drops what it has to.
    pub fn can_receive(&self) -> bool {
        !self.packet_buffer.xoff
    }

    /// A frame without FCS arrives from the wire.
    pub fn receive(&mut self, host: &mut dyn Host, frame: &[u8]) {
        if !self.link_up() || self.regs.any(regs::HLREG0, regs::HLREG0_LPBK) {
            return;
        }
        self.arrive(host, frame);
    }

    /// The same from the wire or from the MAC's loopback.
    pub(crate) fn arrive(&mut self, host: &mut dyn Host, frame: &[u8]) {
        if !self.regs.any(regs::RXCTRL, regs::RXCTRL_RXEN) {
            return;
        }
        self.regs.count_arrival(frame);
        let Some(addresses) = self.addresses(frame) else {
            self.regs.add(regs::RUC, 1);
            return;
        };
        if frame.len() > self.longest(addresses.vlan.is_some()) {
            self.regs.add(regs::ROC, 1);
            return;
        }
        if self.pause_frame(&addresses) {
            return;
        }
        let missed = self.packet_buffer.missed;
        if self.switch_in(host, frame, &addresses, Origin::Wire) {
            self.regs.count_good(frame, &addresses);
        }
        // The C driver takes MPC off GPRC, so that a frame counts once there, however many pools missed it.
        if self.packet_buffer.missed != missed {
            self.regs.add(regs::mpc(0), 1);
        }
    }

    pub(crate) fn addresses(&self, frame: &[u8]) -> Option<Addresses> {
        let ethertype = self.regs.get(regs::VLNCTRL) & regs::VLNCTRL_VET;
        Addresses::of(frame, ethertype as u16)
    }

    /// The longest frame, without FCS, that the MAC takes. A tag comes on top of the limit (datasheet 8.2.3.22.13).
    fn longest(&self, tagged: bool) -> usize {
        let limit = if self.regs.any(regs::HLREG0, regs::HLREG0_JUMBOEN) {
            (self.regs.get(regs::MAXFRS) >> regs::MHADD_MFS_SHIFT) as usize
        } else {
            STANDARD_FRAME
        };
        let tag = if tagged { vlan::TAG_LEN } else { 0 };
        (limit + tag).saturating_sub(fcs::LEN)
    }

    /// MAC control frames end at the MAC unless MFLCN says to pass them; pause frames are counted.
    fn pause_frame(&mut self, addresses: &Addresses) -> bool {
        const MAC_CONTROL: u16 = 0x8808;
        if addresses.ethertype != MAC_CONTROL {
            return false;
        }
        let control = self.regs.get(regs::MFLCN);
        if control & regs::MFLCN_RFCE != 0 {
            self.regs.add(regs::LXOFFRXCNT, 1);
        }
        control & regs::MFLCN_PMCF == 0 || control & regs::MFLCN_DPF != 0
    }

    /// Gives a frame to every pool that it is for; true if there was one.
    pub(crate) fn switch_in(
        &mut self,
        host: &mut dyn Host,
        frame: &[u8],
        addresses: &Addresses,
        from: Origin,
    ) -> bool {
        let filter = Filter::new(&self.regs, self.config.chip);
        let local = matches!(from, Origin::Pool(_));
        let Some(count) = pools(&self.regs) else {
            if local || !filter.accepts(addresses) {
                return false;
            }
            if let Some(seen) = self.examine(frame, addresses, false, None) {
                self.give_to_pool(host, frame, &seen, None);
            }
            return true;
        };
        // The filters have bits for 64 pools, of which some modes have fewer: the others have no queue.
        let mut targets = filter.pools(addresses, local) & (u64::MAX >> (64 - count.min(64)));
        if let Origin::Pool(pool) = from {
            // A pool does not hear itself.
            targets &= !(1u64 << (pool & 63));
        }
        if !local && self.config.chip.traits().x550 {
            // What a pool has sent comes back from a switch outside (VEPA).
            let own = filter.owners(addresses.source);
            targets &= !(own & self.regs.pair(regs::PFFLPL, regs::PFFLPH));
        }
        let found = targets != 0;
        if local
            && self.config.quirks.switch_obeys_maxfrs
            && frame.len() > self.longest(addresses.vlan.is_some())
        {
            return found;
        }
        targets &= self.regs.pair(regs::vfre(0), regs::vfre(1));
        if targets == 0 {
            return found;
        }
        // Once for all pools: a broadcast may have 63 of them. But where each has RSS of its own they do not agree.
        let each = self.rss_of_pools();
        let mut seen = None;
        while targets != 0 {
            let pool = targets.trailing_zeros() as u8;
            targets &= targets - 1;
            if each || seen.is_none() {
                seen = self.examine(frame, addresses, local, Some(pool));
            }
            let Some(seen) = &seen else {
                return found;
            };
            self.give_to_pool(host, frame, seen, Some(pool));
        }
        found
    }

    /// Looks at a frame, for one pool or for whatever pools it is.
    fn examine(
        &self,
        frame: &[u8],
        addresses: &Addresses,
        local: bool,
        pool: Option<u8>,
    ) -> Option<Seen> {
        let ethertype = (self.regs.get(regs::VLNCTRL) & regs::VLNCTRL_VET) as u16;
        let tags = TagTypes {
            vlan: ethertype,
            outer: None,
        };
        let packet = Packet::parse(frame, tags)?;
        let (hash, output) = self.rss(&packet, local, pool);
        let (filter_index, filter_queue) = self.ethertype_filter(addresses.ethertype, &packet);
        let mut status = desc::RXD_STAT_DD | desc::RXD_STAT_EOP | verdict::checksum_status(&packet);
        if local {
            status |= desc::RXD_STAT_LB;
        }
        let info = Info {
            packet: verdict::packet_info(&packet, hash.map(|(function, _)| function), filter_index),
            hash: hash.map_or(0, |(_, hash)| hash),
            status,
            tag: None,
            multicast: addresses.multicast() || addresses.broadcast(),
        };
        Some(Seen {
            info,
            output,
            filter_queue,
            tagged: addresses.vlan.is_some(),
        })
    }

    /// Chooses the queue in a pool (or without pools), and delivers.
    fn give_to_pool(&mut self, host: &mut dyn Host, frame: &[u8], seen: &Seen, pool: Option<u8>) {
        let queue = match (seen.filter_queue, pool) {
            (Some(queue), _) => queue,
            (None, None) => seen.output,
            (None, Some(pool)) => self.queue_in_pool(pool, seen.output),
        };
        self.give_to_queue(host, frame, queue, seen.info, seen.tagged);
    }

    /// Whether each pool has a key, a table and functions of its own.
    fn rss_of_pools(&self) -> bool {
        self.config.chip.traits().x550 && self.regs.any(regs::MRQC, regs::MRQC_MULTIPLE_RSS)
    }

    /// The hash of a packet, and the output index that it leads to.
    fn rss(
        &self,
        packet: &Packet<'_>,
        local: bool,
        pool: Option<u8>,
    ) -> (Option<(rss::Type, u32)>, u8) {
        let x550 = self.config.chip.traits().x550;
        let own = pool.filter(|_| self.rss_of_pools()).map(u32::from);
        let shared = self.regs.get(regs::MRQC);
        let on = matches!(
            shared & regs::MRQC_MRQE_MASK,
            regs::MRQC_RSSEN
                | regs::MRQC_RTRSS8TCEN
                | regs::MRQC_RTRSS4TCEN
                | regs::MRQC_VMDQRSS32EN
                | regs::MRQC_VMDQRSS64EN
        );
        let mrqc = own.map_or(shared, |pool| self.regs.get(regs::pfvfmrqc(pool)));
        let off = own.is_some() && mrqc & regs::MRQC_RSSEN == 0;
        // The older chips hash what comes through the switch in any case: a choice, for only the X550 has a bit for it.
        let unhashed = x550 && local && shared & regs::MRQC_L3L4TXSWEN == 0;
        if !on || off || unhashed {
            return (None, 0);
        }
        let key = Toeplitz::from_registers(std::array::from_fn(|i| {
            let i = i as u32;
            let register = own.map_or(regs::rssrk(i), |pool| regs::pfvfrssrk(i, pool));
            self.regs.get(register)
        }));
        let hash = key.packet(packet, mrqc);
        let table = match own {
            Some(_) => rss::Table::Pool,
            None if x550 => rss::Table::Large,
            None => rss::Table::Small,
        };
        let entry = |i: u32| {
            self.regs.get(match (own, i.checked_sub(32)) {
                (Some(pool), _) => regs::pfvfreta(i, pool),
                (None, Some(extended)) => regs::ereta(extended),
                (None, None) => regs::reta(i),
            })
        };
        (
            hash,
            hash.map_or(0, |(_, hash)| table.redirect(entry, hash)),
        )
    }

    /// ETQF that the frame matches, and the queue that ETQS names for it.
    fn ethertype_filter(&self, outer: u16, packet: &Packet<'_>) -> (Option<u8>, Option<u8>) {
        let ethertype = if packet.vlan.is_some() {
            packet.ethertype
        } else {
            outer
        };
        let index = (0..8u8).find(|i| {
            let filter = self.regs.get(regs::etqf(u32::from(*i)));
            filter & regs::ETQF_FILTER_EN != 0 && filter & 0xFFFF == u32::from(ethertype)
        });
        let queue = index.and_then(|i| {
            let select = self.regs.get(regs::etqs(u32::from(i)));
            (select & regs::ETQS_QUEUE_EN != 0)
                .then_some(((select & regs::ETQS_RX_QUEUE) >> regs::ETQS_RX_QUEUE_SHIFT) as u8)
        });
        (index, queue)
    }

    /// RSS inside a pool: PSRTYPE.RQPL says how many bits of the output index count (datasheet 7.1.2.2).
    fn queue_in_pool(&self, pool: u8, output: u8) -> u8 {
        let per_pool = match pools(&self.regs) {
            Some(16) => 8,
            Some(32) => 4,
            _ => 2,
        };
        let control = self.regs.get(0xEA00 + 4 * u32::from(pool));
        let bits = (control >> 29).min(3);
        let mask = (1u8 << bits) - 1;
        pool * per_pool + (output & mask & (per_pool - 1))
    }

    /// Puts a frame into a queue's descriptors, into the packet buffer, or nowhere.
    fn give_to_queue(
        &mut self,
        host: &mut dyn Host,
        frame: &[u8],
        queue: u8,
        mut info: Info,
        tagged: bool,
    ) {
        let index = usize::from(queue);
        let (Some(ring), Some(policy)) = (self.rx.get(index), self.rx_policy.get(index).copied())
        else {
            return;
        };
        if !ring.active() {
            return;
        }
        // The limit of a queue, which works from the X540 on. That it counts the FCS is a choice; nobody is told.
        let limit = ring.control() & regs::RXDCTL_RLPMLMASK;
        if self.config.chip.traits().x540
            && ring.control() & regs::RXDCTL_RLPML_EN != 0
            && frame.len() + fcs::LEN > limit as usize
        {
            return;
        }
        self.spent += 1;
        let drops = policy.drop || ring.split_control & regs::SRRCTL_DROP_EN != 0;
        let mut frame = frame.to_vec();
        if tagged && (policy.hide_vlan || ring.control() & regs::RXDCTL_VME != 0) {
            let ethertype = (self.regs.get(regs::VLNCTRL) & regs::VLNCTRL_VET) as u16;
            let tag = vlan::strip(&mut frame, ethertype);
            if !policy.hide_vlan {
                info.tag = tag;
                info.status |= desc::RXD_STAT_VP;
            }
        }
        if !self.regs.any(regs::HLREG0, regs::HLREG0_RXCRCSTRP) {
            fcs::append(&mut frame);
        }
        let delivery = Delivery { queue, frame, info };
        if !self.packet_buffer.waiting.is_empty() {
            self.park(host, delivery);
            return;
        }
        match self.deliver(host, &delivery) {
            Ok(()) | Err(Refusal::Broken) => {}
            Err(Refusal::NoDescriptor) if drops => self.count_no_descriptor(queue),
            Err(Refusal::NoDescriptor) => self.park(host, delivery),
        }
    }

    fn count_no_descriptor(&mut self, queue: u8) {
        self.regs.count_queue_drop(queue);
        let function = self.function_of_queue(queue);
        self.debug.at(function).no_descriptor += 1;
    }

    /// The function that a queue does DMA as.
    pub(crate) fn function_of_queue(&self, queue: u8) -> Function {
        match self.vf_of_queue(queue) {
            Some((vf, _)) => Function::Vf(vf),
            None => Function::Pf,
        }
    }

    /// Keeps a frame until there are descriptors, or counts it as missed if the buffer is full.
    fn park(&mut self, host: &mut dyn Host, delivery: Delivery) {
        let size = self.regs.get(regs::rxpbsize(0)) as usize;
        let bytes = self.packet_buffer.bytes + delivery.frame.len();
        if bytes > size {
            self.packet_buffer.missed = self.packet_buffer.missed.wrapping_add(1);
            self.misc_event(host, regs::EICR_RX_MISS);
            return;
        }
        self.packet_buffer.bytes = bytes;
        self.packet_buffer.waiting.push_back(delivery);
        let threshold = self.regs.get(regs::fcrth(0));
        let high = (threshold & !regs::FCRTH_FCEN & 0x7_FFF0) as usize;
        let controls = threshold & regs::FCRTH_FCEN != 0
            && self.regs.any(regs::FCCFG, regs::FCCFG_TFCE_802_3X);
        if controls && bytes >= high && !self.packet_buffer.xoff {
            self.packet_buffer.xoff = true;
            self.regs.count_pause(regs::LXOFFTXC);
        }
    }

    /// Moves what waits into descriptors that may have come.
    pub(crate) fn drain_packet_buffer(&mut self, host: &mut dyn Host) {
        while let Some(delivery) = self.packet_buffer.waiting.pop_front() {
            let bytes = delivery.frame.len();
            let active = self
                .rx
                .get(usize::from(delivery.queue))
                .is_some_and(|ring| ring.active());
            if active {
                if let Err(Refusal::NoDescriptor) = self.deliver(host, &delivery) {
                    self.packet_buffer.waiting.push_front(delivery);
                    break;
                }
            }
            self.packet_buffer.bytes = self.packet_buffer.bytes.saturating_sub(bytes);
        }
        let low = (self.regs.get(regs::fcrtl(0)) & 0x7_FFF0) as usize;
        if self.packet_buffer.xoff && self.packet_buffer.bytes <= low {
            self.packet_buffer.xoff = false;
            self.regs.count_pause(regs::LXONTXC);
            host.receive_ready();
        }
    }

    /// Writes a frame into the buffers of a queue, and its descriptors.
    fn deliver(&mut self, host: &mut dyn Host, delivery: &Delivery) -> Result<(), Refusal> {
        let queue = delivery.queue;
        let function = self.function_of_queue(queue);
        let Some(ring) = self.rx.get(usize::from(queue)) else {
            return Err(Refusal::Broken);
        };
        let buffer = ((ring.split_control & regs::SRRCTL_BSIZEPKT_MASK) as usize) << 10;
        if buffer == 0 {
            self.debug.at(function).malformed += 1;
            return Err(Refusal::Broken);
        }
        let needed = delivery.frame.len().div_ceil(buffer).max(1);
        if !ring.runs() || (ring.pending() as usize) < needed || !host.bus_master(function) {
            return Err(Refusal::NoDescriptor);
        }
        let legacy =
            ring.split_control & regs::SRRCTL_DESCTYPE_MASK == regs::SRRCTL_DESCTYPE_LEGACY;
        for (i, chunk) in delivery.frame.chunks(buffer).enumerate() {
            let last = i + 1 == needed;
            if self
                .write_descriptor(host, function, queue, chunk, &delivery.info, last, legacy)
                .is_err()
            {
                self.debug.at(function).dma_errors += 1;
            }
            if let Some(ring) = self.rx.get_mut(usize::from(queue)) {
                ring.advance();
            }
        }
        self.debug.at(function).received += 1;
        self.regs.count_queue_receive(queue, &delivery.frame);
        if let Some((vf, _)) = self.vf_of_queue(queue) {
            self.regs
                .count_vf_receive(vf, &delivery.frame, delivery.info.multicast);
        }
        if self.write_back_threshold(queue, false) <= 1 || self.write_back_due(host, queue, false) {
            self.queue_event(host, queue, false);
        }
        Ok(())
    }

    /// One buffer and its descriptor: data first, the half with DD last.
    #[allow(clippy::too_many_arguments)]
    fn write_descriptor(
        &mut self,
        host: &mut dyn Host,
        function: Function,
        queue: u8,
        chunk: &[u8],
        info: &Info,
        last: bool,
        legacy: bool,
    ) -> Result<(), DmaError> {
        let Some(address) = self
            .rx
            .get(usize::from(queue))
            .map(|ring| ring.head_descriptor())
        else {
            return Err(DmaError);
        };
        let mut bytes = [0; DESC as usize];
        host.read(function, address, &mut bytes)?;
        let Ok(read) = desc::AdvRxRead::read_from_bytes(&bytes) else {
            return Err(DmaError);
        };
        let length = chunk.len() as u16;
        if read.pkt_addr.get() % PAGE + chunk.len() as u64 > PAGE {
            self.debug.at(function).crossed_page += 1;
        }
        let status = if last {
            info.status
        } else {
            info.status & !desc::RXD_STAT_EOP & (desc::RXD_STAT_DD | desc::RXD_STAT_VP)
        };
        self.dma_write(host, function, read.pkt_addr.get(), chunk)?;
        let tag = info.tag.unwrap_or(0);
        let late = self.write_back_threshold(queue, false) > 1;
        if legacy {
            let back = desc::LegacyRx {
                buffer_addr: read.pkt_addr,
                length: length.into(),
                csum: 0.into(),
                status: (status & 0xFF) as u8,
                errors: (status >> 24) as u8,
                vlan: tag.into(),
            };
            if late {
                self.write_back_later(queue, false, address + 8, &back.as_bytes()[8..]);
                return Ok(());
            }
            return self.dma_write(host, function, address + 8, &back.as_bytes()[8..]);
        }
        let back = desc::AdvRxWb {
            pkt_info: info.packet.into(),
            hdr_info: 0.into(),
            rss: info.hash.into(),
            status_error: status.into(),
            length: length.into(),
            vlan: tag.into(),
        };
        let (first, second) = back.as_bytes().split_at(8);
        if late {
            self.write_back_later(queue, false, address, back.as_bytes());
            return Ok(());
        }
        self.dma_write(host, function, address, first)?;
        self.dma_write(host, function, address + 8, second)
    }

    /// A write to memory, remembered if tests want to know.
    pub(crate) fn dma_write(
        &mut self,
        host: &mut dyn Host,
        function: Function,
        address: u64,
        data: &[u8],
    ) -> Result<(), DmaError> {
        host.write(function, address, data)?;
        self.debug.wrote(function, address, data.len());
        Ok(())
    }

    /// QDE: the entry that its index field names.
    pub(crate) fn queue_drop_read(&self) -> u32 {
        let register = self.regs.get(regs::QDE);
        let queue = ((register & regs::QDE_IDX_MASK) >> regs::QDE_IDX_SHIFT) as usize;
        let policy = self.rx_policy.get(queue).copied().unwrap_or_default();
        let drop = if policy.drop { regs::QDE_ENABLE } else { 0 };
        let hide = if policy.hide_vlan {
            regs::QDE_HIDE_VLAN
        } else {
            0
        };
        register & regs::QDE_IDX_MASK | drop | hide
    }

    /// Writes QDE.
    pub(crate) fn queue_drop_write(&mut self, value: u32) {
        self.regs.set(regs::QDE, value & regs::QDE_IDX_MASK);
        let queue = ((value & regs::QDE_IDX_MASK) >> regs::QDE_IDX_SHIFT) as usize;
        if value & regs::QDE_WRITE == 0 {
            return;
        }
        if let Some(policy) = self.rx_policy.get_mut(queue) {
            policy.drop = value & regs::QDE_ENABLE != 0;
            policy.hide_vlan = value & regs::QDE_HIDE_VLAN != 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;
    use crate::HeadWrite;
    use libixgbe::Regs;

    const PF: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn broadcast(length: usize) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend(PF);
        frame.resize(length, 0);
        frame
    }

    /// A machine whose pools all take broadcasts, in a mode with `count` pools; queue 0 of each has a ring without
    /// descriptors.
    fn pools_without_descriptors(mode: u32) -> Machine {
        let machine = Machine::new(HeadWrite::Value, 1 << 16);
        let pf = machine.pf();
        pf.write32(regs::MRQC, mode);
        pf.write32(regs::VT_CTL, regs::VT_CTL_VT_ENABLE | regs::VT_CTL_REPLEN);
        pf.write32(regs::RXCTRL, regs::RXCTRL_RXEN);
        for half in 0..2 {
            pf.write32(regs::vfre(half), u32::MAX);
        }
        for pool in 0..64 {
            pf.write32(regs::vmolr(pool), regs::VMOLR_BAM | regs::VMOLR_AUPE);
        }
        for queue in 0..128 {
            pf.write32(regs::rdlen(queue), 4096);
            pf.write32(regs::srrctl(queue), 2 | regs::SRRCTL_DESCTYPE_ADV_ONEBUF);
            pf.write32(regs::rxdctl(queue), regs::RXDCTL_ENABLE);
        }
        machine
    }

    #[test]
    fn pools_beyond_their_number_get_nothing() {
        for (mode, count) in [
            (regs::MRQC_VMDQRT8TCEN, 16),
            (regs::MRQC_VMDQRSS32EN, 32),
            (regs::MRQC_VMDQRSS64EN, 64),
        ] {
            let machine = pools_without_descriptors(mode);
            // Every queue may drop, and counts what it dropped: one for each pool that the frame reached.
            for queue in 0..128 {
                let drop = regs::QDE_ENABLE | regs::QDE_WRITE | queue << regs::QDE_IDX_SHIFT;
                machine.pf().write32(regs::QDE, drop);
            }
            machine.receive(&broadcast(60));
            assert_eq!(machine.pf().read32(regs::qprdc(0)), count);
        }
    }

    #[test]
    fn a_missed_frame_counts_once_and_pauses_as_frames() {
        let machine = pools_without_descriptors(regs::MRQC_VMDQRSS64EN);
        let pf = machine.pf();
        pf.write32(regs::rxpbsize(0), 200 << 10);
        pf.write32(regs::FCCFG, regs::FCCFG_TFCE_802_3X);
        pf.write32(regs::fcrth(0), regs::FCRTH_FCEN | 100 << 10);
        // 64 pools at 1514 bytes: the second frame passes the high mark, the third does not fit.
        let mut taken = 0;
        while machine.receive(&broadcast(1514)) {
            taken += 1;
        }
        assert_eq!(taken, 2);
        assert_eq!(pf.read32(regs::LXOFFTXC), 1);
        assert_eq!(pf.read32(regs::GPTC), 1);
        assert_eq!(pf.read32(regs::GOTCL), 64);

        let machine = pools_without_descriptors(regs::MRQC_VMDQRSS64EN);
        let pf = machine.pf();
        pf.write32(regs::rxpbsize(0), 1024);
        machine.receive(&broadcast(1514));
        assert_eq!(pf.read32(regs::mpc(0)), 1);
        assert_eq!(pf.read32(regs::GPRC), 1);
    }
}
