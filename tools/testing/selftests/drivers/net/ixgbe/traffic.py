#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Traffic between every kind of endpoints, at both MTUs, with all offloads on and
all off. Every byte that arrives is compared with what was sent.
"""

import os
import re

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_ge, ksft_gt, \
    ksft_variants, KsftNamedVariant
from lib.py import PATIENCE, IxgbeEnv, cmd, defer, ethtool, iperf3, ping, unmet, verify_tcp, verify_udp

PAIRS = ("pf-peer", "vf0-peer", "vf0-vf1", "vf0-pf")
MTUS = (1500, 9000)
# By the names that `ethtool -K` takes, those that `ethtool -k` shows.
OFFLOADS = {
    "rx": "rx-checksumming", "tx": "tx-checksumming", "sg": "scatter-gather",
    "tso": "tcp-segmentation-offload", "gso": "generic-segmentation-offload",
    "gro": "generic-receive-offload", "rxvlan": "rx-vlan-offload", "txvlan": "tx-vlan-offload",
    "rxhash": "receive-hashing",
}


def _switchable(end):
    """ The offloads that this interface can switch, and whether each is on. """
    out = ethtool(f"-k {end.ifname}", ns=end.ns).stdout
    # The C driver of a PF cannot switch the checksums of FCoE, where the kernel has it: "tx" shows
    # the others and these.
    out = re.sub(r"^\s+tx-checksum-fcoe-crc: on \[fixed\]$", "fcoe: on", out, flags=re.M)
    shown = dict(re.findall(r"^([\w-]+): (.*)$", out, re.M))
    if "fcoe" in shown:
        shown["tx-checksumming"] += " [fixed]"
    return {name: shown[long].split()[0] == "on" for name, long in OFFLOADS.items()
            if "[fixed]" not in shown[long]}


def _offloads(end, on):
    """ Switch every offload that this interface can switch; each is as asked afterwards. """
    can = _switchable(end)
    # All that both drivers of a VF have.
    ksft_ge(len(can), 6, f"{end}: {can}")
    for name in can:
        ethtool(f"-K {end.ifname} {name} {'on' if on else 'off'}", ns=end.ns)
    ksft_eq(_switchable(end), dict.fromkeys(can, on), end)


def _sizes(mtu, ipver):
    """ Datagram sizes around each boundary: empty, minimum frame, MTU, fragments. """
    full = mtu - (28 if ipver == "4" else 48)
    return (1, 17, 18, 19, 64, 255, 256, 1000, full - 1, full, full + 1, 3 * full)


def _verify(cfg, pair, mtu, nbytes=1 << 20):
    src, dst = cfg.endpoints(pair)
    for ipver in ("4", "6"):
        ping(src, dst, ipver)
        ping(dst, src, ipver)
        verify_udp(src, dst, _sizes(mtu, ipver), ipver)
        verify_tcp(src, dst, nbytes, ipver)


@ksft_variants([KsftNamedVariant(f"{pair}_{mtu}", pair, mtu)
                for mtu in MTUS for pair in PAIRS])
def verified(cfg, pair, mtu):
    """ Ping, datagrams and a stream, IPv4 and IPv6, offloads as the driver sets them. """
    cfg.set_mtu(mtu)
    _verify(cfg, pair, mtu)


@ksft_variants([KsftNamedVariant(f"{state}_{pair}_{mtu}", state, pair, mtu)
                for mtu in reversed(MTUS) for state in ("off", "on") for pair in PAIRS])
def offloads(cfg, state, pair, mtu):
    """ The same with all offloads of both ends off, and all on. """
    cfg.set_mtu(mtu)
    ends = cfg.endpoints(pair)
    for end in ends:
        if end.name != "peer":
            _offloads(end, state == "on")
            defer(_offloads, end, True)
    cfg.settle()
    _verify(cfg, pair, mtu)


@ksft_variants(PAIRS)
def iperf(cfg, pair):
    """ iperf3 both ways: bytes flow. The figure is for the log. """
    cfg.set_mtu(1500)
    src, dst = cfg.endpoints(pair)
    for args in ("-P 2", "-P 2 -R"):
        end = iperf3(src, dst, args=args)
        ksft_gt(end["sum_received"]["bytes"], 100000, args)


def _limits(end, what):
    """ @what of byte_queue_limits, of each transmit queue. """
    out = cmd(f"grep -rs . /sys/class/net/{end.ifname}/queues --include={what}", ns=end.ns).stdout
    return [int(line.rsplit(":", 1)[1]) for line in out.splitlines()]


@ksft_variants(["pf", "vf0"])
def queue_limits(cfg, name):
    """ Bytes given to the device and taken back are accounted for (BQL), and none is left over. """
    cfg.set_mtu(1500)
    end = cfg.endpoint(name)
    verify_tcp(end, cfg.peer, 1 << 20)
    # The C driver of a VF has no byte queue limits.
    if name == "pf" or "/" in cfg.vf_module:
        ksft_gt(max(_limits(end, "limit")), 0)
    ksft_busy_wait(lambda: set(_limits(end, "inflight")) == {0}, sleep=0.1, deadline=PATIENCE)


def station(cfg):
    """ The lab's station answers ARP and ping. """
    addr = os.environ.get("STATION_V4")
    if not addr:
        raise unmet("STATION_V4 is not set")
    cfg.set_mtu(1500)
    for end in (cfg.pf, cfg.vfs[0]):
        for size in (1, 56, 1472):
            res = cmd(f"ping -4 -q -n -i 0.05 -c 3 -W {PATIENCE} -s {size} {addr}", ns=end.ns, fail=False)
            ksft_eq(res.ret, 0, res.stdout)


def main():
    with IxgbeEnv(vfs=2) as cfg:
        ksft_run([verified, offloads, iperf, queue_limits, station], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
