// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include <libvfio/peer.h>

/* Bytes of frames that nobody has read yet: a socket drops what it has no room for. */
#define PEER_ROOM (32 << 20)

void peer_open(struct peer *peer)
{
	const char *ifname = getenv("KSFT_PEER_IF");
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq ifr = {};
	int on = 1, room = PEER_ROOM;

	if (!ifname) {
		fprintf(stderr, "KSFT_PEER_IF names no interface\n");
		exit(KSFT_SKIP);
	}

	*peer = (struct peer) {};
	peer->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
	VFIO_ASSERT_GE(peer->fd, 0);
	strncpy(ifr.ifr_name, ifname, sizeof(ifr.ifr_name) - 1);
	ioctl_assert(peer->fd, SIOCGIFHWADDR, &ifr);
	memcpy(peer->mac, ifr.ifr_hwaddr.sa_data, sizeof(peer->mac));
	addr.sll_ifindex = if_nametoindex(ifname);
	VFIO_ASSERT_EQ(bind(peer->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	VFIO_ASSERT_EQ(setsockopt(peer->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING,
				  &on, sizeof(on)), 0);
	VFIO_ASSERT_EQ(setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)), 0);
}

void peer_close(struct peer *peer)
{
	VFIO_ASSERT_EQ(close(peer->fd), 0);
}

void peer_send(struct peer *peer, const u8 *dst, u32 flow, u32 len)
{
	struct pollfd pfd = { .fd = peer->fd, .events = POLLOUT };
	u8 frame[IXGBEVF_BUFFER_SIZE];

	flow %= PEER_FLOWS;
	test_frame(frame, len, dst, peer->mac, flow, peer->sent[flow]++);
	while (send(peer->fd, frame, len, 0) != len) {
		VFIO_ASSERT_TRUE(errno == EAGAIN || errno == ENOBUFS);
		poll(&pfd, 1, 10);
	}
}

static void account(struct peer *peer, const u8 *frame, u32 len)
{
	bool foreign;
	u16 flow;
	u32 seq;

	if (!test_frame_check(frame, len, &flow, &seq, &foreign)) {
		if (foreign)
			peer->others++;
		else
			peer->corrupted++;
		return;
	}

	flow %= PEER_FLOWS;
	peer->frames++;
	if (seq < peer->received[flow]) {
		peer->duplicated++;
	} else {
		peer->lost += seq - peer->received[flow];
		peer->received[flow] = seq + 1;
	}
}

void peer_receive(struct peer *peer, const u8 *src, int timeout_ms)
{
	struct pollfd pfd = { .fd = peer->fd, .events = POLLIN };
	u8 frame[IXGBEVF_BUFFER_SIZE];
	ssize_t len;

	poll(&pfd, 1, timeout_ms);
	while ((len = recv(peer->fd, frame, sizeof(frame), 0)) > 0) {
		if (len > ETH_HLEN && !memcmp(frame + ETH_ALEN, src, ETH_ALEN))
			account(peer, frame, len);
	}
}

void peer_send_from(struct peer *peer, struct ixgbevf *vf, u32 flow, u32 len)
{
	struct peer *sink = vf->context;
	u8 *frame;

	flow %= PEER_FLOWS;
	while (!(frame = ixgbevf_tx_frame(vf, flow % vf->queues)))
		peer_receive(peer, vf->mac, 1);
	test_frame(frame, len, peer->mac, vf->mac, flow, sink->sent[flow]++);
	ixgbevf_send(vf, flow % vf->queues, len);
}

bool peer_alive(struct peer *peer, struct ixgbevf *vf)
{
	u64 deadline = test_now_ms() + TEST_PATIENCE_MS;
	struct peer *sink = vf->context;
	u64 in = sink->frames, out = peer->frames;
	u64 next = 0;
	u32 sent = 0;

	while (test_now_ms() < deadline) {
		/*
		 * The first may go to where the VF was before, or to a driver that resets itself. But
		 * where the wire is slow, all come at once, and a ring has room for so many.
		 */
		if (test_now_ms() >= next) {
			peer_send(peer, vf->mac, 0, 100);
			peer_send_from(peer, vf, 0, 100);
			next = test_now_ms() + (++sent < IXGBEVF_RING_SIZE / 4 ? 1 : 100);
		}
		usleep(1000);
		ixgbevf_poll(vf);
		peer_receive(peer, vf->mac, 0);
		if (sink->frames > in && peer->frames > out)
			return true;
	}
	return false;
}

static u64 sum(const u32 *counts)
{
	u64 total = 0;
	int i;

	for (i = 0; i < PEER_FLOWS; i++)
		total += counts[i];
	return total;
}

bool peer_drain(struct peer *peer, struct ixgbevf *vf, u64 timeout_ms)
{
	u64 deadline = test_now_ms() + timeout_ms;
	struct peer *sink = vf->context;
	struct tpacket_stats stats = {};
	socklen_t len = sizeof(stats);

	while (test_now_ms() < deadline) {
		ixgbevf_poll(vf);
		peer_receive(peer, vf->mac, 0);
		if (!memcmp(sink->received, peer->sent, sizeof(peer->sent)) &&
		    !memcmp(peer->received, sink->sent, sizeof(sink->sent)))
			return true;
	}

	getsockopt(peer->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len);
	printf("# %llu of %llu frames in, %llu of %llu out, %u wait to be sent, %u dropped here\n",
	       (unsigned long long)sum(sink->received), (unsigned long long)sum(peer->sent),
	       (unsigned long long)sum(peer->received), (unsigned long long)sum(sink->sent),
	       ixgbevf_tx_pending(vf, 0), stats.tp_drops);
	return false;
}

/* The peer's frames that lie in the VF's rings. */
static u32 untaken(struct ixgbevf *vf)
{
	u32 count = 0, queue;

	for (queue = 0; queue < vf->queues; queue++) {
		struct ixgbevf_queue_memory *mem = &vf->memory->queue[queue];
		u32 i = vf->rx[queue].next_to_clean;

		while (i != vf->rx[queue].next_to_use &&
		       le64toh(*(volatile __le64 *)&mem->rx_ring[i].hi) & 1) {
			count += !memcmp(mem->rx_buffer[i], vf->mac, ETH_ALEN);
			i = (i + 1) % IXGBEVF_RING_SIZE;
		}
	}
	return count;
}

bool peer_wire_empty(struct peer *peer, struct ixgbevf *vf, u64 timeout_ms)
{
	u64 deadline = test_now_ms() + timeout_ms;
	struct peer *sink = vf->context;

	while (sum(sink->received) + untaken(vf) != sum(peer->sent)) {
		if (test_now_ms() > deadline)
			return false;
		usleep(500);
	}
	return true;
}

bool peer_begin(struct peer *peer, struct ixgbevf *vf)
{
	struct peer *sink = vf->context;

	if (!peer_alive(peer, vf) || !peer_drain(peer, vf, TEST_PATIENCE_MS))
		return false;
	sink->lost = peer->lost = 0;
	return true;
}

void peer_account(struct ixgbevf *vf, int queue, const u8 *frame, u32 len)
{
	struct peer *sink = vf->context;

	/* Broadcasts and the like come in between. */
	if (!memcmp(frame, vf->mac, ETH_ALEN))
		account(sink, frame, len);
}
