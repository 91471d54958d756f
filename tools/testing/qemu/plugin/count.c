// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU plugin of `cargo lab bench datapath`: counts the instructions that the guest's kernel executes, by address, and the
 * device registers that its modules touch.
 *
 *	-plugin count.so,socket=PATH
 *
 * PATH is a listening unix socket; the plugin answers one client after the other, one line a request:
 *
 *	idle	"IDLE BLOCKS": 1 if each processor halted and has executed nothing since, and the blocks executed so far
 *	reset	zeroes the counts, "ok"
 *	get	"KERNEL USER MMIO": instructions in kernel and user mode, register accesses of modules
 *	dump	"ADDRESS COUNT" in hexadecimal and decimal for each kernel instruction that was executed, then an empty line
 *
 * Counts are exact while the processors halt. What a processor executes between two of its halts without coming through a
 * module does not count: the timer of an idle machine comes more often the slower the machine around it is. One thread runs all
 * processors (-accel tcg,thread=single), CPUS of them at most. An instruction that faults counts each time. A string instruction with a repeat prefix counts once, as in hardware, although QEMU may execute each repetition by itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

/* Instructions told apart. The first counts user mode, the second what found no room, and is shown at address 0. */
#define ENTRIES (1u << 21)
#define USER 0
#define OTHER 1

#define CPUS 4

/* arch/x86: addresses with the top bit are the kernel's, modules lie between its image and the fixed map. */
#define KERNEL_START (UINT64_C(1) << 63)
#define MODULES_START UINT64_C(0xffffffffa0000000)
#define MODULES_END UINT64_C(0xffffffffff000000)

struct counts {
	uint64_t blocks;
	/* Blocks in modules. */
	uint64_t module_blocks;
	uint64_t insns[ENTRIES];
};

/* A string instruction with a repeat prefix. */
struct repeated {
	unsigned int entry;
	/* It begins its block, as it does when QEMU comes back for the next repetition. */
	bool first;
};

/* What is known of a processor. */
static struct cpu {
	/* As of its last halt. */
	uint64_t kept[ENTRIES];
	uint64_t kept_module_blocks;
	uint64_t blocks_at_halt;
	/* The last string instruction with a repeat prefix, and its block. */
	const struct repeated *last;
	uint64_t last_block;
} cpus[CPUS];

static struct qemu_plugin_scoreboard *board;
static GHashTable *index_of;
static uint64_t address_of[ENTRIES];
static unsigned int used = OTHER + 1;
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static uint64_t mmio;
static int listener = -1;

static unsigned int num_cpus;

/* By the first: QEMU says how many there are only once it has told each of them of its plugins. */
static struct counts *counts(unsigned int cpu)
{
	return (struct counts *)qemu_plugin_scoreboard_find(board, 0) + cpu;
}

/* How often the instruction of an entry was executed. */
static uint64_t sum(unsigned int entry)
{
	uint64_t all = 0;

	for (unsigned int cpu = 0; cpu < num_cpus; cpu++)
		all += counts(cpu)->insns[entry];

	return all;
}

static bool is_module(uint64_t address)
{
	return address >= MODULES_START && address < MODULES_END;
}

static unsigned int entry_of(uint64_t address)
{
	gpointer found;
	unsigned int i;

	if (address < KERNEL_START)
		return USER;
	found = g_hash_table_lookup(index_of, (gpointer)address);
	if (found)
		return GPOINTER_TO_UINT(found);
	if (used == ENTRIES)
		return OTHER;
	i = used++;
	address_of[i] = address;
	g_hash_table_insert(index_of, (gpointer)address, GUINT_TO_POINTER(i));

	return i;
}

static void halted(unsigned int cpu, void *data)
{
	size_t size = used * sizeof(cpus[0].kept[0]);
	struct counts *c = counts(cpu);
	struct cpu *p = &cpus[cpu];

	if (c->module_blocks != p->kept_module_blocks)
		memcpy(p->kept, c->insns, size);
	else
		memcpy(c->insns, p->kept, size);
	p->kept_module_blocks = c->module_blocks;
	__atomic_store_n(&p->blocks_at_halt, c->blocks, __ATOMIC_RELEASE);
}

static void executed_repeated(unsigned int cpu, void *data)
{
	const struct repeated *r = data;
	struct counts *c = counts(cpu);
	struct cpu *p = &cpus[cpu];

	if (!(r->first && p->last && p->last->entry == r->entry && c->blocks == p->last_block + 1))
		c->insns[r->entry]++;
	p->last = r;
	p->last_block = c->blocks;
}

static bool is_repeated(const uint8_t *code, size_t len)
{
	bool rep = false;

	/* Prefixes: repeat, operand and address size, REX. */
	while (len && (*code == 0xf2 || *code == 0xf3 || *code == 0x66 || *code == 0x67 || (*code & 0xf0) == 0x40)) {
		rep |= *code == 0xf2 || *code == 0xf3;
		code++;
		len--;
	}
	/* movs, cmps; stos, lods, scas. */
	return rep && len == 1 && ((*code >= 0xa4 && *code <= 0xa7) || (*code >= 0xaa && *code <= 0xaf));
}

static void accessed(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
	struct qemu_plugin_hwaddr *at = qemu_plugin_get_hwaddr(info, address);

	if (at && qemu_plugin_hwaddr_is_io(at))
		__atomic_fetch_add(&mmio, 1, __ATOMIC_RELAXED);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	qemu_plugin_u64 blocks = { board, offsetof(struct counts, blocks) };
	qemu_plugin_u64 module_blocks = { board, offsetof(struct counts, module_blocks) };
	size_t n = qemu_plugin_tb_n_insns(tb);

	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64, blocks, 1);
	if (is_module(qemu_plugin_tb_vaddr(tb)))
		qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64, module_blocks, 1);
	pthread_mutex_lock(&table);
	for (size_t k = 0; k < n; k++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, k);
		uint64_t address = qemu_plugin_insn_vaddr(insn);
		unsigned int entry = entry_of(address);
		uint8_t code[16];
		size_t len = qemu_plugin_insn_data(insn, code, sizeof(code));

		if (is_repeated(code, len)) {
			struct repeated *r = g_new(struct repeated, 1);

			*r = (struct repeated){ .entry = entry, .first = k == 0 };
			qemu_plugin_register_vcpu_insn_exec_cb(insn, executed_repeated, QEMU_PLUGIN_CB_NO_REGS, r);
		} else {
			qemu_plugin_u64 count = { board, offsetof(struct counts, insns) + 8 * entry };

			qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, QEMU_PLUGIN_INLINE_ADD_U64, count, 1);
		}
		if (len == 1 && code[0] == 0xf4 && address >= KERNEL_START)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, halted, QEMU_PLUGIN_CB_NO_REGS, NULL);
		if (is_module(address))
			qemu_plugin_register_vcpu_mem_cb(insn, accessed, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
	}
	pthread_mutex_unlock(&table);
}

static void answer(FILE *client, const char *request)
{
	uint64_t kernel = 0;

	pthread_mutex_lock(&table);
	if (!strcmp(request, "idle\n")) {
		uint64_t all = 0;
		bool idle = true;

		for (unsigned int cpu = 0; cpu < num_cpus; cpu++) {
			uint64_t now = __atomic_load_n(&counts(cpu)->blocks, __ATOMIC_ACQUIRE);

			idle &= now == __atomic_load_n(&cpus[cpu].blocks_at_halt, __ATOMIC_ACQUIRE);
			all += now;
		}
		fprintf(client, "%d %" PRIu64 "\n", idle, all);
	} else if (!strcmp(request, "reset\n")) {
		for (unsigned int cpu = 0; cpu < num_cpus; cpu++) {
			memset(counts(cpu)->insns, 0, used * sizeof(cpus[cpu].kept[0]));
			memset(cpus[cpu].kept, 0, used * sizeof(cpus[cpu].kept[0]));
		}
		__atomic_store_n(&mmio, 0, __ATOMIC_RELAXED);
		fputs("ok\n", client);
	} else if (!strcmp(request, "get\n")) {
		for (unsigned int i = OTHER; i < used; i++)
			kernel += sum(i);
		fprintf(client, "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", kernel, sum(USER),
			__atomic_load_n(&mmio, __ATOMIC_RELAXED));
	} else if (!strcmp(request, "dump\n")) {
		for (unsigned int i = OTHER; i < used; i++)
			if (sum(i))
				fprintf(client, "%" PRIx64 " %" PRIu64 "\n", address_of[i], sum(i));
		fputc('\n', client);
	} else {
		fputs("unknown request\n", client);
	}
	pthread_mutex_unlock(&table);
	fflush(client);
}

static void *serve(void *unused)
{
	char request[32];

	for (;;) {
		int fd = accept(listener, NULL, NULL);
		FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
		FILE *out = fd < 0 ? NULL : fdopen(dup(fd), "w");

		if (!in || !out) {
			fprintf(stderr, "count: %s\n", strerror(errno));
			return NULL;
		}
		while (fgets(request, sizeof(request), in))
			answer(out, request);
		fclose(in);
		fclose(out);
	}
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	pthread_t thread;

	if (info->system_emulation && info->system.max_vcpus > CPUS) {
		fprintf(stderr, "count: %d processors at most\n", CPUS);
		return -1;
	}
	num_cpus = info->system_emulation ? info->system.smp_vcpus : 1;
	if (argc != 1 || strncmp(argv[0], "socket=", 7) || strlen(argv[0] + 7) >= sizeof(address.sun_path)) {
		fputs("count: socket=PATH is wanted\n", stderr);
		return -1;
	}
	strcpy(address.sun_path, argv[0] + 7);
	unlink(address.sun_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 1)) {
		fprintf(stderr, "count: %s: %s\n", address.sun_path, strerror(errno));
		return -1;
	}
	board = qemu_plugin_scoreboard_new(sizeof(struct counts));
	index_of = g_hash_table_new(g_direct_hash, g_direct_equal);
	if (pthread_create(&thread, NULL, serve, NULL))
		return -1;
	pthread_detach(thread);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);

	return 0;
}
