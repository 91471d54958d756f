// SPDX-License-Identifier: GPL-2.0
#include <net/page_pool/helpers.h>

#include "dma_mark.h"
#include "helpers.h"

struct page_pool *nic_page_pool_create(struct device *dev, struct napi_struct *napi, struct net_device *netdev,
				       unsigned int queue, unsigned int size, unsigned int offset,
				       unsigned int max_len, bool bidirectional)
{
	struct page_pool_params params = {
		.flags = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV,
		.pool_size = size,
		.nid = dev_to_node(dev),
		.dev = dev,
		.napi = napi,
		.netdev = netdev,
		.queue_idx = queue,
		.dma_dir = bidirectional ? DMA_BIDIRECTIONAL : DMA_FROM_DEVICE,
		.offset = offset,
		.max_len = max_len,
	};

	return page_pool_create(&params);
}

struct page *nic_page_pool_alloc(struct page_pool *pool, u32 *offset, u32 size, dma_addr_t *dma)
{
	struct page *page;

	if (size > PAGE_SIZE / 2) {
		page = page_pool_dev_alloc_pages(pool);
		*offset = 0;
	} else {
		page = page_pool_dev_alloc_frag(pool, offset, size);
	}
	if (likely(page))
		*dma = page_pool_get_dma_addr(page) + *offset;

	return page;
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

void nic_page_pool_sync(struct page_pool *pool, struct page *page, u32 offset, u32 len)
{
	dma_sync_single_range_for_cpu(pool->p.dev, page_pool_get_dma_addr(page), offset, len,
				      page_pool_get_dma_dir(pool));
	nic_dma_mark(page_address(page) + offset, len);
}

void *nic_page_va(struct page *page)
{
	return page_address(page);
}
