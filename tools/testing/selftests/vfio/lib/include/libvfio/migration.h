/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_MIGRATION_H
#define SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_MIGRATION_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>

#include <linux/types.h>
#include <linux/vfio.h>

#include <libvfio.h>

/* All states that the uAPI knows, VFIO_DEVICE_STATE_ERROR (0) among them. */
#define VFIO_MIG_NUM_STATES (VFIO_DEVICE_STATE_PRE_COPY_P2P + 1)

/* The migration data of a device, in memory. */
struct vfio_mig_stream {
	u8 *data;
	size_t len;
};

const char *vfio_mig_state_name(u32 state);

/*
 * VFIO_DEVICE_FEATURE with @size bytes of @data, copied in and out. Returns 0 or
 * -errno, as all functions here unless they say otherwise.
 */
int vfio_feature(struct vfio_pci_device *device, u32 flags, void *data, size_t size);

/* VFIO_MIGRATION_* flags of the device, 0 if it cannot migrate. */
u64 vfio_mig_flags(struct vfio_pci_device *device);

int vfio_mig_get_state(struct vfio_pci_device *device, u32 *state);

/*
 * Ask for @state. @data_fd, unless NULL, gets the data FD or -1; if it is NULL,
 * a FD that comes is closed.
 */
int vfio_mig_set_state(struct vfio_pci_device *device, u32 state, int *data_fd);

/* The state as the kernel reports it; the test fails if it reports none. */
u32 vfio_mig_state(struct vfio_pci_device *device);

/*
 * Whether the uAPI allows the arc on a device with these VFIO_MIGRATION_* flags,
 * directly or through states between.
 */
bool vfio_mig_arc_allowed(u32 from, u32 to, u64 flags);

/* Whether the end of the arc comes with a data FD. */
bool vfio_mig_arc_has_fd(u32 from, u32 to);

/* Estimated length of the data in STOP_COPY. */
int vfio_mig_data_size(struct vfio_pci_device *device, u64 *size);

int vfio_mig_precopy_info(int data_fd, struct vfio_precopy_info *info);

/*
 * Read from @data_fd in pieces of @chunk bytes until its end and append to
 * @stream. Returns 0 at the permanent end of stream, -ENOMSG at the temporary one
 * of PRE_COPY, else -errno.
 */
int vfio_mig_stream_read(struct vfio_mig_stream *stream, int data_fd, size_t chunk);

/* Write @stream to @data_fd in pieces of @chunk bytes. */
int vfio_mig_stream_write(const struct vfio_mig_stream *stream, int data_fd, size_t chunk);

void vfio_mig_stream_free(struct vfio_mig_stream *stream);

/* RUNNING to STOP_COPY, the whole stream read; the device stays in STOP_COPY. */
int vfio_mig_save(struct vfio_pci_device *device, struct vfio_mig_stream *stream, size_t chunk);

/* STOP to RESUMING, the whole stream written, to STOP again. */
int vfio_mig_load(struct vfio_pci_device *device, const struct vfio_mig_stream *stream,
		  size_t chunk);

/* DMA logging of one range. */
int vfio_log_start(struct vfio_pci_device *device, u64 iova, u64 size, u64 *page_size);
int vfio_log_stop(struct vfio_pci_device *device);

/* Bit n of @bitmap: page n of the range was written. The bitmap is ORed into. */
int vfio_log_report(struct vfio_pci_device *device, u64 iova, u64 size, u64 page_size,
		    u64 *bitmap);

static inline bool vfio_bit(const u64 *bitmap, u64 bit)
{
	return bitmap[bit / 64] & (1ULL << (bit % 64));
}

/*
 * One pass of pre-copy: the pages of @region that either bitmap names are copied to @copy. Returns how many @log names.
 */
u64 vfio_copy_dirty(u8 *copy, const struct dma_region *region, u64 page_size, const u64 *log,
		    const u64 *cpu_dirty);

/* Pages of @region that differ from @copy. */
u64 vfio_count_differing(const u8 *copy, const struct dma_region *region, u64 page_size);

/* All of these @len bytes are @byte. */
static inline bool test_all_bytes(const u8 *p, u64 len, u8 byte)
{
	return p[0] == byte && !memcmp(p, p + 1, len - 1);
}

#endif /* SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_MIGRATION_H */
