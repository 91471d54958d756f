#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

""" Receive side scaling: flows reach every queue, and only the queues they should. """

import contextlib
import glob
import random
import re
import socket
import struct
import time

from lib.py import ksft_run, ksft_exit, ksft_eq, ksft_ge, ksft_in, ksft_lt, ksft_ne, ksft_true, \
    ksft_variants
from lib.py import PATIENCE, IxgbeEnv, NetNSEnter, cmd, defer, ethtool, ping, unmet

FLOWS = 256

# The kernel draws a new hash key at each boot. The hash is linear in the bits of the ports (82599 datasheet
# 7.1.2.8.1), so that ports in a row, which differ in few bits, miss a queue at one key in 170 (counted over 6,000). These
# differ in every bit: of 2,000,000 keys none gave one of four queues fewer than 30, or one of two fewer than 85.
_RND = random.Random(82599)
SRC_PORTS = _RND.sample(range(1024, 30000), FLOWS)
DST_PORTS = _RND.sample(range(1024, 30000), FLOWS)


def _rx_packets(end):
    """ Received packets of each queue. """
    out = {}
    for key, value in end.stats().items():
        m = re.fullmatch(r"rx_queue_(\d+)_packets", key)
        if m:
            out[int(m.group(1))] = value
    return out


def _queues(end):
    """ Number of Rx queues that the stack sees. """
    with NetNSEnter(end.ns) if end.ns else contextlib.nullcontext():
        text = ethtool(f"-x {end.ifname}", ns=end.ns).stdout
    return int(re.search(r"with (\d+) RX ring", text).group(1))


def _flows(src, dst, ipver="4", tcp=True):
    """ Send one short flow from each of many ports. TCP: a refused connection will do. """
    family = socket.AF_INET if ipver == "4" else socket.AF_INET6
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    for sport, dport in zip(SRC_PORTS, DST_PORTS):
        with NetNSEnter(src.ns) if src.ns else contextlib.nullcontext():
            sock = socket.socket(family, kind)
        with contextlib.closing(sock):
            sock.settimeout(PATIENCE)
            sock.bind(("", sport))
            with contextlib.suppress(ConnectionRefusedError):
                sock.connect((dst.addr(ipver), dport))


def _spread(end, peer, ipver, flows=_flows, least=None):
    """
    What each queue got of the flows, once that is as many as there were, and @least[q] at queue q:
    frames are counted some time after they were taken, and others come in between.
    """
    before = _rx_packets(end)
    flows(peer, end, ipver)
    stop = time.monotonic() + PATIENCE
    while True:
        after = _rx_packets(end)
        got = {q: after[q] - before[q] for q in after}
        enough = sum(got.values()) >= FLOWS and \
            all(got.get(q, 0) >= count for q, count in (least or {}).items())
        if enough or time.monotonic() > stop:
            return got


@ksft_variants(["4", "6"])
def pf_every_queue(cfg, ipver):
    """ Many flows reach each RSS queue of the PF. """
    queues = _queues(cfg.pf)
    got = _spread(cfg.pf, cfg.peer, ipver)
    for q in range(queues):
        ksft_ge(got[q], FLOWS // queues // 4, f"queue {q} of {queues}: {got}")


@ksft_variants(["4", "6"])
def vf_every_queue(cfg, ipver):
    """ Many flows reach each RSS queue of a VF: two, as long as pools have that many. """
    cfg.create_vfs(1)
    vf = cfg.vfs[0]
    got = _spread(vf, cfg.peer, ipver)
    ksft_eq(len(got), 2)
    for q, count in got.items():
        ksft_ge(count, FLOWS // 8, f"queue {q}: {got}")


def pf_indirection(cfg):
    """ With an indirection table that names queue 0 alone, no flow goes elsewhere. """
    queues = _queues(cfg.pf)
    if queues < 2:
        raise unmet("one queue only")
    ethtool(f"-X {cfg.pf.ifname} equal 1")
    defer(ethtool, f"-X {cfg.pf.ifname} default")
    got = _spread(cfg.pf, cfg.peer, "4", least={0: FLOWS})
    ksft_ge(got[0], FLOWS)
    # Not exactly 0: neighbour discovery of the peer is not ours to count.
    for q in range(1, queues):
        ksft_true(got[q] < 4, f"queue {q}: {got}")


def _toeplitz(key, data):
    """ The hash of RSS (82599 datasheet 7.1.2.8.1). """
    window, bits = int.from_bytes(key, "big"), 8 * len(key)
    out = 0
    for i in range(8 * len(data)):
        if data[i // 8] & 0x80 >> i % 8:
            out ^= window >> (bits - 32 - i) & 0xffffffff
    return out


def _table_and_key(end):
    """ What `ethtool -x` says. """
    out = ethtool(f"-x {end.ifname}").stdout
    rows = re.findall(r"^\s*\d+:((?:\s+\d+)+)\s*$", out, re.M)
    key = re.search(r"((?:[0-9a-f]{2}:){39}[0-9a-f]{2})", out).group(1)
    return [int(q) for row in rows for q in row.split()], key


def _predicted(end, peer):
    """ The queue that each flow must get to, by the table and the key that are set. """
    table, key = _table_and_key(end)
    # 512 are what the C driver shows of an X550.
    ksft_in(len(table), (128, 512))
    out = []
    for sport, dport in zip(SRC_PORTS, DST_PORTS):
        flow = socket.inet_aton(peer.addr("4")) + socket.inet_aton(end.addr("4")) + \
            struct.pack("!HH", sport, dport)
        out.append(table[_toeplitz(bytes.fromhex(key.replace(":", "")), flow) % len(table)])
    return out


def pf_key(cfg):
    """ The hash key can be set, is read back, and moves flows to where the hash says. """
    old = _table_and_key(cfg.pf)[1]
    new = ":".join(f"{(i * 37 + 11) & 0xff:02x}" for i in range(40))
    defer(ethtool, f"-X {cfg.pf.ifname} hkey {old}")
    before = _predicted(cfg.pf, cfg.peer)
    for key in (old, new):
        ethtool(f"-X {cfg.pf.ifname} hkey {key}")
        ksft_eq(_table_and_key(cfg.pf)[1], key)
        want = _predicted(cfg.pf, cfg.peer)
        got = _spread(cfg.pf, cfg.peer, "4", least={q: want.count(q) for q in set(want)})
        for q in range(_queues(cfg.pf)):
            count = want.count(q)
            # A frame of a flow comes once, or again if it was not answered within a second; others, such
            # as ARP, are few. A flow that goes elsewhere is missing here.
            ksft_ge(got[q], count, f"queue {q}: {got}")
            ksft_lt(got[q], count + FLOWS // 8, f"queue {q}: {got}, should be {count}")
    ksft_ne(before, want, "the other key would show nothing")


def pf_channels(cfg):
    """ Fewer channels, then all again: flows keep to the queues that exist. """
    out = ethtool(f"-l {cfg.pf.ifname}").stdout
    maximum, current = [int(n) for n in re.findall(r"Combined:\s+(\d+)", out)]
    ksft_ge(maximum, current)
    if current < 2:
        raise unmet("one queue only")
    defer(cfg.settle)
    defer(ethtool, f"-L {cfg.pf.ifname} combined {current}")
    ethtool(f"-L {cfg.pf.ifname} combined 1")
    cfg.settle()
    ksft_eq(_queues(cfg.pf), 1)
    got = _spread(cfg.pf, cfg.peer, "4")
    ksft_ge(got[0], FLOWS)


def pf_udp_ports(cfg):
    """ UDP ports enter the hash when asked for. """
    ethtool(f"-N {cfg.pf.ifname} rx-flow-hash udp4 sdfn")
    defer(ethtool, f"-N {cfg.pf.ifname} rx-flow-hash udp4 sd")
    out = ethtool(f"-n {cfg.pf.ifname} rx-flow-hash udp4").stdout
    ksft_true("L4 bytes 0 & 1" in out, out)
    def datagrams(src, dst, _ipver):
        # Of one source port alone, one key in 20,000 would leave a queue without enough of them.
        for sport, dport in zip(SRC_PORTS, DST_PORTS):
            with NetNSEnter(src.ns):
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with contextlib.closing(sock):
                sock.bind(("", sport))
                sock.sendto(b"x" * 32, (dst.addr("4"), dport))
    ping(cfg.peer, cfg.pf)
    got = _spread(cfg.pf, cfg.peer, "4", datagrams)
    queues = _queues(cfg.pf)
    for q in range(queues):
        ksft_ge(got[q], FLOWS // queues // 4, f"queue {q} of {queues}: {got}")


def tx_every_queue(cfg):
    """ Flows leave by every Tx queue of the PF. """
    queues = len(glob.glob(f"/sys/class/net/{cfg.pf.ifname}/queues/tx-*"))

    def tx():
        return {k: v for k, v in cfg.pf.stats().items()
                if re.fullmatch(r"tx_queue_\d+_packets", k)}
    if _queues(cfg.pf) < 2:
        raise unmet("one queue only")
    before = tx()
    # The stack picks the queue by CPU (XPS), so send from each CPU.
    cpus = cmd("nproc").stdout.strip()
    for cpu in range(int(cpus)):
        cmd(f"taskset -c {cpu} ping -q -i 0.01 -c 20 {cfg.peer.addr('4')}")
    after = tx()
    used = [k for k in after if after[k] > before[k]]
    ksft_ge(len(used), min(queues, int(cpus)), f"{used}")


def main():
    with IxgbeEnv() as cfg:
        ksft_run([pf_every_queue, pf_indirection, pf_key, pf_udp_ports, pf_channels,
                  tx_every_queue, vf_every_queue], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
