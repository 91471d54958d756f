// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VF under full load moves to and fro between two PFs of one machine. A peer sends
 * numbered, pattern-filled frames to both queues as fast as the VF takes them. Each frame
 * that arrives must be byte-exact and in the order of its flow, and none may be missing
 * but those that were on the wire while no PF served the address, and as many as the PFs
 * have counted because they found a ring full: a machine that is short of time holds the
 * frames of a wire back, and then has more of them at once than a ring has room for. Beside it runs what a
 * hypervisor does with memory: a copy follows what DMA logging and the CPU's own writes
 * report, and once the device stands, not one page may differ from it.
 *
 * $KSFT_ROUNDS moves (10), $KSFT_ROUND_MS of traffic before each (50), $KSFT_STALL_MS in which
 * the VF's driver does nothing where it has arrived, as on a machine that is short of time
 * (0). $KSFT_RESTORE as for vfio_migration_ixgbevf_test.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/align.h>

#include <libvfio/peer.h>

#include <libvfio/harness.h>

#define CHUNK		4096
#define GUARD		(64 * 1024)
#define REGION_SIZE	ALIGN(sizeof(struct ixgbevf_memory), 4096)
#define PAGES		(REGION_SIZE / IXGBEVF_PAGE_SIZE)

/* Largest frame with its FCS; the device writes no byte of a buffer behind that. */
#define FRAME_ROOM	1518

#define GUARD_BYTE	0x5a
#define TAIL_BYTE	0x3c
#define TX_BYTE		0xa5

/*
 * Frames under way at most: as many as go on without a pause and never find a ring of 128
 * full. While nobody serves the address, and until the first frame has arrived again, a
 * few go out every other millisecond instead of them; but once the destination runs, as
 * many as a ring has room for, and then one now and then: they wait there for a driver that
 * is short of time.
 */
#define WINDOW		60
#define TRICKLE		4
#define TRICKLE_MS	2
#define RARELY_MS	20

/* Frames whose arrival is kept apart, by the order in which they were sent. */
#define MOST_FRAMES	(1 << 24)

struct sender {
	pthread_t thread;
	struct peer peer;
	const u8 *dst;
	atomic_uint sent;
	atomic_uint arrived;	/* of those, up to the last that the VF's driver took */
	atomic_bool nobody;	/* no PF serves the address, as far as is known */
	atomic_uint soon;	/* until then, those before this one follow each other soon */
	atomic_bool stop;
};

FIXTURE(mig_load) {
	struct test_env env;
	struct dma_region region;
	struct dma_region guard;
	struct ixgbevf vf;
	struct sender sender;
	int at;				/* index of the device that runs the VF */
	bool stands;			/* none does */
	u32 fresh;			/* frames from here on went to nobody at first */
	u32 served_from;		/* and from here on to the VF again */

	u32 next[PEER_FLOWS];		/* number of the next frame of each flow */
	u64 *came;			/* one bit for each frame */
	u32 scanned;			/* frames before this one have come or are lost */
	u32 gap_first;			/* the last move may have cost one gap from here on */
	u32 wire;			/* length of the longest one since then */
	u32 missing;			/* frames that did not come since then, in all gaps */
	u32 gap, gap_end;		/* length of the last gap, and the frame behind it */

	u64 frames;
	u64 per_queue[IXGBEVF_QUEUES];
	u64 others;			/* broadcasts and the like */
	u64 on_wire;			/* lost while no PF served the address */
	u64 full;			/* did not come otherwise, */
	u64 drops;			/* and as many may have found a ring full */
	u64 drops_before;
	u64 lost;			/* the others */
	u64 duplicated;
	u64 corrupted;

	u64 cpu_dirty[(PAGES + 63) / 64];
	u64 log[(PAGES + 63) / 64];
	u8 *copy;			/* the destination's memory */
	u64 reported;			/* pages, over all moves */
	u32 precise;			/* moves at which not all pages were reported */
	u64 missed;
	u64 counted;			/* frames by the VF's counters, */
	u32 counter;			/* which did not begin at 0 */
};

FIXTURE_VARIANT(mig_load) {
	const char *iommu_mode;
	bool plain;
};

#define FIXTURE_VARIANT_ADD_IOMMU_MODE(_iommu_mode)		\
FIXTURE_VARIANT_ADD(mig_load, _iommu_mode##_cooperative) {	\
	.iommu_mode = #_iommu_mode,				\
};								\
FIXTURE_VARIANT_ADD(mig_load, _iommu_mode##_plain) {		\
	.iommu_mode = #_iommu_mode,				\
	.plain = true,						\
}

FIXTURE_VARIANT_ADD_IOMMU_MODES();

static void receive(struct ixgbevf *vf, int queue, const u8 *frame, u32 len)
{
	FIXTURE_DATA(mig_load) *self = vf->context;
	bool foreign;
	u32 seq, n;
	u16 flow;

	if (!test_frame_check(frame, len, &flow, &seq, &foreign)) {
		if (foreign)
			self->others++;
		else
			self->corrupted++;
		return;
	}
	self->frames++;
	self->per_queue[queue]++;
	/* The sender takes the flows in turn. */
	n = seq * PEER_FLOWS + flow;
	if (seq < self->next[flow] || n >= MOST_FRAMES) {
		self->duplicated++;
		return;
	}
	self->came[n / 64] |= 1ULL << (n % 64);
	self->next[flow] = seq + 1;
	if (n >= atomic_load(&self->sender.arrived))
		atomic_store(&self->sender.arrived, n + 1);
	/* What was sent since the source stood comes only if the switch has found the VF. */
	if (!self->stands && n >= self->fresh && atomic_load(&self->sender.nobody)) {
		atomic_store(&self->sender.nobody, false);
		self->served_from = n;
	}
}

/* Frames for all queues of the PFs that found no descriptor (rx_no_dma_resources of ethtool). */
static u64 ring_full(void)
{
	unsigned long long sum = 0, count;
	char line[256];
	int i, read;
	FILE *out;

	for (i = 0; i < 2; i++) {
		snprintf(line, sizeof(line),
			 "ethtool -S $(ls /sys/bus/pci/devices/%s/physfn/net) | "
			 "sed -n 's/^ *rx_no_dma_resources: //p'", test_env_bdf(i));
		out = popen(line, "r");
		VFIO_ASSERT_NOT_NULL(out);
		read = fscanf(out, "%llu", &count);
		VFIO_ASSERT_EQ(read, 1);
		VFIO_ASSERT_EQ(pclose(out), 0);
		sum += count;
	}
	return sum;
}

/*
 * Look for frames that did not come. On one path none overtakes another, so that a move
 * costs one gap at most: from the moment at which the source let go of the address to
 * the one at which the switch found it with the destination.
 */
static void scan_to(FIXTURE_DATA(mig_load) *self, u32 horizon)
{
	for (; self->scanned < horizon; self->scanned++) {
		u32 n = self->scanned;

		if (vfio_bit(self->came, n))
			continue;
		self->missing++;
		if (n < self->gap_first)
			continue;
		self->gap = n == self->gap_end ? self->gap + 1 : 1;
		self->gap_end = n + 1;
		if (self->gap > self->wire)
			self->wire = self->gap;
	}
}

/* The same as far as it is known: no frame of a flow is missing that is not before one that came. */
static void scan(FIXTURE_DATA(mig_load) *self)
{
	u32 horizon = MOST_FRAMES;
	int flow;

	for (flow = 0; flow < PEER_FLOWS; flow++) {
		u32 n = self->next[flow] * PEER_FLOWS + flow;

		horizon = n < horizon ? n : horizon;
	}
	scan_to(self, horizon);
}

/* What the last move has cost is known. Which gap is that of the wire is not: the longest, so that it explains most. */
static void judge(FIXTURE_DATA(mig_load) *self)
{
	self->on_wire += self->wire;
	self->full += self->missing - self->wire;
	self->missing = self->wire = self->gap = self->gap_end = 0;
	if (self->full > self->drops)
		self->drops = ring_full() - self->drops_before;
	self->lost = self->full > self->drops ? self->full - self->drops : 0;
}

static void *send_frames(void *arg)
{
	struct sender *s = arg;

	while (!atomic_load(&s->stop)) {
		bool nobody = atomic_load(&s->nobody);

		if (nobody || atomic_load(&s->sent) - atomic_load(&s->arrived) < WINDOW) {
			bool soon = atomic_load(&s->sent) < atomic_load(&s->soon);
			int burst = nobody && soon ? TRICKLE : 1;

			while (burst--) {
				u32 i = atomic_fetch_add(&s->sent, 1);

				peer_send(&s->peer, s->dst, i % PEER_FLOWS, 64 + i * 37 % 1451);
			}
			if (nobody)
				usleep((soon ? TRICKLE_MS : RARELY_MS) * 1000);
		} else {
			sched_yield();
		}
	}
	return NULL;
}

static void start_sender(FIXTURE_DATA(mig_load) *self)
{
	self->sender.dst = self->vf.mac;
	VFIO_ASSERT_EQ(pthread_create(&self->sender.thread, NULL, send_frames, &self->sender), 0);
}

static void stop_sender(FIXTURE_DATA(mig_load) *self)
{
	if (!self->sender.thread)
		return;
	atomic_store(&self->sender.stop, true);
	VFIO_ASSERT_EQ(pthread_join(self->sender.thread, NULL), 0);
	self->sender.thread = 0;
}

/* Let the switch find the VF, and be as before. */
static int make_known(FIXTURE_DATA(mig_load) *self)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;
	u8 *frame = ixgbevf_tx_frame(&self->vf, 0);

	test_frame(frame, 100, self->sender.peer.mac, self->vf.mac, 0, 0);
	ixgbevf_send(&self->vf, 0, 100);
	while (ixgbevf_tx_pending(&self->vf, 0)) {
		if (test_now_ms() > deadline)
			return -ETIMEDOUT;
	}
	ixgbevf_stop(&self->vf);
	return ixgbevf_reinit(&self->vf);
}

FIXTURE_SETUP(mig_load)
{
	const char *way = getenv("KSFT_RESTORE");
	struct ixgbevf_memory *mem;
	int queue, i;

	if (way && (!strcmp(way, "reset") || (variant->plain && !strcmp(way, "rearm"))))
		SKIP(return, "frames are lost by the reset");
	peer_open(&self->sender.peer);
	test_env_open(&self->env, variant->iommu_mode);
	test_env_map(&self->env, &self->region, REGION_SIZE);
	test_env_map(&self->env, &self->guard, GUARD);
	self->copy = malloc_assert(REGION_SIZE);
	self->came = calloc_assert(1, MOST_FRAMES / 8);

	self->vf.plain = variant->plain;
	self->vf.receive = receive;
	self->vf.context = self;
	self->vf.cpu_dirty = self->cpu_dirty;
	ASSERT_EQ(0, ixgbevf_init(&self->vf, self->env.device[0], &self->region));
	if (!variant->plain && !self->vf.migration)
		UNMET(return, "the PF does not grant the extension");
	ASSERT_EQ(0, make_known(self));

	memset(self->guard.vaddr, GUARD_BYTE, GUARD);
	mem = self->region.vaddr;
	for (queue = 0; queue < IXGBEVF_QUEUES; queue++) {
		memset(mem->queue[queue].tx_buffer, TX_BYTE, sizeof(mem->queue[queue].tx_buffer));
		for (i = 0; i < IXGBEVF_RING_SIZE; i++)
			memset(mem->queue[queue].rx_buffer[i] + FRAME_ROOM, TAIL_BYTE,
			       IXGBEVF_BUFFER_SIZE - FRAME_ROOM);
	}
}

FIXTURE_TEARDOWN(mig_load)
{
	if (!self->copy)
		return;
	stop_sender(self);
	free(self->came);
	free(self->copy);
	test_env_close(&self->env);
	peer_close(&self->sender.peer);
}

/* Memory that no frame may reach. */
static bool untouched(FIXTURE_DATA(mig_load) *self)
{
	struct ixgbevf_memory *mem = self->region.vaddr;
	int queue, i;

	if (!test_all_bytes(self->guard.vaddr, GUARD, GUARD_BYTE))
		return false;
	for (queue = 0; queue < IXGBEVF_QUEUES; queue++) {
		struct ixgbevf_queue_memory *q = &mem->queue[queue];

		if (!test_all_bytes((u8 *)q->tx_buffer, sizeof(q->tx_buffer), TX_BYTE) ||
		    !test_all_bytes((u8 *)q->tx_ring, sizeof(q->tx_ring), 0))
			return false;
		for (i = 0; i < IXGBEVF_RING_SIZE; i++) {
			u64 buffer = self->region.iova + (q->rx_buffer[i] - (u8 *)mem);

			if (q->shadow[i] && le64toh(q->shadow[i]) != buffer)
				return false;
			if (!test_all_bytes(q->rx_buffer[i] + FRAME_ROOM,
				       IXGBEVF_BUFFER_SIZE - FRAME_ROOM, TAIL_BYTE))
				return false;
		}
	}
	return true;
}

static void work(FIXTURE_DATA(mig_load) *self, u64 ms)
{
	u64 end = test_now_ms() + ms;

	do {
		ixgbevf_poll(&self->vf);
	} while (test_now_ms() < end);
}

/* The same until the VF is served again and the gap is known; false if that takes 10 s. */
static bool work_on(FIXTURE_DATA(mig_load) *self)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;

	do {
		ixgbevf_poll(&self->vf);
		scan(self);
		if (!atomic_load(&self->sender.nobody) && self->scanned > self->served_from)
			return true;
	} while (test_now_ms() < deadline);
	return false;
}

/* Copy what is reported, by the log or by the CPU's writes. */
static int pass(FIXTURE_DATA(mig_load) *self, u32 *reported)
{
	int ret;

	memset(self->log, 0, sizeof(self->log));
	ret = vfio_log_report(self->vf.device, self->region.iova, self->region.size,
			      IXGBEVF_PAGE_SIZE, self->log);
	*reported += vfio_copy_dirty(self->copy, &self->region, IXGBEVF_PAGE_SIZE, self->log,
				     self->cpu_dirty);
	memset(self->cpu_dirty, 0, sizeof(self->cpu_dirty));
	return ret;
}

static u64 differing(FIXTURE_DATA(mig_load) *self)
{
	return vfio_count_differing(self->copy, &self->region, IXGBEVF_PAGE_SIZE);
}

/* The VF's own counter says how many frames this device has written into its rings. */
static void count_frames(FIXTURE_DATA(mig_load) *self)
{
	self->counted += ixgbevf_frames_received(&self->vf) - self->counter;
}

static u32 setting(const char *name, u32 otherwise)
{
	const char *value = getenv(name);

	return value ? atoi(value) : otherwise;
}

static int move(FIXTURE_DATA(mig_load) *self)
{
	struct vfio_pci_device *from = self->env.device[self->at];
	struct vfio_pci_device *to = self->env.device[!self->at];
	struct vfio_mig_stream stream = {};
	u64 page_size = IXGBEVF_PAGE_SIZE;
	u32 reported = 0, sent;
	int ret;

	ret = ixgbevf_log_start(&self->vf, self->region.iova, self->region.size, &page_size);
	if (ret)
		return ret;
	/* The first copy of all memory, and what changes meanwhile. */
	memset(self->cpu_dirty, 0, sizeof(self->cpu_dirty));
	memcpy(self->copy, self->region.vaddr, REGION_SIZE);
	work(self, 10);
	ret = pass(self, &reported);
	if (ret)
		return ret;
	work(self, 10);

	scan(self);
	judge(self);
	sent = atomic_load(&self->sender.sent);
	self->gap_first = sent > WINDOW ? sent - WINDOW : 0;
	self->stands = true;
	ret = vfio_mig_set_state(from, VFIO_DEVICE_STATE_STOP, NULL);
	if (ret)
		return ret;
	atomic_store(&self->sender.soon, MOST_FRAMES);
	atomic_store(&self->sender.nobody, true);
	self->fresh = atomic_load(&self->sender.sent);
	count_frames(self);
	reported = 0;
	ret = pass(self, &reported);
	if (ret)
		return ret;
	self->missed += differing(self);
	self->reported += reported;
	self->precise += reported < PAGES;

	ret = vfio_mig_save(from, &stream, CHUNK);
	if (!ret)
		ret = vfio_mig_load(to, &stream, CHUNK);
	vfio_mig_stream_free(&stream);
	if (ret)
		return ret;
	/* Neither end has written a byte since. */
	self->missed += differing(self);
	if (!untouched(self))
		return -EUCLEAN;

	ixgbevf_move(&self->vf, to);
	self->counter = ixgbevf_frames_received(&self->vf);
	atomic_store(&self->sender.soon, atomic_load(&self->sender.sent) + WINDOW);
	ret = ixgbevf_arrive(&self->vf, to);
	if (ret)
		return ret;
	usleep(setting("KSFT_STALL_MS", 0) * 1000);
	self->stands = false;
	vfio_log_stop(from);
	vfio_pci_device_reset(from);
	self->at = !self->at;
	return 0;
}

TEST_F_TIMEOUT(mig_load, to_and_fro, 1800)
{
	u32 rounds = setting("KSFT_ROUNDS", 10), ms = setting("KSFT_ROUND_MS", 50);
	u32 i, sent, quiet;

	self->counter = ixgbevf_frames_received(&self->vf);
	self->drops_before = ring_full();
	start_sender(self);
	for (i = 0; i < rounds; i++) {
		ASSERT_TRUE(work_on(self)) {
			TH_LOG("move %u: nothing comes", i);
		}
		work(self, ms);
		ASSERT_EQ(0, move(self)) {
			TH_LOG("move %u", i);
		}
		ASSERT_EQ(0, self->lost + self->duplicated + self->corrupted) {
			TH_LOG("move %u: %llu lost, %llu duplicated, %llu corrupted", i,
			       (unsigned long long)self->lost,
			       (unsigned long long)self->duplicated,
			       (unsigned long long)self->corrupted);
		}
		ASSERT_EQ(0, self->missed) {
			TH_LOG("move %u", i);
		}
	}
	ASSERT_TRUE(work_on(self));
	work(self, ms);
	stop_sender(self);
	/* What is under way still. */
	sent = atomic_load(&self->sender.sent);
	for (quiet = 0; self->scanned < sent && quiet < 50; quiet++) {
		u64 came = self->frames;

		work(self, 100);
		scan(self);
		if (came != self->frames)
			quiet = 0;
	}
	scan_to(self, sent);
	judge(self);
	count_frames(self);

	TH_LOG("%u moves: %u frames sent, %llu taken (%llu and %llu by queue)", rounds, sent,
	       (unsigned long long)self->frames, (unsigned long long)self->per_queue[0],
	       (unsigned long long)self->per_queue[1]);
	TH_LOG("%llu on the wire while nobody served, %llu by %llu that found a ring full",
	       (unsigned long long)self->on_wire, (unsigned long long)self->full,
	       (unsigned long long)(ring_full() - self->drops_before));
	TH_LOG("%llu lost, %llu duplicated, %llu corrupted", (unsigned long long)self->lost,
	       (unsigned long long)self->duplicated, (unsigned long long)self->corrupted);
	TH_LOG("%llu pages reported, %u of %u reports short of all memory, %llu pages missed",
	       (unsigned long long)self->reported, self->precise, rounds,
	       (unsigned long long)self->missed);
	TH_LOG("%u restores, %u rings re-armed, %u resets", self->vf.restores, self->vf.rearmed,
	       self->vf.resets);
	EXPECT_EQ(0, self->lost + self->duplicated + self->corrupted);
	EXPECT_EQ(0, self->missed);
	EXPECT_EQ(0, self->vf.resets);
	EXPECT_TRUE(untouched(self));
	EXPECT_LT(0, self->per_queue[0]);
	EXPECT_LT(0, self->per_queue[1]);
	/* What the devices wrote is what the driver found. */
	EXPECT_EQ(self->counted, self->frames + self->others);
	/* A driver that marks is not answered with all memory, or marking would be for nothing. */
	if (!variant->plain) {
		EXPECT_LT(0, self->precise);
	}
}

int main(int argc, char *argv[])
{
	test_env_args(&argc, argv, 2, true);
	return test_harness_run(argc, argv);
}
