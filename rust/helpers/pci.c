// SPDX-License-Identifier: GPL-2.0
#include <linux/delay.h>
#include <linux/iommu.h>
#include "helpers.h"

int nic_pci_irq_vector(struct pci_dev *pdev, unsigned int nr)
{
	return pci_irq_vector(pdev, nr);
}

int nic_request_irq(unsigned int irq, irq_handler_t handler, unsigned long flags, const char *name,
		    void *data)
{
	return request_irq(irq, handler, flags, name, data);
}

/* Handler of a vector that serves one NAPI instance and that the device masks by itself. */
irqreturn_t nic_napi_irq(int irq, void *napi)
{
	napi_schedule_irqoff(napi);

	return IRQ_HANDLED;
}

bool nic_pci_channel_offline(struct pci_dev *pdev)
{
	return pci_channel_offline(pdev);
}

bool nic_pci_device_is_present(struct pci_dev *pdev)
{
	return pci_device_is_present(pdev);
}

int nic_pci_vfs_assigned(struct pci_dev *pdev)
{
	return pci_vfs_assigned(pdev);
}

/*
 * The next virtual function of @pf after @from (NULL: the first), with a reference; gives up that
 * to @from. @index is its number.
 */
struct pci_dev *nic_pci_next_vf(struct pci_dev *pf, struct pci_dev *from, unsigned int *index)
{
	while ((from = pci_get_device(pf->vendor, PCI_ANY_ID, from))) {
		int id;

		if (!from->is_virtfn || pci_physfn(from) != pf)
			continue;
		id = pci_iov_vf_id(from);
		if (id < 0)
			continue;
		*index = id;
		return from;
	}

	return NULL;
}

/*
 * Whether a VFIO user has opened the virtual function @vf: a driver that leaves DMA to user space
 * is bound, and the IOMMU group has an owner. False without an IOMMU. A function that is being
 * unbound, which waits for such a user, counts too.
 */
bool nic_pci_vf_in_use(struct pci_dev *vf)
{
	struct iommu_group *group;
	bool in_use = false;
	int i;

	/* TIMEOUT: 100 ms for a driver that is just being bound. */
	for (i = 0; !device_trylock(&vf->dev); i++) {
		if (i == 10)
			return true;
		msleep(10);
	}
	if (vf->dev.driver && to_pci_driver(vf->dev.driver)->driver_managed_dma) {
		group = iommu_group_get(&vf->dev);
		if (group) {
			in_use = iommu_group_dma_owner_claimed(group);
			iommu_group_put(group);
		}
	}
	device_unlock(&vf->dev);

	return in_use;
}

/*
 * The header of the transaction that the root port above @pdev has logged an error for (PCIe 6.0,
 * 7.8.4.8). Returns whether there is such a log: it is kept after its error was dealt with, and is
 * of the error that the First Error Pointer names only as long as that one's status bit is set
 * (6.2.4.2).
 */
bool nic_pci_root_port_header_log(struct pci_dev *pdev, u32 log[4])
{
	struct pci_dev *port = pcie_find_root_port(pdev);
	u32 status, cap;
	int pos, i;

	if (!port)
		return false;
	pos = pci_find_ext_capability(port, PCI_EXT_CAP_ID_ERR);
	if (!pos)
		return false;
	if (pci_read_config_dword(port, pos + PCI_ERR_UNCOR_STATUS, &status) ||
	    pci_read_config_dword(port, pos + PCI_ERR_CAP, &cap) ||
	    !(status & BIT(PCI_ERR_CAP_FEP(cap))))
		return false;
	for (i = 0; i < 4; i++)
		if (pci_read_config_dword(port, pos + PCI_ERR_HEADER_LOG + 4 * i, &log[i]))
			return false;

	return true;
}
