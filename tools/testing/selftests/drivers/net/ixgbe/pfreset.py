#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" The PF is reset under VFs that are in use: each comes back by itself. """

import re

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_variants, KsftNamedVariant
from lib.py import Expect, IxgbeEnv, defer, ethtool, ip, verify_tcp


def _down_up(cfg):
    cfg.pf.down()
    cfg.pf.set_addrs()
    cfg.pf.up()


def _renegotiate(cfg):
    ethtool(f"-r {cfg.pf.ifname}")


def _rings(cfg):
    ethtool(f"-G {cfg.pf.ifname} rx 256 tx 256")
    defer(ethtool, f"-G {cfg.pf.ifname} rx 512 tx 512")


def _features(cfg):
    # Switching VLAN stripping or RSC makes the driver reset.
    cfg.pf.features("rxvlan off")
    defer(cfg.pf.features, "rxvlan on")


def _flr(cfg):
    # The C driver has no reset_prepare(): the interface must be down meanwhile. The
    # reset clears VF Enable, and with it the configuration space of every VF (PCIe 6.0,
    # section 9.2.2.2): their drivers have to enable the devices anew.
    cfg.pf.down()
    driver = [vf.pci.unbind() for vf in cfg.vfs]
    cfg.pci.reset()
    cfg.pf.set_addrs()
    cfg.pf.up()
    for vf in cfg.vfs:
        vf.pci.bind(driver[0])
        vf.claim()
        vf.up()


# What a VF's driver says that looks while its PF is down.
NOT_UP = "^ixgbevf[a-z_]* .*Unable to start - perhaps the PF Driver"


@ksft_variants([KsftNamedVariant("down_up", _down_up),
                KsftNamedVariant("renegotiate", _renegotiate),
                KsftNamedVariant("rings", _rings),
                KsftNamedVariant("features", _features),
                KsftNamedVariant("flr", _flr)])
def under_vfs(cfg, action):
    """ After the reset, both VFs and the PF pass verified traffic again. """
    with Expect(NOT_UP) as log:
        action(cfg)
        cfg.settle()
        for vf in cfg.vfs:
            verify_tcp(vf, cfg.peer, 200000)
        verify_tcp(cfg.vfs[0], cfg.vfs[1], 200000)
        verify_tcp(cfg.vfs[0], cfg.pf, 200000)
        ksft_eq([f for f in log.faults() if not re.search(NOT_UP, f)], [])


def settings_survive(cfg):
    """ What the host had set of a VF outlives a reset of the PF. """
    mac = "02:82:59:90:00:02"
    # Neighbours are fresh, so that nobody looks for them by chance.
    cfg.settle(cfg.vfs[1])
    cfg.vf_set(1, f"mac {mac}")
    cfg.vf_set(1, "spoofchk off")
    cfg.vf_set(1, "max_tx_rate 500")
    before = {k: v for k, v in cfg.vf_info(1).items() if k != "stats"}
    with Expect(NOT_UP):
        _down_up(cfg)
        cfg.vfs[1].wait_address(mac)
    if "/" not in cfg.vf_module:
        # The C driver tells nobody of its new address: what neighbours have cached keeps
        # the old one as source, unless the stack saw the carrier go.
        ip("neigh flush all", ns=cfg.vfs[1].ns)
    cfg.settle()
    ksft_eq({k: v for k, v in cfg.vf_info(1).items() if k != "stats"}, before)
    verify_tcp(cfg.vfs[1], cfg.peer, 200000)


def main():
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([under_vfs, settings_survive], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
