// SPDX-License-Identifier: GPL-2.0
/* The shortest XDP program, so that what is measured is the driver: it does the same with every frame, by default drop it. */
#ifndef VERDICT
#define VERDICT 1 /* XDP_DROP */
#endif

__attribute__((section("xdp"), used)) int verdict(void *ctx)
{
	return VERDICT;
}
