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

#include <libvfio/harness.h>

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
/* Mandatory as well, of a VF of an X550. */
#define OWN_RSS		14
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
#define RSS_MRQC	0
#define RSS_TABLE	48

/*
 * States with one bit changed, and a checksum that fits, that are taken: what the VF could
 * have had. It is a property of the format and of what this test's VF has set up.
 */
#define TAKEN		2221
/* There a VF may have longer frames than the PF: seven of the bits of their size. */
#define TAKEN_X540	(TAKEN + 7)
/*
 * There it has RSS of its own: ten bits of VFMRQC, a key, and a table of 64 entries, in which
 * two bits name a queue of the four of a pool.
 */
#define TAKEN_X550	(TAKEN_X540 + 10 + 320 + 2 * 64)
/* One in 37 of them is looked at, of which about as many are taken. */
#define QUICK_STEP	37
#define QUICK_MARGIN	2

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
	int log;			/* the kernel's */
	int ratelimit;			/* as it was */
};

FIXTURE_VARIANT(mig_hostile) {
	const char *iommu_mode;
};

#define FIXTURE_VARIANT_ADD_IOMMU_MODE(_iommu_mode)	\
FIXTURE_VARIANT_ADD(mig_hostile, _iommu_mode) {		\
	.iommu_mode = #_iommu_mode,			\
}

FIXTURE_VARIANT_ADD_IOMMU_MODES();

/* Into the kernel's log, which stdio cannot write: it is not to be sought in. */
static void log_line(const char *line)
{
	int fd = open("/dev/kmsg", O_WRONLY);

	VFIO_ASSERT_GE(fd, 0);
	VFIO_ASSERT_EQ(write(fd, line, strlen(line)), (ssize_t)strlen(line));
	VFIO_ASSERT_EQ(close(fd), 0);
}

/* Seconds in which the kernel's network code says a thing but a few times; returns what it was. */
static int set_ratelimit(int seconds)
{
	FILE *file = fopen("/proc/sys/net/core/message_cost", "r+");
	int was, n;

	VFIO_ASSERT_NOT_NULL(file);
	n = fscanf(file, "%d", &was);
	VFIO_ASSERT_EQ(n, 1);
	rewind(file);
	n = fprintf(file, "%d\n", seconds);
	VFIO_ASSERT_GT(n, 0);
	VFIO_ASSERT_EQ(fclose(file), 0);
	return was;
}

/* The reason that the PF driver gave last since the last call, "" for none. */
static const char *reason(FIXTURE_DATA(mig_hostile) *self)
{
	static char last[128];
	char record[2048], *at, *end;
	ssize_t n;

	last[0] = 0;
	while ((n = read(self->log, record, sizeof(record) - 1)) > 0 || errno == EPIPE) {
		record[n > 0 ? n : 0] = 0;
		at = strstr(record, " refused: ");
		if (!at)
			continue;
		at += strlen(" refused: ");
		end = strchr(at, '\n');
		snprintf(last, sizeof(last), "%.*s", end ? (int)(end - at) : 0, at);
	}
	return last;
}

#define EXPECT_REFUSED(_error, _reason, _ret, ...) do {	\
	int ret_ = (_ret);				\
							\
	EXPECT_EQ(_error, ret_) {			\
		TH_LOG(__VA_ARGS__);			\
	}						\
	EXPECT_STREQ(_reason, reason(self)) {		\
		TH_LOG(__VA_ARGS__);			\
	}						\
} while (0)

FIXTURE_SETUP(mig_hostile)
{
	char expect[64];

	/*
	 * Ring addresses that lead nowhere make the device fault when it runs: the one that
	 * the states are loaded into, and no other. The kernel's log takes no backslash.
	 */
	snprintf(expect, sizeof(expect), "ksft: expect DMAR: .DMA .*device .*%s\n",
		 strchr(test_env_bdf(2), ':') + 1);
	log_line(expect);
	self->log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	ASSERT_LE(0, self->log);
	ASSERT_LE(0, lseek(self->log, 0, SEEK_END));
	self->ratelimit = set_ratelimit(5);
	peer_open(&self->peer);
	test_env_open_some(&self->env, variant->iommu_mode, 0, 3);
	test_env_open_some(&self->neighbours, variant->iommu_mode, 3, 1);
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
	set_ratelimit(self->ratelimit);
	close(self->log);
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

TEST_F(mig_hostile, records)
{
	char want[64];
	u16 kind;

	set_ratelimit(0);
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
		snprintf(want, sizeof(want), "record out of order or doubled (%#x) [order]", kind);
		EXPECT_REFUSED(-EINVAL, want, load_and_free(self, s, 1), "record %u twice", kind);

		/* Missing. */
		s = copy(self, 0);
		r = find(&s, kind);
		memmove(r, next_record(r), s.data + s.len - (u8 *)next_record(r));
		s.len -= size;
		/* It says how many queues there are, and without it there is none. */
		if (kind == IDENTITY)
			snprintf(want, sizeof(want), "bad record length (%#x) [record-length]",
				 RX_QUEUES);
		else
			snprintf(want, sizeof(want), "record missing (%#x) [missing]", kind);
		EXPECT_REFUSED(-EINVAL, want, load_and_free(self, s, -1), "record %u missing", kind);

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
			snprintf(want, sizeof(want), "record out of order or doubled (%#x) [order]",
				 kind - 1);
			EXPECT_REFUSED(-EINVAL, want, load_and_free(self, s, 0),
				       "record %u before record %u", kind, kind - 1);
		}

		/* Of another version, and longer than the state. */
		s = copy(self, 0);
		find(&s, kind)->version = htole16(2);
		snprintf(want, sizeof(want), "unknown record version (%#x) [record-version]", kind);
		EXPECT_REFUSED(-EINVAL, want, load_and_free(self, s, 0), "record %u of version 2",
			       kind);
		s = copy(self, 0);
		find(&s, kind)->length = htole32(0xfffffff8);
		snprintf(want, sizeof(want), "bad record length (%#x) [record-length]", kind);
		EXPECT_REFUSED(-EINVAL, want, load_and_free(self, s, 0), "record %u of 4 GiB",
			       kind);
	}
	EXPECT_TRUE(neighbour_is_well(self));
}

TEST_F(mig_hostile, unknown_record)
{
	u16 kinds[] = { 0x40, 0x7fff, OPTIONAL | 0x77 };
	char want[64];
	int i;

	set_ratelimit(0);
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
		snprintf(want, sizeof(want), "unknown mandatory record (%#x) [unknown-record]", kinds[i]);
		EXPECT_REFUSED(optional ? 0 : -EINVAL, optional ? "" : want,
			       load_and_free(self, s, 1), "record %#x", kinds[i]);
	}
	EXPECT_TRUE(neighbour_is_well(self));
}

struct edit {
	const char *what;
	u16 kind;
	u32 at;
	u32 size;
	u64 value;
	const char *reason;
};

static int load_edited(FIXTURE_DATA(mig_hostile) *self, const struct edit *e)
{
	struct vfio_mig_stream s = copy(self, 0);
	__le64 value = htole64(e->value);

	memcpy(find(&s, e->kind)->value + e->at, &value, e->size);
	return load_and_free(self, s, 0);
}

/* VFs of an 82599, an X540 and an X550. */
#define X550		0x1565
static const u16 chips[] = { 0x10ed, 0x1515, X550 };

/* A state of an X550's VF under another name: with the record that no other has. */
#define NOT_ITS_RECORD	"unknown mandatory record (0xe) [unknown-record]"

/* What this host is not, does not grant, or cannot be. */
TEST_F(mig_hostile, values)
{
	static const struct edit edits[] = {
		{ "vendor", IDENTITY, ID_VENDOR, 2, 0x15b3,
		  "other device (0x15b3) [device]" },
		/* A VF of an X552. */
		{ "another device", IDENTITY, ID_DEVICE, 2, 0x15a8,
		  "other device (0x15a8) [device]" },
		/* A PF may have as many, but then there would be as many in what follows. */
		{ "queues of a pool, 8", IDENTITY, ID_QUEUES_PER_POOL, 2, 8,
		  "bad record length (0x3) [record-length]" },
		{ "queues of a pool, 3", IDENTITY, ID_QUEUES_PER_POOL, 2, 3,
		  "other queues per pool (0x3) [queue-layout]" },
		{ "queues of a pool, 0", IDENTITY, ID_QUEUES_PER_POOL, 2, 0,
		  "other queues per pool (0x0) [queue-layout]" },
		{ "no queue pair", IDENTITY, ID_PAIRS, 2, 0,
		  "other number of queue pairs (0x0) [queue-pairs]" },
		{ "64 queue pairs", IDENTITY, ID_PAIRS, 2, 64,
		  "other number of queue pairs (0x40) [queue-pairs]" },
		{ "API 2.0", IDENTITY, ID_API, 2, 0x200,
		  "mailbox API not supported here (0x200) [api]" },
		{ "features", IDENTITY, ID_FEATURES, 4, ~0U,
		  "mailbox features not granted here (0xffffffff) [features]" },
		{ "jumbo frames", IDENTITY, ID_MAX_FRAME, 4, 9728,
		  "frame size not allowed here, check the PF's MTU (0x2600) [max-frame]" },
		{ "frames of 4 GiB", IDENTITY, ID_MAX_FRAME, 4, ~0U,
		  "frame size not allowed here, check the PF's MTU (0xffffffff) [max-frame]" },
		{ "policy flags", POLICY, POLICY_FLAGS, 2, 0x8000,
		  "reserved bits set (0x2) [reserved]" },
		{ "port VLAN", POLICY, POLICY_PORT_VLAN, 2, 5,
		  "other port VLAN (0x5) [port-vlan]" },
		{ "ring unaligned", RX_QUEUES, QUEUE_BASE, 8, 0x1001,
		  "value out of range (0x3) [value]" },
		{ "ring of 4 GiB", RX_QUEUES, RX_LENGTH, 4, 0xffffff80,
		  "value out of range (0x3) [value]" },
		{ "empty ring", RX_QUEUES, RX_LENGTH, 4, 0,
		  "value out of range (0x3) [value]" },
		{ "head behind the ring", RX_QUEUES, RX_HEAD, 4, IXGBEVF_RING_SIZE,
		  "value out of range (0x3) [value]" },
		{ "tail behind the ring", RX_QUEUES, RX_TAIL, 4, ~0U,
		  "value out of range (0x3) [value]" },
		{ "vectors of others", INTERRUPTS, INT_EIMS, 4, 0xffff,
		  "reserved bits set (0x5) [reserved]" },
		{ "vector of others", INTERRUPTS, INT_IVAR, 4, 0x80808083,
		  "value out of range (0x5) [value]" },
		{ "xcast mode", FILTERS, FILTERS_XCAST, 1, 4,
		  "value out of range (0x7) [value]" },
		{ "multicast address", FILTERS, FILTERS_MAC, 1, 0x03,
		  "value out of range (0x7) [value]" },
	};
	static const struct edit rss[] = {
		{ "reserved bits of VFMRQC", OWN_RSS, RSS_MRQC, 4, 0x00008001,
		  "reserved bits set (0xe) [reserved]" },
		{ "entry behind the queues", OWN_RSS, RSS_TABLE + 63, 1, 4,
		  "value out of range (0xe) [value]" },
	};
	u16 own = ixgbevf_device_id(self->to);
	bool x550 = own == X550;
	int i;

	set_ratelimit(0);
	for (i = 0; i < ARRAY_SIZE(edits); i++) {
		struct edit e = edits[i];

		/* Unknown chips have no RSS of their own. */
		if (x550 && e.kind == IDENTITY && e.at == ID_DEVICE)
			e.reason = NOT_ITS_RECORD;
		EXPECT_REFUSED(-EINVAL, e.reason, load_edited(self, &e), "%s", e.what);
	}
	for (i = 0; i < ARRAY_SIZE(chips); i++) {
		struct edit e = { "VF of another chip", IDENTITY, ID_DEVICE, 2, chips[i] };
		char want[64];

		if (chips[i] == own)
			continue;
		snprintf(want, sizeof(want), "other device (%#x) [device]", chips[i]);
		e.reason = x550 ? NOT_ITS_RECORD :
			   chips[i] == X550 ? "record missing (0xe) [missing]" : want;
		EXPECT_REFUSED(-EINVAL, e.reason, load_edited(self, &e), "%s %#x", e.what, chips[i]);
	}
	for (i = 0; x550 && i < ARRAY_SIZE(rss); i++)
		EXPECT_REFUSED(-EINVAL, rss[i].reason, load_edited(self, &rss[i]),
			       "%s", rss[i].what);
	EXPECT_TRUE(neighbour_is_well(self));
}

TEST_F(mig_hostile, address_of_the_neighbour)
{
	struct vfio_mig_stream s = copy(self, 0);

	memcpy(find(&s, FILTERS)->value + FILTERS_MAC, self->neighbour.mac, 6);
	set_ratelimit(0);
	EXPECT_REFUSED(-EINVAL, "MAC address in use here (0x0) [mac-in-use]", load_and_free(self, s, 0),
		       "the neighbour's address");
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
	deadline = test_now_ms() + TEST_PATIENCE_MS;
	i = self->neighbour_sink.frames;
	while (self->neighbour_sink.frames < i + 50 && test_now_ms() < deadline)
		ixgbevf_poll(&self->neighbour);
	EXPECT_EQ(i + 50, self->neighbour_sink.frames);
	EXPECT_EQ(others, ixgbevf_frames_received(&self->vf));
}

/* All of them take minutes, and the way to guest memory has no part in it: once is enough. */
static bool quick(const FIXTURE_VARIANT(mig_hostile) *variant)
{
	return getenv("KSFT_QUICK") || strcmp(variant->iommu_mode, MODE_IOMMUFD);
}

static size_t bits(FIXTURE_DATA(mig_hostile) *self, size_t step, bool sealed, u32 *taken)
{
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

	EXPECT_EQ(0, bits(self, quick(variant) ? QUICK_STEP : 1, false, &taken));
	EXPECT_EQ(0, taken);
	EXPECT_TRUE(neighbour_is_well(self));
}

/* Every single bit, and a checksum that fits: what is taken does no harm. */
TEST_F_TIMEOUT(mig_hostile, bits_sealed, 1800)
{
	static const u32 wanted[] = { TAKEN, TAKEN_X540, TAKEN_X550 };
	u16 own = ixgbevf_device_id(self->to);
	u32 taken = 0, want = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(chips); i++)
		if (chips[i] == own)
			want = wanted[i];

	EXPECT_EQ(0, bits(self, quick(variant) ? QUICK_STEP : 1, true, &taken));
	TH_LOG("%u taken", taken);
	if (quick(variant)) {
		EXPECT_LT(want / QUICK_STEP / QUICK_MARGIN, taken);
		EXPECT_GT(want / QUICK_STEP * QUICK_MARGIN, taken);
	} else {
		EXPECT_EQ(want, taken);
	}
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
