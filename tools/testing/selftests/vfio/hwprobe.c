// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asks an 82599 what no public source says: whether ring heads take a value, how
 * queues stop, what resets leave behind. The report, all lines that begin with
 * "# report:", is what to send in; see
 * Documentation/networking/device_drivers/ethernet/intel/hwprobe.rst.
 *
 * usage: hwprobe [-p] [-o FILE] VF VF
 *   -p  have the cable pulled out, for the questions about queues without a link
 *   VF  two VFs of one PF, bound to vfio-pci; hwprobe.sh makes them
 *
 * A case fails if answers contradict one another, not because of what they are. With
 * LAB_HEAD_WRITE the answer on heads is known and has to be found: value, zero, ignore.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/utsname.h>

#include "lib/hwprobe/hwprobe.h"

#include "kselftest.h"

static const struct {
	bool rx;
	int queue;
	bool by_pf;
} rings[] = {
	{ true, 0, false }, { false, 0, false }, { false, 1, false },
	{ true, 0, true }, { false, 0, true }, { false, 1, true },
};

#define RINGS (sizeof(rings) / sizeof(rings[0]))

static void heads(struct probe *p, enum probe_head *all)
{
	enum probe_head what;
	bool agree = true;
	size_t i;

	*all = HEAD_UNKNOWN;
	for (i = 0; i < RINGS; i++) {
		const char *name = rings[i].rx ? "rx" : "tx", *by = rings[i].by_pf ? "pf" : "vf";
		bool ok = probe_heads(p, rings[i].rx, rings[i].queue, rings[i].by_pf, &what);

		if (rings[i].by_pf && !p->pf) {
			ksft_test_result_skip("head %s%d by %s\n", name, rings[i].queue, by);
			continue;
		}
		ksft_test_result(ok, "head %s%d by %s\n", name, rings[i].queue, by);
		agree &= !i || what == *all;
		*all = what;
	}
	report("heads", "%s; head_restore=auto %s", agree ? probe_head_names[*all] : "differ",
	       agree && *all == HEAD_VALUE ? "writes heads back" : "needs the guest's help");
	if (!agree)
		*all = HEAD_OTHER;
}

static void asked_of_pf(struct probe *p, const char *name, bool (*ask)(struct probe *))
{
	if (p->pf)
		ksft_test_result(ask(p), "%s\n", name);
	else
		ksft_test_result_skip("%s\n", name);
}

int main(int argc, char *argv[])
{
	const char *expected = getenv("LAB_HEAD_WRITE"), *path = NULL;
	struct probe *p = calloc(1, sizeof(*p));
	enum probe_head all;
	bool pull = false;
	struct utsname uts;
	int i;

	test_env_args(&argc, argv, 2, false);
	while ((i = getopt(argc, argv, "o:p")) != -1) {
		switch (i) {
		case 'o': path = optarg; break;
		case 'p': pull = true; break;
		default: return KSFT_FAIL;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	ksft_set_plan(RINGS + !!expected + 4 + 7 + pull + 2 + 3);
	report_open(path);
	report("hwprobe", "2");
	uname(&uts);
	report("kernel", "%s %s", uts.release, uts.machine);

	probe_open(p);
	heads(p, &all);
	if (expected)
		ksft_test_result(!strcmp(expected, probe_head_names[all]),
				 "heads are as the model was told: %s\n", expected);
	for (i = 0; i < 4; i++)
		ksft_test_result(probe_stop(p, i & 1, i & 2), "stop %s %s\n",
				 i & 1 ? "rx" : "tx", i & 2 ? "under load" : "idle");
	ksft_test_result(probe_write_back(p), "write-backs that wait\n");
	ksft_test_result(probe_fetch(p), "descriptors fetched ahead\n");
	ksft_test_result(probe_toggle(p, true), "head of an Rx queue that stops and starts\n");
	ksft_test_result(probe_toggle(p, false), "head of a Tx queue that stops and starts\n");
	ksft_test_result(probe_context(p), "context of a Tx queue that stops and starts\n");
	ksft_test_result(probe_long(p), "a frame longer than MAXFRS from VF to VF\n");
	ksft_test_result(probe_short(p), "frames shorter than PAYLEN may say\n");
	if (pull)
		ksft_test_result(probe_no_link(p), "queues without a link\n");
	ksft_test_result(probe_reset(p, false), "reset by VFCTRL.RST\n");
	ksft_test_result(probe_reset(p, true), "reset by FLR\n");
	asked_of_pf(p, "what the PF's reading clears", probe_read_clears);
	asked_of_pf(p, "a queue that never ran", probe_spare_queue);
	asked_of_pf(p, "values", probe_values);
	probe_close(p);
	report_close();
	free(p);
	ksft_finished();
}
