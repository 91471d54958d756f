#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" What the host decides about a VF: `ip link set PF vf N …`. """

import contextlib
import socket
import threading
import time

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_ge, ksft_gt, ksft_in, \
    ksft_lt, ksft_pr, ksft_true, ksft_variants, KsftNamedVariant
from lib.py import PATIENCE, CmdExitFailure, IxgbeEnv, NetNSEnter, arp_free_mac, cmd, defer, ethtool, ip, \
    ping, verify_tcp

MAC = "02:82:59:90:00:01"


def _refused(cfg, args):
    """ The kernel's answer to a bad setting. """
    try:
        ip_args = f"ip link set dev {cfg.pf.ifname} {args}"
        cmd(ip_args)
        ksft_true(False, f"accepted: {args}")
    except CmdExitFailure as e:
        return e.cmd.stderr
    return ""


def mac_set(cfg):
    """ A VF whose address the host has set uses it after a reload. """
    cfg.vf_set(0, f"mac {MAC}")
    cfg.vfs[0].rebind()
    ksft_eq(cfg.vfs[0].mac(), MAC)
    ksft_eq(cfg.vf_info(0)["address"], MAC)
    ping(cfg.vfs[0], cfg.peer)
    verify_tcp(cfg.vfs[0], cfg.peer, 100000)


def mac_guest_denied(cfg):
    """ A guest may not override the host's address, and keeps working. """
    vf = cfg.vfs[0]
    cfg.vf_set(0, f"mac {MAC}")
    vf.rebind()
    try:
        vf.link(f"address {arp_free_mac()}")
        ksft_true(False, "the guest changed its address")
    except CmdExitFailure:
        pass
    ksft_eq(cfg.vf_info(0)["address"], MAC)
    ping(vf, cfg.peer)


def mac_guest_trusted(cfg):
    """ A trusted guest may. """
    vf, mac = cfg.vfs[0], arp_free_mac()
    cfg.vf_set(0, f"mac {MAC}")
    cfg.set_trust(0, True)
    defer(cfg.set_trust, 0, False)
    vf.rebind()
    vf.link(f"address {mac}")
    ksft_eq(cfg.vf_info(0)["address"], mac)
    ping(vf, cfg.peer)
    vf.link(f"address {MAC}")


def mac_guest_own(cfg):
    """ A guest to which the host gave no address may choose its own. """
    vf, mac = cfg.vfs[1], arp_free_mac()
    vf.link(f"address {mac}")
    ksft_eq(cfg.vf_info(1)["address"], mac)
    ping(vf, cfg.peer)
    # The other VF may still know the old address.
    ip(f"neigh flush dev {cfg.vfs[0].ifname}", ns=cfg.vfs[0].ns)
    ping(cfg.vfs[0], vf)


def _burst(cfg, vf, frames, size=1500):
    """
    Seconds and bytes on the wire of a burst of @frames that is given to the VF at once: how fast
    they are made does not matter, since the device counts from its first frame to its last.
    """
    # fq_codel, which is the default of many systems, drops frames that have waited for 5 ms or more: a driver with byte
    # queue limits has them wait there.
    cmd(f"tc qdisc replace dev {vf.ifname} root pfifo limit {2 * frames}", ns=vf.ns)
    defer(cmd, f"tc qdisc del dev {vf.ifname} root", ns=vf.ns, fail=False)
    # The stack drops frames beyond a few while it looks for a neighbour.
    ping(vf, cfg.peer, "4")
    with NetNSEnter(cfg.peer.ns):
        # Somebody must be there, or the answers that nobody is make a send fail. What is not read
        # is dropped.
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with NetNSEnter(vf.ns):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.closing(sock), contextlib.closing(sink):
        sink.bind((cfg.peer.addr("4"), 0))
        # Blocks while that is in the queues, so that none is lost before the device.
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4096 * frames)
        sock.connect(sink.getsockname())
        before, start = vf.stats(), time.monotonic()
        done = threading.Thread(target=lambda: [sock.send(bytes(size - 28)) for _ in range(frames)])
        done.start()
        sent = 0
        while sent < frames:
            now = vf.stats()
            sent = sum(now[k] - before[k] for k in now if k.startswith("tx_queue_") and
                       k.endswith("_packets"))
            seconds = time.monotonic() - start
            if seconds > PATIENCE:
                break
        done.join()
    ksft_ge(sent, frames)
    # Preamble, FCS and gap are on the wire as well; the limit is one of the wire.
    return seconds, frames * (size + 14 + 24)


# asm-generic/socket.h; Python does not name it.
SO_SNDBUFFORCE = 32


# Of the PF (82599 datasheet 8.2.3.10.6, 8.2.3.10.16): a queue, and by how much it is slower than
# the link, in parts of 1 << 14.
RTTDQSEL, RTTBCNRC, RS_ENA = 0x4904 // 4, 0x4984 // 4, 1 << 31


def _factors(cfg):
    """ What the queues of VF 0 have: with up to 31 VFs each has four. """
    bar, out = cfg.pci.map_bar(), set()
    for queue in range(4):
        bar[RTTDQSEL] = queue
        out.add(bar[RTTBCNRC])
    bar.release()
    return out


def rate(cfg):
    """
    A rate limit is that of each queue, and holds: a burst takes no less time than the limit says.
    How much more says nothing of the limit: a driver with byte queue limits gives the device a few
    frames at a time, and a busy machine takes its time between them. The factor is exact.
    """
    vf, frames = cfg.vfs[0], 300
    defer(cfg.vf_set, 0, "max_tx_rate 0")
    for limit in (11, 22):
        cfg.vf_set(0, f"max_tx_rate {limit}")
        ksft_eq(cfg.vf_info(0)["rate"]["max_tx"], limit)
        ksft_eq(_factors(cfg), {RS_ENA | (10000 << 14) // limit})
        seconds, size = _burst(cfg, vf, frames)
        least = size * 8 / (limit * 1e6)
        ksft_pr(f"{frames} frames: {seconds:.3f} s at {limit} Mb/s, of which the wire takes "
                f"{least:.3f} s")
        # The limit may count less than the whole gap.
        ksft_gt(seconds, 0.85 * least)
    cfg.vf_set(0, "max_tx_rate 0")
    ksft_eq(_factors(cfg), {0})
    _burst(cfg, vf, frames)


def link_state(cfg):
    """ The host takes a VF's link away and gives it back. """
    vf = cfg.vfs[0]
    auto = defer(cfg.vf_set, 0, "state auto")
    cfg.vf_set(0, "state disable")
    ksft_eq(cfg.vf_info(0)["link_state"], "disable")
    vf.wait_carrier(False)
    ksft_true(not ping(vf, cfg.peer, fail=False))
    ping(cfg.vfs[1], cfg.peer)
    # Once: each setting restarts the VF, one after the end of this would hit the next test.
    auto.exec()
    ksft_eq(cfg.vf_info(0)["link_state"], "auto")
    vf.wait_carrier()
    cfg.settle()
    verify_tcp(vf, cfg.peer, 100000)


def trust(cfg):
    """ Trust is off by default, can be switched, and the VF survives each switch. """
    ksft_eq(cfg.vf_info(0)["trust"], False)
    for state in (True, False):
        cfg.set_trust(0, state)
        ksft_eq(cfg.vf_info(0)["trust"], state)


def query_rss(cfg):
    """ A VF reads the RSS table and key only if the host lets it. """
    vf = cfg.vfs[0]
    if cfg.pci.is_x550:
        # Its VFs have a table and a key of their own: there is nothing to ask for (ixgbe_ndo_set_vf_rss_query_en()).
        res = cmd(f"ip link set dev {cfg.pf.ifname} vf 0 query_rss on", fail=False)
        ksft_in("Operation not supported", res.stderr)
        ksft_in("RX flow hash indirection table", ethtool(f"-x {vf.ifname}", ns=vf.ns).stdout)
        return
    res = cmd(f"ethtool -x {vf.ifname}", ns=vf.ns, fail=False)
    ksft_true(res.ret != 0, "not asked yet: " + res.stdout)
    cfg.vf_set(0, "query_rss on")
    defer(cfg.vf_set, 0, "query_rss off")
    out = ethtool(f"-x {vf.ifname}", ns=vf.ns).stdout
    ksft_in("RX flow hash indirection table", out)
    key = ethtool(f"-x {cfg.pf.ifname}").stdout.split("RSS hash key:")[1].split()[0]
    ksft_in(key, out, "the key is the PF's")


def _vf_counters(cfg, index):
    """ What the PF has counted of a VF: packets and bytes, both ways. """
    stats = cfg.vf_info(index)["stats"]
    out = {}
    for way in ("rx", "tx"):
        for what in ("packets", "bytes"):
            # iproute2 names those of the way out with a prefix.
            out[way + what] = stats[way].get(what, stats[way].get(f"{way}_{what}", 0))
    return out


def statistics(cfg):
    """ The PF counts what each VF sends and receives, and reads that every other second. """
    def grows(index, old, packets, size):
        """ Wait until the PF has counted that many more of a VF. """
        def grown():
            after = _vf_counters(cfg, index)
            return all(after[key] - old[key] >= (packets if "packets" in key else packets * size)
                       for key in old)
        ksft_busy_wait(grown, sleep=0.2, deadline=PATIENCE, comment=f"{old} {_vf_counters(cfg, index)}")
    # What both had before is counted: frames of an earlier test are none of this one's.
    for index, vf in enumerate(cfg.vfs):
        old = _vf_counters(cfg, index)
        ping(vf, cfg.peer)
        grows(index, old, 1, 56)
    vf = cfg.vfs[0]
    before, other = _vf_counters(cfg, 0), _vf_counters(cfg, 1)
    ping(vf, cfg.peer, count=50, size=1000)
    grows(0, before, 50, 1000)
    for key, value in _vf_counters(cfg, 1).items():
        if "packets" in key:
            ksft_lt(value - other[key], 25, f"{key} of the other VF")


@ksft_variants([KsftNamedVariant(args.replace(" ", "_").replace(":", ""), args) for args in (
    "vf 2 mac 02:00:00:00:00:01", "vf 2 vlan 5", "vf 2 spoofchk on", "vf 2 trust on",
    "vf 2 state auto", "vf 0 mac 01:00:5e:00:00:01",
    "vf 0 max_tx_rate 10", "vf 0 max_tx_rate 10001", "vf 0 max_tx_rate 100 min_tx_rate 50",
)])
def bad_value(cfg, args):
    """ A VF that is not there, or a value out of range: refused as the C driver does. """
    ksft_in("Invalid argument", _refused(cfg, args))
    ping(cfg.vfs[0], cfg.peer)


def main():
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([trust, query_rss, statistics, rate, link_state, mac_guest_own, mac_set,
                  mac_guest_denied, mac_guest_trusted, bad_value], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
