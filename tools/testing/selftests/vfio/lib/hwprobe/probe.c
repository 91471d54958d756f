// SPDX-License-Identifier: GPL-2.0-only
/* Two VFs and the registers of their PF. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/stat.h>

#include <linux/align.h>
#include <linux/compiler.h>

#include "hwprobe.h"

#define DEVICES "/sys/bus/pci/devices"

static void receive(struct ixgbevf *vf, int queue, const u8 *frame, u32 len)
{
	struct probe *p = vf->context;
	int i = vf - p->vf;
	bool foreign;
	u16 flow;
	u32 seq;

	if (test_frame_check(frame, len, &flow, &seq, &foreign) && flow == p->run) {
		if (!p->arrived[i]++)
			p->first[i] = seq;
	}
}

/* Which of the PF's VFs it is. */
static u32 index_of(const char *bdf)
{
	char link[PATH_MAX], target[PATH_MAX];
	u32 i;

	for (i = 0; i < 64; i++) {
		snprintf(link, sizeof(link), DEVICES "/%s/physfn/virtfn%u", bdf, i);
		if (realpath(link, target) && !strcmp(basename(target), bdf))
			return i;
	}
	VFIO_FAIL("%s is not a VF\n", bdf);
}

/*
 * With CONFIG_IO_STRICT_DEVMEM the kernel lets nobody map what a driver uses, unless
 * it was booted with iomem=relaxed. The questions to the PF are then left out.
 */
static void map_pf(struct probe *p)
{
	char path[PATH_MAX];
	struct stat st;
	void *map;
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/physfn/resource0", p->env.device[0]->bdf);
	fd = open(path, O_RDWR);
	if (fd < 0 || fstat(fd, &st)) {
		report("pf registers", "not available: %s: %s", path, strerror(errno));
		return;
	}
	map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED) {
		report("pf registers", "not available: %s (boot with iomem=relaxed)",
		       strerror(errno));
		return;
	}
	p->pf = map;
	p->pf_size = st.st_size;

	/* 1, 2 and 3 are 16, 32 and 64 pools. */
	switch (probe_pf_read(p, IXGBE_GCR_EXT) & IXGBE_GCR_EXT_VT_MODE_MASK) {
	case 1: p->queues = 8; break;
	case 2: p->queues = 4; break;
	default: p->queues = 2; break;
	}
	report("pf registers", "mapped, %u queues in a pool", p->queues);
}

u32 probe_pf_read(struct probe *p, u32 reg)
{
	return le32toh(p->pf[reg / 4]);
}

void probe_pf_write(struct probe *p, u32 reg, u32 value)
{
	p->pf[reg / 4] = htole32(value);
}

void probe_open(struct probe *p)
{
	u64 deadline;
	int i, ret;

	test_env_open(&p->env, MODE_VFIO_TYPE1V2_IOMMU);
	p->vf_index = index_of(p->env.device[0]->bdf);
	map_pf(p);
	for (i = 0; i < 2; i++) {
		/* No help with migration: the PF is to leave the rings alone. */
		p->vf[i].plain = true;
		p->vf[i].receive = receive;
		p->vf[i].context = p;
		memcpy(p->vf[i].mac, (u8 []) { 0x02, 0x82, 0x59, 0x90, 0xfe, i }, 6);
		test_env_map(&p->env, &p->region[i],
			     ALIGN(sizeof(struct ixgbevf_memory), 4096));
		ret = ixgbevf_init(&p->vf[i], p->env.device[i], &p->region[i]);
		VFIO_ASSERT_EQ(ret, 0, "VF %d does not come up: the PF does not answer\n", i);
		/* One receive queue, so that it is known where a frame goes. */
		ixgbevf_write(&p->vf[i], IXGBE_VFPSRTYPE, 0);
	}
	deadline = test_now_ms() + TEST_PATIENCE_MS;
	while (!ixgbevf_link(&p->vf[0])) {
		VFIO_ASSERT_LT(test_now_ms(), deadline,
			       "no link: the device moves no frame, not even between VFs\n");
		usleep(10000);
	}
}

void probe_close(struct probe *p)
{
	int i;

	for (i = 0; i < 2; i++) {
		ixgbevf_stop(&p->vf[i]);
		test_env_unmap(&p->env, &p->region[i]);
	}
	if (p->pf)
		munmap((void *)p->pf, p->pf_size);
	test_env_close(&p->env);
}

struct probe_ring probe_ring(struct probe *p, bool rx, int queue)
{
	u32 q = p->vf_index * p->queues + queue;

	if (rx)
		return (struct probe_ring) {
			.name = "rx", .rx = true, .queue = queue,
			.head = IXGBE_VFRDH(queue), .tail = IXGBE_VFRDT(queue),
			.dctl = IXGBE_VFRXDCTL(queue), .pf_head = IXGBE_RDH(q),
		};
	return (struct probe_ring) {
		.name = "tx", .queue = queue,
		.head = IXGBE_VFTDH(queue), .tail = IXGBE_VFTDT(queue),
		.dctl = IXGBE_VFTXDCTL(queue), .pf_head = IXGBE_TDH(q),
	};
}

u64 probe_ns(void)
{
	struct timespec ts;

	VFIO_ASSERT_EQ(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

void probe_send(struct probe *p, int from, int queue, u32 count)
{
	struct ixgbevf *vf = &p->vf[from];
	u32 i;

	for (i = 0; i < count; i++) {
		u8 *frame = ixgbevf_tx_frame(vf, queue);

		VFIO_ASSERT_NOT_NULL(frame, "the ring is full\n");
		test_frame(frame, PROBE_FRAME, p->vf[!from].mac, vf->mac, p->run, i);
		ixgbevf_send(vf, queue, PROBE_FRAME);
	}
}

void probe_settle(struct probe *p, u32 us)
{
	u64 quiet = probe_ns() + us * 1000ULL;

	while (probe_ns() < quiet) {
		if (ixgbevf_poll(&p->vf[0]) + ixgbevf_poll(&p->vf[1]))
			quiet = probe_ns() + us * 1000ULL;
	}
}

void probe_begin(struct probe *p)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;

	/* They would move VF 0's heads. */
	while (ixgbevf_tx_pending(&p->vf[1], 0) && test_now_ms() < deadline)
		usleep(100);
	VFIO_ASSERT_EQ(ixgbevf_reinit(&p->vf[0]), 0);
	ixgbevf_write(&p->vf[0], IXGBE_VFPSRTYPE, 0);
	probe_settle(p, 20000);
	/* Numbers of ports, which are sixteen bits, begin at 20000. */
	p->run = (p->run + 1) % 40000;
	p->arrived[0] = 0;
	p->arrived[1] = 0;
}

bool probe_arrived(struct probe *p, int at, u32 count)
{
	return probe_arrived_in(p, at, count, TEST_PATIENCE_MS);
}

bool probe_arrived_in(struct probe *p, int at, u32 count, u32 ms)
{
	u64 deadline = probe_ns() + ms * 1000000ULL;

	/* A machine that is short of time moves no frame for longer than it is quiet. */
	while (p->arrived[at] < count && probe_ns() < deadline)
		ixgbevf_poll(&p->vf[at]);
	probe_settle(p, 20000);
	return p->arrived[at] == count;
}

s64 probe_wait_enable(struct probe *p, const struct probe_ring *ring, bool on)
{
	u64 start = probe_ns(), now;

	do {
		bool is = ixgbevf_read(&p->vf[0], ring->dctl) & IXGBE_RXDCTL_ENABLE;

		now = probe_ns();
		if (is == on)
			return now - start;
	} while (now - start < 1000000000);

	return -1;
}

static bool done(struct ixgbevf_queue_memory *mem, bool rx, u32 i)
{
	if (rx)
		return le64toh(READ_ONCE(mem->rx_ring[i].hi)) & IXGBE_RXD_STAT_DD;
	return le64toh(READ_ONCE(mem->tx_ring[i].hi)) >> 32 & IXGBE_TXD_STAT_DD;
}

u32 probe_done(struct probe *p, const struct probe_ring *ring)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(&p->vf[0], ring->queue);
	u32 i, count = 0;

	for (i = 0; i < IXGBEVF_RING_SIZE; i++)
		count += done(mem, ring->rx, i);
	return count;
}

int probe_first_done(struct probe *p, const struct probe_ring *ring)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(&p->vf[0], ring->queue);
	int i;

	for (i = 0; i < IXGBEVF_RING_SIZE; i++)
		if (done(mem, ring->rx, i))
			return i;
	return -1;
}
