/* SPDX-License-Identifier: GPL-2.0-only */
/* What the migration tests have in common: one or two devices and memory for them. */
#ifndef SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_TEST_ENV_H
#define SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_TEST_ENV_H

#include <libvfio/ixgbevf.h>
#include <libvfio/migration.h>

#define TEST_MAX_DEVICES 4

/*
 * How long to wait for what always comes, in milliseconds. A machine that is emulated beside
 * others was seen to stand for seconds; what does not come at all is found late, but found.
 */
#define TEST_PATIENCE_MS 60000

struct test_env {
	struct iommu *iommu;
	struct iova_allocator *allocator;
	struct vfio_pci_device *device[TEST_MAX_DEVICES];
	int first;		/* on the command line */
	int nr_devices;
};

/* Whether the machine is said to offer everything, so that what is missing is a failure. */
bool test_env_strict(void);

/*
 * The machine lacks what a test needs: a skip, or a failure if test_env_strict(). What
 * a variant does not have on purpose is a SKIP() in any case. For a kselftest harness.
 */
#define UNMET(statement, why) do {			\
	if (!test_env_strict())				\
		SKIP(statement, why);			\
	ASSERT_EQ(0, test_env_strict()) {		\
		TH_LOG("%s", why);			\
	}						\
} while (0)

/*
 * Take device addresses from the command line or $VFIO_SELFTESTS_BDF. Exits with
 * KSFT_SKIP, or if strict with KSFT_FAIL, if there are fewer than @min, or if
 * @migration is asked for and the first cannot migrate.
 */
void test_env_args(int *argc, char *argv[], int min, bool migration);

/* Address of device @index of the command line. */
const char *test_env_bdf(int index);

/* Open all devices of the command line in one IOMMU address space. */
void test_env_open(struct test_env *env, const char *iommu_mode);

/* Open some of them only, so that others have an address space of their own. */
void test_env_open_some(struct test_env *env, const char *iommu_mode, int first, int count);
void test_env_close(struct test_env *env);

/* Open device @index, of which the environment has none, again. */
void test_env_open_device(struct test_env *env, int index);
void test_env_close_device(struct test_env *env, int index);

/* Zeroed memory that the devices may read and write. */
void test_env_map(struct test_env *env, struct dma_region *region, u64 size);
void test_env_unmap(struct test_env *env, struct dma_region *region);

/* Milliseconds of the monotonic clock. */
u64 test_now_ms(void);

/* An Ethernet frame with an IPv4 UDP datagram of @len bytes in all, its payload made of @seq. */
void test_frame(u8 *frame, u32 len, const u8 *dst, const u8 *src, u16 flow, u32 seq);

/*
 * Check a frame against what test_frame() made. Returns true and its @flow and
 * @seq, or false if one byte differs; *foreign tells frames that are not ours.
 */
bool test_frame_check(const u8 *frame, u32 len, u16 *flow, u32 *seq, bool *foreign);

/* Two IOMMU interfaces, which differ in how the kernel finds guest memory. */
#define FIXTURE_VARIANT_ADD_IOMMU_MODES() \
FIXTURE_VARIANT_ADD_IOMMU_MODE(vfio_type1v2_iommu); \
FIXTURE_VARIANT_ADD_IOMMU_MODE(iommufd)

#endif /* SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_TEST_ENV_H */
