// SPDX-License-Identifier: GPL-2.0-only
/*
 * What queues keep to themselves: write-backs that wait, descriptors fetched ahead,
 * contexts, and what becomes of frames that are too long or too short. The software
 * 82599 has a quirk for each, see 82599-model.rst; the card says which ones are real.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <asm/barrier.h>
#include <linux/compiler.h>

#include "hwprobe.h"

/* The threshold that drivers set. */
#define WTHRESH_8	(8 << 16)
#define TXDCTL_SWFLSH	0x04000000
/* Context and data descriptors, 82599 datasheet 7.2.3.2.3 and 7.2.3.2.4. */
#define DTYP_CTXT	0x00200000
#define TUCMD_IPV4	0x00000400
#define MACLEN_SHIFT	9
#define OLINFO_CC	0x00000080
#define OLINFO_IXSM	0x00000100
/* Ethertype for local experiments, IEEE 802. */
#define ETHERTYPE	0x88b5
#define LONG_FRAME	3000
#define BURST		100

static void put(struct ixgbevf *vf, u32 index, u64 lo, u64 hi)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, 0);

	mem->tx_ring[index].lo = htole64(lo);
	mem->tx_ring[index].hi = htole64(hi);
}

/* A data descriptor of Tx queue 0 for @len bytes of its buffer. */
static void put_data(struct ixgbevf *vf, u32 index, u32 len, u32 olinfo)
{
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, 0);

	put(vf, index, ixgbevf_iova(vf, mem->tx_buffer[index]),
	    (u64)(len << IXGBE_ADVTXD_PAYLEN_SHIFT | olinfo) << 32 |
	    IXGBE_ADVTXD_DTYP_DATA | IXGBE_ADVTXD_DCMD_DEXT | IXGBE_ADVTXD_DCMD_IFCS |
	    IXGBE_ADVTXD_DCMD_EOP | IXGBE_ADVTXD_DCMD_RS | len);
}

static void set_tail(struct ixgbevf *vf, u32 tail)
{
	wmb();
	vf->tx[0].next_to_use = tail;
	ixgbevf_write(vf, IXGBE_VFTDT(0), tail);
}

static bool sent(struct ixgbevf *vf, u32 index)
{
	u64 hi = le64toh(READ_ONCE(ixgbevf_queue(vf, 0)->tx_ring[index].hi));

	return hi >> 32 & IXGBE_TXD_STAT_DD;
}

/* Stop and start a queue with @dctl beside ENABLE. */
static bool toggle(struct probe *p, const struct probe_ring *ring, u32 dctl)
{
	ixgbevf_write(&p->vf[0], ring->dctl, dctl);
	if (probe_wait_enable(p, ring, false) < 0)
		return false;
	usleep(1000);
	ixgbevf_write(&p->vf[0], ring->dctl, dctl | IXGBE_TXDCTL_ENABLE);
	return probe_wait_enable(p, ring, true) >= 0;
}

/* The interface works again: all that can be right or wrong here. */
static bool works(struct probe *p)
{
	probe_begin(p);
	probe_send(p, 0, 0, 5);
	return probe_arrived(p, 1, 5);
}

bool probe_write_back(struct probe *p)
{
	struct probe_ring ring = probe_ring(p, false, 0);
	struct ixgbevf *vf = &p->vf[0];
	u32 waited, flushed, stopped;

	probe_begin(p);
	if (!toggle(p, &ring, WTHRESH_8)) {
		report("write-back", "the queue did not stop or start");
		return false;
	}
	probe_send(p, 0, 0, 3);
	probe_settle(p, 20000);
	waited = probe_done(p, &ring);
	ixgbevf_write(vf, ring.dctl, WTHRESH_8 | IXGBE_TXDCTL_ENABLE | TXDCTL_SWFLSH);
	usleep(1000);
	flushed = probe_done(p, &ring);
	probe_send(p, 0, 0, 3);
	probe_settle(p, 20000);
	ixgbevf_write(vf, ring.dctl, WTHRESH_8);
	if (probe_wait_enable(p, &ring, false) < 0) {
		report("write-back", "the queue did not stop");
		return false;
	}
	usleep(1000);
	stopped = probe_done(p, &ring) - flushed;
	report("write-back", "WTHRESH 8, 3 frames: %u reported after 20 ms, %u after SWFLSH; "
	       "3 more: %u reported after a stop without SWFLSH, head at %u, %u arrived",
	       waited, flushed, stopped, ixgbevf_read(vf, ring.head), p->arrived[1]);
	return works(p);
}

bool probe_fetch(struct probe *p)
{
	struct probe_ring ring = probe_ring(p, false, 0);
	u32 samples = 0, ahead = 0, done = 0;
	u64 deadline;

	probe_begin(p);
	probe_fill(p, &ring);
	set_tail(&p->vf[0], BURST);
	for (deadline = test_now_ms() + TEST_PATIENCE_MS; done < BURST && test_now_ms() < deadline;
	     samples++) {
		/* In this order, so that what is sent in between does not count. */
		u32 head = ixgbevf_read(&p->vf[0], ring.head);

		done = probe_done(p, &ring);
		if (head > done + ahead)
			ahead = head - done;
	}
	report("TDH", "up to %u descriptors ahead of those reported as sent (%u samples, %u frames)",
	       ahead, samples, BURST);
	return done == BURST && works(p);
}

bool probe_toggle(struct probe *p, bool rx)
{
	struct probe_ring ring = probe_ring(p, rx, 0);
	struct ixgbevf *vf = &p->vf[0];
	u32 before, after;
	char key[64];

	snprintf(key, sizeof(key), "head %s0 over a stop and a start", ring.name);
	probe_begin(p);
	probe_send(p, rx ? 1 : 0, 0, 5);
	probe_arrived(p, rx ? 0 : 1, 5);
	before = ixgbevf_read(vf, ring.head);
	/* Should the device begin anew, it finds frames that it may send, or buffers. */
	probe_fill(p, &ring);
	if (!toggle(p, &ring, 0)) {
		report(key, "the queue did not stop or start");
		return false;
	}
	usleep(1000);
	after = ixgbevf_read(vf, ring.head);
	report(key, "%u, then %u: %s", before, after,
	       after == before ? "kept" : after ? "moved" : "zeroed");
	return works(p);
}

bool probe_context(struct probe *p)
{
	struct probe_ring ring = probe_ring(p, false, 0);
	struct ixgbevf *vf = &p->vf[0];
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, 0);
	u32 i, with, without;

	probe_begin(p);
	/* The checksum of the IP header is the device's to fill in, by the context. */
	put(vf, 0, 14 << MACLEN_SHIFT | 20, IXGBE_ADVTXD_DCMD_DEXT | DTYP_CTXT | TUCMD_IPV4);
	for (i = 1; i < 3; i++) {
		test_frame(mem->tx_buffer[i], PROBE_FRAME, p->vf[1].mac, vf->mac, p->run, i);
		memset(mem->tx_buffer[i] + 14 + 10, 0, 2);
		put_data(vf, i, PROBE_FRAME, OLINFO_CC | OLINFO_IXSM);
	}
	set_tail(vf, 2);
	probe_arrived_in(p, 1, 1, 1000);
	with = p->arrived[1];
	if (!toggle(p, &ring, 0)) {
		report("Tx context", "the queue did not stop or start");
		return false;
	}
	set_tail(vf, 3);
	probe_arrived_in(p, 1, with + 1, 1000);
	without = p->arrived[1] - with;
	report("Tx context", "%s after a stop and a start%s", without ? "kept" : "lost",
	       with ? "" : ", but was NOT used before either");
	return works(p);
}

bool probe_long(struct probe *p)
{
	struct ixgbevf *from = &p->vf[1], *vf = &p->vf[0];
	struct ixgbevf_queue_memory *tx, *rx = ixgbevf_queue(vf, 0);
	u8 frame[LONG_FRAME] = {}, canary[IXGBEVF_BUFFER_SIZE];
	u32 i, count = 0, length = 0;
	u64 deadline;

	probe_begin(p);
	VFIO_ASSERT_EQ(ixgbevf_reinit(from), 0);
	tx = ixgbevf_queue(from, 0);
	memcpy(frame, vf->mac, 6);
	memcpy(frame + 6, from->mac, 6);
	frame[12] = ETHERTYPE >> 8;
	frame[13] = ETHERTYPE & 0xff;
	memset(frame + 14, 0xa5, sizeof(frame) - 14);
	/* Two buffers, one behind the other. */
	memcpy(tx->tx_buffer[0], frame, sizeof(frame));
	memset(rx->rx_buffer, 0x5a, sizeof(rx->rx_buffer));
	memset(canary, 0x5a, sizeof(canary));
	put_data(from, 0, LONG_FRAME, 0);
	set_tail(from, 1);

	/* VF 0 is not served: its ring is looked at as the device leaves it. */
	for (deadline = probe_ns() + 50000000; probe_ns() < deadline; )
		count = probe_done(p, &(struct probe_ring) { .rx = true });
	for (i = 0; i < count; i++)
		length += le64toh(rx->rx_ring[i].hi) >> 32 & 0xffff;
	report("long frame", "%u bytes from VF to VF, MTU 1500, buffers of %u: %u descriptors, "
	       "%u bytes; the buffer behind is %s", LONG_FRAME, IXGBEVF_BUFFER_SIZE, count, length,
	       memcmp(rx->rx_buffer[count % IXGBEVF_RING_SIZE], canary, sizeof(canary)) ?
	       "OVERWRITTEN" : "whole");
	VFIO_ASSERT_EQ(ixgbevf_reinit(from), 0);
	ixgbevf_write(from, IXGBE_VFPSRTYPE, 0);
	return works(p);
}

bool probe_short(struct probe *p)
{
	struct ixgbevf *vf = &p->vf[0];
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, 0);
	u32 i, done = 0;

	probe_begin(p);
	for (i = 0; i < 3; i++) {
		u8 *frame = mem->tx_buffer[i];

		memcpy(frame, p->vf[1].mac, 6);
		memcpy(frame + 6, vf->mac, 6);
		frame[12] = ETHERTYPE >> 8;
		frame[13] = ETHERTYPE & 0xff;
		put_data(vf, i, 14 + i, 0);
		set_tail(vf, i + 1);
		usleep(20000);
		done += sent(vf, i);
	}
	test_frame(mem->tx_buffer[3], PROBE_FRAME, p->vf[1].mac, vf->mac, p->run, 3);
	put_data(vf, 3, PROBE_FRAME, 0);
	set_tail(vf, 4);
	probe_arrived_in(p, 1, 1, 1000);
	report("PAYLEN", "of frames with PAYLEN 14 to 16 %u of 3 were reported as sent; "
	       "one of %u behind them %s", done, PROBE_FRAME,
	       p->arrived[1] ? "arrived" : "did NOT arrive: the queue hangs");
	return works(p);
}

static bool wait_link(struct probe *p, bool up)
{
	u64 deadline = probe_ns() + 60000000000ULL;

	while (!(ixgbevf_read(&p->vf[0], IXGBE_VFLINKS) & IXGBE_LINKS_UP) == up) {
		if (probe_ns() > deadline)
			return false;
		usleep(10000);
	}
	sleep(1);
	return true;
}

bool probe_no_link(struct probe *p)
{
	s64 stop[2], start[2], again[2];
	u32 i, runs[2];

	probe_begin(p);
	printf("# Pull the cable out, within a minute.\n");
	if (!wait_link(p, false)) {
		report("ENABLE without a link", "not asked, the link stayed");
		return false;
	}
	for (i = 0; i < 2; i++) {
		struct probe_ring ring = probe_ring(p, i, 0);

		runs[i] = !!(ixgbevf_read(&p->vf[0], ring.dctl) & IXGBE_TXDCTL_ENABLE);
		ixgbevf_write(&p->vf[0], ring.dctl, 0);
		stop[i] = probe_wait_enable(p, &ring, false);
		ixgbevf_write(&p->vf[0], ring.dctl, IXGBE_TXDCTL_ENABLE);
		start[i] = probe_wait_enable(p, &ring, true);
	}
	printf("# Plug it in again, within a minute.\n");
	if (!wait_link(p, true)) {
		report("ENABLE without a link", "no link any more");
		return false;
	}
	for (i = 0; i < 2; i++) {
		struct probe_ring ring = probe_ring(p, i, 0);

		again[i] = probe_wait_enable(p, &ring, true);
	}
	for (i = 0; i < 2; i++)
		report(i ? "ENABLE of rx0 without a link" : "ENABLE of tx0 without a link",
		       "a queue that runs reads %u; cleared %s; set %s; with the link again it %s",
		       runs[i], stop[i] < 0 ? "it reads 1 after a second" : "it reads 0",
		       start[i] < 0 ? "it reads 0 after a second" : "it reads 1",
		       again[i] < 0 ? "reads 0" : "reads 1");
	return works(p);
}
