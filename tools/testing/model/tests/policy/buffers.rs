// SPDX-License-Identifier: GPL-2.0
//! A frame that a VF sends by the internal switch does not pass the MAC: it ends where its buffer
//! ends all the same.

#[path = "../common/mod.rs"]
mod common;

use common::{frame, TxRing};
use ixgbe_model::host::Function;
use libixgbe::ring::{self, QueueRegs};
use libixgbe::rxbuf::{BufLayout, Use};
use libixgbe::{regs, Regs};

use crate::bench::{Bench, B, MAC};

const PAGE: u32 = 4096;
const COUNT: u32 = 64;

/// Bytes of a page that one buffer with this layout has, as `page_pool.rs` shares it out.
fn share(layout: &BufLayout) -> u32 {
    /// `SKB_DATA_ALIGN(sizeof(struct skb_shared_info))`
    const TAILROOM: u32 = 320;
    let used = u32::from(layout.headroom) + u32::from(layout.len) + TAILROOM;
    PAGE / (PAGE / used).min(2)
}

fn standard(pools: bool) -> Use {
    Use {
        max_frame: 1518,
        pools,
        ..Use::default()
    }
}

/// Finding 2: the PF's buffers hold what the hardware was told that it may write.
#[test]
fn a_long_frame_of_a_vf_stays_in_the_buffers_of_the_pf() {
    for (destination, length) in [(MAC, 2000), (MAC, 3000), ([0xFF; 6], 3000), (MAC, 15_000)] {
        let bench = Bench::new(2);
        let machine = &bench.machine;
        let mut vf = bench.guest(0);
        vf.set_rar(&bench.vf(0), B).unwrap();
        let layout = BufLayout::new(standard(true));
        let step = share(&layout);
        let io = &bench.io();
        let first = bench.pf.borrow().sw.pools.unwrap().first_queue(2);
        let desc = machine.allocate(COUNT as usize * 16, 128);
        let pages = machine.allocate((COUNT * step) as usize, PAGE.into());
        for i in 0..COUNT {
            let at = pages + u64::from(i * step) + u64::from(layout.headroom);
            machine.store(desc + u64::from(i) * 16, &at.to_le_bytes());
        }
        let rx = ring::RxRing {
            regs: QueueRegs::pf(first),
            dma: desc,
            count: COUNT,
            buffer_len: layout.hw_len,
            drop_en: true,
            vlan_strip: false,
        };
        rx.enable(io).unwrap();
        io.write32(regs::rdt(first), COUNT - 1);
        machine.take_written();
        let mut tx = TxRing::new(machine, Function::Vf(0), 0, 8);
        tx.send(&frame(destination, B, length));
        let written = machine.take_written();
        let ring = desc..desc + u64::from(COUNT) * 16;
        let mut bytes = 0;
        for (function, range) in written.iter().filter(|(f, _)| *f == Function::Pf) {
            if ring.contains(&range.start) {
                continue;
            }
            let slot = (range.start - pages) / u64::from(step);
            let end = pages + (slot + 1) * u64::from(step);
            assert!(
                range.end <= end,
                "{function:?} wrote {} bytes beyond buffer {slot}, of a frame of {length}",
                range.end - end
            );
            bytes += range.end - range.start;
        }
        assert!(bytes >= length as u64, "{bytes} of {length}");
    }
}

/// The same as arithmetic, for every use of a ring.
#[test]
fn only_a_mac_that_holds_to_maxfrs_allows_half_pages() {
    for max_frame in [1518, 1519, 1522, 1523, 9018, 9746] {
        for bits in 0..16u32 {
            let u = Use {
                max_frame,
                legacy_rx: bits & 1 != 0,
                xdp: bits & 2 != 0,
                rxall: bits & 4 != 0,
                pools: bits & 8 != 0,
            };
            let layout = BufLayout::new(u);
            let kept_by_mac = max_frame == 1518 && !(u.rxall || u.pools);
            let room = share(&layout);
            assert!(layout.reach() <= room || kept_by_mac, "{u:?} {layout:?}");
            let looked_at = u32::from(layout.len);
            assert!(
                looked_at == layout.hw_len || kept_by_mac,
                "{u:?} {layout:?}"
            );
        }
    }
    assert_eq!(share(&BufLayout::new(standard(false))), PAGE / 2);
}
