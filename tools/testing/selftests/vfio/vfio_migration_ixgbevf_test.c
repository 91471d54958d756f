// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VF in use moves between two PFs of one machine and back, under traffic from a
 * peer that stays. Both VFs share one IOMMU address space, so that memory need not
 * be copied: what is tested is the device's state, and nothing but it.
 *
 * $KSFT_RESTORE says how the ring heads come back with this hardware and this
 * setting of devlink: "write", "rearm" or "reset". With the first two no frame may
 * be lost, in any direction, other than those that arrive while no PF serves the
 * address; the peer sends none then. With "rearm" none does before the driver has
 * re-armed its rings and told the PF.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/align.h>

#include <libvfio/peer.h>

#include <libvfio/harness.h>

#define CHUNK		4096
#define GUARD		(64 * 1024)
#define REGION_SIZE	ALIGN(sizeof(struct ixgbevf_memory), 4096)

enum restore { WRITE, REARM, RESET };

static enum restore restore_way(void)
{
	const char *way = getenv("KSFT_RESTORE");

	if (way && !strcmp(way, "rearm"))
		return REARM;
	if (way && !strcmp(way, "reset"))
		return RESET;
	return WRITE;
}

FIXTURE(mig_move) {
	struct test_env env;
	struct dma_region region;
	struct dma_region guard;	/* memory that no device has reason to touch */
	struct ixgbevf vf;
	struct peer peer;		/* sends to the VF; accounts what comes from it */
	struct peer sink;		/* accounts what the VF receives */
	int at;				/* index of the device that runs the VF */
	bool lossless;
	u64 moves;
};

FIXTURE_VARIANT(mig_move) {
	const char *iommu_mode;
	bool plain;
};

#define FIXTURE_VARIANT_ADD_IOMMU_MODE(_iommu_mode)		\
FIXTURE_VARIANT_ADD(mig_move, _iommu_mode##_cooperative) {	\
	.iommu_mode = #_iommu_mode,				\
};								\
FIXTURE_VARIANT_ADD(mig_move, _iommu_mode##_plain) {		\
	.iommu_mode = #_iommu_mode,				\
	.plain = true,						\
}

FIXTURE_VARIANT_ADD_IOMMU_MODES();

FIXTURE_SETUP(mig_move)
{
	peer_open(&self->peer);
	test_env_open(&self->env, variant->iommu_mode);
	test_env_map(&self->env, &self->region, REGION_SIZE);
	test_env_map(&self->env, &self->guard, GUARD);
	memset(self->guard.vaddr, 0x5a, GUARD);

	self->vf.plain = variant->plain;
	self->vf.receive = peer_account;
	self->vf.context = &self->sink;
	/* A driver that cannot re-arm is reset instead. */
	self->lossless = restore_way() == WRITE || (restore_way() == REARM && !variant->plain);
	ASSERT_EQ(0, ixgbevf_init(&self->vf, self->env.device[0], &self->region));
	if (!variant->plain && !self->vf.migration)
		UNMET(return, "the PF does not grant the extension");
}

FIXTURE_TEARDOWN(mig_move)
{
	int i;

	for (i = 0; i < GUARD && ((u8 *)self->guard.vaddr)[i] == 0x5a; i++)
		;
	/* Not as the block of the expectation: after a failed ASSERT the harness runs that anyway. */
	if (i < GUARD)
		TH_LOG("the device wrote outside its buffers, at %#x", i);
	EXPECT_EQ(GUARD, i);
	test_env_close(&self->env);
	peer_close(&self->peer);
}

/* Whether the driver has to re-arm its rings before a PF serves the VF. */
static bool rearms(FIXTURE_DATA(mig_move) *self)
{
	return restore_way() == REARM && !self->vf.plain;
}

/*
 * A VF that was set going: work until it is served. A driver that has to re-arm its rings
 * tells the PF when it has, which then announces the VF to the switches if it has arrived.
 */
static int wait_served(FIXTURE_DATA(mig_move) *self, u32 restores, u64 others, bool arrived)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;

	if (!rearms(self))
		return 0;

	while (self->vf.restores == restores || (arrived && self->peer.others == others)) {
		if (test_now_ms() > deadline)
			return -ETIMEDOUT;
		ixgbevf_poll(&self->vf);
		peer_receive(&self->peer, self->vf.mac, 0);
	}
	return 0;
}

/* Move the VF to the other device, which runs it afterwards. */
static int start_move(FIXTURE_DATA(mig_move) *self, size_t chunk)
{
	struct vfio_pci_device *from = self->env.device[self->at];
	struct vfio_pci_device *to = self->env.device[!self->at];
	struct vfio_mig_stream stream = {};
	int ret;

	ret = vfio_mig_save(from, &stream, chunk);
	if (!ret)
		ret = vfio_mig_load(to, &stream, chunk);
	vfio_mig_stream_free(&stream);
	if (ret)
		return ret;

	ret = ixgbevf_arrive(&self->vf, to);
	if (ret)
		return ret;

	vfio_pci_device_reset(from);
	self->at = !self->at;
	self->moves++;
	return 0;
}

/* The same, and the VF is served. */
static int move(FIXTURE_DATA(mig_move) *self, size_t chunk)
{
	u32 restores = self->vf.restores;
	u64 others = self->peer.others;
	int ret = start_move(self, chunk);

	return ret ? ret : wait_served(self, restores, others, true);
}

static void send_from_vf(FIXTURE_DATA(mig_move) *self, u32 count, u32 len)
{
	u32 i;

	for (i = 0; i < count; i++)
		peer_send_from(&self->peer, &self->vf, i, len);
}

static void peer_burst(FIXTURE_DATA(mig_move) *self, u32 count, u32 len)
{
	u32 i;

	for (i = 0; i < count; i++)
		peer_send(&self->peer, self->vf.mac, i % PEER_FLOWS, len);
}

static u32 untaken(FIXTURE_DATA(mig_move) *self)
{
	u32 count = 0;
	int queue;

	for (queue = 0; queue < IXGBEVF_QUEUES; queue++) {
		u32 i = self->vf.rx[queue].next_to_clean;

		while (i != self->vf.rx[queue].next_to_use &&
		       *(volatile __le64 *)&self->vf.memory->queue[queue].rx_ring[i].hi & 1) {
			i = (i + 1) % IXGBEVF_RING_SIZE;
			count++;
		}
	}
	return count;
}

static bool wait_untaken(FIXTURE_DATA(mig_move) *self, u32 count)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;

	while (untaken(self) < count && test_now_ms() < deadline)
		usleep(1000);
	return untaken(self) >= count;
}

TEST_F(mig_move, there_and_back)
{
	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
	ASSERT_TRUE(ixgbevf_rss_is_set(&self->vf));
	ASSERT_EQ(0, move(self, CHUNK));
	ASSERT_TRUE(ixgbevf_rss_is_set(&self->vf));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
	ASSERT_TRUE(!self->lossless || peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS));
	ASSERT_EQ(0, move(self, CHUNK));
	ASSERT_TRUE(ixgbevf_rss_is_set(&self->vf));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
	EXPECT_EQ(0, self->sink.corrupted + self->peer.corrupted);

	if (self->lossless) {
		EXPECT_EQ(0, self->vf.resets);
		EXPECT_EQ(0, self->sink.lost + self->sink.duplicated);
		EXPECT_EQ(0, self->peer.lost + self->peer.duplicated);
	} else {
		EXPECT_EQ(2, self->vf.resets);
	}
	if (!variant->plain && restore_way() == REARM) {
		EXPECT_LT(0, self->vf.rearmed);
	}
	if (!variant->plain && restore_way() == WRITE) {
		EXPECT_EQ(0, self->vf.rearmed);
	}
}

/* Whether the peer sees the VF announced within that time. */
static bool announced(FIXTURE_DATA(mig_move) *self, u64 others, u64 ms)
{
	u64 deadline = test_now_ms() + ms;

	do {
		peer_receive(&self->peer, self->vf.mac, 10);
	} while (self->peer.others == others && test_now_ms() < deadline);
	return self->peer.others != others;
}

/*
 * A PF announces the addresses of a VF that arrived when it serves them: at once, or when
 * the driver has re-armed its rings. Of what comes then nothing is lost.
 */
TEST_F(mig_move, announced_when_served)
{
	u32 restores;
	u64 others;

	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
	restores = self->vf.restores;
	others = self->peer.others;
	ASSERT_EQ(0, start_move(self, CHUNK));
	if (rearms(self)) {
		EXPECT_FALSE(announced(self, others, 300));
		/* Nobody serves it: these are lost, and counted as such. */
		peer_burst(self, 10, 100);
		EXPECT_FALSE(announced(self, others, 100));
		ASSERT_EQ(0, wait_served(self, restores, others, true));
		memcpy(self->sink.received, self->peer.sent, sizeof(self->peer.sent));
	}
	EXPECT_TRUE(announced(self, others, TEST_PATIENCE_MS));
	if (self->lossless) {
		peer_burst(self, 60, 200);
		EXPECT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS));
		EXPECT_EQ(0, self->sink.lost + self->sink.duplicated + self->sink.corrupted);
	}
}

/* A driver that does not answer costs its own frames, not the announcement. */
TEST_F(mig_move, announced_in_the_end)
{
	u64 start, others;

	if (!rearms(self))
		SKIP(return, "nothing is asked of the driver");

	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
	others = self->peer.others;
	start = test_now_ms();
	ASSERT_EQ(0, start_move(self, CHUNK));
	EXPECT_TRUE(announced(self, others, TEST_PATIENCE_MS));
	/* Not before the PF has given it a second. */
	EXPECT_LE(1000, test_now_ms() - start);
	/* Late is not never. */
	EXPECT_TRUE(peer_alive(&self->peer, &self->vf));
	EXPECT_EQ(0, self->vf.resets);
}

/* A VF moves on before its driver has seen that it moved at all. */
TEST_F(mig_move, on_before_rearmed)
{
	u32 restores;
	u64 others;

	if (!self->lossless)
		SKIP(return, "frames are lost by the reset");

	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
	peer_burst(self, 30, 300);
	send_from_vf(self, 30, 300);
	ASSERT_TRUE(wait_untaken(self, 30));
	restores = self->vf.restores;
	ASSERT_EQ(0, start_move(self, CHUNK));
	peer_receive(&self->peer, self->vf.mac, 100);
	others = self->peer.others;
	ASSERT_EQ(0, start_move(self, CHUNK));
	ASSERT_EQ(0, wait_served(self, restores, others, true));
	ASSERT_TRUE(announced(self, others, TEST_PATIENCE_MS));
	ASSERT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS));
	peer_burst(self, 60, 200);
	send_from_vf(self, 60, 200);
	EXPECT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS));
	EXPECT_EQ(0, self->sink.lost + self->sink.duplicated + self->sink.corrupted);
	EXPECT_EQ(0, self->peer.lost + self->peer.duplicated + self->peer.corrupted);
	EXPECT_EQ(0, self->vf.resets);
}

/* Frames received but not yet taken when the VF stops are taken after it moved. */
TEST_F(mig_move, received_before_taken_after)
{
	u32 i;

	if (!self->lossless)
		SKIP(return, "frames are lost by the reset");

	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
	for (i = 0; i < 6; i++) {
		ASSERT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS));
		peer_burst(self, 20 + 7 * i, 64 + 200 * i);
		ASSERT_TRUE(wait_untaken(self, 20 + 7 * i));
		ASSERT_EQ(0, move(self, CHUNK));
		ASSERT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS)) {
			TH_LOG("move %u", i);
		}
	}
	EXPECT_EQ(0, self->sink.lost + self->sink.duplicated + self->sink.corrupted);
}

/* Frames queued for sending are sent once, here or there. */
TEST_F(mig_move, queued_before_sent_after)
{
	u32 i;

	if (!self->lossless)
		SKIP(return, "frames are lost by the reset");

	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
	for (i = 0; i < 6; i++) {
		ASSERT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS));
		send_from_vf(self, 100, 1000);
		ASSERT_EQ(0, move(self, CHUNK));
		ASSERT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS)) {
			TH_LOG("move %u", i);
		}
	}
	EXPECT_EQ(0, self->peer.lost + self->peer.duplicated + self->peer.corrupted);
}

/* Each position of a head in its ring, the last one among them. */
TEST_F_TIMEOUT(mig_move, every_head, 600)
{
	u32 i;

	if (!self->lossless)
		SKIP(return, "frames are lost by the reset");

	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
	for (i = 0; i < 2 * IXGBEVF_RING_SIZE; i += 5) {
		peer_burst(self, 5, 100);
		send_from_vf(self, 5, 100);
		ASSERT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS));
		ASSERT_EQ(0, move(self, CHUNK));
	}
	peer_burst(self, 5, 100);
	ASSERT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS));
	EXPECT_EQ(0, self->sink.lost + self->sink.duplicated + self->sink.corrupted);
	EXPECT_EQ(0, self->peer.lost + self->peer.duplicated + self->peer.corrupted);
}

/* To and fro, again and again, frames of all lengths on both queues. */
TEST_F_TIMEOUT(mig_move, under_load, 600)
{
	const char *rounds = getenv("KSFT_ROUNDS");
	u32 count = rounds ? atoi(rounds) : 20;
	u32 i;

	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
	for (i = 0; i < count; i++) {
		ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
		/* That may have sent many: a ring has room for what comes now, and no more. */
		if (self->lossless) {
			ASSERT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS)) {
				TH_LOG("move %u", i);
			}
		}
		peer_burst(self, 60, 64 + i * 13 % 1400);
		send_from_vf(self, 60, 64 + i * 29 % 1400);
		ixgbevf_poll(&self->vf);
		peer_burst(self, 40, 1514);
		/* What the wire still holds must have reached a device that serves it. */
		ASSERT_TRUE(!self->lossless ||
			    peer_wire_empty(&self->peer, &self->vf, TEST_PATIENCE_MS)) {
			TH_LOG("move %u", i);
		}
		ASSERT_EQ(0, move(self, CHUNK)) {
			TH_LOG("move %u", i);
		}
		if (self->lossless) {
			ASSERT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS)) {
				TH_LOG("move %u", i);
			}
		}
	}
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
	EXPECT_EQ(0, self->sink.corrupted + self->peer.corrupted);
	EXPECT_EQ(0, self->sink.duplicated + self->peer.duplicated);
	if (self->lossless) {
		EXPECT_EQ(0, self->sink.lost + self->peer.lost);
		EXPECT_EQ(0, self->vf.resets);
	}
	TH_LOG("%llu moves, %llu frames in, %llu out, %u restores, %u rings re-armed, %u resets",
	       (unsigned long long)self->moves, (unsigned long long)self->sink.frames,
	       (unsigned long long)self->peer.frames, self->vf.restores, self->vf.rearmed,
	       self->vf.resets);
}

/* The move fails on the destination: the source goes on as if nothing had been. */
TEST_F(mig_move, source_resumes)
{
	struct vfio_pci_device *from = self->env.device[0];
	struct vfio_pci_device *to = self->env.device[1];
	u32 i;

	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
	for (i = 0; i < 5; i++) {
		struct vfio_mig_stream stream = {};
		u32 restores = self->vf.restores;

		peer_burst(self, 30, 300);
		send_from_vf(self, 30, 300);
		ASSERT_TRUE(!self->lossless ||
			    peer_wire_empty(&self->peer, &self->vf, TEST_PATIENCE_MS));
		ASSERT_EQ(0, vfio_mig_save(from, &stream, CHUNK));
		stream.data[stream.len / 2] ^= 1;
		EXPECT_NE(0, vfio_mig_load(to, &stream, CHUNK));
		vfio_pci_device_reset(to);
		vfio_mig_stream_free(&stream);
		ASSERT_EQ(0, vfio_mig_set_state(from, VFIO_DEVICE_STATE_RUNNING, NULL));
		ASSERT_EQ(0, wait_served(self, restores, 0, false));
		ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
		if (self->lossless) {
			ASSERT_TRUE(peer_drain(&self->peer, &self->vf, TEST_PATIENCE_MS));
		}
	}
	EXPECT_EQ(0, self->sink.corrupted + self->peer.corrupted);
	if (self->lossless) {
		EXPECT_EQ(0, self->sink.lost + self->peer.lost);
	}
}

/* The destination is reset or closed in the middle; the source goes on. */
TEST_F(mig_move, destination_dies)
{
	struct vfio_pci_device *from = self->env.device[0];
	struct vfio_mig_stream stream = {};
	int fd, i;

	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, vfio_mig_save(from, &stream, CHUNK));
		ASSERT_EQ(0, vfio_mig_set_state(self->env.device[1],
						VFIO_DEVICE_STATE_RESUMING, &fd));
		ASSERT_EQ((ssize_t)(stream.len / 2), write(fd, stream.data, stream.len / 2));
		if (i & 1) {
			vfio_pci_device_reset(self->env.device[1]);
			close(fd);
		} else {
			test_env_close_device(&self->env, 1);
			close(fd);
			test_env_open_device(&self->env, 1);
		}
		vfio_mig_stream_free(&stream);
		ASSERT_EQ(0, vfio_mig_set_state(from, VFIO_DEVICE_STATE_RUNNING, NULL));
		ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
	}
	ASSERT_EQ(0, move(self, CHUNK));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
}

/* A mailbox exchange is half done when the VF moves: the driver retries and goes on. */
TEST_F(mig_move, while_resetting)
{
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
	ixgbevf_stop(&self->vf);
	ASSERT_EQ(0, start_move(self, CHUNK));
	ASSERT_EQ(0, ixgbevf_reinit(&self->vf));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
}

int main(int argc, char *argv[])
{
	test_env_args(&argc, argv, 2, true);
	return test_harness_run(argc, argv);
}
