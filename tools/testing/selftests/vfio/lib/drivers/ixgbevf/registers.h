/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Registers, mailbox messages and descriptors of the virtual function of an Intel 82599,
 * X540 or X550, under the names of drivers/net/ethernet/intel/ixgbevf (regs.h, mbx.h,
 * defines.h).
 */
#ifndef SELFTESTS_VFIO_LIB_DRIVERS_IXGBEVF_REGISTERS_H
#define SELFTESTS_VFIO_LIB_DRIVERS_IXGBEVF_REGISTERS_H

#define PCI_DEVICE_ID_INTEL_82599_VF	0x10ed
#define PCI_DEVICE_ID_INTEL_X540_VF	0x1515
#define PCI_DEVICE_ID_INTEL_X550_VF	0x1565

#define IXGBE_VFCTRL			0x00000
#define IXGBE_CTRL_RST			0x04000000
#define IXGBE_VFSTATUS			0x00008
#define IXGBE_VFLINKS			0x00010
#define IXGBE_LINKS_UP			0x40000000
#define IXGBE_VTEICR			0x00100
#define IXGBE_VTEICS			0x00104
#define IXGBE_VTEIMS			0x00108
#define IXGBE_VTEIMC			0x0010c
#define IXGBE_VTEIAC			0x00110
#define IXGBE_VTEIAM			0x00114
#define IXGBE_VTIVAR(n)			(0x00120 + 4 * (n))
#define IXGBE_VTIVAR_MISC		0x00140
#define IXGBE_IVAR_ALLOC_VAL		0x80
#define IXGBE_VFMBMEM(n)		(0x00200 + 4 * (n))
#define IXGBE_VFMAILBOX			0x002fc
#define IXGBE_VFPSRTYPE			0x00300

#define IXGBE_VFGPRC			0x0101c

#define IXGBE_VFRDBAL(n)		(0x01000 + 0x40 * (n))
#define IXGBE_VFRDBAH(n)		(0x01004 + 0x40 * (n))
#define IXGBE_VFRDLEN(n)		(0x01008 + 0x40 * (n))
#define IXGBE_VFRDH(n)			(0x01010 + 0x40 * (n))
#define IXGBE_VFSRRCTL(n)		(0x01014 + 0x40 * (n))
#define IXGBE_SRRCTL_BSIZEPKT_SHIFT	10
#define IXGBE_SRRCTL_DESCTYPE_ADV_ONEBUF 0x02000000
#define IXGBE_SRRCTL_DROP_EN		0x10000000
#define IXGBE_VFRDT(n)			(0x01018 + 0x40 * (n))
#define IXGBE_VFGPRC			0x0101c
#define IXGBE_VFRXDCTL(n)		(0x01028 + 0x40 * (n))
#define IXGBE_RXDCTL_ENABLE		0x02000000

#define IXGBE_VFTDBAL(n)		(0x02000 + 0x40 * (n))
#define IXGBE_VFTDBAH(n)		(0x02004 + 0x40 * (n))
#define IXGBE_VFTDLEN(n)		(0x02008 + 0x40 * (n))
#define IXGBE_VFTDH(n)			(0x02010 + 0x40 * (n))
#define IXGBE_VFTDT(n)			(0x02018 + 0x40 * (n))
#define IXGBE_VFTXDCTL(n)		(0x02028 + 0x40 * (n))
#define IXGBE_TXDCTL_ENABLE		0x02000000
#define IXGBE_VFTDWBAL(n)		(0x02038 + 0x40 * (n))
#define IXGBE_VFTDWBAH(n)		(0x0203c + 0x40 * (n))

/* RSS of a VF of an X550. */
#define IXGBE_VFMRQC			0x03000
#define IXGBE_VFMRQC_RSSEN		0x00000001
#define IXGBE_VFMRQC_RSS_FIELD_IPV4	0x00020000
#define IXGBE_VFRSSRK(n)		(0x03100 + 4 * (n))
#define IXGBE_VFRSSRK_REGS		10
#define IXGBE_VFRETA(n)			(0x03200 + 4 * (n))
#define IXGBE_VFRETA_REGS		16

/* VFMAILBOX; PFSTS, PFACK and RSTD are cleared by reading. */
#define IXGBE_VFMAILBOX_REQ		0x00000001
#define IXGBE_VFMAILBOX_ACK		0x00000002
#define IXGBE_VFMAILBOX_VFU		0x00000004
#define IXGBE_VFMAILBOX_PFU		0x00000008
#define IXGBE_VFMAILBOX_PFSTS		0x00000010
#define IXGBE_VFMAILBOX_PFACK		0x00000020
#define IXGBE_VFMAILBOX_RSTI		0x00000040
#define IXGBE_VFMAILBOX_RSTD		0x00000080
#define IXGBE_VFMAILBOX_R2C_BITS	0x000000b0

#define IXGBE_VFMAILBOX_SIZE		16

/* First dword of a message. */
#define IXGBE_VT_MSGTYPE_ACK		0x80000000
#define IXGBE_VT_MSGTYPE_NACK		0x40000000
#define IXGBE_VT_MSGTYPE_CTS		0x20000000
#define IXGBE_VT_MSGTYPE_MASK		0x0000ffff
#define IXGBE_VT_MSGINFO_SHIFT		16

#define IXGBE_VF_RESET			0x01
#define IXGBE_VF_SET_MAC_ADDR		0x02
#define IXGBE_VF_SET_MULTICAST		0x03
#define IXGBE_VF_MOST_MULTICAST		30
#define IXGBE_VF_SET_VLAN		0x04
#define IXGBE_VF_SET_LPE		0x05
#define IXGBE_VF_API_NEGOTIATE		0x08
#define IXGBE_VF_GET_QUEUE		0x09
#define IXGBE_VF_FEATURES_NEGOTIATE	0x12
#define IXGBE_PF_CONTROL_MSG		0x0100

/* enum ixgbe_pfvf_api_rev */
#define IXGBE_MBOX_API_11		2
#define IXGBE_MBOX_API_17		8

/* Advanced descriptors, 82599 datasheet sections 7.1.6 and 7.2.3.2.4. */
#define IXGBE_RXD_STAT_DD		0x01
#define IXGBE_RXD_STAT_EOP		0x02
#define IXGBE_TXD_STAT_DD		0x01
#define IXGBE_ADVTXD_DTYP_DATA		0x00300000
#define IXGBE_ADVTXD_DCMD_EOP		0x01000000
#define IXGBE_ADVTXD_DCMD_IFCS		0x02000000
#define IXGBE_ADVTXD_DCMD_RS		0x08000000
#define IXGBE_ADVTXD_DCMD_DEXT		0x20000000
#define IXGBE_ADVTXD_PAYLEN_SHIFT	14

/*
 * Mailbox extension for live migration: a VF that grants this feature bit lists
 * its posted buffers, and restarts rings whose heads the destination could not
 * take back. See Documentation/networking/ixgbe-migration-format.rst.
 */
#define IXGBE_FEATURE_MIGRATION		(1 << 24)
#define IXGBE_EXT_VERSION		1
#define IXGBE_EXT_MAX_QUEUES		8

#define IXGBE_VF_REGISTER_QUEUE		0x40
#define IXGBE_EXT_CAP_MARK		0x01
#define IXGBE_EXT_CAP_REARM		0x02
#define IXGBE_EXT_CAP_SHADOW		0x04
#define IXGBE_VF_SAVE_REPLY		0x41
#define IXGBE_VF_RESTORE_DONE		0x42
#define IXGBE_VF_MARKING_REPLY		0x43
#define IXGBE_PF_START_MARKING		0x0110
#define IXGBE_PF_SAVE_REQUEST		0x0111
#define IXGBE_PF_RESTORE		0x0112
#define IXGBE_PF_STOP_MARKING		0x0113

#endif /* SELFTESTS_VFIO_LIB_DRIVERS_IXGBEVF_REGISTERS_H */
