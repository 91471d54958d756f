// SPDX-License-Identifier: GPL-2.0-only
/* Descriptor rings: advanced descriptors, one buffer a frame. */
#include <string.h>
#include <unistd.h>

#include <linux/compiler.h>
#include <asm/barrier.h>

#include "hw.h"

static u32 next(u32 index)
{
	return (index + 1) % IXGBEVF_RING_SIZE;
}

static void post_rx(struct ixgbevf *vf, int queue, u32 index)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, queue);

	ixgbevf_ext_posted(vf, queue, index);
	mem->rx_ring[index].lo = htole64(ixgbevf_iova(vf, mem->rx_buffer[index]));
	/* DD lies here: it must be clear before the device may set it. */
	mem->rx_ring[index].hi = 0;
	ixgbevf_cpu_wrote(vf, &mem->rx_ring[index], sizeof(mem->rx_ring[index]));
}

/* Poll until the queue says what it was asked to be. */
static void wait_enable(struct ixgbevf *vf, u32 reg, u32 bit, bool on)
{
	int retries = 100000;

	while (!!(ixgbevf_read(vf, reg) & bit) != on && retries-- > 0)
		usleep(100);

	VFIO_ASSERT_GE(retries, 0, "queue did not %s\n", on ? "start" : "stop");
}

/* Program a stopped ring and start it with an empty ring at index 0. */
static void start_rx(struct ixgbevf *vf, int queue)
{
	iova_t iova = ixgbevf_iova(vf, ixgbevf_queue(vf, queue)->rx_ring);

	ixgbevf_write(vf, IXGBE_VFRDBAL(queue), iova);
	ixgbevf_write(vf, IXGBE_VFRDBAH(queue), iova >> 32);
	ixgbevf_write(vf, IXGBE_VFRDLEN(queue), sizeof(vf->memory->queue[0].rx_ring));
	ixgbevf_write(vf, IXGBE_VFRDH(queue), 0);
	ixgbevf_write(vf, IXGBE_VFRDT(queue), 0);
	ixgbevf_write(vf, IXGBE_VFSRRCTL(queue),
		      IXGBE_SRRCTL_DROP_EN | IXGBE_SRRCTL_DESCTYPE_ADV_ONEBUF |
		      IXGBEVF_BUFFER_SIZE >> IXGBE_SRRCTL_BSIZEPKT_SHIFT);
	ixgbevf_write(vf, IXGBE_VFRXDCTL(queue), IXGBE_RXDCTL_ENABLE);
	wait_enable(vf, IXGBE_VFRXDCTL(queue), IXGBE_RXDCTL_ENABLE, true);
}

static void start_tx(struct ixgbevf *vf, int queue)
{
	iova_t iova = ixgbevf_iova(vf, ixgbevf_queue(vf, queue)->tx_ring);

	ixgbevf_write(vf, IXGBE_VFTDBAL(queue), iova);
	ixgbevf_write(vf, IXGBE_VFTDBAH(queue), iova >> 32);
	ixgbevf_write(vf, IXGBE_VFTDLEN(queue), sizeof(vf->memory->queue[0].tx_ring));
	/* Not cleared by a function level reset (82599 Specification Update). */
	ixgbevf_write(vf, IXGBE_VFTDWBAL(queue), 0);
	ixgbevf_write(vf, IXGBE_VFTDWBAH(queue), 0);
	ixgbevf_write(vf, IXGBE_VFTDH(queue), 0);
	ixgbevf_write(vf, IXGBE_VFTDT(queue), 0);
	ixgbevf_write(vf, IXGBE_VFTXDCTL(queue), IXGBE_TXDCTL_ENABLE);
	wait_enable(vf, IXGBE_VFTXDCTL(queue), IXGBE_TXDCTL_ENABLE, true);
}

void ixgbevf_rings_start(struct ixgbevf *vf)
{
	u32 queue;
	u32 i;

	for (queue = 0; queue < vf->queues; queue++) {
		struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, queue);

		memset(mem->rx_ring, 0, sizeof(mem->rx_ring));
		memset(mem->tx_ring, 0, sizeof(mem->tx_ring));
		ixgbevf_cpu_wrote(vf, mem->rx_ring,
				  sizeof(mem->rx_ring) + sizeof(mem->tx_ring));
		vf->rx[queue] = (struct ixgbevf_ring) {};
		vf->tx[queue] = (struct ixgbevf_ring) {};

		start_tx(vf, queue);
		start_rx(vf, queue);

		/* One stays empty: a ring whose tail is its head is an empty one. */
		for (i = 0; i < IXGBEVF_RING_SIZE - 1; i++)
			post_rx(vf, queue, i);
		vf->rx[queue].next_to_use = i;
		wmb();
		ixgbevf_write(vf, IXGBE_VFRDT(queue), i);
	}
}

void ixgbevf_rings_stop(struct ixgbevf *vf)
{
	u32 queue;

	for (queue = 0; queue < vf->queues; queue++) {
		ixgbevf_write(vf, IXGBE_VFRXDCTL(queue), 0);
		ixgbevf_write(vf, IXGBE_VFTXDCTL(queue), 0);
	}
	for (queue = 0; queue < vf->queues; queue++) {
		wait_enable(vf, IXGBE_VFRXDCTL(queue), IXGBE_RXDCTL_ENABLE, false);
		wait_enable(vf, IXGBE_VFTXDCTL(queue), IXGBE_TXDCTL_ENABLE, false);
	}
	/* Datasheet section 4.6.7.1.2: memory is the driver's only some time later. */
	usleep(100);
}

int ixgbevf_rx_poll(struct ixgbevf *vf, int queue)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, queue);
	struct ixgbevf_ring *ring = &vf->rx[queue];
	u32 posted = ring->next_to_use;
	int frames = 0;

	while (ring->next_to_clean != ring->next_to_use) {
		u32 index = ring->next_to_clean;
		u64 hi = le64toh(READ_ONCE(mem->rx_ring[index].hi));
		u32 len = (hi >> 32) & 0xffff;

		if (!(hi & IXGBE_RXD_STAT_DD))
			break;
		rmb();

		/* Frames longer than a buffer are not asked for (SET_LPE). */
		VFIO_ASSERT_TRUE(hi & IXGBE_RXD_STAT_EOP, "frame in two buffers\n");
		VFIO_ASSERT_LE(len, IXGBEVF_BUFFER_SIZE);
		ixgbevf_ext_taken(vf, queue, index);
		if (vf->receive)
			vf->receive(vf, queue, mem->rx_buffer[index], len);

		ring->next_to_clean = next(index);
		post_rx(vf, queue, ring->next_to_use);
		ring->next_to_use = next(ring->next_to_use);
		frames++;
	}

	if (ring->next_to_use != posted) {
		wmb();
		ixgbevf_write(vf, IXGBE_VFRDT(queue), ring->next_to_use);
	}
	return frames;
}

void ixgbevf_tx_clean(struct ixgbevf *vf, int queue)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, queue);
	struct ixgbevf_ring *ring = &vf->tx[queue];

	while (ring->next_to_clean != ring->next_to_use) {
		u64 hi = le64toh(READ_ONCE(mem->tx_ring[ring->next_to_clean].hi));

		if (!((hi >> 32) & IXGBE_TXD_STAT_DD))
			break;
		ring->next_to_clean = next(ring->next_to_clean);
	}
}

u32 ixgbevf_tx_pending(struct ixgbevf *vf, int queue)
{
	struct ixgbevf_ring *ring = &vf->tx[queue];

	ixgbevf_tx_clean(vf, queue);
	return (ring->next_to_use + IXGBEVF_RING_SIZE - ring->next_to_clean) % IXGBEVF_RING_SIZE;
}

u8 *ixgbevf_tx_frame(struct ixgbevf *vf, int queue)
{
	if (ixgbevf_tx_pending(vf, queue) >= IXGBEVF_RING_SIZE - 1)
		return NULL;

	return ixgbevf_queue(vf, queue)->tx_buffer[vf->tx[queue].next_to_use];
}

/* Of a frame's last descriptor. */
#define TX_END		(IXGBE_ADVTXD_DCMD_EOP | IXGBE_ADVTXD_DCMD_RS)

static void fill_tx(struct ixgbevf *vf, int queue, u32 index, u32 len, u32 end)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, queue);
	u32 cmd = len | IXGBE_ADVTXD_DTYP_DATA | IXGBE_ADVTXD_DCMD_DEXT |
		  IXGBE_ADVTXD_DCMD_IFCS | end;

	mem->tx_ring[index].lo = htole64(ixgbevf_iova(vf, mem->tx_buffer[index]));
	mem->tx_ring[index].hi = htole64((u64)len << (32 + IXGBE_ADVTXD_PAYLEN_SHIFT) | cmd);
	ixgbevf_cpu_wrote(vf, &mem->tx_ring[index], sizeof(mem->tx_ring[index]));
	ixgbevf_cpu_wrote(vf, mem->tx_buffer[index], len);
}

void ixgbevf_send(struct ixgbevf *vf, int queue, u32 len)
{
	struct ixgbevf_ring *ring = &vf->tx[queue];

	VFIO_ASSERT_LE(len, IXGBEVF_BUFFER_SIZE);
	fill_tx(vf, queue, ring->next_to_use, len, TX_END);
	ring->next_to_use = next(ring->next_to_use);
	wmb();
	ixgbevf_write(vf, IXGBE_VFTDT(queue), ring->next_to_use);
}

void ixgbevf_send_endless(struct ixgbevf *vf, int queue)
{
	struct ixgbevf_ring *ring = &vf->tx[queue];
	u32 i;

	for (i = 1; i < IXGBEVF_RING_SIZE; i++) {
		fill_tx(vf, queue, ring->next_to_use, 64, 0);
		ring->next_to_use = next(ring->next_to_use);
	}
	wmb();
	ixgbevf_write(vf, IXGBE_VFTDT(queue), ring->next_to_use);
}

void ixgbevf_rx_rearm(struct ixgbevf *vf, int queue)
{
	struct ixgbevf_ring *ring = &vf->rx[queue];
	u32 i;

	/*
	 * All that was received has been taken, so every posted buffer is empty: post
	 * them anew from index 0. No buffer moves, its index is its place.
	 */
	*ring = (struct ixgbevf_ring) {};
	ixgbevf_write(vf, IXGBE_VFRXDCTL(queue), 0);
	wait_enable(vf, IXGBE_VFRXDCTL(queue), IXGBE_RXDCTL_ENABLE, false);
	start_rx(vf, queue);
	for (i = 0; i < IXGBEVF_RING_SIZE - 1; i++)
		post_rx(vf, queue, i);
	ring->next_to_use = i;
	wmb();
	ixgbevf_write(vf, IXGBE_VFRDT(queue), i);
}

void ixgbevf_tx_rearm(struct ixgbevf *vf, int queue, u32 head)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, queue);
	struct ixgbevf_ring *ring = &vf->tx[queue];
	static u8 frames[IXGBEVF_RING_SIZE][IXGBEVF_BUFFER_SIZE];
	u32 lens[IXGBEVF_RING_SIZE];
	u32 count = 0;
	u32 i;

	/* [head, next_to_use) was not sent on the source: send it here, in order. */
	for (i = head % IXGBEVF_RING_SIZE; i != ring->next_to_use; i = next(i)) {
		u64 hi = le64toh(mem->tx_ring[i].hi);

		lens[count] = hi & 0xffff;
		VFIO_ASSERT_LE(lens[count], IXGBEVF_BUFFER_SIZE);
		memcpy(frames[count], mem->tx_buffer[i], lens[count]);
		count++;
	}

	ixgbevf_write(vf, IXGBE_VFTXDCTL(queue), 0);
	wait_enable(vf, IXGBE_VFTXDCTL(queue), IXGBE_TXDCTL_ENABLE, false);
	memset(mem->tx_ring, 0, sizeof(mem->tx_ring));
	ixgbevf_cpu_wrote(vf, mem->tx_ring, sizeof(mem->tx_ring));
	*ring = (struct ixgbevf_ring) {};
	start_tx(vf, queue);
	for (i = 0; i < count; i++) {
		memcpy(mem->tx_buffer[i], frames[i], lens[i]);
		fill_tx(vf, queue, i, lens[i], TX_END);
	}
	ring->next_to_use = count;
	wmb();
	ixgbevf_write(vf, IXGBE_VFTDT(queue), count);
}
