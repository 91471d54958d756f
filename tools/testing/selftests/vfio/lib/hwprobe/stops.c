// SPDX-License-Identifier: GPL-2.0-only
/*
 * How queues stop. ENABLE is to read 0 only after the accesses under way are done,
 * and memory is the driver's about 100 us later (82599 datasheet 4.6.7.1.2). How long
 * both really take bounds the time for which a migration stops the device.
 */
#include <stdio.h>

#include "hwprobe.h"

#define ROUNDS	32
/* Frames under way when the queue is stopped: fewer than the other side has buffers. */
#define BURST	100
/* For how long a stopped queue is watched. */
#define WATCH_NS 2000000

struct stop {
	s64 enable_ns;		/* until ENABLE read 0 */
	s64 late_ns;		/* from then to the last change of memory or head, 0 if none */
	u32 done;		/* descriptors written back when ENABLE read 0 */
	u32 left;		/* given to the device, not written back in the end */
	bool moved;		/* the head moved after ENABLE read 0 */
	bool lost_count;	/* Tx: arrived frames are not those reported as sent */
};

static bool stop_once(struct probe *p, bool rx, bool loaded, struct stop *stop)
{
	struct probe_ring ring = probe_ring(p, rx, 0);
	struct ixgbevf *vf = &p->vf[0];
	u32 done, head, base;
	u64 end;

	*stop = (struct stop) {};
	probe_begin(p);
	base = probe_done(p, &ring);
	if (loaded)
		probe_send(p, rx ? 1 : 0, 0, BURST);

	ixgbevf_write(vf, ring.dctl, 0);
	stop->enable_ns = probe_wait_enable(p, &ring, false);
	if (stop->enable_ns < 0)
		return false;
	head = ixgbevf_read(vf, ring.head);
	done = probe_done(p, &ring);
	stop->done = done - base;

	/* VF 0 is not served from here on: its memory changes only by the device. */
	end = probe_ns() + WATCH_NS;
	for (u64 start = probe_ns(), now = start; now < end; now = probe_ns()) {
		u32 h = ixgbevf_read(vf, ring.head), d = probe_done(p, &ring);

		if (h == head && d == done)
			continue;
		stop->late_ns = now - start;
		stop->moved |= h != head;
		head = h;
		done = d;
	}
	stop->left = loaded ? BURST - (done - base) : 0;
	stop->lost_count = !rx && !probe_arrived(p, 1, done - base);
	return true;
}

bool probe_stop(struct probe *p, bool rx, bool loaded)
{
	s64 enable[ROUNDS], late[ROUNDS];
	u32 lates = 0, moved = 0, miscounted = 0, caught = 0;
	u32 least = BURST, most = 0;
	char key[64];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		struct stop stop;

		if (!stop_once(p, rx, loaded, &stop)) {
			snprintf(key, sizeof(key), "stop %s", rx ? "rx0" : "tx0");
			report(key, "ENABLE still reads 1 after a second");
			return false;
		}
		enable[i] = stop.enable_ns;
		if (stop.late_ns)
			late[lates++] = stop.late_ns;
		moved += stop.moved;
		miscounted += stop.lost_count;
		if (stop.left) {
			caught++;
			least = stop.done < least ? stop.done : least;
			most = stop.done > most ? stop.done : most;
		}
	}

	snprintf(key, sizeof(key), "stop %s %s, ENABLE reads 0 after", rx ? "rx0" : "tx0",
		 loaded ? "under load" : "idle");
	report_times(key, enable, ROUNDS);
	snprintf(key, sizeof(key), "stop %s %s, changes after that", rx ? "rx0" : "tx0",
		 loaded ? "under load" : "idle");
	report_times(key, late, lates);
	if (loaded) {
		snprintf(key, sizeof(key), "stop %s under load, counts", rx ? "rx0" : "tx0");
		report(key, "%u of %u stops came amid %u frames (%u to %u were done); "
		       "the head moved after %u; %u where arrived and reported frames differ",
		       caught, ROUNDS, BURST, caught ? least : 0, most, moved, miscounted);
	}
	/* Later than what the PF driver waits for would be an error of the driver. */
	return !miscounted;
}
