// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data stream of VFIO migration: read and written in pieces of any size, its
 * temporary and its permanent end, and streams that are cut, damaged or too long.
 * Knows nothing of the device but that its state is short.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libvfio/test_env.h>

#include <libvfio/harness.h>

#define CHUNK 4096

FIXTURE(mig_stream) {
	struct test_env env;
	struct vfio_pci_device *device;
	struct vfio_mig_stream blob;
	u64 flags;
};

FIXTURE_VARIANT(mig_stream) {
	const char *iommu_mode;
};

#define FIXTURE_VARIANT_ADD_IOMMU_MODE(_iommu_mode)	\
FIXTURE_VARIANT_ADD(mig_stream, _iommu_mode) {		\
	.iommu_mode = #_iommu_mode,			\
}

FIXTURE_VARIANT_ADD_IOMMU_MODES();

FIXTURE_SETUP(mig_stream)
{
	test_env_open(&self->env, variant->iommu_mode);
	self->device = self->env.device[0];
	self->flags = vfio_mig_flags(self->device);
	ASSERT_EQ(0, vfio_mig_save(self->device, &self->blob, CHUNK));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL));
}

FIXTURE_TEARDOWN(mig_stream)
{
	vfio_mig_stream_free(&self->blob);
	test_env_close(&self->env);
}

static int run(FIXTURE_DATA(mig_stream) *self)
{
	return vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL);
}

/* The stream is the same, in whatever pieces it is read. */
TEST_F(mig_stream, read_sizes)
{
	size_t chunk;

	for (chunk = 1; chunk <= self->blob.len + 1; chunk += chunk < 70 ? 1 : 37) {
		struct vfio_mig_stream other = {};

		ASSERT_EQ(0, vfio_mig_save(self->device, &other, chunk)) {
			TH_LOG("chunk %zu", chunk);
		}
		ASSERT_EQ(self->blob.len, other.len);
		ASSERT_EQ(0, memcmp(self->blob.data, other.data, other.len)) {
			TH_LOG("chunk %zu", chunk);
		}
		vfio_mig_stream_free(&other);
		ASSERT_EQ(0, run(self));
	}
}

/* Two saves of a device that did nothing between them are byte for byte the same. */
TEST_F(mig_stream, save_is_repeatable)
{
	struct vfio_mig_stream one = {}, two = {};

	ASSERT_EQ(0, vfio_mig_save(self->device, &one, CHUNK));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	ASSERT_EQ(0, vfio_mig_save(self->device, &two, CHUNK));
	ASSERT_EQ(one.len, two.len);
	EXPECT_EQ(0, memcmp(one.data, two.data, one.len));
	vfio_mig_stream_free(&one);
	vfio_mig_stream_free(&two);
}

/* It is accepted in whatever pieces it is written, and is the same when it is read again. */
TEST_F(mig_stream, write_sizes)
{
	size_t chunk;

	for (chunk = 1; chunk <= self->blob.len; chunk += chunk < 70 ? 1 : 37) {
		struct vfio_mig_stream other = {};

		ASSERT_EQ(0, vfio_mig_load(self->device, &self->blob, chunk)) {
			TH_LOG("chunk %zu", chunk);
		}
		ASSERT_EQ(0, vfio_mig_save(self->device, &other, CHUNK));
		ASSERT_EQ(self->blob.len, other.len);
		ASSERT_EQ(0, memcmp(self->blob.data, other.data, other.len)) {
			TH_LOG("chunk %zu", chunk);
		}
		vfio_mig_stream_free(&other);
		ASSERT_EQ(0, run(self));
	}
}

TEST_F(mig_stream, read_at_end)
{
	struct vfio_mig_stream rest = {};
	struct pollfd pfd = { .events = POLLIN };
	u8 byte;
	int fd, i;

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP_COPY, &fd));
	ASSERT_EQ(0, vfio_mig_stream_read(&rest, fd, CHUNK));
	/* Permanent: 0 again and again, and poll says readable. */
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, read(fd, &byte, 1));
	pfd.fd = fd;
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	close(fd);
	vfio_mig_stream_free(&rest);
}

/* The FD has one direction and no position. */
TEST_F(mig_stream, wrong_way)
{
	u8 byte = 0;
	int fd;

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP_COPY, &fd));
	EXPECT_EQ(-1, write(fd, &byte, 1));
	EXPECT_EQ(-1, pread(fd, &byte, 1, 0));
	EXPECT_EQ(-1, lseek(fd, 0, SEEK_SET));
	close(fd);
	ASSERT_EQ(0, run(self));

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RESUMING, &fd));
	EXPECT_EQ(-1, read(fd, &byte, 1));
	EXPECT_EQ(-1, pwrite(fd, &byte, 1, 0));
	close(fd);
}

/* The FD outlives the state, but not its use. */
TEST_F(mig_stream, fd_after_state)
{
	u8 byte = 0;
	int fd;

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP_COPY, &fd));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	EXPECT_EQ(-1, read(fd, &byte, 1));
	close(fd);

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RESUMING, &fd));
	ASSERT_EQ(0, vfio_mig_stream_write(&self->blob, fd, CHUNK));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	EXPECT_EQ(-1, write(fd, &byte, 1));
	close(fd);
}

TEST_F(mig_stream, unread_is_dropped)
{
	struct vfio_mig_stream other = {};
	u8 some[16];
	int fd;

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP_COPY, &fd));
	ASSERT_EQ(16, read(fd, some, sizeof(some)));
	EXPECT_EQ(0, memcmp(some, self->blob.data, sizeof(some))) {
		TH_LOG("the stream starts otherwise than the last one");
	}
	close(fd);
	ASSERT_EQ(0, run(self));
	/* The next stream is whole. */
	ASSERT_EQ(0, vfio_mig_save(self->device, &other, CHUNK));
	ASSERT_EQ(self->blob.len, other.len);
	EXPECT_EQ(0, memcmp(self->blob.data, other.data, other.len));
	vfio_mig_stream_free(&other);
}

/* Try to load @len bytes of @data. Afterwards the device runs again, by a reset if need be. */
static int try_load(FIXTURE_DATA(mig_stream) *self, u8 *data, size_t len)
{
	struct vfio_mig_stream stream = { data, len };
	int ret = vfio_mig_load(self->device, &stream, CHUNK);

	if (run(self)) {
		/* ERROR, or a device that must not run: the uAPI knows one way out. */
		vfio_pci_device_reset(self->device);
		VFIO_ASSERT_EQ(vfio_mig_state(self->device), VFIO_DEVICE_STATE_RUNNING);
	}
	return ret;
}

/* A stream that is cut anywhere is refused, at the latest when RESUMING is left. */
TEST_F(mig_stream, truncated)
{
	size_t len;

	for (len = 0; len < self->blob.len; len += len < 80 ? 1 : 41) {
		EXPECT_NE(0, try_load(self, self->blob.data, len)) {
			TH_LOG("%zu of %zu bytes accepted", len, self->blob.len);
		}
	}
	ASSERT_EQ(0, try_load(self, self->blob.data, self->blob.len));
}

TEST_F(mig_stream, too_long)
{
	size_t extra[] = { 1, 8, 4096, 1 << 20 };
	int i;

	for (i = 0; i < ARRAY_SIZE(extra); i++) {
		u8 *data = calloc_assert(1, self->blob.len + extra[i]);

		memcpy(data, self->blob.data, self->blob.len);
		EXPECT_NE(0, try_load(self, data, self->blob.len + extra[i])) {
			TH_LOG("%zu bytes too many accepted", extra[i]);
		}
		free(data);
	}
	ASSERT_EQ(0, try_load(self, self->blob.data, self->blob.len));
}

/* Every single-bit flip is refused: the state has a checksum. */
TEST_F_TIMEOUT(mig_stream, bit_flips, 600)
{
	size_t bit, step = 1;

	if (getenv("KSFT_QUICK"))
		step = 61;
	for (bit = 0; bit < 8 * self->blob.len; bit += step) {
		self->blob.data[bit / 8] ^= 1 << (bit % 8);
		EXPECT_NE(0, try_load(self, self->blob.data, self->blob.len)) {
			TH_LOG("bit %zu of byte %zu", bit % 8, bit / 8);
		}
		self->blob.data[bit / 8] ^= 1 << (bit % 8);
	}
	ASSERT_EQ(0, try_load(self, self->blob.data, self->blob.len));
}

TEST_F(mig_stream, garbage)
{
	u8 *data = calloc_assert(1, 8192);
	int i, j;

	EXPECT_NE(0, try_load(self, data, 8192));
	for (i = 0; i < 64; i++) {
		for (j = 0; j < 8192; j++)
			data[j] = rand();
		EXPECT_NE(0, try_load(self, data, 1 + rand() % 8192));
	}
	free(data);
	ASSERT_EQ(0, try_load(self, self->blob.data, self->blob.len));
}

/* PRE_COPY: a temporary end that becomes data again in STOP_COPY, on the same FD. */
TEST_F(mig_stream, precopy)
{
	struct vfio_mig_stream stream = {};
	struct vfio_precopy_info info;
	u8 byte;
	int fd, i;

	if (!(self->flags & VFIO_MIGRATION_PRE_COPY))
		UNMET(return, "no PRE_COPY");

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_PRE_COPY, &fd));
	ASSERT_EQ(0, vfio_mig_precopy_info(fd, &info));
	EXPECT_LT(0, info.initial_bytes);
	EXPECT_EQ(0, info.dirty_bytes);

	EXPECT_EQ(-ENOMSG, vfio_mig_stream_read(&stream, fd, 7));
	EXPECT_LE(info.initial_bytes, stream.len);
	ASSERT_EQ(0, vfio_mig_precopy_info(fd, &info));
	EXPECT_EQ(0, info.initial_bytes);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-1, read(fd, &byte, 1));
		EXPECT_EQ(ENOMSG, errno);
	}

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP_COPY, NULL));
	EXPECT_EQ(-EINVAL, vfio_mig_precopy_info(fd, &info));
	EXPECT_EQ(0, vfio_mig_stream_read(&stream, fd, 11));
	close(fd);

	/* Both parts together are one stream to the destination. */
	ASSERT_EQ(0, vfio_mig_load(self->device, &stream, 5));
	ASSERT_EQ(0, run(self));
	vfio_mig_stream_free(&stream);
}

/* What PRE_COPY has not delivered comes in STOP_COPY. */
TEST_F(mig_stream, precopy_partly_read)
{
	size_t part;

	if (!(self->flags & VFIO_MIGRATION_PRE_COPY))
		UNMET(return, "no PRE_COPY");

	for (part = 0; part < 24; part++) {
		struct vfio_mig_stream stream = {};
		int fd;

		ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_PRE_COPY, &fd));
		stream.data = malloc_assert(part + 1);
		ASSERT_EQ((ssize_t)part, read(fd, stream.data, part));
		stream.len = part;
		ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP_COPY, NULL));
		ASSERT_EQ(0, vfio_mig_stream_read(&stream, fd, CHUNK));
		close(fd);
		ASSERT_EQ(0, vfio_mig_load(self->device, &stream, CHUNK)) {
			TH_LOG("%zu bytes read in PRE_COPY", part);
		}
		ASSERT_EQ(0, run(self));
		vfio_mig_stream_free(&stream);
	}
}

TEST_F(mig_stream, precopy_abandoned)
{
	struct vfio_precopy_info info;
	u8 byte;
	int fd;

	if (!(self->flags & VFIO_MIGRATION_PRE_COPY))
		UNMET(return, "no PRE_COPY");

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_PRE_COPY, &fd));
	ASSERT_EQ(0, run(self));
	EXPECT_EQ(-EINVAL, vfio_mig_precopy_info(fd, &info));
	EXPECT_EQ(-1, read(fd, &byte, 1));
	close(fd);
}

TEST_F(mig_stream, precopy_info_arguments)
{
	struct vfio_precopy_info info = { .argsz = sizeof(info) - 1 };
	int fd;

	if (!(self->flags & VFIO_MIGRATION_PRE_COPY))
		UNMET(return, "no PRE_COPY");

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_PRE_COPY, &fd));
	EXPECT_EQ(-1, ioctl(fd, VFIO_MIG_GET_PRECOPY_INFO, &info));
	EXPECT_EQ(EINVAL, errno);
	close(fd);
}

int main(int argc, char *argv[])
{
	test_env_args(&argc, argv, 1, true);
	return test_harness_run(argc, argv);
}
