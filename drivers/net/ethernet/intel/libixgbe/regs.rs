// SPDX-License-Identifier: GPL-2.0
//! Registers of the 82599, by the names of the mainline C driver without `IXGBE_`.
//!
//! Addresses are constants (`CTRL`), bits follow their register (`CTRL_RST`), and a register that
//! exists more than once is a `const fn` of its index in lower case (`rdh(queue)`). Section numbers
//! are those of the 82599 datasheet, revision 3.4, chapter 8; values come from Linux 7.3
//! `ixgbe_type.h`, `ixgbe_mbx.h` and `ixgbevf/{regs,defines}.h`. Units are bytes and an index out
//! of range gives an address that means nothing, never a panic.

mod filter;
mod general;
mod interrupt;
mod rx;
mod sfp;
mod sriov;
mod stats;
mod tx;
mod vf;
mod x540;
mod x550;

pub use filter::*;
pub use general::*;
pub use interrupt::*;
pub use rx::*;
pub use sfp::*;
pub use sriov::*;
pub use stats::*;
pub use tx::*;
pub use vf::*;
pub use x540::*;
pub use x550::*;

/// Address of register `i` in a row that starts at `base`.
const fn at(base: u32, stride: u32, i: u32) -> u32 {
    base.wrapping_add(stride.wrapping_mul(i))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two halves of the receive queues, and the registers that the 82598 had elsewhere.
    #[test]
    fn banks() {
        assert_eq!(rdbal(63), 0x1FC0);
        assert_eq!(rdbal(64), 0xD000);
        assert_eq!(rdt(127), 0xDFD8);
        assert_eq!(srrctl(15), 0x213C);
        assert_eq!(srrctl(16), 0x1414);
        assert_eq!(srrctl(64), 0xD014);
        assert_eq!(ral(15), 0x5478);
        assert_eq!(ral(16), 0xA280);
        assert_eq!(rah(127), 0xA5FC);
        assert_eq!(eitr(23), 0x087C);
        assert_eq!(eitr(24), 0x1_2300);
        assert_eq!(vflre(0), 0x0600);
        assert_eq!(vflre(1), 0x01C0);
    }

    /// Per VF registers at the addresses that the VF section of the datasheet and the C driver
    /// agree on.
    #[test]
    fn vf_views() {
        assert_eq!(pfmbmem(63), 0x1_3FC0);
        assert_eq!(pfmailbox(63), 0x4BFC);
        assert_eq!(vfrdh(1), 0x1050);
        assert_eq!(vftdt(1), 0x2058);
        assert_eq!(pvfgorc_msb(1), 0xD060);
    }
}
