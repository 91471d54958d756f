#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Interrupts by MSI-X, by MSI and by a pin.

The mainline driver has no parameter for it. The pin can be forced at run time: the
PCI core refuses any MSI while `msi_bus` of the function is 0. For MSI alone the
function must have no MSI-X capability, so the boot decides: KSFT_IRQ_MODE=msi, or the
argument "msi", says that it does.
"""

import errno
import os
import sys

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_gt, ksft_in, ksft_true
from lib.py import IxgbeEnv, KsftSkipEx, defer, ethtool, module_name, ping, verify_tcp, verify_udp

MODE = sys.argv[1] if sys.argv[1:2] and sys.argv[1][0] != "-" \
    else os.environ.get("KSFT_IRQ_MODE", "msix")


def _count(pci):
    """ Interrupts taken so far by each vector. """
    out = {}
    for num, row in pci.irq_names().items():
        out[num] = sum(int(w) for w in row.split() if w.isdigit())
    return out


def _taken(cfg, pci, end):
    """ Traffic, and what the vectors counted meanwhile. """
    before = _count(pci)
    ping(end, cfg.peer, count=20)
    verify_udp(end, cfg.peer, (64, 1000))
    verify_tcp(end, cfg.peer, 500000)
    after = _count(pci)
    return {num: after[num] - before.get(num, 0) for num in after}


def _rebind(cfg):
    cfg.pci.unbind()
    cfg.pci.bind(module_name(cfg.pf_module))
    cfg.load_pf()


def _vector_kind(pci):
    """ msix, msi or intx, from what the PCI core says of the vectors. """
    msi = pci.path / "msi_irqs"
    if msi.exists():
        kinds = {f.read_text().strip() for f in msi.iterdir()}
        if kinds:
            ksft_eq(len(kinds), 1)
            return kinds.pop()
    return "intx"


def configured(cfg):
    """ The PF uses what this boot offers, and its interrupts are really taken. """
    ksft_eq(_vector_kind(cfg.pci), MODE)
    taken = _taken(cfg, cfg.pci, cfg.pf)
    ksft_gt(sum(taken.values()), 10, taken)
    if MODE == "msix":
        ksft_ge(len(taken), 2, "queue vectors and one for everything else")
    else:
        ksft_eq(len(taken), 1)


def intx(cfg):
    """ With all MSI denied the PF falls back to its pin, and works. """
    if MODE != "msix":
        raise KsftSkipEx("the boot with MSI-X shows it")
    def restore():
        cfg.pci.write("msi_bus", 1)
        _rebind(cfg)
    defer(restore)
    cfg.pci.write("msi_bus", 0)
    _rebind(cfg)
    ksft_eq(_vector_kind(cfg.pci), "intx")
    rows = list(cfg.pci.irq_names().values())
    ksft_in("IO-APIC", rows[0])
    taken = _taken(cfg, cfg.pci, cfg.pf)
    ksft_gt(sum(taken.values()), 10, taken)


def no_vfs_without_msix(cfg):
    """ With its pin alone the PF makes no VFs, and goes on. """
    if MODE == "msix":
        def restore():
            cfg.pci.write("msi_bus", 1)
            _rebind(cfg)
        defer(restore)
        cfg.pci.write("msi_bus", 0)
        _rebind(cfg)
    if "/" not in cfg.pf_module:
        raise KsftSkipEx("the C driver makes VFs to which its PF does not listen")
    try:
        cfg.pci.write("sriov_numvfs", 1)
        ksft_true(False, "VFs without MSI-X")
    except OSError as e:
        ksft_eq(e.errno, errno.EOPNOTSUPP)
    ksft_eq(int(cfg.pci.read("sriov_numvfs")), 0)
    ping(cfg.pf, cfg.peer)


def diag(cfg):
    """ The driver's own interrupt test passes in this mode. """
    out = ethtool(f"-t {cfg.pf.ifname} offline").stdout
    line = [l for l in out.splitlines() if l.startswith("Interrupt")]
    ksft_true(line and line[0].split()[-1] == "0", out)
    cfg.settle()
    cfg.reload_after_self_test()


def vf_msix(cfg):
    """ A VF takes interrupts on each of its queue vectors, and no other function does. """
    if MODE != "msix":
        raise KsftSkipEx("SR-IOV needs MSI-X")
    cfg.create_vfs(2)
    ksft_eq(_vector_kind(cfg.vfs[0].pci), "msix")
    other = _count(cfg.vfs[1].pci)
    taken = _taken(cfg, cfg.vfs[0].pci, cfg.vfs[0])
    ksft_gt(sum(taken.values()), 10, taken)
    # A few are due to broadcasts and to the watchdog.
    stray = sum(_count(cfg.vfs[1].pci).values()) - sum(other.values())
    ksft_true(stray < sum(taken.values()) // 2, f"{stray} at the other VF, {taken}")


def main():
    with IxgbeEnv() as cfg:
        ksft_run([configured, diag, intx, no_vfs_without_msix, vf_msix], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
