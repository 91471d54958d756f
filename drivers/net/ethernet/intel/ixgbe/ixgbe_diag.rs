// SPDX-License-Identifier: GPL-2.0
//! Self tests (`ethtool -t`, `ixgbe_diag_test`).

use crate::{
    ixgbe_lib,
    Adapter,
    State, //
};
use kernel::prelude::*;
use libixgbe::{
    desc::*,
    diag,
    link,
    mac,
    ring::{
        self,
        QueueRegs,
        RxRing,
        TxRing, //
    },
    Delay,
    Regs, //
};
use nic::{
    dma::{
        FromDevice,
        Mapping,
        Ring,
        ToDevice, //
    },
    net::{
        self,
        ethtool::TestResult,
        Rtnl, //
    }, //
};
use zerocopy::byteorder::little_endian::{
    U32,
    U64, //
};

/// Descriptors of the rings of the loopback test.
const DESCS: u32 = 128;
/// Frames sent at once.
const FRAMES: u32 = 64;
/// Bytes of each.
const FRAME_LEN: usize = 1024;
/// Bytes of a receive buffer.
const BUF_LEN: usize = 2048;
/// TIMEOUT: polls for the frames, 1 ms each (`ixgbe_run_loopback_test` sleeps 200 ms).
const POLLS: u32 = 500;

/// Runs the tests, one result each, 0 for passed.
pub(crate) fn run(
    dev: &net::Device<Adapter>,
    rtnl: &Rtnl,
    offline: bool,
    results: &mut [u64],
) -> TestResult {
    results.fill(0);
    let [regs, eeprom, _interrupt, loopback, link] = results else {
        return TestResult::Failed;
    };
    let a = dev.data();
    let hw = &a.hw;
    if hw.removed() {
        results.fill(1);
        return TestResult::Failed;
    }
    let in_use = {
        let state = a.state.lock();
        state.vfs.iter().any(|vf| vf.clear_to_send)
    };
    if offline && in_use {
        dev_warn!(
            dev.parent(),
            "offline diagnostic is not supported when VFs are present\n"
        );
        results.fill(1);
        return TestResult::Failed;
    }
    // Before the others reset the link.
    *link = u64::from(!link::wait_for_link(hw).up);
    if offline {
        let up = ixgbe_lib::wanted_up(dev, rtnl);
        if up {
            ixgbe_lib::down(dev, rtnl);
        }
        {
            let state = &mut *a.state.lock();
            ixgbe_lib::reset(dev, state);
            *regs = match diag::test_registers(hw) {
                Ok(()) => 0,
                Err(reg) => {
                    dev_err!(dev.parent(), "failed register test at {:#07x}\n", reg);
                    1
                }
            };
            ixgbe_lib::reset(dev, state);
            *eeprom = u64::from(dev.data().board.chip().validate_eeprom(hw).is_err());
            // As in the C driver MSI-X is not tested: every queue of a working interface tests it
            // all the time.
            if state.sw.pools.is_none() {
                ixgbe_lib::reset(dev, state);
                *loopback = match test_loopback(dev, state) {
                    Ok(()) => 0,
                    Err(e) => {
                        dev_err!(dev.parent(), "failed loopback test: {:?}\n", e);
                        1
                    }
                };
            }
            ixgbe_lib::reset(dev, state);
        }
        if up && ixgbe_lib::up(dev, rtnl).is_err() {
            dev_err!(dev.parent(), "Cannot bring the interface up again\n");
        }
    }
    if results.iter().all(|r| *r == 0) {
        TestResult::Passed
    } else {
        TestResult::Failed
    }
}

/// Sends frames on queue 0 with the MAC looped back, and expects each of them as it was.
fn test_loopback(dev: &net::Device<Adapter>, state: &mut State) -> Result {
    let hw = &dev.data().hw;
    let regs = QueueRegs::pf(0);
    let tx = Ring::new(dev.parent(), DESCS)?;
    let rx = Ring::new(dev.parent(), DESCS)?;
    let mut frame = KVec::from_elem(0u8, FRAME_LEN, GFP_KERNEL)?;
    diag::fill_loopback_frame(&mut frame);
    let frame = Mapping::<ToDevice>::new(dev.parent(), frame)?;
    let mut bufs = KVec::with_capacity(FRAMES as usize, GFP_KERNEL)?;
    for i in 0..FRAMES {
        let buf = KVec::from_elem(0u8, BUF_LEN, GFP_KERNEL)?;
        let buf = Mapping::<FromDevice>::new(dev.parent(), buf)?;
        rx.write(
            i,
            AdvRxRead {
                pkt_addr: U64::new(buf.dma_address()),
                hdr_addr: U64::ZERO,
            },
        );
        bufs.push(buf, GFP_KERNEL)?;
    }

    let chip = dev.data().board.chip();
    mac::configure_packet_buffers(hw, chip);
    libixgbe::sriov::setup_mtqc(hw, None);
    mac::enable_tx_dma(hw);
    let tx_ring = TxRing {
        regs,
        dma: tx.dma_address(),
        count: DESCS,
        wthresh: 1,
    };
    let rx_ring = RxRing {
        regs,
        dma: rx.dma_address(),
        count: DESCS,
        buffer_len: BUF_LEN as u32,
        drop_en: false,
        vlan_strip: false,
    };
    tx_ring.enable(hw).map_err(|_| ETIMEDOUT)?;
    state.mac.disable_rx(hw);
    mac::configure_rx_common(hw);
    mac::set_max_frame(hw, 1518);
    rx_ring.enable(hw).map_err(|_| ETIMEDOUT)?;
    hw.write32(regs.rdt, FRAMES);
    state.mac.enable_rx(hw);
    diag::setup_loopback(hw, chip, state.mac.orig_autoc.unwrap_or(0));

    for i in 0..FRAMES {
        let cmd = ADVTXD_DTYP_DATA
            | ADVTXD_DCMD_DEXT
            | ADVTXD_DCMD_IFCS
            | ADVTXD_DCMD_EOP
            | ADVTXD_DCMD_RS;
        tx.write(
            i,
            AdvTxData {
                buffer_addr: U64::new(frame.dma_address()),
                cmd_type_len: U32::new(cmd | FRAME_LEN as u32),
                olinfo_status: U32::new((FRAME_LEN as u32) << ADVTXD_PAYLEN_SHIFT),
            },
        );
    }
    hw.write32(regs.tdt, FRAMES);
    let done = |i| rx.status(i) as u32 & RXD_STAT_DD != 0;
    for _ in 0..POLLS {
        if done(FRAMES - 1) {
            break;
        }
        hw.usleep(1000);
    }

    diag::cleanup_loopback(hw);
    let stopped = ring::rx_disable(hw, &regs).is_ok() & ring::tx_disable(hw, &regs).is_ok();
    hw.udelay(100);
    if !stopped {
        // The reset that follows stops it; the memory is given up for good, since it may still be
        // written to.
        core::mem::forget((tx, rx, frame, bufs));
        return Err(ETIMEDOUT);
    }
    for (i, buf) in (0..FRAMES).zip(&mut bufs) {
        if !done(i) {
            return Err(ENODATA);
        }
        if !buf.sync_for_cpu(|data| diag::check_loopback_frame(data, FRAME_LEN)) {
            return Err(EBADMSG);
        }
    }
    Ok(())
}
