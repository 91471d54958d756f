#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
DMA under a strict IOMMU: no function touches what it was not given, and one that
tries is caught, in its own name.
"""

import os
import time

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_gt, ksft_in, ksft_ne, ksft_true, \
    ksft_variants, KsftNamedVariant
from lib.py import Expect, IxgbeEnv, KernelLog, KsftSkipEx, defer, ping, verify_tcp

# No driver's DMA mapping lies here: the DMA API hands out addresses below 4 GiB
# from the top down, and page 0x10 is never used.
STRAY = 0x10000

# VF registers, 82599 datasheet section 8.3.
VFRXDCTL, VFTDBAL, VFTDBAH, VFTDLEN, VFTDH, VFTDT, VFTXDCTL = \
    0x1028, 0x2000, 0x2004, 0x2008, 0x2010, 0x2018, 0x2028
ENABLE = 1 << 25


def _group(pci):
    link = pci.path / "iommu_group"
    return os.path.basename(os.readlink(link)) if link.exists() else None


def groups(cfg):
    """ PF and VFs are each in a group of their own, translated. """
    all_groups = [_group(f) for f in [cfg.pci] + [vf.pci for vf in cfg.vfs]]
    if None in all_groups:
        raise KsftSkipEx("no IOMMU")
    ksft_eq(len(set(all_groups)), len(all_groups))
    for group in all_groups:
        with open(f"/sys/kernel/iommu_groups/{group}/type", encoding="utf-8") as f:
            kind = f.read().strip()
        ksft_in(kind, ("DMA", "DMA-FQ"), "translated")
    with open("/proc/cmdline", encoding="utf-8") as f:
        if "iommu.strict=1" in f.read():
            ksft_eq(kind, "DMA", "strict")


@ksft_variants([KsftNamedVariant(f"{pair}_{mtu}", pair, mtu) for mtu in (9000, 1500)
                for pair in ("pf-peer", "vf0-peer", "vf0-vf1", "vf0-pf")])
def no_fault(cfg, pair, mtu):
    """ Verified traffic at both MTUs without one fault. """
    log = KernelLog()
    cfg.set_mtu(mtu)
    verify_tcp(*cfg.endpoints(pair), 1 << 20)
    ksft_eq(log.matching("DMAR|IOMMU.*fault"), [])


def no_fault_teardown(cfg):
    """ Rings and buffers are unmapped only after the device let go of them. """
    log = KernelLog()
    vf = cfg.vfs[0]
    for _ in range(10):
        ping(vf, cfg.peer, count=10, size=1400)
        vf.down()
        vf.set_addrs()
        vf.up()
    ksft_eq(log.matching("DMAR|IOMMU.*fault"), [])


def stray(cfg):
    """
    A VF is told to fetch a descriptor from memory that it was not given: the IOMMU
    stops it, names the VF as the culprit, and the VF is healthy after a reset.
    """
    if _group(cfg.vfs[0].pci) is None:
        raise KsftSkipEx("no IOMMU")
    vf = cfg.vfs[0]
    regs = vf.pci.map_bar(0)

    def write(reg, value):
        regs[reg // 4] = value

    def restore():
        vf.down()
        vf.set_addrs()
        vf.up()
        cfg.settle()
    defer(restore)

    ksft_ne(regs[VFTXDCTL // 4] & ENABLE, 0, "queue 0 is in use")
    with Expect("DMAR") as log:
        write(VFTXDCTL, regs[VFTXDCTL // 4] & ~ENABLE)
        time.sleep(0.01)
        write(VFTDBAL, STRAY)
        write(VFTDBAH, 0)
        write(VFTDH, 0)
        write(VFTDT, 0)
        write(VFTXDCTL, regs[VFTXDCTL // 4] | ENABLE)
        time.sleep(0.01)
        write(VFTDT, 1)
        line = log.wait(rf"DMAR:.*{vf.pci.bdf[5:]}.*{STRAY:#x}")
        ksft_true(line is not None, "\n".join(log.lines()[-10:]))
        # Down and up again before the log is watched anew: no fault may follow.
        vf.down()
        ksft_gt(len(log.matching("DMAR")), 0)
    ping(cfg.vfs[1], cfg.peer)


def main():
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([groups, no_fault, no_fault_teardown, stray], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
