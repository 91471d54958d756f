// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a migration costs: all VFs of one PF move to another PF at once and back, with
 * rings in use. Not a test; prints a line for each move of each VF, with what the PFs
 * say in debugfs and the time for which the VF stood.
 *
 * usage: vfio_migration_bench [-q QUEUE-PAIRS]... [-r ROUNDS] [-s | -p] SOURCE... DESTINATION...
 *
 * Each -q is a run of its own with the same VFs. With -s the last VF of each PF stays where
 * it is. The one that is on the source asks its PF something all the while, and a line says
 * how long the slowest answer took; before the first move, how long it takes while none moves.
 *
 * With -p one VF moves step by step: "step NAME" is printed before each, which is done when a
 * line was read. The step "nothing" does just that.
 *
 * waited_ns is the part of stood_ns for which a VF's thread was ready to run and had no
 * processor: that is a matter of how many the machine has, and not of the drivers.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/align.h>

#include <libvfio/test_env.h>

#define CHUNK		4096
#define REGION_SIZE	ALIGN(sizeof(struct ixgbevf_memory), 4096)
#define MAX_VFS		63
#define ASK_EVERY_US	1000
#define ALONE_US	200000

enum { STEP_STOP, STEP_READ, STEP_OPEN, STEP_WRITE, STEP_LOAD, STEP_MASTER, STEP_RUN, STEPS };
static const char *const step_names[] = {
	"stop", "read", "open", "write", "load", "master", "run"
};

struct mover {
	pthread_t thread;
	void (*work)(struct mover *m);
	const char *bdf[2];
	struct vfio_pci_device *device[2];
	struct dma_region region;
	struct ixgbevf vf;
	int at;
	u64 stood_ns;
	u64 waited_ns;
	/* By what user space does, which together is stood_ns. */
	u64 step_ns[STEPS];
};

static struct mover movers[MAX_VFS];
static int vfs;
static pthread_barrier_t together;

/* For each PF, a VF that does not move. */
static struct mover stayers[2];
static pthread_t asker;
static atomic_bool moved;
static u64 asked, slowest_ns;

static u64 now_ns(void)
{
	struct timespec ts;

	VFIO_ASSERT_EQ(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* For how long this thread was ready to run and did not, in ns; 0 where the kernel does not count it. */
static u64 waiting_ns(void)
{
	unsigned long long wait = 0;
	FILE *file = fopen("/proc/thread-self/schedstat", "r");

	if (!file)
		return 0;
	if (fscanf(file, "%*u %llu", &wait) != 1)
		wait = 0;
	fclose(file);
	return wait;
}

static void *run(void *arg)
{
	struct mover *m = arg;

	pthread_barrier_wait(&together);
	m->work(m);
	return NULL;
}

/* Do the same with all VFs at once. Returns how long it took, in ns. */
static u64 all(void (*work)(struct mover *m))
{
	u64 start;
	int i;

	VFIO_ASSERT_EQ(pthread_barrier_init(&together, NULL, vfs + 1), 0);
	for (i = 0; i < vfs; i++) {
		movers[i].work = work;
		VFIO_ASSERT_EQ(pthread_create(&movers[i].thread, NULL, run, &movers[i]), 0);
	}
	pthread_barrier_wait(&together);
	start = now_ns();
	for (i = 0; i < vfs; i++)
		VFIO_ASSERT_EQ(pthread_join(movers[i].thread, NULL), 0);
	pthread_barrier_destroy(&together);
	return now_ns() - start;
}

static void move(struct mover *m)
{
	struct vfio_pci_device *from = m->device[m->at], *to = m->device[!m->at];
	struct vfio_mig_stream stream = {};
	u64 waited = waiting_ns();
	u64 at[STEPS + 1];
	int fd, i;

	at[STEP_STOP] = now_ns();
	VFIO_ASSERT_EQ(vfio_mig_set_state(from, VFIO_DEVICE_STATE_STOP_COPY, &fd), 0);
	at[STEP_READ] = now_ns();
	VFIO_ASSERT_EQ(vfio_mig_stream_read(&stream, fd, CHUNK), 0);
	VFIO_ASSERT_EQ(close(fd), 0);
	at[STEP_OPEN] = now_ns();
	VFIO_ASSERT_EQ(vfio_mig_set_state(to, VFIO_DEVICE_STATE_RESUMING, &fd), 0);
	at[STEP_WRITE] = now_ns();
	VFIO_ASSERT_EQ(vfio_mig_stream_write(&stream, fd, CHUNK), 0);
	at[STEP_LOAD] = now_ns();
	VFIO_ASSERT_EQ(vfio_mig_set_state(to, VFIO_DEVICE_STATE_STOP, NULL), 0);
	VFIO_ASSERT_EQ(close(fd), 0);
	at[STEP_MASTER] = now_ns();
	vfio_pci_cmd_set(to, PCI_COMMAND_MASTER);
	ixgbevf_move(&m->vf, to);
	at[STEP_RUN] = now_ns();
	VFIO_ASSERT_EQ(vfio_mig_set_state(to, VFIO_DEVICE_STATE_RUNNING, NULL), 0);
	at[STEPS] = now_ns();

	m->waited_ns = waiting_ns() - waited;
	m->stood_ns = at[STEPS] - at[STEP_STOP];
	for (i = 0; i < STEPS; i++)
		m->step_ns[i] = at[i + 1] - at[i];
	vfio_mig_stream_free(&stream);
}

/* Say what comes, and wait until it may. */
static void step(const char *name)
{
	int c;

	printf("step %s\n", name);
	fflush(stdout);
	do
		c = getchar();
	while (c != '\n' && c != EOF);
}

/* The same as move(), with the destination made ready while the source runs, as QEMU does it. */
static void move_by_steps(struct mover *m)
{
	struct vfio_pci_device *from = m->device[m->at], *to = m->device[!m->at];
	struct vfio_mig_stream stream = {};
	int in, out;

	step("nothing");
	step("prepare");
	VFIO_ASSERT_EQ(vfio_mig_set_state(to, VFIO_DEVICE_STATE_RESUMING, &in), 0);
	step("stop");
	VFIO_ASSERT_EQ(vfio_mig_set_state(from, VFIO_DEVICE_STATE_STOP, NULL), 0);
	step("save");
	VFIO_ASSERT_EQ(vfio_mig_set_state(from, VFIO_DEVICE_STATE_STOP_COPY, &out), 0);
	VFIO_ASSERT_EQ(vfio_mig_stream_read(&stream, out, CHUNK), 0);
	VFIO_ASSERT_EQ(close(out), 0);
	step("load");
	VFIO_ASSERT_EQ(vfio_mig_stream_write(&stream, in, CHUNK), 0);
	VFIO_ASSERT_EQ(vfio_mig_set_state(to, VFIO_DEVICE_STATE_STOP, NULL), 0);
	VFIO_ASSERT_EQ(close(in), 0);
	step("run");
	vfio_pci_cmd_set(to, PCI_COMMAND_MASTER);
	ixgbevf_move(&m->vf, to);
	VFIO_ASSERT_EQ(vfio_mig_set_state(to, VFIO_DEVICE_STATE_RUNNING, NULL), 0);
	step("end");
	vfio_mig_stream_free(&stream);
}

/* The source is free for the way back. Together: a function level reset takes 100 ms. */
static void settle(struct mover *m)
{
	vfio_pci_device_reset(m->device[m->at]);
	m->at = !m->at;
	/* Answers what the destination asked of it. */
	ixgbevf_poll(&m->vf);
}

/* Print the lines "name value" of the VF's report that are in @names as name=value. */
static void report(const char *bdf, const char *const *names)
{
	char path[128], line[128], value[64], name[64];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/report", bdf);
	file = fopen(path, "r");
	VFIO_ASSERT_NOT_NULL(file, "%s\n", path);
	while (fgets(line, sizeof(line), file)) {
		const char *const *wanted = names;
		int fields = sscanf(line, "%63s %63s", name, value);

		VFIO_ASSERT_EQ(fields, 2);
		while (*wanted && strcmp(*wanted, name))
			wanted++;
		if (*wanted)
			printf(" %s=%s", name, value);
	}
	fclose(file);
}

/* Ask the source's PF until all have moved. */
static void *ask(void *arg)
{
	struct ixgbevf *vf = arg;

	asked = 0;
	slowest_ns = 0;
	do {
		u64 start = now_ns(), took;

		VFIO_ASSERT_EQ(ixgbevf_ask(vf), 0);
		VFIO_ASSERT_EQ(ixgbevf_answer(vf), 0);
		took = now_ns() - start;
		if (took > slowest_ns)
			slowest_ns = took;
		asked++;
		usleep(ASK_EVERY_US);
	} while (!atomic_load(&moved));

	return NULL;
}

/*
 * Ahead of all the threads that move VFs: a wait for them is one for a processor, and what
 * is asked for is the PF's.
 */
static void ask_meanwhile(struct ixgbevf *vf)
{
	struct sched_param first = { .sched_priority = 1 };
	pthread_attr_t attr;

	atomic_store(&moved, false);
	VFIO_ASSERT_EQ(pthread_attr_init(&attr), 0);
	VFIO_ASSERT_EQ(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED), 0);
	VFIO_ASSERT_EQ(pthread_attr_setschedpolicy(&attr, SCHED_FIFO), 0);
	VFIO_ASSERT_EQ(pthread_attr_setschedparam(&attr, &first), 0);
	VFIO_ASSERT_EQ(pthread_create(&asker, &attr, ask, vf), 0);
	pthread_attr_destroy(&attr);
}

static void answered(int pairs, int round)
{
	atomic_store(&moved, true);
	VFIO_ASSERT_EQ(pthread_join(asker, NULL), 0);
	printf("stay pairs=%d round=%d asked=%llu slowest_ns=%llu\n", pairs, round,
	       (unsigned long long)asked, (unsigned long long)slowest_ns);
}

/* How long answers take while nothing else is asked of the PF. */
static void alone(int pairs, struct ixgbevf *vf)
{
	ask_meanwhile(vf);
	usleep(ALONE_US);
	atomic_store(&moved, true);
	VFIO_ASSERT_EQ(pthread_join(asker, NULL), 0);
	printf("alone pairs=%d asked=%llu slowest_ns=%llu\n", pairs,
	       (unsigned long long)asked, (unsigned long long)slowest_ns);
}

static void one_way(int pairs, int round, bool stay, bool by_steps)
{
	static const char *const source[] = {
		"suspend_ns", "save_ns", "mmio_save", "state_bytes", NULL
	};
	static const char *const destination[] = {
		"restore", "load_ns", "resume_ns", "mmio_load", NULL
	};
	u64 all_ns;
	int i, n;

	if (by_steps) {
		move_by_steps(&movers[0]);
		all(settle);
		return;
	}
	if (stay)
		ask_meanwhile(&stayers[movers[0].at].vf);
	all_ns = all(move);
	if (stay)
		answered(pairs, round);

	printf("all pairs=%d round=%d all_ns=%llu\n", pairs, round, (unsigned long long)all_ns);
	for (i = 0; i < vfs; i++) {
		struct mover *m = &movers[i];

		printf("move pairs=%d round=%d vf=%d stood_ns=%llu waited_ns=%llu", pairs, round, i,
		       (unsigned long long)m->stood_ns, (unsigned long long)m->waited_ns);
		for (n = 0; n < STEPS; n++)
			printf(" step_%s_ns=%llu", step_names[n],
			       (unsigned long long)m->step_ns[n]);
		report(m->bdf[m->at], source);
		report(m->bdf[!m->at], destination);
		printf("\n");
	}
	all(settle);
	fflush(stdout);
}

int main(int argc, char *argv[])
{
	int pairs[IXGBEVF_QUEUES], runs = 0, rounds = 4;
	struct iova_allocator *allocator;
	struct test_env env = {};
	bool stay = false, by_steps = false;
	int opt, i, n, side, each;

	while ((opt = getopt(argc, argv, "q:r:sp")) != -1) {
		switch (opt) {
		case 'q':
			n = atoi(optarg);
			if (n < 1 || n > IXGBEVF_QUEUES || runs == IXGBEVF_QUEUES)
				return KSFT_FAIL;
			pairs[runs++] = n;
			break;
		case 'r':
			rounds = atoi(optarg);
			break;
		case 's':
			stay = true;
			break;
		case 'p':
			by_steps = true;
			break;
		default:
			return KSFT_FAIL;
		}
	}
	if (!runs)
		pairs[runs++] = IXGBEVF_QUEUES;
	each = (argc - optind) / 2;
	vfs = each - stay;
	if (vfs < 1 || each > MAX_VFS || (by_steps && each != 1)) {
		fprintf(stderr, "usage: %s [-q 1|2]... [-r ROUNDS] [-s | -p] SOURCE... DESTINATION...\n",
			argv[0]);
		return KSFT_FAIL;
	}

	env.iommu = iommu_init(MODE_IOMMUFD);
	for (i = 0; i < vfs; i++) {
		for (side = 0; side < 2; side++) {
			movers[i].bdf[side] = argv[optind + side * each + i];
			movers[i].device[side] = vfio_pci_device_init(movers[i].bdf[side],
								      env.iommu);
		}
	}
	for (side = 0; stay && side < 2; side++)
		stayers[side].device[0] = vfio_pci_device_init(argv[optind + side * each + vfs],
							       env.iommu);
	allocator = iova_allocator_init(env.iommu);
	env.allocator = allocator;
	for (i = 0; i < vfs; i++) {
		test_env_map(&env, &movers[i].region, REGION_SIZE);
		memcpy(movers[i].vf.mac, (u8 []) { 0x02, 0x82, 0x59, 0x90, 0xfe, i }, 6);
	}

	for (side = 0; stay && side < 2; side++) {
		struct mover *m = &stayers[side];

		test_env_map(&env, &m->region, REGION_SIZE);
		memcpy(m->vf.mac, (u8 []) { 0x02, 0x82, 0x59, 0x90, 0xfd, side }, 6);
		m->vf.queues = 1;
		VFIO_ASSERT_EQ(ixgbevf_init(&m->vf, m->device[0], &m->region), 0);
	}

	for (n = 0; n < runs; n++) {
		for (i = 0; i < vfs; i++) {
			struct mover *m = &movers[i];

			m->vf.queues = pairs[n];
			VFIO_ASSERT_EQ(ixgbevf_init(&m->vf, m->device[m->at], &m->region), 0);
		}
		if (stay)
			alone(pairs[n], &stayers[movers[0].at].vf);
		for (i = 0; i < rounds; i++)
			one_way(pairs[n], i, stay, by_steps);
		for (i = 0; i < vfs; i++)
			ixgbevf_stop(&movers[i].vf);
	}

	for (side = 0; stay && side < 2; side++) {
		ixgbevf_stop(&stayers[side].vf);
		vfio_pci_device_cleanup(stayers[side].device[0]);
	}
	for (i = 0; i < vfs; i++) {
		for (side = 0; side < 2; side++)
			vfio_pci_device_cleanup(movers[i].device[side]);
	}
	iova_allocator_cleanup(allocator);
	iommu_cleanup(env.iommu);
	return KSFT_PASS;
}
