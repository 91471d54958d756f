/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The other end of the wire: a packet socket on an ordinary interface of this
 * machine that reaches the VF over the switch. It stays where it is while the VF
 * moves, and so sees what a peer sees.
 */
#ifndef SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_PEER_H
#define SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_PEER_H

#include <libvfio/test_env.h>

#define PEER_FLOWS 16

struct peer {
	int fd;
	u8 mac[6];
	u32 sent[PEER_FLOWS];		/* next sequence number of each flow; a VF's own in its sink */
	u32 received[PEER_FLOWS];	/* next one expected of each flow */
	u64 frames;			/* received in all */
	u64 others;			/* those of its address that are not of a flow */
	u64 lost;
	u64 duplicated;
	u64 corrupted;
};

/* Open the interface named by $KSFT_PEER_IF; skips the test program without it. */
void peer_open(struct peer *peer);
void peer_close(struct peer *peer);

/* Send the next frame of @flow to @dst. */
void peer_send(struct peer *peer, const u8 *dst, u32 flow, u32 len);

/* Take all frames that have arrived from @src; wait up to @timeout_ms for the first. */
void peer_receive(struct peer *peer, const u8 *src, int timeout_ms);

/*
 * What a VF receives, accounted like the peer's own. For ixgbevf.receive, with a peer of
 * the VF's own, its sink, in ixgbevf.context.
 */
void peer_account(struct ixgbevf *vf, int queue, const u8 *frame, u32 len);

/* Send a frame of @flow from the VF to the peer, working until there is room for it. */
void peer_send_from(struct peer *peer, struct ixgbevf *vf, u32 flow, u32 len);

/*
 * Whether frames pass both ways; a driver that has to reset itself may need a while.
 * Also tells the switch where the VF is.
 */
bool peer_alive(struct peer *peer, struct ixgbevf *vf);

/* Work until all that was sent has arrived at both ends; false if it does not. */
bool peer_drain(struct peer *peer, struct ixgbevf *vf, u64 timeout_ms);

/*
 * Wait until none of the peer's frames is on the wire, all are taken or lie in the VF's
 * rings: for a VF that is to be stopped. False if that takes long, or one was lost.
 */
bool peer_wire_empty(struct peer *peer, struct ixgbevf *vf, u64 timeout_ms);

/*
 * Both: frames pass and none is under way. What was lost before is forgotten: it went to
 * where the switch had last seen the address.
 */
bool peer_begin(struct peer *peer, struct ixgbevf *vf);

#endif /* SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_PEER_H */
