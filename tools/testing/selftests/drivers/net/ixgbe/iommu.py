#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
DMA under a strict IOMMU: no function touches what it was not given, and one that
tries is caught, in its own name.
"""

import os

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_gt, ksft_in, ksft_true, \
    ksft_variants, KsftNamedVariant
from lib.py import PATIENCE, STRAY, Expect, IxgbeEnv, KernelLog, ping, unmet, verify_tcp


def _group(pci):
    link = pci.path / "iommu_group"
    return os.path.basename(os.readlink(link)) if link.exists() else None


def groups(cfg):
    """ PF and VFs are each in a group of their own, translated. """
    all_groups = [_group(f) for f in [cfg.pci] + [vf.pci for vf in cfg.vfs]]
    if None in all_groups:
        raise unmet("no IOMMU")
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
    stops it and names the VF as the culprit, the VF's status shows that nobody
    answered, by which the PF driver notices and resets it, and it is healthy then.
    """
    if _group(cfg.vfs[0].pci) is None:
        raise unmet("no IOMMU")
    vf = cfg.vfs[0]
    ksft_true(not vf.pci.master_abort)
    # The queue stands until the PF has noticed: on a slow machine the watchdog is faster.
    with Expect(vf.stray_messages()) as log:
        vf.stray_read()
        line = log.wait(rf"DMAR:.*{vf.pci.bdf[5:]}.*{STRAY:#x}")
        ksft_true(line is not None, "\n".join(log.lines()[-10:]))
        # The PF looks while no frame goes out.
        ksft_busy_wait(lambda: not vf.pci.master_abort, sleep=0.1, deadline=PATIENCE)
        # Down and up again before the log is watched anew: no fault may follow.
        vf.rebind()
        ksft_gt(len(log.matching("DMAR")), 0)
    cfg.settle()
    ping(cfg.vfs[1], cfg.peer)


def main():
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([groups, no_fault, no_fault_teardown, stray], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
