// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ring heads. RDH and TDH are called read-only in the datasheet (8.2.3.8.4, 8.2.3.9.8),
 * whose text on TDH lets software write it before TXDCTL.ENABLE. All known drivers
 * write 0. What becomes of another value decides how a VF can be put back after a
 * migration: see the devlink parameter head_restore.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <asm/barrier.h>

#include "hwprobe.h"

const char *const probe_head_names[] = { "value", "zero", "ignore", "other", "unknown" };

/* How far the head is brought by frames before it is written. */
#define ADVANCE 5

static u32 read_head(struct probe *p, const struct probe_ring *ring, bool by_pf)
{
	return by_pf ? probe_pf_read(p, ring->pf_head) : ixgbevf_read(&p->vf[0], ring->head);
}

static void write_head(struct probe *p, const struct probe_ring *ring, bool by_pf, u32 value)
{
	if (by_pf)
		probe_pf_write(p, ring->pf_head, value);
	else
		ixgbevf_write(&p->vf[0], ring->head, value);
}

static enum probe_head classify(u32 before, const u32 *wrote, const u32 *read)
{
	if (read[0] == wrote[0] && read[1] == wrote[1])
		return HEAD_VALUE;
	if (!before && !read[0] && !read[1])
		return HEAD_UNKNOWN;
	if (!read[0] && !read[1])
		return HEAD_ZERO;
	if (read[0] == before && read[1] == before)
		return HEAD_IGNORE;
	return HEAD_OTHER;
}

void probe_fill(struct probe *p, const struct probe_ring *ring)
{
	struct ixgbevf *vf = &p->vf[0];
	struct ixgbevf_queue_memory *mem = ixgbevf_queue(vf, ring->queue);
	u32 i;

	for (i = 0; i < IXGBEVF_RING_SIZE; i++) {
		if (ring->rx) {
			mem->rx_ring[i].lo = htole64(ixgbevf_iova(vf, mem->rx_buffer[i]));
			mem->rx_ring[i].hi = 0;
			continue;
		}
		test_frame(mem->tx_buffer[i], PROBE_FRAME, p->vf[1].mac, vf->mac, p->run, i);
		mem->tx_ring[i].lo = htole64(ixgbevf_iova(vf, mem->tx_buffer[i]));
		mem->tx_ring[i].hi =
			htole64((u64)PROBE_FRAME << (32 + IXGBE_ADVTXD_PAYLEN_SHIFT) |
				IXGBE_ADVTXD_DTYP_DATA | IXGBE_ADVTXD_DCMD_DEXT |
				IXGBE_ADVTXD_DCMD_IFCS | IXGBE_ADVTXD_DCMD_EOP |
				IXGBE_ADVTXD_DCMD_RS | PROBE_FRAME);
	}
	wmb();
}

/* Let one frame through the restarted ring; the descriptor that it took, or -1. */
static int first_used(struct probe *p, const struct probe_ring *ring, u32 head)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;
	u32 room = ring->rx ? IXGBEVF_RING_SIZE - 1 : 1;

	ixgbevf_write(&p->vf[0], ring->tail, (head + room) % IXGBEVF_RING_SIZE);
	if (ring->rx)
		probe_send(p, 1, 0, 1);
	/* VF 0 is not served: its rings are ours. */
	while (test_now_ms() < deadline && (probe_first_done(p, ring) < 0 ||
					    (!ring->rx && !p->arrived[1])))
		ixgbevf_poll(&p->vf[1]);
	if (!ring->rx && (!p->arrived[1] || (int)p->first[1] != probe_first_done(p, ring)))
		return -1;
	return probe_first_done(p, ring);
}

bool probe_heads(struct probe *p, bool rx, int queue, bool by_pf, enum probe_head *what)
{
	struct probe_ring ring = probe_ring(p, rx, queue);
	u32 before, wrote[2], read[2], seen_by_other, started;
	char key[64];
	int used;

	*what = HEAD_UNKNOWN;
	if (by_pf && !p->pf)
		return true;
	snprintf(key, sizeof(key), "head %s%d by %s", ring.name, queue, by_pf ? "pf" : "vf");

	probe_begin(p);
	probe_send(p, rx ? 1 : 0, rx ? 0 : queue, ADVANCE);
	probe_arrived(p, rx ? 0 : 1, ADVANCE);
	before = read_head(p, &ring, by_pf);
	ixgbevf_write(&p->vf[0], ring.dctl, 0);
	if (probe_wait_enable(p, &ring, false) < 0) {
		report(key, "the queue did not stop");
		return false;
	}
	usleep(1000);
	if (read_head(p, &ring, by_pf) != before)
		report(key, "stopping moved the head from %u to %u", before,
		       read_head(p, &ring, by_pf));
	before = read_head(p, &ring, by_pf);

	/* Two values: a register that takes none may hold one of them by chance. */
	wrote[0] = (before + 40) % IXGBEVF_RING_SIZE;
	wrote[1] = wrote[0] ^ 1;
	write_head(p, &ring, by_pf, wrote[0]);
	read[0] = read_head(p, &ring, by_pf);
	write_head(p, &ring, by_pf, wrote[1]);
	read[1] = read_head(p, &ring, by_pf);
	seen_by_other = p->pf ? read_head(p, &ring, !by_pf) : read[1];
	*what = classify(before, wrote, read);

	/*
	 * The ring is empty if the head is where it was read. If enabling moves a Tx head,
	 * the frames from there on go out at once, and the first of them tells.
	 */
	probe_fill(p, &ring);
	p->arrived[1] = 0;
	ixgbevf_write(&p->vf[0], ring.tail, read[1]);
	ixgbevf_write(&p->vf[0], ring.dctl, IXGBE_RXDCTL_ENABLE);
	if (probe_wait_enable(p, &ring, true) < 0) {
		report(key, "the queue did not start");
		return false;
	}
	usleep(1000);
	started = read_head(p, &ring, by_pf);
	if (!rx && probe_first_done(p, &ring) >= 0)
		started = probe_first_done(p, &ring);
	used = first_used(p, &ring, started);

	report(key, "%s (was %u, wrote %u read %u, wrote %u read %u)%s; enabled: %u, %s; "
	       "first descriptor used: %d%s",
	       probe_head_names[*what], before, wrote[0], read[0], wrote[1], read[1],
	       seen_by_other != read[1] ? ", the other side reads another value" : "",
	       started, started == read[1] ? "kept" : started ? "moved" : "zeroed", used,
	       used == (int)started ? "" : ", NOT where the head was");
	/* The interface works again, or nothing that follows is worth anything. */
	probe_begin(p);
	return before == ADVANCE && *what != HEAD_OTHER && seen_by_other == read[1] &&
	       used == (int)started;
}

/* The last queue of the device, if its driver has never used it. */
bool probe_spare_queue(struct probe *p)
{
	static const struct {
		const char *key;
		u32 base, dctl, head;
	} spare[] = {
		{ "head rx127 of the pf", IXGBE_RDBAL(127), IXGBE_RXDCTL(127), IXGBE_RDH(127) },
		{ "head tx127 of the pf", IXGBE_TDBAL(127), IXGBE_TXDCTL(127), IXGBE_TDH(127) },
	};
	int i;

	for (i = 0; i < 2; i++) {
		u32 before, wrote[2] = { 5, 6 }, read[2];
		int n;

		if (probe_pf_read(p, spare[i].dctl) & IXGBE_RXDCTL_ENABLE ||
		    probe_pf_read(p, spare[i].base)) {
			report(spare[i].key, "not asked, the queue is in use");
			continue;
		}
		before = probe_pf_read(p, spare[i].head);
		for (n = 0; n < 2; n++) {
			probe_pf_write(p, spare[i].head, wrote[n]);
			read[n] = probe_pf_read(p, spare[i].head);
		}
		probe_pf_write(p, spare[i].head, before);
		report(spare[i].key, "%s (never enabled; was %u, wrote 5 read %u, wrote 6 read %u)",
		       probe_head_names[classify(before, wrote, read)], before, read[0], read[1]);
	}
	return true;
}
