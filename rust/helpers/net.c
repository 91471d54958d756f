// SPDX-License-Identifier: GPL-2.0
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <net/netdev_queues.h>

#include "helpers.h"

void nic_set_netdev_dev(struct net_device *netdev, struct device *parent)
{
	SET_NETDEV_DEV(netdev, parent);
}

/* With a place among the device's persistent settings, where it has one of that index. */
void nic_netif_napi_add(struct net_device *netdev, struct napi_struct *napi,
			int (*poll)(struct napi_struct *, int), u32 index)
{
	if (index < netdev->num_napi_configs)
		netif_napi_add_config(netdev, napi, poll, index);
	else
		netif_napi_add(netdev, napi, poll);
}

void nic_netif_napi_del(struct napi_struct *napi)
{
	netif_napi_del(napi);
}

void nic_napi_schedule(struct napi_struct *napi)
{
	napi_schedule(napi);
}

void nic_napi_set_irq(struct napi_struct *napi, int irq)
{
	netif_napi_set_irq(napi, irq);
}

void nic_napi_clear_irq(struct napi_struct *napi)
{
	netif_napi_set_irq(napi, -1);
}

bool nic_netif_running(const struct net_device *netdev)
{
	return netif_running(netdev);
}

bool nic_netif_carrier_ok(const struct net_device *netdev)
{
	return netif_carrier_ok(netdev);
}

bool nic_netif_device_present(const struct net_device *netdev)
{
	return netif_device_present(netdev);
}

void nic_carrier_on(struct net_device *netdev)
{
	netif_carrier_on(netdev);
	if (netif_device_present(netdev))
		netif_tx_wake_all_queues(netdev);
}

void nic_netif_tx_start_all_queues(struct net_device *netdev)
{
	netif_tx_start_all_queues(netdev);
}

void nic_netif_tx_wake_all_queues(struct net_device *netdev)
{
	netif_tx_wake_all_queues(netdev);
}

void nic_netif_tx_disable(struct net_device *netdev)
{
	netif_tx_disable(netdev);
}

void nic_eth_hw_addr_set(struct net_device *netdev, const u8 *addr)
{
	eth_hw_addr_set(netdev, addr);
}

void nic_address_changed(struct net_device *netdev)
{
	call_netdevice_notifiers(NETDEV_CHANGEADDR, netdev);
}

void nic_set_perm_addr(struct net_device *netdev, const u8 *addr)
{
	ether_addr_copy(netdev->perm_addr, addr);
}

/* No pktgen frames that are in the ring several times: who owns a frame may write to it. */
void nic_no_shared_skbs(struct net_device *netdev)
{
	netdev->priv_flags &= ~IFF_TX_SKB_SHARING;
}

void nic_dev_priv_flags_unicast(struct net_device *netdev)
{
	netdev->priv_flags |= IFF_UNICAST_FLT;
}

/* Returns the number of addresses in the list, of which at most max were copied. */
unsigned int nic_hw_addr_copy(struct netdev_hw_addr_list *list, u8 (*out)[ETH_ALEN],
			      unsigned int max)
{
	struct netdev_hw_addr *ha;
	unsigned int n = 0;

	netdev_hw_addr_list_for_each(ha, list) {
		if (n < max)
			ether_addr_copy(out[n], ha->addr);
		n++;
	}

	return n;
}

void nic_tx_lock(struct net_device *netdev, unsigned int queue)
{
	__netif_tx_lock_bh(netdev_get_tx_queue(netdev, queue));
}

void nic_tx_unlock(struct net_device *netdev, unsigned int queue)
{
	__netif_tx_unlock_bh(netdev_get_tx_queue(netdev, queue));
}

/* Whether the queue exists and this CPU holds its lock; with bottom halves off. */
bool nic_tx_owned(struct net_device *netdev, u16 queue)
{
	return likely(queue < netdev->num_tx_queues) &&
	       likely(netif_tx_owned(netdev_get_tx_queue(netdev, queue), smp_processor_id()));
}

void nic_count_tx_dropped(struct net_device *netdev)
{
	dev_core_stats_tx_dropped_inc(netdev);
}

struct netdev_queue *nic_tx_queue(struct net_device *netdev, unsigned int queue)
{
	return queue < netdev->num_tx_queues ? netdev_get_tx_queue(netdev, queue) : NULL;
}

/* Returns whether the doorbell must be rung now. */
bool nic_txq_sent(struct netdev_queue *txq, unsigned int bytes)
{
	return __netdev_tx_sent_queue(txq, bytes, netdev_xmit_more());
}

void nic_txq_stop(struct netdev_queue *txq)
{
	netif_tx_stop_queue(txq);
	/*
	 * Pairs with the barrier in nic_txq_completed(): stop, then look at the free descriptors
	 * again.
	 */
	smp_mb();
}

void nic_txq_start(struct netdev_queue *txq)
{
	netif_tx_start_queue(txq);
}

/*
 * Accounts for what is done, and wakes the queue if it was stopped and there is room now; after the
 * descriptors were freed. Returns whether it did.
 */
bool nic_txq_completed(struct netdev_queue *txq, unsigned int packets, unsigned int bytes,
		       bool room)
{
	/* With a barrier: whoever stops the queue after this sees the new next_to_clean. */
	netdev_txq_completed_mb(txq, packets, bytes);
	if (likely(!netif_tx_queue_stopped(txq)) || !room || !netif_carrier_ok(txq->dev))
		return false;
	netif_tx_wake_queue(txq);

	return true;
}

void nic_txq_reset(struct netdev_queue *txq)
{
	netdev_tx_reset_queue(txq);
}

int nic_set_xps_queue(struct net_device *netdev, u16 queue, unsigned int cpu)
{
	if (cpu >= nr_cpu_ids)
		return -EINVAL;

	return netif_set_xps_queue(netdev, cpumask_of(cpu), queue);
}

void nic_init_delayed_work(struct delayed_work *work, work_func_t func)
{
	INIT_DELAYED_WORK(work, func);
}

/*
 * On any CPU: a VF driver of the same machine may spin for the PF's answer with preemption off, on
 * the very CPU that the interrupt came in on.
 */
void nic_schedule_work(struct delayed_work *work, unsigned int delay_ms)
{
	unsigned long delay = msecs_to_jiffies(delay_ms);

	/*
	 * A run that is due before this one stays: work that sets its next time must not put off
	 * who asked meanwhile.
	 */
	if (delay && queue_delayed_work(system_dfl_wq, work, delay))
		return;
	if (!delay || (timer_pending(&work->timer) &&
		       time_before(jiffies + delay, READ_ONCE(work->timer.expires))))
		mod_delayed_work(system_dfl_wq, work, delay);
}

void nic_report_leak(struct net_device *netdev)
{
	netdev_err(netdev, "still in use after it was unregistered: its driver stays bound\n");
}

/* Sends a complete frame that the driver made by itself. */
int nic_send_frame(struct net_device *netdev, const void *frame, unsigned int len)
{
	struct sk_buff *skb;
	int err;

	if (!netif_running(netdev) || !netif_carrier_ok(netdev))
		return -ENETDOWN;
	skb = netdev_alloc_skb_ip_align(netdev, LL_RESERVED_SPACE(netdev) + len);
	if (!skb)
		return -ENOMEM;
	skb_reserve(skb, LL_RESERVED_SPACE(netdev));
	skb_put_data(skb, frame, len);
	skb_reset_mac_header(skb);
	skb_set_network_header(skb, ETH_HLEN);
	skb->dev = netdev;
	skb->protocol = eth_hdr(skb)->h_proto;
	skb->priority = TC_PRIO_CONTROL;
	err = dev_queue_xmit(skb);

	/* Positive for a frame that a qdisc dropped, which net_xmit_errno() takes for granted. */
	return err > 0 ? net_xmit_errno(err) : err;
}

unsigned int nic_num_online_cpus(void)
{
	return num_online_cpus();
}

/* Tells the core which queues a NAPI instance serves (netdev-genl); NULL for none. */
void nic_queue_set_napi(struct net_device *netdev, struct napi_struct *napi, unsigned int queue)
{
	if (queue < netdev->num_rx_queues)
		netif_queue_set_napi(netdev, queue, NETDEV_QUEUE_TYPE_RX, napi);
	if (queue < netdev->num_tx_queues)
		netif_queue_set_napi(netdev, queue, NETDEV_QUEUE_TYPE_TX, napi);
}
