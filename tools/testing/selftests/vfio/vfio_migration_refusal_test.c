// SPDX-License-Identifier: GPL-2.0-only
/*
 * A destination that is not fit for a VF, and a VF that no destination would take. The
 * refusal comes at the compatibility record, while the VM runs; where only the state
 * tells, it is write(2) of the state that fails, when the source can still go on: never
 * the arc out of RESUMING, which a VMM takes when it is too late. The source goes on, and
 * the kernel's log says why. A record that changes during PRE_COPY is told of.
 *
 * Two devices, of two PFs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/align.h>

#include <libvfio/peer.h>

#include <libvfio/harness.h>
#include "lib/drivers/ixgbevf/hw.h"

#define CHUNK		4096
#define REGION_SIZE	ALIGN(sizeof(struct ixgbevf_memory), 4096)
/* Magic, version; the content follows. */
#define CONTENT_AT	10
#define LENGTH_AT	12
#define CONTENT_STATE	2

FIXTURE(mig_refusal) {
	struct test_env env;
	struct vfio_pci_device *from;
	struct vfio_pci_device *to;
	struct dma_region region;
	struct ixgbevf vf;
	struct peer peer;
	struct peer sink;
};

FIXTURE_VARIANT(mig_refusal) {
	const char *iommu_mode;
};

#define FIXTURE_VARIANT_ADD_IOMMU_MODE(_iommu_mode)	\
FIXTURE_VARIANT_ADD(mig_refusal, _iommu_mode) {		\
	.iommu_mode = #_iommu_mode,			\
}

FIXTURE_VARIANT_ADD_IOMMU_MODES();

/* All reasons are looked for, and net_ratelimit() lets ten lines pass in five seconds. */
#define MESSAGE_COST	"/proc/sys/net/core/message_cost"

FIXTURE_SETUP(mig_refusal)
{
	ASSERT_EQ(0, system("echo 0 >" MESSAGE_COST));
	peer_open(&self->peer);
	test_env_open(&self->env, variant->iommu_mode);
	self->from = self->env.device[0];
	self->to = self->env.device[1];
	test_env_map(&self->env, &self->region, REGION_SIZE);
	self->vf.receive = peer_account;
	self->vf.context = &self->sink;
	ASSERT_EQ(0, ixgbevf_init(&self->vf, self->from, &self->region));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
}

FIXTURE_TEARDOWN(mig_refusal)
{
	test_env_close(&self->env);
	peer_close(&self->peer);
	ASSERT_EQ(0, system("echo 5 >" MESSAGE_COST));
}

/*
 * A command about the PF of device @index of the command line: $IF is its interface, $MAC
 * the address of the VF that moves. VFs are the first of their PFs.
 */
static int on_pf(FIXTURE_DATA(mig_refusal) *self, int index, const char *command)
{
	const u8 *mac = self->vf.mac;
	char line[512];

	snprintf(line, sizeof(line),
		 "IF=$(ls /sys/bus/pci/devices/%s/physfn/net); MAC=%02x:%02x:%02x:%02x:%02x:%02x; %s",
		 test_env_bdf(index), mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], command);
	return system(line);
}

static int mark;

/* From here on the kernel's log is looked at. */
static void begin_log(void)
{
	char line[80];

	/* Each test is a process of its own, and an earlier one has counted, too. */
	snprintf(line, sizeof(line), "echo 'ksft: refusal %d of %d' >/dev/kmsg", ++mark, getpid());
	VFIO_ASSERT_EQ(system(line), 0);
}

static bool logged(const char *what)
{
	char line[256];

	snprintf(line, sizeof(line),
		 "dmesg | sed -n '/ksft: refusal %d of %d$/,$p' | grep -qF '%s'", mark, getpid(),
		 what);
	return !system(line);
}

/* The source's VF goes on as if nothing had been. */
static bool goes_on(FIXTURE_DATA(mig_refusal) *self)
{
	int resets = self->vf.resets;

	return !vfio_mig_set_state(self->from, VFIO_DEVICE_STATE_RUNNING, NULL) &&
	       peer_alive(&self->peer, &self->vf) && self->vf.resets == resets;
}

/* Write all of @stream; the destination's VF is reset afterwards. */
static int write_to(FIXTURE_DATA(mig_refusal) *self, struct vfio_mig_stream *stream)
{
	int fd, ret;

	VFIO_ASSERT_EQ(vfio_mig_set_state(self->to, VFIO_DEVICE_STATE_RESUMING, &fd), 0);
	ret = vfio_mig_stream_write(stream, fd, CHUNK);
	close(fd);
	vfio_pci_device_reset(self->to);
	VFIO_ASSERT_EQ(vfio_mig_state(self->to), VFIO_DEVICE_STATE_RUNNING);
	return ret;
}

struct trouble {
	const char *what;
	/* On the destination's PF. */
	const char *make;
	const char *mend;
	const char *says;
};

/* The core hands the PF's addresses to its driver from a work, which a change of the link waits for. */
static const struct trouble troubles[] = {
	{
		"address of the administrator",
		"ip link set $IF vf 0 mac 02:82:59:90:99:99",
		"ip link set $IF vf 0 mac 00:00:00:00:00:00",
		"refused: this host set another MAC address",
	}, {
		"address of the PF",
		"bridge fdb add $MAC dev $IF self permanent; ip link set $IF up; sleep 1",
		"bridge fdb del $MAC dev $IF self permanent; ip link set $IF up; sleep 1",
		"refused: MAC address in use here",
	}, {
		"address of another VF",
		"ip link set $IF vf 1 mac $MAC",
		"ip link set $IF vf 1 mac 00:00:00:00:00:00",
		"refused: MAC address in use here",
	}, {
		"port VLAN",
		"ip link set $IF vf 0 vlan 7",
		"ip link set $IF vf 0 vlan 0",
		"refused: other port VLAN",
	}, {
		"link disabled",
		"ip link set $IF vf 0 state disable",
		"ip link set $IF vf 0 state auto",
		"refused: link of this VF disabled here",
	},
};

/* The destination refuses both parts of a move. */
static void refused(struct __test_metadata *_metadata, FIXTURE_DATA(mig_refusal) *self,
		    const char *says)
{
	struct vfio_mig_stream record = {}, state = {};
	int fd;

	/* While the VM runs. */
	begin_log();
	ASSERT_EQ(0, vfio_mig_set_state(self->from, VFIO_DEVICE_STATE_PRE_COPY, &fd));
	ASSERT_EQ(-ENOMSG, vfio_mig_stream_read(&record, fd, CHUNK));
	close(fd);
	EXPECT_EQ(-EINVAL, write_to(self, &record));
	EXPECT_TRUE(logged(says));
	EXPECT_TRUE(goes_on(self));

	/* When it stands. */
	begin_log();
	ASSERT_EQ(0, vfio_mig_save(self->from, &state, CHUNK));
	EXPECT_EQ(-EINVAL, write_to(self, &state));
	EXPECT_TRUE(logged(says));
	EXPECT_TRUE(goes_on(self));

	vfio_mig_stream_free(&record);
	vfio_mig_stream_free(&state);
}

TEST_F_TIMEOUT(mig_refusal, destination, 600)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(troubles); i++) {
		const struct trouble *t = &troubles[i];

		TH_LOG("%s", t->what);
		ASSERT_EQ(0, on_pf(self, 1, t->make));
		refused(_metadata, self, t->says);
		ASSERT_EQ(0, on_pf(self, 1, t->mend));
	}
}

/* Of 82599, X540 and X550 two: a VF goes to its own family alone. */
TEST_F(mig_refusal, another_chip)
{
	u16 from = ixgbevf_device_id(self->from);
	char want[64];

	if (from == ixgbevf_device_id(self->to))
		SKIP(return, "both devices are of the same chip");

	snprintf(want, sizeof(want), "refused: other device (%#x) [device]", from);
	refused(_metadata, self, want);
}

/* Nothing of a refusal is left: the same VF moves. */
TEST_F(mig_refusal, then_it_moves)
{
	struct vfio_mig_stream state = {};

	ASSERT_EQ(0, on_pf(self, 1, troubles[0].make));
	ASSERT_EQ(0, vfio_mig_save(self->from, &state, CHUNK));
	ASSERT_EQ(-EINVAL, write_to(self, &state));
	ASSERT_EQ(0, on_pf(self, 1, troubles[0].mend));
	ASSERT_EQ(0, vfio_mig_load(self->to, &state, CHUNK));
	ASSERT_EQ(0, ixgbevf_arrive(&self->vf, self->to));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
	vfio_mig_stream_free(&state);
}

/* What the guest has written no destination would take: refused before the VM is stopped. */
TEST_F(mig_refusal, source)
{
	u32 was = ixgbevf_read(&self->vf, IXGBE_VTIVAR_MISC);
	struct vfio_mig_stream state = {};
	int fd;

	/* A vector that the VF does not have. */
	ixgbevf_write(&self->vf, IXGBE_VTIVAR_MISC, IXGBE_IVAR_ALLOC_VAL | 3);
	begin_log();
	EXPECT_EQ(-EINVAL, vfio_mig_set_state(self->from, VFIO_DEVICE_STATE_PRE_COPY, &fd));
	EXPECT_TRUE(logged("compatibility record refused: value out of range"));
	EXPECT_EQ(VFIO_DEVICE_STATE_RUNNING, vfio_mig_state(self->from));
	EXPECT_TRUE(goes_on(self));
	/* A VMM without pre-copy hears of it when the VM stands, and goes on. */
	begin_log();
	EXPECT_EQ(-EINVAL, vfio_mig_save(self->from, &state, CHUNK));
	EXPECT_TRUE(logged("state refused: value out of range"));
	EXPECT_TRUE(goes_on(self));
	ixgbevf_write(&self->vf, IXGBE_VTIVAR_MISC, was);
	ASSERT_EQ(0, vfio_mig_save(self->from, &state, CHUNK));
	EXPECT_TRUE(goes_on(self));
	vfio_mig_stream_free(&state);
}

/*
 * The record changes while the VM runs. User space that has asked for it is told by
 * VFIO_PRECOPY_INFO_REINIT; other user space reads a second record.
 */
static void change(struct __test_metadata *_metadata, FIXTURE_DATA(mig_refusal) *self, bool v2)
{
	struct vfio_mig_stream stream = {};
	struct vfio_precopy_info info;
	size_t first, second;
	int fd;

	if (v2)
		ASSERT_EQ(0, vfio_feature(self->from, VFIO_DEVICE_FEATURE_SET |
					  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2, NULL, 0));
	ASSERT_EQ(0, vfio_mig_set_state(self->from, VFIO_DEVICE_STATE_PRE_COPY, &fd));
	ASSERT_EQ(-ENOMSG, vfio_mig_stream_read(&stream, fd, CHUNK));
	first = stream.len;
	ASSERT_EQ(0, vfio_mig_precopy_info(fd, &info));
	EXPECT_EQ(0, info.initial_bytes + info.dirty_bytes + info.flags);

	ASSERT_EQ(0, on_pf(self, 0, "ip link set $IF vf 0 spoofchk off"));
	ASSERT_EQ(0, vfio_mig_precopy_info(fd, &info));
	if (v2) {
		EXPECT_EQ(VFIO_PRECOPY_INFO_REINIT, info.flags);
		EXPECT_LT(0, info.initial_bytes);
		EXPECT_EQ(0, info.dirty_bytes);
		second = info.initial_bytes;
		/* Told once, and then there until it is read. */
		ASSERT_EQ(0, vfio_mig_precopy_info(fd, &info));
		EXPECT_EQ(0, info.flags);
		EXPECT_EQ(second, info.initial_bytes);
	} else {
		/* Initial bytes only become fewer. */
		EXPECT_EQ(0, info.flags);
		EXPECT_EQ(0, info.initial_bytes);
		EXPECT_LT(0, info.dirty_bytes);
		second = info.dirty_bytes;
	}
	ASSERT_EQ(-ENOMSG, vfio_mig_stream_read(&stream, fd, CHUNK));
	EXPECT_EQ(first + second, stream.len);
	ASSERT_EQ(0, vfio_mig_precopy_info(fd, &info));
	EXPECT_EQ(0, info.initial_bytes + info.dirty_bytes + info.flags);
	EXPECT_EQ(-ENOMSG, vfio_mig_stream_read(&stream, fd, CHUNK));

	/* Both records and the state are one stream to the destination. */
	ASSERT_EQ(0, vfio_mig_set_state(self->from, VFIO_DEVICE_STATE_STOP_COPY, NULL));
	ASSERT_EQ(0, vfio_mig_stream_read(&stream, fd, CHUNK));
	close(fd);
	EXPECT_EQ(CONTENT_STATE, stream.data[first + second + CONTENT_AT]);
	ASSERT_EQ(0, vfio_mig_load(self->to, &stream, 7));
	ASSERT_EQ(0, ixgbevf_arrive(&self->vf, self->to));
	EXPECT_TRUE(peer_alive(&self->peer, &self->vf));
	EXPECT_EQ(0, on_pf(self, 0, "ip link set $IF vf 0 spoofchk on"));
	vfio_mig_stream_free(&stream);
}

TEST_F(mig_refusal, record_changes)
{
	change(_metadata, self, false);
}

TEST_F(mig_refusal, record_changes_and_is_told)
{
	change(_metadata, self, true);
}

/* What a refused write has brought is taken back, also a record that was good. */
TEST_F(mig_refusal, a_refused_write_is_taken_back)
{
	struct vfio_mig_stream stream = {};
	u32 length;
	int fd;

	ASSERT_EQ(0, vfio_mig_set_state(self->from, VFIO_DEVICE_STATE_PRE_COPY, &fd));
	ASSERT_EQ(-ENOMSG, vfio_mig_stream_read(&stream, fd, CHUNK));
	length = stream.len;
	ASSERT_EQ(0, vfio_mig_set_state(self->from, VFIO_DEVICE_STATE_STOP_COPY, NULL));
	ASSERT_EQ(0, vfio_mig_stream_read(&stream, fd, CHUNK));
	close(fd);

	ASSERT_EQ(0, vfio_mig_set_state(self->to, VFIO_DEVICE_STATE_RESUMING, &fd));
	stream.data[length + LENGTH_AT + 8] ^= 1;
	EXPECT_EQ(-1, write(fd, stream.data, stream.len));
	EXPECT_EQ(EINVAL, errno);
	stream.data[length + LENGTH_AT + 8] ^= 1;
	EXPECT_EQ(0, vfio_mig_stream_write(&stream, fd, CHUNK));
	/* Nothing may follow. */
	EXPECT_EQ(-1, write(fd, stream.data, 1));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(0, vfio_mig_set_state(self->to, VFIO_DEVICE_STATE_STOP, NULL));
	close(fd);
	ASSERT_EQ(0, ixgbevf_arrive(&self->vf, self->to));
	EXPECT_TRUE(peer_alive(&self->peer, &self->vf));
	vfio_mig_stream_free(&stream);
}

int main(int argc, char *argv[])
{
	test_env_args(&argc, argv, 2, true);
	return test_harness_run(argc, argv);
}
