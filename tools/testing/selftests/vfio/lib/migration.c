// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO migration uAPI, version 2 (include/uapi/linux/vfio.h), as user space sees
 * it: thin wrappers that return what the kernel answered, and the state machine
 * as the uAPI documents it, so that tests compare the two.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>

#include <linux/kernel.h>

#include <libvfio/migration.h>

static const char * const state_names[VFIO_MIG_NUM_STATES] = {
	[VFIO_DEVICE_STATE_ERROR] = "ERROR",
	[VFIO_DEVICE_STATE_STOP] = "STOP",
	[VFIO_DEVICE_STATE_RUNNING] = "RUNNING",
	[VFIO_DEVICE_STATE_STOP_COPY] = "STOP_COPY",
	[VFIO_DEVICE_STATE_RESUMING] = "RESUMING",
	[VFIO_DEVICE_STATE_RUNNING_P2P] = "RUNNING_P2P",
	[VFIO_DEVICE_STATE_PRE_COPY] = "PRE_COPY",
	[VFIO_DEVICE_STATE_PRE_COPY_P2P] = "PRE_COPY_P2P",
};

const char *vfio_mig_state_name(u32 state)
{
	return state < VFIO_MIG_NUM_STATES ? state_names[state] : "?";
}

int vfio_feature(struct vfio_pci_device *device, u32 flags, void *data, size_t size)
{
	size_t argsz = sizeof(struct vfio_device_feature) + size;
	struct vfio_device_feature *feature = calloc_assert(1, argsz);
	int ret = 0;

	feature->argsz = argsz;
	feature->flags = flags;
	if (size)
		memcpy(feature->data, data, size);

	if (ioctl(device->fd, VFIO_DEVICE_FEATURE, feature))
		ret = -errno;

	/* Some features answer even when they fail (data_fd of a state change). */
	if (size)
		memcpy(data, feature->data, size);

	free(feature);
	return ret;
}

u64 vfio_mig_flags(struct vfio_pci_device *device)
{
	struct vfio_device_feature_migration mig = {};

	if (vfio_feature(device, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION,
			 &mig, sizeof(mig)))
		return 0;

	return mig.flags;
}

int vfio_mig_get_state(struct vfio_pci_device *device, u32 *state)
{
	struct vfio_device_feature_mig_state mig = {};
	int ret;

	ret = vfio_feature(device, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
			   &mig, sizeof(mig));
	*state = mig.device_state;
	return ret;
}

u32 vfio_mig_state(struct vfio_pci_device *device)
{
	u32 state;

	VFIO_ASSERT_EQ(vfio_mig_get_state(device, &state), 0);
	return state;
}

int vfio_mig_set_state(struct vfio_pci_device *device, u32 state, int *data_fd)
{
	/* A FD that the kernel does not set must not be taken for one. */
	struct vfio_device_feature_mig_state mig = { .device_state = state, .data_fd = -1 };
	int ret;

	ret = vfio_feature(device, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
			   &mig, sizeof(mig));
	if (data_fd)
		*data_fd = ret ? -1 : mig.data_fd;
	else if (!ret && mig.data_fd >= 0)
		VFIO_ASSERT_EQ(close(mig.data_fd), 0);

	return ret;
}

static bool state_supported(u32 state, u64 flags)
{
	switch (state) {
	case VFIO_DEVICE_STATE_STOP:
	case VFIO_DEVICE_STATE_RUNNING:
	case VFIO_DEVICE_STATE_STOP_COPY:
	case VFIO_DEVICE_STATE_RESUMING:
		return flags & VFIO_MIGRATION_STOP_COPY;
	case VFIO_DEVICE_STATE_RUNNING_P2P:
		return flags & VFIO_MIGRATION_P2P;
	case VFIO_DEVICE_STATE_PRE_COPY:
		return flags & VFIO_MIGRATION_PRE_COPY;
	case VFIO_DEVICE_STATE_PRE_COPY_P2P:
		return (flags & VFIO_MIGRATION_PRE_COPY) && (flags & VFIO_MIGRATION_P2P);
	default:
		/* ERROR is never asked for, and other numbers are no states. */
		return false;
	}
}

bool vfio_mig_arc_allowed(u32 from, u32 to, u64 flags)
{
	if (!state_supported(from, flags) || !state_supported(to, flags))
		return false;

	/* The stream has ended: it cannot become one of PRE_COPY again. */
	if (from == VFIO_DEVICE_STATE_STOP_COPY)
		return to != VFIO_DEVICE_STATE_PRE_COPY && to != VFIO_DEVICE_STATE_PRE_COPY_P2P;

	return true;
}

bool vfio_mig_arc_has_fd(u32 from, u32 to)
{
	bool precopy = from == VFIO_DEVICE_STATE_PRE_COPY ||
		       from == VFIO_DEVICE_STATE_PRE_COPY_P2P;

	if (from == to)
		return false;

	switch (to) {
	case VFIO_DEVICE_STATE_RESUMING:
		return true;
	case VFIO_DEVICE_STATE_STOP_COPY:
	case VFIO_DEVICE_STATE_PRE_COPY:
	case VFIO_DEVICE_STATE_PRE_COPY_P2P:
		/* Within PRE_COPY and from it to STOP_COPY the FD stays the same. */
		return !precopy;
	default:
		return false;
	}
}

int vfio_mig_data_size(struct vfio_pci_device *device, u64 *size)
{
	struct vfio_device_feature_mig_data_size data = {};
	int ret;

	ret = vfio_feature(device, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
			   &data, sizeof(data));
	*size = data.stop_copy_length;
	return ret;
}

int vfio_mig_precopy_info(int data_fd, struct vfio_precopy_info *info)
{
	*info = (struct vfio_precopy_info) { .argsz = sizeof(*info) };

	return ioctl(data_fd, VFIO_MIG_GET_PRECOPY_INFO, info) ? -errno : 0;
}

int vfio_mig_stream_read(struct vfio_mig_stream *stream, int data_fd, size_t chunk)
{
	ssize_t n;

	for (;;) {
		stream->data = realloc(stream->data, stream->len + chunk);
		VFIO_ASSERT_NOT_NULL(stream->data);

		n = read(data_fd, stream->data + stream->len, chunk);
		if (n < 0)
			return -errno;
		if (!n)
			return 0;

		VFIO_ASSERT_LE((size_t)n, chunk);
		stream->len += n;
	}
}

int vfio_mig_stream_write(const struct vfio_mig_stream *stream, int data_fd, size_t chunk)
{
	size_t done = 0;
	ssize_t n;

	while (done < stream->len) {
		n = write(data_fd, stream->data + done, min(chunk, stream->len - done));
		if (n < 0)
			return -errno;

		/* A write that takes nothing would loop for ever. */
		VFIO_ASSERT_GT(n, 0);
		done += n;
	}

	return 0;
}

void vfio_mig_stream_free(struct vfio_mig_stream *stream)
{
	free(stream->data);
	*stream = (struct vfio_mig_stream) {};
}

int vfio_mig_save(struct vfio_pci_device *device, struct vfio_mig_stream *stream, size_t chunk)
{
	int data_fd, ret;

	ret = vfio_mig_set_state(device, VFIO_DEVICE_STATE_STOP_COPY, &data_fd);
	if (ret)
		return ret;

	ret = vfio_mig_stream_read(stream, data_fd, chunk);
	VFIO_ASSERT_EQ(close(data_fd), 0);
	return ret;
}

int vfio_mig_load(struct vfio_pci_device *device, const struct vfio_mig_stream *stream,
		  size_t chunk)
{
	int data_fd, ret;

	ret = vfio_mig_set_state(device, VFIO_DEVICE_STATE_RESUMING, &data_fd);
	if (ret)
		return ret;

	ret = vfio_mig_stream_write(stream, data_fd, chunk);
	/* The data is complete when the arc out of RESUMING says so. */
	if (!ret)
		ret = vfio_mig_set_state(device, VFIO_DEVICE_STATE_STOP, NULL);
	VFIO_ASSERT_EQ(close(data_fd), 0);
	return ret;
}

int vfio_log_start(struct vfio_pci_device *device, u64 iova, u64 size, u64 *page_size)
{
	struct vfio_device_feature_dma_logging_range range = { .iova = iova, .length = size };
	struct vfio_device_feature_dma_logging_control control = {
		.page_size = *page_size,
		.num_ranges = 1,
		.ranges = (uintptr_t)&range,
	};
	int ret;

	ret = vfio_feature(device, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
			   &control, sizeof(control));
	*page_size = control.page_size;
	return ret;
}

int vfio_log_stop(struct vfio_pci_device *device)
{
	return vfio_feature(device,
			    VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
			    NULL, 0);
}

int vfio_log_report(struct vfio_pci_device *device, u64 iova, u64 size, u64 page_size,
		    u64 *bitmap)
{
	struct vfio_device_feature_dma_logging_report report = {
		.iova = iova,
		.length = size,
		.page_size = page_size,
		.bitmap = (uintptr_t)bitmap,
	};

	return vfio_feature(device,
			    VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
			    &report, sizeof(report));
}

u64 vfio_copy_dirty(u8 *copy, const struct dma_region *region, u64 page_size, const u64 *log,
		    const u64 *cpu_dirty)
{
	const u8 *memory = region->vaddr;
	u64 reported = 0, i;

	for (i = 0; i < region->size / page_size; i++) {
		reported += vfio_bit(log, i);
		if (vfio_bit(log, i) || vfio_bit(cpu_dirty, i))
			memcpy(copy + i * page_size, memory + i * page_size, page_size);
	}
	return reported;
}

u64 vfio_count_differing(const u8 *copy, const struct dma_region *region, u64 page_size)
{
	const u8 *memory = region->vaddr;
	u64 count = 0, i;

	for (i = 0; i < region->size / page_size; i++)
		count += !!memcmp(copy + i * page_size, memory + i * page_size, page_size);
	return count;
}
