# SPDX-License-Identifier: GPL-2.0

""" Raw Ethernet frames: what is on the wire, tag by tag. """

import contextlib
import random
import select
import socket
import struct
import time

from net.lib.py import NetNSEnter

from .strict import PATIENCE

ETH_P_ALL = 3
ETH_P_8021Q = 0x8100
# An Ethertype for experiments (IEEE 802 local experimental 1): no stack answers it.
ETH_P_TEST = 0x88b5

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
PACKET_MR_PROMISC = 1
TP_STATUS_VLAN_VALID = 1 << 4


def _mac(text):
    return bytes.fromhex(text.replace(":", ""))


def multicast_hash(mac):
    """ The bit of the filter for multicast that a group address has: bits 47:36 (82599 datasheet 7.1.1.3). """
    *_, high, low = _mac(mac)
    return high >> 4 | low << 4


def arp_free_mac():
    """
    A locally administered unicast address that nobody has. The twelve bits that end up in the hash of the
    group by which IPv6 looks for it are 0, of which tests keep off.
    """
    tail = random.randbytes(4)
    return "02:" + bytes([*tail[:3], tail[3] & 0xf, 0]).hex(":")


class Frame:
    """ A test frame: addresses, optional 802.1Q tag, and a marked payload. """

    def __init__(self, dst, src, vlan=None, prio=0, size=64, cookie=None):
        self.dst, self.src, self.vlan, self.prio = dst, src, vlan, prio
        self.cookie = cookie or random.randbytes(8)
        self.payload = self.cookie + bytes(i & 0xff for i in range(size - len(self.cookie)))

    def bytes(self):
        """ The frame as it goes to a packet socket. """
        head = _mac(self.dst) + _mac(self.src)
        if self.vlan is not None:
            head += struct.pack("!HH", ETH_P_8021Q, self.prio << 13 | self.vlan)
        return head + struct.pack("!H", ETH_P_TEST) + self.payload


class Received:
    """ A frame that was seen, its tag put where the hardware may have taken it from. """

    def __init__(self, data, tci):
        self.dst, self.src = data[0:6].hex(":"), data[6:12].hex(":")
        etype, = struct.unpack("!H", data[12:14])
        rest = data[14:]
        self.vlan = self.prio = None
        if tci is None and etype == ETH_P_8021Q:
            tci, etype = struct.unpack("!HH", rest[:4])
            rest = rest[4:]
        if tci is not None:
            self.vlan, self.prio = tci & 0xfff, tci >> 13
        self.etype, self.payload = etype, rest


class PacketSocket:
    """ A packet socket on one interface of one namespace. """

    def __init__(self, ifname, ns=None, promisc=False):
        with NetNSEnter(ns) if ns else contextlib.nullcontext():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                      socket.htons(ETH_P_ALL))
            self.sock.bind((ifname, ETH_P_ALL))
            ifindex = socket.if_nametoindex(ifname)
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        if promisc:
            self.sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP,
                                 struct.pack("iHH8s", ifindex, PACKET_MR_PROMISC, 0, b""))

    def __enter__(self):
        return self

    def __exit__(self, ex_type, ex_value, ex_tb):
        self.sock.close()

    def send(self, frame):
        """ Send a Frame, or bytes. """
        self.sock.send(frame.bytes() if isinstance(frame, Frame) else frame)

    def _recv(self):
        data, anc, _, _ = self.sock.recvmsg(1 << 16, socket.CMSG_SPACE(20))
        tci = None
        for level, kind, body in anc:
            if level == SOL_PACKET and kind == PACKET_AUXDATA:
                # struct tpacket_auxdata
                status, _, _, _, _, vtci, _ = struct.unpack("IIIHHHH", body[:20])
                if status & TP_STATUS_VLAN_VALID:
                    tci = vtci
        return Received(data, tci)

    def expect(self, frame, timeout=PATIENCE):
        """ Wait for @frame (known by its cookie); return it as Received, or None. """
        return self.collect([frame], timeout)[0]

    def collect(self, frames, timeout=PATIENCE):
        """
        Listen until the last of @frames was seen; return for each what was seen of
        it, or None.
        """
        end = time.monotonic() + timeout
        seen = [None] * len(frames)
        while seen[-1] is None:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                break
            got = self._recv()
            for i, frame in enumerate(frames):
                if got.etype == ETH_P_TEST and got.payload.startswith(frame.cookie):
                    seen[i] = got
        return seen


def crosses(tx, rx, frame, marker=None):
    """
    Send @frame from packet socket @tx; whether @rx sees it, and as what.

    That a frame does NOT arrive is known by a marker which does: @marker is sent
    after it on the same path, and frames do not overtake each other, but for those
    of two Tx queues: so a second marker is sent when the first has arrived. If none
    does, the path is not there yet, as that of a VF that resets itself, and all are
    sent again. Without a marker the frame must come, once.
    """
    if marker is None:
        tx.send(frame)
        return rx.expect(frame)
    end = time.monotonic() + PATIENCE
    while True:
        tx.send(frame)
        tx.send(marker)
        seen, marked = rx.collect([frame, marker], 5)
        if marked and not seen:
            tx.send(marker)
            seen, marked = rx.collect([frame, marker], 5)
        if marked:
            return seen
        if time.monotonic() > end:
            raise AssertionError("the marker frame did not arrive")
