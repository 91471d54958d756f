// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the functions that ixgbe_migration.rs defines for the VFIO variant driver.
 */
#include <linux/export.h>
#include <linux/ixgbe_migration.h>

#define IXGBE_MIGRATION_EXPORT(function) EXPORT_SYMBOL_NS_GPL(function, "IXGBE_MIGRATION")

IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_get);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_put);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_suspend);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_resume);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_compat);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_record);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_check);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_save);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_load);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_start_marking);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_marks);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_stop_marking);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_rings);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_tails);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_heads);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_reset);
IXGBE_MIGRATION_EXPORT(ixgbe_vfmig_report);
