// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest half of live migration: the mailbox extension that the PF grants by
 * IXGBE_FEATURE_MIGRATION. Where everything that the device wrote is known by
 * IOMMU dirty tracking, or the PF does not know the extension, nothing here runs.
 */
#include <errno.h>
#include <string.h>

#include <linux/compiler.h>
#include <asm/barrier.h>

#include "hw.h"

/* Message dwords; the layouts are those of libixgbe's mbx_ext.rs. */
enum {
	W_TYPE = 0,
	W_VERSION = 1,
	W_GENERATION = 2,
	/* RegisterQueue */
	W_REG_QUEUE = 2,
	W_REG_QUEUES = 3,
	W_REG_CAPS = 4,
	W_REG_ENTRIES = 5,
	W_REG_SHADOW_LO = 6,
	W_REG_SHADOW_HI = 7,
	W_REG_SHADOW_LEN = 8,
	W_REG_BUFFER_LEN = 9,
	W_REG_MARKING = 10,
	/* SaveReply */
	W_SAVE_QUEUES = 3,
	W_SAVE_NTC = 4,
	/* Restore */
	W_RESTORE_QUEUES = 3,
	W_RESTORE_RX = 4,
	W_RESTORE_TX = 5,
	W_RESTORE_HEADS = 6,
	/* RestoreDone */
	W_DONE_REARMED = 3,
	W_DONE_FRAMES = 4,
	/* MarkingReply */
	W_MARKING = 3,
};

void ixgbevf_ext_posted(struct ixgbevf *vf, int queue, u32 index)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, queue);

	mem->shadow[index] = htole64(ixgbevf_iova(vf, mem->rx_buffer[index]));
	ixgbevf_cpu_wrote(vf, &mem->shadow[index], sizeof(mem->shadow[index]));
}

void ixgbevf_ext_taken(struct ixgbevf *vf, int queue, u32 index)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, queue);
	volatile u8 *page = mem->rx_buffer[index];

	/*
	 * Write what is there: the content stays, but whoever write-protected the page
	 * to learn of changes takes a fault. Only then may the entry go: one that is
	 * still listed is reported as dirty, which costs time but never data.
	 */
	if (vf->marking) {
		*page = *page;
		ixgbevf_cpu_wrote(vf, mem->rx_buffer[index], IXGBEVF_BUFFER_SIZE);
		vf->marked++;
	}
	wmb();
	mem->shadow[index] = 0;
	ixgbevf_cpu_wrote(vf, &mem->shadow[index], sizeof(mem->shadow[index]));
}

static int reply(struct ixgbevf *vf, u32 *msg, u32 type)
{
	msg[W_TYPE] = type;
	msg[W_VERSION] = IXGBE_EXT_VERSION;
	return ixgbevf_mbx_exchange(vf, msg);
}

int ixgbevf_ext_register(struct ixgbevf *vf)
{
	u32 queue;
	int ret;

	vf->marking = false;
	if (!vf->migration)
		return 0;

	for (queue = 0; queue < vf->queues; queue++) {
		u32 msg[IXGBE_VFMAILBOX_SIZE] = {};
		struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, queue);
		iova_t shadow = ixgbevf_iova(vf, mem->shadow);

		memset(mem->shadow, 0, sizeof(mem->shadow));
		ixgbevf_cpu_wrote(vf, mem->shadow, sizeof(mem->shadow));
		msg[W_REG_QUEUE] = queue;
		msg[W_REG_QUEUES] = vf->queues;
		msg[W_REG_CAPS] = IXGBE_EXT_CAP_MARK | IXGBE_EXT_CAP_REARM |
				  IXGBE_EXT_CAP_SHADOW;
		msg[W_REG_ENTRIES] = IXGBEVF_RING_SIZE;
		msg[W_REG_SHADOW_LO] = shadow;
		msg[W_REG_SHADOW_HI] = shadow >> 32;
		msg[W_REG_SHADOW_LEN] = sizeof(mem->shadow);
		msg[W_REG_BUFFER_LEN] = IXGBEVF_BUFFER_SIZE;
		ret = reply(vf, msg, IXGBE_VF_REGISTER_QUEUE);
		if (ret)
			return ret;

		if (msg[W_REG_MARKING])
			vf->marking = true;
	}

	return 0;
}

/* First what was received on the source, then fresh rings to receive into. */
static void restore_rx(struct ixgbevf *vf, const u32 *msg, u32 *answer)
{
	u32 queues = msg[W_RESTORE_QUEUES];
	u32 queue;

	VFIO_ASSERT_LE(queues, vf->queues);

	for (queue = 0; queue < queues; queue++) {
		bool rx = msg[W_RESTORE_RX] & (1 << queue);
		bool tx = msg[W_RESTORE_TX] & (1 << queue);

		/* The PF never names a ring that runs. */
		VFIO_ASSERT_FALSE(rx && ixgbevf_read(vf, IXGBE_VFRXDCTL(queue)) &
					IXGBE_RXDCTL_ENABLE);
		VFIO_ASSERT_FALSE(tx && ixgbevf_read(vf, IXGBE_VFTXDCTL(queue)) &
					IXGBE_TXDCTL_ENABLE);
		if (rx) {
			answer[W_DONE_FRAMES] += ixgbevf_rx_poll(vf, queue);
			ixgbevf_rx_rearm(vf, queue);
		}
		answer[W_DONE_REARMED] += rx || tx;
		vf->rearmed += rx + tx;
	}
	vf->restores++;
}

/* The PF serves the VF from its answer on: only then may frames go out that others answer. */
static void restore_tx(struct ixgbevf *vf, const u32 *msg)
{
	u32 queue;

	for (queue = 0; queue < msg[W_RESTORE_QUEUES]; queue++) {
		if (msg[W_RESTORE_TX] & (1 << queue))
			ixgbevf_tx_rearm(vf, queue, msg[W_RESTORE_HEADS + queue] >> 16);
	}
}

void ixgbevf_ext_handle(struct ixgbevf *vf, const u32 *msg)
{
	u32 answer[IXGBE_VFMAILBOX_SIZE] = {};
	bool again = false;
	u32 type;
	u32 queue;

	if (msg[W_VERSION] != IXGBE_EXT_VERSION)
		return;

	answer[W_GENERATION] = msg[W_GENERATION];
	switch (msg[W_TYPE] & IXGBE_VT_MSGTYPE_MASK) {
	case IXGBE_PF_START_MARKING:
	case IXGBE_PF_STOP_MARKING:
		vf->marking = (msg[W_TYPE] & IXGBE_VT_MSGTYPE_MASK) == IXGBE_PF_START_MARKING;
		answer[W_MARKING] = vf->marking;
		type = IXGBE_VF_MARKING_REPLY;
		break;
	case IXGBE_PF_SAVE_REQUEST:
		answer[W_SAVE_QUEUES] = vf->queues;
		for (queue = 0; queue < vf->queues; queue++)
			answer[W_SAVE_NTC + queue] = vf->rx[queue].next_to_clean |
						     vf->tx[queue].next_to_clean << 16;
		type = IXGBE_VF_SAVE_REPLY;
		break;
	case IXGBE_PF_RESTORE:
		/* One that the PF repeats, for want of an answer, is only answered. */
		again = vf->restored == msg[W_GENERATION];
		if (!again)
			restore_rx(vf, msg, answer);
		vf->restored = msg[W_GENERATION];
		type = IXGBE_VF_RESTORE_DONE;
		break;
	default:
		return;
	}

	/* The PF may be gone meanwhile; it asks again if it cares. */
	if (reply(vf, answer, type))
		dev_info(vf->device, "no answer to migration message %#x\n", type);
	if (type == IXGBE_VF_RESTORE_DONE && !again)
		restore_tx(vf, msg);
}
