#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
VFs that somebody in user space has opened by VFIO, as a VM has: the PF keeps them.
"""

import errno
import threading
import time

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_in, ksft_lt, ksft_true
from lib.py import PATIENCE, IxgbeEnv, KernelLog, KsftSkipEx, VfioUser, ping, to_vfio


def _vf(cfg, index=1):
    """ A VF for user space; the other one stays with the kernel. """
    vf = cfg.vfs[index].pci
    to_vfio(vf)
    ksft_eq(vf.driver, "vfio-pci")
    return vf


def _set_numvfs(cfg, count):
    """ The errno of a write to sriov_numvfs, and how long it took. """
    start = time.monotonic()
    try:
        cfg.pci.write("sriov_numvfs", count)
        result = 0
    except OSError as e:
        result = e.errno
    return result, time.monotonic() - start


def removal_is_refused(cfg):
    """ While a VF is open its PF keeps all VFs and says so, and does not wait for it; traffic goes on. """
    if "/" not in cfg.pf_module:
        raise KsftSkipEx("the C driver asks the user for the VF, and waits")
    vf = _vf(cfg)
    # Bound, and not open: nobody is harmed.
    user = VfioUser(vf)
    log = KernelLog()
    try:
        result, seconds = _set_numvfs(cfg, 0)
        ksft_eq(result, errno.EBUSY)
        ksft_lt(seconds, PATIENCE)
        ksft_true(log.wait("VF 1 is in use by a VFIO user") is not None)
        ksft_eq(log.matching("Relaying device request"), [])
        ksft_eq(int(cfg.pci.read("sriov_numvfs")), 2)
        ksft_eq(vf.driver, "vfio-pci")
        ping(cfg.vfs[0], cfg.peer)
    finally:
        user.close()
    result, seconds = _set_numvfs(cfg, 0)
    ksft_eq(result, 0)
    cfg.create_vfs(2)


def unbinding_waits(cfg):
    """ Unbinding the PF cannot be refused: it waits until the user has given the VF back. """
    if "/" not in cfg.pf_module:
        raise KsftSkipEx("of the Rust driver")
    vf = _vf(cfg)
    user = VfioUser(vf)
    log = KernelLog()
    # In the order of a host that shuts down in a hurry.
    unbind = threading.Thread(target=cfg.pci.unbind)
    unbind.start()
    try:
        ksft_true(log.wait("Unloading driver while VF 1 is in use") is not None)
        # "Relaying …" to one who listens, "No … channel registered" for this one.
        ksft_true(log.wait("device request") is not None)
        ksft_true(unbind.is_alive(), "waits for the user")
    finally:
        user.close()
    unbind.join(PATIENCE)
    ksft_true(not unbind.is_alive())
    ksft_in(cfg.pci.driver, (None,))
    cfg.load_pf()
    cfg.create_vfs(2)
    ping(cfg.vfs[0], cfg.peer)


def main():
    """ KTAP of this file. """
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([removal_is_refused, unbinding_waits], args=(cfg,))
    ksft_exit()


if __name__ == "__main__":
    main()
