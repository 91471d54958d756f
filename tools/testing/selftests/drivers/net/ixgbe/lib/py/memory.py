# SPDX-License-Identifier: GPL-2.0

""" The machine's memory. """

import contextlib
import re
from pathlib import Path


def meminfo(*keys):
    """ Sum of rows of /proc/meminfo, in kB. """
    text = Path("/proc/meminfo").read_text()
    return sum(int(re.search(rf"^{key}:\s+(\d+)", text, re.M).group(1)) for key in keys)


def kept_memory():
    """
    Kernel memory in kB that somebody has: what can be given back is, first. That is so of what
    KASAN holds back as well (QUARANTINE_FRACTION in mm/kasan/quarantine.c): the cache that it
    came from gets it when it is shrunk.
    """
    Path("/proc/sys/vm/drop_caches").write_text("3")
    for path in Path("/sys/kernel/slab").glob("*/shrink"):
        # An alias of a cache whose owner went meanwhile.
        with contextlib.suppress(OSError):
            path.write_text("1")
    return meminfo("SUnreclaim", "KernelStack", "PageTables", "Percpu")
