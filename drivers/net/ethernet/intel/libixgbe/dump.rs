// SPDX-License-Identifier: GPL-2.0
//! The register dump of `ethtool -d`, in the order of the C driver, which ethtool's own decoder
//! expects (`ixgbe_get_regs`).

use crate::{
    regs::*,
    stats::HwStats,
    Regs, //
};

/// Dwords of a dump (`IXGBE_REGS_LEN`).
pub const REGS_LEN: usize = 1145;

/// What stands from an index on.
enum Entry {
    /// One register.
    One(u16, u32),
    /// Registers of a row.
    Row(u16, u16, fn(u32) -> u32),
    /// Registers, four bytes apart, that nothing else here uses.
    Other(u16, u16, u32),
}
use Entry::*;

static ENTRIES: &[Entry] = &[
    One(0, CTRL),
    One(1, STATUS),
    One(2, CTRL_EXT),
    One(3, ESDP),
    One(4, EODSDP),
    One(5, LEDCTL),
    One(6, FRTIMER),
    One(7, TCPTIMER),
    One(8, EEC),
    One(9, EERD),
    One(10, FLA),
    One(11, EEMNGCTL),
    One(12, EEMNGDATA),
    One(13, FLMNGCTL),
    One(14, FLMNGDATA),
    One(15, FLMNGCNT),
    One(16, FLOP),
    One(17, GRC),
    One(18, EICS),
    One(19, EICS),
    One(20, EIMS),
    One(21, EIMC),
    One(22, EIAC),
    One(23, EIAM),
    Row(24, 1, eitr),
    Row(25, 1, ivar),
    Other(26, 1, 0x0000), // MSIXT
    Other(27, 1, 0x2000), // MSIXPBA
    Row(28, 1, pbacl),
    One(29, GPIE),
    One(30, PFCTOP),
    Row(31, 4, fcttv),
    Row(35, 8, fcrtl),
    Row(43, 8, fcrth),
    One(51, FCRTV),
    One(52, TFCS),
    Row(53, 64, rdbal),
    Row(117, 64, rdbah),
    Row(181, 64, rdlen),
    Row(245, 64, rdh),
    Row(309, 64, rdt),
    Row(373, 64, rxdctl),
    Row(437, 16, srrctl),
    Row(453, 16, dca_rxctrl),
    One(469, RDRXCTL),
    Row(470, 8, rxpbsize),
    One(478, RXCTRL),
    One(479, DROPEN),
    One(480, RXCSUM),
    One(481, RFCTL),
    Row(482, 16, ral),
    Row(498, 16, rah),
    Row(514, 1, psrtype),
    One(515, FCTRL),
    One(516, VLNCTRL),
    One(517, MCSTCTRL),
    One(518, MRQC),
    One(519, VMD_CTL),
    Other(520, 8, 0x5A80), // IMIR
    Other(528, 8, 0x5AA0), // IMIREXT
    Other(536, 1, 0x5AC0), // IMIRVP
    Row(537, 32, tdbal),
    Row(569, 32, tdbah),
    Row(601, 32, tdlen),
    Row(633, 32, tdh),
    Row(665, 32, tdt),
    Row(697, 32, txdctl),
    Row(729, 32, tdwbal),
    Row(761, 32, tdwbah),
    Other(793, 1, 0x7E00), // DTXCTL
    Row(794, 16, dca_txctrl),
    One(810, TIPG),
    Row(811, 8, txpbsize),
    One(819, MNGTXMAP),
    One(820, WUC),
    One(821, WUFC),
    One(822, WUS),
    One(823, IPAV),
    One(824, IP4AT),
    One(825, IP6AT),
    One(826, WUPL),
    One(827, WUPM),
    Other(828, 1, 0x9000), // FHFT
    One(829, FCCFG),
    One(831, RTTPCS),
    One(830, RTTDCS),
    One(832, RTRPCS),
    Row(833, 8, rtrpt4c),
    Row(841, 8, rtrpt4s),
    Row(849, 8, rttdt2c),
    Row(857, 8, rttdt2s),
    Row(865, 8, rttpt2c),
    Row(873, 8, rttpt2s),
    One(1038, PCS1GCFIG),
    One(1039, PCS1GLCTL),
    One(1040, PCS1GLSTA),
    Other(1041, 1, 0x4210), // PCS1GDBG0
    Other(1042, 1, 0x4214), // PCS1GDBG1
    One(1043, PCS1GANA),
    One(1044, PCS1GANLP),
    One(1045, PCS1GANNP),
    One(1046, PCS1GANLPNP),
    One(1047, HLREG0),
    One(1048, HLREG1),
    Other(1049, 1, 0x4248), // PAP
    Other(1050, 1, 0x424C), // MACA
    Other(1051, 1, 0x4250), // APAE
    Other(1052, 1, 0x4254), // ARD
    Other(1053, 1, 0x4258), // AIS
    One(1054, MSCA),
    One(1055, MSRWD),
    Other(1056, 1, 0x4264), // MLADD
    One(1057, MAXFRS),
    One(1058, TREG),
    One(1059, PCSS1),
    One(1060, PCSS2),
    One(1061, XPCSS),
    Other(1062, 1, 0x4298), // SERDESC
    One(1063, MACS),
    One(1064, AUTOC),
    One(1065, LINKS),
    One(1066, AUTOC2),
    One(1067, AUTOC3),
    One(1068, ANLP1),
    One(1069, ANLP2),
    Other(1070, 1, 0x4800), // ATLASCTL
    Other(1071, 1, 0x2C20), // RDSTATCTL
    Other(1072, 8, 0x2C00), // RDSTAT
    Other(1080, 1, 0x2F08), // RDHMPN
    Other(1081, 4, 0x2F10), // RIC_DW
    Other(1085, 1, 0x2F20), // RDPROBE
    Other(1086, 1, 0x7C20), // TDSTATCTL
    Other(1087, 8, 0x7C00), // TDSTAT
    Other(1095, 1, 0x7F08), // TDHMPN
    Other(1096, 4, 0x7F10), // TIC_DW
    Other(1100, 1, 0x7F20), // TDPROBE
    Other(1101, 1, 0xC600), // TXBUFCTRL
    Other(1102, 4, 0xC610), // TXBUFDATA
    Other(1106, 1, 0x3600), // RXBUFCTRL
    Other(1107, 4, 0x3610), // RXBUFDATA
    Row(1111, 8, pcie_diag),
    Other(1119, 1, 0x50A4),  // RFVAL
    Other(1120, 1, 0x42B8),  // MDFTC1
    Other(1121, 1, 0x42C0),  // MDFTC2
    Other(1122, 1, 0x42C4),  // MDFTFIFO1
    Other(1123, 1, 0x42C8),  // MDFTFIFO2
    Other(1124, 1, 0x42CC),  // MDFTS
    Other(1125, 1, 0x1106C), // PCIEECCCTL
    Other(1126, 1, 0xC300),  // PBTXECC
    Other(1127, 1, 0x3300),  // PBRXECC
    One(1128, MFLCN),
    One(1129, RTRUP2TC),
    One(1130, RTTUP2TC),
    Other(1131, 4, 0x82E0), // TXLLQ
    One(1135, RTTBCNRM),
    One(1136, RTTBCNRD),
    Other(1137, 1, 0x8B00), // RTTQCNCR
    Other(1138, 1, 0x4A90), // RTTQCNTG
    One(1139, SECTXCTRL),
    One(1140, SECTXSTAT),
    One(1141, SECTXBUFFAF),
    One(1142, SECTXMINIFG),
    One(1143, SECRXCTRL),
    One(1144, SECRXSTAT),
];

/// Fills `out` with registers and counters; what the 82599 does not have stays 0.
///
/// EICS is read in the place of EICR, which reading would clear.
pub fn dump(io: &impl Regs, s: &HwStats, out: &mut [u32]) {
    out.fill(0);
    let mut put = |i: u32, val: u32| {
        if let Some(slot) = out.get_mut(i as usize) {
            *slot = val;
        }
    };
    for e in ENTRIES {
        match *e {
            One(i, reg) => put(i.into(), io.read32(reg)),
            Row(i, n, reg) => {
                for k in 0..u32::from(n) {
                    put(u32::from(i).wrapping_add(k), io.read32(reg(k)));
                }
            }
            Other(i, n, reg) => {
                for k in 0..u32::from(n) {
                    put(
                        u32::from(i).wrapping_add(k),
                        io.read32(reg.wrapping_add(k << 2)),
                    );
                }
            }
        }
    }
    let (low, high) = (|v: u64| v as u32, |v: u64| (v >> 32) as u32);
    let counters = [
        (881, s.crcerrs),
        (882, s.illerrc),
        (883, s.errbc),
        (884, s.mspdc),
        (885, s.mpc),
        (893, s.mlfc),
        (894, s.mrfc),
        (895, s.rlec),
        (896, s.lxontxc),
        (897, s.lxonrxc),
        (898, s.lxofftxc),
        (899, s.lxoffrxc),
        (932, s.prc64),
        (933, s.prc127),
        (934, s.prc255),
        (935, s.prc511),
        (936, s.prc1023),
        (937, s.prc1522),
        (938, s.gprc),
        (939, s.bprc),
        (940, s.mprc),
        (941, s.gptc),
        (942, s.gorc),
        (944, s.gotc),
        (954, s.ruc),
        (955, s.rfc),
        (956, s.roc),
        (957, s.rjc),
        (961, s.tor),
        (963, s.tpr),
        (964, s.tpt),
        (965, s.ptc64),
        (966, s.ptc127),
        (967, s.ptc255),
        (968, s.ptc511),
        (969, s.ptc1023),
        (970, s.ptc1522),
        (971, s.mptc),
        (972, s.bptc),
    ];
    for (i, val) in counters {
        put(i, low(val));
    }
    for (i, val) in [(943, s.gorc), (945, s.gotc), (962, s.tor)] {
        put(i, high(val));
    }
    let classes = [
        (900, &s.pxontxc),
        (908, &s.pxonrxc),
        (916, &s.pxofftxc),
        (924, &s.pxoffrxc),
    ];
    for (first, row) in classes {
        for (i, val) in (first..first + 8).zip(row) {
            put(i, low(*val));
        }
    }
}
