#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" Again and again: bind, reset, create, open. Nothing wears out and nothing is left over. """

import os

from lib.py import ksft_run, ksft_exit, ksft_eq
from lib.py import IxgbeEnv, KernelLog, module_name, ping, verify_tcp

CYCLES = int(os.environ.get("KSFT_CYCLES", "20"))


def _clean(func):
    """ The kernel log stays free of faults over all cycles. """
    def wrapper(cfg):
        log = KernelLog()
        func(cfg)
        ksft_eq(log.faults(), [])
    wrapper.__name__ = func.__name__
    return wrapper


@_clean
def pf_bind(cfg):
    """ The PF driver is unbound and bound. """
    for _ in range(CYCLES):
        cfg.pci.unbind()
        cfg.pci.bind(module_name(cfg.pf_module))
        cfg.load_pf()
    verify_tcp(cfg.pf, cfg.peer, 200000)


@_clean
def pf_flr(cfg):
    """ The PF is reset by function level reset. """
    for _ in range(CYCLES):
        cfg.pf.down()
        cfg.pci.reset()
        cfg.pf.set_addrs()
        cfg.pf.up()
    verify_tcp(cfg.pf, cfg.peer, 200000)


@_clean
def pf_open(cfg):
    """ The interface goes down and up. """
    for _ in range(CYCLES):
        cfg.pf.down()
        cfg.pf.set_addrs()
        cfg.pf.up()
    verify_tcp(cfg.pf, cfg.peer, 200000)


@_clean
def vf_create(cfg):
    """ VFs come and go. """
    for i in range(CYCLES):
        cfg.create_vfs(1 + i % 4, claim=1)
    ping(cfg.vfs[0], cfg.peer)
    cfg.remove_vfs()


@_clean
def vf_bind(cfg):
    """ The VF driver is unbound and bound; the other VF does not notice. """
    cfg.create_vfs(2)
    for _ in range(CYCLES):
        cfg.vfs[0].rebind()
        ping(cfg.vfs[1], cfg.peer)
    verify_tcp(cfg.vfs[0], cfg.peer, 200000)


@_clean
def vf_flr(cfg):
    """ A VF is reset by function level reset; the other VF does not notice. """
    cfg.create_vfs(2)
    vf = cfg.vfs[0]
    for _ in range(CYCLES):
        # ixgbevf has no reset_prepare(), and opens an interface without resetting the VF:
        # only a probe does that.
        driver = vf.pci.unbind()
        vf.pci.reset()
        vf.pci.bind(driver)
        vf.claim()
        vf.up()
        ping(vf, cfg.peer)
        ping(cfg.vfs[1], cfg.peer)
    verify_tcp(vf, cfg.peer, 200000)


@_clean
def vf_open(cfg):
    """ The VF goes down and up. """
    cfg.create_vfs(1)
    vf = cfg.vfs[0]
    for _ in range(CYCLES):
        vf.down()
        vf.set_addrs()
        vf.up()
    verify_tcp(vf, cfg.peer, 200000)


def main():
    with IxgbeEnv() as cfg:
        ksft_run([pf_open, pf_bind, pf_flr, vf_create, vf_bind, vf_flr, vf_open], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
