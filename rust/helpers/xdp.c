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
	struct xdp_buff *xdp = &x->buff;
	u32 headroom = x->headroom;
	u32 act;

	dma_sync_single_for_cpu(dev, buf.dma, len, DMA_FROM_DEVICE);
	/* A buffer lies in one page. */
	nic_dma_mark(buf.va, sizeof(atomic_t));

	xdp_init_buff(xdp, x->truesize, &x->rxq);
	xdp_prepare_buff(xdp, buf.va, headroom, len, true);
	act = bpf_prog_run_xdp(prog, xdp);
	switch (act) {
	case XDP_PASS:
		out->headroom = xdp->data - xdp->data_hard_start;
		out->len = xdp->data_end - xdp->data;
		out->metasize = xdp->data - xdp->data_meta;
		return NIC_XDP_PASS;
	case XDP_TX:
		out->frame = xdp_convert_buff_to_frame(xdp);
		if (unlikely(!out->frame))
			break;
		out->dma = DMA_MAPPING_ERROR;
		if (likely(x->pool->p.dma_dir == DMA_BIDIRECTIONAL)) {
			out->dma = buf.dma + (xdp->data - (buf.va + headroom));
			dma_sync_single_for_device(dev, out->dma, out->frame->len,
						   DMA_BIDIRECTIONAL);
		}
		return NIC_XDP_TX;
	case XDP_REDIRECT:
		if (likely(!xdp_do_redirect(netdev, xdp, prog)))
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

/*
 * Lets the device read a frame: by the mapping of its page pool where that is this device's and was
 * made for both directions, so that nothing has to be undone and the length comes back as 0; else
 * by one of its own. The address is DMA_MAPPING_ERROR if that fails.
 *
 * The pool's mapping stays as long as the frame has its page and the pool is there, which ends no
 * sooner than the device has been stopped, as for all rings.
 */
struct nic_seg nic_xdp_map(struct device *dev, const struct xdp_frame *frame)
{
	struct nic_seg seg;

	seg.len = frame->len;
	if (likely(frame->mem_type == MEM_TYPE_PAGE_POOL)) {
		const struct page *page = virt_to_page(frame->data);
		const struct page_pool *pool = pp_page_to_nmdesc(page)->pp;

		/* Pools of this device have single pages. */
		if (pool->p.dev == dev && pool->p.dma_dir == DMA_BIDIRECTIONAL) {
			seg.addr = page_pool_get_dma_addr(page) + offset_in_page(frame->data);
			dma_sync_single_for_device(dev, seg.addr, seg.len, DMA_BIDIRECTIONAL);
			seg.len = 0;
			return seg;
		}
	}
	seg.addr = dma_map_single(dev, frame->data, seg.len, DMA_TO_DEVICE);
	if (unlikely(dma_mapping_error(dev, seg.addr)))
		seg.addr = DMA_MAPPING_ERROR;

	return seg;
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
