#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" A VF may send in its own name only. """

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_true
from lib.py import IxgbeEnv, KernelLog, arp_free_mac, defer, ping


def _leaves(cfg, src, vlan=None):
    """ Whether a frame of VF 0 with this source and tag gets onto the wire. """
    return cfg.leaves(cfg.vfs[0], src, vlan)


def _off(cfg):
    cfg.vf_set(0, "spoofchk off")
    defer(cfg.vf_set, 0, "spoofchk on")


def default_on(cfg):
    """ Spoof checking is on unless the host says otherwise. """
    ksft_eq(cfg.vf_info(0)["spoofchk"], True)


def mac_dropped(cfg):
    """ A frame with a foreign source address does not leave. """
    ksft_true(not _leaves(cfg, arp_free_mac()))
    ksft_true(not _leaves(cfg, cfg.vfs[1].mac()), "in the other VF's name")
    ksft_true(not _leaves(cfg, cfg.pf.mac()), "in the PF's name")
    ping(cfg.vfs[0], cfg.peer)


def mac_counted(cfg):
    """ The host is told how many there were. """
    log = KernelLog()
    for _ in range(3):
        _leaves(cfg, arp_free_mac())
    ksft_true(log.wait(r"\d+ Spoofed packets detected") is not None)


def mac_allowed(cfg):
    """ With the check off the same frame leaves; with the check on again it does not. """
    mac = arp_free_mac()
    _off(cfg)
    ksft_eq(cfg.vf_info(0)["spoofchk"], False)
    ksft_true(_leaves(cfg, mac))
    cfg.vf_set(0, "spoofchk on")
    ksft_true(not _leaves(cfg, mac))


def vlan_dropped(cfg):
    """ A tag of a VLAN that the VF is not in does not leave; of one that it is in does. """
    mac = cfg.vfs[0].mac()
    ksft_true(not _leaves(cfg, mac, vlan=300), "not a member")
    vlan = cfg.vfs[0].add_vlan(300)
    defer(vlan.delete)
    ksft_true(_leaves(cfg, mac, vlan=300), "member")
    ksft_true(not _leaves(cfg, mac, vlan=301), "not a member of the other")


def other_vf_unharmed(cfg):
    """ The check of one VF is not the check of the other. """
    _off(cfg)
    ksft_eq(cfg.vf_info(1)["spoofchk"], True)
    ksft_true(not cfg.leaves(cfg.vfs[1], arp_free_mac()))


def main():
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([default_on, mac_dropped, mac_counted, mac_allowed, vlan_dropped,
                  other_vf_unharmed], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
