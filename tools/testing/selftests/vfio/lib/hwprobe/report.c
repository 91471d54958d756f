// SPDX-License-Identifier: GPL-2.0-only
/* The report: lines "key: text", as comments among the test results and in a file. */
#include <stdio.h>
#include <stdlib.h>

#include "hwprobe.h"

static FILE *file;

void report_open(const char *path)
{
	if (!path)
		return;
	file = fopen(path, "w");
	VFIO_ASSERT_NOT_NULL(file, "cannot write %s\n", path);
}

void report_close(void)
{
	if (file)
		VFIO_ASSERT_EQ(fclose(file), 0);
	file = NULL;
}

void report(const char *key, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);

	printf("# report: %s: %s\n", key, text);
	if (file)
		fprintf(file, "%s: %s\n", key, text);
}

static int compare(const void *a, const void *b)
{
	s64 x = *(const s64 *)a, y = *(const s64 *)b;

	return x < y ? -1 : x > y;
}

void report_times(const char *key, s64 *samples, u32 count)
{
	if (!count) {
		report(key, "none");
		return;
	}
	qsort(samples, count, sizeof(*samples), compare);
	report(key, "%lld / %lld / %lld ns (least, median, most of %u)",
	       (long long)samples[0], (long long)samples[count / 2],
	       (long long)samples[count - 1], count);
}
