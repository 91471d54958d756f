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

/* A buffer lies in one page, so that any word of it marks what the device has written. */
static __always_inline void nic_rx_sync(struct page_pool *pool, struct nic_rx_buf buf, u32 len)
{
	dma_sync_single_for_cpu(pool->p.dev, buf.dma, len, DMA_FROM_DEVICE);
	nic_dma_mark(buf.va, sizeof(atomic_t));
}

/*
 * A socket buffer around a buffer of the pool, whose reference it takes over; NULL if there is no
 * memory.
 */
static __always_inline struct sk_buff *nic_rx_wrap(struct nic_rx_buf buf, struct nic_rx_meta meta)
{
	const u32 headroom = NIC_RX_META_HEADROOM(meta), len = NIC_RX_META_LEN(meta);
	struct sk_buff *skb;

	net_prefetch(buf.va + headroom);
	skb = napi_build_skb(buf.va, NIC_RX_META_TRUESIZE(meta));
	if (unlikely(!skb))
		return NULL;
	skb_mark_for_recycle(skb);
	/* skb_reserve() and __skb_put() of a frame that was empty. */
	skb->data += headroom;
	skb->tail += headroom + len;
	skb->len = len;

	return skb;
}

static __always_inline enum nic_rx_result nic_rx_deliver(struct napi_struct *napi,
							 struct sk_buff *skb,
							 struct nic_rx_meta meta)
{
	struct net_device *netdev = napi->dev;
	const u8 flags = NIC_RX_META_FLAGS(meta);

	skb_record_rx_queue(skb, NIC_RX_META_QUEUE(meta));
	if (flags & (NIC_RX_HASH_L3 | NIC_RX_HASH_L4))
		__skb_set_hash(skb, NIC_RX_META_HASH(meta), false, flags & NIC_RX_HASH_L4);
	if (flags & NIC_RX_CSUM_OK)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	if (flags & NIC_RX_VLAN)
		__vlan_hwaccel_put_tag(skb, htons(ETH_P_8021Q), NIC_RX_META_VLAN(meta));
	skb->protocol = eth_type_trans(skb, netdev);
	if (unlikely((flags & NIC_RX_PRUNE_OWN) &&
		     (skb->pkt_type == PACKET_BROADCAST || skb->pkt_type == PACKET_MULTICAST) &&
		     ether_addr_equal(netdev->dev_addr, eth_hdr(skb)->h_source))) {
		dev_kfree_skb_any_reason(skb, SKB_DROP_REASON_OTHERHOST);
		return NIC_RX_PRUNED;
	}
	napi_gro_receive(napi, skb);

	return NIC_RX_DELIVERED;
}

/*
 * A frame in one buffer, from the ring to the stack. Takes over the buffer unless there is no
 * memory. All that happens to a frame is in one function, and what it is told comes in registers:
 * each function that a frame is handed through costs what saves and restores them.
 */
enum nic_rx_result nic_rx_frame(struct napi_struct *napi, struct page_pool *pool,
				struct nic_rx_buf buf, struct nic_rx_meta meta)
{
	struct sk_buff *skb;

	nic_rx_sync(pool, buf, NIC_RX_META_LEN(meta));
	skb = nic_rx_wrap(buf, meta);
	if (unlikely(!skb))
		return NIC_RX_NOMEM;

	return nic_rx_deliver(napi, skb, meta);
}

/* The same for one that an XDP program has seen, so that it is the CPU's already. */
enum nic_rx_result nic_rx_passed(struct napi_struct *napi, struct nic_rx_buf buf,
				 struct nic_rx_meta meta)
{
	struct sk_buff *skb = nic_rx_wrap(buf, meta);

	if (unlikely(!skb))
		return NIC_RX_NOMEM;
	if (NIC_RX_META_METASIZE(meta))
		skb_metadata_set(skb, NIC_RX_META_METASIZE(meta));

	return nic_rx_deliver(napi, skb, meta);
}

/* The first buffer of a frame that has several. Takes over the buffer if it succeeds. */
struct sk_buff *nic_rx_build(struct page_pool *pool, struct nic_rx_buf buf, struct nic_rx_meta meta)
{
	nic_rx_sync(pool, buf, NIC_RX_META_LEN(meta));

	return nic_rx_wrap(buf, meta);
}

/* A further one. Takes over the buffer if it succeeds. */
bool nic_rx_add_frag(struct sk_buff *skb, struct page_pool *pool, struct nic_rx_buf buf,
		     struct nic_rx_meta meta)
{
	nic_rx_sync(pool, buf, NIC_RX_META_LEN(meta));
	if (unlikely(skb_shinfo(skb)->nr_frags >= MAX_SKB_FRAGS))
		return false;
	skb_add_rx_frag(skb, skb_shinfo(skb)->nr_frags, virt_to_page(buf.va),
			offset_in_page(buf.va) + NIC_RX_META_HEADROOM(meta), NIC_RX_META_LEN(meta),
			NIC_RX_META_TRUESIZE(meta));

	return true;
}

/* Hands a frame of several buffers to the stack. */
enum nic_rx_result nic_rx_receive(struct napi_struct *napi, struct sk_buff *skb,
				  struct nic_rx_meta meta)
{
	return nic_rx_deliver(napi, skb, meta);
}

/* Maps the linear part, the last step before a frame is sent; DMA_MAPPING_ERROR if it cannot. */
dma_addr_t nic_tx_map_head(struct device *dev, struct sk_buff *skb)
{
	dma_addr_t addr;

	skb_tx_timestamp(skb);
	addr = dma_map_single(dev, skb->data, skb_headlen(skb), DMA_TO_DEVICE);

	/* The DMA API wants to be asked; it costs what the comparison would. */
	return unlikely(dma_mapping_error(dev, addr)) ? DMA_MAPPING_ERROR : addr;
}

int nic_tx_map_frag(struct device *dev, struct sk_buff *skb, unsigned int nr, struct nic_seg *seg)
{
	const skb_frag_t *frag = &skb_shinfo(skb)->frags[nr];

	seg->len = skb_frag_size(frag);
	seg->addr = skb_frag_dma_map(dev, frag, 0, seg->len, DMA_TO_DEVICE);

	return dma_mapping_error(dev, seg->addr);
}

void nic_kfree_skb_any(struct sk_buff *skb, enum skb_drop_reason reason)
{
	dev_kfree_skb_any_reason(skb, reason);
}

/*
 * Prepares the headers of a GSO frame for a device that computes lengths and checksums of each
 * segment by itself: clears the IP length, takes the payload length out of the pseudo-header
 * checksum. As in ixgbe_tso() of drivers/net/ethernet/intel/ixgbe/ixgbe_main.c.
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
	unsigned int l4_len;
	u32 paylen;
	int err;

	if (!skb_is_gso(skb) || skb->ip_summed != CHECKSUM_PARTIAL)
		return -EINVAL;
	err = skb_cow_head(skb, 0);
	if (err < 0)
		return err;

	if (eth_p_mpls(vlan_get_protocol(skb)))
		ip.hdr = skb_inner_network_header(skb);
	else
		ip.hdr = skb_network_header(skb);
	l4.hdr = skb_checksum_start(skb);
	tso->udp = !!(skb_shinfo(skb)->gso_type & SKB_GSO_UDP_L4);
	l4_len = tso->udp ? sizeof(*l4.udp) : sizeof(*l4.tcp);
	/* What is written below is in the linear part, whoever made the frame. */
	if (ip.hdr < skb->data || l4.hdr < ip.hdr + sizeof(*ip.v4) ||
	    l4.hdr + l4_len > skb_tail_pointer(skb))
		return -EINVAL;

	tso->ipv4 = ip.v4->version == 4;
	if (tso->ipv4) {
		unsigned char *trans_start = ip.hdr + (ip.v4->ihl * 4);
		int len = l4.hdr - trans_start;

		if (len < 0)
			return -EINVAL;
		/*
		 * The device adds what it computes for the outer header, so give it the reverse of
		 * the rest.
		 */
		ip.v4->check = (skb_shinfo(skb)->gso_type & SKB_GSO_PARTIAL) ?
			csum_fold(csum_partial(trans_start, len, 0)) : 0;
		ip.v4->tot_len = 0;
	} else {
		ip.v6->payload_len = 0;
	}

	tso->l3_offset = ip.hdr - skb->data;
	tso->l4_offset = l4.hdr - skb->data;
	paylen = skb->len - tso->l4_offset;
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

/* Frees the skb on failure, like skb_put_padto(). */
int nic_skb_put_padto(struct sk_buff *skb, unsigned int len)
{
	return skb_put_padto(skb, len);
}
