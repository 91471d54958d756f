// SPDX-License-Identifier: GPL-2.0
#include <linux/bpf_trace.h>
#include <linux/filter.h>
#include <net/page_pool/helpers.h>
#include <net/xdp.h>

#include "dma_mark.h"
#include "helpers.h"

int nic_xdp_rxq_reg(struct xdp_rxq_info *rxq, struct net_device *netdev, u32 queue, struct page_pool *pool)
{
	int err = xdp_rxq_info_reg(rxq, netdev, queue, 0);

	if (err)
		return err;
	err = xdp_rxq_info_reg_mem_model(rxq, MEM_TYPE_PAGE_POOL, pool);
	if (err)
		xdp_rxq_info_unreg(rxq);

	return err;
}

/*
 * Runs the program on a received buffer. Unless it says PASS the page reference is gone. For TX *frame owns the page;
 * for PASS out says where the frame now lies, offset being that of the data in the page.
 */
enum nic_xdp_verdict nic_xdp_run(struct bpf_prog *prog, struct xdp_rxq_info *rxq, struct net_device *netdev,
				 struct page_pool *pool, struct page *page, u32 offset, u32 headroom, u32 len,
				 u32 truesize, struct nic_xdp_pass *out, struct xdp_frame **frame)
{
	void *va = page_address(page) + offset;
	struct xdp_buff xdp;
	u32 act;

	dma_sync_single_range_for_cpu(pool->p.dev, page_pool_get_dma_addr(page), offset + headroom, len,
				      page_pool_get_dma_dir(pool));
	nic_dma_mark(va + headroom, len);

	xdp_init_buff(&xdp, truesize, rxq);
	xdp_prepare_buff(&xdp, va, headroom, len, true);
	act = bpf_prog_run_xdp(prog, &xdp);
	switch (act) {
	case XDP_PASS:
		out->headroom = xdp.data - xdp.data_hard_start;
		out->len = xdp.data_end - xdp.data;
		out->metasize = xdp.data - xdp.data_meta;
		return NIC_XDP_PASS;
	case XDP_TX:
		*frame = xdp_convert_buff_to_frame(&xdp);
		if (likely(*frame))
			return NIC_XDP_TX;
		break;
	case XDP_REDIRECT:
		if (likely(!xdp_do_redirect(netdev, &xdp, prog)))
			return NIC_XDP_REDIRECT;
		break;
	case XDP_DROP:
		goto drop;
	default:
		bpf_warn_invalid_xdp_action(netdev, prog, act);
		fallthrough;
	case XDP_ABORTED:
		break;
	}
	trace_xdp_exception(netdev, prog, act);
drop:
	page_pool_put_full_page(pool, page, true);

	return NIC_XDP_DROP;
}

/* As nic_rx_build(), for a frame that a program has passed and that is synchronised already. */
struct sk_buff *nic_xdp_build(struct page *page, u32 offset, u32 headroom, u32 len, u32 metasize, u32 truesize)
{
	struct sk_buff *skb = napi_build_skb(page_address(page) + offset, truesize);

	if (unlikely(!skb))
		return NULL;
	skb_mark_for_recycle(skb);
	skb_reserve(skb, headroom);
	__skb_put(skb, len);
	if (metasize)
		skb_metadata_set(skb, metasize);

	return skb;
}

void nic_bpf_prog_inc(struct bpf_prog *prog)
{
	bpf_prog_inc(prog);
}

void nic_bpf_prog_put(struct bpf_prog *prog)
{
	bpf_prog_put(prog);
}

void nic_xdp_features_set_redirect_target(struct net_device *netdev, bool on)
{
	if (on)
		xdp_features_set_redirect_target(netdev, false);
	else
		xdp_features_clear_redirect_target(netdev);
}

int nic_smp_processor_id(void)
{
	return smp_processor_id();
}
