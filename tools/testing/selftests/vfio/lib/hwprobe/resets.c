// SPDX-License-Identifier: GPL-2.0-only
/* What a reset of the VF leaves, what reading clears, and values after a reset. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hwprobe.h"

/* Registers that a reset of a VF is said to leave alone (82599 Specification Update). */
static const struct {
	const char *name;
	u32 reg;
} kept[] = {
	{ "VFRDBAL", IXGBE_VFRDBAL(0) }, { "VFRDLEN", IXGBE_VFRDLEN(0) },
	{ "VFRDH", IXGBE_VFRDH(0) }, { "VFRDT", IXGBE_VFRDT(0) },
	{ "VFSRRCTL", IXGBE_VFSRRCTL(0) }, { "VFRXDCTL", IXGBE_VFRXDCTL(0) },
	{ "VFTDBAL", IXGBE_VFTDBAL(0) }, { "VFTDLEN", IXGBE_VFTDLEN(0) },
	{ "VFTDH", IXGBE_VFTDH(0) }, { "VFTDT", IXGBE_VFTDT(0) },
	{ "VFTXDCTL", IXGBE_VFTXDCTL(0) }, { "VFTDWBAL", IXGBE_VFTDWBAL(0) },
	{ "VFPSRTYPE", IXGBE_VFPSRTYPE }, { "VTEIMS", IXGBE_VTEIMS },
	{ "VTEIAC", IXGBE_VTEIAC }, { "VTIVAR0", IXGBE_VTIVAR(0) },
	{ "VTIVAR_MISC", IXGBE_VTIVAR_MISC }, { "VFGPRC", IXGBE_VFGPRC },
	{ "VFMBMEM3", IXGBE_VFMBMEM(3) },
};

static u32 gates(struct probe *p)
{
	u32 row = p->vf_index / 32, bit = p->vf_index % 32;

	return (probe_pf_read(p, IXGBE_VFRE(row)) >> bit & 1) |
	       (probe_pf_read(p, IXGBE_VFTE(row)) >> bit & 1) << 1;
}

bool probe_reset(struct probe *p, bool by_pcie)
{
	const char *how = by_pcie ? "FLR" : "VFCTRL.RST";
	u32 before[sizeof(kept) / sizeof(kept[0])], mailbox, was = 0;
	struct ixgbevf *vf = &p->vf[0];
	char key[64], text[480] = "";
	u32 i, changed = 0;

	VFIO_ASSERT_EQ(ixgbevf_reinit(vf), 0);
	probe_send(p, 1, 0, 5);
	probe_send(p, 0, 0, 5);
	probe_settle(p, 20000);
	/* Values of their own, so that one that comes back was kept and not set anew. */
	ixgbevf_write(vf, IXGBE_VTIVAR(0), 0x81808180);
	ixgbevf_write(vf, IXGBE_VTIVAR_MISC, IXGBE_IVAR_ALLOC_VAL | IXGBEVF_MBX_VECTOR);
	ixgbevf_write(vf, IXGBE_VTEIAC, 3);
	ixgbevf_write(vf, IXGBE_VTEIMS, 4);
	ixgbevf_write(vf, IXGBE_VFPSRTYPE, 1 << 29);
	for (i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		before[i] = ixgbevf_read(vf, kept[i].reg);
	if (p->pf)
		was = gates(p);

	if (by_pcie) {
		vfio_pci_device_reset(vf->device);
		vfio_pci_cmd_set(vf->device, PCI_COMMAND_MASTER);
	} else {
		ixgbevf_write(vf, IXGBE_VFCTRL, IXGBE_CTRL_RST);
		ixgbevf_read(vf, IXGBE_VFSTATUS);
	}
	/* The PF may set the gates again only when the VF says so (IXGBE_VF_RESET). */
	usleep(10000);
	mailbox = ixgbevf_read(vf, IXGBE_VFMAILBOX);
	for (i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		u32 now = ixgbevf_read(vf, kept[i].reg);
		size_t len = strlen(text);

		if (now == before[i])
			continue;
		changed++;
		snprintf(text + len, sizeof(text) - len, " %s %#x->%#x", kept[i].name, before[i],
			 now);
	}
	snprintf(key, sizeof(key), "after %s", how);
	/* TXDCTL may also have been cleared by the PF's driver, which toggles it on VFLRE. */
	report(key, "%u of %zu registers changed:%s", changed, sizeof(kept) / sizeof(kept[0]),
	       changed ? text : " none");
	snprintf(key, sizeof(key), "VFMAILBOX after %s", how);
	report(key, "%#x", mailbox);
	if (p->pf) {
		snprintf(key, sizeof(key), "VFRE, VFTE after %s", how);
		report(key, "%u, %u (were %u, %u)", gates(p) & 1, gates(p) >> 1, was & 1, was >> 1);
	}

	/* The VF works again: that is all that can be right or wrong here. */
	probe_begin(p);
	probe_send(p, 1, 0, 5);
	return probe_arrived(p, 0, 5);
}

bool probe_read_clears(struct probe *p)
{
	struct ixgbevf *vf = &p->vf[0];
	u32 by_pf, by_vf;

	/* A cause without a vector enabled for it, and nobody to clear it. */
	ixgbevf_write(vf, IXGBE_VTEIMC, 7);
	ixgbevf_write(vf, IXGBE_VTEIAC, 0);
	ixgbevf_read(vf, IXGBE_VTEICR);
	ixgbevf_write(vf, IXGBE_VTEICS, 2);
	by_pf = probe_pf_read(p, IXGBE_PVTEICR(p->vf_index));
	by_vf = ixgbevf_read(vf, IXGBE_VTEICR);
	report("PVTEICR", "raised 0x2, the PF read %#x, then the VF read %#x: %s", by_pf, by_vf,
	       by_vf & 2 ? "reading did not clear" : "reading cleared");

	/* RSTD is cleared by reading; a reset of the VF sets it, if the PF is up. */
	ixgbevf_write(vf, IXGBE_VFCTRL, IXGBE_CTRL_RST);
	ixgbevf_read(vf, IXGBE_VFSTATUS);
	usleep(10000);
	by_pf = probe_pf_read(p, IXGBE_PVFMAILBOX(p->vf_index));
	by_vf = ixgbevf_read(vf, IXGBE_VFMAILBOX);
	report("PVFMAILBOX", "the PF read %#x, then the VF read %#x: %s", by_pf, by_vf,
	       !(by_pf & IXGBE_VFMAILBOX_RSTD) ? "RSTD was not set" :
	       by_vf & IXGBE_VFMAILBOX_RSTD ? "reading did not clear RSTD" :
	       "reading cleared RSTD");

	VFIO_ASSERT_EQ(ixgbevf_reinit(vf), 0);
	ixgbevf_write(vf, IXGBE_VFPSRTYPE, 0);
	return true;
}

bool probe_values(struct probe *p)
{
	static const struct {
		const char *name;
		u32 reg;
	} values[] = {
		{ "DTXTCPFLGL", 0x04a88 }, { "DTXTCPFLGH", 0x04a8c },
		{ "PFMBIMR0", 0x00720 }, { "PFMBIMR1", 0x00724 },
		{ "GCR_EXT", 0x11050 }, { "MRQC", 0x05818 }, { "MTQC", 0x08120 },
		{ "VT_CTL", 0x051b0 }, { "PFDTXGSWC", 0x08220 }, { "EIAC", 0x00810 },
		{ "EITRSEL", 0x00894 }, { "GPIE", 0x00898 }, { "WQBR_RX0", 0x02fb0 }, { "WQBR_TX0", 0x08130 }, { "RDRXCTL", 0x02f00 },
		{ "DMATXCTL", 0x04a80 }, { "HLREG0", 0x04240 }, { "MAXFRS", 0x04268 },
		/* Error bits of the firmware are 0x01f80000. */
		{ "FWSM", 0x10148 }, { "LINKS", 0x042a4 },
	};
	u32 i;

	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		report(values[i].name, "%#010x", probe_pf_read(p, values[i].reg));
	return true;
}
