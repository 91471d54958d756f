// SPDX-License-Identifier: GPL-2.0
/*
 * The shortest XDP programs, so that what is measured is the driver: they do the same with every
 * frame, by default drop it. 16 more swaps its addresses before, so that it goes back to who sent it.
 */
#ifndef VERDICT
#define VERDICT 1 /* XDP_DROP */
#endif

#define SWAP 16
#define XDP_REDIRECT 4

/* As in include/uapi/linux/bpf.h, which machines need not have. */
struct xdp_md {
	unsigned int data;
	unsigned int data_end;
	unsigned int data_meta;
	unsigned int ingress_ifindex;
};

static long (*const bpf_redirect)(unsigned int ifindex, unsigned long long flags) = (void *)23;

__attribute__((section("xdp"), used)) int verdict(struct xdp_md *ctx)
{
#if VERDICT & SWAP
	unsigned short *frame = (void *)(unsigned long)ctx->data;
	int i;

	if (frame + 6 > (unsigned short *)(unsigned long)ctx->data_end)
		return 1;
#pragma clang loop unroll(full)
	for (i = 0; i < 3; i++) {
		unsigned short to = frame[i];

		frame[i] = frame[i + 3];
		frame[i + 3] = to;
	}
#endif
	if ((VERDICT & ~SWAP) == XDP_REDIRECT)
		return bpf_redirect(ctx->ingress_ifindex, 0);
	return VERDICT & ~SWAP;
}
