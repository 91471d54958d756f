// SPDX-License-Identifier: GPL-2.0
//! Statistics (datasheet 8.2.3.23): cleared by reading unless said otherwise.

use super::at;

// Errors.

/// CRC errors.
pub const CRCERRS: u32 = 0x4000;
/// Illegal byte errors.
pub const ILLERRC: u32 = 0x4004;
/// Error bytes.
pub const ERRBC: u32 = 0x4008;
/// MAC short packet discards.
pub const MSPDC: u32 = 0x4010;
/// Missed packets of class i.
pub const fn mpc(i: u32) -> u32 {
    at(0x3FA0, 4, i)
}
/// MAC local faults.
pub const MLFC: u32 = 0x4034;
/// MAC remote faults.
pub const MRFC: u32 = 0x4038;
/// Receive length errors.
pub const RLEC: u32 = 0x4040;
/// Receive undersize.
pub const RUC: u32 = 0x40A4;
/// Receive fragments.
pub const RFC: u32 = 0x40A8;
/// Receive oversize.
pub const ROC: u32 = 0x40AC;
/// Receive jabber.
pub const RJC: u32 = 0x40B0;

// Flow control.

/// Link XON transmitted.
pub const LXONTXC: u32 = 0x3F60;
/// Link XOFF transmitted.
pub const LXOFFTXC: u32 = 0x3F68;
/// Link XON received.
pub const LXONRXCNT: u32 = 0x41A4;
/// Link XOFF received.
pub const LXOFFRXCNT: u32 = 0x41A8;
/// Priority XON transmitted.
pub const fn pxontxc(i: u32) -> u32 {
    at(0x3F00, 4, i)
}
/// Priority XOFF transmitted.
pub const fn pxofftxc(i: u32) -> u32 {
    at(0x3F20, 4, i)
}
/// Priority XON received.
pub const fn pxonrxcnt(i: u32) -> u32 {
    at(0x4140, 4, i)
}
/// Priority XOFF received.
pub const fn pxoffrxcnt(i: u32) -> u32 {
    at(0x4160, 4, i)
}
/// Priority XON to XOFF.
pub const fn pxon2offcnt(i: u32) -> u32 {
    at(0x3240, 4, i)
}

// Sizes.

/// Received, 64 bytes.
pub const PRC64: u32 = 0x405C;
/// Received, 65 to 127 bytes.
pub const PRC127: u32 = 0x4060;
/// Received, 128 to 255 bytes.
pub const PRC255: u32 = 0x4064;
/// Received, 256 to 511 bytes.
pub const PRC511: u32 = 0x4068;
/// Received, 512 to 1023 bytes.
pub const PRC1023: u32 = 0x406C;
/// Received, 1024 bytes to the maximum.
pub const PRC1522: u32 = 0x4070;
/// Transmitted, 64 bytes.
pub const PTC64: u32 = 0x40D8;
/// Transmitted, 65 to 127 bytes.
pub const PTC127: u32 = 0x40DC;
/// Transmitted, 128 to 255 bytes.
pub const PTC255: u32 = 0x40E0;
/// Transmitted, 256 to 511 bytes.
pub const PTC511: u32 = 0x40E4;
/// Transmitted, 512 to 1023 bytes.
pub const PTC1023: u32 = 0x40E8;
/// Transmitted, 1024 bytes to the maximum.
pub const PTC1522: u32 = 0x40EC;

// Totals.

/// Good packets received.
pub const GPRC: u32 = 0x4074;
/// Broadcast packets received.
pub const BPRC: u32 = 0x4078;
/// Multicast packets received.
pub const MPRC: u32 = 0x407C;
/// Good packets transmitted.
pub const GPTC: u32 = 0x4080;
/// Good octets received, low.
pub const GORCL: u32 = 0x4088;
/// Good octets received, high 4 bits.
pub const GORCH: u32 = 0x408C;
/// Good octets transmitted, low.
pub const GOTCL: u32 = 0x4090;
/// Good octets transmitted, high 4 bits.
pub const GOTCH: u32 = 0x4094;
/// Total octets received, low.
pub const TORL: u32 = 0x40C0;
/// Total octets received, high 4 bits.
pub const TORH: u32 = 0x40C4;
/// Total packets received.
pub const TPR: u32 = 0x40D0;
/// Total packets transmitted.
pub const TPT: u32 = 0x40D4;
/// Multicast packets transmitted.
pub const MPTC: u32 = 0x40F0;
/// Broadcast packets transmitted.
pub const BPTC: u32 = 0x40F4;
/// Management packets received.
pub const MNGPRC: u32 = 0x40B4;
/// Management packets dropped.
pub const MNGPDC: u32 = 0x40B8;
/// Management packets transmitted.
pub const MNGPTC: u32 = 0xCF90;
/// XSUM errors.
pub const XEC: u32 = 0x4120;
/// FC CRC errors.
pub const FCCRC: u32 = 0x5118;
/// BMC to OS packets sent.
pub const B2OSPC: u32 = 0x41C0;
/// BMC to OS packets received.
pub const B2OGPRC: u32 = 0x2F90;
/// OS to BMC packets transmitted.
pub const O2BGPTC: u32 = 0x41C4;
/// OS to BMC packets sent.
pub const O2BSPC: u32 = 0x87B0;

// Per queue counters: 16 sets.

/// Rx queue to counter set map, 4 queues a register, 32.
pub const fn rqsmr(i: u32) -> u32 {
    at(0x2300, 4, i)
}
/// Tx queue to counter set map, 4 queues a register, 32.
pub const fn tqsm(i: u32) -> u32 {
    at(0x8600, 4, i)
}
/// Packets received of set i.
pub const fn qprc(i: u32) -> u32 {
    at(0x1030, 0x40, i)
}
/// Packets transmitted of set i.
pub const fn qptc(i: u32) -> u32 {
    at(0x6030, 0x40, i)
}
/// Bytes received of set i, low.
pub const fn qbrc_l(i: u32) -> u32 {
    at(0x1034, 0x40, i)
}
/// Bytes received of set i, high 4 bits.
pub const fn qbrc_h(i: u32) -> u32 {
    at(0x1038, 0x40, i)
}
/// Bytes transmitted of set i, low.
pub const fn qbtc_l(i: u32) -> u32 {
    at(0x8700, 0x8, i)
}
/// Bytes transmitted of set i, high 4 bits.
pub const fn qbtc_h(i: u32) -> u32 {
    at(0x8704, 0x8, i)
}
/// Packets dropped of set i.
pub const fn qprdc(i: u32) -> u32 {
    at(0x1430, 0x40, i)
}

// Per VF, as the PF reads them: wrap, not cleared by reading.

/// Good packets received by VF i.
pub const fn pvfgprc(i: u32) -> u32 {
    at(0x101C, 0x40, i)
}
/// Good packets transmitted by VF i.
pub const fn pvfgptc(i: u32) -> u32 {
    at(0x8300, 0x04, i)
}
/// Good octets received by VF i, low.
pub const fn pvfgorc_lsb(i: u32) -> u32 {
    at(0x1020, 0x40, i)
}
/// High 4 bits.
pub const fn pvfgorc_msb(i: u32) -> u32 {
    at(0xD020, 0x40, i)
}
/// Good octets transmitted by VF i, low.
pub const fn pvfgotc_lsb(i: u32) -> u32 {
    at(0x8400, 0x08, i)
}
/// High 4 bits.
pub const fn pvfgotc_msb(i: u32) -> u32 {
    at(0x8404, 0x08, i)
}
/// Multicast packets received by VF i.
pub const fn pvfmprc(i: u32) -> u32 {
    at(0xD01C, 0x40, i)
}
/// Good packets that the transmit DMA sent, all functions together.
pub const TXDGPC: u32 = 0x87A0;
