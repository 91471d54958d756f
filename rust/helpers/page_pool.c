// SPDX-License-Identifier: GPL-2.0
#include <net/page_pool/helpers.h>

#include "dma_mark.h"
#include "helpers.h"

struct page_pool *nic_page_pool_create(struct device *dev, struct napi_struct *napi,
				       struct net_device *netdev, unsigned int queue,
				       unsigned int size, unsigned int offset, unsigned int max_len,
				       bool send_back)
{
	struct page_pool_params params = {
		.flags = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV,
		.pool_size = size,
		.nid = dev_to_node(dev),
		.dev = dev,
		.napi = napi,
		.netdev = netdev,
		.queue_idx = queue,
		/* What a program sends back is sent by the mapping it was received by. */
		.dma_dir = send_back ? DMA_BIDIRECTIONAL : DMA_FROM_DEVICE,
		.offset = offset,
		.max_len = max_len,
	};

	/* PagePool::alloc() reads the address by itself. */
	BUILD_BUG_ON(PAGE_POOL_32BIT_ARCH_WITH_64BIT_DMA);

	return page_pool_create(&params);
}

static __always_inline bool nic_rx_pool_get(struct nic_rx_pool *pool, struct nic_rx_buf *buf,
					    unsigned int share)
{
	netmem_ref netmem = page_pool_alloc_netmems(pool->pool, GFP_ATOMIC | __GFP_NOWARN);
	struct page *page;

	if (unlikely(!netmem))
		return false;
	/* It is a page, without a memory provider. */
	page = __netmem_to_page(netmem);
	if (share != 1)
		page_pool_fragment_page(page, share);
	buf->va = page_address(page);
	buf->dma = page_pool_get_dma_addr(page) + pool->headroom;

	return true;
}

static __always_inline struct nic_rx_buf nic_rx_second_half(struct nic_rx_buf first)
{
	first.va += PAGE_SIZE / 2;
	first.dma += PAGE_SIZE / 2;

	return first;
}

/*
 * Fills the first of n buffers, up to one that is there already, or to the end of memory; returns
 * how many. Where a buffer is half a page, both halves of one are taken together, so that the pool
 * gives and takes once for two: the first of them to come back costs one atomic operation.
 */
unsigned int nic_rx_pool_fill(struct nic_rx_pool *pool, struct nic_rx_buf *bufs, unsigned int n)
{
	struct nic_rx_buf *end = bufs + n, *buf = bufs;

	if (pool->truesize == PAGE_SIZE) {
		while (buf != end && !buf->va && nic_rx_pool_get(pool, buf, 1))
			buf++;
		return buf - bufs;
	}
	if (pool->spare.va && buf != end && !buf->va) {
		*buf++ = pool->spare;
		pool->spare.va = NULL;
	}
	while (buf != end && !buf->va && nic_rx_pool_get(pool, buf, 2)) {
		struct nic_rx_buf second = nic_rx_second_half(*buf++);

		if (unlikely(buf == end || buf->va)) {
			pool->spare = second;
			break;
		}
		*buf++ = second;
	}

	return buf - bufs;
}

/*
 * A posted buffer that goes back without having been received into: the device may have written to
 * it all the same, if it was stopped in the middle of a frame.
 */
void nic_rx_buf_put(struct nic_rx_buf buf)
{
	struct page *page = virt_to_page(buf.va);

	/* The first word of the buffer marks the page. */
	nic_dma_mark(buf.va, sizeof(atomic_t));
	page_pool_put_full_page(pp_page_to_nmdesc(page)->pp, page, false);
}

/* A buffer that was received into and is posted again without leaving the ring. */
void nic_rx_buf_reuse(struct page_pool *pool, struct nic_rx_buf buf, u32 len)
{
	dma_sync_single_for_cpu(pool->p.dev, buf.dma, len, DMA_FROM_DEVICE);
	nic_dma_mark(buf.va, sizeof(atomic_t));
	dma_sync_single_for_device(pool->p.dev, buf.dma, len, DMA_FROM_DEVICE);
}
