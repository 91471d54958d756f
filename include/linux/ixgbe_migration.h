/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Contract between the ixgbe PF driver and the ixgbe VFIO variant driver.
 *
 * The PF driver owns every register access; the variant driver only asks. The functions are exported by ixgbe_rust.ko in the
 * symbol namespace "IXGBE_MIGRATION". All of them may sleep, none waits for the guest unless it says so, and none looks
 * at user memory. They can be called at the same time for different VFs; calls for one VF are serialised by the PF
 * driver.
 */
#ifndef _LINUX_IXGBE_MIGRATION_H
#define _LINUX_IXGBE_MIGRATION_H

#include <linux/types.h>

struct pci_dev;

/* One VF as the PF driver sees it. */
struct ixgbe_vfmig;

#define IXGBE_VFMIG_MAX_QUEUES	8

/* Most bytes of a compatibility record and of a state. */
#define IXGBE_VFMIG_STATE_MAX	4096

/**
 * struct ixgbe_vfmig_rx - what an Rx queue of a stopped VF may have written, whether the queue runs at the stop or not
 * @base: DMA address of the ring
 * @shadow: DMA address of the guest's list of posted buffers, one __le64 per descriptor, or 0
 * @length: bytes of the ring; 0: the queue has none
 * @head: next descriptor that the device would have filled; outside of the ring if that is not known
 * @tail: first descriptor that the device did not own; likewise
 * @buffer_len: bytes from each posted buffer's address that one DMA can touch
 */
struct ixgbe_vfmig_rx {
	u64 base;
	u64 shadow;
	u32 length;
	u32 head;
	u32 tail;
	u32 buffer_len;
};

/**
 * struct ixgbe_vfmig_tx - what a Tx queue of a stopped VF may have written, whether the queue runs at the stop or not
 * @base: DMA address of the ring
 * @writeback: DMA address of the head write-back, or 0
 * @length: bytes of the ring; 0: the queue has none
 * @reserved: zero
 */
struct ixgbe_vfmig_tx {
	u64 base;
	u64 writeback;
	u32 length;
	u32 reserved;
};

/**
 * struct ixgbe_vfmig_rings - what a stopped VF may have written since marking began
 * @complete: 1: everything else was marked by the guest; 0: nobody knows, treat all memory as written
 * @queues: entries of @rx and @tx that are valid
 * @rx: Rx queues
 * @tx: Tx queues
 */
struct ixgbe_vfmig_rings {
	u32 complete;
	u32 queues;
	struct ixgbe_vfmig_rx rx[IXGBE_VFMIG_MAX_QUEUES];
	struct ixgbe_vfmig_tx tx[IXGBE_VFMIG_MAX_QUEUES];
};

/**
 * struct ixgbe_vfmig_follow - how an Rx queue stands, and where the device writes for its Tx queue
 * @base: DMA address of the Rx ring
 * @length: bytes of the Rx ring
 * @srrctl: SRRCTL
 * @tail: RDT
 * @runs: 1: RXDCTL.ENABLE is set; of a stopped VF: was set before the stop
 * @tx: TDBAL, TDLEN and TDWBAL of the Tx queue
 * @reserved: zero
 */
struct ixgbe_vfmig_follow {
	u64 base;
	u32 length;
	u32 srrctl;
	u32 tail;
	u32 runs;
	u32 tx[3];
	u32 reserved;
};

/**
 * struct ixgbe_vfmig_tails - first half of a look at the Rx queues of a VF that runs, or was suspended where it ran
 * @epoch: changes whenever what was seen before says nothing of now: reset of the VF or of the device, resume
 * @queues: entries of @rx that are valid
 * @stopped: 1: the VF is suspended
 * @frames: VFGPRC, read before all else
 * @octets: low half of VFGORC, likewise
 * @reserved: zero
 * @rx: queues
 */
struct ixgbe_vfmig_tails {
	u32 epoch;
	u32 queues;
	u32 stopped;
	u32 frames;
	u32 octets;
	u32 reserved;
	struct ixgbe_vfmig_follow rx[IXGBE_VFMIG_MAX_QUEUES];
};

/**
 * struct ixgbe_vfmig_heads - second half of a look
 * @epoch: as in &struct ixgbe_vfmig_tails
 * @frames: VFGPRC, read after all else
 * @octets: low half of VFGORC, likewise
 * @reserved: zero
 * @head: RDH of each queue
 */
struct ixgbe_vfmig_heads {
	u32 epoch;
	u32 frames;
	u32 octets;
	u32 reserved;
	u32 head[IXGBE_VFMIG_MAX_QUEUES];
};

/* How ring heads came back, see the devlink parameter "head_restore". */
#define IXGBE_VFMIG_RESTORE_NONE	0
#define IXGBE_VFMIG_RESTORE_WRITE	1
#define IXGBE_VFMIG_RESTORE_REARM	2
#define IXGBE_VFMIG_RESTORE_RESET	3

/**
 * struct ixgbe_vfmig_report - figures of the last suspend, save, load and resume
 * @suspend_ns: time of the last suspend
 * @save_ns: time of the last save
 * @load_ns: time of the last load
 * @resume_ns: time of the last resume
 * @mmio_save: register accesses of the last suspend and save
 * @mmio_load: register accesses of the last load and resume
 * @state_bytes: size of the last state saved or loaded
 * @restore: IXGBE_VFMIG_RESTORE_* of the last resume
 * @saves: states saved
 * @loads: states loaded
 * @refused: compatibility records and states refused, as destination or as source
 * @reserved: zero
 */
struct ixgbe_vfmig_report {
	u64 suspend_ns;
	u64 save_ns;
	u64 load_ns;
	u64 resume_ns;
	u32 mmio_save;
	u32 mmio_load;
	u32 state_bytes;
	u32 restore;
	u32 saves;
	u32 loads;
	u32 refused;
	u32 reserved;
};

/**
 * ixgbe_vfmig_get - look up a VF
 * @vf: the VF
 *
 * The VF's PF must be bound to ixgbe_rust.ko. Context: a callback in which the driver core holds @vf's device
 * lock, which keeps the PF bound. The result stays valid until ixgbe_vfmig_put(). Once the VF has
 * been removed, every call fails with -ENODEV.
 *
 * Return: the VF, or ERR_PTR: -ENODEV if the PF has another driver, -EOPNOTSUPP if devlink says that the VF is not
 * migratable.
 */
struct ixgbe_vfmig *ixgbe_vfmig_get(struct pci_dev *vf);

/**
 * ixgbe_vfmig_put - end a use
 * @mig: the VF
 */
void ixgbe_vfmig_put(struct ixgbe_vfmig *mig);

/**
 * ixgbe_vfmig_suspend - stop a VF: after success it writes no memory, raises no interrupt and sends no frame
 * @mig: the VF
 *
 * A VF that is suspended already stays so. After an error the VF runs as before.
 *
 * Return: 0, -ETIMEDOUT if a queue did not stop, -ENODEV if the device is gone.
 */
int ixgbe_vfmig_suspend(struct ixgbe_vfmig *mig);

/**
 * ixgbe_vfmig_resume - let a suspended or loaded VF run
 * @mig: the VF
 *
 * Restores ring heads by the best way there is, announces the VF's addresses on the wire if it was loaded, and tells a
 * cooperating guest. A VF whose guest must re-arm its rings receives, and is announced, when it has. Does nothing for a VF
 * that runs.
 *
 * Return: 0, -ENODEV if the device is gone.
 */
int ixgbe_vfmig_resume(struct ixgbe_vfmig *mig);

/**
 * ixgbe_vfmig_compat - write the compatibility record
 * @mig: the VF
 * @buf: where to
 * @len: at least IXGBE_VFMIG_STATE_MAX bytes
 *
 * Also asks a cooperating guest to prepare for a save, without waiting. What no destination would
 * take of the VF is refused here, before its VM is stopped for it.
 *
 * Return: bytes written, -EINVAL if no destination would take the VF, or another negative errno.
 */
int ixgbe_vfmig_compat(struct ixgbe_vfmig *mig, void *buf, size_t len);

/**
 * ixgbe_vfmig_record - write the compatibility record as it is now
 * @mig: the VF
 * @buf: where to
 * @len: at least IXGBE_VFMIG_STATE_MAX bytes
 *
 * Has no effect. Two records that differ show that a running VF has come to need something else.
 *
 * Return: as ixgbe_vfmig_compat().
 */
int ixgbe_vfmig_record(struct ixgbe_vfmig *mig, void *buf, size_t len);

/**
 * ixgbe_vfmig_check - compare a compatibility record or a state with this host, without any effect
 * @mig: the VF
 * @buf: the record or the state, untrusted
 * @len: its length
 *
 * All that ixgbe_vfmig_load() would refuse is refused here, while the source can still go on. The
 * reasons, all that can be seen, are in the kernel log and in the devlink health reporter
 * "migration".
 *
 * Return: 0, or -EINVAL.
 */
int ixgbe_vfmig_check(struct ixgbe_vfmig *mig, const void *buf, size_t len);

/**
 * ixgbe_vfmig_save - write the state of a suspended VF
 * @mig: the VF
 * @buf: where to
 * @len: at least IXGBE_VFMIG_STATE_MAX bytes
 *
 * Return: bytes written, -EBUSY if the VF is not suspended, -EINVAL if no destination would take
 * the state, or another negative errno.
 */
int ixgbe_vfmig_save(struct ixgbe_vfmig *mig, void *buf, size_t len);

/**
 * ixgbe_vfmig_load - check a state and program it into a suspended VF
 * @mig: the VF
 * @buf: the state, untrusted
 * @len: its length
 *
 * No register is written before the whole state has been checked, see ixgbe_vfmig_check(). What a
 * former user of the VF left behind is forgotten first. The VF stays stopped until
 * ixgbe_vfmig_resume().
 *
 * Return: 0, -EBUSY if the VF is not suspended, or -EINVAL.
 */
int ixgbe_vfmig_load(struct ixgbe_vfmig *mig, const void *buf, size_t len);

/**
 * ixgbe_vfmig_start_marking - DMA logging begins
 * @mig: the VF
 *
 * Asks a cooperating guest to mark what it receives and waits up to 200 ms for its answer. It is called while the guest
 * runs. An answer that comes later still counts, from then on, see ixgbe_vfmig_marks().
 */
void ixgbe_vfmig_start_marking(struct ixgbe_vfmig *mig);

/**
 * ixgbe_vfmig_marks - by which request the guest marks what it receives
 * @mig: the VF
 *
 * What the VF wrote before the guest answered that request, nobody has marked. A guest that had to take up its rings again
 * stopped marking for a while, and was asked once more: then the number is another one than at the last look. Whether all
 * has been marked since the last answer shows only in &struct ixgbe_vfmig_rings.complete.
 *
 * Return: the number of the request, or 0 if the guest has not answered one in this logging session.
 */
u32 ixgbe_vfmig_marks(struct ixgbe_vfmig *mig);

/**
 * ixgbe_vfmig_stop_marking - DMA logging ended
 * @mig: the VF
 */
void ixgbe_vfmig_stop_marking(struct ixgbe_vfmig *mig);

/**
 * ixgbe_vfmig_rings - what a suspended VF may have written
 * @mig: the VF
 * @rings: result
 *
 * Return: 0, -EBUSY if the VF is not suspended.
 */
int ixgbe_vfmig_rings(struct ixgbe_vfmig *mig, struct ixgbe_vfmig_rings *rings);

/**
 * ixgbe_vfmig_tails - begin a look at the Rx queues of a VF
 * @mig: the VF
 * @tails: result
 *
 * Then the caller reads the rings from the user's memory, and ends the look with ixgbe_vfmig_heads(). See
 * Documentation/driver-api/vfio/ixgbe-vfio-pci-follow.rst for what the order is good for.
 *
 * Return: 0, -EBUSY if the VF neither runs nor was suspended where it ran, or its guest marks, may still do so, or has
 * rings to re-arm.
 */
int ixgbe_vfmig_tails(struct ixgbe_vfmig *mig, struct ixgbe_vfmig_tails *tails);

/**
 * ixgbe_vfmig_heads - end a look at the Rx queues of a VF
 * @mig: the VF
 * @heads: result
 *
 * Return: as ixgbe_vfmig_tails().
 */
int ixgbe_vfmig_heads(struct ixgbe_vfmig *mig, struct ixgbe_vfmig_heads *heads);

/**
 * ixgbe_vfmig_reset - the VF was reset by VFIO, or its user is gone
 * @mig: the VF
 *
 * Forgets a suspended or loaded state. May be called with VFIO's memory lock held.
 */
void ixgbe_vfmig_reset(struct ixgbe_vfmig *mig);

/**
 * ixgbe_vfmig_report - figures for debugfs
 * @mig: the VF
 * @report: result
 */
void ixgbe_vfmig_report(struct ixgbe_vfmig *mig, struct ixgbe_vfmig_report *report);

#endif /* _LINUX_IXGBE_MIGRATION_H */
