/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kselftest harness with time for a machine that is emulated beside others. A test that
 * hangs is found all the same; one that is only slow is no fault.
 */
#ifndef SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_HARNESS_H
#define SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_HARNESS_H

#include "kselftest_harness.h"

/* Seconds for a test that names no time of its own: the harness takes the macro at each test. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300

#endif /* SELFTESTS_VFIO_LIB_INCLUDE_LIBVFIO_HARNESS_H */
