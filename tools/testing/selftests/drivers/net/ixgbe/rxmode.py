#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" Receive modes: who gets unicast, multicast and broadcast frames, and who may ask for more. """

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_true, ksft_variants
from lib.py import IxgbeEnv, arp_free_mac, defer, ip

BROADCAST = "ff:ff:ff:ff:ff:ff"


def _mode(end, flag):
    """ Switch a receive mode on for the time of this test. """
    end.link(flag + " on")
    defer(end.link, flag + " off")


def _join(end, group):
    ip(f"maddr add {group} dev {end.ifname}", ns=end.ns)


def _leave(end, group):
    ip(f"maddr del {group} dev {end.ifname}", ns=end.ns)


def _end(cfg, name):
    if name == "vf0" and not cfg.vfs:
        cfg.create_vfs(2)
    return cfg.endpoint(name)


@ksft_variants(["pf", "vf0"])
def unicast(cfg, name):
    """ Frames to others stay out. """
    end = _end(cfg, name)
    ksft_true(not cfg.gets(end, arp_free_mac()))
    if name == "vf0":
        ksft_true(not cfg.gets(end, cfg.pf.mac()), "the PF's")
        ksft_true(not cfg.gets(end, cfg.vfs[1].mac()), "the other VF's")


@ksft_variants(["pf", "vf0"])
def broadcast(cfg, name):
    """ Everybody gets broadcasts. """
    ksft_true(cfg.gets(_end(cfg, name), BROADCAST))


@ksft_variants(["pf", "vf0"])
def multicast(cfg, name):
    """ A group is received while it is joined. """
    end = _end(cfg, name)
    group, other = cfg.free_groups(2)
    ksft_true(not cfg.gets(end, group), "before")
    _join(end, group)
    ksft_true(cfg.gets_soon(end, group), "joined")
    ksft_true(not cfg.gets(end, other), "another group")
    _leave(end, group)
    if name == "vf0":
        # The PF only adds what a VF asks for (ixgbe_set_vf_multicasts); it rebuilds the
        # table, which all pools share, when its own list changes.
        _join(cfg.pf, other)
        _leave(cfg.pf, other)
    ksft_true(not cfg.gets_soon(end, group, False), "left")


def pf_allmulti(cfg):
    """ allmulticast gives the PF every group, and no foreign unicast. """
    _mode(cfg.pf, "allmulticast")
    ksft_true(cfg.gets_soon(cfg.pf, *cfg.free_groups(1)))
    ksft_true(not cfg.gets(cfg.pf, arp_free_mac()))


@ksft_variants(["alone", "with_vfs"])
def pf_promisc(cfg, state):
    """ promisc gives the PF foreign unicast, for as long as it is on. """
    if state == "with_vfs":
        _end(cfg, "vf0")
    foreign = arp_free_mac()
    cfg.pf.link("promisc on")
    got = cfg.gets_soon(cfg.pf, foreign)
    cfg.pf.link("promisc off")
    ksft_true(got, "on")
    ksft_true(not cfg.gets_soon(cfg.pf, foreign, False), "off again")


@ksft_variants(["pf", "vf0"])
def second_address(cfg, name):
    """ A macvlan's address is received without any promiscuous mode. """
    end = _end(cfg, name)
    mac = arp_free_mac()
    ksft_true(not cfg.gets(end, mac), "before")
    ip(f"link add link {end.ifname} name mv0 address {mac} type macvlan mode private", ns=end.ns)
    ip("link set mv0 up", ns=end.ns)
    got = cfg.gets_soon(end, mac)
    ip("link del mv0", ns=end.ns)
    ksft_true(got, "added")
    ksft_true(not cfg.gets_soon(end, mac, False), "removed")


def vf_allmulti(cfg):
    """ A VF gets every group only if it asks for it and the host trusts it. """
    vf = _end(cfg, "vf0")
    group, = cfg.free_groups(1)
    _mode(vf, "allmulticast")
    ksft_true(not cfg.gets(vf, group), "not trusted")
    cfg.set_trust(0, True)
    untrust = defer(cfg.set_trust, 0, False)
    ksft_eq(cfg.vf_info(0)["trust"], True)
    ksft_true(cfg.gets_soon(vf, group), "trusted")
    untrust.exec()
    ksft_true(not cfg.gets_soon(vf, group, False), "no longer trusted")


@ksft_variants(["off", "on"])
def vf_promisc(cfg, trust):
    """
    The 82599 has no unicast promiscuous mode per pool (the X540 has, VMOLR.UPE): no
    trust makes a VF see frames to others.
    """
    vf = _end(cfg, "vf0")
    if trust == "on":
        cfg.set_trust(0, True)
        defer(cfg.set_trust, 0, False)
    _mode(vf, "promisc")
    ksft_true(not cfg.gets(vf, arp_free_mac()))
    ksft_true(not cfg.gets(vf, cfg.vfs[1].mac()), "the other VF's")


def main():
    with IxgbeEnv() as cfg:
        ksft_run([unicast, broadcast, multicast, pf_allmulti, pf_promisc, second_address,
                  vf_allmulti, vf_promisc], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
