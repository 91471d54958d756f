// SPDX-License-Identifier: GPL-2.0
#include <net/page_pool/helpers.h>

#include "dma_mark.h"
#include "helpers.h"

struct page_pool *nic_page_pool_create(struct device *dev, struct napi_struct *napi, struct net_device *netdev,
				       unsigned int queue, unsigned int size, unsigned int offset,
				       unsigned int max_len)
{
	struct page_pool_params params = {
		.flags = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV,
		.pool_size = size,
		.nid = dev_to_node(dev),
		.dev = dev,
		.napi = napi,
		.netdev = netdev,
		.queue_idx = queue,
		.dma_dir = DMA_FROM_DEVICE,
		.offset = offset,
		.max_len = max_len,
	};

	/* PagePool::alloc() reads the address by itself. */
	BUILD_BUG_ON(PAGE_POOL_32BIT_ARCH_WITH_64BIT_DMA);

	return page_pool_create(&params);
}

/*
 * A posted buffer that goes back without having been received into: the device may have written to it all the same,
 * if it was stopped in the middle of a frame.
 */
void nic_page_pool_put(struct page *page, u32 offset, u32 len)
{
	nic_dma_mark(page_address(page) + offset, len);
	page_pool_put_full_page(pp_page_to_nmdesc(page)->pp, page, false);
}

/* A buffer that was received into and is posted again without leaving the ring. */
void nic_page_pool_reuse(struct page_pool *pool, struct page *page, u32 offset, u32 len)
{
	dma_sync_single_range_for_cpu(pool->p.dev, page_pool_get_dma_addr(page), offset, len, DMA_FROM_DEVICE);
	nic_dma_mark(page_address(page) + offset, len);
	dma_sync_single_range_for_device(pool->p.dev, page_pool_get_dma_addr(page), offset, len, DMA_FROM_DEVICE);
}
