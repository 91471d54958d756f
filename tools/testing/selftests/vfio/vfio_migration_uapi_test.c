// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state machine of VFIO migration, as every device must implement it: each
 * arc and each forbidden arc, closing and resetting at each point. Knows nothing
 * of the device.
 */
#include <errno.h>
#include <unistd.h>

#include <sys/ioctl.h>

#include <libvfio/test_env.h>

#include <libvfio/harness.h>

/* What the driver says of every VF: Documentation/networking/ixgbe-migration-format.rst. */
#define STATE_MAX 4096
#define CHUNK 4096

FIXTURE(mig_uapi) {
	struct test_env env;
	struct vfio_pci_device *device;
	/* State of the idle device, for arcs that leave RESUMING. */
	struct vfio_mig_stream blob;
	u64 flags;
};

FIXTURE_VARIANT(mig_uapi) {
	const char *iommu_mode;
};

#define FIXTURE_VARIANT_ADD_IOMMU_MODE(_iommu_mode)	\
FIXTURE_VARIANT_ADD(mig_uapi, _iommu_mode) {		\
	.iommu_mode = #_iommu_mode,			\
}

FIXTURE_VARIANT_ADD_IOMMU_MODES();

FIXTURE_SETUP(mig_uapi)
{
	test_env_open(&self->env, variant->iommu_mode);
	self->device = self->env.device[0];
	self->flags = vfio_mig_flags(self->device);
	ASSERT_EQ(0, vfio_mig_save(self->device, &self->blob, CHUNK));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL));
}

FIXTURE_TEARDOWN(mig_uapi)
{
	vfio_mig_stream_free(&self->blob);
	test_env_close(&self->env);
}

/*
 * Bring a RUNNING device to @state; in RESUMING it has been given all its data.
 * *data_fd is the FD that is open then, or -1.
 */
static int enter(FIXTURE_DATA(mig_uapi) *self, u32 state, int *data_fd)
{
	int ret = vfio_mig_set_state(self->device, state, data_fd);

	if (!ret && state == VFIO_DEVICE_STATE_RESUMING)
		ret = vfio_mig_stream_write(&self->blob, *data_fd, CHUNK);
	return ret;
}

static void put(int *data_fd)
{
	if (*data_fd >= 0)
		close(*data_fd);
	*data_fd = -1;
}

static bool reachable(u64 flags, u32 state)
{
	return vfio_mig_arc_allowed(VFIO_DEVICE_STATE_RUNNING, state, flags);
}

TEST_F(mig_uapi, starts_running)
{
	vfio_pci_device_reset(self->device);
	ASSERT_EQ(VFIO_DEVICE_STATE_RUNNING, vfio_mig_state(self->device));
}

TEST_F(mig_uapi, flags)
{
	EXPECT_TRUE(self->flags & VFIO_MIGRATION_STOP_COPY);
	EXPECT_EQ(0, self->flags & ~(u64)(VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P |
					  VFIO_MIGRATION_PRE_COPY));
}

TEST_F(mig_uapi, probe)
{
	static const u16 features[] = {
		VFIO_DEVICE_FEATURE_MIGRATION,
		VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
		VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(features); i++)
		EXPECT_EQ(0, vfio_feature(self->device, VFIO_DEVICE_FEATURE_PROBE |
					  VFIO_DEVICE_FEATURE_GET | features[i], NULL, 0));
	EXPECT_NE(0, vfio_feature(self->device, VFIO_DEVICE_FEATURE_PROBE |
				  VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIGRATION,
				  NULL, 0));
}

/* Every pair of states, numbers that are no states among them. */
TEST_F(mig_uapi, every_arc)
{
	u32 from, to;

	for (from = 0; from < VFIO_MIG_NUM_STATES; from++) {
		if (!reachable(self->flags, from))
			continue;

		for (to = 0; to <= VFIO_MIG_NUM_STATES + 1; to++) {
			bool allowed = vfio_mig_arc_allowed(from, to, self->flags);
			bool has_fd = allowed && vfio_mig_arc_has_fd(from, to);
			int from_fd, to_fd, ret;

			ASSERT_EQ(0, enter(self, from, &from_fd)) {
				TH_LOG("cannot enter %s", vfio_mig_state_name(from));
			}
			ASSERT_EQ(from, vfio_mig_state(self->device));

			ret = vfio_mig_set_state(self->device, to, &to_fd);
			EXPECT_EQ(allowed ? 0 : -EINVAL, ret) {
				TH_LOG("%s -> %s (%u)", vfio_mig_state_name(from),
				       vfio_mig_state_name(to), to);
			}
			EXPECT_EQ(has_fd, to_fd >= 0) {
				TH_LOG("data FD of %s -> %s", vfio_mig_state_name(from),
				       vfio_mig_state_name(to));
			}
			/* A refused arc changes nothing. */
			EXPECT_EQ(allowed ? to : from, vfio_mig_state(self->device)) {
				TH_LOG("after %s -> %s", vfio_mig_state_name(from),
				       vfio_mig_state_name(to));
			}

			/* RESUMING is left only with all data. */
			if (to_fd >= 0 && to == VFIO_DEVICE_STATE_RESUMING) {
				EXPECT_EQ(0, vfio_mig_stream_write(&self->blob, to_fd, CHUNK));
			}
			put(&to_fd);
			put(&from_fd);
			ASSERT_EQ(0, vfio_mig_set_state(self->device,
							VFIO_DEVICE_STATE_RUNNING, NULL)) {
				TH_LOG("back from %s", vfio_mig_state_name(to));
			}
		}
	}
}

TEST_F(mig_uapi, bad_arguments)
{
	struct vfio_device_feature_mig_state mig = {
		.device_state = VFIO_DEVICE_STATE_STOP, .data_fd = -1,
	};
	u32 set = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;

	EXPECT_EQ(-EINVAL, vfio_feature(self->device, set, &mig, sizeof(mig) - 1));
	EXPECT_EQ(-EINVAL, vfio_feature(self->device, set | VFIO_DEVICE_FEATURE_GET,
					&mig, sizeof(mig)));
	EXPECT_EQ(VFIO_DEVICE_STATE_RUNNING, vfio_mig_state(self->device));
	EXPECT_EQ(-EINVAL, vfio_mig_set_state(self->device, ~0U, NULL));
	EXPECT_EQ(VFIO_DEVICE_STATE_RUNNING, vfio_mig_state(self->device));
}

TEST_F(mig_uapi, unsupported_ioctl_on_data_fd)
{
	int data_fd;

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP_COPY, &data_fd));
	EXPECT_EQ(-1, ioctl(data_fd, VFIO_DEVICE_RESET));
	EXPECT_EQ(ENOTTY, errno);
	put(&data_fd);
}

/* A reset brings the device from any state to RUNNING; data FDs are dead then. */
TEST_F(mig_uapi, reset_in_each_state)
{
	u8 byte = 0;
	u32 state;

	for (state = 0; state < VFIO_MIG_NUM_STATES; state++) {
		int data_fd;

		if (!reachable(self->flags, state))
			continue;

		ASSERT_EQ(0, enter(self, state, &data_fd));
		vfio_pci_device_reset(self->device);
		EXPECT_EQ(VFIO_DEVICE_STATE_RUNNING, vfio_mig_state(self->device)) {
			TH_LOG("after a reset in %s", vfio_mig_state_name(state));
		}
		if (data_fd >= 0 && state == VFIO_DEVICE_STATE_RESUMING) {
			EXPECT_EQ(-1, write(data_fd, &byte, 1));
		} else if (data_fd >= 0) {
			EXPECT_EQ(-1, read(data_fd, &byte, 1));
		}
		put(&data_fd);

		/* And it can migrate as before. */
		ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP_COPY, &data_fd));
		put(&data_fd);
		ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL));
	}
}

/* The device FD is closed in any state, with and without the data FD; the next user starts anew. */
TEST_F(mig_uapi, close_in_each_state)
{
	u32 state, first;

	for (state = 0; state < VFIO_MIG_NUM_STATES; state++) {
		if (!reachable(self->flags, state))
			continue;

		for (first = 0; first < 2; first++) {
			int data_fd;
			u8 byte;

			ASSERT_EQ(0, enter(self, state, &data_fd));
			if (first)
				put(&data_fd);
			test_env_close_device(&self->env, 0);
			if (data_fd >= 0 && state != VFIO_DEVICE_STATE_RESUMING) {
				EXPECT_EQ(-1, read(data_fd, &byte, 1));
			}
			put(&data_fd);

			test_env_open_device(&self->env, 0);
			self->device = self->env.device[0];
			EXPECT_EQ(VFIO_DEVICE_STATE_RUNNING, vfio_mig_state(self->device)) {
				TH_LOG("opened after a close in %s", vfio_mig_state_name(state));
			}
		}
	}
}

/* Configuration space and registers answer while the device is stopped (uAPI, STOP). */
TEST_F(mig_uapi, access_while_stopped)
{
	u16 command;

	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_STOP, NULL));
	EXPECT_NE(0xffff, vfio_pci_config_readw(self->device, PCI_VENDOR_ID));
	command = vfio_pci_config_readw(self->device, PCI_COMMAND);
	vfio_pci_config_writew(self->device, PCI_COMMAND, command);
	if (self->device->msix_info.count) {
		vfio_pci_msix_enable(self->device, 0, 1);
		vfio_pci_msix_disable(self->device);
	}
	EXPECT_EQ(VFIO_DEVICE_STATE_STOP, vfio_mig_state(self->device));
	ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL));
}

/* User space may ask for the size of the state in every state, and gets a bound of it. */
TEST_F(mig_uapi, data_size)
{
	u64 size;
	u32 state;

	for (state = 0; state < VFIO_MIG_NUM_STATES; state++) {
		int data_fd;

		if (!reachable(self->flags, state))
			continue;

		ASSERT_EQ(0, enter(self, state, &data_fd));
		EXPECT_EQ(0, vfio_mig_data_size(self->device, &size)) {
			TH_LOG("in %s", vfio_mig_state_name(state));
		}
		/* An estimate, yet one by which user space plans its downtime. */
		EXPECT_LE(self->blob.len, size) {
			TH_LOG("in %s", vfio_mig_state_name(state));
		}
		EXPECT_GE(STATE_MAX, size);
		put(&data_fd);
		ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL));
	}
}

/* Two hundred migrations of an idle device to itself. */
TEST_F(mig_uapi, storm)
{
	struct vfio_mig_stream blob = {};
	int i;

	for (i = 0; i < 200; i++) {
		ASSERT_EQ(0, vfio_mig_save(self->device, &blob, CHUNK));
		ASSERT_EQ(0, vfio_mig_load(self->device, &blob, CHUNK));
		ASSERT_EQ(0, vfio_mig_set_state(self->device, VFIO_DEVICE_STATE_RUNNING, NULL));
		/* Not a byte more; the number of the PF's last message counts on. */
		ASSERT_EQ(self->blob.len, blob.len);
		vfio_mig_stream_free(&blob);
	}
}

int main(int argc, char *argv[])
{
	test_env_args(&argc, argv, 1, true);
	return test_harness_run(argc, argv);
}
