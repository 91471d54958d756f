/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A user-space driver for the virtual function of an Intel 82599, X540 or X550, small enough
 * to know of every byte that the device may write: two queue pairs, fixed buffers, no
 * interrupts needed. All that the device can touch lies in one DMA region.
 *
 * The driver outlives the device: after a migration ixgbevf_move() gives it
 * another VF, and nothing of its memory changes.
 */
#ifndef SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_IXGBEVF_H
#define SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_IXGBEVF_H

#include <linux/types.h>

#include <libvfio.h>

#define IXGBEVF_QUEUES		2
#define IXGBEVF_RING_SIZE	128
#define IXGBEVF_BUFFER_SIZE	2048
#define IXGBEVF_MAX_FRAME	1514
#define IXGBEVF_MSIX_VECTORS	3
#define IXGBEVF_PAGE_SIZE	4096

/* Queue pair n takes vector n; the last vector is the mailbox's. */
#define IXGBEVF_MBX_VECTOR	2

/* What the device reads and writes, as one block. */
struct ixgbevf_queue_memory {
	struct {
		__le64 lo;
		__le64 hi;
	} rx_ring[IXGBEVF_RING_SIZE], tx_ring[IXGBEVF_RING_SIZE];
	/* DMA address of the buffer posted in each Rx descriptor, see mbx_ext.c. */
	__le64 shadow[IXGBEVF_RING_SIZE] __attribute__((aligned(4096)));
	u8 rx_buffer[IXGBEVF_RING_SIZE][IXGBEVF_BUFFER_SIZE] __attribute__((aligned(4096)));
	u8 tx_buffer[IXGBEVF_RING_SIZE][IXGBEVF_BUFFER_SIZE];
};

struct ixgbevf_memory {
	struct ixgbevf_queue_memory queue[IXGBEVF_QUEUES];
};

struct ixgbevf_ring {
	/* Next descriptor to hand to the device, next one to get back. */
	u32 next_to_use;
	u32 next_to_clean;
};

struct ixgbevf {
	struct vfio_pci_device *device;
	u8 *bar;
	struct ixgbevf_memory *memory;
	iova_t iova;

	u32 queues;		/* pairs in use; 0 before ixgbevf_init() stands for all */
	u8 mac[6];
	u32 api;
	bool migration;		/* the PF grants the mailbox extension */
	u32 mailbox;		/* bits that reading VFMAILBOX has cleared */
	u32 postponed[16];	/* message of the PF that came instead of an answer */

	struct ixgbevf_ring rx[IXGBEVF_QUEUES];
	struct ixgbevf_ring tx[IXGBEVF_QUEUES];

	/* Mailbox extension. */
	bool plain;		/* be a driver that does not know of it */
	bool deaf;		/* ixgbevf_poll() leaves the mailbox alone */
	bool marking;
	u64 marked;		/* frames whose pages were marked */
	u32 restored;		/* number of the last Restore message that was done */
	u32 restores;		/* Restore messages that were done */
	u32 rearmed;		/* rings that were restarted because of them */
	u32 resets;		/* times that the PF made us reset ourselves */

	/*
	 * One bit for each page of the memory that the driver, as opposed to the device,
	 * has written: what a hypervisor learns from write faults. Optional.
	 */
	u64 *cpu_dirty;

	/* Called for each received frame. */
	void (*receive)(struct ixgbevf *vf, int queue, const u8 *frame, u32 len);
	void *context;
};

/* Whether @device is one that this driver knows. */
bool ixgbevf_match(struct vfio_pci_device *device);

/* Its PCI device id, which says of which chip it is: 0x10ed, 0x1515, 0x1565; 0 if it is another one. */
u16 ixgbevf_device_id(struct vfio_pci_device *device);

/*
 * Take over @device: the memory at @region, which must be mapped for DMA, is the
 * driver's from now on. Resets the VF and brings both queue pairs up. Returns 0 or
 * -errno.
 */
int ixgbevf_init(struct ixgbevf *vf, struct vfio_pci_device *device,
		 struct dma_region *region);

/* Reset and bring up again, as after a PF reset. */
int ixgbevf_reinit(struct ixgbevf *vf);

/* Stop the queues and reset the VF. */
void ixgbevf_stop(struct ixgbevf *vf);

/* Go on with another device, which holds the state of the present one. */
void ixgbevf_move(struct ixgbevf *vf, struct vfio_pci_device *device);

/* The same, and let it run: configuration space is user space's to carry over. */
int ixgbevf_arrive(struct ixgbevf *vf, struct vfio_pci_device *device);

/*
 * Ask the PF for the queues of the VF, and take its answer: an exchange in two halves,
 * between which the VF may move.
 */
int ixgbevf_ask(struct ixgbevf *vf);
int ixgbevf_answer(struct ixgbevf *vf);

/* The frame buffer that the next ixgbevf_send() on @queue sends, or NULL if none is free. */
u8 *ixgbevf_tx_frame(struct ixgbevf *vf, int queue);

/* Send the first @len bytes of that buffer. */
void ixgbevf_send(struct ixgbevf *vf, int queue, u32 len);

/* Fill the idle ring of @queue with a frame that has no end, as no driver may. */
void ixgbevf_send_endless(struct ixgbevf *vf, int queue);

/* Frames of @queue that the device has not yet reported as sent. */
u32 ixgbevf_tx_pending(struct ixgbevf *vf, int queue);

/*
 * One round of work: take received frames, post buffers again, answer the PF.
 * Returns the number of frames taken.
 */
int ixgbevf_poll(struct ixgbevf *vf);

/*
 * Begin DMA logging, and work meanwhile: the PF waits a while for the driver's answer.
 * Returns 0 or -errno.
 */
int ixgbevf_log_start(struct ixgbevf *vf, u64 iova, u64 size, u64 *page_size);

/* Frames that this device has written into the VF's rings; 32 bits that wrap. */
u32 ixgbevf_frames_received(struct ixgbevf *vf);

/* Whether the VF spreads frames as it was told by the driver, if it has RSS of its own. */
bool ixgbevf_rss_is_set(struct ixgbevf *vf);

/* Whether the PF reports the link up. */
bool ixgbevf_link(struct ixgbevf *vf);

/* Arm MSI-X: vectors 0 and 1 for the queue pairs, 2 for the mailbox. */
void ixgbevf_irq_init(struct ixgbevf *vf);

#endif /* SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_IXGBEVF_H */
