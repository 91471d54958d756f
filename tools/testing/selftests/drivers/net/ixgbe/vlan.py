#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" VLANs: the PF's filter, tags made by a guest, and port VLANs set by the host. """

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_true, ksft_variants, KsftNamedVariant
from lib.py import CmdExitFailure, Frame, IxgbeEnv, PacketSocket, crosses, defer, ping, \
    verify_tcp, verify_udp

VID, OTHER, PORT = 100, 101, 200


def _member(end, vid):
    """ A VLAN interface for the time of this test. """
    vlan = end.add_vlan(vid)
    defer(vlan.delete)
    return vlan


def _verify(src, dst):
    ping(src, dst, "4")
    ping(src, dst, "6")
    verify_udp(src, dst, (1, 18, 1000, 1472, 4000))
    verify_tcp(src, dst, 300000)


def pf_filter(cfg):
    """ The PF gets frames of the VLANs that it joined, and no others. """
    with PacketSocket(cfg.pf.ifname) as rx, PacketSocket(cfg.peer.ifname, cfg.peer.ns) as tx:
        def passes(vid):
            me, peer = cfg.pf.mac(), cfg.peer.mac()
            return crosses(tx, rx, Frame(me, peer, vid), marker=Frame(me, peer))
        ksft_true(passes(VID) is None, "not yet a member")
        vlan = cfg.pf.add_vlan(VID)
        got = passes(VID)
        ksft_true(got and got.vlan == VID, "member")
        ksft_true(passes(OTHER) is None, "still no member of the other")
        vlan.delete()
        ksft_true(passes(VID) is None, "left")


@ksft_variants([KsftNamedVariant(f"strip_{rx}_insert_{tx}", rx, tx)
                for rx in ("on", "off") for tx in ("on", "off")])
def pf_traffic(cfg, rx, tx):
    """ Verified traffic in a VLAN, tags handled by hardware or by software. """
    cfg.pf.features(f"rxvlan {rx} txvlan {tx}")
    defer(cfg.pf.features, "rxvlan on txvlan on")
    cfg.settle()
    _verify(_member(cfg.pf, VID), _member(cfg.peer, VID))


@ksft_variants(["vf0-peer", "vf0-vf1", "vf0-pf"])
def guest_tag(cfg, pair):
    """ Verified traffic with tags that the guest makes. """
    src, dst = cfg.endpoints(pair)
    _verify(_member(src, VID), _member(dst, VID))


def guest_filter(cfg):
    """ A VF gets frames of the VLANs that it joined, whatever the other VF joined. """
    one, two = cfg.vfs
    _member(one, VID)
    _member(two, OTHER)
    peer = cfg.peer.mac()
    with PacketSocket(cfg.peer.ifname, cfg.peer.ns) as tx:
        for vf, vid, other in ((one, VID, OTHER), (two, OTHER, VID)):
            with PacketSocket(vf.ifname, vf.ns) as rx:
                got = crosses(tx, rx, Frame(vf.mac(), peer, vid))
                ksft_true(got and got.vlan == vid, f"{vf} in {vid}")
                marker = Frame(vf.mac(), peer, vid)
                ksft_eq(crosses(tx, rx, Frame(vf.mac(), peer, other), marker), None,
                        f"{vf} not in {other}")


def guest_many(cfg):
    """ A VF joins 32 VLANs, the last of them works; it leaves them, it gets none. """
    vf, peer = cfg.vfs[0], cfg.peer.mac()
    vlans = [vf.add_vlan(vid) for vid in range(1000, 1032)]
    with PacketSocket(cfg.peer.ifname, cfg.peer.ns) as tx, PacketSocket(vf.ifname, vf.ns) as rx:
        for vid in (1000, 1031):
            got = crosses(tx, rx, Frame(vf.mac(), peer, vid))
            ksft_true(got and got.vlan == vid, f"joined {vid}")
        for vlan in vlans:
            vlan.delete()
        for vid in (1000, 1031):
            ksft_eq(crosses(tx, rx, Frame(vf.mac(), peer, vid), Frame(vf.mac(), peer)),
                    None, f"left {vid}")


def _port_vlan(cfg, qos=0):
    cfg.vf_set(0, f"vlan {PORT} qos {qos}")
    defer(cfg.vfs[0].rebind)
    defer(cfg.vf_set, 0, "vlan 0")
    # Only a VF that was initialised under the port VLAN knows of it.
    cfg.vfs[0].rebind()
    info = cfg.vf_info(0)["vlan_list"][0]
    ksft_eq(info["vlan"], PORT)
    ksft_eq(info.get("qos", 0), qos)


def port_traffic(cfg):
    """ A VF with a port VLAN talks to the VLAN without knowing of it. """
    _port_vlan(cfg)
    _verify(cfg.vfs[0].on_net(1), _member(cfg.peer, PORT))


def port_tag(cfg):
    """ Its frames carry the host's tag and priority on the wire; it sees no tag. """
    _port_vlan(cfg, qos=3)
    vf = cfg.vfs[0]
    with PacketSocket(cfg.peer.ifname, cfg.peer.ns, promisc=True) as peer, \
         PacketSocket(vf.ifname, vf.ns) as sock:
        got = crosses(sock, peer, Frame(cfg.peer.mac(), vf.mac()))
        ksft_true(got is not None, "frame arrives")
        if got:
            ksft_eq((got.vlan, got.prio), (PORT, 3))
        got = crosses(peer, sock, Frame(vf.mac(), cfg.peer.mac(), PORT))
        ksft_true(got is not None, "tagged frame arrives")
        if got:
            ksft_eq(got.vlan, None, "tag is hidden")
        marker = Frame(vf.mac(), cfg.peer.mac(), PORT)
        ksft_eq(crosses(peer, sock, Frame(vf.mac(), cfg.peer.mac()), marker), None,
                "untagged frame stays out")


def port_denies_guest(cfg):
    """ With a port VLAN the guest may not join another, and keeps working. """
    _port_vlan(cfg)
    vf = cfg.vfs[0]
    try:
        vf.add_vlan(VID).delete()
        ksft_true(False, "the guest joined a VLAN")
    except CmdExitFailure:
        pass
    ping(vf.on_net(1), _member(cfg.peer, PORT))


@ksft_variants([KsftNamedVariant(args.replace(" ", "_"), args) for args in
                ("vlan 4096", "vlan 10 qos 8", "vlan 10 proto 802.1ad")])
def port_bad(cfg, args):
    """ Values out of range are refused and change nothing. """
    try:
        cfg.vf_set(0, args)
        ksft_true(False, f"{args} was accepted")
    except CmdExitFailure:
        pass
    # iproute2 leaves out what is 0.
    ksft_eq(cfg.vf_info(0)["vlan_list"][0].get("vlan", 0), 0)
    ping(cfg.vfs[0], cfg.peer)


def main():
    with IxgbeEnv() as cfg:
        def with_vfs(cfg):
            """ The same filter once VFs share it. """
            cfg.create_vfs(2)
            pf_filter(cfg)

        ksft_run([pf_filter, pf_traffic, with_vfs, guest_tag, guest_filter, guest_many,
                  port_traffic, port_tag, port_denies_guest, port_bad], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
