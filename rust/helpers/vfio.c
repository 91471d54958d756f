// SPDX-License-Identifier: GPL-2.0
#include "vfio.h"

#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

void vfio_rs_put_device(struct vfio_device *vdev)
{
	vfio_put_device(vdev);
}

void vfio_rs_init_work(struct delayed_work *work, work_func_t func)
{
	INIT_DELAYED_WORK(work, func);
}

void vfio_rs_queue_work(struct delayed_work *work, unsigned int delay_us)
{
	queue_delayed_work(system_dfl_wq, work, usecs_to_jiffies(delay_us));
}

void vfio_rs_cancel_work(struct delayed_work *work)
{
	cancel_delayed_work_sync(work);
}

/*
 * A kernel thread must not wait for whoever serves a page fault: that may be the user himself
 * (userfaultfd, FUSE), and a thread cannot be killed. Memory that a device can reach is pinned, so
 * that it seldom faults.
 */
bool vfio_rs_faults_off(void)
{
	if (current->mm)
		return false;
	pagefault_disable();

	return true;
}

void vfio_rs_faults_on(bool off)
{
	if (off)
		pagefault_enable();
}

/*
 * vfio_check_precopy_ioctl() in two: the device is only there under a lock under which user memory
 * must not be touched.
 */
int vfio_rs_precopy_argument(unsigned long arg, struct vfio_precopy_info *info)
{
	size_t len = offsetofend(struct vfio_precopy_info, dirty_bytes);

	if (copy_from_user(info, (void __user *)arg, len))
		return -EFAULT;

	return info->argsz < len ? -EINVAL : 0;
}

/* Whether user space takes flags as output; in version 1 they are neither input nor output. */
bool vfio_rs_precopy_v2(struct vfio_device *vdev)
{
	return vdev->precopy_info_v2;
}

int vfio_rs_precopy_result(unsigned long arg, const struct vfio_precopy_info *info)
{
	size_t len = offsetofend(struct vfio_precopy_info, dirty_bytes);

	return copy_to_user((void __user *)arg, info, len) ? -EFAULT : 0;
}

#if IS_ENABLED(CONFIG_IOMMUFD)
/*
 * Reading copies under iommufd's own locks and pins nothing, so there is nothing to give back.
 * iommufd calls it for every access of an IOAS in which another one has pinned pages.
 */
static void vfio_rs_access_unmap(void *data, unsigned long iova, unsigned long length)
{
}

static const struct iommufd_access_ops vfio_rs_access_ops = {
	.needs_pin_pages = 0,
	.unmap = vfio_rs_access_unmap,
};

static int vfio_rs_count_device(struct device *dev, void *data)
{
	unsigned int *count = data;

	return ++*count > 1;
}

/*
 * Whether the device's addresses are those of an IOAS, and no guest's page table is between. Under
 * dev_set->lock a device that is alone in its group keeps its domain.
 */
bool vfio_rs_domain_is_paging(struct vfio_device *vdev)
{
	struct iommu_group *group = iommu_group_get(vdev->dev);
	struct iommu_domain *domain = NULL;
	unsigned int count = 0;

	if (!group)
		return false;
	lockdep_assert_held(&vdev->dev_set->lock);
	if (!iommu_group_for_each_dev(group, &count, vfio_rs_count_device))
		domain = iommu_get_domain_for_dev(vdev->dev);
	iommu_group_put(group);

	return domain && (domain->type & __IOMMU_DOMAIN_PAGING);
}

struct iommufd_access *vfio_rs_access_create(struct vfio_device *vdev)
{
	struct iommufd_ctx *ictx = vfio_iommufd_device_ictx(vdev);
	struct iommufd_access *access;
	u32 id;

	if (!ictx)
		return NULL;
	access = iommufd_access_create(ictx, &vfio_rs_access_ops, NULL, &id);

	return IS_ERR(access) ? NULL : access;
}

void vfio_rs_access_destroy(struct iommufd_access *access)
{
	iommufd_access_destroy(access);
}

int vfio_rs_access_attach(struct iommufd_access *access, u32 ioas_id)
{
	return iommufd_access_attach(access, ioas_id);
}

void vfio_rs_access_detach(struct iommufd_access *access)
{
	iommufd_access_detach(access);
}

int vfio_rs_access_read(struct iommufd_access *access, unsigned long iova, void *data, size_t len)
{
	unsigned int flags = IOMMUFD_ACCESS_RW_READ;

	/* A kernel thread can take on the user's memory for the copy, and need not pin pages. */
	if (!current->mm)
		flags |= IOMMUFD_ACCESS_RW_KTHREAD;

	return iommufd_access_rw(access, iova, data, len, flags);
}
#else
bool vfio_rs_domain_is_paging(struct vfio_device *vdev)
{
	return false;
}

struct iommufd_access *vfio_rs_access_create(struct vfio_device *vdev)
{
	return NULL;
}

void vfio_rs_access_destroy(struct iommufd_access *access)
{
}

int vfio_rs_access_attach(struct iommufd_access *access, u32 ioas_id)
{
	return -EOPNOTSUPP;
}

void vfio_rs_access_detach(struct iommufd_access *access)
{
}

int vfio_rs_access_read(struct iommufd_access *access, unsigned long iova, void *data, size_t len)
{
	return -EOPNOTSUPP;
}
#endif
