/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C side of rust/vfio: inline functions that bindgen cannot see, and the iommufd half of guest
 * memory reads.
 */
#ifndef _RUST_VFIO_HELPERS_H
#define _RUST_VFIO_HELPERS_H

#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/interval_tree.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/iova_bitmap.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include <linux/workqueue.h>

void vfio_rs_put_device(struct vfio_device *vdev);
void vfio_rs_init_work(struct delayed_work *work, work_func_t func);
void vfio_rs_queue_work(struct delayed_work *work, unsigned int delay_us);
void vfio_rs_cancel_work(struct delayed_work *work);
int vfio_rs_precopy_argument(unsigned long arg, struct vfio_precopy_info *info);
bool vfio_rs_faults_off(void);
void vfio_rs_faults_on(bool off);
bool vfio_rs_precopy_v2(struct vfio_device *vdev);
int vfio_rs_precopy_result(unsigned long arg, const struct vfio_precopy_info *info);

bool vfio_rs_domain_is_paging(struct vfio_device *vdev);
struct iommufd_access *vfio_rs_access_create(struct vfio_device *vdev);
void vfio_rs_access_destroy(struct iommufd_access *access);
int vfio_rs_access_attach(struct iommufd_access *access, u32 ioas_id);
void vfio_rs_access_detach(struct iommufd_access *access);
int vfio_rs_access_read(struct iommufd_access *access, unsigned long iova, void *data, size_t len);

#endif /* _RUST_VFIO_HELPERS_H */
