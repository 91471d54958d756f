// SPDX-License-Identifier: GPL-2.0-only
/* Life of the VF: reset handshake with the PF, negotiation, work loop. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <linux/pci_ids.h>

#include <libvfio/migration.h>

#include "hw.h"

bool ixgbevf_match(struct vfio_pci_device *device)
{
	return ixgbevf_device_id(device);
}

u16 ixgbevf_device_id(struct vfio_pci_device *device)
{
	static const u16 ids[] = {
		PCI_DEVICE_ID_INTEL_82599_VF,
		PCI_DEVICE_ID_INTEL_X540_VF,
		PCI_DEVICE_ID_INTEL_X550_VF,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(ids); i++)
		if (vfio_pci_device_match(device, PCI_VENDOR_ID_INTEL, ids[i]))
			return ids[i];
	return 0;
}

static bool has_own_rss(struct ixgbevf *vf)
{
	return ixgbevf_device_id(vf->device) == PCI_DEVICE_ID_INTEL_X550_VF;
}

/* Any key: other words than zeros, and each another one. */
static u32 rss_key(int i)
{
	return 0x9e3779b9U * (i + 1);
}

/* Entries @i * 4 to @i * 4 + 3: the queues in turn. */
static u32 rss_table(struct ixgbevf *vf, int i)
{
	u32 entries = 0;
	int n;

	for (n = 3; n >= 0; n--)
		entries = entries << 8 | (4 * i + n) % vf->queues;
	return entries;
}

#define RSS_FUNCTIONS	(IXGBE_VFMRQC_RSSEN | IXGBE_VFMRQC_RSS_FIELD_IPV4)

/* ixgbevf_setup_vfmrqc() of the kernel driver. */
static void rss_start(struct ixgbevf *vf)
{
	int i;

	if (!has_own_rss(vf))
		return;
	for (i = 0; i < IXGBE_VFRSSRK_REGS; i++)
		ixgbevf_write(vf, IXGBE_VFRSSRK(i), rss_key(i));
	for (i = 0; i < IXGBE_VFRETA_REGS; i++)
		ixgbevf_write(vf, IXGBE_VFRETA(i), rss_table(vf, i));
	ixgbevf_write(vf, IXGBE_VFMRQC, RSS_FUNCTIONS);
}

bool ixgbevf_rss_is_set(struct ixgbevf *vf)
{
	bool same = true;
	int i;

	if (!has_own_rss(vf))
		return true;
	for (i = 0; i < IXGBE_VFRSSRK_REGS; i++)
		same &= ixgbevf_read(vf, IXGBE_VFRSSRK(i)) == rss_key(i);
	for (i = 0; i < IXGBE_VFRETA_REGS; i++)
		same &= ixgbevf_read(vf, IXGBE_VFRETA(i)) == rss_table(vf, i);
	return same && ixgbevf_read(vf, IXGBE_VFMRQC) == RSS_FUNCTIONS;
}

/* ixgbevf_reset_hw_vf() of the kernel driver. */
static int reset(struct ixgbevf *vf)
{
	u32 msg[IXGBE_VFMAILBOX_SIZE] = { IXGBE_VF_RESET };
	int retries = 1000;
	int ret;

	ixgbevf_write(vf, IXGBE_VTEIMC, (1 << IXGBEVF_MSIX_VECTORS) - 1);
	vf->mailbox = 0;
	vf->postponed[0] = 0;
	ixgbevf_write(vf, IXGBE_VFCTRL, IXGBE_CTRL_RST);
	ixgbevf_read(vf, IXGBE_VFSTATUS);
	usleep(10000);

	while (ixgbevf_mbx_reset_pending(vf) && retries-- > 0)
		usleep(10000);
	if (retries < 0)
		return -ETIMEDOUT;

	/* NACK with the right type says: reset is done, but no address was set. */
	ret = ixgbevf_mbx_exchange(vf, msg);
	if (ret == 0)
		memcpy(vf->mac, &msg[1], sizeof(vf->mac));
	else if (ret != -EPERM)
		return ret;

	return 0;
}

static int set_mac(struct ixgbevf *vf)
{
	u32 msg[IXGBE_VFMAILBOX_SIZE] = { IXGBE_VF_SET_MAC_ADDR };

	memcpy(&msg[1], vf->mac, sizeof(vf->mac));
	return ixgbevf_mbx_exchange(vf, msg);
}

static int negotiate(struct ixgbevf *vf)
{
	int ret = -EPERM;
	u32 api;

	vf->migration = false;
	for (api = IXGBE_MBOX_API_17; ret == -EPERM && api >= IXGBE_MBOX_API_11; api--) {
		u32 msg[IXGBE_VFMAILBOX_SIZE] = { IXGBE_VF_API_NEGOTIATE, api };

		vf->api = api;
		ret = ixgbevf_mbx_exchange(vf, msg);
	}
	if (ret)
		return ret;

	if (vf->api == IXGBE_MBOX_API_17 && !vf->plain) {
		u32 msg[IXGBE_VFMAILBOX_SIZE] = {
			IXGBE_VF_FEATURES_NEGOTIATE, IXGBE_FEATURE_MIGRATION,
		};

		/* A PF that refuses the message does not grant the feature. */
		ret = ixgbevf_mbx_exchange(vf, msg);
		vf->migration = !ret && msg[1] & IXGBE_FEATURE_MIGRATION;
		if (ret == -EPERM)
			ret = 0;
	}

	return ret;
}

int ixgbevf_reinit(struct ixgbevf *vf)
{
	u32 lpe[IXGBE_VFMAILBOX_SIZE] = { IXGBE_VF_SET_LPE, IXGBEVF_MAX_FRAME + 4 };
	int ret;

	ret = reset(vf);
	if (!ret)
		ret = negotiate(vf);
	if (!ret)
		ret = set_mac(vf);
	if (!ret)
		ret = ixgbevf_mbx_exchange(vf, lpe);
	if (!ret)
		ret = ixgbevf_ext_register(vf);
	if (ret)
		return ret;

	ixgbevf_write(vf, IXGBE_VFPSRTYPE, (vf->queues - 1) << 29);
	rss_start(vf);
	ixgbevf_rings_start(vf);
	return 0;
}

int ixgbevf_init(struct ixgbevf *vf, struct vfio_pci_device *device,
		 struct dma_region *region)
{
	VFIO_ASSERT_GE(region->size, sizeof(struct ixgbevf_memory));
	VFIO_ASSERT_TRUE(ixgbevf_match(device));

	vf->memory = region->vaddr;
	vf->iova = region->iova;
	ixgbevf_move(vf, device);

	if (!vf->queues)
		vf->queues = IXGBEVF_QUEUES;
	/* Locally administered, and the same after each reset. */
	if (!vf->mac[0])
		memcpy(vf->mac, (u8 []) { 0x02, 0x82, 0x59, 0x90, 0xff, rand() }, 6);

	vfio_pci_cmd_set(device, PCI_COMMAND_MASTER);
	return ixgbevf_reinit(vf);
}

void ixgbevf_stop(struct ixgbevf *vf)
{
	ixgbevf_rings_stop(vf);
	ixgbevf_write(vf, IXGBE_VFCTRL, IXGBE_CTRL_RST);
	ixgbevf_read(vf, IXGBE_VFSTATUS);
}

void ixgbevf_move(struct ixgbevf *vf, struct vfio_pci_device *device)
{
	vf->device = device;
	vf->bar = device->bars[0].vaddr;
	VFIO_ASSERT_NOT_NULL(vf->bar);
	vf->mailbox = 0;
}

int ixgbevf_arrive(struct ixgbevf *vf, struct vfio_pci_device *device)
{
	vfio_pci_cmd_set(device, PCI_COMMAND_MASTER);
	ixgbevf_move(vf, device);
	return vfio_mig_set_state(device, VFIO_DEVICE_STATE_RUNNING, NULL);
}

int ixgbevf_ask(struct ixgbevf *vf)
{
	u32 msg[IXGBE_VFMAILBOX_SIZE] = { IXGBE_VF_GET_QUEUE };

	return ixgbevf_mbx_send(vf, msg);
}

int ixgbevf_answer(struct ixgbevf *vf)
{
	u32 msg[IXGBE_VFMAILBOX_SIZE] = { IXGBE_VF_GET_QUEUE };

	return ixgbevf_mbx_answer(vf, msg);
}

struct log_start {
	struct vfio_pci_device *device;
	u64 iova;
	u64 size;
	u64 *page_size;
	int ret;
	atomic_bool done;
};

static void *log_start(void *arg)
{
	struct log_start *start = arg;

	start->ret = vfio_log_start(start->device, start->iova, start->size, start->page_size);
	atomic_store(&start->done, true);
	return NULL;
}

int ixgbevf_log_start(struct ixgbevf *vf, u64 iova, u64 size, u64 *page_size)
{
	struct log_start start = {
		.device = vf->device,
		.iova = iova,
		.size = size,
		.page_size = page_size,
	};
	pthread_t thread;

	VFIO_ASSERT_EQ(pthread_create(&thread, NULL, log_start, &start), 0);
	while (!atomic_load(&start.done))
		ixgbevf_poll(vf);
	VFIO_ASSERT_EQ(pthread_join(thread, NULL), 0);
	return start.ret;
}

u32 ixgbevf_frames_received(struct ixgbevf *vf)
{
	return ixgbevf_read(vf, IXGBE_VFGPRC);
}

bool ixgbevf_link(struct ixgbevf *vf)
{
	return ixgbevf_read(vf, IXGBE_VFLINKS) & IXGBE_LINKS_UP;
}

void ixgbevf_irq_init(struct ixgbevf *vf)
{
	u32 queue;

	vfio_pci_msix_enable(vf->device, 0, IXGBEVF_MSIX_VECTORS);

	/* VTIVAR(0): Rx and Tx of queue 0 in the low half, of queue 1 in the high half. */
	ixgbevf_write(vf, IXGBE_VTIVAR(0), 0);
	for (queue = 0; queue < vf->queues; queue++) {
		u32 ivar = ixgbevf_read(vf, IXGBE_VTIVAR(0));
		u32 entry = (IXGBE_IVAR_ALLOC_VAL | queue) * 0x0101;

		ixgbevf_write(vf, IXGBE_VTIVAR(0), ivar | entry << (16 * queue));
	}
	ixgbevf_write(vf, IXGBE_VTIVAR_MISC, IXGBE_IVAR_ALLOC_VAL | IXGBEVF_MBX_VECTOR);
	ixgbevf_write(vf, IXGBE_VTEIAC, (1 << IXGBEVF_MSIX_VECTORS) - 1);
	ixgbevf_write(vf, IXGBE_VTEIMS, (1 << IXGBEVF_MSIX_VECTORS) - 1);
}

static void handle_mailbox(struct ixgbevf *vf)
{
	u32 msg[IXGBE_VFMAILBOX_SIZE];

	if (ixgbevf_mbx_receive(vf, msg)) {
		if (msg[0] & IXGBE_VT_MSGTYPE_CTS) {
			if (vf->migration)
				ixgbevf_ext_handle(vf, msg);
			return;
		}
	} else if (!ixgbevf_mbx_reset_pending(vf)) {
		return;
	}

	/* Clear-to-send is withdrawn, or the PF was reset: start from the beginning. */
	vf->resets++;
	ixgbevf_rings_stop(vf);
	VFIO_ASSERT_EQ(ixgbevf_reinit(vf), 0);
}

int ixgbevf_poll(struct ixgbevf *vf)
{
	int frames = 0;
	u32 queue;

	if (!vf->deaf)
		handle_mailbox(vf);
	for (queue = 0; queue < vf->queues; queue++) {
		ixgbevf_tx_clean(vf, queue);
		frames += ixgbevf_rx_poll(vf, queue);
	}

	return frames;
}
