/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The page-marking hook of the streaming-DMA abstraction, see rust/dma/mark.rs.
 *
 * Every helper that hands a from-device buffer to the CPU calls nic_dma_mark() on the bytes that
 * the device may have written. While marking is off this is one static branch.
 */
#ifndef _RUST_NIC_DMA_MARK_H
#define _RUST_NIC_DMA_MARK_H

#include <linux/jump_label.h>

DECLARE_STATIC_KEY_FALSE(nic_dma_mark_key);

void __nic_dma_mark(void *va, size_t len);

static __always_inline void nic_dma_mark(void *va, size_t len)
{
	if (static_branch_unlikely(&nic_dma_mark_key))
		__nic_dma_mark(va, len);
}

#endif /* _RUST_NIC_DMA_MARK_H */
