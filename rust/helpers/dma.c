// SPDX-License-Identifier: GPL-2.0
#include <linux/dma-mapping.h>

#include "dma_mark.h"
#include "helpers.h"

DEFINE_STATIC_KEY_FALSE(nic_dma_mark_key);

static atomic64_t nic_dma_pages;
static atomic64_t nic_dma_buffers;

/*
 * A locked read-modify-write needs write permission even when it changes nothing, so it takes the
 * write fault by which a hypervisor logs the page, and it cannot lose a concurrent write to the
 * same word.
 */
void __nic_dma_mark(void *va, size_t len)
{
	unsigned long addr = ALIGN_DOWN((unsigned long)va, sizeof(atomic_t));
	unsigned long end = (unsigned long)va + len;
	unsigned int pages = 0;

	/*
	 * At addr, then at the first word of every further page: all of them lie in the buffer
	 * itself.
	 */
	while (addr < end) {
		atomic_add(0, (atomic_t *)addr);
		pages++;
		addr = ALIGN_DOWN(addr, PAGE_SIZE) + PAGE_SIZE;
	}
	atomic64_add(pages, &nic_dma_pages);
	atomic64_inc(&nic_dma_buffers);
}

void nic_dma_marking_get(void)
{
	static_branch_inc(&nic_dma_mark_key);
}

void nic_dma_marking_put(void)
{
	static_branch_dec(&nic_dma_mark_key);
}

u64 nic_dma_marked_pages(void)
{
	return atomic64_read(&nic_dma_pages);
}

u64 nic_dma_marked_buffers(void)
{
	return atomic64_read(&nic_dma_buffers);
}

int nic_dma_mapping_error(struct device *dev, dma_addr_t addr)
{
	return dma_mapping_error(dev, addr);
}

dma_addr_t nic_dma_map_single(struct device *dev, void *va, size_t len, enum dma_data_direction dir)
{
	return dma_map_single(dev, va, len, dir);
}

void nic_dma_unmap(struct device *dev, dma_addr_t addr, size_t len, enum dma_data_direction dir)
{
	dma_unmap_single(dev, addr, len, dir);
}

void nic_dma_sync_for_cpu(struct device *dev, dma_addr_t addr, void *va, size_t len,
			  enum dma_data_direction dir)
{
	dma_sync_single_for_cpu(dev, addr, len, dir);
	if (dir != DMA_TO_DEVICE)
		nic_dma_mark(va, len);
}

void nic_dma_sync_for_device(struct device *dev, dma_addr_t addr, size_t len,
			     enum dma_data_direction dir)
{
	dma_sync_single_for_device(dev, addr, len, dir);
}

bool nic_dma_need_unmap(struct device *dev)
{
	return dma_need_unmap(dev);
}
