// SPDX-License-Identifier: GPL-2.0
#include <linux/io.h>

#include "helpers.h"

u32 nic_readl(const void __iomem *addr)
{
	return readl(addr);
}

void nic_writel(u32 value, void __iomem *addr)
{
	writel(value, addr);
}

void __iomem *nic_pci_ioremap_bar(struct pci_dev *pdev, int bar)
{
	return pci_ioremap_bar(pdev, bar);
}

void nic_iounmap(void __iomem *addr)
{
	iounmap(addr);
}

void nic_dma_rmb(void)
{
	dma_rmb();
}

void nic_smp_mb(void)
{
	smp_mb();
}
