// SPDX-License-Identifier: GPL-2.0-only
/*
 * The user-space 82599 VF driver by itself: it comes up, passes frames between two
 * VFs through the switch of the device, takes interrupts, and survives a reset.
 * Works with plain vfio-pci as well as with a variant driver.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/align.h>

#include <libvfio/test_env.h>

#include <libvfio/harness.h>

#define X550		0x1565

struct sink {
	u32 good[IXGBEVF_QUEUES];
	u32 bad;
	u32 next[256];
	u32 out_of_order;
};

static void receive(struct ixgbevf *vf, int queue, const u8 *frame, u32 len)
{
	struct sink *sink = vf->context;
	bool foreign;
	u16 flow;
	u32 seq;

	if (test_frame_check(frame, len, &flow, &seq, &foreign)) {
		sink->good[queue]++;
		if (seq != sink->next[flow & 0xff])
			sink->out_of_order++;
		sink->next[flow & 0xff] = seq + 1;
	} else if (!foreign) {
		sink->bad++;
	}
}

FIXTURE(vf_traffic) {
	struct test_env env;
	struct dma_region region[2];
	struct ixgbevf vf[2];
	struct sink sink[2];
};

FIXTURE_VARIANT(vf_traffic) {
	const char *iommu_mode;
};

#define FIXTURE_VARIANT_ADD_IOMMU_MODE(_iommu_mode)	\
FIXTURE_VARIANT_ADD(vf_traffic, _iommu_mode) {		\
	.iommu_mode = #_iommu_mode,			\
}

FIXTURE_VARIANT_ADD_IOMMU_MODES();

FIXTURE_SETUP(vf_traffic)
{
	int i;

	test_env_open(&self->env, variant->iommu_mode);
	for (i = 0; i < 2; i++) {
		self->vf[i].mac[0] = 0x02;
		self->vf[i].mac[5] = i + 1;
		self->vf[i].receive = receive;
		self->vf[i].context = &self->sink[i];
		test_env_map(&self->env, &self->region[i],
			     ALIGN(sizeof(struct ixgbevf_memory), 4096));
		ASSERT_EQ(0, ixgbevf_init(&self->vf[i], self->env.device[i], &self->region[i]));
	}
}

FIXTURE_TEARDOWN(vf_traffic)
{
	int i;

	for (i = 0; i < 2; i++) {
		ixgbevf_stop(&self->vf[i]);
		test_env_unmap(&self->env, &self->region[i]);
	}
	test_env_close(&self->env);
}

/* Send @count frames of @len bytes from VF 0 to VF 1, over @flows flows and both queues. */
static int transfer(FIXTURE_DATA(vf_traffic) *self, u32 count, u32 len, u32 flows)
{
	struct sink *sink = &self->sink[1];
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;
	u32 seq[256] = {};
	u32 sent = 0;
	u8 *frame;

	*sink = (struct sink) {};
	while (sink->good[0] + sink->good[1] + sink->bad < count) {
		u32 flow = sent % flows;

		/* Never more under way than the receiving ring holds. */
		if (sent < count && sent - (sink->good[0] + sink->good[1]) < IXGBEVF_RING_SIZE / 2) {
			frame = ixgbevf_tx_frame(&self->vf[0], flow % IXGBEVF_QUEUES);
			if (frame) {
				test_frame(frame, len, self->vf[1].mac, self->vf[0].mac, flow,
					   seq[flow]++);
				ixgbevf_send(&self->vf[0], flow % IXGBEVF_QUEUES, len);
				sent++;
			}
		}
		ixgbevf_poll(&self->vf[1]);
		if (test_now_ms() > deadline)
			return -ETIMEDOUT;
	}

	return 0;
}

TEST_F(vf_traffic, link)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;

	while (!ixgbevf_link(&self->vf[0]) && test_now_ms() < deadline)
		usleep(10000);
	ASSERT_TRUE(ixgbevf_link(&self->vf[0]));
}

TEST_F(vf_traffic, frames)
{
	static const u32 lens[] = { 60, 61, 64, 1000, 1513, 1514 };
	int i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		ASSERT_EQ(0, transfer(self, 100, lens[i], 1)) {
			TH_LOG("length %u", lens[i]);
		}
		ASSERT_EQ(0, self->sink[1].bad);
		ASSERT_EQ(0, self->sink[1].out_of_order);
	}
}

TEST_F(vf_traffic, rings_wrap_on_both_queues)
{
	ASSERT_EQ(0, transfer(self, 10 * IXGBEVF_RING_SIZE, 512, 64));
	EXPECT_EQ(0, self->sink[1].bad);
	EXPECT_EQ(0, self->sink[1].out_of_order);
	EXPECT_LT(0, self->sink[1].good[0]);
	EXPECT_LT(0, self->sink[1].good[1]);
}

TEST_F(vf_traffic, foreign_address_stays_out)
{
	static const u8 nobody[] = { 0x02, 0, 0, 0, 0, 0x77 };
	u8 *frame = ixgbevf_tx_frame(&self->vf[0], 0);

	test_frame(frame, 100, nobody, self->vf[0].mac, 0, 0);
	ixgbevf_send(&self->vf[0], 0, 100);
	/* Frames of one queue do not overtake: what follows proves that it was sent. */
	ASSERT_EQ(0, transfer(self, 10, 100, 1));
	ASSERT_EQ(0, self->sink[1].out_of_order);
	ASSERT_EQ(10, self->sink[1].good[0] + self->sink[1].good[1]);
}

/* The vector of the queue that a frame comes in on. */
TEST_F(vf_traffic, interrupt)
{
	struct pollfd pfd[IXGBEVF_QUEUES];
	u64 count;
	u32 queue;

	ixgbevf_irq_init(&self->vf[1]);
	for (queue = 0; queue < IXGBEVF_QUEUES; queue++) {
		pfd[queue] = (struct pollfd) {
			.fd = self->env.device[1]->msi_eventfds[queue],
			.events = POLLIN,
		};
		fcntl_set_nonblock(pfd[queue].fd);
		while (read(pfd[queue].fd, &count, sizeof(count)) == sizeof(count))
			;
	}

	ASSERT_EQ(0, transfer(self, 1, 100, 1));
	/* Which queue it is depends on the PF's RSS key, which is another after each start. */
	queue = self->sink[1].good[1] ? 1 : 0;
	ASSERT_EQ(1, self->sink[1].good[queue]);
	ASSERT_EQ(1, poll(&pfd[queue], 1, TEST_PATIENCE_MS));
}

TEST_F(vf_traffic, reset)
{
	int i;

	for (i = 0; i < 3; i++) {
		vfio_pci_device_reset(self->env.device[1]);
		vfio_pci_cmd_set(self->env.device[1], PCI_COMMAND_MASTER);
		ASSERT_EQ(0, ixgbevf_reinit(&self->vf[1]));
		ASSERT_EQ(0, transfer(self, 50, 200, 8));
		ASSERT_EQ(0, self->sink[1].bad);
	}
}

TEST_F(vf_traffic, reset_without_driver)
{
	/* What a guest does whose driver is loaded again without any reset between. */
	ASSERT_EQ(0, transfer(self, 50, 200, 8));
	ixgbevf_stop(&self->vf[1]);
	ASSERT_EQ(0, ixgbevf_reinit(&self->vf[1]));
	ASSERT_EQ(0, transfer(self, 50, 200, 8));
	ASSERT_EQ(0, self->sink[1].bad);
}

/*
 * The device blocks the queue. An X550 tells the PF, which tells the VF to reset itself. The
 * others tell nobody, and the VF has to know by itself.
 */
TEST_F(vf_traffic, endless_frame)
{
	bool told = ixgbevf_device_id(self->env.device[0]) == X550;
	struct ixgbevf *bad = &self->vf[0];
	u64 deadline;

	ASSERT_EQ(0, transfer(self, 50, 200, 8));
	ixgbevf_send_endless(bad, 0);
	deadline = test_now_ms() + (told ? TEST_PATIENCE_MS : 3000);
	while (!bad->resets && test_now_ms() < deadline) {
		ixgbevf_poll(bad);
		ixgbevf_poll(&self->vf[1]);
		usleep(1000);
	}
	ASSERT_EQ(told, bad->resets);
	if (!told)
		ASSERT_EQ(0, ixgbevf_reinit(bad));
	ASSERT_EQ(0, transfer(self, 50, 200, 8));
	EXPECT_EQ(0, self->sink[1].bad);
	EXPECT_EQ(0, self->vf[1].resets);
}

int main(int argc, char *argv[])
{
	test_env_args(&argc, argv, 2, false);
	return test_harness_run(argc, argv);
}
