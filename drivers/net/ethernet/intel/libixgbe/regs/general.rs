// SPDX-License-Identifier: GPL-2.0
//! General control, EEPROM, semaphores, firmware, PCIe and MAC registers.

use super::at;

// Device control (datasheet 8.2.3.1).

/// Device control.
pub const CTRL: u32 = 0x0;
/// PCIe primary disable: no new requests are issued.
pub const CTRL_GIO_DIS: u32 = 0x4;
/// Link reset; clears itself.
pub const CTRL_LNK_RST: u32 = 0x8;
/// Software reset; clears itself.
pub const CTRL_RST: u32 = 0x0400_0000;
/// Both resets at once.
pub const CTRL_RST_MASK: u32 = CTRL_LNK_RST | CTRL_RST;
/// Device status.
pub const STATUS: u32 = 0x8;
/// LAN ID.
pub const STATUS_LAN_ID: u32 = 0xC;
/// LAN ID Shift.
pub const STATUS_LAN_ID_SHIFT: u32 = 2;
/// LAN ID 0.
pub const STATUS_LAN_ID_0: u32 = 0x0;
/// LAN ID 1.
pub const STATUS_LAN_ID_1: u32 = 0x4;
/// PCIe primary enable status: 0 once CTRL_GIO_DIS took effect.
pub const STATUS_GIO: u32 = 0x8_0000;
/// Extended device control.
pub const CTRL_EXT: u32 = 0x18;
/// PF reset done: sets RSTD in every VFMAILBOX.
pub const CTRL_EXT_PFRSTD: u32 = 0x4000;
/// No-snoop disable.
pub const CTRL_EXT_NS_DIS: u32 = 0x1_0000;
/// Relaxed ordering disable.
pub const CTRL_EXT_RO_DIS: u32 = 0x2_0000;
/// Driver loaded, told to firmware.
pub const CTRL_EXT_DRV_LOAD: u32 = 0x1000_0000;
/// Extended software-definable pins.
pub const ESDP: u32 = 0x20;
/// SDP0 Data Value.
pub const ESDP_SDP0: u32 = 0x1;
/// SDP1 Data Value.
pub const ESDP_SDP1: u32 = 0x2;
/// SDP2 Data Value.
pub const ESDP_SDP2: u32 = 0x4;
/// SDP3 Data Value.
pub const ESDP_SDP3: u32 = 0x8;
/// SDP0 IO direction.
pub const ESDP_SDP0_DIR: u32 = 0x0100;
/// SDP1 IO direction.
pub const ESDP_SDP1_DIR: u32 = 0x0200;
/// SDP0 Native Function.
pub const ESDP_SDP0_NATIVE: u32 = 0x1_0000;
/// SDP1 IO mode.
pub const ESDP_SDP1_NATIVE: u32 = 0x2_0000;
/// Extended open-drain software-definable pins (I2CCTL on 82599).
pub const EODSDP: u32 = 0x28;
/// LED control.
pub const LEDCTL: u32 = 0x0200;
/// Blink bit of LED 0; LED n is 8*n higher.
pub const LED_BLINK_BASE: u32 = 0x80;
/// Mode field of LED 0.
pub const LED_MODE_MASK_BASE: u32 = 0xF;
/// Mode: link up.
pub const LED_LINK_UP: u32 = 0x0;
/// Mode: link active.
pub const LED_LINK_ACTIVE: u32 = 0x4;
/// Mode: always on.
pub const LED_ON: u32 = 0xE;
/// Mode: always off.
pub const LED_OFF: u32 = 0xF;
/// Free running timer.
pub const FRTIMER: u32 = 0x48;
/// TCP timer.
pub const TCPTIMER: u32 = 0x4C;
/// Core spare register.
pub const CORESPARE: u32 = 0x0600;
/// Extended VLAN ether type (double VLAN).
pub const EXVET: u32 = 0x5078;

// EEPROM and flash (8.2.3.2).

/// EEPROM/flash control.
pub const EEC: u32 = 0x1_0010;
/// EEPROM clock input.
pub const EEC_SK: u32 = 0x1;
/// EEPROM chip select.
pub const EEC_CS: u32 = 0x2;
/// EEPROM data input.
pub const EEC_DI: u32 = 0x4;
/// EEPROM data output.
pub const EEC_DO: u32 = 0x8;
/// EEPROM access request.
pub const EEC_REQ: u32 = 0x40;
/// EEPROM access grant.
pub const EEC_GNT: u32 = 0x80;
/// EEPROM is present.
pub const EEC_PRES: u32 = 0x0100;
/// Auto read done.
pub const EEC_ARD: u32 = 0x0200;
/// EEPROM address size.
pub const EEC_ADDR_SIZE: u32 = 0x0400;
/// EEPROM size field.
pub const EEC_SIZE: u32 = 0x7800;
/// Shift of EEC_SIZE.
pub const EEC_SIZE_SHIFT: u32 = 11;
/// EEPROM read.
pub const EERD: u32 = 0x1_0014;
/// EEPROM write.
pub const EEWR: u32 = 0x1_0018;
/// Shift of the data in EERD and EEWR.
pub const EEPROM_RW_REG_DATA: u32 = 16;
/// Operation done.
pub const EEPROM_RW_REG_DONE: u32 = 2;
/// Start the operation.
pub const EEPROM_RW_REG_START: u32 = 1;
/// Shift of the word address.
pub const EEPROM_RW_ADDR_SHIFT: u32 = 2;
/// Highest word address EERD can name.
pub const EERD_MAX_ADDR: u32 = 0x3FFF;
/// Word that holds the checksum.
pub const EEPROM_CHECKSUM: u32 = 0x3F;
/// What words 0 to 0x3F and the pointed blocks sum to.
pub const EEPROM_SUM: u32 = 0xBABA;
/// Words are 2^(size + this).
pub const EEPROM_WORD_SIZE_SHIFT: u32 = 6;
/// Polls of EERD/EEWR, 5 us each.
pub const EERD_EEWR_ATTEMPTS: u32 = 100000;
/// EEPROM word: first of the pointers that the checksum follows.
pub const PCIE_ANALOG_PTR: u32 = 0x3;
/// EEPROM word: firmware pointer.
pub const FW_PTR: u32 = 0xF;
/// EEPROM word: printed board assembly number.
pub const PBANUM0_PTR: u32 = 0x15;
/// EEPROM word: second half of it.
pub const PBANUM1_PTR: u32 = 0x16;
/// Word 0 holds this when word 1 points to a string.
pub const PBANUM_PTR_GUARD: u32 = 0xFAFA;
/// EEPROM word: device capabilities.
pub const DEVICE_CAPS: u32 = 0x2C;
/// Mask for WoL capabilities.
pub const DEVICE_CAPS_WOL_MASK: u32 = 0xC;
/// EEPROM word: SAN MAC address.
pub const SAN_MAC_ADDR_PTR: u32 = 0x28;
/// Flash access.
pub const FLA: u32 = 0x1_001C;
/// Manageability EEPROM control.
pub const EEMNGCTL: u32 = 0x1_0110;
/// Manageability EEPROM data.
pub const EEMNGDATA: u32 = 0x1_0114;
/// Manageability flash control.
pub const FLMNGCTL: u32 = 0x1_0118;
/// Manageability flash data.
pub const FLMNGDATA: u32 = 0x1_011C;
/// Manageability flash read counter.
pub const FLMNGCNT: u32 = 0x1_0120;
/// Flash opcode.
pub const FLOP: u32 = 0x1_013C;
/// General receive control.
pub const GRC: u32 = 0x1_0200;
/// Manageability enable.
pub const GRC_MNG: u32 = 0x1;
/// APM enabled in EEPROM.
pub const GRC_APME: u32 = 0x2;

// Semaphores and firmware (8.2.3.4, 10.5.4).

/// Software semaphore.
pub const SWSM: u32 = 0x1_0140;
/// Semaphore between drivers: set by being read.
pub const SWSM_SMBI: u32 = 0x1;
/// Semaphore between software and firmware.
pub const SWSM_SWESMBI: u32 = 0x2;
/// Software/firmware synchronisation (SW_FW_SYNC).
pub const GSSR: u32 = 0x1_0160;
/// EEPROM.
pub const GSSR_EEP_SM: u32 = 0x1;
/// PHY 0.
pub const GSSR_PHY0_SM: u32 = 0x2;
/// PHY 1.
pub const GSSR_PHY1_SM: u32 = 0x4;
/// MAC registers.
pub const GSSR_MAC_CSR_SM: u32 = 0x8;
/// Flash.
pub const GSSR_FLASH_SM: u32 = 0x10;
/// Management command interface.
pub const GSSR_SW_MNG_SM: u32 = 0x0400;
/// Firmware semaphore.
pub const FWSM: u32 = 0x1_0148;
/// Firmware mode field.
pub const FWSM_MODE_MASK: u32 = 0xE;
/// Pass-through mode.
pub const FWSM_FW_MODE_PT: u32 = 0x4;
/// Firmware is valid.
pub const FWSM_FW_VAL_BIT: u32 = 1 << 15;
/// External error indication.
pub const FWSM_EXT_ERR_IND_MASK: u32 = 0x01F8_0000;
/// Firmware status.
pub const FWSTS: u32 = 0x1_5F0C;
/// Host interface control.
pub const HICR: u32 = 0x1_5F00;
/// Enable bit - RO.
pub const HICR_EN: u32 = 0x1;
/// Driver sets it to hand a command to firmware; firmware clears it.
pub const HICR_C: u32 = 0x2;
/// Status Validity.
pub const HICR_SV: u32 = 0x4;
/// Start of the host interface command RAM.
pub const FLEX_MNG: u32 = 0x1_5800;
/// Function active and power state.
pub const FACTPS: u32 = 0x1_0150;
/// Manageblility Clock Gated.
pub const FACTPS_MNGCG: u32 = 0x2000_0000;
/// LAN Function Select.
pub const FACTPS_LFS: u32 = 0x4000_0000;
/// Management control.
pub const MANC: u32 = 0x5820;
/// Rcv TCO packet enable.
pub const MANC_RCV_TCO_EN: u32 = 0x2_0000;
/// Management to host control.
pub const MMNGC: u32 = 0x42D0;
/// Management forbids link changes.
pub const MMNGC_MNG_VETO: u32 = 0x1;

// PCIe (8.2.3.4).

/// PCIe control.
pub const GCR: u32 = 0x1_1000;
/// Completion timeout field.
pub const GCR_CMPL_TMOUT_MASK: u32 = 0xF000;
/// Completion timeout of 10 ms.
pub const GCR_CMPL_TMOUT_10MS: u32 = 0x1000;
/// Resend after a completion timeout.
pub const GCR_CMPL_TMOUT_RESEND: u32 = 0x1_0000;
/// PCIe capability version 2.
pub const GCR_CAP_VER2: u32 = 0x4_0000;
/// PCIe control, extended: VT mode lives here.
pub const GCR_EXT: u32 = 0x1_1050;
/// MSI-X in VT mode.
pub const GCR_EXT_MSIX_EN: u32 = 0x8000_0000;
/// Flush the transmit buffers during a reset.
pub const GCR_EXT_BUFFERS_CLEAR: u32 = 0x4000_0000;
/// 16 pools.
pub const GCR_EXT_VT_MODE_16: u32 = 0x1;
/// 32 pools.
pub const GCR_EXT_VT_MODE_32: u32 = 0x2;
/// 64 pools.
pub const GCR_EXT_VT_MODE_64: u32 = 0x3;
/// VT mode field.
pub const GCR_EXT_VT_MODE_MASK: u32 = 0x3;
/// MSI-X and 64 pools.
pub const GCR_EXT_SRIOV: u32 = GCR_EXT_MSIX_EN | GCR_EXT_VT_MODE_64;
/// PCIe statistics control 1.
pub const GSCL_1: u32 = 0x1_1010;
/// PCIe statistics control 2.
pub const GSCL_2: u32 = 0x1_1014;
/// PCIe statistics control 3.
pub const GSCL_3: u32 = 0x1_1018;
/// PCIe statistics control 4.
pub const GSCL_4: u32 = 0x1_101C;
/// PCIe statistic counter 0.
pub const GSCN_0: u32 = 0x1_1020;
/// PCIe statistic counter 1.
pub const GSCN_1: u32 = 0x1_1024;
/// PCIe statistic counter 2.
pub const GSCN_2: u32 = 0x1_1028;
/// PCIe statistic counter 3.
pub const GSCN_3: u32 = 0x1_102C;
/// PCIe diagnostic.
pub const fn pcie_diag(i: u32) -> u32 {
    at(0x1_1090, 4, i)
}
/// Indirect configuration space access address (the C driver's CIAA).
pub const CIAA: u32 = 0x1_1088;
/// Indirect configuration space access data.
pub const CIAD: u32 = 0x1_108C;
/// DCA control (8.2.3.11).
pub const DCA_CTRL: u32 = 0x1_1074;
/// DCA Disable.
pub const DCA_CTRL_DCA_DISABLE: u32 = 0x1;
/// DCA Mode CB2.
pub const DCA_CTRL_DCA_MODE_CB2: u32 = 0x2;
/// Configuration space: device status of the PCIe capability.
pub const PCI_DEVICE_STATUS: u32 = 0xAA;
/// Requests are outstanding.
pub const PCI_DEVICE_STATUS_TRANSACTION_PENDING: u32 = 0x20;
/// Configuration space: link status of the PCIe capability.
pub const PCI_LINK_STATUS: u32 = 0xB2;
/// Configuration space: device control 2.
pub const PCI_DEVICE_CONTROL2: u32 = 0xC8;
/// Polls of STATUS_GIO, 100 us each.
pub const PCI_PRIMARY_DISABLE_TIMEOUT: u32 = 800;

// MAC (8.2.3.22).

/// MAC control 0.
pub const HLREG0: u32 = 0x4240;
/// Append the CRC.
pub const HLREG0_TXCRCEN: u32 = 0x1;
/// Strip the CRC.
pub const HLREG0_RXCRCSTRP: u32 = 0x2;
/// Accept frames above 1518 bytes, up to MAXFRS.
pub const HLREG0_JUMBOEN: u32 = 0x4;
/// Pad short frames.
pub const HLREG0_TXPADEN: u32 = 0x0400;
/// Bit 12.
pub const HLREG0_TXPAUSEEN: u32 = 0x1000;
/// Bit 14.
pub const HLREG0_RXPAUSEEN: u32 = 0x4000;
/// Loopback at the MAC.
pub const HLREG0_LPBK: u32 = 0x8000;
/// MDC at 2.4 MHz.
pub const HLREG0_MDCSPD: u32 = 0x1_0000;
/// Continuous MDC.
pub const HLREG0_CONTMDC: u32 = 0x2_0000;
/// Bit 18.
pub const HLREG0_CTRLFLTR: u32 = 0x4_0000;
/// Bytes prepended to each frame.
pub const HLREG0_PREPEND: u32 = 0x00F0_0000;
/// Bit 24.
pub const HLREG0_PRIPAUSEEN: u32 = 0x0100_0000;
/// Bits 25-26.
pub const HLREG0_RXPAUSERECDA: u32 = 0x0600_0000;
/// Rx length error reporting.
pub const HLREG0_RXLNGTHERREN: u32 = 0x0800_0000;
/// Rx padding strip.
pub const HLREG0_RXPADSTRIPEN: u32 = 0x1000_0000;
/// MAC status 1.
pub const HLREG1: u32 = 0x4244;
/// MDI single command and address.
pub const MSCA: u32 = 0x425C;
/// MDI Address (new protocol).
pub const MSCA_NP_ADDR_MASK: u32 = 0xFFFF;
/// Shift of the field.
pub const MSCA_NP_ADDR_SHIFT: u32 = 0;
/// Device Type (new protocol).
pub const MSCA_DEV_TYPE_MASK: u32 = 0x001F_0000;
/// Register Address (old protocol.
pub const MSCA_DEV_TYPE_SHIFT: u32 = 16;
/// PHY Address mask.
pub const MSCA_PHY_ADDR_MASK: u32 = 0x03E0_0000;
/// PHY Address shift.
pub const MSCA_PHY_ADDR_SHIFT: u32 = 21;
/// OP CODE 00 (addr cycle).
pub const MSCA_ADDR_CYCLE: u32 = 0x0;
/// OP CODE 01 (write).
pub const MSCA_WRITE: u32 = 0x0400_0000;
/// OP CODE 11 (read).
pub const MSCA_READ: u32 = 0x0C00_0000;
/// ST CODE 01 (old protocol).
pub const MSCA_OLD_PROTOCOL: u32 = 0x1000_0000;
/// Initiate MDI command.
pub const MSCA_MDI_COMMAND: u32 = 0x4000_0000;
/// MDI single read and write data.
pub const MSRWD: u32 = 0x4260;
/// Shift of the field.
pub const MSRWD_READ_DATA_SHIFT: u32 = 16;
/// Addresses that a PHY is looked for at.
pub const MAX_PHY_ADDR: u32 = 32;
/// Maximum frame size (MHADD in the C driver).
pub const MAXFRS: u32 = 0x4268;
/// Maximum frame size field.
pub const MHADD_MFS_MASK: u32 = 0xFFFF_0000;
/// Shift of the field.
pub const MHADD_MFS_SHIFT: u32 = 16;
/// 1G PCS global configuration.
pub const PCS1GCFIG: u32 = 0x4200;
/// 1G PCS link control.
pub const PCS1GLCTL: u32 = 0x4208;
/// 1G PCS link status.
pub const PCS1GLSTA: u32 = 0x420C;
/// Auto-negotiation complete.
pub const PCS1GLSTA_AN_COMPLETE: u32 = 0x1_0000;
/// Auto-negotiation timed out.
pub const PCS1GLSTA_AN_TIMED_OUT: u32 = 0x4_0000;
/// 1G PCS auto-negotiation advertisement.
pub const PCS1GANA: u32 = 0x4218;
/// Symmetric pause.
pub const PCS1GANA_SYM_PAUSE: u32 = 0x80;
/// Asymmetric pause.
pub const PCS1GANA_ASM_PAUSE: u32 = 0x0100;
/// 1G PCS link partner ability.
pub const PCS1GANLP: u32 = 0x421C;
/// 1G PCS next page transmit.
pub const PCS1GANNP: u32 = 0x4220;
/// 1G PCS link partner next page.
pub const PCS1GANLPNP: u32 = 0x4224;
/// Auto-negotiation and link mode control.
pub const AUTOC: u32 = 0x42A0;
/// KX4 and KX ability field.
pub const AUTOC_KX4_KX_SUPP_MASK: u32 = 0xC000_0000;
/// KX4 is offered.
pub const AUTOC_KX4_SUPP: u32 = 0x8000_0000;
/// KX is offered.
pub const AUTOC_KX_SUPP: u32 = 0x4000_0000;
/// Pause field.
pub const AUTOC_PAUSE: u32 = 0x3000_0000;
/// Asymmetric pause is offered.
pub const AUTOC_ASM_PAUSE: u32 = 0x2000_0000;
/// Symmetric pause is offered.
pub const AUTOC_SYM_PAUSE: u32 = 0x1000_0000;
/// KR is offered.
pub const AUTOC_KR_SUPP: u32 = 0x1_0000;
/// Restart auto-negotiation; clears itself.
pub const AUTOC_AN_RESTART: u32 = 0x1000;
/// Force link up.
pub const AUTOC_FLU: u32 = 0x1;
/// Shift of the field.
pub const AUTOC_LMS_SHIFT: u32 = 13;
/// Link mode select.
pub const AUTOC_LMS_MASK: u32 = 0x7 << AUTOC_LMS_SHIFT;
/// 1 Gb/s without auto-negotiation.
pub const AUTOC_LMS_1G_LINK_NO_AN: u32 = 0x0 << AUTOC_LMS_SHIFT;
/// 10 Gb/s parallel without auto-negotiation.
pub const AUTOC_LMS_10G_LINK_NO_AN: u32 = 0x1 << AUTOC_LMS_SHIFT;
/// 1 Gb/s, clause 37.
pub const AUTOC_LMS_1G_AN: u32 = 0x2 << AUTOC_LMS_SHIFT;
/// 10 Gb/s serial.
pub const AUTOC_LMS_10G_SERIAL: u32 = 0x3 << AUTOC_LMS_SHIFT;
/// KX4, KX, KR, clause 73.
pub const AUTOC_LMS_KX4_KX_KR: u32 = 0x4 << AUTOC_LMS_SHIFT;
/// SGMII.
pub const AUTOC_LMS_SGMII_1G_100M: u32 = 0x5 << AUTOC_LMS_SHIFT;
/// Clause 73, then clause 37 at 1 Gb/s.
pub const AUTOC_LMS_KX4_KX_KR_1G_AN: u32 = 0x6 << AUTOC_LMS_SHIFT;
/// Clause 73, SGMII at 1 Gb/s.
pub const AUTOC_LMS_KX4_KX_KR_SGMII: u32 = 0x7 << AUTOC_LMS_SHIFT;
/// 1 Gb/s PMA/PMD field.
pub const AUTOC_1G_PMA_PMD_MASK: u32 = 0x0200;
/// Shift of the field.
pub const AUTOC_1G_PMA_PMD_SHIFT: u32 = 9;
/// 10 Gb/s parallel PMA/PMD field.
pub const AUTOC_10G_PMA_PMD_MASK: u32 = 0x0180;
/// Shift of the field.
pub const AUTOC_10G_PMA_PMD_SHIFT: u32 = 7;
/// XAUI.
pub const AUTOC_10G_XAUI: u32 = 0 << AUTOC_10G_PMA_PMD_SHIFT;
/// KX4.
pub const AUTOC_10G_KX4: u32 = 1 << AUTOC_10G_PMA_PMD_SHIFT;
/// CX4.
pub const AUTOC_10G_CX4: u32 = 2 << AUTOC_10G_PMA_PMD_SHIFT;
/// BX.
pub const AUTOC_1G_BX: u32 = 0 << AUTOC_1G_PMA_PMD_SHIFT;
/// KX.
pub const AUTOC_1G_KX: u32 = 1 << AUTOC_1G_PMA_PMD_SHIFT;
/// SFI.
pub const AUTOC_1G_SFI: u32 = 0 << AUTOC_1G_PMA_PMD_SHIFT;
/// Auto-negotiation control 2.
pub const AUTOC2: u32 = 0x42A8;
/// Upper half.
pub const AUTOC2_UPPER_MASK: u32 = 0xFFFF_0000;
/// 10 Gb/s serial PMA/PMD field.
pub const AUTOC2_10G_SERIAL_PMA_PMD_MASK: u32 = 0x3_0000;
/// Shift of the field.
pub const AUTOC2_10G_SERIAL_PMA_PMD_SHIFT: u32 = 16;
/// KR.
pub const AUTOC2_10G_KR: u32 = 0 << AUTOC2_10G_SERIAL_PMA_PMD_SHIFT;
/// XFI.
pub const AUTOC2_10G_XFI: u32 = 1 << AUTOC2_10G_SERIAL_PMA_PMD_SHIFT;
/// SFI.
pub const AUTOC2_10G_SFI: u32 = 2 << AUTOC2_10G_SERIAL_PMA_PMD_SHIFT;
/// Link disable field.
pub const AUTOC2_LINK_DISABLE_MASK: u32 = 0x7000_0000;
/// Link disable in D3.
pub const AUTOC2_LINK_DISABLE_ON_D3_MASK: u32 = 0x5000_0000;
/// Auto-negotiation control 3.
pub const AUTOC3: u32 = 0x42AC;
/// Link status.
pub const LINKS: u32 = 0x42A4;
/// Auto-negotiation is complete.
pub const LINKS_KX_AN_COMP: u32 = 0x8000_0000;
/// Link is up.
pub const LINKS_UP: u32 = 0x4000_0000;
/// Speed of 82598: 10 Gb/s.
pub const LINKS_SPEED: u32 = 0x2000_0000;
/// Link mode.
pub const LINKS_MODE: u32 = 0x1800_0000;
/// Speed field.
pub const LINKS_SPEED_82599: u32 = 0x3000_0000;
/// 10 Gb/s.
pub const LINKS_SPEED_10G_82599: u32 = 0x3000_0000;
/// 1 Gb/s.
pub const LINKS_SPEED_1G_82599: u32 = 0x2000_0000;
/// 100 Mb/s.
pub const LINKS_SPEED_100_82599: u32 = 0x1000_0000;
/// Link status 2.
pub const LINKS2: u32 = 0x4324;
/// Partner can auto-negotiate.
pub const LINKS2_AN_SUPPORTED: u32 = 0x40;
/// Auto-negotiation link partner 1.
pub const ANLP1: u32 = 0x42B0;
/// Pause field.
pub const ANLP1_PAUSE: u32 = 0x0C00;
/// Partner offers symmetric pause.
pub const ANLP1_SYM_PAUSE: u32 = 0x0400;
/// Partner offers asymmetric pause.
pub const ANLP1_ASM_PAUSE: u32 = 0x0800;
/// Auto-negotiation state machine.
pub const ANLP1_AN_STATE_MASK: u32 = 0xF_0000;
/// Auto-negotiation link partner 2.
pub const ANLP2: u32 = 0x42B4;
/// MAC control.
pub const MACC: u32 = 0x4330;
/// Force link up.
pub const MACC_FLU: u32 = 0x1;
/// MAC flow control.
pub const MFLCN: u32 = 0x4294;
/// Pass MAC Control Frames.
pub const MFLCN_PMCF: u32 = 0x1;
/// Discard Pause Frame.
pub const MFLCN_DPF: u32 = 0x2;
/// Receive Priority FC Enable.
pub const MFLCN_RPFCE: u32 = 0x4;
/// Receive FC Enable.
pub const MFLCN_RFCE: u32 = 0x8;
/// Receive FC Mask.
pub const MFLCN_RPFCE_MASK: u32 = 0x0FF4;
/// Polls for link, 100 ms each.
pub const LINK_UP_TIME: u32 = 90;
/// Polls for auto-negotiation, 100 ms each.
pub const AUTO_NEG_TIME: u32 = 45;
/// Core control.
pub const CORECTL: u32 = 0x1_4F00;
/// Test register.
pub const TREG: u32 = 0x426C;
/// XGXS status 1.
pub const PCSS1: u32 = 0x4288;
/// XGXS status 2.
pub const PCSS2: u32 = 0x428C;
/// 10GBASE-X PCS status.
pub const XPCSS: u32 = 0x4290;
/// MAC FIFO status control.
pub const MACS: u32 = 0x429C;

// Wake-up (8.2.3.24).

/// Wake-up control.
pub const WUC: u32 = 0x5800;
/// PME Enable.
pub const WUC_PME_EN: u32 = 0x2;
/// Wake-up filter control.
pub const WUFC: u32 = 0x5808;
/// Magic Packet Wakeup Enable.
pub const WUFC_MAG: u32 = 0x2;
/// Directed Exact Wakeup Enable.
pub const WUFC_EX: u32 = 0x4;
/// Directed Multicast Wakeup Enable.
pub const WUFC_MC: u32 = 0x8;
/// Broadcast Wakeup Enable.
pub const WUFC_BC: u32 = 0x10;
/// Wake-up status.
pub const WUS: u32 = 0x5810;
/// IP address valid.
pub const IPAV: u32 = 0x5838;
/// IPv4 address table.
pub const IP4AT: u32 = 0x5840;
/// IPv6 address table.
pub const IP6AT: u32 = 0x5880;
/// Wake-up packet length.
pub const WUPL: u32 = 0x5900;
/// Wake-up packet memory.
pub const WUPM: u32 = 0x5A00;

// Flow control (8.2.3.3).

/// Flow control transmit timer value, two classes a register.
pub const fn fcttv(i: u32) -> u32 {
    at(0x3200, 4, i)
}
/// Flow control receive threshold low, per class.
pub const fn fcrtl(i: u32) -> u32 {
    at(0x3220, 4, i)
}
/// Flow control receive threshold high, per class.
pub const fn fcrth(i: u32) -> u32 {
    at(0x3260, 4, i)
}
/// XON enable.
pub const FCRTL_XONE: u32 = 0x8000_0000;
/// Packet buffer fc enable.
pub const FCRTH_FCEN: u32 = 0x8000_0000;
/// Flow control refresh threshold.
pub const FCRTV: u32 = 0x32A0;
/// Flow control configuration.
pub const FCCFG: u32 = 0x3D00;
/// Tx link FC enable.
pub const FCCFG_TFCE_802_3X: u32 = 0x8;
/// Tx priority FC enable.
pub const FCCFG_TFCE_PRIORITY: u32 = 0x10;
/// Transmit flow control status.
pub const TFCS: u32 = 0xCE00;
/// Transmission is paused.
pub const TFCS_TXOFF: u32 = 0x1;
/// Priority flow control type opcode.
pub const PFCTOP: u32 = 0x3008;

// Time stamps.

/// Rx time sync control.
pub const TSYNCRXCTL: u32 = 0x5188;
/// Tx time sync control.
pub const TSYNCTXCTL: u32 = 0x8C00;
/// System time low.
pub const SYSTIML: u32 = 0x8C0C;
/// System time high.
pub const SYSTIMH: u32 = 0x8C10;
/// Increment attributes.
pub const TIMINCA: u32 = 0x8C14;

// Security blocks (8.2.3.12): only switched off, or paused around Rx set-up.

/// Security Tx control.
pub const SECTXCTRL: u32 = 0x8800;
/// Tx path off.
pub const SECTXCTRL_SECTX_DIS: u32 = 0x1;
/// Pause the Tx path.
pub const SECTXCTRL_TX_DIS: u32 = 0x2;
/// Store and forward mode.
pub const SECTXCTRL_STORE_FORWARD: u32 = 0x4;
/// Security Tx status.
pub const SECTXSTAT: u32 = 0x8804;
/// Tx path is quiet.
pub const SECTXSTAT_SECTX_RDY: u32 = 0x1;
/// Fused off.
pub const SECTXSTAT_SECTX_OFF_DIS: u32 = 0x2;
/// Security Tx buffer almost full.
pub const SECTXBUFFAF: u32 = 0x8808;
/// Security Tx minimum inter-frame gap.
pub const SECTXMINIFG: u32 = 0x8810;
/// Security Rx control.
pub const SECRXCTRL: u32 = 0x8D00;
/// Rx path off.
pub const SECRXCTRL_SECRX_DIS: u32 = 0x1;
/// Pause the Rx path.
pub const SECRXCTRL_RX_DIS: u32 = 0x2;
/// Security Rx status.
pub const SECRXSTAT: u32 = 0x8D04;
/// Rx path is quiet.
pub const SECRXSTAT_SECRX_RDY: u32 = 0x1;
/// Fused off.
pub const SECRXSTAT_SECRX_OFF_DIS: u32 = 0x2;
