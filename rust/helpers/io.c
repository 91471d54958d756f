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
