# SPDX-License-Identifier: GPL-2.0

"""
Library of the 82599 tests: the kernel's own ksft library, plus the things that
only these tests need (PCI functions, VFs in namespaces, raw frames, verified
byte streams).
"""

import functools
import os
import sys
from pathlib import Path

# In a kernel tree the selftests folder is five levels up. Out of tree KSFT_DIR
# names that of the kernel that is tested.
KSFT_DIR = Path(os.environ.get("KSFT_DIR",
                               Path(__file__).parent / "../../../../..")).resolve()

try:
    sys.path.append(KSFT_DIR.as_posix())

    # Import one by one to avoid pylint false positives
    from net.lib.py import CmdExitFailure, KsftFailEx, KsftSkipEx, KsftXfailEx
    from net.lib.py import NetNSEnter
    from net.lib.py import bkg, cmd, defer, ethtool, ip, tool, wait_port_listen
    from net.lib.py import ksft_busy_wait, ksft_exit, ksft_pr, ksft_run, \
        ksft_variants, KsftNamedVariant
    from net.lib.py import ksft_eq, ksft_ge, ksft_gt, ksft_in, ksft_lt, \
        ksft_ne, ksft_not_in, ksft_not_none, ksft_raises, ksft_true
except ModuleNotFoundError as e:
    print("Failed importing `net` library from kernel sources, is KSFT_DIR right?")
    print(str(e))
    sys.exit(4)

from .failing import ACPICA, ADD_VF, DMA_DEBUG, KINDS, MANY, Failing
from .klog import Expect, KernelLog
from .memory import kept_memory, meminfo
from .pci import PciFunction, load_module, module_name, unload_module
from .station import set_card
from .strict import PATIENCE, STRICT, unmet
from .stream import SLOW, hold_frames, iperf3, ping, verify_tcp, verify_udp
from .vfio import VfioUser, to_vfio, vfio_pci
from .wire import Frame, PacketSocket, arp_free_mac, crosses, multicast_hash
from .ixgbe_env import AER_REPORT, STRAY, Endpoint, IxgbeEnv, says

# ksft gives a command 20 s. `ip link show` took longer in a machine that is emulated beside other work (load 27 on two
# processors), and takes half a minute on a debug kernel.
cmd.__init__ = functools.partialmethod(cmd.__init__, timeout=180)
# The same for one that ran in the background: (terminate, fail, expect_fail, timeout).
cmd.process.__defaults__ = (True, None, False, 180)

__all__ = ["KSFT_DIR", "CmdExitFailure", "KsftFailEx", "KsftSkipEx", "KsftXfailEx",
           "NetNSEnter",
           "bkg", "cmd", "defer", "ethtool", "ip", "tool", "wait_port_listen",
           "ksft_busy_wait", "ksft_exit", "ksft_pr", "ksft_run",
           "ksft_variants", "KsftNamedVariant",
           "ksft_eq", "ksft_ge", "ksft_gt", "ksft_in", "ksft_lt",
           "ksft_ne", "ksft_not_in", "ksft_not_none", "ksft_raises", "ksft_true",
           "ACPICA", "ADD_VF", "DMA_DEBUG", "KINDS", "MANY", "Failing",
           "Expect", "KernelLog", "kept_memory", "meminfo", "PATIENCE", "STRICT", "unmet",
           "PciFunction", "load_module", "module_name", "unload_module", "VfioUser", "to_vfio", "vfio_pci",
           "SLOW", "hold_frames", "iperf3", "ping", "verify_tcp", "verify_udp",
           "Frame", "PacketSocket", "arp_free_mac", "crosses", "multicast_hash", "AER_REPORT", "STRAY",
           "Endpoint", "IxgbeEnv", "says", "set_card"]
