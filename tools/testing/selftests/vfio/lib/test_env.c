// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <sys/mman.h>

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <libvfio/test_env.h>

static char **bdfs;
static int nr_bdfs;

bool test_env_strict(void)
{
	const char *strict = getenv("KSFT_STRICT");

	return strict && *strict;
}

/* The machine lacks what the program needs. */
static void unmet(const char *what)
{
	printf("TAP version 13\n");
	if (test_env_strict())
		printf("1..1\nnot ok 1 environment # %s\n", what);
	else
		printf("1..0 # SKIP %s\n", what);
	exit(test_env_strict() ? KSFT_FAIL : KSFT_SKIP);
}

void test_env_args(int *argc, char *argv[], int min, bool migration)
{
	struct test_env env;
	u64 flags;

	bdfs = vfio_selftests_get_bdfs(argc, argv, &nr_bdfs);
	if (nr_bdfs > TEST_MAX_DEVICES)
		nr_bdfs = TEST_MAX_DEVICES;
	if (nr_bdfs < min)
		unmet("more devices are needed than are given");
	if (!migration)
		return;

	test_env_open(&env, MODE_IOMMUFD);
	flags = vfio_mig_flags(env.device[0]);
	test_env_close(&env);
	if (!(flags & VFIO_MIGRATION_STOP_COPY))
		unmet("the device cannot migrate");
}

const char *test_env_bdf(int index)
{
	VFIO_ASSERT_LT(index, nr_bdfs);
	return bdfs[index];
}

void test_env_open_device(struct test_env *env, int index)
{
	VFIO_ASSERT_NULL(env->device[index]);
	env->device[index] = vfio_pci_device_init(bdfs[env->first + index], env->iommu);
}

void test_env_close_device(struct test_env *env, int index)
{
	if (env->device[index])
		vfio_pci_device_cleanup(env->device[index]);
	env->device[index] = NULL;
}

void test_env_open_some(struct test_env *env, const char *iommu_mode, int first, int count)
{
	int i;

	VFIO_ASSERT_LE(first + count, nr_bdfs);
	*env = (struct test_env) { .first = first, .nr_devices = count };
	env->iommu = iommu_init(iommu_mode);
	for (i = 0; i < count; i++)
		test_env_open_device(env, i);
	env->allocator = iova_allocator_init(env->iommu);
}

void test_env_open(struct test_env *env, const char *iommu_mode)
{
	test_env_open_some(env, iommu_mode, 0, nr_bdfs);
}

void test_env_close(struct test_env *env)
{
	int i;

	iova_allocator_cleanup(env->allocator);
	for (i = 0; i < env->nr_devices; i++)
		test_env_close_device(env, i);
	iommu_cleanup(env->iommu);
}

void test_env_map(struct test_env *env, struct dma_region *region, u64 size)
{
	u64 room = getpagesize();

	region->vaddr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	VFIO_ASSERT_NE(region->vaddr, MAP_FAILED);
	/* The allocator gives out powers of two, aligned to themselves. */
	while (room < size)
		room <<= 1;
	region->iova = iova_allocator_alloc(env->allocator, room);
	region->size = size;
	iommu_map(env->iommu, region);
}

void test_env_unmap(struct test_env *env, struct dma_region *region)
{
	iommu_unmap(env->iommu, region);
	VFIO_ASSERT_EQ(munmap(region->vaddr, region->size), 0);
}

u64 test_now_ms(void)
{
	struct timespec ts;

	VFIO_ASSERT_EQ(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#define PAYLOAD (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))
#define MAGIC 0x82599f0f
#define PORT 20000

/* What follows the UDP header. */
struct payload {
	__be32 magic;
	__be32 seq;
	u8 pattern[];
};

static u8 pattern(u32 seq, u32 i)
{
	return (seq * 31 + i * 7) ^ (i >> 8);
}

/*
 * Addresses of the benchmark network 198.18.0.0/15 for each flow. RSS hashes them with a key
 * that each boot draws, and the hash is linear: of addresses that differ in n bits, one key in
 * 2^n puts all into one queue. So both differ, each in all its 17 bits.
 */
static u32 source(u16 flow)
{
	return 0xc6120000 | (flow * 0x9e3779b1U >> 15);
}

static u32 target(u16 flow)
{
	u32 n = flow;

	return 0xc6120000 | ((n * n * 0x85ebca6bU + n * 0xc2b2ae35U) >> 15);
}

void test_frame(u8 *frame, u32 len, const u8 *dst, const u8 *src, u16 flow, u32 seq)
{
	struct ethhdr *eth = (void *)frame;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	struct payload *payload = (void *)(udp + 1);
	u32 sum = 0;
	u32 i;

	VFIO_ASSERT_GE(len, PAYLOAD + sizeof(*payload));
	memset(frame, 0, PAYLOAD);
	memcpy(eth->h_dest, dst, ETH_ALEN);
	memcpy(eth->h_source, src, ETH_ALEN);
	eth->h_proto = htons(ETH_P_IP);

	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->ttl = 64;
	ip->protocol = IPPROTO_UDP;
	ip->tot_len = htons(len - sizeof(*eth));
	ip->saddr = htonl(source(flow));
	ip->daddr = htonl(target(flow));
	for (i = 0; i < sizeof(*ip) / 2; i++)
		sum += ((u16 *)ip)[i];
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~(sum + (sum >> 16));

	udp->source = htons(PORT + flow);
	udp->dest = htons(PORT);
	udp->len = htons(len - sizeof(*eth) - sizeof(*ip));

	payload->magic = htonl(MAGIC);
	payload->seq = htonl(seq);
	for (i = 0; i < len - PAYLOAD - sizeof(*payload); i++)
		payload->pattern[i] = pattern(seq, i);
}

bool test_frame_check(const u8 *frame, u32 len, u16 *flow, u32 *seq, bool *foreign)
{
	const struct ethhdr *eth = (void *)frame;
	const struct iphdr *ip = (void *)(eth + 1);
	const struct udphdr *udp = (void *)(ip + 1);
	const struct payload *payload = (void *)(udp + 1);
	u8 want[IXGBEVF_BUFFER_SIZE];

	*foreign = len < PAYLOAD + sizeof(*payload) || len > sizeof(want) ||
		   eth->h_proto != htons(ETH_P_IP) || udp->dest != htons(PORT) ||
		   payload->magic != htonl(MAGIC);
	if (*foreign)
		return false;

	*flow = ntohs(udp->source) - PORT;
	*seq = ntohl(payload->seq);
	test_frame(want, len, eth->h_dest, eth->h_source, *flow, *seq);
	return !memcmp(frame, want, len);
}
