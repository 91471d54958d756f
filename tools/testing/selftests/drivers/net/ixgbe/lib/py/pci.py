# SPDX-License-Identifier: GPL-2.0

""" PCI functions through sysfs, and the modules that drive them. """

import mmap
import os
import time
from pathlib import Path

from net.lib.py import cmd

from .strict import PATIENCE

SYSFS = Path("/sys/bus/pci/devices")


def module_name(spec):
    """ Name of a module, given as a name or as the path of a .ko. """
    return Path(spec).stem.replace("-", "_")


# Seconds; the debug kernel takes a quarter of a minute to relocate and scan a module under emulation.
MODULE_TIMEOUT = 120


def load_module(spec, *params):
    """ Load a module by name, or from a path with its dependencies. """
    args = " ".join([spec, *params])
    if Path("/sys/module/" + module_name(spec)).exists():
        return
    if "/" not in spec:
        cmd("modprobe " + args, timeout=MODULE_TIMEOUT)
        return
    depends = cmd("modinfo -F depends " + spec).stdout.strip()
    for dep in filter(None, depends.split(",")):
        # One that was loaded from a file, modprobe does not know.
        if not Path("/sys/module/" + module_name(dep)).exists():
            cmd("modprobe " + dep, timeout=MODULE_TIMEOUT)
    cmd("insmod " + args, timeout=MODULE_TIMEOUT)


def unload_module(spec):
    """ Unload a module, if it is loaded. """
    if Path("/sys/module/" + module_name(spec)).exists():
        cmd("rmmod " + module_name(spec))


def write_once(path, value):
    """
    Write a file of the kernel in one system call; raises OSError as the kernel answers. With
    a buffer, Python would write again what was refused, when it closes the file.
    """
    with open(path, "wb", buffering=0) as f:
        f.write(str(value).encode())


class PciFunction:
    """ One PCI function, by its address. """

    def __init__(self, bdf):
        self.bdf = bdf
        self.path = SYSFS / bdf

    def __repr__(self):
        return self.bdf

    @staticmethod
    def find_pf():
        """ The PF under test: $KSFT_PF_BDF, or the first Intel SR-IOV function. """
        bdf = os.environ.get("KSFT_PF_BDF")
        if bdf:
            return PciFunction(bdf)
        for path in sorted(SYSFS.iterdir()):
            if (path / "sriov_totalvfs").exists() and \
               (path / "vendor").read_text().strip() == "0x8086" and \
               (path / "class").read_text().startswith("0x0200"):
                return PciFunction(path.name)
        return None

    def read(self, attr):
        """ Contents of a sysfs attribute. """
        return (self.path / attr).read_text().strip()

    def write(self, attr, value):
        """ Write a sysfs attribute; raises OSError as the kernel answers. """
        write_once(self.path / attr, value)

    def find_anew(self):
        """ Have the kernel forget the function, and find it on its bus. """
        self.write("remove", 1)
        (SYSFS.parent / "rescan").write_text("1", encoding="ascii")

    @property
    def master_abort(self):
        """ Whether a read of the function found nobody to answer (PCI status). """
        with open(self.path / "config", "rb") as f:
            return bool(f.read(8)[7] & 1 << 5)

    @property
    def is_x550(self):
        """ Whether it is a PF of an X550. """
        return self.device_id in (0x1563, 0x15d1)

    @property
    def device_id(self):
        """ Device ID as a number. """
        return int(self.read("device"), 16)

    @property
    def driver(self):
        """ Name of the bound driver, or None. """
        link = self.path / "driver"
        return os.path.basename(os.readlink(link)) if link.exists() else None

    def netdev(self):
        """ Name of the net device in our namespace, or None. """
        net = self.path / "net"
        names = os.listdir(net) if net.exists() else []
        return names[0] if names else None

    def wait_netdev(self, deadline=PATIENCE):
        """ Wait until the driver has registered its net device. """
        end = time.monotonic() + deadline
        while True:
            name = self.netdev()
            if name:
                return name
            if time.monotonic() > end:
                raise TimeoutError(f"no net device of {self.bdf}, driver {self.driver}")
            time.sleep(0.01)

    def unbind(self):
        """ Take the function from its driver. """
        name = self.driver
        if name:
            write_once(f"/sys/bus/pci/drivers/{name}/unbind", self.bdf)
        return name

    def bind(self, driver):
        """ Give the function to @driver. """
        write_once(f"/sys/bus/pci/drivers/{driver}/bind", self.bdf)

    def override(self, driver):
        """ Give the function to @driver whatever its ID; None undoes that. """
        self.unbind()
        self.write("driver_override", driver or "\n")
        write_once("/sys/bus/pci/drivers_probe", self.bdf)

    def reset(self):
        """ Function level reset. """
        self.write("reset_method", "flr")
        self.write("reset", 1)

    def vf(self, index):
        """ VF number @index of this PF. """
        return PciFunction(os.path.basename(os.readlink(self.path / f"virtfn{index}")))

    def set_numvfs(self, count):
        """ Create @count VFs, removing those that are there. """
        if int(self.read("sriov_numvfs")):
            self.write("sriov_numvfs", 0)
        if count:
            self.write("sriov_numvfs", count)

    def map_bar(self, index=0):
        """ Registers of a memory BAR as a sequence of 32-bit words. """
        with open(self.path / f"resource{index}", "r+b") as f:
            bar = mmap.mmap(f.fileno(), 0)
        return memoryview(bar).cast("I")

    def irq_names(self):
        """ What /proc/interrupts says about the vectors of this function. """
        msi = self.path / "msi_irqs"
        irqs = os.listdir(msi) if msi.exists() else []
        if not irqs:
            irqs = [self.read("irq")]
        rows = {}
        for line in Path("/proc/interrupts").read_text().splitlines():
            num, _, rest = line.partition(":")
            if num.strip() in irqs:
                rows[int(num)] = rest
        return rows
