#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What this project's VF driver makes of the answers of its PF, and of what its own users
ask for. Not for the C driver, which looks at few answers.
"""

import time

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_in, ksft_not_in, \
    ksft_not_none, ksft_true
from lib.py import PATIENCE, Frame, IxgbeEnv, KernelLog, KsftSkipEx, NetNSEnter, PacketSocket, cmd, \
    crosses, defer, ip, ping, verify_tcp
from lib.py import bpf

# The frames that the hardware takes have at least 17 bytes (82599 datasheet 7.2.3.2.4, PAYLEN).
MIN_FRAME = 17
GROUP = "01:00:5e:01:02:"
# VFTXDCTL of queue 0, and from there to the next.
VFTXDCTL, STEP = 0x2028, 0x40
ENABLE = 1 << 25


def _sent(vf):
    stats = vf.stats()
    return stats["tx_packets"], stats["tx_bytes"]


def short_frames(cfg):
    """ Frames shorter than the hardware takes are padded. """
    vf = cfg.vfs[0]
    head = bytes.fromhex((cfg.peer.mac() + vf.mac()).replace(":", "")) + b"\x88\xb5"
    with PacketSocket(vf.ifname, vf.ns) as tx:
        for extra in range(4):
            # The stack may send a frame of its own in between: look until it has not.
            for _ in range(20):
                before = _sent(vf)
                tx.send(head + bytes(extra))
                ksft_busy_wait(lambda b=before: _sent(vf)[0] > b[0], deadline=PATIENCE)
                packets, nbytes = (a - b for a, b in zip(_sent(vf), before))
                if packets == 1:
                    break
            ksft_eq(packets, 1)
            ksft_eq(nbytes, MIN_FRAME, f"a frame of {14 + extra} bytes")
    ping(vf, cfg.peer)


def promisc_then_allmulti(cfg):
    """ Promiscuous mode, which an 82599 refuses, does not cost a trusted VF the groups. """
    vf, log = cfg.vfs[0], KernelLog()
    cfg.set_trust(0, True)
    defer(cfg.set_trust, 0, False)
    vf.link("promisc on")
    defer(vf.link, "promisc off")
    ksft_true(cfg.gets_soon(vf, GROUP + "99"), "promisc")
    vf.link("allmulticast on")
    defer(vf.link, "allmulticast off")
    ksft_true(cfg.gets_soon(vf, GROUP + "98"), "promisc and allmulticast")
    ksft_not_none(log.wait("grants no promiscuous mode"))


def forty_groups(cfg):
    """ A VF in more groups than its PF takes gets all if it is trusted, and says so if not. """
    vf, log = cfg.vfs[0], KernelLog()
    groups = [GROUP + f"{i:02x}" for i in range(40)]
    for group in groups:
        ip(f"maddr add {group} dev {vf.ifname}", ns=vf.ns)
        defer(ip, f"maddr del {group} dev {vf.ifname}", ns=vf.ns)
    ksft_not_none(log.wait("More multicast groups than the PF takes"))
    # Once, however often the list changes.
    ip(f"maddr add {GROUP}77 dev {vf.ifname}", ns=vf.ns)
    ip(f"maddr del {GROUP}77 dev {vf.ifname}", ns=vf.ns)
    ksft_eq(len(log.matching("More multicast groups than the PF takes")), 1)
    cfg.set_trust(0, True)
    defer(cfg.set_trust, 0, False)
    for group in groups[::13]:
        ksft_true(cfg.gets_soon(vf, group), group)


def mtu_larger_than_the_pfs(cfg):
    """ A VF whose PF's MTU was lowered receives what fits, and says that it is not all. """
    vf, log = cfg.vfs[0], KernelLog()
    cfg.set_mtu(9000)
    defer(cfg.set_mtu, 1500)
    ksft_eq(log.matching("refuses an MTU"), [])
    cfg.pf.set_mtu(1500)
    cfg.settle()
    ksft_eq(vf.info()["mtu"], 9000)
    ksft_not_none(log.wait("refuses an MTU of 9000: received are frames of an MTU of 1500"))
    ping(vf, cfg.peer)


def _inflight(vf):
    """ Bytes that the byte limits of the VF's queues take for being on their way. """
    out = cmd(f"ip netns exec {vf.ns} sh -c 'cat /sys/class/net/{vf.ifname}/queues/tx-*/"
              "byte_queue_limits/inflight'", shell=True).stdout
    return [int(n) for n in out.split()]


def nothing_in_flight(cfg):
    """ After load nothing is left in the byte limits: all that was freed was accounted for. """
    vf = cfg.vfs[0]
    verify_tcp(vf, cfg.peer, 4 << 20)
    vf.link("down")
    vf.set_addrs()
    vf.up()
    cfg.settle(vf)
    verify_tcp(vf, cfg.peer, 4 << 20)
    cmd(f"ethtool -r {vf.ifname}", ns=vf.ns)
    cfg.settle(vf)
    # At one moment: the next one may see a frame that IPv6 sends by itself. What is never freed stays.
    ksft_busy_wait(lambda: not any(_inflight(vf)), deadline=PATIENCE,
                   comment="something is in flight")


def _queues(vf):
    """ Transmit queues that are enabled, and the names of statistics of queues. """
    regs = vf.pci.map_bar(0)
    enabled = [q for q in range(4) if regs[(VFTXDCTL + q * STEP) // 4] & ENABLE]
    return enabled, {s.rsplit("_", 1)[0] for s in vf.stats() if "_queue_" in s and
                     s.endswith("_packets")}


def xdp_stays_migratable(cfg):
    """ With a program attached a VF that can be migrated uses queues 0 and 1 alone. """
    if "/" not in cfg.pf_module:
        raise KsftSkipEx("the C driver of the PF does not offer migration")
    vf = cfg.vfs[0]

    def attach(code):
        with NetNSEnter(vf.ns):
            return bpf.attach(vf.ifname, code)

    before = _queues(vf)
    ksft_eq(before[0], [0, 1])
    ksft_in("tx_queue_1", before[1])
    for _ in range(2):
        ksft_eq(attach(bpf.passes()), 0)
        cfg.settle(vf)
        enabled, names = _queues(vf)
        ksft_eq(enabled, [0, 1])
        ksft_in("xdp_queue_0", names)
        ksft_not_in("xdp_queue_1", names)
        ksft_not_in("tx_queue_1", names)
        verify_tcp(vf, cfg.peer, 200000)
        ksft_eq(attach(None), 0)
        cfg.settle(vf)
        ksft_eq(_queues(vf), before)
        verify_tcp(vf, cfg.peer, 200000)


def refused_vlan_is_forgotten(cfg):
    """ A VLAN that is removed while the PF refuses it does not come back later. """
    vf = cfg.vfs[0]
    vlan = vf.add_vlan(77)
    # A port VLAN: the PF refuses each change of the guest's list from now on.
    cfg.vf_set(0, "vlan 300")
    defer(cfg.settle)
    defer(cfg.vf_set, 0, "vlan 0")
    time.sleep(0.5)
    vlan.delete()
    cfg.vf_set(0, "vlan 0")
    cfg.settle()
    cmd(f"ethtool -r {vf.ifname}", ns=vf.ns)
    cfg.settle()
    src = cfg.peer.mac()
    with PacketSocket(vf.ifname, vf.ns) as rx, \
         PacketSocket(cfg.peer.ifname, cfg.peer.ns) as tx:
        got = crosses(tx, rx, Frame(vf.mac(), src, vlan=77), marker=Frame(vf.mac(), src))
    ksft_true(got is None, "still received")


def main():
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([short_frames, promisc_then_allmulti, forty_groups, mtu_larger_than_the_pfs,
                  nothing_in_flight, xdp_stays_migratable, refused_vlan_is_forgotten],
                 args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
