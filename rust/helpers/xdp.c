// SPDX-License-Identifier: GPL-2.0
#include <linux/bpf_trace.h>
#include <linux/filter.h>
#include <net/page_pool/helpers.h>
#include <net/xdp.h>

#include "dma_mark.h"
#include "helpers.h"

int nic_xdp_rxq_reg(struct nic_xdp *xdp, struct net_device *netdev, u32 queue,
		    struct page_pool *pool)
{
	int err = xdp_rxq_info_reg(&xdp->rxq, netdev, queue, 0);

	if (err)
		return err;
	xdp->pool = pool;
	err = xdp_rxq_info_reg_mem_model(&xdp->rxq, MEM_TYPE_PAGE_POOL, pool);
	if (err)
		xdp_rxq_info_unreg(&xdp->rxq);

	return err;
}

void nic_xdp_rxq_unreg(struct nic_xdp *xdp)
{
	xdp_rxq_info_unreg(&xdp->rxq);
}

/*
 * Runs the program on a received buffer. After PASS, out says where the frame now lies; after TX,
 * out->frame owns the buffer; after REDIRECT the buffer is gone. After DROP it is still the
 * caller's, and ready to be posted again.
 */
enum nic_xdp_verdict nic_xdp_run(struct bpf_prog *prog, struct nic_xdp *x, struct nic_rx_buf buf,
				 u32 len, struct nic_xdp_out *out)
{
	struct net_device *netdev = x->rxq.dev;
	struct device *dev = x->pool->p.dev;
	u32 headroom = x->headroom;
	struct xdp_buff xdp;
	u32 act;

	dma_sync_single_for_cpu(dev, buf.dma, len, DMA_FROM_DEVICE);
	/* A buffer lies in one page. */
	nic_dma_mark(buf.va, sizeof(atomic_t));

	xdp_init_buff(&xdp, x->truesize, &x->rxq);
	xdp_prepare_buff(&xdp, buf.va, headroom, len, true);
	act = bpf_prog_run_xdp(prog, &xdp);
	switch (act) {
	case XDP_PASS:
		out->headroom = xdp.data - xdp.data_hard_start;
		out->len = xdp.data_end - xdp.data;
		out->metasize = xdp.data - xdp.data_meta;
		return NIC_XDP_PASS;
	case XDP_TX:
		out->frame = xdp_convert_buff_to_frame(&xdp);
		if (likely(out->frame))
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
	/* The program may have written anywhere in the frame's buffer. */
	dma_sync_single_for_device(dev, buf.dma - headroom, x->truesize, DMA_FROM_DEVICE);

	return NIC_XDP_DROP;
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
