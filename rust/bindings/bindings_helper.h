/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Headers whose types and functions the network, devlink and VFIO abstractions use and for which
 * the kernel's own rust/bindings either has no definition or only an opaque one.
 *
 * hrtimer_types.h comes first for the reason given in the kernel's rust/bindings/bindings_helper.h:
 * bindgen gives forward-declared enums the wrong type.
 */
#include <linux/hrtimer_types.h>

#include <linux/aer.h>
#include <linux/bpf.h>
#include <linux/bpf_trace.h>
#include <linux/dma-mapping.h>
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/if_vlan.h>
#include <linux/interrupt.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include <net/devlink.h>
#include <net/netdev_queues.h>
#include <net/page_pool/helpers.h>
#include <net/page_pool/types.h>
#include <net/xdp.h>

#include "../../include/linux/ixgbe_migration.h"
#include "../helpers/helpers.h"
#include "../helpers/vfio.h"

/* bindgen cannot evaluate these macros by itself. */
const size_t RUST_CONST_HELPER_NETDEV_PRIV_OFFSET = offsetof(struct net_device, priv);
const size_t RUST_CONST_HELPER_SKB_CSUM_START = offsetof(struct sk_buff, csum_start);
const size_t RUST_CONST_HELPER_SKB_CSUM_OFFSET = offsetof(struct sk_buff, csum_offset);
const size_t RUST_CONST_HELPER_SKB_VLAN_ALL = offsetof(struct sk_buff, vlan_all);
const size_t RUST_CONST_HELPER_SKB_VLAN_TCI = offsetof(struct sk_buff, vlan_tci);
const size_t RUST_CONST_HELPER_SKB_NETWORK_HEADER = offsetof(struct sk_buff, network_header);
const size_t RUST_CONST_HELPER_SKB_PROTOCOL = offsetof(struct sk_buff, protocol);
const u32 RUST_CONST_HELPER_XDP_XMIT_FLUSH = XDP_XMIT_FLUSH;
const u8 RUST_CONST_HELPER_ETH_RSS_HASH_TOP = ETH_RSS_HASH_TOP;
const u32 RUST_CONST_HELPER_SKB_TAILROOM = SKB_DATA_ALIGN(sizeof(struct skb_shared_info));
const u64 RUST_CONST_HELPER_NETIF_F_SG = NETIF_F_SG;
const u64 RUST_CONST_HELPER_NETIF_F_IP_CSUM = NETIF_F_IP_CSUM;
const u64 RUST_CONST_HELPER_NETIF_F_IPV6_CSUM = NETIF_F_IPV6_CSUM;
const u64 RUST_CONST_HELPER_NETIF_F_HW_CSUM = NETIF_F_HW_CSUM;
const u64 RUST_CONST_HELPER_NETIF_F_SCTP_CRC = NETIF_F_SCTP_CRC;
const u64 RUST_CONST_HELPER_NETIF_F_RXCSUM = NETIF_F_RXCSUM;
const u64 RUST_CONST_HELPER_NETIF_F_RXHASH = NETIF_F_RXHASH;
const u64 RUST_CONST_HELPER_NETIF_F_TSO = NETIF_F_TSO;
const u64 RUST_CONST_HELPER_NETIF_F_TSO6 = NETIF_F_TSO6;
const u64 RUST_CONST_HELPER_NETIF_F_TSO_MANGLEID = NETIF_F_TSO_MANGLEID;
const u64 RUST_CONST_HELPER_NETIF_F_GSO_PARTIAL = NETIF_F_GSO_PARTIAL;
const u64 RUST_CONST_HELPER_NETIF_F_GSO_GRE = NETIF_F_GSO_GRE;
const u64 RUST_CONST_HELPER_NETIF_F_GSO_GRE_CSUM = NETIF_F_GSO_GRE_CSUM;
const u64 RUST_CONST_HELPER_NETIF_F_GSO_IPXIP4 = NETIF_F_GSO_IPXIP4;
const u64 RUST_CONST_HELPER_NETIF_F_GSO_IPXIP6 = NETIF_F_GSO_IPXIP6;
const u64 RUST_CONST_HELPER_NETIF_F_GSO_UDP_TUNNEL = NETIF_F_GSO_UDP_TUNNEL;
const u64 RUST_CONST_HELPER_NETIF_F_GSO_UDP_TUNNEL_CSUM = NETIF_F_GSO_UDP_TUNNEL_CSUM;
const u64 RUST_CONST_HELPER_NETIF_F_GSO_UDP_L4 = NETIF_F_GSO_UDP_L4;
const u64 RUST_CONST_HELPER_NETIF_F_HW_VLAN_CTAG_TX = NETIF_F_HW_VLAN_CTAG_TX;
const u64 RUST_CONST_HELPER_NETIF_F_HW_VLAN_CTAG_RX = NETIF_F_HW_VLAN_CTAG_RX;
const u64 RUST_CONST_HELPER_NETIF_F_HW_VLAN_CTAG_FILTER = NETIF_F_HW_VLAN_CTAG_FILTER;
const u64 RUST_CONST_HELPER_NETIF_F_HIGHDMA = NETIF_F_HIGHDMA;
const u64 RUST_CONST_HELPER_NETIF_F_RXALL = NETIF_F_RXALL;
const u64 RUST_CONST_HELPER_NETIF_F_LRO = NETIF_F_LRO;
const u64 RUST_CONST_HELPER_NETIF_F_NTUPLE = NETIF_F_NTUPLE;
const u64 RUST_CONST_HELPER_NETIF_F_GSO_MASK = NETIF_F_GSO_MASK;
