// SPDX-License-Identifier: GPL-2.0
//! What NAPI and netpoll ask of a vector.

use crate::{
    adapter::Adapter,
    vector::{
        Vector,
        VectorIrq, //
    }, //
};
use nic::net::{
    Device,
    NapiRef,
    Poll,
    Polled, //
};

impl Poll for Vector {
    type Driver = Adapter;
    type Irq = VectorIrq;

    fn poll(
        &mut self,
        dev: &Device<Adapter>,
        irq: &VectorIrq,
        napi: &NapiRef,
        budget: u32,
    ) -> Polled {
        let a = dev.data();
        self.poll(
            irq,
            (&a.rx_stats, (&a.tx_stats, &a.xdp_stats)),
            (&a.hw, &a.vlans, dev.features()),
            a.xdp_prog.get(napi),
            napi,
            budget,
        )
    }

    fn netpoll(&mut self, dev: &Device<Adapter>) {
        let a = dev.data();
        self.clean_tx((&a.tx_stats, &a.xdp_stats), None);
    }
}
