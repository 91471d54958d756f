// SPDX-License-Identifier: GPL-2.0
/* The shortest XDP program, so that what is measured is the driver. */
#define XDP_DROP 1

__attribute__((section("xdp"), used)) int drop(void *ctx)
{
	return XDP_DROP;
}
