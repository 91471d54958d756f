// SPDX-License-Identifier: GPL-2.0-only
/*
 * What goes wrong while a VF moves: either end is closed, reset or unbound, the PF is
 * reset, the link is lost, a mailbox exchange is under way, in each phase of the move.
 * User space gets an error or nothing happened, never a VF that hangs: the source goes
 * on, or begins anew after a reset, and the next move succeeds.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>

#include <linux/align.h>

#include <libvfio/peer.h>

#include <libvfio/harness.h>

#define CHUNK		4096
#define REGION_SIZE	ALIGN(sizeof(struct ixgbevf_memory), 4096)

/* Where the move stands when the fault comes. */
enum phase {
	PRE_COPY,
	PRE_COPY_P2P,
	STOP,
	STOP_COPY,
	RESUMING,		/* nothing written yet */
	RESUMING_HALF,
	RESUMING_ALL,
	LOADED,
	PHASES
};

static const char * const phase_names[PHASES] = {
	"PRE_COPY", "PRE_COPY_P2P", "STOP", "STOP_COPY",
	"RESUMING", "RESUMING half written", "RESUMING written", "loaded",
};

FIXTURE(mig_fault) {
	struct test_env env;
	struct dma_region region;
	struct ixgbevf vf;
	struct peer peer;
	struct peer sink;
	struct vfio_mig_stream blob;
	int fd[2];		/* data FDs of source and destination */
};

FIXTURE_VARIANT(mig_fault) {
	bool plain;
};

FIXTURE_VARIANT_ADD(mig_fault, cooperative) {
};

FIXTURE_VARIANT_ADD(mig_fault, plain) {
	.plain = true,
};

FIXTURE_SETUP(mig_fault)
{
	self->fd[0] = self->fd[1] = -1;
	peer_open(&self->peer);
	test_env_open(&self->env, MODE_IOMMUFD);
	test_env_map(&self->env, &self->region, REGION_SIZE);
	self->vf.plain = variant->plain;
	self->vf.receive = peer_account;
	self->vf.context = &self->sink;
	ASSERT_EQ(0, ixgbevf_init(&self->vf, self->env.device[0], &self->region));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
}

FIXTURE_TEARDOWN(mig_fault)
{
	vfio_mig_stream_free(&self->blob);
	test_env_close(&self->env);
	peer_close(&self->peer);
}

static void close_fds(FIXTURE_DATA(mig_fault) *self)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (self->fd[i] >= 0)
			close(self->fd[i]);
		self->fd[i] = -1;
	}
}

/* Bring the move from RUNNING to @phase. */
static int reach(FIXTURE_DATA(mig_fault) *self, enum phase phase)
{
	static const u32 states[] = {
		[PRE_COPY] = VFIO_DEVICE_STATE_PRE_COPY,
		[PRE_COPY_P2P] = VFIO_DEVICE_STATE_PRE_COPY_P2P,
		[STOP] = VFIO_DEVICE_STATE_STOP,
		[STOP_COPY] = VFIO_DEVICE_STATE_STOP_COPY,
	};
	struct vfio_pci_device *from = self->env.device[0], *to = self->env.device[1];
	size_t part;
	int ret;

	if (phase <= STOP_COPY)
		return vfio_mig_set_state(from, states[phase], &self->fd[0]);

	vfio_mig_stream_free(&self->blob);
	ret = vfio_mig_save(from, &self->blob, CHUNK);
	if (!ret)
		ret = vfio_mig_set_state(to, VFIO_DEVICE_STATE_RESUMING, &self->fd[1]);
	if (ret)
		return ret;
	part = phase == RESUMING ? 0 : phase == RESUMING_HALF ? self->blob.len / 2 : self->blob.len;
	if (write(self->fd[1], self->blob.data, part) != (ssize_t)part)
		return -errno;
	return phase == LOADED ? vfio_mig_set_state(to, VFIO_DEVICE_STATE_STOP, NULL) : 0;
}

/* A whole move there and back: nothing is left of what went wrong before. */
static int move_twice(FIXTURE_DATA(mig_fault) *self)
{
	int at;

	for (at = 0; at < 2; at++) {
		struct vfio_pci_device *from = self->env.device[at];
		struct vfio_pci_device *to = self->env.device[!at];
		struct vfio_mig_stream stream = {};
		int ret;

		ret = vfio_mig_save(from, &stream, CHUNK);
		if (!ret)
			ret = vfio_mig_load(to, &stream, CHUNK);
		vfio_mig_stream_free(&stream);
		if (!ret)
			ret = ixgbevf_arrive(&self->vf, to);
		if (ret)
			return ret;
		vfio_pci_device_reset(from);
		if (!peer_alive(&self->peer, &self->vf))
			return -ETIMEDOUT;
	}
	return 0;
}

/* The destination is given up and the source goes on. */
static int go_on(FIXTURE_DATA(mig_fault) *self)
{
	int ret;

	close_fds(self);
	vfio_pci_device_reset(self->env.device[1]);
	ret = vfio_mig_set_state(self->env.device[0], VFIO_DEVICE_STATE_RUNNING, NULL);
	if (ret)
		return ret;
	return peer_alive(&self->peer, &self->vf) ? 0 : -ETIMEDOUT;
}

/* The source has lost its state: its driver begins anew. */
static int begin_anew(FIXTURE_DATA(mig_fault) *self)
{
	int ret;

	close_fds(self);
	vfio_pci_device_reset(self->env.device[1]);
	if (vfio_mig_state(self->env.device[0]) != VFIO_DEVICE_STATE_RUNNING)
		return -EBUSY;
	vfio_pci_cmd_set(self->env.device[0], PCI_COMMAND_MASTER);
	ixgbevf_move(&self->vf, self->env.device[0]);
	ret = ixgbevf_reinit(&self->vf);
	if (ret)
		return ret;
	return peer_alive(&self->peer, &self->vf) ? 0 : -ETIMEDOUT;
}

/* Run @command for the PF of device @side. */
static int on_pf(int side, const char *command)
{
	char line[512];

	snprintf(line, sizeof(line),
		 "cd /sys/bus/pci/devices/%s/physfn/net && IF=$(ls | head -n 1) && %s",
		 test_env_bdf(side), command);
	return system(line);
}

#define RESET_PF	"ip link set dev $IF down && ip link set dev $IF up"
#define LINK_DOWN	"ip link set dev $IF down"
#define LINK_UP		"ip link set dev $IF up"

#define for_each_phase(_phase)							\
	for (_phase = 0; _phase < PHASES; _phase++)

#define ASSERT_IN(_phase, _expected, _seen)					\
	ASSERT_EQ(_expected, _seen) { TH_LOG("in phase %s", phase_names[_phase]); }

TEST_F(mig_fault, source_reset)
{
	u8 byte;
	int phase;

	for_each_phase(phase) {
		ASSERT_IN(phase, 0, reach(self, phase));
		vfio_pci_device_reset(self->env.device[0]);
		/* What is left of the stream is an error, not an end. */
		if (self->fd[0] >= 0) {
			ASSERT_IN(phase, -1, read(self->fd[0], &byte, 1));
		}
		ASSERT_IN(phase, 0, begin_anew(self));
	}
	ASSERT_EQ(0, move_twice(self));
}

TEST_F(mig_fault, source_closed)
{
	u8 byte;
	int phase;

	for_each_phase(phase) {
		ASSERT_IN(phase, 0, reach(self, phase));
		test_env_close_device(&self->env, 0);
		if (self->fd[0] >= 0) {
			ASSERT_IN(phase, -1, read(self->fd[0], &byte, 1));
		}
		test_env_open_device(&self->env, 0);
		ASSERT_IN(phase, 0, begin_anew(self));
	}
	ASSERT_EQ(0, move_twice(self));
}

TEST_F(mig_fault, destination_reset)
{
	int phase;

	for_each_phase(phase) {
		ASSERT_IN(phase, 0, reach(self, phase));
		vfio_pci_device_reset(self->env.device[1]);
		ASSERT_IN(phase, VFIO_DEVICE_STATE_RUNNING, vfio_mig_state(self->env.device[1]));
		if (self->fd[1] >= 0) {
			ASSERT_IN(phase, -1, write(self->fd[1], self->blob.data, 1));
		}
		ASSERT_IN(phase, 0, go_on(self));
	}
	ASSERT_EQ(0, move_twice(self));
}

TEST_F(mig_fault, destination_closed)
{
	int phase;

	for_each_phase(phase) {
		ASSERT_IN(phase, 0, reach(self, phase));
		test_env_close_device(&self->env, 1);
		if (self->fd[1] >= 0) {
			ASSERT_IN(phase, -1, write(self->fd[1], self->blob.data, 1));
		}
		test_env_open_device(&self->env, 1);
		ASSERT_IN(phase, 0, go_on(self));
	}
	ASSERT_EQ(0, move_twice(self));
}

/* The driver is taken away: that waits for user space, which lets go. */
TEST_F_TIMEOUT(mig_fault, unbound, 600)
{
	int phase, side;

	for_each_phase(phase) {
		for (side = 0; side < 2; side++) {
			char command[256];
			int status;
			pid_t pid;

			ASSERT_IN(phase, 0, reach(self, phase));
			snprintf(command, sizeof(command),
				 "echo %1$s > /sys/bus/pci/devices/%1$s/driver/unbind",
				 test_env_bdf(side));
			pid = fork();
			ASSERT_LE(0, pid);
			if (!pid) {
				/* Whoever has the device open keeps its driver. */
				close_range(3, ~0U, 0);
				execl("/bin/sh", "sh", "-c", command, NULL);
				_exit(1);
			}
			usleep(50000);
			close_fds(self);
			test_env_close_device(&self->env, side);
			ASSERT_EQ(pid, waitpid(pid, &status, 0));
			ASSERT_IN(phase, 0, status);
			snprintf(command, sizeof(command),
				 "echo %s > /sys/bus/pci/drivers_probe", test_env_bdf(side));
			ASSERT_IN(phase, 0, system(command));
			test_env_open_device(&self->env, side);
			ASSERT_IN(phase, 0, side ? go_on(self) : begin_anew(self));
		}
	}
	ASSERT_EQ(0, move_twice(self));
}

/* PFs are reset: a VF that stands is put back, one that runs begins anew by itself. */
TEST_F_TIMEOUT(mig_fault, pf_reset, 600)
{
	int phase, side;

	for_each_phase(phase) {
		for (side = 0; side < 2; side++) {
			ASSERT_IN(phase, 0, reach(self, phase));
			ASSERT_EQ(0, on_pf(side, RESET_PF));
			ASSERT_IN(phase, 0, go_on(self));
		}
	}
	ASSERT_EQ(0, move_twice(self));
}

/* The destination's PF is reset between load and start: the VF arrives all the same. */
TEST_F(mig_fault, pf_reset_under_a_loaded_vf)
{
	ASSERT_EQ(0, reach(self, LOADED));
	ASSERT_EQ(0, on_pf(1, RESET_PF));
	close_fds(self);
	ASSERT_EQ(0, ixgbevf_arrive(&self->vf, self->env.device[1]));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
	vfio_pci_device_reset(self->env.device[0]);
}

/* The link goes with frames in the rings: what was not sent is sent later. */
TEST_F_TIMEOUT(mig_fault, link_loss, 600)
{
	int phase, side;

	for_each_phase(phase) {
		for (side = 0; side < 2; side++) {
			ASSERT_IN(phase, 0, reach(self, phase));
			ASSERT_EQ(0, on_pf(side, LINK_DOWN));
			usleep(100000);
			ASSERT_EQ(0, on_pf(side, LINK_UP));
			ASSERT_IN(phase, 0, go_on(self));
		}
	}
	ASSERT_EQ(0, move_twice(self));
}

/* The VF asks while it is about to be stopped; the answer comes from whoever runs it. */
TEST_F(mig_fault, request_under_way)
{
	int i;

	for (i = 0; i < 10; i++) {
		struct vfio_pci_device *from = self->env.device[i & 1];
		struct vfio_pci_device *to = self->env.device[!(i & 1)];
		struct vfio_mig_stream stream = {};

		ixgbevf_ask(&self->vf);
		usleep(i * 100);
		ASSERT_EQ(0, vfio_mig_save(from, &stream, CHUNK));
		ASSERT_EQ(0, vfio_mig_load(to, &stream, CHUNK));
		vfio_mig_stream_free(&stream);
		ASSERT_EQ(0, ixgbevf_arrive(&self->vf, to));
		ASSERT_EQ(0, ixgbevf_answer(&self->vf)) {
			TH_LOG("move %d", i);
		}
		vfio_pci_device_reset(from);
		ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
	}
}

/* What a move asks of the kernel, call by call. */
enum step {
	LOG_START,
	OPEN_PRE_COPY,
	SUSPEND,
	SAVE,
	LOG_REPORT,
	OPEN_RESUMING,
	WRITE_STATE,
	LOAD,
	RUN,
	STEPS
};

static const char * const step_names[STEPS] = {
	"start of logging", "PRE_COPY", "PRE_COPY_P2P", "STOP_COPY", "report of the log",
	"RESUMING", "write", "STOP", "RUNNING",
};

static int take(FIXTURE_DATA(mig_fault) *self, enum step step)
{
	struct vfio_pci_device *from = self->env.device[0], *to = self->env.device[1];
	u64 page_size = IXGBEVF_PAGE_SIZE;
	u64 log[(REGION_SIZE / IXGBEVF_PAGE_SIZE + 63) / 64] = {};
	ssize_t len;

	switch (step) {
	case LOG_START:
		return vfio_log_start(from, self->region.iova, self->region.size, &page_size);
	case OPEN_PRE_COPY:
		return vfio_mig_set_state(from, VFIO_DEVICE_STATE_PRE_COPY, &self->fd[0]);
	case SUSPEND:
		return vfio_mig_set_state(from, VFIO_DEVICE_STATE_PRE_COPY_P2P, NULL);
	case SAVE:
		return vfio_mig_set_state(from, VFIO_DEVICE_STATE_STOP_COPY, NULL);
	case LOG_REPORT:
		return vfio_log_report(from, self->region.iova, self->region.size, page_size, log);
	case OPEN_RESUMING:
		return vfio_mig_set_state(to, VFIO_DEVICE_STATE_RESUMING, &self->fd[1]);
	case WRITE_STATE:
		len = write(self->fd[1], self->blob.data, self->blob.len);
		return len < 0 ? -errno : len == (ssize_t)self->blob.len ? 0 : -EIO;
	case LOAD:
		return vfio_mig_set_state(to, VFIO_DEVICE_STATE_STOP, NULL);
	case RUN:
		return vfio_mig_set_state(to, VFIO_DEVICE_STATE_RUNNING, NULL);
	default:
		return -EINVAL;
	}
}

#define FAULTS "/sys/kernel/debug/failslab/"

/* Let each allocation fail that may, without a word about it in the log. */
static bool faults_ready(void)
{
	return !access("/proc/self/fail-nth", W_OK) &&
	       !system("echo N > " FAULTS "ignore-gfp-wait && echo 0 > " FAULTS "verbose");
}

/*
 * Each allocation of each call fails once. The call says so or does without; the source
 * goes on, and the next move succeeds.
 */
TEST_F_TIMEOUT(mig_fault, out_of_memory, 900)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	int step, before, nth, refused;

	if (fd < 0 || !faults_ready()) {
		/* The debug kernel can, on which the tests know that the machine is slow. */
		if (getenv("KSFT_MACHINE_SLOW"))
			UNMET(return, "this kernel cannot inject faults");
		SKIP(return, "this kernel cannot inject faults");
	}

	for (step = 0; step < STEPS; step++) {
		bool failed = true;

		for (nth = 1, refused = 0; failed; nth++) {
			char text[16] = {};
			u32 state;
			int ret;

			vfio_mig_stream_free(&self->blob);
			for (before = 0; before < step; before++) {
				if (before == OPEN_RESUMING) {
					ASSERT_EQ(0, vfio_mig_stream_read(&self->blob, self->fd[0],
									  CHUNK));
				}
				ASSERT_EQ(0, take(self, before)) {
					TH_LOG("%s, on the way to %s", step_names[before],
					       step_names[step]);
				}
			}
			if (step == OPEN_RESUMING) {
				ASSERT_EQ(0, vfio_mig_stream_read(&self->blob, self->fd[0], CHUNK));
			}

			snprintf(text, sizeof(text), "%d", nth);
			ASSERT_LT(0, pwrite(fd, text, strlen(text), 0));
			ret = take(self, step);
			memset(text, 0, sizeof(text));
			ASSERT_LT(0, pread(fd, text, sizeof(text) - 1, 0));
			ASSERT_EQ(1, pwrite(fd, "0", 1, 0));
			/* It counts down, and rests at 0 once an allocation has failed. */
			failed = atoi(text) == 0;

			ASSERT_TRUE(ret == 0 || (failed && ret == -ENOMEM)) {
				TH_LOG("%s, allocation %d: %d", step_names[step], nth, ret);
			}
			refused += !!ret;
			ASSERT_EQ(0, vfio_mig_get_state(self->env.device[0], &state));
			ASSERT_NE(VFIO_DEVICE_STATE_ERROR, state);
			ASSERT_EQ(0, go_on(self)) {
				TH_LOG("%s, allocation %d", step_names[step], nth);
			}
			/* Where logging had not begun there is none to end. */
			vfio_log_stop(self->env.device[0]);
		}
		TH_LOG("%s: %d allocations, %d calls refused", step_names[step], nth - 2, refused);
	}
	close(fd);
	ASSERT_EQ(0, move_twice(self));
}

int main(int argc, char *argv[])
{
	test_env_args(&argc, argv, 2, true);
	return test_harness_run(argc, argv);
}
