/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C side of the abstractions in rust/: inline functions and macros that bindgen cannot see, and the steps of the hot
 * path that would otherwise cost one call per field. Prefix "nic_".
 */
#ifndef _RUST_NIC_HELPERS_H
#define _RUST_NIC_HELPERS_H

#include <linux/netdevice.h>
#include <linux/pci.h>

u32 nic_readl(const void __iomem *addr);
void nic_writel(u32 value, void __iomem *addr);

#endif /* _RUST_NIC_HELPERS_H */
