// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mailbox between VF and PF, 82599 datasheet section 7.10.2.9: sixteen dwords and a
 * register that says whose turn it is.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "hw.h"

/*
 * The PF answers from an interrupt, or while it resets not at all for a while. One that is
 * emulated beside others may not run for seconds.
 */
#define TIMEOUT_US	10000000
#define DELAY_US	200

/* Read VFMAILBOX; what reading clears is kept until somebody asks for it. */
static u32 mailbox(struct ixgbevf *vf)
{
	u32 value = ixgbevf_read(vf, IXGBE_VFMAILBOX);

	vf->mailbox |= value & IXGBE_VFMAILBOX_R2C_BITS;
	return value | vf->mailbox;
}

static bool take(struct ixgbevf *vf, u32 bits)
{
	bool set = mailbox(vf) & bits;

	vf->mailbox &= ~bits;
	return set;
}

static bool wait_for(struct ixgbevf *vf, u32 bit)
{
	int us;

	for (us = 0; us < TIMEOUT_US; us += DELAY_US) {
		if (take(vf, bit))
			return true;
		usleep(DELAY_US);
	}

	return false;
}

/* Own the buffer. The PF may hold it for the time that it takes to write a message. */
static bool lock(struct ixgbevf *vf)
{
	int us;

	for (us = 0; us < TIMEOUT_US; us += DELAY_US) {
		ixgbevf_write(vf, IXGBE_VFMAILBOX, IXGBE_VFMAILBOX_VFU);
		if (mailbox(vf) & IXGBE_VFMAILBOX_VFU)
			return true;
		usleep(DELAY_US);
	}

	return false;
}

int ixgbevf_mbx_send(struct ixgbevf *vf, const u32 *msg)
{
	int i;

	if (!lock(vf))
		return -ETIMEDOUT;

	/* What was pending answered something older. */
	take(vf, IXGBE_VFMAILBOX_PFSTS | IXGBE_VFMAILBOX_PFACK);

	for (i = 0; i < IXGBE_VFMAILBOX_SIZE; i++)
		ixgbevf_write(vf, IXGBE_VFMBMEM(i), msg[i]);

	/* This drops the ownership as well. */
	ixgbevf_write(vf, IXGBE_VFMAILBOX, IXGBE_VFMAILBOX_REQ);
	return 0;
}

static int fetch(struct ixgbevf *vf, u32 *msg)
{
	int i;

	if (!lock(vf))
		return -ETIMEDOUT;

	for (i = 0; i < IXGBE_VFMAILBOX_SIZE; i++)
		msg[i] = ixgbevf_read(vf, IXGBE_VFMBMEM(i));

	ixgbevf_write(vf, IXGBE_VFMAILBOX, IXGBE_VFMAILBOX_ACK);
	return 0;
}

/*
 * The PF may speak on its own while we wait for an answer. Keep the last such
 * message: each of them outdates the one before.
 */
static bool postpone(struct ixgbevf *vf, const u32 *msg)
{
	if ((msg[0] & IXGBE_VT_MSGTYPE_MASK) < IXGBE_PF_CONTROL_MSG)
		return false;

	memcpy(vf->postponed, msg, sizeof(vf->postponed));
	return true;
}

bool ixgbevf_mbx_reset_pending(struct ixgbevf *vf)
{
	return take(vf, IXGBE_VFMAILBOX_RSTD | IXGBE_VFMAILBOX_RSTI);
}

int ixgbevf_mbx_exchange(struct ixgbevf *vf, u32 *msg)
{
	int ret = ixgbevf_mbx_send(vf, msg);

	return ret ? ret : ixgbevf_mbx_answer(vf, msg);
}

int ixgbevf_mbx_answer(struct ixgbevf *vf, u32 *msg)
{
	u32 type = msg[0] & IXGBE_VT_MSGTYPE_MASK;
	int ret;

	do {
		if (!wait_for(vf, IXGBE_VFMAILBOX_PFSTS))
			return -ETIMEDOUT;

		ret = fetch(vf, msg);
		if (ret)
			return ret;
	} while (postpone(vf, msg));

	if ((msg[0] & IXGBE_VT_MSGTYPE_MASK) != type)
		return -EPROTO;
	if (msg[0] & IXGBE_VT_MSGTYPE_NACK)
		return -EPERM;

	return msg[0] & IXGBE_VT_MSGTYPE_ACK ? 0 : -EPROTO;
}

bool ixgbevf_mbx_receive(struct ixgbevf *vf, u32 *msg)
{
	if (vf->postponed[0]) {
		memcpy(msg, vf->postponed, sizeof(vf->postponed));
		vf->postponed[0] = 0;
		return true;
	}

	return take(vf, IXGBE_VFMAILBOX_PFSTS) && !fetch(vf, msg);
}
