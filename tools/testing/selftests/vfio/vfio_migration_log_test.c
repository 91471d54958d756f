// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages did the device write? A hypervisor copies memory while the device
 * runs, then again what has changed: what the CPU wrote, it knows; what the device
 * wrote, DMA logging or marking by the guest's driver must tell. One page missed
 * is silent corruption of the guest, so here every byte is compared.
 *
 * The order is law: the device is stopped, then the log is read for the last time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <linux/align.h>
#include <linux/iommufd.h>
#include <linux/userfaultfd.h>

#include <libvfio/peer.h>

#include "lib/drivers/ixgbevf/hw.h"

#include <libvfio/harness.h>

#define REGION_SIZE	ALIGN(sizeof(struct ixgbevf_memory), 4096)
#define PAGES		(REGION_SIZE / IXGBEVF_PAGE_SIZE)

/* SRRCTL: descriptors with two buffers of 2 KiB, which nobody follows. */
#define HEADER_SPLIT	0x04000802

FIXTURE(mig_log) {
	struct test_env env;
	struct vfio_pci_device *device;
	struct dma_region region;
	struct ixgbevf vf;
	struct peer peer;
	struct peer sink;
	u64 cpu_dirty[(PAGES + 63) / 64];
	u64 log[(PAGES + 63) / 64];
	u64 reported;		/* pages that the last report named */
	u8 *copy;		/* the destination's memory */
};

FIXTURE_VARIANT(mig_log) {
	const char *iommu_mode;
	bool plain;
};

#define FIXTURE_VARIANT_ADD_IOMMU_MODE(_iommu_mode)		\
FIXTURE_VARIANT_ADD(mig_log, _iommu_mode##_cooperative) {	\
	.iommu_mode = #_iommu_mode,				\
};								\
FIXTURE_VARIANT_ADD(mig_log, _iommu_mode##_plain) {		\
	.iommu_mode = #_iommu_mode,				\
	.plain = true,						\
}

FIXTURE_VARIANT_ADD_IOMMU_MODES();

FIXTURE_SETUP(mig_log)
{
	peer_open(&self->peer);
	test_env_open(&self->env, variant->iommu_mode);
	self->device = self->env.device[0];
	test_env_map(&self->env, &self->region, REGION_SIZE);
	self->copy = malloc_assert(REGION_SIZE);
	self->vf.plain = variant->plain;
	self->vf.cpu_dirty = self->cpu_dirty;
	self->vf.receive = peer_account;
	self->vf.context = &self->sink;
	ASSERT_EQ(0, ixgbevf_init(&self->vf, self->device, &self->region));
	ASSERT_TRUE(peer_begin(&self->peer, &self->vf));
}

FIXTURE_TEARDOWN(mig_log)
{
	/* A test may have left the device stopped. */
	vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL);
	free(self->copy);
	test_env_close(&self->env);
	munmap(self->region.vaddr, self->region.size);
	peer_close(&self->peer);
}

static int start(FIXTURE_DATA(mig_log) *self)
{
	u64 page_size = IXGBEVF_PAGE_SIZE;
	int ret;

	ret = ixgbevf_log_start(&self->vf, self->region.iova, self->region.size, &page_size);
	if (!ret && page_size != IXGBEVF_PAGE_SIZE)
		ret = -ERANGE;
	return ret;
}

/* Whether the host follows the rings of a driver that does not mark, as it does unless it is told not to. */
static bool followed(void)
{
	const char *percent = getenv("KSFT_FOLLOW");

	return !percent || atoi(percent) > 0;
}

/* Frames that the device has written and nobody has taken. */
static u32 untaken(FIXTURE_DATA(mig_log) *self)
{
	u32 count = 0;
	int queue;

	for (queue = 0; queue < IXGBEVF_QUEUES; queue++) {
		struct ixgbevf_queue_memory *mem = &self->vf.memory->queue[queue];
		u32 i = self->vf.rx[queue].next_to_clean;

		while (i != self->vf.rx[queue].next_to_use &&
		       *(volatile __le64 *)&mem->rx_ring[i].hi & 1) {
			i = (i + 1) % IXGBEVF_RING_SIZE;
			count++;
		}
	}
	return count;
}

/*
 * Send @count frames to the VF and wait until the device has written them all. The
 * driver takes them (@take) or leaves them in the ring.
 */
static int traffic(FIXTURE_DATA(mig_log) *self, u32 count, bool take)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;
	u64 target = self->sink.frames + count;
	u32 i;

	for (i = 0; i < count; i++) {
		peer_send(&self->peer, self->vf.mac, i, 300 + i % 1000);
		/* Small bursts: the ring must never run empty of buffers. */
		while (take && (self->sink.frames + IXGBEVF_RING_SIZE / 4 < target - count + i)) {
			ixgbevf_poll(&self->vf);
			if (test_now_ms() > deadline)
				return -ETIMEDOUT;
		}
	}
	while (take ? self->sink.frames < target : untaken(self) < count) {
		if (take)
			ixgbevf_poll(&self->vf);
		if (test_now_ms() > deadline)
			return -ETIMEDOUT;
	}
	return 0;
}

/* Copy all memory, as the first pass of pre-copy does. */
static void copy_all(FIXTURE_DATA(mig_log) *self)
{
	memcpy(self->copy, self->region.vaddr, REGION_SIZE);
	memset(self->cpu_dirty, 0, sizeof(self->cpu_dirty));
}

/* One pass of pre-copy: copy what is reported, by the log or by the CPU's writes. */
static int pass(FIXTURE_DATA(mig_log) *self)
{
	int ret;

	ret = vfio_log_report(self->device, self->region.iova, self->region.size,
			      IXGBEVF_PAGE_SIZE, self->log);
	if (ret)
		return ret;

	self->reported = vfio_copy_dirty(self->copy, &self->region, IXGBEVF_PAGE_SIZE, self->log,
					 self->cpu_dirty);
	memset(self->log, 0, sizeof(self->log));
	memset(self->cpu_dirty, 0, sizeof(self->cpu_dirty));
	return 0;
}

/* Pages that differ at the destination. */
static u64 missed(FIXTURE_DATA(mig_log) *self)
{
	return vfio_count_differing(self->copy, &self->region, IXGBEVF_PAGE_SIZE);
}

/*
 * Let the driver see that it is to mark, or no longer: for a moment, and then until it does so.
 * Of one that is never told, for the moment.
 */
static void settle(FIXTURE_DATA(mig_log) *self, bool marking)
{
	bool told = self->vf.migration && !self->vf.plain;
	u64 start = test_now_ms(), now;

	do {
		ixgbevf_poll(&self->vf);
		now = test_now_ms();
	} while (now < start + 100 ||
		 (told && self->vf.marking != marking && now < start + TEST_PATIENCE_MS));
}

/* A driver that was deaf hears the request to mark, and has answered when this returns true. */
static bool hears(FIXTURE_DATA(mig_log) *self)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;

	self->vf.deaf = false;
	while (!self->vf.marking && test_now_ms() < deadline)
		ixgbevf_poll(&self->vf);
	return self->vf.marking;
}

TEST_F(mig_log, start_stop)
{
	u64 page_size = IXGBEVF_PAGE_SIZE;

	/* The drivers of Linux 7.3 take a stop without a start; the uAPI asks for no more. */
	EXPECT_EQ(0, vfio_log_stop(self->device));
	EXPECT_NE(0, vfio_log_report(self->device, self->region.iova, self->region.size,
				     IXGBEVF_PAGE_SIZE, self->log));
	ASSERT_EQ(0, start(self));
	EXPECT_NE(0, vfio_log_start(self->device, self->region.iova, self->region.size,
				    &page_size));
	ASSERT_EQ(0, vfio_log_stop(self->device));
	ASSERT_EQ(0, start(self));
	ASSERT_EQ(0, vfio_log_stop(self->device));
}

TEST_F(mig_log, arguments)
{
	u64 page_size = IXGBEVF_PAGE_SIZE;

	EXPECT_EQ(-EINVAL, vfio_log_start(self->device, self->region.iova + 1,
					  self->region.size, &page_size));
	EXPECT_NE(0, vfio_log_start(self->device, ~0ULL << 12, 2 << 12, &page_size));
	/* A hint that no page size can meet is answered with one that is met. */
	page_size = 1;
	if (!vfio_log_start(self->device, self->region.iova, self->region.size, &page_size)) {
		EXPECT_LE(IXGBEVF_PAGE_SIZE, page_size);
		ASSERT_EQ(0, vfio_log_stop(self->device));
	}
	ASSERT_EQ(0, start(self));
	EXPECT_NE(0, vfio_log_report(self->device, self->region.iova + self->region.size,
				     self->region.size, IXGBEVF_PAGE_SIZE, self->log)) {
		TH_LOG("a report of what is not logged");
	}
	ASSERT_EQ(0, vfio_log_stop(self->device));
}

TEST_F(mig_log, reset_ends_logging)
{
	ASSERT_EQ(0, start(self));
	vfio_pci_device_reset(self->device);
	/* Whether it goes on or has ended, it can be ended and started. */
	vfio_log_stop(self->device);
	ASSERT_EQ(0, start(self));
	ASSERT_EQ(0, vfio_log_stop(self->device));
}

/* Pre-copy under traffic, in the lawful order: no page is missed. */
TEST_F(mig_log, no_page_missed)
{
	int precise = 0;
	int round, i;

	for (round = 0; round < 10; round++) {
		ASSERT_EQ(0, start(self));
		settle(self, true);
		copy_all(self);

		for (i = 0; i < 4; i++) {
			ASSERT_EQ(0, traffic(self, 50 + 7 * round, true));
			ASSERT_EQ(0, pass(self));
		}
		/* Frames that nobody has taken when the device stops. */
		ASSERT_EQ(0, traffic(self, 5 + round, true));
		ASSERT_EQ(0, traffic(self, 20, false));

		ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
		ASSERT_EQ(0, pass(self));
		EXPECT_EQ(0, missed(self)) {
			TH_LOG("round %d", round);
		}
		precise += self->reported < PAGES;
		ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL));
		ASSERT_EQ(0, vfio_log_stop(self->device));
		settle(self, false);
	}
	EXPECT_EQ(0, self->sink.corrupted);
	/* An answer of the driver that comes too late costs time and no data. */
	if (!variant->plain && self->vf.migration) {
		EXPECT_LT(0, precise);
	}
	TH_LOG("%d of 10 last reports short of all memory", precise);
}

/* A driver that marks: its pages need not be reported, so that little is left to copy. */
TEST_F(mig_log, marking)
{
	u64 marked;

	if (variant->plain)
		SKIP(return, "this driver does not mark");
	if (!self->vf.migration)
		UNMET(return, "the PF does not grant the extension");

	ASSERT_EQ(0, traffic(self, 10, true));
	EXPECT_EQ(0, self->vf.marked);
	ASSERT_EQ(0, start(self));
	settle(self, true);
	EXPECT_TRUE(self->vf.marking);
	ASSERT_EQ(0, traffic(self, 10, true));
	marked = self->vf.marked;
	EXPECT_LE(10, marked);
	ASSERT_EQ(0, vfio_log_stop(self->device));
	settle(self, false);
	EXPECT_FALSE(self->vf.marking);
	ASSERT_EQ(0, traffic(self, 10, true));
	EXPECT_EQ(marked, self->vf.marked);
}

/*
 * A driver that answers late: nobody knows what was written before, so all memory is
 * reported once, while the device runs. Then as if it had answered in time.
 */
TEST_F(mig_log, late_answer)
{
	const u64 page = 3 * IXGBEVF_PAGE_SIZE;
	int i;

	if (variant->plain)
		SKIP(return, "this driver does not mark");
	if (!self->vf.migration)
		UNMET(return, "the PF does not grant the extension");

	self->vf.deaf = true;
	ASSERT_EQ(0, start(self));
	copy_all(self);
	ASSERT_EQ(0, traffic(self, 50, true));
	ASSERT_FALSE(self->vf.marking);
	ASSERT_EQ(0, pass(self));
	EXPECT_EQ(0, self->reported);
	EXPECT_NE(0, missed(self));

	ASSERT_TRUE(hears(self));
	ASSERT_EQ(0, traffic(self, 50, true));
	/* A page from the middle, then the rest, then nothing more. */
	memset(self->log, 0, sizeof(self->log));
	ASSERT_EQ(0, vfio_log_report(self->device, self->region.iova + page, IXGBEVF_PAGE_SIZE,
				     IXGBEVF_PAGE_SIZE, self->log));
	EXPECT_EQ(1, self->log[0]);
	memcpy(self->copy + page, self->region.vaddr + page, IXGBEVF_PAGE_SIZE);
	memset(self->log, 0, sizeof(self->log));
	ASSERT_EQ(0, pass(self));
	EXPECT_EQ(PAGES - 1, self->reported);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, traffic(self, 50, true));
		ASSERT_EQ(0, pass(self));
		EXPECT_EQ(0, self->reported);
	}

	ASSERT_EQ(0, traffic(self, 20, false));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	ASSERT_EQ(0, pass(self));
	EXPECT_GT(PAGES, self->reported);
	EXPECT_EQ(0, missed(self));
}

/* One whose answer does not come, or comes when nobody reads the log any more before the stop. */
TEST_F(mig_log, too_late_answer)
{
	int answers;

	if (variant->plain)
		SKIP(return, "this driver does not mark");
	if (!self->vf.migration)
		UNMET(return, "the PF does not grant the extension");

	for (answers = 0; answers < 2; answers++) {
		self->vf.deaf = true;
		ASSERT_EQ(0, start(self));
		copy_all(self);
		ASSERT_EQ(0, traffic(self, 50, true));
		ASSERT_EQ(0, pass(self));
		EXPECT_EQ(0, self->reported);
		ASSERT_TRUE(!answers || hears(self));
		ASSERT_EQ(0, traffic(self, 50, true));

		ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
		ASSERT_EQ(0, pass(self));
		EXPECT_EQ(PAGES, self->reported);
		EXPECT_EQ(0, missed(self));
		ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL));
		ASSERT_EQ(0, vfio_log_stop(self->device));
		self->vf.deaf = false;
		settle(self, false);
	}
}

/* A driver that does not: its rings are followed. Of frames that come while nobody reads the log, no page is missed. */
TEST_F(mig_log, not_marking)
{
	int i;

	if (!variant->plain)
		SKIP(return, "this driver marks");

	ASSERT_EQ(0, start(self));
	settle(self, true);
	copy_all(self);
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, traffic(self, 10, true));
		usleep(20000);
	}
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	EXPECT_NE(0, missed(self)) {
		TH_LOG("nothing was written");
	}
	ASSERT_EQ(0, pass(self));
	EXPECT_EQ(0, missed(self));
	TH_LOG("%llu of %llu pages reported", (unsigned long long)self->reported,
	       (unsigned long long)PAGES);
}

/* Puts memory in place of the driver's whose faults are served by whoever has the result; -1 if the kernel lacks that. */
static int unserved(FIXTURE_DATA(mig_log) *self)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register memory = {
		.range = { .start = (uintptr_t)self->region.vaddr, .len = self->region.size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0)
		return -1;
	VFIO_ASSERT_EQ(ioctl(uffd, UFFDIO_API, &api), 0);
	/* What the device can reach stays pinned where it is. */
	VFIO_ASSERT_EQ(mmap(self->region.vaddr, self->region.size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), self->region.vaddr);
	VFIO_ASSERT_EQ(ioctl(uffd, UFFDIO_REGISTER, &memory), 0);
	return uffd;
}

/* Nor does the host wait for memory that its user has it wait for, and everything is reported then. */
TEST_F(mig_log, memory_that_nobody_serves)
{
	u64 dirty = 0, begin, i;
	int uffd;

	if (!variant->plain)
		SKIP(return, "this driver marks");

	ASSERT_EQ(0, start(self));
	settle(self, true);
	uffd = unserved(self);
	if (uffd < 0)
		UNMET(return, "no userfaultfd");
	usleep(200000);
	begin = test_now_ms();
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING_P2P, NULL));
	EXPECT_GT(TEST_PATIENCE_MS, test_now_ms() - begin);
	/* A user's own call waits for it, and can be killed. */
	close(uffd);
	ASSERT_EQ(0, vfio_log_report(self->device, self->region.iova, self->region.size,
				     IXGBEVF_PAGE_SIZE, self->log));
	for (i = 0; i < PAGES; i++)
		dirty += vfio_bit(self->log, i);
	EXPECT_EQ(PAGES, dirty);
}

/* A ring that cannot be followed: everything is reported once the device is stopped. */
TEST_F(mig_log, not_followed)
{
	u64 dirty = 0;
	u64 i;

	if (!variant->plain)
		SKIP(return, "this driver marks");

	ASSERT_EQ(0, start(self));
	ixgbevf_write(&self->vf, IXGBE_VFSRRCTL(1), HEADER_SPLIT);
	usleep(100000);
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	ASSERT_EQ(0, vfio_log_report(self->device, self->region.iova, self->region.size,
				     IXGBEVF_PAGE_SIZE, self->log));
	for (i = 0; i < PAGES; i++)
		dirty += vfio_bit(self->log, i);
	EXPECT_EQ(PAGES, dirty);
}

/* A page table of an IOAS, which user space makes for the device: 0 if iommufd makes none. */
static u32 make_page_table(FIXTURE_DATA(mig_log) *self)
{
	struct iommu_hwpt_alloc args = {
		.size = sizeof(args),
		.pt_id = self->env.iommu->ioas_id,
	};

	/* Objects are numbered from 1. The library does not keep the device's number. */
	for (args.dev_id = 1; args.dev_id <= 64; args.dev_id++)
		if (!ioctl(self->env.iommu->iommufd, IOMMU_HWPT_ALLOC, &args))
			return args.out_hwpt_id;
	return 0;
}

/*
 * With QEMU the device is attached to a page table, and iommufd does not say of which IOAS it is.
 * Where there is one IOAS alone, guest memory is read by it, and not everything is reported. Where
 * there are two, nobody knows.
 */
TEST_F(mig_log, page_table)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct iommu_ioas_alloc other = { .size = sizeof(other) };
	int iommufd = self->env.iommu->iommufd;
	int spaces, tries;

	if (!iommufd)
		SKIP(return, "type1 has no page tables of its own");
	attach.pt_id = make_page_table(self);
	ASSERT_NE(0, attach.pt_id);

	for (spaces = 1; spaces <= 2; spaces++) {
		u64 least = PAGES;

		ASSERT_EQ(0, ioctl(self->device->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach));
		/* On a busy machine a driver may answer too late, or an interval be owed: once. */
		for (tries = 0; tries < 5; tries++) {
			ASSERT_EQ(0, start(self));
			settle(self, true);
			copy_all(self);
			ASSERT_EQ(0, traffic(self, 20, true));
			ASSERT_EQ(0, pass(self));
			ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
			ASSERT_EQ(0, pass(self));
			EXPECT_EQ(0, missed(self));
			least = self->reported < least ? self->reported : least;
			ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING,
							NULL));
			ASSERT_EQ(0, vfio_log_stop(self->device));
			settle(self, false);
		}
		TH_LOG("%d IOAS: at least %llu of %llu pages reported at the stop", spaces,
		       (unsigned long long)least, (unsigned long long)PAGES);
		if (spaces == 2) {
			EXPECT_EQ(PAGES, least);
		} else if (variant->plain ? followed() : self->vf.migration) {
			EXPECT_GT(PAGES, least);
		}
		ASSERT_EQ(0, ioctl(iommufd, IOMMU_IOAS_ALLOC, &other));
	}
	EXPECT_EQ(0, self->sink.corrupted);
}

/* Each page is reported once: who moves a VM that stands reads until little is left. */
TEST_F(mig_log, reported_once)
{
	int i;

	ASSERT_EQ(0, start(self));
	settle(self, true);
	copy_all(self);
	ASSERT_EQ(0, traffic(self, 20, false));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	/* A page from the middle, then the rest, then nothing more. */
	ASSERT_EQ(0, vfio_log_report(self->device, self->region.iova + 3 * IXGBEVF_PAGE_SIZE,
				     IXGBEVF_PAGE_SIZE, IXGBEVF_PAGE_SIZE, self->log));
	memcpy(self->copy + 3 * IXGBEVF_PAGE_SIZE,
	       self->region.vaddr + 3 * IXGBEVF_PAGE_SIZE, IXGBEVF_PAGE_SIZE);
	memset(self->log, 0, sizeof(self->log));
	ASSERT_EQ(0, pass(self));
	EXPECT_NE(0, self->reported);
	if (variant->plain) {
		if (followed()) {
			EXPECT_GT(PAGES - 1, self->reported);
		} else {
			EXPECT_EQ(PAGES - 1, self->reported);
		}
	}
	EXPECT_EQ(0, missed(self));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pass(self));
		EXPECT_EQ(0, self->reported);
	}

	/* It runs again, and what it writes then is reported when it stands the next time. */
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL));
	settle(self, true);
	ASSERT_EQ(0, traffic(self, 50, true));
	ASSERT_EQ(0, pass(self));
	ASSERT_EQ(0, traffic(self, 20, false));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	ASSERT_EQ(0, pass(self));
	EXPECT_NE(0, self->reported);
	EXPECT_EQ(0, missed(self));
}

/* A device that stands when logging begins has written nothing, until it runs. */
TEST_F(mig_log, starts_while_it_stands)
{
	u64 page_size = IXGBEVF_PAGE_SIZE;

	ASSERT_EQ(0, traffic(self, 20, false));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	copy_all(self);
	ASSERT_EQ(0, vfio_log_start(self->device, self->region.iova, self->region.size,
				    &page_size));
	ASSERT_EQ(0, pass(self));
	EXPECT_EQ(0, self->reported);
	EXPECT_EQ(0, missed(self));

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL));
	ASSERT_EQ(0, traffic(self, 50, true));
	settle(self, true);
	ASSERT_EQ(0, pass(self));
	ASSERT_EQ(0, traffic(self, 20, false));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	ASSERT_EQ(0, pass(self));
	EXPECT_EQ(0, missed(self));
}

/*
 * The wrong order, on purpose: the log is read, then frames come in, then the device
 * stops. The checker must see what was missed, or it would see nothing ever.
 */
TEST_F(mig_log, wrong_order_is_seen)
{
	ASSERT_EQ(0, start(self));
	settle(self, true);
	copy_all(self);
	ASSERT_EQ(0, traffic(self, 10, true));
	ASSERT_EQ(0, pass(self));
	ASSERT_EQ(0, traffic(self, 20, false));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	TH_LOG("%llu pages missed, as they must be", (unsigned long long)missed(self));
	EXPECT_NE(0, missed(self));
	/* And the lawful last report mends it. */
	ASSERT_EQ(0, pass(self));
	EXPECT_EQ(0, missed(self));
}

/* A stopped device writes no byte of memory and sends no frame. */
TEST_F(mig_log, stopped_is_silent)
{
	u64 frames;
	u32 i;

	ASSERT_EQ(0, traffic(self, 10, true));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	copy_all(self);
	peer_receive(&self->peer, self->vf.mac, 100);
	frames = self->peer.frames;

	for (i = 0; i < 200; i++)
		peer_send(&self->peer, self->vf.mac, i, 400);
	usleep(300000);
	EXPECT_EQ(0, missed(self));

	/* Nor does it send what is put into its ring meanwhile. */
	for (i = 0; i < 20; i++) {
		u8 *frame = self->vf.memory->queue[0].tx_buffer[self->vf.tx[0].next_to_use];

		test_frame(frame, 200, self->peer.mac, self->vf.mac, 1, i);
		ixgbevf_send(&self->vf, 0, 200);
	}
	peer_receive(&self->peer, self->vf.mac, 300);
	EXPECT_EQ(frames, self->peer.frames);
}

int main(int argc, char *argv[])
{
	test_env_args(&argc, argv, 1, true);
	return test_harness_run(argc, argv);
}
