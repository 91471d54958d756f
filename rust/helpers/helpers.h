/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C side of the abstractions in rust/: inline functions and macros that bindgen cannot see, and the
 * steps of the hot path that would otherwise cost one call per field. Prefix "nic_".
 */
#ifndef _RUST_NIC_HELPERS_H
#define _RUST_NIC_HELPERS_H

#include <linux/bpf.h>
#include <linux/interrupt.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/semaphore.h>
#include <linux/workqueue.h>
#include <net/page_pool/helpers.h>
#include <net/xdp.h>

/* io.c */
u32 nic_readl(const void __iomem *addr);
void nic_writel(u32 value, void __iomem *addr);
void __iomem *nic_pci_ioremap_bar(struct pci_dev *pdev, int bar);
void nic_iounmap(void __iomem *addr);
void nic_dma_rmb(void);
void nic_smp_mb(void);

/* sync.c */
struct nic_sem {
	struct semaphore sem;
};

void nic_sem_init(struct nic_sem *sem);
void nic_sem_lock(struct nic_sem *sem);
bool nic_sem_try_lock(struct nic_sem *sem);
void nic_sem_unlock(struct nic_sem *sem);

/* pci.c */
int nic_pci_irq_vector(struct pci_dev *pdev, unsigned int nr);
int nic_request_irq(unsigned int irq, irq_handler_t handler, unsigned long flags, const char *name,
		    void *data);
irqreturn_t nic_napi_irq(int irq, void *napi);
bool nic_pci_channel_offline(struct pci_dev *pdev);
bool nic_pci_device_is_present(struct pci_dev *pdev);
int nic_pci_vfs_assigned(struct pci_dev *pdev);
struct pci_dev *nic_pci_next_vf(struct pci_dev *pf, struct pci_dev *from, unsigned int *index);
bool nic_pci_vf_in_use(struct pci_dev *vf);
bool nic_pci_root_port_header_log(struct pci_dev *pdev, u32 log[4]);

/* dma.c */
struct nic_seg {
	dma_addr_t addr;
	u32 len;
};

int nic_dma_mapping_error(struct device *dev, dma_addr_t addr);
dma_addr_t nic_dma_map_single(struct device *dev, void *va, size_t len,
			      enum dma_data_direction dir);
void nic_dma_unmap(struct device *dev, dma_addr_t addr, size_t len, enum dma_data_direction dir);
void nic_dma_sync_for_cpu(struct device *dev, dma_addr_t addr, void *va, size_t len,
			  enum dma_data_direction dir);
void nic_dma_sync_for_device(struct device *dev, dma_addr_t addr, size_t len,
			     enum dma_data_direction dir);
bool nic_dma_need_unmap(struct device *dev);
void nic_dma_marking_get(void);
void nic_dma_marking_put(void);
u64 nic_dma_marked_pages(void);
u64 nic_dma_marked_buffers(void);

/* net.c */
void nic_set_netdev_dev(struct net_device *netdev, struct device *parent);
void nic_netif_napi_add(struct net_device *netdev, struct napi_struct *napi,
			int (*poll)(struct napi_struct *, int), u32 index);
void nic_netif_napi_del(struct napi_struct *napi);
void nic_napi_schedule(struct napi_struct *napi);
void nic_napi_set_irq(struct napi_struct *napi, int irq);
void nic_napi_clear_irq(struct napi_struct *napi);
bool nic_netif_running(const struct net_device *netdev);
bool nic_netif_carrier_ok(const struct net_device *netdev);
bool nic_netif_device_present(const struct net_device *netdev);
void nic_carrier_on(struct net_device *netdev);
void nic_netif_tx_start_all_queues(struct net_device *netdev);
void nic_netif_tx_wake_all_queues(struct net_device *netdev);
void nic_netif_tx_disable(struct net_device *netdev);
void nic_eth_hw_addr_set(struct net_device *netdev, const u8 *addr);
void nic_address_changed(struct net_device *netdev);
void nic_set_perm_addr(struct net_device *netdev, const u8 *addr);
void nic_no_shared_skbs(struct net_device *netdev);
struct netdev_queue *nic_tx_queue(struct net_device *netdev, unsigned int queue);
void nic_dev_priv_flags_unicast(struct net_device *netdev);
unsigned int nic_hw_addr_copy(struct netdev_hw_addr_list *list, u8 (*out)[ETH_ALEN],
			      unsigned int max);
void nic_tx_lock(struct net_device *netdev, unsigned int queue);
void nic_tx_unlock(struct net_device *netdev, unsigned int queue);
bool nic_tx_owned(struct net_device *netdev, u16 queue);
void nic_count_tx_dropped(struct net_device *netdev);
bool nic_txq_sent(struct netdev_queue *txq, unsigned int bytes);
void nic_txq_stop(struct netdev_queue *txq);
void nic_txq_start(struct netdev_queue *txq);
bool nic_txq_completed(struct netdev_queue *txq, unsigned int packets, unsigned int bytes,
		       bool room);
void nic_txq_reset(struct netdev_queue *txq);
int nic_set_xps_queue(struct net_device *netdev, u16 queue, unsigned int cpu);
void nic_init_delayed_work(struct delayed_work *work, work_func_t func);
void nic_schedule_work(struct delayed_work *work, unsigned int delay_ms);
void nic_report_leak(struct net_device *netdev);
int nic_send_frame(struct net_device *netdev, const void *frame, unsigned int len);
unsigned int nic_num_online_cpus(void);
void nic_queue_set_napi(struct net_device *netdev, struct napi_struct *napi, unsigned int queue);

/* skb.c */
/* Flags of a received frame. */
#define NIC_RX_HASH_L3 0x01
#define NIC_RX_HASH_L4 0x02
#define NIC_RX_CSUM_OK 0x04
#define NIC_RX_VLAN 0x08
/* Drop multicast that this very interface sent: the hardware's VEPA loop-back does not prune it. */
#define NIC_RX_PRUNE_OWN 0x10

/*
 * What is known of a received frame, in two words that are passed in registers. They are taken
 * apart here and put together in rust/net/skb.rs.
 */
struct nic_rx_meta {
	/* From the lowest bit on: 32 bits RSS hash, 16 VLAN tag, 16 queue. */
	u64 tags;
	/*
	 * 16 from the start of the buffer to the frame, 16 length, 16 bytes of the buffer, 8 of
	 * metadata, 8 NIC_RX_*.
	 */
	u64 place;
};

#define NIC_RX_META_HASH(m) ((u32)(m).tags)
#define NIC_RX_META_VLAN(m) ((u16)((m).tags >> 32))
#define NIC_RX_META_QUEUE(m) ((u16)((m).tags >> 48))
#define NIC_RX_META_HEADROOM(m) ((u16)(m).place)
#define NIC_RX_META_LEN(m) ((u16)((m).place >> 16))
/* Of the whole buffer: a page, or half of one. */
#define NIC_RX_META_TRUESIZE(m) ((u16)((m).place >> 32))
/* In front of the frame. */
#define NIC_RX_META_METASIZE(m) ((u8)((m).place >> 48))
#define NIC_RX_META_FLAGS(m) ((u8)((m).place >> 56))

/*
 * A buffer of a page pool, of which it owns a reference; va is NULL if it is none. Also passed in
 * two registers.
 */
struct nic_rx_buf {
	void *va;
	/* Where the device writes: behind the headroom. */
	dma_addr_t dma;
};

/* Where buffers come from. */
struct nic_rx_pool {
	struct page_pool *pool;
	/* The second half of a page whose first half was taken. */
	struct nic_rx_buf spare;
	u16 headroom;
	u16 truesize;
};

enum nic_rx_result {
	NIC_RX_DELIVERED,
	NIC_RX_PRUNED,
	/* The buffer is still the caller's. */
	NIC_RX_NOMEM,
};

enum nic_rx_result nic_rx_frame(struct napi_struct *napi, struct page_pool *pool,
				struct nic_rx_buf buf, struct nic_rx_meta meta);
enum nic_rx_result nic_rx_passed(struct napi_struct *napi, struct nic_rx_buf buf,
				 struct nic_rx_meta meta);
struct sk_buff *nic_rx_build(struct page_pool *pool, struct nic_rx_buf buf,
			     struct nic_rx_meta meta);
bool nic_rx_add_frag(struct sk_buff *skb, struct page_pool *pool, struct nic_rx_buf buf,
		     struct nic_rx_meta meta);
enum nic_rx_result nic_rx_receive(struct napi_struct *napi, struct sk_buff *skb,
				  struct nic_rx_meta meta);
dma_addr_t nic_tx_map_head(struct device *dev, struct sk_buff *skb);
int nic_tx_map_frag(struct device *dev, struct sk_buff *skb, unsigned int nr, struct nic_seg *seg);
void nic_kfree_skb_any(struct sk_buff *skb, enum skb_drop_reason reason);

struct nic_tso {
	/*
	 * From skb->data to the transport header that is segmented, and to its payload, in bytes.
	 */
	u16 l3_offset;
	u16 l4_offset;
	u16 hdr_len;
	u16 mss;
	u16 segs;
	bool ipv4;
	bool udp;
};

int nic_tso_prepare(struct sk_buff *skb, struct nic_tso *tso);
bool nic_skb_csum_is_sctp(struct sk_buff *skb);
u16 nic_vlan_get_protocol(struct sk_buff *skb);
int nic_skb_put_padto(struct sk_buff *skb, unsigned int len);

/* page_pool.c */
struct page_pool *nic_page_pool_create(struct device *dev, struct napi_struct *napi,
				       struct net_device *netdev, unsigned int queue,
				       unsigned int size, unsigned int offset,
				       unsigned int max_len, bool send_back);
unsigned int nic_rx_pool_fill(struct nic_rx_pool *pool, struct nic_rx_buf *bufs, unsigned int n);
void nic_rx_buf_put(struct nic_rx_buf buf);
void nic_rx_buf_reuse(struct page_pool *pool, struct nic_rx_buf buf, u32 len);

/* xdp.c */
enum nic_xdp_verdict {
	NIC_XDP_PASS,
	NIC_XDP_DROP,
	NIC_XDP_TX,
	NIC_XDP_REDIRECT,
};

/* What a receive queue needs to run programs. */
struct nic_xdp {
	struct xdp_rxq_info rxq;
	struct page_pool *pool;
	/* Of the frame that a program sees now. On the stack the compiler would zero it each time. */
	struct xdp_buff buff;
	u32 headroom;
	u32 truesize;
};

/*
 * Where a program left a frame that it passed, and the frame that it sends back, with where the
 * device reads it; DMA_MAPPING_ERROR if the pool was not made for that.
 */
struct nic_xdp_out {
	u32 headroom;
	u32 len;
	u32 metasize;
	struct xdp_frame *frame;
	dma_addr_t dma;
};

int nic_xdp_rxq_reg(struct nic_xdp *xdp, struct net_device *netdev, u32 queue,
		    struct page_pool *pool);
void nic_xdp_rxq_unreg(struct nic_xdp *xdp);
enum nic_xdp_verdict nic_xdp_run(struct bpf_prog *prog, struct nic_xdp *x, struct nic_rx_buf buf,
				 u32 len, struct nic_xdp_out *out);
struct nic_seg nic_xdp_map(struct device *dev, const struct xdp_frame *frame);
void nic_bpf_prog_inc(struct bpf_prog *prog);
void nic_bpf_prog_put(struct bpf_prog *prog);
void nic_xdp_features_set_redirect_target(struct net_device *netdev, bool on);
int nic_smp_processor_id(void);

#endif /* _RUST_NIC_HELPERS_H */
