# SPDX-License-Identifier: GPL-2.0

"""
A process that has a function open by VFIO, as a VM has: stands for QEMU with a few lines of the
legacy VFIO interface.
"""

import contextlib
import fcntl
import mmap
import os
import struct

from .pci import load_module
from .strict import unmet

# _IO(';', 100 + n) of linux/vfio.h
VFIO_SET_IOMMU, VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_GET_DEVICE_FD = 0x3b66, 0x3b68, 0x3b6a
VFIO_TYPE1_IOMMU = 1
# VFIO_PCI_CONFIG_REGION_INDEX, as drivers/vfio/pci lays out its file; linux/pci_regs.h; a VF's registers.
CONFIG = 7 << 40
PCI_COMMAND, PCI_COMMAND_MEMORY = 4, 2
BAR_SIZE = 0x4000


class VfioUser:
    """ A process that has a VF open. """

    def __init__(self, vf):
        group = os.path.basename(os.readlink(vf.path / "iommu_group"))
        self.container = os.open("/dev/vfio/vfio", os.O_RDWR)
        self.group = os.open(f"/dev/vfio/{group}", os.O_RDWR)
        fcntl.ioctl(self.group, VFIO_GROUP_SET_CONTAINER, struct.pack("i", self.container))
        fcntl.ioctl(self.container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU)
        # With a buffer that may be changed the result is what the call returned: a file.
        name = bytearray(vf.bdf.encode() + b"\0")
        self.device = fcntl.ioctl(self.group, VFIO_GROUP_GET_DEVICE_FD, name, True)

    def map_bar(self):
        """ BAR 0 as a sequence of 32-bit words. vfio-pci has it at offset 0 of the device's file. """
        command = struct.unpack("<H", os.pread(self.device, 2, CONFIG + PCI_COMMAND))[0]
        os.pwrite(self.device, struct.pack("<H", command | PCI_COMMAND_MEMORY), CONFIG + PCI_COMMAND)
        return memoryview(mmap.mmap(self.device, BAR_SIZE)).cast("I")

    def close(self):
        """ The VM ends: VFIO resets the function. """
        os.close(self.device)
        os.close(self.group)
        os.close(self.container)


def to_vfio(function):
    """ Give the function to vfio-pci. """
    load_module("vfio-pci")
    if not (function.path / "iommu_group").exists():
        raise unmet("no IOMMU")
    function.override("vfio-pci")


@contextlib.contextmanager
def vfio_pci(function):
    """ The function belongs to vfio-pci meanwhile, and to nobody afterwards. """
    to_vfio(function)
    try:
        yield
    finally:
        function.unbind()
        function.write("driver_override", "\n")
