// SPDX-License-Identifier: GPL-2.0
//! Interrupts (datasheet 8.2.3.5).

use super::at;

// Cause, mask and automatic clear.

/// Extended interrupt cause; read clears.
pub const EICR: u32 = 0x0800;
/// Cause set.
pub const EICS: u32 = 0x0808;
/// Mask set and read.
pub const EIMS: u32 = 0x0880;
/// Mask clear.
pub const EIMC: u32 = 0x0888;
/// Auto clear.
pub const EIAC: u32 = 0x0810;
/// Auto mask.
pub const EIAM: u32 = 0x0890;
/// Cause set, queues 0 to 63.
pub const fn eics_ex(i: u32) -> u32 {
    at(0x0A90, 4, i)
}
/// Mask set, queues 0 to 63.
pub const fn eims_ex(i: u32) -> u32 {
    at(0x0AA0, 4, i)
}
/// Mask clear, queues 0 to 63.
pub const fn eimc_ex(i: u32) -> u32 {
    at(0x0AB0, 4, i)
}
/// Auto mask, queues 0 to 63.
pub const fn eiam_ex(i: u32) -> u32 {
    at(0x0AD0, 4, i)
}
/// RTx Queue Interrupt.
pub const EICR_RTX_QUEUE: u32 = 0xFFFF;
/// FDir Exception.
pub const EICR_FLOW_DIR: u32 = 0x1_0000;
/// Packet Buffer Overrun.
pub const EICR_RX_MISS: u32 = 0x2_0000;
/// PCI Exception.
pub const EICR_PCI: u32 = 0x4_0000;
/// VF to PF Mailbox Interrupt.
pub const EICR_MAILBOX: u32 = 0x8_0000;
/// Link Status Change.
pub const EICR_LSC: u32 = 0x0010_0000;
/// Manageability Event Interrupt.
pub const EICR_MNG: u32 = 0x0040_0000;
/// Thermal Sensor Event.
pub const EICR_TS: u32 = 0x0080_0000;
/// Timesync Event.
pub const EICR_TIMESYNC: u32 = 0x0100_0000;
/// Pin SDP0.
pub const EICR_GPI_SDP0: u32 = 0x0100_0000;
/// Pin SDP1.
pub const EICR_GPI_SDP1: u32 = 0x0200_0000;
/// Pin SDP2.
pub const EICR_GPI_SDP2: u32 = 0x0400_0000;
/// ECC Error.
pub const EICR_ECC: u32 = 0x1000_0000;
/// Descriptor Handler Error.
pub const EICR_DHER: u32 = 0x2000_0000;
/// TCP Timer.
pub const EICR_TCP_TIMER: u32 = 0x4000_0000;
/// Interrupt Cause Active.
pub const EICR_OTHER: u32 = 0x8000_0000;
/// What the C driver enables at least.
pub const EIMS_ENABLE_MASK: u32 = EICR_RTX_QUEUE | EICR_LSC | EICR_TCP_TIMER | EICR_OTHER;
/// Every cause.
pub const IRQ_CLEAR_MASK: u32 = 0xFFFF_FFFF;

// Throttling and vectors.

/// Throttle of vector i, of 129: interval in 2 us units at bit 3.
pub const fn eitr(i: u32) -> u32 {
    if i <= 23 {
        at(0x0820, 4, i)
    } else {
        at(0x1_2300, 4, i.wrapping_sub(24))
    }
}
/// Interval field.
pub const EITR_ITR_INT_MASK: u32 = 0x0FF8;
/// Low latency moderation.
pub const EITR_LLI_MOD: u32 = 0x8000;
/// Write does not touch the counters.
pub const EITR_CNT_WDIS: u32 = 0x8000_0000;
/// Longest interval.
pub const MAX_EITR: u32 = 0x0FF8;
/// Shortest interval.
pub const MIN_EITR: u32 = 8;
/// Routes EITR of vectors 32 and up in VT mode.
pub const EITRSEL: u32 = 0x0894;
/// Vector of queues 2i and 2i+1: Rx, Tx, Rx, Tx bytes.
pub const fn ivar(i: u32) -> u32 {
    at(0x0900, 4, i)
}
/// Vector of TCP timer (low byte) and other causes (high byte).
pub const IVAR_MISC: u32 = 0x0A00;
/// Interrupt Allocation valid.
pub const IVAR_ALLOC_VAL: u32 = 0x80;
/// General purpose interrupt enable.
pub const GPIE: u32 = 0x0898;
/// MSI-X mode.
pub const GPIE_MSIX_MODE: u32 = 0x10;
/// Other Clear Disable.
pub const GPIE_OCD: u32 = 0x20;
/// Immediate Interrupt Enable.
pub const GPIE_EIMEN: u32 = 0x40;
/// Extended auto mask enable.
pub const GPIE_EIAME: u32 = 0x4000_0000;
/// Pending bit array support: clears pending bits by itself.
pub const GPIE_PBA_SUPPORT: u32 = 0x8000_0000;
/// Shift of the field.
pub const GPIE_RSC_DELAY_SHIFT: u32 = 11;
/// VT Mode Mask.
pub const GPIE_VTMODE_MASK: u32 = 0xC000;
/// 16 VFs 8 queues per VF.
pub const GPIE_VTMODE_16: u32 = 0x4000;
/// 32 VFs 4 queues per VF.
pub const GPIE_VTMODE_32: u32 = 0x8000;
/// 64 VFs 2 queues per VF.
pub const GPIE_VTMODE_64: u32 = 0xC000;
/// Interrupt on pin SDP0.
pub const SDP0_GPIEN: u32 = 1;
/// Interrupt on pin SDP1.
pub const SDP1_GPIEN: u32 = 2;
/// Interrupt on pin SDP2.
pub const SDP2_GPIEN: u32 = 4;
/// Clear pending MSI-X bits.
pub const fn pbacl(i: u32) -> u32 {
    if i == 0 {
        0x1_1068
    } else {
        at(0x1_10C0, 4, i)
    }
}
/// Vectors of the PF.
pub const MAX_MSIX_VECTORS_82599: u32 = 0x40;
