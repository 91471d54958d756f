// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves and what comes between them, in an order that nobody thought of: frames of any
 * number and length in both directions, taken before or after; moves with and without
 * pre-copy, P2P states and DMA logging; a question to the PF under way; a VF that moves on
 * before its driver has seen that it moved; moves that are given up at any point; resets,
 * other queues, VLANs and multicast addresses. After each step every frame has arrived
 * once, in order and byte-exact, at both ends. A copy of memory follows what DMA logging
 * and the CPU's own writes report, and once the device stands no page may differ from it.
 *
 * $KSFT_SEED determines all steps; without it the time does. It is printed: the same seed
 * repeats them, and a longer run begins as a shorter one does. $KSFT_MOVES moves (20) in
 * each variant. $KSFT_RESTORE as for vfio_migration_ixgbevf_test.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/align.h>
#include <linux/kernel.h>

#include <libvfio/peer.h>

#include <libvfio/harness.h>
#include "lib/drivers/ixgbevf/hw.h"

#define GUARD		(64 * 1024)
#define GUARD_BYTE	0x5a
#define REGION_SIZE	ALIGN(sizeof(struct ixgbevf_memory), 4096)
#define PAGES		(REGION_SIZE / IXGBEVF_PAGE_SIZE)
#define VLANS		6
#define SHORTEST	64

/* As many as both rings hold if the hash favours one of them. */
#define MOST_FRAMES	100

enum what {
	MOVE,
	MOVE_ON,	/* and on, before the driver has done anything */
	GIVE_UP,
	REINIT,
	FLR,
	QUEUES,
	VLAN,
	MULTICAST,
};

/* How far a move comes that is given up. */
enum stage {
	IN_PRECOPY,
	STOPPED,
	SAVED,
	HALF_LOADED,
	LOADED,
	STAGES,
};

static const char * const names[] = {
	[MOVE] = "move",
	[MOVE_ON] = "move on",
	[GIVE_UP] = "give up",
	[REINIT] = "reset by the driver",
	[FLR] = "function level reset",
	[QUEUES] = "other queues",
	[VLAN] = "VLAN",
	[MULTICAST] = "multicast",
};

/* All of a step is drawn before it begins: what becomes of it does not change the next one. */
struct step {
	enum what what;
	enum stage stage;
	u32 in, out, in_len, out_len;	/* frames before it, and their length */
	u32 chunk;
	u32 stall_ms;
	u32 number;			/* of a VLAN, of addresses */
	bool taken;			/* the driver has taken what it got */
	bool precopy, p2p, log, asks;
	bool resets;			/* itself during pre-copy */
};

FIXTURE(mig_random) {
	struct test_env env;
	struct dma_region region;
	struct dma_region guard;
	struct ixgbevf vf;
	struct peer peer;
	struct peer sink;
	int at;
	bool rearms;
	u64 random;
	bool vlan[VLANS];

	u64 cpu_dirty[(PAGES + 63) / 64];
	u64 log[(PAGES + 63) / 64];
	u8 *copy;
	u64 reported;
	u64 missed;
	u32 moves;
	u32 given_up;
	u32 own_resets;
};

FIXTURE_VARIANT(mig_random) {
	const char *iommu_mode;
	bool plain;
};

#define FIXTURE_VARIANT_ADD_IOMMU_MODE(_iommu_mode)		\
FIXTURE_VARIANT_ADD(mig_random, _iommu_mode##_cooperative) {	\
	.iommu_mode = #_iommu_mode,				\
};								\
FIXTURE_VARIANT_ADD(mig_random, _iommu_mode##_plain) {		\
	.iommu_mode = #_iommu_mode,				\
	.plain = true,						\
}

FIXTURE_VARIANT_ADD_IOMMU_MODES();

FIXTURE_SETUP(mig_random)
{
	const char *way = getenv("KSFT_RESTORE");

	if (way && (!strcmp(way, "reset") || (variant->plain && !strcmp(way, "rearm"))))
		SKIP(return, "frames are lost by the reset");
	self->rearms = way && !strcmp(way, "rearm");
	peer_open(&self->peer);
	test_env_open(&self->env, variant->iommu_mode);
	test_env_map(&self->env, &self->region, REGION_SIZE);
	test_env_map(&self->env, &self->guard, GUARD);
	memset(self->guard.vaddr, GUARD_BYTE, GUARD);
	self->copy = malloc_assert(REGION_SIZE);

	self->vf.plain = variant->plain;
	self->vf.receive = peer_account;
	self->vf.context = &self->sink;
	self->vf.cpu_dirty = self->cpu_dirty;
	ASSERT_EQ(0, ixgbevf_init(&self->vf, self->env.device[0], &self->region));
	if (!variant->plain && !self->vf.migration)
		UNMET(return, "the PF does not grant the extension");
}

FIXTURE_TEARDOWN(mig_random)
{
	if (!self->copy)
		return;
	free(self->copy);
	test_env_close(&self->env);
	peer_close(&self->peer);
}

/* Steele et al., "Fast splittable pseudorandom number generators" (2014): SplitMix64. */
static u32 below(FIXTURE_DATA(mig_random) *self, u32 n)
{
	u64 x = self->random += 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return (x ^ x >> 31) % n;
}

static struct step draw(FIXTURE_DATA(mig_random) *self)
{
	static const enum what whats[] = {
		MOVE, MOVE, MOVE, MOVE, MOVE, MOVE, MOVE_ON, GIVE_UP, GIVE_UP, REINIT, FLR, QUEUES,
		VLAN, MULTICAST,
	};
	static const u32 chunks[] = { 1, 7, 64, 1000, 4096 };
	struct step s;

	s.what = whats[below(self, ARRAY_SIZE(whats))];
	s.stage = below(self, STAGES);
	s.in = below(self, MOST_FRAMES + 1);
	s.out = below(self, MOST_FRAMES + 1);
	s.in_len = SHORTEST + below(self, IXGBEVF_MAX_FRAME + 1 - SHORTEST);
	s.out_len = SHORTEST + below(self, IXGBEVF_MAX_FRAME + 1 - SHORTEST);
	s.chunk = chunks[below(self, ARRAY_SIZE(chunks))];
	s.stall_ms = below(self, 4) ? 0 : below(self, 30);
	s.number = below(self, 4096);
	s.taken = below(self, 2);
	s.precopy = below(self, 4);
	s.p2p = below(self, 2);
	s.log = below(self, 4);
	s.asks = !below(self, 4);
	s.resets = !below(self, 8);
	return s;
}

/* Copy what is reported, by the log or by the CPU's writes. */
static int pass(FIXTURE_DATA(mig_random) *self)
{
	int ret;

	memset(self->log, 0, sizeof(self->log));
	ret = vfio_log_report(self->vf.device, self->region.iova, self->region.size,
			      IXGBEVF_PAGE_SIZE, self->log);
	self->reported += vfio_copy_dirty(self->copy, &self->region, IXGBEVF_PAGE_SIZE, self->log,
					  self->cpu_dirty);
	memset(self->cpu_dirty, 0, sizeof(self->cpu_dirty));
	return ret;
}

static void compare(FIXTURE_DATA(mig_random) *self)
{
	self->missed += vfio_count_differing(self->copy, &self->region, IXGBEVF_PAGE_SIZE);
}

static void traffic(FIXTURE_DATA(mig_random) *self, const struct step *s)
{
	u32 i;

	for (i = 0; i < s->in; i++)
		peer_send(&self->peer, self->vf.mac, i, s->in_len);
	for (i = 0; i < s->out; i++)
		peer_send_from(&self->peer, &self->vf, i, s->out_len);
}

/* The driver begins anew; what was in its rings is lost, so that nothing may be. */
static int begin_anew(FIXTURE_DATA(mig_random) *self, const struct step *s)
{
	if (!peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS))
		return -EIO;
	self->own_resets++;
	if (s->what == FLR && !s->resets) {
		vfio_pci_device_reset(self->vf.device);
		vfio_pci_cmd_set(self->vf.device, PCI_COMMAND_MASTER);
	} else {
		ixgbevf_stop(&self->vf);
	}
	if (s->what == QUEUES)
		self->vf.queues = IXGBEVF_QUEUES + 1 - self->vf.queues;
	memset(self->vlan, 0, sizeof(self->vlan));
	return ixgbevf_reinit(&self->vf);
}

/* Set going: work until the VF is served, and the switch knows where. */
static int wait_served(FIXTURE_DATA(mig_random) *self, u32 restores)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;
	u32 out;

	while (self->rearms && self->vf.restores == restores) {
		if (test_now_ms() > deadline)
			return -ETIMEDOUT;
		ixgbevf_poll(&self->vf);
		peer_receive(&self->peer, self->vf.mac, 0);
	}
	peer_send_from(&self->peer, &self->vf, 0, 100);
	out = self->sink.sent[0];
	while (self->peer.received[0] < out) {
		if (test_now_ms() > deadline)
			return -ETIMEDOUT;
		ixgbevf_poll(&self->vf);
		peer_receive(&self->peer, self->vf.mac, 0);
	}
	return 0;
}

/* What is read of the source so far, and whether it stands. */
struct source {
	struct vfio_pci_device *device;
	struct vfio_mig_stream stream;
	int fd;
	bool asked;
};

/* While the VM runs: everything up to where it is stopped. */
static int precopy(FIXTURE_DATA(mig_random) *self, const struct step *s, struct source *from)
{
	u64 page_size = IXGBEVF_PAGE_SIZE;
	int ret = 0;

	if (s->log) {
		ret = ixgbevf_log_start(&self->vf, self->region.iova, self->region.size,
					&page_size);
		if (ret)
			return ret;
		memset(self->cpu_dirty, 0, sizeof(self->cpu_dirty));
		memcpy(self->copy, self->region.vaddr, REGION_SIZE);
	}
	if (s->precopy) {
		ret = vfio_mig_set_state(from->device, VFIO_DEVICE_STATE_PRE_COPY, &from->fd);
		if (ret)
			return ret;
		ret = vfio_mig_stream_read(&from->stream, from->fd, s->chunk);
		if (ret != -ENOMSG)
			return ret ? ret : -EPROTO;
	}
	if (s->resets) {
		ret = begin_anew(self, s);
		if (ret)
			return ret;
	}
	traffic(self, s);
	if (s->taken)
		ixgbevf_poll(&self->vf);
	ret = s->log ? pass(self) : 0;
	if (ret)
		return ret;
	traffic(self, &(struct step) { .out = s->out / 4, .out_len = s->in_len });
	return peer_wire_empty(&self->peer, &self->vf, TEST_PATIENCE_MS) ? 0 : -EIO;
}

/* Stop it. */
static int stop(FIXTURE_DATA(mig_random) *self, const struct step *s, struct source *from)
{
	int ret;

	if (s->asks) {
		ret = ixgbevf_ask(&self->vf);
		if (ret)
			return ret;
		from->asked = true;
	}
	if (s->p2p) {
		ret = vfio_mig_set_state(from->device, s->precopy ?
					 VFIO_DEVICE_STATE_PRE_COPY_P2P :
					 VFIO_DEVICE_STATE_RUNNING_P2P, NULL);
		if (ret)
			return ret;
	}
	ret = s->precopy ?
		vfio_mig_set_state(from->device, VFIO_DEVICE_STATE_STOP_COPY, NULL) :
		vfio_mig_set_state(from->device, VFIO_DEVICE_STATE_STOP, NULL);
	if (ret || !s->log)
		return ret;
	ret = pass(self);
	compare(self);
	return ret;
}

static int save(const struct step *s, struct source *from)
{
	int ret = 0;

	if (!s->precopy)
		ret = vfio_mig_set_state(from->device, VFIO_DEVICE_STATE_STOP_COPY, &from->fd);
	return ret ? ret : vfio_mig_stream_read(&from->stream, from->fd, s->chunk);
}

static void let_go(struct source *from)
{
	vfio_mig_stream_free(&from->stream);
	if (from->fd >= 0)
		VFIO_ASSERT_EQ(close(from->fd), 0);
	from->fd = -1;
}

/* Move the VF to the other device, which runs it afterwards. */
static int start_move(FIXTURE_DATA(mig_random) *self, const struct step *s, struct source *from)
{
	struct vfio_pci_device *to = self->env.device[!self->at];
	int ret;

	ret = stop(self, s, from);
	if (!ret)
		ret = save(s, from);
	if (!ret)
		ret = vfio_mig_load(to, &from->stream, s->chunk);
	if (ret)
		return ret;
	/* Neither end has written a byte since. */
	if (s->log)
		compare(self);
	ret = ixgbevf_arrive(&self->vf, to);
	if (ret)
		return ret;
	if (s->log)
		vfio_log_stop(from->device);
	let_go(from);
	vfio_pci_device_reset(from->device);
	self->at = !self->at;
	self->moves++;
	return 0;
}

static int move(FIXTURE_DATA(mig_random) *self, const struct step *s)
{
	struct source from = { .device = self->vf.device, .fd = -1 };
	u32 restores;
	int ret;

	ret = precopy(self, s, &from);
	restores = self->vf.restores;
	if (!ret)
		ret = start_move(self, s, &from);
	if (!ret && s->what == MOVE_ON) {
		/* Nobody has seen an answer yet, and none is asked again. */
		struct step on = { .chunk = s->chunk, .p2p = s->p2p };
		bool asked = from.asked;

		from = (struct source) { .device = self->vf.device, .fd = -1, .asked = asked };
		ret = start_move(self, &on, &from);
	}
	let_go(&from);
	if (ret)
		return ret;
	usleep(s->stall_ms * 1000);
	if (from.asked) {
		ret = ixgbevf_answer(&self->vf);
		if (ret)
			return ret;
	}
	return wait_served(self, restores);
}

/* The source goes on as if nothing had been. */
static int give_up(FIXTURE_DATA(mig_random) *self, const struct step *s)
{
	struct source from = { .device = self->vf.device, .fd = -1 };
	struct vfio_pci_device *to = self->env.device[!self->at];
	struct vfio_mig_stream part;
	u32 restores;
	int fd, ret;

	ret = precopy(self, s, &from);
	restores = self->vf.restores;
	if (!ret && s->stage >= STOPPED)
		ret = stop(self, s, &from);
	if (!ret && s->stage >= SAVED)
		ret = save(s, &from);
	if (!ret && s->stage == HALF_LOADED) {
		part = (struct vfio_mig_stream) {
			.data = from.stream.data,
			.len = from.stream.len * (s->number % 100) / 100,
		};
		ret = vfio_mig_set_state(to, VFIO_DEVICE_STATE_RESUMING, &fd);
		if (!ret)
			ret = vfio_mig_stream_write(&part, fd, s->chunk);
		if (fd >= 0)
			close(fd);
	}
	if (!ret && s->stage == LOADED)
		ret = vfio_mig_load(to, &from.stream, s->chunk);
	if (s->stage >= HALF_LOADED)
		vfio_pci_device_reset(to);
	if (!ret)
		ret = vfio_mig_set_state(from.device, VFIO_DEVICE_STATE_RUNNING, NULL);
	if (s->log)
		vfio_log_stop(from.device);
	let_go(&from);
	if (ret)
		return ret;
	self->given_up++;
	usleep(s->stall_ms * 1000);
	if (from.asked) {
		ret = ixgbevf_answer(&self->vf);
		if (ret)
			return ret;
	}
	/* One that never stood is not told of anything. */
	return s->stage >= STOPPED ? wait_served(self, restores) : 0;
}

static int vlan(FIXTURE_DATA(mig_random) *self, u32 number)
{
	bool *joined = &self->vlan[number % VLANS];
	u32 msg[IXGBE_VFMAILBOX_SIZE] = {
		IXGBE_VF_SET_VLAN | !*joined << IXGBE_VT_MSGINFO_SHIFT, 100 + number % VLANS,
	};

	*joined = !*joined;
	return ixgbevf_mbx_exchange(&self->vf, msg);
}

/* Hashes of addresses, two in a dword. */
static int multicast(FIXTURE_DATA(mig_random) *self, u32 number)
{
	u32 count = number % (IXGBE_VF_MOST_MULTICAST + 1), i;
	u32 msg[IXGBE_VFMAILBOX_SIZE] = {
		IXGBE_VF_SET_MULTICAST | count << IXGBE_VT_MSGINFO_SHIFT,
	};

	for (i = 0; i < count; i++)
		msg[1 + i / 2] |= ((number * 7 + i) & 0xfff) << (16 * (i % 2));
	return ixgbevf_mbx_exchange(&self->vf, msg);
}

static int take(FIXTURE_DATA(mig_random) *self, const struct step *s)
{
	int ret = 0;

	switch (s->what) {
	case MOVE:
	case MOVE_ON:
		return move(self, s);
	case GIVE_UP:
		return give_up(self, s);
	case REINIT:
	case FLR:
	case QUEUES:
		traffic(self, s);
		ret = begin_anew(self, &(struct step) { .what = s->what });
		break;
	case VLAN:
		ret = vlan(self, s->number);
		break;
	case MULTICAST:
		ret = multicast(self, s->number);
		break;
	}
	if (!ret)
		traffic(self, s);
	return ret;
}

static bool untouched(FIXTURE_DATA(mig_random) *self)
{
	return test_all_bytes(self->guard.vaddr, GUARD, GUARD_BYTE);
}

TEST_F_TIMEOUT(mig_random, steps, 1800)
{
	const char *seed = getenv("KSFT_SEED"), *moves = getenv("KSFT_MOVES");
	u32 wanted = moves ? atoi(moves) : 20, n;

	self->random = seed ? strtoull(seed, NULL, 0) : test_now_ms();
	TH_LOG("KSFT_SEED=%llu KSFT_MOVES=%u repeats this", (unsigned long long)self->random,
	       wanted);
	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
	for (n = 1; self->moves < wanted; n++) {
		struct step s = draw(self);
		u32 begun = self->own_resets;
		int ret = take(self, &s);
		bool drained = !ret && peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS);

		ASSERT_TRUE(drained && !self->missed && !self->vf.resets &&
			    !(self->sink.lost + self->sink.duplicated + self->sink.corrupted) &&
			    !(self->peer.lost + self->peer.duplicated + self->peer.corrupted) &&
			    untouched(self)) {
			TH_LOG("step %u, after %u moves: %s: %d, %s", n, self->moves,
			       names[s.what], ret, drained ? "drained" : "not drained");
			TH_LOG("stage %d, %u in of %u, %u out of %u, chunk %u, stall %u ms, number %u, "
			       "taken %d, precopy %d, p2p %d, log %d, asks %d, resets %d (%u)",
			       s.stage, s.in, s.in_len, s.out, s.out_len, s.chunk, s.stall_ms,
			       s.number, s.taken, s.precopy, s.p2p, s.log, s.asks, s.resets,
			       self->own_resets - begun);
			TH_LOG("%llu pages missed, %u resets by the PF; in: %llu lost, %llu duplicated, "
			       "%llu corrupted; out: %llu, %llu, %llu",
			       (unsigned long long)self->missed, self->vf.resets,
			       (unsigned long long)self->sink.lost,
			       (unsigned long long)self->sink.duplicated,
			       (unsigned long long)self->sink.corrupted,
			       (unsigned long long)self->peer.lost,
			       (unsigned long long)self->peer.duplicated,
			       (unsigned long long)self->peer.corrupted);
		}
	}
	TH_LOG("%u steps, %u moves, %u given up, %u resets by the driver, %u rings re-armed", n - 1,
	       self->moves, self->given_up, self->own_resets, self->vf.rearmed);
	TH_LOG("%llu frames in, %llu out, 0 lost, duplicated or corrupted; %llu pages reported, 0 missed",
	       (unsigned long long)self->sink.frames, (unsigned long long)self->peer.frames,
	       (unsigned long long)self->reported);
}

int main(int argc, char *argv[])
{
	test_env_args(&argc, argv, 2, true);
	return test_harness_run(argc, argv);
}
