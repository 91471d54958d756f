// SPDX-License-Identifier: GPL-2.0
//! XDP programs (`ixgbe_run_xdp`, `ixgbe_xdp_setup`, `ixgbe_xdp_xmit`).
//!
//! With a program attached each vector gets a transmit queue of its own, behind those of the stack,
//! for what the program sends back: only its poll uses it, so it takes no lock. What other devices
//! redirect here goes out by the stack's queues, under their locks, once a batch. There is no XDP
//! together with VFs, as in the C driver.

use crate::{
    ixgbe_common::Hw,
    Adapter,
    ETH_OVERHEAD, //
};
use kernel::prelude::*;
use libixgbe::{
    desc::*,
    ring::{
        QueueRegs,
        TxRing, //
    }, //
};
use nic::{
    net::{
        self,
        xdp::{
            self,
            ProgRef,
            SentBack, //
        },
        NapiRef,
        TxConsumer,
        TxProducer, //
    },
    pci::Doorbell, //
};
use zerocopy::byteorder::little_endian::{
    U32,
    U64, //
};

/// Largest frame that a program sees, VLAN tag and FCS included (`ixgbe_max_xdp_frame_size`).
const MAX_FRAME: u32 = 3072;
/// Bytes of a VLAN tag.
const VLAN_HLEN: u32 = 4;

/// Whether frames of this MTU fit into one buffer.
pub(crate) const fn mtu_fits(mtu: u32) -> bool {
    mtu.saturating_add(ETH_OVERHEAD + VLAN_HLEN) <= MAX_FRAME
}

/// Descriptor of a frame without offloads.
#[inline]
pub(crate) fn descriptor(addr: u64, len: u32) -> AdvTxData {
    AdvTxData {
        buffer_addr: U64::new(addr),
        cmd_type_len: U32::new(
            len | ADVTXD_DTYP_DATA
                | ADVTXD_DCMD_DEXT
                | ADVTXD_DCMD_IFCS
                | ADVTXD_DCMD_EOP
                | ADVTXD_DCMD_RS,
        ),
        olinfo_status: U32::new(len << ADVTXD_PAYLEN_SHIFT),
    }
}

/// The transmit queue of a vector for frames that a program sends back.
pub(crate) struct XdpQueue {
    producer: TxProducer,
    pub(crate) consumer: TxConsumer,
    tail: Doorbell,
    /// There are frames that the device was not told of.
    pending: bool,
}

impl XdpQueue {
    pub(crate) fn new(
        hw: &Hw,
        dev: &net::Device<Adapter>,
        regs: &QueueRegs,
        count: u32,
    ) -> Result<Self> {
        let (producer, consumer) = net::TxRing::new(dev.parent(), count)?;
        Ok(Self {
            producer,
            consumer,
            tail: hw.doorbell(regs.tdt)?,
            pending: false,
        })
    }

    /// The ring for the hardware.
    pub(crate) fn setup(&self, regs: QueueRegs) -> TxRing {
        TxRing {
            regs,
            dma: self.producer.ring().dma_address(),
            count: self.producer.ring().len(),
            wthresh: 1,
        }
    }

    /// Puts a frame into the ring; one that finds no room is dropped (`ixgbe_xmit_xdp_ring`).
    #[inline]
    pub(crate) fn send(&mut self, frame: SentBack) {
        let sent = self
            .producer
            .send_back(frame, None::<AdvTxContext>, descriptor);
        self.pending |= sent.is_ok();
    }

    /// Tells the device of what was put in.
    #[inline]
    fn flush(&mut self) {
        if core::mem::take(&mut self.pending) && self.producer.flush() {
            self.tail.ring(self.producer.ring().next_to_use());
        }
    }
}

/// What a poll does about XDP.
pub(crate) struct Xdp<'a> {
    pub(crate) prog: Option<ProgRef<'a>>,
    pub(crate) queue: Option<&'a mut XdpQueue>,
    /// Whether a frame was redirected.
    pub(crate) redirected: bool,
}

impl Xdp<'_> {
    /// Ends the poll: lets go what was sent and redirected.
    #[inline]
    pub(crate) fn finish(self, napi: &NapiRef) {
        if let Some(queue) = self.queue {
            queue.flush();
        }
        if self.redirected {
            xdp::flush(napi);
        }
    }
}

/// Sends what other devices redirect to this one.
pub(crate) fn xmit(
    dev: &net::Device<Adapter>,
    frames: &mut xdp::XdpFrames<'_>,
    flush: bool,
) -> Result {
    let (queues, _) = dev.real_num_queues();
    let queue = frames.cpu().checked_rem(queues).unwrap_or(0);
    let has_program = dev.data().xdp_prog.is_some();
    dev.with_tx_queue(queue, |queue| {
        if !has_program {
            return Err(ENXIO);
        }
        queue.xmit_xdp(frames, flush);
        Ok(())
    })
    .unwrap_or(Err(ENETDOWN))
}
