// SPDX-License-Identifier: GPL-2.0
#include "helpers.h"

int nic_pci_irq_vector(struct pci_dev *pdev, unsigned int nr)
{
	return pci_irq_vector(pdev, nr);
}

int nic_request_irq(unsigned int irq, irq_handler_t handler, unsigned long flags, const char *name, void *data)
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
