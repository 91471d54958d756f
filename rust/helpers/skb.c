// SPDX-License-Identifier: GPL-2.0
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/gro.h>
#include <net/mpls.h>
#include <net/page_pool/helpers.h>

#include "dma_mark.h"
#include "helpers.h"

static __always_inline void nic_rx_sync(struct page_pool *pool, struct page *page, void *va, u32 offset, u32 len)
{
	dma_sync_single_range_for_cpu(pool->p.dev, page_pool_get_dma_addr(page), offset, len,
				      page_pool_get_dma_dir(pool));
	nic_dma_mark(va, len);
}

/* Takes over the page reference if it succeeds; it leaves it with the caller, synced, if not. */
struct sk_buff *nic_rx_build(struct page_pool *pool, struct page *page, u32 offset, u32 headroom, u32 len,
			     u32 truesize)
{
	void *va = page_address(page) + offset;
	struct sk_buff *skb;

	BUILD_BUG_ON(NIC_SKB_PAD != NET_SKB_PAD);
	nic_rx_sync(pool, page, va + headroom, offset + headroom, len);
	net_prefetch(va + headroom);
	skb = napi_build_skb(va, truesize);
	if (unlikely(!skb))
		return NULL;
	skb_mark_for_recycle(skb);
	skb_reserve(skb, headroom);
	__skb_put(skb, len);

	return skb;
}

/* Takes over the page reference if it succeeds. */
bool nic_rx_add_frag(struct sk_buff *skb, struct page_pool *pool, struct page *page, u32 offset, u32 len, u32 truesize)
{
	nic_rx_sync(pool, page, page_address(page) + offset, offset, len);
	if (unlikely(skb_shinfo(skb)->nr_frags >= MAX_SKB_FRAGS))
		return false;
	skb_add_rx_frag(skb, skb_shinfo(skb)->nr_frags, page, offset, len, truesize);

	return true;
}

/* Consumes the skb. Returns false if the frame was dropped rather than delivered. */
bool nic_rx_receive(struct napi_struct *napi, struct sk_buff *skb, struct net_device *netdev,
		    const struct nic_rx_meta *meta)
{
	skb_record_rx_queue(skb, meta->queue);
	if (meta->hash_type)
		skb_set_hash(skb, meta->hash, meta->hash_type);
	if (meta->csum_ok)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	if (meta->vlan)
		__vlan_hwaccel_put_tag(skb, htons(ETH_P_8021Q), meta->vlan_tci);
	skb->protocol = eth_type_trans(skb, netdev);
	if (unlikely(meta->prune_own &&
		     (skb->pkt_type == PACKET_BROADCAST || skb->pkt_type == PACKET_MULTICAST) &&
		     ether_addr_equal(netdev->dev_addr, eth_hdr(skb)->h_source))) {
		dev_kfree_skb_any_reason(skb, SKB_DROP_REASON_OTHERHOST);
		return false;
	}
	napi_gro_receive(napi, skb);

	return true;
}

/*
 * Maps the linear part and every fragment; segs has room for MAX_SKB_FRAGS + 1. On failure nothing stays mapped.
 */
int nic_tx_map(struct device *dev, struct sk_buff *skb, struct nic_seg *segs)
{
	unsigned int i, nr = skb_shinfo(skb)->nr_frags;
	u32 len = skb_headlen(skb);
	dma_addr_t dma;

	dma = dma_map_single(dev, skb->data, len, DMA_TO_DEVICE);
	if (unlikely(dma_mapping_error(dev, dma)))
		return -ENOMEM;
	segs[0].addr = dma;
	segs[0].len = len;

	for (i = 0; i < nr; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		len = skb_frag_size(frag);
		dma = skb_frag_dma_map(dev, frag, 0, len, DMA_TO_DEVICE);
		if (unlikely(dma_mapping_error(dev, dma)))
			goto unmap;
		segs[i + 1].addr = dma;
		segs[i + 1].len = len;
	}
	skb_tx_timestamp(skb);

	return nr + 1;

unmap:
	for (; i > 0; i--)
		dma_unmap_page(dev, segs[i].addr, segs[i].len, DMA_TO_DEVICE);
	dma_unmap_single(dev, segs[0].addr, segs[0].len, DMA_TO_DEVICE);

	return -ENOMEM;
}

void nic_tx_unmap(struct device *dev, dma_addr_t addr, u32 len)
{
	dma_unmap_page(dev, addr, len, DMA_TO_DEVICE);
}

void nic_tx_complete(struct device *dev, struct sk_buff *skb, dma_addr_t addr, u32 len, int budget)
{
	dma_unmap_single(dev, addr, len, DMA_TO_DEVICE);
	napi_consume_skb(skb, budget);
}

void nic_kfree_skb_any(struct sk_buff *skb, enum skb_drop_reason reason)
{
	dev_kfree_skb_any_reason(skb, reason);
}

/*
 * Prepares the headers of a GSO frame for a device that computes lengths and checksums of each segment by itself: clears
 * the IP length, takes the payload length out of the pseudo-header checksum. As in ixgbe_tso() of
 * drivers/net/ethernet/intel/ixgbe/ixgbe_main.c.
 */
int nic_tso_prepare(struct sk_buff *skb, struct nic_tso *tso)
{
	union {
		struct iphdr *v4;
		struct ipv6hdr *v6;
		unsigned char *hdr;
	} ip;
	union {
		struct tcphdr *tcp;
		struct udphdr *udp;
		unsigned char *hdr;
	} l4;
	u32 paylen;
	int err;

	err = skb_cow_head(skb, 0);
	if (err < 0)
		return err;

	if (eth_p_mpls(vlan_get_protocol(skb)))
		ip.hdr = skb_inner_network_header(skb);
	else
		ip.hdr = skb_network_header(skb);
	l4.hdr = skb_checksum_start(skb);

	tso->ipv4 = ip.v4->version == 4;
	if (tso->ipv4) {
		unsigned char *trans_start = ip.hdr + (ip.v4->ihl * 4);
		int len = l4.hdr - trans_start;

		/* The device adds what it computes for the outer header, so give it the reverse of the rest. */
		ip.v4->check = (skb_shinfo(skb)->gso_type & SKB_GSO_PARTIAL) ?
			csum_fold(csum_partial(trans_start, len, 0)) : 0;
		ip.v4->tot_len = 0;
	} else {
		ip.v6->payload_len = 0;
	}

	tso->l3_offset = ip.hdr - skb->data;
	tso->l4_offset = l4.hdr - skb->data;
	paylen = skb->len - tso->l4_offset;
	tso->udp = !!(skb_shinfo(skb)->gso_type & SKB_GSO_UDP_L4);
	if (tso->udp) {
		tso->hdr_len = sizeof(*l4.udp) + tso->l4_offset;
		csum_replace_by_diff(&l4.udp->check, (__force __wsum)htonl(paylen));
	} else {
		tso->hdr_len = l4.tcp->doff * 4 + tso->l4_offset;
		csum_replace_by_diff(&l4.tcp->check, (__force __wsum)htonl(paylen));
	}
	tso->mss = skb_shinfo(skb)->gso_size;
	tso->segs = skb_shinfo(skb)->gso_segs;

	return 0;
}

bool nic_skb_csum_is_sctp(struct sk_buff *skb)
{
	return skb_csum_is_sctp(skb);
}

u16 nic_vlan_get_protocol(struct sk_buff *skb)
{
	return ntohs(vlan_get_protocol(skb));
}

/* Transport protocol of an IPv4 or IPv6 frame without extension headers; 0 if it is neither. */
u8 nic_skb_l4_proto(struct sk_buff *skb)
{
	switch (vlan_get_protocol(skb)) {
	case htons(ETH_P_IP):
		return ip_hdr(skb)->protocol;
	case htons(ETH_P_IPV6):
		return ipv6_hdr(skb)->nexthdr;
	default:
		return 0;
	}
}

/* Frees the skb on failure, like skb_put_padto(). */
int nic_skb_put_padto(struct sk_buff *skb, unsigned int len)
{
	return skb_put_padto(skb, len);
}
