// SPDX-License-Identifier: GPL-2.0
#include "helpers.h"

void nic_sem_init(struct nic_sem *sem)
{
	sema_init(&sem->sem, 1);
}

void nic_sem_lock(struct nic_sem *sem)
{
	down(&sem->sem);
}

bool nic_sem_try_lock(struct nic_sem *sem)
{
	return !down_trylock(&sem->sem);
}

void nic_sem_unlock(struct nic_sem *sem)
{
	up(&sem->sem);
}
