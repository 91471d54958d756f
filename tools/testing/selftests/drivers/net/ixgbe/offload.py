#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Offloads that daily traffic does not use: segmentation of UDP, and the checksum of SCTP. What
arrives is compared byte by byte, and that the hardware did it is shown by what leaves the stack.
"""

import contextlib
import random
import re
import socket
import struct

from lib.py import ksft_run, ksft_exit, ksft_busy_wait, ksft_eq, ksft_ge, ksft_variants, KsftNamedVariant
from lib.py import PATIENCE, CmdExitFailure, IxgbeEnv, KsftSkipEx, NetNSEnter, defer, ethtool, \
    load_module, unmet

# linux/udp.h, linux/if_packet.h; Python does not name them.
UDP_SEGMENT = 103
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
ETH_P_ALL = 3
ETH_P = {"4": 0x0800, "6": 0x86dd}


def _feature(end, name):
    """ "on", "off", and whether it is fixed; None if the kernel does not know it. """
    out = ethtool(f"-k {end.ifname}", ns=end.ns).stdout
    m = re.search(rf"^\s*{name}: (on|off)( \[fixed\])?", out, re.M)
    return (m.group(1), bool(m.group(2))) if m else None


def _set(end, name, state):
    ethtool(f"-K {end.ifname} {name} {state}", ns=end.ns)
    ksft_eq(_feature(end, name)[0], state, name)


class Leaving:
    """ Frames that the stack hands to an interface, as they are before any offload. """

    def __init__(self, end):
        with NetNSEnter(end.ns) if end.ns else contextlib.nullcontext():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.sock.bind((end.ifname, ETH_P_ALL))
        self.sock.settimeout(0.5)

    def lengths(self, ipver, protocol, port):
        """ Bytes behind the IP header of what left for @port. """
        out = []
        with contextlib.suppress(TimeoutError):
            while True:
                data, address = self.sock.recvfrom(1 << 16)
                if address[2] != socket.PACKET_OUTGOING or \
                   struct.unpack("!H", data[12:14])[0] != ETH_P[ipver]:
                    continue
                start, kind = (34, data[23]) if ipver == "4" else (54, data[20])
                if kind == protocol and struct.unpack("!H", data[start + 2:start + 4])[0] == port:
                    out.append(len(data) - start)
        self.sock.close()
        return out


def _udp(ns, family):
    with NetNSEnter(ns) if ns else contextlib.nullcontext():
        sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    return sock


@ksft_variants([KsftNamedVariant(f"v{ipver}_{state}", ipver, state)
                for ipver in ("4", "6") for state in ("on", "off")])
def udp_segmentation(cfg, ipver, state):
    """ A large datagram leaves as one and arrives as many, whose content is that of its parts. """
    pf, size, count = cfg.pf, 1300, 20
    if _feature(pf, "tx-udp-segmentation")[1]:
        raise KsftSkipEx("no tx-udp-segmentation in this driver")
    defer(_set, pf, "tx-udp-segmentation", "on")
    _set(pf, "tx-udp-segmentation", state)
    family = socket.AF_INET if ipver == "4" else socket.AF_INET6
    data = random.Random(size).randbytes(size * count + 77)
    with contextlib.closing(_udp(cfg.peer.ns, family)) as sink, \
         contextlib.closing(_udp(pf.ns, family)) as source:
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sink.bind((cfg.peer.addr(ipver), 0))
        port = sink.getsockname()[1]
        leaving = Leaving(pf)
        source.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        before = pf.stats()
        source.sendto(data, (cfg.peer.addr(ipver), port))
        parts = [sink.recv(1 << 16) for _ in range(count + 1)]
        ksft_eq([len(p) for p in parts], [size] * count + [77])
        ksft_eq(b"".join(parts) == data, True, "content")
        lengths = leaving.lengths(ipver, socket.IPPROTO_UDP, port)
        ksft_eq(len(lengths), 1 if state == "on" else count + 1, lengths)

        def sent():
            return sum(v - before[k] for k, v in pf.stats().items()
                       if re.fullmatch(r"tx_queue_\d+_packets", k))
        ksft_busy_wait(lambda: sent() >= count + 1, deadline=PATIENCE, comment="segments are counted")


def _crc32c(data):
    """ The checksum of SCTP. """
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


@ksft_variants([KsftNamedVariant(f"{name}_{state}", name, state)
                for name in ("pf", "vf0") for state in ("on", "off")])
def sctp_checksum(cfg, name, state):
    """ Frames of SCTP are right on the wire, with the checksum made by the hardware or not. """
    try:
        load_module("sctp")
    except CmdExitFailure as e:
        raise unmet("no SCTP in this kernel") from e
    if name == "vf0" and not cfg.vfs:
        cfg.create_vfs(1)
    end = cfg.endpoint(name)
    defer(_set, end, "tx-checksum-sctp", "on")
    _set(end, "tx-checksum-sctp", state)
    data = random.Random(1).randbytes(20000)

    def make(ns):
        with NetNSEnter(ns) if ns else contextlib.nullcontext():
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
        sock.settimeout(PATIENCE)
        return sock
    with contextlib.closing(make(cfg.peer.ns)) as listener, \
         contextlib.closing(make(end.ns)) as sock:
        listener.bind((cfg.peer.addr("4"), 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        # What the virtio-net of the peer got from the wire.
        with NetNSEnter(cfg.peer.ns):
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            wire.bind((cfg.peer.ifname, ETH_P_ALL))
        wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        wire.settimeout(0.5)
        sock.connect((cfg.peer.addr("4"), port))
        conn, _ = listener.accept()
        conn.settimeout(PATIENCE)
        got = b""
        for at in range(0, len(data), 1000):
            sock.send(data[at:at + 1000])
        while len(got) < len(data):
            got += conn.recv(1 << 16)
        ksft_eq(got == data, True, "content")
        conn.close()
        seen = 0
        with contextlib.suppress(TimeoutError):
            while True:
                frame = wire.recv(1 << 16)
                if frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_SCTP:
                    continue
                packet = frame[34:14 + struct.unpack("!H", frame[16:18])[0]]
                want, = struct.unpack("<I", packet[8:12])
                ksft_eq(hex(want), hex(_crc32c(packet[:8] + bytes(4) + packet[12:])))
                seen += 1
        wire.close()
        ksft_ge(seen, 16)


def main():
    with IxgbeEnv() as cfg:
        ksft_run([udp_segmentation, sctp_checksum], args=(cfg, ))
    ksft_exit()


if __name__ == "__main__":
    main()
