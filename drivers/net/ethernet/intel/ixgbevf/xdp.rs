// SPDX-License-Identifier: GPL-2.0
//! XDP programs (`ixgbevf_run_xdp`, `ixgbevf_xdp_setup`).
//!
//! With a program attached each vector gets a transmit queue of its own for what the program sends
//! back, which only its poll uses. If the PF gives no more queues than that, or the VF is to stay
//! migratable, there is one queue pair and one of these ([`libixgbe::vf::queue_layout`]).

use libixgbe::desc::*;
use nic::{
    net::{
        xdp::{
            self,
            SentBack,
            XdpFrame, //
        },
        NapiRef,
        TxConsumer,
        TxProducer, //
    },
    pci::Doorbell,
};

/// Bytes of an Ethernet header.
const ETH_HLEN: u32 = 14;

/// The transmit queue of a vector for frames that a program sends back.
pub(crate) struct XdpQueue {
    pub(crate) producer: TxProducer,
    pub(crate) consumer: TxConsumer,
    pub(crate) tail: Doorbell,
    /// Queue of the function.
    pub(crate) reg_idx: u32,
    /// Frames that the device was not told of yet. The first of them brings the context that all
    /// refer to: it would be enough to send that once, as C does, if the VF could not move to a
    /// device that knows nothing of it.
    pending: bool,
}

impl XdpQueue {
    pub(crate) fn new(
        (producer, consumer): (TxProducer, TxConsumer),
        tail: Doorbell,
        reg_idx: u32,
    ) -> Self {
        Self {
            producer,
            consumer,
            tail,
            reg_idx,
            pending: false,
        }
    }

    /// Puts a frame into the ring; gives it back if there is no room (`ixgbevf_xmit_xdp_ring`).
    pub(crate) fn send(&mut self, frame: SentBack) -> core::result::Result<(), XdpFrame> {
        // With VFs the switch looks at the context's header length (`ADVTXD_CC`); one serves a
        // batch.
        let ctx = (!self.pending).then(|| AdvTxContext {
            vlan_macip_lens: (ETH_HLEN << ADVTXD_MACLEN_SHIFT).into(),
            type_tucmd_mlhl: (ADVTXD_DCMD_DEXT | ADVTXD_DTYP_CTXT).into(),
            ..AdvTxContext::default()
        });
        self.producer.send_back(frame, ctx, |addr, len| AdvTxData {
            buffer_addr: addr.into(),
            cmd_type_len: (ADVTXD_DTYP_DATA
                | ADVTXD_DCMD_DEXT
                | ADVTXD_DCMD_IFCS
                | ADVTXD_DCMD_EOP
                | ADVTXD_DCMD_RS
                | len)
                .into(),
            olinfo_status: (len << ADVTXD_PAYLEN_SHIFT | ADVTXD_CC).into(),
        })?;
        self.pending = true;
        Ok(())
    }

    /// Tells the device of what was put in.
    pub(crate) fn flush(&mut self) {
        if core::mem::take(&mut self.pending) && self.producer.flush() {
            self.tail.ring(self.producer.ring().next_to_use());
        }
    }
}

/// What a poll does about XDP.
pub(crate) struct Xdp<'a> {
    pub(crate) prog: Option<xdp::ProgRef<'a>>,
    pub(crate) queue: Option<&'a mut XdpQueue>,
    /// Whether a frame was redirected.
    pub(crate) redirected: bool,
}

impl Xdp<'_> {
    /// Ends the poll: lets what was sent and redirected go.
    pub(crate) fn finish(self, napi: &NapiRef) {
        if let Some(queue) = self.queue {
            queue.flush();
        }
        if self.redirected {
            xdp::flush(napi);
        }
    }
}
