# SPDX-License-Identifier: GPL-2.0

""" Allocations that fail on purpose, see Documentation/fault-injection/fault-injection.rst. """

import functools
from pathlib import Path

from net.lib.py import KsftSkipEx, cmd

from .stream import SLOW
from .strict import unmet

KINDS = ("failslab", "fail_page_alloc")

# More than an operation makes; also what `times` begins with, which counts failures down.
MANY = 1_000_000


# Parts of the kernel, by the names of their functions, in which no allocation may fail:
#
# ACPICA runs below a probe, for power states and interrupt routing, and does not survive it. By
# reading, acpi_ds_build_internal_package_obj() (dspkginit.c) then frees the package that a name in
# the namespace still has; KASAN has reported acpi_ns_get_attached_object() below a probe.
ACPICA = tuple(f"acpi_{part}_" for part in ("ds", "ev", "ex", "hw", "ns", "ps", "rs", "tb", "ut"))
# pci_device_add() (drivers/pci/probe.c) only warns if device_add() fails, and pci_iov_add_virtfn()
# then goes on with the device, until device_del() follows a pointer that is null.
ADD_VF = ("pci_iov_add_virtfn",)
# kernel/dma/debug.c turns itself off when it cannot note a mapping.
DMA_DEBUG = ("debug_dma_", "dma_debug_", "add_dma_entry", "active_cacheline_")


@functools.cache
def _range(names):
    """ Where the functions lie whose names begin so: the linker has laid them out in one piece. """
    symbols = []
    with open("/proc/kallsyms", encoding="ascii") as f:
        for row in f:
            at, _, name = row.split()[:3]
            symbols.append((int(at, 16), name))
            if name == "_etext":
                break
    found = [i for i, (_, name) in enumerate(symbols) if name.startswith(names)]
    assert found, f"no {names} in this kernel"
    return symbols[found[0]][0], symbols[found[-1] + 1][0]


@functools.cache
def _text(module, start):
    """ End of the text of a module that lies at @start: parts of a module are mapped apart. """
    rows = cmd(f"grep -E ' [tT] .*\\[{module}\\]' /proc/kallsyms", shell=True).stdout
    last = max(int(row.split()[0], 16) for row in rows.splitlines())
    assert start <= last < start + (16 << 20), f"{module}: text from {start:x} to {last:x}"
    return last + 1


class Failing:
    """
    Allocations of a kind that @module asks for, itself or by what it calls, fail while the
    block lasts: the @nth one of this thread, and @rest per cent of what comes when that has
    failed, of all of them if @nth is 0. None fails in the part of the kernel named by @spare.
    """

    def __init__(self, kind, module, spare, nth=0, rest=0):
        self.kind, self.nth = kind, nth
        self.dir = self.folder(kind)
        start = int(Path(f"/sys/module/{module}/sections/.text").read_text(), 16)
        reject = _range(spare)
        self.settings = {
            "interval": 1, "times": MANY, "space": 0, "verbose": 0, "task-filter": "N",
            "ignore-gfp-wait": "N", "ignore-gfp-highmem": "N", "min-order": 0,
            "stacktrace-depth": 32,
            "require-start": hex(start), "require-end": hex(_text(module, start)),
            "reject-start": hex(reject[0]), "reject-end": hex(reject[1]),
            "probability": rest,
        }
        # Allocations of this thread that were counted, and failures of any thread; after the block.
        self.seen = self.failures = None

    @staticmethod
    def folder(kind):
        """
        Where failures of @kind are set up; skips the case if this kernel has none, which the
        debug kernel must have.
        """
        path = Path("/sys/kernel/debug") / kind
        if not path.exists():
            why = f"no {kind} in this kernel"
            raise unmet(why) if SLOW else KsftSkipEx(why)
        return path

    def _stop(self, kind):
        # Nothing has a frame in an empty range: fail-nth asks each kind.
        for name in ("probability", "require-start", "require-end"):
            (self.folder(kind) / name).write_text("0")

    def __enter__(self):
        for kind in KINDS:
            self._stop(kind)
        for name, value in self.settings.items():
            path = self.dir / name
            # Not each kind has each setting.
            if path.exists():
                path.write_text(str(value))
        Path("/proc/thread-self/fail-nth").write_text(str(self.nth))
        return self

    def __exit__(self, ex_type, ex_value, ex_tb):
        nth = Path("/proc/thread-self/fail-nth")
        self.seen = self.nth - int(nth.read_text())
        nth.write_text("0")
        self._stop(self.kind)
        self.failures = MANY - int((self.dir / "times").read_text())
