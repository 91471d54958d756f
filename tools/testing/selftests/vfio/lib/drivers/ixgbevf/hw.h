/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the ixgbevf driver share among themselves. */
#ifndef SELFTESTS_VFIO_LIB_DRIVERS_IXGBEVF_HW_H
#define SELFTESTS_VFIO_LIB_DRIVERS_IXGBEVF_HW_H

#include <linux/io.h>

#include <libvfio/ixgbevf.h>

#include "registers.h"

static inline u32 ixgbevf_read(struct ixgbevf *vf, u32 reg)
{
	return readl(vf->bar + reg);
}

static inline void ixgbevf_write(struct ixgbevf *vf, u32 reg, u32 value)
{
	writel(value, vf->bar + reg);
}

/* DMA address of something in the driver's memory. */
static inline iova_t ixgbevf_iova(struct ixgbevf *vf, const void *p)
{
	return vf->iova + ((const u8 *)p - (const u8 *)vf->memory);
}

static inline struct ixgbevf_queue_memory *ixgbevf_queue(struct ixgbevf *vf, int queue)
{
	return &vf->memory->queue[queue];
}

/* Note that the driver wrote @size bytes at @p. */
static inline void ixgbevf_cpu_wrote(struct ixgbevf *vf, const void *p, u64 size)
{
	u64 start = ((const u8 *)p - (const u8 *)vf->memory) / IXGBEVF_PAGE_SIZE;
	u64 end = ((const u8 *)p - (const u8 *)vf->memory + size - 1) / IXGBEVF_PAGE_SIZE;

	if (!vf->cpu_dirty)
		return;
	for (; start <= end; start++)
		vf->cpu_dirty[start / 64] |= 1ULL << (start % 64);
}

/* mbx.c */

/* Whether the PF is resetting or has just done so. */
bool ixgbevf_mbx_reset_pending(struct ixgbevf *vf);

/*
 * Send @msg, wait for the answer and put it into @msg. Returns 0 for ACK, -EPERM
 * for NACK, -ETIMEDOUT without an answer, -EPROTO for an answer to something else.
 */
int ixgbevf_mbx_exchange(struct ixgbevf *vf, u32 *msg);

/* The halves of it. @msg is what was sent, and then the answer. */
int ixgbevf_mbx_send(struct ixgbevf *vf, const u32 *msg);
int ixgbevf_mbx_answer(struct ixgbevf *vf, u32 *msg);

/* Fetch a message that the PF sent on its own. Returns whether there was one. */
bool ixgbevf_mbx_receive(struct ixgbevf *vf, u32 *msg);

/* mbx_ext.c */

/* Tell the PF of the Rx queues, before they are enabled. */
int ixgbevf_ext_register(struct ixgbevf *vf);

/* Answer a message of the extension. */
void ixgbevf_ext_handle(struct ixgbevf *vf, const u32 *msg);

/* The buffers of the shadow array are posted, or this one is no longer. */
void ixgbevf_ext_posted(struct ixgbevf *vf, int queue, u32 index);
void ixgbevf_ext_taken(struct ixgbevf *vf, int queue, u32 index);

/* rings.c */
void ixgbevf_rings_start(struct ixgbevf *vf);
void ixgbevf_rings_stop(struct ixgbevf *vf);

/* Restart a stopped ring at index 0 with whatever is outstanding in it. */
void ixgbevf_rx_rearm(struct ixgbevf *vf, int queue);
void ixgbevf_tx_rearm(struct ixgbevf *vf, int queue, u32 head);

/* Take received frames of one queue. */
int ixgbevf_rx_poll(struct ixgbevf *vf, int queue);
void ixgbevf_tx_clean(struct ixgbevf *vf, int queue);

#endif /* SELFTESTS_VFIO_LIB_DRIVERS_IXGBEVF_HW_H */
