/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What no public source says of an 82599, asked of the card at hand. The parts of
 * the probe share two VFs of one PF that user space drives: VF 0 is probed, VF 1
 * talks to it through the switch of the device. The registers of the PF are looked
 * at, and hardly ever written, past whichever driver it has.
 */
#ifndef SELFTESTS_VFIO_LIB_HWPROBE_HWPROBE_H
#define SELFTESTS_VFIO_LIB_HWPROBE_HWPROBE_H

#include <stdarg.h>

#include <libvfio/test_env.h>

#include "../drivers/ixgbevf/hw.h"

/* Registers of the PF, under the names of drivers/net/ethernet/intel/ixgbe/ixgbe_type.h. */
#define IXGBE_GCR_EXT		0x11050
#define IXGBE_GCR_EXT_VT_MODE_MASK 0x00000003
#define IXGBE_VFRE(row)		(0x051e0 + 4 * (row))
#define IXGBE_VFTE(row)		(0x08110 + 4 * (row))
#define IXGBE_PF_RXQ(q)		((q) < 64 ? 0x01000 + 0x40 * (q) : 0x0d000 + 0x40 * ((q) - 64))
#define IXGBE_RDBAL(q)		IXGBE_PF_RXQ(q)
#define IXGBE_RDH(q)		(IXGBE_PF_RXQ(q) + 0x10)
#define IXGBE_RXDCTL(q)		(IXGBE_PF_RXQ(q) + 0x28)
#define IXGBE_TDBAL(q)		(0x06000 + 0x40 * (q))
#define IXGBE_TDH(q)		(0x06010 + 0x40 * (q))
#define IXGBE_TXDCTL(q)		(0x06028 + 0x40 * (q))
/* The PF's view of a VF, named by Intel's out-of-tree ixgbe. */
#define IXGBE_PVTEICR(vf)	(0x00b00 + 4 * (vf))
#define IXGBE_PVFMAILBOX(vf)	(0x04c00 + 4 * (vf))

/* Length of the frames that are sent, in bytes. */
#define PROBE_FRAME	1514

struct probe {
	struct test_env env;
	struct dma_region region[2];
	struct ixgbevf vf[2];
	/* Frames of this run of test_frame() that reached each VF, and number of the first one. */
	u32 arrived[2];
	u32 first[2];
	u16 run;		/* since the last probe_begin(): the flow of its frames */

	/* Registers of the PF, or NULL if they cannot be mapped. */
	volatile u32 *pf;
	size_t pf_size;
	u32 vf_index;		/* number of the probed VF at its PF */
	u32 queues;		/* queues of a pool */
};

/* One ring of the probed VF, as the VF and as the PF see it. */
struct probe_ring {
	const char *name;
	bool rx;
	int queue;
	u32 head, tail, dctl;	/* offsets in the BAR of the VF */
	u32 pf_head;		/* offset in the BAR of the PF */
};

/* What a write to a head did. */
enum probe_head {
	HEAD_VALUE,		/* took the value */
	HEAD_ZERO,		/* became 0, whatever was written */
	HEAD_IGNORE,		/* stayed as it was */
	HEAD_OTHER,		/* none of these */
	HEAD_UNKNOWN,		/* was not asked, or 0 before, so that ZERO and IGNORE look alike */
};

extern const char *const probe_head_names[];

/* probe.c */

/* Bring both VFs up. */
void probe_open(struct probe *p);
void probe_close(struct probe *p);

/* Describe ring @rx or Tx @queue of the probed VF. */
struct probe_ring probe_ring(struct probe *p, bool rx, int queue);

u32 probe_pf_read(struct probe *p, u32 reg);
void probe_pf_write(struct probe *p, u32 reg, u32 value);

/* Nanoseconds of the monotonic clock. */
u64 probe_ns(void);

/* Hand @count numbered frames of VF @from for the other one to queue 0. */
void probe_send(struct probe *p, int from, int queue, u32 count);

/* Serve both VFs until @us microseconds passed without a frame. */
void probe_settle(struct probe *p, u32 us);

/* Wait until ENABLE reads @on, or a second; nanoseconds that it took, or -1. */
s64 probe_wait_enable(struct probe *p, const struct probe_ring *ring, bool on);

/*
 * Give VF 0 a fresh start, once VF 1 has nothing more to send it. Frames that were sent
 * before are never counted, however late they come.
 */
void probe_begin(struct probe *p);

/* Wait for @count frames at VF @at, and for quiet; false if it had others. */
bool probe_arrived(struct probe *p, int at, u32 count);

/* The same for frames that may not come at all: for @ms. */
bool probe_arrived_in(struct probe *p, int at, u32 count, u32 ms);

/* Descriptors of @ring that the device has written back since they were last filled. */
u32 probe_done(struct probe *p, const struct probe_ring *ring);

/* Index of the first of them, or -1. */
int probe_first_done(struct probe *p, const struct probe_ring *ring);

/*
 * Fill the whole ring, so that it does not matter where the device starts: an Rx ring
 * with empty buffers, a Tx ring with frames that say in which descriptor they were.
 * In heads.c.
 */
void probe_fill(struct probe *p, const struct probe_ring *ring);

/* report.c: a line "key: text" of the report. */
void report(const char *key, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Smallest, median and largest of @samples, which are sorted by that. */
void report_times(const char *key, s64 *samples, u32 count);
/* Where the report goes besides standard output; NULL for nowhere. */
void report_open(const char *path);
void report_close(void);

/* heads.c: what becomes of heads. Each returns false if the answers contradict one another. */
bool probe_heads(struct probe *p, bool rx, int queue, bool by_pf, enum probe_head *what);
bool probe_spare_queue(struct probe *p);

/* stops.c: how queues stop. */
bool probe_stop(struct probe *p, bool rx, bool loaded);

/* queues.c: what queues keep to themselves. Each returns whether the VF works afterwards. */
bool probe_write_back(struct probe *p);
bool probe_fetch(struct probe *p);
bool probe_toggle(struct probe *p, bool rx);
bool probe_context(struct probe *p);
bool probe_long(struct probe *p);
bool probe_short(struct probe *p);
/* Asks whoever runs this to pull the cable out, and to plug it in again. */
bool probe_no_link(struct probe *p);

/* resets.c: what a reset leaves, what reading clears, values that drivers never change. */
bool probe_reset(struct probe *p, bool by_pcie);
bool probe_read_clears(struct probe *p);
bool probe_values(struct probe *p);

#endif /* SELFTESTS_VFIO_LIB_HWPROBE_HWPROBE_H */
