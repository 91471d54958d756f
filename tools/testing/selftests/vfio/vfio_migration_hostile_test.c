// SPDX-License-Identifier: GPL-2.0-only
/*
 * States that were made to do harm, loaded into a VF of a PF that has another VF in
 * use. Checksums are right, so that what lies behind them is what is tested: records in
 * another order, twice, missing, unknown; another device, another division of queues,
 * more rights than this host grants; every single bit. Each is refused, or it is a state
 * that the VF could have reached by itself; the neighbour notices nothing.
 *
 * Four devices: two VFs of the source, two of the destination.
 * $KSFT_QUICK looks at some of the bits only.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/align.h>

#include <libvfio/peer.h>

#include "kselftest_harness.h"

#define CHUNK		4096
#define REGION_SIZE	ALIGN(sizeof(struct ixgbevf_memory), 4096)

/* Documentation/networking/ixgbe-migration-format.rst */
struct header {
	u8 magic[8];
	__le16 version;
	__le16 content;
	__le32 length;
	__le32 count;
	__le32 crc32c;
};

struct record {
	__le16 kind;
	__le16 version;
	__le32 length;
	u8 value[];
};

enum { IDENTITY = 1, POLICY, RX_QUEUES, TX_QUEUES, INTERRUPTS, MAILBOX, FILTERS };
#define LAST_MANDATORY	10
#define OPTIONAL	0x8000

/* Offsets of values. */
#define ID_VENDOR	0
#define ID_DEVICE	2
#define ID_QUEUES_PER_POOL 4
#define ID_PAIRS	6
#define ID_API		8
#define ID_FEATURES	12
#define ID_MAX_FRAME	16
#define POLICY_FLAGS	0
#define POLICY_TRUSTED	2
#define POLICY_PORT_VLAN 2
#define QUEUE_BASE	0
#define RX_LENGTH	8
#define RX_HEAD		12
#define RX_TAIL		16
#define INT_EIMS	0
#define INT_IVAR	12
#define FILTERS_MAC	0
#define FILTERS_XCAST	6

FIXTURE(mig_hostile) {
	struct test_env env;
	struct test_env neighbours;	/* another guest's address space */
	struct vfio_pci_device *from;
	struct vfio_pci_device *to;
	struct dma_region region[2];
	struct ixgbevf vf;		/* whose state is taken */
	struct ixgbevf neighbour;	/* beside the destination */
	struct peer peer;
	struct peer sink;
	struct peer neighbour_sink;
	struct vfio_mig_stream blob;
};

/* Into the kernel's log, which stdio cannot write: it is not to be sought in. */
static void log_line(const char *line)
{
	int fd = open("/dev/kmsg", O_WRONLY);

	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(write(fd, line, strlen(line)), (ssize_t)strlen(line));
	VFIO_ASSERT_EQ(close(fd), 0);
}

FIXTURE_SETUP(mig_hostile)
{
	/*
	 * Ring addresses that lead nowhere make the device fault when it runs. The kernel's
	 * log takes no backslash.
	 */
	log_line("ksft: expect DMAR: .DMA \n");
	peer_open(&self->peer);
	test_env_open_some(&self->env, MODE_IOMMUFD, 0, 3);
	test_env_open_some(&self->neighbours, MODE_IOMMUFD, 3, 1);
	self->from = self->env.device[0];
	self->to = self->env.device[2];
	test_env_map(&self->env, &self->region[0], REGION_SIZE);
	test_env_map(&self->neighbours, &self->region[1], REGION_SIZE);

	self->vf.receive = peer_account;
	self->vf.context = &self->sink;
	ASSERT_EQ(0, ixgbevf_init(&self->vf, self->from, &self->region[0]));
	memcpy(self->neighbour.mac, (u8 []) { 0x02, 0x82, 0x59, 0x90, 0xfd, 1 }, 6);
	self->neighbour.receive = peer_account;
	self->neighbour.context = &self->neighbour_sink;
	ASSERT_EQ(0, ixgbevf_init(&self->neighbour, self->neighbours.device[0],
				  &self->region[1]));
	ASSERT_EQ(0, vfio_mig_save(self->from, &self->blob, CHUNK));
}

FIXTURE_TEARDOWN(mig_hostile)
{
	vfio_mig_stream_free(&self->blob);
	test_env_close(&self->neighbours);
	test_env_close(&self->env);
	peer_close(&self->peer);
	log_line("ksft: expect-end\n");
}

/* The neighbour works, and has not been made to begin anew. */
static bool neighbour_is_well(FIXTURE_DATA(mig_hostile) *self)
{
	return peer_alive(&self->peer, &self->neighbour) &&
	       !self->neighbour.resets && !self->neighbour_sink.corrupted;
}

/* CRC-32C, as in iSCSI. */
static u32 crc32c(const u8 *data, size_t len)
{
	u32 crc = ~0U;
	size_t i;
	int bit;

	for (i = 0; i < len; i++) {
		crc ^= data[i];
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static struct record *next_record(struct record *r)
{
	return (struct record *)(r->value + ALIGN(le32toh(r->length), 8));
}

/* A changed copy of the state; freed by the caller. */
static struct vfio_mig_stream copy(FIXTURE_DATA(mig_hostile) *self, size_t room)
{
	struct vfio_mig_stream c = { malloc_assert(self->blob.len + room), self->blob.len };

	memcpy(c.data, self->blob.data, c.len);
	return c;
}

static struct record *find(struct vfio_mig_stream *s, u16 kind)
{
	struct record *r = (struct record *)(s->data + sizeof(struct header));

	while ((u8 *)r < s->data + s->len && le16toh(r->kind) != kind)
		r = next_record(r);
	return (u8 *)r < s->data + s->len ? r : NULL;
}

static void seal(struct vfio_mig_stream *s, int more_records)
{
	struct header *h = (void *)s->data;

	h->length = htole32(s->len);
	h->count = htole32(le32toh(h->count) + more_records);
	h->crc32c = 0;
	h->crc32c = htole32(crc32c(s->data, s->len));
}

/* Load, and run if it is taken; afterwards the VF is as after a reset. */
static int load(FIXTURE_DATA(mig_hostile) *self, struct vfio_mig_stream *s, bool run)
{
	int ret = vfio_mig_load(self->to, s, CHUNK);

	if (!ret && run) {
		vfio_pci_cmd_set(self->to, PCI_COMMAND_MASTER);
		ret = vfio_mig_set_state(self->to, VFIO_DEVICE_STATE_RUNNING, NULL);
	}
	vfio_pci_device_reset(self->to);
	VFIO_ASSERT_EQ(vfio_mig_state(self->to), VFIO_DEVICE_STATE_RUNNING);
	return ret;
}

static int load_and_free(FIXTURE_DATA(mig_hostile) *self, struct vfio_mig_stream s, int records)
{
	int ret;

	seal(&s, records);
	ret = load(self, &s, true);
	vfio_mig_stream_free(&s);
	return ret;
}

/* The state as it is, which is taken: what is refused is refused for what was changed. */
TEST_F(mig_hostile, unchanged)
{
	struct vfio_mig_stream s = copy(self, 0);

	seal(&s, 0);
	EXPECT_EQ(0, memcmp(s.data, self->blob.data, s.len));
	vfio_mig_stream_free(&s);
	ASSERT_EQ(0, vfio_mig_load(self->to, &self->blob, CHUNK));
	ASSERT_EQ(0, ixgbevf_arrive(&self->vf, self->to));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
	ASSERT_TRUE(neighbour_is_well(self));
}

TEST_F_TIMEOUT(mig_hostile, records, 120)
{
	u16 kind;

	for (kind = IDENTITY; kind <= LAST_MANDATORY; kind++) {
		struct vfio_mig_stream s;
		struct record *r, *after;
		size_t size;

		/* Twice. */
		s = copy(self, CHUNK);
		r = find(&s, kind);
		ASSERT_NE(NULL, r);
		after = next_record(r);
		size = (u8 *)after - (u8 *)r;
		memmove((u8 *)after + size, after, s.data + s.len - (u8 *)after);
		memcpy(after, r, size);
		s.len += size;
		EXPECT_NE(0, load_and_free(self, s, 1)) {
			TH_LOG("record %u twice", kind);
		}

		/* Missing. */
		s = copy(self, 0);
		r = find(&s, kind);
		memmove(r, next_record(r), s.data + s.len - (u8 *)next_record(r));
		s.len -= size;
		EXPECT_NE(0, load_and_free(self, s, -1)) {
			TH_LOG("record %u missing", kind);
		}

		/* Before the one in front of it. */
		if (kind > IDENTITY) {
			struct record *before;
			u8 *kept;

			s = copy(self, 0);
			before = find(&s, kind - 1);
			r = find(&s, kind);
			kept = malloc_assert((u8 *)r - (u8 *)before);
			memcpy(kept, before, (u8 *)r - (u8 *)before);
			memmove(before, r, size);
			memcpy((u8 *)before + size, kept, (u8 *)r - (u8 *)before);
			free(kept);
			EXPECT_NE(0, load_and_free(self, s, 0)) {
				TH_LOG("record %u before record %u", kind, kind - 1);
			}
		}

		/* Of another version, and longer than the state. */
		s = copy(self, 0);
		find(&s, kind)->version = htole16(2);
		EXPECT_NE(0, load_and_free(self, s, 0)) {
			TH_LOG("record %u of version 2", kind);
		}
		s = copy(self, 0);
		find(&s, kind)->length = htole32(0xfffffff8);
		EXPECT_NE(0, load_and_free(self, s, 0)) {
			TH_LOG("record %u of 4 GiB", kind);
		}
	}
	EXPECT_TRUE(neighbour_is_well(self));
}

TEST_F(mig_hostile, unknown_record)
{
	u16 kinds[] = { 0x40, 0x7fff, OPTIONAL | 0x77 };
	int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct vfio_mig_stream s = copy(self, CHUNK);
		struct record *r = (struct record *)(s.data + s.len);
		struct record *last = find(&s, OPTIONAL | 1);
		size_t size = sizeof(*r) + 8;
		bool optional = kinds[i] & OPTIONAL;

		/* Records are in order: a mandatory one comes before all optional ones. */
		if (!optional && last) {
			memmove((u8 *)last + size, last, s.data + s.len - (u8 *)last);
			r = last;
		}
		memset(r, 0, size);
		r->kind = htole16(kinds[i]);
		r->version = htole16(1);
		r->length = htole32(8);
		s.len += size;
		EXPECT_EQ(!optional, !!load_and_free(self, s, 1)) {
			TH_LOG("record %#x", kinds[i]);
		}
	}
	EXPECT_TRUE(neighbour_is_well(self));
}

struct edit {
	const char *what;
	u16 kind;
	u32 at;
	u32 size;
	u64 value;
};

static int load_edited(FIXTURE_DATA(mig_hostile) *self, const struct edit *e)
{
	struct vfio_mig_stream s = copy(self, 0);
	__le64 value = htole64(e->value);

	memcpy(find(&s, e->kind)->value + e->at, &value, e->size);
	return load_and_free(self, s, 0);
}

/* What this host is not, does not grant, or cannot be. */
TEST_F_TIMEOUT(mig_hostile, values, 120)
{
	static const struct edit edits[] = {
		{ "vendor", IDENTITY, ID_VENDOR, 2, 0x15b3 },
		{ "X540 VF", IDENTITY, ID_DEVICE, 2, 0x1515 },
		{ "queues of a pool, 8", IDENTITY, ID_QUEUES_PER_POOL, 2, 8 },
		{ "queues of a pool, 3", IDENTITY, ID_QUEUES_PER_POOL, 2, 3 },
		{ "queues of a pool, 0", IDENTITY, ID_QUEUES_PER_POOL, 2, 0 },
		{ "no queue pair", IDENTITY, ID_PAIRS, 2, 0 },
		{ "64 queue pairs", IDENTITY, ID_PAIRS, 2, 64 },
		{ "API 2.0", IDENTITY, ID_API, 2, 0x200 },
		{ "features", IDENTITY, ID_FEATURES, 4, ~0U },
		{ "jumbo frames", IDENTITY, ID_MAX_FRAME, 4, 9728 },
		{ "frames of 4 GiB", IDENTITY, ID_MAX_FRAME, 4, ~0U },
		{ "policy flags", POLICY, POLICY_FLAGS, 2, 0x8000 },
		{ "port VLAN", POLICY, POLICY_PORT_VLAN, 2, 5 },
		{ "ring unaligned", RX_QUEUES, QUEUE_BASE, 8, 0x1001 },
		{ "ring of 4 GiB", RX_QUEUES, RX_LENGTH, 4, 0xffffff80 },
		{ "empty ring", RX_QUEUES, RX_LENGTH, 4, 0 },
		{ "head behind the ring", RX_QUEUES, RX_HEAD, 4, IXGBEVF_RING_SIZE },
		{ "tail behind the ring", RX_QUEUES, RX_TAIL, 4, ~0U },
		{ "vectors of others", INTERRUPTS, INT_EIMS, 4, 0xffff },
		{ "vector of others", INTERRUPTS, INT_IVAR, 4, 0x80808083 },
		{ "xcast mode", FILTERS, FILTERS_XCAST, 1, 4 },
		{ "multicast address", FILTERS, FILTERS_MAC, 1, 0x03 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(edits); i++) {
		EXPECT_NE(0, load_edited(self, &edits[i])) {
			TH_LOG("%s", edits[i].what);
		}
	}
	EXPECT_TRUE(neighbour_is_well(self));
}

TEST_F(mig_hostile, address_of_the_neighbour)
{
	struct vfio_mig_stream s = copy(self, 0);

	memcpy(find(&s, FILTERS)->value + FILTERS_MAC, self->neighbour.mac, 6);
	EXPECT_NE(0, load_and_free(self, s, 0));
	EXPECT_TRUE(neighbour_is_well(self));
}

/*
 * Rights that a state claims are those that the source gave; this host's are what counts.
 * What the VF makes of them is refused, and not taken from it behind its driver's back.
 */
TEST_F(mig_hostile, no_more_rights)
{
	struct vfio_mig_stream s;
	u64 others = 0, deadline;
	u32 i;

	for (i = 2; i <= 3; i++) {
		s = copy(self, 0);
		find(&s, POLICY)->value[POLICY_FLAGS] |= POLICY_TRUSTED;
		find(&s, FILTERS)->value[FILTERS_XCAST] = i;
		EXPECT_NE(0, load_and_free(self, s, 0)) {
			TH_LOG("xcast mode %u", i);
		}
	}
	s = copy(self, 0);
	find(&s, POLICY)->value[POLICY_FLAGS] |= POLICY_TRUSTED;
	seal(&s, 0);
	ASSERT_EQ(0, vfio_mig_load(self->to, &s, CHUNK));
	vfio_mig_stream_free(&s);
	ASSERT_EQ(0, ixgbevf_arrive(&self->vf, self->to));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));

	/* Frames of the neighbour pass it by. */
	others = ixgbevf_frames_received(&self->vf);
	for (i = 0; i < 50; i++)
		peer_send(&self->peer, self->neighbour.mac, 1, 200);
	deadline = test_now_ms() + 5000;
	i = self->neighbour_sink.frames;
	while (self->neighbour_sink.frames < i + 50 && test_now_ms() < deadline)
		ixgbevf_poll(&self->neighbour);
	EXPECT_EQ(i + 50, self->neighbour_sink.frames);
	EXPECT_EQ(others, ixgbevf_frames_received(&self->vf));
}

static size_t bits(FIXTURE_DATA(mig_hostile) *self, bool sealed, u32 *taken)
{
	size_t step = getenv("KSFT_QUICK") ? 37 : 1;
	size_t bit, wrong = 0;

	for (bit = 0; bit < 8 * self->blob.len; bit += step) {
		struct vfio_mig_stream s = copy(self, 0);
		int ret;

		s.data[bit / 8] ^= 1 << (bit % 8);
		if (sealed) {
			struct header *h = (void *)s.data;

			h->crc32c = 0;
			h->crc32c = htole32(crc32c(s.data, s.len));
		}
		ret = load(self, &s, true);
		*taken += !ret;
		if (!ret && (!sealed || bit < 8 * sizeof(struct header))) {
			/* The checksum itself was put right again. */
			wrong += !sealed || memcmp(s.data, self->blob.data, s.len);
		}
		vfio_mig_stream_free(&s);
	}
	return wrong;
}

/* Every single bit: refused by the checksum. */
TEST_F_TIMEOUT(mig_hostile, bits, 1800)
{
	u32 taken = 0;

	EXPECT_EQ(0, bits(self, false, &taken));
	EXPECT_EQ(0, taken);
	EXPECT_TRUE(neighbour_is_well(self));
}

/* Every single bit, and a checksum that fits: what is taken does no harm. */
TEST_F_TIMEOUT(mig_hostile, bits_sealed, 1800)
{
	u32 taken = 0;

	EXPECT_EQ(0, bits(self, true, &taken));
	TH_LOG("%u taken", taken);
	EXPECT_TRUE(neighbour_is_well(self));
	/* Its own memory is what such a VF may spoil. Begun anew it is as good as ever. */
	vfio_pci_cmd_set(self->to, PCI_COMMAND_MASTER);
	ixgbevf_move(&self->vf, self->to);
	ASSERT_EQ(0, ixgbevf_reinit(&self->vf));
	ASSERT_TRUE(peer_alive(&self->peer, &self->vf));
}

int main(int argc, char *argv[])
{
	test_env_args(&argc, argv, 4, true);
	return test_harness_run(argc, argv);
}
